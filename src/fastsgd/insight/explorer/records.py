"""What the explorer records: runs of the solver on two weights, and the landscape below them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...estimators.base import BaseSGD

__all__ = ["Record", "RecordedRun", "View"]

Float = NDArray[np.float64]
View = tuple[tuple[float, float], tuple[float, float]]
"""(low, high) of each of the two coordinates."""


@dataclass(frozen=True)
class RecordedRun:
    """One run of the solver: T updates, and T + 1 points, of which the start is the first.

    Gradients are worked out in float64 at the solver's weights, with the L2 penalty and without
    the L1 penalty.

    Attributes
    ----------
    parameters : dict
        Parameters of ``Exploration.estimator`` that were set for this run.
    batch_size : int
        Rows of a batch.
    rate : float
        Learning rate at the start, eta0.
    momentum : float
        Momentum.
    schedule : str
        Schedule of the learning rate.
    weights : ndarray of shape (T + 1, 2)
        The two coordinates, bit for bit and of the dtype that the solver had.
    fixed_weight : ndarray of shape (T + 1,) or None
        Weight of the third column of ``Exploration.X``, by which the coordinates that do not move
        are in the score; no step changes it. None if there is no third column.
    examples : ndarray of shape (T + 1,), int64
        Rows used before each point.
    batch_rows : tuple of T + 1 ndarrays of int64
        Numbers of the rows in the batch that follows each point.
    learning_rate : ndarray of shape (T + 1,)
        Learning rate of the update that follows each point.
    loss : ndarray of shape (T + 1,)
        Mean loss of all rows plus penalty.
    batch_gradient : ndarray of shape (T + 1, 2)
        Gradient of the batch that follows.
    full_gradient : ndarray of shape (T + 1, 2)
        Gradient of all rows.
    other_gradients : ndarray of shape (T + 1, c, 2)
        Gradients of c other batches of as many rows, which are the same at every point; c is 0 if
        a batch has all rows.
    diverged : bool
        Whether the run ended early because it diverged; T is then less than ``Exploration.steps``.

    See Also
    --------
    explore : Records runs.

    Examples
    --------
    >>> from fastsgd.insight import explore
    >>> options = {"rates": (0.1,), "momenta": (0.0,), "schedules": ("constant",)}
    >>> run = explore("least-squares", batch_sizes=(4,), steps=10, **options).runs[0]
    >>> run.weights.shape, run.other_gradients.shape, len(run.batch_rows[0])
    ((11, 2), (11, 60, 2), 4)
    >>> bool(abs(run.weights[1] - (run.weights[0] - 0.1 * run.batch_gradient[0])).max() < 1e-12)
    True
    """

    parameters: dict[str, Any]
    batch_size: int
    rate: float
    momentum: float
    schedule: str
    weights: NDArray[np.floating]
    fixed_weight: NDArray[np.floating] | None
    examples: NDArray[np.int64]
    batch_rows: tuple[NDArray[np.int64], ...]
    learning_rate: Float
    loss: Float
    batch_gradient: Float
    full_gradient: Float
    other_gradients: Float
    diverged: bool


@dataclass(frozen=True)
class Record:
    """All that a page of the explorer is drawn from; its fields are those of ``Exploration``."""

    title: str
    names: tuple[str, str]
    estimator: BaseSGD
    X: NDArray[np.floating]
    y: NDArray[Any]
    start: Float
    runs: tuple[RecordedRun, ...]
    batch_sizes: tuple[int, ...]
    rates: tuple[float, ...]
    momenta: tuple[float, ...]
    schedules: tuple[str, ...]
    curvature: float
    steps: int
    view: View
    first: Float
    second: Float
    landscape: Float
    minimizer: Float
    minimum: float
