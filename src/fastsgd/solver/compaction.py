"""A run that leaves lanes that have stopped out of its passes, where that leaves whole tiles out.

A frozen lane costs what one that trains does: lanes are worked on ``TILE`` at a time. So at the
start of an epoch those that train are put into a state of their own, with as many frozen ones as
fill its last tile, and after every call back into the whole one, which is what everyone else sees.
What a lane learns does not depend, to the bit, on which lanes are beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import Run, State
from ..problem import LANE_NUMBERS, Data, Lanes, Settings

__all__ = ["run_of"]

TILE = 16
"""Lanes that the core works on together: csrc/kernel/lanes."""

MIN_SAVED_WORK = 1 << 15
"""Rows times lanes of an epoch that pay for another state and run: 0.05 ms."""


def run_of(data: Data, lanes: Lanes, settings: Settings, state: State) -> Any:
    """A Run, or what does the same of a stream, or in less time once lanes have stopped."""
    if data.stream is not None:
        return data.stream.run(data, lanes, settings, state)
    if lanes.k <= TILE:
        return Run(data, lanes, settings, state)
    by_chunks = data.sparse and settings.batch_size > 1  # of a size that depends on the lanes
    # Steps are pending for all lanes together.
    waits = settings.width > 1 or lanes.l1.any() or not settings.optimizer.linear
    waits = data.sparse and waits
    if settings.terms.coupled or by_chunks or waits:
        return Run(data, lanes, settings, state)
    return _CompactingRun(data, lanes, settings, state)


class _CompactingRun:
    """What :mod:`fastsgd.solver` asks of a Run, of all lanes."""

    def __init__(self, data: Data, lanes: Lanes, settings: Settings, state: State) -> None:
        self.problem, self.state = (data, lanes, settings), state
        self.whole = self.run = Run(data, lanes, settings, state)
        self.part: State | None = None
        self.which = np.arange(lanes.k)  # the lanes of ``run``
        self.epoch = -1

    def _begin_epoch(self) -> None:
        state = self.state
        if self.epoch == state.epoch or state.row > 0 or state.batch_row > 0:
            return
        self.epoch = state.epoch
        self._compact()
        if self.part is not None:
            self.part.put(state, slice(0, len(self.which)), self.which)
            for sums in (state.loss_sum, state.row_count, state.norm_sum, state.norm_count):
                sums[:] = 0.0  # as the core does at the start of an epoch

    def _compact(self) -> None:
        data, lanes, settings = self.problem
        trains = self.state.active > 0.0
        size = -(-max(1, int(np.count_nonzero(trains))) // TILE) * TILE
        if data.n * (len(self.which) - size) < MIN_SAVED_WORK:
            return
        which = np.sort(np.argsort(~trains, kind="stable")[:size])
        if lanes.l1.any() != lanes.l1[which].any():  # another step
            return
        self.which, names = which, (*LANE_NUMBERS, "target", "split")
        active_lanes = Lanes(size, **{name: getattr(lanes, name)[which] for name in names})
        self.part = State(data, active_lanes, settings)
        self.run = Run(data, active_lanes, settings, self.part)

    def advance(self, budget: int, stop: int | None = None) -> bool:
        self._begin_epoch()
        try:
            return self.run.advance(budget, stop)
        finally:
            if self.part is not None:
                self.state.put(self.part, self.which, slice(0, len(self.which)))

    @property
    def draws_order(self) -> bool:
        self._begin_epoch()
        return self.run.draws_order

    @property
    def clipped(self) -> bool:
        return self.run.clipped

    @property
    def bad_row(self) -> Any:
        return self.run.bad_row

    @property
    def rate(self) -> float:
        return self.run.rate

    def flush(self) -> None:
        self.whole.flush()

    def measure(self) -> Any:
        return self.whole.measure()

    @property
    def is_sparse(self) -> bool:
        return self.whole.is_sparse

    def measure_unread(self) -> Any:
        return self.whole.measure_unread()
