"""Work on large sparse X in parts that Ctrl-C can end: the results are those of SciPy and NumPy."""

import threading
from queue import SimpleQueue

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from fastsgd import SGDClassifier, SGDRegressor, _core
from fastsgd.inputs.conversions import LARGE, beside, csr_of, rows_of
from fastsgd.inputs.threads import next_result
from fastsgd.problem import STORED, Data, Settings
from fastsgd.statistics import curvature, sample

SHORT = {"random_state": 0, "max_iter": 5, "tol": None}
NUMBERS = (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, bool)


def sparse(form=sp.csr_array, n=400, d=70, dtype=np.float64, index=np.int32):
    """Integers, a third of them there, with an empty row and an empty column."""
    rng = np.random.default_rng(0)
    X = rng.integers(1, 9, (n, d)) * (rng.random((n, d)) < 0.3)
    X[n // 2] = X[:, d // 2] = 0
    X = form(X.astype(np.float64))
    X.data, X.indices, X.indptr = (
        X.data.astype(dtype),
        X.indices.astype(index),
        X.indptr.astype(index),
    )
    return X


@pytest.mark.parametrize("index", (np.int32, np.int64))
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("form", (sp.csc_array, sp.csc_matrix, sp.csr_array, sp.csr_matrix))
def test_csr_is_that_of_scipy(form, dtype, index):
    X = sparse(form, dtype=dtype, index=index)
    found = csr_of(X)
    expected = X.astype(np.float32 if dtype == np.float32 else np.float64).tocsr()
    assert type(found) is type(expected)
    assert found.shape == expected.shape
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.dtype == expected.dtype
    assert found.indices.dtype == index
    kept = X.format == "csr" and dtype in (np.float64, np.float32)
    assert (found is X) == kept
    assert np.shares_memory(found.indices, X.indices) == (X.format == "csr")


def test_duplicates_of_csc_stay_in_their_order():
    arrays = [3.0, 1.0, 2.0, 5.0, 4.0], [1, 0, 1, 1, 0], [0, 3, 5]
    X = sp.csc_array(tuple(map(np.array, arrays)), shape=(2, 2))
    found = csr_of(X)
    assert_array_equal(found.data, [1.0, 4.0, 3.0, 2.0, 5.0])
    assert_array_equal(found.indices, [0, 1, 0, 0, 1])
    assert_array_equal(found.indptr, [0, 2, 5])


def test_many_values_are_as_few():
    """More than a part of any loop."""
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 5000, 3_000_000, dtype=np.int32)
    indptr = np.sort(rng.integers(0, len(rows), 99, dtype=np.int32))
    indptr = np.concatenate([[0], indptr, [len(rows)]]).astype(np.int32)
    X = sp.csc_array((rng.normal(size=len(rows)), rows, indptr), shape=(5000, 100))
    found, expected = csr_of(X), X.tocsr()
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("where", ("indices", "indptr"))
@pytest.mark.parametrize("value", (-1, 2**30))
def test_csc_that_changes_is_a_value_error(where, value):
    """After its check, as another thread may do."""
    X = sparse(sp.csc_array)
    getattr(X, where)[3] = value
    with pytest.raises(ValueError, match="X changed"):
        _core.csr_arrays(X, np.float64)


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
def test_csc_trains_and_predicts_as_csr(estimator):
    X, y = sparse(), np.arange(400) % 3
    for each in (X.tocsc(), X.astype(np.int32), X.tocsc().astype(np.int32)):
        models = [estimator(**SHORT).fit(table, y) for table in (X, each)]
        assert_array_equal(models[1].coef_, models[0].coef_)
        assert_array_equal(models[1].predict(each), models[0].predict(X))


# ---------------------------------------------------------------- long rows


@pytest.mark.parametrize("index", (np.int32, np.int64))
@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_the_square_of_a_row(dtype, index):
    X = sparse(dtype=dtype, index=index)
    dense = X.toarray().astype(np.float64)
    X.indices[X.indptr[3] + 1] = X.indices[X.indptr[3]]  # twice
    first, second = X.data[X.indptr[3] : X.indptr[3] + 2].astype(np.float64)
    dense[3] = X[[3]].toarray()
    assert 2 * first * second > 0
    for row in range(X.shape[0]):
        assert _core.row_square(X, row) == pytest.approx(dense[row] @ dense[row], rel=1e-12)
    X.indptr[5] = 2**30
    with pytest.raises(ValueError, match="X changed"):
        _core.row_square(X, 4)


def test_the_square_of_a_row_of_several_parts():
    count = 5_000_000
    columns, values = np.arange(count, dtype=np.int32), np.ones(count, dtype=np.float32)
    X = sp.csr_array((values, columns, np.array([0, count], dtype=np.int32)), shape=(1, count))
    assert _core.row_square(X, 0) == count
    X.indices[1 << 21] = X.indices[(1 << 21) - 1]  # where two parts meet
    assert _core.row_square(X, 0) == count + 2


@pytest.mark.parametrize("batch_size", (1, 16))
def test_the_rate_of_long_rows_is_on_the_safe_side(batch_size, monkeypatch):
    """From the same mean |x|^2, with the largest curvature that rows of it may have."""
    X, y = sparse(), np.zeros(400)
    data, settings = Data(X, y), Settings(batch_size=batch_size)
    known = curvature.curvature_of(data, settings)
    columns, scales = sample.feature_scales(data)
    monkeypatch.setattr(sample, "LONG_ROW", 10)
    safe = curvature.curvature_of(data, settings)
    assert safe.mean_square == pytest.approx(known.mean_square, rel=1e-12)
    assert safe.noise == pytest.approx(known.noise, rel=1e-12)
    assert safe.largest == safe.mean_square >= known.largest
    assert safe.effective_rank == 1.0
    assert_array_equal(sample.feature_scales(data)[0], columns)
    assert_array_equal(sample.feature_scales(data)[1], scales)
    monkeypatch.setattr(sample, "SAMPLE_VALUES", 10)
    assert sample.feature_scales(data) is None
    model = SGDRegressor(random_state=0, batch_size=batch_size, max_iter=100, tol=None)
    assert model.fit(X, X.sum(axis=1)).score(X, X.sum(axis=1)) > 0.9


@pytest.mark.parametrize("dtype", (np.float64, np.float32, np.int32, bool))
@pytest.mark.parametrize("matrix", (False, True))
@pytest.mark.parametrize("form", ("coo", "bsr", "dia", "lil"))
def test_other_forms_are_as_scipy_makes_them(form, matrix, dtype):
    """Few values, and enough for a thread beside."""
    rng = np.random.default_rng(0)
    for shape in ((40, 6), (LARGE // 4, 8)):
        if form == "dia":
            values = rng.integers(1, 5, shape[::-1]).astype(dtype)  # eight diagonals
            make = sp.dia_matrix if matrix else sp.dia_array
            X = make((values, np.arange(shape[1])), shape=(shape[0], shape[0]))
        else:
            dense = (rng.integers(1, 5, shape) * (rng.random(shape) < 0.9)).astype(dtype)
            X = (sp.csr_matrix if matrix else sp.csr_array)(dense).asformat(form)
        assert (X.nnz >= LARGE) == (shape[0] > 40)
        found, expected = csr_of(X), X.tocsr()
        assert type(found) is type(expected)
        assert found.dtype == (dtype if dtype in (np.float64, np.float32) else np.float64)
        for name in ("data", "indices", "indptr"):
            assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("dtype", (*(stored.type for stored in STORED), np.int64, bool))
@pytest.mark.parametrize("layout", ("C", "Fortran", "strided", "backwards"))
def test_rows_of_any_layout(layout, dtype):
    X = (np.arange(2 * LARGE).reshape(-1, 16) % 7).astype(dtype)
    X = {
        "C": X,
        "Fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "backwards": X[::-1],
    }[layout]
    kept = layout == "C" and np.dtype(dtype) in STORED
    found = rows_of(X)
    assert (found is X) == kept
    if found is not X:
        assert found.flags.c_contiguous
    assert found.dtype == (dtype if np.dtype(dtype) in STORED else np.float64)
    assert_array_equal(found, X)
    few = X[:3]
    assert rows_of(few) is few


def test_a_call_beside_the_main_thread():
    """Its result, its exception with its own type, and the caller's floating-point settings."""
    assert beside(lambda: 3) == 3
    with pytest.raises(KeyError):
        beside(lambda: {}["missing"])
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        beside(lambda: np.ones(2) / np.zeros(2))


def test_losses_of_long_rows_are_those_of_short_ones():
    d = 2 * sample.LONG_ROW
    rng = np.random.default_rng(0)
    X = sp.csr_array(rng.normal(size=(3, d)))
    coef = rng.normal(size=(2, d)) / d
    assert_allclose(sample._scores(X, coef), X @ coef.T)


def test_a_thread_that_ends_without_a_result_is_a_memory_error(monkeypatch):
    monkeypatch.setattr("fastsgd.inputs.threads.WAIT", 0.01)
    results = SimpleQueue()
    thread = threading.Thread(target=results.put, args=(3,), name="reader")
    thread.start()
    thread.join()
    assert next_result(results, thread) == 3
    with pytest.raises(MemoryError, match="no memory for the thread 'reader'"):
        next_result(results, thread)
