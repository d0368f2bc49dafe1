"""Target: parameters of all estimators, of the right types and of any other."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from drawn import EXTREMES, FRACTIONS, WHOLE, halved
from hypothesis import strategies as st
from sklearn.utils._param_validation import Interval, StrOptions
from support import Target, check_model, drawn, is_fitted, refusal, strict

from fastsgd import (
    GridSearchCV,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    schedules,
)
from fastsgd.losses import LOSSES

KINDS = (SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier, MLPRegressor)
MOST_EPOCHS = 5

JUNK = (
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, -1.5),
    *(math.nan, math.inf, -math.inf, 5e-324, 1e300, "", "auto", "l2", "nonsense", b"auto"),
    *((), [], {}, {0: 1.0}, {0: -1.0}, {0: math.nan, 1: 1.0}, {0: "a"}, {"a": 1.0}, [1], (3,), 1j),
    *(np.float32(0.5), np.float64(0.5), np.int64(2), np.int8(-1), np.bool_(True), np.str_("l2")),
    *(np.array(0.5), np.array([0.5]), np.array([0.1, 0.2]), np.array([]), np.array(["auto"])),
    *(object, object(), len, halved, int, schedules.Schedule, schedules.one_cycle(3.0)),
    *(LOSSES["hinge"], np.random.default_rng(0), np.random.RandomState(0), range(3), {1, 2}),
)
"""What no parameter, or only some, can be."""

BOUNDED = {
    "max_iter": (1, 2, MOST_EPOCHS, 0, -1, "2", None, 1.5, True, np.int64(2), np.array([2])),
    "n_jobs": (None, 1, 2, 3, -1, 0, "2", 1.5, 2**31),
    "verbose": (0, False, -1, None, "yes", 1.5),
    "hidden_layer_sizes": ((), (3,), 2, [2, 2], (0,), -1, 1.5, "3", None, ((2, 2),), np.array([2])),
    "scoring": (None, "accuracy", "r2", "nonsense", len, 3),
}
"""Parameters whose sizes are of time, of threads or of memory; and what prints."""


def known(name: str, constraints: list[Any]) -> list[Any]:
    """Values that a parameter's constraints allow, and some just beyond them."""
    found: list[Any] = []
    for one in constraints:
        if isinstance(one, Interval):
            found += WHOLE if one.type is Integral else (*FRACTIONS, *EXTREMES)
        elif isinstance(one, StrOptions):
            found += sorted(one.options) * 2
        elif one == "boolean":
            found += [False, True]
    return found


def values(kind: Any, name: str) -> st.SearchStrategy[Any]:
    if name in BOUNDED:
        return st.sampled_from(BOUNDED[name])
    usual = known(name, kind._parameter_constraints[name])
    junk = st.sampled_from(JUNK)
    return st.one_of(st.sampled_from(usual), junk) if usual else junk


NAMES = {kind: sorted(kind._get_param_names()) for kind in KINDS}
VALUES = {kind: {name: values(kind, name) for name in NAMES[kind]} for kind in KINDS}

rng = np.random.default_rng(0)
NORMAL = rng.normal(size=(14, 3))
TABLES = {
    "dense": NORMAL,
    "float32": NORMAL.astype(np.float32),
    "csr": sp.csr_array(NORMAL * (NORMAL > 0)),
    "counts": np.abs(10 * NORMAL).astype(np.uint8),
    "half": NORMAL.astype(np.float16),
    "constant": np.ones((14, 3)),
    "zeros": np.zeros((14, 2)),
    "large": 1e160 * NORMAL,
    "small": 1e-160 * NORMAL,
    "duplicates": np.repeat(NORMAL[:, :1], 3, axis=1),
    "one row": NORMAL[:1],
    "one column": NORMAL[:, :1],
    "no column": NORMAL[:, :0],
    "no row": NORMAL[:0],
    "one value": NORMAL[0],
    "objects": np.array([[1, "a"]] * 14, dtype=object),
    "nan": np.where(NORMAL[3, 1] == NORMAL, np.nan, NORMAL),
    "list": NORMAL.tolist(),
    "nothing": None,
}
ROWS = np.arange(14)
TARGETS = {
    "binary": ROWS % 2,
    "classes": ROWS % 3,
    "names": np.array(["a", "b"])[ROWS % 2],
    "real": NORMAL[:, 0] - 2 * NORMAL[:, 1],
    "large": 1e300 * NORMAL[:, 0],
    "counts": np.abs(np.round(3 * NORMAL[:, 0])),
    "two": NORMAL[:, :2],
    "labels": (NORMAL[:, :2] > 0).astype(int),
    "one class": 0 * ROWS,
    "nan": np.where(ROWS == 3, np.nan, 1.0),
    "short": ROWS[:5] % 2,
    "objects": np.array([None, "a"] * 7, dtype=object),
    "nothing": None,
}
WEIGHTS = {
    "none": None,
    "zero": np.zeros(14),
    "some": np.where(ROWS < 7, 0.0, 1.0),
    "1e30": np.where(ROWS < 7, 1e30, 1.0),
    "large": np.full(14, 1e300),
    "negative": ROWS - 7.0,
    "nan": np.full(14, np.nan),
    "short": np.ones(3),
    "words": np.array(["a"] * 14),
    "number": 2.0,
}


@st.composite
def cases(draw: Any) -> Any:
    """An estimator's class, its parameters, a table, targets and weights; mostly usual ones."""
    kind = draw(st.sampled_from(KINDS))
    names = draw(st.lists(st.sampled_from(NAMES[kind]), max_size=6, unique=True))
    parameters = {name: draw(VALUES[kind][name]) for name in names}
    parameters.setdefault("max_iter", 2)
    parameters.setdefault("tol", draw(st.sampled_from((None, 1e-3))))
    parameters.setdefault("random_state", 0)
    usual = draw(st.integers(0, 3)) > 0
    table = draw(st.sampled_from(sorted(TABLES)[:5] if usual else sorted(TABLES)))
    of_y = ("binary", "classes") if "Classifier" in kind.__name__ else ("real", "counts")
    targets = draw(st.sampled_from(of_y if usual else sorted(TARGETS)))
    weights = draw(st.sampled_from(("none",) if usual else sorted(WEIGHTS)))
    how = draw(st.sampled_from(("fit", "fit", "fit", "partial_fit", "search")))
    return kind, parameters, table, targets, weights, how


@drawn(cases())
def _parameters(case: Any) -> None:
    kind, parameters, table, targets, weights, how = case
    X, y, weight = TABLES[table], TARGETS[targets], WEIGHTS[weights]
    given = (X,) if kind is SGDOneClassSVM else (X, y)
    searches = how == "search" and len(given) == 2
    with strict():
        model = kind(**parameters)
        more: dict[str, Any] = {} if weight is None else {"sample_weight": weight}
        if searches:
            model = GridSearchCV(model, {"alpha": [1e-4, 0.1]}, cv=2, error_score="raise")
        method = model.partial_fit if how == "partial_fit" else model.fit
        if how == "partial_fit" and y is not None and "Classifier" in kind.__name__:
            more["classes"] = np.unique(y[y == y]) if y.dtype != object else ["a"]
        try:
            method(*given, **more)
        except MemoryError:
            raise AssertionError("small data need no memory") from None
        except Exception as error:
            refusal(error)
            assert not is_fitted(model)
            return
        assert table not in ("no column", "no row", "one value", "objects", "nan", "nothing")
        check_model(model.best_estimator_ if searches else model, X if table != "list" else NORMAL)


parameters: Target = _parameters
