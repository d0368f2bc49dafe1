"""``fastsgd search``: the best of several penalties by cross-validation, in shared passes."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from ..model_selection import GridSearchCV
from .config import add_config
from .parameters import add_parameters, parameters_in
from .sources import add_data, add_memory, described_rows, memory_of, open_given
from .terminal import UsageError, add_common, check_output, names, number, printed_json, table
from .train import add_task, chosen

__all__ = ["fill", "run"]

SHARED = {"alphas": "alpha", "l1_ratios": "l1_ratio", "eta0s": "eta0"}
"""Options that are lists, and the parameters of the candidates."""


def fill(parser: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    add_data(parser)
    group = parser.add_argument_group("what to try")
    for name, parameter in SHARED.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=_numbers,
            metavar="X,Y",
            help=f"values of --{parameter.replace('_', '-')} to try",
        )
    group.add_argument(
        "--cv", type=_folds, metavar="N", default=5, help="number of folds (default: 5)"
    )
    add_task(group)
    group.add_argument(
        *("--output", "-o"),
        metavar="FILE",
        help="write the best candidate, trained on all rows, to this file",
    )
    add_config(group)
    add_memory(parser)
    add_parameters(parser, ("linear",))
    add_common(parser)


def _numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers with commas between them, got {text!r}"
        ) from None


def _folds(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"must be a whole number from 2, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Train the candidates on the folds, compare, and save the best."""
    check_output(arguments.output)
    grid: dict[str, Any] = {
        parameter: getattr(arguments, name)
        for name, parameter in SHARED.items()
        if getattr(arguments, name) is not None
    }
    if not grid:
        raise UsageError("name what to try, as in --alphas 1e-5,1e-4,1e-3")
    if "l1_ratio" in grid and "penalty" not in parameters_in(arguments):
        arguments.penalty = "elasticnet"  # or l1_ratio would mean nothing
    source = open_given(arguments)
    estimator, line = chosen(arguments, source, "linear")
    if not arguments.json:
        print(line, flush=True)
    start = time.perf_counter()
    search = GridSearchCV(estimator, grid, cv=arguments.cv, scoring=estimator.scoring)
    search.fit(source, **memory_of(arguments))
    seconds = time.perf_counter() - start
    best = search.best_estimator_
    if arguments.output is not None:
        best.save(arguments.output)
    results = search.cv_results_
    order = np.argsort(results["rank_test_score"], kind="stable").tolist()
    candidates = [
        {
            **results["params"][place],
            "score": float(results["mean_test_score"][place]),
            "deviation": float(results["std_test_score"][place]),
        }
        for place in order
    ]
    if arguments.json:
        printed_json(
            {
                "chosen": line,
                "data": arguments.data,
                "features": int(best.n_features_in_),
                "folds": search.n_splits_,
                "seconds": seconds,
                "best": search.best_params_,
                "candidates": candidates,
                "output": arguments.output,
            }
        )
        return 0
    head = (*grid, "score", "deviation")
    print(table(head, [[number(one[name]) for name in head] for one in candidates], 0))
    score = estimator.scoring or ("accuracy" if hasattr(best, "classes_") else "R^2")
    settings = ", ".join(f"{name}={number(one)}" for name, one in search.best_params_.items())
    print(
        f"{described_rows(arguments.data)}: {len(order)} candidates on "
        f"{search.n_splits_} folds in {seconds:.2f} s; best by {score}: {settings}"
    )
    if arguments.output is not None:
        print(f"model: {arguments.output}")
    return 0
