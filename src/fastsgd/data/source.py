"""What all sources of rows have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from .block import Block
from .columns import Columns

__all__ = ["Source", "described"]


def described(filesystem: Any, path: str) -> dict[str, Any]:
    """Path, size and time of modification of a file."""
    info = filesystem.get_file_info(path)
    return {"path": path, "size": info.size, "mtime_ns": info.mtime_ns}


class Source(ABC):
    """Rows that are read block by block, from the start and in the same order each time.

    Attributes
    ----------
    n_features : int
        Number of columns of X.
    feature_names : list of str, or None
        Names of the columns of X, where the source has them; None if some are hashed.
    repeatable : bool
        Whether the rows can be read more than once.
    columns : Columns or None
        How named columns become X, y and sample_weight; None for a source of arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.data import open_source
    >>> source = open_source(lambda: iter([(np.eye(2), [0, 1]), (np.ones((1, 2)), [1])]))
    >>> [block.y.tolist() for block in source.blocks()]
    [[0, 1], [1]]
    """

    n_features: int
    feature_names: list[str] | None = None
    repeatable: bool = True
    columns: Columns | None = None

    @property
    def rows(self) -> int | None:
        """Number of rows, where it is known without reading them all."""
        return None

    @property
    def hashed_names(self) -> dict[int, str]:
        """Names that were met in hashed columns: see ``keep_names`` of :func:`open_source`."""
        return {}

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Read the rows from the start.

        Returns
        -------
        iterator of Block
            Their sizes are the source's own.

        Raises
        ------
        ValueError
            If a row is not as it should be: the message names the file or block, and the row,
            counted from 0.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Describe what is read, and how, as far as it can be known without reading.

        Returns
        -------
        dict
            Of what JSON can hold: "kind", and with files their absolute paths, sizes in bytes and
            times of modification in nanoseconds; schema; options. Another one, if data or
            options have changed; callables, iterators and tables in memory say nothing of their
            contents.
        """
