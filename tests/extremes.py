"""Random extreme settings: numbers near the ends of float32 and float64 in data and parameters."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import FitFailedWarning
from sklearn.utils._param_validation import InvalidParameterError

from fastsgd import (
    DivergenceError,
    GridSearchCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    insight,
    path,
)
from fastsgd.estimators.parameters import LEARNING_RATES
from fastsgd.losses import LOSSES
from fastsgd.problem import STORED
from fastsgd.sampling import SAMPLINGS

SCALES = (
    *(5e-324, 1e-310, 1e-300, 1e-160, 1e-150, 1e-100, 1e-45, 1e-38, 1e-20, 1e-8, 1e-3),
    *(1.0, 1.0, 1.0, 10.0, 1e3, 1e8, 1e15, 1e19, 1e20, 1e38, 1e39, 1e76, 1e77, 1e100, 1e150),
    *(1e154, 1e155, 1e160, 1e200, 1e300, 1.7e308),
)
"""Sizes at which squares, cubes and casts of float32 and float64 begin to under- and overflow."""

OURS = (r"eta \* alpha reached 1", "SGD diverged")
"""How the RuntimeWarnings of this package begin; any other is NumPy's."""


@dataclass
class Case:
    """A model and its data.

    Attributes
    ----------
    model : SGDClassifier, SGDRegressor or SGDOneClassSVM
    X, y
    fit : dict
        Further arguments of ``fit``.
    """

    model: Any
    X: Any
    y: Any
    fit: dict[str, Any] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[Any, ...]:
        """y, where the model has any."""
        return () if self.y is None else (self.y,)

    def __str__(self) -> str:
        X = self.X.data if sp.issparse(self.X) else self.X
        largest = np.abs(X.astype(float)).max(initial=0.0)
        kind = "CSR" if sp.issparse(self.X) else "dense"
        y = "" if self.y is None else f", |y| <= {np.abs(self.y.astype(float)).max():.3g}"
        return (
            f"{self.model}\n{kind} {self.X.dtype} {self.X.shape}, |x| <= {largest:.3g}{y}\n"
            f"fit: {self.fit}"
        )


def case(seed: int) -> Case:
    """The case of a seed."""
    with np.errstate(all="ignore"):
        return _case(np.random.default_rng(seed))


def _case(rng: Any) -> Case:

    def one(*options: Any) -> Any:
        return options[rng.integers(len(options))]

    def size(most: float = np.inf) -> float:
        while True:
            value = float(one(*SCALES) * rng.uniform(0.5, 1.0))
            if 0.0 < value <= most:
                return value

    n, d = int(one(1, 2, 3, 12, 40, 130)), int(rng.integers(1, 6))
    rare = rng.random() < 0.5
    kind = one(SGDClassifier, SGDRegressor, SGDRegressor, SGDOneClassSVM)
    X, y, dtype = _table(rng, one, n, d, kind)
    parameters = _parameters(rng, one, size, kind, n)
    if rare:  # a few extremes among defaults meet more of the code than many
        names = list(parameters)
        keep = {"loss", "max_iter", *rng.permutation(names)[: rng.integers(0, 4)]}
        parameters = {name: parameters[name] for name in names if name in keep}
    parameters["random_state"] = int(rng.integers(100))
    fit: dict[str, Any] = {}
    if rng.random() < 0.3:
        weight = rng.uniform(0.5, 1.0, n) * one(1.0, *SCALES) * (rng.random(n) < 0.8)
        fit["sample_weight"] = weight.astype(one(np.float64, dtype))
    if rng.random() < 0.15:
        name = "offset_init" if kind is SGDOneClassSVM else "intercept_init"
        fit |= {"coef_init": np.full((1, d), size()), name: np.array([-size()])}
    if rng.random() < 0.1 and kind is not SGDOneClassSVM:
        fit |= {"X_val": X, "y_val": y}
    return Case(kind(**parameters), X, y, fit)


def _table(rng: Any, one: Any, n: int, d: int, kind: Any) -> tuple[Any, Any, Any]:
    dtype = one(*(stored.type for stored in STORED), np.float64, np.float32)
    X = rng.normal(size=(n, d)) * one(1.0, 1.0, *SCALES)
    if rng.random() < 0.3:
        X *= [one(1.0, *SCALES) / (1.0 + np.abs(X).max()) for _ in range(d)]
    if rng.random() < 0.2:
        X[rng.integers(n)] *= one(*SCALES) / (1.0 + np.abs(X).max())
    if np.dtype(dtype).kind == "f":
        X = np.clip(X, np.finfo(dtype).min, np.finfo(dtype).max)
    else:
        X = np.abs(X) % (np.iinfo(dtype).max + 1.0)
    X = np.nan_to_num(X).astype(dtype)
    if dtype in (np.float32, np.float64) and rng.random() < 0.4:
        X = sp.csr_array(X * (rng.random((n, d)) < 0.6))
    if kind is SGDClassifier:
        y = rng.permutation(np.arange(n) % one(2, 2, 3))
    elif kind is SGDRegressor:
        most = 1e300 if dtype == np.float64 or rng.random() < 0.2 else 1e20
        y = rng.normal(size=n if rng.random() < 0.85 else (n, 2))
        y *= min(most, one(1.0, 1.0, *SCALES))
        y += min(most, one(0.0, 0.0, *SCALES))
        y = np.abs(y) if rng.random() < 0.5 else y
        y = np.nan_to_num(y)
    else:
        y = None
    return X, y, dtype


def _parameters(rng: Any, one: Any, size: Any, kind: Any, n: int) -> dict[str, Any]:
    rate = one(*LEARNING_RATES, "auto", "auto", "constant")
    found = {
        "max_iter": one(1, 2, 3, 5, 40),
        "tol": one(None, 0.0, 1e-3, size()),
        "fit_intercept": one(True, True, False),
        "shuffle": one(True, True, False),
        "learning_rate": rate,
        "eta0": one(None, None, size()),
        "power_t": one(0.0, 0.25, 0.5, 1.0, size(1e300)),
        "early_stopping": one(False, False, True),
        "validation_fraction": one(0.1, 0.5, 1e-300, 0.9),
        "n_iter_no_change": one(1, 2, 5, 2**62, 10**30),
        "average": one(False, False, True, 3, 2**60, 0.5, 1e-300, 1.0 - 2.0**-53),
        "batch_size": one(1, 1, 3, n, 10**9, 10**30),
        "momentum": one(0.0, 0.0, 0.9, 1e-300, 1.0 - 2.0**-53),
        "nesterov": one(False, True),
        "sampling": one(*SAMPLINGS),
        "decay": one(0.1, 1.0, size(1.0)),
        "step_epochs": size(),
        "total_epochs": one(None, None, size()),
        "warmup_steps": one(0, 0, 5, 2**61),
        "clip_norm": one(None, None, size()),
        "linear_scaling": one(False, False, True),
        "on_divergence": one("raise", "backoff"),
        "certificate": one(False, True),
        "standardize": one(False, False, True),
        "warm_start": one(False, True),
    }
    if kind is SGDOneClassSVM:
        found["nu"] = size(1.0)
        if rate in ("pa1", "pa2"):
            found["learning_rate"] = "optimal"
        return found
    wanted = {"sign"} if kind is SGDClassifier else {"real", "count"}
    losses = [name for name, loss in LOSSES.items() if loss.targets & wanted and not loss.coupled]
    found["loss"] = one(*losses)
    if rate in ("pa1", "pa2"):
        found["loss"] = kind._passive_aggressive_loss
    found["alpha"] = one(1e-4, 0.0, size())
    found["penalty"] = one("l2", "l2", None, "l1", "elasticnet")
    found["l1_ratio"] = one(0.15, 0.0, 1.0, size(1.0))
    found["epsilon"] = one(0.1, 0.0, size())
    if kind is SGDClassifier:
        found["class_weight"] = one(None, None, "balanced", {0: size(), 1: size()})
        if found["loss"] == "log_loss":
            found["multi_class"] = one("ovr", "multinomial")
    else:
        found["quantile"] = one(0.5, 0.0, 1.0, 1e-300)
    return found


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """NumPy's RuntimeWarnings are errors; warnings of this package and scikit-learn's are not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", FitFailedWarning)
        for message in OURS:
            warnings.filterwarnings("ignore", message=message)
        yield


def run(seed: int) -> str:
    """Fit the case of a seed and use the model in every way.

    Returns
    -------
    str
        "model", or the type of the error by which ``fit`` refused.

    Raises
    ------
    AssertionError
        If a model, or what an error carries, is not of finite numbers.
    Exception
        Anything but a ValueError; and NumPy's RuntimeWarnings, as errors.
    """
    it = case(seed)
    with strict():
        try:
            it.model.fit(it.X, *it.targets, **it.fit)
        except ValueError as error:
            assert type(error) in (ValueError, DivergenceError, InvalidParameterError)
            assert not hasattr(it.model, "coef_")
            for name in ("coef_", "intercept_"):
                value = getattr(error, name, None)
                assert value is None or np.isfinite(value).all(), name
            return type(error).__name__
        check(it.model)
        use(it)
        return "model"


def run_search(seed: int) -> str:
    """The same of a cross-validation over a few penalties, and of a path of them."""
    it = case(seed)
    rng = np.random.default_rng((seed, 1))
    if it.y is None:
        return "no search"
    scorings = [None, "accuracy", "neg_log_loss", "balanced_accuracy"]
    if not isinstance(it.model, SGDClassifier):
        scorings = [None, "r2", "neg_mean_squared_error", "neg_mean_absolute_error"]
    alphas = [1e-4, *rng.choice(SCALES, 2)]
    scoring = scorings[rng.integers(len(scorings))]
    model = GridSearchCV(it.model, {"alpha": alphas}, cv=2, scoring=scoring)
    weight = it.fit.get("sample_weight")
    with strict():
        with contextlib.suppress(ValueError):
            path(it.X, *it.targets, alphas=alphas, estimator=it.model, sample_weight=weight)
        try:
            model.fit(it.X, *it.targets, sample_weight=weight)
        except ValueError as error:
            return type(error).__name__
        check(model.best_estimator_)
        assert not np.isnan(model.predict(it.X).astype(float)).any()
        return "model"


def check(model: Any) -> None:
    """A fitted model is of finite numbers."""
    intercept = model.offset_ if isinstance(model, SGDOneClassSVM) else model.intercept_
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(intercept).all()
    assert np.isfinite(model.loss_curve_).all()
    assert str(model.result_)


def use(it: Case) -> None:
    """Predict, score, go on, look at gradients: numbers, or a ValueError."""
    model, X, given = it.model, it.X, it.targets
    assert not np.isnan(model.predict(X).astype(float)).any()
    for name in ("decision_function", "score_samples", "predict_proba", "predict_log_proba"):
        if hasattr(model, name):
            assert not np.isnan(getattr(model, name)(X)).any(), name
    for method in (
        lambda: model.score(X, *given) if given else None,
        lambda: insight.gradient_noise(model, X, *given),
        lambda: insight.stability_report(model, X, *given),
        lambda: model.partial_fit(X, *given),
        lambda: model.set_params(warm_start=True).fit(X, *given),
    ):
        with contextlib.suppress(ValueError):
            method()
        check(model)
