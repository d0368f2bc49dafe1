"""Kinks of the losses: points where the slope jumps, so that the dual variable has a choice.

Each function takes the scores z (n,), targets y (n,) and the parameter e of the loss, and returns
three arrays (n,): the kink next to each score, and the slopes of the loss left and right of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINKS"]

Float = NDArray[np.float64]
Kink = tuple[Float, Float, Float]


def _hinge(z: Float, y: Float, e: float) -> Kink:
    return y, np.minimum(-y, 0.0), np.maximum(-y, 0.0)


def _perceptron(z: Float, y: Float, e: float) -> Kink:
    return np.zeros_like(y), np.minimum(-y, 0.0), np.maximum(-y, 0.0)


def _epsilon_insensitive(z: Float, y: Float, e: float) -> Kink:
    side = np.where(z < y, -1.0, 1.0)
    both = e == 0.0  # the two kinks coincide
    return y + e * side, np.minimum(side, -float(both)), np.maximum(side, float(both))


def _quantile(z: Float, y: Float, e: float) -> Kink:
    return y, np.full_like(y, -e), np.full_like(y, 1.0 - e)


KINKS: dict[str, Callable[[Float, Float, float], Kink]] = {
    "hinge": _hinge,
    "perceptron": _perceptron,
    "epsilon_insensitive": _epsilon_insensitive,
    "quantile": _quantile,
}
"""The nearest kink and its two slopes, of every loss that has kinks."""
