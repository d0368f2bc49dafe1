"""What the commands share: parsers that are filled late, errors, output, sizes and tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "DATA_ERRORS",
    "LateParser",
    "UsageError",
    "add_common",
    "check_output",
    "guarded",
    "names",
    "number",
    "printed_json",
    "replaced",
    "size",
    "table",
]

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20}
UNITS["gib"] = 2**30
"""Bytes of a unit of memory."""

MANY = 20
"""Options that are too many for a line of usage."""

DATA_ERRORS = (ValueError, TypeError, OSError, ImportError, ArithmeticError, MemoryError)
"""What is wrong with data, files or the installation: exit status 1, and one sentence."""


class UsageError(Exception):
    """Arguments that do not go together: exit status 2."""


class LateParser(argparse.ArgumentParser):
    """A parser that gets its arguments when it is asked to parse any.

    So that ``fastsgd --help`` imports nothing of what single commands need.
    """

    fill: Callable[[LateParser], None] | None = None
    takes_config = False

    def format_usage(self) -> str:
        """Names of the arguments that must be there; the help has the options."""
        if len(self._actions) < MANY:
            return super().format_usage()
        formatter = self._get_formatter()
        needed = [action for action in self._actions if not action.option_strings]
        formatter.add_usage(f"{self.prog} [DATA ...] [options]", needed, [])
        return formatter.format_help()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        given = list(sys.argv[1:] if args is None else args)
        if self.takes_config:
            from .config import with_config

            given = with_config(self, given)
        return super().parse_known_args(given, namespace)


def add_common(parser: argparse.ArgumentParser, *, as_json: bool = True) -> None:
    """The options that every command has."""
    if as_json:
        parser.add_argument(
            "--json", action="store_true", help="print one JSON document instead of text"
        )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error, for a bug report"
    )


def guarded(name: str, run: Callable[[Any], int], arguments: argparse.Namespace) -> int:
    """Run a command; an error is one sentence on standard error, and an exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_, **__: _say(f"{name}: warning: {message}")
        try:
            return run(arguments)
        except UsageError as error:
            if arguments.debug:
                raise
            _say(f"{name}: error: {error}")
            return 2
        except BrokenPipeError:  # whoever read our output has gone
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except DATA_ERRORS as error:
            if arguments.debug:
                raise
            _say(f"{name}: {_sentence(error)}")
            return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _sentence(error: BaseException) -> str:
    """The message of an error on one line."""
    if isinstance(error, MemoryError):
        return f"not enough memory{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def size(text: str) -> int:
    """A size such as "512 MB" in bytes.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if not found or found[2].lower() not in UNITS or float(found[1]) <= 0.0:
        raise argparse.ArgumentTypeError(f'must be a size such as "512 MB" or 2GiB, got {text!r}')
    return max(1, int(float(found[1]) * UNITS[found[2].lower()]))


def names(text: str) -> list[str]:
    """Names with commas between them, or a JSON list where a name has a comma itself.

    Raises
    ------
    argparse.ArgumentTypeError
        If there are none.
    """
    found: Any = [part.strip() for part in text.split(",")]
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no JSON list: {error}") from None
    if not all(isinstance(name, str) and name for name in found) or not found:
        raise argparse.ArgumentTypeError(f"must be names with commas between them, got {text!r}")
    return list(found)


def number(value: float | None, digits: int = 4) -> str:
    """A number for people."""
    if value is None or not math.isfinite(value):
        return "-" if value is None or math.isnan(value) else str(value)
    return f"{value:.{digits}g}" if abs(value) < 1e5 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns under their heads, the first ``left`` of them flush left."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if j < left else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def plain(value: Any) -> Any:
    """A value as JSON has it; None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def printed_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    print(json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False))


def check_output(path: str | None) -> None:
    """Refuse, before the work is done, a file that could not be written after it.

    Raises
    ------
    ValueError
        If it is a folder, or in one that is not there.
    """
    if path is None:
        return
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder: name a file to write")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{path}: there is no folder {Path(path).parent}")


@contextlib.contextmanager
def replaced(path: str) -> Iterator[Path]:
    """A file to write beside, which takes the name when it is whole, and is removed else."""
    check_output(path)
    target = Path(path).absolute()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
