"""Files of svmlight / libsvm, lines of a label and pairs index:value, read by whole lines."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import load_svmlight_file

from .block import Block, check_finite, place
from .source import Source, described

__all__ = ["SvmlightSource"]

PIECE = 1 << 22
"""Bytes of a piece, about: some 8 MB of numbers."""


class SvmlightSource(Source):
    """Rows of svmlight files. Query numbers are ignored.

    Indices count from 0 if the files, as far as they are read for this, have an index 0; else
    from 1. Without ``n_features`` all files are read once before, to find it and the first index.

    Parameters
    ----------
    paths : sequence of str
    filesystem : pyarrow.fs.FileSystem
    n_features : int or None
        Number of columns of X. If it is given, the first piece tells where indices begin.
    """

    def __init__(
        self,
        paths: Sequence[str],
        filesystem: Any,
        n_features: int | None,
    ) -> None:
        self.paths, self.filesystem = paths, filesystem
        self._rows: int | None = None
        lowest, highest, rows = 1, -1, 0
        for X in self._scanned(whole=n_features is None):
            rows += X.shape[0]
            if X.nnz:
                lowest = min(lowest, int(X.indices.min()))
                highest = max(highest, int(X.indices.max()))
        self.first_index = 0 if lowest == 0 else 1
        if n_features is None:
            self._rows = rows
            n_features = highest + 1 - self.first_index
        if rows == 0 or n_features < 1:
            raise ValueError(f"{paths[0]} has no {'features' if rows else 'rows'}")
        self.n_features = n_features

    @property
    def rows(self) -> int | None:
        return self._rows

    def _scanned(self, whole: bool) -> Iterator[Any]:
        """X of all files, or of the first piece."""
        for path in self.paths:
            for X, _, _ in self._parts(path):
                yield X
                if not whole:
                    return

    def _parts(self, path: str) -> Iterator[tuple[Any, Any, int]]:
        """X and y of each piece of a file, and the number of their first row."""
        first_row = first_line = 0
        with self.filesystem.open_input_stream(path) as file:
            for text in whole_lines(file):
                X, y = parsed(text, path, first_line)
                if X.shape[0]:
                    yield X, y, first_row
                first_row += X.shape[0]
                first_line += text.count(b"\n")

    def blocks(self) -> Iterator[Block]:
        for path in self.paths:
            for X, y, first_row in self._parts(path):
                yield self._block(X, y, path, first_row)

    def _block(self, X: Any, y: Any, path: str, first_row: int) -> Block:
        indices = X.indices - self.first_index
        if indices.size and (indices.min() < 0 or indices.max() >= self.n_features):
            entry = int(np.argmax((indices < 0) | (indices >= self.n_features)))
            row = int(np.searchsorted(X.indptr, entry, side="right")) - 1
            raise ValueError(
                f"{place(path, first_row + row)}: index {X.indices[entry]} is none of "
                f"{self.n_features} features that count from {self.first_index}"
            )
        fits = max(self.n_features, indices.size) <= np.iinfo(np.int32).max
        index = np.int32 if fits else np.int64
        arrays = X.data, indices.astype(index), X.indptr.astype(index)
        shaped = sp.csr_array(arrays, shape=(X.shape[0], self.n_features))
        shaped.has_canonical_format = True  # the reader refuses indices that are not sorted
        check_finite(shaped, path, first_row)
        check_finite(y, path, first_row, "y")
        return Block(shaped, y, None)

    def fingerprint(self) -> dict[str, Any]:
        return {
            "kind": "svmlight",
            "files": [described(self.filesystem, path) for path in self.paths],
            "n_features": self.n_features,
            "first_index": self.first_index,
        }


def whole_lines(file: Any) -> Iterator[bytes]:
    """Pieces of a file that end where a line ends."""
    rest = b""
    while read := bytes(file.read(PIECE)):
        text, newline, tail = (rest + read).rpartition(b"\n")
        if newline:
            yield text + newline
        rest = tail
    if rest:
        yield rest


def parsed(text: bytes, path: str, first_line: int) -> tuple[Any, Any]:
    """X, of as many columns as the largest index asks for, and y of whole lines.

    Raises
    ------
    ValueError
        Naming the file and the first line that is wrong, counted from 1.
    """
    try:
        return load_svmlight_file(io.BytesIO(text), zero_based=True)
    except (ValueError, OverflowError) as error:
        failed = error
    lines = text.splitlines(keepends=True)
    first, last = 0, len(lines)  # the first wrong line is one of them
    while last - first > 1:
        middle = (first + last) // 2
        try:
            load_svmlight_file(io.BytesIO(b"".join(lines[first:middle])), zero_based=True)
            first = middle
        except (ValueError, OverflowError) as error:
            failed, last = error, middle
    raise ValueError(f"{path}, line {first_line + first + 1}: {failed}") from failed
