"""Shuffling of rows that are on disk: pools of blocks from all over the data, each shuffled.

As CorgiPile (Xu et al., "Stochastic gradient descent without full data shuffle", SIGMOD 2022) with
strata. The blocks of the data are cut into P segments of neighbours, as equal as can be, each is
shuffled, and every pool takes one block of each segment; what is left over is in the first pool.
The rows of a pool, whose blocks stand in storage order, are visited in the order of "block"
(:mod:`fastsgd.sampling`) for as many rows. Both orders are pure functions of seed and epoch, and if
one pool holds everything its order is that of "block" for a table in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import order as row_order
from ..sampling import BLOCKS, bounded, shuffle, words

__all__ = ["POOLS", "PoolPlan", "plan_of"]

POOLS = 3
"""Purpose of the words that pools are seeded with: see :mod:`fastsgd.sampling`."""


@dataclass(frozen=True)
class PoolPlan:
    """The order of an epoch, as far as blocks and pools go.

    Attributes
    ----------
    pools : list of ndarray, int64
        Numbers of the blocks of each pool, rising.
    seeds : list of int
        Of the order of the rows of each pool.
    starts : ndarray of shape (pools + 1,), int64
        Position in the epoch at which each pool begins, and that behind the last one.
    epoch : int
    shuffled : bool
        False for storage order.
    """

    pools: list[NDArray[np.int64]]
    seeds: list[int]
    starts: NDArray[np.int64]
    epoch: int
    shuffled: bool

    def pool_of(self, row: int) -> int:
        """The pool that has a position of the epoch."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def rows(self, pool: int) -> int:
        """Rows of a pool."""
        return int(self.starts[pool + 1] - self.starts[pool])

    def order(self, pool: int) -> NDArray[np.int64] | None:
        """Its rows, in storage order from 0, as an epoch visits them; None for that order."""
        if not self.shuffled:
            return None
        descent: Any = SimpleNamespace(sampling="block", seed=self.seeds[pool])
        return row_order(descent, self.rows(pool), self.epoch)


def plan_of(
    rows: int, block_rows: int, pool_blocks: int, seed: int, epoch: int, *, shuffled: bool = True
) -> PoolPlan:
    """The order of an epoch.

    Parameters
    ----------
    rows, block_rows : int
        Rows of all blocks, and of each but the last.
    pool_blocks : int
        Blocks of a pool, at most.
    seed, epoch : int
        Non-negative, below 2**64.
    shuffled : bool
        False: pools of neighbours, in storage order.

    Returns
    -------
    PoolPlan
        A pure function of the arguments.

    Examples
    --------
    >>> from fastsgd.data.pools import plan_of
    >>> plan = plan_of(100, 10, 4, seed=0, epoch=0)
    >>> [len(pool) for pool in plan.pools], plan.starts.tolist()
    ([2, 4, 4], [0, 20, 60, 100])
    """
    count = -(-rows // block_rows)
    if pool_blocks >= count:
        pools, seeds = [np.arange(count)], [seed]
    elif shuffled:
        pools = _stratified(count, pool_blocks, seed, epoch)
        seeds = words(seed, epoch, POOLS, len(pools)).tolist()
    else:
        pools = np.split(np.arange(count), np.arange(pool_blocks, count, pool_blocks))
        seeds = [seed] * len(pools)
    last = rows - (count - 1) * block_rows
    sizes = [block_rows * len(pool) - (block_rows - last) * (count - 1 in pool) for pool in pools]
    return PoolPlan(pools, seeds, np.append(0, np.cumsum(sizes)), epoch, shuffled)


def _stratified(count: int, size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Blocks in pools of ``size``, one of each of as many segments; the rest in the first pool."""
    stream = words(seed, epoch, BLOCKS, count)
    segments = np.split(np.arange(count), np.arange(1, size) * count // size)
    for segment in segments:
        left = np.arange(len(segment), 0, -1, dtype=np.uint64)
        shuffle(segment, bounded(stream[segment], left))
    rounds = count // size
    rest = [segment[-1] for segment in segments if len(segment) > rounds]
    by_turns = [np.sort([segment[i] for segment in segments]) for i in range(rounds)]
    return [np.sort(rest).astype(np.int64), *by_turns] if rest else by_turns
