"""The noise of stochastic gradients at given weights: g = grad L + xi.

A batch B of m of the n rows has the gradient

    g_B = (1/m) sum_{i in B} c_i (x_i, 1)  +  alpha (w, 0),        E g_B = grad L

where c_i is the slope of the loss of row i in its score, times the weight of the row. The noise
xi = g_B - grad L has the covariance

    Sigma / m                          if the batch is drawn with replacement,
    Sigma / m * (n - m) / (n - 1)      if it is drawn without,

with Sigma = (1/n) sum_i (g_i - grad L)(g_i - grad L)' the covariance of single rows' gradients. The
penalty, which is the same for all rows, does not change it. In a linear model the gradient of a row
is a number times x_i, so that one pass over X is enough for all of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..estimators.base import BaseSGD
from ..estimators.network_fitting import BaseMLP
from ..inputs.conversions import MatrixLike
from .checks import Estimator, check_count, check_estimator
from .network_noise import NetworkNoise, network_noise
from .network_problem import network_problem_of
from .noise_laws import GROUPS, NoiseLaws, ratio, sampled_noise
from .problem import EstimatorProblem, problem_of
from .row_sums import TOO_LARGE, RowSums, row_sums
from .sources import takes_sources

__all__ = [
    "GROUPS",
    "GradientNoise",
    "exact_noise",
    "gradient_noise",
    "noise_from_sums",
    "noise_of",
]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class GradientNoise(NoiseLaws):
    """Gradient of an objective and covariance Sigma of its noise, for each of K lanes.

    The gradient g_B of a batch B of m rows is grad L + xi. The noise xi has the mean 0 and, if the
    rows are drawn with replacement, the covariance Sigma / m. Without replacement the covariance is
    smaller by the factor (n - m) / (n - 1). From a sample of the rows all numbers are estimates for
    all n rows.

    Attributes
    ----------
    gradient : ndarray of shape (K, d)
        grad L in the weights: the mean over the rows, plus the gradient of the L2 penalty.
    gradient_intercept : ndarray of shape (K,)
        grad L in the intercept; 0 if it is not learnt.
    variance : ndarray of shape (K, d)
        Diagonal of Sigma: the variance of single rows' gradients in each weight.
    variance_intercept : ndarray of shape (K,)
        Variance of single rows' gradients in the intercept.
    trace : ndarray of shape (K,)
        tr Sigma = E |g_i - grad L|^2, over weights and intercept.
    squared_norm : ndarray of shape (K,)
        |grad L|^2. The estimate from a sample is unbiased, and may therefore be negative.
    n : int
        Rows of positive weight.
    rows : int
        Rows that were used: n, or those of the sample.
    errors : dict of str to ndarray of shape (K,)
        Standard errors of "trace" and "squared_norm", by the jackknife over 20 parts of the sample;
        0 if all rows were used.
    sample : str
        Of a source whose rows do not fit into memory, which of them were used; else "".

    See Also
    --------
    gradient_noise : Measures one.
    row_gradient_noise : The same of a user's own model, of one lane without an intercept.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import gradient_noise
    >>> X, y = np.array([[1.0], [1.0]]), np.array([0.0, 2.0])
    >>> model = SGDRegressor(alpha=0.0, fit_intercept=False, tol=None, max_iter=1, eta0=1e-9)
    >>> noise = gradient_noise(model.fit(X, y), X, y)  # the rows' gradients are 0 and -2
    >>> noise.batch_trace(1).round(3), noise.batch_trace(2).round(3)
    (array([1.]), array([0.]))
    >>> noise.noise_scale.round(3)
    array([1.])
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
    sample: str = ""

    def coordinate_signal_to_noise(
        self, batch_size: int, *, replacement: bool = False
    ) -> tuple[Float, Float]:
        """Compute |grad_j L| over the standard deviation of xi_j, for each coordinate j.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        replacement : bool, default=False
            Whether they are drawn with replacement.

        Returns
        -------
        coef : ndarray of shape (K, d)
            Ratios of the weights; infinite where there is no noise.
        intercept : ndarray of shape (K,)
            Ratios of the intercepts.

        Raises
        ------
        ValueError
            If ``batch_size`` is not a positive integer.
        """
        factor = self.covariance_factor(batch_size, replacement=replacement)
        coef = ratio(np.abs(self.gradient), np.sqrt(self.variance * factor))
        deviation = np.sqrt(self.variance_intercept * factor)
        return coef, ratio(np.abs(self.gradient_intercept), deviation)


@overload
def gradient_noise(
    estimator: BaseSGD,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    sample: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> GradientNoise: ...
@overload
def gradient_noise(
    estimator: BaseMLP,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    sample: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> NetworkNoise: ...
@takes_sources
def gradient_noise(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    sample: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> GradientNoise | NetworkNoise:
    """Measure gradient and noise of the objective of a fitted estimator at its weights.

    Of a network both are measured for each layer, and the variance of single weights is not.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
        Fitted; it is not changed.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
        Rows whose gradients are taken. A source, such as
        :func:`fastsgd.data.open_source` opens it, has y and the weights too; if its rows do not fit
        into 512 MiB, an even sample of them is used.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Their targets; none for SGDOneClassSVM.
    sample_weight : array-like of shape (n_samples,), optional
        Their weights; rows of weight 0 are left out.
    sample : int or None, default=None
        Estimate from so many rows, at least 40, drawn without replacement; None takes all rows.
    random_state : int, RandomState instance or None, default=None
        Determines which rows are drawn.

    Returns
    -------
    GradientNoise or NetworkNoise
        Gradient, variance and what follows from them, exactly or as estimates.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If an argument is not valid, or the squares of gradients are not finite.

    References
    ----------
    .. [1] S. McCandlish, J. Kaplan, D. Amodei. "An Empirical Model of Large-Batch Training",
       arXiv:1812.06162, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import gradient_noise
    >>> X, y = np.array([[1.0], [1.0]]), np.array([0.0, 2.0])
    >>> model = SGDRegressor(alpha=0.0, fit_intercept=False, tol=None, max_iter=1, eta0=1e-9)
    >>> noise = gradient_noise(model.fit(X, y), X, y)  # the rows' gradients are 0 and -2
    >>> noise.gradient.round(3), noise.trace.round(3)
    (array([[-1.]]), array([1.]))
    """
    check_estimator(estimator)
    if isinstance(estimator, BaseMLP):
        network = network_problem_of(estimator, X, y, sample_weight)
        rows = _sampled_rows(network.data.n, sample, random_state)
        return network_noise(network.data, network.network, network.descent, network.theta, rows)
    problem = problem_of(estimator, X, y, sample_weight)
    n = problem.data.n
    rows = _sampled_rows(n, sample, random_state)
    if rows is None:
        return exact_noise(problem)
    return sampled_noise(
        lambda part: row_sums(problem, part),
        lambda sums: noise_from_sums(problem, sums, n),
        rows,
        n,
    )


def _sampled_rows(n: int, sample: int | None, random_state: Any) -> NDArray[np.int64] | None:
    """Numbers of the rows of a sample; None for all."""
    if sample is None or check_count("sample", sample) >= n:
        return None
    size = check_count("sample", sample, 2 * GROUPS)
    return check_random_state(random_state).choice(n, size, replace=False)


def noise_from_sums(problem: EstimatorProblem, sums: RowSums, n: int) -> GradientNoise:
    """Gradient and noise of n rows, from sums over all of them or unbiased from those of a sample.

    Raises
    ------
    ValueError
        If a square of the gradient overflows.
    """
    penalty, intercept_gradient = problem.smooth_penalty()
    return noise_of(sums, n, penalty, intercept_gradient * problem.settings.fit_intercept)


def noise_of(
    sums: RowSums, n: int, penalty: Float, penalty_b: Float, too_large: str = TOO_LARGE
) -> GradientNoise:
    """The same, from sums and gradients of a penalty (K, d) and (K,) alone.

    Raises
    ------
    ValueError
        ``too_large``, if a square of the gradient overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        noise = _unchecked_noise(sums, n, penalty, penalty_b)
        if not np.isfinite(noise.trace + noise.squared_norm).all():
            raise ValueError(too_large)
    return noise


def _unchecked_noise(sums: RowSums, n: int, penalty: Float, penalty_b: Float) -> GradientNoise:
    """The same, with numbers that may not be finite."""
    mean, variance, mean_b, variance_b = sums.moments()
    m = sums.m
    if 1 < m < n:  # Sigma is the covariance over n rows: of a sample without replacement
        unbias = m / (m - 1) * ((n - 1) / n)
        variance, variance_b = variance * unbias, variance_b * unbias
    gradient, gradient_b = mean + penalty, mean_b + penalty_b
    trace = variance.sum(axis=1) + variance_b
    squared = np.square(gradient).sum(axis=1) + gradient_b**2
    if m < n:
        squared = squared - trace * ((n - m) / (n - 1) / m)
    zero = np.zeros_like(trace)
    errors = {"trace": zero, "squared_norm": zero}
    return GradientNoise(gradient, gradient_b, variance, variance_b, trace, squared, n, m, errors)


def exact_noise(problem: EstimatorProblem) -> GradientNoise:
    """Gradient and noise from all rows."""
    return noise_from_sums(problem, row_sums(problem), problem.data.n)
