"""The noise of the gradients of a user's own model, from the gradients of single rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ..minimization.arguments import strength_of
from ..minimization.structures import Structure
from .checks import check_count
from .gradients import GradientNoise, noise_of
from .noise_laws import GROUPS, sampled_noise
from .row_sums import RowSums

__all__ = ["row_gradient_noise"]

BLOCK = 1 << 18
"""Numbers of the gradients that are asked for at a time."""

TOO_LARGE = "row_gradients must be such that their squares are finite"


def row_gradient_noise(
    row_gradients: Callable[[Any, NDArray[np.int64]], Any],
    theta: Any,
    n: int,
    *,
    alpha: Any = 0.0,
    sample: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> GradientNoise:
    """Measure gradient and noise of a user's own model at its parameters.

    Parameters
    ----------
    row_gradients : callable
        ``row_gradients(theta, rows)`` returns the gradients of the losses of m rows: an array
        (m, P) with all parameters of a row in a line, or the structure of ``theta`` with arrays of
        shape (m, *shape).
    theta : array-like, or tuple, list or dict of arrays, nested or not
        The parameters, P in all.
    n : int
        Number of rows.
    alpha : float, array-like or structure of such, default=0.0
        Strength of the L2 penalty, as in :func:`fastsgd.minimize`.
    sample : int or None, default=None
        Estimate from so many rows, at least 40, drawn without replacement; None takes all rows.
    random_state : int, RandomState instance or None, default=None
        Determines which rows are drawn.

    Returns
    -------
    GradientNoise
        Of one lane: its arrays over weights are of shape (1, P), those of the intercept are 0.

    Raises
    ------
    ValueError
        If an argument is not valid, or squares of gradients are not finite.

    See Also
    --------
    gradient_noise : The same for estimators.

    References
    ----------
    .. [1] S. McCandlish, J. Kaplan, D. Amodei. "An Empirical Model of Large-Batch Training",
       arXiv:1812.06162, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.insight import row_gradient_noise
    >>> y = np.array([0.0, 2.0])
    >>> noise = row_gradient_noise(lambda theta, rows: theta - y[rows, None], np.zeros(1), n=2)
    >>> noise.gradient, noise.trace, noise.noise_scale
    (array([[-1.]]), array([1.]), array([1.]))
    """
    if not callable(row_gradients):
        raise ValueError(
            f"row_gradients must be a function of theta and rows, got {row_gradients!r}"
        )
    n = check_count("n", n)
    structure = Structure("theta", theta)
    vector = structure.vector("theta", theta)
    at = structure.views(vector, writeable=False)
    penalty = np.asarray(strength_of(alpha, structure) * vector, dtype=np.float64)[None, :]
    zero = np.zeros(1)

    def sums_of(rows: NDArray[np.int64]) -> RowSums:
        first, second = np.zeros((2, 1, structure.size))
        step = max(1, BLOCK // structure.size)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            g = structure.rows("what row_gradients returns", row_gradients(at, part), len(part))
            with np.errstate(over="ignore", invalid="ignore"):
                first += g.sum(axis=0)
                second += np.einsum("ij,ij->j", g, g)
        return RowSums(len(rows), first, second, zero, zero)

    def noise(sums: RowSums) -> GradientNoise:
        return noise_of(sums, n, penalty, zero, TOO_LARGE)

    if sample is None or check_count("sample", sample) >= n:
        return noise(sums_of(np.arange(n)))
    size = check_count("sample", sample, 2 * GROUPS)
    rows = check_random_state(random_state).choice(n, size, replace=False)
    return sampled_noise(sums_of, noise, rows, n)
