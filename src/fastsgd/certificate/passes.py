"""Products with X that are taken block by block, so that no copy of X is held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, blocks

__all__ = ["numbers_in_a_row", "scores_of", "weighted_sums"]

Float = NDArray[np.float64]


def numbers_in_a_row(data: Data) -> float:
    """Mean count of stored numbers in a row of X."""
    return max(1.0, data.X.nnz / data.n) if data.sparse else data.d


def scores_of(data: Data, coef: Float) -> Float:
    """Scores x_i . w_k without the intercept, (K, n), of weights ``coef`` (K, d)."""
    z = np.empty((len(coef), data.n))
    for rows in blocks(data.X):
        z[:, rows] = (data.rows(rows) @ coef.T).T
    return z


def weighted_sums(data: Data, c: Float) -> Float:
    """sum_i c_ki x_i, (K, d), of coefficients c (K, n)."""
    total = np.zeros((len(c), data.d))
    for rows in blocks(data.X):
        total += (data.rows(rows).T @ c[:, rows].T).T
    return total
