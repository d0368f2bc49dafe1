"""Rows of shards that lanes of a search leave out: folds by a hash of the row's number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimators.streams import fold_of, left_out
from ..problem import Data, Lanes, computed_in

__all__ = ["HeldOut", "rows_of_lanes"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Folds of the rows of all shards, and which of them lanes leave out.

    Attributes
    ----------
    count : int
        Number of folds.
    seed : int
        Of the hash.
    firsts : tuple of int
        Number of the first row of each shard, those of all counted in their order.
    held : tuple of int
        The folds: rows of the i-th one have bit i of ``Data.held_out``; those of one alone have
        weight zero.
    """

    count: int
    seed: int
    firsts: tuple[int, ...]
    held: tuple[int, ...] = ()

    def fold(self, shard: int, rows: Numbers) -> Numbers:
        """The folds of some rows of a shard, by their numbers in it."""
        return fold_of(rows + self.firsts[shard], self.seed, self.count)

    def weights(
        self, shard: int, rows: Numbers, weight: NDArray[Any] | None, dtype: Any
    ) -> tuple[NDArray[Any] | None, NDArray[np.uint64] | None]:
        """Weights and ``Data.held_out`` of some rows of a shard, as lanes are trained on them."""
        return left_out(self.fold(shard, rows), self.held, self.count, weight, dtype)

    def without(self, data: Data, shard: int, rows: Numbers) -> Data:
        """Some rows of a shard, as the lanes are trained on them."""
        weight, bits = self.weights(shard, rows, data.sample_weight, computed_in(data.X))
        return replace(data, sample_weight=weight, held_out=bits)


def rows_of_lanes(data: Data, lanes: Lanes, rows: Any = slice(None)) -> Any:
    """Rows of positive weight, among some: a number, or of each lane (K,), where they leave rows
    out."""
    weight = data.sample_weight
    there = np.broadcast_to(np.True_, data.n) if weight is None else weight > 0.0
    there = there[rows]
    if data.held_out is None:
        return float(np.count_nonzero(there))
    held_out = data.held_out[rows]
    counts = {
        split: float(np.count_nonzero(there & ((held_out & np.uint64(split)) == 0)))
        for split in set(lanes.split.tolist())
    }
    return np.array([counts[split] for split in lanes.split.tolist()])
