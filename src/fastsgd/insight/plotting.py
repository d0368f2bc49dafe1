"""What the displays share: axes, colours and dashes. They draw in scikit-learn's manner.

``Display.from_estimator(...)`` measures and draws, ``plot`` draws again. All of them need
matplotlib: ``pip install 'fastsgd[plot]'``.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart. Lines also differ in
their dashes or markers, so that no information is in colour alone.
"""

from __future__ import annotations

from typing import Any

__all__ = ["BLUE", "COLOURS", "DASHES", "GREEN", "GREY", "ORANGE", "Display", "line_style"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"


def line_style(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th line of a plot."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}


class Display:
    """A plot with ``ax_`` and ``figure_``, as scikit-learn's displays have them."""

    figure_: Any
    ax_: Any

    def _axes(self, ax: Any) -> Any:
        """The axes given, or those of a new figure.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
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
