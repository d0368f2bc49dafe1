"""Linear model or network, and our network or scikit-learn's: the figures of docs/networks.md.

    python benchmarks/networks.py           # scores of linear models and networks
    python benchmarks/networks.py speed     # times against scikit-learn, in turns

Prints tables in Markdown. Scores are means of five folds; times the median of turns, one thread.
"""

from __future__ import annotations

import os
import sys
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import sklearn.neural_network as peers
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.utils import shuffle

from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor

ROUNDS = 5


def tables() -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """Rows, targets and whether these are classes, by name."""
    digits = datasets.load_digits(return_X_y=True)
    cancer = datasets.load_breast_cancer(return_X_y=True)
    diabetes = datasets.load_diabetes(return_X_y=True)
    moons = datasets.make_moons(4000, noise=0.2, random_state=0)
    friedman = datasets.make_friedman1(4000, n_features=10, noise=1.0, random_state=0)
    linear = datasets.make_regression(4000, 30, n_informative=30, noise=50.0, random_state=0)
    return {
        "digits, 1,797 x 64, 10 classes": (*digits, True),
        "breast cancer, 569 x 30, 2 classes": (*cancer, True),
        "two moons, 4,000 x 2, 2 classes": (*moons, True),
        "diabetes, 442 x 10, real": (*diabetes, False),
        "Friedman 1, 4,000 x 10, real": (*friedman, False),
        "linear with noise, 4,000 x 30, real": (*linear, False),
    }


def scores() -> None:
    """Accuracy or R^2 of a linear model and of a network, and the seconds of the five fits."""
    print("| table | linear | network | seconds, linear | seconds, network |")
    print("|---|---|---|---|---|")
    for name, (X, y, classes) in tables().items():
        X, y = shuffle(X, y, random_state=0)
        y = y if classes else (y - y.mean()) / y.std()
        common = {"standardize": True, "random_state": 0}
        linear = SGDClassifier("log_loss", **common) if classes else SGDRegressor(**common)
        network = (MLPClassifier if classes else MLPRegressor)(**common)
        found = []
        for model in (linear, network):
            start = time.perf_counter()
            found.append((cross_val_score(model, X, y, cv=5).mean(), time.perf_counter() - start))
        (a, s), (b, t) = found
        print(f"| {name} | {a:.3f} | {b:.3f} | {s:.2f} | {t:.2f} |")


def speed() -> None:
    """Milliseconds of an epoch, of ours and of scikit-learn's in turns."""
    rng = np.random.default_rng(0)
    print("| rows | hidden | dtype | ms an epoch | scikit-learn | ratio |")
    print("|---|---|---|---|---|---|")
    for n, d, hidden in ((10_000, 100, (100,)), (10_000, 784, (64,)), (10_000, 20, (32, 32))):
        for dtype in (np.float32, np.float64):
            X = rng.normal(size=(n, d)).astype(dtype)
            y = rng.integers(0, 10, n)
            options = {"hidden_layer_sizes": hidden, "max_iter": 3, "tol": 0.0, "random_state": 0}
            kinds = MLPClassifier, peers.MLPClassifier
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(ROUNDS):
                for kind, taken in zip(kinds, times, strict=True):
                    start = time.perf_counter()
                    kind(**options).fit(X, y)
                    taken.append((time.perf_counter() - start) / 3)
            ours, theirs = (1e3 * float(np.median(taken)) for taken in times)
            size = f"{n:,} x {d} | {hidden} | {np.dtype(dtype)}"
            print(f"| {size} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    speed() if sys.argv[1:] == ["speed"] else scores()
