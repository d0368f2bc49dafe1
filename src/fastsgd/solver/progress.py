"""How far a fit has come: what it publishes, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import State
from .history import History
from .standing import Standing

__all__ = ["Fit", "Progress"]


@dataclass
class Progress:
    """How far a run has come, whatever the model.

    Attributes
    ----------
    history : History
        Grows by one entry an epoch.
    before_epoch, on_epoch : callable or None
        Called before every epoch, and with this object after it; True from ``on_epoch`` ends the
        run.
    on_rows : callable or None
        Called with this object between the calls of the core that an epoch of linear lanes takes.
    epochs : ndarray of shape (K,), int64
        Epochs that each of K models was trained.
    stopped : ndarray of shape (K,), bool
        Models that stopped by the tolerance.
    ended : bool
        ``on_epoch`` ended the run.
    standing : callable or None
        ``standing()`` says, within ``on_epoch`` or between two windows of a stream, where the run
        stands beside its state.
    resumed : dict or None
        What ``standing()`` said of another run, whose state and history the run has: it goes on
        from there as that one would have.

    Examples
    --------
    >>> from fastsgd import solver
    >>> len(solver.Progress().losses)
    0
    """

    history: History = field(default_factory=History)
    before_epoch: Callable[[], None] | None = None
    on_epoch: Callable[[Any], bool | None] | None = None
    on_rows: Callable[[Any], None] | None = None
    epochs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    stopped: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    ended: bool = False
    standing: Callable[[], Standing] | None = None
    resumed: Standing | None = None

    @property
    def losses(self) -> list[NDArray[np.float64]]:
        """Per epoch, of models (K,): mean loss of the rows, each before its step, plus penalty."""
        return self.history.columns["losses"]


@dataclass
class Fit(Progress):
    """The progress of a fit, and its result.

    Attributes
    ----------
    history : History
        Grows by one entry an epoch.
    diagnose : callable or None
        ``diagnose(epoch, coef, intercept)`` at an epoch's end: its squared gradient norm and trace
        of the noise go into the history.
    before_epoch, on_epoch : callable or None
        Called before every epoch, and with this object after it; True from ``on_epoch`` ends the
        fit.
    state : State
        The state that is trained; another object than the one given after a backoff.
    start : tuple of ndarray of shape (K, d) and (K,), optional
        The model of the state that is given, if it was read already.
    begin : callable or None
        ``begin()`` makes the state anew that was given. With it, weights of wide models are not
        read at every epoch's end, where nothing but an error asks for them.
    coef, intercept : ndarray of shape (K, d) and (K,)
        The model: averages if there are any; at the end, with validation, with momentum under a
        tolerance and of an annealed run, the best. With ``begin`` the former may be None: it is
        that of the state then.
    epochs : ndarray of shape (K,), int64
        Epochs each lane was trained.
    clipped : bool
        eta * alpha reached 1 and set weights to zero.
    stopped : ndarray of shape (K,), bool
        Lanes that stopped by the tolerance.
    ended : bool
        ``on_epoch`` ended the fit.
    backoffs : int
        How often the rate was halved after a divergence.
    at_fault : ndarray of shape (K,), bool
        Lanes that diverged, when a divergence ended the fit.
    on_rows, standing, resumed
        What is called within an epoch, where the fit stands, and where it goes on from: see
        :class:`Progress`.
    doubts : dict of str to ndarray of shape (K,), bool
        Lanes that stopped with more left to gain than the tolerance; see ``Annealing.doubts``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    >>> state, progress = solver.State(data, lanes, settings), solver.Fit()
    >>> stopping = solver.Stopping(max_epochs=3, tol=None)
    >>> progress = solver.fit(data, lanes, settings, state, stopping, progress)
    >>> len(progress.losses), progress.stopped
    (3, array([False]))
    """

    diagnose: Callable[[int, Any, Any], Any] | None = None
    state: State | None = None
    start: tuple[Any, Any] | None = None
    begin: Callable[[], State] | None = None
    coef: Any = None
    intercept: Any = None
    clipped: bool = False
    backoffs: int = 0
    at_fault: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    doubts: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
