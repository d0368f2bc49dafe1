"""What the solver asks of a Run, of a fit in rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .._core import Run, State
from ..exceptions import DivergenceError
from ..problem import Data, Lanes, Settings
from .rounds import Common, Part, Plan, finish

__all__ = ["RoundRun"]


def row_of(number: int, rows: int, rounds: int) -> int:
    """Row at which a state stands before a round: so many are done of the largest shard."""
    return number * rows // rounds


def round_at(row: int, rows: int, rounds: int) -> int:
    """The round that begins at a row.

    Raises
    ------
    ValueError
        If none does.
    """
    number = -(-row * rounds // rows)
    if not 0 <= number < rounds or row_of(number, rows, rounds) != row:
        raise ValueError(f"no round of {rounds} in {rows} rows begins at row {row}")
    return number


class RoundRun:
    """Trains in rounds: one call of ``advance`` is a round. Between two of them the stream is told,
    as it is between two windows.

    Parameters
    ----------
    data : Data
        A sample of the rows.
    lanes : Lanes
    settings : Settings
    state : State
        The common state; it is changed in place.
    plan : Plan
    train : callable
        ``train(common)`` gives the Part of all shards in a round.
    """

    draws_order = False
    """Shards draw the orders of their rows."""

    bad_row = -1
    """No row of the sample, at which a DivergenceError was met."""

    def __init__(
        self,
        data: Data,
        lanes: Lanes,
        settings: Settings,
        state: State,
        plan: Plan,
        train: Callable[[Common], Part],
    ) -> None:
        self.state, self.plan, self.train, self.stream = state, plan, train, data.stream
        self.rows = data.epoch_rows
        at = min(state.row, self.rows - data.n)
        self.anchor = Run(replace(data, first_row=at), lanes, settings, state)
        self.round = round_at(state.row, self.rows, plan.rounds)
        self.rate, self.clipped = float("nan"), False

    def advance(self, budget: int, stop: int | None = None) -> bool:
        """As ``Run.advance``: True at the end of the epoch.

        Raises
        ------
        DivergenceError
            If a score is not finite.
        """
        state, plan = self.state, self.plan
        if self.round > 0 and self.stream.on_window is not None:
            self.stream.on_window()
        self.anchor.flush()
        common = Common(
            *state.vectors(),
            state.t.copy(),
            state.rate_factor.copy(),
            state.active.copy(),
            state.epoch,
            self.round,
        )
        try:
            part = self.train(common)
        except DivergenceError as error:
            if error.at_fault is not None:  # of whose shard nothing else is known here
                state.loss_sum[error.at_fault] = np.nan
            raise
        after = finish(part, common, plan.rounds)
        state.set_vectors(after.vectors, after.intercepts)
        state.t[:] = after.t
        sums = (state.loss_sum, state.row_count, state.norm_sum, state.norm_count)
        for of_epoch, of_round in zip(sums, part.sums, strict=True):
            of_epoch[:] = of_round if common.round == 0 else of_epoch + of_round
        if part.rate == part.rate:
            self.rate = part.rate
        self.clipped = part.clipped
        self.round = after.round
        state.place(after.epoch, row_of(after.round, self.rows, plan.rounds))
        return after.round == 0

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
