"""What a run of the benchmarks measured: tables and curves, for the terminal and for docs/.

``docs/benchmarks.json`` keeps them; a run of some benchmarks replaces what it measured and leaves
the rest. ``python benchmarks/results.py`` makes the page's tables and the plot from it anew.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
STORE, PAGE, PLOT = (DOCS / f"benchmarks.{kind}" for kind in ("json", "md", "png"))
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"


class Results:
    """Tables by name, each a list of lines (column: cell), and curves by table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.curves: dict[str, Any] = {}
        self.reasons: list[str] = []
        self.shown: dict[str, int] = {}

    def append(self, line: dict[str, str]) -> None:
        """A line whose first column names the table."""
        self.tables.setdefault(next(iter(line)), []).append(line)

    def line(self, table: str, first: str, **cells: str) -> None:
        self.append({table: first, **cells})

    def skipped(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    def shorten(self, table: str, lines: int) -> None:
        """The terminal gets the table's first lines only; the page and the store get all."""
        self.shown[table] = lines

    def text(self) -> list[str]:
        """For the terminal, aligned."""
        lines = [f"skipped: {reason}" for reason in self.reasons]
        for name, table in self.tables.items():
            rows = _rows(table[: self.shown.get(name, len(table))])
            widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
            lines.append("")
            for row in rows:
                cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
                lines.append("  ".join((row[0].ljust(widths[0]), *cells)))
        return lines

    def write(self, header: str) -> None:
        """Into the store, the page and the plot."""
        kept = json.loads(STORE.read_text()) if STORE.exists() else {"tables": {}, "curves": {}}
        day = date.today().isoformat()
        for name, lines in self.tables.items():
            kept["tables"][name] = {"day": day, "machine": header, "lines": lines}
        kept["curves"].update(self.curves)
        STORE.write_text(json.dumps(kept, indent=1) + "\n")
        render(kept)


def _rows(lines: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """Columns, then cells; columns that only some lines have are empty in the others."""
    columns = tuple(dict.fromkeys(column for line in lines for column in line))
    return [columns, *(tuple(line.get(column, "") for column in columns) for line in lines)]


def markdown(kept: dict[str, Any]) -> str:
    """All tables, under the machine and the day of each run."""
    parts, heading = [], None
    for table in kept["tables"].values():
        if heading != (table["machine"], table["day"]):
            heading = (table["machine"], table["day"])
            parts.append(f"> {heading[1]}: {heading[0]}\n")
        parts.append(markdown_table(table["lines"]))
    return "\n".join(parts)


def markdown_table(lines: list[dict[str, str]]) -> str:
    rows = _rows(lines)
    drawn = ["| " + " | ".join(row) + " |" for row in rows]
    drawn.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(drawn) + "\n"


def put(page: Path, measured: str) -> None:
    """What was measured, into its place in a page; what is written around it stays."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{measured}\n{END}{after}")


def render(kept: dict[str, Any]) -> None:
    """The page's tables and the plot."""
    from plot import draw

    put(PAGE, markdown(kept))
    draw(kept["curves"], PLOT)


if __name__ == "__main__":
    render(json.loads(STORE.read_text()))
