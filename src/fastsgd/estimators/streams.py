"""The rows of a cache as the windows that an estimator trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.cache import Cache
from ..data.first_pass import Moments, joined_blocks, rows_of
from ..data.reading import Pool, PoolReader
from ..problem import Data, computed_in
from .standardise import Scaling

__all__ = ["TableStream"]

ORDERS = {"reshuffle": "block", "block": "block", "once": "once", "sequential": "sequential"}
"""How the rows of a stream are visited, by ``sampling``."""

VALIDATION_PART = 8
"""Rows held out take at most the memory of the pools divided by it."""


class TableStream:
    """All rows of a call, window by window: what ``Data.stream`` is.

    Parameters
    ----------
    cache : Cache
        The rows.
    pool_bytes : int
        Memory for those that are trained on and those that are read ahead.
    """

    def __init__(self, cache: Cache, pool_bytes: int) -> None:
        self.cache, self.pool_bytes = cache, pool_bytes
        self.on_window: Callable[[], None] | None = None
        self.reader: PoolReader | None = None
        self.scaling = Scaling()
        self.held_out = 0.0  # fraction
        self.seed = 0
        self.estimator: Any = None
        self.codes: NDArray[Any] | None = None

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return self.cache.rows

    def begin(self, estimator: Any, seed: int, held_out: float) -> None:
        """Bind the stream to a run: its estimator, its seed and the fraction that is held out.

        Raises
        ------
        ValueError
            If its rows cannot be visited in the order that is asked for.
        """
        sampling = estimator.sampling if estimator.shuffle else "sequential"
        if sampling not in ORDERS:
            raise ValueError(
                f"sampling={sampling!r} needs rows in memory: a source is shuffled by pools of "
                f"blocks, and takes one of {tuple(ORDERS)}"
            )
        self.close()
        self.reader = PoolReader(self.cache, self.pool_bytes, seed, ORDERS[sampling])
        self.estimator, self.seed = estimator, seed
        self.held_out = min(held_out, self._most_held_out())
        self.codes = None
        if self.cache.manifest.label_kind != "number":
            self.codes = self._encoded(self.cache.labels)

    @property
    def sampling(self) -> str:
        """That of ``Settings``: whether rows that follow each other are neighbours."""
        assert self.reader is not None
        return "sequential" if self.reader.sampling == "sequential" else "block"

    def data(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None, scaling: Scaling) -> Data:
        """A sample of the rows that has all of them as its stream."""
        self.scaling = scaling
        parts = scaling.offset, scaling.scale
        return Data(X, y, weight, *parts, checked=True, epoch_rows=self.rows, stream=self)

    def windows(self, epoch: int, row: int) -> Iterator[Data]:
        """See :class:`fastsgd.solver.Stream`."""
        assert self.reader is not None
        pools = self.reader.pools(epoch, row)
        for pool in pools:
            yield self._window(pool)

    def _window(self, pool: Pool) -> Data:
        dtype, weight = computed_in(pool.X), pool.weight
        if weight is not None:
            weight = weight.astype(dtype, copy=False)
        if self.held_out:
            weight = np.ones(pool.X.shape[0], dtype=dtype) if weight is None else weight.copy()
            weight[self._are_held_out(pool.row_numbers())] = 0.0
        scaling = self.scaling
        return Data(
            pool.X,
            self._targets(pool.X, pool.y),
            weight,
            scaling.offset,
            scaling.scale,
            checked=True,
            first_row=pool.first_row,
            epoch_rows=self.rows,
            order=pool.order,
        )

    def _targets(self, X: Any, y: NDArray[Any] | None) -> NDArray[np.floating]:
        """Targets as the solver takes them, of those that are stored."""
        if self.codes is not None:
            assert y is not None
            return self.codes[y]
        targets: NDArray[np.floating] = self.estimator._targets_of(X, y)
        return targets

    def targets_of(self, X: Any, y: NDArray[Any]) -> NDArray[np.floating]:
        """Targets as the solver takes them, of those of the source."""
        targets: NDArray[np.floating] = self.estimator._targets_of(X, y)
        return targets

    def label_weights(self, X: Any) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """The labels, as the solver takes them, and the weight of the rows of each."""
        weights = np.array(self.cache.manifest.label_weights, dtype=computed_in(X))
        return self._encoded(self.cache.labels), weights

    def _encoded(self, labels: Any) -> NDArray[Any]:
        """Labels as the solver takes them."""
        X = np.empty((len(labels), 1), dtype=computed_in(np.empty(0, self.cache.manifest.dtype)))
        targets: NDArray[Any] = self.estimator._targets_of(X, labels)
        return targets

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Mean and variance of each feature, and the rows that count, in a pass over the rows."""
        found = Moments(*np.zeros((2, self.cache.manifest.features)))
        for number, block in enumerate(self.cache.blocks()):
            weight = block.sample_weight
            if self.held_out:
                first = number * self.cache.manifest.block_rows
                weight = np.ones(len(block)) if weight is None else weight.copy()
                weight[self._are_held_out(np.arange(first, first + len(block)))] = 0.0
            found.add(block.X, weight)
        return found.mean, found.squares / (found.total or 1.0), found.rows

    # Rows held out.

    def _most_held_out(self) -> float:
        size = sum(map(self.cache.bytes_of_block, range(self.cache.count)))
        return self.pool_bytes / VALIDATION_PART / size

    def _are_held_out(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether rows are held out: by a hash of seed and number (Steele et al., "Fast splittable
        pseudorandom number generators", OOPSLA 2014)."""
        with np.errstate(over="ignore"):
            z = numbers.astype(np.uint64) + np.uint64(self.seed % 2**64)
            z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        return z < np.uint64(min(2**64 - 1, int(self.held_out * 2.0**64)))

    def validation_rows(self) -> tuple[Any, Any, Any]:
        """X, y and weights of the rows that are held out, in a pass over the rows.

        Raises
        ------
        ValueError
            If there are none.
        """
        parts = []
        for number, block in enumerate(self.cache.blocks()):
            first = number * self.cache.manifest.block_rows
            rows = np.flatnonzero(self._are_held_out(np.arange(first, first + len(block))))
            if len(rows):
                parts.append(rows_of(block, rows))
        if not parts:
            raise ValueError("validation_fraction leaves no row to validate on")
        block = joined_blocks(parts)
        return block.X, block.y, block.sample_weight

    def close(self) -> None:
        """End the thread that reads ahead."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None
