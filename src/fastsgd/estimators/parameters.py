"""From an estimator's parameters to the solver's nouns: Settings, Lanes, State."""

from __future__ import annotations

import math
import multiprocessing
import warnings
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from ..inputs.ranges import check_class_weights, check_clip, check_lanes
from ..learning_rate.search import Trial, pays, trial
from ..losses import CompiledLoss, find
from ..problem import Data, Lanes, Settings, pinned
from ..sampling import SAMPLINGS
from ..schedules import Schedule, optimal_eta0
from ..solver import State
from ..solver.stopping import FEW_UPDATES
from ..statistics.curvature import Curvature, begins, bounded, curvature_of, stable_rate
from ..statistics.weights import typical_weight
from .standardise import Scaling

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

ETA0 = {"constant": 0.01, "invscaling": 0.01, "adaptive": 0.01, "pa1": 1.0, "pa2": 1.0}
"""eta0 of a rate by that name where none is given, as in scikit-learn; of others the data say."""

THREAD_VALUES = 1 << 12
"""Values of a batch, rows times features times lanes, that are worth a thread of their own."""

EPOCH_VALUES = 1 << 20
"""Values of an epoch above which starting threads, about 0.1 ms a call, does not matter."""

ENOUGH_ROWS = 100
"""Rows after which the rates that the data gave are kept, however ``partial_fit`` goes on."""

SMALLEST, LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)

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


@dataclass
class Task:
    """What one call trains on, as arrays and lanes.

    Attributes
    ----------
    X : ndarray or CSR of shape (n, d)
    y : ndarray of shape (n,) or (n, n_targets)
        Targets, or positions of labels.
    weight : ndarray of shape (n,) or None
    loss : str or CompiledLoss
    sign_targets : bool
    labels : ndarray of shape (K,)
    targets : ndarray of shape (K,), int64
        Column of y that each lane learns.
    class_weight : dict
        ``weight_positive`` and ``weight_negative`` of the lanes, where not 1.
    user_y : ndarray of shape (n,) or (n, n_targets)
        The user's own targets, checked.
    given : tuple
        X, y and sample_weight as the user gave them, for callbacks.
    scaling : Scaling
        From the features of X to those that are trained on.
    """

    X: Any
    y: NDArray[Any]
    weight: NDArray[np.floating] | None
    loss: str | CompiledLoss
    sign_targets: bool
    labels: NDArray[np.float64]
    targets: NDArray[np.int64]
    class_weight: dict[str, Any] = field(default_factory=dict)
    user_y: Any = None
    given: tuple[Any, Any, Any] = (None, None, None)
    scaling: Scaling = field(default_factory=Scaling)

    def __post_init__(self) -> None:
        self.pins = pinned(self.X, self.y, self.weight, self.user_y)  # as long as this exists

    def lane_targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """What each lane should say of targets y: shape (n, K), real, or whether positive."""
        y = (y[:, None] if y.ndim == 1 else y)[:, self.targets]
        return y == self.labels if self.sign_targets else y


@dataclass(frozen=True)
class Rates:
    """The learning rates of the lanes, and what was found on the way.

    Attributes
    ----------
    eta0, mu : ndarray of shape (K,)
        Of ``Lanes``.
    curvature : Curvature or None
        Where eta0 comes from the data.
    begins : ndarray of shape (K,) or None
        Part of the stable rate with which a run begins whose end is known.
    trial : Trial or None
        What multiplied the rate that the curvature gives.
    rows : int
        Rows that were seen when the rates were found.
    """

    eta0: NDArray[np.float64]
    mu: NDArray[np.float64]
    curvature: Curvature | None = None
    begins: NDArray[np.float64] | None = None
    trial: Trial | None = None
    rows: int = 0


@dataclass
class Kept:
    """What a fitted estimator keeps to go on from: the state, and what was found or drawn once.

    Attributes
    ----------
    state : State
        As the last call left it.
    seed : int
        Key of the sampling streams.
    split : RandomState or None
        What the validation split was drawn from, before it was; None: the seed.
    horizon : float
        Epochs of a schedule or of tail averaging that nobody gave a horizon.
    average : tuple of (parameter, int)
        ``average`` and the update from which it averages.
    fits : tuple
        What the state was made for; see :func:`state_key`.
    recipe : tuple
        The parameters that the rates were found with.
    rates : Rates
        Of the lanes, as they were found.
    scaling : Scaling
        That of the features the state is trained on.
    """

    state: State
    seed: int
    split: np.random.RandomState | None
    horizon: float
    average: tuple[Any, int]
    fits: tuple[Any, ...]
    recipe: tuple[Any, ...]
    rates: Rates
    scaling: Scaling

    def weights(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The model as it was published, (K, d) and (K,)."""
        model = self.state.weights(SimpleNamespace(average=self.average[1]))
        return self.scaling.to_users(*model)


def seed_of(random_state: Any) -> int:
    """The seed of a run: an integer itself, or a draw from a generator."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


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
    estimator: Any, horizon: float, *, ends: bool = False, stays: bool = False
) -> Schedule:
    """The schedule that ``learning_rate`` asks for; "auto" falls to 0 where a run ``ends`` with its
    horizon, and ``stays`` where its steps are few and watched."""
    rate = estimator.learning_rate
    if isinstance(rate, Schedule):
        total = rate.total_epochs
        return replace(rate, total_epochs=horizon if total is None else total)
    common = {"total_epochs": horizon, "warmup_steps": estimator.warmup_steps}
    if callable(rate):
        return Schedule("callable", function=rate, **common)
    if rate == "auto" and ends:
        return Schedule("polynomial", power=2.0, **common)
    return Schedule(
        "constant" if rate == "auto" and stays else LEARNING_RATES[rate],
        power_t={"auto": 0.5, "optimal": 1.0}.get(rate, estimator.power_t),
        decay=estimator.decay,
        step_epochs=estimator.step_epochs,
        power=1.0 if rate == "linear" else 2.0,
        **common,
    )


def average_start(estimator: Any, data: Data, horizon: float) -> int:
    """Number of the update from which the weights are averaged; 0 for never."""
    average = estimator.average
    if isinstance(average, (bool, np.bool_, Integral)):
        return int(average)
    if estimator.batch_size > 1 or data.sample_weight is None:
        updates = math.ceil(data.n / min(estimator.batch_size, data.n))
    else:  # rows of weight zero make no update
        updates = max(1, int(np.count_nonzero(data.sample_weight)))
    return 1 + math.floor(min(2.0**61, (1.0 - average) * horizon * updates))


def horizon_of(estimator: Any, kept: Kept | None) -> float:
    """total_epochs, or max_iter of the first fit."""
    return float(min(estimator.max_iter, 2**62)) if kept is None else kept.horizon


def threads_of(n_jobs: int | None, data: Data, batch_size: int, k: int) -> int:
    """Threads of a fit: -1 for all processors, -2 for all but one; for None what pays.

    That is one thread in a process or thread that is one of several already, for CSR data, for
    several lanes (docs/decisions.md), for a table of which an epoch is over before threads have
    started, and for batches of fewer than two times ``THREAD_VALUES`` values.
    """
    backend, asked = get_active_backend()  # of joblib.parallel_config, or of the worker this is
    n_jobs = asked if n_jobs is None and asked != 1 else n_jobs
    if n_jobs is not None:  # to count processors takes 0.1 ms: only where it matters
        return min(n_jobs, 2**31 - 1) if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)
    useful = min(batch_size, data.n) * data.d // THREAD_VALUES
    crowded = backend.nesting_level or multiprocessing.current_process().daemon
    if crowded or data.sparse or k > 1 or data.n * data.d < EPOCH_VALUES or useful < 2:
        return 1
    return max(1, min(joblib.cpu_count(), useful))


def settings_of(
    estimator: Any,
    task: Task,
    data: Data,
    kept: Kept | None,
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
    updates = data.n / min(estimator.batch_size, data.n)
    stays = estimator.tol is not None and watched and not partial and updates <= FEW_UPDATES
    stays &= find(task.loss).targets != {"count"}  # whose curvature grows with the scores
    horizon = horizon_of(estimator, kept)
    if estimator.total_epochs is not None:
        horizon = float(estimator.total_epochs)
    if kept is not None and kept.average[0] == estimator.average:
        average = kept.average[1]
    else:
        average = average_start(estimator, data, horizon)
    rate = estimator.learning_rate
    parameter = estimator.quantile if task.loss == "quantile" else estimator.epsilon
    return Settings(
        loss=task.loss,
        loss_parameter=parameter,
        sign_targets=task.sign_targets,
        batch_size=min(estimator.batch_size, 2**62),
        momentum=estimator.momentum,
        nesterov=estimator.nesterov,
        average=average,
        fit_intercept=estimator.fit_intercept,
        sampling=estimator.sampling if estimator.shuffle else "sequential",
        seed=seed,
        schedule=schedule_of(estimator, horizon, ends=ends, stays=stays),
        step=rate if isinstance(rate, str) and rate in PASSIVE_AGGRESSIVE else "gradient",
        clip_norm=np.inf if estimator.clip_norm is None else estimator.clip_norm,
        n_jobs=threads_of(estimator.n_jobs, data, estimator.batch_size, len(task.labels)),
    )


def recipe_of(estimator: Any) -> tuple[Any, ...]:
    """The parameters that decide about the rates found from the data."""
    rate = estimator.learning_rate
    rate = getattr(rate, "kind", rate if isinstance(rate, str) else "callable")
    numbers = estimator._strength, estimator.batch_size, estimator.momentum
    loss = getattr(estimator.loss, "name", estimator.loss)
    return (rate, loss, estimator.eta0, estimator.linear_scaling, estimator.penalty, *numbers)


def unrated_lanes(estimator: Any, task: Task) -> Lanes:
    """The lanes, at a learning rate of 1."""
    alpha, l1 = penalties(estimator)
    return Lanes(
        len(task.labels),
        alpha=alpha,
        l1=l1,
        pull=estimator._pull,
        eta0=1.0,
        label=task.labels,
        target=task.targets,
        **task.class_weight,
    )


def lanes_of(
    estimator: Any, task: Task, data: Data, settings: Settings, kept: Kept | None
) -> tuple[Lanes, Rates]:
    """The lanes, at the rates given, found now, or found when the run began."""
    lanes = unrated_lanes(estimator, task)
    check_class_weights(data, lanes)
    check_clip(settings.clip_norm, data.dtype)
    known = kept.rates if kept is not None and kept.recipe == recipe_of(estimator) else None
    rates = rates_of(estimator, data, lanes, settings, known)
    lanes.eta0[:], lanes.mu[:] = rates.eta0, rates.mu
    lanes.check()
    check_lanes(lanes, data.dtype)
    return lanes, rates


def rates_of(
    estimator: Any, data: Data, lanes: Lanes, settings: Settings, known: Rates | None = None
) -> Rates:
    """eta0 and mu of the schedule, per lane; an eta0 that is given, or in ``ETA0``, is used as is.

    What the data say is kept once ``ENOUGH_ROWS`` rows were seen, and until then the mean of what
    they said by the rows that said it. Where a loss is of unbounded slope, and a run may diverge,
    steeper data lower the rate later too.
    """
    rate, eta0 = estimator.learning_rate, estimator.eta0

    def given(eta0: Any, mu: Any = 0.0) -> Rates:
        return Rates(np.full(lanes.k, eta0, dtype=np.float64), np.full(lanes.k, mu, dtype=float))

    if settings.schedule.kind == "callable":
        return given(1.0)
    if eta0 is None and isinstance(rate, str):
        eta0 = ETA0.get(rate)
    if rate == "optimal":
        strength = estimator._strength
        return given(optimal_eta0(strength), strength)
    if settings.step != "gradient":
        return given(eta0)
    if eta0 is not None:
        eta0 = eta0 * min(estimator.batch_size, data.n) if estimator.linear_scaling else eta0
        if settings.schedule.kind != "inverse":
            return given(eta0)
    enough = known is not None and known.rows >= ENOUGH_ROWS
    if known is not None and enough and (eta0 is not None or bounded(settings)):
        return known
    found = _found_rates(data, lanes, settings, eta0)
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
        eta0 = 1.0 / mean(1.0 / known.eta0, 1.0 / found.eta0)  # that of the mean curvature
    eta0 = np.maximum(eta0, SMALLEST)
    eta0 = np.where(found.eta0 == known.eta0, known.eta0, eta0)
    return replace(found, eta0=eta0, mu=mean(known.mu, found.mu), rows=rows)


def _found_rates(data: Data, lanes: Lanes, settings: Settings, eta0: float | None) -> Rates:
    weight = typical_weight(data, lanes, settings)
    curvature = curvature_of(data, settings)
    found, mu = stable_rate(curvature, settings)
    tried = None
    with np.errstate(over="ignore", divide="ignore"):
        wrong = not np.isfinite(found / weight).all()
    if eta0 is None and wrong:
        raise ValueError(
            "sample_weight and class_weight are so small that the learning rate that suits them is "
            f"not finite: the typical weight of a row is {weight.min():.3g}. Multiply them all by "
            "the same number, and alpha too, for the same model."
        )
    if eta0 is None and pays(settings):
        tried = trial(data, lanes, settings, found / weight)
    factor: Any = 1.0 if tried is None else tried.chosen
    part = begins(curvature, data, settings, found, lanes.alpha)
    by = part * factor
    own = eta0
    if eta0 is None:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            own = found * by / (weight + found * by * lanes.alpha)
            exact = np.isfinite(own) & (own > SMALLEST)
            own = np.where(
                exact, own, np.maximum(1.0 / (weight / found / by + lanes.alpha), SMALLEST)
            )
    with np.errstate(over="ignore"):
        mu = np.minimum(mu * weight / factor, LARGEST)
    rows = data.n if data.sample_weight is None else int(np.count_nonzero(data.sample_weight))
    return Rates(
        np.broadcast_to(own, (lanes.k,)).astype(np.float64),
        np.maximum(mu, lanes.alpha),
        curvature if eta0 is None else None,
        part if eta0 is None else None,
        tried,
        rows,
    )


def state_key(data: Data, lanes: Lanes, settings: Settings) -> tuple[Any, ...]:
    """What a state is made for: one that was made for something else does not fit.

    Averages are of the weights of one problem: with another loss or penalty they begin anew.
    """
    optimiser = settings.width, settings.average, settings.batch_size > 1, bool(lanes.l1.any())
    problem: tuple[Any, ...] = ()
    if settings.average:
        strengths = (lanes.alpha.tobytes(), lanes.l1.tobytes(), lanes.pull.tobytes())
        loss = getattr(settings.loss, "name", settings.loss)
        problem = (loss, settings.loss_parameter, *strengths)
    return (data.dtype.str, data.d, lanes.k, *optimiser, *problem)


def state_of(
    data: Data, lanes: Lanes, settings: Settings, kept: Kept | None, start: tuple[Any, Any] | None
) -> tuple[State, Settings]:
    """Where a run stands when a call begins; averages that begin anew begin at the next update.

    A new state, or a copy of the one kept. One that no longer fits gives its weights, its counts of
    updates and epochs and its rate factors to a new one. ``start`` are weights (K, d) and (K,) to
    begin from; on top of a state kept they drop momentum and averages.
    """
    if kept is None:
        state = State(data, lanes, settings)
        if start is not None:
            state.set_weights(*start)
        return state, settings
    old = kept.state
    epoch = old.epoch + (old.row > 0 or old.batch_row > 0)  # what is left of an epoch is skipped
    if kept.fits == state_key(data, lanes, settings) and start is None:
        state = old.at_epoch(epoch)
    else:
        state = State(data, lanes, settings).at_epoch(epoch)
        state.set_weights(*(old.last_weights() if start is None else start))
        state.t[:], state.rate_factor[:] = old.t, old.rate_factor
        if settings.average:
            settings = replace(settings, average=max(settings.average, int(old.t.max()) + 1))
    state.active[:] = 1.0
    return state, settings
