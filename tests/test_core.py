"""The compiled core: weights of zero, frozen lanes, verbs, instruction sets, shapes, accuracy.

The NumPy twin is the oracle; where two runs of the core must agree they agree to the last bit.
"""

import os
import pickle
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering, values_of
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from problems import (
    DTYPES,
    ISAS,
    LAYOUTS,
    STORED_DTYPES,
    TOLERANCE,
    difference,
    lanes,
    table,
    train_core,
    train_twin,
)

from fastsgd import SGDRegressor, _core, reference, solver, targets
from fastsgd.exceptions import DivergenceError
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import Schedule

EVERYWHERE = {"optimizer": AdaGrad(), "average": 3}  # with a penalty steps go over all features
WIDTHS = (
    {},
    {"optimizer": SGD(0.9)},
    {"average": 3},
    {"optimizer": SGD(0.8, nesterov=True), "average": 3},
    {"optimizer": AdaGrad()},
    EVERYWHERE,
)
LANE_COUNTS = (1, 3, 19)
EXAMPLES = 2000 if os.environ.get("FASTSGD_EXHAUSTIVE") else 100


def is_lazy(settings) -> bool:
    """Whether updates are lazy on CSR with L2."""
    return settings.momentum > 0.0 or not settings.optimizer.linear


def in_layout(X, dtype, layout):
    """X in a dtype and a layout; sparse ones keep their structure."""
    if layout == "dense":
        return np.ascontiguousarray(X.toarray() if sp.issparse(X) else X, dtype=dtype)
    X = sp.csr_array(X, dtype=dtype)
    index = np.int32 if layout == "csr32" else np.int64
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


def bits(state, settings):
    """Weights, intercepts and updates of each lane, as bytes."""
    coef, intercept = state.weights(settings)
    last, last_intercept = state.last_weights()
    lanes = range(len(coef))
    numbers = (coef, intercept, last, last_intercept, state.t)
    return [b"".join(array[k].tobytes() for array in numbers) for k in lanes]


# ---------------------------------------------------------------- weights of zero


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_weight_zero_are_as_good_as_absent(dtype, layout):
    """Single samples in storage order: the run over the other rows alone.

    To the last bit, but for K > 1 on dense rows, which are summed up from either end by turns, and
    for steps pending (CSR, width > 1), which the score of a row asks for.
    """
    data = table(60).data(dtype, layout, sign=False)
    weight = np.random.default_rng(1).choice([0.0, 0.5, 2.0], 60).astype(dtype)
    kept = np.flatnonzero(weight)
    for k, width in product(LANE_COUNTS, WIDTHS):
        of = lanes(k, "squared_error")
        settings = Settings(sampling="sequential", schedule=Schedule("inverse"), **width)
        all_rows, some = (
            train_core(Data(data.X[rows], data.y[rows], weight[rows]), of, settings)
            for rows in (np.arange(60), kept)
        )
        assert all_rows.t[0] == 3 * len(kept) < 180
        assert np.array_equal(all_rows.t, some.t)
        assert np.array_equal(all_rows.row_count, some.row_count)
        assert difference(all_rows, some, settings) < TOLERANCE[dtype]
        # the order of sums is that of blocks of rows (dense, plain) or of lazy updates (CSR)
        waits = is_lazy(settings)
        if (k == 1 and waits) if layout == "dense" else not waits:
            assert bits(all_rows, settings) == bits(some, settings), (k, width)
            assert np.array_equal(all_rows.loss_sum, some.loss_sum)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_size", (1, 4))
def test_a_lane_without_rows_is_left_alone(batch_size, layout):
    """No decay, momentum, average or tick while the other lanes go on: the lane's bits stay.

    Lane k learns class k and gives all other rows weight zero; classes come one after the other.
    """
    y = np.repeat(np.arange(5.0), 8)
    X = in_layout(table(40).X, np.float64, layout)
    data, k = Data(X, y), 5
    of = Lanes(k, alpha=0.1, eta0=0.05, label=np.arange(k), weight_negative=0.0)
    for width in WIDTHS:
        settings = Settings("log_loss", True, batch_size=batch_size, sampling="sequential", **width)
        core, twin = (e.State(data, of, settings) for e in (solver, reference))
        for step in range(2 * 40 // batch_size):
            learns = step * batch_size % 40 // 8
            before = bits(core, settings)
            solver.run_epoch(data, of, settings, core, batches=1)
            reference.run_epoch(data, of, settings, twin, batches=1)
            after = bits(core, settings)
            untouched = [a == b for a, b in zip(after, before, strict=True)]
            if layout == "dense" or not is_lazy(settings):  # else the last bit
                assert untouched == [lane != learns for lane in range(k)], (step, width)
            assert np.array_equal(core.t, twin.t)
        assert difference(core, twin, settings) < TOLERANCE[np.float64], width


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", LANE_COUNTS)
@pytest.mark.parametrize("settings", WIDTHS, ids=str)
def test_rows_of_weight_zero_do_not_count(settings, k, layout):
    data = table(24).data(np.float64, layout, sign=False)
    data = Data(data.X, data.y, np.where(np.arange(24) % 5 == 0, 0.0, 2.0))
    problem = data, lanes(k, "squared_error"), Settings(**settings)
    core, twin = train_core(*problem), train_twin(*problem)
    assert_array_equal(core.row_count, twin.row_count)
    assert (core.row_count == 19).all()
    assert_allclose(core.loss_sum, twin.loss_sum)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("clip_norm", (np.inf, 0.5))
def test_a_batch_without_rows_has_no_norm(layout, k, clip_norm):
    """The first batch, which is measured, has rows of weight zero alone."""
    data = table(24).data(np.float64, layout, sign=False)
    data = Data(data.X, data.y, np.where(np.arange(24) < 4, 0.0, 1.0))
    settings = Settings(batch_size=4, sampling="sequential", clip_norm=clip_norm)
    of = lanes(k, "squared_error")
    core, twin = (train(data, of, settings) for train in (train_core, train_twin))
    assert_array_equal(core.norm_count, twin.norm_count)
    assert_array_equal(core.t, twin.t)
    assert not core.norm_count.any()
    assert not core.norm_sum.any()
    assert core.gradient_norm == 0.0
    assert difference(core, twin, settings) < TOLERANCE[np.float64]


# ---------------------------------------------------------------- frozen lanes


def sparse_problem(dtype, layout):
    """Rows of six values in 300 features, so that most features are behind by many steps."""
    rng = np.random.default_rng(0)
    X = sp.random_array((53, 300), density=0.02, format="csr", rng=rng)
    return Data(in_layout(X, dtype, layout), rng.normal(size=53).astype(dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_frozen_lanes_keep_their_bits(dtype, layout):
    """A lane that is not active stays what it is, and the others do as if all were.

    One of those that go on decays so fast (eta alpha = 1/2) that its scale is renormalised. Where
    steps are pending (CSR, width > 1) a lane is read out through products of other lengths as time
    goes on, which costs it the last bits.
    """
    data, eps = sparse_problem(dtype, layout), np.finfo(dtype).eps
    for k, batch_size, width in product((3, 19), (1, 5, 53), WIDTHS):
        alpha = np.geomspace(0.001, 0.1, k)
        alpha[1] = 25.0
        of, settings = Lanes(k, alpha=alpha, eta0=0.02), Settings(batch_size=batch_size, **width)
        state = train_core(data, of, settings, epochs=2)
        free = state.copy()
        state.active[::2] = 0.0
        before, coef = bits(state, settings), state.weights(settings)[0]
        for _ in range(2 if batch_size < 53 else 40):
            solver.run_epoch(data, of, settings, state)
            solver.run_epoch(data, of, settings, free)
        after, later = bits(state, settings), state.weights(settings)[0]
        if layout == "dense" or not is_lazy(settings):
            assert after[::2] == before[::2], (k, batch_size, width)
        assert np.abs(later - coef)[::2].max() < 8 * eps * np.abs(coef).max()
        assert (np.abs(free.weights(settings)[0] - coef).max(axis=1) > 100 * eps).all()
        assert_allclose(later[1::2], free.weights(settings)[0][1::2], rtol=1e-4, atol=100 * eps)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_lane_that_stops_keeps_its_bits(dtype, layout):
    """Lanes whose loss settles stop one by one: each ends with the bits of its own last epoch."""
    data, k = sparse_problem(dtype, layout), 5
    of = Lanes(k, alpha=0.0, eta0=np.geomspace(1e-4, 0.3, k))
    stopping = solver.Stopping(max_epochs=40, tol=1e-3, patience=2)
    for batch_size, width in product((1, 5), WIDTHS):
        settings = Settings(batch_size=batch_size, seed=1, **width)
        state, seen = solver.State(data, of, settings), []
        keep = solver.Fit(on_epoch=lambda fit, seen=seen: seen.append(fit.state.copy()))
        fit = solver.fit(data, of, settings, state, stopping, keep)
        assert len(set(fit.epochs)) > 1
        for lane, epoch in enumerate(fit.epochs):
            epochs = [bits(one, settings)[lane] for one in seen[:epoch]]
            now = bits(state, settings)[lane]
            if now != epochs[-1]:  # momentum overshot: the weights of its best epoch, at rest
                assert settings.momentum > 0.0 and not settings.average
                earlier = [np.asarray(one.last_weights()[0][lane]) for one in seen[:epoch]]
                earlier.append(np.zeros_like(earlier[0]))  # where it started
                assert any(np.array_equal(fit.coef[lane], one) for one in earlier)


# ---------------------------------------------------------------- verbs and weights


@pytest.mark.parametrize("batch_size", (1, 4))
@pytest.mark.parametrize("k", LANE_COUNTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_verbs_equal_the_twins(width, k, batch_size):
    """score, gradient_sums and gradient over some rows, one twice, at the state of a run."""
    rows = np.array([3, 0, 22, 3, 11, 7])
    settings = Settings("log_loss", True, batch_size=batch_size, **width)
    of, exact = lanes(k, "log_loss"), table().data(np.float64, "dense", sign=True, weighted=True)
    twin = train_twin(exact, of, settings)
    y = targets.targets_of(exact, of, settings, rows)
    s = targets.weights_of(exact, of, settings, y, rows)
    c = targets.slopes_of(settings, reference.score(exact, twin, rows), y, s)
    expected = [
        reference.score(exact, twin, rows),
        *reference.accumulate(exact, c, rows),
        (s > 0).sum(axis=0),
        *reference.gradient(exact, of, settings, twin, rows),
        *reference.gradient(exact, of, settings, twin),
    ]
    for dtype, layout, isa in product(DTYPES, LAYOUTS, ISAS):
        data = table().data(dtype, layout, sign=True, weighted=True)
        core = train_core(data, of, settings, isa)
        run = _core.Run(data, of, settings, core, isa=isa)
        got = [
            run.score(rows),
            *run.gradient_sums(rows),
            *solver.gradient(data, of, settings, core, rows),
            *solver.gradient(data, of, settings, core),
        ]
        for a, b in zip(got, expected, strict=True):
            assert a.shape == b.shape
            allowed = 5 * TOLERANCE[dtype] * max(1.0, np.linalg.norm(b))
            assert np.linalg.norm(a - b) < allowed, (dtype, layout, isa)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_verbs_leave_a_run_as_it_was(layout):
    """A run that is looked at after every call, over the same rows or in another layout, ends in
    the same bits; inside a batch too."""
    rows = np.arange(70)
    axes = {"looked_at": LAYOUTS, "k": LANE_COUNTS, "batch_size": (1, 70), "width": range(4)}
    for looked_at, k, batch_size, number in values_of(covering(axes)):
        width = WIDTHS[number]
        of, settings = lanes(k, "squared_error"), Settings(batch_size=batch_size, **width)
        data, other = (table(70).data(np.float32, x, sign=False) for x in (layout, looked_at))
        state = solver.State(data, of, settings)
        run, look = (_core.Run(each, of, settings, state) for each in (data, other))
        while state.epoch < 2:
            run.advance(150)
            look.score(rows)
            look.gradient_sums(rows)
            solver.gradient(other, of, settings, state)
            state.weights(settings), state.last_weights()
        undisturbed = train_core(data, of, settings, epochs=2)
        assert bits(state, settings) == bits(undisturbed, settings), (k, batch_size, width)
        assert np.array_equal(state.loss_sum, undisturbed.loss_sum)


@pytest.mark.parametrize("k", (1, 3, 4, 6, 8, 16, 19))
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_round_trip(dtype, k):
    """What set_weights is given is what weights returns; momentum, average and scale start anew."""
    rng = np.random.default_rng(0)
    coef, intercept = rng.normal(size=(k, 19)).astype(dtype), rng.normal(size=k).astype(dtype)
    for layout, width in product(LAYOUTS, WIDTHS):
        data, of = table().data(dtype, layout, sign=False), lanes(k, "squared_error")
        settings = Settings(**width)
        state = train_core(data, of, settings, epochs=1)
        state.set_weights(coef, intercept)
        for got in (state.weights(settings), state.last_weights()):
            assert np.array_equal(got[0], coef)
            assert np.array_equal(got[1], intercept)
            assert got[0].dtype == got[1].dtype == dtype


# ---------------------------------------------------------------- instruction sets

USED = """
import numpy as np
from fastsgd import _core, solver
from fastsgd.problem import Data, Lanes, Settings
problem = Data(np.eye(3), np.ones(3)), Lanes(1, alpha=0.0, eta0=0.1), Settings()
print(_core.isa(), _core.Run(*problem, solver.State(*problem)).isa)
"""


@pytest.mark.parametrize("isa", [*ISAS, ""])
def test_fastsgd_isa_is_used(isa):
    """A supported name is what runs; none, or an empty one, means the best, listed last."""
    environment = {**os.environ, "FASTSGD_ISA": isa}
    command = [sys.executable, "-c", USED]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert child.stdout.split() == [isa or ISAS[-1]] * 2


@pytest.mark.parametrize("name", sorted({"scalar", "avx2", "avx512", "neon", "x"} - set(ISAS)))
def test_fastsgd_isa_that_is_not_here_is_refused(name, monkeypatch):
    """Unknown, or known but not of this machine: the variable, its value and what there is."""
    monkeypatch.setenv("FASTSGD_ISA", name)
    problem = Data(np.eye(3), np.ones(3)), Lanes(1, alpha=0.0, eta0=0.1), Settings()
    state = solver.State(*problem)
    for call in (_core.isa, lambda: _core.Run(*problem, state), state.last_weights):
        with pytest.raises(ValueError, match=f"FASTSGD_ISA='{name}'.*{', '.join(ISAS)}"):
            call()
    with pytest.raises(ValueError, match=f"isa='{name}'"):
        _core.Run(*problem, state, isa=name)


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize("d", (1, 2, 15, 16, 17, 100, 1000, 1500, 9000))
def test_any_number_of_features(d):
    """Tails of vectors, chunks of few rows (10 of 1500 doubles, which are no whole blocks; one of
    9000), histories of any length."""
    rng = np.random.default_rng(d)
    n = 30 if d < 5000 else 5
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < min(1.0, 0.2 + 2 / d)) / d**0.5
    y = rng.normal(size=n)
    data = {layout: Data(in_layout(X, np.float64, layout), y) for layout in LAYOUTS}
    axes = {"k": (1, 3), "batch_size": (1, 7, n), "width": range(4)}
    for k, batch_size, number in values_of(covering(axes)):
        width = WIDTHS[number]
        of = Lanes(k, alpha=np.geomspace(0.01, 0.1, k), eta0=0.1)
        settings = Settings(batch_size=batch_size, **width)
        twin = train_twin(data["dense"], of, settings)
        for layout, isa in product(LAYOUTS, ISAS):
            core = train_core(data[layout], of, settings, isa)
            gap = difference(core, twin, settings)
            assert gap < TOLERANCE[np.float64], (k, batch_size, width, layout, isa)


def test_one_row():
    """n = 1: every step is on the same row, every batch the full one."""
    axes = {"k": LANE_COUNTS, "batch_size": (1, 5), "width": range(4)}
    X, y = np.array([[1.0, 0.0, -2.0]]), np.array([3.0])
    data = {layout: Data(in_layout(X, np.float64, layout), y) for layout in LAYOUTS}
    for k, batch_size, number in values_of(covering(axes)):
        width = WIDTHS[number]
        of, settings = Lanes(k, alpha=0.1, eta0=0.1), Settings(batch_size=batch_size, **width)
        twin = train_twin(data["dense"], of, settings, epochs=100)
        for layout, isa in product(LAYOUTS, ISAS):
            core = train_core(data[layout], of, settings, isa, epochs=100)
            gap = difference(core, twin, settings)
            assert gap < TOLERANCE[np.float64], (k, batch_size, width, layout, isa)


def awkward():
    """CSR with duplicate and unsorted indices, stored zeros, and empty rows at both ends."""
    rng = np.random.default_rng(4)
    counts = np.array([0, 5, 0, 9, 1, 3, 12, 0, 7, 0])
    indices = rng.integers(0, 8, counts.sum())
    values = rng.normal(size=counts.sum()).round(1)
    X = sp.csr_array((values, indices, np.append(0, counts.cumsum())), shape=(10, 8))
    assert not X.has_canonical_format
    assert (values == 0).any()
    return X, rng.normal(size=(10, 2))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("layout", ("csr32", "csr64"))
def test_duplicate_and_unsorted_indices(layout, isa):
    """Duplicates add up, order does not matter, and the matrix is left as it is."""
    X, y = awkward()
    sparse, dense = (Data(in_layout(X, np.float64, each), y) for each in (layout, "dense"))
    before = pickle.dumps(sparse)
    axes = {"k": LANE_COUNTS, "batch_size": (1, 3, 10), "width": range(4)}
    for k, batch_size, number in values_of(covering(axes)):
        width = WIDTHS[number]
        of, settings = lanes(k, "squared_error"), Settings(batch_size=batch_size, **width)
        core, twin = train_core(sparse, of, settings, isa), train_twin(dense, of, settings)
        assert difference(core, twin, settings) < TOLERANCE[np.float64], (k, batch_size, width)
    assert pickle.dumps(sparse) == before


@pytest.mark.parametrize("step", ("pa1", "pa2"))
@pytest.mark.parametrize("k", (1, 3, 19))
def test_no_passive_aggressive_step_where_the_slope_is_zero(k, step):
    """Poisson's loss of the target 1 is 1 at the score 0, and has its minimum there."""
    settings = Settings(loss="poisson", step=step)
    for dtype, layout in product(DTYPES, LAYOUTS):
        X = table().data(dtype, layout, sign=False).X
        data = Data(X, np.ones(X.shape[0]))
        core = train_core(data, Lanes(k, alpha=0.0, eta0=0.1), settings)
        assert (core.loss_sum == core.row_count).all()
        assert not any(numbers.any() for numbers in core.last_weights())


@pytest.mark.parametrize("layout", ("csr32", "csr64"))
@pytest.mark.parametrize("k", (1, 3))
def test_a_batch_with_more_columns_than_are_kept(k, layout):
    """Of a batch of 45,000 values: the columns of its last rows are read again by the update."""
    rng = np.random.default_rng(3)
    dense = rng.normal(size=(60, 2000)) * (rng.random((60, 2000)) < 0.75)
    X = sp.csr_array(dense)
    index = np.int32 if layout == "csr32" else np.int64
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    y = dense[:, :3].sum(axis=1)
    of, settings = Lanes(k, alpha=0.01, eta0=1e-4), Settings(batch_size=30, seed=1)
    twin = train_twin(Data(dense, y), of, settings, epochs=2)
    core = train_core(Data(X, y), of, settings, epochs=2)
    assert len(X.data) > 2 * (1 << 15)  # csrc/kernel/context.h: most_kept
    assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("layout", ("csr32", "csr64"))
@pytest.mark.parametrize("norm", ({"clip_norm": 0.7}, {"step": "pa1"}, {"step": "pa2"}))
def test_norms_are_of_sums_of_duplicates(norm, layout, isa):
    """|x|^2, which a clipped and a passive-aggressive step need, is that of the row."""
    X, y = awkward()
    loss = "squared_error" if "clip_norm" in norm else "epsilon_insensitive"
    for dtype, k in product(DTYPES, LANE_COUNTS):
        sparse, dense = (Data(in_layout(X, dtype, each), y) for each in (layout, "dense"))
        of, settings = Lanes(k, alpha=0.0, eta0=0.1), Settings(loss=loss, **norm)
        core, twin = train_core(sparse, of, settings, isa), train_twin(dense, of, settings)
        assert difference(core, twin, settings) < TOLERANCE[dtype], (dtype, k)
        assert core.weights(settings)[0].any()


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_the_norm_of_a_gradient_whose_rows_cancel(layout, isa):
    """Of a batch of one lane on CSR: its gradient is added up in double precision for it."""
    y = np.array([2.0**30, 1.0, -(2.0**30), 3.0], dtype=np.float32)
    data = Data(in_layout(np.ones((4, 1)), np.float32, layout), y)
    of = Lanes(1, alpha=0.0, eta0=0.1)
    settings = Settings(batch_size=4, fit_intercept=False, sampling="sequential")
    state = solver.State(data, of, settings)
    _core.Run(data, of, settings, state, isa=isa).advance(1 << 30)
    assert state.norm_count[0] == 1.0
    assert state.gradient_norm == 1.0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_without_any_value(layout):
    """All zeros: only intercepts learn."""
    data = Data(in_layout(np.zeros((6, 4)), np.float64, layout), np.arange(12.0).reshape(6, 2))
    for k, batch_size, width in product(LANE_COUNTS, (1, 4), WIDTHS):
        of, settings = lanes(k, "squared_error"), Settings(batch_size=batch_size, **width)
        core = train_core(data, of, settings)
        assert not core.weights(settings)[0].any()
        assert difference(core, train_twin(data, of, settings), settings) < 1e-13


# ---------------------------------------------------------------- strong penalties


@pytest.mark.parametrize("strength", (0.5, 1.0, 3.0))
def test_strong_l2(strength):
    """eta alpha = 1/2 shrinks w by 2^-200 without losing a bit; from 1 on a step clips to zero."""
    epochs = 40 if strength < 1.0 else 10
    data = {v: table().data(*v, sign=False) for v in product(DTYPES, LAYOUTS)}
    for k, batch_size, average in product(LANE_COUNTS, (1, 5), (0, 3)):
        of = Lanes(k, alpha=10.0 * strength, eta0=0.1)
        settings = Settings(batch_size=batch_size, average=average)
        twin = train_twin(data[np.float64, "dense"], of, settings, epochs=epochs)
        for (dtype, layout), each in data.items():
            state = solver.State(each, of, settings)
            run, clipped = _core.Run(each, of, settings, state), False
            while state.epoch < epochs:
                run.advance(10**9)
                clipped |= run.clipped
            assert clipped == (strength >= 1.0)
            assert state.t[0] >= 5 * epochs
            gap = difference(state, twin, settings)
            assert gap < TOLERANCE[dtype], (k, batch_size, average, dtype, layout)


@pytest.mark.parametrize("d", (19, 200))  # blocks of four rows and of two
@pytest.mark.parametrize("decay", (0.9999, 0.95))
@pytest.mark.parametrize("isa", ISAS)
def test_blocks_of_rows_meet_what_they_cannot_do(d, decay, isa):
    """Steps that shrink w almost to nothing, in blocks with rows of weight zero that hold NaN."""
    rng = np.random.default_rng(3)
    X = rng.normal(scale=0.1 / np.sqrt(d), size=(41, d)).astype(np.float32)
    weight = rng.choice([0.0, 1.0, 2.0], 41).astype(np.float32)
    clean = Data(X, X[:, 0].copy(), weight)
    dirty = Data(np.where(weight[:, None] > 0, X, np.nan), clean.y, weight)
    # 1 - eta alpha is 0 at first, then some 1e-6 or 1e-3 more at every row
    settings = Settings(seed=2, schedule=Schedule("exponential", decay=decay))
    of = Lanes(1, alpha=1.0, eta0=1.0)
    twin, core = train_twin(clean, of, settings), train_core(dirty, of, settings, isa)
    assert twin.t[0] == 3 * np.count_nonzero(weight) == core.t[0]
    assert np.abs(twin.W).max() > 0.0
    assert difference(core, twin, settings) < TOLERANCE[np.float32]


@pytest.mark.parametrize("row", range(8))
def test_the_row_of_a_block_that_is_not_finite(row):
    X = np.ones((8, 5), dtype=np.float32)
    X[row] = np.inf
    problem = Data(X, np.ones(8)), Lanes(1, alpha=0.0, eta0=0.01), Settings(sampling="sequential")
    state, healthy = solver.State(*problem), solver.State(*problem)
    run = _core.Run(*problem, state)
    with pytest.raises(DivergenceError):
        run.advance(10**6)
    assert (run.bad_row, state.t[0]) == (row, row)
    solver.run_epoch(*problem, healthy, batches=row)
    assert_allclose(state.last_weights()[0], healthy.last_weights()[0], rtol=1e-6)


def test_strong_l2_warns():
    X, y = table().X, table().y[:, 0]
    model = SGDRegressor(alpha=10.0, eta0=0.2, learning_rate="constant")
    with pytest.warns(RuntimeWarning, match="alpha"):
        model.fit(X, y)


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("width", [width for width in WIDTHS if width is not EVERYWHERE])
@pytest.mark.parametrize("k", LANE_COUNTS)
def test_a_csr_step_touches_no_other_feature(k, width):
    """O(non-zeros) with momentum and averaging too: after 60 steps on the first ten of many
    features, whose momentum all moves on, the others' stored numbers and last updates stay."""
    d = 70_000 if k == 1 else 20_000 if k == 3 else 2500  # of fewer all change now and then
    rng = np.random.default_rng(0)
    warm = sp.csr_array(rng.normal(size=(1, d)))
    few = sp.csr_array((rng.normal(size=600), np.tile(np.arange(10), 60), np.arange(0, 601, 10)))
    X = sp.vstack([warm, sp.csr_array((few.data, few.indices, few.indptr), shape=(60, d))])
    data = Data(in_layout(X, np.float64, "csr32"), rng.normal(size=61))
    of, settings = Lanes(k, alpha=0.01, eta0=1e-3), Settings(sampling="sequential", **width)

    def stored(state):
        arrays = state.__getstate__()["arrays"]
        features = arrays["w"] if len(arrays["w"]) >= d else arrays["w"].T  # planes of one lane
        return features[:d], arrays.get("last_update", np.zeros(d))

    state = solver.State(data, of, settings)
    solver.run_epoch(data, of, settings, state, batches=1)
    (w, last_update), model = stored(state), state.weights(settings)[0]
    solver.run_epoch(data, of, settings, state, batches=60)
    (later_w, later_update), later_model = stored(state), state.weights(settings)[0]
    spans = 1 if settings.optimizer.linear else 61  # AdaGrad counts steps
    assert state.pending == (spans if is_lazy(settings) else 0)
    assert len(w) == d
    assert np.array_equal(later_w[16:], w[16:])
    assert np.array_equal(later_update[16:], last_update[16:])
    assert (later_w[:10] != w[:10]).any()
    assert (later_model[:, 16:] != model[:, 16:]).all()  # they have moved all the same


# ---------------------------------------------------------------- accuracy


@st.composite
def problems(draw):
    """A small problem of any shape and settings, and its twin's arguments."""
    n, d, k = draw(st.integers(1, 30)), draw(st.integers(1, 40)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < draw(st.sampled_from((0.1, 0.5, 1.0))))
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], n) if draw(st.booleans()) else None
    loss = draw(st.sampled_from(("squared_error", "log_loss")))
    y = rng.normal(size=n) if loss == "squared_error" else rng.integers(0, 3, n).astype(float)
    data = Data(in_layout(X / d**0.5, np.float64, draw(st.sampled_from(LAYOUTS))), y, weight)
    settings = Settings(
        loss,
        loss == "log_loss",
        batch_size=draw(st.integers(1, n + 3)),
        optimizer=draw(st.sampled_from((SGD(), SGD(0.5), SGD(0.9, nesterov=True), AdaGrad()))),
        average=draw(st.integers(0, 20)),
        fit_intercept=draw(st.booleans()),
        sampling=draw(st.sampled_from(SAMPLINGS)),
        seed=draw(st.integers(0, 2**64 - 1)),
        schedule=Schedule(
            draw(st.sampled_from(("constant", "inverse", "cosine"))), total_epochs=4.0
        ),
    )
    of = Lanes(
        k,
        alpha=rng.choice([0.0, 0.01, 1.0], k),
        eta0=rng.uniform(0.01, 0.1, k),
        label=rng.integers(0, 3, k),
        weight_negative=rng.choice([0.0, 1.0], k),
    )
    return data, of, settings


@hypothesis_settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(problems(), st.integers(1, 3000))
def test_any_small_problem_matches_the_twin(problem, budget):
    """In calls of any budget, within 1e-9 of the twin."""
    core, twin = train_core(*problem, epochs=4, budget=budget), train_twin(*problem, epochs=4)
    assert difference(core, twin, problem[2]) < 1e-9
    assert np.array_equal(core.t, twin.t)


@pytest.mark.parametrize("layout", ("dense", "csr32"))
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("kind", ("normal", "binary"))
def test_float32_gradient_of_many_rows(kind, k, layout):
    """A full batch of 100,000 rows: float32 within 1e-5 of float64.

    "binary" is the hard case: equal terms, whose rounding errors add up instead of cancelling.
    """
    rng = np.random.default_rng(0)
    n, d = 100_000, 8
    X = rng.normal(size=(n, d)) if kind == "normal" else rng.random((n, d)) < 0.3
    y = rng.normal(size=n) + X[:, 0] if kind == "normal" else np.full(n, 0.1)
    single, settings = y.astype(np.float32), Settings(batch_size=n)
    of, gradients = Lanes(k, alpha=0.0, eta0=0.1), []
    for dtype in DTYPES:
        values = X.astype(np.float32).astype(dtype)
        data = Data(in_layout(values, dtype, layout), single.astype(dtype))
        state = solver.State(data, of, settings)
        gradients.append(np.vstack(solver.gradient(data, of, settings, state)))
    worst = np.linalg.norm(gradients[0] - gradients[1]) / np.linalg.norm(gradients[1])
    assert 0 < worst < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize(
    "optimiser", ({}, {"optimizer": SGD(0.9), "average": 3}, {"optimizer": AdaGrad()})
)
def test_many_features(layout, k, optimiser):
    """Rows far wider than any scratch buffer a mistake could land in unnoticed."""
    settings = Settings(schedule=Schedule("constant"), **optimiser)
    data = table(n=9, d=3001).data(np.float64, layout, sign=False)
    of = Lanes(k, alpha=0.01, eta0=1e-4, target=np.arange(k) % 2)
    core, twin = train_core(data, of, settings), train_twin(data, of, settings)
    assert difference(core, twin, settings) < 1e-12


LONG = covering({"d": (129, 400, 1024, 1027), "dtype": STORED_DTYPES, "mode": SAMPLINGS})


@pytest.mark.parametrize(("d", "dtype", "mode"), values_of(LONG))
def test_long_rows(d, dtype, mode):
    """Read where they lie or copied, with ends of any length; a row of weight zero is not used."""
    rng, n = np.random.default_rng(d), 41
    X = rng.integers(0, 9, size=(n, d)).astype(dtype)
    real = np.float64 if dtype == np.float64 else np.float32
    y = rng.integers(0, 2, n).astype(real)
    weight = np.where(np.arange(n) % 5 == 2, 0.0, rng.random(n) + 0.5).astype(real)
    settings = Settings(loss="log_loss", sign_targets=True, sampling=mode, seed=3)
    of = Lanes(1, alpha=0.01, eta0=1e-3 / d)
    exact = Data(X.astype(np.float64), y.astype(np.float64), weight.astype(np.float64))
    twin = train_twin(exact, of, settings)
    if dtype in DTYPES:
        X[weight == 0.0] = np.nan
    for isa in ISAS:
        core = train_core(Data(X, y, weight), of, settings, isa)
        assert difference(core, twin, settings) < TOLERANCE[real]


# ---------------------------------------------------------------- what an epoch's end says


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", (1, 7, 8, 30, 1001))
def test_norms_of_rows(d, dtype):
    coef = np.random.default_rng(d).normal(size=(3, d)).astype(dtype)
    exact = coef.astype(np.float64)
    assert_allclose(_core.row_norms(coef, squared=True), (exact**2).sum(axis=1), rtol=1e-14)
    assert_allclose(_core.row_norms(coef, squared=False), np.abs(exact).sum(axis=1), rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "penalties", ((), ("alpha",), ("alpha", "l1"), ("l1",), ("intercept_gradient",))
)
@pytest.mark.parametrize("batch_size", (1, 4))
@pytest.mark.parametrize("k", LANE_COUNTS)
def test_what_an_epochs_end_shows(k, batch_size, penalties, dtype):
    """Of lanes that trained, of one that is frozen, and before anything was done."""
    data = table(200, 6).data(dtype, "dense", sign=False)
    numbers = {name: np.geomspace(0.01, 0.1, k) for name in penalties}
    of = Lanes(k, **{"alpha": 0.0, **numbers}, eta0=0.01)
    settings = Settings(batch_size=batch_size)
    state = solver.State(data, of, settings)
    assert not _core.Run(data, of, settings, state).measure()[2].any()
    assert state.gradient_norm == 0.0
    if k > 1:
        state.active[k // 2] = 0.0
    solver.run_epoch(data, of, settings, state)
    trained = state.row_count > 0
    assert trained.sum() == max(1, k - 1)
    coef, intercept, loss, norm = _core.Run(data, of, settings, state).measure()
    assert_array_equal(coef, state.last_weights()[0])
    assert_array_equal(intercept, state.last_weights()[1])
    w, b = coef.astype(np.float64), intercept.astype(np.float64)
    assert norm == pytest.approx(np.linalg.norm(w, axis=1).mean())
    expected = (
        0.5 * of.alpha * (w**2).sum(axis=1)
        + of.l1 * np.abs(w).sum(axis=1)
        + of.intercept_gradient * b
    )
    assert expected.any() == bool(penalties)
    expected += state.loss_sum / np.maximum(1.0, state.row_count)
    assert_allclose(loss, expected)
    norms = np.sqrt(state.norm_sum[trained] / state.norm_count[trained])
    assert state.gradient_norm == pytest.approx(norms.mean())


def test_an_epochs_end_of_many_lanes():
    """Which is found in parts of the features, of as few as there is room for."""
    data, of = table(60, 40).data(np.float32, "dense", sign=False), lanes(1100, "squared_error")
    settings = Settings("squared_error", average=10)
    state = solver.State(data, of, settings)
    solver.run_epoch(data, of, settings, state)
    run = _core.Run(data, of, settings, state)
    coef, _, loss, norm = run.measure()
    intercept, *found, finite = run.measure_unread()
    assert finite
    assert_array_equal(intercept, state.weights(settings)[1])
    assert_array_equal(found[0], loss)
    assert found[1] == norm == pytest.approx(np.linalg.norm(coef, axis=1).mean())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_epochs_end_has_the_same_bits_without_a_copy(dtype, isa):
    """On each instruction set, at a scale of the weights that is not 1."""
    data, of = table().data(dtype, "dense", sign=False), lanes(1, "squared_error")
    settings = Settings("squared_error", average=5)
    state = solver.State(data, of, settings)
    run = _core.Run(data, of, settings, state, isa=isa)
    for _ in range(30):
        while not run.advance(10**9):
            pass
        _, _, loss, norm = run.measure()
        assert run.measure_unread()[1:3] == (loss, norm)


@pytest.mark.parametrize("layout", ("dense", "csr32"))
@pytest.mark.parametrize("k", (1, 3))
def test_an_average_that_is_not_finite_is_seen_whichever_feature_has_it(k, layout):
    """While all last weights are finite."""
    data = table(30, 27).data(np.float64, layout, sign=False)
    of, settings = Lanes(k, alpha=0.0, eta0=0.01), Settings(average=1)
    state = solver.State(data, of, settings)
    solver.run_epoch(data, of, settings, state)
    run = _core.Run(data, of, settings, state)
    run.flush()
    vectors, intercepts = state.vectors()
    assert run.measure_unread()[-1]
    for feature in range(27):
        strange = vectors.copy()
        strange[1, k - 1, feature] = np.inf
        state.set_vectors(strange, intercepts)
        assert np.isfinite(state.last_weights()[0]).all()
        assert not np.isfinite(state.weights(settings)[0][k - 1, feature])
        assert not run.measure_unread()[-1], feature


@pytest.mark.parametrize("k", (2, 3))
def test_coupled_lanes_share_their_penalties(k):
    X = np.random.default_rng(0).normal(size=(90, 4))
    data = Data(X, np.arange(90.0) % k)
    of = Lanes(k, alpha=[0.1, 0.2, 0.3][:k], eta0=0.01, label=np.arange(k))
    settings = Settings("softmax", sign_targets=True)
    state = solver.State(data, of, settings)
    solver.run_epoch(data, of, settings, state)
    w, _, loss, _ = _core.Run(data, of, settings, state).measure()
    penalty = 0.5 * (of.alpha * (w**2).sum(axis=1)).sum()
    assert penalty > 1e-6
    assert_allclose(loss, state.loss_sum / state.row_count + penalty)


def test_a_short_order_is_drawn_by_the_call_that_trains():
    """A long one is drawn in parts, by calls of their own, so that Ctrl-C need not wait."""
    for n, drawn in ((100, 0), (300_000, 3)):
        data = Data(np.ones((n, 1), dtype=np.float32), np.ones(n))
        problem = data, Lanes(1, alpha=0.0, eta0=0.01), Settings()
        run, draws = _core.Run(*problem, _core.State(*problem)), 0
        while run.draws_order:
            assert not run.advance(1 << 62)
            draws += 1
        assert draws == drawn
        assert run.advance(1 << 62)


# ---------------------------------------------------------------- what a lane sees of the problem


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lane_learns_its_own_column_of_targets(layout):
    """The bits of a table that has that column alone."""
    data = table(60).data(np.float64, layout, sign=False)
    for k, batch_size, number in product((1, 3), (1, 8), range(len(WIDTHS))):
        settings = Settings(batch_size=batch_size, **WIDTHS[number])
        for target in range(2):
            both = train_core(data, Lanes(k, alpha=0.01, eta0=0.01, target=target), settings)
            one = Data(data.X, data.y[:, target])
            alone = train_core(one, Lanes(k, alpha=0.01, eta0=0.01), settings)
            assert bits(both, settings) == bits(alone, settings), (k, batch_size, number, target)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_rate_of_an_epoch_is_that_of_its_last_update(layout):
    """Of the first lane that the last row has a weight in, however small."""
    data = table(64).data(np.float64, layout, sign=False)
    eta0, k = np.array([0.01, 0.02, 0.03, 0.04]), 4
    for last, held_out in product(range(3), (0, 1)):
        held = np.zeros(64, dtype=np.uint64)
        held[-1] = 0b0111 >> (2 - last) if held_out else 0
        some = Data(data.X, data.y, np.full(64, 0.25), held_out=held)
        of = Lanes(k, alpha=0.0, eta0=eta0, split=[1, 2, 4, 8])
        state = solver.State(some, of, Settings(sampling="sequential"))
        run = _core.Run(some, of, Settings(sampling="sequential"), state)
        assert run.advance(1 << 40)
        assert run.rate == eta0[last + 1 if held_out else 0], (last, held_out)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", (1, 2, 19))
def test_the_rate_of_few_rows_is_that_of_the_last_one(layout, width):
    """Whether it fills a block of rows or not, or has no weight."""
    data = table(60, 19).data(np.float64, layout, sign=False)
    settings = Settings(sampling="sequential", schedule=Schedule("inverse", power_t=0.5))
    of = Lanes(1, alpha=0.0, eta0=0.1, mu=3.0)
    for n, last in product(range(1, 10), (1.0, 0.0)):
        weight = np.ones(n)
        weight[n - 1] = last
        some = Data(data.X[:n, :width].copy(), data.y[:n, :1], weight)
        run = _core.Run(some, of, settings, solver.State(some, of, settings))
        assert run.advance(1 << 40)
        updates = n - 1 + last
        if updates > 0:
            assert_allclose(run.rate, 0.1 / np.sqrt(1.0 + 0.1 * 3.0 * (updates - 1.0)))


@pytest.mark.parametrize("layout", ("csr32", "csr64"))
def test_rows_that_begin_or_end_with_a_value_in_two_parts(layout):
    """They have the steps of rows with the sum, also where L1 is put off."""
    rng = np.random.default_rng(2)
    indices = np.tile([3, 3, 5, 9, 0, 2, 7, 7], 30)
    X = sp.csr_array((rng.normal(size=240), indices, 4 * np.arange(61)), shape=(60, 12))
    y = rng.normal(size=60)
    sparse, dense = (Data(in_layout(X, np.float64, each), y) for each in (layout, "dense"))
    for k, average, l1 in product((1, 3), (0, 1), (0.0, 1e-2)):
        of, settings = Lanes(k, alpha=0.0, l1=l1, eta0=0.05), Settings(average=average)
        core, twin = train_core(sparse, of, settings), train_twin(dense, of, settings)
        assert difference(core, twin, settings) < TOLERANCE[np.float64], (k, average, l1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_weight_zero_between_others(layout):
    """One by one, in pairs and at the ends: the steps of the twin."""
    data = table(24).data(np.float64, layout, sign=False)
    for pattern in ([1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]):
        some = Data(data.X, data.y, np.resize(pattern, 24))
        for k, width in product(LANE_COUNTS, WIDTHS):
            of = lanes(k, "squared_error")
            settings = Settings(sampling="sequential", **width)
            core, twin = train_core(some, of, settings), train_twin(some, of, settings)
            assert difference(core, twin, settings) < TOLERANCE[np.float64], (pattern, k, width)


@pytest.mark.parametrize("changed", ("alpha", "l1"))
@pytest.mark.parametrize("k", (1, 3))
def test_penalties_of_adagrad_that_change_between_calls(k, changed):
    """Steps that wait are done with the penalty that they were taken with."""
    data = table(60).data(np.float64, "csr32", sign=False)
    settings = Settings(optimizer=AdaGrad())
    numbers = {"alpha": 1e-2, "l1": 1e-2, "eta0": 0.05}
    of = Lanes(k, **numbers)
    core, twin = solver.State(data, of, settings), reference.State(data, of, settings)
    for value in (1e-2, 0.5, 1e-3):
        of = Lanes(k, **{**numbers, changed: value})
        solver.run_epoch(data, of, settings, core)
        reference.run_epoch(data, of, settings, twin)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", (1, 3))
def test_the_row_of_a_batch_that_is_not_finite(layout, k):
    """Rows before it may be so too if they have no weight."""
    X = table(20).X.astype(np.float64)
    X[[2, 7], 0], X[[2, 7, 5], 1] = 1e300, 1.0
    weight = np.ones(20)
    weight[2] = 0.0
    data = Data(in_layout(X, np.float64, layout), np.ones(20), weight)
    of, settings = Lanes(k, alpha=0.0, eta0=0.1), Settings(batch_size=10, sampling="sequential")
    state = solver.State(data, of, settings)
    state.set_weights(np.full((k, data.d), 1e10), np.zeros(k))
    run = _core.Run(data, of, settings, state)
    with pytest.raises(DivergenceError):
        run.advance(1 << 40)
    assert run.bad_row == 7


@pytest.mark.parametrize("isa", ISAS)
def test_every_half_is_read_as_it_is(isa):
    """Denormal ones, infinities and NaN too, whether the processor converts them or not."""
    X = np.ascontiguousarray(np.arange(1 << 16, dtype=np.uint16).view(np.float16)[:, None])
    data, of = Data(X, np.zeros(len(X))), Lanes(1, alpha=0.0, eta0=0.1)
    state = solver.State(data, of, Settings())
    state.set_weights(np.ones((1, 1)), np.zeros(1))
    run = _core.Run(data, of, Settings(), state, isa=isa)
    with np.errstate(invalid="ignore"):  # ARM's processors tell of signalling NaN
        expected = X[:, 0].astype(np.float32)
    assert_array_equal(run.score(np.arange(len(X)))[:, 0], expected)
