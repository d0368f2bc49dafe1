"""What the explorer records: runs of the solver, and what its pages draw them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...descent import VectorDescent
from ...estimators.base import BaseSGD
from ...network import Network

__all__ = [
    "AnyRecord",
    "AnyRun",
    "NetworkRecord",
    "Record",
    "RecordedNetworkRun",
    "RecordedRun",
    "View",
]

Float = NDArray[np.float64]
View = tuple[tuple[float, float], tuple[float, float]]
"""(low, high) of each of the two coordinates."""


@dataclass(frozen=True)
class AnyRun:
    """What is recorded of every run; its fields are those of ``RecordedRun``."""

    batch_size: int
    rate: float
    momentum: float
    schedule: str
    examples: NDArray[np.int64]
    batch_rows: tuple[NDArray[np.int64], ...]
    learning_rate: Float
    loss: Float
    diverged: bool


@dataclass(frozen=True)
class RecordedRun(AnyRun):
    """One run of the solver: T updates, and T + 1 points, of which the start is the first.

    Gradients are worked out in float64 at the solver's weights, with the L2 penalty and without
    the L1 penalty.

    Attributes
    ----------
    batch_size : int
        Rows of a batch.
    rate : float
        Learning rate at the start, eta0.
    momentum : float
        Momentum.
    schedule : str
        Schedule of the learning rate.
    examples : ndarray of shape (T + 1,), int64
        Rows used before each point.
    batch_rows : tuple of T + 1 ndarrays of int64
        Numbers of the rows in the batch that follows each point.
    learning_rate : ndarray of shape (T + 1,)
        Learning rate of the update that follows each point.
    loss : ndarray of shape (T + 1,)
        Mean loss of all rows plus penalty.
    diverged : bool
        Whether the run ended early because it diverged; T is then less than ``Exploration.steps``.
    parameters : dict
        Parameters of ``Exploration.estimator`` that were set for this run.
    weights : ndarray of shape (T + 1, 2)
        The two coordinates, bit for bit and of the dtype that the solver had.
    fixed_weight : ndarray of shape (T + 1,) or None
        Weight of the third column of ``Exploration.X``, by which the coordinates that do not move
        are in the score; no step changes it. None if there is no third column.
    batch_gradient : ndarray of shape (T + 1, 2)
        Gradient of the batch that follows.
    full_gradient : ndarray of shape (T + 1, 2)
        Gradient of all rows.
    other_gradients : ndarray of shape (T + 1, c, 2)
        Gradients of c other batches of as many rows, which are the same at every point; c is 0 if
        a batch has all rows.

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
    weights: NDArray[np.floating]
    fixed_weight: NDArray[np.floating] | None
    batch_gradient: Float
    full_gradient: Float
    other_gradients: Float


@dataclass(frozen=True)
class RecordedNetworkRun(AnyRun):
    """One run of a network: T updates, and T + 1 points, of which the start is the first.

    Vectors of parameters have P numbers: layer by layer the rows of the weights, then the
    intercepts. ``NetworkExploration.network.views`` gives both as arrays.

    Attributes
    ----------
    batch_size : int
        Rows of a batch.
    rate : float
        Learning rate at the start, eta0.
    momentum : float
        Momentum.
    schedule : str
        Schedule of the learning rate.
    examples : ndarray of shape (T + 1,), int64
        Rows used before each point.
    batch_rows : tuple of T + 1 ndarrays of int64
        Numbers of the rows in the batch that follows each point.
    learning_rate : ndarray of shape (T + 1,)
        Learning rate of the update that follows each point.
    loss : ndarray of shape (T + 1,)
        Mean loss of all rows.
    diverged : bool
        Whether the run ended early because it diverged; T is then less than
        ``NetworkExploration.steps``.
    descent : VectorDescent
        How the steps were made: batch size, rate, momentum, schedule and seed.
    weights : ndarray of shape (T + 1, P)
        All parameters, bit for bit and of the dtype that the solver had.
    batch_gradient : ndarray of shape (T + 1, P)
        Gradient of the batch that follows: the mean of the gradients of its rows.
    full_gradient : ndarray of shape (T + 1, P)
        Gradient of all rows.
    row_norms : ndarray of shape (T + 1, n, layers)
        Norm of each row's own gradient, in the weights and intercepts of each layer.

    See Also
    --------
    explore : Records runs.

    Examples
    --------
    >>> from fastsgd.insight import explore
    >>> options = {"rates": (0.5,), "momenta": (0.0,), "schedules": ("constant",)}
    >>> run = explore("network", batch_sizes=(16,), steps=10, **options).runs[0]
    >>> run.weights.shape, run.row_norms.shape, len(run.batch_rows[0])
    ((11, 33), (11, 128, 2), 16)
    >>> bool(abs(run.weights[1] - (run.weights[0] - 0.5 * run.batch_gradient[0])).max() < 1e-12)
    True
    """

    descent: VectorDescent
    weights: NDArray[np.floating]
    batch_gradient: NDArray[np.floating]
    full_gradient: NDArray[np.floating]
    row_norms: Float


@dataclass(frozen=True)
class AnyRecord:
    """What every page of the explorer is drawn from; its fields are those of ``Exploration``."""

    title: str
    X: NDArray[np.floating]
    y: NDArray[Any]
    batch_sizes: tuple[int, ...]
    rates: tuple[float, ...]
    momenta: tuple[float, ...]
    schedules: tuple[str, ...]
    steps: int
    view: View


@dataclass(frozen=True)
class Record(AnyRecord):
    """All that a page of two weights is drawn from; its fields are those of ``Exploration``."""

    names: tuple[str, str]
    estimator: BaseSGD
    start: Float
    runs: tuple[RecordedRun, ...]
    curvature: float
    first: Float
    second: Float
    landscape: Float
    minimizer: Float
    minimum: float


@dataclass(frozen=True)
class NetworkRecord(AnyRecord):
    """All that a page of a network is drawn from: the fields of ``NetworkExploration``."""

    names: tuple[str, str]
    network: Network
    classes: NDArray[Any]
    offset: NDArray[np.floating]
    scale: NDArray[np.floating]
    start: Float
    runs: tuple[RecordedNetworkRun, ...]
