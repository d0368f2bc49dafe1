"""Numbers too large or too small to compute with, and errors that name where they came from.
Models too large for memory, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._core import outside
from ..problem import Data, Lanes

__all__ = [
    "cast",
    "check_class_weights",
    "check_clip",
    "check_lanes",
    "check_room",
    "check_start",
    "weight_range",
]


def cast(name: str, array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """The array in another dtype; itself if it has it.

    Raises
    ------
    ValueError
        If a finite value is beyond the range of the dtype.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if not np.isfinite(converted).all() and array.dtype.kind == "f" and np.isfinite(array).all():
        raise ValueError(
            f"{name} has values beyond the range of {np.dtype(dtype)}, which X is computed in: "
            f"their largest absolute value is {np.abs(array).max():.3g}, and at most "
            f"{np.finfo(dtype).max:.3g} is allowed"
        )
    return converted


def weight_range(dtype: DTypeLike) -> tuple[float, float]:
    """Between what the largest weight of a row has to be: squares of weights are summed."""
    limits = np.finfo(dtype)
    return float(limits.tiny), float(np.sqrt(limits.max))


def check_class_weights(data: Data, lanes: Lanes) -> None:
    """Refuse weights of classes that over- or underflow, alone or times the sample weights.

    Raises
    ------
    ValueError
    """
    largest = float(max(lanes.weight_positive.max(), lanes.weight_negative.max()))
    if largest in (0.0, 1.0):
        return
    lowest, highest = weight_range(data.dtype)
    most = 1.0 if data.sample_weight is None else float(data.sample_weight.max()) or 1.0
    if not (lowest <= largest <= highest and lowest <= largest * most <= highest):
        times = "" if data.sample_weight is None else f", and {largest * most:.3g} times"
        also = "" if data.sample_weight is None else ", alone and times the largest sample weight"
        raise ValueError(
            f"the largest class_weight must be in [{lowest:.3g}, {highest:.3g}]{also}; got "
            f"{largest:.3g}{times}"
        )


def check_clip(clip_norm: float, dtype: DTypeLike) -> None:
    """Refuse a length of gradients so small that the ratio to it overflows.

    Raises
    ------
    ValueError
    """
    if clip_norm == np.inf:
        return
    least = float(np.sqrt(np.finfo(dtype).tiny))
    if clip_norm < least:
        raise ValueError(
            f"clip_norm must be at least {least:.3g}, as X is computed in {np.dtype(dtype)}; got "
            f"{clip_norm:.3g}"
        )


def check_lanes(lanes: Lanes, dtype: DTypeLike) -> None:
    """Refuse penalties and learning rates beyond a dtype's range.

    Raises
    ------
    ValueError
        Naming the parameter.
    """
    if dtype == np.float64:  # they are finite
        return
    most = float(np.finfo(dtype).max)
    arrays = lanes.alpha, lanes.l1, lanes.eta0
    wrong = outside(arrays, [-most] * 3, [most] * 3)
    if wrong >= 0:
        name = ("alpha", "alpha", "eta0")[wrong]
        raise ValueError(
            f"{name} must be within the range of {np.dtype(dtype)}, which X is computed in: "
            f"got {arrays[wrong].max():.3g}, and at most {most:.3g} is allowed"
        )


def check_room(what: str, count: int, dtype: DTypeLike) -> None:
    """Refuse a model that memory has no room for, before any work is done.

    Parameters
    ----------
    what : str
        What takes the room, and what decides about it.
    count : int
        Number of its values.
    dtype : data-type
        Of the values.

    Raises
    ------
    MemoryError
    """
    size = count * np.dtype(dtype).itemsize
    try:
        np.empty(size, dtype=np.uint8)
    except (MemoryError, OverflowError, ValueError):
        raise MemoryError(f"{what} take {size:,} bytes, and there is no memory for them") from None


def check_start(model: tuple[Any, Any], dtype: DTypeLike, names: tuple[str, str]) -> None:
    """Refuse weights (K, d) and intercepts (K,) to start from that are beyond a dtype's range.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    most = float(np.finfo(dtype).max)
    for name, array in zip(names, model, strict=True):
        size = float(np.abs(np.asarray(array, dtype=np.float64)).max(initial=0.0))
        if not size <= most:
            raise ValueError(
                f"{name} must be within the range of {np.dtype(dtype)}, which X is computed in, "
                "also as weights of standardised features: its largest absolute value is "
                f"{size:.3g}, and at most {most:.3g} is allowed"
            )
