"""Places of Python, and a copy of the library that holds all mutants at once.

A place becomes ``(a <= b if at(17) else a < b)``: the mutant is chosen while the program runs, and
``at`` notes that it was reached. Left out: types, what runs for their checkers alone, ``__all__``,
and ``strict`` of zip.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from places import ROOT, Place, counted, flat

PACKAGE = ROOT / "src" / "fastsgd"
SOURCES = (
    *("solver/*.py", "problem.py", "descent.py", "targets.py", "losses.py", "schedules.py"),
    *("sampling.py", "optimizers.py", "statistics/*.py", "learning_rate/*.py"),
)
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
CHOICE = "fastsgd_mutants"
"""The module that says which mutant runs."""

MODULE = '''\
"""Which mutant runs, and which places were reached."""
import os

chosen = int(os.environ.get("FASTSGD_MUTANT", 0))
marks = bytearray({count} + 1)


def at(number):
    marks[number] = 1
    return number == chosen
'''


def is_typing(node: ast.Assign) -> bool:
    """Whether an assignment is of ``__all__``, or names a type."""
    name = getattr(node.targets[0], "id", "")
    return name == "__all__" or (isinstance(node.value, ast.Subscript) and name[:1].isupper())


def within(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Children of a node that run: where each stands, and itself."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_params", "format_spec", "pattern"}:
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.Assign) and is_typing(child):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of zip: an assertion
                continue
            yield node, name, place, child


def changes_of(node: ast.AST) -> list[tuple[str, Callable[[Any], Any]]]:
    """What a node may become: in words, and a function of a copy of it that gives the mutant."""
    found: list[tuple[str, Callable[[Any], Any]]] = []

    def put(name: str, value: Any) -> Callable[[Any], Any]:
        def changed(other: Any) -> Any:
            setattr(other, name, value)
            return other

        return changed

    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = COMPARED[type(operator)]
            ops = [other() if i == place else op for i, op in enumerate(node.ops)]
            found.append((f"{type(operator).__name__} -> {other.__name__}", put("ops", ops)))
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in COMPUTED:
        other = COMPUTED[type(node.op)]
        found.append((f"{type(node.op).__name__} -> {other.__name__}", put("op", other())))
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        found.append((f"-> {other.__name__}", put("op", other())))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        found.append((f"without {type(node.op).__name__}", lambda other: other.operand))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        found.append(("condition negated", lambda other: ast.UnaryOp(ast.Not(), other)))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        found.append((f"-> {not node.value}", put("value", not node.value)))
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        found.append((f"-> {node.value + 1}", put("value", node.value + 1)))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        found.append(("removed", lambda other: ast.Pass()))
    return found


def call_of(number: int) -> ast.expr:
    return ast.parse(f"{CHOICE}.at({number})", mode="eval").body


def with_mutant(result: Any, node: Any, number: int, change: Callable[[Any], Any]) -> Any:
    """What stands for a node, or the mutant of that node when it is chosen."""
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):  # whose only change is of the condition
        node.test = ast.IfExp(call_of(number), change(copy.deepcopy(node.test)), node.test)
        return node
    other = change(copy.deepcopy(node))
    if isinstance(node, ast.expr):
        return ast.IfExp(call_of(number), other, result)
    return ast.If(call_of(number), [other], [result])


class File:
    """A file of Python: its places, and its text with some mutants."""

    def __init__(self, path: Path, root: Path = ROOT) -> None:
        self.path, self.root = path, root
        self.source = path.read_text()
        self.lines = self.source.splitlines()

    def walk(self, node: ast.AST) -> Iterator[tuple[ast.AST, Place]]:
        """All places, each with its node: the inner before the outer."""
        for *_, child in within(node):
            yield from self.walk(child)
        for words, _ in changes_of(node):
            yield node, self.place(node, words)

    def place(self, node: ast.AST, words: str) -> Place:
        line = getattr(node, "lineno", 1)
        shown = node.test if words == "condition negated" else node  # type: ignore[attr-defined]
        change = f"{flat(ast.unparse(shown))}: {words}"
        path = str(self.path.relative_to(self.root))
        return Place(path=path, line=line, change=change, code=self.lines[line - 1].strip())

    def places(self) -> list[Place]:
        return counted(place for _, place in self.walk(ast.parse(self.source)))

    def text(self, mutants: dict[int, int]) -> str:
        """The source with mutants: the numbers of them, by the place's among all of the file."""
        counter = iter(range(1 << 30))

        def changed(node: ast.AST) -> ast.AST:
            for owner, name, place, child in list(within(node)):
                other = changed(child)
                if place is None:
                    setattr(owner, name, other)
                else:
                    getattr(owner, name)[place] = other
            result: Any = node
            for _, change in changes_of(node):
                number = mutants.get(next(counter))
                if number is not None:
                    result = with_mutant(result, node, number, change)
            return result

        tree = changed(ast.parse(self.source))
        assert isinstance(tree, ast.Module)
        after = 1 + max(
            (
                place
                for place, node in enumerate(tree.body)
                if isinstance(node, ast.ImportFrom) and node.module == "__future__"
            ),
            default=0 if ast.get_docstring(tree) is not None else -1,
        )
        tree.body.insert(after, ast.Import([ast.alias(CHOICE)]))
        return ast.unparse(ast.fix_missing_locations(tree))


def files() -> list[File]:
    paths = {path for pattern in SOURCES for path in PACKAGE.glob(pattern)}
    return [File(path) for path in sorted(paths)]


def places() -> list[Place]:
    """All places, in the order of the files."""
    return [place for file in files() for place in file.places()]


def installed_core() -> Path:
    """The compiled module of the installed library, which is not imported."""
    spec = importlib.util.find_spec("fastsgd")
    folders = (spec and spec.submodule_search_locations) or ()
    cores = [core for folder in folders for core in Path(folder).glob("_core*.so")]
    if not cores:
        raise SystemExit("the library is not installed")
    return cores[0]


def build(mutants: dict[int, Place], folder: Path) -> Path:
    """Write the library with the mutants; the folder it can be imported from."""
    target = folder / "library"
    shutil.rmtree(target, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, target / "fastsgd", ignore=ignored)
    shutil.copy(installed_core(), target / "fastsgd")
    (target / f"{CHOICE}.py").write_text(MODULE.format(count=max(mutants)))
    numbers = {place: number for number, place in mutants.items()}
    for file in files():
        here = {at: numbers[one] for at, one in enumerate(file.places()) if one in numbers}
        if here:
            name = target / "fastsgd" / file.path.relative_to(PACKAGE)
            name.write_text(file.text(here))
    return target


class PythonSwitch:
    """Which mutant of the loaded library runs, and which places were reached."""

    def __init__(self, library: Path) -> None:
        import fastsgd_mutants  # type: ignore[import-not-found]

        self.module = fastsgd_mutants
        assert Path(self.module.__file__).parent == library

    def choose(self, number: int) -> None:
        self.module.chosen = number
        os.environ["FASTSGD_MUTANT"] = str(number)  # of processes that a test starts

    def forget(self) -> None:
        self.module.marks[:] = bytes(len(self.module.marks))

    def reached(self) -> bytes:
        """A byte a place, 1 where it was reached."""
        return bytes(self.module.marks)
