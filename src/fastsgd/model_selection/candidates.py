"""Which candidates and splits of a search may share passes over X."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import validate_parameter_constraints

from ..estimators.base import BaseSGD
from ..estimators.classifier import SGDClassifier
from ..estimators.parameters import check_parameters
from ..estimators.regressor import SGDRegressor
from ..estimators.task import Task
from ..inputs.times import as_floats
from ..scalars import make_python_numbers

__all__ = ["ALPHAS", "alike", "last_step", "lone_step", "model_of", "numbers", "shares", "training"]

ALPHAS = tuple(np.logspace(-7.0, 0.0, 16).tolist())
"""A grid of penalties: 16 from 1e-7 to 1, evenly spaced in their logarithm."""


def last_step(estimator: Any) -> tuple[str, Any]:
    """What is trained last, and the prefix of its parameters: of a pipeline its last step."""
    if type(estimator) is Pipeline and estimator.steps:
        name, last = estimator.steps[-1]
        return f"{name}__", last
    return "", estimator


def lone_step(estimator: Any) -> bool:
    """Whether nothing changes X before the last step."""
    if type(estimator) is not Pipeline:
        return True
    return all(step is None or step == "passthrough" for _, step in estimator.steps[:-1])


def shares(estimator: Any) -> bool:
    """Whether several models of an estimator can be trained in one pass.

    With ``early_stopping`` each holds out rows of its own, with a backoff each starts again alone,
    and scikit-learn's callbacks are told of every epoch of a fit.
    """
    if type(estimator) not in (SGDClassifier, SGDRegressor):
        return False
    alone = estimator.early_stopping or estimator.on_divergence != "raise"
    return not (alone or vars(estimator).get("_skl_callbacks"))


def alike(
    candidates: Sequence[dict[str, Any]], which: Iterable[int], free: Callable[[str], bool]
) -> list[list[int]]:
    """Groups of candidates that differ in parameters alone whose name is ``free``.

    The order is that of the first of each.
    """
    groups: dict[Any, list[int]] = {}
    for c in which:
        fixed = {name: _key(value) for name, value in candidates[c].items() if not free(name)}
        groups.setdefault(frozenset(fixed.items()), []).append(c)
    return list(groups.values())


def _key(value: Any) -> tuple[Any, ...]:
    """What equal values have in common; values that cannot be hashed are equal to themselves."""
    try:
        hash(value)
    except TypeError:
        return id(value), None
    return value, type(value)


def model_of(base: BaseSGD, parameters: dict[str, Any], like: BaseSGD | None = None) -> BaseSGD:
    """A copy of the estimator with other parameters, checked; its numbers are Python's own.

    ``like`` is such a copy, of other values of the same parameters: the rest is not checked again.

    Raises
    ------
    ValueError
        If a parameter is not valid, or does not go with another.
    """
    model = copy.copy(base)
    vars(model).update(parameters)
    make_python_numbers(model)
    if like is None:
        model._validate_params()
    else:
        given = {name: getattr(model, name) for name in parameters}
        constraints = base._parameter_constraints
        validate_parameter_constraints(constraints, given, caller_name=type(base).__name__)
    if isinstance(model, SGDClassifier):
        model._check_multinomial()
    else:
        check_parameters(model)
    return model


def training(task: Task, train: Any, outputs: int) -> NDArray[np.int64] | None:
    """Rows that a split trains on; None where weights of zero elsewhere do not say the same.

    That is where it has a row twice, rows of weight zero alone, or not all of the classes.
    """
    try:
        rows = np.arange(len(task.y))[train]
    except (IndexError, TypeError):
        return None
    there = np.zeros(len(task.y), dtype=bool)
    there[rows] = True
    if not len(rows) or np.count_nonzero(there) != len(rows):
        return None
    if task.weight is not None and not task.weight[rows].any():
        return None
    if task.sign_targets and task.y.ndim == 1:
        classes = np.zeros(max(2, outputs), dtype=bool)
        classes[task.y[rows].astype(np.intp)] = True
        if not classes.all():
            return None
    return rows


def numbers(name: str, value: Any) -> list[float]:
    """The values of a parameter that are tried."""
    array = as_floats(name, value)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a list of finite numbers, got {value!r}")
    return array.tolist()
