"""Numbers near the ends of what floats can hold: a right model or an error that says why not."""

import numpy as np
import pytest
import scipy.sparse as sp
from extremes import case, run, run_search, strict
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor
from fastsgd.insight import gradient_noise
from fastsgd.losses import _PROTOTYPE, LOSSES, CompiledLoss
from fastsgd.problem import STORED, Data, Lanes, Settings
from fastsgd.schedules import Schedule
from fastsgd.statistics.weights import mean_weight, power_of_two, typical_weight

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=60)
LABELS = (Y > 0).astype(int)
FEW = {"max_iter": 5, "tol": None, "random_state": 0}
SEEDS, SEARCHES, PART = 400, 100, 50


@_PROTOTYPE
def zeros(z, y, out, n):
    """A loss without slope."""
    for i in range(n):
        out[i] = 0.0


@pytest.fixture(autouse=True)
def no_warnings_of_numpy():
    with strict():
        yield


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_random_extremes(first):
    """Some thousand more: ``run`` of ``extremes`` with other seeds."""
    for seed in range(first, first + PART):
        try:
            run(seed)
        except Exception as error:
            error.add_note(f"seed {seed}: {case(seed)}")
            raise


@pytest.mark.parametrize("first", range(0, SEARCHES, PART))
def test_random_extremes_in_searches(first):
    for seed in range(first, first + PART):
        try:
            run_search(seed)
        except Exception as error:
            error.add_note(f"seed {seed}: {case(seed)}")
            raise


def test_extremes_vary():
    cases = [case(seed) for seed in range(SEEDS)]
    assert {type(one.model) for one in cases} == {SGDClassifier, SGDRegressor, SGDOneClassSVM}
    assert {one.X.dtype for one in cases} == set(STORED)
    assert 20 < sum(sp.issparse(one.X) for one in cases) < SEEDS / 2
    assert {one.model.loss for one in cases} == set(LOSSES) - {"softmax"}
    ends = [run(seed) for seed in range(PART)]
    assert 10 < ends.count("model") < 40


# ---------------------------------------------------------------- errors name the truth


@pytest.mark.parametrize("dtype", (np.float64, np.float32))
@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("name", ("coef_init", "intercept_init"))
def test_weights_to_start_from_that_are_too_large(name, make, dtype):
    size = 1.79e308 if dtype == np.float64 else 1e39
    given = {name: [size] * (3 if name == "coef_init" else 1)}
    model = SGDRegressor(**FEW)
    with pytest.raises(ValueError, match=name) as caught:
        model.fit(make(X.astype(dtype)), Y.astype(dtype), **given)
    assert not isinstance(caught.value, DivergenceError)
    assert not hasattr(model, "coef_")
    classifier = SGDClassifier("log_loss", **FEW)
    if dtype == np.float32:
        with pytest.raises(ValueError, match=name):
            classifier.fit(make(X.astype(dtype)), LABELS, **given)


def test_weights_to_start_from_that_standardising_makes_too_large():
    with pytest.raises(ValueError, match="coef_init"):
        SGDRegressor(standardize=True, **FEW).fit(1e10 * X, Y, coef_init=[1e300] * 3)


def test_attributes_that_are_too_large():
    model = SGDRegressor(warm_start=True, **FEW).fit(X.astype(np.float32), Y)
    model.coef_ = model.coef_.astype(np.float64) + 1e300
    with pytest.raises(ValueError, match="coef_ must be within the range of float32"):
        model.partial_fit(X.astype(np.float32), Y)


@pytest.mark.parametrize("on_divergence", ("raise", "backoff"))
def test_targets_that_are_too_large(on_divergence):
    model = SGDRegressor(on_divergence=on_divergence, **FEW)
    with pytest.raises(ValueError, match="y has values beyond the range of float32"):
        model.fit(X.astype(np.float32), 1e39 * Y)
    with pytest.raises(ValueError, match="y has values whose losses"):
        model.fit(X.astype(np.float32), 1e20 * Y)
    with pytest.raises(ValueError, match="y has values whose losses"):
        model.fit(X, 1e155 * Y)
    with pytest.raises(ValueError, match="y_val has values beyond the range of float32"):
        model.fit(X.astype(np.float32), Y, X_val=X, y_val=1e39 * Y)


@pytest.mark.parametrize("on_divergence", ("raise", "backoff"))
def test_features_that_are_too_large(on_divergence):
    model = SGDRegressor(on_divergence=on_divergence, **FEW)
    large = (1e30 * X).astype(np.float32)
    with pytest.raises(ValueError, match="X has rows whose"):
        model.fit(large, Y)
    model.set_params(learning_rate="constant", eta0=0.01)
    with pytest.raises(ValueError, match=r"X has values whose squares .* largest size is"):
        model.fit(large, Y)
    model = SGDRegressor(on_divergence=on_divergence, **FEW)
    with pytest.raises(ValueError, match="X has rows whose"):
        model.fit(1e160 * X, Y)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"alpha": 1e39}, "alpha"),
        ({"alpha": 1e39, "penalty": "l1"}, "alpha"),
        ({"eta0": 1e39, "learning_rate": "constant"}, "eta0"),
        ({"clip_norm": 1e-30}, "clip_norm"),
    ],
)
def test_parameters_beyond_float32(parameters, name):
    """Infinity or 0 in float32: of the one the weights became NaN, by the other was divided."""
    model = SGDRegressor(**FEW, **parameters)
    with pytest.raises(ValueError, match=f"{name} must be"):
        model.fit(X.astype(np.float32), Y)
    if name != "eta0":
        assert np.isfinite(model.fit(X, Y).coef_).all()


TINY = {"step_epochs": "step", "total_epochs": "cosine", "rise": "one_cycle", "power": "polynomial"}
"""Schedules that divide by a constant, or ask whether it is 0."""


@pytest.mark.parametrize("name", TINY)
def test_constants_that_kernels_take_for_zero(name):
    least, tiny = (
        SGDRegressor(learning_rate=Schedule(TINY[name], **{name: value}), eta0=0.01, **FEW)
        for value in (1e-300, 5e-324)
    )
    assert_array_equal(least.fit(X, Y).coef_, tiny.fit(X, Y).coef_)


def test_weights_of_any_size():
    """Multiplied by a number, and the penalty too: the same model."""
    model = SGDRegressor(alpha=0.01, max_iter=50, tol=None, random_state=0)
    plain = model.fit(X, Y, sample_weight=np.ones(60)).coef_
    for size in (1e-290, 1e-150, 1e100, 1e150):
        model.set_params(alpha=0.01 * size)
        assert_allclose(model.fit(X, Y, sample_weight=np.full(60, size)).coef_, plain, rtol=1e-6)
    flat = CompiledLoss(zeros, zeros, name="flat", smoothness=1e-6)
    with pytest.raises(ValueError, match="sample_weight and class_weight are so small"):
        SGDRegressor(flat, **FEW).fit(X, Y, sample_weight=np.full(60, 3e-308))
    for wrong in (1e160, 1e-310):
        with pytest.raises(ValueError, match="the largest sample_weight must be in"):
            model.fit(X, Y, sample_weight=np.full(60, wrong))


def test_class_weights_of_any_size():
    model = SGDClassifier("log_loss", alpha=0.01, max_iter=50, tol=None, random_state=0)
    plain = model.fit(X, LABELS).coef_
    for size in (1e-290, 1e-150, 1e100):
        model.set_params(alpha=0.01 * size, class_weight={0: size, 1: size})
        assert_allclose(model.fit(X, LABELS).coef_, plain, rtol=1e-6)
    for wrong in (1e200, 1e-310):
        model.set_params(alpha=0.01, class_weight={0: wrong, 1: wrong})
        with pytest.raises(ValueError, match="class_weight must"):
            model.fit(X, LABELS)
    model.set_params(class_weight={0: 1e100, 1: 1e100})
    with pytest.raises(ValueError, match=r"class_weight must .* times the largest sample weight"):
        model.fit(X, LABELS, sample_weight=np.full(60, 1e100))


@pytest.mark.parametrize("size", (1.0, 3e-308, 1e-160, 1e100, 1e150))
def test_moments_of_weights_of_any_size(size):
    data = Data(X, Y, size * np.arange(60.0))
    lanes, settings = Lanes(1, alpha=0.0, eta0=1.0), Settings()
    counts = np.arange(60.0)
    expected = np.square(counts).sum() / counts.sum()
    assert_allclose(typical_weight(data, lanes, settings) / size, expected, rtol=1e-12)
    assert_allclose(mean_weight(data, lanes, settings) / size, counts.sum() / 59, rtol=1e-12)


def test_the_power_of_two_below_a_number():
    """None is a denormal number, by which nothing could be divided."""
    for value, power in ((5e-324, 2.0**-1022), (3.0, 2.0), (0.25, 0.25), (1.7e308, 2.0**1023)):
        assert power_of_two(value) == power
    assert power_of_two(0.0) == 1.0


def test_targets_and_weights_whose_product_is_beyond_range():
    """The curvature of Poisson's loss grows with y: the weights come on top, or X."""
    counts, weight = 1e300 * np.arange(1.0, 61.0), np.full(60, 1e30)
    ones = np.ones((60, 3))
    with pytest.raises(ValueError, match="y, weights and X are so large together"):
        SGDRegressor("poisson", **FEW).fit(ones, counts, sample_weight=weight)
    adaptive = {**FEW, "optimizer": "adagrad"}
    with pytest.raises(DivergenceError, match="So might smaller y"):
        SGDRegressor("poisson", **adaptive).fit(ones, counts, sample_weight=weight)
    with pytest.raises(ValueError, match="Scale y, or sample_weight"):
        SGDRegressor(**adaptive).fit(ones, counts, sample_weight=weight)
    for max_iter in (2, 1000):
        with pytest.raises(ValueError, match="y and X are so large together"):
            SGDRegressor("poisson", max_iter=max_iter, random_state=0).fit(1e100 * X, counts)


@pytest.mark.parametrize("epsilon", (1e200, 1.7e308))
@pytest.mark.parametrize("extra", ({"on_divergence": "backoff"}, {"certificate": True}))
def test_huge_epsilon(extra, epsilon):
    """Huber's loss is then that of squares."""
    model = SGDRegressor("huber", epsilon=epsilon, **FEW, **extra)
    wide = SGDRegressor("huber", epsilon=1e6, **FEW, **extra)
    assert_allclose(model.fit(X, Y).coef_, wide.fit(X, Y).coef_, rtol=1e-12)
    if "certificate" in extra:
        assert_allclose(model.certificate_.objective, wide.certificate_.objective, rtol=1e-12)


def test_huber_value_has_no_square_of_epsilon():
    r = np.array([0.0, 1e-3, 0.5, 2.0, 1e200])
    value = LOSSES["huber"].value
    for e in (0.5, 1.0):
        assert_allclose(
            value(r, 0.0, e), np.where(r <= e, 0.5 * np.minimum(r, 9) ** 2, e * r - e * e / 2)
        )
    assert_array_equal(value(r[:-1], 0.0, 1e200), 0.5 * r[:-1] ** 2)


# ---------------------------------------------------------------- no warnings of NumPy


def test_poisson_predictions_of_any_size():
    model = SGDRegressor("poisson", **FEW).fit(X, np.abs(Y))
    assert (model.predict(1e6 * np.sign(model.coef_)[None]) == np.inf).all()
    assert (model.predict(-1e6 * np.sign(model.coef_)[None]) == 0.0).all()


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("dtype", (np.float64, np.float32))
def test_scores_beyond_range_have_their_sign(dtype, make):
    """Where one product is infinity and another minus infinity too."""
    most = 0.9 * np.finfo(dtype).max
    model = SGDClassifier("log_loss", **FEW).fit(X.astype(dtype), LABELS)
    model.coef_ = np.array([[10.0, 10.0, 30.0]], dtype=dtype)
    rows = np.array(
        [[most, most, -most], [most, most, 0], [most, -most / 2, 0], [1, 2, 3]], dtype=dtype
    )
    scores = model.decision_function(make(rows))
    assert_array_equal(scores[:3], [-np.inf, np.inf, np.inf])
    assert_allclose(scores[3], 120.0 + float(model.intercept_[0]), rtol=1e-6)
    assert_array_equal(model.predict_proba(make(rows))[:2], [[1.0, 0.0], [0.0, 1.0]])
    softmax = SGDClassifier("log_loss", multi_class="multinomial", **FEW)
    softmax.fit(X.astype(dtype), np.arange(60) % 3)
    assert np.isfinite(softmax.predict_proba(make(rows))).all()


def test_sums_of_finite_values_that_overflow():
    """X and y are looked at by their sum first, in which infinities of both signs may meet."""
    wide = np.tile([1.7e308, 1.7e308, -1.7e308, -1.7e308], 15)
    with pytest.raises(ValueError, match="y has values whose losses"):
        SGDRegressor(**FEW).fit(X, wide)
    model = SGDRegressor(**FEW).fit(X, Y)
    assert not np.isnan(model.predict(np.column_stack([wide, wide, wide]))).any()


@pytest.mark.parametrize("scoring", (None, "r2", "neg_mean_squared_error"))
def test_validation_scores_of_any_size(scoring):
    model = SGDRegressor("huber", scoring=scoring, learning_rate="constant", eta0=1e-3, **FEW)
    model.fit(X, Y, X_val=X, y_val=1e200 * Y)
    model.fit(X, Y, X_val=1e160 * X, y_val=Y)


def test_r2_of_any_size():
    model = SGDRegressor(**FEW).fit(X, Y)
    assert model.score(X, Y) == r2_score(Y, model.predict(X))
    assert model.score(1e200 * X, Y) == -np.inf


def test_noise_that_overflows_in_float32_alone():
    large = (1e12 * X).astype(np.float32)
    model = SGDRegressor("huber", **FEW).fit(X.astype(np.float32), Y)
    model.coef_ = np.zeros(3, dtype=np.float32)
    small, big = gradient_noise(model, X, Y), gradient_noise(model, large, Y)
    assert_allclose(big.gradient, 1e12 * small.gradient, rtol=1e-3)
    with pytest.raises(ValueError, match="squares of gradients are not finite"):
        gradient_noise(model, 1e160 * X, Y)


def test_a_first_loss_that_is_almost_nothing_is_no_yardstick():
    """A one-class model begins with no hinge at all: what comes later is no divergence."""
    model = SGDOneClassSVM(nu=1e-30, fit_intercept=False, max_iter=20, random_state=0)
    model.set_params(learning_rate="constant", eta0=1e-3, batch_size=60)
    once = model.fit(X).coef_
    backing_off = model.set_params(on_divergence="backoff").fit(X)
    assert_array_equal(backing_off.coef_, once)
    assert_array_equal(backing_off.history_["learning_rate"], 1e-3)
    assert max(model.loss_curve_) > 1e6 * abs(model.loss_curve_[0])


def test_mean_weight_of_one_row():
    """It is that row's, whatever other rows of weight zero there are."""
    weight = np.zeros(60)
    weight[7] = 3.0
    data, lanes = Data(X, Y, weight), Lanes(1, alpha=0.0, eta0=1.0)
    assert_allclose(mean_weight(data, lanes, Settings()), 3.0)
    assert_allclose(mean_weight(Data(X, Y, np.zeros(60)), lanes, Settings()), 1.0)
