"""What a fitted network keeps, and where a run that goes on from it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import VectorState
from ..descent import VectorDescent
from ..network import Network
from .standardise import Scaling

__all__ = ["NetworkContinuation", "begin", "packed", "parts_of"]

Array = NDArray[np.floating]
Parts = tuple[list[Array], list[Array]]
"""Weights and intercepts of the layers."""


@dataclass
class NetworkContinuation:
    """What a fitted estimator keeps to go on from: the state, and what was found or drawn once.

    Attributes
    ----------
    state : VectorState
        As the last call left it.
    network : Network
        What was trained.
    descent : VectorDescent
        How the steps were made.
    seed : int
        Key of the sampling streams.
    split : RandomState or None
        What the validation split was drawn from, before it was; None: the seed.
    horizon : float
        Epochs of a schedule or of tail averaging that nobody gave a horizon.
    average : tuple of (parameter, int)
        ``average`` and the update from which it averages.
    scaling : Scaling
        That of the features the state is trained on.
    rows : int
        Rows trained on since the run began.
    """

    state: VectorState
    network: Network
    descent: VectorDescent
    seed: int
    split: np.random.RandomState | None
    horizon: float
    average: tuple[Any, int]
    scaling: Scaling
    rows: int

    def parts(self) -> Parts:
        """The published weights and intercepts, of the user's own features."""
        return parts_of(self.network, self.state.model(self.descent), self.scaling)


def parts_of(network: Network, theta: Array, scaling: Scaling) -> Parts:
    """Weights and intercepts of a vector of parameters, of the user's own features."""
    layers = network.views(theta, network.unit(theta.dtype))
    coefs = [np.ascontiguousarray(w) for w, _ in layers]
    intercepts = [b.copy() for _, b in layers]
    if scaling.scale is not None:
        coef, intercepts[0] = scaling.to_users(coefs[0].T, intercepts[0])
        coefs[0] = np.ascontiguousarray(coef.T)
    return coefs, intercepts


def packed(network: Network, parts: Any, scaling: Scaling, dtype: np.dtype[Any]) -> Array:
    """The vector of weights and intercepts of the user's own features.

    Raises
    ------
    ValueError
        If they are not of the network's shapes, or not finite in the dtype.
    """
    coefs, intercepts = ([np.asarray(part) for part in group] for group in parts)
    shapes = [coef.shape for coef in coefs], [intercept.shape for intercept in intercepts]
    if shapes != (network.shapes, [(outputs,) for _, outputs in network.shapes]):
        raise ValueError(
            f"coefs_ and intercepts_ of the model to go on from have shapes {shapes[0]} and "
            f"{shapes[1]}, but X, y and hidden_layer_sizes ask for {network.shapes}"
        )
    coef, intercepts[0] = scaling.to_trained(coefs[0].T, intercepts[0])
    theta = network.pack([coef.T, *coefs[1:]], intercepts, dtype, network.unit(dtype))
    if not np.isfinite(theta).all():
        raise ValueError(f"coefs_ and intercepts_ to start from must be finite in {dtype}")
    return theta


def is_the_same(parts: Parts, others: Any) -> bool:
    """Whether weights and intercepts are equal to the bit."""
    return all(
        len(group) == len(other) and all(map(np.array_equal, group, other))
        for group, other in zip(parts, others, strict=True)
    )


def begin(
    network: Network,
    descent: VectorDescent,
    dtype: np.dtype[Any],
    previous: NetworkContinuation | None,
    start: Array | None,
) -> tuple[VectorState, VectorDescent]:
    """Where a run stands when a call begins; averages that begin anew begin at the next update.

    The state is new, or a copy of the previous one. A previous state that does not fit any more
    gives its parameters, its counts of updates and epochs and its rate factor to a new one, without
    momentum and averages, and so does one with another ``start``, a vector of parameters.
    """
    length = network.length(network.unit(dtype))
    if previous is None:
        assert start is not None
        state = VectorState(length, dtype, descent)
        state.set(start)
        return state, descent
    old = previous.state
    if start is None and _fits(previous, network, descent, dtype):
        return _at_epoch(old.copy(), old.t, _next_epoch(old)), descent
    state = VectorState(length, dtype, descent)
    if start is None:
        coefs, intercepts = parts_of(network, old.last(), Scaling())
        start = network.pack(coefs, intercepts, dtype, network.unit(dtype))
    state.set(start)
    if descent.average:
        descent = replace(descent, average=max(descent.average, old.t + 1))
    state = _at_epoch(state, old.t, _next_epoch(old))
    state.rate_factor = old.rate_factor
    return state, descent


def _next_epoch(state: VectorState) -> int:
    """The epoch after the last one that began and did not end, of which the rest is skipped."""
    return state.epoch + (state.row > 0 or state.batch_row > 0)


def _at_epoch(state: VectorState, t: int, epoch: int) -> VectorState:
    """The state at the start of an epoch, after so many updates: itself, if it is there."""
    begun = state.row > 0 or state.batch_row > 0
    if (state.t, state.epoch, begun) == (t, epoch, False):
        return state
    return state.at_epoch(epoch, t)


def _fits(
    previous: NetworkContinuation, network: Network, descent: VectorDescent, dtype: np.dtype[Any]
) -> bool:
    """Whether a state was made for this; averages are of the parameters of one objective."""
    old = previous.network
    same = old.sizes == network.sizes and previous.state.dtype == dtype
    same &= previous.descent.slots == descent.slots
    same &= previous.descent.optimizer.name == descent.optimizer.name
    if descent.average:
        same &= previous.descent.average == descent.average
        same &= old == network
    return same
