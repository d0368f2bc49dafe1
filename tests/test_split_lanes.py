"""Lanes of splits, which train on other rows each, against the twin and against sample weights."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from problems import (
    DTYPES,
    ISAS,
    LAYOUTS,
    TOLERANCE,
    difference,
    lanes,
    schedule_of,
    table,
    targets_of,
    train_core,
    train_twin,
)

from fastsgd import DivergenceError
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import SCHEDULES


def held_out_of(n, seed=0):
    """Three splits: each row is held out of none, one or several; one row out of all."""
    held_out = np.random.default_rng(seed).integers(0, 8, n).astype(np.uint64)
    held_out[4] = 7
    assert len(np.unique(held_out)) > 5
    return held_out


@pytest.mark.parametrize("batch_size", (1, 4))
@pytest.mark.parametrize("loss", ("log_loss", "squared_error"))
def test_lanes_of_splits_equal_the_twins(loss, batch_size):
    """Every schedule, since lanes are at updates of their own; averages, momentum and L1 too."""
    worst = dict.fromkeys(DTYPES, 0.0)
    options = (
        {},
        {"average": 5},
        {"optimizer": SGD(0.9)},
        {"clip_norm": 0.5},
        {"penalty": "elasticnet"},
    )
    for i, (kind, k) in enumerate(product(SCHEDULES, (3, 6, 19))):
        other = dict(options[i % len(options)])
        of = lanes(k, loss, other.pop("penalty", "l2"))
        of = replace(of, split=np.uint64(1) << (np.arange(k) % 3).astype(np.uint64))
        schedule = schedule_of(
            kind,
            power_t=(0.5, 1.0, 0.25)[i // 3 % 3],
            decay=0.5,
            step_epochs=1.0,
            total_epochs=4.0,
            warmup_steps=5 * (i % 2),
        )
        settings = Settings(
            loss=loss,
            sign_targets=loss == "log_loss",
            seed=7,
            batch_size=batch_size,
            schedule=schedule,
            **other,
        )
        held_out = held_out_of(23)

        def data(dtype, layout, held_out=held_out, i=i):
            plain = table(seed=3).data(dtype, layout, weighted=i % 4 == 0, **targets_of(loss))
            return replace(plain, held_out=held_out)

        twin = train_twin(data(np.float64, "dense"), of, settings, prepared=True)
        if batch_size == 1:
            assert len(np.unique(twin.t)) == 3
        for dtype, layout, isa in product(DTYPES, LAYOUTS, ISAS):
            core = train_core(data(dtype, layout), of, settings, isa, prepared=True)
            gap = difference(core, twin, settings)
            assert gap < 4 * TOLERANCE[dtype], (kind, k, layout, isa, gap)
            assert np.array_equal(core.t, twin.t)
            worst[dtype] = max(worst[dtype], gap)
    assert all(worst.values())


@pytest.mark.parametrize("layout", ("dense", "csr32"))
def test_a_lane_of_a_split_is_a_lane_of_zero_weights(layout):
    """To the bit, where both take the general way; of the core alone."""
    data = table(n=200).data(np.float64, layout, sign=True)
    held_out = held_out_of(200)
    settings = Settings("log_loss", sign_targets=True, seed=1, average=1)
    of = Lanes(6, alpha=0.01, eta0=0.05, split=np.uint64(1) << np.arange(6, dtype=np.uint64) % 3)
    together = train_core(replace(data, held_out=held_out), of, settings).weights(settings)
    for f in range(3):
        weight = (held_out >> np.uint64(f) & np.uint64(1) == 0).astype(np.float64)
        alone = train_core(
            replace(data, sample_weight=weight), Lanes(6, alpha=0.01, eta0=0.05), settings
        ).weights(settings)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[f::3], b[f::3], rtol=1e-12, atol=1e-14)
        assert not np.allclose(together[0][f], together[0][(f + 1) % 3])


def test_a_row_held_out_of_all_splits_may_hold_anything():
    X = table().X.copy()
    X[4] = np.nan
    data = Data(X, table().y[:, 0], held_out=held_out_of(23))
    of = Lanes(3, alpha=0.01, eta0=0.01, split=np.array([1, 2, 4], dtype=np.uint64))
    coef, _ = train_core(data, of, Settings()).last_weights()
    assert np.isfinite(coef).all()
    with pytest.raises(DivergenceError):
        train_core(replace(data, held_out=data.held_out & np.uint64(3)), of, Settings())


def test_what_splits_do_not_go_with():
    X, y, held_out = np.eye(3), np.arange(3.0), np.zeros(3, dtype=np.uint64)
    with pytest.raises(ValueError, match="held_out must be 3 numbers of uint64"):
        Data(X, y, held_out=held_out[:2])
    with pytest.raises(ValueError, match="held_out must be 3 numbers of uint64"):
        Data(X, y, held_out=np.zeros(3))
    data = Data(X, y, held_out=held_out)
    with pytest.raises(ValueError, match="held_out needs two lanes or more"):
        Settings().check(data, Lanes(1, alpha=0.0, eta0=1.0))
    softmax = Lanes(3, alpha=0.0, eta0=1.0, label=np.arange(3))
    with pytest.raises(ValueError, match="held_out needs two lanes or more"):
        Settings("softmax", sign_targets=True).check(data, softmax)
