"""What a source is opened from."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import scipy.sparse as sp

from .columns import Columns
from .iterators import CallableSource, IteratorSource, data_iter_factory
from .source import Source

__all__ = ["is_source", "open_source"]

MISSING = ("error", "zero", "mean")

PathLike = str | os.PathLike[str]


def is_source(X: Any, *, target: Any = None) -> bool:
    """Whether X is read block by block, and not an array that the estimators take as it is.

    Parameters
    ----------
    X : object
        What an estimator was given.
    target : str or list of str, optional
        With it a data frame is a source too.

    Returns
    -------
    bool
        True for paths and lists of them, datasets and tables of Arrow, what gives Arrow data by its
        C interface, callables, iterators, and objects with ``reset`` and ``next``; False for
        arrays, lists of numbers and sparse matrices, and without ``target`` for data frames.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.data import is_source
    >>> is_source("rows/*.parquet"), is_source(np.ones((2, 2)))
    (True, False)
    """
    if isinstance(X, (str, os.PathLike)) or is_paths(X):
        return True
    if hasattr(X, "__array_interface__") or sp.issparse(X) or isinstance(X, (list, tuple)):
        return False
    if is_frame(X):
        return target is not None
    return is_tabular(X) or is_data_iter(X) or isinstance(X, Iterator) or callable(X)


def is_paths(X: Any) -> bool:
    """Whether X is a list of paths, one at least."""
    if not isinstance(X, (list, tuple)) or not X:
        return False
    return all(isinstance(path, (str, os.PathLike)) for path in X)


def is_frame(X: Any) -> bool:
    """Whether X is a data frame of pandas or polars."""
    kind = type(X)
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] in ("pandas", "polars")


def is_tabular(X: Any) -> bool:
    """Whether X gives data of Arrow."""
    if hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__") or is_frame(X):
        return True
    return any(base.__module__ == "pyarrow._dataset" for base in type(X).__mro__)


def is_data_iter(X: Any) -> bool:
    """Whether X has the verbs of XGBoost's DataIter."""
    return callable(getattr(X, "reset", None)) and callable(getattr(X, "next", None))


def with_pyarrow(module: str) -> Any:
    """A module of this package that needs pyarrow."""
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise ImportError(
            "files and tables are read by pyarrow: pip install 'fastsgd[data]'"
        ) from error
    return importlib.import_module(f".{module}", __package__)


def open_source(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    target: str | int | Sequence[str] | None = None,
    features: Sequence[str] | int | None = None,
    categorical: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    hash_bits: int = 18,
    missing: str = "error",
    keep_names: int = 0,
    columns: Columns | None = None,
) -> Source:
    options = {
        "target": target,
        "sample_weight": sample_weight,
        "features": features,
        "categorical": categorical,
        "text": text,
        "hash_bits": hash_bits,
        "missing": missing,
        "keep_names": keep_names,
    }
    if isinstance(X, (str, os.PathLike)) or is_paths(X):
        return with_pyarrow("files").open_files(X, y, columns, options)
    if is_tabular(X):
        return with_pyarrow("tables").open_table(X, columns, options)
    if is_data_iter(X):
        return CallableSource(data_iter_factory(X), "DataIter")
    if isinstance(X, Iterator):
        return IteratorSource(X)
    if callable(X):
        return CallableSource(X)
    raise TypeError(f"X is no source of blocks: {type(X).__name__}")
