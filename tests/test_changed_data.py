"""User code and other threads that change X during a fit: a ValueError, no crash and no model.

``python test_changed_data.py`` is the server that forks for every case, see forked.py. Without care
each of these cases reads memory that is not there. FASTSGD_EXHAUSTIVE=1 pairs every actor with
every change.
"""

import ctypes
import os
import sys
import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from forked import serve, server_of
from sklearn.metrics import get_scorer

from fastsgd import (
    GridSearchCV,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    _core,
    path,
    solver,
)
from fastsgd.losses import CompiledLoss
from fastsgd.problem import Data, Lanes, Settings

N, D, NONZEROS = 600, 40, 6


def examples(sparse=True):
    """X (600, 40) and four classes, which do as real targets too."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.permuted(np.tile(np.arange(D), (N, 1)), axis=1)[:, :NONZEROS], axis=1)
    values, indptr = rng.normal(size=N * NONZEROS), np.arange(0, N * NONZEROS + 1, NONZEROS)
    arrays = values, columns.ravel().astype(np.int32), indptr.astype(np.int32)
    X = sp.csr_array(arrays, shape=(N, D))
    X.data, X.indices, X.indptr = X.data.copy(), X.indices.copy(), X.indptr.copy()
    assert X.data.flags.owndata  # or NumPy would never resize them
    return X if sparse else X.toarray(), np.arange(N) % 4


# ---------------------------------------------------------------- what is changed


def set_all(name, value):
    def change(X):
        getattr(X, name)[:] = value

    return change


def shift_columns(X):
    X.indices[:] = (X.indices + 1) % D


def swap_columns(X):
    X.indices[:] = X.indices[::-1].copy()


def shift_rows(X):
    X.indptr[1:-1] -= 1


def long_row(X):
    X.indptr[1:] = X.indptr[-1]


def turn_indptr(X):
    X.indptr[:] = X.indptr[::-1].copy()


def one_index(X):
    X.indices[-1] = 2**30


def resize(X):
    """Refused by NumPy, with a ValueError."""
    array = X.data if sp.issparse(X) else X
    array.resize((1, 1)[: array.ndim], refcheck=False)


def resize_indices(X):
    X.indices.resize(1, refcheck=False)


CHANGES = {
    "indices 2**30": set_all("indices", 2**30),
    "indices d + 3": set_all("indices", D + 3),
    "indices -1": set_all("indices", -1),
    "one index": one_index,
    "indices in range": shift_columns,
    "order of indices": swap_columns,
    "indptr 2**30": set_all("indptr", 2**30),
    "indptr -1": set_all("indptr", -1),
    "indptr in range": shift_rows,
    "one long row": long_row,
    "indptr that falls": turn_indptr,
    "data resized": resize,
    "indices resized": resize_indices,
}


# ---------------------------------------------------------------- who changes it


def once(change, X):
    """A function that changes X at its third call."""
    calls = []

    def act():
        calls.append(None)
        if len(calls) == 3:
            change(X)

    return act


def scorer_of(act):
    score = get_scorer("accuracy")

    def scorer(model, X, y):
        act()
        return score(model, X, y)

    return scorer


class Callback:
    """scikit-learn's, which acts at the end of an epoch."""

    def __init__(self, act):
        self.act = act

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.act()

    def teardown(self, estimator, context):
        pass


OPTIONS = {"max_iter": 8, "tol": None, "random_state": 0, "learning_rate": "constant", "eta0": 0.01}


def by_scorer(act, X, y):
    SGDClassifier(**OPTIONS, scoring=scorer_of(act)).fit(X, y, X_val=X[:50], y_val=y[:50])


def by_early_stopping(act, X, y):
    SGDClassifier(**OPTIONS, scoring=scorer_of(act), early_stopping=True).fit(X, y)


def by_validation_on_itself(act, X, y):
    """X is the validation set too, and the scorer changes it."""
    SGDClassifier(**OPTIONS, scoring=scorer_of(act)).fit(X, y, X_val=X, y_val=y)


def by_schedule(act, X, y, **options):
    def rate(step, epoch):
        if step % 50 == 0:
            act()
        return 0.01

    SGDRegressor(**{**OPTIONS, "learning_rate": rate, **options}).fit(X, y)


def by_schedule_that_diverges(act, X, y):
    """An error of its own, for which X that is not what it was is to blame first."""

    def rate(step, epoch):
        if step < 100:
            return 0.01
        act()
        return 1e30

    SGDRegressor(**{**OPTIONS, "learning_rate": rate}).fit(X, y)


def by_callback(act, X, y, **options):
    model = SGDClassifier(**{**OPTIONS, **options}).set_callbacks(Callback(act))
    model.fit(X, y, diagnostics=True)


def by_search(act, X, y):
    """The scorer of the second candidate."""
    options = {"cv": 3, "scoring": scorer_of(act)}
    GridSearchCV(SGDClassifier(**OPTIONS), {"alpha": [0.1, 0.01]}, **options).fit(X, y)


def by_splitter(act, X, y):
    def splits():
        for i in range(3):
            act()
            yield np.flatnonzero(np.arange(N) % 3 != i), np.flatnonzero(np.arange(N) % 3 == i)

    class Splitter:
        def split(self, X, y=None, groups=None):
            return splits()

        def get_n_splits(self, X=None, y=None, groups=None):
            return 3

    GridSearchCV(SGDClassifier(**OPTIONS), {"alpha": [0.1, 0.01]}, cv=Splitter()).fit(X, y)


def by_loss(act, X, y):
    """In the middle of a call of the core."""
    pointer = ctypes.POINTER(ctypes.c_double)
    prototype = ctypes.CFUNCTYPE(None, *[pointer] * 3, ctypes.c_int64)
    count = [0]

    @prototype
    def value(z, y, out, n):
        for i in range(n):
            out[i] = 0.5 * (z[i] - y[i]) ** 2

    @prototype
    def slope(z, y, out, n):
        count[0] += 1
        if count[0] % 300 == 0:
            act()
        for i in range(n):
            out[i] = z[i] - y[i]

    SGDRegressor(CompiledLoss(value, slope, name="loss"), **OPTIONS).fit(X, y)


def by_thread(act, X, y, make=SGDClassifier, **options):
    """While the fit is under way: there is no such place in the code of this thread."""

    def change():
        time.sleep(0.1)
        for _ in range(3):
            act()

    thread = threading.Thread(target=change)
    model = make(**{**OPTIONS, "max_iter": 10_000, **options})
    thread.start()
    try:
        model.fit(X, y)
    finally:
        thread.join()


def by_thread_of_path(act, X, y):
    def change():
        time.sleep(0.1)
        for _ in range(3):
            act()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        path(X, y, alphas=np.geomspace(1e-4, 1, 20), estimator=SGDRegressor(**LONG))
    finally:
        thread.join()


NETWORK = {"hidden_layer_sizes": (4,), "max_iter": 8, "tol": None, "random_state": 0}


def network(learning_rate, eta0, **options):
    return MLPClassifier(**{**NETWORK, **options})


def by_scorer_of_a_network(act, X, y):
    MLPClassifier(scoring=scorer_of(act), early_stopping=True, **NETWORK).fit(X, y)


def by_schedule_of_a_network(act, X, y):
    def rate(step, epoch):
        act()
        return 0.01

    MLPRegressor(solver="sgd", learning_rate=rate, **NETWORK).fit(X, y)


LONG = {**OPTIONS, "max_iter": 10_000}
MOMENTUM = {"momentum": 0.9, "average": True}
ACTORS = {
    "scorer": by_scorer,
    "early stopping": by_early_stopping,
    "validation on itself": by_validation_on_itself,
    "schedule": by_schedule,
    "schedule, batches": partial(by_schedule, batch_size=7),
    "schedule, backoff": partial(by_schedule, on_divergence="backoff"),
    "callback": by_callback,
    "callback, momentum": partial(by_callback, **MOMENTUM),
    "callback, elastic net": partial(by_callback, penalty="elasticnet", certificate=True),
    "search": by_search,
    "splitter": by_splitter,
    "loss": by_loss,
    "thread": by_thread,
    "thread, batches": partial(by_thread, batch_size=50, clip_norm=1.0),
    "thread, one class": partial(by_thread, make=SGDOneClassSVM, **MOMENTUM),
    "thread, path": by_thread_of_path,
    "thread, network": partial(by_thread, make=network),
    "scorer, network": by_scorer_of_a_network,
    "schedule, network": by_schedule_of_a_network,
    "schedule that diverges": by_schedule_that_diverges,
}
KINDS = (
    ["indices 2**30", "indices d + 3", "indices -1", "one index"],
    ["indptr 2**30", "indptr -1", "indptr that falls"],
    ["indices in range", "order of indices", "indptr in range", "one long row"],
    ["data resized", "indices resized"],
)
"""Changes that are found in the same way."""
EXHAUSTIVE = bool(os.environ.get("FASTSGD_EXHAUSTIVE"))
CASES = [
    (actor, change)
    for number, actor in enumerate(ACTORS)
    for kind in KINDS
    for change in (kind if EXHAUSTIVE or actor == "schedule" else [kind[number % len(kind)]])
]
"""Every actor with a change of every kind, and one of them, or each, with all."""
GOES_ON = ("thread", "loss", "search")
"""Where NumPy's refusal to resize does not end the fit: in another thread, in a C function, whose
value is then NaN or asked for again, and in a search's scorer by ``error_score``."""


def attempt(actor, change):
    """What became of the fit: None, or the exception."""
    X, y = examples(sparse=change != "dense resized")
    before = X.copy()
    act = once(CHANGES.get(change, resize), X)
    threading.excepthook = lambda args: None
    sys.unraisablehook = lambda args: None
    error = None
    try:
        ACTORS[actor](act, X, y)
    except Exception as caught:
        error = caught
    different = (before != X).nnz > 0 if "range" in change else True
    yield {"error": error and f"{type(error).__name__}: {error}", "changed": bool(different)}


def serve_cases():
    warnings.simplefilter("ignore")
    X, y = examples()
    for make in (SGDClassifier, SGDOneClassSVM, network):  # code that is loaded late
        make(**OPTIONS).fit(X, y)
    path(X, y, alphas=[1.0], estimator=SGDRegressor(**OPTIONS))
    serve(attempt)


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def ask():
    with server_of(__file__) as ask:
        yield ask


def error_of(answer):
    """The error of a case's fit, or None; the case's process ended well."""
    assert answer["ended"] == 0, answer
    (result,) = answer["results"]
    assert result["changed"]
    return result["error"]


def test_every_change_is_made():
    assert {change for _, change in CASES} == set(CHANGES)
    assert sorted(change for kind in KINDS for change in kind) == sorted(CHANGES)
    assert {actor for actor, _ in CASES} == set(ACTORS)


@pytest.mark.parametrize(("actor", "change"), CASES)
def test_a_changed_structure_is_a_value_error(actor, change, ask):
    """Whoever changes it, and whether it is then out of range or only another one."""
    if "callback" in actor:
        pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
    error = error_of(ask(actor, change))
    if "resized" in change and actor.startswith(GOES_ON):
        assert error is None or "DivergenceError" in error
    else:
        assert error is not None
        assert error.startswith(
            "ValueError: cannot resize" if "resized" in change else "ValueError: X"
        )


@pytest.mark.parametrize("actor", ACTORS)
def test_dense_data_cannot_be_resized(actor, ask):
    """The error is NumPy's own, raised in the user's code; a thread's fit goes on."""
    if "callback" in actor:
        pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
    error = error_of(ask(actor, "dense resized"))
    if actor.startswith(GOES_ON):
        assert error is None
    else:
        assert error.startswith("ValueError: cannot resize")


@pytest.mark.parametrize("actor", ("scorer", "schedule", "thread"))
def test_without_a_change_there_is_no_error(actor):
    X, y = examples()
    ACTORS[actor](lambda: None, X, y)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # NumPy 2.5
@pytest.mark.parametrize("name", ("X", "y", "sample_weight"))
def test_arrays_of_data_cannot_be_resized(name):
    """Nor reshaped under it; and they can be once it is gone."""
    arrays = {"X": np.ones((6, 4)), "y": np.ones(6), "sample_weight": np.ones(6)}
    data = Data(**arrays)
    with pytest.raises(ValueError, match="resize"):
        arrays[name].resize(1, refcheck=False)
    arrays[name].shape = (-1, 2)
    assert (data.n, data.d, data.y.shape) == (6, 4, (6, 1))
    del data
    arrays[name].resize(1, refcheck=False)


def test_rows_are_taken_with_care():
    X, _ = examples()
    rows = [5, 0, 599, 5]
    assert (_core.take_rows(X, rows) != X[rows]).nnz == 0
    assert (_core.take_rows(X, slice(7, None, 3)) != X[7::3]).nnz == 0
    assert _core.take_rows(X, []).shape == (0, D)
    for corrupt in ("indices 2**30", "indices -1", "indptr 2**30", "indptr -1"):
        X, _ = examples()
        CHANGES[corrupt](X)
        with pytest.raises(ValueError, match="X changed"):
            _core.take_rows(X, rows)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_has_another_fingerprint(change):
    X, _ = examples()
    before = _core.check_structure(X)
    assert _core.check_structure(X.copy()) == before
    if "resized" in change:
        return
    CHANGES[change](X)
    try:
        assert _core.check_structure(X) != before
    except ValueError as error:
        assert "X is not a valid CSR matrix" in str(error)


def test_one_index_changes_the_fingerprint():
    X, _ = examples()
    before = _core.check_structure(X)
    for p in range(0, len(X.indices), 7):
        column = X.indices[p]
        X.indices[p] = (column + 1) % D
        assert _core.check_structure(X) != before, p
        X.indices[p] = column
    assert _core.check_structure(X) == before


def test_a_run_of_the_solver_sees_it_too():
    X, y = examples()
    problem = Data(X, y.astype(float)), Lanes(1, alpha=0.0, eta0=0.01), Settings()
    state = solver.State(*problem)
    solver.run_epoch(*problem, state, batches=3)
    run = _core.Run(*problem, state)
    X.indices[:] = D
    with pytest.raises(ValueError, match="X changed"):
        run.advance(10**9)
    for verb in (run.score, run.gradient_sums):
        with pytest.raises(ValueError, match="X changed"):
            verb([3, 4])


if __name__ == "__main__":
    serve_cases()
