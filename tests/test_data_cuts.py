"""Blocks together are the table, however the source is cut into files, row groups and blocks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

from people import read  # noqa: E402

from fastsgd.data import open_source  # noqa: E402


@st.composite
def cut_tables(draw):
    """A table with gaps, how it is cut, and how many rows a block may have."""
    rows = draw(st.integers(1, 40))
    numbers_of_rows = st.lists(st.floats(-1e6, 1e6, width=32), min_size=rows, max_size=rows)
    strings = st.lists(
        st.sampled_from(["", "a", "ß", "long word", None]), min_size=rows, max_size=rows
    )
    table = pa.table(
        {
            "a": pa.array(draw(numbers_of_rows), pa.float32()),
            "c": pa.array(draw(strings), pa.string()),
            "y": pa.array(range(rows), pa.int32()),
        }
    )
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=4)))
    return table, cuts, draw(st.integers(1, 45)), draw(st.integers(1, 45))


@given(cut_tables())
@settings(max_examples=60, deadline=None)
def test_blocks_together_are_the_table_however_it_is_cut(tmp_path_factory, drawn):
    table, cuts, group, block_rows = drawn
    folder = tmp_path_factory.mktemp("cut")
    whole = open_source(table, target="y", hash_bits=6)
    (expected,) = whole.blocks()
    edges = [0, *cuts, len(table)]
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    for k, part in enumerate(parts):
        parquet.write_table(part, folder / f"{k}.parquet", row_group_size=group)
        feather.write_feather(part, str(folder / f"{k}.arrow"), chunksize=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastsgd.data.block.BLOCK_ROWS", block_rows)
        for X in (f"{folder}/*.parquet", f"{folder}/*.arrow", pa.concat_tables(parts), table):
            source = open_source(X, target="y", hash_bits=6)
            assert max(map(len, source.blocks())) <= block_rows
            X_read, y_read, _ = read(source)
            np.testing.assert_array_equal(X_read.toarray(), expected.X.toarray())
            np.testing.assert_array_equal(y_read, np.arange(len(table)))
