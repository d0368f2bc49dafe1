"""warm_start: a run of its own from the present weights, as scikit-learn has it."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale
from test_continuing import LAYOUTS, SETTINGS, X, Y, of, portrait

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, path


def given_weights(model):
    """The model's weights as arguments of ``fit``."""
    offset = isinstance(model, SGDOneClassSVM)
    end = {"offset_init": model.offset_} if offset else {"intercept_init": model.intercept_}
    return {"coef_init": model.coef_.copy(), **end}


@pytest.mark.filterwarnings("ignore:SGD diverged")
@pytest.mark.filterwarnings("ignore:eta . alpha reached 1")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("estimator", Y)
def test_is_a_fit_from_the_present_weights(estimator, name, layout):
    """The same bits as with these weights given: counts, momentum, averages, rates begin anew."""
    y, table = Y[estimator], LAYOUTS[layout]
    options = {"loss": "squared_error", "max_iter": 3, **SETTINGS[name]}
    other = {"nu": 0.3} if estimator is SGDOneClassSVM else {"alpha": 0.2}
    model = of(estimator, options, warm_start=True).fit(table, y)
    fresh = of(estimator, {**options, **other}).fit(table, y, **given_weights(model))
    first = portrait(model)
    again = model.set_params(**other).fit(table, y)
    assert portrait(again) == portrait(fresh)
    assert portrait(again) != first
    assert again.t_ == fresh.t_
    assert portrait(again.partial_fit(table, y)) == portrait(fresh.partial_fit(table, y))


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
def test_with_standardize_and_early_stopping(estimator):
    """Means and deviations, and rows that are held out, are those of a fit of these rows."""
    y = Y[estimator]
    options = {"standardize": True, "early_stopping": True, "max_iter": 4, "momentum": 0.5}
    model = of(estimator, options, warm_start=True).fit(X, y)
    fresh = of(estimator, options).fit(X[:40], y[:40], **given_weights(model))
    assert portrait(model.fit(X[:40], y[:40])) == portrait(fresh)


def objective(model, X, y, alpha):
    """Mean log loss plus penalty, of labels y in {-1, 1}."""
    margin = y * model.decision_function(X)
    return np.logaddexp(0.0, -margin).mean() + 0.5 * alpha * np.square(model.coef_).sum()


@pytest.mark.filterwarnings("ignore:eta . alpha reached 1")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # on the way
@pytest.mark.parametrize("rate", ({}, {"learning_rate": "optimal"}))
@pytest.mark.parametrize("average", (False, True))
def test_a_path_of_penalties_ends_where_a_fit_does(average, rate):
    """Averages are of the problem at hand, and counts of updates do not slow a later one."""
    X, y = load_breast_cancer(return_X_y=True)
    X, sign = scale(X), np.where(y, 1.0, -1.0)
    warm = SGDClassifier("log_loss", average=average, warm_start=True, random_state=0, **rate)
    for alpha in (1e-3, 1e-2, 0.1, 1.0):
        warm.set_params(alpha=alpha).fit(X, y)
    cold = SGDClassifier("log_loss", average=average, alpha=1.0, random_state=0, **rate).fit(X, y)
    exact = LogisticRegression(C=1.0 / len(y), tol=1e-10, max_iter=1000).fit(X, y)
    assert objective(warm, X, sign, 1.0) < 1.02 * objective(exact, X, sign, 1.0)
    assert warm.n_iter_ <= 2 * cold.n_iter_
    assert len(warm.loss_curve_) == warm.n_iter_


@pytest.mark.parametrize("how", ("partial_fit", "resume"))
@pytest.mark.parametrize("changed", ({"alpha": 0.1}, {"penalty": None}, {"loss": "huber"}))
def test_averages_of_another_problem_are_dropped_by_exact_continuation_too(changed, how):
    """With the steps too small to matter, the average is where the run stood."""
    options = {"learning_rate": "constant", "average": True, "alpha": 1e-3}
    model = of(SGDRegressor, options, eta0=0.05, max_iter=3).fit(X, Y[SGDRegressor])
    averages, stood = model.coef_, model._continuation.state.last_weights()[0]
    assert np.abs(averages - stood).max() > 0.01
    model.set_params(eta0=1e-13, max_iter=2)
    go_on = {"partial_fit": model.partial_fit, "resume": partial(model.fit, resume=True)}[how]
    go_on(X, Y[SGDRegressor])
    assert np.abs(model.coef_ - stood).max() > 0.001  # of the same problem: they are gone on with
    model.set_params(**changed)
    go_on(X, Y[SGDRegressor])
    assert_allclose(model.coef_, stood, atol=1e-9)


def test_a_path_does_not_look_at_it():
    """Its lanes begin at zero, and know their end."""
    y, options = Y[SGDRegressor], {"tol": None, "max_iter": 3, "random_state": 0}
    models = [SGDRegressor(warm_start=warm, **options) for warm in (False, True)]
    found = [path(X, y, alphas=[0.1, 1.0], estimator=model) for model in models]
    assert_array_equal(found[0].coef, found[1].coef)
    alone = SGDRegressor(alpha=1.0, **options).fit(X, y)
    assert_allclose(found[1].coef[1], alone.coef_, rtol=1e-6)
