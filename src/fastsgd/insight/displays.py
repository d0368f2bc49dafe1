"""Plots in scikit-learn's manner: ``Display.from_estimator(...)``, drawn anew by ``plot``.

They need matplotlib: ``pip install 'fastsgd[plot]'``. Colours are Okabe and Ito's, which
colour-blind readers tell apart, and nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import BaseSGD
from .experiments import Experiment
from .rates import rate_range
from .trajectory import trajectory
from .variance import batch_variance

__all__ = [
    "BatchVarianceDisplay",
    "ExperimentDisplay",
    "LearningRateDisplay",
    "LossCurveDisplay",
    "NoiseScaleDisplay",
    "TrajectoryDisplay",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"


class _Display:
    """Axes of its own or given; ``figure_`` and ``ax_`` as scikit-learn's displays have them."""

    figure_: Any
    ax_: Any

    def _axes(self, ax: Any) -> Any:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                f"{type(self).__name__} needs matplotlib: pip install 'fastsgd[plot]'"
            ) from error
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        ax.grid(visible=True, alpha=0.3)
        return ax


class _Measured(_Display):
    """A display of what a function of this package measures.

    Parameters
    ----------
    found : object
        What it returned.
    """

    _measure: Callable[..., Any]

    def __init__(self, found: Any) -> None:
        self.found = found

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseSGD,
        X: Any,
        y: ArrayLike | None = None,
        *,
        ax: Any = None,
        **options: Any,
    ) -> Self:
        """Measure and draw; ``options`` go to the function that measures."""
        return cls(cls._measure(estimator, X, y, **options)).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        raise NotImplementedError


class LossCurveDisplay(_Display):
    """Loss of each epoch, and the validation score where there is one.

    Parameters
    ----------
    epoch : array-like of shape (E,)
    loss : array-like of shape (E,)
        Mean loss of the rows, each before its own step, plus the penalty.
    validation_score : array-like of shape (E,), optional
        All NaN where there was none.
    learning_rate : array-like of shape (E,), optional

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    line_ : matplotlib Line2D
        Of the loss.
    score_line_ : matplotlib Line2D or None
        Of the score, on an axis of its own at the right.
    """

    def __init__(
        self,
        epoch: ArrayLike,
        loss: ArrayLike,
        validation_score: ArrayLike | None = None,
        learning_rate: ArrayLike | None = None,
    ) -> None:
        self.epoch, self.loss = np.asarray(epoch), np.asarray(loss)
        nothing = np.full(len(self.loss), np.nan)
        self.validation_score = nothing if validation_score is None else validation_score
        self.learning_rate = nothing if learning_rate is None else learning_rate

    @classmethod
    def from_estimator(cls, estimator: BaseSGD, *, ax: Any = None, **line: Any) -> LossCurveDisplay:
        """Draw the history of a fitted estimator; ``line`` goes to ``ax.plot``."""
        check_is_fitted(estimator)
        names = "epoch", "loss", "validation_score", "learning_rate"
        return cls(*(estimator.history_[name] for name in names)).plot(ax=ax, **line)

    def plot(self, *, ax: Any = None, **line: Any) -> LossCurveDisplay:
        ax = self._axes(ax)
        few = len(self.loss) <= 50
        style = {"color": BLUE, "marker": "o" if few else None, "markersize": 4, "label": "loss"}
        (self.line_,) = ax.plot(self.epoch, self.loss, **(style | line))
        ax.set(xlabel="epochs", ylabel="training loss, penalty included")
        self.score_line_ = None
        score = np.asarray(self.validation_score, dtype=np.float64)
        if not np.isnan(score).all():
            right = ax.twinx()
            style |= {"color": ORANGE, "linestyle": "--", "label": "validation score"}
            style["marker"] = "s" if few else None
            (self.score_line_,) = right.plot(self.epoch, score, **style)
            right.set_ylabel("validation score")
            right.legend(handles=[self.line_, self.score_line_], loc="center right")
        return self


class NoiseScaleDisplay(_Display):
    """Gradient, noise and their ratio, epoch by epoch of a fit with ``diagnostics=True``.

    Parameters
    ----------
    epoch, full_gradient_norm, gradient_noise, noise_scale : array-like of shape (E,)
        As in ``history_``.
    batch_size : int
        Drawn as a line beside the noise scale.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    line_ : matplotlib Line2D
        Of the noise scale.
    """

    def __init__(
        self,
        epoch: ArrayLike,
        full_gradient_norm: ArrayLike,
        gradient_noise: ArrayLike,
        noise_scale: ArrayLike,
        batch_size: int = 1,
    ) -> None:
        self.epoch, self.noise_scale = np.asarray(epoch), np.asarray(noise_scale)
        self.full_gradient_norm = np.asarray(full_gradient_norm)
        self.gradient_noise, self.batch_size = np.asarray(gradient_noise), batch_size

    @classmethod
    def from_estimator(
        cls, estimator: BaseSGD, *, ax: Any = None, **line: Any
    ) -> NoiseScaleDisplay:
        """Draw the history of an estimator that was fitted with ``diagnostics=True``.

        Raises
        ------
        ValueError
            If it was fitted without.
        """
        check_is_fitted(estimator)
        names = "epoch", "full_gradient_norm", "gradient_noise", "noise_scale"
        columns = [np.asarray(estimator.history_[name], dtype=np.float64) for name in names]
        if np.isnan(columns[-1]).all():
            raise ValueError("the history has no noise: fit(..., diagnostics=True) measures it")
        return cls(*columns, batch_size=estimator.batch_size).plot(ax=ax, **line)

    def plot(self, *, ax: Any = None, **line: Any) -> NoiseScaleDisplay:
        ax = self._axes(ax)
        seen = np.isfinite(self.noise_scale)
        style = {"color": BLUE, "marker": "o", "markersize": 4}
        style["label"] = "noise scale tr Sigma / |grad L|²"
        (self.line_,) = ax.plot(self.epoch[seen], self.noise_scale[seen], **(style | line))
        ax.axhline(self.batch_size, color=ORANGE, linestyle="--", label="batch size")
        if not seen.all():
            top = np.full((~seen).sum(), 0.97)
            ax.plot(
                self.epoch[~seen],
                top,
                "^",
                color=BLUE,
                transform=ax.get_xaxis_transform(),
                label="gradient lost in the sample's noise",
            )
        ax.set(xlabel="epochs", ylabel="rows", yscale="log")
        ax.legend()
        return self


class BatchVarianceDisplay(_Measured):
    """E |g_B - grad L|^2 against batch size, with the two laws; of :func:`batch_variance`.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    """

    _measure = staticmethod(batch_variance)

    def plot(self, *, ax: Any = None) -> BatchVarianceDisplay:
        ax = self._axes(ax)
        found = self.found
        n = found.noise.n
        m: NDArray[np.float64] = np.geomspace(1.0, n, 400)
        trace = found.noise.trace.sum()
        ax.plot(m, trace / m, color=GREY, linestyle=":", label="σ² / m, with replacement")
        finite = trace / m * (n - m) / max(1, n - 1)
        some = finite > 0.0
        ax.plot(m[some], finite[some], color=GREEN, linestyle="--", label=f"of {n:,} rows, without")
        shown = found.measured > 1e-9 * trace / n
        ax.errorbar(
            found.batch_sizes[shown],
            found.measured[shown],
            yerr=2.0 * found.error[shown],
            color=BLUE,
            marker="o",
            markersize=4,
            linestyle="none",
            capsize=2,
            label="batches drawn, ± 2 standard errors",
        )
        ax.set(xlabel="batch size m (rows)", ylabel="E |g_B - grad L|²", xscale="log", yscale="log")
        ax.set_ylim(bottom=0.2 * found.measured[shown].min(), top=3.0 * trace)
        ax.legend()
        return self


class LearningRateDisplay(_Measured):
    """Loss against constant learning rate; of :func:`rate_range`.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    line_ : matplotlib Line2D
        Of the smoothed losses.
    """

    _measure = staticmethod(rate_range)

    def plot(self, *, ax: Any = None) -> LearningRateDisplay:
        ax = self._axes(ax)
        found = self.found
        ends = np.isfinite(found.loss)
        ax.plot(
            found.rates[ends],
            found.loss[ends],
            "o",
            color=BLUE,
            markersize=5,
            label=f"after {found.epochs} epochs",
        )
        smooth = ends & np.isfinite(found.smoothed)
        (self.line_,) = ax.plot(
            found.rates[smooth], found.smoothed[smooth], color=BLUE, label="running median"
        )
        ax.axhline(found.start_loss, color=GREY, linestyle=":", label="where all begin")
        ax.axvline(
            found.suggested, color=GREEN, linestyle="--", label=f"suggested {found.suggested:.2g}"
        )
        ax.axvline(
            found.inverse_curvature,
            color=ORANGE,
            linestyle="-.",
            label=f"1 / L = {found.inverse_curvature:.2g}",
        )
        if not ends.all():
            ax.plot(
                found.rates[~ends],
                np.full((~ends).sum(), 0.97),
                "x",
                color=ORANGE,
                transform=ax.get_xaxis_transform(),
                label="diverged",
            )
        low, high = found.loss[ends].min(), max(found.start_loss, found.loss[ends].min())
        room = 0.1 * (high - low) or abs(low) or 1.0
        ax.set_ylim(low - room, high + 3.0 * room)
        ax.set(xlabel="learning rate (constant)", ylabel="loss with penalty", xscale="log")
        ax.legend()
        return self


class ExperimentDisplay(_Display):
    """Courses of an experiment.

    Parameters
    ----------
    experiment : Experiment
    x : {"examples", "step", "seconds"}, default="examples"
    y : {"loss", "test_loss"}, default="loss"

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    lines_ : list of matplotlib Line2D
        One a course.
    """

    LABELS = {  # noqa: RUF012
        "examples": "examples seen",
        "step": "steps",
        "seconds": "seconds of training",
        "loss": "loss of all rows with penalty",
        "test_loss": "loss of the test rows",
    }

    def __init__(self, experiment: Experiment, *, x: str = "examples", y: str = "loss") -> None:
        if x not in ("examples", "step", "seconds"):
            raise ValueError(f"x must be 'examples', 'step' or 'seconds', got {x!r}")
        if y not in ("loss", "test_loss"):
            raise ValueError(f"y must be 'loss' or 'test_loss', got {y!r}")
        self.experiment, self.x, self.y = experiment, x, y

    def plot(self, *, ax: Any = None) -> ExperimentDisplay:
        ax = self._axes(ax)
        self.lines_ = []
        low, start = np.inf, 0.0
        for i, one in enumerate(self.experiment.courses):
            x, y = getattr(one, self.x), getattr(one, self.y)
            label = one.label + (", diverged" if one.diverged else "")
            style = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
            (line,) = ax.plot(x[1:], y[1:], linewidth=1.8, label=label, **style)
            self.lines_.append(line)
            low, start = min(low, float(np.nanmin(y))), max(start, float(y[0]))
        ax.axhline(start, color=GREY, linestyle=":", linewidth=1)
        ax.set(xlabel=self.LABELS[self.x], ylabel=self.LABELS[self.y], xscale="log")
        room = 0.05 * (start - low) or abs(low) or 1.0
        ax.set_ylim(low - room, start + 5.0 * room)
        ax.set_title(self.experiment.title)
        ax.legend()
        return self


class TrajectoryDisplay(_Measured):
    """Paths over the contours of the objective; of :func:`trajectory`.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    lines_ : list of matplotlib Line2D
        One a path.
    """

    _measure = staticmethod(trajectory)

    def plot(self, *, ax: Any = None) -> TrajectoryDisplay:
        ax = self._axes(ax)
        found = self.found
        ax.grid(visible=False)
        low, high = float(found.loss.min()), float(found.loss.max())
        levels = low + (high - low) * np.linspace(0.0, 1.0, 16) ** 2
        if high > low:
            ax.contourf(
                found.first, found.second, found.loss, levels=levels, cmap="Greys", alpha=0.5
            )
            lines = ax.contour(
                found.first, found.second, found.loss, levels=levels, colors=GREY, linewidths=0.5
            )
            ax.clabel(lines, levels=levels[2::4], fontsize=7, fmt="%.3g")
        self.lines_ = []
        for i, (label, path) in enumerate(found.paths.items()):
            style = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
            (line,) = ax.plot(path[:, 0], path[:, 1], linewidth=1.5, label=label, **style)
            ax.plot(*path[-1], "o", color=style["color"], markeredgecolor="white", markersize=8)
            self.lines_.append(line)
        start = next(iter(found.paths.values()))[0]
        ax.plot(*start, "s", color="black", markersize=6, label="start")
        ax.set(xlim=found.first[[0, -1]], ylim=found.second[[0, -1]])
        ax.set(xlabel=found.names[0], ylabel=found.names[1])
        ax.legend()
        return self
