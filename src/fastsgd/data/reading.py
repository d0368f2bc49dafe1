"""Pools of blocks, read by a thread into memory that is used again and again."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import check_structure
from ..inputs.threads import next_result
from .cache import AHEAD, Cache
from .pools import PoolPlan, plan_of

__all__ = ["Pool", "PoolReader", "blocks_of_a_pool"]

BUFFERS = 2
"""Pools in memory: one that is trained on, and one that is read meanwhile."""


@dataclass(frozen=True)
class Pool:
    """The rows of a pool, in storage order.

    Attributes
    ----------
    X : ndarray or csr_array of shape (m, d)
    y : ndarray of shape (m,) or (m, outputs), or None
        As it is stored: see ``Cache.targets``.
    weight : ndarray of shape (m,) or None
    order : ndarray of shape (m,) or None, int64
        In which an epoch visits the rows; None for storage order.
    numbers : list of (first, count)
        Numbers, in all of the data, of the rows of its blocks.
    first_row : int
        Position in the epoch at which the pool begins.
    """

    X: Any
    y: NDArray[Any] | None
    weight: NDArray[Any] | None
    order: NDArray[np.int64] | None
    numbers: list[tuple[int, int]]
    first_row: int

    def row_numbers(self) -> NDArray[np.int64]:
        """The number of each row in all of the data."""
        return np.concatenate([np.arange(first, first + count) for first, count in self.numbers])


def blocks_of_a_pool(cache: Cache, pool_bytes: int) -> int:
    """Blocks of a pool, of which ``BUFFERS`` and their orders take so many bytes at most."""
    if cache.bytes <= pool_bytes:  # one pool has all
        return cache.count
    largest = max(map(cache.bytes_of_block, range(cache.count)))
    return max(1, pool_bytes // BUFFERS // (largest + 8 * cache.manifest.block_rows))


class PoolReader:
    """The pools of the epochs of a cache, read ahead.

    Parameters
    ----------
    cache : Cache
    pool_bytes : int
        Bytes of all pools in memory.
    seed : int
        Of the orders.
    order : {"block", "once", "sequential"}
        "once" has the order of epoch 0 in every epoch.

    Attributes
    ----------
    last : tuple of (epoch, row) or None
        Position of the last row that is wanted: what lies behind its pool is not read ahead.
    """

    def __init__(self, cache: Cache, pool_bytes: int, seed: int, order: str = "block") -> None:
        self.cache, self.seed, self.sampling = cache, seed, order
        self.pool_blocks = min(cache.count, blocks_of_a_pool(cache, pool_bytes))
        self.buffers = [_Buffer(cache, self.pool_blocks) for _ in range(BUFFERS)]
        self.thread: _Reading | None = None
        self.resident: Pool | None = None
        self.last: tuple[int, int] | None = None

    def plan(self, epoch: int) -> PoolPlan:
        """The order of an epoch."""
        m = self.cache.manifest
        epoch = 0 if self.sampling == "once" else epoch
        shuffled = self.sampling != "sequential"
        blocks = self.pool_blocks
        return plan_of(m.rows, m.block_rows, blocks, self.seed, epoch, shuffled=shuffled)

    def pools(self, epoch: int, row: int) -> Iterator[Pool]:
        """The pools of an epoch, from the one on that has a position of the epoch.

        The arrays of a pool are used again once the next one is asked for, here or by a later call.

        Raises
        ------
        ValueError
            If a file is missing, short or not what was written.
        """
        plan = self.plan(epoch)
        if len(plan.pools) == 1:
            yield self._resident(plan)
            return
        pool = plan.pool_of(row)
        if self.thread is None or self.thread.next != (epoch, pool):
            self.close()
            self.thread = _Reading(self.buffers, self._positions(epoch, pool), (epoch, pool))
            self.thread.start()  # once it is known to close()
        thread, last = self.thread, len(plan.pools) - 1
        for number in range(pool, last + 1):
            if self.thread is not thread:
                raise ValueError(
                    "another reading of the same source began meanwhile, from another position:"
                    " read it in one place at a time"
                )
            try:
                found = thread.take()
                thread.next = (epoch, number + 1) if number < last else (epoch + 1, 0)
            except BaseException:  # after which nobody knows what is next
                self.close()
                raise
            yield found

    def _positions(self, epoch: int, pool: int) -> Iterator[tuple[PoolPlan, int]]:
        """The pools from one on, epoch after epoch, to the one that follows the last."""
        while True:
            plan = self.plan(epoch)
            for number in range(pool, len(plan.pools)):
                yield plan, number
                if self.last is not None and (epoch, plan.starts[number]) > self.last:
                    return
            epoch, pool = epoch + 1, 0

    def _resident(self, plan: PoolPlan) -> Pool:
        """The one pool of all rows, which stays in memory."""
        if self.resident is None:
            self.resident = self.buffers[0].read(plan, 0, [])
        return replace(self.resident, order=plan.order(0))

    def close(self) -> None:
        """End the thread."""
        if self.thread is not None:
            self.thread.close()
            self.thread = None


_Flag = list[bool]
"""Raised once it is not empty: see ahead.py for why it is no Event."""


class _Closed(Exception):
    """Nobody waits for what is read."""


class _Buffer:
    """Memory for the rows of a pool."""

    def __init__(self, cache: Cache, blocks: int) -> None:
        self.cache, self.blocks = cache, blocks
        self.arrays: dict[str, NDArray[Any]] = {}
        self.closed: _Flag = []
        self.ahead: Iterator[int] = iter(())

    def _array(self, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """The first rows of an array that has room for those of any pool."""
        if name not in self.arrays:
            records = self.cache.manifest.blocks
            sizes = sorted((each[name]["shape"][0] for each in records), reverse=True)
            most = sum(sizes[: self.blocks]) + (name == "indptr")
            self.arrays[name] = np.empty((most, *shape[1:]), dtype=dtype)
        return self.arrays[name][: shape[0]]

    def read(
        self,
        plan: PoolPlan,
        number: int,
        closed: _Flag,
        then: Sequence[int] = (),
    ) -> Pool:
        """Fill the arrays with a pool; ``then`` are the first blocks of the next one.

        Raises
        ------
        ValueError
            If a file is missing, short or not what was written.
        _Closed
            If the flag is raised meanwhile.
        """
        cache, m, blocks = self.cache, self.cache.manifest, plan.pools[number].tolist()
        self.closed, self.ahead = closed, iter([*blocks, *then])
        self._read_ahead(AHEAD)
        rows = plan.rows(number)
        sizes = [cache.rows_of_block(block) for block in blocks]
        y = weight = None
        if m.y_dtype:
            y = self._array("y", (rows,) if m.outputs is None else (rows, m.outputs), m.y_dtype)
            self._read_rows("y", blocks, sizes, y)
            if m.label_kind != "number":
                cache.check_codes(y)
        if m.weight_dtype:
            weight = self._array("weight", (rows,), m.weight_dtype)
            self._read_rows("weight", blocks, sizes, weight)
        if m.sparse:
            X: Any = self._read_csr(blocks, sizes, rows)
        else:
            X = self._array("X", (rows, m.features), m.dtype)
            self._read_rows("X", blocks, sizes, X)
        numbers = [(block * m.block_rows, size) for block, size in zip(blocks, sizes, strict=True)]
        first = int(plan.starts[number])
        return Pool(X, y, weight, plan.order(number), numbers, first)

    def _read_ahead(self, count: int) -> None:
        """Have the files of the next blocks read by the system."""
        for block in itertools.islice(self.ahead, count):
            self.cache.read_ahead(block)

    def _read_rows(self, name: str, blocks: list[int], sizes: list[int], out: Any) -> None:
        start = 0
        for block, size in zip(blocks, sizes, strict=True):
            if name == "X":
                self._read_ahead(1)
            self._read_into(block, name, out[start : start + size])
            start += size

    def _read_into(self, block: int, name: str, out: Any) -> None:
        if self.closed:
            raise _Closed
        self.cache.read_into(block, name, out)

    def _read_csr(self, blocks: list[int], sizes: list[int], rows: int) -> Any:
        m, cache = self.cache.manifest, self.cache
        counts = [cache.values_of_block(block) for block in blocks]
        total = sum(counts)
        wide = m.index_dtype == "<i8" or total >= 2**31
        data = self._array("data", (total,), m.dtype)
        indices = self._array("indices", (total,), m.index_dtype)
        indptr = self._array("indptr", (rows + 1,), "<i8" if wide else "<i4")
        indptr[0] = start = value = 0
        for block, size, count in zip(blocks, sizes, counts, strict=True):
            self._read_ahead(1)
            self._read_into(block, "data", data[value : value + count])
            self._read_into(block, "indices", indices[value : value + count])
            of_block = np.empty(size + 1, dtype=np.int64)
            self._read_into(block, "indptr", of_block)
            if of_block[0] != 0 or of_block[-1] != count:
                raise ValueError(f"block {block} of {str(cache.folder)!r} has broken rows")
            indptr[start + 1 : start + size + 1] = of_block[1:] + value
            start, value = start + size, value + count
        if wide and m.index_dtype == "<i4":
            indices = indices.astype(np.int64)
        X = sp.csr_array((data, indices, indptr), shape=(rows, m.features))
        check_structure(X)
        return X


class _Reading:
    """A thread that reads pools one after the other into the buffers that are free.

    Attributes
    ----------
    next : tuple of (epoch, pool)
        That is taken next.
    """

    def __init__(
        self,
        buffers: list[_Buffer],
        positions: Iterator[tuple[PoolPlan, int]],
        first: tuple[int, int],
    ) -> None:
        self.next, self.positions = first, positions
        self.free: queue.SimpleQueue[_Buffer | None] = queue.SimpleQueue()
        self.full: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.taken: _Buffer | None = None
        for buffer in buffers:
            self.free.put(buffer)
        self.closed: _Flag = []
        self.thread = threading.Thread(target=self._run, name="fastsgd-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    def _run(self) -> None:
        try:
            for (plan, number), (next_plan, following) in itertools.pairwise(self.positions):
                buffer = self.free.get()
                if buffer is None or self.closed:
                    return
                then = next_plan.pools[following][:AHEAD].tolist()
                self.full.put((buffer.read(plan, number, self.closed, then), buffer))
        except _Closed:
            return
        except BaseException as error:  # handed to whoever asks for the pool
            self.full.put(error)

    def take(self) -> Pool:
        """The next pool, and the one before is not needed any more; waits, and may be interrupted.

        Raises
        ------
        ValueError
            If it cannot be read.
        MemoryError
            If there is no memory for it.
        """
        if self.taken is not None:
            self.free.put(self.taken)
            self.taken = None
        found = next_result(self.full, self.thread)
        if isinstance(found, BaseException):
            raise found
        pool: Pool = found[0]
        self.taken = found[1]
        return pool

    def close(self) -> None:
        """End the thread, which finishes the block that it reads."""
        self.closed.append(True)
        self.free.put(None)
        if self.thread.is_alive():
            self.thread.join()
