"""The losses: the core's list is Python's, and each function is what its entry says of it.

The oracle is the twin in extended precision (numpy.longdouble), at the very numbers the core gets.
"""

import os

import numpy as np
import pytest
from problems import DTYPES, ELEMENTWISE, ISAS

from fastsgd import _core
from fastsgd.losses import LOSSES

ULP = {"value": 5.0, "slope": 3.0}
"""Worst measured on 80,000 scores, x86-64: 3.9 for values (log_loss in float64; squared_error 1.9,
the others 0.5), 2.0 for slopes."""

E = 0.1
"""The parameter of the losses that have one."""

SMOOTH = [name for name in ELEMENTWISE if np.isfinite(LOSSES[name].smoothness)]


def targets(loss):
    """Targets the loss takes: both signs, or those and some reals, or counts."""
    if loss.targets == {"count"}:
        return (0.0, 1.0, 7.0)
    return (-1.0, 1.0, 0.0, 3.7, -1e4) if "real" in loss.targets else (-1.0, 1.0)


def scores(dtype, loss):
    """Scores of both signs: zeros, denormals, 1e-8 to 1e4, around the kink, to a large 1e18."""
    tiny = np.finfo(dtype).tiny
    sizes = np.concatenate(
        [
            np.geomspace(1e-8, 1e4, 4001),
            np.linspace(0.0, 40.0, 4001),
            1.0 + np.arange(-8, 9) * float(np.finfo(dtype).eps),
            [0.0, tiny, tiny / 4, float(np.finfo(dtype).smallest_subnormal), 1e18],
        ]
    ).astype(dtype)
    assert (sizes == 0).any()
    assert ((sizes > 0) & (sizes < tiny)).any()
    both = np.concatenate([sizes, -sizes])
    return both[both < 80.0] if loss == "poisson" else both  # exp is infinite beyond 88


def test_core_has_the_losses_of_python():
    """Same names and facts in the same order: the enum is an index."""
    expected = [(x.name, x.smoothness, x.infimum, x.targets, x.coupled) for x in LOSSES.values()]
    assert str(list(_core.loss_infos())) == str(expected)  # as text: NaN equals NaN


@pytest.mark.parametrize("shift", (0.0, 1000.0, -1000.0))
def test_softmax_depends_on_differences_of_scores(shift):
    """-log p of the row's own class, p - 1 there and p elsewhere; large scores do not overflow."""
    rng = np.random.default_rng(0)
    z, own = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    y = np.where(np.arange(4) == own[:, None], 1.0, -1.0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    loss = LOSSES["softmax"]
    of_own = -np.log(p[np.arange(20), own])[:, None]
    np.testing.assert_allclose(loss.value(z + shift, y, 0.0), np.tile(of_own, 4), rtol=1e-10)
    np.testing.assert_allclose(loss.slope(z + shift, y, 0.0), p - (y > 0), rtol=1e-10)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("part", ("value", "slope"))
def test_core_is_within_ulps_of_the_twin(name, part, dtype, isa):
    """|core - twin| <= ULP of the result; below the normal range, two smallest normal numbers.

    exp is clamped to the normal range, so a log_loss below it ends at the smallest normal number.
    """
    z, tiny = scores(dtype, name), float(np.finfo(dtype).tiny)
    for target in targets(LOSSES[name]):
        y = np.full_like(z, target)
        core = _core.loss_at(name, z, y, parameter=E, slope=part == "slope", isa=isa)
        assert core.dtype == dtype
        with np.errstate(over="ignore"):
            e = dtype(E).astype(np.longdouble)
            twin = getattr(LOSSES[name], part)(z.astype(np.longdouble), y.astype(np.longdouble), e)
        size = np.abs(twin)
        if name == "poisson":  # a difference of terms that may be much larger
            size = np.exp(z.astype(np.longdouble)) + np.abs(y) * (1.0 + np.abs(z))
        allowed = ULP[part] * np.spacing(size.astype(dtype)) + 2.0 * tiny
        wrong = np.abs(core - twin) > allowed
        assert not wrong.any(), (target, z[wrong][:3], core[wrong][:3], twin[wrong][:3])


EXHAUSTIVE = bool(os.environ.get("FASTSGD_EXHAUSTIVE"))
"""Try all float32 numbers, which takes some minutes an instruction set, instead of one in 997."""


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("function", "most"), (("exp", 2.0), ("sigmoid", 3.0)))
def test_exp_and_sigmoid_over_all_float32(function, most, isa):
    """Within so many units in the last place (ULP) wherever the result is a normal number.

    exp is Poisson's slope at y = 0, the sigmoid that of log_loss at y = -1. Below the range of exp,
    about (-87, 88), both stay at their last value there; above it exp is infinite.
    """
    step = 1 if EXHAUSTIVE else 997
    worst = 0.0
    for first in range(0, 1 << 32, 1 << 24):
        bits = np.arange(first + first % step, first + (1 << 24), step, dtype=np.uint64)
        z = bits.astype(np.uint32).view(np.float32)
        z = z[np.isfinite(z) & (z > -87.0) & (z < (88.0 if function == "exp" else np.inf))]
        if len(z) == 0:
            continue
        if function == "exp":
            core = _core.loss_at("poisson", z, np.zeros_like(z), slope=True, isa=isa)
            true = np.exp(z.astype(np.float64))
        else:
            core = _core.loss_at("log_loss", z, np.full_like(z, -1.0), slope=True, isa=isa)
            true = 1.0 / (1.0 + np.exp(-z.astype(np.float64)))
        ulp = np.spacing(true.astype(np.float32)).astype(np.float64)
        worst = max(worst, float((np.abs(core - true) / ulp).max()))
    assert 0.5 <= worst <= most


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("dtype", "largest"), ((np.float32, 88.0), (np.float64, 709.0)))
@pytest.mark.parametrize("slope", (False, True))
def test_poissons_exp_is_infinite_above_its_range(slope, dtype, largest, isa):
    """And not at its end: so that a run which leaves the range diverges."""
    z = np.array([largest, np.nextafter(dtype(largest), dtype(np.inf)), 1e4], dtype)
    found = _core.loss_at("poisson", z, np.zeros_like(z), slope=slope, isa=isa)
    np.testing.assert_allclose(found[0], np.exp(np.float64(largest)), rtol=1e-5)
    np.testing.assert_array_equal(found[1:], np.inf)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_arrays_of_any_length_agree(name, isa):
    """Vector bodies and their tails compute the same function."""
    z = np.linspace(-3.0, 3.0, 131)
    whole = _core.loss_at(name, z, np.ones_like(z), isa=isa)
    for size in (0, 1, 2, 3, 7, 15, 17, 63, 64, 65, 130):
        part = _core.loss_at(name, z[:size], np.ones(size), isa=isa)
        np.testing.assert_allclose(part, whole[:size], rtol=1e-15)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slope_is_the_derivative_of_value(name, isa):
    """(f(z + h) - f(z - h)) / 2h in float64, clear of bends; error O(h^2) + eps |f| / h."""
    z, h = np.linspace(-20.0, 20.0, 2002), 1e-5
    z = z[z < 3.0] if name == "poisson" else z
    for target in targets(LOSSES[name]):
        if abs(target) > 100.0:
            continue  # |f| is so large that the difference is all rounding
        y = np.full_like(z, target)
        above, below = (_core.loss_at(name, z + s * h, y, isa=isa) for s in (1, -1))
        slope = _core.loss_at(name, z, y, slope=True, isa=isa)
        steps = [LOSSES[name].slope(z + s * h, y, E) for s in (1, 0, -1)]
        clear = np.abs(steps[0] - 2 * steps[1] + steps[2]) < 1e-7
        assert clear.mean() > 0.99
        np.testing.assert_allclose(((above - below) / (2 * h))[clear], slope[clear], atol=2e-7)
        assert np.ptp(slope) > (0.15 if name == "huber" else 0.5) or name == "linear"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slope_at_the_kink_and_at_zero(name):
    """The one-sided value of scikit-learn: hinge has slope -y where y z = 1 exactly."""
    y = np.array([-1.0, 1.0])
    for z in (y, np.zeros(2), -np.zeros(2)):
        core = _core.loss_at(name, z, y, slope=True)
        np.testing.assert_allclose(core, LOSSES[name].slope(z, y, E), rtol=1e-15)


@pytest.mark.parametrize("name", SMOOTH)
def test_smoothness_is_the_least_bound_of_the_second_derivative(name):
    """|slope(z + h) - slope(z)| <= smoothness h everywhere, and attained somewhere."""
    z, h = np.linspace(-10.0, 10.0, 4001), 1e-3
    slopes = [_core.loss_at(name, z + s * h, np.ones_like(z), slope=True) for s in (0.5, -0.5)]
    second, bound = (slopes[0] - slopes[1]) / h, LOSSES[name].smoothness
    assert -1e-10 < second.min() <= second.max() < bound + 1e-10
    assert second.max() >= 0.999 * bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [x for x in ELEMENTWISE if x != "poisson"])
def test_infimum_is_the_greatest_lower_bound(name, dtype):
    """No value is below it, and some come as near as one likes (or fall without end)."""
    z = scores(dtype, name)
    value = _core.loss_at(name, z, np.ones_like(z))
    infimum = LOSSES[name].infimum
    assert value.min() >= infimum
    assert value.min() < (infimum + 1e-30 if np.isfinite(infimum) else -1e17)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_log_loss_never_overflows(dtype, isa):
    """log(1 + exp(-y z)) is at most |z| + log 2 and its slope within [-1, 1], up to the largest."""
    largest = np.finfo(dtype).max
    z = np.array([s * size for size in (89.0, 710.0, 1e4, largest) for s in (-1, 1)], dtype)
    for target in (-1.0, 1.0):
        y = np.full_like(z, target)
        value = _core.loss_at("log_loss", z, y, isa=isa)
        slope = _core.loss_at("log_loss", z, y, slope=True, isa=isa)
        np.testing.assert_allclose(value, np.maximum(0.0, -y * z), rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(slope, np.where(y * z < 0, -y, 0.0), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_loss_at_refuses_other_arrays(name):
    """Two arrays of one shape, float32 or float64."""
    for z, y in ((np.ones(3), np.ones(4)), (np.ones(3, dtype=np.int64), np.ones(3))):
        with pytest.raises(ValueError, match="float32 or float64"):
            _core.loss_at(name, z, y)
    with pytest.raises(ValueError, match="'nonsense'"):
        _core.loss_at(name, np.ones(3), np.ones(3), isa="nonsense")


@pytest.mark.parametrize("loss", ELEMENTWISE)
def test_a_parameter_that_is_not_given_is_0(loss):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=50), np.where(rng.random(50) > 0.5, 1.0, -1.0)
    for function in (LOSSES[loss].value, LOSSES[loss].slope):
        np.testing.assert_array_equal(function(z, y), function(z, y, 0.0))
