"""The rows of a shard, and what is known of them before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..data import Block
from ..data.first_pass import Labels, Moments, rows_of

__all__ = ["SAMPLE_ROWS", "Shard", "ShardSummary", "summary_of"]

SAMPLE_ROWS = 1 << 15
"""Rows of the sample of all shards, about."""


@dataclass(frozen=True)
class Shard:
    """Rows that are trained on together, in the memory of whoever does.

    Attributes
    ----------
    number : int
        From 0; it decides about the order of the rows, and about the order of sums.
    X : ndarray or csr_array of shape (n, d)
    y : ndarray of shape (n,) or (n, n_targets), or None
        As the user has it, or as the solver takes it.
    weight : ndarray of shape (n,) or None
    """

    number: int
    X: Any
    y: NDArray[Any] | None
    weight: NDArray[np.floating] | None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])


@dataclass(frozen=True)
class ShardSummary:
    """What is known of a shard before training.

    Attributes
    ----------
    number, rows, columns : int
    dtype : str
        Of X, in which all shards must agree.
    sparse, weighted : bool
    labels : list or None
        Distinct values of y, if they are at most 10,000.
    label_weights : list of float
        Sums of the weights of the rows of each.
    sample : Block or None
        Evenly spaced rows, and the first one of each label; None of an empty shard.
    moments : Moments or None
        Of dense X, where they were asked for.
    sample_rows : ndarray of int64, or None
        Numbers of the rows of the sample in the shard.
    """

    number: int
    rows: int
    columns: int
    dtype: str
    sparse: bool
    weighted: bool
    labels: list[Any] | None
    label_weights: list[float]
    sample: Block | None
    moments: Moments | None = None
    sample_rows: NDArray[np.int64] | None = None


def summary_of(shard: Shard, shards: int = 1, moments: bool = False) -> ShardSummary:
    """Look at the rows of a shard.

    Parameters
    ----------
    shard : Shard
    shards : int, default=1
        How many there are: the samples of all have about ``SAMPLE_ROWS`` rows.
    moments : bool, default=False
        Whether means and variances of dense X are wanted.

    Returns
    -------
    ShardSummary
    """
    X, y, n = shard.X, shard.y, shard.rows
    labels, found = Labels(), None
    firsts: list[int] = []
    if n and y is not None and y.ndim == 1:
        firsts, _ = labels.add(y, shard.weight)
    if n and moments and not sp.issparse(X):
        found = Moments(*np.zeros((2, X.shape[1])))
        for first in range(0, n, 4096):
            rows = slice(first, first + 4096)
            found.add(X[rows], None if shard.weight is None else shard.weight[rows])
    even = np.arange(0, n, max(1, -(-n * shards // SAMPLE_ROWS)))
    sample_rows = np.append(even, firsts).astype(np.int64)
    sample = rows_of(Block(X, y, shard.weight), sample_rows)
    return ShardSummary(
        shard.number,
        n,
        X.shape[1],
        X.dtype.str,
        sp.issparse(X),
        shard.weight is not None,
        labels.values,
        labels.weights,
        sample if n else None,
        found,
        sample_rows if n else None,
    )
