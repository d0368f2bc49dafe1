"""The choices of the explorer's page: batch sizes, learning rates, momenta and schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["SCHEDULES", "STABLE_FRACTIONS", "Choices", "check_steps"]

STABLE_FRACTIONS = (0.02, 0.1, 0.5, 1.8)
"""Default learning rates times L, the largest curvature: above 2 gradient descent diverges."""

SCHEDULES: dict[str, Callable[[float], dict[str, float]]] = {
    "constant": lambda epochs: {},
    "invscaling": lambda epochs: {"power_t": 0.5},
    "step": lambda epochs: {"step_epochs": epochs / 3.0},
    "exponential": lambda epochs: {"decay": 0.01 ** (1.0 / max(1.0, epochs))},
    "linear": lambda epochs: {"total_epochs": epochs},
    "polynomial": lambda epochs: {"total_epochs": epochs},
    "cosine": lambda epochs: {"total_epochs": epochs},
    "one_cycle": lambda epochs: {"total_epochs": epochs},
}
"""Schedules that can be shown, and their constants for a run of a given number of epochs."""


class Choices(NamedTuple):
    """Values of the four parameters in which runs differ; there is a run for each combination."""

    batch_sizes: tuple[int, ...]
    rates: tuple[float, ...]
    momenta: tuple[float, ...]
    schedules: tuple[str, ...]

    def check(self, n: int) -> None:
        """Whether the values are different from each other and valid for n rows.

        Raises
        ------
        ValueError
            If not; the message names the parameter.
        """
        for name, values in zip(self._fields, self, strict=True):
            if not values or len(set(values)) < len(values):
                raise ValueError(
                    f"{name} must have at least one value, and no value twice, got {values}"
                )
        wrong: list[Any] = [
            m for m in self.batch_sizes if isinstance(m, bool) or m != int(m) or not 1 <= m <= n
        ]
        if wrong:
            raise ValueError(f"batch_sizes must be integers from 1 to {n:,} rows, got {wrong}")
        wrong = [rate for rate in self.rates if not 0.0 < rate < math.inf]
        if wrong:
            raise ValueError(f"rates must be positive numbers, got {wrong}")
        wrong = [beta for beta in self.momenta if not 0.0 <= beta < 1.0]
        if wrong:
            raise ValueError(f"momenta must be in [0, 1), got {wrong}")
        wrong = [name for name in self.schedules if name not in SCHEDULES]
        if wrong:
            raise ValueError(f"schedules must be of {tuple(SCHEDULES)}, got {wrong}")


def check_steps(steps: Any) -> None:
    """Whether ``steps`` is an integer from 1 to 2000.

    Raises
    ------
    ValueError
        If not.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 2000:
        raise ValueError(f"steps must be an integer from 1 to 2000, got {steps!r}")
