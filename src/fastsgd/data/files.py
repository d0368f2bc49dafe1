"""Files by their paths: which there are, of what kind, and what reads them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import pyarrow.dataset as ds
from pyarrow import fs

from .arrays import NpySource
from .arrow import TableSource
from .columns import Columns
from .datasets import DatasetReader
from .delimited import CsvReader
from .source import Source
from .text import SvmlightSource

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
    found = sorted(
        info.path
        for info in infos
        if info.path.lower().endswith((".parquet", ".pq")) and info.base_name[0] not in "._"
    )
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
    if kind in ("npy", "svmlight"):
        for name in ("categorical", "text"):
            if options[name] is not None:
                raise ValueError(f"{name} must not be given: {paths[0]} has no names of columns")
        if columns is not None:
            raise ValueError(f"{paths[0]} has no names of columns, which the model needs")
        return (open_npy if kind == "npy" else open_svmlight)(filesystem, paths, y, options)
    if y is not None:
        raise ValueError(f"y is a column of {paths[0]}: name it in target")
    if kind == "csv":
        reader: Any = CsvReader(paths, filesystem, strings_of(options), columns)
    else:
        reader = dataset_reader(paths, kind, filesystem, base)
    return TableSource(reader, columns, **options)


def open_npy(filesystem: Any, paths: list[str], y: Any, options: dict[str, Any]) -> Source:
    """The source of arrays in local files."""
    if not isinstance(filesystem, fs.LocalFileSystem):
        raise ValueError(f"{paths[0]}: files of NumPy must be on this machine")
    if options["features"] is not None:
        raise ValueError("features must not be given: files of NumPy have no names of columns")
    if y is not None and options["target"] is not None:
        raise ValueError("y and target are both given: targets are in files or in columns of X")
    others: list[list[str] | None] = []
    for name, given in (("y", y), ("sample_weight", options["sample_weight"])):
        if given is None:
            others.append(None)
            continue
        every = [given] if isinstance(given, (str, os.PathLike)) else given
        if not isinstance(every, (list, tuple)) or not all(
            isinstance(path, (str, os.PathLike)) for path in every
        ):
            raise TypeError(f"{name} must be paths of .npy files, as X is, got {given!r}")
        others.append(listed(given)[1])
    return NpySource(paths, others[0], others[1], options["target"])


def open_svmlight(filesystem: Any, paths: list[str], y: Any, options: dict[str, Any]) -> Source:
    """The source of files of svmlight."""
    given = {"y": y, "target": options["target"], "sample_weight": options["sample_weight"]}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} must not be given: lines of {paths[0]} begin with y")
    n_features: Any = options["features"]
    if n_features is not None and (
        not isinstance(n_features, Integral) or isinstance(n_features, bool)
    ):
        raise TypeError(f"features of svmlight files must be their number, got {n_features!r}")
    if n_features is not None and n_features < 1:
        raise ValueError(f"features must be at least 1, got {n_features}")
    return SvmlightSource(paths, filesystem, None if n_features is None else int(n_features))


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
