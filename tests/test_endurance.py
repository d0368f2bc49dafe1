"""What a fit bears: many at once, signals, pickles that were damaged."""

import collections
import copy
import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from drawn import ESTIMATORS, data_of, settings_of

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 40))
Y = X[:, :3] @ [1.0, -2.0, 0.5] + rng.normal(size=300)
CLASSES = np.digitize(Y, [-1.0, 1.0])
FEW = {"max_iter": 3, "tol": None, "random_state": 0}


def bits(model):
    return model.coef_.tobytes(), model.loss_curve_


# ---------------------------------------------------------------- many at once, signals


def drawn_fits(count, *, n):
    """Fits of drawn settings that end in a model, as functions that give its bits."""
    fits, seed = [], 0
    while len(fits) < count:
        rng = np.random.default_rng([seed, 7])
        estimator = ESTIMATORS[seed % 3]
        settings = {**settings_of(rng, estimator, extreme=False), "n_jobs": 1 + seed % 3}
        settings["batch_size"] = (1, 16, 64)[seed // 3 % 3]
        data = data_of(rng, estimator, extreme=False, n=n)
        seed += 1

        def fit(estimator=estimator, settings=settings, data=data):
            return bits(estimator(**settings).fit(data[0], data[1], sample_weight=data[2]))

        try:
            fit()
        except ValueError:
            continue
        fits.append(fit)
    return fits


@pytest.mark.filterwarnings("ignore")
def test_twenty_threads_fit_at_once():
    """Each its own model, of drawn settings, several times: the bits of fits one by one."""
    fits = drawn_fits(20, n=400)
    alone = [fit() for fit in fits]
    assert len(set(map(str, alone))) == 20
    together = threading.Barrier(20)

    def run(fit):
        together.wait()
        return [fit() for _ in range(5)]

    with ThreadPoolExecutor(20) as pool:
        for found, expected in zip(pool.map(run, fits), alone, strict=True):
            assert found == [expected] * 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers")
def test_a_signal_a_millisecond():
    """Its handler runs in the gaps between calls, and changes no bit."""
    fits = drawn_fits(15, n=1500)
    alone, arrived = [fit() for fit in fits], []
    before = signal.signal(signal.SIGALRM, lambda *_: arrived.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        found = [[fit() for _ in range(2)] for fit in fits]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert found == [[expected] * 2 for expected in alone]
    assert len(arrived) > 20


# ---------------------------------------------------------------- pickles


MUTATIONS = 3000 if os.environ.get("FASTSGD_EXHAUSTIVE") else 400


def models():
    """Fitted models of all layouts of a state."""
    small, y, classes = X[:30, :5], Y[:30], CLASSES[:30]
    options = {**FEW, "total_epochs": 9.0}
    csr = sp.csr_array(small)
    return [
        (SGDRegressor(**options), small, y),
        (SGDClassifier("log_loss", batch_size=8, average=True, **options), small, classes),
        (SGDClassifier(momentum=0.9, average=True, **options), csr, classes),
        (SGDClassifier(penalty="l1", **options), csr.astype(np.float32), classes),
        (SGDOneClassSVM(standardize=True, **options), small, None),
    ]


class Pickler(pickle.Pickler):
    """Names dtypes instead of pickling them: NumPy crashes at some that are mutated."""

    def persistent_id(self, obj):
        return obj.str if isinstance(obj, np.dtype) else None


class Unpickler(pickle.Unpickler):
    def persistent_load(self, pid):
        return np.dtype(pid)


def dumped(obj):
    file = io.BytesIO()
    Pickler(file).dump(obj)
    return bytearray(file.getvalue())


def pickles_mutate():
    """In a child: models are loaded from pickles with some bytes changed, and go on."""
    rng, ends = np.random.default_rng(0), collections.Counter()
    signal.alarm(MUTATIONS // 4)
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, limit))  # lengths may be any number
    fitted = [(model.fit(table, y), table, y) for model, table, y in models()]
    for i in range(MUTATIONS):
        model, table, y = fitted[i % len(fitted)]
        whole = i % 2 == 0
        data = dumped(model if whole else model._continuation.state)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] ^= int(rng.integers(1, 256) if rng.random() < 0.5 else 1 << rng.integers(8))
        try:
            loaded = Unpickler(io.BytesIO(data)).load()
        except Exception as error:
            ends["load " + type(error).__name__] += 1
            continue
        try:
            if whole:
                loaded.predict(table)
            else:
                other = copy.deepcopy(model)
                other._continuation = replace(other._continuation, state=loaded)
                loaded = other
            for _ in range(2):
                loaded.partial_fit(table, y)
            loaded.predict(table)
        except Exception as error:
            ends["use " + type(error).__name__] += 1
            continue
        assert np.isfinite(loaded.coef_).all(), i
        ends["goes on"] += 1
    print(json.dumps(ends))


def test_mutated_pickles():
    """Whatever bytes change, there is a model or an exception, and the interpreter lives."""
    here = [os.path.dirname(__file__), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, __file__, "pickles_mutate"],
        capture_output=True,
        text=True,
        timeout=max(120, MUTATIONS // 4 + 10),
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(here)},
    )
    assert child.returncode == 0, child.stderr
    ends = json.loads(child.stdout.splitlines()[-1])  # a byte that changed may be that of `verbose`
    assert sum(ends.values()) == MUTATIONS
    assert ends["goes on"] > 50
    assert sum(count for end, count in ends.items() if end.startswith("load")) > 50


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickles_mutate()
