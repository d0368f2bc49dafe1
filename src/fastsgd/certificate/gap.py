"""How far from the minimum: the full gradient's norm and a duality gap, of every lane.

With n_k the rows of positive weight, theta_i the dual variable of row i and f* the conjugate of the
loss in its score, f*(theta) = sup_z (theta z - f(z)), Fenchel and Young give for every theta

    P(w, b)  = (1/n_k) sum_i s_i f(x_i . w + b) + R(w) + pull b   >=   min P   >=   D(theta)
    D(theta) = -(1/n_k) sum_i s_i f*(theta_i) - R*(-v),      v = (1/n_k) sum_i s_i theta_i x_i

where an intercept that is learnt adds the constraint sum_i s_i theta_i = -n_k pull, and one that is
fixed adds b (sum_i s_i theta_i / n_k + pull) to D. The gap P - D is an upper bound of P - min P,
whatever theta is; theta_i = f'(z_i) makes it vanish at the minimum:

* intercept: f' is taken at the b that minimises P for this w, between whose two sides a convex
  combination meets the constraint exactly. The domain of f* is convex, so it stays inside.
* R*: with an L2 term sum_j max(0, |v_j| - l1)^2 / (2 alpha). Under L1 alone theta is scaled towards
  0 until |v_j| <= l1, which a pull rules out; without any penalty there is no gap.
* kinks: where z_i is at a kink of f, theta_i may be anything between the two slopes. D is improved
  over the rows nearest to a kink, by accelerated projected gradients (Beck & Teboulle 2009).
* theta = 0 is tried too, so that without a pull the gap never exceeds P - inf f.

Smooth losses whose gradient is g have a gap of |g|^2 / (2 alpha) under L2: far from the minimum
the bound is loose by up to the condition number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from ..problem import LANE_NUMBERS, Data, Lanes, Settings, blocks
from ..targets import targets_of, weights_of

Float = NDArray[np.float64]

_HELD = 1 << 20
"""Scores held at once: lanes are taken in groups of this many over n, at least one."""

_NEAR = (0.1, 0.003, 1e-4)
"""Weights of the term that first keeps a dual improvement near w, in natural units."""

_TURNS = 250
"""Most steps of the dual improvement for each of these weights."""

_KINKED = (512, 2048)
"""Rows near a kink whose dual variables are improved: 2 d + 2, but within these bounds and n."""


@dataclass(frozen=True)
class Certificate:
    """Proof of how far a model is from the minimum of its objective.

    Attributes
    ----------
    gradient_norm : ndarray of shape (K,)
        2-norm, over w and a learnt b, of the gradient of the objective: with an L1 term of the
        shortest subgradient of the penalty; at a kink of the loss by the slope that training takes,
        so that it need not vanish at the minimum of a loss with kinks. Of a coupled loss: lane k's
        part of the joint gradient.
    duality_gap : ndarray of shape (K,)
        Upper bound of ``objective`` minus the minimum; negative by rounding at most. NaN where none
        is known: without a penalty, with a loss in ``WITHOUT_CONJUGATE`` or of the user's own, or
        with a pull that no dual point meets. Of a coupled loss: the one joint gap, in every lane.
    objective : ndarray of shape (K,)
        The objective; of a coupled loss the joint one, mean loss plus all lanes' penalties.
    """

    gradient_norm: Float
    duality_gap: Float
    objective: Float


# ------------------------------------------------------------------ conjugates, with u = y theta


def _squared_error(theta: Float, y: Float, e: float = 0.0) -> Float:
    """theta^2 / 2 + y theta"""
    return 0.5 * theta**2 + y * theta


def _log_loss(theta: Float, y: Float, e: float = 0.0) -> Float:
    """p log p + (1 - p) log(1 - p) with p = -u in [0, 1]"""
    p = -y * theta
    return -entr(p) - entr(1.0 - p)  # minus infinity where p < 0


def _hinge(theta: Float, y: Float, e: float = 0.0) -> Float:
    """u, for u in [-1, 0]"""
    u = y * theta
    return np.where((u >= -1.0) & (u <= 0.0), u, np.inf)


def _squared_hinge(theta: Float, y: Float, e: float = 0.0) -> Float:
    """u + u^2 / 4, for u <= 0"""
    u = y * theta
    return np.where(u <= 0.0, u + 0.25 * u**2, np.inf)


def _perceptron(theta: Float, y: Float, e: float = 0.0) -> Float:
    """0, for u in [-1, 0]"""
    u = y * theta
    return np.where((u >= -1.0) & (u <= 0.0), 0.0, np.inf)


def _modified_huber(theta: Float, y: Float, e: float = 0.0) -> Float:
    """u + u^2 / 4, for u in [-4, 0]"""
    u = y * theta
    return np.where((u >= -4.0) & (u <= 0.0), u + 0.25 * u**2, np.inf)


def _huber(theta: Float, y: Float, e: float = 0.0) -> Float:
    """theta^2 / 2 + y theta, for |theta| <= e"""
    return np.where(np.abs(theta) <= e, 0.5 * theta**2 + y * theta, np.inf)


def _epsilon_insensitive(theta: Float, y: Float, e: float = 0.0) -> Float:
    """y theta + e |theta|, for |theta| <= 1"""
    return np.where(np.abs(theta) <= 1.0, y * theta + e * np.abs(theta), np.inf)


def _squared_epsilon_insensitive(theta: Float, y: Float, e: float = 0.0) -> Float:
    """theta^2 / 4 + y theta + e |theta|"""
    return 0.25 * theta**2 + y * theta + e * np.abs(theta)


def _quantile(theta: Float, y: Float, e: float = 0.0) -> Float:
    """y theta, for theta in [-e, 1 - e]"""
    return np.where((theta >= -e) & (theta <= 1.0 - e), y * theta, np.inf)


def _poisson(theta: Float, y: Float, e: float = 0.0) -> Float:
    """q log q - q with q = theta + y >= 0"""
    q = theta + y
    return -entr(q) - q


def _softmax(theta: Float, y: Float, e: float = 0.0) -> Float:
    """sum_k p_k log p_k with p = theta + (1 in lane c), for p >= 0 that sum to 1; as rows (m, K)"""
    value = -entr(theta + (y > 0)).sum(axis=1, keepdims=True)
    inside = np.abs(theta.sum(axis=1, keepdims=True)) <= 1e-12 * theta.shape[1]
    return np.broadcast_to(np.where(inside, value, np.inf), theta.shape)


CONJUGATES: dict[str, Callable[..., Float]] = {
    "squared_error": _squared_error,
    "log_loss": _log_loss,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "perceptron": _perceptron,
    "modified_huber": _modified_huber,
    "huber": _huber,
    "epsilon_insensitive": _epsilon_insensitive,
    "squared_epsilon_insensitive": _squared_epsilon_insensitive,
    "quantile": _quantile,
    "poisson": _poisson,
    "softmax": _softmax,
}
"""f*(theta, y, e) of each loss, elementwise; infinity outside its domain."""

WITHOUT_CONJUGATE = frozenset({"linear"})
"""Losses without a gap: the conjugate of a line is finite in one point."""


# --------------------------------------------- kinks: their place, the slopes left and right of it

Kink = tuple[Float, Float, Float]


def _hinge_kink(z: Float, y: Float, e: float) -> Kink:
    return y, np.minimum(-y, 0.0), np.maximum(-y, 0.0)


def _perceptron_kink(z: Float, y: Float, e: float) -> Kink:
    return np.zeros_like(y), np.minimum(-y, 0.0), np.maximum(-y, 0.0)


def _epsilon_insensitive_kink(z: Float, y: Float, e: float) -> Kink:
    side = np.where(z < y, -1.0, 1.0)
    both = e == 0.0  # the two kinks are one
    return y + e * side, np.minimum(side, -float(both)), np.maximum(side, float(both))


def _quantile_kink(z: Float, y: Float, e: float) -> Kink:
    return y, np.full_like(y, -e), np.full_like(y, 1.0 - e)


_KINKS: dict[str, Callable[[Float, Float, float], Kink]] = {
    "hinge": _hinge_kink,
    "perceptron": _perceptron_kink,
    "epsilon_insensitive": _epsilon_insensitive_kink,
    "quantile": _quantile_kink,
}


# ------------------------------------------------------------------ passes over X


def _width(data: Data) -> float:
    """Stored numbers in a row of X."""
    return max(1.0, data.X.nnz / data.n) if data.sparse else data.d


def _scores(data: Data, coef: Float) -> Float:
    """x_i . w_k without intercept, shape (K, n)."""
    z = np.empty((len(coef), data.n))
    for rows in blocks(data.X):
        z[:, rows] = (data.rows(rows) @ coef.T).T
    return z


def _sums(data: Data, c: Float) -> Float:
    """sum_i c_ki x_i, shape (len(c), d), of c (., n)."""
    total = np.zeros((len(c), data.d))
    for rows in blocks(data.X):
        total += (data.rows(rows).T @ c[:, rows].T).T
    return total


# ------------------------------------------------------------------ penalties


def _penalty(w: Float, alpha: float, l1: float) -> float:
    """R(w) = alpha / 2 |w|^2 + l1 |w|_1"""
    return float(0.5 * alpha * (w @ w) + l1 * np.abs(w).sum())


def _penalty_conjugate(v: Float, alpha: float, l1: float) -> float:
    """R*(v) = sum_j max(0, |v_j| - l1)^2 / (2 alpha); without L2 zero, for feasible v."""
    over = np.maximum(0.0, np.abs(v) - l1)
    return float(over @ over) / (2.0 * alpha) if alpha > 0.0 else 0.0


def _shrinkage(v: Float, alpha: float, l1: float) -> float:
    """The factor by which theta, and so v, goes towards 0 to be in the domain of R*."""
    largest = float(np.abs(v).max())
    return 1.0 if alpha > 0.0 or largest <= l1 else l1 / largest


def _subgradient(g: Float, w: Float, l1: float) -> Float:
    """g + l1 sign(w_j); where w_j = 0 the shortest of g_j + [-l1, l1]"""
    return np.where(w != 0.0, g + l1 * np.sign(w), np.maximum(0.0, np.abs(g) - l1))


# ------------------------------------------------------------------ lanes on their own


class _Lane:
    """One lane at weights w and intercept b, over its rows of positive weight."""

    def __init__(
        self, data: Data, lanes: Lanes, settings: Settings, k: int, w: Float, b: float
    ) -> None:
        lane = replace(_some(lanes, slice(k, k + 1)), target=0)
        column, rows = replace(data, y=data.y[:, lanes.target[k]]), np.arange(data.n)
        y = targets_of(column, lane, settings, rows)
        s = weights_of(column, lane, settings, y, rows)[:, 0]
        self.rows = np.flatnonzero(s > 0.0)
        self.y, self.s = y[self.rows, 0], s[self.rows]  # (n_k,)
        self.n = max(1, len(self.rows))
        self.alpha, self.l1, self.pull = (
            float(getattr(lane, name)[0]) for name in ("alpha", "l1", "pull")
        )
        self.w, self.b, self.learns_b = w, b, settings.fit_intercept
        self.loss, self.e = settings.terms, settings.loss_parameter
        self.conjugate = CONJUGATES.get(self.loss.name) if settings.loss == self.loss.name else None

    def objective(self, z: Float) -> float:
        """P at scores z, which include b."""
        value = self.s @ self.loss.value(z, self.y, self.e) / self.n
        return float(value) + _penalty(self.w, self.alpha, self.l1) + self.pull * self.b

    def feasible(self, z: Float) -> tuple[float, Float] | None:
        """An intercept that minimises P for w, and slopes there that sum to -n_k pull.

        ``z`` is without intercept. None if no intercept does it: P has no minimum.
        """
        if not self.learns_b:
            return self.b, self.loss.slope(z + self.b, self.y, self.e)

        def excess(b: float) -> tuple[float, float]:
            c = self.s * self.loss.slope(z + b, self.y, self.e)
            return float(c.sum()) + self.n * self.pull, float(np.abs(c).sum())

        ends = _bracket(excess, self.b, float(np.abs(z).max(initial=0.0)))
        if ends is None:
            return None
        low, high, below, above = ends
        left, right = (self.loss.slope(z + b, self.y, self.e) for b in (low, high))
        share = above / (above - below) if above > below else 1.0
        return low, np.clip(right + share * (left - right), left, right)

    def bound(self, theta: Float, v: Float) -> float:
        """D(theta), v its sum over x; minus infinity where no scaling makes it feasible."""
        t = _shrinkage(v, self.alpha, self.l1)
        if t < 1.0 and self.learns_b and self.pull != 0.0:
            return -np.inf
        theta, v = t * theta, t * v
        value = -float(self.s @ self.conjugate(theta, self.y, self.e)) / self.n
        value -= _penalty_conjugate(-v, self.alpha, self.l1)
        if not self.learns_b:
            value += self.b * (float(self.s @ theta) / self.n + self.pull)
        return value if value == value else -np.inf

    def nothing(self) -> float:
        """D(0)"""
        zero = np.zeros_like(self.s)
        feasible = not (self.learns_b and self.pull != 0.0)
        return self.bound(zero, np.zeros_like(self.w)) if feasible else -np.inf

    def improved(self, data: Data, theta: Float, v: Float, z: Float) -> float:
        """D with a better choice of theta between the slopes at nearby kinks.

        On theta_i between the slopes at a kink, f* is linear and its slope the kink's place. With
        a_i = s_i theta_i / n_k, D then grows by x_i . W(-v) - place_i a unit of a_i, W the gradient
        of R*. R first gets a term near / 2 |W - w|^2, and ever less of it. At the optimal w that
        changes neither the minimum nor the dual solution; it brings rows off their kink to the
        right bound soon, and under L1 alone makes W unique.
        """
        place, low, high = _KINKS[self.loss.name](z, self.y, self.e)
        size = int(min(len(z), np.clip(2 * len(self.w) + 2, *_KINKED)))
        rows = np.argpartition(np.abs(z - place), size - 1)[:size]
        place, low, high = place[rows], low[rows], high[rows]
        A = data.rows(self.rows[rows])  # (size, d)
        unit = self.s[rows] / self.n
        a = start = unit * theta[rows]
        total = float(start.sum()) if self.learns_b else None
        curvature = _largest(A) or 1.0
        distance = float(np.abs(z[rows] - place).mean()) or 1.0
        place = place if self.learns_b else place - self.b
        width = _width(data)
        work = max(4e7, 2.0 * data.n * width)  # of a pass or two
        turns = int(min(_TURNS, work / (size * width)))
        best = -np.inf
        for share in (*_NEAR, 0.0) if self.alpha > 0.0 else _NEAR:
            near = share * curvature * float(unit.mean()) / distance

            def slope(a: Float, near: float = near) -> Float:
                u = near * self.w - v - A.T @ (a - start)
                W = np.sign(u) * np.maximum(0.0, np.abs(u) - self.l1) / (self.alpha + near)
                return place - A @ W

            def project(a: Float) -> Float:
                return _project(a, unit * low, unit * high, total)

            a = _minimise(slope, project, a, (self.alpha + near) / curvature, turns)
            theta = theta.copy()
            theta[rows] = np.clip(a / unit, low, high)
            best = max(best, self.bound(theta, v + A.T @ (a - start)))
        return best


def _bracket(
    excess: Callable[[float], tuple[float, float]], start: float, scale: float
) -> tuple[float, float, float, float] | None:
    """low <= high and their excess, <= 0 and >= 0, of a function that does not fall.

    The two are as near as rounding allows, or one's excess is zero to rounding of its sum, which
    ``excess`` gives second. ``scale`` is the size of what low and high are added to.
    """
    low = high = start
    below, size = excess(start)
    above = below
    step = 1e-3 * max(1.0, abs(start))
    while below > 0.0 or above < 0.0:
        if not step < 1e30:
            return None
        if below > 0.0:
            high, above = low, below
            low -= step
            below, size = excess(low)
        else:
            low, below = high, above
            high += step
            above, size = excess(high)
        step *= 4.0
    for turn in range(200):
        done = min(-below, above) <= 1e-15 * size and np.isfinite(above - below)
        if done or high - low <= np.spacing(max(abs(low), abs(high), scale)):
            break
        middle = 0.5 * (low + high)
        if turn % 2 and np.isfinite(above - below):  # a secant, every other time
            middle = low + (high - low) * (-below / (above - below))
        value, size = excess(middle)
        if value <= 0.0:
            low, below = middle, value
        else:
            high, above = middle, value
    return (low, high, below, above) if np.isfinite(above - below) else None


def _project(a: Float, low: Float, high: Float, total: float | None) -> Float:
    """The nearest point within the bounds; of those that sum to ``total``, if given."""
    if total is None:
        return np.clip(a, low, high)
    knots = np.concatenate([low - a, high - a])  # sum(clip(a + shift)) bends there
    order = np.argsort(knots)
    rising = np.cumsum(np.where(order < len(a), 1.0, -1.0))
    sums = low.sum() + np.concatenate([[0.0], np.cumsum(rising[:-1] * np.diff(knots[order]))])
    shift = np.interp(total, sums, knots[order])
    return np.clip(a + shift, low, high)


def _largest(A: Any) -> float:
    """Somewhat more than the largest eigenvalue of A'A, by power iteration."""
    vector, size = np.random.default_rng(0).normal(size=A.shape[1]), 0.0
    for _ in range(20):
        vector = A.T @ (A @ vector)
        size = float(np.linalg.norm(vector))
        if size == 0.0:
            break
        vector /= size
    return 1.2 * size


def _minimise(
    slope: Callable[[Float], Float],
    project: Callable[[Float], Float],
    start: Float,
    rate: float,
    turns: int,
) -> Float:
    """Minimum of a convex function by accelerated projected gradients with restarts."""
    a, point, momentum = start, start, 1.0
    for _ in range(turns):
        after = project(point - rate * slope(point))
        if np.abs(after - point).max() <= 1e-12 * np.abs(after).max():
            return after
        moved = after - a
        if (point - after) @ moved > 0.0:
            momentum = 1.0  # it swings back: restart (O'Donoghue & Candes 2015)
        grown = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        point = after + (momentum - 1.0) / grown * moved
        a, momentum = after, grown
    return a


def _some(lanes: Lanes, which: slice) -> Lanes:
    numbers = {name: getattr(lanes, name)[which] for name in (*LANE_NUMBERS, "target")}
    return Lanes(len(numbers["alpha"]), **numbers)


def _independent(
    data: Data, lanes: Lanes, settings: Settings, coef: Float, intercept: Float
) -> Float:
    """Gradient norms, gaps and objectives, shape (3, K)."""
    group = [_Lane(data, lanes, settings, k, coef[k], float(intercept[k])) for k in range(lanes.k)]
    scores = _scores(data, coef)
    c = np.zeros((2, *scores.shape))  # s times slope, at b and at the dual point
    out = np.full((3, lanes.k), np.nan)
    dual = {}
    for k, lane in enumerate(group):
        z = scores[k, lane.rows]
        c[0, k, lane.rows] = lane.s * lane.loss.slope(z + lane.b, lane.y, lane.e)
        out[2, k] = lane.objective(z + lane.b)
        if lane.conjugate is not None and (lane.alpha > 0.0 or lane.l1 > 0.0):
            dual[k] = lane.feasible(z)
            if dual[k] is not None:
                c[1, k, lane.rows] = lane.s * dual[k][1]
    sums = _sums(data, c.reshape(-1, data.n)).reshape(2, lanes.k, data.d)
    for k, lane in enumerate(group):
        g = sums[0, k] / lane.n + lane.alpha * lane.w
        g_b = (c[0, k].sum() / lane.n + lane.pull) * lane.learns_b
        out[0, k] = np.hypot(np.linalg.norm(_subgradient(g, lane.w, lane.l1)), g_b)
        if k not in dual:
            continue
        bounds = [lane.nothing()]
        if dual[k] is not None:
            b, theta = dual[k]
            v = sums[1, k] / lane.n
            bounds.append(lane.bound(theta, v))
            if lane.loss.name in _KINKS and len(lane.rows) and np.isfinite(v).all():
                bounds.append(lane.improved(data, theta, v, scores[k, lane.rows] + b))
        if max(bounds) > -np.inf:
            out[1, k] = out[2, k] - max(bounds)
    return out


# ------------------------------------------------------------------ the coupled loss


class _Joint:
    """The softmax over all lanes; z (m, K) is computed anew by every pass, never held for all n."""

    def __init__(self, data: Data, lanes: Lanes, settings: Settings, coef: Float, b: Float) -> None:
        self.data, self.lanes, self.settings = data, lanes, settings
        self.coef, self.b, self.loss = coef, b, settings.terms
        self.own, self.n = np.zeros(lanes.k), 0  # weight of each class's rows; n_k
        for rows in blocks(data.X):
            y, s = self.labels(rows)
            self.own += (s * (y > 0)).sum(axis=0)
            self.n += int((s > 0.0).sum())
        self.n = max(1, self.n)

    def labels(self, block: slice) -> tuple[Float, Float]:
        """y (m, K) and s (m, 1) of a block of rows."""
        rows = np.arange(block.start, block.stop)
        y = targets_of(self.data, self.lanes, self.settings, rows)
        s = weights_of(self.data, self.lanes, self.settings, y, rows)
        return y, s[:, :1]

    def parts(self) -> Iterator[tuple[Any, Float, Float, Float]]:
        """X, y (m, K), s (m, 1) and z (m, K) without intercept, by blocks of rows."""
        for block in blocks(self.data.X):
            X = self.data.rows(block)
            yield X, *self.labels(block), X @ self.coef.T

    def at(self, b: Float) -> tuple[float, Float, Float]:
        """Loss, its gradient (K,) and Hessian (K, K) in the intercepts; sums over the rows."""
        value, slope, curve = 0.0, np.zeros(self.lanes.k), np.zeros((self.lanes.k,) * 2)
        for _, y, s, z in self.parts():
            value += float((s * self.loss.value(z + b, y)[:, :1]).sum())
            theta = self.loss.slope(z + b, y)
            p = theta + (y > 0)
            slope += (s * theta).sum(axis=0)
            curve += np.diag((s * p).sum(axis=0)) - (s * p).T @ p
        return value, slope, curve

    def intercepts(self) -> tuple[Float, Float]:
        """Intercepts that minimise the loss for w, and what is left of the slopes' sums there.

        By Newton steps; where one fails, far out, by a step of iterative scaling, which never does
        (Darroch & Ratcliff 1972): b + log(own / sum of p).
        """
        present = self.own > 0.0
        b = np.where(present, self.b, -np.inf)  # a class without rows is never likely
        total = float(self.own.sum())
        ridge = 1e-12 * total * np.eye(len(b))  # the Hessian is singular: b + 1 changes nothing
        value, slope, curve = self.at(b)
        for _ in range(30):
            largest = np.abs(slope).max()
            if largest <= 1e-13 * total:
                break
            scaling = np.log((self.own + slope)[present] / self.own[present])
            for step in (np.linalg.solve(curve + ridge, slope), scaling):
                trial = b.copy()
                trial[present] -= step if step is scaling else step[present]
                new = self.at(trial)
                if new[0] < value or np.abs(new[1]).max() < 0.5 * largest:
                    break
            else:
                break  # rounding is all that is left
            b, (value, slope, curve) = trial, new
        return b, slope

    def dual(self) -> Callable[[Float, Float], Float]:
        """theta (m, K) from z and y, that meets the constraint of every class exactly.

        The row's probabilities p come out rest_k too large in sum, by rounding or more. They are
        mixed with q = (own - room rest) / sum(own), the same in every row, so that the sum is own.
        """
        if not self.settings.fit_intercept:
            return lambda z, y: self.loss.slope(z + self.b, y)
        b, rest = self.intercepts()
        over = rest > 0.0
        room = float((self.own[over] / rest[over]).min(initial=1e30))
        share = 1.0 / (1.0 + room)
        q = np.maximum(0.0, self.own - room * rest) / max(float(self.own.sum()), 1e-300)

        def theta(z: Float, y: Float) -> Float:
            mixed = (1.0 - share) * (self.loss.slope(z + b, y) + (y > 0)) + share * q
            return mixed - (y > 0)

        return theta

    def certify(self) -> Float:
        """Gradient norms, gaps and objectives, shape (3, K)."""
        lanes, k, learns_b = self.lanes, self.lanes.k, self.settings.fit_intercept
        bounded = ((lanes.alpha > 0.0) | (lanes.l1 > 0.0)).all()
        bounded &= not (learns_b and lanes.pull.any())
        dual = self.dual() if bounded else None
        value, g_b = float(lanes.pull @ self.b), np.copy(lanes.pull)
        g, v = lanes.alpha[:, None] * self.coef, np.zeros_like(self.coef)
        for X, y, s, z in self.parts():
            c = s / self.n
            slope = self.loss.slope(z + self.b, y)
            value += float((c * self.loss.value(z + self.b, y)[:, :1]).sum())
            g += (X.T @ (c * slope)).T
            g_b += (c * slope).sum(axis=0)
            if dual is not None:
                v += (X.T @ (c * dual(z, y))).T
        value += sum(
            _penalty(w, a, m) for w, a, m in zip(self.coef, lanes.alpha, lanes.l1, strict=True)
        )
        norm = np.linalg.norm(_subgradient(g, self.coef, lanes.l1[:, None]), axis=1)
        gap = np.nan if dual is None else value - self.bound(dual, v)
        return np.array([np.hypot(norm, g_b * learns_b), np.full(k, gap), np.full(k, value)])

    def bound(self, dual: Callable[[Float, Float], Float], v: Float) -> float:
        """The larger of D(theta), v its sums over x, and D(0): every row sure of its class."""
        learns_b, lanes = self.settings.fit_intercept, self.lanes
        parts = list(zip(v, lanes.alpha, lanes.l1, strict=True))
        t = min(_shrinkage(*part) for part in parts)
        nothing = 0.0 if learns_b else float(self.b @ lanes.pull)
        bound = nothing - sum(_penalty_conjugate(-t * u, a, m) for u, a, m in parts)
        for _, y, s, z in self.parts():
            theta = t * dual(z, y)
            bound -= float((s * _softmax(theta, y)[:, :1]).sum()) / self.n
            if not learns_b:
                bound += float((s * theta).sum(axis=0) @ self.b) / self.n
        return max(bound, nothing) if bound == bound else nothing


def certificate(
    data: Data, lanes: Lanes, settings: Settings, coef: ArrayLike, intercept: ArrayLike
) -> Certificate:
    """Gradient norm, duality gap and objective of every lane, summed in float64.

    Two passes over X for every group of lanes; for the softmax three, and one more for every Newton
    step that finds its intercepts. Besides X it holds blocks of rows and a few arrays of n numbers.

    Parameters
    ----------
    data, lanes, settings : Data, Lanes, Settings
        As trained; the step rule, the schedule and clipping do not matter here.
    coef : array-like of shape (K, d)
    intercept : array-like of shape (K,)
        Without ``fit_intercept`` it counts as given: the minimum is over w.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    >>> lanes, settings = Lanes(1, alpha=0.5, eta0=1.0), Settings(fit_intercept=False)
    >>> optimum = certificate(data, lanes, settings, [[2.5 / 3.0]], [0.0])
    >>> optimum.objective.round(4), abs(optimum.duality_gap).max() < 1e-15
    (array([0.2083]), np.True_)
    >>> certificate(data, lanes, settings, [[0.0]], [0.0]).duality_gap.round(2)
    array([1.25])
    """
    settings.check(data, lanes)
    W = np.array(coef, dtype=np.float64, ndmin=2)
    b = np.array(intercept, dtype=np.float64, ndmin=1)
    for name, array, shape in (("coef", W, (lanes.k, data.d)), ("intercept", b, (lanes.k,))):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a model far out
        if settings.terms.coupled:
            return Certificate(*_Joint(data, lanes, settings, W, b).certify())
        size = max(1, _HELD // data.n)
        groups = [slice(first, first + size) for first in range(0, lanes.k, size)]
        parts = [_independent(data, _some(lanes, g), settings, W[g], b[g]) for g in groups]
        return Certificate(*np.concatenate(parts, axis=1))
