"""How the models of a split score: the default score of all of them at once, or any scorer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.metrics._scorer import _BaseScorer, _MultimetricScorer, _PassthroughScorer
from sklearn.model_selection._validation import _score

from ..estimators.base import BaseSGD
from ..estimators.classifier import SGDClassifier
from ..estimators.input import check_finite
from ..estimators.task import Task
from ..estimators.validation import products, warn_of_one_row
from ..problem import take

__all__ = ["Rows", "Scoring", "quietly"]

SCORE_VALUES = 1 << 22
"""Values of test rows, or their scores, that are in memory at a time."""


@dataclass
class Rows:
    """Rows that the models of a split are scored on.

    Attributes
    ----------
    users : callable
        Gives X and y as a scorer has them.
    options : dict
        What the scorer is given by name.
    task : Task or None
        The rows, or more, as checked arrays, where the labels of y are known to the models.
    which : ndarray of shape (n_rows,), int64
        Their numbers in ``task``.
    """

    users: Callable[[], tuple[Any, Any]]
    options: dict[str, Any]
    task: Task | None = None
    which: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def weight(self) -> NDArray[np.float64] | None:
        """Sample weights of the score; ones where there are none; None if they are no weights."""
        if "sample_weight" not in self.options:
            return np.ones(len(self.which))
        weight = np.asarray(self.options["sample_weight"])
        if weight.shape != (len(self.which),) or weight.dtype.kind not in "fiub":
            return None
        weight = weight.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total = weight.sum()
        return weight if np.isfinite(total) and total > 0.0 else None


def quietly(when: bool) -> AbstractContextManager[Any]:
    """Without NumPy's warnings of scikit-learn's scores, which are of predictions of any size."""
    return np.errstate(over="ignore", invalid="ignore") if when else nullcontext()


class Scoring:
    """What a search scores by.

    Parameters
    ----------
    scoring, error_score
        As the search has them.
    scorer : callable
        What scikit-learn makes of ``scoring``.
    """

    def __init__(self, scoring: Any, scorer: Any, error_score: float | str) -> None:
        self.scoring, self.scorer, self.error_score = scoring, scorer, error_score
        self.undefined = False
        kinds = scorer._scorers.values() if isinstance(scorer, _MultimetricScorer) else [scorer]
        own = (_BaseScorer, _PassthroughScorer)
        self.by_predictions = all(isinstance(one, own) for one in kinds)
        """Whether the score depends on a model's predictions alone."""

    def of(
        self,
        models: Sequence[BaseSGD],
        coef: NDArray[np.floating],
        intercept: NDArray[np.floating],
        rows: Rows,
        wrap: Callable[[Any], Any],
    ) -> list[Any]:
        """Scores of C models of weights (C, K, d) and intercepts (C, K): numbers, or dicts of them.

        ``wrap`` makes of a fitted model the estimator that the scorer is given.
        """
        if self._is_default(models[0], rows):
            weight = rows.weight()
            if weight is not None:
                return self._default(models[0], rows, weight, coef, intercept)
        scores = []
        X, y = rows.users()
        for model, *weights in zip(models, coef, intercept, strict=True):
            model = copy.copy(model)
            vars(model).update(model._attributes(*weights))
            with quietly(self.by_predictions):
                parts = self.scorer, rows.options, self.error_score
                scores.append(_score(wrap(model), X, y, *parts))
        return scores

    def failed(self) -> Any:
        """The score of a fit that failed."""
        if isinstance(self.scorer, _MultimetricScorer):
            return dict.fromkeys(self.scorer._scorers, self.error_score)
        return self.error_score

    def _is_default(self, model: BaseSGD, rows: Rows) -> bool:
        named = "accuracy" if isinstance(model, SGDClassifier) else "r2"
        if not (self.scoring is None or (isinstance(self.scoring, str) and self.scoring == named)):
            return False
        known = rows.task is not None and rows.task.y.ndim == 1 and len(rows.which) > 0
        return known and rows.options.keys() <= {"sample_weight"}

    def _default(
        self,
        model: BaseSGD,
        rows: Rows,
        weight: NDArray[np.float64],
        coef: NDArray[np.floating],
        intercept: NDArray[np.floating],
    ) -> list[float]:
        """Accuracy, or R^2."""
        assert rows.task is not None
        regression = not rows.task.sign_targets
        if regression and len(rows.which) < 2:
            if not self.undefined:  # a warning for all
                self.undefined = warn_of_one_row(rows.task.y[rows.which], None)
            return [np.nan] * len(coef)
        total = _totals(model, rows.task, rows.which, weight, coef, intercept)
        if not regression:
            return (total / weight.sum()).tolist()
        with np.errstate(over="ignore", invalid="ignore"):
            y = rows.task.y[rows.which].astype(np.float64)
            spread = weight @ (y - np.average(y, weights=weight)) ** 2
            if spread > 0.0:
                return (1.0 - total / spread).tolist()
        return np.where(total == 0.0, 1.0, 0.0).tolist()


def _totals(
    model: BaseSGD,
    task: Task,
    which: NDArray[np.int64],
    weight: NDArray[np.float64],
    coef: NDArray[np.floating],
    intercept: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Weight of the rows that each candidate classifies rightly, or sum of its squared errors."""
    count, k, d = coef.shape
    w, b = coef.reshape(-1, d), intercept.ravel()
    total = np.zeros(count)
    dense = not issparse(task.X)
    values = d if dense else task.X.nnz // task.X.shape[0]
    size = max(1, SCORE_VALUES // max(values, len(w)))
    for start in range(0, len(which), size):
        rows = which[start : start + size]
        part = task.X.take(rows, axis=0) if dense else take(task.X, rows)  # 3 times as fast
        with np.errstate(over="ignore", invalid="ignore"):  # scores may be of any size
            scores, y = products(part, w) + b, task.y[rows][:, None]
            if np.isnan(scores).any():
                check_finite(model, part)
            if not task.sign_targets:
                values = (y - model._means(scores).astype(np.float64)) ** 2  # type: ignore[attr-defined]
            elif k == 1:
                values = (scores > 0) == (y > 0)
            else:
                values = scores.reshape(len(rows), count, k).argmax(axis=2) == y
            total += weight[start : start + size] @ values
    return total
