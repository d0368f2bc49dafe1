"""A lower bound of the minimum of one lane's objective, of few rows and features.

With a loss made of lines by an interior point (interior_point.py). With any other by Newton's
method: near the minimum a smooth objective is quadratic, and a step that promises little is near
its end. An L1 term l1 |w| is the greatest of theta w with |theta| <= l1; less h / 2 theta^2 it is
smooth (Nesterov, "Smooth minimization of non-smooth functions", 2005),

    max over |theta| <= l1 of theta w - h / 2 theta^2,        theta = clip(w / h, -l1, l1)

and by duality the minimum of P_h, with this in place of the L1 term, bounds that of P once
h / 2 theta^2 is given back: min P >= min P_h + h / 2 |theta|^2. The width h falls until the two
ends are near enough to each other. What the end is short of is the Newton step with theta held,
which bounds P for any theta: with the smoothed term the step would count on its second derivative
1 / h, which is 0 a width further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import LINES
from .interior_point import lower_bound

__all__ = ["SmallProblem"]

Float = NDArray[np.float64]

STEPS, HALVINGS = 60, 6
"""Most Newton steps, and most times that one is shortened, each time to a quarter."""

RIDGE, HARDER = 1e-12, 100.0
"""What is added to the second derivative, as a part of sum_i s_i |x_i|^2 / p, so that flat
directions have a step too, and what it is multiplied by after a step that does not help."""

NEAR = 1e-7
"""Half the distance over which second derivatives are differences, in mean residuals."""

FIRST_WIDTH, NARROWER = 0.1, 0.1
"""The first width as a part of the mean |w|, or of a mean step of steepest descent without L1 where
that is larger, and the least factor by which it falls."""


@dataclass
class SmallProblem:
    """One lane's objective over dense rows, few enough for (p, p) systems.

    P(w) = sum_i s_i f(x_i . w + offset) + sum_j (alpha_j w_j^2 / 2 + l1_j |w_j| + r_j w_j)

    Attributes
    ----------
    X : ndarray of shape (n, p)
        Features, and a column of ones if there is an intercept to learn.
    y, s : ndarray of shape (n,)
        Targets, and weights divided by the number of rows of positive weight.
    loss : Loss
    parameter : float
        The e of ``loss.value(z, y, e)``.
    offset : float
        An intercept that is not learnt.
    alpha, l1, intercept_gradient : ndarray of shape (p,)
        ``intercept_gradient`` is r: 0 but for the intercept.
    """

    X: Float
    y: Float
    s: Float
    loss: Any
    parameter: float
    offset: float
    alpha: Float
    l1: Float
    intercept_gradient: Float

    def bound(self, w: Float, within: float) -> float:
        """A lower bound of the minimum, at most ``within`` below it.

        Of a loss made of lines it is exact, up to rounding; of others up to what the last and
        small one of the Newton steps would change.

        Parameters
        ----------
        w : ndarray of shape (p,)
            Weights to start from.
        within : float
            In the unit of the objective.

        Returns
        -------
        float
            NaN where it was not found, as where there is no minimum.
        """
        if self.loss.name in LINES:
            return self._bound_of_lines(w, within)
        return self._bound_by_newton(w, within)

    def _bound_of_lines(self, w: Float, within: float) -> float:
        """The same of a loss made of lines: a row for each, and one for each |w_j|."""
        has = self.s > 0.0
        X, y, s = self.X[has], self.y[has], self.s[has]
        slope, lines = LINES[self.loss.name](y, self.parameter)
        q = self.intercept_gradient + slope * (s @ X)
        constant = float(slope * (s @ (self.offset - y)))
        m = np.array([np.broadcast_to(m, y.shape) for m, _ in lines])
        b = np.array([np.broadcast_to(b, y.shape) for _, b in lines]) + m * self.offset
        c = np.array([s] * len(lines))
        held = np.flatnonzero(self.l1)
        if len(held):  # l1 |w| = -l1 w + 2 l1 max(0, w): rows of one feature, and one line
            X, q = np.vstack([X, np.eye(len(w))[held]]), q - self.l1
            more = ((0, 0), (0, len(held)))
            m, b, c = np.pad(m, more, constant_values=1.0), np.pad(b, more), np.pad(c, more)
            c[:, len(s) :] = 2.0 * self.l1[held] / len(lines)
        return lower_bound(w, (self.alpha, q), (X, m, b, c), within) + constant

    def _bound_by_newton(self, w: Float, within: float) -> float:
        z = self.X @ w + self.offset
        self.near = NEAR * max(1e-12, float(np.abs(z - self.y).mean()))
        self.scale = float(self.s @ np.square(self.X).sum(axis=1)) / len(w)
        self.h = self._first_width(w, z) if self.l1.any() else 0.0
        now = self._smooth(w, z)
        confirmed, ridge = False, RIDGE
        for _ in range(STEPS):
            step, promised = self._step(w, now, ridge)
            if not 0.0 <= promised < np.inf:
                return np.nan
            value, returned = now[0], now[-1]
            gap = float(self.l1 @ np.abs(w)) - now[3].sum() - returned
            small = promised <= 0.1 * within
            if small and gap <= within:
                if confirmed:  # twice: a piecewise loss may have another quadratic beyond
                    _, held = self._step(w, now, RIDGE, bend=0.0)
                    if 0.0 <= held <= 0.1 * within:
                        return value - held + returned
            elif promised <= 0.1 * gap:
                narrower = max(NARROWER, 0.5 * within / gap)
                change = np.where(now[5], (1.0 - narrower) * w, 0.0)  # theta stays
                self.h, w, z = self.h * narrower, w - change, z - self.X @ change
                now = self._smooth(w, z)
                continue
            confirmed = small
            better = self._stepped(w, z, now, step, promised)
            if better is None:
                ridge *= HARDER
            else:
                w, z, now = better
                ridge = max(RIDGE, ridge / HARDER)
        return np.nan

    def _first_width(self, w: Float, z: Float) -> float:
        g = self.X.T @ (self.s * self.loss.slope(z, self.y, self.parameter))
        g += self.alpha * w + self.intercept_gradient
        sizes = float(np.abs(w).mean()), float(np.abs(g).mean()) / max(self.scale, 1e-300)
        return FIRST_WIDTH * max(1e-12, *(size for size in sizes if size < np.inf))

    def _stepped(self, w: Float, z: Float, now: Any, step: Float, promised: float) -> Any:
        """w, z and what is known there after a step, or the longest part of it that gains enough;
        None where none does."""
        value, along, t = now[0], self.X @ step, 1.0
        for _ in range(HALVINGS):
            new = self._smooth(w - t * step, z - t * along)
            if new[0] <= value - 0.2 * t * promised or promised <= 1e-14 * abs(value):
                return w - t * step, z - t * along, new
            t *= 0.25
        return None

    def _smooth(self, w: Float, z: Float) -> tuple[float, Float, Float, Float, Float, Float, float]:
        """P_h, the rows' slopes and second derivatives, those of the smoothed L1 term with it in
        front, and what is given back of it."""
        y, e, near = self.y, self.parameter, self.near
        slope = self.loss.slope(z, y, e)
        second = (self.loss.slope(z + near, y, e) - self.loss.slope(z - near, y, e)) * (0.5 / near)
        value = (
            self.s @ self.loss.value(z, y, e) + (0.5 * self.alpha * w + self.intercept_gradient) @ w
        )
        term = theta = bend = np.zeros_like(w)
        if self.h:
            theta = np.clip(w / self.h, -self.l1, self.l1)
            term, bend = theta * (w - 0.5 * self.h * theta), (theta == w / self.h) / self.h
        returned = 0.5 * self.h * float(theta @ theta)
        return float(value + term.sum()), slope, second, term, theta, bend, returned

    def _step(self, w: Float, now: Any, ridge: float, bend: Any = None) -> tuple[Float, float]:
        """A Newton step, and half of what it promises; NaN where there is none.

        ``bend`` is in place of the second derivative of the smoothed L1 term: with 0 its gradient
        theta is held.
        """
        _, slope, second, _, theta, own, _ = now
        bend = own if bend is None else bend
        g = self.X.T @ (self.s * slope) + self.alpha * w + self.intercept_gradient + theta
        H = (self.X.T * (self.s * second)) @ self.X
        H.ravel()[:: len(w) + 1] += self.alpha + bend + ridge * self.scale
        try:
            step = np.linalg.solve(H, g)
        except np.linalg.LinAlgError:
            return g, np.nan
        return step, 0.5 * float(g @ step)
