"""When to stop, lane by lane: a watch on the training loss or on a validation score."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .standing import Standing, put, taken

__all__ = [
    "FEW_UPDATES",
    "PLATEAU_FACTOR",
    "PLATEAU_REDUCTIONS",
    "RELATIVE_GAIN",
    "Stopping",
    "Watch",
]

Array = NDArray[np.floating]

PLATEAU_FACTOR = 4.0
"""What an epoch without gain divides the rate of "auto" by: a power of two, which is exact."""

PLATEAU_REDUCTIONS = 5
"""How many times a rate is reduced before patience runs out, if patience is that many epochs."""


FEW_UPDATES = 5000
"""Updates of an epoch up to which "auto" with a tolerance is annealed (annealing.py): so few do not
reach the noise floor within an epoch, whose loss says little of what is left to gain."""

RELATIVE_GAIN = 2.5
"""Times ``tol`` of the loss: what an epoch has to gain under "auto" with more updates."""

ADAPTIVE_FLOOR = 1e-6
"""Rate below which "adaptive" stops instead of dividing by 5, as in scikit-learn."""


WATCHED = ("best", "best_tie", "without_gain", "warned_of_scores")
"""What a watch has seen."""


@dataclass(frozen=True)
class Stopping:
    """When to stop: after ``max_epochs``, or when what is watched no longer improves.

    A lane stops after ``patience`` epochs in a row that do not improve its best value by more than
    ``tol``; ``tol`` None never stops early. Of a training loss ``tol`` is multiplied by the lane's
    mean weight where that is below 1: weights that sum to 1 are no reason to stop. With a
    ``plateau_factor`` it is a part of the loss instead, ``RELATIVE_GAIN`` times ``tol``, at any
    scale of y.

    Attributes
    ----------
    max_epochs : int
    tol : float or None
    patience : int
    validate : callable or None
        ``validate(coef, intercept)``: a score of the model, the greater the better; one for each
        lane (K,), which then stops on its own, or one for all. It is watched instead of the
        training loss, and the best weights are restored at the end. Of epochs with equal scores the
        one with the smallest ``validate.tie`` (K,) is the best, if there is such an attribute. A
        score that is no finite number is no gain; before the first number it is no lack of gain
        either, so that a lane which never has one trains to ``max_epochs``.
    adaptive : bool
        Divide a lane's rate by 5 instead of stopping it while the rate is above 1e-6.
    plateau_factor : float
        The rate is that of "auto", of a training loss: it falls where the loss no longer does. An
        epoch of up to ``FEW_UPDATES`` updates is annealed. With more, a lane's rate is divided by
        this after an epoch without gain, ``PLATEAU_REDUCTIONS`` times before the lane stops, at any
        ``patience``. 1 for never. What a call lowered is as it was when the call ends.
    unit : ndarray of shape (K,) or None
        What a unit of loss weighs in a lane; None: the mean of its rows' weights.
    backoff : bool
        After a divergence go back to the last epoch's end and halve the rate of the lanes at fault.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    >>> state = solver.State(data, lanes, settings)
    >>> stopping = solver.Stopping(max_epochs=1000, tol=0.1, patience=2)
    >>> progress = solver.fit(data, lanes, settings, state, stopping)
    >>> progress.stopped, bool(progress.epochs[0] < 1000)
    (array([ True]), True)
    """

    max_epochs: int = 1000
    tol: float | None = 1e-3
    patience: int = 5
    validate: Callable[..., Array | float] | None = None
    adaptive: bool = False
    plateau_factor: float = 1.0
    backoff: bool = False
    unit: Array | None = None


class Watch:
    """Counts a lane's epochs without gain; smaller values are better.

    Attributes
    ----------
    best : ndarray of shape (K,)
        Smallest value so far.
    without_gain : ndarray of shape (K,), int64
        Epochs in a row that were above the best value minus ``tol``.
    """

    def __init__(self, k: int, stopping: Stopping, unit: Array | float = 1.0) -> None:
        self.tol: Any = stopping.tol
        self.patience, self.scored = stopping.patience, stopping.validate is not None
        self.relative = stopping.plateau_factor != 1.0 and not self.scored
        if self.relative:
            self.patience = max(self.patience, PLATEAU_REDUCTIONS)
        elif self.tol is not None and not self.scored:
            self.tol = self.tol * np.minimum(1.0, unit)
        self.best, self.best_tie = np.empty(k), np.empty(k)
        self.best.fill(np.inf)
        self.best_tie.fill(np.inf)
        self.without_gain = np.zeros(k, dtype=np.int64)
        self.warned_of_scores = False

    def standing(self) -> Standing:
        """Best values and counts, to go on from."""
        return taken(self, WATCHED)

    def restore(self, found: Standing) -> None:
        """Go on from the best values and counts of another."""
        put(found, self, WATCHED)

    def see(
        self, value: NDArray[np.float64], tie: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take in an epoch's values (K,): which lanes are out of patience, which at their best."""
        better = value < self.best
        if tie is not None:
            better |= (value == self.best) & (tie < self.best_tie)
            np.copyto(self.best_tie, tie, where=better)
        if self.tol is None:
            stops = np.zeros(len(value), dtype=bool)
        else:
            self.without_gain += 1
            tol = self.tol
            if self.relative:
                tol = RELATIVE_GAIN * tol * np.where(np.isfinite(self.best), np.abs(self.best), 0.0)
            np.copyto(self.without_gain, 0, where=value <= self.best - tol)  # a NaN: no gain
            if self.scored:
                np.copyto(self.without_gain, 0, where=np.isnan(value) & np.isinf(self.best))
            stops = self.without_gain >= self.patience
        np.copyto(self.best, value, where=better)
        return stops, better

    def losses_of_scores(
        self, score: Any, shape: tuple[int, ...], epoch: int
    ) -> NDArray[np.float64]:
        """Minus the validation scores, (K,): NaN for what is no finite number."""
        value = -np.broadcast_to(np.asarray(score, dtype=np.float64), shape)
        wrong = ~np.isfinite(value)
        if not wrong.any():
            return value
        if not self.warned_of_scores:
            self.warned_of_scores = True
            warnings.warn(
                f"The validation score after epoch {epoch} is not a finite number: {score}. Such "
                "an epoch is never the best, and training does not stop before the first score "
                "that is a number.",
                UserWarning,
                stacklevel=8,
            )
        return np.where(wrong, np.nan, value)
