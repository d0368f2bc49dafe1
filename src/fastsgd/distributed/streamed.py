"""Shards of files: rows that are opened by whoever trains them, and streamed if they are many.

A shard whose X has at most ``pool_bytes`` is arrays in memory. Another one goes through a cache on
the disk of whoever trains it, and is then trained on as a stream of windows, in the order that
:mod:`fastsgd.data.pools` gives for its rows. A :class:`StreamedShard` has no rows and no state: it
says where the cache lies, what it must contain, and how it is made anew where there is none.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import Run
from ..data.ahead import blocks_ahead
from ..data.block import Block
from ..data.cache import Cache, write_cache
from ..data.extras import xxhash
from ..data.first_pass import Labels, Moments, numbers_of_sample, rows_of
from ..data.ranges import PartOfSource, ranges_of
from ..data.reading import PoolReader, blocks_of_a_pool
from ..data.source import Source
from ..estimators.rows import arrays_or_cache, block_bytes_of
from ..estimators.standardise import Scaling
from ..estimators.streams import TableStream
from ..problem import Data, Lanes, computed_in
from ..solver.epochs import Clock
from ..solver.windows import pieces
from .groups import MOST_SHARDS, groups_of
from .held_out import HeldOut, rows_of_lanes
from .rounds import Common, Part, Plan, combine
from .shards import Shard, ShardSummary, counted
from .steps import advanced, no_part, part_of, part_of_epoch, seed_of, started, sums_at

__all__ = ["ShardSource", "StreamedShard", "open_shard", "shard_sources"]

A_SHARD = 1 << 20
"""Rows of a single file that are a shard, where the user does not say how many there are."""

COUNTS = "counts.npy"
"""File in the folder of a cache of CSR: how many values each feature has."""


@dataclass(frozen=True)
class ShardSource:
    """A part of the files, before anything of it is read.

    Attributes
    ----------
    number : int
        Of the shard, from 0.
    source : PartOfSource
    folder : str
        Of the cache.
    named : bool
        Whether the user has named it: then rows go through it however few they are.
    pool_bytes : int
        Memory for the rows of the shard.
    """

    number: int
    source: PartOfSource
    folder: str
    named: bool
    pool_bytes: int

    @property
    def where(self) -> str:
        """How messages name the shard."""
        return f"shard {self.number} of X, {self.source.where}"


def shard_sources(
    source: Source, shards: int | None, pool_bytes: int, cache: str | None, temporary: str
) -> list[ShardSource]:
    """The parts of a source of files that are shards.

    Parameters
    ----------
    source : Source
        Of paths.
    shards : int or None
        How many. None: one for each file, and of a single file one for each ``A_SHARD`` rows; at
        most ``MOST_SHARDS``.
    pool_bytes : int
        Memory for the rows of a shard.
    cache : str or None
        Folder of the caches of all shards, if the user has named one.
    temporary : str
        Folder of the caches of those that do not fit, otherwise.

    Returns
    -------
    list of ShardSource
        In the order of the rows. They depend on the arguments alone.

    Raises
    ------
    ValueError
        If there are fewer ranges of files than shards.
    """
    ranges = ranges_of(source)
    sizes = [each.size for each in ranges]
    files = [list(group) for _, group in itertools.groupby(ranges, key=lambda each: each.file)]
    if shards is None and 1 < len(files) <= MOST_SHARDS:
        groups = files
    else:
        if shards is None:
            rows = sum(sizes) if len(ranges) > 1 else 0
            shards = len(files) if len(files) > 1 else max(1, rows // A_SHARD)
            shards = min(shards, len(ranges), MOST_SHARDS)
        units = "row groups, record batches, blocks of rows or whole files that"
        more = "X has: write more of them"
        parts = groups_of(sizes, shards, units, more)
        groups = [[ranges[i] for i in part] for part in parts]
    folder = temporary if cache is None else cache
    return [
        ShardSource(
            i,
            PartOfSource(source, group),
            os.path.join(folder, f"shard-{i:04d}-of-{len(groups):04d}"),
            cache is not None,
            pool_bytes,
        )
        for i, group in enumerate(groups)
    ]


def open_shard(source: ShardSource) -> Shard | StreamedShard:
    """Read the rows of a shard once: into memory, or into a cache unless there is one.

    Parameters
    ----------
    source : ShardSource

    Returns
    -------
    Shard or StreamedShard
        The same for the same files and ``pool_bytes``, wherever it is opened.

    Raises
    ------
    ValueError
        Naming the shard and what is wrong; also if there is a cache of something else.
    OSError
        If there is no place for the cache, or no permission.
    """
    here = source.named or os.path.exists(source.folder)
    folder = source.folder if here else None
    try:
        found = arrays_or_cache(
            source.source, folder, source.pool_bytes, lambda: source.folder, _written
        )
    except ValueError as error:
        raise ValueError(f"{source.where}: {error}") from error
    if isinstance(found, Cache):
        return _streamed(source, found)
    weight = found.sample_weight
    if weight is not None and len(found):
        weight = weight.astype(computed_in(found.X), copy=False)
    return counted(Shard(source.number, found.X, found.y, weight))


def _written(source: Source, folder: str, *, blocks: Iterator[Block], block_bytes: int) -> Cache:
    """Write a cache; of CSR with the number of values of each feature."""
    counts: list[NDArray[np.int64]] = []

    def counted() -> Iterator[Block]:
        for block in blocks:
            if sp.issparse(block.X):
                if not counts:
                    counts.append(np.zeros(block.X.shape[1], dtype=np.int64))
                np.add.at(counts[0], block.X.indices, 1)
            yield block

    def finish(partial: Path) -> None:
        if counts:
            np.save(partial / COUNTS, counts[0])

    return write_cache(source, folder, blocks=counted(), block_bytes=block_bytes, finish=finish)


def _digest(cache: Cache) -> str:
    """Of all numbers of the rows."""
    m = cache.manifest
    said = json.dumps([m.blocks, m.labels, m.label_kind, m.features], sort_keys=True)
    return str(xxhash().xxh3_64_hexdigest(said.encode()))


def _streamed(source: ShardSource, cache: Cache) -> StreamedShard:
    m, target = cache.manifest, "absent"
    if m.y_dtype:
        target = "text" if m.label_kind == "str" else "numbers"
        target += "" if m.outputs is None else f" in {m.outputs} columns"
    kind = m.features, str(cache.dtype), m.sparse, bool(m.weight_dtype), target
    counts = not m.weight_dtype or any(cache.weights(i).any() for i in range(cache.count))
    return StreamedShard(source, m.rows, cache.bytes, _digest(cache), kind, counts)


@dataclass(frozen=True)
class StreamedShard:
    """Rows that are trained on from the disk of whoever does.

    Attributes
    ----------
    source : ShardSource
        What the rows are of.
    rows : int
    bytes : int
        Of the cache.
    digest : str
        Of all numbers of the rows.
    kind : tuple
        Features, dtype of X, whether it is sparse, whether rows have weights, and what y is:
        "absent", "numbers" or "text", and its columns.
    counts : bool
        Whether a row has a positive weight.
    estimator : object or None
        Whose targets are trained on, once there is one.
    """

    source: ShardSource
    rows: int
    bytes: int
    digest: str
    kind: tuple[int, str, bool, bool, str]
    counts: bool
    estimator: Any = None

    @property
    def number(self) -> int:
        """See :class:`fastsgd.distributed.Shard`."""
        return self.source.number

    def within(self, folder: str) -> StreamedShard:
        """The same with a cache below a folder, if the user has named none."""
        return replace(self, source=placed(self.source, folder))

    def cache(self) -> Cache:
        """The rows on disk, which are written anew where there are none.

        Raises
        ------
        ValueError
            If they are not what they were.
        """
        source = self.source
        try:
            if os.path.exists(source.folder):
                cache = Cache(source.folder)
            else:
                size = block_bytes_of(source.pool_bytes)
                blocks = blocks_ahead(source.source)
                cache = _written(source.source, source.folder, blocks=blocks, block_bytes=size)
        except ValueError as error:
            raise ValueError(f"{source.where}: {error}") from error
        if _digest(cache) != self.digest:
            raise ValueError(f"{source.where}: the rows changed while they were trained on")
        return cache

    def blocks(self) -> Iterator[Block]:
        """The rows, in storage order."""
        return self.cache().blocks()

    def sample_rows(self, shards: int, firsts: Sequence[int]) -> NDArray[np.int64]:
        """Numbers of the rows of the sample of :meth:`summary`; see ``AnyShard``."""
        sample = self.cache().sample()
        return numbers_of_sample(self.rows, len(sample), firsts)[_thinned(sample, shards)]

    def summary(self, shards: int, moments: bool) -> ShardSummary:
        """See :func:`fastsgd.distributed.summary_of`."""
        cache = self.cache()
        m, found = cache.manifest, None
        if moments and not m.sparse:
            found = Moments(*np.zeros((2, m.features)))
            for block in cache.blocks():
                found.add(block.X, block.sample_weight)
        labels, sample = None if cache.labels is None else cache.labels.tolist(), cache.sample()
        return ShardSummary(
            self.number,
            m.rows,
            m.features,
            m.dtype,
            m.sparse,
            bool(m.weight_dtype),
            labels,
            cache.label_weights,
            rows_of(sample, _thinned(sample, shards)),
            found,
            (m.block_rows, min(cache.count, blocks_of_a_pool(cache, self.source.pool_bytes))),
            {int(column): name for column, name in m.hashed_names.items()},
        )

    def step(self, plan: Plan, common: Common) -> Part:
        """See :func:`fastsgd.distributed.shard_step`.

        Raises
        ------
        DivergenceError
            If a score is not finite.
        ValueError
            If the rows cannot be read, or are not what they were.
        """
        first, end = part_of_epoch(plan, self.rows, common.round)
        if first == end or not self.counts:
            return no_part(plan, common)
        cache = self.cache()
        stream = _RowsOfLanes(cache, self.source.pool_bytes, plan.held_out, self.number)
        try:
            if plan.gradient:
                return _sums(plan, common, stream, self.estimator)
            stream.begin(self.estimator, seed_of(plan, self.number), 0.0)
            stream.scaling = Scaling(plan.offset, plan.scale)
            assert isinstance(stream.reader, PoolReader)
            stream.reader.last = common.epoch, end - 1
            settings = replace(plan.settings, sampling=stream.sampling)
            counts = _values_of_features(cache) if plan.by_feature else None
            return _trained(replace(plan, settings=settings), common, stream, (first, end), counts)
        finally:
            stream.close()


class _RowsOfLanes(TableStream):
    """The windows of a cache, for lanes that may leave rows out."""

    def __init__(self, cache: Cache, pool_bytes: int, rule: HeldOut | None, shard: int) -> None:
        super().__init__(cache, pool_bytes)
        self.rule, self.shard = rule, shard

    def _left_out(
        self, numbers: Callable[[], NDArray[np.int64]], weight: NDArray[Any] | None, dtype: Any
    ) -> tuple[NDArray[Any] | None, NDArray[np.uint64] | None]:
        if self.rule is None:
            return weight, None
        return self.rule.weights(self.shard, numbers(), weight, dtype)


def placed(source: ShardSource, folder: str) -> ShardSource:
    """A shard whose cache lies below a folder, if the user has named none."""
    if source.named:
        return source
    return replace(source, folder=os.path.join(folder, source.folder))


def _thinned(sample: Block, shards: int) -> NDArray[np.int64]:
    """Rows of a part of a sample: every so many, and the first one of each label."""
    firsts: Sequence[int] = []
    if shards > 1 and sample.y is not None and sample.y.ndim == 1:
        firsts, _ = Labels().add(sample.y, None)
    even = np.arange(0, len(sample), shards)
    return np.append(even, firsts).astype(np.int64)


def _values_of_features(cache: Cache) -> NDArray[np.float64]:
    """How many values each feature has.

    Raises
    ------
    ValueError
        If the file of them is not there, or broken.
    """
    path = cache.folder / COUNTS
    try:
        counts = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}. Remove the folder.") from None
    if counts.shape != (cache.features,) or counts.dtype != np.int64:
        raise ValueError(f"{str(path)!r} is broken. Remove the folder.")
    return counts.astype(np.float64)


def _sums(plan: Plan, common: Common, stream: TableStream, estimator: Any) -> Part:
    """Losses and gradients of all rows at the common weights, in a pass in storage order."""
    in_order = copy.copy(estimator)
    in_order.shuffle = False
    stream.begin(in_order, 0, 0.0)
    assert isinstance(stream.reader, PoolReader)
    stream.reader.last = 0, stream.rows - 1
    windows = stream.windows(0, 0)
    return functools.reduce(combine, (sums_at(plan, common, window) for window in windows))


def _trained(
    plan: Plan,
    common: Common,
    stream: TableStream,
    rows: tuple[int, int],
    of_features: NDArray[np.float64] | None,
) -> Part:
    """What a shard comes to after the rows of a round, from the first to one behind the last."""
    first, end = rows
    weights: list[Any] = [0.0]
    windows = _weighed(stream.windows(common.epoch, first), plan.lanes, rows, weights)
    window = next(windows)
    state = started(window, plan, common, first)
    rate, clipped, clock = math.nan, False, Clock()
    for piece in pieces(itertools.chain([window], windows), plan.settings, state):
        run = Run(piece, plan.lanes, plan.settings, state)
        stop, done = min(end, piece.end), False
        while state.epoch == common.epoch and state.row < stop and not done:
            done = advanced(clock, run, piece, state, stop)
            clipped |= run.clipped
        rate = run.rate if run.rate == run.rate else rate
        if state.epoch != common.epoch or state.row >= end:
            return part_of(plan, common, state, run, (weights[0], of_features, rate, clipped))
    raise ValueError(f"the rows end before row {end} of an epoch of {window.epoch_rows}")


def _weighed(
    windows: Iterator[Data], lanes: Lanes, rows: tuple[int, int], weights: list[Any]
) -> Iterator[Data]:
    """The windows; their rows of positive weight from one position to another are counted."""
    for window in windows:
        a, b = (max(0, position - window.first_row) for position in rows)
        those: Any = slice(a, b) if window.order is None else window.order[a:b]
        weights[0] = weights[0] + rows_of_lanes(window, lanes, those)
        yield window
