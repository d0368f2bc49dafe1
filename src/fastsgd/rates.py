"""What the data say of the learning rate: curvature, typical weights, scales of the features.

All is estimated on evenly spaced rows, at most 4,096 and about two million values, 130,000 of CSR,
so that it costs little beside an epoch.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reference
from ._core import row_square
from .losses import CompiledLoss, find
from .problem import Data, Lanes, Settings
from .stopping import EASING_UPDATES

__all__ = [
    "Curvature",
    "auto_rate",
    "begins",
    "bounded",
    "curvature_of",
    "feature_scales",
    "loss_at",
    "mean_weight",
    "overflows",
    "safe_rate",
    "stable_rate",
    "typical_weight",
]

SAMPLE_ROWS, SAMPLE_VALUES = 4096, 1 << 21
LONG_ROW = 1 << 17
"""Mean number of values of CSR rows above which they are long."""

SPARSE_PART = 16
"""How much fewer values are sampled of CSR, where a value costs more."""

PRODUCT_ROWS = 64
"""Rows whose products with each other are taken."""

EVEN = 100
"""Equal eigenvalues that are as good as any number of them."""

LONG_RUN = 50_000
"""Updates above which a rate that falls to 0 at a known end begins lower, as their root, but"""

WAY = 12.0
"""not so low that rate * curvature * updates falls below this in an average direction: of
(1 - x)^2 a third of it counts, and exp(-4) of the distance is left. It may grow as the fourth root
of what the stable rate would give, so that longer runs come nearer."""


def sample_rows(data: Data, values: int = SAMPLE_VALUES) -> slice | NDArray[np.int64]:
    """Evenly spaced rows of positive weight, with about so many values at most.

    A slice where that says it, since a dense table then need not be copied.
    """
    a_row = max(1, SPARSE_PART * data.X.nnz // data.n) if data.sparse else data.d
    most = min(SAMPLE_ROWS, max(64, values // a_row))
    if data.sample_weight is None:
        step = max(1, data.n // most)
        return slice(0, most * step, step)
    rows = np.flatnonzero(data.sample_weight)
    if len(rows) == 0:
        return np.arange(min(data.n, most))
    return rows[:: max(1, len(rows) // most)][:most]


def _has_long_rows(data: Data) -> bool:
    """Whether a few rows of CSR are more than SciPy and NumPy do in a moment, which nothing can
    interrupt: then rates are found from |x|^2 alone, as if rows had no direction in common but that
    of the largest curvature, the safe side."""
    return data.sparse and len(data.X.data) > LONG_ROW * data.n


def _without_duplicates(X: Any) -> Any:
    """CSR X, or a copy in which values of one place are added up."""
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


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
    often : float
        How often R^2 counts beyond once, in [0, 1].
    batch : float
        Rows of a batch: the harmonic mean, if the last batch of an epoch is a short one.
    features : int
        d + 1.
    evenness : float
        (sum of the eigenvalues of X'X / n)^2 / (sum of their squares), which is d where all are
        equal and 1 where one is all, as a part of d, or of 100 where d is more; in (0, 1].
    """

    smoothness: float
    noise: float
    mean_square: float
    largest: float
    often: float
    batch: float
    features: int
    evenness: float

    @property
    def met(self) -> float:
        """Curvature that a batch meets."""
        noise = (1.0 + self.often) * self.noise
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
    |x|^2 / d, times how even the curvature is (``Curvature.evenness``): where it is uneven most
    directions have less, and the distance in them is left when the noise is not.

    A rate that falls to 0 at a known end, after N updates, begins at sqrt(50,000 / N) of that where
    N is greater: what is then left of the noise falls as fast as what is left of the distance
    (Nemirovski et al. 2009 for 1 / sqrt(N)). But not where most of the distance would be left: see
    ``begins``, and docs/decisions.md for the constants.
    """
    curvature = curvature_of(data, settings)
    eta0, mu = stable_rate(curvature, settings)
    return eta0 * float(begins(curvature, data, settings, eta0, 0.0)), mu


def stable_rate(curvature: Curvature, settings: Settings) -> tuple[float, float]:
    """eta0 and mu of a curvature that is known, whatever the end of the run."""
    return (1.0 - settings.momentum) / curvature.met, (0.2 * curvature.average * curvature.evenness)


def begins(curvature: Curvature, data: Data, settings: Settings, eta0: float, alpha: Any) -> Any:
    """Part of the stable rate ``eta0`` with which runs begin whose end is known; 1 for others.

    One for each of the L2 penalties ``alpha``.
    """
    if not settings.schedule.ends:
        return np.ones(np.shape(alpha))
    updates = settings.schedule.horizon * math.ceil(data.n / curvature.batch)
    with np.errstate(over="ignore", invalid="ignore"):
        way = eta0 * (curvature.average * curvature.evenness + np.asarray(alpha)) * updates
    least = math.sqrt(min(1.0, LONG_RUN / updates))
    return np.clip((WAY / np.maximum(way, 1e-300)) ** 0.75, least, 1.0)


def safe_rate(data: Data, lanes: Lanes, settings: Settings) -> float:
    """1 / L of the lane with the largest weights: see :func:`auto_rate`."""
    curvature = curvature_of(data, settings).met
    weight = float(typical_weight(data, lanes, settings).max())
    return (1.0 - settings.momentum) / (curvature * max(weight, 1e-300) + float(lanes.alpha.max()))


def curvature_of(data: Data, settings: Settings) -> Curvature:
    """The curvature of a sample of rows."""
    long = _has_long_rows(data)
    X = None if long else data.rows(sample_rows(data), data.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        if long:
            rows = np.arange(data.n)[sample_rows(data)]
            squares = np.array([row_square(data.X, row) for row in rows])
        elif data.sparse:
            X = _without_duplicates(X)
            squared = np.square(X.data, dtype=np.float64), X.indices, X.indptr
            squares = np.asarray(type(X)(squared, shape=X.shape).sum(axis=1)).ravel()
        else:
            squares = np.einsum("ij,ij->i", X, X).astype(np.float64)
        even = 1.0 if long else _evenness(X, squares, data)
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
    m = min(settings.batch_size, data.n)
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
    often = min(1.0, data.n / (m * EASING_UPDATES))
    smoothness = _smoothness(data, settings)
    size = _mean_batch(data.n, m)
    return Curvature(smoothness, noise, mean_square, largest, often, size, data.d + 1, even)


def _mean_batch(n: int, m: int) -> float:
    """Harmonic mean of the batch sizes of an epoch, whose last batch may be a short one.

    The noise of a batch of m rows is proportional to 1 / m, so the mean of 1 / m is what the
    batches of an epoch meet on average: a last batch of 2 rows after six of 714 has as much noise
    as all the others together.
    """
    whole, short = divmod(n, m)
    return (whole + (short > 0)) / (whole / m + (1.0 / short if short else 0.0))


def _evenness(X: Any, squares: NDArray[np.float64], data: Data) -> float:
    """From products of different rows: their mean square is the sum of squared eigenvalues."""
    step = max(1, len(squares) // PRODUCT_ROWS)
    few = X[np.arange(0, len(squares), step)[:PRODUCT_ROWS]]
    if few.shape[0] < 2:
        return 1.0
    scale = math.sqrt(float(squares.max())) or 1.0  # a square of products may overflow
    gram = few @ (few.T / scale)
    gram = np.asarray(gram.toarray() if data.sparse else gram, dtype=np.float64) / scale
    np.fill_diagonal(gram, 0.0)
    m = len(gram)
    total, second = (squares / scale / scale).mean(), np.square(gram).sum() / (m * (m - 1))
    if not (math.isfinite(total) and 0.0 < second < math.inf):
        return 1.0
    return float(min(1.0, total**2 / second / min(data.d, EVEN)))


def typical_weight(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.float64]:
    """sum s_ik^2 / sum s_ik, shape (K,): the weight by which a lane's rows scale its gradients."""
    if _unweighted(data, lanes):
        return np.ones(lanes.k)
    unit = _units(data, lanes)
    first, second = (_weight_moment(data, lanes, settings, power, unit) for power in (1, 2))
    mean = np.divide(second, first, out=np.zeros(lanes.k), where=first > 0.0) * math.prod(unit)
    return np.where(mean > 0.0, mean, 1.0)


def mean_weight(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.float64]:
    """Mean of s_ik over the rows of positive weight, shape (K,): what a unit of loss weighs."""
    if _unweighted(data, lanes):
        return np.ones(lanes.k)
    unit = _units(data, lanes)
    total, count = (_weight_moment(data, lanes, settings, power, unit) for power in (1, 0))
    mean = np.divide(total, count, out=np.zeros(lanes.k), where=count > 0.0) * math.prod(unit)
    return np.where(count > 0.0, mean, 1.0)


def _unweighted(data: Data, lanes: Lanes) -> bool:
    return data.sample_weight is None and _unit_weights(lanes)


def _unit_weights(lanes: Lanes) -> bool:
    """Whether no lane has class weights."""
    others = lanes.weight_positive != 1.0, lanes.weight_negative != 1.0
    return not any(map(np.count_nonzero, others))


def power_of_two(value: float) -> float:
    """The power of two next below a positive number, 1 for 0: dividing by it is exact."""
    return math.ldexp(1.0, max(-1022, math.frexp(value)[1] - 1)) if value > 0.0 else 1.0


def _units(data: Data, lanes: Lanes) -> tuple[float, float]:
    """Sizes of the sample weights and of the class weights, whose squares may overflow."""
    largest = float(max(lanes.weight_positive.max(), lanes.weight_negative.max()))
    of_rows = 1.0 if data.sample_weight is None else float(data.sample_weight.max())
    return power_of_two(of_rows), power_of_two(largest)


def _weight_moment(
    data: Data, lanes: Lanes, settings: Settings, power: int, unit: tuple[float, float]
) -> NDArray[np.float64]:
    """Sum of (s_ik / unit)^power over the rows of positive weight, shape (K,).

    ``unit`` is that of the sample weights and that of the class weights.
    """

    def raised(weight: NDArray[Any], by: float) -> NDArray[np.float64]:
        return np.where(weight > 0.0, np.power(weight / by, power, dtype=np.float64), 0.0)

    weight = data.sample_weight
    powers = np.ones(data.n) if weight is None else raised(weight, unit[0])
    total = powers.sum()
    if _unit_weights(lanes) or not settings.sign_targets:
        return np.full(lanes.k, total)
    positive = _positive(powers, data, lanes)
    moment = raised(lanes.weight_positive, unit[1]) * positive
    if settings.terms.coupled:  # a row has its own class's weight in every lane
        return np.full(lanes.k, moment.sum())
    return moment + raised(lanes.weight_negative, unit[1]) * (total - positive)


def _positive(powers: NDArray[np.float64], data: Data, lanes: Lanes) -> NDArray[np.float64]:
    """Sum of ``powers`` (n,) over the positive rows of each lane, (K,)."""
    sums = np.zeros(lanes.k)
    for target in np.unique(lanes.target):
        which = np.flatnonzero(lanes.target == target)
        labels, of_lane = np.unique(lanes.label[which], return_inverse=True)
        column = data.y[:, target]
        found = np.minimum(np.searchsorted(labels, column), len(labels) - 1)
        of_label = np.bincount(found, powers * (labels[found] == column), minlength=len(labels))
        sums[which] = of_label[of_lane]
    return sums


def loss_at(
    data: Data, lanes: Lanes, settings: Settings, coef: Any, intercept: Any
) -> NDArray[np.float64]:
    """Mean loss of a sample of rows at weights (K, d) and (K,), without penalties; shape (K,)."""
    rows = sample_rows(data)
    y = reference.targets(data, lanes, settings, rows)
    s = reference.sample_weights(data, lanes, settings, y, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        z = _scores(data.rows(rows, data.dtype), coef) + intercept
        value = settings.terms.value(z, y, settings.loss_parameter)
        return (s * value).sum(axis=0) / np.maximum(1, (s > 0).sum(axis=0))


def _scores(X: Any, coef: Any) -> NDArray[np.float64]:
    """X coef' in float64; of very long rows a row at a time, so that Ctrl-C need not wait."""
    if not hasattr(X, "indptr") or X.nnz <= LONG_ROW * X.shape[0]:
        return np.asarray(X @ coef.T, dtype=np.float64)
    scores = [np.asarray(X[i : i + 1] @ coef.T, dtype=np.float64) for i in range(X.shape[0])]
    return np.concatenate(scores)


def overflows(data: Data, lanes: Lanes, settings: Settings, coef: Any, intercept: Any) -> bool:
    """Whether the loss of a sampled row is beyond the range of the dtype of computation.

    Never of a user's own loss, which may be no number for other reasons.
    """
    if isinstance(settings.loss, CompiledLoss):
        return False
    rows = sample_rows(data)
    y = reference.targets(data, lanes, settings, rows)
    s = reference.sample_weights(data, lanes, settings, y, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        z = _scores(data.rows(rows), np.asarray(coef)) + intercept
        value = settings.terms.value(z, y, settings.loss_parameter)
        largest = np.max([np.abs(z).max(), np.abs(value).max(), np.abs(s * value).max()])
        total = largest * data.n
    return not (largest <= float(np.finfo(data.dtype).max) and np.isfinite(total))


def feature_scales(data: Data, ratio: float = 0.0) -> NDArray[np.float64] | None:
    """Root mean square of each column's non-zero values over a sample of rows, shape (d,).

    Of the non-zero values, since a column that is rarely there is not a small one. None if no two
    scales can differ by more than ``ratio``, however many values are zero: counting those takes
    most of the time.
    """
    rows = sample_rows(data, SAMPLE_VALUES // 8)
    if _has_long_rows(data):
        rows = np.arange(data.n)[rows][: SAMPLE_VALUES * data.n // len(data.X.data)]
        if len(rows) == 0:
            return None
    X: Any = data.rows(rows, data.dtype)
    if data.sparse:
        X = _without_duplicates(X)
        squares = np.bincount(X.indices, np.square(X.data, dtype=np.float64), minlength=data.d)
    else:
        squares = np.einsum("ij,ij->j", X, X, dtype=np.float64)
    used = squares[squares > 0.0]
    if len(used) and X.shape[0] * used.max() <= ratio**2 * used.min():  # counts are at least 1
        return None
    if data.sparse:
        counts = np.bincount(X.indices[X.data != 0], minlength=data.d)
    else:
        counts = np.count_nonzero(X, axis=0)
    return np.sqrt(squares / np.maximum(1, counts))
