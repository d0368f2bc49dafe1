"""Categories and words as hashed columns, by one hash for each distinct value of a block."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils import murmurhash3_32

from .columns import Columns
from .values import decoded, encoded, numpy_view

__all__ = ["HashedNames", "hashed_part"]

WORD = re.compile(r"(?u)\b\w\w+\b")
"""What CountVectorizer takes for a word."""

MISSING = b"\xff"
"""The value of a missing category: no string, as it is not UTF-8."""

PRUNED_AT = 1 << 16
"""Names that are counted at least before the rare ones are forgotten."""


class HashedNames:
    """The most frequent names that were met in each hashed column, at most ``limit`` columns.

    Counts of names that come back after they were forgotten start anew.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: dict[str, tuple[int, int]] = {}  # name -> (column, count)

    def add(self, names: list[str], columns: NDArray[Any], counts: NDArray[Any]) -> None:
        """Count names of hashed columns, each of which is given once."""
        for name, column, count in zip(names, columns.tolist(), counts.tolist(), strict=True):
            before = self.counts.get(name)
            self.counts[name] = (column, count + (before[1] if before else 0))
        if len(self.counts) > 2 * max(self.limit, PRUNED_AT):
            self.counts = dict(self._by_count()[: max(self.limit, PRUNED_AT)])

    def _by_count(self) -> list[tuple[str, tuple[int, int]]]:
        return sorted(self.counts.items(), key=lambda item: (-item[1][1], item[0]))

    def found(self, first: int) -> dict[int, str]:
        """Column of X -> name, the most frequent first; hashed columns begin at ``first``."""
        names: dict[int, str] = {}
        for name, (column, _) in self._by_count():
            if len(names) == self.limit:
                break
            names.setdefault(first + column, name)
        return names


def hashed(name: str, values: list[str | None], hash_bits: int) -> NDArray[np.int32]:
    """The hashed column of each value of a column; None stands for a missing one."""
    prefix, mask = f"{name}=", 2**hash_bits - 1
    columns = [
        murmurhash3_32(
            prefix + value if value is not None else prefix.encode() + MISSING, positive=True
        )
        & mask
        for value in values
    ]
    return np.array(columns, dtype=np.int32)


def hashed_part(batch: Any, columns: Columns, names: HashedNames | None) -> Any:
    """Hashed columns of a batch, without the numeric ones.

    Returns
    -------
    tuple of indptr (m + 1,), indices (nnz,) and counts (nnz,)
        Columns sorted in each row, each once.
    """
    m = batch.num_rows
    categories = np.empty((m, len(columns.categorical)), dtype=np.int32)
    for j, name in enumerate(columns.categorical):
        categories[:, j] = category_columns(batch.column(name), name, columns.hash_bits, names)
    if not columns.text:
        categories.sort(axis=1)
        if not (categories[:, 1:] == categories[:, :-1]).any():
            indptr = np.arange(m + 1) * categories.shape[1]
            return indptr, categories.ravel(), np.ones(categories.size, dtype=np.float32)
    rows = [np.repeat(np.arange(m), categories.shape[1])]
    found = [categories.ravel()]
    for name in columns.text:
        row_of_word, column_of_word = word_columns(
            batch.column(name), name, columns.hash_bits, names
        )
        rows.append(row_of_word)
        found.append(column_of_word)
    keys = np.concatenate(rows).astype(np.int64) << columns.hash_bits
    keys, counts = np.unique(keys | np.concatenate(found), return_counts=True)
    lengths = np.bincount(keys >> columns.hash_bits, minlength=m)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return indptr, keys & (2**columns.hash_bits - 1), counts.astype(np.float32)


def category_columns(
    array: Any, name: str, hash_bits: int, names: HashedNames | None
) -> NDArray[np.int32]:
    """The hashed column of each row of a column of categories."""
    array = encoded(array)
    missing = len(array.dictionary)  # the code of a missing value
    codes = array.indices
    if codes.null_count:
        codes = codes.cast(pa.int64()).fill_null(missing)
    codes = numpy_view(codes)
    values = array.dictionary
    if missing > len(codes):  # more values than rows: only those that occur are hashed
        used, codes = np.unique(codes, return_inverse=True)
        values = values.take(pa.array(used, mask=used == missing))
    else:
        values = pa.concat_arrays([values, pa.nulls(1, values.type)])
    strings = values.cast(pa.large_string()).to_pylist()
    columns = hashed(name, strings, hash_bits)
    if names is not None:
        counts = np.bincount(codes, minlength=len(strings))
        keep = np.flatnonzero(counts)
        shown = [strings[k] if strings[k] is not None else "(missing)" for k in keep]
        names.add([f"{name}={value}" for value in shown], columns[keep], counts[keep])
    return columns[codes]


def word_columns(
    array: Any, name: str, hash_bits: int, names: HashedNames | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Row and hashed column of each word of a column of text."""
    texts = decoded(array).to_pylist()
    words_of_rows = [WORD.findall(text.lower()) if text else [] for text in texts]
    lengths = np.fromiter(map(len, words_of_rows), np.int64, len(words_of_rows))
    numbers: dict[str, int] = {}
    codes = np.fromiter(
        (numbers.setdefault(word, len(numbers)) for words in words_of_rows for word in words),
        np.int64,
        int(lengths.sum()),
    )
    columns = hashed(name, list(numbers), hash_bits)
    if names is not None and len(numbers):
        counts = np.bincount(codes, minlength=len(numbers))
        names.add([f"{name}={word}" for word in numbers], columns, counts)
    return np.repeat(np.arange(len(texts)), lengths), columns[codes]
