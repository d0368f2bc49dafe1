"""Sine regression: the loss (sin(z) - y)^2 / 2, compiled, whose objective is not convex."""

from __future__ import annotations

import ctypes
import functools
import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ...losses import CompiledLoss

__all__ = ["sine_loss"]

SINE = """
#include <math.h>
#include <stdint.h>
void sine_value(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0.5 * (sin(z[i]) - y[i]) * (sin(z[i]) - y[i]);
}
void sine_slope(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = (sin(z[i]) - y[i]) * cos(z[i]);
}
"""


@functools.cache
def sine_loss() -> CompiledLoss:
    """(sin(z) - y)^2 / 2, compiled by a C compiler if there is one, or else by numba.

    Its second derivative, cos 2z + y sin z, is below 2 for |y| < 1.

    Raises
    ------
    ImportError
        If there is neither a C compiler nor numba.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    value, slope = _sine_by_numba() if compiler is None else _sine_by_compiler(compiler)
    return CompiledLoss(value, slope, name="sine", smoothness=2.0, targets="real")


def _sine_by_compiler(compiler: str) -> tuple[Any, Any]:
    number = ctypes.POINTER(ctypes.c_double)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "sine.c", Path(folder) / "sine.so"
        source.write_text(SINE)
        command = [compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
        subprocess.run(command, check=True, capture_output=True)
        loaded = ctypes.CDLL(str(library))  # stays in memory when the file is gone
    functions = loaded.sine_value, loaded.sine_slope
    for function in functions:
        function.argtypes, function.restype = [number, number, number, ctypes.c_int64], None
    return functions


def _sine_by_numba() -> tuple[Any, Any]:
    try:
        import numba
    except ImportError as error:
        raise ImportError(
            "the loss of the sine problem has to be compiled, by a C compiler "
            "(apt-get install gcc) or by numba (pip install numba)"
        ) from error
    array = numba.types.CPointer(numba.types.float64)
    signature = numba.types.void(array, array, array, numba.types.int64)

    def value(z: Any, y: Any, out: Any, n: int) -> None:
        for i in range(n):
            out[i] = 0.5 * (math.sin(z[i]) - y[i]) ** 2

    def slope(z: Any, y: Any, out: Any, n: int) -> None:
        for i in range(n):
            out[i] = (math.sin(z[i]) - y[i]) * math.cos(z[i])

    return numba.cfunc(signature)(value), numba.cfunc(signature)(slope)
