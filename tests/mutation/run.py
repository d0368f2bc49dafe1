"""Mutation testing: what of the solver could be wrong without a test that says so.

    python tests/mutation/run.py python --count 500 --seed 0
    python tests/mutation/run.py c --count 500 --seed 0     # needs libclang, of PyPI
    python tests/mutation/run.py python --since main        # of the lines that a branch changes

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
import contextlib
import hashlib
import importlib
import json
import math
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import c_build
import c_places
import python_places
from forks import MEMORY, Known, Mutation
from places import ROOT, Place, changed_since, equivalents, sampled

SUITE = (
    *("annealing", "bad_input", "bits", "budget", "certificate", "checkpoints", "compaction"),
    *("compiled_loss", "continuing", "conversions", "core", "corrupt_csr", "divergence", "door"),
    *("edges", "epochs", "exceptions", "extremes", "finish", "history", "insight", "lazy"),
    *("learning_rates", "losses", "minimize", "minimum", "mlp", "network", "network_core"),
    *("network_insight", "network_noise", "network_sources", "optimizers", "oracle", "outputs"),
    *("parity", "path", "plain", "pools", "random_settings", "refusals", "repeat", "sampling"),
    *(
        "scores",
        "settings",
        "short_runs",
        "sizes",
        "source_checkpoints",
        "split_lanes",
        "standardise",
    ),
    *("stopping", "store", "stream_fit", "theory", "threads", "warm_start", "weights", "wide"),
    *("windows", "zoo"),
)
"""Test files that train, or look at what is trained by."""
OF_DOCSTRINGS = "tests/test_docstrings.py::test_defaults_are_those_of_the_docstring"

SURVIVED = ("survived", "unreached")
QUIETLY = ("-q", "-p", "no:cacheprovider", "-m", "exhaustive or not exhaustive")
"""Arguments of pytest: all tests, also those that are left out by default."""


Mutants = dict[int, Any]
"""Places by the mutant's number, from 1."""


def build(options: argparse.Namespace, folder: Path) -> tuple[Path, Mutants, int]:
    """The library with the mutants, those that are in it, and how many the compiler refused.

    What an earlier call has built is used if it is of the same sample of the same sources, or if
    ``--again`` asks for it, whatever the sources are now.
    """
    library, kept = folder / "library", folder / "mutants"
    sources = sorted([*(ROOT / "csrc").rglob("*.[ch]"), *(ROOT / "src").rglob("*.p*")])
    text = "".join(path.read_text() for path in sources if path.suffix != ".pyc")
    lines = changed_since(options.since) if options.since else set()
    about = f"{options.count} {options.seed} {sorted(lines)} {text}"
    made_of = hashlib.sha256(about.encode()).hexdigest()
    if kept.exists():
        before, chosen, refused = pickle.loads(kept.read_bytes())
        if before == made_of or options.again:
            return library, chosen, refused
    for old in (kept, folder / "known"):
        old.unlink(missing_ok=True)
    everything = c_places.places() if options.what == "c" else python_places.places()
    if options.since:
        everything = [place for place in everything if (place.path, place.line) in lines]
        if not everything:
            raise SystemExit(f"no line with a mutant differs from {options.since}")
    mutants: Mutants = dict(enumerate(sampled(everything, options.count, options.seed), 1))
    print(f"{len(everything)} places, of which {len(mutants)} are sampled", flush=True)
    chosen = mutants
    if options.what == "c":
        sanitizers = "address,undefined" if options.sanitize else ""
        library, chosen = c_build.build(mutants, folder, sanitizers)
    else:
        library = python_places.build(mutants, folder)
    refused = len(mutants) - len(chosen)
    kept.write_bytes(pickle.dumps((made_of, chosen, refused)))
    return library, chosen, refused


class Results:
    """How mutants ended: a file with a line of JSON for each, the last of which counts."""

    def __init__(self, mutants: dict[int, Place], report: Path) -> None:
        self.mutants, self.report = mutants, report

    def done(self, number: int, end: str, test: str, seconds: float) -> None:
        line = {"number": number, "end": end, "seconds": round(seconds, 3), "test": test}
        with self.report.open("a") as report:
            report.write(json.dumps({**line, "name": self.mutants[number].name}) + "\n")

    def ends(self) -> dict[int, str]:
        """By number."""
        text = self.report.read_text() if self.report.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return {line["number"]: line["end"] for line in lines if line["number"] in self.mutants}

    def show(self, refused: int) -> None:
        """Print survivors, then counts."""
        known, left, counts = equivalents(), [], Counter[str]()
        for number, end in self.ends().items():
            place = self.mutants[number]
            if end in SURVIVED and place.key in known:
                counts["equivalent"] += 1
            else:
                counts[end] += 1
                left += [f"{end}: {place.name}"] if end in SURVIVED else []
        print("\n".join(sorted(left)))
        killed = counts["killed"] + counts["timeout"]
        counted = counts.total() - counts["equivalent"]
        print(", ".join(f"{count} {end}" for end, count in sorted(counts.items())))
        print(f"{refused} refused by the compiler")
        share = 100 * killed / max(1, counted)
        print(f"{killed} of {counted} that are not equivalent are killed: {share:.1f} %")


def run_at_import(number: int, files: Sequence[str], seconds: float) -> tuple[str, str, float]:
    """Run a mutant that is reached when the library is imported, in a fork that imports it anew.

    Returns
    -------
    end, test, seconds : str, str, float
        As in a report. It has survived if no test has failed after so many seconds.
    """
    import pytest

    start = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.environ["FASTSGD_MUTANT"] = str(number)
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), resource.RLIM_INFINITY))
            code = int(pytest.main(["-x", *QUIETLY, *files]))
        os._exit(code)
    _, status = os.waitpid(child, 0)
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    end = "survived" if status == 0 or late else "killed"
    return end, "at import", time.monotonic() - start


def files_for(place: Place, tests: dict[str, Known]) -> list[str]:
    """Test files without a broken test: those that the module's name is in, then the quickest."""
    seconds: Counter[str] = Counter()
    for name, test in tests.items():
        seconds[name.split("::")[0]] += test.seconds if test.passed else math.inf
    module = Path(place.path).stem

    def cost(name: str) -> tuple[bool, float]:
        return module not in name, seconds[name]

    return sorted((name for name in seconds if seconds[name] < math.inf), key=cost)


def run_forks(plugin: Mutation, files: Sequence[str], told: Path) -> None:
    """Run the plugin in a fork, since it loads the library; what it finds of tests is told."""
    import pytest

    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(pytest.main(["-s", *QUIETLY, *files], [plugin]))
            told.write_bytes(pickle.dumps((plugin.tests, plugin.broken, plugin.at_import)))
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(f"pytest: {code}")


def preload() -> None:
    """Load what the tests need, but for the library."""
    for name in (
        *("pytest", "scipy.optimize", "scipy.sparse", "sklearn.linear_model"),
        *("sklearn.model_selection", "sklearn.neural_network", "sklearn.datasets"),
    ):
        importlib.import_module(name)
    assert "fastsgd" not in sys.modules


def run(options: argparse.Namespace) -> None:
    """Sample mutants, build them, run them, print what became of them."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    folder = options.build / (options.what + ("-sanitized" if options.sanitize else ""))
    folder.mkdir(parents=True, exist_ok=True)
    library, mutants, refused = build(options, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(library), str(ROOT / "tests")])
    sys.path[:0] = [str(library), str(ROOT / "tests")]
    os.chdir(ROOT)
    preload()
    report = options.report or folder / "report.jsonl"
    if not options.report:
        report.unlink(missing_ok=True)
    results = Results(mutants, report)
    before, known = results.ends(), equivalents()
    chosen = {
        number: place.name
        for number, place in mutants.items()
        if number not in before
        or (options.again and before[number] in SURVIVED and place.key not in known)
    }
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
    files = options.tests or [*(f"tests/test_{name}.py" for name in SUITE), OF_DOCSTRINGS]
    run_forks(plugin, files, folder / "told")
    tests, broken, at_import = pickle.loads((folder / "told").read_bytes())
    print(f"{len(tests)} tests; left out, since they fail without a mutant: {broken}")
    ends = results.ends()
    for number in sorted(at_import & {number for number in chosen if ends[number] in SURVIVED}):
        files = files_for(mutants[number], tests)
        results.done(number, *run_at_import(number, files, options.most))
    results.show(refused)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("python", "c"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--since", metavar="COMMIT", help="of the lines that differ from its")
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
