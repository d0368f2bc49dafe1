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
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._core import check_structure
from .block import Block
from .block_files import FileRecord, advise, check_size, read_array, read_into, write_array
from .first_pass import FirstPass, joined_blocks, label_kind_of, part_of, row_bytes_of
from .manifest import LEAST_ROWS, Manifest, read_manifest, write_manifest
from .source import Source

__all__ = ["BLOCK_BYTES", "Cache", "open_cache", "write_cache"]

BLOCK_BYTES = 1 << 23
"""Bytes of X in a block, about."""

MOST_ROWS = 1 << 20
"""Rows of a block, at most."""

AHEAD = 4
"""Blocks that the system is asked to read before they are."""

SIZING_ROWS = 1024
"""First rows, by whose bytes it is decided how many rows a block has."""


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
            raise ValueError(f"{str(self.folder)!r} has targets without a label")

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
        shutil.rmtree(self.folder, ignore_errors=True)


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
    partial = folder.parent / f".{folder.name}-{secrets.token_hex(6)}.partial"
    before = _fingerprint(source)
    try:
        partial.mkdir(parents=True)
        writer = _Writer(partial, block_bytes)
        for block in source.blocks() if blocks is None else blocks:
            writer.add(block)
        manifest = writer.finish(source)
        difference = _difference(before, _fingerprint(source))
        if difference:
            raise ValueError(f"the source changed while it was read: {difference}")
        write_manifest(partial, manifest)
        try:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            os.rename(partial, folder)
        except OSError:
            found = open_cache(folder, source)  # of another process
            if found is None:
                raise
            shutil.rmtree(partial, ignore_errors=True)
            return found
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise
    return Cache(folder)


class _Writer:
    """Cuts what comes into blocks of one size and writes them.

    What is written depends on the rows alone, and not on the blocks in which they come.
    """

    def __init__(self, folder: Path, block_bytes: int) -> None:
        self.folder, self.block_bytes = folder, block_bytes
        self.found = FirstPass()
        self.records: list[dict[str, FileRecord]] = []
        self.size = 0  # rows of a block, once the first rows say it
        self.waiting: list[Block] = []
        self.have = 0  # rows that wait
        self.first: Block | None = None

    def add(self, block: Block) -> None:
        """Take in the next rows."""
        if len(block) == 0:
            return
        if self.first is None:
            self.first = Block(block.X[:0], _stored(block.y), _stored(block.sample_weight))
        block = self._conformed(block)
        if self.size == 0:
            self._wait(block, 0, len(block))
            if self.have >= SIZING_ROWS:
                self._cut(self._sized())
        else:
            self._cut(block)

    def _sized(self) -> Block:
        """The rows that wait, once they say how many rows a block has."""
        block = joined_blocks(self.waiting)
        rows = int(self.block_bytes / max(1.0, row_bytes_of(block.X[:SIZING_ROWS])))
        self.size = max(LEAST_ROWS, min(MOST_ROWS, rows)) // LEAST_ROWS * LEAST_ROWS
        self.waiting, self.have = [], 0
        return block

    def _cut(self, block: Block) -> None:
        """Write the blocks that are full with these rows; the rest waits."""
        start = 0
        while self.have + len(block) - start >= self.size:
            stop = start + self.size - self.have
            self.waiting.append(part_of(block, start, stop))
            self._write(joined_blocks(self.waiting))
            self.waiting, self.have, start = [], 0, stop
        if start < len(block):
            self._wait(block, start, len(block))

    def _wait(self, block: Block, start: int, stop: int) -> None:
        """Keep rows: copied, since a source may use its arrays again."""
        self.waiting.append(part_of(block, start, stop, copy=True))
        self.have += stop - start

    def _conformed(self, block: Block) -> Block:
        """The block with y and weights of the dtypes of the first one."""
        self._check_kind(block)
        assert self.first is not None
        y, weight = block.y, block.sample_weight
        if y is not None and y.dtype.kind in "iuf":
            y = _cast("y", y, self.first.y)
        if weight is not None:
            weight = _cast("sample_weight", weight, self.first.sample_weight)
        return Block(block.X, y, weight)

    def _check_kind(self, block: Block) -> None:
        first = self.first
        assert first is not None
        kinds = [(sp.issparse(b.X), b.X.dtype, b.X.shape[1]) for b in (first, block)]
        if kinds[0] != kinds[1]:
            raise ValueError(
                "all blocks of a source must have X of one kind, (sparse, dtype, columns): got "
                f"{kinds[0]} first and then {kinds[1]}"
            )
        for name in ("y", "sample_weight"):
            a, b = getattr(first, name), getattr(block, name)
            if (a is None) != (b is None) or (a is not None and a.shape[1:] != b.shape[1:]):
                raise ValueError(f"all blocks of a source must have {name}, of one shape, or none")
        if block.y is not None and _target_kind(first.y) != _target_kind(block.y):
            raise ValueError(
                f"y must be of one kind in all blocks of a source: got {_target_kind(first.y)} "
                f"first and then {_target_kind(block.y)}"
            )
        y = block.y
        if y is not None and y.ndim == 2 and (y.dtype.kind in "OU" or y.shape[1] == 0):
            raise ValueError("y with two dimensions must have columns of numbers")

    def _write(self, block: Block) -> None:
        places = self.found.add(block)
        self.records.append(self._write_arrays(block, places, f"{len(self.records):06d}"))

    def _write_arrays(
        self, block: Block, places: NDArray[Any] | None, suffix: str
    ) -> dict[str, FileRecord]:
        arrays: dict[str, Any] = {}
        if sp.issparse(block.X):
            index = np.int32 if block.X.shape[1] < 2**31 else np.int64
            arrays["data"] = block.X.data
            arrays["indices"] = block.X.indices.astype(index, copy=False)
            arrays["indptr"] = block.X.indptr.astype(np.int64, copy=False)
        else:
            arrays["X"] = block.X
        if block.y is not None:
            arrays["y"] = self._stored_targets(block.y, places)
        if block.sample_weight is not None:
            arrays["weight"] = block.sample_weight
        return {
            name: write_array(self.folder, f"{name}-{suffix}.npy", array)
            for name, array in arrays.items()
        }

    def _stored_targets(self, y: NDArray[Any], places: NDArray[Any] | None) -> NDArray[Any]:
        """Numbers as they are, bools of two dimensions as 0 and 1, else the places of labels."""
        if label_kind_of(y) == "number":
            return y.astype(np.uint8) if y.dtype.kind == "b" else y
        if places is None:
            raise ValueError("y has more than 10,000 different strings, which are no classes")
        return places.astype(np.int32)

    def finish(self, source: Source) -> Manifest:
        """Write what is left, and say what there is."""
        first = self.first
        if first is None:
            raise ValueError("the source has no rows")
        if self.size == 0:
            self._cut(self._sized())
        if self.waiting:
            self._write(joined_blocks(self.waiting))
        found, y = self.found, first.y
        sample = found.sample()
        places = None
        if sample.y is not None and label_kind_of(y) != "number":
            places = found.labels.codes(sample.y)
        records = self._write_arrays(sample, places, "sample")
        return Manifest(
            rows=found.rows,
            features=int(first.X.shape[1]),
            block_rows=self.size,
            dtype=first.X.dtype.str,
            index_dtype=records["indices"]["dtype"] if sp.issparse(first.X) else "",
            outputs=None if y is None or y.ndim == 1 else int(y.shape[1]),
            y_dtype="" if y is None else records["y"]["dtype"],
            labels=found.labels.values if y is not None and y.ndim == 1 else None,
            label_kind=label_kind_of(y),
            label_weights=found.labels.weights,
            weight_dtype="" if first.sample_weight is None else records["weight"]["dtype"],
            within=found.within,
            between=found.between,
            feature_names=source.feature_names,
            hashed_names={str(column): name for column, name in source.hashed_names.items()},
            columns=None if source.columns is None else source.columns.to_json(),
            fingerprint=_fingerprint(source),
            blocks=self.records,
            sample=records,
        )


def _stored(values: NDArray[Any] | None) -> NDArray[Any] | None:
    """No values, of the dtype in which those like them are stored."""
    if values is None or values.dtype.kind not in "iuf":
        return None if values is None else values[:0]
    dtype = values.dtype.newbyteorder("=")
    return np.empty((0, *values.shape[1:]), dtype if dtype.itemsize <= 8 else np.float64)


def _cast(name: str, values: NDArray[Any], like: Any) -> NDArray[Any]:
    """Values in the dtype of those of the first block.

    Raises
    ------
    ValueError
        If it cannot hold them.
    """
    if values.dtype == like.dtype:
        return values
    with np.errstate(all="ignore"):
        found = values.astype(like.dtype)
    if values.dtype.itemsize <= 8 and not np.array_equal(found, values):
        raise ValueError(
            f"{name} has dtype {like.dtype} in the first block, and values of dtype "
            f"{values.dtype} later that it cannot hold: give it in one dtype"
        )
    return found


def _target_kind(y: Any) -> str:
    """What targets are, in a word."""
    return {"b": "bools", "O": "strings", "U": "strings"}.get(y.dtype.kind, "numbers")
