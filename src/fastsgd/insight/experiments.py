"""Experiments on one's own data, one call each: what a parameter does to the course of a fit.

Every course is a run of the solver from the same start and seed, cut into stretches; between them
the objective of all rows is worked out, on the clock of nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from ..estimators.base import BaseSGD
from ..exceptions import DivergenceError
from ..schedules import Schedule
from ..solver import BLOWN_UP, State, run_epoch
from ..statistics.objective import Objective
from .problem import Posed, check_count, check_estimator, check_sequence, pose, pose_held_out

__all__ = [
    "Course",
    "Experiment",
    "compare",
    "compare_batch_sizes",
    "compare_momentum",
    "compare_sampling",
    "compare_schedules",
    "linear_scaling",
    "noise_floor",
]

Float = NDArray[np.float64]

POINTS = 60
"""Points of a course, about: dense at its beginning."""


@dataclass(frozen=True)
class Course:
    """One run.

    Attributes
    ----------
    label : str
    parameters : dict
        What was set for it.
    step, examples : ndarray of shape (p,)
        Updates made and rows seen; the first point is the start.
    seconds : ndarray of shape (p,)
        Time of the training alone.
    loss : ndarray of shape (p,)
        Mean loss of all rows and penalty, over the outputs together; ends where a run diverged.
    test_loss : ndarray of shape (p,)
        Mean loss of the test rows, without the penalty, as the trained model sees them:
        standardised like the training rows, with their classes and class weights. NaN without any.
    diverged : bool
    """

    label: str
    parameters: dict[str, Any]
    step: NDArray[np.int64]
    examples: NDArray[np.int64]
    seconds: Float
    loss: Float
    test_loss: Float
    diverged: bool


@dataclass(frozen=True)
class Experiment:
    """Courses that differ in one thing.

    Attributes
    ----------
    title : str
    courses : tuple of Course
    """

    title: str
    courses: tuple[Course, ...]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Tidy data, a dict a point: ``pandas.DataFrame(experiment.records)``."""
        names = "step", "examples", "seconds", "loss", "test_loss"
        return [
            {"run": one.label, **dict(zip(names, map(float, row), strict=True))}
            for one in self.courses
            for row in zip(*(getattr(one, name) for name in names), strict=True)
        ]

    def plot(self, *, x: str = "examples", y: str = "loss", ax: Any = None) -> Any:
        """Draw the courses against "step", "examples" or "seconds"; an ``ExperimentDisplay``."""
        from .displays import ExperimentDisplay

        return ExperimentDisplay(self, x=x, y=y).plot(ax=ax)


def compare(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    variants: Mapping[str, Mapping[str, Any]],
    epochs: int = 3,
    test: tuple[Any, Any] | None = None,
    title: str = "",
) -> Experiment:
    """Run an estimator with each of some sets of parameters.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        It is not touched; a clone is, without tolerance, and with ``max_iter=epochs``.
    X, y
        What it is trained on.
    variants : dict of str to dict
        Parameters of each course, by its label.
    epochs : int, default=3
    test : tuple (X_test, y_test), optional
        Rows for ``test_loss``; columns as in X, labels among those of y.
    title : str, optional

    Returns
    -------
    Experiment

    Raises
    ------
    ValueError
        Bad input; the message names the argument.
    """
    check_estimator(estimator)
    epochs = check_count("epochs", epochs)
    if test is not None and not (isinstance(test, (tuple, list)) and len(test) in (1, 2)):
        raise ValueError(f"test must be a tuple (X_test, y_test), got {type(test).__name__}")
    courses = []
    for label, parameters in variants.items():
        run = clone(estimator).set_params(max_iter=epochs, tol=None, **parameters)
        if run.random_state is None:
            run.set_params(random_state=0)
        posed = pose(run, X, y, fitted=False, rates=True)
        held = None if test is None else pose_held_out(posed, *test, name="test")
        courses.append(_course(str(label), dict(parameters), posed, held, epochs))
    return Experiment(title, tuple(courses))


def compare_batch_sizes(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    epochs: int = 3,
    test: tuple[Any, Any] | None = None,
) -> Experiment:
    """Single samples, mini-batches and the full batch, each at the rate that suits it.

    ``batch_sizes`` None: 1, 32 and all rows. With ``test`` rows it shows what small and large
    batches do to generalisation.
    """
    check_estimator(estimator)
    n = pose(clone(estimator), X, y, fitted=False).data.n
    sizes = (1, min(32, n), n)
    if batch_sizes is not None:
        sizes = tuple(
            check_count("batch_sizes", m) for m in check_sequence("batch_sizes", batch_sizes)
        )
    names = {1: "single samples", n: f"full batch, {n:,} rows"}
    variants = {names.get(m, f"batches of {m:,}"): {"batch_size": m} for m in sizes}
    return compare(estimator, X, y, variants=variants, epochs=epochs, test=test, title="batch size")


def compare_sampling(
    estimator: BaseSGD, X: Any, y: ArrayLike | None = None, *, epochs: int = 3
) -> Experiment:
    """Rows reshuffled, drawn with replacement, and as they are stored."""
    variants = {
        "reshuffled each epoch": {"sampling": "reshuffle", "shuffle": True},
        "with replacement": {"sampling": "replacement", "shuffle": True},
        "as stored": {"sampling": "sequential", "shuffle": True},
    }
    return compare(estimator, X, y, variants=variants, epochs=epochs, title="order of the rows")


def compare_schedules(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    schedules: Sequence[str] = ("auto", "constant", "invscaling", "linear", "cosine", "one_cycle"),
    epochs: int = 5,
) -> Experiment:
    """Schedules of the learning rate side by side, each from the model's eta0 or one found.

    "constant" and "invscaling" are ``Schedule`` objects here: as names they would mean 0.01.
    """
    names = check_sequence("schedules", schedules, str)
    check_estimator(estimator)
    own = {"power_t": estimator.power_t, "warmup_steps": estimator.warmup_steps}
    shapes = {name: Schedule(name, **own) for name in ("constant", "invscaling")}
    variants = {name: {"learning_rate": shapes.get(name, name)} for name in names}
    return compare(estimator, X, y, variants=variants, epochs=epochs, title="schedule")


def compare_momentum(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    momenta: Sequence[float] = (0.0, 0.5, 0.9),
    epochs: int = 3,
) -> Experiment:
    """Momentum at equal effective rates: eta0 found from the data, times 1 - momentum."""
    betas = check_sequence("momenta", momenta, Real)
    variants = {f"momentum {beta:g}": {"momentum": float(beta)} for beta in betas}
    return compare(estimator, X, y, variants=variants, epochs=epochs, title="momentum")


def linear_scaling(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    eta0: float,
    batch_sizes: Sequence[int] = (1, 8, 64, 512),
    epochs: int = 3,
) -> Experiment:
    """The rate scaled with the batch (Goyal et al. 2017), ``eta0`` being that of single samples.

    Courses agree, against examples seen, while steps are small; where the largest batch meets
    2 / L it is left behind, or diverges.
    """
    if not isinstance(eta0, Real):
        raise ValueError(f"eta0 must be a number, got {eta0!r}")
    fixed = {"eta0": float(eta0), "linear_scaling": True, "learning_rate": "constant"}
    sizes = [check_count("batch_sizes", m) for m in check_sequence("batch_sizes", batch_sizes)]
    variants = {f"batches of {m:,}, rate {eta0 * m:.3g}": {**fixed, "batch_size": m} for m in sizes}
    return compare(estimator, X, y, variants=variants, epochs=epochs, title="linear scaling")


def noise_floor(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    *,
    rates: Sequence[float],
    epochs: int = 5,
) -> Experiment:
    """Constant rates: the larger one is faster, and stops falling at a higher loss."""
    variants = {
        f"constant rate {rate:.3g}": {"learning_rate": "constant", "eta0": float(rate)}
        for rate in check_sequence("rates", rates, Real)
    }
    return compare(estimator, X, y, variants=variants, epochs=epochs, title="noise floor")


# ------------------------------------------------------------------ one course


def stretches(marks: Float, batches: int, epochs: int, *, block: int = 1) -> Iterator[int]:
    """Numbers of batches between points at ``marks``, none beyond the end of an epoch.

    With ``block`` the points are at whole blocks of so many batches.
    """
    epoch, within = np.divmod(np.round(marks).astype(np.int64), batches)
    points = epoch * batches + within // block * block
    points = np.union1d(points, batches * np.arange(1, epochs + 1))
    for stretch in np.diff(points[(points > 0) & (points <= batches * epochs)], prepend=0):
        yield int(stretch)


def _course(
    label: str, parameters: dict[str, Any], posed: Posed, held: Posed | None, epochs: int
) -> Course:
    data, lanes, settings = posed.data, posed.lanes, posed.settings
    state, size = State(data, lanes, settings), min(settings.batch_size, data.n)
    state.set_weights(posed.coef, posed.intercept)
    rows: list[tuple[int, int, float, float, float]] = []
    examples, seconds, diverged = 0, 0.0, False
    objective = Objective(data, lanes, settings)
    of_held = None if held is None else Objective(held.data, held.lanes, held.settings)

    def note() -> bool:
        """Add a point, unless the run has blown up."""
        model = tuple(np.asarray(part, dtype=np.float64) for part in state.weights(settings))
        with np.errstate(over="ignore", invalid="ignore"):
            loss = _all_lanes(posed, objective(*model)[0])
            test = np.nan
            if held is not None and of_held is not None:
                test = _all_lanes(held, of_held.loss(*model)[0])
        if rows and not loss < BLOWN_UP * abs(rows[0][3]):
            return False
        rows.append((int(state.t.max()), examples, seconds, loss, test))
        return True

    note()
    batches = -(-data.n // size)
    for stretch in stretches(np.geomspace(1, batches * epochs, POINTS), batches, epochs):
        before, begin = state.epoch * data.n + state.row, time.perf_counter()
        try:
            run_epoch(data, lanes, settings, state, batches=stretch)
        except DivergenceError:
            diverged = True
            break
        seconds += time.perf_counter() - begin
        examples += state.epoch * data.n + state.row - before
        diverged = not note()
        if diverged:
            break
    step, seen, clock, loss, test = (np.array(column) for column in zip(*rows, strict=True))
    return Course(label, parameters, step, seen, clock, loss, test, diverged)


def _all_lanes(posed: Posed, values: Float) -> float:
    """The sum over the outputs; with a loss that couples them each has that of the whole."""
    return float(values[0] if posed.settings.terms.coupled else values.sum())
