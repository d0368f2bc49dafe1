"""The compiled core against its NumPy twin, and dense against CSR, over the whole grid.

The twin runs once for a case: its table holds float32 numbers, so every dtype, layout and
instruction set should give its result. Loss x sampling x batch size x lanes x momentum x averaging
are crossed; penalties, schedules and weights change from case to case, so that each meets each. The
second grid crosses everything, dense against CSR; a third has what dense X may be stored in, with
and without a scale.
"""

from itertools import count, product

import numpy as np
import pytest
from problems import (
    DTYPES,
    ELEMENTWISE,
    ISAS,
    LANE_COUNTS,
    LAYOUTS,
    MOMENTA,
    STORED_DTYPES,
    TOLERANCE,
    difference,
    grid,
    lanes,
    penalties_of,
    prepare,
    schedule_of,
    sign_targets,
    table,
    targets_of,
    train_core,
    train_twin,
)

from fastsgd import reference, sampling, targets
from fastsgd.losses import LOSSES
from fastsgd.problem import Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import SCHEDULES

BATCH_SIZES = (1, 4, 23)  # single samples; batches, the last one short; the full batch
AVERAGES = (0, 5)
VARIANTS = tuple(product(DTYPES, LAYOUTS))
POWERS = (0.5, 1.0, 0.25)  # of "inverse" and "invscaling": without pow, and with
SCHEDULE = {"decay": 0.5, "step_epochs": 1.0, "total_epochs": 4.0, "warmup_steps": 3, "final": 0.1}


def nearest_kink(data, of, settings) -> bool:
    """Whether a score of the twin comes so near a kink that rounding picks the side."""
    state, loss, e = reference.State(data, of, settings), settings.terms, settings.loss_parameter
    prepare(state, data)
    while state.epoch < 3:
        order = sampling.order(settings.sampling, data.n, settings.seed, state.epoch)
        rows = order[state.row : state.row + settings.batch_size]
        y = targets.targets_of(data, of, settings, rows)
        z = reference.score(data, state, rows)
        jump = np.abs(loss.slope(z + 3e-6, y, e) - loss.slope(z - 3e-6, y, e))
        if (jump[z != 0.0] > 0.1).any():  # a score of exactly 0 is that in every engine
            return True
        reference.run_epoch(data, of, settings, state, batches=1)
    return False


def variants_of(of, settings, variants, counts, **options):
    """The table in every dtype and layout; for a loss with a kink, one that stays clear of it."""
    for seed in range(40):
        examples = table(seed=seed, counts=counts)
        data = {v: examples.data(*v, **targets_of(settings.loss), **options) for v in variants}
        smooth = np.isfinite(settings.terms.smoothness) or settings.loss == "poisson"
        if smooth or not nearest_kink(data[np.float64, "dense"], of, settings):
            return data
    raise AssertionError("no table keeps clear of the kink")


def compare(of, settings, worst, case, variants=VARIANTS, counts=False, **options):
    """The twin against every dtype, layout and instruction set."""
    data = variants_of(of, settings, variants, counts, **options)
    # A float32 weight's part of the L1 penalty is rounded too, and may leave little of the weight.
    loosely = {np.float32: 4.0 if of.l1.any() else 1.0, np.float64: 1.0}
    twin = train_twin(data[np.float64, "dense"], of, settings, prepared=True)
    for (dtype, layout), isa in product(variants, ISAS):
        core = train_core(data[dtype, layout], of, settings, isa, prepared=True)
        gap = difference(core, twin, settings)
        tolerance = loosely[core.dtype.type] * TOLERANCE[core.dtype.type]
        assert gap < tolerance, (case, options, dtype.__name__, layout, isa, gap)
        assert np.array_equal(core.t, twin.t)
        assert np.array_equal(core.norm_count, twin.norm_count)
        worst[dtype] = max(worst[dtype], gap)


def settings_of(loss, fit_intercept=True, **other):
    return Settings(
        loss=loss,
        sign_targets=sign_targets(loss),
        fit_intercept=fit_intercept and loss != "linear",
        seed=7,
        **other,
    )


def lane_counts_of(loss):
    return tuple(k for k in LANE_COUNTS if k > 1 or not LOSSES[loss].coupled)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mode", SAMPLINGS)
def test_core_equals_twin(loss, mode):
    worst = dict.fromkeys(DTYPES, 0.0)
    first = SAMPLINGS.index(mode) * 3 + list(LOSSES).index(loss)
    for i, case in zip(
        count(first),
        grid(batch_size=BATCH_SIZES, k=lane_counts_of(loss), momentum=MOMENTA, average=AVERAGES),
        strict=False,
    ):
        penalties = penalties_of(loss)
        penalty, kind = penalties[i % len(penalties)], SCHEDULES[i % len(SCHEDULES)]
        settings = settings_of(
            loss,
            fit_intercept=i % 7 > 0,
            batch_size=case["batch_size"],
            momentum=case["momentum"][0],
            nesterov=case["momentum"][1],
            average=case["average"],
            sampling=mode,
            schedule=schedule_of(kind, power_t=POWERS[i // len(SCHEDULES) % 3], **SCHEDULE),
        )
        of = lanes(case["k"], loss, penalty)
        compare(of, settings, worst, (case, penalty, kind), weighted=i % 3 == 0)
    assert all(worst.values())  # equal to the last bit would mean that one engine ran twice


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mode", SAMPLINGS)
def test_stored_types_and_scales_equal_the_twins(loss, mode):
    """Dense counts in every dtype they are read in place from, with and without a scale."""
    variants = tuple((dtype, "dense") for dtype in STORED_DTYPES)
    worst = dict.fromkeys(STORED_DTYPES, 0.0)
    first = SAMPLINGS.index(mode) * 3 + list(LOSSES).index(loss)
    for i, case in zip(
        count(first),
        grid(scaled=(False, True), batch_size=BATCH_SIZES, k=lane_counts_of(loss)),
        strict=False,
    ):
        penalty, momentum = penalties_of(loss)[i % len(penalties_of(loss))], MOMENTA[i % 3]
        settings = settings_of(
            loss,
            fit_intercept=i % 4 > 0,
            batch_size=case["batch_size"],
            momentum=momentum[0],
            nesterov=momentum[1],
            average=AVERAGES[i % 2],
            sampling=mode,
        )
        of = lanes(case["k"], loss, penalty)
        options = {"scaled": case["scaled"], "weighted": i % 5 == 0}
        compare(of, settings, worst, (case, penalty, momentum), variants, counts=True, **options)
    assert all(worst.values())


@pytest.mark.parametrize("loss", LOSSES)
def test_clipped_gradients_equal_the_twins(loss):
    """Clipped at about the median norm: some batches are, some are not."""
    worst = dict.fromkeys(DTYPES, 0.0)
    for case in grid(batch_size=BATCH_SIZES, k=(*lane_counts_of(loss)[:2], 19), average=AVERAGES):
        for penalty in penalties_of(loss):
            clip = 0.5 if case["batch_size"] < 23 else 0.1
            settings = settings_of(
                loss,
                batch_size=case["batch_size"],
                average=case["average"],
                momentum=0.5 * (penalty == "l2"),
                clip_norm=clip,
            )
            of = lanes(case["k"], loss, penalty)
            compare(of, settings, worst, (case, penalty), weighted=True)
    assert all(worst.values())


@pytest.mark.parametrize("loss", ELEMENTWISE)
@pytest.mark.parametrize("step", ("pa1", "pa2"))
def test_passive_aggressive_steps_equal_the_twins(loss, step):
    """Of stored counts too: such a step depends on |x|^2."""
    worst = dict.fromkeys(STORED_DTYPES, 0.0)
    stored = tuple((dtype, "dense") for dtype in STORED_DTYPES)
    for case in grid(k=LANE_COUNTS[:2], average=AVERAGES, penalty=penalties_of(loss)):
        settings = settings_of(loss, step=step, average=case["average"])
        of = lanes(case["k"], loss, case["penalty"])
        for scaled in (False, True):
            options = {"scaled": scaled, "counts": True, "variants": stored}
            compare(of, settings, worst, case, weighted=True, **options)
        compare(of, settings, worst, case, weighted=True)
    assert all(worst.values())


@pytest.mark.parametrize("loss", LOSSES)
def test_dense_and_csr_give_one_model(loss):
    """float64, to 1e-10, over penalty x schedule x momentum x averaging x batch size."""
    of = {(k, p): lanes(k, loss, p) for k in (2, 19) for p in penalties_of(loss)}
    data = [table().data(np.float64, layout, **targets_of(loss)) for layout in ("dense", "csr64")]
    worst = 0.0
    for i, case in enumerate(
        grid(
            penalty=penalties_of(loss),
            kind=SCHEDULES,
            momentum=MOMENTA,
            average=AVERAGES,
            batch_size=BATCH_SIZES,
        )
    ):
        settings = settings_of(
            loss,
            batch_size=case["batch_size"],
            momentum=case["momentum"][0],
            nesterov=case["momentum"][1],
            average=case["average"],
            schedule=schedule_of(case["kind"], power_t=POWERS[i % 3], **SCHEDULE),
        )
        k = (2, 19, 1)[i % (2 if LOSSES[loss].coupled else 3)]
        lanes_k = of[k, case["penalty"]] if k > 1 else lanes(1, loss, case["penalty"])
        dense, csr = (train_core(d, lanes_k, settings, epochs=2, prepared=True) for d in data)
        for a, b in zip(dense.weights(settings), csr.weights(settings), strict=True):
            gap = float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3))
            assert gap < 1e-10, (case, k, gap)
            worst = max(worst, gap)
    assert worst > 0.0
