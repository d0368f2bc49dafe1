"""An epoch whose rows come in windows: the bits of one whole table, wherever the windows end."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from problems import (
    DTYPES,
    ISAS,
    LAYOUTS,
    OPTIMIZERS,
    bits,
    difference,
    lanes,
    schedule_of,
    sign_targets,
    table,
    train_core,
    train_twin,
)

from fastsgd import reference, solver
from fastsgd.losses import LOSSES
from fastsgd.problem import Data, Lanes, Settings, take
from fastsgd.schedules import SCHEDULES, Schedule
from fastsgd.solver.windows import joined, part

N, D = 301, 19
DRAWS = 240


def windows(data: Data, ends: list[int]) -> list[Data]:
    """The rows of an epoch in windows that end at these rows."""
    return [part(data, first, end) for first, end in pairwise([0, *ends, data.n])]


def weights_of(data: Data, rows: np.ndarray) -> np.ndarray | None:
    return None if data.sample_weight is None else data.sample_weight[rows]


def draw(seed: int) -> tuple[Data, Lanes, Settings, list[int]]:
    """A problem, and where its windows end: some are of one row, some of most rows."""
    rng = np.random.default_rng(seed)
    loss = str(rng.choice(list(LOSSES)))
    k = int(rng.choice([3, 6] if LOSSES[loss].coupled else [1, 1, 3, 6]))
    optimizer = OPTIMIZERS[rng.integers(len(OPTIMIZERS))]
    penalty = str(rng.choice(["l2", "elasticnet"]))
    settings = Settings(
        loss,
        sign_targets=sign_targets(loss),
        batch_size=int(rng.choice([1, 1, 2, 5, 64, 100, N])),
        optimizer=optimizer,
        average=int(rng.choice([0, 0, 1, 9])),
        fit_intercept=LOSSES[loss].infimum != -np.inf,
        sampling="sequential",
        schedule=schedule_of(str(rng.choice(list(SCHEDULES)))),
        clip_norm=float(rng.choice([np.inf, np.inf, 0.5])),
        n_jobs=int(rng.choice([1, 2])),
    )
    data = table(N, D).data(
        rng.choice(DTYPES),
        str(rng.choice(LAYOUTS)),
        sign=sign_targets(loss),
        weighted=bool(rng.integers(2)),
        count=LOSSES[loss].targets == {"count"},
    )
    ends = np.unique(rng.integers(1, N, rng.integers(1, 12))).tolist()
    of = lanes(k, loss, penalty)
    if LOSSES[loss].targets == {"count"}:  # whose slope has no bound
        of.eta0[:] *= 0.01
    return data, of, settings, ends


@pytest.mark.parametrize("seed", range(DRAWS))
def test_no_bit_depends_on_where_windows_end(seed, monkeypatch):
    monkeypatch.setenv("FASTSGD_ISA", ISAS[seed % len(ISAS)])
    data, of, settings, ends = draw(seed)
    whole = train_core(data, of, settings, epochs=2)
    state = solver.State(data, of, settings)
    for epoch in range(2):
        solver.run_windows(windows(data, ends[epoch:]), of, settings, state)
        assert (state.epoch, state.row, state.batch_row) == (epoch + 1, 0, 0)
    assert bits(state, settings) == bits(whole, settings)


@pytest.mark.parametrize("seed", range(0, DRAWS, 2))
def test_windows_with_an_order_are_shuffled_tables(seed, monkeypatch):
    monkeypatch.setenv("FASTSGD_ISA", ISAS[seed // 2 % len(ISAS)])
    data, of, settings, ends = draw(seed)
    rng = np.random.default_rng(seed)
    stored = windows(data, ends)
    orders = [rng.permutation(window.n) for window in stored]
    rows = np.concatenate([w.first_row + order for w, order in zip(stored, orders, strict=True)])
    shuffled = [replace(w, order=order) for w, order in zip(stored, orders, strict=True)]
    whole = Data(take(data.X, rows), data.y[rows], weights_of(data, rows))
    state, twin = solver.State(whole, of, settings), reference.State(whole, of, settings)
    for _ in range(2):
        solver.run_windows(shuffled, of, settings, state)
        for window in shuffled:
            if twin.row + twin.batch_row < window.end:
                reference.run_epoch(window, of, settings, twin)
    assert bits(state, settings) == bits(train_core(whole, of, settings, epochs=2), settings)
    tolerance = 3e-5 if data.dtype == np.float32 else 1e-11
    assert difference(state, twin, settings) < tolerance


@pytest.mark.parametrize("seed", range(0, DRAWS, 4))
def test_the_twin_agrees(seed):
    data, of, settings, ends = draw(seed)
    twin = reference.State(data, of, settings)
    for _ in range(2):
        for window in windows(data, ends):
            reference.run_epoch(window, of, settings, twin)
    assert (twin.epoch, twin.row, twin.batch_row) == (2, 0, 0)
    whole = train_twin(data, of, settings, epochs=2)
    np.testing.assert_allclose(twin.W, whole.W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(twin.norm_sum, whole.norm_sum, rtol=1e-9)
    state = solver.State(data, of, settings)
    for _ in range(2):
        solver.run_windows(windows(data, ends), of, settings, state)
    tolerance = 3e-5 if data.dtype == np.float32 else 1e-11
    assert difference(state, twin, settings) < tolerance


def test_state_stands_between_windows_and_is_saved_there():
    """Dense batches of 100 rows begin in one window and end in the next."""
    data = table(N, D).data(np.float64, "dense", sign=True)
    of, settings = lanes(1, "log_loss"), Settings("log_loss", sign_targets=True, batch_size=100)
    settings = Settings("log_loss", sign_targets=True, batch_size=100, sampling="sequential")
    state = solver.State(data, of, settings)
    solver.run_epoch(part(data, 0, 150), of, settings, state)
    assert state.row == 100
    assert 0 < state.batch_row <= 50
    row = solver.next_row(data, state)
    assert row == state.row + state.batch_row
    state = pickle.loads(pickle.dumps(state))
    solver.run_epoch(part(data, row, N), of, settings, state)
    whole = train_core(data, of, settings, epochs=1)
    assert bits(state, settings) == bits(whole, settings)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", (1, 6))
def test_blocks_of_plain_steps_do_not_end_with_a_window(k, isa, monkeypatch):
    """Four rows at a time, whose rounding is not that of one and three."""
    monkeypatch.setenv("FASTSGD_ISA", isa)
    data = table(N, D).data(np.float32, "dense", sign=False)
    of, settings = lanes(k, "squared_error"), Settings(sampling="sequential")
    state = solver.State(data, of, settings)
    solver.run_windows(windows(data, list(range(1, N, 29))), of, settings, state)
    assert bits(state, settings) == bits(train_core(data, of, settings, epochs=1), settings)


@pytest.mark.parametrize("isa", ISAS)
def test_rates_of_a_users_schedule_do_not_tell_windows_apart(isa, monkeypatch):
    """Some windows have no row of weight 0, and could be asked for many rates at once."""
    monkeypatch.setenv("FASTSGD_ISA", isa)
    data = table(N, D).data(np.float64, "dense", sign=True, weighted=True)
    assert data.sample_weight is not None
    assert data.sample_weight[10:].all()
    assert not data.sample_weight.all()
    of = lanes(6, "log_loss")
    settings = Settings(
        "log_loss", sign_targets=True, sampling="sequential", schedule=schedule_of("callable")
    )
    state = solver.State(data, of, settings)
    solver.run_windows(windows(data, [40, 200]), of, settings, state)
    assert bits(state, settings) == bits(train_core(data, of, settings, epochs=1), settings)


def test_windows_may_overlap():
    data = table(N, D).data(np.float32, "csr32", sign=True)
    of, settings = lanes(1, "hinge"), Settings(sign_targets=True, loss="hinge", batch_size=7)
    settings = Settings("hinge", sign_targets=True, batch_size=7, sampling="sequential")
    state = solver.State(data, of, settings)
    overlapping = [part(data, max(0, first - 20), min(N, first + 40)) for first in range(0, N, 40)]
    solver.run_windows(overlapping, of, settings, state)
    assert bits(state, settings) == bits(train_core(data, of, settings, epochs=1), settings)


def test_schedules_count_by_the_epoch():
    """A window of a third of the rows makes a third of the epoch's steps, at their rates."""
    seen = []

    def rate(step: int, epoch: float) -> float:
        seen.append(epoch)
        return 0.01

    data = table(N, D).data(np.float64, "dense", sign=False)
    schedule = Schedule("callable", function=rate)
    settings = Settings("squared_error", batch_size=10, sampling="sequential", schedule=schedule)
    of = lanes(1, "squared_error")
    state = solver.State(data, of, settings)
    solver.run_windows(windows(data, [100, 200]), of, settings, state)
    steps = -(-N // 10)
    np.testing.assert_allclose(np.unique(seen), np.arange(steps) / steps)


def test_what_is_no_window_is_refused():
    data = table(N, D).data(np.float64, "dense", sign=False)
    of, settings = lanes(1, "squared_error"), Settings(sampling="sequential")
    window = part(data, 10, 20)
    with pytest.raises(ValueError, match=r"first_row must be in \[0, epoch_rows - 301\]"):
        Data(data.X, data.y, first_row=1, epoch_rows=N)
    with pytest.raises(ValueError, match="sampling must be 'sequential'"):
        solver.State(window, of, Settings())
    state = solver.State(data, of, settings)
    for train in (solver.run_epoch, reference.run_epoch):
        with pytest.raises(ValueError, match="at row 0 of the epoch, and data has rows 10"):
            train(window, of, settings, state if train is solver.run_epoch else twin_of(data))
    with pytest.raises(ValueError, match="data must have all rows of an epoch"):
        solver.fit(window, of, settings, state, solver.Stopping(max_epochs=1, tol=None, patience=1))
    with pytest.raises(ValueError, match="windows must not leave a gap: rows 10 to 12"):
        solver.run_windows([part(data, 0, 10), part(data, 12, 20)], of, settings, state)
    weighted = table(N, D).data(np.float64, "dense", sign=False, weighted=True)
    with pytest.raises(ValueError, match="sample_weight must be given for all windows"):
        joined(part(data, 0, 10), part(weighted, 10, 20))


def twin_of(data: Data) -> reference.State:
    return reference.State(data, lanes(1, "squared_error"), Settings(sampling="sequential"))
