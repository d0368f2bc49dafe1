"""Files without names of columns: svmlight and NumPy."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import dump_svmlight_file

pytest.importorskip("pyarrow")

from people import read

from fastsgd.data import open_source
from fastsgd.data import text as svmlight_files

ONES = np.ones((3, 2))
NAN = np.where(np.arange(6).reshape(3, 2) == 3, np.nan, 1.0)


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("piece", [1 << 22, 64])
@pytest.mark.parametrize("features", [None, 8])
def test_svmlight(tmp_path, monkeypatch, zero_based, piece, features):
    monkeypatch.setattr(svmlight_files, "PIECE", piece)
    rng = np.random.default_rng(0)
    X = sp.random_array((200, 8), density=0.5, rng=rng).tocsr()
    X[0, 0] = X[7, 7] = 1.0
    X.data = np.ceil(8 * X.data) / 8  # which a few digits write exactly
    y = rng.integers(0, 100, 200) / 8
    paths = [tmp_path / "first.svm", tmp_path / "second.svm"]
    for path, rows in zip(paths, (slice(0, 120), slice(120, 200)), strict=True):
        options = {"zero_based": zero_based, "query_id": np.arange(200)[rows]}
        dump_svmlight_file(X[rows], y[rows], str(path), **options)
    paths[1].write_bytes(b"# a comment\n\n" + paths[1].read_bytes().rstrip(b"\n"))
    source = open_source(paths, features=features)
    assert source.rows == (200 if features is None else None)
    assert source.n_features == 8
    for _ in range(2):
        X_read, y_read, _ = read(source)
        np.testing.assert_array_equal(X_read.toarray(), X.toarray())
        np.testing.assert_array_equal(y_read, y)
    assert len(list(source.blocks())) >= (2 if piece > 64 else 20)
    assert source.fingerprint()["first_index"] == 1 - zero_based
    assert json.dumps(source.fingerprint())


def test_compressed_svmlight(tmp_path):
    with gzip.open(tmp_path / "rows.svm.gz", "wb") as file:
        file.write(b"1 1:2 3:4\n-1 2:1\n")
    X, y, _ = read(open_source(tmp_path / "rows.svm.gz"))
    assert X.toarray().tolist() == [[2, 0, 4], [0, 1, 0]]
    assert y.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("text", "features", "message"),
    [
        ("1 1:1\n1 1:1\nx 1:1\n1 2:2\n", None, "line 3: could not convert"),
        ("1 1:1\n1 2:1 1:1\n", None, "line 2: .*sorted"),
        ("1 1:1\n1 9:1\n", 3, "row 1: index 9 is none of 3 features"),
        ("1 1:1\n1 2:nan\n", None, "row 1: X is NaN, column 1"),
        ("1 1:1\nnan 2:1\n", None, "row 1: y is NaN"),
        ("", None, "no rows"),
        ("1\n", None, "no features"),
    ],
)
def test_bad_svmlight(tmp_path, text, features, message):
    path = tmp_path / "rows.svm"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        list(open_source(path, features=features).blocks())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, monkeypatch, dtype, order):
    monkeypatch.setattr("fastsgd.data.block.BLOCK_ROWS", 100)
    rng = np.random.default_rng(0)
    X = np.asarray(rng.integers(0, 200, (250, 3)), dtype=dtype, order=order)
    y, weight = rng.choice(["no", "yes"], 250), rng.random(250)
    for name, array in (("X", X), ("y", y), ("weight", weight)):
        np.save(tmp_path / f"{name}.npy", array)
    source = open_source(tmp_path / "X.npy", tmp_path / "y.npy", tmp_path / "weight.npy")
    assert (source.rows, source.n_features, len(list(source.blocks()))) == (250, 3, 3)
    X_read, y_read, weight_read = read(source)
    assert X_read.dtype == (np.float64 if dtype is np.int64 else dtype)
    np.testing.assert_array_equal(X_read, X)
    np.testing.assert_array_equal(y_read, y)
    np.testing.assert_array_equal(weight_read, weight)
    for target, expected in ((1, X[:, 1]), (-2, X[:, 1]), ([2, 0], X[:, [2, 0]])):
        source = open_source([tmp_path / "X.npy"] * 2, target=target)
        X_read, y_read, _ = read(source)
        kept = [0, 2] if isinstance(target, int) else [1]
        np.testing.assert_array_equal(X_read, np.tile(X[:, kept], (2, 1)))
        np.testing.assert_array_equal(y_read, np.concatenate([expected, expected]))
        assert source.n_features == len(kept)
        assert json.dumps(source.fingerprint())


def test_bad_npy(tmp_path):
    arrays = {
        "X": ONES,
        "nan": NAN,
        "wide": np.ones((3, 5)),
        "single": ONES.astype(np.float32),
        "flat": np.ones(3),
        "long": np.ones(4),
        "objects": np.array([{}, 1]),
    }
    path = {name: tmp_path / f"{name}.npy" for name in (*arrays, "absent", "text")}
    for name, array in arrays.items():
        np.save(path[name], array, allow_pickle=True)
    path["text"].write_text("no array")
    bad = [
        ({"X": path["nan"]}, "nan.npy, row 1: X is NaN"),
        ({"X": [path["X"], path["wide"]]}, "wide.npy has 5 columns"),
        ({"X": [path["X"], path["single"]]}, "single.npy is of float32"),
        ({"X": path["flat"]}, "X must have 2 dimensions"),
        ({"X": path["X"], "y": path["long"]}, "y has 4 rows, but X 3"),
        ({"X": path["X"], "y": [path["flat"]] * 2}, "as many files"),
        ({"X": path["X"], "y": path["flat"], "target": 0}, "both given"),
        ({"X": path["X"], "target": 2}, "none of number 2"),
        ({"X": path["X"], "target": [0, -2]}, "twice"),
        ({"X": path["X"], "target": [0, 1]}, "no columns for X"),
        ({"X": path["X"], "features": ["a"]}, "features must not"),
        ({"X": path["X"], "categorical": "a"}, "categorical must not"),
        ({"X": path["objects"]}, "cannot|can be read"),
        ({"X": path["text"]}, "text.npy"),
    ]
    for arguments, message in bad:
        with pytest.raises(ValueError, match=message):
            list(open_source(**arguments).blocks())
    for arguments in ({"y": np.ones(3)}, {"target": "y"}, {"sample_weight": 3}):
        with pytest.raises(TypeError):
            open_source(path["X"], **arguments)
    with pytest.raises(FileNotFoundError):
        open_source(path["X"], y=path["absent"])


WITHOUT_PYARROW = """
import sys
import fastsgd.data
assert not {"pyarrow", "sklearn"} & set(sys.modules)
sys.modules["pyarrow"] = None
blocks = fastsgd.data.open_source(lambda: iter([([[1.0]], [1])])).blocks()
assert next(blocks).X.tolist() == [[1.0]]
try:
    fastsgd.data.open_source("rows.parquet")
except ImportError as error:
    print(error)
"""


def test_without_pyarrow():
    """Blocks of a user need none; files say what to install."""
    command = [sys.executable, "-c", WITHOUT_PYARROW]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "pip install 'fastsgd[data]'" in done.stdout
