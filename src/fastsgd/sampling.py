"""The order of samples: a pure function of (mode, n, seed, epoch), in NumPy.

The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011) keyed by (seed, 0) with counter (block, epoch, purpose, 0). No state is carried from draw to
draw, so the order of epoch 7 can be asked for before that of epoch 6. Word t of the stream is draw
t:

    bounded integer below b:   floor(word * b / 2^64)
    permutation:               Fisher-Yates; for i = n-1 ... 1, swap i with a draw below i + 1

"block" (CorgiPile: Xu et al., "Stochastic gradient descent without full data shuffle", SIGMOD
2022) cuts the rows into blocks of ``BLOCK_ROWS`` neighbours, beginning at a row drawn each epoch,
with the end joined to the start; what is left over is a short block. Whole blocks are put in random
order, the short one comes last, and stretches of ``POOL_ROWS`` rows of that order are shuffled:

    block        a permutation of the n // BLOCK_ROWS whole blocks, by the words of BLOCKS
    turn         the word of BLOCKS after those, as an integer below n
    position i   row (turn + BLOCK_ROWS block[i // BLOCK_ROWS] + i % BLOCK_ROWS) mod n
    each pool    Fisher-Yates; draw t of the epoch is a half of word t // 2 of TRAINING, the low one
                 for even t, as an integer floor(half * bound / 2^32)

``csrc/sampler.c`` computes the same numbers; tests compare them word by word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLINGS: tuple[str, ...] = ("reshuffle", "once", "replacement", "sequential", "block")
"""Sampling modes, in the order of ``fsgd_sampling`` in csrc/fastsgd.h."""

TRAINING, VALIDATION, BLOCKS = 0, 1, 2
"""Purposes: streams that never share a word."""

BLOCK_ROWS, POOL_ROWS = 32, 1024
"""Of "block", as in csrc/fastsgd.h; docs/sampling.md has the measurements."""


def words(seed: int, epoch: int, purpose: int, count: int) -> NDArray[np.uint64]:
    """The first ``count`` 64-bit words of the stream of one epoch.

    NumPy increments the counter before its first block, so block 1 is the first of the stream.

    Returns
    -------
    ndarray of uint64, shape (count,)
    """
    generator = np.random.Philox(
        key=np.array([seed, 0], dtype=np.uint64),
        counter=np.array([0, epoch, purpose, 0], dtype=np.uint64),
    )
    return generator.random_raw(count).astype(np.uint64, copy=False)


def bounded(words: NDArray[np.uint64], bound: NDArray[np.uint64]) -> NDArray[np.int64]:
    """floor(word * bound / 2^64), for bounds below 2^32, elementwise, without 128-bit integers."""
    low = words & np.uint64(0xFFFFFFFF)
    high = words >> np.uint64(32)
    return ((high * bound + ((low * bound) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def shuffle(positions: NDArray[np.int64], draws: NDArray[np.int64]) -> None:
    """Fisher-Yates in place; draw t is below len(positions) - t."""
    for last, drawn in zip(range(len(positions) - 1, 0, -1), draws.tolist(), strict=False):
        positions[last], positions[drawn] = positions[drawn], positions[last]


def block_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of "block": permuted blocks of neighbours, shuffled in pools."""
    whole = n // BLOCK_ROWS
    stream = words(seed, epoch, BLOCKS, whole + 1)
    block = np.arange(whole + 1, dtype=np.int64)
    shuffle(block[:whole], bounded(stream[:whole], np.arange(whole, 0, -1, dtype=np.uint64)))
    turn = bounded(stream[whole:], np.uint64(n))
    i = np.arange(n, dtype=np.int64)
    rows = (turn + BLOCK_ROWS * block[i // BLOCK_ROWS] + i % BLOCK_ROWS) % n
    stream = words(seed, epoch, TRAINING, (n + 1) // 2)
    halves = np.column_stack([stream & np.uint64(0xFFFFFFFF), stream >> np.uint64(32)]).ravel()
    for start in range(0, n, POOL_ROWS):
        pool = rows[start : start + POOL_ROWS]
        left = np.arange(len(pool), 0, -1, dtype=np.uint64)
        draws = halves[start : start + len(pool)] * left >> np.uint64(32)
        shuffle(pool, draws.astype(np.int64))
    return rows


def order(mode: str, n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row numbers in the order in which an epoch visits them.

    Parameters
    ----------
    mode : {"reshuffle", "once", "replacement", "sequential", "block"}
        A new permutation every epoch; the permutation of epoch 0 every epoch; n independent uniform
        draws; storage order; blocks of neighbours in random order, shuffled in pools.
    n : int
        Number of rows, below 2**32.
    seed, epoch : int
        Non-negative, below 2**64.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    ValueError
        If ``mode`` is none of them.
    """
    if mode not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {SAMPLINGS}, got {mode!r}")
    if mode == "sequential":
        return np.arange(n, dtype=np.int64)
    if mode == "block":
        return block_order(n, seed, epoch)
    stream = words(seed, 0 if mode == "once" else epoch, TRAINING, n)
    if mode == "replacement":
        return bounded(stream, np.uint64(n))
    positions = np.arange(n, dtype=np.int64)
    shuffle(positions, bounded(stream, np.arange(n, 0, -1, dtype=np.uint64)))
    return positions
