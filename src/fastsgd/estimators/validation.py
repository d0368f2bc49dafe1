"""Validation sets, held out by zero weights or the user's own, and how a model is scored there."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils.extmath import safe_sparse_dot

from ..problem import blocks, computed_in
from .standardise import Scaling

Array = NDArray[np.floating]

HELD_OUT_ZERO = (
    "The sample weights for validation set are all zero, consider using a different random state."
)


def products(X: Any, coef: Any) -> Array:
    """X coef', shape (n, K); an X that is computed in another dtype is converted block by block.

    Products beyond the range of the dtype are infinite, of the right sign.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        out = _products(X, coef)
        if not np.isfinite(out).all():  # infinity minus infinity, perhaps
            rows = np.flatnonzero(~np.isfinite(out).all(axis=1))
            by = 2.0**-520 if out.dtype == np.float64 else 1.0
            few = safe_sparse_dot(
                X[rows].astype(np.float64) * by, coef.astype(np.float64).T * by, dense_output=True
            )
            out[rows] = few / by / by
    return out


def _products(X: Any, coef: Any) -> Array:
    """The same, where a sum of infinities of both signs is NaN."""
    if issparse(X) or X.dtype == computed_in(X):
        return safe_sparse_dot(X, coef.T, dense_output=True)
    dtype = np.result_type(computed_in(X), coef.dtype)
    out = np.empty((X.shape[0], coef.shape[0]), dtype=dtype)
    for rows in blocks(X):
        out[rows] = safe_sparse_dot(X[rows].astype(dtype), coef.T, dense_output=True)
    return out


def split(
    y: NDArray[Any],
    weight: Array | None,
    fraction: float,
    source: int | np.random.RandomState,
    *,
    stratify: bool,
) -> NDArray[np.int64]:
    """Rows to hold out: a fraction, of each class if asked; the same for the same seed.

    ``source`` is a seed, or a generator that is drawn from.

    Raises
    ------
    ValueError
        If either part would be empty, or of rows of weight zero alone.
    """
    kind = StratifiedShuffleSplit if stratify else ShuffleSplit
    source = source if isinstance(source, np.random.RandomState) else source % 2**32
    splitter = kind(n_splits=1, test_size=fraction, random_state=source)
    train, held_out = next(splitter.split(np.zeros((len(y), 1)), y))
    if weight is not None and not weight[held_out].any():
        raise ValueError(HELD_OUT_ZERO)
    if weight is not None and not weight[train].any():
        raise ValueError(
            "sample_weight is zero in all rows that early_stopping leaves to train on: consider "
            "using a different random state."
        )
    return np.sort(held_out)


def hold_out(weight: Array | None, rows: NDArray[np.int64], n: int, dtype: Any) -> Array:
    """Weights that leave the rows out of training, exactly; shape (n,)."""
    weight = np.ones(n, dtype=dtype) if weight is None else np.array(weight)
    weight[rows] = 0.0
    return weight


class LaneScore:
    """Scores of each lane on its own, (K,): what the estimator says of raw scores and targets.

    Parameters
    ----------
    measure : callable
        ``measure(scores, y, weight)`` of scores (n, K).
    X, y, weight
        The validation set; ``y`` as the lanes see it.
    loss : callable or None
        ``loss(scores, signs)`` of classes, whose mean tells apart epochs of equal score: with few
        rows accuracies are often equal, and the first of them may be of a model that has learnt
        nothing yet.
    scaling : Scaling
        Of the features that the models are trained on.

    Attributes
    ----------
    tie : ndarray of shape (K,) or None
        Mean loss of the last model that was scored.
    """

    def __init__(
        self,
        measure: Callable[..., Any],
        X: Any,
        y: NDArray[Any],
        weight: Array | None,
        loss: Callable[[Array, Array], Array] | None,
        scaling: Scaling,
    ) -> None:
        self.measure, self.X, self.y, self.weight = measure, X, y, weight
        self.loss, self.scaling = loss, scaling
        self.tie: Array | None = None

    def __call__(self, coef: Array, intercept: Array) -> Any:
        coef, intercept = self.scaling.to_users(coef, intercept)
        with np.errstate(over="ignore", invalid="ignore"):  # scores may be of any size
            scores = products(self.X, coef) + intercept
            if self.loss is not None:
                values = self.loss(scores.astype(np.float64), np.where(self.y, 1.0, -1.0))
                self.tie = np.average(values, axis=0, weights=self.weight)
            return self.measure(scores, self.y, self.weight)


class ModelScore:
    """One score for all lanes, by a scikit-learn scorer on a model that can predict.

    Parameters
    ----------
    estimator : estimator
        Of which a shallow copy gets the weights to be scored.
    X, y, weight
        The validation set, with the user's own labels.
    scaling : Scaling
        Of the features that the models are trained on.
    options : dict, optional
        What the scorer is given by name; ``weight`` as ``sample_weight``, if there are weights and
        the scorer takes them, where this is not said.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: NDArray[Any],
        weight: Array | None,
        scaling: Scaling,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.scaling = scaling
        self.use(estimator)
        self.scorer = check_scoring(self.model, scoring=estimator.scoring)
        self.named = isinstance(estimator.scoring, str)
        self.X, self.y = X, y
        weighs = getattr(self.scorer, "_accept_sample_weight", None)
        weighted = weight is not None and weighs is not None and weighs()
        self.options = {"sample_weight": weight} if weighted else {}
        if options is not None:
            self.options = options

    def use(self, estimator: Any) -> None:
        """Score models of another estimator, of the same scorer, from now on."""
        self.model = copy.copy(estimator)
        self.publish = functools.partial(published, estimator, self.scaling)
        vars(self.model).pop("feature_names_in_", None)  # X is an array by now

    def __call__(self, *model: Array) -> float:
        vars(self.model).update(self.publish(*model))
        # scikit-learn's warnings, of predictions of any size
        quiet: Literal["ignore"] | None = "ignore" if self.named else None
        with np.errstate(over=quiet, invalid=quiet):
            return number_of(self.scorer(self.model, self.X, self.y, **self.options))


def published(estimator: Any, scaling: Scaling, coef: Array, intercept: Array) -> dict[str, Any]:
    """The attributes that publish a model (K, d) and (K,) of scaled features."""
    attributes: dict[str, Any] = estimator._attributes(*scaling.to_users(coef, intercept))
    return attributes


def accuracies(scores: Array, positive: NDArray[np.bool_], weight: Array | None) -> Array:
    """Weighted share of rows whose score has the sign of their target, shape (K,)."""
    return np.average((scores > 0) == positive, axis=0, weights=weight)


def determinations(scores: Array, y: Array, weight: Array | None) -> Array:
    """R^2 of each output, shape (K,); 0 where y does not vary, unless it is met exactly.

    NaN of fewer than two rows, which say nothing of how y varies: see :func:`warn_of_one_row`.
    """
    if _rows(y, weight) < 2:
        return np.full(y.shape[1:], np.nan)
    with np.errstate(over="ignore", invalid="ignore"):  # scores may be of any size
        error = np.average((y - scores) ** 2, axis=0, weights=weight)
        centre = np.average(y, axis=0, weights=weight)
        spread = np.average((y - centre) ** 2, axis=0, weights=weight)
        exact = np.where(error == 0.0, 1.0, 0.0)
        return np.where(spread > 0.0, 1.0 - error / np.where(spread > 0.0, spread, 1.0), exact)


def _rows(y: Array, weight: Array | None) -> int:
    """Rows of positive weight."""
    return len(y) if weight is None else int(np.count_nonzero(weight))


def warn_of_one_row(y: Array, weight: Array | None) -> bool:
    """Warn, as scikit-learn's ``r2_score`` does, where R^2 is not defined; whether it is not."""
    if _rows(y, weight) > 1:
        return False
    warnings.warn(
        "R^2 score is not well-defined with less than two samples.",
        UndefinedMetricWarning,
        stacklevel=2,
    )
    return True


def number_of(score: Any) -> float:
    """What a scorer gave, as a number.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        if np.ndim(score) == 0:
            return float(score)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"scoring must return one number, got {score!r}")
