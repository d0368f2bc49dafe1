"""Labels of classes: which there are, the number of each row's, and the weights of the classes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
)

from ..inputs.conversions import MatrixLike
from ..problem import computed_in
from . import class_weights

__all__ = ["LABEL_BLOCK", "Labels", "find_labels"]

LABEL_BLOCK = 1 << 15
"""Labels that are looked at together: few enough to stay in the cache for the second look."""


def find_labels(y: NDArray[Any], dtype: Any) -> tuple[NDArray[Any], NDArray[np.floating]]:
    """The sorted labels (n_classes,) of y (n,), and the position of each row's label, (n,).

    Two labels are told by two comparisons, which is what most y need; np.unique sorts or hashes.
    """
    if y.dtype.kind in "biuf" and len(y):
        found = _two_labels(y, dtype)
        if found is not None:
            return found
    classes = _unique(y)
    if len(classes) == 2:
        return classes, (y == classes[1]).astype(dtype)
    return classes, np.searchsorted(classes, y).astype(dtype)


def _two_labels(y: NDArray[Any], dtype: Any) -> tuple[NDArray[Any], NDArray[np.floating]] | None:
    """The same where the first rows have two labels and the others no third; else None."""
    classes = np.array([y[:LABEL_BLOCK].min(), y[:LABEL_BLOCK].max()], dtype=y.dtype)
    positions = np.empty(len(y), dtype=dtype)
    for start in range(0, len(y), LABEL_BLOCK):
        part = y[start : start + LABEL_BLOCK]
        upper = part == classes[1]
        if np.count_nonzero(upper) + np.count_nonzero(part == classes[0]) != len(part):
            return None
        positions[start : start + LABEL_BLOCK] = upper
    return classes, positions


def _unique(y: NDArray[Any]) -> NDArray[Any]:
    """np.unique, by a table of what is there for small whole numbers."""
    if y.dtype.kind in "iu" and len(y):
        lowest, highest = int(y.min()), int(y.max())
        if highest - lowest < 1 << 16:
            there = np.zeros(highest - lowest + 1, dtype=bool)
            wide = np.int64 if y.dtype.kind == "i" else np.uint64  # int8 minus int8 may overflow
            there[y.astype(wide, copy=False) - wide(lowest)] = True
            return (np.flatnonzero(there).astype(wide) + wide(lowest)).astype(y.dtype)
    return np.unique(y)


class Labels:
    """Classes of a classifier, or labels of a multilabel one."""

    class_weight: dict[Any, Any] | Literal["balanced"] | None
    classes_: NDArray[Any]
    _class_counts: class_weights.Counts
    _multilabel = False

    def _labels(self, y: Any) -> NDArray[Any]:
        """Labels (n,), or an indicator matrix (n, n_labels)."""
        if y.ndim == 1:
            return y
        if y.shape[1] == 1:
            return column_or_1d(y, warn=True)
        if type_of_target(y) != "multilabel-indicator" or not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"y should be a 1d array, got an array of shape {y.shape} instead; of two "
                "dimensions only an indicator matrix of zeros and ones will do."
            )
        return y

    def _encode(self, y: NDArray[Any], dtype: Any, name: str = "y") -> NDArray[np.floating]:
        """Position of each label in ``classes_``, (n,), or zeros and ones (n, n_labels).

        Raises
        ------
        ValueError
            If a label is not in ``classes_``.
        """
        if (y.ndim == 2) != self._multilabel or (y.ndim == 2 and y.shape[1] != len(self.classes_)):
            wanted = f"(n_samples, {len(self.classes_)})" if self._multilabel else "(n_samples,)"
            raise ValueError(f"{name} must have shape {wanted} as in fit, got {y.shape}")
        if y.ndim == 2:
            return (y != 0).astype(dtype)
        if y.dtype == object:
            check_classification_targets(y)
        try:
            positions = np.searchsorted(self.classes_, y)
            np.minimum(positions, len(self.classes_) - 1, out=positions)
            wrong = self.classes_[positions] != y
        except TypeError:
            raise ValueError(
                f"`{name}` has classes of {y.dtype}, which cannot be compared with `self.classes_` "
                f"of {self.classes_.dtype}"
            ) from None
        if wrong.any():
            check_classification_targets(y)
            raise ValueError(
                f"`{name}` has classes not in `self.classes_`. `self.classes_` has "
                f"{self.classes_}. '{name}' also has {np.unique(y[wrong])}."
            )
        return positions.astype(dtype)

    def _check_classes(self) -> None:
        if len(self.classes_) < 2 and not self._multilabel:
            raise ValueError(
                f"The number of classes has to be greater than one; got {len(self.classes_)} class"
            )

    def _find_classes(self, X: MatrixLike, y: NDArray[Any]) -> NDArray[np.floating]:
        """Set ``classes_`` by labels (n,) or an indicator matrix; ``_encode`` of them."""
        self._multilabel = y.ndim == 2
        if self._multilabel:
            self.classes_ = np.arange(y.shape[1])
            encoded = self._encode(y, computed_in(X))
        else:
            self.classes_, encoded = find_labels(y, computed_in(X))
            if y.dtype.kind not in "biuU":  # of which any will do
                check_classification_targets(self.classes_)
        self._check_classes()
        return encoded

    def _validate_part(
        self: Any, X: Any, y: Any, classes: ArrayLike | None
    ) -> tuple[Any, NDArray[Any], NDArray[np.floating]]:
        """Rows of ``partial_fit``, their labels, and these as ``_encode`` gives them."""
        resume = hasattr(self, "_continuation")
        if _check_partial_fit_first_call(self, classes):
            self._multilabel = False  # until y is seen
        X, y = self._validate(X, y, reset=not resume)
        y = self._labels(y)
        if not resume:
            self._multilabel = y.ndim == 2
            if self._multilabel and not np.array_equal(self.classes_, np.arange(y.shape[1])):
                raise ValueError(
                    f"classes of a multilabel problem must be range({y.shape[1]}), got {classes!s}"
                )
        self._check_classes()
        return X, y, self._encode(y, computed_in(X))

    def _weights_of_classes(
        self,
        encoded: NDArray[np.floating],
        weight: NDArray[np.floating] | None,
        *,
        add: bool = False,
    ) -> NDArray[np.float64] | None:
        """Weights of the classes (n_classes,), or of the negative and positive rows of each label
        (2, n_labels), if ``class_weight`` is given; ``add`` to the counts so far."""
        if self.class_weight is None:
            vars(self).pop("_class_counts", None)
            return None
        counts = class_weights.count(encoded, weight, len(self.classes_))
        if add and hasattr(self, "_class_counts"):
            counts = class_weights.add(self._class_counts, counts)
        self._class_counts = counts
        if isinstance(self.class_weight, str):  # "balanced"
            weights = class_weights.balanced(counts)
        else:
            weights = class_weights.chosen(self.class_weight, self.classes_)
        class_weights.check(weights, encoded.dtype)
        return weights
