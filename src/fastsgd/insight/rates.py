"""A learning-rate range test: sixteen constant rates at once, as lanes, from the same weights.

Unlike Smith's test (2017), in which one rate rises step by step, no rate inherits the weights that
another left, and all see the same rows in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from ..estimators.base import BaseSGD
from ..exceptions import DivergenceError
from ..problem import LANE_NUMBERS, Lanes
from ..schedules import Schedule
from ..solver import Fit, State, Stopping, fit
from ..statistics.sample import loss_at
from .checks import check_count, check_sequence
from .problem import EstimatorProblem, problem_of
from .stability import stable_rate_of

__all__ = ["RateRange", "rate_range"]

Float = NDArray[np.float64]

COUNT = 16
"""Rates that are tried, at first."""

BETWEEN = 2.0 ** (np.delete(np.arange(-7, 8), 7) / 7.5)
"""Rates that are tried then, times the best of those."""

HIGHEST = 2.0**4
"""The largest of them, times 1 / L; each is half of the one above."""


@dataclass(frozen=True)
class RateRange:
    """Losses against constant learning rates, and what they suggest.

    Attributes
    ----------
    rates : ndarray of shape (r,)
        In increasing order.
    loss : ndarray of shape (r,)
        Mean loss of the rows with the penalty, at the end, over all outputs together; infinite
        where the run diverged.
    smoothed : ndarray of shape (r,)
        Its running median over three rates.
    start_loss : float
        The loss that all begin with.
    suggested : float
        The rate of the least smoothed loss.
    inverse_curvature : float
        1 / L, L the curvature that a batch of this size meets.
    epochs : int
        Epochs of each run.
    """

    rates: Float
    loss: Float
    smoothed: Float
    start_loss: float
    suggested: float
    inverse_curvature: float
    epochs: int


def rate_range(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    rates: ArrayLike | None = None,
    epochs: int = 2,
) -> RateRange:
    """Train at constant rates from the weights of an estimator, or from where a fit starts.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        Fitted or not; it is not touched. Its loss, penalty, batch size and momentum count.
    X, y, sample_weight
        What it is to be trained on.
    rates : array-like of shape (r,), optional
        At least three, positive; None: sixteen, the largest 16 / L, each half of the next, and
        then fourteen around the best of them.
    epochs : int, default=2
        Epochs of each run.

    Returns
    -------
    RateRange

    Raises
    ------
    ValueError
        Bad input; or if every rate diverges.
    """
    problem = problem_of(estimator, X, y, sample_weight, fitted=False)
    bound = 0.5 * stable_rate_of(problem)
    tried = bound * HIGHEST * 2.0 ** -np.arange(COUNT)
    if rates is not None:
        tried = np.array(check_sequence("rates", rates, Real), dtype=np.float64)
    tried = np.unique(tried)
    if len(tried) < 3 or not np.isfinite(tried).all() or tried[0] <= 0.0:
        raise ValueError(f"rates must be at least three positive numbers, got {rates!r}")
    epochs = check_count("epochs", epochs)
    loss = _losses(problem, tried, epochs)
    if not np.isfinite(loss).any():
        raise ValueError(f"every rate diverges, from {tried[0]:.3g} on: scale the features")
    if rates is None:
        between = tried[_smooth(loss).argmin()] * BETWEEN
        loss = np.append(loss, _losses(problem, between, epochs))
        order = np.argsort(np.append(tried, between))
        tried, loss = np.append(tried, between)[order], loss[order]
    smoothed = _smooth(loss)
    start = float(_objective(problem, problem.coef, problem.intercept, problem.lanes).sum())
    best = float(tried[smoothed.argmin()])
    return RateRange(tried, loss, smoothed, start, best, bound, epochs)


def _smooth(loss: Float) -> Float:
    """The running median over three, infinite where a run diverged."""
    smoothed = median_filter(np.minimum(loss, np.finfo(np.float64).max), size=3, mode="nearest")
    return np.where(np.isfinite(loss), smoothed, np.inf)


def _losses(problem: EstimatorProblem, rates: Float, epochs: int) -> Float:
    """Objective at the end of a run at each rate, summed over the outputs; (r,)."""
    if problem.settings.terms.coupled and len(rates) > 1:  # a softmax is one model: they take turns
        return np.concatenate(
            [_losses(problem, rates[i : i + 1], epochs) for i in range(len(rates))]
        )
    k, count = problem.lanes.k, len(rates)
    names = (*LANE_NUMBERS, "target")
    fields = {name: np.tile(getattr(problem.lanes, name), count) for name in names}
    lanes = Lanes(k * count, **(fields | {"eta0": np.repeat(rates, k)}))
    settings = replace(problem.settings, schedule=Schedule("constant"), average=0)
    start = np.tile(problem.coef, (count, 1)), np.tile(problem.intercept, count)
    failed = np.zeros(lanes.k, dtype=bool)
    while not failed.all():
        state, seen = State(problem.data, lanes, settings), Fit()
        state.set_weights(*start)
        state.active[failed] = 0.0
        try:
            fit(problem.data, lanes, settings, state, Stopping(max_epochs=epochs, tol=None), seen)
            break
        except DivergenceError:
            failed |= seen.at_fault
            failed |= failed.reshape(count, k).any(axis=1).repeat(k)
    else:
        return np.full(count, np.inf)
    value = _objective(problem, *map(np.asarray, state.last_weights()), lanes)
    return np.where(failed, np.inf, value).reshape(count, k).sum(axis=1)


def _objective(problem: EstimatorProblem, coef: Any, intercept: Any, lanes: Lanes) -> Float:
    """Loss of a sample of rows and penalty, of each lane."""
    wide = coef.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = loss_at(problem.data, lanes, problem.settings, coef, intercept)
        penalty = 0.5 * lanes.alpha * np.square(wide).sum(axis=1)
        penalty += lanes.l1 * np.abs(wide).sum(axis=1) + lanes.pull * intercept
        total = loss + penalty
    return np.where(np.isfinite(total), total, np.inf)
