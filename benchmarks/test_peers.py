"""Every peer on the same data: what a pass costs, and how long until the objective is near L*.

``pytest benchmarks/test_peers.py``; ``--quick`` takes two tables and less time.

**A pass**: the difference of fits of four and of one, so that what is done once does not count,
over the values of X; of those marked with a star, an iteration, which may pass several times. "-":
less than the times of such fits differ by. "A fit of one pass" is the whole call. Peers take turns;
medians of three, of long fits once.

**To a target**: fits anew with 1, 2, 3, 5, 8, ... passes (iterations, or tightening tolerances):
the seconds of the first whose relative suboptimality (L - L*) / L* is at most the target. So a
solver is as good as with the stopping rule that fits it best, and learning rates that have a
horizon know it. A peer is given up when one fit takes longer than ``Task.longest`` seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import datasets
import numpy as np
import pytest
from curves import SHORT, Curve, Point, step, timed
from datasets import Table, Unavailable, counts, dense, text
from objective import ERROR, Model, Problem
from peers import PEERS, Fit, Peer
from results import Results

OURS = "fastsgd"


@dataclass(frozen=True)
class Task:
    """A line here is a panel of the plot."""

    name: str
    table: Callable[[], Table]
    loss: str = "log_loss"
    alpha: float = 1e-5
    penalty: str = "l2"
    quick: bool = False
    longest: float = 1.2
    """Seconds of a fit after which a peer is given up."""

    def problem(self) -> Problem:
        try:
            return Problem(self.table(), self.loss, self.alpha, self.penalty)
        except Unavailable as reason:
            pytest.skip(f"{self.name}: {reason}")


TASKS = (
    Task("dense 200,000 x 100", lambda: dense(200_000, 100)),
    Task("CSR 100,000 x 47,236, 75 a row", lambda: text(100_000, 47_236, 75)),
    Task("flights, CSR 327,346 x 165", lambda: datasets.flights("csr"), quick=True),
    Task(
        "glosses, CSR 117,659 x 34,407",
        lambda: datasets.glosses().against_rest(datasets.NOUNS),
        quick=True,
    ),
    Task("fashion, 70,000 x 784, softmax of ten", datasets.fashion, "softmax", 1e-3, longest=4.0),
    Task("L1: CSR 100,000 x 47,236", lambda: text(100_000, 47_236, 75), penalty="l1"),
    Task(
        "squares, L1: CSR 100,000 x 47,236",
        lambda: text(100_000, 47_236, 75, "linear"),
        "squared_error",
        1e-4,
        "l1",
    ),
    Task("Poisson: dense 200,000 x 50", lambda: counts(200_000, 50), "poisson"),
)
TARGETS = (1e-2, 1e-3)
QUICK = 0.5
"""Part of the time that a peer is given with ``--quick``."""
LEARNT = 0.05
"""Suboptimality that fastsgd must reach in its time."""


def tasks() -> list[Any]:
    """As parameters of the tests; those that are not quick are left out with ``--quick``."""
    marks = {True: (), False: (pytest.mark.thorough,)}
    return [pytest.param(task, id=task.name, marks=marks[task.quick]) for task in TASKS]


def ready(problem: Problem, skipped: Callable[[str], None]) -> dict[Peer, Fit]:
    """The peers that can be had and take the problem, their data made ready."""
    fits = {}
    for peer in PEERS:
        if peer.missing:
            skipped(f"{peer.name}: {peer.missing}")
        elif peer.takes(problem):
            own = problem
            if peer.rows is not None:
                own = replace(problem, table=problem.table.head(peer.rows))
            fits[peer] = peer.prepare(own)
    return fits


ONE, FOUR = 1, 4
"""Passes of the two fits whose difference is the cost of three."""


@pytest.mark.parametrize("task", tasks())
def test_cost_of_a_pass(task: Task, benchmark: Any, report: Results, quick: bool) -> None:
    problem = task.problem()
    fits = {
        peer: fit
        for peer, fit in ready(problem, report.skipped).items()
        if peer.effort != "tolerance"
    }
    zero = problem.value((np.zeros((problem.k, problem.d)), np.zeros(problem.k)))
    works = [(peer, partial(fit, n)) for peer, fit in fits.items() for n in (ONE, FOUR)]
    turns: list[list[float]] = [[] for _ in works]

    def turn() -> None:
        for (peer, work), times in zip(works, turns, strict=True):
            if times and times[0] > SHORT:
                continue
            seconds, model = timed(work)
            times.append(seconds)
            if len(times) == 1:
                value = problem.value(model)
                assert np.isfinite(value), peer.name
                assert not peer.exact or value <= 1.001 * zero, f"{peer.name} has learnt nothing"

    benchmark.pedantic(turn, rounds=1 if quick else 3)
    seconds = [float(np.median(times)) for times in turns]
    costs = {}
    for i, peer in enumerate(fits):
        one, four = seconds[2 * i], seconds[2 * i + 1]
        table = problem.table if peer.rows is None else problem.table.head(peer.rows)
        costs[peer.name] = (
            1e9 * one / table.values,
            1e9 * (four - one) / (FOUR - ONE) / table.values,
        )
    for peer in fits:
        one, further = costs[peer.name]
        seen = further > 0.0
        star = "" if peer.effort == "passes" else " *"
        report.line(
            f"ns a value: {task.name}",
            peer.name,
            **{
                "a further pass": f"{further:.3g}{star}" if seen else "-",
                "times fastsgd": f"{further / costs[OURS][1]:.1f}" if seen else "-",
                "a fit of one pass": f"{one:.3g}",
                "of one, times fastsgd": f"{one / costs[OURS][0]:.1f}",
            },
        )


@pytest.mark.parametrize("task", tasks())
def test_time_to_target(task: Task, benchmark: Any, report: Results, quick: bool) -> None:
    problem = task.problem()
    minimum = problem.minimum.value

    def judge(model: Model) -> Point:
        return (problem.excess(model),)

    curves = {
        peer: Curve(fit, list(peer.efforts))
        for peer, fit in ready(problem, report.skipped).items()
        if peer.rows is None
    }

    def turns() -> None:
        while any(not curve.ended for curve in curves.values()):
            for curve in curves.values():
                if not curve.ended:
                    step(curve, judge, task.longest * (QUICK if quick else 1.0))

    benchmark.pedantic(turns, rounds=1)
    for peer, curve in curves.items():
        values = [excess for *_, excess in curve.points]
        assert min(values) > -2.0 * ERROR, f"{peer.name} is below the minimum"
        assert not (peer.exact and curve.ended == "stuck"), f"{peer.name} has another minimum"
        best = min(values)
        reached = {f"to {t:g}": _seconds(curve.seconds_to(t)) for t in TARGETS}
        report.line(
            f"seconds to a target: {task.name}", peer.name, **reached, best=f"{max(best, 0.0):.1e}"
        )
    report.curves[task.name] = {
        "minimum": minimum,
        "peers": {peer.name: curve.points for peer, curve in curves.items()},
    }
    ours = [curve for peer, curve in curves.items() if peer.name.startswith(OURS)]
    assert min(excess for curve in ours for *_, excess in curve.points) < LEARNT


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
