"""Docstrings as reStructuredText has them: norms are no substitutions, indented formulas literal,
and names of pages are links. Signatures of dataclasses say what a field is by default.

They are written to be read as text: |w| is a norm, and what is indented is a formula.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.*?``|`[^`]*`_?)")
TERM = re.compile(r":term:`([^`<]*)[^`]*`")
PAGE = re.compile(r"docs/([\w/-]+)\.md")
SHAPE = re.compile(r"(\w)_(?=,\))")
PROSE = {None, "Notes", "See Also"}
"""Sections in which an indented paragraph is a formula."""


def escaped(line: str) -> str:
    """A line of text, with what reStructuredText would take for its own marks."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    line = SHAPE.sub(r"\1\\_", TERM.sub(r"\1", line))
    parts = LITERAL.split(line)
    parts[::2] = [re.sub(r"(?<= )\*(?=\S)", r"\\*", p.replace("|", r"\|")) for p in parts[::2]]
    parts[::2] = [PAGE.sub(r":doc:`\g<0> </\1>`", p) for p in parts[::2]]
    return "".join(parts)


def literals_joined(lines: list[str]) -> list[str]:
    """The lines, with each literal that goes on in the next line as a part of one."""
    found: list[str] = []
    for line in lines:
        if found and line.strip() and found[-1].count("``") % 2:
            found[-1] = f"{found[-1].rstrip()} {line.lstrip()}"
        else:
            found.append(line)
    return found


def prepared(lines: list[str]) -> list[str]:
    """A docstring's lines for numpydoc."""
    lines = literals_joined(lines)
    found: list[str] = []
    section, in_formula, before = None, False, ""
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1]):
            section = line.strip()
        indented = line.startswith("  ") and not line.lstrip().startswith((">>>", "* ", "- "))
        if in_formula and line.strip() and not indented:
            in_formula = False
        listed = before.startswith((" ", "*", "-", ".."))
        starts = indented and not lines[i - 1].strip() and section in PROSE and not listed
        if starts and not in_formula and i > 0:
            in_formula = True
            if not before.endswith("::"):
                found += ["::", ""]
        found.append(line if in_formula else escaped(line))
        before = line if line.strip() and not in_formula else before
    return found


def of_stubs(folder: Path) -> dict[str, list[str]]:
    """Docstrings of the stub of the compiled module, by class and method."""
    tree = ast.parse((folder / "_core.pyi").read_text())
    return {
        f"{kind.name}.{method.name}": (ast.get_docstring(method) or "").splitlines()
        for kind in tree.body
        if isinstance(kind, ast.ClassDef)
        for method in kind.body
        if isinstance(method, ast.FunctionDef)
    }


STUBS = of_stubs(Path(__file__).parents[2] / "src" / "fastsgd")


def prepare(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Before numpydoc reads them."""
    if lines and lines[0] == "See _core.pyi.":
        lines[:] = STUBS[".".join(name.split(".")[-2:])]
    if what != "module":
        lines[:] = prepared(lines)


def without_terms(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """After numpydoc, which takes the texts of inherited properties, with scikit-learn's terms."""
    lines[:] = [TERM.sub(r"\1", line) for line in lines]


def defaults_shown(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str | None, Any]:
    """A signature with the names of the functions that make defaults, such as dict()."""
    if dataclasses.is_dataclass(obj) and signature:
        for field in dataclasses.fields(obj):
            if field.init and field.default_factory is not dataclasses.MISSING:
                made = f"{field.default_factory.__name__}()"
                shown = made if made.isascii() and made[0].isalpha() else "..."
                signature = signature.replace("<factory>", shown, 1)
    return signature, returns


def setup(app: Sphinx) -> dict[str, Any]:
    """Come before and after numpydoc."""
    app.connect("autodoc-process-docstring", prepare, priority=1)
    app.connect("autodoc-process-docstring", without_terms, priority=900)
    app.connect("autodoc-process-signature", defaults_shown)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
