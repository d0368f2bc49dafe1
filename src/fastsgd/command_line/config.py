"""``--config run.toml``: arguments in a file, by the names that they have in a shell."""

from __future__ import annotations

import argparse
import json
import tomllib
from typing import Any

__all__ = ["add_config", "with_config"]


def add_config(parser: Any) -> None:
    """Let a parser take a file of arguments."""
    parser.takes_config = True
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file of arguments, by the names that they have here, such as batch-size = 32; "
        "what is on the command line wins",
    )


def with_config(parser: argparse.ArgumentParser, given: list[str]) -> list[str]:
    """The arguments with those of the file before them, if there is one."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=parser.prog)
    first.add_argument("--config")
    path = first.parse_known_args(given)[0].config
    if path is None:
        return given
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        parser.error(f"--config {path}: {error.strerror}")
    except tomllib.TOMLDecodeError as error:
        parser.error(f"--config {path}: {error}")
    options = {text: action for action in parser._actions for text in action.option_strings}
    positionals = {action.dest: action for action in parser._actions if not action.option_strings}
    found: list[str] = []
    for name, value in values.items():
        option = "--" + name.replace("_", "-")
        if name in positionals:
            parser.set_defaults(**{name: value if isinstance(value, list) else [value]})
        elif option not in options or option in ("--help", "--config"):
            parser.error(f"--config {path}: unknown name {name!r}; names are those of the options")
        else:
            found += _argument(parser, path, option, options, value)
    return found + given


def _argument(
    parser: argparse.ArgumentParser, path: str, option: str, options: Any, value: Any
) -> list[str]:
    """An entry of the file as an argument."""
    if options[option].nargs == 0:
        if not isinstance(value, bool):
            parser.error(f"--config {path}: {option[2:]} must be true or false, got {value!r}")
        if value:
            return [option]
        against = f"--no-{option[2:]}"
        return [against] if options.get(against) is options[option] else []
    if isinstance(value, (list, dict)):
        texts = isinstance(value, dict) or all(isinstance(one, str) for one in value)
        return [f"{option}={json.dumps(value) if texts else ','.join(map(str, value))}"]
    return [f"{option}={str(value).lower() if isinstance(value, bool) else value}"]
