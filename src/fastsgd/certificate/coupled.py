"""Certificate of the softmax, whose loss couples all lanes: they have one objective and one gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings, blocks
from ..targets import targets_of, weights_of
from .conjugates import CONJUGATES
from .penalties import penalty, penalty_conjugate, shortest_subgradient, shrinkage

__all__ = ["certify_coupled"]

Float = NDArray[np.float64]


class _Coupled:
    """All K lanes of a softmax at weights (K, d) and intercepts b (K,).

    Every pass over X works out the scores z of a block of rows anew; those of all n rows are never
    held. ``class_weight_sums`` (K,) is the sum of the weights s of the rows of each class, ``n``
    the count of rows of positive weight.
    """

    def __init__(self, data: Data, lanes: Lanes, settings: Settings, coef: Float, b: Float) -> None:
        self.data, self.lanes, self.settings = data, lanes, settings
        self.coef, self.b, self.loss = coef, b, settings.terms
        self.class_weight_sums, self.n = np.zeros(lanes.k), 0
        for rows in blocks(data.X):
            y, s = self.targets(rows)
            self.class_weight_sums += (s * (y > 0)).sum(axis=0)
            self.n += int((s > 0.0).sum())
        self.n = max(1, self.n)

    def targets(self, block: slice) -> tuple[Float, Float]:
        """y (m, K) and s (m, 1) of a block of rows."""
        rows = np.arange(block.start, block.stop)
        y = targets_of(self.data, self.lanes, self.settings, rows)
        s = weights_of(self.data, self.lanes, self.settings, y, rows)
        return y, s[:, :1]

    def blocks(self) -> Iterator[tuple[Any, Float, Float, Float]]:
        """X, y (m, K), s (m, 1) and scores z (m, K) without intercept, block by block."""
        for block in blocks(self.data.X):
            X = self.data.rows(block)
            yield X, *self.targets(block), X @ self.coef.T

    def derivatives(self, b: Float) -> tuple[float, Float, Float]:
        """Loss, its gradient (K,) and Hessian (K, K) in the intercepts; sums over the rows."""
        value, slope, curve = 0.0, np.zeros(self.lanes.k), np.zeros((self.lanes.k,) * 2)
        for _, y, s, z in self.blocks():
            value += float((s * self.loss.value(z + b, y)[:, :1]).sum())
            theta = self.loss.slope(z + b, y)
            p = theta + (y > 0)
            slope += (s * theta).sum(axis=0)
            curve += np.diag((s * p).sum(axis=0)) - (s * p).T @ p
        return value, slope, curve

    def best_intercepts(self) -> tuple[Float, Float]:
        """Intercepts (K,) that minimise the loss for these weights, and the gradient left there.

        By Newton steps. Where one of them does not reduce the loss, far from the minimum, a step of
        iterative scaling is taken, which always does (Darroch & Ratcliff 1972):
        b + log(class_weight_sums / sum_i s_i p_i).
        """
        own = self.class_weight_sums
        present = own > 0.0
        b = np.where(present, self.b, -np.inf)  # a class without rows has probability 0
        total = float(own.sum())
        ridge = 1e-12 * total * np.eye(len(b))  # b + 1 changes nothing: the Hessian is singular
        value, slope, curve = self.derivatives(b)
        for _ in range(30):
            largest = np.abs(slope).max()
            if largest <= 1e-13 * total:
                break
            scaling = np.log((own + slope)[present] / own[present])
            for step in (np.linalg.solve(curve + ridge, slope), scaling):
                trial = b.copy()
                trial[present] -= step if step is scaling else step[present]
                new = self.derivatives(trial)
                if new[0] < value or np.abs(new[1]).max() < 0.5 * largest:
                    break
            else:
                break  # the gradient is rounding
            b, (value, slope, curve) = trial, new
        return b, slope

    def dual_point(self) -> Callable[[Float, Float], Float]:
        """A function of z (m, K) and y (m, K): theta (m, K), which meets every class's constraint.

        The rows' probabilities p of a class sum to ``rest`` more than the constraint asks, at least
        by rounding. They are mixed with q = (own - room rest) / sum(own), the same in every row,
        for which the sum is met exactly; ``own`` stands for class_weight_sums.
        """
        if not self.settings.fit_intercept:
            return lambda z, y: self.loss.slope(z + self.b, y)
        own = self.class_weight_sums
        b, rest = self.best_intercepts()
        over = rest > 0.0
        room = float((own[over] / rest[over]).min(initial=1e30))
        share = 1.0 / (1.0 + room)
        q = np.maximum(0.0, own - room * rest) / max(float(own.sum()), 1e-300)

        def theta(z: Float, y: Float) -> Float:
            mixed = (1.0 - share) * (self.loss.slope(z + b, y) + (y > 0)) + share * q
            return mixed - (y > 0)

        return theta

    def bound(self, dual: Callable[[Float, Float], Float], v: Float) -> float:
        """The larger of D(theta) and D(0), at which every row is sure of its class.

        v (K, d) is sum_i s_i theta_i x_i / n.
        """
        learns_b, lanes = self.settings.fit_intercept, self.lanes
        parts = list(zip(v, lanes.alpha, lanes.l1, strict=True))
        t = min(shrinkage(*part) for part in parts)
        at_zero = 0.0 if learns_b else float(self.b @ lanes.intercept_gradient)
        value = at_zero - sum(penalty_conjugate(-t * u, a, m) for u, a, m in parts)
        for _, y, s, z in self.blocks():
            theta = t * dual(z, y)
            value -= float((s * CONJUGATES["softmax"](theta, y)[:, :1]).sum()) / self.n
            if not learns_b:
                value += float((s * theta).sum(axis=0) @ self.b) / self.n
        return max(value, at_zero) if value == value else at_zero


def certify_coupled(
    data: Data, lanes: Lanes, settings: Settings, coef: Float, intercept: Float
) -> Float:
    """Gradient norms, gaps and objectives (3, K) at weights (K, d) and intercepts (K,).

    The gap and the objective are those of all lanes together, repeated for every lane.
    """
    model = _Coupled(data, lanes, settings, coef, intercept)
    learns_b = settings.fit_intercept
    bounded = ((lanes.alpha > 0.0) | (lanes.l1 > 0.0)).all()
    bounded &= not (learns_b and lanes.intercept_gradient.any())
    dual = model.dual_point() if bounded else None
    value, g_b = float(lanes.intercept_gradient @ intercept), np.copy(lanes.intercept_gradient)
    g, v = lanes.alpha[:, None] * coef, np.zeros_like(coef)
    for X, y, s, z in model.blocks():
        c = s / model.n
        slope = model.loss.slope(z + intercept, y)
        value += float((c * model.loss.value(z + intercept, y)[:, :1]).sum())
        g += (X.T @ (c * slope)).T
        g_b += (c * slope).sum(axis=0)
        if dual is not None:
            v += (X.T @ (c * dual(z, y))).T
    value += sum(penalty(w, a, m) for w, a, m in zip(coef, lanes.alpha, lanes.l1, strict=True))
    norm = np.linalg.norm(shortest_subgradient(g, coef, lanes.l1[:, None]), axis=1)
    gap = np.nan if dual is None else value - model.bound(dual, v)
    k = lanes.k
    return np.array([np.hypot(norm, g_b * learns_b), np.full(k, gap), np.full(k, value)])
