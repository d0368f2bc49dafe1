"""Runs the steps of shards as tasks of a Dask cluster.

A round is one graph: a step for each shard and a tree of sums, of which the last alone comes to the
client. Shards are futures of tasks that Dask makes anew where a worker has died; so is all else
that a step needs, if it is small. The values of a round are the same wherever its tasks run, and
however often.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..distributed import Common, Part, Plan
from ..distributed.executors import combined
from ..distributed.groups import groups_of
from ..distributed.shards import ShardSummary
from .extras import library
from .partitions import Partitions, where_of
from .tasks import Portrait, itself, joined, portrait_of, step, summary, targets_of

__all__ = ["DaskEngine", "check_alike", "groups_of", "token"]

FAN_IN = 8
"""Parts that one task adds up: a power of two, so that sums are those of pairs."""

INLINED = 1 << 20
"""Bytes of common weights up to which they are part of the graph, and need no broadcast."""

TRIES = 4
"""How often a round is begun where what it needs is lost with its workers."""

_Result = TypeVar("_Result")


class DaskEngine:
    """Runs the steps of shards on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    partitions : Partitions
    shards : int or None
        See :func:`groups_of`.

    Raises
    ------
    ValueError
        If a partition cannot be trained on, or differs from the others.
    """

    def __init__(self, client: Any, partitions: Partitions, shards: int | None) -> None:
        self.client, self.blocks, self.asked = client, partitions.blocks, shards
        self.lost = _signs_of_loss()
        self.shards: list[Any] = []
        self.targets: list[Any] = []
        self.groups: list[range] | None = None
        self.encoder: Any = None
        self.plan: tuple[Plan, Any] | None = None
        self.stale = True
        self._tried(lambda: None)

    def _tried(self, call: Callable[[], _Result]) -> _Result:
        """A result, for which shards are made anew if they are lost with their workers."""
        for left in reversed(range(TRIES)):
            try:
                if self.stale:
                    self._load()
                    self.stale = False
                return call()
            except self.lost:
                futures = [*self.shards, *self.targets]
                self.stale |= any(one.status not in ("pending", "finished") for one in futures)
                self.plan = None
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _load(self) -> None:
        """Make the shards of the blocks; that of a group each."""
        self.shards, self.targets = [], []
        blocks = self.client.compute(self.blocks)
        names = [f"fastsgd-portrait-{token()}-{i}" for i in range(len(blocks))]
        graph = {name: (portrait_of, block) for name, block in zip(names, blocks, strict=True)}
        try:
            found = self._gathered(graph, names)
        except self.lost:
            raise
        except Exception as error:
            wrong = [i for i, block in enumerate(blocks) if block.status == "error"]
            if wrong and not str(error).startswith("partition"):
                error.add_note(f"It was raised by {where_of(wrong[0])}.")
            raise
        check_alike(found)
        if self.groups is None:
            self.groups = groups_of([one.rows for one in found], self.asked)
        keys = [f"fastsgd-shard-{token()}-{i}" for i in range(len(self.groups))]
        shards: dict[str, Any] = {
            key: (joined, i, [blocks[j] for j in group])
            for i, (key, group) in enumerate(zip(keys, self.groups, strict=True))
        }
        self.shards = self.client.get(shards, keys, sync=False)
        library("distributed").wait(self.shards)
        if self.encoder is not None:
            self._encode()

    def _gathered(self, graph: dict[str, Any], keys: list[str]) -> list[Any]:
        """Results of a graph; its tasks are cancelled if that ends otherwise."""
        futures = self.client.get(graph, keys, sync=False)
        try:
            return list(self.client.gather(futures))
        except BaseException:
            self.client.cancel(futures, force=True)
            raise

    def summaries(self, *, moments: bool) -> list[ShardSummary]:
        """See :class:`fastsgd.distributed.stream.Engine`."""

        def call() -> list[ShardSummary]:
            keys = [f"fastsgd-summary-{token()}-{i}" for i in range(len(self.shards))]
            tasks = [(summary, shard, len(self.shards), moments) for shard in self.shards]
            return self._gathered(dict(zip(keys, tasks, strict=True)), keys)

        return self._tried(call)

    def set_targets(self, estimator: Any) -> None:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        self.encoder = estimator
        self._tried(self._encode)

    def _encode(self) -> None:
        name = token()
        graph: dict[str, Any] = {f"fastsgd-encoder-{name}": self.encoder}
        keys = [f"fastsgd-targets-{name}-{i}" for i in range(len(self.shards))]
        for key, shard in zip(keys, self.shards, strict=True):
            graph[key] = (targets_of, shard, f"fastsgd-encoder-{name}")
        self.targets = self.client.get(graph, keys, sync=False)

    def train(self, plan: Plan, common: Common) -> Part:
        """See :class:`fastsgd.distributed.stream.Engine`.

        Raises
        ------
        distributed.KilledWorker, concurrent.futures.CancelledError
            If workers die again and again, or with rows that cannot be made anew.
        """
        return self._tried(lambda: self._round(plan, common))

    def _round(self, plan: Plan, common: Common) -> Part:
        """One graph: steps, and sums of eight neighbours, then of eight of these."""
        if self.plan is None or self.plan[0] is not plan:
            self.plan = plan, self.client.submit(itself, plan, key=f"fastsgd-plan-{token()}")
        name = token()
        graph: dict[str, Any] = {}
        start: Any = f"fastsgd-common-{name}"
        if common.vectors.nbytes <= INLINED:
            graph[start] = common
        else:
            start = self.client.scatter(common, broadcast=True, hash=False)
        keys = [f"fastsgd-step-{name}-{i}" for i in range(len(self.shards))]
        shards = zip(keys, self.shards, self.targets, strict=True)
        for key, shard, y in shards:
            graph[key] = (step, self.plan[1], start, shard, y)
        level = 0
        while len(keys) > 1:
            sums = range(0, len(keys), FAN_IN)
            above = [f"fastsgd-sum-{name}-{level}-{i}" for i in sums]
            for key, i in zip(above, sums, strict=True):
                graph[key] = (combined, keys[i : i + FAN_IN])
            keys, level = above, level + 1
        part: Part = self._gathered(graph, keys)[0]
        return part

    def close(self) -> None:
        """Give back the shards."""
        self.shards, self.targets, self.plan = [], [], None


def token() -> str:
    """A name that nothing else has."""
    return uuid.uuid4().hex[:12]


def _signs_of_loss() -> tuple[type[BaseException], ...]:
    """Exceptions that say that something was lost with its workers."""
    from concurrent.futures import CancelledError

    distributed = library("distributed")
    killed = distributed.scheduler.KilledWorker
    closed = distributed.comm.CommClosedError  # of a broadcast, by a worker that dies meanwhile
    return (killed, CancelledError, distributed.client.FutureCancelledError, closed)


def check_alike(found: Sequence[Portrait], where: Callable[[int], str] = where_of) -> None:
    """Refuse partitions that differ; ``where`` names one.

    Raises
    ------
    ValueError
        Naming the first that differs; or if there are no rows.
    """
    full = [(i, one) for i, one in enumerate(found) if one.rows]
    if not full:
        raise ValueError("X has no rows")
    first, model = full[0]
    for i, one in full:
        for name in ("columns", "dtype", "sparse", "weighted", "target"):
            a, b = getattr(model, name), getattr(one, name)
            if a != b:
                raise ValueError(
                    f"{where(i)} has {name}={b!r}, and {where(first)} has {name}={a!r}: all "
                    "must be alike"
                )
    if model.target == "absent":
        raise ValueError("y must be given: blocks (X, y), or target=, the column of y")
