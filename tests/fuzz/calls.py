"""Targets: sequences of calls, of the core and of estimators, beside the NumPy twin."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import Verbosity
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    precondition,
    rule,
)
from problems import (
    DTYPES,
    ISAS,
    LAYOUTS,
    OPTIMIZERS,
    STORED_DTYPES,
    TOLERANCE,
    difference,
    lanes,
    penalties_of,
    schedule_of,
    table,
    targets_of,
)
from sklearn.base import clone
from support import FUZZED, Target

from fastsgd import DivergenceError, SGDRegressor, _core, reference, solver
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.targets import slopes_of, weights_of
from fastsgd.targets import targets_of as targets_at

STEPS = 15
SMOOTH = ("squared_error", "log_loss", "poisson", "softmax")
"""Losses without a kink, at which rounding could pick the side."""


def target_of(machine: type[RuleBasedStateMachine]) -> Target:
    """A target that runs a state machine by the bytes it is given."""
    shown = Verbosity.debug if os.environ.get("FUZZ_REPLAY") else Verbosity.normal
    given = hypothesis_settings(FUZZED, stateful_step_count=STEPS, verbosity=shown)
    test = get_state_machine_test(machine, settings=given)
    target: Target = test.hypothesis.fuzz_one_input
    return target


class CutRuns(RuleBasedStateMachine):
    """What the states of the core share: epochs in parts, and copies.

    A machine has ``state`` and ``loss``, makes a run of the state (``made_run``), ends an epoch of
    it and of the twin (``end_epoch``) and makes both anew (``begin_anew``).
    """

    state: Any
    loss: str

    def made_run(self, isa: str | None = None) -> Any:
        raise NotImplementedError

    def end_epoch(self, epoch: int, run: Any, budget: int) -> None:
        raise NotImplementedError

    def begin_anew(self) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def unless_it_diverges(self) -> Iterator[None]:
        """As a Poisson run may, of float32 before that of the twin: then both begin anew."""
        try:
            yield
        except DivergenceError:
            assert self.loss == "poisson"
            self.begin_anew()

    @rule(budget=st.sampled_from((1, 30, 300)), pickles=st.booleans())
    def a_part(self, budget: int, pickles: bool) -> None:
        """Of an epoch, which a copy ends."""
        epoch = self.state.epoch
        with self.unless_it_diverges():
            self.made_run().advance(budget)
            old = self.state
            self.state = pickle.loads(pickle.dumps(old)) if pickles else old.copy()
            self.end_epoch(epoch, self.made_run(), 10**9)

    @rule(make=st.sampled_from((copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)))))
    def another_state(self, make: Any) -> None:
        self.state = make(self.state)


class Core(CutRuns):
    """A State of the core, cut, copied, pickled and changed, and one of the twin's."""

    @initialize(
        loss=st.sampled_from(SMOOTH),
        layout=st.sampled_from(LAYOUTS),
        dtype=st.sampled_from(DTYPES),
        stored=st.sampled_from((None, None, *STORED_DTYPES)),
        scaled=st.booleans(),
        n=st.sampled_from((23, 23, 70)),
        k=st.sampled_from((1, 2, 3, 8, 16, 19)),
        penalty=st.sampled_from(("l2", "l1", "elasticnet", None)),
        optimizer=st.sampled_from(OPTIMIZERS),
        average=st.sampled_from((0, 5, 40)),
        batch_size=st.sampled_from((1, 4, 23, 40, 100)),
        sampling=st.sampled_from(SAMPLINGS),
        schedule=st.sampled_from(("constant", "inverse", "step", "harmonic", "callable")),
        clips=st.booleans(),
        weighted=st.booleans(),
        fit_intercept=st.booleans(),
        n_jobs=st.sampled_from((1, 2)),
    )
    def begin(
        self, loss: str, layout: str, dtype: Any, k: int, penalty: Any, **options: Any
    ) -> None:
        penalty = penalty if penalty in penalties_of(loss) else "l2"
        k = max(k, 2) if LOSSES[loss].coupled else k
        self.loss = loss
        kind, clips, n, stored = (
            options.pop(each) for each in ("schedule", "clips", "n", "stored")
        )
        how = {each: options.pop(each) for each in ("weighted", "scaled")} | targets_of(loss)
        if loss == "poisson":  # diverges on larger tables, at first beside the twin
            n, stored = 23, None
        if stored:  # dense counts
            clips = False  # steps that are unstable, and bounded by clipping, are chaotic
            dtype, layout = stored, "dense"
            first = options["optimizer"]
            options["optimizer"] = first if first.linear else AdaGrad(0.5)  # whose gradients cancel
        else:
            how["scaled"] = False
        examples = table(n, counts=stored is not None)
        self.twin_data = examples.data(np.float64, "dense", **how)
        self.data = examples.data(dtype, layout, **how)
        self.lanes = lanes(k, loss, penalty)
        self.settings = Settings(
            loss=loss,
            sign_targets=targets_of(loss)["sign"],
            schedule=schedule_of(kind, step_epochs=1.0, total_epochs=4.0, decay=0.5),
            clip_norm=0.5 if clips else np.inf,
            seed=5,
            **options,
        )
        self.begin_anew()

    def begin_anew(self) -> None:
        self.state = solver.State(self.data, self.lanes, self.settings)
        self.twin = reference.State(self.twin_data, self.lanes, self.settings)

    def made_run(self, isa: str | None = None) -> Any:
        return _core.Run(self.data, self.lanes, self.settings, self.state, isa=isa)

    @rule(isa=st.sampled_from((None, *ISAS)), budget=st.sampled_from((1, 40, 10**3, 10**9)))
    def an_epoch(self, isa: str | None, budget: int) -> None:
        """In calls of some length; the twin does it in one."""
        epoch = self.state.epoch
        with self.unless_it_diverges():
            self.end_epoch(epoch, self.made_run(isa), budget)

    def end_epoch(self, epoch: int, run: Any, budget: int) -> None:
        while self.state.epoch == epoch:
            run.advance(budget)
        while self.twin.epoch < self.state.epoch:
            reference.run_epoch(self.twin_data, self.lanes, self.settings, self.twin)

    @rule(seed=st.integers(0, 3))
    def new_weights(self, seed: int) -> None:
        k = self.lanes.k
        rng = np.random.default_rng(seed)
        coef = rng.normal(scale=0.1, size=(k, self.data.d)).astype(np.float32)
        for state in (self.state, self.twin):
            state.set_weights(coef, np.zeros(k))

    @rule(lane=st.integers(0, 15), active=st.booleans())
    def a_lane_stops(self, lane: int, active: bool) -> None:
        coupled = self.settings.terms.coupled  # whose lanes are frozen together
        for state in (self.state, self.twin):
            state.active[slice(None) if coupled else lane % self.lanes.k] = active

    @rule(lane=st.integers(0, 15), factor=st.sampled_from((0.5, 0.9, 1.0)))
    def a_lane_slows(self, lane: int, factor: float) -> None:
        for state in (self.state, self.twin):
            state.rate_factor[lane % self.lanes.k] = factor

    @rule(
        seed=st.integers(0, 3), m=st.sampled_from((1, 9, 300)), isa=st.sampled_from((None, *ISAS))
    )
    def verbs(self, seed: int, m: int, isa: str | None) -> None:
        """Scores and sums of gradients of rows in any order, those of lanes that have stopped 0; no
        bit of the state changes."""
        rows = np.random.default_rng(seed).integers(0, self.data.n, m)
        z = reference.score(self.twin_data, self.twin, rows)
        about = self.twin_data, self.lanes, self.settings
        y = targets_at(*about, rows)
        s = weights_of(*about, y, rows)
        trains = self.twin.active > 0.0
        c = slopes_of(self.settings, z, y, s) * trains
        expected = z, *reference.accumulate(self.twin_data, c, rows), (s > 0.0).sum(axis=0) * trains
        before = self.state.last_weights()
        run = self.made_run(isa)
        for a, b in zip((run.score(rows), *run.gradient_sums(rows)), expected, strict=True):
            assert a.shape == b.shape
            allowed = 200.0 * TOLERANCE[self.state.dtype.type] * max(1.0, float(np.linalg.norm(b)))
            assert np.linalg.norm(a - b) < allowed, (self.settings, self.lanes, self.data)
        for a, b in zip(self.state.last_weights(), before, strict=True):
            assert a.tobytes() == b.tobytes()

    @rule(isa=st.sampled_from((None, *ISAS)))
    def measures(self, isa: str | None) -> None:
        """With and without a copy of the weights: the same bits."""
        coef, intercept, loss, size = self.made_run(isa).measure()
        unread = self.made_run(isa).measure_unread()
        assert unread[-1]
        assert (unread[1].tobytes(), unread[2]) == (loss.tobytes(), size)
        of_run = coef, intercept, unread[0]
        of_state = *self.state.last_weights(), self.state.weights(self.settings)[1]
        for a, b in zip(of_run, of_state, strict=True):
            allowed = (
                {"rtol": 1e-5, "atol": 1e-6 * float(np.abs(b).max())} if isa else {"rtol": 0.0}
            )
            np.testing.assert_allclose(a, b, **allowed)
        sizes = np.linalg.norm(coef.astype(np.float64), axis=1)
        np.testing.assert_allclose(size, sizes.mean(), rtol=1e-6, atol=1e-300)

    @rule()
    def read(self) -> None:
        self.state.weights(self.settings)
        self.state.last_weights()

    @rule(error=st.sampled_from((ValueError, KeyboardInterrupt, MemoryError)))
    def a_schedule_raises(self, error: type[BaseException]) -> None:
        """In a copy: what was there before is as it was."""

        def rate(step: int, epoch: float) -> float:
            raise error("in the schedule")

        raising = copy.copy(self.settings)
        object.__setattr__(
            raising, "schedule", schedule_of("callable").__class__("callable", function=rate)
        )
        state = self.state.copy()
        try:
            _core.Run(self.data, self.lanes, raising, state).advance(10**9)
        except error:
            return
        assert not state.active.any() or not self.lanes.k, "the schedule was not asked"

    @invariant()
    def equal(self) -> None:
        if not hasattr(self, "twin"):
            return
        gap = difference(self.state, self.twin, self.settings)
        assert gap < 40.0 * TOLERANCE[self.state.dtype.type], (
            gap,
            self.settings,
            self.lanes,
            self.data,
        )
        assert np.array_equal(self.state.t, self.twin.t)


X = np.random.default_rng(0).normal(size=(40, 3))
PARTS = (X[:20], X[20:33], X[33:], X[:1])
RATES = (0.02, 0.005, 0.05)


class Estimator(RuleBasedStateMachine):
    """A regressor in any sequence of calls, and the twin, which sees the same rows."""

    @initialize(
        momentum=st.sampled_from((0.0, 0.9)),
        average=st.sampled_from((False, True, 30)),
        batch_size=st.sampled_from((1, 7, 1000)),
        sampling=st.sampled_from(SAMPLINGS),
        loss=st.sampled_from(("squared_error", "huber")),
        fit_intercept=st.booleans(),
    )
    def begin(self, momentum: float, average: Any, batch_size: int, **options: Any) -> None:
        self.model = SGDRegressor(
            learning_rate="invscaling",
            eta0=0.02,
            power_t=0.25,
            alpha=0.01,
            tol=None,
            max_iter=3,
            random_state=4,
            momentum=momentum,
            average=average,
            batch_size=batch_size,
            epsilon=0.5,
            **options,
        )
        self.twin: Any = None
        self.alpha, self.average = self.model.alpha, int(average)

    def problem(self, x: Any) -> tuple[Data, Lanes, Settings]:
        """What the estimator's parameters are in the twin's nouns."""
        model = self.model
        return (
            Data(x, x @ [1.0, -2.0, 0.5]),
            Lanes(1, alpha=model.alpha, eta0=model.eta0),
            Settings(
                loss=model.loss,
                loss_parameter=model.epsilon,
                batch_size=model.batch_size,
                optimizer=SGD(model.momentum),
                average=self.average,
                fit_intercept=model.fit_intercept,
                sampling=model.sampling,
                schedule=schedule_of("invscaling", power_t=model.power_t),
                seed=model.random_state,
            ),
        )

    def twin_epochs(self, x: Any, epochs: int) -> None:
        if self.twin is None:
            self.alpha, self.average = self.model.alpha, int(self.model.average)
            self.twin = reference.State(*self.problem(x))
        elif self.average and self.alpha != self.model.alpha:  # averages are of one problem
            self.alpha, old = self.model.alpha, self.twin
            self.average = max(int(self.model.average), int(old.t[0]) + 1)
            self.twin = reference.State(*self.problem(x))
            self.twin.set_weights(old.W.T, old.b)
            self.twin.t[:], self.twin.epoch = old.t, old.epoch
        problem = self.problem(x)
        for _ in range(epochs):
            reference.run_epoch(*problem, self.twin)

    @rule(part=st.sampled_from(range(len(PARTS))))
    def partial_fit(self, part: int) -> None:
        x = PARTS[part]
        self.model.partial_fit(x, x @ [1.0, -2.0, 0.5])
        self.twin_epochs(x, 1)

    @rule(epochs=st.integers(1, 3))
    def fit(self, epochs: int) -> None:
        self.model.set_params(max_iter=epochs).fit(X, X @ [1.0, -2.0, 0.5])
        self.twin = None
        self.twin_epochs(X, epochs)

    @rule(name=st.sampled_from(("eta0", "alpha")), value=st.sampled_from(RATES))
    def set_params(self, name: str, value: float) -> None:
        self.model.set_params(**{name: value})

    @rule(n_jobs=st.sampled_from((None, 1, 2, 3)))
    def threads(self, n_jobs: Any) -> None:
        self.model.set_params(n_jobs=n_jobs)

    @rule(make=st.sampled_from((copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)))))
    def another_model(self, make: Any) -> None:
        self.model = make(self.model)

    @rule()
    def cloned(self) -> None:
        """A clone has the parameters alone; the model goes on."""
        assert not hasattr(clone(self.model), "coef_")

    @precondition(lambda self: self.twin is not None)
    @rule(part=st.sampled_from(range(len(PARTS))))
    def predict(self, part: int) -> None:
        x = PARTS[part]
        twin = x @ self.twin.weights(self.problem(x)[2])[0][0] + self.twin_intercept()
        np.testing.assert_allclose(self.model.predict(x), twin, rtol=1e-8, atol=1e-8)

    def twin_intercept(self) -> float:
        return float(self.twin.weights(self.problem(X)[2])[1][0])

    @rule(
        how=st.sampled_from(("schedule", "nan", "shape", "scorer", "parameter")),
        partial=st.booleans(),
        error=st.sampled_from((KeyError, RecursionError, MemoryError)),
    )
    def a_call_fails(self, how: str, partial: bool, error: type[BaseException]) -> None:
        """The model is what it was: the next call and the twin agree. (Ctrl-C would keep more.)"""

        def raising(*arguments: Any) -> float:
            raise error("in the middle")

        before = self.model.get_params()
        x, y = X.copy(), X @ [1.0, -2.0, 0.5]
        more: dict[str, Any] = {}
        wanted: Any = ValueError
        if how == "schedule":
            self.model.set_params(learning_rate=raising)
            wanted = error
        elif how == "nan":
            x[3, 1] = np.nan
        elif how == "shape":
            y = y[:-1]
        elif how == "parameter":
            self.model.set_params(alpha=-1.0)
        elif partial:
            return
        else:
            self.model.set_params(scoring=raising)
            more, wanted = {"X_val": X, "y_val": y}, error
        method = self.model.partial_fit if partial else self.model.fit
        try:
            method(x, y, **more)
        except wanted:
            pass
        else:
            raise AssertionError(f"{how} was no error")
        self.model.set_params(**before)

    @invariant()
    def equal(self) -> None:
        model = getattr(self, "model", None)
        assert model is None or (self.twin is None) == (not hasattr(model, "coef_"))
        if model is None or self.twin is None:
            return
        coef, _ = self.twin.weights(self.problem(X)[2])
        np.testing.assert_allclose(model.coef_, coef[0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(model.intercept_[0], self.twin_intercept(), rtol=1e-8, atol=1e-8)
        assert model.t_ == int(self.twin.t[0]) + 1


core_calls: Target = target_of(Core)
calls: Target = target_of(Estimator)
