"""The rows of all shards as what an estimator trains on: what ``Task.stream`` is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import State
from ..data import Block
from ..data.first_pass import Moments, joined_blocks
from ..estimators.streams import ORDERS as STREAMED_ORDERS
from ..problem import Data, Lanes, Settings, computed_in
from .full_batch import check_smooth
from .held_out import HeldOut
from .rounds import Common, Part, Plan
from .run import RoundRun
from .shards import Shard, ShardSummary, counted

__all__ = ["Engine", "ShardStream"]

ORDERS = ("reshuffle", "once", "block", "sequential", "replacement")


class Engine(Protocol):
    """Who runs the steps of the shards."""

    def summaries(self, *, moments: bool) -> list[ShardSummary]:
        """What is known of each shard, in their order."""

    def set_targets(self, estimator: Any) -> None:
        """Have the shards hold their targets as the solver takes them of this estimator."""

    def train(self, plan: Plan, common: Common) -> Part:
        """A round: the Part of all shards, combined in their order."""

    def each(self, call: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``call(shard, *arguments)`` of each shard, in their order."""

    def close(self) -> None:
        """Give back what was taken."""


class ShardStream:
    """All rows of a fit, on shards.

    Parameters
    ----------
    engine : Engine
    local_epochs : float
        Part of an epoch that a shard trains in a round.
    moments : bool
        Whether features are standardised.

    Raises
    ------
    ValueError
        If the shards do not fit together: the message names one.
    """

    def __init__(self, engine: Engine, local_epochs: float, *, moments: bool = False) -> None:
        self.engine, self.local_epochs = engine, local_epochs
        self.on_window: Any = None  # called between two rounds of an epoch
        self.finish = False  # whether full-batch rounds follow: see full_batch.py
        self.plan: Plan | None = None  # of the last run
        self.held_out: HeldOut | None = None  # rows that lanes of a search leave out
        self.summaries = engine.summaries(moments=moments)
        check_shards(self.summaries)
        self.rows = sum(one.rows for one in self.summaries)
        self.shards = len([one for one in self.summaries if one.rows])
        self.largest = max(one.rows for one in self.summaries)
        self.sampling = "reshuffle"
        self.weighted = any(one.weighted for one in self.summaries)
        self.offset: NDArray[Any] | None = None
        self.scale: NDArray[Any] | None = None

    def hashed_names(self) -> dict[int, str]:
        """Names that were met in hashed columns, each of the first shard that has one."""
        found: dict[int, str] = {}
        for one in self.summaries:
            found = {**one.hashed_names, **found}
        return found

    def sample(self) -> Block:
        """Rows of all shards, and the first one of each label."""
        return joined_blocks([one.sample for one in self.summaries if one.sample is not None])

    def begin(self, estimator: Any, seed: int, held_out: float) -> None:
        """Bind the rows to a run of an estimator.

        Raises
        ------
        ValueError
            If rows are to be held out.
        """
        if held_out:
            raise ValueError("early_stopping=True needs X_val and y_val where rows are on shards")
        self.sampling = estimator.sampling if estimator.shuffle else "sequential"
        pools = [one.pools for one in self.summaries if one.rows]
        if any(pools) and self.sampling not in STREAMED_ORDERS:
            raise ValueError(
                f"sampling={self.sampling!r} needs rows in memory: shards that do not fit into "
                f"pool_bytes are shuffled by pools, and take one of {tuple(STREAMED_ORDERS)}"
            )
        if all(pools) and self.sampling != "sequential":
            self.sampling = "block"  # windows have an order of their own
        encoder = copy.copy(estimator)
        kept = {*estimator.get_params(deep=False), "classes_", "_multilabel"}
        for name in [name for name in vars(encoder) if name not in kept]:
            del vars(encoder)[name]
        for name in ("client", "callbacks"):
            vars(encoder).pop(name, None)
        self.engine.set_targets(encoder)
        self.estimator = estimator

    @property
    def order_key(self) -> tuple[Any, ...]:
        """What the order of the rows depends on beside seed, epoch and ``sampling``."""
        pools = [number for one in self.summaries for number in one.pools]
        rows = [one.rows for one in self.summaries]
        return ("shards", *rows, float(self.local_epochs), *pools)

    def data(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None, scaling: Any) -> Data:
        """A sample of the rows that stands for those of a shard, whose epoch is that of a lane."""
        self.offset, self.scale = scaling.offset, scaling.scale
        of = (scaling.offset, scaling.scale)
        rows = max(self.largest, X.shape[0])
        return Data(X, y, weight, *of, checked=True, epoch_rows=rows, stream=self)

    def run(self, data: Data, lanes: Lanes, settings: Settings, state: State) -> RoundRun:
        """See ``fastsgd.solver.stream``."""
        plan = Plan(
            lanes,
            settings,
            max(1, min(self.largest, round(1.0 / self.local_epochs))),
            len(self.summaries),
            bool(sp.issparse(data.X)) and len(self.summaries) > 1,
            self.offset,
            self.scale,
            held_out=self.held_out,
        )
        if self.finish:
            check_smooth(lanes, settings)
        self.plan, train = plan, self.engine.train
        return RoundRun(data, lanes, settings, state, plan, lambda common: train(plan, common))

    def label_weights(self, X: Any) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """The labels, as the solver takes them, and the weight of the rows of each."""
        sums: dict[Any, float] = {}
        for one in self.summaries:
            for label, weight in zip(one.labels or [], one.label_weights, strict=True):
                sums[label] = sums.get(label, 0.0) + weight
        labels = np.array(list(sums))
        weights = np.array(list(sums.values()), dtype=computed_in(X))
        return self.estimator._targets_of(X[: len(labels)], labels), weights

    def targets_of(self, X: Any, y: NDArray[Any]) -> NDArray[np.floating]:
        """Targets as the solver takes them."""
        targets: NDArray[np.floating] = self.estimator._targets_of(X, y)
        return targets

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Mean and variance of each feature, and the rows that count."""
        total = Moments(*np.zeros((2, self.summaries[0].columns)))
        for one in self.summaries:
            if one.moments is not None:
                total.merge(one.moments)
        return total.mean, total.squares / (total.total or 1.0), total.rows

    def close(self) -> None:
        """Give back what was taken."""
        self.engine.close()


def check_shards(summaries: list[ShardSummary]) -> None:
    """Refuse shards that differ in columns or kind.

    Raises
    ------
    ValueError
        Naming the first that differs; or if there are no rows.
    """
    full = [one for one in summaries if one.rows]
    if not full:
        raise ValueError("X has no rows")
    first = full[0]
    for one in full:
        for name in ("columns", "dtype", "sparse", "weighted"):
            a, b = getattr(first, name), getattr(one, name)
            if a != b:
                raise ValueError(
                    f"shard {one.number} of X has {name}={b!r}, and shard {first.number} "
                    f"{name}={a!r}: all must be alike"
                )


def replaced(shard: Any, estimator: Any) -> Any:
    """A shard with targets as the solver takes them of an estimator."""
    if not isinstance(shard, Shard):
        return replace(shard, estimator=estimator)
    if shard.rows == 0:
        return shard
    weight = None if shard.weight is None else shard.weight.astype(computed_in(shard.X))
    return counted(replace(shard, y=estimator._targets_of(shard.X, shard.y), weight=weight))
