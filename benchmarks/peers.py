"""The solvers that fastsgd is compared with, each used as its own documentation advises.

An adapter takes a :class:`objective.Problem`, brings the data into the peer's own form (not timed:
a cache file for Vowpal Wabbit, tensors for PyTorch), and gives back ``fit(effort) -> Model``, which
is timed. The effort is what the peer offers to make it work longer: passes over the data,
iterations, or a tolerance. All run on one thread unless said, without early stopping, and minimise
the same objective, as near as they can:

==========================  ====================================================================
peer                        what differs from mean loss + alpha/2 |w|^2, intercept free
==========================  ====================================================================
scikit-learn SGD            on CSR the intercept's rate is a hundredth
liblinear, SnapML           with -R liblinear's intercept is free; SnapML's is penalised
MLPClassifier               alpha is divided by the batch size, so it is given alpha times that
Vowpal Wabbit               L2 acts lazily, at each example; adaptive, normalised updates
river                       l2 acts at each example, on its own features
PyTorch                     weight decay on the weight alone
==========================  ====================================================================
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from objective import Model, Problem

from fastsgd import SGDClassifier, SGDRegressor

SEED = 0
Fit = Callable[[Any], Model]
PASSES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500)
TOLERANCES = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)


@contextmanager
def quiet() -> Iterator[None]:
    """Solvers that are stopped early say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def of_estimator(make: Callable[[Any], Any], X: Any, y: Any) -> Fit:
    """The fit of an estimator in scikit-learn's manner."""

    def fit(effort: Any) -> Model:
        with quiet():
            model = make(effort).fit(X, y)
        return model.coef_, model.intercept_

    return fit


# fastsgd itself.


def fastsgd(problem: Problem, **options: Any) -> Fit:
    kind = SGDRegressor if problem.loss == "squared_error" else SGDClassifier
    softmax = {"loss": "log_loss", "multi_class": "multinomial"}
    loss = softmax if problem.loss == "softmax" else {"loss": problem.loss}
    same = {**loss, "alpha": problem.alpha, "tol": None, "random_state": SEED, **options}
    return of_estimator(lambda n: kind(**same, max_iter=n), problem.table.X, problem.table.y)


# scikit-learn.


def sklearn_sgd(problem: Problem, **options: Any) -> Fit:
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    kind = SGDRegressor if problem.loss == "squared_error" else SGDClassifier
    same = {"loss": problem.loss, "alpha": problem.alpha, "tol": None, "random_state": SEED}
    same |= options
    return of_estimator(lambda n: kind(**same, max_iter=n), problem.table.X, problem.table.y)


def sklearn_logistic(problem: Problem, solver: str) -> Fit:
    from sklearn.linear_model import LogisticRegression

    def make(n: int) -> Any:
        return LogisticRegression(
            C=problem.C, solver=solver, max_iter=n, tol=1e-12, random_state=SEED
        )

    return of_estimator(make, problem.table.X, problem.table.y)


@dataclass(frozen=True)
class Peer:
    """One line of the tables.

    Attributes
    ----------
    name : str
    module : str
        What must be importable.
    prepare : callable
        From a problem to ``fit(effort)``.
    losses : frozenset of str
    effort : {"passes", "iterations", "tolerance"}
        Iterations may take more than a pass each.
    dense, sparse : bool
        Layouts it takes.
    rows : int or None
        A slow peer's epochs are timed on the first rows only, and given per row.
    """

    name: str
    module: str
    prepare: Callable[[Problem], Fit]
    losses: frozenset[str]
    effort: str = "passes"
    dense: bool = True
    sparse: bool = True
    rows: int | None = None

    @property
    def efforts(self) -> tuple[float, ...]:
        """From little to much."""
        return TOLERANCES if self.effort == "tolerance" else PASSES

    @property
    def missing(self) -> str | None:
        """Why it cannot be used here, or None."""
        try:
            with quiet():
                importlib.import_module(self.module)
        except ImportError as error:
            return f"{type(error).__name__}: {error}"
        return None

    def takes(self, problem: Problem) -> bool:
        return problem.loss in self.losses and (
            self.sparse if problem.table.sparse else self.dense
        )


LOGISTIC = frozenset({"log_loss", "softmax"})
LINEAR = frozenset({"log_loss", "hinge", "squared_error"})


def with_options(function: Callable[..., Fit], *args: Any, **options: Any) -> Any:
    return lambda problem: function(problem, *args, **options)


PEERS = (
    Peer("fastsgd", "fastsgd", fastsgd, LINEAR | LOGISTIC),
    Peer("scikit-learn SGD", "sklearn", sklearn_sgd, LINEAR),
    *(
        Peer(
            f"scikit-learn {solver}",
            "sklearn",
            with_options(sklearn_logistic, solver),
            LOGISTIC,
            "passes" if solver == "saga" else "iterations",
            sparse=solver != "newton-cholesky",
        )
        for solver in ("saga", "lbfgs", "newton-cholesky")
    ),
)
