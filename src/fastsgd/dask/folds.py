"""Folds of rows on shards, lanes that leave them out, and scores of their models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.first_pass import Labels, Moments
from ..distributed import Shard
from ..distributed.held_out import HeldOut
from ..distributed.stream import ShardStream
from ..estimators.streams import left_out
from ..model_selection.folds import Folds, LeavesOut, count_of
from ..model_selection.stream_evaluation import (
    Fitted,
    Scores,
    StreamEvaluation,
    Wrong,
    add_block,
)
from ..problem import computed_in

__all__ = ["ShardEvaluation", "ShardFolds"]

NOT_TRIED = "client", "shards", "local_epochs", "finish", "finish_max_iter"
"""Parameters that all candidates have in common."""


class ShardFolds(Folds):
    """Folds of rows on shards, by a hash of the number that a row has among all: see ``Folds``."""

    def __init__(self, cv: Any, seed: int, stream: ShardStream) -> None:
        self.count = count_of(cv, "are on a cluster")
        self.seed, self.stream = seed, stream  # type: ignore[assignment]
        ends = np.cumsum([one.rows for one in stream.summaries]).tolist()
        self.rule = HeldOut(self.count, seed, (0, *ends[:-1]))
        found = stream.engine.each(_counted, self.rule)
        self.rows = np.sum([rows for rows, _, _ in found], axis=0)
        sums: dict[Any, NDArray[np.float64]] = {}
        for _, labels, weights in found:
            for label, weight in zip(labels, weights.T, strict=True):
                sums[label] = sums.get(label, 0.0) + weight
        counted = all(one.labels is not None for one in stream.summaries)
        self.labels = np.array(list(sums)) if counted else np.zeros(0)
        self.label_weights = np.zeros((self.count, 0))
        if counted and sums:
            self.label_weights = np.stack(list(sums.values()), axis=1)
        self._check()

    def of_sample(self) -> NDArray[np.int64]:
        """The folds of the rows of the stream's sample."""
        summaries: Any = self.stream.summaries  # type: ignore[attr-defined]
        return np.concatenate(
            [self.rule.fold(one.number, one.sample_rows) for one in summaries if one.rows]
        )


def _counted(
    shard: Shard, rule: HeldOut
) -> tuple[NDArray[np.int64], list[Any], NDArray[np.float64]]:
    """Rows (s,) of each of s folds, the labels of a shard, and their weights (s, n_labels)."""
    fold, y = rule.fold(shard.number, np.arange(shard.rows)), shard.y
    rows = np.bincount(fold, minlength=rule.count)
    labels = Labels()
    if shard.rows and y is not None and y.ndim == 1:
        labels.add(y, shard.weight)
    if y is None or not labels.values:
        return rows, [], np.zeros((rule.count, 0))
    size = len(labels.values)
    sums = np.bincount(fold * size + labels.codes(y), shard.weight, minlength=rule.count * size)
    return rows, labels.values, sums.reshape(rule.count, size).astype(np.float64)


class ShardFoldStream(LeavesOut, ShardStream):
    """The rows on shards."""

    folds: ShardFolds

    @property
    def held_out(self) -> HeldOut:  # type: ignore[override]
        """Rows that the lanes leave out."""
        rule = self.folds.rule
        return HeldOut(rule.count, rule.seed, rule.firsts, tuple(self.held))

    def label_weights(self, X: Any) -> tuple[NDArray[Any], NDArray[np.floating]]:
        """See :class:`ShardStream`."""
        weights = np.delete(self.folds.label_weights, self.held, axis=0).sum(axis=0)
        labels = self.folds.labels
        return self.estimator._targets_of(X[: len(labels)], labels), weights.astype(computed_in(X))

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """See :class:`ShardStream`."""
        total = Moments(*np.zeros((2, self.summaries[0].columns)))
        for one in self.engine.each(_moments, self.held_out):
            total.merge(one)
        return total.mean, total.squares / (total.total or 1.0), total.rows


def _moments(shard: Shard, rule: HeldOut) -> Moments:
    """Of the rows of a shard that are not held out."""
    found = Moments(*np.zeros((2, shard.X.shape[1])))
    for first in range(0, shard.rows, 4096):
        rows = np.arange(first, min(shard.rows, first + 4096))
        weight = None if shard.weight is None else shard.weight[rows]
        fold = rule.fold(shard.number, rows)
        found.add(shard.X[rows], left_out(fold, rule.held, rule.count, weight, np.float64)[0])
    return found


class ShardEvaluation(StreamEvaluation):
    """Evaluates candidates on folds of rows on shards: see ``StreamEvaluation``."""

    def _base(self, estimator: Any) -> Any:
        return estimator._trained_as()

    def _stream_without(self, f: int) -> ShardFoldStream:
        return ShardFoldStream(self.rows.stream, self.folds, [f])

    def _models(self, alikes: list[int], refused: dict[int, ValueError]) -> Any:
        for name in NOT_TRIED:
            if name in self.candidates[alikes[0]]:
                raise ValueError(
                    f"{name} must not be searched: all candidates are trained in the same rounds"
                )
        return super()._models(alikes, refused)

    def _add_rows(self, fitted: Fitted, scores: Scores, wrong: Wrong) -> None:
        """Scores of the rows of each shard, which are added up in the order of the shards."""
        engine: Any = self.rows.stream.engine  # type: ignore[union-attr]
        rule, raises = self.folds.rule, self.search.error_score == "raise"  # type: ignore[attr-defined]
        makers = dict.fromkeys(scores, self.makers)
        for found, failed in engine.each(_scored, rule, fitted, makers, raises):
            for place, text in failed.items():
                wrong.setdefault(place, text)
            for place, by_name in found.items():
                for name, score in by_name.items():
                    scores[place][name].merge(score)


def _scored(
    shard: Shard,
    rule: HeldOut,
    fitted: Fitted,
    makers: dict[tuple[int, int, str], dict[str, Callable[[], Any]]],
    raises: bool,
) -> tuple[Scores, Wrong]:
    """Scores of the rows of a shard."""
    scores = {place: {name: make() for name, make in by.items()} for place, by in makers.items()}
    wrong: Wrong = {}
    if shard.rows:
        fold = rule.fold(shard.number, np.arange(shard.rows))
        add_block(shard.X, shard.y, fold, fitted, scores, wrong, raises)
    return scores, wrong
