"""X as rows that the core reads, converted in parts or beside the main thread, for Ctrl-C.

What is converted here is what scikit-learn's validation would convert, to the same numbers.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .._core import csr_arrays
from ..problem import STORED, blocks
from .threads import next_result

__all__ = ["MatrixLike", "csr_of", "rows_of"]

Result = TypeVar("Result")


class ArrowStream(Protocol):
    """A table that gives its columns by Arrow's C interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A stream of record batches."""


Rows = os.PathLike[str] | ArrowStream | Callable[[], Iterator[Any]] | Iterator[Any]
"""Sources of rows beside strings, which are array-like for type checkers."""

MatrixLike = ArrayLike | sp.spmatrix | sp.sparray | Rows
"""What X may be given as: an array, a table, lists, a sparse matrix or array, or a source."""

LARGE = 1 << 19
"""Values from which a conversion takes longer than Ctrl-C may wait for on a busy machine."""


LIST_ROWS = 1 << 14
"""Rows of LIL that are converted at a time, which takes a few milliseconds."""


def beside(call: Callable[[], Result]) -> Result:
    """The result of a call that lasts and releases the interpreter's lock; Ctrl-C does not wait.

    NumPy and SciPy do not look at signals. So the call goes on in a thread, and is left to itself
    when KeyboardInterrupt ends the wait: it only reads, and what it makes is dropped.
    """
    if threading.current_thread() is not threading.main_thread():  # gets no signals
        return call()
    found: SimpleQueue[Any] = SimpleQueue()  # whose calls Ctrl-C cannot part, as it can an Event's
    context = contextvars.copy_context()

    def work() -> None:
        try:
            found.put((context.run(call), None))
        except BaseException as error:  # handed to whoever waits
            found.put((None, error))

    thread = threading.Thread(target=work, name="fastsgd-conversion", daemon=True)
    thread.start()
    result: Result
    result, error = next_result(found, thread)
    if error is not None:
        raise error
    return result


def csr_of(X: Any) -> Any:
    """Sparse X of numbers as CSR of float64, or of float32 if it is that already."""
    if not sp.issparse(X) or X.dtype.kind not in "biuf":
        return X
    if X.format in ("coo", "bsr", "dia") and X.ndim == 2:
        X = beside(X.tocsr) if X.nnz >= LARGE else X.tocsr()
    if X.format == "lil":
        X = _csr_of_lists(X) if X.shape[0] >= LIST_ROWS else X.tocsr()
    if X.format not in ("csr", "csc"):
        return X
    dtype = X.dtype if X.dtype in (np.float64, np.float32) else np.dtype(np.float64)
    if X.format == "csr" and X.dtype == dtype:
        return X
    converted = X.__class__((1, 1)).tocsr()  # an array for an array, a matrix for a matrix
    converted.resize(X.shape)
    converted.data, converted.indices, converted.indptr = csr_arrays(X, dtype)
    return converted


def _csr_of_lists(X: Any) -> Any:
    """LIL, which holds two lists for each row, as CSR, some rows at a time."""
    starts = np.zeros(X.shape[0] + 1, dtype=np.int64)
    columns, values = [], []
    index = np.int32 if X.shape[1] <= np.iinfo(np.int32).max else np.int64
    for first in range(0, X.shape[0], LIST_ROWS):
        part = slice(first, min(first + LIST_ROWS, X.shape[0]))
        counts = np.fromiter(map(len, X.rows[part]), np.int64, part.stop - first)
        starts[first + 1 : part.stop + 1] = starts[first] + np.cumsum(counts)
        total = int(counts.sum())
        columns.append(np.fromiter(chain.from_iterable(X.rows[part]), index, total))
        values.append(np.fromiter(chain.from_iterable(X.data[part]), X.dtype, total))
    arrays = beside(lambda: (np.concatenate(values), np.concatenate(columns)))
    if starts[-1] <= np.iinfo(index).max:
        starts = starts.astype(index)
    converted = X.__class__((1, 1)).tocsr()  # an array for an array, a matrix for a matrix
    converted.resize(X.shape)
    converted.data, converted.indices = arrays
    converted.indptr = starts
    if starts.dtype != converted.indices.dtype:
        converted.indices = converted.indices.astype(starts.dtype)
    return converted


def rows_of(X: Any) -> Any:
    """A large array of numbers in C order, of a stored dtype: a copy, made block by block."""
    if type(X) is not np.ndarray or X.ndim != 2 or X.size < LARGE or X.dtype.kind not in "biuf":
        return X
    dtype = X.dtype if X.dtype in STORED else np.dtype(np.float64)
    if X.dtype == dtype and X.flags.c_contiguous:
        return X
    rows: NDArray[Any] = np.empty(X.shape, dtype=dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is found by the scores
        for part in blocks(X):
            rows[part] = X[part]
    return rows
