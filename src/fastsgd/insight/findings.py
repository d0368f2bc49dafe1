"""Causes for which a run may diverge or stall, and what to look for in models of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..problem import Data
from ..statistics.sample import feature_scales
from .checks import Estimator

__all__ = [
    "LARGEST_ERROR_RATIO",
    "LARGEST_NOISE_FLOOR",
    "Finding",
    "of_labels",
    "of_order",
    "of_outliers",
    "of_scales",
]

Float = NDArray[np.float64]

LARGEST_SCALE_RATIO = 100.0
"""Ratio of the largest to the smallest scale of a feature above which it is a finding."""

LARGEST_OUTLIER_SHARE = 0.5
"""Share of one percent of the rows in the squared gradients above which it is a finding."""

LARGEST_ERROR_RATIO = 3.0
"""Ratio of confident errors to those that the model expects above which it is a finding."""

LARGEST_CORRELATION = 0.3
"""Correlation of a target with that of the row before above which it is a finding."""

LARGEST_NOISE_FLOOR = 0.01
"""Loss that is due to noise, as a share of the loss, above which it is a finding."""


@dataclass(frozen=True)
class Finding:
    """A cause for which a run may diverge or stall.

    Attributes
    ----------
    name : {"rate", "scales", "outliers", "labels", "sorted", "noise", "dead"}
        The cause.
    description : str
        What was measured, in words.
    advice : str
        What to do about it.
    measured : dict of str to float
        Numbers of the description.

    See Also
    --------
    stability_report : Looks for them.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import stability_report
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = SGDRegressor(learning_rate="constant", eta0=10.0)
    >>> finding = stability_report(model, X, y).findings[0]
    >>> finding.name, finding.measured["rate"]
    ('rate', 10.0)
    """

    name: str
    description: str
    advice: str
    measured: dict[str, float] = field(default_factory=dict)


def of_scales(estimator: Estimator, data: Data) -> Iterator[Finding]:
    """Whether features have such different scales that no learning rate suits them."""
    found = feature_scales(data)
    if found is None or len(found[0]) < 2:
        return
    columns, scales = found
    large, small = int(scales.argmax()), int(scales.argmin())
    if scales[large] <= LARGEST_SCALE_RATIO * scales[small]:
        return
    names = vars(estimator).get("feature_names_in_")
    first, last = (
        j if names is None else repr(str(names[j]))
        for j in (int(columns[large]), int(columns[small]))
    )
    ratio = float(scales[large] / scales[small])
    yield Finding(
        "scales",
        f"the scale of column {first} is {scales[large]:.3g}, that of column {last} "
        f"{scales[small]:.3g}: {ratio:.3g} times as large; no learning rate suits both",
        "standardize=True"
        if not data.sparse
        else "scale the columns, with MaxAbsScaler for example",
        {"largest": int(columns[large]), "smallest": int(columns[small]), "ratio": ratio},
    )


def of_outliers(sizes: Float) -> Iterator[Finding]:
    """Whether one percent of the rows has most of the squared norms (n,) of the gradients."""
    n = len(sizes)
    if n < 100:
        return
    count = max(1, n // 100)
    worst = np.argpartition(sizes, n - count)[n - count :]
    part = float(sizes[worst].sum() / max(sizes.sum(), np.finfo(float).tiny))
    if part <= LARGEST_OUTLIER_SHARE:
        return
    top = int(worst[sizes[worst].argmax()])
    yield Finding(
        "outliers",
        f"{count} of {n} rows have {100.0 * part:.0f} % of the squared gradients, row {top} alone "
        f"{100.0 * sizes[top] / sizes.sum():.0f} %",
        "look at these rows; clip_norm, or a loss that grows linearly ('huber', 'hinge'), limits "
        "their influence",
        {"part": part, "row": top},
    )


def of_labels(wrong: int, expected: float, advice: str) -> Iterator[Finding]:
    """Whether a classifier has more confident errors than its probabilities expect."""
    if wrong < 10 or wrong <= LARGEST_ERROR_RATIO * expected:
        return
    yield Finding(
        "labels",
        f"{wrong} labels contradict predictions of a probability above 90 %, "
        f"{wrong / max(expected, 1e-12):.2g} times as many as the {expected:.0f} to be expected",
        advice,
        {"wrong": float(wrong), "expected": expected},
    )


def of_order(sampling: str, y: Float) -> Iterator[Finding]:
    """Whether rows with targets y (n, K) that are read in storage order are sorted by them."""
    if sampling != "sequential" or len(y) < 100:
        return
    y = y / (np.abs(y).max() or 1.0)  # squares may overflow
    y = y - y.mean(axis=0)
    scale = np.square(y).sum(axis=0)
    lag = np.divide((y[1:] * y[:-1]).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)
    if lag.max() <= LARGEST_CORRELATION:
        return
    yield Finding(
        "sorted",
        f"rows are used in the order in which they are stored, and the correlation of a target "
        f"with that of the row before is {lag.max():.2f}: the model follows the last rows",
        "shuffle=True, or sampling='block' where rows must be read nearly in order",
        {"correlation": float(lag.max())},
    )
