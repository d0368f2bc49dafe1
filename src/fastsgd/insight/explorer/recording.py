"""The interactive explorer: runs of the solver on two coordinates, as one HTML file.

Two weights w_a and w_b are trained and all others held, so that the objective is a landscape and a
run a path on it. Every run is one of the real solver, stepped batch by batch; its path is the
solver's, bit for bit, and the rows of each batch are those that it drew. Beside each step stand

    g_B     the gradient of the batch that comes next
    grad L  that of all rows
    others  gradients of OTHERS other batches of as many rows, the same batches at every step

in float64 at the solver's weights, penalty included but for its L1 part. ``explore_page`` draws it.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import column_or_1d

from ... import _core
from ...estimators.base import BaseSGD
from ...estimators.classifier import SGDClassifier
from ...estimators.regressor import SGDRegressor
from ...exceptions import DivergenceError
from ...losses import CompiledLoss
from ...scalars import plain
from ...solver import BLOWN_UP, State, run_epoch
from ...targets import targets_of, weights_of
from ..problem import Posed, check_estimator, check_sequence, pose

__all__ = ["PROBLEMS", "Exploration", "RecordedRun", "explore", "sine_loss"]

Float = NDArray[np.float64]
Box = tuple[tuple[float, float], tuple[float, float]]

PROBLEMS = ("least-squares", "logistic", "sine")
"""Built-in problems."""

OTHERS = 60
"""Other gradients that are shown at each step."""

VALUES = 1 << 22
"""Slopes worked out at once, and numbers of other gradients that a page may hold."""

SIDE, BEYOND = 100, 0.4
"""Points of the landscape's grid along each side, and how far it goes beyond the view, in views."""

RATES = (0.02, 0.1, 0.5, 1.8)
"""Default rates, in units of 1 / L: at 2 / L plain gradient descent diverges."""

SHIFTED = frozenset(
    ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile")
)
"""Losses of z - y alone: what is held fixed of a score can be taken from y."""

HELD = 2.0**60
"""Weight of a third feature that is what is held fixed of a score, divided by this.

Both are exact, a power of two; and the weight does not move, since its steps are far less than
half its last digit.
"""

SCHEDULES: dict[str, Callable[[float], dict[str, float]]] = {
    "constant": lambda epochs: {},
    "invscaling": lambda epochs: {"power_t": 0.5},
    "step": lambda epochs: {"step_epochs": epochs / 3.0},
    "exponential": lambda epochs: {"decay": 0.01 ** (1.0 / max(1.0, epochs))},
    "linear": lambda epochs: {"total_epochs": epochs},
    "polynomial": lambda epochs: {"total_epochs": epochs},
    "cosine": lambda epochs: {"total_epochs": epochs},
    "one_cycle": lambda epochs: {"total_epochs": epochs},
}
"""Schedules that can be shown, and their constants for a run of so many epochs."""


@dataclass(frozen=True)
class RecordedRun:
    """One run of the solver: T updates, and T + 1 points, the start being the first.

    Attributes
    ----------
    parameters : dict
        What was set of ``Exploration.estimator`` for it.
    batch_size : int
    rate : float
        eta0
    momentum : float
    schedule : str
    weights : ndarray of shape (T + 1, 2), of the solver's dtype
        The two coordinates as the solver had them.
    held : ndarray of shape (T + 1,) or None
        Weight of the feature that holds all other coordinates; it never changes.
    examples : ndarray of shape (T + 1,), int64
        Rows seen.
    rows : tuple of T + 1 ndarrays of int64
        Rows of the batch that follows each point.
    learning_rate : ndarray of shape (T + 1,)
        Rate of the update that follows each point.
    loss : ndarray of shape (T + 1,)
        Mean loss of all rows and penalty.
    sampled, true : ndarray of shape (T + 1, 2)
        Gradient of the batch that follows, and of all rows.
    others : ndarray of shape (T + 1, c, 2)
        Gradients of c other batches; c is 0 where a batch is all rows.
    diverged : bool
        The run ended before its time.
    """

    parameters: dict[str, Any]
    batch_size: int
    rate: float
    momentum: float
    schedule: str
    weights: NDArray[np.floating]
    held: NDArray[np.floating] | None
    examples: NDArray[np.int64]
    rows: tuple[NDArray[np.int64], ...]
    learning_rate: Float
    loss: Float
    sampled: Float
    true: Float
    others: NDArray[np.float64]
    diverged: bool


@dataclass(frozen=True)
class Exploration:
    """Recorded runs and the landscape below them.

    ``save`` writes the page; a notebook shows it. A run is what a fit gives:
    ``clone(e.estimator).set_params(**run.parameters, max_iter=1).fit(e.X, e.y, coef_init=...)``
    ends where the run's first epoch does, to the bit.

    Attributes
    ----------
    title : str
    names : tuple of two str
        Of the coordinates.
    estimator : SGDClassifier or SGDRegressor
    X, y
        What was trained on: the two columns, and perhaps a third (``explore``).
    start : ndarray of shape (2,)
    runs : tuple of RecordedRun
        Of all choices: batch sizes, then rates, momenta, schedules, the last one changing fastest.
    batch_sizes, rates, momenta, schedules : tuple
        The choices.
    curvature : float
        L, by the bound on the loss's second derivative: rates are seen beside 1 / L.
    steps : int
        Updates of a run.
    box : tuple of two (low, high)
        What is seen at first of each coordinate.
    first, second : ndarray of shape (s,)
        The grid's coordinates; it goes beyond the box.
    landscape : ndarray of shape (s, s)
        Objective at (first[j], second[i]), over all rows.
    best : ndarray of shape (2,)
        Where it is least, of what is shown.
    least : float
        The objective there.
    """

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
    box: Box
    first: Float
    second: Float
    landscape: Float
    best: Float
    least: float

    @functools.cached_property
    def html(self) -> str:
        """The page: one document that asks for nothing else."""
        from .page import render

        return render(self)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file; its path."""
        path = Path(path)
        path.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        inside = self.html.replace("&", "&amp;").replace('"', "&quot;")
        return (
            f'<iframe title="{self.title}" srcdoc="{inside}" '
            'style="width: 100%; height: 900px; border: 0"></iframe>'
        )


def explore(
    problem: str = "logistic",
    *,
    X: Any = None,
    y: ArrayLike | None = None,
    estimator: BaseSGD | None = None,
    coordinates: tuple[int | str, int | str] = (0, 1),
    start: ArrayLike | None = None,
    batch_sizes: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    momenta: Sequence[float] = (0.0, 0.9),
    schedules: Sequence[str] = ("constant", "invscaling", "cosine"),
    steps: int = 200,
    random_state: int = 0,
    path: str | Path | None = None,
) -> Exploration:
    """Runs of the solver on two coordinates, for every choice of batch, rate, momentum, schedule.

    Parameters
    ----------
    problem : {"logistic", "least-squares", "sine"}, default="logistic"
        Without X a built-in problem; "sine" is not convex, y = sin(x . w) with its saddles and
        shallow minima, through a :class:`~fastsgd.losses.CompiledLoss`. With X and no estimator
        what is fitted: a logistic or a least-squares regression.
    X, y : optional
        Your rows. All of them are looked at for every point: thousands take a second or two,
        100,000 most of a minute.
    estimator : SGDClassifier or SGDRegressor, optional
        Yours, of one output; fitted on X and y if it is not yet. It is not touched.
    coordinates : tuple of two, default=(0, 1)
        Which weights move: columns of X by number or by name, or "intercept". All other weights,
        and the intercept, are held at their fitted values: the part of each row's score that they
        make is taken from y where the loss is one of z - y, and is else a third feature whose
        weight is so large that no step changes it. In that second case (every classifier) the
        penalty is left out, which would shrink it. With ``standardize=True`` weights are those of
        the standardised features.
    start : array-like of shape (2,), optional
        Where runs begin; None: at 0, or where the built-in problem says.
    batch_sizes : sequence of int, optional
        None: 1, 16 and all rows.
    rates : sequence of float, optional
        Values of eta0; None: 0.02, 0.1, 0.5 and 1.8 times 1 / L, L the largest curvature.
    momenta : sequence of float, default=(0.0, 0.9)
    schedules : sequence of str, default=("constant", "invscaling", "cosine")
        Or "step", "exponential", "linear", "polynomial", "one_cycle"; those that have an end reach
        it with the last step.
    steps : int, default=200
        Updates of each run.
    random_state : int, default=0
        Of the order of rows, and of the other batches shown.
    path : str or Path, optional
        File to write the page to.

    Returns
    -------
    Exploration

    Raises
    ------
    ValueError
        Bad input; the message names the argument.
    ImportError
        Without bokeh (when the page is made), or for "sine" without a C compiler and numba.
    """
    given = {"batch_sizes": batch_sizes, "rates": rates, "momenta": momenta, "schedules": schedules}
    for name, values in given.items():
        if values is not None:
            given[name] = check_sequence(name, values, str if name == "schedules" else Real)
    batch_sizes, rates, momenta, schedules = given.values()
    if isinstance(random_state, bool) or plain(random_state) not in range(2**32):
        raise ValueError(f"random_state must be an integer from 0 to 2**32 - 1: {random_state!r}")
    if X is None:
        if estimator is not None or y is not None:
            raise ValueError("X must be given along with y or an estimator")
        asked = _built_in(problem, random_state)
    else:
        asked = _two_coordinates(problem, estimator, X, y, coordinates, random_state)
    origin = np.asarray(asked.start if start is None else start, dtype=np.float64)
    if origin.shape != (2,) or not np.isfinite(origin).all():
        raise ValueError(f"start must be two finite numbers, got {start!r}")
    n = len(asked.X)
    sizes = sorted({min(m, n) for m in (1, 16, n)} if batch_sizes is None else set(batch_sizes))
    plane = asked.plane({})
    curvature = plane.curvature()
    if rates is None:
        rates = [float(f"{part / curvature:.2g}") for part in RATES]
    choices = tuple(map(tuple, (sizes, rates, momenta, schedules)))
    _check(choices, n, steps)
    cloud = max(1, min(OTHERS, VALUES // (2 * (steps + 1) * math.prod(map(len, choices)))))
    runs = []
    for m, rate, beta, schedule in itertools.product(*choices):
        parameters = {"batch_size": m, "eta0": rate, "momentum": beta, "learning_rate": schedule}
        parameters |= SCHEDULES[schedule](steps / -(-n // m))
        runs.append(asked.plane(parameters).record(parameters, origin, steps, cloud))
    box = asked.box or _box(runs, origin)
    side = int(np.clip(math.sqrt(20.0 * VALUES / n), 24, SIDE))
    first, second = (
        np.linspace(low - BEYOND * (high - low), high + BEYOND * (high - low), side)
        for low, high in box
    )
    landscape = plane.objective(np.stack(np.meshgrid(first, second), axis=-1))
    best, least = _lowest(plane, runs, box, first, second, landscape)
    found = Exploration(
        *(asked.title, asked.names, asked.model, asked.X, asked.y, origin, tuple(runs)),
        *choices,
        *(curvature, steps, box, first, second, landscape, best, least),
    )
    if path is not None:
        found.save(path)
    return found


def _check(choices: tuple[tuple[Any, ...], ...], n: int, steps: Any) -> None:
    """Whether there is something to choose, and each choice is one; what else the solver checks."""
    names = "batch_sizes", "rates", "momenta", "schedules"
    for name, values in zip(names, choices, strict=True):
        if not values or len(set(values)) < len(values):
            raise ValueError(
                f"{name} must be different from each other, and one at least: {values}"
            )
    wrong = [m for m in choices[0] if isinstance(m, bool) or m != int(m) or not 1 <= m <= n]
    if wrong:
        raise ValueError(f"batch_sizes must be integers from 1 to {n:,} rows, got {wrong}")
    slow = [rate for rate in choices[1] if not 0.0 < rate < math.inf]
    if slow:
        raise ValueError(f"rates must be positive numbers, got {slow}")
    unmoved = [beta for beta in choices[2] if not 0.0 <= beta < 1.0]
    if unmoved:
        raise ValueError(f"momenta must be in [0, 1), got {unmoved}")
    unknown = [name for name in choices[3] if name not in SCHEDULES]
    if unknown:
        raise ValueError(f"schedules must be of {tuple(SCHEDULES)}, got {unknown}")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 2000:
        raise ValueError(f"steps must be an integer from 1 to 2000, got {steps!r}")


# ------------------------------------------------------------------ what is looked at


@dataclass(frozen=True)
class _Asked:
    """A model of two coordinates, and the rows it is trained on.

    ``intercept`` is the place of the intercept among the coordinates, or None; ``box`` the view
    (low, high) of each, or None for that of the runs.
    """

    title: str
    names: tuple[str, str]
    model: BaseSGD
    X: NDArray[np.floating]
    y: NDArray[Any]
    start: tuple[float, float]
    intercept: int | None = None
    box: Box | None = None

    def plane(self, parameters: dict[str, Any]) -> _Plane:
        """The problem as the solver has it, with some parameters of the model."""
        model = clone(self.model).set_params(**parameters)
        rates = "eta0" in parameters
        return _Plane(pose(model, self.X, self.y, fitted=False, rates=rates), self.intercept)


PLAIN = {"learning_rate": "constant", "tol": None, "average": False, "warm_start": False}
"""Parameters that every model here has: its last weights are the path."""

NO_CLIP = 1e300
"""A clip_norm that no gradient reaches, where the user set none.

Plain steps of single samples are otherwise taken several rows at once, which gives the same weights
but for rounding, and none in between: with it each step is one, and a fit has the bits of the path.
"""


def _built_in(problem: str, random_state: int) -> _Asked:
    """The built-in problems: 128 rows each, of a seed that is always the same."""
    if problem not in PROBLEMS:
        raise ValueError(f"problem must be one of {PROBLEMS}, got {problem!r}")
    rng = np.random.default_rng(0)
    common = {"fit_intercept": False, "alpha": 0.0, "random_state": random_state}
    common |= PLAIN | {"clip_norm": NO_CLIP}
    names = ("weight 1", "weight 2")
    if problem == "sine":
        X = rng.choice([-1.0, 1.0], (128, 2)) * rng.uniform(0.7, 1.3, (128, 2))
        y = np.sin(X @ [2.0, 1.0]) + 0.2 * rng.normal(size=128)
        title = "Sine regression: saddles and shallow minima"
        box = (-5.8, 3.4), (-4.6, 4.6)
        return _Asked(
            title, names, SGDRegressor(sine_loss(), **common), X, y, (-2.3, -0.4), None, box
        )
    X = rng.normal(size=(128, 2)) @ [[1.0, 0.6], [0.0, 0.45]]
    score = X @ [1.5, -1.0]
    if problem == "least-squares":
        y = score + 0.7 * rng.normal(size=128)
        box = (-2.4, 3.0), (-2.7, 2.7)
        model = SGDRegressor(**common)
        return _Asked("Least squares", names, model, X, y, (-1.8, 1.9), None, box)
    y = np.where(rng.uniform(size=128) < 1.0 / (1.0 + np.exp(-2.0 * score)), 1, -1)
    box = (-2.6, 5.4), (-4.6, 3.4)
    model = SGDClassifier("log_loss", **common)
    return _Asked("Logistic regression", names, model, X, y, (-1.6, 2.4), None, box)


def _two_coordinates(
    problem: str,
    estimator: BaseSGD | None,
    X: Any,
    y: ArrayLike | None,
    coordinates: tuple[int | str, int | str],
    random_state: int,
) -> _Asked:
    """Two coordinates of a user's model, with all others at their fitted values."""
    if y is None:
        raise ValueError("y must be given with X")
    if estimator is None:
        kinds = {"logistic": SGDClassifier("log_loss"), "least-squares": SGDRegressor()}
        if problem not in kinds:
            raise ValueError(f"problem must be one of {tuple(kinds)} with X, got {problem!r}")
        estimator = kinds[problem].set_params(random_state=random_state)
    check_estimator(estimator)
    if not isinstance(estimator, (SGDClassifier, SGDRegressor)):
        name = type(estimator).__name__
        raise ValueError(f"estimator must be an SGDClassifier or SGDRegressor, got {name}")
    if not hasattr(estimator, "coef_"):
        estimator = clone(estimator).fit(X, y)
    posed = pose(estimator, X, y)
    if posed.lanes.k != 1:
        raise ValueError(f"estimator must have one output, got {posed.lanes.k}")
    places = _places(estimator, coordinates, posed.data.d)
    columns = [place for place in places if place is not None]
    coef, moves = posed.coef[0], None in places
    rows = posed.data.rows(slice(None))
    own = rows[:, columns]
    own = own.toarray() if sp.issparse(own) else own
    rest = coef.copy()
    rest[columns] = 0.0
    held = np.asarray(rows @ rest) + (0.0 if moves else posed.intercept[0])
    target = column_or_1d(y)
    title = f"{type(estimator).__name__} on two of its {posed.columns} weights"
    title += ", the others held" * bool(held.any())
    options = {"fit_intercept": moves, "standardize": False, "linear_scaling": False}
    options |= {"early_stopping": False, "random_state": random_state, **PLAIN}
    options["clip_norm"] = estimator.clip_norm or NO_CLIP
    if held.any() and isinstance(estimator, SGDRegressor) and estimator.loss in SHIFTED:
        target = target - held
    elif held.any():
        own, options["alpha"] = np.column_stack([own, held / HELD]), 0.0
        title += ", without penalty"
    known = getattr(estimator, "feature_names_in_", None)
    names = [
        "intercept" if j is None else f"weight of {j if known is None else known[j]}"
        for j in places
    ]
    return _Asked(
        title,
        (names[0], names[1]),
        clone(estimator).set_params(**options),
        np.ascontiguousarray(own, dtype=posed.data.dtype),
        target,
        (0.0, 0.0),
        places.index(None) if moves else None,
    )


def _places(estimator: BaseSGD, coordinates: Any, d: int) -> list[int | None]:
    """Columns of the coordinates; None is the intercept."""
    known = list(getattr(estimator, "feature_names_in_", ()))
    wanted = "coordinates must be two different columns of X, by number or name, or 'intercept'"
    places: list[int | None] = []
    for one in coordinates if isinstance(coordinates, (tuple, list)) else ():
        if one == "intercept" and estimator.fit_intercept:
            places.append(None)
        elif isinstance(one, str) and one in known:
            places.append(known.index(one))
        elif isinstance(one, (int, np.integer)) and 0 <= one < d:
            places.append(int(one))
        else:
            raise ValueError(f"{wanted}, got {one!r}")
    if len(places) != 2 or places[0] == places[1]:
        raise ValueError(f"{wanted}, got {coordinates!r}")
    return places


# ------------------------------------------------------------------ runs


class _Plane:
    """The objective of two coordinates, and runs of the solver on it."""

    def __init__(self, posed: Posed, intercept: int | None) -> None:
        self.posed, self.intercept = posed, intercept
        self.problem = posed.data, posed.lanes, posed.settings
        F = np.asarray(posed.data.rows(slice(None)))  # (n, 1), (n, 2), (n, 3)
        moving = 2 if intercept is None else 1
        self.held = F.shape[1] > moving
        self.fixed = HELD * F[:, moving:].sum(axis=1, keepdims=True)  # (n, 1)
        self.features = F[:, :moving]
        if intercept is not None:
            self.features = np.insert(self.features, intercept, 1.0, axis=1)
        everything = np.arange(len(F))
        self.y = targets_of(*self.problem, everything)  # (n, 1)
        self.s = weights_of(*self.problem, self.y, everything)  # (n, 1)
        self.count = max(1, int((self.s > 0).sum()))
        self.penalised = np.array([float(j != intercept) for j in range(2)])

    def state(self, origin: Float) -> State:
        """The solver's state at a start."""
        coef = [w for j, w in enumerate(origin) if j != self.intercept] + [HELD] * self.held
        b = 0.0 if self.intercept is None else origin[self.intercept]
        state = State(*self.problem)
        state.set_weights([coef], [b])
        return state

    def coordinates(self, state: State) -> tuple[NDArray[np.floating], Any]:
        """The two coordinates (2,), and the weight of what is held, or None."""
        coef, b = state.last_weights()
        moving = coef[0, : 2 if self.intercept is None else 1]
        if self.intercept is not None:
            moving = np.insert(moving, self.intercept, b[0])
        return moving.copy(), coef[0, -1] if self.held else None

    def curvature(self) -> float:
        """Largest curvature of the objective, by the bound on the loss's second derivative."""
        smooth = self.posed.settings.terms.smoothness
        smooth = smooth if 0.0 < smooth < np.inf else 1.0
        F = np.sqrt(self.s) * self.features
        return float(smooth * np.linalg.eigvalsh(F.T @ F / len(F))[-1] + self.posed.lanes.alpha[0])

    def penalty(self, W: Float) -> Float:
        """Penalty (p,) at weights (p, 2)."""
        lanes, W = self.posed.lanes, W * self.penalised
        return 0.5 * lanes.alpha * np.square(W).sum(axis=1) + lanes.l1 * np.abs(W).sum(axis=1)

    def objective(self, W: Float) -> Float:
        """Mean loss of all rows and penalty at weights (..., 2)."""
        flat = W.reshape(-1, 2)
        return np.concatenate([self.values(part) for part in self.parts(flat)]).reshape(
            W.shape[:-1]
        )

    def parts(self, W: Float) -> list[Float]:
        """Weights (p, 2) in pieces, as many as keep slopes of all rows within ``VALUES``."""
        size = max(1, VALUES // len(self.features))
        return [W[first : first + size] for first in range(0, len(W), size)]

    def terms(self, W: Float, *, slope: bool = False) -> Float:
        """Losses of all rows, or their slopes, at weights (p, 2); shape (p, n)."""
        settings = self.posed.settings
        with np.errstate(over="ignore", invalid="ignore"):
            z = W @ self.features.T + self.fixed.T
            y = np.broadcast_to(self.y.T, z.shape)
            options = {"parameter": settings.loss_parameter, "slope": slope}
            return _core.loss_at(settings.loss, z, y, **options)

    def values(self, W: Float) -> Float:
        """The objective (p,) at weights (p, 2)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.terms(W) @ self.s[:, 0] / self.count + self.penalty(W)

    def record(
        self, parameters: dict[str, Any], origin: Float, steps: int, cloud: int
    ) -> RecordedRun:
        """Step the solver, then work out losses and gradients at its weights."""
        state, (data, lanes, settings) = self.state(origin), self.problem
        m, course, diverged = min(settings.batch_size, data.n), [], False
        order, drawn = np.zeros(0, dtype=np.int64), -1
        rows, rates, examples = [], [], []
        for step in range(steps + 1):
            if state.epoch != drawn:
                drawn = state.epoch
                order = _core.order(settings, data.n, drawn)
            course.append(self.coordinates(state))
            rows.append(order[state.row : state.row + m])
            e = state.epoch + (state.row // m) / -(-data.n // m)
            rates.append(settings.schedule.rate(lanes.eta0, lanes.mu, state.t + 1, e)[0])
            examples.append(state.epoch * data.n + state.row)
            if step == steps:
                break
            try:
                run_epoch(*self.problem, state, batches=1)
            except DivergenceError:
                diverged = True
                break
            if not np.isfinite(state.last_weights()[0]).all():
                diverged = True
                break
        weights = np.array([point for point, _ in course])
        held = np.array([weight for _, weight in course]) if self.held else None
        loss = self.objective(weights.astype(np.float64))
        bad = ~(loss < BLOWN_UP * max(abs(loss[0]), 1e-300))
        end = max(1, int(bad.argmax())) if bad.any() else len(loss)
        weights, rows, loss = weights[:end], rows[:end], loss[:end]
        gradients = self.gradients(weights.astype(np.float64), rows, m, cloud)
        return RecordedRun(
            *(parameters, m, float(lanes.eta0[0]), settings.momentum),
            *(parameters["learning_rate"], weights, None if held is None else held[:end]),
            *(np.array(examples[:end]), tuple(rows), np.array(rates[:end]), loss, *gradients),
            diverged or bool(bad.any()),
        )

    def gradients(
        self, W: Float, rows: Sequence[NDArray[np.int64]], m: int, cloud: int
    ) -> tuple[Float, Float, Float]:
        """Gradients at weights (p, 2): of the batch of each, of all rows, of other batches."""
        n, F = len(self.features), self.features
        rng = np.random.default_rng((self.posed.settings.seed, m))
        sets = [rng.choice(n, m, replace=False) for _ in range(cloud if m < n else 0)]
        used, places = np.unique(np.array(sets, dtype=np.int64), return_inverse=True)
        of = np.repeat(np.arange(len(sets)), m), places.ravel()
        pick = sp.csr_array((np.ones(len(of[0])), of), shape=(len(sets), len(used)))
        counted = np.maximum(1.0, pick @ (self.s[used] > 0))  # (c, 1)
        sampled, true, others, at = [], [], [], 0
        for part in self.parts(W):
            c = self.terms(part, slope=True) * self.s[:, 0]
            true.append(c @ F / self.count)
            few = c[:, used].T  # (u, p)
            each = [pick @ (few * F[used][:, [j]]) / counted for j in range(2)]
            others.append(np.stack(each, axis=-1).swapaxes(0, 1))  # (p, c, 2)
            for slopes, batch in zip(c, rows[at : at + len(part)], strict=True):
                count = max(1, (self.s[batch] > 0).sum())
                sampled.append(slopes[batch] @ F[batch] / count)
            at += len(part)
        penalty = self.posed.lanes.alpha * self.penalised * W
        found = np.array(sampled), np.concatenate(true), np.concatenate(others)
        return found[0] + penalty, found[1] + penalty, found[2] + penalty[:, None]


def _box(runs: Sequence[RecordedRun], origin: Float) -> Box:
    """A view of the start, the best point, and of the runs what is not far from it."""
    best = min(runs, key=lambda run: run.loss.min())
    end = best.weights[best.loss.argmin()].astype(np.float64)
    reach = 1.5 * max(np.linalg.norm(end - origin), 1e-6)
    low, high = np.minimum(origin, end), np.maximum(origin, end)
    for run in runs:
        inside = run.weights[np.linalg.norm(run.weights - end, axis=1) <= reach]
        low = np.min([low, *inside], axis=0)
        high = np.max([high, *inside], axis=0)
    room = np.maximum(0.15 * (high - low), 0.05 * (high - low).max())
    first, second = zip((low - room).tolist(), (high + room).tolist(), strict=True)
    return first, second


def _lowest(
    plane: _Plane, runs: Sequence[RecordedRun], box: Box, first: Float, second: Float, values: Float
) -> tuple[Float, float]:
    """Where the objective is least, of the runs, the grid within the box, and from there down."""
    seen = [
        (axis >= low) & (axis <= high)
        for axis, (low, high) in zip((first, second), box, strict=True)
    ]
    first, second, values = first[seen[0]], second[seen[1]], values[np.ix_(seen[1], seen[0])]
    i, j = np.unravel_index(np.nanargmin(values), values.shape)
    begin = np.array([first[j], second[i]])
    polished = scipy.optimize.minimize(
        lambda w: float(plane.values(w[None])[0]), begin, bounds=box, method="Nelder-Mead"
    )
    candidates = [(float(polished.fun), polished.x), (float(values[i, j]), begin)]
    for run in runs:
        t = int(run.loss.argmin())
        candidates.append((float(run.loss[t]), run.weights[t].astype(np.float64)))
    least, best = min(candidates, key=lambda one: one[0])
    return best, least


# ------------------------------------------------------------------ sine regression

SINE = """
#include <math.h>
#include <stdint.h>
void sine_value(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0.5 * (sin(z[i]) - y[i]) * (sin(z[i]) - y[i]);
}
void sine_slope(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = (sin(z[i]) - y[i]) * cos(z[i]);
}
"""


@functools.cache
def sine_loss() -> CompiledLoss:
    """(sin(z) - y)^2 / 2, compiled: by a C compiler where there is one, or by numba.

    Its second derivative, cos 2z + y sin z, is below 2 where |y| is below 1.

    Raises
    ------
    ImportError
        If there is neither.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    value, slope = _sine_by_numba() if compiler is None else _sine_by_compiler(compiler)
    return CompiledLoss(value, slope, name="sine", smoothness=2.0, targets="real")


def _sine_by_compiler(compiler: str) -> tuple[Any, Any]:
    number = ctypes.POINTER(ctypes.c_double)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "sine.c", Path(folder) / "sine.so"
        source.write_text(SINE)
        command = [compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
        subprocess.run(command, check=True, capture_output=True)
        loaded = ctypes.CDLL(str(library))  # stays mapped when the file is gone
    functions = loaded.sine_value, loaded.sine_slope
    for function in functions:
        function.argtypes, function.restype = [number, number, number, ctypes.c_int64], None
    return functions


def _sine_by_numba() -> tuple[Any, Any]:
    try:
        import numba
    except ImportError as error:
        raise ImportError(
            "the sine problem is a loss of its own, to be compiled: it needs a C compiler "
            "(apt-get install gcc) or numba (pip install numba)"
        ) from error
    array = numba.types.CPointer(numba.types.float64)
    signature = numba.types.void(array, array, array, numba.types.int64)

    def value(z: Any, y: Any, out: Any, n: int) -> None:
        for i in range(n):
            out[i] = 0.5 * (math.sin(z[i]) - y[i]) ** 2

    def slope(z: Any, y: Any, out: Any, n: int) -> None:
        for i in range(n):
            out[i] = (math.sin(z[i]) - y[i]) * math.cos(z[i])

    return numba.cfunc(signature)(value), numba.cfunc(signature)(slope)
