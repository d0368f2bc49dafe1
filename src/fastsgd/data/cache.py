"""Rows on disk in blocks of one size: a folder of plain ``.npy`` files and a manifest.

A block is a few files: ``X-000000.npy`` of dense rows, or ``data-``, ``indices-`` and ``indptr-``
of CSR; ``y-`` and, if rows have weights, ``weight-``. ``manifest.json`` has the version of the
format, what the rows were made of (the source's fingerprint), sizes, the labels of y, and the
checksum (XXH3, 64 bits) of each file's numbers. It is written last, into a folder that is renamed
when it is whole: there is no half of a cache.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..problem import STORED
from .block import Block
from .block_files import FileRecord, advise, read_array, read_into, write_array
from .first_pass import FirstPass, bytes_of, joined_blocks, rows_of
from .source import Source

__all__ = ["BLOCK_BYTES", "Cache", "label_kind_of", "open_cache", "write_cache"]

FORMAT = 1
"""Version of the format; one that is greater is refused."""

BLOCK_BYTES = 1 << 23
"""Bytes of X in a block, about."""

LEAST_ROWS, MOST_ROWS = 32, 1 << 20
"""Rows of a block: a multiple of the former."""

AHEAD = 4
"""Blocks that the system is asked to read before they are."""

MANIFEST = "manifest.json"
DENSE, CSR = ("X",), ("data", "indices", "indptr")


@dataclass
class Manifest:
    """What ``manifest.json`` says of a cache.

    Attributes
    ----------
    rows, features, block_rows : int
        Sizes; a block has ``block_rows`` rows, the last one the rest.
    dtype, index_dtype : str
        Of X, or of its values, and of the indices of CSR; the latter is "" of dense X.
    outputs : int or None
        Columns of y, if it has two dimensions.
    y_dtype : str
        Of y as it is stored; "" without y.
    labels : list or None
        Distinct values of y in the order in which they come, if they are at most 10,000.
    label_kind : str
        "number", or what the labels are of which y has the places: "str" or "bool".
    label_weights : list of float
        Sums of the weights of the rows of each label.
    weight_dtype : str
        Of the weights; "" without.
    within, between : float
        Sums of squared deviations of y within blocks and between them.
    feature_names : list of str or None
    hashed_names : dict of str to str
        Names of hashed columns, by their numbers.
    columns : str or None
        The rules by which columns became X: ``Columns.to_json()``.
    fingerprint : dict
        Of the source.
    blocks : list of dict
        Of each block the record of each of its files, by its kind.
    sample : dict
        The same of a sample of rows.
    format : int
        Version of the format.
    """

    rows: int
    features: int
    block_rows: int
    dtype: str
    index_dtype: str
    outputs: int | None
    y_dtype: str
    labels: list[Any] | None
    label_kind: str
    label_weights: list[float]
    weight_dtype: str
    within: float
    between: float
    feature_names: list[str] | None
    hashed_names: dict[str, str]
    columns: str | None
    fingerprint: dict[str, Any]
    blocks: list[dict[str, FileRecord]] = field(default_factory=list)
    sample: dict[str, FileRecord] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def sparse(self) -> bool:
        """Whether X is CSR."""
        return bool(self.index_dtype)


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
        self.manifest = _read_manifest(self.folder)
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
        else:
            X = parts["X"]
        return Block(X, self.targets(parts.get("y")), parts.get("weight"))

    def targets(self, y: NDArray[Any] | None) -> NDArray[Any] | None:
        """Targets as the source has them, of those that are stored."""
        if y is None or self.manifest.label_kind == "number":
            return y
        assert self.labels is not None
        return self.labels[y]

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
    here, there = json.loads(json.dumps(source.fingerprint())), cache.manifest.fingerprint
    differs = sorted(
        name for name in {*here, *there} if here.get(name, _NOTHING) != there.get(name, _NOTHING)
    )
    if differs:
        name = differs[0]
        raise ValueError(
            f"cache {str(folder)!r} was made of something else: {name} was "
            f"{_short(there.get(name))}, and is {_short(here.get(name))}. Remove the folder, or "
            "name another one."
        )
    return cache


_NOTHING = object()


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
        If the source has no rows, or rows of several kinds.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    names = {"prefix": f".{folder.name}-", "suffix": ".partial", "dir": folder.parent}
    partial = Path(tempfile.mkdtemp(**names))
    try:
        writer = _Writer(partial, block_bytes)
        for block in source.blocks() if blocks is None else blocks:
            writer.add(block)
        manifest = writer.finish(source)
        text = json.dumps(asdict(manifest), indent=1)
        with open(partial / MANIFEST, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        try:
            os.rename(partial, folder)
        except OSError:
            found = open_cache(folder, source)  # of another process
            if found is None:
                raise
            shutil.rmtree(partial, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Cache(folder)


class _Writer:
    """Cuts what comes into blocks of one size and writes them."""

    def __init__(self, folder: Path, block_bytes: int) -> None:
        self.folder, self.block_bytes = folder, block_bytes
        self.found = FirstPass()
        self.records: list[dict[str, FileRecord]] = []
        self.size = 0  # rows of a block, once the first rows say it
        self.waiting: list[Block] = []
        self.first: Block | None = None

    def add(self, block: Block) -> None:
        """Take in the next rows."""
        if len(block) == 0:
            return
        if self.first is None:
            rows = int(self.block_bytes / max(1.0, bytes_of(block.X) / len(block)))
            rows = max(LEAST_ROWS, min(MOST_ROWS, rows))
            self.size, self.first = rows // LEAST_ROWS * LEAST_ROWS, block
        self._check_kind(block)
        self.found.add(block)
        start = 0
        have = sum(map(len, self.waiting))
        while have + len(block) - start >= self.size:
            stop = start + self.size - have
            self.waiting.append(_slice(block, start, stop))
            self._write(joined_blocks(self.waiting))
            self.waiting, have, start = [], 0, stop
        if start < len(block):  # copied: a source may use its arrays again
            self.waiting.append(rows_of(block, np.arange(start, len(block))))

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

    def _write(self, block: Block) -> None:
        self.records.append(self._write_arrays(block, f"{len(self.records):06d}"))

    def _write_arrays(self, block: Block, suffix: str) -> dict[str, FileRecord]:
        arrays: dict[str, Any] = {}
        if sp.issparse(block.X):
            index = np.int32 if block.X.shape[1] < 2**31 else np.int64
            arrays["data"] = block.X.data
            arrays["indices"] = block.X.indices.astype(index, copy=False)
            arrays["indptr"] = block.X.indptr.astype(np.int64, copy=False)
        else:
            arrays["X"] = block.X
        if block.y is not None:
            arrays["y"] = self._stored_targets(block.y)
        if block.sample_weight is not None:
            arrays["weight"] = block.sample_weight
        return {
            name: write_array(self.folder, f"{name}-{suffix}.npy", array)
            for name, array in arrays.items()
        }

    def _stored_targets(self, y: NDArray[Any]) -> NDArray[Any]:
        if y.dtype.kind in "iuf":
            assert self.first is not None and self.first.y is not None
            dtype = self.first.y.dtype
            if y.dtype != dtype and not (y.astype(dtype) == y).all():
                raise ValueError(f"y has dtype {dtype} in the first block, and {y.dtype} later")
            return y.astype(dtype, copy=False)
        if y.ndim == 2:
            if y.dtype.kind != "b":
                raise ValueError("y with several columns must be numbers")
            return y.astype(np.uint8)
        if self.found.labels.values is None:
            raise ValueError("y has more than 10,000 different strings, which are no classes")
        return self.found.labels.codes(y)

    def finish(self, source: Source) -> Manifest:
        """Write what is left, and say what there is."""
        if self.waiting:
            self._write(joined_blocks(self.waiting))
        first = self.first
        if first is None:
            raise ValueError("the source has no rows")
        found, y = self.found, first.y
        sample = found.sample()
        records = self._write_arrays(sample, "sample")
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
            fingerprint=source.fingerprint(),
            blocks=self.records,
            sample=records,
        )


def label_kind_of(y: NDArray[Any] | None) -> str:
    """ "number", or what strings and bools are called whose places are stored instead of them."""
    if y is None or y.ndim == 2 or y.dtype.kind not in "bOU":
        return "number"
    return "bool" if y.dtype.kind == "b" else "str"


def _slice(block: Block, start: int, stop: int) -> Block:
    """Rows that lie together; of a whole block itself."""
    if start == 0 and stop == len(block):
        return block
    return rows_of(block, slice(start, stop))


def _read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, every value checked.

    Raises
    ------
    ValueError
        If it is none, of a later format, or broken.
    """
    path = folder / MANIFEST
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    except FileNotFoundError:
        raise ValueError(f"{str(folder)!r} is no cache of fastsgd: it has no {MANIFEST}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{str(path)!r} is no manifest of a cache")
    version = fields.get("format")
    if version != FORMAT:
        raise ValueError(
            f"{str(path)!r} is of format {version!r}, and this version of fastsgd reads format "
            f"{FORMAT}: make the cache anew"
        )
    try:
        manifest = Manifest(**fields)
        _check_manifest(manifest)
    except (TypeError, KeyError, AttributeError, OverflowError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is broken: {error}") from None
    return manifest


def _check_manifest(m: Manifest) -> None:
    """Refuse a manifest that contradicts itself, before anything is allocated for it."""
    for name, lowest in (("rows", 1), ("features", 1), ("block_rows", LEAST_ROWS)):
        value = getattr(m, name)
        if type(value) is not int or not lowest <= value < 2**48:
            raise ValueError(f"{name} must be an integer from {lowest}, got {value!r}")
    if np.dtype(m.dtype) not in STORED or (m.index_dtype and np.dtype(m.dtype).kind != "f"):
        raise ValueError(f"X of dtype {m.dtype}")
    if m.index_dtype not in ("", "<i4", "<i8"):
        raise ValueError(f"indices of dtype {m.index_dtype}")
    if m.label_kind not in ("number", "str", "bool"):
        raise ValueError(f"labels of kind {m.label_kind!r}")
    if len(m.blocks) != -(-m.rows // m.block_rows):
        raise ValueError(f"{len(m.blocks)} blocks of {m.block_rows} rows, but {m.rows} rows")
    if m.outputs is not None and (type(m.outputs) is not int or not 0 < m.outputs < 2**31):
        raise ValueError(f"outputs must be a positive integer, got {m.outputs!r}")
    if m.labels is not None:
        if not isinstance(m.labels, list) or len(m.label_weights) != len(m.labels):
            raise ValueError("labels and label_weights must be lists of one length")
        of: Any = {"str": str, "bool": bool, "number": (int, float)}[m.label_kind]
        if not all(isinstance(value, of) for value in m.labels):
            raise ValueError(f"labels must be of kind {m.label_kind}")
    elif m.label_kind != "number":
        raise ValueError("labels are missing")
    for number, records in enumerate([*m.blocks, m.sample]):
        rows = min(m.block_rows, m.rows - number * m.block_rows)
        if number == len(m.blocks):  # the sample, of as many rows as its y or X has
            first = records["indptr" if m.sparse else "X"]["shape"][0]
            rows = first - 1 if m.sparse else first
        _check_records(m, records, rows)


def _check_records(m: Manifest, records: dict[str, FileRecord], rows: int) -> None:
    """Refuse files of a block of other names, shapes and dtypes than it has."""
    wanted: dict[str, tuple[tuple[int, ...], str]] = {}
    if m.sparse:
        count = records["data"]["shape"][0]
        wanted["data"] = (count,), m.dtype
        wanted["indices"] = (count,), m.index_dtype
        wanted["indptr"] = (rows + 1,), "<i8"
    else:
        wanted["X"] = (rows, m.features), m.dtype
    if m.y_dtype:
        wanted["y"] = (rows,) if m.outputs is None else (rows, m.outputs), m.y_dtype
    if m.weight_dtype:
        wanted["weight"] = (rows,), m.weight_dtype
    if set(records) != set(wanted):
        raise ValueError(f"a block has files of {sorted(records)}, and must have {sorted(wanted)}")
    for name, (shape, dtype) in wanted.items():
        record = records[name]
        found = tuple(record["shape"]), record["dtype"]
        if found != (shape, dtype) or not all(type(n) is int and n >= 0 for n in found[0]):
            raise ValueError(f"{record['file']} must have {(shape, dtype)}, got {found}")
        size = int(np.prod(shape, dtype=np.float64)) * np.dtype(dtype).itemsize
        if record["bytes"] != size:
            raise ValueError(f"{record['file']} must have {size} bytes, got {record['bytes']}")
        if os.path.basename(record["file"]) != record["file"]:
            raise ValueError(f"files must lie in the folder, got {record['file']!r}")
