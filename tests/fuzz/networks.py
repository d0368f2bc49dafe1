"""Target: sequences of calls of the core of networks, beside the NumPy twin."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp
from calls import CutRuns, target_of
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from problems import ISAS
from support import Target
from test_network import OPTIMIZERS, start, targets
from test_network_core import padded, state_of, unpadded

from fastsgd import _core
from fastsgd.descent import VectorDescent
from fastsgd.network import ACTIVATIONS, NETWORK_LOSSES, Network
from fastsgd.optimizers import Adam
from fastsgd.problem import Data
from fastsgd.reference import network as twin
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import Schedule

SIZES = ((5, 4, 3), (5, 3), (11, 9, 7, 2), (5, 1, 33), (70, 3, 2), (1, 2, 1), (6, 40, 17, 1))
SCHEDULES = (
    Schedule(),
    Schedule("inverse", power_t=0.5),
    Schedule("invscaling", warmup_steps=5),
    Schedule("cosine", total_epochs=3.0),
    Schedule("callable", function=lambda t, e: 0.003 / (t + e)),
)
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-3}
SEEDS = st.integers(0, 3)


class Networks(CutRuns):
    """A VectorState of the core, cut, copied, pickled and changed, and one of the twin's."""

    @initialize(
        loss=st.sampled_from(sorted(NETWORK_LOSSES)),
        activation=st.sampled_from(sorted(ACTIVATIONS)),
        optimizer=st.sampled_from(sorted(OPTIMIZERS)),
        stored=st.sampled_from((np.float64, np.float32, np.float16, np.uint8)),
        layout=st.sampled_from(("dense", "csr32", "csr64")),
        n=st.sampled_from((40, 1, 290)),
        sizes=st.sampled_from(SIZES),
        batch_size=st.sampled_from((1, 7, 40, 270, 1000)),
        average=st.sampled_from((0, 3)),
        clip_norm=st.sampled_from((np.inf, 0.1)),
        sampling=st.sampled_from(SAMPLINGS),
        schedule=st.sampled_from(range(len(SCHEDULES))),
        alpha=st.sampled_from((0.0, 0.5)),
        weighted=st.booleans(),
        scaled=st.booleans(),
        n_jobs=st.sampled_from((1, 3)),
    )
    def begin(self, n: int, stored: Any, layout: str, sizes: Any, **options: Any) -> None:
        rng = np.random.default_rng(n)
        activation, loss = options.pop("activation"), options.pop("loss")
        self.loss = loss
        sizes = SIZES[0] if loss == "softmax" and sizes[-1] == 1 else sizes
        if activation == "relu" or options["optimizer"] == "adam":
            stored = np.float64  # where rounding can pick a side, or the sign of a step
        if layout != "dense" and stored in (np.float16, np.uint8):
            stored = np.float32
        X: Any = (rng.integers(0, 3, (n, sizes[0])) * (rng.random((n, sizes[0])) < 0.4)).astype(
            stored
        )
        if layout != "dense":
            X = sp.csr_array(X)
            index = np.int32 if layout == "csr32" else np.int64
            X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        y = targets(loss, n, sizes[-1], rng).astype(np.float32)
        weight = rng.choice([0.0, 0.5, 1.0, 2.0], n) if options.pop("weighted") else None
        scaled = options.pop("scaled") and layout == "dense"
        scaling = (np.full(sizes[0], 0.5), np.full(sizes[0], 0.75)) if scaled else ()
        self.data = Data(X, y, weight, *scaling)
        self.network = Network(sizes, activation, loss, options.pop("alpha"))
        optimizer = OPTIMIZERS[options.pop("optimizer")]
        options["schedule"] = SCHEDULES[options["schedule"]]
        eta0 = 0.003 if options["batch_size"] > 1 else 1e-4
        self.descent = VectorDescent(eta0=eta0, mu=0.1, optimizer=optimizer, seed=3, **options)
        self.begin_anew()

    def begin_anew(self) -> None:
        theta = self.parameters(0)
        self.twin = twin.State(self.network.length(), self.descent)
        self.twin.theta = theta.copy()
        self.state = state_of(self.data, self.network, self.descent, theta)

    def parameters(self, seed: int) -> Any:
        theta = start(self.network, np.random.default_rng(seed), 0.1)
        return theta.astype(np.float32).astype(np.float64)

    def made_run(self, isa: str | None = None) -> Any:
        return _core.NetworkRun(self.data, self.network, self.descent, self.state, isa=isa)

    def end_epoch(self, epoch: int, run: Any, budget: int) -> None:
        while self.state.epoch == epoch:
            run.advance(budget)
        while self.twin.epoch < self.state.epoch:
            twin.run_epoch(self.data, self.network, self.descent, self.twin)

    @rule(isa=st.sampled_from((None, *ISAS)), budget=st.sampled_from((1, 300, 10**9)))
    def an_epoch(self, isa: str | None, budget: int) -> None:
        """In calls of some length; the twin does it in one."""
        with self.unless_it_diverges():
            self.end_epoch(self.state.epoch, self.made_run(isa), budget)

    @precondition(lambda self: not self.descent.average and self.descent.optimizer != Adam())
    @rule(seed=SEEDS)
    def new_parameters(self, seed: int) -> None:
        """Slots begin afresh; so would averages, and Adam's correction."""
        theta = self.parameters(seed)
        self.state.set(padded(self.network, theta, self.data.dtype))
        fresh = twin.State(self.network.length(), self.descent)
        self.twin.theta, self.twin.slots = theta, fresh.slots

    @rule(factor=st.sampled_from((0.5, 0.9, 1.0)))
    def slower(self, factor: float) -> None:
        for state in (self.state, self.twin):
            state.rate_factor = factor

    @precondition(lambda self: self.data.X.dtype in (np.float32, np.float64))
    @rule()
    def other_layout(self) -> None:
        """The same rows, of CSR or dense."""
        data, X = self.data, self.data.X
        if data.offset is None:
            X = X.toarray() if data.sparse else sp.csr_array(X)
            self.data = Data(X, data.y, data.sample_weight)

    @rule(seed=SEEDS, m=st.sampled_from((1, 9, 300)), isa=st.sampled_from((None, *ISAS)))
    def gradients(self, seed: int, m: int, isa: str | None) -> None:
        """Of rows in any order: their sum, losses, and squared norms by layers."""
        data, network, theta = self.data, self.network, self.twin.theta
        rows = np.random.default_rng(seed).integers(0, data.n, m)
        before = self.state.last().tobytes()
        grad, losses, squares = self.made_run(isa).gradients(rows, squares=True)
        assert self.state.last().tobytes() == before
        weight = np.ones(data.n) if data.sample_weight is None else data.sample_weight
        X, y = data.rows(rows), data.y[rows].astype(np.float64)
        each = twin.row_gradients(network, theta, X, y)
        tolerance = 40.0 * TOLERANCE[data.dtype.type]
        expected = weight[rows] @ each
        scale = max(1e-3, float(np.abs(each).max()) * m)
        assert np.abs(unpadded(network, grad) - expected).max() <= tolerance * scale
        used = weight[rows] > 0.0
        exact = twin.row_losses(network, twin.forward(network, theta, X)[-1], y)
        np.testing.assert_allclose(losses[used], exact[used], rtol=tolerance, atol=tolerance)
        assert np.isnan(losses[~used]).all()
        stops = np.cumsum([(inputs + 1) * outputs for inputs, outputs in network.shapes])
        parts = [np.square(part).sum(axis=1) for part in np.split(each, stops[:-1], axis=1)]
        expected = np.transpose(parts)[used]
        np.testing.assert_allclose(squares[used], expected, rtol=tolerance, atol=tolerance * scale)

    @rule(error=st.sampled_from((ValueError, KeyboardInterrupt, MemoryError)))
    def a_schedule_raises(self, error: type[BaseException]) -> None:
        """In a copy: what was there before is as it was."""

        def rate(step: int, epoch: float) -> float:
            raise error("in the schedule")

        raising = copy.copy(self.descent)
        object.__setattr__(raising, "schedule", Schedule("callable", function=rate))
        run = _core.NetworkRun(self.data, self.network, raising, self.state.copy())
        try:
            run.advance(10**9)
        except error:
            return
        weight = self.data.sample_weight
        assert run.draws_order or (weight is not None and (weight == 0.0).any())

    @invariant()
    def equal(self) -> None:
        if not hasattr(self, "twin"):
            return
        found, exact = self.state.model(self.descent), self.twin.model(self.descent)
        scale = max(1e-2, float(np.abs(self.twin.theta).max()))
        gap = np.abs(unpadded(self.network, found) - exact).max() / scale
        assert gap <= TOLERANCE[self.data.dtype.type], (gap, self.network, self.descent, self.data)
        assert (self.state.t, self.state.epoch) == (self.twin.t, self.twin.epoch)


network_calls: Target = target_of(Networks)
