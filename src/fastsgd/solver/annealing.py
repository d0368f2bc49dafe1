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

Of tables with few features the distance to the minimum is estimated by a Newton step too (a
smooth loss is quadratic near its minimum): a lane stops as soon as that is small, and its stopping
is in doubt where it is large. What a stop cannot see is said: see :attr:`Annealing.doubts`.
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
"""Times ``GAIN``: where more was gained since the last checkpoint no Newton step is tried."""

LEAST_TOL, LEAST_GAIN = 1e-4, 1e-7
"""Noise and gains are measured by this ``tol`` at least: neither is ever 0 for good."""

GROWTH = 1.4
"""Epochs at a checkpoint, as a multiple of those at the one before."""

LONGEST, UPDATES = 5, 1000
"""Epochs between the first checkpoints: of so many updates, but so many epochs at most."""

STALLS = 2

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
    best : ndarray of shape (K,)
        The least objective so far.
    coef, intercept : ndarray of shape (K, d) and (K,)
        The weights it belongs to.
    doubts : dict of str to ndarray of shape (K,), bool
        Lanes that stopped although more than 1 % (at the default ``tol``) of their objective may be
        left to gain. "slow": the loss still fell, but by too little for the time it took, or a
        Newton step promises more. "penalty": the L2 term, which acts at a rate of alpha, has not
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
        self.updates = math.ceil(data.n / min(self.settings.batch_size, data.n))
        self.between = max(1, min(LONGEST, math.ceil(UPDATES / self.updates)))
        self.values = data.X.nnz if data.sparse else data.n * data.d  # of an epoch
        self.epoch, self.next, self.looked = 0, max(self.between, min(patience, LONGEST)), 0
        self.coef, self.intercept = (np.array(part) for part in start)
        self.best, self.first = self.objective(*start)
        self.lowered, self.stalls, self.last_gain = np.zeros((3, k), dtype=np.int64)
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
    def look(self, model: tuple[Any, Any], rate: Float, training: Mask) -> tuple[Mask, Mask]:
        """Decide at a checkpoint.

        Parameters
        ----------
        model : tuple of ndarray, (K, d) and (K,)
            The last weights.
        rate : ndarray of shape (K,)
            The learning rates since the last checkpoint.
        training : ndarray of shape (K,), bool
            Lanes that have not stopped.

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
        smooth = self.objective.is_smooth
        left = self._left(training & (near if smooth else enough | slow))
        if smooth and self.epoch >= self.patience:
            enough |= left <= GAIN * self.tol * size
        stops = training & (enough | slow)
        if stops.any():
            self._doubt(stops, slow & (3.0 * gain > LEFT * self.tol * size), size, left)
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
            chosen = np.where(of_mean, mean[0], model[0])
            self.coef = np.where(better[:, None], chosen, self.coef)
            chosen = np.where(of_mean[:, 0], mean[1], model[1])
            self.intercept = np.where(better, chosen, self.intercept)
        return value, size, np.abs(at_last - at_mean), worse

    def _is_costly(self) -> bool:
        return self.epoch >= COSTLY_EPOCHS and self.epoch * self.values >= COSTLY_VALUES

    def _left(self, which: Mask) -> Float:
        """What a Newton step from the best weights promises, where it can be told."""
        if not which.any() or self.settings.average:
            return np.full(len(which), np.nan)
        return self.objective.newton_decrement(self.coef, self.intercept, which)

    def _doubt(self, stops: Mask, slow: Mask, size: Float, left: Float) -> None:
        """Note which of the lanes that stop may have more to gain than the tolerance."""
        told = np.isfinite(left)
        slow = np.where(told, left > LEFT * self.tol * size, slow)
        self.doubts["slow"] |= stops & slow
        alpha = self.lanes.alpha
        penalty = 0.5 * alpha * np.square(self.coef, dtype=np.float64).sum(axis=1)
        if self.settings.terms.coupled:
            penalty = np.full_like(penalty, penalty.sum())
        shrinks = penalty * np.exp(-2.0 * np.minimum(alpha * self.time, 300.0))
        self.doubts["penalty"] |= stops & ~slow & ~told & (shrinks > LEFT * self.tol * size)
