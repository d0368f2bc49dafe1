"""Tables in memory and streams, by Arrow's C interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from .arrow import Batches, StreamReader, TableReader, TableSource, numbered
from .columns import Columns
from .datasets import DatasetReader
from .source import Source

__all__ = ["open_table"]


def open_table(X: Any, columns: Columns | None, options: dict[str, Any]) -> Source:
    """The source of a dataset, a table, a data frame or a stream."""
    return TableSource(reader_of(X), columns, **options)


def reader_of(X: Any) -> Any:
    """What reads it.

    Raises
    ------
    ValueError
        If its data are no rows of columns.
    """
    if isinstance(X, ds.Dataset):
        return DatasetReader(X)
    if isinstance(X, pa.Table):
        return TableReader(X)
    if type(X).__module__.split(".")[0] == "pandas":
        return FrameReader(X)
    try:
        if hasattr(X, "__arrow_c_stream__"):
            # A reader of record batches gives its batches away; tables and relations have a shape.
            return StreamReader(X, any(hasattr(type(X), n) for n in ("shape", "num_rows")))
        return TableReader(pa.Table.from_batches([pa.record_batch(X)]), "the record batch")
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(f"X gives Arrow data that are no table: {error}") from error


class FrameReader:
    """A data frame of pandas, of which some rows are converted at a time; without its index.

    Parameters
    ----------
    frame : pandas.DataFrame
    """

    kind = "table"
    repeatable = True
    where = "the DataFrame"

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        if not all(isinstance(name, str) for name in frame.columns):
            raise ValueError("the DataFrame: names of columns must be strings")
        try:
            self.schema = pa.Schema.from_pandas(frame, preserve_index=False)
        except pa.ArrowException as error:
            raise ValueError(f"the DataFrame: {error}") from error

    def restrict(self, columns: Columns) -> None:
        """Nothing to learn."""

    def rows(self) -> int | None:
        return len(self.frame)

    def batches(self, names: list[str], batch_rows: int) -> Batches:
        return numbered(self.where, self._batches(names, batch_rows))

    def _batches(self, names: list[str], batch_rows: int) -> Iterator[Any]:
        schema = pa.schema([self.schema.field(name) for name in names])
        for first in range(0, len(self.frame), batch_rows):
            part = self.frame[names].iloc[first : first + batch_rows]
            yield pa.RecordBatch.from_pandas(part, schema=schema, preserve_index=False)

    def files(self) -> list[dict[str, Any]]:
        return []
