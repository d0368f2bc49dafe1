"""The elastic-net penalty R, its conjugate R* and its subgradient, for the weights of one lane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["penalty", "penalty_conjugate", "shortest_subgradient", "shrinkage"]

Float = NDArray[np.float64]


def penalty(w: Float, alpha: float, l1: float) -> float:
    """R(w) = alpha / 2 |w|^2 + l1 |w|_1"""
    return float(0.5 * alpha * (w @ w) + l1 * np.abs(w).sum())


def penalty_conjugate(v: Float, alpha: float, l1: float) -> float:
    """R*(v) = sum_j max(0, |v_j| - l1)^2 / (2 alpha); without L2 0, where all |v_j| <= l1."""
    excess = np.maximum(0.0, np.abs(v) - l1)
    return float(excess @ excess) / (2.0 * alpha) if alpha > 0.0 else 0.0


def shrinkage(v: Float, alpha: float, l1: float) -> float:
    """The largest factor t <= 1 for which t v is in the domain of R*."""
    largest = float(np.abs(v).max())
    return 1.0 if alpha > 0.0 or largest <= l1 else l1 / largest


def shortest_subgradient(g: Float, w: Float, l1: float | Float) -> Float:
    """g + l1 sign(w_j); where w_j = 0 the number of least magnitude in g_j + [-l1, l1]."""
    return np.where(w != 0.0, g + l1 * np.sign(w), np.maximum(0.0, np.abs(g) - l1))
