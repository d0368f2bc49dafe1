"""Settings and what they are made of: ends of their ranges, numbers of NumPy, no later change."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import SGDRegressor as SklearnSGD

from fastsgd import SGDRegressor
from fastsgd.descent import Descent, VectorDescent
from fastsgd.optimizers import SGD, AdaGrad, Adam
from fastsgd.problem import LANE_NUMBERS, Data, Lanes, Settings
from fastsgd.schedules import Schedule
from fastsgd.solver.stopping import Stopping
from fastsgd.statistics.curvature import curvature_of
from fastsgd.statistics.gradients import NoiseEstimate

RANGES = {
    "batch_size": ((1, 2**40), (0, -1)),
    "average": ((0, 2**62 - 1), (-1, 2**62)),
    "clip_norm": ((1e-9, np.inf), (0.0, -1.0)),
    "n_jobs": ((1, 2**31 - 1), (0, 2**31)),
    "seed": ((0, 2**64 - 1), (-1, 2**64)),
}
"""Ends of what the settings of a descent may be, and what is beyond."""
OF_VECTORS = {
    **RANGES,
    "eta0": ((1e-300, 1e300), (0.0, np.inf)),
    "mu": ((0.0, 1e300), (-1e-9, np.inf)),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((Settings, name) for name in RANGES), *((VectorDescent, name) for name in OF_VECTORS)],
)
def test_settings_are_in_their_ranges(kind, name):
    inside, outside = OF_VECTORS[name]
    given = {"loss": "squared_error"} if kind is Settings else {}
    for value in inside:
        assert getattr(kind(**given, **{name: value}), name) == value
    for value in outside:
        with pytest.raises(ValueError, match=f"{name} must be"):
            kind(**given, **{name: value})


NOT_NEGATIVE = ((0.0, 5e-324, 1e308), (-5e-324, np.inf, np.nan))
OF_LANES = {
    **dict.fromkeys(("alpha", "l1", "mu", "intercept_rate"), NOT_NEGATIVE),
    **dict.fromkeys(("weight_positive", "weight_negative"), NOT_NEGATIVE),
    **dict.fromkeys(("label", "intercept_gradient"), ((-1e308, 0.0, 1e308), (np.inf, np.nan))),
    "eta0": ((5e-324, 1e308), (0.0, -1.0, np.inf, np.nan)),
}


@pytest.mark.parametrize("name", LANE_NUMBERS)
def test_numbers_of_lanes_are_in_their_ranges(name):
    inside, outside = OF_LANES[name]
    given = {"alpha": 0.0, "eta0": 0.1}
    for value in inside:
        assert (getattr(Lanes(2, **{**given, name: value}), name) == value).all()
    for value in outside:
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            Lanes(2, **{**given, name: [0.1, value]})


def test_numbers_of_lanes_that_are_not_given_change_nothing():
    """No penalty, no decay, whole steps, weights as they are, the first column, no split."""
    of = Lanes(2, alpha=0.0, eta0=0.1)
    for name in ("l1", "mu", "intercept_gradient", "target", "split"):
        assert not getattr(of, name).any()
    for name in ("label", "weight_positive", "weight_negative", "intercept_rate"):
        assert (getattr(of, name) == 1.0).all()


OPTIMIZERS = {
    (SGD, "momentum"): ((0.0, 0.999), (-1e-9, 1.0)),
    (AdaGrad, "initial_accumulator"): ((0.0, 1e300), (-1e-9, np.inf)),
    (Adam, "beta_1"): ((0.0, 0.999), (-1e-9, 1.0)),
    (Adam, "beta_2"): ((0.0, 0.999), (-1e-9, 1.0)),
    (Adam, "epsilon"): ((1e-300, 1e300), (0.0, np.inf)),
}


@pytest.mark.parametrize(("kind", "name"), OPTIMIZERS)
def test_constants_of_an_optimizer_are_in_their_ranges(kind, name):
    inside, outside = OPTIMIZERS[kind, name]
    for value in inside:
        assert getattr(kind(**{name: value}), name) == value
    for value in outside:
        with pytest.raises(ValueError, match=f"{name} must be"):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (SGD, {"momentum": 0.5}),
        (AdaGrad, {"initial_accumulator": 0.5}),
        (Adam, {"beta_1": 0.5, "epsilon": 0.25}),
        (Schedule, {"power_t": 0.5, "decay": 0.25}),
    ],
)
def test_numbers_of_numpy_are_as_good(kind, numbers):
    """And are not seen: text, hash and equality are those of Python's."""
    plain = kind(**numbers)
    for dtype in (np.float32, np.float64):
        other = kind(**{name: dtype(value) for name, value in numbers.items()})
        assert (repr(other), hash(other), other) == (repr(plain), hash(plain), plain)


def test_what_was_checked_or_found_does_not_change():
    """A setting is checked when it is given: it cannot be set afterwards. Nor can a result."""
    made = [Settings("squared_error"), VectorDescent(), SGD(), AdaGrad(), Adam(), Schedule()]
    X = np.arange(12.0).reshape(6, 2)
    model = SGDRegressor(eta0=0.001, max_iter=2, tol=None, random_state=0).fit(X, X[:, 0])
    found = [model.result_, curvature_of(Data(X, X[:, 0]), Settings()), NoiseEstimate(1.0, 2.0)]
    made += [Data(X, X[:, 0]), Stopping()]
    for one in [*made, Lanes(2, alpha=0.0, eta0=0.1), *found]:
        for field in dataclasses.fields(one):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(one, field.name, getattr(one, field.name))


@pytest.mark.parametrize("kind", (Descent, VectorDescent))
def test_a_step_is_of_one_row_unless_more_are_asked_for(kind):
    assert (kind().batch_size, kind().n_jobs) == (1, 1)


@pytest.mark.parametrize("kind", (Descent, VectorDescent))
def test_settings_of_a_descent_have_names(kind):
    with pytest.raises(TypeError, match="positional"):
        kind(SGD())


def test_numbers_of_a_weight():
    """Itself, its momentum, its average, and what an L1 penalty or AdaGrad adds."""
    for average in (0, 1):
        for l1 in (0.0, 0.1):
            lanes = Lanes(2, alpha=0.0, eta0=1.0, l1=[0.0, l1])
            for optimizer, width in ((SGD(), 1), (SGD(momentum=0.9), 2)):
                settings = Settings(optimizer=optimizer, average=average)
                assert settings.width == width + average
                assert settings.vectors(lanes) == settings.width + (l1 > 0.0)
            settings = Settings(optimizer=AdaGrad(), average=average)
            assert (settings.width, settings.vectors(lanes)) == (1 + average, 2 + average)


def test_what_does_not_go_together_is_refused():
    """Windows without an order, a coupled loss without its lanes, splits of one lane."""
    X, y = np.ones((4, 2)), np.arange(4.0)
    window = Data(X, y, epoch_rows=8)
    one, lanes = Lanes(1, alpha=0.0, eta0=1.0), Lanes(2, alpha=0.0, eta0=1.0, label=[0.0, 1.0])
    with pytest.raises(ValueError, match="sampling must be 'sequential'"):
        Settings(sampling="reshuffle").check(window, one)
    Settings(sampling="sequential").check(window, one)
    Settings(sampling="reshuffle").check(dataclasses.replace(window, order=np.arange(4)), one)
    coupled = Settings("softmax", sign_targets=True)
    for bad in (one, dataclasses.replace(lanes, label=np.ones(2))):
        with pytest.raises(ValueError, match="a lane for each class"):
            coupled.check(Data(X, y), bad)
    coupled.check(Data(X, y), lanes)
    split = Data(X, y, held_out=np.arange(4, dtype=np.uint64))
    for settings, some in ((coupled, lanes), (Settings(), one)):
        with pytest.raises(ValueError, match="two lanes or more"):
            settings.check(split, some)
    Settings().check(split, lanes)


def test_lanes_at_a_rate_of_one_leave_those_that_they_are_made_of():
    lanes = Lanes(2, alpha=0.1, eta0=[0.5, 0.25], mu=3.0, intercept_rate=0.5)
    other = lanes.unrated()
    for name, value in {"eta0": 1.0, "mu": 0.0, "intercept_rate": 1.0}.items():
        np.testing.assert_array_equal(getattr(other, name), value)
        assert not np.shares_memory(getattr(other, name), getattr(lanes, name))
    assert other.alpha is lanes.alpha
    np.testing.assert_array_equal(lanes.eta0, [0.5, 0.25])


def test_orders_are_rows_of_the_table():
    X, y = np.ones((3, 2)), np.arange(3.0)
    for order in (np.arange(3), np.array([2, 0, 1])):
        Data(X, y, order=order)
    for order in (np.array([0, 1, 3]), np.array([-1, 0, 1]), np.arange(2), np.arange(3.0)):
        with pytest.raises(ValueError, match="order must be"):
            Data(X, y, order=order)


def test_data_keep_their_shape_whatever_becomes_of_an_array():
    """Dense and CSR arrays are views of the user's, in objects of their own."""
    X = np.ones((3, 4))
    data = Data(X, np.ones(3))
    assert data.X is not X
    assert np.shares_memory(data.X, X)
    X = sp.csr_array(X)
    data = Data(X, np.ones(3))
    for name in ("data", "indices", "indptr"):
        assert getattr(data.X, name) is not getattr(X, name)
        assert np.shares_memory(getattr(data.X, name), getattr(X, name))


def test_stopping_is_scikit_learns():
    """What stops a fit if nothing else is asked for."""
    sklearns, ours = SklearnSGD().get_params(), Stopping()
    assert (ours.max_epochs, ours.tol, ours.patience) == (
        sklearns["max_iter"],
        sklearns["tol"],
        sklearns["n_iter_no_change"],
    )
    assert not (ours.adaptive or ours.backoff or ours.validate)
    assert ours.plateau_factor == 1.0
