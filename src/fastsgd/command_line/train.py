"""``fastsgd train``: a model from files."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, get_args

from ..data import Source, open_source
from ..estimators.rows import Rows, publish_columns
from ..losses import ClassificationLoss, RegressionLoss
from ..model_files.checkpoint import Checkpoint, files_of
from . import scores
from .config import add_config
from .parameters import CLASSES, add_parameters, build, differing, parameters_in
from .sources import (
    add_data,
    add_memory,
    described_rows,
    in_memory,
    memory_of,
    open_for_model,
    open_given,
    scan,
)
from .terminal import UsageError, add_common, check_output, number, printed_json
from .watching import Watch

__all__ = ["chosen", "fill", "run"]

OF_CLASSES = set(get_args(ClassificationLoss)) - set(get_args(RegressionLoss))
"""Losses that say that the task is classification."""


def fill(parser: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    add_data(parser)
    group = parser.add_argument_group("what to make")
    group.add_argument(*("--output", "-o"), metavar="FILE", help="write the model to this file")
    group.add_argument(
        "--model",
        choices=("linear", "network"),
        default="linear",
        help="a linear model, or a multilayer perceptron, whose rows must fit into memory "
        "(default: linear)",
    )
    add_task(group)
    group.add_argument(
        "--test", nargs="+", metavar="DATA", help="score the model on these files at the end"
    )
    group.add_argument(
        "--validation",
        metavar="DATA",
        help="watch the score on these rows, and keep the weights that were best",
    )
    run_of = parser.add_argument_group("long runs")
    run_of.add_argument(
        "--checkpoint", metavar="FOLDER", help="save the run there while it goes on"
    )
    run_of.add_argument(
        "--every",
        metavar="TIME",
        default="10 min",
        help='time between two checkpoints, such as "30 s" or "2 h"; "0 s" is after every pass '
        '(default: "10 min")',
    )
    run_of.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint, with the same bits as if there had been no stop; "
        "begin if there is none",
    )
    add_config(run_of)
    parser.takes_config = True  # type: ignore[attr-defined]
    add_memory(parser)
    add_parameters(parser, ("linear", "network"))
    add_common(parser)


def add_task(group: Any) -> None:
    """The option that overrides what the loss and the target say."""
    group.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="what to train (default: by the loss; without one by the target, of which numbers "
        "with fractions or many values are regression)",
    )


def chosen(arguments: argparse.Namespace, source: Source, model: str) -> tuple[Any, str]:
    """The estimator that the arguments and the target ask for, and a line that says so."""
    given = parameters_in(arguments)
    loss = given.get("loss")
    if arguments.task is not None:
        task, why = arguments.task, "as --task says"
    elif loss is not None:
        task = "classification" if loss in OF_CLASSES else "regression"
        why = f"as the loss {loss} says"
    else:
        task, why = scan(source)
    if task == "classification" and model == "linear":
        given.setdefault("loss", "log_loss")
    elif model == "network" and given.get("loss") == "log_loss":
        del given["loss"]  # the only one that networks of classes have
    estimator = build(CLASSES[model, task], given)
    named = getattr(estimator, "loss", "log_loss")
    return estimator, f"{type(estimator).__name__} with loss {named}: {task}, {why}"


def run(arguments: argparse.Namespace) -> int:
    """Train, score, save."""
    check_output(arguments.output)
    if arguments.resume and arguments.checkpoint is None:
        raise UsageError("--resume goes on from a checkpoint: name the folder with --checkpoint")
    checkpoint = None
    if arguments.checkpoint is not None:
        try:
            every = 0 if arguments.every in ("0", "0 s") else arguments.every
            checkpoint = Checkpoint(arguments.checkpoint, every=every)
        except ValueError as error:
            raise UsageError(str(error)) from error
    source = open_given(arguments)
    estimator, line = chosen(arguments, source, arguments.model)
    if not arguments.json:
        print(line, flush=True)
        files = files_of(Path(arguments.checkpoint)) if arguments.resume else []
        if files:
            print(f"going on from {files[-1][-1]}", flush=True)
    watch = Watch(prints=not arguments.json)
    estimator._watch = watch
    start = time.perf_counter()
    try:
        _fit(estimator, source, arguments, checkpoint)
    except KeyboardInterrupt:
        watch.close()
        print(_kept(estimator, arguments), file=sys.stderr)
        return 130
    finally:
        watch.close()
        vars(estimator).pop("_watch", None)
    seconds = time.perf_counter() - start
    found = None
    if arguments.test is not None:
        found = scores.of(estimator, open_for_model(estimator, arguments.test, arguments.target))
    if arguments.output is not None:
        estimator.save(arguments.output)
    report = _report(estimator, line, watch, seconds) | {
        "data": arguments.data,
        "scores": found,
        "output": arguments.output,
    }
    if arguments.json:
        printed_json(report)
    else:
        _print(report, arguments)
    return 0


def _fit(estimator: Any, source: Source, arguments: argparse.Namespace, checkpoint: Any) -> None:
    """Train on the rows of the source."""
    options: dict[str, Any] = {"checkpoint": checkpoint}
    if arguments.resume:
        options["resume"] = arguments.checkpoint
    if arguments.model == "network":
        rows = in_memory(source, arguments.pool, "a network")
        if arguments.validation is not None:
            columns = source.columns
            held = in_memory(
                open_source(arguments.validation, columns=columns), arguments.pool, "validation"
            )
            options |= {"X_val": held.X, "y_val": held.y}
        weight = {} if rows.sample_weight is None else {"sample_weight": rows.sample_weight}
        publish_columns(estimator, Rows(None, None, None, source=source))
        estimator.fit(rows.X, rows.y, **weight, **options)
        return
    options |= memory_of(arguments)
    if arguments.validation is not None:
        options["X_val"] = arguments.validation
    estimator.fit(source, **options)


def _kept(estimator: Any, arguments: argparse.Namespace) -> str:
    """What there is after Ctrl-C; the model as it stands is saved, if there is no checkpoint."""
    if arguments.checkpoint is not None:
        files = files_of(Path(arguments.checkpoint))
        if files:
            return f"stopped: kept {files[-1][-1]}; go on with --resume"
        return "stopped: nothing was kept, no checkpoint was due yet"
    if arguments.output is not None and hasattr(estimator, "n_iter_"):
        estimator.save(arguments.output)
        return (
            f"stopped: the model as it stands, after {estimator.n_iter_} passes and a part, is in "
            f"{arguments.output}"
        )
    return "stopped: nothing was kept; --output keeps the model as it stands, --checkpoint the run"


def _report(estimator: Any, line: str, watch: Watch, seconds: float) -> dict[str, Any]:
    """What was trained."""
    history = estimator.history_
    result = vars(estimator).get("result_")
    report = {
        "model": type(estimator).__name__,
        "chosen": line,
        "rows": watch.rows,
        "features": int(estimator.n_features_in_),
        "passes": int(history["epoch"][-1]),
        "loss": history["loss"][-1],
        "seconds": seconds,
        "rows_per_second": watch.rows * int(estimator.n_iter_) / max(seconds, 1e-9),
        "stopped": None if result is None else result.stopped,
        "parameters": differing(estimator),
        "progress": watch.lines,
    }
    if hasattr(estimator, "classes_"):
        report["classes"] = estimator.classes_.tolist()
    scores_of_rows = history["validation_score"]
    if scores_of_rows and scores_of_rows[-1] == scores_of_rows[-1]:
        report["validation_score"] = max(scores_of_rows)
    return report


ENDS = {
    "tolerance": "the loss no longer fell",
    "max_iter": "all passes were made",
    "callback": "stopped",
}


def _print(report: dict[str, Any], arguments: argparse.Namespace) -> None:
    """The same for people."""
    end = ENDS.get(report["stopped"] or "", "")
    print(
        f"{described_rows(arguments.data)}: {report['rows']:,} rows of {report['features']:,} "
        f"features, {report['passes']} passes in {report['seconds']:.2f} s"
        + (f"; {end}" if end else "")
    )
    print(f"loss {number(report['loss'], 6)} (mean over the last pass, with the penalty)")
    if "validation_score" in report:
        print(f"validation: best score {number(report['validation_score'], 6)}")
    if report["scores"] is not None:
        print(f"{described_rows(arguments.test)}: {scores.line(report['scores'])}")
    if report["output"] is not None:
        print(f"model: {report['output']}")
