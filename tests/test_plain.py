"""Parameters as numpy scalars: the models of Python's own numbers, to the bit."""

import pickle
from fractions import Fraction
from numbers import Integral, Real

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.utils._param_validation import Interval

from fastsgd import (
    GridSearchCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    path,
)
from fastsgd.insight import compare, gradient_noise
from fastsgd.scalars import python_number
from fastsgd.schedules import Schedule

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 3))
Y = X.sum(axis=1) + rng.normal(size=50)
SIGNS = (Y > 0).astype(int)
FEW = {"max_iter": 4, "tol": None, "random_state": 0}
ESTIMATORS = {
    SGDClassifier: {},
    SGDRegressor: {},
    SGDOneClassSVM: {},
}
FLOATS = np.float16, np.float32, np.float64, np.longdouble
INTEGERS = np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64

VALUES = {"average": (True, 5, 0.25), "batch_size": (1, 32, 100), "random_state": (3,)}
"""What is tried where one number does not show all."""

GOES_WITH = {
    "nesterov": {"momentum": 0.5},
    "l1_ratio": {"penalty": "elasticnet"},
    "epsilon": {"loss": "huber"},
    "eta0": {"loss": "huber"},  # squares diverge at 2
    "quantile": {"loss": "quantile"},
    "validation_fraction": {"early_stopping": True},
    "power_t": {"learning_rate": "invscaling", "eta0": 0.01},
    "decay": {"learning_rate": "step", "eta0": 0.01, "step_epochs": 1},
    "step_epochs": {"learning_rate": "step", "eta0": 0.01},
    "total_epochs": {"learning_rate": "cosine", "eta0": 0.01},
    "linear_scaling": {"eta0": 0.001, "batch_size": 4},
    "average": {"total_epochs": 4},
    "tol": {"max_iter": 50},
}
"""What makes a parameter count."""


def targets_of(estimator):
    return SIGNS if "Classifier" in estimator.__name__ else Y


def numbers_of(constraints):
    """Values of a parameter that an Interval allows: whole, or fractions that all floats have."""
    for one in constraints:
        if one == "boolean":
            yield True
        if isinstance(one, Interval):
            for value in (2, 0.25):
                exact = isinstance(value, int) == (one.type is Integral)
                if value in one and (exact or one.type is Real):
                    yield value


def cases():
    for estimator in ESTIMATORS:
        for name, constraints in estimator._parameter_constraints.items():
            found = VALUES.get(name) or sorted({*numbers_of(constraints)})
            for value in found[:3]:
                yield pytest.param(
                    estimator, name, value, id=f"{estimator.__name__}-{name}-{value}"
                )


def scalars_of(value):
    """The value as every numpy scalar that has it."""
    kinds = (np.bool_,) if isinstance(value, bool) else FLOATS
    kinds = INTEGERS if type(value) is int else kinds
    return [kind(value) for kind in kinds]


def trained(estimator, **parameters):
    y, model = targets_of(estimator), estimator(**parameters)
    given = model.get_params(deep=False)
    model.fit(X, y)
    model = pickle.loads(pickle.dumps(model))
    if hasattr(model, "partial_fit") and not parameters.get("early_stopping"):
        model.partial_fit(X, y)
    for name, value in model.get_params(deep=False).items():
        assert type(value) is type(given[name]), name
    return model.coef_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.*clipped|.*reached 1:RuntimeWarning")
@pytest.mark.parametrize(("estimator", "name", "value"), list(cases()))
def test_numpy_scalars_are_numbers(estimator, name, value):
    if name == "warm_start":
        pytest.skip("says how a second fit begins")
    names = estimator._get_param_names()
    same = {**FEW, **ESTIMATORS[estimator], **GOES_WITH.get(name, {})}
    same = {key: given for key, given in same.items() if key in names}
    if estimator is SGDOneClassSVM and name == "early_stopping":
        same["tol"] = 1e-3
    expected = trained(estimator, **{**same, name: value})
    for scalar in scalars_of(value):
        assert_array_equal(trained(estimator, **{**same, name: scalar}), expected)


def test_the_cases_are_all_numbers():
    tried = {case.values[1] for case in cases()}
    assert {"batch_size", "average", "momentum", "nu", "quantile", "standardize"} <= tried
    assert len(tried) > 25


def test_searches_paths_and_insight_take_numpy_scalars():
    names = "alpha", "l1_ratio", "eta0", "epsilon"
    for kind in (np.float32, np.float64):
        options = {**FEW, "penalty": "elasticnet", "loss": "huber"}
        found = []
        for number in (kind, float):
            grid = {name: np.array([number(0.25), number(0.5)]) for name in names}
            found.append(GridSearchCV(SGDRegressor(**options), grid, cv=np.uint8(3)).fit(X, Y))
        assert_array_equal(*(search.best_estimator_.coef_ for search in found))
        assert found[0].best_params_ == found[1].best_params_
    small = SGDRegressor(batch_size=np.uint8(32), momentum=np.float16(0.3), **FEW)
    plainly = SGDRegressor(batch_size=32, momentum=float(np.float16(0.3)), **FEW)
    assert_array_equal(path(X, Y, estimator=small).coef, path(X, Y, estimator=plainly).coef)
    noise = [gradient_noise(model.fit(X, Y), X, Y).noise_scale for model in (small, plainly)]
    assert noise[0] == noise[1]
    sizes = {"a": {"batch_size": np.uint8(32)}}
    courses = [compare(model, X, Y, variants=sizes).runs[0].loss for model in (small, plainly)]
    assert_array_equal(*courses)


def test_schedules_take_numpy_scalars():
    given = Schedule(
        "step", decay=np.float16(0.3), step_epochs=np.uint8(1), warmup_steps=np.int8(100)
    )
    wanted = Schedule("step", decay=float(np.float16(0.3)), step_epochs=1, warmup_steps=100)
    assert given == wanted
    assert type(given.decay) is float
    with pytest.raises(ValueError, match="step_epochs must be positive and finite"):
        Schedule("step", step_epochs=10**400)
    models = [
        SGDRegressor(learning_rate=one, eta0=0.01, **FEW).fit(X, Y) for one in (given, wanted)
    ]
    assert_array_equal(models[0].coef_, models[1].coef_)


def test_what_plain_makes_of_values():
    for value in (np.float32(0.25), Fraction(1, 4), np.longdouble(0.25)):
        assert python_number(value) == 0.25
        assert type(python_number(value)) is float
    assert type(python_number(np.uint8(3))) is int
    assert type(python_number(np.str_("l2"))) is str
    assert python_number(np.bool_(True)) is True
    for value in ([1.0], np.array(1.0), None, "l2", 1j, abs):
        assert python_number(value) is value
    assert python_number(10**400) == 10**400
    assert python_number(10**400, whole=False) == np.inf
    assert python_number(Fraction(-(10**400))) == -np.inf


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
@pytest.mark.parametrize("value", (10**400, -(10**400), Fraction(10**400), np.longdouble("1e400")))
def test_numbers_beyond_float64_are_refused(estimator, value):
    for name in ("eta0", "momentum", "clip_norm", "epsilon"):
        model = estimator(**{name: value})
        with pytest.raises(ValueError, match=f"{name}"):
            model.fit(X, targets_of(estimator))
        assert getattr(model, name) is value


def test_the_users_values_stay_where_they_are():
    """After a fit and after an error, and a parameter that is set within a fit stays set."""
    size, rate = np.uint8(8), np.float32(0.01)
    model = SGDRegressor(batch_size=size, eta0=rate, **FEW).fit(X, Y)
    assert model.batch_size is size
    assert model.eta0 is rate
    with pytest.raises(ValueError, match="X has 2 features"):
        model.partial_fit(X[:, :2], Y)
    assert model.batch_size is size

    def scorer(other, X, y):
        model.set_params(batch_size=7)
        assert type(other.eta0) is float
        return 0.0

    model.set_params(scoring=scorer, early_stopping=True).fit(X, Y)
    assert model.batch_size == 7
    assert model.eta0 is rate
