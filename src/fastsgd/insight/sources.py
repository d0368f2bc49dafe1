"""Sources of rows where functions of :mod:`fastsgd.insight` take X: arrays, or a sample of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from ..estimators.rows import sampled

__all__ = ["takes_sources"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def takes_sources(function: _Function) -> _Function:
    """A function of an estimator, X, y and more that takes sources as X.

    Rows that fit into memory are arrays. Of others it is given an even sample, and its result says
    so in ``sample``, and in its title if it has one.
    """

    parameters = inspect.signature(function)

    @functools.wraps(function)
    def wrapped(estimator: Any, X: Any, *args: Any, **options: Any) -> Any:
        if type(X) is np.ndarray:
            return function(estimator, X, *args, **options)
        bound = parameters.bind(estimator, X, *args, **options)
        given = bound.arguments
        rows, count = sampled(estimator, X, given.get("y"), given.get("sample_weight"))
        if rows is None:
            return function(estimator, X, *args, **options)
        given["X"], given["y"] = rows.X, rows.y
        if rows.sample_weight is not None:
            if "sample_weight" not in parameters.parameters:
                raise ValueError(
                    f"{function.__name__} takes no weights of rows: give a source without "
                    "sample_weight"
                )
            given["sample_weight"] = rows.sample_weight
        result = function(*bound.args, **bound.kwargs)
        if count == 0:
            return result
        text = f"an even sample of {rows.X.shape[0]:,} of {count:,} rows"
        if hasattr(result, "title"):
            title = result.title and f"{result.title}, "
            return replace(result, sample=text, title=f"{title}{text}")
        return replace(result, sample=text)

    return cast(_Function, wrapped)
