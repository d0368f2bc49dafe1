"""An epoch, or a part of one, in bounded calls of the core: between them Ctrl-C is seen."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import CHANGED, NetworkRun, Run, State, check_structure
from ..problem import Data, Lanes, Settings
from .history import NO_NOISE, entry, mean

__all__ = [
    "Clock",
    "EpochEnd",
    "check_unchanged",
    "gradient",
    "not_finite",
    "run_epoch",
    "structure_of",
]

CALL_SECONDS = 0.01
"""Aim of one call into the core: long enough to hide the crossing, short enough for Ctrl-C."""

_FIRST_BUDGET = 1 << 18


class Clock:
    """Chooses the budget of the next call by the time of the last one; no bit depends on it."""

    def __init__(self) -> None:
        self.budget = _FIRST_BUDGET

    def advance(self, run: Run | NetworkRun, stop: int | None = None) -> bool:
        if run.draws_order:
            return run.advance(self.budget)
        start = time.perf_counter()
        done = run.advance(self.budget, stop)
        seconds = time.perf_counter() - start
        if seconds > 2 * CALL_SECONDS:
            self.budget = max(1 << 12, self.budget // 2)
        elif seconds < CALL_SECONDS / 2 and not done:
            self.budget = min(1 << 30, self.budget * 2)
        return done


class EpochEnd:
    """The model at the end of an epoch, and what the history says of it.

    Attributes
    ----------
    last, model : tuple of ndarray of shape (K, d) and (K,)
        The last weights, and what is published: averages if there are any. With ``unread`` weights
        stay in the state: None, and the model's intercepts.
    loss : ndarray of shape (K,)
        Mean loss of the rows, each before its step, plus the penalty.
    norm : float
        |w| of the last weights, mean over lanes.
    """

    def __init__(self, run: Any, state: State, settings: Settings, *, unread: bool = False) -> None:
        coef: Any = None
        self._finite = True  # what loss and norm do not say
        if state.has_pending_steps:
            run.flush()  # once, instead of at every reading
        if unread:
            intercept, self.loss, self.norm, self._finite = run.measure_unread()
        else:
            coef, intercept, self.loss, self.norm = run.measure()
        self.last = self.model = coef, intercept
        if settings.average > 0 and not unread:
            self.model = state.weights(settings)
            self._finite = bool(np.isfinite(self.model[0]).all())

    def is_finite(self) -> bool:
        """Whether losses and weights are."""
        total = mean(self.loss) + self.norm + mean(self.model[1])
        return self._finite and math.isfinite(total)

    def entry(
        self,
        run: Any,
        state: State,
        rows: int,
        seconds: float,
        score: Any = math.nan,
        noise: tuple[float, float, float] = NO_NOISE,
    ) -> tuple[Any, ...]:
        """Its values in the history."""
        measures = run.rate, state.gradient_norm, self.norm
        return entry(state.epoch, self.loss, score, measures, noise, (rows, seconds))


def not_finite(data: Data, state: State, row: int | None) -> NDArray[np.bool_]:
    """Lanes whose weights or losses are not finite, or whose score is not of a row that is bad."""
    coef, intercept = state.last_weights()
    fault = ~np.isfinite(state.loss_sum) | ~np.isfinite(intercept)
    fault |= ~np.isfinite(coef).all(axis=1)
    if row is not None and 0 <= row < data.n:
        with np.errstate(all="ignore"):
            scores = np.asarray(data.rows([row]) @ coef.T)[0] + intercept
        fault |= ~np.isfinite(scores)
    return fault


def run_epoch(
    data: Data, lanes: Lanes, settings: Settings, state: State, batches: int | None = None
) -> None:
    """Train to the end of the running epoch, or of the window that ``data`` is.

    Of a window the last rows may be left: fewer than a block of 4 single rows, a chunk of a batch,
    or on CSR a batch. The next window has to hold them: see ``next_row`` and :func:`run_windows`.
    Single rows are taken in blocks of 4 (csrc/kernel/one_lane/blocks.h): a stop at another row
    rounds differently.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is changed in place.
    batches : int, optional
        Largest number of batches; all that are left if not given.

    Raises
    ------
    DivergenceError
        If a score is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(fit_intercept=False)
    >>> state = solver.State(data, lanes, settings)
    >>> solver.run_epoch(data, lanes, settings, state)
    >>> state.epoch, state.t
    (1, array([2]))
    """
    run, clock = Run(data, lanes, settings, state), Clock()
    epoch, stop = state.epoch, data.end
    if batches is not None:
        stop = min(stop, state.row + batches * min(settings.batch_size, data.epoch_rows))
    done = False
    while state.epoch == epoch and state.row < stop and not done:
        done = clock.advance(run, stop)


def gradient(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    state: State,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Gradients of the objectives at the last weights.

    Of the smooth part: the loss, the L2 penalty and ``intercept_gradient``, without the L1 term.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is left as it is.
    rows : ndarray of shape (m,), int64, optional
        Numbers of the rows; all if not given.

    Returns
    -------
    gradient : ndarray of shape (d, K)
        In the weights.
    intercept_gradient : ndarray of shape (K,)
        In the intercepts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    >>> state = solver.State(data, lanes, settings)
    >>> solver.gradient(data, lanes, settings, state)
    (array([[-1.]]), array([-1.]))
    """
    rows = np.arange(data.n) if rows is None else np.asarray(rows, dtype=np.int64)
    g, g_b, count = Run(data, lanes, settings, state).gradient_sums(rows)
    count = np.maximum(1, count)
    return g / count + lanes.alpha * state.last_weights()[
        0
    ].T, g_b / count + lanes.intercept_gradient


def structure_of(X: Any) -> int | None:
    """A fingerprint of the index arrays of CSR X, which are checked.

    Parameters
    ----------
    X : ndarray or CSR matrix or array of shape (n, d)
        Features.

    Returns
    -------
    int or None
        The fingerprint; None for dense X.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from fastsgd import solver
    >>> X = sp.eye_array(2, format="csr")
    >>> solver.structure_of(X) == solver.structure_of(X.copy())
    True
    """
    return check_structure(X) if hasattr(X, "indptr") else None


def check_unchanged(X: Any, structure: int | None) -> None:
    """Refuse X whose index arrays somebody changed since their fingerprint was taken.

    Parameters
    ----------
    X : ndarray or CSR matrix or array of shape (n, d)
        Features.
    structure : int or None
        What :func:`structure_of` gave.

    Raises
    ------
    ValueError
        If they were changed.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from fastsgd import solver
    >>> X = sp.eye_array(2, format="csr")
    >>> structure = solver.structure_of(X)
    >>> X.indices[0] = 1
    >>> solver.check_unchanged(X, structure)
    Traceback (most recent call last):
    ...
    ValueError: X changed while it was trained on: its indices or indptr are not what they were
    """
    if structure != structure_of(X):
        raise ValueError(CHANGED)
