"""Searches over pipelines: scikit-learn's results in any order of rows, and steps fitted once."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from searches import ALPHAS, FEW, IN_ORDER, count_fits, equal, same, scores_of
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV as PeerSearch
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from fastsgd import GridSearchCV, SGDClassifier, SGDRegressor

LAST = {"sgdclassifier__alpha": ALPHAS}
FITS = []


class Counted(TransformerMixin, BaseEstimator):
    """Divides by a number; every fit is counted."""

    def __init__(self, by=1.0, fails=False):
        self.by, self.fails = by, fails

    def fit(self, X, y=None, sample_weight=None):
        if self.fails:
            raise ValueError("no such step")
        FITS.append((self.by, X.shape[0]))
        self.scale_ = self.by if sample_weight is None else self.by * np.mean(sample_weight)
        return self

    def transform(self, X):
        return X / self.scale_


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16.0, y[:400]


@pytest.fixture(autouse=True)
def none_yet():
    FITS.clear()


def pixels_left(model, X, y):
    """Sees the pipeline itself, and X as it came."""
    assert X.shape[1] == 64
    return float(np.abs(model[-1].coef_).sum()) + model.score(X, y)


@pytest.mark.filterwarnings("ignore::fastsgd.FeatureScaleWarning")
@pytest.mark.parametrize(
    "options",
    (
        {"return_train_score": True},
        {"scoring": "f1_macro", "return_train_score": True},
        {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
        {"scoring": pixels_left, "return_train_score": True},
    ),
    ids=("default", "f1", "two scores", "callable"),
)
@pytest.mark.parametrize("weighted", (False, True))
def test_results_are_scikit_learns_in_random_order(weighted, options, digits, monkeypatch):
    """Each split trains on its own rows: order, batches and rates are theirs."""
    X, y = digits
    pipe = make_pipeline(
        StandardScaler(), PCA(random_state=0), SGDClassifier("log_loss", batch_size=4, **FEW)
    )
    grid = {**LAST, "pca__n_components": [5, 12], "sgdclassifier__class_weight": [None, "balanced"]}
    weight = np.random.default_rng(0).uniform(0.1, 2.0, 400)
    fit = {"sgdclassifier__sample_weight": weight} if weighted else {}
    alone, shared = count_fits(monkeypatch)
    ours, theirs = same(pipe, grid, X, y, fit=fit, cv=3, **options)
    assert not alone
    assert shared == [(6, 1)] * 6
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert len(
        np.unique(scores_of(ours, next(iter(ours.scorer_)) if ours.multimetric_ else "score"))
    )


def test_steps_are_fitted_once_a_split(digits):
    """For each of their own values, and once more for the best."""
    X, y = digits
    pipe = make_pipeline(Counted(), SGDClassifier(**FEW))
    grid = {**LAST, "counted__by": [1.0, 2.0], "sgdclassifier__loss": ["hinge", "log_loss"]}
    found = GridSearchCV(pipe, grid, cv=4).fit(X, y)
    best = found.best_params_["counted__by"]
    assert sorted(FITS) == sorted([*[(by, 300) for by in (1.0, 2.0)] * 4, (best, 400)])
    equal(found, PeerSearch(pipe, grid, cv=4).fit(X, y))


@pytest.mark.parametrize(
    "before", ([], [("nothing", "passthrough")], [("nothing", None)]), ids=("none", "word", "None")
)
def test_without_a_step_before_splits_share_passes(before, digits, monkeypatch):
    X, y = digits
    pipe = Pipeline([*before, ("model", SGDClassifier("log_loss", **IN_ORDER))])
    alone, shared = count_fits(monkeypatch)
    for scoring in (None, "f1_macro", pixels_left):
        same(pipe, {"model__alpha": ALPHAS}, X, y, scoring=scoring, return_train_score=True)
    assert not alone
    assert shared == [(3, 5)] * 3


def test_steps_are_parameters_too(digits, monkeypatch):
    """Steps that change, and the model that does: what is no model of fastsgd is fitted alone."""
    X, y = digits
    pipe = Pipeline([("scale", StandardScaler()), ("model", SGDClassifier(**IN_ORDER))])
    grid = [
        {"scale": ["passthrough", MaxAbsScaler()], "model__alpha": ALPHAS},
        {"model": [SGDClassifier("log_loss", **IN_ORDER), LogisticRegression(max_iter=300)]},
        {"model": [SGDClassifier("log_loss", **IN_ORDER)], "model__alpha": [0.1]},
    ]
    alone, shared = count_fits(monkeypatch)
    same(pipe, grid, X, y, cv=3)
    assert shared == [(3, 3)] + [(3, 1)] * 3 + [(1, 1)] * 6
    assert [type(one["model"]) for one in alone] == [LogisticRegression] * 3


def test_text(monkeypatch):
    """Rows are strings, features sparse."""
    words = np.array(["red", "green", "blue", "grey", "pink"])
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 5, (120, 6))
    texts = [" ".join(words[pick]) for pick in picks]
    y = (picks == 0).sum(axis=1) > 1
    pipe = make_pipeline(CountVectorizer(), SGDClassifier("log_loss", **FEW))
    alone, _ = count_fits(monkeypatch)
    ours, _ = same(pipe, LAST, np.array(texts, dtype=object), y, return_train_score=True)
    equal(GridSearchCV(pipe, LAST, return_train_score=True).fit(texts, y), ours)
    assert not alone
    assert sp.issparse(ours.best_estimator_[0].transform(texts[:2]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("outputs", (1, 2))
def test_regression(outputs, monkeypatch):
    X, y = load_diabetes(return_X_y=True)
    y = y / 100.0 if outputs == 1 else np.column_stack([y, -y]) / 100.0
    pipe = make_pipeline(StandardScaler(), SGDRegressor(tol=1e-3, max_iter=200, random_state=0))
    grid = {"sgdregressor__alpha": ALPHAS, "sgdregressor__eta0": [None, 0.001]}
    alone, _ = count_fits(monkeypatch)
    same(pipe, grid, X, y, return_train_score=True)
    assert not alone


def test_a_generator_is_copied_for_every_fit(digits):
    X, y = digits
    generator = np.random.RandomState(3)
    model = SGDClassifier("log_loss", **{**FEW, "random_state": generator})
    same(make_pipeline(StandardScaler(with_std=False), model), LAST, X, y)
    assert generator.randint(1 << 30) == np.random.RandomState(3).randint(1 << 30)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning")
def test_failures_are_scikit_learns(digits):
    """Of a step, of a model, and of a class that only the test rows have."""
    X, y = digits
    pipe = make_pipeline(Counted(), SGDClassifier("log_loss", **FEW))
    for grid in (
        {**LAST, "counted__fails": [False, True]},
        {"sgdclassifier__alpha": [1e-4, -1.0]},
        {
            **LAST,
            "sgdclassifier__multi_class": ["ovr", "multinomial"],
            "sgdclassifier__loss": ["hinge"],
        },
    ):
        with pytest.warns(FitFailedWarning):
            same(pipe, grid, X, y, cv=3)
        with pytest.raises(ValueError):
            GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="no such step"):
        GridSearchCV(make_pipeline(Counted(fails=True), pipe[-1]), LAST).fit(X, y)
    cv = [(np.flatnonzero(y < 9), np.arange(400)), (np.arange(300), np.arange(300, 400))]
    same(pipe, LAST, X, y, cv=cv)


def test_metadata_are_routed_to_steps(digits):
    """What each requests, and the scorer's."""
    X, y = digits
    weight = np.random.default_rng(0).uniform(0.1, 2.0, 400)
    with config_context(enable_metadata_routing=True):
        results = []
        for of_step, of_model in ((True, True), (True, False), (False, True)):
            pipe = make_pipeline(
                Counted().set_fit_request(sample_weight=of_step),
                SGDClassifier("log_loss", **FEW).set_fit_request(sample_weight=of_model),
            )
            scoring = make_scorer(accuracy_score).set_score_request(sample_weight=True)
            fit = {"sample_weight": weight}
            ours, _ = same(pipe, LAST, X, y, fit=fit, scoring=scoring, return_train_score=True)
            results.append(scores_of(ours))
        assert len({scores.tobytes() for scores in results}) == 3


def test_the_memory_of_a_pipeline_is_used(digits, tmp_path):
    X, y = digits
    pipe = make_pipeline(Counted(), SGDClassifier(**FEW), memory=str(tmp_path))
    first = GridSearchCV(pipe, LAST, cv=3).fit(X, y)
    count = len(FITS)
    again = GridSearchCV(pipe, LAST, cv=3).fit(X, y)
    assert count == 4
    assert len(FITS) == count
    assert_allclose(scores_of(first), scores_of(again))
