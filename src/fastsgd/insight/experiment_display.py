"""The plot of an experiment: a loss of each of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

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

    A run that diverged is marked in the legend; the dotted line is the loss at the start.

    Parameters
    ----------
    experiment : Experiment
        Its runs are drawn, each as a line.
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
        One line for each run.

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
        for i, run in enumerate(self.experiment.runs):
            x, y = getattr(run, self.x), getattr(run, self.y)
            label = run.label + (", diverged" if run.diverged else "")
            (line,) = ax.plot(x[1:], y[1:], linewidth=1.8, label=label, **line_style(i))
            self.lines_.append(line)
            low, start = min(low, float(np.nanmin(y))), max(start, float(y[0]))
        ax.axhline(start, color=GREY, linestyle=":", linewidth=1)
        ax.set(xlabel=self.LABELS[self.x], ylabel=self.LABELS[self.y], xscale="log")
        room = 0.05 * (start - low) or abs(low) or 1.0
        ax.set_ylim(low - room, start + 5.0 * room)
        ax.set_title(self.experiment.title)
        ax.legend()
        return self
