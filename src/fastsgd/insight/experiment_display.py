"""The plot of an experiment: a loss of each of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .plotting import GREY, Display, line_style
from .runs import TrainingRun

__all__ = ["ExperimentDisplay"]


class _RunsWithTitle(Protocol):
    """What is drawn: an :class:`Experiment`."""

    @property
    def title(self) -> str: ...

    @property
    def runs(self) -> Sequence[TrainingRun]: ...


class ExperimentDisplay(Display):
    """Loss curves of the runs of an experiment.

    A run that diverged is marked in the legend; the dotted line is the loss at the start. Of runs
    of several seeds the mean is drawn, with a band from the lowest to the highest.

    Parameters
    ----------
    experiment : Experiment
        Its runs are drawn, those of each label as a line.
    x : {"examples", "step", "seconds"}, default="examples"
        What they are drawn against: rows used, updates made or seconds of training.
    y : {"loss", "test_loss"}, default="loss"
        Loss of the training rows with penalty, or loss of the test rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    lines_ : list of matplotlib Line2D
        One line for each label.

    Raises
    ------
    ValueError
        If ``x`` or ``y`` is none of these.

    See Also
    --------
    Experiment.plot : Makes and draws one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import ExperimentDisplay, compare_momentum
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> experiment = compare_momentum(SGDRegressor(), X, y)
    >>> display = ExperimentDisplay(experiment, x="step").plot()
    >>> [line.get_label() for line in display.lines_]
    ['momentum 0', 'momentum 0.5', 'momentum 0.9']
    """

    LABELS = {  # noqa: RUF012
        "examples": "examples seen",
        "step": "steps",
        "seconds": "seconds of training",
        "loss": "loss of all rows with penalty",
        "test_loss": "loss of the test rows",
    }

    def __init__(self, experiment: _RunsWithTitle, *, x: str = "examples", y: str = "loss") -> None:
        if x not in ("examples", "step", "seconds"):
            raise ValueError(f"x must be 'examples', 'step' or 'seconds', got {x!r}")
        if y not in ("loss", "test_loss"):
            raise ValueError(f"y must be 'loss' or 'test_loss', got {y!r}")
        self.experiment, self.x, self.y = experiment, x, y

    def plot(self, *, ax: Any = None) -> ExperimentDisplay:
        """Draw the runs.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.

        Returns
        -------
        ExperimentDisplay
            The display itself, with ``ax_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self._axes(ax)
        self.lines_ = []
        low, start = np.inf, 0.0
        labels = dict.fromkeys(run.label for run in self.experiment.runs)
        for i, label in enumerate(labels):
            runs = [run for run in self.experiment.runs if run.label == label]
            x, y = (_table([getattr(run, name) for run in runs]) for name in (self.x, self.y))
            style = line_style(i)
            middle = np.nanmean(x[:, 1:], axis=0)
            name = label + _divergence([run.diverged for run in runs])
            means = np.nanmean(y, axis=0) if np.isfinite(y).any() else y[0]
            (line,) = ax.plot(middle, means[1:], linewidth=1.8, label=name, **style)
            if len(runs) > 1 and np.isfinite(y).any():
                band = np.nanmin(y[:, 1:], axis=0), np.nanmax(y[:, 1:], axis=0)
                ax.fill_between(middle, *band, color=style["color"], alpha=0.15, linewidth=0)
            self.lines_.append(line)
            low, start = min(low, float(np.nanmin(y))), max(start, float(np.nanmax(y[:, 0])))
        ax.axhline(start, color=GREY, linestyle=":", linewidth=1, label="at the start")
        ax.set(xlabel=self.LABELS[self.x], ylabel=self.LABELS[self.y], xscale="log")
        room = 0.05 * (start - low) or abs(low) or 1.0
        ax.set_ylim(low - room, start + 5.0 * room)
        ax.set_title(self.experiment.title)
        ax.legend(loc="upper right")  # losses fall, so it is free as a rule
        return self


def _table(columns: Sequence[Any]) -> NDArray[np.float64]:
    """Values of runs (runs, points); NaN behind the end of one that diverged."""
    longest = max(map(len, columns))
    table = np.full((len(columns), longest), np.nan)
    for row, values in zip(table, columns, strict=True):
        row[: len(values)] = values
    return table


def _divergence(diverged: Sequence[bool]) -> str:
    """What the legend says of runs of a label that diverged."""
    if not any(diverged):
        return ""
    return ", diverged" if all(diverged) else f", {sum(diverged)} of {len(diverged)} diverged"
