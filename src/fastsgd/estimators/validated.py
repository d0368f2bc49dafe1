"""Parameters of an estimator: kept untouched, and validated where they are not the defaults."""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)

from ..scalars import are_known, remember

__all__ = ["Validated", "keep_parameters", "valid_defaults"]

NO_DEFAULT = object()


class Validated(BaseEstimator):
    """An estimator whose parameters are checked by ``_parameter_constraints``."""

    _parameter_constraints: dict[str, list[Any]]

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """As scikit-learn has it, but the signature is read once."""
        return super()._get_param_names()

    def _validate_params(self) -> None:
        """Check the parameters that are not at their defaults."""
        if are_known(self):
            return
        kind: Any = type(self)
        defaults = valid_defaults(kind)
        for name in kind._get_param_names():
            value = getattr(self, name)
            if value is not defaults.get(name, NO_DEFAULT):
                (check_plain if type(value) in PLAIN else check_parameter)(kind, name, value)
        remember(self)


def keep_parameters(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of ``__init__`` attributes, as scikit-learn wants them: untouched."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


@functools.cache
def valid_defaults(estimator: type[Validated]) -> dict[str, Any]:
    """The defaults of an estimator's parameters, of those that are valid."""
    defaults = {}
    for name, parameter in inspect.signature(estimator).parameters.items():
        with contextlib.suppress(InvalidParameterError):
            check_parameter(estimator, name, parameter.default)
            defaults[name] = parameter.default
    return defaults


PLAIN = frozenset((str, int, float, bool, type(None)))
"""Types whose values are valid or not once and for all."""


@functools.lru_cache(maxsize=1 << 12, typed=True)  # 1, 1.0 and True are three values
def check_plain(estimator: type[Validated], name: str, value: Any) -> None:
    """Refuse a parameter of a plain type that is not valid; what is, is asked once."""
    check_parameter(estimator, name, value)


def check_parameter(estimator: type[Validated], name: str, value: Any) -> None:
    """Refuse a parameter that is not valid, in scikit-learn's words."""
    validate_parameter_constraints(
        estimator._parameter_constraints, {name: value}, caller_name=estimator.__name__
    )
