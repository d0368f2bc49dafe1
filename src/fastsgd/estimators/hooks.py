"""What an estimator adds to what all share: its lanes, its attributes, its scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .task import Task

__all__ = ["Hooks"]


class Hooks(BaseEstimator):
    """Parameters that all estimators have, and what each of them answers in its own way."""

    penalty: str | None = "l2"
    l1_ratio: float | None = 0.15
    epsilon: float = 0.1
    quantile: float = 0.5
    scoring: Any = None

    _passive_aggressive_loss = "hinge"
    _multilabel = False
    _pull = 0.0

    loss: Any
    alpha: float
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    early_stopping: bool
    validation_fraction: float
    clip_norm: float | None
    learning_rate: Any
    on_divergence: str
    certificate: bool
    standardize: bool

    @property
    def _strength(self) -> float:
        """Strength of the whole penalty."""
        return self.alpha

    def _begin(self, X: Any, y: Any, sample_weight: Any) -> Task:
        """Lanes of a fit from scratch, from its input."""
        raise NotImplementedError

    def _again(self, X: Any, y: Any, sample_weight: Any) -> Task:
        """Lanes of the model as it is fitted, on other rows."""
        raise NotImplementedError

    def _attributes(self, coef: Any, intercept: Any) -> dict[str, Any]:
        """The attributes that publish a model (K, d) and (K,)."""
        return {"coef_": coef, "intercept_": intercept}

    def _model(self, attributes: dict[str, Any]) -> tuple[Any, Any]:
        """The model (K, d) and (K,) of such attributes."""
        coef = attributes["coef_"]
        coef = coef.toarray() if sp.issparse(coef) else coef
        return np.atleast_2d(coef), np.atleast_1d(attributes["intercept_"])

    def _class_weights(
        self, encoded: NDArray[np.floating], weight: NDArray[np.floating] | None
    ) -> dict[str, Any]:
        """``weight_positive`` and ``weight_negative`` of the lanes where rows have these weights,
        where not 1."""
        return {}

    def _initial(self, k: int) -> NDArray[np.float64]:
        """Intercepts (K,) that a fit from scratch starts from."""
        return np.zeros(k)

    def _measure(self, scores: Any, y: Any, weight: Any) -> Any:
        """The default validation score of raw scores (n, K): per lane, or one for all."""
        raise NotImplementedError
