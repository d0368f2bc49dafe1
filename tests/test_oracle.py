"""The compiled core against its NumPy twin, over the whole grid.

loss x sampling x schedule x batch size x lanes x momentum x averaging, and for each of those every
dtype x layout x instruction set. The twin runs once for each of the former: its table holds float32
numbers, so all of the latter should give its result.
"""

from itertools import product

import numpy as np
import pytest
from problems import (
    DTYPES,
    ISAS,
    LANE_COUNTS,
    LAYOUTS,
    MOMENTA,
    TOLERANCE,
    difference,
    grid,
    lanes,
    sign_targets,
    table,
    train_core,
    train_twin,
)

from fastsgd import reference
from fastsgd.losses import LOSSES
from fastsgd.problem import Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import SCHEDULES, Schedule

BATCH_SIZES = (1, 4, 23)  # single samples; batches, the last one short; the full batch
AVERAGES = (0, 5)


def schedule_of(kind: str) -> Schedule:
    return Schedule(kind, decay=0.5, step_epochs=1.0, total_epochs=4.0, warmup_steps=3)


def nearest_kink(data, of, settings) -> float:
    """How near a score of the twin comes to the hinge's kink, where rounding picks the side."""
    state, rows, nearest = reference.State(data, of, settings), np.arange(data.n), np.inf
    y = reference.targets(data, of, settings, rows)
    while state.epoch < 3:
        nearest = min(nearest, np.abs(1.0 - y * reference.score(data, state, rows)).min())
        reference.run_epoch(data, of, settings, state, batches=1)
    return nearest


def variants_of(of, settings):
    """The table in every dtype and layout; for a loss with a kink, one that stays clear of it."""
    for seed in range(20):
        examples = table(seed=seed)
        data = {v: examples.data(*v, sign=settings.sign_targets) for v in product(DTYPES, LAYOUTS)}
        exact = data[np.float64, "dense"]
        smooth = np.isfinite(LOSSES[settings.loss].smoothness)
        if smooth or nearest_kink(exact, of, settings) > 1e-6:
            return data
    raise AssertionError("no table keeps clear of the kink")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_core_equals_twin(loss, kind, sampling):
    worst = dict.fromkeys(DTYPES, 0.0)
    for case in grid(batch_size=BATCH_SIZES, k=LANE_COUNTS, momentum=MOMENTA, average=AVERAGES):
        settings = Settings(
            loss=loss,
            sign_targets=sign_targets(loss),
            batch_size=case["batch_size"],
            momentum=case["momentum"][0],
            nesterov=case["momentum"][1],
            average=case["average"],
            fit_intercept=loss != "linear",
            sampling=sampling,
            seed=7,
            schedule=schedule_of(kind),
        )
        of = lanes(case["k"], loss)
        data = variants_of(of, settings)
        twin = train_twin(data[np.float64, "dense"], of, settings)
        for dtype, layout, isa in product(DTYPES, LAYOUTS, ISAS):
            core = train_core(data[dtype, layout], of, settings, isa)
            gap = difference(core, twin, settings)
            assert gap < TOLERANCE[dtype], (case, dtype.__name__, layout, isa, gap)
            assert np.array_equal(core.t, twin.t)
            worst[dtype] = max(worst[dtype], gap)
    assert all(worst.values())  # equal to the last bit would mean that one engine ran twice
