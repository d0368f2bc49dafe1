"""The compiled core against its NumPy twin, over the whole grid of settings.

The twin runs once for a case: its table holds float32 numbers, so every dtype, layout and
instruction set should give its result, and all of these are crossed with every case. Of the
settings every two values of every two axes meet for each loss (see covering.py); what the kernels
are specialised on, optimizer x average x penalty and batch size x lanes, is crossed besides. A
second grid has what dense X may be stored in, with and without a scale; a third passive-aggressive
steps.
"""

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering_each, unmet, valid_with
from problems import (
    DTYPES,
    ELEMENTWISE,
    ISAS,
    LANE_COUNTS,
    LAYOUTS,
    OPTIMIZERS,
    PENALTIES,
    STORED_DTYPES,
    TOLERANCE,
    difference,
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

from fastsgd import _core, reference, sampling, targets
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD
from fastsgd.problem import Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.schedules import SCHEDULES

BATCH_SIZES = (1, 4, 23)  # single samples; batches, the last one short; the full batch
AVERAGES = (0, 5)
VARIANTS = tuple(product(DTYPES, LAYOUTS))
STORED = tuple((dtype, "dense") for dtype in STORED_DTYPES)
POWERS = (0.5, 1.0, 0.25)  # of "inverse" and "invscaling": without pow, and with
SCHEDULE = {"decay": 0.5, "step_epochs": 1.0, "total_epochs": 4.0, "final": 0.1}

SHARED = {
    "loss": tuple(LOSSES),
    "penalty": PENALTIES,
    "average": AVERAGES,
    "k": LANE_COUNTS,
    "sampling": SAMPLINGS,
    "fit_intercept": (False, True),
    "weighted": (False, True),
}
GRADIENT = {
    **SHARED,
    "optimizer": OPTIMIZERS,
    "batch_size": BATCH_SIZES,
    "clip": (False, True),
    "schedule": SCHEDULES,
    "power_t": POWERS,
    "warmup_steps": (0, 3),
}
"""Axes of the grid of gradient steps."""
STORES = {
    **SHARED,
    "optimizer": OPTIMIZERS,
    "batch_size": BATCH_SIZES,
    "clip": (False, True),
    "scaled": (False, True),
}
"""Axes of the grid of stored types."""
PASSIVE = {
    **SHARED,
    "loss": ELEMENTWISE,
    "step": ("pa1", "pa2"),
    "k": LANE_COUNTS[:3],
    "stored": (None, False, True),
}
"""Axes of the grid of passive-aggressive steps; counts are ``stored`` without or with a scale."""


def valid(case) -> bool:
    """Whether the loss of a case can do with the rest of it."""
    if "loss" not in case:
        return True
    loss = LOSSES[case["loss"]]
    return (
        case.get("penalty", "l2") in penalties_of(case["loss"])
        and not (loss.coupled and case.get("k") == 1)
        and not (loss.infimum == -np.inf and case.get("fit_intercept"))
    )


CROSSED = ("optimizer", "average", "penalty"), ("batch_size", "k")
CASES = {
    "gradient": covering_each(GRADIENT, "loss", crossed=CROSSED, valid=valid),
    "stores": covering_each(
        STORES, "loss", crossed=[("batch_size", "k", "scaled")], valid=valid, seed=1
    ),
    "passive": covering_each(
        PASSIVE, "loss", crossed=[("penalty", "average", "step")], valid=valid, seed=2
    ),
}


def of_loss(grid, loss):
    """The cases of a grid that have the loss."""
    return [case for case in CASES[grid] if case["loss"] == loss]


def rounding_decides(data, of, settings) -> bool:
    """Whether a run of the twin comes so near a place where it jumps that rounding picks the side.

    A score may be near a kink. Terms of a gradient may cancel, so that it is 0 or as small as their
    rounding: AdaGrad without an initial accumulator makes a step of full length along the one, and
    none along the other.
    """
    state, loss, e = reference.State(data, of, settings), settings.terms, settings.loss_parameter
    smooth = np.isfinite(loss.smoothness) or settings.loss == "poisson"
    if smooth and settings.optimizer.linear:
        return False
    prepare(state, data)
    while state.epoch < 3:
        order = sampling.order(settings.sampling, data.n, settings.seed, state.epoch)
        rows = order[state.row : state.row + settings.batch_size]
        y = targets.targets_of(data, of, settings, rows)
        z = reference.score(data, state, rows)
        jump = np.abs(loss.slope(z + 3e-6, y, e) - loss.slope(z - 3e-6, y, e))
        if not smooth and (jump[z != 0.0] > 0.1).any():  # a 0 is that in every engine
            return True
        if not settings.optimizer.linear:
            X = np.column_stack([data.rows(rows), np.ones(len(rows))])
            c = loss.slope(z, y, e) * targets.weights_of(data, of, settings, y, rows)
            size = np.abs(X).T @ np.abs(c)
            squares = np.vstack([state.slots["squares"], state.intercept_slots["squares"]])
            if (np.sqrt(squares + (X.T @ c) ** 2) < 1e-6 * size).any():
                return True
        reference.run_epoch(data, of, settings, state, batches=1)
    return False


def variants_of(of, settings, variants, counts, **options):
    """A table on which rounding decides nothing, in every dtype and layout."""
    for seed in range(40):
        examples = table(seed=seed, counts=counts)
        data = {v: examples.data(*v, **targets_of(settings.loss), **options) for v in variants}
        if not rounding_decides(data[np.float64, "dense"], of, settings):
            return data
    raise AssertionError("rounding decides on every table")


def compare(of, settings, worst, case, variants=VARIANTS, counts=False, **options):
    """The twin against every dtype, layout and instruction set."""
    data = variants_of(of, settings, variants, counts, **options)
    # A float32 weight's part of the L1 penalty is rounded too, and may leave little of the weight;
    # AdaGrad's first steps are as long for a gradient that is small beside its rounding. A slope
    # has the rounding of the score, times the smoothness.
    loose, smoothness = of.l1.any() or not settings.optimizer.linear, settings.terms.smoothness
    steep = max(1.0, smoothness) if np.isfinite(smoothness) else 1.0
    loosely = {np.float32: 4.0 if loose else steep, np.float64: 1.0}
    twin = train_twin(data[np.float64, "dense"], of, settings, prepared=True)
    for (dtype, layout), isa in product(variants, ISAS):
        core = train_core(data[dtype, layout], of, settings, isa, prepared=True)
        gap = difference(core, twin, settings)
        tolerance = loosely[core.dtype.type] * TOLERANCE[core.dtype.type]
        assert gap < tolerance, (case, options, dtype.__name__, layout, isa, gap)
        assert np.array_equal(core.t, twin.t)
        assert np.array_equal(core.row_count, twin.row_count)
        assert np.array_equal(core.norm_count, twin.norm_count)
        worst[dtype] = max(worst[dtype], gap)


def settings_of(case, **other):
    """Settings of a case; clipped at about the median norm, some batches are, some are not."""
    batch_size, clips = case.get("batch_size", 1), case.get("clip", False)
    return Settings(
        loss=case["loss"],
        sign_targets=sign_targets(case["loss"]),
        batch_size=batch_size,
        optimizer=case.get("optimizer", SGD()),
        average=case["average"],
        fit_intercept=case["fit_intercept"],
        sampling=case["sampling"],
        clip_norm=(0.5 if batch_size < 23 else 0.1) if clips else np.inf,
        seed=7,
        **other,
    )


@pytest.mark.parametrize(
    ("grid", "axes"),
    (("gradient", GRADIENT), ("stores", STORES), ("passive", PASSIVE)),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_two_values_of_every_two_axes_meet_for_each_loss(grid, axes):
    assert all(valid(case) and case.keys() == axes.keys() for case in CASES[grid])
    for loss in axes["loss"]:
        may_be = valid_with(valid, {"loss": loss})
        assert unmet(of_loss(grid, loss), {**axes, "loss": [loss]}, may_be) == []


def test_every_case_meets_every_dtype_layout_and_instruction_set(monkeypatch):
    """The loop of ``compare``, over the lists of the code: none is left out."""
    met = []
    whole = train_core

    def train(data, of, settings, isa, **options):
        layout = f"csr{8 * data.X.indices.itemsize}" if sp.issparse(data.X) else "dense"
        met.append((data.dtype.type, layout, isa))
        return whole(data, of, settings, isa, **options)

    monkeypatch.setitem(globals(), "train_core", train)
    case = of_loss("gradient", "log_loss")[0]
    compare(lanes(3, "log_loss"), settings_of(case), dict.fromkeys(DTYPES, 0.0), case)
    assert sorted(met, key=str) == sorted(product(DTYPES, LAYOUTS, ISAS), key=str)
    assert {np.float32, np.float64} == set(DTYPES) and set(ISAS) == set(_core.isas())


def test_what_kernels_are_specialised_on_is_crossed():
    steps, shapes = CROSSED
    for names in ((*steps, *shapes), (*steps, "schedule")):
        axes = {name: GRADIENT[name] for name in names}
        assert unmet(CASES["gradient"], axes, valid, strength=len(names)) == []


@pytest.mark.parametrize("loss", LOSSES)
def test_core_equals_twin(loss):
    worst = dict.fromkeys(DTYPES, 0.0)
    for case in of_loss("gradient", loss):
        constants = {name: case[name] for name in ("power_t", "warmup_steps")}
        settings = settings_of(
            case, schedule=schedule_of(case["schedule"], **constants, **SCHEDULE)
        )
        of = lanes(case["k"], loss, case["penalty"])
        compare(of, settings, worst, case, weighted=case["weighted"])
    assert all(worst.values())  # equal to the last bit would mean that one engine ran twice


@pytest.mark.parametrize("loss", LOSSES)
def test_stored_types_and_scales_equal_the_twins(loss):
    """Dense counts in every dtype they are read in place from, with and without a scale."""
    worst = dict.fromkeys(STORED_DTYPES, 0.0)
    for case in of_loss("stores", loss):
        of = lanes(case["k"], loss, case["penalty"])
        options = {name: case[name] for name in ("scaled", "weighted")}
        compare(of, settings_of(case), worst, case, STORED, counts=True, **options)
    assert all(worst.values())


@pytest.mark.parametrize("loss", ELEMENTWISE)
def test_passive_aggressive_steps_equal_the_twins(loss):
    """Of stored counts too: such a step depends on |x|^2."""
    worst = dict.fromkeys(STORED_DTYPES, 0.0)
    for case in of_loss("passive", loss):
        of, options = lanes(case["k"], loss, case["penalty"]), {}
        if case["stored"] is not None:
            options = {"scaled": case["stored"], "counts": True, "variants": STORED}
        settings = settings_of(case, step=case["step"])
        compare(of, settings, worst, case, weighted=case["weighted"], **options)
    assert all(worst.values())
