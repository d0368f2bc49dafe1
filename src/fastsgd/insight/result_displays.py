"""Plots of what :func:`batch_variance`, :func:`rate_range` and :func:`trajectory` return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs.conversions import MatrixLike
from .checks import Estimator
from .plotting import BLUE, GREEN, GREY, ORANGE, Display, line_style
from .rates import RateRange, rate_range
from .trajectory import Trajectory, trajectory
from .variance import BatchVariance, batch_variance

__all__ = ["BatchVarianceDisplay", "LearningRateDisplay", "TrajectoryDisplay"]


class _MeasuredDisplay(Display):
    """A display of the result of a function of this package, which ``_measure`` is."""

    _measure: Callable[..., Any]

    def __init__(self, result: Any) -> None:
        self.result = result

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: MatrixLike,
        y: ArrayLike | None = None,
        *,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Measure and draw.

        Parameters
        ----------
        estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
            It is not changed.
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Their targets; none for SGDOneClassSVM.
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.
        **options : dict
            Further arguments of the function that measures.

        Returns
        -------
        Display
            The plot.

        Raises
        ------
        ValueError
            If an argument is not valid; the message names it.
        ImportError
            If matplotlib is not installed.
        """
        return cls(cls._measure(estimator, X, y, **options)).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the result.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.

        Returns
        -------
        Display
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self._draw(self._axes(ax))
        return self

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError


class BatchVarianceDisplay(_MeasuredDisplay):
    """Variance of batch gradients against batch size, measured and by the two laws.

    Parameters
    ----------
    result : BatchVariance
        Result of :func:`batch_variance`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import BatchVarianceDisplay
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.5, 2.5, 5.5, 6.5]
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0).fit(X, y)
    >>> display = BatchVarianceDisplay.from_estimator(model, X, y, random_state=0)
    >>> display.result.batch_sizes
    array([1, 2, 4])
    """

    _measure = staticmethod(batch_variance)
    result: BatchVariance

    def _draw(self, ax: Any) -> None:
        result = self.result
        n = result.noise.n
        m: NDArray[np.float64] = np.geomspace(1.0, n, 400)
        trace = result.noise.trace.sum()
        ax.plot(m, trace / m, color=GREY, linestyle=":", label="tr Σ / m, with replacement")
        finite = trace / m * (n - m) / max(1, n - 1)
        style = {"color": GREEN, "linestyle": "--", "label": f"without, of {n:,} rows"}
        ax.plot(m[finite > 0.0], finite[finite > 0.0], **style)
        positive = result.measured > 1e-9 * trace / n
        ax.errorbar(
            result.batch_sizes[positive],
            result.measured[positive],
            yerr=2.0 * result.standard_error[positive],
            color=BLUE,
            marker="o",
            markersize=4,
            linestyle="none",
            capsize=2,
            label="batches drawn, ± 2 standard errors",
        )
        ax.set(xlabel="batch size m (rows)", ylabel="E |g - ∇L|²", xscale="log", yscale="log")
        ax.set_ylim(bottom=0.2 * result.measured[positive].min(), top=3.0 * trace)
        ax.legend()


class LearningRateDisplay(_MeasuredDisplay):
    """Loss at the end of short runs against their constant learning rates.

    Parameters
    ----------
    result : RateRange
        Result of :func:`rate_range`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    line_ : matplotlib Line2D
        Line of the smoothed losses.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import LearningRateDisplay
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> rates = (0.001, 0.01, 0.1)
    >>> display = LearningRateDisplay.from_estimator(SGDRegressor(), X, y, rates=rates)
    >>> display.line_.get_xdata()
    array([0.001, 0.01 , 0.1  ])
    """

    _measure = staticmethod(rate_range)
    result: RateRange

    def _draw(self, ax: Any) -> None:
        result = self.result
        finite = np.isfinite(result.loss)
        ax.plot(
            result.rates[finite],
            result.loss[finite],
            "o",
            color=BLUE,
            markersize=5,
            label=f"after {result.epochs} epochs",
        )
        least, most = (side[finite] for side in result.spread)
        if (most > least).any():
            band = {"color": BLUE, "alpha": 0.15, "linewidth": 0, "label": "lowest to highest"}
            ax.fill_between(result.rates[finite], least, most, **band)
        smooth = finite & np.isfinite(result.smoothed)
        (self.line_,) = ax.plot(
            result.rates[smooth], result.smoothed[smooth], color=BLUE, label="running median"
        )
        ax.axhline(result.start_loss, color=GREY, linestyle=":", label="where all begin")
        label = f"suggested {result.suggested:.2g}"
        ax.axvline(result.suggested, color=GREEN, linestyle="--", label=label)
        if np.isfinite(result.inverse_curvature):
            label = f"1 / L = {result.inverse_curvature:.2g}"
            ax.axvline(result.inverse_curvature, color=ORANGE, linestyle="-.", label=label)
        if not finite.all():
            ax.plot(
                result.rates[~finite],
                np.full((~finite).sum(), 0.97),
                "x",
                color=ORANGE,
                transform=ax.get_xaxis_transform(),
                label="diverged",
            )
        low = result.loss[finite].min()
        high = max(result.start_loss, low)
        room = 0.1 * (high - low) or abs(low) or 1.0
        ax.set_ylim(low - room, high + 3.0 * room)
        ax.set(xlabel="learning rate (constant)", ylabel="loss with penalty", xscale="log")
        ax.legend()


class TrajectoryDisplay(_MeasuredDisplay):
    """Paths of two weights in training, over the contours of the objective.

    Parameters
    ----------
    result : Trajectory
        Result of :func:`trajectory`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    lines_ : list of matplotlib Line2D
        One line for each path.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import TrajectoryDisplay
    >>> X, y = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]], [1.0, 3.0, 5.0, 7.0]
    >>> display = TrajectoryDisplay.from_estimator(SGDRegressor(), X, y, epochs=2)
    >>> [line.get_label() for line in display.lines_]
    ['single samples', 'batches of 32', 'full batch']
    """

    _measure = staticmethod(trajectory)
    result: Trajectory

    def _draw(self, ax: Any) -> None:
        result = self.result
        ax.grid(visible=False)
        low, high = float(result.loss.min()), float(result.loss.max())
        levels = low + (high - low) * np.linspace(0.0, 1.0, 16) ** 2
        if high > low:
            grid = result.first, result.second, result.loss
            ax.contourf(*grid, levels=levels, cmap="Greys", alpha=0.5)
            lines = ax.contour(*grid, levels=levels, colors=GREY, linewidths=0.5)
            ax.clabel(lines, levels=levels[2::4], fontsize=7, fmt="%.3g")
        self.lines_ = []
        for i, (label, path) in enumerate(result.paths.items()):
            (line,) = ax.plot(path[:, 0], path[:, 1], linewidth=1.5, label=label, **line_style(i))
            end = {"color": line.get_color(), "markeredgecolor": "white", "markersize": 8}
            ax.plot(*path[-1], "o", **end)
            self.lines_.append(line)
        start = next(iter(result.paths.values()))[0]
        ax.plot(*start, "s", color="black", markersize=6, label="start")
        ax.set(xlim=result.first[[0, -1]], ylim=result.second[[0, -1]])
        ax.set(xlabel=result.names[0], ylabel=result.names[1])
        ax.legend()
