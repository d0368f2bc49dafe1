"""Warnings of a fit: what a user should know of the data, the settings and the result."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning, EfficiencyWarning

from ..exceptions import FeatureScaleWarning, TargetScaleWarning
from ..learning_rate.choose import Rates
from ..learning_rate.search import SAMPLE_ROWS
from ..problem import Data, Lanes, Settings
from ..solver import Fit, Stopping
from ..solver.annealing import DOUBTFUL, MAX_SUBOPTIMALITY
from ..statistics.sample import feature_scales, least_loss, loss_at

PENALTY_LOSS_RATIO, PENALTY_LOSS_FRACTION, ROWS_PER_FEATURE = 2.0, 0.05, 4
"""Multiple of the loss without a penalty, and part of that of weights of zero, from which on a fit
warns that alpha holds it up; rows per feature that a search needs at least, or its loss says little
of other rows."""

MAX_SCALE_RATIO = 1e4
"""Ratio of feature scales above which a fit warns."""

MAX_FEATURES_PER_VALUE = 10.0
"""Features an update goes over for each value it reads, above which a fit on CSR warns."""


def warn_of_scales(estimator: Any, data: Data) -> None:
    """Warn when columns differ in scale by more than any one learning rate can bridge."""
    with np.errstate(all="ignore"):
        found = feature_scales(data, MAX_SCALE_RATIO)
    if found is None or len(found[0]) < 2:
        return
    columns, scales = found
    if scales.max() <= MAX_SCALE_RATIO * scales.min():
        return
    order = np.argsort(scales, kind="stable")
    columns, scales = columns[order], scales[order]
    names = vars(estimator).get("feature_names_in_")

    def describe(which: slice) -> str:
        labels = [int(j) if names is None else repr(str(names[j])) for j in columns[which]]
        parts = zip(labels, scales[which], strict=True)
        return ", ".join(f"{label} ({scale:.2g})" for label, scale in parts)

    count = min(3, len(columns) // 2)
    with np.errstate(over="ignore"):
        ratio = scales[-1] / scales[0]
    warnings.warn(
        f"Feature scales differ by a factor of {ratio:.2g}: the "
        f"largest columns are {describe(slice(None, -count - 1, -1))}, the smallest "
        f"{describe(slice(count))}. SGD learns the small ones slowly; scale the features, for "
        f"example with {'MaxAbsScaler' if data.sparse else 'standardize=True'}.",
        FeatureScaleWarning,
        stacklevel=6,
    )


def warn_of_cost(estimator: Any, data: Data, lanes: Lanes, settings: Settings) -> None:
    """Warn when an update on CSR goes over many more features than its rows have values."""
    penalised = lanes.alpha.any() or lanes.l1.any()
    if not (data.sparse and not settings.optimizer.linear and penalised and settings.average):
        return
    ratio = data.d * data.n / max(1, data.X.nnz) / settings.batch_size
    if ratio > MAX_FEATURES_PER_VALUE:
        warnings.warn(
            f"A penalty together with averaging and optimizer={settings.optimizer.name!r} goes "
            f"over all {data.d} features of sparse X at every update, {ratio:.0f} times as many as "
            "the update's rows have values. A larger batch_size spreads that cost; average=False "
            "avoids it.",
            EfficiencyWarning,
            stacklevel=6,
        )


def warn_of_result(estimator: Any, settings: Settings, stopping: Stopping, progress: Fit) -> None:
    if progress.clipped:
        warnings.warn(
            f"eta * alpha reached 1 (alpha={estimator._strength}): the L2 step set weights to "
            "zero. Lower eta0 or alpha.",
            RuntimeWarning,
            stacklevel=6,
        )
    if progress.backoffs and progress.state is not None:
        factors = ", ".join(f"{factor:.3g}" for factor in np.unique(progress.state.rate_factor))
        warnings.warn(
            f"SGD diverged {progress.backoffs} times and went on at a lower rate: the learning "
            f"rate was multiplied by {factors} and ended at "
            f"{progress.history.columns['learning_rate'][-1]:.3g}. Scale the features or lower "
            "eta0.",
            RuntimeWarning,
            stacklevel=6,
        )
    warn_of_doubts(estimator, settings, progress)
    if stopping.tol is not None and not (progress.stopped.all() or progress.ended):
        what = "training loss" if stopping.validate is None else "validation score"
        gained = f"the {what} still gained more than tol={stopping.tol}"
        scores = progress.history.columns["validation_score"][-int(progress.epochs.max()) :]
        if stopping.validate is not None and not np.isfinite(scores).any():
            gained = "the validation score was never a finite number"
        warnings.warn(
            "Maximum number of iteration reached before convergence. Consider increasing "
            f"max_iter to improve the fit: after {stopping.max_epochs} epochs {gained}.",
            ConvergenceWarning,
            stacklevel=6,
        )


def warn_of_doubts(estimator: Any, settings: Settings, progress: Fit) -> None:
    """Warn of models that stopped with more left to gain than the tolerance."""
    reasons = {
        "slow": "the loss hardly falls any more, although its derivatives say that it could",
        "penalty": f"the L2 penalty (alpha={estimator._strength:g}) is so weak that it has not "
        "shrunk the weights yet, as with classes that are (nearly) separable",
    }
    for name, reason in reasons.items():
        doubtful = progress.doubts.get(name)
        if doubtful is None or not doubtful.any():
            continue
        much = f"{MAX_SUBOPTIMALITY * estimator.tol:.2g} of itself"
        if settings.sign_targets:
            much = f"{DOUBTFUL * estimator.tol:.2g} times the objective of a constant score"
        which = "" if len(doubtful) == 1 else f" in {int(doubtful.sum())} of its models"
        warnings.warn(
            f"The objective may still be above its minimum{which} by more than {much}, after "
            f"{int(progress.epochs.max())} epochs: {reason}. Predictions rarely change any more; "
            "for the minimum itself raise alpha or lower tol.",
            ConvergenceWarning,
            stacklevel=7,
        )


def warn_of_targets(
    estimator: Any, problem: tuple[Data, Lanes, Settings], rates: Rates, progress: Fit
) -> None:
    """Warn where the penalty holds a loss of bounded slope far above what its data allow,
    although it is one that would hardly matter to squares."""
    data, lanes, settings = problem
    tried, found, penalty = rates.search, rates.curvature, lanes.alpha + lanes.l1
    too_few_rows = min(data.n, SAMPLE_ROWS) < ROWS_PER_FEATURE * data.d
    if tried is None or found is None or too_few_rows or not penalty.any():
        return
    updates = progress.epochs.max() * math.ceil(data.epoch_rows / settings.batch_size)
    if updates < SAMPLE_ROWS:  # in which the search, whose rate falls, may get farther
        return
    loss, free = loss_at(*problem, progress.coef, progress.intercept), tried.loss.min(axis=1)
    dominated = (penalty > 0.0) & (penalty < 0.01 * found.mean_square / found.features)
    least = least_loss(*problem)
    dominated &= loss - least > np.maximum(
        PENALTY_LOSS_RATIO * (free - least), PENALTY_LOSS_FRACTION * (tried.at_start - least)
    )
    if dominated.any():
        k = int(np.argmax(dominated))
        warnings.warn(
            f"alpha={estimator._strength:g} is too strong for y: the mean loss is {loss[k]:.3g}, "
            f"and {free[k]:.3g} is reached without the penalty. The slope of this loss is "
            "bounded, whatever the residuals, and large targets need large weights, which the "
            "penalty holds back: scale y, or lower alpha.",
            TargetScaleWarning,
            stacklevel=6,
        )
