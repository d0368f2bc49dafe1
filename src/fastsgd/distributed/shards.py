"""The rows of a shard, and what is known of them before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..data import Block
from ..data.first_pass import Labels, Moments, rows_of
from .rounds import Common, Part, Plan

__all__ = ["SAMPLE_ROWS", "AnyShard", "Shard", "ShardSummary", "blocks_of", "counted", "summary_of"]

SAMPLE_ROWS = 1 << 15
"""Rows of the sample of all shards, about."""

HEAD_ROWS = 1024
"""First rows of a shard, in which most labels are met."""


@dataclass(frozen=True)
class Shard:
    """Rows that are trained on together, in the memory of whoever does.

    Attributes
    ----------
    number : int
        From 0; it decides about the order of the rows, and about the order of sums.
    X : ndarray or csr_array of shape (n, d)
        Features.
    y : ndarray of shape (n,) or (n, n_targets), or None
        Targets, as the user has them or as the solver takes them.
    weight : ndarray of shape (n,) or None
        Weights of the rows.
    counts : ndarray of shape (d,) or None
        Values that CSR X has of each feature, if they were counted before.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Shard
    >>> Shard(0, np.ones((4, 2)), np.zeros(4), None).rows
    4
    """

    number: int
    X: Any
    y: NDArray[Any] | None
    weight: NDArray[np.floating] | None
    counts: NDArray[np.integer] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])


@dataclass(frozen=True)
class ShardSummary:
    """What is known of a shard before training.

    Attributes
    ----------
    number : int
        That of the shard.
    rows : int
        Number of rows.
    columns : int
        Columns of X.
    dtype : str
        That of X, in which all shards must agree.
    sparse : bool
        Whether X is CSR.
    weighted : bool
        Whether there are weights.
    labels : list or None
        Distinct values of y, if they are at most 10,000.
    label_weights : list of float
        Sums of the weights of the rows of each.
    sample : Block or None
        Evenly spaced rows, and the first one of each label; None of an empty shard.
    moments : Moments or None
        Of dense X, where they were asked for.
    pools : tuple of int
        Rows of a block and blocks of a pool of a shard that is streamed; empty of one in memory.
    hashed_names : dict of int to str
        Names that were met in hashed columns.
    sample_rows : ndarray of int64, or None
        Numbers of the rows of the sample in the shard; None of a shard that is streamed, which
        knows them after another pass.

    See Also
    --------
    summary_of : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Shard, summary_of
    >>> found = summary_of(Shard(0, np.ones((4, 2)), np.array([0, 1, 1, 0]), None))
    >>> found.rows, found.columns, found.labels, found.label_weights
    (4, 2, [0, 1], [2.0, 2.0])
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
    pools: tuple[int, ...] = ()
    hashed_names: dict[int, str] = field(default_factory=dict)
    sample_rows: NDArray[np.int64] | None = None


class AnyShard(Protocol):
    """Rows that are not in memory, and know how they are trained on."""

    @property
    def number(self) -> int:
        """See :class:`Shard`."""

    def blocks(self) -> Iterator[Block]:
        """The rows, in storage order."""

    def sample_rows(self, shards: int, firsts: Sequence[int]) -> NDArray[np.int64]:
        """Numbers of the rows of the sample of the summary of one of so many shards; the first row
        of each label is known."""

    def summary(self, shards: int, moments: bool) -> ShardSummary:
        """See :func:`summary_of`."""

    def step(self, plan: Plan, common: Common) -> Part:
        """See :func:`fastsgd.distributed.shard_step`."""


def blocks_of(shard: Shard | AnyShard) -> Iterator[Block]:
    """The rows of a shard with the targets that the user has, in storage order: all of a shard in
    memory at once, others block by block."""
    if not isinstance(shard, Shard):
        yield from shard.blocks()
    elif shard.rows:
        yield Block(shard.X, shard.y, shard.weight)


def _add_labels(labels: Labels, y: NDArray[Any], weight: NDArray[Any] | None) -> list[int]:
    """Count targets; the first row of each label.

    Most labels are met in the first rows, and to find known ones needs no sort.
    """
    firsts: list[int] = []
    for rows in (slice(0, HEAD_ROWS), slice(HEAD_ROWS, len(y))):
        found, _ = labels.add(y[rows], None if weight is None else weight[rows])
        firsts += [rows.start + row for row in found]
    return [] if labels.values is None else firsts


def counted(shard: Shard) -> Shard:
    """A shard with counts, if they are small beside X: a round would count again."""
    X = shard.X
    if not sp.issparse(X) or X.nnz < 4 * X.shape[1]:
        return shard
    counts = np.bincount(X.indices, minlength=X.shape[1])
    return replace(shard, counts=counts.astype(np.int32 if X.nnz < 1 << 31 else np.int64))


def summary_of(shard: Shard | AnyShard, shards: int = 1, moments: bool = False) -> ShardSummary:
    """Look at the rows of a shard.

    Parameters
    ----------
    shard : Shard or AnyShard
        The rows, in memory or not.
    shards : int, default=1
        How many there are: the samples of all have about ``SAMPLE_ROWS`` rows.
    moments : bool, default=False
        Whether means and variances of dense X are wanted.

    Returns
    -------
    ShardSummary
        Counts of the rows and labels, and a sample of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Shard, summary_of
    >>> summary_of(Shard(0, np.ones((4, 2)), np.zeros(4), None)).rows
    4
    """
    if not isinstance(shard, Shard):
        return shard.summary(shards, moments)
    X, y, n = shard.X, shard.y, shard.rows
    labels, found = Labels(), None
    firsts: list[int] = []
    if n and y is not None and y.ndim == 1:
        firsts = _add_labels(labels, y, shard.weight)
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
        sample_rows=sample_rows if n else None,
    )
