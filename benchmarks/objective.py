"""The objective that every solver is judged by, in float64, and its minimum.

    L(w, b) = (1/n) sum_i loss(x_i . w + b, y_i)  +  alpha/2 |w|^2        or  + alpha |w|_1

with one lane for two classes and for real targets, and one lane a class for the softmax. Of more
than two classes, each against the rest, it is the mean of the lanes. Peers minimise it up to a
constant factor; C = 1 / (n alpha) in those that sum. L1 has one lane. The Poisson loss is half the
deviance, which is 0 at the best score: peers may leave out what depends on y alone.
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
from scipy.special import expit, logsumexp, softmax, xlogy

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
    loss : {"log_loss", "softmax", "hinge", "squared_error", "poisson"}
        The squared error is halved, as in fastsgd and scikit-learn's SGD.
    alpha : float
        Strength of the penalty.
    penalty : {"l2", "l1"}
    """

    table: Table
    loss: str
    alpha: float
    penalty: str = "l2"

    @property
    def n(self) -> int:
        return len(self.table.y)

    @property
    def d(self) -> int:
        return int(self.table.X.shape[1])

    @property
    def k(self) -> int:
        """Lanes."""
        if not self.classifies or self.table.classes == 2:
            return 1
        return self.table.classes

    @property
    def classifies(self) -> bool:
        return self.loss not in ("squared_error", "poisson")

    @property
    def C(self) -> float:
        """Weight of the summed loss beside |w|^2 / 2, or beside |w|_1."""
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
        if self.loss == "poisson":
            y = y[:, None].astype(np.float64)
            return (np.exp(z) - y * z + xlogy(y, y) - y)[:, 0], np.exp(z) - y
        s = self.signs.astype(np.float64)
        if self.loss == "log_loss":
            value, slope = np.logaddexp(0.0, -s * z), -s * expit(-s * z)
        else:
            value, slope = np.maximum(0.0, 1.0 - s * z), np.where(s * z < 1.0, -s, 0.0)
        return value.mean(axis=1), slope / self.k

    @property
    def _penalty(self) -> float:
        """Factor of |W|^2 / 2, or of |W|_1."""
        return self.alpha if self.loss == "softmax" else self.alpha / self.k

    def loss_of(self, model: Model) -> float:
        """The mean loss alone, without the penalty."""
        coef, intercept = self._shaped(model)
        return float(self._losses(self.wide @ coef.T + intercept)[0].mean())

    def value(self, model: Model) -> float:
        """L of a model, whatever made it."""
        coef, intercept = self._shaped(model)
        norm = np.abs(coef).sum() if self.penalty == "l1" else 0.5 * np.vdot(coef, coef)
        return self.loss_of((coef, intercept)) + self._penalty * float(norm)

    def _shaped(self, model: Model) -> tuple[Array, Array]:
        model = model() if callable(model) else model
        coef = np.asarray(model[0], dtype=np.float64).reshape(self.k, self.d)
        return coef, np.asarray(model[1], dtype=np.float64).reshape(self.k)

    def _loss_and_gradient(self, packed: Array) -> tuple[float, Array]:
        """Of the mean loss, at (coefficients, intercept) of each lane, (k (d + 1),)."""
        coef = packed.reshape(self.k, self.d + 1)[:, :-1]
        z = self.wide @ coef.T + packed.reshape(self.k, -1)[:, -1]
        loss, slope = self._losses(z)
        gradient = np.empty((self.k, self.d + 1))
        gradient[:, :-1] = (self.wide.T @ slope).T / self.n
        gradient[:, -1] = slope.mean(axis=0)
        return float(loss.mean()), gradient.ravel()

    def _ridge(self, packed: Array) -> tuple[float, Array]:
        """Value and gradient with L2."""
        value, gradient = self._loss_and_gradient(packed)
        coef = packed.copy()
        coef[self.d :: self.d + 1] = 0.0  # intercepts
        return value + 0.5 * self._penalty * float(coef @ coef), gradient + self._penalty * coef

    def _lasso(self, parts: Array) -> tuple[float, Array]:
        """Value and gradient with L1, at w = p - q with p, q >= 0; parts are (p, b, q)."""
        d = self.d
        packed = parts[: d + 1].copy()
        packed[:d] -= parts[d + 1 :]
        value, gradient = self._loss_and_gradient(packed)
        both = np.concatenate([gradient, -gradient[:d]])
        both[:d] += self._penalty
        both[d + 1 :] += self._penalty
        return value + self._penalty * float(parts.sum() - parts[d]), both

    def _lasso_error(self, parts: Array) -> tuple[float, float, Array]:
        """The duality gap, the value, and parts with the best intercept.

        The dual point is the slopes c there, whose sum is 0, times the largest factor with
        |X^T c| / n <= alpha:  gap = L + (1/n) sum_i conjugate(c_i, y_i).
        """
        d, parts = self.d, parts.copy()
        z = self.wide @ (parts[:d] - parts[d + 1 :])[:, None] + parts[d]
        for _ in range(20):
            slope = self._losses(z)[1]
            step = slope.mean() / self._curvatures(z).mean()
            parts[d] -= step
            z -= step
        value, slope = self._losses(z)
        value = value.mean() + self._penalty * float(parts.sum() - parts[d])
        largest = np.abs(self.wide.T @ slope).max() / self.n
        c = slope[:, 0] * min(1.0, self._penalty / largest)
        return float(value + self._conjugates(c).mean()), float(value), parts

    def _curvatures(self, z: Array) -> Array:
        """Second derivative of the loss by the score."""
        if self.loss == "log_loss":
            return expit(z) * expit(-z)
        return np.exp(z) if self.loss == "poisson" else np.ones_like(z)

    def _conjugates(self, c: Array) -> Array:
        """sup_z c z - loss(z, y), (n,), for slopes c (n,)."""
        if self.loss == "log_loss":
            u = np.clip(-self.signs[:, 0] * c, 0.0, 1.0)
            return xlogy(u, u) + xlogy(1.0 - u, 1.0 - u)
        y = self.table.y.astype(np.float64)
        if self.loss == "poisson":
            return xlogy(c + y, c + y) - c - xlogy(y, y)
        return 0.5 * c**2 + c * y

    @cached_property
    def minimum(self) -> Minimum:
        """By L-BFGS, for the smooth losses, until the error bound is ``ERROR`` of the value.

        The point is kept in the cache directory; what is said of it is evaluated in every run.
        """
        lasso = self.penalty == "l1"
        name = f"{self.loss}-l1" if lasso else self.loss
        kept = cache_directory() / f"minimum-{name}-{self.alpha:g}-{self.table.mark:08x}.npy"
        size = 2 * self.d + 1 if lasso else self.k * (self.d + 1)
        start = np.load(kept) if kept.exists() else np.zeros(size)
        points: list[tuple[float, float, Array]] = []  # error, value, point

        def note(*point: Any) -> None:
            points[:] = [min([*points, point], key=itemgetter(0))]

        def evaluate(parts: Array) -> tuple[float, Array]:
            if lasso:
                return self._lasso(parts)
            value, gradient = self._ridge(parts)
            note(float(gradient @ gradient) / (2.0 * self._penalty), value, parts.copy())
            return value, gradient

        def enough() -> bool:
            return points[0][0] <= ERROR * points[0][1]

        def stop(intermediate_result: Any) -> None:
            if lasso:
                note(*self._lasso_error(intermediate_result.x))
            if enough():
                raise StopIteration

        if lasso:
            note(*self._lasso_error(start))
        else:
            evaluate(start)
        if not enough():
            tight = {"maxiter": 5000, "maxfun": 10_000, "gtol": 0.0, "ftol": 0.0, "maxcor": 30}
            bounds = [(0.0, None)] * self.d
            bounds = [*bounds, (None, None), *bounds] if lasso else None
            minimize(
                evaluate,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                callback=stop,
                options=tight,
            )
        error, value, point = points[0]
        assert enough(), f"the minimum is known to {error:.1e} only"
        np.save(kept, point)
        return Minimum(value, error)

    def excess(self, model: Model) -> float:
        """Relative suboptimality (L - L*) / L*."""
        return self.value(model) / self.minimum.value - 1.0


@dataclass(frozen=True)
class Minimum:
    """L* and how far above it ``value`` can be.

    With L2, |gradient|^2 / (2 alpha), by strong convexity. That holds with the intercept's
    curvature above alpha, as it is wherever both classes are common. With L1, the duality gap.
    """

    value: float
    error: float
