"""What the library allocates is aligned, and on huge pages where Linux has them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastsgd import _core

HUGE_PAGE = 2 << 20
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def mapping_of(array):
    """What /proc/self/smaps says of the mapping that holds the middle of an array, by name."""
    middle = array.ctypes.data + array.nbytes // 2
    text = Path("/proc/self/smaps").read_text()
    heads = list(re.finditer(r"^([0-9a-f]+)-([0-9a-f]+) .*\n", text, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=True):
        if int(head[1], 16) <= middle < int(head[2], 16):
            return dict(line.split(":", 1) for line in text[head.end() : end].splitlines())
    raise AssertionError("no mapping holds the array")


@pytest.mark.parametrize("megabytes", (0, 1, 3, 4, 5, 16))
@pytest.mark.parametrize("copied", (False, True))
def test_arrays_are_aligned_and_of_the_right_numbers(copied, megabytes):
    size = megabytes * 2**18 + 5
    array = _core.aligned_zeros((size,), np.float32)
    assert array.shape == (size,) and not array.any()
    array[:] = np.arange(size)
    if copied:
        original, array = array, _core.aligned_copy(array)
        original[:] = -1.0
    assert array.dtype == np.float32 and array.flags.writeable
    assert np.array_equal(array, np.arange(size, dtype=np.float32))
    assert array.ctypes.data % (HUGE_PAGE if megabytes >= 4 else 64) == 0


@pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(),
    reason="this system has no transparent huge pages",
)
@pytest.mark.parametrize("copied", (False, True))
def test_large_arrays_are_on_huge_pages(copied):
    """Advised ("hg"), and at least partly so: how many there are depends on the memory left.

    In a process of its own: where many large arrays came and went, malloc hands out memory whose
    small pages are there already, which Linux merges later.
    """
    script = f"from test_memory import print_mapping; print_mapping({copied})"
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, env=here, capture_output=True, text=True, check=True).stdout
    flags, size = found.split(";")
    assert "hg" in flags.split()
    assert int(size) > 0


def print_mapping(copied):
    """Flags and kilobytes of huge pages of an array of 16 MB."""
    array = _core.aligned_zeros((16 << 18,), np.float32)
    array[:] = 1.0
    array = _core.aligned_copy(array) if copied else array
    mapping = mapping_of(array)
    print(mapping["VmFlags"], ";", mapping["AnonHugePages"].split()[0])
