"""Rows that lie together, as a source hands them on, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import check_structure
from ..inputs.conversions import csr_of
from ..inputs.times import check_numbers
from ..problem import STORED

__all__ = ["LEAST_ROWS", "Block", "block_of"]

BLOCK_ROWS = 1 << 16
"""Rows of a block at most, where the source chooses."""

BLOCK_BYTES = 1 << 23
"""Bytes of X in a block, about, where the source chooses."""

LEAST_ROWS = 32
"""Rows of a block of a cache are a multiple of it."""


@dataclass(frozen=True)
class Block:
    """Rows that lie together.

    Attributes
    ----------
    X : ndarray of shape (m, d), or csr_array of float32 or float64
        Dense in C order, of float64, float32, float16 or uint8. Finite; the indices of a row of
        CSR are sorted, and none comes twice.
    y : ndarray of shape (m,) or (m, n_outputs), or None
        Numbers, bools or strings (of dtype object or str), as the source has them; finite.
    sample_weight : ndarray of shape (m,) or None
        Floating, finite and non-negative.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.data import Block
    >>> len(Block(np.zeros((3, 2)), np.ones(3), None))
    3
    """

    X: Any
    y: NDArray[Any] | None = None
    sample_weight: NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])


def rows_of_a_block(row_bytes: float) -> int:
    """How many rows of a length in bytes make a block."""
    return max(1, min(BLOCK_ROWS, int(BLOCK_BYTES / max(1.0, row_bytes))))


def block_of(X: Any, y: Any, sample_weight: Any, where: str, first_row: int = 0) -> Block:
    """Arrays of a user as a block.

    Parameters
    ----------
    X : array-like of shape (m, d) or sparse matrix
    y : array-like of shape (m,) or (m, n_outputs), or None
    sample_weight : array-like of shape (m,) or None
    where : str
        File or block that they come from, for messages.
    first_row : int
        Number there of their first row.

    Raises
    ------
    ValueError
        Naming the place and the row of what is wrong.
    """
    X = matrix_of(X, where)
    check_finite(X, where, first_row)
    m = X.shape[0]
    if y is not None:
        y = targets_of(y, where, first_row)
        if y.shape[0] != m:
            raise ValueError(f"{where}: X has {m} rows, but y {y.shape[0]}")
    if sample_weight is not None:
        sample_weight = weights_of(sample_weight, where, first_row)
        if sample_weight.shape[0] != m:
            raise ValueError(f"{where}: X has {m} rows, but sample_weight {sample_weight.shape[0]}")
    return Block(X, y, sample_weight)


def matrix_of(X: Any, where: str) -> Any:
    """X in C order and a stored dtype, or as a csr_array with sorted indices."""
    if sp.issparse(X):
        try:
            check_structure(X)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if X.dtype.kind not in "biuf" or X.ndim != 2:
            raise ValueError(f"{where}: X must be a sparse matrix of real numbers, got {X!r}")
        if X.shape[1] == 0:
            raise ValueError(f"{where}: X has no columns")
        X = sp.csr_array(csr_of(X))
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        return X
    try:
        check_numbers("X", X)
        X = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if X.dtype.kind not in "biuf" or X.ndim != 2:
        what = f"{X.ndim} dimensions and dtype {X.dtype}"
        raise ValueError(f"{where}: X must be numbers in two dimensions, got {what}")
    if X.shape[1] == 0:
        raise ValueError(f"{where}: X has no columns")
    with np.errstate(over="ignore"):  # infinity is found afterwards
        X = X.astype(X.dtype if X.dtype in STORED else np.float64, copy=False)
    return np.require(X, requirements=["C", "A"])


def targets_of(y: Any, where: str, first_row: int) -> NDArray[Any]:
    """Targets as an array of numbers, bools or strings, none of which is missing."""
    try:
        check_numbers("y", y)
        y = np.asarray(y)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if y.ndim not in (1, 2) or y.dtype.kind not in "biufOU":
        what = f"{y.ndim} dimensions and dtype {y.dtype}"
        raise ValueError(f"{where}: y must be numbers or strings, got {what}")
    if y.dtype.kind == "O":
        y = numbers_of_objects(y)
    if y.dtype.kind == "O":
        wrong = np.array([not isinstance(each, str) for each in y.ravel()]).reshape(y.shape)
        if wrong.any():
            row, value = first_row + first_true(wrong), y[wrong][0]
            if is_missing(value):
                raise ValueError(f"{place(where, row)}: y is missing")
            raise ValueError(f"{place(where, row)}: y must be numbers or strings, got {value!r}")
    if y.dtype.kind == "f":
        check_finite(y, where, first_row, "y")
    return y


def numbers_of_objects(y: NDArray[Any]) -> NDArray[Any]:
    """Numbers that are Python's objects as an array of numbers; others as they are."""
    if not all(isinstance(each, (int, float, np.number, np.bool_)) for each in y.ravel()):
        return y
    numbers = np.array(y.tolist())
    return numbers if numbers.dtype.kind in "biuf" else y


def is_missing(value: Any) -> bool:
    """Whether an object stands for a value that is missing: None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pandas.NA is neither equal nor unequal
        return True


def weights_of(weight: Any, where: str, first_row: int) -> NDArray[np.floating]:
    """Weights of rows as floating numbers, finite and non-negative."""
    weight = np.asarray(weight)
    if weight.ndim == 2 and weight.shape[1] == 1:
        weight = weight[:, 0]
    if weight.dtype.kind not in "biuf" or weight.ndim != 1:
        what = f"{weight.ndim} dimensions and dtype {weight.dtype}"
        raise ValueError(f"{where}: sample_weight must be numbers in one dimension, got {what}")
    if weight.dtype not in (np.float32, np.float64):
        weight = weight.astype(np.float64)
    check_finite(weight, where, first_row, "sample_weight")
    if weight.size and weight.min() < 0.0:
        row = first_row + first_true(weight < 0.0)
        raise ValueError(f"{place(where, row)}: sample_weight is negative")
    return weight


def check_finite(array: Any, where: str, first_row: int, name: str = "X") -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    ValueError
        Naming the place, the row and the column of the first.
    """
    values = array.data if sp.issparse(array) else array
    if all_finite(values):
        return
    bad = ~np.isfinite(values)
    if sp.issparse(array):
        entry = first_true(bad)
        row = int(np.searchsorted(array.indptr, entry, side="right")) - 1
        column, value = f", column {array.indices[entry]}", values[entry]
    else:
        row = first_true(bad)
        value = values[row][bad[row]].ravel()[0] if values.ndim == 2 else values[row]
        column = f", column {int(np.argmax(bad[row]))}" if values.ndim == 2 else ""
    what = "NaN" if np.isnan(value) else "infinite"
    raise ValueError(f"{place(where, first_row + row)}: {name} is {what}{column}")


def all_finite(values: NDArray[Any]) -> bool:
    """Whether no number is NaN or infinite: their sum says so, unless it overflows."""
    if values.dtype.kind != "f":
        return True
    if values.dtype != np.float16:
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(values.sum()):
                return True
    return bool(np.isfinite(values).all())


def first_true(mask: NDArray[np.bool_]) -> int:
    """Number of the first row that holds True."""
    return int(np.argmax(mask.any(axis=1) if mask.ndim == 2 else mask))


def place(where: str, row: int) -> str:
    """A row, as messages name it: rows are counted from 0."""
    return f"{where}, row {row}"
