"""A file as its parts: a description in JSON, and tensors by name, in safetensors' format.

A file is read by the library ``safetensors``, which checks that the tensors fill it without gaps or
overlaps before anything of them is read. A tensor may be taken once: what a description asks for is
at most what the file holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMAT", "Tensors", "library", "opened", "write"]

FORMAT = 1
"""Version of what is written; files of this version and of those before it are read."""

KEY = "fastsgd"
"""Name of the description among the metadata."""

HEADER_LIMIT = 1 << 22
"""Bytes of a header, at most: objects made of its JSON may take thirty times as much memory."""

DTYPES = {
    "BOOL": np.bool_,
    **{f"F{8 * size}": np.dtype(f"f{size}").type for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"i{size}").type for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"u{size}").type for size in (1, 2, 4, 8)},
}
"""Types of tensors that a file may have, by safetensors' name."""


def library() -> Any:
    """The package safetensors, with its functions for NumPy.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "model files need the package safetensors: pip install 'fastsgd[data]'"
        ) from error
    return safetensors


class Tensors:
    """The tensors of an open file, each of which may be taken once."""

    def __init__(self, file: Any) -> None:
        self.file, self.left = file, set(file.keys())

    def take(self, name: Any) -> NDArray[Any]:
        """The array of this name, in memory of its own.

        Raises
        ------
        ValueError
            If there is none, or if it was taken before; or if it is of a type that is not read.
        """
        if not isinstance(name, str) or name not in self.left:
            raise ValueError(f"it asks for the array {name!r}, which is not there or was used")
        self.left.remove(name)
        kind = str(self.file.get_slice(name).get_dtype())
        if kind not in DTYPES:
            raise ValueError(f"its array {name!r} is of type {kind}, which is not read")
        array: NDArray[Any] = self.file.get_tensor(name)
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
            raise ValueError(f"its array {name!r} has truth values that are neither 0 nor 1")
        return array

    def check_done(self) -> None:
        """Refuse arrays that nobody asked for."""
        if self.left:
            raise ValueError(f"it has arrays that belong to nothing: {sorted(self.left)[:5]}")


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[dict[str, Any], Tensors]]:
    """Description and tensors of a file; what is wrong with them is a ValueError that names it.

    Raises
    ------
    ValueError
        If the file is no whole model file of this version or one before.
    """
    found = library()
    name = os.fsdecode(os.fspath(path))
    try:
        _check_header(name)
        with found.safe_open(name, framework="numpy") as file:
            tensors = Tensors(file)
            yield _description(file.metadata()), tensors
            tensors.check_done()
    except (ValueError, TypeError, OverflowError, RecursionError, found.SafetensorError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{name} cannot be read: {why}") from error


def _check_header(name: str) -> None:
    """Refuse a header that is not in the file, or too long, before it is read."""
    size = os.path.getsize(name)
    with open(name, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"it ends in its header, after {size} bytes")
    if length > HEADER_LIMIT:
        raise ValueError(f"its header has {length} bytes, and at most {HEADER_LIMIT} are read")


def _refused(name: str) -> Any:
    raise ValueError(f"its description has {name}, which is no number in JSON")


def _description(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """The description of a file, of a version that is read here."""
    if metadata is None or set(metadata) != {KEY}:
        raise ValueError(f"it has no description by the name {KEY!r} and nothing else")
    description = json.loads(metadata[KEY], parse_constant=_refused)
    version = description.get("format") if isinstance(description, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError(f"its description has no version of the format, but {version!r}")
    if version > FORMAT:
        raise ValueError(
            f"it was written by a newer fastsgd, in version {version} of the format; this one "
            f"reads version {FORMAT}"
        )
    assert isinstance(description, dict)
    return description


def write(
    path: str | os.PathLike[str], description: dict[str, Any], tensors: dict[str, NDArray[Any]]
) -> None:
    """Write a file whole or not at all: beside it first, to the disk, and then in its place.

    Raises
    ------
    ValueError
        If the description is longer than is read again.
    """
    found = library()
    text = json.dumps({"format": FORMAT, **description}, allow_nan=False, separators=(",", ":"))
    data = found.numpy.save(tensors, {KEY: text})
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:
        raise ValueError(
            f"the parameters of the model, without its arrays, take more than {HEADER_LIMIT} bytes"
        )
    replace(Path(path), data)


def replace(path: Path, data: bytes) -> None:
    """Make these the bytes of a file, which a crash leaves as it was or as it should be."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name too
    finally:
        os.close(folder)
