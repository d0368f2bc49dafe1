"""Arrays of Arrow as what NumPy can take: without dictionaries, runs and views of strings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types as pat

__all__ = ["decoded", "encoded", "numbers_of", "numpy_view"]


def without_runs(array: Any) -> Any:
    """An array whose runs are written out."""
    return pc.run_end_decode(array) if pat.is_run_end_encoded(array.type) else array


def without_views(array: Any) -> Any:
    """An array whose strings lie one after the other: Arrow can do little with views."""
    return array.cast(pa.large_string()) if pat.is_string_view(array.type) else array


def decoded(array: Any) -> Any:
    """An array without a dictionary."""
    array = without_runs(array)
    if pat.is_dictionary(array.type):
        array = without_views(array.dictionary).take(array.indices)
    return array


def encoded(array: Any) -> Any:
    """An array with a dictionary, which does not hold views of strings."""
    array = without_runs(array)
    if not pat.is_dictionary(array.type):
        return without_views(array).dictionary_encode()
    if pat.is_string_view(array.dictionary.type):
        dictionary = without_views(array.dictionary)
        return pa.DictionaryArray.from_arrays(array.indices, dictionary)
    return array


DTYPES = {
    kind.id: np.dtype(kind.to_pandas_dtype())
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float16(), pa.float32()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float64()),
    )
}
"""Types of Arrow whose values are those of NumPy, by their number."""


def numbers_of(array: Any) -> Any:
    """Numbers or booleans as an Arrow array whose values :func:`numpy_view` can take."""
    if array.type.id in DTYPES:
        return array
    array = decoded(array)
    kind = array.type
    if pat.is_null(kind) or pat.is_decimal(kind):
        return array.cast(pa.float64())
    return array.cast(pa.uint8()) if pat.is_boolean(kind) else array


def numpy_view(array: Any) -> NDArray[Any]:
    """Numbers of an Arrow array, none of them missing, where they lie."""
    dtype = DTYPES[array.type.id]
    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None:
        return np.empty(0, dtype=dtype)
    start = array.offset * dtype.itemsize
    return np.frombuffer(buffer, dtype=dtype, count=len(array), offset=start)
