"""Folds of rows on shards, lanes that leave them out, and scores of their models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Block
from ..data.first_pass import Labels, Moments
from ..distributed import Shard
from ..distributed.held_out import HeldOut
from ..distributed.shards import AnyShard, blocks_of
from ..distributed.stream import ShardStream
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
        found = stream.engine.each(_counted, self.rule, len(stream.summaries))
        self.rows = np.sum([rows for rows, *_ in found], axis=0)
        self.sample_rows = [rows for *_, rows in found]
        sums: dict[Any, NDArray[np.float64]] = {}
        for _, labels, weights, _ in found:
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
        found = [
            one.sample_rows if streamed is None else streamed
            for one, streamed in zip(summaries, self.sample_rows, strict=True)
        ]
        folds = [
            self.rule.fold(one.number, rows)
            for one, rows in zip(summaries, found, strict=True)
            if one.rows
        ]
        return np.concatenate(folds)


def _counted(
    shard: Shard | AnyShard, rule: HeldOut, shards: int
) -> tuple[NDArray[np.int64], list[Any], NDArray[np.float64], NDArray[np.int64] | None]:
    """Rows (s,) of each of s folds, the labels of a shard, and their weights (s, n_labels); of one
    that is streamed also the numbers of the rows of its sample."""
    count, labels, firsts = rule.count, Labels(), list[int]()
    rows, sums = np.zeros(count, dtype=np.int64), np.zeros((count, 0))
    for block, numbers in _numbered(shard):
        fold, y = rule.fold(shard.number, numbers), block.y
        rows += np.bincount(fold, minlength=count)
        if y is None or y.ndim != 1:
            continue
        firsts += numbers[labels.add(y, block.sample_weight)[0]].tolist()
        if labels.values is not None:
            size = len(labels.values)
            at = fold * size + labels.codes(y)
            weights: Any = np.bincount(at, block.sample_weight, minlength=count * size)
            before, sums = sums, weights.reshape(count, size).astype(np.float64)
            sums[:, : before.shape[1]] += before
    if labels.values is None:
        firsts, sums = [], np.zeros((count, 0))
    sample = None if isinstance(shard, Shard) else shard.sample_rows(shards, firsts)
    return rows, labels.values or [], sums, sample


def _numbered(shard: Shard | AnyShard) -> Iterator[tuple[Block, NDArray[np.int64]]]:
    """The blocks of a shard, and the numbers of their rows in it."""
    first = 0
    for block in blocks_of(shard):
        yield block, np.arange(first, first + len(block))
        first += len(block)


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
        columns = self.summaries[0].columns
        total = Moments(*np.zeros((2, columns)))
        for one in self.engine.each(_moments, self.held_out, columns):
            total.merge(one)
        return total.mean, total.squares / (total.total or 1.0), total.rows


def _moments(shard: Shard | AnyShard, rule: HeldOut, columns: int) -> Moments:
    """Of the rows of a shard that are not held out."""
    found = Moments(*np.zeros((2, columns)))
    for block, numbers in _numbered(shard):
        for first in range(0, len(block), 4096):
            rows = slice(first, first + 4096)
            weight = None if block.sample_weight is None else block.sample_weight[rows]
            weight, _ = rule.weights(shard.number, numbers[rows], weight, np.float64)
            found.add(block.X[rows], weight)
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
    shard: Shard | AnyShard,
    rule: HeldOut,
    fitted: Fitted,
    makers: dict[tuple[int, int, str], dict[str, Callable[[], Any]]],
    raises: bool,
) -> tuple[Scores, Wrong]:
    """Scores of the rows of a shard."""
    scores = {place: {name: make() for name, make in by.items()} for place, by in makers.items()}
    wrong: Wrong = {}
    for block, numbers in _numbered(shard):
        fold = rule.fold(shard.number, numbers)
        add_block(block.X, block.y, fold, fitted, scores, wrong, raises)
    return scores, wrong
