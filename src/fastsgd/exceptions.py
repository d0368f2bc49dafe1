"""The errors a user can meet that are not plain ``ValueError`` or ``MemoryError``."""

from __future__ import annotations


class DivergenceError(ValueError):
    """The run overflowed: a score, a weight or a loss is no longer finite.

    Parameters
    ----------
    step : int
        Number of updates done when it was noticed.
    learning_rate : float
        Learning rate of the last update.
    feature_scale : float
        Largest absolute value in the row at which it was noticed.
    """

    def __init__(self, step: int, learning_rate: float, feature_scale: float) -> None:
        self.step = step
        self.learning_rate = learning_rate
        self.feature_scale = feature_scale
        super().__init__(
            f"SGD diverged after {step} updates: the learning rate was {learning_rate:.3g} and the "
            f"largest feature of the row {feature_scale:.3g}. Scale the features (for example with "
            "StandardScaler) or lower eta0; learning_rate='auto' chooses a rate from the data."
        )

    def __reduce__(self) -> tuple[type, tuple[int, float, float]]:
        return type(self), (self.step, self.learning_rate, self.feature_scale)
