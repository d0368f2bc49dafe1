"""Outputs: several targets, several labels, softmax, probabilities, one class, sparse weights."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.exceptions import DataConversionWarning, NotFittedError, UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.linear_model import SGDClassifier as TheirClassifier

import fastsgd
from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor
from fastsgd.estimators.labels import LABEL_BLOCK, find_labels
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.statistics.weights import typical_weight

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 6))
SCORES = X @ rng.normal(size=(6, 3)) + 0.3 * rng.normal(size=(200, 3))
LABELS = SCORES.argmax(axis=1)
SHORT = {"random_state": 0, "max_iter": 5, "tol": None}
FULL = {"batch_size": 200, "max_iter": 4000, "tol": None, "learning_rate": "constant"}
"""Full-batch gradient descent, to the minimum."""


def test_names():
    assert {"SGDClassifier", "SGDRegressor", "SGDOneClassSVM"} <= set(dir(fastsgd))
    with pytest.raises(AttributeError, match="no attribute 'SGDCluster'"):
        fastsgd.SGDCluster  # noqa: B018


# ---------------------------------------------------------------- regression


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
def test_outputs_are_models_of_their_own(make):
    """At rates that are given, each column of y has the model it has alone."""
    rate = {"learning_rate": "invscaling", "eta0": 0.02, "momentum": 0.5}
    model = SGDRegressor(**SHORT, **rate).fit(make(X), SCORES)
    assert model.coef_.shape == (3, 6)
    assert model.intercept_.shape == (3,)
    assert model.predict(X).shape == (200, 3)
    for k in range(3):
        alone = SGDRegressor(**SHORT, **rate).fit(make(X), SCORES[:, k])
        assert_allclose(model.coef_[k], alone.coef_, rtol=1e-9)
        assert_allclose(model.predict(X)[:, k], alone.predict(X), rtol=1e-9)
    assert 0.9 < model.score(X, SCORES) <= 1.0


def test_a_column_is_one_output():
    """With scikit-learn's warning."""
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        model = SGDRegressor(**SHORT).fit(X, SCORES[:, :1])
    assert model.coef_.shape == (6,)
    assert model.intercept_.shape == (1,)
    assert model.predict(X).shape == (200,)


def test_quantiles():
    """A share q of the targets lies below the quantile q."""
    for q in (0.1, 0.5, 0.9):
        options = {"quantile": q, "random_state": 0, "average": True, "max_iter": 300, "tol": None}
        model = SGDRegressor("quantile", alpha=0.0, **options).fit(X, SCORES[:, 0])
        assert (SCORES[:, 0] < model.predict(X)).mean() == pytest.approx(q, abs=0.03)


def test_poisson_predicts_means():
    counts = rng.poisson(np.exp(0.5 + X @ [0.3, -0.2, 0.1, 0, 0, 0]))
    model = SGDRegressor("poisson", alpha=0.0, **{**FULL, "eta0": 0.1}).fit(X, counts)
    assert_allclose(model.predict(X).sum(), counts.sum(), rtol=1e-6)  # of the intercept's gradient
    assert_allclose(model.predict(X), np.exp(X @ model.coef_ + model.intercept_))
    with pytest.raises(ValueError, match="y must be >= 0"):
        SGDRegressor("poisson").fit(X, counts - 1)
    assert SGDRegressor("poisson").__sklearn_tags__().target_tags.positive_only


@pytest.mark.parametrize("mean", (0.5, 20.0, 500.0))
def test_poisson_finds_a_rate(mean):
    """Counts of any size, spread widely: the default learning rate comes near the minimum."""
    for seed in range(4):
        of = np.random.default_rng(seed)
        table = of.normal(size=(1000, 8))
        counts = of.poisson(mean * np.exp(0.3 * table @ of.normal(size=8)))
        best = PoissonRegressor(alpha=1e-4, max_iter=1000).fit(table, counts).coef_
        model = SGDRegressor("poisson", random_state=0).fit(table, counts)
        assert np.linalg.norm(model.coef_ - best) < 0.25 * np.linalg.norm(best)


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("loss", ("hinge", "log_loss", "modified_huber"))
def test_labels_are_models_of_their_own(loss):
    indicators = (SCORES > 0.3).astype(int)
    rate = {"learning_rate": "invscaling", "eta0": 0.02}
    model = SGDClassifier(loss, **SHORT, **rate).fit(X, indicators)
    assert_array_equal(model.classes_, [0, 1, 2])
    assert model.decision_function(X).shape == model.predict(X).shape == (200, 3)
    for k in range(3):
        alone = SGDClassifier(loss, **SHORT, **rate).fit(X, indicators[:, k])
        assert_allclose(model.coef_[k], alone.coef_[0], rtol=1e-9)
        assert_array_equal(model.predict(X)[:, k], alone.predict(X))
        if loss != "hinge":
            assert_allclose(model.predict_proba(X)[:, k], alone.predict_proba(X)[:, 1])
    sparse = SGDClassifier(loss, **SHORT, **rate).fit(X, sp.csr_array(indicators))
    assert_array_equal(sparse.coef_, model.coef_)
    assert 0.5 < model.score(X, indicators) <= 1.0


def test_label_weights():
    indicators = (SCORES > [1.0, 0.0, -1.0]).astype(int)
    rate = {"learning_rate": "constant", "eta0": 0.02}
    for weight in ("balanced", {0: 3.0, 1: 2.0, 2: 1.0}):
        model = SGDClassifier(**SHORT, **rate, class_weight=weight).fit(X, indicators)
        for k in range(3):
            of = weight if weight == "balanced" else {1: weight[k]}
            alone = SGDClassifier(**SHORT, **rate, class_weight=of).fit(X, indicators[:, k])
            assert_allclose(model.coef_[k], alone.coef_[0], rtol=1e-9)


def test_labels_chunk_by_chunk():
    indicators = (SCORES > 0.3).astype(int)
    model = SGDClassifier(random_state=0)
    for rows in np.split(np.arange(200), 4):
        model.partial_fit(X[rows], indicators[rows], classes=[0, 1, 2])
    assert model.predict(X).shape == (200, 3)
    with pytest.raises(ValueError, match=r"must have shape .* as in fit"):
        model.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match=r"multilabel problem must be range\(3\)"):
        SGDClassifier().partial_fit(X, indicators, classes=[0, 1])
    with pytest.raises(ValueError, match="y should be a 1d array"):
        SGDClassifier().fit(X, np.column_stack([LABELS, LABELS]))


@pytest.mark.parametrize("dtype", (np.int8, np.uint8, np.int64, np.uint64, np.float32, bool, str))
def test_classes_are_the_sorted_labels(dtype):
    """Of any kind, those whose differences overflow their own type among them."""
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    for values in (
        [0, 1],
        [3, 0, 7],
        *([[info.max - 1, 5, info.min], [info.max, info.max - 1]] if info else ()),
    ):
        y = np.array(values, dtype=dtype)[rng.integers(0, len(values), 200)]
        model = SGDClassifier(**SHORT).fit(X, y)
        assert_array_equal(model.classes_, np.unique(y))
        assert model.classes_.dtype == model.predict(X).dtype == y.dtype
        again = SGDClassifier(random_state=0, total_epochs=5)
        for _ in range(5):
            again.partial_fit(X, y, classes=model.classes_)
        assert_array_equal(again.coef_, model.coef_)


@pytest.mark.parametrize("later", ([1], [1, 5], [2], [-7, 9]))
@pytest.mark.parametrize("first", ([1], [5, 1]))
@pytest.mark.parametrize("dtype", (np.int8, np.int64, np.float64))
def test_labels_that_come_late(dtype, first, later):
    """Labels that are not among the first that are looked at together."""
    y = np.concatenate([np.resize(first, LABEL_BLOCK), np.resize(later, LABEL_BLOCK + 3)])
    classes, positions = find_labels(y.astype(dtype), np.float32)
    assert_array_equal(classes, np.unique(y))
    assert classes.dtype == dtype
    assert positions.dtype == np.float32
    assert_array_equal(classes[positions.astype(int)], y)


def test_typical_weights_are_those_of_the_rows():
    """sum s^2 / sum s over a lane's rows, however many lanes and columns of targets there are."""
    y = np.column_stack([LABELS, rng.integers(0, 2, 200)]).astype(float)
    weight = rng.uniform(0.1, 2.0, 200)
    labels, targets = np.array([0.0, 1.0, 2.0, 1.0, 7.0]), np.array([0, 0, 0, 1, 1])
    high, low = np.array([1.0, 3.0, 0.5, 2.0, 9.0]), np.array([1.0, 0.2, 0.5, 1.0, 4.0])
    lanes = Lanes(
        5, 0.0, 1.0, label=labels, target=targets, weight_positive=high, weight_negative=low
    )
    settings = Settings("hinge", sign_targets=True)
    found = typical_weight(Data(X, y, weight), lanes, settings)
    s = np.where(y[:, targets] == labels, high, low) * weight[:, None]
    assert_allclose(found, (s**2).sum(axis=0) / s.sum(axis=0))


# ---------------------------------------------------------------- softmax


def test_softmax_reaches_the_minimum():
    """That of scikit-learn's multinomial logistic regression."""
    alpha, d = 0.01, 6
    options = {"multi_class": "multinomial", "alpha": alpha, **FULL, "eta0": 0.5}
    model = SGDClassifier("log_loss", **options).fit(X, LABELS)
    theirs = LogisticRegression(C=1.0 / (alpha * 200), tol=1e-10, max_iter=1000).fit(X, LABELS)
    assert_allclose(model.coef_, theirs.coef_, atol=1e-5)
    assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    assert_allclose(model.predict_proba(X), softmax(model.decision_function(X), axis=1))
    assert model.coef_.shape == (3, d)


def test_softmax_with_class_weights():
    """A row carries the weight of its class: as if it were a sample weight."""
    weights = {0: 0.5, 1: 2.0, 2: 1.0}
    options = {"multi_class": "multinomial", "learning_rate": "constant", "eta0": 0.1, **SHORT}
    by_class = SGDClassifier("log_loss", class_weight=weights, **options).fit(X, LABELS)
    rows = np.array([weights[label] for label in LABELS])
    by_row = SGDClassifier("log_loss", **options).fit(X, LABELS, sample_weight=rows)
    assert_allclose(by_class.coef_, by_row.coef_, rtol=1e-10)


def test_softmax_of_two_classes_is_log_loss():
    y = LABELS > 0
    pair = [
        SGDClassifier("log_loss", multi_class=kind, **SHORT).fit(X, y)
        for kind in ("ovr", "multinomial")
    ]
    assert_array_equal(*(model.coef_ for model in pair))
    assert pair[1].predict_proba(X).shape == (200, 2)
    with pytest.raises(ValueError, match="goes with loss='log_loss', not with loss='hinge'"):
        SGDClassifier(multi_class="multinomial").fit(X, y)


# ---------------------------------------------------------------- probabilities


@pytest.mark.parametrize("classes", (2, 3))
@pytest.mark.parametrize("loss", ("log_loss", "modified_huber"))
def test_probabilities_are_scikit_learns(loss, classes):
    """Of the same weights, rows that no class wants among them."""
    y = LABELS % classes
    ours, theirs = (
        of(loss, max_iter=5, tol=None).fit(X, y) for of in (SGDClassifier, TheirClassifier)
    )
    ours.coef_, ours.intercept_ = theirs.coef_, theirs.intercept_ = (
        ours.coef_,
        ours.intercept_ - 1.0,
    )
    rows = np.vstack([X, 3.0 * X, np.zeros((1, 6))])
    assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), rtol=1e-12)
    assert_allclose(ours.predict_proba(rows).sum(axis=1), 1.0)
    with np.errstate(divide="ignore"):
        assert_allclose(ours.predict_log_proba(rows), theirs.predict_log_proba(rows))
    if (loss, classes) == ("log_loss", 2):
        assert_allclose(ours.predict_proba(rows)[:, 1], expit(ours.decision_function(rows)))


def test_probabilities_that_there_are_not():
    model = SGDClassifier("hinge", **SHORT).fit(X, LABELS)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="has no attribute 'predict_proba'"):
        model.predict_proba(X)
    assert hasattr(model.set_params(loss="modified_huber"), "predict_log_proba")


# ---------------------------------------------------------------- one class


def one_class_objective(parameters, nu):
    w, rho = parameters[:-1], parameters[-1]
    return 0.5 * nu * w @ w - nu * rho + np.maximum(0.0, rho - (X + 1.0) @ w).mean()


@pytest.mark.parametrize("nu", (0.1, 0.5))
def test_one_class_reaches_the_minimum(nu):
    options = {"nu": nu, "batch_size": 200, "max_iter": 20_000, "tol": None, "average": 0.5}
    model = SGDOneClassSVM(**options, learning_rate="invscaling", eta0=1.0).fit(X + 1.0)
    ours = one_class_objective(np.append(model.coef_, model.offset_), nu)
    best = minimize(
        one_class_objective, np.zeros(7), (nu,), "Nelder-Mead", options={"maxiter": 9000}
    )
    assert ours < best.fun + 1e-3 * abs(best.fun)
    outliers = model.predict(X + 1.0) == -1
    assert outliers.mean() == pytest.approx(nu, abs=0.05)
    assert_allclose(model.decision_function(X), model.score_samples(X) - model.offset_)
    assert_allclose(model.score_samples(X), X @ model.coef_)
    assert model.coef_.shape == (6,)
    assert model.offset_.shape == (1,)


def test_one_class_without_an_offset():
    model = SGDOneClassSVM(fit_intercept=False, **SHORT).fit(X)
    assert model.offset_ == [0.0]
    with pytest.raises(NotFittedError):
        SGDOneClassSVM().predict(X)


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor, SGDOneClassSVM))
def test_sparse_weights_predict_alike(estimator):
    for y in (LABELS, LABELS % 2, SCORES):
        if estimator is SGDClassifier and y.ndim == 2:
            y = (y > 0).astype(int)
        penalty = {} if estimator is SGDOneClassSVM else {"penalty": "l1", "alpha": 0.3}
        model = estimator(**SHORT, **penalty).fit(X, y)
        if penalty:
            assert np.count_nonzero(model.coef_) < model.coef_.size
        before = model.predict(X)
        dense = model.coef_.copy()
        assert sp.issparse(model.sparsify().coef_)
        assert_allclose(model.predict(X), before)
        assert_allclose(model.predict(sp.csr_array(X)), before)
        assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), before)
        assert_array_equal(np.ravel(model.densify().coef_), np.ravel(dense))


def test_certificate_is_small_at_the_minimum():
    model = SGDRegressor(alpha=0.1, certificate=True, **{**FULL, "eta0": 0.3}).fit(X, SCORES)
    assert model.certificate_.gradient_norm.shape == (3,)
    assert (model.certificate_.gradient_norm < 1e-8).all()
    assert (model.certificate_.duality_gap < 1e-8).all()
    early = SGDRegressor(alpha=0.1, certificate=True, **SHORT).fit(X, SCORES[:, 0])
    assert early.certificate_.gradient_norm > 1e-4
    assert not hasattr(early.set_params(certificate=False).fit(X, SCORES), "certificate_")


@pytest.mark.parametrize("second", (lambda y: y + 1, lambda y: 2 * y - 1, lambda y: y * 0.5))
def test_two_columns_of_labels_are_no_indicator_matrix(second):
    """scikit-learn calls any two-valued matrix a multilabel one; only zeros and ones are."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = (X[:, 0] > 0).astype(int)
    with pytest.raises(ValueError, match="y should be a 1d array"):
        SGDClassifier().fit(X, second(np.column_stack([y, 1 - y])))


def test_one_row_of_several_outputs():
    """A stream of single rows, and a validation set of one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    outputs = X @ rng.normal(size=(3, 4))
    regressor = SGDRegressor(random_state=0).partial_fit(X, outputs)
    assert regressor.partial_fit(X[:1], outputs[:1]).coef_.shape == (4, 3)
    assert regressor.partial_fit(X[:1].tolist(), outputs[:1].tolist()).t_ == 33
    labels = (outputs > 0).astype(int)
    classifier = SGDClassifier(random_state=0).partial_fit(X, labels, classes=range(4))
    assert classifier.partial_fit(X[:1], labels[:1]).predict(X).shape == (30, 4)
    model = SGDRegressor(max_iter=2, tol=None)
    with pytest.warns(UndefinedMetricWarning), pytest.warns(match="not a finite number"):
        model.fit(X, outputs, X_val=X[:1], y_val=outputs[:1])


def test_squared_losses_bear_rows_of_heavy_tailed_length():
    """Mean |x|^2 would be too small a curvature: single rows are a hundred times as long."""
    rng = np.random.default_rng(0)
    X = np.exp(2.0 * rng.normal(size=(2000, 10)))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = X @ rng.normal(size=10)
    for seed in range(3):
        assert SGDRegressor(random_state=seed).fit(X, y).score(X, y) > 0.98


def test_small_weights_are_no_reason_to_stop():
    """A tolerance falls with the mean weight: weights that sum to 1 are no reason to stop."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = (X @ rng.normal(size=5) + rng.normal(size=300) > 0).astype(int)
    plain = SGDClassifier("log_loss", random_state=0, alpha=0.0).fit(X, y)
    scaled = SGDClassifier("log_loss", random_state=0, alpha=0.0)
    scaled.fit(X, y, sample_weight=np.full(300, 1 / 256))  # a power of two: the same rounding
    assert scaled.n_iter_ == plain.n_iter_
    np.testing.assert_allclose(scaled.coef_, plain.coef_, rtol=1e-9)
