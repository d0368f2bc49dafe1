"""Places of C, found in clang's syntax tree, and sources that hold all mutants at once.

A place becomes ``(MUTANT(17) ? a <= b : a < b)``: the mutant is chosen while the program runs, and
``MUTANT`` notes that it was reached. Left out is what must be known when it is compiled (sizes of
arrays, labels, enumerations, what is static), what the preprocessor makes (bodies and arguments of
macros), and prefetches, which change no result.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from places import ROOT, Place, counted, flat

UNITS = (
    *(("kernels.c", 8), ("kernels.c", 4), ("networks.c", 8), ("networks.c", 4)),
    *((f"{name}.c", 8) for name in ("check", "columns", "dispatch", "loss", "sampler")),
)
"""Files that are compiled, and the bytes of a real in them."""

STUBS = {
    "immintrin.h": "unsigned _mm_getcsr(void); void _mm_setcsr(unsigned); void _mm_pause(void);",
    "stdatomic.h": """typedef int atomic_int;
enum { memory_order_relaxed, memory_order_acquire, memory_order_release };
long atomic_load(), atomic_load_explicit(), atomic_fetch_add_explicit();
int atomic_compare_exchange_strong_explicit(); void atomic_store_explicit();""",
    "isas.h": "#define FSGD_ISAS(F) F(scalar)",
}
"""Headers of gcc that clang cannot read, as far as the sources need them."""

SWAPPED = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||"},
    **{"||": "&&", "+=": "-=", "-=": "+=", "*=": "+=", "+": "-", "-": "+", "*": "+", "/": "*"},
    **{"%": "/", "&": "|", "|": "&", "<<": ">>", ">>": "<<"},
}
NUMBER = re.compile(r"(0[xX][\da-fA-F.]+(p[-+]?\d+)?|[\d.]+(e[-+]?\d+)?)[uUlLfF]*")
CALCULATED = ("BINARY_OPERATOR", "COMPOUND_ASSIGNMENT_OPERATOR")
CONDITIONAL = ("IF_STMT", "WHILE_STMT", "CONDITIONAL_OPERATOR")
LITERALS = ("INTEGER_LITERAL", "FLOATING_LITERAL")
BODIES = ("COMPOUND_STMT", "IF_STMT", "FOR_STMT", "WHILE_STMT", "CASE_STMT", "DEFAULT_STMT")
CONSTANT = ("ENUM_DECL", "PARM_DECL", "CXX_UNARY_EXPR", "ASM_STMT", "TYPEDEF_DECL", "STRUCT_DECL")
"""Nodes within which everything must be known to the compiler (``CXX_UNARY_EXPR`` is sizeof)."""

Part = str | tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CPlace(Place):
    """A place of C.

    Attributes
    ----------
    start, end : int
        Where it begins and ends in the file, in bytes.
    parts : tuple
        What a mutant has instead: texts, and where in the file others begin and end.
    removed : bool
        A statement that a mutant has not: there are no parts.
    """

    start: int
    end: int
    parts: tuple[Part, ...] = ()
    removed: bool = False


class File:
    """A source, by byte."""

    def __init__(self, path: Path, macros: dict[int, int]) -> None:
        self.name = str(path.relative_to(ROOT))
        self.macros = macros  # where what the preprocessor replaces begins: where it ends
        self.text = path.read_bytes().decode("latin-1")
        self.lines = self.text.splitlines()

    def is_macro(self, start: int, end: int) -> bool:
        """Whether the preprocessor makes what the compiler finds there."""
        return end <= self.macros.get(start, 0)

    def place(self, start: int, end: int, change: str, **of: Any) -> CPlace:
        line = self.text.count("\n", 0, start)
        code = self.lines[line].strip()
        return CPlace(
            path=self.name,
            line=line + 1,
            change=flat(change),
            code=code,
            start=start,
            end=end,
            **of,
        )


def ends_of(node: Any) -> tuple[int, int]:
    return node.extent.start.offset, node.extent.end.offset


def places_of(node: Any, file: File, statement: bool) -> Iterator[CPlace]:
    """The places of one node of the tree, without those within it."""
    kind, (start, end) = node.kind.name, ends_of(node)
    text = file.text[start:end]
    children = list(node.get_children())
    if "\n#" in text or not text or file.is_macro(start, end):
        return
    if kind in LITERALS and NUMBER.fullmatch(text):
        yield file.place(start, end, f"{text} -> {text} + 1", parts=(f"{text} + 1",))
    if kind in CALCULATED and len(children) == 2:
        left, right = map(ends_of, children)
        token = file.text[left[1] : right[0]].strip()
        if token in SWAPPED and left[0] == start and right[1] == end:
            change = f"{text} -> {SWAPPED[token]}"
            parts = (left, f" {SWAPPED[token]} ", right)
            yield file.place(start, end, change, parts=parts)
    if kind == "UNARY_OPERATOR" and text[0] in "-!" and ends_of(children[0])[1] == end:
        inner = ends_of(children[0])
        if file.text[start + 1 : inner[0]].strip(" (") == "":
            yield file.place(start, end, f"{text} -> without {text[0]}", parts=(inner,))
    if kind in CONDITIONAL:
        first, last = ends_of(children[0])
        if start <= first < last <= end and not file.is_macro(first, last):
            words = file.text[first:last]
            parts = ("!(", (first, last), ")")
            yield file.place(first, last, f"{words} -> not", parts=parts)
    if statement and is_statement(node, file, text):
        yield file.place(start, end, f"{text} -> removed", removed=True)


def is_statement(node: Any, file: File, text: str) -> bool:
    """Whether an expression can be left out: a call, an assignment, a step."""
    kind = node.kind.name
    if kind == "CALL_EXPR":
        called = re.escape(node.spelling) or r"[\w.>()-]+"
        return re.match(rf"(\w+->)*{called}\(", text) is not None and text.endswith(")")
    if kind == "BINARY_OPERATOR":
        left, right = map(ends_of, node.get_children())
        return file.text[left[1] : right[0]].strip() == "="
    if kind == "UNARY_OPERATOR":
        return text[:2] in ("++", "--") or text[-2:] in ("++", "--")
    return kind == "COMPOUND_ASSIGNMENT_OPERATOR"


def changeable(node: Any, file: File) -> list[Any]:
    """The children of a node within which a mutant may change something."""
    kind, children = node.kind.name, list(node.get_children())
    if kind in CONSTANT or file.text.startswith("__builtin_shufflevector", ends_of(node)[0]):
        return []
    if kind == "CASE_STMT":
        return children[1:]
    if kind == "VAR_DECL":
        if node.storage_class.name == "STATIC":
            return []
        if "ARRAY" in node.type.kind.name:
            return [child for child in children if child.kind.name == "INIT_LIST_EXPR"]
    return children


def within(node: Any, file: File, statement: bool = False) -> Iterator[CPlace]:
    """All places of a tree."""
    if "prefetch" in node.spelling and node.kind.name in ("CALL_EXPR", "FUNCTION_DECL"):
        return
    yield from places_of(node, file, statement)
    kind = node.kind.name
    children = changeable(node, file)
    for number, child in enumerate(children):
        last = number == len(children) - 1
        body = kind in ("COMPOUND_STMT", "CASE_STMT", "DEFAULT_STMT") or (
            kind in BODIES and number > 0 and (last or kind == "IF_STMT")
        )
        yield from within(child, file, statement=body)


Macros = dict[Path, dict[int, int]]


def functions(tree: Any, root: Path, macros: Macros) -> Iterator[tuple[Path, Any]]:
    """The functions of the sources, each with its file; ``macros`` is filled before."""
    named: dict[str, Path] = {}  # a path is resolved once
    for node in tree.cursor.get_children():
        if not node.location.file:
            continue
        name = node.location.file.name
        path = named.get(name) or named.setdefault(name, Path(name).resolve())
        if not path.is_relative_to(root):
            continue
        if node.kind.name == "MACRO_INSTANTIATION":
            start, end = ends_of(node)
            macros[path][start] = max(end, macros[path].get(start, 0))
        elif node.kind.name == "FUNCTION_DECL" and node.is_definition():
            yield path, node


def places(units: Sequence[tuple[str, int]] = UNITS) -> list[CPlace]:
    """The places of the functions of the core, each once, in the order of the files."""
    from clang.cindex import Index

    root = ROOT / "csrc"
    index, found = Index.create(), dict[tuple[str, int, int, str], CPlace]()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in STUBS.items():
            (Path(folder) / name).write_text(f"{text}\n")
        for unit, real_bytes in units:
            options = [f"-DREAL_BYTES={real_bytes}", "-DVECTOR_BYTES=16", "-DISA=scalar"]
            options += ["-std=c11", "-D_Atomic(T)=T", f"-I{folder}", f"-I{root}"]
            options += [f"-isystem{path}" for path in Path("/usr/lib/gcc").glob("*/*/include")]
            tree = index.parse(str(root / unit), args=options, options=1)  # macros are kept
            wrong = [str(found) for found in tree.diagnostics if found.severity >= 3]
            if wrong:
                raise SystemExit("\n".join(["clang cannot read the sources:", *wrong]))
            for path, node in functions(tree, root, macros := defaultdict(dict)):
                for place in within(node, File(path, macros[path])):
                    key = (place.path, place.start, place.end, place.change)
                    found.setdefault(key, place)
    return counted(sorted(found.values(), key=lambda one: (one.path, one.start, -one.end)))


# ---------------------------------------------------------------- sources with all mutants

HEADER = """\
extern __attribute__((visibility("default"))) int fsgd_mutant, fsgd_reached[];
#define MUTANT(K) (fsgd_reached[K] = 1, fsgd_mutant == (K))
"""
DEFINITIONS = """
#include <stdlib.h>
int fsgd_mutant, fsgd_reached[{count}];
__attribute__((constructor)) static void fsgd_choose_mutant(void) {{
    const char *chosen = getenv("FASTSGD_MUTANT");
    fsgd_mutant = chosen ? atoi(chosen) : 0;
}}
"""

Numbered = Sequence[tuple[int, CPlace]]


def rendered(text: str, start: int, end: int, chosen: Numbered) -> str:
    """A part of a file with the mutants that lie in it, on as many lines as before."""
    out, at = [], start
    outer = sorted(chosen, key=lambda each: (each[1].start, -each[1].end))
    while outer:
        first, last = outer[0][1].start, outer[0][1].end
        same = [each for each in outer if (each[1].start, each[1].end) == (first, last)]
        inner = [each for each in outer if each[1].start < last and each not in same]
        outer = [each for each in outer if each[1].start >= last]
        code = rendered(text, first, last, inner)
        for number, place in same:
            if place.removed:
                code = f"(MUTANT({number}) ? (void)0 : (void)({code}))"
            else:
                other = "".join(
                    part
                    if isinstance(part, str)
                    else f"({rendered(text, *part, [e for e in inner if lies(e[1], part)])})"
                    for part in place.parts
                )
                code = f"(MUTANT({number}) ? ({flat(other)}) : ({code}))"
        out += [text[at:first], code]
        at = last
    return "".join([*out, text[at:end]])


def lies(place: CPlace, part: tuple[int, int]) -> bool:
    return part[0] <= place.start and place.end <= part[1]


def write_sources(chosen: dict[int, CPlace], folder: Path, count: int) -> None:
    """Write the sources with the chosen mutants, by number, into a copy of csrc; lines stay."""
    by_path = itertools.groupby(
        sorted(chosen.items(), key=lambda each: each[1].path), key=lambda each: each[1].path
    )
    mutants = {path: list(each) for path, each in by_path}
    (folder / "mutants.h").write_text(HEADER)
    for path in sorted({*mutants, "csrc/check.c"}):
        text = (ROOT / path).read_bytes().decode("latin-1")
        text = rendered(text, 0, len(text), mutants.get(path, []))
        if path == "csrc/check.c":
            text += DEFINITIONS.format(count=count + 1)
        first = f'#include "{folder}/mutants.h"\n#line 1\n'
        target = folder / Path(path).relative_to("csrc")
        target.write_bytes((first + text).encode("latin-1"))
