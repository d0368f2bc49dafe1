"""``manifest.json``: what there is to say of a cache, and the check of every value of it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..problem import STORED
from .block import LEAST_ROWS
from .block_files import FileRecord
from .extras import xxhash

__all__ = ["MANIFEST", "Manifest", "read_manifest", "write_manifest"]

FORMAT = 1
"""Version of the format; any other is refused."""

MANIFEST = "manifest.json"

CODES = np.dtype(np.int32).str
"""Dtype of the places of labels."""

OF_X = tuple(dtype.str for dtype in STORED)
OF_CSR = tuple(np.dtype(dtype).str for dtype in (np.float64, np.float32))
OF_INDICES = tuple(np.dtype(dtype).str for dtype in (np.int32, np.int64))
OF_INDPTR = np.dtype(np.int64).str
OF_Y = tuple(np.dtype(code).str for code in "bBhHiIqQefd")
OF_WEIGHT = OF_CSR


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

    The file has one more field, ``checksum``: XXH3 of the others.
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


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder, to the disk itself.

    Raises
    ------
    ValueError
        If it contradicts itself.
    """
    fields = json.loads(json.dumps(asdict(manifest)))
    _check_manifest(Manifest(**fields))
    text = json.dumps({**fields, "checksum": _checksum(fields)}, indent=1)
    with open(folder / MANIFEST, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _checksum(fields: dict[str, Any]) -> str:
    """XXH3 of what was read from JSON, in 64 bits, whatever the order of its keys."""
    return str(xxhash().xxh3_64_hexdigest(json.dumps(fields, sort_keys=True).encode()))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, every value checked.

    Raises
    ------
    ValueError
        If it is none, of another format, or broken.
    """
    path = folder / MANIFEST
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    except FileNotFoundError:
        raise ValueError(f"{str(folder)!r} is no cache of fastsgd: it has no {MANIFEST}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from None
    if not isinstance(fields, dict) or "format" not in fields:
        raise ValueError(f"{str(path)!r} is no manifest of a cache")
    version = fields["format"]
    if version != FORMAT:
        raise ValueError(
            f"{str(path)!r} is of format {version!r}, and this version of fastsgd reads format "
            f"{FORMAT}: make the cache anew"
        )
    try:
        if fields.pop("checksum", None) != _checksum(fields):
            raise ValueError("its checksum differs: it is not what was written")
        manifest = Manifest(**fields)
        _check_manifest(manifest)
    except (LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is broken: {error}. Remove the folder.") from None
    return manifest


def _check_manifest(m: Manifest) -> None:
    """Refuse a manifest that contradicts itself, before anything is allocated for it."""
    for name, lowest in (("rows", 1), ("features", 1), ("block_rows", LEAST_ROWS)):
        value = getattr(m, name)
        if type(value) is not int or not lowest <= value < 2**48:
            raise ValueError(f"{name} must be an integer from {lowest}, got {value!r}")
    for name, value, known in (
        ("dtype", m.dtype, OF_CSR if m.index_dtype else OF_X),
        ("index_dtype", m.index_dtype, ("", *OF_INDICES)),
        ("y_dtype", m.y_dtype, ("", *OF_Y)),
        ("weight_dtype", m.weight_dtype, ("", *OF_WEIGHT)),
        ("label_kind", m.label_kind, ("number", "str", "bool")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if m.outputs is not None and (type(m.outputs) is not int or not 0 < m.outputs < 2**31):
        raise ValueError(f"outputs must be a positive integer, got {m.outputs!r}")
    if type(m.within) is not float or type(m.between) is not float:
        raise ValueError("within and between must be floating numbers")
    for name, kinds in (
        ("feature_names", (list, type(None))),
        ("hashed_names", (dict,)),
        ("columns", (str, type(None))),
        ("fingerprint", (dict,)),
        ("blocks", (list,)),
        ("label_weights", (list,)),
    ):
        if not isinstance(getattr(m, name), kinds):
            raise ValueError(f"{name} must be {kinds[0].__name__}, got {getattr(m, name)!r:.80}")
    _check_labels(m)
    if len(m.blocks) != -(-m.rows // m.block_rows):
        raise ValueError(f"{len(m.blocks)} blocks of {m.block_rows} rows, but {m.rows} rows")
    for number, records in enumerate(m.blocks):
        _check_records(m, records, min(m.block_rows, m.rows - number * m.block_rows))
    rows = m.sample["indptr" if m.index_dtype else "X"]["shape"][0]
    _check_records(m, m.sample, rows - 1 if m.index_dtype else rows)


def _check_labels(m: Manifest) -> None:
    """Refuse labels that y cannot have."""
    kind, labels = m.label_kind, m.labels
    if labels is None:
        if kind != "number":
            raise ValueError("labels are missing")
        return
    if not isinstance(labels, list) or len(m.label_weights) != len(labels):
        raise ValueError("labels and label_weights must be lists of one length")
    if not all(type(weight) is float for weight in m.label_weights):
        raise ValueError("label_weights must be floating numbers")
    if not m.y_dtype or m.outputs is not None or (kind != "number" and m.y_dtype != CODES):
        raise ValueError(f"labels of y of dtype {m.y_dtype!r} and {m.outputs} outputs")
    if kind == "number":
        with np.errstate(all="ignore"):
            sound = np.array(labels, dtype=m.y_dtype).tolist() == labels
    else:
        sound = all(type(label) is (str if kind == "str" else bool) for label in labels)
    if not sound or not labels or len(set(labels)) != len(labels):
        raise ValueError(f"labels must be different values of kind {kind}")


def _check_records(m: Manifest, records: dict[str, FileRecord], rows: int) -> None:
    """Refuse files of a block of other names, shapes and dtypes than it has."""
    wanted: dict[str, tuple[list[int], str]] = {}
    if m.index_dtype:
        count = records["data"]["shape"][0]
        wanted["data"] = [count], m.dtype
        wanted["indices"] = [count], m.index_dtype
        wanted["indptr"] = [rows + 1], OF_INDPTR
    else:
        wanted["X"] = [rows, m.features], m.dtype
    if m.y_dtype:
        wanted["y"] = [rows] if m.outputs is None else [rows, m.outputs], m.y_dtype
    if m.weight_dtype:
        wanted["weight"] = [rows], m.weight_dtype
    if set(records) != set(wanted):
        raise ValueError(f"a block has files of {sorted(records)}, and must have {sorted(wanted)}")
    for name, (shape, dtype) in wanted.items():
        record = records[name]
        file, size = record["file"], math.prod(shape) * np.dtype(dtype).itemsize
        if set(record) != FileRecord.__required_keys__ or type(record["checksum"]) is not str:
            raise ValueError(f"{file!r} must have {', '.join(FileRecord.__annotations__)}")
        if not all(type(n) is int and 0 <= n < 2**48 for n in record["shape"]):
            raise ValueError(f"{file!r} has shape {record['shape']!r}")
        for key, value in (("shape", shape), ("dtype", dtype), ("bytes", size)):
            if record[key] != value:  # type: ignore[literal-required]
                raise ValueError(f"{file!r} must have {key} {value}")
        if os.path.basename(file) != file:
            raise ValueError(f"files must lie in the folder, got {file!r}")
