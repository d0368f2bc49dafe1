"""Which rule for the step size ends nearest to the optimum, untuned, after 1, 2, 3 and 5 epochs?

    python benchmarks/rules.py           prints the tables, writes docs/rates.md and docs/rates.png
    python benchmarks/rules.py --quick   one seed, writes nothing
    python benchmarks/rules.py --only AdaGrad square falling     these rules alone, into the page's
                                         part on AdaGrad

Single-sample SGD on the tables of ``test_rates.py``, L2 with alpha 1e-4, a free intercept, rows
reshuffled every epoch, weights in float64; medians of three seeds of (L - L*) / L*. Each rule is
what its authors say, with one setting for all tables. With z the iterate, x an average of it and
y the point where the gradient is taken, a step on row i is

    y = (1 - beta) z + beta x                       beta = 0 but for Schedule-Free
    z = z - eta (loss'(y . x_i) x_i + alpha y)      eta by the rule
    x = (1 - c) x + c z                             c = (k + 1) / (t + k), k = 0 the plain mean

AdaGrad's rows are runs of the core at the rate that learning_rate="auto" finds, constant, or
falling to 0 as 1 - x; its penalty is part of the step (fastsgd.optimizers).

z and x are M (v, u) with M 2 x 2, so that a step of any rule, penalty and average included, costs
O(non-zeros); a dense row is one with all indices. Of docs/rates.md only what follows the heading
"What was measured" is written here; the words above it are a person's.
"""

from __future__ import annotations

import argparse
import re
import shlex
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Unavailable
from experiment import effort
from numba import njit
from numpy.typing import NDArray
from objective import ERROR, Problem
from test_rates import ALPHA, CASES
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fastsgd.learning_rate.choose import Request, rates_of
from fastsgd.optimizers import AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule, optimal_eta0
from fastsgd.solver import State
from fastsgd.solver import run_epoch as run_core
from fastsgd.statistics import curvature as rates

Array = NDArray[np.float64]

EPOCHS = (1, 2, 3, 5)
FALLING, ANNEALED, POLYAK, DECREASING_POLYAK, DOG = range(5)
EXPLICIT, IMPLICIT, IMPORTANCE_AWARE = range(3)
NO_AVERAGE = -1.0
SINGULAR = 1e-6
"""Determinant of M below which it is multiplied into (v, u)."""

NEWTON_STEPS = 8
DIVERGED = 1e3
"""What a larger excess counts as; one below ``ERROR``, to which L* is known, counts as that."""

FAR = 1e3
"""Last ratio that is shown."""

PAGE, HEADING = Path(__file__).parents[1] / "docs" / "rates.md", "## What was measured"
PART = "## AdaGrad beside SGD"
"""Heading of the page's part on rules that were asked for by name, before ``HEADING``."""


# One step.


class Rule(NamedTuple):
    """A rule with its constants.

    Attributes
    ----------
    kind : int
        FALLING eta0 / (1 + eta0 mu (t - 1))^power, ANNEALED eta0 (1 - x)^power with x the part of
        the horizon that is done, or by the gradients.
    eta0, mu, power : float
        eta0 bounds the steps of Polyak's kinds.
    update : int
        EXPLICIT; IMPLICIT, the slope taken where the step ends; IMPORTANCE_AWARE, the limit of many
        small steps on the row (Karampatziakis & Langford 2011).
    beta : float
    average : float
        k, or NO_AVERAGE.
    skip : float
        Part of the horizon that is not averaged.
    """

    kind: int = FALLING
    eta0: float = 1.0
    mu: float = 0.0
    power: float = 1.0
    update: int = EXPLICIT
    beta: float = 0.0
    average: float = NO_AVERAGE
    skip: float = 0.0


class Rows(NamedTuple):
    """X, y and the penalty: row i has ``values[start[i] : start[i + 1]]``.

    Their columns are at the same places of ``indices``; of a dense table, all.
    """

    values: NDArray[np.float32]  # (nnz,)
    indices: NDArray[np.uint32]  # (nnz,)
    start: NDArray[np.int64]  # (n + 1,)
    sparse: bool
    squares: Array  # |x|^2, (n,)
    y: Array  # -1 and +1, or real; (n,)
    logistic: bool
    alpha: float


class Adaptive(NamedTuple):
    """AdaGrad of the core, at the rate of "auto".

    Attributes
    ----------
    eta0 : float
    power : float
        Of (1 - x), x the part of the horizon that is done; 0 is a constant rate.
    """

    eta0: float
    power: float = 0.0


AnyRule = Rule | Adaptive | list[Rule]

STATE = np.dtype([(name, np.float64) for name in ("t", "b", "mean_b", "ww", "gg", "far", "least")])
"""Steps, intercepts of z and x, |w|^2, sum |g|^2, largest |w - w0| and least Polyak step so far."""

compiled = partial(njit, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})


@compiled()
def loss_and_slope(logistic: bool, z: float, y: float) -> tuple[float, float]:
    if not logistic:
        return 0.5 * (z - y) ** 2, z - y
    m = y * z
    return np.log1p(np.exp(-abs(m))) + max(-m, 0.0), -y / (1.0 + np.exp(m))


@compiled()
def implicit_slope(logistic: bool, z: float, y: float, h: float) -> float:
    """loss'(u) at the end of its own step, u = z - h loss'(u); h = eta |(x, 1)|^2."""
    if not logistic:
        return (z - y) / (1.0 + h)
    m = y * z
    low, high = m, m + h  # of the margin u: u = m + h / (1 + e^u)
    u = m
    for _ in range(NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(u))
        residual = u - m - h * p
        low, high = (u, high) if residual < 0.0 else (low, u)
        u -= residual / (1.0 + h * p * (1.0 - p))
        if not low <= u <= high:
            u = 0.5 * (low + high)
    return -y / (1.0 + np.exp(u))


@compiled()
def importance_aware_slope(logistic: bool, z: float, y: float, h: float) -> float:
    """Way of the score by du/ds = -loss'(u) for a time of h, over h."""
    if not logistic:
        return -(z - y) * np.expm1(-h) / h
    m = min(y * z, 50.0)
    e = np.exp(m)
    v = min(h, np.log1p(h / e))  # v + e^m (e^v - 1) = h, from above: Newton is monotone
    for _ in range(NEWTON_STEPS):
        v -= (v + e * np.expm1(v) - h) / (1.0 + e * np.exp(v))
    return -y * v / h


@compiled()
def rate(rule: Rule, state: Any, f: float, gg: float, horizon: float) -> float:
    """eta of a step, from the value f and the squared gradient gg of its row."""
    t = state.t
    if rule.kind == FALLING:
        return rule.eta0 / (1.0 + rule.eta0 * rule.mu * (t - 1.0)) ** rule.power
    if rule.kind == ANNEALED:
        return rule.eta0 * (1.0 - (t - 1.0) / horizon) ** rule.power
    if rule.kind == POLYAK:  # c = 1/2, f* >= 0
        return min(rule.eta0, 2.0 * f / gg)
    if rule.kind == DECREASING_POLYAK:
        state.least = min(rule.eta0 if t == 1.0 else state.least, f / gg)
        return state.least / np.sqrt(t)
    state.gg += gg
    state.far = max(state.far, 1e-6, np.sqrt(state.ww + state.b**2))
    return state.far / np.sqrt(state.gg + 1e-8)


@compiled()
def dots(rows: Rows, i: int, V: Array) -> tuple[float, float]:
    """Row i times v and u."""
    first, last = rows.start[i], rows.start[i + 1]
    v, u, x = V[0], V[1], rows.values[first:last]
    of_v = of_u = 0.0
    if rows.sparse:
        for k, j in enumerate(rows.indices[first:last]):
            of_v += x[k] * v[j]
            of_u += x[k] * u[j]
    else:
        for j in range(len(x)):
            of_v += x[j] * v[j]
            of_u += x[j] * u[j]
    return of_v, of_u


@compiled()
def add(rows: Rows, i: int, V: Array, to_v: float, to_u: float) -> None:
    """Row i, so many times, to v and u."""
    first, last = rows.start[i], rows.start[i + 1]
    v, u, x = V[0], V[1], rows.values[first:last]
    if rows.sparse:
        for k, j in enumerate(rows.indices[first:last]):
            v[j] += to_v * x[k]
            u[j] += to_u * x[k]
    else:
        for j in range(len(x)):
            v[j] += to_v * x[j]
            u[j] += to_u * x[j]


@compiled()
def run_epoch(rows: Rows, order: Any, rule: Rule, horizon: float, where: Any) -> None:
    """Steps on the rows of ``order``; ``where``, V (2, d), M (2, 2) and the state, changes."""
    V, M, state = where
    for i in order:
        v, u = dots(rows, i, V)
        state.t += 1.0
        wx = M[0, 0] * v + M[0, 1] * u
        at_mean = M[1, 0] * v + M[1, 1] * u + state.mean_b
        score = (1.0 - rule.beta) * (wx + state.b) + rule.beta * at_mean
        y, square = rows.y[i], rows.squares[i]
        loss, c = loss_and_slope(rows.logistic, score, y)
        gg = c * c * (square + 1.0) + rows.alpha * (2.0 * c * wx + rows.alpha * state.ww)
        eta = rate(rule, state, loss + 0.5 * rows.alpha * state.ww, gg, horizon)
        if rule.update == IMPLICIT:
            c = implicit_slope(rows.logistic, score, y, eta * (square + 1.0))
        elif rule.update == IMPORTANCE_AWARE:
            c = importance_aware_slope(rows.logistic, score, y, eta * (square + 1.0))

        keep, step = eta * rows.alpha, -eta * c
        state.ww = (1.0 - keep) ** 2 * state.ww + step * (2.0 * (1.0 - keep) * wx + step * square)
        for column in range(2):
            M[0, column] -= keep * ((1.0 - rule.beta) * M[0, column] + rule.beta * M[1, column])
        determinant = M[0, 0] * M[1, 1] - M[0, 1] * M[1, 0]
        add(rows, i, V, step * M[1, 1] / determinant, -step * M[1, 0] / determinant)
        state.b += step

        averaged = state.t - np.floor(rule.skip * horizon)
        if rule.average >= 0.0 and averaged > 0.0:
            part = (rule.average + 1.0) / (averaged + rule.average)
            state.mean_b += part * (state.b - state.mean_b)
            for column in range(2):
                M[1, column] += part * (M[0, column] - M[1, column])
            determinant *= 1.0 - part
        if abs(determinant) < SINGULAR:
            for j in range(V.shape[1]):
                v, u = V[0, j], V[1, j]
                V[0, j] = M[0, 0] * v + M[0, 1] * u
                V[1, j] = M[1, 0] * v + M[1, 1] * u
            M[:] = np.eye(2)


# Runs.


def make_rows(problem: Problem) -> Rows:
    X, (n, d) = problem.table.X, problem.table.X.shape
    logistic = problem.loss == "log_loss"
    y = (problem.signs[:, 0] if logistic else problem.table.y).astype(np.float64)
    sparse = problem.table.sparse
    values = X.data if sparse else np.ascontiguousarray(X).ravel()
    indices = X.indices if sparse else np.empty(0)
    start = X.indptr if sparse else d * np.arange(n + 1)
    of_row = np.repeat(np.arange(n), np.diff(start))
    squares = np.bincount(of_row, np.square(values, dtype=np.float64), minlength=n)
    return Rows(
        values,
        indices.astype(np.uint32),
        start.astype(np.int64),
        sparse,
        squares,
        y,
        logistic,
        ALPHA,
    )


def fresh(d: int) -> tuple[Array, Array, Any]:
    """Weights zero: (v, u) as V (2, d), M and the state."""
    return np.zeros((2, d)), np.eye(2), np.zeros(1, STATE)[0]


def model(rule: Rule, where: tuple[Array, Array, Any]) -> tuple[Array, Array]:
    """Coefficients (1, d) and intercept (1,) of the average, or of the last iterate."""
    V, M, state = where
    mean = int(rule.average >= 0.0)
    return (M[mean] @ V)[None], np.array([state["mean_b" if mean else "b"]])


def example(problem: Problem, dtype: Any) -> tuple[Data, Settings]:
    """The problem as the core takes it, with AdaGrad."""
    logistic = problem.loss == "log_loss"
    y = problem.signs[:, 0] > 0 if logistic else problem.table.y
    data = Data(problem.table.X.astype(dtype), y.astype(dtype))
    return data, Settings(problem.loss, sign_targets=logistic, optimizer=AdaGrad())


def adaptive_ends(problem: Problem, rule: Adaptive, seed: int) -> list[float]:
    """Excess after each of EPOCHS, by the core in float64."""
    data, settings = example(problem, np.float64)
    lanes, found = Lanes(1, alpha=ALPHA, eta0=rule.eta0), []
    for T in EPOCHS:
        schedule = Schedule()
        if rule.power:
            schedule = Schedule("polynomial", power=rule.power, total_epochs=float(T))
        fixed = replace(settings, seed=seed, schedule=schedule)
        state = State(data, lanes, fixed)
        while state.epoch < T:
            run_core(data, lanes, fixed, state)
        excess = problem.excess(state.last_weights())
        found.append(float(np.clip(np.nan_to_num(excess, nan=DIVERGED), ERROR, DIVERGED)))
    return found


def ends(problem: Problem, rows: Rows, rule: AnyRule, seed: int) -> list[float]:
    """Excess after each of EPOCHS; of a rule that knows its horizon, by runs of that length."""
    if isinstance(rule, Adaptive):
        return adaptive_ends(problem, rule, seed)
    rules = [rule] * len(EPOCHS) if isinstance(rule, Rule) else rule
    runs = [((T,), of) for T, of in zip(EPOCHS, rules, strict=True)]
    if rules[0].kind != ANNEALED and rules[0].skip == 0.0:
        runs = [(EPOCHS, rules[0])]
    excess = []
    for horizons, of in runs:
        rng, where = np.random.default_rng(seed), fresh(problem.d)
        for epoch in range(1, horizons[-1] + 1):
            run_epoch(rows, rng.permutation(problem.n), of, problem.n * horizons[-1], where)
            if epoch in horizons:
                with np.errstate(all="ignore"):
                    value = problem.excess(model(of, where))
                excess.append(float(np.clip(np.nan_to_num(value, nan=DIVERGED), ERROR, DIVERGED)))
    return excess


def bottou(problem: Problem, rows: Rows) -> float:
    """eta0 as sgd-2.1 finds it: the best of 2^k, by an epoch each on 1,000 rows of the table."""
    sample = np.random.default_rng(0).permutation(problem.n)[:1000]
    table = replace(problem.table, X=problem.table.X[sample], y=problem.table.y[sample])
    part = replace(problem, table=table)

    def cost(eta: float) -> float:
        where, rule = fresh(problem.d), Rule(eta0=eta)
        run_epoch(rows, sample, rule, 1.0, where)
        with np.errstate(all="ignore"):
            return float(np.nan_to_num(part.value(model(rule, where)), nan=np.inf))

    factor = 2.0 if cost(2.0) < cost(1.0) else 0.5
    eta, here = 1.0, cost(1.0)
    while (there := cost(factor * eta)) < here or np.isinf(here):
        eta, here = factor * eta, there
    return eta


def make_rules(problem: Problem, rows: Rows) -> dict[str, AnyRule]:
    """All rules by name, some one for each of EPOCHS; eta0 and mu are those of ``auto_rate``."""
    data = Data(problem.table.X, problem.table.y.astype(np.float32))
    eta0, mu = rates.auto_rate(data, Settings(problem.loss, sign_targets=rows.logistic))
    longest = (0.25 if rows.logistic else 1.0) * (1.0 + float(rows.squares.max()))
    constant, falling = Rule(eta0=eta0), Rule(eta0=eta0, mu=mu, power=0.5)
    large = falling._replace(eta0=4.0 * eta0)
    linear, square = Rule(ANNEALED, eta0), Rule(ANNEALED, eta0, power=2.0)
    polyak, implicit, k3, k8 = 2.0 * eta0, {"update": IMPLICIT}, {"average": 3.0}, {"average": 8.0}

    def polynomial(
        updates: float, power: float = 2.0, most: float = 1.0, **options: Any
    ) -> list[Rule]:
        """eta0 times min(most, sqrt(updates / N)) of N updates."""
        factors = [min(most, np.sqrt(updates / (T * problem.n))) for T in EPOCHS]
        return [Rule(ANNEALED, eta0 * factor, power=power, **options) for factor in factors]

    return {
        "falling: e / sqrt(1 + e mu t)": falling,
        "e / (1 + e mu t)": falling._replace(power=1.0),
        "Bottou's search, then 1 / t": Rule(eta0=bottou(problem, rows), mu=ALPHA),
        "scikit-learn's optimal": Rule(eta0=optimal_eta0(ALPHA), mu=ALPHA),
        "linear: e (1 - x)": linear,
        "square: e (1 - x)^2": square,
        "linear, average k = 8": linear._replace(**k8),
        "square, average k = 3": square._replace(**k3),
        "square, average k = 8": square._replace(**k8),
        "constant 1 / L of the longest row": Rule(eta0=1.0 / longest),
        "constant, mean": constant._replace(average=0.0),
        "constant, mean of last half": constant._replace(average=0.0, skip=0.5),
        "constant, average k = 3": constant._replace(**k3),
        "constant, average k = 8": constant._replace(**k8),
        "falling, average k = 3": falling._replace(**k3),
        "falling, average k = 8": falling._replace(**k8),
        "falling, implicit": falling._replace(**implicit),
        "falling, implicit, 4 e": large._replace(**implicit),
        "falling, importance-aware, 4 e": large._replace(update=IMPORTANCE_AWARE),
        "falling, implicit, k = 8, 4 e": large._replace(**implicit, **k8),
        "falling, importance-aware, k = 3, 4 e": large._replace(update=IMPORTANCE_AWARE, **k3),
        "falling, importance-aware, k = 8, 4 e": large._replace(update=IMPORTANCE_AWARE, **k8),
        "constant, implicit, k = 8": constant._replace(**implicit, **k8),
        "constant, implicit, k = 8, 4 e": Rule(eta0=4.0 * eta0, **implicit, **k8),
        "SPS_max": Rule(POLYAK, polyak),
        "SPS_max, average k = 8": Rule(POLYAK, polyak, **k8),
        "DecSPS": Rule(DECREASING_POLYAK, polyak),
        "DoG": Rule(DOG),
        "DoG, average k = 8": Rule(DOG, **k8),
        "Schedule-Free": constant._replace(beta=0.9, average=0.0),
        "Schedule-Free, 10 e": Rule(eta0=10.0 * eta0, beta=0.9, average=0.0),
        "polynomial, K = 20,000, power 1": polynomial(20_000, 1.0),
        "polynomial, K = 20,000, power 2": polynomial(20_000),
        "polynomial, K = 50,000, power 1": polynomial(50_000, 1.0),
        "polynomial, K = 50,000, power 2": polynomial(50_000),
        "polynomial, K = 50,000, power 3": polynomial(50_000, 3.0),
        "polynomial, K = 100,000, power 1": polynomial(100_000, 1.0),
        "polynomial, K = 100,000, power 2": polynomial(100_000),
        "polynomial, K = 50,000, average k = 3": polynomial(50_000, **k3),
        "polynomial, K = 50,000, average k = 8": polynomial(50_000, **k8),
        "polynomial, K = 50,000, power 1, k = 8": polynomial(50_000, 1.0, **k8),
        "polynomial, K = 100,000, average k = 3": polynomial(100_000, **k3),
        "polynomial, K = 100,000, power 1, k = 8": polynomial(100_000, 1.0, **k8),
        "polynomial, K = 50,000, implicit": polynomial(50_000, **implicit),
        "polynomial, K = 50,000, importance-aware, to 4 e": polynomial(
            50_000, most=4.0, update=IMPORTANCE_AWARE
        ),
        "AdaGrad": Adaptive(eta0_of_adagrad(problem)),
        "AdaGrad, linear": Adaptive(eta0_of_adagrad(problem), power=1.0),
    }


def eta0_of_adagrad(problem: Problem) -> float:
    """The rate that learning_rate="auto" finds."""
    data, settings = example(problem, problem.table.X.dtype)
    request = Request("auto", None, ALPHA, 1, linear_scaling=False)
    return float(rates_of(request, data, Lanes(1, alpha=ALPHA, eta0=1.0), settings).eta0[0])


# Output.

METHOD = """`python benchmarks/rules.py` with `.[bench]` installed: (L - L\\*) / L\\*, medians of
{seeds} seeds. L\\* is known to {error:g} of it: a smaller excess counts as that, a larger one than
{most:,.0f} and a diverged run as {most:,.0f}. "Mean" is the geometric mean over the tables, "worst"
the ratio to the best rule of a table, of the table where it is largest; the number is that of
epochs."""

Results = dict[tuple[str, str], dict[str, Array]]
"""Excess after each of EPOCHS by (loss, table) and rule."""


def measure(seeds: int, only: list[str] | None = None, tables: list[str] | None = None) -> Results:
    """Medians over the seeds, of the rules and tables whose names begin with one of those asked
    for; tables that cannot be had are left out, with a line that says so."""
    results: Results = {}
    label = ""
    for case in CASES:
        if tables is not None and not case.name.startswith(tuple(tables)):
            continue
        if not case.name.startswith("the same"):
            label = re.split(r" \d|,", case.name)[0]
        try:
            problem = Problem(case.table(), case.loss, ALPHA)
        except Unavailable as reason:
            print(f"{case.name}: skipped, {reason}")
            continue
        rows = make_rows(problem)
        rules = make_rules(problem, rows)
        if only is not None:
            rules = {name: rule for name, rule in rules.items() if name.startswith(tuple(only))}
        results[case.loss, label] = {
            name: np.median([ends(problem, rows, rule, seed) for seed in range(seeds)], axis=0)
            for name, rule in tqdm(rules.items(), label, disable=None, leave=False)
        }
    return results


def ratios(results: Results) -> dict[str, Array]:
    """Excess over that of the best rule of the table, (tables, len(EPOCHS)), by rule."""
    best = np.array([np.min(list(of.values()), axis=0) for of in results.values()])
    names = next(iter(results.values()))
    return {name: np.array([of[name] for of in results.values()]) / best for name in names}


def markdown(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def digits(value: float) -> str:
    if value >= 1.0:
        return f"{DIVERGED:,.0f}" if value >= DIVERGED else f"{value:.1f}"
    return f"{value:.1e}".replace("e-0", "e-")


def times(ratio: float) -> str:
    return f"> {FAR:,.0f}" if ratio > FAR else f"{ratio:.3g}"


def format_summary(results: Results) -> str:
    """Geometric means over all tables, and the worst table's ratio to its best rule."""
    lines = []
    for name, ratio in ratios(results).items():
        means = np.exp(np.mean([np.log(of[name]) for of in results.values()], axis=0))
        lines.append([name, *map(digits, means), *map(times, ratio.max(axis=0))])
    head = ["all tables", *(f"mean, {T}" for T in EPOCHS), *(f"worst, {T}" for T in EPOCHS)]
    return markdown(head, lines)


def format_loss(results: Results, loss: str, epochs: tuple[int, int]) -> str:
    """Excess on the tables of one loss, "after the first / after the second" number of epochs."""
    tables = {label: of for (of_loss, label), of in results.items() if of_loss == loss}
    at = [EPOCHS.index(T) for T in epochs]
    lines = [
        [name, *(" / ".join(digits(v) for v in of[name][at]) for of in tables.values())]
        for name in next(iter(tables.values()))
    ]
    return markdown([f"{loss}, after {epochs[0]} / {epochs[1]}", *tables], lines)


def draw(results: Results, path: Path) -> None:
    """Ratio to the best rule of each table after 2 and 5 epochs, a line a rule, best mean first."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = ratios(results)
    losses = np.array([loss for loss, _ in results])
    means = {name: np.exp(np.log(ratio[:, [1, 3]]).mean()) for name, ratio in found.items()}
    names = sorted(found, key=means.__getitem__, reverse=True)
    fig, axes = plt.subplots(1, 2, figsize=(13.5, 0.23 * len(names) + 1.5), sharey=True)
    styles = ("log_loss", "#0072B2", "o", 0.12), ("squared_error", "#D55E00", "^", -0.12)
    for ax, T in zip(axes, (2, 5), strict=True):
        for place, name in enumerate(names):
            ratio = found[name][:, EPOCHS.index(T)]
            for loss, colour, marker, off in styles:  # Okabe & Ito
                x = np.minimum(ratio[losses == loss], FAR)
                y = np.full(len(x), place + off)
                ax.scatter(x, y, 22, colour, marker, alpha=0.75, linewidths=0)
            mean = min(FAR, np.exp(np.log(ratio).mean()))
            ax.plot(mean, place, "|", color="black", ms=13, mew=2.2)
        ax.set_xscale("log")
        ax.set_xlim(0.85, 1.2 * FAR)
        ax.set_xlabel(f"excess / the best rule's on that table (edge: {FAR:,.0f} and more)")
        ax.set_title(f"after {T} epochs", fontsize=11)
        ax.grid(True, axis="both", color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(-0.7, len(names) - 0.3)
    axes[0].tick_params(axis="y", labelsize=9)
    for loss, colour, marker, _ in styles:
        label = f"a table, {loss.replace('_', ' ')}"
        axes[1].scatter([], [], 22, colour, marker, alpha=0.75, linewidths=0, label=label)
    axes[1].plot([], [], "|", color="black", ms=13, mew=2.2, ls="", label="geometric mean")
    handles = axes[1].get_legend_handles_labels()
    fig.legend(*handles, loc="lower center", ncols=3, frameon=False)
    fig.tight_layout(rect=(0.0, 0.35 / fig.get_figheight(), 1.0, 1.0))
    fig.savefig(path, dpi=80)
    plt.close(fig)


def write_part(text: str) -> None:
    """Put the results of a few rules under ``PART``, before ``HEADING``."""
    words, heading, rest = PAGE.read_text().partition(HEADING)
    words = words.partition(PART)[0]
    PAGE.write_text(f"{words}{PART}\n\n{text}\n\n{heading}{rest}")


def main(arguments: list[str] | None = None) -> Results:
    """Run, print, write."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--only", nargs="+", metavar="NAME")
    own.add_argument("--tables", nargs="+", metavar="NAME")
    only, others = own.parse_known_args(arguments)
    asked = effort(__doc__.splitlines()[0], "rates", (3, 1), (1, 1), others)
    start = time.perf_counter()
    with threadpool_limits(1):
        results = measure(asked.seeds, only.only, only.tables)
    tables = [format_loss(results, loss, (2, 5)) for loss in ("log_loss", "squared_error")]
    page = "\n\n".join([format_summary(results), *tables])
    print(page)
    for loss in ("log_loss", "squared_error"):
        print(f"\n{format_loss(results, loss, (1, 3))}")
    print(f"\nTook {time.perf_counter() - start:.0f} s.")
    if only.only is not None:
        method = METHOD.format(seeds=asked.seeds, error=ERROR, most=DIVERGED)
        by = f"benchmarks/rules.py --only {' '.join(map(shlex.quote, only.only))}"
        if only.tables is not None:
            by += f" --tables {' '.join(map(shlex.quote, only.tables))}"
        write_part(f"{method.replace('benchmarks/rules.py', by)}\n\n{page}")
    elif asked.figure is not None:
        draw(results, asked.figure)
        words = PAGE.read_text().partition(HEADING)[0] if PAGE.exists() else ""
        method = METHOD.format(seeds=asked.seeds, error=ERROR, most=DIVERGED)
        PAGE.write_text(f"{words}{HEADING}\n\n{method}\n\n{page}\n")
    return results


if __name__ == "__main__":
    main()
