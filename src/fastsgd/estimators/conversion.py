"""A fitted model as scikit-learn's own: the estimator there that predicts the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn import linear_model, neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)

__all__ = ["converted"]


def converted(estimator: Any) -> Any:
    """The fitted estimator of scikit-learn with the coefficients of a fitted one.

    Parameters
    ----------
    estimator : estimator

    Raises
    ------
    ValueError
        If scikit-learn has none that predicts the same; the message names the setting.
    """
    for kind, convert in _CONVERSIONS.items():
        if kind in {one.__name__ for one in type(estimator).__mro__}:
            model = convert(estimator)
            model.n_features_in_ = estimator.n_features_in_
            if hasattr(estimator, "feature_names_in_"):
                model.feature_names_in_ = estimator.feature_names_in_.copy()
            return model
    raise ValueError(f"scikit-learn has nothing like a {type(estimator).__name__}")


def _refuse(setting: str, why: str) -> Any:
    raise ValueError(f"scikit-learn has no estimator for {setting}: {why}")


def _made(kind: Any, estimator: Any, *, without: tuple[str, ...] = ()) -> Any:
    """An estimator of scikit-learn with the parameters that both have, where it takes the value."""
    taken, given = {}, estimator.get_params(deep=False)
    for name in kind._get_param_names():
        if name not in given or name in without:
            continue
        try:
            validate_parameter_constraints(
                kind._parameter_constraints, {name: given[name]}, caller_name=kind.__name__
            )
        except InvalidParameterError:
            continue  # learning_rate="auto", say
        taken[name] = copy.deepcopy(given[name])
    return kind(**taken)


def _loss(estimator: Any, what: str) -> str:
    loss = estimator.loss
    if not isinstance(loss, str):
        _refuse(f"loss={loss!r}", f"no {what} there takes a loss of your own")
    return str(loss)


def _weights(estimator: Any, model: Any, intercept: str = "intercept_") -> Any:
    """Copies of coefficients and counts."""
    model.coef_ = copy.deepcopy(estimator.coef_)
    setattr(model, intercept, np.array(getattr(estimator, intercept)))
    model.n_iter_, model.t_ = estimator.n_iter_, float(estimator.t_)
    return model


def _averaging(model: Any, intercept: Any) -> Any:
    """With what its ``partial_fit`` averages from, if it averages."""
    if model.average:
        for name in ("_standard", "_average"):
            setattr(model, f"{name}_coef", copy.deepcopy(model.coef_))
            setattr(model, f"{name}_intercept", np.array(intercept))
    return model


def _classifier(estimator: Any) -> Any:
    if estimator._multilabel:
        _refuse("an indicator matrix y", "its linear classifiers of labels are one for each")
    if estimator._softmax:
        model = _made(linear_model.LogisticRegression, estimator, without=("penalty", "l1_ratio"))
        model = _weights(estimator, model)
        model.n_iter_ = np.array([estimator.n_iter_], dtype=np.int32)
        del model.t_
    else:
        _loss(estimator, "linear classifier")
        model = _weights(estimator, _made(linear_model.SGDClassifier, estimator))
        model = _averaging(model, model.intercept_)
    model.classes_ = estimator.classes_.copy()
    return model


def _regressor(estimator: Any) -> Any:
    loss, outputs = _loss(estimator, "linear regression"), len(estimator.intercept_)
    if loss == "linear":
        _refuse("loss='linear'", "no linear regression there has it")
    if outputs > 1 and loss == "poisson":
        _refuse("loss='poisson' of several outputs", "its PoissonRegressor has one")
    if outputs > 1:
        model = _weights(estimator, _made(linear_model.LinearRegression, estimator))
        del model.n_iter_, model.t_
        return model
    if loss in ("poisson", "quantile"):
        kinds = {
            "poisson": linear_model.PoissonRegressor,
            "quantile": linear_model.QuantileRegressor,
        }
        model = _weights(estimator, _made(kinds[loss], estimator))
        model.coef_, model.intercept_ = np.ravel(model.coef_), float(model.intercept_[0])
        del model.t_
        if loss == "poisson":
            model._base_loss = model._get_loss()
        return model
    model = _weights(estimator, _made(linear_model.SGDRegressor, estimator))
    return _averaging(model, model.intercept_)


def _one_class(estimator: Any) -> Any:
    model = _weights(estimator, _made(linear_model.SGDOneClassSVM, estimator), "offset_")
    return _averaging(model, 1.0 - model.offset_)


def _network(estimator: Any, kind: Any) -> Any:
    model = _made(kind, estimator)
    for name in ("coefs_", "intercepts_"):
        setattr(model, name, [part.copy() for part in getattr(estimator, name)])
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_", "loss_"):
        setattr(model, name, getattr(estimator, name))
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        setattr(model, name, copy.copy(getattr(estimator, name)))
    return model


def _network_classifier(estimator: Any) -> Any:
    model, classes = _network(estimator, neural_network.MLPClassifier), estimator.classes_
    seen = np.eye(len(classes), dtype=int) if estimator._multilabel else classes
    model._label_binarizer = LabelBinarizer().fit(seen)
    model.classes_ = classes.copy()
    return model


def _network_regressor(estimator: Any) -> Any:
    kind = neural_network.MLPRegressor
    if estimator.loss != "squared_error" and "loss" not in kind._get_param_names():
        _refuse(f"loss={estimator.loss!r}", "its MLPRegressor has it from version 1.7 on")
    return _network(estimator, kind)


_CONVERSIONS = {
    "SGDClassifier": _classifier,
    "SGDRegressor": _regressor,
    "SGDOneClassSVM": _one_class,
    "MLPClassifier": _network_classifier,
    "MLPRegressor": _network_regressor,
}
