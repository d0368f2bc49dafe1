"""Same bits: where a run stops, is saved, copied or moved changes nothing of its result.

State is complete and a call's end is no event: numbers are compared by their bytes.
"""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering, unmet, values_of
from problems import (
    DTYPES,
    ISAS,
    LAYOUTS,
    TOLERANCE,
    bits,
    difference,
    grid,
    lanes,
    schedule_of,
    sign_targets,
    table,
    targets_of,
    train_core,
)

from fastsgd import SGDRegressor, _core, reference, schedules, solver
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import Lanes, Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import SCHEDULES

N, D = 70, 19  # two chunks of a dense batch and a bit; more steps than may be pending, and than d
WIDTHS = {
    "plain": {},
    "momentum": {"optimizer": SGD(0.9)},
    "average": {"average": 5},
    "both": {"optimizer": SGD(0.8, nesterov=True), "average": 5},
    "adagrad": {"optimizer": AdaGrad()},
    "averaged adagrad": {"optimizer": AdaGrad(), "average": 5},
}
AXES = {
    "layout": LAYOUTS,
    "k": (1, 3, 19),
    "width": WIDTHS,
    "batch_size": (1, 5, N),
    "penalty": ("l2", "l1", "elasticnet"),
}
CASES = covering(AXES, crossed=[("layout", "k", "width")])
COPIED = {"loss": LOSSES, "kind": SCHEDULES, "sampling": SAMPLINGS, "batch_size": (1, 5)}
COPIES = covering(COPIED, seed=1)


@cache
def data_of(dtype, layout):
    return table(N, D).data(dtype, layout, sign=False, weighted=True)


def settings_of(width, batch_size, **other):
    return Settings(batch_size=batch_size, seed=3, **WIDTHS[width], **other)


def place(state):
    return state.epoch, state.row, state.batch_row


def train_in_stretches(data, of, settings, *, isa=None, epochs=2, budget=1, copy=None):
    """A run in calls of a budget, in a copy after each; also the rows of open batches it saw."""
    state, seen = solver.State(data, of, settings), set()
    run = _core.Run(data, of, settings, state, isa=isa)
    while state.epoch < epochs:
        before = place(state)
        while place(state) == before:  # a call may also do no more than draw the order
            run.advance(budget)
        seen.add(state.batch_row)
        if copy is not None:
            state = copy(state)
            run = _core.Run(data, of, settings, state, isa=isa)
    return state, seen


def test_every_two_values_of_every_two_axes_meet():
    assert unmet(CASES, AXES) == []
    assert unmet(CASES, {name: AXES[name] for name in ("layout", "k", "width")}, strength=3) == []
    assert unmet(COPIES, COPIED) == []


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_stretches_make_no_difference(dtype, isa):
    """Calls with a budget of 1 give the bits of one call, and do stop inside a batch."""
    for layout, k, width, batch_size, penalty in values_of(CASES):
        data, of = data_of(dtype, layout), lanes(k, "squared_error", penalty)
        settings = settings_of(width, batch_size)
        one = train_core(data, of, settings, isa, epochs=2)
        many, seen = train_in_stretches(data, of, settings, isa=isa)
        assert bits(many, settings) == bits(one, settings), (layout, k, width, batch_size, penalty)
        inside = batch_size == N and layout == "dense"  # CSR has longer chunks
        assert (max(seen) > 0) == inside, (layout, k, width, batch_size, penalty, seen)


@pytest.mark.parametrize("copied", (False, True))
def test_stops_inside_a_batch_on_csr_make_no_difference(copied):
    """Batches of more rows than a chunk, 256, are gathered; the others go in row by row."""
    examples = table(600, D)
    for k, width, batch_size, penalty in (
        (1, "plain", 600, "l2"),
        (3, "momentum", 300, "l2"),
        (1, "both", 600, "l1"),
        (3, "plain", 257, "l1"),
        (1, "plain", 256, "l1"),
        (3, "average", 200, "l2"),
        (1, "adagrad", 600, "l1"),
        (3, "adagrad", 200, "l2"),
        (3, "averaged adagrad", 300, "l2"),
    ):
        data = examples.data(np.float64, "csr32", sign=False, weighted=True)
        of, settings = lanes(k, "squared_error", penalty), settings_of(width, batch_size)
        one = train_core(data, of, settings, epochs=2)
        copy = solver.State.copy if copied else None
        many, seen = train_in_stretches(data, of, settings, copy=copy)
        assert bits(many, settings) == bits(one, settings), (k, width, batch_size, penalty)
        assert (max(seen) > 0) == (batch_size > 256), (batch_size, seen)
        twin = reference.State(data, of, settings)
        for _ in range(2):
            reference.run_epoch(data, of, settings, twin)
        assert difference(one, twin, settings) < TOLERANCE[np.float64]


def pickled(state):
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("copy", (pickled, solver.State.copy), ids=("pickled", "copied"))
def test_copies_continue_the_run(copy):
    """A State pickled or copied at every stop and continued in the copy; inside batches too."""
    for layout, k, width, batch_size, penalty in values_of(CASES):
        data, of = data_of(np.float32, layout), lanes(k, "squared_error", penalty)
        settings = settings_of(width, batch_size)
        one = train_core(data, of, settings, epochs=2)
        many, _ = train_in_stretches(data, of, settings, budget=300, copy=copy)
        assert bits(many, settings) == bits(one, settings), (layout, k, width, batch_size, penalty)


@pytest.mark.parametrize("loss", LOSSES)
def test_copies_continue_every_loss_schedule_and_sampling(loss):
    """No schedule's horizon and no order of samples is left behind."""
    data = table(N, D).data(np.float32, "dense", **targets_of(loss))
    for case in (case for case in COPIES if case["loss"] == loss):
        schedule = schedule_of(case["kind"], step_epochs=0.5, total_epochs=1.5, warmup_steps=9)
        settings = settings_of(
            "plain",
            case["batch_size"],
            loss=loss,
            sign_targets=sign_targets(loss),
            fit_intercept=loss != "linear",
            sampling=case["sampling"],
            schedule=schedule,
        )
        one = train_core(data, lanes(3, loss), settings, epochs=2)
        many, _ = train_in_stretches(
            data, lanes(3, loss), settings, budget=300, copy=solver.State.copy
        )
        assert bits(many, settings) == bits(one, settings), case


def test_a_copy_is_on_its_own():
    """Training the copy leaves the original where it was."""
    data, of, settings = data_of(np.float64, "csr32"), lanes(3, "squared_error"), Settings()
    state = train_core(data, of, settings, epochs=1)
    before, copy = bits(state, settings), state.copy()
    solver.run_epoch(data, of, settings, copy)
    assert bits(copy, settings) != before == bits(state, settings)


CONTINUE = """
import pickle, sys
from fastsgd import solver
data, lanes, settings, state = pickle.load(sys.stdin.buffer)
while state.epoch < 2:
    solver.run_epoch(data, lanes, settings, state)
pickle.dump(state, sys.stdout.buffer)
"""


@pytest.mark.parametrize("layout", ("dense", "csr32"))
def test_another_process_continues_the_run(layout):
    """A run saved in the middle of a batch goes on in a new process as if nothing had happened."""
    data = table(600, D).data(np.float32, layout, sign=False, weighted=True)
    of, settings = lanes(3, "squared_error"), settings_of("both", 290)
    one = train_core(data, of, settings, epochs=2)
    state = solver.State(data, of, settings)
    run = _core.Run(data, of, settings, state)
    while not (state.row > 0 and state.batch_row > 0):
        run.advance(1)
    saved = pickle.dumps((data, of, settings, state))
    child = subprocess.run(
        [sys.executable, "-c", CONTINUE], input=saved, capture_output=True, check=True
    )
    assert bits(pickle.loads(child.stdout), settings) == bits(one, settings)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_epochs_at_once_or_one_by_one(kind):
    """fit(max_epochs=4) and four fits of one epoch, a schedule with a horizon included."""
    data, of = data_of(np.float64, "csr64"), lanes(3, "squared_error")
    settings = settings_of("both", 5, schedule=schedule_of(kind, step_epochs=2.0, total_epochs=4.0))
    one, many = (solver.State(data, of, settings) for _ in range(2))
    solver.fit(data, of, settings, one, solver.Stopping(max_epochs=4, tol=None))
    for _ in range(4):
        solver.fit(data, of, settings, many, solver.Stopping(max_epochs=1, tol=None))
    assert bits(many, settings) == bits(one, settings)


def test_threads_at_once_or_one_after_the_other():
    """Fits of different problems in Python threads, which the core leaves the GIL to."""
    jobs = []
    for seed, case in enumerate(grid(layout=LAYOUTS, k=(1, 3, 19))):
        data = table(3000, D, seed).data(np.float32, case["layout"], sign=False)
        jobs.append((data, lanes(case["k"], "squared_error"), settings_of("both", 5)))
    serial = [bits(train_core(*job, epochs=2), job[2]) for job in jobs]
    together = Barrier(len(jobs))

    def train(job):
        together.wait()
        return bits(train_core(*job, epochs=2, budget=5000), job[2])

    with ThreadPoolExecutor(len(jobs)) as pool:
        assert list(pool.map(train, jobs)) == serial


# ---------------------------------------------------------------- pending steps of CSR


LAZY_CASES = covering({"width": ("adagrad",), "k": (1, 3, 19), "d": (19, 1100)})


@pytest.mark.parametrize(("width", "k", "d"), values_of(LAZY_CASES))
def test_pending_steps_are_flushed_in_time(width, k, d):
    """More steps than may be pending (64; AdaGrad 256 for d = 1100) give the twin's numbers too."""
    data = table(N, d).data(np.float64, "csr32", sign=False)
    of = Lanes(k, alpha=np.geomspace(0.001, 0.1, k), eta0=0.1 / d)
    settings = settings_of(width, 1)
    core, twin = solver.State(data, of, settings), reference.State(data, of, settings)
    pending = []
    for _ in range(5):
        solver.run_epoch(data, of, settings, core)
        reference.run_epoch(data, of, settings, twin)
        pending.append(core.pending)
        assert difference(core, twin, settings) < TOLERANCE[np.float64]
    assert core.t[0] > max(pending) > 0
    assert len(set(pending)) > 1  # flushed in between, at another step of each epoch


@pytest.mark.parametrize("k", (1, 3, 19))
@pytest.mark.parametrize("width", WIDTHS)
def test_layouts_take_turns(width, k):
    """One State trained on CSR rows, then on the same rows dense, and back, as the twin trains."""
    of = lanes(k, "squared_error")
    for batch_size in (1, 5):
        settings = settings_of(width, batch_size)
        data = [data_of(np.float64, layout) for layout in ("csr32", "dense", "csr64")]
        core, twin = (e.State(data[0], of, settings) for e in (solver, reference))
        turns = [_core.Run(each, of, settings, core) for each in data]
        stretch, pending = 0, []
        while core.epoch < 3:
            pending.append(core.pending)
            turns[stretch % 3].advance(100)
            stretch += 1
        for _ in range(3):
            reference.run_epoch(data[1], of, settings, twin)
        assert stretch >= 30
        waits = width not in ("plain", "average", "averaged adagrad")
        assert (max(pending[1::3]) > 0) == waits  # dense takes over pending steps
        assert difference(core, twin, settings) < TOLERANCE[np.float64], batch_size


@pytest.mark.parametrize("layout", ("csr", "dense"))
@pytest.mark.parametrize("average", (False, 7))
@pytest.mark.parametrize("nesterov", (False, True))
@pytest.mark.parametrize("penalty", ("l2", "l1"))
def test_a_plan_that_is_kept_is_the_one_that_is_made_anew(layout, average, nesterov, penalty):
    """A constant rate keeps plans; one that falls by a factor of 1 makes each of them anew."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 40)) * (rng.random((300, 40)) < 0.2)
    y = X.sum(axis=1) + rng.normal(size=300)
    X = sp.csr_array(X) if layout == "csr" else X
    models = []
    for schedule in (schedules.constant(), schedules.exponential(1.0)):
        model = SGDRegressor(
            penalty=penalty,
            momentum=0.9,
            nesterov=nesterov,
            average=average,
            learning_rate=schedule,
            eta0=0.01,
            random_state=0,
        )
        for alpha, momentum in ((1e-3, 0.9), (1e-1, 0.9), (1e-1, 0.5)):
            model.set_params(alpha=alpha, momentum=momentum)
            for _ in range(2):
                model.partial_fit(X, y)
        models.append(model)
    assert models[0].coef_.tobytes() == models[1].coef_.tobytes()
    assert models[0].intercept_.tobytes() == models[1].intercept_.tobytes()
