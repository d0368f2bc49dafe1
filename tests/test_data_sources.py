"""Sources: every kind of file, table, stream and callable gives the rows it holds, in order."""

import gzip

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
csv = pytest.importorskip("pyarrow.csv")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

from fastsgd.data import open_source  # noqa: E402

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
    csv.write_csv(table, f"{path}.plain")
    path.write_bytes(zstandard.compress(path.with_name(f"{path.name}.plain").read_bytes()))


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


def read(source):
    """All of a source: X, y, sample_weight."""
    blocks = list(source.blocks())
    columns = []
    for part in ("X", "y", "sample_weight"):
        arrays = [getattr(block, part) for block in blocks]
        columns.append(None if arrays[0] is None else np.concatenate(arrays))
    return columns


def check_numbers(source, table):
    """A source gives the rows of the table, twice if it can."""
    assert source.n_features == 2
    assert source.feature_names == ["a", "b"]
    for _ in range(1 + source.repeatable):
        X, y, weight = read(source)
        np.testing.assert_array_equal(X, np.stack([table["a"], table["b"]], axis=1))
        np.testing.assert_array_equal(y, table["y"])
        assert weight is None
        assert X.flags.c_contiguous


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file(tmp_path, name):
    table = numbers()
    WRITERS[name](table, tmp_path / name)
    source = open_source(tmp_path / name, target="y")
    check_numbers(source, table)
    assert source.rows in (None, ROWS)
    assert source.fingerprint()["files"][0]["size"] == (tmp_path / name).stat().st_size
