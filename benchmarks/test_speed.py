"""The figures to reach: fastsgd beside one peer, itself, or the memory, a line of ``ROWS`` each.

One epoch, float32, an intercept, a constant rate, one thread unless said. "fit" is the whole call,
input checks and all; "core" is the epoch alone; the target is for the fit, and for the core where
several models train as lanes or the other side is fastsgd too. Both sides compute the training
loss: fastsgd always does, and scikit-learn always does unless ``early_stopping`` is set, also with
``tol=None``. Targets are ratios within one run, since times drift; sides take turns, and medians
are compared. They are asserted with ``--check-targets``; that both sides learnt the same is always
asserted, and that the core does what the NumPy twin does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import peers
import pytest
from datasets import Table, dense, images, text
from objective import Model, Problem
from results import Results

from fastsgd import reference, solver
from fastsgd.bench import ROUNDING, Case, compare_with_twin, generated_table, seconds_of
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule

ALPHA = 1e-4
LANES = ALPHA * 10.0 ** np.linspace(-2.0, 1.0, 16)
"""The strengths of sixteen lanes."""
SAME = int(np.flatnonzero(np.isclose(LANES, ALPHA))[0])
"""The lane that peers train too."""


@dataclass(frozen=True)
class Ours:
    """How fastsgd trains; what ``Problem`` does not say.

    Attributes
    ----------
    loss : str
        As in ``Problem``.
    lanes : int
        1, or 16 strengths of the penalty in one pass.
    """

    loss: str = "log_loss"
    batch_size: int = 1
    momentum: float = 0.0
    sampling: str = "reshuffle"
    lanes: int = 1
    penalty: str = "l2"
    alpha: float = ALPHA

    def problem(self, table: Table) -> tuple[Data, Lanes, Settings]:
        """The nouns of the solver and of its twin."""
        k, linear = Problem(table, self.loss, self.alpha).k, self.loss == "squared_error"
        alpha = LANES if self.lanes == 16 else self.alpha
        l2 = self.penalty == "l2"
        return (
            Data(table.X, table.y.astype(np.float32)),
            Lanes(
                max(k, self.lanes),
                alpha=alpha if l2 else 0.0,
                l1=0.0 if l2 else alpha,
                eta0=table.eta0,
                label=np.arange(k) if k > 1 else 1.0,
            ),
            Settings(
                loss=self.loss,
                sign_targets=not linear,
                batch_size=self.batch_size,
                optimizer=SGD(self.momentum),
                sampling=self.sampling,
                schedule=Schedule("constant"),
            ),
        )

    def core(self, table: Table) -> Callable[[], Model]:
        """One epoch without what ``fit`` does around it."""
        problem = self.problem(table)

        def epoch() -> Model:
            state = solver.State(*problem)
            solver.run_epoch(*problem, state)
            coef, intercept = state.weights(problem[2])
            one = slice(SAME, SAME + 1) if self.lanes == 16 else slice(None)
            return coef[one], intercept[one]

        return epoch

    def fit(self, table: Table) -> Callable[[], Model]:
        return partial(
            peers.fastsgd(
                Problem(table, self.loss, self.alpha),
                penalty=self.penalty,
                learning_rate="constant",
                eta0=table.eta0,
                batch_size=self.batch_size,
                momentum=self.momentum,
                sampling=self.sampling,
            ),
            1,
        )

    def difference_from_twin(self, table: Table, rows: int = 1000) -> float:
        """|core - twin| / |twin| after an epoch of the first rows."""
        problem = self.problem(table.head(rows))
        trained = []
        for module in (reference, solver):
            state = module.State(*problem)
            module.run_epoch(*problem, state)
            trained.append(np.column_stack(state.weights(problem[2])).astype(np.float64))
        twin, core = trained
        return float(np.linalg.norm(core - twin) / np.linalg.norm(twin))


Work = Callable[[Ours, Table], Callable[[], Model]]
"""What is timed against us, made ready for a table."""


def scikit_learn(ours: Ours, table: Table) -> Callable[[], Model]:
    problem = Problem(table, "log_loss" if ours.loss == "softmax" else ours.loss, ours.alpha)
    options = {"penalty": ours.penalty, "learning_rate": "constant", "eta0": table.eta0}
    return partial(peers.sklearn_sgd(problem, **options), 1)


def pytorch(ours: Ours, table: Table, threads: int = 1) -> Callable[[], Model]:
    problem = Problem(table, ours.loss, ours.alpha)
    options = {"batch_size": ours.batch_size, "momentum": ours.momentum, "threads": threads}
    return partial(peers.pytorch(problem, rate=table.eta0, **options), 1)


def ourselves(table: Callable[[], Table] | None = None, **changes: Any) -> Work:
    """The core with other settings, or on another table: X in another type, say."""
    return lambda ours, same: replace(ours, **changes).core(table() if table else same)


NAMES = {scikit_learn: "scikit-learn SGD", pytorch: "PyTorch"}


@dataclass(frozen=True)
class Row:
    """A figure to reach.

    Attributes
    ----------
    target : float
        Times faster.
    other : str
        What is on the other side, where ``NAMES`` does not say; cores are compared with
        "ourselves", and where lanes are several models, else the whole fit counts.
    """

    name: str
    table: Callable[[], Table]
    ours: Ours
    against: Work
    target: float
    rounds: int = 5
    other: str = ""

    @property
    def whole(self) -> bool:
        return self.ours.lanes == 1 and not self.other.startswith("ourselves")

    @property
    def opponent(self) -> str:
        return self.other or NAMES[self.against]


@cache
def million(targets: str = "logistic") -> Table:
    return dense(1_000_000, 28, targets)


wide = cache(lambda: dense(200_000, 500))
wider = cache(lambda: dense(80_000, 1_300))
sparse = cache(lambda: text(200_000, 47_236, 75))
calm = cache(lambda: replace(sparse(), rate=0.2))  # else the intercept's noise decides the loss
pictures = cache(lambda: images(60_000, 784, 10))
narrow = cache(lambda: dense(100_000, 28, "linear"))

MILLION, WIDE, TEXT = "dense 1,000,000 x 28", "dense 200,000 x 500", "CSR 200,000 x 47,236"
WIDER = "dense 80,000 x 1,300"
PICTURES = "60,000 x 784, ten classes"
SOFTMAX = Ours("softmax", 64, 0.9)

ROWS = (
    Row(MILLION, million, Ours(), scikit_learn, 6.0, 9),
    Row(f"{MILLION}, hinge", million, Ours("hinge"), scikit_learn, 8.0),
    Row(
        f"{MILLION}, squared",
        lambda: million("linear"),
        Ours("squared_error"),
        scikit_learn,
        8.0,
    ),
    Row(f"{MILLION}, L1", million, Ours(penalty="l1"), scikit_learn, 1.0),
    Row(f"{MILLION}, 16 lanes", million, Ours(lanes=16), scikit_learn, 40.0),
    Row(WIDE, wide, Ours(), scikit_learn, 6.0),
    Row(f"{WIDE}, block", wide, Ours(sampling="block"), scikit_learn, 10.0),
    Row(
        f"{WIDE}, storage order",
        wide,
        Ours(sampling="sequential"),
        ourselves(sampling="reshuffle"),
        1.0,
        other="ourselves, shuffled",
    ),
    Row(f"{WIDE}, 16 lanes", wide, Ours(lanes=16), scikit_learn, 40.0, 3),
    Row(TEXT, sparse, Ours(), scikit_learn, 3.0, 9),
    Row(f"{TEXT}, block", calm, Ours(sampling="block"), scikit_learn, 5.0),
    Row(f"{TEXT}, L1", sparse, Ours(penalty="l1", alpha=1e-6), scikit_learn, 1.0),
    Row(f"{TEXT}, 16 lanes", sparse, Ours(lanes=16), scikit_learn, 25.0),
    Row(f"{PICTURES}, each against the rest", pictures, Ours(), scikit_learn, 15.0, 3),
    Row(f"{PICTURES}, softmax, batch 64", pictures, SOFTMAX, pytorch, 10.0),
    Row(
        f"{PICTURES}, softmax, batch 64",
        pictures,
        SOFTMAX,
        partial(pytorch, threads=2),
        10.0,
        other="PyTorch, 2 threads",
    ),
    Row(
        f"{PICTURES}, softmax, batch 64",
        pictures,
        SOFTMAX,
        scikit_learn,
        40.0,
        3,
        other="scikit-learn SGD, each against the rest",
    ),
    Row("dense 100,000 x 28, squared, batch 32", narrow, Ours("squared_error", 32), pytorch, 100.0),
)
TWIN_TARGET = 20.0
AROUND_TARGET = 1.0 / 3.0
"""All that ``fit`` does around an epoch, input checks and labels, as a part of the epoch."""


def available(row: Row) -> None:
    if row.opponent.startswith("PyTorch"):
        pytest.importorskip("torch", exc_type=ImportError)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}, {row.opponent}")
def test_epoch_against(
    row: Row, benchmark: Any, report: Results, read_bandwidth: Any, check_targets: bool
) -> None:
    available(row)
    ours, table = row.ours, row.table()
    core, peer = ours.core(table), row.against(ours, table)
    fit = ours.fit(table) if row.whole else core
    problem = Problem(table, ours.loss, ours.alpha)
    mine = [problem.loss_of(work()) for work in (fit, core)]
    assert abs(mine[0] - mine[1]) < 1e-3 * mine[0], "fit and core are not the same"
    zero = problem.loss_of((np.zeros((problem.k, problem.d)), np.zeros(problem.k)))
    assert mine[0] < 0.97 * zero, "nothing was learnt"
    if ours.loss == "softmax" and row.against is scikit_learn:
        theirs = np.nan  # another model
    else:
        theirs = problem.loss_of(peer())
        # On CSR scikit-learn's intercept and L1 penalty are others (tests/test_parity.py).
        assert abs(mine[0] - theirs) < (0.06 if table.sparse else 0.02) * theirs
    assert ours.difference_from_twin(table) < ROUNDING * np.finfo(np.float32).eps

    times: list[list[float]] = []  # per round: peer, core, memory, fit

    def time_others() -> None:
        times.append([seconds_of(peer), seconds_of(core), table.bytes / read_bandwidth()])

    def timed_fit() -> None:
        times[-1].append(seconds_of(fit))

    benchmark.pedantic(timed_fit, setup=time_others, rounds=row.rounds)
    peer_time, core_time, memory_time, fit_time = np.median(times, axis=0)
    models = ours.lanes
    per = models * (table.values if table.sparse else len(table.y))
    ratio = models * peer_time / fit_time
    benchmark.extra_info.update(
        fit_seconds=fit_time,
        core_seconds=core_time,
        peer_seconds=peer_time,
        ratio=ratio,
        target=row.target,
        losses=[*mine, theirs],
    )
    report.line(
        "one epoch",
        row.name,
        against=row.opponent,
        **{"ns per model and": "non-zero" if table.sparse else "row"},
        theirs=f"{1e9 * models * peer_time / per:.4g}",
        fit=f"{1e9 * fit_time / per:.4g}" if row.whole else "",
        core=f"{1e9 * core_time / per:.4g}",
        faster=f"{ratio:.1f} x",
        target=f"{row.target:g} x",
        **{"core faster": f"{models * peer_time / core_time:.1f} x"},
        **{"around the core": f"{fit_time / core_time - 1.0:.0%}" if row.whole else ""},
        **{"of streaming": f"{memory_time / core_time:.0%}"},
        loss=f"{mine[0]:.4f}",
        **{"their loss": "" if np.isnan(theirs) else f"{theirs:.4f}"},
    )
    if check_targets:
        assert ratio >= row.target
        assert not row.whole or fit_time - core_time <= AROUND_TARGET * core_time


@dataclass(frozen=True)
class Kernel:
    """A core whose reading of X is set beside the memory's.

    Attributes
    ----------
    target : float or None
        Fraction of the streaming bandwidth to reach.
    """

    name: str
    table: Callable[[], Table]
    ours: Ours
    target: float | None = None


def with_samplings(
    name: str, table: Callable[[], Table], ours: Ours, *targets: Any
) -> list[Kernel]:
    """Storage order, blocks, and shuffled."""
    wanted = dict(zip(SAMPLINGS, (*targets, None, None, None), strict=False))
    return [
        Kernel(f"{name}, {kind}", table, replace(ours, sampling=kind), wanted[kind])
        for kind in SAMPLINGS
    ]


SAMPLINGS = ("sequential", "block", "reshuffle")
KERNELS = (
    *with_samplings(WIDE, wide, Ours(), 0.9, 0.75),
    *with_samplings(WIDER, wider, Ours(), 0.9, 0.75),
    *with_samplings(MILLION, million, Ours()),
    *with_samplings(f"{WIDE}, batch 256", wide, Ours(batch_size=256)),
    *with_samplings(f"{MILLION}, batch 256", million, Ours(batch_size=256)),
    *with_samplings(f"{WIDE}, 16 lanes", wide, Ours(lanes=16)),
    *with_samplings(f"{MILLION}, 16 lanes", million, Ours(lanes=16)),
    *with_samplings(TEXT, sparse, Ours()),
    *with_samplings(f"{TEXT}, 16 lanes", sparse, Ours(lanes=16)),
    *with_samplings(f"{PICTURES}, softmax, batch 64", pictures, SOFTMAX),
)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_kernel_against_memory(
    kernel: Kernel, benchmark: Any, report: Results, read_bandwidth: Any, check_targets: bool
) -> None:
    ours, table = kernel.ours, kernel.table()
    core = ours.core(table)
    assert ours.difference_from_twin(table) < ROUNDING * np.finfo(np.float32).eps
    times: list[list[float]] = []
    benchmark.pedantic(
        lambda: times[-1].append(seconds_of(core)),
        setup=lambda: times.append([table.bytes / read_bandwidth()]),
        rounds=5,
        warmup_rounds=0,
    )
    memory_time, core_time = np.median(times, axis=0)
    fraction = memory_time / core_time
    k = ours.problem(table.head(2))[1].k
    report.line(
        "kernels against the memory",
        kernel.name,
        **{"ns a value": f"{1e9 * core_time / table.values:.3f}"},
        **{"ns a value and lane": f"{1e9 * core_time / table.values / k:.3f}"},
        reads=f"{table.bytes / core_time / 1e9:.1f} GB/s",
        memory=f"{table.bytes / memory_time / 1e9:.1f} GB/s",
        fraction=f"{fraction:.0%}",
        target="" if kernel.target is None else f"{kernel.target:.0%}",
    )
    if check_targets and kernel.target is not None:
        assert fraction >= kernel.target


def test_epoch_against_twin(benchmark: Any, report: Results, check_targets: bool) -> None:
    X, targets = generated_table(1_000_000, 28)
    case = Case("", False, X, targets["logistic"], X[:0], X[:0, 0], twin_rows=50_000)
    ours = case.estimators(1)[0]
    twin_time, difference = compare_with_twin(case)
    assert difference < ROUNDING * np.finfo(np.float32).eps
    times: list[float] = []
    benchmark.pedantic(
        lambda: times.append(seconds_of(lambda: ours.fit(case.X, case.y))),
        rounds=5,
        warmup_rounds=1,
    )
    ratio = twin_time / float(np.median(times))
    benchmark.extra_info.update(
        twin_seconds=twin_time, fit_over_twin=ratio, target=TWIN_TARGET, difference=difference
    )
    report.append(
        {
            "one epoch, against the twin": "dense 1,000,000 x 28",
            "twin": f"{twin_time:.3g} s",
            "fit": f"{np.median(times):.3g} s",
            "fit faster": f"{ratio:.0f} x",
            "target": f"{TWIN_TARGET:g} x",
            "difference": f"{difference:.1e}",
        }
    )
    if check_targets:
        assert ratio >= TWIN_TARGET
