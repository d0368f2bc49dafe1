"""Comparisons by one parameter: batch size, sampling, schedule, momentum or learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import clone

from ..estimators.network_fitting import BaseMLP
from ..inputs.conversions import MatrixLike
from ..schedules import Schedule
from .checks import Estimator, check_count, check_estimator, check_sequence
from .experiments import Experiment, compare
from .network_problem import network_problem_of
from .problem import problem_of
from .sources import takes_sources

SCHEDULES = "auto", "constant", "invscaling", "linear", "cosine", "one_cycle"
NETWORK_SCHEDULES = "constant", "linear", "cosine", "one_cycle"
"""What is compared where no schedules are given."""

__all__ = [
    "compare_batch_sizes",
    "compare_momentum",
    "compare_sampling",
    "compare_schedules",
    "linear_scaling",
    "noise_floor",
]


@takes_sources
def compare_batch_sizes(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    epochs: int = 3,
    test: tuple[Any, Any] | None = None,
    seeds: int | None = None,
) -> Experiment:
    """Train with single samples, with mini-batches and with the full batch.

    Unless the estimator sets eta0, each batch size has the learning rate that is found for it. A
    network has its ``learning_rate_init`` with each, and an ``alpha`` in proportion to the batch
    size: it is divided by that, so that all minimise the same. With test rows the experiment shows
    what the batch size does to generalisation.

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
    batch_sizes : sequence of int, optional
        Rows of a batch; by default 1, 32 and all rows.
    epochs : int, default=3
        Epochs of each run.
    test : tuple (X_test, y_test), optional
        Test rows, for ``test_loss``.
    seeds : int or None, default=None
        Fits of each value, see :func:`compare`; None is 1, and 3 of networks.

    Returns
    -------
    Experiment
        The runs of each batch size.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    See Also
    --------
    linear_scaling : Batch sizes with learning rates in proportion to them.
    gradient_noise : Suggests a batch size.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare_batch_sizes
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> experiment = compare_batch_sizes(SGDRegressor(), X, y, batch_sizes=(1, 2, 4), epochs=2)
    >>> [(run.label, int(run.step[-1])) for run in experiment.runs]
    [('single samples', 8), ('batches of 2', 4), ('full batch, 4 rows', 2)]
    """
    check_estimator(estimator)
    n, alpha_of = _rows_and_alpha(estimator, X, y)
    sizes: tuple[int, ...] = (1, min(32, n), n)
    if batch_sizes is not None:
        sizes = tuple(
            check_count("batch_sizes", m) for m in check_sequence("batch_sizes", batch_sizes)
        )
    names = {1: "single samples", n: f"full batch, {n:,} rows"}
    variants = {names.get(m, f"batches of {m:,}"): {"batch_size": m, **alpha_of(m)} for m in sizes}
    return compare(
        estimator,
        X,
        y,
        variants=variants,
        epochs=epochs,
        test=test,
        seeds=seeds,
        title="batch size",
    )


def _rows_and_alpha(
    estimator: Estimator, X: MatrixLike, y: ArrayLike | None
) -> tuple[int, Callable[[int], dict[str, float]]]:
    """Count of the rows, and the parameter that keeps a network's objective at a batch size."""
    if not isinstance(estimator, BaseMLP):
        return problem_of(clone(estimator), X, y, fitted=False).data.n, lambda m: {}
    problem = network_problem_of(clone(estimator), X, y, fitted=False)
    n, size = problem.data.n, problem.descent.batch_size
    return n, lambda m: {"alpha": problem.network.alpha * min(m, n) / size}


@takes_sources
def compare_sampling(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    epochs: int = 3,
    seeds: int | None = None,
) -> Experiment:
    """Train with rows reshuffled every epoch, drawn with replacement, and in storage order.

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
    epochs : int, default=3
        Epochs of each run.
    seeds : int or None, default=None
        Fits of each value, see :func:`compare`; None is 1, and 3 of networks.

    Returns
    -------
    Experiment
        Runs of three orders.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare_sampling
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> [run.label for run in compare_sampling(SGDRegressor(), X, y).runs]
    ['reshuffled each epoch', 'with replacement', 'as stored']
    """
    variants = {
        "reshuffled each epoch": {"sampling": "reshuffle", "shuffle": True},
        "with replacement": {"sampling": "replacement", "shuffle": True},
        "as stored": {"sampling": "sequential", "shuffle": True},
    }
    return compare(
        estimator, X, y, variants=variants, epochs=epochs, seeds=seeds, title="order of the rows"
    )


@takes_sources
def compare_schedules(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    schedules: Sequence[str] | None = None,
    epochs: int = 5,
    seeds: int | None = None,
) -> Experiment:
    """Train with several schedules of the learning rate.

    All of them start from the estimator's eta0, or, where it sets none, from one found from the
    data. That holds for "constant" and "invscaling" too, which mean eta0=0.01 as an argument of an
    estimator. A network starts from its ``learning_rate_init``.

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
    schedules : sequence of str, optional
        Values of ``learning_rate``; by default "auto", "constant", "invscaling", "linear", "cosine"
        and "one_cycle", of networks the first and third of these not.
    epochs : int, default=5
        Epochs of each run; schedules that have an end reach it then.
    seeds : int or None, default=None
        Fits of each value, see :func:`compare`; None is 1, and 3 of networks.

    Returns
    -------
    Experiment
        The runs of each schedule.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare_schedules
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> experiment = compare_schedules(SGDRegressor(), X, y, schedules=("auto", "cosine"))
    >>> [run.label for run in experiment.runs]
    ['auto', 'cosine']
    """
    check_estimator(estimator)
    if schedules is None:
        schedules = NETWORK_SCHEDULES if isinstance(estimator, BaseMLP) else SCHEDULES
    names = check_sequence("schedules", schedules, str)
    if isinstance(estimator, BaseMLP):
        _check_network_schedules(estimator, names)
        by_name = {name: {"learning_rate": name} for name in names}
        return compare(
            estimator, X, y, variants=by_name, epochs=epochs, seeds=seeds, title="schedule"
        )
    power_t, warmup_steps = estimator.power_t, estimator.warmup_steps
    objects = {
        name: Schedule(name, power_t=power_t, warmup_steps=warmup_steps)
        for name in ("constant", "invscaling")
    }
    variants: dict[str, dict[str, Any]] = {
        name: {"learning_rate": objects.get(name, name)} for name in names
    }
    return compare(estimator, X, y, variants=variants, epochs=epochs, seeds=seeds, title="schedule")


def _check_network_schedules(estimator: BaseMLP, names: Sequence[str]) -> None:
    """Refuse schedules that a network does not have, or that would not be seen here."""
    for name in names:
        if name in ("auto", "optimal", "pa1", "pa2"):
            raise ValueError(
                f"schedules: {name!r} finds its rates from a linear model's curvature or margin, "
                "and has no meaning for networks"
            )
        if name == "adaptive":
            raise ValueError(
                "schedules: 'adaptive' lowers the rate of a network where training would stop, and "
                "the runs of an experiment do not stop"
            )
        if name == "invscaling" and estimator.solver == "adam":
            raise ValueError(
                "schedules: 'invscaling' has no effect with solver='adam': take solver='sgd'"
            )


@takes_sources
def compare_momentum(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    momenta: Sequence[float] = (0.0, 0.5, 0.9),
    epochs: int = 3,
    seeds: int | None = None,
) -> Experiment:
    """Train with several values of momentum, at equal effective learning rates.

    Unless the estimator sets it, eta0 is the rate found from the data times 1 - momentum: the sum
    of the steps that one gradient causes is then the same. A network's learning_rate_init is that
    of its own momentum, and is changed in proportion to 1 - momentum.

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
    momenta : sequence of float, default=(0.0, 0.5, 0.9)
        Values of ``momentum``, in [0, 1).
    epochs : int, default=3
        Epochs of each run.
    seeds : int or None, default=None
        Fits of each value, see :func:`compare`; None is 1, and 3 of networks.

    Returns
    -------
    Experiment
        The runs of each momentum.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import compare_momentum
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> [run.label for run in compare_momentum(SGDRegressor(), X, y, momenta=(0.0, 0.9)).runs]
    ['momentum 0', 'momentum 0.9']
    """
    betas = check_sequence("momenta", momenta, Real)
    variants = {f"momentum {beta:g}": {"momentum": float(beta)} for beta in betas}
    if isinstance(estimator, BaseMLP):
        _check_sgd(estimator, "momentum is of solver='sgd': Adam has beta_1 in its place")
        unit = estimator.learning_rate_init / (1.0 - estimator.momentum)
        for parameters in variants.values():
            parameters["learning_rate_init"] = unit * max(0.0, 1.0 - parameters["momentum"])
    return compare(estimator, X, y, variants=variants, epochs=epochs, seeds=seeds, title="momentum")


def _check_sgd(estimator: BaseMLP, why: str) -> None:
    if estimator.solver != "sgd":
        raise ValueError(f"estimator must have solver='sgd', got {estimator.solver!r}: {why}")


@takes_sources
def linear_scaling(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    eta0: float,
    batch_sizes: Sequence[int] = (1, 8, 64, 512),
    epochs: int = 3,
    seeds: int | None = None,
) -> Experiment:
    """Train with several batch sizes m at the constant learning rates m eta0.

    Against examples seen the losses agree as long as steps are small. A large batch whose rate
    comes near 2 / L, L the largest curvature, falls behind or diverges.

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
    eta0 : float
        Learning rate of single samples.
    batch_sizes : sequence of int, default=(1, 8, 64, 512)
        Rows of a batch.
    epochs : int, default=3
        Epochs of each run.
    seeds : int or None, default=None
        Fits of each value, see :func:`compare`; None is 1, and 3 of networks.

    Returns
    -------
    Experiment
        The runs of each batch size.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    References
    ----------
    .. [1] P. Goyal et al. "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
       arXiv:1706.02677, 2017.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import linear_scaling
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> experiment = linear_scaling(SGDRegressor(), X, y, eta0=0.01, batch_sizes=(1, 4))
    >>> [run.label for run in experiment.runs]
    ['batches of 1, rate 0.01', 'batches of 4, rate 0.04']
    """
    if not isinstance(eta0, Real):
        raise ValueError(f"eta0 must be a number, got {eta0!r}")
    check_estimator(estimator)
    sizes = [check_count("batch_sizes", m) for m in check_sequence("batch_sizes", batch_sizes)]
    if isinstance(estimator, BaseMLP):
        _check_sgd(estimator, "Adam's steps do not grow with the gradient, and the law is of SGD's")
        n, alpha_of = _rows_and_alpha(estimator, X, y)
        rates = [{"learning_rate_init": float(eta0 * min(m, n)), **alpha_of(m)} for m in sizes]
    else:
        rates = [{"eta0": float(eta0), "linear_scaling": True} for _ in sizes]
    fixed = {"learning_rate": "constant"}
    variants = {
        f"batches of {m:,}, rate {eta0 * m:.3g}": {**fixed, **rate, "batch_size": m}
        for m, rate in zip(sizes, rates, strict=True)
    }
    return compare(
        estimator, X, y, variants=variants, epochs=epochs, seeds=seeds, title="linear scaling"
    )


@takes_sources
def noise_floor(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    rates: Sequence[float],
    epochs: int = 5,
    seeds: int | None = None,
) -> Experiment:
    """Train with several constant learning rates: the larger ones stall at higher losses.

    At a constant rate the noise of the gradients keeps the loss above its minimum, by an amount
    that is about proportional to the rate; the time until it is reached is inversely proportional.

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
    rates : sequence of float
        Values of eta0.
    epochs : int, default=5
        Epochs of each run.
    seeds : int or None, default=None
        Fits of each value, see :func:`compare`; None is 1, and 3 of networks.

    Returns
    -------
    Experiment
        The runs of each rate.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    References
    ----------
    .. [1] L. Bottou, F. E. Curtis, J. Nocedal. "Optimization Methods for Large-Scale Machine
       Learning", SIAM Review 60, 2018, theorem 4.6.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import noise_floor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> [run.label for run in noise_floor(SGDRegressor(), X, y, rates=(0.01, 0.1)).runs]
    ['constant rate 0.01', 'constant rate 0.1']
    """
    check_estimator(estimator)
    name = "learning_rate_init" if isinstance(estimator, BaseMLP) else "eta0"
    variants = {
        f"constant rate {rate:.3g}": {"learning_rate": "constant", name: float(rate)}
        for rate in check_sequence("rates", rates, Real)
    }
    return compare(
        estimator, X, y, variants=variants, epochs=epochs, seeds=seeds, title="noise floor"
    )
