"""A lower bound of the minimum of an objective made of lines and squares, by an interior point.

    P(w) = sum_j A_j w_j^2 / 2 + q . w + sum_l sum_i c_li max(0, m_li x_i . w + b_li)

With u >= 0 and u >= m x . w + b in place of each maximum, slacks t = u - m x . w - b, and dual
variables 0 <= lambda <= c, the minimum is where

    A w + q + sum_l sum_i lambda_li m_li x_i = 0,      lambda t = 0,      (c - lambda) u = 0

Newton's method goes after these with a falling mu > 0 on the right of the last two. All but w is
eliminated from a step, a system of p equations, and ten to twenty of them are enough (Mehrotra, "On
the implementation of a primal-dual interior point method", SIAM J. Optim. 1992). By weak duality
every lambda bounds the minimum from below, by

    lambda . b + min over w of (sum_j A_j w_j^2 / 2 + v . w),    v = q + sum of lambda_li m_li x_i
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lower_bound"]

Float = NDArray[np.float64]

STEPS = 40

SHORTER = 0.99
"""The part of the way to the boundary that a step goes at most."""

FIRST_GAP = 0.3
"""What the products of slacks and dual variables sum to at first, as a part of P."""


def lower_bound(
    w: Float, squares: tuple[Float, Float], lines: tuple[Float, ...], within: float
) -> float:
    """A lower bound of min P, at most ``within`` below it.

    Parameters
    ----------
    w : ndarray of shape (p,)
        Weights to start from.
    squares : tuple of ndarray of shape (p,)
        A >= 0 and q.
    lines : tuple of ndarray of shape (n, p), and thrice (l, n)
        X, m, b and c > 0: a row of X has l lines.
    within : float
        In the unit of P.

    Returns
    -------
    float
        NaN where it was not found in ``STEPS`` steps, as where there is no minimum.
    """
    (A, q), (X, m, b, c) = squares, lines
    p, count, largest = len(w), 2 * c.size, np.maximum(1e-300, np.abs(X).max(axis=0))
    half = np.divide(0.5, A, out=np.zeros(p), where=A > 0.0)
    free = A == 0.0
    farthest = np.abs(b).max() / largest
    z = m * (X @ w) + b
    value = (0.5 * A * w + q) @ w + (c * np.maximum(0.0, z)).sum()
    delta = max(10.0 * within, FIRST_GAP * abs(value), 1e-300) / c.sum()
    # lambda, c - lambda, t and u: both products are the same at first.
    now = np.empty((4, *c.shape))
    now[3] = np.maximum(0.0, z) + delta
    now[2] = now[3] - z
    now[0] = c * now[3] / (now[3] + now[2])
    change = np.empty_like(now)
    for _ in range(STEPS):
        now[1] = c - now[0]
        duals, slacks = now[:2], now[2:]
        v = q + (m * now[0]).sum(axis=0) @ X
        value = (0.5 * A * w + q) @ w + (c * np.maximum(0.0, m * (X @ w) + b)).sum()
        # Where A is 0, v is 0 but for rounding, and no w is needed that is much larger.
        off = (half * v * v).sum() + (free * (2.0 * np.abs(w) + farthest)) @ np.abs(v)
        bound = float((now[0] * b).sum() - off)
        if value - bound <= within:
            return bound
        products = duals * slacks
        mu = products.sum() / count
        ratio = slacks / duals
        D = 1.0 / (ratio[0] + ratio[1])
        H = (X.T * (m * m * D).sum(axis=0)) @ X
        H.ravel()[:: p + 1] += A + 1e-14 * np.trace(H)
        wanted = -slacks  # with mu = 0; then with a mu that fits how far that gets
        for corrects in (False, True):
            e = D * (wanted[0] - wanted[1])
            try:
                dw = np.linalg.solve(H, -(A * w + v) - (m * e).sum(axis=0) @ X)
            except np.linalg.LinAlgError:
                return np.nan
            change[0] = D * (m * (X @ dw)) + e
            change[1] = -change[0]
            change[2:] = wanted + ratio * change[1::-1]
            step = 1.0 / max(1.0, float((-change / now).max()))
            if corrects:
                break
            new = now + step * change
            goal = mu * ((new[:2] * new[2:]).sum() / (count * mu)) ** 3
            wanted = (goal - change[:2] * change[2:]) / duals - slacks
        step *= SHORTER if step < 1.0 else 1.0
        w = w + step * dw
        now += step * change
    return np.nan
