"""Runs the steps of shards as tasks of a Dask cluster.

A round is one graph: a step for each shard and a tree of sums, of which the last alone comes to the
client. Shards are futures of tasks that Dask makes anew where a worker has died; so is all else
that a step needs, if it is small. The values of a round are the same wherever its tasks run, and
however often.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from ..distributed import Common, Part, Plan
from ..distributed.executors import combined
from ..distributed.shards import ShardSummary
from .extras import library
from .partitions import Partitions, where_of
from .tasks import Call, Portrait, called, itself, joined, portrait_of, step, summary, targets_of

__all__ = ["DaskEngine", "groups_of"]

MOST_SHARDS = 64
"""Shards, where the user does not say how many."""

FAN_IN = 8
"""Parts that one task adds up: a power of two, so that sums are those of pairs."""

INLINED = 1 << 20
"""Bytes of common weights up to which they are part of the graph, and need no broadcast."""

TRIES = 4
"""How often a round is begun where what it needs is lost with its workers."""

_Result = TypeVar("_Result")


def groups_of(rows: Sequence[int], shards: int | None) -> list[range]:
    """Partitions that follow each other, in groups of rows as equal as can be.

    Parameters
    ----------
    rows : sequence of int
        Of each partition.
    shards : int or None
        Groups; None: one for each partition that has rows, at most ``MOST_SHARDS``.

    Returns
    -------
    list of range
        Numbers of the partitions of each.

    Raises
    ------
    ValueError
        If there are fewer partitions than shards.
    """
    n, full = len(rows), sum(one > 0 for one in rows)
    if shards is None:
        shards = max(1, min(full, MOST_SHARDS))
    if shards > n:
        raise ValueError(
            f"shards={shards} is more than the {n} partitions of X: rechunk or repartition X, or "
            "write more files"
        )
    until = np.cumsum(rows)
    ends = [0]
    for i in range(1, shards):
        near = int(np.searchsorted(until, until[-1] * i / shards - 0.5)) + 1
        ends.append(min(max(near, ends[-1] + 1), n - shards + i))
    ends.append(n)
    return [range(a, b) for a, b in pairwise(ends)]


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
        names = [f"fastsgd-portrait-{_token()}-{i}" for i in range(len(blocks))]
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
        keys = [f"fastsgd-shard-{_token()}-{i}" for i in range(len(self.groups))]
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
            keys = [f"fastsgd-summary-{_token()}-{i}" for i in range(len(self.shards))]
            tasks = [(summary, shard, len(self.shards), moments) for shard in self.shards]
            return self._gathered(dict(zip(keys, tasks, strict=True)), keys)

        return self._tried(call)

    def each(self, call: Callable[..., Any], *arguments: Any) -> list[Any]:
        """See :class:`fastsgd.distributed.stream.Engine`."""

        def gathered() -> list[Any]:
            token = _token()
            keys = [f"fastsgd-each-{token}-{i}" for i in range(len(self.shards))]
            graph: dict[str, Any] = {f"fastsgd-call-{token}": Call(call, arguments)}
            for key, shard in zip(keys, self.shards, strict=True):
                graph[key] = (called, f"fastsgd-call-{token}", shard)
            return self._gathered(graph, keys)

        return self._tried(gathered)

    def set_targets(self, estimator: Any) -> None:
        """See :class:`fastsgd.distributed.stream.Engine`."""
        self.encoder = estimator
        self._tried(self._encode)

    def _encode(self) -> None:
        token = _token()
        graph: dict[str, Any] = {f"fastsgd-encoder-{token}": self.encoder}
        keys = [f"fastsgd-targets-{token}-{i}" for i in range(len(self.shards))]
        for key, shard in zip(keys, self.shards, strict=True):
            graph[key] = (targets_of, shard, f"fastsgd-encoder-{token}")
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
            self.plan = plan, self.client.submit(itself, plan, key=f"fastsgd-plan-{_token()}")
        token = _token()
        graph: dict[str, Any] = {}
        start: Any = f"fastsgd-common-{token}"
        if common.vectors.nbytes <= INLINED:
            graph[start] = common
        else:
            start = self.client.scatter(common, broadcast=True, hash=False)
        keys = [f"fastsgd-step-{token}-{i}" for i in range(len(self.shards))]
        shards = zip(keys, self.shards, self.targets, strict=True)
        for key, shard, y in shards:
            graph[key] = (step, self.plan[1], start, shard, y)
        level = 0
        while len(keys) > 1:
            sums = range(0, len(keys), FAN_IN)
            above = [f"fastsgd-sum-{token}-{level}-{i}" for i in sums]
            for key, i in zip(above, sums, strict=True):
                graph[key] = (combined, keys[i : i + FAN_IN])
            keys, level = above, level + 1
        part: Part = self._gathered(graph, keys)[0]
        return part

    def close(self) -> None:
        """Give back the shards."""
        self.shards, self.targets, self.plan = [], [], None


def _token() -> str:
    return uuid.uuid4().hex[:12]


def _signs_of_loss() -> tuple[type[BaseException], ...]:
    """Exceptions that say that something was lost with its workers."""
    from concurrent.futures import CancelledError

    distributed = library("distributed")
    killed = distributed.scheduler.KilledWorker
    closed = distributed.comm.CommClosedError  # of a broadcast, by a worker that dies meanwhile
    return (killed, CancelledError, distributed.client.FutureCancelledError, closed)


def check_alike(found: Sequence[Portrait]) -> None:
    """Refuse partitions that differ.

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
                    f"{where_of(i)} has {name}={b!r}, and {where_of(first)} has {name}={a!r}: all "
                    "must be alike"
                )
    if model.target == "absent":
        raise ValueError("y must be given: blocks (X, y), or target=, the column of y")
