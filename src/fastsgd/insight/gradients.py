"""The noise of stochastic gradients at given weights: g = grad L + xi.

A batch B of m of the n rows has the gradient

    g_B = (1/m) sum_{i in B} c_i (x_i, 1)  +  alpha (w, 0),        E g_B = grad L

with c_i the slope of the loss, weight included. Its noise xi = g_B - grad L has the covariance

    Sigma / m * (n - m) / (n - 1)      drawn without replacement,        Sigma / m      with it

where Sigma = (1/n) sum_i (g_i - grad L)(g_i - grad L)' is that of single rows. The penalty has no
part in it. For a linear model a gradient is a number times x_i, so that all of this takes one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.stats
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..estimators.base import BaseSGD
from ..problem import blocks
from .checks import check_count
from .problem import EstimatorProblem, problem_of

__all__ = ["GradientNoise", "gradient_noise"]

Float = NDArray[np.float64]

TOO_LARGE = (
    "X, y or the weights of the estimator are so large that the squares of gradients are not "
    "finite. Scale them."
)

GROUPS = 20
"""Parts of a sample, each left out in turn, by which standard errors are found."""

LEVEL = 0.95
"""Of the intervals that ``interval`` gives."""


@dataclass(frozen=True)
class GradientNoise:
    """Gradient and noise of K lanes at given weights; see the head of this module.

    With a sample of rows the numbers are estimates, of all n rows.

    Attributes
    ----------
    gradient : ndarray of shape (K, d)
        grad L in the weights: mean over the rows, and the L2 penalty.
    gradient_intercept : ndarray of shape (K,)
        The same in the intercept; 0 if it is not learnt.
    variance : ndarray of shape (K, d)
        Diagonal of Sigma.
    variance_intercept : ndarray of shape (K,)
    trace : ndarray of shape (K,)
        tr Sigma = E |g_i - grad L|^2.
    squared_norm : ndarray of shape (K,)
        |grad L|^2; unbiased of a sample, and then perhaps below 0.
    n : int
        Rows of positive weight.
    rows : int
        Rows that were looked at: n, or the sample's.
    errors : dict of str to ndarray of shape (K,)
        Standard errors of "trace" and "squared_norm"; 0 where all rows were looked at. By leaving
        out each of 20 parts of the sample in turn (Quenouille's jackknife).
    """

    gradient: Float
    gradient_intercept: Float
    variance: Float
    variance_intercept: Float
    trace: Float
    squared_norm: Float
    n: int
    rows: int
    errors: dict[str, Float]

    @property
    def noise_scale(self) -> Float:
        """tr Sigma / |grad L|^2, shape (K,): the batch size at which noise and drift are equal.

        The simple noise scale of McCandlish, Kaplan & Amodei (2018), eq. 2.9. Infinite where the
        gradient is 0, or is lost in the noise of a sample.
        """
        return _ratio(self.trace, self.squared_norm)

    @property
    def suggested_batch_size(self) -> int:
        """The power of 2 next to a tenth of the noise scale of all lanes together, from 1 to n.

        A batch of m rows takes 1 + m / B times the rows, and 1 + B / m times the steps, of the
        least that reach a given loss (McCandlish et al. 2018, eq. 2.11), B being the noise scale.
        """
        scale = self._joint_scale()
        if not np.isfinite(scale):
            return self.n
        return int(min(self.n, 2 ** max(0, round(np.log2(max(scale / 10.0, 1.0))))))

    def _joint_scale(self) -> float:
        return float(_ratio(self.trace.sum(), np.asarray(self.squared_norm.sum())))

    def explain(self) -> str:
        """The suggestion, and why, in words."""
        scale, m = self._joint_scale(), self.suggested_batch_size
        if not np.isfinite(scale):
            return (
                f"The gradient is lost in the noise of {self.rows:,} rows: the model is at its "
                "minimum as far as they can tell. A falling rate or an average helps, a batch size "
                "does not."
            )
        rows = 100.0 * m / scale if scale > 0.0 else 0.0
        steps = scale / m
        return (
            f"The noise scale is {scale:,.0f} rows: a batch of so many has as much noise as drift. "
            f"Batches of {m:,} rows need {rows:.0f} % more rows than single samples, and "
            f"{1.0 + steps:.3g} times the steps of the full batch. Larger ones pay only where a "
            "step costs the same whatever its size. The noise scale grows as the minimum comes "
            "near: a batch that is right now is small later."
        )

    def interval(self, name: str) -> tuple[Float, Float]:
        """A 95 % interval of "trace", "squared_norm" or "noise_scale": two arrays (K,).

        That of the noise scale is of the ratio's two ends, since a gradient that is small beside
        the sample's noise may be any smaller: its upper end is then infinite.
        """
        if name == "noise_scale":
            (low, high), (least, most) = map(self.interval, ("trace", "squared_norm"))
            return _ratio(low, most), _ratio(high, least)
        middle, width = getattr(self, name), self.errors[name]
        width = width * scipy.stats.t.ppf(0.5 + LEVEL / 2.0, GROUPS - 1)
        return middle - width, middle + width

    def part(self, batch_size: int, *, replacement: bool = False) -> float:
        """What is left of Sigma in the covariance of a batch: (n - m) / (n - 1) / m, or 1 / m."""
        m = check_count("batch_size", batch_size)
        if replacement or self.n == 1:
            return 1.0 / m if replacement else 0.0
        return max(0, self.n - m) / (self.n - 1) / m

    def batch_trace(self, batch_size: int, *, replacement: bool = False) -> Float:
        """E |xi|^2 of batches of m rows, shape (K,)."""
        return self.trace * self.part(batch_size, replacement=replacement)

    def signal_to_noise(self, batch_size: int, *, replacement: bool = False) -> Float:
        """|grad L| / sqrt(E |xi|^2) of batches of m rows, shape (K,)."""
        noise = self.batch_trace(batch_size, replacement=replacement)
        return np.sqrt(_ratio(np.maximum(0.0, self.squared_norm), noise))

    def coordinate_signal_to_noise(
        self, batch_size: int, *, replacement: bool = False
    ) -> tuple[Float, Float]:
        """|grad_j L| over the standard deviation of xi_j, shape (K, d), and of the intercept."""
        by = self.part(batch_size, replacement=replacement)
        pairs = (self.gradient, self.variance), (self.gradient_intercept, self.variance_intercept)
        first, second = (_ratio(np.abs(g), np.sqrt(v * by)) for g, v in pairs)
        return first, second

    def cosine(self, batch_size: int, *, replacement: bool = False) -> Float:
        """E <g_B, grad L> / (|grad L| sqrt(E |g_B|^2)) of batches of m rows, shape (K,).

        About the mean cosine between a batch's gradient and the full one: |grad L| over the root
        mean square of |g_B|.
        """
        signal = np.maximum(0.0, self.squared_norm)
        both = signal + self.batch_trace(batch_size, replacement=replacement)
        return np.sqrt(np.divide(signal, both, out=np.zeros_like(both), where=both > 0.0))

    def norm_test(
        self, batch_size: int, *, theta: float = 1.0, replacement: bool = False
    ) -> NDArray[np.bool_]:
        """Whether E |xi|^2 <= theta^2 |grad L|^2 for batches of m rows, shape (K,).

        The norm test of Byrd, Chin, Nocedal & Wu (2012): where it holds a batch's gradient is a
        direction of descent more often than not, where it fails a larger batch pays.
        """
        noise = self.batch_trace(batch_size, replacement=replacement)
        return noise <= theta**2 * self.squared_norm


def gradient_noise(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    sample: int | None = None,
    random_state: Any = None,
) -> GradientNoise:
    """Gradient and noise of a fitted estimator's objective at its weights, on rows X, y.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        Fitted; it is not touched.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : array-like of shape (n_samples,), optional
    sample : int or None, default=None
        Look at so many rows, drawn without replacement, and estimate; None: at all of them. At
        least 40.
    random_state : int, RandomState instance or None, default=None
        Of the sample.

    Returns
    -------
    GradientNoise

    Raises
    ------
    NotFittedError, ValueError

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import gradient_noise
    >>> X, y = np.array([[1.0], [1.0]]), np.array([0.0, 2.0])
    >>> model = SGDRegressor(alpha=0.0, fit_intercept=False, tol=None, max_iter=1, eta0=1e-9)
    >>> noise = gradient_noise(model.fit(X, y), X, y)  # gradients of the rows: 0 and -2
    >>> noise.gradient.round(3), noise.trace.round(3)
    (array([[-1.]]), array([1.]))
    """
    problem = problem_of(estimator, X, y, sample_weight)
    n = problem.data.n
    if sample is None or check_count("sample", sample) >= n:
        return exact_noise(problem)
    size = check_count("sample", sample, 2 * GROUPS)
    rows = check_random_state(random_state).choice(n, size, replace=False)
    return _sampled(problem, rows)


# ------------------------------------------------------------------ sums over rows


@dataclass(frozen=True)
class _Sums:
    """Sums over rows of g_i = c_i x_i (K, d), of its squares, and of the intercept's (K,)."""

    m: int
    first: Float
    second: Float
    first_b: Float
    second_b: Float

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(*(a - b for a, b in zip(_values(self), _values(other), strict=True)))

    def moments(self) -> tuple[Float, Float, Float, Float]:
        """Means and variances of the rows' gradients: (K, d) each, and (K,) of the intercept."""
        mean, mean_b = self.first / self.m, self.first_b / self.m
        variance = np.maximum(0.0, self.second / self.m - mean**2)
        return mean, variance, mean_b, np.maximum(0.0, self.second_b / self.m - mean_b**2)


def _values(sums: _Sums) -> tuple[Any, ...]:
    return sums.m, sums.first, sums.second, sums.first_b, sums.second_b


def _parts(problem: EstimatorProblem, rows: NDArray[np.int64] | None) -> Iterator[Any]:
    """Rows in blocks that stay in the cache: slices, or row numbers."""
    if rows is None:
        yield from blocks(problem.data.X)
        return
    a_row = problem.data.X.nnz / problem.data.n if problem.data.sparse else problem.data.d
    size = max(1, int((1 << 18) / max(1.0, a_row)))
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _features(problem: EstimatorProblem, part: Any) -> Any:
    """Features of a block of rows; of CSR without a copy, where it is a slice."""
    X = problem.data.X
    if not (problem.data.sparse and isinstance(part, slice)):
        return problem.data.rows(part, problem.data.dtype)
    start, stop, _ = part.indices(problem.data.n)
    first, last = X.indptr[start], X.indptr[stop]
    arrays = X.data[first:last], X.indices[first:last], X.indptr[start : stop + 1] - first
    return type(X)(arrays, shape=(stop - start, X.shape[1]))


def _sums(problem: EstimatorProblem, rows: NDArray[np.int64] | None = None) -> _Sums:
    """Over all rows, or those of the numbers given.

    Products are of the dtype of the features, block by block, unless they overflow there; their
    sums are in float64.

    Raises
    ------
    ValueError
        If they overflow in float64.
    """
    for dtype in dict.fromkeys((problem.data.dtype, np.dtype(np.float64))):
        with np.errstate(over="ignore", invalid="ignore"):
            total = _sums_in(problem, rows, dtype)
            if all(np.isfinite(moment).all() for moment in total.moments()):
                return total
    raise ValueError(TOO_LARGE)


def _sums_in(
    problem: EstimatorProblem, rows: NDArray[np.int64] | None, dtype: np.dtype[Any]
) -> _Sums:
    """The same, with products in a dtype."""
    k, d = problem.coef.shape
    total = _Sums(0, np.zeros((k, d)), np.zeros((k, d)), np.zeros(k), np.zeros(k))
    learns = float(problem.settings.fit_intercept)
    coef = problem.coef.T.astype(dtype)
    for part in _parts(problem, rows):
        X = _features(problem, part).astype(dtype, copy=False)
        c = problem.slopes(part, np.asarray(X @ coef, dtype=np.float64) + problem.intercept)
        low = c.astype(dtype)
        if sp.issparse(X):
            squares = type(X)((X.data * X.data, X.indices, X.indptr), shape=X.shape)
        else:
            squares = X * X
        first, second = np.asarray(X.T @ low).T, np.asarray(squares.T @ (low * low)).T
        sums_b = learns * c.sum(axis=0), learns * (c**2).sum(axis=0)
        total = total + _Sums(len(c), first, second, *sums_b)
    return total


def _of(problem: EstimatorProblem, sums: _Sums, n: int) -> GradientNoise:
    """What sums over m of the n rows say: unbiased where m < n.

    Raises
    ------
    ValueError
        If a square of the gradient overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = _moments_of(problem, sums, n)
        if not np.isfinite(found.trace + found.squared_norm).all():
            raise ValueError(TOO_LARGE)
    return found


def _moments_of(problem: EstimatorProblem, sums: _Sums, n: int) -> GradientNoise:
    """The same, which may not be finite."""
    mean, variance, mean_b, variance_b = sums.moments()
    m = sums.m
    if 1 < m < n:  # Sigma is over n: variances of a sample without replacement
        unbias = m / (m - 1) * ((n - 1) / n)
        variance, variance_b = variance * unbias, variance_b * unbias
    penalty, pull = problem.smooth_penalty()
    gradient, gradient_b = mean + penalty, mean_b + pull * problem.settings.fit_intercept
    trace = variance.sum(axis=1) + variance_b
    squared = np.square(gradient).sum(axis=1) + gradient_b**2
    if m < n:
        squared = squared - trace * ((n - m) / (n - 1) / m)
    zero = np.zeros_like(trace)
    errors = {"trace": zero, "squared_norm": zero}
    parts = gradient, gradient_b, variance, variance_b
    return GradientNoise(*parts, trace, squared, n, m, errors)


def exact_noise(problem: EstimatorProblem) -> GradientNoise:
    return _of(problem, _sums(problem), problem.data.n)


def _sampled(problem: EstimatorProblem, rows: NDArray[np.int64]) -> GradientNoise:
    """Estimates, and their standard errors by the jackknife over groups of rows."""
    groups = [_sums(problem, part) for part in np.array_split(rows, GROUPS)]
    total = groups[0]
    for group in groups[1:]:
        total = total + group
    whole = _of(problem, total, problem.data.n)
    without = [_of(problem, total - group, problem.data.n) for group in groups]
    correction = np.sqrt(1.0 - len(rows) / problem.data.n)  # of a finite population
    errors = {}
    for name in whole.errors:
        values = np.array([getattr(one, name) for one in without])
        spread = np.square(values - values.mean(axis=0)).sum(axis=0)
        errors[name] = correction * np.sqrt(spread * (GROUPS - 1) / GROUPS)
    return replace(whole, errors=errors)


def _ratio(a: Float, b: Float) -> Float:
    """a / b, infinite where b is not positive."""
    return np.divide(a, b, out=np.full(np.shape(a), np.inf), where=b > 0.0)
