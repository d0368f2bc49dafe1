"""Arrays in plain ``.npy`` files with checksums, read by ``pread`` into memory that is there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .extras import xxhash

__all__ = ["FileRecord", "advise", "check_size", "read_array", "read_into", "write_array"]

MAGIC = b"\x93NUMPY"
MOST_HEADER = 4096
"""Bytes of the header of a file, at most."""

PART_BYTES = 1 << 19
"""Bytes that are read, and checked, at a time."""


class FileRecord(TypedDict):
    """What the manifest says of a file.

    Attributes
    ----------
    file : str
        Its name in the folder.
    shape : list of int
    dtype : str
    bytes : int
        Of its numbers, which stand at the end of the file.
    checksum : str
        XXH3 of them, 64 bits, in hexadecimal digits.
    """

    file: str
    shape: list[int]
    dtype: str
    bytes: int
    checksum: str


def write_array(folder: Path, name: str, array: NDArray[Any]) -> FileRecord:
    """Write an array in C order; what there is to say of its file."""
    array = np.ascontiguousarray(array)
    with open(folder / name, "wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(_bytes_of(array))
    return {
        "file": name,
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "bytes": array.nbytes,
        "checksum": xxhash().xxh3_64_hexdigest(_bytes_of(array)),
    }


def check_size(folder: Path, record: FileRecord) -> None:
    """Refuse a file that cannot have the numbers that it should, before memory is taken for them.

    Raises
    ------
    ValueError
        If it is missing or short.
    """
    path = folder / record["file"]
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if not 0 < size - record["bytes"] <= MOST_HEADER:
        raise ValueError(_short_file(path, size, record["bytes"]))


def read_array(folder: Path, record: FileRecord) -> NDArray[Any]:
    """Read a file into a new array.

    Raises
    ------
    ValueError
        If it is missing, short or not what was written.
    """
    check_size(folder, record)
    out = np.empty(tuple(record["shape"]), dtype=record["dtype"])
    read_into(folder, record, out)
    return out


def read_into(folder: Path, record: FileRecord, out: NDArray[Any]) -> None:
    """Read a file into an array of its shape and dtype, in C order.

    Raises
    ------
    ValueError
        If the file is missing, short or not what was written.
    """
    path = folder / record["file"]
    view = _bytes_of(out)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    try:
        size = os.fstat(descriptor).st_size
        start = size - record["bytes"]
        if not 0 < start <= MOST_HEADER:
            raise ValueError(_short_file(path, size, record["bytes"]))
        done, checksum = 0, xxhash().xxh3_64()
        while done < len(view):
            part = view[done : done + PART_BYTES]
            got = os.preadv(descriptor, [part], start + done)
            if got == 0:
                raise ValueError(_short_file(path, start + done, record["bytes"]))
            checksum.update(part[:got])  # while it is in the cache
            done += got
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if checksum.hexdigest() != record["checksum"]:
        raise ValueError(f"{str(path)!r} is not what was written: its checksum differs")


def advise(folder: Path, record: FileRecord) -> None:
    """Have a file read ahead into the page cache, where the system does that."""
    if not hasattr(os, "posix_fadvise"):
        return
    with contextlib.suppress(OSError):  # whoever reads the file says so
        descriptor = os.open(folder / record["file"], os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _bytes_of(array: Any) -> memoryview:
    """The bytes of an array in C order."""
    return memoryview(array.reshape(-1).view(np.uint8))


def _short_file(path: Path, size: int, wanted: int) -> str:
    return f"{str(path)!r} has {size} bytes, of which {wanted} must be numbers behind a header"
