"""MurmurHash3 of many strings at once: that of scikit-learn's ``murmurhash3_32``, with seed 0.

A call for each string takes 300 ns; arrays of strings of one length take 30 ns a string.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils import murmurhash3_32

__all__ = ["hashes"]

FEW = 32
"""Strings of one length up to which a call for each is faster."""

PIECE = 1 << 17
"""Bytes of the strings that are hashed at once: what they need meanwhile is ten times that."""

Words = NDArray[np.uint32]


def hashes(prefix: bytes, values: Any) -> Words:
    """The hash of a prefix with each string behind it.

    Parameters
    ----------
    prefix : bytes
    values : pyarrow.LargeStringArray of length n
        What is missing counts as an empty string.

    Returns
    -------
    ndarray of shape (n,), uint32
        As of MurmurHash3_x86_32 (Appleby, 2011) of the strings in UTF-8.
    """
    n = len(values)
    if n == 0:
        return np.empty(0, dtype=np.uint32)
    _, offsets, data = values.cast(pa.large_string()).buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[values.offset : values.offset + n + 1]
    text = np.frombuffer(data or b"", dtype=np.uint8)
    lengths = np.diff(ends)
    found = np.empty(n, dtype=np.uint32)
    order = np.argsort(lengths, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        starts, length = ends[group], int(lengths[group[0]])
        at_once = PIECE // (len(prefix) + length + 1)
        if len(group) <= FEW or at_once <= FEW:
            strings = (prefix + text[a : a + length].tobytes() for a in starts.tolist())
            found[group] = [murmurhash3_32(string, positive=True) for string in strings]
            continue
        for first in range(0, len(group), at_once):
            part = slice(first, first + at_once)
            found[group[part]] = of_one_length(prefix, text, starts[part], length)
    return found


def of_one_length(
    prefix: bytes, text: NDArray[np.uint8], starts: NDArray[np.int64], length: int
) -> Words:
    """The hashes of strings of one length that begin at some places of a text."""
    size = len(prefix) + length
    rows = np.zeros((len(starts), -(-size // 4) * 4), dtype=np.uint8)
    rows[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    rows[:, len(prefix) : size] = text[starts[:, np.newaxis] + np.arange(length)]
    return of_words(rows.view("<u4").T, size)


def of_words(words: NDArray[np.uint32], size: int) -> Words:
    """The hashes of n strings of ``size`` bytes, as words (ceil(size / 4), n) with zeros behind."""
    h = np.zeros(words.shape[1], dtype=np.uint32)
    for i, word in enumerate(words):
        h ^= rotated(word * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        if 4 * (i + 1) <= size:
            h = rotated(h, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    h ^= np.uint32(size)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


def rotated(words: Words, bits: int) -> Words:
    """Words of 32 bits, rotated to the left."""
    turned: Words = (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))
    return turned
