"""Wide models on CSR: what a call leaves out of its work changes no bit, no error and no array that
somebody holds.

The model ``eager`` reads and publishes all its weights in every call, as narrow models do.
"""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from itertools import product
from operator import attrgetter
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import skops.io as skops
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor, _core, solver
from fastsgd.estimators import fitting, repeat
from fastsgd.optimizers import SGD, AdaGrad
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver import training

D = repeat.FEW_VALUES + 100
RNG = np.random.default_rng(0)
MODELS: dict[str, Callable[..., Any]] = {
    "log loss": lambda **options: SGDClassifier(loss="log_loss", **options),
    "squares": lambda **options: SGDRegressor(**options),
    "one class": lambda **options: SGDOneClassSVM(**options),
    "three classes": lambda **options: SGDClassifier(loss="hinge", **options),
}
RATE: dict[str, Any] = {"learning_rate": "constant", "eta0": 0.05, "random_state": 0}
SETTINGS: list[dict[str, Any]] = [
    {"alpha": 1e-4},
    {"alpha": 5.0},  # scales underflow
    {"alpha": 0.1, "average": True},
    {"alpha": 1e-4, "average": 60},
    {"penalty": None, "learning_rate": "invscaling", "average": True},
    {"learning_rate": "optimal"},
    {"learning_rate": "auto"},
    {"learning_rate": "auto", "average": True},
    {"fit_intercept": False, "sampling": "sequential"},
]
OTHERS: list[dict[str, Any]] = [
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True, "average": True, "learning_rate": "invscaling"},
    {"momentum": 0.99, "alpha": 0.5, "average": 60},
    {"penalty": "l1", "alpha": 1e-3},
    {"penalty": "l1", "alpha": 1e-3, "average": True},
    {"penalty": "elasticnet", "alpha": 1e-3},
    {"penalty": "elasticnet", "alpha": 1e-3, "average": 60},
    {"penalty": "l1", "momentum": 0.5},
    {"penalty": "elasticnet", "momentum": 0.5, "average": True},
    {"batch_size": 8},
    {"batch_size": 8, "momentum": 0.9, "average": True},
    {"batch_size": 64, "penalty": "l1", "alpha": 1e-3},
    {"optimizer": "adagrad"},
    {"optimizer": "adagrad", "penalty": "l1", "alpha": 1e-3},
    {"optimizer": "adagrad", "average": True},
    {"clip_norm": 0.1},
    {"batch_size": 8, "clip_norm": 0.1, "momentum": 0.9},
]
SPECIAL: list[dict[str, Any]] = [{}, *(OTHERS[i] for i in (0, 1, 3, 6, 7, 10, 11, 13))]


def rows(n: int, seed: int, dtype: Any = np.float32, index: Any = np.int32) -> tuple[Any, Any]:
    """Rows of ten values; features are out of order, and some are there twice."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, D, 10 * n).astype(index)
    indices[:-1:7] = indices[1::7]
    values = rng.normal(size=10 * n).astype(dtype)
    X = sp.csr_array((values, indices, np.arange(n + 1, dtype=index) * 10), shape=(n, D))
    assert not X.has_sorted_indices
    return X, (values[::10] > 0).astype(np.int64)


CALLS = [rows(n, seed) for seed, n in enumerate((30, 50, 1, 70, 40, 20))]


def call(model: Any, X: Any, y: Any) -> Any:
    if isinstance(model, SGDOneClassSVM):
        return model.partial_fit(X)
    if isinstance(model, SGDClassifier) and model.loss == "hinge":
        return model.partial_fit(X, (y + X.indices[::10]) % 3, classes=[0, 1, 2])
    if isinstance(model, SGDClassifier):
        return model.partial_fit(X, y, classes=[0, 1])
    return model.partial_fit(X, y)


def bits(value: Any) -> Any:
    """What can be compared, bit for bit, of a value."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        timed = ("seconds", "rows_per_second")
        return {name: bits(one) for name, one in value.items() if name not in timed}
    if isinstance(value, (list, tuple)):
        return [bits(one) for one in value]
    return value.hex() if isinstance(value, float) else value


def learned(model: Any) -> Any:
    """What a model is, without reading ``coef_``."""
    state = model._continuation.state.__getstate__()
    others = {name: value for name, value in vars(model).items() if name.endswith("_")}
    return bits([state, {name: others[name] for name in others.keys() - {"coef_", "result_"}}])


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls a function while wide models are treated as narrow ones, without steps of repeat.py."""

    def treated(work: Callable[..., Any], *arguments: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(fitting, "FEW_VALUES", 1 << 40)
            patched.setattr(repeat, "FEW_VALUES", -1)
            return work(*arguments)

    return treated


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Of the calls that were steps: whether the state before the last was written over."""
    made: list[bool] = []
    whole = repeat.Repeat.next_state

    def next_state(self: Any, previous: Any) -> Any:
        spare = self.spare if self.spare is None else id(self.spare)
        state = whole(self, previous)
        made.append(id(state) == spare)
        return state

    monkeypatch.setattr(repeat.Repeat, "next_state", next_state)
    yield made


def fitted(calls: int = 4, **options: Any) -> Any:
    model = SGDClassifier(loss="log_loss", **RATE | options)
    for X, y in CALLS[:calls]:
        call(model, X, y)
    assert "coef_" not in vars(model)
    return model


@pytest.mark.parametrize(
    ("name", "options", "reads"),
    [
        pytest.param(name, options, reads, id=f"{name} {options} {reads}")
        for name in MODELS
        for reads in (False, True)
        for options in SETTINGS + OTHERS
        if name != "squares" or options.get("learning_rate") != "optimal"  # which diverges
        if options in SETTINGS or (not reads and name in ("log loss", "three classes"))
    ],
)
def test_the_same_bits_as_with_all_weights_read(
    name: str, options: dict[str, Any], reads: bool, eagerly: Any, steps: list[bool]
) -> None:
    if name == "one class":
        options = {key: value for key, value in options.items() if key not in ("alpha", "penalty")}
    model, eager = (MODELS[name](**RATE | options) for _ in range(2))
    for X, y in CALLS:
        call(model, X, y)
        eagerly(call, eager, X, y)
        assert "coef_" not in vars(model)
        assert "coef_" in vars(eager)
        assert learned(model) == learned(eager)
        for table in (X, X[:3], X.toarray()[:2]) if reads else (X[:3],):
            predicted = [one.predict(table) for one in (model, eager)]
            assert bits(predicted[0]) == bits(predicted[1])
        if reads:
            assert bits(model.coef_) == bits(eager.coef_)
    assert bits(model.coef_) == bits(eager.coef_)
    assert len(steps) == len(CALLS) - 1
    assert steps == [False] + [True] * (len(CALLS) - 2)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("index", (np.int32, np.int64))
def test_types_of_values_and_indices(dtype: Any, index: Any, eagerly: Any) -> None:
    model, eager = (SGDRegressor(**RATE, average=True) for _ in range(2))
    for seed in range(4):
        X, y = rows(40, seed, dtype, index)
        call(model, X, y)
        eagerly(call, eager, X, y)
        assert learned(model) == learned(eager)
    assert bits(model.coef_) == bits(eager.coef_)
    assert model.coef_.dtype == dtype


@pytest.mark.parametrize("options", [{"average": True}, *SPECIAL], ids=str)
@pytest.mark.parametrize(("tol", "classes"), [(None, 2), (1e-3, 2), (None, 3)])
@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_a_fit(options: dict[str, Any], tol: float | None, classes: int, eagerly: Any) -> None:
    options = {**RATE, **options, "tol": tol, "max_iter": 60}
    X, y = CALLS[3]
    if classes == 3:
        y = (y + X.indices[::10]) % 3
    model, eager = (SGDClassifier(**options) for _ in range(2))
    model.fit(X, y)
    eagerly(eager.fit, X, y)
    waits = tol is None or (classes == 2 and options.get("momentum", 0.0) == 0.0)
    assert ("coef_" not in vars(model)) == waits
    assert learned(model) == learned(eager)
    assert bits(model.coef_) == bits(eager.coef_)
    model.set_params(warm_start=True).fit(X, y)
    eagerly(eager.set_params(warm_start=True).fit, X, y)
    assert bits(model.coef_) == bits(eager.coef_)


@pytest.mark.parametrize(
    ("options", "after", "interrupt"),
    [
        (options, after, interrupt)
        for options in [{"average": True}, {"alpha": 5.0}, *SPECIAL]
        for after in (1, 3, 6)
        for interrupt in (KeyboardInterrupt, ValueError, MemoryError)
        if options not in SPECIAL[1:] or (after, interrupt) == (3, KeyboardInterrupt)
    ],
    ids=str,
)
def test_an_exception_within_a_call_leaves_every_array_as_it_was(
    options: dict[str, Any], after: int, interrupt: type[BaseException], monkeypatch: Any
) -> None:
    model, other = fitted(**options), fitted(**options)
    before, names, steps = learned(model), set(vars(model)), [0]

    def advance(self: Any, run: Any, stop: int | None = None) -> bool:
        steps[0] += 1
        if steps[0] > after:
            raise interrupt("in the middle")
        run.advance(1, 4 * steps[0])
        return False

    class Halting:
        """A Run that stops every few rows, and then for good."""

        def __init__(self, run: Any) -> None:
            self.run = run

        def advance(self, budget: int) -> bool:
            return advance(None, self.run)

        def on(self, *arguments: Any) -> Any:
            return Halting(self.run.on(*arguments))

    whole, model._continuation.repeat.run = (
        model._continuation.repeat.run,
        Halting(model._continuation.repeat.run),
    )
    with monkeypatch.context() as patched:
        patched.setattr(training.Clock, "advance", advance)
        with pytest.raises(interrupt, match="in the middle"):
            model.partial_fit(*CALLS[4])
    assert steps[0] > after
    assert learned(model) == before
    assert set(vars(model)) == names
    model._continuation.repeat.run = whole
    for X, y in CALLS[4:]:
        call(model, X, y)
        call(other, X, y)
        assert learned(model) == learned(other)
    assert bits(model.coef_) == bits(other.coef_)


@pytest.mark.parametrize("bad", (np.nan, np.inf))
def test_rows_that_are_not_finite(bad: float, eagerly: Any) -> None:
    model, eager = fitted(), SGDClassifier(loss="log_loss", **RATE)
    for X, y in CALLS[:4]:
        eagerly(call, eager, X, y)
    before = learned(model)
    X, y = CALLS[4]
    X = X.copy()
    X.data[-3] = bad
    errors = []
    for one in (model.partial_fit, lambda *rows: eagerly(eager.partial_fit, *rows)):
        with pytest.raises(ValueError, match="contains") as caught:
            one(X, y)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert learned(model) == before
    call(model, *CALLS[4])
    eagerly(call, eager, *CALLS[4])
    assert learned(model) == learned(eager)


@pytest.mark.parametrize(
    "options",
    [{}, {"average": True}, {"momentum": 0.5}, {"penalty": "l1"}, {"batch_size": 4}],
    ids=str,
)
@pytest.mark.parametrize("how", ("fit", "resume", "partial_fit"))
def test_a_divergence_says_what_it_says_of_other_models(
    how: str, options: dict[str, Any], eagerly: Any
) -> None:
    """The last finite weights are those of the last epoch that ended."""
    X, y = CALLS[3]
    y = y + 0.5
    found = []
    for treated in (lambda work, *rest: work(*rest), eagerly):
        model = SGDRegressor(
            **{**RATE, "eta0": 0.02, "max_iter": 400, "tol": None, "penalty": None, **options}
        )
        if how != "fit":
            treated(model.partial_fit, X, y)
            treated(model.partial_fit, X, y)
        before = learned(model) if how != "fit" else None
        model.set_params(eta0=0.5)
        work = {"fit": model.fit, "partial_fit": model.partial_fit}.get(how)
        with pytest.raises(DivergenceError) as caught:
            for _ in range(400 if how == "partial_fit" else 1):
                if how == "partial_fit":
                    before = learned(model)
                treated(work or (lambda X, y, model=model: model.fit(X, y, resume=True)), X, y)
        assert before is None or learned(model) == before
        error = caught.value
        found.append((str(error), bits(error.coef_), bits(error.intercept_), error.epoch))
    assert found[0] == found[1]


def test_weights_that_somebody_holds_stay_as_they_are() -> None:
    model = fitted(2)
    held = []
    for X, y in CALLS[2:]:
        coef, intercept = model.coef_, model.intercept_
        assert model.coef_ is coef
        held.append((coef, intercept, bits(coef), bits(intercept)))
        call(model, X, y)
        assert "coef_" not in vars(model)
    assert len({was for *_, was, _ in held}) == len(held)
    for coef, intercept, was, was_intercept in held:
        assert bits(coef) == was
        assert bits(intercept) == was_intercept


@pytest.mark.parametrize("how", ("new", "in place", "sparse", "intercept", "deleted"))
def test_a_model_changed_by_hand_is_where_training_starts(how: str, eagerly: Any) -> None:
    model, eager = fitted(average=True), SGDClassifier(loss="log_loss", **RATE, average=True)
    for X, y in CALLS[:4]:
        eagerly(call, eager, X, y)
    for one in (model, eager):
        if how == "new":
            one.coef_ = 2.0 * one.coef_
        elif how == "in place":
            one.coef_ *= 2.0
        elif how == "intercept":
            one.intercept_[0] = 3.0
        elif how == "sparse":
            one.sparsify()
        elif one is model:
            assert one.coef_ is not None
            del one.coef_
    call(model, *CALLS[4])
    eagerly(call, eager, *CALLS[4])
    assert learned(model) == learned(eager)
    assert bits(model.coef_) == bits(eager.coef_)


def by_pickle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


def by_skops(model: Any) -> Any:
    data = skops.dumps(model)
    other = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    assert "coef_" in vars(other)
    return other


def by_dictionary(model: Any) -> Any:
    other = clone(model)
    vars(other).update(vars(model))
    return other


@pytest.mark.parametrize(
    "copied",
    (copy.copy, copy.deepcopy, by_pickle, by_skops, by_dictionary),
    ids=("copy", "deepcopy", "pickle", "skops", "dictionary"),
)
def test_copies_go_on_by_themselves(copied: Any, steps: list[bool]) -> None:
    model, twin, other_twin = fitted(), fitted(), fitted()
    was = bits(twin.coef_)
    twin = fitted()
    other = copied(model)
    other.history_ = copy.deepcopy(model.history_)  # which a shallow copy shares
    call(model, *CALLS[4])
    call(model, *CALLS[0])
    call(twin, *CALLS[4])
    call(twin, *CALLS[0])
    assert bits(other.coef_) == was
    assert learned(model) == learned(twin)
    call(other, *CALLS[5])
    call(other_twin, *CALLS[5])
    assert bits(other.coef_) == bits(other_twin.coef_)
    call(model, *CALLS[1])
    call(twin, *CALLS[1])
    assert learned(model) == learned(twin)
    assert bits(model.coef_) == bits(twin.coef_)


def test_a_snapshot_of_the_attributes_brings_the_model_back() -> None:
    model = fitted()
    before, snapshot = learned(model), vars(model).copy()
    snapshot["history_"] = copy.deepcopy(model.history_)  # lists that grow
    snapshot["loss_curve_"] = snapshot["history_"]["loss"]
    for X, y in CALLS:
        call(model, X, y)
    vars(model).clear()
    vars(model).update(snapshot)
    assert learned(model) == before
    assert bits(model.coef_) == bits(fitted().coef_)


def test_pickling_between_calls_changes_nothing() -> None:
    model, pickled = fitted(1), fitted(1)
    for X, y in CALLS[1:]:
        call(model, X, y)
        pickled = pickle.loads(pickle.dumps(pickled))
        assert "coef_" in vars(pickled)
        call(pickled, X, y)
    assert learned(model) == learned(pickled)
    assert bits(model.coef_) == bits(pickled.coef_)


def test_the_attribute_is_there_for_whoever_asks() -> None:
    new = SGDClassifier()
    assert not hasattr(new, "coef_")
    assert not hasattr(SGDClassifier, "coef_")
    with pytest.raises(AttributeError, match="'SGDClassifier' object has no attribute 'coef_'"):
        attrgetter("coef_")(new)
    model = fitted()
    check_is_fitted(model, "coef_")
    assert "coef_" in vars(model)
    assert "coef_" in fitted().__getstate__()
    assert joblib.hash(fitted()) is not None
    assert not hasattr(clone(fitted()), "coef_")
    assert sp.issparse(fitted().sparsify().coef_)
    assert fitted().densify().coef_.shape == (1, D)


def test_nothing_is_kept_beside_two_states() -> None:
    model = fitted()
    kept = model._continuation.repeat
    for X, y in CALLS:
        call(model, X, y)
    gc.collect()
    states = [one for one in gc.get_objects() if issubclass(type(one), repeat.Repeat)]
    assert kept not in states or kept.spare is None
    assert pickle.loads(pickle.dumps(model))._continuation.repeat is None


def problem(**settings: Any) -> tuple[Data, Lanes, Settings]:
    X, y = rows(40, 9)
    signs = np.where(y > 0, 1.0, -1.0).astype(np.float32)
    return (
        Data(X, signs),
        Lanes(1, alpha=1e-3, eta0=0.05),
        Settings(loss="log_loss", sign_targets=True, **settings),
    )


MEASURED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"optimizer": SGD(momentum=0.9)}, {}),
    ({}, {"l1": 1e-3}),
    ({}, {"l1": 1e-3, "alpha": 0.0}),
    ({"optimizer": SGD(momentum=0.9)}, {"l1": 1e-3, "alpha": 0.0}),
    ({"optimizer": AdaGrad()}, {"l1": 1e-3}),
    ({"batch_size": 8}, {}),
    ({}, {"intercept_gradient": 0.3}),
]


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize(("average", "k"), [(0, 1), (1, 1), (30, 1), (0, 9), (30, 3)])
@pytest.mark.parametrize(("settings", "lanes"), [({}, {}), *MEASURED], ids=str)
def test_measures_without_a_copy_of_the_weights(
    settings: dict[str, Any], lanes: dict[str, Any], k: int, average: int, isa: str
) -> None:
    data, _, others = problem(average=average, **settings)
    parts = data, Lanes(k, **{"alpha": 1e-3, "eta0": 0.05, **lanes}), others
    state = solver.State(*parts)
    run = _core.Run(*parts, state, isa=isa)
    waits = "l1" in lanes and not settings  # what L1 leaves of features, which is read as it is
    for _ in range(3):
        run.advance(1 << 30)
        before = state.__getstate__()
        _, last, loss, norm = run.measure()
        intercept, *found, finite = run.measure_unread()
        assert bits(before) == bits(state.__getstate__())
        assert bits(found) == bits([loss, norm])
        assert bits(intercept) == bits(state.weights(parts[2])[1])
        assert bits(intercept) == bits(state.intercepts(parts[2]))
        assert average or bits(intercept) == bits(last)
        assert finite
        assert state.reads_few == (k == 1 and (waits or state.pending == 0))
        if state.reads_few:
            features = np.unique(parts[0].X.indices)[::3]
            coef, _ = state.weights_at(parts[2], features)
            assert_array_equal(coef, state.weights(parts[2])[0][:, features])
        else:
            with pytest.raises(ValueError, match="weights_at needs a state of one lane"):
                state.weights_at(parts[2], np.arange(3))
    pending = state.__getstate__()
    run.flush()
    kept = [pending, state.__getstate__()]
    vectors = {0, parts[2].width - 1}  # the weight, and what its average has
    for one, value, vector in product(kept, (np.nan, np.inf, 3e38), vectors):
        changed = copy.deepcopy(one)
        w = changed["arrays"]["w"]
        w = w.T if w.shape[-1] == 2 else w  # pairs of one lane
        w[(vector, D - 3) if k == 1 else (D - 3, vector, k - 1)] = value
        other = solver.State.__new__(solver.State)
        other.__setstate__(changed)
        *_, finite = _core.Run(*parts, other, isa=isa).measure_unread()
        coef, _ = other.weights(parts[2])
        squares = _core.row_norms(other.last_weights()[0], True)
        assert finite == bool(np.isfinite(coef).all() and np.isfinite(squares).all())


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("settings", ({}, {"optimizer": SGD(momentum=0.9)}), ids=str)
def test_an_average_that_is_too_large_is_not_finite(settings: dict[str, Any], isa: str) -> None:
    """Though the weight and what is added to it are finite, and double precision has their sum."""
    parts = problem(average=1, **settings)
    state = solver.State(*parts)
    run = _core.Run(*parts, state, isa=isa)
    run.advance(1 << 30)
    run.flush()
    changed = state.__getstate__()
    w = changed["arrays"]["w"]
    w = w.T if w.shape[-1] == 2 else w  # pairs of one lane
    for value in (1e38, np.finfo(np.float32).max):
        w[0, D - 3] = w[-1, D - 3] = value
        other = solver.State.__new__(solver.State)
        other.__setstate__(changed)
        *_, finite = _core.Run(*parts, other, isa=isa).measure_unread()
        assert np.isfinite(other.last_weights()[0]).all()
        assert finite == np.isfinite(other.weights(parts[2])[0]).all() == (value == 1e38)


@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("vector", range(3))
def test_an_average_that_overflows_is_seen_in_any_coordinate(vector: int, isa: str) -> None:
    """Of the first weights that are averaged, at the start of a span: the steps to come multiply
    what dies out by more than 1, and, at a low rate, a velocity from before by much less."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 13)) * (rng.random((40, 13)) < 0.3)
    data = Data(sp.csr_array(X.astype(np.float32)), np.ones(40, dtype=np.float32))
    lanes, settings = (
        Lanes(1, alpha=0.1, eta0=1e-6),
        Settings(average=2, optimizer=SGD(momentum=0.9)),
    )
    state = solver.State(data, lanes, settings)
    solver.run_epoch(data, lanes, settings, state, batches=2)
    assert state.pending > 0
    ends = set()
    for value in (1e30, 3e37, 3e38):
        fields = state.__getstate__()
        fields["arrays"]["w"][vector, 10] = value
        other = solver.State.__new__(solver.State)
        other.__setstate__(fields)
        *_, finite = _core.Run(data, lanes, settings, other, isa=isa).measure_unread()
        assert finite == np.isfinite(other.weights(settings)[0]).all()
        ends.add(finite)
    assert (False in ends) == (vector == 1)


@pytest.mark.parametrize("k", (1, 3, 20))
@pytest.mark.parametrize(
    ("settings", "lanes"),
    [({"average": 1}, {}), ({}, {"alpha": 15.0}), *MEASURED],  # 15: the scale is soon too small
    ids=str,
)
def test_a_state_follows_another(settings: dict[str, Any], lanes: dict[str, Any], k: int) -> None:
    data, _, others = problem(**settings)
    parts = data, Lanes(k, **{"alpha": 1e-3, "eta0": 0.05, **lanes}), others
    one, other = solver.State(*parts), solver.State(*parts)
    start = (
        np.random.default_rng(0).normal(size=(k, D)).astype(np.float32)
    )  # of absent features too
    for state in (one, other):
        state.set_weights(start, start[:, 0])
    _core.Run(*parts, other)  # which allocates what lazy updates need
    run = _core.Run(*parts, one)
    for _ in range(3):
        rescales = one.rescales
        run.advance(1 << 30)
        other.follow(one, data.X.indices, one.rescales != rescales)
        assert bits(one.copy().__getstate__()) == bits(other.__getstate__())
        run.flush()
        other.follow(one, data.X.indices[:0], True)
        assert bits(one.copy().__getstate__()) == bits(other.__getstate__())
    outside = np.array([-1, D, 1 << 40])
    other.follow(one, outside)
    assert bits(one.copy().__getstate__()) == bits(other.__getstate__())
    with pytest.raises(ValueError, match="follow needs two states"):
        other.follow(
            solver.State(data, Lanes(k + 1, alpha=0.0, eta0=0.1), Settings()), data.X.indices
        )


@pytest.mark.parametrize("average", (0, 1))
@pytest.mark.parametrize("k", (1, 3, 6))
def test_a_state_follows_groups_of_features_that_change_when_they_are_seen(
    k: int, average: int
) -> None:
    """With momentum a feature brings its group to the present span, of neighbours that the rows do
    not have too (csrc/kernel/spans.h)."""
    rng, n, d = np.random.default_rng(0), 1300, 140_000
    shape = (rng.normal(size=4 * n), rng.integers(0, d, 4 * n), np.arange(0, 4 * n + 1, 4))
    data = Data(sp.csr_array(shape, (n, d)), rng.normal(size=n))
    settings = Settings(optimizer=SGD(0.9), average=average, sampling="sequential")
    parts = data, Lanes(k, alpha=1e-3, eta0=0.01), settings
    one, other = solver.State(*parts), solver.State(*parts)
    for state in (one, other):
        state.set_weights(np.ones((k, d)), np.zeros(k))
    run, rescales = _core.Run(*parts, one), one.rescales
    while one.epoch == 0:
        first = one.row
        run.advance(4000)
        other.follow(one, data.X[first : one.row or n].indices)
    assert one.pending > 1 and one.rescales == rescales  # spans, of which none changed all features
    assert bits(one.copy().__getstate__()) == bits(other.__getstate__())


def test_whether_something_is_alone() -> None:
    owner: dict[str, Any] = {"one": np.zeros(3)}
    assert _core.is_alone(owner, "one")
    assert not _core.is_alone(owner, "other")
    second = owner["one"]
    assert not _core.is_alone(owner, "one")
    del second
    assert _core.is_alone(owner, "one")


def test_a_users_schedule_is_asked_once_for_each_rate() -> None:
    """Weights that wait in the state come of another training after an error, which would ask it
    again for what it has given."""
    X, y = rows(200, 0)
    asked: list[int] = []

    def rate(step: int, epoch: int) -> float:
        asked.append(step)
        return 0.01 if step < 500 else 1e30

    with pytest.raises(DivergenceError) as caught:
        SGDRegressor(learning_rate=rate, tol=None).fit(X, y)
    assert caught.value.epoch == 3 and np.isfinite(caught.value.coef_).all()
    assert asked == list(range(1, len(asked) + 1))
