"""How good is the model of a default rate after one epoch, a few, or a few calls of partial_fit?

    python benchmarks/short_runs.py                1,500 tables, about a minute; runs of known
                                                   epochs have tol=None
    python benchmarks/short_runs.py --tables 100

Tables of 4 to 1,000 rows and 1 to 7 features, some with features of 1e-8 to 1e4, offsets, absent
values and targets of 1e-3 to 1e3; losses whose rates are searched (fastsgd.learning_rate.search);
batches of 1, 2, half of the rows and all rows. Each line has the loss of the rows divided by that
of weights of zero: its median and 9th decile, and the share of fits that end above 1.1 and 10.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsgd import DivergenceError, SGDRegressor
from fastsgd.losses import LOSSES

RUNS: dict[str, dict[str, Any]] = {
    "fit, 1 epoch": {"max_iter": 1, "tol": None},
    "fit, 3 epochs": {"max_iter": 3, "tol": None},
    "fit, 10 epochs": {"max_iter": 10, "tol": None},
    "fit, 1 epoch, average": {"max_iter": 1, "tol": None, "average": True},
    "fit, at most 3 epochs": {"max_iter": 3},
    "fit, until it stops": {},
    "partial_fit": {},
    "partial_fit, 4 parts": {},
}
SEARCHED = {
    "sgd": ("huber", "epsilon_insensitive", "quantile"),
    "adagrad": (
        *("squared_error", "squared_epsilon_insensitive"),
        *("huber", "epsilon_insensitive", "quantile"),
    ),
}


def table(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A table of few rows, with scales that users forget."""
    n, d = int(rng.choice([4, 8, 10, 20, 50, 200, 1000])), int(rng.integers(1, 8))
    X = rng.normal(size=(n, d)) + rng.choice([0.0, 0.0, 1.0, 5.0])
    scales = rng.integers(4)
    if scales == 1:
        X *= 10.0 ** rng.integers(-8, 5)
    elif scales == 2:
        X *= 10.0 ** rng.integers(-8, 5, size=d)
    if rng.random() < 0.4:
        X *= rng.random(X.shape) < 0.3
    size = np.sqrt(np.square(X).mean(axis=0))
    y = X / np.where(size > 0.0, size, 1.0) @ rng.normal(size=d)
    y += rng.normal(size=n) * rng.choice([0.1, 1.0]) + rng.choice([0.0, 3.0])
    return X, y * 10.0 ** rng.choice([0, 0, 0, -3, 3])


def run(model: SGDRegressor, how: str, X: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Train the model as ``how`` says."""
    if not how.startswith("partial_fit"):
        model.set_params(**RUNS[how]).fit(X, y)
        return
    size = max(1, len(y) // 4) if how.endswith("parts") else len(y)
    for i in range(0, len(y), size):
        model.partial_fit(X[i : i + size], y[i : i + size])


def loss_ratio(model: SGDRegressor, X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Mean loss divided by that of weights of zero."""
    loss, parameter = (
        LOSSES[model.loss],
        model.quantile if model.loss == "quantile" else model.epsilon,
    )
    at_zero = loss.value(np.zeros(len(y)), y, parameter).mean()
    return float(loss.value(model.predict(X), y, parameter).mean() / at_zero)


def ratios(optimizer: str, tables: int) -> dict[str, NDArray[np.float64]]:
    """The :func:`loss_ratio` of each kind of run on so many tables; inf where one diverges."""
    found: dict[str, list[float]] = {how: [] for how in RUNS}
    for seed in range(tables):
        rng = np.random.default_rng(seed)
        X, y = table(rng)
        settings: dict[str, Any] = {
            "loss": str(rng.choice(SEARCHED[optimizer])),
            "batch_size": int(rng.choice([1, 2, max(1, len(y) // 2), len(y)])),
            "penalty": rng.choice([None, "l2"]),
            "optimizer": optimizer,
            "random_state": 0,
        }
        if np.abs(y).max() <= 0.1:  # a loss of weights of zero may be 0
            continue
        for how in RUNS:
            model = SGDRegressor(**settings)
            try:
                run(model, how, X, y)
                found[how].append(loss_ratio(model, X, y))
            except DivergenceError:
                found[how].append(np.inf)
    return {how: np.array(values) for how, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=int, default=1500)
    tables = parser.parse_args().tables
    warnings.simplefilter("ignore")
    print(f"{'':32} {'median':>7} {'90 %':>7} {'> 1.1':>7} {'> 10':>7}")
    for optimizer in SEARCHED:
        for how, found in ratios(optimizer, tables).items():
            middle, most = np.quantile(found, [0.5, 0.9])
            above = 100.0 * np.array([(found > 1.1).mean(), (found > 10.0).mean()])
            print(
                f"{optimizer + ', ' + how:32} {middle:7.3f} {most:7.3f} {above[0]:6.1f}%"
                f" {above[1]:6.1f}%"
            )


if __name__ == "__main__":
    main()
