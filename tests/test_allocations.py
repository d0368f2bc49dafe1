"""Every allocation of a public call fails once: MemoryError, and all is as it was before the call.

``python test_allocations.py KIND`` runs with the shim of allocations.c and says, in JSON, what
became of the calls. Allocations of each kind fail, one after the other:

* ``core``: those of the core's C code, and the threads that it asks for;
* ``arrays``: those of NumPy's arrays, whoever makes them, the core among them;
* ``everybody``: those of 80 kB and more that are none of these, in calls on wide rows;
* ``python``: those of Python's objects, by ``_testcapi.set_nomemory``, each in a fork of its own.

After each the subject of the call has the attributes it had, object by object and bit by bit, no
block of the core and no array is left, and the same call then gives the bits that it gives
undisturbed. A fit goes on without scratch, or threads, that only make it faster: with the same
bits. FASTSGD_EXHAUSTIVE=1 fails every allocation, 0.1 a tenth of those of arrays and of objects; by
default those that fail are some of each call, all over it.
"""

import collections
import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from public_calls import bits_of, calls, snapshot

from fastsgd import _core
from fastsgd.estimators import rows

pytest.importorskip("xxhash")

SHARE = float(os.environ.get("FASTSGD_EXHAUSTIVE") or 0.0)
"""Of the allocations of a call that fail; 0 stands for a few."""
NOBODY, CORE, ARRAYS, EVERYBODY = range(4)
KINDS = {"core": CORE, "arrays": ARRAYS, "everybody": EVERYBODY}
LEAST = 80_000
"""Bytes of the allocations of others that fail. Where its own scratch cannot be had, of 64 kB at
most, NumPy may crash."""
MOST = {"arrays": 30, "python": 3}
"""Failures of a call that are tried."""
SECONDS = 20
"""Of a call that hangs."""
OTHERS = (SystemError, RuntimeError, TypeError)
"""What NumPy and CPython make of an object that they cannot have, where it is not MemoryError."""
READ_ONLY = "read-only"
"""NumPy again: a view of a buffer is read-only where the description of a writable one fails."""
CRASHES = {"crash in numpy", "crash in scipy", "crash in sklearn"}
"""Calls of NumPy from functions of theirs, such as ``np.cumsum`` into an array that is given."""
START = "hangs in Thread.start"
"""CPython again: it waits for a thread that has ended, https://github.com/python/cpython/issues/140746"""


# ---------------------------------------------------------------- in the child


class Shim:
    """What allocations.c offers."""

    def __init__(self):
        self.loaded = ctypes.CDLL(None)
        self.loaded.fail_at.argtypes = ctypes.c_int, ctypes.c_long, ctypes.c_size_t
        for name in ("allocations_counted", "allocations_failed", "blocks_alive", "arrays_alive"):
            getattr(self.loaded, name).restype = ctypes.c_long
        self.loaded.watch(*map(ctypes.c_size_t, code_of_the_core()))
        self.take_arrays()

    def take_arrays(self):
        """Give NumPy the handler."""
        table = ctypes.pythonapi.PyCapsule_GetPointer
        table.restype, table.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        functions = table(np._core._multiarray_umath._ARRAY_API, None)
        address = ctypes.cast(functions, ctypes.POINTER(ctypes.c_void_p))[304]
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = (
            ctypes.py_object,
            (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
        )
        handler = ctypes.addressof(ctypes.c_char.in_dll(self.loaded, "array_handler"))
        capsule = new(handler, b"mem_handler", None)
        ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)(capsule)
        assert np.ones(3).base is None and self.loaded.arrays_alive() >= 0
        assert np._core.multiarray.get_handler_name() == "allocations"

    def fail(self, kind, n):
        self.loaded.fail_at(KINDS[kind], n, LEAST if kind == "everybody" else 0)

    def stop(self):
        """Whether one failed."""
        failed = self.loaded.allocations_failed() > 0
        self.loaded.fail_at(NOBODY, 0, 0)
        return failed

    def alive(self):
        gc.collect()
        return self.loaded.blocks_alive(), self.loaded.arrays_alive()


def code_of_the_core():
    """First and last address of the core's code."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if os.path.basename(_core.__file__) in line and " r-xp " in line:
            return tuple(int(part, 16) for part in line.split()[0].split("-"))
    raise AssertionError("the core is not mapped")


def fail_each(shim, kind, call):
    """Fail the allocations of a call, one by one; what became of it, and how often."""
    expected, found = bits_of(call.make(call.subject())), collections.Counter()
    subject = call.subject()
    shim.fail(kind, 10**9)
    call.make(subject)
    count = shim.loaded.allocations_counted()
    shim.stop()
    few = MOST.get(kind, count)
    most = min(count, max(few, int(SHARE * count)))
    for n in np.unique(np.linspace(1, count, most).astype(int)):
        subject = call.subject()
        before, alive, given = snapshot(subject), shim.alive(), None
        shim.fail(kind, int(n))
        with contextlib.suppress(MemoryError):
            given = [call.make(subject)]
        failed = shim.stop()
        if given is not None:
            assert bits_of(given[0]) == expected, n
            found["went on" if failed else "none"] += 1
            continue
        assert failed
        assert snapshot(subject) == before, n
        del before
        blocks, arrays = shim.alive()
        assert blocks == 0, (n, blocks, given)
        assert arrays <= alive[1], (n, arrays, alive[1])
        assert threading.active_count() == 1, n
        assert bits_of(call.make(subject)) == expected, n
        found["MemoryError"] += 1
    return found


def fail_one_object(call, n, expected):
    """In a fork: what becomes of a call whose allocation n of Python's objects fails."""
    import _testcapi

    subject, error = call.subject(), None
    before, given = snapshot(subject), fail_one_object
    _testcapi.set_nomemory(n, n + 1)
    try:
        given = call.make(subject)  # nothing else, which would need memory too
    except BaseException as caught:
        error = caught
    _testcapi.remove_mem_hooks()
    if isinstance(error, TimeoutError):
        return START if " wait start " in str(error) else f"hangs in {error}"
    if given is fail_one_object:
        if snapshot(subject) != before:
            return f"changed by {error!r}"
        given = call.make(subject)
    if bits_of(given) != expected:
        return f"other bits after {error!r}"
    if error is None:
        return "went on"
    if isinstance(error, ValueError) and "read-only" in str(error):
        return READ_ONLY
    return type(error).__name__ if isinstance(error, (MemoryError, *OTHERS)) else repr(error)


def in_fork(function, *arguments):
    """What a function gives, a text, in a fork; or the signal that ended it."""
    end, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, say_where)
        signal.alarm(SECONDS)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # of destructors that need memory
        faulthandler.enable(pipe, all_threads=False)
        try:
            text = function(*arguments)
        except BaseException as error:
            text = repr(error)
        os.write(pipe, text.encode())
        os._exit(0)
    os.close(pipe)
    with os.fdopen(end) as found:
        text = found.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        return text
    where = re.search(r'File "[^"]*?(?:site-packages/|(?=fastsgd/))(\w+)', text)
    return f"crash in {where[1]}" if where else f"signal {-code}"


def say_where(_, frame):
    """End a call that hangs by an exception with the functions that it is in."""
    raise TimeoutError(" ".join(line.name for line in reversed(traceback.extract_stack(frame))))


def fail_objects(call, seed):
    """Fail allocations of Python's objects in a call: some, or all."""
    expected, found = bits_of(call.make(call.subject())), collections.Counter()
    if not SHARE:
        drawn = np.random.default_rng(seed).uniform(0.0, np.log(8000.0), MOST["python"])
        for n in np.exp(drawn).astype(int) + 1:
            found[in_fork(fail_one_object, call, int(n), expected)] += 1
        return found
    step = max(1, round(1.0 / SHARE))
    n = last = seed % step
    while n - last < max(300, 30 * step):  # the last allocation is some time ago
        n += step
        end = in_fork(fail_one_object, call, n, expected)
        found[end] += 1
        last = n if end != "went on" else last
    found["went on"] -= (n - last) // step
    return found


def main(kind, *names):
    warnings.simplefilter("ignore")
    rows.LEAST_BLOCK, rows.BLOCK_BYTES = 1, 1 << 10  # so that there are many pools
    wide = kind == "everybody"
    of = calls(24, 11_000, 2, pool_bytes=1 << 20) if wide else calls(pool_bytes=1 << 11)
    shim, found = None if kind == "python" else Shim(), {}
    for number, name in enumerate(names or of):
        gc.collect()
        gc.freeze()  # what there is already need not be looked through each time
        try:
            if shim is None:
                found[name] = fail_objects(of[name], number)
            else:
                found[name] = fail_each(shim, kind, of[name])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        print(name, dict(found[name]), file=sys.stderr, flush=True)
    print(json.dumps(found))


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    if sys.platform != "linux" or not shutil.which("cc"):
        pytest.skip("no C compiler")
    source = Path(__file__).with_name("allocations.c")
    library = tmp_path_factory.mktemp("shim") / "allocations.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


def ends_of(kind, shim=None):
    """What became of each call, and of all."""
    here = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(here)}
    if shim is not None:
        environment["LD_PRELOAD"] = str(shim)
    child = subprocess.run(
        [sys.executable, __file__, kind],
        capture_output=True,
        text=True,
        timeout=36_000 if SHARE else 600,
        env=environment,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    return found, sum(map(collections.Counter, found.values()), collections.Counter())


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("core", 150),
        pytest.param("arrays", 500, marks=pytest.mark.exhaustive),
        pytest.param("everybody", 40, marks=pytest.mark.exhaustive),
    ],
)
def test_an_allocation_fails(kind, least, shim):
    """What must be there is MemoryError; what a fit can do without is scratch for threads."""
    found, total = ends_of(kind, shim)
    assert total["MemoryError"] > least
    assert all("threads" in name for name, ends in found.items() if "went on" in ends)
    assert total["none"] < 0.1 * total.total()


def test_an_object_cannot_be_had():
    """MemoryError, or what NumPy and CPython make of it: no crash of the core, no other bits."""
    pytest.importorskip("_testcapi")
    found, total = ends_of("python")
    allowed = {"MemoryError", "went on", START, *CRASHES}
    allowed |= {error.__name__ for error in OTHERS}
    assert total.keys() <= allowed, found
    assert sum(total[end] for end in CRASHES) < 0.01 * total.total()
    assert total["MemoryError"] > 0.3 * total.total()


def make_array(n):
    """In a fork: what becomes of an array of the core's, if allocation n fails."""
    import _testcapi

    array = error = None
    _testcapi.set_nomemory(n, n + 1)
    try:
        array = _core.aligned_zeros((3, 5), np.float64)
    except BaseException as caught:
        error = caught
    _testcapi.remove_mem_hooks()
    if error is not None:
        return type(error).__name__
    return "made" if array.flags.writeable else READ_ONLY


def test_an_array_of_the_core_is_never_read_only():
    """NumPy gives one where it has no memory to ask for more, and a write would be a ValueError."""
    pytest.importorskip("_testcapi")
    ends = collections.Counter(in_fork(make_array, n) for n in range(1, 30))
    assert READ_ONLY not in ends
    assert ends["made"] > 10 and ends["MemoryError"] > 3


if __name__ == "__main__":
    main(*sys.argv[1:])
