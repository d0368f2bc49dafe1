"""Bad input: a ValueError that names it, never a crash, and never a model.

Corrupt sparse matrices are tried in forks of one child process, ``python test_bad_input.py``, which
prints what became of each; one that crashes takes only its own fork along.
"""

import json
import os
import pickle
import subprocess
import sys
import warnings
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from fastsgd import DivergenceError, SGDClassifier, SGDRegressor, _core, solver
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings

ESTIMATORS = (SGDClassifier, SGDRegressor)
N, D = 30, 7
INDICES, VALUES = (np.int32, np.int64), (np.float32, np.float64)


def examples(dtype=np.float64):
    """X (30, 7), half of it zero, and labels 0 and 1, which do as real targets too."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(N, D)) * (rng.random((N, D)) < 0.5)).astype(dtype)
    y = np.tile([0, 1], N // 2)
    assert (X[3] != 0).sum() > 1
    return X, y


# ---------------------------------------------------------------- corrupt sparse matrices


def put(name, position, value):
    """A corruption: one entry of an array of the matrix."""

    def corrupt(X):
        getattr(X, name)[position] = value(X) if callable(value) else value

    return corrupt


def swap(**arrays):
    """A corruption: whole arrays, each made from the old one."""

    def corrupt(X):
        for name, change in arrays.items():
            setattr(X, name, change(getattr(X, name)))

    return corrupt


def largest(name):
    return lambda X: np.iinfo(getattr(X, name).dtype).max


COMPRESSED = {
    "index too large": put("indices", 5, lambda X: max(X.shape)),
    "index negative": put("indices", 5, -1),
    "index huge": put("indices", 5, largest("indices")),
    "last index too large": put("indices", -1, lambda X: max(X.shape)),
    "indptr falling": put("indptr", 3, 1),
    "indptr huge": put("indptr", 3, largest("indptr")),
    "indptr negative": put("indptr", 3, -5),
    "indptr not starting at 0": put("indptr", 0, 1),
    "indptr starting below 0": put("indptr", 0, -1),
    "indptr ending before nnz": put("indptr", -1, lambda X: len(X.data) - 1),
    "indptr ending behind nnz": put("indptr", -1, lambda X: len(X.data) + 1000),
    "indptr too long": swap(indptr=lambda a: np.append(a, a[-1])),
    "indptr too short": swap(indptr=lambda a: a[:-1].copy()),
    "indptr empty": swap(indptr=lambda a: a[:0].copy()),
    "indices shorter than data": swap(indices=lambda a: a[:-1].copy()),
    "data shorter than indices": swap(data=lambda a: a[:-1].copy()),
    "data and indices too short": swap(data=lambda a: a[:9].copy(), indices=lambda a: a[:9].copy()),
    "mixed index dtypes": swap(
        indptr=lambda a: a.astype(np.int64 if a.dtype == np.int32 else np.int32)
    ),
    "indices of another dtype": swap(
        indices=lambda a: a.astype(np.float64), indptr=lambda a: a.astype(np.float64)
    ),
    "indices of two dimensions": swap(indices=lambda a: a[:, None].copy()),
}
COORDINATES = {
    "row too large": put("row", 5, N),
    "row negative": put("row", 5, -1),
    "row huge": put("row", 5, largest("row")),
    "col too large": put("col", 5, D),
    "col negative": put("col", 5, -1),
    "col huge": put("col", 5, largest("col")),
    "row too short": swap(row=lambda a: a[:-1].copy()),
    "col too short": swap(col=lambda a: a[:-1].copy()),
    "data too short": swap(data=lambda a: a[:-1].copy()),
}
LISTS = {
    "column too large": put("rows", 3, lambda X: [*X.rows[3][:-1], D]),
    "column negative": put("rows", 3, lambda X: [-D - 1, *X.rows[3][1:]]),
    "fewer columns than values": put("rows", 3, lambda X: X.rows[3][:-1]),
}
DIAGONALS = {
    "fewer offsets than diagonals": swap(offsets=lambda a: a[:2].copy()),
    "fewer diagonals than offsets": swap(data=lambda a: a[:2].copy()),
}
BLOCKS = ("index too large", "index negative", "index huge", "indptr falling", "indptr huge")
CORRUPTIONS = {
    **{f"csr, {kind}": ("csr", corrupt) for kind, corrupt in COMPRESSED.items()},
    **{f"csc, {kind}": ("csc", corrupt) for kind, corrupt in COMPRESSED.items()},
    **{f"coo, {kind}": ("coo", corrupt) for kind, corrupt in COORDINATES.items()},
    **{f"bsr, {kind}": ("bsr", COMPRESSED[kind]) for kind in BLOCKS},
    **{f"lil, {kind}": ("lil", corrupt) for kind, corrupt in LISTS.items()},
    **{f"dia, {kind}": ("dia", corrupt) for kind, corrupt in DIAGONALS.items()},
}


def sparse(form, index, dtype):
    """The table in a sparse format, its structure arrays of one index dtype."""
    X = sp.csr_array(examples(dtype)[0])
    X = X.tobsr((1, 1)) if form == "bsr" else X.asformat(form)
    for name in ("indices", "indptr", "row", "col", "offsets"):
        if hasattr(X, name):
            setattr(X, name, getattr(X, name).astype(index))
    return X


def run(X):
    problem = Data(X, examples()[1]), Lanes(1, alpha=0.0, eta0=0.1), Settings()
    _core.Run(*problem, solver.State(*problem)).advance(10**6)


def uses():
    """Whatever takes an X, by name."""
    X, y = examples()
    classifier, regressor = (e(max_iter=2, tol=None).fit(X, y) for e in ESTIMATORS)
    return {
        "SGDClassifier.fit": lambda X: SGDClassifier(max_iter=2, tol=None).fit(X, y),
        "SGDRegressor.fit": lambda X: SGDRegressor(max_iter=2, tol=None).fit(X, y),
        "SGDClassifier.predict": classifier.predict,
        "SGDClassifier.decision_function": classifier.decision_function,
        "SGDRegressor.predict": regressor.predict,
        "_core.Run": run,
    }


CONVERTING = ("SGDClassifier.fit", "SGDRegressor.predict")


def attempt(call, X):
    try:
        call(X)
    except ValueError:
        return "ValueError"
    except BaseException as error:
        return type(error).__name__
    return "returned"


def outcomes_of(calls, make):
    """What becomes of each call on a fresh X: an exception's name, "returned" or a signal.

    They run in a fork, which ends with the first that is no ValueError: memory may be damaged.
    """
    outcomes = []
    while len(outcomes) < len(calls):
        end, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # malloc's last words
            how = "ValueError"
            while how == "ValueError" and len(outcomes) < len(calls):
                how = attempt(calls[len(outcomes)], make())
                outcomes.append(how)
                os.write(pipe, f"{how}\n".encode())
            os._exit(0)
        os.close(pipe)
        with os.fdopen(end) as lines:
            outcomes += lines.read().split()
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            outcomes.append(f"signal {os.WTERMSIG(status)}")
    return outcomes


def main():
    """Try every corruption in every use; print the outcomes as JSON."""
    warnings.simplefilter("ignore")
    report, calls = {}, uses()
    for kind, (form, corrupt) in {**CORRUPTIONS, "sound": ("csr", lambda X: None)}.items():
        native = form == "csr"  # other formats are converted: one estimator, two of the dtypes
        names = list(calls if native else CONVERTING)
        report[kind] = {}
        dtypes = product(INDICES, VALUES) if native else zip(INDICES, VALUES, strict=True)
        for index, dtype in dtypes:

            def make(form=form, index=index, dtype=dtype, corrupt=corrupt):
                X = sparse(form, index, dtype)
                corrupt(X)
                return X

            outcomes = outcomes_of([calls[name] for name in names], make)
            cases = [f"{name} {index.__name__} {dtype.__name__}" for name in names]
            report[kind].update(zip(cases, outcomes, strict=True))
    print(json.dumps(report))


@pytest.fixture(scope="module")
def outcomes():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(child.stdout)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corrupt_matrix_is_a_value_error(kind, outcomes):
    """In fit, predict and, for CSR, decision_function and the core; all widths of numbers."""
    assert len(outcomes[kind]) == (24 if kind.startswith("csr") else 4)
    wrong = {case: how for case, how in outcomes[kind].items() if how != "ValueError"}
    assert not wrong


def test_sound_matrix_is_none(outcomes):
    """The harness can tell: without a corruption every use returns."""
    assert set(outcomes["sound"].values()) == {"returned"}
    assert len(outcomes["sound"]) == 24


# ---------------------------------------------------------------- parameters

BAD_PARAMETERS = {
    "loss": ("nonsense", "hinge_", None, 1),
    "penalty": ("nonsense", 1, True),
    "alpha": (-1e-9, np.nan, np.inf, "1", None),
    "fit_intercept": ("yes", None, 2),
    "max_iter": (0, -1, 1.5, "1", None),
    "tol": (-1e-9, np.nan, "1"),
    "shuffle": ("yes", None, 2),
    "verbose": (-1, "yes", None),
    "random_state": (-1, "seed", 0.5),
    "l1_ratio": (-0.1, 1.1, np.nan, "1"),
    "epsilon": (-0.1, np.nan, "1", None),
    "n_jobs": (0, 1.5, "1"),
    "early_stopping": ("yes", None, 2),
    "validation_fraction": (0.0, 1.0, np.nan, "1", None),
    "warm_start": ("yes", None, 2),
    "quantile": (-0.1, 1.1, np.nan, "1", None),
    "nu": (0.0, 1.1, np.nan, "1", None),
    "multi_class": ("nonsense", None, 1),
    "clip_norm": (0.0, -1.0, np.nan, "1"),
    "linear_scaling": ("yes", None, 2),
    "scoring": (1, 0.5),
    "on_divergence": ("nonsense", None, 1),
    "certificate": ("yes", None, 2),
    "standardize": ("yes", None, 2),
    "learning_rate": ("nonsense", "inverse", None, 0.1),
    "eta0": (0.0, -1.0, np.nan, np.inf, "1"),
    "power_t": (np.nan, np.inf, -np.inf, "1", None),
    "n_iter_no_change": (0, 1.5, "1", None),
    "class_weight": ("nonsense", 3, [1.0, 2.0]),
    "average": (-1, 1.5, "yes", None),
    "batch_size": (0, -1, 1.5, "1", None),
    "momentum": (-1e-9, 1.0, np.nan, "1", None),
    "nesterov": ("yes", None, 2),
    "optimizer": ("adam", None, 0.9),
    "sampling": ("nonsense", None, 1),
    "decay": (0.0, 1.1, np.nan, "1", None),
    "step_epochs": (0.0, -1.0, np.nan, np.inf, "1", None),
    "total_epochs": (0.0, -1.0, np.nan, np.inf, "1"),
    "warmup_steps": (-1, 1.5, "1", None),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_tried(estimator):
    assert set(estimator().get_params()) <= set(BAD_PARAMETERS)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameter_is_named(name, estimator):
    """Out of range or of a wrong type: InvalidParameterError, a ValueError, with the name."""
    if name not in estimator().get_params():
        pytest.skip("not of this estimator")
    for value in BAD_PARAMETERS[name]:
        with pytest.raises(
            InvalidParameterError, match=f"'{name}' parameter of {estimator.__name__}"
        ):
            estimator(**{name: value}).fit(*examples())


@pytest.mark.parametrize("huge", (2**63, 2**1100))
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_integers_that_c_cannot_hold(estimator, huge):
    """Named where they would count; as good as infinity where they only bound."""
    for name in ("average", "warmup_steps"):
        with pytest.raises(ValueError, match=name):
            estimator(**{name: huge}).fit(*examples())
    model = estimator("squared_error", max_iter=huge, batch_size=huge, n_iter_no_change=2)
    assert model.fit(*examples()).n_iter_ < 1000


def test_loss_of_the_other_kind_is_refused():
    """A classifier takes no loss of real targets alone, a regressor none of signs alone."""
    for estimator, loss in ((SGDClassifier, "linear"), (SGDRegressor, "hinge")):
        with pytest.raises(InvalidParameterError, match="'loss'"):
            estimator(loss).fit(*examples())


def test_linear_loss_needs_a_minimum():
    """y - z is unbounded below in w without a penalty and in b always."""
    for unbounded in ({"penalty": None}, {"alpha": 0.0}):
        with pytest.raises(ValueError, match=r"unbounded below.*alpha must be > 0"):
            SGDRegressor("linear", fit_intercept=False, **unbounded).fit(*examples())
    with pytest.raises(ValueError, match=r"unbounded below.*fit_intercept must be False"):
        SGDRegressor("linear").fit(*examples())
    model = SGDRegressor("linear", fit_intercept=False, alpha=0.1, max_iter=9, tol=None)
    assert model.fit(*examples()).coef_.any()


@pytest.mark.parametrize("weights", ({0: -1.0, 1: 1.0}, {0: np.nan, 1: 1.0}, {0: np.inf, 1: 1.0}))
def test_bad_class_weight_is_named(weights):
    with pytest.raises(ValueError, match="weight"):
        SGDClassifier(class_weight=weights).fit(*examples())


def test_optimal_rate_needs_a_penalty():
    """eta_1 = alpha^(-1/4) is infinite without one."""
    for estimator in ESTIMATORS:
        with pytest.raises(ValueError, match=r"alpha must be > 0.*'optimal'"):
            estimator(learning_rate="optimal", alpha=0.0).fit(*examples())


# ---------------------------------------------------------------- arrays that do not fit


def with_value(array, value):
    """A float copy whose last entry is `value`."""
    array = np.array(array, dtype=np.float64)
    array.flat[-1] = value
    return array


def bad_fits():
    """Arguments of fit that are refused, and what the message says; (name, arguments, match)."""
    X, y = examples()
    one = np.ones(N)
    for value in (np.nan, np.inf, -np.inf):
        yield f"X with {value}", (with_value(X, value), y), "X contains"
        yield f"sparse X with {value}", (sp.csr_array(with_value(X, value)), y), "X contains"
        yield f"y with {value}", (X, with_value(y, value)), "y contains|Unknown label type"
        yield f"weight with {value}", (X, y, None, None, with_value(one, value)), "sample_weight"
    yield "fewer y", (X, y[:-1]), "inconsistent numbers of samples"
    yield "fewer X", (X[:-1], y), "inconsistent numbers of samples"
    yield "y of three dimensions", (X, np.ones((N, 2, 2))), "dim 3|1d array"
    yield "X of one dimension", (X[:, 0], y), "Expected 2D array"
    yield "X of three dimensions", (X[:, :, None], y), "dim 3|3 dimensions|<= 2"
    yield "sparse X of one dimension", (sp.coo_array(X[:, 0]), y), "."
    yield "no rows", (X[:0], y[:0]), "0 sample"
    yield "no features", (X[:, :0], y), "0 feature"
    yield "X of strings", (np.full((N, D), "a"), y), "could not convert|not compatible"
    yield "X of objects", (np.full((N, D), "a", dtype=object), y), "could not convert"
    yield "X complex", (X + 1j, y), "Complex data not supported"
    yield "X None", (None, y), "."
    yield "y None", (X, None), "y"
    yield "fewer weights", (X, y, None, None, one[:-1]), "sample_weight"
    yield "weights of two columns", (X, y, None, None, np.ones((N, 2))), "1D|dimension|ample"
    yield "negative weight", (X, y, None, None, with_value(one, -1.0)), "sample_weight"
    yield "no weight", (X, y, None, None, 0.0 * one), "ample"
    yield "strings as weights", (X, y, None, None, np.full(N, "a")), "."
    yield "coef_init of another shape", (X, y, np.ones(D + 1)), "coef_init"
    yield "coef_init with nan", (X, y, with_value(np.ones(D), np.nan)), "coef_init"
    yield "intercept_init of another shape", (X, y, None, np.ones(2)), "intercept_init"


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("value", (np.nan, np.inf))
@pytest.mark.parametrize("row", (0, N // 2 + 1, N - 1))
@pytest.mark.parametrize("batch_size", (1, 4, N))
def test_bad_value_is_found_wherever_it_hides(batch_size, row, value, estimator):
    """In any row, read or not: of weight zero, or not drawn by chance."""
    X, y = examples()
    X[row, 1] = value
    options = {"max_iter": 1, "tol": None, "batch_size": batch_size, "random_state": 0}
    given = {"eta0": 0.01, "learning_rate": "constant"}
    weightless = (np.arange(N) != row).astype(float)
    cases = [({}, None), (given, None), (given, weightless)]
    cases += [({**given, "sampling": "replacement", "random_state": i}, None) for i in range(5)]
    if estimator is SGDClassifier:
        cases += [({**given, "class_weight": {y[row]: 0.0}}, None)]
    for (more, weight), form in product(cases, (np.asarray, sp.csr_array)):
        model = estimator(**{**options, **more})
        with pytest.raises(ValueError, match="X contains"):
            model.fit(form(X), y, sample_weight=weight)
        assert not hasattr(model, "coef_")


BAD_FITS = {name: (arguments, match) for name, arguments, match in bad_fits()}


def snapshot(model):
    """All that an estimator is, parameters and fitted state, as bytes."""
    return pickle.dumps(vars(model))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", BAD_FITS)
def test_bad_fit_is_refused_and_changes_nothing(name, estimator):
    """A ValueError that says what; a fitted estimator keeps its fitted state exactly."""
    arguments, match = BAD_FITS[name]
    fresh, fitted = (estimator(max_iter=2, tol=None) for _ in range(2))
    fitted.fit(examples()[0][:, :3], examples()[1])
    for model in (fresh, fitted):
        before = snapshot(model)
        with pytest.raises(ValueError, match=match):
            model.fit(*arguments)
        assert snapshot(model) == before


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("options", "warning"),
    (
        ({"tol": 1e-12}, ConvergenceWarning),
        ({"alpha": 10.0, "eta0": 0.2, "learning_rate": "constant"}, RuntimeWarning),
    ),
)
def test_a_warning_made_an_error_changes_nothing(options, warning, estimator):
    """Under ``warnings.simplefilter("error")`` a fit that would warn is a fit that failed."""
    X, y = examples()
    model = estimator(max_iter=2, tol=None, random_state=0).fit(X, y).set_params(**options)
    before = snapshot(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(warning):
            model.fit(X, 1 - y)
    assert snapshot(model) == before


@pytest.mark.parametrize("weight", (None, np.ones(N)))
def test_one_class_is_refused(weight):
    X, y = examples()
    model = SGDClassifier(max_iter=2, tol=None).fit(X, y)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"number of classes.*1 class"):
        model.fit(X, 0 * y, sample_weight=weight)
    assert snapshot(model) == before


def test_real_targets_are_no_classes():
    with pytest.raises(ValueError, match="Unknown label type"):
        SGDClassifier().fit(examples()[0], np.linspace(0.0, 1.0, N))


def test_regression_on_names_is_refused():
    with pytest.raises(ValueError, match="could not convert"):
        SGDRegressor().fit(examples()[0], np.full(N, "a"))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bad_predict_is_refused(estimator):
    X, y = examples()
    model = estimator(max_iter=2, tol=None).fit(X, y)
    before = snapshot(model)
    for bad, match in (
        (X[:, :-1], f"{D - 1} features, but {estimator.__name__} is expecting {D}"),
        (sp.csr_array(X[:, :-1]), f"{D - 1} features"),
        (X[0], "Expected 2D array"),
        (X[:0], "0 sample"),
        (with_value(X, np.nan), "X contains NaN"),
        (np.full((2, D), "a"), "could not convert|not compatible"),
    ):
        with pytest.raises(ValueError, match=match):
            model.predict(bad)
    assert snapshot(model) == before


# ---------------------------------------------------------------- arrays of every make


def misaligned(array):
    """The same numbers, one byte off an element's boundary."""
    raw = np.empty(array.nbytes + 1, dtype=np.uint8)
    copy = raw[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


def strided(array):
    """Every other row of an array twice as long, backwards."""
    return np.repeat(array, 2, axis=0)[::-1][::2][::-1]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def in_file(array, folder):
    path = folder / str(len(list(folder.iterdir())))
    array.tofile(path)
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


class Subclass(np.ndarray):
    """Of an array, as libraries have them."""


MAKES = {
    "list": lambda a, _: a.tolist(),
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "strided": lambda a, _: strided(a),
    "byte-swapped": lambda a, _: a.astype(a.dtype.newbyteorder()),
    "misaligned": lambda a, _: misaligned(a),
    "read-only": lambda a, _: read_only(a),
    "memory-mapped": in_file,
    "objects": lambda a, _: a.astype(object),
    "subclass": lambda a, _: a.view(Subclass),
}


def fitted(estimator, X, y, weight):
    model = estimator(max_iter=3, tol=None, random_state=0, batch_size=4, momentum=0.5)
    return model.fit(X, y, sample_weight=weight)


def assert_same_model(model, plain):
    assert model.coef_.dtype == plain.coef_.dtype
    assert np.array_equal(model.coef_, plain.coef_)
    assert np.array_equal(model.intercept_, plain.intercept_)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("make", MAKES)
def test_make_of_an_array_makes_no_difference(make, dtype, estimator, tmp_path):
    """X, y and weights of any make fit the bits of plain arrays and are left as they are."""
    X, y = examples(dtype)
    plain = [X, y.astype(dtype), np.linspace(0.5, 1.5, N).astype(dtype)]
    given = [MAKES[make](array, tmp_path) for array in plain]
    if make == "objects":
        given[1] = plain[1]  # scikit-learn takes no classes from numbers as objects
    if make in ("list", "objects", "byte-swapped"):  # neither float32 nor float64
        plain[0] = X.astype(np.float64)
    before = pickle.dumps(given)
    model = fitted(estimator, *given)
    model.predict(given[0])
    assert_same_model(model, fitted(estimator, *plain))
    assert pickle.dumps(given) == before


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", (np.int8, np.int64, np.uint16, bool, np.longdouble))
def test_other_dtypes_become_float64(dtype, estimator):
    """What is not read in place is converted once, to float64."""
    X, y = examples()
    X = (10 * np.abs(X)).astype(dtype)
    model = fitted(estimator, X, y, None)
    assert model.coef_.dtype == np.float64
    assert_same_model(model, fitted(estimator, X.astype(np.float64), y, None))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("make", (sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_matrix))
@pytest.mark.parametrize("form", ("csr", "csc", "coo", "bsr", "lil", "dok", "dia"))
def test_sparse_formats_fit_alike(form, make, estimator):
    """Every format, matrix or array, gives the bits of canonical CSR and is left as it is."""
    X, y = examples()
    given = make(X).asformat(form)
    before = pickle.dumps(given)
    model = fitted(estimator, given, y, None)
    model.predict(given)
    assert_same_model(model, fitted(estimator, sp.csr_array(X), y, None))
    assert pickle.dumps(given) == before


@pytest.mark.parametrize("make", ("strided", "misaligned", "read-only", "memory-mapped"))
@pytest.mark.parametrize("form", ("csr", "csc", "coo"))
def test_make_of_sparse_arrays_makes_no_difference(form, make, tmp_path):
    """values, indices and indptr of any make: SciPy passes on whatever it is given."""
    X, y = examples()
    given = sp.csr_array(X).asformat(form)
    for name in ("data", "coords") if form == "coo" else ("data", "indices", "indptr"):
        old = getattr(given, name)
        arrays = old if isinstance(old, tuple) else (old,)
        new = tuple(MAKES[make](array, tmp_path) for array in arrays)
        setattr(given, name, new if isinstance(old, tuple) else new[0])
    model = fitted(SGDClassifier, given, y, None)
    plain = sp.csr_array(X)
    assert np.array_equal(model.decision_function(given), model.decision_function(plain))
    assert_same_model(model, fitted(SGDClassifier, plain, y, None))


@pytest.mark.parametrize("target", (str, bool, np.int8, object))
def test_labels_of_any_kind(target):
    """Labels are only told apart; predictions have their dtype."""
    X, y = examples()
    labels = np.array(["no", "yes"])[y] if target in (str, object) else y.astype(target)
    model = fitted(SGDClassifier, X, labels.astype(target), None)
    assert_same_model(model, fitted(SGDClassifier, X, y, None))
    assert set(model.predict(X)) <= set(labels.tolist())


# ---------------------------------------------------------------- divergence


@pytest.mark.parametrize("tol", (None, 1e-3))
@pytest.mark.parametrize("batch_size", (1, 7, N))
@pytest.mark.parametrize("classes", (1, 2, 5))
@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
def test_divergence_is_an_error(make, classes, batch_size, tol):
    """eta0 = 1e10 overflows: the error says when, at which rate and on what features.

    Also when the exploding loss would have counted as one that no longer falls (tol).
    """
    X, y = examples()
    estimator = SGDRegressor if classes == 1 else SGDClassifier
    y = y if classes == 1 else np.arange(N) % classes
    model = estimator("squared_error", learning_rate="constant", eta0=1e-3, alpha=1e-12, max_iter=9)
    model.set_params(tol=None, batch_size=batch_size, random_state=0).fit(X, y)
    model.set_params(eta0=1e10, tol=tol, max_iter=1000)
    before = snapshot(model)
    with pytest.raises(DivergenceError, match=r"diverged after .* updates") as caught:
        model.fit(make(X), y)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.step > 0
    assert error.learning_rate == 1e10
    assert 0.1 < error.feature_scale <= np.abs(X).max()
    assert snapshot(model) == before


@pytest.mark.parametrize("budget", (1, 10**9))
@pytest.mark.parametrize("batch_size", (1, 7, N))
def test_divergence_is_the_same_wherever_calls_end(batch_size, budget):
    """Step, rate and scale do not depend on where a stretch of work began."""
    X, y = examples()
    problem = Data(X, y), Lanes(3, alpha=0.0, eta0=1e10), Settings(batch_size=batch_size)
    errors = []
    for each in (budget, 300):
        run = _core.Run(*problem, solver.State(*problem))
        with pytest.raises(DivergenceError) as caught:
            while True:
                run.advance(each)
        errors.append((caught.value.step, caught.value.learning_rate, caught.value.feature_scale))
    assert errors[0] == errors[1]
    assert errors[0][1] == 1e10


def test_divergence_error_pickles():
    """A worker process can send it home."""
    error = DivergenceError(7, 0.5, 123.0)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is DivergenceError
    assert (copy.step, copy.learning_rate, copy.feature_scale) == (7, 0.5, 123.0)
    assert str(copy) == str(error)
    assert all(part in str(copy) for part in ("7 updates", "0.5", "123", "StandardScaler"))


@pytest.mark.parametrize("dtype", VALUES)
def test_features_of_any_scale(dtype):
    """Squares that overflow: the error speaks of the features, not of a rate nobody gave."""
    X, y = examples(dtype)
    large = np.sqrt(np.finfo(dtype).max) * dtype(10.0)
    for estimator in ESTIMATORS:
        with pytest.raises(ValueError, match=r"(?i)scale|feature|X "), np.errstate(all="ignore"):
            estimator().fit(X * large, y)
        assert np.isfinite(estimator(max_iter=5, tol=None).fit(X / large, y).coef_).all()


# ---------------------------------------------------------------- the nouns


@pytest.mark.parametrize(
    "make",
    (
        lambda X, y: Data(X[0], y),
        lambda X, y: Data(X, y[:-1]),
        lambda X, y: Data(X, with_value(y, np.nan)),
        lambda X, y: Data(X, y, np.ones(N - 1)),
        lambda X, y: Data(X, y, np.full(N, -1.0)),
        lambda X, y: Data(X, y, with_value(np.ones(N), np.inf)),
        lambda X, y: Data(X.astype(np.int64), y),
        lambda X, y: Data(X[:0], y[:0]),
        lambda X, y: Data(X[:, :0], y),
        lambda X, y: Lanes(0, alpha=0.0, eta0=0.1),
        lambda X, y: Lanes(1, alpha=-1.0, eta0=0.1),
        lambda X, y: Lanes(1, alpha=np.nan, eta0=0.1),
        lambda X, y: Lanes(1, alpha=0.0, eta0=0.0),
        lambda X, y: Lanes(1, alpha=0.0, eta0=np.inf),
        lambda X, y: Lanes(2, alpha=[0.0] * 3, eta0=0.1),
        lambda X, y: Lanes(1, alpha=0.0, eta0=0.1, target=-1),
        lambda X, y: Settings("nonsense"),
        lambda X, y: Settings("hinge"),
        lambda X, y: Settings("linear", True),
        lambda X, y: Settings(batch_size=0),
        lambda X, y: SGD(momentum=1.0),
        lambda X, y: SGD(momentum=np.nan),
        lambda X, y: Settings(average=-1),
        lambda X, y: Settings(sampling="nonsense"),
        lambda X, y: Settings(seed=-1),
        lambda X, y: Settings(seed=2**64),
    ),
)
def test_bad_noun_is_refused(make):
    with pytest.raises(ValueError):
        make(*examples())


def test_run_refuses_what_does_not_fit():
    """A State of another shape, dtype or batch, rows or columns that are not there."""
    X, y = examples()
    one = Lanes(1, alpha=0.0, eta0=0.1)
    full = Settings(batch_size=N)
    data = Data(X, y)
    state = solver.State(data, one, Settings())
    for bad in (
        (Data(X[:, :-1].copy(), y), one, Settings(), state),
        (Data(X.astype(np.float32), y), one, Settings(), state),
        (data, Lanes(2, alpha=0.0, eta0=0.1), Settings(), state),
        (data, one, Settings(optimizer=SGD(0.5)), state),
        (data, one, full, state),
        (data, Lanes(1, alpha=0.0, eta0=0.1, target=1), Settings(), state),
        (Data(X.T.copy().T, y), one, Settings(), state),
        (Data(sp.csc_array(X), y), one, Settings(), state),
    ):
        with pytest.raises(ValueError):
            _core.Run(*bad)
    run = _core.Run(data, one, Settings(), state)
    for rows in ([N], [-1], [[0]], [2**62]):
        for verb in (run.score, run.gradient_sums):
            with pytest.raises(ValueError, match="rows"):
                verb(np.array(rows))


def test_an_open_batch_goes_on_with_its_own_rows():
    """A State that stopped inside a batch is refused with other batches or fewer rows."""
    rng = np.random.default_rng(0)
    data, one = Data(rng.normal(size=(100, 3)), rng.normal(size=100)), Lanes(1, alpha=0.0, eta0=0.1)
    state = solver.State(data, one, Settings(batch_size=100))
    run = _core.Run(data, one, Settings(batch_size=100), state)
    while state.batch_row == 0:
        run.advance(1)
    fewer = Data(data.X[: state.batch_row - 1], data.y[: state.batch_row - 1])
    for bad, batch_size in ((data, 5), (data, 1), (fewer, 100)):
        with pytest.raises(ValueError, match="batch"):
            _core.Run(bad, one, Settings(batch_size=batch_size), state)


def test_objects_that_were_never_made_do_not_crash():
    """Run and State without their __init__, in a child process: an exception each, no signal."""
    tries = """
from fastsgd import _core
from fastsgd.problem import Settings
for call in (
    lambda: _core.State.__new__(_core.State).weights(Settings()),
    lambda: _core.State.__new__(_core.State).set_weights(0.0, 0.0),
    lambda: _core.State.__new__(_core.State).copy(),
    lambda: _core.Run.__new__(_core.Run).advance(1),
    lambda: _core.Run.__new__(_core.Run).score([0]),
    lambda: _core.Run.__new__(_core.Run).isa,
):
    try:
        call()
    except Exception:
        pass
"""
    assert subprocess.run([sys.executable, "-c", tries], check=False).returncode == 0


if __name__ == "__main__":
    main()


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("classes", (2, 3))
@pytest.mark.parametrize("rate", ("pa1", "pa2"))
def test_passive_aggressive_steps_see_nan(rate, classes, make):
    """pa1 passes over rows of length 0; a row whose length is NaN is not one of them."""
    X = np.random.default_rng(0).normal(size=(30, 4))
    X[7, 2] = np.nan
    model = SGDClassifier(learning_rate=rate, eta0=1.0, max_iter=3, tol=None)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(make(X), np.arange(30) % classes)
    assert not hasattr(model, "coef_")
