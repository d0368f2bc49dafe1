"""A line an epoch, for people, and a progress bar once a run takes longer."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

__all__ = ["BAR_DELAY", "EpochLines"]

BAR_DELAY = 2.0
"""Seconds after which a run is long enough for a progress bar."""


class EpochLines:
    """A line an epoch on standard output, and a bar on standard error once it takes longer.

    The bar has the rate and the time that is left: of epochs, or of rows if it is known how many
    an epoch has.

    Parameters
    ----------
    epochs : int
        The most there are.
    rows : int or None
        Rows of an epoch.
    """

    def __init__(self, epochs: int, rows: int | None = None) -> None:
        self.epochs, self.rows, self.done = epochs, rows, 0
        self.bar: tqdm[Any] | None = None
        self.start = time.monotonic()

    def tell(self, line: str) -> None:
        """Print what an epoch came to."""
        self.done += 1
        if self.bar is None:
            print(line)
        else:
            tqdm.write(line, file=sys.stdout)
        self._move(self.done * (self.rows or 1))

    def on_rows(self, progress: Any) -> None:
        """Move the bar within an epoch of known rows."""
        row = int(progress.state.row)
        if self.rows and row:  # else an epoch has ended
            self._move(self.done * self.rows + row)

    def _move(self, at: int) -> None:
        if self.bar is not None:
            self.bar.update(at - self.bar.n)
        elif time.monotonic() - self.start > BAR_DELAY:
            total, unit = self.epochs * (self.rows or 1), " rows" if self.rows else "epoch"
            self.bar = tqdm(total=total, initial=at, unit=unit, unit_scale=self.rows is not None)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
