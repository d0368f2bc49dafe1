"""The page of a network: its probability over the plane, and the rows with their gradients' norms.

The page has all parameters of each point, and works the probabilities out itself: a network of 2, 8
and 1 units has 33 parameters, a coarse grid 1,600 probabilities.
"""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from .page import Kind, axis_range, base64_of, draw_figure, float32_of, render
from .records import NetworkRecord, RecordedNetworkRun

__all__ = ["render_network"]

SIDE = 80
"""Points of the drawn grid along each side."""

CLASS_COLOURS = {"light": ("#5e3c99", "#c77c00"), "dark": ("#b79cf2", "#ffc04d")}
"""Colours of the two classes, none of which is that of a run."""

LAYER_COLOURS = {
    "light": ("#1b1f24", "#b00020", "#00796b"),
    "dark": ("#e8ebee", "#ffd23f", "#64ffda"),
}
"""Colours of the layers in the chart of norms."""

MARKS = """
        <span><span class="mark class0">●</span> {0}</span>
        <span><span class="mark class1">▲</span> {1}</span>
        <span>the network says {0} <span class="bar"></span> {1}; middle, line: undecided</span>
        <label><input type="checkbox" id="sizes" checked>
        <span>area of a mark: norm of the row's gradient</span></label>
        <label><input type="checkbox" id="rings" checked>
        <span><span class="mark">◯</span> rows of the next batch</span></label>
        <span>gradient norms, thick of all rows, thin of the batch:</span> {2}"""

FOOTER = (
    "Every run is one of fastsgd's solver, step by step. The figure shows the run "
    "chosen above: shades are its probability, which is 1/2 on the line. A row alone would move "
    "the parameters by the rate times its gradient, whose norm is large where the network is wrong "
    "or not yet sure. A step goes down the mean over the ringed rows, the batch gradient; the full "
    "gradient is the mean over all rows."
)


def render_network(record: NetworkRecord) -> str:
    """The page of a record, as one HTML document.

    Raises
    ------
    ImportError
        If bokeh is not installed.
    """
    first, second = map(html.escape, record.names)
    wide, high = (high - low for low, high in record.view)
    layers = " ".join(
        f'<span><span class="mark layer{i}">━</span> layer {i + 1}, {inputs} to {outputs}</span>'
        for i, (inputs, outputs) in enumerate(record.network.shapes)
    )
    names = (f"class {html.escape(str(name))}" for name in record.classes)
    kind = Kind(
        script="network.js",
        main="regions",
        draw=lambda: _regions(record),
        texts={
            "left_label": "Decision regions of the network and the rows",
            "main_label": f"Probability of the second class over {first} and {second}, with the "
            "rows, each as large as its gradient is long",
            "rate_title": "Learning rate at the start, eta0",
            "norm_label": "Norm of the batch gradient and of the full gradient, by layer",
            "marks": MARKS.format(*names, layers),
            "footer": FOOTER,
        },
        rates=[f"{rate:.3g}" for rate in record.rates],
        loss_title="loss of all rows",
        minimum=0.0,
        norm_lines=2 * record.network.layers,
        data={
            "equal_units": bool(0.25 <= wide / high <= 4.0),
            "sizes": record.network.sizes,
            "activation": record.network.activation,
            "offset": record.offset.tolist(),
            "scale": record.scale.tolist(),
            "features": float32_of(record.X),
            "second": base64_of(record.y.astype(np.uint8)),
            "orders": base64_of(_orders(record)),
            "side": SIDE,
            "class_colours": CLASS_COLOURS,
            "layer_colours": LAYER_COLOURS,
        },
        packed=[_packed(record, run) for run in record.runs],
    )
    return render(record, record.runs, kind)


def _orders(record: NetworkRecord) -> np.ndarray:
    """Rows in the order in which runs draw them, as uint16: it is the same at every batch size.

    Runs of full batches need none.
    """
    drawn = [np.zeros(0, dtype="<u2")]
    drawn += [
        np.concatenate(run.batch_rows).astype("<u2")
        for run in record.runs
        if run.batch_size < len(record.X)
    ]
    return max(drawn, key=len)


def _packed(record: NetworkRecord, run: RecordedNetworkRun) -> dict[str, Any]:
    """Parameters are int16, fractions of the largest of each step.

    Norms of rows are uint8, square roots of such fractions.
    """
    weights, norms = np.abs(run.weights).max(axis=1), np.linalg.norm(run.row_norms, axis=2)
    largest = norms.max(axis=1)
    parts = run.weights / np.where(weights > 0.0, weights, 1.0)[:, None]
    roots = np.sqrt(norms / np.where(largest > 0.0, largest, 1.0)[:, None])
    return {
        "batch_size": run.batch_size,
        "weights": base64_of(np.round(32767.0 * parts).astype("<i2")),
        "weight_largest": float32_of(weights),
        "row_norms": base64_of(np.round(255.0 * roots).astype(np.uint8)),
        "row_largest": float32_of(largest),
        "batch_norms": float32_of(_norms(record, run.batch_gradient)),
        "full_norms": float32_of(_norms(record, run.full_gradient)),
    }


def _norms(record: NetworkRecord, gradients: np.ndarray) -> np.ndarray:
    """Norms by layers (T + 1, layers) of vectors (T + 1, P)."""
    stops = np.cumsum([(inputs + 1) * outputs for inputs, outputs in record.network.shapes])[:-1]
    parts = np.split(gradients, stops, axis=1)
    return np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1)


def _regions(record: NetworkRecord) -> Any:
    from bokeh.models import ColumnDataSource, LinearColorMapper

    drawn = draw_figure(
        "regions",
        x_range=axis_range(*record.view[0]),
        y_range=axis_range(*record.view[1]),
        x_axis_label=record.names[0],
        y_axis_label=record.names[1],
        moves=True,
    )
    image = {"image": [np.zeros((SIDE, SIDE), dtype=np.uint8)], "x": [0], "y": [0]}
    source = ColumnDataSource(image | {"dw": [1], "dh": [1]}, name="image")
    mapper = LinearColorMapper(palette=["#ffffff", "#ffffff"], low=0, high=255, name="shades")
    drawn.image("image", "x", "y", "dw", "dh", source=source, color_mapper=mapper)
    source = ColumnDataSource({"x0": [], "y0": [], "x1": [], "y1": []}, name="boundary")
    drawn.segment(
        "x0", "y0", "x1", "y1", source=source, name="boundary-line", line_width=2, line_cap="round"
    )
    empty: dict[str, list[float]] = {"x": [], "y": [], "size": [], "row": []}
    for k, marker in enumerate(("circle", "triangle")):
        source = ColumnDataSource(empty, name=f"class{k}")
        drawn.scatter(
            "x", "y", size="size", source=source, name=f"rows{k}", marker=marker, line_width=0.6
        )
    source = ColumnDataSource(empty, name="batch")
    drawn.scatter(
        "x", "y", size="size", source=source, name="rings-drawn", line_width=2, fill_alpha=0
    )
    return drawn
