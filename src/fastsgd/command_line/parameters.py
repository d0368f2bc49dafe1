"""Options made of the signatures and docstrings of the estimators: nothing is written twice."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..estimators import MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor
from ..estimators.documentation import entries
from .terminal import UsageError

__all__ = ["CLASSES", "add_parameters", "build", "differing", "parameters_in"]

CLASSES: dict[tuple[str, str], Any] = {
    ("linear", "classification"): SGDClassifier,
    ("linear", "regression"): SGDRegressor,
    ("network", "classification"): MLPClassifier,
    ("network", "regression"): MLPRegressor,
}
"""Estimators by model and task."""

LEFT_OUT = ("verbose", "warm_start", "random_state")
"""Parameters without an option of their name: what a single run in a shell has no use for."""

OTHER_NAMES = {"max_iter": ("--passes",)}

GROUPS = {
    "model and objective": (
        *("loss", "penalty", "alpha", "l1_ratio", "fit_intercept", "epsilon", "quantile"),
        *("class_weight", "multi_class", "standardize"),
    ),
    "steps": (
        *("learning_rate", "eta0", "power_t", "decay", "step_epochs", "total_epochs"),
        *("warmup_steps", "linear_scaling", "batch_size", "momentum", "nesterov", "optimizer"),
        *("average", "clip_norm", "sampling", "shuffle", "on_divergence", "n_jobs"),
    ),
    "passes and stopping": (
        *("max_iter", "tol", "n_iter_no_change", "early_stopping", "validation_fraction"),
        *("scoring", "certificate"),
    ),
}
"""Headings of the help; what is in none is of networks alone."""


def add_parameters(parser: argparse.ArgumentParser, models: Sequence[str]) -> None:
    """Give a parser an option for every parameter of the estimators of these models."""
    classes = [kind for (model, _), kind in CLASSES.items() if model in models]
    texts = {kind: _texts(kind) for kind in classes}
    found: dict[str, list[Any]] = {}
    for kind in classes:
        for name in inspect.signature(kind).parameters:
            if name not in LEFT_OUT:
                found.setdefault(name, []).append(kind)
    headings = {name: heading for heading, names in GROUPS.items() for name in names}
    order = [*GROUPS, "networks (--model network)"]
    groups = {heading: parser.add_argument_group(heading) for heading in order[: 2 + len(models)]}
    for heading, group in groups.items():
        for name, kinds in found.items():
            if headings.get(name, order[-1]) == heading:
                _add(group, name, kinds, _help(name, kinds, texts[kinds[0]][name], found))
    parser.add_argument(
        *("--seed", "--random-state"),
        dest="random_state",
        type=_seed,
        default=argparse.SUPPRESS,
        metavar="N",
        help="seed of the order of the rows and of whatever else is drawn; without it every run "
        "is another",
    )


def _add(group: Any, name: str, kinds: Sequence[Any], text: str) -> None:
    """The option of a parameter."""
    flags = (f"--{name.replace('_', '-')}", *OTHER_NAMES.get(name, ()))
    options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
    atoms = _atoms(name, kinds)
    if atoms == {bool}:
        group.add_argument(*flags, action=argparse.BooleanOptionalAction, **options)
        return
    metavar = "N" if int in atoms else "X" if float in atoms else "NAME"
    if dict in atoms:
        metavar = "balanced|JSON"
    group.add_argument(*flags, type=_reader(name, atoms), metavar=metavar, **options)


def _atoms(name: str, kinds: Sequence[Any]) -> set[Any]:
    """Types and words that a parameter takes, over the estimators that have it."""
    if name == "hidden_layer_sizes":
        return {list}
    found: set[Any] = set()
    waiting = [typing.get_type_hints(kind.__init__)[name] for kind in kinds]
    while waiting:
        hint = waiting.pop()
        origin = typing.get_origin(hint)
        if origin in (typing.Union, types.UnionType):
            waiting += typing.get_args(hint)
        elif origin is Literal:
            found.update(typing.get_args(hint))
        elif origin is dict:
            found.add(dict)
        elif hint in (bool, int, float, str, type(None)):
            found.add(hint)
    return found


def _reader(name: str, atoms: set[Any]) -> Callable[[str], Any]:
    """What makes a value of a text."""
    words = sorted(atom for atom in atoms if isinstance(atom, str))

    def read(text: str) -> Any:
        if text in words or (str in atoms and text.lower() != "none"):
            return text
        if type(None) in atoms and text.lower() == "none":
            return None
        if bool in atoms and text.lower() in ("true", "false"):
            return text.lower() == "true"
        for kind in (int, float):
            if kind in atoms:
                try:
                    return kind(text)
                except ValueError:
                    pass
        if dict in atoms and text.startswith("{"):
            return _weights(text)
        if list in atoms:
            parts = text.strip("()[] ,").split(",")
            if all(part.strip().isdigit() for part in parts):
                return tuple(map(int, parts))
        raise argparse.ArgumentTypeError(f"must be {_choices(atoms)}, got {text!r}")

    return read


def _choices(atoms: set[Any]) -> str:
    """What a parameter takes, for people."""
    texts = {int: "a whole number", float: "a number", str: "a name", type(None): "none"}
    texts |= {bool: "true or false", dict: "JSON such as '{\"yes\": 2}'", list: "sizes: 64,32"}
    found = sorted(atom for atom in atoms if isinstance(atom, str))
    if float in atoms:
        atoms = atoms - {int}
    return ", ".join([*found, *(text for kind, text in texts.items() if kind in atoms)])


def _weights(text: str) -> dict[Any, float]:
    """Weights of classes, whose names may be numbers."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from None

    def label(name: str) -> Any:
        for kind in (int, float):
            try:
                return kind(name)
            except ValueError:
                continue
        return name

    labels = [label(name) for name in found]
    if any(isinstance(one, str) for one in labels):
        return dict(found)
    return dict(zip(labels, found.values(), strict=True))


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**32 - 1}, got {text}")
    return int(text)


# Texts.


def _texts(kind: Any) -> dict[str, str]:
    """Descriptions of the parameters of an estimator."""
    found, _ = entries(inspect.cleandoc(kind.__doc__), "Parameters")
    return {name: text.split("\n", 1)[1] for name, text in found.items()}


def _help(name: str, kinds: Sequence[Any], text: str, known: Any) -> str:
    """What an option says: the first sentence, the choices and the default."""
    sentence = _first_sentence(text)
    sentence = re.sub(
        r"``([^`]*)``",
        lambda part: f"--{part[1].replace('_', '-')}" if part[1] in known else part[1],
        re.sub(r":class:`[~.\w]*?(\w+)`| \[1\]_", lambda part: part[1] or "", sentence),
    )
    words = sorted(atom for atom in _atoms(name, kinds) if isinstance(atom, str))
    if words and name != "class_weight":
        sentence += f". One of {', '.join(words)}"
    defaults: dict[str, str] = {}
    for kind in kinds:
        value = inspect.signature(kind).parameters[name].default
        model = "networks" if kind.__name__.startswith("MLP") else "linear"
        defaults.setdefault(model, "none" if value is None else str(value))
    shown = next(iter(defaults.values()))
    if name == "loss":
        shown = "log_loss, or squared_error for numbers"
    elif len(set(defaults.values())) > 1:
        shown = f"{defaults['linear']}; networks: {defaults['networks']}"
    if sentence[1].islower():
        sentence = sentence[0].lower() + sentence[1:]
    return f"{sentence} (default: {shown})".replace("%", "%%")


def _first_sentence(text: str) -> str:
    """The first sentence of a description, or of its list."""
    text = inspect.cleandoc(text)
    if "\n- " in text:
        text = text[text.index("\n- ") + 3 :].split("\n- ")[0].replace("\n  ", " ")
    text = " ".join(text.split()).replace("; or a :class:`fastsgd.losses.CompiledLoss`", "")
    found = re.match(r"(.*?[^.])\.(?= [A-Z]|$)", text)
    return (found[1] if found else text).rstrip(";. ")


# Values.


def parameters_in(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters of estimators that were given."""
    known = {name for kind in CLASSES.values() for name in inspect.signature(kind).parameters}
    return {name: value for name, value in vars(arguments).items() if name in known}


def build(kind: Any, given: dict[str, Any]) -> Any:
    """An estimator with these parameters.

    Raises
    ------
    UsageError
        If it has not all of them, or one is out of its range.
    """
    known = inspect.signature(kind).parameters
    for name in given:
        if name not in known:
            raise UsageError(f"--{name.replace('_', '-')} is no parameter of {kind.__name__}")
    estimator = kind(**given)
    try:
        estimator._validate_params()
    except ValueError as error:
        raise UsageError(str(error)) from error
    return estimator


def differing(estimator: Any) -> dict[str, Any]:
    """The parameters that are not at their defaults."""
    defaults = inspect.signature(type(estimator)).parameters
    found = estimator.get_params(deep=False)
    return {name: value for name, value in found.items() if value != defaults[name].default}
