"""The estimators against scikit-learn's with the import changed, and against the twin elsewhere.

Single samples in storage order, dense float64, positive weights, no tolerance: there the two
libraries must train the same model, to 1e-6, over

    loss x penalty x schedule x average x sample weights x class weights x one-vs-rest

of which every two values meet, and loss x penalty with each of the rest.

Where scikit-learn is wrong, a test says how, shows that its model differs, and compares with the
twin instead: averaging under an L1 penalty, ``adaptive`` with a tolerance, rows of weight zero, the
scores of early stopping, huge derivatives, and CSR.
"""

import re
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering, unmet
from sklearn import config_context, linear_model
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit
from sklearn.utils import compute_class_weight

import fastsgd
from fastsgd import reference
from fastsgd.losses import LOSSES
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule, optimal_eta0
from fastsgd.targets import targets_of

pytest.importorskip("sklearn", minversion="1.9")  # "pa1" and "pa2", and the one-class objective

LIBRARIES = (fastsgd, linear_model)
CLASSIFIER, REGRESSOR, ONE_CLASS = "SGDClassifier", "SGDRegressor", "SGDOneClassSVM"
LOSSES_OF = {
    name: tuple(getattr(linear_model, name).loss_functions)
    for name in (CLASSIFIER, REGRESSOR, ONE_CLASS)
}
PENALTIES = ("l2", "l1", "elasticnet", None)
WITH_L1 = ("l1", "elasticnet")
SCHEDULES = ("constant", "optimal", "invscaling", "adaptive")
PASSIVE_AGGRESSIVE = {(CLASSIFIER, "hinge"), (REGRESSOR, "epsilon_insensitive")}
EPOCHS = 3
AVERAGES = (False, True, 50)  # 50 begins in the second epoch
TOLERANCE = 1e-6
COMMON = {
    "alpha": 0.05,
    "l1_ratio": 0.3,
    "epsilon": 0.4,
    "power_t": 0.3,
    "max_iter": EPOCHS,
    "tol": None,
    "shuffle": False,
}

rng = np.random.default_rng(0)
X = 0.35 * rng.normal(size=(40, 7))
SCORE = X @ rng.normal(size=7) + 0.3 * rng.normal(size=40)
Y = {
    "real": SCORE + 0.5,
    "two classes": np.where(SCORE > 0.2, "yes", "no"),
    "three classes": np.digitize(SCORE, np.quantile(SCORE, (0.4, 0.7))),
}
WEIGHT = rng.uniform(0.3, 2.0, 40)
CLASS_WEIGHTS = {
    "two classes": (None, {"no": 0.5, "yes": 2.0}, "balanced"),
    "three classes": (None, {0: 0.5, 1: 2.0, 2: 1.3}, "balanced"),
}
assert min(np.unique(y, return_counts=True)[1].min() for y in list(Y.values())[1:]) > 5
assert X.std() > 0.2
assert SCORE.std() > 0.5


def difference(ours, theirs) -> float:
    """Of coef_ and of intercept_, norm-wise and relative; the larger one."""
    whole = np.linalg.norm(np.append(*map(np.ravel, theirs)))
    parts = []
    for a, b in zip(ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b)
        size = np.linalg.norm(b)
        # A part that is zero but for rounding is measured by the whole.
        size = size if size > 1e-9 * whole else whole
        parts.append(np.linalg.norm(np.ravel(a) - np.ravel(b)) / size if whole else np.abs(a).max())
    return float(max(parts))


def model(estimator) -> tuple[np.ndarray, np.ndarray]:
    """coef_ and intercept_; of a one-class SVM, offset_."""
    end = estimator.intercept_ if hasattr(estimator, "intercept_") else estimator.offset_
    return np.array(estimator.coef_), np.array(end)


def fit(library, name: str, parameters: dict, X, y=None, sample_weight=None):
    """An estimator of that name, from ``fastsgd`` or ``sklearn.linear_model``, trained."""
    estimator = getattr(library, name)(**parameters)
    if library is fastsgd:
        return estimator.fit(X, y, sample_weight=sample_weight)
    with config_context(skip_parameter_validation=True, assume_finite=True):  # half of its time
        return estimator.fit(X, y, sample_weight=sample_weight)


def balanced_by(weight, y, parameters: dict) -> dict:
    """The parameters with "balanced" weights that count a row by its weight.

    scikit-learn's newer estimators do, its SGDClassifier counts rows: one of weight zero too.
    """
    if weight is None or parameters.get("class_weight") != "balanced":
        return parameters
    classes = np.unique(y)
    found = compute_class_weight("balanced", classes=classes, y=y, sample_weight=weight)
    return parameters | {"class_weight": dict(zip(classes.tolist(), found, strict=True))}


def schedules(name: str, loss: str) -> tuple[str, ...]:
    """Those that scikit-learn allows with the loss."""
    return SCHEDULES + (("pa1", "pa2") if (name, loss) in PASSIVE_AGGRESSIVE else ())


def rate(schedule: str) -> dict:
    return {"learning_rate": schedule, "eta0": 0.4 if schedule.startswith("pa") else 0.1}


def assert_parity(name: str, cases) -> None:
    """Each case, (parameters, y, sample weights), gives scikit-learn's model; names those not."""
    wrong, count, zeros = {}, 0, 0
    for parameters, y, weight in cases:
        ours = fit(fastsgd, name, parameters, X, y, weight)
        theirs = fit(linear_model, name, balanced_by(weight, y, parameters), X, y, weight)
        assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
        found = difference(model(ours), model(theirs))
        count, zeros = count + 1, zeros + (not theirs.coef_.any())
        if not found < TOLERANCE:
            varied = {k: v for k, v in parameters.items() if k not in COMMON}
            classes = 1 if y is None else len(np.unique(y))
            wrong[f"{varied}, weighted={weight is not None}, {classes} values of y"] = found
    assert zeros < count / 4  # else the cases tell nothing
    first = "\n".join(f"{size:.1e}  {case}" for case, size in list(wrong.items())[:10])
    assert not wrong, f"{len(wrong)} of {count} models differ from scikit-learn's:\n{first}"


# ------------------------------------------------------------------ where both are right


@pytest.mark.parametrize("name", LOSSES_OF)
def test_the_losses_of_scikit_learn_are_all_here(name):
    kind = "real" if name == REGRESSOR else "sign"
    assert set(LOSSES_OF[name]) <= {loss for loss in LOSSES if kind in LOSSES[loss].targets}


def allowed(name: str, case: dict) -> bool:
    """Whether scikit-learn's estimator allows the schedule of a case with its loss."""
    return "loss" not in case or case.get("schedule", "constant") in schedules(name, case["loss"])


def right(name: str):
    """Whether it is right there besides."""

    def valid(case) -> bool:
        averaged = case.get("average", False) is not False
        return allowed(name, case) and not (averaged and case.get("penalty") in WITH_L1)

    return valid


SHARED = {
    "schedule": (*SCHEDULES, "pa1", "pa2"),
    "average": AVERAGES,
    "weighted": (False, True),
}
GRIDS = {
    CLASSIFIER: {
        "loss": LOSSES_OF[CLASSIFIER],
        "penalty": PENALTIES,
        **SHARED,
        "target": tuple(CLASS_WEIGHTS),
        "class_weight": range(3),
    },
    REGRESSOR: {
        "loss": LOSSES_OF[REGRESSOR],
        "penalty": PENALTIES,
        **SHARED,
        "fit_intercept": (True, False),
    },
    ONE_CLASS: {
        **SHARED,
        "schedule": SCHEDULES,
        "nu": (0.1, 0.5),
        "fit_intercept": (True, False),
    },
}
CASES = {
    name: covering(axes, crossed=[("loss", "penalty")] if "loss" in axes else [], valid=right(name))
    for name, axes in GRIDS.items()
}


@pytest.mark.parametrize("name", GRIDS)
def test_every_two_values_of_every_two_axes_meet(name):
    assert unmet(CASES[name], GRIDS[name], right(name)) == []


def weight_of(case):
    return WEIGHT if case["weighted"] else None


def settings_of(case, *names):
    """The parameters of a case: its rate, and those of its axes."""
    return rate(case["schedule"]) | {name: case[name] for name in (*names, "average")}


@pytest.mark.parametrize("loss", LOSSES_OF[CLASSIFIER])
def test_classifier(loss):
    def parameters(case):
        classes = CLASS_WEIGHTS[case["target"]][case["class_weight"]]
        return COMMON | settings_of(case, "loss", "penalty") | {"class_weight": classes}

    cases = [case for case in CASES[CLASSIFIER] if case["loss"] == loss]
    assert_parity(
        CLASSIFIER,
        ((parameters(case), Y[case["target"]], weight_of(case)) for case in cases),
    )


@pytest.mark.parametrize("loss", LOSSES_OF[REGRESSOR])
def test_regressor(loss):
    cases = [case for case in CASES[REGRESSOR] if case["loss"] == loss]
    names = "loss", "penalty", "fit_intercept"
    assert_parity(
        REGRESSOR,
        ((COMMON | settings_of(case, *names), Y["real"], weight_of(case)) for case in cases),
    )


def test_one_class():
    shared = {key: COMMON[key] for key in ("power_t", "max_iter", "tol", "shuffle")}
    assert_parity(
        ONE_CLASS,
        (
            (shared | settings_of(case, "nu", "fit_intercept"), None, weight_of(case))
            for case in CASES[ONE_CLASS]
        ),
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("target", CLASS_WEIGHTS)
def test_partial_fit_and_initial_weights(target, schedule):
    """Calls of ``partial_fit`` continue the schedule; ``fit`` starts from weights given."""
    parameters = COMMON | rate(schedule) | {"loss": "log_loss"}
    classes = np.unique(Y[target])
    shape = (len(classes) if len(classes) > 2 else 1, X.shape[1])
    start = np.linspace(-1.0, 1.0, shape[0] * shape[1]).reshape(shape)
    models = []
    for library in (fastsgd, linear_model):
        estimator = getattr(library, CLASSIFIER)(**parameters)
        for half in (slice(25), slice(25, None)):
            estimator.partial_fit(X[half], Y[target][half], classes=classes)
        models.append(model(estimator))
        estimator.fit(X, Y[target], coef_init=start.copy(), intercept_init=start[:, 0].copy())
        models.append(model(estimator))
    assert difference(models[0], models[2]) < TOLERANCE
    assert difference(models[1], models[3]) < TOLERANCE


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("schedule", ("pa1", "pa2"))
def test_passive_aggressive_steps_on_empty_rows(schedule, penalty):
    """|x|^2 = 0: "pa1" passes the row over, "pa2" moves the intercept by 2 C loss."""
    rows = X.copy()
    rows[[5, 11, 30]] = 0.0
    for name, loss in sorted(PASSIVE_AGGRESSIVE):
        y = Y["two classes" if name == CLASSIFIER else "real"]
        for average in (False,) if penalty in WITH_L1 else AVERAGES:
            parameters = COMMON | rate(schedule)
            parameters |= {"loss": loss, "penalty": penalty, "average": average}
            ours, theirs = (fit(library, name, parameters, rows, y) for library in LIBRARIES)
            assert difference(model(ours), model(theirs)) < TOLERANCE


def test_a_step_beyond_one_over_alpha_leaves_no_weight():
    """eta alpha >= 1 is clipped alike; scikit-learn says nothing."""
    for average in (False, True):
        parameters = COMMON | {"learning_rate": "constant", "eta0": 0.1, "alpha": 15.0}
        parameters |= {"average": average}
        with pytest.warns(RuntimeWarning, match="eta"):
            ours = fit(fastsgd, REGRESSOR, parameters, X, Y["real"])
        theirs = fit(linear_model, REGRESSOR, parameters, X, Y["real"])
        assert difference(model(ours), model(theirs)) < TOLERANCE


# ------------------------------------------------------------------ where scikit-learn is wrong

APART = 1e-3
"""A defect of scikit-learn's changes its model by more than this."""


class Twin:
    """The twin on the problem that an estimator's parameters describe: one lane, one epoch a call.

    A classifier's problem is binary, its labels numbers.
    """

    def __init__(self, name: str, parameters: dict, X, y, sample_weight=None) -> None:
        of = {"penalty": "l2", "average": False, "loss": "squared_error"} | parameters
        schedule, alpha = of["learning_rate"], of["alpha"]
        l1_ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": of["l1_ratio"], None: 0.0}[of["penalty"]]
        strength = 0.0 if of["penalty"] is None else alpha
        optimal = schedule == "optimal"
        kind = {"optimal": "inverse", "invscaling": "invscaling"}.get(schedule, "constant")
        self.data = Data(X, np.asarray(y, dtype=np.float64), sample_weight)
        self.lanes = Lanes(
            1,
            alpha=strength * (1.0 - l1_ratio),
            l1=strength * l1_ratio,
            eta0=optimal_eta0(alpha) if optimal else of["eta0"],
            mu=alpha if optimal else 0.0,
        )
        self.settings = Settings(
            loss=of["loss"],
            loss_parameter=of["epsilon"],
            sign_targets=name == CLASSIFIER,
            average=int(of["average"]),
            sampling="sequential",
            schedule=Schedule(kind, 1.0 if optimal else of["power_t"]),
            step=schedule if schedule.startswith("pa") else "gradient",
        )
        self.epochs = of["max_iter"]
        self.state = reference.State(self.data, self.lanes, self.settings)
        self.shape = (1, -1) if name == CLASSIFIER else (-1,)

    def epoch(self) -> None:
        reference.run_epoch(self.data, self.lanes, self.settings, self.state)

    def model(self) -> tuple[np.ndarray, np.ndarray]:
        coef, intercept = self.state.weights(self.settings)
        return coef.reshape(self.shape), intercept

    def fit(self) -> tuple[np.ndarray, np.ndarray]:
        while self.state.epoch < self.epochs:
            self.epoch()
        return self.model()

    def fit_adaptive(self, tol: float, patience: int, *, weighted: bool = True):
        """Divide the rate by five after ``patience`` epochs without gain; stop below 1e-6.

        ``weighted`` False watches a loss that ignores the sample weights, as scikit-learn does.
        """
        every = np.arange(self.data.n)
        y = targets_of(self.data, self.lanes, self.settings, every)
        best, without_gain = np.inf, 0
        if weighted and self.data.sample_weight is not None:
            tol = tol * min(1.0, self.data.sample_weight.mean())
        while True:
            if weighted:
                self.epoch()
                loss = self.state.loss_sum[0] / self.state.row_count[0]
            else:
                losses = []
                for i in range(self.data.n):
                    z = reference.score(self.data, self.state, every[i : i + 1])
                    losses.append(self.settings.terms.value(z, y[i], 0.0)[0, 0])
                    reference.run_epoch(self.data, self.lanes, self.settings, self.state, batches=1)
                loss = np.mean(losses)
            without_gain = without_gain + 1 if loss > best - tol else 0
            best = min(best, loss)
            if without_gain >= patience:
                if self.lanes.eta0[0] * self.state.rate_factor[0] <= 1e-6:
                    return self.model()
                self.state.rate_factor /= 5.0
                without_gain = 0


LABEL = (SCORE > 0.2).astype(np.float64)


@pytest.mark.parametrize("name", (CLASSIFIER, REGRESSOR))
def test_averages_under_l1(name):
    """The mean is of the weights after they are truncated; scikit-learn takes them before."""
    y = LABEL if name == CLASSIFIER else Y["real"]
    apart, axes = [], {axis: GRIDS[name][axis] for axis in ("loss", "schedule")}
    axes |= {"penalty": WITH_L1, "average": (True, 50)}
    for case in covering(axes, valid=lambda case: allowed(name, case)):
        parameters = COMMON | settings_of(case, "loss", "penalty") | {"max_iter": 2}
        right = Twin(name, parameters, X, y, WEIGHT).fit()
        ours, theirs = (model(fit(of, name, parameters, X, y, WEIGHT)) for of in LIBRARIES)
        assert difference(ours, right) < TOLERANCE
        apart.append(difference(theirs, right))
    assert min(apart) > APART


@pytest.mark.parametrize("penalty", WITH_L1)
def test_averages_under_l1_are_the_mean_of_scikit_learns_own_weights(penalty):
    parameters = COMMON | rate("constant") | {"penalty": penalty, "max_iter": 1}
    path = [
        model(fit(linear_model, REGRESSOR, parameters, X[:t], Y["real"][:t]))
        for t in range(1, len(X) + 1)
    ]
    right = tuple(np.mean(parts, axis=0) for parts in zip(*path, strict=True))
    parameters |= {"average": True}
    ours, theirs = (model(fit(of, REGRESSOR, parameters, X, Y["real"])) for of in LIBRARIES)
    assert difference(ours, right) < TOLERANCE
    assert difference(theirs, right) > APART


@pytest.mark.parametrize("average", (False, True))
@pytest.mark.parametrize("schedule", ("constant", "optimal", "invscaling"))
def test_rows_of_weight_zero(schedule, average):
    """They leave no trace; in scikit-learn they decay the weights, tick and are averaged over."""
    weight = np.where(np.arange(40) % 3 == 0, 0.0, WEIGHT)
    keep = weight > 0.0
    for name, loss in ((CLASSIFIER, "log_loss"), (REGRESSOR, "squared_error")):
        y = LABEL if name == CLASSIFIER else Y["real"]
        parameters = COMMON | rate(schedule) | {"loss": loss, "average": average}
        right = Twin(name, parameters, X, y, weight).fit()
        for library in LIBRARIES:
            without = model(fit(library, name, parameters, X[keep], y[keep], weight[keep]))
            assert difference(without, right) < TOLERANCE
        ours, theirs = (model(fit(of, name, parameters, X, y, weight)) for of in LIBRARIES)
        assert difference(ours, right) < TOLERANCE
        assert difference(theirs, right) > APART


@pytest.mark.filterwarnings("ignore")  # fastsgd says which of these cost O(d) a step
@pytest.mark.parametrize("penalty", PENALTIES)
def test_csr(penalty):
    """CSR is the dense model; scikit-learn slows its intercept and truncates non-zeros alone."""
    rows = np.where(np.abs(X) > 0.2, X, 0.0)
    assert 0.3 < (rows != 0.0).mean() < 0.8
    for name, average in product((CLASSIFIER, REGRESSOR), (False, 50)):
        y = LABEL if name == CLASSIFIER else Y["real"]
        parameters = COMMON | rate("invscaling") | {"penalty": penalty, "average": average}
        parameters |= {"loss": "log_loss" if name == CLASSIFIER else "squared_error"}
        right = Twin(name, parameters, rows, y, WEIGHT).fit()
        csr = sp.csr_array(rows)
        ours, theirs = (model(fit(of, name, parameters, csr, y, WEIGHT)) for of in LIBRARIES)
        assert difference(ours, right) < TOLERANCE
        assert difference(theirs, right) > APART


def test_csr_of_scikit_learn_truncates_otherwise_without_an_intercept_too():
    rows = np.where(np.abs(X) > 0.2, X, 0.0)
    parameters = COMMON | rate("constant") | {"penalty": "l1", "fit_intercept": False}
    for library, same in zip(LIBRARIES, (True, False), strict=True):
        dense, csr = (
            model(fit(library, REGRESSOR, parameters, of, Y["real"]))
            for of in (rows, sp.csr_array(rows))
        )
        assert (difference(csr, dense) < TOLERANCE) == same


@pytest.mark.parametrize("name", (CLASSIFIER, REGRESSOR))
def test_adaptive_with_a_tolerance(name):
    """What it watches is the objective, weights included."""
    y, weight = (LABEL if name == CLASSIFIER else Y["real"]), np.geomspace(6.0, 0.02, 40)
    loss = "log_loss" if name == CLASSIFIER else "squared_error"
    tol, patience = 2e-3, 2
    parameters = COMMON | rate("adaptive") | {"loss": loss, "penalty": None, "max_iter": 1000}
    watch = {"tol": tol, "n_iter_no_change": patience}
    for weights in (None, weight):
        right, blind = (
            Twin(name, parameters, X, y, weights).fit_adaptive(tol, patience, weighted=weighted)
            for weighted in (True, False)
        )
        ours, theirs = (model(fit(of, name, parameters | watch, X, y, weights)) for of in LIBRARIES)
        assert difference(ours, right) < TOLERANCE
        assert difference(theirs, blind) < TOLERANCE  # so that is all scikit-learn does otherwise
        apart = difference(theirs, right)
        assert apart > APART if weights is not None else apart < TOLERANCE


@pytest.mark.parametrize("penalty", ("l2", None))
def test_scores_of_early_stopping(penalty, capsys):
    """They are those of the weights; scikit-learn forgets the pending scale of L2."""
    train, held_out = next(ShuffleSplit(test_size=0.25, random_state=0).split(X))
    train.sort()
    held_out.sort()
    y = Y["real"]
    parameters = COMMON | rate("constant") | {"penalty": penalty, "early_stopping": True}
    twin = Twin(REGRESSOR, parameters, X[train], y[train])
    right, models = [], []
    for _ in range(EPOCHS):
        twin.epoch()
        models.append(twin.model())
        right.append(r2_score(y[held_out], X[held_out] @ models[-1][0] + models[-1][1]))

    quiet = {"validation_fraction": 0.25, "random_state": 0, "verbose": 1}
    theirs = fit(linear_model, REGRESSOR, parameters | quiet, X, y)
    printed = re.findall(r"Validation score: (\S+)", capsys.readouterr().out)
    off = np.abs(np.array(printed, dtype=float) - right)
    assert difference(model(theirs), models[-1]) < TOLERANCE
    assert off.min() > 1e-2 if penalty == "l2" else off.max() < 1e-6

    seen = []

    def scoring(estimator, X, y):
        seen.append(r2_score(y, estimator.predict(X)))
        return seen[-1]

    ours = fastsgd.SGDRegressor(**parameters, scoring=scoring)
    ours.fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out])
    np.testing.assert_allclose(seen, right, rtol=0.0, atol=1e-9)
    assert difference(model(ours), models[int(np.argmax(right))]) < TOLERANCE


def test_huge_derivatives():
    """Least squares is linear in y; scikit-learn cuts derivatives at 1e12."""
    parameters = COMMON | rate("constant")
    right = Twin(REGRESSOR, parameters, X, Y["real"]).fit()
    for library, same in zip(LIBRARIES, (True, False), strict=True):
        coef, intercept = model(fit(library, REGRESSOR, parameters, X, 1e13 * Y["real"]))
        scaled = (coef / 1e13, intercept / 1e13)
        assert difference(scaled, right) < TOLERANCE if same else difference(scaled, right) > APART
