"""What runs on the workers: pure functions of blocks and of shards.

Arrays that came from another worker lie at any address: they are copied where they are not aligned
to their items, which the core asks for. The module registers how many bytes blocks and shards have,
by which Dask decides where tasks run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from dask.sizeof import sizeof

from ..data import Block, Columns, open_source
from ..data.block import block_of
from ..data.first_pass import bytes_of, joined_blocks
from ..distributed import Common, Part, Plan, Shard, shard_step, summary_of
from ..distributed.executors import Sums, merged
from ..distributed.shards import ShardSummary, counted
from ..distributed.streamed import ShardSource, StreamedShard, open_shard, placed
from ..problem import computed_in
from .extras import library

__all__ = [
    "Call",
    "Portrait",
    "aligned",
    "block_of_frame",
    "block_of_parts",
    "called",
    "itself",
    "joined",
    "opened",
    "portrait_of",
    "step",
    "steps",
    "summary",
    "targets_of",
]


def _bytes_of_block(block: Block) -> int:
    return 64 + sum(bytes_of(a) for a in (block.X, block.y, block.sample_weight) if a is not None)


def _bytes_of_shard(shard: Shard) -> int:
    arrays = shard.X, shard.y, shard.weight, shard.counts
    return 64 + sum(bytes_of(a) for a in arrays if a is not None)


sizeof.register(Block, _bytes_of_block)
sizeof.register(Shard, _bytes_of_shard)
sizeof.register(StreamedShard, lambda shard: shard.bytes)  # which to move it would take


@dataclass(frozen=True)
class Portrait:
    """What partitions must have in common, and how many rows one has.

    Attributes
    ----------
    rows, columns : int
    dtype : str
        Of X.
    sparse, weighted : bool
    target : str
        What y is: "absent", "numbers" or "text", and its columns.
    digest : str
        Of all numbers of a shard that is streamed.
    """

    rows: int
    columns: int
    dtype: str
    sparse: bool
    weighted: bool
    target: str
    digest: str = ""


def portrait_of(block: Block | Shard | StreamedShard) -> Portrait:
    """Look at a block, or at a shard."""
    if isinstance(block, StreamedShard):
        return Portrait(block.rows, *block.kind, block.digest)
    X, y = block.X, block.y
    target = "absent"
    if y is not None:
        target = "numbers" if y.dtype.kind in "biuf" else "text"
        if y.ndim == 2:
            target += f" in {y.shape[1]} columns"
    weight = block.weight if isinstance(block, Shard) else block.sample_weight
    weighted = weight is not None
    return Portrait(X.shape[0], X.shape[1], str(X.dtype), sp.issparse(X), weighted, target)


def block_of_parts(parts: Sequence[Any], where: str) -> Block:
    """Arrays X, y and, if there are any, weights of a partition as a block.

    Raises
    ------
    ValueError
        Naming the partition, and the row of what is wrong.
    """
    if not isinstance(parts, (tuple, list)) or len(parts) not in (1, 2, 3):
        raise ValueError(
            f"{where}: a block must be (X, y) or (X, y, sample_weight), got {type(parts).__name__}"
        )
    X, y, weight = [*parts, None, None][:3]
    if getattr(X, "shape", (1,))[0] == 0:
        return _empty(X, y, weight)
    return block_of(X, y, weight, where)


def _empty(X: Any, y: Any, weight: Any) -> Block:
    """No rows, in the form of those of other partitions."""
    X = X.tocsr() if sp.issparse(X) else np.asarray(X)
    return Block(X, None if y is None else np.asarray(y), None if weight is None else np.zeros(0))


def block_of_frame(frame: Any, columns: Columns, where: str) -> Block:
    """Rows of a data frame, with columns as those of another one.

    Raises
    ------
    ValueError
        Naming the partition.
    """
    return _read(open_source(frame, columns=columns), where)


def _read(source: Any, where: str) -> Block:
    try:
        blocks = [block for block in source.blocks() if len(block)]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if blocks:
        return joined_blocks(blocks)
    return Block(np.empty((0, source.n_features), dtype=np.float32), np.empty(0), None)


def joined(number: int, blocks: Sequence[Block]) -> Shard:
    """Partitions that follow each other as a shard, with weights as the solver takes them."""
    full = [block for block in blocks if len(block)]
    block = joined_blocks(full) if full else blocks[0]
    weight = block.sample_weight
    if weight is not None and full:
        weight = weight.astype(computed_in(block.X), copy=False)
    return counted(Shard(number, block.X, block.y, weight))


def aligned(array: Any) -> Any:
    """An array, dense or CSR, aligned to its items: itself, or a copy. None is None."""
    if array is None:
        return None
    if not sp.issparse(array):
        return np.require(array, requirements=["C", "A"])
    parts = array.data, array.indices, array.indptr
    if array.format != "csr" or all(part.flags.aligned for part in parts):
        return array
    copy = array.copy()
    copy.data, copy.indices, copy.indptr = map(aligned, parts)
    return copy


def opened(source: ShardSource) -> Shard | StreamedShard:
    """A shard of files, read once; its cache is in the folder of the worker, or a named one."""
    shard = open_shard(placed(source, _local_directory()))
    return replace(shard, source=source) if isinstance(shard, StreamedShard) else shard


def _local_directory() -> str:
    """The folder of the worker that runs this task."""
    return str(library("distributed").get_worker().local_directory)


def _here(shard: Shard | StreamedShard) -> Shard | StreamedShard:
    """A shard as it is trained on here: arrays are aligned, and a cache is this worker's."""
    if isinstance(shard, StreamedShard):
        return shard.within(_local_directory())
    return replace(shard, X=aligned(shard.X), y=aligned(shard.y), weight=aligned(shard.weight))


def summary(shard: Shard | StreamedShard, shards: int, moments: bool) -> ShardSummary:
    """What is known of a shard before training."""
    return summary_of(_here(shard), shards, moments)


@dataclass(frozen=True)
class Call:
    """A function, and its arguments behind a shard."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def called(call: Call, shard: Shard | StreamedShard) -> Any:
    """What a function says of a shard."""
    return call.function(_here(shard), *call.arguments)


def targets_of(shard: Shard | StreamedShard, estimator: Any) -> Any:
    """The targets of a shard as the solver takes them of an estimator; of one that is streamed the
    estimator, which says them window by window."""
    if isinstance(shard, StreamedShard):
        return estimator
    return estimator._targets_of(aligned(shard.X), aligned(shard.y)) if shard.rows else None


def step(plan: Plan, common: Common, shard: Shard | StreamedShard, y: Any) -> Part:
    """What a shard comes to in a round."""
    plan = replace(plan, offset=aligned(plan.offset), scale=aligned(plan.scale))
    start = replace(common, vectors=aligned(common.vectors), intercepts=aligned(common.intercepts))
    shard = _here(shard)
    if isinstance(shard, StreamedShard):
        return shard_step(plan, start, replace(shard, estimator=y))
    return shard_step(plan, start, shard, aligned(y))


def steps(
    plan: Plan, common: Common, shards: Sequence[Shard | StreamedShard], targets: Sequence[Any]
) -> Sums:
    """What some shards come to in a round, one after the other, as far as they can be added up."""
    parts = zip(shards, targets, strict=True)
    sums = {(0, shard.number): step(plan, common, shard, y) for shard, y in parts}
    return merged(sums, plan.shards)


def itself(value: Any) -> Any:
    """The value: a task that can be made anew wherever it is lost."""
    return value
