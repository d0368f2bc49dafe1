"""C functions of a user: where they live, once their signature is known to be the one wanted.

From a C compiler as ctypes functions, from numba as ``cfunc``, from Cython as capsules; scipy's
``LowLevelCallable`` may wrap any of them.
"""

from __future__ import annotations

import ctypes
from _ctypes import CFuncPtr
from dataclasses import dataclass
from typing import Any

__all__ = ["DOUBLES", "INTEGERS", "POINTER", "Signature"]

DOUBLES = ctypes.POINTER(ctypes.c_double)
INTEGERS = ctypes.POINTER(ctypes.c_int64)
POINTER = ctypes.c_void_p
"""Types of arguments: arrays of double and int64, and any pointer."""

_NUMBA = {
    DOUBLES: "float64*",
    INTEGERS: "int64*",
    POINTER: "*",
    ctypes.c_int64: "int64",
    ctypes.c_double: "float64",
    None: "none",
}
_C = {
    DOUBLES: "double*",
    INTEGERS: "int64*",
    POINTER: "*",
    ctypes.c_int64: "int64",
    ctypes.c_double: "double",
    None: "void",
}
_LONG_NAMES = ("npy_intp", "Py_ssize_t", "Py_ssize", "int64_t", "long")


@dataclass(frozen=True)
class Signature:
    """What a C function must look like.

    Attributes
    ----------
    text : str
        In C.
    arguments : tuple of ctypes types
        ``DOUBLES``, ``INTEGERS``, ``POINTER`` or ``ctypes.c_int64``.
    result : ctypes type or None
        ``ctypes.c_double``, or None for void.
    """

    text: str
    arguments: tuple[Any, ...]
    result: Any = None

    @property
    def prototype(self) -> Any:
        """The ctypes type of such functions."""
        return ctypes.CFUNCTYPE(self.result, *self.arguments)

    def address(self, name: str, function: Any) -> int:
        """Where a function lives.

        Parameters
        ----------
        name : str
            What the argument is called.
        function : scipy.LowLevelCallable, numba cfunc or ctypes function
            The function.

        Returns
        -------
        int
            Its address.

        Raises
        ------
        ValueError
            If it is none of the three, is a NULL pointer, or has another signature.
        """
        address = self._address(name, function)
        if address == 0:
            raise ValueError(f"{name} must be a C function {self.text}, got a NULL pointer")
        return address

    def _address(self, name: str, function: Any) -> int:
        wanted = f"{name} must be a C function {self.text}"
        if hasattr(function, "address") and hasattr(function, "_sig"):  # numba.cfunc
            got = str(function._sig)
            arguments, _, result = got.replace(" ", "").rpartition("->")
            if result != _NUMBA[self.result] or not self._fits(arguments, _NUMBA):
                raise ValueError(f"{wanted}, got a numba cfunc {got}")
            return int(function.address)
        inner = getattr(function, "function", function)  # scipy.LowLevelCallable has .function
        if isinstance(inner, CFuncPtr):
            types = tuple(inner.argtypes or ())
            right = (
                len(types) == len(self.arguments)
                and all(map(_is_a, types, self.arguments))
                and inner.restype is self.result
            )
            if not right:
                names = [getattr(t, "__name__", str(t)) for t in types]
                raise ValueError(
                    f"{wanted}, got a ctypes function with argtypes {names} and restype "
                    f"{getattr(inner.restype, '__name__', inner.restype)}"
                )
            return int(ctypes.cast(inner, ctypes.c_void_p).value or 0)
        if type(inner).__name__ == "PyCapsule":
            return self._capsule_address(inner, wanted)
        raise ValueError(
            f"{wanted}, as a scipy.LowLevelCallable, a numba cfunc or a ctypes function; "
            f"got {type(function).__name__}"
        )

    def _fits(self, arguments: str, names: dict[Any, str]) -> bool:
        """Whether arguments in words, "(a,b)", are those wanted."""
        given = arguments.strip("()").split(",")
        wanted = [names[one] for one in self.arguments]
        return len(given) == len(wanted) and all(
            one.endswith("*") if name == "*" else one == name
            for one, name in zip(given, wanted, strict=True)
        )

    def _capsule_address(self, capsule: Any, wanted: str) -> int:
        """The function of a capsule, whose name is its signature (scipy.LowLevelCallable)."""
        api = ctypes.pythonapi
        api.PyCapsule_GetName.restype = ctypes.c_char_p
        api.PyCapsule_GetName.argtypes = [ctypes.py_object]
        api.PyCapsule_GetPointer.restype = ctypes.c_void_p
        api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        raw = api.PyCapsule_GetName(capsule)
        name = (raw or b"").decode()
        words = name.replace("const ", "").replace(" ", "")
        for integer in _LONG_NAMES:
            words = words.replace(integer, "int64")
        result, _, arguments = words.partition("(")
        if result != _C[self.result] or not self._fits(arguments, _C):
            raise ValueError(f"{wanted}, got a capsule {name!r}")
        return int(api.PyCapsule_GetPointer(capsule, raw))


def _is_a(given: Any, wanted: Any) -> bool:
    """Whether a ctypes type is the one wanted."""
    if wanted is ctypes.c_int64:
        return given in (ctypes.c_int64, ctypes.c_ssize_t)
    if given is wanted:
        return True
    if wanted is POINTER:
        return isinstance(given, type(DOUBLES))
    return isinstance(given, type) and issubclass(given, wanted)
