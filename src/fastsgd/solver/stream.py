"""Training on rows that come in windows: what :mod:`fastsgd.solver` asks of a Run, of a stream."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, Protocol

from .._core import Run, State
from ..problem import Data, Lanes, Settings
from .windows import next_row, pieces

__all__ = ["Stream", "StreamRun", "Windows"]


class Stream(Protocol):
    """Rows that are not all in memory: what ``Data.stream`` is.

    Attributes
    ----------
    rows : int
        All of them.
    sampling : str
        Of ``Settings``: "sequential", or "block" if the windows have an order of their own.
    shards : int
        Models that are trained beside each other, and of which the mean is taken.
    """

    rows: int
    sampling: str
    shards: int

    def run(self, data: Data, lanes: Lanes, settings: Settings, state: State) -> Any:
        """What trains on them: a :class:`StreamRun`, or what does the same."""


class Windows(Protocol):
    """A stream that comes in windows.

    Attributes
    ----------
    on_window : callable or None
        Called between two windows of an epoch.
    """

    on_window: Callable[[], None] | None

    def windows(self, epoch: int, row: int) -> Iterator[Data]:
        """The windows of an epoch, in their order, from the one on that has a row of the epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.
        row : int
            Position in the epoch, from 0.

        Yields
        ------
        Data
            Its arrays may be overwritten once the next window is asked for.
        """


class StreamRun:
    """Trains on the windows of a stream, as a Run does on the rows of a table.

    Parameters
    ----------
    data : Data
        A sample of the rows, with ``stream``.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is changed in place.
    """

    draws_order = False
    """Orders are drawn where windows are made."""

    bad_row = -1
    """No row of the sample, at which a DivergenceError was met."""

    def __init__(self, data: Data, lanes: Lanes, settings: Settings, state: State) -> None:
        self.data, self.state, self.settings = data, state, settings
        self.anchor = Run(self._anchored(), lanes, settings, state)
        self.run: Run | None = None
        self.end = 0  # of the piece, in the epoch
        self.pieces: Generator[Data, None, None] | None = None
        self.rate, self.clipped = float("nan"), False

    def _anchored(self) -> Data:
        """The sample, at a place in the epoch at which the state may stand."""
        data, last = self.data, self.data.epoch_rows - self.data.n
        return replace(data, first_row=min(next_row(data, self.state), last), checked=True)

    def advance(self, budget: int, stop: int | None = None) -> bool:
        """As ``Run.advance``: True at the end of the epoch.

        Raises
        ------
        DivergenceError
            If a score is not finite.
        ValueError
            If the rows cannot be read, or the stream ends before the epoch does.
        """
        state = self.state
        if self.run is None and not self._next_piece():
            raise ValueError(
                f"the rows end at row {next_row(self.data, state)} of an epoch of "
                f"{self.data.epoch_rows}: they changed while they were trained on"
            )
        assert self.run is not None
        epoch = state.epoch
        done = self.run.advance(budget, stop)
        self.clipped = self.run.clipped
        if self.run.rate == self.run.rate:
            self.rate = self.run.rate
        if state.epoch != epoch:
            self._close()
            return True
        if done or state.row == self.end:
            self.run = None
        return False

    def _next_piece(self) -> bool:
        """Bind the next piece of the epoch; False where there is none."""
        state, stream = self.state, self.data.stream
        if self.pieces is None:
            windows = stream.windows(state.epoch, next_row(self.data, state))
            self.pieces = pieces(windows, self.settings, state)
        elif stream.on_window is not None:
            stream.on_window()
        piece = next(self.pieces, None)
        if piece is None:
            self._close()
            return False
        self.run, self.end = self.anchor.on(piece, state), piece.end
        return True

    def _close(self) -> None:
        if self.pieces is not None:
            self.pieces.close()
        self.run = self.pieces = None

    @property
    def is_sparse(self) -> bool:
        """Whether the rows are CSR."""
        return bool(self.anchor.is_sparse)

    def flush(self) -> None:
        """Apply all lazy updates."""
        self.anchor.flush()

    def measure(self) -> Any:
        """As ``Run.measure``."""
        return self.anchor.measure()

    def measure_unread(self) -> Any:
        """As ``Run.measure_unread``."""
        return self.anchor.measure_unread()
