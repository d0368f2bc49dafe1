"""``standardize=True`` is StandardScaler and fit, without a second X; the model is of X itself."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import STORED_DTYPES, grid
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor
from fastsgd import problem as problem_module
from fastsgd.estimators.classifier import CLASSIFICATION_LOSSES
from fastsgd.estimators.regressor import REGRESSION_LOSSES
from fastsgd.estimators.standardise import standardising
from fastsgd.estimators.validation import split
from fastsgd.problem import computed_in

N, D = 90, 7
ROUNDING = {np.dtype(np.float32): 2e-4, np.dtype(np.float64): 1e-9}
ESTIMATORS = (SGDClassifier, SGDRegressor, SGDOneClassSVM)
FEW = {"random_state": 0, "max_iter": 5, "tol": None}


@pytest.fixture(scope="module")
def examples():
    """Counts of very different scales, one column of them constant; three classes; weights."""
    rng = np.random.default_rng(0)
    X = np.floor(rng.uniform(2.0, [3, 4, 9, 20, 60, 120, 250], (N, D)))
    X[:, 2] = 5.0
    assert np.ptp(X.std(axis=0)) > 50.0
    signal = (X - X.mean(axis=0)) / np.maximum(1e-9, X.std(axis=0)) @ rng.normal(size=D)
    weight = rng.choice([0.0, 0.5, 2.0], N)
    return X, np.digitize(signal, [-1.0, 1.0]), weight


def scaled(X, rows=slice(None), weight=None):
    """What a pipeline with StandardScaler trains on, and the scaler, fitted to some rows."""
    scaler = StandardScaler().fit(X[rows].astype(np.float64), sample_weight=weight)
    return scaler.transform(X.astype(np.float64)).astype(computed_in(X)), scaler


def scores(model, X):
    if isinstance(model, SGDRegressor):
        return model._scores(X).squeeze()
    return model.decision_function(X)


def assert_same_function(model, X, peer, X_scaled, loosely=1.0):
    """Both give the same scores, of X and of X scaled."""
    a, b = scores(model, X), scores(peer, X_scaled)
    assert np.ptp(b) > 1e-3
    tolerance = loosely * ROUNDING[computed_in(X)]
    assert_allclose(a, b, rtol=0.0, atol=tolerance * max(1.0, np.abs(b).max()))


def targets_of(estimator, y):
    return {"y": None if estimator is SGDOneClassSVM else y}


# ---------------------------------------------------------------- the statistics


@pytest.mark.parametrize("dtype", STORED_DTYPES)
@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize("block", (D, 1 << 18))
def test_statistics_are_those_of_standard_scaler(dtype, weighted, block, examples, monkeypatch):
    """Weighted, in blocks of one row or at once; a constant feature has scale 1."""
    monkeypatch.setattr(problem_module, "BLOCK", block)
    X, _, weight = examples
    X, weight = X.astype(dtype), weight if weighted else None
    found, scaler = standardising(X, weight), scaled(X, weight=weight)[1]
    near = max(1e-12, 2.0 * np.finfo(computed_in(X)).eps)
    assert_allclose(found.offset, scaler.mean_, rtol=near)
    assert_allclose(found.scale, 1.0 / scaler.scale_, rtol=near)
    assert found.scale[2] == 1.0
    assert found.offset.dtype == found.scale.dtype == computed_in(X)


def test_statistics_far_from_zero(examples):
    """No digits are lost where the mean is a million deviations."""
    X = 1e8 + np.random.default_rng(0).normal(size=(1000, 3))
    found = standardising(X, None)
    assert_allclose(1.0 / found.scale, X.std(axis=0), rtol=1e-6)
    assert_array_equal(standardising(np.full((1000, 1), 0.1), None).scale, [1.0])


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_models_change_their_space_and_back(dtype, examples):
    scaling = standardising(examples[0].astype(dtype), None)
    rng = np.random.default_rng(1)
    model = rng.normal(size=(3, D)), rng.normal(size=3)
    for a, b in zip(scaling.to_users(*scaling.to_trained(*model)), model, strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    assert not np.allclose(scaling.to_users(*model)[0], model[0])


# ---------------------------------------------------------------- StandardScaler and fit

WAYS = (
    {},
    {"batch_size": 4, "momentum": 0.5},
    {"average": True, "learning_rate": "constant", "eta0": 0.01},
    {"batch_size": N, "momentum": 0.8, "nesterov": True, "average": 3},
)


@pytest.mark.parametrize("dtype", STORED_DTYPES)
@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
def test_classifiers(loss, dtype, examples):
    """Two classes, three and a softmax: one lane and several."""
    X, y, weight = examples
    X = X.astype(dtype)
    for i, way in enumerate(WAYS):
        for labels in (y, y > 0):
            sample_weight = weight if i % 2 else None
            options = {**FEW, **way, "loss": loss, "penalty": ("l2", "elasticnet")[i % 2]}
            if loss == "log_loss":
                options["multi_class"] = "multinomial"
            Z, _ = scaled(X, weight=sample_weight)
            fitted = {"y": labels, "sample_weight": sample_weight}
            model = SGDClassifier(**options, standardize=True).fit(X, **fitted)
            peer = SGDClassifier(**options).fit(Z, **fitted)
            kinked = 50.0 if loss in ("hinge", "perceptron", "epsilon_insensitive") else 1.0
            assert_same_function(model, X, peer, Z, kinked)
            assert_allclose(model.loss_curve_, peer.loss_curve_, rtol=1e-2)


@pytest.mark.parametrize("dtype", STORED_DTYPES)
@pytest.mark.parametrize("loss", [loss for loss in REGRESSION_LOSSES if loss != "linear"])
def test_regressors(loss, dtype, examples):
    """One output and two. A linear loss has no gradient over all rows that are centred."""
    X, y, weight = examples
    X, targets = X.astype(dtype), np.column_stack([y, 2.0 - y])
    for way in WAYS:
        for outputs in (targets[:, 0], targets):
            options = {**FEW, **way, "loss": loss}
            Z, _ = scaled(X, weight=weight)
            model = SGDRegressor(**options, standardize=True).fit(X, outputs, sample_weight=weight)
            peer = SGDRegressor(**options).fit(Z, outputs, sample_weight=weight)
            kinked = 50.0 if loss in ("epsilon_insensitive", "quantile") else 1.0
            assert_same_function(model, X, peer, Z, kinked)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("fit_intercept", (True, False))
def test_with_and_without_an_intercept(estimator, fit_intercept, examples):
    """Without one the mean row still scores 0, so that intercept_ in X's space is none."""
    X, y, _ = examples
    Z, _ = scaled(X)
    options = {**FEW, "fit_intercept": fit_intercept, "certificate": True}
    model = estimator(**options, standardize=True).fit(X, **targets_of(estimator, y))
    peer = estimator(**options).fit(Z, **targets_of(estimator, y))
    assert_same_function(model, X, peer, Z)
    for name in ("gradient_norm", "duality_gap", "objective"):  # of the standardised features
        ours, theirs = (getattr(m.certificate_, name) for m in (model, peer))
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------- validation


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_held_out_are_not_in_the_statistics(estimator, examples):
    """Statistics of the training rows alone; the rows held out are scored as the peer's are."""
    X, y, weight = examples
    held_out = split(
        np.zeros(N) if estimator is SGDOneClassSVM else y,
        weight,
        0.2,
        3,
        stratify=estimator is not SGDRegressor,
    )
    rows = np.setdiff1d(np.arange(N), held_out)
    X = X.copy()
    X[held_out] += 1.0  # else they would hardly matter
    Z, scaler = scaled(X, rows, weight[rows])
    assert not np.allclose(scaler.mean_, X.mean(axis=0))
    options = {"random_state": 3, "early_stopping": True, "validation_fraction": 0.2}
    fitted = {**targets_of(estimator, y), "sample_weight": weight}
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model = estimator(**options, standardize=True, max_iter=30).fit(X, **fitted)
        peer = estimator(**options, max_iter=30).fit(Z, **fitted)
    assert_same_function(model, X, peer, Z)
    ours, theirs = (m.history_["validation_score"] for m in (model, peer))
    assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_validation_set_of_the_users_own(dtype, estimator, examples):
    X, y, _ = examples
    X, rows = X.astype(dtype), np.arange(60)
    Z, _ = scaled(X, rows)
    options, validation = {**FEW, "tol": 1e-9}, {"X_val": X[60:]}
    if estimator is not SGDOneClassSVM:
        validation["y_val"] = y[60:]
        options["scoring"] = {SGDClassifier: "accuracy", SGDRegressor: None}[estimator]
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        fitted = targets_of(estimator, y[rows])
        model = estimator(**options, standardize=True).fit(X[rows], **fitted, **validation)
        peer = estimator(**options).fit(Z[rows], **fitted, **{**validation, "X_val": Z[60:]})
    assert_same_function(model, X, peer, Z)
    ours, theirs = (m.history_["validation_score"] for m in (model, peer))
    assert_allclose(ours, theirs, rtol=1e-3)


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_epochs_at_once_or_one_by_one(dtype, estimator, examples):
    """fit, fits that go on and pickled partial fits give the same bits."""
    X, y, _ = examples
    X, way = X.astype(dtype), {"momentum": 0.5, "average": 3, "standardize": True}
    fitted = targets_of(estimator, y)
    one = estimator(**FEW, **way).fit(X, **fitted)
    warm = estimator(**{**FEW, "max_iter": 1}, **way, total_epochs=5)
    parts = estimator(**FEW, **way, total_epochs=5)
    for _ in range(5):
        warm.fit(X, **fitted, resume=True)
        first = {"classes": np.unique(y)} if estimator is SGDClassifier else {}
        parts = pickle.loads(pickle.dumps(parts)).partial_fit(X, **fitted, **first)
    for model in (warm, parts):
        assert_array_equal(model.coef_, one.coef_)
        assert_array_equal(scores(model, X), scores(one, X))


def test_statistics_are_those_of_the_first_call(examples):
    """Under partial_fit the second chunk is scaled as the first; a fit from scratch begins anew."""
    X, y, _ = examples
    chunks = slice(0, 30), slice(30, N)
    Z, _ = scaled(X, chunks[0])
    model, peer = SGDRegressor(**FEW, standardize=True), SGDRegressor(**FEW)
    for rows in chunks:
        model.partial_fit(X[rows], y[rows])
        peer.partial_fit(Z[rows], y[rows])
    assert_same_function(model, X, peer, Z)
    Z, _ = scaled(X)
    assert_same_function(model.fit(X, y), X, peer.fit(Z, y), Z)


def test_initial_weights_are_of_the_users_features(examples):
    """A step too small to matter leaves them; so does a coef_ put in by hand."""
    X, y, _ = examples
    start = np.random.default_rng(2).normal(size=D), np.array([3.0])
    tiny = {**FEW, "learning_rate": "constant", "eta0": 1e-12, "alpha": 0.0}
    model = SGDRegressor(**tiny, standardize=True).fit(X, y, *start)
    assert_allclose(model.coef_, start[0], atol=1e-6)
    assert_allclose(model.intercept_, start[1], atol=1e-6)
    model.coef_ = 2.0 * start[0]
    model.partial_fit(X, y)
    assert_allclose(model.coef_, 2.0 * start[0], atol=1e-6)
    assert_allclose(model.intercept_, start[1], atol=1e-6)


def test_changing_the_parameter_goes_on_from_the_same_function(examples):
    X, y, _ = examples
    tiny = {"learning_rate": "constant", "eta0": 1e-12, "alpha": 0.0}
    for before in (True, False):
        model = SGDRegressor(**FEW, standardize=before)
        with warnings.catch_warnings(action="ignore"):
            model.fit(X / 100.0, y)
        expected = model.predict(X / 100.0)
        model.set_params(standardize=not before, **tiny)
        for warm, resume in ((False, True), (True, False)):
            model.set_params(warm_start=warm).fit(X / 100.0, y, resume=resume)
            assert np.ptp(expected) > 0.1
            assert_allclose(model.predict(X / 100.0), expected, atol=1e-6)


# ---------------------------------------------------------------- what else sees a model


def test_a_divergence_has_the_users_weights(examples):
    """The last finite ones are those given, in the space of X; a rate that works is named."""
    X, y, _ = examples
    start = np.arange(1.0, D + 1.0), np.array([2.0])
    wild = {**FEW, "learning_rate": "constant", "eta0": 1e6, "max_iter": 400}
    with pytest.raises(DivergenceError) as caught:
        SGDRegressor(**wild, standardize=True).fit(X, y, *start)
    assert_allclose(caught.value.coef_[0], start[0])
    assert_allclose(caught.value.intercept_, start[1])
    assert caught.value.feature_scale < 20.0  # of the standardised features
    calm = {**wild, "eta0": caught.value.safe_rate, "max_iter": 5}
    assert SGDRegressor(**calm, standardize=True).fit(X, y).score(X, y) > 0.3


def test_callbacks_see_models_of_the_users_features(examples):
    sklearn_callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
    X, y, _ = examples
    monitor = sklearn_callback.ScoringMonitor(scoring="r2")
    model = SGDRegressor(**FEW, standardize=True).set_callbacks(monitor).fit(X, y)
    seen = monitor.get_logs().data
    assert any(np.isclose(model.score(X, y), list(row.values())[-1]) for row in seen)


def test_scales_do_not_warn(examples):
    """Features that differ by a factor of a million are what standardising is for."""
    X, y, _ = examples
    X = X * np.geomspace(1e-6, 1e6, D)
    model = SGDClassifier(random_state=0, standardize=True, alpha=1e-2)
    assert model.fit(X, y > 0).score(X, y > 0) > 0.9


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sparse_rows_are_refused(estimator, examples):
    X, y, _ = examples
    model = estimator(**FEW, standardize=True).fit(X, **targets_of(estimator, y))
    before = pickle.dumps(vars(model))
    for verb in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="standardize=True needs dense X"):
            verb(sp.csr_array(X), **targets_of(estimator, y))
    assert pickle.dumps(vars(model)) == before
    assert_allclose(scores(model, sp.csr_array(X)), scores(model, X), rtol=1e-9)


@pytest.mark.parametrize("dtype", (np.float16, np.float32, np.float64))
@pytest.mark.parametrize("value", (np.nan, np.inf))
@pytest.mark.parametrize("weighted", (False, True))
def test_what_is_not_finite_is_refused(weighted, value, dtype, examples):
    """In a row of weight zero, too."""
    X, y, weight = examples
    X = X.astype(dtype)
    X[np.flatnonzero(weight == 0)[0], 1] = value
    with pytest.raises(ValueError, match="Input X contains"):
        SGDRegressor(**FEW, standardize=True).fit(X, y, sample_weight=weight if weighted else None)


def test_a_variance_beyond_numbers_is_refused(examples):
    X, y, _ = examples
    with pytest.raises(ValueError, match="X has a feature whose variance is not finite, number 3"):
        SGDRegressor(**FEW, standardize=True).fit(np.where(np.arange(D) == 3, 1e200 * X, X), y)


def test_one_row():
    """Nothing varies: all scales are 1, and the one row is 0."""
    model = SGDRegressor(**FEW, standardize=True).fit([[3.0, 4.0]], [2.0])
    assert_array_equal(model.coef_, [0.0, 0.0])
    assert 0.0 < model.predict([[3.0, 4.0]])[0] <= 2.0


@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_no_second_copy_of_X(dtype):
    """A fit, standardised or not, and predictions: half of X at most, of uint8 too."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (60_000, 400), dtype=np.uint8).astype(dtype)
    y = X[:, 0] > 4
    model = SGDClassifier(random_state=0, max_iter=1, tol=None)
    for case in grid(standardize=(False, True)):
        model.set_params(**case).fit(X[:100], y[:100])
        tracemalloc.start()
        model.fit(X, y)
        model.predict(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0 < peak < X.nbytes // 2, case
