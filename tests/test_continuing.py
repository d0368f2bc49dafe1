"""Going on: k epochs at once, one by one, in pieces, pickled on the way: the same bits."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor, schedules
from fastsgd.estimators import fitting

EPOCHS = 4
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 7)) * (rng.random((60, 7)) < 0.6)
Y = {
    SGDClassifier: rng.integers(0, 3, 60),
    SGDRegressor: X @ rng.normal(size=(7, 2)) + 0.1 * rng.normal(size=(60, 2)),
    SGDOneClassSVM: None,
}
LAYOUTS = {"dense": X, "float32": X.astype(np.float32), "csr": sp.csr_array(X)}


def halved(step, epoch):
    """A schedule of the user's own."""
    return 0.1 / (1 + epoch) + 0.01 / step


SETTINGS = {
    "default": {},
    "momentum": {"momentum": 0.9, "nesterov": True, "batch_size": 8},
    "average": {"average": True, "momentum": 0.5},
    "average from": {"average": 100, "batch_size": 3},
    "tail": {"average": 0.5, "total_epochs": 4.0},
    "l1": {"penalty": "l1", "alpha": 0.01},
    "elasticnet": {"penalty": "elasticnet", "alpha": 0.01, "momentum": 0.5, "average": True},
    "no penalty": {"penalty": None, "clip_norm": 1.0, "sampling": "replacement"},
    "optimal": {"learning_rate": "optimal", "alpha": 0.1},
    "invscaling": {"learning_rate": "invscaling", "eta0": 0.1, "warmup_steps": 9},
    "adaptive": {"learning_rate": "adaptive", "eta0": 0.1, "sampling": "once"},
    "step": {"learning_rate": "step", "step_epochs": 2.0, "shuffle": False},
    "exponential": {"learning_rate": "exponential", "decay": 0.5},
    "linear": {"learning_rate": "linear", "total_epochs": 4.0},
    "cosine": {"learning_rate": "cosine", "total_epochs": 4.0},
    "one_cycle": {"learning_rate": schedules.one_cycle(4.0)},
    "callable": {"learning_rate": halved},
    "backoff": {"on_divergence": "backoff", "learning_rate": "constant", "eta0": 300.0},
}


def of(estimator, options, **more):
    """An estimator with those of the options that it has, seeded, one epoch and no tolerance."""
    known = estimator().get_params()
    known = {name: value for name, value in options.items() if name in known}
    return estimator(**{"random_state": 3, "tol": None, **known, **more})


def portrait(model):
    """The model, its count of updates and its history but for the times, bit by bit."""
    end = model.offset_ if isinstance(model, SGDOneClassSVM) else model.intercept_
    timeless = set(model.history_) - {"seconds", "rows_per_second"}
    history = {name: np.array(model.history_[name]).tobytes() for name in sorted(timeless)}
    return model.coef_.dtype, model.coef_.tobytes(), end.tobytes(), model.t_, history


def step_by_step(model, X, y, **more):
    for _ in range(EPOCHS):
        model.partial_fit(X, y, **more)
    return model


def all_classes(estimator):
    return {"classes": np.arange(3)} if estimator is SGDClassifier else {}


@pytest.mark.filterwarnings("ignore:SGD diverged")
@pytest.mark.filterwarnings("ignore:eta . alpha reached 1")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("estimator", Y)
def test_k_epochs_at_once_or_one_by_one(estimator, name, layout):
    """fit, partial_fit k times, fits in pieces, and all that pickled in between."""
    y, table = Y[estimator], LAYOUTS[layout]
    options = {"loss": "squared_error", **SETTINGS[name]}
    horizon = {} if "total_epochs" in options else {"total_epochs": float(EPOCHS)}
    options |= horizon
    whole = of(estimator, options, max_iter=EPOCHS).fit(table, y)
    assert whole.n_iter_ == EPOCHS
    assert len(whole.loss_curve_) == EPOCHS
    assert np.abs(whole.coef_).max() > 1e-3 or name == "backoff"

    stepwise = step_by_step(of(estimator, options), table, y, **all_classes(estimator))
    assert portrait(stepwise) == portrait(whole)
    assert stepwise.n_iter_ == 1

    pieces = of(estimator, options, max_iter=1).fit(table, y, resume=True)
    pieces = pickle.loads(pickle.dumps(pieces)).set_params(max_iter=EPOCHS - 2)
    pieces = copy.deepcopy(pieces.fit(table, y, resume=True)).partial_fit(table, y)
    assert portrait(pieces) == portrait(whole)


def test_classes_that_are_weighted_go_on_too():
    """ "balanced" from running counts is the same wherever the epochs are counted."""
    y = np.minimum(Y[SGDClassifier], 1) + (rng.random(60) < 0.1)
    for weights in ("balanced", {0: 2.0, 1: 0.3}):
        options = {"class_weight": weights, "total_epochs": float(EPOCHS)}
        weight = rng.uniform(0.0, 2.0, 60)
        whole = of(SGDClassifier, options, max_iter=EPOCHS).fit(X, y, sample_weight=weight)
        stepwise = of(SGDClassifier, options)
        step_by_step(stepwise, X, y, classes=np.unique(y), sample_weight=weight)
        assert portrait(stepwise) == portrait(whole)


CHILD = """
import pickle, sys
model, X, y = pickle.load(sys.stdin.buffer)
model.partial_fit(X, y)
sys.stdout.buffer.write(pickle.dumps(model))
"""


def test_another_process_goes_on():
    """A pickle of the estimator is all it takes."""
    options = {"momentum": 0.9, "average": True, "penalty": "l1", "batch_size": 7}
    y = Y[SGDClassifier]
    whole = of(SGDClassifier, options, max_iter=3).fit(LAYOUTS["csr"], y)
    half = of(SGDClassifier, options, max_iter=3)
    half.set_params(max_iter=1, total_epochs=3.0).fit(LAYOUTS["csr"], y)
    given = pickle.dumps((half, LAYOUTS["csr"], y))
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=given, capture_output=True, check=True
    )
    half = pickle.loads(done.stdout)
    assert portrait(half.partial_fit(LAYOUTS["csr"], y)) == portrait(whole)


def test_the_horizon_is_that_of_the_first_fit():
    """max_iter of the first fit, wherever the rest of the run is cut."""
    cosine = {"learning_rate": "cosine", "eta0": 0.1}
    y = Y[SGDRegressor]
    model = of(SGDRegressor, cosine, max_iter=6).fit(X, y)
    assert model.history_["learning_rate"][-1] < 0.01
    model.set_params(max_iter=2).fit(X, y, resume=True)
    assert model.history_["learning_rate"][-1] == pytest.approx(0.0, abs=1e-12)
    assert model.n_iter_ == 2
    assert model.history_["epoch"] == list(range(1, 9))


@pytest.mark.parametrize("loss", ("squared_error", "huber"))
def test_rates_are_decided_once_a_hundred_rows_were_seen(loss):
    """Until then curvatures are averaged by rows; then larger features lower the rate where a run
    may diverge, and smaller ones never raise it. Other parameters begin anew."""
    y, few = Y[SGDRegressor], 0.1 * X[:6]
    model = of(SGDRegressor, {"learning_rate": schedules.constant(), "loss": loss})

    def rate():
        return model.history_["learning_rate"][-1]

    def alone(X):
        fresh = clone(model).partial_fit(X, y[: len(X)])
        return fresh.history_["learning_rate"][-1]

    model.partial_fit(few, y[:6])
    assert rate() == alone(few)
    model.partial_fit(X, y)
    weights = np.array([6.0, len(X)]) / (6.0 + len(X))
    assert_allclose(rate(), 1.0 / (weights / [alone(few), alone(X)]).sum())
    model.partial_fit(X, y)
    decided = rate()
    for factor in (0.3, 3.0):
        model.partial_fit(factor * X, y)
        steeper = factor > 1.0 and loss == "squared_error"
        assert rate() < 0.5 * decided if steeper else rate() == decided
    model.set_params(batch_size=20).partial_fit(X, y)
    assert rate() != decided
    model.set_params(eta0=0.003).partial_fit(X, y)
    assert rate() == 0.003


def test_fit_without_resume_begins_anew():
    y = Y[SGDClassifier]
    model = of(SGDClassifier, {"momentum": 0.5}, max_iter=2).fit(X, y)
    once = portrait(model)
    assert portrait(model.partial_fit(X, y).fit(X, y)) == once
    assert portrait(clone(model).fit(X, y)) == once


@pytest.mark.parametrize(
    "changed",
    (
        {"momentum": 0.9},
        {"average": True},
        {"batch_size": 5},
        {"penalty": "l1"},
        {"loss": "log_loss"},
        {"learning_rate": "constant", "eta0": 0.01},
    ),
)
def test_a_changed_parameter_keeps_weights_and_counts(changed):
    """What no longer fits is dropped, the model is gone on from."""
    y = Y[SGDClassifier]
    model = of(SGDClassifier, {"alpha": 0.0}, max_iter=30).fit(X, y)
    before, updates = model.coef_.copy(), model.t_
    model.set_params(**changed).partial_fit(X, y)
    assert model.t_ == updates + -(-60 // model.batch_size)
    assert model.history_["epoch"][-1] == 31
    assert 0.0 < np.linalg.norm(model.coef_ - before) < 0.5 * np.linalg.norm(before)


def test_float32_rows_after_float64_ones():
    y = Y[SGDRegressor]
    model = of(SGDRegressor, {"momentum": 0.5}, max_iter=20).fit(X, y)
    before = model.coef_
    model.partial_fit(X.astype(np.float32), y)
    assert model.coef_.dtype == np.float32
    assert np.linalg.norm(model.coef_ - before) < 0.2 * np.linalg.norm(before)


def test_weights_set_by_hand_are_gone_on_from():
    """As with scikit-learn: an average over workers, say. Sparse weights are the same weights."""
    y = Y[SGDRegressor]
    rate = {"learning_rate": "constant", "eta0": 1e-9, "alpha": 0.0}
    for edit in (lambda c: c * 2.0, lambda c: np.zeros_like(c)):
        model = of(SGDRegressor, rate, max_iter=2).fit(X, y)
        wanted = model.coef_ = edit(model.coef_ + 1.0)
        assert_array_equal(model.partial_fit(X, y).coef_.round(5), wanted.round(5))
    model = of(SGDRegressor, {}, max_iter=2).fit(X, y)
    model.coef_ *= 2.0  # in place
    assert np.abs(model.partial_fit(X, y).coef_).max() > 0.0
    whole = of(SGDRegressor, {"penalty": "l1", "momentum": 0.5}, max_iter=EPOCHS).fit(X, y)
    sparse = of(SGDRegressor, {"penalty": "l1", "momentum": 0.5}, total_epochs=float(EPOCHS))
    for _ in range(EPOCHS):
        sparse.partial_fit(X, y).sparsify()
    assert sp.issparse(sparse.coef_)
    assert_array_equal(sparse.densify().coef_, whole.coef_)


def test_coef_init_begins_a_new_run():
    y = Y[SGDRegressor]
    still = {"learning_rate": "constant", "eta0": 1e-12, "alpha": 0.0}
    model = of(SGDRegressor, still, max_iter=1)
    start = rng.normal(size=(2, 7))
    model.fit(X, y, coef_init=start, intercept_init=[1.0, -1.0], resume=True)
    assert np.abs(model.coef_ - start).max() < 1e-9
    assert np.abs(model.intercept_ - [1.0, -1.0]).max() < 1e-9
    one_class = of(SGDOneClassSVM, still, max_iter=1).fit(X, offset_init=0.25)
    assert one_class.offset_[0] == pytest.approx(0.25, abs=1e-9)


def test_interrupted_epochs_are_skipped(monkeypatch):
    """After Ctrl-C inside an epoch the model goes on at the next one, from where it stood."""
    y = Y[SGDRegressor]
    model = of(SGDRegressor, {"momentum": 0.5, "batch_size": 4}, max_iter=3)
    solve = fitting.fit

    def interrupted(data, lanes, settings, state, stopping, seen):
        solve(data, lanes, settings, state, stopping, seen)
        base_run = base_run_epoch(data, lanes, settings)
        base_run(seen.state)
        raise KeyboardInterrupt

    def base_run_epoch(data, lanes, settings):
        from fastsgd.solver import run_epoch

        return lambda state: run_epoch(data, lanes, settings, state, batches=5)

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert (model.n_iter_, model.t_) == (3, 3 * 15 + 5 + 1)
    stood = model.coef_.copy()
    model.partial_fit(X, y)
    assert model.t_ == 4 * 15 + 5 + 1
    assert model.history_["epoch"] == [1, 2, 3, 5]
    assert 0.0 < np.linalg.norm(model.coef_ - stood) < np.linalg.norm(stood)


def test_what_partial_fit_refuses():
    y = Y[SGDClassifier]
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        SGDClassifier().partial_fit(X, y)
    model = SGDClassifier().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="has classes not in"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="has 6 features, but SGDClassifier is expecting 7"):
        model.partial_fit(X[:, :6], y)
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        SGDClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    regressor = SGDRegressor().partial_fit(X, Y[SGDRegressor])
    with pytest.raises(ValueError, match="does not match dataset"):
        regressor.partial_fit(X, y)
    for warm, options in ((True, {}), (False, {"resume": True})):
        model = SGDClassifier(warm_start=warm, max_iter=2, tol=None).fit(X, y)
        with pytest.raises(ValueError, match="does not match dataset"):
            model.fit(X, np.minimum(y, 1), **options)
        assert list(model.classes_) == [0, 1, 2]


def test_balanced_weights_follow_the_counts():
    """n / (classes * count) over all rows so far, of the classes that have come."""
    model = SGDClassifier(class_weight="balanced", random_state=0)
    seen = []
    solve = fitting.fit

    def spy(data, lanes, *rest):
        seen.append((lanes.weight_negative[0], lanes.weight_positive[0]))
        return solve(data, lanes, *rest)

    chunks = [0] * 4, [0, 0, 1, 1], [1] * 4
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "fit", spy)
        for i, y in enumerate(chunks):
            model.partial_fit(X[4 * i : 4 * i + 4], y, classes=[0, 1])
    expected = [(1.0, 1.0), (8 / (2 * 6), 8 / (2 * 2)), (1.0, 1.0)]
    assert seen == expected


@pytest.mark.parametrize("name", (SGDClassifier, SGDRegressor))
@pytest.mark.parametrize(
    "parameters", ({"momentum": 0.9}, {"average": True}, {"penalty": "l1"}, {"momentum": 0.5})
)
def test_a_chunk_of_one_row_is_a_step_like_any_other(name, parameters):
    """Streams often end in one; momentum, averages and what L1 has paid live on."""
    model = of(name, {**parameters, "batch_size": 32, "learning_rate": "constant", "eta0": 1e-3})
    for _ in range(3):
        model.partial_fit(X, Y[name], **all_classes(name))
    before, t = model.coef_.copy(), model.t_
    model.partial_fit(X[:1], Y[name][:1])
    assert model.t_ == t + 1
    assert 0.0 < np.abs(model.coef_ - before).max() < 0.02


def test_bad_first_chunk_does_not_set_the_rate():
    """Ten rows of zeros say nothing of the curvature; the rows after them do."""
    y = Y[SGDRegressor]
    model = SGDRegressor(random_state=0).partial_fit(np.zeros((10, X.shape[1])), y[:10])
    for _ in range(30):
        for start in range(0, len(y), 10):
            model.partial_fit(X[start : start + 10], y[start : start + 10])
    assert model.score(X, y) > SGDRegressor(random_state=0).fit(X, y).score(X, y) - 0.02


def test_calls_of_an_epoch_each_notice_a_run_away():
    """No single epoch overflows, but the loss grows from call to call."""
    model = SGDRegressor(learning_rate="constant", eta0=1.0, batch_size=len(X), random_state=0)
    with pytest.raises(DivergenceError):
        for _ in range(15):  # the loss grows ten thousandfold a call: no overflow so soon
            model.partial_fit(10.0 * X, Y[SGDRegressor])
    assert np.isfinite(model.coef_).all()
    quiet = SGDRegressor(random_state=0).partial_fit(X, 1e-6 * Y[SGDRegressor])
    quiet.partial_fit(X, 1e3 * Y[SGDRegressor])  # a larger loss, but of larger targets


def test_adaptive_begins_anew_where_its_rate_is_used_up():
    y = X @ np.arange(X.shape[1]) + 1.0
    model = SGDRegressor(learning_rate="adaptive", eta0=0.01, random_state=0, alpha=0.0)
    assert model.fit(X, y).history_["learning_rate"][-1] < 1e-5
    assert model.fit(X, 30.0 - y, resume=True).score(X, 30.0 - y) > 0.99
    model.fit(X, y, resume=True)
    for _ in range(30):
        model.partial_fit(X, 30.0 - y)
    assert model.score(X, 30.0 - y) > 0.99


@pytest.mark.parametrize("name", (SGDClassifier, SGDRegressor))
@pytest.mark.parametrize("how", ("partial_fit", "resume", "warm_start"))
def test_a_model_made_by_hand_is_gone_on_from(name, how):
    """Weights that a user sets on a fresh estimator, as in federated averaging."""
    fitted = of(name, {}, max_iter=3).fit(X, Y[name])
    made = of(name, {"learning_rate": "constant", "eta0": 1e-9}, max_iter=1)
    made.coef_, made.intercept_ = fitted.coef_.copy(), fitted.intercept_.copy()
    if name is SGDClassifier:
        made.classes_ = fitted.classes_
    assert np.array_equal(made.predict(X), fitted.predict(X))
    if how == "partial_fit":
        made.partial_fit(X, Y[name])
    else:
        made.set_params(warm_start=how == "warm_start").fit(X, Y[name], resume=how == "resume")
    assert np.abs(made.coef_ - fitted.coef_).max() < 1e-4


def test_a_rate_of_zero_is_a_rate():
    """Beyond its horizon a linear schedule has the rate 0, and the history says so."""
    model = SGDRegressor(
        learning_rate="linear", eta0=0.01, total_epochs=2, max_iter=4, tol=None, random_state=0
    ).fit(X, Y[SGDRegressor])
    assert model.history_["learning_rate"][2:] == [0.0, 0.0]
