"""The interactive explorer: runs of the solver on two weights of a model, as one HTML page.

Runs of a network, whose page shows the plane of its two features, are in ``network_exploration``.

Two weights are trained and all others are held, so that the objective is a landscape and each run a
path on it. Every run is one of the real solver, stepped batch by batch: its weights have the bits
of a fit, and the rows of its batches are those that a fit draws. At each step the page also shows
the gradient of the batch that comes next, the gradient of all rows, and the gradients of other
batches of as many rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Literal, overload

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike, NDArray

from ...estimators.base import BaseSGD
from ...inputs.conversions import MatrixLike
from ...scalars import python_number
from ..checks import check_sequence
from .choices import SCHEDULES, STABLE_FRACTIONS, Choices, check_steps
from .document import Document
from .models import built_in_model, model_on_two_weights
from .network_exploration import NetworkExploration, explore_network
from .networks import NETWORK_PROBLEMS
from .plane import Plane
from .plane_page import render_plane
from .records import Record, RecordedRun, View

__all__ = ["Exploration", "explore"]

Float = NDArray[np.float64]

OTHER_BATCHES = 60
"""Other batches whose gradients are shown at each step."""

NUMBERS_OF_GRADIENTS = 1 << 22
"""Coordinates of other batches' gradients that a page may hold."""

GRID_LOSSES = 80 << 20
"""Losses of single rows that are worked out for the landscape, about."""

LEAST_SIDE, MOST_SIDE = 24, 100
"""Least and most points of the landscape's grid along each side."""

MARGIN = 0.4
"""How far the landscape extends beyond the view at each side, in widths of the view."""


@dataclass(frozen=True)
class Exploration(Record, Document):
    """Recorded runs of the solver on two weights, and the landscape of the objective below them.

    A notebook shows the page; ``save`` writes it to a file. Runs are what a fit gives: for a run
    with two columns of X and no intercept
    ``clone(e.estimator).set_params(**run.parameters, max_iter=1).fit(e.X, e.y, coef_init=e.start)``
    ends, to the bit, at the point of the run at which its first epoch does.

    Attributes
    ----------
    title : str
        Title of the page.
    X : ndarray of shape (n, 1), (n, 2) or (n, 3)
        Rows that it is trained on: the columns of those coordinates that are weights, and perhaps
        a third one for all that does not move (see :func:`explore`).
    y : ndarray of shape (n,)
        Targets.
    batch_sizes : tuple of int
        Batch sizes to choose from.
    rates : tuple of float
        Learning rates to choose from.
    momenta : tuple of float
        Momenta to choose from.
    schedules : tuple of str
        Schedules to choose from.
    steps : int
        Updates of a run.
    view : tuple of two (low, high)
        Range of each coordinate that the page shows at first.
    names : tuple of two str
        Names of the coordinates.
    estimator : SGDClassifier or SGDRegressor
        Estimator that is trained, but for the parameters of each run.
    start : ndarray of shape (2,)
        Coordinates at the start of every run.
    runs : tuple of RecordedRun
        One for each combination of batch size, rate, momentum and schedule; the schedule changes
        fastest, the batch size slowest.
    curvature : float
        L, the largest curvature of the objective, by the bound of the loss's second derivative.
    first : ndarray of shape (s,)
        First coordinate of the points of the grid, which extends beyond the view.
    second : ndarray of shape (s,)
        Second coordinate of the points of the grid.
    landscape : ndarray of shape (s, s)
        Objective over all rows; ``landscape[i, j]`` is at (first[j], second[i]).
    minimizer : ndarray of shape (2,)
        Coordinates of the least objective found within the view.
    minimum : float
        The objective there.

    See Also
    --------
    explore : Records runs.

    Examples
    --------
    >>> from fastsgd.insight import explore
    >>> exploration = explore("least-squares", rates=(0.1,), steps=20)
    >>> exploration.batch_sizes, exploration.momenta, exploration.schedules
    ((1, 16, 128), (0.0, 0.9), ('constant', 'invscaling', 'cosine'))
    >>> len(exploration.runs)
    18
    >>> exploration.html[:15]
    '<!doctype html>'
    """

    def _render(self) -> str:
        return render_plane(self)


@overload
def explore(
    problem: Literal["network", "spiral"],
    *,
    X: MatrixLike | None = None,
    y: ArrayLike | None = None,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    batch_sizes: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    momenta: Sequence[float] = (0.0, 0.9),
    schedules: Sequence[str] | None = None,
    steps: int = 200,
    random_state: int = 0,
    path: str | Path | None = None,
) -> NetworkExploration: ...


@overload
def explore(
    problem: Literal["logistic", "least-squares", "sine"] = "logistic",
    *,
    X: MatrixLike | None = None,
    y: ArrayLike | None = None,
    estimator: BaseSGD | None = None,
    coordinates: tuple[int | str, int | str] = (0, 1),
    start: ArrayLike | None = None,
    batch_sizes: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    momenta: Sequence[float] = (0.0, 0.9),
    schedules: Sequence[str] | None = None,
    steps: int = 200,
    random_state: int = 0,
    path: str | Path | None = None,
) -> Exploration: ...


@overload
def explore(
    problem: str = "logistic",
    *,
    X: MatrixLike | None = None,
    y: ArrayLike | None = None,
    estimator: BaseSGD | None = None,
    coordinates: tuple[int | str, int | str] = (0, 1),
    start: ArrayLike | None = None,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    batch_sizes: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    momenta: Sequence[float] = (0.0, 0.9),
    schedules: Sequence[str] | None = None,
    steps: int = 200,
    random_state: int = 0,
    path: str | Path | None = None,
) -> Exploration | NetworkExploration: ...


def explore(
    problem: str = "logistic",
    *,
    X: MatrixLike | None = None,
    y: ArrayLike | None = None,
    estimator: BaseSGD | None = None,
    coordinates: tuple[int | str, int | str] = (0, 1),
    start: ArrayLike | None = None,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    batch_sizes: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    momenta: Sequence[float] = (0.0, 0.9),
    schedules: Sequence[str] | None = None,
    steps: int = 200,
    random_state: int = 0,
    path: str | Path | None = None,
) -> Exploration | NetworkExploration:
    """Record runs of the solver on two weights, or of a network, for every choice of parameters.

    The parameters are batch size, learning rate, momentum and schedule.

    Of a linear model all weights but two are held at their fitted values. If the loss depends on
    z - y alone, the part of the score z that they make is subtracted from y. Else, which includes
    every classifier, it becomes a third feature with a weight so large that no step changes it; the
    penalty, which would shrink that weight, is then left out.

    Of a network with two features all parameters are trained, and the page shows the probability
    over the plane, with the rows as large as their gradients are long.

    Parameters
    ----------
    problem : {"logistic", "least-squares", "sine", "network", "spiral"}, default="logistic"
        Without X a built-in problem. "sine" is y = sin(x . w), which is not convex and has saddles
        and shallow minima; its loss is a :class:`~fastsgd.losses.CompiledLoss`. With X and no
        estimator, what is fitted: a logistic or a least-squares regression. "network" and "spiral"
        are multilayer perceptrons with a logistic output, on two half moons and on two arms of a
        spiral, or with X either of them on your own rows.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), optional
        Rows of your own. Each point of a run needs the losses of all of them: thousands of rows
        take a second or two, 100,000 most of a minute. For a network at most 512 rows of two
        features, which are standardised.
    y : array-like of shape (n_samples,), optional
        Their targets; for a network two classes.
    estimator : SGDClassifier or SGDRegressor, optional
        Estimator of your own, with one output; it is not changed. If it is not fitted, a clone is
        fitted to X and y.
    coordinates : tuple of two int or str, default=(0, 1)
        The two weights that move: columns of X by number or by name, or "intercept". With
        ``standardize=True`` they are weights of the standardised features.
    start : array-like of shape (2,), optional
        Coordinates at the start; by default 0, or those of the built-in problem.
    hidden : sequence of int, optional
        Units of the one or two hidden layers of a network, each from 1 to 16; by default 8, or 6
        and 6 for "spiral".
    activation : {"identity", "logistic", "tanh", "relu"}, optional
        Function of the hidden layers of a network; by default "tanh".
    batch_sizes : sequence of int, optional
        Rows of a batch; by default 1, 16 and all rows.
    rates : sequence of float, optional
        Values of eta0; by default 0.02, 0.1, 0.5 and 1.8 times 1 / L, L the largest curvature;
        of a network 0.5, 2 and 5.
    momenta : sequence of float, default=(0.0, 0.9)
        Values of ``momentum``, in [0, 1).
    schedules : sequence of str, optional
        By default "constant", "invscaling" and "cosine", of a network without "invscaling"; or
        "step", "exponential", "linear", "polynomial", "one_cycle". Schedules that have an end reach
        it with the last step.
    steps : int, default=200
        Updates of each run, from 1 to 2000.
    random_state : int, default=0
        Seed of the order of rows, of the other batches whose gradients are shown, and of the first
        parameters of a network.
    path : str or Path, optional
        File that the page is written to.

    Returns
    -------
    Exploration or NetworkExploration
        The runs; a notebook shows it as the page.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.
    ImportError
        If the page is made without bokeh, or "sine" without a C compiler and numba.

    Examples
    --------
    >>> from fastsgd.insight import explore
    >>> X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]], [1.0, 3.0, 5.0, 7.0]
    >>> exploration = explore("least-squares", X=X, y=y, coordinates=(0, "intercept"), steps=5)
    >>> exploration.names, exploration.batch_sizes, len(exploration.runs)
    (('weight of 0', 'intercept'), (1, 4), 48)

    A network of one hidden layer of three units:

    >>> exploration = explore("network", X=X, y=["a", "a", "b", "b"], hidden=(3,), steps=5)
    >>> exploration.network.sizes, exploration.classes.tolist(), len(exploration.runs)
    ((2, 3, 1), ['a', 'b'], 24)
    """
    if batch_sizes is not None:
        batch_sizes = check_sequence("batch_sizes", batch_sizes, Real)
    if rates is not None:
        rates = check_sequence("rates", rates, Real)
    momenta = check_sequence("momenta", momenta, Real)
    if schedules is not None:
        schedules = check_sequence("schedules", schedules, str)
    seed = python_number(random_state)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(
            f"random_state must be an integer from 0 to 2**32 - 1, got {random_state!r}"
        )
    if isinstance(problem, str) and problem in NETWORK_PROBLEMS:
        for name, given in (("estimator", estimator), ("start", start)):
            if given is not None:
                raise ValueError(f"{name} must be None with problem {problem!r}, got {given!r}")
        if coordinates != (0, 1):
            raise ValueError(f"coordinates must be left out with problem {problem!r}")
        choices = batch_sizes, rates, momenta, schedules
        found = explore_network(problem, X, y, hidden, activation, choices, steps, random_state)
        if path is not None:
            found.save(path)
        return found
    if hidden is not None or activation is not None:
        raise ValueError(f"hidden and activation are for networks, got problem {problem!r}")
    if schedules is None:
        schedules = "constant", "invscaling", "cosine"
    if X is not None:
        model = model_on_two_weights(problem, estimator, X, y, coordinates, random_state)
    elif estimator is not None or y is not None:
        raise ValueError("X must be given along with y or an estimator")
    else:
        model = built_in_model(problem, random_state)
    origin = np.asarray(model.start if start is None else start, dtype=np.float64)
    if origin.shape != (2,) or not np.isfinite(origin).all():
        raise ValueError(f"start must be two finite numbers, got {start!r}")
    n = len(model.X)
    sizes = sorted({min(m, n) for m in (1, 16, n)} if batch_sizes is None else set(batch_sizes))
    plane = model.plane({})
    curvature = plane.curvature()
    if rates is None:
        rates = [float(f"{fraction / curvature:.2g}") for fraction in STABLE_FRACTIONS]
    choices = Choices(tuple(sizes), tuple(rates), tuple(momenta), tuple(schedules))
    choices.check(n)
    check_steps(steps)
    points = (steps + 1) * math.prod(map(len, choices))
    others = max(1, min(OTHER_BATCHES, NUMBERS_OF_GRADIENTS // (2 * points)))
    runs = []
    for m, rate, beta, schedule in itertools.product(*choices):
        parameters = {"batch_size": m, "eta0": rate, "momentum": beta, "learning_rate": schedule}
        parameters |= SCHEDULES[schedule](steps / -(-n // m))
        runs.append(model.plane(parameters).record(parameters, origin, steps, others))
    view = model.view or _view(runs, origin)
    side = int(np.clip(math.sqrt(GRID_LOSSES / n), LEAST_SIDE, MOST_SIDE))
    first, second = (
        np.linspace(low - MARGIN * (high - low), high + MARGIN * (high - low), side)
        for low, high in view
    )
    landscape = plane.objective(np.stack(np.meshgrid(first, second), axis=-1))
    minimizer, minimum = _minimum(plane, runs, view, first, second, landscape)
    exploration = Exploration(
        title=model.title,
        names=model.names,
        estimator=model.estimator,
        X=model.X,
        y=model.y,
        start=origin,
        runs=tuple(runs),
        **choices._asdict(),
        curvature=curvature,
        steps=steps,
        view=view,
        first=first,
        second=second,
        landscape=landscape,
        minimizer=minimizer,
        minimum=minimum,
    )
    if path is not None:
        exploration.save(path)
    return exploration


def _view(runs: Sequence[RecordedRun], start: Float) -> View:
    """Ranges that contain the start, the best point of all runs, and what is not far from it."""
    best = min(runs, key=lambda run: run.loss.min())
    end = best.weights[best.loss.argmin()].astype(np.float64)
    reach = 1.5 * max(float(np.linalg.norm(end - start)), 1e-6)
    low, high = np.minimum(start, end), np.maximum(start, end)
    for run in runs:
        near = run.weights[np.linalg.norm(run.weights - end, axis=1) <= reach]
        low = np.min([low, *near], axis=0)
        high = np.max([high, *near], axis=0)
    room = np.maximum(0.15 * (high - low), 0.05 * (high - low).max())
    first, second = zip((low - room).tolist(), (high + room).tolist(), strict=True)
    return first, second


def _minimum(
    plane: Plane,
    runs: Sequence[RecordedRun],
    view: View,
    first: Float,
    second: Float,
    landscape: Float,
) -> tuple[Float, float]:
    """Coordinates of the least objective found, and the objective there.

    It is the least of all points of the runs, of the grid within the view, and of a search by
    Nelder and Mead's method from the best point of that grid.
    """
    inside = [
        (axis >= low) & (axis <= high)
        for axis, (low, high) in zip((first, second), view, strict=True)
    ]
    first, second = first[inside[0]], second[inside[1]]
    landscape = landscape[np.ix_(inside[1], inside[0])]
    i, j = np.unravel_index(np.nanargmin(landscape), landscape.shape)
    start = np.array([first[j], second[i]])

    def objective(w: Float) -> float:
        return float(plane.objective(w[None])[0])

    search = scipy.optimize.minimize(objective, start, bounds=[*view], method="Nelder-Mead")
    candidates = [(float(search.fun), search.x), (float(landscape[i, j]), start)]
    for run in runs:
        t = int(run.loss.argmin())
        candidates.append((float(run.loss[t]), run.weights[t].astype(np.float64)))
    minimum, minimizer = min(candidates, key=lambda candidate: candidate[0])
    return minimizer, minimum
