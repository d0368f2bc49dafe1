"""Which partitions of the rows are a shard together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

__all__ = ["MOST_SHARDS", "groups_of"]

MOST_SHARDS = 64
"""Shards, where the user does not say how many."""

PARTITIONS, MORE = "partitions", "rechunk or repartition X"
"""What :func:`groups_of` is of, where nothing else is said."""


def groups_of(
    rows: Sequence[int], shards: int | None, units: str = PARTITIONS, more: str = MORE
) -> list[range]:
    """Partitions that follow each other, in groups of rows as equal as can be.

    Parameters
    ----------
    rows : sequence of int
        Of each partition.
    shards : int or None
        Groups; None: one for each partition that has rows, at most ``MOST_SHARDS``.
    units, more : str
        What partitions are, for the message, and how there may be more.

    Returns
    -------
    list of range
        Numbers of the partitions of each.

    Raises
    ------
    ValueError
        If there are fewer partitions than shards.
    """
    n, full = len(rows), sum(one > 0 for one in rows)
    if shards is None:
        shards = max(1, min(full, MOST_SHARDS))
    if shards > n:
        raise ValueError(f"shards={shards} is more than the {n} {units} of X: {more}")
    until = np.cumsum(rows, dtype=np.int64)
    ends = [0]
    for i in range(1, shards):
        near = int(np.searchsorted(until, until[-1] * i / shards - 0.5)) + 1
        ends.append(min(max(near, ends[-1] + 1), n - shards + i))
    ends.append(n)
    return [range(a, b) for a, b in pairwise(ends)]
