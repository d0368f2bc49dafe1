"""Memory does not grow: over fits, failures and interrupts of every kind, 1 MiB at most.

``python test_leaks.py COUNT [KIND ...]`` repeats each kind of call so often, after a warm-up, and
says by how many bytes what is resident grew, in JSON. A state of each model has 8 kB or more, and
most have 16 kB and more: one that is lost in each call shows. FASTSGD_EXHAUSTIVE=1 repeats 10,000
times, 0.1 a tenth of it.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from public_calls import Rows, gradient_of
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score

from fastsgd import (
    DivergenceError,
    GridSearchCV,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    insight,
    minimize,
    path,
)
from fastsgd.estimators import rows

pytest.importorskip("xxhash")
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc")

SHARE = float(os.environ.get("FASTSGD_EXHAUSTIVE") or 0.0)
GROWN = 1 << 20
"""Bytes that all repetitions of a kind may add to what is resident."""
COUNT = int(10_000 * SHARE) or 200
FEW = {"max_iter": 2, "tol": None, "random_state": 0}
SMALL = {"hidden_layer_sizes": (8,), **FEW}

rng = np.random.default_rng(0)
X = rng.normal(size=(24, 1000))
Y, SIGNS, SPARSE = X[:, 0].copy(), (X[:, 0] > 0).astype(int), sp.csr_array(X * (X > 1.0))


class Own(Exception):
    """A user's exception."""


def resident():
    """Bytes in memory, without what malloc keeps of what was freed."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def fits():
    """Of arrays: every kind of model, each with other states."""
    linear = SGDRegressor(momentum=0.5, average=True, **FEW)
    classes = SGDClassifier("log_loss", momentum=0.5, n_jobs=2, batch_size=8, **FEW)
    return [
        lambda: linear.fit(X, Y),
        lambda: linear.fit(SPARSE, Y),
        lambda: SGDClassifier(penalty="l1", **FEW).fit(SPARSE, SIGNS),
        lambda: SGDRegressor(optimizer="adagrad", certificate=True, **FEW).fit(X, Y),
        lambda: classes.fit(X, np.arange(24) % 3),
        lambda: SGDOneClassSVM(early_stopping=True, **FEW).fit(X),
        lambda: linear.fit(X, Y, resume=True),
        lambda: linear.predict(X),
    ]


def partial_fits():
    """Of models that are begun anew now and then: each epoch is an entry of their histories."""
    kept = {}

    steep = {"learning_rate": "constant", "eta0": 1e-5, "random_state": 0}
    makes = {
        "averaged": lambda: SGDRegressor(average=True, random_state=0),
        "classes": lambda: SGDClassifier("log_loss", penalty="l1", random_state=0),
        "constant": lambda: SGDRegressor(**steep),
        "network": lambda: MLPRegressor(hidden_layer_sizes=(8,), random_state=0),
    }

    def of(name):
        found = kept.get(name)
        if found is None or len(getattr(found, "loss_curve_", ())) >= 50:
            found = kept[name] = makes[name]()
        return found

    return [
        lambda: of("averaged").partial_fit(X, Y),
        lambda: of("classes").partial_fit(SPARSE, SIGNS, classes=[0, 1]),
        lambda: of("constant").partial_fit(SPARSE, Y),
        lambda: of("network").partial_fit(X, Y),
        lambda: kept["network"].predict(X) if "network" in kept else None,  # or interrupted
    ]


def networks():
    return [
        lambda: MLPClassifier(n_jobs=2, **SMALL).fit(X, np.arange(24) % 3),
        lambda: MLPRegressor(solver="sgd", average=True, **SMALL).fit(SPARSE, Y),
        lambda: MLPClassifier(early_stopping=True, **SMALL).fit(X, SIGNS),
    ]


def streams():
    source, how = Rows(X, SIGNS, 5), {"pool_bytes": 1 << 15}
    model = SGDClassifier("log_loss", random_state=0)
    return [
        lambda: SGDClassifier(**FEW).fit(source, **how),
        lambda: model.partial_fit(source, classes=[0, 1], **how),
        lambda: model.predict(source),
    ]


def searches():
    grid = {"param_grid": {"alpha": [0.1, 1.0]}, "cv": 2}
    model = SGDClassifier("log_loss", **FEW).fit(X, SIGNS)
    value, theta = gradient_of(X, Y), np.zeros(1000)
    return [
        lambda: GridSearchCV(SGDClassifier(**FEW), **grid).fit(X, SIGNS),
        lambda: path(X, Y, alphas=[0.1, 1.0], estimator=SGDRegressor(**FEW)),
        lambda: insight.gradient_noise(model, X, SIGNS, random_state=0),
        lambda: minimize(value, theta, 24, eta0=1e-5, **FEW),
    ]


def failing(error, call):
    def fail():
        try:
            call()
        except error:
            return
        raise AssertionError(f"no {error.__name__}")

    return fail


def bad_input():
    """ValueError, before and behind the first allocation of a fit."""
    nan, infinite, corrupt = X.copy(), X.copy(), SPARSE.copy()
    nan[3, 4], infinite[5, 6], corrupt.indices[7] = np.nan, np.inf, 5000
    model = SGDRegressor(**FEW).fit(X, Y)
    network = MLPRegressor(**SMALL).fit(X, Y)
    calls = [
        lambda: model.fit(nan, Y),
        lambda: model.partial_fit(infinite, Y),
        lambda: model.fit(corrupt, Y),
        lambda: model.predict(X[:, 1:]),
        lambda: network.fit(nan, Y),
        lambda: network.partial_fit(X[:, 1:], Y),
        lambda: SGDRegressor(alpha=-1.0).fit(X, Y),
        lambda: SGDClassifier(**FEW).fit(Rows(nan, SIGNS, 5), pool_bytes=1 << 15),
    ]
    return [failing(ValueError, call) for call in calls]


def divergence():
    steep = {**FEW, "learning_rate": "constant", "eta0": 1e30, "max_iter": 50}
    network = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1e200, **SMALL)
    model = SGDRegressor(**steep)
    return [
        failing(DivergenceError, lambda: model.fit(X, Y)),
        failing(DivergenceError, lambda: model.fit(SPARSE, Y)),
        failing(DivergenceError, lambda: SGDRegressor(momentum=0.9, **steep).fit(X, Y)),
        failing(DivergenceError, lambda: network.fit(X, Y)),
    ]


def user_code():
    """Exceptions of a schedule, a scorer, a gradient and a source, in the middle of a call."""

    def raise_later(calls):
        calls[0] += 1
        if calls[0] % 3 == 0:
            raise Own

    counter = [0]

    def rate(step, epoch):
        raise_later(counter)
        return 1e-6

    def score(model, X, y):
        raise_later(counter)
        return accuracy_score(y, model.predict(X))

    def blocks():
        for block in Rows(X, SIGNS, 5)():
            raise_later(counter)
            yield block

    def gradient(theta, rows):
        raise_later(counter)
        return 0.0, theta

    long, small = {**FEW, "max_iter": 9}, {**SMALL, "max_iter": 9}
    kept = SGDClassifier(scoring=score, early_stopping=True, **long)
    calls = [
        lambda: SGDRegressor(learning_rate=rate, batch_size=5, **long).fit(X, Y),
        lambda: kept.fit(X, SIGNS),
        lambda: MLPClassifier(scoring=score, early_stopping=True, **small).fit(X, SIGNS),
        lambda: SGDClassifier(**long).fit(blocks, pool_bytes=1 << 15),
        lambda: minimize(gradient, np.zeros(1000), 24, eta0=1e-5, batch_size=5, **long),
    ]
    return [failing(Own, call) for call in calls]


def interrupts():
    """KeyboardInterrupt of a timer, at moments all over the calls."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    moments = np.random.default_rng(0)

    def interrupted(call):
        def cut():
            try:
                with contextlib.suppress(NotFittedError):  # of a model whose fits were interrupted
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 3e-3))
                    call()
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except KeyboardInterrupt:
                return  # the timer fires once

        return cut

    return [
        interrupted(call) for make in (fits, partial_fits, networks, streams) for call in make()
    ]


KINDS = {
    make.__name__: make
    for make in (
        *(fits, partial_fits, networks, streams, searches),
        *(bad_input, divergence, user_code, interrupts),
    )
}


def leaks():
    """Not a kind: an array of each call, 160 kB, is kept."""
    kept = []
    return [lambda: kept.append(np.ones(20_000))]


LONG = ("streams", "searches", "interrupts")
"""Kinds of calls that take long, and of which a quarter is made by default."""


def growth(calls, count):
    """Bytes by which what is resident grew over so many repetitions of calls."""
    warm_up, before = max(count // 5, 2 * len(calls)), 0
    for i in range(warm_up + count):
        if i == warm_up:
            before = resident()
        calls[i % len(calls)]()
    return resident() - before


def main(count, *names):
    warnings.simplefilter("ignore")
    rows.LEAST_BLOCK, rows.BLOCK_BYTES = 1, 1 << 14  # so that there are many pools
    grown = {}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        for name in names or KINDS:
            few = 4 if name in LONG and not SHARE else 1
            calls = leaks() if name == "leaks" else KINDS[name]()
            grown[name] = growth(calls, int(count) // few)
            print(f"{name}: {grown[name] / 1024:.0f} KiB in {count}", file=sys.stderr, flush=True)
        assert os.listdir(folder) == []
    print(json.dumps(grown))


def measured(*arguments):
    """What becomes of kinds of calls in a process of their own, and what it says meanwhile."""
    here = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(here)}
    child = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=36_000 if SHARE else 600,
        env=environment,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout), child.stderr


def test_memory_does_not_grow():
    grown, said = measured(COUNT)
    assert grown.keys() == KINDS.keys()
    assert max(grown.values()) <= GROWN, said


def test_a_leak_would_be_seen():
    grown, _ = measured(200, "leaks")
    assert grown["leaks"] > 30 * GROWN


if __name__ == "__main__":
    main(*sys.argv[1:])
