"""Why a run of a network diverges or stalls: the causes of linear models, and dead units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from ..estimators.forward import apply, scores_of
from ..estimators.network_fitting import BaseMLP
from ..inputs.conversions import MatrixLike
from ..optimizers import SGD
from .findings import LARGEST_NOISE_FLOOR, Finding, of_labels, of_order, of_outliers, of_scales
from .network_noise import network_noise
from .network_problem import NetworkProblem, network_problem_of
from .sharpness import network_sharpness

__all__ = ["curvature_rate", "network_findings"]

Float = NDArray[np.float64]

LARGEST_DEAD_SHARE = 0.25
"""Share of the units of a hidden layer without effect on any row above which it is a finding."""

SHARPNESS_ROWS = 2000
"""Rows of which the curvature is taken, at most."""


def network_findings(
    estimator: BaseMLP, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None
) -> tuple[tuple[Finding, ...], float, float]:
    """Findings, the largest rate of the run, and the largest at which it would settle."""
    problem = network_problem_of(estimator, X, y, sample_weight, fitted=False)
    history = vars(estimator).get("history_")
    rate = problem.descent.eta0
    if history and history["learning_rate"]:
        rate = float(np.nanmax(history["learning_rate"]))
    stable = curvature_rate(problem)
    with np.errstate(all="ignore"):  # numbers may be of any size, which is what is looked for
        findings = [
            *_of_rate(rate, stable),
            *of_scales(estimator, problem.data),
            *_of_outliers(problem),
            *_of_labels(problem),
            *of_order(problem.descent.sampling, _targets(problem)),
            *_of_noise(problem, history),
            *_of_dead_units(problem),
        ]
    return tuple(findings), rate, stable


def curvature_rate(problem: NetworkProblem) -> float:
    """The rate above which full batches leave a minimum of this curvature lambda; NaN for Adam.

    2 (1 + beta) / lambda with momentum beta, that over 1 + 2 beta with Nesterov's. Infinite where
    lambda is not positive.
    """
    optimizer = problem.descent.optimizer
    if not isinstance(optimizer, SGD):
        return np.nan
    found = network_sharpness(problem, sample=SHARPNESS_ROWS, random=np.random.RandomState(0))
    beta = optimizer.momentum
    return found.stable_rate * (1.0 + beta) / (1.0 + 2.0 * beta * optimizer.nesterov)


def _of_rate(rate: float, stable: float) -> Iterator[Finding]:
    if rate > stable:
        yield Finding(
            "rate",
            f"the learning rate {rate:.3g} is {rate / stable:.3g} times {stable:.3g}, above which "
            "steps along the sharpest direction at these weights grow from one to the next",
            f"learning_rate_init={0.25 * stable:.2g}, a warm-up (warmup_steps) or solver='adam'",
            {"rate": rate, "stable_rate": stable},
        )


def _of_outliers(problem: NetworkProblem) -> Iterator[Finding]:
    """Whether one percent of the rows has most of the squared norms of the gradients."""
    squares = problem.run().gradients(np.arange(problem.data.n), squares=True)[2].sum(axis=1)
    weight = problem.data.sample_weight
    yield from of_outliers(squares if weight is None else np.square(weight) * squares)


def _scores(problem: NetworkProblem) -> Any:
    layers = problem.network.views(problem.theta)
    coefs, intercepts = zip(*layers, strict=True)
    X: Any = problem.data.rows(slice(None))
    return scores_of(X, coefs, intercepts, problem.network.activation)


def _targets(problem: NetworkProblem) -> Float:
    """Targets (n, outputs), of classes as zeros and ones."""
    y = np.asarray(problem.data.y, dtype=np.float64)
    if problem.network.loss == "softmax":
        return (y == np.arange(problem.network.sizes[-1])).astype(np.float64)
    return y


def _of_labels(problem: NetworkProblem) -> Iterator[Finding]:
    """Whether a classifier has more confident errors than its probabilities expect."""
    if problem.network.loss not in ("softmax", "log_loss"):
        return
    z, y = _scores(problem), _targets(problem)
    if problem.network.loss == "softmax":
        p = softmax(z, axis=1)
        sure, right = p.max(axis=1), y[np.arange(len(z)), z.argmax(axis=1)] > 0.0
    else:
        sure, right = expit(np.abs(z)), (z > 0.0) == (y > 0.5)
    confident = sure > 0.9
    expected = float((1.0 - sure)[confident].sum())
    advice = "look at these rows; a larger alpha gives single labels less influence"
    yield from of_labels(int((confident & ~right).sum()), expected, advice)


def _of_noise(problem: NetworkProblem, history: Any) -> Iterator[Finding]:
    """Whether the noise at the last learning rate keeps the loss well above its minimum.

    The law of a quadratic objective, about eta / (2 (1 - beta)) * tr Sigma / m, which a network has
    near a minimum. It is a finding only if one step along the full gradient would gain less.
    """
    optimizer = problem.descent.optimizer
    if not history or not history["learning_rate"] or not isinstance(optimizer, SGD):
        return
    last = float(history["learning_rate"][-1]) / (1.0 - optimizer.momentum)
    noise = network_noise(problem.data, problem.network, problem.descent, problem.theta)
    m = min(problem.descent.batch_size, problem.data.n)
    floor = 0.5 * last * float(noise.batch_trace(m).sum())
    loss, drift = float(history["loss"][-1]), last * float(noise.squared_norm.sum())
    if not (floor > LARGEST_NOISE_FLOOR * abs(loss) and floor > drift):
        return
    yield Finding(
        "noise",
        f"at the last learning rate and a batch size of {m} the noise alone keeps the loss about "
        f"{floor:.2g} above a minimum, which is {100.0 * floor / max(abs(loss), 1e-300):.0f} % of "
        f"the loss; the noise scale is {noise.total_noise_scale:.3g} rows",
        "a decreasing learning rate ('cosine'), average=0.5, or larger batches at the same rate",
        {"floor": floor, "noise_scale": noise.total_noise_scale},
    )


def _of_dead_units(problem: NetworkProblem) -> Iterator[Finding]:
    """Whether many units of "relu" are 0 for all rows: no gradient reaches their weights."""
    if problem.network.activation != "relu":
        return
    layers = problem.network.views(problem.theta)
    alive = [np.zeros(size, dtype=bool) for size in problem.network.sizes[1:-1]]
    for first in range(0, problem.data.n, 4096):
        a: Any = problem.data.rows(slice(first, first + 4096))
        for (coef, intercept), some in zip(layers[:-1], alive, strict=True):
            a = np.asarray(a @ coef) + intercept
            apply("relu", a)
            some |= (a > 0.0).any(axis=0)
    shares = [float(1.0 - some.mean()) for some in alive]
    if max(shares, default=0.0) <= LARGEST_DEAD_SHARE:
        return
    layer = int(np.argmax(shares))
    yield Finding(
        "dead",
        f"{100.0 * shares[layer]:.0f} % of the units of hidden layer {layer + 1} are 0 for every "
        "row, and no gradient reaches their weights any more",
        "a smaller learning_rate_init, scaled features (standardize=True), or activation='tanh'",
        {"layer": float(layer + 1), "share": shares[layer]},
    )
