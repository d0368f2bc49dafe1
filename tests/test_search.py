"""Lanes of splits against the twin, searches against fits of one model, paths against fits."""

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from problems import (
    DTYPES,
    ISAS,
    LAYOUTS,
    TOLERANCE,
    difference,
    lanes,
    schedule_of,
    table,
    targets_of,
    train_core,
    train_twin,
)
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.linear_model import SGDClassifier as PeerClassifier
from sklearn.linear_model import SGDRegressor as PeerRegressor
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.preprocessing import scale

from fastsgd import (
    DivergenceError,
    SGDClassifier,
    SGDClassifierCV,
    SGDRegressor,
    SGDRegressorCV,
    path,
)
from fastsgd.losses import LOSSES
from fastsgd.model_selection import lanes as shared
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import SCHEDULES

ALPHAS = [1e-4, 1e-2, 1.0]
FEW = {"max_iter": 3, "tol": None, "random_state": 3}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return scale(X)[:400], y[:400]


@pytest.fixture(scope="module")
def binary(digits):
    return digits[0], np.where(digits[1] < 5, "low", "or more")


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y / 100.0


# ---------------------------------------------------------------- lanes of splits


def held_out_of(n, seed=0):
    """Three splits: each row is held out of none, one or several; one row out of all."""
    held_out = np.random.default_rng(seed).integers(0, 8, n).astype(np.uint64)
    held_out[4] = 7
    assert len(np.unique(held_out)) > 5
    return held_out


@pytest.mark.parametrize("batch_size", (1, 4))
@pytest.mark.parametrize("loss", ("log_loss", "squared_error"))
def test_lanes_of_splits_equal_the_twins(loss, batch_size):
    """Every schedule, since lanes are at updates of their own; averages, momentum and L1 too."""
    worst = dict.fromkeys(DTYPES, 0.0)
    options = (
        {},
        {"average": 5},
        {"optimizer": SGD(0.9)},
        {"clip_norm": 0.5},
        {"penalty": "elasticnet"},
    )
    for i, (kind, k) in enumerate(product(SCHEDULES, (3, 6, 19))):
        other = dict(options[i % len(options)])
        of = lanes(k, loss, other.pop("penalty", "l2"))
        of = replace(of, split=np.uint64(1) << (np.arange(k) % 3).astype(np.uint64))
        schedule = schedule_of(
            kind,
            power_t=(0.5, 1.0, 0.25)[i // 3 % 3],
            decay=0.5,
            step_epochs=1.0,
            total_epochs=4.0,
            warmup_steps=5 * (i % 2),
        )
        settings = Settings(
            loss=loss,
            sign_targets=loss == "log_loss",
            seed=7,
            batch_size=batch_size,
            schedule=schedule,
            **other,
        )
        held_out = held_out_of(23)

        def data(dtype, layout, held_out=held_out, i=i):
            plain = table(seed=3).data(dtype, layout, weighted=i % 4 == 0, **targets_of(loss))
            return replace(plain, held_out=held_out)

        twin = train_twin(data(np.float64, "dense"), of, settings, prepared=True)
        if batch_size == 1:
            assert len(np.unique(twin.t)) == 3
        for dtype, layout, isa in product(DTYPES, LAYOUTS, ISAS):
            core = train_core(data(dtype, layout), of, settings, isa, prepared=True)
            gap = difference(core, twin, settings)
            assert gap < 4 * TOLERANCE[dtype], (kind, k, layout, isa, gap)
            assert np.array_equal(core.t, twin.t)
            worst[dtype] = max(worst[dtype], gap)
    assert all(worst.values())


@pytest.mark.parametrize("layout", ("dense", "csr32"))
def test_a_lane_of_a_split_is_a_lane_of_zero_weights(layout):
    """To the bit, where both take the general way; of the core alone."""
    data = table(n=200).data(np.float64, layout, sign=True)
    held_out = held_out_of(200)
    settings = Settings("log_loss", sign_targets=True, seed=1, average=1)
    of = Lanes(6, alpha=0.01, eta0=0.05, split=np.uint64(1) << np.arange(6, dtype=np.uint64) % 3)
    together = train_core(replace(data, held_out=held_out), of, settings).weights(settings)
    for f in range(3):
        weight = (held_out >> np.uint64(f) & np.uint64(1) == 0).astype(np.float64)
        alone = train_core(
            replace(data, sample_weight=weight), Lanes(6, alpha=0.01, eta0=0.05), settings
        ).weights(settings)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[f::3], b[f::3], rtol=1e-12, atol=1e-14)
        assert not np.allclose(together[0][f], together[0][(f + 1) % 3])


def test_a_row_held_out_of_all_splits_may_hold_anything():
    X = table().X.copy()
    X[4] = np.nan
    data = Data(X, table().y[:, 0], held_out=held_out_of(23))
    of = Lanes(3, alpha=0.01, eta0=0.01, split=np.array([1, 2, 4], dtype=np.uint64))
    coef, _ = train_core(data, of, Settings()).last_weights()
    assert np.isfinite(coef).all()
    with pytest.raises(DivergenceError):
        train_core(replace(data, held_out=data.held_out & np.uint64(3)), of, Settings())


def test_what_splits_do_not_go_with():
    X, y, held_out = np.eye(3), np.arange(3.0), np.zeros(3, dtype=np.uint64)
    with pytest.raises(ValueError, match="held_out must be 3 numbers of uint64"):
        Data(X, y, held_out=held_out[:2])
    with pytest.raises(ValueError, match="held_out must be 3 numbers of uint64"):
        Data(X, y, held_out=np.zeros(3))
    data = Data(X, y, held_out=held_out)
    with pytest.raises(ValueError, match="held_out is for several lanes"):
        Settings().check(data, Lanes(1, alpha=0.0, eta0=1.0))
    softmax = Lanes(3, alpha=0.0, eta0=1.0, label=np.arange(3))
    with pytest.raises(ValueError, match="held_out is for several lanes"):
        Settings("softmax", sign_targets=True).check(data, softmax)


# ---------------------------------------------------------------- searches against fits


def separately(estimator, X, y, splits, candidates, weight=None, score=None):
    """Scores (candidates, splits) of fits with weight zero outside the training rows."""
    scores = np.empty((len(candidates), len(splits)))
    for (c, parameters), (f, (train, test)) in product(enumerate(candidates), enumerate(splits)):
        of_split = np.zeros(len(y))
        of_split[train] = 1.0 if weight is None else weight[train]
        model = clone(estimator).set_params(**parameters).fit(X, y, sample_weight=of_split)
        options = {} if weight is None else {"sample_weight": weight[test]}
        scores[c, f] = (score or model.score)(
            *(() if score is None else (model,)), X[test], y[test], **options
        )
    return scores


def scores_of(found):
    splits = range(found.n_splits_)
    return np.column_stack([found.cv_results_[f"split{f}_test_score"] for f in splits])


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


@pytest.mark.filterwarnings("ignore:eta . alpha reached 1:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", CLASSIFIERS)
@pytest.mark.parametrize("classes", (2, 10))
def test_a_classifiers_scores_are_those_of_separate_fits(classes, options, digits, binary):
    X, y = binary if classes == 2 else digits
    y = (y == "low").astype(int) if "class_weight" in options and classes == 2 else y
    options = {**FEW, **options}
    found = SGDClassifierCV(**options, alphas=ALPHAS, cv=3).fit(X, y)
    splits = list(StratifiedKFold(3).split(X, y))
    candidates = [{"alpha": alpha} for alpha in ALPHAS]
    expected = separately(SGDClassifier(**options), X, y, splits, candidates)
    np.testing.assert_allclose(scores_of(found), expected, atol=1e-12)
    assert found.cv_results_["params"] == candidates
    assert len(np.unique(expected)) > 3


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
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("sparse", (False, True))
def test_a_regressors_scores_are_those_of_separate_fits(sparse, options, diabetes):
    X, y = diabetes
    X = sp.csr_array(np.where(np.abs(X) > 0.5, X, 0.0)) if sparse else X
    options = {**FEW, **options}
    found = SGDRegressorCV(**options, alphas=ALPHAS).fit(X, y)
    splits = list(KFold(5).split(X, y))
    candidates = [{"alpha": alpha} for alpha in ALPHAS]
    expected = separately(SGDRegressor(**options), X, y, splits, candidates)
    np.testing.assert_allclose(scores_of(found), expected, rtol=1e-9)
    assert len(np.unique(expected)) == expected.size


def test_a_grid_of_all_three(diabetes):
    X, y = diabetes
    options = {"penalty": "elasticnet", "learning_rate": "constant", **FEW}
    etas, ratios = [0.001, 0.01], [0.1, 0.9]
    found = SGDRegressorCV(**options, alphas=ALPHAS, l1_ratio=ratios, eta0=etas).fit(X, y)
    params = found.cv_results_["params"]
    assert len(params) == 12
    assert len({tuple(p.values()) for p in params}) == 12
    assert params[0] == {"alpha": 1e-4, "eta0": 0.001, "l1_ratio": 0.1}
    splits = list(KFold(5).split(X, y))
    expected = separately(SGDRegressor(**options), X, y, splits, params)
    np.testing.assert_allclose(scores_of(found), expected, rtol=1e-9)
    assert (found.eta0_, found.l1_ratio_) == (
        found.best_params_["eta0"],
        found.best_params_["l1_ratio"],
    )


def classes_of(y):
    """Weights of classes to try."""
    labels = np.unique(y)
    uneven = dict(zip(labels.tolist(), np.geomspace(0.1, 5.0, len(labels)), strict=True))
    return [None, "balanced", uneven]


@pytest.mark.parametrize(
    "options", ({}, {"multi_class": "multinomial"}, {"max_iter": 40, "tol": 1e-2})
)
@pytest.mark.parametrize("classes", (2, 10))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_class_weights_in_the_grid(classes, options, digits, binary):
    """A lane each: the scores, and the model, of separate fits."""
    X, y = binary if classes == 2 else digits
    dropped = np.flatnonzero(y == y[0])[::2]  # classes of different sizes
    X, y = np.delete(X, dropped, axis=0), np.delete(y, dropped)
    options, weights = {"loss": "log_loss", **FEW, **options}, classes_of(y)
    found = SGDClassifierCV(**options, alphas=ALPHAS, class_weights=weights, cv=3).fit(X, y)
    params = found.cv_results_["params"]
    assert params == [{"alpha": a, "class_weight": w} for w in weights for a in ALPHAS]
    splits = list(StratifiedKFold(3).split(X, y))
    expected = separately(SGDClassifier(**options), X, y, splits, params)
    np.testing.assert_allclose(scores_of(found), expected, atol=1e-12)
    assert len(np.unique(expected.reshape(3, -1), axis=0)) == 3
    assert found.class_weight_ == found.best_params_["class_weight"]
    best = SGDClassifier(**options, **found.best_params_).fit(X, y)
    np.testing.assert_array_equal(found.coef_, best.coef_)
    assert list(found.cv_results_["param_class_weight"]) == [p["class_weight"] for p in params]
    one = SGDClassifierCV(**options, alphas=ALPHAS, class_weight=weights[2], cv=3).fit(X, y)
    np.testing.assert_allclose(scores_of(one), scores_of(found)[6:], atol=1e-12)
    assert one.class_weight_ == weights[2]


@pytest.mark.parametrize("loss", [n for n, terms in LOSSES.items() if terms.parameter == "epsilon"])
def test_epsilons_in_the_grid(loss, diabetes, binary):
    """Passes of their own: the scores, and the model, of separate fits."""
    X, y = diabetes
    epsilons, options = [0.5, 0.01], {"learning_rate": "invscaling", "eta0": 0.01, **FEW}
    found = SGDRegressorCV(loss, alphas=ALPHAS, epsilons=epsilons, **options).fit(X, y)
    params = found.cv_results_["params"]
    assert params == [{"alpha": a, "epsilon": e} for e in epsilons for a in ALPHAS]
    expected = separately(SGDRegressor(loss, **options), X, y, list(KFold(5).split(X)), params)
    np.testing.assert_allclose(scores_of(found), expected, rtol=1e-9)
    assert len(np.unique(expected)) == expected.size
    assert found.epsilon_ == found.best_params_["epsilon"]
    best = SGDRegressor(loss, **found.best_params_, **options).fit(X, y)
    np.testing.assert_array_equal(found.coef_, best.coef_)
    X, y = binary
    weights = classes_of(y)
    both = SGDClassifierCV(loss, alphas=ALPHAS, epsilons=epsilons, class_weights=weights, **options)
    params = both.fit(X, y).cv_results_["params"]
    assert len(params) == 18
    splits = list(StratifiedKFold(5).split(X, y))
    expected = separately(SGDClassifier(loss, **options), X, y, splits, params)
    np.testing.assert_allclose(scores_of(both), expected, atol=1e-12)


def test_scales_of_the_loss_are_those_of_the_grid_search_of_scikit_learn(binary, diabetes):
    """Unshuffled. "balanced" is of all rows here, of the training rows there."""
    options = {"learning_rate": "constant", "eta0": 0.01, "shuffle": False, **FEW}
    X, y = binary
    weights = [None, {"low": 0.2, "or more": 3.0}]
    found = SGDClassifierCV("log_loss", alphas=ALPHAS, class_weights=weights, cv=4, **options)
    grid = {"alpha": ALPHAS, "class_weight": weights}
    peer = GridSearchCV(PeerClassifier("log_loss", **options), grid, cv=4).fit(X, y)
    same_table(found.fit(X, y), peer)
    X, y = diabetes
    epsilons = [0.3, 0.05]
    found = SGDRegressorCV("huber", alphas=ALPHAS, epsilons=epsilons, **options).fit(X, y)
    grid = {"alpha": ALPHAS, "epsilon": epsilons}
    same_table(found, GridSearchCV(PeerRegressor("huber", **options), grid).fit(X, y))


def same_table(found, peer):
    """The same scores of the same parameters, in whatever order."""
    theirs = {repr(sorted(p.items())): i for i, p in enumerate(peer.cv_results_["params"])}
    order = [theirs[repr(sorted(p.items()))] for p in found.cv_results_["params"]]
    assert sorted(order) == list(range(len(theirs)))
    for name in ("split0_test_score", "mean_test_score", "rank_test_score"):
        np.testing.assert_allclose(found.cv_results_[name], peer.cv_results_[name][order])
    assert found.best_score_ == pytest.approx(peer.best_score_)
    assert len(np.unique(found.cv_results_["mean_test_score"])) > 3


@pytest.mark.parametrize("classes", (2, 10))
def test_unshuffled_it_is_the_grid_search_of_scikit_learn(classes, digits, binary):
    """The same rows in the same order: the same results, attribute for attribute."""
    X, y = binary if classes == 2 else digits
    options = {"learning_rate": "constant", "eta0": 0.01, "shuffle": False, **FEW}
    found = SGDClassifierCV("log_loss", alphas=ALPHAS, cv=4, **options).fit(X, y)
    peer = GridSearchCV(PeerClassifier("log_loss", **options), {"alpha": ALPHAS}, cv=4).fit(X, y)
    for name, theirs in peer.cv_results_.items():
        if "time" not in name and name != "params":
            ours = found.cv_results_[name]
            np.testing.assert_allclose(ours, np.asarray(theirs, dtype=float), atol=1e-12)
    assert found.cv_results_["params"] == peer.cv_results_["params"]
    assert found.best_params_ == peer.best_params_
    assert found.best_index_ == peer.best_index_
    assert found.n_splits_ == peer.n_splits_
    assert found.best_score_ == pytest.approx(peer.best_score_)
    np.testing.assert_allclose(found.coef_, peer.best_estimator_.coef_, atol=1e-10)
    np.testing.assert_array_equal(found.predict(X), peer.predict(X))


def test_unshuffled_regression_is_the_grid_search_of_scikit_learn(diabetes):
    X, y = diabetes
    options = {"learning_rate": "constant", "eta0": 0.01, "shuffle": False, **FEW}
    found = SGDRegressorCV(alphas=ALPHAS, **options).fit(X, y)
    peer = GridSearchCV(PeerRegressor(**options), {"alpha": ALPHAS}).fit(X, y)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"]
    )
    assert found.best_params_ == peer.best_params_


def test_attributes_are_those_of_a_fit_with_the_best_parameters(binary):
    X, y = binary
    found = SGDClassifierCV("log_loss", alphas=ALPHAS[::-1], **FEW).fit(X, y)
    best = SGDClassifier("log_loss", **found.best_params_, **FEW).fit(X, y)
    for name in ("coef_", "intercept_", "classes_", "n_iter_", "n_features_in_", "loss_curve_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(best, name))
    for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(found, method)(X), getattr(best, method)(X))
    assert found.alpha_ == found.best_params_["alpha"] == found.best_estimator_.alpha
    assert found.eta0_ is None
    np.testing.assert_array_equal(found.alphas_, ALPHAS)
    mean = scores_of(found).mean(axis=1)
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], mean)
    np.testing.assert_allclose(found.cv_results_["std_test_score"], scores_of(found).std(axis=1))
    assert found.cv_results_["rank_test_score"][found.best_index_] == 1
    assert found.best_score_ == mean.max()
    assert found.score(X, y) == best.score(X, y)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(X), found.predict(X))
    assert not hasattr(SGDClassifierCV("hinge"), "predict_proba")


def test_the_default_grid(diabetes):
    found = SGDRegressorCV(**FEW).fit(*diabetes)
    assert (len(found.alphas_), found.alphas_[0], found.alphas_[-1]) == (16, 1e-7, 1.0)


# ---------------------------------------------------------------- splits, weights, scorers


@pytest.mark.parametrize(
    "cv",
    (
        KFold(3, shuffle=True, random_state=0),
        StratifiedKFold(4, shuffle=True, random_state=0),
        ShuffleSplit(3, test_size=0.2, train_size=0.5, random_state=0),
        RepeatedKFold(n_splits=2, n_repeats=40, random_state=0),
        PredefinedSplit(np.arange(400) % 5 - 1),
        [(np.arange(100), np.arange(300, 400))],
        [(np.arange(400) < 250, np.arange(400) > 300), (slice(50, 250), slice(0, 50))],
    ),
    ids=lambda cv: type(cv).__name__,
)
def test_splits_of_every_kind(cv, binary):
    X, y = binary
    found = SGDClassifierCV("log_loss", alphas=ALPHAS[:2], cv=cv, **FEW).fit(X, y)
    splits = cv if isinstance(cv, list) else list(cv.split(X, y))
    candidates = [{"alpha": alpha} for alpha in ALPHAS[:2]]
    expected = separately(SGDClassifier("log_loss", **FEW), X, y, splits, candidates)
    np.testing.assert_allclose(scores_of(found), expected, atol=1e-12)


def test_groups(binary):
    X, y = binary
    groups = np.arange(400) % 7
    found = SGDClassifierCV("log_loss", alphas=ALPHAS[:2], cv=GroupKFold(3), **FEW)
    found.fit(X, y, groups=groups)
    splits = list(GroupKFold(3).split(X, y, groups))
    candidates = [{"alpha": alpha} for alpha in ALPHAS[:2]]
    expected = separately(SGDClassifier("log_loss", **FEW), X, y, splits, candidates)
    np.testing.assert_allclose(scores_of(found), expected, atol=1e-12)
    with pytest.raises(ValueError, match="groups"):
        found.fit(X, y)
    with pytest.raises(ValueError, match=r"groups must have shape \(.*,\), got"):
        found.fit(X, y, groups=np.arange(7))


@pytest.mark.parametrize("dtype", DTYPES)
def test_lanes_in_many_passes_are_those_of_one(dtype, monkeypatch, digits):
    """However few lanes a pass has; a single one too."""
    X, y = digits[0].astype(dtype), digits[1]
    one = SGDClassifierCV("log_loss", alphas=ALPHAS, **FEW).fit(X, y)
    for least in (16, 7, 1):
        monkeypatch.setattr(shared, "STATE_BYTES", 1)
        monkeypatch.setattr(shared, "LEAST_LANES", least)
        many = SGDClassifierCV("log_loss", alphas=ALPHAS, **FEW).fit(X, y)
        np.testing.assert_allclose(scores_of(many), scores_of(one), atol=2e-2)
        np.testing.assert_array_equal(many.coef_, one.coef_)


@pytest.mark.parametrize("scoring", (None, "neg_log_loss"))
def test_weights_are_those_of_training_and_of_scores(scoring, binary):
    X, y = binary
    weight = np.random.default_rng(0).choice([0.0, 0.5, 2.0], len(y))
    found = SGDClassifierCV("log_loss", alphas=ALPHAS, cv=3, scoring=scoring, **FEW)
    found.fit(X, y, sample_weight=weight)
    splits = list(StratifiedKFold(3).split(X, y))
    candidates = [{"alpha": alpha} for alpha in ALPHAS]
    estimator = SGDClassifier("log_loss", **FEW)
    if scoring is None:
        expected = separately(estimator, X, y, splits, candidates, weight)
        np.testing.assert_allclose(scores_of(found), expected, atol=1e-12)
    best = clone(estimator).set_params(**found.best_params_).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(found.coef_, best.coef_)


def largest_error(model, X, y):
    return -float(np.abs(model.predict(X) - y).max())


@pytest.mark.parametrize("scoring", ("r2", "neg_mean_absolute_error", largest_error))
def test_scorers(scoring, diabetes):
    X, y = diabetes
    found = SGDRegressorCV(alphas=ALPHAS, scoring=scoring, **FEW).fit(X, y)
    options = {"shuffle": False, "learning_rate": "constant", "eta0": 0.01}
    ours = SGDRegressorCV(alphas=ALPHAS, scoring=scoring, **{**FEW, **options}).fit(X, y)
    peer = PeerRegressor(**{**FEW, **options})
    theirs = GridSearchCV(peer, {"alpha": ALPHAS}, scoring=scoring).fit(X, y)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"]
    )
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))
    assert np.isfinite(found.best_score_)


def test_labels_and_outputs_of_several_columns(digits, diabetes):
    X, y = digits
    labels = np.column_stack([y < 5, y % 2 == 0]).astype(int)
    found = SGDClassifierCV("log_loss", alphas=ALPHAS, **FEW).fit(X, labels)
    splits, candidates = list(KFold(5).split(X)), [{"alpha": alpha} for alpha in ALPHAS]
    expected = separately(SGDClassifier("log_loss", **FEW), X, labels, splits, candidates)
    np.testing.assert_allclose(scores_of(found), expected, atol=1e-12)
    X, y = diabetes
    outputs = np.column_stack([y, y[::-1]])
    found = SGDRegressorCV(alphas=ALPHAS, **FEW).fit(X, outputs)
    splits = list(KFold(5).split(X))
    expected = separately(SGDRegressor(**FEW), X, outputs, splits, candidates)
    np.testing.assert_allclose(scores_of(found), expected, rtol=1e-9)


def test_feature_names_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    found = SGDClassifierCV("log_loss", alphas=ALPHAS, scoring="neg_log_loss", **FEW).fit(frame, y)
    assert list(found.feature_names_in_) == list("abcd")
    assert found.predict(frame).shape == (150,)


# ---------------------------------------------------------------- divergence and bad input


def test_a_candidate_that_diverges_is_left_out(diabetes):
    X, y = diabetes
    options = {"learning_rate": "constant", "alphas": ALPHAS[:2], **FEW, "max_iter": 20}
    with pytest.warns(RuntimeWarning, match="10 of 20 fits diverged: their scores are NaN"):
        found = SGDRegressorCV(eta0=[10.0, 0.01], **options).fit(X, y)
    assert found.eta0_ == 0.01
    mean = found.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(np.isnan(mean), [True, True, False, False])
    assert found.cv_results_["rank_test_score"].max() == 3
    alone = SGDRegressorCV(eta0=0.01, **options).fit(X, y)
    np.testing.assert_allclose(mean[2:], alone.cv_results_["mean_test_score"], rtol=1e-9)
    with pytest.raises(DivergenceError):
        SGDRegressorCV(eta0=[10.0, 20.0], **options).fit(X, y)


BAD = (
    ({"alphas": []}, "alphas must be a list of finite numbers"),
    ({"alphas": [np.nan]}, "alphas must be a list of finite numbers"),
    *(
        ({name: values, "loss": "huber", "penalty": "elasticnet"}, f"{name} must be real numbers")
        for name in ("alphas", "epsilons", "eta0", "l1_ratio")
        for values in (["a"], [10**400], [1j], [[1, 2], [3]], [{}])
    ),
    ({"alphas": [-1.0]}, "'alpha' parameter of SGDRegressor must be"),
    ({"alphas": 0.1}, "'alphas' parameter of SGDRegressorCV must be"),
    ({"l1_ratio": [0.1, 0.2]}, "several values of l1_ratio go with penalty='elasticnet'"),
    ({"l1_ratio": [2.0], "penalty": "elasticnet"}, "'l1_ratio' parameter of SGDRegressor must be"),
    ({"eta0": [0.0]}, "'eta0' parameter of SGDRegressor must be"),
    ({"epsilons": [0.1]}, "epsilons go with a loss that has one, not with 'squared_error'"),
    ({"epsilons": [], "loss": "huber"}, "epsilons must be a list of finite numbers"),
    ({"epsilons": [-1.0], "loss": "huber"}, "'epsilon' parameter of SGDRegressor must be"),
    ({"cv": 1}, "'cv' parameter of SGDRegressorCV must be"),
    ({"cv": []}, "cv made no splits"),
    ({"cv": [([0, 0, 1], [2])]}, "trains on a row twice"),
    ({"cv": [([], [2])]}, "a split of 0 training and 1 test rows"),
    ({"cv": [([1], [])]}, "a split of 1 training and 0 test rows"),
    ({"scoring": "no_such_score"}, "scoring"),
    ({"learning_rate": "optimal", "alphas": [0.0]}, "alpha must be > 0"),
)


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_parameters(options, words, diabetes):
    with pytest.raises(ValueError, match=words):
        SGDRegressorCV(**options).fit(*diabetes)


@pytest.mark.parametrize(
    ("options", "words"),
    (
        ({"class_weights": []}, "class_weights must be a list of candidates"),
        ({"class_weights": "balanced"}, "'class_weights' parameter of SGDClassifierCV must be"),
        ({"class_weights": ["none"]}, "'class_weight' parameter of SGDClassifier must be"),
        ({"class_weights": [{0: 1.0}, 2]}, "'class_weight' parameter of SGDClassifier must be"),
        ({"class_weights": [None], "class_weight": "balanced"}, "class_weights are both given"),
    ),
)
def test_bad_class_weights(options, words, digits):
    with pytest.raises(ValueError, match=words):
        SGDClassifierCV(**options).fit(*digits)


def test_bad_numbers(diabetes, binary):
    X, y = diabetes
    bad = X.copy()
    bad[7, 3] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SGDRegressorCV(**FEW).fit(bad, y)
    with pytest.raises(ValueError, match="greater than one; got 1 class"):
        SGDClassifierCV(**FEW).fit(X, np.zeros(len(y)))
    weight = np.ones(len(y))
    weight[: len(y) // 5 + 1] = 0.0
    with pytest.raises(ValueError, match="weights of the test rows of split 0 are all zero"):
        SGDRegressorCV(**FEW).fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="training rows of a split are all zero"):
        SGDRegressorCV(**FEW, cv=[([0, 1], [200])]).fit(X, y, sample_weight=weight)
    found = SGDRegressorCV(**FEW, alphas=ALPHAS).fit(X, y)
    before = vars(found).copy()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        found.fit(bad, y)
    assert vars(found) == before


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "estimator",
    (
        SGDRegressor(**FEW),
        SGDRegressor(penalty="l1", tol=1e-3, max_iter=50, random_state=0),
        SGDClassifier("log_loss", **FEW),
        SGDClassifier("log_loss", multi_class="multinomial", class_weight="balanced", **FEW),
        SGDClassifier("hinge", eta0=0.01, standardize=True, **FEW),
    ),
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_path_is_of_separate_fits(estimator, diabetes, digits):
    X, y = digits if isinstance(estimator, SGDClassifier) else diabetes
    alphas = [1.0, 1e-3, 0.1]
    found = path(X, y, alphas=alphas, estimator=estimator)
    np.testing.assert_array_equal(found.alphas, alphas)
    for alpha, coef, intercept, n_iter in zip(*found, strict=True):
        model = clone(estimator).set_params(alpha=alpha).fit(X, y)
        np.testing.assert_allclose(coef, model.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(intercept, model.intercept_, rtol=1e-9, atol=1e-12)
        assert n_iter == model.n_iter_
    assert not hasattr(estimator, "coef_")


def test_a_path_of_weights_and_of_one(diabetes):
    X, y = diabetes
    weight = np.linspace(0.0, 2.0, len(y))
    estimator = SGDRegressor(**FEW)
    found = path(X, y, alphas=[0.1], estimator=estimator, sample_weight=weight)
    model = estimator.set_params(alpha=0.1).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(found.coef[0], model.coef_, rtol=1e-9)
    assert path(X, y).coef.shape == (16, X.shape[1])


def test_a_path_refuses(diabetes, digits):
    X, y = diabetes
    with pytest.raises(ValueError, match="estimator must be an SGDClassifier or SGDRegressor"):
        path(X, y, estimator=PeerRegressor())
    with pytest.raises(ValueError, match="early_stopping should be False in a path"):
        path(X, y, estimator=SGDRegressor(early_stopping=True))
    with pytest.raises(ValueError, match="alphas must be a list of finite numbers"):
        path(X, y, alphas=0.1)
    softmax = SGDClassifier("hinge", multi_class="multinomial")
    with pytest.raises(ValueError, match="multi_class='multinomial' is the softmax"):
        path(*digits, estimator=softmax)
    with pytest.raises(DivergenceError):
        path(X, y, estimator=SGDRegressor(learning_rate="constant", eta0=10.0))
