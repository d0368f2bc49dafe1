"""The page of the explorer: figures by Bokeh, moved by ``explore.js``, in one HTML document.

What all pages have is here: choices, playback, charts, packing. ``plane_page`` and ``network_page``
have the figure at the left, its marks and its script.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from .records import AnyRecord, AnyRun

__all__ = [
    "Kind",
    "axis_range",
    "base64_of",
    "draw_figure",
    "draw_lines",
    "float32_of",
    "line_names",
    "render",
]

COLOURS = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#444444"),
    "dark": ("#56b4e9", "#ff9248", "#3fd6a4", "#e6a3c8", "#f0e442", "#8fbfff", "#cccccc"),
}
"""Colours of the lines in ``line_names``, on a light and on a dark page."""

DASHES: tuple[list[int], ...] = ([], [9, 4], [10, 4, 2, 4], [2, 4], [6, 2], [14, 4], [1, 3])
"""Dashes of the same lines: lengths of strokes and gaps in pixels."""

CHARTS = {
    "loss-steps": ("steps", "linear", "log"),
    "loss-examples": ("examples seen", "log", "log"),
    "rate-chart": ("steps", "linear", "linear"),
    "norm": ("steps", "linear", "log"),
}
"""Figures at the right: title of x, scales of x and y."""

NAMES = {"invscaling": "1 / √t", "one_cycle": "one cycle"}
"""Names of schedules on the page, where they differ from the argument."""


@dataclass(frozen=True)
class Kind:
    """What a page has that others have not.

    Attributes
    ----------
    script : str
        File that defines ``explorerKind``, which ``explore.js`` calls.
    main : str
        Name of the figure at the left.
    draw : callable
        Makes that figure.
    texts : dict of str to str
        HTML of places of ``explore.html``.
    rates : list of str
        Labels of the learning rates.
    loss_title : str
        Title of the losses, from which ``minimum`` is subtracted.
    minimum : float
    norm_lines : int
        Lines of the chart of gradient norms.
    data : dict
        What the script needs beside the runs.
    packed : list of dict
        What it needs of each run.
    """

    script: str
    main: str
    draw: Callable[[], Any]
    texts: dict[str, str]
    rates: list[str]
    loss_title: str
    minimum: float
    norm_lines: int
    data: dict[str, Any]
    packed: list[dict[str, Any]]


def render(record: AnyRecord, runs: Sequence[AnyRun], kind: Kind) -> str:
    """The page of a record, as one HTML document.

    Raises
    ------
    ImportError
        If bokeh is not installed.
    """
    try:
        from bokeh.core.types import ID
        from bokeh.embed import json_item
        from bokeh.resources import Resources
    except ImportError as error:
        raise ImportError("the page of explore needs bokeh: pip install 'fastsgd[plot]'") from error
    figures = {kind.main: kind.draw()} | {name: _chart(record, kind, name) for name in CHARTS}
    items = {name: json_item(figure, ID(name)) for name, figure in figures.items()}
    here = resources.files(__package__)
    names = ("explore.html", "explore.css", kind.script, "explore.js")
    page, css, *scripts = ((here / name).read_text("utf-8") for name in names)
    choices = _choices(record) | {"rates": kind.rates}
    data = {
        "steps": record.steps,
        "choice_counts": [len(part) for part in choices.values()],
        "momenta": list(record.momenta),
        "main": kind.main,
        "view": record.view,
        "minimum": kind.minimum,
        "n_rows": len(record.X),
        "colours": COLOURS,
        **kind.data,
        "runs": [
            _packed(run, kind.minimum) | own for run, own in zip(runs, kind.packed, strict=True)
        ],
    }
    return Template(page).substitute(
        title=html.escape(record.title),
        css=css,
        js="\n".join(scripts),
        bokeh=Resources(mode="inline", components=["bokeh"]).render_js(),
        figures=_script(items),
        data=_script(data),
        **{name: _options(labels) for name, labels in choices.items()},
        runs=_checkboxes(record),
        steps=record.steps,
        main=kind.main,
        **kind.texts,
    )


# ------------------------------------------------------------------ controls


def _choices(record: AnyRecord) -> dict[str, list[str]]:
    """Labels of the values of the four parameters to choose from."""
    n = len(record.X)
    special = {1: "1 (single samples)", n: f"{n:,} (full batch)"}
    return {
        "batches": [special.get(m, f"{m:,}") for m in record.batch_sizes],
        "rates": [f"{rate:.3g}" for rate in record.rates],
        "momenta": ["none" if beta == 0.0 else f"{beta:g}" for beta in record.momenta],
        "schedules": [NAMES.get(name, name) for name in record.schedules],
    }


def _options(labels: list[str]) -> str:
    return "".join(f'<option value="{i}">{html.escape(x)}</option>' for i, x in enumerate(labels))


def line_names(record: AnyRecord) -> list[str]:
    """Names of runs shown together: one for each batch size, and one with another momentum."""
    n = len(record.X)
    special = {1: "single samples", n: "full batch"}
    names = [special.get(m, f"mini-batch of {m:,}") for m in record.batch_sizes]
    return names + ["other momentum"] * (len(record.momenta) > 1)


def _checkboxes(record: AnyRecord) -> str:
    return "".join(
        f'<label><input type="checkbox" checked data-slot="{i}">'
        f'<svg class="swatch" width="30" height="6" aria-hidden="true"><line x2="30" y1="3" y2="3" '
        f'stroke-dasharray="{" ".join(map(str, DASHES[i % len(DASHES)]))}"/></svg>'
        f'<span class="name">{name}</span></label>'
        for i, name in enumerate(line_names(record))
    )


def _script(value: Any) -> str:
    """JSON that can be the content of a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


# ------------------------------------------------------------------ data and figures


def _packed(run: AnyRun, minimum: float) -> dict[str, Any]:
    """What every page needs of a run."""
    return {
        "examples": float32_of(run.examples),
        "learning_rate": float32_of(run.learning_rate),
        "excess": float32_of(run.loss - minimum),
        "points": len(run.loss),
        "diverged": run.diverged,
    }


def float32_of(array: Any) -> str:
    """An array as float32 in base64."""
    return base64_of(np.asarray(array, dtype="<f4"))


def base64_of(array: np.ndarray) -> str:
    """The bytes of an array in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def draw_figure(name: str, *, moves: bool = False, **options: Any) -> Any:
    """An empty figure; one that ``moves`` is panned and zoomed."""
    from bokeh.models import InlineStyleSheet
    from bokeh.plotting import figure

    sheet = InlineStyleSheet(css=f":host {{ touch-action: {'none' if moves else 'auto'}; }}")
    if moves:
        options |= {"tools": "pan,wheel_zoom", "active_scroll": "wheel_zoom"}
    else:
        options |= {"tools": ""}
    drawn = figure(
        name=name, sizing_mode="stretch_both", toolbar_location=None, stylesheets=[sheet], **options
    )
    drawn.min_border, drawn.border_fill_color = 4, None
    return drawn


def draw_lines(drawn: Any, count: int, *, dashed: bool, dot: int, **options: Any) -> None:
    """Lines without data, each with a dot for where the step is; the first is drawn last."""
    from bokeh.models import ColumnDataSource

    for i in range(count - 1, -1, -1):
        source = ColumnDataSource({"x": [], "y": []}, name=f"path{i}")
        dash = DASHES[i % len(DASHES)] if dashed else []
        drawn.line("x", "y", source=source, name=f"line{i}", line_dash=dash, **options)
        source = ColumnDataSource({"x": [], "y": []}, name=f"head{i}")
        drawn.scatter("x", "y", source=source, name=f"dot{i}", size=dot)


def axis_range(low: float, high: float) -> Any:
    """A range of an axis, which scripts change."""
    from bokeh.models import Range1d

    return Range1d(start=low, end=high)


def _chart(record: AnyRecord, kind: Kind, name: str) -> Any:
    from bokeh.models import FixedTicker
    from bokeh.models.annotations import Span

    x, x_scale, y_scale = CHARTS[name]
    titles = {"rate-chart": "learning rate", "norm": "gradient norm"}
    lines = {"rate-chart": 1, "norm": kind.norm_lines}
    drawn = draw_figure(
        name,
        x_range=axis_range(0.0, float(record.steps)),
        y_range=axis_range(0.1, 1.0),
        x_axis_type=x_scale,
        y_axis_type=y_scale,
        x_axis_label=x,
        y_axis_label=titles.get(name, kind.loss_title),
    )
    count = lines.get(name, len(line_names(record)))
    for axis, scale in ((drawn.xaxis, x_scale), (drawn.yaxis, y_scale)):
        if scale == "log":  # the script sets ticks, for axes of less than a power of ten too
            axis.ticker = FixedTicker(ticks=[])
    draw_lines(drawn, count, dashed=name.startswith("loss"), dot=7)
    if x == "steps":
        drawn.add_layout(Span(location=0, dimension="height", name="now", line_width=1))
    return drawn
