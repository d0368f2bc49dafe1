"""The plots of relative suboptimality against seconds, a panel a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

OURS = ("fastsgd", "fastsgd, averaged", "fastsgd, cosine")
COLOURS = {  # Okabe and Ito's, which colour-blind readers tell apart; a family shares one
    "fastsgd": "#d55e00",
    "scikit-learn-intelex": "#5d3a9b",  # and four more, of solvers that few panels have
    "skglm": "#f0e442",
    "celer": "#8b5a2b",
    "glum": "#999999",
    "scikit-learn": "#0072b2",
    "liblinear": "#000000",
    "SnapML": "#cc79a7",
    "Cyanure": "#009e73",
    "Vowpal Wabbit": "#e69f00",
    "PyTorch": "#56b4e9",
    "xgboost": "#117733",
}
SHAPES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (5, 1, 1, 1, 1, 1)), "v"))
SHAPES += (((0, (1, 1)), "P"), ((0, (4, 2)), "X"))
CEILING, FLOOR = 2.0, 1e-4
UNTOUCHED = {"marker": "*", "markersize": 15, "linestyle": "none", "color": COLOURS["fastsgd"]}
UNTOUCHED |= {"markeredgecolor": "black", "zorder": 4, "clip_on": False}


def styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """Colour by family, dash and marker by member."""
    found: dict[str, dict[str, Any]] = {}
    members: dict[str, int] = {}
    for name in names:
        family = next(family for family in COLOURS if name.startswith(family))
        line, marker = SHAPES[members.setdefault(family, 0)]
        members[family] += 1
        ours = family == "fastsgd"
        found[name] = {
            "color": COLOURS[family],
            "linestyle": line,
            "marker": marker,
            "markersize": 5 if ours else 4,
            "linewidth": 2.2 if ours else 1.2,
            "zorder": 3 if ours else 2,
        }
    return found


def frontier(points: list[list[float]]) -> list[tuple[float, float]]:
    """Seconds and excess of the fits whose excess no fit of less time reached."""
    best, kept = CEILING, []
    for _, seconds, excess, *_ in sorted(points, key=lambda point: point[1]):
        if excess < best:
            best = excess
            kept.append((seconds, max(excess, FLOOR)))
    return kept


def draw(
    curves: dict[str, Any],
    path: Path,
    columns: int = 3,
    size: tuple[float, float] = (5.0, 4.6),
    targets: tuple[float, ...] = (1e-2, 1e-3),
) -> None:
    """All panels, of ``size`` inches each, and the legend beside the last.

    A panel may have, beside its peers' curves, a point (seconds, excess) "untouched".
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    names = list(dict.fromkeys(name for one in curves.values() for name in one["peers"]))
    style = styles(names)
    lines = -(-(len(curves) + 1) // columns)
    fig, axes = plt.subplots(
        lines,
        columns,
        figsize=(size[0] * columns, size[1] * lines),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, panel) in zip(axes.flat, curves.items(), strict=False):
        for name, points in panel["peers"].items():
            kept = frontier(points)
            if kept:
                ax.plot(*zip(*kept, strict=True), label=name, **style[name])
        if "untouched" in panel:
            seconds, excess = panel["untouched"]
            ax.plot(seconds, float(np.clip(excess, FLOOR, CEILING)), **UNTOUCHED)
        ax.set(xscale="log", yscale="log", ylim=(0.8 * FLOOR, CEILING))
        if np.divide(*ax.get_xlim()[::-1]) < 30.0:  # the default's labels of minor ticks overlap
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_title(title, fontsize=min(12.0, 2.7 * size[0]))
        ax.set_xlabel("seconds of the fit")
        for target in targets:
            ax.axhline(target, color="0.6", linewidth=0.8, zorder=1)
        ax.grid(True, color="0.92", linewidth=0.6)
    for ax in axes[:, 0]:
        ax.set_ylabel("(L - L*) / L*")
    for ax in list(axes.flat)[len(curves) :]:
        ax.axis("off")
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, **style[name]) for name in names]
    if any("untouched" in panel for panel in curves.values()):
        handles.insert(1, Line2D([], [], label="fastsgd, untouched", **UNTOUCHED))
    axes.flat[len(curves)].legend(handles=handles, loc="center", frameon=False, handlelength=4)
    fig.savefig(path, dpi=110)
    plt.close(fig)
