"""The page of the explorer: figures by Bokeh, moved by ``explore.js``, in one HTML document."""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from .records import Record, RecordedRun

__all__ = ["render"]

COLOURS = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#444444"),
    "dark": ("#56b4e9", "#ff9248", "#3fd6a4", "#e6a3c8", "#f0e442", "#8fbfff", "#cccccc"),
}
"""Colours of the lines in ``_line_names``, on a light and on a dark page."""

DASHES: tuple[list[int], ...] = ([], [9, 4], [10, 4, 2, 4], [2, 4], [6, 2], [14, 4], [1, 3])
"""Dashes of the same lines: lengths of strokes and gaps in pixels."""

CONTOURS = 16
"""Contours of the landscape; their levels grow with the square, as those of a quadratic."""

CHARTS = {
    "loss-steps": ("steps", "loss - minimum", "linear", "log"),
    "loss-examples": ("examples seen", "loss - minimum", "log", "log"),
    "rate-chart": ("steps", "learning rate", "linear", "linear"),
    "norm": ("steps", "gradient norm", "linear", "log"),
}
"""Figures at the right: titles of x and y, then scales of x and y."""

NAMES = {"invscaling": "1 / √t", "one_cycle": "one cycle"}
"""Names of schedules on the page, where they differ from the argument."""


def render(record: Record) -> str:
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
    figures = {"landscape": _landscape(record)} | {name: _chart(record, name) for name in CHARTS}
    items = {name: json_item(figure, ID(name)) for name, figure in figures.items()}
    here = resources.files(__package__)
    parts = {name: (here / f"explore.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    return Template(parts["html"]).substitute(
        title=html.escape(record.title),
        css=parts["css"],
        js=parts["js"],
        bokeh=Resources(mode="inline", components=["bokeh"]).render_js(),
        figures=_script(items),
        data=_script(_data(record)),
        **{name: _options(labels) for name, labels in _choices(record).items()},
        runs=_checkboxes(record),
        steps=record.steps,
        first=html.escape(record.names[0]),
        second=html.escape(record.names[1]),
    )


# ------------------------------------------------------------------ controls


def _choices(record: Record) -> dict[str, list[str]]:
    """Labels of the values of the four parameters to choose from."""
    n = len(record.X)
    special = {1: "1 (single samples)", n: f"{n:,} (full batch)"}
    return {
        "batches": [special.get(m, f"{m:,}") for m in record.batch_sizes],
        "rates": [f"{rate:.3g} ({rate * record.curvature:.2g} / L)" for rate in record.rates],
        "momenta": ["none" if beta == 0.0 else f"{beta:g}" for beta in record.momenta],
        "schedules": [NAMES.get(name, name) for name in record.schedules],
    }


def _options(labels: list[str]) -> str:
    return "".join(f'<option value="{i}">{html.escape(x)}</option>' for i, x in enumerate(labels))


def _line_names(record: Record) -> list[str]:
    """Names of runs shown together: one for each batch size, and one with another momentum."""
    n = len(record.X)
    special = {1: "single samples", n: "full batch"}
    names = [special.get(m, f"mini-batch of {m:,}") for m in record.batch_sizes]
    return names + ["other momentum"] * (len(record.momenta) > 1)


def _checkboxes(record: Record) -> str:
    return "".join(
        f'<label><input type="checkbox" checked data-slot="{i}">'
        f'<svg class="swatch" width="30" height="6" aria-hidden="true"><line x2="30" y1="3" y2="3" '
        f'stroke-dasharray="{" ".join(map(str, DASHES[i % len(DASHES)]))}"/></svg>'
        f'<span class="name">{name}</span></label>'
        for i, name in enumerate(_line_names(record))
    )


def _script(value: Any) -> str:
    """JSON that can be the content of a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


# ------------------------------------------------------------------ data and figures


def _data(record: Record) -> dict[str, Any]:
    wide, high = (high - low for low, high in record.view)
    return {
        "steps": record.steps,
        "choice_counts": [len(part) for part in _choices(record).values()],
        "momenta": list(record.momenta),
        "view": record.view,
        "equal_units": bool(0.25 <= wide / high <= 4.0),
        "start": record.start.tolist(),
        "minimizer": record.minimizer.tolist(),
        "minimum": record.minimum,
        "n_rows": len(record.X),
        "colours": COLOURS,
        "runs": [_packed(run, record.minimum) for run in record.runs],
    }


def _packed(run: RecordedRun, minimum: float) -> dict[str, Any]:
    """Arrays of a run in base64, as float32.

    Gradients of other batches are int8: fractions of the largest coordinate of each step.
    """
    largest = np.abs(run.other_gradients).max(axis=(1, 2), initial=0.0)
    unit = np.where(largest > 0.0, largest, 1.0)[:, None, None]
    numbers = {
        "weights": run.weights,
        "examples": run.examples,
        "learning_rate": run.learning_rate,
        "excess": run.loss - minimum,
        "batch_gradient": run.batch_gradient,
        "full_gradient": run.full_gradient,
        "other_largest": largest,
    }
    packed: dict[str, Any] = {
        name: _base64(np.asarray(value, dtype="<f4")) for name, value in numbers.items()
    }
    packed["other_gradients"] = _base64(
        np.round(127.0 * run.other_gradients / unit).astype(np.int8)
    )
    packed |= {
        "other_count": run.other_gradients.shape[1],
        "points": len(run.loss),
        "diverged": run.diverged,
    }
    return packed


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _figure(name: str, **options: Any) -> Any:
    from bokeh.models import InlineStyleSheet
    from bokeh.plotting import figure

    touch = "none" if name == "landscape" else "auto"
    sheet = InlineStyleSheet(css=f":host {{ touch-action: {touch}; }}")
    drawn = figure(
        name=name, sizing_mode="stretch_both", toolbar_location=None, stylesheets=[sheet], **options
    )
    drawn.min_border, drawn.border_fill_color = 4, None
    return drawn


def _range(low: float, high: float) -> Any:
    from bokeh.models import Range1d

    return Range1d(start=low, end=high)


def _landscape(record: Record) -> Any:
    from bokeh.models import ColumnDataSource
    from bokeh.models.annotations import Arrow, NormalHead

    drawn = _figure(
        "landscape",
        x_range=_range(*record.view[0]),
        y_range=_range(*record.view[1]),
        x_axis_label=record.names[0],
        y_axis_label=record.names[1],
        tools="pan,wheel_zoom",
        active_scroll="wheel_zoom",
    )
    finite = record.landscape[np.isfinite(record.landscape)]
    values = np.clip(record.landscape, finite.min(), finite.max())
    low, top = min(record.minimum, finite.min()), np.quantile(finite, 0.95)
    levels = low + np.linspace(0.0, 1.0, CONTOURS + 1) ** 2 * (top - low)
    levels[-1] = max(levels[-1], finite.max())
    shades = [f"#6f8fb0{int(8 + 150 * i / (CONTOURS - 1)):02x}" for i in range(CONTOURS)]
    drawn.contour(
        record.first,
        record.second,
        values,
        levels,
        fill_color=shades,
        line_color="#80808066",
        line_width=1,
    )
    for i in range(len(_line_names(record)) - 1, -1, -1):
        source = ColumnDataSource({"x": [], "y": []}, name=f"path{i}")
        dash = DASHES[i % len(DASHES)]
        drawn.line("x", "y", source=source, name=f"line{i}", line_dash=dash, line_join="round")
        source = ColumnDataSource({"x": [], "y": []}, name=f"head{i}")
        drawn.scatter("x", "y", source=source, name=f"dot{i}", size=9)
    for name, marker, size, point in (
        ("start", "circle", 9, record.start),
        ("minimizer", "star", 16, record.minimizer),
    ):
        drawn.scatter(
            [point[0]],
            [point[1]],
            marker=marker,
            size=size,
            name=name,
            line_width=1.5,
            fill_alpha=0,
        )
    cloud = ColumnDataSource({"x": [], "y": []}, name="cloud")
    drawn.scatter("x", "y", source=cloud, name="clouds", size=4, line_color=None, fill_alpha=0.55)
    empty: dict[str, list[float]] = {"x0": [], "y0": [], "x1": [], "y1": []}
    for name in ("full_gradient", "batch_gradient"):
        arrow: Any = Arrow(
            end=NormalHead(size=11, name=f"{name}-tip"),
            source=ColumnDataSource(empty, name=name),
            x_start="x0",
            y_start="y0",
            x_end="x1",
            y_end="y1",
            name=f"{name}-arrow",
        )
        arrow.line_width = 3
        drawn.add_layout(arrow)
    return drawn


def _chart(record: Record, name: str) -> Any:
    from bokeh.models import ColumnDataSource
    from bokeh.models.annotations import Span

    x, y, x_scale, y_scale = CHARTS[name]
    drawn = _figure(
        name,
        x_range=_range(0.0, float(record.steps)),
        y_range=_range(0.1, 1.0),
        x_axis_type=x_scale,
        y_axis_type=y_scale,
        x_axis_label=x,
        y_axis_label=y,
        tools="",
    )
    lines = 2 if name == "norm" else 1 if name == "rate-chart" else len(_line_names(record))
    for i in range(lines - 1, -1, -1):
        source = ColumnDataSource({"x": [], "y": []}, name=f"path{i}")
        dash = DASHES[i % len(DASHES)] if name.startswith("loss") else []
        drawn.line("x", "y", source=source, name=f"line{i}", line_dash=dash)
        source = ColumnDataSource({"x": [], "y": []}, name=f"head{i}")
        drawn.scatter("x", "y", source=source, name=f"dot{i}", size=7)
    if x == "steps":
        drawn.add_layout(Span(location=0, dimension="height", name="now", line_width=1))
    return drawn
