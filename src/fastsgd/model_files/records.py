"""The fixed table of the library's objects that may be in a file, and checks of what they hold.

An object is made by its constructor, or, of a training state, by the ``__setstate__`` that checks
every value; where these leave something unchecked, the fields are checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from .._core import State, VectorState
from ..certificate import Certificate
from ..descent import VectorDescent
from ..learning_rate.choose import Rates
from ..learning_rate.result import Result
from ..learning_rate.search import LearningRateSearch
from ..network import Network
from ..optimizers import SGD, AdaGrad, Adam, Optimizer
from ..schedules import Schedule
from ..statistics.curvature import Curvature
from .encoding import Record

__all__ = [
    "RECORDS",
    "dataclass_record",
    "is_count",
    "is_flag",
    "is_number",
    "is_numbers",
    "is_text",
    "one_of",
    "optional",
    "state_record",
]

Check = Callable[[Any], bool]


def is_flag(value: Any) -> bool:
    """Whether it is True or False."""
    return isinstance(value, (bool, np.bool_))


def is_number(value: Any) -> bool:
    """Whether it is a real number, which may be infinite or NaN."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not is_flag(value)


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 0 that fits into 64 bits."""
    return is_number(value) and 0 <= value < 2**62 and int(value) == value


def is_text(value: Any) -> bool:
    """Whether it is text."""
    return isinstance(value, str)


def is_numbers(value: Any) -> bool:
    """Whether it is an array (K,) of float64."""
    return isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == 1


def is_table(value: Any) -> bool:
    """Whether it is an array (K, m) of float64."""
    return isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == 2


def optional(check: Check) -> Check:
    """Whether it is None, or passes the check."""
    return lambda value: value is None or check(value)


def one_of(*kinds: type) -> Check:
    """Whether it is an object of one of these types."""
    return lambda value: isinstance(value, kinds)


def _is_rate(value: Any) -> bool:
    """Whether it is one number, or one for each lane."""
    return is_number(value) or is_numbers(value)


def _losses(value: Any) -> bool:
    """Whether it is a dictionary of float to losses (K,)."""
    return isinstance(value, dict) and all(
        is_number(key) and is_numbers(one) for key, one in value.items()
    )


def dataclass_record(kind: Any, checks: dict[str, Check] | None = None) -> Record:
    """A dataclass of these fields; without checks its constructor refuses what is wrong.

    Of checked fields those with a default may be missing, as in files that are older than they.
    """
    kept = [one for one in fields(kind) if checks is None or one.name in checks]
    names = [one.name for one in kept]
    later = {one.name: one.default for one in kept if checks and one.default is not MISSING}

    def make(values: dict[str, Any]) -> Any:
        if set(later | values) != set(names):
            raise ValueError(f"a {kind.__name__} has the fields {names}, got {sorted(values)}")
        values = later | values
        for name, check in (checks or {}).items():
            if not check(values[name]):
                raise ValueError(f"a {kind.__name__} has {name}={values[name]!r:.80}")
        return kind(**values)

    return Record(kind, lambda value: {name: getattr(value, name) for name in names}, make)


def state_record(kind: Any) -> Record:
    """A training state, which checks what it takes in."""

    def make(values: dict[str, Any]) -> Any:
        state = kind.__new__(kind)
        state.__setstate__(values)
        return state

    return Record(kind, lambda state: state.__getstate__(), make)


def _schedule_fields(schedule: Schedule) -> dict[str, Any]:
    """Its constants; a function of a user's own stays with the user."""
    found = {one.name: getattr(schedule, one.name) for one in fields(Schedule)}
    if schedule.function is not None:
        found["function"] = Given("learning_rate", "function")
    return found


class Given:
    """What no file can hold, and a user gives by an argument of ``load``."""

    def __init__(self, argument: str, name: str = "") -> None:
        self.argument, self.name = argument, name


_RATES: dict[str, Check] = {
    "eta0": is_numbers,
    "mu": is_numbers,
    "curvature": optional(one_of(Curvature)),
    "initial_fraction": optional(is_numbers),
    "search": optional(one_of(LearningRateSearch)),
    "rows": is_count,
    "intercept_rate": _is_rate,
}

_RESULT: dict[str, Check] = {
    "eta0": is_numbers,
    "mu": is_numbers,
    "schedule": one_of(Schedule),
    "average": is_count,
    "curvature": optional(one_of(Curvature)),
    "factor": optional(is_numbers),
    "search_losses": optional(_losses),
    "initial_fraction": optional(is_numbers),
    "updates": is_count,
    "epochs": is_count,
    "stopped": lambda value: value in ("tolerance", "max_iter", "callback"),
    "reduces_on_plateau": is_flag,
    "optimizer": one_of(Optimizer),
    "intercept_rate": _is_rate,
}

RECORDS: dict[str, Record] = {
    "Schedule": Record(Schedule, _schedule_fields, dataclass_record(Schedule).make),
    "SGD": dataclass_record(SGD),
    "AdaGrad": dataclass_record(AdaGrad),
    "Adam": dataclass_record(Adam),
    "Curvature": dataclass_record(
        Curvature, dict.fromkeys((one.name for one in fields(Curvature)), is_number)
    ),
    "LearningRateSearch": dataclass_record(
        LearningRateSearch,
        {"factors": is_numbers, "loss": is_table, "at_start": is_numbers, "chosen": is_numbers},
    ),
    "Rates": dataclass_record(Rates, _RATES),
    "Result": dataclass_record(Result, _RESULT),
    "Certificate": dataclass_record(
        Certificate, dict.fromkeys(("gradient_norm", "duality_gap", "objective"), is_numbers)
    ),
    "Network": dataclass_record(
        Network,
        {
            "sizes": lambda value: isinstance(value, tuple) and all(map(is_count, value)),
            "activation": is_text,
            "loss": is_text,
            "alpha": is_number,
        },
    ),
    "VectorDescent": dataclass_record(
        VectorDescent,
        {
            "batch_size": is_count,
            "optimizer": one_of(Optimizer),
            "average": is_count,
            "clip_norm": is_number,
            "n_jobs": is_count,
            "sampling": is_text,
            "seed": lambda value: isinstance(value, int) and not is_flag(value),
            "schedule": one_of(Schedule),
            "eta0": is_number,
            "mu": is_number,
        },
    ),
    "State": state_record(State),
    "VectorState": state_record(VectorState),
    "given": Record(Given, lambda given: vars(given), lambda values: None),
}
"""By the name that stands in a file."""
