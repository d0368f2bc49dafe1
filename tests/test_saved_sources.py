"""Models of sources of rows in files: they read other files as the saved ones did."""

import numpy as np
import pytest
from model_bytes import contents, joined, parts_of
from numpy.testing import assert_array_equal
from people import people

from fastsgd import Checkpoint, SGDClassifier, SGDOneClassSVM, SGDRegressor, load
from fastsgd.data import first_pass

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.filterwarnings("ignore:Maximum number of iteration")

OPTIONS = {
    "hashed": {"text": "note", "hash_bits": 8, "keep_names": 12, "missing": "zero"},
    "without names": {"text": "note", "hash_bits": 6, "missing": "zero"},
    "numbers": {"features": ["age", "children"]},
    "means": {"features": ["age", "income"], "missing": "mean"},
    "two targets": {"features": ["age"], "target": ["y", "children"]},
}


def table(rows=200, seed=0):
    income = np.where(np.arange(rows) % 7 == 0, np.nan, np.arange(rows) % 5)
    return people(rows, seed).append_column("income", pa.array(income, from_pandas=True))


@pytest.fixture
def files(tmp_path):
    """A file to fit, and another one to predict."""
    paths = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for seed, path in enumerate(paths):
        parquet.write_table(table(seed=seed), path)
    return paths


@pytest.mark.parametrize("name", OPTIONS)
def test_a_loaded_model_predicts_another_file(name, files, tmp_path):
    options = {"target": "y", **OPTIONS[name]}
    kind = SGDRegressor if name == "two targets" else SGDClassifier
    model = kind(random_state=0, max_iter=5).fit(files[0], **options)
    assert (name == "hashed") == hasattr(model, "hashed_names_")
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.columns_ == model.columns_
    assert vars(loaded).get("hashed_names_") == vars(model).get("hashed_names_")
    assert_array_equal(loaded.predict(files[1]), model.predict(files[1]))
    assert contents(loaded) == contents(model)
    loaded.partial_fit(files[1])
    model.partial_fit(files[1])
    assert_array_equal(loaded.coef_, model.coef_)


@pytest.mark.parametrize("pool_bytes", (1, 1 << 29))
def test_names_of_a_cache_that_was_there(pool_bytes, files, tmp_path, monkeypatch):
    """The names that were met when the rows were read for the cache are in its manifest."""
    monkeypatch.setattr(first_pass, "SAMPLE_ROWS", 50)
    options = {"target": "y", **OPTIONS["hashed"], "pool_bytes": pool_bytes}
    plain = SGDClassifier(random_state=0, max_iter=2).fit(files[0], **options)
    for _ in range(2):
        model = SGDClassifier(random_state=0, max_iter=2)
        model.fit(files[0], cache=tmp_path / "cache", **options)
        assert len(model.hashed_names_) == 12
        assert model.hashed_names_ == plain.hashed_names_


def test_a_checkpoint_predicts_another_file(files, tmp_path):
    folder = tmp_path / "fit"
    for _ in range(2):  # the second one goes on from the last file
        model = SGDClassifier(random_state=0, max_iter=3, tol=None).fit(
            files[0],
            target="y",
            **OPTIONS["hashed"],
            checkpoint=Checkpoint(folder, every=0),
            resume=folder,
        )
    last = load(sorted(folder.iterdir())[-1])
    assert last.hashed_names_ == model.hashed_names_
    assert_array_equal(last.predict(files[1]), model.predict(files[1]))


def test_a_fit_on_arrays_forgets_the_columns(files, tmp_path):
    model = SGDOneClassSVM(random_state=0, max_iter=2).fit(files[0], features=["age"])
    assert model.columns_.target is None
    model.fit(np.ones((5, 2)))
    model.save(tmp_path / "model.safetensors")
    assert not hasattr(load(tmp_path / "model.safetensors"), "columns_")


def damaged(description, path, value):
    """A description with another value at a path of keys."""
    *parents, last = path
    for key in parents:
        description = description[key]
    description[last] = value


COLUMNS = ("attributes", "columns_", "Columns")
NAMES = ("attributes", "hashed_names_")


@pytest.mark.parametrize(
    ("path", "value", "match"),
    (
        ((*COLUMNS, "hash_bits"), 9, "columns_ must make"),
        ((*COLUMNS, "hash_bits"), True, "hash_bits=True"),
        ((*COLUMNS, "numeric"), {"tuple": ["age"]}, "columns_ must make"),
        ((*COLUMNS, "numeric"), {"tuple": ["age", "age", "income"]}, "a feature twice"),
        ((*COLUMNS, "numeric"), {"tuple": ["age", 3, "income"]}, "numeric="),
        ((*COLUMNS, "numeric"), ["age", "children", "income"], "numeric="),
        ((*COLUMNS, "kinds"), {"tuple": ["number"]}, "as many as categorical"),
        ((*COLUMNS, "kinds"), {"tuple": ["person", "number"]}, "kinds"),
        ((*COLUMNS, "dtype"), "object", "dtype="),
        ((*COLUMNS, "dtype"), {"tuple": []}, "dtype="),
        ((*COLUMNS, "missing"), "mean", "must have the means"),
        ((*COLUMNS, "means"), {"tuple": [1.0, 2.0, {"float": "nan"}]}, "means that are finite"),
        ((*COLUMNS, "means"), {"tuple": [1.0]}, "as many as numeric"),
        ((*COLUMNS, "target"), 3, "target="),
        ((*COLUMNS, "keep_names"), -1, "keep_names="),
        (("attributes", "columns_"), "age", "columns_ is 'age'"),
        (NAMES, {"dict": []}, "arrays of numbers"),
        (NAMES, None, "arrays of numbers"),
    ),
)
def test_damaged_columns_are_refused(path, value, match, files, tmp_path):
    options = {"target": "y", **OPTIONS["hashed"]}
    model = SGDClassifier(random_state=0, max_iter=2).fit(files[0], **options)
    description, tensors = parts_of(contents(model))
    damaged(description, path, value)
    (tmp_path / "model").write_bytes(joined(description, tensors))
    with pytest.raises(ValueError, match=match):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("numbers", "match"),
    (
        (np.arange(12), "hashed_names_ must be of columns from 3"),
        (np.arange(12) + 250, "hashed_names_ must be of columns"),
        (np.full(12, 5), "a name for each number, once"),
        (np.arange(11) + 5, "a name for each number"),
        (np.arange(12) + 5.0, "cannot be read|float64"),
        (np.arange(12).reshape(3, 4), "arrays of numbers"),
    ),
)
def test_damaged_names_are_refused(numbers, match, files, tmp_path):
    model = SGDClassifier(random_state=0, max_iter=2).fit(files[0], target="y", **OPTIONS["hashed"])
    description, tensors = parts_of(contents(model))
    (name,) = (
        one
        for one in tensors
        if "hashed_names_" in one
        and tensors[one].shape == (12,)
        and tensors[one].min() >= 3
        and one.endswith(".0")
    )
    tensors[name] = numbers
    (tmp_path / "model").write_bytes(joined(description, tensors))
    with pytest.raises(ValueError, match=match):
        load(tmp_path / "model")
    del description["attributes"]["columns_"]
    (tmp_path / "model").write_bytes(joined(description, tensors))
    with pytest.raises(ValueError):
        load(tmp_path / "model")


def test_many_names(files, tmp_path):
    """More names than a description in JSON may have."""
    model = SGDClassifier(random_state=0, max_iter=1).fit(
        files[0], target="y", text="note", hash_bits=18, missing="zero"
    )
    first = len(model.columns_.numeric)
    model.hashed_names_ = {first + i: f"note=a word of some length {i}" for i in range(2**18)}
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").hashed_names_ == model.hashed_names_
