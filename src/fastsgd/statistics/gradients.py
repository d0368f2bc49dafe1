"""A problem at given weights, and an estimate of its gradient and of the gradient's noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings
from ..targets import slopes_of, targets_of, weights_of

__all__ = ["AtWeights", "Estimate", "estimate", "two_batch_noise"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class AtWeights:
    """Rows, lanes and settings, and the weights (K, d) and (K,) at which they are looked at."""

    data: Data
    lanes: Lanes
    settings: Settings
    coef: Float
    intercept: Float

    @property
    def columns(self) -> int:
        """Coordinates of a gradient of one lane: d, and 1 for an intercept that is learnt."""
        return self.data.d + self.settings.fit_intercept

    def slopes(self, rows: NDArray[np.int64] | slice, z: Float) -> Float:
        """Slopes c (m, K) of the losses of rows at scores z (m, K), weights included."""
        rows = np.arange(*rows.indices(self.data.n)) if isinstance(rows, slice) else rows
        problem = self.data, self.lanes, self.settings
        y = targets_of(*problem, rows)
        return slopes_of(self.settings, z, y, weights_of(*problem, y, rows))

    def smooth_penalty(self) -> tuple[Float, Float]:
        """Gradient (K, d) and (K,) of the penalty without its L1 part: no row changes it."""
        return self.lanes.alpha[:, None] * self.coef, self.lanes.pull.copy()


@dataclass(frozen=True)
class Estimate:
    """|grad L|^2, tr Sigma and the noise scale, their ratio, over all lanes together."""

    squared_norm: float
    trace: float

    @property
    def noise_scale(self) -> float:
        """tr Sigma / |grad L|^2; infinite where the gradient is lost in the noise."""
        return self.trace / self.squared_norm if self.squared_norm > 0.0 else np.inf


def two_batch_noise(small: float, big: float, m_small: int, m_big: int) -> Estimate:
    """|grad L|^2 and tr Sigma from mean squared norms of gradients of batches of two sizes.

    Unbiased for rows drawn independently (McCandlish, Kaplan & Amodei 2018, appendix A.1), since
    E |g_B|^2 = |grad L|^2 + tr Sigma / m.

    Parameters
    ----------
    small, big : float
        Means of |g_B|^2 over batches of ``m_small`` and of ``m_big`` rows.
    m_small, m_big : int
        1 <= m_small < m_big.

    Raises
    ------
    ValueError
        If the sizes are not so.
    """
    if not 1 <= m_small < m_big:
        raise ValueError(f"m_small must be in [1, m_big), got {m_small!r} and {m_big!r}")
    squared_norm = (m_big * big - m_small * small) / (m_big - m_small)
    return Estimate(squared_norm, (small - big) / (1.0 / m_small - 1.0 / m_big))


def estimate(sample: AtWeights, n: int) -> Estimate:
    """The same of n rows, from a sample of them without replacement; no variance by coordinate."""
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
    penalty, pull = sample.smooth_penalty()
    mean, mean_b = mean + penalty, mean_b + pull * learns
    squared = float(np.vdot(mean, mean)) + float(mean_b @ mean_b)
    if m < n:
        squared -= trace * ((n - m) / (n - 1) / m)
    return Estimate(squared, trace)
