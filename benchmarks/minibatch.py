"""When does a mini-batch beat single-sample updates, in epochs and in seconds?

    python benchmarks/minibatch.py           prints the tables, writes docs/minibatch.png
    python benchmarks/minibatch.py --quick   a tenth of the rows, one seed, no figure

L2 logistic regression, float32, rows reshuffled every epoch. For each batch size, with and without
momentum, a grid of learning rates trains as lanes of one pass. What is reported is the fewest
epochs after which

    (f(w) - f*) / (f(0) - f*)

the part of the first gap to the optimum that is left, is at most 1e-2 and 1e-3, with the best
constant rate and the best decaying one, eta0 / (1 + eta0 mu (t - 1)). Seconds are these epochs
times the measured processor seconds of an epoch of one lane in one thread: a user trains one model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import dense, text
from experiment import effort
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier as Peer
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fastsgd import solver
from fastsgd.bench import environment, format_header
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import inverse
from fastsgd.statistics import curvature as rates

BATCH_SIZES = (1, 4, 16, 64, 256, 1024, 4096)
"""And n, the full batch."""

MOMENTA = (0.0, 0.9)
TARGETS = (1e-2, 1e-3)
KINDS = ("constant", "decaying")
SMOOTHNESS = 0.25  # largest second derivative of the logistic loss

FIRST_POINT, POINTS_PER_OCTAVE = 1 / 64, 4
"""f is evaluated after 1/64 epoch and then at positions a factor of 2^(1/4) apart."""

Array = NDArray[Any]

Grid = tuple[Array, Array, Array]
"""Exponents of 2 of constant rates, of first rates and of decays, see make_grid."""

DENSE_GRID = np.arange(-7.0, 6.0), np.array([0.0, 1.0, 2.0, 3.0, 5.0]), np.arange(-6.0, 1.0)
SMALL_GRID = np.arange(-11.0, 9.0), np.arange(6.0), np.arange(-8.0, 1.0)
SPARSE_GRID = np.delete(np.arange(-6.0, 7.0), 1), np.arange(5.0), np.array([-1.0, 0.0, 1.0, 3.0])

TIMING_SECONDS = 10.0

GIVE_UP = 1.5
"""A kind of schedule that takes this many times the epochs of the other is given up."""

RUNNERS_UP = 4
"""Lanes of each kind and target that the first seed passes on to the other seeds."""


# Problems.


@dataclass(frozen=True)
class Problem:
    """A table and how long a run on it may be.

    Attributes
    ----------
    name : str
    X : ndarray or CSR array of shape (n, d), float32
    y : ndarray of shape (n,)
        Classes 0 and 1.
    alpha : float
        Strength of the L2 penalty.
    cap : int
        Epochs after which a run is given up.
    targets : tuple of float
        Those of ``TARGETS`` that are searched for.
    grid : Grid
        Exponents of learning rates and decays.
    momentum_from : int
        Smallest batch size at which momentum is searched for.
    timed_epochs : int
        Epochs of one timed call; more than one where an epoch is shorter than a call.
    """

    name: str
    X: Any
    y: NDArray[np.int64]
    alpha: float
    cap: int
    targets: tuple[float, ...] = TARGETS
    grid: Grid = DENSE_GRID
    momentum_from: int = 1
    timed_epochs: int = 1

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def data(self) -> Data:
        return Data(self.X, self.y.astype(np.float32))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        return (*(m for m in BATCH_SIZES if m < self.n), self.n)

    @property
    def mean_square(self) -> float:
        """Mean |x|^2, the intercept's feature of ones included."""
        values = self.X.data if hasattr(self.X, "indptr") else self.X.ravel()
        return 1.0 + float(np.dot(values, values)) / self.n


def correlated(rows: int, features: int) -> tuple[Array, NDArray[np.int64]]:
    """Normal rows whose covariance has eigenvalues 1 / j, in a random basis."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((features, features)))
    Z = rng.standard_normal((rows, features), dtype=np.float32)
    X = (Z / np.sqrt(np.arange(1, features + 1, dtype=np.float32))) @ basis.T.astype(np.float32)
    score = Z @ rng.standard_normal(features).astype(np.float32) / np.float32(np.sqrt(features))
    return X, (2.0 * score + rng.logistic(size=rows) > 0).astype(np.int64)


def make_problems(scale: float = 1.0) -> list[Problem]:
    """The four problems; generated ones with ``scale`` times their rows."""
    n_easy, n_hard, n_text = (round(scale * n) for n in (200_000, 100_000, 100_000))
    easy, sparse = dense(n_easy, 28), text(n_text, 47_000, 75)
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    return [
        Problem(f"dense {n_easy:,} x 28, independent", easy.X, easy.y, 1e-4, 50),
        Problem(f"dense {n_hard:,} x 200, ill-conditioned", *correlated(n_hard, 200), 1e-4, 30),
        Problem(
            "dense 569 x 30, breast cancer", X, y, 1e-3, 1000, grid=SMALL_GRID, timed_epochs=100
        ),
        Problem(
            f"CSR {n_text:,} x 47,000, 75 a row",
            *(sparse.X, sparse.y, 1e-4, 24),
            targets=TARGETS[:1],  # 1e-3 takes about 18 epochs, for each of the lanes
            grid=SPARSE_GRID,
            momentum_from=1024,  # below, momentum makes an epoch 2 to 15 times as long
        ),
    ]


class Objective:
    """f, its optimum by L-BFGS in float64, and gaps of many models at once in float32."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        X, alpha, n, d = problem.X.astype(np.float64), problem.alpha, problem.n, problem.X.shape[1]
        sign = 2.0 * problem.y - 1.0  # (n,)

        def value_and_gradient(u: Array) -> tuple[float, Array]:
            w, z = u[:d], sign * (X @ u[:d] + u[d])
            c = -sign * expit(-z) / n
            value = np.logaddexp(0.0, -z).mean() + 0.5 * alpha * w @ w
            return float(value), np.append(X.T @ c + alpha * w, c.sum())

        options = {"maxiter": 5000, "maxfun": 10000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
        start = np.zeros(d + 1)
        best = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
        self.optimum, gradient = value_and_gradient(best.x)
        self.gradient_norm = float(np.linalg.norm(gradient))
        self.first_gap = value_and_gradient(start)[0] - self.optimum
        self._sign = sign.astype(np.float32)[:, None]

    def gaps(self, coef: Array, intercept: Array) -> Array:
        """Parts of the first gap that models (K, d), (K,) leave, (K,); infinite if not finite.

        In blocks of rows that fit a cache; terms in float32, their sums in float64.
        """
        X, n = self.problem.X, self.problem.n
        W, total = np.ascontiguousarray(coef.T), np.zeros(len(coef))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n, 8192):
                rows = slice(start, start + 8192)
                z = X[rows] @ W
                z += intercept
                z *= self._sign[rows]
                loss = np.log1p(np.exp(-np.abs(z))) - np.minimum(z, 0.0)
                total += loss.sum(axis=0, dtype=np.float64)
            penalty = 0.5 * self.problem.alpha * np.square(coef, dtype=np.float64).sum(axis=1)
            gaps = (total / n + penalty - self.optimum) / self.first_gap
        return np.where(np.isfinite(gaps), gaps, np.inf)


# Epochs.


def make_units(problem: Problem, m: int, momentum: float) -> tuple[float, float]:
    """The rate that theory calls safe for batches of m rows, and the curvature to decay it by.

    (1 - momentum) / (smoothness (lambda_max + (mean |x|^2 - lambda_max) / m)), Ma, Bassily & Belkin
    2018; the mean curvature smoothness mean |x|^2 / d, or alpha where that is more, over
    1 - momentum, since steps add up to that.
    """
    rate, _ = rates.auto_rate(
        problem.data, Settings("log_loss", sign_targets=True, batch_size=m, optimizer=SGD(momentum))
    )
    curvature = SMOOTHNESS * problem.mean_square / (problem.X.shape[1] + 1)
    return rate, max(curvature, problem.alpha) / (1.0 - momentum)


def make_grid(problem: Problem, m: int, momentum: float) -> Lanes:
    """Constant rates, a factor of 2 apart, and decays, each with a few first rates, as lanes.

    Rates are in units of (1 - momentum) times the safe rate. Where curvature alone limits it,
    momentum bears (1 + momentum) / (1 - momentum) such units. With a decay large first rates
    do no harm for small batches, whose rate is soon 1 / (mu t); large batches need them fine.
    """
    constant, first, mu = (2.0**exponents for exponents in problem.grid)
    rate_unit, decay_unit = make_units(problem, m, momentum)
    first, mu = (grid.ravel() for grid in np.meshgrid(first, mu))
    eta0 = rate_unit * np.append(constant, first)
    mu = decay_unit * np.append(np.zeros(len(constant)), mu)
    return Lanes(len(eta0), alpha=problem.alpha, eta0=eta0, mu=mu)


def subset(lanes: Lanes, chosen: Array) -> Lanes:
    numbers = {name: getattr(lanes, name)[chosen] for name in ("alpha", "eta0", "mu")}
    return Lanes(len(chosen), **numbers)


def trace(
    objective: Objective, lanes: Lanes, settings: Settings, cap: float
) -> Iterator[tuple[float, Array]]:
    """Train; yield the epochs done, with fraction, and the gaps (K,), at ever larger distances."""
    problem = objective.problem
    data = problem.data
    state = solver.State(data, lanes, settings)
    run = solver.Run(data, lanes, settings, state)
    values = problem.X.nnz if hasattr(problem.X, "nnz") else problem.X.size
    budget = max(1, values * lanes.k // 256)
    point, position = FIRST_POINT, 0.0
    while position < cap:
        while position < point:
            run.advance(budget)
            position = state.epoch + state.row / problem.n
        yield position, objective.gaps(*state.last_weights())
        while point <= position:
            point *= 2.0 ** (1.0 / POINTS_PER_OCTAVE)


class Crossings:
    """Epochs at which lanes first reach the targets, log gap interpolated between two points."""

    def __init__(self, k: int) -> None:
        self.epochs = np.full((len(TARGETS), k), np.inf)
        self._position, self._gaps = 0.0, np.ones(k)

    def add(self, position: float, gaps: Array) -> None:
        gaps = np.maximum(gaps, 1e-9)
        for target, epochs in zip(TARGETS, self.epochs, strict=True):
            new = (gaps <= target) & np.isinf(epochs)
            before = np.log(self._gaps[new])
            part = (before - np.log(target)) / (before - np.log(gaps[new]))
            epochs[new] = self._position + part * (position - self._position)
        self._position, self._gaps = position, gaps


@dataclass(frozen=True)
class Best:
    """The fewest epochs of one kind of schedule to one target.

    Attributes
    ----------
    epochs : float
        Infinite if no rate of the grid gets there.
    tried : float
        Epochs after which the search gave up.
    rate, decay : float
        eta0 and mu in the units of the grid.
    """

    epochs: float
    tried: float
    rate: float = np.nan
    decay: float = np.nan


def at_edge(best: Best, grid: Grid) -> bool:
    """Whether a wider grid might do better; the lowest decay, near constant, does not count."""
    if best.decay == 0.0:
        return any(np.isclose(best.rate, 2.0**e) for e in grid[0][[0, -1]])
    return bool(np.isclose(best.decay, 2.0 ** grid[2][-1]))


def search(
    objective: Objective, m: int, momentum: float, seeds: int
) -> dict[tuple[str, float], Best]:
    """Best epochs by (kind, target): medians over the seeds at one rate, the best of the grid.

    The first seed trains the whole grid, until four lanes of each kind are through or the run is
    ``GIVE_UP`` times as long as the best took; its best lanes then train with the other seeds.
    """
    problem = objective.problem
    lanes = make_grid(problem, m, momentum)
    kinds = np.where(lanes.mu > 0.0, KINDS[1], KINDS[0])  # (K,)

    def settings(seed: int) -> Settings:
        return Settings(
            "log_loss",
            sign_targets=True,
            batch_size=m,
            optimizer=SGD(momentum),
            seed=seed,
            schedule=inverse(),
        )

    def is_settled(crossings: Crossings, position: float) -> bool:
        last = crossings.epochs[len(problem.targets) - 1]
        through = all(np.isfinite(last[kinds == kind]).sum() >= RUNNERS_UP for kind in KINDS)
        return through or position > GIVE_UP * last.min()

    first, tried = Crossings(lanes.k), 0.0
    for tried, gaps in trace(objective, lanes, settings(0), problem.cap):
        assert gaps.min() > -1e-5, "the optimum is none"
        first.add(tried, gaps)
        if is_settled(first, tried):
            break

    chosen = set()
    for kind in KINDS:
        for epochs in first.epochs:
            of_kind = np.flatnonzero((kinds == kind) & np.isfinite(epochs))
            chosen.update(of_kind[np.argsort(epochs[of_kind])][:RUNNERS_UP].tolist())
    if not chosen:
        return {(kind, target): Best(np.inf, tried) for kind in KINDS for target in TARGETS}
    few = np.array(sorted(chosen))
    all_epochs = [first.epochs[:, few]]
    reached = np.isfinite(all_epochs[0])
    for seed in range(1, seeds if m < problem.n else 1):  # a full batch has no order
        again = Crossings(len(few))
        for point in trace(objective, subset(lanes, few), settings(seed), 1.25 * tried):
            again.add(*point)
            if np.isfinite(again.epochs[reached]).all():
                break
        all_epochs.append(again.epochs)
    medians = np.median(all_epochs, axis=0)  # (targets, few)
    update = m / problem.n  # epochs; the last one counts whole
    medians = np.ceil(medians / update - 1e-9) * update

    units = make_units(problem, m, momentum)
    results: dict[tuple[str, float], Best] = {}
    for kind in KINDS:
        for target, epochs in zip(TARGETS, medians, strict=True):
            epochs = np.where(kinds[few] == kind, epochs, np.inf)
            lane = few[np.argmin(epochs)]
            results[kind, target] = (
                Best(epochs.min(), tried, lanes.eta0[lane] / units[0], lanes.mu[lane] / units[1])
                if np.isfinite(epochs).any()
                else Best(np.inf, tried)
            )
    return results


# Seconds.


def time_epochs(problem: Problem, rounds: int) -> tuple[dict[tuple[int, float], float], float]:
    """Seconds of an epoch by (batch size, momentum), and scikit-learn's at batch size 1.

    One lane, one thread; medians of calls in turn, ``rounds`` of them or more where that is cheap.
    Processor seconds of the thread, which on an idle machine are those of the clock, since others
    may be at work on this one.
    """
    data, epochs = problem.data, problem.timed_epochs
    eta0 = 0.1 / problem.mean_square

    def timed(m: int, momentum: float) -> Any:
        same = Lanes(1, alpha=problem.alpha, eta0=eta0)
        settings = Settings("log_loss", sign_targets=True, batch_size=m, optimizer=SGD(momentum))
        state = solver.State(data, same, settings)
        stopping = solver.Stopping(max_epochs=epochs, tol=None)
        return lambda: solver.fit(data, same, settings, state, stopping)

    keys = [(m, momentum) for m in problem.batch_sizes for momentum in MOMENTA]
    peer_epochs = max(5, epochs)
    peer = Peer(
        "log_loss", alpha=problem.alpha, learning_rate="constant", eta0=eta0, tol=None
    ).set_params(max_iter=peer_epochs)
    functions = [*(timed(*key) for key in keys), lambda: peer.fit(problem.X, problem.y)]

    def one_round() -> list[float]:
        times = [time.thread_time()]
        for function in functions:
            function()
            times.append(time.thread_time())
        return np.diff(times).tolist()

    one_round()  # warm up
    rounds = max(rounds, min(8 * rounds, round(TIMING_SECONDS / sum(one_round()))))
    *ours, theirs = np.median([one_round() for _ in range(rounds)], axis=0).tolist()
    seconds = {key: t / epochs for key, t in zip(keys, ours, strict=True)}
    return seconds, theirs / peer_epochs


@dataclass(frozen=True)
class Result:
    """What was measured on a problem, by (batch size, momentum).

    Attributes
    ----------
    best : dict of dict
        What :func:`search` found; without the pairs that were not searched.
    seconds : dict of float
        Of an epoch.
    peer_seconds : float
        Of an epoch of scikit-learn's SGDClassifier.
    optimum, first_gap, gradient_norm : float
        f*, f(0) - f*, and the norm of the gradient at what counts as the optimum.
    """

    name: str
    n: int
    alpha: float
    targets: tuple[float, ...]
    grid: Grid
    best: dict[tuple[int, float], dict[tuple[str, float], Best]]
    seconds: dict[tuple[int, float], float]
    peer_seconds: float
    optimum: float
    first_gap: float
    gradient_norm: float

    @property
    def batch_sizes(self) -> list[int]:
        return sorted({m for m, _ in self.seconds})

    def epochs(self, m: int, momentum: float, target: float) -> float:
        """Fewest epochs, whatever the schedule; infinite if never there, NaN if not searched."""
        of = self.best.get((m, momentum))
        return min(of[kind, target].epochs for kind in KINDS) if of else np.nan

    def ms_to(self, m: int, momentum: float, target: float) -> float:
        return 1e3 * self.epochs(m, momentum, target) * self.seconds[m, momentum]

    def peer_ms_to(self, target: float) -> float:
        return 1e3 * self.epochs(1, 0.0, target) * self.peer_seconds


def measure(problem: Problem, seeds: int, rounds: int, progress: Any) -> Result:
    """Seconds first, with nothing else running; then the searches, two at a time."""
    seconds, peer_seconds = time_epochs(problem, rounds)
    objective = Objective(problem)
    keys = [key for key in seconds if key[1] == 0.0 or key[0] >= problem.momentum_from]

    def find(key: tuple[int, float]) -> dict[tuple[str, float], Best]:
        found = search(objective, *key, seeds)
        progress.update()
        return found

    with ThreadPoolExecutor(2) as pool:
        best = dict(zip(keys, pool.map(find, keys), strict=True))
    return Result(
        **{name: getattr(problem, name) for name in ("name", "n", "alpha", "targets", "grid")},
        **{"best": best, "seconds": seconds, "peer_seconds": peer_seconds},
        **{name: getattr(objective, name) for name in ("optimum", "first_gap", "gradient_norm")},
    )


# Output.


def significant(value: float, scale: float = 1.0) -> str:
    """Three digits, without an exponent."""
    if not np.isfinite(value):
        return "-"
    return np.format_float_positional(
        scale * value, precision=3, unique=False, fractional=False, trim="-"
    )


def format_result(result: Result) -> str:
    """A table in Markdown."""
    lines = [
        f"### {result.name}",
        "",
        f"alpha {result.alpha:g}, f* = {result.optimum:.6f}, f(0) - f* = {result.first_gap:.4f}, "
        f"|gradient| at the optimum {result.gradient_norm:.0e}.",
        "",
    ]
    head = ["batch", "ms an epoch"]
    for target in result.targets:
        head += [f"epochs to {target:g}, constant", "decaying", f"ms to {target:g}"]
    lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]

    def cell(m: int, momentum: float, target: float, kind: str) -> str:
        best = result.best[m, momentum][kind, target]
        if not np.isfinite(best.epochs):
            return f"> {best.tried:.0f}" if best.tried > 3.0 else f"> {best.tried:.1f}"
        return significant(best.epochs) + ("*" if at_edge(best, result.grid) else "")

    for momentum in MOMENTA:
        for m in result.batch_sizes:
            label = f"{m:,}" + (" = n" if m == result.n else "")
            cells = [label if momentum == 0.0 else f"{label}, momentum {momentum:g}"]
            cells.append(significant(result.seconds[m, momentum], 1e3))
            for target in result.targets:
                if (m, momentum) not in result.best:
                    cells += ["not searched", "not searched", "-"]
                    continue
                cells += [cell(m, momentum, target, kind) for kind in KINDS]
                cells.append(significant(result.ms_to(m, momentum, target)))
            lines.append(f"| {' | '.join(cells)} |")
    cells = ["scikit-learn, 1", significant(result.peer_seconds, 1e3)]
    for target in result.targets:
        cells += ["", "", significant(result.peer_ms_to(target))]
    lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: list[Result], path: Path) -> None:
    """Epochs (above) and seconds (below) against the batch size, a column for each problem."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    colours, markers = ("#0072B2", "#D55E00"), ("o", "s")  # Okabe & Ito
    dashes = dict(zip(TARGETS, ("-", "--"), strict=True))
    fig, axes = plt.subplots(
        2, len(results), figsize=(3.4 * len(results), 6.2), squeeze=False, layout="constrained"
    )
    for (above, below), result in zip(axes.T, results, strict=True):
        for momentum, colour, marker in zip(MOMENTA, colours, markers, strict=True):
            for target in result.targets:
                for ax, value in ((above, result.epochs), (below, result.ms_to)):
                    ms = result.batch_sizes
                    y = np.array([value(m, momentum, target) for m in ms])
                    y[~np.isfinite(y)] = np.nan
                    label = f"{f'momentum {momentum:g}' if momentum else 'plain'}, to {target:g}"
                    style = {"color": colour, "marker": marker, "markersize": 5}
                    ax.plot(ms, y, linestyle=dashes[target], label=label, **style)
        for target in result.targets:
            below.axhline(
                result.peer_ms_to(target),
                **{"color": "0.45", "linewidth": 1.2, "linestyle": dashes[target]},
                label=f"scikit-learn, batch size 1, to {target:g}",
            )
        above.set_title(",\n".join(result.name.rsplit(", ", 1)), fontsize=10)
        below.set_xlabel("batch size (last point: n)")
        for ax in (above, below):
            ax.set_xscale("log", base=4)
            ax.set_yscale("log")
            ax.set_xticks([1, 16, 256, 4096])
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.grid(True, color="0.9", linewidth=0.6)
            ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("epochs")
    axes[1, 0].set_ylabel("milliseconds, one thread")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    fig.savefig(path, dpi=80)
    plt.close(fig)


def main(arguments: list[str] | None = None) -> list[Result]:
    """Run, print, draw."""
    asked = effort(__doc__.splitlines()[0], "minibatch", (3, 7), (1, 3), arguments)
    start, results = time.perf_counter(), []
    with threadpool_limits(1):
        print(format_header(environment()), flush=True)
        problems = make_problems(asked.scale)
        searches = sum(
            1 + (m >= problem.momentum_from) for problem in problems for m in problem.batch_sizes
        )
        with tqdm(total=searches, unit="search", disable=None, leave=False) as progress:
            for problem in problems:
                results.append(measure(problem, asked.seeds, asked.rounds, progress))
                tqdm.write(f"\n{format_result(results[-1])}")
    if asked.figure is not None:
        draw(results, asked.figure)
    print(f"\n* the grid's last rate or decay. Took {time.perf_counter() - start:.0f} s.")
    return results


if __name__ == "__main__":
    main()
