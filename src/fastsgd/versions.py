"""What a report of a defect needs to say of the machine: versions, the core, threads of BLAS."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["environment", "show_versions"]

PACKAGES = (
    *("fastsgd", "numpy", "scipy", "scikit-learn", "threadpoolctl", "joblib", "tqdm"),
    *("pyarrow", "xxhash", "safetensors", "pandas", "polars", "duckdb"),
    *("dask", "distributed", "matplotlib", "bokeh", "numba"),
    *("skl2onnx", "onnxruntime", "shtab", "cython", "pip"),
)
"""Packages whose versions matter: those that are needed, and those of the extras."""


def environment() -> dict[str, Any]:
    """What :func:`show_versions` prints, as dictionaries and lists that JSON can hold.

    Returns
    -------
    environment : dict
        ``"system"`` and ``"core"`` (names to texts), ``"packages"`` (names to versions, None for
        those that are not installed) and ``"threads"`` (what threadpoolctl says of each library).
    """
    import scipy.linalg  # noqa: F401  (BLAS and OpenMP are seen once they are loaded)
    import sklearn  # noqa: F401
    from threadpoolctl import threadpool_info

    from ._core import compiler, isa, isas

    try:
        used = isa()
    except ValueError as error:  # FASTSGD_ISA has a name that this machine does not run
        used = str(error)
    return {
        "system": {
            "python": sys.version.replace("\n", " "),
            "executable": sys.executable,
            "machine": platform.platform(),
            "libc": " ".join(platform.libc_ver()).strip() or None,
        },
        "packages": {name: _version(name) for name in PACKAGES}
        | {"fastsgd": importlib.import_module("fastsgd").__version__},
        "core": {
            "compiler": compiler(),
            "instruction sets": " ".join(isas()),
            "instruction set in use": used,
        },
        "threads": threadpool_info(),
    }


def show_versions() -> None:
    """Print versions, instruction sets and threads: what a report of a defect should contain.

    These are Python and the machine, the packages that fastsgd uses (None: not installed), the
    compiler of the core, the instruction sets that the machine runs, and the libraries with
    threads, as threadpoolctl sees them.

    Examples
    --------
    >>> import fastsgd
    >>> fastsgd.show_versions()  # doctest: +ELLIPSIS
    System
      python ...
    """
    found = environment()
    for title, part in (("System", "system"), ("Packages", "packages"), ("Core", "core")):
        print(f"{title}\n{_lines(found[part])}\n")
    libraries = [_lines(library) for library in found["threads"]] or ["  none"]
    print("Libraries with threads\n" + "\n\n".join(libraries))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lines(values: Mapping[str, Any]) -> str:
    width = max(map(len, values))
    return "\n".join(f"  {name.ljust(width)}  {value}" for name, value in values.items())
