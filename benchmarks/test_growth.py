"""How the cost of a fit grows with the data and with the epochs, and what a small fit costs.

Growth: seconds over three decades of one size, the others fixed, and the exponent p of the
least-squares line log seconds = p log size + c. Linear growth is p = 1; leaving a cache on the way
raises it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from datasets import Table, dense, text
from results import Results
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import SGDClassifier as Peer
from sklearn.preprocessing import StandardScaler
from test_speed import Ours

from fastsgd import SGDClassifier, solver
from fastsgd.bench import interleaved

SEED = 0
DECADES = (1, 10, 100, 1000)
EXPONENTS = (0.8, 1.2)
"""Between these, growth is linear."""
OVERHEAD_TARGET = 50e-6
"""Seconds an epoch of the Python layer."""
SMALL_TARGET = 3.0
"""Times faster than scikit-learn, the whole call."""


@cache
def long_table() -> Table:
    return dense(4_000_000, 28)


@cache
def long_text() -> Table:
    return text(2_000_000, 47_236, 15)


@cache
def long_rows() -> Table:
    """Rows of up to 10,000 non-zeros in a million columns."""
    rng = np.random.default_rng(SEED)
    X = sp.random_array((4000, 1_000_000), density=0.01, format="csr", dtype=np.float32, rng=rng)
    return Table(X, rng.integers(0, 2, 4000))


def shortened(table: Table, part: int) -> Table:
    """The non-zeros in the first ``part`` thousandths of the columns."""
    return Table(sp.csr_array(table.X[:, : table.X.shape[1] * part // 1000]), table.y)


def fit(table: Table, epochs: int = 1) -> Callable[[], Any]:
    model = SGDClassifier(
        "log_loss",
        max_iter=epochs,
        tol=None,
        random_state=SEED,
        learning_rate="constant",
        eta0=table.eta0,
    )
    return lambda: model.fit(table.X, table.y)


def epoch(table: Table) -> Callable[[], Any]:
    """The core's epoch alone; the state goes on from one to the next."""
    problem = Ours().problem(table)
    state = solver.State(*problem)
    return lambda: solver.run_epoch(*problem, state)


GROWTHS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "rows, dense x 28, 4,000 to 4,000,000": lambda size: epoch(long_table().head(4000 * size)),
    "rows, CSR, 15 a row, 2,000 to 2,000,000": lambda size: epoch(long_text().head(2000 * size)),
    "non-zeros a row, CSR, 4,000 rows, 10 to 10,000": lambda size: epoch(
        shortened(long_rows(), size)
    ),
    "epochs, dense 20,000 x 28, 1 to 1,000": lambda size: fit(long_table().head(20_000), size),
}


@pytest.mark.parametrize("growth", GROWTHS)
def test_growth(growth: str, benchmark: Any, report: Results, check_targets: bool) -> None:
    works = [GROWTHS[growth](size) for size in DECADES]
    seconds: list[float] = []
    for work in works:
        work()
    benchmark.pedantic(lambda: seconds.extend(interleaved(works, 5)), rounds=1)
    exponent = float(np.polyfit(np.log(DECADES), np.log(seconds), 1)[0])
    ratio = seconds[-1] / seconds[0] / DECADES[-1]
    report.line(
        "growth with",
        growth,
        **{f"{size} times": f"{1e3 * s:.3g} ms" for size, s in zip(DECADES, seconds, strict=True)},
        exponent=f"{exponent:.2f}",
        **{"last over first, per unit": f"{ratio:.2f}"},
    )
    assert np.diff(seconds).min() > 0.0, "more work took less time"
    if check_targets:
        assert EXPONENTS[0] < exponent < EXPONENTS[1]


def line(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of seconds over sizes."""
    slope, intercept = np.polyfit(sizes, seconds, 1)
    return float(intercept), float(slope)


def test_overhead_of_an_epoch(benchmark: Any, report: Results, check_targets: bool) -> None:
    """What an epoch of no rows would cost: the intercept over row counts, by 200 epochs."""
    rows, epochs = (100, 200, 400, 800), 200
    table = dense(800, 10)
    short = [fit(table.head(n), 1) for n in rows]
    long = [fit(table.head(n), 1 + epochs) for n in rows]
    times: list[float] = []
    benchmark.pedantic(lambda: times.extend(interleaved([*short, *long], 15)), rounds=1)
    each = (np.array(times[len(rows) :]) - np.array(times[: len(rows)])) / epochs
    epoch, row = line(rows, each)
    call, _ = line(rows, times[: len(rows)])
    report.line(
        "small fits, d = 10",
        "fastsgd",
        **{"an epoch beside its rows": f"{1e6 * epoch:.1f} us", "target": "50 us"},
        **{"a row": f"{1e9 * row:.0f} ns", "a call beside its rows": f"{1e6 * call:.0f} us"},
    )
    if check_targets:
        assert epoch < OVERHEAD_TARGET


SMALL = {
    "digits, 1,797 x 64, ten classes": load_digits,
    "breast cancer, 569 x 30": load_breast_cancer,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "each by its defaults": {},
    "100 epochs": {"max_iter": 100, "tol": None},
    "log loss, 20 epochs": {"loss": "log_loss", "max_iter": 20, "tol": None},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", SMALL)
def test_whole_fit(
    name: str, settings: str, benchmark: Any, report: Results, check_targets: bool
) -> None:
    X, y = SMALL[name](return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours, peer = (kind(**SETTINGS[settings], random_state=SEED) for kind in (SGDClassifier, Peer))
    times: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [model.fit(X, y).score(X, y) for model in (ours, peer)]
        works = [lambda: ours.fit(X, y), lambda: peer.fit(X, y)]
        benchmark.pedantic(lambda: times.extend(interleaved(works, 9)), rounds=1)
    assert abs(scores[0] - scores[1]) < 0.03
    ratio = times[1] / times[0]
    report.line(
        "whole fit, standardised",
        name,
        parameters=settings,
        **{"scikit-learn": f"{1e3 * times[1]:.2f} ms", "fastsgd": f"{1e3 * times[0]:.2f} ms"},
        faster=f"{ratio:.1f} x",
        target=f"{SMALL_TARGET:g} x",
        epochs=str(ours.n_iter_),
        **{"theirs": str(peer.n_iter_), "accuracy": f"{scores[0]:.3f}"},
        **{"their accuracy": f"{scores[1]:.3f}"},
    )
    if check_targets:
        assert ratio >= SMALL_TARGET
