"""The learning rates of lanes: given, found from the data, or kept from an earlier call."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings
from ..schedules import optimal_eta0
from ..statistics.curvature import (
    Curvature,
    adaptive_rate,
    bounded,
    curvature_of,
    initial_fraction,
    rate_of_row,
    row_size,
    stable_rate,
)
from ..statistics.weights import typical_weight
from .search import LearningRateSearch, is_worthwhile, search_rates

__all__ = ["ETA0", "Rates", "Request", "is_kept_by_row", "is_settled", "rates_of"]

ETA0 = {"constant": 0.01, "invscaling": 0.01, "adaptive": 0.01, "pa1": 1.0, "pa2": 1.0}
"""eta0 of a rate by that name where none is given, as in scikit-learn; of others the data say."""

ENOUGH_ROWS = 100
"""Rows after which the rates that the data gave are kept, however ``partial_fit`` goes on."""

PENALISED = 2.0
"""Times the data's curvature in an average direction, the L2 penalty from which on a rate of
1 / (alpha t) is right for most directions."""

START = 4.0
"""Part of the stable rate with which such a run starts, where no step can diverge. Rows that share
few features do not add up to more."""

INTERCEPT_SQUARE, INTERCEPT_UPDATES, INTERCEPT_CURVATURE = 20.0, 5_000, 100.0
"""The intercept's part of the rate in such runs is mean |x|^2 divided by the first number: where
rows are short, a feature of ones would have most of the noise. It is at least the second number
divided by the updates of the run, and lets the intercept's curvature, which may be a twentieth of
what is assumed, be several times alpha."""

SMALLEST, LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Request:
    """What the user asks of the learning rate.

    Attributes
    ----------
    learning_rate : str, Schedule or callable
    eta0 : float or None
        None: that of ``ETA0``, or found from the data.
    strength : float
        Of the whole penalty; the rate "optimal" is made of it.
    batch_size : int
    linear_scaling : bool
        Whether an eta0 that is given is multiplied by the rows of a batch.
    epochs : float
        Of the run, if their number is known: ``total_epochs``, or ``max_iter`` without ``tol``.
    partial : bool
        Whether of ``partial_fit`` without ``total_epochs``: the model is used after every call.
    """

    learning_rate: Any
    eta0: float | None
    strength: float
    batch_size: int
    linear_scaling: bool
    epochs: float = math.inf
    partial: bool = False


@dataclass(frozen=True)
class Rates:
    """The learning rates of the lanes, and what was found on the way.

    Attributes
    ----------
    eta0, mu : ndarray of shape (K,)
        Of ``Lanes``.
    curvature : Curvature or None
        Where eta0 comes from the data.
    initial_fraction : ndarray of shape (K,) or None
        Part of the stable rate with which a run of known length starts.
    search : LearningRateSearch or None
        What multiplied the rate that the curvature gives.
    rows : int
        Rows that were seen when the rates were found.
    intercept_rate : ndarray of shape (K,) or float
        Of ``Lanes``.
    """

    eta0: NDArray[np.float64]
    mu: NDArray[np.float64]
    curvature: Curvature | None = None
    initial_fraction: NDArray[np.float64] | None = None
    search: LearningRateSearch | None = None
    rows: int = 0
    intercept_rate: NDArray[np.float64] | float = 1.0


def rates_of(
    request: Request, data: Data, lanes: Lanes, settings: Settings, known: Rates | None = None
) -> Rates:
    """eta0 and mu of the schedule, per lane; an eta0 that is given, or in ``ETA0``, is used as is.

    What the data say is kept once ``ENOUGH_ROWS`` rows were seen, and until then the mean of what
    they said by the rows that said it. Where a loss is of unbounded slope, and a run may diverge,
    steeper data lower the rate later too.
    """
    rate, eta0 = request.learning_rate, request.eta0

    def given(eta0: Any, mu: Any = 0.0) -> Rates:
        both = np.empty((2, lanes.k))
        both[0], both[1] = eta0, mu
        return Rates(both[0], both[1])

    if settings.schedule.kind == "callable":
        return given(1.0)
    if eta0 is None and isinstance(rate, str):
        eta0 = ETA0.get(rate)
    if rate == "optimal":
        return given(optimal_eta0(request.strength), request.strength)
    if settings.step != "gradient":
        return given(eta0)
    if eta0 is not None:
        eta0 = eta0 * min(request.batch_size, data.epoch_rows) if request.linear_scaling else eta0
        if settings.schedule.kind != "inverse":
            return given(eta0)
    enough = known is not None and known.rows >= ENOUGH_ROWS
    if known is not None and _stays(known, eta0, settings):
        return known
    found = _found_rates(request, data, lanes, settings, eta0)
    if known is None:
        return found
    if enough:
        lower = found.eta0 < known.eta0
        mu = np.where(lower, found.mu, known.mu)
        return replace(known, eta0=np.minimum(found.eta0, known.eta0), mu=mu)
    rows = known.rows + found.rows
    part = found.rows / rows

    def mean(old: Any, new: Any) -> Any:
        return np.where(old == new, old, (1.0 - part) * old + part * new)

    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        both = 1.0 / mean(1.0 / known.eta0, 1.0 / found.eta0)  # that of the mean curvature
    both = np.maximum(both, SMALLEST)
    both = np.where(found.eta0 == known.eta0, known.eta0, both)
    of_b = np.broadcast_to(mean(known.intercept_rate, found.intercept_rate), lanes.k).copy()
    mu = mean(known.mu, found.mu)
    return replace(found, eta0=both, mu=mu, rows=rows, intercept_rate=of_b)


def _stays(known: Rates, eta0: float | None, settings: Settings) -> bool:
    """Whether enough rows have said what a rate from the data is, and no others may lower it."""
    cannot_diverge = bounded(settings) or not settings.optimizer.linear
    return known.rows >= ENOUGH_ROWS and (eta0 is not None or cannot_diverge)


def is_settled(request: Request, settings: Settings, known: Rates) -> bool:
    """Whether :func:`rates_of` gives the ``known`` rates again, whatever the rows."""
    if request.linear_scaling:
        return False
    eta0, kind = request.eta0, settings.schedule.kind
    if eta0 is None and isinstance(request.learning_rate, str):
        eta0 = ETA0.get(request.learning_rate)
    if kind == "callable" or request.learning_rate == "optimal" or settings.step != "gradient":
        return True
    return (eta0 is not None and kind != "inverse") or _stays(known, eta0, settings)


def is_kept_by_row(
    square: float, data: Data, lanes: Lanes, settings: Settings, known: Rates
) -> bool:
    """Whether one row more, of this |x|^2, leaves rates from the data as they are.

    Of lanes without class weights; False also where that cannot be told at once.
    """
    terms = settings.terms
    if (
        data.n > 1
        or known.rows < ENOUGH_ROWS
        or known.curvature is None
        or known.search is not None
        or not settings.optimizer.linear
        or settings.schedule.ends
        or terms.targets == {"count"}
    ):
        return False
    found = rate_of_row(square, data, settings)
    if not 0.0 < found < np.inf:
        return False
    rates = [found / (1.0 + found * alpha) for alpha in lanes.alpha.tolist()]
    return all(rate >= kept for rate, kept in zip(rates, known.eta0.tolist(), strict=True))


def _found_rates(
    request: Request, data: Data, lanes: Lanes, settings: Settings, eta0: float | None
) -> Rates:
    weight = typical_weight(data, lanes, settings)
    curvature = curvature_of(data, settings)
    if not settings.optimizer.linear and eta0 is not None:
        given, ones, rows = np.full(lanes.k, eta0), np.ones(lanes.k), _weighted_rows(data)
        return Rates(given, lanes.alpha.copy(), rows=rows, intercept_rate=ones)
    if not settings.optimizer.linear:
        return _adaptive_rates(request, data, lanes, settings, curvature, weight)
    found, mu = stable_rate(curvature, settings)
    tried = None
    with np.errstate(over="ignore", divide="ignore"):
        suitable = np.asarray(found / weight)
    if eta0 is None and (suitable == 0.0).any():
        weights = ", weights" if (weight != 1.0).any() else ""
        raise ValueError(
            f"y{weights} and X are so large together that the curvature of "
            "the loss is beyond the range of numbers, and no learning rate suits it. Smaller y "
            "might help, or scaling X with StandardScaler or MinMaxScaler."
        )
    if eta0 is None and not np.isfinite(suitable).all():
        raise ValueError(
            "sample_weight and class_weight are so small that the learning rate that suits them is "
            f"not finite: the typical weight of a row is {weight.min():.3g}. Multiply them all by "
            "the same number, and alpha too, for the same model."
        )
    if eta0 is None and is_worthwhile(settings):
        tried = _search(request, data, lanes, settings, found / weight)
    factor: Any = 1.0 if tried is None else tried.chosen
    part: Any = initial_fraction(curvature, data, settings, found, lanes.alpha)
    penalised = _is_penalised(curvature, lanes, settings, weight)
    if eta0 is None:
        part = np.where(
            penalised, START if bounded(settings) and curvature.batch == 1 else 1.0, part
        )
    by = part * factor
    own: Any = eta0
    if eta0 is None:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            own = found * by / (weight + found * by * lanes.alpha)
            exact = np.isfinite(own) & (own > SMALLEST)
            own = np.where(
                exact, own, np.maximum(1.0 / (weight / found / by + lanes.alpha), SMALLEST)
            )
    with np.errstate(over="ignore"):
        falls: Any = np.minimum(mu * weight / factor, LARGEST)
    falls, of_b = np.maximum(falls, lanes.alpha), np.ones(lanes.k)
    if settings.schedule.kind == "harmonic":
        falls = np.where(penalised, lanes.alpha / (1.0 - settings.momentum), 0.0)
        updates = settings.schedule.horizon * data.epoch_rows / curvature.batch
        least = np.maximum(INTERCEPT_UPDATES / updates, _intercept_need(lanes, curvature, weight))
        of_b = np.maximum(least, (curvature.mean_square - 1.0) / INTERCEPT_SQUARE)
        of_b = np.where(penalised, np.minimum(of_b, 1.0), 1.0)
    return Rates(
        np.broadcast_to(own, (lanes.k,)).astype(np.float64),
        falls,
        curvature if eta0 is None else None,
        part if eta0 is None else None,
        tried,
        _weighted_rows(data),
        of_b,
    )


def _is_penalised(
    curvature: Curvature, lanes: Lanes, settings: Settings, weight: Any
) -> NDArray[np.bool_]:
    """Lanes (K,) of a run whose end is known in which the L2 penalty has most of the curvature.

    Not where it has more than the intercept can do with, which no penalty holds.
    """
    if settings.schedule.kind != "harmonic":
        return np.zeros(lanes.k, dtype=bool)
    with np.errstate(over="ignore"):
        most = PENALISED * curvature.average * curvature.effective_rank * np.asarray(weight)
    found = (lanes.alpha > most) & (_intercept_need(lanes, curvature, weight) <= 1.0)
    return np.broadcast_to(found, (lanes.k,))


def _intercept_need(lanes: Lanes, curvature: Curvature, weight: Any) -> Any:
    """Part of a rate of 1 / (alpha t) with which an intercept still gets to its minimum."""
    with np.errstate(over="ignore"):
        return INTERCEPT_CURVATURE * lanes.alpha / (curvature.smoothness * np.asarray(weight))


def _adaptive_rates(
    request: Request,
    data: Data,
    lanes: Lanes,
    settings: Settings,
    curvature: Curvature,
    weight: Any,
) -> Rates:
    """Rates of an optimizer whose step sizes are its own; its schedules fall by ``alpha`` alone."""
    of_rows = row_size(data), 1.0
    own, of_one = (adaptive_rate(curvature, weight, lanes.alpha, size) for size in of_rows)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = of_one / own  # of two rates that may be infinite
    of_b = np.where(np.isfinite(ratio), ratio, 1.0) * np.ones(lanes.k)
    tried = None
    if is_worthwhile(settings):
        unrated = lanes.unrated()
        unrated.intercept_rate[:] = of_b
        tried = _search(request, data, unrated, settings, own)
        own = np.minimum(own * tried.chosen, LARGEST)
    rate = np.broadcast_to(own, (lanes.k,)).astype(np.float64)
    alpha, rows = lanes.alpha.copy(), _weighted_rows(data)
    return Rates(rate, alpha, curvature, None, tried, rows, of_b)


def _search(
    request: Request, data: Data, lanes: Lanes, settings: Settings, eta0: NDArray[np.float64]
) -> LearningRateSearch:
    """A search for the run that is asked for."""
    known = settings.schedule.horizon if settings.schedule.ends else math.inf
    epochs, partial = min(request.epochs, known), request.partial
    return search_rates(data, lanes, settings, eta0, run_epochs=epochs, every_epoch=partial)


def _weighted_rows(data: Data) -> int:
    weight = data.sample_weight
    return data.n if weight is None else int(np.count_nonzero(weight))
