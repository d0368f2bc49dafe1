"""How far a solver gets in how many seconds: fits anew, each with more effort than the last.

The seconds to a target are those of the first fit that is there. So a solver is as good as with the
stopping rule that fits it best, and learning rates that have a horizon know it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from objective import Model
from peers import Fit

FLOOR = 1e-4
"""Suboptimality below which a curve need not go."""
SHORT = 0.25
"""Fits of fewer seconds are repeated, and the median taken."""

Point = tuple[float, ...]
"""Effort, seconds, excess, and what else the judge says."""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of one call, of all its threads, and what it returned."""
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


@dataclass
class Curve:
    """What a solver reached."""

    fit: Fit
    efforts: list[float]
    points: list[Point] = field(default_factory=list)
    ended: str = ""
    """Why it went no further: it is "there", "slow", or "stuck" at its last effort."""

    def seconds_to(self, target: float) -> float | None:
        return next((seconds for _, seconds, excess, *_ in self.points if excess <= target), None)


def step(curve: Curve, judge: Callable[[Model], Point], longest: float) -> None:
    """One more fit, with more effort than the last; ``judge`` says its excess first."""
    effort = curve.efforts.pop(0)
    seconds, model = timed(lambda: curve.fit(effort))
    if seconds < SHORT:
        again = [timed(lambda: curve.fit(effort))[0] for _ in range(2)]
        seconds = float(np.median([seconds, *again]))
    excess, *rest = judge(model() if callable(model) else model)
    curve.points.append((effort, seconds, excess, *rest))
    if excess <= FLOOR:
        curve.ended = "there"
    elif seconds > longest:
        curve.ended = "slow"
    elif not curve.efforts:
        curve.ended = "stuck"
