"""Folds of rows that are not all in memory, by a hash of their numbers, and training without them.

The fold of a row is a function of seed and number alone, wherever the row is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data import Block
from ..data.first_pass import Labels, bytes_of, joined_blocks, numbers_of_sample, rows_of
from ..estimators.streams import TableStream, fold_of, left_out
from ..problem import STORED

__all__ = ["FoldStream", "Folds", "LeavesOut", "chunks"]

DEFAULT = 5
"""Folds where ``cv`` is None, as in scikit-learn."""

CHUNK_BYTES, POOL_PART = 1 << 23, 4
"""Rows are scored so many at a time, or so small a part of the memory for rows if that is less."""

Numbers = NDArray[np.int64]


def numbered(stream: TableStream) -> Iterator[tuple[Block, Numbers]]:
    """The blocks of a stream, and the numbers of their rows."""
    first = 0
    for block in stream.table.blocks():
        yield block, np.arange(first, first + len(block))
        first += len(block)


def chunks(stream: TableStream) -> Iterator[tuple[Block, Numbers]]:
    """The same, blocks joined until they have ``CHUNK_BYTES``, or a part of the stream's memory."""
    most = min(CHUNK_BYTES, stream.pool_bytes // POOL_PART)
    waiting: list[Block] = []
    first = size = 0
    for block in stream.table.blocks():
        if size + bytes_of(block.X) > most and waiting:
            whole = joined_blocks(waiting)
            yield whole, np.arange(first, first + len(whole))
            first, size, waiting = first + len(whole), 0, []
        waiting.append(rows_of(block, np.arange(len(block))))  # a source may use its arrays again
        size += bytes_of(block.X)
    whole = joined_blocks(waiting)
    yield whole, np.arange(first, first + len(whole))


def count_of(cv: Any, where: str) -> int:
    """Number of folds.

    Raises
    ------
    ValueError
        If ``cv`` is no number of folds.
    """
    count = DEFAULT if cv is None else cv
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 2:
        raise ValueError(
            f"cv must be an integer of at least 2 for rows that {where}, whose folds are by a hash "
            f"of their numbers: any other splitter needs all rows in memory. Got {cv!r}"
        )
    return int(count)


class Folds:
    """Folds of the rows of a stream, and how many rows, of which labels, each has: in a pass.

    Parameters
    ----------
    cv : int or None
        Number of folds; None for ``DEFAULT``.
    seed : int
        Of the hash.
    stream : TableStream
        All rows.

    Attributes
    ----------
    count : int
        Number of folds.
    rows : ndarray of shape (count,), int64
        Rows of each.
    label_weights : ndarray of shape (count, n_labels)
        Weight of the rows of each label, in the order of ``stream.table.labels``; without columns
        where y has too many values, or two dimensions.

    Raises
    ------
    ValueError
        If ``cv`` is something else, or a fold has no row.
    """

    def __init__(self, cv: Any, seed: int, stream: TableStream) -> None:
        self.count = count_of(cv, "do not fit into pool_bytes of memory")
        self.seed, self.stream = seed, stream
        self.rows = np.zeros(self.count, dtype=np.int64)
        size = 0 if stream.table.labels is None else len(stream.table.labels)
        self.label_weights = np.zeros((self.count, size))
        self._firsts: list[int] = []  # row of each label that has it first
        labels = Labels()
        for block, numbers in numbered(stream):
            fold = self.of(numbers)
            self.rows += np.bincount(fold, minlength=self.count)
            if size and block.y is not None:
                new, _ = labels.add(block.y, block.sample_weight)
                self._firsts += numbers[new].tolist()
                at = fold * size + labels.codes(block.y)
                sums = np.bincount(at, block.sample_weight, minlength=self.count * size)
                self.label_weights += sums.reshape(self.count, size)
        self._check()

    def _check(self) -> None:
        if not self.rows.all():
            raise ValueError(
                f"cv={self.count} leaves a fold without rows: there are {self.rows.sum()} in all"
            )

    def of(self, numbers: Numbers) -> Numbers:
        """The fold of each row."""
        return fold_of(numbers, self.seed, self.count)

    def of_sample(self) -> Numbers:
        """The folds of the rows of the stream's sample: even ones, and the first of each label."""
        table = self.stream.table
        return self.of(numbers_of_sample(table.rows, len(table.sample()), self._firsts))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """As splitters of scikit-learn have it."""
        return self.count

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> list[int]:
        """The folds themselves: which rows are in them is known where they are read."""
        return list(range(self.count))


class LeavesOut:
    """All rows of a stream, for lanes that each leave the rows of a fold out.

    Parameters
    ----------
    stream : TableStream, or rows on shards
        That has begun; its reader is shared, so that one of them is read at a time.
    folds : Folds
    held : sequence of int
        The folds. The rows of the i-th one have bit i of ``Data.held_out``; those of one alone have
        weight zero.
    """

    on_window: Any

    def __init__(self, stream: Any, folds: Folds, held: Sequence[int]) -> None:
        vars(self).update(vars(stream))
        self.on_window = None
        self.folds, self.held = folds, list(held)

    @classmethod
    def joined(cls, streams: Sequence[Any]) -> Self:
        """That of lanes of several splits, with the bits in their order."""
        held = [fold for stream in streams for fold in stream.held]
        return cls(streams[0], streams[0].folds, held)


class FoldStream(LeavesOut, TableStream):
    """The windows of a stream."""

    def _left_out(
        self, numbers: Callable[[], Numbers], weight: NDArray[Any] | None, dtype: Any
    ) -> tuple[NDArray[Any] | None, NDArray[np.uint64] | None]:
        return left_out(self.folds.of(numbers()), self.held, self.folds.count, weight, dtype)

    def label_weights(self, X: Any) -> tuple[NDArray[Any], NDArray[np.floating]]:
        weights = np.delete(self.folds.label_weights, self.held, axis=0).sum(axis=0)
        return self._encoded(self.table.labels), weights.astype(STORED[self.table.dtype])
