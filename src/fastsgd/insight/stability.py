"""What is wrong with a run that diverges or stalls, and what to do: each finding a measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ..estimators.base import BaseSGD
from ..estimators.parameters import request_of
from ..learning_rate.choose import rates_of
from ..solver.stopping import FEW_UPDATES
from ..statistics.curvature import curvature_of
from ..statistics.sample import feature_scales
from ..statistics.weights import typical_weight
from ..targets import targets_of
from .gradients import GradientNoise, exact_noise
from .problem import EstimatorProblem, problem_of

__all__ = ["Finding", "StabilityReport", "stability_report", "stable_rate_of"]

Float = NDArray[np.float64]

SCALES = 100.0
"""Ratio of feature scales above which they are said to be unscaled."""

OUTLIER = 0.5
"""Part of the noise in one row of a hundred above which those rows are outliers."""

NOISY = 3.0
"""Confident errors, times as many as the model itself expects, above which labels are noisy."""

SORTED = 0.3
"""Correlation of a target with that of the row before above which the rows are sorted."""

FLOOR = 0.01
"""Excess by noise, as a part of the loss, above which the batch is too small for the rate."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    name : {"rate", "scales", "outliers", "labels", "sorted", "noise"}
    what : str
        What was measured, in words.
    advice : str
        What to do.
    measured : dict of str to float
        The numbers in ``what``.
    """

    name: str
    what: str
    advice: str
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StabilityReport:
    """Findings, the gravest first; printed, a line each, and their advice.

    Attributes
    ----------
    findings : tuple of Finding
    rate : float
        Largest learning rate of the run, or the one it begins with.
    stable_rate : float
        2 / L, L the curvature that a batch meets: above it, no run of squares settles.
    """

    findings: tuple[Finding, ...]
    rate: float
    stable_rate: float

    def __str__(self) -> str:
        if not self.findings:
            return (
                f"Nothing found: the rate {self.rate:.3g} is below 2 / L = {self.stable_rate:.3g}, "
                "features are of like scale, and neither outliers, noisy labels nor sorted rows "
                "explain a stall."
            )
        return "\n".join(f"{one.name}: {one.what}\n  -> {one.advice}" for one in self.findings)


def stability_report(
    estimator: BaseSGD, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
) -> StabilityReport:
    """Look for the reasons why a fit of X, y diverges or stalls.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor or SGDOneClassSVM
        Fitted, or as a ``DivergenceError`` left it: then it is looked at where a fit starts. It is
        not touched.
    X, y, sample_weight
        What it was or is to be fitted on.

    Returns
    -------
    StabilityReport

    Raises
    ------
    ValueError
        Bad input; the message names the argument.
    """
    problem = problem_of(estimator, X, y, sample_weight, fitted=False)
    rate, stable = _rate(estimator, problem), stable_rate_of(problem)
    noise = exact_noise(problem)
    with np.errstate(all="ignore"):  # numbers may be of any size: that is what is looked for
        findings = [
            *_of_rate(rate, stable),
            *_of_scales(estimator, problem),
            *_of_outliers(problem, noise),
            *_of_labels(problem),
            *_of_order(estimator, problem),
            *_of_noise(estimator, problem, noise, rate),
        ]
    return StabilityReport(tuple(findings), rate, stable)


def _rate(estimator: BaseSGD, problem: EstimatorProblem) -> float:
    """The largest rate of the run, or that with which it begins."""
    history = vars(estimator).get("history_")
    if history and history["learning_rate"]:
        return float(np.nanmax(history["learning_rate"]))
    return float(
        rates_of(request_of(estimator), problem.data, problem.lanes, problem.settings).eta0.max()
    )


def stable_rate_of(problem: EstimatorProblem) -> float:
    """2 / L with the curvature that a batch meets, of the lane of the heaviest rows."""
    found = curvature_of(problem.data, problem.settings)
    weight = float(typical_weight(problem.data, problem.lanes, problem.settings).max())
    met = found.smoothness * (found.largest + (found.noise - found.largest) / found.batch)
    momentum = problem.settings.momentum
    return 2.0 * (1.0 - momentum) / (met * weight + float(problem.lanes.alpha.max()))


def _of_rate(rate: float, stable: float) -> Iterator[Finding]:
    if rate > stable:
        yield Finding(
            "rate",
            f"the learning rate {rate:.3g} is {rate / stable:.3g} times 2 / L = {stable:.3g}, the "
            "largest that a run of this curvature bears",
            f"eta0={0.25 * stable:.2g}, or learning_rate='auto' without eta0",
            {"rate": rate, "stable_rate": stable},
        )


def _of_scales(estimator: BaseSGD, problem: EstimatorProblem) -> Iterator[Finding]:
    scales = feature_scales(problem.data)
    if scales is None:
        return
    used = np.flatnonzero((scales > 0.0) & np.isfinite(scales))
    if len(used) < 2 or scales[used].max() <= SCALES * scales[used].min():
        return
    names = vars(estimator).get("feature_names_in_")
    largest, smallest = (int(used[at]) for at in (scales[used].argmax(), scales[used].argmin()))
    first, last = (j if names is None else repr(str(names[j])) for j in (largest, smallest))
    ratio = float(scales[largest] / scales[smallest])
    yield Finding(
        "scales",
        f"column {first} is of size {scales[largest]:.3g}, column {last} of "
        f"{scales[smallest]:.3g}: {ratio:.3g} times; one rate cannot suit both",
        "standardize=True"
        if not problem.data.sparse
        else "scale the columns, as MaxAbsScaler does",
        {"largest": largest, "smallest": smallest, "ratio": ratio},
    )


def _of_outliers(problem: EstimatorProblem, noise: GradientNoise) -> Iterator[Finding]:
    """Rows that carry most of the noise: of squared distances from the mean gradient."""
    n = problem.data.n
    if n < 100:
        return
    X = problem.data.rows(slice(None))
    z = np.asarray(X @ problem.coef.T) + problem.intercept
    c = problem.slopes(slice(None), z)
    squares = np.asarray(X.multiply(X).sum(axis=1) if problem.data.sparse else (X * X).sum(axis=1))
    sizes = ((np.ravel(squares) + problem.settings.fit_intercept)[:, None] * c**2).sum(axis=1)
    count = max(1, n // 100)
    worst = np.argpartition(sizes, n - count)[n - count :]
    part = float(sizes[worst].sum() / max(sizes.sum(), np.finfo(float).tiny))
    if part <= OUTLIER:
        return
    top = int(worst[sizes[worst].argmax()])
    yield Finding(
        "outliers",
        f"{count} of {n} rows make {100.0 * part:.0f} % of the squared gradients, row {top} alone "
        f"{100.0 * sizes[top] / sizes.sum():.0f} %",
        "look at these rows; clip_norm, or a loss that grows linearly ('huber', 'hinge'), bounds "
        "what they do",
        {"part": part, "row": top},
    )


def _of_labels(problem: EstimatorProblem) -> Iterator[Finding]:
    """Errors of log loss made with confidence, beside how many the probabilities expect."""
    if problem.settings.loss != "log_loss" or not problem.coef.any():
        return
    z = np.asarray(problem.data.rows(slice(None)) @ problem.coef.T) + problem.intercept
    rows = np.arange(problem.data.n)
    y = targets_of(problem.data, problem.lanes, problem.settings, rows)
    margin = y * z
    sure = np.abs(z) > math.log(9.0)  # a probability above 0.9
    wrong = int((sure & (margin < 0.0)).sum())
    expected = float((sure * expit(-np.abs(z))).sum())
    if wrong < 10 or wrong <= NOISY * expected:
        return
    yield Finding(
        "labels",
        f"{wrong} labels contradict a model that is more than 90 % sure, which expects "
        f"{expected:.0f} such: {wrong / max(expected, 1e-12):.2g} times as many",
        "look at these rows; a larger alpha or loss='modified_huber' trusts single labels less",
        {"wrong": float(wrong), "expected": expected},
    )


def _of_order(estimator: BaseSGD, problem: EstimatorProblem) -> Iterator[Finding]:
    """Whether rows that are read in storage order are sorted by target."""
    if problem.settings.sampling != "sequential" or problem.data.n < 100:
        return
    rows = np.arange(problem.data.n)
    y = targets_of(problem.data, problem.lanes, problem.settings, rows)
    y = y / (np.abs(y).max() or 1.0)  # squares may overflow
    y = y - y.mean(axis=0)
    scale = np.square(y).sum(axis=0)
    lag = np.divide((y[1:] * y[:-1]).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)
    if lag.max() <= SORTED:
        return
    yield Finding(
        "sorted",
        f"rows are read as they are stored, and a target is correlated by {lag.max():.2f} with "
        "that of the row before: the model follows the order",
        "shuffle=True, or sampling='block' where rows must be read nearly in order",
        {"correlation": float(lag.max())},
    )


def _of_noise(
    estimator: BaseSGD, problem: EstimatorProblem, noise: GradientNoise, rate: float
) -> Iterator[Finding]:
    """Whether the noise at the last rate holds the loss up, where the gradient is small beside it.

    At a constant rate eta the noise keeps a quadratic about eta / 2 * tr Sigma / m above its
    minimum (Bottou, Curtis & Nocedal 2018, theorem 4.6).
    """
    history = vars(estimator).get("history_")
    if not history or not history["learning_rate"]:
        return
    chosen = vars(estimator).get("result_")
    if chosen is not None and chosen.eases and chosen.updates <= FEW_UPDATES:
        return  # the model is a mean of weights or of a rate that fell: its noise is known
    last, m = float(history["learning_rate"][-1]), min(problem.settings.batch_size, problem.data.n)
    floor = 0.5 * last * float(noise.batch_trace(m).mean())
    loss = float(history["loss"][-1])
    drift = last * float(np.maximum(0.0, noise.squared_norm).mean())
    if not (floor > FLOOR * abs(loss) and floor > drift):
        return
    scale = float(noise.trace.sum() / max(noise.squared_norm.sum(), np.finfo(float).tiny))
    part = 100.0 * min(1e300, floor / max(abs(loss), 1e-300))
    yield Finding(
        "noise",
        f"at rate {last:.3g} and {m} rows a batch the noise alone keeps the loss about {floor:.2g} "
        f"above its minimum, {part:.0f} % of it; the noise scale is "
        f"{scale:.3g} rows",
        "a rate that falls ('auto', 'cosine'), average=0.5, or larger batches at the same rate",
        {"floor": floor, "noise_scale": scale},
    )
