"""A problem at given weights: slopes of its losses, and how large its gradient and the noise are.

L is the objective of n rows, grad L its gradient, g_B the gradient of a batch B, and Sigma the
covariance of the gradients of single rows. The noise scale is tr Sigma / |grad L|^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings
from ..targets import slopes_of, targets_of, weights_of

__all__ = ["NoiseEstimate", "ProblemAtWeights", "estimate_noise", "two_batch_noise"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class ProblemAtWeights:
    """Rows, lanes and settings, with the weights at which losses and gradients are taken.

    Attributes
    ----------
    data : Data
        n rows with d features, their targets and weights.
    lanes : Lanes
        K lanes.
    settings : Settings
    coef : ndarray of shape (K, d)
    intercept : ndarray of shape (K,)
    """

    data: Data
    lanes: Lanes
    settings: Settings
    coef: Float
    intercept: Float

    @property
    def columns(self) -> int:
        """Coordinates of the gradient of one lane: d, and one more if the intercept is learnt."""
        return self.data.d + self.settings.fit_intercept

    def slopes(self, rows: NDArray[np.int64] | slice, z: Float) -> Float:
        """Slopes c (m, K) of the losses of m rows at scores z (m, K), times their weights."""
        rows = np.arange(*rows.indices(self.data.n)) if isinstance(rows, slice) else rows
        problem = self.data, self.lanes, self.settings
        y = targets_of(*problem, rows)
        return slopes_of(self.settings, z, y, weights_of(*problem, y, rows))

    def smooth_penalty(self) -> tuple[Float, Float]:
        """Gradient of the penalty without its L1 part, which is the same for all rows.

        In the weights (K, d), and in the intercepts (K,).
        """
        return self.lanes.alpha[:, None] * self.coef, self.lanes.intercept_gradient.copy()


@dataclass(frozen=True)
class NoiseEstimate:
    """How large a gradient and its noise are, summed over all lanes.

    Attributes
    ----------
    squared_norm : float
        Estimate of |grad L|^2. It is unbiased, and may therefore be negative.
    trace : float
        Estimate of tr Sigma = E |g_i - grad L|^2 over single rows i.

    See Also
    --------
    two_batch_noise : Makes one from the gradients of batches of two sizes.

    Examples
    --------
    >>> from fastsgd.statistics.gradients import NoiseEstimate
    >>> NoiseEstimate(squared_norm=0.5, trace=8.0).noise_scale
    16.0
    """

    squared_norm: float
    trace: float

    @property
    def noise_scale(self) -> float:
        """The simple noise scale tr Sigma / |grad L|^2, in rows.

        Infinite where the estimate of |grad L|^2 is not positive.

        Returns
        -------
        float
        """
        return self.trace / self.squared_norm if self.squared_norm > 0.0 else np.inf


def two_batch_noise(small: float, big: float, m_small: int, m_big: int) -> NoiseEstimate:
    """Estimate gradient and noise from the gradients of batches of two sizes.

    For rows that are drawn independently E |g_B|^2 = |grad L|^2 + tr Sigma / m, with m the rows of
    a batch. Two sizes give two equations for the two unknowns, and the solution is unbiased.

    Parameters
    ----------
    small : float
        Mean of |g_B|^2 over batches of ``m_small`` rows.
    big : float
        Mean of |g_B|^2 over batches of ``m_big`` rows.
    m_small : int
        Rows of a small batch, at least 1.
    m_big : int
        Rows of a big batch, more than ``m_small``.

    Returns
    -------
    NoiseEstimate
        Estimates of |grad L|^2 and tr Sigma.

    Raises
    ------
    ValueError
        Unless 1 <= m_small < m_big.

    References
    ----------
    .. [1] S. McCandlish, J. Kaplan, D. Amodei. "An Empirical Model of Large-Batch Training",
       arXiv:1812.06162, 2018, appendix A.1.

    Examples
    --------
    >>> from fastsgd.insight import two_batch_noise
    >>> noise = two_batch_noise(small=9.0, big=1.5, m_small=1, m_big=16)
    >>> noise.squared_norm, noise.trace, noise.noise_scale
    (1.0, 8.0, 8.0)
    """
    if not 1 <= m_small < m_big:
        raise ValueError(
            f"m_small must be at least 1 and less than m_big, got {m_small!r} and {m_big!r}"
        )
    squared_norm = (m_big * big - m_small * small) / (m_big - m_small)
    return NoiseEstimate(squared_norm, (small - big) / (1.0 / m_small - 1.0 / m_big))


def estimate_noise(sample: ProblemAtWeights, n: int) -> NoiseEstimate:
    """Estimate gradient and noise of n rows from a sample of them, drawn without replacement.

    Only |x_i|^2 is needed of each row: the variance of single coordinates is not worked out.
    """
    dtype, m = sample.data.dtype, sample.data.n
    learns = float(sample.settings.fit_intercept)
    X = sample.data.rows(slice(None), dtype)
    z = np.asarray(X @ sample.coef.T.astype(dtype), dtype=np.float64) + sample.intercept
    c = sample.slopes(slice(None), z)
    if sp.issparse(X):
        squares = np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    else:
        squares = np.einsum("ij,ij->i", X, X).astype(np.float64)
    mean, mean_b = np.asarray(X.T @ c.astype(dtype)).T / m, learns * c.mean(axis=0)
    trace = float(((squares + learns) @ (c * c)).sum()) / m
    trace -= float(np.vdot(mean, mean)) + float(mean_b @ mean_b)
    if 1 < m < n:
        trace *= m / (m - 1) * ((n - 1) / n)
    penalty, intercept_gradient = sample.smooth_penalty()
    mean, mean_b = mean + penalty, mean_b + intercept_gradient * learns
    squared = float(np.vdot(mean, mean)) + float(mean_b @ mean_b)
    if m < n:
        squared -= trace * ((n - m) / (n - 1) / m)
    return NoiseEstimate(squared, trace)
