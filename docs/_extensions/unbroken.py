"""Numbers and dates do not break at the end of a line, and "->" is an arrow.

"1.2e-3" and "2026-11-29" would break behind a hyphen, "->" between its two characters, and "27 ms"
in a cell of a table before its unit. Tables of many columns are marked ``wide``, and cells of much
text ``long``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TOKEN = re.compile(r"(\d[\d.]*e-\d+|\d{4}-\d\d-\d\d)")
"""A number with a negative exponent, or a date."""
NUMBER = re.compile(r"[<>+-]? ?\d[\d.,]*(e[+-]?\d+)? ?(%|x|[kKMG]?B(/s)?|[mnu]?s)?")
"""A number and its unit."""
CODE = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw)
"""What is written as it stands."""
ARROWS = {" -> ": " \u2192 ", " <- ": " \u2190 "}
MANY, LONG = 8, 50
"""Columns of a wide table, and characters of a long cell."""


def unbroken(text: str) -> nodes.inline:
    """Text on one line."""
    return nodes.inline(text, text, classes=["unbroken"])


def mark_cells(table: nodes.table) -> None:
    """Mark cells of much text; keep a number beside its unit in cells of nothing else."""
    for entry in table.findall(nodes.entry):
        if len(entry.astext()) >= LONG:
            entry["classes"].append("long")
        texts = list(entry.findall(nodes.Text))
        parts = texts[0].split(" / ") if len(texts) == 1 else []
        if parts and all(NUMBER.fullmatch(part) for part in parts):
            found: list[nodes.Node] = []
            for part in parts[:-1]:
                found += [unbroken(f"{part} /"), nodes.Text(" ")]
            found.append(unbroken(parts[-1]))
            texts[0].parent.replace(texts[0], found)


def change(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Change a page before it is written."""
    for table in doctree.findall(nodes.table):
        mark_cells(table)
        if len(list(table.findall(nodes.colspec))) >= MANY:
            table["classes"].append("wide")
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, CODE) or "unbroken" in text.parent["classes"]:
            continue
        plain = str(text)
        for written, arrow in ARROWS.items():
            plain = plain.replace(written, arrow)
        parts = [part for part in TOKEN.split(plain) if part]
        if len(parts) > 1 or plain != text:
            found = [
                unbroken(part) if TOKEN.fullmatch(part) else nodes.Text(part) for part in parts
            ]
            text.parent.replace(text, found)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect it."""
    app.connect("doctree-resolved", change)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
