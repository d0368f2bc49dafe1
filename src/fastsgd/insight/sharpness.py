"""The sharpness of an objective: the largest eigenvalue of its Hessian at given weights.

It is found from products of the Hessian H with vectors, which are differences of two gradients in
float64:

    H v = (grad L(theta + h v) - grad L(theta - h v)) / (2 h) + O(h^2),    |v| = 1

The powers v, H v, H^2 v, ... of the power iteration span a space, of which the largest eigenvalue
of H is taken (Lanczos 1950): the same products give more digits than the last power alone, and the
largest eigenvalue is found also where a negative one is larger in size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._core import NetworkRun, VectorState
from ..descent import VectorDescent
from ..estimators.network_fitting import BaseMLP
from ..inputs.conversions import MatrixLike
from ..problem import Data, blocks
from .checks import Estimator, check_count, check_estimator
from .network_problem import CHUNK_ROWS, NetworkProblem, network_problem_of
from .problem import EstimatorProblem, problem_of
from .row_sums import TOO_LARGE

__all__ = ["Sharpness", "network_sharpness", "sharpness"]

Float = NDArray[np.float64]

KEPT_VALUES = 1 << 24
"""Values of X up to which the rows in float64 are kept from one gradient to the next."""

BLOCK_ROWS = 4096
"""Rows whose gradients are taken by one call of the core."""

MOST_PRODUCTS, TOLERANCE = 60, 1e-3
"""Products at most, and the residual, as a share of the eigenvalue, at which they end."""


@dataclass(frozen=True)
class Sharpness:
    """Largest eigenvalue of the Hessian of an objective.

    Attributes
    ----------
    value : float
        The eigenvalue lambda.
    direction : ndarray of shape (P,)
        Its eigenvector v of length 1: of a network in the layout of
        :meth:`fastsgd.network.Network.pack`, of a linear model the weights of all lanes, then the
        intercepts where these are learnt.
    residual : float
        |H v - lambda v|: an eigenvalue of H is within this distance.
    products : int
        Products of the Hessian with a vector, of two gradients each.
    rows : int
        Rows that were used.

    See Also
    --------
    sharpness : Measures one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import sharpness
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0).fit(X, y)
    >>> found = sharpness(model, X, y)
    >>> round(found.value, 2), round(found.stable_rate, 2), found.products
    (4.2, 0.48, 2)
    """

    value: float
    direction: Float
    residual: float
    products: int
    rows: int

    @property
    def stable_rate(self) -> float:
        """2 / lambda: the largest rate at which gradient descent stays near these weights.

        With momentum beta it is (1 + beta) times as large. Infinite where lambda is not positive.

        Returns
        -------
        float
            Of full batches; noise makes it smaller.

        References
        ----------
        .. [1] J. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar. "Gradient Descent on Neural
           Networks Typically Occurs at the Edge of Stability", ICLR 2021.
        """
        return 2.0 / self.value if self.value > 0.0 else np.inf


def sharpness(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    sample: int | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Sharpness:
    """Measure the largest curvature of the objective of a fitted estimator at its weights.

    The objective is the mean loss with the L2 penalty of training, in the features that are trained
    on. Where a loss or an activation has kinks (hinge, "relu"), its curvature is that beside them.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
        Fitted; it is not changed. Of several lanes the sharpest counts.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
        Rows of the objective.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Their targets; none for SGDOneClassSVM.
    sample_weight : array-like of shape (n_samples,), optional
        Their weights; rows of weight 0 are left out.
    sample : int or None, default=None
        Take so many rows, drawn without replacement; None takes all.
    random_state : int, RandomState instance or None, default=None
        Determines the rows that are drawn, and the first vector.

    Returns
    -------
    Sharpness
        The eigenvalue and its vector.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If an argument is not valid, or gradients are not finite.

    References
    ----------
    .. [1] N. S. Keskar, D. Mudigere, J. Nocedal, M. Smelyanskiy, P. T. P. Tang. "On Large-Batch
       Training for Deep Learning: Generalization Gap and Sharp Minima", ICLR 2017.
    .. [2] B. A. Pearlmutter. "Fast Exact Multiplication by the Hessian", Neural Computation 6,
       1994.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import sharpness
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = SGDRegressor(alpha=0.0, fit_intercept=False, max_iter=3, tol=None).fit(X, y)
    >>> round(sharpness(model, X, y).value, 4)  # the mean of x^2
    3.5
    """
    check_estimator(estimator)
    random = check_random_state(random_state)
    if isinstance(estimator, BaseMLP):
        network = network_problem_of(estimator, X, y, sample_weight)
        return network_sharpness(network, sample=sample, random=random)
    problem = problem_of(estimator, X, y, sample_weight)
    rows = _drawn(problem.data.n, sample, random)
    gradient = _LinearGradient(problem, rows)
    learnt = problem.intercept if problem.settings.fit_intercept else problem.intercept[:0]
    theta = np.concatenate([problem.coef.ravel(), learnt])
    value = _largest(gradient, theta, _step(theta, kinks=False), random)
    return Sharpness(*value, len(rows))


def network_sharpness(
    problem: NetworkProblem, *, sample: int | None = None, random: np.random.RandomState
) -> Sharpness:
    """The same of a network's problem, at its parameters."""
    rows = _drawn(problem.data.n, sample, random)
    gradient, kinks = _NetworkGradient(problem, rows), problem.network.activation == "relu"
    value = _largest(gradient, problem.theta, _step(problem.theta, kinks=kinks), random)
    return Sharpness(*value, len(rows))


def _drawn(n: int, sample: int | None, random: np.random.RandomState) -> NDArray[np.int64]:
    if sample is None or check_count("sample", sample) >= n:
        return np.arange(n)
    return np.sort(random.choice(n, check_count("sample", sample), replace=False))


def _step(theta: Float, *, kinks: bool) -> float:
    """The length h of a step: about as much is lost by rounding as by the third derivative.

    Across kinks the gradient jumps. A shorter step then crosses fewer of them, and between them the
    third derivative is small.
    """
    eps = np.finfo(np.float64).eps
    length = max(1.0, float(np.linalg.norm(theta)))
    return float(eps ** (0.6 if kinks else 1 / 3)) * length


def _largest(
    gradient: Callable[[Float], Float], theta: Float, step: float, random: np.random.RandomState
) -> tuple[float, Float, float, int]:
    """Largest eigenvalue of the Hessian at theta (P,), its vector, the residual and the products.

    Lanczos' method, each vector made orthogonal to all before it.
    """
    basis = [_unit(random.standard_normal(len(theta)))]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        v = basis[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            image = (gradient(theta + step * v) - gradient(theta - step * v)) / (2.0 * step)
        if not np.isfinite(image).all():
            raise ValueError(TOO_LARGE)
        diagonal.append(float(image @ v))
        known = np.array(basis)
        for _ in range(2):
            image -= known.T @ (known @ image)
        left = float(np.linalg.norm(image))
        values, vectors = np.linalg.eigh(
            np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        )
        value, of_basis = float(values[-1]), vectors[:, -1]
        residual = abs(left * float(of_basis[-1]))
        size = float(np.abs(values).max())
        ends = residual <= TOLERANCE * size or left <= 1e-9 * size
        if ends or len(basis) == min(MOST_PRODUCTS, len(theta)):
            return value, _unit(known.T @ of_basis), residual, len(basis)
        beside.append(left)
        basis.append(image / left)


def _unit(v: Float) -> Float:
    return v / np.linalg.norm(v)


class _LinearGradient:
    """The gradient of a linear problem's smooth objective, of all lanes together."""

    def __init__(self, problem: EstimatorProblem, rows: NDArray[np.int64]) -> None:
        self.problem, self.rows = problem, rows

    def __call__(self, theta: Float) -> Float:
        problem, (k, d) = self.problem, self.problem.coef.shape
        learns = len(theta) > k * d
        coef, intercept = theta[: k * d].reshape(k, d), theta[k * d :] if learns else np.zeros(k)
        of_coef, of_intercept = np.zeros((k, d)), np.zeros(k)
        for part in blocks(problem.data.X[: len(self.rows)]):
            rows = self.rows[part]
            X = problem.data.rows(rows)
            c = problem.slopes(rows, np.asarray(X @ coef.T) + intercept)
            of_coef += np.asarray(X.T @ c).T
            of_intercept += c.sum(axis=0)
        of_coef = of_coef / len(self.rows) + problem.lanes.alpha[:, None] * coef
        parts = of_coef.ravel(), of_intercept[: k * learns] / len(self.rows)
        return np.concatenate(parts)


class _NetworkGradient:
    """The gradient of a network's objective in float64."""

    def __init__(self, problem: NetworkProblem, rows: NDArray[np.int64]) -> None:
        self.problem, self.rows = problem, rows
        weight = problem.data.sample_weight
        self.total = float(len(rows) if weight is None else weight[rows].sum(dtype=np.float64))
        self.kept: list[Data] | None = None
        self.unit = problem.network.unit(np.float64)
        self.descent = VectorDescent(batch_size=CHUNK_ROWS, n_jobs=problem.descent.n_jobs)
        values = problem.data.X.nnz if problem.data.sparse else len(rows) * problem.data.d
        if values <= KEPT_VALUES:
            self.kept = list(self._blocks())

    def _blocks(self) -> Iterator[Data]:
        """Blocks of the rows in float64."""
        data = self.problem.data
        for first in range(0, len(self.rows), BLOCK_ROWS):
            rows = self.rows[first : first + BLOCK_ROWS]
            weight = None if data.sample_weight is None else data.sample_weight[rows].astype(float)
            yield Data(data.rows(rows), data.y[rows].astype(np.float64), weight, checked=True)

    def __call__(self, theta: Float) -> Float:
        network = self.problem.network
        coefs, intercepts = zip(*network.views(theta), strict=True)
        state = VectorState(network.length(self.unit), np.float64, self.descent)
        state.set(network.pack(coefs, intercepts, np.float64, self.unit))
        total: Any = 0.0
        for data in self._blocks() if self.kept is None else self.kept:
            run = NetworkRun(data, network, self.descent, state)
            total = total + run.gradients(np.arange(data.n))[0]
        found = network.views(total / self.total, self.unit)
        with_penalty = [
            (w + self.problem.penalty * coef, b)
            for (w, b), (coef, _) in zip(found, network.views(theta), strict=True)
        ]
        of_coefs, of_intercepts = zip(*with_penalty, strict=True)
        return network.pack(of_coefs, of_intercepts, np.float64)
