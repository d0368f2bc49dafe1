"""User code that raises at every one of its calls: its exception arrives, and nothing is changed.

A user's function may be a schedule, a scorer, a callback, a splitter, a gradient, a source, a loss,
or what is printed to. It raises at its first call, at its second, and so on; after each the model
or search has the attributes it had, and the same call then gives the bits of an undisturbed one.
"""

import ctypes
import io
import sys

import numpy as np
import pytest
from public_calls import Rows, bits_of, fitted, snapshot
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold

from fastsgd import (
    DivergenceError,
    GridSearchCV,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDRegressor,
    insight,
    minimize,
)
from fastsgd.losses import CompiledLoss

N, D = 40, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(N, D))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=N)
SIGNS = (Y > 0).astype(int)
FEW = {"max_iter": 3, "tol": None, "random_state": 0}
SMALL = {"hidden_layer_sizes": (3,), **FEW}
GRID = {"param_grid": {"alpha": [0.1, 1.0]}, "cv": 2, "error_score": "raise", "refit": False}


class Own(Exception):
    """A user's exception."""


class Harsh(BaseException):
    """One that ``except Exception`` does not catch."""


class User:
    """Calls of a user's code, one of which raises."""

    def __init__(self):
        self.calls, self.at, self.error = 0, 0, None

    def begin(self, at=0, error=None):
        self.calls, self.at, self.error = 0, at, error

    def __call__(self):
        self.calls += 1
        if self.calls == self.at:
            raise self.error


class Callback:
    """scikit-learn's, with a hook for every moment."""

    def __init__(self, user):
        self.user = user

    def setup(self, estimator, context):
        self.user()

    def on_fit_task_begin(self, estimator, context):
        self.user()

    def on_fit_task_end(self, estimator, context):
        self.user()

    def teardown(self, estimator, context):
        pass  # after the fit, when its exception is on its way


class Splitter(KFold):
    def __init__(self, user):
        super().__init__(2)
        self.user = user

    def split(self, X, y=None, groups=None):
        for rows in super().split(X, y, groups):
            self.user()
            yield rows


class Output(io.StringIO):
    """A standard output that may be closed at any line."""

    def __init__(self, user):
        super().__init__()
        self.user = user

    def write(self, text):
        self.user()
        return super().write(text)


def rate_of(user):
    def rate(step, epoch):
        user()
        return 0.01 / (1.0 + 0.1 * epoch)

    return rate


def scorer_of(user):
    def score(model, X, y):
        user()
        return accuracy_score(y, model.predict(X))

    return score


def blocks_of(user, rows=10):
    def blocks():
        for block in Rows(X, SIGNS, rows)():
            user()
            yield block

    return blocks


# Each takes the user, and gives what makes the subject and what calls it.


def schedule(user):
    model = SGDRegressor(learning_rate=rate_of(user), batch_size=5, **FEW)
    return fitted(model, X, Y), lambda subject: subject.fit(X, Y)


def schedule_in_partial_fit(user):
    model = SGDClassifier(learning_rate=rate_of(user), batch_size=5, **FEW)
    return fitted(model, X, SIGNS), lambda subject: subject.partial_fit(X, SIGNS)


def schedule_of_a_network(user):
    model = MLPRegressor(learning_rate=rate_of(user), batch_size=10, **SMALL)
    return fitted(model, X, Y), lambda subject: subject.fit(X, Y)


def scorer(user):
    model = SGDClassifier(scoring=scorer_of(user), **FEW)
    given = {"X_val": X[:9], "y_val": SIGNS[:9]}
    return fitted(SGDClassifier(**FEW), X, SIGNS), (
        lambda subject: subject.set_params(**model.get_params()).fit(X, SIGNS, **given)
    )


def scorer_of_early_stopping(user):
    model = SGDClassifier(scoring=scorer_of(user), early_stopping=True, **FEW)
    return fitted(model, X, SIGNS), lambda subject: subject.fit(X, SIGNS)


def scorer_of_a_network(user):
    model = MLPClassifier(scoring=scorer_of(user), early_stopping=True, **SMALL)
    return fitted(model, X, SIGNS), lambda subject: subject.fit(X, SIGNS)


def scorer_of_a_search(user):
    search = GridSearchCV(SGDClassifier(**FEW), scoring=scorer_of(user), **GRID)
    return fitted(search, X, SIGNS), lambda subject: subject.fit(X, SIGNS)


def scorer_of_a_search_of_networks(user):
    search = GridSearchCV(MLPClassifier(**SMALL), scoring=scorer_of(user), **GRID)
    return fitted(search, X, SIGNS), lambda subject: subject.fit(X, SIGNS)


def splitter(user):
    search = GridSearchCV(SGDClassifier(**FEW), **{**GRID, "cv": Splitter(user)})
    return fitted(search, X, SIGNS), lambda subject: subject.fit(X, SIGNS)


def callback(user):
    pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")

    def make():
        return fitted(SGDRegressor(**FEW), X, Y)().set_callbacks(Callback(user))

    return make, lambda subject: subject.fit(X, Y)


def callback_of_a_network(user):
    pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")

    def make():
        return fitted(MLPRegressor(**SMALL), X, Y)().set_callbacks(Callback(user))

    return make, lambda subject: subject.fit(X, Y)


def source(user):
    pytest.importorskip("xxhash")
    return fitted(SGDClassifier(**FEW), X, SIGNS), lambda subject: subject.fit(blocks_of(user))


def source_of_partial_fit(user):
    pytest.importorskip("xxhash")
    model = fitted(SGDClassifier(**FEW), X, SIGNS)
    return model, lambda subject: subject.partial_fit(blocks_of(user))


def source_of_predictions(user):
    model = fitted(SGDClassifier(**FEW), X, SIGNS)
    return model, lambda subject: subject.predict(blocks_of(user))


def output(user):
    """``print`` of a fit with ``verbose`` fails."""

    def call(subject):
        before, sys.stdout = sys.stdout, Output(user)
        try:
            return subject.fit(X, Y)
        finally:
            sys.stdout = before

    def make():
        before, sys.stdout = sys.stdout, io.StringIO()
        try:
            return fitted(SGDRegressor(verbose=1, **FEW), X, Y)()
        finally:
            sys.stdout = before

    return make, call


def gradient(user):
    def squares(theta, rows):
        user()
        residual = X[rows] @ theta - Y[rows]
        return 0.5 * float(residual @ residual) / len(rows), X[rows].T @ residual / len(rows)

    options = {"eta0": 0.1, "batch_size": 10, **FEW}
    return None, lambda _: minimize(squares, np.zeros(D), N, **options)


def callback_of_minimize(user):
    def squares(theta, rows):
        residual = X[rows] @ theta - Y[rows]
        return 0.5 * float(residual @ residual) / len(rows), X[rows].T @ residual / len(rows)

    def tell(progress):
        user()

    options = {"eta0": 0.1, "batch_size": 10, "callback": tell, **FEW}
    return None, lambda _: minimize(squares, np.zeros(D), N, **options)


def source_of_insight(user):
    model = fitted(SGDClassifier(**FEW), X, SIGNS)
    return model, lambda subject: insight.gradient_noise(subject, blocks_of(user), random_state=0)


USERS = {
    make.__name__: make
    for make in (
        *(schedule, schedule_in_partial_fit, schedule_of_a_network),
        *(scorer, scorer_of_early_stopping, scorer_of_a_network),
        *(scorer_of_a_search, scorer_of_a_search_of_networks, splitter),
        *(callback, callback_of_a_network, callback_of_minimize, gradient, output),
        *(source, source_of_partial_fit, source_of_predictions, source_of_insight),
    )
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("error", (Own, ValueError, Harsh))
@pytest.mark.parametrize("name", USERS)
def test_an_exception_at_every_call(name, error):
    user = User()
    make, call = USERS[name](user)
    make = make or (lambda: None)
    subject = make()
    user.begin()
    expected, count = bits_of(call(subject)), user.calls
    assert count > 1
    for at in range(1, count + 1):
        subject = make()
        before = snapshot(subject)
        user.begin(at, error("of the user"))
        with pytest.raises(error, match="of the user"):
            call(subject)
        if name == "scorer":  # whose parameter the call sets
            subject.set_params(scoring=None)
        assert snapshot(subject) == before, at
        user.begin()
        assert bits_of(call(subject)) == expected, at


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", ("value", "slope"))
def test_an_exception_of_a_loss_at_every_call(part, monkeypatch):
    """C cannot tell of it: Python's hook hears of it, once, and there is a model or an error."""
    pointer, heard = ctypes.POINTER(ctypes.c_double), []
    prototype = ctypes.CFUNCTYPE(None, *[pointer] * 3, ctypes.c_int64)
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    user = User()

    def function(of_row, is_asked):
        def f(z, y, out, n):
            if is_asked:
                user()
            for i in range(n):
                out[i] = of_row(z[i] - y[i])

        return prototype(f)

    value = function(lambda r: 0.5 * r * r, part == "value")
    slope = function(lambda r: r, part == "slope")
    options = {**FEW, "max_iter": 2, "learning_rate": "constant", "eta0": 0.01}
    model = SGDRegressor(CompiledLoss(value, slope, name="own"), **options)
    user.begin()
    expected, count = bits_of(model.fit(X, Y)), user.calls
    for at in range(1, count + 1):
        before = snapshot(model)
        user.begin(at, Own())
        heard.clear()
        try:
            model.fit(X, Y)
        except (DivergenceError, ValueError):
            assert snapshot(model) == before
        assert len(heard) == 1 and np.isfinite(model.coef_).all(), at
        user.begin()
        assert bits_of(model.fit(X, Y)) == expected, at
