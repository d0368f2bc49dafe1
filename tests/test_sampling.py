"""The order of samples: a pure function of (seed, epoch), the same in Python and in C."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import chisquare

from fastsgd import _core, sampling
from fastsgd.problem import Settings
from fastsgd.sampling import BLOCK_ROWS, BLOCKS, POOL_ROWS, SAMPLINGS, TRAINING, VALIDATION, words

SEEDS = (0, 1, 2**32 + 5, 2**64 - 1)
EPOCHS = (0, 1, 7, 2**33)
PURPOSES = (TRAINING, VALIDATION, BLOCKS)
MASK = 2**64 - 1


def philox(counter, key):
    """One block of Philox4x64-10 by its definition (Salmon et al., SC 2011), in Python integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1 = (second >> 64) ^ c1 ^ k0, second & MASK
        c2, c3 = (first >> 64) ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


def core_order(mode, n, seed, epoch, chunks=()):
    return _core.order(Settings(sampling=mode, seed=seed), n, epoch, chunks)


def test_philox_of_this_file_is_philox():
    """The known answer for zeros that its authors publish (Random123, kat_vectors)."""
    answer = "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"
    assert [f"{word:016x}" for word in philox([0] * 4, [0] * 2)] == answer.split()


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("epoch", EPOCHS)
@pytest.mark.parametrize("seed", SEEDS)
def test_words_are_philox_keyed_by_seed(seed, epoch, purpose):
    """Key (seed, 0), counter (block, epoch, purpose, 0), blocks from 1; any count is a prefix."""
    blocks = [philox([block, epoch, purpose, 0], [seed, 0]) for block in range(1, 6)]
    expected = list(itertools.chain(*blocks))
    for count in (0, 1, 4, 7, 20):
        assert words(seed, epoch, purpose, count).tolist() == expected[:count]


def test_streams_share_no_words():
    """Other seed, epoch or purpose, other words: training order and validation split differ."""
    keys = itertools.product(SEEDS, EPOCHS, PURPOSES)
    streams = [words(*key, 1000) for key in keys]
    assert len(np.unique(np.concatenate(streams))) == 1000 * len(streams)


def test_bounded_is_the_high_half_of_a_product():
    """floor(word b / 2^64), in exact integers, at the ends of both ranges too."""
    stream = np.append(words(3, 0, TRAINING, 500), np.array([0, MASK], dtype=np.uint64))
    for bound in (1, 2, 3, 1000, 2**31 + 1, 2**32 - 1):
        expected = [int(word) * bound >> 64 for word in stream]
        assert sampling.bounded(stream, np.uint64(bound)).tolist() == expected


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_core_order_is_that_of_python(mode):
    """Every n from 1 to 70, every seed and epoch."""
    for n, seed, epoch in itertools.product(range(1, 71), SEEDS, EPOCHS):
        core, twin = core_order(mode, n, seed, epoch), sampling.order(mode, n, seed, epoch)
        assert np.array_equal(core, twin), (n, seed, epoch)


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_core_order_of_many_rows(mode):
    """At the edges of blocks and pools, and some more."""
    sizes = (POOL_ROWS, POOL_ROWS + BLOCK_ROWS, 2 * POOL_ROWS)
    edges = [size + more for size in sizes for more in (-1, 0, 1)]
    for n in (*edges, 100_003):
        core = core_order(mode, n, 2**63 + 9, 3)
        assert np.array_equal(core, sampling.order(mode, n, 2**63 + 9, 3)), n


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_chunks_make_no_difference(mode):
    """An order drawn in stretches, ending inside words, blocks and pools too, is the same order."""
    sizes = (1, 2, 5, 64, 70, 1001, 2 * POOL_ROWS + 37)
    for n, step in itertools.product(sizes, (1, 2, 3, 4, 5, 63, 500)):
        whole, parts = (core_order(mode, n, 11, 2, c) for c in ((), range(0, n, step)))
        assert np.array_equal(whole, parts), (n, step)


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_orders_are_rows(mode):
    """Shuffles are permutations, "sequential" the identity, "replacement" leaves some rows out."""
    order = core_order(mode, 1000, 1, 0)
    assert order.dtype == np.int64
    present = len(np.unique(order))
    assert 0 <= order.min() <= order.max() < 1000
    assert present == 1000 if mode != "replacement" else 600 < present < 665  # 1000 (1 - 1/e)
    assert np.array_equal(order, np.arange(1000)) == (mode == "sequential")


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_epochs_and_seeds(mode):
    """By epoch "once" and "sequential" repeat, the others differ; by seed all but "sequential"."""
    order = [core_order(mode, 100, 5, epoch) for epoch in range(3)]
    repeats = mode in ("once", "sequential")
    assert np.array_equal(order[0], order[1]) == np.array_equal(order[1], order[2]) == repeats
    seeded = np.array_equal(order[0], core_order(mode, 100, 6, 0))
    assert seeded == (mode == "sequential")


def test_once_is_the_first_reshuffle():
    assert np.array_equal(core_order("once", 100, 5, 9), core_order("reshuffle", 100, 5, 0))


def test_draws_with_replacement_are_uniform():
    """chi^2 of 64,000 draws over 64 rows."""
    draws = [core_order("replacement", 64, 1, epoch) for epoch in range(1000)]
    assert chisquare(np.bincount(np.concatenate(draws), minlength=64)).pvalue > 0.01


@pytest.mark.parametrize("vary", ("epoch", "seed"))
@pytest.mark.parametrize("mode", ("reshuffle", "block"))
def test_permutations_are_uniform(mode, vary):
    """chi^2 of 24,000 shuffles over the 24 permutations of four rows, by epoch and by seed."""
    keys = [(0, i) if vary == "epoch" else (i, 0) for i in range(24_000)]
    settings = SimpleNamespace(sampling=mode, seed=0)
    orders = []
    for settings.seed, epoch in keys:
        orders.append(_core.order(settings, 4, epoch))
    _, counts = np.unique(np.array(orders) @ [64, 16, 4, 1], return_counts=True)
    assert len(counts) == 24
    assert chisquare(counts).pvalue > 0.01


def pools_of(order):
    """Row numbers of each pool, sorted; the first pool is the short one."""
    n = len(order)
    return [np.sort(part) for part in np.split(order, range(n % POOL_ROWS, n, POOL_ROWS))]


@pytest.mark.parametrize("n", (20 * POOL_ROWS, 20 * POOL_ROWS + 5, 20 * POOL_ROWS + 997))
def test_pools_are_of_blocks(n):
    """Runs of whole blocks of neighbours, but for the short one and one cut by the end of rows."""
    runs = [
        np.split(pool, np.flatnonzero(np.diff(pool) != 1) + 1)
        for pool in pools_of(core_order("block", n, 3, 4))
    ]
    assert sum(len(run) % BLOCK_ROWS > 0 for pool in runs for run in pool) <= 3
    assert all(len(pool) > 24 for pool in runs[1:])  # of 32 blocks, some of them neighbours


@pytest.mark.parametrize("n", (20 * POOL_ROWS + 5, 1000 * POOL_ROWS + 997))
@pytest.mark.parametrize("part", (0.1, 0.5, 0.75))
def test_every_pool_has_its_part_of_every_stretch_of_rows(part, n):
    """To within the blocks at its ends: so rows sorted by class cost little."""
    for pool in pools_of(core_order("block", n, 3, 4))[1:]:
        assert abs(np.sum(pool < part * n) - part * POOL_ROWS) <= 2 * BLOCK_ROWS


def test_pools_are_shuffled():
    """Within a pool the place of a row says nothing about its number."""
    order = core_order("block", 20 * POOL_ROWS, 3, 4).reshape(20, POOL_ROWS)
    place = np.argsort(np.argsort(order, axis=1), axis=1)
    correlations = [np.corrcoef(row, np.arange(POOL_ROWS))[0, 1] for row in place]
    assert np.abs(correlations).max() < 5.0 / np.sqrt(POOL_ROWS)
    pairs = np.diff(order, axis=1) == 1
    assert pairs.mean() < 0.01  # neighbours are apart


@pytest.mark.parametrize("row", (0, 700, 2 * POOL_ROWS + 36))
def test_blocks_put_every_row_everywhere(row):
    """chi^2 of the place of a row in 2,000 epochs, the last and the short block's included."""
    n = 2 * POOL_ROWS + 37
    places = [int(np.flatnonzero(core_order("block", n, 1, e) == row)[0]) for e in range(2000)]
    bins = np.histogram(places, bins=20, range=(0, n))
    assert chisquare(bins[0], np.diff(bins[1]) * 2000 / n).pvalue > 0.01


def test_unknown_sampling_is_refused():
    with pytest.raises(ValueError, match="'nonsense'"):
        sampling.order("nonsense", 3, 0, 0)
