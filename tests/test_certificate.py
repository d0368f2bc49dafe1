"""The certificate: true conjugates, a gap that bounds, and one that vanishes at the minimum.

The minima come from other solvers: L-BFGS-B (an L1 term by splitting w in two non-negative halves),
and for losses with kinks linear and quadratic programs with one variable a row.
"""

import ctypes
from itertools import product

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
import threadpoolctl
from covering import covering, values_of
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, QuantileRegressor, Ridge
from sklearn.svm import SVC

from fastsgd import problem as problem_module
from fastsgd import reference
from fastsgd.certificate import certificate, coupled, independent
from fastsgd.certificate.conjugates import CONJUGATES, WITHOUT_CONJUGATE
from fastsgd.certificate.kinks import KINKS
from fastsgd.losses import _PROTOTYPE, LOSSES, CompiledLoss
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.targets import targets_of, weights_of

PARAMETER = {"huber": 0.7, "quantile": 0.3}  # of the others 0.2
PENALTIES = {  # alpha, l1
    "l2": (0.05, 0.0),
    "l1": (0.0, 0.03),
    "elasticnet": (0.02, 0.02),
    None: (0.0, 0.0),
}
PENALISED = [penalty for penalty in PENALTIES if penalty]
KINKED = ("hinge", "perceptron", "epsilon_insensitive", "quantile")
PIECES = {  # a loss with kinks is the largest of lines c z + m
    "hinge": lambda y, e: [(0 * y, 0 * y), (-y, 1 + 0 * y)],
    "perceptron": lambda y, e: [(0 * y, 0 * y), (-y, 0 * y)],
    "epsilon_insensitive": lambda y, e: [
        (0 * y, 0 * y),
        (1 + 0 * y, -y - e),
        (-1 + 0 * y, y - e),
    ],
    "quantile": lambda y, e: [(-e + 0 * y, e * y), (1 - e + 0 * y, -(1 - e) * y)],
}
N, D, K = 30, 5, 3


def bounded(case):
    """The linear loss has no minimum without L2, or with an intercept."""
    bad = case.get("penalty", "l2") in ("l1", None) or case.get("fit_intercept")
    return case.get("loss") != "linear" or not bad


ANYWHERE = covering(
    {"loss": LOSSES, "penalty": PENALTIES, "fit_intercept": (True, False)}, valid=bounded
)
MINIMA = covering({"loss": CONJUGATES, "penalty": PENALISED, "fit_intercept": (True, False)})


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Matrices this small are no work for a pool of threads, whose waiting costs seconds."""
    with threadpoolctl.threadpool_limits(1):
        yield


def sign(loss):
    return "real" not in LOSSES[loss].targets and loss != "poisson"


def problem(loss, penalty="l2", *, fit_intercept=True, weighted=True, sparse=False, dtype=float):
    """Three lanes over numbers that float32 holds, some rows of weight zero."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, D)) * (rng.random((N, D)) < 0.7)
    score = X @ rng.normal(size=(D, K)) + rng.normal(size=(N, K)) + 0.5
    if sign(loss):
        y = score.argmax(axis=1)
    elif loss == "poisson":
        y = rng.poisson(np.exp(np.minimum(score, 2.0)))
    else:
        y = score
    X, y = X.astype(np.float32), y.astype(np.float32)
    weight = rng.choice([0.0, 0.5, 1.0, 2.0], N) if weighted else None
    alpha, l1 = PENALTIES[penalty]
    scale = np.array([1.0, 0.5, 2.0])
    lanes = Lanes(
        K,
        alpha=alpha * scale,
        l1=l1 * scale,
        eta0=1.0,
        target=0 if sign(loss) else np.arange(K),
        label=np.arange(K),
        weight_positive=[1.5, 1.0, 2.0] if weighted else 1.0,
        weight_negative=[0.5, 1.0, 0.25] if weighted else 1.0,
    )
    settings = Settings(
        loss=loss,
        sign_targets=sign(loss),
        fit_intercept=fit_intercept,
        loss_parameter=PARAMETER.get(loss, 0.2),
    )
    assert not sign(loss) or len(np.unique(y)) == K
    X = X.astype(dtype)
    return Data(sp.csr_array(X) if sparse else X, y, weight), lanes, settings


def rows_of(data, lanes, settings):
    rows = np.arange(data.n)
    y = targets_of(data, lanes, settings, rows)
    return y, weights_of(data, lanes, settings, y, rows)


def joint(values, lanes, coef, b):
    """The objective of a coupled loss, from the reference's (K,): all lanes' penalties count."""
    penalty = 0.5 * lanes.alpha * (coef**2).sum(axis=1) + lanes.l1 * np.abs(coef).sum(axis=1)
    return np.full(K, values[0] + penalty[1:].sum() + (lanes.intercept_gradient * b)[1:].sum())


def objective(data, lanes, settings, coef, b):
    values = reference.objective(data, lanes, settings, coef.T, b)
    return joint(values, lanes, coef, b) if settings.terms.coupled else values


def smooth_gradient(data, lanes, settings, coef, b):
    state = reference.State(data, lanes, settings)
    state.set_weights(coef, b)
    g, g_b = reference.gradient(data, lanes, settings, state)
    return g.T, g_b


def minimum_of_smooth(data, lanes, settings, held):
    """Weights by L-BFGS-B: w = p - q with p, q >= 0, all lanes at once."""
    k, size = lanes.k, lanes.k * data.d
    bounds = [(0.0, None)] * (2 * size)
    bounds += [(None, None)] * k if settings.fit_intercept else [(b, b) for b in held]

    def unpack(x):
        return (x[:size] - x[size : 2 * size]).reshape(k, -1), x[2 * size :]

    def value(x):
        coef, b = unpack(x)
        g, g_b = smooth_gradient(data, lanes, settings, coef, b)
        l1 = np.repeat(lanes.l1, data.d)
        total = objective(data, lanes, settings, coef, b)
        total = total[0] if settings.terms.coupled else total.sum()
        total += l1 @ (x[:size] + x[size : 2 * size]) - l1 @ np.abs(coef.ravel())
        return total, np.concatenate([g.ravel() + l1, -g.ravel() + l1, g_b])

    x = np.full(2 * size + k, 0.1)
    x[2 * size :] = held
    for _ in range(3):  # restarts drop a stale Hessian
        options = {"maxiter": 5000, "maxfun": 10000, "ftol": 0.0, "gtol": 1e-11, "maxcor": 30}
        x = scipy.optimize.minimize(
            value, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        ).x
    return unpack(x)


def minimum_of_lane_with_kinks(data, lanes, settings, k, held):
    """Weights of lane k by a program in (p, q, b, xi): w = p - q, xi_i >= each line of the loss."""
    y, s = (a[:, k] for a in rows_of(data, lanes, settings))
    X, y, s = data.X[s > 0].astype(float), y[s > 0], s[s > 0]
    n, d = X.shape
    upper, right = [], []
    for c, m in PIECES[settings.loss](y, settings.loss_parameter):  # c (x . w + b) + m <= xi
        upper.append(np.hstack([c[:, None] * X, -c[:, None] * X, c[:, None], -np.eye(n)]))
        right.append(-m)
    upper, right = np.vstack(upper), np.concatenate(right)
    cost = np.concatenate([np.full(2 * d, lanes.l1[k]), [lanes.intercept_gradient[k]], s / n])
    free = (None, None) if settings.fit_intercept else (held, held)
    bounds = [(0.0, None)] * (2 * d) + [free] + [(None, None)] * n
    x = scipy.optimize.linprog(cost, upper, right, bounds=bounds).x
    if lanes.alpha[k] > 0:
        alpha = lanes.alpha[k]

        def value(x):
            w = x[:d] - x[d : 2 * d]
            g = np.concatenate([alpha * w, -alpha * w, np.zeros(n + 1)])
            return cost @ x + 0.5 * alpha * w @ w, cost + g

        x = np.zeros(len(bounds)) if x is None else x
        constraint = {"type": "ineq", "fun": lambda x: right - upper @ x, "jac": lambda x: -upper}
        x = scipy.optimize.minimize(
            value,
            x,
            jac=True,
            method="SLSQP",
            bounds=bounds,
            constraints=[constraint],
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
    return x[:d] - x[d : 2 * d], x[2 * d]


def minimum(data, lanes, settings, held=(0.0,) * K):
    """Weights and intercepts, the latter ``held`` where none is fitted."""
    if settings.loss not in KINKED:
        return minimum_of_smooth(data, lanes, settings, held)
    parts = [minimum_of_lane_with_kinks(data, lanes, settings, k, held[k]) for k in range(lanes.k)]
    return np.array([w for w, _ in parts]), np.array([b for _, b in parts])


# ------------------------------------------------------------------ conjugates


def test_every_loss_has_a_conjugate_or_is_listed():
    assert set(CONJUGATES) | WITHOUT_CONJUGATE == set(LOSSES)
    assert not set(CONJUGATES) & WITHOUT_CONJUGATE
    assert set(KINKS) == set(KINKED)


def scores_and_targets(loss, rng, n=400):
    """Random scores, on the kinks too, and targets; rows of 3 for a coupled loss."""
    e = PARAMETER.get(loss, 0.2)
    if LOSSES[loss].coupled:
        y = np.where(np.arange(3) == rng.integers(0, 3, n)[:, None], 1.0, -1.0)
        return rng.normal(size=(n, 3)) * 3.0, y, e
    y = {"sign": rng.choice([-1.0, 1.0], n), "real": rng.normal(size=n), "count": rng.poisson(2, n)}
    y = np.where(rng.random(n) < 0.5, y["sign"], y["real"]) if not sign(loss) else y["sign"]
    y = rng.poisson(2.0, n).astype(float) if loss == "poisson" else y
    z = rng.normal(size=n) * 2.0
    z[: n // 10], z[n // 10 : n // 5] = y[: n // 10], 0.0
    return z, y, e


@pytest.mark.parametrize("loss", CONJUGATES)
def test_fenchel_young(loss):
    terms, conjugate, rng = LOSSES[loss], CONJUGATES[loss], np.random.default_rng(0)
    for _ in range(5):
        z, y, e = scores_and_targets(loss, rng)
        other, _, _ = scores_and_targets(loss, rng)
        value, theta = terms.value(z, y, e), terms.slope(z, y, e)
        product_ = theta * z
        if terms.coupled:
            product_ = product_.sum(axis=1, keepdims=True)
        assert np.allclose(value + conjugate(theta, y, e), product_, rtol=1e-12, atol=1e-12)
        theta = terms.slope(other, y, e)  # of another score: inside the domain
        theta = theta * rng.random((len(theta),) + (1,) * (theta.ndim - 1))  # as 0 is
        product_ = theta * z
        if terms.coupled:
            product_ = product_.sum(axis=1, keepdims=True)
        excess = value + conjugate(theta, y, e) - product_
        assert np.isfinite(excess).all()
        assert excess.min() > -1e-12
        assert excess.max() > 0.1


@pytest.mark.parametrize("loss", [name for name in CONJUGATES if not LOSSES[name].coupled])
def test_a_conjugate_is_the_supremum_and_infinite_where_there_is_none(loss):
    terms, conjugate, rng = LOSSES[loss], CONJUGATES[loss], np.random.default_rng(1)
    _, y, e = scores_and_targets(loss, rng, 60)
    theta = rng.normal(size=60) * 3.0
    z = np.concatenate([np.linspace(-30.0, 30.0, 20001), [-500.0, 500.0]])[:, None]
    supremum = (theta * z - terms.value(z, y, e)).max(axis=0)
    got = conjugate(theta, y, e)
    finite = np.isfinite(got)
    assert np.allclose(got[finite], supremum[finite], atol=1e-3)
    near = (
        np.abs(theta[:, None] - np.array([0, -1, 1, -e, e, 1 - e, -4, 4, *-y])).min(axis=1) < 0.05
    )
    assert (supremum[~finite & ~near] > 20.0).all()
    assert finite.any()


# ------------------------------------------------------------------ at any weights


@pytest.mark.parametrize(("loss", "penalty", "fit_intercept"), values_of(ANYWHERE))
def test_at_random_weights(loss, penalty, fit_intercept, monkeypatch):
    """The gap is not negative and covers the way to other weights; all inputs agree."""
    monkeypatch.setattr(independent, "_ASCENT_STEPS", 10)  # true bounds, however far improved
    rng, first = np.random.default_rng(5), None
    every = [(size * rng.normal(size=(K, D)), size * rng.normal(size=K)) for size in (1, 0.1, 0)]
    every[0][0][:, 1] = 0.0
    every = [(w, b * fit_intercept) for w, b in every]
    for sparse, dtype in product((False, True), (np.float32, np.float64)):
        points = every if first is None else every[:1]
        of = problem(loss, penalty, fit_intercept=fit_intercept, sparse=sparse, dtype=dtype)
        lanes = of[1]
        values = np.array([objective(*of, w, b) for w, b in points])
        results = [certificate(*of, w, b) for w, b in points]
        gaps = np.array([result.duality_gap for result in results])
        for (w, b), result, value in zip(points, results, values, strict=True):
            assert np.allclose(result.objective, value, rtol=1e-10)
            g, g_b = smooth_gradient(*of, w, b)
            l1 = lanes.l1[:, None]
            shortest = np.where(w > 0, g + l1, g - l1)
            shortest[w == 0] = (g - np.clip(g, -l1, l1))[w == 0]
            norm = np.sqrt((shortest**2).sum(axis=1) + fit_intercept * g_b**2)
            assert np.allclose(result.gradient_norm, norm, rtol=1e-6)
            assert result.gradient_norm.dtype == result.duality_gap.dtype == np.float64
        if penalty is None or loss in WITHOUT_CONJUGATE:
            assert np.isnan(gaps).all()
        else:
            assert (gaps >= values - values.min(axis=0) - 1e-12).all()
            assert (gaps[0] > 1e-3).all()
            if loss != "poisson":  # D(0)
                assert (gaps <= values + 1e-12).all()
        first = gaps[0] if first is None else first
        assert np.allclose(gaps[0], first, rtol=1e-5, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "softmax", "squared_error"])
def test_blocks_and_groups_change_nothing(loss, monkeypatch):
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(K, D)), rng.normal(size=K)
    for sparse in (False, True):
        of = problem(loss, "elasticnet", sparse=sparse)
        whole = certificate(*of, w, b)
        monkeypatch.setattr(problem_module, "BLOCK", 3 * D)
        monkeypatch.setattr(independent, "_SCORES_IN_MEMORY", 1)
        parts = certificate(*of, w, b)
        monkeypatch.undo()
        for name in ("gradient_norm", "duality_gap", "objective"):
            assert np.allclose(getattr(whole, name), getattr(parts, name), rtol=1e-9), name


# ------------------------------------------------------------------ at the minimum


@pytest.mark.parametrize(("loss", "penalty", "fit_intercept"), values_of(MINIMA))
def test_vanishes_at_the_minimum_and_bounds_away_from_it(loss, penalty, fit_intercept):
    of = problem(loss, penalty, fit_intercept=fit_intercept)
    w, b = minimum(*of)
    best = certificate(*of, w, b)
    kinked = loss in KINKED
    tolerance = 1e-6 if kinked or penalty == "l1" else 1e-9
    assert (np.abs(best.duality_gap) < tolerance).all()
    assert kinked or (best.gradient_norm < 1e-5).all()
    if fit_intercept:  # the best intercept for w is found: the gap is then all of the way
        far = certificate(*of, w, b + np.array([1.0, -2.0, 30.0]))
        assert (far.objective > best.objective).all()
        assert np.allclose(far.duality_gap, far.objective - best.objective, atol=tolerance)
    rng = np.random.default_rng(1)
    for size in (1e-3, 0.3):
        near_w = w + size * rng.normal(size=w.shape)
        near_b = b + size * fit_intercept * rng.normal(size=b.shape)
        result = certificate(*of, near_w, near_b)
        assert (result.objective > best.objective).all()
        assert (result.duality_gap >= result.objective - best.objective - 1e-12).all()
        if size == 1e-3:
            assert (result.duality_gap < 0.05).all()  # it comes down with the distance


@pytest.mark.parametrize("loss", ["squared_error", "hinge", "perceptron", "quantile", "softmax"])
@pytest.mark.parametrize("penalty", PENALISED)
def test_an_intercept_that_is_held_counts_as_given(loss, penalty):
    """The minimum is over w alone; the perceptron's is not at w = 0 then."""
    of, b = problem(loss, penalty, fit_intercept=False), np.array([0.5, -0.5, 1.0])
    w, got = minimum(*of, held=b)
    assert np.array_equal(got, b)
    assert (np.abs(w).max(axis=1) > 0.1).sum() >= 2
    best = certificate(*of, w, b)
    assert (np.abs(best.duality_gap) < 1e-6).all()
    worse = certificate(*of, w + 0.1, b)
    assert (worse.duality_gap >= worse.objective - best.objective - 1e-12).all()
    assert (worse.objective > best.objective).any()


def test_softmax_meets_its_constraints_whatever_the_intercepts(monkeypatch):
    """Newton's last rounding, or a Newton that fails, costs tightness but not truth."""
    data, lanes, settings = problem("softmax")
    w, b = minimum(data, lanes, settings)
    best = certificate(data, lanes, settings, w, b)
    for size in (1e-9, 1e-3, 1.0):
        crude = b + size * np.array([1.0, -2.0, 0.5])
        monkeypatch.setattr(
            coupled._Coupled, "best_intercepts", lambda self, b=crude: (b, self.derivatives(b)[1])
        )
        dual = coupled._Coupled(data, lanes, settings, w, b).dual_point()
        y, s = rows_of(data, lanes, settings)
        theta = dual(data.X @ w.T, y)
        assert np.abs((s * theta).sum(axis=0)).max() < 1e-12
        assert np.isfinite(CONJUGATES["softmax"](theta, y)).all()
        gap = certificate(data, lanes, settings, w, b).duality_gap
        assert (gap > -1e-12).all()
        assert size == 1.0 or (gap < 5.0 * size).all()
    monkeypatch.undo()
    assert (certificate(data, lanes, settings, w, b).duality_gap == best.duality_gap).all()


def test_softmax_with_a_class_that_has_no_rows():
    """Its best intercept is minus infinity."""
    data, lanes, settings = problem("softmax")
    some = Data(data.X, np.where(data.y == 1, 0, data.y), data.sample_weight)
    w, b = minimum(some, lanes, settings, held=np.array([0.0, -40.0, 0.0]))
    w[1], b[1] = 0.0, -40.0
    assert abs(certificate(some, lanes, settings, w, b).duality_gap).max() < 1e-9
    b[1] = 0.0
    result = certificate(some, lanes, settings, w, b)
    b[1] = -40.0
    way = result.objective - objective(some, lanes, settings, w, b)
    assert np.allclose(result.duality_gap, way, rtol=1e-6)


def estimators(X, y, label):
    """Fitted models of scikit-learn, with the lane and the settings of their objective."""
    n, real = len(X), {"sign_targets": False}
    logistic = LogisticRegression(C=1.0 / (n * 0.01), tol=1e-10, max_iter=10000)
    yield Ridge(n * 0.1, tol=1e-12).fit(X, y), y, {"alpha": 0.1}, {"loss": "squared_error", **real}
    lasso = {"alpha": 0.05, "tol": 1e-14, "max_iter": 10**6}
    yield Lasso(**lasso).fit(X, y), y, {"l1": 0.05}, {"loss": "squared_error", **real}
    model = ElasticNet(l1_ratio=0.3, **lasso).fit(X, y)
    yield model, y, {"alpha": 0.035, "l1": 0.015}, {"loss": "squared_error", **real}
    model = QuantileRegressor(quantile=0.3, alpha=0.05).fit(X, y)
    yield model, y, {"l1": 0.05}, {"loss": "quantile", "loss_parameter": 0.3, **real}
    two = (label == 2).astype(float)
    yield logistic.fit(X, two), two, {"alpha": 0.01}, {"loss": "log_loss", "sign_targets": True}
    model = SVC(kernel="linear", C=1.0 / (n * 0.01), tol=1e-10).fit(X, two)
    yield model, two, {"alpha": 0.01}, {"loss": "hinge", "sign_targets": True}


def test_scikit_learns_models():
    """Its optima pass; the same weights under a wrong penalty do not."""
    data, _, _ = problem("squared_error")
    X, y = data.X.astype(float), data.y[:, 0].astype(float)
    label = data.y.argmax(axis=1)
    for model, target, lane, setting in estimators(X, y, label):
        of = Data(X, target), Lanes(1, **{"alpha": 0.0, "eta0": 1.0, **lane}), Settings(**setting)
        assert certificate(*of, model.coef_, model.intercept_).duality_gap[0] < 1e-6, model
        lane = {name: 2.0 * value for name, value in lane.items()}
        wrong = Lanes(1, **{"alpha": 0.0, "eta0": 1.0, **lane})
        gap = certificate(of[0], wrong, of[2], model.coef_, model.intercept_).duality_gap[0]
        assert gap > 1e-4, model
    model = LogisticRegression(C=1.0 / (len(X) * 0.01), tol=1e-10, max_iter=10000).fit(X, label)
    lanes = Lanes(3, alpha=0.01, eta0=1.0, label=np.arange(3))
    settings = Settings(loss="softmax", sign_targets=True)
    result = certificate(
        Data(X, label.astype(float)), lanes, settings, model.coef_, model.intercept_
    )
    assert (np.abs(result.duality_gap) < 1e-9).all()


def test_one_class():
    """Hinge with all labels +1 and a slope in b: the constraint is not 0, nor is the best w."""
    rng = np.random.default_rng(2)
    nu, data = 0.3, Data(rng.normal(size=(N, D)) + 1.0, np.ones(N))
    settings = Settings(loss="hinge", sign_targets=True)
    lanes = Lanes(1, alpha=nu / 2, intercept_gradient=nu, eta0=1.0)
    w, b = minimum(data, lanes, settings)
    best = certificate(data, lanes, settings, w, b)
    assert abs(best.duality_gap[0]) < 1e-7
    worse = certificate(data, lanes, settings, w + 0.1, b - 0.2)
    assert worse.duality_gap[0] >= worse.objective[0] - best.objective[0] > 1e-3
    for lost in (
        Lanes(1, alpha=nu, intercept_gradient=1.5, eta0=1.0),  # slopes are >= -1: no minimum
        Lanes(1, alpha=0.0, l1=1e-3, intercept_gradient=nu, eta0=1.0),  # theta cannot be scaled
    ):
        assert np.isnan(certificate(data, lost, settings, w, b).duality_gap[0])


# ------------------------------------------------------------------ odd data


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "softmax", "poisson"])
def test_one_class_absent_and_lanes_without_rows(loss):
    """The best intercept is then at infinity, or any."""
    data, lanes, settings = problem(loss, weighted=False)
    y = np.where(data.y == 1, 0, data.y) if sign(loss) else np.zeros_like(data.y)
    rng = np.random.default_rng(0)
    w, b = 0.1 * rng.normal(size=(K, D)), rng.normal(size=K)
    result = certificate(Data(data.X, y), lanes, settings, w, b)
    assert np.isfinite(result.duality_gap).all()
    far = objective(Data(data.X, y), lanes, settings, 0 * w, np.array([0.0, -40.0, 0.0]))
    assert (result.duality_gap >= result.objective - far)[1]
    empty = certificate(Data(data.X, y, np.zeros(N)), lanes, settings, w, b)
    assert np.allclose(empty.duality_gap, empty.objective)
    penalty = 0.5 * lanes.alpha * (w**2).sum(axis=1)
    assert np.allclose(empty.objective, penalty.sum() if loss == "softmax" else penalty)


def test_overflow_is_infinite_not_an_error():
    for fit_intercept in (True, False):
        data, lanes, settings = problem("poisson", fit_intercept=fit_intercept)
        result = certificate(data, lanes, settings, np.full((K, D), 1e4), np.zeros(K))
        assert (result.objective == np.inf).all()
        assert (result.duality_gap == np.inf).all()


def test_rows_of_weight_zero_do_not_count():
    for loss in ("log_loss", "softmax", "hinge"):
        data, lanes, settings = problem(loss)
        keep = data.sample_weight > 0
        assert 0 < keep.sum() < N
        kept = Data(data.X[keep], data.y[keep], data.sample_weight[keep])
        w, b = np.ones((K, D)), np.zeros(K)
        with_, without = (certificate(each, lanes, settings, w, b) for each in (data, kept))
        assert np.allclose(with_.duality_gap, without.duality_gap, rtol=1e-9)
        assert np.allclose(with_.gradient_norm, without.gradient_norm)


@_PROTOTYPE
def _value(z, y, out, n):
    for i in range(n):
        out[i] = 0.5 * (z[i] - y[i]) ** 2


@_PROTOTYPE
def _slope(z, y, out, n):
    for i in range(n):
        out[i] = z[i] - y[i]


def test_a_users_loss_has_a_gradient_but_no_gap():
    assert isinstance(_value, ctypes._CFuncPtr)
    named = CompiledLoss(_value, _slope, name="squared_error")  # a name is not a conjugate
    data, lanes, settings = problem("squared_error")
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(K, D)), rng.normal(size=K)
    own = certificate(data, lanes, Settings(loss=named), w, b)
    ours = certificate(data, lanes, settings, w, b)
    assert np.allclose(own.gradient_norm, ours.gradient_norm)
    assert np.allclose(own.objective, ours.objective)
    assert np.isnan(own.duality_gap).all()
    assert np.isfinite(ours.duality_gap).all()


def test_wrong_shapes():
    of = problem("hinge")
    with pytest.raises(ValueError, match=r"coef must have shape \(3, 5\), got \(5, 3\)"):
        certificate(*of, np.zeros((D, K)), np.zeros(K))
    with pytest.raises(ValueError, match=r"intercept must have shape \(3,\), got \(1,\)"):
        certificate(*of, np.zeros((K, D)), 0.0)
