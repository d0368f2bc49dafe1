"""Paths of the solver over the contours of its objective, in two of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from ..estimators.base import BaseSGD
from ..exceptions import DivergenceError
from ..solver import State, run_epoch
from ..statistics.sample import sample_rows
from ..targets import targets_of, weights_of
from .checks import check_count, check_estimator
from .problem import EstimatorProblem, problem_of
from .runs import stretches

__all__ = ["Trajectory", "trajectory"]

Float = NDArray[np.float64]

GRID = 60
"""Points of the contours, each way."""

BLOCK = 4
"""Rows that the core may take together: a run of single rows that stops between them has other
roundings."""

VALUES = 1 << 17
"""Numbers that are worked on at once."""


@dataclass(frozen=True)
class Trajectory:
    """Paths in two weights, and the objective around them.

    Attributes
    ----------
    names : tuple of str
        Of the two weights.
    paths : dict of str to ndarray of shape (p, 2)
        By the label of a run; from its start.
    first, second : ndarray of shape (g,)
        Values of the two weights on the grid.
    loss : ndarray of shape (g, g)
        The objective at ``loss[i, j]``: ``second[i]``, ``first[j]``, and all other weights where
        the first run ended. Of a sample of rows where there are many.
    """

    names: tuple[str, str]
    paths: dict[str, Float]
    first: Float
    second: Float
    loss: Float


def trajectory(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    coordinates: tuple[int, int] = (0, 1),
    epochs: int = 1,
    points: int = 300,
) -> Trajectory:
    """Run an estimator of one output, and note two of its weights on the way.

    Parameters
    ----------
    estimator : SGDClassifier of two classes, SGDRegressor or SGDOneClassSVM
        It is not touched; a clone is run, without tolerance, with ``max_iter=epochs``.
    X, y
        What it is trained on.
    variants : dict of str to dict, optional
        Parameters of each run, by its label; None: single samples, batches of 32 and the full
        batch.
    coordinates : tuple of two int, default=(0, 1)
        The two features.
    epochs : int, default=1
    points : int, default=300
        Points of a path, about.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        Bad input; or more outputs than one.
    """
    check_estimator(estimator)
    epochs, points = check_count("epochs", epochs), check_count("points", points)
    n, d = problem_of(clone(estimator), X, y, fitted=False).data.X.shape
    whole = [isinstance(j, (int, np.integer)) and 0 <= j < d for j in coordinates]
    if len(set(coordinates)) != 2 or len(whole) != 2 or not all(whole):
        raise ValueError(f"coordinates must be two of the features 0 to {d - 1}: {coordinates!r}")
    if variants is None:
        sizes = {"single samples": 1, "batches of 32": min(32, n), "full batch": n}
        variants = {label: {"batch_size": m} for label, m in sizes.items()}
    paths: dict[str, Float] = {}
    end: tuple[EstimatorProblem, Float, Float] | None = None
    for label, parameters in variants.items():
        run = clone(estimator).set_params(max_iter=epochs, tol=None, **parameters)
        if run.random_state is None:
            run.set_params(random_state=0)
        problem = problem_of(run, X, y, fitted=False, rates=True)
        if problem.lanes.k != 1:
            raise ValueError(f"a path is of one output, the estimator has {problem.lanes.k}")
        path, coef, intercept = _path(problem, list(coordinates), epochs, points)
        paths[str(label)] = path
        end = end or (problem, coef, intercept)
    assert end is not None
    names = vars(estimator).get("feature_names_in_", getattr(X, "columns", None))
    shown = tuple(f"w[{j}]" if names is None else str(names[j]) for j in coordinates)
    grid = _grid(np.concatenate(list(paths.values())))
    loss = _slice(*end, list(coordinates), *grid)
    return Trajectory(shown, paths, *grid, loss)  # type: ignore[arg-type]


def _path(
    problem: EstimatorProblem, which: list[int], epochs: int, points: int
) -> tuple[Float, Float, Float]:
    """The two weights at about so many points, and the model at the end."""
    data, lanes, settings = problem.data, problem.lanes, problem.settings
    state = State(data, lanes, settings)
    state.set_weights(problem.coef, problem.intercept)
    batches = -(-data.n // min(settings.batch_size, data.n))
    marks = np.linspace(0, epochs * batches, min(points, epochs * batches) + 1)
    path = [problem.coef[0, which]]
    block = BLOCK if batches == data.n else 1
    for stretch in stretches(marks, batches, epochs, block=block):
        try:
            run_epoch(data, lanes, settings, state, batches=stretch)
        except DivergenceError:
            break
        path.append(np.asarray(state.weights(settings)[0], dtype=np.float64)[0, which])
    model = (np.asarray(part, dtype=np.float64) for part in state.weights(settings))
    coef, intercept = model
    return np.array(path), coef, intercept


def _grid(points: Float) -> tuple[Float, Float]:
    """Values of the two weights: around all finite points, with some room."""
    points = points[np.isfinite(points).all(axis=1)]
    low, high = np.quantile(points, [0.0, 1.0], axis=0)
    room = 0.25 * np.maximum(high - low, 1e-3 * np.maximum(1.0, np.abs(high)))
    first, second = (np.linspace(a, b, GRID) for a, b in zip(low - room, high + room, strict=True))
    return first, second


def _slice(
    problem: EstimatorProblem,
    coef: Float,
    intercept: Float,
    which: list[int],
    first: Float,
    second: Float,
) -> Float:
    """The objective on the grid, the other weights as they are."""
    rows = sample_rows(problem.data, values=VALUES)
    rows = np.arange(problem.data.n)[rows] if isinstance(rows, slice) else rows
    parts = problem.data, problem.lanes, problem.settings
    y = targets_of(*parts, rows)
    s = weights_of(*parts, y, rows)
    X = problem.data.rows(rows)
    pair = X[:, which]
    pair = pair.toarray() if problem.data.sparse else np.asarray(pair)
    others = coef[0].copy()
    others[which] = 0.0
    base = np.asarray(X @ others)[:, None] + intercept
    alpha, l1 = float(problem.lanes.alpha[0]), float(problem.lanes.l1[0])
    loss = np.empty((len(second), len(first)))
    for i, v in enumerate(second):
        z = base + pair[:, :1] * first + pair[:, 1:] * v
        value = problem.settings.terms.value(z, y, problem.settings.loss_parameter)
        loss[i] = (s * value).sum(axis=0) / len(rows)
        loss[i] += 0.5 * alpha * (first**2 + v**2) + l1 * (np.abs(first) + abs(v))
    rest = 0.5 * alpha * (others @ others) + l1 * np.abs(others).sum()
    return loss + rest + float(problem.lanes.pull[0] * intercept[0])
