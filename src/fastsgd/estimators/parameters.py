"""From an estimator's parameters to the solver's nouns: Settings, Lanes, State."""

from __future__ import annotations

import functools
import math
import multiprocessing
import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from ..inputs.ranges import check_class_weights, check_clip, check_lanes
from ..learning_rate.choose import Rates, Request, rates_of
from ..losses import find
from ..optimizers import OPTIMIZERS, SGD, Optimizer
from ..problem import Data, Lanes, Settings
from ..sampling import SAMPLINGS
from ..schedules import Schedule
from ..solver.stopping import FEW_UPDATES
from .continuation import Continuation, recipe_of
from .task import Task

OneClassRate = Literal[
    "auto",
    "optimal",
    "constant",
    "adaptive",
    "invscaling",
    "step",
    "exponential",
    "linear",
    "polynomial",
    "cosine",
    "one_cycle",
]
LearningRate = OneClassRate | Literal["pa1", "pa2"]
Penalty = Literal["l2", "l1", "elasticnet"]
"""What parameters take by name, for type checkers."""

LEARNING_RATES = {
    "auto": "inverse",
    "optimal": "inverse",
    "constant": "constant",
    "adaptive": "constant",
    "pa1": "constant",
    "pa2": "constant",
    "invscaling": "invscaling",
    "step": "step",
    "exponential": "exponential",
    "linear": "polynomial",
    "polynomial": "polynomial",
    "cosine": "cosine",
    "one_cycle": "one_cycle",
}
"""What ``learning_rate`` takes by name, and the kind of schedule that is."""

PASSIVE_AGGRESSIVE = ("pa1", "pa2")


THREAD_VALUES = 1 << 12
"""Values of a batch, rows times features times lanes, that are worth a thread of their own."""

EPOCH_VALUES = 1 << 20
"""Values of an epoch above which starting threads, about 0.1 ms a call, does not matter."""


_positive = Interval(Real, 0, None, closed="neither")
_not_negative = Interval(Real, 0, None, closed="left")
_count = Interval(Integral, 1, None, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "fit_intercept": ["boolean"],
    "max_iter": [_count],
    "tol": [_not_negative, None],
    "shuffle": ["boolean"],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
    "learning_rate": [StrOptions(set(LEARNING_RATES)), Schedule, callable],
    "eta0": [_positive, None],
    "power_t": [Interval(Real, None, None, closed="neither")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [_count],
    "warm_start": ["boolean"],
    "average": [
        "boolean",
        Interval(Integral, 0, None, closed="left"),
        Interval(RealNotInt, 0, 1, closed="neither"),
    ],
    "batch_size": [_count],
    "n_jobs": [_count, Interval(Integral, None, -1, closed="right"), None],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterov": ["boolean"],
    "optimizer": [StrOptions(set(OPTIMIZERS)), Optimizer],
    "sampling": [StrOptions(set(SAMPLINGS))],
    "decay": [Interval(Real, 0, 1, closed="right")],
    "step_epochs": [_positive],
    "total_epochs": [_positive, None],
    "warmup_steps": [Interval(Integral, 0, None, closed="left")],
    "clip_norm": [_positive, None],
    "linear_scaling": ["boolean"],
    "on_divergence": [StrOptions({"raise", "backoff"})],
    "certificate": ["boolean"],
    "standardize": ["boolean"],
}
"""Constraints of what all estimators share."""

PENALTY_CONSTRAINTS: dict[str, list[Any]] = {
    "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
    "alpha": [_not_negative],
    "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
    "epsilon": [_not_negative],
    "scoring": [str, callable, None],
}
"""Constraints of what the classifier and the regressor share."""


def check_parameters(estimator: Any) -> None:
    """Refuse parameters that do not go together, in scikit-learn's words where it has them."""
    rate, loss = estimator.learning_rate, estimator.loss
    if rate == "optimal" and estimator._strength == 0:
        raise ValueError(
            "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the "
            "optimal learning rate."
        )
    if rate in PASSIVE_AGGRESSIVE and loss != estimator._passive_aggressive_loss:
        raise ValueError(
            f"Learning rate '{rate}' only works with loss '{estimator._passive_aggressive_loss}'."
        )
    if estimator.power_t < 0:
        warnings.warn(
            "Negative values for `power_t` are deprecated in scikit-learn and will raise there: "
            "the rate of 'invscaling' would grow.",
            FutureWarning,
            stacklevel=4,
        )
    if estimator.penalty == "elasticnet" and estimator.l1_ratio is None:
        raise ValueError("l1_ratio must be set when penalty is 'elasticnet'")


def penalties(estimator: Any) -> tuple[float, float]:
    """Strengths of the L2 and of the L1 penalty."""
    ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": estimator.l1_ratio, None: 0.0}[estimator.penalty]
    alpha = estimator._strength if estimator.penalty is not None else 0.0
    return alpha * (1.0 - ratio), alpha * ratio


def schedule_of(
    estimator: Any,
    horizon: float,
    *,
    ends: bool = False,
    stays: bool = False,
    adaptive: bool = False,
) -> Schedule:
    """The schedule that ``learning_rate`` asks for; "auto" falls to 0 where a run ``ends`` with its
    horizon, and ``stays`` where its steps are few and watched, or become shorter by themselves as
    those of an ``adaptive`` optimizer."""
    rate = estimator.learning_rate
    if isinstance(rate, Schedule):
        total = rate.total_epochs
        return replace(rate, total_epochs=horizon if total is None else total)
    common = {"total_epochs": horizon, "warmup_steps": estimator.warmup_steps}
    if callable(rate):
        return Schedule("callable", function=rate, **common)
    if rate == "auto" and ends:
        return Schedule("polynomial" if adaptive else "harmonic", power=1.0, **common)
    return _schedule(
        "constant" if rate == "auto" and (stays or adaptive) else LEARNING_RATES[rate],
        power_t={"auto": 0.5, "optimal": 1.0}.get(rate, estimator.power_t),
        decay=estimator.decay,
        step_epochs=estimator.step_epochs,
        power=1.0 if rate == "linear" else 2.0,
        **common,
    )


_schedule = functools.lru_cache(maxsize=64, typed=True)(Schedule)
_sgd = functools.lru_cache(maxsize=64, typed=True)(SGD)
"""Frozen, and made for every fit: the same object for the same numbers."""


def average_start(estimator: Any, data: Data, batch_size: int, horizon: float) -> int:
    """Number of the update from which the weights are averaged; 0 for never."""
    average = estimator.average
    if isinstance(average, (bool, np.bool_, Integral)):
        return int(average)
    if batch_size > 1 or data.sample_weight is None:
        updates = data.batches(batch_size)
    else:  # rows of weight zero make no update
        updates = max(1, int(np.count_nonzero(data.sample_weight)))
        if data.is_window:  # a sample of the rows of a stream
            updates = max(1, round(updates * data.epoch_rows / data.n))
    return 1 + math.floor(min(2.0**61, (1.0 - average) * horizon * updates))


def average_of(estimator: Any, data: Data, batch_size: int, horizon: float, previous: Any) -> int:
    """The same; that of the ``previous`` call of a run that goes on, if there is one."""
    if previous is not None and previous.average[0] == estimator.average:
        return int(previous.average[1])
    return average_start(estimator, data, batch_size, horizon)


def horizon_of(estimator: Any, previous: Any) -> float:
    """total_epochs, or max_iter of the first fit."""
    return float(min(estimator.max_iter, 2**62)) if previous is None else previous.horizon


def asked_threads(n_jobs: int | None) -> tuple[int | None, Any]:
    """Threads asked for, by number or by ``joblib.parallel_config``; and joblib's backend."""
    backend, asked = get_active_backend()  # of joblib.parallel_config, or of the worker this is
    n_jobs = asked if n_jobs is None and asked != 1 else n_jobs
    if n_jobs is None:
        return None, backend
    # To count processors takes 0.1 ms: only where it matters.
    found = min(n_jobs, 2**31 - 1) if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)
    return found, backend


def threads_of(n_jobs: int | None, data: Data, batch_size: int, k: int) -> int:
    """Threads of a fit: -1 for all processors, -2 for all but one; for None what pays.

    That is one thread in a process or thread that is one of several already, for CSR data, for
    several lanes (docs/decisions.md), for a table of which an epoch is over before threads have
    started, and for batches of fewer than two times ``THREAD_VALUES`` values.
    """
    if n_jobs is None and batch_size == 1:  # which threads cannot share
        return 1
    asked, backend = asked_threads(n_jobs)
    if asked is not None:
        return asked
    useful = min(batch_size, data.n) * data.d // THREAD_VALUES
    crowded = backend.nesting_level or multiprocessing.current_process().daemon
    if crowded or data.sparse or k > 1 or data.n * data.d < EPOCH_VALUES or useful < 2:
        return 1
    return max(1, min(joblib.cpu_count(), useful))


def settings_of(
    estimator: Any,
    task: Task,
    data: Data,
    previous: Continuation | None,
    seed: int,
    *,
    goes_on: bool = False,
    partial: bool = False,
    watched: bool = True,
) -> Settings:
    """What all lanes share; horizon and start of the averages are those of the run so far.

    ``goes_on``: whether this call is part of a longer run, whose end is not known; ``watched``:
    whether a tolerance, if there is one, is of the training loss.
    """
    ends = bool(estimator.total_epochs) or (estimator.tol is None and not goes_on)
    ends &= not estimator.average  # averages do without
    updates = data.epoch_rows / min(estimator.batch_size, data.epoch_rows)
    stays = estimator.tol is not None and watched and not partial and updates <= FEW_UPDATES
    stays &= find(task.loss).targets != {"count"}  # whose curvature grows with the scores
    stays &= data.stream is None
    horizon = horizon_of(estimator, previous)
    if estimator.total_epochs is not None:
        horizon = float(estimator.total_epochs)
    rate, optimizer = estimator.learning_rate, optimizer_of(estimator)
    course = {"ends": ends, "stays": stays, "adaptive": not optimizer.linear}
    sampling = estimator.sampling if estimator.shuffle else "sequential"
    if data.stream is not None:
        sampling = data.stream.sampling
    parameter = estimator.quantile if task.loss == "quantile" else estimator.epsilon
    return Settings(
        loss=task.loss,
        loss_parameter=parameter,
        sign_targets=task.sign_targets,
        batch_size=min(estimator.batch_size, 2**62),
        optimizer=optimizer,
        average=average_of(estimator, data, estimator.batch_size, horizon, previous),
        fit_intercept=estimator.fit_intercept,
        sampling=sampling,
        seed=seed,
        schedule=schedule_of(estimator, horizon, **course),
        step=rate if isinstance(rate, str) and rate in PASSIVE_AGGRESSIVE else "gradient",
        clip_norm=np.inf if estimator.clip_norm is None else estimator.clip_norm,
        n_jobs=threads_of(estimator.n_jobs, data, estimator.batch_size, len(task.labels)),
    )


def optimizer_of(estimator: Any) -> Optimizer:
    """The optimizer; ``momentum`` and ``nesterov`` belong to "sgd" by name.

    Raises
    ------
    ValueError
        If they are given with another one.
    """
    optimizer = estimator.optimizer
    if optimizer == SGD.name:
        return _sgd(estimator.momentum, estimator.nesterov)
    if estimator.momentum or estimator.nesterov:
        raise ValueError(
            "momentum and nesterov are for optimizer='sgd', got "
            f"momentum={estimator.momentum!r}, nesterov={estimator.nesterov!r} and "
            f"optimizer={optimizer!r}"
        )
    return OPTIMIZERS[optimizer]() if isinstance(optimizer, str) else optimizer


def unrated_lanes(estimator: Any, task: Task) -> Lanes:
    """The lanes, at a learning rate of 1."""
    alpha, l1 = penalties(estimator)
    return Lanes(
        len(task.labels),
        alpha=alpha,
        l1=l1,
        intercept_gradient=estimator._intercept_gradient,
        eta0=1.0,
        label=task.labels,
        target=task.targets,
        **task.class_weight,
    )


def seed_of(random_state: Any) -> int:
    """The seed of a run: an integer itself, or a draw from a generator."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def request_of(estimator: Any, *, partial: bool = False) -> Request:
    """What the parameters ask of the learning rate, of ``partial_fit`` or not."""
    epochs = estimator.total_epochs or math.inf
    if estimator.total_epochs is None and estimator.tol is None and not partial:
        epochs = estimator.max_iter
    return Request(
        estimator.learning_rate,
        estimator.eta0,
        estimator._strength,
        estimator.batch_size,
        estimator.linear_scaling,
        epochs,
        partial and estimator.total_epochs is None,  # else it is a part of that run
    )


def lanes_of(
    estimator: Any,
    task: Task,
    data: Data,
    settings: Settings,
    previous: Continuation | None,
    *,
    partial: bool = False,
    same_rows: bool = False,
) -> tuple[Lanes, Rates]:
    """The lanes, at the rates given, found now, or found when the run began.

    ``partial``: of ``partial_fit``. ``same_rows``: on the rows that the rates of the previous call
    were found from.
    """
    lanes = unrated_lanes(estimator, task)
    if task.class_weight:
        check_class_weights(data, lanes)
    check_clip(settings.clip_norm, data.dtype)
    known = (
        previous.rates if previous is not None and previous.recipe == recipe_of(estimator) else None
    )
    request = request_of(estimator, partial=partial)
    if same_rows and known is not None:
        return lanes, rated(lanes, known, data)
    return lanes, find_rates(lanes, request, data, settings, known)


def find_rates(
    lanes: Lanes, request: Request, data: Data, settings: Settings, known: Rates | None
) -> Rates:
    """The rates asked for, which lanes at a rate of 1 are given."""
    return rated(lanes, rates_of(request, data, lanes, settings, known), data)


def rated(lanes: Lanes, rates: Rates, data: Data) -> Rates:
    """The rates, which lanes at a rate of 1 are given."""
    lanes.eta0[:], lanes.mu[:] = rates.eta0, rates.mu
    lanes.intercept_rate[:] = rates.intercept_rate
    lanes.check()
    check_lanes(lanes, data.dtype)
    return rates
