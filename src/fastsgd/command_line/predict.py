"""``fastsgd predict``: predictions for files or standard input, block by block, in order."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from io import FileIO
from typing import Any

import numpy as np
import pyarrow as pa

from ..data import open_source
from ..data.ahead import ahead
from ..data.arrow import TableSource
from ..data.conversion import block_of_batch
from ..data.delimited import CsvReader
from ..data.hashing import Hasher
from ..estimators import load
from .sources import columns_of, data_of, kind_of, open_new
from .tables import Piped, Writer, kind_of_output
from .terminal import UsageError, add_common, check_output, names

__all__ = ["fill", "run"]

WHAT = ("label", "probability", "score")


def fill(parser: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    parser.add_argument("model", metavar="MODEL", help="file that `fastsgd train -o` has written")
    parser.add_argument(
        "data",
        nargs="*",
        metavar="DATA",
        help="files with the model's columns (default, or -: CSV with a header from standard "
        "input)",
    )
    parser.add_argument(
        *("--output", "-o"),
        metavar="FILE",
        help="Parquet (.parquet), Arrow IPC (.arrow, .ipc, .feather) or CSV (.csv, .tsv) by its "
        "ending (default, or -: CSV to standard output)",
    )
    parser.add_argument(
        *("--what", "-w"),
        type=_what,
        metavar="WHAT",
        default=["label"],
        help="label, probability (of each class) or score (of the decision function), or several "
        "with commas between them; numbers of a regression are labels (default: label)",
    )
    parser.add_argument(
        *("--keep", "-k"),
        type=names,
        metavar="A,B",
        default=[],
        help="columns to copy, such as an id",
    )
    add_common(parser, as_json=False)


def _what(text: str) -> list[str]:
    found = names(text)
    for name in found:
        if name not in WHAT:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(WHAT)}, got {name!r}")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Predict, and write while reading."""
    to_pipe = arguments.output in (None, "-")
    output = None if to_pipe else arguments.output
    check_output(output)
    kind = "csv" if to_pipe else kind_of_output(arguments.output)
    model = load(arguments.model)
    methods = _methods(model, arguments.what)
    start, rows = time.perf_counter(), 0
    with Writer(output, kind) as writer:
        for X, kept in ahead(_blocks(model, arguments, kind)):
            writer.write(kept | _predicted(model, methods, X))
            rows += X.shape[0]
        if not rows:
            raise ValueError("the data have no rows")
    if output is not None:
        seconds = time.perf_counter() - start
        print(f"{output}: {rows:,} rows in {seconds:.2f} s", file=sys.stderr)
    return 0


def _methods(model: Any, what: list[str]) -> list[tuple[str, Any]]:
    """The methods that are asked for.

    Raises
    ------
    UsageError
        If the model has not all of them.
    """
    found = []
    for name in what:
        method = {"label": "predict", "probability": "predict_proba", "score": "decision_function"}
        if name != "label" and not hasattr(model, method[name]):
            why = f" trained with loss={model.loss}" if hasattr(model, "loss") else ""
            raise UsageError(f"--what {name}: a {type(model).__name__}{why} has none")
        found.append((name, getattr(model, method[name])))
    return found


def _predicted(model: Any, methods: list[tuple[str, Any]], X: Any) -> dict[str, Any]:
    """Columns of predictions."""
    columns: dict[str, Any] = {}
    labels: Any = vars(model).get("classes_")
    for name, method in methods:
        values = method(X)
        title = "prediction" if name == "label" else name
        if values.ndim == 1:
            columns[title] = pa.array(values)
            continue
        several = labels if name != "label" and labels is not None else range(values.shape[1])
        for j, label in enumerate(several):
            columns[f"{title}_{label}"] = pa.array(np.ascontiguousarray(values[:, j]))
    return columns


def _blocks(model: Any, arguments: argparse.Namespace, kind: str) -> Iterator[tuple[Any, Any]]:
    """X of each block, and the columns that are kept."""
    data, keep = arguments.data, arguments.keep
    piped = not data or data == ["-"]
    if not piped and kind_of(data) != "columns":
        if keep:
            raise ValueError(f"{data[0]} has no names of columns: --keep must not be given")
        for block in open_new(model, data):
            yield block.X, {}
        return
    columns = columns_of(model, "standard input" if piped else data[0])
    columns = dataclasses.replace(columns, target=None, sample_weight=None)
    source: Any
    if piped:
        place = "standard input"
        reader = CsvReader([place], Piped(FileIO(0, closefd=False)), (), columns)
        source = TableSource(reader, columns)
    else:
        source = open_source(data_of(data), columns=columns)
        reader = source.reader
    columns = source.columns
    for name in keep:
        if name not in reader.schema.names:
            known = ", ".join(map(repr, reader.schema.names[:20]))
            raise ValueError(f"--keep: {reader.where} has no column {name!r}, but {known}")
    if isinstance(reader, CsvReader) and kind == "csv":  # as they stand there
        texts = [name for name in keep if name not in columns.names]
        reader.types.update(dict.fromkeys(texts, pa.string()))
    hasher = Hasher(columns, None)
    wanted = list(dict.fromkeys([*columns.names, *keep]))
    for where, first_row, batch in reader.batches(wanted, source.batch_rows()):
        if batch.num_rows:
            block = block_of_batch(batch, columns, hasher, where, first_row)
            yield block.X, {name: batch.column(name) for name in keep}
