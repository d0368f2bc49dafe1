"""The page of two weights: the landscape of the objective, paths on it, and gradients."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from .page import (
    Kind,
    axis_range,
    base64_of,
    draw_figure,
    draw_lines,
    float32_of,
    line_names,
    render,
)
from .records import Record, RecordedRun

__all__ = ["render_plane"]

CONTOURS = 16
"""Contours of the landscape; their levels grow with the square, as those of a quadratic."""

SHADES = [f"#6f8fb0{int(8 + 150 * i / (CONTOURS - 1)):02x}" for i in range(CONTOURS)]
"""Colours between contours, from low to high: more and more opaque, over either theme."""

MARKS = """
        <label><input type="checkbox" id="arrows" checked>
        <span><span class="mark batch_gradient">➔</span> batch gradient,
        <span class="mark full_gradient">➔</span> full gradient (both drawn downhill)</span></label>
        <label><input type="checkbox" id="others" checked>
        <span class="mark others">●</span> other batches' gradients</label>
        <span><span class="mark">○</span> start <span class="mark">☆</span> least loss</span>
        <span>loss: low, {low:.3g}
        <span class="bar" style="background-image: linear-gradient(to right, {shades})"></span>
        high, {top:.3g} and more</span>"""

FOOTER = (
    "Every path is a run of fastsgd's solver, step by step. The thick one is the run chosen above; "
    "arrows and cloud are its own, drawn against the gradient, and those of one step share a "
    "scale. L bounds the curvature of the loss: at rates past 2 / L, full batches without momentum "
    "may diverge."
)


def render_plane(record: Record) -> str:
    """The page of a record, as one HTML document.

    Raises
    ------
    ImportError
        If bokeh is not installed.
    """
    first, second = map(html.escape, record.names)
    wide, high = (high - low for low, high in record.view)
    low, top = _levels(record)[[0, -2]]
    kind = Kind(
        script="plane.js",
        main="landscape",
        draw=lambda: _landscape(record),
        texts={
            "left_label": "Landscape of the loss and paths of the runs",
            "main_label": f"Contours of the loss over {first} and {second}, with the paths of "
            "the runs",
            "rate_title": "L bounds the curvature of the loss: beyond 2 / L, plain full batches "
            "may diverge",
            "norm_label": "Norm of the batch gradient and of the full gradient",
            "marks": MARKS.format(low=low, top=top, shades=", ".join(SHADES)),
            "footer": FOOTER,
        },
        rates=[f"{rate:.3g} ({rate * record.curvature:.2g} / L)" for rate in record.rates],
        loss_title="loss - minimum",
        minimum=record.minimum,
        norm_lines=2,
        data={
            "equal_units": bool(0.25 <= wide / high <= 4.0),
            "start": record.start.tolist(),
            "minimizer": record.minimizer.tolist(),
        },
        packed=[_packed(run) for run in record.runs],
    )
    return render(record, record.runs, kind)


def _packed(run: RecordedRun) -> dict[str, Any]:
    """Gradients of other batches are int8: fractions of the largest coordinate of each step."""
    largest = np.abs(run.other_gradients).max(axis=(1, 2), initial=0.0)
    unit = np.where(largest > 0.0, largest, 1.0)[:, None, None]
    return {
        "weights": float32_of(run.weights),
        "batch_gradient": float32_of(run.batch_gradient),
        "full_gradient": float32_of(run.full_gradient),
        "other_largest": float32_of(largest),
        "other_gradients": base64_of(np.round(127.0 * run.other_gradients / unit).astype(np.int8)),
        "other_count": run.other_gradients.shape[1],
    }


def _levels(record: Record) -> np.ndarray:
    """Losses of the contours, from the least one on; the last is the largest of the grid."""
    finite = record.landscape[np.isfinite(record.landscape)]
    low, top = min(record.minimum, finite.min()), np.quantile(finite, 0.95)
    levels = low + np.linspace(0.0, 1.0, CONTOURS + 1) ** 2 * (top - low)
    levels[-1] = max(levels[-1], finite.max())
    return np.asarray(levels)


def _landscape(record: Record) -> Any:
    from bokeh.models import ColumnDataSource
    from bokeh.models.annotations import Arrow, NormalHead

    drawn = draw_figure(
        "landscape",
        x_range=axis_range(*record.view[0]),
        y_range=axis_range(*record.view[1]),
        x_axis_label=record.names[0],
        y_axis_label=record.names[1],
        moves=True,
    )
    finite = record.landscape[np.isfinite(record.landscape)]
    values = np.clip(record.landscape, finite.min(), finite.max())
    drawn.contour(
        record.first,
        record.second,
        values,
        _levels(record),
        fill_color=SHADES,
        line_color="#80808066",
        line_width=1,
    )
    draw_lines(drawn, len(line_names(record)), dashed=True, dot=9, line_join="round")
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
