"""What a run looked like, epoch by epoch: lists of equal length that go on across calls."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELDS", "History", "entry", "mean"]

FIELDS = {
    "epoch": "epochs done since the run began, from 1",
    "loss": "mean over lanes of `losses`",
    "losses": "of the lanes (K,): mean loss of the rows, each before its step, plus the penalty",
    "validation_score": "mean over lanes of the validation score; NaN without validation",
    "learning_rate": "of the last update, of the first lane that made it",
    "gradient_norm": "root mean square of batch-gradient norms, mean over the lanes that trained",
    "weight_norm": "|w| at the end, mean over lanes",
    "full_gradient_norm": "with diagnostics: |grad L| at the end, all lanes together; else NaN",
    "gradient_noise": "with diagnostics: tr Sigma of single rows' gradients, the same; else NaN",
    "noise_scale": "with diagnostics: tr Sigma / |grad L|^2, the batch of equal noise; else NaN",
    "seconds": "time of the training steps",
    "rows_per_second": "rows over seconds",
}
"""The fields of ``history_``: one value an epoch."""


def _empty() -> dict[str, list[Any]]:
    return {name: [] for name in FIELDS}


@dataclass
class History:
    """Lists of one value an epoch, named in ``FIELDS``.

    Attributes
    ----------
    columns : dict of str to list
        What an estimator publishes as ``history_``.
    """

    columns: dict[str, list[Any]] = field(default_factory=_empty)

    def __len__(self) -> int:
        return len(self.columns["epoch"])

    def add(self, *values: Any) -> None:
        """Add an epoch: one value for each of ``FIELDS``, in their order."""
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def truncate(self, length: int) -> None:
        """Forget what came after the first ``length`` epochs."""
        for column in self.columns.values():
            del column[length:]

    def line(self, at: int = -1) -> str:
        """An epoch in words, for people."""
        row = {name: column[at] for name, column in self.columns.items()}
        score = row["validation_score"]
        parts = [
            f"epoch {row['epoch']:4d}",
            f"loss {row['loss']:.6g}",
            "" if math.isnan(score) else f"validation {score:.6g}",
            f"rate {row['learning_rate']:.3g}",
            f"|g| {row['gradient_norm']:.3g}",
            f"|w| {row['weight_norm']:.4g}",
            f"{row['seconds']:.3g} s",
            f"{row['rows_per_second']:.3g} rows/s",
        ]
        return "  ".join(part for part in parts if part)


def mean(values: NDArray[np.floating]) -> float:
    """The mean of a few numbers, without NumPy's overhead for one."""
    if len(values) == 1:
        return float(values[0])
    with np.errstate(over="ignore"):
        return float(values.sum()) / len(values)


NO_NOISE = (math.nan, math.nan, math.nan)


def entry(
    epoch: int,
    losses: NDArray[np.float64],
    score: Any,
    measures: tuple[float, float, float],
    noise: tuple[float, float, float],
    work: tuple[int, float],
) -> tuple[Any, ...]:
    """An epoch in the order of ``FIELDS``, of the losses (K,) of its models.

    ``score`` is one number or one for each model; ``measures`` are learning rate, gradient norm and
    weight norm, ``work`` rows and seconds.
    """
    score = score if isinstance(score, float) else mean(score)
    rows, seconds = work
    values = epoch, mean(losses), losses, score, *measures, *noise
    return (*values, seconds, rows / max(seconds, 1e-9))
