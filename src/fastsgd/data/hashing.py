"""Categories and words as hashed columns, by one hash for each distinct value of a block."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils import murmurhash3_32

from .columns import Columns
from .murmur import hashes
from .values import decoded, encoded, numpy_view

__all__ = ["HashedNames", "Hasher"]

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


def hashed(name: str, values: Any, hash_bits: int) -> NDArray[np.int32]:
    """The hashed column of each value of a column, strings of Arrow; a missing one has its own."""
    prefix, mask = f"{name}=".encode(), np.uint32(2**hash_bits - 1)
    columns = (hashes(prefix, values) & mask).astype(np.int32)
    if values.null_count:
        missing = murmurhash3_32(prefix + MISSING, positive=True) & int(mask)
        columns[np.asarray(values.is_null())] = missing
    return columns


class Hasher:
    """The hashed columns of record batches, one after the other.

    Parameters
    ----------
    columns : Columns
    names : HashedNames or None
        What remembers names.
    """

    def __init__(self, columns: Columns, names: HashedNames | None = None) -> None:
        self.columns, self.names = columns, names
        self.known: dict[str, tuple[Any, NDArray[np.int32] | None]] = {}

    def part(self, batch: Any) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float32]]:
        """Hashed columns of a batch, without the numeric ones.

        Returns
        -------
        tuple of indptr (m + 1,), indices (nnz,) and counts (nnz,)
            Columns sorted in each row, each once.
        """
        m, bits = batch.num_rows, self.columns.hash_bits
        categories = np.empty((m, len(self.columns.categorical)), dtype=np.int32)
        for j, name in enumerate(self.columns.categorical):
            categories[:, j] = self._categories(batch.column(name), name)
        if not self.columns.text:
            return distinct(categories)
        rows = [np.repeat(np.arange(m), categories.shape[1])]
        found = [categories.ravel()]
        for name in self.columns.text:
            row_of_word, column_of_word = word_columns(batch.column(name), name, bits, self.names)
            rows.append(row_of_word)
            found.append(column_of_word)
        keys = np.concatenate(rows).astype(np.int64) << bits
        keys, counts = np.unique(keys | np.concatenate(found), return_counts=True)
        lengths = np.bincount(keys >> bits, minlength=m)
        return starts_of(lengths), keys & (2**bits - 1), counts.astype(np.float32)

    def _categories(self, array: Any, name: str) -> NDArray[np.int32]:
        """The hashed column of each row of a column of categories."""
        array = encoded(array)
        dictionary, codes = array.dictionary, array.indices
        missing = len(dictionary)  # the code of a missing value
        if codes.null_count:
            codes = codes.cast(pa.int64()).fill_null(missing)
        codes = numpy_view(codes)
        before, columns = self.known.get(name, (None, None))
        again = before is not None and before.equals(dictionary)
        if not again:
            columns = None
        if columns is None and (again or missing <= len(codes)):
            columns = self._hashed(dictionary, name)
        self.known[name] = dictionary, columns
        if columns is None:  # more values than rows: for once only those that occur are hashed
            used, codes = np.unique(codes, return_inverse=True)
            dictionary = dictionary.take(pa.array(used, mask=used == missing))
            columns = self._hashed(dictionary, name)
        if self.names is not None:
            counts = np.bincount(codes, minlength=len(columns))
            keep = np.flatnonzero(counts)
            values = dictionary.take(pa.array(keep, mask=keep >= len(dictionary)))
            shown = ["(missing)" if each is None else each for each in strings_of(values)]
            names = [f"{name}={value}" for value in shown]
            self.names.add(names, columns[keep], counts[keep])
        return columns[codes]

    def _hashed(self, dictionary: Any, name: str) -> NDArray[np.int32]:
        """Hashed columns of the values of a dictionary, and behind them that of a missing one."""
        values = dictionary.cast(pa.large_string())
        missing = pa.nulls(1, pa.large_string())
        return hashed(name, pa.concat_arrays([values, missing]), self.columns.hash_bits)


def strings_of(values: Any) -> list[str | None]:
    """Values as strings."""
    strings: list[str | None] = values.cast(pa.large_string()).to_pylist()
    return strings


def starts_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where rows of some lengths start, and where the last ends."""
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def distinct(
    categories: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float32]]:
    """Start of each row (m + 1,), its distinct columns in order, and how often each comes."""
    categories.sort(axis=1)
    m, k = categories.shape
    again = np.flatnonzero(categories[:, 1:] == categories[:, :-1])
    rows = again // max(1, k - 1)
    again += rows + 1  # where a column comes once more
    counts = np.ones(m * k - len(again), dtype=np.float32)
    np.add.at(counts, again - np.arange(1, len(again) + 1), 1.0)
    lengths = np.full(m, k) - np.bincount(rows, minlength=m)
    return starts_of(lengths), np.delete(categories.ravel(), again), counts


def word_columns(
    array: Any, name: str, hash_bits: int, names: HashedNames | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Row and hashed column of each word of a column of text."""
    texts = decoded(array).to_pylist()
    words_of_rows = [WORD.findall(text.lower()) if text else [] for text in texts]
    lengths = np.fromiter(map(len, words_of_rows), np.int64, len(words_of_rows))
    words = pa.array(list(chain.from_iterable(words_of_rows)), pa.large_string())
    words = words.dictionary_encode()
    codes, columns = numpy_view(words.indices), hashed(name, words.dictionary, hash_bits)
    if names is not None:
        counts = np.bincount(codes, minlength=len(columns))
        names.add([f"{name}={word}" for word in strings_of(words.dictionary)], columns, counts)
    return np.repeat(np.arange(len(texts)), lengths), columns[codes]
