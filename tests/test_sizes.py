"""Sizes at which integers of 32 bits and memory end, and the smallest ones.

FASTSGD_EXHAUSTIVE=1 adds tables of more than 2**31 and 2**32 values, and a model of more than 2**31
weights. The tables are zeros but for some rows: the system gives zeros that are only read no
memory. The model has its weights once, 9 GB of them; all other tests take less than a gigabyte.
"""

import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import ISAS

from fastsgd import (
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    _core,
    reference,
    solver,
)
from fastsgd.inputs.ranges import check_room
from fastsgd.problem import Data, Lanes, Settings

LONG = pytest.mark.skipif(
    not os.environ.get("FASTSGD_EXHAUSTIVE"), reason="FASTSGD_EXHAUSTIVE=1 runs it: half a minute"
)
STEPS = {"learning_rate": "constant", "eta0": 0.05, "max_iter": 1, "tol": None, "random_state": 0}
PLAIN = {**STEPS, "penalty": None, "fit_intercept": False, "sampling": "sequential"}
NETWORK = {"hidden_layer_sizes": (3,), "max_iter": 1, "tol": None, "random_state": 0}
MODELS = {
    "classifier": SGDClassifier(**STEPS),
    "regressor": SGDRegressor(**STEPS),
    "one class": SGDOneClassSVM(**STEPS),
    "classes": MLPClassifier(**NETWORK),
    "network": MLPRegressor(**NETWORK),
}


def fit(model, X, y):
    return model.fit(X) if isinstance(model, SGDOneClassSVM) else model.fit(X, y)


# ---------------------------------------------------------------- large


@LONG
@pytest.mark.parametrize("values", (2**31, 2**32))
@pytest.mark.parametrize("batch_size", (1, 1000))
def test_more_values_than_32_bits_count(values, batch_size):
    """A row of zeros leaves weights without a penalty alone: those of the other rows are left."""
    d = 1000
    n = values // d + 4000
    X, y = np.zeros((n, d), dtype=np.uint8), np.zeros(n)
    rng = np.random.default_rng(0)
    at = np.unique([0, *rng.integers(0, n, 100), values // d, values // d + 1, n - 1])
    X[at], y[at] = rng.integers(0, 3, (len(at), d)), rng.normal(size=len(at))
    options = {**PLAIN, "eta0": 1e-5 * batch_size, "batch_size": batch_size}
    model = SGDRegressor(**options).fit(X, y)
    assert model.t_ == 1 + -(-n // batch_size)
    w, rows = np.zeros(d), X[at].astype(np.float64)
    for batch in np.unique(at // batch_size):
        mine = at // batch_size == batch
        m = min(n, (batch + 1) * batch_size) - batch * batch_size
        w -= options["eta0"] / m * rows[mine].T @ (rows[mine] @ w - y[at[mine]])
    assert_allclose(model.coef_, w, rtol=1e-3, atol=1e-5 * np.abs(w).max())
    scores = model.predict(X)
    assert_allclose(scores[at], rows @ w, rtol=1e-3, atol=1e-5)
    assert np.count_nonzero(scores) == np.count_nonzero(scores[at])


@pytest.mark.parametrize("multi_class", ("ovr", "multinomial"))
def test_ten_thousand_classes(multi_class):
    """Each row once; those of a few classes are compared with the twin's lanes."""
    k, few = 10_000, 7
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(k, 2)), rng.permutation(k)
    batch_size = 100 if multi_class == "multinomial" else 1
    options = {**STEPS, "multi_class": multi_class, "batch_size": batch_size, "alpha": 0.01}
    model = SGDClassifier("log_loss", **options).fit(X, y)
    assert model.coef_.shape == (k, 2)
    assert_array_equal(model.predict(X[:50]), model.decision_function(X[:50]).argmax(axis=1))
    if multi_class == "multinomial":
        assert_allclose(model.predict_proba(X[:9]).sum(axis=1), 1.0)
        return
    labels = np.array([0, 1, k // 2, *range(k - few + 3, k)])
    problem = (
        Data(X, y.astype(np.float64)),
        Lanes(few, alpha=0.01, eta0=0.05, label=labels),
        Settings(loss="log_loss", sign_targets=True, seed=0),
    )
    state = solver.State(*problem)
    run = _core.Run(*problem, state)
    while state.epoch < 1:
        run.advance(10**9)
    assert_allclose(model.coef_[labels], state.weights(problem[2])[0], rtol=1e-12)


@pytest.mark.parametrize("options", ({}, {"momentum": 0.5}, {"penalty": "l1", "alpha": 1e-3}))
@pytest.mark.parametrize("isa", ISAS)
def test_a_million_columns_in_sixteen_lanes(options, isa, monkeypatch):
    """On CSR a model is that of the columns that have values."""
    monkeypatch.setenv("FASTSGD_ISA", isa)
    d, n, k = 10**6, 60, 16
    rng = np.random.default_rng(0)
    columns = np.unique([0, d - 1, *rng.integers(0, d, 80)])
    places = rng.integers(0, len(columns), (n, 5))
    values, indptr = rng.normal(size=5 * n), np.arange(n + 1) * 5
    wide, narrow = (
        sp.csr_array((values, indices.ravel(), indptr), shape=(n, width))
        for indices, width in ((columns[places], d), (places, len(columns)))
    )
    y = np.arange(n) % k
    model, small = (
        SGDClassifier("log_loss", **{**STEPS, "max_iter": 2, **options}).fit(X, y)
        for X in (wide, narrow)
    )
    assert model.coef_.shape == (k, d)
    assert_allclose(model.coef_[:, columns], small.coef_, rtol=1e-10, atol=1e-12)
    assert np.count_nonzero(model.coef_) == np.count_nonzero(small.coef_) > 0


@pytest.mark.parametrize("index", (np.int32, np.int64))
def test_the_last_columns_that_32_bits_count(index):
    """Scores of a model of weights that are zeros, which take no memory, but for the last ones."""
    d = 2**28 if index == np.int32 else 2**28 + 7
    coef = np.zeros((1, d), dtype=np.float32)
    coef[0, [0, d - 1]] = 2.0, 3.0
    X = sp.csr_array(
        (
            np.array([1.0, 1.0, 5.0], dtype=np.float32),
            np.array([0, d - 1, d - 1], dtype=index),
            np.array([0, 2, 3], dtype=index),
        ),
        shape=(2, d),
    )
    model = SGDRegressor(**STEPS).fit(sp.csr_array(np.eye(3, dtype=np.float32)), np.ones(3))
    model.coef_, model.n_features_in_ = coef[0], d
    model.intercept_ = np.zeros(1, dtype=np.float32)
    assert_array_equal(model.predict(X), [5.0, 15.0])


def memory_left():
    """Bytes, or none where Linux does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


@LONG
@pytest.mark.skipif(memory_left() < 12 << 30, reason="needs 12 GB of memory")
def test_a_fit_of_more_columns_than_32_bits_count():
    """On CSR a model is that of the columns that have values."""
    d, n = 2**31 + 100, 40
    columns = np.array([0, 1, d // 3, 2**31 - 1, 2**31, d - 9, d - 2, d - 1])
    rng = np.random.default_rng(0)
    places, values = rng.integers(0, len(columns), 3 * n), rng.normal(size=3 * n)
    wide, narrow = (
        sp.csr_array(
            (values.astype(np.float32), indices.astype(np.int64), np.arange(n + 1) * 3),
            shape=(n, width),
        )
        for indices, width in ((columns[places], d), (places, len(columns)))
    )
    y = rng.normal(size=n)
    model, small = (SGDRegressor(**{**STEPS, "max_iter": 2}).fit(X, y) for X in (wide, narrow))
    assert model.coef_.shape == (d,)
    assert_array_equal(model.coef_[columns], small.coef_)
    assert np.count_nonzero(model.coef_) == len(columns)
    assert_array_equal(model.predict(wide), small.predict(narrow))


def test_a_batch_of_a_million_rows():
    """Steps of the full gradient."""
    n = 10**6
    X = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    y = X @ np.array([1.0, -2.0, 0.5]) + 1.0
    model = SGDRegressor(**{**STEPS, "max_iter": 4}, penalty=None, batch_size=n).fit(X, y)
    assert model.t_ == 5
    A = np.column_stack([X.astype(np.float64), np.ones(n)])
    w, H, g = np.zeros(4), A.T @ A / n, A.T @ y / n
    for _ in range(4):
        w -= 0.05 * (H @ w - g)
    assert_allclose([*model.coef_, model.intercept_[0]], w, rtol=2e-5)


# ---------------------------------------------------------------- small


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("shape", ((1, 3), (2, 1), (1, 1), (2, 0), (0, 3), (0, 0)), ids=str)
def test_one_row_one_column_and_none(shape, make, name):
    n, d = shape
    model, X = MODELS[name], make(np.linspace(0.5, 1.0, n * d).reshape(shape))
    classifies = name in ("classifier", "classes")
    if 0 in shape or (classifies and n == 1):
        missing = "0 feature" if n and not d else "0 sample" if n == 0 else "class"
        with pytest.raises(ValueError, match=missing):
            fit(model, X, np.arange(n))
        return
    fitted = fit(model, X, np.arange(n))
    assert np.isfinite(np.asarray(fitted.predict(X), dtype=float)).all()


@pytest.mark.parametrize("batch_size", (1, 4))
@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
def test_one_row_of_one_column_is_the_twins(make, batch_size):
    X, y = np.array([[2.0]]), np.array([3.0])
    model = SGDRegressor(**{**STEPS, "max_iter": 5}, alpha=0.1, batch_size=batch_size)
    model.fit(make(X), y)
    problem = Data(X, y), Lanes(1, alpha=0.1, eta0=0.05), Settings(batch_size=batch_size)
    twin = reference.State(*problem)
    for _ in range(5):
        reference.run_epoch(*problem, twin)
    assert_allclose(model.coef_, twin.W[:, 0], rtol=1e-12)
    assert_allclose(model.intercept_, twin.b, rtol=1e-12)


# ---------------------------------------------------------------- no memory


WIDTHS = (2**40, 2**47, 2**62)


def empty(d, n=6):
    """CSR of so many columns with two values a row."""
    indices = np.array([[i, d - 1 - i] for i in range(n)], dtype=np.int64).ravel()
    return sp.csr_array((np.ones(2 * n), indices, np.arange(n + 1) * 2), shape=(n, d))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("method", ("fit", "partial_fit"))
def test_models_that_are_too_wide_are_refused_before_any_work(method, d, name):
    model = MODELS[name].__class__(**MODELS[name].get_params())
    given = (empty(d),) if name == "one class" else (empty(d), np.arange(6) % 2)
    more = {"classes": [0, 1]} if method == "partial_fit" and "class" in name else {}
    more = {} if name == "one class" else more
    with pytest.raises(MemoryError, match=r"features of X.* take [\d,]+ bytes"):
        getattr(model, method)(*given, **more)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("sizes", ((10**13,), (10**7, 10**7), (2**62,)))
@pytest.mark.parametrize("kind", (MLPClassifier, MLPRegressor))
def test_layers_that_are_too_large_are_refused_before_any_work(kind, sizes):
    model = kind(hidden_layer_sizes=sizes)
    with pytest.raises(MemoryError, match="hidden_layer_sizes"):
        model.fit(np.eye(4), np.arange(4) % 2)
    assert not hasattr(model, "coefs_")


def test_room_that_there_is():
    check_room("a few weights", 10, np.float32)
    with pytest.raises(MemoryError, match=r"^too many weights take 4,000,000,000,000,000 bytes"):
        check_room("too many weights", 10**15, np.float32)


def rows_that_are_copied():
    """In a child with little memory: X has room, the float64 that is made of it has not."""
    X = np.ones((1500, 4000), dtype=np.int16)
    y = np.arange(1500) % 2
    model = SGDClassifier(**STEPS).fit(np.eye(2), [0, 1])
    coef = model.coef_.copy()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, limit))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, y)
        except MemoryError as error:
            assert "Unable to allocate" in str(error)
        else:
            raise AssertionError("48 MB of 30")
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        assert np.array_equal(model.coef_, coef)
        assert model.fit(X, y).coef_.shape == (1, 4000)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_copies_that_memory_has_no_room_for():
    """A MemoryError; the model is as it was, and fits where there is room again."""
    paths = [os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert child.returncode == 0, child.stderr


if __name__ == "__main__":
    rows_that_are_copied()
