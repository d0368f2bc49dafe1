"""The problem that an estimator poses on given rows, at the weights it has."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from .. import reference
from ..base import BaseSGD, blame_input
from ..parameters import check_parameters, lanes_of, seed_of, settings_of, unrated_lanes
from ..plain import make_plain
from ..problem import Data, Lanes, Settings
from ..standardise import Scaling

__all__ = ["Posed", "pose"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Posed:
    """Rows, lanes and settings, and the weights (K, d) and (K,) at which they are looked at.

    All of the features that are trained on: with ``standardize=True`` the standardised ones.
    """

    data: Data
    lanes: Lanes
    settings: Settings
    coef: Float
    intercept: Float
    scaling: Scaling

    @property
    def columns(self) -> int:
        """Coordinates of a gradient of one lane: d, and 1 for an intercept that is learnt."""
        return self.data.d + self.settings.fit_intercept

    def slopes(self, rows: NDArray[np.int64] | slice, z: Float) -> Float:
        """Slopes c (m, K) of the losses of rows at scores z (m, K), weights included."""
        rows = np.arange(*rows.indices(self.data.n)) if isinstance(rows, slice) else rows
        problem = self.data, self.lanes, self.settings
        y = reference.targets(*problem, rows)
        s = reference.sample_weights(*problem, y, rows)
        return reference.slope(self.settings, z, y, s)

    def smooth_penalty(self) -> tuple[Float, Float]:
        """Gradient (K, d) and (K,) of the penalty without its L1 part: no row changes it."""
        return self.lanes.alpha[:, None] * self.coef, self.lanes.pull.copy()


def pose(
    estimator: BaseSGD,
    X: Any,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    fitted: bool = True,
    rates: bool = False,
) -> Posed:
    """The problem of a fitted estimator on rows X, y; rows of weight zero are left out.

    The estimator is not touched. With ``fitted=False`` it need not be fitted: its weights are then
    those that a fit starts from. With ``rates`` the lanes have the learning rates of a fit.

    Raises
    ------
    NotFittedError
        If the estimator was not fitted.
    ValueError
        Bad input; the message names the argument.
    """
    begun = hasattr(estimator, "n_features_in_") and hasattr(estimator, "n_iter_")
    if fitted or begun:
        check_is_fitted(estimator)
    estimator = copy.copy(estimator)
    make_plain(estimator)
    check_parameters(estimator)
    with blame_input(estimator, X):
        task = (estimator._again if begun else estimator._begin)(X, y, sample_weight)
        kept = vars(estimator).get("_kept")
        scaling = estimator._scaling(task, task.weight, kept)
        rows = slice(None) if task.weight is None else np.flatnonzero(task.weight)
        weight = None if task.weight is None else task.weight[rows]
        X = task.X[rows] if task.weight is not None else task.X
        if sp.issparse(X) and not X.has_canonical_format:  # squares are of sums
            X = X.copy()
            X.sum_duplicates()
        parts = X, task.y[rows], weight, scaling.offset, scaling.scale
        data = Data(*parts, checked=True)
        random = 0 if estimator.random_state is None else estimator.random_state
        settings = settings_of(estimator, task, data, None, seed_of(random))
        lanes = unrated_lanes(estimator, task)
        if rates:
            lanes, _ = lanes_of(estimator, task, data, settings, None)
        k = len(task.labels)
        start = np.zeros((k, data.d)), estimator._initial(k)
        model = scaling.to_trained(*estimator._model(vars(estimator))) if begun else start
        coef, intercept = model
        wide = np.asarray(coef, dtype=np.float64), np.asarray(intercept, dtype=np.float64)
        return Posed(data, lanes, settings, *wide, scaling)
