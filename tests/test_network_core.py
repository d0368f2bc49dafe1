"""The core of networks against the twin, over settings of which every two values meet."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering
from numpy.testing import assert_allclose
from problems import ISAS
from test_network import OPTIMIZERS, start, targets

from fastsgd import _core, solver
from fastsgd.descent import VectorDescent
from fastsgd.exceptions import DivergenceError
from fastsgd.network import ACTIVATIONS, NETWORK_LOSSES, Network
from fastsgd.problem import Data
from fastsgd.reference import network as twin
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import Schedule
from fastsgd.solver.network_loop import length

N = 300  # more than a chunk of rows
SIZES = ((11, 3), (23, 37, 9, 3), (50, 64, 70, 2), (5, 1, 33), (1100, 3, 2), (5, 4, 530, 2))
"""The last two have sums of more terms than are taken at once (csrc/network/product.h)."""
SCHEDULES = (
    Schedule(),
    Schedule("inverse", power_t=0.5),
    Schedule("invscaling", warmup_steps=5),
    Schedule("cosine", total_epochs=2.0),
    Schedule("harmonic", total_epochs=3.0),
    Schedule("callable", function=lambda t, e: 0.003 / (t + e)),
)
AXES = {
    "loss": NETWORK_LOSSES,
    "activation": ACTIVATIONS,
    "optimizer": OPTIMIZERS,
    "stored": (np.float64, np.float32, np.float16, np.uint8),
    "layout": ("dense", "csr32", "csr64"),
    "isa": ISAS,
    "sizes": SIZES,
    "batch_size": (1, 7, 100, 290, 1000),
    "average": (0, 3),
    "clip_norm": (np.inf, 0.1),
    "sampling": SAMPLINGS,
    "schedule": SCHEDULES,
    "alpha": (0.0, 0.5),
    "weighted": (False, True),
    "scaled": (False, True),
    "n_jobs": (1, 3),
}


def valid(case):
    sparse = case.get("layout", "dense") != "dense"
    narrow = case.get("stored", np.float64) in (np.float16, np.uint8)
    return not (sparse and (narrow or case.get("scaled")))


CASES = covering(AXES, valid=valid)


def data_of(case, rng):
    """Rows whose numbers every stored dtype holds, and targets."""
    d, outputs = case["sizes"][0], case["sizes"][-1]
    X = (rng.integers(0, 3, (N, d)) * (rng.random((N, d)) < 0.4)).astype(case["stored"])
    if case["layout"] != "dense":
        X = sp.csr_array(X)
        index = np.int32 if case["layout"] == "csr32" else np.int64
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    y = targets(case["loss"], N, outputs, rng).astype(np.float32)
    weight = rng.choice([0.0, 0.5, 1.0, 2.0], N) if case["weighted"] else None
    scaling = (np.full(d, 0.5), np.full(d, 0.75)) if case["scaled"] else ()
    return Data(X, y, weight, *scaling)


def problem_of(case, seed=0):
    rng = np.random.default_rng(seed)
    data = data_of(case, rng)
    network = Network(case["sizes"], case["activation"], case["loss"], case["alpha"])
    names = ("batch_size", "average", "clip_norm", "sampling", "schedule", "n_jobs")
    settings = {name: case[name] for name in names}
    eta0 = 0.003 if case["batch_size"] > 1 else 1e-4
    optimizer = OPTIMIZERS[case["optimizer"]]
    descent = VectorDescent(eta0=eta0, mu=0.1, optimizer=optimizer, seed=3, **settings)
    theta = start(network, rng, 0.1).astype(np.float32).astype(np.float64)
    return data, network, descent, theta


def padded(network, theta, dtype):
    """Parameters of the twin as the core has them."""
    coefs, intercepts = zip(*network.views(theta), strict=True)
    return network.pack(coefs, intercepts, dtype, network.unit(dtype))


def unpadded(network, theta):
    """And back."""
    coefs, intercepts = zip(*network.views(theta, network.unit(theta.dtype)), strict=True)
    return network.pack(coefs, intercepts, np.float64)


def state_of(data, network, descent, theta):
    state = _core.VectorState(network.length(network.unit(data.dtype)), data.dtype, descent)
    state.set(padded(network, theta, data.dtype))
    return state


def train(data, network, descent, state, *, epochs=2, isa=None, budget=1 << 30):
    run = _core.NetworkRun(data, network, descent, state, isa=isa)
    while state.epoch < epochs:
        run.advance(budget)
    return run


def named(case):
    return "-".join(str(getattr(value, "__name__", value)) for value in case.values())


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_core_is_the_twin(case):
    data, network, descent, theta = problem_of(case)
    exact = twin.State(network.length(), descent)
    exact.theta = theta.copy()
    for _ in range(2):
        twin.run_epoch(data, network, descent, exact)
    state = state_of(data, network, descent, theta)
    run = train(data, network, descent, state, isa=case["isa"])
    tolerance = 1e-10 if data.dtype == np.float64 else 1e-4
    scale = np.abs(exact.theta).max()
    found = unpadded(network, state.model(descent))
    assert np.abs(found - exact.model(descent)).max() <= tolerance * scale, named(case)
    assert run.isa == case["isa"]
    assert (state.t, state.epoch, state.row) == (exact.t, 2, 0)
    for name in ("objective_sum", "row_count", "norm_sum", "norm_count"):
        np.testing.assert_allclose(getattr(state, name), getattr(exact, name), rtol=tolerance)


@pytest.mark.parametrize("case", CASES[::7], ids=range(len(CASES[::7])))
def test_gradients_of_rows_are_the_twins(case):
    """Their sum, their losses and their squared norms by layers, of rows in any order."""
    data, network, descent, theta = problem_of(case)
    rows = np.random.default_rng(5).integers(0, N, 70)
    state = state_of(data, network, descent, theta)
    run = _core.NetworkRun(data, network, descent, state, isa=case["isa"])
    grad, losses, squares = run.gradients(rows, squares=True)
    weight = np.ones(N) if data.sample_weight is None else data.sample_weight
    X, y = data.rows(rows), data.y[rows].astype(np.float64)
    each = twin.row_gradients(network, theta, X, y)
    tolerance = 1e-10 if data.dtype == np.float64 else 1e-4
    expected = weight[rows] @ each
    assert np.abs(unpadded(network, grad) - expected).max() <= tolerance * np.abs(expected).max()
    used = weight[rows] > 0.0
    exact = twin.row_losses(network, twin.forward(network, theta, X)[-1], y)
    np.testing.assert_allclose(losses[used], exact[used], rtol=tolerance, atol=tolerance)
    assert np.isnan(losses[~used]).all()
    stops = np.cumsum([(inputs + 1) * outputs for inputs, outputs in network.shapes])
    parts = [(part**2).sum(axis=1) for part in np.split(each, stops[:-1], axis=1)]
    np.testing.assert_allclose(squares[used], np.transpose(parts)[used], rtol=10 * tolerance)


@pytest.mark.parametrize("case", CASES[::5], ids=range(len(CASES[::5])))
def test_no_bit_depends_on_cuts_or_threads(case):
    """One call, many calls with a pickle between them, and any number of threads."""
    data, network, descent, theta = problem_of(case)
    whole = state_of(data, network, descent, theta)
    train(data, network, descent, whole, isa=case["isa"])
    state = state_of(data, network, descent, theta)
    steps = 0
    while state.epoch < 2:
        run = _core.NetworkRun(data, network, descent, state, isa=case["isa"])
        run.advance(1)
        steps += 1
        if steps % 10 == 1:
            state = pickle.loads(pickle.dumps(state))
    assert steps >= 4
    fields = ("t", "objective_sum", "row_count", "norm_sum", "norm_count")
    for n_jobs in (1, 2, 5):
        threaded = state_of(data, network, descent, theta)
        other = VectorDescent(**vars(descent) | {"n_jobs": n_jobs})
        train(data, network, other, threaded, isa=case["isa"])
        for one in (state, threaded, state.copy()):
            assert one.last().tobytes() == whole.last().tobytes()
            assert one.model(descent).tobytes() == whole.model(descent).tobytes()
            assert [getattr(one, name) for name in fields] == [
                getattr(whole, name) for name in fields
            ]


SIMPLE = {name: next(iter(values)) for name, values in AXES.items()} | {
    "sizes": (5, 4, 3),
    "batch_size": 7,
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("optimizer", ["plain", "momentum", "nesterov"])
@pytest.mark.parametrize("batch_size", [1, 4, 290])
@pytest.mark.parametrize("clip_norm", [np.inf, 0.05])
def test_features_that_are_away_for_long_catch_up(clip_norm, batch_size, optimizer, isa):
    """Rows of two or three of 400 features: weights, and the penalty at every batch."""
    rng = np.random.default_rng(0)
    X = sp.random_array((N, 400), density=0.006, rng=rng, format="csr", dtype=np.float64)
    data = Data(X, rng.integers(0, 3, N).astype(np.float64), rng.choice([0.0, 1.0, 3.0], N))
    network = Network((400, 6, 3), "tanh", "softmax", alpha=0.05)
    how = {"sampling": "reshuffle", "schedule": Schedule("exponential", decay=0.5)}
    descent = VectorDescent(
        eta0=0.05,
        batch_size=batch_size,
        clip_norm=clip_norm,
        optimizer=OPTIMIZERS[optimizer],
        **how,
    )
    theta = start(network, rng)
    exact = twin.State(network.length(), descent)
    exact.theta = theta.copy()
    state = state_of(data, network, descent, theta)
    run = _core.NetworkRun(data, network, descent, state, isa=isa)
    run.advance(200 * 16, 200)  # rows of about two values
    assert (state.pending > 0) == (batch_size < 290)
    middle = state.last()
    for epoch in range(3):
        twin.run_epoch(data, network, descent, exact)
        while state.epoch == epoch:
            run.advance(1 << 30)
        np.testing.assert_allclose(unpadded(network, state.last()), exact.theta, atol=1e-12)
        for name in ("objective_sum", "norm_sum", "norm_count"):
            np.testing.assert_allclose(getattr(state, name), getattr(exact, name), rtol=1e-11)
    assert state.pending == 0
    again = state_of(data, network, descent, theta)
    train_to = _core.NetworkRun(data, network, descent, again, isa=isa)
    train_to.advance(200 * 16, 200)
    for one in (again, again.copy(), pickle.loads(pickle.dumps(again))):
        assert one.last().tobytes() == middle.tobytes()
    grad, _ = train_to.gradients(np.arange(N))
    assert grad.any()
    assert (again.pending > 0) == (batch_size < 290)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("optimizer", ["plain", "nesterov"])
def test_more_steps_than_may_be_pending(optimizer, isa):
    """600 updates in an epoch, and never as many pending as would need more room."""
    rng = np.random.default_rng(0)
    X = sp.random_array((600, 300), density=0.01, rng=rng, format="csr", dtype=np.float64)
    data = Data(X, rng.integers(0, 3, 600).astype(np.float64))
    network = Network((300, 4, 3), "tanh", "softmax", alpha=0.02)
    descent = VectorDescent(eta0=0.01, optimizer=OPTIMIZERS[optimizer])
    theta = start(network, rng)
    exact = twin.State(network.length(), descent)
    exact.theta = theta.copy()
    twin.run_epoch(data, network, descent, exact)
    state = state_of(data, network, descent, theta)
    run = _core.NetworkRun(data, network, descent, state, isa=isa)
    pending = []
    while state.epoch == 0:
        run.advance(1)
        pending.append(state.pending)
    assert max(pending) == 255
    assert pending.count(0) == 3  # after 256 and 512 updates, and at the end
    np.testing.assert_allclose(unpadded(network, state.last()), exact.theta, atol=1e-12)
    np.testing.assert_allclose(state.objective_sum, exact.objective_sum, rtol=1e-11)


def test_a_state_goes_from_csr_to_dense_and_back():
    """In the middle of a batch, and with steps pending."""
    case = SIMPLE | {"layout": "csr32", "optimizer": "momentum", "batch_size": 290}
    data, network, descent, theta = problem_of(case | {"sampling": "sequential", "alpha": 0.5})
    dense = Data(data.X.toarray(), data.y)
    whole = state_of(data, network, descent, theta)
    train(dense, network, descent, whole)
    state = state_of(data, network, descent, theta)
    for step in range(100):
        _core.NetworkRun((data, dense)[step % 2], network, descent, state).advance(1)
        if state.epoch == 2:
            break
    assert state.epoch == 2
    np.testing.assert_allclose(state.last(), whole.last(), rtol=1e-12, atol=1e-14)


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    data, network, descent, theta = problem_of(SIMPLE | {"sampling": "sequential"})
    rng = np.random.default_rng(0)
    keeps = rng.random(N) < 0.7
    weight = keeps.astype(np.float64)
    X = data.X.copy()
    X[~keeps] = np.nan
    descent = VectorDescent(**vars(descent) | {"batch_size": N})
    states = []
    for one in (Data(X, data.y, weight), Data(data.X[keeps], data.y[keeps])):
        state = state_of(one, network, descent, theta)
        train(one, network, descent, state)
        states.append(state)
    np.testing.assert_allclose(states[0].last(), states[1].last(), rtol=1e-14)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("loss", NETWORK_LOSSES)
@pytest.mark.parametrize(
    ("value", "activation"),
    [(np.nan, activation) for activation in ACTIVATIONS] + [(np.inf, "relu")],
)
def test_scores_that_are_not_finite_are_an_error(value, activation, loss, isa):
    case = SIMPLE | {"loss": loss, "isa": isa, "activation": activation}
    data, network, descent, theta = problem_of(case | {"sampling": "sequential"})
    X = data.X.copy()
    X[17, 2] = value
    theta[:] = 0.1
    bad = Data(X, data.y)
    state = state_of(bad, network, descent, theta)
    with pytest.raises(DivergenceError) as error:
        train(bad, network, descent, state, isa=isa)
    assert error.value.step == 2


def test_diverging_runs_are_an_error():
    case = SIMPLE | {"activation": "relu", "loss": "squared_error"}
    data, network, descent, theta = problem_of(case)
    descent = VectorDescent(**vars(descent) | {"eta0": 1e6})
    with pytest.raises(DivergenceError, match=re.escape("learning rate was 1e+06")):
        train(data, network, descent, state_of(data, network, descent, theta), epochs=50)


def test_csr_that_changes_is_an_error():
    data, network, descent, theta = problem_of(SIMPLE | {"layout": "csr32"})
    for index in (-1, 5, 2**31 - 1):
        run = _core.NetworkRun(data, network, descent, state_of(data, network, descent, theta))
        kept = data.X.indices[3]
        data.X.indices[3] = index
        with pytest.raises(ValueError, match="X changed while it was trained on"):
            run.advance(1 << 30)
        data.X.indices[3] = kept
    run = _core.NetworkRun(data, network, descent, state_of(data, network, descent, theta))
    data.X.indptr[3] = 2**31 - 1
    with pytest.raises(ValueError, match="X changed while it was trained on"):
        run.advance(1 << 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (6, 4, 3)}, "X must have 6 features"),
        ({"sizes": (5, 4, 2)}, "y must have 2 columns"),
        ({"sizes": (5, 3, 3)}, "state does not fit"),
        ({"loss": "softmax"}, "y must have 1 columns"),
        ({"loss": "log_loss"}, re.escape("y must be in [0.0, 1.0]")),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    data, network, descent, theta = problem_of(SIMPLE)
    state = state_of(data, network, descent, theta)
    other = Network(**vars(network) | change)
    with pytest.raises(ValueError, match=message):
        _core.NetworkRun(data, other, descent, state)


def test_states_of_other_optimizers_do_not_fit():
    data, network, descent, theta = problem_of(SIMPLE)
    for name, optimizer in OPTIMIZERS.items():
        other = VectorDescent(**vars(descent) | {"optimizer": optimizer, "average": 2})
        state = state_of(data, network, other, theta)
        with pytest.raises(ValueError, match="state does not fit"):
            _core.NetworkRun(data, network, descent, state)
        assert _core.NetworkRun(data, network, other, state).isa, name


def saved():
    data, network, descent, theta = problem_of(SIMPLE | {"optimizer": "adam", "average": 2})
    state = state_of(data, network, descent, theta)
    train(data, network, descent, state, epochs=1)
    return state.__getstate__()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "<f2"),
        ("dtype", None),
        ("optimizer", "lion"),
        ("optimizer", ["adam"]),
        ("slots", 1),
        ("slots", True),
        ("average", 1),
        ("length", 2**62),
        ("length", 16),
        ("t", -1),
        ("slots_since", 10**6),
        ("row", 1.5),
        ("batch_used", 3),
        ("pending", 1),
        ("lazy_sums", (0.0, 0.0)),
        ("numbers", {}),
        ("numbers", dict.fromkeys(_core.VECTOR_NUMBERS, -1.0)),
        ("arrays", {}),
        ("arrays", {"values": np.zeros(3), "grad": np.zeros(3)}),
    ],
)
def test_broken_saved_states_are_refused(field, value):
    fields = saved()
    whole = _core.VectorState.__new__(_core.VectorState)
    whole.__setstate__(dict(fields))
    assert whole.t == fields["t"]
    state = _core.VectorState.__new__(_core.VectorState)
    with pytest.raises(ValueError, match="saved state"):
        state.__setstate__(fields | {field: value})
    with pytest.raises(ValueError, match="never initialised"):
        state.last()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pending", 256),
        ("pending", -1),
        ("lazy_stride", 0),
        ("lazy_stride", 12),
        ("lazy_stride", 64),
        ("last_update", np.full(5, 7, dtype=np.int32)),
        ("last_update", np.full(5, -1, dtype=np.int32)),
        ("last_update", np.zeros(0, dtype=np.int32)),
        ("last_update", np.zeros(9, dtype=np.int32)),
        ("touched", np.zeros(4, dtype=np.int8)),
        ("products", np.zeros((3, 4))),
        ("optimizer", "adam"),
    ],
)
def test_broken_saved_states_of_csr_are_refused(field, value):
    data, network, descent, theta = problem_of(
        SIMPLE | {"layout": "csr32", "optimizer": "momentum"}
    )
    state = state_of(data, network, descent, theta)
    _core.NetworkRun(data, network, descent, state).advance(1)
    fields = state.__getstate__()
    assert fields["pending"] == 1
    if field in fields["arrays"]:
        fields["arrays"][field] = value
    else:
        fields[field] = value
    with pytest.raises(ValueError, match="saved state"):
        _core.VectorState.__new__(_core.VectorState).__setstate__(fields)


def test_adams_correction_counts_from_new_parameters():
    """As if the run began with them, though the updates are counted on."""
    data, network, descent, theta = problem_of(SIMPLE | {"optimizer": "adam"})
    fresh = state_of(data, network, descent, theta)
    state = state_of(data, network, descent, np.zeros_like(theta))
    train(data, network, descent, state, epochs=1)
    t, epoch = state.t, state.epoch
    state.set(padded(network, theta, data.dtype))
    one = VectorDescent(**vars(descent) | {"sampling": "sequential"})
    for of in (state, pickle.loads(pickle.dumps(state)), fresh.at_epoch(epoch, t)):
        _core.NetworkRun(data, network, one, of).advance(1)
        assert (of.t, of.epoch) == (t + 1, epoch)
        expected = fresh.copy()
        _core.NetworkRun(data, network, one, expected).advance(1)
        assert of.last().tobytes() == expected.last().tobytes()


@pytest.mark.parametrize("unit", (1e-200, 1.0, 1e200))
def test_the_length_of_a_vector_in_parts(unit):
    """Its square may be out of range."""
    parts = [unit * np.array([[2.0, -3.0]]), np.array([]), unit * np.array([6.0])]
    assert_allclose(length(parts), 7.0 * unit)
    assert length([np.zeros(2), np.zeros(0)]) == 0.0


@pytest.mark.parametrize("tol", (None, 1e9))
def test_a_fit_of_a_network_is_that_of_one_lane(tol):
    """It counts its epochs, and says whether it stopped."""
    data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    network, descent = Network((1, 1)), VectorDescent(eta0=0.1)
    state = _core.VectorState(network.length(network.unit(data.dtype)), data.dtype, descent)
    stopping = solver.Stopping(max_epochs=9, tol=tol, patience=2)
    progress = solver.fit_network(data, network, descent, state, stopping)
    assert progress.stopped.tolist() == [tol is not None]
    assert progress.epochs.tolist() == [len(progress.losses)] == [9 if tol is None else 3]


@pytest.mark.parametrize("isa", ISAS)
def test_many_layers(isa):
    """The arrays of their pointers do not overlap."""
    test_core_is_the_twin(SIMPLE | {"sizes": (4,) * 10, "isa": isa})


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sparse", (False, True))
@pytest.mark.parametrize("optimizer", ("plain", "momentum"))
def test_batches_of_two_chunks_whose_norm_is_not_measured(optimizer, sparse, isa):
    """One batch in 16 is measured: the second has a step of all of its rows too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 5)) * (rng.random((900, 5)) < 0.6)
    data = Data(sp.csr_array(X) if sparse else X, rng.normal(size=900))
    network = Network((5, 4, 1), "tanh", "squared_error", alpha=0.05)
    descent = VectorDescent(eta0=0.05, batch_size=300, optimizer=OPTIMIZERS[optimizer])
    theta = start(network, rng)
    exact = twin.State(network.length(), descent)
    exact.theta = theta.copy()
    for _ in range(2):
        twin.run_epoch(data, network, descent, exact)
    state = state_of(data, network, descent, theta)
    train(data, network, descent, state, isa=isa)
    assert state.norm_count == exact.norm_count == 1
    np.testing.assert_allclose(unpadded(network, state.last()), exact.theta, atol=1e-12)


@pytest.mark.parametrize("layout", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("row", (0, 5))
def test_an_error_has_the_scale_of_the_row_that_is_not_finite(row, layout):
    X = np.ones((8, 2))
    X[row] = 1e200
    data, network = Data(layout(X), np.ones(8)), Network((2, 3, 1), "relu", "squared_error")
    descent = VectorDescent(eta0=0.01, batch_size=4, sampling="sequential")
    size = network.length(network.unit(data.dtype))
    state = _core.VectorState(size, data.dtype, descent)
    state.set(np.ones(size))
    run = _core.NetworkRun(data, network, descent, state)
    with pytest.raises(DivergenceError) as error:
        run.advance(1 << 30)
    assert error.value.feature_scale == 1e200
