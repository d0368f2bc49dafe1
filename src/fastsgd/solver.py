"""The solver: epochs, stopping and Ctrl-C, in the gaps between bounded calls into the core.

``State``, ``run_epoch`` and ``gradient`` have the names and arguments of their twins in
:mod:`fastsgd.reference`; :func:`fit` adds what a user waits for: many epochs, stopping, progress.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ._core import Run, State
from .exceptions import DivergenceError
from .losses import LOSSES
from .problem import Data, Lanes, Settings

__all__ = ["Fit", "State", "Stopping", "fit", "gradient", "run_epoch"]

CALL_SECONDS = 0.01
"""Aim of one call into the core: long enough to hide the crossing, short enough for Ctrl-C."""

_FIRST_BUDGET = 1 << 18

BLOWN_UP = 1e6
"""Growth of a loss over that of its first epoch at which a lane has diverged, not settled."""


class _Clock:
    """Chooses the budget of the next call by the time of the last one; no bit depends on it."""

    def __init__(self) -> None:
        self.budget = _FIRST_BUDGET

    def advance(self, run: Run) -> bool:
        if run.draws_order:
            return run.advance(self.budget)
        start = time.perf_counter()
        done = run.advance(self.budget)
        seconds = time.perf_counter() - start
        if seconds > 2 * CALL_SECONDS:
            self.budget = max(1 << 12, self.budget // 2)
        elif seconds < CALL_SECONDS / 2 and not done:
            self.budget = min(1 << 30, self.budget * 2)
        return done


def run_epoch(
    data: Data, lanes: Lanes, settings: Settings, state: State, batches: int | None = None
) -> None:
    """Train to the end of the running epoch, or for at most ``batches`` batches of it.

    Raises
    ------
    DivergenceError
        If a score is not finite.
    """
    run, clock = Run(data, lanes, settings, state), _Clock()
    if batches is None:
        while not clock.advance(run):
            pass
        return
    epoch, stop = state.epoch, state.row + batches * min(settings.batch_size, data.n)
    while state.epoch == epoch and state.row < stop:
        run.advance(1)


def gradient(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    state: State,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Gradient (d, K) and (K,) of the objective at the last weights, over ``rows`` (all).

    Of the smooth part: the loss, L2 and pull, without the L1 term.
    """
    rows = np.arange(data.n) if rows is None else np.asarray(rows, dtype=np.int64)
    g, g_b, count = Run(data, lanes, settings, state).gradient_sums(rows)
    count = np.maximum(1, count)
    return g / count + lanes.alpha * state.last_weights()[0].T, g_b / count + lanes.pull


@dataclass(frozen=True)
class Stopping:
    """When to stop: after ``max_epochs``, or when the training loss no longer falls.

    A lane stops after ``patience`` epochs in a row whose loss is above its best minus ``tol``;
    ``tol`` None never stops early.
    """

    max_epochs: int = 1000
    tol: float | None = 1e-3
    patience: int = 5


@dataclass
class Fit:
    """What a fit saw.

    Attributes
    ----------
    losses : list of ndarray of shape (K,)
        Per epoch: mean loss of the rows, each before its step, plus the penalty at the end.
    epochs : ndarray of shape (K,), int64
        Epochs each lane was trained.
    clipped : bool
        eta * alpha reached 1 and set weights to zero.
    stopped : ndarray of shape (K,), bool
        Lanes that stopped by the tolerance.
    """

    losses: list[NDArray[np.float64]] = field(default_factory=list)
    epochs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    clipped: bool = False
    stopped: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))


def _epoch_loss(lanes: Lanes, state: State) -> NDArray[np.float64]:
    loss = state.loss_sum / np.maximum(1.0, state.row_count)
    return loss + 0.5 * lanes.alpha * state.squared_norms() if lanes.alpha.any() else loss


def fit(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    state: State,
    stopping: Stopping,
    on_epoch: Callable[[int, NDArray[np.float64]], None] | None = None,
) -> Fit:
    """Train until every lane has stopped or ``max_epochs`` are done.

    Parameters
    ----------
    on_epoch : callable, optional
        Called with the number of epochs done and their last losses (K,).

    Raises
    ------
    DivergenceError
        If the run overflows. ``state`` is then of no use.
    KeyboardInterrupt
        Within about 20 ms of Ctrl-C; ``state`` holds the model as it stands.
    """
    run, clock = Run(data, lanes, settings, state), _Clock()
    result = Fit(epochs=np.zeros(lanes.k, dtype=np.int64), stopped=np.zeros(lanes.k, dtype=bool))
    best, without_gain = np.full(lanes.k, np.inf), np.zeros(lanes.k, dtype=np.int64)
    loss = np.zeros(lanes.k)
    for epoch in range(1, stopping.max_epochs + 1):
        done = False
        while not done:
            done = clock.advance(run)
            result.clipped |= run.clipped
        active = ~result.stopped
        loss = np.where(active, _epoch_loss(lanes, state), loss)
        if not np.isfinite(loss).all():
            raise DivergenceError(int(max(state.t)), run.rate, float(np.abs(data.X).max()))
        result.losses.append(loss)
        result.epochs[active] = epoch
        if on_epoch is not None:
            on_epoch(epoch, loss)
        if stopping.tol is not None:
            without_gain = np.where(loss > best - stopping.tol, without_gain + 1, 0)
            best = np.minimum(best, loss)
            stops = without_gain >= stopping.patience
            if (stops & (loss > BLOWN_UP * result.losses[0])).any():
                raise DivergenceError(int(max(state.t)), run.rate, float(np.abs(data.X).max()))
            result.stopped |= stops
            if result.stopped.all():
                break
            if (stops & (state.active > 0.0)).any():
                run.settle()  # a frozen lane keeps its bits, however the others go on
                state.active[result.stopped] = 0.0
    coef, intercept = state.weights(settings)
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        raise DivergenceError(int(max(state.t)), run.rate, float(np.abs(data.X).max()))
    return result


def auto_rate(data: Data, settings: Settings) -> tuple[float, float]:
    """eta0 and mu of the schedule eta0 / sqrt(1 + eta0 mu (t - 1)), from the data.

    eta0 is 1 / (smoothness * the curvature that a batch of this size meets), times 1 - momentum.
    For m rows the second moment of the batch gradient is bounded by

        lambda_max + (mean |x|^2 - lambda_max) / m,

    with lambda_max the largest eigenvalue of X'X / n: mean |x|^2 at m = 1, the largest curvature of
    the objective at m = n. (Moulines & Bach 2011 for m = 1; Ma, Bassily & Belkin 2018 for batches.)
    The intercept counts as a feature of ones. mu is a fifth of the curvature in an average
    direction, smoothness * mean |x|^2 / d. Estimated on at most 4,096 evenly spaced rows. A loss
    with a kink counts as one of smoothness 1.
    """
    rows = np.arange(0, data.n, max(1, data.n // 4096))[:4096]
    X = data.X[rows]
    squares = X.multiply(X).sum() if hasattr(X, "multiply") else np.einsum("ij,ij->", X, X)
    mean_square = largest = float(squares) / len(rows) + 1.0
    if not math.isfinite(mean_square):
        raise ValueError(f"X has rows whose |x|^2 is not finite: mean {mean_square}")
    m = min(settings.batch_size, data.n)
    if m > 1:
        vector = np.ones(data.d + 1) / math.sqrt(data.d + 1)
        for _ in range(10):  # power iteration on [X 1]'[X 1] / n
            scores = X @ vector[:-1] + vector[-1]
            image = np.append(X.T @ scores, scores.sum()) / len(rows)
            largest = float(np.linalg.norm(image))
            vector = image / largest
        largest = min(1.1 * largest, mean_square)  # power iteration approaches from below
    smoothness = LOSSES[settings.loss].smoothness
    smoothness = smoothness if 0.0 < smoothness < np.inf else 1.0
    curvature = smoothness * (largest + (mean_square - largest) / m)
    return (1.0 - settings.momentum) / curvature, 0.2 * smoothness * mean_square / (data.d + 1)


def typical_weight(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.float64]:
    """sum s_ik^2 / sum s_ik, shape (K,): the weight by which a lane's rows scale its gradients."""
    moments = np.empty((2, lanes.k))
    weight = np.ones(data.n) if data.sample_weight is None else data.sample_weight.astype(float)
    for power in (1, 2):
        powers = weight**power
        for k in range(lanes.k):
            positive = total = powers.sum()
            if settings.sign_targets:
                positive = powers[data.y[:, lanes.target[k]] == lanes.label[k]].sum()
            moments[power - 1, k] = lanes.weight_positive[
                k
            ] ** power * positive + lanes.weight_negative[k] ** power * (total - positive)
    return np.divide(moments[1], moments[0], out=np.ones(lanes.k), where=moments[0] > 0.0)
