"""An epoch in windows: rows that come part by part, trained on as if they were one table."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._core import State
from ..problem import Data, Lanes, Settings, take
from .epochs import run_epoch

__all__ = ["next_row", "pieces", "run_windows"]

BLOCK_ROWS = 4
"""Single rows are taken in blocks that end at multiples of it: csrc/kernel/context.h."""


def next_row(data: Data, state: State) -> int:
    """Row of the epoch that the next window has to begin at, or before.

    On CSR the update of a batch reads its rows once more: it needs all of them in one window.

    Parameters
    ----------
    data : Data
        Rows and targets.
    state : State
        The training state; it is left as it is.

    Returns
    -------
    int
        Number of the row in the epoch, from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> X, y = np.eye(8), np.arange(8.0)
    >>> first = Data(X[:6], y[:6], first_row=0, epoch_rows=8)
    >>> second = Data(X[6:], y[6:], first_row=6, epoch_rows=8)
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(sampling="sequential")
    >>> state = solver.State(first, lanes, settings)
    >>> solver.run_epoch(first, lanes, settings, state)  # in blocks of 4 rows
    >>> solver.next_row(first, state)
    4
    """
    return int(state.row if data.sparse else state.row + state.batch_row)


def run_windows(windows: Iterable[Data], lanes: Lanes, settings: Settings, state: State) -> None:
    """Train on the rows of an epoch that come in windows, one after the other.

    Weights and losses are those of one call of :func:`run_epoch` on all rows, to the bit, wherever
    the windows end. Rows that do not fill a block of steps, a chunk of a batch or, on CSR, a batch
    are kept for the next window, and are trained on together with its first rows.

    Parameters
    ----------
    windows : iterable of Data
        Each begins where the one before ends, or before that, with the same ``epoch_rows``.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share, with sampling "sequential" unless the windows have an ``order``.
    state : State
        The training state; it is changed in place.

    Raises
    ------
    DivergenceError
        If a score is not finite.
    ValueError
        If a window leaves a gap to the one before, or has rows of other features.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> X, y = np.eye(8), np.arange(8.0)
    >>> first = Data(X[:6], y[:6], first_row=0, epoch_rows=8)
    >>> second = Data(X[6:], y[6:], first_row=6, epoch_rows=8)
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(sampling="sequential")
    >>> state = solver.State(first, lanes, settings)
    >>> solver.run_windows([first, second], lanes, settings, state)
    >>> state.epoch, state.t
    (1, array([8]))
    """
    for data in pieces(windows, settings, state):
        run_epoch(data, lanes, settings, state)


def pieces(
    windows: Iterable[Data], settings: Settings, state: State
) -> Generator[Data, None, None]:
    """The windows of an epoch in pieces that can be trained on one after the other, each to its end
    before the next is asked for.

    A window whose first rows belong to a block or batch that the one before began is cut: these
    rows, with those that are left of the window before, are copied to a piece of their own.

    Parameters
    ----------
    windows : iterable of Data
        As in :func:`run_windows`.
    settings : Settings
        What all lanes share.
    state : State
        The training state, which says where training stands.

    Yields
    ------
    Data
        The next piece.

    Raises
    ------
    ValueError
        As in :func:`run_windows`.
    """
    left: Data | None = None
    for window in windows:
        if left is not None and window.first_row > left.end:
            raise ValueError(
                f"windows must not leave a gap: rows {left.end} to {window.first_row} of the epoch "
                "are in none of them"
            )
        if left is not None and left.first_row >= window.first_row:
            left = None  # the window has them too
        end = window.first_row
        while left is not None and left.end < window.end:
            # To the end of the block or batch, behind which nothing is left.
            end = min(window.end, _boundary(left, settings))
            piece = joined(left, part(window, left.end, end))
            yield piece
            left = _rest(piece, state)
        if left is None and end < window.end:
            yield window  # from where training stands
            left = _rest(window, state)


def _boundary(left: Data, settings: Settings) -> int:
    """Row of the epoch where the block or batch ends that these rows begin."""
    batch = min(settings.batch_size, left.epoch_rows)
    size = BLOCK_ROWS if batch == 1 else batch
    return min(left.epoch_rows, (left.first_row // size + 1) * size)


def _rest(data: Data, state: State) -> Data | None:
    """The rows of a piece that training has left for the next one, copied, if there are any."""
    row = next_row(data, state)
    if not data.first_row <= row < data.end or (row == 0 and data.end == data.epoch_rows):
        return None
    return part(data, row, data.end, copy=True)


def part(data: Data, first: int, end: int, *, copy: bool = False) -> Data:
    """Rows ``first`` to ``end`` of the epoch, of those that ``data`` has; copied if they are not in
    storage order, and where that is asked for. Those of a window with an order have one too."""
    rows: Any = slice(first - data.first_row, end - data.first_row)
    if data.order is not None:
        rows = data.order[rows]
    elif copy:
        rows = np.arange(data.n)[rows]

    def of(values: Any) -> Any:
        return None if values is None else values[rows]

    return Data(
        take(data.X, rows),
        data.y[rows],
        of(data.sample_weight),
        data.offset,
        data.scale,
        checked=True,
        held_out=of(data.held_out),
        first_row=first,
        epoch_rows=data.epoch_rows,
        order=None if data.order is None else np.arange(end - first),
    )


def joined(before: Data, after: Data) -> Data:
    """The rows of two windows that follow each other."""

    def both(name: str) -> Any:
        parts = getattr(before, name), getattr(after, name)
        if (parts[0] is None) != (parts[1] is None):
            raise ValueError(f"{name} must be given for all windows or for none")
        return None if parts[0] is None else np.concatenate(parts)

    X = (before.X, after.X)
    return Data(
        sp.vstack(X, format="csr") if after.sparse else np.concatenate(X),
        both("y"),
        both("sample_weight"),
        after.offset,
        after.scale,
        held_out=both("held_out"),
        first_row=before.first_row,
        epoch_rows=after.epoch_rows,
        order=None if after.order is None else np.arange(before.n + after.n),
    )
