"""Where the defaults end, without tuning: relative suboptimality after given epochs, and untouched.

``learning_rate="auto"`` beside scikit-learn's default ("optimal", at most 100 epochs), L2 with
alpha 1e-4; medians of three seeds. Targets: within 1e-2 after 2 epochs and 1e-3 after 5 of
well-conditioned tables and rows of norm one, 1e-2 after 3 and 3e-3 after 5 of ill-conditioned ones;
untouched, tolerance and all, within 1e-2 after at most 20 epochs. And what finding the rate costs
beside an epoch: a tenth at most of 100,000 rows or more. Asserted with ``--check-targets``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
from datasets import (
    NOUNS,
    Table,
    Unavailable,
    bundled,
    dense,
    flights,
    glosses,
    ill_conditioned,
    imbalanced,
    one_hot,
    text,
)
from objective import Problem
from results import Results

import fastsgd
from fastsgd.bench import seconds_of
from fastsgd.learning_rate.choose import rates_of
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver import State, run_epoch

ALPHA = 1e-4
SEEDS = range(3)
EPOCHS = (2, 3, 5)
EASY = {2: 1e-2, 5: 1e-3}
HARD = {3: 1e-2, 5: 3e-3}
UNTOUCHED, MOST_EPOCHS = 1e-2, 20


@dataclass(frozen=True)
class Case:
    """A table, its loss, and the excess to reach after so many epochs; none where it is tiny."""

    name: str
    table: Callable[[], Table]
    loss: str = "log_loss"
    targets: Any = None


CASES = (
    Case("normal 200,000 x 100", lambda: dense(200_000, 100), targets=EASY),
    Case("the same, squares", lambda: dense(200_000, 100, "linear"), "squared_error", EASY),
    Case("ill-conditioned 100,000 x 100", lambda: ill_conditioned(100_000, 100), targets=HARD),
    Case(
        "the same, squares",
        lambda: ill_conditioned(100_000, 100, "linear"),
        "squared_error",
        HARD,
    ),
    Case("one-hot 200,000 x 405", lambda: one_hot(200_000), targets=HARD),
    Case("imbalanced 100,000 x 50", lambda: imbalanced(100_000, 50), targets=HARD),
    Case("text 100,000 x 47,236", lambda: text(100_000, 47_236, 75), targets=EASY),
    Case("glosses", lambda: glosses().against_rest(NOUNS), targets=EASY),
    Case("flights", lambda: flights("csr"), targets=HARD),
    Case("flights, delay", lambda: flights("csr", "delay"), "squared_error", HARD),
    Case("wide 300 x 2,000", lambda: dense(300, 2000)),
    Case("breast cancer 569 x 30", lambda: bundled("breast_cancer")),
    Case("digits, odd, 1,797 x 64", lambda: bundled("digits")),
    Case("diabetes 442 x 10", lambda: bundled("diabetes"), "squared_error"),
)


def end(module: Any, problem: Problem, **options: Any) -> tuple[float, int, float]:
    """Excess, epochs and seconds of a fit, medians over the seeds."""
    name = "SGDRegressor" if problem.loss == "squared_error" else "SGDClassifier"
    ends = []
    for seed in SEEDS:
        estimator = getattr(module, name)
        model = estimator(loss=problem.loss, alpha=ALPHA, random_state=seed, **options)
        X, y = problem.table.X, problem.table.y
        seconds = seconds_of(partial(model.fit, X, y))
        weights = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
        ends.append((problem.excess(weights), model.n_iter_, seconds))
    excess, epochs, seconds = np.median(ends, axis=0)
    return float(excess), int(epochs), float(seconds)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::fastsgd.exceptions.FeatureScaleWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}, {case.loss}")
def test_defaults(case: Case, benchmark: Any, report: Results, check_targets: bool) -> None:
    try:
        problem = Problem(case.table(), case.loss, ALPHA)
    except Unavailable as reason:
        pytest.skip(str(reason))
    after = {T: end(fastsgd, problem, max_iter=T, tol=None)[0] for T in EPOCHS}
    excess, epochs, seconds = benchmark.pedantic(
        lambda: end(fastsgd, problem), rounds=1, iterations=1
    )
    theirs = end(sklearn.linear_model, problem, max_iter=100)
    targets = case.targets or {}
    report.line(
        "relative suboptimality, no tuning",
        case.name,
        **{f"{T} epochs": f"{after[T]:.1e}" for T in EPOCHS},
        targets=", ".join(f"{T}: {value:g}" for T, value in targets.items()),
        untouched=f"{excess:.1e}",
        **{"its epochs": f"{epochs}", "its time": f"{seconds:.3g} s"},
        **{"scikit-learn": f"{theirs[0]:.1e}", "epochs": f"{theirs[1]}"},
        time=f"{theirs[2]:.3g} s",
    )
    assert np.isfinite([*after.values(), excess]).all()
    if check_targets and targets:
        assert all(after[T] <= value for T, value in targets.items())
        assert excess <= UNTOUCHED
        assert epochs <= MOST_EPOCHS


COSTS = (
    Case("dense 100,000 x 28", lambda: dense(100_000, 28)),
    Case("dense 100,000 x 28", lambda: dense(100_000, 28, "linear"), "huber"),
    Case("dense 200,000 x 100", lambda: dense(200_000, 100)),
    Case("dense 200,000 x 100", lambda: dense(200_000, 100, "linear"), "huber"),
    Case("text 100,000 x 47,236", lambda: text(100_000, 47_236, 75)),
)
MOST = 0.1
"""Of an epoch, what finding a rate may cost."""
ROUNDS = 15


@pytest.mark.parametrize("case", COSTS, ids=lambda case: f"{case.name}, {case.loss}")
def test_cost_of_finding_a_rate(
    case: Case, benchmark: Any, report: Results, check_targets: bool
) -> None:
    table = case.table()
    real = case.loss == "huber"
    estimator = (fastsgd.SGDRegressor if real else fastsgd.SGDClassifier)(loss=case.loss)
    data = Data(table.X, table.y.astype(table.X.dtype), checked=True)
    lanes, settings = Lanes(1, alpha=ALPHA, eta0=1e-3), Settings(case.loss, sign_targets=not real)
    state = State(data, lanes, settings)
    turns = []

    def turn() -> None:
        epoch = seconds_of(partial(run_epoch, data, lanes, settings, state))
        turns.append((seconds_of(partial(rates_of, estimator, data, lanes, settings)), epoch))

    benchmark.pedantic(turn, rounds=ROUNDS)
    found, epoch = np.median(turns, axis=0)
    report.line(
        "cost of finding a rate",
        f"{case.name}, {case.loss}",
        found=f"{1e3 * found:.3f} ms",
        epoch=f"{1e3 * epoch:.2f} ms",
        part=f"{100 * found / epoch:.1f} %",
        target=f"{100 * MOST:.0f} %",
    )
    assert found < epoch
    if check_targets:
        assert found <= MOST * epoch
