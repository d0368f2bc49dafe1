"""Hashed columns: categories and words, against a plain construction row by row."""

import re
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

pa = pytest.importorskip("pyarrow")

from people import TOWNS, column_of, people, plain, read, rows_of_people  # noqa: E402

from fastsgd.data import open_source  # noqa: E402
from fastsgd.data.murmur import hashes  # noqa: E402


def encoded(table):
    """The strings of a table as dictionaries."""
    for j, name in enumerate(table.column_names):
        if pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(j, name, table[name].dictionary_encode())
    return table


def unused_values(table):
    """A dictionary of many more values than rows."""
    values = pa.array([f"other {k}" for k in range(2000)] + TOWNS[:4])
    codes = [
        None if town is None else 2000 + TOWNS.index(town) for town in table["town"].to_pylist()
    ]
    towns = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), values)
    return table.set_column(table.column_names.index("town"), "town", towns)


FORMS = {
    "strings": lambda table: table,
    "dictionaries": encoded,
    "unused values": unused_values,
    "views": lambda table: table.set_column(1, "town", table["town"].cast(pa.string_view())),
    "large strings": lambda table: table.set_column(
        1, "town", table["town"].cast(pa.large_string())
    ),
    "polars": lambda table: pytest.importorskip("polars").from_arrow(table),
    "polars categories": lambda table: pytest.importorskip("polars").from_arrow(encoded(table)),
    "pandas": lambda table: table.to_pandas(),
    "pandas categories": lambda table: encoded(table).to_pandas(),
    "duckdb": lambda table: pytest.importorskip("duckdb").from_arrow(table),
}


@pytest.mark.parametrize("bits", [3, 12])
@pytest.mark.parametrize("form", FORMS)
def test_hashes_are_those_of_scikit_learn(form, bits):
    rows = rows_of_people()
    table = people()
    if form == "dictionaries":  # a text that is a dictionary too
        assert pa.types.is_dictionary(encoded(table)["note"].type)
    if form == "unused values":
        assert len(unused_values(table)["town"].chunk(0).dictionary) > len(table)
    source = open_source(FORMS[form](table), target="y", text="note", hash_bits=bits)
    assert source.columns.numeric == ("age", "children")
    assert source.columns.categorical == ("town", "member")
    assert source.n_features == 2 + 2**bits
    assert source.feature_names is None
    X, y, _ = read(source)
    assert X.has_sorted_indices
    assert X.has_canonical_format
    for block in source.blocks():  # that it is canonical is so, and not only said
        again = sp.csr_array((block.X.data, block.X.indices, block.X.indptr), block.X.shape)
        assert again.has_canonical_format
    expected = plain(rows, ["age", "children"], ["town", "member"], ["note"], bits)
    np.testing.assert_array_equal(X.toarray(), expected)
    np.testing.assert_array_equal(y, [row["y"] for row in rows])


@pytest.mark.parametrize("bits", [1, 10])
def test_categories_without_text_and_text_without_numbers(bits):
    rows = rows_of_people()
    for features, categorical, text in (
        (["age", "town"], ["town"], []),
        (["town", "member"], ["town", "member"], []),
        (["children", "age", "member"], ["member", "children"], []),
        (["note"], [], ["note"]),
        (["age", "note"], [], ["note"]),
    ):
        source = open_source(
            people(), features=features, categorical=categorical, text=text, hash_bits=bits
        )
        numeric = [name for name in features if name not in (*categorical, *text)]
        X, _, _ = read(source)
        np.testing.assert_array_equal(X.toarray(), plain(rows, numeric, categorical, text, bits))


def test_a_missing_category_is_no_string():
    bits = 12
    values = [None, "", "None", "(missing)", "\ufffd", "ÿ"]
    (block,) = open_source(pa.table({"c": values}), hash_bits=bits).blocks()
    columns = block.X.indices
    assert len(set(columns.tolist())) == len(values)


def test_names_of_hashed_columns(monkeypatch):
    monkeypatch.setattr("fastsgd.data.block.BLOCK_ROWS", 50)
    table, rows = people(), rows_of_people()
    source = open_source(table, target="y", text="note", keep_names=4)
    assert source.hashed_names == {}
    for _ in range(2):  # each pass counts anew
        list(source.blocks())
        counts = Counter()
        for row in rows:
            town = "(missing)" if row["town"] is None else row["town"]
            member = "(missing)" if row["member"] is None else str(row["member"]).lower()
            counts.update([f"town={town}", f"member={member}"])
            words = re.findall(r"(?u)\b\w\w+\b", (row["note"] or "").lower())
            counts.update(f"note={word}" for word in words)
        ranked = sorted(counts, key=lambda name: (-counts[name], name))[:4]
        assert list(source.hashed_names.values()) == ranked
    for column, name in source.hashed_names.items():
        variable, value = name.split("=")
        value = None if value == "(missing)" else value
        assert column == 2 + column_of(variable, value, 18)
    source = open_source(table, target="y")
    list(source.blocks())
    assert source.hashed_names == {}


def test_names_are_bounded(monkeypatch):
    monkeypatch.setattr("fastsgd.data.hashing.PRUNED_AT", 100)
    monkeypatch.setattr("fastsgd.data.block.BLOCK_ROWS", 150)
    values = [f"rare {k}" if k % 2 else f"often {k % 3}" for k in range(3000)]
    source = open_source(pa.table({"c": values}), keep_names=3)
    list(source.blocks())
    assert len(source._names.counts) <= 200
    assert set(source.hashed_names.values()) == {"c=often 0", "c=often 1", "c=often 2"}


@pytest.mark.parametrize(("longest", "least_blocks"), [(1, 298), (1000, 4), (1 << 30, 1)])
def test_long_texts_are_hashed_in_parts(monkeypatch, longest, least_blocks):
    from fastsgd.data import arrow

    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{k}" for k in rng.integers(0, 50, n)) for n in rng.integers(1, 20, 300)]
    texts[3], texts[4] = None, ""
    table = pa.table({"text": texts, "y": np.arange(300)})
    whole = list(open_source(table, target="y", text="text").blocks())
    monkeypatch.setattr(arrow, "TEXT_BYTES", longest)
    parts = list(open_source(table, target="y", text="text").blocks())
    assert len(whole) == 1
    assert least_blocks <= len(parts) <= 1 + sum(len(text or "") for text in texts) // longest
    X = sp.vstack([block.X for block in parts])
    assert (X != whole[0].X).nnz == 0
    assert np.array_equal(np.concatenate([block.y for block in parts]), np.arange(300))


@given(
    prefix=st.text(max_size=9),
    values=st.lists(st.text(max_size=12), max_size=8),
    copies=st.integers(1, 50),
    first=st.integers(0, 5),
)
def test_many_hashes_are_those_of_scikit_learn(prefix, values, copies, first):
    strings = [f"{value}{i % 10}" for value in values for i in range(copies)][first:]
    array = pa.array([*"x" * first, *strings], pa.large_string())[first:]
    expected = [murmurhash3_32(prefix + string, positive=True) for string in strings]
    assert hashes(prefix.encode(), array).tolist() == expected


def test_long_strings_are_hashed_in_pieces():
    strings = [f"{i:05d}" * 200 for i in range(300)]
    expected = [murmurhash3_32("c=" + string, positive=True) for string in strings]
    assert hashes(b"c=", pa.array(strings)).tolist() == expected
