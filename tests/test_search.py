"""Searches against scikit-learn's, of the same estimators: results, attributes, and passes."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.model_selection as peers
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import loguniform
from searches import ALPHAS, FEW, IN_ORDER, count_fits, equal, held_out, same, scores_of
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import SGDClassifier as PeerClassifier
from sklearn.linear_model import SGDRegressor as PeerRegressor
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.preprocessing import scale
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastsgd
from fastsgd import (
    DivergenceError,
    GridSearchCV,
    RandomizedSearchCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from fastsgd.losses import LOSSES
from fastsgd.model_selection import ALPHAS as DEFAULT_ALPHAS
from fastsgd.model_selection import evaluation
from fastsgd.model_selection import lanes as shared_passes

GRID = {"alpha": ALPHAS}
QUIET = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X, y = X[:400], y[:400]
    X = X[:, X.std(axis=0) > 0.1]
    return scale(X), y


@pytest.fixture(scope="module")
def binary(digits):
    return digits[0], np.where(digits[1] < 5, "low", "or more")


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y / 100.0


# ---------------------------------------------------------------- against scikit-learn's search


CLASSIFIERS = (
    {"loss": "log_loss"},
    {"loss": "hinge", "learning_rate": "optimal"},
    {"loss": "log_loss", "penalty": "l1", "batch_size": 8, "momentum": 0.5},
    {"loss": "squared_hinge", "class_weight": "balanced", "average": 0.5},
    {"loss": "log_loss", "standardize": True},
    {"loss": "log_loss", "multi_class": "multinomial", "class_weight": "balanced"},
    {"loss": "log_loss", "class_weight": {1: 0.01}, "max_iter": 40, "tol": 1e-2},
    {"loss": "log_loss", "learning_rate": "invscaling", "eta0": 0.01, "sampling": "block"},
)


@QUIET
@pytest.mark.filterwarnings("ignore:eta . alpha reached 1:RuntimeWarning")
@pytest.mark.parametrize("options", CLASSIFIERS)
@pytest.mark.parametrize("classes", (2, 10))
def test_a_classifiers_results_are_those_of_rows_of_weight_zero(
    classes, options, digits, binary, monkeypatch
):
    """In random order, in batches, at rates from the data."""
    X, y = binary if classes == 2 else digits
    y = (y == "low").astype(int) if "class_weight" in options and classes == 2 else y
    model = SGDClassifier(**{**FEW, **options})
    alone, shared = count_fits(monkeypatch)
    ours, _ = same(model, GRID, X, y, own=held_out(model, X, y), cv=3, return_train_score=True)
    assert not alone
    assert shared == [(3, 3)]
    assert len(np.unique(scores_of(ours))) > 3


@QUIET
@pytest.mark.parametrize(
    "options",
    (
        {},
        {"tol": 1e-3, "max_iter": 60},
        {"loss": "huber", "learning_rate": "constant", "eta0": 0.01, "average": True},
        {"loss": "poisson", "eta0": 0.01},
        {"learning_rate": "adaptive", "eta0": 0.02, "max_iter": 40, "tol": 1e-2},
    ),
)
@pytest.mark.parametrize("sparse", (False, True))
def test_a_regressors_results_are_those_of_rows_of_weight_zero(
    sparse, options, diabetes, monkeypatch
):
    X, y = diabetes
    X = sp.csr_array(np.where(np.abs(X) > 0.5, X, 0.0)) if sparse else X
    model = SGDRegressor(**{**FEW, **options})
    alone, _ = count_fits(monkeypatch)
    peer = held_out(model, X, y)
    type(peer).whole = X, y
    found = []
    for module, one, more in (
        (fastsgd, model, {}),
        (peers, peer, {"rows": np.arange(X.shape[0])}),
    ):
        search = module.GridSearchCV(one, GRID, return_train_score=True)
        found.append(search.fit(X, y, **more))
    equal(*found)
    assert not alone
    assert len(np.unique(scores_of(found[0]))) == 15


def weights_of(y):
    return np.random.default_rng(0).choice([0.0, 0.5, 2.0], len(y))


def largest_error(model, X, y):
    return -float(np.abs(model.predict(X) - y).max())


def two_scores(model, X, y):
    return {
        "right": float((model.predict(X) == y).mean()),
        "size": float(np.abs(model.coef_).max()),
    }


def second_best(results):
    return int(np.argsort(-results["mean_test_score"], kind="stable")[1])


SEARCHES = {
    "default": ({}, {}),
    "weights": ({}, {"weighted": True}),
    "scored in training too": ({"return_train_score": True}, {"weighted": True}),
    "named": ({"scoring": "balanced_accuracy"}, {"weighted": True}),
    "by its own name": ({"scoring": "accuracy"}, {}),
    "made": ({"scoring": make_scorer(accuracy_score)}, {}),
    "several": (
        {"scoring": ["accuracy", "f1_macro"], "refit": "f1_macro", "return_train_score": True},
        {},
    ),
    "several by name": ({"scoring": {"a": "accuracy", "b": "f1_macro"}, "refit": False}, {}),
    "callable": ({"scoring": largest_error}, {"numbers": True}),
    "callable, several": ({"scoring": two_scores, "refit": "right"}, {}),
    "refit by a function": ({"refit": second_best}, {}),
    "no refit": ({"refit": False}, {}),
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("classes", (2, 10))
def test_it_is_scikit_learns_search(classes, name, digits, binary, monkeypatch):
    X, y = binary if classes == 2 else digits
    options, how = SEARCHES[name]
    y = np.unique(y, return_inverse=True)[1] if "numbers" in how else y
    fit = {"sample_weight": weights_of(y)} if "weighted" in how else {}
    alone, shared = count_fits(monkeypatch)
    grid = {"alpha": ALPHAS, "class_weight": [None, "balanced"], "loss": ["log_loss", "hinge"]}
    ours, theirs = same(SGDClassifier(**IN_ORDER), grid, X, y, fit=fit, cv=4, **options)
    assert not alone
    assert shared == [(6, 4), (6, 4)]
    if options.get("refit") is not False:
        assert_array_equal(ours.predict(X), theirs.predict(X))
        assert_array_equal(ours.decision_function(X), theirs.decision_function(X))
        assert ours.score(X, y) == theirs.score(X, y)
        assert_array_equal(ours.classes_, theirs.classes_)
        assert ours.n_features_in_ == X.shape[1]
        assert isinstance(ours.refit_time_, float)
    else:
        with pytest.raises(AttributeError):
            ours.predict(X)


@pytest.mark.parametrize("scoring", (None, "r2", "neg_mean_absolute_error", largest_error))
@pytest.mark.parametrize("outputs", (1, 2))
def test_it_is_scikit_learns_search_of_a_regressor(outputs, scoring, diabetes, monkeypatch):
    X, y = diabetes
    y = y if outputs == 1 else np.column_stack([y, y[::-1]])
    alone, shared = count_fits(monkeypatch)
    model = SGDRegressor(**{**IN_ORDER, "penalty": "elasticnet"})
    grid = {"alpha": ALPHAS, "eta0": [0.01, 0.001], "l1_ratio": [0.1, 0.9], "momentum": [0.0, 0.5]}
    same(model, grid, X, y, scoring=scoring, return_train_score=True)
    assert not alone
    assert shared == [(12, 5), (12, 5)]


def test_several_labels(digits):
    X, y = digits
    labels = np.column_stack([y < 5, y % 2 == 0]).astype(int)
    same(SGDClassifier("log_loss", **IN_ORDER), GRID, X, labels)


def test_lists_of_grids_and_values_of_every_type(binary):
    """Masked columns, and values that cannot be hashed."""
    X, y = binary
    grid = [
        {"alpha": np.array(ALPHAS, dtype=np.float32), "loss": ["log_loss"]},
        {"class_weight": [{"low": 1.0, "or more": 3.0}, None], "batch_size": [np.uint8(1), 1]},
    ]
    same(SGDClassifier(**IN_ORDER), grid, X, y)


def test_a_frame_keeps_the_names_of_its_columns(monkeypatch):
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame, y = pandas.DataFrame(scale(X), columns=list("abcd")), pandas.Series(y)

    def by_name(model, X, y):
        return float(np.mean(model.predict(X[list(model.feature_names_in_)]) == y))

    alone, _ = count_fits(monkeypatch)
    grid = {**GRID, "loss": ["log_loss", "hinge"]}
    for scoring in (None, by_name):
        ours, _ = same(SGDClassifier(**IN_ORDER), grid, frame, y, scoring=scoring)
        assert list(ours.feature_names_in_) == list("abcd")
        assert ours.predict(frame).shape == (150,)
    assert not alone


def test_classes_of_weights_and_scales_of_the_loss_are_scikit_learns(binary, diabetes):
    """Its own estimators, unshuffled."""
    options = {"learning_rate": "constant", "eta0": 0.01, "shuffle": False, **FEW}
    X, y = binary
    grid = {"alpha": ALPHAS, "class_weight": [None, {"low": 0.2, "or more": 3.0}]}
    ours = GridSearchCV(SGDClassifier("log_loss", **options), grid, cv=4).fit(X, y)
    theirs = peers.GridSearchCV(PeerClassifier("log_loss", **options), grid, cv=4).fit(X, y)
    assert_allclose(scores_of(ours), scores_of(theirs))
    X, y = diabetes
    grid = {"alpha": ALPHAS, "epsilon": [0.3, 0.05]}
    ours = GridSearchCV(SGDRegressor("huber", **options), grid).fit(X, y)
    theirs = peers.GridSearchCV(PeerRegressor("huber", **options), grid).fit(X, y)
    assert_allclose(scores_of(ours), scores_of(theirs))
    assert ours.best_params_ == theirs.best_params_
    assert len(np.unique(scores_of(ours))) > 3


@QUIET
@pytest.mark.parametrize("options", ({}, {"multi_class": "multinomial"}, {"tol": 1e-2}))
@pytest.mark.parametrize("classes", (2, 10))
def test_class_weights_are_lanes(classes, options, digits, binary, monkeypatch):
    """Of classes of different sizes; "balanced" is of the training rows of each split."""
    X, y = binary if classes == 2 else digits
    dropped = np.flatnonzero(y == y[0])[::2]
    X, y = np.delete(X, dropped, axis=0), np.delete(y, dropped)
    labels = np.unique(y)
    uneven = dict(zip(labels.tolist(), np.geomspace(0.1, 5.0, len(labels)), strict=True))
    model = SGDClassifier("log_loss", **{**FEW, "max_iter": 20, **options})
    alone, shared = count_fits(monkeypatch)
    grid = {"alpha": ALPHAS, "class_weight": [None, "balanced", uneven]}
    ours, _ = same(model, grid, X, y, own=held_out(model, X, y), cv=3)
    assert not alone
    assert shared == [(9, 3)]
    by_weight = scores_of(ours).reshape(3, 3, 3).swapaxes(0, 1).reshape(3, -1)
    assert len(np.unique(by_weight, axis=0)) == 3


@pytest.mark.parametrize("loss", [n for n, terms in LOSSES.items() if terms.parameter == "epsilon"])
def test_epsilons_have_passes_of_their_own(loss, diabetes, monkeypatch):
    X, y = diabetes
    _, shared = count_fits(monkeypatch)
    model = SGDRegressor(loss, learning_rate="invscaling", eta0=0.01, **FEW)
    same(model, {"alpha": ALPHAS, "epsilon": [0.5, 0.01]}, X, y, own=held_out(model, X, y))
    assert shared == [(3, 5), (3, 5)]


def test_randomized_search_is_scikit_learns(diabetes, monkeypatch):
    X, y = diabetes
    drawn = {"alpha": loguniform(1e-6, 1.0), "eta0": [0.01, 0.001], "momentum": [0.0, 0.5]}
    options = {"n_iter": 8, "random_state": 4, "return_train_score": True}
    alone, shared = count_fits(monkeypatch)
    ours = RandomizedSearchCV(SGDRegressor(**IN_ORDER), drawn, **options).fit(X, y)
    theirs = peers.RandomizedSearchCV(SGDRegressor(**IN_ORDER), drawn, **options).fit(X, y)
    equal(ours, theirs)
    assert not alone
    assert sum(count for count, _ in shared) == 8
    assert len(shared) == 2


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize(
    "cv",
    (
        peers.KFold(3, shuffle=True, random_state=0),
        peers.StratifiedKFold(4, shuffle=True, random_state=0),
        peers.ShuffleSplit(3, test_size=0.2, train_size=0.5, random_state=0),
        peers.RepeatedKFold(n_splits=2, n_repeats=40, random_state=0),
        peers.PredefinedSplit(np.arange(400) % 5 - 1),
        [(np.arange(100), np.arange(300, 400))],
        [(np.arange(400) < 250, np.arange(400) > 300)],
    ),
    ids=lambda cv: type(cv).__name__,
)
def test_splits_of_every_kind(cv, binary, monkeypatch):
    X, y = binary
    alone, _ = count_fits(monkeypatch)
    model = SGDClassifier("log_loss", **IN_ORDER)  # a ShuffleSplit has another order of rows
    own = held_out(model, X, y) if isinstance(cv, peers.ShuffleSplit) else None
    same(model, {"alpha": ALPHAS[:2]}, X, y, cv=cv, own=own)
    assert not alone


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning")
def test_splits_that_weights_of_zero_do_not_describe(digits, monkeypatch):
    """Rows twice, a class that is missing, rows of weight zero alone: scikit-learn's fits."""
    X, y = digits
    twice, missing = np.repeat(np.arange(200), 2), np.flatnonzero(y < 9)
    whole, test = np.arange(300), np.arange(300, 400)
    weight = np.ones(400)
    weight[:50] = 0.0
    cv = [(twice, test), (whole, test), (missing, test), (np.arange(50), test)]
    alone, shared = count_fits(monkeypatch)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 12"):
        same(
            SGDClassifier("log_loss", **IN_ORDER), GRID, X, y, cv=cv, fit={"sample_weight": weight}
        )
    assert shared == [(3, 1)]
    assert len(alone) == 9


def test_groups(binary):
    X, y = binary
    fit = {"groups": np.arange(400) % 7}
    model = SGDClassifier("log_loss", **IN_ORDER)
    same(model, GRID, X, y, cv=peers.GroupKFold(3), fit=fit)
    with pytest.raises(ValueError, match="groups"):
        GridSearchCV(model, GRID, cv=peers.GroupKFold(3)).fit(X, y)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_lanes_in_many_passes_are_those_of_one(dtype, monkeypatch, digits):
    """However few lanes a pass has; a single one too."""
    X, y = digits[0].astype(dtype), digits[1]
    model = SGDClassifier("log_loss", **FEW)
    one = GridSearchCV(model, GRID).fit(X, y)
    for least in (16, 7, 1):
        monkeypatch.setattr(shared_passes, "STATE_BYTES", 1)
        monkeypatch.setattr(shared_passes, "LEAST_LANES", least)
        many = GridSearchCV(model, GRID).fit(X, y)
        assert_allclose(scores_of(many), scores_of(one), atol=2e-2)
        assert_array_equal(many.best_estimator_.coef_, one.best_estimator_.coef_)


# ---------------------------------------------------------------- seeds


def test_every_fit_has_the_seed_that_a_clone_has(digits):
    """A generator is copied, and the user's is not drawn from."""
    X, y = digits
    generator = np.random.RandomState(5)
    model = SGDClassifier("log_loss", **{**FEW, "random_state": generator})
    seed = int(np.random.RandomState(5).randint(np.iinfo(np.int32).max))
    plain = clone(model).set_params(random_state=seed)
    found = GridSearchCV(model, {**GRID, "loss": ["log_loss", "hinge"]}).fit(X, y)
    fixed = GridSearchCV(plain, {**GRID, "loss": ["log_loss", "hinge"]}).fit(X, y)
    assert_array_equal(scores_of(found), scores_of(fixed))
    assert_array_equal(found.best_estimator_.coef_, fixed.best_estimator_.coef_)
    assert generator.randint(1 << 30) == np.random.RandomState(5).randint(1 << 30)


def test_seeds_are_parameters_too(digits, monkeypatch):
    X, y = digits
    _, shared = count_fits(monkeypatch)
    model = SGDClassifier("log_loss", **FEW)
    grid = {"random_state": [0, 1], "alpha": ALPHAS}
    ours, _ = same(model, grid, X, y, own=held_out(model, X, y))
    assert shared == [(3, 5), (3, 5)]
    halves = scores_of(ours).reshape(3, 2, 5)
    assert (halves[:, 0] != halves[:, 1]).any()


# ---------------------------------------------------------------- what does not share passes


@QUIET
def test_early_stopping_is_a_group_of_its_own(digits, monkeypatch):
    X, y = digits
    alone, shared = count_fits(monkeypatch)
    grid = {"alpha": ALPHAS, "early_stopping": [False, True], "on_divergence": ["raise"]}
    model = SGDClassifier("log_loss", **{**IN_ORDER, "max_iter": 6})
    same(model, grid, X, y, return_train_score=True)
    assert shared == [(3, 5)]
    assert len(alone) == 15
    assert all(one["early_stopping"] for one in alone)


@pytest.mark.parametrize(
    ("estimator", "grid"),
    (
        (LogisticRegression(), {"C": [0.1, 1.0]}),
        (PeerClassifier(random_state=0), GRID),
        (SGDClassifier(on_divergence="backoff", **FEW), GRID),
        (SGDOneClassSVM(**FEW), {"nu": [0.1, 0.5]}),
    ),
    ids=lambda one: type(one).__name__,
)
def test_other_estimators_are_evaluated_by_scikit_learn(estimator, grid, digits, monkeypatch):
    X, y = digits
    _, shared = count_fits(monkeypatch)
    options = {"scoring": lambda model, X, y: float(np.mean(model.predict(X) == y))}
    same(estimator, grid, X, y, cv=3, **options)
    assert not shared


def test_what_else_fit_is_given_is_not_shared(diabetes, monkeypatch):
    X, y = diabetes
    alone, shared = count_fits(monkeypatch)
    start = {"coef_init": np.ones(X.shape[1])}
    ours, _ = same(SGDRegressor(**IN_ORDER), GRID, X, y, fit=start)
    assert not shared
    assert len(alone) == 15
    plain = GridSearchCV(SGDRegressor(**IN_ORDER), GRID).fit(X, y)
    assert (scores_of(plain) != scores_of(ours)).any()


# ---------------------------------------------------------------- failures


def test_a_candidate_that_diverges_is_left_out(diabetes):
    X, y = diabetes
    model = SGDRegressor(learning_rate="constant", **{**FEW, "max_iter": 20})
    grid = {"alpha": ALPHAS[:2], "eta0": [10.0, 0.01]}
    with (
        pytest.warns(FitFailedWarning, match="10 fits failed out of a total of 20"),
        pytest.warns(UserWarning, match="test scores are non-finite"),
    ):
        found = GridSearchCV(model, grid).fit(X, y)
    assert found.best_params_["eta0"] == 0.01
    assert_array_equal(np.isnan(scores_of(found)).all(axis=1), [True, False, True, False])
    assert found.cv_results_["rank_test_score"].max() == 3
    alone = GridSearchCV(model.set_params(eta0=0.01), {"alpha": ALPHAS[:2]}).fit(X, y)
    assert_allclose(scores_of(found)[1::2], scores_of(alone), rtol=1e-9)
    with pytest.raises(ValueError, match=r"(?s)All the 10 fits failed.*DivergenceError"):
        GridSearchCV(model, {"eta0": [10.0, 20.0]}).fit(X, y)
    with pytest.raises(DivergenceError):
        GridSearchCV(model, grid, error_score="raise").fit(X, y)


@pytest.mark.parametrize(
    ("grid", "failing"),
    (
        ({"alpha": [-1.0, 1e-4, np.nan]}, [0, 2]),
        ({"class_weight": [None, "none", {0: np.nan}]}, [1, 2]),
        ({"loss": ["log_loss", "no loss"]}, [1]),
        ({"learning_rate": ["optimal"], "alpha": [0.0, 1e-4]}, [0]),
        ({"multi_class": ["ovr", "multinomial"], "loss": ["hinge"]}, [1]),
    ),
)
def test_a_candidate_that_is_refused_fails_alone(grid, failing, digits):
    X, y = digits
    model = SGDClassifier("log_loss", **IN_ORDER)
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="scores are non-finite"):
        ours, _ = same(model, grid, X, y, cv=3)
    wrong = np.isnan(scores_of(ours)).all(axis=1)
    assert_array_equal(np.flatnonzero(wrong), failing)
    for error_score in (-1.0, "raise"):
        search = GridSearchCV(model, grid, cv=3, error_score=error_score)
        if error_score == "raise":
            with pytest.raises(ValueError, match=r"must be|greater than zero|is the softmax|> 0"):
                search.fit(X, y)
        else:
            with pytest.warns(FitFailedWarning):
                assert (scores_of(search.fit(X, y))[failing] == -1.0).all()


@pytest.mark.parametrize(
    ("estimator", "grid", "words"),
    (
        (SGDRegressor(), {"alpha": []}, "alpha"),
        (SGDRegressor(), {"alpha": [-1.0]}, "'alpha' parameter of SGDRegressor must be"),
        (SGDRegressor(), {"eta0": [0.0, "a"]}, "'eta0' parameter of SGDRegressor must be"),
        (SGDRegressor(), {"no_such": [1]}, "Invalid parameter 'no_such'"),
        (SGDRegressor(momentum=2.0), GRID, "'momentum' parameter of SGDRegressor must be"),
        (SGDRegressor(learning_rate="optimal"), {"alpha": [0.0]}, "alpha must be > 0"),
        (SGDRegressor(penalty="elasticnet"), {"l1_ratio": [2.0]}, "'l1_ratio' parameter of SGDR"),
    ),
)
def test_bad_grids(estimator, grid, words, diabetes):
    with pytest.raises(ValueError, match=words):
        GridSearchCV(estimator, grid).fit(*diabetes)


@pytest.mark.parametrize(
    ("options", "words"),
    (
        ({"cv": 1}, "'cv' parameter of GridSearchCV must be"),
        ({"cv": []}, "No fits were performed"),
        ({"scoring": "no_such_score"}, "scoring"),
        (
            {"refit": "a", "scoring": ["r2", "neg_mean_squared_error"]},
            "the parameter refit must be set",
        ),
        ({"error_score": "none"}, "'error_score' parameter of GridSearchCV must be"),
    ),
)
def test_bad_options(options, words, diabetes):
    with pytest.raises(ValueError, match=words):
        GridSearchCV(SGDRegressor(), GRID, **options).fit(*diabetes)


def test_bad_numbers_leave_a_search_as_it_was(diabetes, monkeypatch):
    X, y = diabetes
    bad = X.copy()
    bad[7, 3] = np.nan
    found = GridSearchCV(SGDRegressor(**FEW), GRID).fit(X, y)
    before = vars(found).copy()
    alone, _ = count_fits(monkeypatch)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        found.fit(bad, y)
    with pytest.raises(ValueError, match="greater than one; got 1 class"):
        GridSearchCV(SGDClassifier(**FEW), GRID, cv=peers.KFold(3)).fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="Negative values"):
        found.fit(X, y, sample_weight=-np.ones(len(y)))
    assert vars(found) == before
    assert not alone
    with pytest.raises(ValueError, match="Input X contains NaN"):
        found.set_params(cv=[(np.arange(8, 400), np.arange(8))]).fit(bad, y)


def test_an_interrupted_search_is_as_it_was(diabetes, monkeypatch):
    X, y = diabetes
    found = GridSearchCV(SGDRegressor(**FEW), GRID).fit(X, y)
    before = vars(found).copy()

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(shared_passes, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found.fit(X, y)
    assert vars(found) == before


# ---------------------------------------------------------------- conventions


def test_signatures_are_scikit_learns():
    for name in ("GridSearchCV", "RandomizedSearchCV"):
        ours, theirs = getattr(fastsgd, name), getattr(peers, name)
        assert issubclass(ours, theirs)
        assert ours._get_param_names() == theirs._get_param_names()
    assert not hasattr(fastsgd, "SGDClassifierCV")
    assert (len(DEFAULT_ALPHAS), DEFAULT_ALPHAS[0], DEFAULT_ALPHAS[-1]) == (16, 1e-7, 1.0)


def test_copies(binary):
    X, y = binary
    model = SGDClassifier("log_loss", **FEW)
    found = GridSearchCV(model, GRID).fit(X, y)
    assert not hasattr(model, "coef_")
    again = pickle.loads(pickle.dumps(found))
    assert_array_equal(again.predict_proba(X), found.predict_proba(X))
    best = clone(model).set_params(**found.best_params_).fit(X, y)
    for name in ("coef_", "intercept_", "classes_", "n_iter_", "loss_curve_"):
        assert_array_equal(getattr(found.best_estimator_, name), getattr(best, name))
    assert not hasattr(GridSearchCV(SGDClassifier("hinge"), GRID), "predict_proba")
    assert "SGDClassifier" in found._repr_html_()


@pytest.mark.parametrize("verbose", (0, 1, 2, 3, 10))
def test_lines_are_scikit_learns(verbose, diabetes, capsys):
    """But for the order of the splits, and times."""
    lines = []
    for module in (fastsgd, peers):
        search = module.GridSearchCV(
            SGDRegressor(**IN_ORDER), GRID, verbose=verbose, return_train_score=True
        )
        search.fit(*diabetes)
        out = capsys.readouterr().out.splitlines()
        told = [line.partition("total time")[0].replace(".", "") for line in out]
        lines.append(sorted(line for line in told if "START" not in line))
    assert lines[0] == lines[1]
    assert len(lines[0]) == (0 if verbose == 0 else 1 if verbose == 1 else 16)


def test_callbacks_are_told_of_every_fit(diabetes):
    callback = pytest.importorskip("sklearn.callback")
    assert callback

    class Counting:
        def __init__(self):
            self.ends = []

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **told):
            pass

        def on_fit_task_end(self, estimator, context, **told):
            self.ends.append(context.task_name)

    counts = []
    for module in (fastsgd, peers):
        counting = Counting()
        search = module.GridSearchCV(SGDRegressor(**IN_ORDER), GRID).set_callbacks(counting)
        search.fit(*diabetes)
        counts.append(sorted(counting.ends))
    assert counts[0] == counts[1]
    assert counts[0].count("candidate-split-evaluation") == 15


def test_rows_are_not_copied(monkeypatch, diabetes):
    """Nor is X that has to be converted, more than once."""
    X, y = np.asfortranarray(diabetes[0]), diabetes[1]
    seen = []
    many = evaluation.fit_all

    def fit_all(models, task, rows, seed):
        seen.append(task.X)
        return many(models, task, rows, seed)

    monkeypatch.setattr(evaluation, "fit_all", fit_all)
    for given in (diabetes[0], X):
        seen.clear()
        GridSearchCV(SGDRegressor(**FEW), {**GRID, "momentum": [0.0, 0.5]}).fit(given, y)
        assert seen[0] is seen[1]
        assert seen[0].shape == X.shape
        assert np.shares_memory(seen[0], given) == (given is diabetes[0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore::fastsgd.FeatureScaleWarning")
@parametrize_with_checks(
    [
        GridSearchCV(SGDClassifier(random_state=0), {"alpha": [1e-4, 1e-2]}, cv=3),
        RandomizedSearchCV(
            SGDRegressor(random_state=0), {"alpha": [1e-4, 1e-2]}, n_iter=2, random_state=0, cv=3
        ),
    ],
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
