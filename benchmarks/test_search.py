"""A search over 16 penalties in 5 folds: whole calls against scikit-learn's grid search.

The same epochs at the same rate; input checks, scores of every fold and the fit with the best
penalty included. In random order the two see other orders, and where scores hardly depend on the
penalty they may choose another; in storage order they see the same, and must choose the same. The
target is asserted with ``--check-targets``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from results import Results
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

import fastsgd
from fastsgd.bench import seconds_of

SEED = 0
TARGET = 30.0
"""Times faster than scikit-learn."""

ALPHAS = np.logspace(-7.0, 0.0, 16)
EQUAL = {"learning_rate": "constant", "eta0": 0.005, "max_iter": 5, "tol": None}


def normal(n: int = 100_000, d: int = 28) -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(n, d)).astype(np.float32)
    y = (X @ rng.normal(size=d) + rng.logistic(scale=4.0, size=n) > 0.0).astype(int)
    assert 0.4 < y.mean() < 0.6
    return X, y


def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return scale(X).astype(np.float32), y


CASES = {
    "100,000 x 28": (normal, True),
    "digits": (digits, True),
    "digits, in storage order": (digits, False),
}


@pytest.mark.parametrize("name", CASES)
def test_search_against_grid_search(
    name: str, benchmark: Any, report: Results, check_targets: bool
) -> None:
    make, shuffle = CASES[name]
    X, y = make()
    options = {**EQUAL, "shuffle": shuffle, "random_state": SEED}
    grid = {"alpha": ALPHAS}
    ours = fastsgd.GridSearchCV(fastsgd.SGDClassifier("log_loss", **options), grid, cv=5)
    peer = GridSearchCV(SGDClassifier("log_loss", **options), grid, cv=5, n_jobs=1)
    times: list[list[float]] = []  # per round: scikit-learn, fastsgd

    def search() -> None:
        times[-1].append(np.median([seconds_of(lambda: ours.fit(X, y)) for _ in range(3)]))

    benchmark.pedantic(
        search, setup=lambda: times.append([seconds_of(lambda: peer.fit(X, y))]), rounds=3
    )
    theirs, own = np.median(times, axis=0)
    scores = peer.cv_results_["mean_test_score"]
    behind = peer.best_score_ - scores[ours.best_index_]
    error = peer.cv_results_["std_test_score"][peer.best_index_] / np.sqrt(5)
    benchmark.extra_info.update(
        seconds=own, sklearn_seconds=theirs, over_sklearn=theirs / own, target=TARGET, behind=behind
    )
    report.append(
        {
            "16 penalties, 5 folds and the fit of the best": name,
            "GridSearchCV": f"{theirs:.2f} s",
            "fastsgd.GridSearchCV": f"{own:.3f} s",
            "faster": f"{theirs / own:.0f} x",
            "target": f"{TARGET:g} x",
            "alpha": f"{ours.best_params_['alpha']:.2g} / {peer.best_params_['alpha']:.2g}",
            "score": f"{ours.best_score_:.4f} / {peer.best_score_:.4f}",
            "theirs at our alpha": f"-{behind:.4f} (standard error {error:.4f})",
        }
    )
    assert behind <= max(error, 0.002)
    if not shuffle:
        assert ours.best_index_ == peer.best_index_
    if check_targets:
        assert theirs / own >= TARGET
