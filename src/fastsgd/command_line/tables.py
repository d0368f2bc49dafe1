"""Tables that are written while they are made, and CSV that is read from a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from pyarrow import types as pat

from ..data.delimited import CSV_BYTES
from .terminal import UsageError, replaced

__all__ = ["Piped", "Writer", "kind_of_output"]

KINDS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv"}
KINDS |= dict.fromkeys((".arrow", ".ipc", ".feather"), "ipc")

_Item = TypeVar("_Item")


def kind_of_output(path: str) -> str:
    """What to write into a file, by its ending.

    Raises
    ------
    UsageError
        If the ending does not say.
    """
    end = os.path.splitext(path.lower())[1]
    if end not in KINDS:
        raise UsageError(f"{path}: the name of the output must end in one of {', '.join(KINDS)}")
    return KINDS[end]


class Writer:
    """Writes columns block by block to a file, which is there when it is whole, or to a pipe.

    Parameters
    ----------
    path : str or None
        None is standard output.
    kind : {"parquet", "ipc", "csv"}
    """

    def __init__(self, path: str | None, kind: str) -> None:
        self.path, self.kind = path, kind
        self.stack = contextlib.ExitStack()
        self.writer: Any = None
        self.schema: Any = None
        self.target: Any = sys.stdout.buffer if path is None else None

    def __enter__(self) -> Self:
        if self.path is not None:
            self.target = self.stack.enter_context(replaced(self.path))
        return self

    def write(self, columns: dict[str, Any]) -> None:
        """Write the next rows."""
        arrays = {name: _plain(array) for name, array in columns.items()}
        if self.writer is None:
            self.schema = pa.schema({name: array.type for name, array in arrays.items()})
            self.writer = self.stack.enter_context(self._open())
        cast = [
            array if array.type == field.type else array.cast(field.type)
            for field, array in zip(self.schema, arrays.values(), strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(cast, schema=self.schema)
        self.writer.write_batch(batch)
        if self.path is None:
            self.target.flush()

    def _open(self) -> Any:
        if self.kind == "parquet":
            return pq.ParquetWriter(self.target, self.schema)
        if self.kind == "ipc":
            return pa.ipc.new_file(str(self.target), self.schema)
        tabs = self.path is not None and self.path.lower().endswith(".tsv")
        options = csv.WriteOptions(delimiter="\t" if tabs else ",", quoting_style="needed")
        target = self.target if self.path is None else str(self.target)
        return csv.CSVWriter(target, self.schema, write_options=options)

    def __exit__(self, *error: Any) -> bool | None:
        return self.stack.__exit__(*error)


def _plain(array: Any) -> Any:
    """A column without a dictionary, as one array."""
    if pat.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array


class Piped:
    """Standard input as what a reader of CSV files opens: once for its head, and once for all.

    Parameters
    ----------
    pipe : binary file
        Without a buffer, whose lock a thread might hold when the process ends.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.head: bytes | None = None

    def open_input_stream(self, path: str) -> Any:
        """A stream of the first bytes, and then one from the beginning to the end."""
        if self.head is None:
            parts, left = [], CSV_BYTES
            while left and (part := self.pipe.read(left)):
                parts.append(part)
                left -= len(part)
            self.head = b"".join(parts)
            if not self.head.strip():
                raise ValueError(f"{path} is empty: it must be CSV with a header")
            whole = self.head.rfind(b"\n") + 1 or len(self.head)  # lines
            return pa.BufferReader(self.head[:whole])
        return pa.PythonFile(_Chained(self.head, self.pipe), mode="r")


class _Chained(io.RawIOBase):
    """Bytes that were read already, and the rest of a file."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self.head, self.rest, self.at = head, rest, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.at < len(self.head):
            end = len(self.head) if size < 0 else self.at + size
            found = self.head[self.at : end]
            self.at += len(found)
            return found if size >= 0 else found + self.rest.read()
        return self.rest.read(size) or b""
