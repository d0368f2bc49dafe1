"""Scores of a model on the rows of a source, by scikit-learn's metrics, read block by block."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.base import is_classifier

from ..data import Source
from .terminal import number

__all__ = ["line", "of"]


def of(model: Any, source: Source) -> dict[str, Any]:
    """Rows, and the scores by name; None where one is not defined.

    Rows are read block by block; targets and predictions of all of them are in memory.

    Raises
    ------
    ValueError
        If there are no rows, or they have no target.
    """
    parts: dict[str, list[Any]] = {"y": [], "weight": [], "label": [], "score": [], "proba": []}
    for block in source.blocks():
        if not len(block):
            continue
        if block.y is None:
            columns = source.columns
            name = vars(model)["columns_"].target if "columns_" in vars(model) else None
            raise ValueError(
                f"the data have no target{'' if name is None else f' {name!r}'} to compare with"
                + ("" if columns is None or name is not None else ": name it with --target")
            )
        parts["y"].append(block.y)
        parts["weight"].append(block.sample_weight)
        parts["label"].append(model.predict(block.X))
        if is_classifier(model):
            for name, method in (("proba", "predict_proba"), ("score", "decision_function")):
                if hasattr(model, method):
                    parts[name].append(getattr(model, method)(block.X))
    if not parts["y"]:
        raise ValueError("the source has no rows")
    whole = {name: _joined(values) for name, values in parts.items()}
    kind = _of_classes if is_classifier(model) else _of_numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scores that are not defined, which are None
        return {"rows": len(whole["y"])} | kind(model, whole)


def _joined(values: list[Any]) -> Any:
    if not values or values[0] is None:
        return None
    return np.concatenate(values)


def _of_numbers(model: Any, whole: dict[str, Any]) -> dict[str, Any]:
    y, predicted, how = whole["y"], whole["label"], {"sample_weight": whole["weight"]}
    if y.dtype.kind not in "biuf":
        raise ValueError(f"the model predicts numbers, and the target has {y[0]!r}")
    return {
        "r2": _score(metrics.r2_score, y, predicted, **how),
        "rmse": _score(metrics.root_mean_squared_error, y, predicted, **how),
        "mae": _score(metrics.mean_absolute_error, y, predicted, **how),
    }


def _of_classes(model: Any, whole: dict[str, Any]) -> dict[str, Any]:
    y, label, how = whole["y"], whole["label"], {"sample_weight": whole["weight"]}
    classes = model.classes_
    if (y.dtype.kind in "biuf") != (classes.dtype.kind in "biuf"):
        raise ValueError(
            f"the model knows classes such as {classes.tolist()[0]!r}, and the target has "
            f"{y.ravel().tolist()[0]!r}"
        )
    found = {"accuracy": _score(metrics.accuracy_score, y, label, **how)}
    if y.ndim > 1:
        return found
    known = bool(np.isin(y, classes).all())
    proba = whole["proba"]
    if proba is not None:
        found["log_loss"] = (
            _score(metrics.log_loss, y, proba, labels=classes, **how) if known else None
        )
    if len(classes) == 2:
        positive = classes[1]
        score = whole["score"] if proba is None else proba[:, 1]
        found["auc"] = _score(metrics.roc_auc_score, y == positive, score, **how)
        of_class = how | {"pos_label": positive, "zero_division": np.nan}
        if known:
            found["precision"] = _score(metrics.precision_score, y, label, **of_class)
            found["recall"] = _score(metrics.recall_score, y, label, **of_class)
    elif proba is not None and known:
        options = {"multi_class": "ovr", "labels": classes, **how}
        found["auc"] = _score(metrics.roc_auc_score, y, proba, **options)
    return found


def _score(metric: Any, y: NDArray[Any], predicted: NDArray[Any], **options: Any) -> float | None:
    """A score; None where it is not defined, as an AUC of one class."""
    try:
        value = float(metric(y, predicted, **options))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


NAMES = {"log_loss": "log loss", "auc": "AUC", "r2": "R^2", "rmse": "RMSE", "mae": "MAE"}


def line(found: dict[str, Any]) -> str:
    """The scores in a line."""
    parts = [f"{NAMES.get(name, name)} {number(one)}" for name, one in found.items()]
    return ", ".join([f"{found['rows']:,} rows", *parts[1:]])
