"""Laws of the noise of batches, from tr Sigma and |grad L|^2, of lanes or of layers.

See :mod:`fastsgd.insight.gradients` for Sigma.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from .checks import check_count

__all__ = ["GROUPS", "NoiseLaws", "ratio", "sampled_noise"]

Float = NDArray[np.float64]
_Noise = TypeVar("_Noise", bound="NoiseLaws")

GROUPS = 20
"""Parts of a sample, of which the jackknife leaves out each in turn."""

LEVEL = 0.95
"""Confidence level of the intervals."""


def ratio(a: Float, b: Float) -> Float:
    """a / b, infinite where b is not positive."""
    return np.divide(a, b, out=np.full(np.shape(a), np.inf), where=b > 0.0)


class NoiseLaws:
    """What follows from the trace of the covariance of single rows' gradients and the gradient.

    Attributes
    ----------
    trace, squared_norm : ndarray of shape (K,)
        tr Sigma and |grad L|^2 of K lanes, or of the K layers of a network.
    n, rows : int
        Rows of positive weight, and those that were used.
    errors : dict of str to ndarray of shape (K,)
        Standard errors of the two.
    """

    trace: Float
    squared_norm: Float
    n: int
    rows: int
    errors: dict[str, Float]

    @property
    def noise_scale(self) -> Float:
        """The simple noise scale tr Sigma / |grad L|^2: the batch size at which noise equals drift.

        Infinite where the gradient is 0, or where its estimate is lost in the noise of the sample.

        Returns
        -------
        ndarray of shape (K,)
            In rows.

        References
        ----------
        .. [1] S. McCandlish, J. Kaplan, D. Amodei. "An Empirical Model of Large-Batch Training",
           arXiv:1812.06162, 2018, eq. 2.9.
        """
        return ratio(self.trace, self.squared_norm)

    @property
    def suggested_batch_size(self) -> int:
        """A batch size that needs few more rows than single samples and far fewer steps.

        It is the power of 2 nearest to a tenth of the noise scale of all lanes together, from 1 to
        n. To reach a given loss, batches of m rows take about 1 + m / B times the least number of
        rows and 1 + B / m times the least number of steps, with B the noise scale.

        Returns
        -------
        int
            Rows of a batch.

        References
        ----------
        .. [1] S. McCandlish, J. Kaplan, D. Amodei. "An Empirical Model of Large-Batch Training",
           arXiv:1812.06162, 2018, eq. 2.11.
        """
        scale = self._joint_scale()
        if not np.isfinite(scale):
            return self.n
        return int(min(self.n, 2 ** max(0, round(np.log2(max(scale / 10.0, 1.0))))))

    def _joint_scale(self) -> float:
        """The noise scale of all lanes together."""
        return float(ratio(self.trace.sum(), np.asarray(self.squared_norm.sum())))

    def explain(self) -> str:
        """Explain the suggested batch size in words.

        Returns
        -------
        str
            A few sentences, with what the batch size costs in rows and in steps.
        """
        scale, m = self._joint_scale(), self.suggested_batch_size
        if not np.isfinite(scale):
            return (
                f"The gradient is lost in the noise of {self.rows:,} rows: as far as they can tell "
                "the model is at its minimum. A decreasing learning rate or an average of the "
                "weights helps; the batch size does not."
            )
        rows = 100.0 * m / scale if scale > 0.0 else 0.0
        steps = scale / m
        return (
            f"The noise scale is {scale:,.0f} rows: in a batch of this size the noise is as large "
            f"as the gradient. Batches of {m:,} rows need {rows:.0f} % more rows than single "
            f"samples, and {1.0 + steps:.3g} times the steps of the full batch. Larger batches pay "
            "only if a step takes the same time whatever its size. The noise scale grows as the "
            "model comes near its minimum, and with it the batch size that is best."
        )

    def interval(self, name: str) -> tuple[Float, Float]:
        """Work out 95 % confidence intervals of a quantity that was estimated from a sample.

        Those of the noise scale are the ratios of the ends of the other two. Where a gradient is
        small beside the noise of the sample it may be any smaller, and the upper end is infinite.

        Parameters
        ----------
        name : {"trace", "squared_norm", "noise_scale"}
            The quantity; of a network also "total_trace", "total_squared_norm" and
            "total_noise_scale", those of all layers together, of shape ().

        Returns
        -------
        low : ndarray of shape (K,)
            Lower ends.
        high : ndarray of shape (K,)
            Upper ends.

        References
        ----------
        .. [1] B. Efron, C. Stein. "The Jackknife Estimate of Variance", Annals of Statistics 9,
           1981.
        """
        if name.endswith("noise_scale"):
            of = name.removesuffix("noise_scale")
            (low, high), (least, most) = map(self.interval, (f"{of}trace", f"{of}squared_norm"))
            return ratio(low, most), ratio(high, least)
        middle, width = getattr(self, name), self.errors[name]
        width = width * scipy.stats.t.ppf(0.5 + LEVEL / 2.0, GROUPS - 1)
        return middle - width, middle + width

    def covariance_factor(self, batch_size: int, *, replacement: bool = False) -> float:
        """Compute the factor by which the covariance of a batch's noise is smaller than Sigma.

        Parameters
        ----------
        batch_size : int
            Rows m of a batch.
        replacement : bool, default=False
            Whether they are drawn with replacement.

        Returns
        -------
        float
            1 / m with replacement, (n - m) / (n - 1) / m without.

        Raises
        ------
        ValueError
            If ``batch_size`` is not a positive integer.
        """
        m = check_count("batch_size", batch_size)
        if replacement or self.n == 1:
            return 1.0 / m if replacement else 0.0
        return max(0, self.n - m) / (self.n - 1) / m

    def batch_trace(self, batch_size: int, *, replacement: bool = False) -> Float:
        """Compute E |xi|^2, the variance of a batch's gradient.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        replacement : bool, default=False
            Whether they are drawn with replacement.

        Returns
        -------
        ndarray of shape (K,)
            In units of the squared gradient.

        Raises
        ------
        ValueError
            If ``batch_size`` is not a positive integer.
        """
        return self.trace * self.covariance_factor(batch_size, replacement=replacement)

    def signal_to_noise(self, batch_size: int, *, replacement: bool = False) -> Float:
        """Compute |grad L| / sqrt(E |xi|^2), the signal-to-noise ratio of a batch's gradient.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        replacement : bool, default=False
            Whether they are drawn with replacement.

        Returns
        -------
        ndarray of shape (K,)
            Ratios; infinite where there is no noise.

        Raises
        ------
        ValueError
            If ``batch_size`` is not a positive integer.
        """
        noise = self.batch_trace(batch_size, replacement=replacement)
        return np.sqrt(ratio(np.maximum(0.0, self.squared_norm), noise))

    def cosine(self, batch_size: int, *, replacement: bool = False) -> Float:
        """Compute |grad L| / sqrt(E |g_B|^2), about the mean cosine between g_B and grad L.

        Since E <g_B, grad L> = |grad L|^2, it is the cosine but for the fact that the length of g_B
        is replaced by its root mean square.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        replacement : bool, default=False
            Whether they are drawn with replacement.

        Returns
        -------
        ndarray of shape (K,)
            Numbers in [0, 1].

        Raises
        ------
        ValueError
            If ``batch_size`` is not a positive integer.
        """
        signal = np.maximum(0.0, self.squared_norm)
        both = signal + self.batch_trace(batch_size, replacement=replacement)
        return np.sqrt(np.divide(signal, both, out=np.zeros_like(both), where=both > 0.0))

    def norm_test(
        self, batch_size: int, *, theta: float = 1.0, replacement: bool = False
    ) -> NDArray[np.bool_]:
        """Test whether E |xi|^2 <= theta^2 |grad L|^2, so that the batch is large enough.

        Where the norm test holds, a batch's gradient is a direction of descent more often than not;
        where it fails, a larger batch is worth its time.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        theta : float, default=1.0
            Noise that is tolerated, as a multiple of the gradient.
        replacement : bool, default=False
            Whether the rows are drawn with replacement.

        Returns
        -------
        ndarray of shape (K,), bool
            Whether the test holds.

        Raises
        ------
        ValueError
            If ``batch_size`` is not a positive integer.

        References
        ----------
        .. [1] R. H. Byrd, G. M. Chin, J. Nocedal, Y. Wu. "Sample Size Selection in Optimization
           Methods for Machine Learning", Mathematical Programming 134, 2012.
        """
        noise = self.batch_trace(batch_size, replacement=replacement)
        return noise <= theta**2 * self.squared_norm


def sampled_noise(
    sums_of: Callable[[NDArray[np.int64]], Any],
    noise_of: Callable[[Any], _Noise],
    rows: NDArray[np.int64],
    n: int,
) -> _Noise:
    """Estimates from some of n rows, with standard errors by the jackknife over groups of them.

    ``sums_of`` makes sums over rows, which can be added and subtracted; ``noise_of`` a dataclass
    with ``errors`` from them.
    """
    groups = [sums_of(part) for part in np.array_split(rows, GROUPS)]
    total = groups[0]
    for group in groups[1:]:
        total = total + group
    noise: Any = noise_of(total)
    without = [noise_of(total - group) for group in groups]
    correction = np.sqrt(1.0 - len(rows) / n)  # the population is finite
    errors = {}
    for name in noise.errors:
        values = np.array([getattr(estimate, name) for estimate in without])
        squares = np.square(values - values.mean(axis=0)).sum(axis=0)
        errors[name] = correction * np.sqrt(squares * (GROUPS - 1) / GROUPS)
    sampled: _Noise = replace(noise, errors=errors)
    return sampled
