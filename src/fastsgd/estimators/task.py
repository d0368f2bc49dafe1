"""What one call of an estimator trains on, as arrays and lanes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import CompiledLoss
from ..problem import Data, pinned
from .standardise import Scaling
from .streams import TableStream

__all__ = ["Task"]


@dataclass
class Task:
    """What one call trains on, as arrays and lanes.

    Attributes
    ----------
    X : ndarray or CSR of shape (n, d)
    y : ndarray of shape (n,) or (n, n_targets)
        Targets, or positions of labels.
    weight : ndarray of shape (n,) or None
    loss : str or CompiledLoss
    sign_targets : bool
    labels : ndarray of shape (K,)
    targets : ndarray of shape (K,), int64
        Column of y that each lane learns.
    class_weight : dict
        ``weight_positive`` and ``weight_negative`` of the lanes, where not 1.
    user_y : ndarray of shape (n,) or (n, n_targets)
        The user's own targets, checked.
    given : tuple
        X, y and sample_weight as the user gave them, for callbacks.
    scaling : Scaling
        From the features of X to those that are trained on.
    stream : TableStream or None
        All rows, where X, y and weight are a sample of them.
    """

    X: Any
    y: NDArray[Any]
    weight: NDArray[np.floating] | None
    loss: str | CompiledLoss
    sign_targets: bool
    labels: NDArray[np.float64]
    targets: NDArray[np.int64]
    class_weight: dict[str, Any] = field(default_factory=dict)
    user_y: Any = None
    given: tuple[Any, Any, Any] = (None, None, None)
    scaling: Scaling = field(default_factory=Scaling)
    stream: TableStream | None = None

    def __post_init__(self) -> None:
        self.pins = pinned(self.X, self.y, self.weight, self.user_y)  # as long as this exists

    def data(self, weight: NDArray[np.floating] | None) -> Data:
        """The rows as they are trained on, of these weights; X and y have been looked at."""
        if self.stream is not None:
            return self.stream.data(self.X, self.y, weight, self.scaling)
        if weight is None and self.scaling.scale is None and self.y.ndim == 1:
            return Data.of_sound(self.X, self.y)
        scaling = self.scaling
        return Data(self.X, self.y, weight, scaling.offset, scaling.scale, checked=True)

    def lane_targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """What each lane should say of targets y: shape (n, K), real, or whether positive."""
        y = (y[:, None] if y.ndim == 1 else y)[:, self.targets]
        return y == self.labels if self.sign_targets else y
