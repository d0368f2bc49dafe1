"""Record batches of Arrow as blocks: numbers in front, hashed columns behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import place_columns
from .block import Block, all_finite, check_finite, first_true, place, weights_of
from .columns import Columns
from .hashing import Hasher
from .schema import kind_of
from .values import decoded, encoded, numbers_of, numpy_view

__all__ = ["block_of_batch", "means_of"]


def missing_row(array: Any) -> int:
    """Number of the first row without a value."""
    return int(pc.index(array.is_null(), True).as_py())


def block_of_batch(
    batch: Any, columns: Columns, hasher: Hasher, where: str, first_row: int
) -> Block:
    """A record batch that has the columns as a block.

    Raises
    ------
    ValueError
        Naming the place, row and column of a value that is missing or infinite.
    """
    numbers = numeric_part(batch, columns, where, first_row)
    X: Any = numbers
    if columns.hashes:
        X = with_hashed(numbers, hasher.part(batch), columns)
    y = targets_of_batch(batch, columns, where, first_row)
    weight = None
    if columns.sample_weight is not None:
        name = columns.sample_weight
        array = numbers_of(batch.column(name))
        check_present(array, where, first_row, name)
        weight = weights_of(np.array(numpy_view(array)), where, first_row)
    return Block(X, y, weight)


def numeric_part(batch: Any, columns: Columns, where: str, first_row: int) -> NDArray[Any]:
    """The numeric columns, one after the other, as an array of (m, len(columns.numeric))."""
    numbers = np.empty((batch.num_rows, len(columns.numeric)), dtype=columns.dtype)
    fills = columns.means or (0.0,) * len(columns.numeric)
    parts = []
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is found afterwards
        for name, fill in zip(columns.numeric, fills, strict=True):
            array = numbers_of(batch.column(name))
            if array.null_count:
                if columns.missing == "error":
                    check_present(array, where, first_row, name)
                array = array.cast(pa.float64()).fill_null(fill)
            parts.append(numpy_view(array).astype(numbers.dtype, copy=False))
    if numbers.dtype.kind == "f" and numbers.itemsize >= 4:
        place_columns(parts, numbers)
    else:
        for j, part in enumerate(parts):
            numbers[:, j] = part
    if not all_finite(numbers):
        if columns.missing != "error":
            rows, bad = np.nonzero(np.isnan(numbers))
            numbers[rows, bad] = np.asarray(fills)[bad]
        check_named(numbers, columns.numeric, where, first_row)
    return numbers


def check_present(array: Any, where: str, first_row: int, name: str) -> None:
    """Refuse a column in which a value is missing."""
    if array.null_count:
        row = place(where, first_row + missing_row(array))
        raise ValueError(f"{row}: column {name!r} has no value")


def check_named(numbers: NDArray[Any], names: tuple[str, ...], where: str, first_row: int) -> None:
    """Refuse NaN and infinity in columns that have names."""
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = first_true(bad)
        column = int(np.argmax(bad[row]))
        what = "NaN" if np.isnan(numbers[row, column]) else "infinite"
        raise ValueError(f"{place(where, first_row + row)}: column {names[column]!r} is {what}")


def with_hashed(numbers: NDArray[Any], hashed: Any, columns: Columns) -> Any:
    """Numbers and, behind them, the hashed columns as one csr_array.

    Parameters
    ----------
    numbers : ndarray of shape (m, k)
    hashed : tuple of indptr (m + 1,), indices (nnz,) and counts (nnz,)
        Columns sorted in each row, each once.
    columns : Columns
    """
    m, k = numbers.shape
    indptr, indices, counts = hashed
    total = indices.size + m * k
    index = np.int32 if max(total, columns.n_features) <= np.iinfo(np.int32).max else np.int64
    starts = indptr + k * np.arange(m + 1)
    all_indices = np.empty(total, dtype=index)
    data = np.empty(total, dtype=columns.dtype)
    if k == 0:
        all_indices[:], data[:] = indices, counts
    elif m and np.all(np.diff(indptr) == (width := int(indptr[1]))):  # rows of one length
        rows = all_indices.reshape(m, k + width)
        rows[:, :k] = np.arange(k)
        np.add(indices.reshape(m, width), k, out=rows[:, k:], casting="unsafe")
        values = data.reshape(m, k + width)
        values[:, :k] = numbers
        values[:, k:] = counts.reshape(m, width)
    else:
        dense = (starts[:-1, np.newaxis] + np.arange(k)).ravel()
        behind = np.ones(total, dtype=bool)
        behind[dense] = False
        all_indices[dense] = np.tile(np.arange(k), m)
        all_indices[behind] = indices + k
        data[dense] = numbers.ravel()
        data[behind] = counts
    X = sp.csr_array((1, 1), dtype=columns.dtype)
    X.resize((m, columns.n_features))
    X.data, X.indices, X.indptr = data, all_indices, starts.astype(index)
    X.has_sorted_indices = X.has_canonical_format = True
    return X


def targets_of_batch(
    batch: Any, columns: Columns, where: str, first_row: int
) -> NDArray[Any] | None:
    """The target columns as (m,), or (m, n_outputs) if their names are a tuple."""
    if columns.target is None:
        return None
    parts = [target_column(batch.column(name), where, first_row, name) for name in columns.targets]
    if isinstance(columns.target, str):
        return parts[0]
    if len({part.dtype == object for part in parts}) == 2:
        raise ValueError(f"target: columns {columns.targets} hold strings and numbers")
    return np.stack(parts, axis=1)


def target_column(array: Any, where: str, first_row: int, name: str) -> NDArray[Any]:
    """A target as numbers, bools or strings; of strings one object for each value."""
    if kind_of(array.type) == "string":
        array = encoded(array)
        check_present(
            array if not array.dictionary.null_count else decoded(array), where, first_row, name
        )
        strings = np.array([*array.dictionary.to_pylist(), None], dtype=object)[:-1]
        return strings[numpy_view(array.indices)]
    boolean = kind_of(array.type) == "boolean"
    array = numbers_of(array)
    check_present(array, where, first_row, name)
    numbers = numpy_view(array)
    check_finite(numbers, where, first_row, f"the target {name!r}")
    return numbers.astype(bool) if boolean else np.array(numbers)


def means_of(batches: Any, names: tuple[str, ...], where: str) -> tuple[float, ...]:
    """Means of numeric columns over batches, without what is missing.

    Parameters
    ----------
    batches : iterable of (str, int, pyarrow.RecordBatch)
    names : tuple of str
    where : str

    Raises
    ------
    ValueError
        If a column has no value, or is infinite.
    """
    sums, counts = np.zeros(len(names)), np.zeros(len(names), dtype=np.int64)
    for place_, first_row, batch in batches:
        for j, name in enumerate(names):
            array = numbers_of(batch.column(name)).cast(pa.float64())
            if (total := pc.sum(array).as_py()) is None:
                continue
            if not np.isfinite(total):
                array = pc.if_else(pc.is_nan(array), None, array)
                total = pc.sum(array).as_py() or 0.0
            if not np.isfinite(total):
                check_named(numpy_view(array.fill_null(0.0))[:, None], (name,), place_, first_row)
            sums[j] += total
            counts[j] += len(array) - array.null_count
    if not counts.all():
        name = names[int(np.argmin(counts))]
        raise ValueError(f"{where}: column {name!r} has no value to take a mean of")
    return tuple((sums / counts).tolist())
