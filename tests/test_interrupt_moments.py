"""Ctrl-C at random moments of every public call that may last: soon, and with what was promised.
And in every function that it enters, where Python handles signals.

``python test_interrupt_moments.py SIZE MOMENTS [NAME ...]`` makes each call so often, with a timer
that calls Python's own handler of Ctrl-C at a moment drawn from the time that the call takes. A fit
leaves a model in the making, finite, which predicts and goes on, or all as it was; a search is as
it was, or done; every other call changes nothing; neither threads nor files stay; the next fit has
the bits of an undisturbed one.

The machine may be shared: a moment after which the exception took long is tried twice more, and the
shortest time counts; and where more processes want to run than there are processors, each may take
so much longer. FASTSGD_EXHAUSTIVE=1 takes 1,000 moments of every call on small data, and 100
on large data; 0.1 takes a tenth of them.
"""

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from cuts import make_small_blocks
from public_calls import bits_of, calls, snapshot

from fastsgd.estimators import rows

pytest.importorskip("xxhash")

SHARE = float(os.environ.get("FASTSGD_EXHAUSTIVE") or 0.0)
LATENCY = 0.1
"""Seconds from Ctrl-C to the except clause, in 99 of 100 cases."""
SIZES = {
    "small": {"n": 600, "d": 6, "epochs": 6, "pool_bytes": 1 << 13},
    "large": {"n": 60_000 if SHARE else 20_000, "d": 40, "epochs": 3, "pool_bytes": 1 << 21},
}
MOMENTS = {"small": int(1000 * SHARE) or 6, "large": int(100 * SHARE) or 1}


class Interrupts:
    """Moments of calls, and what became of the calls."""

    def __init__(self, call, seed):
        self.call, self.rng = call, np.random.default_rng(seed)
        self.subject, self.threads = call.subject(), set(threading.enumerate())
        start = time.perf_counter()
        self.expected = bits_of(call.make(copy.deepcopy(self.subject)))
        self.takes = time.perf_counter() - start
        for _ in range(2):
            start = time.perf_counter()
            assert bits_of(call.make(copy.deepcopy(self.subject))) == self.expected
            self.takes = min(self.takes, time.perf_counter() - start)
        self.after = self.bits_of_next(copy.deepcopy(self.subject)) if self.fits else None

    @property
    def fits(self):
        return self.call.changes

    def bits_of_next(self, subject):
        """Bits of the next fit: of a fresh run, whatever was there before."""
        return bits_of(self.call.again(subject))

    def one(self):
        """Seconds until a call ended that was interrupted at a moment, and how it ended."""
        moment, found = self.rng.uniform(0.0, self.takes), []
        while len(found) < 3:
            found.append(self.at(max(moment, 1e-6)))
            if found[-1][0] < LATENCY:
                break
        seconds, end = min(found)
        return found[0][0], seconds, end

    def at(self, moment):
        subject = copy.deepcopy(self.subject)
        before, given, interrupted = snapshot(subject), None, False
        start = time.perf_counter()
        try:
            signal.setitimer(signal.ITIMER_REAL, moment)
            given = [self.call.make(subject)]
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        except KeyboardInterrupt:
            now, interrupted = time.perf_counter(), True
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        if not interrupted:
            self.takes = time.perf_counter() - start
            assert bits_of(given[0]) == self.expected
            return 0.0, "over"
        return max(0.0, now - start - moment), self.state_of(subject, before)

    def in_functions(self):
        """How calls end in which Ctrl-C comes as Python enters a function: at the first and the
        last time of each, and each time for functions that end a context."""
        entered = Counter()
        entering(entered.update, self.call.make, copy.deepcopy(self.subject))
        for code, most in entered.items():
            every = code.co_name in ("__exit__", "close")
            for number in range(1, most + 1) if every else sorted({1, most}):
                yield self.in_function(code, number)

    def in_function(self, code, number):
        """How a call ends in which Ctrl-C comes as Python enters a function for the n-th time."""
        subject, times = copy.deepcopy(self.subject), count(1)
        before = snapshot(subject)

        def interrupt(codes):
            if code in codes and next(times) == number:
                raise KeyboardInterrupt

        given = []
        with contextlib.suppress(KeyboardInterrupt):
            given.append(entering(interrupt, self.call.make, subject))
        if not given:
            return self.state_of(subject, before)
        assert bits_of(given[0]) == self.expected, code
        return "over"

    def state_of(self, subject, before):
        """Whether the subject of an interrupted call is as it was, or a model in the making."""
        for thread in set(threading.enumerate()) - self.threads:
            if thread.ident is not None:  # Python keeps one whose start was interrupted
                thread.join(2.0)
                assert not thread.is_alive(), thread
        left = [*Path(tempfile.gettempdir()).rglob("*")]
        assert left == []
        same = snapshot(subject) == before
        assert same or self.fits
        done = not same and bits_of(subject) == self.expected  # it was about to return
        if not (same or done):
            self.check_model(subject)
        if self.fits:
            assert self.bits_of_next(subject) == self.after
        return "unchanged" if same else "done" if done else "model"

    def check_model(self, model):
        """A model in the making: all its parts fit together, and it goes on."""
        weights = getattr(model, "coefs_", None) or [model.coef_]
        assert all(np.isfinite(part).all() for part in weights)
        assert len({len(column) for column in model.history_.values()}) == 1
        X = np.ones((4, model.n_features_in_))
        assert len(model.predict(X)) == 4
        assert updates_of(model) > 0
        other = copy.deepcopy(model)
        self.call.go_on(other)
        assert updates_of(other) > updates_of(model)


def entering(tell, function, *arguments):
    """What a function gives; ``tell([code])`` is called as Python enters each function within."""

    def trace(frame, event, _):
        tell([frame.f_code])

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return function(*arguments)
    finally:
        sys.settrace(before)


def updates_of(model):
    return np.max(model._continuation.state.t)


def main(size, moments, *names):
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    if size == "small":
        rows.LEAST_BLOCK, rows.BLOCK_BYTES = 1, 1 << 12  # so that there are many pools
    of, found = calls(**SIZES[size]), {}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        for seed, name in enumerate(of):
            if names and name not in names:
                continue
            try:
                interrupts = Interrupts(of[name], seed)
                found[name] = [interrupts.one() for _ in range(int(moments))]
            except AssertionError as error:
                raise AssertionError(name) from error
            print(name, summary(found[name]), file=sys.stderr, flush=True)
    print(json.dumps(found))


def summary(found):
    first, best, ends = zip(*found, strict=True)
    counts = {end: ends.count(end) for end in sorted(set(ends))}
    ms = [round(1e3 * float(np.quantile(part, 0.99)), 1) for part in (first, best)]
    return f"{counts}, p99 {ms[0]} ms at the first attempt, {ms[1]} ms at the best of three"


@pytest.mark.parametrize("size", ["small", pytest.param("large", marks=pytest.mark.exhaustive)])
def test_interrupts_at_random_moments(size):
    here = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(here)}
    child = subprocess.run(
        [sys.executable, __file__, size, str(MOMENTS[size])],
        capture_output=True,
        text=True,
        timeout=36_000 if SHARE else 600,
        env=environment,
    )
    assert child.returncode == 0, child.stderr
    trials = [trial for found in json.loads(child.stdout).values() for trial in found]
    seconds, ends = [trial[1] for trial in trials], [trial[2] for trial in trials]
    crowd = max(1.0, os.getloadavg()[0] / os.cpu_count())
    assert np.quantile(seconds, 0.99) < LATENCY * crowd, child.stderr
    assert ends.count("over") < 0.3 * len(ends), child.stderr
    assert ends.count("unchanged") > 0.2 * len(ends), child.stderr
    assert ends.count("model") > 0.05 * len(ends), child.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", calls())
def test_interrupts_in_functions(name, tmp_path, monkeypatch):
    """Few of them are ignored: in destructors, and where a cache has what it once computed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make_small_blocks(monkeypatch.setattr)
    ends = Counter(Interrupts(calls(pool_bytes=1 << 11)[name], 0).in_functions())
    assert ends["over"] < 0.2 * ends.total(), ends


if __name__ == "__main__":
    main(*sys.argv[1:])
