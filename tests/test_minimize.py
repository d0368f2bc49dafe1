"""``fastsgd.minimize``: a user's own model, against the twin, scikit-learn and itself in parts."""

import copy
import ctypes
import itertools
import pickle
import re
import shutil
import signal
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import LowLevelCallable
from scipy.optimize import OptimizeResult
from sklearn.neural_network import MLPClassifier

from fastsgd import DivergenceError, SGDRegressor, minimize, sampling, schedules
from fastsgd.descent import VectorDescent
from fastsgd.insight import gradient_noise, row_gradient_noise
from fastsgd.minimization import CompiledGradient, vector_steps
from fastsgd.minimization import run as runs
from fastsgd.minimization.compiled_gradient import SIGNATURE
from fastsgd.network import Network
from fastsgd.optimizers import SGD, AdaGrad, Adam
from fastsgd.problem import Data
from fastsgd.reference import network as twin

OPTIMIZERS = {
    "plain": SGD(),
    "momentum": SGD(0.9),
    "nesterov": SGD(0.9, nesterov=True),
    "adam": Adam(),
    "adagrad": AdaGrad(0.1),
}
SCHEDULES = {
    "constant": schedules.constant(),
    "warm-up": schedules.constant(warmup_steps=9),
    "inverse": schedules.inverse(0.5),
    "invscaling": schedules.invscaling(),
    "cosine": schedules.cosine(),
    "one_cycle": schedules.one_cycle(4.0),
    "user": lambda t, e: 0.05 / (1.0 + t + e),
}


DETERMINED = ("epoch", "loss", "learning_rate", "gradient_norm", "parameter_norm")
"""Columns of the history that are not times."""


class Squares:
    """Least squares of random rows: a gradient that counts its calls."""

    def __init__(self, n=50, p=6, seed=0, dtype=np.float64):
        rng = np.random.default_rng(seed)
        self.X, self.n, self.calls = rng.normal(size=(n, p)).astype(dtype), n, 0
        self.y = self.X @ np.linspace(-1.0, 1.0, p, dtype=dtype)
        self.start = rng.normal(size=p).astype(dtype)

    def __call__(self, theta, rows):
        self.calls += 1
        X = self.X[rows]
        residual = X @ theta - self.y[rows]
        return 0.5 * np.mean(residual**2), X.T @ residual / len(rows)


def twin_of(squares, descent, alpha, epochs, horizon):
    """The same run by the twin's step."""
    state = twin.State(len(squares.start), descent)
    state.theta = squares.start.astype(np.float64)
    alpha = np.broadcast_to(np.asarray(alpha, float), state.theta.shape)
    n, size = squares.n, min(descent.batch_size, squares.n)
    for epoch in range(epochs):
        order = sampling.order(descent.sampling, n, descent.seed, epoch)
        for at, row in enumerate(range(0, n, size)):
            _, g = squares(state.theta, order[row : row + size])
            twin.step(state, g, alpha, descent, epoch + at / -(-n // size))
    return state


CASES = covering(
    {
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "alpha": (0.0, 0.03, 40.0, "vector"),
        "average": (False, True, 7, 0.5),
        "clip_norm": (None, 0.5),
        "sampling": sampling.SAMPLINGS,
        "batch_size": (1, 8, 50, 64),
        "chunk": (2, 16384),
    }
)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "alpha", "average", "clip_norm", "sampling", "batch_size", "chunk"),
    values_of(CASES),
)
def test_steps_are_the_twins_to_the_bit(
    optimizer, schedule, alpha, average, clip_norm, sampling, batch_size, chunk, monkeypatch
):
    monkeypatch.setattr(vector_steps, "CHUNK", chunk)
    squares = Squares()
    how, rates = OPTIMIZERS[optimizer], SCHEDULES[schedule]
    alpha = np.linspace(0.0, 0.1, 6) if alpha == "vector" else alpha
    options = {"eta0": 0.02, "mu": 0.3, "batch_size": batch_size, "sampling": sampling}
    result = minimize(
        squares,
        squares.start,
        50,
        optimizer=how,
        learning_rate=rates,
        alpha=alpha,
        average=average,
        clip_norm=clip_norm,
        max_iter=3,
        tol=None,
        random_state=11,
        **options,
    )
    if callable(rates):
        rates = schedules.Schedule("callable", function=rates)
    elif rates.total_epochs is None:
        rates = replace(rates, total_epochs=3.0)
    updates = 3 * -(-50 // batch_size)
    start = {False: 0, True: 1, 7: 7, 0.5: 1 + updates // 2}[average]
    descent = VectorDescent(
        optimizer=how,
        schedule=rates,
        average=start,
        clip_norm=clip_norm or np.inf,
        seed=11,
        **options,
    )
    expected = twin_of(squares, descent, alpha, 3, 3.0)
    np.testing.assert_array_equal(result.state.theta, expected.theta)
    np.testing.assert_array_equal(result.x, expected.model(descent))
    for name, slot in expected.slots.items():
        np.testing.assert_array_equal(result.state.slots[name], slot)
    assert (result.nit, result.nfev, result.status) == (3, expected.t, 2)


# ------------------------------------------------------------------ a network in NumPy


def network_of(X, Y, alpha):
    """A network with a hidden layer of tanh and a softmax: loss and gradient of rows."""

    def gradient(theta, rows):
        (W1, b1), (W2, b2) = theta
        x, y, m = X[rows], Y[rows], len(rows)
        a = np.tanh(x @ W1 + b1)
        z = a @ W2 + b2
        z = z - z.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(z).sum(axis=1, keepdims=True))
        delta = (np.exp(z - log_sum) - y) / m
        back = (delta @ W2.T) * (1.0 - a**2)
        penalty = 0.5 * alpha / m * ((W1**2).sum() + (W2**2).sum())
        loss = float(((log_sum - z) * y).sum() / m + penalty)
        hidden = (x.T @ back + alpha / m * W1, back.sum(axis=0))
        return loss, [hidden, (a.T @ delta + alpha / m * W2, delta.sum(axis=0))]

    return gradient


@pytest.mark.parametrize("gathered", (0, 16384))
@pytest.mark.parametrize("name", ("plain", "nesterov", "adam"))
def test_a_network_in_numpy_is_the_twins_and_scikit_learns(name, gathered, monkeypatch):
    monkeypatch.setattr(runs, "GATHERED", gathered)
    rng, how = np.random.default_rng(0), OPTIMIZERS[name]
    X, labels = rng.normal(size=(53, 5)), rng.integers(0, 3, 53)
    network = Network((5, 7, 3), "tanh", "softmax", alpha=0.3)
    options = {
        "hidden_layer_sizes": (7,),
        "activation": "tanh",
        "solver": "adam" if name == "adam" else "sgd",
        "momentum": getattr(how, "momentum", 0.9),
        "nesterovs_momentum": name == "nesterov",
        "alpha": 0.3,
        "batch_size": 10,
        "learning_rate_init": 0.01,
        "shuffle": False,
        "random_state": 1,
        "tol": 0.0,
        "n_iter_no_change": 100,
    }
    with pytest.warns(match="Maximum iterations"):
        begun = MLPClassifier(**options | {"learning_rate_init": 1e-300, "max_iter": 1})
        begun.fit(X, labels)
        peer = MLPClassifier(**options, max_iter=4).fit(X, labels)
    start = list(zip(begun.coefs_, begun.intercepts_, strict=True))
    before = copy.deepcopy(start)
    gradient = network_of(X, np.eye(3)[labels], 0.3)
    same = {"batch_size": 10, "optimizer": how, "eta0": 0.01, "sampling": "sequential"}
    result = minimize(gradient, start, 53, max_iter=4, tol=None, **same)
    descent = VectorDescent(**same)
    state = twin.State(network.length(), descent)
    state.theta = network.pack(begun.coefs_, begun.intercepts_, np.float64)
    losses = []
    for _ in range(4):
        twin.run_epoch(Data(X, labels[:, None].astype(float)), network, descent, state)
        losses.append(state.objective_sum / state.row_count)
    np.testing.assert_allclose(result.state.theta, state.theta, rtol=0, atol=1e-14)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-13)
    np.testing.assert_allclose(result.history["loss"], peer.loss_curve_, rtol=1e-12)
    for (W, b), coef, intercept in zip(result.x, peer.coefs_, peer.intercepts_, strict=True):
        np.testing.assert_allclose(W, coef, rtol=0, atol=1e-13)
        np.testing.assert_allclose(b, intercept, rtol=0, atol=1e-13)
    assert isinstance(result.x, list)
    assert isinstance(result.x[0], tuple)
    for pair, was in zip(start, before, strict=True):
        np.testing.assert_array_equal(pair[0], was[0])


# ------------------------------------------------------------------ parts, pickles, Ctrl-C

CUTS = covering(
    {
        "optimizer": OPTIMIZERS,
        "average": (False, 0.4),
        "schedule": ("constant", "cosine", "invscaling"),
        "tol": (None, 1e-3),
        "sampling": sampling.SAMPLINGS,
    }
)


@pytest.mark.parametrize(("optimizer", "average", "schedule", "tol", "sampling"), values_of(CUTS))
def test_parts_have_the_bits_of_the_whole(optimizer, average, schedule, tol, sampling):
    """One call, calls of an epoch with pickles between, and a call that is interrupted."""
    squares = Squares()
    options = {
        "optimizer": OPTIMIZERS[optimizer],
        "average": average,
        "tol": tol,
        "sampling": sampling,
        "n": 50,
        "batch_size": 7,
        "learning_rate": SCHEDULES[schedule],
        "random_state": 3,
    }
    whole = minimize(squares, squares.start, max_iter=9, **options)
    with pytest.raises(KeyboardInterrupt) as caught:
        minimize(Interrupted(squares, at=20), squares.start, max_iter=9, **options)
    stopped = caught.value.result
    assert (stopped.nfev, stopped.status, stopped.success) == (20, 98, False)
    assert stopped.state.row == 4 * 7
    state = pickle.loads(pickle.dumps(stopped)).state
    while state.epoch < whole.nit:
        part = minimize(squares, None, max_iter=1, state=state, **options)
        state = pickle.loads(pickle.dumps(part.state))
    assert_same(part, whole)


class Interrupted:
    """A gradient in the middle of which Ctrl-C comes."""

    def __init__(self, gradient, at):
        self.gradient, self.left = gradient, at

    def __call__(self, theta, rows):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.gradient(theta, rows)


def assert_same(one, other):
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.state.theta, other.state.theta)
    np.testing.assert_array_equal(one.state.counts, other.state.counts)
    for name in DETERMINED:
        assert one.history[name] == other.history[name]


def test_a_result_can_be_continued_twice():
    squares = Squares()
    first = minimize(squares, squares.start, 50, max_iter=2, tol=None, random_state=0)
    x = first.x.copy()
    parts = [minimize(squares, x * 0, 50, max_iter=2, tol=None, state=first) for _ in range(2)]
    assert_same(*parts)
    np.testing.assert_array_equal(first.x, x)
    assert (first.nit, parts[0].nit, len(first.history["loss"])) == (2, 4, 2)
    first.x[:] = np.nan
    again = minimize(squares, None, 50, max_iter=2, tol=None, state=first)
    assert_same(again, parts[0])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # within gc
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_signal_finds_a_step_done_or_not_begun(optimizer, monkeypatch):
    """Ctrl-C at whatever instruction: the run that goes on has the bits of one undisturbed."""
    monkeypatch.setattr(vector_steps, "CHUNK", 2)  # so that most of the time is in steps
    squares, how = Squares(n=8), OPTIMIZERS[optimizer]
    options = {"optimizer": how, "batch_size": 2, "tol": None, "average": 5, "random_state": 0}
    options["eta0"] = 0.01
    epochs, state, interrupts = 40, None, 0
    whole = minimize(squares, squares.start, 8, max_iter=epochs, **options)

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    random, errors = np.random.default_rng(1), np.geterr()
    try:
        while state is None or state.epoch < epochs:
            done = 0 if state is None else state.epoch
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 3e-3))
                state = minimize(
                    squares, squares.start, 8, max_iter=epochs - done, state=state, **options
                ).state
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt as stop:
                interrupts += 1
                if hasattr(stop, "result"):  # else it came before the run, or after it
                    state = stop.result.state
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupts > 0
    assert np.geterr() == errors
    np.testing.assert_array_equal(state.theta, whole.state.theta)
    np.testing.assert_array_equal(state.average, whole.state.average)
    np.testing.assert_array_equal(state.counts, whole.state.counts)
    assert {len(column) for column in state.history.values()} == {epochs}
    for name in DETERMINED:
        assert state.history[name] == whole.history[name]


def test_an_interrupt_between_the_last_step_and_the_end_of_an_epoch(monkeypatch):
    squares = Squares()
    options = {"n": 50, "batch_size": 7, "learning_rate": "cosine", "tol": None, "random_state": 0}
    whole = minimize(squares, squares.start, max_iter=3, **options)
    end, left = runs.Run.end_epoch, iter([True])

    def interrupted(run):
        if run.state.epoch == 1 and next(left, False):
            raise KeyboardInterrupt
        return end(run)

    monkeypatch.setattr(runs.Run, "end_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        minimize(squares, squares.start, max_iter=3, **options)
    assert caught.value.result.state.row == 50
    assert_same(minimize(squares, None, max_iter=2, state=caught.value.result, **options), whole)


# ------------------------------------------------------------------ stopping, callbacks, output


def test_the_rule_of_the_tolerance():
    """As estimators have it: epochs in a row that are not below the best by tol."""
    losses = iter([9.0, 5.0, 4.95, 4.93, 4.0, 4.0, 3.95, 3.99, 1.0])
    result = minimize(
        lambda theta, rows: (next(losses), np.zeros(1)),
        np.ones(1),
        3,
        batch_size=3,
        tol=0.1,
        n_iter_no_change=3,
    )
    assert (result.nit, result.status, result.success) == (8, 0, True)
    assert result.fun == 3.99
    more = minimize(lambda *_: (7.0, np.zeros(1)), None, 3, n_iter_no_change=2, state=result)
    assert more.nit == 8 + 3, "who goes on means to: the watch begins anew"
    few = minimize(lambda *_: (7.0, np.zeros(1)), np.ones(1), 3, max_iter=2)
    assert (few.status, few.success) == (1, False)


def test_callbacks_see_the_epoch_and_end_the_run():
    squares, seen = Squares(), []

    def callback(progress):
        seen.append((progress.epoch, progress.loss, progress.x, progress.state.epoch))
        assert not progress.theta.flags.writeable
        assert progress.history["loss"][-1] == progress.loss
        return progress.epoch == 4

    result = minimize(squares, squares.start, 50, callback=[callback, lambda _: None], tol=None)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3, 4]
    assert (result.status, result.success, result.nit) == (99, False, 4)
    np.testing.assert_array_equal(seen[-1][2], result.x)

    def stop(progress):
        raise StopIteration

    assert minimize(squares, squares.start, 50, callback=stop).nit == 1


def test_a_checkpoint_of_a_callback_goes_on():
    squares, kept = Squares(), []
    options = {"n": 50, "tol": None, "random_state": 1, "optimizer": "adam"}
    whole = minimize(
        squares,
        squares.start,
        max_iter=5,
        callback=lambda progress: kept.append(pickle.dumps(progress.state)),
        **options,
    )
    rest = minimize(squares, None, max_iter=3, state=pickle.loads(kept[1]), **options)
    assert_same(rest, whole)


def test_verbose_prints_a_line_an_epoch(capsys):
    squares = Squares()
    minimize(squares, squares.start, 50, max_iter=2, tol=None)
    assert capsys.readouterr().out == ""
    minimize(squares, squares.start, 50, max_iter=2, tol=None, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert re.match(r"epoch    1  loss \S+  rate 0.01  \|g\| \S+  \|theta\| \S+  ", lines[0])


def test_history_and_penalty():
    squares = Squares()
    alpha = np.linspace(0.0, 1.0, 6)
    first = minimize(squares, squares.start, 50, max_iter=1, tol=None, random_state=0)
    second = minimize(squares, squares.start, 50, max_iter=1, alpha=alpha, eta0=1e-300, tol=None)
    rows, theta = np.arange(50), squares.start
    np.testing.assert_allclose(
        second.fun, squares(theta, rows)[0] + 0.5 * alpha @ theta**2, rtol=1e-14
    )
    order = sampling.order("reshuffle", 50, 0, 0)
    np.testing.assert_allclose(
        first.history["gradient_norm"], np.linalg.norm(squares(theta, order[:32])[1]), rtol=1e-14
    )
    np.testing.assert_allclose(first.history["parameter_norm"], np.linalg.norm(first.x), rtol=1e-14)
    assert first.history["learning_rate"] == [0.01]


# ------------------------------------------------------------------ types and structures


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_stays_float32(optimizer):
    seen = set()
    single, double = Squares(dtype=np.float32), Squares()
    double.X, double.y = single.X.astype(float), single.y.astype(float)

    def gradient(theta, rows):
        seen.add(theta.dtype)
        return single(theta, rows)

    options = {"optimizer": OPTIMIZERS[optimizer], "max_iter": 5, "random_state": 0, "tol": None}
    options |= {"alpha": 0.01, "average": 10, "clip_norm": 1.0}
    result = minimize(gradient, single.start, 50, **options)
    assert seen == {np.dtype(np.float32)}
    assert result.x.dtype == result.state.average.dtype == np.float32
    assert all(slot.dtype == np.float32 for slot in result.state.slots.values())
    wide = minimize(double, single.start.astype(float), 50, **options)
    np.testing.assert_allclose(result.x, wide.x, atol=2e-6)
    exact = minimize(lambda *at: double(*at), single.start, 50, **options)  # a float64 gradient
    assert exact.x.dtype == np.float32
    np.testing.assert_allclose(exact.x, wide.x, atol=2e-6)


@given(
    st.recursive(
        st.lists(st.integers(0, 3), max_size=3).map(lambda shape: np.ones(shape)),
        lambda part: (
            st.lists(part, min_size=1, max_size=3)
            | st.lists(part, min_size=1, max_size=3).map(tuple)
            | st.dictionaries(st.sampled_from("abc"), part, min_size=1)
        ),
        max_leaves=5,
    ),
    st.sampled_from(sorted(OPTIMIZERS)),
    st.sampled_from((0, 16384)),
)
@settings(max_examples=60, deadline=None)
def test_structures_of_arrays_are_the_vector_of_them(tree, name, gathered):
    """Any nesting gives the numbers of one vector, and its own types back."""
    leaves = list(arrays(tree))
    size = sum(leaf.size for leaf in leaves)
    options = {"n": 20, "optimizer": OPTIMIZERS[name], "max_iter": 2, "batch_size": 3, "tol": None}
    options |= {"random_state": 0, "alpha": 0.1, "eta0": 0.1}
    if size == 0:
        with pytest.raises(ValueError, match="theta0"):
            minimize(lambda theta, rows: (0.0, theta), tree, **options)
        return
    target = np.arange(20.0)

    def of_tree(theta, rows):
        assert shape_of(theta) == shape_of(tree)
        return 1.0, mapped(lambda part: part - target[rows].mean(), theta)

    def of_vector(theta, rows):
        return 1.0, theta - target[rows].mean()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "GATHERED", gathered)
        patch.setattr(vector_steps, "CHUNK", 3)
        result = minimize(of_tree, tree, **options)
        flat = minimize(of_vector, np.ones(size), **options)
    assert shape_of(result.x) == shape_of(tree)
    parts = [part.ravel() for part in arrays(result.x)]
    np.testing.assert_array_equal(np.concatenate(parts), flat.x)
    assert all((leaf == 1.0).all() for leaf in leaves)


def arrays(tree):
    """The arrays of a structure."""
    if isinstance(tree, np.ndarray):
        yield tree
    else:
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from arrays(part)


def mapped(function, tree):
    if isinstance(tree, np.ndarray):
        return function(tree)
    if isinstance(tree, dict):
        return {key: mapped(function, tree[key]) for key in reversed(tree)}
    return type(tree)(mapped(function, part) for part in tree)


def shape_of(tree):
    """Types, keys and shapes of a structure."""
    if isinstance(tree, np.ndarray):
        return tree.shape
    if isinstance(tree, dict):
        return {key: shape_of(part) for key, part in tree.items()}
    return type(tree), [shape_of(part) for part in tree]


def test_the_users_arrays_are_left_alone():
    """Neither theta0 nor a gradient changes, nor may the user change theta or rows."""
    theta0, g = np.ones(3), np.full(3, 0.1)
    options = {"max_iter": 2, "alpha": 0.1, "clip_norm": 0.01, "tol": None}
    for optimizer in OPTIMIZERS.values():
        minimize(lambda theta, rows: (1.0, g), theta0, 10, optimizer=optimizer, **options)
    np.testing.assert_array_equal(theta0, np.ones(3))
    np.testing.assert_array_equal(g, np.full(3, 0.1))

    def writes(theta, rows):
        theta -= 1.0

    def sorts(theta, rows):
        rows.sort()

    for gradient in (writes, sorts):
        with pytest.raises(ValueError, match="read-only"):
            minimize(gradient, theta0, 10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("chunk", (3, 16384))
def test_a_gradient_may_be_theta_itself(optimizer, chunk, monkeypatch):
    monkeypatch.setattr(vector_steps, "CHUNK", chunk)
    monkeypatch.setattr(runs, "GATHERED", chunk)
    start = np.arange(1.0, 9.0)
    options = {"optimizer": OPTIMIZERS[optimizer], "max_iter": 3, "alpha": 0.1, "tol": None}
    for turn in (lambda theta: theta, lambda theta: theta[::-1]):
        of_view = minimize(lambda theta, rows: (1.0, turn(theta)), start, 64, **options)  # noqa: B023
        of_copy = minimize(lambda theta, rows: (1.0, turn(theta).copy()), start, 64, **options)  # noqa: B023
        np.testing.assert_array_equal(of_view.x, of_copy.x)


# ------------------------------------------------------------------ errors


def quadratic(theta, rows):
    return 0.5 * float(theta @ theta), theta


BAD_ARGUMENTS = [
    ("gradient", 3),
    ("theta0", None),
    ("theta0", []),
    ("theta0", {}),
    ("theta0", np.array([1.0, np.nan])),
    ("theta0", np.array([1j])),
    ("theta0", np.array(["a"])),
    ("theta0", [[1.0], [1.0, 2.0]]),
    ("theta0", sp.csr_array(np.eye(2))),
    ("theta0", np.ones(2, dtype=np.longdouble)),
    ("n", 0),
    ("n", 2.5),
    ("n", 2**32),
    ("n", True),
    ("batch_size", 0),
    ("batch_size", "32"),
    ("optimizer", "rmsprop"),
    ("optimizer", SGD),
    ("optimizer", ["sgd"]),
    ("learning_rate", "auto"),
    ("learning_rate", 0.1),
    ("eta0", 0.0),
    ("eta0", -1.0),
    ("eta0", np.nan),
    ("eta0", "0.1"),
    ("alpha", -1.0),
    ("alpha", np.inf),
    ("alpha", np.nan),
    ("alpha", np.ones(3)),
    ("alpha", np.array([1.0, -1.0])),
    ("alpha", {"a": 1.0}),
    ("max_iter", 0),
    ("tol", -1.0),
    ("n_iter_no_change", 0),
    ("average", -1),
    ("average", 1.5),
    ("average", "yes"),
    ("clip_norm", 0.0),
    ("mu", -1.0),
    ("sampling", "random"),
    ("random_state", -1),
    ("random_state", 2**64),
    ("random_state", "0"),
    ("callback", 3),
    ("callback", [3]),
    ("verbose", "yes"),
    ("state", {}),
    ("state", OptimizeResult(x=1)),
]


@pytest.mark.parametrize(("name", "value"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(name, value):
    arguments = {"gradient": quadratic, "theta0": np.ones(2), "n": 10, name: value}
    with pytest.raises(ValueError, match=name):
        minimize(**arguments)


def test_inverse_needs_mu():
    with pytest.raises(ValueError, match="mu"):
        minimize(quadratic, np.ones(2), 10, learning_rate=schedules.inverse())


BAD_ANSWERS = {
    "nothing": (None, "NoneType"),
    "loss alone": (1.0, "float"),
    "three": ((1.0, np.ones(2), 3), "tuple of 3"),
    "array": (np.ones(2), "ndarray"),
    "loss of rows": ((np.ones(3), np.ones(2)), "one number"),
    "complex loss": ((1j, np.ones(2)), "one number"),
    "text": (("1.0", np.ones(2)), "one number"),
    "shape": ((1.0, np.ones(3)), r"shape \(2,\)"),
    "column": ((1.0, np.ones((2, 1))), r"shape \(2,\)"),
    "number": ((1.0, 1.0), r"shape \(2,\)"),
    "complex": ((1.0, np.ones(2) * 1j), "real numbers"),
    "dict": ((1.0, {"a": np.ones(2)}), "real numbers"),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_bad_answers_are_named(kind):
    answer, said = BAD_ANSWERS[kind]
    with pytest.raises(ValueError, match=f"gradient.*{said}"):
        minimize(lambda theta, rows: answer, np.ones(2), 10)


@pytest.mark.parametrize(
    "g",
    [
        np.ones(2),
        {"a": np.ones(2)},
        {"a": np.ones(2), "b": (1.0,), "c": 1.0},
        {"a": np.ones(2), "b": np.ones(2)},
        {"a": np.ones(3), "b": (1.0, 1.0)},
        {"a": {"c": np.ones(2)}, "b": (1.0, 1.0)},
    ],
)
def test_gradients_of_another_structure_are_refused(g):
    start = {"a": np.ones(2), "b": (np.ones(()), 1.0)}
    with pytest.raises(ValueError, match="gradient"):
        minimize(lambda theta, rows: (1.0, g), start, 10)


def test_good_answers_of_other_types():
    """Lists, NumPy's scalars, integers, arrays of one number."""
    options = {"n": 4, "batch_size": 2, "max_iter": 2, "tol": None, "random_state": 0}
    expected = minimize(lambda theta, rows: (1.0, np.array([1.0, 2.0])), np.ones(2), **options)
    for loss, g in itertools.product(
        (1, np.float32(1), np.array(1.0), np.int64(1)),
        ([1, 2], np.array([1, 2]), np.array([1.0, 0.0, 2.0])[::2], np.float32([1, 2])),
    ):
        found = minimize(lambda theta, rows: [loss, g], [1, 1], **options)  # noqa: B023
        assert_same(found, expected)


@pytest.mark.parametrize("loss", (np.nan, np.inf, -np.inf))
def test_a_loss_that_is_not_finite_is_a_divergence(loss):
    left = iter([1.0] * 7)
    with pytest.raises(DivergenceError, match="theta_") as caught:
        minimize(lambda theta, rows: (next(left, loss), theta), np.ones(2), 10, batch_size=2)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.step, error.epoch, error.learning_rate) == (7, 2, 0.01)
    np.testing.assert_allclose(error.theta_, 0.99**7)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_that_are_not_finite_are_a_divergence(optimizer, dtype):
    """At the latest at the end of the epoch; with the parameters before it."""
    start = np.ones(2, dtype=dtype)
    for bad, clip in itertools.product((np.nan, np.inf), (None, 1.0)):
        g = np.array([bad, 1.0], dtype=dtype)
        with pytest.raises(DivergenceError) as caught:
            minimize(
                lambda theta, rows: (1.0, g),  # noqa: B023
                start,
                10,
                batch_size=5,
                clip_norm=clip,
                optimizer=OPTIMIZERS[optimizer],
            )
        np.testing.assert_array_equal(caught.value.theta_, start)


def test_a_run_that_blows_up_is_a_divergence():
    squares = Squares()
    with np.errstate(over="ignore"), pytest.raises(DivergenceError) as caught:
        minimize(squares, squares.start, 50, eta0=1e3, tol=None)
    assert np.isfinite(caught.value.theta_).all()
    result = minimize(squares, squares.start, 50, eta0=1e3, n_iter_no_change=3)
    assert (result.nit, result.status, result.success) == (4, 3, False)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_clipping_takes_gradients_whose_squares_are_out_of_range(dtype):
    for size in (np.finfo(dtype).max / 8, np.finfo(dtype).tiny * 4):
        g = np.array([3.0, 4.0], dtype=dtype) * dtype(size)
        options = {"clip_norm": float(size) / 8 if size < 1 else 1.0, "eta0": 1.0, "max_iter": 1}
        result = minimize(lambda *_: (1.0, g), np.zeros(2, dtype=dtype), 1, tol=None, **options)  # noqa: B023
        length = np.linalg.norm(result.x.astype(np.float64) / options["clip_norm"])
        np.testing.assert_allclose(length, 1.0, rtol=1e-6)


def test_no_warning_of_ours_and_all_of_the_users():
    """Numbers that overflow in a step end in an error alone; the user's warnings are shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError):
            minimize(lambda theta, rows: (1.0, np.full(2, 1e308)), np.ones(2), 10, eta0=1e10)
    with pytest.warns(RuntimeWarning, match="divide"):
        minimize(lambda theta, rows: (1.0, 1.0 / (np.ones(2) / np.zeros(2))), np.ones(2), 10)


def test_what_a_state_cannot_go_on_with_is_named():
    squares = Squares()
    options = {"n": 50, "random_state": 0}
    with pytest.raises(KeyboardInterrupt) as caught:
        minimize(Interrupted(squares, 3), squares.start, batch_size=8, average=0.5, **options)
    state = caught.value.result.state
    good = {"batch_size": 8, "average": 0.5, "state": state, **options}
    for name, value in (
        ("n", 51),
        ("optimizer", "adam"),
        ("optimizer", SGD(0.9)),
        ("average", True),
        ("batch_size", 4),
        ("sampling", "once"),
        ("theta0", np.ones(5)),
        ("theta0", [squares.start]),
    ):
        with pytest.raises(ValueError, match=f"{name}.* must be"):
            minimize(**{"gradient": squares, "theta0": None, **good, name: value})


def test_seeds():
    """Generators are drawn from; a seed determines the run."""
    squares = Squares()

    def x(random_state):
        return minimize(squares, squares.start, 50, max_iter=2, random_state=random_state).x

    np.testing.assert_array_equal(x(5), x(np.uint8(5)))
    for kind in (np.random.default_rng, np.random.RandomState):
        np.testing.assert_array_equal(x(kind(1)), x(kind(1)))
        source = kind(1)
        assert (x(source) != x(source)).any()
    assert (x(None) != x(None)).any()
    assert np.isfinite(x(2**64 - 1)).all()


# ------------------------------------------------------------------ compiled gradients


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Least squares in C: as Squares has it, for rows of 6."""
    folder = tmp_path_factory.mktemp("gradient")
    source, library = folder / "gradient.c", folder / "libgradient.so"
    source.write_text(
        "#include <stdint.h>\n"
        "double squares(const double *theta, const int64_t *rows, int64_t m, double *gradient,\n"
        "               void *data) {\n"
        "    double **arrays = data, loss = 0.0;\n"
        "    for (int p = 0; p < 6; ++p) gradient[p] = 0.0;\n"
        "    for (int64_t i = 0; i < m; ++i) {\n"
        "        const double *x = arrays[0] + 6 * rows[i];\n"
        "        double residual = -arrays[1][rows[i]];\n"
        "        for (int p = 0; p < 6; ++p) residual += x[p] * theta[p];\n"
        "        loss += 0.5 * residual * residual / m;\n"
        "        for (int p = 0; p < 6; ++p) gradient[p] += residual * x[p] / m;\n"
        "    }\n"
        "    return loss;\n"
        "}\n"
    )
    compiler = shutil.which("cc") or shutil.which("gcc")
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", str(source), "-o", str(library)], check=True
    )
    function = ctypes.CDLL(str(library)).squares
    function.argtypes, function.restype = SIGNATURE.arguments, ctypes.c_double
    return function


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("shape", ((6,), (2, 3), "dict"))
def test_a_compiled_gradient(compiled, dtype, shape):
    squares = Squares()
    gradient = CompiledGradient(compiled, (squares.X, squares.y))
    loss, g = gradient(squares.start, [4, 7])
    expected = squares(squares.start, np.array([4, 7]))
    np.testing.assert_allclose(loss, expected[0])
    np.testing.assert_allclose(g, expected[1])
    start = squares.start.astype(dtype)
    tree = {"a": start[:2], "b": start[2:]} if shape == "dict" else start.reshape(shape)
    options = {"max_iter": 5, "random_state": 0, "optimizer": "adam", "clip_norm": 0.5}
    result = minimize(gradient, tree, 50, **options)
    expected = minimize(squares, start.astype(float), 50, **options)
    assert result.state.theta.dtype == dtype
    tolerance = 1e-13 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(result.state.theta, expected.x, atol=tolerance)


def test_where_the_data_of_a_compiled_gradient_may_come_from(compiled):
    squares = Squares()
    table = np.array([squares.X.ctypes.data, squares.y.ctypes.data], dtype=np.uintp)
    pointers = (ctypes.c_void_p * 2)(*table.tolist())
    expected = CompiledGradient(compiled, (squares.X, squares.y))(squares.start, [1])
    low = LowLevelCallable(compiled, ctypes.c_void_p(table.ctypes.data))
    for function, data in (
        (compiled, table),
        (compiled, table.ctypes.data),
        (compiled, ctypes.c_void_p(table.ctypes.data)),
        (compiled, pointers),
        (low, None),
    ):
        found = CompiledGradient(function, data)(squares.start, [1])
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
    for data in ("x", [], [1], -1, squares.X[:, ::2], [squares.X.T], True):
        with pytest.raises(ValueError, match="data"):
            CompiledGradient(compiled, data)


def test_compiled_gradients_of_another_signature_are_refused(compiled):
    five = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_void_p] * 5)
    untyped = ctypes.CFUNCTYPE(None, *SIGNATURE.arguments)
    for function in (
        quadratic,
        five(lambda *_: 0.0),
        untyped(lambda *_: None),
        SIGNATURE.prototype(),
        None,
    ):
        with pytest.raises(ValueError, match="function must be a C function double"):
            CompiledGradient(function)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("good", (0, 3))
def test_a_compiled_gradient_that_fails_is_a_divergence(good):
    """What is left unwritten is not taken for the gradient of the call before."""
    left = iter(range(good))

    @SIGNATURE.prototype
    def fails(theta, rows, m, gradient, data):
        next(left)
        gradient[0] = gradient[1] = gradient[2] = 1.0
        return 1.0

    with pytest.raises(DivergenceError) as caught:
        minimize(CompiledGradient(fails), np.ones(3), 10, batch_size=2)
    assert caught.value.step == good


def test_numba():
    numba = pytest.importorskip("numba")
    types = numba.types
    pointer = types.CPointer(types.float64)
    arguments = pointer, types.CPointer(types.int64), types.int64, pointer, types.voidptr

    def function(theta, rows, m, gradient, data):
        table = numba.carray(data, (50, 7), np.float64)
        loss = 0.0
        for p in range(6):
            gradient[p] = 0.0
        for i in range(m):
            row = table[rows[i]]
            residual = -row[6]
            for p in range(6):
                residual += row[p] * theta[p]
            loss += 0.5 * residual**2 / m
            for p in range(6):
                gradient[p] += residual * row[p] / m
        return loss

    squares = Squares()
    table = np.column_stack([squares.X, squares.y])
    gradient = CompiledGradient(numba.cfunc(types.float64(*arguments))(function), table)
    result = minimize(gradient, squares.start, 50, max_iter=3, random_state=0)
    expected = minimize(squares, squares.start, 50, max_iter=3, random_state=0)
    np.testing.assert_allclose(result.x, expected.x, atol=1e-13)
    with pytest.raises(ValueError, match="numba cfunc"):
        CompiledGradient(numba.cfunc(types.float32(*arguments))(function))


# ------------------------------------------------------------------ the noise of gradients


def test_row_gradient_noise_is_that_of_an_estimator():
    """Of the same linear model: exactly, and from the same sample."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = X @ [1.0, -1.0, 0.5, 0.0] + rng.normal(size=300)
    model = SGDRegressor(alpha=0.1, fit_intercept=False, random_state=0, max_iter=2, tol=None)
    model.fit(X, y)

    def row_gradients(theta, rows):
        theta = np.concatenate([part.ravel() for part in arrays(theta)])
        return (X[rows] @ theta - y[rows])[:, None] * X[rows]

    def of_structure(theta, rows):
        g = row_gradients(theta, rows)
        return {"b": g[:, 1:].reshape(-1, 3, 1), "a": g[:, 0]}

    tree = {"a": model.coef_[0], "b": model.coef_[1:, None]}
    for sample in (None, 60, 1000):
        options = {"sample": sample, "random_state": 5}
        expected = gradient_noise(model, X, y, **options)
        for function, theta, alpha in (
            (row_gradients, model.coef_, 0.1),
            (of_structure, tree, {"a": 0.1, "b": [0.1]}),
        ):
            found = row_gradient_noise(function, theta, 300, alpha=alpha, **options)
            for name in ("gradient", "variance", "trace", "squared_norm", "noise_scale"):
                np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9)
            np.testing.assert_allclose(found.errors["trace"], expected.errors["trace"], rtol=1e-6)
            assert found.suggested_batch_size == expected.suggested_batch_size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("row_gradients", None),
        ("row_gradients", lambda theta, rows: np.ones((len(rows), 3))),
        ("row_gradients", lambda theta, rows: np.ones((2, len(rows)))),
        ("row_gradients", lambda theta, rows: np.full((len(rows), 2), 1e200)),
        ("theta", np.array([np.nan, 1.0])),
        ("n", 0),
        ("alpha", -1.0),
        ("sample", 39),
    ],
)
def test_bad_arguments_of_row_gradient_noise_are_named(name, value):
    arguments = {"row_gradients": lambda theta, rows: np.ones((len(rows), 2)), "theta": np.ones(2)}
    with pytest.raises(ValueError, match=name):
        row_gradient_noise(**{**arguments, "n": 100, name: value})


# ------------------------------------------------------------------ the page

PAGE = Path(__file__).parents[1] / "docs" / "minimize.md"
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def test_the_page_runs(capsys):
    """In one namespace; blocks followed by text must print it."""
    blocks, namespace = BLOCK.findall(PAGE.read_text()), {"__name__": "page"}
    assert [kind for kind, _ in blocks].count("text") >= 3
    for (kind, code), (next_kind, printed) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(code, PAGE.name, "exec"), namespace)
            found = capsys.readouterr().out
            if next_kind == "text":
                assert found == printed
