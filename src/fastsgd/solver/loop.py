"""The loop over epochs: a fit, from its first epoch until every lane has stopped."""

from __future__ import annotations

from .._core import State
from ..exceptions import DivergenceError
from ..problem import Data, Lanes, Settings
from .epochs import check_unchanged, structure_of
from .progress import Fit
from .stopping import Stopping
from .training import Training

__all__ = ["fit"]


def fit(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    state: State,
    stopping: Stopping,
    progress: Fit | None = None,
) -> Fit:
    """Train until every lane has stopped or ``max_epochs`` are done.

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
    stopping : Stopping
        When to stop.
    progress : Fit, optional
        An object to be filled, which the caller has when an exception ends the fit. Its history
        goes on.

    Returns
    -------
    Fit
        The progress, with the model.

    Raises
    ------
    DivergenceError
        If the run overflows. ``state`` is then of no use; the error has the last finite weights.
    ValueError
        If the index arrays of CSR X were changed meanwhile, by user code or by another thread.
    KeyboardInterrupt
        Within about 20 ms of Ctrl-C; ``progress.state`` holds the model as it stands.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    >>> state = solver.State(data, lanes, settings)
    >>> progress = solver.fit(data, lanes, settings, state, solver.Stopping(max_epochs=3, tol=None))
    >>> progress.epochs
    array([3])
    """
    if data.is_window:
        raise ValueError(
            f"data must have all rows of an epoch in fit, got {data.n} of {data.epoch_rows} rows"
        )
    progress = Fit() if progress is None else progress
    structure = structure_of(data.X)
    training = Training((data, lanes, settings), state, stopping, progress)
    done, retries = 0, 0
    try:
        while done < stopping.max_epochs:
            if progress.before_epoch is not None and retries == progress.backoffs:
                progress.before_epoch()
            retries = progress.backoffs
            try:
                done += training.plain_epochs(stopping.max_epochs - done)
                if done == stopping.max_epochs:
                    break
                seconds = training.epoch()
                training.measure()
                training.check()
            except DivergenceError as error:
                check_unchanged(data.X, structure)
                training.recover(error)
                continue
            done += 1
            training.record(seconds)
            if progress.on_epoch is not None and progress.on_epoch(progress):
                progress.ended = True
                break
            if training.decide(last=done == stopping.max_epochs):
                break
        check_unchanged(data.X, structure)
        training.restore_best()
    finally:
        training.restore_rates()
    return progress
