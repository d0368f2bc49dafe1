"""The steps of a shard in a round, from common weights: a pure function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import Run, State
from .._core import order as row_order
from ..exceptions import DivergenceError
from ..problem import Data, take
from ..sampling import words
from ..solver.epochs import Clock, not_finite
from ..solver.windows import BLOCK_ROWS
from ..statistics.objective import Objective
from .held_out import rows_of_lanes
from .rounds import Common, Part, Plan
from .shards import AnyShard, Shard

__all__ = [
    "advanced",
    "no_part",
    "part_of",
    "part_of_epoch",
    "seed_of",
    "shard_step",
    "started",
    "sums_at",
]

SHARDS = 4
"""Purpose of the words that the orders of shards are seeded with: see ``fastsgd.sampling``."""


def shard_step(
    plan: Plan, common: Common, shard: Shard | AnyShard, y: NDArray[np.floating] | None = None
) -> Part:
    """What a shard comes to in a round.

    Parameters
    ----------
    plan : Plan
        What is the same in all rounds.
    common : Common
        Where it starts from.
    shard : Shard or AnyShard
        Its rows.
    y : ndarray of shape (n,) or (n, n_targets), optional
        Their targets as the solver takes them; ``shard.y`` if not given.

    Returns
    -------
    Part
        The sums of this one shard; the same bits for the same arguments, wherever it runs.

    Raises
    ------
    DivergenceError
        If a score is not finite.

    See Also
    --------
    finish : Has a whole round as its example.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Common, Plan, Shard, shard_step
    >>> from fastsgd.problem import Lanes, Settings
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.5), Settings(fit_intercept=False)
    >>> plan = Plan(lanes, settings, rounds=1, shards=1, by_feature=False)
    >>> zeros = np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros(1, int)
    >>> start = Common(*zeros, np.ones(1), np.ones(1), epoch=0, round=0)
    >>> part = shard_step(plan, start, Shard(0, np.ones((4, 1)), np.ones((4, 1)), None))
    >>> (part.vectors / part.weight).item()  # 1 - 0.5**4
    0.9375
    """
    if not isinstance(shard, Shard):
        return shard.step(plan, common)
    n = shard.X.shape[0]
    targets = shard.y if y is None else y
    first, end = part_of_epoch(plan, n, common.round)
    nothing = np.zeros(n) if shard.weight is None else shard.weight
    if first == end or targets is None or (shard.weight is not None and not nothing.any()):
        return no_part(plan, common)
    if plan.gradient:
        return sums_at(plan, common, Data(shard.X, targets, shard.weight, checked=True))
    data = _rows_of_round(plan, common, shard, targets, first, end)
    state = started(data, plan, common, first)
    run, clock = Run(data, plan.lanes, plan.settings, state), Clock()
    clipped, epoch = False, state.epoch
    while state.epoch == epoch and state.row < end:
        row, done = state.row, advanced(clock, run, data, state, end)
        if done and (state.row, state.epoch) == (row, epoch):
            raise RuntimeError(f"a round of rows {first} to {end} ended at row {row}")
        clipped |= run.clipped
    weight = rows_of_lanes(data, plan.lanes)
    of_features = _values_of_features(shard) if plan.by_feature else None
    return part_of(plan, common, state, run, (weight, of_features, run.rate, clipped))


def advanced(clock: Clock, run: Run, data: Data, state: State, stop: int) -> bool:
    """As ``Clock.advance``; errors say which lanes diverged on these rows."""
    try:
        return clock.advance(run, stop)
    except DivergenceError as error:
        error.at_fault = not_finite(data, state, run.bad_row)
        raise


def no_part(plan: Plan, common: Common) -> Part:
    """What a shard without rows comes to."""
    m, k, d = common.vectors.shape
    empty = np.zeros(d) if plan.by_feature else None
    zeros = np.zeros((m, k, d)), np.zeros((m, k))
    updates = np.zeros(k, dtype=np.int64)
    return Part(0.0, *zeros, empty, updates, np.zeros((4, k)), float("nan"), False)


def started(data: Data, plan: Plan, common: Common, first: int) -> State:
    """The state of a shard at the beginning of a round, at a row of the epoch."""
    state = State(data, plan.lanes, plan.settings)
    state.set_vectors(common.vectors, common.intercepts)
    state.t[:], state.rate_factor[:], state.active[:] = (
        common.t,
        common.rate_factor,
        common.active,
    )
    state.place(common.epoch, first)
    return state


def part_of(
    plan: Plan,
    common: Common,
    state: State,
    run: Run,
    found: tuple[Any, NDArray[np.float64] | None, float, bool],
) -> Part:
    """What the state of a shard is in the sums over all.

    Parameters
    ----------
    plan : Plan
    common : Common
        Where the shard started from.
    state : State
        At the end of the round.
    run : Run
        That has brought it there.
    found : tuple
        ``weight``, ``of_features``, ``rate`` and ``clipped`` of the Part. The mean of one shard is
        that shard: its weight is 1, by which no bit changes.
    """
    weight, of_features, rate, clipped = found
    sums = [state.loss_sum, state.row_count, state.norm_sum, state.norm_count]
    run.flush()
    vectors, intercepts = state.vectors()
    if plan.shards == 1:
        weight = np.minimum(weight, 1.0)
    factor = np.asarray(weight)[..., None] if of_features is None else of_features
    return Part(
        weight,
        vectors.astype(np.float64) * factor,
        intercepts.astype(np.float64) * weight,
        of_features,
        np.array(state.t) - common.t,
        np.array(sums),
        rate,
        clipped,
    )


def sums_at(plan: Plan, common: Common, rows: Data) -> Part:
    """Losses and gradients of rows at the common weights, as the sums of a Part."""
    data = Data(rows.X, rows.y, rows.sample_weight, plan.offset, plan.scale, checked=True)
    objective = Objective(data, plan.lanes, plan.settings)
    losses, gradient, slopes, count = objective.sums(common.vectors[0], common.intercepts[0])
    sums = np.array([losses, count, *np.zeros((2, len(count)))])
    updates = np.zeros(len(count), dtype=np.int64)
    return Part(1.0, gradient[None], slopes[None], None, updates, sums, float("nan"), clipped=False)


def part_of_epoch(plan: Plan, n: int, number: int) -> tuple[int, int]:
    """Positions of the first row of a round in a shard's epoch of n, and behind the last: whole
    batches, or blocks of single rows, as equal as can be."""
    size = min(plan.settings.batch_size, max(1, n))
    size = BLOCK_ROWS if size == 1 else size
    batches = -(-n // size)
    ends = [min(n, i * batches // plan.rounds * size) for i in (number, number + 1)]
    return ends[0], ends[1]


def _rows_of_round(
    plan: Plan, common: Common, shard: Shard, y: NDArray[np.floating], first: int, end: int
) -> Data:
    """The rows of a round, in their order: a window of the shard's epoch."""
    n, numbers = shard.X.shape[0], np.arange(shard.X.shape[0])
    order, X, weight = _order(plan, shard.number, n, common.epoch), shard.X, shard.weight
    if (first, end) != (0, n):
        rows: Any = slice(first, end) if order is None else order[first:end]
        numbers = numbers[rows]
        X, y = take(X, rows), y[rows]
        weight = None if weight is None else weight[rows]
        order = None if order is None else np.arange(end - first)
    scaling = plan.offset, plan.scale
    place = {"first_row": first, "epoch_rows": n}
    data = Data(X, y, weight, *scaling, checked=True, order=order, **place)
    return data if plan.held_out is None else plan.held_out.without(data, shard.number, numbers)


def _order(plan: Plan, shard: int, n: int, epoch: int) -> NDArray[np.int64] | None:
    """The order of a shard's rows in an epoch; None for storage order.

    One shard has the order of the fit of a table.
    """
    settings = plan.settings
    if settings.sampling == "sequential":
        return None
    descent: Any = SimpleNamespace(sampling=settings.sampling, seed=seed_of(plan, shard))
    return row_order(descent, n, 0 if settings.sampling == "once" else epoch)


def seed_of(plan: Plan, shard: int) -> int:
    """Of the orders of a shard: of the only one that of the fit."""
    seed = plan.settings.seed
    return seed if plan.shards == 1 else int(words(seed, shard, SHARDS, 1)[0])


def _values_of_features(shard: Shard) -> NDArray[np.float64]:
    """How many values a shard has of each feature, all that are stored."""
    X = shard.X
    if shard.counts is not None:
        return shard.counts.astype(np.float64)
    if not sp.issparse(X):
        return np.full(X.shape[1], float(X.shape[0]))
    return np.bincount(X.indices, minlength=X.shape[1]).astype(np.float64)
