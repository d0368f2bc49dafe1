"""Lanes that have stopped are left out of the passes, and no number shows it."""

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from problems import DTYPES, LAYOUTS, PENALTIES, bits, lanes, prepare, schedule_of, table
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from fastsgd import DivergenceError, SGDRegressor
from fastsgd._core import Run, State
from fastsgd.optimizers import SGD
from fastsgd.problem import Settings
from fastsgd.schedules import SCHEDULES
from fastsgd.solver import compaction

K = 40
STEPS = ({}, {"optimizer": SGD(0.9)}, {"average": 5}, {"batch_size": 4}, {"clip_norm": 0.5})


@pytest.fixture
def eager(monkeypatch):
    """However little there is to save."""
    monkeypatch.setattr(compaction, "MIN_SAVED_WORK", 1)


def freeze(state, which):
    """As the solver does."""
    state.active[which] = 0.0


def same(one, other, settings):
    """All numbers are, to the bit, but for the sign of the zeros of a frozen lane."""
    for a, b in zip(bits(one, settings), bits(other, settings), strict=True):
        if a != b:
            a, b = np.frombuffer(a, dtype=one.dtype), np.frombuffer(b, dtype=one.dtype)
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("layout", "penalty", "step"), list(product(LAYOUTS, PENALTIES, STEPS)), ids=str
)
def test_no_number_shows_which_lanes_are_left_out(layout, penalty, step, eager):
    """Rows held out of lanes, a call that ends within an epoch, and lanes that stop one by one."""
    settings = Settings("log_loss", sign_targets=True, seed=3, **step)
    rng, tiles = np.random.default_rng(0), []
    of = lanes(K, "log_loss", penalty)
    of = replace(of, split=np.uint64(1) << (np.arange(K) % 3).astype(np.uint64))
    for dtype, kind in product(DTYPES, SCHEDULES):
        settings = replace(settings, schedule=schedule_of(kind, total_epochs=9.0))
        data = table().data(dtype, layout, sign=True)
        data = replace(data, held_out=rng.integers(0, 8, data.n).astype(np.uint64))
        states = [State(data, of, settings) for _ in range(2)]
        for state in states:
            prepare(state, data)
        whole = Run(data, of, settings, states[0])
        run = compaction.run_of(data, of, settings, states[1])
        for stopped in ([], rng.permutation(K)[:10], rng.permutation(K)[:30]):
            both = list(zip(states, (whole, run), strict=True))
            for state, each in both:
                freeze(state, stopped)
                state.rate_factor[::2] *= 0.5
                while state.row < 8:
                    each.advance(10**9, 8)
            same(*states, settings)
            for _, each in both:
                while not each.advance(10**9):
                    pass
            same(*states, settings)
            assert run.rate == whole.rate
            for a, b in zip(whole.measure(), run.measure(), strict=True):
                np.testing.assert_array_equal(a, b)
            whole.flush()
            run.flush()
        tiles.append(len(getattr(run, "which", range(K))) // compaction.TILE)
    waits = layout != "dense" and (penalty in ("l1", "elasticnet") or step not in STEPS[::4])
    assert set(tiles) == ({2} if waits else {1})


@pytest.mark.parametrize("rate", ("auto", "adaptive"))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_is_the_same(dtype, rate, eager, monkeypatch):
    """History, state and all; lanes stop at epochs of their own."""
    X, y = load_diabetes(return_X_y=True)
    X = scale(X).astype(dtype)
    outputs = scale(y)[:, None] * np.geomspace(0.01, 3.0, K) + X[:, :1]
    options = {"tol": 1e-3, "max_iter": 60, "random_state": 0, "learning_rate": rate, "eta0": 1e-3}
    with_all = SGDRegressor(**options)
    compacted = SGDRegressor(**options).fit(X, outputs)
    monkeypatch.setattr(compaction, "MIN_SAVED_WORK", 1 << 40)
    with_all.fit(X, outputs)
    assert compacted.n_iter_ == with_all.n_iter_
    assert len(np.unique(with_all._continuation.state.t)) > 2
    np.testing.assert_array_equal(compacted.coef_, with_all.coef_)
    for name, column in with_all.history_.items():
        if "second" not in name:
            np.testing.assert_array_equal(compacted.history_[name], column)
    states = [pickle.dumps(model._continuation.state) for model in (compacted, with_all)]
    assert states[0] == states[1]


def test_a_divergence_among_the_lanes_that_are_left(eager):
    data = table().data(np.float64, "dense", sign=False)
    of = replace(lanes(K, "squared_error"), eta0=np.where(np.arange(K) == 35, 1e3, 0.01))
    settings = Settings("squared_error")
    state = State(data, of, settings)
    freeze(state, slice(0, 20))
    run = compaction.run_of(data, of, settings, state)
    with pytest.raises(DivergenceError):
        for _ in range(200):
            run.advance(10**9)
    assert 0 <= run.bad_row < data.n
    bad = ~np.isfinite(state.last_weights()[0]).all(axis=1) | ~np.isfinite(state.loss_sum)
    bad |= np.abs(state.last_weights()[0]).max(axis=1) > 1e100
    np.testing.assert_array_equal(np.flatnonzero(bad), [35])


def test_states_that_take_no_lanes():
    data = table().data(np.float64, "csr32", sign=False)
    of, one = lanes(3, "squared_error"), lanes(1, "squared_error")
    plain, slow = Settings(), Settings(optimizer=SGD(0.9))
    several = State(data, of, plain)
    for other in (State(data, one, plain), State(data, of, slow)):
        with pytest.raises(ValueError, match="put needs two states of several lanes"):
            several.put(other, [0], [0])
        with pytest.raises(ValueError, match="put needs two states of several lanes"):
            other.put(several, [0], [0])
