"""Arrays in files of NumPy, read in parts."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import STORED
from .block import Block, block_of, rows_of_a_block
from .source import Source

__all__ = ["NpySource"]


def array_at(path: str, name: str, dimensions: tuple[int, ...]) -> NDArray[Any]:
    """An array as it lies in its file, of which nothing has been read.

    Raises
    ------
    ValueError
        Naming the file.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no file {path}") from None
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not an array that can be read in parts: {error}") from error
    if array.ndim not in dimensions:
        what = " or ".join(map(str, dimensions))
        raise ValueError(f"{path}: {name} must have {what} dimensions, got {array.ndim}")
    return array


class NpySource(Source):
    """Rows of .npy files, with y and weights in others, or y in columns of the same.

    Parameters
    ----------
    paths : sequence of str
        Of X.
    y, sample_weight : sequence of str, or None
        As many.
    target : int or sequence of int, optional
        Columns of X that are y.
    """

    def __init__(
        self,
        paths: Sequence[str],
        y: Sequence[str] | None,
        sample_weight: Sequence[str] | None,
        target: int | Sequence[int] | None,
    ) -> None:
        for name, others in (("y", y), ("sample_weight", sample_weight)):
            if others is not None and len(others) != len(paths):
                raise ValueError(f"{name} must be as many files as X, got {len(others)}")
        absent = [None] * len(paths)
        self._parts: list[Sequence[str | None]] = [paths, y or absent, sample_weight or absent]
        arrays = [array_at(path, "X", (2,)) for path in paths]
        self._lengths = [array.shape[0] for array in arrays]
        self.paths, self._firsts = paths, [0] * len(paths)
        self._width, self._dtype = int(arrays[0].shape[1]), arrays[0].dtype
        for path, array in zip(paths, arrays, strict=True):
            if array.shape[1] != self._width:
                raise ValueError(
                    f"{path} has {array.shape[1]} columns, but {paths[0]} {self._width}"
                )
            if array.dtype != self._dtype:
                raise ValueError(f"{path} is of {array.dtype}, but {paths[0]} of {self._dtype}")
        for name, others, dimensions in (("y", y, (1, 2)), ("sample_weight", sample_weight, (1,))):
            for path, rows in zip(others or (), self._lengths, strict=False):
                if (found := array_at(path, name, dimensions).shape[0]) != rows:
                    raise ValueError(f"{path}: {name} has {found} rows, but X {rows}")
        self._target = self._columns_of(target)
        self.n_features = self._width - len(self._target or ())
        self._one_target = isinstance(target, (int, np.integer))
        if self.n_features < 1 or sum(self._lengths) == 0:
            what = "rows" if self.n_features >= 1 else "columns for X"
            raise ValueError(f"{paths[0]} has no {what}")

    def _columns_of(self, target: Any) -> list[int] | None:
        """Numbers of the columns of y."""
        if target is None:
            return None
        numbers = [target] if isinstance(target, (int, np.integer)) else list(target)
        for number in numbers:
            if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
                raise TypeError(f"target must be numbers of columns of an array, got {target!r}")
            if not -self._width <= number < self._width:
                raise ValueError(
                    f"target: X has {self._width} columns, and none of number {number}"
                )
        columns = [int(number) % self._width for number in numbers]
        if len(set(columns)) != len(columns):
            raise ValueError(f"target names a column twice: {target!r}")
        return columns

    @property
    def rows(self) -> int | None:
        return sum(self._lengths)

    def blocks(self) -> Iterator[Block]:
        dtype = self._dtype if self._dtype in STORED else np.dtype(np.float64)
        size = rows_of_a_block(self._width * dtype.itemsize)
        rows = zip(self._firsts, self._lengths, strict=True)
        for *paths, (start, length) in zip(*self._parts, rows, strict=True):
            path, y_path, weight_path = paths
            for first in range(start, start + length, size):
                part = slice(first, min(first + size, start + length))
                # Mapped anew each time: what was read is then no longer part of this process.
                X = copy_of(path, part)
                y = None if y_path is None else copy_of(y_path, part)
                if self._target is not None:
                    y = X[:, self._target[0] if self._one_target else self._target]
                    X = np.delete(X, self._target, axis=1)
                weight = None if weight_path is None else copy_of(weight_path, part)
                yield block_of(X, y, weight, str(path), first)

    def ranges(self) -> list[tuple[int, int, int]]:
        """Rows that may be read without the others: number of the file, and of the rows the first
        and the one behind the last."""
        size = rows_of_a_block(self._width * self._dtype.itemsize)
        return [
            (number, first, min(first + size, length))
            for number, length in enumerate(self._lengths)
            for first in range(0, length, size)
        ]

    def within(self, ranges: Sequence[tuple[int, int, int]]) -> NpySource:
        """The source of some of the rows."""
        part = copy.copy(self)
        part._parts = [[paths[number] for number, _, _ in ranges] for paths in self._parts]
        part._firsts = [first for _, first, _ in ranges]
        part._lengths = [end - first for _, first, end in ranges]
        return part

    def fingerprint(self) -> dict[str, Any]:
        files = []
        for path in (path for paths in self._parts for path in paths if path is not None):
            status = os.stat(path)
            files.append({"path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns})
        return {
            "kind": "npy",
            "files": files,
            "schema": [self._width, str(self._dtype)],
            "rows": self.rows,
            "target": self._target,
        }


def copy_of(path: Any, part: slice) -> NDArray[Any]:
    """Some rows of an array in a file."""
    return np.array(np.load(path, mmap_mode="r")[part], order="C")
