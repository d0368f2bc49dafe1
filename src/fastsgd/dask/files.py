"""Shards of files on a Dask cluster: opened, and streamed where they are many, by the workers.

A shard that fits into ``pool_bytes`` is a future, as shards of arrays are. Of another one the
future is a :class:`fastsgd.distributed.streamed.StreamedShard`, which is small, and its rows are in
a cache on the disk of the worker. Dask takes it for as large as the cache, and so leaves its tasks
where that is, unless to wait there costs more than to make it anew elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import Columns, Source, open_source
from ..data.opening import is_paths
from ..data.partial import remove_folder
from ..distributed.streamed import ShardSource, shard_sources
from ..estimators.rows import POOL_BYTES
from .engine import DaskEngine, check_alike, token
from .extras import library
from .partitions import Partitions, partitions_of
from .tasks import Portrait, opened, portrait_of

__all__ = ["FilesEngine", "engine_of", "files_of", "rows_of_fit"]


class Files(Partitions):
    """Rows of files.

    Parameters
    ----------
    source : Source
        All of them.
    cache : str or None
        Folder of the caches, if the user has named one.
    pool_bytes : int
        Memory for the rows of a shard.
    """

    def __init__(self, source: Source, cache: str | None, pool_bytes: int) -> None:
        super().__init__(source=source)
        self.cache, self.pool_bytes = cache, pool_bytes


def rows_of_fit(
    X: Any, y: Any, sample_weight: Any, options: dict[str, Any], known: Columns | None = None
) -> Partitions:
    """The rows of what a user gave to ``fit``: see :func:`files_of` and :func:`partitions_of`."""
    if isinstance(X, (str, os.PathLike)) or is_paths(X):
        return files_of(X, y, sample_weight, options, known)
    return partitions_of(X, y, sample_weight, options)


def files_of(
    X: Any, y: Any, sample_weight: Any, options: dict[str, Any], known: Columns | None = None
) -> Files:
    """The rows of paths; ``known`` are the columns of a fit so far, if nothing else is said.

    Raises
    ------
    ValueError
        If an option does not suit them, or a file cannot be read.
    """
    options = dict(options)
    cache, pool_bytes = options.pop("cache", True), options.pop("pool_bytes", POOL_BYTES)
    if cache is None or cache is False:
        raise ValueError(
            "cache must be a folder, or left out: on a cluster rows that do not fit into "
            f"pool_bytes go through a cache, got {cache!r}"
        )
    if not isinstance(pool_bytes, (int, np.integer)) or pool_bytes < 1:
        raise ValueError(f"pool_bytes must be a positive integer, got {pool_bytes!r}")
    folder = None if cache is True else os.path.abspath(os.fspath(cache))
    if known is not None and not options:
        options["columns"] = known
    return Files(open_source(X, y, sample_weight, **options), folder, int(pool_bytes))


def engine_of(client: Any, partitions: Partitions, shards: int | None) -> DaskEngine:
    """What runs the steps of the shards of these rows."""
    kind = FilesEngine if isinstance(partitions, Files) else DaskEngine
    return kind(client, partitions, shards)


class FilesEngine(DaskEngine):
    """Runs the steps of shards of files.

    Parameters
    ----------
    client : distributed.Client
    partitions : Files
    shards : int or None
        See :func:`fastsgd.distributed.streamed.shard_sources`.

    Raises
    ------
    ValueError
        If a file cannot be trained on, or there are fewer ranges than shards.
    """

    def __init__(self, client: Any, partitions: Partitions, shards: int | None) -> None:
        assert isinstance(partitions, Files) and partitions.source is not None
        self.temporary = f"fastsgd-{token()}"
        self.found: list[Portrait] = []
        of = partitions.pool_bytes, partitions.cache, self.temporary
        self.sources: Sequence[ShardSource] = shard_sources(partitions.source, shards, *of)
        try:
            super().__init__(client, partitions, shards)
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        """Have the shards opened."""
        self.targets = []
        name = token()
        shards: dict[str, Any] = {
            f"fastsgd-shard-{name}-{i}": (opened, source) for i, source in enumerate(self.sources)
        }
        self.shards = self.client.get(shards, list(shards), sync=False)
        portraits: dict[str, Any] = {
            f"fastsgd-portrait-{name}-{i}": (portrait_of, shard)
            for i, shard in enumerate(self.shards)
        }
        found = self._gathered(portraits, list(portraits))
        check_alike(found, self._where)
        for i, (before, now) in enumerate(zip(self.found, found, strict=False)):
            if before != now:
                raise ValueError(f"{self._where(i)}: the rows changed while they were trained on")
        self.found, self.rows = found, [one.rows for one in found]
        if self.encoder is not None:
            self._encode()

    def _where(self, number: int) -> str:
        """How messages name a shard."""
        return self.sources[number].where

    def close(self) -> None:
        """Give back the shards, and have temporary caches removed."""
        super().close()
        if not all(source.named for source in self.sources):
            with contextlib.suppress(OSError, library("distributed").comm.CommClosedError):
                self.client.run(_remove, self.temporary, on_error="ignore")


def _remove(folder: str, dask_worker: Any) -> None:
    """Remove a folder of a worker."""
    remove_folder(os.path.join(dask_worker.local_directory, folder))
