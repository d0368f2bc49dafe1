"""Several epochs in one call of the core are those of a call for each: bits, history, messages."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covering
from numpy.testing import assert_array_equal

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, _core, solver
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver import training
from fastsgd.solver.epochs import Clock
from fastsgd.solver.stopping import Stopping, Watch
from fastsgd.solver.training import Training

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)) * (RNG.random(size=(150, 6)) < 0.7)
Y = X @ RNG.normal(size=6) + RNG.normal(size=150)
TIMES = ("seconds", "rows_per_second")

MODELS = {
    "hinge": lambda **options: SGDClassifier("hinge", **options),
    "log_loss": lambda **options: SGDClassifier("log_loss", **options),
    "squares": lambda **options: SGDRegressor("squared_error", **options),
    "Huber": lambda **options: SGDRegressor("huber", **options),
    "one class": lambda **options: SGDOneClassSVM(**options),
}
ENDS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "all epochs": {"tol": None, "max_iter": 9},
    "one epoch": {"max_iter": 1},
    "constant": {"learning_rate": "constant", "eta0": 0.02},
    "adaptive": {"learning_rate": "adaptive", "eta0": 0.1},
    "little patience": {"learning_rate": "optimal", "n_iter_no_change": 1},
    "no tolerance": {"learning_rate": "constant", "eta0": 0.02, "tol": 0.0, "max_iter": 30},
    "diverges": {"learning_rate": "constant", "eta0": 0.9},
    "clips": {"learning_rate": "constant", "eta0": 0.5, "alpha": 3.0, "max_iter": 5},
}
AXES = {
    "model": tuple(MODELS),
    "end": tuple(ENDS),
    "penalty": ("l2", "l1", "elasticnet", None),
    "average": (False, True, 0.5),
    "momentum": (0.0, 0.9),
    "dtype": ("float32", "float64"),
    "layout": ("dense", "CSR"),
    "batch_size": (1, 16),
}
CASES = covering(AXES)


def fitted(case: dict[str, Any]) -> tuple[Any, ...]:
    """All that a fit leaves behind, but for times."""
    options = {name: case[name] for name in ("penalty", "average", "momentum", "batch_size")}
    if case["model"] == "one class":
        del options["penalty"]
    ends = dict(ENDS[case["end"]])
    if case["model"] == "one class" and "alpha" in ends:
        del ends["alpha"]
    model = MODELS[case["model"]](**{"max_iter": 60, "random_state": 3, **options, **ends})
    rows = X.astype(case["dtype"])
    rows = sp.csr_matrix(rows) if case["layout"] == "CSR" else rows
    y = (Y > 0.0).astype(int) if isinstance(model, SGDClassifier) else Y
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(rows, y)
        except ValueError as error:
            weights = [getattr(error, name, None) for name in ("coef", "intercept")]
            return str(error), pickle.dumps(weights)
    history = {name: model.history_[name] for name in model.history_ if name not in TIMES}
    kinds = {name: type(column[-1]) for name, column in model.history_.items()}
    state = model._continuation.state.__getstate__()
    arrays = {name: array.tobytes() for name, array in state.pop("arrays").items()}
    said = [(one.category, str(one.message), one.filename) for one in caught]
    return (
        model.coef_.tobytes(),
        model.n_iter_,
        model.t_,
        pickle.dumps([np.array(column).tobytes() for column in history.values()]),
        kinds,
        state,
        arrays,
        str(model.result_),
        said,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_epochs_in_one_call_are_those_of_a_call_each(case, monkeypatch):
    together = fitted(case)
    monkeypatch.setattr(Training, "_plain", lambda self: None)
    assert together == fitted(case)


def test_some_epochs_are_in_one_call(monkeypatch):
    """The tests above compare something."""
    calls: list[int] = []
    plain_epochs = Training.plain_epochs

    def counting(self, most):
        calls.append(plain_epochs(self, most))
        return calls[-1]

    monkeypatch.setattr(Training, "plain_epochs", counting)
    SGDRegressor(max_iter=20, tol=None, random_state=0).fit(X, Y)
    assert calls == [20]
    calls.clear()
    SGDRegressor(random_state=0).fit(X, Y)
    assert max(calls) > 1
    calls.clear()
    SGDClassifier(max_iter=20, tol=None, random_state=0).fit(X, np.digitize(Y, (-1, 1)))
    assert calls == [0] * 20


class Interrupting(Clock):
    """Raises what Ctrl-C does before an epoch in the middle of a call."""

    epochs = 0

    @property
    def budget(self):
        self.epochs += 1
        if self.epochs == 300:
            raise KeyboardInterrupt
        return 1 << 18

    @budget.setter
    def budget(self, value):
        pass


@pytest.mark.parametrize("average", (False, True))
def test_interrupt_between_epochs_leaves_as_many_as_the_history_has(average, monkeypatch):
    y = (Y > 0.0).astype(int)
    model = SGDClassifier(max_iter=10**9, tol=None, average=average, random_state=0)
    model.set_params(learning_rate="constant", eta0=0.01)
    with monkeypatch.context() as patched:
        patched.setattr(training, "Clock", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert {len(column) for column in model.history_.values()} == {model.n_iter_} == {299}
    assert model.history_["epoch"] == list(range(1, 300))
    other = SGDClassifier(**{**model.get_params(), "max_iter": 299}).fit(X, y)
    assert model.history_["loss"] == other.history_["loss"]
    assert_array_equal(model.coef_, other.coef_)


def test_what_several_epochs_need_is_checked():
    data, settings = Data(X, Y), Settings()
    two = Lanes(2, alpha=0.0, eta0=0.1)
    run = _core.Run(data, two, settings, solver.State(data, two, settings))
    count = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="one lane, got 2"):
        _core.Epochs(run, [], count)
    one = Lanes(1, alpha=0.0, eta0=0.01)
    run = _core.Run(data, one, settings, solver.State(data, one, settings))
    columns: list[list[Any]] = [[] for _ in range(12)]
    watch = Watch(1, Stopping(), 1.0)
    epochs = _core.Epochs(run, columns, count, watch)
    with pytest.raises(ValueError, match=r"sums must be of shapes \(1, 6\) and \(1,\)"):
        epochs.advance(3, Clock(), np.inf, (np.zeros((1, 5)), np.zeros(1)))
    done, model, seconds, error = epochs.advance(3, Clock(), np.inf)
    assert (done, seconds, error, epochs.clipped) == (3, None, None, False)
    assert model[0].shape == (1, 6)
    assert count[0] == 3
    assert columns[0] == [1, 2, 3]
    assert watch.best[0] == min(columns[1])


class Slow:
    """A run of which a call takes so many seconds of a clock."""

    draws_order = False

    def __init__(self, seconds: float, done: bool = False) -> None:
        self.seconds, self.done, self.now = seconds, done, 0.0
        self.budgets: list[int] = []

    def advance(self, budget: int, stop: int | None = None) -> bool:
        self.budgets.append(budget)
        self.now += self.seconds
        return self.done

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "done", "factor", "last"),
    (
        (0.021, False, 0.5, 1 << 12),
        (0.019, False, 1.0, 1 << 18),
        (0.0051, False, 1.0, 1 << 18),
        (0.0049, False, 2.0, 1 << 30),
        (0.0049, True, 1.0, 1 << 18),
    ),
)
def test_calls_become_shorter_or_longer(seconds, done, factor, last, monkeypatch):
    """Until they take about a hundredth of a second; within limits."""
    run, clock = Slow(seconds, done), Clock()
    monkeypatch.setattr("fastsgd.solver.epochs.time", run)
    for _ in range(20):
        assert clock.advance(run) == done
    assert run.budgets[:3] == [int((1 << 18) * factor**i) for i in range(3)]
    assert clock.budget == last
