"""Datasets of Arrow: Parquet and IPC files, and whatever else pyarrow.dataset reads.

A scan of a dataset decodes whole row groups of Parquet, two at a time. Files of Parquet are
therefore read by ``iter_batches``, which decodes the pages of a row group as they are needed: from
row groups of a million rows and 240 MB it took 170 MB instead of 510, and 0.22 s instead of 0.20.
A thread decodes several batches at once, which takes less time than one after the other. Batches of
IPC files are as large as they were written; where they are not compressed, they stay in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs
from pyarrow import types as pat

from .ahead import ahead
from .arrow import Batches, numbered
from .columns import Columns
from .schema import kind_of
from .source import described

__all__ = ["DatasetReader"]

BUFFER = 1 << 18
"""Bytes that are read of a column at once."""

DECODED_BYTES = 1 << 24
"""Bytes of what is decoded at once, about."""

IN_MEMORY = "<Buffer>"
"""The path of a fragment that is no file."""


class DatasetReader:
    """Files of a dataset, one after the other.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
    where : str
        What messages call it.
    kind : str
    """

    repeatable = True

    def __init__(self, dataset: Any, where: str = "the dataset", kind: str = "dataset") -> None:
        self.dataset, self.where, self.kind = dataset, where, kind
        self.schema = dataset.schema
        self.encoded: list[str] = []
        try:
            self.fragments: list[Any] | None = list(dataset.get_fragments())
        except (pa.ArrowException, ValueError):  # it is filtered
            self.fragments = None

    def restrict(self, columns: Columns) -> None:
        """Let strings that are categories be decoded as dictionaries, which Parquet stores."""
        names = (*columns.categorical, *columns.targets)
        strings = [name for name in names if kind_of(self.schema.field(name).type) == "string"]
        self.encoded = strings

    def rows(self) -> int | None:
        if self.fragments is None:
            return None
        return int(sum(fragment.count_rows() for fragment in self.fragments))

    def batches(self, names: list[str], batch_rows: int) -> Batches:
        options = {"columns": names, "batch_size": batch_rows, "batch_readahead": 2}
        if self.fragments is None:
            yield from numbered(self.where, self.dataset.to_batches(**options))
            return
        rows = 0  # so far: batches end at multiples of batch_rows, as blocks of a cache do
        for fragment in self.fragments:
            where = getattr(fragment, "path", None) or self.where
            if isinstance(fragment, ds.ParquetFileFragment) and where != IN_MEMORY:
                batches = ahead(self._parquet(fragment, names, batch_rows))
            else:
                batches = fragment.to_batches(schema=self.schema, **options)
            for batch in numbered(where, cut(batches, batch_rows, rows)):
                yield batch
                rows += batch[-1].num_rows

    def _parquet(self, fragment: Any, names: list[str], batch_rows: int) -> Iterator[Any]:
        """Batches of a Parquet file with the types of the dataset."""
        local = isinstance(fragment.filesystem, fs.LocalFileSystem)
        buffered = {"pre_buffer": False, "buffer_size": BUFFER} if local else {"pre_buffer": True}
        with pq.ParquetFile(
            fragment.path,
            filesystem=fragment.filesystem,
            read_dictionary=self.encoded,
            **buffered,
        ) as file:
            given = ds.get_partition_keys(fragment.partition_expression)
            stored = set(file.schema_arrow.names)
            for name in names:
                if name not in stored and name not in given:
                    raise ValueError(f"{fragment.path} has no column {name!r}")
            chosen = [name for name in names if name in stored]
            groups = sorted(group.id for group in fragment.row_groups)  # a pickle forgets the order
            complete = None
            rows = self._decoded_rows(chosen, batch_rows)
            for batch in file.iter_batches(rows, row_groups=groups, columns=chosen):
                if complete is None:
                    complete = self._is_complete(batch.schema, names)
                yield batch if complete else self._complete(batch, names, given)

    def _decoded_rows(self, names: list[str], batch_rows: int) -> int:
        """How many rows are decoded at once: batches of texts, whose length is not known, alone."""
        width = 0
        for name in names:
            kind = self.schema.field(name).type
            try:
                width += 32 if name in self.encoded else kind.bit_width
            except ValueError:  # it has no fixed width
                return batch_rows
        return max(1, 8 * DECODED_BYTES // max(1, width * batch_rows)) * batch_rows

    def _is_complete(self, schema: Any, names: list[str]) -> bool:
        """Whether a schema has the columns in their order, with the types of the dataset."""
        return schema.names == names and all(map(self._is_known, schema))

    def _is_known(self, field: Any) -> bool:
        """Whether a column is of the type of the dataset, or has a dictionary."""
        return pat.is_dictionary(field.type) or field.type == self.schema.field(field.name).type

    def _complete(self, batch: Any, names: list[str], given: dict[str, Any]) -> Any:
        """The columns by their names, with the types of the dataset and those of its folders."""
        arrays = []
        for name in names:
            kind = self.schema.field(name).type
            if name in given and name not in batch.schema.names:
                array = pa.repeat(pa.scalar(given[name]), batch.num_rows)
            else:
                array = batch.column(name)
            known = self._is_known(pa.field(name, array.type))
            arrays.append(array if known else array.cast(kind))
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def files(self) -> list[dict[str, Any]]:
        files = []
        for fragment in self.fragments or []:
            path = getattr(fragment, "path", None)
            if path and path != IN_MEMORY:
                files.append(described(fragment.filesystem, path))
        return files


def cut(batches: Iterator[Any], batch_rows: int, before: int) -> Iterator[Any]:
    """Batches cut where the number of rows, with those before, is a multiple of batch_rows."""
    left = batch_rows - before % batch_rows
    for batch in batches:
        first = 0
        while first < batch.num_rows:
            part = batch.slice(first, left)
            yield part
            first += part.num_rows
            left = left - part.num_rows or batch_rows
