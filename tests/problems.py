"""Small problems for the tests, made from seeds, and the lists that the tests run over."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse as sp

from fastsgd import _core, reference, solver
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import STORED, Data, Lanes, Settings
from fastsgd.schedules import Schedule

ISAS = _core.isas()
DTYPES = (np.float32, np.float64)
STORED_DTYPES = tuple(dtype.type for dtype in STORED)
LAYOUTS = ("dense", "csr32", "csr64")
OPTIMIZERS = (SGD(), SGD(0.9), SGD(0.8, nesterov=True), AdaGrad(), AdaGrad(0.5))
PENALTIES = ("l2", "l1", "elasticnet", None)
ELEMENTWISE = tuple(name for name, loss in LOSSES.items() if not loss.coupled)
LANE_COUNTS = (1, 3, 6, 16, 19)  # one; padded to 4, 8, 16; more than a tile
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
"""Norm-wise relative difference allowed between core and twin."""


@dataclass(frozen=True)
class Table:
    """A table whose numbers are float32, so that every dtype and layout sees the same ones."""

    X: np.ndarray  # (n, d), four in ten values non-zero, an empty row and an empty column
    y: np.ndarray  # (n, 2): a real target, and a class label from 0 to 3
    weight: np.ndarray  # (n,), three of them zero
    offset: np.ndarray  # (d,)
    scale: np.ndarray  # (d,)

    def data(
        self,
        dtype,
        layout: str,
        *,
        sign: bool,
        weighted: bool = False,
        count: bool = False,
        scaled: bool = False,
    ) -> Data:
        X = self.X.astype(dtype)
        assert np.array_equal(X, self.X.astype(np.float32))
        if layout != "dense":
            X = sp.csr_array(X)
            index = np.int32 if layout == "csr32" else np.int64
            X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        y = self.y[:, 1] if sign else 0.25 * np.abs(self.y) if count else self.y
        scaling = (self.offset, self.scale) if scaled else ()
        return Data(X, y, self.weight if weighted else None, *scaling)


@cache
def table(n: int = 23, d: int = 19, seed: int = 0, counts: bool = False) -> Table:
    """Normal numbers; or ``counts`` 0, 1 and 2, which every stored dtype holds."""
    rng = np.random.default_rng(seed)
    X = (rng.integers(1, 3, (n, d)) if counts else rng.normal(size=(n, d))) * (
        rng.random((n, d)) < 0.4
    )
    X[n // 2] = 0.0
    X[:, d // 2] = 0.0
    w = rng.normal(size=d, scale=0.5 if counts else 1.0)
    y = np.column_stack([X @ w + 0.1 * rng.normal(size=n), rng.integers(0, 4, n)])
    weight = rng.choice([0.5, 1.0, 2.0], n)
    weight[:3] = 0.0
    offset, scale = rng.uniform(-1.0, 1.0, d), rng.uniform(0.3, 0.7, d)
    assert np.ptp(y[:, 0]) > 1.0
    assert len(np.unique(y[:, 1])) == 4
    numbers = X, y, weight, offset, scale
    return Table(*(a.astype(np.float32).astype(np.float64) for a in numbers))


def sign_targets(loss: str) -> bool:
    return LOSSES[loss].targets == {"sign"}


def targets_of(loss: str) -> dict[str, bool]:
    """What Table.data needs to know of a loss."""
    return {"sign": sign_targets(loss), "count": LOSSES[loss].targets == {"count"}}


def penalties_of(loss: str) -> tuple[str | None, ...]:
    """The penalties a loss can do with."""
    return ("l2", "elasticnet") if LOSSES[loss].infimum == -np.inf else PENALTIES


def schedule_of(kind: str, **constants) -> Schedule:
    """A schedule of the kind; a user's function that depends on step and epoch."""
    function = (
        (lambda step, epoch: 0.02 / (1.0 + 0.05 * step + 0.1 * epoch))
        if (kind == "callable")
        else None
    )
    return Schedule(kind, function=function, **constants)


def lanes(k: int, loss: str, penalty: str | None = "l2") -> Lanes:
    """K lanes that differ in all they can; those of a softmax differ in their classes."""
    sign, coupled, smoothness = sign_targets(loss), LOSSES[loss].coupled, LOSSES[loss].smoothness
    strength = np.geomspace(0.001, 0.1, k)
    return Lanes(
        k,
        alpha=strength if penalty in ("l2", "elasticnet") else 0.0,
        l1=0.3 * strength if penalty in ("l1", "elasticnet") else 0.0,
        intercept_gradient=0.05 * (np.arange(1, k + 1) % 2),
        eta0=np.linspace(0.01, 0.02, k) / (smoothness if 1.0 < smoothness < np.inf else 1.0),
        mu=np.linspace(0.0, 0.5, k),
        intercept_rate=np.linspace(0.5, 1.5, k),
        target=0 if sign else np.arange(k) % 2,
        label=np.arange(k) if coupled else np.arange(k) % 4,
        weight_positive=np.linspace(1.0, 2.0, k),
        weight_negative=np.linspace(1.0, 0.5, k),
    )


def prepare(state: reference.State | solver.State, data: Data) -> None:
    """Give the lanes different rate factors, and weights to start from: sums of equal steps would
    come back to the kink of a perceptron at 0."""
    k = len(state.rate_factor)
    rng = np.random.default_rng(1)
    state.rate_factor[:] = np.linspace(1.0, 0.6, k)
    state.set_weights(*(rng.normal(scale=0.1, size=s).astype(np.float32) for s in ((k, data.d), k)))


def train_twin(
    data: Data, of: Lanes, settings: Settings, epochs: int = 3, prepared: bool = False
) -> reference.State:
    state = reference.State(data, of, settings)
    if prepared:
        prepare(state, data)
    for _ in range(epochs):
        reference.run_epoch(data, of, settings, state)
    return state


def train_core(
    data: Data,
    of: Lanes,
    settings: Settings,
    isa: str | None = None,
    epochs: int = 3,
    budget: int = 10**9,
    prepared: bool = False,
) -> solver.State:
    state = solver.State(data, of, settings)
    if prepared:
        prepare(state, data)
    run = _core.Run(data, of, settings, state, isa=isa)
    while state.epoch < epochs:
        run.advance(budget)
    return state


def bits(state: solver.State, settings: Settings) -> tuple:
    """Everything of a run that can be seen, as bytes."""
    numbers = (
        *state.weights(settings),
        *state.last_weights(),
        state.loss_sum,
        state.row_count,
        state.norm_sum,
        state.t,
    )
    return state.epoch, state.row, *(np.ascontiguousarray(a).tobytes() for a in numbers)


def difference(core: solver.State, twin: reference.State, settings: Settings) -> float:
    """Largest norm-wise relative difference of weights, intercepts, losses and gradient norms."""
    pairs = zip(
        (*core.weights(settings), core.loss_sum, np.sqrt(core.norm_sum)),
        (*twin.weights(settings), twin.loss_sum, np.sqrt(twin.norm_sum)),
        (1e-3, 1e-2, 1e-3, 1.0),  # one lane's intercept, one row's gradient: small differences
        strict=True,
    )
    return max(float(np.linalg.norm(a - b) / max(np.linalg.norm(b), s)) for a, b, s in pairs)


def grid(**axes):
    """Every combination of the axes, as dictionaries."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
