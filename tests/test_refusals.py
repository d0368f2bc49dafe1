"""Input that is refused in places which no other test reaches: each error names what is wrong.

``tests/coverage.sh python`` said which places these were.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

pytest.importorskip("pyarrow")
pytest.importorskip("xxhash")

from fastsgd import MLPRegressor, SGDClassifier, SGDRegressor
from fastsgd.descent import Descent, VectorDescent
from fastsgd.learning_rate.result import Result
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule
from fastsgd.solver.stopping import Stopping

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)


def fit(source, model=None, **options):
    model = model or SGDRegressor(random_state=0, max_iter=2, tol=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(source, **options)


def block(*arrays):
    """A source of one block."""
    return lambda: iter([arrays])


class Batches:
    """An iterator as gradient boosting libraries take it, whose batches are given."""

    def __init__(self, calls):
        self.calls, self.at = calls, 0

    def reset(self):
        self.at = 0

    def next(self, input_data):
        if self.at == len(self.calls):
            return 0
        for options in self.calls[self.at]:
            input_data(**options)
        self.at += 1
        return 1


ROWS = {"data": X, "label": Y}
SOURCES = {
    "y of dates": (block(X, Y.astype("M8[s]")), "y must be numbers or strings|y"),
    "y of three dimensions": (block(X, Y.reshape(12, 1, 1)), "y must be numbers or strings, got 3"),
    "y of complex numbers": (block(X, Y + 1j), "y"),
    "weights of strings": (block(X, Y, np.array(["a"] * 12)), "sample_weight must be numbers"),
    "weights of two dimensions": (block(X, Y, np.ones((12, 2))), "sample_weight must be numbers"),
    "CSR of complex numbers": (block(sp.csr_array(X + 1j), Y), "X must be a sparse matrix of real"),
    "CSR without columns": (block(sp.csr_array((12, 0)), Y), "X has no columns"),
    "y of columns of strings": (
        block(X, np.full((12, 2), "a")),
        "y with two dimensions|y must be numbers: could not convert string to float",
    ),
    "a batch in two calls": (Batches([[ROWS, ROWS]]), "X.next must call input_data once"),
    "a batch with more": (
        Batches([[{**ROWS, "base_margin": Y}]]),
        "base_margin, which is not used here",
    ),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("cache", (None, "a folder"))
def test_sources(name, cache, tmp_path):
    source, message = SOURCES[name]
    options = {"pool_bytes": 1 << 12, "cache": cache and tmp_path / "cache"}
    with pytest.raises(ValueError, match=message):
        fit(source, **options)
    assert not (tmp_path / "cache").exists()


WORDS = {
    "X": (np.full((12, 3), "a"), Y),
    "X of a list": ([["a"]] * 12, Y),
    "y": (X, np.full(12, "a")),
    "y of objects": (X, np.array(["a"] * 12, dtype=object)),
    "y of a list of columns": (X, [["a", "b"]] * 12),
}


@pytest.mark.parametrize("kind", (SGDRegressor, MLPRegressor))
@pytest.mark.parametrize("name", WORDS)
def test_words_are_no_numbers(name, kind):
    rows, targets = WORDS[name]
    message = f"^{name[0]} must be numbers: could not convert string to float"
    with pytest.raises(ValueError, match=message):
        kind().fit(rows, targets)
    with pytest.raises(ValueError, match=message):
        kind().partial_fit(rows, targets)
    if name.startswith("X"):
        with pytest.raises(ValueError, match=message):
            fit(X, kind(max_iter=2, tol=None), y=Y).predict(rows)


def test_weights_may_be_a_column():
    model, other = (
        fit(block(X, Y, weight)) for weight in (np.arange(12.0), np.arange(12.0)[:, None])
    )
    assert np.array_equal(model.coef_, other.coef_)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "rows.svm").write_text("1 1:0.5\n-1 2:1.5\n")
    pd.DataFrame({"a": X[:, 0], "y": Y}).to_csv(tmp_path / "rows.csv", index=False)
    pd.DataFrame({"a": X[:, 0], "y": Y}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    return tmp_path


FILES = {
    "svmlight with y": ("rows.svm", {"target": "y"}, ValueError, "lines of .* begin with y"),
    "svmlight, features of a name": ("rows.svm", {"features": ["a"]}, TypeError, "be their number"),
    "svmlight, no features": ("rows.svm", {"features": 0}, ValueError, "must be at least 1"),
    "npy with features": ("X.npy", {"features": ["a"]}, ValueError, "features must not be given"),
    "npy with words": ("X.npy", {"text": ["a"]}, ValueError, "text must not be given"),
    "csv with arrays": ("rows.csv", {"y": Y}, ValueError, "y is a column of"),
    "no such file": ("rows-*.csv", {"target": "y"}, FileNotFoundError, "no file is named like"),
    "a broken file": ("broken.parquet", {"target": "y"}, ValueError, "broken.parquet"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name, files):
    file, options, kind, message = FILES[name]
    with pytest.raises(kind, match=message):
        fit(str(files / file), **options)


def test_an_array_that_is_not_there(files):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fit(str(files / "X.npy"), y=str(files / "targets.npy"))


def test_a_table_without_names():
    frame = pd.DataFrame({0: X[:, 0], "y": Y})
    with pytest.raises(ValueError, match="names of columns must be strings"):
        fit(frame, target="y")


def test_squares_beyond_the_range_of_floats():
    """Divergence at once, and what it is of."""
    steps = {"learning_rate": "constant", "eta0": 1.0, "max_iter": 2, "tol": None}
    for size, dtype in ((1e200, np.float64), (1e25, np.float32)):
        with pytest.raises(ValueError, match=f"squares are beyond the range of {np.dtype(dtype)}"):
            fit((X * size).astype(dtype), SGDRegressor(random_state=0, **steps), y=Y)


def test_missing_means_need_a_source_that_can_be_read_twice():
    import pyarrow as pa

    table = pa.table({"a": X[:, 0], "y": Y})
    batches = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    with pytest.raises(ValueError, match="can be read only once"):
        fit(batches, target="y", missing="mean")


# ---------------------------------------------------------------- what the core is given


def data(**options):
    return Data(**{"X": X, "y": Y, **options})


LANE = Lanes(1, alpha=0.0, eta0=0.1)
NOUNS = {
    "offset of CSR": (lambda: data(X=sp.csr_array(X), offset=np.ones(3)), "need dense X"),
    "order of another length": (
        lambda: data(order=np.arange(5), first_row=0, epoch_rows=24),
        "order must be 12 numbers",
    ),
    "order beyond the rows": (
        lambda: data(order=np.arange(12) + 1, first_row=0, epoch_rows=24),
        "order must be row numbers",
    ),
    "complex numbers": (
        lambda: Data(np.zeros((2, 2), dtype=complex), np.zeros(2)),
        "X must be float64 or float32 or float16 or uint8, got complex128",
    ),
    "sparse integers": (
        lambda: Data(sp.csr_array(np.eye(2, dtype=np.int32)), np.zeros(2)),
        "X must be float64 or float32, got int32",
    ),
    "a step that is none": (lambda: Settings(step="newton"), "step must be one of"),
    "a passive step of a batch": (
        lambda: Settings(loss="hinge", sign_targets=True, step="pa1", batch_size=2),
        "step='pa1' needs batch_size=1",
    ),
    "negative counts": (
        lambda: Settings(loss="poisson").check(data(), LANE),
        "y must be >= 0",
    ),
    "one class": (
        lambda: Settings(loss="softmax", sign_targets=True).check(
            data(), Lanes(1, alpha=0.0, eta0=0.1)
        ),
        "a lane for each class",
    ),
}


@pytest.mark.parametrize("noun", (Data, Descent, VectorDescent, Stopping, Schedule, Result))
def test_nouns_do_not_change(noun):
    assert noun.__dataclass_params__.frozen


@pytest.mark.parametrize("noun", (Descent, VectorDescent))
def test_numbers_of_a_descent_are_named(noun):
    assert noun(batch_size=32).batch_size == 32
    with pytest.raises(TypeError, match="positional"):
        noun(32)


@pytest.mark.parametrize("name", NOUNS)
def test_nouns(name):
    make, message = NOUNS[name]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("diagnostics", (False, True))
def test_one_class_after_a_source_of_two(diagnostics):
    """A model is as it was after a source that it cannot be fitted to."""
    model = SGDClassifier(random_state=0, max_iter=2, tol=None)
    fit(X, model, y=(Y > 0).astype(int), diagnostics=diagnostics)
    before = model.coef_.copy()
    with pytest.raises(ValueError, match="class"):
        fit(block(X, np.zeros(12, dtype=int)), model)
    assert np.array_equal(model.coef_, before)
