"""Runs the steps of shards as tasks of a Dask cluster.

A round is one graph. Unless models are large, a task costs more than what it moves: so the shards
that lie beside a thread are one task, and the client, or one more task, adds up what these come to.
Of large models each shard is a task, and sums are a tree, of which the last alone comes to the
client. Shards are futures of tasks that Dask makes anew where a worker has died; so is all else
that a step needs, if it is small. The values of a round are the same whatever its tasks are,
wherever they run, and however often.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from ..distributed import Common, Part, Plan
from ..distributed.executors import combined, merged_all
from ..distributed.groups import groups_of
from ..distributed.shards import ShardSummary
from .extras import library
from .partitions import Partitions, where_of
from .tasks import (
    Call,
    Portrait,
    called,
    itself,
    joined,
    portrait_of,
    step,
    steps,
    summary,
    targets_of,
)

__all__ = ["DaskEngine", "check_alike", "groups_of", "token"]

FAN_IN = 8
"""Parts that one task adds up: a power of two, so that sums are those of pairs."""

INLINED = 1 << 20
"""Bytes of common weights up to which they are part of the graph, and need no broadcast; they are
part of each of its tasks, if these copies are no more."""

GATHERED = 1 << 21
"""Bytes of the sums of all shards up to which the client adds them up."""

ADDED = 1 << 27
"""Bytes of the sums of all shards up to which one task does, instead of a tree."""

PLACED = 2.0
"""Seconds after which it is looked where shards are."""

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
        self.places: tuple[float, list[list[int]]] | None = None
        self.kept: list[Any] = []
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
                self.plan = self.places = None
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
            rows = [one.rows for one in found]
            self.groups = groups_of(rows, self.asked)
            self.rows = [sum(rows[i] for i in group) for group in self.groups]
        keys = [f"fastsgd-shard-{token()}-{i}" for i in range(len(self.groups))]
        shards: dict[str, Any] = {
            key: (joined, i, [blocks[j] for j in group])
            for i, (key, group) in enumerate(zip(keys, self.groups, strict=True))
        }
        self.shards = self.client.get(shards, keys, sync=False)
        if self.encoder is not None:
            self._encode()

    def _gathered(self, graph: dict[str, Any], keys: list[str]) -> list[Any]:
        """Results of a graph; its tasks are cancelled if that ends otherwise."""
        futures = self.client.get(graph, keys, sync=False)
        self.kept = futures  # until the next graph is sent, or it would wait for their release
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

    def each(self, call: Callable[..., Any], *arguments: Any) -> list[Any]:
        """See :class:`fastsgd.distributed.stream.Engine`."""

        def gathered() -> list[Any]:
            name = token()
            keys = [f"fastsgd-each-{name}-{i}" for i in range(len(self.shards))]
            graph: dict[str, Any] = {f"fastsgd-call-{name}": Call(call, arguments)}
            for key, shard in zip(keys, self.shards, strict=True):
                graph[key] = (called, f"fastsgd-call-{name}", shard)
            return self._gathered(graph, keys)

        return self._tried(gathered)

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
        """One graph."""
        if self.places is None or time.monotonic() > self.places[0] + PLACED:
            self.places = time.monotonic(), self._beside_threads()
        if self._size(plan, common) <= ADDED:
            return self._in_groups(plan, common, self.places[1])
        return self._one_by_one(plan, common)

    def _held(self, plan: Plan) -> Any:
        """The plan as a future, which workers keep for all rounds."""
        if self.plan is None or self.plan[0] is not plan:
            self.plan = plan, self.client.submit(itself, plan, key=f"fastsgd-plan-{token()}")
        return self.plan[1]

    def _size(self, plan: Plan, common: Common) -> int:
        """Bytes of the sums of all shards."""
        features = common.vectors.shape[-1] if plan.by_feature else 0
        return 8 * len(self.shards) * (common.vectors.size + features)

    def _beside_threads(self) -> list[list[int]]:
        """Numbers of the shards that each thread of a worker has beside it."""
        for _ in library("distributed").as_completed(self.shards, loop=self.client.loop):
            pass  # by wait() it would have to be the default client
        there = self.client.who_has(self.shards)
        threads = self.client.nthreads()
        by_worker: dict[str, list[int]] = defaultdict(list)
        for i, shard in enumerate(self.shards):
            places = there.get(shard.key) or [""]
            by_worker[min(places, key=lambda place: (len(by_worker[place]), place))].append(i)
        found = []
        for worker, numbers in filter(itemgetter(1), by_worker.items()):
            rows = [self.rows[i] for i in numbers]
            parts = groups_of(rows, min(threads.get(worker, 1), len(rows)))
            found += [[numbers[i] for i in part] for part in parts]
        return found

    def _in_groups(self, plan: Plan, common: Common, groups: list[list[int]]) -> Part:
        """A task for each group of shards; the client adds up, or one more task."""
        name, held = token(), self._held(plan)
        graph: dict[str, Any] = {}
        start = self._start(common, graph, name, len(groups))
        keys = [f"fastsgd-steps-{name}-{i}" for i in range(len(groups))]
        for key, group in zip(keys, groups, strict=True):
            of_group = [[of[i] for i in group] for of in (self.shards, self.targets)]
            graph[key] = (steps, held, start, *of_group)
        if self._size(plan, common) > GATHERED and len(groups) > 1:
            total = f"fastsgd-total-{name}"
            graph[total] = (merged_all, keys, plan.shards)
            keys = [total]
        (part,) = merged_all(self._gathered(graph, keys), plan.shards).values()
        return part

    def _start(self, common: Common, graph: dict[str, Any], name: str, tasks: int) -> Any:
        """Common weights as an argument of so many tasks: themselves, a task, or a broadcast."""
        if common.vectors.nbytes * tasks <= INLINED:
            return common
        if common.vectors.nbytes > INLINED:
            return self.client.scatter(common, broadcast=True, hash=False)
        key = f"fastsgd-common-{name}"
        graph[key] = common
        return key

    def _one_by_one(self, plan: Plan, common: Common) -> Part:
        """A task for each shard, and sums of eight neighbours, then of eight of these."""
        name, held = token(), self._held(plan)
        graph: dict[str, Any] = {}
        start = self._start(common, graph, name, len(self.shards))
        keys = [f"fastsgd-step-{name}-{i}" for i in range(len(self.shards))]
        shards = zip(keys, self.shards, self.targets, strict=True)
        for key, shard, y in shards:
            graph[key] = (step, held, start, shard, y)
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
        self.shards, self.targets, self.kept, self.plan = [], [], [], None


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
