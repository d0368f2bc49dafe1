"""The learning rate of "auto" under a tolerance, where an epoch has few updates.

At a constant rate SGD first approaches the minimum and then fluctuates around it, at a distance
that is proportional to the rate. The loss of an epoch does not tell which of the two phases it
belongs to, and on a small table it is mostly noise. So the objective over all rows is evaluated at
checkpoints, for two models: the last weights, and the mean of the weights at the ends of the epochs
since the last checkpoint, in which most of the noise cancels (Polyak & Juditsky 1992; at the ends
of epochs: Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI
2018).

    improvement   best objective before the checkpoint, minus the smaller of the two objectives
    noise         absolute difference of the two objectives

The rate stays while the objective improves. It is halved at each checkpoint without an improvement
and, once it was halved, also where the noise is more than half of the improvement. A lane stops
after ``STALLED_CHECKPOINTS`` checkpoints at a reduced rate with neither an improvement nor noise.
The time between checkpoints grows with the number of epochs: if a loss falls as 1 / t, then what it
gains while t grows by a constant factor is proportional to what is left.

For tables with few features a lower bound of the minimum of a lane's objective is computed, once,
when the improvements become small (a millisecond: statistics/minimum.py). The weights come from SGD
alone, but the bound tells how suboptimal they are: the best objective minus the minimum. A lane
stops as soon as that is small. It goes on while that is large and still shrinking. Where it is
large at the stop, the caller is told: see :attr:`Annealing.doubts`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings
from ..statistics.objective import Objective
from .standing import Standing, copied, put, same, taken

__all__ = ["Annealing"]

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

# The first five constants multiply ``tol`` times the size of the objective. Of classes that is the
# objective of the best model without features, if it is larger: where they are nearly separable
# the present one is so small that a part of it says nothing of the model.

MIN_IMPROVEMENT, MIN_IMPROVEMENT_OF_CLASSES = 2.5, 5.0
"""The smallest decrease of the objective that counts as an improvement. For a loss that falls as
1 / t, four times as much may be left: 1 % of the size at the default ``tol`` of 1e-3, of classes
2 %, behind which test scores tend to fall."""

MAX_NOISE = 5.0
"""The largest noise at which a checkpoint without an improvement counts towards stopping."""

MAX_SUBOPTIMALITY = 10.0
"""The largest suboptimality of a lane that need not go on while it still improves. A lane of real
targets stops without a doubt below it: at 1 % with the default ``tol``."""

DOUBTFUL = 30.0
"""The same of a lane of classes that stops without a doubt: 3 %."""

SMALL_IMPROVEMENT = 50.0
"""The largest improvement after which the minimum may be near. After a larger one it is not
computed."""

TOL_FLOOR, NOISE_TOL_FLOOR = 1e-7, 1e-4
"""``tol`` is at least the first, and at least the second where noise is judged. With ``tol`` = 0 a
run could otherwise not end."""

CHECKPOINT_GROWTH = 1.4
"""The epoch of a checkpoint divided by that of the one before. They are at least the first
interval apart."""

FIRST_INTERVAL_UPDATES, FIRST_INTERVAL_EPOCHS = 1000, 5
"""The first checkpoints are so many updates apart, in whole epochs, but at most so many epochs."""

STALLED_CHECKPOINTS = 2
"""Checkpoints in a row, at a reduced rate and without improvement or noise, after which a lane
stops."""

MIN_GAP_REDUCTION = 0.05
"""A lane that is known to be far from its minimum goes on while a checkpoint reduces its
suboptimality by more than this fraction."""

RECOMPUTE_BELOW = 0.3
"""The minimum is computed again once the objective is below this fraction of what it was at the
last computation, which may have been far from the minimum and so inexact."""

LONG_RUN_VALUES, LONG_RUN_EPOCHS, LONG_RUN_IMPROVEMENT = 1 << 19, 20, 2.0
"""A run is long after so many values of X (about half a millisecond) and so many epochs. A lane
then stops at the first improvement of at most the third number, times ``tol`` times the size of its
objective at the start of the run."""

SEEN = (
    *("epoch", "last_checkpoint", "next_checkpoint", "count", "coef", "intercept", "best", "size"),
    *("initial_size", "halvings", "stalled", "last_improvement", "minimum", "size_at_minimum"),
    "rate_sum",
)
"""What it has seen and decided."""


class Annealing:
    """Decides when the rates of lanes are reduced, when lanes stop, and which weights were best.

    Parameters
    ----------
    problem : tuple of (Data, Lanes, Settings)
    start : tuple of ndarray, (K, d) and (K,)
        The weights that training begins from.
    tol : float
        Relative to the size of the objective: see ``MIN_IMPROVEMENT`` and ``MAX_NOISE``.
    patience : int
        The least number of epochs without an improvement before a lane stops.

    Attributes
    ----------
    best, size : ndarray of shape (K,)
        The smallest objective so far, and its size: see :class:`Objective`.
    coef, intercept : ndarray of shape (K, d) and (K,)
        The weights at which it was found.
    doubts : dict of str to ndarray of shape (K,), bool
        Lanes that stopped although their objective may be more than ``doubtful`` above its minimum.
        "slow": the loss still fell, but by too little for the time it took, or the minimum is known
        to be lower. "penalty": the L2 term, which shrinks weights at a rate of alpha, has not had
        the time to.
    """

    def __init__(
        self,
        problem: tuple[Data, Lanes, Settings],
        start: tuple[Any, Any],
        tol: float,
        patience: int,
    ) -> None:
        data, self.lanes, self.settings = problem
        k = self.lanes.k
        self.objective = Objective(*problem)
        self.tol, self.patience = max(tol, TOL_FLOOR), patience
        self.updates = data.batches(self.settings.batch_size)  # per epoch
        epochs = math.ceil(FIRST_INTERVAL_UPDATES / self.updates)
        self.interval = max(1, min(FIRST_INTERVAL_EPOCHS, epochs))
        self.values = data.X.nnz if data.sparse else data.n * data.d  # of X, read per epoch
        self.epoch = self.last_checkpoint = 0
        self.next_checkpoint = max(self.interval, min(patience, FIRST_INTERVAL_EPOCHS))
        self.coef, self.intercept = (np.array(part) for part in start)
        self.best, self.size = self.objective(*start)
        self.initial_size = self.size
        # Halvings of the rate, stalled checkpoints in a row, the epoch of the last improvement.
        self.halvings, self.stalled, self.last_improvement = np.zeros((3, k), dtype=np.int64)
        self.minimum = np.full(k, np.nan)  # a lower bound, where it is known
        # Size of the objective when the minimum was last computed; 0: it never will be.
        self.size_at_minimum = np.full(k, 0.0 if self.settings.average else np.inf)
        self.rate_sum = np.zeros(k)  # over all updates
        self.of_constants: Float | None = None  # computed if it is asked for
        self.of_classes = self.settings.sign_targets
        self.doubtful = DOUBTFUL if self.of_classes else MAX_SUBOPTIMALITY
        self.least = MIN_IMPROVEMENT_OF_CLASSES if self.of_classes else MIN_IMPROVEMENT
        self.doubts = {"slow": np.zeros(k, dtype=bool), "penalty": np.zeros(k, dtype=bool)}
        self.reset_mean()

    def reset_mean(self) -> None:
        """Begin the mean of the weights anew."""
        # From -0.0, which any number is itself added to. Averages are a mean already.
        shapes, dtype = (self.coef.shape, self.intercept.shape), self.objective.data.dtype
        zeros = tuple(np.full(shape, -0.0, dtype=dtype) for shape in shapes)
        self.sums: Any = None if self.settings.average else zeros
        self.count = 0

    def standing(self) -> Standing:
        """What was decided and seen so far, to go on from."""
        return {**taken(self, SEEN), "sums": copied(self.sums), "doubts": copied(self.doubts)}

    def restore(self, found: Standing) -> None:
        """Go on from where another one stands, of the same problem."""
        self.initial_size = self.size.copy()  # which is the same array at first
        put(found, self, SEEN)
        if self.sums is not None:
            self.sums = same("sums", found.get("sums"), self.sums)
        doubts = found.get("doubts")
        if not isinstance(doubts, dict):
            raise ValueError(
                "the checkpoint lacks the record of its warnings, which this fit needs"
            )
        for name, which in self.doubts.items():
            which[:] = same("doubts", doubts.get(name), which)
        if self.count < 0 or self.next_checkpoint <= self.last_checkpoint:
            raise ValueError("the checkpoint has impossible epochs: the next look before the last")

    @property
    def plain(self) -> int:
        """Epochs to come before that of the next checkpoint."""
        return self.next_checkpoint - self.epoch - 1

    def skip(self, epochs: int) -> None:
        """Count epochs whose models were added to ``sums`` already."""
        self.epoch += epochs
        self.count += epochs

    def is_due(self, model: tuple[Any, Any]) -> bool:
        """Add the weights (K, d) and (K,) at the end of an epoch to the mean; whether the epoch
        ends at a checkpoint."""
        self.epoch += 1
        self._add(model)
        return self.epoch >= self.next_checkpoint

    @np.errstate(over="ignore", invalid="ignore")  # objectives and weights may be of any size
    def checkpoint(
        self, model: tuple[Any, Any], rate: Float, training: Mask, *, last: bool = False
    ) -> tuple[Mask, Mask]:
        """Decide which rates are halved and which lanes stop.

        Parameters
        ----------
        model : tuple of ndarray, (K, d) and (K,)
            The last weights.
        rate : ndarray of shape (K,)
            The learning rates since the last checkpoint.
        training : ndarray of shape (K,), bool
            Lanes that have not stopped.
        last : bool
            Whether there is no epoch after this one, so that a lane whose suboptimality leaves no
            doubt has converged.

        Returns
        -------
        halve, stops : ndarray of shape (K,), bool
            Lanes whose rate is to be halved, and lanes that stop.
        """
        updates = (self.epoch - self.last_checkpoint) * self.updates
        self.rate_sum += rate * updates / (1.0 - self.settings.momentum)
        self.last_checkpoint = self.epoch
        before = self.best
        value, size, noise, worse = self._evaluate(model, training)
        improvement = before - value
        unit = self._unit(size)
        improved = improvement > np.maximum(self.least * unit, 1e-12 * self.initial_size)
        max_noise = MAX_NOISE * max(1.0, NOISE_TOL_FLOOR / self.tol) * unit
        quiet = (noise <= max_noise) & (worse - self.best <= 2.0 * max_noise)
        near = (improvement <= SMALL_IMPROVEMENT * unit) & (noise <= 8.0 * max_noise)
        small = LONG_RUN_IMPROVEMENT * self.tol * self.initial_size
        slow = improved & (improvement <= small) & self._is_long()
        halve = np.where(improved, (self.halvings > 0) & (noise > 0.5 * improvement), True)
        self.last_improvement[improved] = self.epoch
        self.stalled = np.where(improved, 0, self.stalled + ((self.halvings > 0) & quiet))
        stalled = self.stalled >= STALLED_CHECKPOINTS
        stalled &= self.epoch - self.last_improvement >= self.patience
        gap = self._suboptimality(training & (near | stalled | slow))
        converged = gap <= (self.doubtful if last else self.least) * unit
        converged &= self.epoch >= self.patience
        if not self._is_long():
            far = gap > MAX_SUBOPTIMALITY * max(1.0, NOISE_TOL_FLOOR / self.tol) * unit
            stalled &= ~(far & (improvement > MIN_GAP_REDUCTION * gap))
        stops = training & (stalled | slow | converged)
        if stops.any():
            # A loss that falls as 1 / t may fall by about three times the last improvement.
            left = np.where(np.isfinite(gap), gap, np.where(slow, 3.0 * improvement, 0.0))
            large = self.doubtful * self._unit(self.size)
            self._note_doubts(stops, left, np.isfinite(gap), large)
        halve = halve & training & ~stops
        self.halvings += halve
        self.next_checkpoint = max(
            self.epoch + self.interval, math.ceil(self.epoch * CHECKPOINT_GROWTH)
        )
        self.reset_mean()
        return halve, stops

    def _add(self, model: tuple[Any, Any]) -> None:
        if self.sums is None:
            return
        for sums, part in zip(self.sums, model, strict=True):
            sums += part
        self.count += 1

    def _evaluate(
        self, model: tuple[Any, Any], training: Mask
    ) -> tuple[Float, Float, Float, Float]:
        """Objective and size of the better model, the noise, and the objective of the other; keep
        the better model where it is the best so far."""
        at_last, size = self.objective(*model)
        at_mean, mean = at_last, model
        if self.sums is not None:
            dtype = np.asarray(model[0]).dtype
            mean = (
                np.asarray(self.sums[0] / self.count, dtype=dtype),
                np.asarray(self.sums[1] / self.count, dtype=dtype),
            )
            at_mean, size_mean = self.objective(*mean)
            size = np.where(at_mean <= at_last, size_mean, size)
        value, worse = np.fmin(at_mean, at_last), np.fmax(at_mean, at_last)
        better = training & (value < self.best)
        if better.any():
            of_mean = (at_mean <= at_last)[:, None]
            self.best = np.where(better, value, self.best)
            self.size = np.where(better, size, self.size)
            chosen = np.where(of_mean, mean[0], model[0])
            self.coef = np.where(better[:, None], chosen, self.coef)
            chosen = np.where(of_mean[:, 0], mean[1], model[1])
            self.intercept = np.where(better, chosen, self.intercept)
        return value, size, np.abs(at_last - at_mean), worse

    def _is_long(self) -> bool:
        return self.epoch >= LONG_RUN_EPOCHS and self.epoch * self.values >= LONG_RUN_VALUES

    def _unit(self, size: Float) -> Float:
        """``tol`` times a size of the objective, as the first constants of this module want it."""
        return self.tol * (np.fmax(size, self._of_constants()) if self.of_classes else size)

    def _of_constants(self) -> Float:
        if self.of_constants is None:
            self.of_constants = self.objective.of_constants()
        return self.of_constants

    def _suboptimality(self, which: Mask) -> Float:
        """The best objectives minus their minima, where these are known; NaN elsewhere.

        The minimum does not change: it is computed when ``which`` first has a lane. It is computed
        again where the objective has fallen far since, because it was then not exact enough.
        """
        new = which & (self.size < RECOMPUTE_BELOW * self.size_at_minimum)
        if new.any():
            self.size_at_minimum[new] = self.size[new]
            model = self.coef, self.intercept
            found = self.objective.minimum(*model, new, self.tol * self.size)
            self.minimum = np.where(new, found, self.minimum)
        return self.best - self.minimum

    def _note_doubts(self, stops: Mask, left: Float, known: Mask, large: Float) -> None:
        """Note which of the lanes that stop may have more than is little ``left`` to gain."""
        self.doubts["slow"] |= stops & (left > large)
        if not self.settings.optimizer.linear:  # L2 acts at a rate of its own in each weight
            return
        alpha = self.lanes.alpha
        penalty = 0.5 * alpha * np.square(self.coef, dtype=np.float64).sum(axis=1)
        if self.settings.terms.coupled:
            penalty = np.full_like(penalty, penalty.sum())
        # What of the penalty would decay further: by exp(-2 alpha sum of rates) it already has.
        shrinks = penalty * np.exp(-2.0 * np.minimum(alpha * self.rate_sum, 300.0))
        self.doubts["penalty"] |= stops & ~self.doubts["slow"] & ~known & (shrinks > large)
