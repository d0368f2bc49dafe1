"""The function :func:`fastsgd.minimize`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from ..descent import VectorDescent
from ..optimizers import Optimizer
from ..sampling import Sampling
from ..scalars import python_number
from ..schedules import Schedule
from .arguments import (
    DEFAULT_RATES,
    LearningRate,
    OptimizerName,
    average_start,
    check_going_on,
    count,
    lines_of,
    listeners_of,
    optimizer_of,
    previous_of,
    real,
    schedule_of,
    seed_of,
    strength_of,
    structure_of,
)
from .compiled_gradient import CompiledGradient
from .run import Run
from .state import Progress, State

__all__ = ["minimize"]

Gradient = Callable[[Any, NDArray[np.int64]], tuple[Any, Any]]


def minimize(
    gradient: Gradient | CompiledGradient,
    theta0: Any,
    n: int,
    *,
    batch_size: int = 32,
    optimizer: OptimizerName | Optimizer = "sgd",
    learning_rate: LearningRate | Schedule | Callable[[int, float], float] = "constant",
    eta0: float | None = None,
    alpha: Any = 0.0,
    max_iter: int = 200,
    tol: float | None = 1e-4,
    n_iter_no_change: int = 10,
    average: bool | float = False,
    clip_norm: float | None = None,
    mu: float = 0.0,
    sampling: Sampling = "reshuffle",
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
    callback: Callable[[Progress], Any] | Sequence[Callable[[Progress], Any]] | None = None,
    verbose: int = 0,
    state: State | OptimizeResult | None = None,
) -> OptimizeResult:
    """Minimise a mean of losses over rows by stochastic gradient descent.

    Parameters
    ----------
    gradient : callable or CompiledGradient
        ``gradient(theta, rows)`` returns the mean loss of the rows and its gradient in ``theta``.
        ``rows`` are int64 numbers below ``n``; ``theta`` and the gradient have the structure of
        ``theta0``. Both arguments can only be read, and the run goes on to change ``theta``.
    theta0 : array-like, or tuple, list or dict of arrays, nested or not
        Where to start. Training is in float32 if all arrays are, else in float64. It is not
        changed. With ``state`` only its structure matters, and it may be None.
    n : int
        Number of rows.
    batch_size : int, default=32
        Rows a step; the last batch of an epoch may be short.
    optimizer : {"sgd", "adam"} or Optimizer, default="sgd"
        How a step moves a parameter. Momentum is ``fastsgd.optimizers.SGD(momentum=0.9)``.
    learning_rate : str, Schedule or callable, default="constant"
        "constant", "invscaling", "step", "exponential", "linear", "polynomial", "cosine" or
        "one_cycle", with the constants that :mod:`fastsgd.schedules` has by default; a schedule of
        that module; or ``function(t, e)``, the rate of update t (from 1) after e epochs.
    eta0 : float or None, default=None
        Base learning rate. None is 0.001 for Adam and 0.01 for other optimizers.
    alpha : float, array-like or structure of such, default=0.0
        Strength of an L2 penalty 1/2 alpha theta^2, of all parameters or of each.
    max_iter : int, default=200
        Epochs of this call, at most.
    tol : float or None, default=1e-4
        The run ends after ``n_iter_no_change`` epochs in a row whose loss is not below the best one
        by ``tol``. None: never before ``max_iter``.
    n_iter_no_change : int, default=10
        Number of these epochs.
    average : bool, int or float, default=False
        Average the parameters over all updates (True), from that update on, or over that part of
        the updates of ``max_iter`` epochs, the last ones.
    clip_norm : float or None, default=None
        Length to which longer gradients are scaled down, before the penalty.
    mu : float, default=0.0
        Curvature in the schedule ``fastsgd.schedules.inverse``.
    sampling : {"reshuffle", "once", "replacement", "sequential", "block"}, default="reshuffle"
        Order of the rows; see :mod:`fastsgd.sampling`.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the order, or what it is drawn from. With ``state`` the seed is that of its run.
    callback : callable or sequence of callable, optional
        Called after each epoch with a :class:`Progress`. The run ends where one returns True or
        raises StopIteration.
    verbose : int, default=0
        Whether to print a line an epoch, and to show a progress bar on standard error if it takes
        longer.
    state : State or OptimizeResult, optional
        What another call ended with, to go on from: bit by bit as one call with as many epochs.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x`` is the model in the structure of ``theta0``, ``fun`` the loss of the last epoch,
        ``nit`` the number of epochs and ``nfev`` of gradients since the run began, ``history`` a
        dict of lists of one value an epoch, ``state`` what a call may go on from, ``success``
        whether the run ended by ``tol`` or, with ``tol=None``, by ``max_iter``; ``status`` and
        ``message`` say how.

    Raises
    ------
    ValueError
        If an argument is not valid, or what ``gradient`` returns has another shape than ``theta0``.
    DivergenceError
        If the loss or a parameter is no longer finite. ``theta_`` has the last finite parameters.
    KeyboardInterrupt
        On Ctrl-C. Its attribute ``result`` is what would have been returned, with the updates done
        so far; ``minimize(..., state=result)`` goes on in the middle of the epoch.

    See Also
    --------
    fastsgd.insight.row_gradient_noise : Noise of the gradients, and a batch size.

    Notes
    -----
    The order of the rows depends on ``random_state`` and the epoch alone, and what an optimizer
    does is in :mod:`fastsgd.optimizers`. A result depends on nothing else, apart from ``gradient``.

    Examples
    --------
    Least squares:

    >>> import numpy as np
    >>> from fastsgd import minimize
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> y = X @ [1.0, -2.0] + 0.5
    >>> def squared_error(theta, rows):
    ...     residual = X[rows] @ theta["w"] + theta["b"] - y[rows]
    ...     gradient = {"w": X[rows].T @ residual / len(rows), "b": residual.mean()}
    ...     return 0.5 * np.mean(residual**2), gradient
    >>> start = {"w": np.zeros(2), "b": np.zeros(())}
    >>> result = minimize(squared_error, start, n=1000, eta0=0.1, random_state=0)
    >>> result.x["w"].round(3), result.x["b"].round(3), result.success
    (array([ 1., -2.]), np.float64(0.5), True)
    """
    if not callable(gradient):
        raise ValueError(f"gradient must be a function of theta and rows, got {gradient!r}")
    n = count("n", n, below=2**32)
    max_iter = count("max_iter", max_iter)
    patience = count("n_iter_no_change", n_iter_no_change)
    tol = None if tol is None else real("tol", tol)
    listeners = listeners_of(callback)
    previous = previous_of(state)
    structure = structure_of(theta0, previous)
    size = count("batch_size", batch_size)
    how = optimizer_of(optimizer)
    rate = DEFAULT_RATES.get(how.name, 0.01) if eta0 is None else real("eta0", eta0)
    horizon = float(min(max_iter, 2**62)) if previous is None else previous.horizon
    descent = VectorDescent(
        batch_size=size,
        optimizer=how,
        average=(
            average_start(average, horizon, -(-n // size))
            if previous is None or previous.averaged != average
            else previous.average_from
        ),
        clip_norm=math.inf if clip_norm is None else real("clip_norm", clip_norm),
        sampling=python_number(sampling),
        seed=seed_of(random_state) if previous is None else previous.seed,
        schedule=schedule_of(learning_rate, horizon),
        eta0=rate,
        mu=real("mu", mu),
    )
    if descent.schedule.kind == "inverse" and descent.mu == 0.0:
        raise ValueError("mu must be > 0 with the schedule 'inverse', got 0.0")
    strength = strength_of(alpha, structure)
    if previous is None:
        now = State(structure, structure.vector("theta0", theta0), descent, n)
        now.horizon, now.averaged = horizon, average
    else:
        now = previous.copy()
        check_going_on(now, descent, n)
    run = Run(gradient, descent, now, strength, tol, patience)
    lines = lines_of(verbose, max_iter)
    if lines is not None:
        listeners.append(lambda progress: lines.tell(progress.line()))
    status, errors = 1 if tol is not None else 2, np.geterr()
    try:
        for _ in range(max_iter):
            run.epoch()
            stops = run.end_epoch()
            if run.tell(listeners):
                status = 99
                break
            if stops:
                losses = now.history["loss"]
                status = 3 if losses[-1] > losses[0] else 0
                break
        return run.result(status)
    except KeyboardInterrupt as stop:
        np.seterr(**errors)  # Ctrl-C may come as np.errstate begins, which then never ends
        stop.result = run.result(98)  # type: ignore[attr-defined]
        raise
    finally:
        if lines is not None:
            lines.close()
