"""How the steps of a run are made, whatever the model: linear lanes, a network, a user's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .optimizers import SGD, Optimizer
from .sampling import SAMPLINGS
from .schedules import Schedule

__all__ = ["Descent", "VectorDescent"]


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Batches, their order, the optimizer and its learning rates.

    Attributes
    ----------
    batch_size : int
        Rows a step, from 1; larger than n means n. The last batch of an epoch may be short.
    optimizer : Optimizer
        How a step moves a weight; see :mod:`fastsgd.optimizers`.
    average : int
        0, or the number of the update from which the weights are averaged (Polyak & Juditsky 1992).
    clip_norm : float
        Longest batch gradient of the loss, in all weights and intercepts together; a longer one is
        scaled down.
    n_jobs : int
        Threads that work on a batch of dense rows, at most; from 1. No bit depends on it.
    sampling : str
        One of ``fastsgd.sampling.SAMPLINGS``.
    seed : int
        Key of the sampling streams, in [0, 2**64).
    schedule : Schedule
        Of the learning rate.

    Raises
    ------
    ValueError
        If a setting is out of range; the message names it.

    Examples
    --------
    >>> from fastsgd.descent import Descent
    >>> from fastsgd.optimizers import SGD
    >>> Descent(batch_size=32, optimizer=SGD(momentum=0.9)).momentum
    0.9
    """

    batch_size: int = 1
    optimizer: Optimizer = field(default_factory=SGD)
    average: int = 0
    clip_norm: float = np.inf
    n_jobs: int = 1
    sampling: str = "reshuffle"
    seed: int = 0
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if not self.clip_norm > 0.0:
            raise ValueError(f"clip_norm must be > 0, got {self.clip_norm!r}")
        if not 1 <= self.n_jobs < 2**31:
            raise ValueError(f"n_jobs must be >= 1, got {self.n_jobs!r}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {self.batch_size!r}")
        if not isinstance(self.optimizer, Optimizer):
            raise ValueError(f"optimizer must be an Optimizer, got {self.optimizer!r}")
        if not 0 <= self.average < 2**62:
            raise ValueError(f"average must be in [0, 2**62), got {self.average!r}")
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {SAMPLINGS}, got {self.sampling!r}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be in [0, 2**64), got {self.seed!r}")

    @property
    def momentum(self) -> float:
        """Momentum beta of the optimizer; 0 if it has none."""
        return float(getattr(self.optimizer, "momentum", 0.0))


@dataclass(frozen=True, kw_only=True)
class VectorDescent(Descent):
    """The same for one vector of parameters, with the constants of its rate.

    Attributes
    ----------
    eta0 : float
        Base learning rate, > 0.
    mu : float
        Curvature in the "inverse" schedule, >= 0.

    Raises
    ------
    ValueError
        If a setting is out of range; the message names it.

    Examples
    --------
    >>> from fastsgd.descent import VectorDescent
    >>> VectorDescent(eta0=0.1, batch_size=32).eta0
    0.1
    """

    eta0: float = 0.001
    mu: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.eta0 < np.inf:
            raise ValueError(f"eta0 must be finite and > 0, got {self.eta0!r}")
        if not 0.0 <= self.mu < np.inf:
            raise ValueError(f"mu must be finite and >= 0, got {self.mu!r}")

    @property
    def slots(self) -> tuple[str, ...]:
        """What a parameter carries beside itself: the optimizer's slots, and its average."""
        return (*self.optimizer.slots, *(["average"] if self.average else []))
