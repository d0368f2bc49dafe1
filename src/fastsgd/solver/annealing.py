"""The learning rate of "auto" under a tolerance, where an epoch has few updates.

At a constant rate SGD first comes nearer to the minimum and then moves around it, at a distance
that is proportional to the rate. The loss of an epoch does not tell which of the two it shows, and
of a small table it is mostly chance. So at checkpoints the objective is evaluated, over all rows,
at two models: the last weights, and the mean of the weights at the ends of the epochs since the
last checkpoint, in which most of the noise cancels (Polyak & Juditsky 1992; at the ends of epochs:
Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018).

    gain     by how much the better of the two is below the best objective before
    noise    the difference of the two

The rate stays while there is a gain, and is halved at each checkpoint where there is none, or where
less is gained than is noise. A lane stops when ``STALLS`` checkpoints of a lowered rate had neither
gain nor noise. The time between checkpoints grows with the number of epochs: of a loss that falls
as 1 / t, what is gained while t grows by a constant factor is proportional to what is left.

Of tables with few features the minimum of a lane's objective is found from below, once, when its
gains become small (a millisecond: statistics/minimum.py). The weights come from SGD alone; but a
lane then stops as soon as little is left, does not while it still makes for a minimum that is far,
and its stopping is in doubt where much is left. What a stop cannot see is said: see
:attr:`Annealing.doubts`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings
from ..statistics.objective import Objective

__all__ = ["Annealing"]

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

GAIN, NOISE = 2.5, 5.0
"""Times ``tol`` of the objective: a gain that counts, and noise that does not. Four times a gain
may be left of a loss that falls as 1 / t, which is 1 % at the default ``tol`` of 1e-3."""

LEFT = 10.0
"""Times ``tol`` of the objective: more of it, that may be left to gain, is a doubt."""

NEAR = 20.0
"""Times ``GAIN``: where more was gained since the last checkpoint the minimum is not looked for."""

LEAST_TOL, LEAST_GAIN = 1e-4, 1e-7
"""Noise and gains are measured by this ``tol`` at least: neither is ever 0 for good."""

GROWTH = 1.4
"""Epochs at a checkpoint, as a multiple of those at the one before."""

LONGEST, UPDATES = 5, 1000
"""Epochs between the first checkpoints: of so many updates, but so many epochs at most."""

STALLS = 2

WORTHWHILE = 0.05
"""A part of what is left: a lane that is known to be far from its minimum goes on while it gains
more than this."""

SMALLER = 0.3
"""The part that the objective has to fall to before its minimum is looked for again, more exactly:
the first time it may have been far from it."""

COSTLY_VALUES, COSTLY_EPOCHS, WORTH = 1 << 19, 20, 2.0
"""Values of X that a lane has read (half a millisecond), and epochs, after which a gain has to be
worth its time: one of less than ``WORTH`` times ``tol`` of the objective that the run began with
ends it."""


class Annealing:
    """Decides when the rates of lanes fall, when lanes stop, and which weights were their best.

    Parameters
    ----------
    problem : tuple of (Data, Lanes, Settings)
    start : tuple of ndarray, (K, d) and (K,)
        The weights that training begins from.
    tol : float
        A part of the objective: see ``GAIN`` and ``NOISE``.
    patience : int
        Epochs without a gain before a lane stops, at least.

    Attributes
    ----------
    best, size : ndarray of shape (K,)
        The least objective so far, and its size: see :class:`Objective`.
    coef, intercept : ndarray of shape (K, d) and (K,)
        The weights it belongs to.
    doubts : dict of str to ndarray of shape (K,), bool
        Lanes that stopped although more than 1 % (at the default ``tol``) of their objective may be
        left to gain. "slow": the loss still fell, but by too little for the time it took, or the
        minimum is known to be lower. "penalty": the L2 term, which acts at a rate of alpha, has not
        had the time to.
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
        self.tol, self.patience = max(tol, LEAST_GAIN), patience
        self.updates = data.batches(self.settings.batch_size)
        self.between = max(1, min(LONGEST, math.ceil(UPDATES / self.updates)))
        self.values = data.X.nnz if data.sparse else data.n * data.d  # of an epoch
        self.epoch, self.next, self.looked = 0, max(self.between, min(patience, LONGEST)), 0
        self.coef, self.intercept = (np.array(part) for part in start)
        self.best, self.size = self.objective(*start)
        self.first = self.size
        self.lowered, self.stalls, self.last_gain = np.zeros((3, k), dtype=np.int64)
        self.minimum = np.full(k, np.nan)  # where it is known
        self.asked = np.full(k, 0.0 if self.settings.average else np.inf)  # sizes at which
        self.time = np.zeros(k)  # sum of the rates of all updates
        self.doubts = {"slow": np.zeros(k, dtype=bool), "penalty": np.zeros(k, dtype=bool)}
        self.forget_window()

    def forget_window(self) -> None:
        """Begin the mean of the weights anew."""
        self.sums: tuple[Any, Any] | None = None
        self.count = 0

    def is_due(self, model: tuple[Any, Any]) -> bool:
        """Take in the weights (K, d) and (K,) at the end of an epoch; whether to look at them."""
        self.epoch += 1
        self._add(model)
        return self.epoch >= self.next

    @np.errstate(over="ignore", invalid="ignore")  # objectives and weights may be of any size
    def look(
        self, model: tuple[Any, Any], rate: Float, training: Mask, *, last: bool = False
    ) -> tuple[Mask, Mask]:
        """Decide at a checkpoint.

        Parameters
        ----------
        model : tuple of ndarray, (K, d) and (K,)
            The last weights.
        rate : ndarray of shape (K,)
            The learning rates since the last checkpoint.
        training : ndarray of shape (K,), bool
            Lanes that have not stopped.
        last : bool
            Whether there is no epoch after this one, so that a lane with little left is done.

        Returns
        -------
        lower, stops : ndarray of shape (K,), bool
            Lanes whose rate is to be halved, and lanes that stop.
        """
        updates = (self.epoch - self.looked) * self.updates
        self.time += rate * updates / (1.0 - self.settings.momentum)
        self.looked = self.epoch
        before = self.best
        value, size, noise, worse = self._look(model, training)
        gain = before - value
        gaining = gain > GAIN * self.tol * np.maximum(size, 1e-9 * self.first)
        allowed = NOISE * max(self.tol, LEAST_TOL) * size
        quiet = (noise <= allowed) & (worse - self.best <= 2.0 * allowed)
        near = (gain <= NEAR * GAIN * self.tol * size) & (noise <= 8.0 * allowed)
        slow = gaining & (gain <= WORTH * self.tol * self.first) & self._is_costly()
        lower = np.where(gaining, (self.lowered > 0) & (noise > 0.5 * gain), True)
        self.last_gain[gaining] = self.epoch
        self.stalls = np.where(gaining, 0, self.stalls + ((self.lowered > 0) & quiet))
        enough = (self.stalls >= STALLS) & (self.epoch - self.last_gain >= self.patience)
        left = self._left(training & (near | enough | slow))
        done = left <= (LEFT if last else GAIN) * self.tol * self.size
        done &= self.epoch >= self.patience
        if not self._is_costly():
            far = left > LEFT * max(self.tol, LEAST_TOL) * self.size
            enough &= ~(far & (gain > WORTHWHILE * left))
        stops = training & (enough | slow | done)
        if stops.any():
            self._doubt(stops, slow & (3.0 * gain > LEFT * self.tol * size), left)
        lower = lower & training & ~stops
        self.lowered += lower
        self.next = max(self.epoch + self.between, math.ceil(self.epoch * GROWTH))
        self.forget_window()
        return lower, stops

    def _add(self, model: tuple[Any, Any]) -> None:
        if self.settings.average:  # what is published is a mean already
            return
        if self.sums is None:
            self.sums = np.array(model[0]), np.array(model[1])
        else:
            for sums, part in zip(self.sums, model, strict=True):
                sums += part
        self.count += 1

    def _look(self, model: tuple[Any, Any], training: Mask) -> tuple[Float, Float, Float, Float]:
        """Objective and size of the better model, the noise, and the objective of the other."""
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

    def _is_costly(self) -> bool:
        return self.epoch >= COSTLY_EPOCHS and self.epoch * self.values >= COSTLY_VALUES

    def _left(self, which: Mask) -> Float:
        """What the best weights are above the minimum, where it is known; NaN elsewhere.

        The minimum does not change: it is looked for when ``which`` first has a lane, and once
        more where it was not found exactly enough because the objective was far above it.
        """
        new = which & (self.size < SMALLER * self.asked)
        if new.any():
            self.asked[new] = self.size[new]
            model = self.coef, self.intercept
            found = self.objective.minimum(*model, new, self.tol * self.size)
            self.minimum = np.where(new, found, self.minimum)
        return self.best - self.minimum

    def _doubt(self, stops: Mask, slow: Mask, left: Float) -> None:
        """Note which of the lanes that stop may have more to gain than the tolerance."""
        told = np.isfinite(left)
        slow = np.where(told, left > LEFT * self.tol * self.size, slow)
        self.doubts["slow"] |= stops & slow
        if not self.settings.optimizer.linear:  # L2 acts at a rate of its own in each weight
            return
        alpha = self.lanes.alpha
        penalty = 0.5 * alpha * np.square(self.coef, dtype=np.float64).sum(axis=1)
        if self.settings.terms.coupled:
            penalty = np.full_like(penalty, penalty.sum())
        shrinks = penalty * np.exp(-2.0 * np.minimum(alpha * self.time, 300.0))
        self.doubts["penalty"] |= stops & ~slow & ~told & (shrinks > LEFT * self.tol * self.size)
