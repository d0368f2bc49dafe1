"""What the file of an estimator may have in it: attributes by class, and objects by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..certificate import Certificate
from ..data.columns import Columns
from ..learning_rate.choose import Rates
from ..learning_rate.result import Result
from ..model_files.encoding import Record
from ..model_files.records import (
    RECORDS,
    dataclass_record,
    is_count,
    is_flag,
    is_number,
    is_text,
    one_of,
    optional,
)
from ..network import NETWORK_LOSSES, Network
from ..optimizers import Optimizer
from ..solver import State
from .continuation import Continuation
from .network_continuation import NetworkContinuation
from .standardise import Scaling

__all__ = ["CHECKS", "MODEL_RECORDS", "OPTIONAL", "REQUIRED"]

COMMON = ("n_iter_", "t_", "history_", "n_features_in_")
OF_LINEAR = (*COMMON, "coef_")
OF_NETWORK = (
    *(*COMMON, "coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_", "loss_"),
    *("best_loss_", "best_validation_score_", "validates"),
)
OF_CLASSES = ("classes_", "_multilabel")

REQUIRED: dict[str, tuple[str, ...]] = {
    "SGDClassifier": (*OF_LINEAR, "intercept_", *OF_CLASSES),
    "SGDRegressor": (*OF_LINEAR, "intercept_"),
    "SGDOneClassSVM": (*OF_LINEAR, "offset_"),
    "MLPClassifier": (*OF_NETWORK, *OF_CLASSES),
    "MLPRegressor": OF_NETWORK,
}
"""Attributes that a file of each class has, and those that it may have beside them."""

OPTIONAL = ("feature_names_in_", "result_", "certificate_", "columns_", "hashed_names_")


def _are_names(value: Any) -> bool:
    is_array = isinstance(value, np.ndarray) and value.dtype == object
    return is_array and all(type(one) is str for one in value.ravel().tolist())


def _are_labels(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "biufUSO"


def _are_hashed_names(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(column) is int and type(name) is str for column, name in value.items()
    )


def _are_texts(value: Any) -> bool:
    return type(value) is tuple and all(type(one) is str for one in value)


def _are_means(value: Any) -> bool:
    return type(value) is tuple and all(map(is_number, value))


CHECKS: dict[str, Callable[[Any], bool]] = {
    "n_iter_": is_count,
    "t_": is_count,
    "history_": lambda value: isinstance(value, dict),
    "n_features_in_": lambda value: is_count(value) and value >= 1,
    "feature_names_in_": _are_names,
    "result_": one_of(Result),
    "certificate_": one_of(Certificate),
    "columns_": one_of(Columns),
    "hashed_names_": _are_hashed_names,
    "classes_": _are_labels,
    "_multilabel": is_flag,
    "coefs_": one_of(list),
    "intercepts_": one_of(list),
    "n_layers_": is_count,
    "n_outputs_": is_count,
    "out_activation_": lambda value: value in tuple(NETWORK_LOSSES.values()),
    "loss_": is_number,
    "best_loss_": optional(is_number),
    "best_validation_score_": optional(is_number),
    "validates": is_flag,
}
"""What attributes have to be, by themselves."""


def _is_key(value: Any) -> bool:
    """Whether it is made of numbers and text, so that it may be compared."""
    if type(value) is tuple:
        return all(map(_is_key, value))
    plain = (type(None), bool, int, float, str, bytes, np.generic, Optimizer)
    return isinstance(value, plain)


def _is_average(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and _is_key(value[0]) and is_count(value[1])


def _are_scales(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f"


RUN: dict[str, Callable[[Any], bool]] = {
    "seed": lambda value: type(value) is int and 0 <= value < 2**64,
    "split": optional(one_of(np.random.RandomState)),
    "horizon": lambda value: is_number(value) and 0.0 < value < np.inf,
    "average": _is_average,
    "scaling": one_of(Scaling),
}

MODEL_RECORDS: dict[str, Record] = {
    **RECORDS,
    "Scaling": dataclass_record(
        Scaling, {"offset": optional(_are_scales), "scale": optional(_are_scales)}
    ),
    "Columns": dataclass_record(
        Columns,
        {
            **dict.fromkeys(("numeric", "categorical", "kinds", "text"), _are_texts),
            "target": lambda value: value is None or is_text(value) or _are_texts(value),
            "sample_weight": optional(is_text),
            "dtype": lambda value: value in ("float64", "float32", "float16", "uint8"),
            "hash_bits": lambda value: type(value) is int and 1 <= value <= 30,
            "missing": lambda value: value in ("error", "zero", "mean"),
            "means": optional(_are_means),
            "keep_names": lambda value: type(value) is int and 0 <= value <= 2**31,
        },
    ),
    "Continuation": dataclass_record(
        Continuation,
        {
            **RUN,
            "state": one_of(State),
            "fits": lambda value: type(value) is tuple and _is_key(value),
            "recipe": lambda value: type(value) is tuple and _is_key(value),
            "rates": one_of(Rates),
            "unread": is_flag,
        },
    ),
    "NetworkContinuation": dataclass_record(
        NetworkContinuation,
        {
            **RUN,
            "state": one_of(RECORDS["VectorState"].kind),
            "network": one_of(Network),
            "descent": one_of(RECORDS["VectorDescent"].kind),
            "rows": is_count,
        },
    ),
}
"""The objects that a file of an estimator may have: the library's, and what estimators keep."""
