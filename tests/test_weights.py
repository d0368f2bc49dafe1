"""Weights: what they mean on dense data and on CSR, for rows, for classes, and in streams."""

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils import compute_class_weight

from fastsgd import GridSearchCV, SGDClassifier, SGDRegressor, path
from fastsgd.insight import gradient_noise

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6)) * (rng.random((40, 6)) < 0.6)
LABELS = {2: (X[:, 0] > 0.1).astype(int), 3: rng.integers(0, 3, 40)}
Y = X @ rng.normal(size=6) + 0.1 * rng.normal(size=40)
TIMES = rng.integers(0, 4, 40)
LAYOUTS = {"dense": np.asarray, "csr": sp.csr_array}
OPTIMISERS = ({}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True, "average": 3})
MODELS = {
    "svm": (SGDClassifier, {"loss": "squared_hinge"}, LABELS[2]),
    "one-vs-rest": (SGDClassifier, {"loss": "log_loss"}, LABELS[3]),
    "softmax": (SGDClassifier, {"loss": "log_loss", "multi_class": "multinomial"}, LABELS[3]),
    "regression": (SGDRegressor, {"loss": "huber", "epsilon": 0.5}, Y),
}
SIGNS = "negative", "positive"
COMMON = {"learning_rate": "constant", "tol": None, "random_state": 0}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("penalty", ("l2", "l1", "elasticnet", None))
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EfficiencyWarning")
def test_at_full_batch_an_integer_weight_is_a_repetition(name, penalty, layout):
    """Once alpha and eta are rescaled by the mean weight; weights of 0 are rows left out."""
    estimator, parameters, y = MODELS[name]
    mean = TIMES.sum() / np.count_nonzero(TIMES)
    assert (TIMES == 0).any()
    assert abs(mean - 1.0) > 0.1
    for optimiser in OPTIMISERS:
        same = {**COMMON, **parameters, **optimiser, "penalty": penalty, "max_iter": 25}
        weighted = estimator(**same, batch_size=40, eta0=0.05, alpha=0.02)
        repeated = estimator(
            **same, batch_size=int(TIMES.sum()), eta0=0.05 * mean, alpha=0.02 / mean
        )
        weighted.fit(LAYOUTS[layout](X), y, sample_weight=TIMES)
        repeated.fit(LAYOUTS[layout](np.repeat(X, TIMES, axis=0)), np.repeat(y, TIMES, axis=0))
        assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
        assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-9, atol=1e-12)
        assert np.abs(weighted.coef_).max() > 0.05


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", MODELS)
def test_rows_of_weight_zero_are_not_there(name, layout):
    """In storage order, step by step: the model of the other rows alone."""
    estimator, parameters, y = MODELS[name]
    there = np.flatnonzero(TIMES)
    for optimiser in OPTIMISERS:
        same = {**COMMON, **parameters, **optimiser, "shuffle": False, "eta0": 0.02, "max_iter": 4}
        weighted = estimator(**same).fit(LAYOUTS[layout](X), y, sample_weight=(TIMES > 0) * 1.0)
        without = estimator(**same).fit(LAYOUTS[layout](X[there]), y[there])
        assert_allclose(weighted.coef_, without.coef_, rtol=1e-10, atol=1e-13)
        assert weighted.t_ == without.t_ == 1 + 4 * len(there)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", LABELS)
def test_class_weights_multiply_sample_weights(classes, layout):
    """Of two classes both count; of more, a class's weight is that of its rows in its own lane."""
    y = LABELS[classes]
    weights = {label: 0.5 + label for label in range(classes)}
    data = LAYOUTS[layout](X)
    sample_weight = rng.uniform(0.5, 2.0, 40)
    by_class = SGDClassifier("log_loss", **COMMON, eta0=0.05, max_iter=3, class_weight=weights)
    by_class.fit(data, y, sample_weight=sample_weight)
    for k, coef in enumerate(by_class.coef_):
        label = 1 if classes == 2 else k
        rows = np.vectorize(weights.get)(y).astype(float)
        if classes > 2:
            rows = np.where(y == k, rows, 1.0)
        one = SGDClassifier("log_loss", **COMMON, eta0=0.05, max_iter=3)
        one.fit(data, (y == label).astype(int), sample_weight=sample_weight * rows)
        assert_allclose(coef, one.coef_[0], rtol=1e-9)


@pytest.mark.parametrize("classes", LABELS)
def test_balanced_in_a_stream_counts_what_was_seen(classes):
    """After one chunk with all rows "balanced" is that of a fit; later it is that of all chunks."""
    y = LABELS[classes].copy()
    y[:10] = 0
    parameters = {**COMMON, "eta0": 0.05, "class_weight": "balanced", "loss": "log_loss"}
    stream = SGDClassifier(**parameters).partial_fit(X, y, classes=range(classes))
    whole = SGDClassifier(**parameters, max_iter=1).fit(X, y)
    assert_array_equal(stream.coef_, whole.coef_)

    stream.partial_fit(X[:10], y[:10])  # class 0 alone
    counts = np.bincount(np.r_[y, y[:10]], minlength=classes)
    by_hand = SGDClassifier(**parameters).partial_fit(X, y, classes=range(classes))
    balanced = dict(enumerate(counts.sum() / (classes * counts)))
    by_hand.set_params(class_weight=balanced).partial_fit(X[:10], y[:10])
    assert_allclose(stream.coef_, by_hand.coef_, rtol=1e-12)
    assert np.abs(stream.coef_ - whole.coef_).max() > 1e-4


BALANCED = {
    "binary": ({}, LABELS[2]),
    "one-vs-rest": ({}, LABELS[3]),
    "softmax": ({"multi_class": "multinomial"}, LABELS[3]),
    "multilabel": ({}, np.column_stack([LABELS[2], LABELS[3] == 0, LABELS[3] < 2]).astype(int)),
}
HALF = np.where((np.column_stack([LABELS[2], LABELS[3] == 0]) == 1).any(axis=1), TIMES > 1, 1.0)
PARTS = HALF * np.random.default_rng(5).uniform(0.1, 3.0, 40)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", BALANCED)
def test_balanced_weights_do_not_see_rows_of_weight_zero(name, layout):
    """Of a fit, of a stream, of a path and of the noise of the gradients."""
    options, y = BALANCED[name]
    data, there = LAYOUTS[layout](X), np.flatnonzero(HALF)
    assert 5 < len(there) < 30
    same = {**COMMON, **options, "eta0": 0.05, "shuffle": False, "max_iter": 4}
    model = SGDClassifier("log_loss", class_weight="balanced", **same)
    weighted = clone(model).fit(data, y, sample_weight=PARTS)
    without = clone(model).fit(data[there], y[there], sample_weight=PARTS[there])
    assert_allclose(weighted.coef_, without.coef_, rtol=1e-10, atol=1e-13)
    uniform = clone(model).fit(data, y)
    assert np.abs(weighted.coef_ - uniform.coef_).max() > 1e-3

    classes = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
    stream, others = clone(model), clone(model)
    for rows in (slice(0, 15), slice(15, 40), slice(0, 40)):
        kept = np.arange(40)[rows][HALF[rows] > 0]
        stream.partial_fit(data[rows], y[rows], classes, sample_weight=PARTS[rows])
        others.partial_fit(data[kept], y[kept], classes, sample_weight=PARTS[kept])
        assert_allclose(stream.coef_, others.coef_, rtol=1e-10, atol=1e-13)

    found = path(data, y, alphas=[1e-4], estimator=model, sample_weight=PARTS)
    assert_allclose(found.coef[0], weighted.coef_, rtol=1e-9)
    noise = gradient_noise(weighted, data, y, sample_weight=PARTS)
    of_others = gradient_noise(weighted, data[there], y[there], sample_weight=PARTS[there])
    assert_allclose(noise.noise_scale, of_others.noise_scale, rtol=1e-9)


@pytest.mark.parametrize("name", BALANCED)
def test_balanced_weights_of_weighted_rows_are_scikit_learns(name):
    options, y = BALANCED[name]
    model = SGDClassifier("log_loss", class_weight="balanced", max_iter=1, tol=None, **options)
    task = model._begin(X, y, PARTS)
    for k, column in enumerate(y.T if y.ndim == 2 else [y]):
        classes = np.unique(column)
        wanted = compute_class_weight("balanced", classes=classes, y=column, sample_weight=PARTS)
        if y.ndim == 2 or len(classes) == 2:
            given = [np.ravel(task.class_weight[f"weight_{sign}"]) for sign in SIGNS]
            assert_allclose([one[k] for one in given], wanted, rtol=1e-12)
        else:
            assert_allclose(task.class_weight["weight_positive"], wanted, rtol=1e-12)


@pytest.mark.parametrize("name", BALANCED)
def test_balanced_weights_are_of_the_rows_that_are_trained_on(name):
    """In a search and with early stopping rows held out are of weight zero, and are not counted."""
    options, y = BALANCED[name]
    same = {**COMMON, **options, "eta0": 0.05, "max_iter": 4, "class_weight": "balanced"}
    same["sampling"] = "sequential"
    splits = [(np.arange(25), np.arange(25, 40)), (np.arange(10, 40), np.arange(10))]
    found = GridSearchCV(SGDClassifier("log_loss", **same), {"alpha": [1e-4]}, cv=splits)
    scores = found.fit(X, y, sample_weight=PARTS).cv_results_
    for f, (train, test) in enumerate(splits):
        alone = SGDClassifier("log_loss", **same).fit(
            X[train], y[train], sample_weight=PARTS[train]
        )
        score = alone.score(X[test], y[test], sample_weight=PARTS[test])
        assert scores[f"split{f}_test_score"][0] == pytest.approx(score, abs=1e-12)

    early = SGDClassifier("log_loss", early_stopping=True, validation_fraction=0.3, **same)
    model = clone(early).fit(X, y)
    held_out = early._begin(X, y, None), 0
    rows = early._held_out(*held_out)
    kept = np.setdiff1d(np.arange(40), rows)
    alone = SGDClassifier("log_loss", **same)
    alone.fit(X[kept], y[kept], X_val=X[rows], y_val=y[rows])
    assert_allclose(model.coef_, alone.coef_, rtol=1e-10)


def test_calls_on_the_same_rows_have_the_same_balanced_weights():
    """To the bit: the sums of weights that are no whole numbers are exact."""
    for seed, name in product(range(5), BALANCED):
        options, y = BALANCED[name]
        weight = np.random.default_rng(seed).uniform(0.0, 1.0, 40) ** 9
        same = {**COMMON, **options, "eta0": 0.05, "class_weight": "balanced"}
        whole = SGDClassifier("log_loss", max_iter=7, **same).fit(X, y, sample_weight=weight)
        parts = SGDClassifier("log_loss", **same)
        classes = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
        for _ in range(7):
            parts.partial_fit(X, y, classes, sample_weight=weight)
        assert_array_equal(whole.coef_, parts.coef_)


def test_balanced_weights_beyond_all_numbers_are_refused():
    weight = np.where(LABELS[2] == 1, 1e-200, 1e150)
    with pytest.raises(ValueError, match="class_weight='balanced' would not be finite"):
        SGDClassifier(class_weight="balanced").fit(X, LABELS[2], sample_weight=weight)


@pytest.mark.parametrize("value", (np.nan, np.inf, -1.0, "a", None, 1j, 10**400, np.float32(-1)))
def test_class_weights_that_are_none(value):
    one = SGDClassifier(class_weight={0: value})
    grids = {"alpha": [0.1]}, {"class_weight": [{0: value}]}
    for model in (one, *(GridSearchCV(one, grid) for grid in grids)):
        with pytest.raises(
            ValueError, match=r"class_weight must be finite and not negative.*class 0"
        ):
            model.fit(X, LABELS[2])


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_class_weights_may_be_as_large_as_the_dtype_allows(dtype):
    highest = float(np.sqrt(np.finfo(dtype).max))
    with pytest.raises(ValueError, match="class_weight must be at most"):
        SGDClassifier(class_weight={0: 2.0 * highest}).fit(X.astype(dtype), LABELS[2])
    model = SGDClassifier("log_loss", class_weight={0: 1e-3 * highest}, max_iter=2, tol=None)
    assert np.isfinite(model.fit(X.astype(dtype), LABELS[2]).coef_).all()


@pytest.mark.parametrize(("size", "given"), list(product((1, 8, 100), (0.01, 0.002))))
def test_linear_scaling_multiplies_a_rate_given_by_the_batch_size(size, given):
    """Goyal et al. 2017; a batch is never larger than the data."""
    same = {**COMMON, "batch_size": size, "max_iter": 3}
    scaled = SGDRegressor(**same, eta0=given, linear_scaling=True).fit(X, Y)
    by_hand = SGDRegressor(**same, eta0=given * min(size, 40)).fit(X, Y)
    assert_array_equal(scaled.coef_, by_hand.coef_)
    assert scaled.history_["learning_rate"][0] == given * min(size, 40)
