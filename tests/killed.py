"""Fits in processes that are killed: ``python killed.py FIT FOLDER KILLS SEED``.

The script imports once and forks for every attempt, so that one costs milliseconds. Each goes on
from the checkpoints in FOLDER/checkpoints; all but the last are killed, by SIGKILL, at a moment
drawn between the start and a part of the time that a whole fit takes. The last one saves the model
as FOLDER/model. What is printed, in JSON, is for each attempt how its process ended, and the newest
epoch in the folder.
"""

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

from fastsgd import Checkpoint

PART = 0.3
"""Latest moment of a kill, as a part of the time of a fit that is not killed."""


def attempt(name: str, folder: Path, result: Path, seconds: float | None) -> tuple[int, float]:
    """How a process ended, 0 or minus a signal, and how long it took."""
    child, start = os.fork(), time.monotonic()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            from test_checkpoints import estimator

            model, X, y = estimator(name)
            saving = Checkpoint(folder, every=0, keep=2)
            model.fit(X, y, resume=folder, checkpoint=saving).save(result)
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # whose id nobody else has before it is waited for
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, time.monotonic() - start


def newest(folder: Path) -> int:
    """The newest epoch in a folder of checkpoints; 0 without any."""
    return max((int(file.name[6:12]) for file in folder.glob("epoch-*")), default=0)


def attempts(name: str, folder: Path, kills: int, seed: int) -> list[tuple[int, int]]:
    """All attempts at a fit."""
    code, whole = attempt(name, folder / "undisturbed", folder / "undisturbed model", None)
    assert code == 0
    draw, found = random.Random(seed), []
    for _ in range(kills):
        wait = draw.uniform(0.0, PART * whole)
        code, _ = attempt(name, folder / "checkpoints", folder / "model", wait)
        found.append((code, newest(folder / "checkpoints")))
    code, _ = attempt(name, folder / "checkpoints", folder / "model", None)
    return [*found, (code, newest(folder / "checkpoints"))]


if __name__ == "__main__":
    import test_checkpoints  # noqa: F401  once, before the forks

    name, folder, kills, seed = sys.argv[1:]
    print(json.dumps(attempts(name, Path(folder), int(kills), int(seed))))
