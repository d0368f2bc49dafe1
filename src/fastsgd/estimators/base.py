"""What the three estimators share beside fitting: their parameters, and scores of rows."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from ..inputs.conversions import csr_of, rows_of
from ..inputs.times import check_numbers
from ..scalars import are_known, remember
from .fitting import Fitting
from .hooks import Hooks
from .input import (
    FLOATS,
    IN_PLACE,
    NO_TARGETS,
    check_finite,
    check_structure,
    needs_no_conversion,
    table_of,
)
from .report import CallbackSupportMixin
from .validation import products

_Method = TypeVar("_Method", bound=Callable[..., Any])


def keep_parameters(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of ``__init__`` attributes, as scikit-learn wants them: untouched."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


@functools.cache
def valid_defaults(estimator: type[Hooks]) -> dict[str, Any]:
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
def check_plain(estimator: type[Hooks], name: str, value: Any) -> None:
    """Refuse a parameter of a plain type that is not valid; what is, is asked once."""
    check_parameter(estimator, name, value)


def check_parameter(estimator: type[Hooks], name: str, value: Any) -> None:
    """Refuse a parameter that is not valid, in scikit-learn's words."""
    validate_parameter_constraints(
        estimator._parameter_constraints, {name: value}, caller_name=estimator.__name__
    )


class BaseSGD(CallbackSupportMixin, SparseCoefMixin, Fitting):
    """What the estimators share. See :class:`fastsgd.SGDClassifier` for the parameters."""

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
            if value is not defaults.get(name, NO_TARGETS):
                (check_plain if type(value) in PLAIN else check_parameter)(kind, name, value)
        remember(self)

    def _scores(self, X: Any) -> NDArray[np.floating]:
        """X coef_' + intercept_, shape (n, K)."""
        products = self._products(X)
        with np.errstate(over="ignore", invalid="ignore"):
            return products + self.intercept_

    def _products(self, X: Any) -> NDArray[np.floating]:
        """X coef_', shape (n, K)."""
        if "coef_" not in vars(self):
            check_is_fitted(self)
        check_structure(X)
        if not (needs_no_conversion(X, NO_TARGETS) and self._expects_unnamed(X.shape[1])):
            X = self._converted(X)
        check_finite(self, X)
        if self._reads_few and sp.issparse(X) and X.nnz < X.shape[1] // 8:
            coef, _ = self._continuation.weights_at(X.indices)
            columns = np.arange(len(X.indices), dtype=X.indices.dtype)  # a feature for each value
            X = sp.csr_array((X.data, columns, X.indptr), shape=(X.shape[0], len(columns)))
            return products(X, coef)
        coef = self.coef_
        if sp.issparse(coef) and coef.ndim == 1:  # some SciPys transpose and reshape no such array
            coef = sp.csr_array(coef.toarray()[None])
        coef = coef if sp.issparse(coef) else np.atleast_2d(coef)
        return products(X, coef)

    def _converted(self, X: Any) -> Any:
        """Rows to predict as an array that is read in place, after scikit-learn's checks."""
        X = rows_of(csr_of(table_of(X)))
        check_numbers("X", X)
        options: dict[str, Any] = {"accept_sparse": "csr", "accept_large_sparse": True}
        options["dtype"] = FLOATS if sp.issparse(X) else IN_PLACE
        try:
            return validate_data(self, X, reset=False, ensure_all_finite=False, **options)
        except OverflowError as error:
            raise ValueError(f"X: {error}") from None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.standardize
        return tags
