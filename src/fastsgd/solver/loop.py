"""The loop over epochs: a fit, from its first epoch until every lane has stopped."""

from __future__ import annotations

from .._core import State
from ..problem import Data, Lanes, Settings
from .epoch_loop import train
from .epochs import structure_of
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
    if data.is_window and data.stream is None:
        raise ValueError(
            f"data must have all rows of an epoch in fit, got {data.n} of {data.epoch_rows} rows"
        )
    progress = Fit() if progress is None else progress
    structure = structure_of(data.X)
    training = Training((data, lanes, settings), state, stopping, progress)
    train(training, data.X, structure, stopping, progress)
    return progress
