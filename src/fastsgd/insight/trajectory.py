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
from ..inputs.conversions import MatrixLike
from ..solver import State, run_epoch
from ..statistics.sample import sample_rows
from ..targets import targets_of, weights_of
from .checks import check_count, check_estimator
from .problem import EstimatorProblem, problem_of
from .runs import stretches

NO_NETWORKS = "two weights of a network say nothing of its objective, while all others move"

__all__ = ["Trajectory", "trajectory"]

Float = NDArray[np.float64]

GRID_SIDE = 60
"""Points of the grid of the objective along each side."""

ROWS_TOGETHER = 4
"""Single samples that the core may take together. A run that stops between them rounds otherwise
than a fit, so points are at multiples of this."""

SAMPLED_VALUES = 1 << 17
"""Stored numbers of X, about, in the sample of rows that the objective is worked out on."""


@dataclass(frozen=True)
class Trajectory:
    """Paths of two weights in training, and the objective around them.

    Attributes
    ----------
    names : tuple of two str
        Names of the two weights.
    paths : dict of str to ndarray of shape (p, 2)
        Values of the two weights at points of each run, from its start; by the label of the run.
    first : ndarray of shape (g,)
        Values of the first weight on the grid.
    second : ndarray of shape (g,)
        Values of the second weight on the grid.
    loss : ndarray of shape (g, g)
        Mean loss plus penalty; ``loss[i, j]`` is at the weights first[j] and second[i], with all
        other weights as the first run ended. If there are many rows, of a sample of them.

    See Also
    --------
    trajectory : Records one.
    TrajectoryDisplay : Draws one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import trajectory
    >>> X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]], [1.0, 3.0, 5.0, 7.0]
    >>> result = trajectory(SGDRegressor(), X, y, epochs=2)
    >>> result.names, result.paths["full batch"].shape, result.loss.shape
    (('w[0]', 'w[1]'), (3, 2), (60, 60))
    """

    names: tuple[str, str]
    paths: dict[str, Float]
    first: Float
    second: Float
    loss: Float


def trajectory(
    estimator: BaseSGD,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    coordinates: tuple[int, int] = (0, 1),
    epochs: int = 1,
    points: int = 300,
) -> Trajectory:
    """Train an estimator with one output and record two of its weights.

    Parameters
    ----------
    estimator : SGDClassifier of two classes, SGDRegressor or SGDOneClassSVM
        Clones of it are trained, without tolerance; it is not changed itself.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
        Training rows.
    y : array-like of shape (n_samples,), optional
        Their targets; none for SGDOneClassSVM.
    variants : dict of str to dict, optional
        Parameters of each run, by its label; by default single samples, batches of 32 and the full
        batch.
    coordinates : tuple of two int, default=(0, 1)
        Columns of X whose weights are recorded.
    epochs : int, default=1
        Epochs of each run.
    points : int, default=300
        Points of a path, approximately.

    Returns
    -------
    Trajectory
        The paths and the objective around them.

    Raises
    ------
    ValueError
        If an argument is not valid, or the estimator has several outputs.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import trajectory
    >>> X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]], [1.0, 3.0, 5.0, 7.0]
    >>> variants = {"slow": {"eta0": 0.01}, "fast": {"eta0": 0.1}}
    >>> paths = trajectory(SGDRegressor(), X, y, variants=variants).paths
    >>> bool(paths["fast"][-1, 0] > paths["slow"][-1, 0] > 0.0)
    True
    """
    check_estimator(estimator, linear=NO_NETWORKS)
    epochs, points = check_count("epochs", epochs), check_count("points", points)
    n, d = problem_of(clone(estimator), X, y, fitted=False).data.X.shape
    whole = [isinstance(j, (int, np.integer)) and 0 <= j < d for j in coordinates]
    if len(set(coordinates)) != 2 or len(whole) != 2 or not all(whole):
        raise ValueError(
            f"coordinates must be two of the columns 0 to {d - 1} of X, got {coordinates!r}"
        )
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
            raise ValueError(f"estimator must have one output, got {problem.lanes.k}")
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
    """The two weights (p, 2) at about ``points`` points, and weights and intercept at the end."""
    data, lanes, settings = problem.data, problem.lanes, problem.settings
    state = State(data, lanes, settings)
    state.set_weights(problem.coef, problem.intercept)
    batches = -(-data.n // min(settings.batch_size, data.n))
    marks = np.linspace(0, epochs * batches, min(points, epochs * batches) + 1)
    path = [problem.coef[0, which]]
    block = ROWS_TOGETHER if batches == data.n else 1
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
    """Values of the two weights on the grid, which contains all finite points and some margin."""
    points = points[np.isfinite(points).all(axis=1)]
    low, high = np.quantile(points, [0.0, 1.0], axis=0)
    room = 0.25 * np.maximum(high - low, 1e-3 * np.maximum(1.0, np.abs(high)))
    first, second = (
        np.linspace(a, b, GRID_SIDE) for a, b in zip(low - room, high + room, strict=True)
    )
    return first, second


def _slice(
    problem: EstimatorProblem,
    coef: Float,
    intercept: Float,
    which: list[int],
    first: Float,
    second: Float,
) -> Float:
    """The objective on the grid, (g, g), with all other weights as they are."""
    rows = sample_rows(problem.data, values=SAMPLED_VALUES)
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
    return loss + rest + float(problem.lanes.intercept_gradient[0] * intercept[0])
