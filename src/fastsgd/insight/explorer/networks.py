"""Networks on two features: the built-in problems, a user's rows, and runs recorded on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import type_of_target

from ..._core import NetworkRun, VectorState
from ...descent import VectorDescent
from ...estimators.network_parameters import first_parameters
from ...network import Network
from ...problem import Data
from .records import RecordedNetworkRun
from .stepping import last_point, step_by_step

__all__ = ["NETWORK_PROBLEMS", "PlaneNetwork", "built_in_rows", "rows_of_user"]

Float = NDArray[np.float64]

NETWORK_PROBLEMS = {"network": (8,), "spiral": (6, 6)}
"""Built-in problems of networks, and the units of their hidden layers."""

ROWS = 128
"""Rows of a built-in problem."""

MOST_ROWS = 512
"""Most rows: a page has the norm of each row's gradient at each point of each run."""

Rows = tuple[NDArray[np.floating], Float, NDArray[Any]]
"""X (n, 2), the number of each row's class as a float, 0 or 1, (n,), and the two classes (2,)."""


def built_in_rows(problem: str) -> Rows:
    """Two half moons, or two arms of a spiral, of 64 rows each and with noise."""
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], ROWS // 2)
    if problem == "network":
        angle = np.pi * rng.uniform(size=ROWS)
        first = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        X = np.where(y[:, None] == 0.0, first, [1.0, 0.5] - first)
        X = X + 0.18 * rng.normal(size=(ROWS, 2))
    else:
        radius = 0.05 + 0.95 * np.sqrt(rng.uniform(size=ROWS))
        angle = 1.5 * np.pi * radius + np.pi * y
        X = 2.0 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        X = X + 0.12 * rng.normal(size=(ROWS, 2))
    return X, y, np.array([0, 1])


def rows_of_user(X: Any, y: ArrayLike | None) -> Rows:
    """A user's rows.

    Raises
    ------
    ValueError
        If they are not two features and two classes; the message names the argument.
    """
    if y is None:
        raise ValueError("y must be given with X")
    X = check_array(X, dtype=(np.float64, np.float32), order="C", copy=True, input_name="X")
    if X.shape[1] != 2:
        raise ValueError(f"X must have 2 features for a network, got {X.shape[1]}")
    if len(X) > MOST_ROWS:
        raise ValueError(f"X must have at most {MOST_ROWS} rows for a network, got {len(X):,}")
    target = column_or_1d(y)
    if len(target) != len(X):
        raise ValueError(f"y must have as many values as X has rows, {len(X)}, got {len(target)}")
    wanted = "y must have two classes for a network"
    if target.dtype.kind == "f" and not np.isfinite(target).all():
        raise ValueError(f"{wanted}, got numbers that are not finite")
    kind = type_of_target(target, input_name="y")
    try:
        classes, numbers = np.unique(target, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"{wanted}, got values that cannot be compared: {error}") from error
    if kind != "binary" or len(classes) != 2:
        raise ValueError(f"{wanted}, got {len(classes)} values")
    return X, numbers.astype(np.float64), classes


@dataclass(frozen=True)
class PlaneNetwork:
    """A network on two features, where its runs start, and the rows that it is trained on.

    Attributes
    ----------
    network : Network
    data : Data
        The rows, standardised when they are read.
    offset, scale : ndarray of shape (2,)
        Mean and 1 / standard deviation of each feature, by which they are.
    start : ndarray of shape (P,)
        Parameters at the start of every run.
    """

    network: Network
    data: Data
    offset: NDArray[np.floating]
    scale: NDArray[np.floating]
    start: Float

    @classmethod
    def of_rows(
        cls,
        X: NDArray[np.floating],
        y: Float,
        hidden: tuple[int, ...],
        activation: str,
        seed: int,
    ) -> PlaneNetwork:
        """The network of a logistic output, at the first parameters of ``MLPClassifier``."""
        network = Network((2, *hidden, 1), activation, "log_loss")
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
            offset = mean.astype(X.dtype)
            scale = (1.0 / np.where(spread > 0.0, spread, 1.0)).astype(X.dtype)
        if not (np.isfinite(mean + spread).all() and np.isfinite(scale).all()):
            raise ValueError("X must have features whose squares are finite: scale it")
        data = Data(X, y.astype(X.dtype), None, offset, scale)
        coefs, intercepts = first_parameters(seed, network)
        return cls(network, data, offset, scale, network.pack(coefs, intercepts, np.float64))

    def unpadded(self, theta: NDArray[Any]) -> NDArray[Any]:
        """Parameters or a gradient (P,) without the zeros that the core pads rows to."""
        network = self.network
        coefs, intercepts = zip(*network.views(theta, network.unit(theta.dtype)), strict=True)
        return network.pack(coefs, intercepts, theta.dtype)

    def record(self, descent: VectorDescent, schedule: str, steps: int) -> RecordedNetworkRun:
        """Train step by step, with the gradients of all rows and of the next batch at each point.

        Parameters
        ----------
        descent : VectorDescent
            How the steps are made.
        schedule : str
            Name of the schedule.
        steps : int
            Updates of the run.
        """
        network, data = self.network, self.data
        n, m = data.n, min(descent.batch_size, data.n)
        unit = network.unit(data.dtype)
        state = VectorState(network.length(unit), data.dtype, descent)
        coefs, intercepts = zip(*network.views(self.start), strict=True)
        state.set(network.pack(coefs, intercepts, data.dtype, unit))
        run = NetworkRun(data, network, descent, state)
        every = np.arange(n)

        def advance(rows: int) -> None:
            before = state.t
            while state.t == before:
                run.advance(1 << 30, state.row + rows)

        def point(rows: NDArray[np.int64]) -> Any:
            total, losses, squares = run.gradients(every, squares=True)
            theta, of_batch = state.last(), run.gradients(rows)[0]
            with np.errstate(over="ignore", invalid="ignore"):
                found = theta, of_batch / len(rows), total / n, np.sqrt(squares), losses.mean()
            return found if all(np.isfinite(part).all() for part in found) else None

        constants = np.array([descent.eta0]), np.array([descent.mu])
        made = step_by_step(descent, constants, n, state, steps=steps, advance=advance, point=point)
        theta, of_batch, full, norms, loss = (
            np.array(part) for part in zip(*made.points, strict=True)
        )
        end = last_point(loss)
        weights, batch_gradient, full_gradient = (
            np.array([self.unpadded(vector) for vector in part[:end]])
            for part in (theta, of_batch, full)
        )
        return RecordedNetworkRun(
            descent=descent,
            batch_size=m,
            rate=descent.eta0,
            momentum=descent.momentum,
            schedule=schedule,
            weights=weights,
            examples=np.array(made.examples[:end]),
            batch_rows=tuple(made.batch_rows[:end]),
            learning_rate=np.array(made.learning_rate[:end]),
            loss=loss[:end],
            batch_gradient=batch_gradient,
            full_gradient=full_gradient,
            row_norms=norms[:end],
            diverged=made.diverged or end < len(loss),
        )
