"""What a step of ``fastsgd.minimize`` costs beside the user's gradient.

Seconds are of the processor, least of several: in a step of few parameters the time is that of
calls, in one of many that of their memory, for which ``np.add(a, b, out=a)`` is the measure: it
reads two arrays and writes one, as a plain step must. ``pytest benchmarks/test_minimize.py -s``.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from fastsgd import minimize
from fastsgd.optimizers import SGD, Adam

OVERHEAD_TARGET = 15e-6
"""Seconds of a plain step of ten parameters."""

SMALL: dict[str, dict[str, Any]] = {
    "plain": {},
    "L2": {"alpha": 0.1},
    "clipped": {"clip_norm": 1.0},
    "averaged": {"average": True},
    "momentum": {"optimizer": SGD(0.9)},
    "nesterov, L2, clipped, averaged": {
        "optimizer": SGD(0.9, nesterov=True),
        "alpha": 0.1,
        "clip_norm": 1.0,
        "average": True,
    },
    "adam": {"optimizer": Adam()},
    "cosine": {"learning_rate": "cosine"},
}

LARGE = {"plain": (SGD(), 3), "momentum": (SGD(0.9), 5), "adam": (Adam(), 7)}
"""Optimizers, and the arrays that a step must read or write."""

ROUNDS = 5


def step_seconds(size: int, steps: int, **options: Any) -> float:
    """Least processor time between two gradients that cost nothing."""
    g, marks = np.full(size, 1e-3), []

    def gradient(theta: Any, rows: Any) -> tuple[float, Any]:
        marks.append(time.thread_time())
        return 1.0, g

    options |= {"batch_size": 1, "sampling": "sequential", "eta0": 1e-9}
    minimize(gradient, np.ones(size), steps, max_iter=1, tol=None, **options)
    return float(np.quantile(np.diff(marks), 0.1))


@pytest.mark.parametrize("name", SMALL)
def test_overhead_of_a_small_step(name: str) -> None:
    seconds = min(step_seconds(10, 3000, **SMALL[name]) for _ in range(ROUNDS))
    print(f"\n{name}: {1e6 * seconds:.1f} us")
    if name == "plain":
        assert seconds < OVERHEAD_TARGET


@pytest.mark.parametrize("size", (100_000, 1_000_000, 10_000_000))
@pytest.mark.parametrize("name", LARGE)
def test_bandwidth_of_a_large_step(name: str, size: int) -> None:
    """In turns with the addition."""
    optimizer, arrays = LARGE[name]
    a, b = np.ones(size), np.full(size, 1e-3)
    steps = max(8, 4_000_000 // size)
    least = added = np.inf
    for _ in range(ROUNDS):
        for _ in range(steps):
            start = time.thread_time()
            np.add(a, b, out=a)
            added = min(added, time.thread_time() - start)
        least = min(least, step_seconds(size, steps, optimizer=optimizer))
    print(
        f"\n{name}, {size:,}: {1e3 * least:.2f} ms, {least / added:.1f} additions, "
        f"{3.0 * least / (arrays * added):.1f} times its own memory traffic at their speed"
    )
