"""Arguments of :func:`fastsgd.minimize`, checked and made the nouns of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy.optimize import OptimizeResult

from ..descent import VectorDescent
from ..optimizers import VECTOR_OPTIMIZERS, Optimizer
from ..scalars import python_number
from ..schedules import Schedule
from .state import Progress, State
from .structures import Structure

__all__ = [
    "DEFAULT_RATES",
    "LearningRate",
    "OptimizerName",
    "average_start",
    "check_going_on",
    "count",
    "lines_of",
    "listeners_of",
    "optimizer_of",
    "previous_of",
    "real",
    "schedule_of",
    "seed_of",
    "strength_of",
    "structure_of",
]

LearningRate = Literal[
    "constant",
    "invscaling",
    "step",
    "exponential",
    "linear",
    "polynomial",
    "cosine",
    "one_cycle",
]
OptimizerName = Literal["sgd", "adam"]
"""What parameters take by name, for type checkers."""

LEARNING_RATES: dict[str, dict[str, Any]] = {
    "constant": {"kind": "constant"},
    "invscaling": {"kind": "invscaling"},
    "step": {"kind": "step"},
    "exponential": {"kind": "exponential"},
    "linear": {"kind": "polynomial", "power": 1.0},
    "polynomial": {"kind": "polynomial"},
    "cosine": {"kind": "cosine"},
    "one_cycle": {"kind": "one_cycle"},
}
"""What ``learning_rate`` takes by name, and the schedule that is."""

DEFAULT_RATES = {"adam": 0.001}
"""``eta0`` of optimizers where none is given; of others it is 0.01."""


def count(name: str, value: Any, *, below: int = 2**62) -> int:
    number = python_number(value)
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or not 1 <= number < below:
        raise ValueError(f"{name} must be an integer in [1, {below}), got {value!r}")
    return int(number)


def real(name: str, value: Any) -> float:
    number = python_number(value, whole=False)
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not number >= 0.0:
        raise ValueError(f"{name} must be a number >= 0, got {value!r}")
    return float(number)


def optimizer_of(optimizer: Any) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in VECTOR_OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {tuple(VECTOR_OPTIMIZERS)} or an Optimizer, got "
            f"{optimizer!r}"
        )
    return VECTOR_OPTIMIZERS[optimizer]()


def schedule_of(learning_rate: Any, horizon: float) -> Schedule:
    if isinstance(learning_rate, Schedule):
        total = learning_rate.total_epochs
        return replace(learning_rate, total_epochs=horizon if total is None else total)
    if isinstance(learning_rate, str) and learning_rate in LEARNING_RATES:
        return Schedule(**LEARNING_RATES[learning_rate], total_epochs=horizon)
    if callable(learning_rate):
        return Schedule("callable", function=learning_rate, total_epochs=horizon)
    raise ValueError(
        f"learning_rate must be one of {tuple(LEARNING_RATES)}, a Schedule or a function, got "
        f"{learning_rate!r}"
    )


def average_start(average: Any, horizon: float, updates: int) -> int:
    """Number of the update from which the parameters are averaged; 0 for never."""
    number = python_number(average)
    if isinstance(number, bool) or (isinstance(number, int) and 0 <= number < 2**62):
        return int(number)
    if isinstance(number, float) and 0.0 < number < 1.0:
        return 1 + math.floor(min(2.0**61, (1.0 - number) * horizon * updates))
    raise ValueError(
        f"average must be a bool, an integer >= 0 or a number in (0, 1), got {average!r}"
    )


def seed_of(random_state: Any) -> int:
    number = python_number(random_state)
    if number is None:
        return int(np.random.default_rng().integers(2**63))
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**64:
        return int(number)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(np.iinfo(np.int32).max))
    raise ValueError(
        "random_state must be an integer in [0, 2**64), a RandomState, a Generator or None, got "
        f"{random_state!r}"
    )


def listeners_of(callback: Any) -> list[Callable[[Progress], Any]]:
    several = isinstance(callback, Iterable) and not callable(callback)
    listeners = list(callback) if several else [] if callback is None else [callback]
    if not all(map(callable, listeners)):
        raise ValueError(f"callback must be a function or a sequence of them, got {callback!r}")
    return listeners


def lines_of(verbose: Any, epochs: int) -> Any:
    """What prints a line an epoch, as estimators do."""
    if not isinstance(python_number(verbose), (int, bool)):
        raise ValueError(f"verbose must be an integer or a bool, got {verbose!r}")
    if not verbose:
        return None
    from ..solver.epoch_lines import EpochLines

    return EpochLines(epochs)


def previous_of(state: Any) -> State | None:
    if isinstance(state, OptimizeResult):
        state = state.get("state")
        if state is None:
            raise ValueError("state must be a result of minimize, got another OptimizeResult")
    if state is not None and not isinstance(state, State):
        raise ValueError(f"state must be that of a result of minimize, got {type(state).__name__}")
    return state


def structure_of(theta0: Any, previous: State | None) -> Structure:
    """The structure of the parameters; what goes on has it already."""
    if previous is None:
        if theta0 is None:
            raise ValueError("theta0 must be given unless there is a state to go on from")
        return Structure("theta0", theta0)
    if theta0 is not None and Structure("theta0", theta0) != previous.structure:
        raise ValueError(
            f"theta0 must be as the parameters of the state are, of shapes "
            f"{previous.structure.shapes}; or None"
        )
    return previous.structure


def strength_of(alpha: Any, structure: Structure) -> Any:
    """A number, or a vector if parameters differ."""
    if np.ndim(alpha) == 0 and not isinstance(alpha, (dict, np.ndarray)):
        strength: Any = real("alpha", alpha)
        if strength == math.inf:
            raise ValueError(f"alpha must be finite, got {alpha!r}")
        return strength
    strength = structure.vector("alpha", alpha, broadcast=True)
    if (strength < 0.0).any():
        raise ValueError("alpha must be >= 0")
    return strength


def check_going_on(state: State, descent: VectorDescent, n: int) -> None:
    """Refuse settings that a state cannot go on with."""
    if state.n != n:
        raise ValueError(f"n must be that of the state, {state.n}, got {n}")
    if state.optimizer != descent.optimizer.name or set(state.slots) != set(
        descent.optimizer.slots
    ):
        raise ValueError(
            f"optimizer must be that of the state, {state.optimizer!r} with "
            f"{sorted(state.slots)} for each parameter, got {descent.optimizer!r}"
        )
    if state.average_from != descent.average:
        raise ValueError(
            f"average must be that of the state, from update {state.average_from} on (0: never), "
            f"got {descent.average}"
        )
    if state.row and (state.batch_size, state.sampling) != (descent.batch_size, descent.sampling):
        raise ValueError(
            f"batch_size and sampling must be those of the state, {state.batch_size} and "
            f"{state.sampling!r}, which ended within an epoch, got {descent.batch_size} and "
            f"{descent.sampling!r}"
        )
    state.batch_size, state.sampling = descent.batch_size, descent.sampling
