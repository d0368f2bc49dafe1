"""What the first pass over a source finds: rows, labels, moments, and a sample of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .block import Block

__all__ = [
    "FirstPass",
    "Labels",
    "Moments",
    "bytes_of",
    "joined_blocks",
    "label_kind_of",
    "part_of",
    "row_bytes_of",
    "rows_of",
]

MOST_LABELS = 10_000
"""Distinct values of y up to which they may be classes."""

FEW_LABELS = 3
"""Values up to which those of y are compared with each; more are searched for."""

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
    _dtype: Any = None
    _sorted: tuple[NDArray[Any], NDArray[np.int64]] | None = None

    def add(
        self, y: NDArray[Any], weight: NDArray[Any] | None
    ) -> tuple[list[int], NDArray[np.int64] | None]:
        """Count targets (m,); the rows at which a value comes for the first time, and the places.

        The latter are None once values are too many.
        """
        if self.values is None:
            return [], None
        if y.dtype.kind in "biuf":
            dtype = y.dtype if self._dtype is None else np.result_type(self._dtype, y.dtype)
            if dtype != self._dtype:
                self._dtype, self._sorted = dtype, None
        places = self._places(y)
        new = self._new_rows(y, places)
        if len(new) + len(self.values) > MOST_LABELS:
            self.values, self.weights = None, []
            self.numbers, self._sorted = {}, None
            return [], None
        for row in new:
            self.numbers[_value(y[row])] = len(self.values)
            self.values.append(_value(y[row]))
        if new:
            self._sorted = None
            places = self._places(y)
        sums = np.bincount(places, weight, minlength=len(self.values)).astype(np.float64)
        sums[: len(self.weights)] += np.array(self.weights)
        self.weights = sums.tolist()
        return new, places

    def _new_rows(self, y: NDArray[Any], places: NDArray[np.int64]) -> list[int]:
        """The first row of each value that has no place."""
        unknown = np.flatnonzero(places < 0)
        if len(unknown) == 0:
            return []
        if y.dtype.kind in "biuf":
            rows: list[int] = np.sort(unknown[np.unique(y[unknown], return_index=True)[1]]).tolist()
            return rows
        firsts: dict[Any, int] = {}
        for row in unknown.tolist():
            firsts.setdefault(y[row], row)
        return list(firsts.values())

    def codes(self, y: NDArray[Any]) -> NDArray[np.int32]:
        """The places of known values (m,)."""
        return self._places(y).astype(np.int32)

    def _places(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """The places of values (m,), -1 of those that are not known."""
        if not self.numbers:
            return np.full(len(y), -1)
        if y.dtype.kind not in "biuf":
            return np.array([self.numbers.get(value, -1) for value in y.tolist()], dtype=np.int64)
        if self._sorted is None:  # in the dtype of y: float64 does not have all integers
            known = np.array(self.values, dtype=self._dtype)
            order = np.argsort(known)
            self._sorted = known[order], order
        known, order = self._sorted
        if len(known) <= FEW_LABELS:
            places = np.full(len(y), -1)
            for value, place in zip(known, order, strict=True):
                places[y == value] = place
            return places
        at = np.minimum(np.searchsorted(known, y), len(known) - 1)
        return np.where(known[at] == y, order[at], -1)


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

    def merge(self, other: Moments) -> None:
        """Take in what was found of other rows."""
        if other.total == 0.0:
            return
        total = self.total + other.total
        change = other.mean - self.mean
        self.squares += other.squares + change**2 * other.total * (self.total / total)
        self.mean += change * (other.total / total)
        self.total, self.rows = total, self.rows + other.rows


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

    def add(self, block: Block) -> NDArray[np.int64] | None:
        """Take in the next rows; the places of y among the labels (m,), if there are labels."""
        m, X, y, weight = len(block), block.X, block.y, block.sample_weight
        places = None
        if m == 0:
            return None
        if self._finds_moments and not sp.issparse(X):
            if self.moments is None:
                self.moments = Moments(*np.zeros((2, X.shape[1])))
            self.moments.add(X, weight)
        if y is not None and y.ndim == 1:
            new, places = self.labels.add(y, weight)
            if new:
                firsts = np.array(new)
                self._firsts.append((self.rows + firsts, rows_of(block, firsts)))
            if self.labels.values is None:
                self._firsts.clear()
            if places is not None and self.labels.values is not None:
                counts = np.bincount(places)
                values = np.arange(len(counts), dtype=np.float64)
                if y.dtype.kind in "biuf":
                    values = np.array(self.labels.values[: len(counts)], dtype=np.float64)
                self._add_spread(values, counts)
            elif y.dtype.kind in "biuf":
                self._add_spread(y.astype(np.float64), np.ones(m))
        self._add_sample(block)
        self.rows += m
        return places

    def _add_spread(self, values: NDArray[np.float64], counts: NDArray[Any]) -> None:
        """Take in targets of which each comes so many times."""
        rows, mean, within, between = self._spread
        with np.errstate(over="ignore", invalid="ignore"):
            m = counts.sum()
            middle = counts @ values / m
            total, change = rows + m, middle - mean
            spread = [
                total,
                mean + change * m / total,
                within + counts @ np.square(values - middle),
                between + change**2 * rows * m / total,
            ]
        self._spread = [*map(float, spread)]

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
        self._row_bytes = max(self._row_bytes, row_bytes_of(block.X))
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
        """Evenly spaced rows, and behind them the first row of each label that is none of them."""
        parts = [part for _, part in self._sample]
        for numbers, part in self._firsts:
            others = np.flatnonzero(numbers % self._stride)
            if len(others):
                parts.append(rows_of(part, others))
        return joined_blocks(parts)


def numbers_of_sample(rows: int, size: int, firsts: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the rows of :meth:`FirstPass.sample`, if it has so many of so many rows, and the
    first row of each label is known."""
    stride, of_labels = 1, np.array(firsts, dtype=np.int64)
    while -(-rows // stride) + np.count_nonzero(of_labels % stride) > size:
        stride *= 2
    return np.append(np.arange(0, rows, stride), of_labels[of_labels % stride > 0])


def bytes_of(X: Any) -> int:
    """Bytes of the arrays of X."""
    if sp.issparse(X):
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    return int(X.nbytes)


def row_bytes_of(X: Any) -> float:
    """Bytes of a row of X as it is stored, on average."""
    if sp.issparse(X):
        index = 4 if X.shape[1] < 2**31 else 8
        return float(8 + X.nnz * (X.dtype.itemsize + index) / X.shape[0])
    return float(X.itemsize * X.shape[1])


def label_kind_of(y: NDArray[Any] | None) -> str:
    """ "number", or what strings and bools are called whose places are stored instead of them."""
    if y is None or y.ndim == 2 or y.dtype.kind not in "bOU":
        return "number"
    return "bool" if y.dtype.kind == "b" else "str"


def part_of(block: Block, start: int, stop: int, *, copy: bool = False) -> Block:
    """Rows that lie together; of a whole block itself, unless it is copied."""
    if start == 0 and stop == len(block) and not copy:
        return block

    def of(values: Any) -> Any:
        if values is None:
            return None
        rows = values[start:stop]
        return rows.copy() if copy and not sp.issparse(rows) else rows

    X = block.X.copy() if copy and stop - start == len(block) else of(block.X)
    return Block(X, of(block.y), of(block.sample_weight))


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
