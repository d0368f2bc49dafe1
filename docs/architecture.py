"""The picture of the architecture, from what the sources import: docs/architecture.svg and .txt.

    python docs/architecture.py            # draw it and write the list of edges
    python docs/architecture.py --check    # fail if either is older than the imports

Three kinds of sources are read: the imports of Python modules (grimp; lazy ones count, those for
type checkers do not), the imports of ``_core`` and its header, and the ``#include`` of csrc. Where
fastsgd.h declares what a C file defines, the edge is from the header to the file, so that the
picture reads downwards, from whoever calls. ``architecture.txt`` has every edge; an arrow that a
chain of others implies is not drawn, and neither is the ``#include "fastsgd.h"`` of the C files.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).resolve().parent.parent
SOURCES, CSRC = ROOT / "src" / "fastsgd", ROOT / "csrc"
LIST, PICTURE = ROOT / "docs" / "architecture.txt", ROOT / "docs" / "architecture.svg"

CORE, HEADER, FRONT = "_core", "fastsgd.h", "fastsgd"

Edges = dict[str, set[str]]
"""What each node needs; a node is a module or sub-package of fastsgd, or a file of csrc."""


# ------------------------------------------------------------------ what needs what


def python_edges() -> Edges:
    """Imports between the modules and sub-packages of the first level."""
    sys.path.insert(0, str(SOURCES.parent))
    graph = grimp.build_graph("fastsgd", exclude_type_checking_imports=True, cache_dir=None)
    edges: Edges = {}
    for module in graph.modules:
        found = edges.setdefault(first_level(module), set())
        found |= {first_level(one) for one in graph.find_modules_directly_imported_by(module)}
    whole = grimp.build_graph("fastsgd", cache_dir=None)  # what `fastsgd` imports when asked for it
    edges[FRONT] = {first_level(one) for one in whole.find_modules_directly_imported_by("fastsgd")}
    for path in sorted(SOURCES.rglob("*.py")):
        if any(imports_core(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
            edges[path.relative_to(SOURCES).parts[0].removesuffix(".py")].add(CORE)
    return edges


def first_level(module: str) -> str:
    """fastsgd.solver.loop is part of solver."""
    return module.split(".")[1] if "." in module else FRONT


def imports_core(node: ast.AST) -> bool:
    """Whether a statement imports the compiled core."""
    if not isinstance(node, ast.ImportFrom):
        return False
    parts = (node.module or "").split(".")
    return CORE in parts or (node.level > 0 and CORE in [alias.name for alias in node.names])


def core_edges() -> Edges:
    """What the compiled core imports, and the header that it declares."""
    paths = [path for ending in ("pyx", "pxd", "pxi") for path in SOURCES.rglob(f"*.{ending}")]
    text = "\n".join(path.read_text("utf-8") for path in sorted(paths))
    modules = re.findall(r"^\s*from \.+([a-z_]+)[\w.]* c?import ", text, re.MULTILINE)
    headers = re.findall(r'^cdef extern from "(\S+\.h)"', text, re.MULTILINE)
    return {CORE: {*modules, *headers} - {CORE, "_" + CORE}}


def c_edges() -> Edges:
    """Includes between the files of csrc, and from fastsgd.h to the files that define its names."""
    texts: dict[str, str] = {}
    edges: Edges = {}
    for path in sorted(path for path in CSRC.rglob("*") if path.suffix in (".c", ".h")):
        text = path.read_text("utf-8")
        texts[c_node(path)] = texts.get(c_node(path), "") + text
        included = re.findall(r'^#include "(\S+)"', text, re.MULTILINE)
        needed = {c_node((path.parent / name).resolve()) for name in included}
        edges.setdefault(c_node(path), set()).update(needed - {HEADER})
    declared = set(re.findall(r"\b(fsgd_\w+)[(\[]", texts[HEADER]))
    definition = re.compile(r"^[\w *]*\b(fsgd_\w+)(?:\([^;{]*\) \{|\[\w*\] = )", re.MULTILINE)
    for name, text in texts.items():
        if name != HEADER and declared & set(definition.findall(text)):
            edges[HEADER].add(name)
    build = (ROOT / "CMakeLists.txt").read_text("utf-8")
    listed = re.search(r"add_library\(\$\{target\} OBJECT ([^)]+)\)", build)
    kernels = {Path(name).name for name in listed[1].split()} if listed else set()
    for needed in edges.values():
        if "isas.h" in needed:  # made by the build: the tables of the files compiled for each set
            needed |= kernels
            needed.remove("isas.h")
    return edges


def c_node(path: Path) -> str:
    """A file of csrc or csrc/kernel by its name; those of another folder are one node."""
    folder = path.parent
    return path.name if folder in (CSRC, CSRC / "kernel") else f"{folder.name}/"


def all_edges() -> Edges:
    """Every edge; that of a node to itself is none."""
    edges = python_edges() | core_edges() | c_edges()
    return {node: needed - {node} for node, needed in sorted(edges.items())}


def listed(edges: Edges) -> str:
    """What the picture shows, as text: the modules of sub-packages, and the edges of each node."""
    parts = {node: modules_of(node) for node in edges}
    lines = [f"{node} = {', '.join(modules)}" for node, modules in parts.items() if modules]
    lines += [f"{node} -> {', '.join(sorted(needed))}" for node, needed in edges.items() if needed]
    return "\n".join(lines) + "\n"


def modules_of(node: str) -> list[str]:
    """The modules of a sub-package, and the sub-packages within it."""
    if node.endswith("/"):
        folder = CSRC / node if (CSRC / node).is_dir() else CSRC / "kernel" / node
        return sorted(path.name for path in folder.glob("*.h"))
    folder = SOURCES / node
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return sorted(modules | {path.parent.name for path in folder.glob("*/__init__.py")})


def reduced(edges: Edges) -> Edges:
    """Without the edges that a chain of others implies."""
    below: Edges = {}
    for node in TopologicalSorter(edges).static_order():
        below[node] = set().union(*({one} | below[one] for one in edges.get(node, ())))
    return {
        node: {one for one in needed if not any(one in below[other] for other in needed)}
        for node, needed in edges.items()
    }


# ------------------------------------------------------------------ where things stand

Place = tuple[int, str]
"""Rank, from the top, and name; an edge that passes a rank has a place of its own there."""


class Layout:
    """Ranks, orders that cross few edges, and coordinates.

    Attributes
    ----------
    ranks : list of list of str
        Names by rank; "a>b" is where the edge from a to b passes.
    chains : dict of (str, str) to list of str
        The names that an edge goes through, its ends included.
    x : dict of str to float
        Middle of each name.
    """

    SWEEPS = 60
    GAP = 0.45

    def __init__(self, edges: Edges, width: dict[str, float]) -> None:
        nodes = set(edges).union(*edges.values())
        above: Edges = {node: {one for one in edges if node in edges[one]} for node in nodes}
        rank: dict[str, int] = {}
        for node in TopologicalSorter(above).static_order():
            rank[node] = max((rank[one] + 1 for one in above[node]), default=0)
        for node in sorted(nodes, key=lambda node: -rank[node]):  # down to what is needed first
            if not above[node] and edges.get(node):
                rank[node] = min(rank[one] for one in edges[node]) - 1
        self.side = {node: self._side(node, rank) for node in nodes}
        self.width = dict(width)
        self.ranks: list[list[str]] = [[] for _ in range(max(rank.values()) + 1)]
        for node in sorted(nodes):
            self.ranks[rank[node]].append(node)
        self.chains: dict[tuple[str, str], list[str]] = {}
        for node in sorted(edges):
            for one in sorted(edges[node]):
                self.chains[node, one] = self._chain(node, one, rank)
        self._order()
        self._place()

    def _side(self, node: str, rank: dict[str, int]) -> int:
        """Beside the core and below it Python stands to the left of C."""
        if node.endswith((".c", ".h", "/")):
            return 1
        return -1 if rank[node] >= rank[CORE] and node != CORE else 0

    def _chain(self, node: str, one: str, rank: dict[str, int]) -> list[str]:
        chain = [node]
        for between in range(rank[node] + 1, rank[one]):
            name = f"{node}>{one}>{between}"
            self.ranks[between].append(name)
            self.side[name] = self.side[one] if between >= rank[CORE] else 0
            self.width[name] = 0.1
            chain.append(name)
        return [*chain, one]

    def _links(self) -> list[tuple[str, str]]:
        return [pair for chain in self.chains.values() for pair in pairwise(chain)]

    def _crossings(self) -> int:
        at = {name: i for row in self.ranks for i, name in enumerate(row)}
        rank = {name: r for r, row in enumerate(self.ranks) for name in row}
        links = [(rank[a], at[a], at[b]) for a, b in self._links()]
        return sum(
            p == r and (q - s) * (b - d) < 0
            for i, (p, q, b) in enumerate(links)
            for r, s, d in links[i + 1 :]
        )

    def _order(self) -> None:
        """Names sorted by the mean place of what they are linked to, as often as that helps."""
        near: dict[str, dict[int, list[str]]] = {}
        rank = {name: r for r, row in enumerate(self.ranks) for name in row}
        for a, b in self._links():
            near.setdefault(a, {}).setdefault(rank[b], []).append(b)
            near.setdefault(b, {}).setdefault(rank[a], []).append(a)
        best, fewest = [list(row) for row in self.ranks], self._crossings()
        for sweep in range(self.SWEEPS):
            down = sweep % 2 == 0
            ranks = range(len(self.ranks)) if down else range(len(self.ranks) - 1, -1, -1)
            for r, other in pairwise(ranks):
                at = {
                    name: i / max(1, len(self.ranks[r]) - 1) for i, name in enumerate(self.ranks[r])
                }
                row = self.ranks[other]
                key = {}
                for i, name in enumerate(row):
                    places = [at[one] for one in near.get(name, {}).get(r, [])]
                    own = i / max(1, len(row) - 1)
                    middle = sum(places) / len(places) if places else own
                    key[name] = self.side[name], middle
                row.sort(key=key.__getitem__)
            if self._crossings() < fewest:
                best, fewest = [list(row) for row in self.ranks], self._crossings()
        self.ranks = best

    def _place(self) -> None:
        """Coordinates near those of what a name is linked to, in order and without overlap."""
        near: dict[str, list[str]] = {}
        for a, b in self._links():
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)
        self.x = {}
        for row in self.ranks:
            self._row(row, dict.fromkeys(row, 0.0))
        for _ in range(200):
            for row in (*self.ranks, *self.ranks[::-1]):
                wanted = {}
                for name in row:
                    links = near.get(name, [name])
                    wanted[name] = sum(self.x[one] for one in links) / len(links)
                self._row(row, wanted)

    def _row(self, row: list[str], wanted: dict[str, float]) -> None:
        """The nearest places to those wanted that keep the order and the gaps."""
        from scipy.optimize import isotonic_regression

        offsets, at = [], 0.0
        for i, name in enumerate(row):
            if i:
                at += 0.5 * (self.width[row[i - 1]] + self.width[name]) + self.GAP
            offsets.append(at)
        moved = [wanted[name] - offset for name, offset in zip(row, offsets, strict=True)]
        for name, value, offset in zip(row, isotonic_regression(moved).x, offsets, strict=True):
            self.x[name] = float(value) + offset


# ------------------------------------------------------------------ the picture

FONT, SMALL = 12.0, 9.0
LINE, SMALL_LINE, RISE = 0.25, 0.17, 0.5
COLOURS = {
    "package": "#dbe9f6",
    "module": "#f3f0e3",
    "core": "#fbe3c8",
    "c": "#ddefd9",
    "outside": "#ececec",
}
OUTSIDE = ("reference", "bench", "__main__", FRONT)


def contents(node: str) -> list[str]:
    """``modules_of`` a node, in lines."""
    lines, line = [], ""
    for name in modules_of(node):
        if line and len(line) + len(name) > 32:
            lines, line = [*lines, line + ","], name
        else:
            line = f"{line}, {name}" if line else name
    return [*lines, line] if line else lines


def kind(node: str) -> str:
    """What a node is coloured by."""
    if node in OUTSIDE:
        return "outside"
    if node.endswith((".c", ".h", "/")):
        return "c"
    if node == CORE:
        return "core"
    return "package" if (SOURCES / node).is_dir() else "module"


def draw(edges: Edges, path: Path) -> None:
    """The picture, the same bytes for the same edges and the same matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "fastsgd", "font.family": "DejaVu Sans"})
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    drawn = reduced(edges)
    text = {node: contents(node) for node in sorted(set(edges).union(*edges.values()))}
    width = {
        node: 0.3 + max([0.11 * len(node), *(0.07 * len(line) for line in lines)])
        for node, lines in text.items()
    }
    height = {node: LINE + 0.14 + SMALL_LINE * len(lines) for node, lines in text.items()}
    layout = Layout(drawn, width)
    y, rows, top = {}, {}, 0.0
    for row in layout.ranks:
        tall = max(height.get(name, 0.0) for name in row)
        for name in row:
            y[name] = top - 0.5 * tall
            rows[name] = tall
        top -= tall + RISE
    left = min(layout.x[name] - 0.5 * layout.width[name] for name in layout.x) - 0.2
    right = max(layout.x[name] + 0.5 * layout.width[name] for name in layout.x) + 0.2
    low, high = top + RISE - 0.55, 0.2
    figure = plt.figure(figsize=(right - left, high - low), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(low, high))
    axes.axis("off")
    for chain in layout.chains.values():
        halves = [(0.5 * height.get(name, rows[name]), 0.5 * rows[name]) for name in chain]
        curve(
            axes,
            [(layout.x[name], y[name], *half) for name, half in zip(chain, halves, strict=True)],
        )
    for node, lines in text.items():
        w, h = width[node], height[node]
        corner = layout.x[node] - 0.5 * w, y[node] - 0.5 * h
        style = {"boxstyle": "round,pad=0,rounding_size=0.06", "linewidth": 0.9}
        axes.add_patch(
            FancyBboxPatch(corner, w, h, facecolor=COLOURS[kind(node)], edgecolor="#555", **style)
        )
        middle, at = {"ha": "center", "va": "center"}, y[node] + 0.5 * h - 0.07 - 0.5 * LINE
        axes.text(layout.x[node], at, node, size=FONT, weight="bold", **middle)
        for i, line in enumerate(lines):
            below = at - 0.5 * LINE - SMALL_LINE * (i + 0.5)
            axes.text(layout.x[node], below, line, size=SMALL, color="#333", **middle)
    legend(axes, left + 0.2, low + 0.2)
    mark = hashlib.sha256(listed(edges).encode()).hexdigest()
    figure.savefig(path, metadata={"Date": None, "Creator": None, "Description": f"edges {mark}"})
    plt.close(figure)


def curve(axes: Any, points: list[tuple[float, float, float, float]]) -> None:
    """An arrow from the lower side of the first box to the upper side of the last.

    A point is x, y, and half the heights of the box and of the row, between which it is straight.
    """
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    x, y, box, row = points[0]
    vertices, codes = [(x, y - box), (x, y - row)], [Curve.MOVETO, Curve.LINETO]
    for i, (x2, y2, box2, row2) in enumerate(points[1:], 2):
        x1, y1 = vertices[-1]
        end = y2 + row2
        bend = 0.5 * (y1 - end)
        vertices += [(x1, y1 - bend), (x2, end + bend), (x2, end)]
        codes += [Curve.CURVE4] * 3
        straight = y2 + box2 if i == len(points) else y2 - row2
        if straight < end - 1e-6:  # or the arrow has no direction
            vertices.append((x2, straight))
            codes.append(Curve.LINETO)
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(vertices, codes),
            arrowstyle="-|>,head_length=4,head_width=2",
            color="#777",
            linewidth=0.9,
            shrinkA=0,
            shrinkB=0,
        )
    )


def legend(axes: Any, x: float, y: float) -> None:
    """What the colours are."""
    names = {
        "package": "sub-package and its modules",
        "module": "module: nouns and formulas",
        "outside": "front door, commands, the twin",
        "core": "Cython",
        "c": "C, in csrc",
    }
    for key, name in names.items():
        axes.add_patch(
            _rectangle((x, y - 0.08), 0.22, 0.16, facecolor=COLOURS[key], edgecolor="#555")
        )
        axes.text(x + 0.3, y, name, size=9, va="center")
        x += 0.55 + 0.082 * len(name)


def _rectangle(*arguments: Any, **options: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(*arguments, linewidth=0.8, **options)


# ------------------------------------------------------------------ commands


def stale(edges: Edges) -> Iterable[str]:
    """What is not as the sources are."""
    text = listed(edges)
    before = LIST.read_text("utf-8") if LIST.exists() else ""
    yield from difflib.unified_diff(
        before.splitlines(), text.splitlines(), LIST.name, "imports", lineterm="", n=0
    )
    mark = hashlib.sha256(text.encode()).hexdigest()
    if not PICTURE.exists() or mark not in PICTURE.read_text("utf-8"):
        yield f"{PICTURE.name} is not of these edges"


def main(arguments: list[str]) -> int:
    edges = all_edges()
    if arguments == ["--check"]:
        wrong = list(stale(edges))
        if wrong:
            print(*wrong, "python docs/architecture.py draws it anew", sep="\n", file=sys.stderr)
        return 1 if wrong else 0
    LIST.write_text(listed(edges), "utf-8")
    draw(edges, PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
