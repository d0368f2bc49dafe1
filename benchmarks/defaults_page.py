"""What ``defaults.py`` measured: kept as JSON, judged, and drawn as docs/defaults.md and .png."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from plot import draw
from results import DOCS, markdown_table, put

OURS, SGD, VW = "fastsgd", "scikit-learn SGD", "Vowpal Wabbit"
NEWTON = "scikit-learn newton-cholesky"
TUNED_SGD, TUNED_VW = f"{SGD}, tuned", f"{VW}, tuned"

TARGETS = (1e-2, 1e-3, 1e-4)
MAIN = 1e-3
"""The target that solvers are compared at."""
NEAR_BEST = 1e-3
"""Of the best held-out score."""
RATIO, OF_SGD = 4.0, 10.0
"""Asked of large sets, on all of which fastsgd is to be first: mean ratio of the best peer. And of
scikit-learn's SGD, on all sets."""
EXCESS, EPOCHS = 1e-2, 20
"""Asked of the untouched defaults."""
SCORE, NEAR = 0.005, 0.9
"""Asked: how far their test score may be below the best of the grid, and on which part of the
sets."""

LARGE = 2000
"""Rows held out, a fifth, from which a set counts as large."""

STORE, PAGE, PLOT = (DOCS / f"defaults.{kind}" for kind in ("json", "md", "png"))

Points = list[list[float]]
"""Effort, seconds, excess, score."""


def seconds_to(points: Points, target: float) -> float | None:
    """Of the first fit that is there."""
    return next((seconds for _, seconds, excess, _ in points if excess <= target), None)


def seconds_to_score(points: Points, target: float) -> float | None:
    return next((seconds for _, seconds, _, score in points if score >= target), None)


def first(times: dict[str, float | None]) -> tuple[str, float] | None:
    """Who is first, and when."""
    there = [(name, seconds) for name, seconds in times.items() if seconds is not None]
    return min(there, key=lambda one: one[1], default=None)


@dataclass(frozen=True)
class Comparison:
    """A set at one target.

    Attributes
    ----------
    ours : float or None
        Seconds.
    peer, tuned : tuple of (name, seconds) or None
        The first of the peers at their defaults, without Newton's method, and of the grids.
    sgd, newton : float or None
        Seconds of scikit-learn's SGD at its defaults, and of Newton's method.
    ratio : float or None
        Seconds of the first peer over ours; a bound where one of the two did not get there.
    bound : {"", ">", "<"}
    """

    ours: float | None
    peer: tuple[str, float] | None
    tuned: tuple[str, float] | None
    sgd: float | None
    newton: float | None
    ratio: float | None
    bound: str

    @property
    def ahead(self) -> bool:
        return self.ours is not None and (self.peer is None or self.ours < self.peer[1])


def compare(one: dict[str, Any], target: float = MAIN) -> Comparison:
    solvers = one["solvers"]
    found = {name: seconds_to(points, target) for name, points in solvers.items()}
    ours, newton = found.pop(OURS), found.pop(NEWTON, None)
    peer = first(found)
    ratio, bound = None, ""
    if ours is not None and peer is not None:
        ratio = peer[1] / ours
    elif ours is not None and found:
        ratio = min(solvers[name][-1][1] for name in found if solvers[name]) / ours
        bound = ">"
    elif peer is not None:
        ratio, bound = peer[1] / solvers[OURS][-1][1], "<"
    return Comparison(
        ours,
        peer,
        first(tuned_times(one, lambda points: seconds_to(points, target))),
        found.get(SGD),
        newton,
        ratio,
        bound,
    )


def mean_ratio(compared: Iterable[Comparison]) -> float:
    """The geometric mean; a bound counts as it stands."""
    ratios = [one.ratio for one in compared if one.ratio is not None]
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else math.nan


def tuned_times(
    one: dict[str, Any], seconds: Callable[[Points], float | None]
) -> dict[str, float | None]:
    """By family, the least over its settings."""
    found = {}
    for family, settings in one["grids"].items():
        there = first({name: seconds(points) for name, points in settings.items()})
        found[family] = None if there is None else there[1]
    return found


# Tables.


def duration(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2g}" if seconds < 0.1 else f"{seconds:.3g}"


def times(ratio: float, bound: str = "") -> str:
    return f"{bound} {ratio:.2g} x".strip()


@dataclass
class Store:
    """All that was measured, by data set.

    Attributes
    ----------
    sets, scores : dict
        What ``defaults.measure`` and ``defaults.score`` gave.
    reasons : list of str
        What was left out in the last run.
    machine : str
        Day and machine of the run.
    """

    sets: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    machine: str = ""

    @staticmethod
    def load() -> Store:
        return Store(**json.loads(STORE.read_text())) if STORE.exists() else Store()

    def skipped(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    def save(self) -> None:
        """As JSON, a line a set."""
        parts = []
        for name in ("sets", "scores"):
            lines = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in getattr(self, name).items())
            parts.append(f'"{name}": {{\n' + ",\n".join(lines) + "\n}")
        rest = {"reasons": self.reasons, "machine": self.machine}
        parts += [f'"{name}": {json.dumps(value)}' for name, value in rest.items()]
        STORE.write_text("{" + ",\n".join(parts) + "}\n")

    def publish(self) -> None:
        """The JSON, the page and the plot."""
        self.save()
        put(PAGE, self.markdown())
        panels = {
            name: {
                "peers": one["solvers"],
                "untouched": [one["untouched"][OURS][key] for key in ("seconds", "excess")],
            }
            for name, one in self.sets.items()
        }
        draw(panels, PLOT, columns=4, size=(3.7, 3.4), targets=TARGETS)

    # Judged.

    def comparisons(self, target: float = MAIN) -> dict[str, Comparison]:
        return {name: compare(one, target) for name, one in self.sets.items()}

    def verdicts(self) -> Iterator[tuple[str, str, str, bool]]:
        """What was asked, of how much, what was found, and whether that is enough."""
        compared = self.comparisons()
        if compared:
            large = [one for name, one in compared.items() if self.sets[name]["held out"] >= LARGE]
            n, ahead = len(compared), sum(one.ahead for one in large)
            everywhere = sum(one.ahead for one in compared.values())
            if large:
                yield (
                    f"seconds to {MAIN:g}: large sets on which fastsgd is ahead of every peer's "
                    "defaults",
                    f"{len(large)} of {len(large)}",
                    f"{ahead}; of all {n} sets {everywhere}",
                    ahead == len(large),
                )
                mean, of_all = mean_ratio(large), mean_ratio(compared.values())
                yield (
                    "the same: seconds of the first peer over fastsgd's, geometric mean",
                    f"{RATIO:g}",
                    f"{mean:.2g}; of all {n} sets {of_all:.2g}",
                    mean >= RATIO,
                )
            of_sgd = {
                name: one.sgd / one.ours if one.ours else 0.0  # fastsgd is not there
                for name, one in compared.items()
                if one.sgd is not None
            }
            if of_sgd:
                least = min(of_sgd, key=lambda name: of_sgd[name])
                least_ratio = times(of_sgd[least]) if of_sgd[least] else "never there"
                enough = sum(ratio >= OF_SGD for ratio in of_sgd.values())
                yield (
                    f"the same: ahead of {SGD}, wherever that gets there",
                    f"{OF_SGD:g} x",
                    f"on {enough} of {len(of_sgd)}; least {least_ratio} ({least})",
                    enough == len(of_sgd),
                )
            ends = {name: one["untouched"][OURS] for name, one in self.sets.items()}
            within = sum(one["excess"] <= EXCESS for one in ends.values())
            worst = max(ends, key=lambda name: ends[name]["excess"])
            yield (
                f"untouched: sets on which the excess is at most {EXCESS:g}",
                f"{n} of {n}",
                f"{within}; worst {ends[worst]['excess']:.1e} ({worst})",
                within == n,
            )
            most = max(ends, key=lambda name: ends[name]["epochs"])
            epochs = ends[most]["epochs"]
            yield ("the same: epochs", f"{EPOCHS}", f"{epochs:.0f} ({most})", epochs <= EPOCHS)
        if self.scores:
            n = len(self.scores)
            behind = {name: one["best"] - one[OURS][0] for name, one in self.scores.items()}
            near = sum(gap <= SCORE for gap in behind.values())
            worst = max(behind, key=lambda name: behind[name])
            yield (
                f"untouched: real sets on which the test score is within {SCORE:g} of the best of "
                "the grid",
                f"{math.ceil(NEAR * n)} of {n}",
                f"{near}; worst {behind[worst]:.4f} behind ({worst})",
                near >= NEAR * n,
            )

    def missed(self) -> list[str]:
        return [what for what, *_, met in self.verdicts() if not met]

    # Written.

    def markdown(self) -> str:
        """The tables."""
        parts = [f"> {machine}\n" for machine in self._machines()]
        parts += [f"Left out: {reason}\n" for reason in self.reasons]
        lines = [
            {"": what, "asked": asked, "found": found, "met": "yes" if met else "**no**"}
            for what, asked, found, met in self.verdicts()
        ]
        parts += ["### Asked and found\n", markdown_table(lines)] if lines else []
        if self.sets:
            parts += [
                f"### Seconds to {MAIN:g}: who is first\n",
                markdown_table([self._comparison(*item) for item in self.comparisons().items()]),
            ]
            for target in TARGETS:
                parts += [
                    f"### Seconds to {target:g}\n",
                    self._matrix(lambda _, points, t=target: seconds_to(points, t)),
                ]
            parts += [
                f"### Seconds to within {NEAR_BEST:g} of the best held-out score\n",
                self._matrix(
                    lambda one, points: seconds_to_score(points, best_score(one) - NEAR_BEST),
                    lambda one: {
                        "score": f"{one['metric']}, rows {one['held out']:,}",
                        "best": f"{best_score(one):.4f}",
                        "Vowpal Wabbit's": f"{vw_score(one):.4f}",
                    },
                ),
                "### Untouched\n",
                markdown_table([_end(*item) for item in self.sets.items()]),
            ]
        if self.scores:
            parts += [
                "### Test scores, nothing touched\n",
                markdown_table([_score(*item) for item in self.scores.items()]),
            ]
        return "\n".join(parts)

    def _machines(self) -> list[str]:
        """Those of the runs; with their sets where there are several."""
        found: dict[str, list[str]] = {}
        for name, one in {**self.sets, **self.scores}.items():
            found.setdefault(one["machine"], []).append(name)
        if len(found) == 1:
            return list(found)
        return [f"{machine}: {'; '.join(names)}" for machine, names in found.items()]

    def _comparison(self, name: str, one: Comparison) -> dict[str, str]:
        """Seconds and, of the others, how many times fastsgd's."""

        def cell(who: str, seconds: float | None, bound: str = "") -> str:
            if seconds is None:
                return "-"
            said = f"{who} {duration(seconds)}".strip()
            return said if one.ours is None else f"{said}, {times(seconds / one.ours, bound)}"

        peer = cell(*one.peer) if one.peer else "-"
        if one.bound and one.ratio is not None:
            peer = f"{peer}, {times(one.ratio, one.bound)}"
        return {
            "": name,
            "fastsgd": duration(one.ours),
            "first peer at its defaults": peer,
            SGD: cell("", one.sgd),
            "first of the tuned": cell(*one.tuned) if one.tuned else "-",
            "newton-cholesky": cell("", one.newton),
        }

    def _matrix(
        self,
        seconds: Callable[[dict[str, Any], Points], float | None],
        more: Callable[[dict[str, Any]], dict[str, str]] = lambda one: {},
    ) -> str:
        """Sets by solvers, scikit-learn's by their own names; the first at its defaults is bold."""
        lines = []
        names = dict.fromkeys(name for one in self.sets.values() for name in one["solvers"])
        families = dict.fromkeys(name for one in self.sets.values() for name in one["grids"])
        for title, one in self.sets.items():
            found = {name: seconds(one, points) for name, points in one["solvers"].items()}
            winner = first(found)
            cells = {name: duration(time) for name, time in found.items()}
            if winner is not None:
                cells[winner[0]] = f"**{cells[winner[0]]}**"
            tuned = tuned_times(one, lambda points, one=one: seconds(one, points))
            cells |= {family: duration(time) for family, time in tuned.items()}
            lines.append({"": title, **more(one)})
            for name in (*names, *families):
                lines[-1][name.removeprefix("scikit-learn ")] = cells.get(name, "")
        return markdown_table(lines)


def scores(one: dict[str, Any], of_vw: bool) -> list[float]:
    """Held-out ones of all fits of Vowpal Wabbit, or of all others."""
    curves = [*one["solvers"].items()]
    for family, settings in one["grids"].items():
        curves += [(family, points) for points in settings.values()]
    return [s for name, points in curves for *_, s in points if name.startswith(VW) == of_vw]


def best_score(one: dict[str, Any]) -> float:
    """That any fit had on the held-out rows, but for Vowpal Wabbit's: its L2 is another."""
    return max(*scores(one, False), *(end["score"] for end in one["untouched"].values()))


def vw_score(one: dict[str, Any]) -> float:
    return max(scores(one, True), default=math.nan)


def _end(name: str, one: dict[str, Any]) -> dict[str, str]:
    cells = {"": name}
    for solver, whose in ((OURS, ""), (SGD, "its ")):
        end = one["untouched"][solver]
        cells |= {
            f"{solver}: excess": f"{end['excess']:.1e}",
            f"{whose}epochs": f"{end['epochs']:.0f}",
            f"{whose}seconds": duration(end["seconds"]),
            f"{whose}held-out score": f"{end['score']:.4f}",
        }
    return cells


def _score(name: str, one: dict[str, Any]) -> dict[str, str]:
    (own, epochs, seconds), theirs = one[OURS], one[SGD][0]
    return {
        "": name,
        "score": one["metric"],
        "rows, folds": f"{one['rows']:,}, {one['folds']}",
        "fastsgd": f"{own:.4f}",
        "epochs": f"{epochs:.0f}",
        "seconds": duration(seconds),
        SGD: f"{theirs:.4f}",
        f"best of {one['settings']}": f"{one['best']:.4f}",
        "which": one["setting"],
        "seconds of all": duration(one["seconds"]),
        "fastsgd's behind": f"{one['best'] - own:+.4f}",
    }
