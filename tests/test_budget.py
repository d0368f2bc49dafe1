"""A call of the core ends when it has done about its budget of work: Ctrl-C waits for no longer."""

import numpy as np
import pytest
import scipy.sparse as sp
from problems import LANE_COUNTS, LAYOUTS, OPTIMIZERS, lanes, table

from fastsgd import _core, solver
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import Data, Settings

ROWS = 64  # that a call may take beyond its budget: blocks, or a chunk of a batch


def calls_of(problem, budget):
    """Rows and steps of all features at once, of each call of an epoch."""
    state = solver.State(*problem)
    run = _core.Run(*problem, state)
    calls, done = [], False
    while not done:
        row, rescales = state.row + state.batch_row, state.rescales
        done = run.advance(budget)
        end = problem[0].epoch_rows if done else state.row + state.batch_row
        calls.append((end - row, state.rescales - rescales))
    return calls


@pytest.mark.parametrize("batch_size", (1, 8))
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_a_call_takes_no_more_rows_than_its_budget_has_values(layout, optimizer, batch_size):
    """And does not end long before, for any number of lanes, penalty and average."""
    values = table(n=400, d=40)
    data = values.data(np.float64, layout, sign=False)
    a_row = data.d if layout == "dense" else data.X.nnz / len(values.y)
    for k in LANE_COUNTS:
        for penalty in ("l2", "l1"):
            for average in (0, 5):
                settings = Settings(
                    "squared_error", optimizer=optimizer, batch_size=batch_size, average=average
                )
                problem = data, lanes(k, "squared_error", penalty), settings
                budget = int(30 * a_row)
                calls = calls_of(problem, budget)
                case = k, penalty, average
                rows = [rows for rows, _ in calls]
                assert sum(rows) == len(values.y), case
                assert max(rows) <= 30 + ROWS, case
                # a step may be of all features, all of their numbers, and of two tiles of lanes
                assert len(rows) <= 400 * (4 * data.d * 2 + 32) * 2 / budget + 2, case


@pytest.mark.parametrize("batch_size", (1, 2))
@pytest.mark.parametrize("average", (0, 5))
@pytest.mark.parametrize("penalty", ("l2", "l1"))
@pytest.mark.parametrize(
    ("optimizer", "k"),
    [(SGD(), 1), (SGD(), 3), (SGD(0.9), 1), (SGD(0.9), 3), (AdaGrad(), 1), (AdaGrad(), 16)],
    ids=str,
)
def test_a_step_of_all_features_counts_as_work(optimizer, k, penalty, average, batch_size):
    """Steps by rows of one value wait until all features take them: no call does so often."""
    n, d = 50_000, 400_000
    if optimizer == SGD(0.9):  # which has room for fewer steps
        n, d = 12_000, 200_000
    elif optimizer == AdaGrad() and average > 0:  # each row takes all features
        n, d = 300, 2_000
    rng = np.random.default_rng(0)
    X = sp.csr_array((np.ones(n, np.float32), rng.integers(0, d, n), np.arange(n + 1)), (n, d))
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    settings = Settings(
        "squared_error", optimizer=optimizer, average=average, batch_size=batch_size
    )
    y = rng.normal(size=(n, 2)).astype(np.float32)
    problem = Data(X, y), lanes(k, "squared_error", penalty), settings
    calls = calls_of(problem, budget=2 * d)
    assert max(steps for _, steps in calls) <= 3
