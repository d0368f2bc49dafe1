"""How good are the defaults? Time to a target and test scores, against peers and tuned grids.

    python benchmarks/defaults.py               measures, writes docs/defaults.md, .png and .json
    python benchmarks/defaults.py --only text   measures what has "text" in its name, keeps the rest
    python benchmarks/defaults.py --quick       some data sets, half the time, no grids; prints only
    python benchmarks/defaults.py --render      page and plot anew from docs/defaults.json

**To a target.** L2 with alpha 1e-4, a fifth of the rows held out. Fits anew with 1, 2, 3, 5, ...
passes, iterations or tightening tolerances (``curves.py``), each solver otherwise at its defaults:
seconds of the first whose relative suboptimality on the training rows is at most the target, and of
the first whose score on the held-out rows is within 0.001 of the best that any solver had (Vowpal
Wabbit's does not count as best: it has no such L2). Solvers with a learning rate get a grid of it
besides; the others have only the effort to tune.

**Untouched.** ``SGDClassifier(loss="log_loss")``, tolerance and all: medians of three seeds.

**Scores.** ``SGDClassifier()`` on real data against the best of 50 settings of scikit-learn's.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from typing import Any

import datasets
import numpy as np
import sklearn.linear_model
from curves import Curve, Point, step, timed
from datasets import NOUNS, TOPS, Table, Unavailable, bundled, dense
from defaults_page import OURS, SGD, TUNED_SGD, TUNED_VW, VW, Store
from numpy.typing import NDArray
from objective import ERROR, Model, Problem
from peers import PEERS, SEED, Fit, quiet, sklearn_sgd, vowpal_wabbit
from peers import fastsgd as own_fit
from sklearn.metrics import average_precision_score, r2_score
from sklearn.model_selection import RepeatedKFold, ShuffleSplit
from threadpoolctl import threadpool_limits

import fastsgd
from fastsgd.bench import environment, format_header

SEEDS = range(3)
ALPHA = 1e-4
HELD_OUT = 0.2

SOLVERS = (OURS, SGD, *(f"scikit-learn {solver}" for solver in ("saga", "lbfgs")))
SOLVERS += ("scikit-learn newton-cholesky", "liblinear", "SnapML", "Cyanure", VW)
MORE_EFFORTS = (800, 1200, 2000, 3000, 5000)
"""Passes beyond those of ``peers.py``, for tables that take no time."""

BEHIND = 10.0
"""A setting of a grid that has this many times the excess of the best after as many passes, three
or more, is given up."""

BFGS = "--bfgs"

Array = NDArray[Any]


# Data.


@dataclass(frozen=True)
class Task:
    """A data set, and what is minimised and scored on it.

    Attributes
    ----------
    name : str
    table : callable
        All rows; a fifth, drawn at random, is held out.
    loss : {"log_loss", "squared_error"}
    metric : {"accuracy", "average precision", "R2"}
        Of the held-out rows.
    longest : float
        Seconds of a fit after which a solver is given up.
    unscaled : bool
        Everyone gets standardised features, except fastsgd, which does it itself, on the clock.
    stored : {"shuffled", "by class"}
        Order of the training rows.
    quick : bool
    """

    name: str
    table: Callable[[], Table]
    loss: str = "log_loss"
    metric: str = "accuracy"
    longest: float = 1.5
    unscaled: bool = False
    stored: str = "shuffled"
    quick: bool = False


def words(rows: int) -> Table:
    return datasets.text(rows, 47_236, 75)


def nouns() -> Table:
    return datasets.glosses().against_rest(NOUNS)


def tops() -> Table:
    return datasets.fashion().against_rest(TOPS)


def ill(rows: int, targets: str = "logistic") -> Table:
    return datasets.ill_conditioned(rows, 100, targets)


def delays() -> Table:
    return datasets.flights("csr", "delay")


TASKS = (
    Task("normal 200,000 x 100", lambda: dense(250_000, 100)),
    Task("sorted by class 100,000 x 100", lambda: dense(125_000, 100), stored="by class"),
    Task("ill-conditioned 100,000 x 100", lambda: ill(125_000)),
    Task("ill-conditioned, squares", lambda: ill(125_000, "linear"), "squared_error", "R2"),
    Task("unscaled 100,000 x 100", lambda: datasets.unscaled(125_000, 100), unscaled=True),
    Task("text 100,000 x 47,236, CSR", lambda: words(125_000)),
    Task(
        "imbalanced 100,000 x 50",
        lambda: datasets.imbalanced(125_000, 50),
        metric="average precision",
        quick=True,
    ),
    Task("wide 300 x 2,000", lambda: dense(375, 2000), longest=0.3),
    Task("breast cancer 455 x 30", lambda: bundled("breast_cancer"), longest=0.1, quick=True),
    Task("digits, odd, 1,437 x 64", lambda: bundled("digits"), longest=0.2),
    Task("diabetes 353 x 10", lambda: bundled("diabetes"), "squared_error", "R2", 0.1, quick=True),
    Task("flights 261,876 x 165, CSR", lambda: datasets.flights("csr")),
    Task("glosses, nouns, 94,127 x 34,407, CSR", nouns, quick=True),
    Task("Fashion-MNIST, tops, 56,000 x 784", tops, longest=2.5),
)

METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": lambda y, z: float(np.mean((z > 0.0) == y)),
    "average precision": average_precision_score,
    "R2": r2_score,
}


@dataclass(frozen=True)
class Experiment:
    """A task's rows, split.

    Attributes
    ----------
    problem : Problem
        The training rows, as the peers get them.
    given : Table
        The same as fastsgd gets them.
    offset, scale : ndarray of shape (d,), or 0 and 1
        From the features of ``given`` to those of ``problem``: (x - offset) / scale.
    held_out : Table
        Features as in ``problem``.
    metric : str
    """

    problem: Problem
    given: Table
    offset: Any
    scale: Any
    held_out: Table
    metric: str

    def judge(self, model: Model) -> Point:
        """Excess and held-out score."""
        coef, intercept = (np.asarray(part, dtype=np.float64).ravel() for part in model)
        if not np.isfinite(coef).all():
            return np.inf, -np.inf
        with np.errstate(over="ignore", invalid="ignore"):
            score = METRICS[self.metric](self.held_out.y, self.held_out.X @ coef + intercept)
            return self.problem.excess((coef, intercept)), score

    def of_ours(self, model: Model) -> Model:
        """A model of the features of ``given`` as one of those of ``problem``."""
        coef, intercept = (np.asarray(part, dtype=np.float64).ravel() for part in model)
        return coef * self.scale, intercept + (coef * self.offset).sum()

    @property
    def options(self) -> dict[str, Any]:
        """What fastsgd is told beyond its defaults."""
        return {"standardize": True} if self.given is not self.problem.table else {}


def split(task: Task) -> Experiment:
    table, rng = task.table(), np.random.default_rng(SEED)
    order = rng.permutation(len(table.y))
    rows = order[round(HELD_OUT * len(order)) :]
    if task.stored == "by class":
        rows = rows[np.argsort(table.y[rows], kind="stable")]
    given = Table(table.X[rows], table.y[rows], table.rate)
    others = order[: len(order) - len(rows)]
    held_out = Table(table.X[others], table.y[others])
    if not task.unscaled:
        return Experiment(Problem(given, task.loss, ALPHA), given, 0.0, 1.0, held_out, task.metric)
    wide = given.X.astype(np.float64)
    offset, scale = wide.mean(axis=0), wide.std(axis=0)
    train, test = (
        Table(((part.X - offset) / scale).astype(np.float32), part.y, table.rate)
        for part in (given, held_out)
    )
    return Experiment(Problem(train, task.loss, ALPHA), given, offset, scale, test, task.metric)


# To a target.


def solvers(experiment: Experiment, skipped: Callable[[str], None]) -> dict[str, Curve]:
    """fastsgd and its peers at their defaults, but for the effort."""
    problem, curves = experiment.problem, {}
    for peer in (peer for peer in PEERS if peer.name in SOLVERS):
        if peer.missing:
            skipped(f"{peer.name}: {peer.missing}")
        elif peer.takes(problem):
            fit, efforts = peer.prepare(problem), [*peer.efforts]
            if peer.name == OURS:
                fit = ours(experiment)
            if peer.effort != "tolerance":
                efforts += MORE_EFFORTS
            curves[peer.name] = Curve(fit, efforts)
    return dict(sorted(curves.items(), key=lambda item: SOLVERS.index(item[0])))


def ours(experiment: Experiment) -> Fit:
    given = Problem(experiment.given, experiment.problem.loss, ALPHA)
    fit = own_fit(given, **experiment.options)
    if experiment.given is experiment.problem.table:
        return fit
    return lambda effort: experiment.of_ours(fit(effort))


def finite(fit: Fit) -> Fit:
    """A model of infinities where the peer says that it has diverged."""

    def tried(effort: Any) -> Model:
        try:
            return fit(effort)
        except ValueError:
            return np.array([np.inf]), np.array([np.inf])

    return tried


def grids(problem: Problem, missing: set[str]) -> dict[str, dict[str, Curve]]:
    """The solvers that have a rate, over a grid of it; rates in units of 1 / (1 + mean |x|^2)."""
    base, fits = problem.table.eta0 / problem.table.rate, {TUNED_SGD: {}, TUNED_VW: {}}
    fits[TUNED_SGD]["optimal, averaged"] = sklearn_sgd(problem, average=True)
    for factor in (0.2, 1.0, 5.0, 25.0):
        options = {"eta0": factor * base, "power_t": 0.5}
        fits[TUNED_SGD] |= {
            f"invscaling {options['eta0']:.2g}": sklearn_sgd(
                problem, learning_rate="invscaling", **options
            ),
            f"constant {options['eta0']:.2g}, averaged": sklearn_sgd(
                problem, learning_rate="constant", average=True, **options
            ),
        }
    if VW not in missing:
        l2 = ALPHA * (2.0 if problem.loss == "squared_error" else 1.0)  # its squares are whole
        lines = ["-l 0.1", "-l 2"]
        lines += [f"--sgd --l2 {l2:g} --initial_t 10 -l {f * base:.2g}" for f in (2, 10, 50)]
        fits[TUNED_VW] |= {line: vowpal_wabbit(problem, line) for line in lines}
        if problem.loss == "log_loss":
            fits[TUNED_VW][BFGS] = vowpal_wabbit(problem, bfgs=True)
    efforts = [*PEERS[0].efforts, *MORE_EFFORTS]
    return {
        family: {setting: Curve(finite(fit), [*efforts]) for setting, fit in members.items()}
        for family, members in fits.items()
        if members
    }


def race(curves: dict[str, Curve], experiment: Experiment, longest: float) -> None:
    """Efforts in turn, so that a drift of the machine hits all, until all have ended."""
    while any(not curve.ended for curve in curves.values()):
        for curve in curves.values():
            if not curve.ended:
                step(curve, experiment.judge, longest)


def search(curves: dict[str, Curve], experiment: Experiment, longest: float) -> None:
    """The same over a grid, without the settings that are far behind or later than the first."""
    while any(not curve.ended for curve in curves.values()):
        for curve in curves.values():
            if not curve.ended:
                step(curve, experiment.judge, longest)
        turn = max(len(curve.points) for curve in curves.values())
        best = min(curve.points[-1][2] for curve in curves.values() if len(curve.points) == turn)
        done = any(curve.ended == "there" for curve in curves.values())
        for setting, curve in curves.items():
            behind = turn >= 3 and not curve.points[-1][2] <= BEHIND * best
            behind &= setting != BFGS  # which starts slowly
            if not curve.ended and (done or behind):
                curve.ended = "behind"


def untouched(module: Any, experiment: Experiment, **options: Any) -> dict[str, float]:
    """Medians over the seeds: seconds, excess, score and epochs of a fit with its own tolerance."""
    problem = experiment.problem
    kind = "SGDRegressor" if problem.loss == "squared_error" else "SGDClassifier"
    table = experiment.given if module is fastsgd else problem.table
    ends = []
    for seed in SEEDS:
        model = getattr(module, kind)(loss=problem.loss, random_state=seed, **options)
        with quiet():
            seconds, _ = timed(lambda model=model: model.fit(table.X, table.y))
        weights = model.coef_, model.intercept_
        if module is fastsgd:
            weights = experiment.of_ours(weights)
        ends.append((seconds, *experiment.judge(weights), model.n_iter_))
    names = "seconds", "excess", "score", "epochs"
    return dict(zip(names, np.median(ends, axis=0).tolist(), strict=True))


def measure(task: Task, quick: bool) -> dict[str, Any]:
    """A set's curves, as they are stored."""
    experiment = split(task)
    longest = task.longest * (0.5 if quick else 1.0)
    minimum = experiment.problem.minimum.value
    skipped: list[str] = []
    curves = solvers(experiment, skipped.append)
    race(curves, experiment, longest)
    families = {} if quick else grids(experiment.problem, set(SOLVERS) - set(curves))
    for family in families.values():
        search(family, experiment, longest)
    least = min(point[2] for curve in curves.values() for point in curve.points)
    assert least > -2.0 * ERROR, f"{task.name}: {least:.1e} below the minimum"
    return {
        "skipped": skipped,
        "metric": task.metric,
        "held out": len(experiment.held_out.y),
        "minimum": minimum,
        "solvers": kept(curves),
        "grids": {family: kept(members) for family, members in families.items()},
        "untouched": {
            OURS: untouched(fastsgd, experiment, **experiment.options),
            SGD: untouched(sklearn.linear_model, experiment),
        },
    }


def kept(curves: dict[str, Curve]) -> dict[str, list[list[float]]]:
    """Points to five digits, without those of models that have diverged."""
    return {
        name: [[float(f"{v:.5g}") for v in point] for point in curve.points if point[2] < np.inf]
        for name, curve in curves.items()
    }


# Scores.


@dataclass(frozen=True)
class Real:
    """Real data that the untouched defaults are scored on; ``linear`` for R2, else accuracy."""

    name: str
    table: Callable[[], Table]
    linear: bool = False
    quick: bool = False


REAL = (
    Real("breast cancer", lambda: bundled("breast_cancer"), quick=True),
    Real("iris, 3 classes", lambda: bundled("iris", "all"), quick=True),
    Real("wine, 3 classes", lambda: bundled("wine", "all")),
    Real("digits, odd", lambda: bundled("digits")),
    Real("digits, 10 classes", lambda: bundled("digits", "all")),
    Real("diabetes", lambda: bundled("diabetes"), linear=True, quick=True),
    Real("flights, late", lambda: datasets.flights("csr")),
    Real("flights, delay", delays, linear=True),
    Real("glosses, nouns", nouns),
    Real("Fashion-MNIST, tops", tops),
)
SMALL = 10_000
"""Rows below which scores are means over folds."""
LARGE_EPOCHS = 30
"""Epochs of a setting of the grid at most, where the table is not small."""


def settings() -> Iterator[dict[str, Any]]:
    """Ten penalties by five rates."""
    rates = [{"learning_rate": "optimal"}, {"learning_rate": "invscaling", "eta0": 0.1}]
    rates += [{"learning_rate": "adaptive", "eta0": eta0} for eta0 in (0.001, 0.01, 0.1)]
    for alpha, rate in itertools.product(np.logspace(-6.0, -1.5, 10), rates):
        yield {"alpha": float(alpha), "power_t": 0.5, **rate}


def folds(n: int) -> list[tuple[Array, Array]]:
    """Training and test rows: one split, five folds of a small table, or five times that."""
    if n > SMALL:
        ways: Any = ShuffleSplit(1, test_size=HELD_OUT, random_state=SEED)
    else:
        ways = RepeatedKFold(n_splits=5, n_repeats=5 if n < 1000 else 1, random_state=SEED)
    return list(ways.split(np.empty(n)))


def score(real: Real) -> dict[str, Any]:
    """Of untouched defaults and of the grid, as it is stored."""
    table = real.table()
    kind = "SGDRegressor" if real.linear else "SGDClassifier"
    parts = [[(table.X[rows], table.y[rows]) for rows in two] for two in folds(len(table.y))]

    def mean_score(module: Any, **options: Any) -> tuple[float, float, float]:
        """Means over the folds: score, epochs, seconds."""
        found = []
        for train, test in parts:
            model = getattr(module, kind)(random_state=SEED, **options)
            with quiet():
                seconds, _ = timed(lambda model=model, train=train: model.fit(*train))
            found.append((model.score(*test), model.n_iter_, seconds))
        return tuple(np.mean(found, axis=0).tolist())

    own, theirs = mean_score(fastsgd), mean_score(sklearn.linear_model)
    most = {"max_iter": LARGE_EPOCHS} if len(table.y) > SMALL else {}
    tried = []
    for options in settings():
        try:
            tried.append((mean_score(sklearn.linear_model, **options, **most), options))
        except ValueError:  # it has diverged
            tried.append(((-np.inf, 0.0, 0.0), options))
    (best, *_), options = max(tried, key=lambda one: one[0][0])
    return {
        "metric": "R2" if real.linear else "accuracy",
        "rows": len(table.y),
        "folds": len(parts),
        OURS: own,
        SGD: theirs,
        "best": best,
        "setting": ", ".join(
            f"{v:.2g}" if isinstance(v, float) else v for k, v in options.items() if k != "power_t"
        ),
        "settings": len(tried),
        "seconds": sum(one[2] for one, _ in tried),
    }


# The command.


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="some sets, half the time, no grids")
    parser.add_argument("--only", default="", help="sets with this in their name")
    parser.add_argument("--render", action="store_true", help="page and plot from the .json alone")
    parser.add_argument("--check-targets", action="store_true", help="fail where one is missed")
    asked = parser.parse_args(arguments)
    store, start = Store.load(), time.perf_counter()
    if not asked.render:
        if asked.quick or not asked.only:
            store = Store()
        run(store, asked.only, asked.quick)
    print(store.markdown())
    if not asked.quick:
        store.publish()
    print(f"Took {time.perf_counter() - start:.0f} s.")
    missed = store.missed()
    return int(asked.check_targets and bool(missed))


def run(store: Store, only: str, quick: bool) -> None:
    """Measure what was asked for into the store."""
    store.machine = f"{date.today().isoformat()}: {format_header(environment())}"
    print(store.machine, flush=True)
    for kind, into in (("sets", store.sets), ("scores", store.scores)):
        for name, what in WORKS[kind].items():
            if only not in name or (quick and not what.quick):
                continue
            start = time.perf_counter()
            try:
                measured = in_own_process(kind, name, quick)
                for reason in measured.pop("skipped", []):
                    store.skipped(reason)
                into[name] = {**measured, "machine": store.machine}
            except (Unavailable, BrokenProcessPool) as reason:
                store.skipped(f"{name}: {reason}")
            if not quick:  # whatever stops the run, what was measured stays
                store.save()
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


WORKS = {
    "sets": {task.name: task for task in TASKS},
    "scores": {real.name: real for real in REAL},
}


def in_own_process(kind: str, name: str, quick: bool) -> dict[str, Any]:
    """A set at a time, since so much foreign code may crash, and does not give back its memory."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=faulthandler.enable) as pool:
        return pool.submit(work, kind, name, quick).result()


def work(kind: str, name: str, quick: bool) -> dict[str, Any]:
    with threadpool_limits(1):
        what = WORKS[kind][name]
        return measure(what, quick) if kind == "sets" else score(what)


if __name__ == "__main__":
    sys.exit(main())
