"""What looking at the noise costs, and whether the rate that a range test suggests is a good one.

Exact diagnostics may cost two epochs, those of ``fit(..., diagnostics=True)`` a twentieth of one;
the suggested rate, kept constant, must end within a tenth of the best of a grid five times as fine,
or of a hundredth of the loss at the start where that loss is nearly all gone. Costs are asserted
with ``--check-targets``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from datasets import Unavailable, dense, text
from results import Results
from test_rates import CASES, Case

import fastsgd
from fastsgd.bench import seconds_of
from fastsgd.insight import gradient_noise, rate_range
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver import State, run_epoch

ALPHA = 1e-4
COSTS = (
    Case("dense 1,000,000 x 28", lambda: dense(1_000_000, 28)),
    Case("dense 200,000 x 100", lambda: dense(200_000, 100)),
    Case("text 100,000 x 47,236", lambda: text(100_000, 47_236, 75)),
)
EXACT, SAMPLED = 2.0, 0.05
"""Epochs that an exact look may cost, and a sampled one."""
NEAR = 0.1
FINE, EPOCHS, ROUNDS = 5, 3, 7


@pytest.mark.parametrize("case", COSTS, ids=lambda case: case.name)
def test_cost(case: Case, benchmark: Any, report: Results, check_targets: bool) -> None:
    X, y = case.table().X, case.table().y
    model = fastsgd.SGDClassifier("log_loss", max_iter=1, tol=None, random_state=0).fit(X, y)
    data = Data(X, y.astype(X.dtype), checked=True)
    lanes, settings = Lanes(1, alpha=ALPHA, eta0=1e-3), Settings("log_loss", sign_targets=True)
    state = State(data, lanes, settings)
    works = (
        partial(run_epoch, data, lanes, settings, state),
        partial(gradient_noise, model, X, y),
        partial(model.fit, X, y),
        partial(model.fit, X, y, diagnostics=True),
    )
    turns: list[list[float]] = []
    benchmark.pedantic(
        lambda: turns.append([seconds_of(work) for work in works]), rounds=ROUNDS, warmup_rounds=1
    )
    epoch, exact, plain, diagnosed = np.median(turns, axis=0)
    sampled = float(np.median([turn[3] - turn[2] for turn in turns]))
    report.line(
        "cost of diagnostics",
        case.name,
        epoch=f"{1e3 * epoch:.1f} ms",
        exact=f"{exact / epoch:.1f} epochs",
        target=f"{EXACT:g}",
        sampled=f"{100 * sampled / epoch:.1f} % of one",
        **{"its target": f"{100 * SAMPLED:g} %"},
    )
    assert diagnosed < 2.0 * plain
    if check_targets:
        assert exact <= EXACT * epoch
        assert sampled <= SAMPLED * epoch


@pytest.mark.filterwarnings("ignore::fastsgd.exceptions.FeatureScaleWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}, {case.loss}")
def test_suggested_rate(case: Case, benchmark: Any, report: Results) -> None:
    try:
        table = case.table()
    except Unavailable as reason:
        pytest.skip(str(reason))
    real = case.loss == "squared_error"
    kind = fastsgd.SGDRegressor if real else fastsgd.SGDClassifier
    model = kind(loss=case.loss, alpha=ALPHA, random_state=0)
    found = benchmark.pedantic(
        lambda: rate_range(model, table.X, table.y, epochs=EPOCHS), rounds=1, iterations=1
    )
    grid = found.rates[0] * 2.0 ** np.linspace(0, 15, 15 * FINE + 1)
    finer = rate_range(model, table.X, table.y, rates=grid, epochs=EPOCHS)
    at = int(np.abs(np.log(finer.rates / found.suggested)).argmin())
    over = finer.loss[at] / finer.loss.min() - 1.0
    report.line(
        "the rate that a range test suggests, constant",
        case.name,
        suggested=f"{found.suggested:.2g}",
        **{"1 / L": f"{found.inverse_curvature:.2g}"},
        best=f"{finer.rates[finer.loss.argmin()]:.2g}",
        **{"loss above the best": f"{100 * over:.1f} %", "target": f"{100 * NEAR:g} %"},
    )
    assert np.isfinite(finer.loss[at])
    gap = finer.loss[at] - finer.loss.min()
    assert over <= NEAR or gap <= 0.01 * found.start_loss
