"""Noise against batch size: batches drawn from the data, beside the two laws that they follow."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..estimators.base import BaseSGD
from .checks import check_count, check_sequence
from .gradients import GradientNoise, exact_noise
from .problem import EstimatorProblem, problem_of

__all__ = ["BatchVariance", "batch_variance"]

Float = NDArray[np.float64]

PASSES = 2.0
"""Rows that are drawn at each batch size, in passes over the data."""

LEAST, MOST = 20, 400
"""Batches that are drawn at each size."""


@dataclass(frozen=True)
class BatchVariance:
    """E |g_B - grad L|^2 against batch size, summed over the lanes.

    Attributes
    ----------
    batch_sizes : ndarray of shape (s,), int64
    measured : ndarray of shape (s,)
        Mean of |g_B - grad L|^2 over batches drawn without replacement.
    standard_error : ndarray of shape (s,)
        Standard errors of these means.
    law : ndarray of shape (s,)
        tr Sigma / m, which holds for batches with replacement.
    finite_law : ndarray of shape (s,)
        tr Sigma / m * (n - m) / (n - 1), which holds for those without.
    noise : GradientNoise
        What the laws were made of.
    """

    batch_sizes: NDArray[np.int64]
    measured: Float
    standard_error: Float
    law: Float
    finite_law: Float
    noise: GradientNoise


def batch_variance(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    batch_sizes: ArrayLike | None = None,
    random_state: Any = None,
) -> BatchVariance:
    """Measure the noise of batches at a fitted estimator's weights, on rows X, y.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        Fitted; it is not touched.
    X, y, sample_weight
        As in :func:`gradient_noise`.
    batch_sizes : array-like of int, optional
        From 1 to the number of rows; None: powers of 2, and all rows.
    random_state : int, RandomState instance or None, default=None
        Of the batches.

    Returns
    -------
    BatchVariance

    Raises
    ------
    NotFittedError, ValueError
    """
    problem = problem_of(estimator, X, y, sample_weight)
    n = problem.data.n
    chosen = [*(2 ** np.arange(n.bit_length())), n]
    if batch_sizes is not None:
        chosen = [
            check_count("batch_sizes", m) for m in check_sequence("batch_sizes", batch_sizes, Real)
        ]
    if max(chosen) > n:
        raise ValueError(f"batch_sizes must be integers from 1 to {n} rows, got {batch_sizes!r}")
    sizes = np.unique(np.array(chosen, dtype=np.int64))
    noise, random = exact_noise(problem), check_random_state(random_state)
    z = np.asarray(problem.data.rows(slice(None)) @ problem.coef.T) + problem.intercept
    c = problem.slopes(slice(None), z)
    found = np.array([_measure(problem, c, noise, m, random) for m in sizes])
    trace = noise.trace.sum()
    finite = [noise.batch_trace(m).sum() for m in sizes]
    return BatchVariance(sizes, found[:, 0], found[:, 1], trace / sizes, np.array(finite), noise)


def _measure(
    problem: EstimatorProblem, c: Float, noise: GradientNoise, m: int, random: Any
) -> tuple[float, float]:
    """Mean of |g_B - grad L|^2 over batches of m rows, and its standard error."""
    n, penalty = problem.data.n, problem.smooth_penalty()
    count = int(np.clip(PASSES * n / m, LEAST, MOST))
    learns = problem.settings.fit_intercept
    squares = np.empty(count)
    for i in range(count):
        rows = random.choice(n, m, replace=False)
        mean = np.asarray(problem.data.rows(rows).T @ c[rows]).T / m
        off = mean + penalty[0] - noise.gradient
        off_b = learns * (c[rows].mean(axis=0) + penalty[1]) - noise.gradient_intercept
        squares[i] = np.square(off).sum() + np.square(off_b).sum()
    return float(squares.mean()), float(squares.std(ddof=1) / np.sqrt(count))
