"""What the first pass over a source finds: rows, labels, moments, and a sample of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .block import Block

__all__ = ["FirstPass", "Labels", "Moments", "joined_blocks"]

MOST_LABELS = 10_000
"""Distinct values of y up to which they may be classes."""

SAMPLE_ROWS, SAMPLE_BYTES = 1 << 16, 1 << 24
"""Rows and bytes that a sample has at most, about."""


@dataclass
class Labels:
    """The distinct values of y, in the order in which they were met; None once they are too many.

    Attributes
    ----------
    values : list of str, bool, int or float, or None
    weights : list of float
        Sums of the weights of the rows of each value.
    numbers : dict
        The place of each value.
    """

    values: list[Any] | None = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    numbers: dict[Any, int] = field(default_factory=dict)

    def add(self, y: NDArray[Any], weight: NDArray[Any] | None) -> list[int]:
        """Count targets (m,); the rows at which a value comes for the first time."""
        if self.values is None:
            return []
        new: list[int] = []
        places = self._places(y)
        unknown = np.flatnonzero(places < 0)
        if len(unknown):
            found, first = np.unique(y[unknown], return_index=True)
            if len(found) + len(self.values) > MOST_LABELS:
                self.values = None
                return []
            new = sorted(unknown[first].tolist())
            for row in new:
                self.numbers[_value(y[row])] = len(self.values)
                self.values.append(_value(y[row]))
                self.weights.append(0.0)
            places = self._places(y)
        sums = np.bincount(places, weight, minlength=len(self.values))
        self.weights = (np.array(self.weights) + sums).tolist()
        return new

    def codes(self, y: NDArray[Any]) -> NDArray[np.int32]:
        """The places of known values (m,)."""
        return self._places(y).astype(np.int32)

    def _places(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """The places of values (m,), -1 of those that are not known."""
        if not self.numbers:
            return np.full(len(y), -1)
        if y.dtype.kind not in "biuf":
            return np.array([self.numbers.get(value, -1) for value in y.tolist()], dtype=np.int64)
        known = np.array(self.values)
        order = np.argsort(known)
        at = np.minimum(np.searchsorted(known, y, sorter=order), len(known) - 1)
        places = order[at]
        return np.where(known[places] == y, places, -1)


def _value(of_row: Any) -> Any:
    """A target as Python's own object."""
    return of_row.item() if isinstance(of_row, np.generic) else of_row


@dataclass
class Moments:
    """Weighted means and sums of squared deviations of dense features, block by block.

    Blocks are merged by Chan, Golub & LeVeque (The American Statistician 37, 1983).

    Attributes
    ----------
    mean, squares : ndarray of shape (d,)
    total : float
        Sum of the weights.
    rows : int
        Rows of positive weight.
    """

    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    total: float = 0.0
    rows: int = 0

    def add(self, X: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """Take in rows (m, d) of weights (m,)."""
        part = X.astype(np.float64)
        s = np.ones(len(part)) if weight is None else weight.astype(np.float64)
        if not s.all():
            part, s = part[s > 0.0], s[s > 0.0]
        if len(s) == 0:
            return
        size = float(s.sum())
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            middle = s @ part / size
            part -= middle
            change, total = middle - self.mean, self.total + size
            self.squares += s @ np.square(part, out=part)
            self.squares += change**2 * size * ((total - size) / total)
            self.mean += change * (size / total)
        self.total, self.rows = total, self.rows + len(s)


class FirstPass:
    """What is found of rows that come in blocks.

    Parameters
    ----------
    moments : bool
        Whether moments of dense X are wanted.

    Attributes
    ----------
    rows : int
        Rows so far.
    labels : Labels
        Of y with one dimension.
    moments : Moments or None
        Of dense X, if they are wanted.
    within, between : float
        Sums of squared deviations of numeric y: within the blocks, and between their means. Storage
        in which rows of a kind lie together has most of them between.
    """

    def __init__(self, *, moments: bool = False) -> None:
        self.rows = 0
        self.labels = Labels()
        self.moments: Moments | None = None
        self._finds_moments = moments
        self._stride = 1
        self._sample: list[tuple[NDArray[np.int64], Block]] = []
        self._row_bytes = 0.0
        self._firsts: list[tuple[NDArray[np.int64], Block]] = []
        self._spread = [0.0, 0.0, 0.0, 0.0]  # rows, mean, within, between

    def add(self, block: Block) -> None:
        """Take in the next rows."""
        m, X, y, weight = len(block), block.X, block.y, block.sample_weight
        if m == 0:
            return
        if self._finds_moments and not sp.issparse(X):
            if self.moments is None:
                self.moments = Moments(*np.zeros((2, X.shape[1])))
            self.moments.add(X, weight)
        if y is not None and y.ndim == 1:
            new = self.labels.add(y, weight)
            if new:
                rows = np.array(new)
                self._firsts.append((self.rows + rows, rows_of(block, rows)))
            if self.labels.values is None:
                self._firsts.clear()
            numbers = y if y.dtype.kind in "biuf" else None
            if numbers is None and self.labels.values is not None:
                numbers = self.labels.codes(y)
            if numbers is not None:
                self._add_spread(numbers.astype(np.float64))
        self._add_sample(block)
        self.rows += m

    def _add_spread(self, y: NDArray[np.float64]) -> None:
        rows, mean, within, between = self._spread
        m, middle = len(y), float(y.mean())
        total, change = rows + m, middle - mean
        self._spread = [
            total,
            mean + change * m / total,
            within + float(np.square(y - middle).sum()),
            between + change**2 * rows * m / total,
        ]

    @property
    def within(self) -> float:
        """See the class."""
        return self._spread[2]

    @property
    def between(self) -> float:
        """See the class."""
        return self._spread[3]

    def _add_sample(self, block: Block) -> None:
        """Keep rows whose number is a multiple of the stride, which doubles as rows come."""
        m = len(block)
        self._row_bytes = max(self._row_bytes, bytes_of(block.X) / m)
        numbers = np.arange(-self.rows % self._stride, m, self._stride)
        if len(numbers):
            self._sample.append((self.rows + numbers, rows_of(block, numbers)))
        most = min(SAMPLE_ROWS, max(1024, int(SAMPLE_BYTES / max(1.0, self._row_bytes))))
        while sum(len(numbers) for numbers, _ in self._sample) > most:
            self._stride *= 2
            kept = []
            for numbers, part in self._sample:
                stay = np.flatnonzero(numbers % self._stride == 0)
                if len(stay):
                    kept.append((numbers[stay], rows_of(part, stay)))
            self._sample = kept

    def sample(self) -> Block:
        """Evenly spaced rows, and behind them the first row of each label."""
        parts = [part for _, part in self._sample]
        for numbers, part in self._firsts:
            rows = np.flatnonzero(numbers % self._stride)  # the others are in the sample
            if len(rows):
                parts.append(rows_of(part, rows))
        return joined_blocks(parts)


def bytes_of(X: Any) -> int:
    """Bytes of the arrays of X."""
    if sp.issparse(X):
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    return int(X.nbytes)


def rows_of(block: Block, rows: Any) -> Block:
    """Some rows of a block, copied."""

    def of(values: Any) -> Any:
        return None if values is None else values[rows]

    return Block(block.X[rows], of(block.y), of(block.sample_weight))


def joined_blocks(blocks: Sequence[Block]) -> Block:
    """The rows of blocks that follow each other.

    Raises
    ------
    ValueError
        If some have y or weights and others none, or X of dense and of sparse rows.
    """
    if len(blocks) == 1:
        return blocks[0]
    sparse = sp.issparse(blocks[0].X)

    def both(name: str) -> Any:
        parts = [getattr(block, name) for block in blocks]
        if all(part is None for part in parts):
            return None
        return np.concatenate(parts)

    X = [block.X for block in blocks]
    return Block(
        sp.vstack(X, format="csr") if sparse else np.concatenate(X),
        both("y"),
        both("sample_weight"),
    )
