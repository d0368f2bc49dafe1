"""The order of samples: a pure function of (mode, n, seed, epoch), in NumPy.

The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011) keyed by (seed, 0) with counter (block, epoch, purpose, 0). No state is carried from draw to
draw, so the order of epoch 7 can be asked for before that of epoch 6. Word t of the stream is draw
t:

    bounded integer below b:   floor(word * b / 2^64)
    permutation:               Fisher-Yates; for i = n-1 ... 1, swap i with a draw below i + 1

``csrc/sampler.c`` computes the same numbers; tests compare them word by word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLINGS: tuple[str, ...] = ("reshuffle", "once", "replacement", "sequential")
"""Sampling modes, in the order of ``fsgd_sampling`` in csrc/fastsgd.h."""

TRAINING, VALIDATION = 0, 1
"""Purposes: streams that never share a word."""


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


def order(mode: str, n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row numbers in the order in which an epoch visits them.

    Parameters
    ----------
    mode : {"reshuffle", "once", "replacement", "sequential"}
        A new permutation every epoch; the permutation of epoch 0 every epoch; n independent uniform
        draws; storage order.
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
        If ``mode`` is none of the four.
    """
    if mode not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {SAMPLINGS}, got {mode!r}")
    if mode == "sequential":
        return np.arange(n, dtype=np.int64)
    stream = words(seed, 0 if mode == "once" else epoch, TRAINING, n)
    if mode == "replacement":
        return bounded(stream, np.uint64(n))
    positions = np.arange(n, dtype=np.int64)
    draws = bounded(stream[: n - 1], np.arange(n, 1, -1, dtype=np.uint64))
    for i, j in zip(range(n - 1, 0, -1), draws.tolist(), strict=True):
        positions[i], positions[j] = positions[j], positions[i]
    return positions
