"""Rows that are read from their source anew in every epoch, without a cache."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import order as row_order
from ..sampling import words
from .ahead import blocks_ahead
from .block import Block
from .first_pass import FirstPass, Labels, bytes_of, joined_blocks, label_kind_of, rows_of
from .pools import POOLS
from .reading import Pool
from .source import Source

__all__ = ["SourceReader", "SourceTable"]


TOGETHER = 0.2
"""Part of the variance of y that lies between blocks, from which on rows of a kind lie together."""


class SourceTable:
    """All rows of a source that is read again and again: what :class:`Cache` is of files.

    Parameters
    ----------
    source : Source
        That can be read more than once; it is read once now.

    Raises
    ------
    ValueError
        If it has no rows.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        found, first, size = FirstPass(), None, 0
        for block in source.blocks():
            if first is None and len(block):
                first = block
            size += bytes_of(block.X) + 8 * len(block)
            found.add(block)
        if first is None:
            raise ValueError("the source has no rows")
        self.rows, self.bytes = found.rows, size
        self.features, self.dtype = int(first.X.shape[1]), first.X.dtype
        self.label_kind = label_kind_of(first.y)
        self.found: Labels = found.labels
        self.labels: NDArray[Any] | None = None
        if first.y is not None and first.y.ndim == 1 and found.labels.values is not None:
            dtype = {"str": object, "bool": bool}.get(self.label_kind, first.y.dtype)
            self.labels = np.array(found.labels.values, dtype=dtype)
        self.label_weights = found.labels.weights
        self.lies_together = found.between > TOGETHER * (found.between + found.within)
        self._sample = found.sample()

    def sample(self) -> Block:
        """Evenly spaced rows, and the first one of each label."""
        return self._sample

    def blocks(self) -> Iterator[Block]:
        """All rows, from the start.

        Raises
        ------
        ValueError
            If there are more or fewer than before.
        """
        rows = 0
        for block in blocks_ahead(self.source):
            rows += len(block)
            if rows > self.rows:
                break
            if len(block):
                yield block
        if rows != self.rows:
            raise ValueError(
                f"the source had {self.rows} rows in the first pass and has others now: it must "
                "give the same rows each time"
            )

    def stored(self, y: NDArray[Any] | None) -> NDArray[Any] | None:
        """Targets as numbers: places in ``labels`` of strings and bools."""
        if y is None or self.label_kind == "number":
            return y
        return self.found.codes(y)


class SourceReader:
    """Pools of rows that follow each other, each shuffled: what ``PoolReader`` is of files.

    Storage order decides which rows are in a pool together. The order of its rows is that of
    "block", a pure function of seed, epoch and pool.

    Parameters
    ----------
    table : SourceTable
    pool_bytes : int
        Bytes of a pool, about.
    seed : int
    order : {"block", "once", "sequential"}
    """

    def __init__(self, table: SourceTable, pool_bytes: int, seed: int, order: str) -> None:
        self.table, self.seed, self.sampling = table, seed, order
        # A pool is made of blocks, which are in memory until it is: twice its bytes.
        a_row = max(1.0, table.bytes / table.rows)
        self.pool_rows = max(1, int(pool_bytes / 2 / a_row))

    def pools(self, epoch: int, row: int) -> Iterator[Pool]:
        """The pools of an epoch, from the one on that has a position of the epoch."""
        first = number = 0
        seeds = words(self.seed, self._epoch(epoch), POOLS, self._count()).tolist()
        for block in _rebatched(self.table.blocks(), self.pool_rows):
            m = len(block)
            if first + m > row:
                y = self.table.stored(block.y)
                order = self._order(m, seeds[number], epoch)
                yield Pool(block.X, y, block.sample_weight, order, [(first, m)], first)
            first, number = first + m, number + 1

    def _count(self) -> int:
        return -(-self.table.rows // self.pool_rows)

    def _epoch(self, epoch: int) -> int:
        return 0 if self.sampling == "once" else epoch

    def _order(self, m: int, seed: int, epoch: int) -> NDArray[np.int64] | None:
        if self.sampling == "sequential":
            return None
        if self._count() == 1:
            seed = self.seed
        descent: Any = SimpleNamespace(sampling="block", seed=seed)
        return row_order(descent, m, self._epoch(epoch))

    def close(self) -> None:
        """There is nothing to be given back."""


def _rebatched(blocks: Iterator[Block], size: int) -> Iterator[Block]:
    """The same rows in blocks of one size, but for the last one."""
    waiting: list[Block] = []
    have = 0
    for block in blocks:
        start = 0
        while have + len(block) - start >= size:
            stop = start + size - have
            waiting.append(_view(block, start, stop))
            yield joined_blocks(waiting)
            waiting, have, start = [], 0, stop
        if start < len(block):  # copied: a source may use its arrays again
            waiting.append(rows_of(block, np.arange(start, len(block))))
            have += len(block) - start
    if waiting:
        yield joined_blocks(waiting)


def _view(block: Block, start: int, stop: int) -> Block:
    """Rows of a block, not copied if they are dense."""
    rows = slice(start, stop)

    def of(values: Any) -> Any:
        return None if values is None else values[rows]

    return Block(block.X[rows], of(block.y), of(block.sample_weight))
