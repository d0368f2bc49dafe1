"""One run made step by step: what the solver had before each update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import _core
from ...descent import Descent
from ...exceptions import DivergenceError
from ...solver import BLOWN_UP

__all__ = ["Steps", "last_point", "step_by_step"]


class Steps(NamedTuple):
    """T updates, and T + 1 points, of which the start is the first."""

    points: list[Any]
    batch_rows: list[NDArray[np.int64]]
    learning_rate: list[float]
    examples: list[int]
    diverged: bool


def step_by_step(
    descent: Descent,
    constants: tuple[Any, Any],
    n: int,
    state: Any,
    *,
    steps: int,
    advance: Callable[[int], None],
    point: Callable[[NDArray[np.int64]], Any],
) -> Steps:
    """Make updates one by one, until there are ``steps`` or one diverges.

    Parameters
    ----------
    descent : Descent
        How the steps are made.
    constants : tuple of (eta0, mu)
        Of the learning rate, as arrays of one number each.
    n : int
        Rows.
    state : State or VectorState
        The training state, which ``advance`` changes.
    steps : int
        Updates.
    advance : callable
        Makes the update of the next batch, which has the given number of rows.
    point : callable
        What is kept of the state at each point, given the rows of the batch that follows; None if
        the state is not finite, which ends the run.
    """
    m, points, diverged = min(descent.batch_size, n), [], False
    order, epoch = np.zeros(0, dtype=np.int64), -1
    rows: list[NDArray[np.int64]] = []
    rates, examples = [], []
    for step in range(steps + 1):
        try:
            if step:
                advance(len(rows[-1]))
            if state.epoch != epoch:
                epoch = state.epoch
                order = _core.order(descent, n, epoch)
            batch = order[state.row : state.row + m]
            found = point(batch)
        except DivergenceError:
            found = None
        if found is None:
            diverged = True
            break
        points.append(found)
        rows.append(batch)
        e = state.epoch + (state.row // m) / -(-n // m)
        rates.append(float(descent.schedule.rate(*constants, np.atleast_1d(state.t) + 1, e)[0]))
        examples.append(state.epoch * n + state.row)
    return Steps(points, rows, rates, examples, diverged)


def last_point(loss: NDArray[np.float64]) -> int:
    """How many of the points of a run are kept: those before the loss (T + 1,) has blown up."""
    bad = ~(loss < BLOWN_UP * max(abs(loss[0]), 1e-300))
    return max(1, int(bad.argmax())) if bad.any() else len(loss)
