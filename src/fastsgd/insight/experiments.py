"""Experiments on one's own data: clones of an estimator, trained with different parameters.

All start from the same weights and with the same seed, or each from those of several seeds; losses
are recorded at points between batches.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from ..estimators.network_fitting import BaseMLP
from ..inputs.conversions import MatrixLike
from .checks import Estimator, check_count, check_estimator, check_seeds
from .experiment_display import ExperimentDisplay
from .network_problem import held_out_network_problem, network_problem_of
from .network_runs import record_network_run
from .problem import held_out_problem, problem_of
from .runs import TrainingRun, record_run
from .sources import takes_sources

__all__ = ["Experiment", "compare"]


@dataclass(frozen=True)
class Experiment:
    """Training runs that differ in their parameters.

    Attributes
    ----------
    title : str
        Title of the plot.
    runs : tuple of TrainingRun
        The runs, in the order in which they were asked for; those of several seeds of a label stand
        together.
    sample : str
        Of a source whose rows do not fit into memory, which of them were used; else "".

    See Also
    --------
    compare : Makes one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> variants = {"low": {"eta0": 0.01}, "high": {"eta0": 0.1}}
    >>> experiment = compare(SGDRegressor(), X, y, variants=variants)
    >>> experiment.runs[1].parameters
    {'eta0': 0.1}
    >>> sorted(experiment.records[0])
    ['examples', 'loss', 'run', 'seconds', 'seed', 'step', 'test_loss']
    """

    title: str
    runs: tuple[TrainingRun, ...]
    sample: str = ""

    @property
    def records(self) -> list[dict[str, Any]]:
        """All points of all runs as tidy data, for ``pandas.DataFrame(experiment.records)``.

        Returns
        -------
        list of dict
            With the keys "run", which is the label, "seed", "step", "examples", "seconds", "loss"
            and "test_loss", as in :class:`TrainingRun`.
        """
        names = "step", "examples", "seconds", "loss", "test_loss"
        return [
            {"run": run.label, "seed": run.seed, **dict(zip(names, map(float, point), strict=True))}
            for run in self.runs
            for point in zip(*(getattr(run, name) for name in names), strict=True)
        ]

    def plot(self, *, x: str = "examples", y: str = "loss", ax: Any = None) -> ExperimentDisplay:
        """Draw the loss curves of the runs.

        Parameters
        ----------
        x : {"examples", "step", "seconds"}, default="examples"
            What they are drawn against: rows used, updates made or seconds of training.
        y : {"loss", "test_loss"}, default="loss"
            Loss of the training rows with penalty, or loss of the test rows.
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.

        Returns
        -------
        ExperimentDisplay
            The plot.

        Raises
        ------
        ValueError
            If ``x`` or ``y`` is none of these.
        ImportError
            If matplotlib is not installed.
        """
        return ExperimentDisplay(self, x=x, y=y).plot(ax=ax)


@takes_sources
def compare(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    variants: Mapping[str, Mapping[str, Any]],
    epochs: int = 3,
    test: tuple[Any, Any] | None = None,
    title: str = "",
    seeds: int | None = None,
) -> Experiment:
    """Train an estimator with each of several sets of parameters.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
        Clones of it are trained, without tolerance; it is not changed itself.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
        Training rows. A source, such as
        :func:`fastsgd.data.open_source` opens it, has y and the weights too; if its rows do not fit
        into 512 MiB, an even sample of them is used.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Their targets; none for SGDOneClassSVM.
    variants : dict of str to dict
        Parameters of each run, by its label.
    epochs : int, default=3
        Epochs of each run.
    test : tuple (X_test, y_test), optional
        Test rows, for ``test_loss``: columns as in X, labels that y has too.
    title : str, default=""
        Title of the plot.
    seeds : int or None, default=None
        Fits of each of the variants, with other orders of the rows and, of networks, other first
        weights. Plots draw their mean and a band from the lowest to the highest. None is 1, and 3
        of networks.

    Returns
    -------
    Experiment
        The runs of each of the variants.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    See Also
    --------
    compare_batch_sizes : Batch sizes.
    compare_schedules : Learning rate schedules.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> variants = {"low": {"eta0": 0.01}, "high": {"eta0": 0.1}}
    >>> low, high = compare(SGDRegressor(), X, y, variants=variants).runs
    >>> bool(high.loss[-1] < low.loss[-1] < low.loss[0])
    True
    """
    check_estimator(estimator)
    epochs = check_count("epochs", epochs)
    if test is not None and not (isinstance(test, (tuple, list)) and len(test) in (1, 2)):
        raise ValueError(f"test must be a tuple (X_test, y_test), got {type(test).__name__}")
    states = _random_states(estimator, check_seeds(estimator, seeds))
    runs = []
    for label, parameters in variants.items():
        for seed, state in enumerate(states):
            model = clone(estimator).set_params(max_iter=epochs, tol=None, **parameters)
            model.set_params(random_state=state)
            about = str(label), dict(parameters)
            if isinstance(model, BaseMLP):
                network = network_problem_of(model, X, y, fitted=False)
                other = test and held_out_network_problem(network, *test, name="test")
                runs.append(record_network_run(*about, network, other, epochs, seed))
                continue
            training = problem_of(model, X, y, fitted=False, rates=True)
            held_out = None if test is None else held_out_problem(training, *test, name="test")
            runs.append(record_run(*about, training, held_out, epochs, seed))
    return Experiment(title, tuple(runs))


def _random_states(estimator: Estimator, count: int) -> list[Any]:
    """``random_state`` of each of some fits: the estimator's own, and numbers that follow it."""
    first = 0 if estimator.random_state is None else estimator.random_state
    if count == 1:
        return [first]
    if isinstance(first, np.random.RandomState):
        return [int(i) for i in copy.deepcopy(first).randint(2**31, size=count)]
    return [int(first) + i for i in range(count)]
