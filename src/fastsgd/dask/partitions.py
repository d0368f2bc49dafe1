"""The rows of a user as partitions: tasks that make a block each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import Source, open_source
from .extras import is_collection, library

__all__ = ["Partitions", "array_of", "partitions_of"]


@dataclass
class Partitions:
    """The rows of a user, in their order.

    Attributes
    ----------
    blocks : list of Delayed
        Each a :class:`fastsgd.data.Block`.
    feature_names : list of str or None
        Of a data frame.
    source : Source or None
        Whose columns all partitions have.
    """

    blocks: list[Any] = field(default_factory=list)
    feature_names: list[str] | None = None
    source: Source | None = None

    def named(self, X: Any) -> Any:
        """A sample of X, with the names of its features."""
        if self.feature_names is None:
            return X
        return library("pandas").DataFrame(X, columns=self.feature_names, copy=False)


def partitions_of(X: Any, y: Any, sample_weight: Any, options: dict[str, Any]) -> Partitions:
    """The rows of what a user gave to ``fit``.

    Raises
    ------
    TypeError
        If X is none of the forms that are trained on.
    ValueError
        If an option does not suit X, or X and y have not the same partitions.
    """
    for name in ("cache", "pool_bytes"):
        if name in options:
            raise TypeError(f"{name} must be given with paths only: other rows are in memory")
    if is_collection(X) and hasattr(X, "npartitions") and hasattr(X, "columns"):
        if options.get("target") is not None or "columns" in options:
            return _of_frame(X, y, sample_weight, options)
        names = [name for name in X.columns if isinstance(name, str)]
        names = names if len(names) == len(X.columns) else []
        _refuse(options, "a data frame with target=")
        return Partitions(_of_arrays(X, y, sample_weight), names or None)
    _refuse(options, "a data frame with target=, or with paths")
    if is_collection(X):
        return Partitions(_of_arrays(X, y, sample_weight))
    if _is_delayed_list(X):
        if y is not None or sample_weight is not None:
            raise ValueError("y and sample_weight must not be given: delayed blocks have them")
        return Partitions([_block_of_parts(block, i) for i, block in enumerate(X)])
    raise TypeError(
        "X must be an array or a data frame of Dask, a list of delayed blocks (X, y), or paths, "
        f"got {type(X).__name__}: of rows in memory dask.array.from_array makes an array, and "
        "fastsgd.SGDClassifier and SGDRegressor train on them as they are"
    )


def _refuse(options: dict[str, Any], what: str) -> None:
    if any(value is not None for value in options.values()):
        raise TypeError(f"{', '.join(options)} must be given with {what} only")


def _is_delayed_list(X: Any) -> bool:
    """Whether X is a list of delayed objects or futures, one at least."""
    if not isinstance(X, (list, tuple)) or not X:
        return False
    kinds = library("dask.delayed").Delayed, library("distributed").Future
    return all(isinstance(block, kinds) for block in X)


def where_of(number: int) -> str:
    """How messages name a partition."""
    return f"partition {number} of X"


def _block_of_parts(parts: Any, number: int) -> Any:
    from .tasks import block_of_parts

    delayed = library("dask").delayed
    return delayed(block_of_parts, pure=False)(parts, where_of(number))


def _of_arrays(X: Any, y: Any, sample_weight: Any) -> list[Any]:
    """Blocks of an array, with targets and weights that are chunked as it is."""
    X = array_of(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, got {X.ndim}")
    if y is None:
        raise ValueError("y must be given: an array of Dask with the targets of the rows of X")
    parts = [X.to_delayed().ravel()]
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        if values is not None:
            parts.append(_like(X, values, name).to_delayed().ravel())
    return [_block_of_parts(list(each), i) for i, each in enumerate(zip(*parts, strict=True))]


def array_of(X: Any, name: str) -> Any:
    """An array of Dask, with all columns in one chunk; a data frame or a column as an array."""
    if hasattr(X, "to_dask_array"):
        with warnings.catch_warnings():  # strings become objects
            warnings.filterwarnings("ignore", "Dask currently has limited support")
            X = X.to_dask_array()
    if not is_collection(X) or not hasattr(X, "chunks"):
        raise TypeError(f"{name} must be an array or a data frame of Dask, got {type(X).__name__}")
    if X.ndim == 2 and len(X.chunks[1]) > 1:
        X = X.rechunk({1: -1})
    return X


def _like(X: Any, values: Any, name: str) -> Any:
    """Targets or weights, chunked as the rows of X.

    Raises
    ------
    ValueError
        If they are not as many.
    """
    rows = X.chunks[0]
    known = not any(np.isnan(rows))
    if not is_collection(values):
        if not known:
            raise ValueError(
                f"{name} must be an array of Dask with the partitions of X, whose rows are not "
                "known: X.compute_chunk_sizes() finds them"
            )
        values = np.asarray(values)
        if values.shape[:1] != (sum(rows),):
            raise ValueError(f"{name} must have {sum(rows)} rows, as X has: it has {len(values)}")
        return library("dask.array").from_array(values, chunks=(rows, *values.shape[1:]))
    values = array_of(values, name)
    others = values.chunks[0]
    if rows == others:
        return values
    if known and not any(np.isnan(others)):
        if sum(rows) != sum(others):
            raise ValueError(f"{name} must have {sum(rows)} rows, as X has: it has {sum(others)}")
        return values.rechunk({0: rows})
    if len(rows) != len(others):
        raise ValueError(
            f"{name} must have the {len(rows)} partitions of X, and has {len(others)}; with "
            "compute_chunk_sizes() of both they are chunked alike"
        )
    return values


def _of_frame(X: Any, y: Any, sample_weight: Any, options: dict[str, Any]) -> Partitions:
    """Blocks of a data frame, by the rules of :class:`fastsgd.data.Columns`."""
    from .tasks import block_of_frame

    if y is not None:
        raise ValueError("y must not be given: it is the column that target names")
    if options.get("missing") == "mean":
        raise ValueError("missing='mean' needs means: X.fillna(X.mean()) fills in these of Dask")
    source = open_source(X._meta_nonempty, sample_weight=sample_weight, **options)
    delayed = library("dask").delayed(block_of_frame, pure=False)
    parts = X.to_delayed()
    columns = source.columns
    blocks = [delayed(part, columns, where_of(i)) for i, part in enumerate(parts)]
    return Partitions(blocks, source=source)
