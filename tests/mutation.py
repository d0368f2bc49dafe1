"""Mutation testing: what of the solver could be wrong without a test that says so.

    python tests/mutation.py python --count 200 --seed 0
    python tests/mutation.py c --count 100 --seed 0

A mutant is the library with one operator, comparison, constant, condition or statement changed. It
is killed if a test fails, or if it does not end. The survivors are printed, as they stand: each
needs a test, or is equivalent to what was there. ``--report FILE`` adds a line of JSON a mutant.

Mutants of Python run the test files that ``TESTS`` names for their module, until one fails. Mutants
of C are built for one instruction set and, of the kernels, for float64 alone: one file is compiled
and the core linked anew. One whose machine code is that of the original is equivalent, and needs no
test. Both run in forks of this process, which has NumPy and scikit-learn loaded, but not the
library.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "fastsgd"

MOST_SECONDS = 600.0
"""A mutant whose tests take longer does not end."""

PYTHON_SOURCES = (
    *("solver/*.py", "problem.py", "descent.py", "targets.py", "losses.py", "schedules.py"),
    *("sampling.py", "optimizers.py", "statistics/*.py", "learning_rate/*.py"),
)
C_SOURCES = ("*.c", "*.h", "kernel/**/*.h", "network/*.h")
ONLY_HINTS = ("prefetch.h",)
"""What changes no result, whatever stands in it."""

TESTS = {
    "solver/annealing": ("annealing", "warm_start", "history"),
    "solver/compaction": ("compaction", "stopping"),
    "solver/stopping": ("stopping", "mlp"),
    "solver/network_diagnosis": ("network_insight",),
    "solver/network": ("mlp", "network_core", "network_noise"),
    "solver/stream": ("windows", "stream_fit"),
    "solver/windows": ("windows", "stream_fit"),
    "solver/standing": ("checkpoints", "source_checkpoints"),
    "solver/history": ("history", "continuing"),
    "solver/epoch_lines": ("history", "outputs"),
    "solver/diagnosis": ("insight", "history"),
    "solver/": ("core", "divergence", "stopping", "epochs", "history", "continuing", "windows"),
    "problem": ("core", "bad_input", "store", "windows"),
    "descent": ("core", "minimize"),
    "targets": ("core", "oracle"),
    "losses": ("losses", "core", "compiled_loss"),
    "schedules": ("theory", "core", "learning_rates"),
    "sampling": ("sampling", "core", "pools"),
    "optimizers": ("optimizers", "core", "network", "minimize"),
    "statistics/": ("learning_rates", "weights", "minimum", "certificate", "insight"),
    "learning_rate/": ("learning_rates", "extremes", "divergence", "continuing"),
}
"""Test files of modules, by how their paths begin; the first that fits."""

C_TESTS = (
    *("test_core.py", "test_network_core.py", "test_lazy.py", "test_sampling.py", "test_door.py"),
    *("test_losses.py", "test_split_lanes.py", "test_oracle.py", "test_optimizers.py"),
    *("test_windows.py", "test_store.py", "test_bits.py", "test_threads.py", "test_weights.py"),
    *("test_plain.py", "test_parity.py", "test_bad_input.py", "test_corrupt_csr.py"),
    *("test_divergence.py", "test_mlp.py", "test_wide.py"),
)
"""Tests of mutants of C: core against twin first."""

# ---------------------------------------------------------------- mutants


@dataclass(frozen=True)
class Mutant:
    """A source file with one place changed.

    Attributes
    ----------
    path : Path
        Of the source file.
    line : int
        Of the change, from 1.
    change : str
        In words.
    text : str
        The whole file, changed.
    """

    path: Path
    line: int
    change: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.change}"


Made = Callable[[], Mutant]

COMPARED = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn},
    ast.NotIn: ast.In,
}
COMPUTED = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd},
    ast.BitAnd: ast.BitOr,
}


def code_of(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all within it that runs: no annotations, no types, no ``__all__``."""
    yield node
    skipped = {"annotation", "returns", "type_params"}
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if name in skipped or not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.Assign) and is_typing(child):
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of zip: an assertion
                continue
            yield from code_of(child)


def is_typing(node: ast.Assign) -> bool:
    """Whether an assignment is of ``__all__``, or names a type."""
    name = getattr(node.targets[0], "id", "")
    return name == "__all__" or (isinstance(node.value, ast.Subscript) and name[:1].isupper())


def changes_of(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """What a node of Python may become: in words, and a function that makes the change."""

    def put(where: Any, name: str, value: Any) -> Callable[[], None]:
        return lambda: setattr(where, name, value)

    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = COMPARED[type(operator)]
            ops = [other() if i == place else op for i, op in enumerate(node.ops)]
            yield f"{type(operator).__name__} -> {other.__name__}", put(node, "ops", ops)
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in COMPUTED:
        other = COMPUTED[type(node.op)]
        yield f"{type(node.op).__name__} -> {other.__name__}", put(node, "op", other())
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"-> {other.__name__}", put(node, "op", other())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield f"without {type(node.op).__name__}", put(node, "op", ast.UAdd())
        if isinstance(node.op, ast.Not):
            return
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "condition negated", put(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", put(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{node.value} -> {node.value + 1}", put(node, "value", node.value + 1)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "statement removed", put(node, "value", ast.Constant(None))


def not_unary(tree: ast.AST) -> None:
    """``not x`` that became ``+x`` becomes ``bool(x)``."""
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            for place, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.UnaryOp) and isinstance(child.op, ast.UAdd):
                    call = child.operand
                    if isinstance(value, list):
                        value[place] = call
                    else:
                        setattr(node, name, call)


def of_python(path: Path) -> Iterator[Made]:
    """What makes the mutants of a file of Python."""
    source = path.read_text()
    count = sum(1 for node in code_of(ast.parse(source)) for _ in changes_of(node))

    def mutant(number: int) -> Mutant:
        tree = ast.parse(source)
        found = ((node, *each) for node in code_of(tree) for each in changes_of(node))
        node, words, change = next(each for i, each in enumerate(found) if i == number)
        line = getattr(node, "lineno", 1)
        before = ast.unparse(node).splitlines()[0]
        change()
        not_unary(tree)
        text = ast.unparse(ast.fix_missing_locations(tree))
        return Mutant(path, line, f"{words} in {before}", text)

    return (functools.partial(mutant, number) for number in range(count))


TOKEN = re.compile(r"\d+\.\d+|\d+|\w+|<<=|>>=|->|\+\+|--|<<|>>|[<>=!+*/-]=|&&|\|\||[^\s\w]")
SWAPPED = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||"},
    **{"||": "&&", "+=": "-=", "-=": "+=", "*=": "+=", "+": "-", "-": "+", "*": "+", "/": "*"},
}
STATEMENT = re.compile(r"^\s+(?:\w+\(.*\)|[\w.>\[\]-]+ [-+*]?= [^{]*);$")


def blanked(source: str) -> str:
    """C without comments, texts and lines of the preprocessor: blanks in their place."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found.group())

    source = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", blank, source, flags=re.DOTALL)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, source, flags=re.MULTILINE)


def of_c(path: Path) -> Iterator[Made]:
    """What makes the mutants of a file of C."""
    source = path.read_text()
    lines = source.splitlines(keepends=True)
    for number, line in enumerate(blanked(source).splitlines()):
        whole = lines[number]

        def mutant(words: str, text: str, number: int = number) -> Made:
            changed = [*lines[:number], text, *lines[number + 1 :]]
            return lambda: Mutant(path, number + 1, words, "".join(changed))

        if STATEMENT.match(line) and not line.strip().startswith("return"):
            yield mutant(f"removed: {line.strip()}", ";\n")
        if line.count("(") == 0 and line.startswith(("struct", "enum")):
            continue
        for found in TOKEN.finditer(line):
            token, start, end = found.group(), found.start(), found.end()
            spaced = line[start - 1 : start] == " " and line[end : end + 1] == " "
            if re.fullmatch(r"\d+\.\d+|\d+", token):
                other = str(float(token) + 1.0) if "." in token else str(int(token) + 1)
            elif token in SWAPPED and spaced:
                other = SWAPPED[token]
            elif token == "!" and line[end : end + 1].isalpha():
                other = ""
            else:
                continue
            text = whole[:start] + other + whole[end:]
            yield mutant(f"{token} -> {other or 'nothing'} in {whole.strip()}", text)


def sample(sources: Sequence[Path], made: Any, count: int, seed: int) -> list[Mutant]:
    """So many mutants of all files, each as likely."""
    everything = [mutant for path in sources for mutant in made(path)]
    chosen = random.Random(seed).sample(everything, min(count, len(everything)))
    return [mutant() for mutant in chosen]


def files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return [path for path in found if path.name not in ONLY_HINTS]


# ---------------------------------------------------------------- tests in forks


def preload() -> None:
    """Import what the tests do, but for the library: forks have it."""
    sys.path[:0] = [str(ROOT / "tests")]
    for name in ("pytest", "sklearn.linear_model", "sklearn.neural_network", "scipy.optimize"):
        importlib.import_module(name)
    assert "fastsgd" not in sys.modules


@functools.cache
def check_tests(copy: Path, tests: tuple[str, ...]) -> None:
    """The tests pass on the library as it is, or they would kill anything."""
    end = outcome(copy, tests)
    if end != "survived":
        raise SystemExit(f"without a change the tests are {end}: pytest -x {' '.join(tests)}")


def outcome(copy: Path, tests: Sequence[str]) -> str:
    """ "killed", "timeout" or "survived": pytest in a fork, on the copy of the library."""
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        os.environ["PYTHONPATH"] = f"{copy}{os.pathsep}{ROOT / 'tests'}"
        os.chdir(ROOT)
        sys.path.insert(0, str(copy))
        import pytest

        code = 1
        with contextlib.suppress(BaseException):
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        os._exit(code)
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "killed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def copied(folder: Path) -> Path:
    """A copy of the library, whose folder can be on the path."""
    shutil.copytree(PACKAGE, folder / "fastsgd", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@contextlib.contextmanager
def in_place(file: Path, content: bytes) -> Iterator[None]:
    """A file of the copy with other content."""
    before = file.read_bytes()
    for one in (content, before):
        new = file.with_suffix(".new")
        new.write_bytes(one)
        os.replace(new, file)
        if one is content:
            yield


def tests_of(mutant: Mutant) -> tuple[str, ...]:
    """The test files of a mutant of Python."""
    name = str(mutant.path.relative_to(PACKAGE))
    files = next(tests for start, tests in TESTS.items() if name.startswith(start))
    return tuple(f"tests/test_{file}.py" for file in files)


# ---------------------------------------------------------------- C


class Build:
    """A build of the core for one instruction set, of which single files are compiled anew."""

    def __init__(self, folder: Path, isa: str, sources: Path) -> None:
        self.folder = folder
        if not (folder / "build.ninja").exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            options = ["--no-build-isolation", "-C", f"build-dir={folder}"]
            options += ["-C", f"cmake.define.FASTSGD_ISAS={isa}"]
            target = ["--target", f"{folder}/installed", str(ROOT)]
            subprocess.run([*pip, *options, *target], check=True)
        text = subprocess.run(
            ["ninja", "-C", str(folder), "-t", "commands"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        commands = [line for line in text.splitlines() if " -c " in line and "csrc" in line]
        self.units = [shlex.split(line) for line in commands]
        link = next(line for line in text.splitlines() if " -shared " in line)
        self.link = shlex.split(link.removeprefix(": && ").removesuffix(" && :"))
        self.core = folder / self.link[self.link.index("-o") + 1]
        self.objects = {self.object_of(unit): self.compiled(unit, sources) for unit in self.units}
        self.includes = {self.object_of(unit): self.included(unit) for unit in self.units}

    @staticmethod
    def object_of(unit: list[str]) -> str:
        return unit[unit.index("-o") + 1]

    def needs(self, unit: list[str], path: Path) -> bool:
        """Whether a unit includes the file; of kernels, those of float64 alone."""
        included = self.includes[self.object_of(unit)]
        return str(path.resolve()) in included and "-DREAL_BYTES=4" not in unit

    def included(self, unit: list[str]) -> set[str]:
        """The files that a unit is made of."""
        words = self.compiled(unit, ROOT / "csrc", "-MM").decode().split()
        return {str(Path(word).resolve()) for word in words if word.startswith("/")}

    def compiled(self, unit: list[str], sources: Path, *options: str) -> bytes | None:
        """The object of a unit, made of a copy of the sources; None if that is no C."""
        command = [part.replace(str(ROOT / "csrc"), str(sources)) for part in unit]
        out = self.folder / "mutant.o"
        command[command.index("-o") + 1] = str(out)
        for option, argument in (("-MD", 0), ("-MT", 1), ("-MF", 1)):
            at = command.index(option)
            del command[at : at + 1 + argument]
        command += ["-O1", "-w", *options]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, check=False)
        return out.read_bytes() if done.returncode == 0 else None

    def linked(self, changed: dict[str, bytes]) -> bytes:
        """The core, with some objects changed."""
        command = list(self.link)
        for number, (name, content) in enumerate({**self.objects, **changed}.items()):
            file = self.folder / f"linked-{number}.o"
            if content is not None:
                file.write_bytes(content)
            command[command.index(name)] = str(file)
        out = self.folder / "mutant.so"
        command[command.index("-o") + 1] = str(out)
        subprocess.run(command, cwd=self.folder, check=True)
        return out.read_bytes()


def run_c(mutant: Mutant, build: Build, copy: Path, sources: Path) -> str:
    """What becomes of a mutant of C."""
    file = sources / mutant.path.relative_to(ROOT / "csrc")
    changed = {}
    with in_place(file, mutant.text.encode()):
        for unit in build.units:
            if build.needs(unit, mutant.path):
                found = build.compiled(unit, sources)
                if found is None:
                    return "no C"
                if found != build.objects[build.object_of(unit)]:
                    changed[build.object_of(unit)] = found
    if not changed:
        return "equivalent"
    core = copy / "fastsgd" / build.core.name
    first = ("network", "mlp") if "network" in str(mutant.path) else ("",)
    tests = sorted(C_TESTS, key=lambda name: not any(word in name for word in first))
    with in_place(core, build.linked(changed)):
        return outcome(copy, [f"tests/{name}" for name in tests])


# ---------------------------------------------------------------- command


def run(options: argparse.Namespace) -> None:
    """Sample mutants, run them, print what became of them."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    preload()
    ends: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder) / "copy")
        if options.what == "python":
            mutants = sample(files(PACKAGE, PYTHON_SOURCES), of_python, options.count, options.seed)
        else:
            sources = Path(shutil.copytree(ROOT / "csrc", Path(folder) / "csrc"))
            build = Build(options.build, options.isa, sources)
            core = copy / "fastsgd" / build.core.name
            core.write_bytes(build.linked({}))
            check_tests(copy, tuple(f"tests/{name}" for name in C_TESTS))
            mutants = sample(files(ROOT / "csrc", C_SOURCES), of_c, options.count, options.seed)
        for number, mutant in enumerate(mutants[options.skip :], options.skip):
            while options.wait and options.wait.exists():
                time.sleep(5.0)
            start = time.monotonic()
            if options.what == "c":
                end = run_c(mutant, build, copy, sources)
            else:
                file = copy / mutant.path.relative_to(PACKAGE.parent)
                check_tests(copy, tests_of(mutant))
                with in_place(file, mutant.text.encode()):
                    end = outcome(copy, tests_of(mutant))
            ends.setdefault(end, []).append(mutant.name)
            took = time.monotonic() - start
            if options.report:
                with options.report.open("a") as report:
                    line = {"number": number, "end": end, "seconds": took, "name": mutant.name}
                    report.write(json.dumps(line) + "\n")
            if end == "survived":
                print(f"{end}: {mutant.name}", flush=True)
    print(", ".join(f"{len(names)} {end}" for end, names in sorted(ends.items())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("python", "c"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="mutants of the sample that are done")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--wait", type=Path, help="no mutant is begun while this file exists")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--isa", default="scalar", help="instruction set of mutants of C")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
