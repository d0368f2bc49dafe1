"""Divergence: what the error says, going on at a lower rate, and the warning beforehand."""

import math
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from problems import ISAS
from sklearn.exceptions import EfficiencyWarning

from fastsgd import (
    DivergenceError,
    FeatureScaleWarning,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    _core,
    solver,
)
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver.training import BLOWN_UP, ceiling_of

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 5))
Y = X @ rng.normal(size=5) + 0.1 * rng.normal(size=120)
WILD = {"learning_rate": "constant", "eta0": 1.0, "random_state": 0}


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("batch_size", (1, 40))
def test_error_names_what_it_takes(make, batch_size):
    """Step, rate, scale, a safe rate that works, and finite weights; also after a pickle."""
    large = 10.0 * X
    model = SGDRegressor(**WILD, batch_size=batch_size)
    with pytest.raises(DivergenceError) as caught:
        model.fit(make(large), Y)
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, ValueError)
    assert error.step > 0
    assert error.learning_rate == 1.0
    assert 5.0 < error.feature_scale <= np.abs(large).max()
    assert np.isfinite(error.coef_).all()
    assert np.isfinite(error.intercept_).all()
    assert error.coef_.shape[-1] == 5
    assert 1e-4 < error.safe_rate < 0.1
    for value in (error.step, error.learning_rate, error.feature_scale, error.safe_rate):
        assert f"{value:.3g}" in str(error)
    assert str(error) == str(caught.value)
    assert not hasattr(model, "coef_")
    assert model.set_params(eta0=error.safe_rate).fit(make(large), Y).score(large, Y) > 0.9


def test_last_finite_weights_are_those_of_the_last_epoch():
    """Of the epochs before: a fit of one epoch less has the same."""
    slow = {"learning_rate": "constant", "eta0": 0.9, "batch_size": 120, "random_state": 0}
    options = {**slow, "tol": None, "alpha": 0.0}
    steep = 3.0 * X
    with pytest.raises(DivergenceError) as caught:
        SGDRegressor(**options, max_iter=10_000).fit(steep, Y)
    assert caught.value.step == caught.value.epoch > 3
    model = SGDRegressor(**options, max_iter=caught.value.epoch - 1).fit(steep, Y)
    assert_array_equal(np.ravel(caught.value.coef_), model.coef_)
    with pytest.raises(DivergenceError):
        model.set_params(max_iter=caught.value.epoch).fit(steep, Y)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("dtype", "score"), ((np.float32, 90.0), (np.float64, 710.0)))
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("batch_size", (1, 2))
def test_a_poisson_run_diverges_where_exp_leaves_the_range(isa, dtype, score, k, batch_size):
    """At a rate of almost 0, and where the sum of two slopes of the largest size is finite."""
    data = Data(np.ones((8, 1), dtype=dtype), np.ones(8))
    of, settings = Lanes(k, alpha=0.0, eta0=1e-300), Settings(loss="poisson", batch_size=batch_size)
    for part, diverges in ((0.9, False), (1.0, True)):
        state = solver.State(data, of, settings)
        state.set_weights(np.full((k, 1), part * score), np.zeros(k))
        run = _core.Run(data, of, settings, state, isa=isa)
        with pytest.raises(DivergenceError) if diverges else nullcontext():
            run.advance(10**9)


@pytest.mark.parametrize(("dtype", "score"), ((np.float32, 90.0), (np.float64, 710.0)))
def test_so_does_a_network(dtype, score):
    slow = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1, "tol": None}
    slow |= {"activation": "tanh", "batch_size": 1, "momentum": 0.0, "alpha": 0.0}
    x, y = X[:2].astype(dtype), np.ones(2)
    model = MLPRegressor("poisson", hidden_layer_sizes=(2,), random_state=0, **slow).fit(x, y)
    for part, diverges in ((0.9, False), (1.0, True)):
        for coef in model.coefs_:
            coef *= 0.1
        model.intercepts_[-1][:] = part * score
        with pytest.raises(DivergenceError) if diverges else nullcontext():
            model.partial_fit(x, y)


def test_error_without_weights():
    error = DivergenceError(7, 0.5, 123.0)
    assert math.isnan(error.safe_rate)
    assert error.coef_ is error.intercept_ is None


# ---------------------------------------------------------------- backoff


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("options", ({}, {"batch_size": 20, "momentum": 0.9}, {"average": True}))
def test_backoff_goes_on(make, options):
    """From a rate far too high to a model that fits; one warning that says so."""
    model = SGDRegressor(**WILD, **options, on_divergence="backoff")
    model.set_params(eta0=100.0, max_iter=100, tol=None)
    with pytest.warns(RuntimeWarning, match=r"SGD diverged \d+ times") as caught:
        model.fit(make(X), Y)
    assert len(caught) == 1
    rates = model.history_["learning_rate"]
    assert rates[-1] <= rates[0]
    halvings = np.log2(100.0 / rates[-1])
    assert halvings == round(halvings) > 5
    assert f"{rates[-1]:.3g}" in str(caught[0].message)
    assert model.score(X, Y) > 0.7
    assert model.n_iter_ == len(model.loss_curve_) == 100
    assert np.isfinite(model.loss_curve_).all()


def test_backoff_of_a_run_that_is_well_changes_nothing():
    plain = SGDRegressor(random_state=0).fit(X, Y)
    careful = SGDRegressor(random_state=0, on_divergence="backoff").fit(X, Y)
    assert_array_equal(plain.coef_, careful.coef_)
    assert plain.loss_curve_ == careful.loss_curve_


def test_backoff_slows_the_lanes_at_fault_alone():
    """A class of large weight diverges at a rate that suits the others: they keep it."""
    weights = {0: 1.0, 1: 1.0, 2: 1e4}
    y = np.digitize(Y, (-1.0, 1.0))
    options = {**WILD, "eta0": 0.02, "class_weight": weights, "max_iter": 30, "tol": None}
    model = SGDClassifier("squared_error", **options, on_divergence="backoff")
    with pytest.warns(RuntimeWarning, match="diverged"):
        model.fit(X, y)
    factors = model._continuation.state.rate_factor
    assert factors[0] == factors[1] == 1.0
    assert factors[2] < 0.01
    alone = SGDClassifier("squared_error", **{**options, "class_weight": None}).fit(X, y)
    assert_array_equal(model.coef_[:2], alone.coef_[:2])


@pytest.mark.parametrize(("part", "is_halved"), ((0.5, False), (0.97, False), (1.03, True)))
def test_backoff_keeps_no_weights_whose_loss_is_above_a_tenth_of_blown_up(part, is_halved):
    """On one row with x = 1 an epoch multiplies the loss by (eta0 - 1)^2."""
    eta0 = 1.0 + math.sqrt(0.1 * part * BLOWN_UP)
    options = {**WILD, "eta0": eta0, "penalty": None, "fit_intercept": False}
    model = SGDRegressor(**options, max_iter=1, tol=None, on_divergence="backoff")
    with pytest.warns(RuntimeWarning, match="diverged") if is_halved else nullcontext():
        model.fit([[1.0]], [1.0])
    assert_array_equal(model._continuation.state.rate_factor, 0.5 if is_halved else 1.0)


def one_row(eta0):
    """Two lanes of squares on a row with x = y = 1, without intercept and penalty."""
    data, lanes = Data(np.ones((1, 1)), np.ones(1)), Lanes(2, alpha=0.0, eta0=eta0)
    return data, lanes, Settings(fit_intercept=False)


@pytest.mark.parametrize(("part", "is_halved"), ((0.5, False), (0.97, False), (1.03, True)))
def test_backoff_slows_lanes_whose_loss_is_above_a_tenth_of_blown_up(part, is_halved):
    """Beside a lane whose loss is above all of it."""
    eta0 = 1.0 + np.sqrt(np.array([10.0, 0.1 * part]) * BLOWN_UP)
    problem = one_row(eta0)
    state, stopping = solver.State(*problem), solver.Stopping(max_epochs=1, tol=None, backoff=True)
    progress = solver.fit(*problem, state, stopping)
    factors = progress.state.rate_factor
    assert factors[0] < 0.5
    assert factors[1] == (0.5 if is_halved else 1.0)


@pytest.mark.parametrize(("parts", "raises"), (((0.9, 0.97), False), ((0.6, 1.03), True)))
def test_each_lane_is_measured_by_its_own_loss(parts, raises):
    """Lanes that have blown up together, though none has by itself, go on."""
    eta0 = 1.0 + np.sqrt(np.sqrt(np.array(parts) * BLOWN_UP))  # the loss of the third epoch
    problem = one_row(eta0)
    state, stopping = solver.State(*problem), solver.Stopping(max_epochs=3, tol=None)
    with pytest.raises(DivergenceError) if raises else nullcontext():
        solver.fit(*problem, state, stopping)


def test_backoff_gives_up():
    """From a rate that 60 halvings do not mend, on targets that no rate suits, on bad input."""
    model = SGDRegressor(**WILD, on_divergence="backoff", max_iter=3)
    model.set_params(eta0=1e200, alpha=0.0)
    with pytest.raises(DivergenceError):
        model.fit(X, Y)
    with pytest.raises(ValueError, match=r"y has values whose losses .* the largest size in y is"):
        model.fit(X, 1e300 * Y)
    bad = X.copy()
    bad[50, 2] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        SGDRegressor(**WILD, on_divergence="backoff").fit(bad, Y)


def test_losses_that_are_zero_are_no_yardstick():
    assert ceiling_of(np.array([0.0, 2.0, -1.0])) == BLOWN_UP
    assert ceiling_of(np.array([1.0, 2.0])) == BLOWN_UP
    assert ceiling_of(np.array([0.0])) == ceiling_of(np.zeros(2)) == np.inf


def test_losses_below_zero_are_no_divergence():
    """Poisson's and the one-class objective may be negative from the start."""
    counts = np.random.default_rng(0).poisson(np.exp(2.0 + 0.1 * X[:, 0]))
    model = SGDRegressor("poisson", random_state=0).fit(X, counts)
    assert model.loss_curve_[-1] < 0.0
    assert model.score(X, counts) > 0.1
    perceptron = SGDClassifier("perceptron", random_state=0, max_iter=20, tol=None)
    perceptron.fit(X[:1].repeat(2, 0), [0, 1])
    assert np.isfinite(perceptron.coef_).all()


# ---------------------------------------------------------------- scales


SCALES = np.array([1.0, 1e6, 0.0, 1e-3, 10.0])


def test_feature_scales_are_named():
    """Numbers, or names where there are any; columns of zeros do not count; sparse ones do."""
    import pandas as pd

    table = X * SCALES
    frame = pd.DataFrame(table, columns=["a", "income", "zero", "rate", "e"])
    for given, largest, smallest in (
        (table, "1 (", "3 ("),
        (sp.csr_array(table), "1 (", "3 ("),
        (frame, "'income' (", "'rate' ("),
    ):
        model = SGDRegressor(random_state=0, max_iter=3, tol=None)
        with pytest.warns(FeatureScaleWarning, match="factor of") as caught:
            model.fit(given, Y)
        message = str(caught[0].message)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert f"largest columns are {largest}" in message
        assert f"smallest {smallest}" in message
        assert "zero" not in message
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.partial_fit(given, Y)


def test_scales_within_a_factor_of_10000_are_fine():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SGDRegressor(random_state=0, max_iter=3, tol=None).fit(X * [1, 1, 0, 1, 5e3], Y)


@pytest.mark.parametrize(
    ("parameters", "warns"),
    [
        ({"penalty": "elasticnet"}, False),
        ({"penalty": "l1", "momentum": 0.9}, False),
        ({"penalty": "elasticnet", "momentum": 0.9}, False),
        ({"penalty": "l2", "optimizer": "adagrad", "average": True}, True),
        ({"penalty": "l1", "average": True}, False),
        ({"penalty": "l1"}, False),
        ({"penalty": "l2", "momentum": 0.9}, False),
        (
            {"penalty": "l2", "optimizer": "adagrad", "average": True, "batch_size": 100},
            False,
        ),
    ],
)
def test_a_penalty_that_is_dear_on_csr_is_warned_about(parameters, warns):
    """Where an update goes over far more features than its rows have values, and there alone."""
    rng = np.random.default_rng(0)
    X = sp.random_array((100, 300), density=0.02, format="csr", rng=rng)
    y = rng.normal(size=100)
    model = SGDRegressor(**parameters, max_iter=1, tol=None, random_state=0)
    expected = pytest.warns(EfficiencyWarning, match="all 300 features") if warns else nullcontext()
    with expected:
        model.fit(X, y)
    model.fit(X.toarray(), y)  # dense data have no such cost


def test_columns_that_are_rarely_there_are_not_small():
    """Scales are those of the values that are there: a text has rare words, not small ones."""
    X = np.zeros((4000, 3))
    X[:, 0] = 1e3 * np.random.default_rng(0).normal(size=4000)
    X[7, 1] = X[0, 2] = 1.0
    SGDRegressor(max_iter=1, tol=None, random_state=0).fit(sp.csr_array(X), X[:, 0])
