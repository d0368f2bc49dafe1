"""Input of users as arrays that the core reads, with scikit-learn's checks and messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from .._core import check_structure as check_arrays
from ..inputs.conversions import csr_of, rows_of
from ..inputs.ranges import cast, weight_range
from ..inputs.times import check_numbers, numbers_of
from ..problem import STORED, blocks, computed_in
from .validation import HELD_OUT_ZERO

IN_PLACE = tuple(dtype.type for dtype in STORED)
"""What dense X is read in place from; anything else is converted to the first of them."""

FLOATS = (np.float64, np.float32)

CSR = (sp.csr_matrix, sp.csr_array)

FEW_VALUES = 1 << 16
"""Values that are looked at in one piece: few enough for their copies to stay in the cache."""

NO_TARGETS = object()


@contextlib.contextmanager
def blame_input(estimator: Any, X: Any) -> Iterator[None]:
    """Say that X holds NaN or infinity, where that is why training failed.

    A bad value makes a score that is not finite (0 * infinity is NaN), so X is scanned only when a
    score was.
    """
    try:
        yield
    except ValueError:
        check_finite(estimator, X)
        raise


def check_structure(X: Any) -> None:
    """Refuse a sparse matrix whose index arrays are corrupt, before SciPy follows them."""
    if sp.issparse(X):
        check_arrays(X)


def check_finite(estimator: Any, X: Any, name: str = "X") -> None:
    """Refuse NaN and infinity; dense X block by block, since the check may need copies.

    scikit-learn, which takes ten times as long for a few values, is asked where there may be any.
    """
    values = X.data if sp.issparse(X) else X
    if values.size <= FEW_VALUES and np.isfinite(values).all():
        return
    names = {"estimator_name": type(estimator).__name__, "input_name": name}
    for part in [X] if sp.issparse(X) else (X[rows] for rows in blocks(X)):
        with np.errstate(over="ignore", invalid="ignore"):  # it looks at their sum first
            assert_all_finite(part, **names)


def has_columns(y: Any, X: Any) -> bool:
    """Whether targets have two dimensions, more than one column, and as many rows as X has."""
    try:
        if hasattr(y, "shape"):
            shape = y.shape
        else:
            shape = (
                np.asarray(y).shape
                if isinstance(y, (list, tuple)) or hasattr(y, "__array__")
                else ()
            )
    except ValueError:  # ragged: scikit-learn says so
        return False
    one_row = (getattr(X, "shape", ()) or (0,))[0] == 1
    one_row |= isinstance(X, (list, tuple)) and len(X) == 1
    return len(shape) == 2 and (shape[0] > 1 or one_row) and shape[1] > 1


def needs_no_conversion(X: Any, y: Any) -> bool:
    """Whether X and y are arrays as they should be, in which scikit-learn would find no fault.

    It takes as long to say so as half a fit of a thousand rows. Finiteness of X is left to the
    scores, and the structure of CSR to :func:`check_structure`.
    """
    dense = type(X) is np.ndarray
    if not ((dense or type(X) in CSR) and X.ndim == 2 and X.dtype in FLOATS and 0 not in X.shape):
        return False
    if dense and not (X.flags.c_contiguous and X.flags.aligned):
        return False
    if y is NO_TARGETS:
        return True
    if not (type(y) is np.ndarray and y.shape == X.shape[:1] and y.dtype.kind in "biuf"):
        return False
    return y.dtype.kind != "f" or bool(np.isfinite(y).all())


def table_of(X: Any) -> Any:
    """Lists of numbers as an array of float64, which they always become."""
    array = numbers_of(X)
    return array if array is X else array.astype(np.float64, copy=False)


def of_strings(error: ValueError) -> bool:
    """Whether an error says that a string is no number."""
    return str(error).startswith("could not convert string")


def named(error: ValueError, name: str) -> ValueError:
    """An error of scikit-learn's, with the name of the argument that holds strings."""
    if not of_strings(error):
        return error
    return ValueError(f"{name} must be numbers: {error}")


def real_targets(y: Any, dtype: Any, name: str = "y") -> NDArray[np.floating]:
    """Targets of a regression as (n,), or (n, n_outputs) for more than one.

    Raises
    ------
    ValueError
        If one is beyond the range of the dtype, or no number.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    try:
        return cast(name, y, dtype)
    except ValueError as error:
        raise named(error, name) from None


def holds_strings(y: Any) -> bool:
    """Whether targets are not numbers, nor texts of numbers."""
    try:
        np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        return True
    return False


class InputValidation(BaseEstimator):
    """Validation of X, y and sample_weight."""

    early_stopping: bool
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def _validate(
        self, X: Any, y: Any = NO_TARGETS, *, reset: bool, names: tuple[str, str] = ("X", "y")
    ) -> Any:
        """X, or X and y, as arrays the core can read; finiteness of X is left to the scores."""
        check_structure(X)
        if needs_no_conversion(X, y) and (reset or self._expects_unnamed(X.shape[1])):
            if reset:  # arrays have no names of features
                vars(self).pop("feature_names_in_", None)
                self.n_features_in_ = X.shape[1]
            return X if y is NO_TARGETS else (X, y)
        X, y = rows_of(csr_of(table_of(X))), numbers_of(y)
        check_numbers(names[0], X)
        check_numbers(names[1], y, labels=not isinstance(self, RegressorMixin))
        options: dict[str, Any] = {
            "reset": reset,
            "accept_sparse": "csr",
            "accept_large_sparse": True,
            "dtype": FLOATS if sp.issparse(X) else IN_PLACE,
            "order": "C",
            "ensure_all_finite": False,  # of X: the scores tell, see blame_input
        }
        try:
            if y is NO_TARGETS:
                return self._aligned(validate_data(self, X, **options))
            options["y_numeric"] = isinstance(self, RegressorMixin)
            options["multi_output"] = has_columns(y, X)
            with np.errstate(over="ignore", invalid="ignore"):  # of the sum of y
                X, y = validate_data(self, X, y, **options)
        except OverflowError as error:  # Python integers beyond float64
            raise ValueError(f"X or y: {error}") from None
        except ValueError as error:
            if not of_strings(error):
                raise
            of_y = options.get("y_numeric") and not sp.issparse(y) and holds_strings(y)
            raise named(error, names[1] if of_y else names[0]) from None
        return self._aligned(X), y.toarray() if sp.issparse(y) else y

    def _rows_to_predict(self, X: Any) -> Any:
        """Rows for a fitted model as an array that is read in place, all of it finite."""
        check_structure(X)
        if not (needs_no_conversion(X, NO_TARGETS) and self._expects_unnamed(X.shape[1])):
            X = self._converted(X)
        check_finite(self, X)
        return X

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
        except ValueError as error:
            raise named(error, "X") from None

    def _expects_unnamed(self, d: int) -> bool:
        """Whether the model was fitted on d features without names."""
        fitted = vars(self)
        return fitted.get("n_features_in_") == d and "feature_names_in_" not in fitted

    def _aligned(self, X: Any) -> Any:
        """Dense X, aligned to its items."""
        return X if sp.issparse(X) else np.require(X, requirements=["C", "A"])

    def _weight(self, sample_weight: ArrayLike | None, X: Any) -> NDArray[np.floating] | None:
        if sample_weight is None:
            return None
        check_numbers("sample_weight", sample_weight)
        if getattr(np.asarray(sample_weight).dtype, "kind", "") == "c":
            raise ValueError("Complex data not supported: sample_weight must be real")
        dtype = computed_in(X)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # of a cast, and of their sum
                weight = _check_sample_weight(
                    sample_weight, X, dtype=dtype, ensure_non_negative=True
                )
        except OverflowError as error:
            raise ValueError(
                f"sample_weight must be numbers that {dtype} can hold: {error}"
            ) from None
        except (TypeError, ValueError) as error:
            if "non-zero" in str(error) and self.early_stopping:
                raise ValueError(f"{error} {HELD_OUT_ZERO}") from None
            if "sample" in str(error).lower():
                raise
            raise ValueError(f"sample_weight must be real numbers: {error}") from None
        lowest, highest = weight_range(dtype)
        if not lowest <= weight.max() <= highest:
            raise ValueError(
                f"the largest sample_weight must be in [{lowest:.3g}, {highest:.3g}], got "
                f"{weight.max():.3g}"
            )
        return weight
