"""Values of JSON and arrays beside it, as :mod:`.encoding` makes them: everything is checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import check_structure
from ..losses import CompiledLoss
from ..schedules import Schedule
from .container import Tensors
from .encoding import DTYPE, PLAIN, Record

__all__ = ["Decoder"]

DEPTH = 32
"""Levels of values in values, at most."""


class Decoder:
    """Makes values of JSON and the tensors of a file; nothing but what is in its tables.

    Parameters
    ----------
    records : mapping of str to Record
        The objects that a file may have, by name.
    tensors : Tensors
    given : mapping of str to object
        What a file cannot hold, and a user has to give, by argument.
    """

    def __init__(
        self, records: Mapping[str, Record], tensors: Tensors, given: Mapping[str, Any]
    ) -> None:
        self.records, self.tensors, self.given = records, tensors, given
        self.needed: set[str] = set()
        self.kinds: dict[str, Callable[[Any, int], Any]] = {
            "float": self._float,
            "tuple": self._tuple,
            "dict": self._dict,
            "bytes": lambda name, depth: self._typed(name, np.uint8, 1).tobytes(),
            "scalar": self._scalar,
            "array": lambda fields, depth: self._array(fields),
            "texts": self._texts,
            "objects": self._objects,
            "csr": self._csr,
            "generator": self._generator,
            "given": lambda fields, depth: self._given(fields),
        }

    def value(self, found: Any, depth: int = 0) -> Any:
        """The value that stands in JSON.

        Raises
        ------
        ValueError, TypeError
            If there is no such value.
        """
        if depth > DEPTH:
            raise ValueError("its description is nested too deeply")
        if type(found) in PLAIN:
            return found
        if type(found) is list:
            return [self.value(one, depth + 1) for one in found]
        kind, content = self._only(found)
        if kind in self.kinds:
            return self.kinds[kind](content, depth + 1)
        if kind not in self.records or not isinstance(content, dict):
            raise ValueError(f"its description has values of a kind {kind!r}, which is not known")
        fields = {name: self.value(one, depth + 1) for name, one in content.items()}
        return self.records[kind].make(fields)

    def _only(self, found: Any) -> tuple[str, Any]:
        if not isinstance(found, dict) or len(found) != 1:
            raise ValueError("its description has a value without a kind")
        (pair,) = found.items()
        return pair

    def _fields(self, found: Any, *names: str) -> list[Any]:
        if not isinstance(found, dict) or set(found) != set(names):
            raise ValueError(f"its description must have {names} of a value, got {found!r:.80}")
        return [found[name] for name in names]

    def _float(self, text: Any, depth: int) -> float:
        if text not in ("nan", "inf", "-inf"):
            raise ValueError(f"its description has the float {text!r:.80}")
        return float(text)

    def _list(self, found: Any, depth: int) -> list[Any]:
        if type(found) is not list:
            raise ValueError("its description has no list where one is needed")
        return [self.value(one, depth) for one in found]

    def _tuple(self, found: Any, depth: int) -> tuple[Any, ...]:
        return tuple(self._list(found, depth))

    def _dict(self, found: Any, depth: int) -> dict[Any, Any]:
        pairs = self._list(found, depth)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise ValueError("its description has a dictionary that is not made of pairs")
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError("its description has a dictionary with a key twice")
        return made

    def _typed(self, name: Any, dtype: Any, ndim: int) -> NDArray[Any]:
        array = self.tensors.take(name)
        if array.dtype != dtype or array.ndim != ndim:
            raise ValueError(f"its array {name!r} must have {ndim} dimensions of {np.dtype(dtype)}")
        return array

    def _scalar(self, fields: Any, depth: int) -> Any:
        array = self._array(fields)
        if array.ndim:
            raise ValueError("its description has an array where a number is needed")
        return array[()]

    def _array(self, fields: Any) -> NDArray[Any]:
        if not isinstance(fields, dict):
            raise ValueError("its description has an array without fields")
        transposed = fields.get("transposed", False)
        name, text = self._fields(
            {key: one for key, one in fields.items() if key != "transposed"}, "tensor", "dtype"
        )
        known = isinstance(text, str) and DTYPE.fullmatch(text)
        if transposed not in (True, False) or not known:
            raise ValueError(f"its array {name!r} is of dtype {text!r:.80}, which is not read")
        dtype = np.dtype(text)
        little, array = dtype.newbyteorder("<"), self.tensors.take(name)
        if dtype.kind in "US":
            array = _characters(array, little, name)
        if array.dtype != little:
            raise ValueError(f"its array {name!r} is of dtype {array.dtype} and not {dtype}")
        array = array.astype(dtype, copy=False)
        return array.T if transposed else array

    def _texts(self, fields: Any, depth: int) -> NDArray[Any]:
        names = self._fields(fields, "bytes", "lengths")
        data, lengths = self._typed(names[0], np.uint8, 1), self._typed(names[1], np.int64, 1)
        if (lengths < 0).any() or (lengths > len(data)).any() or lengths.sum() != len(data):
            raise ValueError("the lengths of its texts do not add up to the characters that it has")
        ends, whole = np.cumsum(lengths).tolist(), data.tobytes()
        texts = np.empty(len(ends), dtype=object)
        for i, end in enumerate(ends):
            start = ends[i - 1] if i else 0
            texts[i] = whole[start:end].decode("utf-8", "surrogatepass")
        return texts

    def _objects(self, fields: Any, depth: int) -> NDArray[Any]:
        shape, items = self._fields(fields, "shape", "items")
        items = self._list(items, depth)
        if type(shape) is not list or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"its description has an array of shape {shape!r:.80}")
        if math.prod(shape) != len(items) or not all(type(one) in PLAIN for one in items):
            raise ValueError("its description has an array whose items do not fit its shape")
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(shape)

    def _csr(self, fields: Any, depth: int) -> Any:
        kind, shape, *parts = self._fields(fields, "kind", "shape", "data", "indices", "indptr")
        whole = type(shape) is list and all(type(size) is int for size in shape)
        if not whole or len(shape) not in (1, 2):
            raise ValueError(f"its description has a sparse array of shape {shape!r:.80}")
        if kind not in ("array", "matrix"):
            raise ValueError(f"its description has a sparse array of the kind {kind!r:.80}")
        data, indices, indptr = map(self._array, parts)
        if not all(array.ndim == 1 for array in (data, indices, indptr)) or data.dtype.kind != "f":
            raise ValueError("its description has a sparse array of other than numbers")
        rows, columns = (1, *shape) if len(shape) == 1 else shape
        if not (0 <= columns < 2**48 and len(indptr) == rows + 1):
            raise ValueError("its description has a sparse array whose rows are not all there")
        # SciPy looks at the ends of the index arrays alone; `check_structure` at all of them.
        matrix = sp.csr_array((data, indices, indptr), shape=(rows, columns))
        check_structure(matrix)
        if len(shape) == 1:
            matrix = sp.csr_array((data, indices, indptr), shape=(columns,))
        return matrix if kind == "array" else sp.csr_matrix(matrix)

    def _generator(self, fields: Any, depth: int) -> np.random.RandomState:
        name, position, has_gauss, cached = self._fields(
            fields, "key", "position", "has_gauss", "cached"
        )
        key = self._typed(name, np.uint32, 1)
        right = type(position) is int and 0 <= position <= len(key) == 624
        if not right or has_gauss not in (0, 1) or not isinstance(cached, float):
            raise ValueError("its description has a random generator in an impossible state")
        generator = np.random.RandomState()
        generator.set_state(("MT19937", key, position, has_gauss, cached))
        return generator

    def _given(self, fields: Any) -> Any:
        """What a user has to give, of the right kind."""
        argument, name = self._fields(fields, "argument", "name")
        if argument not in ("loss", "learning_rate", "scoring"):
            raise ValueError(f"its description asks for an argument {argument!r:.80}")
        self.needed.add(argument)
        value = self.given.get(argument)
        if value is None:
            what = f"{argument} of your own" + (f", named {name!r:.80}" if name else "")
            raise ValueError(
                f"the model was trained with a {what}, which no file can hold: give it, "
                f"load(path, {argument}=...)"
            )
        if argument == "loss":
            if not isinstance(value, CompiledLoss) or value.name != name:
                raise ValueError(f"loss must be the CompiledLoss named {name!r:.80}, got {value!r}")
            return value
        if name == "function" and isinstance(value, Schedule):
            value = value.function
        if not (callable(value) or isinstance(value, Schedule)):
            raise ValueError(f"{argument} must be the callable of the training, got {value!r}")
        return value


def _characters(array: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Text or bytes of a fixed length, of the numbers of their characters."""
    unit = np.dtype("<u4" if dtype.kind == "U" else "u1")
    right = array.dtype == unit and array.ndim > 0 and array.shape[-1] * unit.itemsize
    if right != dtype.itemsize or dtype.itemsize == 0:
        raise ValueError(f"its array {name!r} does not hold texts of {dtype}")
    if dtype.kind == "U" and (array > 0x10FFFF).any():
        raise ValueError(f"its array {name!r} has numbers that are no Unicode characters")
    return np.frombuffer(array.tobytes(), dtype=dtype).reshape(array.shape[:-1]).copy()
