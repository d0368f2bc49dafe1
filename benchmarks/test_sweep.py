"""Settings by settings against scikit-learn: which cells of the feature table are slow.

Both sides get the same rows, epochs (``tol=None``), penalty, constant rate and seed, one row a
step, in the same run on one thread. scikit-learn has no momentum: a cell with momentum is beside
scikit-learn's without. "fit" is the whole call. "partial_fit" is a further call of a model that has
had one, over the whole of a small table and 500 rows of a large one; "one row" is the same of a
single row. Sides take turns; the least time of each counts, since other work on the machine only
lengthens times. A fit that would take fastsgd longer than ``LONGEST`` is one of the first rows, on
both sides, which "call" then says.

The full product of the settings has thousands of cells. Measured are a covering design, in which
every two values of every two axes meet, and every penalty with averages, momentum and table for
``PRODUCT``; with ``--quick`` the design alone. ``--check-targets`` fails on a cell that is slower
than scikit-learn, and on a geometric mean below ``MEAN_TARGET``.
``--benchmark-json`` keeps every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
from covering import Case, covering
from datasets import SEED, Table, dense, text
from peers import quiet
from results import Results

import fastsgd
from fastsgd.bench import seconds_of

ALPHA = 1e-5
LONGEST = 2.0
"""Seconds."""
PROBE = 20
"""Rows of the fits that both sides do first, for what a first call alone pays for."""
TELLING = 0.1
"""Seconds of a fit from which that of all rows can be forecast; set-up takes less."""
MEAN_TARGET = 4.0
"""Times faster than scikit-learn, the geometric mean over all cells."""

CLASSIFICATION = ("hinge", "log_loss", "modified_huber", "perceptron", "squared_hinge")
REGRESSION = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
PRODUCT = ("log_loss", "squared_error")
"""Losses of which every penalty meets averages, momentum and tables, in float32."""

TWO, TWENTY, REAL = "two classes", "twenty classes", "real targets"
FIT, PARTIAL_FIT, ONE_ROW, PREDICT = "fit", "partial_fit", "one row", "predict one row"


@dataclass(frozen=True)
class Shape:
    """A table of the sweep.

    Attributes
    ----------
    nonzeros : int or None
        Of a row of CSR; None: dense.
    epochs : int
        Of a fit.
    call : int
        Rows of a call of ``partial_fit``.
    """

    rows: int
    features: int
    nonzeros: int | None
    epochs: int
    call: int

    @property
    def small(self) -> bool:
        return self.call == self.rows


SMALLEST, TEXT = "dense 200 x 10", "CSR 20,000 x 47,236"
SHAPES = {
    SMALLEST: Shape(200, 10, None, 20, 200),
    "dense 2,000 x 30": Shape(2_000, 30, None, 20, 2_000),
    "dense 100,000 x 28": Shape(100_000, 28, None, 5, 500),
    "dense 20,000 x 500": Shape(20_000, 500, None, 5, 500),
    TEXT: Shape(20_000, 47_236, 75, 5, 500),
    "CSR 5,000 x 1,000,000": Shape(5_000, 1_000_000, 40, 5, 500),
}
WIDEST = "CSR 5,000 x 1,000,000"
HASHED = "CSR 500 x 1,048,576"
FEW = "dense 1,000 x 28"
OTHERS = {
    HASHED: Shape(500, 1 << 20, 40, 5, 500),
    FEW: Shape(1_000, 28, None, 5, 1_000),
}
"""Beside those of the sweep: for the table of sparse data and small calls."""


@cache
def table(name: str, targets: str, dtype: str) -> Table:
    """The rows of a shape; the rate bears every loss, with momentum too."""
    if dtype == "float64":
        made = table(name, targets, "float32")
        y = made.y.astype(np.float64) if targets == REAL else made.y
        return replace(made, X=made.X.astype(np.float64), y=y)
    shape = (SHAPES | OTHERS)[name]
    size = (shape.rows, shape.features)
    kind = "linear" if targets == REAL else "logistic"
    made = dense(*size, kind) if shape.nonzeros is None else text(*size, shape.nonzeros, kind)
    if targets == TWENTY:
        weights = np.random.default_rng(SEED).standard_normal((shape.features, 20))
        made = replace(made, y=np.argmax(made.X @ weights, axis=1))
    return replace(made, rate=0.1 * made.rate)


@dataclass(frozen=True)
class Cell:
    """What is compared; scikit-learn takes no momentum and one row a step."""

    table: str
    loss: str
    penalty: str | None = "l2"
    average: bool = False
    momentum: float = 0.0
    dtype: str = "float32"
    call: str = FIT
    batch_size: int = 1
    classes: str = TWO

    @property
    def shape(self) -> Shape:
        return (SHAPES | OTHERS)[self.table]

    @property
    def estimator(self) -> str:
        return "SGDRegressor" if self.loss in REGRESSION else "SGDClassifier"

    @property
    def data(self) -> Table:
        return table(self.table, REAL if self.loss in REGRESSION else self.classes, self.dtype)

    def models(self) -> tuple[Any, Any]:
        """fastsgd's estimator and scikit-learn's."""
        same: dict[str, Any] = {
            "loss": self.loss,
            "penalty": self.penalty,
            "alpha": ALPHA,
            "average": self.average,
            "learning_rate": "constant",
            "eta0": self.data.eta0,
            "max_iter": self.shape.epochs,
            "tol": None,
            "random_state": SEED,
        }
        ours = {"momentum": self.momentum, "batch_size": self.batch_size}
        return (
            getattr(fastsgd, self.estimator)(**same, **ours),
            getattr(sklearn.linear_model, self.estimator)(**same),
        )

    def rows(self) -> int:
        """Of the call that is timed."""
        if self.call in (ONE_ROW, PREDICT):
            return 1
        if self.call == PARTIAL_FIT:
            return self.shape.call
        ours, theirs = self.models()

        def seconds(model: Any, rows: int) -> float:
            return seconds_of(lambda: model.fit(self.data.X[:rows], self.data.y[:rows]))

        seconds(theirs, PROBE)
        rows = PROBE
        while (taken := seconds(ours, rows)) < TELLING and 4 * rows <= self.shape.rows:
            rows *= 4
        forecast = taken / rows * self.shape.rows
        if forecast <= LONGEST:
            return self.shape.rows
        return max(PROBE, int(LONGEST / forecast * self.shape.rows))

    def works(self, rows: int) -> list[Callable[[], Any]]:
        """The calls of so many rows that are timed, of fastsgd and of scikit-learn."""
        return [self._work(model, rows) for model in self.models()]

    def _work(self, model: Any, rows: int) -> Callable[[], Any]:
        X, y = self.data.X, self.data.y
        part, targets = X[:rows], y[:rows]
        if self.call == FIT:
            return lambda: model.fit(part, targets)
        first = {} if self.estimator == "SGDRegressor" else {"classes": np.unique(y)}
        model.partial_fit(X[: self.shape.call], y[: self.shape.call], **first)
        if self.call == PREDICT:
            return lambda: model.predict(part)
        return lambda: model.partial_fit(part, targets)


@dataclass(frozen=True)
class Timed:
    """A cell with the least seconds of either side, for a call of so many rows."""

    cell: Cell
    rows: int
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    @property
    def call(self) -> str:
        cut = self.cell.call == FIT and self.rows < self.cell.shape.rows
        return f"fit of {self.rows:,} rows" if cut else self.cell.call


def measured(cell: Cell, quick: bool) -> Timed:
    """At least three turns, unless the first takes longer than ``long`` seconds; more of short."""
    enough, long = (0.15, 1.0) if quick else (0.3, 3.0)
    with quiet():
        works = cell.works(rows := cell.rows())
        turns = [[seconds_of(work) for work in works]]
        while np.sum(turns) < long and (len(turns) < 3 or np.sum(turns) < enough):
            turns.append([seconds_of(work) for work in works])
    return Timed(cell, rows, *np.min(turns, axis=0).tolist())


AXES: dict[str, Sequence[Any]] = {
    "loss": (*CLASSIFICATION, *REGRESSION),
    "penalty": (None, "l2", "l1", "elasticnet"),
    "average": (False, True),
    "momentum": (0.0, 0.9),
    "dtype": ("float32", "float64"),
    "table": tuple(SHAPES),
    "call": (FIT, PARTIAL_FIT, ONE_ROW),
}


def possible(case: Case) -> bool:
    """Calls of one row are for small tables."""
    large = "table" in case and not SHAPES[str(case["table"])].small
    return not (large and case.get("call") == ONE_ROW)


def cells(quick: bool) -> Iterator[Cell]:
    """By table, since both sides are then as warm."""
    chosen = covering(AXES, valid=possible)
    if not quick:
        crossed = ("penalty", "average", "momentum", "table")
        chosen += [
            dict(zip(("loss", *crossed), values, strict=True))
            for values in product(PRODUCT, *(AXES[name] for name in crossed))
        ]
    unique: dict[Cell, None] = dict.fromkeys(Cell(**case) for case in chosen)
    return iter(sorted(unique, key=lambda cell: tuple(SHAPES).index(cell.table)))


def duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms"


def line(timed: Timed) -> dict[str, str]:
    return {
        "call": timed.call,
        "scikit-learn": duration(timed.theirs),
        "fastsgd": duration(timed.ours),
        "faster": f"{timed.ratio:.3g} x",
        "below 1": "" if timed.ratio >= 1.0 else "slower",
    }


def mean(ratios: Sequence[float]) -> float:
    """The geometric one."""
    return float(np.exp(np.mean(np.log(ratios))))


def test_sweep(benchmark: Any, report: Results, quick: bool, check_targets: bool) -> None:
    found: list[Timed] = []
    benchmark.pedantic(
        lambda: found.extend(measured(cell, quick) for cell in cells(quick)), rounds=1
    )
    found.sort(key=lambda timed: timed.ratio)
    for timed in found:
        cell = timed.cell
        report.line(
            "sweep",
            cell.table,
            loss=cell.loss,
            penalty=str(cell.penalty),
            average="yes" if cell.average else "",
            momentum=f"{cell.momentum:g}, theirs 0" if cell.momentum else "",
            dtype=cell.dtype,
            **line(timed),
        )
    report.shorten("sweep", 10)
    groups = {"all": found} | {
        name: [timed for timed in found if timed.cell.table == name] for name in SHAPES
    }
    for name, group in groups.items():
        slower = [timed for timed in group if timed.ratio < 1.0]
        report.line(
            "sweep, geometric means",
            name,
            cells=str(len(group)),
            faster=f"{mean([timed.ratio for timed in group]):.2f} x",
            target=f"{MEAN_TARGET:g} x" if name == "all" else "",
            **{"cells below 1": str(len(slower))},
        )
    benchmark.extra_info["cells"] = [{**asdict(timed), "ratio": timed.ratio} for timed in found]
    if check_targets:
        slow = [timed for timed in found if timed.ratio < 1.0]
        assert not slow, f"{len(slow)} cells are slower than scikit-learn, first {slow[0]}"
        assert mean([timed.ratio for timed in found]) >= MEAN_TARGET


NAMED = {
    f"{TEXT}, L2": Cell(TEXT, "log_loss"),
    f"{TEXT}, average": Cell(TEXT, "log_loss", average=True),
    f"{TEXT}, momentum 0.9": Cell(TEXT, "log_loss", momentum=0.9),
    f"{TEXT}, elastic net": Cell(TEXT, "log_loss", "elasticnet"),
    f"{TEXT}, L1, average": Cell(TEXT, "log_loss", "l1", average=True),
    f"{TEXT}, batches of 32": Cell(TEXT, "log_loss", batch_size=32),
    f"{TEXT}, L1": Cell(TEXT, "log_loss", "l1"),
    f"{TEXT}, 20 classes": Cell(TEXT, "log_loss", classes=TWENTY),
    f"{TEXT}, 20 classes, average": Cell(TEXT, "log_loss", average=True, classes=TWENTY),
    WIDEST: Cell(WIDEST, "log_loss"),
    f"{WIDEST}, average": Cell(WIDEST, "log_loss", average=True),
    "500 hashed rows, d = 2^20": Cell(HASHED, "log_loss", call=PARTIAL_FIT),
    "500 hashed rows, d = 2^20, average": Cell(HASHED, "log_loss", call=PARTIAL_FIT, average=True),
    "one row of 28 features": Cell(FEW, "log_loss", call=ONE_ROW),
    "one row of 28 features, predicted": Cell(FEW, "log_loss", call=PREDICT),
    **{
        f"{SMALLEST}, SGDRegressor, {penalty}": Cell(SMALLEST, "squared_error", penalty)
        for penalty in (None, "l2", "l1", "elasticnet")
    },
}
"""Settings that are common on sparse data, and calls whose set-up counts."""


@pytest.mark.parametrize("name", NAMED)
def test_sparse_data_and_small_calls(
    name: str, benchmark: Any, report: Results, quick: bool, check_targets: bool
) -> None:
    found: list[Timed] = []
    benchmark.pedantic(lambda: found.append(measured(NAMED[name], quick)), rounds=1)
    (timed,) = found
    benchmark.extra_info.update(ours=timed.ours, theirs=timed.theirs, ratio=timed.ratio)
    report.line("sparse data and small calls", name, **line(timed), target="1 x")
    if check_targets:
        assert timed.ratio >= 1.0
