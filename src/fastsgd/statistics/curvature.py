"""Curvature of a problem, estimated on a sample of rows, and the learning rate that it allows."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import rise, row_square
from ..losses import CompiledLoss, find
from ..problem import Data, Lanes, Settings
from .sample import has_long_rows, sample_rows, without_duplicates
from .weights import power_of_two, typical_weight

__all__ = [
    "Curvature",
    "adaptive_rate",
    "auto_rate",
    "bounded",
    "curvature_of",
    "initial_fraction",
    "rate_of_row",
    "row_size",
    "safe_rate",
    "square_of_row",
    "stable_rate",
]

FULL_NOISE_UPDATES = 2000
"""Updates of an epoch from which on "auto" takes half of the rate that is just stable."""

GRAM_ROWS = 64
"""Rows whose products with each other are taken."""

MAX_RANK = 100
"""Effective ranks from here on count as full rank."""

ADAPTIVE = 0.5
"""eta0 of AdaGrad, times smoothness and root mean square of |x|, where alpha is small: near the
best of sixteen rates on nine tables of benchmarks/test_rates.py, with a rate that falls to 0."""

MIN_ROW_SIZE = 1e-9
"""The least size of rows that AdaGrad's eta0 makes up for: squares of gradients are in float32."""

SMALLEST = float(np.finfo(np.float64).tiny)

LONG_RUN_UPDATES = 50_000
"""A rate that falls to 0 at a known end starts lower in runs of more updates, by the root of the
ratio."""

MIN_PROGRESS = 12.0
"""The least rate * curvature * updates of such a run in an average direction. A third of it counts
under (1 - x)^2, which leaves exp(-4) of the distance. The bound grows as the fourth root of what
the stable rate would give, so that longer runs come nearer. Where few directions have most of the
curvature, others have far less than an average one: there the ratio has the root of the effective
rank as a power, and the rate hardly falls."""


def _smoothness(data: Data, settings: Settings) -> float:
    """Bound of the loss's second derivative; where there is none, a typical size of it.

    A loss with a kink counts as one of smoothness 1. Poisson's exp(z) is about y where the model
    fits: three times the root mean square of y, so that rows of large y are safe too; at least 1.
    """
    loss = settings.terms
    if loss.targets == {"count"}:
        unit = power_of_two(float(np.abs(data.y).max()))  # its square may overflow
        mean = np.mean(np.square(data.y / unit, dtype=np.float64))
        return max(1.0, 3.0 * unit * float(np.sqrt(mean)))
    return loss.smoothness if 0.0 < loss.smoothness < np.inf else 1.0


@functools.lru_cache(maxsize=64)
def _bounded(loss: str | CompiledLoss, parameter: float) -> bool:
    """Whether the slope stays below some bound, so that no run can diverge for a long row."""
    terms = find(loss)
    if terms.coupled:
        return True
    with np.errstate(over="ignore"):
        far = terms.slope(np.array([-1e8, 1e8]), np.ones(2), parameter)
    return bool(np.abs(far).max() < 1e4)


def bounded(settings: Settings) -> bool:
    """Whether the slope of the loss stays below some bound."""
    return _bounded(settings.loss, settings.loss_parameter)


@dataclass(frozen=True)
class Curvature:
    """What the rates of "auto" are made of; see :func:`auto_rate`.

    Attributes
    ----------
    smoothness : float
        Bound of the loss's second derivative.
    noise : float
        R^2, of the rows with their intercept: mean |x|^2, or mean |x|^4 / mean |x|^2.
    mean_square : float
        mean |x|^2 of the same.
    largest : float
        Largest eigenvalue of X'X / n; mean |x|^2, which is a bound of it, at batches of one row.
    noise_weight : float
        How much R^2 counts beyond once, in [0, 1].
    batch : float
        Rows of a batch: the harmonic mean, if the last batch of an epoch is a short one.
    features : int
        d + 1.
    effective_rank : float
        (sum of the eigenvalues of X'X / n)^2 / (sum of their squares), which is d where all are
        equal and 1 where one is all, as a part of d, or of 100 where d is more; in (0, 1].
    """

    smoothness: float
    noise: float
    mean_square: float
    largest: float
    noise_weight: float
    batch: float
    features: int
    effective_rank: float

    @property
    def batch_curvature(self) -> float:
        """Curvature that a batch meets."""
        noise = (1.0 + self.noise_weight) * self.noise
        return self.smoothness * (self.largest + (noise - self.largest) / self.batch)

    @property
    def average(self) -> float:
        """Curvature in an average direction."""
        return self.smoothness * self.mean_square / self.features


def auto_rate(data: Data, settings: Settings) -> tuple[float, float]:
    """eta0 and mu of the schedule eta0 / sqrt(1 + eta0 mu (t - 1)), from the data.

    eta0 is 1 / (smoothness * the curvature that a batch of this size meets), times 1 - momentum.
    For m rows the second moment of the batch gradient is bounded by

        lambda_max + (R^2 - lambda_max) / m,        R^2 = mean |x|^4 / mean |x|^2,

    with lambda_max the largest eigenvalue of X'X / n: R^2 at m = 1, the largest curvature of the
    objective at m = n. (Bach & Moulines 2013 for m = 1, where E |x|^2 x x' <= R^2 E x x' in trace:
    with mean |x|^2 squared losses diverge on rows of heavy-tailed length; Ma, Bassily & Belkin 2018
    for batches.) A loss of bounded slope cannot, and takes the larger rate of R^2 = mean |x|^2.
    R^2 counts twice where an epoch has 2,000 updates or more, less where it has fewer: half of the
    rate that is just stable leaves half of the noise, and takes twice as long. The intercept counts
    as a feature of ones. mu is a fifth of the curvature in an average direction, smoothness * mean
    |x|^2 / d, times ``Curvature.effective_rank``: where a few directions have most of the curvature
    the others have less, and the distance in them is left when the noise is not.

    A rate that falls to 0 at a known end, after N updates, starts at sqrt(50,000 / N) of that where
    N is greater: what is then left of the noise falls as fast as what is left of the distance
    (Nemirovski et al. 2009 for 1 / sqrt(N)). But not where most of the distance would be left: see
    ``initial_fraction``, and docs/decisions.md for the constants.
    """
    curvature = curvature_of(data, settings)
    eta0, mu = stable_rate(curvature, settings)
    return eta0 * float(initial_fraction(curvature, data, settings, eta0, 0.0)), mu


def stable_rate(curvature: Curvature, settings: Settings) -> tuple[float, float]:
    """eta0 and mu of a curvature that is known, whatever the end of the run."""
    return (1.0 - settings.momentum) / curvature.batch_curvature, (
        0.2 * curvature.average * curvature.effective_rank
    )


def adaptive_rate(curvature: Curvature, weight: Any, alpha: Any, size: float = 1.0) -> Any:
    """eta0 of AdaGrad, for each lane of a typical ``weight`` of rows and an L2 penalty ``alpha``.

    Its steps do not depend on how steep the loss is: eta0 is a length, that of a typical weight at
    the minimum (Duchi, Hazan & Singer 2011, corollary 1: of the largest). Scores of 1 / smoothness
    are made by weights of 1 / (smoothness * root mean square of |x|), and where an average
    direction has less curvature h than alpha, weights are h / (h + alpha) of that. Where rows are
    of a ``size`` below 1, their weights have to be 1 / size times as large, and h is size^2 times
    as large; the intercept, a feature of 1, takes the rate of a size of 1.
    """
    length = ADAPTIVE / (curvature.smoothness * math.sqrt(curvature.mean_square)) / size
    with np.errstate(over="ignore", invalid="ignore"):
        curved = curvature.average * size * size * np.asarray(weight)
        part = np.where(alpha > 0.0, curved / (curved + alpha), 1.0)
    return np.maximum(length * np.nan_to_num(part, nan=1.0), SMALLEST)


def row_size(data: Data) -> float:
    """The size of rows without their intercept, from 1e-9 to 1: sqrt(mean |x|^4 / mean |x|^2).

    1 where it is larger, or all rows are 0. Longer rows count more, and rows of 0 do not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _squares(data)[0]
        largest = float(squares.max())
        if not 0.0 < largest < math.inf:
            return 1.0
        parts = squares / largest
        square = largest * float(np.square(parts).sum() / parts.sum())
    return min(1.0, max(math.sqrt(square), MIN_ROW_SIZE))


def initial_fraction(
    curvature: Curvature, data: Data, settings: Settings, eta0: float, alpha: Any
) -> Any:
    """Part of the stable rate ``eta0`` with which runs begin whose end is known; 1 for others.

    One for each of the L2 penalties ``alpha``.
    """
    if not settings.schedule.ends:
        return np.ones(np.shape(alpha))
    updates = settings.schedule.horizon * math.ceil(data.epoch_rows / curvature.batch)
    if data.stream is not None:  # the mean of S models has an S-th of their noise
        updates = max(1.0, updates / data.stream.shards)
    with np.errstate(over="ignore", invalid="ignore"):
        progress = (
            eta0 * (curvature.average * curvature.effective_rank + np.asarray(alpha)) * updates
        )
    root = math.sqrt(min(1.0, LONG_RUN_UPDATES / updates))
    least = root ** math.sqrt(curvature.effective_rank)
    return np.clip((MIN_PROGRESS / np.maximum(progress, 1e-300)) ** 0.75, least, 1.0)


def safe_rate(data: Data, lanes: Lanes, settings: Settings) -> float:
    """1 / L of the lane with the largest weights: see :func:`auto_rate`."""
    curvature = curvature_of(data, settings).batch_curvature
    weight = float(typical_weight(data, lanes, settings).max())
    return (1.0 - settings.momentum) / (curvature * max(weight, 1e-300) + float(lanes.alpha.max()))


def curvature_of(data: Data, settings: Settings) -> Curvature:
    """The curvature of a sample of rows."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares, X = _squares(data)
        long = X is None
        rank_fraction = 1.0 if long else _effective_rank(X, squares, data)
        squares += 1.0
        mean_square = largest = float(squares.sum()) / len(squares)
        noise = mean_square
        if not _bounded(settings.loss, settings.loss_parameter):
            noise = float((squares * (squares / mean_square)).mean())  # E |x|^4 / E |x|^2
    if not math.isfinite(noise):
        raise ValueError(
            f"X has rows whose |x|^2 or |x|^4 is not finite: mean {mean_square}. Floating-point "
            "under-/overflow occurred at epoch #0, before the first update. Scaling input data "
            "with StandardScaler or MinMaxScaler might help."
        )
    m = min(settings.batch_size, data.epoch_rows)
    if m > 1 and not long:
        vector = np.full(data.d + 1, 1.0 / math.sqrt(data.d + 1), dtype=X.dtype)  # no cast of X
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(10):  # power iteration on [X 1]'[X 1] / n
                scores = X @ vector[:-1] + vector[-1]
                image = np.append(X.T @ scores, scores.sum()) / X.shape[0]
                size = float(np.abs(image).max())  # its square may overflow
                largest = size * float(np.linalg.norm(image / size))
                vector = image / largest
        # Power iteration approaches from below; mean_square is a bound, also where it overflows.
        largest = 1.1 * largest if 1.1 * largest < mean_square else mean_square
    noise_weight = min(1.0, data.epoch_rows / (m * FULL_NOISE_UPDATES))
    smoothness = _smoothness(data, settings)
    size = _mean_batch(data.epoch_rows, m)
    return Curvature(
        smoothness, noise, mean_square, largest, noise_weight, size, data.d + 1, rank_fraction
    )


def _squares(data: Data) -> tuple[NDArray[np.float64], Any]:
    """|x|^2 of a sample of rows, and these rows, or None where they are long."""
    if has_long_rows(data):
        rows = np.arange(data.n)[sample_rows(data)]
        return np.array([row_square(data.X, row) for row in rows]), None
    X: Any = data.rows(sample_rows(data), data.dtype)
    if not data.sparse:
        return np.einsum("ij,ij->i", X, X).astype(np.float64), X
    X = without_duplicates(X)
    squared = np.square(X.data, dtype=np.float64), X.indices, X.indptr
    return np.asarray(type(X)(squared, shape=X.shape).sum(axis=1)).ravel(), X


def square_of_row(data: Data) -> float:
    """|x|^2 of data of one row; NaN if :func:`curvature_of` has to look more closely."""
    X = data.X
    if data.scale is not None or data.sample_weight is not None or has_long_rows(data):
        return math.nan
    if not data.sparse:
        return float(np.einsum("ij,ij->i", X, X)[0])
    if not rise(X.indices):  # or duplicates
        return math.nan
    with np.errstate(over="ignore"):
        values = np.square(X.data, dtype=np.float64)
        return float(np.add.reduceat(values, [0])[0]) if len(values) else 0.0


def rate_of_row(square: float, data: Data, settings: Settings) -> float:
    """The ``stable_rate`` of data of one row of such a |x|^2, to the bit, in less time."""
    square += 1.0
    noise_weight = min(1.0, data.epoch_rows / FULL_NOISE_UPDATES)
    sizes = square, square, square, noise_weight, 1.0
    return stable_rate(Curvature(_smoothness(data, settings), *sizes, data.d + 1, 1.0), settings)[0]


def _mean_batch(n: int, m: int) -> float:
    """Harmonic mean of the batch sizes of an epoch, whose last batch may be a short one.

    The noise of a batch of m rows is proportional to 1 / m, so the mean of 1 / m is what the
    batches of an epoch meet on average: a last batch of 2 rows after six of 714 has as much noise
    as all the others together.
    """
    whole, short = divmod(n, m)
    return (whole + (short > 0)) / (whole / m + (1.0 / short if short else 0.0))


def _effective_rank(X: Any, squares: NDArray[np.float64], data: Data) -> float:
    """From products of different rows: their mean square is the sum of squared eigenvalues."""
    if len(squares) < 2:
        return 1.0
    step = max(1, len(squares) // GRAM_ROWS)
    few = X[np.arange(0, len(squares), step)[:GRAM_ROWS]]
    scale = math.sqrt(float(squares.max())) or 1.0  # a square of products may overflow
    gram = few @ (few.T / scale)
    gram = np.asarray(gram.toarray() if data.sparse else gram, dtype=np.float64) / scale
    np.fill_diagonal(gram, 0.0)
    m = len(gram)
    total, second = (squares / scale / scale).mean(), np.square(gram).sum() / (m * (m - 1))
    if not (math.isfinite(total) and 0.0 < second < math.inf):
        return 1.0
    return float(min(1.0, total**2 / second / min(data.d, MAX_RANK)))
