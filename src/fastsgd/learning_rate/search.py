"""A search over sixteen learning rates at once, as lanes, on a sample of rows.

Curvature bounds the rate (see ``auto_rate`` of ``statistics/curvature.py``), and for most losses
that is all there is to know. It says nothing where the slope is bounded and the targets are real:
Huber's loss in minutes wants sixty times the rate that it wants in hours. There a search decides
(Bottou, Stochastic gradient descent tricks, 2012, tries rates on a sample one after the other).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..exceptions import DivergenceError
from ..problem import LANE_NUMBERS, Data, Lanes, Settings, take
from ..schedules import Schedule
from ..solver import State, run_epoch
from ..statistics.curvature import bounded
from ..statistics.sample import least_loss, loss_at

__all__ = ["LearningRateSearch", "is_worthwhile", "search_rates"]

FIRST_EXPONENTS = -4, 11
"""Powers of 2 that the rate of theory is multiplied by at first: sixteen lanes for each lane."""

MIN_EXPONENT, MAX_EXPONENT = -100, 250
"""Powers of 2 beyond which no more are tried."""

SAMPLE_ROWS, MAX_EPOCHS = 256, 10
"""Rows of the sample, at most, and epochs, so that there are about as many updates as rows."""

TIE_RATIO = 1.03
"""A loss is as good as the least up to this multiple of it, both measured from the infimum of the
loss; the factor nearest to 1 is taken."""

MAX_RATIO, MAX_RATIO_OF_EPOCH = 1e3, 1.5
"""A rate is too high if an epoch ends with more than this multiple of the loss at weights of zero,
even where later epochs make up for it; the second where the model is used after each epoch."""


@dataclass(frozen=True)
class LearningRateSearch:
    """Losses of short runs at many rates.

    Attributes
    ----------
    factors : ndarray of shape (m,)
        What the rate of theory was multiplied by, rising: powers of 2.
    loss : ndarray of shape (K, m)
        Mean loss of the sample at the end of each run, without penalties; infinite of a rate that
        is left out.
    at_start : ndarray of shape (K,)
        Its mean loss at weights of zero.
    chosen : ndarray of shape (K,)
        The factor of each lane.
    """

    factors: NDArray[np.floating]
    loss: NDArray[np.float64]
    at_start: NDArray[np.float64]
    chosen: NDArray[np.float64]


def is_worthwhile(settings: Settings) -> bool:
    """Whether short runs can tell more about the rate than the curvature does."""
    return (
        (bounded(settings) or not settings.optimizer.linear)
        and settings.terms.infimum > -np.inf
        and not settings.sign_targets
        and settings.step == "gradient"
        and settings.schedule.kind != "callable"
    )


def search_rates(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    eta0: NDArray[np.float64],
    *,
    run_epochs: float = math.inf,
    every_epoch: bool = False,
) -> LearningRateSearch:
    """Short runs at ``eta0`` (K,) times powers of 2, and the best of them for each lane.

    The runs are of evenly spaced rows of positive weight, fall to 0 and go without penalties, so
    that they do not depend on alpha; the loss is that of the same rows at the end. They have
    about 256 updates, or as many as the run that they are for where it has fewer, in ten epochs at
    most. A rate is left out if an epoch ends above 1,000 times the loss at weights of zero, or
    above 1.5 times where the model is used after every epoch. Where the largest or the smallest
    rate is the best, or none gets anywhere, others are tried beyond it.

    Parameters
    ----------
    data : Data
    lanes : Lanes
        At any rates and penalties; ``intercept_rate`` counts.
    settings : Settings
    eta0 : ndarray of shape (K,)
        Rates of theory.
    run_epochs : float
        Epochs of the run, if they are known.
    every_epoch : bool
        Whether the model is used after every epoch.

    Raises
    ------
    ValueError
        If no rate lowers the loss: y is too large.
    """
    rows = np.arange(data.n) if data.sample_weight is None else np.flatnonzero(data.sample_weight)
    rows = rows[:: max(1, len(rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    weight = None if data.sample_weight is None else data.sample_weight[rows]
    X, scaling = take(data.X, rows), (data.offset, data.scale)
    sample = Data(X, data.y[rows], weight, *scaling, checked=True)
    updates = math.ceil(sample.n / min(settings.batch_size, sample.n))
    of_run = run_epochs * math.ceil(data.epoch_rows / min(settings.batch_size, data.epoch_rows))
    epochs = min(MAX_EPOCHS, math.ceil(min(SAMPLE_ROWS, of_run) / updates))
    schedule = Schedule("polynomial", power=2.0, total_epochs=float(epochs))
    settings = replace(settings, schedule=schedule, average=0, n_jobs=1)
    at_start = loss_at(sample, lanes, settings, np.zeros((lanes.k, sample.d)), np.zeros(lanes.k))
    least = least_loss(sample, lanes, settings)
    start = at_start - least
    with np.errstate(over="ignore"):
        most = least + (MAX_RATIO_OF_EPOCH if every_epoch else MAX_RATIO) * start
    has_gradient = (start > 0.0) & _has_gradient(sample, lanes, settings)
    exponents = np.arange(FIRST_EXPONENTS[0], FIRST_EXPONENTS[1] + 1)
    loss = _finite_losses(sample, lanes, settings, eta0, exponents, most)
    while True:
        loss[np.logical_or.accumulate(~np.isfinite(loss), axis=1)] = np.inf
        above = np.maximum(loss - least[:, None], 0.0)
        with np.errstate(over="ignore"):
            tied = TIE_RATIO * above.min(axis=1)
        ties = above <= tied[:, None]
        best = np.where(ties, np.abs(exponents), np.inf).argmin(axis=1)
        improves = tied < start
        extends_up = (best == len(exponents) - 1) | (~improves & ties[:, -1])
        extends_up &= has_gradient & np.isfinite(loss[:, -1])
        extends_down = ((best == 0) | ~np.isfinite(loss).any(axis=1)) & has_gradient
        if extends_up.any() and exponents[-1] < MAX_EXPONENT:
            more = np.arange(exponents[-1] + 1, exponents[-1] + 17)
            exponents = np.append(exponents, more)
            loss = np.append(
                loss, _finite_losses(sample, lanes, settings, eta0, more, most), axis=1
            )
        elif extends_up.any():
            raise ValueError(
                "y is so large that no learning rate lowers the loss. Its slope is bounded, and "
                f"its mean at weights of zero is {at_start.max():.3g}. Scale y."
            )
        elif extends_down.any() and exponents[0] > MIN_EXPONENT:
            more = np.arange(exponents[0] - 16, exponents[0])
            exponents = np.append(more, exponents)
            loss = np.append(
                _finite_losses(sample, lanes, settings, eta0, more, most), loss, axis=1
            )
        else:
            return LearningRateSearch(2.0**exponents, loss, at_start, 2.0 ** exponents[best])


def _has_gradient(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.bool_]:
    """Whether the loss at weights of zero has a gradient at all, (K,)."""
    y = data.y[:, lanes.target].astype(np.float64)
    c = settings.terms.slope(np.zeros_like(y), y, settings.loss_parameter)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is not 0 either
        c = c if data.sample_weight is None else c * data.sample_weight[:, None]
        features = np.asarray(data.rows(slice(None)).T @ c)
        intercepts = c.sum(axis=0)
    return (features != 0.0).any(axis=0) | (settings.fit_intercept & (intercepts != 0.0))


def _finite_losses(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    eta0: NDArray[np.float64],
    exponents: NDArray[np.int64],
    most: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Losses (K, m) at eta0 times powers of 2; infinite if that rate or a lower one diverges.

    They are infinite too if the loss after an epoch exceeds ``most`` (K,).
    """
    loss = np.full((lanes.k, len(exponents)), np.inf)
    with np.errstate(over="ignore"):
        rates = np.outer(eta0, 2.0**exponents)
    usable = int(np.isfinite(rates).all(axis=0).sum())
    for count in range(usable, 0, -4):
        try:
            loss[:, :count] = _losses(data, lanes, settings, rates[:, :count], most)
            break
        except DivergenceError:  # of a user's loss, whose slope is not what it seemed
            pass
    return loss


def _losses(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    rates: NDArray[np.float64],
    most: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Losses (K, count) at the end of runs at rates (K, count), as of :func:`_finite_losses`."""
    k, count = rates.shape
    names = set(LANE_NUMBERS) - {"alpha", "l1", "eta0"} | {"target"}
    fields = {name: np.repeat(getattr(lanes, name), count) for name in names}
    tried = Lanes(k * count, alpha=0.0, l1=0.0, eta0=rates.ravel(), **fields)
    state = State(data, tried, settings)
    usable = np.ones((k, count), dtype=bool)
    while state.epoch < settings.schedule.horizon:
        run_epoch(data, tried, settings, state)
        loss = loss_at(data, tried, settings, *state.last_weights()).reshape(k, count)
        usable &= loss <= most[:, None]
    return np.where(usable, loss, np.inf)
