"""Options that say what rows are read and how, and the reading of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data import Block, Source, open_source
from ..data.columns import Columns
from ..data.first_pass import bytes_of, joined_blocks
from .terminal import UsageError, names, size

__all__ = [
    "POOL",
    "add_data",
    "add_memory",
    "columns_of",
    "data_of",
    "described_rows",
    "in_memory",
    "kind_of",
    "memory_of",
    "open_for_model",
    "open_given",
    "open_new",
    "scan",
]

POOL = 1 << 29
"""Memory for rows where the user does not say how much."""

SCANNED = 1 << 16
"""Rows by which a target is judged."""

MOST_CLASSES = 20
"""Whole numbers of more different values are a target of regression."""

KEPT_NAMES = 1000
"""Hashed columns whose names are kept for ``inspect``."""


def add_data(parser: argparse.ArgumentParser, *, last: str = "") -> None:
    """The options that say what is read of which files."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help="Parquet, Arrow IPC, CSV with a header, svmlight or NumPy files, by their endings; "
        "several files, a pattern in quotes, or a folder of Parquet files"
        + (f"; the last argument is {last}, the folder to write" if last else ""),
    )
    group.add_argument(
        *("--target", "-t"),
        type=names,
        metavar="NAME",
        help="column to predict; of NumPy files its number, or the file that has it; svmlight "
        "files have it already",
    )
    group.add_argument(
        "--features",
        type=names,
        metavar="A,B",
        help="columns to predict from (default: all others); of svmlight files their number",
    )
    group.add_argument(
        "--categorical",
        type=names,
        metavar="C,D",
        help="columns of categories (default: those of text and truth values)",
    )
    group.add_argument("--text", type=names, metavar="T", help="columns whose words are counted")
    group.add_argument("--sample-weight", metavar="NAME", help="column of the weights of the rows")
    group.add_argument(
        "--hash-bits",
        type=int,
        metavar="N",
        help="categories and words are hashed to 2^N features (default: 18; networks: 10)",
    )
    group.add_argument(
        "--missing",
        choices=("error", "zero", "mean"),
        default="error",
        help="what a missing number becomes (default: error)",
    )
    group.add_argument(
        "--keep-names",
        type=int,
        metavar="N",
        default=KEPT_NAMES,
        help=f"hashed features that are remembered by name (default: {KEPT_NAMES})",
    )


def memory_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """How ``fit`` is to hold the rows."""
    options: dict[str, Any] = {"pool_bytes": arguments.pool}
    if arguments.cache is not None:
        options["cache"] = arguments.cache
    if arguments.no_cache:
        options["cache"] = None
    return options


def add_memory(parser: argparse.ArgumentParser) -> None:
    """The options that say how much memory rows may take, and what becomes of more."""
    group = parser.add_argument_group("memory")
    group.add_argument(
        "--pool",
        type=size,
        metavar="SIZE",
        default=POOL,
        help='memory for rows, such as "2 GB" (default: 512 MiB)',
    )
    group.add_argument(
        "--cache",
        metavar="DIR",
        help="folder for rows that are more than that, kept for the next run (default: a "
        "temporary one)",
    )
    group.add_argument(
        "--no-cache", action="store_true", help="read the files anew in every pass instead"
    )


def data_of(given: list[str]) -> Any:
    """Paths as the library takes them.

    Raises
    ------
    UsageError
        If there are none.
    """
    if not given:
        raise UsageError("name the files of the data, as in: fastsgd train data.csv --target y")
    return given[0] if len(given) == 1 else given


def open_given(arguments: argparse.Namespace) -> Source:
    """The source that the options describe.

    Raises
    ------
    UsageError
        If no target is named where the files need it.
    """
    X = data_of(arguments.data)
    kind = kind_of(arguments.data)
    target: Any = arguments.target
    options: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("features", "categorical", "text", "sample_weight")
    }
    network = getattr(arguments, "model", "linear") == "network"  # whose weights are many more
    bits = arguments.hash_bits
    options["hash_bits"] = (10 if network else 18) if bits is None else bits
    options["missing"] = arguments.missing
    y = None
    if kind == "npy":
        if target and target[0].endswith(".npy"):
            y, target = target if len(target) > 1 else target[0], None
        elif target:
            target = [_count("target", one) for one in target]
    elif kind == "svmlight":
        if options["features"] is not None:
            options["features"] = _count("features", ",".join(options["features"]))
    else:
        options["keep_names"] = arguments.keep_names
    if target is None and y is None and kind != "svmlight":
        raise UsageError("name the column to predict with --target")
    if target is not None and len(target) == 1:
        target = target[0]
    return open_source(X, y, target=target, **options)


def kind_of(paths: list[str]) -> str:
    """What the files are, as far as options depend on it."""
    name = paths[0].lower()
    for end in (".gz", ".bz2", ".zst"):
        name = name.removesuffix(end)
    if name.endswith(".npy"):
        return "npy"
    return "svmlight" if name.endswith((".svm", ".svmlight", ".libsvm", ".txt")) else "columns"


def _count(option: str, text: str) -> int:
    if not text.isdigit():
        raise UsageError(f"--{option} must be a number for such files, got {text!r}")
    return int(text)


def scan(source: Source) -> tuple[str, str]:
    """The task of a source by its first rows, and why.

    Raises
    ------
    ValueError
        If it has no rows, or no target.
    """
    values: set[Any] = set()
    rows, fractions, text = 0, False, False
    for block in source.blocks():
        if block.y is None:
            raise ValueError("the data have no target: name its column with --target")
        rows += len(block)
        y = np.asarray(block.y).ravel()
        text = text or y.dtype.kind not in "iuf"
        values.update(np.unique(y)[: MOST_CLASSES + 1].tolist())
        fractions = fractions or (y.dtype.kind == "f" and bool((y != np.floor(y)).any()))
        if rows >= SCANNED or fractions:
            break
    if not rows:
        raise ValueError("the source has no rows")
    if text:
        return "classification", "the target is of text or truth values"
    if fractions:
        return "regression", "the target has fractions"
    if len(values) > MOST_CLASSES:
        return "regression", f"the target is of numbers with more than {MOST_CLASSES} values"
    return "classification", f"the target has {len(values)} different whole numbers"


def in_memory(source: Source, pool: int, what: str) -> Block:
    """All rows of a source.

    Raises
    ------
    ValueError
        If they take more memory than the pool, or there are none.
    """
    blocks, taken = [], 0
    for block in source.blocks():
        taken += bytes_of(block.X)
        if taken > pool:
            raise ValueError(
                f"{what} needs all rows in memory, and they take more than {pool:,} bytes: give "
                "more with --pool, or take fewer rows"
            )
        blocks.append(block)
    if not blocks:
        raise ValueError("the source has no rows")
    return joined_blocks(blocks)


def columns_of(model: Any, path: str = "the data") -> Columns:
    """How columns become the features of a model.

    Raises
    ------
    ValueError
        If it was trained on arrays without names.
    """
    columns = vars(model).get("columns_")
    if columns is not None:
        return columns
    found = vars(model).get("feature_names_in_")
    if found is None:
        raise ValueError(
            f"the model was trained on arrays without names, and {path} has named columns: train "
            "it on named columns, or give it svmlight or NumPy files"
        )
    return Columns(numeric=tuple(found.tolist()))


def open_for_model(model: Any, data: list[str], target: list[str] | None = None) -> Source:
    """A source that is read as the model's was, with its target and weights where it has them."""
    if kind_of(data) != "columns":
        return _open_plain(model, data, target)
    columns = columns_of(model, data[0])
    if target is not None:
        import dataclasses

        columns = dataclasses.replace(columns, target=target[0] if len(target) == 1 else (*target,))
    return open_source(data_of(data), columns=columns)


def _open_plain(model: Any, data: list[str], target: list[str] | None) -> Source:
    """Files without names of columns."""
    if vars(model).get("columns_") is not None:
        raise ValueError(f"{data[0]} has no names of columns, which the model needs")
    if kind_of(data) == "svmlight":
        return open_source(data_of(data), features=int(model.n_features_in_))
    if target is None:
        return open_source(data_of(data))
    if target[0].endswith(".npy"):
        return open_source(data_of(data), target if len(target) > 1 else target[0])
    columns = [_count("target", one) for one in target]
    return open_source(data_of(data), target=columns[0] if len(columns) == 1 else columns)


def open_new(model: Any, data: list[str]) -> Iterator[Block]:
    """Blocks of files without names of columns."""
    return _open_plain(model, data, None).blocks()


def described_rows(data: list[str]) -> str:
    """The files in a few words."""
    names = [os.path.basename(os.path.normpath(path)) for path in data]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
