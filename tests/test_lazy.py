"""Features of CSR rows that wait: averages, momentum, elastic net and L1 with averages.

Each is compared with the twin, which goes over all features at every step, over settings drawn so
that features wait long, weights die and come back, tables of pending steps fill up, columns are
there twice in a row, and lanes are at different updates.
"""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering, values_of
from problems import LAYOUTS, TOLERANCE, difference, table

from fastsgd import _core, reference, solver
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule

ROWS, FEATURES = 400, 60
PENALTIES = {
    "none": (0.0, 0.0),
    "l2": (1e-3, 0.0),
    "strong l2": (2.0, 0.0),
    "l1": (0.0, 2e-3),
    "elastic net": (1e-3, 1e-3),
    "strong elastic net": (0.3, 0.02),
    "clipped elastic net": (25.0, 1e-3),  # eta alpha > 1 at some lane: all weights die at once
}
CASES = covering(
    {
        "penalty": PENALTIES,
        "average": (0, 1, 90),
        "momentum": (0.0, 0.9),
        "batch_size": (1, 6, 64),
        "k": (1, 3, 8, 19),
        "dtype": (np.float32, np.float64),
        "layout": LAYOUTS[1:],
        "rows": ("distinct", "repeated columns", "weights of zero"),
        "chunk": (50, 10**9),
    },
)


def sparse_rows(rng, repeated):
    """Rows of 1 to 7 values; a few features are in most rows, most are in few."""
    lengths = rng.integers(1, 8, ROWS)
    columns = (rng.random(lengths.sum()) ** 3 * FEATURES).astype(np.int32)
    indptr = np.r_[0, lengths.cumsum()].astype(np.int32)
    values = rng.normal(size=len(columns)).astype(np.float32)
    X = sp.csr_array((values, columns, indptr), shape=(ROWS, FEATURES))
    if not repeated:
        X.sum_duplicates()
    return X


@pytest.mark.parametrize(
    ("penalty", "average", "momentum", "batch_size", "k", "dtype", "layout", "rows", "chunk"),
    values_of(CASES),
)
def test_as_the_twin(penalty, average, momentum, batch_size, k, dtype, layout, rows, chunk):
    rng = np.random.default_rng(len(penalty) + 100 * k + batch_size)
    X = sparse_rows(rng, rows == "repeated columns")
    index = np.int32 if layout == "csr32" else np.int64
    X = sp.csr_array(
        (X.data.astype(dtype), X.indices.astype(index), X.indptr.astype(index)), shape=X.shape
    )
    weight = None
    if rows == "weights of zero":
        weight = rng.integers(0, 3, ROWS).astype(dtype)
    data = Data(X, rng.normal(size=ROWS).astype(dtype), weight)
    l2, l1 = PENALTIES[penalty]
    share = np.linspace(0.5, 1.0, k)
    eta0 = 0.005 if momentum else 0.05
    lanes = Lanes(k, alpha=l2 * share, l1=l1 * share[::-1], eta0=eta0)
    settings = Settings(
        batch_size=batch_size, average=average, optimizer=SGD(momentum=momentum), seed=5
    )
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    run = _core.Run(data, lanes, settings, core)
    most = 0
    for epoch in range(3):
        while core.epoch == epoch:
            run.advance(chunk)
            most = max(most, core.pending)
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < TOLERANCE[dtype] * (4 if l1 or average else 1)
        assert np.abs(core.last_weights()[0] - twin.W.T).max() < 1e3 * np.finfo(dtype).eps
    if momentum or not penalty.startswith("clipped"):  # after such a step nothing is pending
        assert (most > 0) == (l1 > 0 or momentum > 0)
    flushed = core.copy()
    _core.Run(data, lanes, settings, flushed).flush()
    assert flushed.pending == 0
    assert difference(flushed, twin, settings) < TOLERANCE[dtype] * (4 if l1 or average else 1)


def assert_as_the_twin_however_cut(data, lanes, settings, tolerance):
    """Four epochs, in whole and in pieces with pickles between them: the twin's numbers, and one
    another's bits. The two states at the end."""
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    run = _core.Run(data, lanes, settings, core)
    cut = core.copy()
    for epoch in range(4):
        while core.epoch == epoch:
            run.advance(10**9)
        while cut.epoch == epoch:
            cut = pickle.loads(pickle.dumps(cut))
            _core.Run(data, lanes, settings, cut).advance(300)
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < tolerance
        assert np.abs(core.last_weights()[0] - twin.W.T).max() < 1e-12
    assert np.array_equal(cut.weights(settings)[0], core.weights(settings)[0])
    assert np.array_equal(cut.last_weights()[0], core.last_weights()[0])
    return core, twin


SPAN_CASES = covering(
    {
        "schedule": ("constant", "cosine", "user"),
        "weighted": (False, True),
        "momentum": (0.003, 0.9, 0.99),
        "features": (FEATURES, 4000),
        "average": (0, 40),
        "batch_size": (1, 6),
        "k": (1, 3, 8, 19),
        "alpha": (1e-3, 2.0),
    }
)


@pytest.mark.parametrize(
    ("schedule", "weighted", "momentum", "features", "average", "batch_size", "k", "alpha"),
    values_of(SPAN_CASES),
)
def test_spans_of_momentum(schedule, weighted, momentum, features, average, batch_size, k, alpha):
    """Spans of one step, of rates that differ from their plan, and of features that change to a
    span as they are seen give the twin's numbers, however a run is cut and copied."""
    rng = np.random.default_rng(k + features)
    X = sparse_rows(rng, repeated=True).astype(np.float64)
    X = sp.csr_array((X.data, X.indices * (features // FEATURES), X.indptr), (ROWS, features))
    weight = rng.integers(0, 3, ROWS).astype(np.float64) if weighted else None
    data = Data(X, rng.normal(size=ROWS), weight)
    lanes = Lanes(k, alpha=alpha * np.linspace(0.5, 1.0, k), eta0=0.05 * (1 - momentum))
    schedules = {
        "constant": Schedule("constant"),
        "cosine": Schedule("cosine", total_epochs=7),
        "user": Schedule("callable", function=lambda t, e: 0.02 * (1 - momentum) / (1 + t) ** 0.2),
    }
    settings = Settings(
        schedule=schedules[schedule],
        batch_size=batch_size,
        average=average,
        optimizer=SGD(momentum=momentum, nesterov=k % 2 == 0),
    )
    assert_as_the_twin_however_cut(data, lanes, settings, TOLERANCE[np.float64])


@pytest.mark.parametrize("average", (1, 7))
@pytest.mark.parametrize("k", (1, 3))
def test_the_average_of_one_weight_is_that_weight(k, average):
    """Within a span, whose coordinates are those of weights that move on until it ends."""
    data = table(d=40).data(np.float64, "csr32", sign=False)
    of = Lanes(k, alpha=0.01, eta0=0.02)
    settings = Settings(average=average, optimizer=SGD(0.9))
    state = solver.State(data, of, settings)
    solver.run_epoch(data, of, settings, state, batches=average)
    assert state.pending > 0
    assert (state.t == average).all()
    coef, last = state.weights(settings)[0], state.last_weights()[0]
    assert np.abs(last).max() > 0.01
    assert np.abs(coef - last).max() < 1e-12


@pytest.mark.parametrize("nesterov", (False, True))
@pytest.mark.parametrize("k", (1, 3))
def test_averages_of_features_that_are_some_spans_behind(k, nesterov):
    """So many features that no span changes all of them, read in the middle of a span: every row
    of weight zero makes the rates other ones than were planned, which opens a new one."""
    rng = np.random.default_rng(0)
    d, rows = 50_000, 36
    columns, indptr = rng.integers(0, d, 2 * rows), np.arange(0, 2 * rows + 1, 2)
    X = sp.csr_array((rng.normal(size=2 * rows), columns, indptr), shape=(rows, d))
    weight = np.where(np.arange(rows) % 6 == 3, 0.0, 1.0)
    data = Data(X, rng.normal(size=rows), weight)
    lanes = Lanes(k, alpha=np.linspace(0.1, 0.2, k), eta0=0.02)
    settings = Settings(
        schedule=Schedule("cosine", total_epochs=2.0),
        average=2,
        optimizer=SGD(momentum=0.95, nesterov=nesterov),
        sampling="sequential",
    )
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    for batches in (5, 4, 6, 9):
        solver.run_epoch(data, lanes, settings, core, batches=batches)
        reference.run_epoch(data, lanes, settings, twin, batches=batches)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    assert core.pending > 3


MOVING_CASES = covering(
    {
        "l1": (1e-5, 2e-3, 0.05),
        "l2": (0.0, 1e-4, 0.01),  # stronger ones amplify rounding without bound, on dense rows too
        "schedule": ("constant", "cosine", "user"),
        "weighted": (False, True),
        "momentum": (0.01, 0.9, 0.99),
        "nesterov": (False, True),
        "average": (0, 1, 90),
        "batch_size": (1, 6, 64),
        "k": (1, 3, 19),
    }
)


@pytest.mark.parametrize(
    ("l1", "l2", "schedule", "weighted", "momentum", "nesterov", "average", "batch_size", "k"),
    values_of(MOVING_CASES),
)
def test_momentum_under_l1(l1, l2, schedule, weighted, momentum, nesterov, average, batch_size, k):
    """Weights that velocity pushes to 0, through it and away from it give the twin's numbers,
    however a run is cut and copied; l2 is eta alpha of the first step."""
    rng = np.random.default_rng(k + batch_size)
    X = sparse_rows(rng, repeated=True).astype(np.float64)
    weight = rng.integers(0, 3, ROWS).astype(np.float64) if weighted else None
    data = Data(X, rng.normal(size=ROWS), weight)
    eta0 = 0.1 * (1 - momentum)
    lanes = Lanes(
        k,
        alpha=l2 / eta0 * np.linspace(1.0, 0.5, k),
        l1=l1 * np.linspace(0.0 if k > 1 else 1.0, 1.0, k),
        eta0=eta0,
    )
    schedules = {
        "constant": Schedule("constant"),
        "cosine": Schedule("cosine", total_epochs=7),
        "user": Schedule("callable", function=lambda t, e: eta0 / (1 + t) ** 0.2),
    }
    settings = Settings(
        schedule=schedules[schedule],
        batch_size=batch_size,
        average=average,
        optimizer=SGD(momentum=momentum, nesterov=nesterov),
    )
    core, twin = assert_as_the_twin_however_cut(data, lanes, settings, 4 * TOLERANCE[np.float64])
    assert ((core.last_weights()[0] == 0) != (twin.W.T == 0)).mean() < 0.01


@pytest.mark.parametrize("momentum", (0.0, 0.9))
@pytest.mark.parametrize("average", (0, 1))
@pytest.mark.parametrize("k", (4, 19))
def test_no_lane_sees_the_penalty_of_another(k, average, momentum):
    """The first half of them has the same bits, whatever the L1 of the others is."""
    rng = np.random.default_rng(0)
    X = sparse_rows(rng, repeated=False)
    data = Data(X, rng.normal(size=ROWS).astype(np.float32))
    settings = Settings(average=average, optimizer=SGD(momentum=momentum))
    found = []
    for others in (1e-3, 1e2):
        l1 = np.where(np.arange(k) < k // 2, 1e-2, others)
        lanes = Lanes(k, alpha=1e-3, l1=l1, eta0=0.02 * (1 - momentum))
        state = solver.State(data, lanes, settings)
        for _ in range(2):
            solver.run_epoch(data, lanes, settings, state)
        found.append(state.weights(settings)[0])
    assert np.array_equal(found[0][: k // 2], found[1][: k // 2])
    assert not np.array_equal(found[0][k // 2 :], found[1][k // 2 :])


@pytest.mark.parametrize("average", (0, 1))
@pytest.mark.parametrize("nesterov", (False, True))
@pytest.mark.parametrize("momentum", (0.3, 0.9, 0.99))
@pytest.mark.parametrize("l2", (1e-5, 1e-3, 0.02, 0.3, 1.05))
def test_weights_that_oscillate_stop_at_zero(l2, momentum, nesterov, average):
    """Features that only the first row has, under L2 (eta alpha) so strong that they would go
    through 0 and come back: they are 0 where the twin's are, after any number of steps."""
    rng = np.random.default_rng(0)
    d, steps = 4000, 200
    first = sp.csr_array(rng.normal(size=(1, d)) * 10.0 ** rng.uniform(-3, 0, d))
    others = sp.csr_array((np.ones(steps), np.zeros(steps, int), np.arange(steps + 1)), (steps, d))
    data = Data(sp.csr_array(sp.vstack([first, others])), np.r_[5.0, np.zeros(steps)])
    eta0 = 1e-3 * (1 - momentum)
    lanes = Lanes(2, alpha=l2 / eta0, l1=np.array([0.02, 1e-3]), eta0=eta0)
    optimizer = SGD(momentum=momentum, nesterov=nesterov)
    settings = Settings(sampling="sequential", average=average, optimizer=optimizer)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    zeros = set()
    for batches in (1, 1, 2, 5, 11, 17, 40, 60):
        solver.run_epoch(data, lanes, settings, core, batches=batches)
        reference.run_epoch(data, lanes, settings, twin, batches=batches)
        assert np.array_equal(core.last_weights()[0] == 0, twin.W.T == 0)
        assert difference(core, twin, settings) < 1e-12
        zeros.add((twin.W == 0).sum())
    assert core.pending == 137
    assert len(zeros) > 2


def test_a_saved_state_has_as_many_pending_steps_as_there_is_room_for():
    rng = np.random.default_rng(0)
    data = Data(sparse_rows(rng, repeated=False), rng.normal(size=ROWS).astype(np.float32))
    lanes, settings = Lanes(1, alpha=0.1, l1=0.1, eta0=0.01), Settings(optimizer=SGD(momentum=0.9))
    state = solver.State(data, lanes, settings)
    solver.run_epoch(data, lanes, settings, state, batches=3)
    fields = state.__getstate__()
    assert fields["pending"] == 3
    with pytest.raises(ValueError, match="pending as an integer in"):
        type(state).__new__(type(state)).__setstate__({**fields, "pending": 64})


def test_penalties_with_momentum_that_change_between_calls():
    """Steps that wait are done with the settings they were taken with."""
    rng = np.random.default_rng(1)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    core = twin = None
    for l1, alpha, momentum in (
        (1e-3, 0.0, 0.9),
        (1e-3, 1.0, 0.9),
        (0.0, 1.0, 0.9),
        (1e-4, 1e-3, 0.5),
        (1e-2, 1e-3, 0.5),
    ):
        lanes = Lanes(3, alpha=alpha, l1=np.array([1e-3, l1, l1]), eta0=0.01)
        settings = Settings(optimizer=SGD(momentum=momentum), average=3)
        if core is None:
            core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
        solver.run_epoch(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < 4 * TOLERANCE[np.float64]


def test_settings_of_momentum_that_change_between_calls():
    """A span that was planned with other settings ends where they change."""
    rng = np.random.default_rng(1)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    settings = Settings(optimizer=SGD(momentum=0.9), average=3)
    lanes = Lanes(3, alpha=1e-3, eta0=0.01)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    for alpha, momentum, nesterov, average in (
        (1e-3, 0.9, False, 3),
        (1e-2, 0.9, False, 3),
        (1e-2, 0.5, False, 3),
        (1e-2, 0.5, True, 3),
        (1e-2, 0.5, True, 3),
    ):
        lanes = Lanes(3, alpha=alpha, eta0=0.01)
        settings = Settings(optimizer=SGD(momentum=momentum, nesterov=nesterov), average=average)
        solver.run_epoch(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("average", (0, 5))
@pytest.mark.parametrize("k", (3, 19))
def test_averages_of_features_that_wait_over_many_spans(k, average):
    """A first lane that stands still has no steps beside which a change of all features would cost
    little: each waits until it is seen, or read. Rates that change end the spans."""
    rng = np.random.default_rng(1)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    settings = Settings(optimizer=SGD(momentum=0.9), average=average, sampling="sequential")
    lanes = Lanes(k, alpha=np.linspace(1e-3, 0.3, k), eta0=0.01)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    core.active[0], twin.active[0] = 0.0, False
    for factor in 0.9 ** np.arange(20):
        core.rate_factor[:] = twin.rate_factor[:] = factor
        solver.run_epoch(data, lanes, settings, core, batches=7)
        reference.run_epoch(data, lanes, settings, twin, batches=7)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    assert core.__getstate__()["arrays"]["last_update"].min() < core.pending == 20
    flushed = core.copy()
    _core.Run(data, lanes, settings, flushed).flush()
    assert difference(flushed, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("average", (0, 1))
def test_weights_die_and_stay_zero(average):
    """Under a strong L1 penalty features that wait are exactly zero when they are read."""
    rng = np.random.default_rng(0)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    lanes = Lanes(1, alpha=0.01, l1=0.01, eta0=0.05)
    settings = Settings(average=average)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    solver.run_epoch(data, lanes, settings, core)
    reference.run_epoch(data, lanes, settings, twin)
    assert core.pending > 0
    zeros = core.last_weights()[0] == 0.0
    assert 20 < zeros.sum() < FEATURES
    assert np.array_equal(zeros, twin.W.T == 0.0)


@pytest.mark.parametrize("k", (1, 3))
def test_averages_of_weights_that_die_one_by_one(k):
    """Of features that the first row alone has, read while their deaths wait in the state."""
    rng = np.random.default_rng(0)
    d, steps = 40, 50
    first = sp.csr_array(rng.uniform(0.1, 1.0, (1, d)))
    others = sp.csr_array((np.ones(steps), np.full(steps, 1), np.arange(steps + 1)), (steps, d))
    data = Data(sp.csr_array(sp.vstack([first, others])), np.r_[5.0, np.zeros(steps)])
    lanes = Lanes(k, alpha=0.1, l1=0.1, eta0=0.05)
    settings = Settings(sampling="sequential", average=1)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    dead = set()
    for done in range(0, steps - 4, 4):
        solver.run_epoch(data, lanes, settings, core, batches=4)
        reference.run_epoch(data, lanes, settings, twin, batches=4)
        assert core.pending == done + 4
        dead.add((twin.W == 0).sum())
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    assert len(dead) > 5 and max(dead) >= k * (d - 1)


def test_penalties_that_change_between_calls():
    """L1 alone, then with L2, then alone again: what waits is kept, whatever waits then."""
    rng = np.random.default_rng(1)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    settings = Settings()
    first = Lanes(1, alpha=0.0, l1=1e-3, eta0=0.05)
    core, twin = solver.State(data, first, settings), reference.State(data, first, settings)
    for alpha in (0.0, 1e-2, 0.0, 1e-3):
        lanes = Lanes(1, alpha=alpha, l1=1e-3, eta0=0.05)
        solver.run_epoch(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("l1", (0.0, 1e-3))
@pytest.mark.parametrize("average", (0, 1))
@pytest.mark.parametrize("momentum", (0.0, 0.9))
def test_dense_rows_and_csr_in_turns(momentum, average, l1):
    """One lane's numbers are stored as pairs on CSR alone: a state goes from one to the other."""
    rng = np.random.default_rng(3)
    X, y = sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS)
    tables = Data(X, y), Data(X.toarray(), y)
    lanes = Lanes(1, alpha=1e-2, l1=l1, eta0=0.01)
    settings = Settings(average=average, optimizer=SGD(momentum=momentum))
    core, twin = (of.State(tables[0], lanes, settings) for of in (solver, reference))
    for data in tables * 2:
        run = _core.Run(data, lanes, settings, core)
        while not run.advance(500):
            core = pickle.loads(pickle.dumps(core))
            run = _core.Run(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    both = [_core.Run(data, lanes, settings, core) for data in tables]
    for run, data in zip(both, tables, strict=True):  # each leaves the state as the other needs it
        while not run.advance(1 << 30):
            pass
        reference.run_epoch(data, lanes, settings, twin)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]


WAITING = (
    ({"optimizer": SGD(momentum=0.9)}, {}),
    ({"optimizer": SGD(momentum=0.9), "average": 1}, {}),
    ({"optimizer": SGD(momentum=0.9)}, {"l1": 1e-3}),
    ({"average": 1}, {"l1": 1e-3}),
    ({}, {"alpha": 0.0, "l1": 1e-3}),
    ({"optimizer": AdaGrad()}, {}),
)


@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize(("settings", "numbers"), WAITING, ids=str)
def test_verbs_on_dense_rows_see_the_steps_that_wait_on_csr(settings, numbers, k):
    X = table(60, 30).X
    tables = Data(sp.csr_array(X), table(60, 30).y), Data(X, table(60, 30).y)
    lanes = Lanes(k, **{"alpha": 0.5, "eta0": 0.01, **numbers})
    settings, rows = Settings(sampling="sequential", **settings), np.arange(60)
    state = solver.State(tables[0], lanes, settings)
    solver.run_epoch(tables[0], lanes, settings, state, batches=40)
    assert state.pending > 0
    sparse, dense = (_core.Run(data, lanes, settings, state) for data in tables)
    coef, intercept = state.last_weights()
    for run in (sparse, dense):
        scores = run.score(rows)
        assert np.abs(scores - (X @ coef.T + intercept)).max() < 100 * TOLERANCE[np.float64]
        assert np.abs(scores).max() > 0.1
    for one, other in zip(sparse.gradient_sums(rows), dense.gradient_sums(rows), strict=True):
        assert np.abs(one - other).max() < 1e4 * TOLERANCE[np.float64]
    assert state.pending > 0


@pytest.mark.parametrize("average", (0, 1))
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("momentum", (0.0, 0.9))
def test_a_step_touches_no_other_feature(momentum, k, average):
    """O(non-zeros) with an elastic net too: what is stored of the other features stays until the
    epoch ends."""
    rng = np.random.default_rng(0)
    first = sp.csr_array(rng.normal(size=(1, 1000)))
    few = sp.csr_array(
        (rng.normal(size=410), np.tile(np.arange(10), 41), np.arange(0, 411, 10)), shape=(41, 1000)
    )
    data = Data(sp.csr_array(sp.vstack([first, few])), rng.normal(size=42))
    lanes = Lanes(k, alpha=0.01, l1=1e-4, eta0=1e-3)
    settings = Settings(sampling="sequential", average=average, optimizer=SGD(momentum=momentum))
    state = solver.State(data, lanes, settings)
    solver.run_epoch(data, lanes, settings, state, batches=1)
    before, model = state.__getstate__()["arrays"]["w"], state.weights(settings)[0]
    solver.run_epoch(data, lanes, settings, state, batches=40)
    after, later = state.__getstate__()["arrays"]["w"], state.weights(settings)[0]
    others = (..., slice(10, 1000)) if k == 1 else slice(10, 1000)
    assert state.pending == 41
    assert np.array_equal(after[others], before[others])
    assert (later[:, 10:] != model[:, 10:]).mean() > 0.9


def test_catching_up_does_not_depend_on_the_cut():
    """The bits are those of one call, however a run is cut and its state is pickled between."""
    rng = np.random.default_rng(2)
    data = Data(sparse_rows(rng, repeated=False), rng.normal(size=ROWS).astype(np.float32))
    for l1, momentum, average in (
        (1e-3, 0.0, 1),
        (1e-3, 0.0, 0),
        (0.0, 0.9, 1),
        (1e-3, 0.9, 1),
        (0.0, 0.0, 7),
    ):
        lanes = Lanes(3, alpha=1e-3, l1=l1, eta0=0.01)
        settings = Settings(optimizer=SGD(momentum=momentum), average=average)
        whole, cut = (solver.State(data, lanes, settings) for _ in range(2))
        for _ in range(2):
            solver.run_epoch(data, lanes, settings, whole)
        while cut.epoch < 2:
            cut = pickle.loads(pickle.dumps(cut))
            _core.Run(data, lanes, settings, cut).advance(700)
        for one, other in zip(whole.weights(settings), cut.weights(settings), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("k", (1, 3))
def test_a_copy_of_a_state_that_was_flushed_goes_on_with_the_same_bits(k):
    """Within an epoch of a user's rates, where spans become shorter: what spans were planned before
    changes no bit."""
    rng = np.random.default_rng(2)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    schedule = Schedule("callable", function=lambda t, e: 0.002 / (1 + t) ** 0.2)
    lanes = Lanes(k, alpha=1e-3, eta0=0.01)
    settings = Settings(schedule=schedule, optimizer=SGD(momentum=0.9), average=1)
    state = solver.State(data, lanes, settings)
    solver.run_epoch(data, lanes, settings, state, batches=250)
    assert state.pending > 0
    _core.Run(data, lanes, settings, state).flush()
    assert state.pending == 0
    states = state, state.copy(), pickle.loads(pickle.dumps(state))
    for one in states:
        solver.run_epoch(data, lanes, settings, one)
        assert one.epoch == 1
    for one in states[1:]:
        for a, b in zip(one.weights(settings), state.weights(settings), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("average", (0, 1))
def test_lanes_that_share_their_sums_until_one_stops(average):
    """Lanes of one rate and penalty, of which one is frozen half-way and another begins again."""
    rng = np.random.default_rng(3)
    X = sparse_rows(rng, repeated=False).astype(np.float64)
    data = Data(X, rng.normal(size=(ROWS, 5)))
    lanes = Lanes(5, alpha=1e-2, l1=2e-3, eta0=0.05, target=np.arange(5))
    settings = Settings(average=average)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    shared = []
    for active in ((1, 1, 1, 1, 1), (1, 0, 1, 1, 1), (1, 1, 1, 0, 1), (1, 1, 1, 1, 1)):
        core.active[:] = active
        twin.active[:] = np.array(active, dtype=bool)
        solver.run_epoch(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
        shared.append(core.__getstate__()["sums_shared"])
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    assert shared == [1, 0, 0, 0]


@pytest.mark.parametrize("average", (0, 1))
@pytest.mark.parametrize("other", range(3))
@pytest.mark.parametrize("name", ("alpha", "l1"))
def test_lanes_of_which_one_has_another_penalty(name, other, average):
    """They share no sums, whichever of them it is."""
    rng = np.random.default_rng(3)
    data = Data(sparse_rows(rng, repeated=False).astype(np.float64), rng.normal(size=ROWS))
    penalties = {"alpha": np.full(3, 1e-2), "l1": np.full(3, 2e-3)}
    penalties[name][other] *= 2.0
    lanes, settings = Lanes(3, eta0=0.05, **penalties), Settings(average=average)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    solver.run_epoch(data, lanes, settings, core)
    reference.run_epoch(data, lanes, settings, twin)
    assert core.pending > 0
    assert difference(core, twin, settings) < TOLERANCE[np.float64]


@pytest.mark.parametrize("k", (1, 3))
def test_a_weight_below_the_rounding_of_the_penalty_stays(k):
    """A weight of 1e-18 stays that waits after a penalty of 0.125, with almost none since."""
    settings = Settings(average=1, fit_intercept=False, sampling="sequential")
    core = twin = None
    for l1, columns, y in ((0.125, [0], [1.0]), (1e-300, [0, 0, 1, 1], [0.0, 1e-18, 1.0, 1.0])):
        rows = len(columns)
        X = sp.csr_array((np.ones(rows), columns, np.arange(rows + 1)), shape=(rows, 2))
        data, lanes = Data(X, np.array(y)), Lanes(k, alpha=0.0, l1=l1, eta0=1.0)
        if core is None:
            core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
        solver.run_epoch(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
    assert core.pending == 2  # such a weight brings all features to the present
    assert (twin.W[0] == 1e-18).all()
    assert np.array_equal(core.last_weights()[0], twin.W.T)


@pytest.mark.parametrize("k", (1, 3, 8, 19))
@pytest.mark.parametrize("batch_size", (1, 6, 64))
@pytest.mark.parametrize("average", (0, 1, 90))
@pytest.mark.parametrize("decay", (0.999, 0.5, 0.2, 1e-5, 0.0))
def test_decay_too_strong_for_coordinates(decay, average, batch_size, k):
    """Steps that multiply weights by any factor, with columns that are in a row twice: the twin's
    numbers, the bits of a run in pieces, and no reading of the model changes anything."""
    rng = np.random.default_rng(4)
    data = Data(sparse_rows(rng, repeated=True).astype(np.float64), rng.normal(size=ROWS))
    lanes = Lanes(k, alpha=(1 - decay) / 0.05, l1=np.linspace(1e-4, 3e-3, k), eta0=0.05)
    settings = Settings(average=average, batch_size=batch_size, seed=1)
    core, twin = solver.State(data, lanes, settings), reference.State(data, lanes, settings)
    cut, most, nonzero = core.copy(), 0, 0
    for epoch in range(2):
        solver.run_epoch(data, lanes, settings, core)
        reference.run_epoch(data, lanes, settings, twin)
        while cut.epoch == epoch:
            _core.Run(data, lanes, settings, cut).advance(70)
            most = max(most, cut.pending)
            before = cut.__getstate__()
            nonzero = max(nonzero, np.count_nonzero(cut.weights(settings)[0]))
            after = cut.__getstate__()
            assert all(np.array_equal(before["arrays"][n], a) for n, a in after["arrays"].items())
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
        assert np.array_equal(core.last_weights()[0] == 0, twin.W.T == 0)
    assert np.array_equal(cut.weights(settings)[0], core.weights(settings)[0])
    assert nonzero > 0
    assert (most > 1) == (decay >= 0.25 or (decay == 0.2 and average == 0))


def test_weights_that_die_in_lanes_with_and_without_l1():
    """Where eta alpha is above 1."""
    X = sparse_rows(np.random.default_rng(0), repeated=True).astype(np.float64)
    data = Data(X, np.random.default_rng(1).normal(size=ROWS))
    lanes = Lanes(3, alpha=25.0, l1=[1e-3, 0.0, 1e-3], eta0=0.05)
    assert_as_the_twin_however_cut(data, lanes, Settings(), TOLERANCE[np.float64])
