"""From the parameters of a network's estimator to Network, VectorDescent and first weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..descent import VectorDescent
from ..inputs.ranges import check_clip
from ..network import ACTIVATIONS, Network
from ..optimizers import SGD, Adam, Optimizer
from ..problem import Data
from ..scalars import python_number
from ..schedules import Schedule
from .parameters import CONSTRAINTS, LEARNING_RATES, asked_threads, average_of, schedule_of

__all__ = [
    "NETWORK_CONSTRAINTS",
    "Activation",
    "NetworkRate",
    "check_network_parameters",
    "descent_of",
    "first_parameters",
    "network_of",
    "row_factor",
]

Activation = Literal["identity", "logistic", "tanh", "relu"]
NetworkRate = Literal[
    "constant",
    "invscaling",
    "adaptive",
    "step",
    "exponential",
    "linear",
    "polynomial",
    "cosine",
    "one_cycle",
]

NETWORK_RATES = tuple(
    name for name in LEARNING_RATES if name not in ("auto", "optimal", "pa1", "pa2")
)
"""What ``learning_rate`` takes by name."""

OF_SGD = ("invscaling", "adaptive")
"""Those that have no effect with solver="adam", as in scikit-learn."""

SHARED = (
    *("max_iter", "tol", "shuffle", "verbose", "random_state", "early_stopping", "warm_start"),
    *("validation_fraction", "average", "n_jobs", "momentum", "sampling", "decay", "step_epochs"),
    *("total_epochs", "warmup_steps", "clip_norm", "standardize"),
)

_positive = Interval(Real, 0, None, closed="neither")
_count = Interval(Integral, 1, None, closed="left")

NETWORK_CONSTRAINTS: dict[str, list[Any]] = {
    **{name: CONSTRAINTS[name] for name in SHARED},
    "hidden_layer_sizes": ["array-like", _count],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "solver": [StrOptions({"sgd", "adam", "lbfgs"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), _count],
    "learning_rate": [StrOptions(set(NETWORK_RATES)), Schedule, callable],
    "learning_rate_init": [_positive],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [_positive],
    "n_iter_no_change": [_count, Options(Real, {np.inf})],
    "scoring": [str, callable, None],
}
"""Constraints of what the classifier and the regressor share."""

AUTO_BATCH = 200
"""Rows of a batch with ``batch_size="auto"``, at most."""


def check_network_parameters(estimator: Any) -> None:
    """Refuse parameters that do not go together.

    Raises
    ------
    ValueError
        Naming the parameter.
    """
    if estimator.solver == "lbfgs":
        raise ValueError(
            "solver='lbfgs' is no stochastic method, and is not here: take solver='adam' or "
            f"solver='sgd', or scikit-learn's {type(estimator).__name__}"
        )
    hidden_layers(estimator)


def hidden_layers(estimator: Any) -> tuple[int, ...]:
    """Units of the hidden layers."""
    given = estimator.hidden_layer_sizes
    sizes = list(given) if np.ndim(given) else [given]
    found = [python_number(size) for size in sizes]
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in found):
        raise ValueError(f"hidden_layer_sizes must be whole numbers, got {given!r}")
    if any(size <= 0 for size in found):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {found}.")
    return tuple(found)


def network_of(estimator: Any, d: int, outputs: int, loss: str) -> Network:
    """The network that the parameters ask for."""
    sizes = d, *hidden_layers(estimator), outputs
    return Network(sizes, estimator.activation, loss, float(estimator.alpha))


def first_parameters(
    random_state: Any, network: Network
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Weights and intercepts to start from, by Glorot & Bengio (AISTATS 2010).

    Uniform in +-sqrt(6 / (inputs + outputs)), with 2 instead of 6 for "logistic": what scikit-learn
    draws of the same ``random_state``, in its order.
    """
    random = check_random_state(random_state)
    coefs, intercepts = [], []
    for inputs, outputs in network.shapes:
        factor = 2.0 if network.activation == "logistic" else 6.0
        bound = math.sqrt(factor / (inputs + outputs))
        coefs.append(random.uniform(-bound, bound, (inputs, outputs)))
        intercepts.append(random.uniform(-bound, bound, outputs))
    return coefs, intercepts


def optimizer_of(estimator: Any) -> Optimizer:
    """The optimizer that ``solver`` names."""
    if estimator.solver == "adam":
        return Adam(estimator.beta_1, estimator.beta_2, estimator.epsilon)
    return SGD(estimator.momentum, estimator.nesterovs_momentum)


def rate_name(estimator: Any) -> str | None:
    """``learning_rate`` where it is a name that has an effect with this solver."""
    rate = estimator.learning_rate
    if not isinstance(rate, str):
        return None
    return "constant" if estimator.solver == "adam" and rate in OF_SGD else rate


def row_factor(
    estimator: Any, rows_before: int, rows_per_epoch: int
) -> Callable[[int], float] | None:
    """What "invscaling" multiplies the rates of an epoch by: scikit-learn's 1 / (rows + 1)^power_t,
    with the rows of all epochs before it."""
    if rate_name(estimator) != "invscaling":
        return None
    return lambda done: (rows_before + done * rows_per_epoch + 1.0) ** -estimator.power_t


def descent_of(
    estimator: Any, data: Data, seed: int, horizon: float, previous: Any
) -> VectorDescent:
    """How steps are made; averages start where they did in the run so far.

    ``horizon`` are the epochs of a schedule that nobody gave its length.
    """
    size = AUTO_BATCH if estimator.batch_size == "auto" else estimator.batch_size
    size = min(size, data.n)
    if estimator.total_epochs is not None:
        horizon = float(estimator.total_epochs)
    if rate_name(estimator) in ("constant", *OF_SGD):
        schedule = Schedule("constant", warmup_steps=estimator.warmup_steps)
    else:
        schedule = schedule_of(estimator, horizon)
    clip_norm = np.inf if estimator.clip_norm is None else estimator.clip_norm
    check_clip(clip_norm, data.dtype)
    return VectorDescent(
        batch_size=size,
        optimizer=optimizer_of(estimator),
        average=average_of(estimator, data, size, horizon, previous),
        clip_norm=clip_norm,
        n_jobs=asked_threads(estimator.n_jobs)[0] or 1,
        sampling=estimator.sampling if estimator.shuffle else "sequential",
        seed=seed,
        schedule=schedule,
        eta0=float(estimator.learning_rate_init),
        mu=float(estimator.alpha) / size,  # curvature of the penalty of a batch
    )


def row_weights(
    weight: NDArray[np.floating] | None,
    of_classes: NDArray[np.float64] | None,
    encoded: NDArray[np.floating],
    dtype: DTypeLike,
) -> NDArray[np.floating] | None:
    """Weights of the rows, times those of their classes.

    Raises
    ------
    ValueError
        Naming ``class_weight``, where they are too large together or leave no row.
    """
    if of_classes is None:
        return weight
    found = of_classes[encoded.astype(np.int64)]
    found = found if weight is None else found * weight
    limits = np.finfo(np.dtype(dtype))
    if not limits.tiny <= found.max() <= math.sqrt(limits.max):
        raise ValueError(
            f"class_weight times sample_weight must have its largest value in [{limits.tiny:.3g}, "
            f"{math.sqrt(limits.max):.3g}], got {found.max():.3g}"
        )
    return found.astype(dtype)
