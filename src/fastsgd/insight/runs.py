"""Runs of the solver that are stopped at points between batches, where the loss is worked out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import DivergenceError
from ..solver import BLOWN_UP, State, run_epoch
from ..statistics.objective import Objective
from .problem import EstimatorProblem

__all__ = ["TrainingRun", "record_run", "stretches"]

Float = NDArray[np.float64]

POINTS = 60
"""Approximate number of points of a run; they are dense at its beginning."""


@dataclass(frozen=True)
class TrainingRun:
    """The losses of one training run, at p points of it; an :class:`Experiment` has several.

    Attributes
    ----------
    label : str
        Name of the run in the experiment.
    parameters : dict
        Parameters of the estimator that were set for this run.
    step : ndarray of shape (p,), int64
        Updates made so far. The first point is the start.
    examples : ndarray of shape (p,), int64
        Rows used so far, those of a second epoch counted again.
    seconds : ndarray of shape (p,)
        Seconds of training so far; working out the losses does not count.
    loss : ndarray of shape (p,)
        Mean loss of all training rows plus penalty, summed over the outputs. The points of a run
        that diverged end before the loss exceeds all bounds.
    test_loss : ndarray of shape (p,)
        Mean loss of the test rows, without penalty; NaN if there are none. Test rows are
        standardised like the training rows, and have their classes and class weights.
    diverged : bool
        Whether the run ended because it diverged.
    seed : int
        Number of the run among those of its label, from 0: each has a ``random_state`` of its own.

    See Also
    --------
    compare : Makes experiments of such runs.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> variants = {"batches of 2": {"batch_size": 2}}
    >>> run = compare(SGDRegressor(), X, y, variants=variants, epochs=2).runs[0]
    >>> run.label, run.step, run.examples
    ('batches of 2', array([0, 1, 2, 3, 4]), array([0, 2, 4, 6, 8]))
    >>> bool(run.loss[-1] < run.loss[0] == 10.5), run.diverged
    (True, False)
    """

    label: str
    parameters: dict[str, Any]
    step: NDArray[np.int64]
    examples: NDArray[np.int64]
    seconds: Float
    loss: Float
    test_loss: Float
    diverged: bool
    seed: int = 0


def stretches(marks: Float, batches: int, epochs: int, *, block: int = 1) -> Iterator[int]:
    """Counts of batches to train between the points of a run; none goes beyond an epoch's end.

    Parameters
    ----------
    marks : ndarray
        Batches after which a point is wanted. The end of each epoch is added.
    batches, epochs : int
        Batches of an epoch, and epochs.
    block : int, default=1
        Points are moved to whole multiples of this many batches within their epoch.
    """
    epoch, within = np.divmod(np.round(marks).astype(np.int64), batches)
    points = epoch * batches + within // block * block
    points = np.union1d(points, batches * np.arange(1, epochs + 1))
    for stretch in np.diff(points[(points > 0) & (points <= batches * epochs)], prepend=0):
        yield int(stretch)


def record_run(
    label: str,
    parameters: dict[str, Any],
    problem: EstimatorProblem,
    test: EstimatorProblem | None,
    epochs: int,
    seed: int,
) -> TrainingRun:
    """Train from the problem's weights and take the losses at about ``POINTS`` points."""
    data, lanes, settings = problem.data, problem.lanes, problem.settings
    state = State(data, lanes, settings)
    state.set_weights(problem.coef, problem.intercept)
    points: list[tuple[int, int, float, float, float]] = []
    examples, seconds, diverged = 0, 0.0, False
    objective = Objective(data, lanes, settings)
    test_objective = None if test is None else Objective(test.data, test.lanes, test.settings)

    def add_point() -> bool:
        """Add a point, unless the loss shows that the run has diverged."""
        model = tuple(np.asarray(part, dtype=np.float64) for part in state.weights(settings))
        with np.errstate(over="ignore", invalid="ignore"):
            loss = _sum_over_outputs(problem, objective(*model)[0])
            test_loss = np.nan
            if test is not None and test_objective is not None:
                test_loss = _sum_over_outputs(test, test_objective.loss(*model)[0])
        if points and not loss < BLOWN_UP * abs(points[0][3]):
            return False
        points.append((int(state.t.max()), examples, seconds, loss, test_loss))
        return True

    add_point()
    batches = -(-data.n // min(settings.batch_size, data.n))
    for stretch in stretches(np.geomspace(1, batches * epochs, POINTS), batches, epochs):
        before, start = state.epoch * data.n + state.row, time.perf_counter()
        try:
            run_epoch(data, lanes, settings, state, batches=stretch)
        except DivergenceError:
            diverged = True
            break
        seconds += time.perf_counter() - start
        examples += state.epoch * data.n + state.row - before
        diverged = not add_point()
        if diverged:
            break
    step, used, clock, loss, test_loss = (np.array(column) for column in zip(*points, strict=True))
    return TrainingRun(label, parameters, step, used, clock, loss, test_loss, diverged, seed)


def _sum_over_outputs(problem: EstimatorProblem, values: Float) -> float:
    """The sum of the lanes' values; lanes of a softmax all have the value of the whole."""
    return float(values[0] if problem.settings.terms.coupled else values.sum())
