"""Random settings of the estimators, drawn from their own constraints, and random data for them."""

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.utils._param_validation import Interval, StrOptions

from fastsgd import (
    GridSearchCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    schedules,
)

ESTIMATORS = SGDClassifier, SGDRegressor, SGDOneClassSVM

WHOLE = -2, -1, 0, 1, 2, 3, 5, 7, 16, 33, 100, 10**6, 2**31, 2**62, 10**30
FRACTIONS = 0.0, 1e-300, 1e-30, 1e-8, 1e-4, 0.01, 0.1, 0.25, 0.5, 0.9, 0.999, 1.0, 2.0, 10.0, 1e3
EXTREMES = 1e8, 1e30, 1e100, 1e200, 1.7e308

SPECIAL = {
    "max_iter": (1, 2, 5, 12),
    "total_epochs": (None, 0.1, 1.0, 3.5, 40.0, 1e300),
    "n_jobs": (None, 1, 2, 3, -1),
    "verbose": (0,),
    "scoring": (None,),
}
"""Parameters whose constraints say too little, or too much for a test of a minute."""


def halved(step, epoch):
    """A schedule of the user's own."""
    return 0.1 / (1 + epoch) + 0.01 / step


def value_of(rng, name, constraints, *, extreme):
    """A value that one of a parameter's constraints allows."""
    if name in SPECIAL:
        return SPECIAL[name][rng.integers(len(SPECIAL[name]))]
    pools = []
    for one in constraints:
        if isinstance(one, Interval):
            numbers = WHOLE if one.type is Integral else FRACTIONS + EXTREMES * extreme
            numbers = numbers[:-2] if one.type is Integral and not extreme else numbers
            pools.append([number for number in numbers if number in one])
            assert issubclass(one.type, Real)
        elif isinstance(one, StrOptions):
            pools.append(sorted(one.options))
        elif one == "boolean":
            pools.append([False, True])
        elif one is None:
            pools.append([None])
        elif one is dict:
            pools.append([{0: 2.0, 1: 0.5}, {1: 1e-8}])
        elif one is schedules.Schedule:
            pools.append([schedules.Schedule("cosine"), schedules.one_cycle(3.0)])
        elif one is callable and name == "learning_rate":
            pools.append([halved])
        elif isinstance(one, str) and one == "random_state":
            pools.append([0, 1, 2**31])
    pool = pools[rng.integers(len(pools))]
    return pool[rng.integers(len(pool))]


def settings_of(rng, estimator, *, extreme=True, share=0.35):
    """Some parameters drawn, the others at their defaults but for few epochs and a seed."""
    constraints = estimator._parameter_constraints
    names = estimator._get_param_names()
    drawn = {
        name: value_of(rng, name, constraints[name], extreme=extreme)
        for name in names
        if name not in ("max_iter", "random_state") and rng.random() < share
    }
    for name in ("max_iter", "random_state"):
        if name in names:
            drawn[name] = value_of(rng, name, constraints[name], extreme=extreme)
    return drawn


def search_of(rng, estimator, settings):
    """A search over penalties, and over weights of classes or epsilons."""
    grid = {"alpha": ([1e-4, 0.1], [0.0, 1.0, 1e-300])[rng.integers(2)]}
    if rng.random() < 0.4:
        weights = {"class_weight": [None, "balanced", {0: 2.0, 1: 0.5}]}
        grid.update(weights if estimator is SGDClassifier else {"epsilon": [0.01, 1.0]})
    options = {"cv": int(rng.integers(2, 4)), "error_score": (np.nan, -1.0)[rng.integers(2)]}
    return GridSearchCV(estimator(**settings), grid, **options)


def data_of(rng, estimator, *, extreme=True, n=None):
    """X, y (None for one class) and sample weights or None."""
    n = int(rng.integers(8, 60)) if n is None else n
    d = int(rng.integers(1, 9))
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.7)
    scales = (1e-8, 1e-3, 1.0, 1.0, 1.0, 30.0, *((1e8, 1e30, 1e150) if extreme else ()))
    scale = scales[rng.integers(len(scales))]
    X *= scale if rng.random() < 0.7 else np.where(rng.random(d) < 0.5, scale, 1.0)
    dtype = (np.float64, np.float32, np.float16)[rng.choice(3, p=[0.5, 0.4, 0.1])]
    with np.errstate(over="ignore"):
        X = X.astype(dtype)
    X[~np.isfinite(X)] = 0.0
    signal = X.astype(np.float64) @ rng.normal(size=d) / max(scale, 1e-8) + rng.normal(size=n)
    weight = None
    if rng.random() < 0.3:
        weight = rng.choice([0.0, 1e-20, 0.5, 1.0, 7.0, *([1e15] if extreme else [])], n)
        weight[0] = 1.0
    layout = rng.integers(3) if dtype is not np.float16 else 0
    table = sp.csr_array(X) if layout == 2 else np.asfortranarray(X) if layout == 1 else X
    if "Regressor" in estimator.__name__:
        y = signal * (1.0, 1e-6, 100.0, 1e9)[rng.integers(4)]
        y = np.abs(y) if rng.random() < 0.2 else y
        return table, (np.column_stack([y, -y]) if rng.random() < 0.2 else y), weight
    if estimator is SGDOneClassSVM:
        return table, None, weight
    classes = int(rng.integers(2, 5))
    y = np.arange(n) % classes
    y[classes:] = np.clip(np.round(signal[classes:] + 1.0), 0, classes - 1)
    return table, y, weight
