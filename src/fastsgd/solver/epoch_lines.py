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
    """A line an epoch on standard output, and a bar on standard error once it takes longer."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.done = epochs, 0
        self.bar: tqdm[Any] | None = None
        self.start = time.monotonic()

    def tell(self, line: str) -> None:
        """Print what an epoch came to."""
        self.done += 1
        if self.bar is None:
            print(line)
            if time.monotonic() - self.start > BAR_DELAY:
                self.bar = tqdm(total=self.epochs, initial=self.done, unit="epoch")
        else:
            tqdm.write(line, file=sys.stdout)
            self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
