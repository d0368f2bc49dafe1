"""The candidates and the splits of a search, checked."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv
from sklearn.utils._param_validation import validate_parameter_constraints

from ..estimators.base import BaseSGD
from ..estimators.classifier import SGDClassifier
from ..estimators.parameters import check_parameters
from ..estimators.task import Task
from ..inputs.times import as_floats
from ..losses import find

__all__ = ["ALPHAS", "grid", "known", "models_of", "numbers", "splits_of"]

ALPHAS = tuple(np.logspace(-7.0, 0.0, 16).tolist())
"""The penalties that are tried where none are given: 16 from 1e-7 to 1."""


def numbers(name: str, value: Any) -> list[float]:
    """The values of a parameter that are tried."""
    array = as_floats(name, value)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a list of finite numbers, got {value!r}")
    return array.tolist()


def known(**options: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _several(value: Any) -> bool:
    """Whether a parameter is a list of values to try."""
    return isinstance(value, (list, tuple, np.ndarray)) or np.ndim(value) > 0


def grid(estimator: Any) -> list[dict[str, Any]]:
    """The candidates; alpha runs fastest, and epsilon, which costs passes, slowest."""
    tried: dict[str, list[Any]] = {}
    if estimator.epsilons is not None:
        if find(estimator.loss).parameter != "epsilon":
            raise ValueError(f"epsilons go with a loss that has one, not with {estimator.loss!r}")
        tried["epsilon"] = numbers("epsilons", estimator.epsilons)
    if getattr(estimator, "class_weights", None) is not None:
        if not len(estimator.class_weights):
            raise ValueError("class_weights must be a list of candidates for class_weight, got []")
        if estimator.class_weight is not None:
            raise ValueError("class_weight and class_weights are both given")
        tried["class_weight"] = list(estimator.class_weights)
    if _several(estimator.eta0):
        tried["eta0"] = numbers("eta0", estimator.eta0)
    if _several(estimator.l1_ratio):
        if estimator.penalty != "elasticnet":
            raise ValueError("several values of l1_ratio go with penalty='elasticnet'")
        tried["l1_ratio"] = numbers("l1_ratio", estimator.l1_ratio)
    tried["alpha"] = numbers("alphas", ALPHAS if estimator.alphas is None else estimator.alphas)
    names = sorted(tried)
    found = [dict(zip(tried, values, strict=True)) for values in product(*tried.values())]
    return [{name: candidate[name] for name in names} for candidate in found]


def models_of(base: BaseSGD, candidates: Sequence[dict[str, Any]]) -> list[BaseSGD]:
    """A copy of the estimator for each candidate, checked."""
    models = []
    for candidate in candidates:
        validate_parameter_constraints(
            base._parameter_constraints, candidate, caller_name=type(base).__name__
        )
        model = copy.copy(base)
        vars(model).update(candidate)
        if isinstance(model, SGDClassifier):
            model._check_multinomial()
        else:
            check_parameters(model)
        models.append(model)
    return models


def _column(name: str, value: Any, n: int) -> NDArray[Any]:
    """A value for each row, shape (n,)."""
    array = np.asarray(value)
    array = array.ravel() if array.shape == (n, 1) else array
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    return array


def splits_of(
    cv: Any, task: Task, options: dict[str, Any], *, classifier: bool
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows of every split; ``options`` are the splitter's, by name."""
    y, rows, found = task.user_y, np.arange(len(task.y)), []
    if options.get("groups") is not None:
        options = {**options, "groups": _column("groups", options["groups"], len(rows))}
    if classifier and y.ndim == 1 and (cv is None or isinstance(cv, Integral)):
        y = task.y.astype(np.min_scalar_type(int(task.y.max())))  # sorted sooner
    splitter = check_cv(cv, y, classifier=classifier)
    for train, test in splitter.split(task.X, y, **options):
        train, test = rows[train], rows[test]
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"cv made a split of {len(train)} training and {len(test)} test rows")
        there = np.zeros(len(rows), dtype=bool)
        there[train] = True
        if np.count_nonzero(there) != len(train):
            raise ValueError("cv made a split that trains on a row twice: use sample_weight")
        found.append((train, test))
    if not found:
        raise ValueError("cv made no splits")
    return found
