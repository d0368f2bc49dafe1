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
    settings : Settings
        Those of a shard, with the seed of the whole fit.
    rounds : int
        Of an epoch.
    shards : int
    by_feature : bool
        Whether the mean is taken for each feature by itself.
    offset, scale : ndarray of shape (d,) or None
        Of dense features.
    gradient : bool
        Whether a round makes no steps: the sums are then those of losses and of their gradients at
        the common weights (full_batch.py).
    held_out : HeldOut or None
        Rows that lanes leave out.
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
    vectors, intercepts : ndarray of shape (m, K, d) and (m, K)
        What ``State.vectors`` gives.
    t : ndarray of shape (K,), int64
        Updates done.
    rate_factor, active : ndarray of shape (K,)
    epoch, round : int
        Epochs done, and rounds of the running one.
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
    """Sums over some shards, of what they came to.

    Attributes
    ----------
    weight : float, or ndarray of shape (K,)
        Rows of positive weight, or 0: sum_s n_s; of each lane, where lanes leave rows out.
    vectors, intercepts : ndarray of shape (m, K, d) and (m, K), float64
        Sums of n_s, or c_sj, times those of the shards.
    of_features : ndarray of shape (d,) or None, float64
        sum_s c_sj.
    updates : ndarray of shape (K,), int64
        The most updates of a shard.
    sums : ndarray of shape (4, K)
        Losses, rows, squared norms of gradients and their number.
    rate : float
        The last learning rate of the first shard that has one.
    clipped : bool
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
        Of all shards.
    common : Common
        What they started from; a feature that no shard has keeps its weight.
    rounds : int
        Of an epoch.

    Returns
    -------
    Common
        Of the next round.
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
