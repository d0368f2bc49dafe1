"""``python -m fastsgd COMMAND``: what fastsgd does from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

LEAST_ROWS = 100
"""Rows of the generated table of ``bench``: fewer may lack a class, or a row held out."""


PROBLEMS = ("least-squares", "logistic", "sine", "network", "spiral")
"""Problems of ``explore``."""


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


def parser() -> argparse.ArgumentParser:
    """The commands; each sets ``run``, which takes the arguments and returns an exit status."""
    main = argparse.ArgumentParser(prog="python -m fastsgd", description=__doc__)
    commands = main.add_subparsers(title="commands", metavar="COMMAND", required=True)

    bench = commands.add_parser(
        "bench",
        help="time fastsgd, its NumPy twin and scikit-learn side by side",
        description="Train linear and logistic regression with fastsgd, its NumPy twin and "
        "scikit-learn, and print a table. Exit status 1 if fastsgd and the twin differ by more "
        "than rounding. Takes about a minute.",
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
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
