"""Drift and noise of gradients against brute force: every row's gradient, every batch."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, insight
from fastsgd.insight import (
    BatchVarianceDisplay,
    LearningRateDisplay,
    LossCurveDisplay,
    NoiseScaleDisplay,
    TrajectoryDisplay,
    batch_variance,
    gradient_noise,
    rate_range,
    stability_report,
    two_batch_noise,
)
from fastsgd.insight.problem import problem_of
from fastsgd.statistics.gradients import NoiseEstimate
from fastsgd.statistics.objective import Objective

rng = np.random.default_rng(0)
n, d = 60, 4
X = rng.normal(size=(n, d))
Y = X @ rng.normal(size=d) + rng.normal(size=n)
LABELS = np.digitize(Y, [-0.5, 0.5])
WEIGHT = rng.uniform(0.5, 2.0, n)
FEW = {"max_iter": 3, "tol": None, "random_state": 0}
MODELS = {
    "log_loss": (SGDClassifier("log_loss", alpha=0.1, **FEW), LABELS > 0),
    "balanced": (SGDClassifier("log_loss", class_weight="balanced", **FEW), LABELS > 0),
    "hinge of three": (SGDClassifier("hinge", **FEW), LABELS),
    "softmax": (SGDClassifier("log_loss", multi_class="multinomial", **FEW), LABELS),
    "multilabel": (SGDClassifier("log_loss", **FEW), np.column_stack([LABELS > 0, LABELS > 1])),
    "squares": (SGDRegressor(alpha=0.01, **FEW), Y),
    "no intercept": (SGDRegressor(fit_intercept=False, **FEW), Y),
    "two outputs": (SGDRegressor("huber", **FEW), np.column_stack([Y, 1.0 - Y])),
    "standardised": (SGDRegressor(standardize=True, **FEW), Y),
    "elastic net": (SGDClassifier("log_loss", penalty="elasticnet", **FEW), LABELS > 0),
    "one class": (SGDOneClassSVM(nu=0.3, **FEW), None),
}


def fitted(name, X=X, weight=None):
    model, y = MODELS[name]
    if y is None:
        return model.fit(X, sample_weight=weight), None
    return model.fit(X, y.astype(float) if y.dtype == float else y, sample_weight=weight), y


def by_hand(model, X, y, weight):
    """Gradients of single rows (n, K, d + 1), the penalty's among them, by differences of the
    objective's parts: of each row's loss at nudged weights."""
    problem = problem_of(model, X, y, weight)
    features = problem.data.rows(slice(None))
    features = features.toarray() if sp.issparse(features) else features
    z = features @ problem.coef.T + problem.intercept
    c = problem.slopes(slice(None), z)
    ones = np.full((len(c), 1), float(problem.settings.fit_intercept))
    g = c[:, :, None] * np.hstack([features, ones])[:, None, :]
    penalty, intercept_gradient = problem.smooth_penalty()
    return g + np.column_stack([penalty, intercept_gradient * problem.settings.fit_intercept])


@pytest.mark.parametrize("layout", ("dense", "csr"))
@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize("name", MODELS)
def test_against_every_row(name, weighted, layout):
    if layout == "csr" and name == "standardised":
        pytest.skip("standardize=True is of dense X")
    data, weight = sp.csr_array(X) if layout == "csr" else X, WEIGHT if weighted else None
    model, y = fitted(name, data, weight)
    before = {key: np.copy(value) for key, value in vars(model).items() if key.endswith("_")}
    noise = gradient_noise(model, data, y, weight)
    for key, value in before.items():
        np.testing.assert_equal(np.copy(vars(model)[key]), value)
    g = by_hand(model, data, y, weight)
    mean, exact = g.mean(axis=0), {"rtol": 1e-10, "atol": 1e-12}
    assert_allclose(np.column_stack([noise.gradient, noise.gradient_intercept]), mean, **exact)
    variance = np.column_stack([noise.variance, noise.variance_intercept])
    assert_allclose(variance, g.var(axis=0), **exact)
    assert_allclose(noise.trace, np.square(g - mean).sum(axis=2).mean(axis=0), **exact)
    assert_allclose(noise.squared_norm, np.square(mean).sum(axis=1), **exact)
    assert_allclose(noise.noise_scale, noise.trace / np.square(mean).sum(axis=1), **exact)
    assert (noise.n, noise.rows) == (n, n)


def test_the_gradient_is_that_of_the_objective():
    """By central differences of the mean loss and the penalty."""
    from fastsgd.losses import LOSSES

    model, y = fitted("log_loss")
    signs = np.where(y, 1.0, -1.0)

    def value(coef, intercept):
        z = X @ coef + intercept
        loss = LOSSES["log_loss"].value(z, signs, 0.0).mean()
        return loss + 0.5 * model.alpha * np.square(coef).sum()

    noise, step = gradient_noise(model, X, y), 1e-5
    point = np.append(model.coef_[0], model.intercept_)
    for j in range(d + 1):
        up, down = point.copy(), point.copy()
        up[j] += step
        down[j] -= step
        slope = (value(up[:-1], up[-1]) - value(down[:-1], down[-1])) / (2 * step)
        found = noise.gradient[0, j] if j < d else noise.gradient_intercept[0]
        assert_allclose(found, slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("replacement", (False, True))
@pytest.mark.parametrize("m", (1, 2, 3, 7))
def test_every_batch_of_seven_rows(m, replacement):
    """The covariance of a batch, enumerated."""
    few, y = X[:7], Y[:7]
    model = SGDRegressor(alpha=0.1, **FEW).fit(few, y)
    noise, g = gradient_noise(model, few, y), by_hand(model, few, y, None)[:, 0]
    if replacement and m > 3:
        pytest.skip("too many to enumerate")
    draws = product(range(7), repeat=m) if replacement else combinations(range(7), m)
    batches = np.array([g[list(draw)].mean(axis=0) for draw in draws])
    mean = g.mean(axis=0)
    assert_allclose(batches.mean(axis=0), mean, atol=1e-12)
    size = np.square(batches - mean).sum(axis=1).mean()
    how = {"replacement": replacement}
    assert_allclose(noise.batch_trace(m, **how), size, atol=1e-12)
    spread = batches.std(axis=0)
    ratios = np.append(*(part[0] for part in noise.coordinate_signal_to_noise(m, **how)))
    if m == 7 and not replacement:
        assert np.isinf(ratios).all()
        assert noise.cosine(m) == 1.0
        assert noise.norm_test(m, theta=1e-9)
        return
    assert_allclose(ratios, np.abs(mean) / spread, rtol=1e-9)
    assert_allclose(noise.signal_to_noise(m, **how), np.linalg.norm(mean) / np.sqrt(size))
    root = np.sqrt(np.square(batches).sum(axis=1).mean())
    assert_allclose(noise.cosine(m, **how), np.linalg.norm(mean) / root)
    for theta in (0.1, 1.0, 10.0):
        assert noise.norm_test(m, theta=theta, **how) == (size <= theta**2 * (mean @ mean))


def test_duplicates_of_csr_are_added_up():
    dense = np.array([[3.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    parts = np.array([1.0, 2.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 0, 1]), np.array([0, 2, 3, 5])
    twice = sp.csr_array(parts, shape=(3, 2))
    model = SGDRegressor(**FEW).fit(dense, Y[:3])
    exact, found = (gradient_noise(model, data, Y[:3]) for data in (dense, twice))
    assert_allclose(found.variance, exact.variance)
    assert twice.nnz == 5


def test_rows_of_weight_zero_are_no_rows():
    weight = np.where(np.arange(n) < 40, 1.0, 0.0)
    model, y = fitted("squares")
    some, kept = gradient_noise(model, X, y, weight), gradient_noise(model, X[:40], y[:40])
    assert some.n == kept.n == 40
    assert_allclose(some.trace, kept.trace)


@pytest.mark.parametrize("name", ("log_loss", "squares"))
def test_samples_say_how_wrong_they_are(name):
    """Of 200 samples the 95 % intervals hold the exact value in 95 %, give or take chance."""
    many = np.random.default_rng(1)
    X = many.normal(size=(5000, 6))
    y = X @ many.normal(size=6) + many.normal(size=5000)
    y = y > 0 if name == "log_loss" else y
    model = MODELS[name][0].fit(X, y)
    exact = gradient_noise(model, X, y)
    inside = dict.fromkeys(("trace", "squared_norm", "noise_scale"), 0)
    traces = []
    for seed in range(200):
        some = gradient_noise(model, X, y, sample=1000, random_state=seed)
        assert (some.n, some.rows) == (5000, 1000)
        traces.append(some.trace[0])
        for quantity in inside:
            low, high = some.interval(quantity)
            inside[quantity] += int(low[0] <= getattr(exact, quantity)[0] <= high[0])
    assert abs(np.mean(traces) - exact.trace[0]) < 4 * np.std(traces) / np.sqrt(200)
    for quantity, count in inside.items():
        assert count >= 180, (quantity, count)


def test_noise_without_a_gradient_is_infinite_beside_it():
    assert NoiseEstimate(0.0, 1.0).noise_scale == NoiseEstimate(-1.0, 1.0).noise_scale == np.inf


@pytest.mark.parametrize("sizes", ((1, 2), (1, 3), (2, 3)))
def test_two_batch_sizes_are_enough(sizes):
    """Over all batches, drawn with replacement, the estimate is exact."""
    model = SGDRegressor(alpha=0.1, **FEW).fit(X[:7], Y[:7])
    exact, g = gradient_noise(model, X[:7], Y[:7]), by_hand(model, X[:7], Y[:7], None)[:, 0]
    means = [
        np.mean([np.sum(g[list(draw)].mean(axis=0) ** 2) for draw in product(range(7), repeat=m)])
        for m in sizes
    ]
    found = two_batch_noise(*means, *sizes)
    assert_allclose([found.squared_norm, found.trace], [exact.squared_norm[0], exact.trace[0]])
    assert_allclose(found.noise_scale, exact.noise_scale[0])
    with pytest.raises(ValueError, match="m_small must be at least 1"):
        two_batch_noise(*means, 3, 3)


@pytest.mark.parametrize("name", ("log_loss", "softmax", "squares", "no intercept", "one class"))
def test_samples_are_unbiased(name):
    """The mean over all samples of 4 of 7 rows is exact, of both ways to look at one."""
    from fastsgd.insight.gradients import noise_from_sums
    from fastsgd.insight.row_sums import row_sums
    from fastsgd.problem import Data
    from fastsgd.statistics.gradients import estimate_noise

    model, y = MODELS[name]
    rows = slice(0, 7)
    model = clone(model).fit(X[rows]) if y is None else clone(model).fit(X[rows], y[rows])
    whole = problem_of(model, X[rows], None if y is None else y[rows])
    exact = gradient_noise(model, X[rows], None if y is None else y[rows])
    light, full = [], []
    for draw in map(list, combinations(range(7), 4)):
        part = replace(whole, data=Data(whole.data.X[draw], whole.data.y[draw]))
        found, sums = estimate_noise(part, 7), noise_from_sums(part, row_sums(part), 7)
        light.append((found.squared_norm, found.trace))
        full.append((sums.squared_norm.sum(), sums.trace.sum()))
    for means in (np.mean(light, axis=0), np.mean(full, axis=0)):
        assert_allclose(means, [exact.squared_norm.sum(), exact.trace.sum()], rtol=1e-9)


@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize("name", MODELS)
def test_diagnostics_of_a_fit(name, weighted):
    """Where the sample is all rows, the last epoch's numbers are exact; training is not touched."""
    model, y = MODELS[name]
    targets = {} if y is None else {"y": y}
    weight = np.where(np.arange(n) < 50, WEIGHT, 0.0) if weighted else None
    plain = model.fit(X, **targets, sample_weight=weight)
    coef = plain.coef_.copy()
    assert np.isnan(plain.history_["noise_scale"]).all()
    model.fit(X, **targets, sample_weight=weight, diagnostics=True)
    np.testing.assert_array_equal(model.coef_, coef)
    exact = gradient_noise(model, X, y, weight)
    last = {key: values[-1] for key, values in model.history_.items()}
    tight = {"rtol": 1e-5}
    assert_allclose(last["full_gradient_norm"], np.sqrt(exact.squared_norm.sum()), **tight)
    assert_allclose(last["gradient_noise"], exact.trace.sum(), **tight)
    assert_allclose(last["noise_scale"], exact.trace.sum() / exact.squared_norm.sum(), **tight)
    assert len(model.history_["noise_scale"]) == 3


def test_diagnostics_of_many_rows_are_of_a_sample():
    many = np.random.default_rng(2)
    X = many.normal(size=(3000, 5))
    y = X @ np.arange(5.0) + many.normal(size=3000)
    runs = []
    for seed in range(30):
        model = SGDRegressor(max_iter=1, tol=None, random_state=seed, eta0=1e-4)
        model.fit(X, y, diagnostics=True)
        exact = gradient_noise(model, X, y)
        runs.append((model.history_["gradient_noise"][0], exact.trace[0]))
        runs[-1] += (model.history_["full_gradient_norm"][0] ** 2, exact.squared_norm[0])
    trace, exact_trace, squared, exact_squared = np.transpose(runs)
    for found, true in ((trace, exact_trace), (squared, exact_squared)):
        error = (found - true) / true
        assert error.std() > 0.0
        assert abs(error.mean()) < 4.0 * error.std() / np.sqrt(30)
    again = SGDRegressor(max_iter=1, tol=None, random_state=29, eta0=1e-4)
    again.fit(X, y, diagnostics=True)
    assert again.history_["gradient_noise"][0] == trace[-1]


def test_a_batch_size_is_suggested():
    """A tenth of the noise scale, as a power of 2; in words too."""
    model, y = fitted("log_loss")
    noise = gradient_noise(model, X, y)
    scale = float(noise.noise_scale[0])
    tenth = max(1.0, scale / 10.0)
    assert noise.suggested_batch_size == min(n, 2 ** round(np.log2(tenth)))
    assert f"{scale:,.0f} rows" in noise.explain()
    for squared, expected in ((1e12, 1), (noise.trace[0] / 3200.0, n), (0.0, n), (-1.0, n)):
        other = replace(noise, squared_norm=np.array([squared]))
        assert other.suggested_batch_size == expected
        assert ("lost in the noise" in other.explain()) == (squared <= 0.0)


def test_errors_name_what_is_wrong():
    model, y = fitted("log_loss")
    with pytest.raises(NotFittedError):
        gradient_noise(SGDClassifier(), X, y)
    with pytest.raises(ValueError, match="sample must be an integer >= 40"):
        gradient_noise(model, X, y, sample=5)
    with pytest.raises(ValueError, match="features"):
        gradient_noise(model, X[:, :2], y)
    with pytest.raises(ValueError, match="classes not in"):
        gradient_noise(model, X, np.where(y, 7, 0))
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="batch_size must be an integer >= 1"):
            gradient_noise(model, X, y).batch_trace(wrong)


@pytest.mark.parametrize("name", MODELS)
def test_batches_follow_the_law(name):
    """Measured noise is within five standard errors of that of batches without replacement."""
    model, y = fitted(name)
    found = batch_variance(model, X, y, random_state=0)
    assert_array_equal(found.batch_sizes, [1, 2, 4, 8, 16, 32, 60])
    exact = gradient_noise(model, X, y)
    assert_allclose(found.law, exact.trace.sum() / found.batch_sizes)
    assert_allclose(found.finite_law, [exact.batch_trace(m).sum() for m in found.batch_sizes])
    assert (np.abs(found.measured - found.finite_law)[:-1] < 5.0 * found.standard_error[:-1]).all()
    assert found.measured[-1] < 1e-20
    again = batch_variance(model, X, y, random_state=0, batch_sizes=[4, 2])
    assert_array_equal(again.batch_sizes, [2, 4])
    for wrong in ([], [0], [61], [1.5]):
        with pytest.raises(ValueError, match="batch_size"):
            batch_variance(model, X, y, batch_sizes=wrong)


@pytest.fixture
def axes():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt.subplots()[1]
    plt.close("all")


def test_displays_draw_what_was_measured(axes):
    model, y = MODELS["log_loss"]
    model.set_params(max_iter=4).fit(X, y, diagnostics=True)
    loss = LossCurveDisplay.from_estimator(model, ax=axes, color="k")
    assert loss.ax_ is axes
    assert loss.figure_ is axes.figure
    assert_array_equal(loss.line_.get_xydata(), np.column_stack([range(1, 5), model.loss_curve_]))
    assert loss.line_.get_color() == "k"
    assert loss.score_line_ is None
    model.set_params(early_stopping=True, max_iter=4).fit(X, y, diagnostics=True)
    scored = LossCurveDisplay.from_estimator(model)
    assert scored.ax_ is not axes
    assert_array_equal(scored.score_line_.get_ydata(), model.history_["validation_score"])
    noise = NoiseScaleDisplay.from_estimator(model, ax=axes)
    assert noise.ax_.get_yscale() == "log"
    assert_array_equal(noise.line_.get_ydata(), model.history_["noise_scale"])
    variance = BatchVarianceDisplay.from_estimator(model, X, y, random_state=0)
    for display in (loss, scored, noise, variance):
        display.figure_.canvas.draw()
        assert display.ax_.get_xlabel()
        assert display.ax_.get_ylabel()
    model.set_params(early_stopping=False).fit(X, y)
    with pytest.raises(ValueError, match="diagnostics=True"):
        NoiseScaleDisplay.from_estimator(model)
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(SGDClassifier())


def test_lost_gradients_are_marked(axes):
    display = NoiseScaleDisplay([1, 2], [1.0, 0.0], [2.0, 2.0], [2.0, np.inf], 8).plot(ax=axes)
    labels = [line.get_label() for line in display.ax_.get_lines()]
    assert "gradient lost in the sample's noise" in labels
    assert_array_equal(display.line_.get_xdata(), [1])


# ---------------------------------------------------------------- stability


def table(n=2000, seed=3):
    of = np.random.default_rng(seed)
    X = of.normal(size=(n, 5))
    score = X @ of.normal(size=5)
    return X, (score + of.logistic(size=n) > 0).astype(int), score + 0.3 * of.normal(size=n)


def found(model, X, y):
    report = stability_report(model, X, y)
    assert str(report).count("->") == len(report.findings)
    return {one.name: one for one in report.findings}, report


def test_nothing_is_wrong_with_the_defaults():
    X, labels, y = table()
    for model, targets in ((SGDClassifier("log_loss"), labels), (SGDRegressor(), y)):
        model.set_params(random_state=0)
        for state in ("before", "after"):
            findings, report = found(model, X, targets)
            assert not findings, (state, findings)
            assert report.rate <= report.stable_rate
            assert "Nothing found" in str(report)
            model.fit(X, targets)


def test_a_rate_above_two_over_l():
    """A run at the rate that is called stable settles, one at three times it diverges."""
    X, _, y = table()
    model = SGDRegressor(eta0=100.0, learning_rate="constant", random_state=0, max_iter=5, tol=None)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, y)
    findings, report = found(model, X, y)
    assert list(findings) == ["rate"]
    assert findings["rate"].measured["rate"] == 100.0
    safe = model.set_params(eta0=0.25 * report.stable_rate).fit(X, y)
    assert safe.score(X, y) > 0.8
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(eta0=3.0 * report.stable_rate, max_iter=100).fit(X, y)


def test_unscaled_columns_are_named():
    pandas = pytest.importorskip("pandas")
    X, labels, _ = table()
    frame = pandas.DataFrame(X * [1.0, 1.0, 5e3, 1.0, 0.01], columns=list("abcde"))
    model = SGDClassifier("log_loss", random_state=0)
    with pytest.warns(match="Feature scales differ"), pytest.warns(match="objective may still be"):
        model.fit(frame, labels)
    findings, _ = found(model, frame, labels)
    assert "column 'c'" in findings["scales"].description
    assert "column 'e'" in findings["scales"].description
    assert findings["scales"].advice == "standardize=True"
    better = SGDClassifier("log_loss", random_state=0, standardize=True).fit(frame, labels)
    assert "scales" not in found(better, frame, labels)[0]


def test_outliers_are_named():
    X, _, y = table()
    y[7] = 500.0
    model = SGDRegressor(random_state=0).fit(X, y)
    findings, _ = found(model, X, y)
    assert findings["outliers"].measured["row"] == 7
    assert "row 7" in findings["outliers"].description


def test_flipped_labels():
    X, _, y = table()
    labels = (y > 0).astype(int)
    model = SGDClassifier("log_loss", alpha=1e-6, random_state=0).fit(X, labels)
    assert "labels" not in found(model, X, labels)[0]
    wrong = np.random.default_rng(4).choice(2000, 100, replace=False)
    labels[wrong] = 1 - labels[wrong]
    assert found(model, X, labels)[0]["labels"].measured["wrong"] >= 50


def test_sorted_rows():
    X, labels, _ = table()
    order = np.argsort(labels)
    model = SGDClassifier("log_loss", random_state=0, shuffle=False).fit(X[order], labels[order])
    assert "sorted" in found(model, X[order], labels[order])[0]
    assert "sorted" not in found(model, X, labels)[0]
    model.set_params(shuffle=True).fit(X[order], labels[order])
    assert "sorted" not in found(model, X[order], labels[order])[0]


def test_a_constant_rate_stalls_in_its_noise():
    X, _, y = table()
    y += np.random.default_rng(5).normal(size=len(y))
    options = {"learning_rate": "constant", "random_state": 0, "tol": None, "max_iter": 20}
    model = SGDRegressor(eta0=0.05, **options).fit(X, y)
    finding = found(model, X, y)[0]["noise"]
    best = SGDRegressor(random_state=0, tol=None, max_iter=50).fit(X, y)
    losses = [0.5 * np.mean((one.predict(X) - y) ** 2) for one in (model, best)]
    assert finding.measured["floor"] < 5.0 * (losses[0] - losses[1])
    assert "noise" not in found(best, X, y)[0]
    assert "noise" not in found(SGDRegressor(eta0=1e-4, **options).fit(X, y), X, y)[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_report_of_every_kind_of_model(name):
    model, y = fitted(name)
    assert stability_report(model, X, y).stable_rate > 0.0
    assert stability_report(clone(model), X, y).stable_rate > 0.0


# ---------------------------------------------------------------- learning rates


@pytest.mark.parametrize("name", MODELS)
def test_the_suggested_rate_is_as_good_as_any(name):
    """Used as a constant rate it ends within a tenth of the best of a finer grid, and the
    estimator is as it was."""
    model, y = MODELS[name]
    X = np.random.default_rng(6).normal(size=(n, d)) if name == "one class" else globals()["X"]
    model = clone(model)
    found = rate_range(model, X, y, epochs=3)
    assert not hasattr(model, "n_features_in_")
    assert found.rates.shape == found.loss.shape == found.smoothed.shape == (30,)
    assert (np.diff(found.rates) > 0.0).all()
    coarse = np.abs(np.log2(found.rates / found.inverse_curvature) % 1.0 - 0.5) > 0.5 - 1e-9
    assert coarse.sum() == 16
    assert_allclose(found.rates[-1], 16.0 * found.inverse_curvature)
    assert found.rates[0] <= 2.0**-15 * found.rates[-1] * (1.0 + 1e-9)
    assert_allclose(2.0 * found.inverse_curvature, stability_report(model, X, y).stable_rate)
    finer = rate_range(model, X, y, rates=found.rates[0] * 2.0 ** np.linspace(0, 15, 61), epochs=3)
    at = np.abs(np.log(finer.rates / found.suggested)).argmin()
    least = finer.loss.min()
    assert finer.loss[at] - least <= 0.1 * max(abs(least), found.start_loss - least)


def test_runs_are_those_of_the_solver():
    model, y = MODELS["log_loss"]
    found = rate_range(clone(model), X, y, rates=[0.01, 0.1, 1.0], epochs=4)
    for rate, loss in zip(found.rates, found.loss, strict=True):
        options = {"learning_rate": "constant", "eta0": rate, "max_iter": 4, "random_state": 0}
        alone = SGDClassifier("log_loss", alpha=0.1, tol=None, **options).fit(X, y)
        z = np.where(y, 1.0, -1.0) * alone.decision_function(X)
        value = np.logaddexp(0.0, -z).mean() + 0.05 * np.square(alone.coef_).sum()
        assert_allclose(loss, value, rtol=1e-9)
    assert_allclose(found.start_loss, np.log(2.0))


def test_it_begins_where_a_fitted_model_is():
    model, y = fitted("squares")
    before = model.coef_.copy()
    found = rate_range(model, X, y)
    value = 0.5 * np.mean((model.predict(X) - y) ** 2)
    value += 0.5 * model.alpha * np.square(model.coef_).sum()
    assert_allclose(found.start_loss, value)
    assert_array_equal(model.coef_, before)


def test_rates_that_diverge():
    model, y = MODELS["squares"]
    found = rate_range(model, X, y, rates=[1e-3, 1e-2, 1e4, 1e5])
    assert_array_equal(np.isfinite(found.loss), [True, True, False, False])
    assert found.suggested <= 1e-2
    with pytest.raises(ValueError, match="diverges at every rate"):
        rate_range(model, X, y, rates=[1e4, 1e5, 1e6], epochs=20)
    for wrong in ([1.0], [0.0, 1.0, 2.0], [np.nan, 1.0, 2.0]):
        with pytest.raises(ValueError, match="rates must be"):
            rate_range(model, X, y, rates=wrong)
    with pytest.raises(ValueError, match="epochs must be"):
        rate_range(model, X, y, epochs=0)


def test_rates_are_drawn(axes):
    model, y = MODELS["squares"]
    display = LearningRateDisplay.from_estimator(model, X, y, rates=[1e-3, 1e-2, 0.1, 1e5], ax=axes)
    display.figure_.canvas.draw()
    labels = [line.get_label() for line in display.ax_.get_lines()]
    assert "diverged" in labels
    assert any(label.startswith("suggested") for label in labels)
    assert_array_equal(display.line_.get_xdata(), [1e-3, 1e-2, 0.1])


# ---------------------------------------------------------------- experiments

EXPERIMENTS = {
    "compare_batch_sizes": {},
    "compare_sampling": {},
    "compare_schedules": {"schedules": ("auto", "constant", "one_cycle")},
    "compare_momentum": {"momenta": (0.0, 0.9)},
    "linear_scaling": {"eta0": 0.01, "batch_sizes": (1, 8)},
    "noise_floor": {"rates": (0.01, 0.1)},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_runs_end_where_fits_do(name, axes):
    """At the last point of each run is the objective of the estimator fitted so."""
    model, y = MODELS["log_loss"]
    model = clone(model)
    found = getattr(insight, name)(model, X, y, epochs=2, **EXPERIMENTS[name])
    signs = np.where(y, 1.0, -1.0)
    for one in found.runs:
        alone = clone(model).set_params(max_iter=2, tol=None, **one.parameters).fit(X, y)
        z = signs * alone.decision_function(X)
        value = np.logaddexp(0.0, -z).mean() + 0.05 * np.square(alone.coef_).sum()
        assert_allclose(one.loss[-1], value, rtol=1e-12)
        assert_allclose(one.loss[0], np.log(2.0))
        assert (one.examples[0], one.examples[-1]) == (0, 2 * n)
        assert one.step[-1] == alone.t_ - 1
        for values in (one.step, one.examples, one.seconds):
            assert (np.diff(values) > 0).all()
        assert not one.diverged
        assert np.isnan(one.test_loss).all()
    assert len({one.label for one in found.runs}) == len(found.runs) > 1
    records = found.records
    assert len(records) == sum(len(one.step) for one in found.runs)
    assert set(records[0]) == {"run", "seed", "step", "examples", "seconds", "loss", "test_loss"}
    for x in ("examples", "step", "seconds"):
        display = found.plot(x=x, ax=axes)
        display.figure_.canvas.draw()
        assert len(display.lines_) == len(found.runs)
    for wrong in ({"x": "time"}, {"y": "score"}):
        with pytest.raises(ValueError, match="must be"):
            found.plot(**wrong)


def test_test_rows_and_divergence():
    model = SGDRegressor(random_state=0)
    test = X[:20], Y[:20]
    found = insight.compare(
        model,
        X[20:],
        Y[20:],
        variants={"low": {"eta0": 0.01}, "high": {"eta0": 100.0, "learning_rate": "constant"}},
        test=test,
    )
    low, high = found.runs
    alone = SGDRegressor(random_state=0, eta0=0.01, max_iter=3, tol=None).fit(X[20:], Y[20:])
    assert_allclose(low.test_loss[-1], 0.5 * np.mean((alone.predict(X[:20]) - Y[:20]) ** 2))
    assert high.diverged
    assert "diverged" in found.plot(y="test_loss").lines_[1].get_label()


def part_of(name, rows):
    """Test rows as a tuple: of targets, where the model has any."""
    y = MODELS[name][1]
    return (X[rows],) if y is None else (X[rows], y[rows])


@pytest.mark.parametrize("name", MODELS)
def test_test_rows_are_seen_as_the_trained_model_sees_them(name):
    """Of fewer classes, in another scale, one alone: losses add up to that of all rows."""
    model, y = MODELS[name]
    variants = {"one": {"batch_size": 8}}
    options = {"variants": variants, "epochs": 1}
    whole, *parts = (
        insight.compare(clone(model), X, y, test=part_of(name, rows), **options).runs[0].test_loss
        for rows in (np.arange(n), *np.split(np.argsort(Y), [1, 5, 50]))
    )
    sizes = np.array([1, 4, 45, 10])
    assert_allclose(sizes @ np.array(parts) / n, whole, rtol=1e-10)
    if name != "one class":  # whose loss has the term nu b
        free = clone(model).set_params(alpha=1e-12)
        test = part_of(name, np.arange(n))
        run = insight.compare(free, X, y, test=test, **options).runs[0]
        assert_allclose(run.test_loss, run.loss, rtol=1e-8)


@pytest.mark.parametrize("standardize", (False, True))
def test_test_rows_are_scaled_as_the_training_rows(standardize):
    far = X * [1.0, 5.0, 0.1, 1.0] + [0.0, 3.0, 0.0, 1.0]
    model = SGDRegressor(standardize=standardize, max_iter=3, tol=None, random_state=0, eta0=0.01)
    test = far[:10] + 4.0, Y[:10]
    run = insight.compare(model, far[10:], Y[10:], variants={"one": {}}, test=test).runs[0]
    alone = clone(model).fit(far[10:], Y[10:])
    expected = 0.5 * np.mean((alone.predict(test[0]) - Y[:10]) ** 2)
    assert_allclose(run.test_loss[-1], expected, rtol=1e-9)


def test_labels_of_test_rows_are_those_of_training():
    labels = np.array([0, 1, 5])[LABELS]
    some = labels != 1
    model = SGDClassifier("log_loss", multi_class="multinomial", **FEW)
    test = X[some], labels[some]
    run = insight.compare(model, X, labels, variants={"one": {}}, test=test).runs[0]
    right = clone(model).fit(X, labels).predict_proba(X[some])
    picked = right[np.arange(some.sum()), np.searchsorted([0, 1, 5], labels[some])]
    assert_allclose(run.test_loss[-1], -np.log(picked).mean(), rtol=1e-9)
    with pytest.raises(ValueError, match="test: `y` has classes not in"):
        insight.compare(model, X, labels, variants={"one": {}}, test=(X, LABELS))


def test_columns_of_test_rows_are_those_of_training():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    for wrong, said in (
        ((frame[list("bacd")], Y), "test: The feature names"),
        ((frame[["a", "b"]], Y), "test: The feature names"),
        ((frame * np.nan, Y), "test: Input X contains NaN"),
        ((X, Y, Y), "test must be a tuple"),
        (X, "test must be a tuple"),
    ):
        with pytest.raises(ValueError, match=said):
            insight.compare(SGDRegressor(), frame, Y, variants={"one": {}}, test=wrong)


CALLS = {
    "gradient_noise": gradient_noise,
    "batch_variance": lambda model, X, y: batch_variance(model, X, y, random_state=0),
    "rate_range": lambda model, X, y: rate_range(model, X, y, epochs=1),
    "stability_report": stability_report,
    "compare": lambda model, X, y: insight.compare(
        model, X, y, variants={"one": {}}, epochs=1, test=(X, y)
    ),
    "compare_batch_sizes": lambda model, X, y: insight.compare_batch_sizes(model, X, y, epochs=1),
    "compare_sampling": lambda model, X, y: insight.compare_sampling(model, X, y, epochs=1),
    "compare_schedules": lambda model, X, y: insight.compare_schedules(model, X, y, epochs=1),
    "compare_momentum": lambda model, X, y: insight.compare_momentum(model, X, y, epochs=1),
    "linear_scaling": lambda model, X, y: insight.linear_scaling(model, X, y, eta0=0.01, epochs=1),
    "noise_floor": lambda model, X, y: insight.noise_floor(model, X, y, rates=(0.01,), epochs=1),
    "trajectory": insight.trajectory,
    "explore": lambda model, X, y: insight.explore(X=X, y=y, estimator=model, steps=2),
}
"""Every function of ``insight`` that takes an estimator and rows."""


def numbers_of(found):
    """All that a result holds, but for times."""
    if isinstance(found, insight.Experiment):
        return [(one.step, one.loss, one.test_loss) for one in found.runs]
    if isinstance(found, insight.Exploration):
        return [(run.weights, run.loss) for run in found.runs]
    if isinstance(found, insight.StabilityReport):
        return str(found)
    return [value for value in vars(found).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("name", CALLS)
def test_rows_of_every_kind(name):
    """Lists, read-only arrays, frames and targets of one column give the same as arrays."""
    model = SGDRegressor(alpha=0.01, **FEW).fit(X, Y)
    expected = numbers_of(CALLS[name](model, X, Y))
    locked = X.copy(), Y.copy()
    for array in locked:
        array.flags.writeable = False
    kinds = {
        "lists": (X.tolist(), Y.tolist()),
        "read-only": locked,
        "Fortran": (np.asfortranarray(X), Y),
    }
    for kind, (A, y) in kinds.items():
        np.testing.assert_equal(numbers_of(CALLS[name](model, A, y)), expected, err_msg=kind)
    with pytest.warns(Warning, match="column-vector"):
        found = CALLS[name](model, X, Y[:, None])
    np.testing.assert_equal(numbers_of(found), expected)


@pytest.mark.parametrize("layout", (np.asarray, np.ndarray.tolist, sp.csr_array))
@pytest.mark.parametrize("name", CALLS)
def test_values_that_are_not_finite_are_named(name, layout):
    model = SGDRegressor(alpha=0.01, **FEW).fit(X, Y)
    for value, said in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")):
        wrong = X.copy()
        wrong[7, 2] = value
        with pytest.raises(ValueError, match=said):
            CALLS[name](model, layout(wrong), Y)
        with pytest.raises(ValueError, match=r"Input y contains|y contains"):
            CALLS[name](model, X, np.where(np.arange(n) == 3, value, Y))


@pytest.mark.parametrize("name", CALLS)
def test_pipelines_and_searches_are_told_what_to_pass(name):
    scaled = make_pipeline(StandardScaler(), SGDRegressor(**FEW)).fit(X, Y)
    search = GridSearchCV(SGDRegressor(**FEW), {"alpha": [0.1]}, cv=2)
    for wrong, said in (
        (scaled, r"got Pipeline. Pass the last step, pipeline\[-1\]"),
        (search, "got GridSearchCV. Pass best_estimator_"),
        (BaggingRegressor(SGDRegressor()), "got BaggingRegressor. Pass one of the estimators"),
        (SGDRegressor, "got the class SGDRegressor"),
        (LinearRegression(), "got LinearRegression$"),
        ("model", "got str$"),
    ):
        with pytest.raises(ValueError, match=f"estimator must be an SGDClassifier.*{said}"):
            CALLS[name](wrong, X, Y)


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        (rate_range, {"rates": 0.1}, "rates must be a sequence of numbers"),
        (rate_range, {"rates": "fast"}, "rates must be a sequence of numbers"),
        (rate_range, {"epochs": None}, "epochs must be an integer"),
        (batch_variance, {"batch_sizes": 8}, "batch_sizes must be a sequence of numbers"),
        (batch_variance, {"batch_sizes": (0, 2)}, "batch_sizes must be an integer >= 1"),
        (batch_variance, {"batch_sizes": (1, 61)}, "batch_sizes must be integers from 1 to 60"),
        (gradient_noise, {"sample": "all"}, "sample must be an integer"),
        (insight.noise_floor, {"rates": 0.1}, "rates must be a sequence of numbers"),
        (insight.noise_floor, {"rates": (0.0,)}, "eta0"),
        (insight.linear_scaling, {"eta0": 0.1, "batch_sizes": 8}, "batch_sizes must be a sequence"),
        (insight.linear_scaling, {"eta0": (0.1,)}, "eta0 must be a number"),
        (insight.compare_momentum, {"momenta": 0.9}, "momenta must be a sequence of numbers"),
        (insight.compare_schedules, {"schedules": "auto"}, "schedules must be a sequence of str"),
        (insight.compare_batch_sizes, {"batch_sizes": (8.5,)}, "batch_sizes must be an integer"),
        (insight.compare_sampling, {"epochs": 0}, "epochs must be an integer"),
        (insight.trajectory, {"coordinates": (0, 4)}, "coordinates must be two"),
        (insight.trajectory, {"coordinates": (0, 1, 2)}, "coordinates must be two"),
        (insight.trajectory, {"points": 0}, "points must be an integer"),
    ],
)
def test_arguments_of_insight_are_named(function, arguments, said):
    with pytest.raises(ValueError, match=said):
        function(SGDRegressor(**FEW).fit(X, Y), X, Y, **arguments)


def test_parameters_of_an_estimator_that_was_not_fitted_are_checked():
    with pytest.raises(ValueError, match="'alpha' parameter"):
        rate_range(SGDRegressor(alpha=-1.0), X, Y)
    with pytest.raises(ValueError, match="'batch_size' parameter"):
        insight.compare(SGDRegressor(), X, Y, variants={"one": {"batch_size": "x"}})


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_has_loss_curves(name):
    model, y = MODELS[name]
    found = insight.compare(clone(model), X, y, variants={"one": {}}, epochs=1)
    assert np.isfinite(found.runs[0].loss).all()
    if name == "one class":  # which begins at rho = 0: no hinge, and nu b
        assert_allclose(found.runs[0].loss[0], 0.3)
    assert found.runs[0].examples[-1] == n


# ---------------------------------------------------------------- trajectories

ONE_OUTPUT = ("log_loss", "balanced", "squares", "no intercept", "standardised", "elastic net")


@pytest.mark.parametrize("name", (*ONE_OUTPUT, "one class"))
def test_a_path_is_that_of_the_solver(name):
    """It ends, to the bit, where fits end, and the slice has the objective's value there."""
    model, y = MODELS[name]
    model = clone(model)
    found = insight.trajectory(model, X, y, coordinates=(2, 0), epochs=3, points=40)
    assert list(found.paths) == ["single samples", "batches of 32", "full batch"]
    for label, m in zip(found.paths, (1, 32, n), strict=True):
        run = clone(model).set_params(batch_size=m, max_iter=3, tol=None)
        alone = run.fit(X) if y is None else run.fit(X, y)
        trained = problem_of(alone, X, y)
        exact = np.ravel(alone._continuation.state.weights(trained.settings)[0])[[2, 0]]
        assert_array_equal(found.paths[label][-1], exact)
        assert_array_equal(found.paths[label][0], [0.0, 0.0])
        steps = 3 * -(-n // m)
        assert min(40, steps) / 2 < len(found.paths[label]) <= min(40, steps) + 4
    first = clone(model).set_params(batch_size=1, max_iter=3, tol=None)
    first = first.fit(X) if y is None else first.fit(X, y)
    problem = problem_of(first, X, y)
    where = found.second.searchsorted(found.paths["single samples"][-1][1])
    at = found.first.searchsorted(found.paths["single samples"][-1][0])
    moved = problem.coef.copy()
    moved[0, [2, 0]] = found.first[at], found.second[where]
    value, _ = Objective(problem.data, problem.lanes, problem.settings)(moved, problem.intercept)
    assert_allclose(found.loss[where, at], value[0], rtol=1e-6)


def test_paths_are_drawn(axes):
    model, y = MODELS["squares"]
    variants = {"slow": {"eta0": 0.001}, "fast": {"eta0": 0.02}}
    display = TrajectoryDisplay.from_estimator(clone(model), X, y, variants=variants, ax=axes)
    display.figure_.canvas.draw()
    assert len(display.lines_) == 2
    assert display.ax_.get_xlabel() == "w[0]"
    for wrong in ((0, 0), (0, 9), (-1, 0)):
        with pytest.raises(ValueError, match="coordinates must be two"):
            insight.trajectory(clone(model), X, y, coordinates=wrong)
    with pytest.raises(ValueError, match="one output"):
        insight.trajectory(clone(MODELS["softmax"][0]), X, LABELS)
