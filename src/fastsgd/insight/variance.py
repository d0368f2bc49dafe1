"""Noise against batch size: batches drawn from the data, beside the two laws for their variance.

With Sigma the covariance of single rows' gradients, a batch of m of n rows has the variance
tr Sigma / m if its rows are drawn with replacement, and that times (n - m) / (n - 1) without.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..estimators.network_fitting import BaseMLP
from ..inputs.conversions import MatrixLike
from .checks import Estimator, check_count, check_estimator, check_sequence
from .gradients import GradientNoise, exact_noise
from .network_noise import NetworkNoise, network_noise
from .network_problem import NetworkProblem, network_problem_of
from .problem import EstimatorProblem, problem_of
from .sources import takes_sources

__all__ = ["BatchVariance", "batch_variance"]

Float = NDArray[np.float64]

PASSES = 2.0
"""Rows that are drawn for each batch size, in passes over the data."""

LEAST_BATCHES, MOST_BATCHES = 20, 400
"""Least and most batches that are drawn of each size."""


@dataclass(frozen=True)
class BatchVariance:
    """Variance E |g_B - grad L|^2 of batch gradients against batch size, over all parameters.

    Attributes
    ----------
    batch_sizes : ndarray of shape (s,), int64
        Rows of a batch, in increasing order.
    measured : ndarray of shape (s,)
        Mean of |g_B - grad L|^2 over batches drawn without replacement.
    standard_error : ndarray of shape (s,)
        Standard errors of these means.
    law : ndarray of shape (s,)
        tr Sigma / m, the variance of batches drawn with replacement.
    finite_law : ndarray of shape (s,)
        tr Sigma / m * (n - m) / (n - 1), the variance of batches drawn without replacement.
    noise : GradientNoise or NetworkNoise
        Gradient and covariance from which the laws were worked out.
    sample : str
        Of a source whose rows do not fit into memory, which of them were used; else "".

    See Also
    --------
    batch_variance : Measures one.
    BatchVarianceDisplay : Draws one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import batch_variance
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.5, 2.5, 5.5, 6.5]
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0).fit(X, y)
    >>> variance = batch_variance(model, X, y, random_state=0)
    >>> (variance.finite_law / variance.law).round(3)
    array([1.   , 0.667, 0.   ])
    """

    batch_sizes: NDArray[np.int64]
    measured: Float
    standard_error: Float
    law: Float
    finite_law: Float
    noise: GradientNoise | NetworkNoise
    sample: str = ""


@takes_sources
def batch_variance(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    batch_sizes: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> BatchVariance:
    """Measure the variance of batch gradients at the weights of a fitted estimator.

    Batches of each size are drawn without replacement: about two passes over the rows, but at least
    20 and at most 400 batches.

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
    batch_sizes : array-like of int, optional
        From 1 to the number of rows; by default powers of 2, and all rows.
    random_state : int, RandomState instance or None, default=None
        Determines which batches are drawn.

    Returns
    -------
    BatchVariance
        Measured variances and the laws.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If an argument is not valid; the message names it.

    References
    ----------
    .. [1] W. G. Cochran. "Sampling Techniques", 3rd edition, 1977, theorem 2.2, for the variance of
       the mean of a sample without replacement.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import batch_variance
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.5, 2.5, 5.5, 6.5]
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0).fit(X, y)
    >>> variance = batch_variance(model, X, y, batch_sizes=[1, 2], random_state=0)
    >>> bool((abs(variance.measured - variance.finite_law) < 5 * variance.standard_error).all())
    True
    """
    check_estimator(estimator)
    is_network = isinstance(estimator, BaseMLP)
    problem: Any = (network_problem_of if is_network else problem_of)(
        estimator,  # type: ignore[arg-type]
        X,
        y,
        sample_weight,
    )
    n = problem.data.n
    chosen = [*(2 ** np.arange(n.bit_length())), n]
    if batch_sizes is not None:
        chosen = [
            check_count("batch_sizes", m) for m in check_sequence("batch_sizes", batch_sizes, Real)
        ]
    if max(chosen) > n:
        raise ValueError(f"batch_sizes must be integers from 1 to {n} rows, got {batch_sizes!r}")
    sizes = np.unique(np.array(chosen, dtype=np.int64))
    batches: Any = (_NetworkBatches if is_network else _LinearBatches)(problem)
    noise, random = batches.noise, check_random_state(random_state)
    means, errors = np.transpose([_measure(batches, n, m, random) for m in sizes])
    finite_law = np.array([noise.batch_trace(m).sum() for m in sizes])
    return BatchVariance(sizes, means, errors, noise.trace.sum() / sizes, finite_law, noise)


class _Batches(Protocol):
    """Gradients of batches of a problem, and the noise of all its rows."""

    noise: GradientNoise | NetworkNoise

    def square(self, rows: NDArray[np.int64]) -> float:
        """|g_B - grad L|^2 of a batch of rows."""


class _LinearBatches:
    """Those of a linear model, whose slopes are worked out once."""

    def __init__(self, problem: EstimatorProblem) -> None:
        self.problem, self.noise = problem, exact_noise(problem)
        z = np.asarray(problem.data.rows(slice(None)) @ problem.coef.T) + problem.intercept
        self.slopes, self.penalty = problem.slopes(slice(None), z), problem.smooth_penalty()

    def square(self, rows: NDArray[np.int64]) -> float:
        problem, c, penalty = self.problem, self.slopes[rows], self.penalty
        mean = np.asarray(problem.data.rows(rows).T @ c).T / len(rows)
        error = mean + penalty[0] - self.noise.gradient
        learns = problem.settings.fit_intercept
        error_b = learns * (c.mean(axis=0) + penalty[1]) - self.noise.gradient_intercept
        return float(np.square(error).sum() + np.square(error_b).sum())


class _NetworkBatches:
    """Those of a network, each back-propagated."""

    def __init__(self, problem: NetworkProblem) -> None:
        self.problem, self.run = problem, problem.run()
        network = problem.network
        self.noise = network_noise(problem.data, network, problem.descent, problem.theta)
        theta = network.views(problem.theta)
        self.of_losses = [
            (gradient - problem.penalty * coef, intercepts)
            for gradient, intercepts, (coef, _) in zip(
                self.noise.coef_gradients, self.noise.intercept_gradients, theta, strict=True
            )
        ]
        self.unit = network.unit(problem.data.dtype)

    def square(self, rows: NDArray[np.int64]) -> float:
        sums = self.problem.network.views(self.run.gradients(rows)[0], self.unit)
        by = 1.0 / (len(rows) * self.problem.mean_weight)
        return float(
            sum(
                np.square(by * total.astype(np.float64) - mean).sum()
                for parts, means in zip(sums, self.of_losses, strict=True)
                for total, mean in zip(parts, means, strict=True)
            )
        )


def _measure(batches: _Batches, n: int, m: int, random: Any) -> tuple[float, float]:
    """Mean of |g_B - grad L|^2 over batches of m of n rows, and its standard error."""
    count = int(np.clip(PASSES * n / m, LEAST_BATCHES, MOST_BATCHES))
    squares = np.array([batches.square(random.choice(n, m, replace=False)) for _ in range(count)])
    return float(squares.mean()), float(squares.std(ddof=1) / np.sqrt(count))
