"""Optimizers: AdaGrad against its formula, absent features that catch up, and the estimators."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from problems import DTYPES, TOLERANCE, bits, difference, lanes, train_core, train_twin
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import EfficiencyWarning

import fastsgd
from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, _core, reference, solver
from fastsgd.optimizers import OPTIMIZERS, SGD, AdaGrad, shrunk
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule

PENALTIES = {"none": (0.0, 0.0), "l2": (0.1, 0.0), "l1": (0.0, 0.02), "both": (0.1, 0.02)}


def by_hand(X, y, *, alpha, l1, eta0, epochs, initial=0.0):
    """AdaGrad for squared errors, number by number, in storage order; rate eta0 / sqrt(t)."""
    n, d = X.shape
    w, squares, b, square_b, t = [0.0] * d, [initial] * d, 0.0, initial, 0
    for _ in range(epochs):
        for i in range(n):
            t += 1
            eta, c = eta0 / t**0.5, sum(X[i, j] * w[j] for j in range(d)) + b - y[i]
            for j in range(d):
                g = c * X[i, j]
                squares[j] += g * g
                if squares[j] == 0.0:
                    continue
                time = eta / squares[j] ** 0.5
                w[j] -= time * g
                size, sign = abs(w[j]), 1.0 if w[j] > 0.0 else -1.0
                if alpha > 0.0:
                    held = (size + l1 / alpha) * np.exp(-alpha * time) - l1 / alpha
                else:
                    held = size - l1 * time
                w[j] = sign * max(0.0, held)
            square_b += c * c
            b -= eta * c / square_b**0.5
    return np.array(w), b


def sparse_table(n=60, d=40, density=0.15, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < density)
    return X, X @ rng.normal(size=d) + 0.1 * rng.normal(size=n)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("layout", (np.array, sp.csr_array))
@pytest.mark.parametrize("initial", (0.0, 0.3))
def test_adagrad_is_its_formula(penalty, layout, initial):
    X, y = sparse_table()
    alpha, l1 = PENALTIES[penalty]
    w, b = by_hand(X, y, alpha=alpha, l1=l1, eta0=0.3, epochs=3, initial=initial)
    assert penalty in ("none", "l2") or (w == 0.0).any()
    schedule = Schedule("invscaling", power_t=0.5)
    optimizer = AdaGrad(initial_accumulator=initial)
    settings = Settings(optimizer=optimizer, sampling="sequential", schedule=schedule)
    data, of = Data(layout(X), y), Lanes(1, alpha=alpha, l1=l1, eta0=0.3)
    for state in (train_twin(data, of, settings), train_core(data, of, settings)):
        coef, intercept = state.weights(settings)
        np.testing.assert_allclose(coef[0], w, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(intercept, b, rtol=1e-11)


def test_penalties_are_the_flow_of_their_gradient():
    """Where many short proximal steps lead: shrink by L2, then truncate by L1."""
    w, steps = np.array([2.0, -1.0, 0.05, 0.0]), 100_000
    for alpha, l1, time in ((0.5, 0.0, 1.5), (0.5, 0.2, 1.5), (0.0, 0.2, 1.5)):
        one, by = w.copy(), time / steps
        for _ in range(steps):
            one = one / (1.0 + alpha * by)
            one = np.sign(one) * np.maximum(0.0, np.abs(one) - l1 * by)
        np.testing.assert_allclose(shrunk(w, np.full(4, time), alpha, l1), one, atol=1e-5)
        if l1:
            assert one[2] == 0.0


@given(
    st.floats(-10.0, 10.0),
    st.lists(st.floats(0.0, 5.0), min_size=2, max_size=6),
    st.sampled_from((0.0, 1e-12, 1e-3, 2.0)),
    st.sampled_from((0.0, 1e-6, 0.3)),
)
@hypothesis_settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_times_add_up(w, times, alpha, l1):
    """One step of the sum of the times is the steps one after the other."""
    one = by_parts = np.array([w])
    for time in times:
        by_parts = shrunk(by_parts, np.array([time]), alpha, l1)
    one = shrunk(one, np.array([sum(times)]), alpha, l1)
    np.testing.assert_allclose(one, by_parts, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("k", (1, 3, 19))
@pytest.mark.parametrize("batch_size", (1, 7))
@pytest.mark.parametrize("penalty", PENALTIES)
def test_absent_features_catch_up_exactly(k, batch_size, penalty):
    """600 features of which a row has five, through several flushes: CSR is dense is the twin."""
    rng = np.random.default_rng(k)
    n, d = 150, 600
    X = np.zeros((n, d))
    for row in X:
        row[rng.choice(d, 5, replace=False) // rng.choice((1, 50), 5)] = rng.normal(size=5)
    alpha, l1 = PENALTIES[penalty]
    strength = np.linspace(0.5, 1.0, k)
    of = Lanes(k, alpha=alpha * strength, l1=l1 * strength, eta0=0.2 * strength)
    settings = Settings(optimizer=AdaGrad(), batch_size=batch_size, seed=3)
    data = [Data(layout(X), rng.permutation(n) / n) for layout in (np.array, sp.csr_array)]
    data[1] = replace(data[1], y=data[0].y)
    twin = train_twin(data[0], of, settings, prepared=True)
    for examples in data:
        core = train_core(examples, of, settings, prepared=True)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    waits = alpha + l1 > 0.0
    assert (core.pending > 0) == waits
    if waits:
        state = core.copy()
        _core.Run(data[1], of, settings, state).flush()
        assert state.pending == 0
        for a, b in zip(state.last_weights(), core.last_weights(), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("k", (1, 5))
@pytest.mark.parametrize("average", (0, 4))
def test_values_of_one_feature_are_added_before_they_are_squared(k, average):
    """A CSR row that has a feature twice, in any order."""
    rng = np.random.default_rng(0)
    n, d = 30, 8
    indices = rng.integers(0, d, (n, 6))
    values = rng.normal(size=(n, 6))
    X = sp.csr_array((values.ravel(), indices.ravel(), np.arange(0, 6 * n + 1, 6)), shape=(n, d))
    assert not X.has_canonical_format
    y = rng.normal(size=n)
    for batch_size in (1, 4):
        for alpha in (0.0, 0.1):
            of = Lanes(k, alpha=alpha, eta0=np.linspace(0.1, 0.2, k))
            settings = Settings(optimizer=AdaGrad(), batch_size=batch_size, average=average)
            twin = train_twin(Data(X.toarray(), y), of, settings)
            core = train_core(Data(X, y), of, settings)
            assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("k", (1, 6))
@pytest.mark.parametrize("batch_size", (1, 8))
def test_a_step_on_csr_leaves_absent_features_alone(k, batch_size):
    """O(non-zeros): after 60 steps on ten of 1,000 features the others' numbers are untouched."""
    rng = np.random.default_rng(0)
    n, d = 60, 1000
    X = np.zeros((n, d))
    X[:, :10] = rng.normal(size=(n, 10))
    data, of = Data(sp.csr_array(X), rng.normal(size=n)), Lanes(k, alpha=0.1, l1=0.01, eta0=0.1)
    settings = Settings(optimizer=AdaGrad(), batch_size=batch_size)
    state = solver.State(data, of, settings)
    state.set_weights(np.ones((k, d)), np.zeros(k))
    before = state.__getstate__()["arrays"]
    solver.run_epoch(data, of, settings, state)
    after = state.__getstate__()["arrays"]
    late = (slice(None), slice(10, d)) if k == 1 else slice(10, d)
    early = (slice(None), slice(10)) if k == 1 else slice(10)
    assert np.array_equal(after["w"][late], before["w"][late])
    assert not np.array_equal(after["w"][early], before["w"][early])
    assert not after["last_update"][10:].any()
    assert state.pending == -(-n // batch_size)


@pytest.mark.parametrize("k", (1, 3))
def test_steps_wait_with_the_strengths_they_were_taken_with(k):
    """Another alpha is for steps to come, though features that wait see it later."""
    X, y = sparse_table(d=300, density=0.02)
    data, settings = Data(sp.csr_array(X), y), Settings(optimizer=AdaGrad())
    first = Lanes(k, alpha=0.5, eta0=np.full(k, 0.3))
    second = replace(first, alpha=np.full(k, 1e-3), l1=np.full(k, 0.1))
    twin, core = reference.State(data, first, settings), solver.State(data, first, settings)
    for state in (twin, core):
        state.set_weights(np.ones((k, 300)), np.zeros(k))
    for of in (first, second, replace(second, alpha=np.zeros(k), l1=np.zeros(k)), first):
        reference.run_epoch(data, of, settings, twin)
        solver.run_epoch(data, of, settings, core)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_unit_of_the_loss_does_not_matter(dtype):
    """From squares of 0, weights of rows times a power of two give the same weights, to the bit."""
    X, y = sparse_table()
    settings = Settings("log_loss", sign_targets=True, optimizer=AdaGrad())
    of = Lanes(1, alpha=0.0, eta0=0.1)
    X, y = X.astype(dtype), (y > 0.0).astype(dtype)
    one, other = (Data(X, y, np.full(len(y), 2.0**p)) for p in (0, -20))
    models = [train_core(data, of, settings).weights(settings) for data in (one, other)]
    for a, b in zip(*models, strict=True):
        assert np.array_equal(a, b)
        assert a.any()


@pytest.mark.parametrize("layout", (np.array, sp.csr_array))
def test_squares_that_overflow_are_a_divergence(layout):
    X = np.ones((4, 3), dtype=np.float32)
    data = Data(layout(X), np.full(4, 1e25, dtype=np.float32))
    settings, of = Settings("squared_error", optimizer=AdaGrad()), Lanes(1, alpha=0.0, eta0=0.1)
    with pytest.raises(fastsgd.DivergenceError):
        train_core(data, of, settings)


@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("average", (0, 5))
def test_weights_that_are_set_keep_the_squares(k, average):
    """Going on from other weights does not forget how steep the features are."""
    X, y = sparse_table()
    settings = Settings(optimizer=AdaGrad(), average=average)
    data, of = Data(X, np.column_stack((y, -y))), lanes(k, "squared_error")
    twin, core = train_twin(data, of, settings), train_core(data, of, settings)
    for state in (twin, core):
        state.set_weights(np.ones((k, X.shape[1])), np.zeros(k))
        state.t[:] = 0
    for _ in range(2):
        reference.run_epoch(data, of, settings, twin)
        solver.run_epoch(data, of, settings, core)
    assert difference(core, twin, settings) < TOLERANCE[np.float64]
    fresh = solver.State(data, of, settings)
    fresh.set_weights(np.ones((k, X.shape[1])), np.zeros(k))
    for _ in range(2):
        solver.run_epoch(data, of, settings, fresh)
    assert difference(fresh, twin, settings) > 1e-3


def test_a_state_is_of_one_optimizer():
    X, y = sparse_table()
    data, of = Data(X, y), Lanes(1, alpha=0.0, l1=0.1, eta0=0.1)  # as many vectors either way
    one, other = Settings(), Settings(optimizer=AdaGrad())
    with pytest.raises(ValueError, match="state does not fit"):
        _core.Run(data, of, one, solver.State(data, of, other))
    with pytest.raises(ValueError, match="optimizer must be an Optimizer"):
        Settings(optimizer="adagrad")


@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("average", (0, 5))
def test_a_saved_state_goes_on(k, average):
    X, y = sparse_table(d=300, density=0.02)
    data = Data(sp.csr_array(X), np.column_stack((y, -y)))
    of = lanes(k, "squared_error", "elasticnet")
    settings = Settings(optimizer=AdaGrad(), average=average, batch_size=3)
    state = solver.State(data, of, settings)
    solver.run_epoch(data, of, settings, state, batches=7)
    loaded = pickle.loads(pickle.dumps(state))
    for one in (state, loaded):
        while one.epoch < 2:
            solver.run_epoch(data, of, settings, one)
    assert bits(loaded, settings) == bits(state, settings)


@pytest.mark.parametrize("change", ({"optimizer": "sgd"}, {"optimizer": "adam"}, {"optimizer": 1}))
def test_a_saved_state_of_another_optimizer_is_refused(change):
    X, y = sparse_table()
    data, of = Data(sp.csr_array(X), y), lanes(1, "squared_error")
    saved = solver.State(data, of, Settings(optimizer=AdaGrad())).__getstate__()
    with pytest.raises(ValueError, match="a saved state"):
        solver.State.__new__(solver.State).__setstate__({**saved, **change})


@pytest.mark.parametrize("value", (-1.0, np.inf, np.nan))
def test_accumulators_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="initial_accumulator must be >= 0 and finite"):
        AdaGrad(initial_accumulator=value)


# ---------------------------------------------------------------- estimators

CANCER = load_breast_cancer(return_X_y=True)
ESTIMATORS = {
    "classifier": lambda **options: SGDClassifier("log_loss", **options),
    "regressor": lambda **options: SGDRegressor(**options),
    "one class": lambda **options: SGDOneClassSVM(nu=0.1, **options),
}


def cancer(kind, layout=np.array):
    X, y = CANCER
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return layout(X), (None if kind == "one class" else y)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("layout", (np.array, sp.csr_array))
@pytest.mark.parametrize("average", (False, True))
def test_partial_fit_is_fit(kind, layout, average):
    X, y = cancer(kind, layout)
    options = {"optimizer": "adagrad", "random_state": 0, "average": average, "eta0": 0.1}
    options |= {"learning_rate": "constant", "tol": None, "max_iter": 3, "batch_size": 4}
    whole, parts = ESTIMATORS[kind](**options).fit(X, y), ESTIMATORS[kind](**options)
    first = {"classes": np.unique(y)} if kind == "classifier" else {}
    for i in range(3):
        parts.partial_fit(X, y, **(first if i == 0 else {}))
    attributes = ("coef_", "offset_") if kind == "one class" else ("coef_", "intercept_")
    for name in attributes:
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    resumed = ESTIMATORS[kind](**{**options, "max_iter": 1}).fit(X, y)
    resumed = pickle.loads(pickle.dumps(resumed)).set_params(max_iter=2).fit(X, y, resume=True)
    assert np.array_equal(resumed.coef_, whole.coef_)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_optimizer_is_a_name_or_an_object(kind):
    X, y = cancer(kind)
    options = {"random_state": 0, "max_iter": 3, "tol": None}

    def coef(**other):
        return clone(ESTIMATORS[kind](**options, **other)).fit(X, y).coef_

    assert np.array_equal(coef(optimizer="adagrad"), coef(optimizer=AdaGrad()))
    assert not np.array_equal(coef(optimizer="adagrad"), coef(optimizer=AdaGrad(10.0)))
    assert np.array_equal(coef(momentum=0.5), coef(optimizer=SGD(0.5)))
    assert not np.array_equal(coef(), coef(optimizer="adagrad"))
    for name, optimizer in OPTIMIZERS.items():
        assert np.array_equal(coef(optimizer=name), coef(optimizer=optimizer()))


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("optimizer", ("adagrad", AdaGrad(), SGD(0.5)))
@pytest.mark.parametrize("other", ({"momentum": 0.5}, {"nesterov": True}))
def test_momentum_belongs_to_sgd(kind, optimizer, other):
    X, y = cancer(kind)
    with pytest.raises(ValueError, match="momentum and nesterov are for optimizer='sgd'"):
        ESTIMATORS[kind](optimizer=optimizer, **other).fit(X, y)


def test_passive_aggressive_steps_are_of_sgd():
    X, y = cancer("classifier")
    with pytest.raises(ValueError, match=r"step='pa1' needs .* SGD without .*AdaGrad"):
        SGDClassifier("hinge", learning_rate="pa1", optimizer="adagrad").fit(X, y)


def test_another_optimizer_takes_the_weights_along():
    X, y = cancer("classifier")
    model = SGDClassifier("log_loss", random_state=0, eta0=1e-12, learning_rate="constant")
    model.partial_fit(X, y, classes=[0, 1])
    before, t = model.coef_.copy(), model.t_
    model.set_params(optimizer="adagrad").partial_fit(X, y)
    assert model.t_ == 2 * t - 1
    np.testing.assert_allclose(model.coef_, before, atol=1e-8)
    assert not np.array_equal(model.coef_, before)


def test_averaged_and_penalised_on_csr_warns_of_its_cost():
    X = sp.random_array((50, 2000), density=0.005, rng=np.random.default_rng(0), format="csr")
    y = np.arange(50) % 2
    options = {"optimizer": "adagrad", "max_iter": 1, "tol": None}
    with pytest.warns(EfficiencyWarning, match="averaging and optimizer='adagrad'"):
        SGDClassifier("log_loss", average=True, **options).fit(X, y)
    SGDClassifier("log_loss", average=True, penalty=None, **options).fit(X, y)
    SGDClassifier("log_loss", penalty="elasticnet", **options).fit(X, y)


@pytest.mark.parametrize("unit", (1e-6, 1.0, 1e6))
def test_auto_finds_a_rate_whatever_the_units(unit):
    """Features of very different scales, and targets of any: R^2 of 0.9 in a few epochs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 10))
    y = unit * (X @ rng.normal(size=10) + 0.1 * rng.normal(size=2000))
    model = SGDRegressor(optimizer="adagrad", alpha=1e-8, max_iter=5, tol=None, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.9
    assert "AdaGrad" in str(model.result_)
