"""Dense X as it is stored: float16 and uint8 against float32, standardised in the step or before.

Out of cache, one lane, one row a step, logistic loss, L2. The numbers are counts that every type
holds, so that the models of one instruction set must be the same bits; ``--check-targets`` asserts
the speed-ups asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from results import Results
from sklearn.preprocessing import StandardScaler
from test_speed import dense

from fastsgd import SGDClassifier, _core, solver
from fastsgd.bench import seconds_of
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule

ROWS, FEATURES = 200_000, 784  # 157 MB as uint8
ROUNDS = 9
TYPES = ("float32", "float16", "uint8")
TARGETS = {"float16": 1.35, "uint8": 1.9}
"""Epochs of float32 for one of this type; float16 on AVX-512."""

STANDARDIZE_TARGET = 1.0
"""Fits after a StandardScaler for one with ``standardize=True``."""


@pytest.fixture(scope="module")
def counts() -> NDArray[np.uint8]:
    """Grey values (ROWS, FEATURES), the rows of a class a little brighter in half the places."""
    return np.random.default_rng(0).integers(0, 256, (ROWS, FEATURES), dtype=np.uint8)


@pytest.fixture(scope="module")
def classes(counts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Which half of a row is brighter, more or less (ROWS,)."""
    half = FEATURES // 2
    left, right = (
        part.sum(axis=1, dtype=np.float32) for part in (counts[:, :half], counts[:, half:])
    )
    noise = np.random.default_rng(1).normal(scale=500.0, size=ROWS)
    return (left - right + noise > 0).astype(np.float32)


def epoch_of(
    data: Data, sampling: str, isa: str
) -> tuple[Callable[[], None], Callable[[], NDArray[np.float32]]]:
    """What trains for one epoch of the core, and what reads the weights."""
    lanes = Lanes(1, alpha=1e-4, eta0=1e-8 if data.scale is None else 1e-4)
    settings = Settings(
        loss="log_loss", sign_targets=True, sampling=sampling, schedule=Schedule("constant")
    )
    state = solver.State(data, lanes, settings)
    run = _core.Run(data, lanes, settings, state, isa=isa)

    def epoch() -> None:
        while not run.advance(1 << 30):
            pass

    return epoch, lambda: state.weights(settings)[0]


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("scaled", (False, True), ids=("plain", "standardised"))
@pytest.mark.parametrize("sampling", ("sequential", "reshuffle"))
def test_stored_types(
    sampling: str,
    scaled: bool,
    isa: str,
    counts: NDArray[np.uint8],
    classes: NDArray[np.float32],
    benchmark: Any,
    report: Results,
    read_bandwidth: Any,
    check_targets: bool,
) -> None:
    scaling = (np.full(FEATURES, 127.5), np.full(FEATURES, 1.0 / 74.0)) if scaled else ()
    made = {}
    for name in TYPES:
        data = Data(counts.astype(name, copy=False), classes, None, *scaling)
        made[name] = (*epoch_of(data, sampling, isa), data.X.nbytes)
    rounds: list[dict[str, float]] = []
    benchmark.pedantic(
        lambda: rounds.append({name: seconds_of(each[0]) for name, each in made.items()}),
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    weights = [each[1]() for each in made.values()]
    assert np.ptp(weights[0]) > 0.0
    assert all(np.array_equal(w, weights[0]) for w in weights), "stored types differ"
    times = {name: float(np.median([each[name] for each in rounds])) for name in TYPES}
    ratios = {n: float(np.median([r["float32"] / r[n] for r in rounds])) for n in TYPES}
    benchmark.extra_info.update({"seconds": times, "ratios": ratios, "targets": TARGETS})
    for name in TYPES:
        speed = made[name][2] / times[name]
        report.append(
            {
                f"one epoch, {ROWS:,} x {FEATURES}": f"{name}, {sampling}",
                "instruction set": isa,
                "standardised": "in the step" if scaled else "no",
                "ns a row": f"{1e9 * times[name] / ROWS:.0f}",
                "reads": f"{speed / 1e9:.1f} GB/s",
                "of streaming": f"{speed / read_bandwidth():.0%}",
                "float32 takes": f"{ratios[name]:.2f} x",
                "target": f"{TARGETS[name]} x" if name in TARGETS and not scaled else "",
            }
        )
    if check_targets and not scaled:
        assert ratios["uint8"] >= TARGETS["uint8"] or isa == "scalar"
        assert ratios["float16"] >= TARGETS["float16"] or isa != "avx512"


@pytest.mark.parametrize("name", ("float32, 1,000,000 x 28", "uint8, 200,000 x 784"))
def test_standardize_against_a_scaler(
    name: str,
    counts: NDArray[np.uint8],
    classes: NDArray[np.float32],
    benchmark: Any,
    report: Results,
    check_targets: bool,
) -> None:
    """Whole calls, five epochs: StandardScaler needs another X, here of float32."""
    X: NDArray[Any] = counts
    y: NDArray[Any] = classes
    if name.startswith("float32"):
        table = dense(1_000_000, 28)
        X, y = 5.0 + 3.0 * table.X, table.y
    same = {"loss": "log_loss", "max_iter": 5, "tol": None, "random_state": 0}
    ours, peer = SGDClassifier(**same, standardize=True), SGDClassifier(**same)
    scaler = StandardScaler()
    rounds: list[tuple[float, float]] = []

    def with_scaler() -> None:
        peer.fit(scaler.fit_transform(X.astype(np.float32, copy=False)), y)

    benchmark.pedantic(
        lambda: rounds.append((seconds_of(lambda: ours.fit(X, y)), seconds_of(with_scaler))),
        rounds=3,
        warmup_rounds=1,
    )
    some = X[:5000]
    expected = peer.decision_function(scaler.transform(some.astype(np.float32)))
    assert np.abs(ours.decision_function(some) - expected).max() < 1e-3 * np.abs(expected).max()
    fit, before = np.median(rounds, axis=0)
    benchmark.extra_info.update(standardize_seconds=fit, scaler_seconds=before)
    report.append(
        {
            "five epochs, standardised": name,
            "in the step": f"{fit:.3g} s",
            "StandardScaler and fit": f"{before:.3g} s",
            "faster": f"{before / fit:.1f} x",
            "target": f"{STANDARDIZE_TARGET:g} x",
        }
    )
    if check_targets:
        assert before / fit >= STANDARDIZE_TARGET


CONVERTED: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
    "int64": lambda X: X.astype(np.int64),
    "uint16": lambda X: X.astype(np.uint16),
    "bool": lambda X: X > 127,
    "longdouble": lambda X: X.astype(np.longdouble),
    "float32, Fortran order": lambda X: np.asfortranarray(X, dtype=np.float32),
    "uint8, Fortran order": np.asfortranarray,
    "lists": lambda X: X.tolist(),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_what_is_converted_once(
    name: str, counts: NDArray[np.uint8], benchmark: Any, report: Results
) -> None:
    """The check of X that every fit begins with, for an X that it must copy."""
    X = CONVERTED[name](counts[: 500 if name == "lists" else 10_000])
    model = SGDClassifier()
    times: list[float] = []
    benchmark.pedantic(
        lambda: times.append(seconds_of(lambda: model._validate(X, reset=True))), rounds=5
    )
    converted = model._validate(X, reset=True)
    benchmark.extra_info.update(bytes_a_value=converted.itemsize)
    report.append(
        {
            "converted once": name,
            "to": str(converted.dtype),
            "ns a value": f"{1e9 * np.median(times) / converted.size:.2f}",
            "bytes a value": str(converted.itemsize),
        }
    )
