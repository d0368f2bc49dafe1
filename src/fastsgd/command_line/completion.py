"""``fastsgd --print-completion SHELL``: the script by which a shell completes a command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .terminal import LateParser

__all__ = ["script"]

FILES = ("DATA", "FILE", "MODEL")
FOLDERS = ("DIR",)
"""What arguments that are completed by names of files or folders are called in the help."""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion of a parser with commands, of which each has its options by then.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        All commands; those that get their options late get them here.
    shell : str
        A name that shtab knows.

    Returns
    -------
    script : str
        To be evaluated by the shell.

    Raises
    ------
    ImportError
        If shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise ImportError(
            "completion needs the package shtab: pip install 'fastsgd[completion]'"
        ) from None
    for command in _commands(parser):
        if isinstance(command, LateParser) and command.fill is not None:
            fill, command.fill = command.fill, None
            fill(command)
        for action in command._actions:
            if action.metavar in FILES or action.dest == "output":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar in FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    parser.prog = "fastsgd"  # the command that the shell completes, however this was called
    return str(shtab.complete(parser, shell))


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of the commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()
