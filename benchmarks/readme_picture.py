"""The picture of the README: loss against seconds of two data sets of docs/defaults.json.

    python benchmarks/readme_picture.py

It measures nothing (``benchmarks/defaults.py`` does), and writes docs/loss-light.svg and
docs/loss-dark.svg, which GitHub and the site show on a light and on a dark page.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import matplotlib
from defaults_page import STORE
from plot import CEILING, FLOOR, frontier
from results import DOCS

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

SETS = {
    "flights 261,876 x 165, CSR": "flights: 261,876 x 165, sparse",
    "normal 200,000 x 100": "generated: 200,000 x 100, dense",
}
"""Of docs/defaults.json, with their titles: one of real data, and one of generated."""

PAGES = {
    "light": {"text": "#1f2328", "grid": "#d0d7de", "black": "#1f2328", "blue": "#0072b2"},
    "dark": {"text": "#e6edf3", "grid": "#3d444d", "black": "#e6edf3", "blue": "#4aa8e0"},
}
"""Colours that a light page and a dark page take, by name. The background is transparent."""

STYLES = {
    "fastsgd": ("#e0620d", "-", "o"),
    "scikit-learn lbfgs": ("blue", ":", "^"),
    "scikit-learn saga": ("blue", "--", "s"),
    "scikit-learn SGD": ("blue", "-", "o"),
    "SnapML": ("#cc79a7", "-", "o"),
    "Cyanure": ("#009e73", "-", "o"),
    "liblinear": ("black", "-", "o"),
    "Vowpal Wabbit": ("#e69f00", "-", "o"),
}
"""Colour (or its name), line and marker of each solver, in the order of the legend."""


def panel(ax: Axes, solvers: dict[str, Any], colours: dict[str, str]) -> None:
    """The curves of one data set."""
    for name, (colour, line, marker) in STYLES.items():
        ours = name == "fastsgd"
        ax.plot(
            *zip(*frontier(solvers[name]), strict=True),
            label=name,
            color=colours.get(colour, colour),
            linestyle=line,
            marker=marker,
            markersize=6 if ours else 4,
            linewidth=3 if ours else 1.4,
            zorder=3 if ours else 2,
        )
    ax.set(xscale="log", yscale="log", ylim=(0.8 * FLOOR, CEILING), xlabel="seconds (one core)")
    ax.set_yticks([1, 1e-1, 1e-2, 1e-3, 1e-4], ["100 %", "10 %", "1 %", "0.1 %", "0.01 %"])
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(0.009, 3)
    ax.grid(True, color=colours["grid"], linewidth=0.6)
    ax.tick_params(color=colours["grid"])
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(colours["grid"])


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    sets = json.loads(STORE.read_text(encoding="utf-8"))["sets"]
    for page, colours in PAGES.items():
        text = colours["text"]
        style = {"text.color": text, "axes.labelcolor": text, "xtick.labelcolor": text}
        style |= {"ytick.labelcolor": text, "svg.hashsalt": "fastsgd", "font.size": 11}
        style |= {"axes.titlesize": 12}
        with plt.rc_context(style):
            fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.4), sharey=True, layout="constrained")
            for ax, (name, title) in zip(axes, SETS.items(), strict=True):
                panel(ax, sets[name]["solvers"], colours)
                ax.set_title(title)
            axes[0].set_ylabel("loss above its minimum")
            handles, labels = axes[0].get_legend_handles_labels()
            fig.legend(handles, labels, loc="outside right center", frameon=False, handlelength=3)
            fig.savefig(DOCS / f"loss-{page}.svg", transparent=True, metadata={"Date": None})
            plt.close(fig)


if __name__ == "__main__":
    main()
