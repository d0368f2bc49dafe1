"""The rows of a cache or source as the windows that an estimator trains on."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.cache import Cache
from ..data.first_pass import Moments, joined_blocks, rows_of
from ..data.reading import Pool, PoolReader
from ..data.rereading import SourceReader, SourceTable
from ..problem import STORED, Data, Lanes, Settings, computed_in
from ..solver import State
from ..solver.stream import StreamRun
from .standardise import Scaling

__all__ = ["TableStream", "fold_of", "hashed", "left_out", "without"]

ORDERS = {"reshuffle": "block", "block": "block", "once": "once", "sequential": "sequential"}
"""How the rows of a stream are visited, by ``sampling``."""

VALIDATION_PART = 8
"""Rows held out take at most the memory of the pools divided by it."""


def reader_of(
    table: Cache | SourceTable, pool_bytes: int, seed: int, order: str
) -> PoolReader | SourceReader:
    """What reads the pools of each epoch."""
    if isinstance(table, Cache):
        return PoolReader(table, pool_bytes, seed, order)
    return SourceReader(table, pool_bytes, seed, order)


def hashed(numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """64 random bits of each number (Steele et al., "Fast splittable pseudorandom number
    generators", OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(seed % 2**64)
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


def fold_of(numbers: NDArray[np.int64], seed: int, count: int) -> NDArray[np.int64]:
    """The fold of each row, of so many, by its number: floor(count h / 2^32), h the upper half of
    the hash of seed and number."""
    upper = hashed(numbers, seed) >> np.uint64(32)
    return ((upper * np.uint64(count)) >> np.uint64(32)).astype(np.int64)


def left_out(
    fold: NDArray[np.int64],
    held: Sequence[int],
    count: int,
    weight: NDArray[Any] | None,
    dtype: Any,
) -> tuple[NDArray[Any] | None, NDArray[np.uint64] | None]:
    """Weights and ``Data.held_out`` of rows of these folds, where lanes leave some folds out: those
    of one alone have weight zero."""
    if len(held) == 1:
        return without(fold == held[0], weight, dtype), None
    bits = np.zeros(count, dtype=np.uint64)
    bits[list(held)] = np.uint64(1) << np.arange(len(held), dtype=np.uint64)
    return weight, bits[fold]


def without(rows: NDArray[np.bool_], weight: NDArray[Any] | None, dtype: Any) -> NDArray[Any]:
    """Weights that leave rows out."""
    weight = np.ones(len(rows), dtype=dtype) if weight is None else weight.copy()
    weight[rows] = 0.0
    return weight


class TableStream:
    """All rows of a call, window by window: what ``Data.stream`` is.

    Parameters
    ----------
    table : Cache or SourceTable
        The rows, on disk or of a source that is read in every epoch.
    pool_bytes : int
        Memory for those that are trained on and those that are read ahead.
    """

    shards = 1

    def __init__(self, table: Cache | SourceTable, pool_bytes: int) -> None:
        self.table, self.pool_bytes = table, pool_bytes
        self.on_window: Callable[[], None] | None = None
        self.reader: PoolReader | SourceReader | None = None
        self.scaling = Scaling()
        self.held_out = 0.0  # fraction
        self.seed = 0
        self.estimator: Any = None
        self.codes: NDArray[Any] | None = None  # of labels
        self.upper: Any = None  # the label of two that is the positive one

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return self.table.rows

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
        if sampling != "sequential" and isinstance(self.table, SourceTable):
            self._warn_of_storage(self.table)
        self.close()
        self.reader = reader_of(self.table, self.pool_bytes, seed, ORDERS[sampling])
        self.estimator, self.seed = estimator, seed
        self.held_out = min(held_out, self._most_held_out())
        self.codes = self.upper = None
        labels = self.table.labels
        if self.table.label_kind != "number":
            self.codes = self._encoded(labels)
        elif labels is not None and len(labels) == 2:
            codes = self._encoded(labels).tolist()
            if sorted(codes) == [0.0, 1.0]:  # which one comparison tells apart
                self.upper = labels[codes.index(1.0)]

    def _warn_of_storage(self, table: SourceTable) -> None:
        if table.lies_together:
            warnings.warn(
                "rows with like targets lie together in this source. With cache=None only rows "
                f"that follow each other within {self.pool_bytes // 2} bytes are shuffled, so that "
                "steps follow the storage order. With a cache they come from all over the data.",
                UserWarning,
                stacklevel=8,
            )

    @property
    def sampling(self) -> str:
        """That of ``Settings``: whether rows that follow each other are neighbours."""
        assert self.reader is not None
        return "sequential" if self.reader.sampling == "sequential" else "block"

    @property
    def order_key(self) -> tuple[Any, ...]:
        """What the order of the rows depends on beside seed, epoch and ``sampling``: the pools they
        are read in; and the fraction that is held out."""
        reader = self.reader
        assert reader is not None
        if isinstance(reader, PoolReader):
            pools = "cache", reader.cache.manifest.block_rows, reader.pool_blocks
        else:
            pools = "source", reader.pool_rows, 1
        return (*pools, float(self.held_out))

    def data(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None, scaling: Scaling) -> Data:
        """A sample of the rows that has all of them as its stream."""
        self.scaling = scaling
        parts = scaling.offset, scaling.scale
        return Data(X, y, weight, *parts, checked=True, epoch_rows=self.rows, stream=self)

    def run(self, data: Data, lanes: Lanes, settings: Settings, state: State) -> StreamRun:
        """See ``fastsgd.solver.stream``."""
        return StreamRun(data, lanes, settings, state)

    def windows(self, epoch: int, row: int) -> Iterator[Data]:
        """See ``fastsgd.solver.stream``."""
        assert self.reader is not None
        pools = self.reader.pools(epoch, row)
        for pool in pools:
            yield self._window(pool)

    def _window(self, pool: Pool) -> Data:
        dtype, weight = computed_in(pool.X), pool.weight
        if weight is not None:
            weight = weight.astype(dtype, copy=False)
        weight, held_out = self._left_out(pool.row_numbers, weight, dtype)
        scaling = self.scaling
        return Data(
            pool.X,
            self._targets(pool.X, pool.y),
            weight,
            scaling.offset,
            scaling.scale,
            checked=True,
            held_out=held_out,
            first_row=pool.first_row,
            epoch_rows=self.rows,
            order=pool.order,
        )

    def _left_out(
        self, numbers: Callable[[], NDArray[np.int64]], weight: NDArray[Any] | None, dtype: Any
    ) -> tuple[NDArray[Any] | None, NDArray[np.uint64] | None]:
        """Weights of rows, 0 of those that are held out, and ``Data.held_out``."""
        if not self.held_out:
            return weight, None
        return without(self._are_held_out(numbers()), weight, dtype), None

    def _targets(self, X: Any, y: NDArray[Any] | None) -> NDArray[np.floating]:
        """Targets as the solver takes them, of those that are stored."""
        if self.codes is not None:
            assert y is not None
            return self.codes[y]
        if self.upper is not None:
            assert y is not None
            return (y == self.upper).astype(computed_in(X))
        targets: NDArray[np.floating] = self.estimator._targets_of(X, y)
        return targets

    def targets_of(self, X: Any, y: NDArray[Any]) -> NDArray[np.floating]:
        """Targets as the solver takes them, of those of the source."""
        targets: NDArray[np.floating] = self.estimator._targets_of(X, y)
        return targets

    def label_weights(self, X: Any) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """The labels, as the solver takes them, and the weight of the rows of each."""
        weights = np.array(self.table.label_weights, dtype=computed_in(X))
        return self._encoded(self.table.labels), weights

    def _encoded(self, labels: Any) -> NDArray[Any]:
        """Labels as the solver takes them."""
        X = np.empty((len(labels), 1), dtype=STORED[self.table.dtype])
        targets: NDArray[Any] = self.estimator._targets_of(X, labels)
        return targets

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Mean and variance of each feature, and the rows that count, in a pass over the rows."""
        found = Moments(*np.zeros((2, self.table.features)))
        first = 0
        for block in self.table.blocks():
            numbers = functools.partial(np.arange, first, first + len(block))
            weight, _ = self._left_out(numbers, block.sample_weight, np.float64)
            found.add(block.X, weight)
            first += len(block)
        return found.mean, found.squares / (found.total or 1.0), found.rows

    # Rows held out.

    def _most_held_out(self) -> float:
        return self.pool_bytes / VALIDATION_PART / self.table.bytes

    def _are_held_out(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether rows are held out: by a hash of their numbers."""
        z = hashed(numbers, self.seed)
        return z < np.uint64(min(2**64 - 1, int(self.held_out * 2.0**64)))

    def validation_rows(self) -> tuple[Any, Any, Any]:
        """X, y and weights of the rows that are held out, in a pass over the rows.

        Raises
        ------
        ValueError
            If there are none.
        """
        parts, first = [], 0
        for block in self.table.blocks():
            rows = np.flatnonzero(self._are_held_out(np.arange(first, first + len(block))))
            first += len(block)
            if len(rows):
                parts.append(rows_of(block, rows))
        if not parts:
            raise ValueError("validation_fraction leaves no row to validate on")
        block = joined_blocks(parts)
        return block.X, block.y, block.sample_weight

    def close(self) -> None:
        """End the thread that reads ahead; nobody is told of windows any more."""
        self.on_window = None
        if self.reader is not None:
            self.reader.close()
            self.reader = None
