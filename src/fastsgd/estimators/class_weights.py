"""How much weight each class has among the rows, and the "balanced" weights that follow."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight

from ..scalars import python_number

__all__ = ["add", "balanced", "check", "chosen", "count"]

Counts = NDArray[np.float64]
"""Sums of sample weights and what rounding left out of them: shape (2, n_classes), or
(2, 2, n_labels) with the negative and positive rows of each label. The two parts together are
exact, so that k calls on the same rows give the ratios of one."""

WHOLE = 2.0**53
"""Whole numbers below this are exact in float64."""


def count(
    encoded: NDArray[np.floating], weight: NDArray[np.floating] | None, n_classes: int
) -> Counts:
    """Sums of the rows' weights by class.

    Parameters
    ----------
    encoded : ndarray of shape (n,) or (n, n_labels)
        Positions of labels, or zeros and ones.
    weight : ndarray of shape (n,) or None
        Sample weights; None: 1 each.
    n_classes : int
    """
    if encoded.ndim == 2:
        weight = np.ones(len(encoded)) if weight is None else weight
        parts = [np.einsum("i,ij->j", weight, encoded == side, dtype=np.float64) for side in (0, 1)]
        sums = np.stack(parts)
    else:
        positions = encoded.astype(np.int64)
        sums = np.bincount(positions, weight, minlength=n_classes).astype(np.float64)
    return np.stack([sums, np.zeros_like(sums)])


def add(old: Counts, new: Counts) -> Counts:
    """The sum of two counts, with its rounding error (Knuth's TwoSum)."""
    a, b = old[0], new[0]
    total = a + b
    virtual = total - a
    error = (a - (total - virtual)) + (b - virtual)
    return np.stack([total, error + old[1] + new[1]])


def balanced(counts: Counts) -> NDArray[np.float64]:
    """sum of counts / (number of classes there are * count of the class), 1 for a class that is
    not there; in the shape of the sums.

    Raises
    ------
    ValueError
        If a ratio is too large a number.
    """
    sums, errors = counts
    if not errors.any() and sums.sum() * len(sums) < WHOLE and (sums == np.floor(sums)).all():
        classes = (sums > 0).sum(axis=0)
        weights = np.ones(sums.shape)
        return np.divide(sums.sum(axis=0), classes * sums, out=weights, where=sums > 0)
    if sums.ndim == 2:
        return np.stack([balanced(counts[:, :, j]) for j in range(sums.shape[1])], axis=1)
    exact = [Fraction(a) + Fraction(b) for a, b in zip(*counts.tolist(), strict=True)]
    total, classes = sum(exact), sum(one > 0 for one in exact)
    try:
        return np.array([float(total / (classes * one)) if one > 0 else 1.0 for one in exact])
    except OverflowError:
        raise ValueError(
            "class_weight='balanced' would not be finite: the sums of sample_weight over the "
            f"classes differ too much, {sums}"
        ) from None


def chosen(class_weight: dict[Any, Any], classes: NDArray[Any]) -> NDArray[np.float64]:
    """The weights that a dict gives the classes, 1 where it has none.

    Raises
    ------
    ValueError
        If one is no finite number, or negative; or if none of its classes is there.
    """
    for label, value in class_weight.items():
        number = python_number(value, whole=False)
        if not (isinstance(number, (int, float)) and 0.0 <= number < np.inf):
            raise ValueError(
                f"class_weight must be finite and not negative, got {value!r} for class {label!r}"
            )
    return compute_class_weight(class_weight, classes=classes, y=classes)


def check(weights: NDArray[np.float64], dtype: Any) -> None:
    """Refuse weights whose square overflows in the dtype of computation.

    Raises
    ------
    ValueError
        Naming ``class_weight``.
    """
    highest = float(np.sqrt(np.finfo(dtype).max))
    if not weights.max() <= highest:
        raise ValueError(f"class_weight must be at most {highest:.3g}, got {weights.max():.3g}")
