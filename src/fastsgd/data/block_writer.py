"""Blocks of one size, cut from the rows that come and written to files."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..inputs.threads import next_result
from .block import LEAST_ROWS, Block
from .block_files import FileRecord, write_array
from .first_pass import FirstPass, joined_blocks, label_kind_of, part_of, row_bytes_of
from .manifest import Manifest
from .source import Source

__all__ = ["BLOCK_BYTES", "BlockWriter"]

BLOCK_BYTES = 1 << 23
"""Bytes of X in a block, about."""

MOST_ROWS = 1 << 20
"""Rows of a block, at most."""

PENDING = 2
"""Blocks that wait for the thread that writes, at most."""

SIZING_ROWS = 1024
"""First rows, by whose bytes it is decided how many rows a block has."""


class BlockWriter:
    """Cuts what comes into blocks of one size and writes them.

    What is written depends on the rows alone, and not on the blocks in which they come. A thread
    writes, while the next rows are read.

    Parameters
    ----------
    folder : Path
        Of the files.
    block_bytes : int
        Bytes of X in a block, about.
    """

    def __init__(self, folder: Path, block_bytes: int) -> None:
        self.folder, self.block_bytes = folder, block_bytes
        self.found = FirstPass()
        self.records: list[dict[str, FileRecord]] = []
        self.size = 0  # rows of a block, once the first rows say it
        self.waiting: list[Block] = []
        self.have = 0  # rows that wait
        self.first: Block | None = None
        self.count = 0  # of blocks
        self.thread: threading.Thread | None = None
        self.closed = False
        self.to_write: SimpleQueue[Any] = SimpleQueue()
        self.written: SimpleQueue[Any] = SimpleQueue()  # records of files, or an exception
        self.pending = 0  # blocks that the thread has

    def close(self) -> None:
        """End the thread, which writes nothing more than the block that it is at."""
        self.closed = True
        self.to_write.put(None)
        if self.thread is not None and self.thread.is_alive():
            self.thread.join()

    def add(self, block: Block, *, copy: bool = True) -> None:
        """Take in the next rows: copied, if the source may use its arrays again."""
        if len(block) == 0:
            return
        if self.first is None:
            self.first = Block(block.X[:0], _stored(block.y), _stored(block.sample_weight))
        block = self._conformed(block)
        if self.size == 0:
            self._wait(block, 0, len(block), copy)
            if self.have >= SIZING_ROWS:
                self._cut(self._sized(), copy=False)
        else:
            self._cut(block, copy)

    def _sized(self) -> Block:
        """The rows that wait, once they say how many rows a block has."""
        block = joined_blocks(self.waiting)
        rows = int(self.block_bytes / max(1.0, row_bytes_of(block.X[:SIZING_ROWS])))
        self.size = max(LEAST_ROWS, min(MOST_ROWS, rows)) // LEAST_ROWS * LEAST_ROWS
        self.waiting, self.have = [], 0
        return block

    def _cut(self, block: Block, copy: bool) -> None:
        """Write the blocks that are full with these rows; the rest waits."""
        start = 0
        while self.have + len(block) - start >= self.size:
            stop = start + self.size - self.have
            self.waiting.append(part_of(block, start, stop, copy=copy and not self.waiting))
            self._write(joined_blocks(self.waiting))
            self.waiting, self.have, start = [], 0, stop
        if start < len(block):
            self._wait(block, start, len(block), copy)

    def _wait(self, block: Block, start: int, stop: int, copy: bool) -> None:
        """Keep rows until there are enough for a block."""
        self.waiting.append(part_of(block, start, stop, copy=copy))
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
        self._settle(PENDING - 1)
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="fastsgd-writer", daemon=True)
            self.thread.start()
        self.to_write.put((block, places, f"{self.count:06d}"))
        self.pending += 1
        self.count += 1

    def _run(self) -> None:
        """In the thread: write what comes."""
        for task in iter(self.to_write.get, None):
            if self.closed:
                return
            try:
                self.written.put(self._write_arrays(*task))
            except BaseException as error:  # handed to whoever writes the next block
                self.written.put(error)

    def _settle(self, most: int) -> None:
        """Wait until no more than so many blocks wait for the thread."""
        while self.pending > most:
            assert self.thread is not None
            found = next_result(self.written, self.thread)
            self.pending -= 1
            if isinstance(found, BaseException):
                raise found
            self.records.append(found)

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
            raise ValueError(
                "y has more than 10,000 different strings, too many to be classes: give numbers,"
                " or another column as the target"
            )
        return places.astype(np.int32)

    def finish(self, source: Source, fingerprint: dict[str, Any]) -> Manifest:
        """Write what is left, and say what there is."""
        first = self.first
        if first is None:
            raise ValueError("the source has no rows")
        if self.size == 0:
            self._cut(self._sized(), copy=False)
        if self.waiting:
            self._write(joined_blocks(self.waiting))
        self._settle(0)
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
            fingerprint=fingerprint,
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
