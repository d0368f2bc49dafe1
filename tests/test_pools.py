"""The order of rows on disk, and the thread that reads them pool by pool."""

from __future__ import annotations

import contextlib
import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("xxhash")

from cuts import cache_of, dense, matrix, targets

from fastsgd.data.pools import plan_of
from fastsgd.data.reading import BUFFERS, PoolReader, blocks_of_a_pool
from fastsgd.sampling import order

ORDERS = ("block", "once", "sequential")
repeatable = settings(max_examples=150, deadline=None, derandomize=True, database=None)
sizes = st.one_of(st.integers(1, 60), st.integers(1, 3000))
seeds = st.integers(0, 2**64 - 1)


def rows_of(plan, block_rows: int, rows: int) -> np.ndarray:
    """The numbers of the rows in the order in which an epoch visits them."""
    found = []
    for number, blocks in enumerate(plan.pools):
        stored = np.concatenate(
            [np.arange(b * block_rows, min(rows, (b + 1) * block_rows)) for b in blocks]
        )
        assert len(stored) == plan.rows(number)
        of_pool = plan.order(number)
        found.append(stored if of_pool is None else stored[of_pool])
    return np.concatenate(found)


@repeatable
@given(sizes, st.integers(1, 70), st.integers(1, 70), seeds, st.integers(0, 2**40), st.booleans())
def test_an_epoch_is_a_permutation_and_pools_come_from_all_over(
    rows, block_rows, pool_blocks, seed, epoch, shuffled
):
    plan = plan_of(rows, block_rows, pool_blocks, seed, epoch, shuffled=shuffled)
    count = -(-rows // block_rows)
    visited = rows_of(plan, block_rows, rows)
    np.testing.assert_array_equal(np.sort(visited), np.arange(rows))
    again = plan_of(rows, block_rows, pool_blocks, seed, epoch, shuffled=shuffled)
    np.testing.assert_array_equal(visited, rows_of(again, block_rows, rows))
    assert plan.starts[-1] == rows
    assert len(plan.pools) == -(-count // min(pool_blocks, count))
    for number, pool in enumerate(plan.pools):
        assert 1 <= len(pool) <= pool_blocks
        assert (np.diff(pool) > 0).all()
        for row in (plan.starts[number], plan.starts[number + 1] - 1):
            assert plan.pool_of(row) == number
        if shuffled and len(pool) == pool_blocks:  # one block of each segment
            segment = np.searchsorted(
                np.arange(1, pool_blocks) * count // pool_blocks, pool, "right"
            )
            np.testing.assert_array_equal(segment, np.arange(pool_blocks))
    if not shuffled:
        np.testing.assert_array_equal(visited, np.arange(rows))


@repeatable
@given(sizes, st.integers(1, 70), seeds, st.integers(0, 2**40))
def test_one_pool_has_the_order_of_rows_in_memory(rows, block_rows, seed, epoch):
    plan = plan_of(rows, block_rows, -(-rows // block_rows), seed, epoch)
    np.testing.assert_array_equal(
        rows_of(plan, block_rows, rows), order("block", rows, seed, epoch)
    )


def test_orders_depend_on_seed_and_epoch():
    visited = {
        (seed, epoch): tuple(rows_of(plan_of(500, 10, 7, seed, epoch), 10, 500))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len({*visited.values()}) == 9
    pools = [tuple(plan_of(500, 10, 7, 0, epoch).pools[1]) for epoch in range(5)]
    assert len({*pools}) > 1


# Reading.

N = 1100


@pytest.fixture(scope="module", params=["float32", "csr32", "wide", "uint8"])
def table(request, tmp_path_factory):
    """A cache of blocks of 32 rows, and its rows."""
    arrays = matrix(request.param, N), targets("integers", N), np.arange(1.0, N + 1)
    cache = cache_of(tmp_path_factory.mktemp("pools") / "cache", [300], *arrays)
    assert cache.rows_of_block(0) == 32
    return cache, arrays


def pool_bytes(cache, blocks: int) -> int:
    largest = max(map(cache.bytes_of_block, range(cache.count)))
    return BUFFERS * blocks * (largest + 8 * 32)


def checked(pools, arrays) -> np.ndarray:
    """The rows that pools have, in the order of the epoch, which are those of the arrays."""
    X, y, weight = arrays
    found = []
    for pool in pools:
        numbers = pool.row_numbers()
        np.testing.assert_array_equal(dense(pool.X), dense(X[numbers]))
        np.testing.assert_array_equal(pool.y, y[numbers])
        np.testing.assert_array_equal(pool.weight, weight[numbers])
        found.append(numbers if pool.order is None else numbers[pool.order])
    return np.concatenate(found)


@pytest.mark.parametrize("sampling", ORDERS)
@pytest.mark.parametrize("blocks", [1, 4, 1000])
def test_pools_have_the_rows_of_the_plan(table, sampling, blocks):
    cache, arrays = table
    size = pool_bytes(cache, blocks)
    with contextlib.closing(PoolReader(cache, size, 7, sampling)) as reader:
        assert reader.pool_blocks == min(cache.count, blocks)
        for epoch in range(3):
            of = 0 if sampling == "once" else epoch
            plan = plan_of(N, 32, blocks, 7, of, shuffled=sampling != "sequential")
            visited = checked(reader.pools(epoch, 0), arrays)
            np.testing.assert_array_equal(visited, rows_of(plan, 32, N))


def test_pools_from_any_position_of_any_epoch(table):
    cache, arrays = table
    rng = np.random.default_rng(0)
    with contextlib.closing(PoolReader(cache, pool_bytes(cache, 4), 3)) as reader:
        for _ in range(25):
            epoch, row = int(rng.integers(5)), int(rng.integers(N))
            pools = reader.pools(epoch, row)
            first = next(pools)
            assert first.first_row <= row < first.first_row + first.X.shape[0]
            taken = int(rng.integers(4))
            whole = rows_of(plan_of(N, 32, 4, 3, epoch), 32, N)
            rest = [checked([first], arrays)]
            for _, pool in zip(range(taken), pools, strict=False):
                rest.append(checked([pool], arrays))
            found = np.concatenate(rest)
            start = first.first_row
            np.testing.assert_array_equal(found, whole[start : start + len(found)])
            if rng.random() < 0.5:
                pools.close()


def test_iterators_that_nobody_finishes_do_not_disturb_others(table):
    cache, arrays = table
    with contextlib.closing(PoolReader(cache, pool_bytes(cache, 4), 3)) as reader:
        left = reader.pools(0, 0)
        next(left)
        other = reader.pools(2, 0)
        first = checked([next(other)], arrays)
        with pytest.raises(ValueError, match="another position"):
            next(left)
        late = reader.pools(2, len(first))
        del left
        gc.collect()
        found = np.concatenate([first, checked(late, arrays)])
        np.testing.assert_array_equal(found, rows_of(plan_of(N, 32, 4, 3, 2), 32, N))


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastsgd-reader"]


def test_the_thread_goes_on_to_the_next_epoch_and_ends_with_the_reader(table):
    cache, _ = table
    reader = PoolReader(cache, pool_bytes(cache, 4), 3)
    for epoch in range(3):
        for _ in reader.pools(epoch, 0):
            (thread,) = readers()
    assert readers() == [thread]
    reader.close()
    assert readers() == []
    reader.close()
    assert next(reader.pools(1, 0)).first_row == 0  # it begins anew
    reader.close()
    assert readers() == []


def test_closing_does_not_wait_for_the_pool(tmp_path, monkeypatch):
    cache = cache_of(tmp_path / "cache", [], matrix("float32", N), None)
    reader = PoolReader(cache, pool_bytes(cache, 15), 3)
    read_into = type(cache).read_into

    def slowly(self, *args):
        time.sleep(0.05)
        read_into(self, *args)

    pools = reader.pools(0, 0)
    next(pools)
    monkeypatch.setattr(type(cache), "read_into", slowly)
    next(pools)
    start = time.monotonic()
    reader.close()
    assert time.monotonic() - start < 0.4  # a pool takes 0.75 s
    assert readers() == []


@pytest.mark.parametrize("blocks", [3, 1000])
def test_a_file_that_vanishes_or_changes_is_named_and_may_come_back(tmp_path, blocks):
    arrays = matrix("float32", N), targets("integers", N), np.ones(N)
    cache = cache_of(tmp_path / "cache", [], *arrays)
    path = cache.folder / cache.manifest.blocks[17]["y"]["file"]
    content = path.read_bytes()
    with contextlib.closing(PoolReader(cache, pool_bytes(cache, blocks), 3)) as reader:
        for bad in (None, content[:-9], content[:-1] + b"\7"):
            path.unlink()
            if bad is not None:
                path.write_bytes(bad)
            for _ in range(2):  # and not only once
                with pytest.raises(ValueError, match=path.name):
                    checked(reader.pools(0, 0), arrays)
                assert readers() == []
            path.write_bytes(content)
            visited = checked(reader.pools(0, 0), arrays)
            np.testing.assert_array_equal(visited, rows_of(plan_of(N, 32, blocks, 3, 0), 32, N))
            reader.close()
            reader.resident = None


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99, 1.0, 3.0])
def test_memory_is_bounded(table, share):
    cache, _ = table
    size = int(share * cache.bytes)
    with contextlib.closing(PoolReader(cache, size, 3)) as reader:
        held: dict[tuple[int, str], int] = {}
        orders = 0
        for epoch in range(3):
            for pool in reader.pools(epoch, 0):
                orders = max(orders, pool.order.nbytes)
                for buffer in reader.buffers:
                    for name, array in buffer.arrays.items():
                        held[id(buffer), name] = max(array.nbytes, held.get((id(buffer), name), 0))
        pools = len({buffer for buffer, _ in held})
        assert pools == (1 if share >= 1.0 else BUFFERS)
        used = sum(held.values()) + pools * orders
        assert used <= max(size, pool_bytes(cache, 1)) + BUFFERS * 8
    assert blocks_of_a_pool(cache, 1) == 1


def test_pools_of_an_epoch_have_orders_of_their_own():
    plan = plan_of(4096, 32, 16, seed=3, epoch=1)
    orders = [plan.order(pool) for pool in range(len(plan.pools))]
    assert len(orders) == 8
    assert len({order.tobytes() for order in orders}) == 8
    again = plan_of(4096, 32, 16, seed=3, epoch=2)
    assert again.order(0).tobytes() != orders[0].tobytes()
