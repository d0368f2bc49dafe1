"""Two threads against one, within one fit: an epoch of the core, interleaved, the best of each.

Bits are asserted to be the same. Ratios need two processors that nobody else uses; they are
asserted with ``--check-targets``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import pytest

from fastsgd import solver
from fastsgd.bench import seconds_of
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule

SEED = 0


@dataclass(frozen=True)
class Benchmark:
    name: str
    shape: tuple[int, int]  # of X
    k: int
    loss: str
    batch_size: int
    momentum: float
    target: float  # times faster than one thread


BENCHMARKS = (
    Benchmark("batch 256 x 500, one lane", (200_000, 500), 1, "log_loss", 256, 0.0, 1.7),
    Benchmark("batch 64 x 784, softmax of 10", (60_000, 784), 10, "softmax", 64, 0.9, 1.4),
    Benchmark("batch 64 x 784, 40 lanes", (20_000, 784), 40, "log_loss", 64, 0.0, 1.4),
)


def problem_of(case: Benchmark) -> tuple[Data, Lanes, Settings]:
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal(case.shape, dtype=np.float32)
    y = rng.integers(0, max(2, case.k), case.shape[0]).astype(np.float32)
    label = 1.0 if case.k == 1 else np.arange(case.k)
    return (
        Data(X, y),
        Lanes(case.k, alpha=1e-4, eta0=1e-3, label=label),
        Settings(
            loss=case.loss,
            sign_targets=True,
            batch_size=case.batch_size,
            optimizer=SGD(case.momentum),
            schedule=Schedule("constant"),
        ),
    )


@pytest.mark.parametrize("case", BENCHMARKS, ids=lambda case: case.name)
def test_two_threads(
    case: Benchmark, benchmark: Any, report: list[dict[str, str]], check_targets: bool
) -> None:
    if joblib.cpu_count() < 2:
        pytest.skip("there is one processor")
    data, lanes, settings = problem_of(case)
    of_threads = [replace(settings, n_jobs=n) for n in (1, 2)]
    states = [solver.State(data, lanes, each) for each in of_threads]
    times: list[list[float]] = []

    def epoch(i: int) -> float:
        return seconds_of(lambda: solver.run_epoch(data, lanes, of_threads[i], states[i]))

    benchmark.pedantic(
        lambda: times[-1].append(epoch(1)), setup=lambda: times.append([epoch(0)]), rounds=9
    )
    for one, two in zip(states[0].weights(settings), states[1].weights(settings), strict=True):
        assert one.tobytes() == two.tobytes()
    one_time, two_time = np.min(times, axis=0)
    ratio = one_time / two_time
    benchmark.extra_info.update(
        one_seconds=one_time, two_seconds=two_time, ratio=ratio, target=case.target
    )
    report.append(
        {
            "two threads": case.name,
            "one": f"{1e9 * one_time / data.n:.0f} ns a row",
            "two": f"{1e9 * two_time / data.n:.0f} ns a row",
            "faster": f"{ratio:.2f} x",
            "target": f"{case.target:g} x",
        }
    )
    if check_targets:
        assert ratio >= case.target
