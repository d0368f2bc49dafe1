"""Files that are damaged in any way: refused with a ValueError, or a model that can be used."""

import contextlib
import copy
import json
import os
import tempfile
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from model_bytes import contents, joined, model_bytes, parts_of
from sklearn.base import clone
from test_continuing import LAYOUTS, X, Y

import fastsgd
from fastsgd import (
    Checkpoint,
    DivergenceError,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    load,
)

EXHAUSTIVE = bool(os.environ.get("FASTSGD_EXHAUSTIVE"))
KINDS = {
    "linear": (SGDClassifier, {}),
    "momentum": (SGDRegressor, {"momentum": 0.5, "average": True, "standardize": True}),
    "network": (MLPClassifier, {"hidden_layer_sizes": (3,)}),
    "plain network": (MLPRegressor, {"hidden_layer_sizes": (), "solver": "sgd"}),
    "searched": (SGDRegressor, {"loss": "huber", "certificate": True, "optimizer": "adagrad"}),
}
FILES = {name: model_bytes(kind, **options) for name, (kind, options) in KINDS.items()}
SPARSE = SGDClassifier(penalty="l1", alpha=0.03, random_state=0, class_weight="balanced")
FILES["sparse"] = contents(
    SPARSE.fit(LAYOUTS["csr"], np.array(["no", "perhaps é", "yes"])[Y[SGDClassifier]]).sparsify()
)
STOPPED = {
    "checkpoint": SGDRegressor(momentum=0.5, eta0=0.01, max_iter=6, random_state=0),
    "annealed": SGDClassifier(max_iter=6, random_state=0),
    "validated": MLPClassifier((3,), early_stopping=True, max_iter=6, random_state=0),
}
"""Fits under way."""


def checkpoint_of(model):
    """The file of a fit after a few epochs, as bytes."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = clone(model).set_params(max_iter=4)
        model.fit(X, targets_of(model), checkpoint=Checkpoint(folder, every=0, keep=1))
        (name,) = os.listdir(folder)
        with open(f"{folder}/{name}", "rb") as file:
            return file.read()


def targets_of(model):
    return Y[SGDRegressor] if isinstance(model, SGDRegressor) else Y[SGDClassifier]


FILES |= {name: checkpoint_of(model) for name, model in STOPPED.items()}
PIECES = (None, True, -1, 0, 1, 3, 2**40, 2**70, 0.0, -1.5, 1e308, "", "auto", "<f8", [], {}, [1])


def nodes_of(value, path=()):
    """Ways to every value in JSON."""
    found = [path] if path else []
    if not isinstance(value, (dict, list)):
        return found
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        found += nodes_of(one, (*path, key))
    return found


def node(value, path):
    for key in path:
        value = value[key]
    return value


@st.composite
def damaged(draw):
    """A file of a model, damaged in one of many ways."""
    data = FILES[draw(st.sampled_from(sorted(FILES)))]
    how = draw(st.sampled_from(("bytes", "cut", "splice", "value", "value", "node", "tensor")))
    if how == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if how == "bytes":
        damaged = bytearray(data)
        header = int.from_bytes(data[:8], "little") + 8
        for _ in range(draw(st.integers(1, 4))):
            end = draw(st.sampled_from((8, header, header, len(data))))
            damaged[draw(st.integers(0, end - 1))] = draw(st.integers(0, 255))
        return bytes(damaged)
    other = FILES[draw(st.sampled_from(sorted(FILES)))]
    if how == "splice":
        if draw(st.booleans()):
            at = draw(st.integers(0, min(len(data), len(other))))
            return data[:at] + other[at:]
        return joined(parts_of(data)[0], parts_of(other)[1])
    description, tensors = parts_of(data)
    if how == "tensor":
        name = draw(st.sampled_from(sorted(tensors)))
        shape = draw(st.sampled_from((tensors[name].shape, (), (0,), (3,), (2, 2), (1, 7), (3, 7))))
        kind = draw(st.sampled_from((tensors[name].dtype, "f8", "f4", "i8", "u1", "u4", "?")))
        filled = draw(st.sampled_from((0, 1, 255, -1, np.nan, np.inf, 1e300)))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensors[name] = np.full(shape, filled).astype(kind)
        return joined(description, tensors)
    path = draw(st.sampled_from(nodes_of(description)))
    if how == "node":
        source = parts_of(other)[0] if draw(st.booleans()) else description
        piece = node(source, draw(st.sampled_from(nodes_of(source))))
    else:
        piece = draw(st.sampled_from(PIECES))
    holder, key = node(description, path[:-1]), path[-1]
    if isinstance(holder, dict) and draw(st.integers(0, 4)) == 0:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(piece)
    return joined(description, tensors)


def use(model):
    """What a user does with a model; what is wrong with its numbers may be said."""
    assert model.n_features_in_ < 100
    rows = np.ones((4, model.n_features_in_))
    y = np.zeros(4)
    try:
        predicted = model.predict(rows)
        assert len(predicted) == 4
        if hasattr(model, "classes_"):
            y = np.resize(model.classes_, 4)
            if model._multilabel:
                y = np.zeros((4, len(model.classes_)), dtype=int)
        elif predicted.ndim == 2:
            y = np.zeros(predicted.shape)
        model.set_params(max_iter=1, verbose=0, n_jobs=1, early_stopping=False, warmup_steps=0)
        contents(model)
        model.fit(rows, y, resume=True)
        model.partial_fit(rows, y)
    except (ValueError, DivergenceError):
        pass


@pytest.mark.filterwarnings("ignore")
@given(damaged())
@hypothesis_settings(
    max_examples=20_000 if EXHAUSTIVE else 300,
    deadline=None,
    derandomize=not EXHAUSTIVE,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_a_damaged_file_is_refused_or_is_a_model(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    for fit in STOPPED.values():
        with contextlib.suppress(ValueError, DivergenceError):  # damaged, or of another class
            clone(fit).fit(X, targets_of(fit), resume=path)
    try:
        model = load(path)
    except ValueError as error:
        assert str(path) in str(error)
        return
    with np.errstate(all="ignore"):
        use(model)


def test_damage_is_of_whole_files():
    """What is damaged is a model before."""
    for data in FILES.values():
        description, tensors = parts_of(data)
        assert parts_of(joined(description, tensors))[0] == description
        assert len(nodes_of(description)) > 100
    assert fastsgd.__version__ in json.dumps(parts_of(FILES["linear"])[0]["versions"])
