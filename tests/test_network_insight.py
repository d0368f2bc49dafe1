"""Functions of insight on networks: brute force on small ones, and what is refused."""

from dataclasses import astuple
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor, insight
from fastsgd.insight import (
    LearningRateDisplay,
    NoiseScaleDisplay,
    batch_variance,
    compare,
    gradient_noise,
    rate_range,
    sharpness,
    stability_report,
)
from fastsgd.insight.network_problem import held_out_network_problem, network_problem_of
from fastsgd.insight.sharpness import _NetworkGradient
from fastsgd.network import Network
from fastsgd.reference import network as twin
from fastsgd.solver import network_diagnosis
from fastsgd.solver.network_diagnosis import NetworkDiagnosis

mpl.use("Agg")

rng = np.random.default_rng(0)
N, D = 120, 5
X = rng.normal(size=(N, D))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1] + 0.1 * rng.normal(size=N)
LABELS = np.digitize(Y, [-0.5, 0.5])
WEIGHT = np.where(np.arange(N) < 100, rng.uniform(0.5, 2.0, N), 0.0)
FEW = {"hidden_layer_sizes": (4, 3), "max_iter": 3, "tol": None, "random_state": 0, "batch_size": 8}
FEW |= {"activation": "tanh", "alpha": 0.3}
MODELS = {
    "two classes": (MLPClassifier(**FEW), LABELS > 0),
    "three classes": (MLPClassifier(**FEW), LABELS),
    "balanced": (MLPClassifier(class_weight="balanced", **FEW), LABELS),
    "multilabel": (MLPClassifier(**FEW), np.column_stack([LABELS > 0, LABELS > 1])),
    "squares": (MLPRegressor(**FEW), Y),
    "two outputs": (MLPRegressor(**FEW), np.column_stack([Y, 1.0 - Y])),
    "poisson": (MLPRegressor("poisson", **FEW), np.round(np.exp(Y))),
    "standardised": (MLPRegressor(standardize=True, **FEW), Y),
    "averaged": (MLPClassifier(average=True, **FEW), LABELS),
    "relu": (MLPClassifier(**(FEW | {"activation": "relu"})), LABELS),
}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def row_gradients(problem):
    """Gradients of all rows (n, P) times their relative weights, by the twin."""
    data = problem.data
    weight = np.ones(data.n) if data.sample_weight is None else data.sample_weight
    each = twin.row_gradients(problem.network, problem.theta, data.rows(slice(None)), data.y)
    return (weight / weight.mean())[:, None] * each


def of_weights(network):
    """1 for weights, 0 for intercepts."""
    return network.pack([1.0] * network.layers, [0.0] * network.layers, np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_noise_is_that_of_every_row(name, weighted):
    model, y = MODELS[name]
    weight = WEIGHT if weighted else None
    model = clone(model).fit(X, y, sample_weight=weight)
    noise = gradient_noise(model, X, y, weight)
    problem = network_problem_of(model, X, y, weight)
    each = row_gradients(problem)
    full = each.mean(axis=0) + problem.penalty * of_weights(problem.network) * problem.theta
    assert noise.n == noise.rows == (100 if weighted else N)
    trace = np.square(each - each.mean(axis=0)).sum(axis=1).mean()
    assert_allclose(noise.trace.sum(), trace, rtol=1e-9)
    assert_allclose(noise.squared_norm.sum(), np.square(full).sum(), rtol=1e-9)
    assert_allclose(noise.total_noise_scale, trace / np.square(full).sum(), rtol=1e-9)
    assert noise.noise_scale.shape == (3,)
    assert gradient_noise(model, X, y, weight, sample=50, random_state=0).rows == 50
    assert "rows" in noise.explain()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_objective_is_that_of_the_gradient(name, weighted):
    """Its differences are the gradient, and its value is that of the twin."""
    model, y = MODELS[name]
    weight = WEIGHT if weighted else None
    problem = network_problem_of(clone(model).fit(X, y, sample_weight=weight), X, y, weight)
    network, unit = problem.network, problem.network.unit(np.float64)

    def loss(theta):
        return problem.loss(
            network.pack(*zip(*network.views(theta), strict=True), np.float64, unit)
        )

    v = np.random.default_rng(1).normal(size=len(problem.theta))
    step = 1e-6
    found = (loss(problem.theta + step * v) - loss(problem.theta - step * v)) / (2 * step)
    gradient = _NetworkGradient(problem, np.arange(problem.data.n))(problem.theta)
    assert_allclose(found, gradient @ v, rtol=1e-6, atol=1e-8)
    z = twin.forward(network, problem.theta, problem.data.rows(slice(None)))[-1]
    assert_allclose(problem.losses(), twin.row_losses(network, z, problem.data.y), rtol=1e-10)
    assert_allclose(problem.loss(), loss(problem.theta), rtol=1e-14)


@pytest.mark.parametrize("name", ["three classes", "squares", "balanced"])
def test_batches_follow_the_law(name):
    model, y = MODELS[name]
    model = clone(model).fit(X, y)
    found = batch_variance(model, X, y, batch_sizes=(2, 8, N), random_state=0)
    error = np.abs(found.measured - found.finite_law)
    assert (error[:2] < 4.0 * found.standard_error[:2]).all()
    assert found.measured[-1] < 1e-12 * found.measured[0]
    insight.BatchVarianceDisplay(found).plot()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_diagnostics_of_a_fit(name, weighted):
    """Where the sample is all rows, the numbers are exact; training is not touched."""
    model, y = MODELS[name]
    weight = WEIGHT if weighted else None
    model = clone(model)
    plain = model.fit(X, y, sample_weight=weight)
    coefs = [coef.copy() for coef in plain.coefs_]
    assert np.isnan(plain.history_["noise_scale"]).all()
    with pytest.raises(ValueError, match="diagnostics=True"):
        NoiseScaleDisplay.from_estimator(plain)
    model.fit(X, y, sample_weight=weight, diagnostics=True)
    for coef, before in zip(model.coefs_, coefs, strict=True):
        assert_array_equal(coef, before)
    exact = gradient_noise(model, X, y, weight)
    last = {key: values[-1] for key, values in model.history_.items()}
    assert_allclose(last["full_gradient_norm"], np.sqrt(exact.squared_norm.sum()), rtol=1e-9)
    assert_allclose(last["gradient_noise"], exact.trace.sum(), rtol=1e-9)
    assert_allclose(last["noise_scale"], exact.total_noise_scale, rtol=1e-9)
    display = NoiseScaleDisplay.from_estimator(model)
    assert display.batch_size == 8
    assert len(display.line_.get_xdata()) == 3


def padded(diagnosis, problem):
    """The parameters of a problem, as a run has them."""
    theta = np.zeros(problem.network.length(diagnosis.unit))
    views = (
        problem.network.views(v, unit) for v, unit in ((theta, diagnosis.unit), (problem.theta, 1))
    )
    for layer, values in zip(*views, strict=True):
        for array, value in zip(layer, values, strict=True):
            array[...] = value
    return theta


@pytest.mark.parametrize("name", ("squares", "three classes"))
def test_estimates_of_all_samples_of_some_rows_have_the_mean_of_all_rows(name, monkeypatch):
    """The numbers are unbiased."""
    model, y = MODELS[name]
    problem = network_problem_of(model.fit(X[:7], y[:7]), X[:7], y[:7], None)
    drawn = iter([range(7), *combinations(range(7), 4)])

    class Drawn:
        def choice(self, n, m, replace):
            assert (n, m, replace) == (7, least, False)
            return np.array(next(drawn))

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Drawn())
    found = []
    for least, count in ((7, 1), (4, 35)):
        monkeypatch.setattr(network_diagnosis, "LEAST_SAMPLE", least)
        diagnosis = NetworkDiagnosis(problem.data, problem.network, problem.descent)
        theta = padded(diagnosis, problem)
        found.append([astuple(diagnosis(0, theta)) for _ in range(count)])
    whole, parts = found
    assert_allclose(np.mean(parts, axis=0), whole[0], rtol=1e-10)
    assert np.std(parts, axis=0).min() > 0.01 * whole[0][1]


def test_a_sample_is_a_row_of_64(monkeypatch):
    asked = []

    class Drawn:
        def choice(self, n, m, replace):
            asked.append(m)
            return np.arange(m)

    monkeypatch.setattr(network_diagnosis, "LEAST_SAMPLE", 1)
    for n in (127, 128):
        wide = np.ones((n, D)) * X[0]
        problem = network_problem_of(MODELS["squares"][0].fit(X, Y), wide, np.ones(n), None)
        diagnosis = NetworkDiagnosis(problem.data, problem.network, problem.descent)
        theta = padded(diagnosis, problem)
        with monkeypatch.context() as patched:
            patched.setattr(np.random, "default_rng", lambda seed: Drawn())
            diagnosis(0, theta)
    assert asked == [1, 2]


def test_diagnostics_of_many_rows_are_of_a_sample():
    many = np.random.default_rng(2)
    X = many.normal(size=(2000, 5)).astype(np.float32)
    y = X @ np.arange(5.0) + many.normal(size=2000)
    options = {"hidden_layer_sizes": (3,), "max_iter": 1, "tol": None, "learning_rate_init": 1e-5}
    found = []
    for seed in range(40):
        model = MLPRegressor(random_state=0, **options)
        model._draw = lambda *a, seed=seed, **k: (seed, None, None)  # the same first weights
        model.fit(X, y, diagnostics=True)
        exact = gradient_noise(model, X, y)
        pair = model.history_["gradient_noise"][0], model.history_["full_gradient_norm"][0] ** 2
        found.append((pair[0] / exact.trace.sum(), pair[1] / exact.squared_norm.sum()))
    errors = np.array(found) - 1.0
    assert (errors.std(axis=0) > 0.0).all()
    assert (np.abs(errors.mean(axis=0)) < 4.0 * errors.std(axis=0) / np.sqrt(40)).all()


# ---------------------------------------------------------------- sharpness


def hessian(gradient, theta, step=1e-5):
    columns = []
    for v in np.eye(len(theta)):
        columns.append((gradient(theta + step * v) - gradient(theta - step * v)) / (2.0 * step))
    return np.array(columns)


@pytest.mark.parametrize("name", MODELS)
def test_sharpness_is_that_of_the_whole_hessian(name):
    """Of gradients by the twin, for every parameter."""
    model, y = MODELS[name]
    model = clone(model).fit(X, y, sample_weight=WEIGHT)
    problem = network_problem_of(model, X, y, WEIGHT)

    def gradient(theta):
        data, network = problem.data, problem.network
        each = twin.row_gradients(network, theta, data.rows(slice(None)), data.y)
        mean = (data.sample_weight / data.sample_weight.sum()) @ each
        return mean + problem.penalty * of_weights(network) * theta

    whole = hessian(gradient, problem.theta, 1e-7 if name == "relu" else 1e-5)
    values, vectors = np.linalg.eigh((whole + whole.T) / 2.0)
    found = sharpness(model, X, y, WEIGHT, random_state=0)
    assert_allclose(found.value, values[-1], rtol=2e-5)
    assert abs(found.direction @ vectors[:, -1]) > 0.99
    assert found.residual <= 2e-3 * values[-1]
    assert found.products <= 60
    assert_allclose(found.stable_rate, 2.0 / found.value)
    again = sharpness(model, X, y, WEIGHT, random_state=0)
    assert again.value == found.value


def test_sharpness_of_float32_csr_and_samples():
    model, y = MODELS["three classes"]
    model = clone(model).fit(X, y)
    exact = sharpness(model, X, y, random_state=0).value
    low = clone(model).fit(X.astype(np.float32), y)
    assert_allclose(sharpness(low, X.astype(np.float32), y, random_state=0).value, exact, rtol=1e-3)
    assert_allclose(sharpness(model, sp.csr_array(X), y, random_state=0).value, exact, rtol=1e-6)
    assert sharpness(model, X, y, sample=40, random_state=0).rows == 40
    assert_allclose(sharpness(model, X, y, sample=N, random_state=0).value, exact, rtol=1e-4)


def test_sharpness_where_no_direction_curves_upwards():
    """The largest eigenvalue, and not the largest in size."""
    theta = np.arange(4.0)
    scales = np.array([-5.0, -3.0, -2.0, -1.0])
    from fastsgd.insight.sharpness import _largest

    found = _largest(lambda at: scales * at, theta, 1e-3, np.random.RandomState(0))
    assert_allclose(found[0], -1.0, rtol=1e-6)


@pytest.mark.parametrize("multinomial", [False, True])
def test_sharpness_of_linear_models_is_the_known_curvature(multinomial):
    ones = np.column_stack([X, np.ones(N)])
    alpha = np.diag([0.1] * D + [0.0])
    model = SGDRegressor(alpha=0.1, max_iter=2, tol=None, random_state=0).fit(X, Y)
    expected = np.linalg.eigvalsh(ones.T @ ones / N + alpha)[-1]
    assert_allclose(sharpness(model, X, Y).value, expected, rtol=1e-5)
    options = {"alpha": 0.1, "max_iter": 2, "tol": None, "random_state": 0}
    model = SGDRegressor(fit_intercept=False, **options).fit(X, Y)
    expected = np.linalg.eigvalsh(X.T @ X / N)[-1] + 0.1
    assert_allclose(sharpness(model, X, Y).value, expected, rtol=1e-5)
    if not multinomial:
        model = SGDClassifier("log_loss", **options).fit(X, LABELS > 0)
        p = model.predict_proba(X)[:, 1]
        expected = np.linalg.eigvalsh((ones.T * (p * (1 - p))) @ ones / N + alpha)[-1]
        assert_allclose(sharpness(model, X, LABELS > 0).value, expected, rtol=1e-5)
        return
    model = SGDClassifier("log_loss", multi_class="multinomial", **options).fit(X, LABELS)
    p = model.predict_proba(X)
    blocks = [
        [
            (ones.T * (p[:, i] * ((i == j) - p[:, j]))) @ ones / N + (i == j) * alpha
            for j in range(3)
        ]
        for i in range(3)
    ]
    expected = np.linalg.eigvalsh(np.block(blocks))[-1]
    assert_allclose(sharpness(model, X, LABELS).value, expected, rtol=1e-5)


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("name", MODELS)
def test_runs_end_where_fits_do(name):
    """Of each seed, also with a rate that changes once an epoch."""
    model, y = MODELS[name]
    options = {"one": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.1}, "two": {}}
    found = compare(model, X, y, variants=options, epochs=2, test=(X, y))
    assert [run.label for run in found.runs] == ["one"] * 3 + ["two"] * 3
    for run in found.runs:
        fit = clone(model).set_params(max_iter=2, random_state=run.seed, **run.parameters).fit(X, y)
        problem = network_problem_of(fit, X, y)
        if not fit.standardize:  # whose weights are rounded on their way to X and back
            assert_allclose(run.loss[-1], problem.loss(), rtol=1e-12)
        assert_allclose(run.test_loss[-1], problem.loss(penalty=False), rtol=1e-6)
        assert (run.step[-1], run.examples[-1]) == (30, 240)
    display = found.plot()
    assert len(display.lines_) == 2
    assert len(display.ax_.collections) == 2  # bands
    assert {record["seed"] for record in found.records} == {0, 1, 2}


def test_test_rows_have_the_class_weights_of_training():
    model, y = MODELS["balanced"]
    training = network_problem_of(clone(model), X, y, fitted=False)
    other = held_out_network_problem(training, X[:30], y[:30], name="test")
    assert_allclose(other.data.sample_weight, training.data.sample_weight[:30])
    with pytest.raises(ValueError, match=r"test: .*features"):
        held_out_network_problem(training, X[:, :3], y, name="test")


def test_batch_sizes_minimise_the_same():
    model, y = MODELS["squares"]
    found = insight.compare_batch_sizes(model, X, y, batch_sizes=(4, 16, N), epochs=1, seeds=2)
    assert [run.parameters["alpha"] for run in found.runs[::2]] == [0.15, 0.6, 0.3 * N / 8]
    assert_allclose([run.loss[0] for run in found.runs[::2]], found.runs[0].loss[0], rtol=1e-12)


def test_comparisons_of_networks():
    model, y = MODELS["three classes"]
    sgd = clone(model).set_params(solver="sgd", learning_rate_init=0.1)
    options = {"epochs": 1, "seeds": 1}
    runs = insight.compare_momentum(sgd, X, y, momenta=(0.0, 0.9), **options).runs
    assert_allclose([run.parameters["learning_rate_init"] for run in runs], [1.0, 0.1])
    runs = insight.linear_scaling(sgd, X, y, eta0=0.01, batch_sizes=(1, 8), **options).runs
    assert_allclose([run.parameters["learning_rate_init"] for run in runs], [0.01, 0.08])
    assert len(insight.compare_sampling(sgd, X, y, **options).runs) == 3
    assert len(insight.compare_schedules(sgd, X, y, **options).runs) == 4
    assert len(insight.noise_floor(sgd, X, y, rates=(0.1, 0.01), **options).runs) == 2
    wild = clone(sgd).set_params(activation="identity")
    runs = compare(wild, X * 1e3, y, variants={"one": {"learning_rate_init": 1e9}}, epochs=3).runs
    assert all(run.diverged for run in runs)


def test_linear_models_have_bands_too():
    found = compare(SGDRegressor(), X, Y, variants={"one": {}}, seeds=2, epochs=1)
    assert [run.seed for run in found.runs] == [0, 1]
    assert found.runs[0].loss[-1] != found.runs[1].loss[-1]
    result = rate_range(SGDRegressor(random_state=0), X, Y, rates=(1e-3, 1e-2, 1e-1), seeds=2)
    assert (result.spread[1] > result.spread[0]).any()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_rates(solver):
    model = MLPRegressor(**(FEW | {"solver": solver, "alpha": 1e-4}))
    result = rate_range(model, X, Y, epochs=5, seeds=2)
    assert len(result.rates) == 30
    assert np.isnan(result.inverse_curvature) == (solver == "adam")
    assert result.smoothed.min() < 0.5 * result.start_loss
    low, high = result.spread
    assert (low <= result.loss).all()
    assert (result.loss <= high).all()
    LearningRateDisplay(result).plot()
    fit = clone(model).set_params(max_iter=5, learning_rate_init=float(result.rates[3])).fit(X, Y)
    other = clone(fit).set_params(random_state=1).fit(X, Y)
    losses = [network_problem_of(one, X, Y).loss() for one in (fit, other)]
    assert_allclose(result.loss[3], np.mean(losses), rtol=1e-12)
    from_there = rate_range(fit, X, Y, rates=(1e-6, 1e-5, 1e-4), seeds=2)
    assert_allclose(from_there.start_loss, losses[0], rtol=1e-12)
    assert from_there.spread[0][-1] < from_there.spread[1][-1]


# ---------------------------------------------------------------- reports


def names_of(*arguments):
    return {finding.name for finding in stability_report(*arguments).findings}


def test_nothing_is_wrong_with_a_good_fit():
    model, y = MODELS["three classes"]
    model = clone(model).set_params(alpha=1e-4)
    assert names_of(model, X, y) == set()
    report = stability_report(model, X, y)
    assert np.isnan(report.stable_rate)
    assert "dead units" in str(report)
    report = stability_report(clone(model).set_params(solver="sgd"), X, y)
    assert report.rate < report.stable_rate


def test_causes_are_found():
    model, y = MODELS["three classes"]
    sgd = clone(model).set_params(solver="sgd", alpha=1e-4)
    assert "rate" in names_of(clone(sgd).set_params(learning_rate_init=100.0), X, y)
    assert "scales" in names_of(sgd, X * np.array([1e4, 1, 1, 1, 1]), y)
    order = np.argsort(LABELS)
    assert "sorted" in names_of(clone(sgd).set_params(shuffle=False), X[order], LABELS[order])
    outlying = Y.copy()
    outlying[3] = 1e4
    assert "outliers" in names_of(MLPRegressor(**FEW), X, outlying)
    relu = MLPClassifier(**(FEW | {"activation": "relu"})).fit(X, LABELS)
    relu.intercepts_[0] = relu.intercepts_[0] - 1e3
    report = stability_report(relu, X, LABELS)
    dead = next(finding for finding in report.findings if finding.name == "dead")
    assert dead.measured == {"layer": 1.0, "share": 1.0}
    single = {"batch_size": 1, "learning_rate_init": 0.1, "max_iter": 100, "alpha": 0.0}
    noisy = clone(sgd).set_params(**single)  # on each of 20 seeds
    assert "noise" in names_of(noisy.fit(X, LABELS), X, LABELS)
    flipped = LABELS > 0
    clean = MLPClassifier(**(FEW | {"max_iter": 200, "alpha": 0.0})).fit(X, flipped)
    flipped = np.where(np.arange(N) % 4 == 0, ~flipped, flipped)
    assert "labels" in names_of(clean, X, flipped)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: insight.trajectory(m, X, LABELS), "two weights of a network"),
        (lambda m: insight.compare_momentum(m, X, LABELS), "solver='sgd'.*Adam has beta_1"),
        (lambda m: insight.linear_scaling(m, X, LABELS, eta0=0.1), "solver='sgd'"),
        (lambda m: insight.compare_schedules(m, X, LABELS, schedules=("auto",)), "'auto' finds"),
        (lambda m: insight.compare_schedules(m, X, LABELS, schedules=("adaptive",)), "do not stop"),
        (lambda m: insight.compare_schedules(m, X, LABELS, schedules=("invscaling",)), "no effect"),
        (lambda m: compare(m, X, LABELS, variants={"a": {}}, seeds=0), "seeds must be"),
        (lambda m: rate_range(m, X, LABELS, rates=(1.0,)), "at least three"),
        (lambda m: sharpness(m, X, LABELS), "not fitted"),
        (lambda m: gradient_noise(m, X, LABELS), "not fitted"),
        (lambda m: gradient_noise(m.fit(X, LABELS), X[:, :2], LABELS), "features"),
        (lambda m: sharpness(m.fit(X, LABELS), X, LABELS, sample=0), "sample must be"),
        (lambda m: sharpness(m.fit(X, LABELS), np.full((N, D), np.nan), LABELS), "NaN"),
    ],
)
def test_what_has_no_meaning_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(clone(MODELS["three classes"][0]))


def test_generators_are_not_advanced():
    state = np.random.RandomState(0)
    model = clone(MODELS["squares"][0])
    model.random_state = state
    before = state.get_state()[1].copy()
    stability_report(model, X, Y)
    compare(model, X, Y, variants={"a": {}}, epochs=1)
    rate_range(model, X, Y, rates=(1e-3, 1e-2, 1e-1), epochs=1)
    assert_array_equal(state.get_state()[1], before)
    assert Network((1, 1)).count == 2
