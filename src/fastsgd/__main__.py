"""``fastsgd COMMAND``, or ``python -m fastsgd COMMAND``: what fastsgd does from a shell."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from .command_line.terminal import LateParser, guarded

LEAST_ROWS = 100
"""Rows of the generated table of ``bench``: fewer may lack a class, or a row held out."""


PROBLEMS = ("least-squares", "logistic", "sine", "network", "spiral")
"""Problems of ``explore``."""


SHELLS = ("bash", "zsh", "tcsh", "fish", "powershell")
"""Shells that complete ``fastsgd``."""


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


def _rows(text: str) -> int:
    value = int(text)
    if value < LEAST_ROWS:
        raise argparse.ArgumentTypeError(f"must be >= {LEAST_ROWS}, got {value}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be in [0, 2**32), got {value}")
    return value


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Fills the description, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


def _bench(arguments: argparse.Namespace) -> int:
    from .bench import run  # scikit-learn is imported when a command needs it

    return run(arguments.rows, repeats=arguments.repeats, as_json=arguments.json)


def _explore(arguments: argparse.Namespace) -> int:
    from .insight import explore

    try:
        problem = arguments.problem or arguments.option or "logistic"
        found = explore(problem, random_state=arguments.seed)
        path = found.save(arguments.output)
    except (ImportError, OSError) as error:
        print(f"python -m fastsgd explore: {error}", file=sys.stderr)
        return 1
    megabytes = path.stat().st_size / 1e6
    print(
        f"{path}: {found.title}, {len(found.runs)} runs, {megabytes:.1f} MB; open it in a browser"
    )
    return 0


COMMANDS: dict[str, tuple[str, str, str]] = {
    "train": (
        "train a model from files of any size",
        "Train a linear model, or a small network, on the rows of files. Files may be larger than "
        "memory. Whether it is a classifier or a regressor follows from --loss, or from the "
        "target. The first pass prints the average loss as it goes: of rows before they were "
        "trained on, so that it says how well new rows would be predicted.",
        """
  fastsgd train train.csv --target sold -o model.safetensors
  fastsgd train train.csv --target sold --test test.csv --standardize --alpha 1e-3
  fastsgd train 'part-*.parquet' --target price --loss huber --pool "1 GB" --cache prices
  fastsgd train train.csv --target sold --model network --hidden-layer-sizes 32,16
  fastsgd train train.csv --target sold --checkpoint run --resume -o model.safetensors
  fastsgd train --config run.toml --seed 1""",
    ),
    "predict": (
        "write predictions for files or standard input",
        "Predict the rows of files, or of CSV from standard input, block by block and in their "
        "order, in memory that does not grow with the number of rows.",
        """
  fastsgd predict model.safetensors new.csv -o predictions.parquet
  fastsgd predict model.safetensors new.csv --what label,probability --keep id -o out.csv
  cat new.csv | fastsgd predict model.safetensors > predictions.csv""",
    ),
    "evaluate": (
        "score a model on files that have the target",
        "Score a model: accuracy, log loss, AUC and, of two classes, precision and recall; of a "
        "regression R^2, RMSE and MAE. All by scikit-learn.",
        """
  fastsgd evaluate model.safetensors test.csv
  fastsgd evaluate model.safetensors test.csv --json""",
    ),
    "search": (
        "find the best penalty by cross-validation, in shared passes",
        "Train candidates on folds of the rows and compare their scores on the rows left out. "
        "Candidates and folds share passes over the data, so that many cost little more than one.",
        """
  fastsgd search train.csv --target sold --alphas 1e-5,1e-4,1e-3 --cv 5
  fastsgd search train.csv --target price --alphas 1e-4,1e-2 --l1-ratios 0,0.5 -o m.safetensors""",
    ),
    "inspect": (
        "say what a model is: settings, size, weights, course of training",
        "Print the settings of a model that differ from the defaults, its size, its largest "
        "weights by the names of their features, and the course of its training.",
        """
  fastsgd inspect model.safetensors
  fastsgd inspect model.safetensors --top 5 --plot course.png""",
    ),
    "convert": (
        "make the cache of large files ahead",
        "Read files once and write their rows in the form that training reads fastest, into a "
        "folder for `fastsgd train --cache`. The options of the data must be the same there.",
        """
  fastsgd convert train.csv rows --target sold
  fastsgd train train.csv --target sold --cache rows""",
    ),
}
"""Of each command what it does in a line and in a few, and examples."""

MODULES = {"inspect": "inspection"}
"""Modules of commands that are not called like them."""


def _run(name: str, arguments: argparse.Namespace) -> int:
    """Run a command of :mod:`fastsgd.command_line`."""
    module = importlib.import_module(f".command_line.{MODULES.get(name, name)}", "fastsgd")
    return guarded(f"fastsgd {name}", module.run, arguments)


def _fill(name: str, parser: Any) -> None:
    importlib.import_module(f".command_line.{MODULES.get(name, name)}", "fastsgd").fill(parser)


class _Version(argparse.Action):
    """Print the version, which needs no command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from . import __version__

        print(f"fastsgd {__version__}")
        parser.exit()


class _Completion(argparse.Action):
    """Print the script by which a shell completes commands, options and files."""

    def __call__(
        self, parser: argparse.ArgumentParser, _: Any, values: Any, option: str | None = None
    ) -> None:
        from .command_line.completion import script

        try:
            print(script(parser, values))
        except ImportError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The commands; each sets ``run``, which takes the arguments and returns an exit status."""
    called = os.path.basename(sys.argv[0]) == "fastsgd"
    main = argparse.ArgumentParser(
        prog="fastsgd" if called else "python -m fastsgd",
        description="Train linear models and small networks by stochastic gradient descent, and "
        "use them, from a shell.",
        epilog="fastsgd COMMAND --help explains a command, with examples.",
        formatter_class=functools.partial(argparse.HelpFormatter, max_help_position=14),
    )
    main.add_argument("--version", action=_Version, nargs=0, help="print the version")
    main.add_argument(
        "--print-completion",
        action=_Completion,
        choices=SHELLS,
        metavar="SHELL",
        help="print a script by which the shell (bash, zsh, tcsh, fish, powershell) completes "
        "commands, options and files",
    )
    commands = main.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=LateParser
    )
    for name, (line, text, examples) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=line,
            description=text,
            epilog=f"examples:{examples}",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        command.fill = functools.partial(_fill, name)
        command.set_defaults(run=functools.partial(_run, name))

    bench = commands.add_parser(
        "bench",
        help="time fastsgd, its NumPy twin and scikit-learn side by side",
        description="Train linear and logistic regression with fastsgd, its NumPy twin and "
        "scikit-learn, and print a table. Exit status 1 if fastsgd and the twin differ by more "
        "than rounding. Takes about a minute.",
        epilog="examples:\n  fastsgd bench --rows 1000 --repeats 1",
        formatter_class=_Formatter,
    )
    bench.add_argument("--json", action="store_true", help="print one JSON document instead")
    bench.add_argument(
        *("--rows", "-n"),
        type=_rows,
        default=1_000_000,
        help=f"rows of the generated table, at least {LEAST_ROWS} (default: 1,000,000)",
    )
    bench.add_argument(
        *("--repeats", "-r"),
        type=_positive,
        default=3,
        help="timed fits on the generated table, three times as many on small data (default: 3)",
    )
    bench.set_defaults(run=_bench)

    explore = commands.add_parser(
        "explore",
        help="write an interactive page of runs of the solver, step by step",
        description="Run the solver on a problem of two weights or of a network, for several batch "
        "sizes, rates, momenta and schedules, and write one HTML file in which to step through the "
        "runs. It opens offline. fastsgd.insight.explore does the same on your own data. Needs "
        "bokeh.",
        epilog="examples:\n  fastsgd explore least-squares --output page.html",
        formatter_class=_Formatter,
    )
    problems = explore.add_mutually_exclusive_group()
    problems.add_argument(
        "problem",
        nargs="?",
        choices=PROBLEMS,
        help="sine is not convex: it has saddles and shallow minima; network and spiral are "
        "multilayer perceptrons on two features (default: logistic)",
    )
    problems.add_argument(
        *("--problem", "-p"), dest="option", choices=PROBLEMS, help="the same, as an option"
    )
    explore.add_argument(
        *("--output", "-o"), default="explore.html", help="file to write (default: explore.html)"
    )
    explore.add_argument(
        *("--seed", "-s"), type=_seed, default=0, help="of the order of rows (default: 0)"
    )
    explore.set_defaults(run=_explore)
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    # Arrow's own pool keeps 100 MB of what its threads have freed.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
