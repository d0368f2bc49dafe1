"""The objective that every solver is judged by, in float64, and its minimum.

    L(w, b) = (1/n) sum_i loss(x_i . w + b, y_i)  +  alpha/2 |w|^2

with one lane for two classes and for real targets, and one lane a class for the softmax. Of more
than two classes, each against the rest, it is the mean of the lanes. Peers minimise it up to a
constant factor; C = 1 / (n alpha) in those that sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from datasets import Table, cache_directory
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

Array = NDArray[np.float64]
Model = tuple[Any, Any] | Callable[[], tuple[Any, Any]]
"""Coefficients (k, d) and intercepts (k,), or what gives them, where to ask takes long."""

ERROR = 1e-5
"""Relative error to which the minimum is known."""


@dataclass(frozen=True)
class Problem:
    """What is minimised.

    Attributes
    ----------
    table : Table
    loss : {"log_loss", "softmax", "hinge", "squared_error"}
        The squared error is halved, as in fastsgd and scikit-learn's SGD.
    alpha : float
        Strength of the L2 penalty.
    """

    table: Table
    loss: str
    alpha: float

    @property
    def n(self) -> int:
        return len(self.table.y)

    @property
    def d(self) -> int:
        return int(self.table.X.shape[1])

    @property
    def k(self) -> int:
        """Lanes."""
        if self.loss == "squared_error" or self.table.classes == 2:
            return 1
        return self.table.classes

    @property
    def C(self) -> float:
        """Weight of the summed loss beside |w|^2 / 2."""
        return 1.0 / (self.n * self.alpha)

    @cached_property
    def signs(self) -> NDArray[Any]:
        """Whether y is the class of the lane, as -1 and +1, (n, k), in the dtype of X."""
        classes = np.arange(self.k) if self.k > 1 else np.ones(1)
        return np.where(self.table.y[:, None] == classes, 1, -1).astype(self.table.X.dtype)

    @cached_property
    def wide(self) -> Any:
        """X in float64."""
        return self.table.X.astype(np.float64)

    def _losses(self, z: Array) -> tuple[Array, Array]:
        """Loss (n,) and its slope (n, k) at scores z (n, k)."""
        y = self.table.y
        if self.loss == "softmax":
            rows = np.arange(self.n)
            slope = softmax(z, axis=1)
            slope[rows, y] -= 1.0
            return logsumexp(z, axis=1) - z[rows, y], slope
        if self.loss == "squared_error":
            r = z - y[:, None].astype(np.float64)
            return 0.5 * r[:, 0] ** 2, r
        s = self.signs.astype(np.float64)
        if self.loss == "log_loss":
            value, slope = np.logaddexp(0.0, -s * z), -s * expit(-s * z)
        else:
            value, slope = np.maximum(0.0, 1.0 - s * z), np.where(s * z < 1.0, -s, 0.0)
        return value.mean(axis=1), slope / self.k

    @property
    def _penalty(self) -> float:
        """Factor of |W|^2 / 2."""
        return self.alpha if self.loss == "softmax" else self.alpha / self.k

    def loss_of(self, model: Model) -> float:
        """The mean loss alone, without the penalty."""
        coef, intercept = self._shaped(model)
        return float(self._losses(self.wide @ coef.T + intercept)[0].mean())

    def value(self, model: Model) -> float:
        """L of a model, whatever made it."""
        coef, intercept = self._shaped(model)
        return self.loss_of((coef, intercept)) + 0.5 * self._penalty * float(np.vdot(coef, coef))

    def _shaped(self, model: Model) -> tuple[Array, Array]:
        model = model() if callable(model) else model
        coef = np.asarray(model[0], dtype=np.float64).reshape(self.k, self.d)
        return coef, np.asarray(model[1], dtype=np.float64).reshape(self.k)

    def _value_and_gradient(self, packed: Array) -> tuple[float, Array]:
        coef = packed.reshape(self.k, self.d + 1)[:, :-1]
        z = self.wide @ coef.T + packed.reshape(self.k, -1)[:, -1]
        loss, slope = self._losses(z)
        gradient = np.empty((self.k, self.d + 1))
        gradient[:, :-1] = (self.wide.T @ slope).T / self.n + self._penalty * coef
        gradient[:, -1] = slope.mean(axis=0)
        return loss.mean() + 0.5 * self._penalty * np.vdot(coef, coef), gradient.ravel()

    @cached_property
    def minimum(self) -> Minimum:
        """By L-BFGS, for the smooth losses, until the error bound is ``ERROR`` of the value.

        The point is kept in the cache directory; what is said of it is evaluated in every run.
        """
        kept = cache_directory() / f"minimum-{self.loss}-{self.alpha:g}-{self.table.mark:08x}.npy"
        start = np.load(kept) if kept.exists() else np.zeros(self.k * (self.d + 1))
        points: list[tuple[float, float, Array]] = []  # error, value, point

        def evaluate(packed: Array) -> tuple[float, Array]:
            value, gradient = self._value_and_gradient(packed)
            error = float(np.vdot(gradient, gradient)) / (2.0 * self._penalty)
            best = min([*points, (error, float(value), packed.copy())], key=itemgetter(0))
            points[:] = [best]
            return value, gradient

        def enough() -> bool:
            return points[0][0] <= ERROR * points[0][1]

        def stop(intermediate_result: Any) -> None:
            if enough():
                raise StopIteration

        evaluate(start)
        if not enough():
            tight = {"maxiter": 5000, "maxfun": 10_000, "gtol": 0.0, "ftol": 0.0, "maxcor": 30}
            minimize(evaluate, start, jac=True, method="L-BFGS-B", callback=stop, options=tight)
        error, value, point = points[0]
        assert enough(), f"the minimum is known to {error:.1e} only"
        np.save(kept, point)
        return Minimum(value, error)

    def excess(self, model: Model) -> float:
        """Relative suboptimality (L - L*) / L*."""
        return self.value(model) / self.minimum.value - 1.0


@dataclass(frozen=True)
class Minimum:
    """L* and how far above it ``value`` can be: |gradient|^2 / (2 alpha), by strong convexity.

    The bound holds with the intercept's curvature above alpha, as it is wherever both classes are
    common.
    """

    value: float
    error: float
