"""A fit of a network: epochs of its vector of parameters, until it no longer gains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._core import NetworkRun, VectorState
from ..descent import VectorDescent
from ..exceptions import DivergenceError
from ..network import Network
from ..problem import Data
from ..statistics.gradients import NoiseEstimate
from .epoch_loop import train
from .epochs import Clock, structure_of
from .history import NO_NOISE, entry
from .progress import Progress
from .standing import Standing, network_standing_of, restore_network
from .stopping import ADAPTIVE_FLOOR, Stopping, Watch

__all__ = ["NetworkFit", "fit_network"]

Array = NDArray[np.floating]


@dataclass
class NetworkFit(Progress):
    """The progress of a fit of a network, and its result.

    Attributes
    ----------
    history : History
        Grows by one entry an epoch.
    before_epoch, on_epoch : callable or None
        Called before every epoch, and with this object after it; True from ``on_epoch`` ends the
        fit.
    epochs : ndarray of shape (1,), int64
        Epochs trained.
    stopped : ndarray of shape (1,), bool
        Whether it stopped by the tolerance.
    ended : bool
        ``on_epoch`` ended the fit.
    standing, resumed
        Where the fit stands, and where it goes on from: see :class:`fastsgd.solver.Progress`.
    diagnose : callable or None
        ``diagnose(epoch, model)`` at an epoch's end: its squared gradient norm and trace of the
        noise go into the history.
    factor : callable or None
        ``factor(done)``: what multiplies the learning rates of the epoch after ``done`` of this
        call.
    network : Network
        What is trained.
    state : VectorState
        The state that is trained.
    model : ndarray of shape (length,)
        Parameters: averages if there are any; at the end, with validation, the best.
    restored : bool
        Whether the best are not the last: the state then goes on from them.

    Examples
    --------
    >>> from fastsgd import solver
    >>> solver.NetworkFit().restored
    False
    """

    diagnose: Callable[[int, Array], NoiseEstimate] | None = None
    factor: Callable[[int], float] | None = None
    network: Network | None = None
    state: VectorState | None = None
    model: Array | None = None
    restored: bool = False


def fit_network(
    data: Data,
    network: Network,
    descent: VectorDescent,
    state: VectorState,
    stopping: Stopping,
    progress: NetworkFit | None = None,
) -> NetworkFit:
    """Train until the network has stopped or ``max_epochs`` are done.

    Parameters
    ----------
    data : Data
        Rows and targets.
    network : Network
        The model.
    descent : VectorDescent
        How steps are made.
    state : VectorState
        The training state; it is changed in place.
    stopping : Stopping
        When to stop; ``validate(theta)`` is a score of parameters of shape (length,).
    progress : NetworkFit, optional
        An object to be filled, which the caller has when an exception ends the fit. Its history
        goes on.

    Returns
    -------
    NetworkFit
        The progress, with the model.

    Raises
    ------
    DivergenceError
        If a loss or a parameter is not finite.
    ValueError
        If the index arrays of CSR X were changed meanwhile, by user code or by another thread.
    KeyboardInterrupt
        Soon after Ctrl-C; ``progress.state`` holds the model as it stands.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd._core import VectorState
    >>> from fastsgd.descent import VectorDescent
    >>> from fastsgd.network import Network
    >>> from fastsgd.problem import Data
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    >>> network, descent = Network((1, 1)), VectorDescent(eta0=0.1)
    >>> state = VectorState(network.length(network.unit(data.dtype)), data.dtype, descent)
    >>> stopping = solver.Stopping(max_epochs=3, tol=None)
    >>> solver.fit_network(data, network, descent, state, stopping).epochs
    array([3])
    """
    progress = NetworkFit() if progress is None else progress
    structure = structure_of(data.X)
    training = NetworkTraining((data, network, descent), state, stopping, progress)
    train(training, data.X, structure, stopping, progress)
    return progress


class NetworkTraining:
    """One call of :func:`fit_network`: the verbs of its loop, and what they share."""

    backoffs = 0

    def __init__(
        self,
        problem: tuple[Data, Network, VectorDescent],
        state: VectorState,
        stopping: Stopping,
        progress: NetworkFit,
    ) -> None:
        self.data, self.network, self.descent = problem
        self.state, self.stopping, self.progress = state, stopping, progress
        self.unit = self.network.unit(self.data.dtype)
        self.run, self.clock, self.watch = NetworkRun(*problem, state), Clock(), Watch(1, stopping)
        progress.network, progress.state = self.network, state
        progress.model = state.model(self.descent)
        progress.epochs, progress.stopped = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=bool)
        self.best: Array | None = None
        self.is_best = True
        self.score = math.nan
        self.model, self.losses = progress.model, np.full(1, math.nan)

    def standing(self) -> Standing:
        """Where the fit stands at the end of an epoch, before it decides what follows."""
        return network_standing_of(self)

    def restore(self, found: Standing) -> int:
        """Stand where another fit stood; the epochs it had done."""
        restore_network(self, found)
        return int(self.progress.epochs[0])

    def plain_epochs(self, most: int) -> int:
        """None: an epoch of a network is longer than what is to be done after it."""
        return 0

    def epoch(self) -> float:
        """Train to the end of the epoch; the seconds that took."""
        progress = self.progress
        if progress.factor is not None:
            self.state.rate_factor = progress.factor(int(progress.epochs[0]))
        start, done = time.perf_counter(), False
        while not done:
            done = self.clock.advance(self.run)
        return time.perf_counter() - start

    def measure(self) -> None:
        """The model and its loss at the end of the epoch."""
        state = self.state
        self.losses = np.full(1, state.objective_sum / max(1.0, state.row_count))
        self.model = state.model(self.descent)

    def check(self) -> None:
        """Whether loss and parameters are finite."""
        if not (np.isfinite(self.losses).all() and np.isfinite(self.model).all()):
            largest, epoch = self.data.largest(), self.state.epoch
            raise DivergenceError(self.state.t, self.run.rate, largest, epoch=epoch)

    def record(self, seconds: float) -> None:
        """Publish the epoch's model and add the epoch to the history."""
        progress, state = self.progress, self.state
        progress.model = self.model
        if self.stopping.validate is not None:
            self.score = float(self.stopping.validate(self.model))
        progress.epochs += 1
        norm = length([w for w, _ in self.network.views(self.model, self.unit)])
        measures, work = (self.run.rate, state.gradient_norm, norm), (self.data.n, seconds)
        noise = NO_NOISE
        if progress.diagnose is not None:
            found = progress.diagnose(state.epoch, self.model)
            noise = math.sqrt(max(0.0, found.squared_norm)), found.trace, found.noise_scale
        progress.history.add(*entry(state.epoch, self.losses, self.score, measures, noise, work))

    def decide(self, *, last: bool = False) -> bool:
        """Whether the loss, or the validation score, no longer gains."""
        stopping, state, losses = self.stopping, self.state, self.losses
        if stopping.tol is None and stopping.validate is None:
            return False
        if stopping.validate is not None:
            losses = self.watch.losses_of_scores(self.score, losses.shape, state.epoch)
        stops, better = self.watch.see(losses)
        self.is_best = bool(better[0])
        if self.is_best:
            self.best = self.model
        if not stops[0]:
            return False
        if stopping.adaptive and self.descent.eta0 * state.rate_factor > ADAPTIVE_FLOOR:
            state.rate_factor /= 5.0
            self.watch.without_gain[:] = 0
            return False
        self.progress.stopped[:] = True
        return True

    def recover(self, error: DivergenceError) -> None:
        """Raise the error, with what helps a network."""
        raise error.of_network() from None

    def restore_best(self) -> None:
        """With validation, make the best parameters those of the model and of the state."""
        progress = self.progress
        if self.stopping.validate is None or self.is_best or self.best is None:
            return
        progress.model, progress.restored = self.best, True
        self.state.set(self.best)

    def restore_rates(self) -> None:
        """None was lowered for this call alone."""


def length(parts: Sequence[Array]) -> float:
    """The length of a vector in parts, also where its square is out of range."""
    largest = max(float(np.abs(part).max(initial=0.0)) for part in parts)
    if largest == 0.0:
        return 0.0
    scaled = (np.divide(part, largest, dtype=np.float64) for part in parts)
    return largest * math.sqrt(sum(float(np.square(part).sum()) for part in scaled))
