"""Runs of a network's training that are stopped between batches, where the loss is worked out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import NetworkRun
from ..estimators.network_parameters import row_factor
from ..exceptions import DivergenceError
from ..solver import BLOWN_UP
from ..solver.epochs import Clock
from .network_problem import NetworkProblem
from .runs import TrainingRun, stretches

__all__ = ["Steps", "record_network_run", "train_network"]

POINTS = 30
"""Approximate number of points of a run: at each, the losses of all rows cost a third of an epoch
and more."""


class Steps:
    """Batches of a network's epochs, some at a time."""

    def __init__(self, problem: NetworkProblem) -> None:
        self.problem, self.state = problem, problem.state()
        self.run = NetworkRun(problem.data, problem.network, problem.descent, self.state)
        self.clock, self.factor = Clock(), row_factor(problem.estimator, 0, problem.data.n)
        self.batch_size = min(problem.descent.batch_size, problem.data.n)

    def advance(self, batches: int) -> None:
        """Train so many batches; none is beyond the end of the epoch."""
        if self.factor is not None:
            self.state.rate_factor = self.factor(self.state.epoch)
        stop, done = self.state.row + batches * self.batch_size, False
        while not done and self.state.row < stop:
            done = self.clock.advance(self.run, stop)

    def model(self) -> NDArray[Any]:
        """The parameters, padded: averages if there are any."""
        return self.state.model(self.problem.descent)


def record_network_run(
    label: str,
    parameters: dict[str, Any],
    problem: NetworkProblem,
    test: NetworkProblem | None,
    epochs: int,
    seed: int,
) -> TrainingRun:
    """Train from the problem's parameters and take the losses at about ``POINTS`` points."""
    steps = Steps(problem)
    points: list[tuple[int, int, float, float, float]] = []
    n, seconds, diverged = problem.data.n, 0.0, False

    def add_point() -> bool:
        """Add a point, unless the loss shows that the run has diverged."""
        model, state = steps.model(), steps.state
        loss = problem.loss(model)
        test_loss = np.nan if test is None else test.loss(model, penalty=False)
        if points and not loss < BLOWN_UP * abs(points[0][3]):
            return False
        points.append((state.t, state.epoch * n + state.row, seconds, loss, test_loss))
        return True

    add_point()
    batches = -(-n // steps.batch_size)
    for stretch in stretches(np.geomspace(1, batches * epochs, POINTS), batches, epochs):
        start = time.perf_counter()
        try:
            steps.advance(stretch)
        except DivergenceError:
            diverged = True
            break
        seconds += time.perf_counter() - start
        diverged = not add_point()
        if diverged:
            break
    step, used, clock, loss, test_loss = (np.array(column) for column in zip(*points, strict=True))
    return TrainingRun(label, parameters, step, used, clock, loss, test_loss, diverged, seed)


def train_network(problem: NetworkProblem, epochs: int) -> NDArray[Any] | None:
    """The padded parameters after some epochs; None if training diverges."""
    steps = Steps(problem)
    try:
        for _ in range(epochs):
            steps.advance(-(-problem.data.n // steps.batch_size))
    except DivergenceError:
        return None
    model = steps.model()
    return model if np.isfinite(model).all() else None
