"""A round: what all shards start from, what each comes to, and how that becomes one model.

Local SGD (Stich, "Local SGD converges fast and communicates little", ICLR 2019): in a round every
shard s makes the steps of a part of its epoch from the common weights, and these become

    w = sum_s n_s w_s / sum_s n_s,        n_s the rows of positive weight of the round.

Of sparse rows the mean is taken for each feature j by itself,

    w_j = sum_s c_sj w_sj / sum_s c_sj,   c_sj the values that shard s has of it

(Agarwal, Chapelle, Dudik & Langford, "A reliable effective terascale learning system", JMLR 15,
2014), since a shard without the feature says nothing of its weight. Momentum and averages are
averaged as the weights are. Sums are in float64 and in a fixed order, so that the model does not
depend on who computed them, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Lanes, Settings
from .held_out import HeldOut

__all__ = ["Common", "Part", "Plan", "combine", "finish"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What stays the same in all rounds of a fit.

    Attributes
    ----------
    lanes : Lanes
        Numbers of each of K lanes.
    settings : Settings
        Those of a shard, with the seed of the whole fit.
    rounds : int
        Rounds of an epoch.
    shards : int
        Number of shards.
    by_feature : bool
        Whether the mean is taken for each feature by itself.
    offset : ndarray of shape (d,) or None
        What is subtracted from dense features.
    scale : ndarray of shape (d,) or None
        What they are multiplied by then.
    gradient : bool
        Whether a round makes no steps: the sums are then those of losses and of their gradients at
        the common weights (full_batch.py).
    held_out : HeldOut or None
        Rows that lanes leave out.

    Examples
    --------
    >>> from fastsgd.distributed import Plan
    >>> from fastsgd.problem import Lanes, Settings
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.5), Settings()
    >>> Plan(lanes, settings, rounds=2, shards=4, by_feature=False).rounds
    2
    """

    lanes: Lanes
    settings: Settings
    rounds: int
    shards: int
    by_feature: bool
    offset: NDArray[np.floating] | None = None
    scale: NDArray[np.floating] | None = None
    gradient: bool = False
    held_out: HeldOut | None = None


@dataclass(frozen=True)
class Common:
    """Where all shards start from.

    Attributes
    ----------
    vectors : ndarray of shape (m, K, d)
        Weights, and what else is averaged over shards: see ``solver.State.vectors``.
    intercepts : ndarray of shape (m, K)
        The same of the intercepts.
    t : ndarray of shape (K,), int64
        Updates done.
    rate_factor : ndarray of shape (K,)
        What multiplies a lane's learning rates.
    active : ndarray of shape (K,)
        1, or 0 for a lane that is not trained any more.
    epoch : int
        Epochs done.
    round : int
        Rounds of the running epoch that are done.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Common
    >>> vectors, intercepts = np.zeros((1, 1, 3)), np.zeros((1, 1))
    >>> start = Common(vectors, intercepts, np.zeros(1, int), np.ones(1), np.ones(1), 0, 0)
    >>> start.vectors.shape
    (1, 1, 3)
    """

    vectors: NDArray[np.floating]
    intercepts: NDArray[np.floating]
    t: NDArray[np.int64]
    rate_factor: Float
    active: Float
    epoch: int
    round: int


@dataclass(frozen=True)
class Part:
    """Sums over some shards, of what they came to in a round.

    Attributes
    ----------
    weight : float, or ndarray of shape (K,)
        Rows of positive weight, or 0: sum_s n_s; of each lane, where lanes leave rows out.
    vectors : ndarray of shape (m, K, d), float64
        Sums of n_s, or c_sj, times those of the shards.
    intercepts : ndarray of shape (m, K), float64
        Sums of n_s times those of the shards.
    of_features : ndarray of shape (d,) or None, float64
        sum_s c_sj.
    updates : ndarray of shape (K,), int64
        The most updates of a shard.
    sums : ndarray of shape (4, K)
        Losses, rows, squared norms of gradients and their number.
    rate : float
        The last learning rate of the first shard that has one.
    clipped : bool
        Whether eta * alpha reached 1, so that a step set weights to zero.

    See Also
    --------
    shard_step : Makes one.
    combine : Adds two.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Part
    >>> vectors, intercepts, sums = np.zeros((1, 1, 3)), np.zeros((1, 1)), np.zeros((4, 1))
    >>> Part(0.0, vectors, intercepts, None, np.zeros(1, int), sums, np.nan, False).weight
    0.0
    """

    weight: Any
    vectors: Float
    intercepts: Float
    of_features: Float | None
    updates: NDArray[np.int64]
    sums: Float
    rate: float
    clipped: bool


def combine(first: Part, second: Part) -> Part:
    """The sums over the shards of two parts.

    Parameters
    ----------
    first, second : Part
        Of shards that follow each other.

    Returns
    -------
    Part
        Of all of them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.distributed import Part, combine
    >>> rest = None, np.ones(1, int), np.zeros((4, 1)), 0.1, False
    >>> sums = [np.full((1, 1, 1), n) for n in (2.0, 3.0)]
    >>> parts = [Part(each.item(), each, np.zeros((1, 1)), *rest) for each in sums]
    >>> both = combine(*parts)
    >>> both.weight, both.vectors.item()
    (5.0, 5.0)
    """
    of_features = None
    if first.of_features is not None and second.of_features is not None:
        of_features = first.of_features + second.of_features
    return Part(
        first.weight + second.weight,
        first.vectors + second.vectors,
        first.intercepts + second.intercepts,
        of_features,
        np.maximum(first.updates, second.updates),
        first.sums + second.sums,
        first.rate if first.rate == first.rate else second.rate,
        first.clipped or second.clipped,
    )


def _mean(sums: Float, weight: Any, old: NDArray[np.floating]) -> NDArray[np.floating]:
    """The quotient; what it was where the weight is 0."""
    there = np.broadcast_to(weight > 0.0, sums.shape)
    mean = np.divide(sums, weight, out=np.zeros_like(sums), where=there).astype(old.dtype)
    return mean if there.all() else np.where(there, mean, old)


def finish(part: Part, common: Common, rounds: int) -> Common:
    """Where the next round starts from.

    Parameters
    ----------
    part : Part
        Sums over all shards.
    common : Common
        What they started from; a feature that no shard has keeps its weight.
    rounds : int
        Rounds of an epoch.

    Returns
    -------
    Common
        What the next round starts from.

    Examples
    --------
    Two shards, one round an epoch, y = 0 in the first shard and 1 in the second:

    >>> import numpy as np
    >>> from fastsgd.distributed import Common, Plan, Shard, combine, finish, shard_step
    >>> from fastsgd.problem import Lanes, Settings
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.5), Settings(fit_intercept=False)
    >>> plan = Plan(lanes, settings, rounds=1, shards=2, by_feature=False)
    >>> zeros = np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros(1, int)
    >>> start = Common(*zeros, np.ones(1), np.ones(1), epoch=0, round=0)
    >>> shards = [Shard(i, np.ones((4, 1)), np.full((4, 1), float(i)), None) for i in (0, 1)]
    >>> parts = [shard_step(plan, start, shard) for shard in shards]
    >>> then = finish(combine(*parts), start, plan.rounds)
    >>> then.vectors.item(), then.epoch  # the mean of 0 and 1 - 0.5**4
    (0.46875, 1)
    """
    vectors, intercepts, weight = common.vectors, common.intercepts, np.asarray(part.weight)
    if weight.any():
        intercepts = _mean(part.intercepts, weight, intercepts)
        of_features = weight[..., None] if part.of_features is None else part.of_features
        vectors = _mean(part.vectors, of_features, vectors)
    is_last = common.round + 1 == rounds
    return replace(
        common,
        vectors=vectors,
        intercepts=intercepts,
        t=common.t + part.updates,
        epoch=common.epoch + is_last,
        round=0 if is_last else common.round + 1,
    )
