"""Tables of Arrow, in memory and as streams, and the source that all of them are read by."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .block import LEAST_ROWS, Block, rows_of_a_block
from .columns import Columns
from .conversion import block_of_batch, means_of
from .hashing import HashedNames, Hasher
from .schema import check_columns, narrowed, resolve_columns
from .source import Source
from .values import decoded, without_views

__all__ = ["Reader", "StreamReader", "TableReader", "TableSource"]

TEXT_BYTES = 1 << 21
"""Of texts whose words are hashed at a time: each word takes some 20 times its bytes meanwhile."""

Batches = Iterator[tuple[str, int, Any]]
"""Where each pyarrow.RecordBatch comes from, the number there of its first row, and itself."""


class Reader(Protocol):
    """What gives record batches: always in the same order, if it is repeatable."""

    kind: str
    where: str
    repeatable: bool
    schema: Any

    def rows(self) -> int | None:
        """Number of rows, where it is known without reading them all."""

    def restrict(self, columns: Columns) -> None:
        """Learn which columns are wanted for what, before the first is read."""

    def batches(self, names: list[str], batch_rows: int) -> Batches:
        """Record batches of some columns, of at most so many rows."""

    def files(self) -> list[dict[str, Any]]:
        """Paths, sizes and times of modification."""


def parts_of(batch: Any, text: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The rows of a batch in parts of about ``TEXT_BYTES`` of text, each with its first row."""
    if batch.num_rows == 0:
        return
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for name in text:
        texts = without_views(decoded(batch.column(name))).cast(pa.large_string())
        lengths = pc.binary_length(texts)
        sizes += np.asarray(lengths.fill_null(0))
    numbers = (np.cumsum(sizes) - sizes) // TEXT_BYTES  # of the part that a row begins in
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, batch.num_rows]):
        yield start, batch.slice(start, stop - start)


class TableSource(Source):
    """Rows of named columns, by the rules of :class:`Columns`.

    Parameters
    ----------
    reader : Reader
    columns : Columns or None
        Of a model, or None to resolve the options.
    **options : object
        Of :func:`open_source`, with their names.
    """

    columns: Columns

    def __init__(self, reader: Reader, columns: Columns | None, **options: Any) -> None:
        self.reader = reader
        self.repeatable = reader.repeatable
        if columns is not None:
            self.columns = check_columns(columns, reader.schema, reader.where)
        else:
            self.columns = resolve_columns(reader.schema, reader.where, **options)
        reader.restrict(self.columns)
        if self.columns.missing == "mean" and self.columns.means is None:
            self.columns = dataclasses.replace(self.columns, means=self._means())
        self.n_features = self.columns.n_features
        self.feature_names = None if self.columns.hashes else list(self.columns.numeric)
        self._names: HashedNames | None = None

    def _means(self) -> tuple[float, ...]:
        numeric = self.columns.numeric
        if not self.repeatable:
            raise ValueError(
                f"missing='mean' takes a pass for the means, but {self.reader.where} can be read "
                "only once"
            )
        if not numeric:
            return ()
        batches = self.reader.batches(list(numeric), self.batch_rows())
        return means_of(batches, numeric, self.reader.where)

    def batch_rows(self) -> int:
        """Most rows of a block."""
        columns = self.columns
        width = 4 if columns.dtype == "float32" else 8
        if columns.hashes:
            hashed = len(columns.categorical) + 50 * len(columns.text)
            return rows_of_a_block((width + 4) * (len(columns.numeric) + hashed))
        rows = rows_of_a_block(width * len(columns.numeric))
        return max(1, rows // LEAST_ROWS) * LEAST_ROWS

    @property
    def rows(self) -> int | None:
        return self.reader.rows()

    @property
    def hashed_names(self) -> dict[int, str]:
        return {} if self._names is None else self._names.found(len(self.columns.numeric))

    def blocks(self) -> Iterator[Block]:
        columns = self.columns
        names = HashedNames(columns.keep_names) if columns.keep_names else None
        self._names = names
        hasher = Hasher(columns, names)
        try:
            for where, first_row, batch in self.reader.batches(columns.names, self.batch_rows()):
                for first, part in parts_of(batch, columns.text):
                    yield block_of_batch(part, columns, hasher, where, first_row + first)
        finally:  # Arrow keeps some 100 MB of what it has freed
            pa.default_memory_pool().release_unused()

    def fingerprint(self) -> dict[str, Any]:
        return {
            "kind": self.reader.kind,
            "files": self.reader.files(),
            "schema": [
                [field.name, str(field.type)]
                for field in narrowed(self.reader.schema, self.columns)
            ],
            "rows": self.rows,
            "columns": json.loads(self.columns.to_json()),
        }


def numbered(where: str, batches: Iterator[Any]) -> Batches:
    """Record batches with the numbers of their first rows."""
    first_row = 0
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{where}, after row {first_row}: {error}") from error
        yield where, first_row, batch
        first_row += batch.num_rows


class TableReader:
    """A table in memory.

    Parameters
    ----------
    table : pyarrow.Table
    where : str
    """

    repeatable = True
    kind = "table"

    def __init__(self, table: Any, where: str = "the table") -> None:
        self.table, self.where, self.schema = table, where, table.schema

    def restrict(self, columns: Columns) -> None:
        """Nothing to learn."""

    def rows(self) -> int | None:
        return int(self.table.num_rows)

    def batches(self, names: list[str], batch_rows: int) -> Batches:
        batches = self.table.select(names).to_batches(max_chunksize=batch_rows)
        return numbered(self.where, iter(batches))

    def files(self) -> list[dict[str, Any]]:
        return []


class StreamReader:
    """What gives a stream of record batches through Arrow's C interface.

    Parameters
    ----------
    provider : object
        With ``__arrow_c_stream__``.
    repeatable : bool
        Whether it gives a new stream each time.
    """

    kind = "stream"

    def __init__(self, provider: Any, repeatable: bool) -> None:
        self.provider, self.repeatable = provider, repeatable
        self.where = f"the {type(provider).__name__}"
        stream = pa.RecordBatchReader.from_stream(provider)
        self.schema = stream.schema
        self._stream: Any = stream
        if (
            repeatable
        ):  # a connection of DuckDB can do nothing else while one of its streams is open
            stream.close()

    def restrict(self, columns: Columns) -> None:
        """Nothing to learn."""

    def rows(self) -> int | None:
        return None

    def batches(self, names: list[str], batch_rows: int) -> Batches:
        if self.repeatable:
            stream = pa.RecordBatchReader.from_stream(self.provider)
        else:
            stream, self._stream = self._stream, None
            if stream is None:
                raise ValueError(f"{self.where} can be read only once, and has been")
        return numbered(self.where, sliced(stream, names, batch_rows))

    def files(self) -> list[dict[str, Any]]:
        return []


def sliced(stream: Any, names: list[str], batch_rows: int) -> Iterator[Any]:
    """Some columns of a stream's batches, in pieces of at most so many rows."""
    with stream:
        for batch in stream:
            chosen = batch.select(names)
            for first in range(0, batch.num_rows, batch_rows):
                yield chosen.slice(first, batch_rows)
