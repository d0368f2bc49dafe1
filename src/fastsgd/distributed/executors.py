"""Shards in memory or on disk, trained by a ``concurrent.futures`` executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from .rounds import Common, Part, Plan, combine
from .shards import AnyShard, Shard, ShardSummary, summary_of
from .steps import shard_step
from .stream import replaced
from .streamed import ShardSource, open_shard

__all__ = ["ExecutorEngine", "Sums", "combined", "merged", "merged_all"]

Sums = dict[tuple[int, int], Part]
"""Parts by level and number: number i of level l is the sum over 2^l shards, from i 2^l on."""


def combined(parts: Sequence[Part]) -> Part:
    """The sums over parts in their order: pairs of neighbours, then pairs of pairs."""
    (total,) = merged({(0, i): part for i, part in enumerate(parts)}, len(parts)).values()
    return total


def merged(sums: Sums, n: int) -> Sums:
    """Sums of some of n parts, added up as far as neighbours are there.

    However the parts are divided, all of them come to the one sum that :func:`combined` gives, to
    the bit.
    """
    found, level = dict(sums), 0
    while n > 1:
        for i in range(0, n, 2):
            a, b = found.get((level, i)), found.get((level, i + 1))
            if a is not None and (b is not None or i + 1 == n):
                found.pop((level, i))
                found.pop((level, i + 1), None)
                found[level + 1, i // 2] = a if b is None else combine(a, b)
        n, level = -(-n // 2), level + 1
    return found


def merged_all(groups: Sequence[Sums], n: int) -> Sums:
    """Sums of groups of n parts, added up as far as neighbours are there."""
    return merged({key: part for sums in groups for key, part in sums.items()}, n)


class ExecutorEngine:
    """Runs the steps of shards by threads or processes of this machine.

    Parameters
    ----------
    executor : concurrent.futures.Executor or None
        None: one after the other, in the caller's thread.
    shards : sequence of Shard, AnyShard or ShardSource
        The last are opened.
    """

    def __init__(
        self, executor: Executor | None, shards: Sequence[Shard | AnyShard | ShardSource]
    ) -> None:
        self.executor = executor
        self.shards = self._mapped(_opened, shards)

    def _mapped(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Results of a function, in the order of its arguments."""
        found = map if self.executor is None else self.executor.map
        return list(found(function, *arguments))

    def summaries(self, *, moments: bool) -> list[ShardSummary]:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        n = len(self.shards)
        return self._mapped(summary_of, self.shards, [n] * n, [moments] * n)

    def set_targets(self, estimator: Any) -> None:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        self.trained = [replaced(shard, estimator) for shard in self.shards]

    def train(self, plan: Plan, common: Common) -> Part:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        n = len(self.trained)
        return combined(self._mapped(shard_step, [plan] * n, [common] * n, self.trained))

    def each(self, call: Callable[..., Any], *arguments: Any) -> list[Any]:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        n = len(self.shards)
        return self._mapped(call, self.shards, *([argument] * n for argument in arguments))

    def close(self) -> None:
        """There is nothing to be given back."""


def _opened(shard: Shard | AnyShard | ShardSource) -> Shard | AnyShard:
    return open_shard(shard) if isinstance(shard, ShardSource) else shard
