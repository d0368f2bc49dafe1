"""Ctrl-C in the few places of a stream where a thread or a folder could be left behind."""

import os
import queue
import shutil
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xxhash")

from public_calls import Rows

from fastsgd import SGDClassifier
from fastsgd.data import first_pass
from fastsgd.data.ahead import ahead
from fastsgd.data.block_writer import BlockWriter
from fastsgd.data.partial import partial_folder
from fastsgd.data.reading import PoolReader
from fastsgd.estimators import rows
from fastsgd.solver.stream import StreamRun

X = np.random.default_rng(0).normal(size=(600, 6))
Y = (X[:, 0] > 0).astype(int)


def interrupted(function, when="after"):
    """A function whose first call is parted by Ctrl-C, before what it does or after; of threads,
    that for the first one that reads."""
    calls = count()

    def call(*args, **kwargs):
        other = isinstance(args[0], threading.Thread) and args[0].name != "fastsgd-reader"
        first = not other and next(calls) == 0
        if first and when == "before":
            raise KeyboardInterrupt
        found = function(*args, **kwargs)
        if first:
            raise KeyboardInterrupt
        return found

    return call


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(rows, "LEAST_BLOCK", 1)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 12)
    return tmp_path


def fit():
    SGDClassifier(max_iter=3, tol=None, random_state=0).fit(Rows(X, Y, 85), pool_bytes=1 << 13)


def readers():
    """Threads that read or write, after a second in which they may end."""
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        found = [t for t in threading.enumerate() if t.name.startswith("fastsgd") and t.is_alive()]
        if not found:
            return []
        time.sleep(0.005)
    return found


def test_nothing_is_left_without_an_interrupt(temporary):
    fit()
    assert readers() == [] == [*temporary.iterdir()]


@pytest.mark.parametrize("when", ("before", "after"))
@pytest.mark.parametrize(
    ("owner", "name"),
    ((os, "mkdir"), (shutil, "rmtree"), (threading.Thread, "start"), (PoolReader, "close")),
    ids=lambda value: getattr(value, "__name__", value),
)
def test_interrupt_of_what_makes_and_removes(owner, name, when, temporary, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), when))
        with pytest.raises(KeyboardInterrupt):
            fit()
    assert readers() == [] == [*temporary.iterdir()]
    fit()


def test_interrupt_of_an_epoch_behind_the_rows_of_the_sample(temporary, monkeypatch):
    """By which classes are found: a ``partial_fit`` leaves the model as far as it is trained."""
    advance = StreamRun.advance

    def interrupt(run, *arguments):
        if run.state.row > 400:
            raise KeyboardInterrupt
        return advance(run, *arguments)

    monkeypatch.setattr(first_pass, "SAMPLE_ROWS", 100)
    model, source = SGDClassifier(random_state=0), Rows(X, Y, 85)
    with monkeypatch.context() as patch:
        patch.setattr(StreamRun, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(source, classes=[0, 1], pool_bytes=1 << 13)
    assert 400 < (updates := model.t_ - 1) < 600
    assert np.isfinite(model.coef_).all()
    model.partial_fit(X[:7], Y[:7])
    assert model.t_ - 1 >= updates + 7
    model.partial_fit(source, pool_bytes=1 << 13)
    assert readers() == [] == [*temporary.iterdir()]


def test_interrupt_of_a_lock(temporary, monkeypatch):
    """Python's threading makes a RuntimeError of it, which is KeyboardInterrupt again."""

    def start(thread):
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            threading.Thread(target=print).start()
        with pytest.raises(KeyboardInterrupt):
            fit()
    assert readers() == [] == [*temporary.iterdir()]
    fit()


def test_interrupt_of_the_start_of_an_iterator(monkeypatch):
    """Its thread ends, though it has endless items."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted(threading.Thread.start))
        with pytest.raises(KeyboardInterrupt):
            next(ahead(count()))
    assert readers() == []


@pytest.mark.parametrize("when", ("before", "after"))
@pytest.mark.parametrize("name", ("open", "rename"))
def test_interrupt_of_a_folder_in_the_making(name, when, tmp_path, monkeypatch):
    """One that is not locked yet is removed; a writer's own is removed by the next one."""
    with monkeypatch.context() as patch:
        patch.setattr(os, name, interrupted(getattr(os, name), when))
        with pytest.raises(KeyboardInterrupt), partial_folder(tmp_path / "cache"):
            pass
    assert [*tmp_path.glob("*.new")] == []
    with partial_folder(tmp_path / "cache") as partial:
        assert [*tmp_path.iterdir()] == [partial]


def test_a_lock_that_an_interrupt_left_locked_stops_no_thread():
    """Threads of a stream share nothing that has a lock of Python's."""
    locks = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event)
    reader = ahead(count())
    assert next(reader) == 0
    writer = BlockWriter(Path(), 1)
    for shared in (*reader.gi_frame.f_locals.values(), *vars(writer).values()):
        assert not isinstance(shared, (*locks, queue.Queue))
    reader.close()
    assert readers() == []
