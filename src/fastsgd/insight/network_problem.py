"""The problem of a network's estimator on given rows, at the parameters that it has."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, xlogy
from sklearn.utils.validation import check_is_fitted

from .._core import NetworkRun, VectorState
from ..descent import VectorDescent
from ..estimators.forward import scores_of
from ..estimators.input import check_finite
from ..estimators.network_continuation import packed
from ..estimators.network_fitting import BaseMLP
from ..estimators.network_parameters import (
    check_network_parameters,
    descent_of,
    first_parameters,
    network_of,
    row_weights,
)
from ..estimators.parameters import horizon_of
from ..estimators.standardise import Scaling
from ..estimators.task import Task
from ..inputs.conversions import MatrixLike
from ..network import Network
from ..problem import Data, computed_in, take
from ..scalars import make_python_numbers

__all__ = ["NetworkProblem", "held_out_network_problem", "network_problem_of"]

Float = NDArray[np.float64]

CHUNK_ROWS = 256
"""Rows that the core back-propagates together."""

BLOCK_VALUES = 1 << 20
"""Values of X whose rows are scored at a time."""


@dataclass(frozen=True)
class NetworkProblem:
    """A network, its rows and its parameters, in the features that are trained on.

    Attributes
    ----------
    data : Data
        Rows of positive weight.
    network : Network
    descent : VectorDescent
        How a fit makes its steps.
    theta : ndarray of shape (P,)
        The parameters, without padding: see :meth:`fastsgd.network.Network.pack`.
    scaling : Scaling
        From the columns of X to the features that are trained on.
    estimator : BaseMLP
        A copy of the user's estimator that knows the columns and the classes of this problem.
    class_weights : ndarray of shape (n_classes,) or None
    """

    data: Data
    network: Network
    descent: VectorDescent
    theta: Float
    scaling: Scaling
    estimator: BaseMLP
    class_weights: Float | None = None

    @property
    def mean_weight(self) -> float:
        """The mean weight of the rows."""
        weight = self.data.sample_weight
        return 1.0 if weight is None else float(weight.mean(dtype=np.float64))

    @property
    def penalty(self) -> float:
        """alpha over the weight of a batch: the strength of the penalty in the objective."""
        size = min(self.descent.batch_size, self.data.n)
        return self.network.alpha / (size * self.mean_weight)

    def state(self) -> VectorState:
        """A new training state at the parameters, in the dtype of the rows."""
        unit = self.network.unit(self.data.dtype)
        state = VectorState(self.network.length(unit), self.data.dtype, self.descent)
        layers = self.network.views(self.theta)
        coefs, intercepts = zip(*layers, strict=True)
        state.set(self.network.pack(coefs, intercepts, self.data.dtype, unit))
        return state

    def run(self) -> NetworkRun:
        """The rows bound to a state at the parameters, for their gradients."""
        plain = VectorDescent(batch_size=CHUNK_ROWS, n_jobs=self.descent.n_jobs)
        of_gradients = replace(self, descent=plain)
        return NetworkRun(self.data, self.network, plain, of_gradients.state())

    def _layers(self, model: NDArray[Any] | None) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Weights and intercepts of the layers, of padded parameters or of the problem's own."""
        if model is None:
            return [*self.network.views(self.theta)]
        return self.network.views(model, self.network.unit(self.data.dtype))

    def losses(self, model: NDArray[Any] | None = None, rows: Any = slice(None)) -> Float:
        """Losses of rows (m,), without weights, at parameters padded as the core has them."""
        coefs, intercepts = (
            [part.astype(self.data.dtype) for part in parts]
            for parts in zip(*self._layers(model), strict=True)
        )
        numbers = np.arange(self.data.n)[rows]
        size = max(1, BLOCK_VALUES // self.data.d)
        found = []
        for first in range(0, len(numbers), size):
            part = numbers[first : first + size]
            X: Any = self.data.rows(part, self.data.dtype)
            z = scores_of(X, coefs, intercepts, self.network.activation)
            found.append(_row_losses(self.network.loss, z.astype(np.float64), self.data.y[part]))
        return np.concatenate(found)

    def loss(self, model: NDArray[Any] | None = None, *, penalty: bool = True) -> float:
        """The objective at such parameters: the weighted mean of the losses, and the penalty."""
        weight, losses = self.data.sample_weight, self.losses(model)
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(np.average(losses, weights=weight))
            if penalty:
                square = sum(
                    float(np.square(w, dtype=np.float64).sum()) for w, _ in self._layers(model)
                )
                value += 0.5 * self.penalty * square
        return value


def _row_losses(loss: str, z: Float, y: NDArray[Any]) -> Float:
    """Losses of rows with scores z (m, outputs); :mod:`fastsgd.network` has the formulas."""
    with np.errstate(over="ignore", invalid="ignore"):
        if loss == "softmax":
            chosen = z[np.arange(len(z)), y[:, 0].astype(np.int64)]
            return np.asarray(logsumexp(z, axis=1) - chosen)
        if loss == "log_loss":
            value = np.logaddexp(0.0, z) - y * z
        elif loss == "poisson":
            value = np.exp(z) - y * z + xlogy(y, y) - y
        else:
            value = 0.5 * np.square(z - y)
        return np.asarray(value.sum(axis=1))


def network_problem_of(
    estimator: BaseMLP,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    fitted: bool = True,
) -> NetworkProblem:
    """The problem of an estimator on rows X, y; rows of weight zero are left out.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        It is not changed, and neither is a generator that it has.
    X, y, sample_weight
        As in ``fit``.
    fitted : bool, default=True
        Whether the estimator must be fitted. If it need not be and is not, the parameters are those
        that a fit starts from; without a ``random_state``, of the number 0.

    Raises
    ------
    NotFittedError
        If the estimator must be fitted and is not.
    ValueError
        If an argument is not valid; the message names it.
    """
    has_model = hasattr(estimator, "coefs_") and hasattr(estimator, "_continuation")
    if fitted or has_model:
        check_is_fitted(estimator)
    estimator = copy.copy(estimator)
    estimator.random_state = (
        0 if estimator.random_state is None else copy.deepcopy(estimator.random_state)
    )
    make_python_numbers(estimator)
    estimator._validate_params()
    check_network_parameters(estimator)
    task = (estimator._again if has_model else estimator._begin)(X, y, sample_weight)
    check_finite(estimator, task.X)
    previous = estimator._continuation if has_model else None
    network = network_of(estimator, task.X.shape[1], len(task.labels), estimator._loss)
    first: Any = None
    if not has_model:
        first = first_parameters(estimator.random_state, network)
    seed, _, _ = estimator._draw(task, previous, holds_out=False)
    scaling = estimator._scaling(task, task.weight, previous)
    if has_model:
        first = estimator.coefs_, estimator.intercepts_
        dtype = np.dtype(np.float64)
        padded = packed(network, first, scaling, dtype)
        first = zip(*network.views(padded, network.unit(dtype)), strict=True)
    weights = _class_weights(estimator, task)
    data = _data(task, scaling, weights)
    network.check(data)
    descent = descent_of(estimator, data, seed, horizon_of(estimator, None), None)
    coefs, intercepts = first
    theta = network.pack(coefs, intercepts, np.float64)
    return NetworkProblem(data, network, descent, theta, scaling, estimator, weights)


def held_out_network_problem(
    training: NetworkProblem, X: MatrixLike, y: ArrayLike | None = None, *, name: str
) -> NetworkProblem:
    """The problem of the same network on other rows, which are treated as in prediction.

    They are standardised with the means and deviations of the training rows, and have the classes
    and the class weights of these.

    Raises
    ------
    ValueError
        If features or classes are not those of the training rows; ``name`` is the argument's.
    """
    model = copy.copy(training.estimator)
    model.n_outputs_ = training.network.sizes[-1]
    try:
        task = model._again(X, y, None)
        check_finite(model, task.X)
        data = _data(task, training.scaling, training.class_weights)
        training.network.check(data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return replace(training, data=data)


def _class_weights(estimator: Any, task: Task) -> Float | None:
    """Weights of the classes (n_classes,), where the estimator has such."""
    if getattr(estimator, "class_weight", None) is None:
        return None
    estimator._row_weights(task, task.weight, add=False)  # or they are refused
    return np.asarray(estimator._weights_of_classes(task.y, task.weight))


def _data(task: Task, scaling: Scaling, class_weights: Float | None) -> Data:
    """The rows of positive weight."""
    weight = row_weights(task.weight, class_weights, task.y, computed_in(task.X))
    if weight is None:
        return Data(task.X, task.y, None, scaling.offset, scaling.scale, checked=True)
    rows = np.flatnonzero(weight)
    X = take(task.X, rows) if len(rows) < len(weight) else task.X
    return Data(X, task.y[rows], weight[rows], scaling.offset, scaling.scale, checked=True)
