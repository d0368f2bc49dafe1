"""Lower bounds of a small problem's minimum: against linear programs, libsvm and coordinate
descent."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linprog, minimize
from sklearn.linear_model import ElasticNet
from sklearn.svm import SVC, SVR

from fastsgd.losses import LINES, LOSSES
from fastsgd.statistics.minimum import SmallProblem
from fastsgd.statistics.objective import _infimum

SMOOTH = [
    name
    for name, loss in LOSSES.items()
    if not loss.coupled and name != "linear" and name not in LINES
]


def problem(loss, seed, *, alpha=1e-2, l1=0.0, n=40, d=3, intercept_gradient=0.0):
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.normal(size=(n, d)), np.ones((n, 1))])
    y = X[:, 0] + rng.normal(size=n)
    if "real" not in LOSSES[loss].targets:
        y = np.where(y > 0.0, 1.0, -1.0)
    if loss == "poisson":
        y = rng.poisson(np.exp(0.5 * X[:, 0])).astype(float)
    s = rng.uniform(0.0, 2.0, n) * (rng.random(n) > 0.2)
    penalised = np.append(np.ones(d), 0.0)
    parts = alpha * penalised, l1 * penalised, intercept_gradient * (1.0 - penalised)
    return SmallProblem(X, y, s / (s > 0.0).sum(), LOSSES[loss], 0.3, 0.0, *parts)


def value(of, w):
    z = of.X @ w + of.offset
    loss = of.s @ of.loss.value(z, of.y, of.parameter)
    return loss + (0.5 * of.alpha * w + of.intercept_gradient) @ w + of.l1 @ np.abs(w)


def start(of, seed=0):
    return np.random.default_rng(seed).normal(size=of.X.shape[1])


@pytest.mark.parametrize("loss", sorted(LINES))
def test_lines_are_the_loss(loss):
    """Also right at the kinks."""
    rng = np.random.default_rng(0)
    y = rng.choice([-1.0, 1.0], 200) if loss in ("hinge", "perceptron") else rng.normal(size=200)
    z = np.concatenate([rng.normal(size=150), y[150:]])
    slope, lines = LINES[loss](y, 0.3)
    found = slope * (z - y) + sum(np.maximum(0.0, m * z + b) for m, b in lines)
    assert_allclose(found, LOSSES[loss].value(z, y, 0.3), atol=1e-15)


def test_every_loss_has_a_kink_and_lines_or_neither():
    from fastsgd.certificate.kinks import KINKS

    assert set(LINES) == set(KINKS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("l1", (0.0, 0.02))
@pytest.mark.parametrize("intercept_gradient", (0.0, 0.05))
@pytest.mark.parametrize("loss", sorted(LINES))
def test_lines_alone_are_a_linear_program(loss, intercept_gradient, l1, seed):
    of = problem(loss, seed, alpha=0.0, l1=l1, intercept_gradient=intercept_gradient)
    p = of.X.shape[1]
    slope, lines = LINES[loss](of.y, of.parameter)
    n = len(of.y)
    # Variables: w+ and w-, and a part for each line.
    linear = slope * (of.s @ of.X) + of.intercept_gradient
    cost = [linear + of.l1, of.l1 - linear]
    rows, right = [], []
    for i, (m, b) in enumerate(lines):
        MX = np.broadcast_to(m, n)[:, None] * of.X
        parts = [-np.eye(n) if i == j else np.zeros((n, n)) for j in range(len(lines))]
        rows.append(np.hstack([MX, -MX, *parts]))
        right.append(np.broadcast_to(-b, n))
        cost.append(of.s)
    found = linprog(np.concatenate(cost), A_ub=np.vstack(rows), b_ub=np.concatenate(right))
    least = found.fun - slope * (of.s @ of.y)
    assert found.status == 0 and p == 4
    for within in (1e-2, 1e-6):
        bound = of.bound(start(of), within)
        assert least - within <= bound <= least + 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", ("hinge", "epsilon_insensitive", "quantile"))
def test_lines_and_squares_are_a_support_vector_machine(loss, seed):
    of = problem(loss, seed)
    has = of.s > 0.0
    options = {"kernel": "linear", "tol": 1e-10, "C": 1.0 / of.alpha[0]}
    if loss == "hinge":
        model = SVC(**options)
    elif loss == "quantile":
        of.parameter, options["C"] = 0.5, 0.5 / of.alpha[0]
        model = SVR(epsilon=0.0, **options)
    else:
        model = SVR(epsilon=of.parameter, **options)
    model.fit(of.X[has, :-1], of.y[has], sample_weight=of.s[has])
    least = value(of, np.append(model.coef_[0], model.intercept_))
    for within in (1e-2, 1e-6):
        bound = of.bound(start(of), within)
        assert least - within - 1e-7 <= bound <= least + 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", SMOOTH)
def test_smooth_losses_by_quasi_newton(loss, seed):
    of = problem(loss, seed)
    w = start(of)
    for _ in range(5):
        w = minimize(lambda w: value(of, w), w, method="BFGS", options={"gtol": 1e-9}).x
    least = value(of, w)
    for within in (1e-2, 1e-6):
        bound = of.bound(start(of), within)
        assert least - within - 1e-9 <= bound <= least + 0.1 * within


@pytest.mark.parametrize("loss", SMOOTH)
def test_a_bound_is_as_near_as_it_was_asked_for(loss):
    """From anywhere, whether that is near or far."""
    of = problem(loss, 0)
    w = start(of)
    for _ in range(3):
        w = minimize(lambda w: value(of, w), w, method="BFGS", options={"gtol": 1e-9}).x
    least = value(of, w)
    for within in 10.0 ** np.arange(-6.0, 3.0, 0.5):
        for away in (0.0, 1.0, 3.0):
            bound = of.bound(away * start(of, 1), within)
            assert least - 0.1 * within <= bound <= least + 0.01 * within


@pytest.mark.parametrize(("unit", "origin"), ((1e-9, 0.0), (1e9, 0.0), (1.0, 1e6)))
@pytest.mark.parametrize("loss", ("huber", "squared_epsilon_insensitive"))
def test_a_bound_does_not_depend_on_the_unit_of_y_nor_on_its_origin(loss, unit, origin):
    """Slopes are compared over a distance that is small beside the residuals."""
    for seed in range(3):
        of = problem(loss, seed)
        other = replace(of, y=unit * of.y + origin, parameter=unit * of.parameter)
        w, within = np.zeros(len(of.alpha)), 1e-4
        bound = other.bound(w + origin * (of.alpha == 0.0), within * unit**2)
        assert_allclose(bound / unit**2, of.bound(w, 1e-9), rtol=0.0, atol=1e-5 * within)


def test_a_newton_step_gains_what_it_promises():
    """Of squares all that there is to gain."""
    of = problem("squared_error", 0)
    w = start(of)
    of.bound(w, 1e-6)
    step, promised = of._step(w, of._smooth(w, of.X @ w), 0.0)
    gained = value(of, w) - value(of, w - step)
    assert_allclose(promised, gained)
    assert_allclose(value(of, w - step), of.bound(w, 1e-9), rtol=1e-8)


@pytest.mark.parametrize("loss", ("squared_error", "log_loss", "huber"))
def test_smooth_losses_beside_a_constant_gradient_of_the_intercept(loss):
    of = problem(loss, 0, intercept_gradient=0.1)
    least = minimize(lambda w: value(of, w), np.zeros(4), method="Powell", options={"ftol": 1e-12})
    assert least.fun - 1e-4 <= of.bound(np.zeros(4), 1e-5) <= least.fun + 1e-9


def test_a_minimum_that_is_there_already():
    """No step promises anything."""
    of = problem("squared_error", 0)
    of = replace(of, y=np.zeros(40))
    assert of.bound(np.zeros(4), 1e-6) == 0.0


@pytest.mark.parametrize("loss", SMOOTH)
def test_columns_that_are_zero_beside_an_l1_term(loss):
    of = problem(loss, 0, l1=0.1)
    parts = of.alpha[:-1], of.l1[:-1], of.intercept_gradient[:-1]
    of = SmallProblem(np.zeros((40, 3)), of.y, of.s, of.loss, of.parameter, 0.4, *parts)
    assert_allclose(of.bound(np.zeros(3), 1e-6), value(of, np.zeros(3)), atol=1e-12)


def test_columns_that_are_equal_and_large():
    """What is added to the second derivative is a part of it."""
    of = problem("squared_error", 0, alpha=0.0)
    twice = replace(of, X=1e6 * of.X[:, [0, 0, 1, 3]])
    once = replace(of, X=of.X[:, [0, 1, 3]], alpha=np.zeros(3), l1=np.zeros(3))
    once = replace(once, intercept_gradient=np.zeros(3))
    expected = once.bound(np.zeros(3), 1e-9)
    assert_allclose(twice.bound(np.zeros(4), 1e-6), expected, atol=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_an_l1_term_beside_squares(seed):
    """Against coordinate descent."""
    of = problem("squared_error", seed, alpha=0.02, l1=0.1, d=6)
    has, total = of.s > 0.0, of.s.sum()
    lasso = ElasticNet(alpha=0.12 / total, l1_ratio=0.1 / 0.12, tol=1e-14, max_iter=100_000)
    lasso.fit(of.X[has, :-1], of.y[has], sample_weight=of.s[has])
    w = np.append(lasso.coef_, lasso.intercept_)
    assert (w == 0.0).any()
    least = value(of, w)
    for within in (1e-2, 1e-7):
        bound = of.bound(start(of), within)
        assert least - within - 1e-9 <= bound <= least + 0.1 * within


def least_with_l1(of):
    """The minimum over w = u - v with u, v >= 0, by a quasi-Newton method with bounds."""
    p = len(of.l1)

    def parts(uv):
        w = uv[:p] - uv[p:]
        slopes = of.s * of.loss.slope(of.X @ w + of.offset, of.y, of.parameter)
        g = of.X.T @ slopes + of.alpha * w + of.intercept_gradient
        smooth = value(of, w) - of.l1 @ np.abs(w)
        return smooth + of.l1 @ (uv[:p] + uv[p:]), np.concatenate([of.l1 + g, of.l1 - g])

    uv, options = np.zeros(2 * p), {"ftol": 0.0, "gtol": 1e-12, "maxls": 100}
    bounds = [(0.0, None)] * (2 * p)
    for _ in range(3):
        found = minimize(parts, uv, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        uv = found.x
    return value(of, uv[:p] - uv[p:])


@pytest.mark.parametrize("alpha", (0.02, 0.0))
@pytest.mark.parametrize("l1", (1e-4, 0.01, 0.1, 10.0))
@pytest.mark.parametrize("loss", SMOOTH)
def test_an_l1_term_beside_a_smooth_loss(loss, l1, alpha):
    """From weights that are 0, nearly 0 and others: at most what is asked for below the minimum."""
    for seed in range(3):
        of = problem(loss, seed, alpha=alpha, l1=l1, d=6)
        least = least_with_l1(of)
        for w in (np.zeros(7), np.full(7, 1e-6), np.ones(7)):
            for within in (1e-2, 1e-5, 1e-7):
                bound = of.bound(w, within)
                assert least - within - 1e-9 <= bound <= least + 0.01 * within + 1e-9


@pytest.mark.parametrize("d", (2, 6))
@pytest.mark.parametrize("n", (8, 40))
def test_a_bound_of_squares_is_never_above_the_minimum(n, d):
    """Whatever is asked for and wherever it starts, since a Newton step is exact."""
    rng = np.random.default_rng(n + d)
    for seed in range(60):
        alpha, l1 = rng.choice([0.0, 1e-4, 0.02]), rng.choice([0.0, 1e-3, 0.1, 1.0])
        of = problem("squared_error", seed, alpha=alpha, l1=l1, n=n, d=d)
        least = least_with_l1(of)
        for away in 10.0 ** rng.integers(-8, 3, 8):
            within = rng.choice([1e-4, 1e-3, 1e-2, 1.0])
            bound = of.bound(away * start(of, seed), within)
            assert np.isnan(bound) or least - within - 1e-8 <= bound <= least + 1e-8


@pytest.mark.parametrize("l1", (0.0, 0.01, 10.0))
@pytest.mark.parametrize("loss", SMOOTH)
def test_a_bound_from_far_away_is_one_or_none(loss, l1):
    """Where a loss is a line, or overflows, Newton's steps may not arrive."""
    for seed in range(3):
        of = problem(loss, seed, alpha=0.02, l1=l1, d=6)
        with np.errstate(all="ignore"):
            bound = of.bound(np.full(7, 1e3), 1e-3)
        assert np.isnan(bound) or bound <= least_with_l1(of) + 1e-5


@pytest.mark.parametrize("loss", ("hinge", "quantile", "squared_error"))
def test_an_intercept_that_is_not_learnt(loss):
    of = problem(loss, 0)
    parts = of.alpha[:-1], of.l1[:-1], of.intercept_gradient[:-1]
    fixed = SmallProblem(of.X[:, :-1], of.y, of.s, of.loss, of.parameter, 0.4, *parts)
    options = {"maxiter": 10_000, "maxfev": 10_000, "xatol": 1e-9, "fatol": 1e-12}
    w = np.zeros(3)
    for _ in range(3):
        w = minimize(lambda w: value(fixed, w), w, method="Nelder-Mead", options=options).x
    bound = fixed.bound(np.zeros(3), 1e-5)
    assert value(fixed, w) - 1e-4 <= bound <= value(fixed, w) + 1e-12


def test_no_minimum_is_none():
    """A intercept_gradient that no slope of the loss can hold."""
    of = problem("hinge", 0, intercept_gradient=5.0)
    with np.errstate(all="ignore"):
        assert np.isnan(of.bound(np.zeros(4), 1e-3))


@pytest.mark.parametrize("loss", ("hinge", "log_loss"))
def test_classes_that_separate_without_a_penalty(loss):
    """The infimum is 0, whether it is reached or not; no bound may be above it."""
    of = problem(loss, 0, alpha=0.0)
    of.y = np.where(of.X[:, 0] > 0.0, 1.0, -1.0)
    with np.errstate(all="ignore"):
        bound = of.bound(np.zeros(4), 1e-3)
    assert np.isnan(bound) or -2e-3 <= bound <= 1e-3


def test_least_loss_of_counts():
    """Of parts of one too: the minimum of exp(z) - y z, which is at z = log y."""
    y = np.array([0.25, 0.5, 1.0, 3.0])
    assert_allclose(_infimum(y), np.exp(np.log(y)) - y * np.log(y))
    assert _infimum(np.zeros(1)) == 0.0
