"""Fuzzing: bytes become sparse matrices, parameters, files, functions and sequences of calls.

    python tests/fuzz/run.py                      # every target, a minute in all
    python tests/fuzz/run.py --seconds 23400 --jobs 2     # an hour of each
    python tests/fuzz/run.py --seconds 300 csr    # one target
    python tests/fuzz/run.py --replay fuzz-findings/csr-crash-0123 csr

Each target runs in a process of its own. An input at which it raises, crashes or hangs is a
finding: it is saved as a file, and the run fails. atheris makes the inputs where it is installed
(``pip install atheris``), chance where it is not. ``--corpus DIR`` keeps inputs that reach new
branches. ``--pack`` adds those of them that reach a branch that no shorter one does to the corpus
that lies beside the targets, which every run begins with.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engines import (
    CURRENT,
    ENGINES,
    HERE,
    MODULES,
    TARGETS,
    arguments_of,
    found_by_fuzzing,
    name_of,
)


def environment() -> dict[str, str]:
    """That of a target's process."""
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    return {**os.environ, **single, "PYTHONPATH": os.pathsep.join(paths)}


def command_of(*arguments: object) -> list[str]:
    return [sys.executable, str(HERE / "engines.py"), *map(str, arguments)]


def how_it_ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def save(findings: Path, target: str) -> None:
    """Keep the input of a process that ended in the middle of it."""
    current = findings / CURRENT.format(target)
    if current.exists():
        current.rename(findings / f"{target}-{name_of(current.read_bytes())[:16]}")


def pack(targets: Sequence[str], corpus: Path) -> None:
    """Keep beside the targets those inputs of a corpus that reach a branch that no shorter does."""
    for target in targets:
        run = subprocess.run(
            command_of("atheris", target, "--select", "--corpus", corpus / target),
            env=environment(),
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
        names = re.findall(r"\[ *\d+ ([0-9a-f]{40})\]", run.stderr)
        inputs = {base64.b64encode((corpus / target / name).read_bytes()) for name in names}
        if found_by_fuzzing(target).exists():
            inputs |= set(found_by_fuzzing(target).read_bytes().splitlines())
        lines = sorted(inputs, key=base64.b64decode)
        found_by_fuzzing(target).write_bytes(b"".join(line + b"\n" for line in lines))
        print(f"{target:12} {len(inputs):9} inputs")


def fuzz(target: str, engine: str, seconds: float, options: argparse.Namespace) -> bool:
    """Run a target for so long; print what came of it, and say whether nothing was found."""
    findings = options.findings
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.glob(f"{target}-*"))
    arguments = ["--seconds", seconds, "--seed", options.seed, "--findings", findings]
    arguments += ["--longest", options.longest]
    if options.executions < sys.maxsize:
        arguments += ["--executions", options.executions]
    for folder in options.corpus:
        arguments += ["--corpus", folder / target]
    start = time.monotonic()
    try:
        child = subprocess.run(
            command_of(engine, target, *arguments),
            env=environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + 10 * options.longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        save(findings, target)
        print(
            f"{target:12} FOUND: no end after {time.monotonic() - start:.0f} s\n",
            end="",
            flush=True,
        )
        return False
    took = time.monotonic() - start
    output = child.stderr + child.stdout
    counts = re.findall(r"(?:executions|number_of_executed_units): +(\d+)", output)
    executions = int(counts[-1]) if counts else 0
    said = f"{target:12} {executions:9} executions in {took:5.0f} s"
    if child.returncode != 0:
        save(findings, target)
        said += f"  FOUND: {how_it_ended(child.returncode)}\n"
        said += "".join(f"    {line}\n" for line in output.splitlines()[-60:])
        new = sorted(set(findings.glob(f"{target}-*")) - before)
        said += "\n".join(f"    saved: {path}" for path in new)
    print(f"{said}\n", end="", flush=True)  # in one piece: others print too
    return child.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--jobs", type=int, default=1, help="targets that run at once")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    parser.add_argument("--pack", action="store_true")
    arguments_of(parser)
    options = parser.parse_args()
    targets = options.targets or TARGETS
    unknown = [name for name in targets if name not in MODULES]
    if unknown:
        parser.error(f"no target {unknown[0]!r}: there are {', '.join(TARGETS)}")
    if options.replay:
        return subprocess.run(
            command_of("replay", targets[0], options.replay), env=environment(), check=False
        ).returncode
    if options.pack:
        pack(targets, options.corpus[0])
        return 0
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "chance")
    share = options.jobs * options.seconds / len(targets)
    with ThreadPoolExecutor(options.jobs) as pool:
        clean = list(pool.map(lambda target: fuzz(target, engine, share, options), targets))
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
