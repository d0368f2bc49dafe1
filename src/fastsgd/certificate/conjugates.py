"""Convex conjugates of the losses: f*(theta) = sup_z (theta z - f(z)), elementwise.

z is the score of a row, y its target and e the parameter of the loss (epsilon, or the quantile).
Each function takes the dual variable theta and returns f*(theta), which is infinity outside its
domain. In the formulas u = y theta.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

__all__ = ["CONJUGATES", "WITHOUT_CONJUGATE"]

Float = NDArray[np.float64]


def _squared_error(theta: Float, y: Float, e: float = 0.0) -> Float:
    """theta^2 / 2 + y theta"""
    return 0.5 * theta**2 + y * theta


def _log_loss(theta: Float, y: Float, e: float = 0.0) -> Float:
    """p log p + (1 - p) log(1 - p) with p = -u in [0, 1]"""
    p = -y * theta
    return -entr(p) - entr(1.0 - p)  # entr is minus infinity where its argument is negative


def _hinge(theta: Float, y: Float, e: float = 0.0) -> Float:
    """u, for u in [-1, 0]"""
    u = y * theta
    return np.where((u >= -1.0) & (u <= 0.0), u, np.inf)


def _squared_hinge(theta: Float, y: Float, e: float = 0.0) -> Float:
    """u + u^2 / 4, for u <= 0"""
    u = y * theta
    return np.where(u <= 0.0, u + 0.25 * u**2, np.inf)


def _perceptron(theta: Float, y: Float, e: float = 0.0) -> Float:
    """0, for u in [-1, 0]"""
    u = y * theta
    return np.where((u >= -1.0) & (u <= 0.0), 0.0, np.inf)


def _modified_huber(theta: Float, y: Float, e: float = 0.0) -> Float:
    """u + u^2 / 4, for u in [-4, 0]"""
    u = y * theta
    return np.where((u >= -4.0) & (u <= 0.0), u + 0.25 * u**2, np.inf)


def _huber(theta: Float, y: Float, e: float = 0.0) -> Float:
    """theta^2 / 2 + y theta, for |theta| <= e"""
    return np.where(np.abs(theta) <= e, 0.5 * theta**2 + y * theta, np.inf)


def _epsilon_insensitive(theta: Float, y: Float, e: float = 0.0) -> Float:
    """y theta + e |theta|, for |theta| <= 1"""
    return np.where(np.abs(theta) <= 1.0, y * theta + e * np.abs(theta), np.inf)


def _squared_epsilon_insensitive(theta: Float, y: Float, e: float = 0.0) -> Float:
    """theta^2 / 4 + y theta + e |theta|"""
    return 0.25 * theta**2 + y * theta + e * np.abs(theta)


def _quantile(theta: Float, y: Float, e: float = 0.0) -> Float:
    """y theta, for theta in [-e, 1 - e]"""
    return np.where((theta >= -e) & (theta <= 1.0 - e), y * theta, np.inf)


def _poisson(theta: Float, y: Float, e: float = 0.0) -> Float:
    """q log q - q with q = theta + y >= 0"""
    q = theta + y
    return -entr(q) - q


def _softmax(theta: Float, y: Float, e: float = 0.0) -> Float:
    """sum_k p_k log p_k with p = theta + (1 for the row's class), for p >= 0 that sum to 1.

    theta and y are (m, K); every lane of the returned (m, K) holds the value of the whole row.
    """
    value = -entr(theta + (y > 0)).sum(axis=1, keepdims=True)
    inside = np.abs(theta.sum(axis=1, keepdims=True)) <= 1e-12 * theta.shape[1]
    return np.broadcast_to(np.where(inside, value, np.inf), theta.shape)


CONJUGATES: dict[str, Callable[..., Float]] = {
    "squared_error": _squared_error,
    "log_loss": _log_loss,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "perceptron": _perceptron,
    "modified_huber": _modified_huber,
    "huber": _huber,
    "epsilon_insensitive": _epsilon_insensitive,
    "squared_epsilon_insensitive": _squared_epsilon_insensitive,
    "quantile": _quantile,
    "poisson": _poisson,
    "softmax": _softmax,
}
"""f*(theta, y, e) of each loss, elementwise; infinity outside its domain."""

WITHOUT_CONJUGATE = frozenset({"linear"})
"""Losses for which there is no gap: the conjugate of a line is finite at one point only."""
