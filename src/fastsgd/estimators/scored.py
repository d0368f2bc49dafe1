"""``score`` of classifiers and regressors: of arrays, or of sources, which have their targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, r2_score

from ..inputs.conversions import MatrixLike
from .rows import predicted_pairs

__all__ = ["AccuracyMixin", "DeterminationMixin"]


class AccuracyMixin:
    """The score of a classifier."""

    def score(
        self, X: MatrixLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Accuracy of the predictions: the share of rows whose label, or all labels, are right.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
            Rows to predict.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), optional
            Their labels; a source has its own.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            From 0 to 1.
        """
        y, predictions, sample_weight = predicted_pairs(self, X, y, sample_weight)
        return float(accuracy_score(y, predictions, sample_weight=sample_weight))


class DeterminationMixin:
    """The score of a regressor."""

    def score(
        self, X: MatrixLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """R^2 of the predictions; of several outputs the mean.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
            Rows to predict.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Their targets; a source has its own.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            1 - (sum of squared errors) / (sum of squares around the mean); at most 1.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # squares of targets of any size
            y, predictions, sample_weight = predicted_pairs(self, X, y, sample_weight)
            return float(r2_score(y, predictions, sample_weight=sample_weight))
