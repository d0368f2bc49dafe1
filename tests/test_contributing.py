"""CONTRIBUTING.md describes the code as it is: the path of a row, function by function."""

from __future__ import annotations

import ast
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Hop(NamedTuple):
    """A function on the path, and the file that has it."""

    name: str
    path: str

    def source(self) -> str:
        """Its body; empty if the file has no such function."""
        text = (ROOT / self.path).read_text("utf-8")
        if self.path.endswith(".py"):
            return python_source(text, self.name)
        last = self.name.split(".")[-1]
        if self.path.endswith(".pxi"):
            found = re.search(
                rf"^    (?:def|cdef \w+) {last}\(.*?(?=^    (?:def|cdef|@)|\Z)", text, re.M | re.S
            )
        else:
            found = re.search(rf"^static [^;{{}}]*\b{last}\)?\([^;{{]*{{.*?^}}", text, re.M | re.S)
        return found.group() if found else ""

    def calls(self, other: Hop) -> bool:
        """Whether its body names the other, or what a table of kernels calls it."""
        name = other.name.split(".")[-1]
        text = (ROOT / other.path).read_text("utf-8")
        names = {name, *re.findall(rf"\.(\w+) = {name}\b", text)}
        return any(re.search(rf"\b{one}\b\)?\(", self.source()) for one in names)


def python_source(text: str, name: str) -> str:
    """The source of a function or method."""
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inside = {getattr(one, "name", ""): one for one in ast.iter_child_nodes(node)}
        if part not in inside:
            return ""
        node = inside[part]
    return ast.get_source_segment(text, node) or ""


def path_of_a_row() -> list[Hop]:
    """The hops of CONTRIBUTING.md, in order."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    part = text.split("## The path of a row\n")[1].split("\n## ")[0]
    return [Hop(*found) for found in re.findall(r"^\d+\. `([\w.]+)` \(`([\w/.]+)`\)", part, re.M)]


def test_the_path_of_a_row_has_at_most_ten_hops() -> None:
    hops = path_of_a_row()
    assert 5 < len(hops) <= 10
    assert hops[0].name == "SGDClassifier.fit"
    assert hops[-1].path.startswith("csrc/")


@pytest.mark.parametrize(("hop", "after"), [*pairwise(path_of_a_row())], ids=lambda hop: hop.name)
def test_each_function_on_the_path_calls_the_next(hop: Hop, after: Hop) -> None:
    assert hop.source(), f"{hop.path} has no {hop.name}"
    assert after.source(), f"{after.path} has no {after.name}"
    assert hop.calls(after), f"{hop.name} does not call {after.name}"


def test_scripts_may_be_run() -> None:
    """Those that say what runs them are called by their path."""
    folders = (ROOT / name for name in ("tests", "tools", "benchmarks", ".ci"))
    scripts = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.read_bytes()[:2] == b"#!"
    ]
    assert len(scripts) > 5
    assert [path for path in scripts if not os.access(path, os.X_OK)] == []
