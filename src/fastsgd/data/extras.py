"""Libraries of the extra "data", imported when they are needed."""

from __future__ import annotations

import functools
import importlib
from typing import Any

__all__ = ["xxhash"]


@functools.cache
def xxhash() -> Any:
    """The module.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return importlib.import_module("xxhash")
    except ImportError as error:
        raise ImportError(
            "the cache needs xxhash for its checksums: pip install 'fastsgd[data]'"
        ) from error
