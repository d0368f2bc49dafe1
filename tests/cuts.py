"""Rows in memory as sources of blocks, however they are cut, and caches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from fastsgd.data import open_source
from fastsgd.data.cache import Cache, write_cache
from fastsgd.estimators import rows

X_KINDS = ("float64", "float32", "float16", "uint8", "csr32", "csr64", "wide")
"""Dense of a dtype; CSR with indices of 32 or 64 bits; CSR of more columns than 32 bits count."""

Y_KINDS = ("real", "float32", "integers", "large", "strings", "objects", "bools", "two", "none")


def matrix(kind: str, n: int, d: int = 5, seed: int = 0) -> Any:
    """Rows whose numbers every kind holds."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 4, (n, d)).astype(np.float32)
    if kind in ("float64", "float32", "float16", "uint8"):
        return X.astype(kind)
    X = sp.csr_array(X * (rng.random((n, 1)) < 0.8))  # some rows are empty
    index = np.int32 if kind == "csr32" else np.int64
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    if kind == "wide":
        parts = X.data, X.indices * 2**32 + X.indices, X.indptr
        X = sp.csr_array(parts, shape=(n, 2**40))
    return X


def targets(kind: str, n: int, seed: int = 0) -> Any:
    """Targets of a kind, that of a name and of a few labels."""
    rng = np.random.default_rng(seed + 1)
    if kind in ("real", "float32"):
        return rng.normal(size=n).astype(np.float64 if kind == "real" else np.float32)
    if kind == "two":
        return rng.normal(size=(n, 2))
    numbers = rng.integers(0, 3, n)
    if kind == "large":  # which float64 does not tell from each other
        return np.array([2**63, 2**63 + 1, 7], dtype=np.uint64)[numbers]
    if kind in ("strings", "objects"):
        return np.array(["", "naïve", "b"], dtype=str if kind == "strings" else object)[numbers]
    return {"integers": numbers, "bools": numbers > 0, "none": None}[kind]


def parts(cuts: Sequence[int], n: int, *arrays: Any) -> Iterator[tuple[Any, ...]]:
    """Arrays of n rows, cut at these rows."""
    for first, end in pairwise([0, *sorted(cuts), n]):
        yield tuple(None if array is None else array[first:end] for array in arrays)


def factory(cuts: Sequence[int], *arrays: Any) -> Callable[[], Iterator[Any]]:
    """What gives the rows in blocks, anew each time."""
    n = arrays[0].shape[0]
    return lambda: (each for each in parts(cuts, n, *arrays) if each[0].shape[0])


def make_small_blocks(set_value: Callable[[Any, str, int], None] = setattr) -> None:
    """Let small tables have several blocks; pytest's ``monkeypatch.setattr`` undoes it."""
    set_value(rows, "LEAST_BLOCK", 1)
    set_value(rows, "BLOCK_BYTES", 2048)


def cache_of(folder: Path, cuts: Sequence[int], *arrays: Any, block_bytes: int = 1) -> Cache:
    """A cache of these rows."""
    return write_cache(open_source(factory(cuts, *arrays)), folder, block_bytes=block_bytes)


def dense(X: Any) -> np.ndarray:
    """X as an array; CSR as its non-zero values with their places."""
    if not sp.issparse(X):
        return X
    X = X.tocoo()
    return np.stack([X.row.astype(np.int64), X.col.astype(np.int64), X.data.astype(np.int64)])


def joined(blocks: Sequence[Any]) -> tuple[Any, Any, Any]:
    """X, y and weights of blocks, one behind the other."""
    X = [block.X for block in blocks]
    rest = (
        None if getattr(blocks[0], name) is None else np.concatenate([*map(of(name), blocks)])
        for name in ("y", "sample_weight")
    )
    return (sp.vstack(X, format="csr") if sp.issparse(X[0]) else np.concatenate(X), *rest)


def of(name: str) -> Callable[[Any], Any]:
    """What takes an attribute."""
    return lambda thing: getattr(thing, name)
