"""The problem that an estimator poses on given rows, at the weights it has."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import BaseSGD
from ..estimators.input import check_finite
from ..estimators.parameters import check_parameters, lanes_of, seed_of, settings_of, unrated_lanes
from ..estimators.standardise import Scaling
from ..problem import Data, take
from ..scalars import make_plain, plain
from ..statistics.gradients import AtWeights

__all__ = ["Posed", "check_count", "check_estimator", "check_sequence", "pose", "pose_held_out"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Posed(AtWeights):
    """The problem that an estimator poses, at the weights it has.

    All of the features that are trained on: with ``standardize=True`` the standardised ones.
    ``estimator`` is a copy of the user's that knows the names, the classes and the shape of this
    problem.
    """

    scaling: Scaling
    estimator: BaseSGD


def pose(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    fitted: bool = True,
    rates: bool = False,
) -> Posed:
    """The problem of a fitted estimator on rows X, y; rows of weight zero are left out.

    The estimator is not touched. With ``fitted=False`` it need not be fitted: its weights are then
    those that a fit starts from. With ``rates`` the lanes have the learning rates of a fit.

    Raises
    ------
    NotFittedError
        If the estimator was not fitted.
    ValueError
        Bad input; the message names the argument.
    """
    check_estimator(estimator)
    begun = hasattr(estimator, "n_features_in_") and hasattr(estimator, "n_iter_")
    if fitted or begun:
        check_is_fitted(estimator)
    estimator = copy.copy(estimator)
    make_plain(estimator)
    estimator._validate_params()
    check_parameters(estimator)
    task = (estimator._again if begun else estimator._begin)(X, y, sample_weight)
    check_finite(estimator, task.X)
    kept = vars(estimator).get("_kept")
    scaling = estimator._scaling(task, task.weight, kept)
    rows = slice(None) if task.weight is None else np.flatnonzero(task.weight)
    weight = None if task.weight is None else task.weight[rows]
    X = _canonical(take(task.X, rows) if task.weight is not None else task.X)
    parts = X, task.y[rows], weight, scaling.offset, scaling.scale
    data = Data(*parts, checked=True)
    random = 0 if estimator.random_state is None else estimator.random_state
    settings = settings_of(estimator, task, data, None, seed_of(random))
    lanes = unrated_lanes(estimator, task)
    if rates:
        lanes, _ = lanes_of(estimator, task, data, settings, None)
    k = len(task.labels)
    start = np.zeros((k, data.d)), estimator._initial(k)
    model = scaling.to_trained(*estimator._model(vars(estimator))) if begun else start
    coef, intercept = model
    wide = np.asarray(coef, dtype=np.float64), np.asarray(intercept, dtype=np.float64)
    return Posed(data, lanes, settings, *wide, scaling, estimator)


def pose_held_out(posed: Posed, X: Any, y: ArrayLike | None = None, *, name: str) -> Posed:
    """Other rows as the same model sees them: its scaling, its classes and their weights, its
    names of features.

    Parameters
    ----------
    posed : Posed
        Of the training rows.
    X, y
        Rows with the features and targets of the training rows; not every class need be there.
    name : str
        Of the argument that the rows came in, for messages.

    Raises
    ------
    ValueError
        If they are not rows of the same problem.
    """
    model = copy.copy(posed.estimator)
    vars(model).update(model._attributes(posed.coef, posed.intercept))
    if hasattr(model, "class_weight"):  # those of the training rows are in the lanes
        model.class_weight = None
    try:
        task = model._again(X, y, None)
        check_finite(model, task.X)
        scaling = posed.scaling
        data = Data(_canonical(task.X), task.y, None, scaling.offset, scaling.scale, checked=True)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return replace(posed, data=data)


def _canonical(X: Any) -> Any:
    """X, or a copy of CSR in which duplicates are added up: squares are of sums."""
    if sp.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def check_estimator(estimator: Any) -> None:
    """Refuse what is no estimator of this package, and say what to pass instead.

    Raises
    ------
    ValueError
    """
    if isinstance(estimator, BaseSGD):
        return
    wanted = "estimator must be an SGDClassifier, SGDRegressor or SGDOneClassSVM"
    if isinstance(estimator, type):
        raise ValueError(f"{wanted}, got the class {estimator.__name__}: make an instance of it")
    got = f"{wanted}, got {type(estimator).__name__}"
    if hasattr(estimator, "steps") and hasattr(estimator, "named_steps"):
        got += (
            ". Pass the last step, pipeline[-1], and X as the steps before it make it, "
            "pipeline[:-1].transform(X)"
        )
    elif hasattr(estimator, "best_estimator_") or hasattr(estimator, "cv"):
        got += ". Pass best_estimator_ of the fitted search"
    elif hasattr(estimator, "estimator") or hasattr(estimator, "estimators_"):
        got += ". Pass one of the estimators that it is made of"
    raise ValueError(got)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """An integer of at least so much.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, Real) or number % 1 or number < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(number)


def check_sequence(name: str, values: Any, kind: type = object) -> tuple[Any, ...]:
    """The values of a sequence, as Python's own numbers or strings.

    Raises
    ------
    ValueError
        If it is no sequence, is empty, or a value is not of the kind; naming the argument.
    """
    what = {Real: " of numbers", str: " of strings"}.get(kind, "")
    wanted = f"{name} must be a sequence{what}, got {values!r}"
    if isinstance(values, (str, bytes)) or np.ndim(values) != 1:
        raise ValueError(wanted)
    found = tuple(plain(value) for value in values)
    if not found or not all(isinstance(value, kind) for value in found):
        raise ValueError(wanted)
    return found
