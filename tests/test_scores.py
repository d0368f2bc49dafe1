"""Scores that are not defined, not finite, or end in an exception: early stopping and searches."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, UndefinedMetricWarning
from sklearn.linear_model import SGDRegressor as PeerRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV as PeerSearch
from sklearn.model_selection import KFold, LeaveOneOut
from sklearn.preprocessing import scale

from fastsgd import DivergenceError, GridSearchCV, SGDClassifier, SGDRegressor
from fastsgd.estimators.validation import determinations

X, Y = load_diabetes(return_X_y=True)
X, Y = scale(X), Y / 100.0
SIGNS = (Y > 1.4).astype(int)
FEW = {"max_iter": 3, "tol": None, "random_state": 0}
ALPHAS = [1e-4, 1e-2, 1.0]
GRID = {"alpha": ALPHAS}
HELD_OUT = SGDRegressor(**FEW, validation_fraction=2.5 / len(Y))
HELD_OUT = HELD_OUT._held_out(HELD_OUT._begin(X, Y, None), 0)
ONE_ROW = "not well-defined with less than two samples"


@pytest.fixture
def warned():
    """The warnings of a block, by their category."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda category: [str(w.message) for w in caught if w.category is category]


# ---------------------------------------------------------------- R^2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("outputs", (1, 3))
@pytest.mark.parametrize("rows", (1, 2, 5))
def test_r2_is_scikit_learns(rows, outputs):
    rng = np.random.default_rng(rows)
    for y in (rng.normal(size=(rows, outputs)), np.ones((rows, outputs))):
        for scores in (y, y + rng.normal(size=y.shape)):
            for weight in (None, rng.uniform(0.5, 2.0, rows)):
                ours = determinations(scores, y, weight)
                theirs = r2_score(y, scores, sample_weight=weight, multioutput="raw_values")
                np.testing.assert_allclose(ours, np.broadcast_to(theirs, outputs))


def test_r2_of_one_row_that_has_weight():
    """A row of weight zero is not there."""
    weight = np.array([0.0, 2.0, 0.0])
    assert np.isnan(determinations(np.zeros((3, 1)), np.arange(3.0)[:, None], weight)).all()
    weight = np.ones(len(Y))
    weight[HELD_OUT[1:]] = 0.0
    model = SGDRegressor(**FEW, early_stopping=True, validation_fraction=2.5 / len(Y))
    with pytest.warns(UndefinedMetricWarning, match=ONE_ROW), pytest.warns(match="not a finite"):
        model.fit(X, Y, sample_weight=weight)


# ---------------------------------------------------------------- early stopping


@pytest.mark.parametrize("outputs", (1, 2))
def test_one_row_held_out_does_not_stop_a_fit(outputs, warned):
    """Its R^2 says nothing: the model is that of the last epoch, and two warnings say why."""
    y = Y if outputs == 1 else np.column_stack([Y, -Y])
    options = {"max_iter": 20, "random_state": 0, "early_stopping": True, "eta0": 0.01}
    model = SGDRegressor(**options, validation_fraction=1 / len(Y)).fit(X, y)
    assert_array_equal(model.history_["validation_score"], np.full(20, np.nan))
    assert len(warned(UndefinedMetricWarning)) == 1
    assert len(warned(UserWarning)) == 1
    assert "score was never a finite number" in warned(ConvergenceWarning)[0]
    row = model._held_out(model._begin(X, y, None), 0)
    weight = np.where(np.arange(len(Y)) == row, 0.0, 1.0)
    alone = SGDRegressor(max_iter=20, random_state=0, eta0=0.01, tol=None, total_epochs=None)
    alone.set_params(learning_rate=model.result_.schedule).fit(X, y, sample_weight=weight)
    assert_array_equal(model.coef_, alone.coef_)


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
def test_a_scorer_that_never_gives_a_number(estimator, bad, warned):
    y = SIGNS if estimator is SGDClassifier else Y
    options = {"max_iter": 12, "random_state": 0, "early_stopping": True}
    model = estimator(**options, scoring=lambda *_: bad).fit(X, y)
    assert model.n_iter_ == 12
    assert any("after epoch 1 is not a finite number" in words for words in warned(UserWarning))
    assert "score was never a finite number" in warned(ConvergenceWarning)[0]


def test_epochs_without_a_number_are_no_gain_and_never_the_best(warned):
    """Patience begins with the first number."""
    values = [np.nan] * 4 + [0.5, np.nan, 0.7, np.inf, 0.6, np.nan, 0.1]
    options = {"max_iter": 30, "random_state": 0, "n_iter_no_change": 4, "eta0": 0.01}
    kept = []

    def score(model, X, y):
        kept.append(model.coef_.copy())
        return values[len(kept) - 1]

    model = SGDRegressor(**options, scoring=score).fit(X[40:], Y[40:], X_val=X[:40], y_val=Y[:40])
    assert model.n_iter_ == 11
    assert_array_equal(model.coef_, kept[6])
    assert len(warned(UserWarning)) == 1
    assert not warned(ConvergenceWarning)


@pytest.mark.parametrize("given", ("good", None, [1.0, 2.0], 1j, np.zeros(2)))
def test_a_scorer_that_gives_no_number_at_all(given):
    model = SGDRegressor(**FEW, early_stopping=True, scoring=lambda *_: given)
    with pytest.raises(ValueError, match="scoring must return one number"):
        model.fit(X, Y)


# ---------------------------------------------------------------- searches


def test_leave_one_out_has_no_r2(warned):
    """As GridSearchCV: NaN, a warning of the scores, the first candidate."""
    found = GridSearchCV(SGDRegressor(**FEW), GRID, cv=LeaveOneOut()).fit(X[:20], Y[:20])
    assert np.isnan(found.cv_results_["mean_test_score"]).all()
    assert_array_equal(found.cv_results_["rank_test_score"], 1)
    assert found.best_params_ == {"alpha": ALPHAS[0]}
    assert np.isnan(found.best_score_)
    assert len(warned(UndefinedMetricWarning)) == 1
    assert "test scores are non-finite" in warned(UserWarning)[0]
    accuracies = GridSearchCV(SGDClassifier(**FEW), GRID, cv=LeaveOneOut())
    assert np.isfinite(accuracies.fit(X[:20], SIGNS[:20]).best_score_)
    options = {"cv": LeaveOneOut(), "scoring": "neg_mean_squared_error"}
    errors = GridSearchCV(SGDRegressor(**FEW), GRID, **options)
    assert np.isfinite(errors.fit(X[:20], Y[:20]).best_score_)
    assert len(warned(UserWarning)) == 1


def score_by_alpha(of_alpha):
    def score(model, X, y):
        value = of_alpha[model.alpha]
        if isinstance(value, Exception):
            raise value
        return value

    return score


@pytest.mark.parametrize(
    "values",
    (
        (np.nan, 0.5, 0.7),
        (np.nan, np.nan, np.nan),
        (np.inf, 0.5, np.nan),
        (-np.inf, -np.inf, np.nan),
        (-np.inf, np.inf, 0.5),
    ),
)
def test_scores_that_are_not_finite_rank_as_in_grid_search(values, warned):
    scoring = score_by_alpha(dict(zip(ALPHAS, values, strict=True)))
    ours = GridSearchCV(SGDRegressor(**FEW), GRID, scoring=scoring).fit(X, Y)
    assert sum("scores are non-finite" in words for words in warned(UserWarning)) == 1
    theirs = PeerSearch(PeerRegressor(**FEW), GRID, scoring=scoring).fit(X, Y)
    for name in ("mean_test_score", "rank_test_score"):
        assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    assert ours.best_index_ == theirs.best_index_


@pytest.mark.parametrize("error_score", (np.nan, -3.0, "raise"))
def test_a_scorers_exception_follows_error_score(error_score, warned):
    values = {1e-4: ZeroDivisionError("no score"), 1e-2: 0.4, 1.0: 0.3}
    same = {"scoring": score_by_alpha(values), "error_score": error_score, "cv": KFold(3)}
    ours = GridSearchCV(SGDRegressor(**FEW), GRID, **same)
    theirs = PeerSearch(PeerRegressor(**FEW), GRID, **same)
    if error_score == "raise":
        for search in (ours, theirs):
            with pytest.raises(ZeroDivisionError, match="no score"):
                search.fit(X, Y)
        assert not hasattr(ours, "best_estimator_")
        return
    ours.fit(X, Y)
    told = [words for words in warned(UserWarning) if "Scoring failed" in words]
    assert len(told) == 3
    assert "ZeroDivisionError: no score" in told[0]
    theirs.fit(X, Y)
    for name in ("mean_test_score", "rank_test_score", "split2_test_score"):
        assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    assert ours.best_params_ == {"alpha": 1e-2}


@pytest.mark.parametrize("error_score", (np.nan, -3.0, "raise"))
def test_a_divergence_follows_error_score(error_score, warned):
    model = SGDRegressor(learning_rate="constant", alpha=1e-4, **{**FEW, "max_iter": 20})
    found = GridSearchCV(model, {"eta0": [10.0, 0.01]}, error_score=error_score)
    if error_score == "raise":
        with pytest.raises(DivergenceError):
            found.fit(X, Y)
        return
    means = found.fit(X, Y).cv_results_["mean_test_score"]
    assert_array_equal(means[0], error_score)
    assert means[1] > 0.0
    assert "5 fits failed out of a total of 10" in warned(FitFailedWarning)[0]
    assert "DivergenceError" in warned(FitFailedWarning)[0]
    assert not warned(RuntimeWarning)


@pytest.mark.parametrize("bad", ("none", None, []))
def test_error_score_is_a_number_or_raise(bad):
    with pytest.raises(ValueError, match="'error_score' parameter of GridSearchCV must be"):
        GridSearchCV(SGDRegressor(), GRID, error_score=bad).fit(X, Y)
