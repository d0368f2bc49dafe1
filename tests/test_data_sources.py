"""Sources: every kind of file, table, stream and callable gives the rows it holds, in order."""

import gzip
import json
import os

import numpy as np
import pytest
import scipy.sparse as sp

pa = pytest.importorskip("pyarrow")
csv = pytest.importorskip("pyarrow.csv")
ds = pytest.importorskip("pyarrow.dataset")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

from people import read  # noqa: E402

from fastsgd.data import is_source, open_source  # noqa: E402

ROWS = 500


def numbers(rows=ROWS, seed=0):
    """A table of numeric columns and a target."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "a": rng.normal(size=rows),
            "b": rng.integers(0, 9, rows),
            "y": rng.integers(0, 2, rows),
        }
    )


def write_zst(table, path):
    zstandard = pytest.importorskip("zstandard")
    plain = path.with_name("plain")
    csv.write_csv(table, plain)
    path.write_bytes(zstandard.compress(plain.read_bytes()))


def write_gz(table, path):
    with gzip.open(path, "wb") as file:
        csv.write_csv(table, file)


def write_tsv(table, path):
    csv.write_csv(table, path, csv.WriteOptions(delimiter="\t"))


WRITERS = {
    "table.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=70),
    "table.pq": parquet.write_table,
    "table.arrow": lambda table, path: feather.write_feather(table, str(path), chunksize=90),
    "table.feather": lambda table, path: feather.write_feather(table, str(path)),
    "table.ipc": lambda table, path: feather.write_feather(
        table, str(path), compression="uncompressed"
    ),
    "table.csv": csv.write_csv,
    "table.tsv": write_tsv,
    "table.csv.gz": write_gz,
    "table.csv.zst": write_zst,
}


def check_numbers(source, table):
    """A source gives the rows of the table, twice if it can."""
    assert source.n_features == 2
    assert source.feature_names == ["a", "b"]
    assert json.loads(json.dumps(source.fingerprint())) == source.fingerprint()
    for _ in range(1 + source.repeatable):
        X, y, weight = read(source)
        np.testing.assert_array_equal(X, np.stack([table["a"], table["b"]], axis=1))
        np.testing.assert_array_equal(y, table["y"])
        assert weight is None
        assert X.flags.c_contiguous


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file(tmp_path, name):
    table = numbers()
    path = tmp_path / name
    WRITERS[name](table, path)
    source = open_source(path, target="y")
    check_numbers(source, table)
    assert source.rows == (None if "sv" in name else ROWS)
    files = source.fingerprint()["files"]
    status = path.stat()
    assert files == [{"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}]


def named(table):
    """A table by itself, and what else provides it."""
    duckdb = pytest.importorskip("duckdb")
    table_of_test = table  # which DuckDB finds by its name
    frame = table_of_test.to_pandas()
    frame.index = np.arange(len(frame))[::-1]  # which is no column
    return {
        "table": table,
        "batch": table.combine_chunks().to_batches()[0],
        "reader": table.to_reader(max_chunksize=111),
        "pandas": frame,
        "polars": pytest.importorskip("polars").from_arrow(table),
        "duckdb": duckdb.sql("select * from table_of_test"),
        "dataset": ds.dataset(table),
        "filtered": ds.dataset(table).filter(ds.field("b") >= 0),
    }


PROVIDERS = ["table", "batch", "reader", "pandas", "polars", "duckdb", "dataset", "filtered"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_of_arrow_data(name):
    table = numbers()
    source = open_source(named(table)[name], target="y")
    assert source.repeatable == (name != "reader")
    check_numbers(source, table)
    assert source.rows in (None, ROWS)
    if name == "reader":
        with pytest.raises(ValueError, match="only once"):
            next(source.blocks())


def test_a_connection_of_duckdb_is_free_when_nothing_is_read():
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    rows = connection.sql("select i::float as a, i % 2 as y from range(200000) t(i)")
    source = open_source(rows, target="y")
    assert connection.execute("select 3").fetchall() == [(3,)]
    blocks = source.blocks()
    next(blocks)
    blocks.close()
    assert connection.execute("select 3").fetchall() == [(3,)]
    assert sum(map(len, source.blocks())) == 200_000


class OfOneArray:
    """A provider that has ``__arrow_c_array__`` alone."""

    def __init__(self, batch):
        self.batch = batch

    def __arrow_c_array__(self, requested_schema=None):
        return self.batch.__arrow_c_array__(requested_schema)


def test_a_provider_of_one_array():
    table = numbers()
    check_numbers(open_source(OfOneArray(table.to_batches()[0]), target="y"), table)
    with pytest.raises(ValueError, match="no table"):
        open_source(OfOneArray(pa.array([1, 2])))


def test_a_dataset_of_a_format_without_a_reader_here(tmp_path):
    csv.write_csv(numbers(), tmp_path / "rows.csv")
    source = open_source(ds.dataset(tmp_path / "rows.csv", format="csv"), target="y")
    check_numbers(source, numbers())
    assert source.fingerprint()["files"][0]["path"] == str(tmp_path / "rows.csv")


def write_parts(table, folder, parts=3):
    """A table in several files of Parquet."""
    for k in range(parts):
        cut = slice(k * len(table) // parts, (k + 1) * len(table) // parts)
        parquet.write_table(table.slice(cut.start, cut.stop - cut.start), folder / f"{k}.parquet")
    return sorted(folder.glob("*.parquet"))


def test_lists_globs_directories_and_uris(tmp_path):
    table = numbers()
    paths = write_parts(table, tmp_path)
    for X in (paths, f"{tmp_path}/*.parquet", tmp_path, tmp_path.as_uri(), ds.dataset(paths)):
        source = open_source(X, target="y")
        check_numbers(source, table)
        assert source.rows == ROWS
        assert [file["path"] for file in source.fingerprint()["files"]] == list(map(str, paths))
    X, _, _ = read(open_source(paths[::-1], target="y"))
    assert X[-1, 0] == table["a"][ROWS // 3 - 1].as_py()


def test_folders_that_say_name_and_value(tmp_path):
    for k in (2, 10):
        (tmp_path / f"k={k}").mkdir()
        parquet.write_table(pa.table({"a": [k + 0.5] * 3}), tmp_path / f"k={k}" / "part.parquet")
    source = open_source(tmp_path)
    assert source.feature_names == ["a", "k"]
    X, y, _ = read(source)
    np.testing.assert_array_equal(X, np.repeat([[10.5, 10.0], [2.5, 2.0]], 3, axis=0))
    assert y is None


def test_fingerprint_of_changed_data_and_options(tmp_path):
    path = tmp_path / "table.parquet"
    parquet.write_table(numbers(), path)
    before = open_source(path, target="y").fingerprint()
    assert open_source(path, target="y").fingerprint() == before
    assert open_source(path, target="b").fingerprint() != before
    os.utime(path, ns=(1, 1))
    assert open_source(path, target="y").fingerprint() != before


@pytest.mark.parametrize("layout", ["dense", "csr", "csc"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_users(layout, dtype, weighted):
    rng = np.random.default_rng(0)
    X = (rng.random((60, 5)) < 0.5).astype(dtype)
    y, weight = rng.integers(0, 2, 60), rng.random(60)

    def blocks():
        for first in range(0, 60, 25):
            rows = slice(first, first + 25)
            part = X[rows] if layout == "dense" else sp.csr_array(X[rows]).asformat(layout)
            yield (part, y[rows], weight[rows]) if weighted else (part, y[rows])

    class Batches:
        """XGBoost's verbs."""

        def reset(self):
            self.rest = blocks()

        def next(self, input_data):
            block = next(self.rest, None)
            if block is None:
                return 0
            input_data(**dict(zip(("data", "label", "weight"), block, strict=False)))
            return 1

    for given_blocks in (blocks, Batches(), blocks()):
        source = open_source(given_blocks)
        assert source.n_features == 5
        assert source.repeatable == (given_blocks is blocks or isinstance(given_blocks, Batches))
        for _ in range(1 + source.repeatable):
            X_read, y_read, weight_read = read(source)
            assert sp.issparse(X_read) == (layout != "dense")
            if dtype in (np.float64, np.float32):
                assert X_read.dtype == dtype
            np.testing.assert_array_equal(
                X_read.toarray() if sp.issparse(X_read) else X_read, X.astype(np.float64)
            )
            np.testing.assert_array_equal(y_read, y)
            if weighted:
                np.testing.assert_array_equal(weight_read, weight)
        assert json.dumps(source.fingerprint())


ONES = np.ones((3, 2))
NAN = np.where(np.arange(6).reshape(3, 2) == 3, np.nan, 1.0)

BAD_BLOCKS = {
    "width": ([(ONES, [1, 2, 3]), (np.ones((3, 4)), [1, 2, 3])], "block 1 has 4 columns"),
    "layout": ([(ONES, None), (sp.csr_array(ONES), None)], "block 1 is CSR"),
    "dtype": ([(ONES, None), (ONES.astype(np.float32), None)], "block 1 is dense of float32"),
    "NaN": ([(NAN, None)], "block 0, row 1: X is NaN, column 1"),
    "NaN of CSR": ([(sp.csr_array(NAN), None)], "block 0, row 1: X is NaN, column 1"),
    "infinity": ([(ONES, None), (ONES * np.inf, None)], "block 1, row 0: X is infinite"),
    "no columns": ([(np.ones((3, 0)), None)], "no columns"),
    "strings": ([(np.full((3, 2), "a"), None)], "numbers in two dimensions"),
    "flat": ([(np.ones(3), None)], "1 dimensions"),
    "times": ([(np.full((3, 2), np.datetime64("2020")), None)], "times"),
    "complex CSR": ([(sp.csr_array(ONES * 1j), None)], "real numbers"),
    "rows of y": ([(ONES, [1, 2])], "3 rows, but y 2"),
    "rows of weights": ([(ONES, [1, 2, 3], [1.0])], "3 rows, but sample_weight 1"),
    "y is missing": ([(ONES, np.array(["a", None, "b"], dtype=object))], "row 1: y is missing"),
    "y is NaN": ([(ONES, [1.0, 2.0, np.nan])], "row 2: y is NaN"),
    "y is NaN among strings": ([(ONES, np.array(["a", "b", np.nan], dtype=object))], "row 2: y is"),
    "y of objects": ([(ONES, np.array([1, {}, 2], dtype=object))], "must be numbers or strings"),
    "weight is negative": ([(ONES, [1, 2, 3], [1.0, -1.0, 1.0])], "row 1: sample_weight is neg"),
    "weight is NaN": ([(ONES, [1, 2, 3], [1.0, np.nan, 1.0])], "row 1: sample_weight is NaN"),
    "some without y": ([(ONES, [1, 2, 3]), (ONES, None)], "block 1 has no y"),
    "too many items": ([(ONES, [1, 2, 3], None, None)], "got 4 items"),
    "no blocks": ([], "without blocks"),
}


@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_bad_blocks(name):
    blocks, message = BAD_BLOCKS[name]
    for X in (lambda: iter(blocks), iter(blocks)):
        with pytest.raises(ValueError, match=message):
            list(open_source(X).blocks())


def test_corrupt_sparse_blocks():
    X = sp.csr_array(ONES)
    X.indices[0] = 77
    with pytest.raises(ValueError, match="block 0"):
        open_source(iter([(X, None)]))


def test_unsorted_sparse_blocks_are_sorted_beside_the_users():
    X = sp.csr_array((np.array([1.0, 2.0, 4.0]), [1, 0, 1], [0, 3]), shape=(1, 2))
    (block,) = open_source(lambda: [(X, [1])]).blocks()
    assert block.X.indices.tolist() == [0, 1]
    assert block.X.toarray().tolist() == [[2.0, 5.0]]
    assert X.nnz == 3


def test_blocks_without_rows_are_left_out():
    blocks = [(ONES[:0], []), (ONES, [1, 2, 3]), (ONES[:0], [])]
    for X in (lambda: iter(blocks), iter(blocks)):
        source = open_source(X)
        assert source.n_features == 2
        assert [len(block) for block in source.blocks()] == [3]


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        ([True, False, True], "b"),
        ([1, 2, 3], "i"),
        (np.array([1, 2.5, 3], dtype=object), "f"),
        (np.array([True, False, True], dtype=object), "b"),
        (np.array(["a", "b", "a"], dtype=object), "O"),
        (["a", "b", "a"], "U"),
        ([[1, 2]] * 3, "i"),
    ],
)
def test_targets_of_blocks(y, kind):
    (block,) = open_source(lambda: [(ONES, y)]).blocks()
    assert block.y.dtype.kind == kind
    np.testing.assert_array_equal(block.y, y)


def test_targets_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ONES)
    y = pandas.Series(["a", None, "b"], dtype="string")
    (block,) = open_source(lambda: [(frame, y.fillna("c"))]).blocks()
    assert block.y.tolist() == ["a", "c", "b"]
    with pytest.raises(ValueError, match="row 1: y is missing"):
        open_source(lambda: [(frame, y)])
    with pytest.raises(ValueError, match="names of columns must be strings"):
        open_source(frame)


def test_memory_is_bounded_within_a_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsgd.data.block.BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr("fastsgd.data.datasets.DECODED_BYTES", 1 << 19)
    rng = np.random.default_rng(0)
    table = pa.table({f"f{j}": rng.normal(size=200_000) for j in range(8)})
    path = tmp_path / "rows.parquet"
    parquet.write_table(table, path, row_group_size=200_000, use_dictionary=False)
    size = table.nbytes
    del table
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for block in open_source(path).blocks():
        most = max(most, pa.total_allocated_bytes() - before)
        rows += len(block)
    assert rows == 200_000
    assert 0 < most < size / 2


def test_an_iterator_is_read_once():
    source = open_source(iter([(ONES, [1, 2, 3])]))
    list(source.blocks())
    with pytest.raises(ValueError, match="only once"):
        source.blocks()


def test_a_callable_that_returns_the_same_iterator():
    blocks = iter([(ONES, [1, 2, 3])])
    source = open_source(lambda: blocks)
    with pytest.raises(ValueError, match="fresh"):
        list(source.blocks())


def test_a_callable_that_returns_no_iterator():
    with pytest.raises(TypeError, match="iterator of blocks"):
        open_source(lambda: 3)


def test_what_is_a_source(tmp_path):
    table = numbers(5)
    sources = named(table)
    frames = [sources.pop("pandas"), sources.pop("polars")]
    for X in (*sources.values(), "a.csv", tmp_path, ["a.csv"], lambda: iter([]), iter([])):
        assert is_source(X), X
    for X in frames:
        assert not is_source(X)
        assert is_source(X, target="y")
    arrays = [ONES, ONES.tolist(), sp.csr_array(ONES), [], (), np.float64(1.0), 3, None]
    for X in (*arrays, frames[0]["a"], frames[1]["a"], table["a"], table["a"].chunk(0)):
        assert not is_source(X, target=None), X


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("table.xlsx", b"", ValueError, "must end in one of"),
        ("table.npy.gz", b"", ValueError, "must end in one of"),
        ("table.parquet", b"no parquet", ValueError, "table.parquet"),
        ("table.arrow", b"no arrow", ValueError, "table.arrow"),
        ("table.csv", b"", ValueError, "table.csv"),
        ("table.csv", b"a,y\n1,2\n3\n", ValueError, "table.csv.*Expected 2 columns"),
        ("*.parquet", None, FileNotFoundError, "no file is named like"),
        ("absent.csv", None, FileNotFoundError, "no file"),
        ("", None, FileNotFoundError, "no Parquet files"),
    ],
)
def test_bad_files(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        list(open_source(tmp_path / name).blocks())


def test_files_of_several_kinds(tmp_path):
    csv.write_csv(numbers(), tmp_path / "a.csv")
    parquet.write_table(numbers(), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="several kinds: csv, parquet"):
        open_source([tmp_path / "a.csv", tmp_path / "b.parquet"])


def test_a_later_file_without_a_column(tmp_path):
    for kind, write in (("parquet", parquet.write_table), ("csv", csv.write_csv)):
        paths = [tmp_path / f"{name}.{kind}" for name in "ab"]
        write(numbers(), paths[0])
        write(numbers().drop_columns("b"), paths[1])
        with pytest.raises(ValueError, match=rf"b\.{kind}.*'?b'?"):
            list(open_source(paths, target="y").blocks())


def test_a_truncated_parquet_file(tmp_path):
    path = tmp_path / "table.parquet"
    parquet.write_table(numbers(), path)
    source = open_source(path, target="y")
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\xff" * 400 + content[440:])
    with pytest.raises(ValueError, match=r"table\.parquet"):
        list(source.blocks())


def test_csv_where_whole_numbers_are_followed_by_fractions(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsgd.data.delimited.CSV_BYTES", 50)
    path = tmp_path / "table.csv"
    rows = [f"{k},{k % 2}\n" for k in range(30)]
    path.write_text("a,y\n" + "".join(rows) + "1.5,1\n")
    X, y, _ = read(open_source(path, target="y"))
    assert X[:, 0].tolist() == [*range(30), 1.5]
    assert y.dtype == np.int64
    path.write_text("a,y\n" + "".join(rows) + "1.5,1\nno,1\n")
    with pytest.raises(ValueError, match=r"table\.csv.*'no'"):
        list(open_source(path, target="y").blocks())


def test_options_that_do_not_suit(tmp_path):
    csv.write_csv(numbers(), tmp_path / "a.csv")
    bad = [
        (ValueError, {"hash_bits": 0}),
        (ValueError, {"hash_bits": 31}),
        (TypeError, {"hash_bits": 2.5}),
        (ValueError, {"missing": "drop"}),
        (ValueError, {"keep_names": -1}),
        (TypeError, {"keep_names": True}),
        (TypeError, {"columns": "a"}),
        (ValueError, {"y": [1, 2]}),
        (TypeError, {"sample_weight": np.ones(3)}),
        (TypeError, {"target": 0}),
        (TypeError, {"features": 3}),
    ]
    for X in (tmp_path / "a.csv", numbers()):
        for error, options in bad:
            with pytest.raises(error, match=next(iter(options))):
                open_source(X, **options)
    for options in ({"y": [1]}, {"target": "y"}, {"features": ["a"]}, {"sample_weight": "w"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            open_source(lambda: iter([(ONES, None)]), **options)
    for X in (ONES, [[1.0]], 3):
        with pytest.raises(TypeError, match="no source"):
            open_source(X)
