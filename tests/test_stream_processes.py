"""Sources larger than memory, and Ctrl-C while they are read and trained on.

The file is also a script, ``python test_stream_processes.py CASE FOLDER``: cases in processes of
their own, whose memory is limited and to which signals are sent.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xxhash")

from fastsgd import SGDClassifier
from fastsgd.data.reading import PoolReader

MB = 1 << 20
LATENCY = 0.1
"""Seconds from Ctrl-C to the except clause, at the median; the machine may be busy at times."""


class Rows:
    """Blocks of dense rows that are made when they are read."""

    def __init__(self, blocks: int, rows: int = 10_000, features: int = 100) -> None:
        self.blocks, self.rows, self.features = blocks, rows, features

    def __call__(self):
        X = np.random.default_rng(0).normal(size=(self.rows, self.features)).astype(np.float32)
        y = (X[:, 0] + X[:, 1] > 0).astype(np.int8)
        for number in range(self.blocks):
            yield np.roll(X, number, axis=0), np.roll(y, number)


# Memory.


def anonymous() -> int:
    """Bytes of memory of this process that no file has."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))


class Peak(threading.Thread):
    """The most memory that was seen."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.over = 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.bytes = max(self.bytes, anonymous())


def memory(folder: Path, blocks: int = 75, pool: int = 32 * MB) -> dict:
    """A fit under a limit of memory that is smaller than the rows."""
    source = Rows(blocks)
    SGDClassifier(max_iter=1, tol=None).fit(Rows(1), cache=folder / "small", pool_bytes=MB)
    limit = anonymous() + pool + 150 * MB
    with open("/proc/self/status") as file:
        mapped = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData"))
    limit_of_mappings = mapped + pool + 150 * MB
    resource.setrlimit(resource.RLIMIT_DATA, (limit_of_mappings, limit_of_mappings))
    before, peak = anonymous(), Peak()
    peak.start()
    model = SGDClassifier(max_iter=3, tol=None, random_state=0)
    model.fit(source, cache=folder / "cache", pool_bytes=pool)
    peak.over.set()
    size = sum(path.stat().st_size for path in (folder / "cache").iterdir())
    return {"before": before, "peak": peak.bytes, "limit": limit, "size": size, "t": model.t_}


# Ctrl-C.


def interrupt_after(seconds: float, sent: list[float]) -> None:
    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(seconds, send).start()


pools = PoolReader.pools


def interrupt_once_trained_on(seconds: float, sent: list[float]) -> None:
    """The same from when the first pool of a fit is asked for."""

    def first(self, epoch, row):
        PoolReader.pools = pools
        interrupt_after(seconds, sent)
        return pools(self, epoch, row)

    PoolReader.pools = first


def interrupts(folder: Path, what: str) -> list[dict]:
    """Fits that are interrupted at random moments."""
    tempfile.tempdir = str(folder / "temporary")
    os.mkdir(tempfile.tempdir)
    draw, found = random.Random(0), []
    source, how = Rows(10), {"cache": folder / "cache", "pool_bytes": 1 * MB}
    parameters = {"max_iter": 10_000, "tol": None, "random_state": 0, "batch_size": 16}
    if what == "training":
        SGDClassifier(**parameters | {"max_iter": 1}).fit(source, **how)
    else:
        source, how = Rows(100_000), {"pool_bytes": 1 * MB}
    for _ in range(6):
        model, sent = SGDClassifier(**parameters), []
        before = dict(vars(model))
        seconds = draw.uniform(0.02, 0.6)
        if what == "training":
            interrupt_once_trained_on(seconds, sent)
        else:
            interrupt_after(seconds, sent)
        try:
            model.fit(source, **how)
        except KeyboardInterrupt:
            latency = time.monotonic() - sent[0]
        PoolReader.pools = pools
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
        found.append(
            {
                "latency": latency,
                "fitted": hasattr(model, "coef_") and bool(np.isfinite(model.coef_).all()),
                "unchanged": vars(model) == before,
                "left": os.listdir(tempfile.tempdir),
                "threads": threading.active_count(),
            }
        )
        if what == "training" and hasattr(model, "coef_"):
            steps = model.t_
            model.set_params(max_iter=1)
            model.fit(source, resume=True, **how)
            found[-1]["went on"] = model.t_ > steps
    return found


def results(case: str, folder: Path, *arguments: str) -> object:
    command = [sys.executable, __file__, case, str(folder), *arguments]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_the_pools_and_not_of_the_rows(tmp_path):
    found = results("memory", tmp_path)
    assert found["t"] == 1 + 3 * 750_000
    assert found["size"] > 290 * MB > found["limit"] - found["before"]
    assert found["peak"] - found["before"] < 32 * MB + 60 * MB
    assert found["peak"] < 32 * MB + 300 * MB


@pytest.mark.exhaustive
def test_ctrl_c_while_training_keeps_the_model(tmp_path):
    found = results("interrupts", tmp_path, "training")
    assert all(each["fitted"] and each["went on"] for each in found)
    assert np.median([each["latency"] for each in found]) < LATENCY
    assert all(each["left"] == [] and each["threads"] == 1 for each in found)


def test_ctrl_c_while_reading_leaves_nothing(tmp_path):
    found = results("interrupts", tmp_path, "reading")
    assert all(each["unchanged"] for each in found)
    assert np.median([each["latency"] for each in found]) < LATENCY
    assert all(each["left"] == [] and each["threads"] == 1 for each in found)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
