"""A learning rate range test: sixteen constant rates, trained as lanes of shared passes, of a
network each in a fit of its own.

In Smith's test (2017) one rate rises from step to step. Here every rate starts from the same
weights, none from those that another rate left, and all use the same rows in the same order.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter
from sklearn.utils import check_random_state

from ..estimators.network_fitting import BaseMLP
from ..exceptions import DivergenceError
from ..inputs.conversions import MatrixLike
from ..problem import LANE_NUMBERS, Lanes
from ..schedules import Schedule
from ..solver import Fit, State, Stopping, fit
from ..statistics.sample import loss_at
from .checks import Estimator, check_count, check_estimator, check_seeds, check_sequence
from .network_problem import NetworkProblem, network_problem_of
from .network_runs import train_network
from .network_stability import curvature_rate
from .problem import EstimatorProblem, problem_of
from .sources import takes_sources
from .stability import stable_rate_of

__all__ = ["RateRange", "rate_range"]

Float = NDArray[np.float64]

COARSE_RATES = 16
"""Count of the rates that are tried first, each half of the next."""

HIGHEST_RATE = 2.0**4
"""The largest of them, times L."""

FINE_RATES: Float = 2.0 ** (np.delete(np.arange(-7, 8), 7) / 7.5)
"""Rates that are tried next, divided by the best of the first."""


@dataclass(frozen=True)
class RateRange:
    """Losses after training at constant learning rates, and the rate that they suggest.

    Attributes
    ----------
    rates : ndarray of shape (r,)
        Learning rates, in increasing order.
    loss : ndarray of shape (r,)
        Mean loss of the rows plus penalty at the end of training, summed over the outputs; infinite
        if the run diverged. If there are many rows, of a sample of them. Of several seeds the mean.
    smoothed : ndarray of shape (r,)
        Running median of the loss over three rates.
    start_loss : float
        Loss at the start, which is the same for all rates.
    suggested : float
        Rate of the least smoothed loss.
    inverse_curvature : float
        1 / L, with L the curvature that limits the learning rate of batches of this size: a
        run at 2 / L or more does not settle. Of a network that at the start, where it may be far
        from that at the end; NaN of Adam, which has none.
    epochs : int
        Epochs of each run.
    spread : tuple of two ndarrays of shape (r,)
        Lowest and highest loss over the seeds.
    sample : str
        Of a source whose rows do not fit into memory, which of them were used; else "".

    See Also
    --------
    rate_range : Measures one.
    LearningRateDisplay : Draws one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import rate_range
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> result = rate_range(SGDRegressor(random_state=0), X, y)
    >>> len(result.rates), result.start_loss, bool(result.suggested < 2 * result.inverse_curvature)
    (30, 10.5, True)
    """

    rates: Float
    loss: Float
    smoothed: Float
    start_loss: float
    suggested: float
    inverse_curvature: float
    epochs: int
    spread: tuple[Float, Float]
    sample: str = ""


@takes_sources
def rate_range(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    rates: ArrayLike | None = None,
    epochs: int = 2,
    seeds: int | None = None,
) -> RateRange:
    """Train at constant learning rates and compare the losses at the end.

    Training starts from the weights of the estimator, or where a fit starts if it is not fitted.
    Each rate and seed of a network is a fit of its own, of ``epochs`` epochs.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
        Fitted or not; it is not changed. Its loss, penalty, batch size and momentum are used.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
        Training rows. A source, such as
        :func:`fastsgd.data.open_source` opens it, has y and the weights too; if its rows do not fit
        into 512 MiB, an even sample of them is used.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Their targets; none for SGDOneClassSVM.
    sample_weight : array-like of shape (n_samples,), optional
        Their weights.
    rates : array-like of shape (r,), optional
        At least three positive rates; by default sixteen, each half of the next and the largest
        16 / L (of Adam 1), and then fourteen around the best of them.
    epochs : int, default=2
        Epochs of each run.
    seeds : int or None, default=None
        Runs at each rate, with other orders of the rows and, of a network that is not fitted, other
        first weights. None is 1, and 3 of networks.

    Returns
    -------
    RateRange
        Losses and the suggested rate.

    Raises
    ------
    ValueError
        If an argument is not valid, and if every rate diverges.

    References
    ----------
    .. [1] L. N. Smith. "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
       section 3.3, for the range test with one rising rate.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import rate_range
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> rate_range(SGDRegressor(random_state=0), X, y, rates=(1e-4, 1e-3, 1e-2, 10.0)).loss[-1]
    np.float64(inf)
    """
    check_estimator(estimator)
    count = check_seeds(estimator, seeds)
    trained: _Linear | _Networks
    if isinstance(estimator, BaseMLP):
        trained = _Networks(estimator, (X, y, sample_weight), count)
    else:
        problem = problem_of(estimator, X, y, sample_weight, fitted=False)
        trained = _Linear(problem, count)
    tried = trained.highest * np.exp2(-np.arange(float(COARSE_RATES)))
    if rates is not None:
        tried = np.array(check_sequence("rates", rates, Real), dtype=np.float64)
    tried = np.unique(tried)
    if len(tried) < 3 or not np.isfinite(tried).all() or tried[0] <= 0.0:
        raise ValueError(f"rates must be at least three positive numbers, got {rates!r}")
    epochs = check_count("epochs", epochs)
    table = trained.losses(tried, epochs)
    if not np.isfinite(table.mean(axis=0)).any():
        raise ValueError(
            f"rates: training diverges at every rate, and the smallest was {tried[0]:.3g}. Scale "
            "the features of X"
        )
    if rates is None:
        fine: Float = tried[_smooth(table.mean(axis=0)).argmin()] * FINE_RATES
        table = np.hstack([table, trained.losses(fine, epochs)])
        order = np.argsort(np.append(tried, fine))
        tried, table = np.append(tried, fine)[order], table[:, order]
    loss = table.mean(axis=0)
    smoothed, spread = _smooth(loss), (table.min(axis=0), table.max(axis=0))
    best = float(tried[smoothed.argmin()])
    return RateRange(tried, loss, smoothed, trained.start, best, trained.bound, epochs, spread)


class _Linear:
    """Runs of a linear model: the rates of each seed are lanes of shared passes.

    Attributes
    ----------
    bound, highest : float
        1 / L, and the largest rate to be tried.
    start : float
        The loss at the start.
    """

    def __init__(self, problem: EstimatorProblem, seeds: int) -> None:
        self.bound = 0.5 * stable_rate_of(problem)
        self.highest = self.bound * HIGHEST_RATE
        self.start = float(
            _objective(problem, problem.coef, problem.intercept, problem.lanes).sum()
        )
        self.problems = [
            replace(
                problem,
                settings=replace(problem.settings, seed=(problem.settings.seed + i) % 2**64),
            )
            for i in range(seeds)
        ]

    def losses(self, rates: Float, epochs: int) -> Float:
        """Objective (seeds, r) at the end of the runs."""
        return np.array([_losses(problem, rates, epochs) for problem in self.problems])


class _Networks:
    """Runs of a network, each a fit of its own, at constant rates."""

    def __init__(self, estimator: BaseMLP, given: tuple[Any, Any, Any], seeds: int) -> None:
        self.problems: list[NetworkProblem] = []
        state = 0 if estimator.random_state is None else estimator.random_state
        numbers = check_random_state(copy.deepcopy(state)).randint(2**31, size=seeds)
        for i in range(seeds):
            model = copy.copy(estimator)
            number = state + i if isinstance(state, int | np.integer) else numbers[i]
            model.random_state = int(number)
            problem = network_problem_of(model, *given, fitted=False)
            descent = replace(
                problem.descent,
                schedule=Schedule("constant"),
                average=0,
                seed=(problem.descent.seed + i * hasattr(model, "coefs_")) % 2**64,
            )
            problem.estimator.learning_rate = "constant"
            self.problems.append(replace(problem, descent=descent))
        self.bound = 0.5 * curvature_rate(self.problems[0])
        self.highest = self.bound * HIGHEST_RATE if np.isfinite(self.bound) else 1.0
        self.start = float(np.mean([problem.loss() for problem in self.problems]))

    def losses(self, rates: Float, epochs: int) -> Float:
        table = np.full((len(self.problems), len(rates)), np.inf)
        for i, problem in enumerate(self.problems):
            for j, rate in enumerate(rates):
                at = replace(problem, descent=replace(problem.descent, eta0=float(rate)))
                model = train_network(at, epochs)
                loss = np.inf if model is None else problem.loss(model)
                table[i, j] = loss if np.isfinite(loss) else np.inf
        return table


def _smooth(loss: Float) -> Float:
    """Running median of the losses over three rates, infinite where a run diverged."""
    smoothed = median_filter(np.minimum(loss, np.finfo(np.float64).max), size=3, mode="nearest")
    return np.where(np.isfinite(loss), smoothed, np.inf)


def _losses(problem: EstimatorProblem, rates: Float, epochs: int) -> Float:
    """Objective (r,) at the end of a run at each rate, summed over the outputs."""
    if problem.settings.terms.coupled and len(rates) > 1:  # lanes of a softmax are one model
        return np.concatenate(
            [_losses(problem, rates[i : i + 1], epochs) for i in range(len(rates))]
        )
    k, count = problem.lanes.k, len(rates)
    names = (*LANE_NUMBERS, "target")
    fields = {name: np.tile(getattr(problem.lanes, name), count) for name in names}
    lanes = Lanes(k * count, **(fields | {"eta0": np.repeat(rates, k)}))
    settings = replace(problem.settings, schedule=Schedule("constant"), average=0)
    start = np.tile(problem.coef, (count, 1)), np.tile(problem.intercept, count)
    failed = np.zeros(lanes.k, dtype=bool)
    while not failed.all():
        state, outcome = State(problem.data, lanes, settings), Fit()
        state.set_weights(*start)
        state.active[failed] = 0.0
        try:
            fit(
                problem.data, lanes, settings, state, Stopping(max_epochs=epochs, tol=None), outcome
            )
            break
        except DivergenceError:
            failed |= outcome.at_fault
            failed |= failed.reshape(count, k).any(axis=1).repeat(k)
    else:
        return np.full(count, np.inf)
    coef, intercept = state.last_weights()
    value = _objective(problem, np.asarray(coef), np.asarray(intercept), lanes)
    return np.where(failed, np.inf, value).reshape(count, k).sum(axis=1)


def _objective(problem: EstimatorProblem, coef: Any, intercept: Any, lanes: Lanes) -> Float:
    """Mean loss of a sample of rows plus penalty, (K,), at weights (K, d) and intercepts (K,)."""
    weights = coef.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = loss_at(problem.data, lanes, problem.settings, coef, intercept)
        penalty = 0.5 * lanes.alpha * np.square(weights).sum(axis=1)
        penalty += lanes.l1 * np.abs(weights).sum(axis=1) + lanes.intercept_gradient * intercept
        total = loss + penalty
    return np.where(np.isfinite(total), total, np.inf)
