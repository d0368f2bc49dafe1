"""Values as JSON with arrays beside it: exact, and of a fixed set of types.

None, truth values, whole numbers, finite floats and text stand in JSON as themselves, a list as a
list. Everything else is an object with one key, its kind: one that :class:`Decoder` knows, or a key
of the table of records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["DTYPE", "PLAIN", "Encoder", "Record"]

PLAIN = (type(None), bool, int, float, str)
"""Types that stand in JSON as themselves."""
DTYPE = re.compile(r"[<>|](b1|[iu][1248]|f[248]|S\d{1,6}|U\d{1,6})")
"""Types of arrays that a file may have."""


class Record:
    """How an object of the library is made of named values, and checked.

    Parameters
    ----------
    kind : type
    take : callable
        ``take(object)``: its values by name.
    make : callable
        ``make(values)``: the object; a ValueError or TypeError if they are not as they should be.
    """

    def __init__(
        self,
        kind: type,
        take: Callable[[Any], Mapping[str, Any]],
        make: Callable[[dict[str, Any]], Any],
    ) -> None:
        self.kind, self.take, self.make = kind, take, make


class Encoder:
    """Makes JSON of values; their arrays gather in ``tensors``.

    Parameters
    ----------
    records : mapping of str to Record
        The objects that a file may have, by name.
    """

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.names = {record.kind: name for name, record in records.items()}
        self.records = records
        self.tensors: dict[str, NDArray[Any]] = {}

    def value(self, value: Any, at: str) -> Any:
        """What stands in JSON for a value, whose arrays are named by where it is.

        Raises
        ------
        ValueError
            If it is of a type that no file holds.
        """
        kind = type(value)
        if kind is float and not math.isfinite(value):
            return {"float": str(value)}
        if kind in PLAIN:
            return value
        if kind is list:
            return [self.value(one, f"{at}.{i}") for i, one in enumerate(value)]
        if kind is tuple:
            return {"tuple": [self.value(one, f"{at}.{i}") for i, one in enumerate(value)]}
        if kind is dict:
            pairs = enumerate(value.items())
            both = [
                [self.value(key, f"{at}.{i}.key"), self.value(one, f"{at}.{i}")]
                for i, (key, one) in pairs
            ]
            return {"dict": both}
        if kind is bytes:
            return {"bytes": self._tensor(np.frombuffer(value, dtype=np.uint8), at)}
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value), at)}
        if kind is np.ndarray:
            found = self._object_array(value, at) if value.dtype == object else None
            return found or {"array": self._array(value, at)}
        if sp.issparse(value):
            return {"csr": self._csr(value, at)}
        if kind is np.random.RandomState:
            return {"generator": self._generator(value, at)}
        if kind in self.names:
            name = self.names[kind]
            fields = self.records[name].take(value)
            return {name: {key: self.value(fields[key], f"{at}.{key}") for key in fields}}
        raise ValueError(f"{at} is of type {kind.__qualname__}, which a model file cannot hold")

    def _array(self, array: NDArray[Any], at: str) -> dict[str, Any]:
        """A tensor with the dtype, and with the order in memory where it is not C's."""
        dtype = array.dtype.str
        if not DTYPE.fullmatch(dtype):
            raise ValueError(f"{at} is an array of dtype {array.dtype}, which no model file holds")
        transposed = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
        if transposed:
            array = array.T
        little = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C", copy=None)
        if little.dtype.kind in "US":
            unit = np.dtype("<u4" if little.dtype.kind == "U" else "u1")
            shape = (*little.shape, little.dtype.itemsize // unit.itemsize)
            little = np.frombuffer(little.tobytes(), dtype=unit).reshape(shape)
        found = {"tensor": self._tensor(little, at), "dtype": dtype}
        return found | {"transposed": True} if transposed else found

    def _tensor(self, array: NDArray[Any], at: str) -> str:
        self.tensors[at] = array
        return at

    def _object_array(self, array: NDArray[Any], at: str) -> Any:
        """Texts as their bytes and lengths; other Python objects one by one."""
        items = array.ravel().tolist()
        if array.ndim == 1 and items and all(type(one) is str for one in items):
            parts = [one.encode("utf-8", "surrogatepass") for one in items]
            lengths = np.array([len(part) for part in parts], dtype=np.int64)
            text = np.frombuffer(b"".join(parts), dtype=np.uint8)
            return {
                "texts": {
                    "bytes": self._tensor(text, f"{at}.bytes"),
                    "lengths": self._tensor(lengths, f"{at}.lengths"),
                }
            }
        if not all(type(one) in PLAIN for one in items):
            raise ValueError(
                f"{at} is an array of objects that are neither text nor numbers, which no model "
                "file holds"
            )
        return {"objects": {"shape": list(array.shape), "items": self.value(items, at)}}

    def _csr(self, matrix: Any, at: str) -> dict[str, Any]:
        if matrix.format != "csr":
            raise ValueError(f"{at} is sparse in the format {matrix.format}; only csr can be saved")
        parts = {name: getattr(matrix, name) for name in ("data", "indices", "indptr")}
        return {
            "kind": "array" if isinstance(matrix, sp.sparray) else "matrix",
            "shape": list(map(int, matrix.shape)),
            **{name: self._array(part, f"{at}.{name}") for name, part in parts.items()},
        }

    def _generator(self, generator: np.random.RandomState, at: str) -> dict[str, Any]:
        state = generator.get_state(legacy=True)
        if not isinstance(state, tuple) or state[0] != "MT19937":
            raise ValueError(f"{at} is a RandomState of another generator than MT19937")
        key, position, has_gauss, cached = state[1:]
        numbers = {"position": int(position), "has_gauss": int(has_gauss)}
        return {"key": self._tensor(np.asarray(key), at), **numbers, "cached": float(cached)}
