"""Forward through the layers of a fitted network, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from .validation import products

__all__ = ["outputs_of", "scores_of"]

Array = NDArray[np.floating]

BLOCK_VALUES = 1 << 18
"""Values of a layer that are worked out at a time: few enough to stay in the cache."""


def scores_of(X: Any, coefs: Sequence[Array], intercepts: Sequence[Array], function: str) -> Array:
    """Scores z of the last layer, shape (n, outputs); of any size, and NaN where sums overflow."""
    n, d = X.shape
    rows = max(1, BLOCK_VALUES // max(d, *(coef.shape[1] for coef in coefs), 1))
    if rows >= n:
        return _scores(X, coefs, intercepts, function)
    parts = (X[first : first + rows] for first in range(0, n, rows))
    return np.concatenate([_scores(part, coefs, intercepts, function) for part in parts])


def _scores(X: Any, coefs: Sequence[Array], intercepts: Sequence[Array], function: str) -> Array:
    """The same of a few rows."""
    with np.errstate(over="ignore", invalid="ignore"):
        a = products(X, coefs[0].T) + intercepts[0]
        for coef, intercept in zip(coefs[1:], intercepts[1:], strict=True):
            apply(function, a)
            a = a @ coef + intercept
    return a


def apply(function: str, z: Array) -> None:
    """Put the function of a hidden layer in the place of its scores."""
    if function == "relu":
        np.maximum(z, 0.0, out=z)
    elif function == "tanh":
        np.tanh(z, out=z)
    elif function == "logistic":
        expit(z, out=z)


def outputs_of(z: Array, function: str) -> Array:
    """What the last layer returns of its scores, shape (n, outputs)."""
    if function == "softmax":
        most = 0.25 * np.finfo(z.dtype).max  # of a difference of two
        return np.asarray(softmax(np.clip(z, -most, most), axis=1))
    if function == "logistic":
        return np.asarray(expit(z))
    if function == "exp":
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(z))
    return z
