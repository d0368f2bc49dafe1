"""What a search is given as X: arrays, or a source of rows and how it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from ..estimators.base import BaseSGD
from ..estimators.network_fitting import BaseMLP
from ..estimators.rows import SourceOptions, blocks_to_predict, comes_in_blocks
from .block_scores import block_scores

__all__ = ["reads_source", "score_of_source", "split_options"]

OPTIONS = frozenset(SourceOptions.__annotations__)


def reads_source(estimator: Any, X: Any, params: dict[str, Any]) -> bool:
    """Whether X is a source, or is said how to be read as one.

    A list of strings may be documents for a pipeline, and its steps may have parameters of any
    name.
    """
    if type(X) is np.ndarray and not params:
        return False
    options, ours = params.keys() & OPTIONS, isinstance(estimator, (BaseSGD, BaseMLP))
    if ours and options:
        return True
    if not (ours or options) and isinstance(X, (list, tuple)):
        return False
    return comes_in_blocks(X, target=params.get("target"))


def split_options(params: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """``sample_weight``, how a source is read, and what else ``fit`` was given by name."""
    options = {name: value for name, value in params.items() if name in OPTIONS}
    others = {name: value for name, value in params.items() if name not in OPTIONS}
    return others.pop("sample_weight", None), options, others


def score_of_source(model: Any, scorer: Any, X: Any) -> float:
    """The score of a fitted estimator on a source, block by block.

    Raises
    ------
    ValueError
        If the source has no targets, or the scorer needs all rows at once.
    """
    score = block_scores(scorer, classifier=is_classifier(model))["score"]()
    for block in blocks_to_predict(model, X):
        if block.y is None:
            raise ValueError("X must have the targets too, to be scored")
        score.add(model, block.X, block.y)
    return score.value()
