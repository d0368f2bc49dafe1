"""A plugin of pytest that runs the tests once for each mutant, each mutant in a fork.

The tests are collected, and all that they import is loaded, once. Each test then runs without a
mutant, in a fork of its own, which says how long it takes and which places it reaches. A mutant
needs the tests that reach its place alone: those that have killed most first, then the quickest.
"""

from __future__ import annotations

import contextlib
import gc
import math
import mmap
import os
import pickle
import resource
import select
import shutil
import signal
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

TIMES_LONGER, SLACK, WAITING = 10.0, 2.0, 60.0
"""A test that takes ten times the processor's seconds, or a minute more than that, does not end."""
MEMORY = 8 << 30  # bytes of addresses beyond those of the tests
KILLER = 20.0  # a test that has killed a mutant counts as so many times as quick
HEADER = struct.Struct("qqdd")  # number of the test, whether it failed, when it began, its seconds


class Switch(Protocol):
    """Chooses a mutant in this process, and knows which places were reached."""

    def choose(self, number: int) -> None: ...
    def forget(self) -> None: ...
    def reached(self) -> bytes: ...


@dataclass
class Known:
    """What a test does without a mutant."""

    changed: float  # of its file
    passed: bool
    seconds: float
    reached: bytes


@dataclass
class Running:
    """A fork: its tests, and what it says in memory that it shares with this process."""

    child: int
    tests: list[Any]
    done: Callable[[Running, int], None]
    shared: mmap.mmap
    folder: Path
    limits: list[float]
    began: float = field(default_factory=time.monotonic)

    def told(self) -> tuple[int, bool, float, float]:
        at, failed, began, seconds = HEADER.unpack(self.shared[: HEADER.size])
        return at, bool(failed), began or self.began, seconds

    @property
    def ends(self) -> float:
        at, _, began, _ = self.told()
        return began + self.limits[at] + WAITING


def run_tests(tests: Sequence[Any], switch: Switch, shared: mmap.mmap, limits: list[float]) -> bool:
    """Whether all tests pass; the first that does not ends it."""
    from _pytest.runner import runtestprotocol

    switch.forget()
    start = time.monotonic()
    for at, item in enumerate(tests):
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        soft = math.ceil(used + limits[at])
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        start = time.monotonic()
        shared[: HEADER.size] = HEADER.pack(at, 0, start, 0.0)
        following = tests[at + 1] if at + 1 < len(tests) else None
        reports = runtestprotocol(item, nextitem=following, log=False)
        seconds = time.monotonic() - start
        failed = any(report.failed for report in reports)
        shared[: HEADER.size] = HEADER.pack(at, failed, start, seconds)
        if failed:
            return False
    marks = switch.reached()
    shared[HEADER.size : HEADER.size + len(marks)] = marks
    return True


class Mutation:
    """The plugin.

    Parameters
    ----------
    make_switch : callable
        Gives the switch, once the library is loaded.
    mutants : dict
        Names by number, from 1.
    done : callable
        Is told of each mutant: its number, how it ended, the test that killed it, seconds.
    known : Path
        A file that keeps what the tests do without a mutant, as long as they are the same.
    jobs : int
        Forks at a time.
    most : float
        Seconds, without a mutant, of the tests that a mutant runs at most.
    slowest : float
        Seconds of a test that is run; slower ones are left out.
    pause : Path or None
        No fork begins while this file exists.
    """

    def __init__(
        self,
        make_switch: Callable[[], Switch],
        mutants: dict[int, str],
        done: Callable[[int, str, str, float], None],
        known: Path,
        *,
        jobs: int = 1,
        most: float = math.inf,
        slowest: float = 5.0,
        pause: Path | None = None,
    ) -> None:
        self.make_switch, self.mutants, self.done, self.known = make_switch, mutants, done, known
        self.jobs, self.most, self.slowest, self.pause = jobs, most, slowest, pause
        self.tests: dict[str, Known] = {}
        self.kills: Counter[str] = Counter()
        self.at_import: set[int] = set()
        self.broken: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False  # of pytest itself, which says what could not be collected
        self.switch = self.make_switch()
        marks = self.switch.reached()
        self.at_import = {number for number in self.mutants if marks[number]}
        self.room = HEADER.size + len(marks)
        gc.freeze()  # a collection would copy all of that into each fork
        with tempfile.TemporaryDirectory() as folder:
            self.folder = Path(folder)
            self.learn(session.items)
            self.run(session.items)
        return True

    # ---------------------------------------------------------------- without a mutant

    def learn(self, items: Sequence[Any]) -> None:
        """Find what each test does without a mutant, if that is not known."""
        if self.known.exists():
            self.tests = pickle.loads(self.known.read_bytes())
        changed = {item.path: item.path.stat().st_mtime for item in items}
        names = {item.nodeid for item in items}
        new = [
            item
            for item in items
            if item.nodeid not in self.tests
            or self.tests[item.nodeid].changed != changed[item.path]
        ]

        def learnt(fork: Running, status: int) -> None:
            item = fork.tests[0]
            marks = fork.shared[HEADER.size :]
            seconds = fork.told()[3]
            self.tests[item.nodeid] = Known(changed[item.path], status == 0, seconds, marks)

        self.all(([item], 0, learnt) for item in new)
        self.known.write_bytes(pickle.dumps(self.tests))
        self.broken = sorted(n for n in names if not self.tests[n].passed)

    # ---------------------------------------------------------------- with one

    def run(self, items: Sequence[Any]) -> None:
        """All mutants."""
        self.all(self.mutant(number, items) for number in self.mutants)

    def mutant(self, number: int, items: Sequence[Any]) -> Any:
        """The tests of a mutant, and what to do with what comes of them."""

        def cost(item: Any) -> float:
            kills = self.kills[item.nodeid.split("[")[0]]
            return self.tests[item.nodeid].seconds / (1.0 + KILLER * kills)

        found, seconds = [], 0.0
        for item in sorted((item for item in items if self.reaches(item, number)), key=cost):
            seconds += self.tests[item.nodeid].seconds
            if found and seconds > self.most:
                break
            found.append(item)
        if not found:
            self.done(number, "unreached", "", 0.0)
            return None

        def ended(fork: Running, status: int) -> None:
            at, _, _, _ = fork.told()
            name = fork.tests[at].nodeid
            took = time.monotonic() - fork.began
            if status == 0:
                self.done(number, "survived", "", took)
                return
            self.kills[name.split("[")[0]] += 1
            hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (
                signal.SIGXCPU,
                signal.SIGKILL,
            )
            self.done(number, "timeout" if hung else "killed", name, took)

        return found, number, ended

    def reaches(self, item: Any, number: int) -> bool:
        test = self.tests[item.nodeid]
        return test.passed and test.seconds <= self.slowest and test.reached[number] == 1

    # ---------------------------------------------------------------- forks

    def all(self, work: Iterator[Any]) -> None:
        """Run tests in forks, some at a time."""
        running: dict[int, Running] = {}
        more = True
        while more or running:
            while more and len(running) < self.jobs and not self.is_paused(running):
                try:
                    each = next(work)
                except StopIteration:
                    more = False
                    break
                if each is not None:
                    fork = self.fork(*each)
                    running[os.pidfd_open(fork.child)] = fork
            wait = min((fork.ends for fork in running.values()), default=0.0) - time.monotonic()
            ready, _, _ = select.select(list(running), [], [], max(0.0, wait))
            late = [fd for fd, fork in running.items() if fork.ends < time.monotonic()]
            for descriptor in {*ready, *late}:
                fork = running.pop(descriptor)
                os.close(descriptor)
                with contextlib.suppress(ProcessLookupError):  # and what it has started
                    os.killpg(fork.child, signal.SIGKILL)
                _, status = os.waitpid(fork.child, 0)
                shutil.rmtree(fork.folder, ignore_errors=True)
                fork.done(fork, status)
                fork.shared.close()

    def is_paused(self, running: dict[int, Running]) -> bool:
        if self.pause is None or not self.pause.exists():
            return False
        if not running:
            time.sleep(1.0)
        return True

    def fork(self, tests: list[Any], number: int, done: Callable[[Running, int], None]) -> Running:
        """Run tests in a fork, with a mutant or (0) without."""
        shared = mmap.mmap(-1, self.room)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        limits = [
            TIMES_LONGER * self.tests[item.nodeid].seconds + SLACK if number else WAITING
            for item in tests
        ]
        child = os.fork()
        if child:
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.setpgid(child, child)
            return Running(child, tests, done, shared, folder, limits)
        code = 1
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            tests[0].config._tmp_path_factory._basetemp = folder
            self.switch.choose(number)
            code = 0 if run_tests(tests, self.switch, shared, limits) else 1
        os._exit(code)
