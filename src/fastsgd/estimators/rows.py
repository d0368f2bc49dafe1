"""What a call of an estimator trains on: arrays as they are given, or the rows of a source.

Rows of a source that fit into ``pool_bytes`` are arrays from then on. Others go through a cache on
disk (:mod:`fastsgd.data.cache`), or are read anew in every epoch, and are trained on as a stream of
windows: the call then sees a sample of them, by which it finds classes and rates, and
:class:`TableStream` has all of them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar, cast

import numpy as np

from ..data import Block, Source, is_source, open_source
from ..data.ahead import at_the_end, blocks_ahead
from ..data.cache import BLOCK_BYTES, Cache, open_cache, write_cache
from ..data.first_pass import FirstPass, bytes_of, joined_blocks, rows_of
from ..data.partial import remove_folder
from ..data.rereading import SourceTable
from .streams import TableStream

__all__ = [
    "POOL_BYTES",
    "Rows",
    "SourceOptions",
    "arrays_or_cache",
    "block_bytes_of",
    "by_blocks",
    "comes_in_blocks",
    "in_memory",
    "keep_columns",
    "opened",
    "predicted_pairs",
    "publish_columns",
    "sampled",
]

POOL_BYTES = 1 << 29
"""Memory for the rows of a source, where the user does not say how much."""

POOL_BLOCKS, LEAST_BLOCK = 64, 1 << 16
"""Blocks are smaller where fewer than so many fit into this memory, but not below so many bytes."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


class SourceOptions(TypedDict, total=False):
    """How a source is read, where X is one: see :func:`fastsgd.data.open_source`."""

    target: str | int | Sequence[str] | Sequence[int] | None
    features: Sequence[str] | int | None
    categorical: str | Sequence[str] | None
    text: str | Sequence[str] | None
    hash_bits: int
    missing: str
    keep_names: int
    cache: str | os.PathLike[str] | bool | None
    pool_bytes: int


def comes_in_blocks(X: Any, *, target: Any = None) -> bool:
    """Whether X is a source, opened or not: see :func:`fastsgd.data.is_source`."""
    return isinstance(X, Source) or is_source(X, target=target)


@dataclass
class Rows:
    """What a call trains on.

    Attributes
    ----------
    X, y, sample_weight
        As the user gave them; of a source all of its rows, or a sample of them.
    stream : TableStream or None
        All rows, if X is a sample.
    source : Source or None
        What the rows are of.
    hashed_names : dict of int to str
        Names that were met in its hashed columns.
    """

    X: Any
    y: Any
    sample_weight: Any
    stream: TableStream | None = None
    source: Source | None = None
    hashed_names: dict[int, str] = field(default_factory=dict)

    def validation(self, X_val: Any, y_val: Any) -> tuple[Any, Any]:
        """The rows of a validation set, which may be a source with the same columns.

        Raises
        ------
        ValueError
            If they do not fit into ``POOL_BYTES``.
        """
        columns = None if self.source is None else self.source.columns
        if X_val is None or not comes_in_blocks(X_val, target=None if columns is None else True):
            return X_val, y_val
        parts, size = [], 0
        for block in open_source(X_val, columns=columns).blocks():
            size += bytes_of(block.X)
            if size > POOL_BYTES:
                raise ValueError(f"X_val must fit into {POOL_BYTES} bytes of memory")
            parts.append(block)
        rows = joined_blocks(parts)
        return rows.X, rows.y


def publish_columns(estimator: Any, rows: Rows) -> None:
    """Say how the columns of the source became X, for predictions of others like it."""
    attributes = vars(estimator)
    for name in ("columns_", "hashed_names_"):
        attributes.pop(name, None)
    keep_columns(estimator, rows)


def keep_columns(estimator: Any, rows: Rows) -> None:
    """The same, unless the rows were arrays: then what was said before remains."""
    if rows.source is not None and rows.source.columns is not None:
        estimator.columns_ = rows.source.columns
        if rows.hashed_names:
            estimator.hashed_names_ = rows.hashed_names


@contextlib.contextmanager
def opened(
    estimator: Any, X: Any, y: Any, sample_weight: Any, options: dict[str, Any]
) -> Iterator[Rows]:
    """The rows of a call; what it takes to read them is given back at the end.

    Raises
    ------
    TypeError
        If there are options, and X is no source.
    """
    if isinstance(X, Rows):  # of a search, which has opened them
        yield X
        return
    if not options and (type(X) is np.ndarray or not comes_in_blocks(X)):
        yield Rows(X, y, sample_weight)
        return
    options = dict(options)
    cache, pool_bytes = options.pop("cache", True), options.pop("pool_bytes", POOL_BYTES)
    if not isinstance(pool_bytes, (int, np.integer)) or pool_bytes < 1:
        raise ValueError(f"pool_bytes must be a positive integer, got {pool_bytes!r}")
    if isinstance(X, Source):
        source = X
        if options or y is not None or sample_weight is not None:
            raise TypeError("X is a source that was opened: it has y, sample_weight and options")
    else:
        if not comes_in_blocks(X, target=options.get("target")):
            raise TypeError(
                f"{', '.join(options) or 'cache'} must be given with a source of rows only, and X "
                f"is {type(X).__name__}: see fastsgd.data.open_source"
            )
        options.setdefault("columns", _known_columns(estimator, options))
        source = open_source(X, y, sample_weight, **options)
    stack = contextlib.ExitStack()
    try:
        yield _rows_of(source, cache, int(pool_bytes), stack)
        stack.close()
    except BaseException as error:
        stack.close()  # again, where Ctrl-C came before close had done anything
        # What Python's threading makes of Ctrl-C while it takes a lock again, or gives it back.
        within = isinstance(error, RuntimeError) and "lock" in str(error)
        if within and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def in_memory(rows: Rows, what: str) -> Rows:
    """The same, all of them in arrays, also if there is a cache of them on disk.

    Parameters
    ----------
    rows : Rows
    what : str
        What needs rows in memory, for the message: a plural.

    Raises
    ------
    ValueError
        If they do not fit into ``pool_bytes``.
    """
    if rows.stream is None:
        return rows
    table, pool_bytes = rows.stream.table, rows.stream.pool_bytes
    if table.bytes > pool_bytes:
        raise ValueError(
            f"{what} need all rows in memory: X has {table.rows} rows of {table.bytes} bytes in "
            f"all, and pool_bytes is {pool_bytes}. Give a larger pool_bytes, fewer rows, or parts "
            "of the rows to partial_fit"
        )
    block = joined_blocks([rows_of(block, np.arange(len(block))) for block in table.blocks()])
    arrays = block.X, block.y, block.sample_weight
    return Rows(*arrays, source=rows.source, hashed_names=rows.hashed_names)


def sampled(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Rows | None, int]:
    """Rows of a source in memory: all of them, or if they do not fit into ``POOL_BYTES`` a sample.

    Parameters
    ----------
    estimator : object
        By whose columns the source is read, if it was fitted on one.
    X, y, sample_weight
        As in ``fit``.

    Returns
    -------
    rows : Rows or None
        None where X is no source.
    count : int
        Number of all rows, if these are a sample; else 0.

    Raises
    ------
    TypeError
        If X is a source that was opened, and y or weights are given.
    """
    columns = vars(estimator).get("columns_") if hasattr(estimator, "__dict__") else None
    if not comes_in_blocks(X, target=None if columns is None else True):
        return None, 0
    if isinstance(X, Source):
        source = X
        if y is not None or sample_weight is not None:
            raise TypeError("X is a source that was opened: it has y and sample_weight")
    else:
        source = open_source(X, y, sample_weight, columns=columns)
    first, rest = _first_blocks(source, POOL_BYTES)
    if rest is None:
        if not any(map(len, first)):
            raise ValueError("the source has no rows")
        block = joined_blocks(first)
        return Rows(block.X, block.y, block.sample_weight, source=source), 0
    found = FirstPass()
    for block in _chained(first, rest):
        found.add(block)
    block = found.sample()
    return Rows(block.X, block.y, block.sample_weight, source=source), found.rows


def _known_columns(estimator: Any, options: dict[str, Any]) -> Any:
    """The columns of the fit so far, where nothing else is said; they must name a target."""
    columns = vars(estimator).get("columns_")
    return columns if columns is not None and not options else None


def _rows_of(source: Source, cache: Any, pool_bytes: int, stack: contextlib.ExitStack) -> Rows:
    """All rows of a source, or a sample of them and the stream."""
    if cache is None or cache is False:
        if not source.repeatable:
            raise ValueError(
                "rows of an iterator can be read only once, and cache=None reads them in every "
                "epoch: give a callable that returns a fresh iterator, or leave cache out"
            )
        return _streamed(source, SourceTable(source), pool_bytes, stack)
    folder: Any = None
    if cache is not True:
        folder = os.fspath(cache)
    found = arrays_or_cache(source, folder, pool_bytes, functools.partial(_temporary, stack))
    if isinstance(found, Cache):
        return _streamed(source, found, pool_bytes, stack)
    if not len(found):
        raise ValueError("the source has no rows")
    names = dict(source.hashed_names)
    return Rows(found.X, found.y, found.sample_weight, source=source, hashed_names=names)


def arrays_or_cache(
    source: Source,
    folder: str | None,
    pool_bytes: int,
    temporary: Callable[[], str],
    write: Callable[..., Cache] = write_cache,
) -> Block | Cache:
    """All rows of a source in arrays, or a cache of them.

    Parameters
    ----------
    source : Source
    folder : str or None
        Of the cache, which is found there, or made. None: rows are arrays if X has at most
        ``pool_bytes``.
    pool_bytes : int
    temporary : callable
        Gives the folder of the cache where none was named and X has more.
    write : callable, default=write_cache
        What makes a cache.

    Returns
    -------
    Block or Cache
        A block without rows, if the source has none and no folder was named.

    Raises
    ------
    ValueError
        If there is a cache in the folder, and it is of something else.
    """
    found = None if folder is None else open_cache(folder, source)
    if found is not None:
        return found
    first, rest = _first_blocks(source, pool_bytes if folder is None else 0)
    if rest is None:
        full = [block for block in first if len(block)]
        if full:
            return joined_blocks(full)
        return first[0] if first else Block(np.empty((0, source.n_features), dtype=np.float32))
    blocks, size = _chained(first, rest), block_bytes_of(pool_bytes)
    return write(source, folder or temporary(), blocks=blocks, block_bytes=size)


def block_bytes_of(pool_bytes: int) -> int:
    """Bytes of X in a block of a cache, for pools of so many bytes."""
    return min(BLOCK_BYTES, max(LEAST_BLOCK, pool_bytes // POOL_BLOCKS))


def _temporary(stack: contextlib.ExitStack) -> str:
    """A folder for a cache that is removed at the end."""
    parent = os.path.join(tempfile.gettempdir(), f"fastsgd-{secrets.token_hex(8)}")
    at_the_end(stack, functools.partial(remove_folder, parent))
    os.mkdir(parent, 0o700)
    return os.path.join(parent, "cache")


def _chained(first: list[Block], rest: Iterator[Block]) -> Iterator[Block]:
    """The blocks in memory, which are let go one by one, and then the others."""
    first.reverse()
    while first:
        yield first.pop()
    yield from rest


def _first_blocks(source: Source, most: int) -> tuple[list[Block], Iterator[Block] | None]:
    """Blocks of up to so many bytes, and the iterator of the rest; None if that is all."""
    blocks, size, iterator = [], 0, blocks_ahead(source)
    for block in iterator:
        # The arrays of a user's blocks may be used again for the next ones.
        blocks.append(rows_of(block, np.arange(len(block))) if source.columns is None else block)
        size += bytes_of(block.X)
        if size > most:
            return blocks, iterator
    return blocks, None


def _streamed(
    source: Source,
    table: Cache | SourceTable,
    pool_bytes: int,
    stack: contextlib.ExitStack,
) -> Rows:
    sample = table.sample()
    stream = TableStream(table, pool_bytes)
    at_the_end(stack, stream.close)
    names = dict(source.hashed_names)
    if isinstance(table, Cache):  # which may have been there before
        names = {int(column): name for column, name in table.manifest.hashed_names.items()}
    return Rows(sample.X, sample.y, sample.sample_weight, stream, source, names)


def by_blocks(method: _Method) -> _Method:
    """A method of rows X that takes sources too: block by block, with the columns of the fit."""

    @functools.wraps(method)
    def wrapped(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if type(X) is np.ndarray:
            return method(self, X, *args, **kwargs)
        columns = vars(self).get("columns_")
        if not comes_in_blocks(X, target=None if columns is None else True):
            return method(self, X, *args, **kwargs)
        parts = [method(self, block.X, *args, **kwargs) for block in blocks_to_predict(self, X)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    return cast(_Method, wrapped)


def predicted_pairs(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Targets, predictions and weights of rows; of a source its own targets and weights.

    Raises
    ------
    ValueError
        If a source has no targets.
    """
    columns = vars(estimator).get("columns_")
    if y is not None or not comes_in_blocks(X, target=None if columns is None else True):
        return y, estimator.predict(X), sample_weight
    targets: list[Any] = []
    predictions: list[Any] = []
    weights: list[Any] = []
    for block in blocks_to_predict(estimator, X):
        if block.y is None:
            raise ValueError("X must have the targets too, to be scored")
        targets.append(block.y)
        predictions.append(estimator.predict(block.X))
        weights.append(block.sample_weight)
    if sample_weight is None and weights[0] is not None:
        sample_weight = np.concatenate(weights)
    return np.concatenate(targets), np.concatenate(predictions), sample_weight


def blocks_to_predict(estimator: Any, X: Any) -> Iterator[Block]:
    """The blocks of a source, read as that of the fit.

    Raises
    ------
    ValueError
        If it has no rows.
    """
    source = X if isinstance(X, Source) else open_source(X, columns=vars(estimator).get("columns_"))
    none = True
    for block in source.blocks():
        if len(block):
            none = False
            yield block
    if none:
        raise ValueError("the source has no rows")
