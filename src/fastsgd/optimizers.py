"""Optimizers: what a weight carries beside itself, and how a step moves it.

    g      gradient of the loss in a weight: the mean over the batch, clipped
    eta    learning rate of the step
    alpha  strength of the L2 penalty; 0 in an intercept, which no penalty holds

    SGD          w = (1 - eta alpha) w - eta g
      momentum   v = beta v + g + alpha w,  w = w - eta v         (Polyak 1964)
      nesterov   the same v,  w = w - eta (g + alpha w + beta v)

Averages (``Settings.average``) are of the weights that any optimizer leaves behind.

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
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .scalars import python_number

__all__ = ["OPTIMIZERS", "SGD", "Optimizer"]

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
        w, g : ndarray of shape (d, K) or (K,)
            Weights or intercepts, and their gradients.
        slots : dict of str to ndarray
            Of the same shape.
        eta : ndarray of shape (K,)
            Learning rates of the lanes.
        alpha, l1 : ndarray of shape (K,), or 0
            Strengths of the penalties. A linear step leaves ``l1`` to the truncation after it.

        Returns
        -------
        w : ndarray
            New weights; what was given is left as it is.
        slots : dict of str to ndarray
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
        """See :meth:`Optimizer.step`."""
        if not slots:
            return w * np.maximum(0.0, 1.0 - eta * alpha) - eta * g, {}
        g = g + alpha * w
        v = self.momentum * slots["velocity"] + g
        return w - eta * (g + self.momentum * v if self.nesterov else v), {"velocity": v}


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD,)}
"""Optimizers by name, in the order of ``fsgd_optimizer`` in csrc/fastsgd.h."""
