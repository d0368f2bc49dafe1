"""Values that NumPy would turn into numbers that mean something else: times, masked values.

A time becomes the number of units, often nanoseconds, since 1970 where it is cast to float. What
an array refuses a data frame, a list or a series of any library has to refuse too.
"""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_floats", "check_numbers", "numbers_of"]

TIMES = (
    datetime.date,  # and datetime.datetime, pandas.Timestamp, pandas.NaT
    datetime.time,
    datetime.timedelta,  # and pandas.Timedelta
    np.datetime64,
    np.timedelta64,
)


def check_numbers(name: str, array: Any, *, labels: bool = False) -> None:
    """Refuse times and masked values.

    Parameters
    ----------
    name : str
        Of the argument.
    array : array, data frame, series or sequence
    labels : bool
        Whether they are labels of classes, which may be datetime64 or timedelta64.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(f"{name} is a masked array with masked values: fill them or drop the rows")
    if not has_times(array):
        return
    if not labels:
        raise ValueError(f"{name} holds times (datetime64 or timedelta64), not numbers")
    values = np.asarray(array)
    if values.dtype.kind not in "Mm":
        raise ValueError(
            f"{name} holds times that are no datetime64 or timedelta64, such as times with a time "
            "zone: as labels of classes they must be one of the two, or strings"
        )
    if np.isnat(values).any():
        raise ValueError(f"{name} contains NaT")


def as_floats(name: str, values: Any) -> NDArray[np.float64]:
    """Real numbers as an array of float64.

    Raises
    ------
    ValueError
        Naming the argument, where they are none.
    """
    check_numbers(name, values)
    try:
        array = np.asarray(values)
        if array.dtype.kind in "biufO":
            return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} must be real numbers that float64 can hold, got {values!r}")


def numbers_of(values: Any) -> Any:
    """A list or tuple of numbers as an array; anything else as it is.

    It is looked at for times, and then converted: as an array that is once.
    """
    if not isinstance(values, (list, tuple)):
        return values
    array = _array_of(values)
    return values if array is None or array.dtype.kind not in "biuf" else array


def _array_of(values: Any) -> Any:
    """What NumPy makes of a sequence; None of one that is ragged, which scikit-learn says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        return None


def has_times(array: Any) -> bool:
    """Whether an array, data frame, series or sequence has a time among its values."""
    known = hasattr(array, "shape")  # a lazy frame has none, and would have to be collected
    dtypes = getattr(array, "dtypes", None) if known else None
    if dtypes is not None and hasattr(array, "columns"):  # a data frame
        columns = list(dtypes)
        kinds = set(columns)
        if any(map(_is_time, kinds)):
            return True
        return any(map(_is_object, kinds)) and any(
            _has_time_objects(array[column])
            for column, dtype in zip(array.columns, columns, strict=True)
            if _is_object(dtype)
        )
    dtype = getattr(array, "dtype", None)
    if dtype is not None:
        return _is_time(dtype) or (_is_object(dtype) and _has_time_objects(array))
    if not isinstance(array, (list, tuple)) and not hasattr(array, "__array__"):
        return False
    values = _array_of(array)
    if values is None:
        return False
    return _is_time(values.dtype) or (values.dtype == object and _has_time_objects(values))


def _is_time(dtype: Any) -> bool:
    """Whether a dtype of NumPy, pandas or polars is of dates, times, periods or durations."""
    if hasattr(dtype, "is_temporal"):  # polars
        return bool(dtype.is_temporal())
    categories = getattr(dtype, "categories", None)
    if categories is not None and hasattr(categories, "dtype"):
        return _is_time(categories.dtype)
    return getattr(dtype, "kind", "") in ("M", "m") or type(dtype).__name__ == "PeriodDtype"


def _is_object(dtype: Any) -> bool:
    """Whether values are Python objects; those of extension types too are looked at."""
    return getattr(dtype, "kind", "") == "O" or str(dtype) == "Object"  # of polars


def _has_time_objects(values: Any) -> bool:
    """Whether one of the objects is a time; those of equal type are told at once."""
    try:
        kinds = set(map(type, np.asarray(values, dtype=object).ravel()))
    except (ValueError, TypeError):
        return False
    return any(issubclass(kind, TIMES) or kind.__name__ == "Period" for kind in kinds)
