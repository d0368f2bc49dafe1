"""Where a function that rises changes its sign: two points as near as rounding allows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["bracket_sign_change"]


def bracket_sign_change(
    function: Callable[[float], tuple[float, float]], start: float, scale: float
) -> tuple[float, float, float, float] | None:
    """Points low <= high and the function's values there, the first <= 0 and the second >= 0.

    Parameters
    ----------
    function : callable
        Returns the value of a non-decreasing function, and the sum of the magnitudes of the terms
        that it is a sum of, by which its rounding is judged.
    start : float
        Where the search begins.
    scale : float
        Magnitude of the numbers that low and high are added to: a difference below its rounding
        does not matter.

    Returns
    -------
    tuple of four floats, or None
        low, high and the two values; None if no sign change is found.
    """
    low = high = start
    below, size = function(start)
    above = below
    step = 1e-3 * max(1.0, abs(start))
    while below > 0.0 or above < 0.0:
        if not step < 1e30:
            return None
        if below > 0.0:
            high, above = low, below
            low -= step
            below, size = function(low)
        else:
            low, below = high, above
            high += step
            above, size = function(high)
        step *= 4.0
    for turn in range(200):
        exact = min(-below, above) <= 1e-15 * size and np.isfinite(above - below)
        if exact or high - low <= np.spacing(max(abs(low), abs(high), scale)):
            break
        middle = 0.5 * (low + high)
        if turn % 2 and np.isfinite(above - below):  # secant and bisection take turns
            middle = low + (high - low) * (-below / (above - below))
        value, size = function(middle)
        if value <= 0.0:
            low, below = middle, value
        else:
            high, above = middle, value
    return (low, high, below, above) if np.isfinite(above - below) else None
