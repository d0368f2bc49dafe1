"""Weights of a lane's rows: what a row typically weighs in a gradient, and in a loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings

__all__ = ["mean_weight", "power_of_two", "typical_weight"]


def typical_weight(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.float64]:
    """sum s_ik^2 / sum s_ik, shape (K,): the weight by which a lane's rows scale its gradients."""
    if _unweighted(data, lanes):
        return np.ones(lanes.k)
    unit = _units(data, lanes)
    first, second = (_weight_moment(data, lanes, settings, power, unit) for power in (1, 2))
    mean = np.divide(second, first, out=np.zeros(lanes.k), where=first > 0.0) * math.prod(unit)
    return np.where(mean > 0.0, mean, 1.0)


def mean_weight(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.float64]:
    """Mean of s_ik over the rows of positive weight, shape (K,): what a unit of loss weighs."""
    if _unweighted(data, lanes):
        return np.ones(lanes.k)
    unit = _units(data, lanes)
    total, count = (_weight_moment(data, lanes, settings, power, unit) for power in (1, 0))
    mean = np.divide(total, count, out=np.zeros(lanes.k), where=count > 0.0) * math.prod(unit)
    return np.where(count > 0.0, mean, 1.0)


def _unweighted(data: Data, lanes: Lanes) -> bool:
    return data.sample_weight is None and _unit_weights(lanes)


def _unit_weights(lanes: Lanes) -> bool:
    """Whether no lane has class weights."""
    others = lanes.weight_positive != 1.0, lanes.weight_negative != 1.0
    return not any(map(np.count_nonzero, others))


def power_of_two(value: float) -> float:
    """The power of two next below a positive number, 1 for 0: dividing by it is exact."""
    return math.ldexp(1.0, max(-1022, math.frexp(value)[1] - 1)) if value > 0.0 else 1.0


def _units(data: Data, lanes: Lanes) -> tuple[float, float]:
    """Sizes of the sample weights and of the class weights, whose squares may overflow."""
    largest = float(max(lanes.weight_positive.max(), lanes.weight_negative.max()))
    of_rows = 1.0 if data.sample_weight is None else float(data.sample_weight.max())
    return power_of_two(of_rows), power_of_two(largest)


def _weight_moment(
    data: Data, lanes: Lanes, settings: Settings, power: int, unit: tuple[float, float]
) -> NDArray[np.float64]:
    """Sum of (s_ik / unit)^power over the rows of positive weight, shape (K,).

    ``unit`` is that of the sample weights and that of the class weights.
    """

    def raised(weight: NDArray[Any], by: float) -> NDArray[np.float64]:
        return np.where(weight > 0.0, np.power(weight / by, power, dtype=np.float64), 0.0)

    weight = data.sample_weight
    powers = np.ones(data.n) if weight is None else raised(weight, unit[0])
    total = powers.sum()
    if _unit_weights(lanes) or not settings.sign_targets:
        return np.full(lanes.k, total)
    positive = _positive(powers, data, lanes)
    moment = raised(lanes.weight_positive, unit[1]) * positive
    if settings.terms.coupled:  # a row has its own class's weight in every lane
        return np.full(lanes.k, moment.sum())
    return moment + raised(lanes.weight_negative, unit[1]) * (total - positive)


def _positive(powers: NDArray[np.float64], data: Data, lanes: Lanes) -> NDArray[np.float64]:
    """Sum of ``powers`` (n,) over the positive rows of each lane, (K,)."""
    sums = np.zeros(lanes.k)
    for target in np.unique(lanes.target):
        which = np.flatnonzero(lanes.target == target)
        labels, of_lane = np.unique(lanes.label[which], return_inverse=True)
        column = data.y[:, target]
        found = np.minimum(np.searchsorted(labels, column), len(labels) - 1)
        of_label = np.bincount(found, powers * (labels[found] == column), minlength=len(labels))
        sums[which] = of_label[of_lane]
    return sums
