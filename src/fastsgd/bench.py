"""``python -m fastsgd bench``: fastsgd, its NumPy twin and scikit-learn side by side in one run.

Linear and logistic regression with one row a step, on real data that scikit-learn brings along and
on a generated table. All three train with the same settings; fastsgd and its twin also visit the
rows in the same order, so that their coefficients may differ by rounding only.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn import datasets, linear_model
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import SGDClassifier, SGDRegressor, __version__, _core, reference, solver
from .problem import Data, Lanes, Settings
from .schedules import Schedule

ALPHA = 1e-4
SEED = 0
EPOCHS = 5
"""Epochs behind the coefficients and the scores that are compared."""

ROUNDING = 100
"""Difference between fastsgd and its twin that rounding explains, in machine epsilons."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A table, a model, and how they are timed.

    Attributes
    ----------
    data : str
        Name of the table.
    linear : bool
        Linear regression; else logistic regression, each class against the rest.
    X, y : ndarray of shape (n, d) and (n,)
        Training rows; y holds real targets, or classes numbered from 0.
    X_test, y_test : ndarray of shape (n_test, d) and (n_test,)
        Held-out rows.
    epochs : int
        Epochs of a timed fit.
    repeats : int
        Timed fits.
    twin_rows : int or None
        Train the twin on the first rows of an epoch only; None: on ``EPOCHS`` whole epochs.
    """

    data: str
    linear: bool
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    epochs: int = 100
    repeats: int = 7
    twin_rows: int | None = None

    @property
    def eta0(self) -> float:
        """Learning rate 0.1 / (1 + mean |x|^2): a tenth of what one step in mean can bear."""
        mean_square = float(np.einsum("ij,ij->", self.X, self.X, dtype=np.float64)) / len(self.X)
        return 0.1 / (1.0 + mean_square)

    def problem(self) -> tuple[Data, Lanes, Settings]:
        """The nouns of the solver and of its twin."""
        classes = 1 if self.linear else len(np.unique(self.y))
        labels = np.arange(classes) if classes > 2 else 1.0
        return (
            Data(self.X, self.y.astype(self.X.dtype)),
            Lanes(classes if classes > 2 else 1, alpha=ALPHA, eta0=self.eta0, label=labels),
            Settings(
                loss="squared_error" if self.linear else "log_loss",
                sign_targets=not self.linear,
                seed=SEED,
                schedule=Schedule("constant"),
            ),
        )

    def estimators(self, epochs: int) -> tuple[Any, Any]:
        """fastsgd's and scikit-learn's estimator, with the same parameters."""
        same: dict[str, Any] = {
            "alpha": ALPHA,
            "learning_rate": "constant",
            "eta0": self.eta0,
            "max_iter": epochs,
            "tol": None,
            "random_state": SEED,
        }
        if self.linear:
            return SGDRegressor(**same), linear_model.SGDRegressor(**same)
        same["loss"] = "log_loss"
        return SGDClassifier(**same), linear_model.SGDClassifier(**same)


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes
    ----------
    data, model : str
    rows, features, lanes, epochs : int
        Training rows, features, models trained at once, epochs of a timed fit.
    dtype : str
    eta0 : float
    twin_seconds, fastsgd_seconds, sklearn_seconds : float
        Of an epoch.
    over_twin, over_sklearn : float
        Speed-ups of fastsgd.
    difference, tolerance : float
        |fastsgd - twin| / |twin| over coefficients and intercepts, and what rounding explains.
    metric : {"R2", "accuracy"}
    fastsgd_score, sklearn_score : float
        On held-out rows, after ``EPOCHS`` epochs.
    """

    data: str
    model: str
    rows: int
    features: int
    lanes: int
    epochs: int
    dtype: str
    eta0: float
    twin_seconds: float
    fastsgd_seconds: float
    sklearn_seconds: float
    over_twin: float
    over_sklearn: float
    difference: float
    tolerance: float
    metric: str
    fastsgd_score: float
    sklearn_score: float


# Data.


def real_case(name: str, load: Callable[..., Any], *, linear: bool, repeats: int) -> Case:
    """Data that come with scikit-learn, standardised, a quarter held out."""
    X, y = load(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.25, random_state=SEED, stratify=None if linear else y
    )
    scaler = StandardScaler().fit(X)
    X, X_test = (np.ascontiguousarray(scaler.transform(part)) for part in (X, X_test))
    return Case(name, linear, X, y, X_test, y_test, repeats=repeats)


def generated_table(
    rows: int, features: int, dtype: Any = np.float32
) -> tuple[Array, dict[str, Array]]:
    """Standard normal X (rows, features) and the targets of a linear and of a logistic model.

    The score x . w has unit variance; a linear target adds normal noise of deviation 0.5, a class
    is drawn with probability 1 / (1 + exp(-2 x . w)).
    """
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((rows, features), dtype=dtype)
    w = rng.standard_normal(features)
    score = X @ (w / np.linalg.norm(w)).astype(dtype)
    linear = score + 0.5 * rng.standard_normal(rows, dtype=dtype)
    return X, {
        "linear": linear,
        "logistic": (2.0 * score + rng.logistic(size=rows) > 0).astype(int),
    }


def make_cases(rows: int = 1_000_000, twin_rows: int = 100_000, repeats: int = 3) -> list[Case]:
    """All cases of the table.

    Parameters
    ----------
    rows : int
        Training rows of the generated table; a tenth more are held out.
    twin_rows : int
        Rows of it that the twin trains on.
    repeats : int
        Timed fits on it; three times as many on the small real data.
    """
    X, targets = generated_table(rows + max(1, rows // 10), 28)
    return [
        real_case("diabetes", datasets.load_diabetes, linear=True, repeats=3 * repeats),
        real_case("breast cancer", datasets.load_breast_cancer, linear=False, repeats=3 * repeats),
        real_case("digits", datasets.load_digits, linear=False, repeats=3 * repeats),
        *(
            Case(
                "generated",
                model == "linear",
                *(X[:rows], y[:rows], X[rows:], y[rows:]),
                epochs=EPOCHS,
                repeats=repeats,
                twin_rows=twin_rows if twin_rows < rows else None,
            )
            for model, y in targets.items()
        ),
    ]


# Measurements.


def seconds_of(function: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved(
    functions: Sequence[Callable[[], Any]], repeats: int, tick: Callable[[], Any] = lambda: None
) -> list[float]:
    """Median seconds of each function, called in turn so that a drift of the machine hits all."""
    times = []
    for _ in range(repeats):
        times.append([seconds_of(function) for function in functions])
        tick()
    return [float(median) for median in np.median(times, axis=0)]


def compare_with_twin(case: Case) -> tuple[float, float]:
    """Train twin and core on the same steps.

    Returns
    -------
    seconds : float
        Of an epoch of the twin.
    difference : float
        |core - twin| / |twin| over coefficients and intercepts.
    """
    problem = case.problem()
    n, settings = len(case.X), problem[2]

    def train(module: ModuleType) -> tuple[float, Array]:
        state = module.State(*problem)

        def epoch(rows: int | None = None) -> float:
            return seconds_of(lambda: module.run_epoch(*problem, state, rows))

        if case.twin_rows is None:
            seconds = sum(epoch() for _ in range(EPOCHS)) / EPOCHS
        else:  # one call draws the order of the whole epoch, however few rows it trains on
            start = epoch(1)
            seconds = start + (epoch(case.twin_rows) - start) * n / case.twin_rows
        coef, intercept = state.weights(settings)
        return seconds, np.append(coef, intercept).astype(np.float64)

    (seconds, twin), (_, core) = train(reference), train(solver)
    return seconds, float(np.linalg.norm(core - twin) / np.linalg.norm(twin))


def measure(case: Case, tick: Callable[[], Any] = lambda: None) -> Result:
    """Scores first, which also warms up; then the twin; then the timed fits, in turn."""
    scores = [
        float(model.fit(case.X, case.y).score(case.X_test, case.y_test))
        for model in case.estimators(EPOCHS)
    ]
    twin, difference = compare_with_twin(case)
    tick()
    fits = [lambda m=m: m.fit(case.X, case.y) for m in case.estimators(case.epochs)]
    ours, theirs = (t / case.epochs for t in interleaved(fits, case.repeats, tick))
    data, lanes, _ = case.problem()
    return Result(
        data=case.data,
        model="linear" if case.linear else "logistic",
        rows=data.n,
        features=data.d,
        lanes=lanes.k,
        epochs=case.epochs,
        dtype=case.X.dtype.name,
        eta0=case.eta0,
        twin_seconds=twin,
        fastsgd_seconds=ours,
        sklearn_seconds=theirs,
        over_twin=twin / ours,
        over_sklearn=theirs / ours,
        difference=difference,
        tolerance=ROUNDING * float(np.finfo(case.X.dtype).eps),
        metric="R2" if case.linear else "accuracy",
        fastsgd_score=scores[0],
        sklearn_score=scores[1],
    )


def bandwidth(mebibytes: int = 256, repeats: int = 5) -> float:
    """Bytes a second at which one core reads a float32 array too large for its own caches.

    The faster of its largest value (NumPy) and its square sum (BLAS): both read with wide vectors
    and wait for the memory alone. ``array.sum`` does not; it is bound by its additions.
    """
    array = np.ones(mebibytes << 18, dtype=np.float32)  # (n,)
    with threadpool_limits(1):
        return array.nbytes / min(interleaved([array.max, lambda: array @ array], repeats))


def cpu_model() -> str:
    """What the processor calls itself, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "fastsgd": __version__,
        "instruction_set": _core.isa(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "cpu": cpu_model(),
        "read_bytes_per_second": bandwidth(),
    }


# Output.

COLUMNS = (
    *("data", "model", "rows", "features", "twin", "fastsgd", "sklearn"),
    *("over twin", "over sklearn", "difference", "score", "sklearn's"),
)


def _duration(seconds: float) -> str:
    """Three digits and a unit."""
    unit, size = next(
        ((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= 0.9995 * size),
        ("us", 1e-6),
    )
    value = seconds / size
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def format_table(results: Sequence[Result]) -> str:
    """The results under ``COLUMNS``; text to the left, numbers to the right."""
    lines = [COLUMNS]
    for r in results:
        lines.append(
            (
                r.data,
                r.model if r.lanes == 1 else f"{r.model} x {r.lanes}",
                f"{r.rows:,}",
                str(r.features),
                _duration(r.twin_seconds),
                _duration(r.fastsgd_seconds),
                _duration(r.sklearn_seconds),
                f"{r.over_twin:.0f} x",
                f"{r.over_sklearn:.1f} x",
                f"{r.difference:.1e}",
                f"{r.fastsgd_score:.4f}",
                f"{r.sklearn_score:.4f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([aligned[0], "-" * len(aligned[0]), *aligned[1:]])


def format_header(of: dict[str, Any]) -> str:
    """One line on the machine."""
    return (
        f"fastsgd {of['fastsgd']} ({of['instruction_set']}), Python {of['python']}, "
        f"NumPy {of['numpy']}, scikit-learn {of['scikit-learn']}, {of['cpu']}, "
        f"one core reads {of['read_bytes_per_second'] / 1e9:.1f} GB/s"
    )


def notes(cases: Sequence[Case]) -> list[str]:
    """What the columns mean and how they were measured."""
    parts = sorted({case.twin_rows for case in cases if case.twin_rows is not None})
    scaled = "".join(f"; on generated data, the first {m:,} rows of one, scaled" for m in parts)
    timed = sorted({case.epochs for case in cases}, reverse=True)
    return [
        f"All: batch size 1, L2 alpha {ALPHA:g}, reshuffled every epoch, intercept, constant rate "
        "0.1 / (1 + mean |x|^2);",
        "  real data in float64, generated in float32; x 10: ten classes, each against the rest.",
        "fastsgd, sklearn: time of an epoch. A whole fit, input checks and all, of "
        f"{' (small data) or '.join(map(str, timed))} epochs, divided;",
        "  median of interleaved fits. over twin, over sklearn: how many times faster fastsgd is.",
        f"twin: time of an epoch of fastsgd.reference, over {EPOCHS} epochs{scaled}.",
        "difference: |fastsgd - twin| / |twin|, coefficients and intercepts, after what the twin "
        "trained.",
        f"score: on held-out rows after {EPOCHS} epochs, R2 (linear) or accuracy (logistic); "
        "scikit-learn visits the rows",
        "  in another order, so the two scores differ by the noise of SGD.",
    ]


def run(
    rows: int = 1_000_000, twin_rows: int = 100_000, repeats: int = 3, *, as_json: bool = False
) -> int:
    """Measure and print; parameters as in :func:`make_cases`.

    Returns
    -------
    int
        Exit status: 1 if a difference from the twin is more than rounding, else 0.
    """
    start = time.perf_counter()
    cases = make_cases(rows, twin_rows, repeats)
    header = environment()
    if not as_json:
        print(format_header(header), end="\n\n", flush=True)
    results = []
    ticks = sum(1 + case.repeats for case in cases)
    with tqdm(total=ticks, unit="fit", disable=None, leave=False, file=sys.stderr) as progress:
        for case in cases:
            progress.set_description(f"{case.data}, {len(case.X):,} rows")
            results.append(measure(case, progress.update))
    seconds = time.perf_counter() - start
    if as_json:
        document = {
            "environment": header,
            "settings": {"batch_size": 1, "alpha": ALPHA, "seed": SEED, "epochs": EPOCHS},
            "results": [asdict(result) for result in results],
            "notes": notes(cases),
            "seconds": seconds,
        }
        print(json.dumps(document, indent=2))
    else:
        print(format_table(results), "", *notes(cases), f"Took {seconds:.0f} s.", sep="\n")
    wrong = [r for r in results if not r.difference <= r.tolerance]
    for r in wrong:
        print(
            f"{r.data}, {r.model}: fastsgd and its twin differ by {r.difference:.1e}, more than "
            f"rounding explains ({r.tolerance:.1e})",
            file=sys.stderr,
        )
    return int(bool(wrong))
