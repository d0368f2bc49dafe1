"""The noise scale of a network's gradients in each epoch: ``fit(..., diagnostics=True)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import NetworkRun, VectorState
from ..descent import VectorDescent
from ..network import Network
from ..problem import Data
from ..statistics.gradients import NoiseEstimate

__all__ = ["NetworkDiagnosis"]

ROWS_PER_SAMPLED_ROW, LEAST_SAMPLE = 64, 256
"""The sample is one row of 64, but at least 256 rows: about a twentieth of an epoch's time."""


class NetworkDiagnosis:
    """Estimates gradient and noise of all layers together, from rows drawn anew each epoch.

    They are drawn without replacement, with a generator seeded by the seed of the fit and the
    number of the epoch: a fit that is continued draws what one that was not interrupted draws.
    ``fastsgd.insight.network_noise`` has the formulas.
    """

    def __init__(self, data: Data, network: Network, descent: VectorDescent) -> None:
        self.network, self.seed = network, descent.seed
        weight = data.sample_weight
        self.used = None if weight is None else np.flatnonzero(weight)
        self.n = data.n if self.used is None else len(self.used)
        self.mean = 1.0 if weight is None else float(weight[self.used].mean(dtype=np.float64))
        self.data, self.unit = data, network.unit(data.dtype)
        self.alpha = network.alpha / (min(descent.batch_size, data.n) * self.mean)
        plain = VectorDescent(batch_size=descent.batch_size, n_jobs=descent.n_jobs)
        self.state = VectorState(network.length(self.unit), data.dtype, plain)
        self.run = NetworkRun(data, network, plain, self.state)

    def __call__(self, epoch: int, model: NDArray[Any]) -> NoiseEstimate:
        """Gradient and noise at parameters (length,)."""
        generator = np.random.default_rng((self.seed % 2**64, epoch))
        n, m = self.n, min(self.n, max(LEAST_SAMPLE, self.n // ROWS_PER_SAMPLED_ROW))
        rows = np.sort(generator.choice(n, m, replace=False))
        rows = rows if self.used is None else self.used[rows]
        self.state.set(model)
        total, _, squares = self.run.gradients(rows, squares=True)
        weight = self.data.sample_weight
        share = np.ones(m) if weight is None else np.square(weight[rows] / self.mean)
        trace, squared = float(share @ squares.sum(axis=1)) / m, 0.0
        mean, theta = (self.network.views(v, self.unit) for v in (total, model))
        for (w, b), (coef, _) in zip(mean, theta, strict=True):
            of_loss = w.astype(np.float64) / (m * self.mean)
            constant = float(np.square(b / (m * self.mean), dtype=np.float64).sum())
            trace -= float(np.square(of_loss).sum()) + constant
            squared += float(np.square(of_loss + self.alpha * coef).sum()) + constant
        trace = max(0.0, trace)
        if 1 < m < n:
            trace *= m / (m - 1) * ((n - 1) / n)
        if m < n:
            squared -= trace * ((n - m) / (n - 1) / m)
        return NoiseEstimate(squared, trace)
