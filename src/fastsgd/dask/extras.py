"""Libraries of the extra "dask", imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["is_collection", "library"]


def library(name: str) -> Any:
    """A module of dask or of distributed.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"fastsgd.dask needs {name.split('.')[0]}: pip install 'fastsgd[dask]'"
        ) from error


def is_collection(X: Any) -> bool:
    """Whether X is an array or a data frame of Dask."""
    return hasattr(X, "__dask_graph__") and hasattr(X, "to_delayed")
