"""Places of the sources where a mutant changes something, and those known to be equivalent."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
EQUIVALENT = ROOT / "tests" / "data" / "equivalent_mutants.txt"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place of a source file, and what a mutant makes of it.

    Attributes
    ----------
    path : str
        Of the source file, from the root of the repository.
    line : int
        From 1.
    change : str
        In words: what stands there, and what the mutant has instead.
    code : str
        The line as it stands, without the blanks around it.
    repeat : int
        How many places before it in the file have the same change and line.
    """

    path: str
    line: int
    change: str
    code: str
    repeat: int = 0

    @property
    def key(self) -> str:
        """What the place is called in a list that outlives changes elsewhere in the file."""
        again = f" (repeat {self.repeat})" if self.repeat else ""
        return f"{self.path}: {self.change}{again} in: {self.code}"

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line}: {self.key.removeprefix(f'{self.path}: ')}"


Some = TypeVar("Some", bound=Place)


def counted(places: Iterable[Some]) -> list[Some]:
    """The places with their ``repeat``: no two have the same key."""
    seen: Counter[str] = Counter()
    found = []
    for place in places:
        found.append(replace(place, repeat=seen[place.key]))
        seen[place.key] += 1
    return found


def sampled(places: Sequence[Some], count: int, seed: int) -> list[Some]:
    """So many of the places, each as likely."""
    return random.Random(seed).sample(places, min(count, len(places)))


def changed_since(commit: str) -> set[tuple[str, int]]:
    """Paths and numbers of the lines that differ from those of a commit, as they stand now.

    Not of files that git does not know yet.
    """
    plainly = "--unified=0", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/"
    how = ("git", "diff", *plainly, "--no-relative", commit, "--", "src", "csrc")
    text = subprocess.run(how, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found, path = set(), ""
    for line in text.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ b/")
        elif part := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(part[1]), int(part[2] or 1)
            found |= {(path, number) for number in range(first, first + count)}
    return found


def equivalents() -> dict[str, str]:
    """Keys of the mutants that no test can kill, and why; each takes two lines of the file."""
    lines = [line for line in EQUIVALENT.read_text().splitlines() if line[:1] not in ("", "#")]
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {key: reason.strip() for key, reason in pairs}


def flat(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split())
