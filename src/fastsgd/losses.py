"""The losses, as one list: it drives the twin, the kernels' tests and the estimators' validation.

A loss is a pure function of one score ``z`` and one target ``y`` and its derivative in ``z``, each
under its formula. ``csrc/loss.h`` holds the same list in the same order for the compiled core;
``tests/test_losses.py`` compares the two. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Loss:
    """One loss.

    Attributes
    ----------
    name : str
        The field's standard name; what ``loss=`` takes.
    value : callable
        ``value(z, y)``, elementwise.
    slope : callable
        Derivative of ``value`` in ``z``; at a kink, the one-sided value scikit-learn takes.
    smoothness : float
        Upper bound of the second derivative in ``z``; infinity where there is a kink.
    infimum : float
        Greatest lower bound; minus infinity for a loss unbounded below, which is refused without
        an L2 term.
    targets : frozenset of {"real", "sign"}
        "sign": y in {-1, +1} (classification); "real": any finite y (regression).
    """

    name: str
    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    smoothness: float
    infimum: float
    targets: frozenset[str]


def _squared_error_value(z: Array, y: Array) -> Array:
    """(z - y)^2 / 2"""
    return 0.5 * (z - y) ** 2


def _squared_error_slope(z: Array, y: Array) -> Array:
    """z - y"""
    return z - y


def _log_loss_value(z: Array, y: Array) -> Array:
    """log(1 + exp(-y z))"""
    return np.logaddexp(0.0, -y * z)


def _log_loss_slope(z: Array, y: Array) -> Array:
    """-y / (1 + exp(y z)), which is p - y for labels 0 and 1"""
    with np.errstate(over="ignore"):
        return -y / (1.0 + np.exp(y * z))


def _hinge_value(z: Array, y: Array) -> Array:
    """max(0, 1 - y z)"""
    return np.maximum(0.0, 1.0 - y * z)


def _hinge_slope(z: Array, y: Array) -> Array:
    """-y where y z <= 1, else 0"""
    return np.where(y * z <= 1.0, -y, 0.0)


def _linear_value(z: Array, y: Array) -> Array:
    """y - z"""
    return y - z


def _linear_slope(z: Array, y: Array) -> Array:
    """-1"""
    return np.full(np.broadcast(z, y).shape, -1.0)


_BOTH = frozenset({"real", "sign"})
_SIGN = frozenset({"sign"})

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("squared_error", _squared_error_value, _squared_error_slope, 1.0, 0.0, _BOTH),
        Loss("log_loss", _log_loss_value, _log_loss_slope, 0.25, 0.0, _SIGN),
        Loss("hinge", _hinge_value, _hinge_slope, np.inf, 0.0, _SIGN),
        Loss("linear", _linear_value, _linear_slope, 0.0, -np.inf, frozenset({"real"})),
    )
}
