"""Epochs of networks against PyTorch, Keras and scikit-learn, in turns, one thread each.

Every solver does epochs over the same float32 rows in the same batches, with the same step:
``partial_fit`` of fastsgd and scikit-learn; of PyTorch the loop of its tutorials over a random
permutation, eager and by ``torch.compile``, with weight decay for the penalty; of Keras ``fit`` on
PyTorch. Medians of the turns. The peak is that of NumPy's product of two matrices of 1,024 x 1,024
in the same run: the share of it counts the operations of the three products of a layer (two in the
first), and nothing else.

    pytest benchmarks/test_networks.py            # --quick: a tenth of the rows
    pytest benchmarks/test_networks.py -k accuracy

A solver that is not installed is left out, with its reason.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from datasets import fashion
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as PeerClassifier
from sklearn.neural_network import MLPRegressor as PeerRegressor

from fastsgd import MLPClassifier, MLPRegressor
from fastsgd.bench import seconds_of

ALPHA, RATE = 1e-4, 1e-3
LONGEST_KERAS = 100_000
"""Rows of an epoch of Keras at most: a batch takes it some milliseconds."""
SEEDS = 12
"""Of the fits whose accuracies are compared: those of one solver differ by 0.3 points."""


@dataclass(frozen=True)
class Benchmark:
    name: str
    sizes: tuple[int, ...]  # features, hidden units, outputs
    rows: int
    batch: int
    solver: str = "sgd"
    values: int = 0  # of a CSR row; 0: dense
    targets: tuple[tuple[str, float], ...] = ()  # times as fast as a peer, or a share of the peak

    @property
    def is_regression(self) -> bool:
        return self.sizes[-1] == 1

    def operations(self, rows: int) -> float:
        """Multiplications and additions of the products of an epoch."""
        layers = [a * b for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        first = (self.values or self.sizes[0]) * self.sizes[1]
        return rows * (4.0 * first + 6.0 * sum(layers[1:]))


BENCHMARKS = (
    Benchmark(
        "784-64-10, batch 64, momentum",
        (784, 64, 10),
        60_000,
        64,
        targets=(("PyTorch", 4.0), ("scikit-learn", 6.0), ("of the peak", 0.5)),
    ),
    Benchmark(
        "784-64-10, batch 64, Adam", (784, 64, 10), 60_000, 64, "adam", 0, (("PyTorch", 3.0),)
    ),
    Benchmark(
        "28-32-1, batch 32, momentum",
        (28, 32, 1),
        1_000_000,
        32,
        targets=(("PyTorch", 15.0), ("scikit-learn", 5.0)),
    ),
    Benchmark(
        "784-512-512-10, batch 128, momentum",
        (784, 512, 512, 10),
        60_000,
        128,
        targets=(("PyTorch", 1.2), ("of the peak", 0.7)),
    ),
    Benchmark(
        "CSR 47,236-64-20, 75 a row, batch 64, momentum",
        (47_236, 64, 20),
        20_000,
        64,
        values=75,
        targets=(("scikit-learn", 10.0),),
    ),
    Benchmark(
        "CSR 47,236-64-20, 75 a row, batch 64, Adam", (47_236, 64, 20), 5_000, 64, "adam", values=75
    ),
)


def rows_of(case: Benchmark, rows: int) -> tuple[Any, np.ndarray]:
    """Fashion-MNIST for 784 features, else generated rows."""
    rng = np.random.default_rng(0)
    d, outputs = case.sizes[0], case.sizes[-1]
    if case.values:
        columns = np.sort(rng.random((rows, case.values)) ** 2 * d, axis=1).astype(np.int32)
        starts = np.arange(0, rows * case.values + 1, case.values, dtype=np.int32)
        values = rng.random(rows * case.values, dtype=np.float32)
        X = sp.csr_array((values, columns.ravel(), starts), shape=(rows, d))
        X.sum_duplicates()
        return X, rng.integers(0, outputs, rows)
    if d == 784:
        table = fashion()
        return np.ascontiguousarray(table.X[:rows]), table.y[:rows]
    X = rng.standard_normal((rows, d), dtype=np.float32)
    return X, (X @ rng.standard_normal((d, 1), dtype=np.float32))[:, 0]


def settings(case: Benchmark) -> dict[str, Any]:
    return {
        "hidden_layer_sizes": case.sizes[1:-1],
        "solver": case.solver,
        "alpha": ALPHA,
        "batch_size": case.batch,
        "learning_rate_init": RATE,
        "random_state": 0,
    }


def estimator(case: Benchmark, kinds: tuple[Any, Any], X: Any, y: np.ndarray) -> Callable[[], Any]:
    """An epoch of ``partial_fit``."""
    model = kinds[case.is_regression](**settings(case))
    classes = {} if case.is_regression else {"classes": np.unique(y)}

    def epoch() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.partial_fit(X, y, **classes)

    return epoch


def pytorch(case: Benchmark, X: Any, y: np.ndarray, *, compiled: bool) -> Callable[[], Any]:
    """An epoch of PyTorch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers: list[Any] = []
    for inputs, outputs in zip(case.sizes[:-1], case.sizes[1:], strict=True):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model: Any = torch.nn.Sequential(*layers[:-1])
    kind = torch.optim.Adam if case.solver == "adam" else torch.optim.SGD
    how = {} if case.solver == "adam" else {"momentum": 0.9, "nesterov": True}
    optimizer = kind(model.parameters(), lr=RATE, weight_decay=ALPHA / case.batch, **how)
    model = torch.compile(model) if compiled else model
    rows = torch.from_numpy(X)
    y = y.astype(np.float32)[:, None] if case.is_regression else y.astype(np.int64)
    targets = torch.from_numpy(y)
    loss = torch.nn.MSELoss() if case.is_regression else torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for batch in torch.randperm(len(rows)).split(case.batch):
            optimizer.zero_grad(set_to_none=True)
            loss(model(rows[batch]), targets[batch]).backward()
            optimizer.step()

    return epoch


def keras(case: Benchmark, X: Any, y: np.ndarray) -> Callable[[], Any]:
    """An epoch of Keras on PyTorch, by ``fit``."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras as library
    import torch

    torch.set_num_threads(1)
    library.utils.set_random_seed(0)
    *hidden, outputs = case.sizes[1:]
    layers = [library.layers.Dense(units, activation="relu") for units in hidden]
    model = library.Sequential([*layers, library.layers.Dense(outputs)])
    optimizers, decay = library.optimizers, ALPHA / case.batch
    if case.solver == "adam":
        optimizer = optimizers.Adam(RATE, weight_decay=decay)
    else:
        optimizer = optimizers.SGD(RATE, momentum=0.9, nesterov=True, weight_decay=decay)
    losses = library.losses
    of_classes = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, losses.MeanSquaredError() if case.is_regression else of_classes)

    def epoch() -> None:
        model.fit(X, y, batch_size=case.batch, verbose=0)

    return epoch


def peak() -> float:
    """Operations a second of NumPy's product, the best of ten."""
    a = np.ones((1024, 1024), dtype=np.float32)
    return 2.0 * 1024**3 / min(seconds_of(lambda: a @ a) for _ in range(10))


def solvers(case: Benchmark, X: Any, y: np.ndarray, report: Any) -> dict[str, Callable[[], Any]]:
    """An epoch of each solver that is there."""
    found = {
        "fastsgd": estimator(case, (MLPClassifier, MLPRegressor), X, y),
        "scikit-learn": estimator(case, (PeerClassifier, PeerRegressor), X, y),
    }
    if case.values:
        return found
    for name, compiled in (("PyTorch", False), ("torch.compile", True)):
        try:
            epoch = pytorch(case, X, y, compiled=compiled)
            if compiled:
                epoch()  # compiles
            found[name] = epoch
        except Exception as error:  # whatever a compiler or a missing library says
            report.skipped(f"{name}: {str(error).splitlines()[0][:120]}")
    if len(X) <= LONGEST_KERAS:
        try:
            found["Keras"] = keras(case, X, y)
        except ImportError as error:
            report.skipped(f"Keras: {error}")
    return found


@pytest.mark.parametrize("case", BENCHMARKS, ids=lambda case: case.name)
def test_epoch(
    case: Benchmark, benchmark: Any, report: Any, quick: bool, check_targets: bool
) -> None:
    rows = case.rows // 10 if quick else case.rows
    X, y = rows_of(case, rows)
    epochs = solvers(case, X, y, report)
    times: dict[str, list[float]] = {name: [] for name in epochs}

    def turn() -> None:
        for name, epoch in epochs.items():
            times[name].append(seconds_of(epoch))

    benchmark.pedantic(turn, rounds=3, warmup_rounds=1)
    best = {name: median(taken[1:]) for name, taken in times.items()}
    ours = best.pop("fastsgd")
    found = {name: seconds / ours for name, seconds in best.items()}
    found["of the peak"] = case.operations(rows) / ours / peak()
    benchmark.extra_info.update(seconds=ours, **found)
    asked = dict(case.targets)
    cells = {"an epoch": f"{1e3 * ours:.1f} ms", "a row": f"{1e9 * ours / rows:.0f} ns"}
    for name, value in found.items():
        unit = f"{value:.0%}" if name == "of the peak" else f"{value:.1f} x"
        target = asked.get(name)
        wanted = "" if target is None else f" [{target:.0%}]" if target < 1 else f" [{target:g} x]"
        cells[name] = unit + wanted
    report.line("network", case.name, **cells)
    if check_targets:
        assert all(found[name] >= target for name, target in asked.items() if name in found)


def test_two_threads(benchmark: Any, report: Any, check_targets: bool) -> None:
    """784-256-10 in batches of 256: an epoch with two threads, and the same bits."""
    X, y = rows_of(BENCHMARKS[0], 20_000)
    common = {"hidden_layer_sizes": (256,), "batch_size": 256, "solver": "sgd", "random_state": 0}
    models = [MLPClassifier(**common, n_jobs=n) for n in (1, 2)]
    times: list[list[float]] = []
    classes = np.unique(y)

    def turn() -> None:
        times.append([seconds_of(lambda m=m: m.partial_fit(X, y, classes=classes)) for m in models])

    benchmark.pedantic(turn, rounds=7, warmup_rounds=1)
    for one, two in zip(models[0].coefs_, models[1].coefs_, strict=True):
        assert one.tobytes() == two.tobytes()
    one_time, two_time = np.min(times, axis=0)
    report.line(
        "two threads",
        "network 784-256-10, batch 256",
        one=f"{1e9 * one_time / len(X):.0f} ns a row",
        two=f"{1e9 * two_time / len(X):.0f} ns a row",
        faster=f"{one_time / two_time:.2f} x",
        target="1.7 x",
    )
    if check_targets:
        assert one_time / two_time >= 1.7


@pytest.mark.thorough
def test_accuracy(benchmark: Any, report: Any, check_targets: bool) -> None:
    """Test accuracy on Fashion-MNIST at the defaults, ten epochs, means over ``SEEDS``."""
    table = fashion()
    X, y = np.ascontiguousarray(table.X), table.y
    found: dict[str, list[float]] = {"fastsgd": [], "scikit-learn": []}

    def fits() -> None:
        for seed in range(SEEDS):
            for name, kind in (("fastsgd", MLPClassifier), ("scikit-learn", PeerClassifier)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model = kind(max_iter=10, random_state=seed).fit(X[:60_000], y[:60_000])
                found[name].append(100.0 * model.score(X[60_000:], y[60_000:]))
            try:
                accuracy = pytorch_accuracy(X, y, seed)
            except ImportError as error:
                report.skipped(f"PyTorch: {error}")
            else:
                found.setdefault("PyTorch", []).append(accuracy)

    benchmark.pedantic(fits, rounds=1)
    for name, scores in found.items():
        report.line(
            "accuracy on Fashion-MNIST, 10 epochs of the defaults",
            name,
            mean=f"{np.mean(scores):.2f} %",
            error=f"{np.std(scores, ddof=1) / np.sqrt(len(scores)):.2f}",
        )
    if check_targets:
        peers = [np.mean(scores) for name, scores in found.items() if name != "fastsgd"]
        assert np.mean(found["fastsgd"]) >= max(peers) - 0.3


def pytorch_accuracy(X: np.ndarray, y: np.ndarray, seed: int) -> float:
    """Of the network, optimizer, batch size and initial weights of scikit-learn's defaults."""
    import torch

    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10)
    )
    for layer in (model[0], model[2]):
        torch.nn.init.xavier_uniform_(layer.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=ALPHA / 200)
    rows, targets, loss = torch.from_numpy(X), torch.from_numpy(y), torch.nn.CrossEntropyLoss()
    for _ in range(10):
        for batch in torch.randperm(60_000).split(200):
            optimizer.zero_grad(set_to_none=True)
            loss(model(rows[batch]), targets[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        predicted = model(rows[60_000:]).argmax(dim=1)
    return 100.0 * float((predicted == targets[60_000:]).float().mean())


def test_noise_scale(benchmark: Any, report: Any, check_targets: bool) -> None:
    """The exact noise scale of all rows, against an epoch of training."""
    from fastsgd.insight import gradient_noise

    case = BENCHMARKS[0]
    X, y = rows_of(case, 20_000)
    model = MLPClassifier(**settings(case), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    times: list[list[float]] = []

    def turn() -> None:
        start = time.perf_counter()
        model.partial_fit(X, y)
        middle = time.perf_counter()
        gradient_noise(model, X, y)
        times.append([middle - start, time.perf_counter() - middle])

    benchmark.pedantic(turn, rounds=5, warmup_rounds=1)
    epoch, noise = np.median(times, axis=0)
    report.line(
        "noise scale of a network",
        case.name,
        epoch=f"{1e3 * epoch:.0f} ms",
        **{"noise scale": f"{1e3 * noise:.0f} ms", "epochs": f"{noise / epoch:.2f} [1.5]"},
    )
    if check_targets:
        assert noise <= 1.5 * epoch
