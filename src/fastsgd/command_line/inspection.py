"""``fastsgd inspect``: what a model file holds."""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimators import load
from .parameters import differing
from .terminal import add_common, check_output, number, printed_json, table

__all__ = ["fill", "run"]

COURSE = 12
"""Lines of the course of training, at most."""


def fill(parser: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    parser.add_argument("model", metavar="MODEL", help="file that `fastsgd train -o` has written")
    parser.add_argument(
        "--top",
        type=_count,
        metavar="N",
        default=20,
        help="how many of the largest weights to print (default: 20)",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the loss of each pass into this file (.png, .svg, .pdf); needs matplotlib",
    )
    add_common(parser)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Load, and print."""
    check_output(arguments.plot)
    model = load(arguments.model)
    if arguments.plot is not None:
        _draw(model, arguments.plot)
    described = _described(model, arguments)
    if arguments.json:
        printed_json(described)
    else:
        _print(described)
    return 0


def _draw(model: Any, path: str) -> None:
    """The loss of each pass as a picture.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'fastsgd[plot]'") from error
    from ..insight import LossCurveDisplay

    with matplotlib.rc_context({"backend": "agg"}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        display = LossCurveDisplay.from_estimator(model, ax=figure.subplots())
        display.ax_.set_title(f"{type(model).__name__}, {len(model.loss_curve_)} passes")
        figure.savefig(path, dpi=120)


def _described(model: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """What there is to say."""
    weights = _weights(model)
    columns = vars(model).get("columns_")
    found: dict[str, Any] = {
        "file": arguments.model,
        "bytes": os.path.getsize(arguments.model),
        "model": type(model).__name__,
        "settings": differing(model),
        "features": int(model.n_features_in_),
        "weights": _size(model),
        "zero_weights": _zeros(model),
    }
    if hasattr(model, "classes_"):
        found["classes"] = model.classes_.tolist()
    if columns is not None:
        names = ("numeric", "categorical", "text", "target", "sample_weight", "missing")
        found["columns"] = {name: getattr(columns, name) for name in names}
    found["top"] = _top(model, weights, arguments.top)
    found["training"] = _course(model.history_)
    if "result_" in vars(model):
        found["learning_rate"] = str(model.result_)
    return found


def _weights(model: Any) -> NDArray[np.float64]:
    """Of each output and feature the weight; of a network, for each feature, their norm."""
    if hasattr(model, "coefs_"):
        return np.linalg.norm(np.asarray(model.coefs_[0], dtype=np.float64), axis=1)[np.newaxis]
    coef = model.coef_.toarray() if hasattr(model.coef_, "toarray") else model.coef_
    return np.atleast_2d(np.asarray(coef, dtype=np.float64))


def _arrays(model: Any) -> list[Any]:
    if hasattr(model, "coefs_"):
        return [*model.coefs_, *model.intercepts_]
    intercept = model.intercept_ if hasattr(model, "intercept_") else model.offset_
    return [_weights(model), np.atleast_1d(intercept)]


def _size(model: Any) -> int:
    return sum(array.size for array in _arrays(model))


def _zeros(model: Any) -> int:
    return sum(array.size - int(np.count_nonzero(array)) for array in _arrays(model))


def _name_of(model: Any, feature: int) -> str:
    """The name of a feature."""
    columns = vars(model).get("columns_")
    if columns is not None:
        if feature < len(columns.numeric):
            return str(columns.numeric[feature])
        hashed = vars(model).get("hashed_names_", {})
        return str(hashed.get(feature, f"hashed feature {feature}"))
    names = vars(model).get("feature_names_in_")
    return f"feature {feature}" if names is None else str(names[feature])


def _top(model: Any, weights: NDArray[np.float64], count: int) -> list[dict[str, Any]]:
    """The largest weights."""
    size = np.abs(weights).ravel()
    count = min(count, int(np.count_nonzero(size)))
    places = np.argpartition(-size, count - 1)[:count] if count else np.zeros(0, dtype=int)
    order = places[np.lexsort((places, -size[places]))]
    outputs: list[Any] = list(range(len(weights)))
    labels = vars(model).get("classes_")
    if labels is not None and len(labels) == len(weights):
        outputs = labels.tolist()
    found = []
    for place in order.tolist():
        output, feature = divmod(place, weights.shape[1])
        line = {"feature": _name_of(model, feature), "weight": float(weights[output, feature])}
        if len(weights) > 1:
            line["output"] = outputs[output]
        found.append(line)
    return found


def _course(history: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The first, the last and some passes between."""
    passes = len(history["epoch"])
    if not passes:
        return []
    places = np.unique(np.geomspace(1, passes, COURSE).round().astype(int)) - 1
    names = ("epoch", "loss", "validation_score", "learning_rate", "weight_norm", "seconds")
    return [{name: history[name][place] for name in names} for place in places.tolist()]


def _print(found: dict[str, Any]) -> None:
    """The same for people."""
    print(f"{found['file']}: {found['model']}, {found['bytes']:,} bytes")
    print(
        f"{found['features']:,} features, {found['weights']:,} weights and intercepts, "
        f"{found['zero_weights']:,} of them zero"
    )
    if "classes" in found:
        labels = found["classes"]
        shown = ", ".join(map(str, labels[:20])) + (", ..." if len(labels) > 20 else "")
        print(f"{len(labels)} classes: {shown}")
    columns = found.get("columns")
    if columns is not None:
        target = columns["target"]
        target = ", ".join(target) if isinstance(target, tuple) else target
        print(f"predicts {target} from:")
        for kind in ("numeric", "categorical", "text"):
            if columns[kind]:
                print(f"  {kind}: {_shortened(columns[kind])}")
    settings = [f"{name}={value!r}" for name, value in found["settings"].items()]
    print(f"settings that differ from the defaults: {', '.join(settings) or 'none'}")
    if "learning_rate" in found:
        print(found["learning_rate"])
    if found["top"]:
        norm = "norm of its weights" if found["model"].startswith("MLP") else "weight"
        several = "output" in found["top"][0]
        head = ("feature", *(["class or output"] if several else []), norm)
        lines = [
            (
                one["feature"],
                *([str(one["output"])] if several else []),
                number(one["weight"]),
            )
            for one in found["top"]
        ]
        print()
        print(table(head, lines))
    print()
    names = {"epoch": "pass", "loss": "loss", "validation_score": "validation"}
    names |= {"learning_rate": "rate", "weight_norm": "|w|", "seconds": "seconds"}
    course = found["training"]
    if all(np.isnan(line["validation_score"]) for line in course):
        del names["validation_score"]
    print(table(list(names.values()), [[number(line[n], 5) for n in names] for line in course], 0))


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
