"""What tests of a cluster send to its workers: functions that these can import."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from functools import cache

import dask
import numpy as np
from distributed import LocalCluster
from distributed.comm import CommClosedError
from distributed.utils import get_mp_context


@contextlib.contextmanager
def local_cluster(**options):
    """Three workers, or others, of a thread each.

    They are forks of a process that has imported what they need: a new interpreter takes seconds
    to import it. Environment variables of their own need new interpreters.
    """
    how = {"n_workers": 3, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    method = "spawn" if "env" in options else "forkserver"
    with dask.config.set({"distributed.worker.multiprocessing-method": method}):
        if method == "forkserver":
            import_ahead()
        cluster = LocalCluster(**how | options)
        try:
            yield cluster
        finally:
            with contextlib.suppress(KeyError):  # of Dask, where a killed worker is being forgotten
                cluster.close()


@cache
def import_ahead():
    """Say what the process that forks imports, before it is started."""
    get_mp_context()  # says so too, once
    multiprocessing.set_forkserver_preload(["distributed", "fastsgd.dask", "dask.dataframe"])


def blocks(seed, partition, rows, d):
    """X and y of a partition, made where it is needed."""
    rng = np.random.default_rng([seed, partition])
    X = rng.normal(size=(rows, d)).astype(np.float32)
    w = np.random.default_rng(seed).normal(size=d)
    return X, np.where(X @ w + rng.normal(size=rows) > 0, "yes", "no")


def broken(partition):
    raise OSError(f"the disk of partition {partition} is gone")


def slow_blocks(seconds, *arguments):
    time.sleep(seconds)
    return blocks(*arguments)


def pids_of(client):
    while True:
        try:
            return list(client.run(os.getpid).values())
        except CommClosedError:  # the scheduler does not know yet that one was killed
            time.sleep(0.1)


def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def later(seconds, call, *arguments):
    timer = threading.Timer(seconds, call, arguments)
    timer.daemon = True
    timer.start()
    return timer


def die_writing(folder):
    """Have this process killed when it has written all of a cache but its manifest."""
    from fastsgd.data import cache

    def killed(*_):
        os.close(os.open(os.path.join(folder, str(os.getpid())), os.O_CREAT | os.O_WRONLY))
        os.kill(os.getpid(), signal.SIGKILL)

    cache.write_manifest = killed


def interrupt_until(over):
    """Send Ctrl-C to this process, and again every five seconds until the event ``over``.

    Python drops an exception of a signal's handler that runs within a callback of the garbage
    collector, and Dask has one.
    """
    while True:
        os.kill(os.getpid(), signal.SIGINT)
        if over.wait(5.0):
            return


def allocated(size):
    """Whether so many bytes can be had."""
    try:
        return np.empty(size, dtype=np.uint8) is not None
    except MemoryError:
        return False
