"""The noun Network: a multilayer perceptron, its loss, and where its parameters lie in a vector.

    a_0 = x,   z_l = a_{l-1} W_l + b_l,   a_l = f(z_l), in the last layer the function of the loss

    squared_error   a = z                   1/2 |a - y|^2
    log_loss        a = 1 / (1 + exp(-z))   sum over outputs of -y log a - (1 - y) log(1 - a)
    softmax         a = exp(z) / sum exp    -log a_y, y the number of the class
    poisson         a = exp(z)              sum over outputs of y log(y / a) - y + a

Each pair of output function and loss has the same gradient in z: a - y (y as indicators of its
class for softmax). A batch B of rows with sample weights s minimises

    (sum_{i in B} s_i loss_i  +  alpha / 2 sum_l |W_l|^2) / sum_{i in B} s_i

which is scikit-learn's objective for ``MLPClassifier`` and ``MLPRegressor``: alpha is divided by
the weight of the batch, and intercepts are not penalised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .problem import Data

__all__ = ["ACTIVATIONS", "NETWORK_LOSSES", "Network"]

ACTIVATIONS: tuple[str, ...] = ("identity", "logistic", "tanh", "relu")
"""Functions of the hidden layers, in the order of ``fsgd_activation`` in csrc/network.h."""

NETWORK_LOSSES: dict[str, str] = {
    "squared_error": "identity",
    "log_loss": "logistic",
    "softmax": "softmax",
    "poisson": "exp",
}
"""Losses, in the order of ``fsgd_network_loss`` in csrc/network.h, and their output functions."""

ALIGNMENT = 64
"""Bytes that the rows of a weight matrix are padded to in the core."""


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron and its objective.

    Attributes
    ----------
    sizes : tuple of int
        Features, units of each hidden layer, outputs: two numbers or more, each from 1.
    activation : str
        Function of the hidden layers, one of ``ACTIVATIONS``.
    loss : str
        A key of ``NETWORK_LOSSES``.
    alpha : float
        Strength of the L2 penalty, >= 0.

    Raises
    ------
    ValueError
        If a field is out of range; the message names it.

    Examples
    --------
    >>> from fastsgd.network import Network
    >>> network = Network((784, 64, 10), loss="softmax")
    >>> network.shapes, network.count
    ([(784, 64), (64, 10)], 50890)
    """

    ACTIVATIONS: ClassVar[tuple[str, ...]] = ACTIVATIONS
    LOSSES: ClassVar[tuple[str, ...]] = tuple(NETWORK_LOSSES)

    sizes: tuple[int, ...]
    activation: str = "relu"
    loss: str = "squared_error"
    alpha: float = 0.0

    def __post_init__(self) -> None:
        sizes = tuple(int(size) for size in self.sizes)
        object.__setattr__(self, "sizes", sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be two numbers or more, each from 1, got {self.sizes!r}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, got {self.activation!r}")
        if self.loss not in NETWORK_LOSSES:
            raise ValueError(f"loss must be one of {tuple(NETWORK_LOSSES)}, got {self.loss!r}")
        if not 0.0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must be finite and >= 0, got {self.alpha!r}")
        if self.loss == "softmax" and sizes[-1] < 2:
            raise ValueError(f"loss 'softmax' needs two outputs or more, got {sizes[-1]}")

    @property
    def layers(self) -> int:
        """Number of weight matrices."""
        return len(self.sizes) - 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes (inputs, outputs) of the weight matrices."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum((inputs + 1) * outputs for inputs, outputs in self.shapes)

    @property
    def targets(self) -> int:
        """Columns of y: one for classes of softmax, else one for each output."""
        return 1 if self.loss == "softmax" else self.sizes[-1]

    def stride(self, layer: int, unit: int = 1) -> int:
        """Numbers of a row of a weight matrix, padded to multiples of ``unit``."""
        return -(-self.sizes[layer + 1] // unit) * unit

    def length(self, unit: int = 1) -> int:
        """Numbers of the vector of all parameters; see :meth:`pack`."""
        return sum((size + 1) * self.stride(at, unit) for at, size in enumerate(self.sizes[:-1]))

    @staticmethod
    def unit(dtype: DTypeLike) -> int:
        """What the core pads rows to."""
        return ALIGNMENT // np.dtype(dtype).itemsize

    def pack(
        self, coefs: Sequence[Any], intercepts: Sequence[Any], dtype: DTypeLike, unit: int = 1
    ) -> NDArray[Any]:
        """All parameters in one vector: layer by layer the rows of W, then b, padded by zeros.

        Parameters
        ----------
        coefs : sequence of array-like of shape (inputs, outputs)
            Weights of the layers.
        intercepts : sequence of array-like of shape (outputs,)
            Intercepts.
        dtype : dtype
            Of the vector.
        unit : int, default=1
            What rows are padded to.

        Returns
        -------
        ndarray of shape (length,)
            The vector.
        """
        theta = np.zeros(self.length(unit), dtype=dtype)
        with np.errstate(over="ignore"):
            for (w, b), coef, intercept in zip(
                self.views(theta, unit), coefs, intercepts, strict=True
            ):
                w[...] = coef
                b[...] = intercept
        return theta

    def views(self, theta: NDArray[Any], unit: int = 1) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Weights (inputs, outputs) and intercepts (outputs,) of the layers, in a vector.

        Parameters
        ----------
        theta : ndarray of shape (length,)
            What :meth:`pack` made, or another vector of the same layout: a gradient, a slot.
        unit : int, default=1
            What rows are padded to.

        Returns
        -------
        list of tuple of ndarray
            Views.
        """
        start, parts = 0, []
        for layer, (inputs, outputs) in enumerate(self.shapes):
            stride = self.stride(layer, unit)
            rows = theta[start : start + (inputs + 1) * stride].reshape(inputs + 1, stride)
            parts.append((rows[:-1, :outputs], rows[-1, :outputs]))
            start += (inputs + 1) * stride
        return parts

    def check(self, data: Data) -> None:
        """Refuse rows or targets that do not fit.

        Parameters
        ----------
        data : Data
            Rows and targets.

        Raises
        ------
        ValueError
            Naming the argument, its value and what was expected.
        """
        if data.d != self.sizes[0]:
            raise ValueError(f"X must have {self.sizes[0]} features, got {data.d}")
        y, loss = data.y, self.loss
        if y.shape[1] != self.targets:
            raise ValueError(f"y must have {self.targets} columns, got {y.shape[1]}")
        if data.is_window:
            raise ValueError("data must have all rows of an epoch")
        if data.held_out is not None:
            raise ValueError("held_out must be None for a network")
        highest = {"log_loss": 1.0, "softmax": self.sizes[-1] - 1.0}.get(loss, math.inf)
        lowest = -math.inf if loss == "squared_error" else 0.0
        whole = loss != "softmax" or bool((y == np.floor(y)).all())
        if not (lowest <= y.min() and y.max() <= highest and whole):
            what = "whole numbers " * (loss == "softmax")
            raise ValueError(
                f"y must be {what}in [{lowest}, {highest}] with loss {loss!r}, got "
                f"{y.min()} to {y.max()}"
            )
