"""A user's own compiled loss: from a C compiler, from numba where it is installed, from ctypes."""

import ctypes
import pickle
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from problems import (
    DTYPES,
    LAYOUTS,
    TOLERANCE,
    difference,
    grid,
    lanes,
    table,
    train_core,
    train_twin,
)
from scipy import LowLevelCallable
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastsgd import DivergenceError, SGDClassifier, SGDRegressor
from fastsgd.losses import CompiledLoss, find
from fastsgd.problem import Settings

SOURCE = r"""
#include <math.h>
#include <stdint.h>
/* log(cosh(z - y)) and its derivative */
void logcosh(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = log(cosh(z[i] - y[i]));
}
void logcosh_slope(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = tanh(z[i] - y[i]);
}
void half_square(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0.5 * (z[i] - y[i]) * (z[i] - y[i]);
}
void half_square_slope(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = z[i] - y[i];
}
void broken(const double *z, const double *y, double *out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = z[i] == 0.0 ? 1.0 : NAN;
}
"""
POINTER = ctypes.POINTER(ctypes.c_double)
ARGUMENTS = [POINTER, POINTER, POINTER, ctypes.c_int64]
MODULE = "users_losses"


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    """The functions of SOURCE, as ctypes functions."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "fastsgd itself is built from source here: there must be a C compiler"
    folder = tmp_path_factory.mktemp("loss")
    source, library = folder / "loss.c", folder / "libloss.so"
    source.write_text(SOURCE)
    command = [compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    functions = {}
    for name in ("logcosh", "logcosh_slope", "half_square", "half_square_slope", "broken"):
        functions[name] = getattr(loaded, name)
        functions[name].argtypes, functions[name].restype = ARGUMENTS, None
    return SimpleNamespace(path=str(library), **functions)


@pytest.fixture(scope="module")
def half_square(c):
    return CompiledLoss(c.half_square, c.half_square_slope, name="half_square")


@pytest.fixture
def importable(c, tmp_path, monkeypatch):
    """A module with a compiled loss in it, as a user would write one."""
    (tmp_path / f"{MODULE}.py").write_text(
        "import ctypes\n"
        "from scipy import LowLevelCallable\n"
        "from fastsgd.losses import CompiledLoss\n"
        f"library = ctypes.CDLL({c.path!r})\n"
        "pointer = ctypes.POINTER(ctypes.c_double)\n"
        "for function in (library.logcosh, library.logcosh_slope):\n"
        "    function.argtypes = [pointer, pointer, pointer, ctypes.c_int64]\n"
        "    function.restype = None\n"
        "logcosh = CompiledLoss(LowLevelCallable(library.logcosh),\n"
        "                       LowLevelCallable(library.logcosh_slope), name='logcosh')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    yield __import__(MODULE).logcosh
    sys.modules.pop(MODULE)


def test_the_twin_calls_it(half_square):
    z, y = np.random.default_rng(0).normal(size=(2, 7, 3))
    np.testing.assert_allclose(half_square.value(z, y), 0.5 * (z - y) ** 2, rtol=1e-15)
    np.testing.assert_allclose(half_square.slope(z, y), z - y, rtol=1e-15)
    assert find(half_square) is half_square


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_trains_as_the_same_loss_built_in(half_square, dtype, layout):
    """Squared error by C code of one's own, against the twin: lanes, batches, weights."""
    for case in grid(k=(1, 3, 19), batch_size=(1, 4, 23)):
        data = table().data(dtype, layout, sign=False, weighted=True)
        of = lanes(case["k"], "squared_error")
        core = train_core(data, of, Settings(half_square, batch_size=case["batch_size"]))
        built_in = Settings(batch_size=case["batch_size"])
        gap = difference(core, train_twin(data, of, built_in), built_in)
        assert gap < TOLERANCE[dtype], (case, gap)


def test_estimators_take_it(importable):
    X, y = np.random.default_rng(0).normal(size=(200, 3)), np.zeros(200)
    y[:] = X @ [1.0, -2.0, 0.5] + 0.3
    model = SGDRegressor(importable, max_iter=30, learning_rate="constant", eta0=0.02, tol=None)
    model.set_params(random_state=0, alpha=0.0)
    assert model.fit(X, y).score(X, y) > 0.999
    labels = np.where(y > 0, "up", "down")
    classifier = SGDClassifier(importable, random_state=0, max_iter=20, tol=None)
    assert classifier.fit(X, labels).score(X, labels) > 0.95


def test_it_clones_pickles_and_searches(importable):
    """By import name, as a function does; so it reaches the processes of a search."""
    assert pickle.loads(pickle.dumps(importable)) is importable
    model = SGDRegressor(importable, random_state=0, max_iter=5, tol=None)
    assert clone(model).loss is importable
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = X @ [1.0, -2.0, 0.5]
    get_reusable_executor().shutdown(wait=True)  # processes that do not know the module's path
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_ == {"alpha": 1e-4}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.best_estimator_.predict(X))


def test_it_does_not_pickle_under_another_name(c):
    """The name must be the module's: pickle says so rather than find another object."""
    stray = CompiledLoss(c.half_square, c.half_square_slope, name="nowhere")
    with pytest.raises((pickle.PicklingError, AttributeError), match="nowhere"):
        pickle.dumps(stray)


def wrong_signatures(c):
    """Things that are no loss function, and a part of what is said of each."""
    two = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_int64)
    floats = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(ctypes.c_float)] * 3, ctypes.c_int64)
    returning = ctypes.CFUNCTYPE(ctypes.c_double, *ARGUMENTS)
    bare = ctypes.CDLL(c.path).logcosh  # no argtypes: ctypes would take anything
    return {
        "python": (lambda z, y: z - y, "function"),
        "two arguments": (two(lambda z, n: None), "LP_c_double', 'c_long"),
        "float": (floats(lambda z, y, out, n: None), "LP_c_float"),
        "returns": (returning(lambda z, y, out, n: 0.0), "restype c_double"),
        "untyped": (bare, "restype c_int"),
        "low level": (LowLevelCallable(two(lambda z, n: None)), "argtypes"),
        "nothing": (None, "NoneType"),
    }


@pytest.mark.parametrize(
    "kind", ("python", "two arguments", "float", "returns", "untyped", "low level", "nothing")
)
def test_a_wrong_signature_is_a_clear_error(c, kind):
    function, said = wrong_signatures(c)[kind]
    with pytest.raises(ValueError, match=r"value must be a C function void") as caught:
        CompiledLoss(function, c.half_square_slope, name="x")
    assert said in str(caught.value)
    with pytest.raises(ValueError, match=r"slope must be a C function void"):
        CompiledLoss(c.half_square, function, name="x")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("name", "no name"), ("smoothness", 0.0), ("targets", ("real", "nonsense")), ("targets", ())],
)
def test_other_arguments_are_checked(c, argument, value):
    with pytest.raises(ValueError, match=argument):
        CompiledLoss(c.half_square, c.half_square_slope, **{"name": "x", argument: value})


def test_a_loss_may_be_of_all_targets(c):
    targets = ("real", "sign", "count")
    loss = CompiledLoss(c.half_square, c.half_square_slope, name="x", targets=targets)
    assert loss.targets == set(targets)


@pytest.mark.parametrize("batch_size", (1, 8))
@pytest.mark.parametrize("classes", (1, 3))
@pytest.mark.parametrize("broken", ("value", "slope"))
def test_nan_is_a_divergence(c, broken, classes, batch_size):
    """From the value or from the slope, at the second step."""
    parts = {"value": c.half_square, "slope": c.half_square_slope, broken: c.broken}
    loss = CompiledLoss(**parts, name="x")
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = np.arange(40) % classes if classes > 1 else np.sign(X[:, 0])
    model = SGDClassifier(loss, random_state=0, batch_size=batch_size, max_iter=3, eta0=0.1)
    model.set_params(learning_rate="constant")
    with pytest.raises(DivergenceError):
        model.fit(X, y)
    assert not hasattr(model, "coef_")


def test_numba():
    """A numba cfunc, and one of another signature."""
    numba = pytest.importorskip("numba")
    types = numba.types
    array = types.CPointer(types.float64)
    signature = types.void(array, array, array, types.int64)

    def value(z, y, out, n):
        for i in range(n):
            out[i] = 0.5 * (z[i] - y[i]) ** 2

    def slope(z, y, out, n):
        for i in range(n):
            out[i] = z[i] - y[i]

    loss = CompiledLoss(numba.cfunc(signature)(value), numba.cfunc(signature)(slope), name="x")
    data, of = table().data(np.float64, "dense", sign=False), lanes(3, "squared_error")
    core, twin = train_core(data, of, Settings(loss)), train_twin(data, of, Settings())
    assert difference(core, twin, Settings()) < TOLERANCE[np.float64]
    with pytest.raises(ValueError, match="numba cfunc"):
        single = types.void(types.CPointer(types.float32), array, array, types.int64)
        CompiledLoss(numba.cfunc(single)(value), numba.cfunc(signature)(slope), name="x")


def test_a_null_pointer_is_refused(c):
    """An unset ctypes function is no function to call."""
    unset = ctypes.CFUNCTYPE(None, *ARGUMENTS)()
    for parts in ((unset, c.half_square_slope), (c.half_square, unset)):
        with pytest.raises(ValueError, match="NULL"):
            CompiledLoss(*parts, name="x")


@pytest.mark.parametrize("batch_size", (1, 8))
@pytest.mark.parametrize("k", (1, 3))
def test_what_a_function_leaves_unwritten_is_nan(c, batch_size, k):
    """Not whatever the memory held: a function that fails has diverged."""
    idle = ctypes.CFUNCTYPE(None, *ARGUMENTS)(lambda z, y, out, n: None)
    loss = CompiledLoss(c.half_square, idle, name="x")
    data = table().data(np.float64, "dense", sign=False)
    with pytest.raises(DivergenceError):
        train_core(data, lanes(k, "squared_error"), Settings(loss, batch_size=batch_size))


def test_what_a_function_leaves_unwritten_is_nan_in_python_too(c):
    """There "auto" looks at losses to choose a rate: it must not choose by whatever was there."""
    idle = ctypes.CFUNCTYPE(None, *ARGUMENTS)(lambda z, y, out, n: None)
    loss = CompiledLoss(idle, idle, name="x", smoothness=np.inf)
    z = np.arange(6.0).reshape(2, 3)
    for part in (loss.value, loss.slope):
        np.full(z.shape, 7.0)  # which the next array of this size is made of
        assert part(z, z).shape == z.shape
        assert np.isnan(part(z, z)).all()
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(DivergenceError):
        SGDRegressor(loss, random_state=0).fit(X, X[:, 0])
