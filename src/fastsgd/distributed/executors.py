"""Shards in the memory of this process, trained by a ``concurrent.futures`` executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from .rounds import Common, Part, Plan, combine
from .shards import Shard, ShardSummary, summary_of
from .steps import shard_step
from .stream import replaced

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
    shards : sequence of Shard
    """

    def __init__(self, executor: Executor | None, shards: Sequence[Shard]) -> None:
        self.executor, self.shards = executor, list(shards)

    def summaries(self, *, moments: bool) -> list[ShardSummary]:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        return [summary_of(shard, len(self.shards), moments) for shard in self.shards]

    def set_targets(self, estimator: Any) -> None:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        self.trained = [replaced(shard, estimator) for shard in self.shards]

    def train(self, plan: Plan, common: Common) -> Part:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        if self.executor is None:
            return combined([shard_step(plan, common, shard) for shard in self.trained])
        tasks = [self.executor.submit(shard_step, plan, common, shard) for shard in self.trained]
        return combined([task.result() for task in tasks])

    def each(self, call: Callable[..., Any], *arguments: Any) -> list[Any]:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        return [call(shard, *arguments) for shard in self.shards]

    def close(self) -> None:
        """There is nothing to be given back."""
