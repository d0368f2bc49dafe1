"""Threads within one fit: same bits for any number of them, and no trouble with forks.

What forks runs in child processes, ``python test_threads.py NAME``, which end by an alarm should
they hang. FASTSGD_EXHAUSTIVE=1 asks for 500 forks instead of the few of a test run.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from threading import Barrier

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering
from problems import (
    DTYPES,
    ISAS,
    OPTIMIZERS,
    bits,
    lanes,
    penalties_of,
    sign_targets,
    table,
    targets_of,
    train_core,
)
from sklearn.base import clone

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor, _core, solver
from fastsgd.estimators.parameters import THREAD_VALUES, threads_of
from fastsgd.losses import LOSSES, CompiledLoss
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings

N, D = 150, 130  # five chunks of a full batch; with many lanes, several parts of a gradient
THREADS = (1, 2, 3, 8)
AVERAGES = (0, 5)
FORK_WARNING = "ignore:This process:DeprecationWarning"
"""Python warns of a fork while another Python thread lives: that is what is tested."""
FORKS = 500 if os.environ.get("FASTSGD_EXHAUSTIVE") else 10


@cache
def data_of(dtype, layout, loss, n=N, d=D):
    return table(n, d).data(dtype, layout, weighted=True, **targets_of(loss))


def problem_of(loss, *, dtype=np.float32, layout="dense", k=1, penalty="l2", n=N, d=D, **settings):
    """Data, lanes and settings; batches of 100 rows and the rest unless told."""
    of = lanes(k, loss, penalty)
    fixed = {"loss": loss, "sign_targets": sign_targets(loss), "fit_intercept": loss != "linear"}
    together = Settings(**{"batch_size": 100, "seed": 3, **fixed, **settings})
    return data_of(dtype, layout, loss, n, d), of, together


def train(problem, n_jobs, **run):
    data, of, settings = problem
    return bits(train_core(data, of, replace(settings, n_jobs=n_jobs), epochs=2, **run), settings)


def assert_same_bits(problem, threads=THREADS, **run):
    data, of, settings = problem
    start = bits(solver.State(data, of, settings), settings)
    one, *others = (train(problem, n_jobs, **run) for n_jobs in threads)
    assert one != start
    for n_jobs, other in zip(threads[1:], others, strict=True):
        assert other == one, n_jobs


# ---------------------------------------------------------------- bits


AXES = {
    "layout": ("dense", "csr32"),
    "optimizer": OPTIMIZERS,
    "average": AVERAGES,
    "penalty": ("l2", "l1", "elasticnet"),
    "clip_norm": (np.inf, 0.1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", (1, 3, 19, 40))
def test_threads_make_no_difference(k, dtype):
    """Every two of the axes' values, each time with another loss."""
    uncoupled = [loss for loss in LOSSES if not LOSSES[loss].coupled]
    for number, case in enumerate(covering(AXES, crossed=[("optimizer", "average")], seed=k)):
        loss = uncoupled[number % len(uncoupled)]
        if case["penalty"] not in penalties_of(loss):
            loss = "squared_error"
        assert_same_bits(problem_of(loss, k=k, dtype=dtype, **case))


@pytest.mark.parametrize("loss", LOSSES)
def test_threads_make_no_difference_to_any_loss(loss):
    """The softmax, which couples lanes, included."""
    for k, batch_size in ((4, 100), (4, N), (4, 40)):
        assert_same_bits(problem_of(loss, k=k, batch_size=batch_size, optimizer=SGD(0.9)))


@pytest.mark.parametrize("isa", ISAS)
def test_threads_make_no_difference_to_any_instruction_set(isa):
    for k in (1, 4, 19):
        assert_same_bits(problem_of("log_loss", k=k, average=5), isa=isa)


def test_threads_fold_a_wide_gradient_of_one_lane():
    """A gradient of one lane in parts: more than 2,048 features."""
    assert_same_bits(problem_of("squared_error", d=5000, batch_size=N))


@pytest.mark.parametrize(("k", "d"), ((1, 3), (40, 2000)))
def test_interrupted_batches_with_changing_threads(k, d):
    """Calls that stop within a batch, each with another number of threads, give the same bits."""
    n = 5000 if d == 3 else 300
    data, of, settings = problem_of(
        "squared_error", k=k, n=n, d=d, batch_size=n, optimizer=SGD(0.9)
    )
    one = train((data, of, settings), 1)
    state, inside, calls = solver.State(data, of, settings), 0, 0
    while state.epoch < 2:
        n_jobs = THREADS[1:][calls % 3]
        run = _core.Run(data, of, replace(settings, n_jobs=n_jobs), state)
        while run.draws_order:
            run.advance(1)
        run.advance(1)
        calls, inside = calls + 1, inside + (state.batch_row > 0)
    assert inside >= 2
    assert bits(state, settings) == one


@pytest.mark.parametrize("k", (1, 19))
@pytest.mark.parametrize("value", (np.nan, np.inf))
def test_a_failure_is_the_same(value, k):
    """The row that is reported, and the sums of what was done before it."""
    data, of, settings = problem_of("squared_error", k=k, batch_size=N, sampling="sequential")
    X = data.X.copy()
    X[[70, 140], 3] = value  # in the third chunk and in the fifth
    ends = []
    for n_jobs in THREADS:
        state = solver.State(replace(data, X=X), of, settings)
        run = _core.Run(replace(data, X=X), of, replace(settings, n_jobs=n_jobs), state)
        with np.errstate(all="ignore"), pytest.raises(DivergenceError) as error:
            run.advance(10**9)
        ends.append((run.bad_row, error.value.step, state.batch_row, bits(state, settings)))
    assert ends[0][:3] == (70, 0, 64)
    assert ends == ends[:1] * len(THREADS)


@pytest.mark.parametrize("n_jobs", (0, -1, 2**31))
def test_settings_refuse_no_threads(n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be >= 1"):
        Settings(n_jobs=n_jobs)


# ---------------------------------------------------------------- threads


POINTER = ctypes.POINTER(ctypes.c_double)


def spy(seen, threads=1):
    """Squared error in Python, which says in what thread it runs, with which signals blocked, and
    waits until it has run in so many: the interpreter's lock must be free."""

    def function(of_row):
        def f(z, y, out, n):
            seen[threading.get_native_id()] = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            end = time.monotonic() + 10.0
            while len(seen) < threads and time.monotonic() < end:
                time.sleep(0.001)
            for i in range(n):
                out[i] = of_row(z[i] - y[i])

        return ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, ctypes.c_int64)(f)

    return CompiledLoss(function(lambda r: 0.5 * r * r), function(lambda r: r), name="spy")


def train_spied(problem, n_jobs, seen, threads):
    data, of, settings = problem
    return train((data, of, replace(settings, loss=spy(seen, threads))), n_jobs)


def threads_alive():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("n_jobs", (1, 2, 3))
def test_threads_work_and_are_gone(n_jobs, k):
    """As many as were asked for take part, with signals blocked in all but the caller's; a user's
    loss is called from all of them. None is left when the call is over."""
    seen, before = {}, threads_alive()
    problem = problem_of("squared_error", k=k, batch_size=N)
    spied = train_spied(problem, n_jobs, seen, n_jobs)
    assert threads_alive() == before
    assert len(seen) >= n_jobs  # two epochs, two teams
    own = threading.get_native_id()
    assert all((signal.SIGINT in mask) == (thread != own) for thread, mask in seen.items())
    assert spied == train_spied(problem, 1, {}, 1)


def test_fits_at_once_from_python_threads():
    jobs = [
        (*problem_of(loss, k=k, n=3000, batch_size=500, optimizer=SGD(0.5))[:2], settings)
        for loss, k in (("log_loss", 1), ("squared_error", 3), ("softmax", 4), ("hinge", 19))
        for settings in [problem_of(loss, k=k, batch_size=500, optimizer=SGD(0.5), n_jobs=3)[2]]
    ]
    serial = [train(job, 1) for job in jobs]
    together = Barrier(len(jobs))

    def fit(job):
        together.wait()
        return train(job, 3, budget=50_000)

    with ThreadPoolExecutor(len(jobs)) as pool:
        assert list(pool.map(fit, jobs)) == serial


def test_python_runs_during_a_call():
    """The GIL is released: another Python thread counts on while one call lasts."""
    data, of, settings = problem_of("squared_error", n=60_000, batch_size=30_000, n_jobs=2)
    state = solver.State(data, of, settings)
    run = _core.Run(data, of, settings, state)
    while run.draws_order:
        run.advance(1)
    begins, over, ticks = threading.Event(), threading.Event(), 0

    def call():
        begins.set()
        while state.epoch < 20:
            run.advance(10**12)
        over.set()

    thread = threading.Thread(target=call)
    thread.start()
    begins.wait()
    while not over.wait(0.001):
        ticks += 1
    thread.join()
    assert ticks > 10


# ---------------------------------------------------------------- estimators


def model_bits(model, X, y):
    fitted = model.fit(X, y)
    arrays = (getattr(fitted, name, 0.0) for name in ("coef_", "intercept_", "offset_"))
    return fitted.n_iter_, *(np.ascontiguousarray(a).tobytes() for a in arrays)


@pytest.mark.parametrize(
    "model",
    (
        SGDClassifier("log_loss"),
        SGDClassifier("log_loss", multi_class="multinomial", momentum=0.9),
        SGDRegressor(average=True, early_stopping=True),
        SGDOneClassSVM(),
    ),
    ids=str,
)
def test_estimators(model):
    examples = table(600, D)
    X, y = examples.X.astype(np.float32), examples.y[:, 1]
    model.set_params(batch_size=100, max_iter=5, tol=None, random_state=0)
    one, *others = (
        model_bits(clone(model).set_params(n_jobs=n_jobs), X, y) for n_jobs in (1, 2, 8, -1, None)
    )
    assert others == [one] * len(others)


def test_numbers_of_threads():
    """As joblib counts jobs; None is what pays, and one among several workers."""
    data = Data(np.zeros((10_000, 500), dtype=np.float32), np.zeros(10_000))
    jobs, processors = partial(threads_of, data=data, batch_size=256, k=1), joblib.cpu_count()
    assert [jobs(n) for n in (1, 3, -1)] == [1, 3, processors]
    assert (jobs(-2), jobs(-1000)) == (max(1, processors - 1), 1)
    assert jobs(None) == min(processors, 256 * 500 // THREAD_VALUES)
    with joblib.parallel_config(n_jobs=5):
        assert (jobs(None), jobs(2)) == (5, 2)
    for backend in ("threading", "loky"):
        at_work = joblib.Parallel(n_jobs=2, backend=backend)
        assert at_work(joblib.delayed(jobs)(n) for n in (None, 3)) == [1, 3]


def test_threads_only_where_they_pay():
    """Small batches, short epochs and CSR data are left to one thread."""
    for n, d, sparse, batch_size, k in (
        (10_000, 500, False, 1, 1),
        (10_000, 500, False, 2 * THREAD_VALUES // 500, 1),
        (1000, 500, False, 1000, 1),
        (10_000, 500, True, 1000, 1),
    ):
        X = np.zeros((n, d), dtype=np.float32)
        data = Data(sp.csr_array(X) if sparse else X, np.zeros(n))
        assert threads_of(None, data, batch_size, k) == 1
    assert threads_of(None, data, 32, 1) == 1
    data = Data(X, np.zeros(n))
    assert threads_of(None, data, 256, 4) == 1


# ---------------------------------------------------------------- processes


def fork_once(problem, expected):
    """A fit in a child and one in its parent at the same time: the child's exit code."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if train(problem, 2) == expected else 1)
    assert train(problem, 2) == expected
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def forks():
    """After a fit with threads, fork: again and again."""
    problem = problem_of("log_loss", batch_size=N)
    expected = train(problem, 1)
    assert train(problem, 2) == expected
    for _ in range(FORKS):
        signal.alarm(30)
        assert fork_once(problem, expected) == 0


def forks_beside_a_fit():
    """Fork while a fit with threads runs in another Python thread."""
    problem = problem_of("log_loss", batch_size=N)
    expected, over = train(problem, 1), threading.Event()

    def fit():
        while not over.is_set():
            assert train(problem, 3) == expected

    other = threading.Thread(target=fit)
    other.start()
    for _ in range(FORKS):
        signal.alarm(30)
        assert fork_once(problem, expected) == 0
    over.set()
    other.join()


def bits_in_child(method):
    problem = problem_of("softmax", k=4, batch_size=N)
    return train(problem, 2)


def pools():
    """A fit in the parent, then fits in the processes of a pool of each start method."""
    expected = bits_in_child(None)
    for method in ("fork", "forkserver", "spawn"):
        signal.alarm(50)
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(bits_in_child, [method] * 2) == [expected] * 2, method
        assert bits_in_child(None) == expected


def no_more_threads():
    """Where the system has no more threads a fit goes on with those it has."""
    problem, seen = problem_of("squared_error", batch_size=N), {}
    expected = train_spied(problem, 1, {}, 1)
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    room = pages * resource.getpagesize() + (1 << 19)  # for scratch, not for a stack
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
    assert train_spied(problem, 8, seen, 1) == expected
    assert len(seen) == 1
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert train_spied(problem, 8, seen, 3) == expected
    assert len(seen) > 2


CHILDREN = {f.__name__: f for f in (forks, forks_beside_a_fit, pools, no_more_threads)}


@pytest.mark.parametrize("name", CHILDREN)
def test_processes(name):
    here = [os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, "-W", "error", "-W", FORK_WARNING, __file__, name],
        capture_output=True,
        text=True,
        timeout=130 + FORKS,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(here)},
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == f"{name} done\n"


@pytest.mark.parametrize("k", (1, 19))
@pytest.mark.parametrize("first", (0, 70))
def test_a_failure_of_the_first_row_is_the_same(first, k):
    """Row 0, whose number is no other than 0, in the first chunk of a batch or in the third."""
    X = np.random.default_rng(0).normal(size=(200, 5))
    X[0] = np.inf
    data = Data(X, np.ones(200), order=np.roll(np.arange(200), first))
    of, ends = Lanes(k, alpha=0.0, eta0=0.01), []
    for n_jobs in (1, 2):
        settings = Settings(batch_size=200, n_jobs=n_jobs)
        state = solver.State(data, of, settings)
        run = _core.Run(data, of, settings, state)
        with np.errstate(all="ignore"), pytest.raises(DivergenceError):
            run.advance(10**9)
        ends.append((run.bad_row, state.batch_row))
    assert ends == [(0, first // 32 * 32)] * 2


if __name__ == "__main__":
    CHILDREN[sys.argv[1]]()
    print(f"{sys.argv[1]} done")
