"""L-BFGS after the rounds of SGD: the minimum, whatever was trained and whoever ran it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

import fastsgd
from fastsgd.certificate import certificate
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.full_batch import finish_fit
from fastsgd.distributed.shards import Shard
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.statistics.objective import Objective

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, D, ALPHA = 900, 6, 1e-2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) * np.linspace(0.5, 2.0, D)
SCORE = X @ RNG.normal(size=D)
WEIGHT = RNG.integers(0, 3, N).astype(float)
Y = {
    "binary": (SCORE + RNG.normal(size=N) > 0).astype(int),
    "classes": np.digitize(SCORE + RNG.normal(size=N), (-1.0, 1.0)),
    "numbers": SCORE + RNG.normal(size=N),
    "outputs": np.stack([SCORE, X[:, 0]], axis=1) + RNG.normal(size=(N, 2)),
    "counts": RNG.poisson(np.exp(0.2 * SCORE)).astype(float),
}
FEW = {"alpha": ALPHA, "max_iter": 2, "tol": None, "random_state": 0}
LOGISTIC = {"loss": "log_loss", **FEW}


def finished(model, y, shards=4, X=X, weight=None, executor=None, max_iter=100):
    """The fit of an estimator in rounds, and L-BFGS from there."""
    parts = np.array_split(np.arange(X.shape[0]), shards)
    of = [
        Shard(i, X[rows], y[rows], None if weight is None else weight[rows])
        for i, rows in enumerate(parts)
    ]
    return finished_on(model, of, executor, max_iter)


def finished_on(model, of, executor=None, max_iter=100):
    """The same of shards."""
    stream = ShardStream(ExecutorEngine(executor, of), 1.0, moments=model.standardize)
    stream.finish = True
    sample = stream.sample()
    model.fit(Rows(sample.X, sample.y, sample.sample_weight, stream))
    finish_fit(model, stream, max_iter)
    return model


@pytest.mark.parametrize("y", ["binary", "classes"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_regression(y, sparse, weighted):
    """The joint softmax is scikit-learn's for several classes."""
    several = {"multi_class": "multinomial"} if y == "classes" else {}
    rows, weight = sp.csr_array(X) if sparse else X, WEIGHT if weighted else None
    model = finished(fastsgd.SGDClassifier(**LOGISTIC, **several), Y[y], X=rows, weight=weight)
    count = N if weight is None else np.count_nonzero(weight)
    peer = LogisticRegression(C=1.0 / (count * ALPHA), tol=1e-12, max_iter=1000)
    peer.fit(X, Y[y], weight)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-6)
    intercept = peer.intercept_ - (peer.intercept_.mean() if several else 0.0)
    found = model.intercept_ - (model.intercept_.mean() if several else 0.0)
    np.testing.assert_allclose(found, intercept, atol=1e-6)


@pytest.mark.parametrize("y", ["numbers", "outputs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge(y, weighted):
    weight = WEIGHT if weighted else None
    count = N if weight is None else np.count_nonzero(weight)
    model = finished(fastsgd.SGDRegressor(**FEW), Y[y], weight=weight)
    peer = Ridge(alpha=count * ALPHA).fit(X, Y[y], weight)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-7)
    np.testing.assert_allclose(np.ravel(model.intercept_), np.ravel(peer.intercept_), atol=1e-7)


SMOOTH = {
    "log_loss": (fastsgd.SGDClassifier, "binary"),
    "squared_hinge": (fastsgd.SGDClassifier, "classes"),
    "modified_huber": (fastsgd.SGDClassifier, "binary"),
    "squared_error": (fastsgd.SGDRegressor, "outputs"),
    "huber": (fastsgd.SGDRegressor, "numbers"),
    "squared_epsilon_insensitive": (fastsgd.SGDRegressor, "numbers"),
    "poisson": (fastsgd.SGDRegressor, "counts"),
}


@pytest.mark.parametrize("loss", SMOOTH)
@pytest.mark.parametrize("more", [{}, {"fit_intercept": False}, {"standardize": True}], ids=str)
def test_the_gradient_vanishes(loss, more):
    """Of the objective of all rows, as the certificate of one machine has it."""
    kind, y = SMOOTH[loss]
    model = finished(kind(loss, **FEW, **more), Y[y])
    continuation = model._continuation
    scaling, lanes = continuation.scaling, Lanes(len(model._continuation.rates.eta0), ALPHA, 1.0)
    if y == "classes":
        lanes.label[:] = range(3)
    if y == "outputs":
        lanes.target[:] = range(2)
    data = Data(X, Y[y].astype(float), None, scaling.offset, scaling.scale)
    classifies = kind is fastsgd.SGDClassifier
    settings = Settings(loss, classifies, more.get("fit_intercept", True))
    found = certificate(data, lanes, settings, *continuation.weights())
    assert (found.gradient_norm < 1e-6).all()
    np.testing.assert_allclose(model.finish_["loss"][-1], found.objective.sum(), rtol=1e-12)
    assert model.finish_["loss"] == sorted(model.finish_["loss"], reverse=True)
    assert model.finish_["rounds"] >= len(model.finish_["loss"]) > 1


@pytest.mark.parametrize("loss", [*SMOOTH, "softmax"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_sums_are_those_of_the_objective(loss, dtype):
    """And the gradient is its derivative."""
    kind, y = SMOOTH.get(loss, (fastsgd.SGDClassifier, "classes"))
    rows = X.astype(dtype)
    k = 3 if y == "classes" else 2 if y == "outputs" else 1
    lanes = Lanes(k, 0.0, 1.0, label=range(k) if k == 3 else 1.0, target=range(k) if k == 2 else 0)
    data = Data(rows, Y[y].astype(float), WEIGHT)
    objective = Objective(data, lanes, Settings(loss, kind is fastsgd.SGDClassifier))
    coef, intercept = 0.1 * RNG.normal(size=(k, D)), 0.1 * RNG.normal(size=k)
    losses, gradient, slopes, count = objective.sums(coef, intercept)
    assert (count == np.count_nonzero(WEIGHT)).all()
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(losses / count, objective.loss(coef, intercept)[0], rtol=rtol)
    if dtype != np.float64:
        return
    h, along = 1e-6, RNG.normal(size=(k, D + 1))
    ends = [
        objective.sums(coef + t * along[:, :-1], intercept + t * along[:, -1])[0] for t in (h, -h)
    ]
    derivative = (ends[0] - ends[1]) / (2.0 * h)
    found = (gradient * along[:, :-1]).sum(axis=1) + slopes * along[:, -1]
    if loss == "softmax":
        derivative, found = derivative[0], found.sum()
    np.testing.assert_allclose(found, derivative, rtol=1e-6)


def test_no_bit_depends_on_who_runs_a_shard():
    alone = finished(fastsgd.SGDClassifier(**LOGISTIC), Y["classes"], 5)
    with ThreadPoolExecutor(3) as executor:
        beside = finished(fastsgd.SGDClassifier(**LOGISTIC), Y["classes"], 5, executor=executor)
    assert alone.coef_.tobytes() == beside.coef_.tobytes()
    assert alone.finish_ == beside.finish_


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shards_of_one_class(dtype):
    """The minimum does not depend on which rows a shard has, and so the model does next to not."""
    order = np.argsort(Y["binary"], kind="stable")
    rows, y = X[order].astype(dtype), Y["binary"][order]
    model = finished(fastsgd.SGDClassifier(**LOGISTIC), y, 6, X=rows)
    other = finished(fastsgd.SGDClassifier(**LOGISTIC), Y["binary"], 3, X=X.astype(dtype))
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-6 if dtype is np.float64 else 2e-3)
    assert model.finish_["loss"][-1] == pytest.approx(other.finish_["loss"][-1], rel=1e-6)


@pytest.mark.parametrize("more", [{"average": True}, {"momentum": 0.9}, {"optimizer": "adagrad"}])
def test_a_run_goes_on_from_the_minimum(more):
    """Averages and momentum begin anew there."""
    model = finished(fastsgd.SGDClassifier(**LOGISTIC, **more), Y["binary"])
    plain = finished(fastsgd.SGDClassifier(**LOGISTIC), Y["binary"])
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-6)
    np.testing.assert_array_equal(model._continuation.weights()[0], model.coef_)
    model.fit(X, Y["binary"], resume=True)
    assert model.history_["loss"][-1] < model.history_["loss"][0]


def test_few_iterations_and_an_interrupt(monkeypatch):
    model = finished(fastsgd.SGDClassifier(**LOGISTIC), Y["binary"], max_iter=2)
    assert len(model.finish_["loss"]) == 2
    train, calls = ExecutorEngine.train, []

    def interrupted(self, plan, common):
        calls.append(plan.gradient)
        if sum(calls) == 1 + model.finish_["rounds"]:
            raise KeyboardInterrupt
        return train(self, plan, common)

    monkeypatch.setattr(ExecutorEngine, "train", interrupted)
    other = fastsgd.SGDClassifier(**LOGISTIC)
    with pytest.raises(KeyboardInterrupt):
        finished(other, Y["binary"])
    assert other.coef_.tobytes() == model.coef_.tobytes()
    assert other.finish_["message"] == "KeyboardInterrupt"


REFUSED = {
    "a smooth loss, and 'hinge' has kinks: take 'log_loss'": {"loss": "hinge"},
    "a smooth penalty: take penalty='l2' or None": {"loss": "log_loss", "penalty": "elasticnet"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_has_kinks_is_refused(message):
    model = fastsgd.SGDClassifier(**REFUSED[message])
    with pytest.raises(ValueError, match=message):
        finished(model, Y["binary"])
    assert not hasattr(model, "coef_")


def test_the_minimum_is_that_of_scipy():
    """Another implementation of the objective, in NumPy, of a loss scikit-learn has not."""
    model = finished(fastsgd.SGDClassifier("squared_hinge", **FEW), Y["binary"])
    signs = 2.0 * Y["binary"] - 1.0

    def value(packed):
        short = np.maximum(0.0, 1.0 - signs * (X @ packed[:D] + packed[D]))
        return np.mean(short**2) + 0.5 * ALPHA * packed[:D] @ packed[:D]

    best = minimize(value, np.zeros(D + 1), method="L-BFGS-B", options={"ftol": 1e-14})
    np.testing.assert_allclose(model.coef_[0], best.x[:D], atol=1e-4)
    assert value(np.append(model.coef_[0], model.intercept_)) <= best.fun * (1.0 + 1e-12)
