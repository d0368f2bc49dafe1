"""MLPClassifier and MLPRegressor: scikit-learn's models, and what they have beyond them."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network as peers
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastsgd import DivergenceError, MLPClassifier, MLPRegressor, schedules
from fastsgd.estimators import network_fitting
from fastsgd.estimators.validated import valid_defaults
from fastsgd.network import ACTIVATIONS
from fastsgd.solver import network_loop

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:sklearn"),  # log(0) there
]

WEIGHTS = "a repeated row is in batches of its own; with a full batch this check passes"
LABELS_OF_ROWS = "weights of classes are those of rows, and a multilabel row has several classes"
COUNTS = "the check has negative targets, whatever the tags say"


def expected_failures(estimator):
    """Checks that fail, and why."""
    found = {}
    if estimator.batch_size != "auto":  # which is all rows of these checks
        for kind in ("dense", "sparse"):
            found[f"check_sample_weight_equivalence_on_{kind}_data"] = WEIGHTS
    if getattr(estimator, "class_weight", None) is not None:
        check = "check_classifiers_multilabel"
        for what in ("predict", "predict_proba"):
            found[f"{check}_output_format_{what}"] = LABELS_OF_ROWS
        found[f"{check}_output_format_decision_function"] = LABELS_OF_ROWS
        found[f"{check}_representation_invariance"] = LABELS_OF_ROWS
    if estimator.loss == "poisson":
        found["check_regressor_multioutput"] = COUNTS
    return found


def regressor(hidden, **options):
    """One with such hidden layers: its first parameter is the loss."""
    return MLPRegressor(hidden_layer_sizes=hidden, **options)


SMALL = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.01}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        MLPClassifier(**SMALL),
        MLPClassifier((8, 4), "tanh", solver="sgd", learning_rate_init=0.1, standardize=True),
        MLPClassifier(**SMALL, class_weight="balanced", average=True, batch_size=10),
        MLPRegressor(**SMALL),
        MLPRegressor(hidden_layer_sizes=(), solver="sgd", learning_rate_init=0.05),
        MLPRegressor("poisson", standardize=True, average=0.5, **SMALL),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", (MLPClassifier, MLPRegressor))
def test_defaults_are_valid_and_scikit_learns(kind):
    ours, theirs = kind().get_params(), getattr(peers, kind.__name__)().get_params()
    assert valid_defaults(kind) == ours
    assert {name: ours[name] for name in theirs if name != "max_fun"} == {
        name: value for name, value in theirs.items() if name != "max_fun"
    }


# ---------------------------------------------------------------- the models of scikit-learn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(230, 6))
LABELS = (X @ RNG.normal(size=(6, 3))).argmax(axis=1)
TARGETS = {
    "classes": np.array(["a", "b", "c"])[LABELS],
    "two classes": LABELS > 0,
    "labels": np.eye(3, dtype=int)[LABELS] | np.eye(3, dtype=int)[(X[:, 0] > 0).astype(int)],
    "real": X[:, 0] * X[:, 1],
    "counts": RNG.poisson(np.exp(X[:, 0])).astype(float),
}
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "adam of other constants": {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.02},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.02},
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.0},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "momentum": 0.0},
    "adam, adaptive": {"solver": "adam", "learning_rate": "adaptive", "learning_rate_init": 0.01},
}


def pair(targets, **options):
    """Our estimator and scikit-learn's, of the same parameters."""
    name = "MLPRegressor" if targets in ("real", "counts") else "MLPClassifier"
    options = {"shuffle": False, "random_state": 3, **options}
    if targets == "counts":
        options["loss"] = "poisson"
    ours = MLPRegressor if name == "MLPRegressor" else MLPClassifier
    return ours(**options), getattr(peers, name)(**options)


def assert_same(ours, theirs):
    for mine, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.loss_ == pytest.approx(theirs.loss_)
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_)
    assert ours.validation_scores_ is theirs.validation_scores_ is None


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("targets", TARGETS)
def test_is_scikit_learns(targets, solver):
    """Weights, losses and the epoch that training stops at, in float64 and without shuffling."""
    y = TARGETS[targets]
    options = {"hidden_layer_sizes": (9, 4), "batch_size": 50, "max_iter": 120, "tol": 1e-3}
    ours, theirs = (model.fit(X, y) for model in pair(targets, **options, **SOLVERS[solver]))
    assert_same(ours, theirs)
    if not hasattr(ours, "classes_"):
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        found, expected = ours.predict_log_proba(X), theirs.predict_log_proba(X)
        seen = expected > -15.0  # 1 - p of a p near 1 has few digits there
        np.testing.assert_allclose(found[seen], expected[seen], 1e-5)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", ("adam", "nesterov"))
def test_every_activation_is_scikit_learns(activation, solver):
    options = {"activation": activation, "hidden_layer_sizes": (7,), "max_iter": 30, "alpha": 0.1}
    ours, theirs = pair("classes", **options, **SOLVERS[solver])
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(X))
    assert_same(
        *(model.fit(X, TARGETS["classes"], sample_weight=weight) for model in (ours, theirs))
    )


def test_partial_fit_is_scikit_learns():
    ours, theirs = pair("classes", hidden_layer_sizes=(5,), batch_size=20)
    for part in np.array_split(np.arange(len(X)), 5):
        for model in (ours, theirs):
            model.partial_fit(X[part], TARGETS["classes"][part], classes=["a", "b", "c"])
    assert_same(ours, theirs)


def test_first_weights_are_scikit_learns():
    """With shuffling and in float32 too: after a step of no length."""
    options = {"max_iter": 1, "learning_rate_init": 1e-30, "shuffle": True, "random_state": 5}
    for activation in ("relu", "logistic"):
        ours, theirs = pair("real", activation=activation, **options)
        rows = X.astype(np.float32)
        ours.fit(rows, TARGETS["real"])
        theirs.fit(rows, TARGETS["real"])
        for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
            assert mine.dtype == np.float32
            np.testing.assert_array_equal(mine, other)


def test_outputs_of_a_regression_stop_by_their_mean():
    """As in scikit-learn, whose loss is the mean of the outputs' and ours their sum."""
    y = np.column_stack([TARGETS["real"], X[:, 2], X[:, 3] * 2.0])
    options = {"alpha": 0.0, "hidden_layer_sizes": (8,), "tol": 1e-3, "batch_size": 50}
    ours, theirs = (m.fit(X, y) for m in pair("real", **options, **SOLVERS["adam"]))
    assert ours.n_iter_ == theirs.n_iter_ < 200
    np.testing.assert_allclose(ours.loss_curve_, np.multiply(3.0, theirs.loss_curve_))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-6)


@pytest.mark.parametrize("name", ("X", "y"))
def test_lists_and_frames(name):
    pandas = pytest.importorskip("pandas")
    model = MLPClassifier(4, max_iter=3, random_state=0)
    plain = clone(model).fit(X, LABELS)
    rows = pandas.DataFrame(X, columns=list("abcdef")) if name == "X" else X.tolist()
    other = clone(model).fit(rows, LABELS.tolist())
    np.testing.assert_array_equal(other.coefs_[0], plain.coefs_[0])
    assert hasattr(other, "feature_names_in_") == (name == "X")


# ---------------------------------------------------------------- when training stops


def test_tolerance_none_trains_all_epochs():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = regressor(3, tol=None, max_iter=37).fit(X, np.ones(len(X)))
    assert model.n_iter_ == 37
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(5\)"):
        regressor(3, max_iter=5).fit(X, TARGETS["real"])


def test_a_validation_set_is_watched_and_the_best_weights_restored():
    """Held out or the user's own; by the score or by a scorer."""
    y = LABELS.copy()
    y[::3] = RNG.integers(0, 3, len(y[::3]))  # which can be learned by heart alone
    options = {"hidden_layer_sizes": (30,), "learning_rate_init": 0.02, "random_state": 0}
    options |= {"batch_size": 16, "max_iter": 100}
    held_out = MLPClassifier(early_stopping=True, **options).fit(X, y)
    own = MLPClassifier(**options).fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    by_loss = MLPClassifier(scoring="neg_log_loss", **options)
    by_loss.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    for model in (held_out, own, by_loss):
        scores = model.validation_scores_
        assert len(scores) == model.n_iter_ == len(model.loss_curve_) < 100
        assert max(scores) == model.best_validation_score_ > scores[-1]
        assert model.best_loss_ is None
    assert own.score(X[150:], y[150:]) == own.best_validation_score_
    from sklearn.metrics import log_loss

    loss = log_loss(y[150:], by_loss.predict_proba(X[150:]))
    assert -loss == pytest.approx(by_loss.best_validation_score_)


def test_rows_that_are_held_out_are_not_trained_on():
    """Whatever their targets are, but for the epoch that is the best."""
    model = regressor(5, early_stopping=True, n_iter_no_change=np.inf, max_iter=9)
    model.set_params(random_state=1, solver="sgd", validation_fraction=0.3)
    first = clone(model).fit(X, TARGETS["real"])
    rows = model._held_out(model._task(X, TARGETS["real"], None, (X, None, None)), 1)
    y = TARGETS["real"].copy()
    y[rows] = 0.1 * X[rows, 4]
    second = clone(model).fit(X, y)
    np.testing.assert_array_equal(first.loss_curve_, second.loss_curve_)
    assert first.validation_scores_ != second.validation_scores_
    assert first.t_ == 9 * (len(X) - len(rows))


def test_a_score_that_is_no_number():
    model = regressor(4, scoring=lambda *_: float("nan"), max_iter=3, random_state=0)
    with pytest.warns(UserWarning, match="not a finite number"):
        model.fit(X, TARGETS["real"], X_val=X, y_val=TARGETS["real"])
    assert np.isnan(model.validation_scores_).all()
    assert model.best_validation_score_ == -np.inf


# ---------------------------------------------------------------- runs in parts

WAYS = {
    "adam": {},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.02},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "averages": {"average": 5, "clip_norm": 0.5},
    "tail": {"average": 0.5, "total_epochs": 6, "learning_rate": "cosine"},
    "schedule": {"learning_rate": schedules.step(decay=0.5, step_epochs=2), "solver": "sgd"},
    "callable": {"learning_rate": lambda t, e: 0.01 / (1 + e)},
    "standardize": {"standardize": True, "sampling": "block"},
    "weights": {"class_weight": "balanced", "sampling": "replacement"},
}


def bits(model):
    return [part.tobytes() for part in model.coefs_ + model.intercepts_]


def rows_of(layout):
    """X as float64, float32 or sparse."""
    if layout == "csr":
        return sp.csr_array(np.where(np.abs(X) > 0.8, X, 0.0))
    return X.astype(layout)


@pytest.mark.parametrize("layout", ("float64", "float32", "csr"))
@pytest.mark.parametrize("way", WAYS)
def test_runs_in_parts_have_the_bits_of_a_whole_one(way, layout):
    """By partial_fit, by fit with resume, and pickled in between."""
    if way == "standardize" and layout == "csr":
        pytest.skip("sparse X is not centred")
    y, rows = TARGETS["classes"], rows_of(layout)
    options = {"hidden_layer_sizes": (7, 3), "batch_size": 32, "random_state": 0, "tol": None}
    model = MLPClassifier(**options, **WAYS[way], max_iter=6)
    whole = clone(model).fit(rows, y)
    parts, resumed = clone(model), clone(model).set_params(max_iter=2)
    if "total_epochs" not in WAYS[way]:
        model.set_params(max_iter=6)
    for _ in range(6):
        parts.partial_fit(rows, y, classes=["a", "b", "c"])
        if way != "callable":
            parts = pickle.loads(pickle.dumps(parts))
    for _ in range(3):
        resumed.fit(rows, y, resume=True)
    for other in (parts, resumed):
        assert bits(other) == bits(whole)
        assert other.t_ == whole.t_ == 6 * len(X)
        np.testing.assert_array_equal(other.loss_curve_, whole.loss_curve_)
    assert len({*bits(whole), *bits(clone(model).set_params(max_iter=5).fit(rows, y))}) > 4


def test_the_adaptive_rate_falls_after_its_patience_again_and_again():
    """As in scikit-learn: after more than ``n_iter_no_change`` epochs without a gain."""
    options = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1}
    options |= {"tol": 1e9, "n_iter_no_change": 3, "max_iter": 14, "random_state": 0}
    with pytest.warns(ConvergenceWarning):
        model = MLPRegressor(hidden_layer_sizes=(3,), **options).fit(X, X[:, 0])
    rates = np.repeat(0.1 / 5.0 ** np.arange(4), (5, 4, 4, 1))
    np.testing.assert_allclose(model.history_["learning_rate"], rates)


def test_random_state_may_be_a_generator():
    """It is drawn from once a run: first weights, split, seed."""
    one, other = (regressor(4, max_iter=4, random_state=np.random.RandomState(7)) for _ in range(2))
    one.set_params(max_iter=2, early_stopping=True).fit(X, TARGETS["real"])
    one.fit(X, TARGETS["real"], resume=True)
    other.set_params(early_stopping=True).fit(X, TARGETS["real"])
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)


def test_warm_start_is_a_run_from_the_present_weights():
    model = regressor(4, max_iter=5, warm_start=True, random_state=0).fit(X, TARGETS["real"])
    before = bits(model)
    model.set_params(learning_rate_init=1e-30).fit(X, TARGETS["real"])
    assert bits(model) == before
    assert model.t_ == 5 * len(X)
    assert len(model.loss_curve_) == 5
    for units in (5, 2**70):  # for which there is no memory either
        with pytest.raises(ValueError, match="hidden_layer_sizes"):
            model.set_params(hidden_layer_sizes=units).fit(X, TARGETS["real"])
    assert bits(model) == before


def test_weights_changed_by_hand_are_what_training_starts_from():
    model = regressor((), max_iter=5, random_state=0, standardize=True)
    model.set_params(learning_rate_init=1e-12).fit(X, TARGETS["real"])
    model.coefs_ = [np.full((6, 1), 2.0)]
    model.partial_fit(X, TARGETS["real"])
    np.testing.assert_allclose(model.coefs_[0], 2.0)
    model.coefs_[0] += 1.0
    model.partial_fit(X, TARGETS["real"])
    np.testing.assert_allclose(model.coefs_[0], 3.0)
    model.coefs_ = [np.full((5, 1), 2.0)]
    with pytest.raises(ValueError, match="coefs_ and intercepts_ of the model to go on from"):
        model.partial_fit(X, TARGETS["real"])
    model.coefs_ = [np.full((6, 1), np.nan)]
    with pytest.raises(ValueError, match="coefs_ and intercepts_ to start from must be finite"):
        model.partial_fit(X, TARGETS["real"])


def test_a_run_goes_on_with_other_settings():
    """Another optimizer, dtype or average gets the parameters and the counts."""
    model = regressor(4, max_iter=3, random_state=0).fit(X, TARGETS["real"])
    loss = model.loss_
    for change in ({"solver": "sgd"}, {"average": True}, {"alpha": 0.5}, {"solver": "adam"}):
        model.set_params(**change, learning_rate_init=1e-12).fit(X, TARGETS["real"], resume=True)
    model.partial_fit(X.astype(np.float32), TARGETS["real"])
    assert model.t_ == 16 * len(X)
    assert model.loss_curve_[3] == pytest.approx(loss, rel=0.05)
    assert model.coefs_[0].dtype == np.float32
    assert model.history_["epoch"] == list(range(1, 17))


@pytest.mark.parametrize("average", (False, True))
def test_a_fit_goes_on_from_restored_weights(average):
    model = regressor(50, learning_rate_init=0.1, random_state=0, average=average, batch_size=8)
    model.set_params(validation_fraction=0.5, early_stopping=True, max_iter=60)
    model.fit(X[:80], TARGETS["real"][:80])
    assert model.validation_scores_[-1] < model.best_validation_score_
    restored = bits(model)
    continued = pickle.loads(pickle.dumps(model)).set_params(learning_rate_init=1e-30)
    continued.set_params(max_iter=1).fit(X[:80], TARGETS["real"][:80], resume=True)
    assert bits(continued) == restored


# ---------------------------------------------------------------- other rows, other weights


def test_stored_types_are_read_in_place():
    rows = RNG.integers(0, 256, (100, 12)).astype(np.uint8)
    y = (rows[:, 0] > rows[:, 1]).astype(int)
    model = MLPClassifier(8, max_iter=10, random_state=0, learning_rate_init=1e-4)
    wide = clone(model).fit(rows.astype(np.float32), y)
    assert bits(clone(model).fit(rows, y)) == bits(wide)
    assert bits(clone(model).fit(rows.astype(np.float16), y)) == bits(wide)
    assert wide.coefs_[0].dtype == np.float32
    expected = wide.predict_proba(rows.astype(float))
    np.testing.assert_allclose(wide.predict_proba(rows), expected, 1e-3, 1e-30)


@pytest.mark.parametrize("form", (sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array))
def test_sparse_rows_give_the_model_of_dense_ones(form):
    rows = np.where(np.abs(X) > 1.0, X, 0.0)
    model = MLPClassifier(6, max_iter=10, random_state=0)
    dense, sparse = clone(model).fit(rows, LABELS), clone(model).fit(form(rows), LABELS)
    for mine, other in zip(sparse.coefs_, dense.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-9)
    np.testing.assert_allclose(sparse.predict_proba(form(rows)), dense.predict_proba(rows))
    with pytest.raises(ValueError, match="standardize=True needs dense X"):
        model.set_params(standardize=True).fit(form(rows), LABELS)


def test_standardize_is_a_scaler_in_front():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = X * [1.0, 10.0, 0.1, 3.0, 1.0, 100.0] + 5.0
    model = regressor(8, max_iter=20, random_state=0)
    piped = make_pipeline(StandardScaler(), clone(model)).fit(rows, TARGETS["real"])
    ours = clone(model).set_params(standardize=True).fit(rows, TARGETS["real"])
    np.testing.assert_allclose(ours.predict(rows), piped.predict(rows), atol=1e-9)
    np.testing.assert_allclose(ours.loss_curve_, piped[-1].loss_curve_)


def test_class_weights_multiply_sample_weights():
    y, weight = TARGETS["classes"], np.random.default_rng(2).uniform(0.5, 2.0, len(X))
    model = MLPClassifier(6, max_iter=10, random_state=0)
    factor = np.where(y == "b", 3.0, 1.0)
    expected = clone(model).fit(X, y, sample_weight=weight * factor)
    ours = clone(model).set_params(class_weight={"b": 3.0}).fit(X, y, sample_weight=weight)
    assert bits(ours) == bits(expected)
    counts = np.array([weight[y == label].sum() for label in "abc"])
    factor = (weight.sum() / (3 * counts))[np.searchsorted(["a", "b", "c"], y)]
    expected = clone(model).fit(X, y, sample_weight=weight * factor)
    balanced = clone(model).set_params(class_weight="balanced").fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(balanced.loss_curve_, expected.loss_curve_)


def test_rows_of_weight_zero_are_left_out():
    weight = (np.arange(len(X)) % 2).astype(float)
    y = TARGETS["real"].copy()
    y[weight == 0] = 1e6
    model = regressor(5, max_iter=5, random_state=0)
    one, other = (clone(model).fit(X, t, sample_weight=weight) for t in (y, TARGETS["real"]))
    assert bits(one) == bits(other)


@pytest.mark.parametrize("n_jobs", (2, -1))
def test_no_bit_depends_on_threads(n_jobs):
    model = MLPClassifier(16, max_iter=5, random_state=0)
    one, other = clone(model).fit(X, LABELS), clone(model).set_params(n_jobs=n_jobs).fit(X, LABELS)
    assert bits(one) == bits(other)


def test_predictions_in_blocks_are_those_of_single_rows():
    model = MLPClassifier((3000,), max_iter=1, random_state=0).fit(X, LABELS)
    single = np.vstack([model.predict_proba(X[[i]]) for i in range(len(X))])
    np.testing.assert_allclose(model.predict_proba(X), single, rtol=1e-9)


# ---------------------------------------------------------------- errors

BAD = {
    "solver": ({"solver": "lbfgs"}, "solver='lbfgs'"),
    "no layer": ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes must be > 0, got \[5, 0\]"),
    "half a unit": ({"hidden_layer_sizes": (5, 2.5)}, "hidden_layer_sizes must be whole numbers"),
    "activation": ({"activation": "sine"}, "'activation' parameter"),
    "learning_rate": ({"learning_rate": "auto"}, "'learning_rate' parameter"),
    "learning_rate_init": ({"learning_rate_init": 0.0}, "'learning_rate_init' parameter"),
    "momentum": ({"momentum": 1.0}, "'momentum' parameter"),
    "beta_1": ({"beta_1": 1.0}, "'beta_1' parameter"),
    "tol": ({"tol": -1.0}, "'tol' parameter"),
    "clip_norm": ({"clip_norm": 0.0}, "'clip_norm' parameter"),
    "batch_size": ({"batch_size": 0}, "'batch_size' parameter"),
}


@pytest.mark.parametrize("kind", (MLPClassifier, MLPRegressor))
@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_parameter(case, kind):
    options, words = BAD[case]
    for call in ("fit", "partial_fit"):
        more = {"classes": [0, 1, 2]} if call == "partial_fit" and kind is MLPClassifier else {}
        with pytest.raises(ValueError, match=words):
            getattr(kind(**options), call)(X, LABELS, **more)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="y must be in"):
        MLPRegressor("poisson").fit(X, X[:, 0])
    with pytest.raises(ValueError, match="class_weight is for classes that exclude each other"):
        MLPClassifier(class_weight="balanced").fit(X, TARGETS["labels"])
    with pytest.raises(ValueError, match="y_val must have as many outputs as y"):
        MLPRegressor().fit(X, X[:, :2], X_val=X, y_val=X[:, 0])
    with pytest.raises(ValueError, match="`y_val` has classes not in"):
        MLPClassifier().fit(X, LABELS, X_val=X, y_val=LABELS + 1)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        MLPClassifier().fit(X, LABELS, X_val=X)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPRegressor(early_stopping=True).partial_fit(X, TARGETS["real"])
    with pytest.raises(ValueError, match="validation set is too small"):
        MLPRegressor(early_stopping=True).fit(X[:5], TARGETS["real"][:5])
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        model = MLPClassifier(3, max_iter=1, warm_start=True).fit(X, LABELS)
        model.fit(X, LABELS + 1)
    with pytest.raises(ValueError, match="class_weight times sample_weight"):
        MLPClassifier(class_weight={0: 0.0, 1: 0.0, 2: 0.0}).fit(X, LABELS)
    wrong = X.copy()
    wrong[3, 2] = np.nan
    for activation in ACTIVATIONS:  # relu of NaN may be 0
        with pytest.raises(ValueError, match="Input X contains NaN"):
            MLPClassifier(3, activation).fit(wrong, LABELS)


def test_a_run_that_diverges_says_so_and_changes_nothing():
    model = regressor(5, activation="identity", solver="sgd", max_iter=20, random_state=0)
    model.fit(X, TARGETS["real"])
    before = vars(model).copy()
    model.set_params(learning_rate_init=1e30)
    with pytest.raises(DivergenceError, match="learning_rate_init") as caught:
        model.fit(X, TARGETS["real"], resume=True)
    assert "eta0" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert vars(model) == before | {"learning_rate_init": 1e30}
    assert len(model.loss_curve_) == model.n_iter_


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", (Stop, MemoryError, ValueError))
def test_after_an_exception_the_estimator_is_as_it_was(error, monkeypatch):
    model = MLPClassifier(4, max_iter=3, random_state=0).fit(X, LABELS)
    before, epochs = vars(model).copy(), list(model.loss_curve_)

    def fails(*problem):
        *_, progress = problem
        progress.history.add(*range(len(progress.history.columns)))
        raise error

    monkeypatch.setattr(network_fitting, "fit_network", fails)
    for call in (
        lambda: model.fit(X, LABELS),
        lambda: model.fit(X, LABELS, resume=True),
        lambda: model.partial_fit(X, LABELS),
    ):
        with pytest.raises(error):
            call()
        assert vars(model) == before
        assert model.loss_curve_ == epochs


class Interrupting:
    """A clock of short calls, the last of which is in the middle of the third epoch."""

    def __init__(self):
        self.epochs = 0

    def advance(self, run):
        done = run.advance(1)
        self.epochs += done
        if self.epochs == 2 and not done:
            raise KeyboardInterrupt
        return done


@pytest.mark.parametrize("layout", ("float32", "csr"))
@pytest.mark.parametrize("solver", ("adam", "sgd"))
def test_ctrl_c_publishes_the_model_as_it_stands(solver, layout, monkeypatch):
    """In the middle of an epoch; a later call goes on at a new one."""
    rows = rows_of(layout)
    model = MLPClassifier(5, solver=solver, batch_size=16, random_state=0, max_iter=9)
    two = clone(model).set_params(max_iter=2).fit(rows, LABELS)
    with monkeypatch.context() as patched:
        patched.setattr(network_loop, "Clock", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            model.fit(rows, LABELS)
    assert model.n_iter_ == 2
    np.testing.assert_array_equal(model.loss_curve_, two.loss_curve_)
    assert model._continuation.state.row > 0
    assert bits(model) != bits(two)
    assert model.score(rows, LABELS) > 0.2
    assert bits(pickle.loads(pickle.dumps(model)).partial_fit(rows, LABELS)) == bits(
        model.partial_fit(rows, LABELS)
    )
    assert model.history_["epoch"] == [1, 2, 4]


def test_verbose_tells_of_every_epoch(capsys):
    regressor(3, max_iter=4, verbose=True, random_state=0).fit(X, TARGETS["real"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", str(i)] for i in range(1, 5)]
    regressor(3, max_iter=4, random_state=0).fit(X, TARGETS["real"])
    assert capsys.readouterr() == ("", "")


class Recorder:
    """Keeps what it is told of epochs, and ends the fit after some of them."""

    def __init__(self, stop_at):
        self.stop_at, self.losses, self.models = stop_at, [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        if context.task_name == "epoch":
            self.models.append(bits(fitted_estimator))
            self.losses.append(fitted_estimator.score(X, y))
        return len(self.models) == self.stop_at


def test_callbacks_see_every_epoch_and_may_end_the_fit():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder(3)
    model = MLPClassifier(4, random_state=0).set_callbacks(recorder).fit(X, LABELS)
    assert model.n_iter_ == 3 == len({tuple(model) for model in recorder.models})
    assert recorder.models[-1] == bits(model)
    assert recorder.losses[-1] == model.score(X, LABELS)


def test_hidden_layers_may_be_given_in_many_ways():
    model = MLPClassifier(max_iter=2, random_state=0)
    first = clone(model).set_params(hidden_layer_sizes=(3, 2)).fit(X, LABELS)
    for sizes in ([3, 2], np.array([3, 2], dtype=np.uint8), (np.int64(3), 2)):
        assert bits(clone(model).set_params(hidden_layer_sizes=sizes).fit(X, LABELS)) == bits(first)
    one = clone(model).set_params(hidden_layer_sizes=[4]).fit(X, LABELS)
    for sizes in (4, np.int8(4)):
        assert bits(clone(model).set_params(hidden_layer_sizes=sizes).fit(X, LABELS)) == bits(one)
    linear = clone(model).set_params(hidden_layer_sizes=[]).fit(X, LABELS)
    assert [coef.shape for coef in linear.coefs_] == [(6, 3)]
