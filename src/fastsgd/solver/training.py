"""One fit under way: epochs, their measures, when lanes stop, what to do about a divergence."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import Epochs, State
from ..exceptions import DivergenceError
from ..problem import Data, Lanes, Settings
from ..statistics.curvature import safe_rate
from ..statistics.objective import Objective
from ..statistics.sample import loss_at, overflows
from ..statistics.weights import mean_weight
from .annealing import Annealing
from .compaction import run_of
from .epochs import Clock, EpochEnd, not_finite
from .history import NO_NOISE, mean
from .progress import Fit
from .standing import Standing, restore, same, standing_of
from .stopping import ADAPTIVE_FLOOR, FEW_UPDATES, PLATEAU_REDUCTIONS, Stopping, Watch

__all__ = ["BLOWN_UP", "Training", "ceiling_of", "read_last_epoch"]

BLOWN_UP = 1e6
"""Growth of a loss over that of its first epoch at which a lane has diverged."""

FIRST_CEILING = BLOWN_UP**2
"""The same of a first epoch, times the loss of weights of zero; below it that is not asked."""

FIRST_WATCHED = 1 << 10
"""Work of the first call of the core where somebody is told of the rows; it doubles from there."""

BACKOFFS = 60
"""Halvings of the rate after which a run that still diverges is given up."""


def ceiling_of(loss: NDArray[np.float64]) -> float:
    """Sum of losses below which no lane has run away from a first epoch of these losses (K,)."""
    if len(loss) == 1:  # without NumPy's overhead
        return BLOWN_UP * abs(float(loss[0])) or math.inf
    return BLOWN_UP * float(np.abs(loss).min(where=loss != 0.0, initial=np.inf))


def read_last_epoch(problem: tuple[Data, Lanes, Settings], progress: Fit) -> None:
    """Make the model of a fit that of the last epoch that ended, if its weights were not read: by
    training up to there once more, which gives the same bits."""
    if progress.coef is not None:
        return
    assert progress.begin is not None
    state, clock = progress.begin(), Clock()
    run = run_of(*problem, state)
    for _ in range(int(progress.epochs.max())):
        while not clock.advance(run):
            pass
        if state.has_pending_steps:  # as at the end of every epoch
            run.flush()
    progress.coef, progress.intercept = state.weights(problem[2])


class Training:
    """One call of :func:`fit`: the verbs of its loop, and what they share."""

    def __init__(
        self, problem: tuple[Data, Lanes, Settings], state: State, stopping: Stopping, progress: Fit
    ) -> None:
        self.data, self.lanes, self.settings = problem
        self.stopping, self.progress, self.clock = stopping, progress, Clock()
        if progress.on_rows is not None:
            self.clock.budget = FIRST_WATCHED
        k = self.lanes.k
        progress.epochs, progress.stopped = np.zeros(k, dtype=np.int64), np.zeros(k, dtype=bool)
        self._bind(state)
        start = progress.start
        self.looks = stopping.backoff or any(  # at every epoch's end
            (progress.on_epoch, progress.on_rows, progress.diagnose, stopping.validate)
        )
        self.defers = progress.begin is not None and self._may_defer()
        if self.defers:
            progress.coef = None
        else:
            model = state.weights(self.settings) if start is None else start
            progress.coef, progress.intercept = model
        progress.start = None
        self.good = state.copy() if stopping.backoff else None
        unit: Any = stopping.unit
        if unit is None:
            unit = 1.0 if stopping.tol is None else mean_weight(*problem)
        self.watch = Watch(k, stopping, unit)
        tol = None if stopping.validate is not None else stopping.tol  # of the training loss
        updates = self.data.batches(self.settings.batch_size)
        self.annealing: Annealing | None = None
        if tol is not None and stopping.plateau_factor != 1.0 and updates <= FEW_UPDATES:
            model = progress.coef, progress.intercept
            self.annealing = Annealing(problem, model, tol, stopping.patience)
            progress.doubts = self.annealing.doubts
        # Momentum overshoots, and a run may stop on an upswing of its loss.
        self.swings = tol is not None and self.annealing is None and self.settings.momentum > 0.0
        self.swings &= self.settings.average == 0
        self.before = (
            progress.coef,
            progress.intercept,
        )  # the weights that the last epoch began with
        self.best: tuple[Any, Any] | None = None
        self.is_best = np.ones(k, dtype=bool)
        self.first_loss: NDArray[np.float64] | None = None
        self.ceiling = math.inf  # no lane has run away while their losses sum to less
        self.ran_away = np.zeros(k, dtype=bool)  # at the end of this epoch
        if len(progress.history):
            self._measure_by(progress.losses[0])
        elif stopping.backoff:  # the first epoch too is measured by something
            self.first_loss = np.abs(loss_at(*problem, progress.coef, progress.intercept))
        self.end: EpochEnd  # of the epoch
        self.score: Any = math.nan
        self.publishes_last_weights, self.coupled = (
            self.settings.average == 0,
            self.settings.terms.coupled,
        )
        self.some_stopped = self.has_lowered = False
        self.lowered = np.ones(k)  # what a lane's rate was multiplied by
        self.epochs_per_reduction = max(1, stopping.patience // PLATEAU_REDUCTIONS)
        self.plain = self._plain()
        self.undecided: float | None = None  # seconds of an epoch that is trained and no more
        self.began = self.spent = 0.0  # when the epoch began; seconds of it before a resume

    def standing(self) -> Standing:
        """Where the fit stands: within an epoch, or at its end, before it decides what follows."""
        return standing_of(self)

    def restore(self, found: Standing) -> int:
        """Stand where another fit stood; the epochs it had done."""
        restore(self, found)
        return int(self.progress.epochs.max())

    def take_end(self) -> None:
        """The end of the epoch that the state is at, as it was when it was recorded."""
        self.end = EpochEnd(self.run, self.state, self.settings)
        self.end.loss = same("losses", self.progress.losses[-1], self.end.loss).copy()
        self.progress.coef, self.progress.intercept = self.end.model

    @property
    def backoffs(self) -> int:
        """How often the fit went back after a divergence."""
        return self.progress.backoffs

    def _plain(self) -> Epochs | None:
        """What trains several epochs in a call, where there is little to do between them."""
        progress, stopping = self.progress, self.stopping
        by_loss = stopping.tol is not None and self.annealing is None
        if (
            self.lanes.k > 1
            or self.looks
            or self.defers  # whose epochs are long
            or self.data.stream is not None
            or progress.before_epoch
            or (by_loss and (self.swings or stopping.plateau_factor != 1.0))
        ):
            return None
        columns = progress.history.columns.values()
        return Epochs(self.run, columns, progress.epochs, self.watch if by_loss else None)

    def _bind(self, state: State) -> None:
        self.state = self.progress.state = state
        self.run = self.run_of(state)

    def run_of(self, state: State) -> Any:
        """What trains a state on the rows of the fit; a ValueError if it is of something else."""
        return run_of(self.data, self.lanes, self.settings, state)

    def _may_defer(self) -> bool:
        """Whether weights may wait in the state until the end, where it can be made anew: nothing
        looks at them before, but an error, for which the epochs so far are trained once more."""
        stopping, settings = self.stopping, self.settings
        lowers = stopping.adaptive or (stopping.plateau_factor != 1.0 and stopping.tol is not None)
        by_user = settings.schedule.kind == "callable" or not isinstance(settings.loss, str)
        # Lanes that stop, each at its own epoch, and a best epoch of momentum to go back to.
        returns = stopping.tol is not None and (self.lanes.k > 1 or settings.momentum > 0.0)
        looks = self.looks or lowers or by_user or returns
        return not looks and bool(self.run.is_sparse)

    def plain_epochs(self, most: int) -> int:
        """Train epochs after which there is nothing to decide, at most so many, in one call of the
        core; how many there were."""
        if self.annealing is not None:  # whose last epoch ends at a checkpoint
            most = min(most - 1, self.annealing.plain)
        if self.plain is None or most < 1:
            return 0
        progress, annealing, done = self.progress, self.annealing, 0
        sums = None if annealing is None else annealing.sums
        while done < most and self.undecided is None:
            first = self.first_loss is None  # by which others are measured
            count, ceiling = (1, FIRST_CEILING) if first else (most - done, self.ceiling)
            found = self.plain.advance(count, self.clock, ceiling, sums)
            count, model, self.undecided, error = found
            done += count
            progress.clipped |= self.plain.clipped
            if model is not None:
                progress.coef, progress.intercept = model
            if annealing is not None:
                annealing.skip(count)
            if error is not None:
                raise error
            if first and count:
                self._measure_by(progress.losses[-1])
        return done

    def epoch(self) -> float:
        """Train to the end of the epoch; the seconds that took."""
        if self.undecided is not None:
            seconds, self.undecided = self.undecided, None
            return seconds
        self.began, self.spent, done = time.perf_counter() - self.spent, 0.0, False
        on_rows = self.progress.on_rows
        while not done:
            done = self.clock.advance(self.run)
            if self.run.clipped:
                self.progress.clipped = True
            if on_rows is not None:
                on_rows(self.progress)
        return time.perf_counter() - self.began

    def measure(self) -> None:
        """The model and its losses at the end of the epoch."""
        end = EpochEnd(self.run, self.state, self.settings, unread=self.defers)
        if self.some_stopped:
            end.loss = np.where(self.progress.stopped, self.progress.losses[-1], end.loss)
        self.end = end

    def check(self) -> None:
        """Whether loss and weights are finite, and have not blown up.

        At the end of every epoch: where a run is cut into calls makes no difference.
        """
        end, losses = self.end, self.end.loss
        loss = mean(losses)
        if not end.is_finite():
            raise self._diverged()
        if self.first_loss is None and loss > FIRST_CEILING:
            self._check_first_epoch()
        if loss * len(losses) > self.ceiling:
            self.ran_away = self._blown_up(losses)
            if self.ran_away.any():
                raise self._diverged(overflow=False)
        if not self.stopping.backoff:
            return
        # Weights to go back to must not be such that no rate could mend them.
        at_end = loss_at(self.data, self.lanes, self.settings, *end.last)
        if (self._blown_up(losses) | self._blown_up(at_end, of=10.0)).any():
            raise self._diverged(overflow=False)
        self.good = self.state.copy()

    def _check_first_epoch(self) -> None:
        """Refuse weights that are worse than none by so much that they say nothing: a first epoch
        may rise high and come down later, as under "optimal", but not as high as that."""
        problem, k = (self.data, self.lanes, self.settings), self.lanes.k
        at_zero = np.abs(loss_at(*problem, np.zeros((k, self.data.d)), np.zeros(k)))
        with np.errstate(over="ignore"):
            limit = FIRST_CEILING * at_zero
        at_end = loss_at(*problem, *self.state.last_weights())
        self.ran_away = (at_zero > 0.0) & ~(at_end <= limit)
        if self.ran_away.any():
            raise self._diverged(overflow=False)

    def record(self, seconds: float) -> None:
        """Publish the epoch's model and add the epoch to the history."""
        progress, state, end = self.progress, self.state, self.end
        self.before = progress.coef, progress.intercept
        progress.coef, progress.intercept = end.model
        if not len(progress.history):
            self._measure_by(end.loss)
        if self.stopping.validate is not None:
            self.score = self.stopping.validate(*end.model)
        progress.epochs += ~progress.stopped if self.some_stopped else 1
        noise = NO_NOISE
        if progress.diagnose is not None:
            found = progress.diagnose(state.epoch, *end.model)
            noise = (math.sqrt(max(0.0, found.squared_norm)), found.trace, found.noise_scale)
        rows = self.data.epoch_rows if self.data.stream is None else self.data.stream.rows
        progress.history.add(*end.entry(self.run, state, rows, seconds, self.score, noise))

    def decide(self, *, last: bool = False) -> bool:
        """Stop the lanes that no longer gain; whether all have stopped. ``last``: whether the epoch
        is the last one in any case."""
        stopping, progress = self.stopping, self.progress
        if stopping.tol is None and stopping.validate is None:
            return False
        if self.annealing is not None:
            return self._anneal(self.annealing, last)
        value = self.end.loss
        if stopping.validate is not None:
            shape, epoch = self.end.loss.shape, self.state.epoch
            value = self.watch.losses_of_scores(self.score, shape, epoch)
        stops, better = self.watch.see(value, getattr(stopping.validate, "tie", None))
        if stopping.validate is not None:
            self._keep_best(better & ~progress.stopped, self.end.model)
        elif self.swings:  # the loss of an epoch is nearest to that of the weights it began with
            self._keep_best(better & ~progress.stopped, self.before)
        if stopping.plateau_factor != 1.0 and stopping.validate is None:
            self._reduce_on_plateau(~progress.stopped & ~stops)
        if not np.count_nonzero(stops):  # any() takes three times as long
            return False
        stops &= ~progress.stopped
        if stopping.adaptive:
            rate = self.lanes.eta0 * self.state.rate_factor
            slower = stops & (rate > ADAPTIVE_FLOOR)
            self.state.rate_factor[slower] /= 5.0
            self.watch.without_gain[slower] = 0
            stops &= ~slower
        return self._stop(stops)

    def _stop(self, stops: NDArray[np.bool_]) -> bool:
        """Freeze lanes; whether all have stopped."""
        progress = self.progress
        progress.stopped |= stops
        if progress.stopped.all():
            return True
        if stops.any():
            self.some_stopped = True
            self.run.flush()  # a frozen lane keeps its bits, however the others go on
            self.state.active[progress.stopped] = 0.0
        return False

    def _anneal(self, annealing: Annealing, last: bool) -> bool:
        """Lower the rates of lanes that no longer gain, or stop them; whether all have stopped."""
        model = self.end.model
        if not annealing.is_due(model) and not last:
            return False
        rate = self.lanes.eta0 * self.state.rate_factor
        if self.settings.schedule.kind != "constant":  # of one lane, as a part of its eta0
            rate = rate * (self.run.rate / rate[0])
        halve, stops = annealing.checkpoint(model, rate, ~self.progress.stopped, last=last)
        if halve.any():
            self._lower(halve, 2.0)
        return self._stop(stops) if stops.any() else False

    def _lower(self, which: NDArray[np.bool_], divisor: float) -> None:
        """Divide the rates of some lanes, by a power of two, which is exact."""
        self.has_lowered = True
        self.lowered[which] /= divisor
        self.state.rate_factor[which] /= divisor

    def _reduce_on_plateau(self, training: NDArray[np.bool_]) -> None:
        """Lower the rates of lanes that have waited long enough for a gain."""
        waited = self.watch.without_gain
        due = training & (waited > 0) & (waited % self.epochs_per_reduction == 0)
        self._lower(due, self.stopping.plateau_factor)

    def restore_rates(self) -> None:
        """Rates that were lowered are what they were: another call may have something to learn."""
        if self.has_lowered:
            self.state.rate_factor[:] /= self.lowered
            self.lowered[:] = 1.0

    def _keep_best(self, better: NDArray[np.bool_], model: tuple[Any, Any]) -> None:
        if not better.any():
            pass
        elif self.best is None or better.all():
            self.best = model
        else:
            self.best = (
                np.where(better[:, None], model[0], self.best[0]),
                np.where(better, model[1], self.best[1]),
            )
        self.is_best = np.where(self.progress.stopped, self.is_best, better)

    def restore_best(self) -> None:
        """Make the best weights those of the model and of the state: with validation, of an
        annealed run, and where momentum made the objective worse by more than the tolerance."""
        if self.progress.ended and self.stopping.validate is None:  # the user stopped it here
            return
        if self.swings:
            self._undo_upswing()
            return
        model = self.best
        if self.annealing is not None and self.publishes_last_weights:
            model = self.annealing.coef, self.annealing.intercept
            if all(map(np.array_equal, model, (self.progress.coef, self.progress.intercept))):
                return
        elif self.is_best.all():
            return
        if model is None:
            return
        self.progress.coef, self.progress.intercept = model
        self.state.set_weights(*model)

    def _undo_upswing(self) -> None:
        """Put lanes whose last weights are clearly worse back to those of their best epoch."""
        best, progress, state = self.best, self.progress, self.state
        if best is None or not progress.stopped.any():
            return
        objective = Objective(self.data, self.lanes, self.settings)
        at_best, size = objective(*best)
        at_last, _ = objective(progress.coef, progress.intercept)
        worse = progress.stopped & (at_last > at_best + self.stopping.tol * np.minimum(1.0, size))
        if not worse.any():
            return
        progress.coef = np.where(worse[:, None], best[0], progress.coef)
        progress.intercept = np.where(worse, best[1], progress.intercept)
        if state.pending == 0 and self.lanes.k > 1 and not self.data.sparse:
            fresh = state.copy()  # the other lanes keep their momentum
            fresh.set_weights(progress.coef, progress.intercept)
            state.put(fresh, np.flatnonzero(worse), np.flatnonzero(worse))
        else:
            state.set_weights(progress.coef, progress.intercept)

    # Divergence.

    def _measure_by(self, loss: NDArray[np.float64]) -> None:
        """Losses of the run's first epoch: later ones are measured by them."""
        self.first_loss = np.abs(loss)
        self.ceiling = ceiling_of(loss)

    def _blown_up(self, loss: NDArray[np.float64], of: float = 1.0) -> NDArray[np.bool_]:
        """Lanes whose loss, ``of`` times, is above ``BLOWN_UP`` times that of the first epoch.

        And above as much of that of weights of zero on these data: the first loss may be almost 0
        by chance, or of other rows.
        """
        if self.first_loss is None:
            return np.zeros(self.lanes.k, dtype=bool)
        with np.errstate(over="ignore"):
            blown = (of * loss > BLOWN_UP * self.first_loss) & (self.first_loss > 0.0)
            if blown.any():
                k, d = self.lanes.k, self.data.d
                zero = np.zeros((k, d)), np.zeros(k)
                at_zero = np.abs(loss_at(self.data, self.lanes, self.settings, *zero))
                blown &= of * loss > BLOWN_UP * at_zero
        return blown

    def _diverged(self, *, overflow: bool = True) -> DivergenceError:
        step, epoch = int(self.state.t.max()), self.state.epoch
        largest = self.data.largest()
        return DivergenceError(step, self.run.rate, largest, epoch=epoch, overflow=overflow)

    def _with_weights(self, error: DivergenceError) -> DivergenceError:
        """The error with a safe rate and the last finite weights.

        Raises
        ------
        ValueError
            If |x|^2 or the losses at weights of zero overflow: features or targets are at fault,
            not a rate.
        """
        k, d = self.lanes.k, self.data.d
        problem, dtype = (self.data, self.lanes, self.settings), self.data.dtype
        if error.overflow and math.sqrt(np.finfo(dtype).max) < error.feature_scale < math.inf:
            raise ValueError(
                f"X has values whose squares are beyond the range of {dtype}, which X is computed "
                f"in: the largest size is {error.feature_scale:.3g}. Scaling input data with "
                "StandardScaler or MinMaxScaler might help."
            )
        zero = np.zeros((k, d)), np.zeros(k)
        if error.overflow and not self.settings.sign_targets and overflows(*problem, *zero):
            raise ValueError(
                f"y has values whose losses at weights of zero are beyond the range of {dtype}, "
                "which X is computed in: the largest size in y is "
                f"{np.abs(self.data.y).max():.3g}. Scale y, or sample_weight."
            )
        read_last_epoch(problem, self.progress)
        safe = safe_rate(self.data, self.lanes, self.settings)
        numbers = error.step, error.learning_rate, error.feature_scale
        how = error.epoch, error.overflow
        return DivergenceError(*numbers, safe, self.progress.coef, self.progress.intercept, *how)

    def recover(self, error: DivergenceError) -> None:
        """Go back to the last good state at half the rate, or raise."""
        hopeless = self.progress.backoffs >= BACKOFFS or not math.isfinite(self.data.largest())
        if self.good is None or hopeless:
            self.progress.at_fault = self._at_fault()
            raise self._with_weights(error) from None
        self.progress.backoffs += 1
        self.good.rate_factor[self._at_fault()] *= 0.5
        self._bind(self.good.copy())
        if self.annealing is not None:
            self.annealing.reset_mean()

    def _at_fault(self) -> NDArray[np.bool_]:
        """Lanes that diverged: not finite, or blown up; all that train, if none can be told."""
        coef, intercept = self.state.last_weights()
        fault = not_finite(self.data, self.state, self.run.bad_row) | self.ran_away
        fault |= self._blown_up(
            loss_at(self.data, self.lanes, self.settings, coef, intercept), of=10.0
        )
        fault &= ~self.progress.stopped
        if self.coupled or not fault.any():
            return ~self.progress.stopped
        return fault
