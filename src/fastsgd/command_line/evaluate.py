"""``fastsgd evaluate``: scores of a model on files that have the target."""

from __future__ import annotations

import argparse

from ..estimators import load
from . import scores
from .sources import described_rows, open_for_model
from .terminal import UsageError, add_common, names, number, printed_json, table

__all__ = ["fill", "run"]


def fill(parser: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    parser.add_argument("model", metavar="MODEL", help="file that `fastsgd train -o` has written")
    parser.add_argument("data", nargs="+", metavar="DATA", help="files with the model's columns")
    parser.add_argument(
        *("--target", "-t"),
        type=names,
        metavar="NAME",
        help="column of the true values (default: the one the model was trained on)",
    )
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Score, and print."""
    model = load(arguments.model)
    if not hasattr(model, "predict") or type(model).__name__ == "SGDOneClassSVM":
        raise UsageError("a one-class model has no target to compare with")
    found = scores.of(model, open_for_model(model, arguments.data, arguments.target))
    if arguments.json:
        printed_json({"model": arguments.model, "data": arguments.data} | found)
        return 0
    print(f"{arguments.model} on {described_rows(arguments.data)}: {found['rows']:,} rows")
    lines = [
        (scores.NAMES.get(name, name), number(one)) for name, one in found.items() if name != "rows"
    ]
    print(table(("score", "value"), lines))
    return 0
