"""What an estimator consists of, as values for a file, and an estimator of such values, checked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import scipy
import sklearn

from ..losses import CompiledLoss
from ..model_files.container import Tensors
from ..model_files.decoding import Decoder
from ..model_files.encoding import Encoder
from ..model_files.records import Given
from ..schedules import Schedule
from ..solver.history import FIELDS
from .model_checks import check_columns, check_linear, check_network, check_network_run, check_run
from .model_tables import CHECKS, MODEL_RECORDS, OPTIONAL, REQUIRED

__all__ = ["check_class", "describe", "encoder", "parameters_of", "restore"]

Values = dict[str, Any]


def encoder() -> Encoder:
    """What makes JSON and tensors of the values of an estimator."""
    return Encoder(MODEL_RECORDS)


def parameters_of(estimator: Any) -> Values:
    """The parameters by name, with marks for what a user has to give again."""

    def kept(name: str, value: Any) -> Any:
        if isinstance(value, CompiledLoss):
            return Given("loss", value.name)
        if isinstance(value, Schedule):
            return value if value.function is None else Given(name)
        if name in ("learning_rate", "scoring") and callable(value):
            return Given(name)
        return value

    found = estimator.get_params(deep=False)
    return {name: kept(name, value) for name, value in found.items()}


def check_class(estimator: Any) -> str:
    """The name of the class of an estimator, which a file can hold.

    Raises
    ------
    ValueError
        If it is a class of a user's own.
    """
    name = type(estimator).__name__
    if type(estimator).__module__.partition(".")[0] != "fastsgd" or name not in REQUIRED:
        raise ValueError(
            f"a model file holds one of {', '.join(REQUIRED)}, and no class of your own as {name}"
        )
    return name


def describe(estimator: Any, *, state: bool, run: Values | None = None) -> tuple[Values, Values]:
    """Description and tensors of a fitted estimator.

    Parameters
    ----------
    estimator : estimator
    state : bool
        Whether to have the training state in it.
    run : dict, optional
        Where a fit under way stands.

    Raises
    ------
    ValueError
        If something is of a type that no file holds, or is not as a fit leaves it.
    """
    name = check_class(estimator)
    estimator._validate_params()
    attributes = _attributes(estimator)
    check(estimator, attributes)
    parts = encoder()
    description: Values = {
        "class": name,
        "versions": {
            "fastsgd": import_module("fastsgd").__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "parameters": _coded(parts, "parameters", parameters_of(estimator)),
        "attributes": _coded(parts, "attributes", _for_file(attributes)),
        "training": None,
    }
    found = vars(estimator)
    if state and "_continuation" in found:
        training = {"continuation": found["_continuation"]}
        if "_class_counts" in found:
            training["class_counts"] = found["_class_counts"]
        if run is not None:
            training["run"] = run
        description["training"] = _coded(parts, "training", training)
    return description, parts.tensors


def _coded(parts: Encoder, at: str, values: Values) -> Values:
    return {name: parts.value(value, f"{at}.{name}") for name, value in values.items()}


def _attributes(estimator: Any) -> Values:
    """The attributes that a fit leaves behind, of those that are in a file."""
    found, name = vars(estimator), type(estimator).__name__
    if "coef_" in REQUIRED[name]:
        _ = estimator.coef_  # made of the state, if nobody has read it
    names = [one for one in (*REQUIRED[name], *OPTIONAL) if one in found]
    values = {one: found[one] for one in sorted(names)}
    if "_multilabel" in REQUIRED[name]:
        values["_multilabel"] = estimator._multilabel
    if "validates" in REQUIRED[name]:
        values["validates"] = found.get("validation_scores_") is not None
    return values


def _for_file(attributes: Values) -> Values:
    """The same with arrays for the columns of the history, and for names by their numbers."""
    columns: Values = {}
    for name, column in attributes["history_"].items():
        columns[name] = np.array(column, dtype=np.int64 if name == "epoch" else np.float64)
    found = {**attributes, "history_": columns}
    if "hashed_names_" in found:
        numbers, names = found["hashed_names_"].keys(), found["hashed_names_"].values()
        texts = np.array([*names], dtype=object)
        found["hashed_names_"] = np.array([*numbers], dtype=np.int64), texts
    return found


def _names(found: Any) -> dict[int, str]:
    """Names by their numbers, of the arrays of both."""
    right = type(found) is tuple and len(found) == 2
    if not right or not all(isinstance(one, np.ndarray) and one.ndim == 1 for one in found):
        raise ValueError("its hashed_names_ must be arrays of numbers and of names")
    numbers, names = (one.tolist() for one in found)
    if len(numbers) != len(names) or len(set(numbers)) != len(numbers):
        raise ValueError("its hashed_names_ must have a name for each number, once")
    return dict(zip(numbers, names, strict=True))


def _history(columns: Any) -> dict[str, list[Any]]:
    """The columns of a history, as lists again."""
    if not isinstance(columns, dict) or list(columns) != list(FIELDS):
        raise ValueError(f"its history must have the columns {list(FIELDS)}")
    if not all(isinstance(column, np.ndarray) for column in columns.values()):
        raise ValueError("its history must have arrays as columns")
    epochs = len(columns["epoch"]) if columns["epoch"].ndim == 1 else -1
    found = {}
    for name, column in columns.items():
        dtype = np.int64 if name == "epoch" else np.float64
        ndim = 2 if name == "losses" and epochs else 1
        if column.ndim != ndim or len(column) != epochs or column.dtype != dtype:
            raise ValueError(f"its history must have {epochs} numbers of {name}")
        found[name] = list(column.copy()) if name == "losses" else column.tolist()
    return found


def restore(
    kinds: Mapping[str, type], description: Values, tensors: Tensors, given: Values
) -> tuple[Any, Values | None, set[str]]:
    """The estimator of a description, where its fit stands, and the arguments that were needed.

    Parameters
    ----------
    kinds : mapping of str to type
        Classes that may be made, by name.
    description, tensors
        As a file has them.
    given : dict
        What no file can hold, by argument.

    Raises
    ------
    ValueError, TypeError
        If they are not those of an estimator.
    """
    name = description.get("class")
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"it is of the class {name!r:.80}, and not of one of {list(kinds)}")
    values = Decoder(MODEL_RECORDS, tensors, given)
    parts = [_decoded(values, description.get(part)) for part in ("parameters", "attributes")]
    kind: Any = kinds[name]
    unknown = set(parts[0]) - set(kind._get_param_names())
    if unknown:
        raise ValueError(f"{name} has no parameters {sorted(unknown)}")
    estimator = kind(**parts[0])
    estimator._validate_params()
    attributes = parts[1]
    attributes["history_"] = _history(attributes.get("history_"))
    if "hashed_names_" in attributes:
        attributes["hashed_names_"] = _names(attributes["hashed_names_"])
    check(estimator, attributes)
    validates = attributes.pop("validates", None)
    vars(estimator).update(attributes)
    history = attributes["history_"]
    estimator.loss_curve_ = history["loss"]
    if validates is not None:
        estimator.validation_scores_ = history["validation_score"] if validates else None
    run = None
    if description.get("training") is not None:
        run = _take_training(estimator, _decoded(values, description["training"]))
    return estimator, run, values.needed


def _decoded(values: Decoder, found: Any) -> Values:
    if not isinstance(found, dict):
        raise ValueError("its description has not all of its parts")
    return {name: values.value(one) for name, one in found.items()}


def _take_training(estimator: Any, training: Values) -> Values | None:
    """Give an estimator its training state, checked; where its fit stands."""
    unknown = set(training) - {"continuation", "class_counts", "run"}
    if unknown or "continuation" not in training:
        raise ValueError(f"its training state has unknown parts, or none: {sorted(training)}")
    continuation = training["continuation"]
    (check_network_run if hasattr(estimator, "coefs_") else check_run)(estimator, continuation)
    estimator._continuation = continuation
    if "class_counts" in training:
        counts = training["class_counts"]
        classes = len(getattr(estimator, "classes_", ()))
        shapes = ((2, classes), (2, 2, classes))
        whole = isinstance(counts, np.ndarray) and counts.dtype == np.float64
        if not whole or counts.shape not in shapes or not np.isfinite(counts).all():
            raise ValueError(f"it must have counts of {classes} classes")
        estimator._class_counts = counts
    return training.get("run")


def check(estimator: Any, attributes: Values) -> None:
    """Refuse attributes that no fit of the estimator leaves behind.

    Raises
    ------
    ValueError
        Naming the attribute.
    """
    name = type(estimator).__name__
    missing = set(REQUIRED[name]) - set(attributes)
    unknown = set(attributes) - {*REQUIRED[name], *OPTIONAL}
    if missing or unknown:
        raise ValueError(f"{name} must have {sorted(missing)} and cannot have {sorted(unknown)}")
    for one, passes in CHECKS.items():
        if one in attributes and not passes(attributes[one]):
            raise ValueError(f"{one} is {attributes[one]!r:.80}, which a fit cannot have given it")
    names, d = attributes.get("feature_names_in_"), attributes["n_features_in_"]
    if names is not None and names.shape != (d,):
        raise ValueError(f"feature_names_in_ must have {d} names, got {names.shape}")
    check_columns(attributes)
    (check_network if "coefs_" in attributes else check_linear)(estimator, attributes)
