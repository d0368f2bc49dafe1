"""The order of samples: a pure function of (mode, n, seed, epoch), in NumPy.

The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011) keyed by (seed, 0) with counter (block, epoch, purpose, 0). No state is carried from draw to
draw, so the order of epoch 7 can be asked for before that of epoch 6. Word t of the stream is draw
t:

    bounded integer below b:   floor(word * b / 2^64)
    permutation:               Fisher-Yates; for i = n-1 ... 1, swap i with a draw below i + 1

"block" is CorgiPile (Xu et al., "Stochastic gradient descent without full data shuffle", SIGMOD
2022) with strata. From a row on that is drawn each epoch, with the end joined to the start, rows
are cut into a short block of n % BLOCK_ROWS rows, if that is not 0, and whole blocks of BLOCK_ROWS;
these into S = POOL_ROWS / BLOCK_ROWS segments of neighbours, as equal as can be, and each segment
is shuffled. Pools of POOL_ROWS rows take one block of each segment; what is left over, the short
block and the last ones of the longer segments, makes a short pool, the first. Each is shuffled row
by row:

    segment s    blocks s whole // S to (s + 1) whole // S - 1, with whole = n // BLOCK_ROWS,
                 permuted by the words of BLOCKS of these places
    first row    the word of BLOCKS after those, as an integer below n
    each pool    Fisher-Yates; draw t of the epoch is a half of word t // 2 of TRAINING, the low one
                 for even t, as an integer floor(half * bound / 2^32)

``csrc/sampler.c`` computes the same numbers; tests compare them word by word.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["reshuffle", "once", "replacement", "sequential", "block"]

__all__ = [
    "BLOCKS",
    "BLOCK_ROWS",
    "POOL_ROWS",
    "SAMPLINGS",
    "TRAINING",
    "VALIDATION",
    "block_order",
    "bounded",
    "order",
    "shuffle",
    "words",
]

SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
"""Sampling modes, in the order of ``fsgd_sampling`` in csrc/fastsgd.h."""

TRAINING = 0
"""Purpose of the random words that order or draw the rows of an epoch. No purpose shares a word
with another."""

VALIDATION = 1
"""Purpose of the random words that draw the validation split."""

BLOCKS = 2
"""Purpose of the random words that order the blocks of the sampling "block"."""

BLOCK_ROWS = 32
"""Rows of a block of the sampling "block": neighbours in storage that stay together."""

POOL_ROWS = 1024
"""Rows of a pool of the sampling "block": blocks from all over the data whose rows are shuffled
together. docs/sampling.md has the measurements."""


def words(seed: int, epoch: int, purpose: int, count: int) -> NDArray[np.uint64]:
    """The first 64-bit words of the stream of one epoch.

    NumPy increments the counter before its first block, so block 1 is the first of the stream.

    Parameters
    ----------
    seed : int
        Key of the streams, in [0, 2**64).
    epoch : int
        Number of the epoch, from 0.
    purpose : {0, 1, 2}
        ``TRAINING``, ``VALIDATION`` or ``BLOCKS``; their streams share no word.
    count : int
        How many words.

    Returns
    -------
    ndarray of shape (count,), uint64
        The words.

    Examples
    --------
    >>> from fastsgd.sampling import TRAINING, words
    >>> (words(0, 3, TRAINING, 5)[:2] == words(0, 3, TRAINING, 2)).all()
    np.True_
    """
    generator = np.random.Philox(
        key=np.array([seed, 0], dtype=np.uint64),
        counter=np.array([0, epoch, purpose, 0], dtype=np.uint64),
    )
    return generator.random_raw(count).astype(np.uint64, copy=False)


def bounded(words: NDArray[np.uint64], bound: NDArray[np.uint64] | np.uint64) -> NDArray[np.int64]:
    """Words as integers below bounds: floor(word * bound / 2^64), without 128-bit integers.

    Parameters
    ----------
    words : ndarray of uint64
        Random words.
    bound : ndarray of uint64
        Bounds below 2^32, one for each word or one for all.

    Returns
    -------
    ndarray of int64
        One integer in [0, bound) for each word.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.sampling import bounded
    >>> bounded(np.array([0, 2**63, 2**64 - 1], dtype=np.uint64), np.uint64(10))
    array([0, 5, 9])
    """
    low = words & np.uint64(0xFFFFFFFF)
    high = words >> np.uint64(32)
    return ((high * bound + ((low * bound) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def shuffle(positions: NDArray[np.int64], draws: NDArray[np.int64]) -> None:
    """Shuffle in place by Fisher and Yates.

    Parameters
    ----------
    positions : ndarray of shape (n,), int64
        What is shuffled.
    draws : ndarray of shape (n - 1,) or more, int64
        Draw t is in [0, n - t).

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.sampling import shuffle
    >>> positions = np.arange(3)
    >>> shuffle(positions, np.array([0, 1]))
    >>> positions
    array([2, 1, 0])
    """
    for last, drawn in zip(range(len(positions) - 1, 0, -1), draws.tolist(), strict=False):
        positions[last], positions[drawn] = positions[drawn], positions[last]


def block_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of "block": pools of blocks from all over the rows, each shuffled.

    Parameters
    ----------
    n : int
        Number of rows.
    seed, epoch : int
        As in :func:`order`.

    Returns
    -------
    ndarray of shape (n,), int64
        Row numbers.

    Examples
    --------
    >>> from fastsgd.sampling import block_order
    >>> sorted(block_order(100, 0, 0)) == list(range(100))
    True
    """
    whole, short, count = n // BLOCK_ROWS, n % BLOCK_ROWS, POOL_ROWS // BLOCK_ROWS
    stream = words(seed, epoch, BLOCKS, whole + 1)
    segments = np.split(np.arange(whole), np.arange(1, count) * whole // count)
    for segment in segments:
        left = np.arange(len(segment), 0, -1, dtype=np.uint64)
        shuffle(segment, bounded(stream[segment], left))
    rounds = whole // count
    left_over = [segment[-1] for segment in segments if len(segment) > rounds]
    by_turns = [segment[i] for i in range(rounds) for segment in segments]
    blocks = np.array(left_over + by_turns, dtype=np.int64)
    rows = short + BLOCK_ROWS * blocks[:, None] + np.arange(BLOCK_ROWS)
    first_row = bounded(stream[whole:], np.uint64(n))
    rows = (first_row + np.append(np.arange(short), rows)) % n
    stream = words(seed, epoch, TRAINING, (n + 1) // 2)
    halves = np.column_stack([stream & np.uint64(0xFFFFFFFF), stream >> np.uint64(32)]).ravel()
    for start in range(n % POOL_ROWS - POOL_ROWS, n, POOL_ROWS):
        pool = np.s_[max(0, start) : start + POOL_ROWS]
        left = np.arange(len(rows[pool]), 0, -1, dtype=np.uint64)
        draws = halves[pool][: len(left)] * left >> np.uint64(32)
        shuffle(rows[pool], draws.astype(np.int64))
    return rows


def order(mode: str, n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row numbers in the order in which an epoch visits them.

    Parameters
    ----------
    mode : {"reshuffle", "once", "replacement", "sequential", "block"}
        A new permutation every epoch; the permutation of epoch 0 every epoch; n independent uniform
        draws; storage order; pools of blocks of neighbours from all over the rows, each shuffled.
    n : int
        Number of rows, below 2**32.
    seed, epoch : int
        Non-negative, below 2**64.

    Returns
    -------
    ndarray of shape (n,), int64
        Row numbers.

    Raises
    ------
    ValueError
        If ``mode`` is none of them.

    Examples
    --------
    >>> from fastsgd.sampling import order
    >>> order("sequential", 4, 0, 0)
    array([0, 1, 2, 3])
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
