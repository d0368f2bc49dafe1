"""Numbers at the edges of floats, core against twin: the same model, or the same refusal.

Multiplied by powers of two, numbers keep their digits: a model of targets that are 2**k times as
large is 2**k times as large, to the last bit, as long as nothing leaves the range of the dtype.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from problems import DTYPES, ISAS, LAYOUTS, OPTIMIZERS, TOLERANCE, lanes, table, train_core
from problems import train_twin as trained_twin

from fastsgd import DivergenceError, MLPClassifier, SGDClassifier, SGDRegressor
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings

EXPONENTS = {np.float32: (-50, -20, 20, 50), np.float64: (-450, -100, 100, 450)}
EDGES = (5e-324, 1e-310, 1e-300, 1e-160, 1e-45, 1e-38, 1e-20, 1e20, 1e38, 1e160, 1e300)
FEW = {"max_iter": 3, "tol": None, "random_state": 0}
FIXED = {**FEW, "learning_rate": "constant", "eta0": 0.02}


def scaled(data, x=1.0, y=1.0):
    """The same table with X and y multiplied."""
    X = data.X.copy()
    if sp.issparse(X):
        X.data *= X.dtype.type(x)
    else:
        X *= X.dtype.type(x)
    return Data(X, data.y * y)


def outcome(train, *problem):
    """Weights and intercepts, or None of a run that diverges."""
    with np.errstate(all="ignore"):
        try:
            state = train(*problem)
        except DivergenceError:
            return None
        return np.concatenate([part.ravel() for part in state.weights(problem[2])])


def assert_equal_to_twin(data, of, settings, isa=None, exact=None):
    """Both diverge, or their weights differ by rounding. (The core may say so an epoch sooner.)"""
    dtype = data.X.dtype.type
    core = outcome(lambda *problem: train_core(*problem, isa), data, of, settings)
    twin = outcome(trained_twin, data if exact is None else exact, of, settings)
    if core is None or twin is None:
        most = np.finfo(dtype).max ** 0.5
        assert twin is None or (core is None and np.abs(twin).max() > 1e-6 * most)
        return None
    tiny = np.finfo(dtype).tiny  # what is smaller may be 0
    assert np.isfinite(core).all()
    size = max(np.abs(twin).max(), tiny / TOLERANCE[dtype])
    gap = np.linalg.norm((core - twin) / size)
    assert gap < 10.0 * TOLERANCE[dtype], gap
    return core


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_of_targets_are_those_of_weights(dtype, layout, optimizer):
    data = table().data(dtype, layout, sign=False)
    settings = Settings(optimizer=optimizer, batch_size=4, seed=3)
    of = Lanes(3, alpha=0.01, eta0=[0.01, 0.02, 0.05])
    for isa in ISAS:
        plain = outcome(lambda *problem, isa=isa: train_core(*problem, isa), data, of, settings)
        for exponent in EXPONENTS[dtype]:
            problem = scaled(data, y=2.0**exponent), of, settings
            other = outcome(lambda *problem, isa=isa: train_core(*problem, isa), *problem)
            assert_array_equal(other, plain * 2.0**exponent)


@pytest.mark.parametrize("batch_size", (1, 4))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_of_features_are_those_of_rates(dtype, layout, batch_size):
    """Without an intercept: X times c and eta / c^2 give w / c."""
    data = table().data(dtype, layout, sign=False)
    settings = Settings(batch_size=batch_size, fit_intercept=False, seed=3)
    plain = outcome(train_core, data, Lanes(1, alpha=0.0, eta0=0.02), settings)
    for exponent in (exponent // 4 for exponent in EXPONENTS[dtype]):
        c = 2.0**exponent
        other = outcome(
            train_core, scaled(data, x=c), Lanes(1, alpha=0.0, eta0=0.02 / c**2), settings
        )
        assert_array_equal(other[:-1], plain[:-1] / c)


@pytest.mark.parametrize("what", ("alpha", "l1", "eta0", "y", "x", "weight"))
@pytest.mark.parametrize("layout", ("dense", "csr32"))
@pytest.mark.parametrize("loss", ("squared_error", "log_loss", "huber"))
def test_any_size_of_any_number_is_the_twins(loss, layout, what):
    """One of them is very small or very large; the other ones are as usual."""
    ends = []
    for size in EDGES:
        data = table().data(np.float64, layout, sign=loss == "log_loss")
        numbers = {"alpha": 0.01, "l1": 0.0, "eta0": 0.02}
        if what in numbers:
            numbers[what] = size
        elif what == "weight":
            data = Data(data.X, data.y, np.where(np.arange(data.n) % 3 == 0, size, 1.0))
        elif not (what == "y" and loss == "log_loss"):
            data = scaled(data, **{what: size})
        settings = Settings(loss=loss, sign_targets=loss == "log_loss", seed=3)
        if what == "eta0" and size > 1.0 and loss != "squared_error":
            continue  # the slope is that of the sign of scores, which rounding picks
        for momentum in (0.0, 0.9):
            chosen = Settings(**{**vars(settings), "optimizer": SGD(momentum)})
            found = assert_equal_to_twin(data, Lanes(2, **numbers), chosen)
            ends.append(found is None)
    assert not all(ends)
    diverging = {"alpha", "x", "weight", *(("y", "eta0") if loss == "squared_error" else ())}
    assert any(ends) == (what in diverging)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("isa", ISAS)
def test_denormal_features_count_as_little_as_they_are(isa, dtype, layout):
    """Beside usual ones; the core may take them for 0."""
    small = np.finfo(dtype).tiny / 16.0
    data = table().data(dtype, layout, sign=False)
    X = (data.X.toarray() if sp.issparse(data.X) else data.X).copy()
    X[:, ::2] *= small
    assert ((X != 0.0) & (np.abs(X) < np.finfo(dtype).tiny)).any()
    index = data.X.indices.dtype if sp.issparse(data.X) else None
    table_of = X
    if index is not None:
        table_of = sp.csr_array(X)
        table_of.indices, table_of.indptr = (
            a.astype(index) for a in (table_of.indices, table_of.indptr)
        )
    exact = Data(X.astype(np.float64), data.y)
    for k in (1, 3):
        of = lanes(k, "squared_error")
        assert_equal_to_twin(Data(table_of, data.y), of, Settings(seed=3), isa, exact)


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("options", ({}, {"momentum": 0.9}, {"penalty": "l1"}, {"batch_size": 5}))
def test_zeros_of_both_signs_are_zeros(options, make):
    X = table().X.copy()
    y = table().y[:, 0]
    negative = np.where(X == 0.0, -0.0, X)
    assert np.signbit(negative[X == 0.0]).all()
    kept = make(X)
    if make is sp.csr_array:  # its zeros are stored
        n, d = X.shape
        indices, indptr = np.tile(np.arange(d), n), np.arange(n + 1) * d
        kept = sp.csr_array((negative.ravel(), indices, indptr), shape=(n, d))
        assert kept.nnz == n * d
    else:
        kept = negative
    with_signs = SGDRegressor(**FIXED, **options).fit(kept, -0.0 + y)
    plain = SGDRegressor(**FIXED, **options).fit(make(X), y)
    assert_allclose(with_signs.coef_, plain.coef_, rtol=1e-12, atol=1e-15)
    assert_array_equal(with_signs.coef_ == 0.0, plain.coef_ == 0.0)


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("options", ({}, {"momentum": 0.9}, {"optimizer": "adagrad"}))
def test_columns_that_are_equal_have_equal_weights(options, make):
    X = np.repeat(table().X[:, :3], 5, axis=1)
    model = SGDRegressor(**FIXED, **options).fit(make(X), table().y[:, 0])
    weights = model.coef_.reshape(3, 5)
    assert_allclose(weights, weights[:, :1] * np.ones(5), rtol=1e-12)
    assert (weights != 0.0).all()


@pytest.mark.parametrize("value", (0.0, 1.0, -1e-3, 1e3))
@pytest.mark.parametrize("estimator", (SGDRegressor, SGDClassifier))
def test_a_column_that_is_constant(estimator, value):
    """It does not hinder a fit; of zeros its weight is 0, and of standardised features too."""
    X = np.column_stack([table().X[:, :2], np.full(len(table().X), value)])
    y = table().y[:, 0]
    y = y > 0.0 if estimator is SGDClassifier else y
    plain = estimator(**FEW).fit(X, y)
    assert np.isfinite(plain.coef_).all()
    assert value != 0.0 or plain.coef_.ravel()[2] == 0.0
    standardized = estimator(standardize=True, **FEW).fit(X, y)
    assert abs(standardized.coef_.ravel()[2]) < 1e-15
    without = estimator(standardize=True, **FEW).fit(X[:, :2], y)
    assert_allclose(standardized.coef_.ravel()[:2], without.coef_.ravel(), rtol=1e-6)


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
def test_rows_of_zeros_train_the_intercept_alone(make):
    y = table().y[:, 0]
    model = SGDRegressor(**FIXED).fit(make(np.zeros((len(y), 3))), y)
    assert_array_equal(model.coef_, np.zeros(3))
    assert 0.0 < abs(model.intercept_[0]) < np.abs(y).max()


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("momentum", (0.0, 0.9))
def test_rows_of_weight_zero_are_not_there(momentum, make):
    X, y = table().X, table().y[:, 0]
    weight = np.where(np.arange(len(y)) % 4 == 1, 0.0, 1.0)
    options = {**FIXED, "momentum": momentum, "shuffle": False}
    model = SGDRegressor(**options).fit(make(X), y, sample_weight=weight)
    rest = SGDRegressor(**options).fit(make(X[weight > 0]), y[weight > 0])
    assert_allclose(model.coef_, rest.coef_, rtol=1e-12, atol=1e-15)
    assert model.t_ == rest.t_


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("loss", ("squared_error", "huber"))
def test_weights_of_1e30_are_rates(loss, make):
    """Times a rate of 1e-30 and a penalty of 1e30 they are 1."""
    X, y = table().X, table().y[:, 0]
    model = SGDRegressor(loss, **{**FIXED, "eta0": 0.02e-30}, alpha=0.01e30)
    model.fit(make(X), y, sample_weight=np.full(len(y), 1e30))
    plain = SGDRegressor(loss, **FIXED, alpha=0.01).fit(make(X), y)
    assert_allclose(model.coef_, plain.coef_, rtol=1e-10)
    mixed = np.where(np.arange(len(y)) % 2 == 0, 0.0, 1e30)
    few = SGDRegressor(loss, **{**FIXED, "eta0": 0.02e-30}, alpha=0.01e30)
    few.fit(make(X), y, sample_weight=mixed)
    assert np.isfinite(few.coef_).all() and few.coef_.any()


@pytest.mark.parametrize("size", (1e-170, 1.0, 1e160))
def test_weights_of_a_network_whose_squares_are_out_of_range(size):
    """Their norm in the history is right, and NumPy has nothing to warn of."""
    X, y = table().X * size, table().y[:, 1] > 1.0
    options = {"hidden_layer_sizes": (), "solver": "sgd", "learning_rate_init": 0.1}
    model = MLPClassifier(**options, **{**FEW, "max_iter": 1})
    weights = model.fit(X, y).coefs_[0]
    largest = np.abs(weights).max()
    norm = largest * np.linalg.norm(weights / largest)
    assert 0.0 < norm < np.inf
    assert model.history_["weight_norm"][-1] == pytest.approx(norm, rel=1e-12)
    assert (norm > np.finfo(np.float64).max ** 0.5) == (size > 1.0)
