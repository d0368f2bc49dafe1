"""Accelerated projected gradients, by which a dual bound is improved within its constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_eigenvalue", "minimise", "project"]

Float = NDArray[np.float64]


def project(a: Float, low: Float, high: Float, total: float | None) -> Float:
    """The nearest point to ``a`` with low <= a <= high and, if ``total`` is given, with that sum.

    The sum of clip(a + shift, low, high) is piecewise linear in the shift: its knots are sorted,
    and the shift that gives the sum is interpolated between two of them.
    """
    if total is None:
        return np.clip(a, low, high)
    knots = np.concatenate([low - a, high - a])
    order = np.argsort(knots)
    slopes = np.cumsum(np.where(order < len(a), 1.0, -1.0))
    sums = low.sum() + np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(knots[order]))])
    shift = np.interp(total, sums, knots[order])
    return np.clip(a + shift, low, high)


def largest_eigenvalue(A: Any) -> float:
    """An estimate of the largest eigenvalue of A'A, by power iteration, made larger by a fifth.

    Power iteration approaches from below; the fifth is there so that 1 / L is a safe step.
    """
    vector, size = np.random.default_rng(0).normal(size=A.shape[1]), 0.0
    for _ in range(20):
        vector = A.T @ (A @ vector)
        size = float(np.linalg.norm(vector))
        if size == 0.0:
            break
        vector /= size
    return 1.2 * size


def minimise(
    slope: Callable[[Float], Float],
    project: Callable[[Float], Float],
    start: Float,
    rate: float,
    steps: int,
) -> Float:
    """Minimum of a convex function over a convex set, by accelerated projected gradients.

    Beck & Teboulle (2009), with the restarts of O'Donoghue & Candes (2015): the momentum is
    dropped when a step points against it. It ends after ``steps`` steps, or when a step no longer
    changes the point.
    """
    a, point, momentum = start, start, 1.0
    for _ in range(steps):
        after = project(point - rate * slope(point))
        if np.abs(after - point).max() <= 1e-12 * np.abs(after).max():
            return after
        moved = after - a
        if (point - after) @ moved > 0.0:
            momentum = 1.0
        grown = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        point = after + (momentum - 1.0) / grown * moved
        a, momentum = after, grown
    return a
