"""Models of default rates after one epoch, a few, or a call of partial_fit, on small tables."""

import ctypes
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

import fastsgd
from fastsgd import SGDClassifier, SGDRegressor
from fastsgd.learning_rate.choose import Request, rates_of
from fastsgd.learning_rate.search import MAX_RATIO, MAX_RATIO_OF_EPOCH, search_rates
from fastsgd.losses import LOSSES, CompiledLoss
from fastsgd.model_files.records import RECORDS
from fastsgd.optimizers import AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import Schedule
from fastsgd.solver import State, run_epoch
from fastsgd.statistics.curvature import curvature_of, rate_of_row, row_size, stable_rate
from fastsgd.statistics.sample import least_loss, loss_at

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
    """The size of rows shorter than 1; of longer ones, or none, all of it. An eta0 that is given is
    that of the intercept too."""
    sizes = (2.0, 1.0), (1.5, 1.0), (0.5, 0.5), (1e-3, 1e-3), (1e-12, 1e-9), (0.0, 1.0)
    for size, part in sizes:
        X = np.full((5, 4), size / 2.0)
        settings = Settings(optimizer=AdaGrad())
        data = Data(X, np.arange(5.0))
        assert_allclose(row_size(data), part)
        assert curvature_of(data, settings).features == 5
        given = rates_of(Request("auto", 0.1, 0.0, 1, False), data, Lanes(2, 0.0, 1.0), settings)
        assert_array_equal(given.intercept_rate, np.ones(2))
        rates = rates_of(
            Request("auto", None, 0.0, 1, False),
            *(data, Lanes(2, 0.0, 1.0), settings),
        )
        assert_allclose(rates.intercept_rate, np.full(2, part))


def test_the_intercept_takes_all_of_a_rate_that_is_infinite():
    """As of a loss whose smoothness is a denormal number."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_double)] * 3, ctypes.c_int64)
    parts = kind(lambda z, y, out, n: None), kind(lambda z, y, out, n: None)
    own = CompiledLoss(*parts, name="own", smoothness=5e-324, infimum=-np.inf, targets="real")
    settings, data = Settings(own, optimizer=AdaGrad()), Data(np.full((5, 2), 0.1), np.ones(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        rates = rates_of(Request("auto", None, 0.0, 1, False), data, Lanes(2, 0.0, 1.0), settings)
    assert_array_equal(rates.intercept_rate, np.ones(2))


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
    left_out = False  # as all higher rates are
    for factor, loss in zip(found.factors, found.loss[0], strict=True):
        lane = Lanes(1, 0.0, factor)
        state, ends = State(data, lane, of_trial), []
        for _ in range(10):
            run_epoch(data, lane, of_trial, state)
            ends.append(loss_at(data, lane, of_trial, *state.last_weights())[0])
        left_out = left_out or max(ends) > most[0]
        assert loss == (np.inf if left_out else pytest.approx(ends[-1]))
    assert np.isinf(found.loss).any()
    assert np.isfinite(found.loss[0, found.factors == found.chosen[0]]).all()


@pytest.mark.parametrize("weight", (None, 3.0))
def test_losses_are_compared_from_their_infimum_on(weight):
    """Which for a loss of one's own need not be 0: the same rates are good, and are left out."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_double)] * 3, ctypes.c_int64)

    def half_square(z, y, out, n):
        z, y, out = (np.ctypeslib.as_array(each, (n,)) for each in (z, y, out))
        out[:] = 0.5 * (z - y) ** 2 - 2e6

    def slope(z, y, out, n):
        z, y, out = (np.ctypeslib.as_array(each, (n,)) for each in (z, y, out))
        out[:] = z - y

    own = CompiledLoss(kind(half_square), kind(slope), name="own", infimum=-2e6)
    X, y, _ = table(1)
    data = Data(X[:8], 100.0 * y[:8], None if weight is None else np.full(8, weight))
    lanes, eta0, found = Lanes(1, 0.0, 1.0), np.full(1, 1e-3), []
    for loss in ("squared_error", own):
        settings = Settings(loss, optimizer=AdaGrad(), schedule=Schedule("constant"))
        found.append(search_rates(data, lanes, settings, eta0, every_epoch=True))
    squares, lower = found
    assert np.isinf(squares.loss).any()
    assert lower.chosen == squares.chosen > 1.0
    assert_allclose(lower.loss, squares.loss - 2e6 * (weight or 1.0), atol=1e-7)


@pytest.mark.parametrize("infimum", (0.0, 1.0, -2.0))
def test_the_least_loss_is_the_infimum_on_every_row(infimum):
    """Times the weights of rows and classes, by the number of rows that weigh anything."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_double)] * 3, ctypes.c_int64)
    parts = kind(lambda z, y, out, n: None), kind(lambda z, y, out, n: None)
    own = CompiledLoss(*parts, name="own", infimum=infimum, targets="sign")
    settings = Settings(own, sign_targets=True)
    y, s = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 2.0, 0.0, 5.0])
    for negative, mean in ((0.5, (0.5 + 6.0 + 2.5) / 3.0), (0.0, 6.0)):
        lanes = Lanes(1, 0.0, 1.0, label=1.0, weight_positive=3.0, weight_negative=negative)
        assert_allclose(least_loss(Data(np.zeros((4, 1)), y, s), lanes, settings), infimum * mean)


@pytest.mark.parametrize("size", (1e152, 3e153))
def test_rates_of_targets_whose_losses_nearly_overflow(size):
    """Without a warning of NumPy's."""
    X, y, _ = table(4)
    data, lanes = Data(X[:10], size * y[:10] / np.abs(y[:10]).max()), Lanes(1, 0.0, 1.0)
    settings = Settings(optimizer=AdaGrad(), schedule=Schedule("constant"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = search_rates(data, lanes, settings, np.full(1, size / 10.0))
    assert not np.isnan(found.loss).any()


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
            Request("auto", None, 0.0, batch, False, partial=True),
        )
        fit, partial = (rates_of(each, data, lanes, settings) for each in requests)
        assert partial.search.chosen <= fit.search.chosen
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


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
def test_the_size_of_rows_is_that_of_the_longer_ones(make):
    """Rows of 0 do not count."""
    X = np.zeros((1000, 3))
    X[::100] = 0.1
    assert_allclose(row_size(Data(make(X), np.ones(1000))), np.sqrt(0.03))
    X[::100] = 1.0
    assert row_size(Data(make(X), np.ones(1000))) == 1.0
    X[0], X[1:50], X[50:] = 0.58, 0.3, 1e-3  # the first one is longer than 1
    assert row_size(Data(make(X[:1]), np.ones(1))) == 1.0
    lengths = np.square(X).sum(axis=1)
    expected = np.sqrt(np.square(lengths).sum() / lengths.sum())
    assert_allclose(row_size(Data(make(X), np.ones(1000))), expected)


@pytest.mark.parametrize("batch_size", (1, 100))
def test_adagrad_of_few_rows_among_empty_ones(batch_size):
    """These are not short."""
    rng = np.random.default_rng(0)
    X = np.zeros((2000, 5))
    X[::100] = rng.normal(size=(20, 5))
    y = (X @ rng.normal(size=5) + 0.1 * rng.normal(size=2000) > 0.0).astype(int)
    how = {"optimizer": "adagrad", "batch_size": batch_size, "random_state": 0}
    model = SGDClassifier("log_loss", max_iter=1, tol=None, **how).fit(X, y)
    assert_array_equal(model.result_.eta0 < 4.0, True)
    assert_array_equal(model.result_.intercept_rate, 1.0)
    assert "short" not in str(model.result_)


@pytest.mark.parametrize("scale", (1e-1, 1e-3, 1e-5))
def test_adagrad_of_classes_whose_rows_are_short(scale):
    """Where no search makes up for it: the model of a small scale is that of a scale of 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)) / 2.0
    y = (X @ rng.normal(size=4) + 0.5 + 0.3 * rng.normal(size=500) > 0.0).astype(int)
    how = {"optimizer": "adagrad", "penalty": None, "max_iter": 2, "tol": None, "random_state": 0}
    losses = []
    for unit in (1.0, scale):
        model = SGDClassifier("log_loss", **how).fit(unit * X, y)
        losses.append(log_loss(y, model.predict_proba(unit * X)))
    assert losses[1] < 1.05 * losses[0]
    times = 1.0 / model.result_.intercept_rate[0]
    assert f"for the intercept, and {times:.3g} times that, since rows are short" in str(
        model.result_
    )


def test_rates_of_one_call_after_another_are_saved(tmp_path):
    """Also where eta0 is given, and the intercept's part of it is 1."""
    X, y, _ = table(4)
    schedule = Schedule("inverse")
    for options in ({"eta0": 0.1, "learning_rate": schedule}, {"learning_rate": "auto"}):
        model = SGDRegressor("huber", optimizer="adagrad", random_state=0, **options)
        for part in (slice(0, 8), slice(2, 10)):
            model.partial_fit(X[part], y[part])
        path = tmp_path / "model.safetensors"
        model.save(path)
        loaded = fastsgd.load(path)
        for one in (model, loaded):
            one.partial_fit(X[:5], y[:5])
        assert_array_equal(model.coef_, loaded.coef_)
        assert_array_equal(model.result_.intercept_rate, loaded.result_.intercept_rate)


def test_a_result_of_an_older_file_has_no_rate_of_the_intercept():
    X, y, _ = table(4)
    record = RECORDS["Result"]
    values = dict(record.take(SGDRegressor("huber", random_state=0).partial_fit(X, y).result_))
    del values["intercept_rate"]
    assert record.make(values).intercept_rate == 1.0
    del values["eta0"]
    with pytest.raises(ValueError, match="has the fields"):
        record.make(values)


@pytest.mark.parametrize("constant", (0.1, -0.3, -200.0))
def test_an_exact_fit_is_at_the_losses_infimum(constant):
    """Rounding may take the mean loss below it, and no rate is lowered for that."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_double)] * 3, ctypes.c_int64)

    def insensitive(z, y, out, n):
        z, y, out = (np.ctypeslib.as_array(each, (n,)) for each in (z, y, out))
        out[:] = np.maximum(np.abs(z - y) - 0.1, 0.0) + constant

    def slope(z, y, out, n):
        z, y, out = (np.ctypeslib.as_array(each, (n,)) for each in (z, y, out))
        out[:] = np.sign(z - y) * (np.abs(z - y) > 0.1)

    parts = kind(insensitive), kind(slope)
    own = CompiledLoss(*parts, name="own", infimum=constant, targets="real")
    X = np.random.default_rng(0).normal(size=(50, 3))
    y = X @ [1.0, -2.0, 0.5]
    model = SGDRegressor(own, optimizer="adagrad", penalty=None, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.95
    assert 2.0**-4 <= model.result_.factor[0] <= 2.0**11


def test_a_few_rows_at_a_time_have_the_rates_of_whole_calls():
    """By the short way from call to call, and by the whole one."""
    for seed in range(12):
        X, y, _ = table(seed)
        found = []
        for short in (True, False):
            model = SGDRegressor("huber", penalty=None, random_state=0)
            for i in range(0, min(len(y), 20), 2):
                if not short:  # what a call keeps for the next one is left behind
                    model = pickle.loads(pickle.dumps(model))
                model.partial_fit(X[i : i + 2], y[i : i + 2])
            found.append((model.result_.eta0, model.coef_))
        assert_array_equal(found[0][0], found[1][0])
        assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize(
    ("n", "batch_size", "run_epochs", "expected"),
    [
        *((10, 1, 1, 1.0), (10, 1, 3, 3.0), (10, 1, 2.5, 3.0), (10, 1, 50, 10.0)),
        *((100, 1, np.inf, 3.0), (100, 100, 4, 4.0), (100, 100, np.inf, 10.0)),
        *((2000, 128, 1, 8.0), (2000, 256, 1, 8.0), (2000, 256, np.inf, 10.0), (2000, 1, 1, 1.0)),
    ],
)
def test_a_trial_has_no_more_updates_than_the_run(n, batch_size, run_epochs, expected, monkeypatch):
    """Nor than 256, in ten epochs at most."""
    seen = []

    def epochs_of(*args):
        seen.append(args[2].schedule.total_epochs)
        return run_epoch(*args)

    monkeypatch.setattr("fastsgd.learning_rate.search.run_epoch", epochs_of)
    rng = np.random.default_rng(0)
    data = Data(rng.normal(size=(n, 3)), rng.normal(size=n))
    settings = Settings(loss="huber", loss_parameter=0.1, batch_size=batch_size)
    search_rates(data, Lanes(1, 0.0, 1.0), settings, np.ones(1), run_epochs=run_epochs)
    assert set(seen) == {expected}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_iter": 2}, np.inf),
        ({"max_iter": 2, "tol": None}, 2.0),
        ({"max_iter": 2, "tol": None, "average": True}, 2.0),
        ({"max_iter": 2, "total_epochs": 5.0}, 5.0),
        ({"max_iter": 9, "learning_rate": Schedule("cosine", total_epochs=3.0)}, 3.0),
        ({}, np.inf),
    ],
)
def test_the_epochs_of_a_run_are_those_it_may_have(options, expected, monkeypatch):
    seen = []

    def search(*args, run_epochs, every_epoch):
        seen.append((run_epochs, every_epoch))
        return search_rates(*args, run_epochs=run_epochs, every_epoch=every_epoch)

    monkeypatch.setattr("fastsgd.learning_rate.choose.search_rates", search)
    X, y, _ = table(4)
    model = SGDRegressor("huber", random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
        clone(model).partial_fit(X, y)
    assert seen[0] == (expected, False)
    if "total_epochs" in options:  # of which a partial_fit is a part
        assert seen[1] == seen[0]
    else:
        assert seen[1] == (3.0 if "learning_rate" in options else np.inf, True)
