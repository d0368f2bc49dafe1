"""The losses, as one list: it drives the twin, the kernels' tests and the estimators' validation.

A loss is a pure function of one score ``z`` and one target ``y`` and its derivative in ``z``, each
under its formula; ``e`` is the loss's parameter, where it has one. The softmax alone couples the
lanes: its functions take whole rows. ``csrc/kernel/loss.h`` holds the same list in the same order
for the compiled core; ``tests/test_losses.py`` compares the two. CONTRIBUTING.md says how to add
one, and :class:`CompiledLoss` takes a user's own.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .compiled import DOUBLES, Signature

__all__ = [
    "LOSSES",
    "CompiledLoss",
    "Loss",
    "find",
    "loss_functions",
]

Array = NDArray[np.floating]
Target = Literal["real", "sign", "count"]


@dataclass(frozen=True)
class Loss:
    """A loss of one score and one target: its value, its slope, and what is known of it.

    Attributes
    ----------
    name : str
        The field's standard name; what ``loss=`` takes.
    value : callable
        ``value(z, y, e)``, elementwise; of a coupled loss on rows (m, K), giving (m, K) with the
        row's loss in every column.
    slope : callable
        Derivative of ``value`` in ``z``; at a kink, the one-sided value scikit-learn takes.
    smoothness : float
        Upper bound of the second derivative in ``z``; infinity where there is a kink or no bound.
    infimum : float
        Greatest lower bound; minus infinity for a loss unbounded below, which is refused without
        an L2 term; NaN where it depends on y.
    targets : frozenset of {"real", "sign", "count"}
        "sign": y in {-1, +1} (classification); "real": any finite y (regression); "count": y >= 0.
    parameter : str or None
        What e is called as an estimator's parameter.
    coupled : bool
        Lanes share a row's loss: lane k is class k.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.losses import LOSSES
    >>> LOSSES["hinge"].value(np.array([0.5, 2.0]), np.array([1.0, 1.0]))
    array([0.5, 0. ])
    """

    name: str
    value: Callable[..., NDArray[Any]]
    slope: Callable[..., NDArray[Any]]
    smoothness: float
    infimum: float
    targets: frozenset[Target]
    parameter: str | None = None
    coupled: bool = False


def _squared_error_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """(z - y)^2 / 2"""
    return 0.5 * (z - y) ** 2


def _squared_error_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """z - y"""
    return z - y


def _log_loss_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """log(1 + exp(-y z))"""
    return np.logaddexp(0.0, -y * z)


def _log_loss_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-y / (1 + exp(y z)), which is p - y for labels 0 and 1"""
    with np.errstate(over="ignore"):
        return -y / (1.0 + np.exp(y * z))


def _hinge_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """max(0, 1 - y z)"""
    return np.maximum(0.0, 1.0 - y * z)


def _hinge_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-y where y z <= 1, else 0"""
    return np.where(y * z <= 1.0, -y, 0.0)


def _linear_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """y - z"""
    return y - z


def _linear_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-1"""
    return np.full(np.broadcast(z, y).shape, -1.0)


def _squared_hinge_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """max(0, 1 - y z)^2"""
    return np.maximum(0.0, 1.0 - y * z) ** 2


def _squared_hinge_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-2 y max(0, 1 - y z)"""
    return -2.0 * y * np.maximum(0.0, 1.0 - y * z)


def _perceptron_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """max(0, -y z)"""
    return np.maximum(0.0, -y * z)


def _perceptron_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-y where y z <= 0, else 0"""
    return np.where(y * z <= 0.0, -y, 0.0)


def _modified_huber_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """max(0, 1 - y z)^2 where y z >= -1, else -4 y z (Zhang 2004)"""
    return np.where(y * z >= -1.0, np.maximum(0.0, 1.0 - y * z) ** 2, -4.0 * y * z)


def _modified_huber_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-2 y max(0, 1 - y z), at most 4 in size"""
    return -2.0 * y * np.clip(1.0 - y * z, 0.0, 2.0)


def _huber_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """r^2 / 2 where |r| <= e, else e |r| - e^2 / 2, with r = z - y (Huber 1964)"""
    r = np.abs(z - y)
    m = np.minimum(r, e)
    return m * (r - 0.5 * m)


def _huber_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """z - y, at most e in size"""
    return np.clip(z - y, -e, e)


def _epsilon_insensitive_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """max(0, |z - y| - e)"""
    return np.maximum(0.0, np.abs(z - y) - e)


def _epsilon_insensitive_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """sign(z - y) where |z - y| > e, else 0"""
    return np.where(np.abs(z - y) > e, np.sign(z - y), 0.0)


def _squared_epsilon_insensitive_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """max(0, |z - y| - e)^2"""
    return np.maximum(0.0, np.abs(z - y) - e) ** 2


def _squared_epsilon_insensitive_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """2 sign(z - y) max(0, |z - y| - e)"""
    return 2.0 * np.sign(z - y) * np.maximum(0.0, np.abs(z - y) - e)


def _quantile_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """e (y - z) where y > z, else (1 - e) (z - y): the pinball loss of quantile e"""
    return np.where(y > z, e * (y - z), (1.0 - e) * (z - y))


def _quantile_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """-e where y > z, 1 - e where y < z, else 0"""
    return np.where(y > z, -e, np.where(y < z, 1.0 - e, 0.0))


def _poisson_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """exp(z) - y z: minus the log-likelihood of y at mean exp(z), without log(y!)"""
    with np.errstate(over="ignore"):
        return np.exp(z) - y * z


def _poisson_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """exp(z) - y"""
    with np.errstate(over="ignore"):
        return np.exp(z) - y


def _softmax_value(z: Array, y: Array, e: float = 0.0) -> Array:
    """log(sum_k exp(z_k)) - z_c with c the lane where y is +1"""
    top = z.max(axis=1, keepdims=True)
    own = np.where(y > 0, z, 0.0).sum(axis=1, keepdims=True)
    total = np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    return np.broadcast_to((top - own) + total, z.shape)


def _softmax_slope(z: Array, y: Array, e: float = 0.0) -> Array:
    """exp(z_k) / sum_j exp(z_j) - (1 in lane c)"""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) - (y > 0)


_BOTH: frozenset[Target] = frozenset({"real", "sign"})
_SIGN: frozenset[Target] = frozenset({"sign"})
_REAL: frozenset[Target] = frozenset({"real"})
_COUNT: frozenset[Target] = frozenset({"count"})

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("squared_error", _squared_error_value, _squared_error_slope, 1.0, 0.0, _BOTH),
        Loss("log_loss", _log_loss_value, _log_loss_slope, 0.25, 0.0, _SIGN),
        Loss("hinge", _hinge_value, _hinge_slope, np.inf, 0.0, _SIGN),
        Loss("linear", _linear_value, _linear_slope, 0.0, -np.inf, _REAL),
        Loss("squared_hinge", _squared_hinge_value, _squared_hinge_slope, 2.0, 0.0, _SIGN),
        Loss("perceptron", _perceptron_value, _perceptron_slope, np.inf, 0.0, _SIGN),
        Loss("modified_huber", _modified_huber_value, _modified_huber_slope, 2.0, 0.0, _SIGN),
        Loss("huber", _huber_value, _huber_slope, 1.0, 0.0, _BOTH, "epsilon"),
        Loss(
            "epsilon_insensitive",
            _epsilon_insensitive_value,
            _epsilon_insensitive_slope,
            np.inf,
            0.0,
            _BOTH,
            "epsilon",
        ),
        Loss(
            "squared_epsilon_insensitive",
            _squared_epsilon_insensitive_value,
            _squared_epsilon_insensitive_slope,
            2.0,
            0.0,
            _BOTH,
            "epsilon",
        ),
        Loss("quantile", _quantile_value, _quantile_slope, np.inf, 0.0, _REAL, "quantile"),
        Loss("poisson", _poisson_value, _poisson_slope, np.inf, np.nan, _COUNT),
        Loss("softmax", _softmax_value, _softmax_slope, 0.5, 0.0, _SIGN, coupled=True),
    )
}
"""All losses by name, in the order of ``fsgd_loss`` in csrc/fastsgd.h."""

ClassificationLoss = Literal[
    "squared_error",
    "log_loss",
    "hinge",
    "squared_hinge",
    "perceptron",
    "modified_huber",
    "huber",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
]
RegressionLoss = Literal[
    "squared_error",
    "linear",
    "huber",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
    "quantile",
    "poisson",
]
"""The names that ``loss=`` takes, for type checkers."""

LINES: dict[str, Callable[[Array, float], tuple[Any, list[tuple[Any, Any]]]]] = {
    "hinge": lambda y, e: (0.0, [(-y, 1.0)]),
    "perceptron": lambda y, e: (0.0, [(-y, 0.0)]),
    "epsilon_insensitive": lambda y, e: (0.0, [(1.0, -y - e), (-1.0, y - e)]),
    "quantile": lambda y, e: (-e, [(1.0, -y)]),
}
"""Losses made of lines: LINES[name](y, e) is (a, [(m, b), ...]), arrays (n,) or numbers, with

    f(z) = a (z - y) + sum over (m, b) of max(0, m z + b)
"""

PARAMETERS = {"epsilon": 0.1, "quantile": 0.5}
"""Parameters of losses, and their defaults."""


def loss_functions(names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Losses by name, each with the default of its parameter where it has one.

    The estimators' ``loss_functions``, of scikit-learn's name and form.

    Parameters
    ----------
    names : iterable of str
        Keys of ``LOSSES``.

    Returns
    -------
    dict of str to tuple
        (loss,) or (loss, default of its parameter).

    Examples
    --------
    >>> from fastsgd.losses import loss_functions
    >>> loss_functions(["huber"])["huber"][1]
    0.1
    """
    found = {name: LOSSES[name] for name in names}
    return {
        name: (loss,) if loss.parameter is None else (loss, PARAMETERS[loss.parameter])
        for name, loss in found.items()
    }


# ------------------------------------------------------------------ a user's own loss

SIGNATURE = Signature(
    "void (const double *z, const double *y, double *out, int64_t n)",
    (DOUBLES, DOUBLES, DOUBLES, ctypes.c_int64),
)
"""What a compiled loss's functions look like in C: out[i] = f(z[i], y[i]) for i < n."""

_PROTOTYPE = SIGNATURE.prototype


class CompiledLoss:
    """A user's own loss: two C functions over arrays of scores and targets.

    Parameters
    ----------
    value, slope : scipy.LowLevelCallable, numba cfunc or ctypes function
        ``void f(const double *z, const double *y, double *out, int64_t n)``: out[i] is the loss, or
        its derivative in z, at (z[i], y[i]). Called without the interpreter's lock, from several
        threads at once where ``n_jobs`` has them; float32 data are converted. What is left
        unwritten counts as NaN, so that a ctypes callback that raises ends in a DivergenceError
        (Ctrl-C inside one too: ctypes swallows it).
    name : str
        The name this object is assigned to in its module: it pickles by import name, as a function
        does, and so works in ``clone``, grid searches and other processes.
    smoothness : float, default=1.0
        Upper bound of the second derivative in z; ``learning_rate="auto"`` builds on it.
    infimum : float, default=0.0
        Greatest lower bound; minus infinity asks for an L2 term.
    targets : iterable of {"real", "sign", "count"}, default=("real", "sign")
        "sign": y in {-1, +1} (classification); "real": any finite y (regression); "count": y >= 0.

    Raises
    ------
    ValueError
        If a function is none of the three, or has another signature.

    Examples
    --------
    >>> import ctypes
    >>> from fastsgd.losses import CompiledLoss
    >>> numbers = ctypes.POINTER(ctypes.c_double)
    >>> signature = ctypes.CFUNCTYPE(None, numbers, numbers, numbers, ctypes.c_int64)
    >>> @signature
    ... def value(z, y, out, n):
    ...     for i in range(n):
    ...         out[i] = 0.5 * (z[i] - y[i]) ** 2
    >>> @signature
    ... def slope(z, y, out, n):
    ...     for i in range(n):
    ...         out[i] = z[i] - y[i]
    >>> half_square = CompiledLoss(value, slope, name="half_square")
    """

    parameter = None
    coupled = False

    def __init__(
        self,
        value: Any,
        slope: Any,
        *,
        name: str,
        smoothness: float = 1.0,
        infimum: float = 0.0,
        targets: Target | Iterable[Target] = ("real", "sign"),
    ) -> None:
        self.value_address = SIGNATURE.address("value", value)
        self.slope_address = SIGNATURE.address("slope", slope)
        self._functions = value, slope  # keeps the code alive
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"name must be the name of a module's attribute, got {name!r}")
        self.name = name
        self.smoothness = float(smoothness)
        self.infimum = float(infimum)
        self.targets: frozenset[Target] = frozenset(
            (targets,) if isinstance(targets, str) else targets
        )
        if not self.smoothness > 0.0:
            raise ValueError(f"smoothness must be > 0, got {smoothness!r}")
        if not self.targets <= {"real", "sign", "count"} or not self.targets:
            raise ValueError(f"targets must be of 'real', 'sign' and 'count', got {targets!r}")
        self.__module__ = sys._getframe(1).f_globals.get("__name__", "__main__")

    def _call(self, address: int, z: Array, y: Array) -> NDArray[np.float64]:
        z, y = np.broadcast_arrays(z, y)
        z = np.ascontiguousarray(z, dtype=np.float64)
        y = np.ascontiguousarray(y, dtype=np.float64)
        out = np.full(z.shape, np.nan)  # what is left unwritten
        arrays = (array.ctypes.data_as(DOUBLES) for array in (z, y, out))
        _PROTOTYPE(address)(*arrays, z.size)
        return out

    def value(self, z: Array, y: Array, e: float = 0.0) -> NDArray[np.float64]:
        """The loss, elementwise, in float64.

        Parameters
        ----------
        z : ndarray
            Scores.
        y : ndarray
            Targets, of a shape that broadcasts with that of ``z``.
        e : float, default=0.0
            Ignored: a compiled loss has no parameter.

        Returns
        -------
        ndarray of float64
            Values.
        """
        return self._call(self.value_address, z, y)

    def slope(self, z: Array, y: Array, e: float = 0.0) -> NDArray[np.float64]:
        """The derivative of the loss in z, elementwise, in float64.

        Parameters
        ----------
        z : ndarray
            Scores.
        y : ndarray
            Targets, of a shape that broadcasts with that of ``z``.
        e : float, default=0.0
            Ignored: a compiled loss has no parameter.

        Returns
        -------
        ndarray of float64
            Slopes.
        """
        return self._call(self.slope_address, z, y)

    def __repr__(self) -> str:
        return f"CompiledLoss({self.__module__}.{self.name})"

    def __reduce__(self) -> str:
        return self.name  # as a function: by import name


def find(loss: str | CompiledLoss) -> Loss | CompiledLoss:
    """Look a loss up by its name; a :class:`CompiledLoss` is returned as it is.

    Parameters
    ----------
    loss : str or CompiledLoss
        A key of ``LOSSES``, or a user's own loss.

    Returns
    -------
    Loss or CompiledLoss
        Its functions and facts.

    Raises
    ------
    ValueError
        If there is no such loss.

    Examples
    --------
    >>> from fastsgd.losses import find
    >>> find("log_loss").smoothness
    0.25
    """
    if isinstance(loss, CompiledLoss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {tuple(LOSSES)}, got {loss!r}")
    return LOSSES[loss]
