"""One build of the core that has all mutants of C, for one instruction set, lightly optimised.

It is made like any other, by CMake, of a copy of the repository. The loops are not vectorised by
``omp simd``, whose canonical form a mutant's condition would break.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from c_places import UNITS, CPlace, write_sources
from places import ROOT

COPIED = ("CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "src", "csrc")
WRONG = re.compile(r"([^\s:]+\.[ch]):(\d+):\d+: (?:fatal )?error")
FLAGS = ["-fopenmp-simd", "-fno-openmp-simd -O1 -w"]


def copy_repository(folder: Path) -> None:
    """What a build needs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    text = (folder / "CMakeLists.txt").read_text()
    assert FLAGS[0] in text
    (folder / "CMakeLists.txt").write_text(text.replace(*FLAGS))


def wrong_lines(sources: Path) -> Iterator[tuple[str, int]]:
    """Lines of what the compiler refuses, in files named from the root of the repository."""
    (sources / "isas.h").write_text("#define FSGD_ISAS(F) F(scalar)\n")
    for unit, real_bytes in UNITS:
        command = ["gcc", "-std=c11", "-w", f"-DREAL_BYTES={real_bytes}", "-DVECTOR_BYTES=16"]
        command += ["-DISA=scalar", f"-I{sources}", "-fsyntax-only"]
        command += [str(sources / unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = WRONG.findall(done.stderr)
        if done.returncode and not lines:
            raise SystemExit(done.stderr)
        for path, line in lines:
            relative = Path(path).resolve().relative_to(sources.resolve())
            yield f"csrc/{relative}", int(line)
    (sources / "isas.h").unlink()


def accepted(mutants: dict[int, CPlace], sources: Path) -> dict[int, CPlace]:
    """The mutants that are C, which are those in the sources afterwards."""
    chosen = dict(mutants)
    while True:
        write_sources(chosen, sources, max(mutants))
        wrong = set(wrong_lines(sources))
        bad = [
            number
            for number, place in chosen.items()
            if any((place.path, line) in wrong for line in lines_of(place))
        ]
        if not wrong:
            return chosen
        if not bad:
            raise SystemExit(f"the compiler refuses what is no mutant: {sorted(wrong)}")
        for number in bad:
            del chosen[number]


def lines_of(place: CPlace) -> range:
    """The lines that a place lies on."""
    text = (ROOT / place.path).read_bytes()[place.start : place.end]
    return range(place.line, place.line + text.count(b"\n") + 1)


def build(
    mutants: dict[int, CPlace], folder: Path, sanitizers: str
) -> tuple[Path, dict[int, CPlace]]:
    """Build the library; the folder it can be imported from, and the mutants that it has."""
    copy = folder / "sources"
    copy_repository(copy)
    chosen = accepted(mutants, copy / "csrc")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    options = ["--no-build-isolation", "-C", f"build-dir={folder / 'build'}"]
    options += ["-C", "cmake.define.FASTSGD_ISAS=scalar"]
    options += ["-C", f"cmake.define.FASTSGD_SANITIZE={sanitizers}"]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    target = folder / "library"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(
        [*pip, *options, "--target", str(target), str(copy)], check=True, env=environment
    )
    return target, chosen


def use_sanitizers() -> None:
    """Start this program again with the sanitizers loaded first, as sanitizers.sh has them."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        return
    names = [
        subprocess.run(
            ["gcc", f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("asan", "ubsan")
    ]
    os.environ["LD_PRELOAD"] = " ".join(names)
    os.environ["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1:handle_segv=0"
    os.environ["UBSAN_OPTIONS"] = "halt_on_error=1"
    os.environ["PYTHONMALLOC"] = "malloc"
    os.execv(sys.executable, [sys.executable, *sys.argv])


class CSwitch:
    """Which mutant of the loaded core runs, and which places were reached."""

    def __init__(self, library: Path, count: int) -> None:
        core = next((library / "fastsgd").glob("_core*.so"))
        self.loaded = ctypes.CDLL(str(core))
        self.mutant = ctypes.c_int.in_dll(self.loaded, "fsgd_mutant")
        self.marks = (ctypes.c_int * (count + 1)).in_dll(self.loaded, "fsgd_reached")

    def choose(self, number: int) -> None:
        self.mutant.value = number
        os.environ["FASTSGD_MUTANT"] = str(number)  # of processes that a test starts

    def forget(self) -> None:
        ctypes.memset(self.marks, 0, ctypes.sizeof(self.marks))

    def reached(self) -> bytes:
        """A byte a place, 1 where it was reached."""
        return bytes(list(self.marks))  # whose own bytes are four for each
