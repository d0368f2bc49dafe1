"""Rows on disk in blocks of one size: a folder of plain ``.npy`` files and a manifest.

A block is a few files: ``X-000000.npy`` of dense rows, or ``data-``, ``indices-`` and ``indptr-``
of CSR; ``y-`` and, if rows have weights, ``weight-``. ``manifest.json`` has the version of the
format, what the rows were made of (the source's fingerprint), sizes, the labels of y, and the
checksum (XXH3, 64 bits) of each file's numbers. It is written last, into a folder that is renamed
when it is whole: there is no half of a cache.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import check_structure
from .ahead import blocks_ahead
from .block import Block
from .block_files import FileRecord, advise, check_size, read_array, read_into
from .block_writer import BLOCK_BYTES, BlockWriter
from .manifest import read_manifest, write_manifest
from .partial import partial_folder, remove_folder, unlock
from .source import Source

__all__ = ["BLOCK_BYTES", "Cache", "open_cache", "write_cache"]

AHEAD = 4
"""Blocks that the system is asked to read before they are."""


class Cache:
    """Rows on disk, in blocks of one size.

    Parameters
    ----------
    folder : path
        What :func:`write_cache` has written.

    Raises
    ------
    ValueError
        If it is no cache, or one of a later format, or broken.
    """

    def __init__(self, folder: Any) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        for records in (*self.manifest.blocks, self.manifest.sample):
            for record in records.values():
                check_size(self.folder, record)
        self.labels = None if self.manifest.labels is None else self._labels()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.manifest.rows

    @property
    def features(self) -> int:
        """Number of columns of X."""
        return self.manifest.features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of X."""
        return np.dtype(self.manifest.dtype)

    @property
    def label_kind(self) -> str:
        """ "number", or "str" or "bool" where y has the places of labels."""
        return self.manifest.label_kind

    @property
    def label_weights(self) -> list[float]:
        """Sums of the weights of the rows of each label."""
        return self.manifest.label_weights

    @property
    def bytes(self) -> int:
        """Bytes of all rows, with 8 more a row for an order."""
        return sum(map(self.bytes_of_block, range(self.count))) + 8 * self.rows

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.manifest.blocks)

    def _labels(self) -> NDArray[Any]:
        """The labels of y, in the order of their places."""
        values = self.manifest.labels
        assert values is not None
        if self.manifest.label_kind == "str":
            return np.array(values, dtype=object)
        if self.manifest.label_kind == "bool":
            return np.array(values, dtype=bool)
        return np.array(values, dtype=self.manifest.y_dtype)

    def rows_of_block(self, number: int) -> int:
        """Rows of a block."""
        whole, size = self.manifest.rows, self.manifest.block_rows
        return min(size, whole - number * size)

    def values_of_block(self, number: int) -> int:
        """Values of a block of CSR."""
        return int(self.manifest.blocks[number]["data"]["shape"][0])

    def bytes_of_block(self, number: int) -> int:
        """Bytes of X, y and the weights of a block."""
        return sum(record["bytes"] for record in self.manifest.blocks[number].values())

    def block(self, number: int) -> Block:
        """Read a block.

        Raises
        ------
        ValueError
            If a file is missing, short or not what was written.
        """
        return self._block(self.manifest.blocks[number])

    def weights(self, number: int) -> NDArray[Any]:
        """The weights of a block, where rows have weights."""
        return read_array(self.folder, self.manifest.blocks[number]["weight"])

    def sample(self) -> Block:
        """Evenly spaced rows, and the first one of each label."""
        return self._block(self.manifest.sample)

    def _block(self, records: dict[str, FileRecord]) -> Block:
        parts = {name: read_array(self.folder, record) for name, record in records.items()}
        if self.manifest.sparse:
            m = len(parts["indptr"]) - 1
            X: Any = sp.csr_array(
                (parts["data"], parts["indices"], parts["indptr"]),
                shape=(m, self.manifest.features),
            )
            check_structure(X)
        else:
            X = parts["X"]
        return Block(X, self.targets(parts.get("y")), parts.get("weight"))

    def targets(self, y: NDArray[Any] | None) -> NDArray[Any] | None:
        """Targets as the source has them, of those that are stored."""
        if y is None or self.manifest.label_kind == "number":
            return y
        assert self.labels is not None
        self.check_codes(y)
        return self.labels[y]

    def check_codes(self, y: NDArray[Any]) -> None:
        """Refuse places that no label has.

        Raises
        ------
        ValueError
            If there is one.
        """
        assert self.labels is not None
        if y.size and not 0 <= y.min() <= y.max() < len(self.labels):
            raise ValueError(
                f"{str(self.folder)!r} is broken: it has targets that are none of its labels."
                " Remove the folder."
            )

    def read_into(self, number: int, name: str, out: NDArray[Any]) -> None:
        """Read a file of a block into an array of its shape and dtype.

        Raises
        ------
        ValueError
            If the file is missing, short or not what was written.
        """
        read_into(self.folder, self.manifest.blocks[number][name], out)

    def read_ahead(self, number: int) -> None:
        """Have the files of a block read into the page cache."""
        for record in self.manifest.blocks[number].values():
            advise(self.folder, record)

    def blocks(self) -> Iterator[Block]:
        """All blocks, in their order."""
        ahead = iter(range(self.count))
        for number in range(self.count):
            for upcoming in itertools.islice(ahead, AHEAD if number == 0 else 1):
                self.read_ahead(upcoming)
            yield self.block(number)

    def remove(self) -> None:
        """Remove the folder."""
        remove_folder(self.folder)


def open_cache(folder: Any, source: Source) -> Cache | None:
    """The cache of a source, if there is one in the folder.

    Raises
    ------
    ValueError
        If the cache is of something else: the message says in what it differs.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    cache = Cache(folder)
    difference = _difference(cache.manifest.fingerprint, _fingerprint(source))
    if difference:
        raise ValueError(
            f"cache {str(folder)!r} was made of something else: {difference}. Remove the folder, "
            "or name another one."
        )
    return cache


def _fingerprint(source: Source) -> dict[str, Any]:
    """That of the source, as JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(source.fingerprint()))
    return found


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first value of two fingerprints that differs; "" if none does."""
    for name in sorted({*here, *there}):
        was, now = there.get(name, _NOTHING), here.get(name, _NOTHING)
        if was != now:
            return f"{name} was {_short(was)}, and is {_short(now)}"
    return ""


_NOTHING = "absent"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."


def write_cache(
    source: Source,
    folder: Any,
    *,
    blocks: Iterable[Block] | None = None,
    block_bytes: int = BLOCK_BYTES,
    finish: Callable[[Path], None] | None = None,
) -> Cache:
    """Write the rows of a source into a folder, which must not be there or be empty.

    Parameters
    ----------
    source : Source
        What the rows are of.
    folder : path
        Of the cache; it appears when it is whole.
    blocks : iterable of Block, optional
        The rows; those of ``source.blocks()`` if not given.
    block_bytes : int
        Bytes of X in a block, about.
    finish : callable, optional
        Called with the folder once all rows are there; it may write other files beside them.

    Returns
    -------
    Cache
        Of the folder; of whoever was first, if another process wrote it meanwhile.

    Raises
    ------
    ValueError
        If the source has no rows, or rows of several kinds, or changes meanwhile.
    OSError
        If there is no place or no permission; nothing is left behind.
    """
    folder = Path(os.path.realpath(folder))
    missing = [each for each in folder.parents if not each.exists()]
    before = _fingerprint(source)
    with contextlib.ExitStack() as stack:
        partial = writer = None
        try:
            partial = stack.enter_context(partial_folder(folder))
            writer = BlockWriter(partial, block_bytes)
            for block in blocks_ahead(source) if blocks is None else blocks:
                writer.add(block, copy=source.columns is None)
            manifest = writer.finish(source, before)
            writer.close()
            difference = _difference(before, _fingerprint(source))
            if difference:
                raise ValueError(f"the source changed while it was read: {difference}")
            if finish is not None:
                finish(partial)
            write_manifest(partial, manifest)
            unlock(partial)
            found = _renamed(partial, folder, source)
        except BaseException:
            if writer is not None:
                writer.close()  # again, where Ctrl-C came before close had done anything
            if partial is not None:
                remove_folder(partial)
            for each in missing:
                with contextlib.suppress(OSError):
                    each.rmdir()
            raise
    return found


def _renamed(partial: Path, folder: Path, source: Source) -> Cache:
    """The cache that a folder of files becomes, or that of another process that was first."""
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        os.rename(partial, folder)
    except OSError:
        found = open_cache(folder, source)
        if found is None:
            raise
        remove_folder(partial)
        return found
    return Cache(folder)
