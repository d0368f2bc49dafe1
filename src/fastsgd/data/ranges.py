"""Files in ranges that can be read without the others, and sources of some of these.

A range is some row groups of a Parquet file, record batches of an Arrow IPC file, rows of an array
of NumPy, or a whole file of another kind. A part of a source has its columns, its types and its
means: what was found of all files holds for each part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arrays import NpySource
from .block import Block
from .source import Source, described
from .text import SvmlightSource

__all__ = ["FileRange", "PartOfSource", "joined_ranges", "ranges_of"]


@dataclass(frozen=True)
class FileRange:
    """A range of a file.

    Attributes
    ----------
    file : int
        Number of the file in its source.
    path : str
    first, end : int
        Numbers of the first unit and of the one behind the last: of row groups, record batches or
        rows; 0 and 1 of a whole file.
    first_row : int
        Number in the file of the first row.
    size : int
        Rows; of files whose rows are not known without reading them, bytes.
    """

    file: int
    path: str
    first: int
    end: int
    first_row: int
    size: int


def joined_ranges(ranges: Sequence[FileRange]) -> list[FileRange]:
    """The same, with ranges that follow each other in a file as one."""
    found: list[FileRange] = []
    for each in ranges:
        last = found[-1] if found else None
        if last is not None and (last.file, last.end) == (each.file, each.first):
            found[-1] = replace(last, end=each.end, size=last.size + each.size)
        else:
            found.append(each)
    return found


def ranges_of(source: Source) -> list[FileRange]:
    """All ranges of a source of files, as small as can be, in the order of the rows.

    Parameters
    ----------
    source : Source
        Of paths.

    Raises
    ------
    ValueError
        If a file cannot be read: the message names it.
    """
    if isinstance(source, NpySource):
        return [
            FileRange(file, source.paths[file], first, end, first, end - first)
            for file, first, end in source.ranges()
        ]
    if isinstance(source, SvmlightSource):
        return _whole_files(source.paths, source.filesystem)
    reader: Any = vars(source)["reader"]
    fragments = getattr(reader, "fragments", None)
    if fragments is None:
        return _whole_files(reader.paths, reader.filesystem)
    found: list[FileRange] = []
    for file, fragment in enumerate(fragments):
        try:
            sizes = _sizes(reader.kind, fragment)
        except (OSError, ValueError) as error:  # among them those of Arrow
            raise ValueError(f"{fragment.path}: {error}") from error
        starts = np.cumsum([0, *sizes]).tolist()
        found += [
            FileRange(file, fragment.path, i, i + 1, starts[i], size)
            for i, size in enumerate(sizes)
        ]
    return found


def _whole_files(paths: Sequence[str], filesystem: Any) -> list[FileRange]:
    """A range for each file, in bytes."""
    sizes = [described(filesystem, path)["size"] for path in paths]
    return [FileRange(i, path, 0, 1, 0, sizes[i]) for i, path in enumerate(paths)]


def _sizes(kind: str, fragment: Any) -> list[int]:
    """Rows of each unit of a file."""
    if kind == "parquet":
        return [group.num_rows for group in fragment.row_groups]
    with _opened_ipc(fragment, [0]) as file:
        return [file.get_batch(i).num_rows for i in range(file.num_record_batches)]


def _opened_ipc(fragment: Any, fields: list[int] | None = None) -> Any:
    """A file of Arrow IPC, all of its columns or some."""
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(included_fields=fields)
    return pa.ipc.open_file(fragment.filesystem.open_input_file(fragment.path), options=options)


class RangeReader:
    """Ranges of the files of a ``DatasetReader``, one after the other.

    Parameters
    ----------
    reader : DatasetReader
    ranges : sequence of FileRange
    """

    repeatable = True

    def __init__(self, reader: Any, ranges: Sequence[FileRange]) -> None:
        self.kind, self.where, self.schema = reader.kind, reader.where, reader.schema
        self.reader = copy.copy(reader)
        self.reader.dataset = self.reader.fragments = None  # which have all files
        self.parts = [(each, self._fragment(reader.fragments[each.file], each)) for each in ranges]

    def _fragment(self, fragment: Any, each: FileRange) -> Any:
        if self.kind != "parquet":
            return fragment
        return fragment.subset(row_group_ids=range(each.first, each.end))

    def restrict(self, columns: Any) -> None:
        """See :class:`fastsgd.data.arrow.Reader`."""
        self.reader.restrict(columns)

    def rows(self) -> int | None:
        """See :class:`fastsgd.data.arrow.Reader`."""
        return sum(each.size for each, _ in self.parts)

    def batches(self, names: list[str], batch_rows: int) -> Iterator[tuple[str, int, Any]]:
        """See :class:`fastsgd.data.arrow.Reader`."""
        for each, fragment in self.parts:
            if self.kind == "parquet":
                found = self._parquet(fragment, names, batch_rows)
            else:
                found = self._ipc(fragment, each, names, batch_rows)
            for where, row, batch in found:
                yield where, each.first_row + row, batch

    def _parquet(self, fragment: Any, names: list[str], batch_rows: int) -> Iterator[Any]:
        reader = copy.copy(self.reader)
        reader.fragments = [fragment]
        found: Iterator[Any] = reader.batches(names, batch_rows)
        return found

    def _ipc(
        self, fragment: Any, each: FileRange, names: list[str], batch_rows: int
    ) -> Iterator[Any]:
        from .arrow import numbered

        return numbered(each.path, self._record_batches(fragment, each, names, batch_rows))

    def _record_batches(
        self, fragment: Any, each: FileRange, names: list[str], batch_rows: int
    ) -> Iterator[Any]:
        with _opened_ipc(fragment) as file:
            missing = sorted(set(names) - set(file.schema.names))
            if missing:
                raise ValueError(f"{each.path} has no column {missing[0]!r}")
            for number in range(each.first, each.end):
                batch = self.reader._complete(file.get_batch(number), names, {})
                for first in range(0, batch.num_rows, batch_rows):
                    yield batch.slice(first, batch_rows)

    def files(self) -> list[dict[str, Any]]:
        """See :class:`fastsgd.data.arrow.Reader`."""
        return [described(fragment.filesystem, each.path) for each, fragment in self.parts]


class PartOfSource(Source):
    """The rows of some ranges of a source.

    Parameters
    ----------
    source : Source
        Of files.
    ranges : sequence of FileRange
        In their order.

    Attributes
    ----------
    ranges : list of FileRange
    """

    def __init__(self, source: Source, ranges: Sequence[FileRange]) -> None:
        self.ranges = joined_ranges(ranges)
        self.columns, self.feature_names = source.columns, source.feature_names
        self.n_features = source.n_features
        self._source = self._narrowed(source)

    def _narrowed(self, source: Source) -> Source:
        """The source itself, of the ranges alone; that of all is left as it is."""
        if isinstance(source, NpySource):
            return source.within([(each.file, each.first, each.end) for each in self.ranges])
        part: Any = copy.copy(source)
        if isinstance(source, SvmlightSource):
            part.paths, part._rows = [each.path for each in self.ranges], None
        elif getattr(part.reader, "fragments", None) is None:
            part.reader = copy.copy(part.reader)
            part.reader.paths = [each.path for each in self.ranges]
        else:
            part.reader = RangeReader(part.reader, self.ranges)
        return part

    @property
    def where(self) -> str:
        """The files, as messages name them."""
        first, last = self.ranges[0].path, self.ranges[-1].path
        return first if first == last else f"{first} to {last}"

    @property
    def rows(self) -> int | None:
        return self._source.rows

    @property
    def hashed_names(self) -> dict[int, str]:
        return self._source.hashed_names

    def blocks(self) -> Iterator[Block]:
        return self._source.blocks()

    def fingerprint(self) -> dict[str, Any]:
        ranges = [[each.path, each.first, each.end] for each in self.ranges]
        return {**self._source.fingerprint(), "ranges": ranges}
