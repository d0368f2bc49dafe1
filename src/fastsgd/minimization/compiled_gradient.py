"""A user's own gradient as a C function."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..compiled import DOUBLES, INTEGERS, POINTER, Signature

__all__ = ["SIGNATURE", "CompiledGradient"]

SIGNATURE = Signature(
    "double (const double *theta, const int64_t *rows, int64_t m, double *gradient, void *data)",
    (DOUBLES, INTEGERS, ctypes.c_int64, DOUBLES, POINTER),
    ctypes.c_double,
)
"""What a compiled gradient looks like in C: it returns the mean loss of the m rows."""


class CompiledGradient:
    """A user's own gradient: a C function of the parameters and of row numbers.

    Parameters
    ----------
    function : scipy.LowLevelCallable, numba cfunc or ctypes function
        ``double f(const double *theta, const int64_t *rows, int64_t m, double *gradient,
        void *data)`` returns the mean loss of the m rows at ``theta`` and writes its gradient. All
        parameters are one array, in the order of ``theta0``; where they are float32 they are
        converted. It is called without the interpreter's lock. A gradient whose first or last
        number is left unwritten counts as NaN, so that a ctypes callback that raises ends in a
        DivergenceError.
    data : ndarray, sequence of ndarray, int, ctypes object or None, default=None
        What ``data`` points to: an array; a table of pointers to several arrays; an address. None
        is the ``user_data`` of a LowLevelCallable, or NULL.

    Raises
    ------
    ValueError
        If the function is none of the three or has another signature, or an array is not
        contiguous.

    See Also
    --------
    fastsgd.losses.CompiledLoss : The loss of a linear model.

    Examples
    --------
    >>> from ctypes import CFUNCTYPE, POINTER, c_double, c_int64, c_void_p
    >>> import numpy as np
    >>> from fastsgd import minimize
    >>> from fastsgd.minimization import CompiledGradient
    >>> numbers, rows = POINTER(c_double), POINTER(c_int64)
    >>> @CFUNCTYPE(c_double, numbers, rows, c_int64, numbers, c_void_p)
    ... def square(theta, rows, m, gradient, data):
    ...     gradient[0] = theta[0] - 3.0
    ...     return 0.5 * gradient[0] ** 2
    >>> result = minimize(CompiledGradient(square), np.zeros(1), n=10, eta0=0.1, random_state=0)
    >>> result.x.round(2)
    array([2.99])
    """

    def __init__(self, function: Any, data: Any = None) -> None:
        self.address = SIGNATURE.address("function", function)
        if data is None:
            data = getattr(function, "user_data", None)
        self.data_address, kept = _data_address(data)
        self._kept = function, kept  # keeps code and arrays alive
        self._function = _CALL(self.address)

    def _evaluate(
        self, theta: int, rows: int, m: int, gradient: NDArray[np.float64]
    ) -> tuple[float, bool]:
        """The mean loss, and whether the gradient was written; arrays by their addresses."""
        gradient[0] = gradient[-1] = math.nan
        loss = self._function(theta, rows, m, gradient.ctypes.data, self.data_address)
        return loss, not (math.isnan(gradient[0]) or math.isnan(gradient[-1]))

    def __call__(self, theta: ArrayLike, rows: ArrayLike) -> tuple[float, NDArray[np.float64]]:
        """Loss and gradient, as a Python function would give them.

        Parameters
        ----------
        theta : array-like
            The parameters.
        rows : array-like of int
            Row numbers.

        Returns
        -------
        loss : float
            Their mean loss.
        gradient : ndarray of float64
            Its gradient, of the shape of ``theta``.
        """
        at = np.ascontiguousarray(theta, dtype=np.float64)
        chosen = np.ascontiguousarray(rows, dtype=np.int64)
        out = np.full(at.size, math.nan)
        loss, _ = self._evaluate(at.ctypes.data, chosen.ctypes.data, chosen.size, out)
        return loss, out.reshape(np.shape(theta))

    def __repr__(self) -> str:
        return f"CompiledGradient({self._kept[0]!r})"


_CALL = ctypes.CFUNCTYPE(
    ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p,
    ctypes.c_void_p,
)  # fmt: skip


def _data_address(data: Any) -> tuple[int | None, Any]:
    """An address, and what must live as long as it is used."""
    if data is None:
        return None, None
    if isinstance(data, np.ndarray):
        if not data.flags.c_contiguous:
            raise ValueError("data must be of contiguous arrays")
        return data.ctypes.data, data
    if isinstance(data, (list, tuple)):
        if not data or not all(isinstance(array, np.ndarray) for array in data):
            raise ValueError("data must be an array, a sequence of arrays or an address")
        table = np.array([_data_address(array)[0] for array in data], dtype=np.uintp)
        return table.ctypes.data, (table, data)
    if isinstance(data, (int, np.integer)) and not isinstance(data, bool) and data >= 0:
        return int(data), None
    if isinstance(data, (ctypes.c_void_p, ctypes._Pointer)):
        return ctypes.cast(data, ctypes.c_void_p).value, data
    if isinstance(data, (ctypes.Structure, ctypes.Array, ctypes.Union)):
        return ctypes.addressof(data), data
    raise ValueError(
        "data must be an array, a sequence of arrays, an address or a ctypes object, got "
        f"{type(data).__name__}"
    )
