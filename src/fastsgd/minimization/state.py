"""What a run of :func:`fastsgd.minimize` has changed so far, and what callbacks see of it."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..descent import VectorDescent
from .structures import Structure

__all__ = [
    "BEST",
    "COUNTS",
    "EPOCH",
    "HISTORY",
    "LOSS",
    "NORM",
    "NORMS",
    "ROW",
    "WITHOUT_GAIN",
    "Progress",
    "State",
    "T",
]

Array = NDArray[Any]

HISTORY = (
    "epoch",
    "loss",
    "learning_rate",
    "gradient_norm",
    "parameter_norm",
    "seconds",
    "rows_per_second",
)
"""The columns of the history: one value an epoch."""

T, EPOCH, ROW, LOSS, NORM, NORMS, BEST, WITHOUT_GAIN, COUNTS = range(9)
"""Places in ``State.counts``, and their number."""


class State:
    """All that a run has changed so far, from which :func:`minimize` goes on.

    It is what ``state`` of a result is. A run that goes on works on a copy.

    Parameters
    ----------
    structure : Structure
        Of the parameters.
    theta : ndarray of shape (P,)
        Where they start.
    descent : VectorDescent
        How steps are made.
    n : int
        Number of rows.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The parameters, as one vector.
    slots : dict of str to ndarray of shape (P,)
        What the optimizer keeps of each.
    average : ndarray of shape (P,) or None
        Mean of the parameters over the updates from number ``average_from`` on.
    counts : ndarray of float64
        Updates, epochs, rows of the running epoch, and sums over it; see :attr:`t`.
    history : dict of str to list
        One value an epoch, by the names of ``HISTORY``.
    n, seed, sampling, batch_size
        What the order of the rows depends on, and their batches.
    horizon : float
        ``max_iter`` of the first call: the length of a schedule that has none of its own.
    average_from : int
        Number of the update from which the parameters are averaged; 0 for never.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import minimize
    >>> def square(theta, rows):
    ...     return 0.5 * theta @ theta, theta
    >>> result = minimize(square, np.ones(2), n=10, batch_size=2, max_iter=3, random_state=0)
    >>> result.state
    State(t=15, epoch=3, row=0)
    """

    def __init__(self, structure: Structure, theta: Array, descent: VectorDescent, n: int) -> None:
        self.structure = structure
        self.theta = theta
        self.slots = {
            name: np.full_like(theta, value) for name, value in descent.optimizer.slots.items()
        }
        self.average_from = descent.average
        self.averaged: Any = descent.average  # as the user gave it
        self.average = np.zeros_like(theta) if descent.average else None
        self.counts = np.zeros(COUNTS)
        self.counts[BEST] = math.inf
        self.history: dict[str, list[Any]] = {name: [] for name in HISTORY}
        self.n, self.seed, self.sampling = n, descent.seed, descent.sampling
        self.batch_size = descent.batch_size
        self.horizon = descent.schedule.horizon
        self.optimizer = descent.optimizer.name

    @property
    def t(self) -> int:
        """Updates done.

        Returns
        -------
        int
        """
        return int(self.counts[T])

    @property
    def epoch(self) -> int:
        """Epochs done.

        Returns
        -------
        int
        """
        return int(self.counts[EPOCH])

    @property
    def row(self) -> int:
        """Rows of the running epoch whose update is done.

        Returns
        -------
        int
        """
        return int(self.counts[ROW])

    def copy(self) -> State:
        """A state that shares nothing with this one.

        Returns
        -------
        State
            The copy.
        """
        return copy.deepcopy(self)

    def model(self) -> Any:
        """The parameters in the structure of ``theta0``, copied: averages where there are any.

        Returns
        -------
        ndarray or container of ndarray
            The model.
        """
        average = self.average if 0 < self.average_from <= self.t else None
        return self.structure.views((self.theta if average is None else average).copy())

    def __repr__(self) -> str:
        return f"State(t={self.t}, epoch={self.epoch}, row={self.row})"


@dataclass(frozen=True)
class Progress:
    """What a callback of :func:`minimize` is called with after an epoch.

    Attributes
    ----------
    theta : ndarray or container of ndarray
        The parameters. They are views, which the run goes on to change: copy what is kept.
    loss : float
        Mean loss of the epoch's rows, each before its step, plus the penalty.
    epoch : int
        Epochs done.
    history : dict of str to list
        All epochs so far.
    state : State
        To be pickled, as a checkpoint; the run goes on to change it, too.

    See Also
    --------
    minimize : Calls it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import minimize
    >>> def square(theta, rows):
    ...     return 0.5 * theta @ theta, theta
    >>> def enough(progress):
    ...     return progress.loss < 1e-3
    >>> minimize(square, np.ones(2), n=10, callback=enough, eta0=0.5).message
    'The callback ended the run.'
    """

    theta: Any
    loss: float
    epoch: int
    history: dict[str, list[Any]]
    state: State

    @property
    def x(self) -> Any:
        """A copy of the model: the averages where there are any, else the parameters.

        Returns
        -------
        ndarray or container of ndarray
        """
        return self.state.model()

    def line(self) -> str:
        """The epoch in words.

        Returns
        -------
        str
            What ``verbose`` prints.
        """
        row = {name: column[-1] for name, column in self.history.items()}
        return (
            f"epoch {row['epoch']:4d}  loss {row['loss']:.6g}  rate {row['learning_rate']:.3g}  "
            f"|g| {row['gradient_norm']:.3g}  |theta| {row['parameter_norm']:.4g}  "
            f"{row['seconds']:.3g} s  {row['rows_per_second']:.3g} rows/s"
        )
