"""What parts of a fit cost: rows and batches of CSR, wide tables, small calls.

The figures of docs/performance.md and docs/decisions.md that are no comparison with scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from curves import timed
from datasets import Table, text
from results import Results
from sklearn.linear_model import SGDClassifier as Peer

from fastsgd import SGDClassifier, solver
from fastsgd.bench import seconds_of
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings

ROUNDS = 3
KINDS: dict[str, tuple[int, dict[str, float], dict[str, Any]]] = {  # lanes, penalties, settings
    "plain": (1, {"alpha": 1e-4}, {}),
    "momentum": (1, {"alpha": 1e-4}, {"optimizer": SGD(0.9)}),
    "L1": (1, {"alpha": 0.0, "l1": 1e-6}, {}),
    "ten lanes": (10, {"alpha": 1e-4}, {}),
}


@pytest.fixture(scope="module")
def table() -> Table:
    return text(50_000, 47_236, 75)


def epoch(table: Table, kind: str, batch_size: int) -> float:
    """Median nanoseconds a non-zero and lane of the core's epoch."""
    k, penalties, options = KINDS[kind]
    problem = (
        Data(table.X, table.y.astype(np.float32)),
        Lanes(k, **penalties, eta0=0.001),
        Settings(loss="log_loss", sign_targets=True, batch_size=batch_size, **options),
    )
    state = solver.State(*problem)
    times = [seconds_of(lambda: solver.run_epoch(*problem, state)) for _ in range(ROUNDS)]
    return 1e9 * float(np.median(times)) / table.X.nnz / k


@pytest.mark.parametrize("batch_size", (1, 4, 16, 64, 256, 1024, 50_000))
def test_batches_on_csr(table: Table, batch_size: int, benchmark: Any, report: Results) -> None:
    costs = {kind: epoch(table, kind, batch_size) for kind in KINDS if kind != "plain"}
    benchmark.pedantic(lambda: costs.update(plain=epoch(table, "plain", batch_size)), rounds=1)
    benchmark.extra_info.update(costs)
    cells = {kind: f"{costs[kind]:.2f}" for kind in KINDS}
    report.append({"CSR, ns a non-zero and lane, batch": f"{batch_size:,}", **cells})


# What a row of CSR costs in the core.

L2, L1, BOTH = {"alpha": 1e-4}, {"alpha": 0.0, "l1": 1e-5}, {"alpha": 1e-4, "l1": 1e-5}
MOMENTUM, AVERAGE = {"optimizer": SGD(0.9)}, {"average": 1}
STEPS: dict[str, tuple[dict[str, float], dict[str, Any]]] = {  # penalties, settings
    "plain": (L2, {}),
    "averages": (L2, AVERAGE),
    "momentum": (L2, MOMENTUM),
    "momentum, averages": (L2, MOMENTUM | AVERAGE),
    "L1": (L1, {}),
    "L1, averages": (L1, AVERAGE),
    "L1, momentum": (L1, MOMENTUM),
    "elastic net": (BOTH, {}),
    "elastic net, averages": (BOTH, AVERAGE),
    "elastic net, momentum": (BOTH, MOMENTUM),
}
COLUMNS = {"one lane": (1, 1), "batches of 64": (1, 64), "20 lanes": (20, 1)}  # lanes, batch size
LONG = 1e-3
"""Seconds a row from which an epoch is of the first 128 rows alone."""


@pytest.fixture(scope="module")
def rows_of_text() -> Table:
    """12 MB, more than the first two caches of a core hold."""
    return text(20_000, 47_236, 75)


@pytest.mark.parametrize("step", STEPS)
def test_csr_row(step: str, rows_of_text: Table, benchmark: Any, report: Results) -> None:
    """Least processor time of epochs of one run, whose columns take turns; ns a row."""
    penalties, options = STEPS[step]

    def ready(lanes: int, batch_size: int, rows: int) -> Callable[[], float]:
        """An epoch, in seconds a row."""
        table = rows_of_text.head(rows)
        problem = (
            Data(table.X, table.y.astype(np.float32)),
            Lanes(lanes, **penalties, eta0=table.eta0, mu=0.1),
            Settings(loss="log_loss", sign_targets=True, batch_size=batch_size, **options),
        )
        state = solver.State(*problem)
        return lambda: timed(lambda: solver.run_epoch(*problem, state))[0] / rows

    epochs = {}
    for column, shape in COLUMNS.items():
        few = ready(*shape, rows=128)
        few()  # makes the pages of its arrays
        epochs[column] = few if few() > LONG else ready(*shape, rows=len(rows_of_text.y))
    times: list[list[float]] = []
    benchmark.pedantic(lambda: times.append([epoch() for epoch in epochs.values()]), rounds=5)
    nanoseconds = dict(zip(epochs, 1e9 * np.min(times, axis=0), strict=True))
    benchmark.extra_info.update(nanoseconds)
    cells = {column: f"{value:,.0f}" for column, value in nanoseconds.items()}
    report.append({"CSR, ns a row of 75 values, d = 47,236": step, **cells})


@pytest.mark.parametrize("batch_size", (1, 64))
def test_wide_table(batch_size: int, benchmark: Any, report: Results) -> None:
    """5,000 x 20,000 float32 with a rate found from the data: one epoch and what is around it."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5000, 20_000), dtype=np.float32), rng.integers(0, 2, 5000)
    model = SGDClassifier(batch_size=batch_size, max_iter=1, tol=None, random_state=0)
    times: list[float] = []
    benchmark.pedantic(lambda: times.append(seconds_of(lambda: model.fit(X, y))), rounds=ROUNDS)
    trained = model.history_["seconds"][-1]
    report.append(
        {
            "5,000 x 20,000, batch": str(batch_size),
            "fit": f"{1e3 * np.median(times):.0f} ms",
            "its epoch": f"{1e3 * trained:.0f} ms",
        }
    )


@pytest.mark.parametrize("average", (False, True))
@pytest.mark.parametrize(("rows", "features"), ((100, 1_000_000), (300, 10)))
def test_partial_fit(
    rows: int, features: int, average: bool, benchmark: Any, report: Results
) -> None:
    rng = np.random.default_rng(0)
    density = min(1.0, 75 / features) if features > 100 else 1.0
    X = sp.random_array((rows, features), density=density, format="csr", rng=rng)
    X, y = (X if features > 100 else X.toarray()), rng.integers(0, 2, rows)
    times: dict[str, list[float]] = {"scikit-learn": [], "fastsgd": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer, ours = (
            kind(random_state=0, average=average).partial_fit(X, y, classes=[0, 1])
            for kind in (Peer, SGDClassifier)
        )

        def both() -> None:
            times["scikit-learn"].append(seconds_of(lambda: peer.partial_fit(X, y)))
            times["fastsgd"].append(seconds_of(lambda: ours.partial_fit(X, y)))

        benchmark.pedantic(both, rounds=20)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    benchmark.extra_info.update(medians)
    cells = {name: f"{1e3 * value:.3g} ms" for name, value in medians.items()}
    report.append({"partial_fit": f"{rows} x {features:,}", "average": str(average), **cells})
