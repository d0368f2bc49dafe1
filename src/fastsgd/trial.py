"""A trial of sixteen learning rates at once, as lanes, on a sample of rows.

Curvature bounds the rate (:func:`fastsgd.rates.auto_rate`), and for most losses that is all there
is to know. It says nothing where the slope is bounded and the targets are real: Huber's loss in
minutes wants sixty times the rate that it wants in hours. There a trial decides (Bottou, Stochastic
gradient descent tricks, 2012, tries rates on a sample one after the other).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .exceptions import DivergenceError
from .problem import LANE_NUMBERS, Data, Lanes, Settings, take
from .rates import bounded, loss_at
from .schedules import Schedule
from .solver import State, run_epoch

__all__ = ["FACTORS", "pays", "trial"]

FACTORS = 2.0 ** np.arange(-4, 12)
"""What the rate of theory is multiplied by: sixteen lanes for each lane of the fit."""

ROWS, EPOCHS = 256, 10
"""Rows of the sample, at most, and epochs, so that there are about as many updates as rows."""

NEAR = 1.03
"""A loss is as good as the least up to this multiple of it; the factor nearest to 1 is taken."""


def pays(settings: Settings) -> bool:
    """Whether a trial can tell more than curvature does."""
    return (
        bounded(settings)
        and settings.terms.infimum > -np.inf
        and not settings.sign_targets
        and settings.step == "gradient"
        and settings.schedule.kind != "callable"
    )


def trial(
    data: Data, lanes: Lanes, settings: Settings, eta0: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses (K, 16) after a short run at ``eta0`` (K,) times ``FACTORS``; the factors (K,) chosen.

    The runs are of evenly spaced rows of positive weight, fall to 0 and go without penalties, so
    that they do not depend on alpha; the loss is that of the same rows at the end.
    """
    rows = np.arange(data.n) if data.sample_weight is None else np.flatnonzero(data.sample_weight)
    rows = rows[:: max(1, len(rows) // ROWS)][:ROWS]
    weight = None if data.sample_weight is None else data.sample_weight[rows]
    X, scaling = take(data.X, rows), (data.offset, data.scale)
    some = Data(X, data.y[rows], weight, *scaling, checked=True)
    updates = math.ceil(some.n / min(settings.batch_size, some.n))
    epochs = min(EPOCHS, math.ceil(ROWS / updates))
    schedule = Schedule("polynomial", power=2.0, total_epochs=float(epochs))
    settings = replace(settings, schedule=schedule, average=0, n_jobs=1)
    loss = np.full((lanes.k, len(FACTORS)), np.inf)
    for count in range(len(FACTORS), 0, -4):
        try:
            loss[:, :count] = _losses(some, lanes, settings, np.outer(eta0, FACTORS[:count]))
            break
        except DivergenceError:  # of a user's loss, whose slope is not what it seemed
            pass
    distance = np.abs(np.log2(FACTORS))
    near = loss <= NEAR * loss.min(axis=1, keepdims=True)
    return loss, FACTORS[np.where(near, distance, np.inf).argmin(axis=1)]


def _losses(
    data: Data, lanes: Lanes, settings: Settings, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Losses (K, count) at the end of runs at rates (K, count)."""
    k, count = rates.shape
    fields = {name: np.repeat(getattr(lanes, name), count) for name in (*LANE_NUMBERS, "target")}
    fields |= {"alpha": 0.0, "l1": 0.0, "eta0": rates.ravel()}
    tried = Lanes(k * count, **fields)
    state = State(data, tried, settings)
    while state.epoch < settings.schedule.horizon:
        run_epoch(data, tried, settings, state)
    return loss_at(data, tried, settings, *state.last_weights()).reshape(k, count)
