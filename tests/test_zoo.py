"""The array zoo: X, y and sample_weight of every layout and dtype, good and bad.

A sound array of any make gives the model of the plain one, C-ordered float64 (or float32); a bad
one is a ValueError or a TypeError that says what is wrong, and leaves the estimator as it was. No
call changes a byte of its arguments.
"""

from __future__ import annotations

import array
import contextlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning

from fastsgd import SGDClassifier, SGDRegressor
from fastsgd.problem import STORED

ESTIMATORS = (SGDClassifier, SGDRegressor)
N, D = 24, 5
SCORES = {np.float32: 1e-5, np.float64: 1e-12}
"""Norm-wise relative difference allowed between scores: BLAS adds in another order."""
SPARSE = {np.float32: 1e-5, np.float64: 1e-10}
"""The same between weights learned from CSR and from dense rows."""


# ---------------------------------------------------------------- the numbers


@cache
def numbers(part: str, kind: str) -> np.ndarray:
    """Numbers of X, y or sample_weight, plain float64; exact in the dtypes they are meant for."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, (N, D)) * (rng.random((N, D)) < 0.7)
    counts[7], counts[:, 2] = 0, 0
    eighths = counts * rng.choice([-0.125, 0.125], (N, D))
    class_ = np.arange(N) % 3
    made = {
        "X": {
            "eighths": eighths,
            "counts": counts,
            "bits": counts > 2,
            "equal rows": np.tile(eighths[0], (N, 1)),
            "equal columns": np.tile(eighths[:, :1], (1, D)),
            "windows": np.lib.stride_tricks.sliding_window_view(eighths.ravel()[: N + D - 1], D),
            "one row": eighths[:1],
            "one column": eighths[:, :1],
            "zeros": 0.0 * counts,
            "denormal": eighths * 1e-310,
            "some denormal": np.where(counts == 5, 5e-324, eighths),
            "large": eighths * 1e100,
            "large integers": 2.0**63 + 2048.0 * counts,
        },
        "y": {
            "counts": class_,
            "bits": class_ > 0,
            "signs": np.where(class_ > 0, 1, -1),
            "eighths": eighths.sum(axis=1),
            "rising": np.arange(N),
            "equal": np.full(N, 0.5),
            "large": class_ * 2.0**200,
        },
        "sample_weight": {
            "eighths": 0.125 + np.abs(eighths[:, 0]),
            "counts": np.arange(N) % 4,
            "bits": class_ > 0,
            "rising": np.arange(N),
            "equal": np.full(N, 2.0),
            "ones": np.ones(N),
            "some denormal": np.where(class_ == 1, 5e-324, 1.0),
        },
    }[part][kind]
    return np.array(made, dtype=np.float64, order="C")


def test_numbers_vary():
    for part, kind in (("X", "eighths"), ("y", "counts"), ("sample_weight", "eighths")):
        assert len(np.unique(numbers(part, kind))) > 2
    X = numbers("X", "eighths")
    assert (X < 0).sum() > 9
    assert (X == 0).sum() > 9
    assert np.array_equal(X, X.astype(np.float16))
    assert 0 < np.abs(numbers("X", "denormal")).max() < np.finfo(np.float64).tiny


# ---------------------------------------------------------------- the entries


@dataclass(frozen=True)
class Good:
    """An array of a make that is no reason for another model."""

    part: str
    make: Callable[[np.ndarray, Path], Any]  # from the plain array, and a folder for files
    kind: str  # of numbers
    dtype: type = np.float64  # of the plain X, and of coef_
    tolerance: float = 0.0  # of coef_, norm-wise; 0: the same bits
    estimators: tuple = ESTIMATORS
    relabelled: bool = False  # y holds names for 0, 1, 2, in their order
    warning: type[Warning] | None = None


@dataclass(frozen=True)
class Bad:
    """An array that is refused."""

    part: str
    make: Callable[[np.ndarray, Path], Any]
    match: str
    kind: str = ""  # of numbers; else the default of the part
    estimators: tuple = ESTIMATORS
    predicts: bool = False  # a fitted model may take it for an X
    overflows: bool = False  # in a cast of scikit-learn's, of which NumPy warns too


DEFAULT = {"X": "eighths", "y": "counts", "sample_weight": "eighths"}
GOOD: dict[str, Good] = {}
BAD: dict[str, Bad] = {}


def good(part, name, make, kind="", **more):
    assert f"{part} {name}" not in GOOD
    GOOD[f"{part} {name}"] = Good(part, make, kind or DEFAULT[part], **more)


def bad(part, name, make, match, **more):
    assert f"{part} {name}" not in BAD
    BAD[f"{part} {name}"] = Bad(part, make, match, **more)


def polars():
    return pytest.importorskip("polars")


def pandas():
    return pytest.importorskip("pandas")


# Layouts of any array.


def discontiguous(a):
    assert not a.flags.c_contiguous
    return a


def misaligned(a, _):
    raw = np.empty(a.nbytes + 1, dtype=np.uint8)
    copy = raw[1:].view(a.dtype).reshape(a.shape)
    copy[...] = a
    assert not copy.flags.aligned
    return copy


def read_only(a, _=None):
    copy = a.copy(order="K")
    copy.flags.writeable = False
    return copy


def in_file(mode, order="C"):
    def make(a, folder):
        path = folder / "numbers"
        a.ravel(order).tofile(path)
        return np.memmap(path, dtype=a.dtype, mode=mode, shape=a.shape, order=order)

    return make


def in_field(a, _):
    """A field of a structured array."""
    table = np.zeros(a.shape, dtype=[("before", np.int8), ("it", np.float64), ("after", np.int8)])
    table["it"] = a
    return discontiguous(table["it"])


class Subclass(np.ndarray):
    """Of an array, as libraries have them."""


class Duck:
    """No array, but a maker of one."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numbers, dtype=dtype)


LAYOUTS = {
    "list": lambda a, _: a.tolist(),
    "tuple": lambda a, _: tuple(map(tuple, a.tolist())) if a.ndim == 2 else tuple(a.tolist()),
    "every other row": lambda a, _: discontiguous(np.repeat(a, 2, axis=0)[::2]),
    "rows backwards": lambda a, _: discontiguous(a[::-1].copy()[::-1]),
    "behind an offset": lambda a, _: np.concatenate([a[:3], a])[3:],
    "misaligned": misaligned,
    "byte-swapped": lambda a, _: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "bytes": lambda a, _: np.frombuffer(a.tobytes()).reshape(a.shape),
    "memory-mapped, read-only": in_file("r"),
    "memory-mapped, writeable": in_file("r+"),
    "memory-mapped, copy on write": in_file("c"),
    "a field": in_field,
    "subclass": lambda a, _: a.view(Subclass),
    "masked array, nothing masked": lambda a, _: np.ma.masked_array(a, np.zeros(a.shape, bool)),
    "masked array without a mask": lambda a, _: np.ma.masked_array(a),
    "memoryview": lambda a, _: memoryview(a),
    "object with __array__": lambda a, _: Duck(a),
    "zero-dimensional arrays in a list": lambda a, _: [np.array(row) for row in a],
}
for _part in DEFAULT:
    for _name, _make in LAYOUTS.items():
        good(_part, _name, _make)

# Layouts of a table.

good("X", "Fortran order", lambda a, _: discontiguous(np.asfortranarray(a)))
good("X", "read-only in Fortran order", lambda a, _: read_only(np.asfortranarray(a)))
good("X", "memory-mapped in Fortran order", in_file("r", "F"))
good("X", "transposed", lambda a, _: discontiguous(a.T.copy().T))
good("X", "columns backwards", lambda a, _: discontiguous(a[:, ::-1].copy()[:, ::-1]))
good("X", "both backwards", lambda a, _: discontiguous(a[::-1, ::-1].copy()[::-1, ::-1]))
good("X", "every third column", lambda a, _: discontiguous(np.repeat(a, 3, axis=1)[:, ::3]))
good("X", "some columns", lambda a, _: discontiguous(np.hstack([a, a])[:, D:]))
good("X", "a slice of three dimensions", lambda a, _: discontiguous(np.stack([a, a], 2)[:, :, 1]))
good("X", "one row repeated", lambda a, _: np.broadcast_to(a[0], a.shape), "equal rows")
good("X", "one column repeated", lambda a, _: np.broadcast_to(a[:, :1], a.shape), "equal columns")
good(
    "X",
    "overlapping rows",
    lambda a, _: np.lib.stride_tricks.sliding_window_view(np.append(a[:, 0], a[-1, 1:]), D),
    "windows",
)
good("X", "one row, list", lambda a, _: a.tolist(), "one row", estimators=(SGDRegressor,))
good(
    "X",
    "one row of many",
    lambda a, _: np.repeat(a, 2, axis=0)[:1],
    "one row",
    estimators=(SGDRegressor,),
)
good("X", "one column of many", lambda a, _: discontiguous(np.hstack([a, a])[:, :1]), "one column")
good("X", "one column, list", lambda a, _: a.tolist(), "one column")
good("X", "zeros", lambda a, _: np.broadcast_to(0.0, a.shape), "zeros")
good("X", "denormal", lambda a, _: np.asfortranarray(a), "denormal")
good("X", "denormal here and there", lambda a, _: np.asfortranarray(a), "some denormal")
good("X", "large", lambda a, _: np.asfortranarray(a), "large")
good("X", "float32", lambda a, _: a.astype(np.float32), dtype=np.float32)
good("X", "float32, Fortran", lambda a, _: np.asfortranarray(a, np.float32), dtype=np.float32)
good("X", "float32, strided", lambda a, _: np.repeat(a, 2, 0).astype("f")[::2], dtype=np.float32)
good("X", "float32, misaligned", lambda a, _: misaligned(a.astype("f"), _), dtype=np.float32)
for _dtype, _kind in (("float16", "eighths"), ("uint8", "counts")):  # read in place if they can be
    for _name, _change in {
        "Fortran": lambda a, _: np.asfortranarray(a),
        "strided": lambda a, _: np.repeat(a, 2, 0)[::2],
        "reversed": lambda a, _: a[::-1].copy()[::-1],
        "read-only": read_only,
    }.items():
        _make = lambda a, _, dtype=_dtype, change=_change: change(a.astype(dtype), _)  # noqa: E731
        good("X", f"{_dtype}, {_name}", _make, _kind, dtype=np.float32)
good("X", "float16, misaligned", lambda a, _: misaligned(a.astype("e"), _), dtype=np.float32)
good("X", "float32, byte-swapped", lambda a, _: a.astype(np.dtype("f").newbyteorder()))

# Layouts of a vector.

for _part in ("y", "sample_weight"):
    good(_part, "array.array", lambda a, _: array.array("d", a))
    good(_part, "a column", lambda a, _: discontiguous(np.column_stack([a, a])[:, 1]))
    good(_part, "a diagonal", lambda a, _: discontiguous(np.diag(a).diagonal()))
for _part, _who in (("y", (SGDRegressor,)), ("sample_weight", ESTIMATORS)):
    good(_part, "range", lambda a, _: range(len(a)), "rising", estimators=_who)
    good(_part, "repeated", lambda a, _: np.broadcast_to(a[0], a.shape), "equal", estimators=_who)

# Dtypes.

DTYPES = {
    **dict.fromkeys(("float16", "float32", "longdouble"), "eighths"),
    **dict.fromkeys(("int8", "int16", "int32", "int64"), "counts"),
    **dict.fromkeys(("uint8", "uint16", "uint32", "uint64"), "counts"),
    "bool": "bits",
    ">i4": "counts",
    ">f2": "eighths",
    "<U8": "eighths",
    "S8": "eighths",
}


def of_objects(kind):
    def make(a, _):
        made = np.empty(a.shape, dtype=object)
        made.ravel()[:] = [kind(value) for value in a.flat]
        return made

    return make


OBJECTS = {
    "float": (float, "eighths"),
    "int": (int, "counts"),
    "bool": (bool, "bits"),
    "str": (str, "eighths"),
    "Fraction": (Fraction, "eighths"),
    "Decimal": (Decimal, "eighths"),
    "numpy scalars": (np.float32, "eighths"),
    "arrays": (np.array, "eighths"),
}
for _dtype, _kind in DTYPES.items():
    _make = lambda a, _, dtype=_dtype: a.astype(dtype)  # noqa: E731
    if _dtype != "float32":
        _computed = STORED.get(np.dtype(_dtype), np.dtype(np.float64)).type
        good("X", _dtype, _make, _kind, dtype=_computed)
    good("sample_weight", _dtype, _make, _kind)
    good("y", _dtype, _make, _kind, estimators=(SGDRegressor,))
for _name, (_type, _kind) in OBJECTS.items():
    for _part, _who in (("X", ESTIMATORS), ("sample_weight", ESTIMATORS), ("y", (SGDRegressor,))):
        good(_part, f"objects: {_name}", of_objects(_type), _kind, estimators=_who)
good("X", "integers beyond 2^53", lambda a, _: a.astype(np.uint64), "large integers")
good("X", "Python's large integers", lambda a, _: a.astype(int).tolist(), "counts")
good("X", "integers beyond int64", of_objects(int), "large integers")
good("y", "large", lambda a, _: a[::-1].copy()[::-1], "large", estimators=(SGDRegressor,))
good("y", "negative labels", lambda a, _: a.astype(np.int8), "signs")
good("sample_weight", "None", lambda a, _: None, "ones")
good("sample_weight", "True", lambda a, _: True, "ones")
good("sample_weight", "float", lambda a, _: 2.0, "equal")
good("sample_weight", "int", lambda a, _: 2, "equal")
good("sample_weight", "numpy scalar", lambda a, _: np.float32(2), "equal")
good("sample_weight", "denormal here and there", lambda a, _: a.tolist(), "some denormal")

# Labels.

LABELS = {
    "strings": np.array(["a", "bc", "d"]),
    "strings, byte-swapped": np.array(["a", "bc", "d"]).astype(">U2"),
    "strings as objects": np.array(["a", "bc", "d"], dtype=object),
    "strings of numbers": np.array(["10", "11", "9"]),
    "floats": np.array([-2.0, 0.0, 7.0]),
    "float16": np.array([0.0, 1.0, 2.0], dtype=np.float16),
    "longdouble": np.array([0.0, 1.0, 2.0], dtype=np.longdouble),
    "int16": np.array([-300, 0, 300], dtype=np.int16),
    "uint64 beyond int64": np.array([0, 2**63, 2**64 - 1], dtype=np.uint64),
    "integers alike as floats": 2**62 + np.arange(3),
    "big-endian integers": np.array([1, 256, 512], dtype=">i4"),
    "dates": np.array(["2020-01-01", "2020-01-02", "2021-01-01"], dtype="M8[D]"),
}
for _name, _names in LABELS.items():
    good(
        "y",
        f"labels: {_name}",
        lambda a, _, names=_names: names[a.astype(int)],
        estimators=(SGDClassifier,),
        relabelled=True,
    )
good(
    "y",
    "labels: list of strings",
    lambda a, _: LABELS["strings"][a.astype(int)].tolist(),
    estimators=(SGDClassifier,),
    relabelled=True,
)
good("y", "labels: bool", lambda a, _: a > 0, "bits", estimators=(SGDClassifier,))
for _name, _make in {
    "column": lambda a, _: a[:, None],
    "column in Fortran order": lambda a, _: np.asfortranarray(a[:, None]),
    "column of lists": lambda a, _: a[:, None].tolist(),
    "DataFrame": lambda a, _: pandas().DataFrame({"target": a}),
}.items():
    good("y", _name, _make, warning=DataConversionWarning)

# Sparse tables.


def with_structure(change, make=sp.csr_array):
    """Every array of a CSR matrix changed."""

    def made(a, folder):
        X = make(a)
        for name in ("data", "indices", "indptr"):
            (folder / name).mkdir()
            setattr(X, name, change(getattr(X, name), folder / name))
        return X

    return made


def is_float(a):
    return a.dtype == np.float64


def unsorted(form):
    """A compressed matrix whose rows (or columns) are backwards."""

    def make(a, _):
        X = form(a)
        for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            for each in (X.indices, X.data):
                each[start:stop] = each[start:stop][::-1].copy()
        X.has_sorted_indices = False
        assert (np.diff(X.indices) < 0).sum() > N // 2
        return X

    return make


def duplicated(a, _):
    """Every value in two parts: 3/8 and 5/8 of it."""
    X = sp.csr_array(a)
    parts = np.column_stack([X.data * 0.375, X.data * 0.625]).ravel()
    X = sp.csr_array((parts, np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    assert X.nnz == 2 * (a != 0).sum()
    return X


def explicit_zeros(a, _):
    """All that is zero is stored."""
    indices = np.tile(np.arange(a.shape[1]), len(a))
    X = sp.csr_array((a.ravel().copy(), indices, a.shape[1] * np.arange(len(a) + 1)), shape=a.shape)
    assert (X.data == 0).sum() > N
    return X


def coo_with_duplicates(a, _):
    X = sp.coo_array(a)
    row, col = (np.tile(each, 2) for each in X.coords)
    return sp.coo_array((np.concatenate([X.data * 0.25, X.data * 0.75]), (row, col)), X.shape)


FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
for _form in FORMATS:
    for _class in (getattr(sp, f"{_form}_array"), getattr(sp, f"{_form}_matrix")):
        _make = lambda a, _, form=_class: form(a)  # noqa: E731
        good("X", _class.__name__, _make, tolerance=SPARSE[np.float64])
SPARSES = {
    "CSR with 64-bit indices": with_structure(lambda a, _: a if is_float(a) else a.astype("i8")),
    "CSR, read-only": with_structure(read_only),
    "CSR, memory-mapped": with_structure(in_file("r")),
    "CSR, strided": with_structure(LAYOUTS["every other row"]),
    "CSR, misaligned": with_structure(misaligned),
    "CSC, read-only": with_structure(read_only, sp.csc_array),
    "CSR, unsorted": unsorted(sp.csr_array),
    "CSC, unsorted": unsorted(sp.csc_matrix),
    "CSR with duplicates": duplicated,
    "CSR with explicit zeros": explicit_zeros,
    "COO with duplicates": coo_with_duplicates,
    "CSR, values byte-swapped": with_structure(
        lambda a, _: a.astype(">f8" if is_float(a) else "i")
    ),
    "CSR of longdouble": lambda a, _: sp.csr_array(a).astype(np.longdouble),
    "CSR, transposed CSC": lambda a, _: sp.csc_array(a.T).T,
    "CSR, some rows of many": lambda a, _: sp.csr_array(np.vstack([a[:9], a]))[9:],
    "BSR of blocks": lambda a, _: sp.bsr_array(a, blocksize=(2, D)),
}
for _name, _make in SPARSES.items():
    good("X", _name, _make, tolerance=SPARSE[np.float64])
for _name, _dtype, _kind in (
    ("int8", np.int8, "counts"),
    ("uint64", np.uint64, "counts"),
    ("bool", bool, "bits"),
):
    good(
        "X",
        f"CSR of {_name}",
        lambda a, _, dtype=_dtype: sp.csr_array(a.astype(dtype)),
        _kind,
        tolerance=SPARSE[np.float64],
    )
good(
    "X",
    "CSR of float32",
    lambda a, _: sp.csr_array(a.astype(np.float32)),
    dtype=np.float32,
    tolerance=SPARSE[np.float32],
)
good("X", "CSR of nothing", lambda a, _: sp.csr_array(a), "zeros", tolerance=SPARSE[np.float64])
good("X", "CSR, denormal", lambda a, _: sp.csr_array(a), "denormal", tolerance=SPARSE[np.float64])

# pandas.

FRAMES = {
    "DataFrame": lambda a, _: pandas().DataFrame(a, columns=list("abcde")),
    "DataFrame without names": lambda a, _: pandas().DataFrame(a),
    "DataFrame, rows backwards": lambda a, _: pandas().DataFrame(a[::-1].copy()).iloc[::-1],
    "DataFrame, nullable": lambda a, _: pandas().DataFrame(a).astype("Float64"),
    "DataFrame of columns": lambda a, _: pandas().DataFrame(
        {f"c{j}": c for j, c in enumerate(a.T)}
    ),
}
for _name, _make in FRAMES.items():
    good("X", _name, _make)
good("X", "DataFrame of float32", lambda a, _: pandas().DataFrame(a.astype("f")), dtype=np.float32)
good(
    "X",
    "DataFrame, sparse",
    lambda a, _: pandas().DataFrame(a).astype(pandas().SparseDtype(float, 0.0)),
    tolerance=SPARSE[np.float64],
)
good(
    "X",
    "DataFrame of many dtypes",
    lambda a, _: (
        pandas()
        .DataFrame(a)
        .astype({0: "int8", 1: "Int32", 2: "float32", 3: "uint64", 4: "Float32"})
    ),
    "counts",
)
for _name, _make in {
    "polars": lambda a, _: polars().DataFrame(a, schema=list("abcde")),
    "polars, rows backwards": lambda a, _: polars().DataFrame(a[::-1].copy()).reverse(),
}.items():
    good("X", _name, _make)
good("X", "polars of float32", lambda a, _: polars().DataFrame(a.astype("f")))  # is converted
for _part in ("y", "sample_weight"):
    good(_part, "polars", lambda a, _: polars().Series(a))
    good(_part, "polars of integers", lambda a, _: polars().Series(a.astype("i2")), "counts")
    good(_part, "Series", lambda a, _: pandas().Series(a))
    good(
        _part, "Series, index backwards", lambda a, _: pandas().Series(a, index=range(len(a))[::-1])
    )
    good(_part, "Series, nullable", lambda a, _: pandas().Series(a, dtype="Float64"))
for _name, _dtype in (("categories", "category"), ("pandas strings", "string")):
    good(
        "y",
        f"labels: {_name}",
        lambda a, _, dtype=_dtype: pandas().Series(LABELS["strings"][a.astype(int)], dtype=dtype),
        estimators=(SGDClassifier,),
        relabelled=True,
    )

# What is refused, wherever it stands.


def with_value(value, dtype=np.float64):
    """One of the numbers replaced."""

    def make(a, _):
        a = a.astype(dtype)
        a[(3,) * a.ndim] = value
        return a

    return make


def with_not_a_time(a, _):
    a = a.astype("m8[s]")
    a[(3,) * a.ndim] = np.timedelta64("NaT", "s")
    return a


def masked(hidden=None):
    """One number masked, and what stands behind the mask."""

    def make(a, _):
        mask = np.zeros(a.shape, dtype=bool)
        mask[(3,) * a.ndim] = True
        return np.ma.masked_array(a if hidden is None else with_value(hidden)(a, _), mask)

    return make


for _part, _says in (
    ("X", "Input X contains"),
    ("y", "[yY] contains|Unknown label|y .*(finite|infinity|beyond the range)"),
    ("sample_weight", "sample_weight contains"),
):
    for _value in (np.nan, np.inf, -np.inf):
        for _dtype in ("float64", "float32", "float16", "longdouble", "object"):
            _match = "contains NaN|contains inf|Unknown label" if _dtype == "object" else _says
            bad(_part, f"with {_value}, {_dtype}", with_value(_value, _dtype), _match)
    bad(_part, "with None", with_value(None, object), "contains NaN|Unknown label|NoneType")
    _large = np.longdouble("1e400")
    bad(_part, "beyond float64", with_value(_large, np.longdouble), _says, overflows=True)
    _match = "too large|contains inf|Unknown label"
    bad(_part, "integers beyond float64", with_value(2**2000, object), _match)
    bad(_part, "NaT", with_not_a_time, "NaT|NaN|datetime|timedelta|[Nn]egative")
    bad(_part, "masked array", masked(), "mask")
    bad(_part, "masked array, NaN masked", masked(np.nan), "contains NaN|mask")
    bad(_part, "complex", lambda a, _: a + 1j, "Complex data not supported")
    bad(_part, "np.matrix", lambda a, _: np.asmatrix(a), r"np\.matrix is not supported")
    bad(_part, "of lists", of_objects(lambda v: [v, v]), "sequence|Unknown label|list")
    bad(_part, "NA", lambda a, _: pandas_na(a), f"{_part} contains NaN")


def pandas_na(a):
    frame = pandas().DataFrame if a.ndim == 2 else pandas().Series
    made = frame(a).astype("Float64")
    made[3] = None
    assert made.isna().to_numpy().any()
    return made


# Tables.

WRONG = "could not convert|not compatible"
TABLES = {
    "of strings": (lambda a, _: np.full(a.shape, "a"), WRONG),
    "of bytes": (lambda a, _: np.full(a.shape, b"a"), WRONG),
    "of objects holding strings": (with_value("a", object), WRONG),
    "of numbers and a string, list": (lambda a, _: with_value("a", object)(a, _).tolist(), WRONG),
    "of two fields": (lambda a, _: np.zeros(a.shape, "f8, f8"), "Cannot cast"),
    "of raw bytes": (lambda a, _: np.zeros(a.shape, "V8"), "sequence|void|cast"),
    "ragged": (lambda a, _: [[1.0, 2.0], [1.0]] * (N // 2), "inhomogeneous"),
    "None": (lambda a, _: None, "Expected 2D array, got scalar"),
    "a number": (lambda a, _: 3.0, "Expected 2D array, got scalar"),
    "a string": (lambda a, _: "X.csv", "there is no file"),
    "a dict": (lambda a, _: {"a": a.tolist()}, "dict"),
    "a set": (lambda a, _: {1.0, 2.0}, "set"),
    "empty list": (lambda a, _: [], "Expected 2D array"),
    "empty lists": (lambda a, _: [[] for _ in a], "0 feature"),
    "no rows": (lambda a, _: a[:0], "0 sample"),
    "no columns": (lambda a, _: a[:, :0], "0 feature"),
    "neither": (lambda a, _: a[:0, :0], "0 sample|0 feature"),
    "of no dimension": (lambda a, _: np.array(1.0), "Expected 2D array, got scalar"),
    "of one dimension": (lambda a, _: a[:, 0], "Expected 2D array, got 1D array"),
    "of three dimensions": (lambda a, _: a[:, :, None], "dim 3"),
    "sparse, no rows": (lambda a, _: sp.csr_array(a[:0]), "0 sample"),
    "sparse, no columns": (lambda a, _: sp.csr_array(a[:, :0]), "0 feature"),
    "sparse, one dimension": (lambda a, _: sp.coo_array(a[:, 0]), "X must have two dimensions"),
    "sparse, three": (lambda a, _: sp.coo_array(a[:, :, None]), "X must have two dimensions"),
    "sparse, complex": (lambda a, _: sp.csr_array(a + 1j), "Complex data not supported"),
    "Series": (lambda a, _: pandas().Series(a[:, 0]), "2-dimensional container|Expected 2D"),
    "DataFrame of strings": (lambda a, _: pandas().DataFrame(a.astype(str) + "a"), WRONG),
    "DataFrame of categories": (
        lambda a, _: pandas().DataFrame(a.astype(str) + "a").astype("category"),
        WRONG,
    ),
    "DataFrame of dates and numbers": (
        lambda a, _: pandas().DataFrame(a).assign(when=pandas().Timestamp("2020-01-01")),
        "X holds times",
    ),
    "DataFrame of mixed names": (
        lambda a, _: pandas().DataFrame(a, columns=["a", 1, 2, 3, 4]),
        "Feature names are only supported if all input features have string names",
    ),
    "DataFrame of equal names": (
        lambda a, _: pandas().DataFrame(a, columns=list("aabcd")),
        "unique column names|[Dd]uplicate|Feature names",
    ),
}
for _name, (_make, _match) in TABLES.items():
    bad("X", _name, _make, _match)
for _value in (np.nan, np.inf, -np.inf):
    for _form in FORMATS:
        bad(
            "X",
            f"{_form} with {_value}",
            lambda a, _, form=_form, value=_value: sp.csr_array(with_value(value)(a, _)).asformat(
                form
            ),
            "X contains",
        )
bad("X", "CSR, byte-swapped", with_structure(LAYOUTS["byte-swapped"]), "X.indices and X.indptr")
bad("X", "huge", lambda a, _: a * 1e200, "X has rows|scale|feature", predicts=True)
bad("X", "huge, sparse", lambda a, _: sp.csr_array(a * 1e200), "X has rows", predicts=True)
bad("X", "huge, float32", lambda a, _: (a * 1e30).astype(np.float32), "X has rows", predicts=True)
bad("X", "too few rows", lambda a, _: a[:-1], "inconsistent numbers of samples", predicts=True)
bad("X", "too many rows", lambda a, _: np.vstack([a, a]), "inconsistent numbers", predicts=True)
bad("X", "one row", lambda a, _: a[:1], "inconsistent numbers of samples", predicts=True)

# Targets.

LENGTHS = "inconsistent numbers of samples"
ONE_D = "y should be a 1d array"
TARGETS = {
    "None": (lambda a, _: None, "requires y to be passed|y cannot be None"),
    "a number": (lambda a, _: 1.0, ONE_D),
    "a string": (lambda a, _: "target", ONE_D),
    "a dict": (lambda a, _: dict(enumerate(a)), ONE_D),
    "a set": (lambda a, _: set(a.tolist()), ONE_D),
    "a generator": (lambda a, _: (value for value in ()), ONE_D),
    "a row": (lambda a, _: a[None], rf"{ONE_D}|{LENGTHS}"),
    "of three dimensions": (lambda a, _: a[:, None, None], "dim 3"),
    "empty": (lambda a, _: a[:0], LENGTHS),
    "too short": (lambda a, _: a[:-1], LENGTHS),
    "too long": (lambda a, _: np.append(a, a), LENGTHS),
    "sparse": (lambda a, _: sp.csr_array(a[None]), "Sparse data was passed for y"),
}
for _name, (_make, _match) in TARGETS.items():
    bad("y", _name, _make, _match)
LABEL = "Unknown label type"
for _name, _make, _match in (
    ("no classes: fractions", lambda a, _: a + 0.5, LABEL),
    ("no classes: objects holding numbers", of_objects(int), LABEL),
    ("no classes: objects holding bools", lambda a, _: (a > 0).astype(object), LABEL),
    ("no classes: bytes", lambda a, _: a.astype("S3"), "bytes"),
    ("no classes: strings and numbers", with_value("a", object), "not supported between|label"),
    ("one class", lambda a, _: np.zeros(len(a)), "number of classes"),
):
    bad("y", _name, _make, _match, estimators=(SGDClassifier,))
for _name in ("strings", "strings as objects"):
    bad(
        "y",
        f"no numbers: {_name}",
        lambda a, _, names=LABELS[_name]: names[a.astype(int)],
        "could not convert string to float",
        estimators=(SGDRegressor,),
    )
bad("y", "huge", lambda a, _: a * 1e300, r"\by\b|target", estimators=(SGDRegressor,))

# Weights.

WEIGHT = "[Ss]ample.weight"
WEIGHTS = {
    "negative": (lambda a, _: -a, WEIGHT),
    "one negative": (with_value(-1e-300), WEIGHT),
    "negative integer": (with_value(-1, np.int8), WEIGHT),
    "negative number": (lambda a, _: -1.0, WEIGHT),
    "zeros": (lambda a, _: 0.0 * a, WEIGHT),
    "nothing is true": (lambda a, _: a < 0, WEIGHT),
    "zero": (lambda a, _: 0, WEIGHT),
    "the number NaN": (lambda a, _: np.nan, WEIGHT),
    "the number inf": (lambda a, _: np.inf, WEIGHT),
    "a complex number": (lambda a, _: 2.0 + 1j, "[Cc]omplex"),
    "huge": (lambda a, _: a * 1e300, WEIGHT),
    "denormal": (lambda a, _: a * 1e-320, WEIGHT),
    "a column": (lambda a, _: a[:, None], WEIGHT),
    "a row": (lambda a, _: a[None], WEIGHT),
    "two columns": (lambda a, _: np.column_stack([a, a]), WEIGHT),
    "of no dimension": (lambda a, _: np.array(2.0), "at least 1 dimension"),
    "empty": (lambda a, _: a[:0], f"{WEIGHT}|0 sample"),
    "too short": (lambda a, _: a[:-1], WEIGHT),
    "too long": (lambda a, _: np.append(a, a), WEIGHT),
    "strings": (lambda a, _: np.full(len(a), "a"), "could not convert string"),
    "a string": (lambda a, _: "balanced", "could not convert string"),
    "a dict": (lambda a, _: {0: 1.0, 1: 2.0}, "dict"),
    "sparse": (lambda a, _: sp.csr_array(a[None]), "Sparse data was passed for sample_weight"),
    "DataFrame": (lambda a, _: pandas().DataFrame({"weight": a}), WEIGHT),
}
for _name, (_make, _match) in WEIGHTS.items():
    bad("sample_weight", _name, _make, _match)


def test_the_zoo_is_large():
    """At least 60 layouts and dtypes are asked for; every entry makes its array in its own way."""
    assert len({entry.make for entry in GOOD.values()}) >= 60
    for part in DEFAULT:
        assert sum(entry.part == part for entry in (*GOOD.values(), *BAD.values())) >= 60


# ---------------------------------------------------------------- what must hold


def portrait(thing):
    """All that an argument is: every byte, also between strides, every flag, every stored array."""
    if sp.issparse(thing):
        if thing.format == "dok":
            return type(thing), thing.shape, pickle.dumps(list(thing.items()))
        names = ("data", "indices", "indptr", "offsets", "rows", "row", "col")
        arrays = [portrait(getattr(thing, name)) for name in names if hasattr(thing, name)]
        return type(thing), thing.shape, arrays
    if isinstance(thing, np.ma.MaskedArray):
        return portrait(thing.data), portrait(np.ma.getmaskarray(thing))
    if isinstance(thing, np.ndarray):
        whole = thing
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        content = pickle.dumps(whole.tolist()) if whole.dtype.hasobject else whole.tobytes()
        return type(thing), thing.dtype, thing.shape, thing.strides, str(thing.flags), content
    if isinstance(thing, memoryview):
        return thing.format, thing.shape, thing.tobytes()
    return type(thing), pickle.dumps(thing) if not hasattr(thing, "__next__") else id(thing)


def plain_numbers(thing):
    """What an argument holds, as NumPy and SciPy have it."""
    whole = thing.toarray() if sp.issparse(thing) else np.asarray(thing)
    return whole.astype(np.float64)


def arguments(part, kind, dtype=np.float64):
    """Plain X, y and sample_weight, of the usual numbers but for one; X alone has no weights."""
    made = {name: numbers(name, kind if name == part else usual) for name, usual in DEFAULT.items()}
    if part == "X":
        made["y"], made["sample_weight"] = made["y"][: len(made["X"])], None
    return {**made, "X": made["X"].astype(dtype)}


REFUSED = ValueError, TypeError, FileNotFoundError
"""What a bad argument raises: the last one of a path, which X may be."""

OPTIONS = ((), (("batch_size", 4), ("momentum", 0.5)))  # single samples; and mini-batches


def new(estimator, options):
    return estimator(max_iter=3, tol=None, random_state=0, **dict(options))


def trained(model, verb, given, classes):
    """The model after fit, or after two rounds of partial_fit."""
    X, y, weight = given["X"], given["y"], given["sample_weight"]
    if verb == "fit":
        return model.fit(X, y, sample_weight=weight)
    rest = {"classes": classes} if isinstance(model, SGDClassifier) else {}
    for _ in range(2):
        model.partial_fit(X, y, sample_weight=weight, **rest)
    return model


@cache
def plain_model(part, kind, dtype, estimator, options, verb):
    """The model of the plain arrays, and its scores and predictions for their X."""
    plain = arguments(part, kind, dtype)
    model = trained(new(estimator, options), verb, plain, np.unique(plain["y"]))
    return model, scores(model, plain["X"]), positions(model, plain["X"])


def verbs(estimator):
    """What trains."""
    return [verb for verb in ("fit", "partial_fit") if hasattr(estimator, verb)]


def difference(a, b):
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), np.finfo(np.float64).tiny)


def scores(model, X):
    return model.decision_function(X) if isinstance(model, SGDClassifier) else model.predict(X)


def assert_same(model, plain, tolerance):
    assert model.coef_.dtype == plain.coef_.dtype
    assert model.coef_.shape == plain.coef_.shape
    assert np.isfinite(model.coef_).all()
    for name in ("coef_", "intercept_"):
        of_model, of_plain = getattr(model, name), getattr(plain, name)
        if tolerance == 0.0:
            assert np.array_equal(of_model, of_plain), name
        else:
            assert difference(of_model, of_plain) <= tolerance, name


def positions(model, X):
    """Predictions, a label as its position in classes_."""
    if isinstance(model, SGDRegressor):
        return None
    return [model.classes_.tolist().index(label) for label in model.predict(X).tolist()]


@pytest.mark.parametrize("name", GOOD)
def test_make_makes_no_difference(name, tmp_path):
    """The model and the predictions of the plain arrays; the arguments stay as they are."""
    entry = GOOD[name]
    made = numbers(entry.part, entry.kind)
    value = entry.make(made.copy(), tmp_path)
    if not entry.relabelled and value is not None and not np.isscalar(value):
        assert np.array_equal(plain_numbers(value).ravel(), made.ravel()), "not the same numbers"
    given = {**arguments(entry.part, entry.kind, entry.dtype), entry.part: value}
    classes = np.unique(np.asarray(value) if entry.relabelled else given["y"])
    before = portrait(value)
    turn = list(GOOD).index(name) % 2  # each verb with one of the options, by turns
    for estimator in entry.estimators:
        for i, verb in enumerate(verbs(estimator)):
            options = OPTIONS[(i + turn) % 2]
            plain, plain_scores, plain_positions = plain_model(
                entry.part, entry.kind, entry.dtype, estimator, options, verb
            )
            model = new(estimator, options)
            with pytest.warns(entry.warning) if entry.warning else contextlib.nullcontext():
                trained(model, verb, given, classes)
            assert_same(model, plain, entry.tolerance)
            near = max(entry.tolerance, SCORES[entry.dtype])
            assert difference(scores(model, given["X"]), plain_scores) <= near
            assert positions(model, given["X"]) == plain_positions
            assert portrait(value) == before, "an argument was changed"


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", BAD)
def test_bad_array_is_refused(name, tmp_path):
    """ValueError or TypeError that says why; no model, or the old one; arguments as they are."""
    entry = BAD[name]
    value = entry.make(numbers(entry.part, entry.kind or DEFAULT[entry.part]).copy(), tmp_path)
    sound = arguments("y", "counts")
    given = {**sound, entry.part: value}
    before = portrait(value)
    for estimator in entry.estimators:
        for verb in verbs(estimator):
            if name == "y one class" and verb == "partial_fit":
                continue  # a chunk may hold one of the classes announced
            fresh, fitted = (new(estimator, options) for options in OPTIONS)
            fitted.fit(sound["X"], sound["y"])
            calls = [partial(trained, m, verb, given, np.arange(3.0)) for m in (fresh, fitted)]
            if entry.part == "X" and not entry.predicts:
                calls.append(partial(fitted.predict, value))
            state = pickle.dumps([vars(fresh), vars(fitted)])
            for call in calls:
                quiet = np.errstate(all="ignore") if entry.overflows else contextlib.nullcontext()
                with quiet, pytest.raises(REFUSED, match=entry.match):
                    call()
                assert pickle.dumps([vars(fresh), vars(fitted)]) == state
            assert not hasattr(fresh, "coef_")
            assert portrait(value) == before, "an argument was changed"
