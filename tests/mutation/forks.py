"""A plugin of pytest that runs the tests once for each mutant, each mutant in a fork.

The tests are collected, and all that they import is loaded, once. They then run without a mutant, a
fork for each function with all its parameters, which says how long each takes and which places it
reaches. A mutant needs the tests that reach its place alone: first those that have killed most for
the time that they take. Last are those of which another with other parameters reaches it: what the
two share may be made once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import itertools
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

TIMES_LONGER, SLACK, WAITING = 10.0, 1.0, 120.0
"""A test that takes ten times the seconds of the processor that it needs does not end, nor does one
that waits for two minutes."""
MEMORY = 8 << 30  # bytes of addresses beyond those of the tests
KILLER = 20.0  # a test that has killed a mutant counts as so many times as quick
HEADER = struct.Struct("qd")  # number of the test that runs, and when it began


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
    seconds: float  # of the processor
    reached: bytes  # a byte a place
    near: bytes = b""  # the same, of the function with any parameters


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

    @property
    def at(self) -> int:
        return int(HEADER.unpack(self.shared)[0])

    @property
    def ends(self) -> float:
        at, began = HEADER.unpack(self.shared)
        return (began or self.began) + self.limits[at] + WAITING


def used() -> float:
    """Seconds of the processor, of this process and those that it started."""
    mine, others = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


class Failed:
    """A plugin that notices whether a test fails."""

    any = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.any |= report.failed


def outcomes(
    tests: Sequence[Any], shared: mmap.mmap, limits: Sequence[float]
) -> Iterator[tuple[bool, float]]:
    """Run tests in this process: whether each passes, and its seconds."""
    for at, (item, limit) in enumerate(zip(tests, limits, strict=True)):
        before = used()
        soft = math.ceil(before + limit)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        shared[:] = HEADER.pack(at, time.monotonic())
        following = tests[at + 1] if at + 1 < len(tests) else None
        failed = Failed()
        item.config.pluginmanager.register(failed)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)  # with all its wrappers
        item.config.pluginmanager.unregister(failed)
        yield not failed.any, used() - before


def function_of(item: Any) -> str:
    """The name of a test without its parameters."""
    return str(item.nodeid).split("[")[0]


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
    memory : int or None
        Bytes of addresses that a fork may take beyond those of this process.
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
        memory: int | None = MEMORY,
    ) -> None:
        self.make_switch, self.mutants, self.done, self.known = make_switch, mutants, done, known
        self.jobs, self.most, self.slowest, self.pause = jobs, most, slowest, pause
        self.memory = memory
        self.tests: dict[str, Known] = {}
        self.kills: Counter[str] = Counter()
        self.at_import: set[int] = set()
        self.broken: list[str] = []
        self.saved = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False  # of pytest itself, which says what could not be collected
        self.switch = self.make_switch()
        marks = self.switch.reached()
        self.at_import = {number for number in self.mutants if marks[number]}
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
            results = []
            if status == 0:
                results = pickle.loads((fork.folder / "results").read_bytes())
            near = bytes(map(max, zip(*(marks for _, _, marks in results), strict=True)))
            results += [(False, 0.0, b"")] * (len(fork.tests) - len(results))
            for item, (passed, seconds, marks) in zip(fork.tests, results, strict=True):
                known = Known(changed[item.path], passed, seconds, marks, near)
                self.tests[item.nodeid] = known
            if time.monotonic() > self.saved + 60.0:
                self.save()

        functions = itertools.groupby(new, function_of)
        self.all((list(group), 0, learnt) for _, group in functions)
        self.save()
        self.broken = sorted(n for n in names if not self.tests[n].passed)

    def save(self) -> None:
        """Keep what is known of the tests."""
        self.known.write_bytes(pickle.dumps(self.tests))
        self.saved = time.monotonic()

    # ---------------------------------------------------------------- with one

    def run(self, items: Sequence[Any]) -> None:
        """All mutants."""
        self.all(self.mutant(number, items) for number in self.mutants)

    def mutant(self, number: int, items: Sequence[Any]) -> Any:
        """The tests of a mutant, and what to do with what comes of them."""

        def quick(item: Any) -> tuple[bool, float]:
            test = self.tests[item.nodeid]
            return not test.reached[number], test.seconds

        def kills(item: Any) -> tuple[bool, float]:
            others, seconds = quick(item)
            return others, seconds / (1.0 + KILLER * self.kills[function_of(item)])

        # Tests that have killed most for their time, and as long the quickest ones.
        found: dict[str, Any] = {}
        candidates = [item for item in items if self.reaches(item, number)]
        for order, most in ((kills, 0.5 * self.most), (quick, self.most)):
            seconds = sum(self.tests[name].seconds for name in found)
            for item in sorted(candidates, key=order):
                seconds += 0.0 if item.nodeid in found else self.tests[item.nodeid].seconds
                if found and seconds > most:
                    break
                found[item.nodeid] = item
        if not found:
            self.done(number, "unreached", "", 0.0)
            return None

        def ended(fork: Running, status: int) -> None:
            item = fork.tests[fork.at]
            took = time.monotonic() - fork.began
            if status == 0:
                self.done(number, "survived", "", took)
                return
            self.kills[function_of(item)] += 1
            hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (
                signal.SIGXCPU,
                signal.SIGKILL,
            )
            self.done(number, "timeout" if hung else "killed", item.nodeid, took)

        return list(found.values()), number, ended

    def reaches(self, item: Any, number: int) -> bool:
        test = self.tests[item.nodeid]
        return test.passed and test.seconds <= self.slowest and test.near[number] == 1

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
                fork.done(fork, status)
                shutil.rmtree(fork.folder, ignore_errors=True)
                fork.shared.close()

    def is_paused(self, running: dict[int, Running]) -> bool:
        if self.pause is None or not self.pause.exists():
            return False
        if not running:
            time.sleep(1.0)
        return True

    def fork(self, tests: list[Any], number: int, done: Callable[[Running, int], None]) -> Running:
        """Run tests in a fork, with a mutant or (0) without."""
        shared = mmap.mmap(-1, HEADER.size)
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
            faulthandler.disable()  # which has a copy of the error stream
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            if self.memory is not None:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                most = pages * resource.getpagesize() + self.memory
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            tests[0].config._tmp_path_factory._basetemp = folder
            self.switch.choose(number)
            results = outcomes(tests, shared, limits)
            if number:
                code = 0 if all(passed for passed, _ in results) else 1
            else:
                self.tell(results, folder)
                code = 0
        os._exit(code)

    def tell(self, results: Iterator[tuple[bool, float]], folder: Path) -> None:
        """Write into a file what tests do, and what they reach."""
        told = []
        self.switch.forget()
        for passed, seconds in results:
            told.append((passed, seconds, self.switch.reached()))
            self.switch.forget()
        (folder / "results").write_bytes(pickle.dumps(told))
