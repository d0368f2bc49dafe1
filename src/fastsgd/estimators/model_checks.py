"""Whether the parts of a model fit together: shapes of weights, labels, states.

What a file says is believed only where it cannot do harm: a model that passes predicts and trains,
or says in a ValueError why not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..network import NETWORK_LOSSES
from .continuation import Continuation
from .network_continuation import NetworkContinuation
from .standardise import Scaling

__all__ = ["check_columns", "check_linear", "check_network", "check_network_run", "check_run"]

KINDS = ("string", "number", "boolean", "time")
"""What a column of categories holds."""

Values = dict[str, Any]


def _outputs(attributes: Values) -> int | None:
    """Lanes, or outputs, that the labels ask for; None without labels."""
    if "classes_" not in attributes:
        return None
    classes, multilabel = attributes["classes_"], attributes["_multilabel"]
    if len(classes) < (1 if multilabel else 2):
        raise ValueError(f"classes_ must have two labels or more, got {len(classes)}")
    if multilabel and not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError("classes_ of a multilabel problem must be 0, 1, ...")
    return 1 if len(classes) == 2 and not multilabel else len(classes)


def _is_real(array: Any, *shapes: tuple[int, ...]) -> bool:
    """Whether it is an array of real numbers of one of these shapes."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "fiub" and array.shape in shapes


def check_linear(estimator: Any, attributes: Values) -> None:
    """Refuse weights, intercepts and labels of shapes that do not go together.

    Raises
    ------
    ValueError
        Naming the attribute.
    """
    d, coef, k = attributes["n_features_in_"], attributes["coef_"], _outputs(attributes)
    name = "offset_" if "offset_" in attributes else "intercept_"
    of_classes, intercept = k is not None, attributes[name]
    if k is None:
        k = np.size(intercept) if name == "intercept_" else 1
    if not (isinstance(intercept, (float, int)) or _is_real(intercept, (k,), (1,), ())):
        raise ValueError(f"{name} must be {k} numbers, got {intercept!r:.80}")
    shapes = [(k, d)] if of_classes or k > 1 else [(d,), (1, d)]
    right = _is_real(coef, *shapes)
    right |= sp.issparse(coef) and coef.dtype.kind == "f" and coef.shape in shapes
    if not right:
        shape = getattr(coef, "shape", type(coef))
        raise ValueError(f"coef_ must be numbers of shape {shapes[0]}, got {shape}")


def check_columns(attributes: Values) -> None:
    """Refuse columns of a source of which other features are made than the model has.

    Raises
    ------
    ValueError
        Naming the attribute.
    """
    d, columns = attributes["n_features_in_"], attributes.get("columns_")
    names = attributes.get("hashed_names_", {})
    if columns is None:
        if names:
            raise ValueError("hashed_names_ must not be there without columns_")
        return
    if columns.n_features != d:
        raise ValueError(f"columns_ must make {d} features, and make {columns.n_features}")
    features = (*columns.numeric, *columns.categorical, *columns.text)
    if len(set(features)) != len(features):
        raise ValueError("columns_ must not have a feature twice")
    if not all(kind in KINDS for kind in columns.kinds):
        raise ValueError(f"columns_ must have kinds of {KINDS}, got {columns.kinds}")
    if columns.means is not None and not np.isfinite(columns.means).all():
        raise ValueError("columns_ must have means that are finite")
    if columns.missing == "mean" and columns.means is None:
        raise ValueError("columns_ must have the means that missing numbers become")
    first = len(columns.numeric)
    if names and not (columns.hashes and first <= min(names) and max(names) < d):
        raise ValueError(f"hashed_names_ must be of columns from {first} to {d - 1}")


def check_network(estimator: Any, attributes: Values) -> None:
    """Refuse layers that do not follow each other, from the features to the outputs.

    Raises
    ------
    ValueError
        Naming the attribute.
    """
    coefs, intercepts = attributes["coefs_"], attributes["intercepts_"]
    if not coefs or not all(isinstance(w, np.ndarray) and w.ndim == 2 for w in coefs):
        raise ValueError("coefs_ must be one matrix or more")
    sizes = [attributes["n_features_in_"], *(w.shape[1] for w in coefs)]
    wanted = _outputs(attributes)
    outputs = sizes[-1] if wanted is None else wanted
    follow = len(intercepts) == len(coefs) and all(
        _is_real(w, (sizes[i], sizes[i + 1])) and _is_real(b, (sizes[i + 1],))
        for i, (w, b) in enumerate(zip(coefs, intercepts, strict=True))
    )
    if not follow or min(sizes) < 1:
        raise ValueError("coefs_ and intercepts_ must be of layers that follow each other")
    if sizes[-1] != outputs or attributes["n_outputs_"] != outputs:
        raise ValueError(f"n_outputs_ must be {outputs}, got {attributes['n_outputs_']}")
    if attributes["n_layers_"] != len(sizes):
        raise ValueError(f"n_layers_ must be {len(sizes)}, got {attributes['n_layers_']}")
    known = {"logistic"} if wanted == 1 or attributes.get("_multilabel") else {"softmax"}
    if wanted is None:
        known = {NETWORK_LOSSES[estimator.loss]}
    if attributes["out_activation_"] not in known and not _is_other_loss(wanted, attributes):
        raise ValueError(f"out_activation_ must be {known}, got {attributes['out_activation_']!r}")


def _is_other_loss(wanted: int | None, attributes: Values) -> bool:
    """Whether it is a regression of a loss that is no longer the parameter."""
    return wanted is None and attributes["out_activation_"] in ("identity", "exp")


def _check_scaling(scaling: Scaling, d: int) -> None:
    shapes = {None if one is None else one.shape for one in (scaling.offset, scaling.scale)}
    if shapes not in ({None}, {(d,)}):
        raise ValueError(f"its features must have {d} offsets and scales, got {shapes}")
    for one in (scaling.offset, scaling.scale):
        if one is not None and not (np.isfinite(one).all() and one.dtype.itemsize >= 4):
            raise ValueError("its offsets and scales must be finite")
    if scaling.scale is not None and not (scaling.scale > 0).all():
        raise ValueError("its scales must be > 0")


def _fields(state: Any) -> Values:
    found: Values = state.__getstate__()
    return found


def check_run(estimator: Any, found: Any) -> None:
    """Refuse a training state of a linear model of other sizes than the model has.

    Raises
    ------
    ValueError
        If it is not that of the model.
    """
    if not isinstance(found, Continuation):
        raise ValueError("its training state is not that of a linear model")
    d, (k, _) = estimator.n_features_in_, estimator._model(vars(estimator))[0].shape
    sizes = _fields(found.state)["sizes"]
    if sizes[:2] != (d, k):
        raise ValueError(f"its training state is of {sizes[1]} x {sizes[0]} weights, not {k} x {d}")
    rates = found.rates
    parts: Any = (rates.eta0, rates.mu, rates.initial_fraction, rates.intercept_rate)
    arrays = [one for one in parts if isinstance(one, np.ndarray)]
    if rates.search is not None:
        search = rates.search
        arrays += [search.at_start, search.chosen]
        if search.loss.shape != (k, len(search.factors)):
            raise ValueError("its learning rates were found by losses of another model")
    if not all(array.shape == (k,) for array in arrays):
        raise ValueError(f"its learning rates must be of {k} lanes")
    if not ((rates.eta0 > 0).all() and np.isfinite(rates.eta0).all()):
        raise ValueError("its learning rates must be > 0 and finite")
    _check_scaling(found.scaling, d)


def check_network_run(estimator: Any, found: Any) -> None:
    """Refuse a training state of another network than the model is.

    Raises
    ------
    ValueError
        If it is not that of the model.
    """
    if not isinstance(found, NetworkContinuation):
        raise ValueError("its training state is not that of a network")
    network, state = found.network, found.state
    sizes = (estimator.n_features_in_, *(w.shape[1] for w in estimator.coefs_))
    if network.sizes != sizes:
        raise ValueError(f"its training state is of a network {network.sizes}, not {sizes}")
    if state.length != network.length(network.unit(state.dtype)):
        raise ValueError(f"its training state is of {state.length} parameters")
    kind = _fields(state)
    descent = found.descent
    needed = descent.optimizer.name, len(descent.optimizer.slots), descent.average > 0
    if (kind["optimizer"], kind["slots"], kind["average"]) != needed:
        raise ValueError(f"its training state is not of {descent.optimizer}")
    _check_scaling(found.scaling, sizes[0])
