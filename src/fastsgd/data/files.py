"""Files by their paths: which there are, of what kind, and what reads them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any

import pyarrow.dataset as ds
from pyarrow import fs

from .arrow import DatasetReader, TableSource
from .columns import Columns
from .delimited import CsvReader
from .source import Source

__all__ = ["open_files"]

KINDS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".ipc", ".feather"), "ipc"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".svm", ".libsvm", ".svmlight", ".txt"), "svmlight"),
    ".npy": "npy",
}
"""What the end of a file's name says of its contents."""

COMPRESSED = (".gz", ".zst", ".bz2")
"""Ends of names behind those of CSV and svmlight."""


def kind_of_file(path: str) -> str:
    """What a file holds, by its name.

    Raises
    ------
    ValueError
        If the name does not say.
    """
    name = path.lower()
    stem, end = os.path.splitext(name)
    compressed = end in COMPRESSED
    kind = KINDS.get(os.path.splitext(stem)[1] if compressed else end)
    if kind is None or (compressed and kind not in ("csv", "svmlight")):
        raise ValueError(f"{path}: the name of a file must end in one of {', '.join(KINDS)}")
    return kind


def listed(paths: Any) -> tuple[Any, list[str], str | None]:
    """Files of a path, a glob, a directory or a URI, or of a list of them.

    Returns
    -------
    filesystem : pyarrow.fs.FileSystem
    paths : list of str
        Absolute; those of a glob or a directory sorted.
    base : str or None
        The directory, if there is only that.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If they are not on one file system.
    """
    items = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: list[str] = []
    filesystems, base = [], None
    for item in [str(os.fspath(each)) for each in items]:
        if "://" in item:
            filesystem, path = fs.FileSystem.from_uri(item)
        else:
            filesystem, path = fs.LocalFileSystem(), os.path.abspath(item)
            if glob.has_magic(item) and not os.path.exists(path):
                matches = sorted(glob.glob(path, recursive=True))
                if not matches:
                    raise FileNotFoundError(f"no file is named like {item}")
                found += matches
                filesystems.append(filesystem)
                continue
        filesystems.append(filesystem)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(f"there is no file {item}")
        if info.type == fs.FileType.Directory:
            found += files_below(filesystem, path)
            base = path if len(items) == 1 else None
        else:
            found.append(path)
    if any(filesystem != filesystems[0] for filesystem in filesystems):
        raise ValueError("X names files on several file systems: they must be on one")
    return filesystems[0], found, base


def files_below(filesystem: Any, directory: str) -> list[str]:
    """The Parquet files in a directory and in those below it, sorted."""
    infos = filesystem.get_file_info(fs.FileSelector(directory, recursive=True))
    found = sorted(info.path for info in infos if info.path.lower().endswith((".parquet", ".pq")))
    if not found:
        raise FileNotFoundError(f"there are no Parquet files in {directory}")
    return found


def open_files(X: Any, y: Any, columns: Columns | None, options: dict[str, Any]) -> Source:
    """The source of one or more files, all of one kind."""
    filesystem, paths, base = listed(X)
    kinds = {kind_of_file(path) for path in paths}
    if len(kinds) > 1:
        raise ValueError(f"X names files of several kinds: {', '.join(sorted(kinds))}")
    kind = kinds.pop()
    if kind == "csv":
        reader: Any = CsvReader(paths, filesystem, strings_of(options), columns)
    else:
        reader = dataset_reader(paths, kind, filesystem, base)
    return TableSource(reader, columns, **options)


def strings_of(options: dict[str, Any]) -> Sequence[str]:
    """Columns that are categories or text because a user said so."""
    names: list[str] = []
    for given in (options["categorical"], options["text"]):
        names += [] if given is None else [given] if isinstance(given, str) else list(given)
    return names


def dataset_reader(paths: list[str], kind: str, filesystem: Any, base: str | None) -> DatasetReader:
    """Parquet or IPC files in the order of the paths; directories may say key=value."""
    if kind == "ipc" and isinstance(filesystem, fs.LocalFileSystem):
        filesystem = fs.LocalFileSystem(use_mmap=True)  # batches are as large as they were written
    partitions = {"partitioning": "hive", "partition_base_dir": base} if base else {}
    try:
        dataset = ds.dataset(paths, format=kind, filesystem=filesystem, **partitions)
    except OSError as error:
        raise ValueError(f"{paths[0]}: {error}") from error
    return DatasetReader(dataset, base or ", ".join(paths[:1] + ["..."] * (len(paths) > 1)), kind)
