"""Targets: structures and values of CSR."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from support import SIZES, Target, check_model, drawn, is_fitted, refusal, strict
from test_corrupt_csr import is_sound

from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDOneClassSVM, SGDRegressor

FEW: dict[str, Any] = {"max_iter": 2, "tol": None, "random_state": 0}
MODELS: dict[str, Any] = {
    "plain": SGDRegressor(**FEW),
    "momentum": SGDClassifier(momentum=0.9, average=True, batch_size=2, **FEW),
    "l1": SGDClassifier("log_loss", penalty="l1", **FEW),
    "adagrad": SGDRegressor(optimizer="adagrad", penalty="elasticnet", n_jobs=2, **FEW),
    "outputs": SGDRegressor(penalty="l1", **FEW),
    "averaged outputs": SGDRegressor(penalty="l1", average=True, **FEW),
    "batches of outputs": SGDRegressor(
        penalty="elasticnet", momentum=0.9, average=2, batch_size=3, n_jobs=2, **FEW
    ),
    "many outputs": SGDRegressor("huber", penalty="elasticnet", momentum=0.9, **FEW),
    "adagrad outputs": SGDRegressor(optimizer="adagrad", penalty="l1", batch_size=2, **FEW),
    "softmax": SGDClassifier("log_loss", multi_class="multinomial", **FEW),
    "quantile": SGDRegressor("quantile", quantile=0.3, batch_size=3, average=3, **FEW),
    "clipped": SGDRegressor("huber", clip_norm=0.5, learning_rate="constant", eta0=0.1, **FEW),
    "passive": SGDClassifier(learning_rate="pa1", loss="hinge", eta0=1.0, **FEW),
    "one class": SGDOneClassSVM(**FEW),
    "network": MLPClassifier(hidden_layer_sizes=(3,), **FEW),
    "plain network": MLPRegressor(hidden_layer_sizes=(2,), solver="sgd", batch_size=2, **FEW),
}
OUTPUTS = {
    "outputs": 3,
    "averaged outputs": 7,
    "batches of outputs": 12,
    "many outputs": 19,
    "adagrad outputs": 5,
}
METHODS = ("fit", "partial_fit", "predict", "decision_function", "score")
BEYOND = (-(2**63), -(2**31), -5, -1, 0, 1, 2, 3, 4, 5, 6, 7, 100, 2**31 - 1, 2**31, 2**63 - 1)
VALUES = st.one_of(
    st.floats(-4.0, 4.0, width=32),
    st.sampled_from([sign * size for size in SIZES for sign in (1.0, -1.0)]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)


@st.composite
def matrices(draw: Any) -> Any:
    """CSR of a few rows and columns, sound at first; then numbers and lengths are changed."""
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    index = draw(st.sampled_from((np.int32, np.int64)))
    dtype = draw(st.sampled_from((np.float32, np.float64)))
    rows = [draw(st.lists(st.integers(0, d - 1), max_size=5)) for _ in range(n)]
    indices = np.array([j for row in rows for j in row], dtype=index)
    indptr = np.cumsum([0, *map(len, rows)]).astype(index)
    values = draw(st.lists(VALUES, min_size=1, max_size=12))
    with np.errstate(over="ignore"):
        data = np.resize(np.array(values), len(indices)).astype(dtype)
    container = draw(st.sampled_from((sp.csr_matrix, sp.csr_array)))
    X = container((n, d), dtype=dtype)
    X.data, X.indices, X.indptr = data, indices, indptr
    for _ in range(draw(st.integers(0, 3))):
        change(draw, X)
    return X


def change(draw: Any, X: Any) -> None:
    name = draw(st.sampled_from(("indices", "indices", "indptr", "indptr", "data", "shape")))
    how = draw(st.sampled_from(("put", "put", "put", "cut", "longer", "dtype", "strided")))
    if name == "shape":
        X._shape = draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
        return
    array = getattr(X, name).copy()
    if how == "cut":
        array = array[: draw(st.integers(0, len(array)))].copy()
    elif how == "longer":
        array = np.append(array, array[-1:])
    elif how == "dtype" and name != "data":
        array = array.astype(draw(st.sampled_from((np.int32, np.int64, np.uint32, np.int16))))
    elif how == "strided":
        array = np.repeat(array, 2)[::2]
    elif len(array) and name != "data":
        limits = np.iinfo(array.dtype)
        value = draw(st.sampled_from(BEYOND))
        array[draw(st.integers(0, len(array) - 1))] = min(max(value, limits.min), limits.max)
    setattr(X, name, array)


def targets(name: str, n: int) -> Any:
    """Three classes, or numbers for each output."""
    if name in OUTPUTS:
        return np.arange(n * OUTPUTS[name]).reshape(n, OUTPUTS[name]) % 3 - 1.0
    return np.arange(n) % 3


def portrait(X: Any) -> tuple[Any, ...]:
    return tuple((a.dtype, a.tobytes()) for a in (X.data, X.indices, X.indptr))


def trained(name: str) -> Any:
    rng = np.random.default_rng(0)
    model = copy.deepcopy(MODELS[name])
    X = sp.csr_array(rng.normal(size=(6, 3)))
    return model.fit(X) if name == "one class" else model.fit(X, targets(name, 6))


TRAINED: dict[str, Any] = {each: trained(each) for each in MODELS}


@drawn(st.tuples(st.sampled_from(sorted(MODELS)), st.sampled_from(METHODS), matrices()))
def _csr(case: tuple[str, str, Any]) -> None:
    name, method, X = case
    fits = method in ("fit", "partial_fit")
    model = copy.deepcopy((MODELS if fits else TRAINED)[name])
    if not hasattr(model, method):
        return
    sound = X.indices.dtype in (np.int32, np.int64) and X.indices.dtype == X.indptr.dtype
    sound = sound and len(X.indptr) > 0 and is_sound(X) and X.shape[0] > 0 and X.shape[1] > 0
    finite = bool(np.isfinite(X.data).all())
    y = targets(name, X.shape[0])
    before = portrait(X)
    given = (X, y) if method in ("fit", "partial_fit", "score") and name != "one class" else (X,)
    more = {}
    if method == "partial_fit" and hasattr(model, "classes"):
        more = {"classes": [0, 1, 2]}
    elif method == "partial_fit" and "Classifier" in type(model).__name__:
        more = {"classes": np.arange(3)}
    with strict():
        try:
            found = getattr(model, method)(*given, **more)
        except Exception as error:
            error.add_note(f"{X.data=} {X.indices=} {X.indptr=} {X.shape=}")
            refusal(error)
            assert not fits or not is_fitted(model)
            large = np.abs(X.data[np.isfinite(X.data)]).max(initial=0.0) > 100.0
            usual = X.shape[0] > 3 and X.shape[1] == 3
            assert not (sound and finite and usual and not large), "a sound matrix is refused"
        else:
            assert sound and finite, "an unsound matrix is taken"
            if fits:
                check_model(model, X)
            else:
                assert np.ndim(found) == 0 or len(found) == X.shape[0]
    assert portrait(X) == before


csr: Target = _csr
