"""The problem of an estimator on given rows: what training minimises, at the weights it has."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import BaseSGD
from ..estimators.input import check_finite
from ..estimators.parameters import check_parameters, lanes_of, seed_of, settings_of, unrated_lanes
from ..estimators.standardise import Scaling
from ..inputs.conversions import MatrixLike
from ..problem import Data, take
from ..scalars import make_python_numbers
from ..statistics.gradients import ProblemAtWeights
from .checks import check_estimator

__all__ = ["EstimatorProblem", "held_out_problem", "problem_of"]


@dataclass(frozen=True)
class EstimatorProblem(ProblemAtWeights):
    """The problem of an estimator at its weights, in the features that are trained on.

    With ``standardize=True`` those are the standardised features, and so are the weights.

    Attributes
    ----------
    data, lanes, settings, coef, intercept
        As in ``ProblemAtWeights``.
    scaling : Scaling
        From the columns of X to the features that are trained on.
    estimator : BaseSGD
        A copy of the user's estimator that knows the columns and the classes of this problem.
    """

    scaling: Scaling
    estimator: BaseSGD


def problem_of(
    estimator: BaseSGD,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    fitted: bool = True,
    rates: bool = False,
) -> EstimatorProblem:
    """The problem of an estimator on rows X, y; rows of weight zero are left out.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        It is not changed.
    X, y, sample_weight
        As in ``fit``.
    fitted : bool, default=True
        Whether the estimator must be fitted. If it need not be and is not, the weights are those
        that a fit starts from.
    rates : bool, default=False
        Whether the lanes get the learning rates of a fit.

    Raises
    ------
    NotFittedError
        If the estimator must be fitted and is not.
    ValueError
        If an argument is not valid; the message names it.
    """
    check_estimator(estimator, linear="a network is no linear problem")
    has_model = hasattr(estimator, "n_features_in_") and hasattr(estimator, "n_iter_")
    if fitted or has_model:
        check_is_fitted(estimator)
    estimator = copy.copy(estimator)
    make_python_numbers(estimator)
    estimator._validate_params()
    check_parameters(estimator)
    task = (estimator._again if has_model else estimator._begin)(X, y, sample_weight)
    check_finite(estimator, task.X)
    scaling = estimator._scaling(task, task.weight, vars(estimator).get("_continuation"))
    rows = slice(None) if task.weight is None else np.flatnonzero(task.weight)
    weight = None if task.weight is None else task.weight[rows]
    X = _without_duplicates(task.X if task.weight is None else take(task.X, rows))
    data = Data(X, task.y[rows], weight, scaling.offset, scaling.scale, checked=True)
    random = 0 if estimator.random_state is None else estimator.random_state
    settings = settings_of(estimator, task, data, None, seed_of(random))
    lanes = unrated_lanes(estimator, task)
    if rates:
        lanes, _ = lanes_of(estimator, task, data, settings, None)
    k = len(task.labels)
    model = np.zeros((k, data.d)), estimator._initial(k)
    if has_model:
        model = scaling.to_trained(*estimator._present_model())
    coef, intercept = (np.asarray(part, dtype=np.float64) for part in model)
    return EstimatorProblem(data, lanes, settings, coef, intercept, scaling, estimator)


def held_out_problem(
    training: EstimatorProblem, X: MatrixLike, y: ArrayLike | None = None, *, name: str
) -> EstimatorProblem:
    """The problem of the same model on other rows, which are treated as in prediction.

    They are standardised with the means and deviations of the training rows, and have the classes,
    the class weights and the names of features of these.

    Parameters
    ----------
    training : EstimatorProblem
        Of the training rows.
    X, y
        Rows with the features and targets of the training rows. Classes may be missing.
    name : str
        Argument that the rows were passed as, for messages.

    Raises
    ------
    ValueError
        If features or classes are not those of the training rows.
    """
    model = copy.copy(training.estimator)
    vars(model).update(model._attributes(training.coef, training.intercept))
    if hasattr(model, "class_weight"):  # the lanes have the class weights of the training rows
        model.class_weight = None
    try:
        task = model._again(X, y, None)
        check_finite(model, task.X)
        scaling, X = training.scaling, _without_duplicates(task.X)
        data = Data(X, task.y, None, scaling.offset, scaling.scale, checked=True)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return replace(training, data=data)


def _without_duplicates(X: Any) -> Any:
    """X, or a copy of CSR whose duplicate entries are added up, so that its data can be squared."""
    if sp.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X
