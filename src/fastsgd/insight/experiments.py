"""Experiments on one's own data: clones of an estimator, trained with different parameters.

All start from the same weights and with the same seed; losses are recorded at points between
batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import clone

from ..estimators.base import BaseSGD
from ..inputs.conversions import MatrixLike
from .checks import check_count, check_estimator
from .experiment_display import ExperimentDisplay
from .problem import held_out_problem, problem_of
from .runs import TrainingRun, record_run

__all__ = ["Experiment", "compare"]


@dataclass(frozen=True)
class Experiment:
    """Training runs that differ in their parameters.

    Attributes
    ----------
    title : str
        Title of the plot.
    runs : tuple of TrainingRun
        The runs, in the order in which they were asked for.

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
    ['examples', 'loss', 'run', 'seconds', 'step', 'test_loss']
    """

    title: str
    runs: tuple[TrainingRun, ...]

    @property
    def records(self) -> list[dict[str, Any]]:
        """All points of all runs as tidy data, for ``pandas.DataFrame(experiment.records)``.

        Returns
        -------
        list of dict
            With the keys "run", which is the label, "step", "examples", "seconds", "loss" and
            "test_loss", as in :class:`TrainingRun`.
        """
        names = "step", "examples", "seconds", "loss", "test_loss"
        return [
            {"run": run.label, **dict(zip(names, map(float, point), strict=True))}
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


def compare(
    estimator: BaseSGD,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    variants: Mapping[str, Mapping[str, Any]],
    epochs: int = 3,
    test: tuple[Any, Any] | None = None,
    title: str = "",
) -> Experiment:
    """Train an estimator with each of several sets of parameters.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        Clones of it are trained, without tolerance; it is not changed itself.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
        Training rows.
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

    Returns
    -------
    Experiment
        One run for each of the variants.

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
    runs = []
    for label, parameters in variants.items():
        model = clone(estimator).set_params(max_iter=epochs, tol=None, **parameters)
        if model.random_state is None:
            model.set_params(random_state=0)
        training = problem_of(model, X, y, fitted=False, rates=True)
        held_out = None if test is None else held_out_problem(training, *test, name="test")
        runs.append(record_run(str(label), dict(parameters), training, held_out, epochs))
    return Experiment(title, tuple(runs))
