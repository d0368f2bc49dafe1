"""Every public call beside others: in threads, under signals, in processes of every kind, by forks.

Whatever runs beside it, a call gives the bits that it gives alone. What forks runs in child
processes, ``python test_disturbed.py NAME``, which end by an alarm should they hang.
FASTSGD_EXHAUSTIVE=1 forks 500 times, and has the other calls made ten times as often.
"""

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pytest
from public_calls import bits_of, calls

from fastsgd import MLPClassifier, SGDClassifier, SGDRegressor

pytest.importorskip("xxhash")

EXHAUSTIVE = bool(os.environ.get("FASTSGD_EXHAUSTIVE"))
FORKS = 500 if EXHAUSTIVE else 8
TIMES = 20 if EXHAUSTIVE else 2
SECONDS = 3600 if EXHAUSTIVE else 600
NAMES = tuple(calls())
SOME = NAMES if EXHAUSTIVE else NAMES[::4]
"""Calls in other processes."""
MODELS = (
    SGDClassifier("log_loss", n_jobs=2, batch_size=100, max_iter=3, tol=None, random_state=0),
    SGDRegressor(momentum=0.5, average=True, max_iter=3, tol=None, random_state=0),
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, tol=None, random_state=0),
)
BESIDE = ("fit, softmax, threads", "stream", "network, threads", "search")
"""Calls in whose middle a process forks: with threads of the core, and with one that reads."""


def small_pools():
    """Sources of few rows in many pools, so that a thread reads ahead."""
    from fastsgd.estimators import rows

    rows.LEAST_BLOCK, rows.BLOCK_BYTES = 1, 1 << 10
    warnings.simplefilter("ignore")
    return calls(pool_bytes=1 << 11)


@cache
def of_this_process():
    return small_pools()


def found_by(name):
    """Bits of a call in this process."""
    call = of_this_process()[name]
    return bits_of(call.make(call.subject()))


# ---------------------------------------------------------------- threads and signals


def threads():
    """Twenty at a time, all calls in other orders."""
    alone = {name: found_by(name) for name in NAMES}

    def run(first):
        names = NAMES[first:] + NAMES[:first]
        return all(found_by(name) == alone[name] for name in names * (TIMES // 2))

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(run, range(20)))


def signals():
    """One a millisecond, whose handler runs in the gaps between calls."""
    alone, arrived = {name: found_by(name) for name in NAMES}, []
    signal.signal(signal.SIGALRM, lambda *_: arrived.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for name in NAMES * TIMES:
        assert found_by(name) == alone[name], name
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    assert len(arrived) > 50


# ---------------------------------------------------------------- processes


def fitted_bits(model, X, y):
    """Of a fit to rows that are mapped, and cannot be written."""
    assert not X.flags.writeable
    return bits_of(model.fit(X, y))


def loky():
    """Workers of joblib, which have the rows in memory that is mapped."""
    from test_disturbed import fitted_bits, found_by  # not of __main__, which workers do not have

    X = np.random.default_rng(0).normal(size=(500, 40))
    X.flags.writeable = False
    rows = [(model, X, (X[:, 0] > 0).astype(int)) for model in MODELS]
    alone = [found_by(name) for name in SOME], [fitted_bits(*each) for each in rows]
    at_work = joblib.Parallel(n_jobs=2, backend="loky", max_nbytes=1000)
    assert at_work(joblib.delayed(found_by)(name) for name in SOME) == alone[0]
    assert at_work(joblib.delayed(fitted_bits)(*each) for each in rows) == alone[1]


def pool_of(method):
    alone = [found_by(name) for name in SOME]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(found_by, SOME) == alone


def spawn():
    pool_of("spawn")


def forkserver():
    pool_of("forkserver")


def fork():
    pool_of("fork")


def forks():
    """While another thread is in the middle of a call; the child makes all calls itself."""
    alone, over = {name: found_by(name) for name in NAMES}, threading.Event()

    def work():
        while not over.is_set():
            for name in BESIDE:
                assert found_by(name) == alone[name]

    other = threading.Thread(target=work)
    other.start()
    try:
        for i in range(FORKS):
            time.sleep(0.0007 * (i % 11))
            child = os.fork()
            if child == 0:
                signal.alarm(300)  # of a child that hangs: on a busy machine others take a minute
                names = [*BESIDE, NAMES[i % len(NAMES)]]
                os._exit(0 if all(found_by(name) == alone[name] for name in names) else 1)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert code == 0, f"child {i} ended with {code}"
    finally:
        over.set()
        other.join()


CASES = {f.__name__: f for f in (threads, signals, loky, spawn, forkserver, fork, forks)}


LONG = ("signals", "fork", "loky", "spawn", "forkserver")
"""The last three start new interpreters, which import all anew; test_endurance.py has signals."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.exhaustive] if name in LONG else []) for name in CASES],
)
def test_calls_beside_others(name):
    here = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, name],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(here)},
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == f"{name} done\n"


if __name__ == "__main__":
    faulthandler.dump_traceback_later(SECONDS - 30, exit=True)  # says where it hangs
    CASES[sys.argv[1]]()
    print(f"{sys.argv[1]} done")
