"""Models on two weights: the built-in problems, and a user's model whose other weights are held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import column_or_1d

from ...estimators.base import BaseSGD
from ...estimators.classifier import SGDClassifier
from ...estimators.regressor import SGDRegressor
from ...inputs.conversions import MatrixLike
from ..checks import check_estimator
from ..problem import problem_of
from .networks import NETWORK_PROBLEMS
from .plane import FIXED_WEIGHT, Plane
from .records import View
from .sine import sine_loss

__all__ = ["NO_CLIP", "PROBLEMS", "TwoWeightModel", "built_in_model", "model_on_two_weights"]

PROBLEMS = ("least-squares", "logistic", "sine")
"""Built-in problems."""

LOSSES_OF_RESIDUALS = frozenset(
    ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile")
)
"""Losses that depend on z - y alone: the fixed part of a score can be subtracted from y."""

LAST_WEIGHTS: dict[str, Any] = {
    "learning_rate": "constant",
    "tol": None,
    "average": False,
    "warm_start": False,
}
"""Parameters by which a fit ends at the weights after its last step, which the page shows."""

NO_CLIP = 1e300
"""A clip_norm that no gradient reaches, set where the user sets none.

Without clipping the solver takes several single samples at once: the weights are the same but for
rounding, and there are none in between. With it each step is one of its own, so that a fit has the
same bits as the path.
"""


@dataclass(frozen=True)
class TwoWeightModel:
    """A model of which two coordinates move, and the rows that it is trained on.

    Attributes
    ----------
    title : str
    names : tuple of two str
        Names of the coordinates.
    estimator : SGDClassifier or SGDRegressor
    X, y
        The columns of those coordinates that are weights, perhaps with a third one, and targets.
    start : tuple of two float
        Coordinates at the start.
    intercept : int or None
        Which of the coordinates is the intercept.
    view : View or None
        What the page shows at first; None for a view of the runs.
    """

    title: str
    names: tuple[str, str]
    estimator: BaseSGD
    X: NDArray[np.floating]
    y: NDArray[Any]
    start: tuple[float, float] = (0.0, 0.0)
    intercept: int | None = None
    view: View | None = None

    def plane(self, parameters: dict[str, Any]) -> Plane:
        """The objective and the solver, with parameters set of the estimator."""
        estimator = clone(self.estimator).set_params(**parameters)
        rates = "eta0" in parameters
        problem = problem_of(estimator, self.X, self.y, fitted=False, rates=rates)
        return Plane(problem, self.intercept)


def built_in_model(problem: str, random_state: int) -> TwoWeightModel:
    """A built-in problem of 128 rows; the rows do not depend on ``random_state``.

    Raises
    ------
    ValueError
        If there is no problem of this name.
    ImportError
        For "sine", if its loss cannot be compiled.
    """
    if problem not in PROBLEMS:
        known = (*PROBLEMS, *NETWORK_PROBLEMS)
        raise ValueError(f"problem must be one of {known}, got {problem!r}")
    rng = np.random.default_rng(0)
    options: dict[str, Any]
    options = {"fit_intercept": False, "alpha": 0.0, "random_state": random_state}
    options |= LAST_WEIGHTS | {"clip_norm": NO_CLIP}
    names = ("weight 1", "weight 2")
    model: BaseSGD
    if problem == "sine":
        X = rng.choice([-1.0, 1.0], (128, 2)) * rng.uniform(0.7, 1.3, (128, 2))
        y = np.sin(X @ [2.0, 1.0]) + 0.2 * rng.normal(size=128)
        title = "Sine regression: saddles and shallow minima"
        model = SGDRegressor(sine_loss(), **options)
        view = (-5.8, 3.4), (-4.6, 4.6)
        return TwoWeightModel(title, names, model, X, y, (-2.3, -0.4), None, view)
    X = rng.normal(size=(128, 2)) @ [[1.0, 0.6], [0.0, 0.45]]
    score = X @ [1.5, -1.0]
    if problem == "least-squares":
        y = score + 0.7 * rng.normal(size=128)
        model, view = SGDRegressor(**options), ((-2.4, 3.0), (-2.7, 2.7))
        return TwoWeightModel("Least squares", names, model, X, y, (-1.8, 1.9), None, view)
    y = np.where(rng.uniform(size=128) < 1.0 / (1.0 + np.exp(-2.0 * score)), 1, -1)
    model, view = SGDClassifier("log_loss", **options), ((-2.6, 5.4), (-4.6, 3.4))
    return TwoWeightModel("Logistic regression", names, model, X, y, (-1.6, 2.4), None, view)


def model_on_two_weights(
    problem: str,
    estimator: BaseSGD | None,
    X: MatrixLike,
    y: ArrayLike | None,
    coordinates: tuple[int | str, int | str],
    random_state: int,
) -> TwoWeightModel:
    """A user's model, of which two coordinates move and all others have their fitted values.

    Without an estimator it is the regression that ``problem`` names.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.
    """
    if y is None:
        raise ValueError("y must be given with X")
    if estimator is None:
        models = {"logistic": SGDClassifier("log_loss"), "least-squares": SGDRegressor()}
        if problem not in models:
            raise ValueError(f"problem must be one of {tuple(models)} with X, got {problem!r}")
        estimator = models[problem].set_params(random_state=random_state)
    check_estimator(estimator, linear="the explorer steps through linear models")
    if not isinstance(estimator, (SGDClassifier, SGDRegressor)):
        name = type(estimator).__name__
        raise ValueError(f"estimator must be an SGDClassifier or SGDRegressor, got {name}")
    if not hasattr(estimator, "coef_"):
        estimator = clone(estimator).fit(X, y)
    fitted = problem_of(estimator, X, y)
    if fitted.lanes.k != 1:
        raise ValueError(f"estimator must have one output, got {fitted.lanes.k}")
    places = _places(estimator, coordinates, fitted.data.d)
    moving = [place for place in places if place is not None]
    intercept_moves = None in places
    rows = fitted.data.rows(slice(None))
    columns = rows[:, moving]
    columns = columns.toarray() if sp.issparse(columns) else columns
    fixed_coef = fitted.coef[0].copy()
    fixed_coef[moving] = 0.0
    fixed_scores = np.asarray(rows @ fixed_coef)
    fixed_scores = fixed_scores + (0.0 if intercept_moves else fitted.intercept[0])
    target = column_or_1d(y)
    title = f"{type(estimator).__name__} on two of its {fitted.columns} weights"
    title += ", the others held" * bool(fixed_scores.any())
    options: dict[str, Any]
    options = {"fit_intercept": intercept_moves, "standardize": False, "linear_scaling": False}
    options |= {"early_stopping": False, "random_state": random_state, **LAST_WEIGHTS}
    options["clip_norm"] = estimator.clip_norm or NO_CLIP
    if not fixed_scores.any():
        pass
    elif isinstance(estimator, SGDRegressor) and estimator.loss in LOSSES_OF_RESIDUALS:
        target = target - fixed_scores
    else:
        columns = np.column_stack([columns, fixed_scores / FIXED_WEIGHT])
        options["alpha"] = 0.0  # a penalty would shrink the fixed weight
        title += ", without penalty"
    known = getattr(estimator, "feature_names_in_", None)
    first, second = (
        "intercept" if j is None else f"weight of {j if known is None else known[j]}"
        for j in places
    )
    return TwoWeightModel(
        title,
        (first, second),
        clone(estimator).set_params(**options),
        np.ascontiguousarray(columns, dtype=fitted.data.dtype),
        target,
        intercept=places.index(None) if intercept_moves else None,
    )


def _places(estimator: BaseSGD, coordinates: Any, d: int) -> list[int | None]:
    """Numbers of the columns of two coordinates; None for the intercept."""
    known = list(getattr(estimator, "feature_names_in_", ()))
    wanted = "coordinates must be two different columns of X, by number or name, or 'intercept'"
    places: list[int | None] = []
    for coordinate in coordinates if isinstance(coordinates, (tuple, list)) else ():
        if coordinate == "intercept" and estimator.fit_intercept:
            places.append(None)
        elif isinstance(coordinate, str) and coordinate in known:
            places.append(known.index(coordinate))
        elif isinstance(coordinate, (int, np.integer)) and 0 <= coordinate < d:
            places.append(int(coordinate))
        else:
            raise ValueError(f"{wanted}, got {coordinate!r}")
    if len(places) != 2 or places[0] == places[1]:
        raise ValueError(f"{wanted}, got {coordinates!r}")
    return places
