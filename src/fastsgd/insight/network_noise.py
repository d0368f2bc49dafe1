"""The noise of a network's stochastic gradients, layer by layer, in about one backward pass.

The gradient of row i in the weights of a layer is the outer product of what goes into the layer,
a_i, and the back-propagated delta_i, so that its squared norm, with the intercepts, is

    |g_i|^2 = |delta_i|^2 (|a_i|^2 + 1)

(Goodfellow, "Efficient per-example gradient computations", arXiv:1510.01799, 2015), and no row's
gradient has to be made. With weights s_i of mean s and g = (1/n) sum_i (s_i / s) g_i,

    tr Sigma = (1/n) sum_i (s_i / s)^2 |g_i|^2  -  |g|^2

is the trace of the covariance of single rows' gradients, of each layer and, summed, of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import NetworkRun, VectorState
from ..descent import VectorDescent
from ..network import Network
from ..problem import Data
from .network_problem import CHUNK_ROWS
from .noise_laws import NoiseLaws, sampled_noise
from .row_sums import TOO_LARGE

__all__ = ["NetworkNoise", "network_noise"]

Float = NDArray[np.float64]

BLOCK_ROWS, ROWS_PER_PARAMETER = 4096, 0.02
"""Rows whose gradients are summed in the dtype of X before they are added up in float64: so many,
or more where that is cheap beside the sum of all parameters."""


@dataclass(frozen=True)
class NetworkNoise(NoiseLaws):
    """Gradient of a network's objective and the trace of its noise's covariance, for each layer.

    The laws of :class:`GradientNoise` hold for every layer, and for the network with the sums of
    ``trace`` and of ``squared_norm``. Rows of larger weight count as longer gradients, and the
    gradient has the L2 penalty of a batch of ``batch_size`` rows in it.

    Attributes
    ----------
    coef_gradients : list of ndarray of shape (inputs, outputs)
        grad L in the weights of each layer.
    intercept_gradients : list of ndarray of shape (outputs,)
        grad L in the intercepts.
    trace : ndarray of shape (layers,)
        tr Sigma = E |g_i - grad L|^2, over the layer's weights and intercepts.
    squared_norm : ndarray of shape (layers,)
        |grad L|^2. The estimate from a sample is unbiased, and may therefore be negative.
    n : int
        Rows of positive weight.
    rows : int
        Rows that were used: n, or those of the sample.
    errors : dict of str to ndarray of shape (layers,)
        Standard errors of "trace" and "squared_norm", by the jackknife over 20 parts of the sample;
        0 if all rows were used. Those of "total_trace" and "total_squared_norm" are of shape ().
    sample : str
        Of a source whose rows do not fit into memory, which of them were used; else "".

    See Also
    --------
    gradient_noise : Measures one.
    GradientNoise : The same of a linear model.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.descent import VectorDescent
    >>> from fastsgd.insight.network_noise import network_noise
    >>> from fastsgd.network import Network
    >>> from fastsgd.problem import Data
    >>> data = Data(np.array([[1.0], [1.0]]), np.array([0.0, 2.0]))
    >>> network = Network((1, 1))
    >>> noise = network_noise(data, network, VectorDescent(), np.ones(2))
    >>> noise.trace, noise.squared_norm  # the rows' gradients are (2, 2) and (0, 0)
    (array([2.]), array([2.]))
    """

    coef_gradients: list[Float]
    intercept_gradients: list[Float]
    trace: Float
    squared_norm: Float
    n: int
    rows: int
    errors: dict[str, Float]
    sample: str = ""

    @property
    def total_trace(self) -> Float:
        """The trace of the covariance over all layers.

        Returns
        -------
        ndarray of shape ()
            The sum of the layers' traces.
        """
        return np.asarray(self.trace.sum())

    @property
    def total_squared_norm(self) -> Float:
        """The squared norm of the gradient in all parameters.

        Returns
        -------
        ndarray of shape ()
            The sum of the layers' squared norms.
        """
        return np.asarray(self.squared_norm.sum())

    @property
    def total_noise_scale(self) -> float:
        """The noise scale of the network: the sum of the traces over that of the squared norms.

        Returns
        -------
        float
            In rows; infinite where the gradient is 0 or lost in the noise of the sample.
        """
        return self._joint_scale()


@dataclass(frozen=True)
class _Sums:
    """Sums over m rows: of w_i g_i (P,), and of w_i^2 |g_i|^2 by layers, w_i = s_i / s."""

    m: int
    gradient: Float
    squares: Float

    def __add__(self, other: _Sums) -> _Sums:
        gradient, squares = self.gradient + other.gradient, self.squares + other.squares
        return _Sums(self.m + other.m, gradient, squares)

    def __sub__(self, other: _Sums) -> _Sums:
        gradient, squares = self.gradient - other.gradient, self.squares - other.squares
        return _Sums(self.m - other.m, gradient, squares)


def network_noise(
    data: Data,
    network: Network,
    descent: VectorDescent,
    theta: NDArray[Any],
    sample: NDArray[np.int64] | None = None,
) -> NetworkNoise:
    """Gradient and noise at given parameters, from all rows or unbiased from a sample.

    Parameters
    ----------
    data : Data
        Rows and targets; rows of weight 0 are left out.
    network : Network
        The model.
    descent : VectorDescent
        How steps are made, of which the batch size and the threads count here.
    theta : ndarray of shape (P,)
        Parameters: see :meth:`fastsgd.network.Network.pack`.
    sample : ndarray of shape (m,), int64, optional
        Numbers of rows of positive weight, drawn without replacement, 40 at least.

    Returns
    -------
    NetworkNoise
        Exact, or with standard errors.

    Raises
    ------
    ValueError
        If the squares of gradients are not finite.
    """
    weight = data.sample_weight
    used = np.arange(data.n) if weight is None else np.flatnonzero(weight)
    mean = 1.0 if weight is None else float(weight[used].mean(dtype=np.float64))
    unit = network.unit(data.dtype)
    plain = VectorDescent(batch_size=CHUNK_ROWS, n_jobs=descent.n_jobs)
    state = VectorState(network.length(unit), data.dtype, plain)
    coefs, intercepts = zip(*network.views(theta), strict=True)
    state.set(network.pack(coefs, intercepts, data.dtype, unit))
    run = NetworkRun(data, network, plain, state)
    problem = network, theta, network.alpha / (min(descent.batch_size, data.n) * mean)
    if sample is None:
        return _noise(problem, _sums(run, problem, data, used, mean), len(used))
    return sampled_noise(
        lambda rows: _sums(run, problem, data, rows, mean),
        lambda sums: _noise(problem, sums, len(used)),
        sample,
        len(used),
    )


def _sums(
    run: NetworkRun,
    problem: tuple[Network, NDArray[Any], float],
    data: Data,
    rows: NDArray[np.int64],
    mean: float,
) -> _Sums:
    network = problem[0]
    unit, size = network.unit(data.dtype), BLOCK_ROWS + int(ROWS_PER_PARAMETER * network.count)
    gradient, total = np.zeros(network.length()), np.zeros(network.layers)
    for first in range(0, len(rows), size):
        block = rows[first : first + size]
        found, _, squares = run.gradients(block, squares=True)
        for to, part in zip(network.views(gradient), network.views(found, unit), strict=True):
            for target, source in zip(to, part, strict=True):
                target += source
        weight = data.sample_weight
        of_rows = 1.0 if weight is None else np.square(weight[block, None] / mean, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total += (of_rows * squares).sum(axis=0)
    return _Sums(len(rows), gradient / mean, total)


def _noise(problem: tuple[Network, NDArray[Any], float], sums: _Sums, n: int) -> NetworkNoise:
    network, theta, alpha = problem
    m, layers = sums.m, network.layers
    with np.errstate(over="ignore", invalid="ignore"):
        mean = network.views(sums.gradient / m)
        noise = np.array([np.square(w).sum() + np.square(b).sum() for w, b in mean])
        trace = np.maximum(0.0, sums.squares / m - noise)
        if 1 < m < n:  # Sigma is the covariance over n rows: of a sample without replacement
            trace = trace * (m / (m - 1) * ((n - 1) / n))
        coefs = [
            w + alpha * coef for (w, _), (coef, _) in zip(mean, network.views(theta), strict=True)
        ]
        intercepts = [b for _, b in mean]
        squared = np.array(
            [
                np.square(w).sum() + np.square(b).sum()
                for w, b in zip(coefs, intercepts, strict=True)
            ]
        )
        if m < n:
            squared = squared - trace * ((n - m) / (n - 1) / m)
    if not np.isfinite(trace + squared).all():
        raise ValueError(TOO_LARGE)
    errors = {"trace": np.zeros(layers), "squared_norm": np.zeros(layers)}
    errors |= {"total_trace": np.zeros(()), "total_squared_norm": np.zeros(())}
    return NetworkNoise(coefs, intercepts, trace, squared, n, m, errors)
