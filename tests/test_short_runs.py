"""Models of default rates after one epoch, a few, or a call of partial_fit, on small tables."""

import ctypes
import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastsgd import SGDRegressor
from fastsgd.learning_rate.choose import Request, rates_of
from fastsgd.learning_rate.search import MAX_RATIO, MAX_RATIO_OF_EPOCH, search_rates
from fastsgd.losses import LOSSES, CompiledLoss
from fastsgd.optimizers import AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule
from fastsgd.solver import State, run_epoch
from fastsgd.statistics.curvature import curvature_of, rate_of_row, stable_rate
from fastsgd.statistics.sample import loss_at

TABLES = 120
SHARES = {  # of tables on which the model may be worse than weights of zero, by a tenth or more
    ("adagrad", "fit", 1): 0.08,
    ("adagrad", "fit", 3): 0.03,
    ("adagrad", "partial_fit", 1): 0.15,
    ("sgd", "fit", 1): 0.03,
    ("sgd", "fit", 3): 0.03,
    ("sgd", "partial_fit", 1): 0.15,
}
SEARCHED = {
    "sgd": ("huber", "epsilon_insensitive", "quantile"),
    "adagrad": ("squared_error", "huber", "squared_epsilon_insensitive", "quantile"),
}


def table(seed):
    """4 to 100 rows, 1 to 5 features, all or some of a scale of 1e-8 to 1e4."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.choice([4, 8, 10, 20, 100])), int(rng.integers(1, 6))
    X = rng.normal(size=(n, d)) + rng.choice([0.0, 0.0, 5.0])
    y = X @ rng.normal(size=d) + rng.normal(size=n) + rng.choice([0.0, 3.0])
    X *= 10.0 ** rng.integers(-8, 5, size=d if seed % 2 else 1)
    return X, y, int(rng.choice([1, 2, n]))


def ratio(model, X, y):
    """Mean loss, of weights of zero 1."""
    loss, parameter = LOSSES[model.loss], 0.5 if model.loss == "quantile" else model.epsilon
    value = [loss.value(z, y, parameter).mean() for z in (model.predict(X), np.zeros(len(y)))]
    return value[0] / value[1]


@pytest.mark.parametrize(("optimizer", "method", "epochs"), SHARES)
def test_a_short_run_is_seldom_worse_than_no_model(optimizer, method, epochs):
    """And hardly ever ten times worse, whatever the scales of features that no one has scaled."""
    found = []
    for seed in range(TABLES):
        X, y, batch = table(seed)
        losses = SEARCHED[optimizer]
        how = {"batch_size": batch, "optimizer": optimizer, "max_iter": epochs, "tol": None}
        model = SGDRegressor(losses[seed % len(losses)], penalty=None, random_state=0, **how)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scales
            found.append(ratio(getattr(model, method)(X, y), X, y))
    assert np.sum(np.array(found) > 10.0) <= 1
    assert np.mean(np.array(found) > 1.1) <= SHARES[optimizer, method, epochs]


@pytest.mark.parametrize("outputs", (1, 5))
def test_adagrad_of_features_of_1e_8(outputs):
    """The rate that suits such a feature moves the intercept by 1e7: partial_fit diverged."""
    X, y = np.zeros((8, 3)), np.arange(8 * outputs).reshape(8, outputs) % 3 - 1.0
    X[7, 1] = -4e-8
    model = SGDRegressor(optimizer="adagrad", batch_size=2, penalty="l1", random_state=0)
    model.partial_fit(X, y if outputs > 1 else y.ravel())
    assert np.abs(model.intercept_).max() < 2.0
    assert np.abs(model.predict(X)).max() < 2.0


@pytest.mark.parametrize("loss", ("squared_error", "huber"))
def test_adagrad_makes_up_for_features_of_a_small_scale(loss):
    """The model of a tenth of X, a thousandth, ... is as good as that of X."""
    rng = np.random.default_rng(0)
    X = 0.3 * rng.normal(size=(200, 4))
    y = X @ rng.normal(size=4) + 1.0 + 0.05 * rng.normal(size=200)
    for scale in (1.0, 1e-1, 1e-3, 1e-5, 1e-7):
        model = SGDRegressor(loss, optimizer="adagrad", penalty=None, random_state=0)
        assert model.fit(scale * X, y).score(scale * X, y) > 0.97


def test_the_part_of_the_rate_that_the_intercept_takes():
    """The root of the mean square of rows shorter than 1; of longer ones, or none, all of it."""
    sizes = (2.0, 1.0), (1.5, 1.0), (0.5, 0.5), (1e-3, 1e-3), (1e-12, 1e-9), (0.0, 1.0)
    for size, part in sizes:
        X = np.full((5, 4), size / 2.0)
        settings = Settings(optimizer=AdaGrad())
        curvature = curvature_of(Data(X, np.arange(5.0)), settings)
        assert_allclose(curvature.intercept_part, part)
        assert curvature.features == 5
        rates = rates_of(
            Request("auto", None, 0.0, 1, False),
            *(Data(X, np.arange(5.0)), Lanes(2, 0.0, 1.0), settings),
        )
        assert_allclose(rates.intercept_rate, np.full(2, part))


def test_the_part_of_calls_is_their_mean_by_rows():
    request, lanes = Request("auto", None, 0.0, 1, False, partial=True), Lanes(1, 0.0, 1.0)
    settings, y = Settings(optimizer=AdaGrad()), np.arange(10.0)
    few, more = Data(np.full((10, 1), 0.1), y), Data(np.full((30, 1), 0.5), np.arange(30.0))
    known = rates_of(request, few, lanes, settings)
    assert_allclose(known.intercept_rate, [0.1])
    both = rates_of(request, more, lanes, settings, known)
    assert_allclose(both.intercept_rate, [(10 * 0.1 + 30 * 0.5) / 40])
    same = rates_of(request, few, lanes, settings, known)
    assert_array_equal(same.intercept_rate, known.intercept_rate)


@pytest.mark.parametrize("every_epoch", (False, True))
@pytest.mark.parametrize("weight", (None, 3.0))
def test_rates_whose_epochs_end_far_above_weights_of_zero_are_left_out(every_epoch, weight):
    """Though later epochs make up for it: the loss at the end of each is compared."""
    X, y, _ = table(1)
    X, y = X[:8], y[:8]
    settings = Settings(optimizer=AdaGrad(), schedule=Schedule("constant"))
    data = Data(X, y, None if weight is None else np.full(len(y), weight))
    lanes, eta0 = Lanes(1, 0.0, 1.0), np.ones(1)
    how = {"every_epoch": True} if every_epoch else {}
    found = search_rates(data, lanes, settings, eta0, **how)
    most = (MAX_RATIO_OF_EPOCH if every_epoch else MAX_RATIO) * found.at_start
    of_trial = replace(settings, schedule=Schedule("polynomial", power=2.0, total_epochs=10.0))
    for factor, loss in zip(found.factors, found.loss[0], strict=True):
        lane = Lanes(1, 0.0, factor)
        state, ends = State(data, lane, of_trial), []
        for _ in range(10):
            run_epoch(data, lane, of_trial, state)
            ends.append(loss_at(data, lane, of_trial, *state.last_weights())[0])
        assert np.isinf(loss) == (max(ends) > most[0])
        assert np.isinf(loss) or loss == pytest.approx(ends[-1])
    assert np.isinf(found.loss).any()
    assert np.isfinite(found.loss[0, found.factors == found.chosen[0]]).all()


@pytest.mark.parametrize("weight", (None, 3.0))
def test_losses_are_compared_from_their_infimum_on(weight):
    """Which for a loss of one's own need not be 0: the same rates are good, and are left out."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_double)] * 3, ctypes.c_int64)

    def half_square(z, y, out, n):
        z, y, out = (np.ctypeslib.as_array(each, (n,)) for each in (z, y, out))
        out[:] = 0.5 * (z - y) ** 2 - 200.0

    def slope(z, y, out, n):
        z, y, out = (np.ctypeslib.as_array(each, (n,)) for each in (z, y, out))
        out[:] = z - y

    own = CompiledLoss(kind(half_square), kind(slope), name="own", infimum=-200.0)
    X, y, _ = table(1)
    data = Data(X[:8], y[:8], None if weight is None else np.full(8, weight))
    lanes, eta0, found = Lanes(1, 0.0, 1.0), np.ones(1), []
    for loss in ("squared_error", own):
        settings = Settings(loss, optimizer=AdaGrad(), schedule=Schedule("constant"))
        found.append(search_rates(data, lanes, settings, eta0, every_epoch=True))
    squares, lower = found
    assert np.isinf(squares.loss).any()
    assert lower.chosen == squares.chosen
    assert_allclose(lower.loss, squares.loss - 200.0 * (weight or 1.0), atol=1e-9)


def test_rates_of_targets_of_zero_are_all_good():
    X = table(1)[0]
    settings = Settings(optimizer=AdaGrad(), schedule=Schedule("constant"))
    data, lanes = Data(X, np.zeros(len(X))), Lanes(1, 0.0, 1.0)
    found = search_rates(data, lanes, settings, np.ones(1), every_epoch=True)
    assert_array_equal(found.loss, np.zeros((1, 16)))
    assert found.chosen == 1.0


def test_rates_of_partial_fit_are_those_that_every_epoch_is_good_at():
    """Lower ones, on some tables, than those of a fit."""
    differ = 0
    for seed in range(20):
        X, y, batch = table(seed)
        data, lanes = Data(X, y), Lanes(1, 0.0, 1.0)
        settings = Settings("huber", batch_size=batch, schedule=Schedule("inverse"))
        requests = (
            Request("auto", None, 0.0, batch, False),
            Request("auto", None, 0.0, batch, False, True),
        )
        fit, partial = (rates_of(each, data, lanes, settings) for each in requests)
        assert partial.eta0 <= fit.eta0
        differ += int(partial.eta0[0] < fit.eta0[0])
        model = SGDRegressor("huber", batch_size=batch, penalty=None, random_state=0)
        rates = model.partial_fit(X, y).result_.factor
        assert_array_equal(rates, partial.search.chosen)
    assert differ > 3


@pytest.mark.parametrize("epoch_rows", (1, 1000))
def test_the_rate_of_a_row_is_that_of_its_curvature(epoch_rows):
    """To the bit."""
    for x in ([0.3, -2.0], [0.0, 0.0], [1e-8, 3.0]):
        data = replace(Data(np.array([x]), np.ones(1)), epoch_rows=epoch_rows)
        settings = Settings("squared_error")
        expected = stable_rate(curvature_of(data, settings), settings)[0]
        assert rate_of_row(float(np.square(x).sum()), data, settings) == expected


def test_rates_are_lowered_until_one_is_good_enough():
    """Where all of the first sixteen are too high for every epoch."""
    X, y, _ = table(0)
    data = Data(X / np.abs(X).max(), y)
    settings = Settings(optimizer=AdaGrad(), schedule=Schedule("constant"))
    eta0 = np.full(1, 1e8)
    found = search_rates(data, Lanes(1, 0.0, 1.0), settings, eta0, every_epoch=True)
    assert found.chosen[0] < 2.0**-10
    assert np.isfinite(found.loss[0, found.factors == found.chosen[0]]).all()


@pytest.mark.parametrize(("epochs", "expected"), ((1, 1.0), (3, 3.0), (2.5, 3.0), (50, 10.0)))
def test_a_trial_has_no_more_epochs_than_the_run(epochs, expected, monkeypatch):
    seen = []

    def epochs_of(*args):
        seen.append(args[2].schedule.total_epochs)
        return run_epoch(*args)

    monkeypatch.setattr("fastsgd.learning_rate.search.run_epoch", epochs_of)
    X, y, _ = table(3)
    ending = Schedule("polynomial", power=1.0, total_epochs=float(epochs))
    settings = Settings(loss="huber", loss_parameter=0.1, schedule=ending)
    search_rates(Data(X[:10], y[:10]), Lanes(1, 0.0, 1.0), settings, np.ones(1))
    assert set(seen) == {expected}
