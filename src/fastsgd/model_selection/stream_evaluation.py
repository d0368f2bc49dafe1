"""Candidates of a search on folds of a stream: trained in shared passes, scored in one."""

from __future__ import annotations

import copy
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import clone

from ..estimators.base import BaseSGD
from ..estimators.parameters import seed_of
from ..estimators.rows import Rows
from .block_scores import BlockScore, block_scores
from .candidates import alike, model_of, shares
from .folds import Folds, FoldStream, chunks
from .lanes import LANE_PARAMETERS, Models, fit_all
from .progress import Progress

__all__ = ["StreamEvaluation"]

PARTS = ("test_scores", "train_scores")


@dataclass
class _Group:
    """Candidates that were trained in the same passes.

    Attributes
    ----------
    models : dict of int to BaseSGD
        By the number of the candidate.
    trained : Models
    seconds : float
        Of a fit.
    """

    models: dict[int, BaseSGD]
    trained: Models
    seconds: float

    def fitted(self, position: int, fold: int) -> BaseSGD:
        """The model of a candidate that leaves a fold out."""
        model = copy.copy(list(self.models.values())[position])
        weights = self.trained.coef[fold, position], self.trained.intercept[fold, position]
        vars(model).update(model._attributes(*weights))
        model.n_iter_ = int(self.trained.epochs[fold, position].max())
        return model


Fitted = dict[tuple[int, int], BaseSGD]
"""Models, by the numbers of candidate and fold."""

Scores = dict[tuple[int, int, str], dict[str, BlockScore]]
"""Their scores by name, by these and by the part of the rows."""

Wrong = dict[tuple[int, int, str, str], str]
"""Exceptions of scores."""


def add_block(
    X: Any, y: Any, fold: Any, fitted: Fitted, scores: Scores, wrong: Wrong, raises: bool
) -> None:
    """Take in rows of a block, of these folds; exceptions of a score are kept for a warning, unless
    they are to be raised."""
    for f, part in dict.fromkeys((f, part) for _, f, part in scores):
        which = np.flatnonzero((fold == f) if part == "test_scores" else (fold != f))
        if not len(which):
            continue
        rows = X[which], _targets(y)[which]
        for place in (place for place in scores if place[1:] == (f, part)):
            for name, score in scores[place].items():
                if (*place, name) in wrong:
                    continue
                try:
                    with np.errstate(over="ignore", invalid="ignore"):  # predictions of any size
                        score.add(fitted[place[:2]], *rows)
                except Exception:
                    if raises:
                        raise
                    wrong[(*place, name)] = traceback.format_exc()


class StreamEvaluation:
    """Evaluates candidates on folds of rows that are not all in memory.

    Candidates that differ in ``LANE_PARAMETERS`` alone share the passes of all folds. At the end
    the models of all candidates are scored in one pass over the blocks.

    Parameters
    ----------
    search : BaseSearchCV
        Has the estimator and all settings.
    scorer : callable
        What scikit-learn makes of its ``scoring``.
    rows : Rows
        With a stream.
    folds : Folds
        Of the stream.
    """

    def __init__(self, search: Any, scorer: Any, rows: Rows, folds: Folds) -> None:
        self.search, self.rows, self.folds = search, rows, folds
        classifier = hasattr(search.estimator, "class_weight")
        self.makers = block_scores(scorer, classifier=classifier)
        self.by_name = hasattr(scorer, "_scorers")
        self.parts = PARTS[: 1 + search.return_train_score]

    def splits(self, cv: Any) -> list[Any]:
        """The folds; ``cv`` of a search that brings its own is refused."""
        if cv is not None:
            raise ValueError(
                f"a search with splits of its own is not for rows that {self.search._where}"
            )
        return self.folds.split()

    def __call__(
        self, candidates: Sequence[dict[str, Any]], splits: Sequence[int], progress: Progress
    ) -> list[dict[str, Any]]:
        """Results of all candidates on all folds, folds running fastest."""
        self.candidates, self.progress = candidates, progress
        refused: dict[int, ValueError] = {}
        groups: list[_Group] = []
        for alikes in alike(candidates, range(len(candidates)), LANE_PARAMETERS.__contains__):
            models = self._models(alikes, refused)
            if models:
                groups.append(self._trained(models))
        if len(refused) == len(candidates):
            raise refused[0]
        if refused and self.search.error_score == "raise":
            raise next(iter(refused.values()))
        self.found = {
            (c, f): self._failed(error, f)
            for c, error in refused.items()
            for f in range(self.folds.count)
        }
        self._score(groups)
        return [self.found[pair] for pair in product(range(len(candidates)), splits)]

    # Training.

    def _models(self, alikes: list[int], refused: dict[int, ValueError]) -> dict[int, BaseSGD]:
        """The estimator with each candidate's parameters, where they are valid.

        Raises
        ------
        ValueError
            If passes cannot be shared.
        """
        own = self.candidates[alikes[0]]
        fixed = {name: value for name, value in own.items() if name not in LANE_PARAMETERS}
        base = self._base(clone(self.search.estimator).set_params(**clone(fixed, safe=False)))
        if not shares(base):
            raise ValueError(
                f"a search over rows that {self.search._where} trains all folds in "
                "shared passes: early_stopping must be False, on_divergence 'raise', and the "
                "estimator without callbacks"
            )
        models: dict[int, BaseSGD] = {}
        for c in alikes:
            of_lane = {n: value for n, value in self.candidates[c].items() if n in LANE_PARAMETERS}
            try:
                models[c] = model_of(base, of_lane, like=next(iter(models.values()), None))
            except ValueError as error:
                refused[c] = error
        return models

    def _base(self, estimator: Any) -> Any:
        """What lanes are made of."""
        return estimator

    def _stream_without(self, f: int) -> Any:
        """All rows, for lanes that leave a fold out."""
        return FoldStream(self.rows.stream, self.folds, [f])

    def _trained(self, models: dict[int, BaseSGD]) -> _Group:
        """The models of all folds."""
        start, rows, folds = time.time(), self.rows, self.folds
        lanes = list(models.values())
        base = copy.copy(lanes[0])
        if hasattr(base, "class_weight"):  # which a lane has of its own
            base.class_weight = None
        before = set(vars(base))
        task = base._begin(rows.X, rows.y, rows.sample_weight)
        learnt = {name: value for name, value in vars(base).items() if name not in before}
        for model in lanes:
            vars(model).update(learnt)
        if task.sign_targets and len(task.labels) == 1:
            self._check_two_classes()
        stream = task.stream = rows.stream
        assert stream is not None
        seed = seed_of(lanes[0].random_state)
        stream.begin(base, seed, 0.0)
        fold = folds.of_sample()
        trains = [np.flatnonzero(fold != f) for f in range(folds.count)]
        streams = [self._stream_without(f) for f in range(folds.count)]
        trained = fit_all(lanes, task, trains, seed, streams)
        if trained.error is not None and self.search.error_score == "raise":
            raise trained.error
        return _Group(models, trained, (time.time() - start) / (len(lanes) * folds.count))

    def _check_two_classes(self) -> None:
        """Refuse a fold that has all rows of one of two classes."""
        weights = self.folds.label_weights
        if weights.shape[1] == 2 and not (weights.sum(axis=0) - weights > 0.0).all():
            raise ValueError(
                "a fold has all rows of one of the two classes: there are too few of them for "
                f"cv={self.folds.count}"
            )

    # Scores.

    def _score(self, groups: Sequence[_Group]) -> None:
        """Results of all candidates, in a pass over the blocks."""
        start, count = time.time(), self.folds.count
        models: dict[tuple[int, int], BaseSGD] = {}
        scores: Scores = {}
        for group in groups:
            for (position, c), f in product(enumerate(group.models), range(count)):
                if not group.trained.failed[f, position]:
                    models[c, f] = group.fitted(position, f)
                    for part in self.parts:
                        scores[c, f, part] = {name: make() for name, make in self.makers.items()}
        wrong: Wrong = {}
        self._add_rows(models, scores, wrong)
        each = (time.time() - start) / max(1, len(models))
        self._warn(wrong)
        for group in groups:
            error = group.trained.error
            text = "" if error is None else "".join(traceback.format_exception(error))
            for (position, c), f in product(enumerate(group.models), range(count)):
                failed = bool(group.trained.failed[f, position])
                result = self._result(text if failed else None, f, group.seconds, each)
                if not failed:
                    for part in self.parts:
                        values = {
                            name: self._value(score, (c, f, part, name), wrong)
                            for name, score in scores[c, f, part].items()
                        }
                        result[part] = values if self.by_name else values["score"]
                self.found[c, f] = result
                self.progress.tell(c, f, result)

    def _add_rows(self, fitted: Fitted, scores: Scores, wrong: Wrong) -> None:
        """Take in all rows."""
        raises = self.search.error_score == "raise"
        for block, numbers in chunks(self.folds.stream):
            add_block(block.X, block.y, self.folds.of(numbers), fitted, scores, wrong, raises)

    def _value(
        self, score: BlockScore, place: tuple[int, int, str, str], wrong: dict[Any, str]
    ) -> float:
        if place in wrong:
            return float(self.search.error_score)
        return score.value()

    def _warn(self, wrong: dict[Any, str]) -> None:
        """As scikit-learn does of scorers that fail."""
        if wrong:
            warnings.warn(
                f"Scoring failed. {len(wrong)} scores will be set to {self.search.error_score}. "
                f"Details: \n{next(iter(wrong.values()))}",
                UserWarning,
                stacklevel=2,
            )

    def _result(self, error: str | None, f: int, fit: float, score: float) -> dict[str, Any]:
        value: Any = self.search.error_score
        if self.by_name:
            value = dict.fromkeys(self.makers, value)
        result = {part: copy.copy(value) for part in self.parts}
        result |= {"fit_error": error, "n_test_samples": int(self.folds.rows[f])}
        return result | {"fit_time": fit, "score_time": score}

    def _failed(self, error: ValueError, f: int) -> dict[str, Any]:
        return self._result("".join(traceback.format_exception(error)), f, 0.0, 0.0)


def _targets(y: Any) -> Any:
    """Targets of a block.

    Raises
    ------
    ValueError
        If there are none.
    """
    if y is None:
        raise ValueError("the source has no targets: name their column in target")
    return y
