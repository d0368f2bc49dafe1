"""Columns by name: what becomes of each, against plain constructions row by row."""

import dataclasses
import datetime
import decimal
import json

import numpy as np
import pytest
import scipy.sparse as sp

pa = pytest.importorskip("pyarrow")
csv = pytest.importorskip("pyarrow.csv")
parquet = pytest.importorskip("pyarrow.parquet")

from people import column_of, people, plain, read  # noqa: E402

from fastsgd._core import place_columns  # noqa: E402
from fastsgd.data import Columns, open_source  # noqa: E402


def test_booleans_are_numbers_if_categories_are_named():
    table = pa.table({"flag": [True, False], "town": ["Ulm", "Bonn"]})
    source = open_source(table, categorical="town", hash_bits=4)
    assert source.columns.numeric == ("flag",)
    X, _, _ = read(source)
    assert X.toarray()[:, 0].tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="'town' is of type string"):
        open_source(table, categorical="flag")


STORED = {
    "uint8": [pa.uint8()] * 2,
    "float16": [pa.float16()] * 2,
    "float32": [pa.float32(), pa.float16(), pa.int16(), pa.uint16(), pa.int8(), pa.uint8()],
    "float64": [pa.float32(), pa.int32()],
}


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("sparse", [False, True])
def test_dtype_of_numbers(dtype, sparse):
    arrays = [pa.array(np.arange(3), pa.int64()).cast(kind) for kind in STORED[dtype]]
    table = pa.table(arrays, [f"c{j}" for j in range(len(arrays))])
    if sparse:
        table = table.append_column("town", pa.array(["Ulm", "Bonn", "Ulm"]))
    X, _, _ = read(open_source(table, hash_bits=3))
    assert sp.issparse(X) == sparse
    narrow = dtype in ("uint8", "float16")
    assert X.dtype == ("float32" if sparse and narrow else dtype)
    dense = X.toarray() if sparse else X
    np.testing.assert_array_equal(dense[:, : len(arrays)], np.outer(range(3), [1] * len(arrays)))


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64(), pa.uint64(), pa.decimal128(24, 2)])
def test_wide_numbers_are_float64(kind):
    table = pa.table({"a": pa.array([1, 2], pa.int64()).cast(kind)})
    assert open_source(table).columns.dtype == "float64"
    X, _, _ = read(open_source(table))
    assert X.tolist() == [[1.0], [2.0]]


def test_decimals_and_dictionaries_of_numbers():
    table = pa.table(
        {
            "a": [decimal.Decimal("1.25"), decimal.Decimal("2.50")],
            "b": pa.array([7, 8]).dictionary_encode(),
        }
    )
    X, _, _ = read(open_source(table, categorical=[]))
    assert X.tolist() == [[1.25, 7.0], [2.5, 8.0]]
    X, _, _ = read(open_source(table, hash_bits=5))
    assert set(X.indices[1::2] - 1) == {column_of("b", 7, 5), column_of("b", 8, 5)}


GAPS = pa.table(
    {
        "a": pa.array([1.0, None, 3.0, float("nan"), 8.0]),
        "b": pa.array([1, 2, None, 4, 5], pa.uint8()),
    }
)


@pytest.mark.parametrize("form", ["table", "pandas", "parquet", "csv", "dictionary"])
@pytest.mark.parametrize("missing", ["zero", "mean"])
def test_missing_numbers(tmp_path, form, missing):
    X = GAPS
    if form == "pandas":
        X = GAPS.to_pandas()
    elif form == "dictionary":
        X = GAPS.set_column(1, "b", GAPS["b"].dictionary_encode())
    elif form != "table":
        X = tmp_path / f"gaps.{form}"
        (csv.write_csv if form == "csv" else parquet.write_table)(GAPS, X)
    source = open_source(X, missing=missing, categorical=[])
    a, b = (0.0, 0.0) if missing == "zero" else (4.0, 3.0)
    X_read, _, _ = read(source)
    expected = [[1.0, 1.0], [a, 2.0], [3.0, b], [a, 4.0], [8.0, 5.0]]
    np.testing.assert_array_equal(X_read, expected)
    other = pa.table({"a": [None, 2.0], "b": [1, None]})
    filled, _, _ = read(open_source(other, columns=source.columns))
    assert filled.tolist() == [[a, 1.0], [2.0, b]]


def test_the_mean_of_bytes_is_a_fraction():
    table = pa.table({"a": pa.array([1, 2, None], pa.uint8())})
    X, _, _ = read(open_source(table, missing="mean"))
    assert X.dtype == np.float32
    assert X.ravel().tolist() == [1.0, 2.0, 1.5]
    X, _, _ = read(open_source(table, missing="zero"))
    assert X.dtype == np.uint8


def test_means_that_cannot_be_taken():
    with pytest.raises(ValueError, match="'a' has no value to take a mean of"):
        open_source(pa.table({"a": pa.array([None, None], pa.float64())}), missing="mean")
    with pytest.raises(ValueError, match="only once"):
        open_source(GAPS.to_reader(), missing="mean")
    with pytest.raises(ValueError, match="row 1: column 'a' is infinite"):
        open_source(pa.table({"a": [1.0, np.inf]}), missing="mean")


def bad_value(name, value, kind=None):
    """A table of ten rows with a bad value in row 7."""
    columns = {"a": np.arange(10.0), "w": np.ones(10), "y": np.arange(10.0)}
    columns = {name: column.tolist() for name, column in columns.items()}
    columns[name][7] = value
    return pa.table({**columns, name: pa.array(columns[name], kind)})


BAD_VALUES = {
    "missing": ("a", None, "column 'a' has no value"),
    "NaN": ("a", float("nan"), "column 'a' is NaN"),
    "infinity": ("a", float("-inf"), "column 'a' is infinite"),
    "target is missing": ("y", None, "column 'y' has no value"),
    "target is NaN": ("y", float("nan"), "target 'y' is NaN"),
    "weight is missing": ("w", None, "column 'w' has no value"),
    "weight is NaN": ("w", float("nan"), "sample_weight is NaN"),
    "weight is negative": ("w", -1.0, "sample_weight is negative"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
@pytest.mark.parametrize("kind", ["table", "parquet", "csv"])
def test_bad_values_are_named_by_file_and_row(tmp_path, monkeypatch, name, kind):
    column, value, message = BAD_VALUES[name]
    monkeypatch.setattr("fastsgd.data.block.BLOCK_ROWS", 3)
    table = bad_value(column, value)
    X, where = table, "the table"
    if kind != "table":
        X = where = tmp_path / f"rows.{kind}"
        (csv.write_csv if kind == "csv" else parquet.write_table)(table, X)
    source = open_source(X, target="y", sample_weight="w")
    if kind == "csv" and value != value:  # which is how CSV files write that there is none
        message = f"column '{column}' has no value"
    with pytest.raises(ValueError, match=message) as caught:
        list(source.blocks())
    assert f"{where}, row 7: " in str(caught.value)


def test_infinity_is_refused_even_if_missing_is_not():
    for missing in ("zero", "mean"):
        columns = Columns(numeric=("a",), missing=missing, means=(1.0,))
        with pytest.raises(ValueError, match="row 7: column 'a' is infinite"):
            list(open_source(bad_value("a", np.inf), columns=columns).blocks())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 1], np.array([1, 2, 1])),
        ([1.5, 2.5, 1.0], np.array([1.5, 2.5, 1.0])),
        ([True, False, True], np.array([True, False, True])),
        (["no", "yes", "no"], np.array(["no", "yes", "no"], dtype=object)),
        ([decimal.Decimal("0.5")] * 3, np.array([0.5] * 3)),
    ],
)
@pytest.mark.parametrize("dictionary", [False, True])
def test_targets(tmp_path, values, expected, dictionary):
    y = pa.array(values)
    table = pa.table({"a": [1.0, 2.0, 3.0], "y": y.dictionary_encode() if dictionary else y})
    parquet.write_table(table, tmp_path / "rows.parquet")
    for X in (table, tmp_path / "rows.parquet"):
        _, found, _ = read(open_source(X, target="y"))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        _, found, _ = read(open_source(X, target=["y"]))
        np.testing.assert_array_equal(found, expected[:, np.newaxis])


def test_several_targets_and_weights():
    table = pa.table({"a": [1.0, 2.0], "y": [3, 4], "z": [0.5, 1.5], "w": [1, 2]})
    source = open_source(table, target=["z", "y"], sample_weight="w")
    X, y, weight = read(source)
    assert (X.tolist(), y.tolist(), weight.tolist()) == (
        [[1.0], [2.0]],
        [[0.5, 3.0], [1.5, 4.0]],
        [1.0, 2.0],
    )
    assert weight.dtype == np.float64
    mixed = pa.table({"a": [1.0], "y": [1], "z": ["no"]})
    with pytest.raises(ValueError, match="strings and numbers"):
        list(open_source(mixed, target=["y", "z"]).blocks())


DAY = datetime.date(2020, 1, 2)

BAD_COLUMNS = [
    ({"target": "z"}, "target: the table has no column 'z'"),
    ({"sample_weight": "z"}, "sample_weight: the table has no column 'z'"),
    ({"features": ["age", "z"]}, "features: the table has no column 'z'"),
    ({"features": ["age", "age"]}, "features names a column twice"),
    ({"features": ["age", "y"], "target": "y"}, "features has 'y'"),
    ({"features": []}, "no columns for X"),
    ({"categorical": "z"}, "categorical: the table has no column 'z'"),
    ({"categorical": ["town"], "features": ["age"]}, "categorical has 'town'"),
    ({"text": "town", "categorical": "town"}, "both have 'town'"),
    (
        {"text": "age", "features": ["age"], "categorical": []},
        "'age' is of type double, which is no text",
    ),
    ({}, "'day' is of type date32"),
    ({"features": ["age"], "target": "day"}, "'day' is of type date32.*no targets"),
    ({"features": ["age"], "sample_weight": "town"}, "'town' is of type string.*no weights"),
    ({"features": ["list"]}, "'list' is of type list"),
    ({"features": ["list"], "categorical": "list"}, "'list' is of type list.*no categories"),
    ({"features": ["bytes"]}, "'bytes' is of type binary"),
]


@pytest.mark.parametrize(("options", "message"), BAD_COLUMNS)
def test_columns_that_do_not_suit(options, message):
    columns = {"age": [1.0], "town": ["Ulm"], "y": [1], "day": [DAY], "list": [[1]]}
    table = pa.table(columns | {"bytes": [b"1"]})
    with pytest.raises(ValueError, match=message):
        open_source(table, **options)


def test_two_columns_of_one_name():
    table = pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    with pytest.raises(ValueError, match="several columns of the name 'a'"):
        open_source(table)
    with pytest.raises(ValueError, match="several columns of the name 'a'"):
        open_source(table, columns=Columns(numeric=("a",)))


def test_days_as_categories():
    (block,) = open_source(pa.table({"day": [DAY]}), categorical="day", hash_bits=8).blocks()
    assert block.X.indices.tolist() == [column_of("day", "2020-01-02", 8)]


@pytest.mark.parametrize("kind", ["parquet", "csv", "pandas"])
def test_other_data_are_read_in_the_same_way(tmp_path, kind):
    """Without the target, in another order, with more columns: each row as before."""
    table = people().set_column(1, "town", pa.array(["Ulm", "Bonn", "Köln"] * 100))
    write = {"parquet": parquet.write_table, "csv": csv.write_csv}.get(kind)

    def form(table, name):
        if write is None:
            return table.to_pandas()
        write(table, tmp_path / name)
        return tmp_path / name

    before = open_source(form(table, f"a.{kind}"), target="y", text="note", hash_bits=9)
    columns = Columns.from_json(before.columns.to_json())
    assert columns == before.columns
    expected, _, _ = read(before)
    others = table.drop_columns("y").append_column("more", pa.array(["x"] * 300))
    others = others.select(others.column_names[::-1]).slice(100)
    after = open_source(form(others, f"b.{kind}"), columns=columns)
    X, y, _ = read(after)
    assert y is None
    assert (expected[100:] != X).nnz == 0
    _, y, _ = read(open_source(form(table, f"c.{kind}"), columns=columns))
    np.testing.assert_array_equal(y, table["y"])


def test_other_data_of_other_types():
    columns = open_source(people(), target="y", text="note").columns
    table = people().drop_columns("y")
    changes = {
        "age": (["1.5"] * 300, "'age' is of type string"),
        "town": ([1] * 300, "'town' is of type int64, not a string"),
        "member": (["true"] * 300, "'member' is of type string, not a boolean"),
        "note": ([1.5] * 300, "'note' is of type double"),
    }
    for name, (values, message) in changes.items():
        changed = table.set_column(table.column_names.index(name), name, pa.array(values))
        with pytest.raises(ValueError, match=message):
            open_source(changed, columns=columns)
        with pytest.raises(ValueError, match=f"no column '{name}'"):
            open_source(table.drop_columns(name), columns=columns)
    for X in (lambda: iter([]), "rows.svm"):
        with pytest.raises((ValueError, FileNotFoundError)):
            open_source(X, columns=columns)
    for options in ({"target": "y"}, {"features": ["age"]}, {"categorical": []}, {"text": "note"}):
        with pytest.raises(ValueError, match="together with columns"):
            open_source(table, columns=columns, **options)


def test_all_values_of_other_data_may_be_missing():
    columns = open_source(people(), target="y", text="note", missing="zero", hash_bits=4).columns
    nothing = pa.table(
        {name: pa.nulls(2) for name in ("age", "children", "town", "note", "member")}
    )
    X, _, _ = read(open_source(nothing, columns=columns))
    row = {"age": 0.0, "children": 0.0, "town": None, "note": None, "member": None}
    nothing = pa.table({name: pa.nulls(2) for name in row})
    X, _, _ = read(open_source(nothing, columns=columns))
    expected = plain([row] * 2, ["age", "children"], ["town", "member"], ["note"], 4)
    np.testing.assert_array_equal(X.toarray(), expected)


@pytest.mark.parametrize("narrow", [pa.uint8(), pa.float16()])
def test_other_data_beyond_the_range_of_a_narrow_model(narrow):
    columns = open_source(pa.table({"a": pa.array([1, 2], pa.int64()).cast(narrow)})).columns
    for values, dtype in (([300, -1], "float64"), ([1e6, 0.5], "float64")):
        X, _, _ = read(open_source(pa.table({"a": values}), columns=columns))
        assert X.dtype == dtype
        assert X.ravel().tolist() == values


def test_categories_of_csv_are_what_is_written_there(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('code,a\n007,1\n7,2\n,3\n"",4\n')
    X, _, _ = read(open_source(path, categorical="code", hash_bits=10))
    expected = [column_of("code", value, 10) + 1 for value in ("007", "7", None, None)]
    assert X.indices[1::2].tolist() == expected


def test_empty_target_of_csv(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n1,no\n2,\n")
    with pytest.raises(ValueError, match=r"rows\.csv, row 1: column 'y' has no value"):
        list(open_source(path, target="y").blocks())


def test_columns_as_json():
    columns = open_source(people(), target=["y"], text="note", missing="mean").columns
    assert Columns.from_json(columns.to_json()) == columns
    np.testing.assert_allclose(
        columns.means, [np.mean(people()[name]) for name in ("age", "children")]
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        columns.target = None
    fields = json.loads(columns.to_json())
    wrong = {"dtype": "int8", "missing": "drop", "hash_bits": 31, "means": [1.0], "kinds": []}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"not the JSON of Columns: {name}"):
            Columns.from_json(json.dumps(fields | {name: value}))
    for text in ("[]", "no", json.dumps(fields | {"more": 1}), json.dumps({"numeric": []})):
        with pytest.raises(ValueError, match="not the JSON of Columns"):
            Columns.from_json(text)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 31])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 127, 128, 129, 300])
def test_columns_become_rows(n, d, dtype):
    rng = np.random.default_rng(n + d)
    columns = [*rng.standard_normal((d, n)).astype(dtype)]
    rows = np.full((n, d), np.nan, dtype)
    place_columns(columns, rows)
    np.testing.assert_array_equal(rows, np.array(columns).T)


def test_columns_that_do_not_fit_are_refused():
    rows, column = np.zeros((3, 2)), np.ones(3)
    for columns in ([column], [column, column[:2]], [column, np.ones(3, np.float32)]):
        with pytest.raises(ValueError, match="columns"):
            place_columns(columns, rows)
    with pytest.raises(ValueError, match=r"columns\[1\]"):
        place_columns([column, np.ones(6)[::2]], rows)
    for wrong in (rows.T, rows.astype(int), rows[0]):
        with pytest.raises(ValueError, match="rows"):
            place_columns([column] * 2, wrong)
    assert not rows.any()
