"""A user's script, as type checkers see it: `.ci/run` puts it through `mypy --strict`.

What a function gives is stated by ``assert_type``. What a checker must refuse stands in
``refused``, which is never called: were one of its lines accepted, its ``type: ignore`` would be
unused, which is an error under ``--strict``. ``tests/test_types.py`` runs ``main``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.datasets import make_classification  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from fastsgd import (
    DivergenceError,
    GridSearchCV,
    MLPClassifier,
    MLPRegressor,
    RandomizedSearchCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    minimize,
    path,
)
from fastsgd.insight import (
    Exploration,
    NetworkExploration,
    explore,
    gradient_noise,
    rate_range,
    stability_report,
    trajectory,
)
from fastsgd.losses import LOSSES, Loss
from fastsgd.minimization import Progress
from fastsgd.optimizers import SGD
from fastsgd.schedules import Schedule, cosine


def rate(step: int, epoch: float) -> float:
    """A schedule of the user's own."""
    return 0.1 / (1.0 + 0.01 * step + epoch)


def classify(X: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Fit, predict, continue; dense and sparse."""
    model = SGDClassifier("log_loss", penalty="elasticnet", l1_ratio=0.5, random_state=0)
    assert_type(model.fit(X, y, sample_weight=np.ones(len(y))), SGDClassifier)
    assert_type(model.predict(X), NDArray[Any])
    assert_type(model.predict_proba(X), NDArray[np.floating])
    assert_type(model.decision_function(sp.csr_array(X)), NDArray[np.floating])
    assert_type(model.coef_, NDArray[np.floating])
    assert_type(model.n_iter_, int)
    assert_type(model.loss_curve_, list[float])
    stream = SGDClassifier(class_weight={0: 1.0, 1: 2.0}, momentum=0.9, batch_size=16)
    for rows in (slice(0, 50), slice(50, 100)):
        stream.partial_fit(X[rows], y[rows], classes=[0, 1])
    sparse = SGDClassifier(sampling="block", average=True).fit(sp.csr_matrix(X), y.tolist())
    return float(model.score(X, y) + stream.score(X, y) + sparse.score(sp.csr_matrix(X), y))


def network(X: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Multilayer perceptrons."""
    model = MLPClassifier((8, 4), "tanh", learning_rate=cosine(total_epochs=9), max_iter=9)
    assert_type(model.fit(X, y, X_val=X, y_val=y), MLPClassifier)
    assert_type(model.predict_proba(X), NDArray[np.floating])
    assert_type(model.coefs_, list[NDArray[np.floating]])
    assert_type(model.best_loss_, float | None)
    other = MLPRegressor("poisson", 8, solver="sgd", batch_size=16, max_iter=3, tol=None)
    assert_type(other.fit(sp.csr_array(X), y, resume=True).predict(X), NDArray[np.floating])
    return float(model.score(X, y) + other.score(X, y))


def regress(X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Losses and schedules by name, as objects and as functions."""
    for schedule in (cosine(total_epochs=10), Schedule("constant"), rate):
        SGDRegressor("huber", learning_rate=schedule, eta0=0.01, max_iter=10, tol=None).fit(X, y)
    model = SGDRegressor("quantile", quantile=0.9, learning_rate="auto", certificate=True)
    assert_type(model.fit(X, y, X_val=X[:20], y_val=y[:20]).predict(X), NDArray[np.floating])
    assert_type(model.certificate_.duality_gap, NDArray[np.float64])
    assert_type(model.result_.eta0, NDArray[np.float64])
    assert_type(LOSSES["huber"], Loss)
    assert_type(SGD(momentum=0.9, nesterov=True).momentum, float)
    return assert_type(model.score(X, y), float)


def detect(X: NDArray[np.float64]) -> NDArray[np.int32]:
    """Outliers."""
    model = SGDOneClassSVM(nu=0.1, random_state=np.random.RandomState(0))
    return assert_type(model.fit(X).predict(X), NDArray[np.int32])


def search(X: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Pipelines, searches, a path of penalties."""
    pipeline = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    found = GridSearchCV(pipeline, {"sgdclassifier__alpha": [1e-4, 1e-2]}, cv=3)
    assert_type(found.fit(X, y), GridSearchCV)
    assert_type(found.best_params_, dict[str, Any])
    drawn = RandomizedSearchCV(SGDClassifier(), {"alpha": np.logspace(-5, 0)}, n_iter=3)
    assert_type(drawn.fit(sp.csr_array(X), y), RandomizedSearchCV)
    assert_type(drawn.score(X, y), float)
    models = path(X, y, alphas=[1e-3, 1e-1], estimator=SGDClassifier(random_state=0))
    assert_type(models.alphas, NDArray[np.float64])
    return assert_type(found.best_score_, float) + drawn.best_score_


def look(X: NDArray[np.float64], y: NDArray[np.int64]) -> str:
    """What the noise does."""
    model = SGDClassifier("log_loss", random_state=0).fit(X, y, diagnostics=True)
    noise = gradient_noise(model, X, y)
    assert_type(noise.suggested_batch_size, int)
    assert_type(noise.signal_to_noise(batch_size=32), NDArray[np.float64])
    assert_type(rate_range(model, X, y, epochs=1).suggested, float)
    assert_type(trajectory(model, X, y, points=20).names, tuple[str, str])
    assert_type(explore(X=X, y=y, steps=2, rates=(0.1,), batch_sizes=(8,)), Exploration)
    runs = explore("network", X=X[:, :2], y=y, hidden=(3,), steps=2, rates=(0.1,))
    assert_type(runs, NetworkExploration)
    assert_type(runs.runs[0].row_norms, NDArray[np.float64])
    return str(stability_report(model, X, y))


def own_model(X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """A gradient of the user's own."""

    def squared_error(
        theta: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> tuple[float, NDArray[np.float64]]:
        residual = X[rows] @ theta - y[rows]
        return float(residual @ residual), 2.0 * X[rows].T @ residual / len(rows)

    def enough(progress: Progress) -> bool:
        return assert_type(progress.loss, float) < 1e-3

    start = np.zeros(X.shape[1])
    first = minimize(squared_error, start, len(X), optimizer=SGD(0.9), callback=enough)
    rest = minimize(
        squared_error, None, len(X), optimizer=SGD(0.9), learning_rate="cosine", state=first
    )
    return float(rest.fun)


def main() -> None:
    """The whole script."""
    X, classes = make_classification(200, 5, random_state=0)
    try:
        scores = classify(X, classes) + regress(X, X[:, 0]) + search(X, classes)
        scores += network(X, classes) + own_model(X, X[:, 0])
        print(f"{scores:.2f}, {np.mean(detect(X) > 0):.2f}\n{look(X, classes)}")
    except DivergenceError as error:
        print(error.step, error.coef_)


def sources() -> None:
    """What X may be beside arrays; never called either, since there are no such files."""
    SGDClassifier().fit("rows.csv", target="y", pool_bytes=1 << 20)
    SGDRegressor().partial_fit(Path("rows.parquet"), target="y", cache="rows.cache")
    SGDClassifier().fit(lambda: iter([(np.eye(2), np.array([0, 1]))]))


def refused(X: NDArray[np.float64], y: NDArray[np.int64]) -> None:
    """What a checker must find."""
    SGDClassifier("log")  # type: ignore[arg-type] # the name in older scikit-learns
    SGDClassifier(penalty="L2")  # type: ignore[arg-type]
    SGDClassifier(sampling="shuffle")  # type: ignore[arg-type]
    SGDClassifier(learning_rate="pa3")  # type: ignore[arg-type]
    SGDClassifier(learning_rate=lambda step: 0.1)  # type: ignore[arg-type,misc]
    SGDClassifier(alpha="0.1")  # type: ignore[arg-type]
    SGDClassifier(eta=0.1)  # type: ignore[call-arg]
    SGDRegressor("hinge")  # type: ignore[arg-type]
    SGDOneClassSVM(learning_rate="pa1")  # type: ignore[arg-type]
    MLPClassifier(activation="sine")  # type: ignore[arg-type]
    MLPClassifier(solver="lbfgs")  # type: ignore[arg-type]
    MLPRegressor(batch_size="all")  # type: ignore[arg-type]
    MLPRegressor(max_fun=10)  # type: ignore[call-arg]
    SGDClassifier().fit("rows.csv", target=0.5)  # type: ignore[arg-type]
    SGDClassifier().fit("rows.csv", targets="y")  # type: ignore[call-arg]
    SGDClassifier().fit(X, y, sample_weights=y)  # type: ignore[call-arg]
    SGDClassifier().fit({"age": 1}, y)  # type: ignore[arg-type]
    SGDClassifier().predict(X).fit(X, y)  # type: ignore[attr-defined]
    SGDRegressor().fit(X, y).loss_curve_["loss"]  # type: ignore[call-overload]
    SGDRegressor().partial_fit(X, y, classes=[0, 1])  # type: ignore[call-arg]
    minimize(lambda theta, rows: (0.0, theta), X, 10, optimizer="adagrad")  # type: ignore[arg-type]
    minimize(lambda theta: (0.0, theta), X, 10)  # type: ignore[arg-type,misc]
    cosine("10")  # type: ignore[arg-type]
    path(X, y, estimator=StandardScaler, penalties=[1.0])  # type: ignore[call-arg]
    print(gradient_noise(SGDClassifier().fit(X, y), X, y).noise_scales)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
