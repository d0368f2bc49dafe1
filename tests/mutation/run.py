"""Mutation testing: what of the solver could be wrong without a test that says so.

    python tests/mutation/run.py python --count 500 --seed 0
    python tests/mutation/run.py c --count 500 --seed 0     # needs libclang, of PyPI

A mutant is the library with one operator, comparison, constant, condition or statement changed. It
is killed if a test fails, or if it does not end. The survivors are printed, as they stand: each
needs a test, or is equivalent to what was there, and then stands with its reason in
tests/data/equivalent_mutants.txt.

All mutants of a sample are in one build of the library, which chooses one while it runs. Each runs
in a fork the tests that reach its place (forks.py). The core of C is for one instruction set.
``--report FILE`` has a line of JSON a mutant; ``--again`` runs those that survived there once more,
in the same build, with the tests as they are now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import c_build
import c_places
import python_places
from forks import MEMORY, Known, Mutation
from places import ROOT, Place, equivalents, sampled

SUITE = (
    *("annealing", "bad_input", "bits", "certificate", "checkpoints", "compaction"),
    *("compiled_loss", "continuing", "conversions", "core", "corrupt_csr", "divergence", "door"),
    *("edges", "epochs", "exceptions", "extremes", "finish", "history", "insight", "lazy"),
    *("learning_rates", "losses", "minimize", "minimum", "mlp", "network", "network_core"),
    *("network_insight", "network_noise", "network_sources", "optimizers", "oracle", "outputs"),
    *("parity", "path", "plain", "pools", "random_settings", "repeat", "sampling", "scores"),
    *("sizes", "source_checkpoints", "split_lanes", "standardise", "stopping", "store"),
    *("stream_fit", "theory", "threads", "warm_start", "weights", "wide", "windows", "zoo"),
)
"""Test files that train, or look at what is trained by."""

SURVIVED = ("survived", "unreached")
SECONDS_AT_IMPORT = 240.0


def build(options: argparse.Namespace, folder: Path) -> tuple[Path, dict[int, Any], int]:
    """The library with the mutants, those that are in it, and how many the compiler refused."""
    everything = c_places.places() if options.what == "c" else python_places.places()
    mutants: dict[int, Any] = dict(enumerate(sampled(everything, options.count, options.seed), 1))
    print(f"{len(everything)} places, of which {len(mutants)} are sampled", flush=True)
    sources = sorted([*(ROOT / "csrc").rglob("*.[ch]"), *(ROOT / "src").rglob("*.p*")])
    text = "".join(path.read_text() for path in sources if path.suffix != ".pyc")
    made_of = hashlib.sha256(f"{options.count} {options.seed} {text}".encode()).hexdigest()
    stamp = folder / "stamp.json"
    if stamp.exists():
        made = json.loads(stamp.read_text())
        if made["of"] == made_of:
            chosen = {number: mutants[number] for number in made["numbers"]}
            return folder / "library", chosen, len(mutants) - len(chosen)
    for old in (stamp, folder / "known"):
        old.unlink(missing_ok=True)
    if options.what == "c":
        sanitizers = "address,undefined" if options.sanitize else ""
        library, chosen = c_build.build(mutants, folder, sanitizers)
    else:
        library, chosen = python_places.build(mutants, folder), mutants
    stamp.write_text(json.dumps({"of": made_of, "numbers": list(chosen)}))
    return library, chosen, len(mutants) - len(chosen)


class Results:
    """How mutants ended, in the order in which they did."""

    def __init__(self, mutants: dict[int, Place], report: Path | None) -> None:
        self.mutants, self.report = mutants, report
        self.ends: dict[int, str] = {}

    def done(self, number: int, end: str, test: str, seconds: float) -> None:
        self.ends[number] = end
        if self.report:
            place = self.mutants[number]
            line = {"number": number, "end": end, "seconds": round(seconds, 3), "test": test}
            with self.report.open("a") as report:
                report.write(json.dumps({**line, "name": place.name}) + "\n")

    def show(self, refused: int) -> None:
        """Print survivors, then counts."""
        known = equivalents()
        left = []
        for number, end in self.ends.items():
            if end in SURVIVED and self.mutants[number].key in known:
                self.ends[number] = "equivalent"
            elif end in SURVIVED:
                left.append(f"{end}: {self.mutants[number].name}")
        print("\n".join(sorted(left)))
        counts = Counter(self.ends.values())
        killed = counts["killed"] + counts["timeout"]
        counted = len(self.ends) - counts["equivalent"]
        print(", ".join(f"{count} {end}" for end, count in sorted(counts.items())))
        print(f"{refused} refused by the compiler")
        print(
            f"{killed} of {counted} that are not equivalent: {100 * killed / max(1, counted):.1f} %"
        )


def ends_of(report: Path) -> dict[int, str]:
    """The last line of each mutant."""
    lines = map(json.loads, report.read_text().splitlines()) if report.exists() else ()
    return {line["number"]: line["end"] for line in lines}


def run_at_import(number: int, library: Path, files: Sequence[str]) -> tuple[str, float]:
    """How a mutant ends that is reached when the library is imported: in a process of its own."""
    start = time.monotonic()
    path = os.pathsep.join([str(library), str(ROOT / "tests")])
    end = "survived"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files],
            env={**os.environ, "FASTSGD_MUTANT": str(number), "PYTHONPATH": path},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS_AT_IMPORT,
            check=False,
        )
        end = "killed" if done.returncode else "survived"
    except subprocess.TimeoutExpired:
        pass  # its tests take long; what does not end by itself would be seen in the forks
    return end, time.monotonic() - start


def quickest_files(tests: dict[str, Known]) -> list[str]:
    """Test files all of whose tests pass without a mutant, by how long they take in all."""
    seconds: Counter[str] = Counter()
    for name, test in tests.items():
        seconds[name.split("::")[0]] += test.seconds if test.passed else math.inf
    return [name for name, took in reversed(seconds.most_common()) if took < SECONDS_AT_IMPORT]


def run(options: argparse.Namespace) -> None:
    """Sample mutants, build them, run them, print what became of them."""
    import pytest

    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    folder = options.build / (options.what + ("-sanitized" if options.sanitize else ""))
    folder.mkdir(parents=True, exist_ok=True)
    library, mutants, refused = build(options, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(library), str(ROOT / "tests")])
    sys.path[:0] = [str(library), str(ROOT / "tests")]
    os.chdir(ROOT)
    results = Results(mutants, options.report)
    before = ends_of(options.report) if options.report else {}
    results.ends.update((number, end) for number, end in before.items() if number in mutants)
    chosen = {
        number: place.name
        for number, place in mutants.items()
        if number not in before or (options.again and before[number] in SURVIVED)
    }
    if options.again:
        known = equivalents()
        chosen = {n: name for n, name in chosen.items() if mutants[n].key not in known}
    switch: Callable[[], Any] = {
        "c": lambda: c_build.CSwitch(library, max(mutants)),
        "python": lambda: python_places.PythonSwitch(library),
    }[options.what]
    plugin = Mutation(
        switch,
        chosen,
        results.done,
        folder / "known",
        jobs=options.jobs,
        most=options.most,
        slowest=options.slowest,
        pause=options.pause,
        memory=None if options.sanitize else MEMORY,
    )
    tests = options.tests or [f"tests/test_{name}.py" for name in SUITE]
    code = pytest.main(["-q", "-s", "-p", "no:cacheprovider", *tests], plugins=[plugin])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(f"pytest: {code!r}")
    print(f"{len(plugin.tests)} tests; left out, since they fail without a mutant: {plugin.broken}")
    files = quickest_files(plugin.tests)
    for number in sorted(plugin.at_import & {n for n in chosen if results.ends[n] in SURVIVED}):
        end, seconds = run_at_import(number, library, files)
        results.done(number, end, "at import", seconds)
    results.show(refused)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("python", "c"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="mutants that it has are not run")
    parser.add_argument("--again", action="store_true", help="but for those that survived")
    parser.add_argument(
        "--sanitize", action="store_true", help="a core of C that is slow and strict"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--most", type=float, default=60.0, help="seconds of a mutant's tests")
    parser.add_argument("--slowest", type=float, default=5.0, help="seconds of a test")
    parser.add_argument("--pause", type=Path, help="nothing is begun while this file exists")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("tests", nargs="*", help="test files; without any, those of SUITE")
    options = parser.parse_intermixed_args()
    if options.sanitize:
        c_build.use_sanitizers()
    run(options)


if __name__ == "__main__":
    main()
