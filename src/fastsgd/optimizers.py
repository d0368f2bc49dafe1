"""Optimizers: what a weight carries beside itself, and how a step moves it.

    g      gradient of the loss in a weight: the mean over the batch, clipped
    eta    learning rate of the step
    alpha  strength of the L2 penalty; 0 in an intercept, which no penalty holds

    SGD          w = (1 - eta alpha) w - eta g
      momentum   v = beta v + g + alpha w,  w = w - eta v         (Polyak 1964)
      nesterov   the same v,  w = w - eta (g + alpha w + beta v)

    AdaGrad      squares = squares + g^2,  time = eta / sqrt(squares),  w = w - time g,
                 then |w| = max(0, (|w| + l1 / alpha) exp(-alpha time) - l1 / alpha)

    Adam         m = b1 m + (1 - b1) g,  s = b2 s + (1 - b2) g^2,
                 w = w - eta c m / (sqrt(s) + epsilon),  c = sqrt(1 - b2^t) / (1 - b1^t)

Adam is for networks and for :func:`fastsgd.minimize`; its g has alpha w in it. Averages
(``Settings.average``) are of the weights that any optimizer leaves behind.

Examples
--------
>>> from fastsgd.optimizers import SGD
>>> from fastsgd.problem import Settings
>>> Settings(optimizer=SGD(momentum=0.9)).width
2
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .scalars import python_number

__all__ = ["OPTIMIZERS", "SGD", "VECTOR_OPTIMIZERS", "AdaGrad", "Adam", "Optimizer"]

Float = NDArray[np.float64]
Slots = dict[str, Float]


@dataclass(frozen=True)
class Optimizer(ABC):
    """How a step moves a weight; its fields are the constants that all lanes share.

    Attributes
    ----------
    name : str
        What estimators call it.
    linear : bool
        Whether a step is linear in the weight and its slots, u = u + D u + p g. Then the steps that
        a feature of CSR X has missed are one product of their D; an L1 penalty truncates after the
        step (:mod:`fastsgd.reference`). The step of any other optimizer has both penalties in it.

    See Also
    --------
    SGD : A linear optimizer.
    AdaGrad : An optimizer that is not linear.

    Examples
    --------
    >>> from fastsgd.optimizers import SGD, AdaGrad, Optimizer
    >>> [(kind.name, kind.linear, issubclass(kind, Optimizer)) for kind in (SGD, AdaGrad)]
    [('sgd', True, True), ('adagrad', False, True)]
    """

    name: ClassVar[str]
    linear: ClassVar[bool]

    def __post_init__(self) -> None:
        for one in fields(self):
            value = python_number(getattr(self, one.name), whole=False)
            object.__setattr__(self, one.name, value)

    @property
    @abstractmethod
    def slots(self) -> Mapping[str, float]:
        """What a weight carries beside itself, by name, and what each starts from."""

    @abstractmethod
    def step(
        self, w: Float, slots: Slots, g: Float, eta: Float, alpha: Any, l1: Any
    ) -> tuple[Float, Slots]:
        """Weights and slots after a step.

        Parameters
        ----------
        w : ndarray of shape (d, K) or (K,)
            Weights or intercepts.
        slots : dict of str to ndarray
            What they carry, of the same shape.
        g : ndarray of shape (d, K) or (K,)
            Their gradients.
        eta : ndarray of shape (K,)
            Learning rates of the lanes.
        alpha : ndarray of shape (K,) or float
            Strengths of the L2 penalty; 0 for intercepts.
        l1 : ndarray of shape (K,) or float
            Strengths of the L1 penalty. A linear step leaves it to the truncation after it.

        Returns
        -------
        w : ndarray
            New weights; what was given is left as it is.
        slots : dict of str to ndarray
            What they carry now.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, w = w - eta g, with momentum.

    Parameters
    ----------
    momentum : float, default=0.0
        beta in [0, 1): v = beta v + g, w = w - eta v (Polyak, USSR Comput. Math. Math. Phys. 4,
        1964).
    nesterov : bool, default=False
        w = w - eta (g + beta v) instead (Sutskever et al., ICML 2013).

    Raises
    ------
    ValueError
        If momentum is not in [0, 1).

    Examples
    --------
    >>> from fastsgd.optimizers import SGD
    >>> list(SGD(momentum=0.9).slots)
    ['velocity']
    """

    name: ClassVar[str] = "sgd"
    linear: ClassVar[bool] = True

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum!r}")

    @property
    def slots(self) -> Mapping[str, float]:
        """The velocity v, with momentum."""
        return {"velocity": 0.0} if self.momentum > 0.0 else {}

    def step(
        self, w: Float, slots: Slots, g: Float, eta: Float, alpha: Any, l1: Any
    ) -> tuple[Float, Slots]:
        if not slots:
            return w * np.maximum(0.0, 1.0 - eta * alpha) - eta * g, {}
        g = g + alpha * w
        v = self.momentum * slots["velocity"] + g
        return w - eta * (g + self.momentum * v if self.nesterov else v), {"velocity": v}

    step.__doc__ = Optimizer.step.__doc__


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """A step size for each weight, eta / sqrt(sum of its squared gradients), with both penalties.

    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12 (2011). Features that are rare, or small, get larger steps. With
    time = eta / sqrt(squares) the size of a step,

        squares = squares + g^2
        w       = w - time g
        |w|     = max(0, (|w| + l1 / alpha) exp(-alpha time) - l1 / alpha)

    The last line is where d|w| / dtime = -(alpha |w| + l1) leads in that time: the penalties in the
    metric of the step, L1 with real zeros (for alpha = 0 it is max(0, |w| - l1 time)). Two of them
    one after the other are one of the sum of their times. A feature that is not in a row keeps its
    squares, so that all the steps it misses are one of the sum of their rates: on sparse X a step
    costs O(non-zeros), exactly. A weight that never had a gradient has no step size, and stays.

    Parameters
    ----------
    initial_accumulator : float, default=0.0
        What the sums of squares start from, >= 0; larger values make the first steps shorter. At 0
        the first step of a weight is of length eta, whatever the size of its gradient.

    Raises
    ------
    ValueError
        If initial_accumulator is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.optimizers import AdaGrad
    >>> optimizer = AdaGrad()
    >>> w, slots = np.zeros((2, 1)), {"squares": np.zeros((2, 1))}
    >>> g = np.array([[100.0], [-0.01]])
    >>> w, slots = optimizer.step(w, slots, g, eta=np.array([0.1]), alpha=0.0, l1=0.0)
    >>> w.ravel()
    array([-0.1,  0.1])
    """

    name: ClassVar[str] = "adagrad"
    linear: ClassVar[bool] = False

    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.initial_accumulator < np.inf:
            raise ValueError(
                f"initial_accumulator must be >= 0 and finite, got {self.initial_accumulator!r}"
            )

    @property
    def slots(self) -> Mapping[str, float]:
        """The sum of squared gradients."""
        return {"squares": self.initial_accumulator}

    def step(
        self, w: Float, slots: Slots, g: Float, eta: Float, alpha: Any, l1: Any
    ) -> tuple[Float, Slots]:
        squares = slots["squares"] + g**2
        time = eta / np.sqrt(np.where(squares > 0.0, squares, np.inf))
        return shrunk(w - time * g, time, alpha, l1), {"squares": squares}

    step.__doc__ = Optimizer.step.__doc__


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps in units of the gradient's own size, from running means of it and of its square.

    Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, in the form of its section
    2, last paragraph, which scikit-learn has too. With t the number of the update, from 1,

        m = beta_1 m + (1 - beta_1) g,  s = beta_2 s + (1 - beta_2) g^2
        w = w - eta sqrt(1 - beta_2^t) / (1 - beta_1^t)  m / (sqrt(s) + epsilon)

    Here g is the gradient with the L2 term. For networks, and for :func:`fastsgd.minimize`.

    Parameters
    ----------
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay of the running means, in [0, 1).
    epsilon : float, default=1e-8
        Added to the root, > 0.

    Raises
    ------
    ValueError
        If a constant is out of its range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.optimizers import Adam
    >>> optimizer = Adam()
    >>> w, slots = np.zeros(2), {"mean": np.zeros(2), "square": np.zeros(2)}
    >>> g, eta = np.array([100.0, -0.01]), np.array([0.1])
    >>> w, slots = optimizer.step(w, slots, g, eta * optimizer.correction(1), alpha=0.0, l1=0.0)
    >>> w.round(4)
    array([-0.1,  0.1])
    """

    name: ClassVar[str] = "adam"
    linear: ClassVar[bool] = False

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta_1", "beta_2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)!r}")
        if not 0.0 < self.epsilon < np.inf:
            raise ValueError(f"epsilon must be > 0 and finite, got {self.epsilon!r}")

    @property
    def slots(self) -> Mapping[str, float]:
        """The running means of the gradient and of its square."""
        return {"mean": 0.0, "square": 0.0}

    def correction(self, t: int) -> float:
        """What the rate of update t is multiplied by, since the running means start from 0.

        Parameters
        ----------
        t : int
            Number of the update, from 1.

        Returns
        -------
        float
            sqrt(1 - beta_2^t) / (1 - beta_1^t).
        """
        return float(np.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t))

    def step(
        self, w: Float, slots: Slots, g: Float, eta: Float, alpha: Any, l1: Any
    ) -> tuple[Float, Slots]:
        g = g + alpha * w
        mean = self.beta_1 * slots["mean"] + (1.0 - self.beta_1) * g
        square = self.beta_2 * slots["square"] + (1.0 - self.beta_2) * g**2
        return w - eta * mean / (np.sqrt(square) + self.epsilon), {"mean": mean, "square": square}

    step.__doc__ = Optimizer.step.__doc__


def shrunk(w: Float, time: Float, alpha: Any, l1: Any) -> Float:
    """Weights that both penalties have held for a time: see :class:`AdaGrad`."""
    alpha, l1 = np.broadcast_to(alpha, w.shape), np.broadcast_to(l1, w.shape)
    part = -np.expm1(-alpha * time)
    of_l1 = np.divide(part, alpha, out=np.array(time), where=alpha > 0.0)
    return np.asarray(np.sign(w) * np.maximum(0.0, np.abs(w) - part * np.abs(w) - l1 * of_l1))


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, AdaGrad)}
"""Optimizers by name, in the order of ``fsgd_optimizer`` in csrc/fastsgd.h."""

VECTOR_OPTIMIZERS: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, Adam)}
"""Optimizers of networks and of :func:`fastsgd.minimize` by name, in the order of ``fsgd_rule`` in
csrc/network.h."""

OptimizerName = Literal["sgd", "adagrad"]
"""Their names, for type checkers."""
