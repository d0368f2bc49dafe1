"""A table of people for the tests of columns: numbers, categories and texts, also row by row."""

import re
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils import murmurhash3_32

TOWNS = ["Ulm", "Bonn", "", "Köln", None]
TEXTS = ["The cat, the CAT!", "", "a b c", "été d'été 42", None, "under_score the"]


def rows_of_people(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "age": float(rng.normal()),
            "town": TOWNS[rng.integers(len(TOWNS))],
            "note": TEXTS[rng.integers(len(TEXTS))],
            "member": [True, False, None][rng.integers(3)],
            "children": int(rng.integers(9)),
            "y": int(rng.integers(2)),
        }
        for _ in range(rows)
    ]


def people(rows=300, seed=0):
    pa = pytest.importorskip("pyarrow")
    return pa.Table.from_pylist(rows_of_people(rows, seed))


def column_of(name, value, bits):
    """The hashed column of a value, by scikit-learn's hash of ``name=value``."""
    key = f"{name}={value}" if value is not None else f"{name}=".encode() + b"\xff"
    return murmurhash3_32(key, positive=True) % 2**bits


def plain(rows, numeric, categorical, text, bits):
    """X, row by row."""
    X = np.zeros((len(rows), len(numeric) + 2**bits))
    for x, row in zip(X, rows, strict=True):
        x[: len(numeric)] = [row[name] for name in numeric]
        hashed = x[len(numeric) :]
        for name in categorical:
            value = row[name]
            value = str(value).lower() if isinstance(value, bool) else value
            hashed[column_of(name, value, bits)] += 1.0
        for name in text:
            words = re.findall(r"(?u)\b\w\w+\b", (row[name] or "").lower())
            for word, count in Counter(words).items():
                hashed[column_of(name, word, bits)] += count
    return X


def read(source):
    """X, y and sample_weight of all blocks."""
    columns = []
    blocks = list(source.blocks())
    for part in ("X", "y", "sample_weight"):
        arrays = [getattr(block, part) for block in blocks]
        if arrays[0] is None:
            columns.append(None)
        else:
            columns.append(sp.vstack(arrays) if sp.issparse(arrays[0]) else np.concatenate(arrays))
    return columns
