"""Parameters as Python's own numbers, whatever numbers the user gave.

A numpy scalar computes in its own type: ``np.uint8(32) * 4096`` overflows, ``1 - np.float16(0.3)``
is rounded to three digits, and warnings of NumPy come with both.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from operator import is_, itemgetter
from typing import Any

import numpy as np

__all__ = [
    "are_known",
    "make_python_numbers",
    "parameters_of",
    "python_number",
    "python_parameters",
    "remember",
]

_PYTHON_TYPES = frozenset((float, bool, str, type(None)))

_LARGEST = 2**1023
"""Integers above this may be infinite as floats."""


_known: dict[type, tuple[Any, ...]] = {}
"""The parameters that an estimator of a class was last found valid with, if all are Python's own
numbers and strings: clones have the same objects, which cannot have changed."""


@functools.cache
def _getter_of(kind: Any) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    return itemgetter(*kind._get_param_names())


def parameters_of(estimator: Any) -> tuple[Any, ...]:
    """The parameters of an estimator, in the order of their names."""
    kind: Any = type(estimator)
    return _getter_of(kind)(vars(estimator))


def are_known(estimator: Any) -> bool:
    """Whether the parameters are the very objects that were found valid last."""
    known = _known.get(type(estimator))
    try:
        return known is not None and all(map(is_, parameters_of(estimator), known))
    except KeyError:  # no attribute: whoever asks for it says so
        return False


def remember(estimator: Any) -> None:
    """Note that the parameters are valid."""
    parameters = parameters_of(estimator)
    if all(map(_is_python, parameters)):
        _known[type(estimator)] = parameters


def _is_python(value: Any) -> bool:
    """Whether a parameter needs no conversion."""
    kind = type(value)
    return kind in _PYTHON_TYPES or (kind is int and -_LARGEST <= value <= _LARGEST)


def python_number(value: Any, *, whole: bool = True) -> Any:
    """A number or string as Python's own; anything else as it is.

    An integer stays one, however large, where the parameter may be ``whole``; otherwise one beyond
    float64 is infinite.
    """
    if type(value) in _PYTHON_TYPES:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    try:
        if isinstance(value, Integral):
            value = int(value)
            if not whole:
                float(value)
            return value
        if isinstance(value, Real):
            return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return value


def _may_be_whole(estimator: Any, name: str) -> bool:
    constraints = estimator._parameter_constraints.get(name, ())
    return any(getattr(one, "type", None) is Integral for one in constraints)


def make_python_numbers(estimator: Any) -> dict[str, tuple[Any, Any]]:
    """Make an estimator's numbers Python's own; gives what changed, as (given, number) by name."""
    attributes, changed = vars(estimator), {}
    for name in estimator._get_param_names():
        given = attributes.get(name)
        if _is_python(given):
            continue
        value = python_number(given)
        if type(value) is int and abs(value) > _LARGEST and not _may_be_whole(estimator, name):
            value = python_number(value, whole=False)
        if value is not given:
            changed[name] = given, value
            attributes[name] = value
    return changed


@contextlib.contextmanager
def python_parameters(estimator: Any) -> Iterator[None]:
    """Within the context parameters are Python's own numbers; afterwards they are as given."""
    changed = {} if are_known(estimator) else make_python_numbers(estimator)
    try:
        yield
    finally:
        attributes = vars(estimator)
        for name, (given, value) in changed.items():
            if attributes.get(name) is value:  # nobody has set another one
                attributes[name] = given
