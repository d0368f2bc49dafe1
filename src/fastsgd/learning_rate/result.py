"""What a fit chose by itself, and why: the learning rate, how it falls, when it stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..optimizers import Optimizer
from ..problem import Settings
from ..schedules import Schedule
from ..solver.stopping import FEW_UPDATES, PLATEAU_FACTOR
from ..statistics.curvature import ADAPTIVE, Curvature
from .choose import Rates

__all__ = ["Result", "result_of"]


@dataclass(frozen=True)
class Result:
    """What a call of ``fit`` or ``partial_fit`` chose; ``print(model.result_)`` says it in words.

    Attributes
    ----------
    eta0 : ndarray of shape (K,)
        First learning rate of each lane.
    mu : ndarray of shape (K,)
        Its decay, where it falls as eta0 / (1 + eta0 mu (t - 1))^power_t.
    schedule : Schedule
        How the rate falls.
    average : int
        Number of the update from which the weights are averaged; 0: they are not.
    curvature : Curvature or None
        What eta0 was found from; None where it was given.
    factor : ndarray of shape (K,) or None
        Factor by which the search multiplied the rate that the curvature gives.
    search_losses : dict of float to ndarray of shape (K,), or None
        Losses at the end of the search, by that factor.
    initial_fraction : ndarray of shape (K,) or None
        Part of the stable rate with which a run of known length starts.
    updates : int
        Updates of an epoch.
    epochs : int
        Epochs of this call.
    stopped : {"tolerance", "max_iter", "callback"}
        What ended it.
    reduces_on_plateau : bool
        Whether an epoch without gain lowers the rate.
    optimizer : Optimizer
        How a step moves a weight.
    intercept_rate : ndarray of shape (K,) or float
        What the rate is multiplied by for the intercept.
    """

    eta0: NDArray[np.float64]
    mu: NDArray[np.float64]
    schedule: Schedule
    average: int
    curvature: Curvature | None
    factor: NDArray[np.float64] | None
    search_losses: dict[float, NDArray[np.float64]] | None
    initial_fraction: NDArray[np.float64] | None
    updates: int
    epochs: int
    stopped: str
    reduces_on_plateau: bool
    optimizer: Optimizer
    intercept_rate: NDArray[np.float64] | float = 1.0

    def __str__(self) -> str:
        parts = {
            "eta0": f"{_range(self.eta0)}, {self._source()}",
            "then": self._course(),
            "average": self._average(),
            "ended": f"after {self.epochs} epochs, by {_ENDS[self.stopped]}",
        }
        return "\n".join(f"{name + ':':9}{text}" for name, text in parts.items())

    def _source(self) -> str:
        found = self.curvature
        if found is None:
            return "as given, or what the name of the schedule means without it"
        if not self.optimizer.linear:
            said = f"{ADAPTIVE:g} / (smoothness {found.smoothness:.3g} * root mean square of |x|, "
            said += f"{math.sqrt(found.mean_square):.4g}), "
            said += "as far as alpha lets weights grow, for "
            if np.any(self.intercept_rate != 1.0):
                times = _range(1.0 / np.asarray(self.intercept_rate))
                said += (
                    f"the intercept, and {times} times that, since rows are short, for weights of "
                )
            return f"{said}{self.optimizer}{self._search()}"
        size = found.batch_curvature / found.smoothness
        said = f"1 / (smoothness {found.smoothness:.3g} * curvature {size:.4g})"
        if found.batch == 1:
            said += (
                f", the curvature {1.0 + found.noise_weight:.3g} * R^2 = {found.noise:.4g} of a row"
            )
        else:
            said += f", that of batches of {found.batch:.4g} rows with largest eigenvalue "
            said += f"{found.largest:.4g} and R^2 = {found.noise:.4g} of a row"
        momentum = getattr(self.optimizer, "momentum", 0.0)
        if momentum:
            said += f", times 1 - momentum = {1.0 - momentum:.3g}"
        return said + self._search()

    def _search(self) -> str:
        if self.factor is None:
            return ""
        tried = len(self.search_losses or ())
        return f", times {_range(self.factor)}: the best of {tried} rates on a sample"

    def _course(self) -> str:
        schedule, kind = self.schedule, self.schedule.kind
        if kind == "inverse":
            power = "sqrt" if schedule.power_t == 0.5 else ""
            said = f"eta0 / {power}(1 + eta0 mu (t - 1)), mu = {_range(self.mu)}"
        elif kind == "harmonic":
            said = f"eta0 (1 - x)^2, x the part done of {schedule.horizon:g} epochs"
            if (self.mu > 0.0).any():
                until = f"1 / (1 / (eta0 (1 - x)) + mu (t - 1)), mu = {_range(self.mu)}"
                both = "" if (self.mu > 0.0).all() else ", where mu = 0 eta0 (1 - x)^2"
                said = f"{until}{both}, x the part done of {schedule.horizon:g} epochs"
        elif kind == "polynomial":
            said = (
                f"eta0 (1 - x)^{schedule.power:g}, x the part done of {schedule.horizon:g} epochs"
            )
        else:
            said = kind
        total = schedule.horizon * self.updates
        if self.initial_fraction is not None and (self.initial_fraction < 1.0).any():
            said += f"; started at {_range(self.initial_fraction)} of the stable rate, "
            said += f"for {total:,.0f} updates"
        if self.reduces_on_plateau:
            few = self.updates <= FEW_UPDATES
            said += (
                "; halved where the objective no longer falls"
                if few
                else f"; divided by {PLATEAU_FACTOR:g} after an epoch without sufficient gain"
            )
        return said

    def _average(self) -> str:
        return f"from update {self.average:,} on" if self.average else "none"


_ENDS = {
    "tolerance": "the tolerance",
    "max_iter": "max_iter",
    "callback": "a callback",
}


def _range(values: NDArray[np.float64]) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def result_of(
    rates: Rates,
    settings: Settings,
    *,
    updates: int,
    epochs: int = 1,
    stopped: str = "max_iter",
    reduces_on_plateau: bool = False,
) -> Result:
    """What a call chose, of its rates and settings."""
    tried = rates.search
    return Result(
        eta0=rates.eta0,
        mu=rates.mu,
        schedule=settings.schedule,
        average=settings.average,
        curvature=rates.curvature,
        initial_fraction=rates.initial_fraction,
        factor=None if tried is None else tried.chosen,
        search_losses=None
        if tried is None
        else dict(zip(tried.factors.tolist(), tried.loss.T, strict=True)),
        updates=updates,
        epochs=epochs,
        stopped=stopped,
        reduces_on_plateau=reduces_on_plateau,
        optimizer=settings.optimizer,
        intercept_rate=rates.intercept_rate,
    )
