"""Cases that may crash, each in a process of its own.

A test file that is also a script, ``python test_x.py``, is a server: it imports once, then forks
for every case that it reads from its standard input, so that a case costs milliseconds and one
that crashes takes only its own fork along. It runs no thread, so that forking it is safe.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

SECONDS = 60  # a case that takes longer hangs

Attempt = Callable[..., Iterable[dict]]
"""What a case, of words, comes to: results as they are there."""


def in_fork(attempt: Attempt, case: list[str]) -> dict:
    """The results of a case as far as it got, and how its process ended: 0, exit or signal."""
    end, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)  # malloc's last words
        os.dup2(nowhere, 1)  # the progress of a fit, if a pickle was changed into one that prints
        try:
            for result in attempt(*case):
                os.write(pipe, f"{json.dumps(result)}\n".encode())
        except BaseException as error:  # of the test file, not of a call
            os.write(pipe, f"{json.dumps(repr(error))}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(pipe)
    with os.fdopen(end) as lines:
        results = [json.loads(line) for line in lines]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"results": results, "ended": f"signal {-code}" if code < 0 else code}


def serve(attempt: Attempt) -> None:
    """Answer every case, a line of JSON on standard input, with a line on standard output."""
    for line in sys.stdin:
        print(json.dumps(in_fork(attempt, json.loads(line))), flush=True)


@contextmanager
def server_of(file: str) -> Iterator[Callable[..., dict]]:
    """A function that runs a case in a fork of ``python file`` and gives what ``in_fork`` does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, file],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(*case: str) -> dict:
        server.stdin.write(f"{json.dumps(case)}\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    with server:
        yield ask
        server.stdin.close()
    assert server.returncode == 0
