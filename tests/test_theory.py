"""The theory of SGD, as numbers that both engines must give: the NumPy twin and the compiled core.

Examples small enough for pencil and paper; the mean and the variance of the gradient over all
batches, by enumeration; PyTorch's momentum, from a recording; and where a run ends.
"""

import importlib
import json
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product
from math import ceil, comb, cos, floor, pi
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import sign_targets

from fastsgd import reference
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import SCHEDULES, Schedule

PLAIN = Settings(fit_intercept=False, sampling="sequential")
PYTORCH = json.loads((Path(__file__).parent / "data" / "pytorch_momentum.json").read_text())


@pytest.fixture(params=("reference", "solver"))
def engine(request):
    """The twin or the compiled core: modules of the same names and signatures."""
    return importlib.import_module(f"fastsgd.{request.param}")


def column(*values):
    """One feature: values as an array of shape (n, 1)."""
    return np.array(values, dtype=np.float64)[:, None]


def settings_of(loss):
    """Settings of any loss; an intercept, which no L2 term holds, where the loss is bounded."""
    entry = LOSSES[loss]
    return Settings(loss, sign_targets(loss), fit_intercept=entry.infimum != -np.inf)


def lanes_of(loss, **numbers):
    """One lane; of a coupled loss the two classes."""
    coupled = LOSSES[loss].coupled
    return Lanes(2 if coupled else 1, label=[1.0, 0.0] if coupled else 1.0, **numbers)


def gradient_at(engine, data, lanes, settings, w=0.0, rows=None):
    """Gradient of lane 0 at weights w (d,) and intercept 0, shape (d,) and, with b, (d + 1,)."""
    state = engine.State(data, lanes, settings)
    state.set_weights(np.full((lanes.k, data.d), w), np.zeros(lanes.k))
    rows = None if rows is None else np.array(rows, dtype=np.int64)
    g, g_b = engine.gradient(data, lanes, settings, state, rows)
    return np.append(g[:, 0], g_b[0]) if settings.fit_intercept else np.array(g[:, 0])


def iterates(engine, data, lanes, settings, steps):
    """Weights with the intercept as last column after every step, shape (steps, K, d + 1)."""
    state = engine.State(data, lanes, settings)
    out = []
    for _ in range(steps):
        engine.run_epoch(data, lanes, settings, state, batches=1)
        out.append(np.column_stack(state.weights(settings)))
    return np.array(out)


def epoch_ends(engine, data, lanes, settings, epochs):
    """Weights after every epoch, shape (epochs, K, d)."""
    state = engine.State(data, lanes, settings)
    out = []
    for _ in range(epochs):
        engine.run_epoch(data, lanes, settings, state)
        out.append(state.weights(settings)[0])
    return np.array(out)


def noisy_least_squares(n=200, d=3, noise=1.0):
    """Regression whose residuals do not vanish, and its optimum by lstsq; no intercept."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, d))
    y = X @ np.array([1.0, -2.0, 0.5]) + noise * rng.normal(size=n)
    optimum, residual, *_ = np.linalg.lstsq(X, y, rcond=None)
    assert residual / n > 0.5 * noise**2  # else no constant rate would be noisy at the optimum
    return Data(X, y), optimum


def two_classes(n=40, d=3):
    """Overlapping classes, labels 0 and 1, all of class 0 first."""
    rng = np.random.default_rng(11)
    y = np.repeat([0.0, 1.0], n // 2)
    return Data(rng.normal(size=(n, d)) + y[:, None], y)


# ---------------------------------------------------------------- pencil and paper


def test_three_steps_of_1d_least_squares(engine):
    """w <- w - eta (w x - y) x on (1, 2), (2, 0), (1, 2): 0.2, 0.12, 0.308."""
    data, lanes = Data(column(1, 2), np.array([2.0, 0.0])), Lanes(1, alpha=0.0, eta0=0.1)
    w = iterates(engine, data, lanes, PLAIN, steps=3)[:, 0, 0]
    assert_allclose(w, [0.2, 0.12, 0.308], rtol=1e-14)


def test_state_counts_updates_epochs_and_rows(engine):
    """Three single-sample steps over n = 2: t = 3, one epoch done, row 1 of the second."""
    data, lanes = Data(column(1, 2), np.array([2.0, 0.0])), Lanes(1, alpha=0.0, eta0=0.1)
    state = engine.State(data, lanes, PLAIN)
    for _ in range(3):
        engine.run_epoch(data, lanes, PLAIN, state, batches=1)
    assert (int(state.t[0]), state.epoch, state.row) == (3, 1, 1)


@pytest.mark.parametrize("batch_size", (2, 10))
def test_full_batch_step_from_012(engine, batch_size):
    """(1/2) sum (w x - y) x = -0.70 at w = 0.12, and 0.12 + 0.1 * 0.70 = 0.19; m > n means n."""
    data, lanes = Data(column(1, 2), np.array([2.0, 0.0])), Lanes(1, alpha=0.0, eta0=0.1)
    settings = replace(PLAIN, batch_size=batch_size)
    assert_allclose(gradient_at(engine, data, lanes, settings, 0.12), [-0.70], rtol=1e-14)
    state = engine.State(data, lanes, settings)
    state.set_weights(np.array([[0.12]]), np.zeros(1))
    engine.run_epoch(data, lanes, settings, state)
    assert_allclose(state.weights(settings)[0], [[0.19]], rtol=1e-14)


@pytest.mark.parametrize("eta", (0.1, 0.03))
def test_batch_of_two(engine, eta):
    """{(1, 2), (3, 1)} at w = 0: g = ((0 - 2) 1 + (0 - 1) 3) / 2 = -2.5, next w = 2.5 eta."""
    data, lanes = Data(column(1, 3), np.array([2.0, 1.0])), Lanes(1, alpha=0.0, eta0=eta)
    settings = replace(PLAIN, batch_size=2)
    assert_allclose(gradient_at(engine, data, lanes, settings), [-2.5], rtol=1e-14)
    assert_allclose(iterates(engine, data, lanes, settings, 1)[0, 0, 0], 2.5 * eta, rtol=1e-14)


def test_l2_term_adds_alpha_w_to_the_step(engine):
    """w <- w - eta (g + alpha w), b <- b - eta g_b: the penalty moves the weight alone."""
    data = Data(column(1, 3), np.array([2.0, 1.0]))
    lanes, settings = Lanes(1, alpha=0.5, eta0=0.1), replace(PLAIN, fit_intercept=True)
    state = engine.State(data, lanes, settings)
    state.set_weights(np.array([[4.0]]), np.array([1.0]))
    engine.run_epoch(data, lanes, settings, state, batches=1)
    coef, intercept = state.weights(settings)  # z - y = 4 + 1 - 2 = 3
    assert_allclose(coef[0, 0], 4.0 - 0.1 * (3.0 * 1.0 + 0.5 * 4.0), rtol=1e-14)
    assert_allclose(intercept[0], 1.0 - 0.1 * 3.0, rtol=1e-14)


def test_logistic_gradient_is_p_minus_y_times_x(engine):
    """g_i = (p_i - y_i) x_i with p = 1 / (1 + exp(-x . w)) and y in {0, 1}; a batch: their mean."""
    data, lanes = two_classes(), Lanes(1, alpha=0.0, eta0=0.1)
    settings = replace(PLAIN, loss="log_loss", sign_targets=True, fit_intercept=True)
    w = np.array([0.5, -1.0, 0.25])
    residual = 1.0 / (1.0 + np.exp(-data.X @ w)) - data.y[:, 0]
    expected = residual[:, None] * np.column_stack([data.X, np.ones(data.n)])
    for i in range(data.n):
        one = gradient_at(engine, data, lanes, settings, w, [i])
        assert_allclose(one, expected[i], rtol=1e-12)
    batch = [3, 17, 30, 39]
    mean = gradient_at(engine, data, lanes, settings, w, batch)
    assert_allclose(mean, expected[batch].mean(axis=0), rtol=1e-12)


# ---------------------------------------------------------------- the gradient of the mean


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_derivative_of_the_objective(engine, loss):
    """grad L by central differences, with sample and class weights, a zero one among them."""
    labels, weight = np.array([1.0, 0.0, 0.0, 1.0, 1.0]), np.array([1.0, 0.5, 3.0, 0.0, 2.0])
    data = Data(np.random.default_rng(5).normal(size=(5, 2)), labels, weight)
    lanes = lanes_of(loss, alpha=0.3, eta0=0.1, weight_positive=1.5, weight_negative=0.5)
    settings, w, h = settings_of(loss), np.array([0.7, -0.4]), 1e-6

    def objective(shift):
        start = np.append(w, 0.0)[:, None] + np.zeros(lanes.k)  # lane 0 alone is moved
        start[2] = 0.0
        start[:, 0] += shift
        return reference.objective(data, lanes, settings, start[:2], start[2])[0]

    slopes = [(objective(h * e) - objective(-h * e)) / (2 * h) for e in np.eye(3)]
    g = gradient_at(engine, data, lanes, settings, w)
    assert (np.abs(g) > 0.002).all()
    assert_allclose(g, slopes[: len(g)], rtol=1e-6)


@pytest.mark.parametrize("loss", ("squared_error", "log_loss"))
def test_gradient_of_the_mean_loss_is_the_mean_gradient(engine, loss):
    """grad (1/n) sum_i loss_i = (1/n) sum_i grad loss_i, and not grad loss at (mean x, mean y)."""
    real = loss == "squared_error"
    X, y = column(1, 3), np.array([2.0, 1.0]) if real else np.array([1.0, 1.0])
    lanes = Lanes(1, alpha=0.0, eta0=0.1)
    settings = replace(PLAIN, loss=loss, sign_targets=not real)
    # At w = 0 every logistic slope is equal and the two would agree.
    full, first, second = (
        gradient_at(engine, Data(X, y), lanes, settings, 0.5, rows) for rows in (None, [0], [1])
    )
    averaged = Data(X.mean(axis=0, keepdims=True), y.mean(keepdims=True))
    at_average = gradient_at(engine, averaged, lanes, settings, 0.5)
    assert_allclose(full, (first + second) / 2, rtol=1e-14)
    assert abs(full - at_average) > 0.05


def test_linear_loss_has_a_constant_gradient(engine):
    """J = mean(y - theta x): grad J = -mean(x) at every theta; the L2 term adds alpha theta."""
    data = Data(column(1, 2, 6), np.array([4.0, -1.0, 0.5]))
    lanes, settings = Lanes(1, alpha=0.5, eta0=0.1), replace(PLAIN, loss="linear")
    for theta in (-100.0, -1.0, 0.0, 2.0, 100.0):
        g = gradient_at(engine, data, lanes, settings, theta) - 0.5 * theta
        assert_allclose(g, [-3.0], rtol=1e-13)


def test_linear_loss_without_l2_is_refused(engine):
    """inf J = -inf without an L2 term: no minimum, so nothing to train."""
    data, settings = Data(column(1, 2, 6), np.zeros(3)), replace(PLAIN, loss="linear")
    with pytest.raises(ValueError, match=r"no minimum.*alpha must be > 0, got 0\.0"):
        engine.State(data, Lanes(1, alpha=0.0, eta0=0.1), settings)
    with pytest.raises(ValueError, match="no minimum"):
        engine.State(data, Lanes(2, alpha=[1.0, 0.0], eta0=0.1), settings)


def test_linear_loss_with_l2_reaches_its_closed_form(engine):
    """-mean(x) + alpha w = 0 at w = mean(x) / alpha."""
    data = Data(column(1, 2, 6), np.array([4.0, -1.0, 0.5]))
    lanes = Lanes(2, alpha=[0.5, 2.0], eta0=[1.0, 0.25])
    settings = replace(PLAIN, loss="linear", batch_size=3)
    w = epoch_ends(engine, data, lanes, settings, epochs=60)[-1, :, 0]
    assert_allclose(w, [3.0 / 0.5, 3.0 / 2.0], rtol=1e-12)


# ---------------------------------------------------------------- mean and variance of g


@pytest.mark.parametrize("m", (1, 2, 3))
@pytest.mark.parametrize("replacement", (True, False))
@pytest.mark.parametrize("loss", LOSSES)
def test_batch_gradient_is_unbiased(engine, loss, replacement, m):
    """The mean of g over all batches of m rows is grad L, with and without replacement."""
    rng = np.random.default_rng(3)
    data = Data(rng.normal(size=(5, 2)), np.array([1.0, 0.0, 0.0, 1.0, 1.0]))
    lanes = lanes_of(loss, alpha=0.1, eta0=0.1)
    settings = settings_of(loss)
    w = np.array([0.7, -0.4])
    batches = product(range(5), repeat=m) if replacement else combinations(range(5), m)
    g = np.array([gradient_at(engine, data, lanes, settings, w, rows) for rows in batches])
    assert len(g) == (5**m if replacement else comb(5, m))
    assert (np.ptp(g, axis=0) > 0.1).all()
    full = gradient_at(engine, data, lanes, settings, w)
    assert_allclose(g.mean(axis=0), full, rtol=0, atol=1e-14)


@pytest.mark.parametrize("m", (1, 2, 3, 4))
def test_variance_with_replacement_is_sigma2_over_m(engine, m):
    """Var(g_m) = sigma^2 / m over all n^m batches, n = 4."""
    data = Data(column(1, 2, -1, 3), np.array([2.0, 0.0, 1.0, -1.0]))
    lanes = Lanes(1, alpha=0.0, eta0=0.1)
    sigma2 = np.var([gradient_at(engine, data, lanes, PLAIN, 0.5, [i]) for i in range(4)])
    batches = product(range(4), repeat=m)
    g = [gradient_at(engine, data, lanes, PLAIN, 0.5, rows) for rows in batches]
    assert sigma2 > 1.0
    assert_allclose(np.var(g), sigma2 / m, rtol=1e-12)


@pytest.mark.parametrize("m", (1, 2, 3, 4, 5))
def test_variance_without_replacement_has_the_finite_population_factor(engine, m):
    """Var(g_m) = sigma^2 / m * (n - m) / (n - 1) over all batches, n = 5; zero at m = n."""
    data = Data(column(1, 2, -1, 3, 0.5), np.array([2.0, 0.0, 1.0, -1.0, 4.0]))
    lanes = Lanes(1, alpha=0.0, eta0=0.1)
    sigma2 = np.var([gradient_at(engine, data, lanes, PLAIN, 0.5, [i]) for i in range(5)])
    g = [gradient_at(engine, data, lanes, PLAIN, 0.5, rows) for rows in combinations(range(5), m)]
    assert sigma2 > 1.0
    assert_allclose(np.var(g), sigma2 / m * (5 - m) / (5 - 1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("m", "deviation"), ((1, 4.0), (4, 2.0), (16, 1.0)))
def test_deviation_halves_when_the_batch_quadruples(engine, m, deviation):
    """sigma^2 = 16: sqrt(16 / m) = 4, 2, 1 at m = 1, 4, 16.

    The two examples have gradients -4 and +4, so of the 2^m batches comb(m, j) have j rows of the
    second kind and one gradient in common.
    """
    data, lanes = Data(column(1, 1), np.array([4.0, -4.0])), Lanes(1, alpha=0.0, eta0=0.1)
    counts = range(m + 1)
    g = np.array(
        [gradient_at(engine, data, lanes, PLAIN, 0.0, [0] * (m - j) + [1] * j)[0] for j in counts]
    )
    p = np.array([comb(m, j) / 2**m for j in counts])
    assert (g[0], g[-1]) == (-4.0, 4.0)
    assert p @ g == pytest.approx(0.0, abs=1e-14)
    assert np.sqrt(p @ g**2) == pytest.approx(deviation, rel=1e-14)


@pytest.mark.parametrize("m", (4, 8))
@pytest.mark.parametrize("sampling", ("replacement", "reshuffle"))
def test_the_batches_of_a_run_have_that_variance(engine, sampling, m):
    """Var(g_t) over a run is 16 / m, times (n - m) / (n - 1) without replacement, n = 16.

    The linear loss has the gradient -mean(x) at any w, so a step shows the batch it drew.
    """
    n, eta, steps = 16, 0.125, 1600
    data = Data(column(*[4.0, -4.0] * (n // 2)), np.zeros(n))
    lanes = Lanes(1, alpha=1e-12, eta0=eta)
    settings = replace(PLAIN, loss="linear", batch_size=m, sampling=sampling, seed=5)
    w = iterates(engine, data, lanes, settings, steps)[:, 0, 0]
    g = -np.diff(w, prepend=0.0) / eta
    factor = 1.0 if sampling == "replacement" else (n - m) / (n - 1)
    # Three standard errors of a sample variance, and less than what tells the two samplings apart.
    assert g.var() == pytest.approx(16.0 / m * factor, rel=0.15)


# ---------------------------------------------------------------- momentum


@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize(
    "run", PYTORCH["runs"], ids=lambda run: f"{run['loss']}-{run['momentum']}-{run['nesterov']}"
)
def test_momentum_is_that_of_pytorch(engine, run, k):
    """v = beta v + g, theta = theta - eta v (Nesterov: eta (g + beta v)), step by step.

    g holds the weight decay of the weight and none of the intercept; dampening is 0. K equal lanes
    take the same trajectory.
    """
    data = Data(np.array(PYTORCH["X"]), np.array(PYTORCH["y"][run["loss"]]))
    lanes = Lanes(k, alpha=PYTORCH["alpha"], eta0=PYTORCH["eta"])
    settings = Settings(
        loss=run["loss"],
        sign_targets=run["loss"] == "log_loss",
        batch_size=PYTORCH["batch_size"],
        optimizer=SGD(run["momentum"], run["nesterov"]),
        sampling="sequential",
    )
    expected = np.array(run["weights"])
    assert len(expected) == PYTORCH["epochs"] * ceil(data.n / settings.batch_size)
    weights = iterates(engine, data, lanes, settings, len(expected))
    for lane in range(k):
        error = np.linalg.norm(weights[:, lane] - expected, axis=1)
        assert (error <= 1e-12 * np.linalg.norm(expected, axis=1)).all()


def test_recorded_momentum_runs_differ():
    """A recording in which beta or Nesterov had no effect would prove nothing."""
    ends = {tuple(np.round(run["weights"][-1], 3)) for run in PYTORCH["runs"]}
    assert len(ends) == len(PYTORCH["runs"]) == 12


@pytest.mark.parametrize("beta", (-0.1, 1.0, 1.5, float("nan")))
def test_momentum_outside_0_1_is_refused(beta):
    """beta in [0, 1): from 1 on, v does not forget."""
    with pytest.raises(ValueError, match="momentum must be in"):
        SGD(momentum=beta)


# ---------------------------------------------------------------- the order of samples


@pytest.mark.parametrize("seed", range(3))
def test_reshuffling_beats_a_sorted_order(engine, seed):
    """One class first: storage order ends each epoch biased to the other, a reshuffled one not."""
    data, lanes = two_classes(n=100), Lanes(1, alpha=0.01, eta0=0.3)
    objective = {}
    for sampling in ("reshuffle", "sequential"):
        settings = Settings(loss="log_loss", sign_targets=True, sampling=sampling, seed=seed)
        state = engine.State(data, lanes, settings)
        for _ in range(5):
            engine.run_epoch(data, lanes, settings, state)
        coef, intercept = state.weights(settings)
        objective[sampling] = reference.objective(data, lanes, settings, coef.T, intercept)[0]
    assert objective["reshuffle"] < 0.8 * objective["sequential"]


# ---------------------------------------------------------------- where a run ends


@pytest.mark.parametrize("sampling", ("replacement", "reshuffle"))
def test_constant_rate_ends_in_a_neighbourhood_that_grows_with_eta(engine, sampling):
    """Mean of |w - w*|^2 over the last epochs: it stays above zero and rises with eta."""
    data, optimum = noisy_least_squares()
    lanes = Lanes(3, alpha=0.0, eta0=[0.02, 0.08, 0.32])
    settings = Settings(batch_size=4, fit_intercept=False, sampling=sampling)
    w = epoch_ends(engine, data, lanes, settings, epochs=60)[20:]
    small, middle, large = ((w - optimum) ** 2).sum(axis=2).mean(axis=0)
    assert 1e-5 < small < middle / 2 < large / 4


def test_decaying_rate_converges(engine):
    """eta_t = eta0 / (1 + eta0 mu (t - 1)) goes to the optimum that a constant rate circles."""
    data, optimum = noisy_least_squares()
    lanes = Lanes(1, alpha=0.0, eta0=0.2, mu=0.5)
    distance = {}
    for kind in ("constant", "inverse"):
        settings = Settings(
            batch_size=4, fit_intercept=False, sampling="replacement", schedule=Schedule(kind, 1.0)
        )
        w = epoch_ends(engine, data, lanes, settings, epochs=100)[:, 0]
        distance[kind] = ((w - optimum) ** 2).sum(axis=1)
    constant, decaying = distance["constant"], distance["inverse"]
    assert decaying[-20:].mean() < 0.2 * decaying[:10].mean()
    assert decaying[-20:].mean() < 0.05 * constant[-20:].mean()
    assert constant[-20:].mean() > 0.3 * constant[20:40].mean()


@pytest.mark.parametrize("seed", range(3))
def test_averaging_lands_nearer_than_the_last_iterate(engine, seed):
    """|mean_t w_t - w*| < |w_T - w*| at a constant rate (Polyak & Juditsky 1992)."""
    data, optimum = noisy_least_squares()
    lanes = Lanes(1, alpha=0.0, eta0=0.2)
    settings = Settings(batch_size=4, fit_intercept=False, sampling="replacement", seed=seed)
    last, average = (
        epoch_ends(engine, data, lanes, replace(settings, average=start), epochs=30)[-1, 0]
        for start in (0, 1)
    )
    assert np.linalg.norm(average - optimum) < 0.7 * np.linalg.norm(last - optimum)


@pytest.mark.parametrize("momentum", (0.0, 0.9))
@pytest.mark.parametrize("start", (1, 3))
def test_average_is_the_mean_of_the_iterates_from_its_start(engine, start, momentum):
    """a_t = mean(w_start, ..., w_t), the intercept too; before, the model is w_t itself."""
    data, lanes = two_classes(), Lanes(1, alpha=0.1, eta0=0.1)
    settings = Settings(loss="log_loss", sign_targets=True, batch_size=7, optimizer=SGD(momentum))
    w = iterates(engine, data, lanes, settings, steps=10)
    a = iterates(engine, data, lanes, replace(settings, average=start), steps=10)
    assert_allclose(a[: start - 1], w[: start - 1], rtol=1e-13)
    for t in range(start, 11):
        assert_allclose(a[t - 1], w[start - 1 : t].mean(axis=0), rtol=1e-12, atol=1e-15)


# ---------------------------------------------------------------- learning rates

FORMULAS = {
    "constant": lambda eta0, mu, t, e: eta0,
    "inverse": lambda eta0, mu, t, e: eta0 / (1 + eta0 * mu * (t - 1)) ** 0.6,
    "invscaling": lambda eta0, mu, t, e: eta0 / t**0.6,
    "step": lambda eta0, mu, t, e: eta0 * 0.3 ** floor(e / 1.5),
    "exponential": lambda eta0, mu, t, e: eta0 * 0.3**e,
    "cosine": lambda eta0, mu, t, e: eta0 * (0.1 + 0.9 * (1 + cos(pi * min(1, e / 4))) / 2),
    "polynomial": lambda eta0, mu, t, e: eta0 * (0.1 + 0.9 * (1 - min(1, e / 4)) ** 3),
    "one_cycle": lambda eta0, mu, t, e: eta0 * one_cycle(min(1, e / 4)),
    "harmonic": lambda eta0, mu, t, e: harmonic(eta0, mu, t, 1 - min(1, e / 4)),
    "callable": lambda eta0, mu, t, e: 0.3 / (t + e),
}


def one_cycle(x):
    """1/25 at 0, 1 at 0.4, 1/250,000 at 1, half a cosine each."""
    if x < 0.4:
        return 1 / 25 + (1 - 1 / 25) * (1 - cos(pi * x / 0.4)) / 2
    return 1 / 250_000 + (1 - 1 / 250_000) * (1 + cos(pi * (x - 0.4) / 0.6)) / 2


def harmonic(eta0, mu, t, u):
    """eta0 u^2 without mu, else half of the harmonic mean of eta0 u and 1 / (mu (t - 1))."""
    return eta0 * u / (1 + eta0 * u * mu * (t - 1)) if mu else eta0 * u**2


def schedule_of(kind, warmup_steps=0):
    """The schedule of FORMULAS."""
    return Schedule(
        kind,
        0.6,
        0.3,
        1.5,
        4.0,
        warmup_steps,
        power=3.0,
        final=0.1 if kind in ("cosine", "polynomial") else 0.0,
        rise=0.4,
        function=(lambda step, epoch: 0.3 / (step + epoch)) if kind == "callable" else None,
    )


def rates_of_steps(engine, lanes, schedule, steps):
    """The rates that a run applies, shape (steps, K).

    With x = 1 the linear loss has the gradient -1 everywhere, so each step of w is a rate. Five
    rows in batches of two: three steps an epoch, the last one short.
    """
    data = Data(np.ones((5, 1)), np.zeros(5))
    settings = replace(PLAIN, loss="linear", batch_size=2, schedule=schedule)
    w = iterates(engine, data, lanes, settings, steps)[:, :, 0]
    return np.diff(w, axis=0, prepend=0.0)


TINY = np.finfo(np.float64).tiny
RANGES = {
    "decay": ((TINY, 1.0), (0.0, 5e-324, 1.1)),
    "final": ((0.0, 1.0), (-0.1, 1.1)),
    "rise": ((5e-324, 0.999), (0.0, 1.0)),
    "power": ((5e-324, 1e9), (0.0, np.inf)),
    "step_epochs": ((5e-324, 1e9), (0.0, np.inf)),
    "total_epochs": ((5e-324, 1e9), (0.0, np.inf)),
    "warmup_steps": ((0, 2**62 - 1), (-1, 2**62)),
}
"""Ends of what the constants of a schedule may be, and what is beyond."""


@pytest.mark.parametrize("name", RANGES)
def test_constants_of_a_schedule_are_in_their_ranges(name):
    inside, outside = RANGES[name]
    for value in inside:
        assert getattr(Schedule("cosine", **{name: value}), name) == value
    for value in outside:
        with pytest.raises(ValueError, match=f"{name} must be"):
            Schedule("cosine", **{name: value})


def test_a_users_rate_is_a_number_from_0_on():
    for value in (0.0, 1e-300, 1e300):
        assert Schedule("callable", function=lambda t, e, value=value: value).at(1, 0.0) == value
    for value in (-1e-300, np.inf, np.nan, "1.0", None):
        with pytest.raises(ValueError, match="finite number >= 0"):
            Schedule("callable", function=lambda t, e, value=value: value).at(1, 0.0)


@pytest.mark.parametrize("warmup_steps", (0, 4))
@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedule_follows_its_formula(engine, kind, warmup_steps):
    """Rate of update t at e = (t - 1) / 3 epochs, times min(1, t / warmup_steps), which u of
    "harmonic" is multiplied by instead."""
    schedule = schedule_of(kind, warmup_steps)
    lanes = Lanes(3, alpha=1e-13, eta0=[0.1, 0.5, 0.3], mu=[2.0, 3.0, 0.0])
    rates = rates_of_steps(engine, lanes, schedule, steps=15)
    for t in range(1, 16):
        warmup = min(1.0, t / warmup_steps) if warmup_steps else 1.0
        expected = [
            harmonic(eta0, mu, t, warmup * (1 - min(1, (t - 1) / 12)))
            if kind == "harmonic"
            else warmup * FORMULAS[kind](eta0, mu, t, (t - 1) / 3)
            for eta0, mu in zip(lanes.eta0, lanes.mu, strict=True)
        ]
        assert_allclose(rates[t - 1], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("each", ("0.1", "0.2", "0.3", "0.6", "0.7", "1.1", "1/3"))
def test_drops_come_in_time(engine, each):
    """After so many epochs to the row, though 0.3 / 0.1 is less than 3 in floats: by fractions."""
    n, decay = 10, 0.9
    data, of = Data(np.ones((n, 1)), np.zeros(n)), Lanes(1, alpha=1e-15, eta0=1.0)
    schedule = Schedule("step", decay=decay, step_epochs=float(Fraction(each)))
    settings = replace(PLAIN, loss="linear", schedule=schedule)
    state = engine.State(data, of, settings)
    for t in range(7 * n):
        before = engine_weights(state, settings)
        engine.run_epoch(data, of, settings, state, batches=1)
        rate = engine_weights(state, settings) - before
        drops = Fraction(t, n) // Fraction(each)
        assert rate == pytest.approx(decay**drops, rel=1e-6), t
    assert drops >= 6


def engine_weights(state, settings):
    return float(state.weights(settings)[0][0, 0])


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedule_starts_at_eta0(kind):
    """Without a warm-up the first rate is eta0; of one cycle eta0 / 25, of a user's the user's."""
    eta0, mu, t = np.array([0.1, 0.5]), np.array([2.0, 3.0]), np.array([1, 1])
    expected = {"one_cycle": eta0 / 25, "callable": [0.3, 0.3]}.get(kind, eta0)
    assert_allclose(schedule_of(kind).rate(eta0, mu, t, 0.0), expected, rtol=1e-15)


def test_warmup_ramps_linearly(engine):
    """eta_t = eta0 min(1, t / 4): 0.1, 0.2, 0.3, 0.4, then 0.4 for good."""
    lanes = Lanes(1, alpha=1e-13, eta0=0.4)
    rates = rates_of_steps(engine, lanes, Schedule(warmup_steps=4), steps=6)[:, 0]
    assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-11)
