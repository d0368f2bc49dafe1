"""Checks of the arguments that functions of :mod:`fastsgd.insight` share."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ..estimators.base import BaseSGD
from ..estimators.network_fitting import BaseMLP
from ..scalars import python_number

__all__ = ["Estimator", "check_count", "check_estimator", "check_seeds", "check_sequence"]

Estimator = BaseSGD | BaseMLP
"""What the functions of this package take; some take linear models alone, and say so."""

NETWORK_SEEDS = 3
"""Fits of a network with other first weights and another order of rows, unless others are asked."""


def check_estimator(estimator: Any, *, linear: str = "") -> None:
    """Refuse what is not an estimator of this package, and say what to pass instead.

    Parameters
    ----------
    estimator : object
        What was passed.
    linear : str, default=""
        Why a network has no meaning here, where it has none.

    Raises
    ------
    ValueError
        If it is a class, a pipeline, a search, an ensemble or anything else.
    """
    if isinstance(estimator, BaseSGD):
        return
    wanted = "estimator must be an SGDClassifier, SGDRegressor or SGDOneClassSVM"
    if isinstance(estimator, BaseMLP):
        if not linear:
            return
        raise ValueError(f"{wanted}, got {type(estimator).__name__}: {linear}")
    if not linear:
        wanted = wanted.replace(" or", ",") + ", or an MLPClassifier or MLPRegressor"
    if isinstance(estimator, type):
        raise ValueError(f"{wanted}, got the class {estimator.__name__}: make an instance of it")
    message = f"{wanted}, got {type(estimator).__name__}"
    if hasattr(estimator, "steps") and hasattr(estimator, "named_steps"):
        message += (
            ". Pass the last step, pipeline[-1], and X as the steps before it transform it, "
            "pipeline[:-1].transform(X)"
        )
    elif hasattr(estimator, "best_estimator_") or hasattr(estimator, "cv"):
        message += ". Pass best_estimator_ of the fitted search"
    elif hasattr(estimator, "estimator") or hasattr(estimator, "estimators_"):
        message += ". Pass one of the estimators that it is made of"
    raise ValueError(message)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """The value of the argument ``name`` as an integer of at least ``least``.

    Raises
    ------
    ValueError
        If it is not such an integer.
    """
    number = python_number(value)
    if isinstance(number, bool) or not isinstance(number, Real) or number % 1 or number < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(python_number(value))


def check_seeds(estimator: Any, seeds: Any) -> int:
    """Count of the fits of each value: by default one of a linear model, three of a network.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if seeds is None:
        return NETWORK_SEEDS if isinstance(estimator, BaseMLP) else 1
    return check_count("seeds", seeds)


def check_sequence(name: str, values: Any, kind: type = object) -> tuple[Any, ...]:
    """The values of the argument ``name`` as a tuple of Python's own numbers or strings.

    Raises
    ------
    ValueError
        If it is not a sequence, is empty, or has a value that is not an instance of ``kind``.
    """
    kinds: dict[Any, str] = {Real: " of numbers", str: " of strings"}
    what = kinds.get(kind, "")
    message = f"{name} must be a sequence{what}, got {values!r}"
    if isinstance(values, (str, bytes)) or np.ndim(values) != 1:
        raise ValueError(message)
    converted = tuple(python_number(value) for value in values)
    if not converted or not all(isinstance(value, kind) for value in converted):
        raise ValueError(message)
    return converted
