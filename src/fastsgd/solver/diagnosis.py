"""The gradient noise scale, epoch by epoch of a fit: ``fit(..., diagnostics=True)``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings, take
from ..statistics.gradients import AtWeights, Estimate, estimate

__all__ = ["Diagnosis"]

PART, LEAST = 400, 256
"""Rows of the sample: one of so many, and at least so many; a twentieth of an epoch's time."""


class Diagnosis:
    """Estimates gradient and noise at the weights of an epoch's end, from fresh rows each time.

    From batches of two sizes, one row and all m of the sample: ``two_batch_noise``, corrected for
    rows that are drawn without replacement.
    """

    def __init__(self, data: Data, lanes: Lanes, settings: Settings) -> None:
        self.problem = data, lanes, settings
        weight = data.sample_weight
        self.rows = None if weight is None else np.flatnonzero(weight)
        self.n = data.n if self.rows is None else len(self.rows)

    def __call__(
        self, epoch: int, coef: NDArray[np.floating], intercept: NDArray[np.floating]
    ) -> Estimate:
        """At weights (K, d) and (K,); over all lanes together."""
        data, lanes, settings = self.problem
        draw = np.random.default_rng((settings.seed % 2**64, epoch))
        some = np.sort(draw.choice(self.n, min(self.n, max(LEAST, self.n // PART)), replace=False))
        rows = some if self.rows is None else self.rows[some]
        weight = None if data.sample_weight is None else data.sample_weight[rows]
        part = Data(take(data.X, rows), data.y[rows], weight, data.offset, data.scale, checked=True)
        wide = coef.astype(np.float64), intercept.astype(np.float64)
        return estimate(AtWeights(part, lanes, settings, *wide), self.n)
