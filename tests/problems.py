"""Small problems for the tests, made from seeds, and the lists that the tests run over."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse as sp

from fastsgd import _core, reference, solver
from fastsgd.losses import LOSSES
from fastsgd.problem import Data, Lanes, Settings

ISAS = _core.isas()
DTYPES = (np.float32, np.float64)
LAYOUTS = ("dense", "csr32", "csr64")
MOMENTA = ((0.0, False), (0.9, False), (0.8, True))
LANE_COUNTS = (1, 3, 6, 16, 19)  # one; padded to 4, 8, 16; more than a tile
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
"""Norm-wise relative difference allowed between core and twin."""


@dataclass(frozen=True)
class Table:
    """A table whose numbers are float32, so that every dtype and layout sees the same ones."""

    X: np.ndarray  # (n, d), four in ten values non-zero, an empty row and an empty column
    y: np.ndarray  # (n, 2): a real target, and a class label from 0 to 3
    weight: np.ndarray  # (n,), three of them zero

    def data(self, dtype, layout: str, *, sign: bool, weighted: bool = False) -> Data:
        X = self.X.astype(dtype)
        if layout != "dense":
            X = sp.csr_array(X)
            index = np.int32 if layout == "csr32" else np.int64
            X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        y = self.y[:, 1] if sign else self.y[:, :2]
        return Data(X, y.astype(dtype), self.weight.astype(dtype) if weighted else None)


@cache
def table(n: int = 23, d: int = 19, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.4)
    X[n // 2] = 0.0
    X[:, d // 2] = 0.0
    w = rng.normal(size=d)
    y = np.column_stack([X @ w + 0.1 * rng.normal(size=n), rng.integers(0, 4, n)])
    weight = rng.choice([0.5, 1.0, 2.0], n)
    weight[:3] = 0.0
    assert np.ptp(y[:, 0]) > 1.0
    assert len(np.unique(y[:, 1])) == 4
    return Table(*(a.astype(np.float32).astype(np.float64) for a in (X, y, weight)))


def sign_targets(loss: str) -> bool:
    return "real" not in LOSSES[loss].targets


def lanes(k: int, loss: str) -> Lanes:
    """K lanes that differ in all they can."""
    sign = sign_targets(loss)
    return Lanes(
        k,
        alpha=np.geomspace(0.001, 0.1, k),
        eta0=np.linspace(0.01, 0.02, k),
        mu=np.linspace(0.0, 0.5, k),
        target=0 if sign else np.arange(k) % 2,
        label=np.arange(k) % 4,
        weight_positive=np.linspace(1.0, 2.0, k),
        weight_negative=np.linspace(1.0, 0.5, k),
    )


def train_twin(data: Data, of: Lanes, settings: Settings, epochs: int = 3) -> reference.State:
    state = reference.State(data, of, settings)
    for _ in range(epochs):
        reference.run_epoch(data, of, settings, state)
    return state


def train_core(
    data: Data, of: Lanes, settings: Settings, isa: str | None = None, epochs: int = 3, budget=10**9
) -> solver.State:
    state = solver.State(data, of, settings)
    run = _core.Run(data, of, settings, state, isa=isa)
    while state.epoch < epochs:
        run.advance(budget)
    return state


def difference(core: solver.State, twin: reference.State, settings: Settings) -> float:
    """Norm-wise relative difference of weights, intercepts and losses, the largest of them."""
    pairs = zip(
        (*core.weights(settings), core.loss_sum),
        (*twin.weights(settings), twin.loss_sum),
        strict=True,
    )
    return max(float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3)) for a, b in pairs)


def grid(**axes):
    """Every combination of the axes, as dictionaries."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
