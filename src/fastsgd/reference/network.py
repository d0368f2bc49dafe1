"""Back-propagation and steps of a vector of parameters, in plain NumPy and float64.

A batch is: forward through the layers, the gradient of every row by itself, their weighted mean,
one step of the optimizer. :mod:`fastsgd.network` has the formulas of losses and functions.

    delta_L = a_L - y                                 the joint gradient of loss and output function
    delta_{l-1} = (W_l delta_l) * f'(z_{l-1})         back-propagated, row by row
    grad W_l = a_{l-1} delta_l',  grad b_l = delta_l  of one row

Examples
--------
>>> import numpy as np
>>> from fastsgd.descent import VectorDescent
>>> from fastsgd.network import Network
>>> from fastsgd.problem import Data
>>> from fastsgd.reference import network as twin
>>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
>>> network = Network((1, 1))
>>> descent = VectorDescent(eta0=0.1, sampling="sequential")
>>> state = twin.State(network.length(), descent)
>>> twin.run_epoch(data, network, descent, state)
>>> state.theta.round(2)
array([0.08, 0.14])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax, xlogy

from .. import sampling
from ..descent import VectorDescent
from ..exceptions import DivergenceError
from ..network import NETWORK_LOSSES, Network
from ..problem import Data

__all__ = [
    "State",
    "forward",
    "gradient",
    "row_gradients",
    "row_losses",
    "run_epoch",
    "step",
]

Float = NDArray[np.float64]

_FUNCTIONS: dict[str, Any] = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
    "softmax": lambda z: softmax(z, axis=1),
    "exp": np.exp,
}

_DERIVATIVES: dict[str, Any] = {  # by what the function returned
    "identity": lambda a: np.ones_like(a),
    "logistic": lambda a: a * (1.0 - a),
    "tanh": lambda a: 1.0 - a**2,
    "relu": lambda a: np.where(a > 0.0, 1.0, 0.0),
}


class State:
    """All that training changes.

    Parameters
    ----------
    length : int
        Number of parameters.
    descent : VectorDescent
        How steps are made.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The parameters.
    slots : dict of str to ndarray of shape (P,)
        What the optimizer keeps of each.
    average : ndarray of shape (P,)
        Mean of the parameters over the updates from number ``descent.average`` on.
    t, epoch, row : int
        Updates done, epochs done, rows of the running one whose update is done.
    rate_factor : float
        Multiplies the learning rates.
    objective_sum, row_count : float
        Sum over the batches of the epoch so far of their objective before their step, each times
        its rows with s_i > 0, and the number of these rows.
    norm_sum, norm_count : float
        Sum of |g|^2 of the loss over the epoch's measured batches, and their number.

    Examples
    --------
    >>> from fastsgd.descent import VectorDescent
    >>> from fastsgd.reference import network as twin
    >>> twin.State(3, VectorDescent(average=1)).average
    array([0., 0., 0.])
    """

    def __init__(self, length: int, descent: VectorDescent) -> None:
        self.theta, self.average = np.zeros((2, length))
        initial = descent.optimizer.slots
        self.slots = {name: np.full(length, value) for name, value in initial.items()}
        self.t = self.epoch = self.row = 0
        self.rate_factor = 1.0
        self.objective_sum = self.row_count = self.norm_sum = self.norm_count = 0.0

    def model(self, descent: VectorDescent) -> Float:
        """The parameters of the model: the averages where there are any."""
        averaged = 0 < descent.average <= self.t
        return (self.average if averaged else self.theta).copy()


def forward(network: Network, theta: Float, X: Any) -> list[Float]:
    """What the layers return, the first of them X itself, and the scores z of the last.

    Parameters
    ----------
    network : Network
        The model.
    theta : ndarray of shape (P,)
        Its parameters.
    X : ndarray or CSR matrix or array of shape (m, d)
        Features.

    Returns
    -------
    list of ndarray of shape (m, units)
        a_0, ..., a_L, z_L.
    """
    parts, z = [X], X
    for layer, (w, b) in enumerate(network.views(theta)):
        z = parts[-1] @ w + b
        last = layer == network.layers - 1
        name = NETWORK_LOSSES[network.loss] if last else network.activation
        with np.errstate(over="ignore"):
            parts.append(_FUNCTIONS[name](z))
    return [*parts, z]


def row_losses(network: Network, z: Float, y: Float) -> Float:
    """Losses of rows.

    Parameters
    ----------
    network : Network
        The model.
    z : ndarray of shape (m, outputs)
        Scores of the last layer.
    y : ndarray of shape (m, n_targets)
        Targets.

    Returns
    -------
    ndarray of shape (m,)
        The losses.
    """
    with np.errstate(over="ignore"):
        if network.loss == "softmax":
            chosen = z[np.arange(len(z)), y[:, 0].astype(np.int64)]
            return np.asarray(logsumexp(z, axis=1) - chosen)
        if network.loss == "log_loss":
            value = np.logaddexp(0.0, z) - y * z
        elif network.loss == "poisson":
            value = np.exp(z) - y * z + xlogy(y, y) - y
        else:
            value = 0.5 * (z - y) ** 2
        return np.asarray(value.sum(axis=1))


def row_gradients(network: Network, theta: Float, X: Any, y: Float) -> Float:
    """Gradients of the losses of rows, each back-propagated by itself.

    Parameters
    ----------
    network : Network
        The model.
    theta : ndarray of shape (P,)
        Its parameters.
    X : ndarray or CSR matrix or array of shape (m, d)
        Features.
    y : ndarray of shape (m, n_targets)
        Targets.

    Returns
    -------
    ndarray of shape (m, P)
        A gradient for each row.
    """
    *parts, z = forward(network, theta, X)
    m = len(z)
    if network.loss == "softmax":
        y = np.eye(network.sizes[-1])[y[:, 0].astype(np.int64)]
    delta = parts[-1] - y
    gradients = np.zeros((m, network.length()))
    parts[0] = X.toarray() if hasattr(X, "toarray") else X
    layers = network.views(theta)
    stop = gradients.shape[1]
    for layer in reversed(range(network.layers)):
        w, _ = layers[layer]
        start = stop - w.size - w.shape[1]
        of_w = parts[layer][:, :, None] * delta[:, None, :]
        gradients[:, start : start + w.size] = of_w.reshape(m, -1)
        gradients[:, start + w.size : stop] = delta
        stop = start
        if layer:
            delta = (delta @ w.T) * _DERIVATIVES[network.activation](parts[layer])
    return gradients


def gradient(
    data: Data, network: Network, theta: Float, rows: NDArray[np.int64]
) -> tuple[Float, float, float]:
    """The weighted mean of the gradients of rows, of the loss alone.

    Parameters
    ----------
    data : Data
        Rows and targets.
    network : Network
        The model.
    theta : ndarray of shape (P,)
        Its parameters.
    rows : ndarray of shape (m,), int64
        Numbers of the rows.

    Returns
    -------
    gradient : ndarray of shape (P,)
        sum_i s_i grad_i / sum_i s_i; zeros where all weights are zero.
    loss : float
        sum_i s_i loss_i.
    weight : float
        sum_i s_i.
    """
    s = np.ones(len(rows)) if data.sample_weight is None else data.sample_weight[rows]
    s = s.astype(np.float64)
    used = np.flatnonzero(s)
    if not len(used):
        return np.zeros_like(theta), 0.0, 0.0
    rows, s = rows[used], s[used]
    X, y = data.rows(rows), data.y[rows].astype(np.float64)
    losses = row_losses(network, forward(network, theta, X)[-1], y)
    gradients = row_gradients(network, theta, X, y)
    return s @ gradients / s.sum(), float(s @ losses), float(s.sum())


def step(state: State, g: Float, alpha: Float, descent: VectorDescent, e: float) -> float:
    """One step of the optimizer.

    Parameters
    ----------
    state : State
        The training state; it is changed in place.
    g : ndarray of shape (P,)
        Gradient of the loss.
    alpha : ndarray of shape (P,)
        Strength of the L2 penalty on each parameter.
    descent : VectorDescent
        How steps are made.
    e : float
        Epochs done, with their fraction.

    Returns
    -------
    float
        The learning rate.
    """
    optimizer = descent.optimizer
    norm = np.linalg.norm(g)
    if norm > descent.clip_norm:
        g = g * (descent.clip_norm / norm)
    constants = np.array([descent.eta0]), np.array([descent.mu])
    t = np.array([state.t + 1])
    rate = descent.schedule.rate(*constants, t, e) * state.rate_factor
    eta = rate
    if hasattr(optimizer, "correction"):
        eta = rate * optimizer.correction(state.t + 1)
    state.theta, state.slots = optimizer.step(state.theta, state.slots, g, eta, alpha, 0.0)
    state.t += 1
    if 0 < descent.average <= state.t:
        state.average += (state.theta - state.average) / (state.t - descent.average + 1)
    return float(rate[0])


def run_epoch(data: Data, network: Network, descent: VectorDescent, state: State) -> None:
    """Train to the end of the running epoch.

    Parameters
    ----------
    data : Data
        Rows and targets.
    network : Network
        The model.
    descent : VectorDescent
        How steps are made.
    state : State
        The training state; it is changed in place.

    Raises
    ------
    DivergenceError
        If a loss is not finite.
    """
    network.check(data)
    n, size = data.n, min(descent.batch_size, data.n)
    order = sampling.order(descent.sampling, n, descent.seed, state.epoch)
    if state.row == 0:
        state.objective_sum = state.row_count = state.norm_sum = state.norm_count = 0.0
    penalised = network.pack([1.0] * network.layers, [0.0] * network.layers, np.float64)
    while state.row < n:
        rows = order[state.row : state.row + size]
        e = state.epoch + (state.row // size) / data.batches(size)
        with np.errstate(over="ignore", invalid="ignore"):
            g, loss, weight = gradient(data, network, state.theta, rows)
        if not np.isfinite(loss):
            raise DivergenceError(state.t, float("nan"), data.largest(), epoch=state.epoch + 1)
        if weight > 0.0:
            penalty = 0.5 * network.alpha * float(penalised @ state.theta**2)
            used = len(rows) if data.sample_weight is None else (data.sample_weight[rows] > 0).sum()
            state.objective_sum += float(used * (loss + penalty) / weight)
            state.row_count += float(used)
            if (state.row // size) % max(16, 64 // size) == 0:
                state.norm_sum += float(g @ g)
                state.norm_count += 1.0
            step(state, g, network.alpha / weight * penalised, descent, e)
        state.row += len(rows)
    state.epoch, state.row = state.epoch + 1, 0
