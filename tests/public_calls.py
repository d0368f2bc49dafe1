"""Public calls of every kind on small seeded data, for tests that disturb them.

A call is made on a subject: a model or a search, fitted before or not, or None. What it gives is
compared by ``bits_of``, without the times that it took; ``snapshot`` says what an object has in its
attributes, object by object.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from fastsgd import (
    GridSearchCV,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    insight,
    minimize,
    path,
)

TIMES = ("second", "time", "throughput", "samples_per")
"""Parts of names of what is not the same in two equal calls."""


@dataclass(frozen=True)
class Call:
    """A public call.

    Attributes
    ----------
    subject : callable
        Makes what the call is made on: a model, a search, or None.
    make : callable
        ``make(subject)`` makes the call.
    changes : bool
        Whether the call changes the subject: whether it fits.
    X, y
        Of a call that fits, the rows: ``again`` is a fit that begins anew, ``go_on`` one that does
        not.
    """

    subject: Callable[[], Any]
    make: Callable[[Any], Any]
    changes: bool = True
    X: Any = None
    y: Any = None

    def again(self, subject: Any) -> Any:
        return subject.fit(self.X, self.y)

    def go_on(self, subject: Any) -> Any:
        return subject.fit(self.X, self.y, resume=True)


def bits_of(value: Any) -> Any:
    """What a call gave, as what can be compared bit by bit; times are left out."""
    if sp.issparse(value):
        return tuple(map(bits_of, (value.data, value.indices, value.indptr)))
    if isinstance(value, np.ndarray | np.generic):
        whole = value.tobytes() if value.dtype != object else tuple(map(bits_of, value.ravel()))
        return str(value.dtype), value.shape, whole
    if isinstance(value, str | int | float | bool | bytes | type(None)):
        return repr(value)
    if isinstance(value, Mapping):
        return tuple((name, bits_of(part)) for name, part in value.items() if is_kept(name))
    if isinstance(value, list | tuple):
        return tuple(map(bits_of, value))
    if isinstance(value, BaseEstimator):
        names = sorted(name for name in dir(value) if name[-1] == "_" and name[0] != "_")
        return tuple((name, bits_of(getattr(value, name, None))) for name in names if is_kept(name))
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return tuple((name, bits_of(getattr(value, name))) for name in names if is_kept(name))
    return type(value).__name__


def is_kept(name: Any) -> bool:
    return not any(part in str(name) for part in TIMES)


def snapshot(subject: Any) -> Any:
    """The attributes of an object: which objects they are, and what is in them."""
    if subject is None:
        return None
    return {name: (id(value), shallow(value)) for name, value in vars(subject).items()}


def shallow(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shallow(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(shallow, value))
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return repr(value) if isinstance(value, str | int | float) else id(value)


class Rows:
    """A source whose blocks are rows of arrays."""

    def __init__(self, X: Any, y: Any, rows: int) -> None:
        self.X, self.y, self.rows = X, y, rows

    def __call__(self) -> Any:
        for first in range(0, self.X.shape[0], self.rows):
            part = slice(first, first + self.rows)
            yield self.X[part], self.y[part]


def fitted(model: Any, X: Any, y: Any) -> Callable[[], Any]:
    """What makes fitted models: a new one each time."""

    def make() -> Any:
        fresh = type(model)(**model.get_params(deep=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fresh.fit(X, y)

    return make


def gradient_of(X: Any, y: Any) -> Callable[[Any, Any], Any]:
    """Mean squared error of a linear model and its gradient, as ``minimize`` takes them."""

    def gradient(theta: Any, rows: Any) -> Any:
        residual = X[rows] @ theta - y[rows]
        return 0.5 * float(residual @ residual) / len(rows), X[rows].T @ residual / len(rows)

    return gradient


def calls(
    n: int = 60, d: int = 6, epochs: int = 3, *, pool_bytes: int = 1 << 17
) -> dict[str, Call]:
    """Public calls of every kind, by name, on n rows of d features; sources in pools of so much."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + rng.normal(size=n)
    classes = np.digitize(y, [-1.0, 1.0])
    signs = (y > 0).astype(int)
    sparse = sp.csr_array(X * (rng.random(X.shape) < 0.3))
    few = {"max_iter": epochs, "tol": None, "random_state": 0}
    batches = {"batch_size": 100, "n_jobs": 3}
    many = np.tile(X, (-(-150 // n), -(-100 // d)))[: max(n, 150)]  # chunks of a batch for threads
    targets, several = np.resize(y, len(many)), np.resize(classes, len(many))
    small = {"hidden_layer_sizes": (5,), "max_iter": epochs, "tol": None, "random_state": 0}
    pools = {"pool_bytes": pool_bytes}
    rate = 0.06 / d
    source = Rows(X, signs, max(1, n // 7))

    def fit(model: Any, X: Any, y: Any, **options: Any) -> Call:
        return Call(fitted(model, X, y), lambda subject: subject.fit(X, y, **options), True, X, y)

    def partial_fit(model: Any, X: Any, y: Any) -> Call:
        return Call(fitted(model, X, y), lambda subject: subject.partial_fit(X, y), True, X, y)

    def stream(model: Any, call: Callable[[Any], Any]) -> Call:
        return Call(fitted(model, X, signs), call, True, X, signs)

    def reads(model: Any, call: Callable[[Any], Any], X: Any = X, y: Any = signs) -> Call:
        return Call(fitted(model, X, y), call, changes=False)

    def alone(call: Callable[[], Any]) -> Call:
        return Call(lambda: None, lambda _: call(), changes=False)

    ridge, logistic = SGDRegressor(**few), SGDClassifier("log_loss", **few)
    wide = SGDRegressor(penalty="elasticnet", momentum=0.5, **few)
    grid = {"param_grid": {"alpha": [0.1, 1.0]}, "cv": 2, "error_score": "raise"}
    search = GridSearchCV(SGDClassifier(**few), **grid)
    network, curve = MLPClassifier(**small), MLPRegressor(average=True, **small)
    step = {"eta0": rate, "max_iter": epochs, "tol": None, "random_state": 0}
    return {
        "fit": fit(ridge, X, y),
        "fit, threads": fit(
            SGDRegressor(momentum=0.5, average=True, **batches, **few), many, targets
        ),
        "fit, lanes": fit(SGDClassifier("log_loss", average=True, **few), X, classes),
        "fit, softmax, threads": fit(
            SGDClassifier("log_loss", multi_class="multinomial", **batches, **few), many, several
        ),
        "fit, CSR": fit(wide, sparse, y),
        "fit, CSR, AdaGrad": fit(SGDClassifier(optimizer="adagrad", **few), sparse, signs),
        "fit, one class": fit(SGDOneClassSVM(**few), X, None),
        "fit, early stopping": fit(
            SGDClassifier(early_stopping=True, standardize=True, n_iter_no_change=99, **few),
            X,
            signs,
        ),
        "fit, certificate": fit(SGDRegressor(certificate=True, **few), X, y),
        "fit, adaptive": fit(SGDRegressor(learning_rate="adaptive", eta0=rate, **few), X, y),
        "resume": fit(logistic, X, signs, resume=True),
        "partial_fit": partial_fit(ridge, X, y),
        "partial_fit, lanes": partial_fit(logistic, X, classes),
        "partial_fit, CSR": partial_fit(wide, sparse, y),
        "predict": reads(logistic, lambda model: model.predict(X)),
        "predict_proba": reads(logistic, lambda model: model.predict_proba(sparse)),
        "score": reads(logistic, lambda model: model.score(X, signs)),
        "search": fit(search, X, signs),
        "path": alone(lambda: tuple(path(X, y, alphas=[0.1, 1.0], estimator=ridge))),
        "stream": stream(logistic, lambda model: model.fit(source, **pools)),
        "stream, partial_fit": stream(logistic, lambda model: model.partial_fit(source, **pools)),
        "stream, predict": reads(logistic, lambda model: model.predict(source)),
        "stream, search": stream(search, lambda subject: subject.fit(source, **pools)),
        "network": fit(network, X, classes),
        "network, threads": fit(MLPClassifier(n_jobs=3, **small), X, classes),
        "network, CSR": fit(MLPRegressor(solver="sgd", **small), sparse, y),
        "network, partial_fit": partial_fit(curve, X, y),
        "network, predict": reads(network, lambda model: model.predict(X), y=classes),
        "minimize": alone(lambda: minimize(gradient_of(X, y), np.zeros(d), n, **step)),
        "gradient_noise": reads(
            logistic, lambda model: insight.gradient_noise(model, X, signs, random_state=0)
        ),
        "batch_variance": reads(
            logistic, lambda model: insight.batch_variance(model, X, signs, random_state=0)
        ),
        "stability_report": reads(
            logistic, lambda model: insight.stability_report(model, X, signs)
        ),
        "sharpness": reads(
            network, lambda model: insight.sharpness(model, X, classes, random_state=0), y=classes
        ),
    }
