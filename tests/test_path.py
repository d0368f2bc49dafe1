"""Paths of penalties against fits of each."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import SGDRegressor as PeerRegressor
from sklearn.preprocessing import scale

from fastsgd import DivergenceError, SGDClassifier, SGDRegressor, path

FEW = {"max_iter": 3, "tol": None, "random_state": 3}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return scale(X)[:400], y[:400]


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y / 100.0


@pytest.mark.parametrize(
    "estimator",
    (
        SGDRegressor(**FEW),
        SGDRegressor(penalty="l1", tol=1e-3, max_iter=50, random_state=0),
        SGDClassifier("log_loss", **FEW),
        SGDClassifier("log_loss", multi_class="multinomial", class_weight="balanced", **FEW),
        SGDClassifier("hinge", eta0=0.01, standardize=True, **FEW),
    ),
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_path_is_of_separate_fits(estimator, diabetes, digits):
    X, y = digits if isinstance(estimator, SGDClassifier) else diabetes
    alphas = [1.0, 1e-3, 0.1]
    found = path(X, y, alphas=alphas, estimator=estimator)
    np.testing.assert_array_equal(found.alphas, alphas)
    for alpha, coef, intercept, n_iter in zip(*found, strict=True):
        model = clone(estimator).set_params(alpha=alpha).fit(X, y)
        np.testing.assert_allclose(coef, model.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(intercept, model.intercept_, rtol=1e-9, atol=1e-12)
        assert n_iter == model.n_iter_
    assert not hasattr(estimator, "coef_")


def test_a_path_of_weights_and_of_one(diabetes):
    X, y = diabetes
    weight = np.linspace(0.0, 2.0, len(y))
    estimator = SGDRegressor(**FEW)
    found = path(X, y, alphas=[0.1], estimator=estimator, sample_weight=weight)
    model = estimator.set_params(alpha=0.1).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(found.coef[0], model.coef_, rtol=1e-9)
    assert path(X, y).coef.shape == (16, X.shape[1])


def test_a_path_refuses(diabetes, digits):
    X, y = diabetes
    with pytest.raises(ValueError, match="estimator must be an SGDClassifier or SGDRegressor"):
        path(X, y, estimator=PeerRegressor())
    with pytest.raises(ValueError, match="early_stopping should be False in path"):
        path(X, y, estimator=SGDRegressor(early_stopping=True))
    with pytest.raises(ValueError, match="alphas must be a list of finite numbers"):
        path(X, y, alphas=0.1)
    softmax = SGDClassifier("hinge", multi_class="multinomial")
    with pytest.raises(ValueError, match="multi_class='multinomial' is the softmax"):
        path(*digits, estimator=softmax)
    with pytest.raises(DivergenceError):
        path(X, y, estimator=SGDRegressor(learning_rate="constant", eta0=10.0))
