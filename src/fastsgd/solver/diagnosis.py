"""The gradient noise scale at the end of every epoch of a fit: ``fit(..., diagnostics=True)``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..problem import Data, Lanes, Settings, take
from ..statistics.gradients import NoiseEstimate, ProblemAtWeights, estimate_noise

__all__ = ["Diagnosis"]

ROWS_PER_SAMPLED_ROW, LEAST_SAMPLE = 400, 256
"""The sample is one row of 400, but at least 256 rows: about a twentieth of an epoch's time."""


class Diagnosis:
    """Estimates gradient and noise at the weights after an epoch, from rows drawn anew each time.

    The rows are drawn without replacement, with a generator seeded by the seed of the fit and the
    number of the epoch: a fit that is continued draws what one that was not interrupted draws.
    """

    def __init__(self, data: Data, lanes: Lanes, settings: Settings) -> None:
        self.data, self.lanes, self.settings = data, lanes, settings
        weight = data.sample_weight
        self.weighted_rows = None if weight is None else np.flatnonzero(weight)
        self.n = data.n if self.weighted_rows is None else len(self.weighted_rows)

    def __call__(
        self, epoch: int, coef: NDArray[np.floating], intercept: NDArray[np.floating]
    ) -> NoiseEstimate:
        """Gradient and noise at weights (K, d) and intercepts (K,), over all lanes together."""
        data = self.data
        generator = np.random.default_rng((self.settings.seed % 2**64, epoch))
        count = min(self.n, max(LEAST_SAMPLE, self.n // ROWS_PER_SAMPLED_ROW))
        drawn = np.sort(generator.choice(self.n, count, replace=False))
        rows = drawn if self.weighted_rows is None else self.weighted_rows[drawn]
        weight = None if data.sample_weight is None else data.sample_weight[rows]
        sample = Data(
            take(data.X, rows), data.y[rows], weight, data.offset, data.scale, checked=True
        )
        model = coef.astype(np.float64), intercept.astype(np.float64)
        return estimate_noise(ProblemAtWeights(sample, self.lanes, self.settings, *model), self.n)
