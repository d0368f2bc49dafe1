"""CSV files with a header, by pyarrow's streaming reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pyarrow import types as pat

from .arrow import Batches
from .columns import Columns
from .schema import kind_of
from .source import described

__all__ = ["CsvReader"]

CSV_BYTES = 1 << 23
"""Bytes that are parsed at once; column types are inferred from the first of them."""


class CsvReader:
    """CSV files one after the other, whose first rows are their names of columns.

    Types are those of the beginning of the first file: numbers in features are read as float64, so
    that whole numbers may be followed by fractions. An empty field is a missing value.

    Parameters
    ----------
    paths : sequence of str
    filesystem : pyarrow.fs.FileSystem
    strings : iterable of str
        Columns that are read as strings, whatever they look like.
    columns : Columns or None
        Of a model, whose types are then taken.
    """

    kind = "csv"
    repeatable = True

    def __init__(
        self,
        paths: Sequence[str],
        filesystem: Any,
        strings: Sequence[str],
        columns: Columns | None,
    ) -> None:
        self.paths, self.filesystem = paths, filesystem
        self.where = paths[0] if len(paths) == 1 else f"{paths[0]}, ..."
        self.types: dict[str, Any] = dict.fromkeys(strings, pa.string())
        if columns is not None:
            self.restrict(columns)
            self.types.update(dict.fromkeys(columns.text, pa.string()))
            for name, kind in zip(columns.categorical, columns.kinds, strict=True):
                if kind in ("string", "boolean"):
                    self.types[name] = pa.string() if kind == "string" else pa.bool_()
        try:
            with self._open(paths[0], None) as reader:
                self.schema = reader.schema
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{paths[0]}: {error}") from error

    def restrict(self, columns: Columns) -> None:
        """Read numbers of features as float64, and all else as it was inferred."""
        if hasattr(self, "schema"):
            self.types.update({field.name: field.type for field in self.schema})
        for name in columns.numeric:
            if not hasattr(self, "schema") or kind_of(self.types[name]) != "boolean":
                self.types[name] = pa.float64()

    def rows(self) -> int | None:
        return None

    def _open(self, path: str, names: list[str] | None) -> Any:
        return csv.open_csv(
            self.filesystem.open_input_stream(path),
            read_options=csv.ReadOptions(block_size=CSV_BYTES, use_threads=False),
            parse_options=csv.ParseOptions(delimiter="\t" if ".tsv" in path else ","),
            convert_options=csv.ConvertOptions(
                column_types=self.types, include_columns=names, strings_can_be_null=False
            ),
        )

    def batches(self, names: list[str], batch_rows: int) -> Batches:
        for path in self.paths:
            first_row = 0
            for batch in self._batches_of(path, names):
                for first in range(0, batch.num_rows, batch_rows):
                    yield path, first_row + first, batch.slice(first, batch_rows)
                first_row += batch.num_rows

    def _batches_of(self, path: str, names: list[str]) -> Iterator[Any]:
        first_row = 0
        try:
            with self._open(path, names) as reader:
                for batch in reader:
                    yield empty_as_null(batch)
                    first_row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}, after row {first_row}: {error}") from error

    def files(self) -> list[dict[str, Any]]:
        return [described(self.filesystem, path) for path in self.paths]


def empty_as_null(batch: Any) -> Any:
    """A batch in which empty strings are missing values."""
    columns = [
        pc.if_else(pc.equal(pc.binary_length(column), 0), None, column)
        if pat.is_string(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
