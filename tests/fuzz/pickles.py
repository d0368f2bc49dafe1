"""Target: pickles of models and of their states, with some of their bytes changed."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from support import Target, drawn

from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDOneClassSVM, SGDRegressor

FEW: dict[str, Any] = {"max_iter": 2, "tol": None, "random_state": 0}
SAFE = ("fastsgd", "numpy", "sklearn", "copyreg", "collections", "scipy")
"""Packages of which a pickle may name something: others could do anything."""

NUMPYS = ("_reconstruct", "ndarray", "scalar", "float64", "int64", "_frombuffer")

rng = np.random.default_rng(0)
X = rng.normal(size=(12, 4))
CSR = sp.csr_array(X * (X > 0))
Y, CLASSES = X[:, 0], np.arange(12) % 3


class Pickler(pickle.Pickler):
    """Names dtypes instead of pickling them: NumPy crashes at some that are mutated."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.str if isinstance(obj, np.dtype) else None


class Unpickler(pickle.Unpickler):
    """Of names that do no harm."""

    def persistent_load(self, pid: Any) -> Any:
        return np.dtype(pid)

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] not in SAFE or "." in name:
            raise pickle.UnpicklingError(f"{module}.{name}")
        found = super().find_class(module, name)
        if module.startswith("numpy") and name not in NUMPYS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return found


def dumped(obj: Any) -> bytes:
    file = io.BytesIO()
    Pickler(file).dump(obj)
    return file.getvalue()


MODELS = (
    (SGDRegressor(**FEW), X, Y),
    (SGDClassifier("log_loss", batch_size=5, average=True, **FEW), X, CLASSES),
    (SGDClassifier(momentum=0.9, average=True, **FEW), CSR, CLASSES),
    (SGDRegressor(penalty="l1", optimizer="adagrad", **FEW), CSR, Y),
    (SGDOneClassSVM(**FEW), X, None),
    (MLPClassifier(hidden_layer_sizes=(3,), **FEW), X, CLASSES),
    (MLPRegressor(hidden_layer_sizes=(2,), solver="sgd", **FEW), CSR, Y),
)
FITTED = [(model.fit(table, y), table, y) for model, table, y in MODELS]
WHOLE = [dumped(model) for model, _, _ in FITTED]
STATES = [dumped(model._continuation.state) for model, _, _ in FITTED]
KNOWN = [*WHOLE, *STATES]


@st.composite
def changed(draw: Any) -> tuple[int, bool, bytes]:
    """The number of a model, whether it is all of it or its state, and a changed pickle."""
    number, whole = draw(st.integers(0, len(MODELS) - 1)), draw(st.booleans())
    data = bytearray((WHOLE if whole else STATES)[number])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(("byte", "byte", "bit", "cut", "insert", "splice")))
        if how == "byte":
            data[at] = draw(st.integers(0, 255))
        elif how == "bit":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 9))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
        else:
            other = KNOWN[draw(st.integers(0, len(KNOWN) - 1))]
            data[at:] = other[at:]
        if not data:
            break
    return number, whole, bytes(data)


@drawn(changed())
def _pickles(case: tuple[int, bool, bytes]) -> None:
    """A model of finite numbers, or an exception of any kind; never a crash."""
    number, whole, data = case
    fitted, table, y = FITTED[number]
    given = (table,) if y is None else (table, y)
    try:
        loaded = Unpickler(io.BytesIO(data)).load()
        if whole:
            model = loaded
            model.predict(table)
        else:
            model = copy.deepcopy(fitted)
            object.__setattr__(model._continuation, "state", loaded)
        for _ in range(2):
            model.partial_fit(*given)
        model.predict(table)
        numbers = model.coefs_ if hasattr(model, "coefs_") else [model.coef_]
        finite = all(np.isfinite(each).all() for each in numbers)
    except Exception:
        return
    assert finite


pickles: Target = _pickles
