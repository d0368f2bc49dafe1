"""What does each order of the samples cost, in loss and in seconds?

    python benchmarks/sampling.py           prints the tables, writes docs/sampling.png
    python benchmarks/sampling.py --quick   a tenth of the rows, two seeds, no figure

The same rows are stored shuffled, sorted by target (classes one after the other) and sorted by the
feature that tells most about the target. Every sampling trains on each from zero, one row a step,
at the rate that suits "reshuffle" best. What is reported is the part of the first gap to the
optimum that is left,

    (f(w) - f*) / (f(0) - f*),    f the objective over all rows,

after 1, 2, 5 and 10 epochs, and the processor time of an epoch on tables larger than the caches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from experiment import effort
from numpy.typing import NDArray
from scipy.optimize import minimize
from test_speed import dense, text
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fastsgd import solver
from fastsgd.bench import environment, format_header, generated_table
from fastsgd.losses import LOSSES
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import inverse
from fastsgd.statistics import curvature as rates

ALPHA = 1e-4
EPOCHS = (1, 2, 5, 10)
STORAGES = ("shuffled", "by target", "by a feature")
FIRST, DECAYS = 4.0 ** np.arange(-4.0, 1.0), 4.0 ** np.arange(-2.0, 5.0)
TUNING_SEEDS = 3
CALL_VALUES = 1 << 22

Array = NDArray[Any]


# Problems.


@dataclass(frozen=True)
class Problem:
    """One table and one loss.

    Attributes
    ----------
    name : str
    X : ndarray or CSR array of shape (n, d), float32
    y : ndarray of shape (n,), float32
        Targets, or classes 0 and 1.
    loss : str
        "squared_error" or "log_loss".
    """

    name: str
    X: Any
    y: Array
    loss: str

    def stored(self, storage: str) -> Data:
        """The rows as this storage has them; they come shuffled."""
        keys = {"by target": self.y, "by a feature": self._telling_feature()}
        if storage == "shuffled":
            return Data(self.X, self.y)
        rows = np.argsort(keys[storage], kind="stable")
        return Data(self.X[rows], self.y[rows])

    def _telling_feature(self) -> Array:
        """The column of X whose product with the target is largest, (n,)."""
        j = int(np.argmax(np.abs(self.X.T @ (self.y - self.y.mean()))))
        column = self.X[:, [j]]
        return (column.toarray() if hasattr(column, "toarray") else column).ravel()

    def settings(self, sampling: str, seed: int = 0) -> Settings:
        """On CSR without an intercept: at rates that suit words it would jump."""
        return Settings(
            self.loss,
            sign_targets=self.loss == "log_loss",
            fit_intercept=self.intercept,
            sampling=sampling,
            seed=seed,
            schedule=inverse(),
        )

    @property
    def intercept(self) -> bool:
        return isinstance(self.X, np.ndarray)


def make_problems(scale: float = 1.0) -> list[Problem]:
    """Logistic regression and least squares, dense and CSR, with ``scale`` times their rows."""
    n, rng = round(scale * 100_000), np.random.default_rng(1)
    X, targets = generated_table(n, 28)
    words = text(n, 47_236, 75)
    score = words.X @ rng.standard_normal(47_236)
    linear = (score / score.std() + 0.5 * rng.standard_normal(n)).astype(np.float32)
    size, sparse_size = f"dense {n:,} x 28", f"CSR {n:,} x 47,236"
    return [
        Problem(f"logistic, {size}", X, targets["logistic"].astype(np.float32), "log_loss"),
        Problem(f"squares, {size}", X, targets["linear"].astype(np.float32), "squared_error"),
        Problem(f"logistic, {sparse_size}", words.X, words.y.astype(np.float32), "log_loss"),
        Problem(f"squares, {sparse_size}", words.X, linear, "squared_error"),
    ]


class Objective:
    """f, and its optimum by L-BFGS in float64."""

    def __init__(self, problem: Problem) -> None:
        self._loss, (n, d) = LOSSES[problem.loss], problem.X.shape
        X = problem.X.astype(np.float64)
        y = problem.y.astype(np.float64)
        y = 2.0 * y - 1.0 if problem.loss == "log_loss" else y

        def value_and_gradient(u: Array) -> tuple[float, Array]:
            w, z = u[:d], X @ u[:d] + u[d]  # u[d] is b, 0 without an intercept
            c = self._loss.slope(z, y, 0.0) / n
            value = self._loss.value(z, y, 0.0).mean() + 0.5 * ALPHA * w @ w
            return float(value), np.append(X.T @ c + ALPHA * w, problem.intercept * c.sum())

        options = {"maxiter": 5000, "maxfun": 10000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
        start = np.zeros(d + 1)
        best = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
        self._value = value_and_gradient
        self.optimum, gradient = value_and_gradient(best.x)
        self.first_gap = value_and_gradient(start)[0] - self.optimum
        assert np.linalg.norm(gradient) < 1e-6, "the optimum is none"

    def gap(self, coef: Array, intercept: float) -> float:
        """The part of the first gap that is left at one model, (d,) and a number."""
        u = np.append(coef, intercept).astype(np.float64)
        return (self._value(u)[0] - self.optimum) / self.first_gap


# Runs.


def make_grid(problem: Problem) -> Lanes:
    """Rates eta0 / (1 + eta0 mu (t - 1)) as lanes, in units of what "auto" finds."""
    rate, curvature = rates.auto_rate(Data(problem.X, problem.y), problem.settings("reshuffle"))
    eta0, mu = (grid.ravel() for grid in np.meshgrid(rate * FIRST, max(curvature, ALPHA) * DECAYS))
    return Lanes(len(eta0), alpha=ALPHA, eta0=eta0, mu=mu)


def train(
    problem: Problem, objective: Objective, data: Data, lanes: Lanes, sampling: str, seed: int
) -> Array:
    """Gaps after ``EPOCHS``, (EPOCHS, K)."""
    settings = problem.settings(sampling, seed)
    state = solver.State(data, lanes, settings)
    gaps = []
    for epoch in range(1, EPOCHS[-1] + 1):
        solver.run_epoch(data, lanes, settings, state)
        if epoch in EPOCHS:
            gaps.append(
                [objective.gap(*model) for model in zip(*state.last_weights(), strict=True)]
            )
    return np.array(gaps)


def best_rate(problem: Problem, objective: Objective) -> tuple[Lanes, str]:
    """The lane of the grid that is best for rows that are reshuffled, and its place there.

    By the mean log gap at ``EPOCHS`` of a few seeds.
    """
    data, lanes = Data(problem.X, problem.y), make_grid(problem)
    logs = [
        np.log(train(problem, objective, data, lanes, "reshuffle", seed)).mean(axis=0)
        for seed in range(TUNING_SEEDS)
    ]
    best = int(np.argmin(np.mean(logs, axis=0)))
    decay, first = divmod(best, len(FIRST))
    place = f"first rate {FIRST[first]:g}, decay {DECAYS[decay]:g}"
    return Lanes(1, alpha=ALPHA, eta0=lanes.eta0[best], mu=lanes.mu[best]), place


@dataclass(frozen=True)
class Result:
    """Gaps by (storage, sampling), each (seeds, EPOCHS), and the rate in units of the grid."""

    name: str
    rate: str
    gaps: dict[tuple[str, str], Array]


def measure(problem: Problem, seeds: int, progress: Any) -> Result:
    objective = Objective(problem)
    (lanes, rate), gaps = best_rate(problem, objective), {}
    for storage in STORAGES:
        data = problem.stored(storage)
        for sampling in SAMPLINGS:
            runs = range(1 if sampling == "sequential" else seeds)  # which knows no seed
            gaps[storage, sampling] = np.array(
                [train(problem, objective, data, lanes, sampling, seed)[:, 0] for seed in runs]
            )
            progress.update()
    return Result(problem.name, rate, gaps)


# Seconds.


def time_epochs(rounds: int, scale: float) -> dict[str, dict[str, tuple[float, float]]]:
    """Nanoseconds a row by table and sampling: to draw the order, and to train on it.

    Processor time of one lane and one thread, medians of epochs in turn.
    """
    tables = {
        "dense 1,000,000 x 28": lambda: dense(round(scale * 1_000_000), 28),
        "dense 200,000 x 500": lambda: dense(round(scale * 200_000), 500),
        "CSR 200,000 x 47,236, 75 a row": lambda: text(round(scale * 200_000), 47_236, 75),
    }
    results = {}
    for name, make in tables.items():
        table = make()
        data, lanes = Data(table.X, table.y.astype(np.float32)), Lanes(1, ALPHA, eta0=table.eta0)
        times: dict[str, list[tuple[float, float]]] = {sampling: [] for sampling in SAMPLINGS}
        for _ in range(rounds):
            for sampling, seconds in times.items():
                seconds.append(time_epoch(data, lanes, sampling))
        results[name] = {
            sampling: tuple(1e9 * np.median(seconds, axis=0) / data.n)
            for sampling, seconds in times.items()
        }
    return results


def time_epoch(data: Data, lanes: Lanes, sampling: str) -> tuple[float, float]:
    settings = Settings("log_loss", True, sampling=sampling)
    run = solver.Run(data, lanes, settings, solver.State(data, lanes, settings))
    start = time.process_time()
    while run.draws_order:
        run.advance(1)
    drawn = time.process_time()
    while not run.advance(CALL_VALUES):
        pass
    return drawn - start, time.process_time() - drawn


# Output.


def format_gaps(results: list[Result], epochs: int) -> str:
    """Medians of the seeds, and the range of their gaps where there are several, in Markdown."""
    at = EPOCHS.index(epochs)
    head = ["", "stored", *SAMPLINGS]
    lines = [f"After {epochs} epoch{'s' * (epochs > 1)}:", ""]
    lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for result in results:
        for storage in STORAGES:
            cells = [result.name if storage == STORAGES[0] else "", storage]
            for sampling in SAMPLINGS:
                gaps = 100.0 * result.gaps[storage, sampling][:, at]
                cell = f"{np.median(gaps):.3g}"
                cells.append(cell + f" ({gaps.min():.2g} to {gaps.max():.2g})" * (len(gaps) > 1))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def format_times(times: dict[str, dict[str, tuple[float, float]]]) -> str:
    head = ["ns a row: order + epoch", *SAMPLINGS, "block faster"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, of in times.items():
        ratio = sum(of["reshuffle"]) / sum(of["block"])
        cells = [f"{of[sampling][0]:.1f} + {of[sampling][1]:.0f}" for sampling in SAMPLINGS]
        lines.append(f"| {' | '.join([name, *cells, f'{ratio:.2f} x'])} |")
    return "\n".join(lines)


def draw(results: list[Result], path: Path) -> None:
    """Gap against epochs: a row for each problem, a column for each storage."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    colours = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00")  # Okabe & Ito
    styles = dict(zip(SAMPLINGS, zip(colours, "osv^D", strict=True), strict=True))
    fig, axes = plt.subplots(
        len(results),
        len(STORAGES),
        figsize=(10.0, 2.5 * len(results) + 0.6),
        sharex=True,
        sharey="row",
        layout="constrained",
    )
    for row, result in zip(axes, results, strict=True):
        for ax, storage in zip(row, STORAGES, strict=True):
            for sampling, (colour, marker) in styles.items():
                gaps = result.gaps[storage, sampling]
                ax.plot(
                    EPOCHS,
                    np.median(gaps, axis=0),
                    **{"color": colour, "marker": marker, "markersize": 5, "label": sampling},
                    zorder=3 if sampling == "block" else 2,
                )
                ax.fill_between(
                    EPOCHS, gaps.min(axis=0), gaps.max(axis=0), color=colour, alpha=0.12
                )
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticks(EPOCHS, map(str, EPOCHS))
            ax.yaxis.set_major_locator(LogLocator(numticks=9))
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.grid(True, color="0.9", linewidth=0.6)
            ax.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(result.name.replace(", ", "\n", 1) + "\ngap left", fontsize=9)
    for ax, storage in zip(axes[0], STORAGES, strict=True):
        ax.set_title(f"stored {'sorted ' * storage.startswith('by')}{storage}", fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("epochs")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(SAMPLINGS), frameon=False)
    fig.savefig(path, dpi=80)
    plt.close(fig)


def main(arguments: list[str] | None = None) -> list[Result]:
    """Run, print, draw."""
    asked = effort(__doc__.splitlines()[0], "sampling", (9, 9), (2, 3), arguments)
    start, results = time.perf_counter(), []
    with threadpool_limits(1):
        print(format_header(environment()), flush=True)
        print(f"\n{format_times(time_epochs(asked.rounds, asked.scale))}", flush=True)
        problems = make_problems(asked.scale)
        cases = len(problems) * len(STORAGES) * len(SAMPLINGS)
        with tqdm(total=cases, unit="case", disable=None, leave=False) as progress:
            results = [measure(problem, asked.seeds, progress) for problem in problems]
    print("\nPart of the first gap that is left, in percent: median and range of the seeds.")
    for epochs in EPOCHS:
        print(f"\n{format_gaps(results, epochs)}")
    print("\nRates, in units of auto's:", *(f"{of.name}: {of.rate}." for of in results))
    if asked.figure is not None:
        draw(results, asked.figure)
    print(f"Took {time.perf_counter() - start:.0f} s.")
    return results


if __name__ == "__main__":
    main()
