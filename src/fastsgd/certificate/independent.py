"""Certificates of lanes whose losses do not depend on each other: each has a gap of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..problem import LANE_NUMBERS, Data, Lanes, Settings
from ..targets import targets_of, weights_of
from .ascent import largest_eigenvalue, minimise, project
from .bracket import bracket_sign_change
from .conjugates import CONJUGATES
from .kinks import KINKS
from .passes import numbers_in_a_row, scores_of, weighted_sums
from .penalties import penalty, penalty_conjugate, shortest_subgradient, shrinkage

__all__ = ["certify_independent"]

Float = NDArray[np.float64]

_SCORES_IN_MEMORY = 1 << 20
"""Scores that are held at once: lanes are taken in groups of this many over n, at least one."""

_PROXIMAL_WEIGHTS = (0.1, 0.003, 1e-4)
"""Weights, in natural units, of the term that keeps W near w while the dual bound is improved.

They are taken one after the other, each starting where the one before ended.
"""

_ASCENT_STEPS = 250
"""Most steps of the dual improvement for each of these weights."""

_ROWS_AT_KINKS = (512, 2048)
"""Least and most rows near a kink whose dual variables are improved; between them 2 d + 2."""


class _Lane:
    """One lane at weights w (d,) and intercept b, over its n_k rows of positive weight.

    ``s`` (n_k,) are the weights of these rows, ``y`` (n_k,) their targets.
    """

    def __init__(
        self, data: Data, lanes: Lanes, settings: Settings, k: int, w: Float, b: float
    ) -> None:
        lane = replace(_lanes_at(lanes, slice(k, k + 1)), target=np.zeros(1, dtype=np.int64))
        column, rows = replace(data, y=data.y[:, lanes.target[k]]), np.arange(data.n)
        y = targets_of(column, lane, settings, rows)
        s = weights_of(column, lane, settings, y, rows)[:, 0]
        self.rows = np.flatnonzero(s > 0.0)
        self.y, self.s = y[self.rows, 0], s[self.rows]
        self.n = max(1, len(self.rows))
        self.alpha, self.l1 = float(lane.alpha[0]), float(lane.l1[0])
        self.intercept_gradient = float(lane.intercept_gradient[0])
        self.w, self.b, self.learns_b = w, b, settings.fit_intercept
        self.loss, self.e = settings.terms, settings.loss_parameter
        self.conjugate = CONJUGATES.get(self.loss.name) if settings.loss == self.loss.name else None

    def objective(self, z: Float) -> float:
        """P at scores z (n_k,), which include b."""
        value = self.s @ self.loss.value(z, self.y, self.e) / self.n
        return (
            float(value) + penalty(self.w, self.alpha, self.l1) + self.intercept_gradient * self.b
        )

    def feasible_point(self, z: Float) -> tuple[float, Float] | None:
        """An intercept that minimises P for w, and slopes theta there that meet the constraint.

        ``z`` (n_k,) is without intercept. None if P has no minimum in the intercept.
        """
        if not self.learns_b:
            return self.b, self.loss.slope(z + self.b, self.y, self.e)

        def gradient(b: float) -> tuple[float, float]:
            c = self.s * self.loss.slope(z + b, self.y, self.e)
            return float(c.sum()) + self.n * self.intercept_gradient, float(np.abs(c).sum())

        ends = bracket_sign_change(gradient, self.b, float(np.abs(z).max(initial=0.0)))
        if ends is None:
            return None
        low, high, below, above = ends
        left, right = (self.loss.slope(z + b, self.y, self.e) for b in (low, high))
        share = above / (above - below) if above > below else 1.0
        return low, np.clip(right + share * (left - right), left, right)

    def bound(self, theta: Float, v: Float) -> float:
        """D(theta), with v = sum_i s_i theta_i x_i / n_k; minus infinity if theta is infeasible."""
        t = shrinkage(v, self.alpha, self.l1)
        if t < 1.0 and self.learns_b and self.intercept_gradient != 0.0:
            return -np.inf
        theta, v = t * theta, t * v
        assert self.conjugate is not None
        value = -float(self.s @ self.conjugate(theta, self.y, self.e)) / self.n
        value -= penalty_conjugate(-v, self.alpha, self.l1)
        if not self.learns_b:
            value += self.b * (float(self.s @ theta) / self.n + self.intercept_gradient)
        return value if value == value else -np.inf

    def bound_at_zero(self) -> float:
        """D(0), which is -sum_i s_i f*(0) / n_k = inf f where 0 is feasible."""
        zero = np.zeros_like(self.s)
        feasible = not (self.learns_b and self.intercept_gradient != 0.0)
        return self.bound(zero, np.zeros_like(self.w)) if feasible else -np.inf

    def improved_bound(self, data: Data, theta: Float, v: Float, z: Float) -> float:
        """The largest D found by moving theta between the two slopes of rows near a kink.

        While theta_i is between the slopes at a kink, f* is linear in it and its slope is the
        kink. With a_i = s_i theta_i / n_k, the derivative of D in a_i is x_i . W(-v) - kink_i, with
        W the gradient of R*. A term weight / 2 |W - w|^2 is first added to R, with ever smaller
        weights. At the optimal w it changes neither the minimum nor the dual solution; it brings
        rows off their kink to the right bound in few steps, and makes W unique under L1 alone.
        """
        kink, low, high = KINKS[self.loss.name](z, self.y, self.e)
        size = int(min(len(z), np.clip(2 * len(self.w) + 2, *_ROWS_AT_KINKS)))
        rows = np.argpartition(np.abs(z - kink), size - 1)[:size]
        kink, low, high = kink[rows], low[rows], high[rows]
        A = data.rows(self.rows[rows])  # (size, d)
        unit = self.s[rows] / self.n
        a = start = unit * theta[rows]
        total = float(start.sum()) if self.learns_b else None
        curvature = largest_eigenvalue(A) or 1.0
        distance = float(np.abs(z[rows] - kink).mean()) or 1.0
        kink = kink if self.learns_b else kink - self.b
        width = numbers_in_a_row(data)
        work = max(4e7, 2.0 * data.n * width)  # multiplications of about two passes over X
        steps = int(min(_ASCENT_STEPS, work / (size * width)))
        best = -np.inf
        for share in (*_PROXIMAL_WEIGHTS, 0.0) if self.alpha > 0.0 else _PROXIMAL_WEIGHTS:
            weight = share * curvature * float(unit.mean()) / distance

            def slope(a: Float, weight: float = weight) -> Float:
                u = weight * self.w - v - A.T @ (a - start)
                W = np.sign(u) * np.maximum(0.0, np.abs(u) - self.l1) / (self.alpha + weight)
                return kink - A @ W

            def into_bounds(a: Float) -> Float:
                return project(a, unit * low, unit * high, total)

            a = minimise(slope, into_bounds, a, (self.alpha + weight) / curvature, steps)
            theta = theta.copy()
            theta[rows] = np.clip(a / unit, low, high)
            best = max(best, self.bound(theta, v + A.T @ (a - start)))
        return best


def _lanes_at(lanes: Lanes, places: slice) -> Lanes:
    """The lanes at some places of all of them."""
    numbers = {name: getattr(lanes, name)[places] for name in (*LANE_NUMBERS, "target")}
    return Lanes(len(numbers["alpha"]), **numbers)


def certify_independent(
    data: Data, lanes: Lanes, settings: Settings, coef: Float, intercept: Float
) -> Float:
    """Gradient norms, gaps and objectives (3, K) at weights (K, d) and intercepts (K,)."""
    size = max(1, _SCORES_IN_MEMORY // data.n)
    groups = [slice(first, first + size) for first in range(0, lanes.k, size)]
    parts = [_certify(data, _lanes_at(lanes, g), settings, coef[g], intercept[g]) for g in groups]
    return np.concatenate(parts, axis=1)


def _certify(data: Data, lanes: Lanes, settings: Settings, coef: Float, intercept: Float) -> Float:
    """The same for a group of lanes whose scores fit into memory."""
    group = [_Lane(data, lanes, settings, k, coef[k], float(intercept[k])) for k in range(lanes.k)]
    scores = scores_of(data, coef)
    c = np.zeros((2, *scores.shape))  # s times the slopes at b, and s times theta
    out = np.full((3, lanes.k), np.nan)
    dual = {}
    for k, lane in enumerate(group):
        z = scores[k, lane.rows]
        c[0, k, lane.rows] = lane.s * lane.loss.slope(z + lane.b, lane.y, lane.e)
        out[2, k] = lane.objective(z + lane.b)
        if lane.conjugate is not None and (lane.alpha > 0.0 or lane.l1 > 0.0):
            dual[k] = point = lane.feasible_point(z)
            if point is not None:
                c[1, k, lane.rows] = lane.s * point[1]
    sums = weighted_sums(data, c.reshape(-1, data.n)).reshape(2, lanes.k, data.d)
    for k, lane in enumerate(group):
        g = sums[0, k] / lane.n + lane.alpha * lane.w
        g_b = (c[0, k].sum() / lane.n + lane.intercept_gradient) * lane.learns_b
        out[0, k] = np.hypot(np.linalg.norm(shortest_subgradient(g, lane.w, lane.l1)), g_b)
        if k not in dual:
            continue
        bounds = [lane.bound_at_zero()]
        point = dual[k]
        if point is not None:
            b, theta = point
            v = sums[1, k] / lane.n
            bounds.append(lane.bound(theta, v))
            if lane.loss.name in KINKS and len(lane.rows) and np.isfinite(v).all():
                bounds.append(lane.improved_bound(data, theta, v, scores[k, lane.rows] + b))
        if max(bounds) > -np.inf:
            out[1, k] = out[2, k] - max(bounds)
    return out
