"""How the candidates of a search score on test rows, and the table that says so."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.stats import rankdata
from sklearn.utils.validation import _check_method_params

from ..estimators.base import BaseSGD
from ..estimators.standardise import Scaling
from ..estimators.task import Task
from ..estimators.validation import ModelScore, products, warn_of_one_row
from ..problem import take
from .lanes import Models

__all__ = ["results_of", "scores_of"]

SCORE_VALUES = 1 << 22
"""Values of test rows, or their scores, that are in memory at a time."""


def _default_scores(
    model: BaseSGD, task: Task, test: NDArray[np.int64], coef: Any, intercept: Any
) -> NDArray[np.float64]:
    """Accuracy, or R^2, of each candidate on test rows: coef (C, K, d), intercept (C, K)."""
    count, k, d = coef.shape
    w, b = coef.reshape(-1, d), intercept.ravel()
    weight = np.ones(len(test)) if task.weight is None else task.weight[test].astype(np.float64)
    total = np.zeros(count)
    values = task.X.nnz // task.X.shape[0] if issparse(task.X) else d
    size = max(1, SCORE_VALUES // max(values, len(w)))
    for start in range(0, len(test), size):
        rows = test[start : start + size]
        dense = not issparse(task.X)
        part = task.X.take(rows, axis=0) if dense else take(task.X, rows)  # 3 times as fast
        with np.errstate(over="ignore", invalid="ignore"):  # scores may be of any size
            scores, y = products(part, w) + b, task.y[rows][:, None]
            if not task.sign_targets:
                values = (y - model._means(scores).astype(np.float64)) ** 2
            elif k == 1:
                values = (scores > 0) == (y > 0)
            else:
                values = scores.reshape(len(rows), count, k).argmax(axis=2) == y
            total += weight[start : start + size] @ values
    if task.sign_targets:
        return total / weight.sum()
    if np.count_nonzero(weight) < 2:
        return np.full(count, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        y = task.y[test].astype(np.float64)
        spread = weight @ (y - np.average(y, weights=weight)) ** 2
        return 1.0 - total / spread if spread > 0.0 else np.where(total == 0.0, 1.0, 0.0)


def scores_of(
    estimators: Sequence[BaseSGD],
    task: Task,
    tests: Sequence[NDArray[np.int64]],
    models: Models,
    error_score: float | str,
    options: dict[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Scores of the candidates on each split's test rows, (C, s).

    ``error_score`` where a run diverged, or a scorer raised an exception. A scorer is given the
    candidate's own estimator, of ``estimators``, and ``options`` by name, of the test rows where
    they are of all rows; without them sample weights, if it takes them.
    """
    base = estimators[0]
    default = base.scoring in (None, "accuracy" if task.sign_targets else "r2")
    scores = np.full(models.failed.T.shape, np.nan)
    undefined, errors = False, _Errors(error_score)
    for f, test in enumerate(tests):
        weight = None if task.weight is None else task.weight[test]
        if weight is not None and not weight.any():
            raise ValueError(f"The sample weights of the test rows of split {f} are all zero.")
        good = ~models.failed[f]
        coef, intercept = models.coef[f, good], models.intercept[f, good]
        if default and task.y.ndim == 1 and options is None:
            if not (task.sign_targets or undefined):
                undefined = warn_of_one_row(test, weight)
            scores[good, f] = _default_scores(base, task, test, coef, intercept)
        else:
            of_test = None if options is None else _check_method_params(task.X, options, test)
            rows = take(task.X, test), task.user_y[test], weight, Scaling(), of_test
            score = ModelScore(base, *rows)
            for c, *model in zip(np.flatnonzero(good), coef, intercept, strict=True):
                score.use(estimators[c])
                scores[c, f] = errors.guard(score, *model)
        if models.failed[f].any():
            scores[models.failed[f], f] = error_score
    errors.warn()
    return scores


class _Errors:
    """Exceptions of a scorer, which follow ``error_score`` as in scikit-learn's searches."""

    def __init__(self, error_score: float | str) -> None:
        self.error_score, self.count, self.last = error_score, 0, ""

    def guard(self, score: ModelScore, *model: Any) -> float:
        """The score of a model; ``error_score`` if there is an exception."""
        try:
            return score(*model)
        except Exception:
            if isinstance(self.error_score, str):  # "raise"
                raise
            self.count, self.last = self.count + 1, traceback.format_exc()
            return self.error_score

    def warn(self) -> None:
        """One warning of all, with the last of them."""
        if self.count:
            warnings.warn(
                f"Scoring failed {self.count} times. The score on these train-test partitions "
                f"will be set to {self.error_score}. Details of the last: \n{self.last}",
                UserWarning,
                stacklevel=5,
            )


def results_of(candidates: Sequence[dict[str, Any]], scores: NDArray[np.float64]) -> dict[str, Any]:
    """``cv_results_`` as GridSearchCV has it, of scores (C, s)."""
    results: dict[str, Any] = {
        f"param_{name}": np.array(
            [candidate[name] for candidate in candidates],
            dtype=object if name == "class_weight" else None,
        )
        for name in candidates[0]
    }
    results["params"] = list(candidates)
    results.update((f"split{f}_test_score", column) for f, column in enumerate(scores.T))
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite scores
        mean = scores.mean(axis=1)
        results["mean_test_score"], results["std_test_score"] = mean, scores.std(axis=1)
    known = np.nan_to_num(mean, nan=-np.inf)  # NaN last, and infinities as the largest numbers
    ranks = rankdata(-known, method="min")
    results["rank_test_score"] = ranks.astype(np.int32)
    return results
