"""Where a fit stands beside its state, between two epochs or within one: what it goes on from.

A state has what the steps of the next epoch need. When a fit stops, which rates it lowers and
which weights it ends with depends on more: on the best loss and the epochs without gain, on the
rates that were lowered, on the best weights so far. With both a fit that was interrupted goes on as
if it had not been.

Within an epoch, between two windows of a stream, the last epoch has been decided about, and the
next one will be measured against it: its model, and with backoff the state it ended with, are part
of where the fit stands.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core import State

__all__ = [
    "Standing",
    "copied",
    "network_standing_of",
    "put",
    "restore",
    "restore_network",
    "same",
    "standing_of",
    "taken",
]

Standing = dict[str, Any]
"""Numbers, arrays, states, None, and tuples and dictionaries of these, by name."""


def copied(value: Any) -> Any:
    """A copy that later epochs do not change."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple):
        return tuple(map(copied, value))
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    return value


def same(name: str, value: Any, like: Any) -> Any:
    """The value, which must be of the kind of another: it may come from a file.

    Raises
    ------
    ValueError
        If its type, shape or dtype is another.
    """
    right = type(value) is type(like)
    if isinstance(like, np.ndarray):
        right = right and (value.shape, value.dtype) == (like.shape, like.dtype)
    elif isinstance(like, tuple):
        right = right and len(value) == len(like)
        if right:
            return tuple(same(name, one, other) for one, other in zip(value, like, strict=True))
    elif isinstance(like, int):  # a count, or a truth value
        right = right and 0 <= value < 2**62
    if not right:
        raise ValueError(f"the checkpoint has {name}={value!r:.80}, which this fit cannot have")
    return value


def put(found: Mapping[str, Any], into: Any, names: tuple[str, ...]) -> None:
    """Give an object the attributes that :func:`taken` took of one like it; arrays in place."""
    for name in names:
        like = getattr(into, name)
        value = same(name, found.get(name), like)
        if isinstance(like, np.ndarray):
            like[...] = value
        else:
            setattr(into, name, value)


def taken(source: Any, names: tuple[str, ...]) -> Standing:
    """Copies of some attributes."""
    return {name: copied(getattr(source, name)) for name in names}


def best_of(found: Any, like: tuple[Any, Any]) -> tuple[Any, Any] | None:
    """Weights and intercepts, or None."""
    return None if found is None else same("best weights", found, like)


def standing_of(training: Any) -> Standing:
    """Where a fit of linear lanes stands: at the end of an epoch, before it decides what follows,
    or between two windows of one."""
    progress, validate = training.progress, training.stopping.validate
    annealing = training.annealing
    return {
        **taken(progress, ("epochs", "stopped", "clipped", "backoffs")),
        **taken(training, ("lowered", "ran_away", "is_best", "best", "score")),
        "rate_factor": training.state.rate_factor.copy(),
        "before": copied(training.before) if training.swings else None,
        "tie": copied(getattr(validate, "tie", None)),
        "watch": training.watch.standing(),
        "annealing": None if annealing is None else annealing.standing(),
        "within": _within(training),
    }


def _within(training: Any) -> Standing | None:
    """What there is to know beside in the middle of an epoch; None at the end of one."""
    state, progress = training.state, training.progress
    if state.row == 0 and state.batch_row == 0:
        return None
    return {
        "model": copied((progress.coef, progress.intercept)),  # of the end of the last epoch
        "first_loss": None if len(progress.history) else copied(training.first_loss),
        "good": training.good,
        "rate": float(training.run.rate),
        "seconds": time.perf_counter() - training.began,
    }


def restore(training: Any, found: Mapping[str, Any]) -> None:
    """Make a new fit, which has the state of another one, stand where that one stood."""
    progress, state, stopping = training.progress, training.state, training.stopping
    put(found, progress, ("epochs", "stopped", "clipped", "backoffs"))
    put(found, training, ("lowered", "ran_away", "is_best"))
    state.rate_factor[:] = _factors(found.get("rate_factor"), state.rate_factor)
    state.active[progress.stopped] = 0.0
    training.some_stopped = bool(progress.stopped.any())
    training.has_lowered = bool((training.lowered != 1.0).any())
    if found.get("within") is None:
        training.take_end()
        if training.good is not None:
            training.good = state.copy()
    else:
        _restore_within(training, _part(found, "within"))
    model = progress.coef, progress.intercept
    training.best = best_of(found.get("best"), model)
    if training.swings:
        training.before = same("weights", found.get("before"), model)
    training.watch.restore(_part(found, "watch"))
    if training.annealing is not None:
        training.annealing.restore(_part(found, "annealing"))
    k = progress.epochs.shape
    if stopping.validate is not None:
        score, tie = found.get("score"), found.get("tie")
        if type(score) is not float:
            score = same("score", score, np.zeros(k))
        training.score = score
        if hasattr(stopping.validate, "tie"):
            stopping.validate.tie = None if tie is None else same("tie", tie, np.zeros(k))


def _restore_within(training: Any, found: Mapping[str, Any]) -> None:
    """The same in the middle of an epoch."""
    progress, state = training.progress, training.state
    if training.data.stream is None or state.row + state.batch_row >= training.data.epoch_rows:
        raise ValueError("the checkpoint is within an epoch, where this fit cannot go on")
    model = progress.coef, progress.intercept
    progress.coef, progress.intercept = same("weights", found.get("model"), model)
    if training.good is not None:
        good = found.get("good")
        at = (good.epoch, good.row, good.batch_row) if isinstance(good, State) else None
        if good is None or at != (state.epoch, 0, 0):
            raise ValueError("the checkpoint has no state of the end of the last epoch")
        training.run_of(good)  # or it is refused
        training.good = good
        if not len(progress.history):
            training.first_loss = same("losses", found.get("first_loss"), training.first_loss)
    training.run.rate = same("rate", found.get("rate"), 1.0)
    training.spent = same("seconds", found.get("seconds"), 1.0)


def _part(found: Mapping[str, Any], name: str) -> Standing:
    part = found.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"the checkpoint has no {name}, which this fit needs")
    return part


def _factors(value: Any, like: Any) -> Any:
    factors = same("rate_factor", value, like)
    if not ((factors >= 0.0) & np.isfinite(factors)).all():
        raise ValueError("the checkpoint has factors of rates that are negative or not finite")
    return factors


def network_standing_of(training: Any) -> Standing:
    """The same of a fit of a network."""
    return {
        **taken(training.progress, ("epochs", "stopped")),
        **taken(training, ("is_best", "best", "score")),
        "rate_factor": float(training.state.rate_factor),
        "watch": training.watch.standing(),
    }


def restore_network(training: Any, found: Mapping[str, Any]) -> None:
    """The same for a new fit of a network."""
    progress, state = training.progress, training.state
    put(found, progress, ("epochs", "stopped"))
    put(found, training, ("is_best", "score"))
    state.rate_factor = same("rate_factor", found.get("rate_factor"), 1.0)
    training.watch.restore(_part(found, "watch"))
    training.losses = same("losses", progress.losses[-1], np.zeros(1)).copy()
    training.model = progress.model = state.model(training.descent)
    best = found.get("best")
    training.best = None if best is None else same("best weights", best, training.model)
