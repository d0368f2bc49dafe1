"""Networks take sources whose rows fit into memory, and learn of them what they learn of arrays."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from fastsgd import MLPClassifier, MLPRegressor

N, D = 300, 4
FEW = {"hidden_layer_sizes": (5,), "max_iter": 2, "tol": None, "random_state": 0}
KINDS = [MLPClassifier, MLPRegressor]


def table(kind, *, sparse=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    y = X[:, 0] + np.abs(X[:, 1])
    y = np.array(["low", "high"])[(y > 0.5).astype(int)] if kind is MLPClassifier else y
    return sp.csr_array(X) if sparse else X, y, rng.integers(1, 4, N).astype(float)


def blocks_of(X, y, *weight):
    return lambda: iter(
        [
            (
                X[first : first + 100],
                y[first : first + 100],
                *(w[first : first + 100] for w in weight),
            )
            for first in range(0, N, 100)
        ]
    )


def same(one, other):
    for ours, theirs in zip(one.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("cache", [True, "folder"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_learnt_like_its_arrays(kind, sparse, cache, tmp_path):
    X, y, weight = table(kind, sparse=sparse)
    source = blocks_of(X, y, weight)
    model = kind(**FEW).fit(source, cache=tmp_path / "rows" if cache == "folder" else cache)
    arrays = kind(**FEW).fit(X, y, sample_weight=weight)
    same(model, arrays)
    np.testing.assert_array_equal(model.predict(source), model.predict(X))
    assert model.score(source) == model.score(X, y, weight)
    part = kind(**FEW)
    options = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    for _ in range(2):
        part.partial_fit(source, **options)
    same(part, arrays)


@pytest.mark.parametrize("kind", KINDS)
def test_named_columns(kind):
    pa = pytest.importorskip("pyarrow")
    X, y, _ = table(kind)
    rows = pa.table({f"x{j}": X[:, j] for j in range(D)} | {"answer": y})
    model = kind(**FEW).fit(rows, target="answer")
    same(model, kind(**FEW).fit(X, y))
    np.testing.assert_array_equal(model.predict(rows), model.predict(X))
    if kind is MLPClassifier:
        np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(X))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(rows), model.predict(X))


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_set_may_be_a_source(kind):
    X, y, _ = table(kind)
    model = kind(**FEW).fit(blocks_of(X, y), X_val=blocks_of(X, y))
    arrays = kind(**FEW).fit(X, y, X_val=X, y_val=y)
    assert model.validation_scores_ == arrays.validation_scores_


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_do_not_fit_are_refused(kind, method):
    X, y, _ = table(kind)
    model, options = kind(**FEW), {}
    if kind is MLPClassifier and method == "partial_fit":
        options["classes"] = np.unique(y)
    message = "networks need all rows in memory: X has 300 rows of .* pool_bytes is 1000"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(blocks_of(X, y), pool_bytes=1000, **options)
    assert not hasattr(model, "coefs_")
