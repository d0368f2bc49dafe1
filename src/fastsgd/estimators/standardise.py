"""Standardised features: statistics of X, found once, and what a model of them is in X itself.

x~_j = (x_j - offset_j) scale_j,        w . x~ + b = (w scale) . x + b - sum_j w_j scale_j offset_j
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import blocks, computed_in

__all__ = ["Scaling", "scaling_of", "standardising"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """The features that are trained on, (x - offset) * scale; without them X itself.

    Attributes
    ----------
    offset, scale : ndarray of shape (d,) or None
    """

    offset: NDArray[np.floating] | None = None
    scale: NDArray[np.floating] | None = None

    def to_users(self, coef: Any, intercept: Any) -> tuple[Any, Any]:
        """A model (K, d) and (K,) of these features as one of X, worked out in float64."""
        if self.offset is None or self.scale is None:
            return coef, intercept
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            w = coef * self.scale.astype(np.float64)
            b = intercept - w @ self.offset.astype(np.float64)
            return w.astype(coef.dtype), b.astype(intercept.dtype)

    def to_trained(self, coef: Any, intercept: Any) -> tuple[Any, Any]:
        """A model (K, d) and (K,) of X as one of these features, in float64."""
        if self.offset is None or self.scale is None:
            return coef, intercept
        coef = np.asarray(coef, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            return coef / self.scale, intercept + coef @ self.offset.astype(np.float64)


def standardising(X: NDArray[Any], weight: NDArray[np.floating] | None) -> Scaling:
    """Weighted means and reciprocal standard deviations; 1 for a feature that does not vary.

    As scikit-learn's ``StandardScaler`` has them, in the dtype of computation. Rows of weight zero
    do not count.

    Raises
    ------
    ValueError
        If a mean or variance is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        moments = _moments(X, weight)
    return scaling_of(*moments, computed_in(X))


def scaling_of(mean: Float, variance: Float, n: int, dtype: Any) -> Scaling:
    """The same of means and variances (d,) over n rows.

    Raises
    ------
    ValueError
        If one is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = ~np.isfinite(mean + variance)
        if wrong.any():
            raise ValueError(
                f"X has a feature whose variance is not finite, number {int(np.argmax(wrong))}: "
                "with standardize=True its values must be smaller"
            )
        eps = np.finfo(np.float64).eps  # a variance that may be all rounding (Chan et al. 1983)
        varies = variance > n * eps * variance + (n * mean * eps) ** 2
    deviation = np.sqrt(variance)
    varies &= deviation >= np.finfo(dtype).tiny
    scale = np.divide(1.0, deviation, out=np.ones_like(deviation), where=varies)
    return Scaling(mean.astype(dtype), scale.astype(dtype))


def _moments(X: NDArray[Any], weight: NDArray[np.floating] | None) -> tuple[Float, Float, int]:
    """Mean and variance of each feature, and the rows that count, block by block.

    Blocks are merged by Chan, Golub & LeVeque (The American Statistician 37, 1983).
    """
    mean, squares = np.zeros((2, X.shape[1]))
    total, n = 0.0, 0
    for rows in blocks(X):
        s = np.ones(len(X[rows])) if weight is None else weight[rows].astype(np.float64)
        some = s > 0.0
        part = X[rows].astype(np.float64) if some.all() else X[rows][some].astype(np.float64)
        s = s[some]
        if len(s) == 0:
            continue
        size = s.sum()
        middle = s @ part / size
        part -= middle
        change, total, n = middle - mean, total + size, n + len(s)
        squares += s @ np.square(part, out=part) + change**2 * size * ((total - size) / total)
        mean += change * (size / total)
    return mean, squares / (total or 1.0), n
