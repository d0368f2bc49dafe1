"""What a source is opened from."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from .columns import Columns
from .iterators import CallableSource, IteratorSource, data_iter_factory
from .source import Source

__all__ = ["is_source", "open_source"]


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
    if isinstance(X, (list, tuple, np.ndarray)) or sp.issparse(X):
        return False
    if is_tabular(X):
        of_arrow = type(X).__module__.split(".")[0] == "pyarrow"
        if hasattr(X, "__array__"):  # a data frame, or a column
            return (of_arrow and hasattr(X, "num_rows")) or (not of_arrow and target is not None)
        return True
    if hasattr(X, "__array__"):
        return False
    return is_data_iter(X) or isinstance(X, Iterator) or callable(X)


def is_paths(X: Any) -> bool:
    """Whether X is a list of paths, one at least."""
    if not isinstance(X, (list, tuple)) or not X:
        return False
    return all(isinstance(path, (str, os.PathLike)) for path in X)


def is_tabular(X: Any) -> bool:
    """Whether X gives data of Arrow, or is a data frame of pandas, or a dataset."""
    if hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__"):
        return True
    bases = [(base.__module__.split(".")[0], base.__name__) for base in type(X).__mro__]
    return ("pandas", "DataFrame") in bases or ("pyarrow", "Dataset") in bases


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
    target: str | int | Sequence[str] | Sequence[int] | None = None,
    features: Sequence[str] | int | None = None,
    categorical: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    hash_bits: int = 18,
    missing: str = "error",
    keep_names: int = 0,
    columns: Columns | None = None,
) -> Source:
    """Open data that are read block by block.

    Columns that have names become X by the rules of :class:`Columns`: numbers stay as they are and
    come first; categories and words of texts are hashed behind them, and X is then CSR. Without
    these X is dense: float32 if all columns are floats of at most 32 bits or integers of at most
    16, uint8 or float16 if all are that, else float64. Dates and times are no numbers: leave them
    out of ``features``, or name them in ``categorical``.

    Parameters
    ----------
    X : source
        One of these:

        - a path, a glob, a URI, or a list of paths, of files of one kind: Parquet (.parquet, .pq),
          Arrow IPC (.arrow, .ipc, .feather), CSV with a header (.csv, .tsv), svmlight (.svm,
          .svmlight, .libsvm, .txt), both of these also compressed (.gz, .bz2, .zst), NumPy (.npy);
          or a directory of Parquet files, whose folders may be called ``name=value``. Files are
          read in the order of the list, those of a glob or directory sorted;
        - a ``pyarrow.dataset.Dataset``, a ``pyarrow.Table``, a ``RecordBatchReader``, a data frame
          of pandas or polars, a relation of DuckDB, or whatever gives Arrow data by
          ``__arrow_c_stream__`` or ``__arrow_c_array__``. The index of a data frame is left out;
        - a callable without arguments that returns a fresh iterator of blocks (X, y) or (X, y,
          sample_weight), dense or sparse;
        - an object with ``reset()`` and ``next(input_data)``, as XGBoost's DataIter has them;
        - an iterator of such blocks, which can be read only once.
    y : path or list of paths, optional
        Of .npy files with the targets of those in X.
    sample_weight : str, path or list of paths, optional
        The column of the weights; with .npy files those of the weights.
    target : str, int, list of str or list of int, optional
        The column of y, or a list of columns for y with two dimensions: names, or numbers of
        columns of .npy files.
    features : list of str or int, optional
        The columns of X. None for all but y and the weights. Of svmlight files the number of
        features, which otherwise takes a pass over them.
    categorical : str or list of str, optional
        Columns whose values are categories. None for strings, dictionaries and booleans; booleans
        are numbers if there is a list without them. CSV files are read as if these were strings.
    text : str or list of str, optional
        Columns of texts, whose words are counted.
    hash_bits : int, default=18
        Categories and words are hashed to ``2 ** hash_bits`` columns; from 1 to 30.
    missing : {"error", "zero", "mean"}, default="error"
        What a missing number becomes, null or NaN. "mean" takes a pass for the means.
    keep_names : int, default=0
        How many hashed columns are remembered by their most frequent name while reading, in
        ``hashed_names``: those that are met most often.
    columns : Columns, optional
        Of another source: this one is then read in the same way, without regard to all other
        options. Columns of y and weights may be absent; others than those needed are ignored.

    Returns
    -------
    Source
        Nothing is read yet but what the number of features, and the means, take.

    Raises
    ------
    ValueError
        If an option does not suit the source, or a column is missing or of a wrong type.
    TypeError
        If X is no source, or an option is of a wrong type.
    FileNotFoundError
        If there is no such file.
    ImportError
        If pyarrow is needed and not installed.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from fastsgd.data import open_source
    >>> table = pa.table({"age": [20.0, 30.0], "town": ["Ulm", "Bonn"], "bought": [True, False]})
    >>> source = open_source(table, target="bought", hash_bits=10)
    >>> [(block.X.shape, block.y.tolist()) for block in source.blocks()]
    [((2, 1025), [True, False])]
    """
    options: dict[str, Any] = {"features": features, "categorical": categorical, "text": text}
    check_options(columns, target, options)
    hash_bits, keep_names = integer("hash_bits", hash_bits), integer("keep_names", keep_names)
    Columns(hash_bits=hash_bits, missing=missing, keep_names=keep_names)  # checks them
    others = {
        "target": target,
        "sample_weight": sample_weight,
        "hash_bits": hash_bits,
        "missing": missing,
        "keep_names": keep_names,
    }
    if isinstance(X, (str, os.PathLike)) or is_paths(X):
        return with_pyarrow("files").open_files(X, y, columns, options | others)
    if is_tabular(X):
        if y is not None:
            raise ValueError("y is a column of X: name it in target")
        return with_pyarrow("tables").open_table(X, columns, options | others)
    given = {"y": y, "sample_weight": sample_weight, "target": target, "columns": columns}
    for name, value in (given | options).items():
        if value is not None:
            raise ValueError(f"{name} must not be given: blocks have y and no names of columns")
    if is_data_iter(X):
        return CallableSource(data_iter_factory(X), "DataIter")
    if isinstance(X, Iterator):
        return IteratorSource(X)
    if callable(X):
        return CallableSource(X)
    raise TypeError(
        f"X is no source of blocks, but a {type(X).__name__}; of a list of blocks "
        "`lambda: iter(blocks)` makes one"
    )


def integer(name: str, value: Any) -> int:
    """An integer of Python or NumPy as one of Python."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return int(value)


def check_options(columns: Any, target: Any, options: dict[str, Any]) -> None:
    """Refuse options beside columns that have them.

    Raises
    ------
    ValueError, TypeError
        Naming the option.
    """
    if columns is None:
        return
    if not isinstance(columns, Columns):
        raise TypeError(f"columns must be Columns, got {type(columns).__name__}")
    for name, value in ({"target": target} | options).items():
        if value is not None:
            raise ValueError(f"{name} must not be given together with columns, which have it")
