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
scikit-learn-intelex        nothing; of CSR and L1 it falls back to scikit-learn, so neither is here
skglm, celer, glum          nothing; they get X in float64 by columns. celer's logistic regression
                            has no intercept, so it is given squares alone; glum's Hessian is dense,
                            so it is given narrow tables alone
liblinear, SnapML           with -R liblinear's intercept is free; SnapML's is penalised
MLPClassifier               alpha is divided by the batch size, so it is given alpha times that
Vowpal Wabbit               no L2 online, where --l2 goes by the global rate and not by the one
                            of each feature; the same with --bfgs
river                       l2 acts at each example, on its own features
PyTorch                     weight decay on the weight alone
==========================  ====================================================================
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from datasets import cache_directory
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
    kind = SGDClassifier if problem.classifies else SGDRegressor
    softmax = {"loss": "log_loss", "multi_class": "multinomial"}
    loss = softmax if problem.loss == "softmax" else {"loss": problem.loss}
    same = {**loss, "penalty": problem.penalty, "alpha": problem.alpha}
    same |= {"tol": None, "random_state": SEED, **options}
    return of_estimator(lambda n: kind(**same, max_iter=n), problem.table.X, problem.table.y)


# scikit-learn.


def sklearn_sgd(problem: Problem, **options: Any) -> Fit:
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    kind = SGDRegressor if problem.loss == "squared_error" else SGDClassifier
    same = {"loss": problem.loss, "penalty": problem.penalty, "alpha": problem.alpha}
    same |= {"tol": None, "random_state": SEED, **options}
    return of_estimator(lambda n: kind(**same, max_iter=n), problem.table.X, problem.table.y)


def sklearn_linear(problem: Problem, solver: str) -> Fit:
    """LogisticRegression; of squares Ridge, where newton-cholesky needs one step."""
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    def make(n: int) -> Any:
        if problem.loss == "poisson":
            return PoissonRegressor(alpha=problem.alpha, solver=solver, max_iter=n, tol=1e-12)
        if problem.loss == "squared_error":
            how = solver.removeprefix("newton-")
            return Ridge(1.0 / problem.C, solver=how, max_iter=n, tol=1e-12, random_state=SEED)
        return LogisticRegression(
            C=problem.C,
            l1_ratio=float(problem.penalty == "l1"),
            solver=solver,
            max_iter=n,
            tol=1e-12,
            random_state=SEED,
        )

    return of_estimator(make, problem.table.X, problem.table.y)


def sklearn_lasso(problem: Problem) -> Fit:
    """Coordinate descent, on X by columns in its own type."""
    from sklearn.linear_model import Lasso

    return of_estimator(
        lambda n: Lasso(problem.alpha, max_iter=n, tol=1e-12), by_columns(problem), problem.table.y
    )


def sklearn_mlp(problem: Problem) -> Fit:
    """Without a hidden layer it is the same model; Adam and batches of 200 are its defaults."""
    from sklearn.neural_network import MLPClassifier

    batch = min(200, problem.n)

    def fit(n: int) -> Model:
        with quiet():
            model = MLPClassifier(
                (),
                alpha=problem.alpha * batch,
                batch_size=batch,
                max_iter=n,
                random_state=SEED,
                tol=0.0,
                n_iter_no_change=n + 1,
            ).fit(problem.table.X, problem.table.y)
        return model.coefs_[0].T, model.intercepts_[0]

    return fit


# Others.


def by_columns(problem: Problem, dtype: Any = None) -> Any:
    """X as coordinate descent reads it: CSC, or Fortran's order."""
    X = problem.table.X if dtype is None else problem.table.X.astype(dtype)
    return sp.csc_matrix(X) if problem.table.sparse else np.asfortranarray(X)


def sklearnex(problem: Problem) -> Fit:
    """Imported by name, which its documentation offers beside patching all of scikit-learn."""
    from sklearnex.linear_model import LogisticRegression

    def make(n: int) -> Any:
        return LogisticRegression(C=problem.C, max_iter=n, tol=1e-12, n_jobs=1)

    return of_estimator(make, problem.table.X, problem.table.y)


def skglm(problem: Problem) -> Fit:
    """Working sets; a fit of few rows compiles it first. The tolerance is of the gradient."""
    from skglm import Lasso, SparseLogisticRegression

    kind = SparseLogisticRegression if problem.classifies else Lasso

    def of(problem: Problem) -> Fit:
        return of_estimator(
            lambda n: kind(alpha=problem.alpha, tol=n * problem.alpha),
            by_columns(problem, np.float64),
            problem.table.y,
        )

    of(replace(problem, table=problem.table.head(200)))(1e-3)
    return of(problem)


def celer(problem: Problem) -> Fit:
    """Working sets and dual extrapolation; the tolerance is of the duality gap, beside |y|^2."""
    from celer import Lasso

    X, y = by_columns(problem, np.float64), problem.table.y.astype(np.float64)
    return of_estimator(lambda tolerance: Lasso(problem.alpha, tol=tolerance), X, y)


GLUM_FAMILIES = {"log_loss": "binomial", "squared_error": "normal", "poisson": "poisson"}


def glum(problem: Problem) -> Fit:
    """Iteratively reweighted least squares, with coordinate descent for L1; X by columns."""
    from glum import GeneralizedLinearRegressor

    def make(n: int) -> Any:
        return GeneralizedLinearRegressor(
            alpha=problem.alpha,
            l1_ratio=float(problem.penalty == "l1"),
            family=GLUM_FAMILIES[problem.loss],
            max_iter=n,
            gradient_tol=1e-12,
        )

    return of_estimator(make, by_columns(problem, np.float64), problem.table.y.astype(np.float64))


def liblinear(problem: Problem) -> Fit:
    """With a free intercept: trust region Newton (-s 0), with L1 coordinate descent (-s 6)."""
    from liblinear import liblinearutil

    X, y = problem.table.X, problem.signs[:, 0].astype(np.float64)
    data = liblinearutil.problem(y, sp.csr_matrix(X) if problem.table.sparse else X, 1)

    kind = 6 if problem.penalty == "l1" else 0

    def fit(tolerance: float) -> Model:
        model = liblinearutil.train(data, f"-s {kind} -c {problem.C} -B 1 -R -e {tolerance} -q")

        def weights() -> tuple[Any, Any]:
            coef, intercept = model.get_decfun()
            sign = 1.0 if model.get_labels()[0] == 1 else -1.0
            return sign * np.array(coef), sign * intercept

        return weights

    return fit


def snapml(problem: Problem) -> Fit:
    from snapml import LinearRegression, LogisticRegression

    kind = LinearRegression if problem.loss == "squared_error" else LogisticRegression
    X = sp.csr_matrix(problem.table.X) if problem.table.sparse else problem.table.X

    def fit(n: int) -> Model:
        model = kind(
            max_iter=n,
            regularizer=1.0 / problem.C,
            tol=1e-12,
            fit_intercept=True,
            n_jobs=1,
            random_state=SEED,
        )
        model.fit(X, problem.table.y)
        return model.coef_, model.intercept_

    return fit


def cyanure(problem: Problem) -> Fit:
    from cyanure.estimators import Classifier, Regression

    linear = problem.loss == "squared_error"
    kind = Regression if linear else partial(Classifier, loss="logistic")

    def make(n: int) -> Any:
        return kind(
            penalty=problem.penalty,
            lambda_1=problem.alpha,
            fit_intercept=True,
            max_iter=n,
            tol=1e-12,
            n_threads=1,
            verbose=False,
        )

    y = problem.table.y if linear or problem.loss == "softmax" else problem.signs[:, 0]
    fit = of_estimator(make, problem.table.X, y)

    def oriented(n: int) -> Model:  # the coefficients of many classes are columns
        coef, intercept = fit(n)
        return (coef.T if problem.k > 1 else coef), intercept

    return oriented


VW_LOSSES = {"log_loss": "logistic", "hinge": "hinge", "squared_error": "squared"}


def vowpal_wabbit(problem: Problem, options: str = "", bfgs: bool = False) -> Fit:
    """From its own cache file, as its wiki advises for several passes.

    Online by default; with ``bfgs`` the L2 term is summed like the loss, and takes n alpha.
    ``options`` are added to the command line.
    """
    from vowpalwabbit import Workspace, __version__

    X, linear = problem.table.X, problem.loss == "squared_error"
    y = problem.table.y if linear else problem.signs[:, 0]
    cache = cache_directory() / f"vw-{__version__}-{problem.table.mark:08x}.cache"
    common = f"--loss_function {VW_LOSSES[problem.loss]} --quiet --holdout_off -b 18"
    if not cache.exists():
        with tempfile.TemporaryDirectory() as folder:
            text, made = Path(folder) / "text", Path(folder) / "cache"
            _write_vw(text, X, y)
            Workspace(f"{common} --data {text} --cache_file {made}").finish()
            shutil.move(made, cache)
    common += f" --cache_file {cache} {options}"
    if bfgs:  # the first pass takes no step
        common += f" --bfgs --termination 0 --l2 {1.0 / problem.C} --no_bias_regularization"

    def fit(n: int) -> Model:
        model = Workspace(f"{common} --passes {n + bfgs}")

        def weights() -> tuple[Any, Any]:
            coef = np.array([model.get_weight(j) for j in range(problem.d)])
            return coef, model.get_weight(VW_CONSTANT & (model.num_weights() - 1))

        return weights

    return fit


VW_CONSTANT = 11650396
"""Index of its intercept."""


def _write_vw(path: Path, X: Any, y: Any) -> None:
    """One line a row: ``label | index:value ...``."""
    rows = X.tocsr() if hasattr(X, "indptr") else None
    names = [f" {j}:" for j in range(X.shape[1])]
    with path.open("w") as file:
        for i in range(X.shape[0]):
            if rows is None:
                columns = np.flatnonzero(X[i])
                values = X[i, columns]
            else:
                part = slice(rows.indptr[i], rows.indptr[i + 1])
                columns, values = rows.indices[part], rows.data[part]
            pairs = "".join(
                f"{names[j]}{v:.7g}" for j, v in zip(columns, values.tolist(), strict=True)
            )
            file.write(f"{y[i]:.7g} |{pairs}\n")


def river(problem: Problem) -> Fit:
    """One dictionary at a time, ``learn_one``: what river is made for."""
    from river import linear_model, optim

    rows, y = _dictionaries(problem.table.X), problem.table.y.tolist()
    kind = linear_model.LogisticRegression
    if problem.loss == "squared_error":
        kind = linear_model.LinearRegression
    eta0 = problem.table.eta0

    def fit(n: int) -> Model:
        model = kind(optimizer=optim.SGD(eta0), intercept_lr=eta0, l2=problem.alpha)
        for _ in range(n):
            for row, target in zip(rows, y, strict=True):
                model.learn_one(row, target)

        def weights() -> tuple[Any, Any]:
            coef = np.array([model.weights.get(j, 0.0) for j in range(problem.d)])
            return coef, model.intercept

        return weights

    return fit


def _dictionaries(X: Any) -> list[dict[int, float]]:
    if not hasattr(X, "indptr"):
        return [dict(enumerate(row)) for row in X.tolist()]
    columns, values = X.indices.tolist(), X.data.tolist()
    ends = X.indptr.tolist()
    return [dict(zip(columns[i:j], values[i:j], strict=True)) for i, j in pairwise(ends)]


def pytorch(
    problem: Problem,
    batch_size: int = 256,
    rate: float | None = None,
    momentum: float = 0.9,
    threads: int = 1,
) -> Fit:
    """SGD on tensors in memory, batches by index: without a DataLoader, which is slower by far.

    Without a ``rate`` the best of three peaks for its one-cycle schedule is looked for, untimed.
    """
    import torch

    torch.set_num_threads(threads)
    X = torch.from_numpy(problem.table.X)
    if problem.loss == "softmax":
        y, loss = torch.from_numpy(problem.table.y), torch.nn.functional.cross_entropy
    else:
        y = torch.from_numpy(problem.table.y.astype(problem.table.X.dtype))[:, None]
        loss = torch.nn.functional.binary_cross_entropy_with_logits
        if problem.loss == "squared_error":

            def loss(z: Any, y: Any) -> Any:  # halved, as ours
                return 0.5 * torch.nn.functional.mse_loss(z, y)

    def fit(n: int, peak: float | None = None) -> Model:
        torch.manual_seed(SEED)
        model = torch.nn.Linear(problem.d, problem.k)
        torch.nn.init.zeros_(model.weight)
        torch.nn.init.zeros_(model.bias)
        groups = [
            {"params": [model.weight], "weight_decay": problem.alpha},
            {"params": [model.bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.SGD(groups, lr=rate or peak, momentum=momentum)
        schedule = None
        if rate is None:
            steps = n * -(-problem.n // batch_size)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, peak, total_steps=steps, cycle_momentum=False
            )
        for _ in range(n):
            for rows in torch.randperm(problem.n).split(batch_size):
                optimizer.zero_grad()
                loss(model(X[rows]), y[rows]).backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
        return model.weight.detach().numpy(), model.bias.detach().numpy()

    if rate is not None:
        return fit
    base = problem.table.eta0 / problem.table.rate  # 1 / (1 + mean |x|^2)
    peak = min((4.0**i * base for i in (0, 1, 2)), key=lambda one: problem.value(fit(2, one)))
    return lambda n: fit(n, peak)


def pytorch_lbfgs(problem: Problem) -> Fit:
    """Full batches, ``torch.optim.LBFGS`` with its line search."""
    import torch

    torch.set_num_threads(1)
    X = torch.from_numpy(problem.table.X)
    softmax = problem.loss == "softmax"
    y = torch.from_numpy(problem.table.y if softmax else problem.table.y.astype(X.numpy().dtype))
    binary = torch.nn.functional.binary_cross_entropy_with_logits
    loss = torch.nn.functional.cross_entropy if softmax else binary

    def fit(n: int) -> Model:
        weight = torch.zeros((problem.d, problem.k), requires_grad=True)
        bias = torch.zeros(problem.k, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=n,
            history_size=10,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimizer.zero_grad()
            z = torch.addmm(bias, X, weight)
            value = loss(z if softmax else z[:, 0], y)
            value = value + 0.5 * problem.alpha * weight.square().sum()
            value.backward()
            return value

        optimizer.step(closure)
        return weight.detach().numpy().T, bias.detach().numpy()

    return fit


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
    exact : bool
        It minimises the objective itself: whatever it is given time for comes near the minimum.
    penalties : frozenset of str
    widest : int or None
        Columns it takes, where its memory grows with their square.
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
    exact: bool = False
    penalties: frozenset[str] = frozenset({"l2"})
    widest: int | None = None
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

    def minimises(self, effort: str = "passes") -> Peer:
        """The same, marked as exact."""
        return replace(self, exact=True, effort=effort)

    def takes(self, problem: Problem) -> bool:
        return (
            problem.loss in self.losses
            and problem.penalty in self.penalties
            and (self.sparse if problem.table.sparse else self.dense)
            and (self.widest is None or problem.d <= self.widest)
        )


LOGISTIC = frozenset({"log_loss", "softmax"})
LINEAR = frozenset({"log_loss", "hinge", "squared_error"})


BINARY = frozenset({"log_loss"})
SQUARES = frozenset({"squared_error"})
COUNTS = frozenset({"poisson"})
L1, BOTH = frozenset({"l1"}), frozenset({"l1", "l2"})
EVERY = LINEAR | LOGISTIC | COUNTS
SAGA = partial(sklearn_linear, solver="saga")
PEERS = (
    Peer("fastsgd", "fastsgd", fastsgd, EVERY, penalties=BOTH),
    Peer("fastsgd, averaged", "fastsgd", partial(fastsgd, average=0.5), EVERY, penalties=BOTH),
    Peer(
        "fastsgd, cosine",
        "fastsgd",
        partial(fastsgd, learning_rate="cosine"),
        EVERY,
        penalties=BOTH,
    ),
    Peer("scikit-learn SGD", "sklearn", sklearn_sgd, LINEAR, penalties=BOTH),
    Peer("scikit-learn SGD, averaged", "sklearn", partial(sklearn_sgd, average=True), LINEAR),
    Peer("scikit-learn MLP, no hidden layer", "sklearn", sklearn_mlp, LOGISTIC),
    Peer("scikit-learn saga", "sklearn", SAGA, LOGISTIC | SQUARES).minimises(),
    Peer("scikit-learn saga", "sklearn", SAGA, LOGISTIC, penalties=L1).minimises(),
    Peer("scikit-learn Lasso", "sklearn", sklearn_lasso, SQUARES, penalties=L1).minimises(),
    Peer(
        "scikit-learn lbfgs", "sklearn", partial(sklearn_linear, solver="lbfgs"), LOGISTIC | COUNTS
    ).minimises("iterations"),
    Peer(
        "scikit-learn newton-cholesky",
        "sklearn",
        partial(sklearn_linear, solver="newton-cholesky"),
        BINARY | SQUARES | COUNTS,
        sparse=False,
    ).minimises("iterations"),
    Peer("scikit-learn-intelex lbfgs", "sklearnex", sklearnex, LOGISTIC, sparse=False).minimises(
        "iterations"
    ),
    Peer("skglm", "skglm", skglm, BINARY | SQUARES, penalties=L1).minimises("tolerance"),
    Peer("celer", "celer", celer, SQUARES, penalties=L1).minimises("tolerance"),
    Peer("glum", "glum", glum, BINARY | SQUARES | COUNTS, penalties=BOTH, widest=2_000).minimises(
        "iterations"
    ),
    Peer("liblinear", "liblinear", liblinear, BINARY, penalties=BOTH).minimises("tolerance"),
    Peer("SnapML", "snapml", snapml, BINARY | SQUARES).minimises(),
    Peer("Cyanure", "cyanure", cyanure, LOGISTIC | SQUARES, penalties=BOTH).minimises(),
    Peer("Vowpal Wabbit", "vowpalwabbit", vowpal_wabbit, LINEAR),
    Peer("Vowpal Wabbit BFGS", "vowpalwabbit", partial(vowpal_wabbit, bfgs=True), BINARY).minimises(
        "iterations"
    ),
    Peer("PyTorch SGD, batch 256", "torch", pytorch, LOGISTIC, sparse=False),
    Peer("PyTorch L-BFGS", "torch", pytorch_lbfgs, LOGISTIC, sparse=False).minimises("iterations"),
    Peer("river", "river", river, frozenset({"log_loss", "squared_error"}), rows=2_000),
)
