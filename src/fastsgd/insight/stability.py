"""Why a run diverges or stalls, and what to do: six causes, each looked for by a measurement.

They are a learning rate above 2 / L, features of different scales, outliers, noisy labels, rows
that are sorted by target, and a noise floor at the last learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ..estimators.base import BaseSGD
from ..estimators.network_fitting import BaseMLP
from ..estimators.parameters import request_of
from ..inputs.conversions import MatrixLike
from ..learning_rate.choose import rates_of
from ..solver.stopping import FEW_UPDATES
from ..statistics.curvature import curvature_of
from ..statistics.weights import typical_weight
from ..targets import targets_of
from .checks import Estimator, check_estimator
from .findings import LARGEST_NOISE_FLOOR, Finding, of_labels, of_order, of_outliers, of_scales
from .gradients import GradientNoise, exact_noise
from .network_stability import network_findings
from .problem import EstimatorProblem, problem_of
from .sources import takes_sources

__all__ = ["StabilityReport", "stability_report", "stable_rate_of"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class StabilityReport:
    """Findings about a run; printed, a line for each and one for its advice.

    Attributes
    ----------
    findings : tuple of Finding
        In the order of the causes in :class:`Finding`.
    rate : float
        Largest learning rate of the run, or, of an estimator that is not fitted, the first one.
    stable_rate : float
        2 / L, with L the curvature that limits the learning rate of batches of this size: a run
        with squared loss at a larger rate does not settle. NaN where no such rate can be told.
    sample : str
        Of a source whose rows do not fit into memory, which of them were used; else "".

    See Also
    --------
    stability_report : Makes one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import stability_report
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> report = stability_report(SGDRegressor(), X, y)
    >>> len(report.findings), bool(report.rate < report.stable_rate)
    (0, True)
    >>> str(report)[:14]
    'Nothing found:'
    """

    findings: tuple[Finding, ...]
    rate: float
    stable_rate: float
    sample: str = ""

    def __str__(self) -> str:
        return self._text() + (f"\nMeasured on {self.sample}." if self.sample else "")

    def _text(self) -> str:
        if not self.findings and math.isnan(self.stable_rate):
            return (
                "Nothing found: features have similar scales, and neither outliers, noisy labels, "
                "sorted rows nor dead units explain a stall. Of this optimizer no largest rate is "
                "known."
            )
        if not self.findings:
            return (
                f"Nothing found: the rate {self.rate:.3g} is below 2 / L = {self.stable_rate:.3g}, "
                "features have similar scales, and neither outliers, noisy labels nor sorted rows "
                "explain a stall."
            )
        return "\n".join(
            f"{finding.name}: {finding.description}\n  -> {finding.advice}"
            for finding in self.findings
        )


@takes_sources
def stability_report(
    estimator: Estimator,
    X: MatrixLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> StabilityReport:
    """Look for the reasons why a fit diverges or stalls.

    Of a network L is the :func:`sharpness` at its weights, of at most 2,000 of the rows, and "dead"
    units of "relu" are looked for too. Adam divides its steps by the size of the gradients, so that
    neither a largest rate nor a noise floor can be told for it.

    Parameters
    ----------
    estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
        Fitted or not; it is not changed. If it is not fitted, which is so after a
        ``DivergenceError``, measurements are taken at the weights that a fit starts from.
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
        Training rows. A source, such as
        :func:`fastsgd.data.open_source` opens it, has y and the weights too; if its rows do not fit
        into 512 MiB, an even sample of them is used.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Their targets; none for SGDOneClassSVM.
    sample_weight : array-like of shape (n_samples,), optional
        Their weights.

    Returns
    -------
    StabilityReport
        Findings with advice; it has none if nothing is wrong.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.

    References
    ----------
    .. [1] S. Ma, R. Bassily, M. Belkin. "The Power of Interpolation: Understanding the
       Effectiveness of SGD in Modern Over-parametrized Learning", ICML 2018, for the largest rate
       of batches.
    .. [2] L. Bottou, F. E. Curtis, J. Nocedal. "Optimization Methods for Large-Scale Machine
       Learning", SIAM Review 60, 2018, theorem 4.6, for the noise floor.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import stability_report
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = SGDRegressor(learning_rate="constant", eta0=10.0)
    >>> print(stability_report(model, X, y))  # doctest: +ELLIPSIS
    rate: the learning rate 10 is ... times 2 / L = ..., above which a run does not settle
      -> eta0=..., or learning_rate='auto' without eta0
    """
    check_estimator(estimator)
    if isinstance(estimator, BaseMLP):
        return StabilityReport(*network_findings(estimator, X, y, sample_weight))
    problem = problem_of(estimator, X, y, sample_weight, fitted=False)
    rate, stable = _rate(estimator, problem), stable_rate_of(problem)
    noise = exact_noise(problem)
    with np.errstate(all="ignore"):  # numbers may be of any size, which is what is looked for
        findings = [
            *_of_rate(rate, stable),
            *of_scales(estimator, problem.data),
            *_of_outliers(problem),
            *_of_labels(problem),
            *_of_order(problem),
            *_of_noise(estimator, problem, noise, rate),
        ]
    return StabilityReport(tuple(findings), rate, stable)


def _rate(estimator: BaseSGD, problem: EstimatorProblem) -> float:
    """The largest learning rate of the run, or the first one of a run that is to come."""
    history = vars(estimator).get("history_")
    if history and history["learning_rate"]:
        return float(np.nanmax(history["learning_rate"]))
    return float(
        rates_of(request_of(estimator), problem.data, problem.lanes, problem.settings).eta0.max()
    )


def stable_rate_of(problem: EstimatorProblem) -> float:
    """2 / L, times 1 - momentum, for batches of this size and the lane of the heaviest rows.

    L is the curvature that bounds the second moment of a batch's gradient.
    """
    found = curvature_of(problem.data, problem.settings)
    weight = float(typical_weight(problem.data, problem.lanes, problem.settings).max())
    limit = found.smoothness * (found.largest + (found.noise - found.largest) / found.batch)
    momentum = problem.settings.momentum
    return 2.0 * (1.0 - momentum) / (limit * weight + float(problem.lanes.alpha.max()))


def _of_rate(rate: float, stable: float) -> Iterator[Finding]:
    if rate > stable:
        yield Finding(
            "rate",
            f"the learning rate {rate:.3g} is {rate / stable:.3g} times 2 / L = {stable:.3g}, "
            "above which a run does not settle",
            f"eta0={0.25 * stable:.2g}, or learning_rate='auto' without eta0",
            {"rate": rate, "stable_rate": stable},
        )


def _of_outliers(problem: EstimatorProblem) -> Iterator[Finding]:
    """Whether one percent of the rows has most of the squared norms of the gradients."""
    if problem.data.n < 100:
        return
    X = problem.data.rows(slice(None))
    z = np.asarray(X @ problem.coef.T) + problem.intercept
    c = problem.slopes(slice(None), z)
    squares = np.asarray(X.multiply(X).sum(axis=1) if problem.data.sparse else (X * X).sum(axis=1))
    sizes = ((np.ravel(squares) + problem.settings.fit_intercept)[:, None] * c**2).sum(axis=1)
    yield from of_outliers(sizes)


def _of_labels(problem: EstimatorProblem) -> Iterator[Finding]:
    """Whether a logistic regression has more confident errors than its probabilities expect."""
    if problem.settings.loss != "log_loss" or not problem.coef.any():
        return
    z = np.asarray(problem.data.rows(slice(None)) @ problem.coef.T) + problem.intercept
    rows = np.arange(problem.data.n)
    y = targets_of(problem.data, problem.lanes, problem.settings, rows)
    margin = y * z
    confident = np.abs(z) > math.log(9.0)  # a probability above 0.9
    wrong = int((confident & (margin < 0.0)).sum())
    expected = float((confident * expit(-np.abs(z))).sum())
    yield from of_labels(
        wrong,
        expected,
        "look at these rows; a larger alpha or loss='modified_huber' gives single labels less "
        "influence",
    )


def _of_order(problem: EstimatorProblem) -> Iterator[Finding]:
    """Whether rows that are read in storage order are sorted by target."""
    rows = np.arange(problem.data.n)
    y = targets_of(problem.data, problem.lanes, problem.settings, rows)
    yield from of_order(problem.settings.sampling, y)


def _of_noise(
    estimator: BaseSGD, problem: EstimatorProblem, noise: GradientNoise, rate: float
) -> Iterator[Finding]:
    """Whether the noise at the last learning rate keeps the loss well above its minimum.

    At a constant rate eta a quadratic objective stays about eta / 2 * tr Sigma / m above its
    minimum (Bottou, Curtis & Nocedal 2018, theorem 4.6). It is a finding only if one step along the
    full gradient would reduce the loss by less.
    """
    history = vars(estimator).get("history_")
    if not history or not history["learning_rate"]:
        return
    chosen = vars(estimator).get("result_")
    if chosen is not None and chosen.reduces_on_plateau and chosen.updates <= FEW_UPDATES:
        return  # "auto" lowers its rate by itself
    last, m = float(history["learning_rate"][-1]), min(problem.settings.batch_size, problem.data.n)
    floor = 0.5 * last * float(noise.batch_trace(m).mean())
    loss = float(history["loss"][-1])
    drift = last * float(np.maximum(0.0, noise.squared_norm).mean())
    if not (floor > LARGEST_NOISE_FLOOR * abs(loss) and floor > drift):
        return
    scale = float(noise.trace.sum() / max(noise.squared_norm.sum(), np.finfo(float).tiny))
    part = 100.0 * min(1e300, floor / max(abs(loss), 1e-300))
    yield Finding(
        "noise",
        f"at the learning rate {last:.3g} and a batch size of {m} the noise alone keeps the loss "
        f"about {floor:.2g} above its minimum, which is {part:.0f} % of the loss; the noise scale "
        f"is {scale:.3g} rows",
        "a decreasing learning rate ('auto', 'cosine'), average=0.5, or larger batches at the same "
        "rate",
        {"floor": floor, "noise_scale": scale},
    )
