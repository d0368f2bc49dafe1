"""Pages in Markdown whose code runs, and prints what they say that it prints.

Blocks of a page are run in one namespace, in their order. What a block marked ``python`` prints
stands in the block ``text`` behind it; a block marked ``pycon`` is a doctest. Blocks marked
``python no-run`` need something that a test does not have.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(python|text|pycon)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def printed(code: str, name: str, namespace: dict[str, Any], mode: str = "exec") -> str:
    """What code prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, name, mode), namespace)
    return out.getvalue()


def answered(block: str, name: str, namespace: dict[str, Any]) -> str:
    """A doctest with what its examples print now."""
    lines = []
    for example in doctest.DocTestParser().get_examples(block):
        first, *more = example.source.rstrip("\n").split("\n")
        lines += [f">>> {first}", *(f"... {line}" for line in more)]
        lines += printed(example.source, name, namespace, "single").splitlines()
    return "\n".join(lines) + "\n"


def run(path: Path) -> str:
    """The page with what its code prints now; a page that is right comes back as it is."""
    text, parts, at = path.read_text(encoding="utf-8"), [], 0
    namespace: dict[str, Any] = {"__name__": path.stem}
    said = ""
    for block in BLOCK.finditer(text):
        kind, code = block.groups()
        name = f"{path.name}, line {text[: block.start()].count(chr(10)) + 1}"
        if kind == "python":
            said = new = printed(code, name, namespace)
            new = code
        elif kind == "text":
            new = said
        else:
            new = answered(code, name, namespace)
        parts += [text[at : block.start(2)], new]
        at = block.end(2)
    return "".join([*parts, text[at:]])
