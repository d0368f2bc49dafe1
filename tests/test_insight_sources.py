"""Insight into models of sources: that of arrays where rows fit, else of an even sample of them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from fastsgd import MLPRegressor, SGDClassifier, SGDRegressor
from fastsgd.data import open_source
from fastsgd.estimators import rows as rows_module
from fastsgd.insight import (
    batch_variance,
    compare,
    compare_batch_sizes,
    compare_momentum,
    compare_sampling,
    compare_schedules,
    gradient_noise,
    rate_range,
    stability_report,
)

N, D = 2500, 3
FEW = {"max_iter": 2, "tol": None, "random_state": 0}


def table(n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, D))
    return X, X[:, 0] + 0.3 * rng.normal(size=n), rng.integers(1, 4, n).astype(float)


def source_of(*arrays):
    return lambda: (
        tuple(array[first : first + 400] for array in arrays)
        for first in range(0, len(arrays[0]), 400)
    )


FUNCTIONS = {
    "gradient_noise": gradient_noise,
    "batch_variance": lambda *given: batch_variance(*given, random_state=0),
    "rate_range": lambda *given: rate_range(*given, rates=[1e-3, 1e-2, 0.1], epochs=1),
    "stability_report": stability_report,
}
EXPERIMENTS = {
    "compare": lambda *given: compare(*given, variants={"a": {"eta0": 0.01}}, epochs=1, title="T"),
    "batch sizes": lambda *given: compare_batch_sizes(*given, batch_sizes=(1, 8), epochs=1),
    "sampling": lambda *given: compare_sampling(*given, epochs=1),
    "schedules": lambda *given: compare_schedules(*given, schedules=("auto",), epochs=1),
    "momentum": lambda *given: compare_momentum(*given, momenta=(0.0,), epochs=1),
}


def equal(one, other):
    """Two results are the same, to the bit, but for what was measured of time."""
    if is_dataclass(one):
        for field in fields(one):
            if field.name != "seconds":
                equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, (tuple, list)):
        for ours, theirs in zip(one, other, strict=True):
            equal(ours, theirs)
    elif isinstance(one, dict):
        equal(list(one.items()), list(other.items()))
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [SGDRegressor, MLPRegressor])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_that_fit_are_arrays(name, kind):
    X, y, weight = table(200)
    model = kind(**FEW).fit(X, y, sample_weight=weight)
    for opened in (source_of(X, y, weight), open_source(source_of(X, y, weight))):
        equal(FUNCTIONS[name](model, opened), FUNCTIONS[name](model, X, y, weight))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_of_rows_that_fit_are_of_arrays(name):
    X, y, weight = table(200)
    model = SGDRegressor(**FEW)
    equal(EXPERIMENTS[name](model, source_of(X, y)), EXPERIMENTS[name](model, X, y))
    with pytest.raises(ValueError, match="takes no weights of rows"):
        EXPERIMENTS[name](model, source_of(X, y, weight))


@pytest.mark.parametrize("name", [*FUNCTIONS, *EXPERIMENTS])
def test_others_are_sampled_and_the_result_says_so(name, monkeypatch):
    monkeypatch.setattr(rows_module, "POOL_BYTES", 1 << 14)
    monkeypatch.setattr("fastsgd.data.first_pass.SAMPLE_ROWS", 1024)
    X, _, _ = table()
    y = (X[:, 0] > 0.0).astype(int)
    model = SGDClassifier("log_loss", **FEW).fit(X, y)
    found = (FUNCTIONS | EXPERIMENTS)[name](model, source_of(X, y))
    firsts = {int(np.argmax(y == label)) for label in (0, 1)}  # of each class
    part = [*range(0, N, 4), *sorted(row for row in firsts if row % 4)]
    assert found.sample == f"an even sample of {len(part)} of 2,500 rows"
    assert found.sample in (str(found) if name not in EXPERIMENTS else found.title)
    if name == "gradient_noise":
        np.testing.assert_array_equal(found.trace, gradient_noise(model, X[part], y[part]).trace)


def test_columns_of_the_fit_are_those_of_a_source(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    X, y, _ = table(200)
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1], "y": y}), tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")
    model = SGDRegressor(**FEW).fit(path, target="y")
    equal(gradient_noise(model, path), gradient_noise(model, X[:, :2], y))


def test_targets_beside_an_opened_source_are_refused():
    X, y, _ = table(200)
    with pytest.raises(TypeError, match="X is a source that was opened"):
        gradient_noise(SGDRegressor(**FEW).fit(X, y), open_source(source_of(X, y)), y)
