"""Fits in processes that are killed: ``python killed.py MODULE FOLDER KILLS FIT ...``.

``MODULE.fitted(FIT, folder)`` is a fit that saves into ``folder/checkpoints`` and goes on from
there. The script imports it once and forks for every attempt, so that one costs milliseconds. An
attempt is killed, by SIGKILL, at a moment drawn between its start and a part of the time that a
whole fit takes. One that ends before it is killed saves its model, and the next one begins in
another folder; those that get nowhere are given more time. After so many kills the last one is left
to its end. What is printed, in JSON, is for each fit and each folder a list of its attempts: how
the process ended, the newest position of the checkpoints (epochs, rows of the next one), and where
in the fit that was.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

from fastsgd.model_files.checkpoint import files_of

PART = 0.5
"""Latest moment of a kill, as a part of the time of a fit that is not killed."""


def attempt(fitted, name, folder, seconds):
    """How a process ended, 0 or minus a signal, and how long it took."""
    folder.mkdir(exist_ok=True, parents=True)
    child, start = os.fork(), time.monotonic()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            fitted(name, folder).save(folder / "model")
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # whose id nobody else has before it is waited for
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, time.monotonic() - start


def position(folder):
    """The newest position of a folder's checkpoints."""
    files = files_of(folder / "checkpoints")
    return list(files[-1][0]) if files else [0, 0]


def half_written(folder, suffix):
    """Names of what there is of files or caches that are not whole."""
    return {path.name for path in folder.rglob(f".*{suffix}")}


def attempts(fitted, name, folder, kills):
    """All attempts at a fit, by their folders."""
    whole = float("inf")
    for undisturbed in ("undisturbed", "again"):
        code, took = attempt(fitted, name, folder / undisturbed, None)
        assert code == 0
        whole = min(whole, took)
    cached = (folder / "undisturbed" / "cache").exists()
    at = [0, 0]
    draw, rounds, killed = random.Random(name), [[]], 0
    while True:
        here = folder / str(len(rounds))
        wait = draw.uniform(0.0, PART * whole) if killed < kills else None
        files, caches = (half_written(here, suffix) for suffix in (".tmp", ".partial"))
        code, _ = attempt(fitted, name, here, wait)
        before, at = at, position(here)
        if at == before:
            whole *= 1.1  # so that they get on
        where = "first epoch" if at[0] == 0 else "later epoch"
        if half_written(here, ".tmp") - files:
            where = "saving"
        elif half_written(here, ".partial") - caches:
            where = "caching"
        elif cached and not (here / "cache").exists():
            where = "before the cache"
        rounds[-1].append([code, at, where])
        killed += code != 0
        if wait is None:
            return rounds
        if code == 0:
            whole *= 0.7  # so that most are killed before they end
            rounds.append([])


if __name__ == "__main__":
    module, folder, kills, *names = sys.argv[1:]
    fitted = importlib.import_module(module).fitted  # once, before the forks
    found = {name: attempts(fitted, name, Path(folder) / name, int(kills)) for name in names}
    print(json.dumps(found))
