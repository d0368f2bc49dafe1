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

__all__ = ["ExecutorEngine", "combined"]


def combined(parts: Sequence[Part]) -> Part:
    """The sums over parts in their order: pairs of neighbours, then pairs of pairs."""
    found = list(parts)
    while len(found) > 1:
        pairs = [found[i : i + 2] for i in range(0, len(found), 2)]
        found = [pair[0] if len(pair) == 1 else combine(*pair) for pair in pairs]
    return found[0]


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

    def close(self) -> None:
        """There is nothing to be given back."""


def _opened(shard: Shard | AnyShard | ShardSource) -> Shard | AnyShard:
    return open_shard(shard) if isinstance(shard, ShardSource) else shard
