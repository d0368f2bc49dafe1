"""How bytes are made for a target: by atheris (libFuzzer), which looks for new branches, or by
chance.

``python engines.py ENGINE TARGET ...`` is the process in which a target may crash; run.py starts
it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CURRENT = "current-{}"
"""File of the input of a target that is under way: that of a process that crashed."""

MOST_BYTES = 8 << 30
"""Of address space: what asks for more gets a MemoryError."""

MODULES = {
    "csr": "arrays",
    "parameters": "parameters",
    "pickles": "pickles",
    "model_files": "files",
    "caches": "files",
    "svmlight": "texts",
    "csv": "texts",
    "schedules": "functions",
    "losses": "functions",
    "minimize": "functions",
    "calls": "calls",
    "core_calls": "calls",
    "network_calls": "networks",
    "raises": "faults",
    "crashes": "faults",
    "hangs": "faults",
}
"""Module of each target; those of ``faults`` show that the runner notices."""

TARGETS = tuple(name for name, module in MODULES.items() if module != "faults")


def target_of(name: str) -> Any:
    """The function of a target."""
    return getattr(importlib.import_module(MODULES[name]), name)


def corpus_of(name: str, folders: list[Path]) -> list[bytes]:
    """What is known: the inputs kept beside the targets, and those of more folders.

    Beside the targets there are texts that were written as inputs, in ``corpus/NAME``, and what
    fuzzing has found to reach other branches, in ``corpus/NAME.base64``, an input a line.
    """
    known = [HERE / "corpus" / name, *folders]
    inputs = [
        path.read_bytes()
        for folder in known
        if folder.is_dir()
        for path in sorted(folder.iterdir())
    ]
    if found_by_fuzzing(name).exists():
        inputs += map(base64.b64decode, found_by_fuzzing(name).read_text().splitlines())
    return inputs


def found_by_fuzzing(name: str) -> Path:
    return HERE / "corpus" / f"{name}.base64"


def name_of(data: bytes) -> str:
    """That of a file of an input, which libFuzzer gives it too."""
    return hashlib.sha1(data).hexdigest()


def mutated(rng: Any, corpus: list[bytes]) -> bytes:
    """Bytes by chance, or those of the corpus changed in some places."""
    if not corpus or rng.random() < 0.3:
        return rng.bytes(int(2.0 ** rng.uniform(0.0, 11.0)))
    data = bytearray(corpus[rng.integers(len(corpus))])
    for _ in range(int(rng.integers(1, 5))):
        at, how = int(rng.integers(len(data) + 1)), rng.integers(5)
        piece = rng.bytes(int(rng.integers(1, 9)))
        if how == 0:
            data[at:at] = piece
        elif how == 1:
            del data[at : at + int(rng.integers(1, 9))]
        elif how == 2:
            data[at : at + len(piece)] = piece
        elif how == 3:
            other = corpus[rng.integers(len(corpus))]
            data[at:] = other[int(rng.integers(len(other) + 1)) :]
        elif data:
            data[at % len(data)] ^= 1 << int(rng.integers(8))
    return bytes(data)


def by_chance(options: argparse.Namespace) -> None:
    """Run the corpus, then as many mutations as there is time for."""
    target, rng = target_of(options.target), np.random.default_rng(options.seed)
    corpus = corpus_of(options.target, options.corpus)
    known = 0 if options.mutations_alone else len(corpus)
    current = options.findings / CURRENT.format(options.target)
    end = time.monotonic() + options.seconds
    done = 0
    try:
        while done < options.executions and (time.monotonic() < end or done == 0):
            data = corpus[done] if done < known else mutated(rng, corpus)
            current.write_bytes(data)
            signal.alarm(options.longest)
            target(data)
            done += 1
    finally:
        signal.alarm(0)
        print(f"executions: {done}", file=options.log)
    current.unlink()


def by_coverage(options: argparse.Namespace) -> None:
    """Let libFuzzer look for inputs that reach new branches of the library's Python.

    And of its C, where that is built to tell libFuzzer of them: ``tests/sanitizers.sh fuzz``.
    """
    import atheris

    with atheris.instrument_imports(include=["fastsgd"]):
        target = target_of(options.target)
        target(b"")  # imports that are lazy
    found = options.corpus[0] if options.corpus else options.findings / "corpus" / options.target
    found.mkdir(parents=True, exist_ok=True)
    for data in corpus_of(options.target, options.corpus[1:]):
        (found / name_of(data)).write_bytes(data)
    arguments = [
        *(sys.argv[0], str(found)),
        *(f"-max_total_time={max(1, int(options.seconds))}", f"-timeout={options.longest}"),
        *(f"-artifact_prefix={options.findings}/{options.target}-", "-print_final_stats=1"),
        *("-rss_limit_mb=0", "-max_len=4096", f"-seed={options.seed + 1}"),
    ]
    if options.executions < sys.maxsize:
        arguments.append(f"-runs={options.executions}")
    if options.select:
        arguments += ["-runs=0", "-use_counters=0", "-print_corpus_stats=1"]
    atheris.Setup(arguments, lambda data: target(data) and None)
    atheris.Fuzz()


ENGINES = {"atheris": by_coverage, "chance": by_chance}


def arguments_of(parser: argparse.ArgumentParser) -> None:
    """What the runner passes on."""
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--executions", type=int, default=sys.maxsize)
    parser.add_argument(
        "--longest", type=int, default=60, help="seconds after which an input hangs"
    )
    parser.add_argument("--mutations-alone", action="store_true", help="run no known input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, action="append", default=[])
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=(*ENGINES, "replay"))
    parser.add_argument("target", choices=MODULES)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument(
        "--select", action="store_true", help="print which inputs of the corpus reach a new branch"
    )
    arguments_of(parser)
    options = parser.parse_args(namespace=argparse.Namespace(log=sys.stdout))
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which maps terabytes that it does not use
        most = MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, most)
    if options.engine == "replay":
        os.environ["FUZZ_REPLAY"] = "1"  # calls are printed
        target_of(options.target)(options.file.read_bytes())
    else:
        options.findings.mkdir(parents=True, exist_ok=True)
        ENGINES[options.engine](options)


if __name__ == "__main__":
    main()
