"""What noise, batch size, momentum and rates do to networks on real data: docs/network-noise.md.

    python benchmarks/network_experiments.py                # all, under six minutes on one core
    python benchmarks/network_experiments.py --only saddle  # one: its table and its figure
    python benchmarks/network_experiments.py --quick        # few epochs, nothing written

Prints tables in Markdown, puts them into the page, and draws a figure each. Numbers are means over
seeds, which give other first weights and other orders of rows, with the lowest and the highest;
bands are the same.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib as mpl
import numpy as np
from datasets import fashion
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastsgd import DivergenceError, MLPClassifier
from fastsgd.insight import gradient_noise, sharpness
from fastsgd.insight.network_problem import network_problem_of
from fastsgd.insight.network_runs import Steps
from fastsgd.insight.plotting import line_style

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

DOCS = Path(__file__).parents[1] / "docs"
SEEDS = 3
BATCHES = (8, 32, 128, 512, 2048)
SHARPNESS_ROWS = 1000
ALPHA = 1e-4
"""Strength of the penalty of a row; ``alpha`` is this times the batch size, so that all batch sizes
minimise the same."""

Rows = tuple[np.ndarray, np.ndarray]


@dataclass
class Bench:
    """Data of an experiment, how much of it is done, and what was found."""

    train: Rows
    test: Rows
    digits: Rows
    seeds: int = SEEDS
    quick: bool = False
    lines: list[str] = field(default_factory=list)

    def epochs(self, wanted: int) -> int:
        return max(1, wanted // 10) if self.quick else wanted


# Fits.


def network(seed: int, batch: int, rate: float, **options: Any) -> MLPClassifier:
    """One hidden layer of 64 units, plain SGD at a constant rate unless ``options`` say more."""
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (64,),
        "solver": "sgd",
        "momentum": 0.0,
        "alpha": ALPHA * batch,
        "tol": None,
        "nesterovs_momentum": False,
    }
    settings |= {"batch_size": batch, "learning_rate_init": rate, "random_state": seed}
    return MLPClassifier(**(settings | options))


def losses(model: MLPClassifier, rows: Rows) -> tuple[float, float]:
    """Mean log loss without penalty, and percent of errors."""
    problem = network_problem_of(model, *rows)
    return problem.loss(penalty=False), 100.0 * (1.0 - model.score(*rows))


def trained(model: MLPClassifier, rows: Rows, epochs: int) -> MLPClassifier | None:
    """The model after so many epochs; None if it diverges."""
    try:
        return model.set_params(max_iter=epochs).fit(*rows)
    except DivergenceError:
        return None


def curve(model: MLPClassifier, bench: Bench, epochs: Sequence[int]) -> np.ndarray:
    """Train and test loss (2, points) after these epochs, infinite where it has diverged."""
    found, done = [], 0
    for point in epochs:
        try:
            if point > done:
                model.set_params(max_iter=point - done).fit(*bench.train, resume=done > 0)
            found.append([losses(model, rows)[0] for rows in (bench.train, bench.test)])
        except DivergenceError:
            found.append([np.inf, np.inf])
            found += [found[-1]] * (len(epochs) - len(found))
            break
        done = point
    return np.array(found).T


def points_of(epochs: int, count: int) -> list[int]:
    """Epochs at which a curve is looked at."""
    return sorted({int(e) for e in np.round(np.geomspace(1, epochs, count))})


# What is said.


def spread(values: Sequence[float], digits: int = 3, otherwise: str = "diverges") -> str:
    """Mean, and the lowest and the highest in brackets."""
    found = np.array(values, dtype=np.float64)
    if not np.isfinite(found).all():
        return f"{otherwise} in {int((~np.isfinite(found)).sum())} of {len(found)}"
    ends = " to ".join(f"{v:.{digits}f}" for v in (found.min(), found.max()))
    return f"{found.mean():.{digits}f} ({ends})"


def table(bench: Bench, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    for cells in (head, ["---"] * len(head), *rows):
        bench.lines.append("| " + " | ".join(map(str, cells)) + " |")
    bench.lines.append("")


def band(ax: Any, i: int, x: Any, runs: Any, label: str) -> None:
    """The mean of runs (seeds, points), and a band from the lowest to the highest."""
    runs = np.where(np.isfinite(runs), runs, np.nan)
    kept = np.isfinite(runs).all(axis=0)
    x, runs, style = np.asarray(x)[kept], runs[:, kept], line_style(i)
    few = len(x) < 12
    ax.plot(x, runs.mean(axis=0), marker="o" if few else None, markersize=4, label=label, **style)
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=style["color"], alpha=0.2, lw=0)


def figure(columns: int) -> tuple[Any, Any]:
    fig, axes = plt.subplots(1, columns, figsize=(5.4 * columns, 4.2), layout="constrained")
    for ax in np.ravel(axes):
        ax.grid(visible=True, alpha=0.3)
    return fig, axes


def save(bench: Bench, fig: Any, name: str) -> None:
    for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
        if axis.get_scale() == "log":  # plain numbers
            low, high = axis.get_view_interval()
            few = (1.0, 2.0, 5.0) if high < 300.0 * low else (1.0,)
            axis.set_major_locator(LogLocator(subs=few))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
    if not bench.quick:
        fig.savefig(DOCS / f"network-noise-{name}.png", dpi=90)
    plt.close(fig)


# Experiments.


def generalisation(bench: Bench) -> None:
    """Small against large batches: equal epochs at one rate and at the best rate, equal steps."""
    epochs, rates = bench.epochs(20), 0.02 * 2.0 ** np.arange(6)
    points, rows = points_of(epochs, 8), []
    fig, axes = figure(3)
    for i, m in enumerate(BATCHES):
        best, kept, errors = 0.0, np.full((1, 2, len(points)), np.inf), [0.0]
        for rate in rates:
            models = [network(seed, m, rate) for seed in range(bench.seeds)]
            runs = np.array([curve(model, bench, points) for model in models])
            if runs[:, 0, -1].mean() < kept[:, 0, -1].mean():
                best, kept = rate, runs
                errors = [100.0 * (1.0 - model.score(*bench.test)) for model in models]
        label = f"batches of {m}, rate {best:g}"
        steps = np.array(points) * -(-len(bench.train[1]) // m)
        for ax, x, j in zip(axes, (points, points, steps), (0, 1, 1), strict=True):
            band(ax, i, x, kept[:, j], label)
        ends = (spread(kept[:, j, -1]) for j in (0, 1))
        rows.append((m, f"{best:g}", *ends, spread(errors, 2)))
    bench.lines.append(
        f"Equal epochs ({epochs}), each batch size at the rate of the least train loss:\n"
    )
    head = ("batch", "rate", "train loss", "test loss", "test errors, %")
    table(bench, head, rows)
    titles = "train loss, equal epochs", "test loss, equal epochs", "test loss, equal steps"
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xscale="log", xlabel="steps" if "steps" in title else "epochs")
    axes[0].legend()
    save(bench, fig, "generalisation")


def minima(bench: Bench) -> None:
    """Equal train loss: what the batch size leaves of test loss and sharpness."""
    target, cap = 0.25, bench.epochs(300)
    rows, fig_axes = [], figure(3)
    fig, axes = fig_axes
    curvature, tests, noise_scales = [], [], []
    sizes = BATCHES[:4]
    for m in sizes:
        found = []
        for seed in range(bench.seeds):
            model, done = network(seed, m, 0.08), 0
            while done < cap:
                more = 1 if m < 128 else 2 if m < 512 else 6
                model.set_params(max_iter=more).fit(*bench.train, resume=done > 0)
                done += more
                if losses(model, bench.train)[0] <= target:
                    break
            sharp = sharpness(model, *bench.train, sample=SHARPNESS_ROWS, random_state=0).value
            noise = gradient_noise(model, *bench.train).total_noise_scale
            ends = *losses(model, bench.train)[:1], *losses(model, bench.test)
            found.append((done, *ends, sharp, noise))
        ends = np.array(found)
        curvature.append(ends[:, 4])
        tests.append(ends[:, 2])
        noise_scales.append(ends[:, 5])
        rows.append(
            (
                m,
                spread(ends[:, 0], 0),
                *(spread(ends[:, j]) for j in (1, 2)),
                spread(ends[:, 3], 2),
                spread(ends[:, 4], 1),
                spread(ends[:, 5], 0),
            )
        )
    bench.lines.append(f"One rate, 0.08, until the train loss is {target}:\n")
    head = ("batch", "epochs", "train loss", "test loss", "test errors, %", "sharpness")
    table(bench, (*head, "noise scale, rows"), rows)
    for ax, values, title in zip(
        axes,
        (tests, curvature, noise_scales),
        ("test loss", "sharpness", "noise scale"),
        strict=True,
    ):
        band(ax, 0, sizes, np.transpose(values), "one rate")
        ax.set(title=f"{title} at train loss {target}", xscale="log", xlabel="batch size")
    axes[1].axhline(2 / 0.08, linestyle=":", color="black", label="2 / rate")
    axes[1].legend()
    axes[2].set(yscale="log", ylabel="rows")
    save(bench, fig, "minima")


def edge(bench: Bench) -> None:
    """Full batches of 1,000 rows: the sharpness on the way, and where it settles."""
    fig, axes = figure(2)
    rows, part = [], (bench.train[0][:1000], bench.train[1][:1000])
    epochs = bench.epochs(400)
    points = points_of(epochs, 10)
    for i, rate in enumerate((0.05, 0.1, 0.2)):
        runs, curves = [], []
        for seed in range(bench.seeds):
            model, done, values = network(seed, len(part[1]), rate), 0, []
            for point in points:
                model.set_params(max_iter=point - done).fit(*part, resume=done > 0)
                done = point
                values.append(sharpness(model, *part, random_state=0).value)
            runs.append(values)
            curves.append(model.history_["loss"])
        runs = np.array(runs)
        band(axes[0], i, points, runs, f"rate {rate:g}")
        axes[0].axhline(2.0 / rate, **(line_style(i) | {"linestyle": ":"}), linewidth=1)
        band(axes[1], i, np.arange(1, epochs + 1), np.array(curves), f"rate {rate:g}")
        ends = (spread(values, 1) for values in (runs[:, 0], runs.max(axis=1), runs[:, -1]))
        rows.append((f"{rate:g}", f"{2 / rate:.0f}", *ends))
    bench.lines.append(f"Full batches of 1,000 rows, {epochs} steps:\n")
    table(bench, ("rate", "2 / rate", "sharpness after 1 step", "largest", "at the end"), rows)
    axes[0].set(title="sharpness; dotted: 2 / rate", xlabel="steps", xscale="log", yscale="log")
    axes[1].set(title="train loss", xlabel="steps", xscale="log")
    axes[0].legend()
    save(bench, fig, "edge")


def warm_up(bench: Bench) -> None:
    """A high rate at once, and reached in steps: losses and divergence."""
    fig, axes = figure(2)
    rows = []
    epochs = bench.epochs(4)
    rates = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    m = 128
    steps_of_epoch = -(-len(bench.train[1]) // m)
    for i, warm in enumerate((0, steps_of_epoch // 2, 2 * steps_of_epoch)):
        ends = []
        for rate in rates:
            found = []
            for seed in range(bench.seeds):
                model = trained(
                    network(seed, m, rate, warmup_steps=warm, momentum=0.5), bench.train, epochs
                )
                pair = (np.inf, np.inf) if model is None else losses(model, bench.test)
                found.append((np.inf if model is None else losses(model, bench.train)[0], pair[0]))
            ends.append(found)
        ends = np.array(ends)  # (rates, seeds, 2)
        label = "no warm-up" if warm == 0 else f"warm-up of {warm} steps"
        for ax, j in zip(axes, (0, 1), strict=True):
            band(ax, i, rates, ends[:, :, j].T, label)
        rows.append((label, *(spread(part[:, 0], 2) for part in ends)))
    bench.lines.append(
        f"Train loss after {epochs} epochs, batches of {m}, momentum 0.5, by rate:\n"
    )
    table(bench, ("", *(f"{rate:g}" for rate in rates)), rows)
    for ax, title in zip(axes, ("train loss", "test loss"), strict=True):
        ax.set(title=f"{title} after {epochs} epochs", xlabel="learning rate", ylim=(0.3, 2.5))
    axes[0].legend()
    save(bench, fig, "warm-up")


def scaling(bench: Bench) -> None:
    """Rates in proportion to the batch size, against rates in proportion to its root, and one."""
    fig, axes = figure(2)
    epochs, unit = bench.epochs(6), 0.02 / 8
    sizes = (8, 32, 64, 128, 256, 512, 1024)
    rules: dict[str, Callable[[int], float]] = {
        "in proportion to m": lambda m: unit * m,
        "to the root of m": lambda m: unit * 8 * (m / 8) ** 0.5,
        "the same": lambda m: unit * 8,
    }
    rows = []
    for i, (label, rule) in enumerate(rules.items()):
        ends = []
        for m in sizes:
            found = []
            for seed in range(bench.seeds):
                model = trained(network(seed, m, rule(m)), bench.train, epochs)
                pair = (np.inf, np.inf)
                if model is not None:
                    pair = tuple(losses(model, part)[0] for part in (bench.train, bench.test))
                found.append(pair)
            ends.append(found)
        ends = np.array(ends)
        for ax, j in zip(axes, (0, 1), strict=True):
            band(ax, i, sizes, ends[:, :, j].T, f"rate {label}")
        rows.append((label, *(spread(part[:, 0]) for part in ends)))
    bench.lines.append(
        f"Train loss after {epochs} epochs, by batch size m; the rate at 8 is 0.02:\n"
    )
    table(bench, ("rate", *map(str, sizes)), rows)
    for ax, title in zip(axes, ("train loss", "test loss"), strict=True):
        ax.set(title=f"{title} after {epochs} epochs", xscale="log", xlabel="batch size m")
        ax.set(yscale="log")
    axes[0].legend()
    save(bench, fig, "scaling")


def momentum(bench: Bench) -> None:
    """Momentum at equal rate / (1 - momentum), with small and with large batches."""
    fig, axes = figure(2)
    betas, rows = (0.0, 0.5, 0.9, 0.99), []
    for ax, m, effective, wanted in ((axes[0], 32, 0.08, 6), (axes[1], 2048, 1.6, 24)):
        epochs = bench.epochs(wanted)
        points = points_of(epochs, 7)
        ends = []
        for i, beta in enumerate(betas):
            options = {"momentum": beta}
            runs = [
                curve(network(seed, m, effective * (1 - beta), **options), bench, points)
                for seed in range(bench.seeds)
            ]
            runs = np.array(runs)
            band(ax, i, points, runs[:, 0], f"momentum {beta:g}")
            ends.append(runs[:, :, -1])
        for j, part in enumerate(("train", "test")):
            label = f"batches of {m}, {epochs} epochs, {part} loss"
            rows.append((label, *(spread(end[:, j]) for end in ends)))
        ax.set(title=f"batches of {m}, rate / (1 - momentum) = {effective}", xlabel="epochs")
        ax.set(ylabel="train loss", xscale="log", yscale="log")
    table(bench, ("momentum", *(f"{beta:g}" for beta in betas)), rows)
    axes[0].legend()
    save(bench, fig, "momentum")


def saddle(bench: Bench) -> None:
    """A start near zero weights: steps and epochs until the loss has left the plateau."""
    fig, axes = figure(2)
    X, y = bench.digits
    rate, rows, most, every = 0.1, [], 100 if bench.quick else 600, 4
    options = {"activation": "tanh", "hidden_layer_sizes": (32,), "alpha": 0.0}
    for scale in (1e-2, 1e-4, 1e-6):
        for i, m in enumerate((1, 4, 16, 64, len(y))):
            curves, left = [], []
            for seed in range(2 * bench.seeds):
                problem = network_problem_of(network(seed, m, rate, **options), X, y, fitted=False)
                theta = scale * np.random.default_rng(seed).standard_normal(len(problem.theta))
                steps = Steps(replace(problem, theta=theta))
                values = [problem.loss(steps.model())]
                for t in range(every, most + 1, every):
                    while steps.state.t < t:
                        of_epoch = -(-(len(y) - steps.state.row) // m)
                        steps.advance(min(t - steps.state.t, of_epoch))
                    values.append(problem.loss(steps.model()))
                below = np.flatnonzero(np.array(values) < 0.5 * np.log(10.0))
                left.append(every * below[0] if len(below) else np.inf)
                curves.append(values)
            share = [part * m / len(y) for part in left]
            label = "full batch" if m == len(y) else f"batches of {m}"
            never = f"not in {most} steps"
            found = spread(left, 0, never), spread(share, 2, "not")
            rows.append((f"{scale:g}", label, *found))
            if scale == 1e-4:
                x = every * np.arange(len(curves[0]))
                band(axes[0], i, x, np.array(curves), label)
                band(axes[1], i, x * m / len(y), np.array(curves), label)
    bench.lines.append(f"Digits, tanh, rate {rate:g}: until the loss is half that of the start:\n")
    table(bench, ("scale of the first weights", "batch", "steps", "epochs"), rows)
    axes[0].set(title="loss, start at weights of 1e-4", xlabel="steps")
    axes[1].set(title="the same against epochs", xlabel="epochs", xscale="log")
    axes[0].legend()
    save(bench, fig, "saddle")


def into_page(name: str, lines: Sequence[str]) -> None:
    """Put the tables of an experiment between its marks in the page."""
    page = DOCS / "network-noise.md"
    before, rest = page.read_text().split(f"<!-- {name} -->\n")
    _, after = rest.split("<!-- end -->\n", 1)
    tables = "\n".join(lines).strip()
    page.write_text(f"{before}<!-- {name} -->\n{tables}\n<!-- end -->\n{after}")


EXPERIMENTS: dict[str, Callable[[Bench], None]] = {
    "generalisation": generalisation,
    "minima": minima,
    "edge": edge,
    "warm-up": warm_up,
    "scaling": scaling,
    "momentum": momentum,
    "saddle": saddle,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What noise does to networks.")
    parser.add_argument("--only", choices=EXPERIMENTS, help="one experiment")
    parser.add_argument("--quick", action="store_true", help="few epochs, no figures")
    options = parser.parse_args(arguments)
    fashion_table = fashion()
    X = np.ascontiguousarray(fashion_table.X)
    digits, classes = load_digits(return_X_y=True)
    bench = Bench(
        (X[:6000], fashion_table.y[:6000]),
        (X[60_000:], fashion_table.y[60_000:]),
        (np.ascontiguousarray((digits - digits.mean()) / digits.std()), classes),
        quick=options.quick,
        seeds=1 if options.quick else SEEDS,
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, experiment in EXPERIMENTS.items():
        if options.only in (None, name):
            start = time.process_time()
            experiment(bench)
            seconds = time.process_time() - start
            print(
                f"### {name}, {seconds:.0f} s of processor time\n\n" + "\n".join(bench.lines),
                flush=True,
            )
            if not bench.quick:
                into_page(name, bench.lines)
            bench.lines.clear()


if __name__ == "__main__":
    main()
