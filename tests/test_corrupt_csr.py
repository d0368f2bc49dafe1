"""Corrupt CSR matrices, each in a process of its own: a ValueError, no crash and no model.

Every corruption meets every method, dtype and container. ``python test_corrupt_csr.py`` is the
server that forks for every case, see forked.py.
"""

import os
import pickle
import signal
import warnings
from functools import cache
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering, unmet
from forked import serve, server_of
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection._search import BaseSearchCV

import fastsgd

METHODS = ("fit", "partial_fit", "predict", "decision_function", "score")
INDICES = {"int32": np.int32, "int64": np.int64}
VALUES = {"float32": np.float32, "float64": np.float64}
CONTAINERS = {"csr_matrix": sp.csr_matrix, "csr_array": sp.csr_array}
ESTIMATORS = tuple(
    public
    for public in (getattr(fastsgd, name) for name in fastsgd.__all__)
    if isinstance(public, type) and issubclass(public, BaseEstimator)
)
N, D = 30, 7


# ---------------------------------------------------------------- the matrices


def examples(container=sp.csr_array, index=np.int32, dtype=np.float64):
    """X (30, 7), half of it zero, and labels 0 and 1, which do as real targets too."""
    rng = np.random.default_rng(0)
    X = container((rng.normal(size=(N, D)) * (rng.random((N, D)) < 0.5)).astype(dtype))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    assert {X.indices.dtype, X.indptr.dtype} == {np.dtype(index)}
    assert type(X) is container
    assert X.data.dtype == dtype
    assert (np.diff(X.indptr) > 1).sum() > N // 2
    return X, np.tile([0, 1], N // 2)


def is_sound(X):
    """Whether X is CSR: the definition, in NumPy."""
    indices, indptr = (array.astype(object) for array in (X.indices, X.indptr))  # no overflow
    return (
        len(X.data) == len(indices)
        and len(indptr) == X.shape[0] + 1
        and indptr[0] == 0
        and bool((np.diff(indptr) >= 0).all())
        and indptr[-1] == len(indices)
        and bool(((indices >= 0) & (indices < X.shape[1])).all())
    )


def negative_index(X):
    X.indices[5] = -1
    assert X.indices.min() == -1


def index_of_one_column_too_many(X):
    X.indices[-1] = D
    assert X.indices.max() == D


def huge_index(X):
    X.indices[5] = np.iinfo(X.indices.dtype).max
    assert X.indices.max() >= 2**31 - 1


def indptr_starting_behind_0(X):
    X.indptr[0] = 1
    assert X.indptr[0] <= X.indptr[1]


def decreasing_indptr(X):
    X.indptr[3] = X.indptr[2] - 1
    assert X.indptr.min() == 0
    assert (np.diff(X.indptr) < 0).sum() == 1


def indptr_ending_behind_nnz(X):
    X.indptr[-1] += 1000
    assert X.indptr[-1] == len(X.data) + 1000


def indptr_ending_before_nnz(X):
    X.indptr[-1] -= 1
    assert X.indptr[-2] <= X.indptr[-1] == len(X.data) - 1


def indptr_too_short(X):
    X.indptr = X.indptr[:-1].copy()
    assert len(X.indptr) == N


def indices_shorter_than_data(X):
    X.indices = X.indices[:-1].copy()
    assert len(X.indices) == len(X.data) - 1


def negative_indptr(X):
    X.indptr[3] = -5
    assert X.indptr.min() == -5


CORRUPTIONS = {
    corrupt.__name__: corrupt
    for corrupt in (
        negative_index,
        index_of_one_column_too_many,
        huge_index,
        indptr_starting_behind_0,
        decreasing_indptr,
        indptr_ending_behind_nnz,
        indptr_ending_before_nnz,
        indptr_too_short,
        indices_shorter_than_data,
        negative_indptr,
    )
}
WAYS = {"method": METHODS, "index": INDICES, "dtype": VALUES, "container": CONTAINERS}
AXES = {"corruption": CORRUPTIONS, **WAYS}
CORRUPT = covering(AXES, crossed=[("corruption", "method")])
CASES = [tuple(case[name] for name in AXES) for case in CORRUPT]
PATHS = [tuple(case[name] for name in WAYS) for case in covering(WAYS)]


def no_corruption(X):
    assert is_sound(X)


def crash(X):
    """What a kernel that follows a bad index does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def make(kind, index, dtype, container):
    """The matrix of a case and its targets."""
    X, y = examples(CONTAINERS[container], INDICES[index], VALUES[dtype])
    corrupt = CORRUPTIONS.get(kind) or {"none": no_corruption, "crash": crash}[kind]
    corrupt(X)
    assert is_sound(X) == (kind not in CORRUPTIONS)
    return X, y


# ---------------------------------------------------------------- the server


def fresh(estimator):
    """A model that trains two epochs, or a search of such models."""
    options = {"max_iter": 2, "tol": None, "random_state": 0}
    if issubclass(estimator, BaseSearchCV):
        return estimator(fastsgd.SGDClassifier(**options), {"alpha": [1e-4, 1e-2]}, cv=2)
    return estimator(**options)


@cache
def trained(estimator, dtype):
    """Fitted before, on a row less than the cases have."""
    X, y = examples(dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a random search of fewer candidates
        return fresh(estimator).fit(X[1:], y[1:])


def subjects(method, dtype):
    """Every estimator that has the method, as (name, model); fresh too if the method trains."""
    for estimator in ESTIMATORS:
        if not hasattr(estimator, method) and estimator is not fastsgd.SGDClassifier:
            continue
        if method in ("fit", "partial_fit"):
            yield f"fresh {estimator.__name__}", fresh(estimator)
        yield f"fitted {estimator.__name__}", trained(estimator, dtype)


def call(model, method, X, y):
    arguments = (X,) if method in ("predict", "decision_function") else (X, y)
    named = method == "partial_fit" and is_classifier(model)
    getattr(model, method)(*arguments, **({"classes": np.unique(y)} if named else {}))


def portrait(model, X):
    """All that estimator and matrix are, as bytes."""
    return pickle.dumps((vars(model), X.data, X.indices, X.indptr))


def attempt(kind, method, *path):
    """What becomes of each subject, one after the other: memory may be damaged after the first."""
    index, dtype, container = path
    for name, model in subjects(method, VALUES[dtype]):
        X, y = make(kind, index, dtype, container)
        before, result = portrait(model, X), {"who": name, "error": None}
        try:
            call(model, method, X, y)
        except Exception as error:
            result["error"] = f"{type(error).__name__}: {error}"
            result["is_value_error"] = isinstance(error, ValueError)
        result["changed"] = portrait(model, X) != before
        result["is_fitted"] = hasattr(model, "n_features_in_")
        yield result


def serve_cases():
    warnings.simplefilter("ignore")
    for estimator, dtype in product(ESTIMATORS, VALUES.values()):
        trained(estimator, dtype)
    serve(attempt)


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def ask():
    with server_of(__file__) as ask:
        yield ask


def test_every_corruption_meets_every_way_to_a_kernel():
    assert len(CORRUPTIONS) == 10
    assert len(set(CASES)) >= 50
    assert unmet(CORRUPT, AXES) == []


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_corrupt_matrix_is_a_value_error(case, ask):
    """Of all estimators; it speaks of X, leaves no model and changes neither model nor matrix."""
    answer = ask(*case)
    assert answer["ended"] == 0, answer
    assert any("SGDClassifier" in result["who"] for result in answer["results"])
    for result in answer["results"]:
        assert result["error"], f"no error: {result}"
        assert result["is_value_error"], result
        assert result["error"].startswith("ValueError: X"), result
        assert not result["changed"], result
        assert result["is_fitted"] == result["who"].startswith("fitted"), result


@pytest.mark.parametrize("path", PATHS, ids="-".join)
def test_sound_matrix_is_none(path, ask):
    """Without a corruption every call returns, and what trains is seen to change its estimator."""
    answer = ask("none", *path)
    assert answer["ended"] == 0, answer
    for result in answer["results"]:
        assert result["error"] is None, result
        assert result["changed"] == ("fit" in path[0]), result


def test_a_crash_is_told(ask):
    """The harness can tell: the process of a case that crashes is a signal, and the next runs."""
    rest = ("fit", "int32", "float64", "csr_array")
    assert ask("crash", *rest) == {"results": [], "ended": f"signal {signal.SIGSEGV.value}"}
    assert ask("none", *rest)["ended"] == 0


if __name__ == "__main__":
    serve_cases()
