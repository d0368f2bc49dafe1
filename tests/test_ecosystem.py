"""The estimators inside scikit-learn: pipelines, searches, wrappers, routing, copies."""

import pickle
import warnings
from itertools import product

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingRegressor
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.feature_selection import SelectFromModel
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV as PeerSearch
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsOneClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from fastsgd import GridSearchCV, SGDClassifier, SGDOneClassSVM, SGDRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 6))
SCORES = X @ rng.normal(size=(6, 3)) + 0.5 * rng.normal(size=(150, 3))
Y = np.array(["a", "b", "c"])[SCORES.argmax(axis=1)]
SEED = {"random_state": 0}
ESTIMATORS = (SGDClassifier, SGDRegressor, SGDOneClassSVM)


def targets(estimator):
    return SCORES[:, 0] if estimator is SGDRegressor else Y


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pipeline_and_grid_search():
    pipe = make_pipeline(StandardScaler(), SGDClassifier(**SEED))
    grid = {
        "sgdclassifier__loss": ["hinge", "log_loss"],
        "sgdclassifier__penalty": ["l2", "l1"],
        "sgdclassifier__learning_rate": ["auto", "adaptive"],
    }
    search = PeerSearch(pipe, grid, cv=3, n_jobs=2).fit(1e3 * X + 5.0, Y)
    assert search.best_score_ > 0.7
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert set(search.predict(X)) <= set(Y)


def test_calibration():
    model = CalibratedClassifierCV(SGDClassifier(**SEED), cv=3).fit(X, Y)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert model.score(X, Y) > 0.7


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_wrappers():
    assert OneVsOneClassifier(SGDClassifier(**SEED)).fit(X, Y).score(X, Y) > 0.7
    bagging = BaggingClassifier(SGDClassifier("log_loss", **SEED), n_estimators=3, **SEED)
    assert bagging.fit(X, Y).score(X, Y) > 0.7
    stack = StackingRegressor([("sgd", SGDRegressor(**SEED))], LinearRegression(), cv=3)
    assert stack.fit(X, SCORES[:, 0]).score(X, SCORES[:, 0]) > 0.7
    novelty = make_pipeline(Nystroem(**SEED), SGDOneClassSVM(nu=0.1, **SEED)).fit(X)
    assert (novelty.predict(X) == -1).mean() < 0.3


def test_select_from_model():
    """By L1's zeros, and by the size of the weights."""
    wide = np.hstack([X, 0.01 * rng.normal(size=(150, 20))])
    lasso = SGDRegressor(penalty="l1", alpha=0.1, **SEED)
    kept = SelectFromModel(lasso, threshold=1e-9).fit(wide, SCORES[:, 0]).get_support()
    assert kept[:6].sum() >= 4
    assert kept[6:].sum() == 0
    top = SelectFromModel(SGDClassifier(**SEED), threshold=-np.inf, max_features=2).fit(X, Y)
    assert top.transform(X).shape == (150, 2)


def test_cross_validation():
    for n_jobs in (None, 2):
        predicted = cross_val_predict(SGDClassifier(**SEED), X, Y, cv=3, n_jobs=n_jobs)
        assert (predicted == Y).mean() > 0.6
    proba = cross_val_predict(SGDClassifier("log_loss", **SEED), X, Y, method="predict_proba")
    assert proba.shape == (150, 3)
    assert cross_val_score(SGDRegressor(**SEED), X, SCORES[:, 0]).mean() > 0.7
    scores = cross_validate(SGDRegressor(**SEED), X, SCORES, scoring=["r2", "max_error"][:1])
    assert scores["test_r2"].mean() > 0.5


def test_metadata_is_routed():
    """Sample weights, starts and validation sets by name."""
    with config_context(enable_metadata_routing=True):
        model = SGDClassifier(**SEED, max_iter=5, tol=None).set_fit_request(sample_weight=True)
        weight = rng.uniform(0.5, 2.0, 150)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, model).fit(X, Y, sample_weight=weight)
        alone = clone(model).fit(StandardScaler().fit_transform(X), Y, sample_weight=weight)
        assert_array_equal(pipe[-1].coef_, alone.coef_)
        requests = SGDClassifier().set_fit_request(X_val=True, y_val=True, coef_init=False)
        fit = requests.get_metadata_routing().fit.requests
        assert fit["X_val"] and fit["y_val"] and fit["coef_init"] is False
        partial = SGDClassifier().set_partial_fit_request(classes=True, sample_weight=True)
        assert partial.get_metadata_routing().partial_fit.requests["classes"]


GROUPS = np.arange(150) % 10
WEIGHTS = np.random.default_rng(1).uniform(0.1, 3.0, 150)
GRID = {"alpha": [1e-3, 0.1]}
MODEL = SGDClassifier(max_iter=3, tol=None, random_state=0)


def test_groups_are_routed_to_splitters_that_want_them():
    """As scikit-learn's search routes them: nobody has to be asked, no one else may be given
    them."""
    search = GridSearchCV(MODEL, GRID, cv=GroupKFold(3))
    plainly = clone(search).fit(X, Y, groups=GROUPS)
    peer = PeerSearch(MODEL, GRID, cv=GroupKFold(3))
    with config_context(enable_metadata_routing=True):
        routed = clone(search).fit(X, Y, groups=GROUPS)
        nested = {"params": {"groups": GROUPS}, "cv": GroupKFold(2), "error_score": "raise"}
        assert len(cross_validate(search, X, Y, **nested)["test_score"]) == 2
        pipe = make_pipeline(StandardScaler(), clone(search)).fit(X, Y, groups=GROUPS)
        assert pipe[-1].n_splits_ == 3
        for one in (search, peer):
            with pytest.raises(ValueError, match="'groups' parameter should not be None"):
                clone(one).fit(X, Y)
            with pytest.raises(TypeError, match=r"unexpected argument.* {'groups'}"):
                clone(one).set_params(cv=KFold(3)).fit(X, Y, groups=GROUPS)
            with pytest.raises(TypeError, match=r"unexpected argument.* {'nonsense'}"):
                clone(one).fit(X, Y, groups=GROUPS, nonsense=1)
            assert one.get_metadata_routing().consumes("fit", ["groups"]) == {"groups"}
    assert_array_equal(routed.best_estimator_.coef_, plainly.best_estimator_.coef_)
    assert_array_equal(*(one.cv_results_["mean_test_score"] for one in (routed, plainly)))


def test_weights_are_routed_to_those_that_want_them():
    """To the estimator, to the scorer, by whatever name; as scikit-learn's search routes them."""
    other = rng.uniform(0.1, 3.0, 150)
    seen = set()
    in_order = clone(MODEL).set_params(shuffle=False, learning_rate="constant", eta0=0.01)
    with config_context(enable_metadata_routing=True):
        for of_fit, of_score in product((True, False), (True, False, "of_scores")):
            model = clone(in_order).set_fit_request(sample_weight=of_fit)
            scorer = make_scorer(accuracy_score).set_score_request(sample_weight=of_score)
            given = {"sample_weight": WEIGHTS} if of_fit or of_score is True else {}
            given |= {"of_scores": other} if of_score == "of_scores" else {}
            found = []
            for kind in (GridSearchCV, PeerSearch):
                search = kind(model, GRID, cv=3, scoring=scorer).fit(X, Y, **given)
                found.append(search.cv_results_["split1_test_score"])
                told = {"sample_weight": WEIGHTS} if of_score is True else {}
                told |= {"of_scores": other} if of_score == "of_scores" else {}
                found.append([search.score(X, Y, **told)])
            assert_allclose(found[0], found[2], rtol=1e-12)
            assert_allclose(found[1], found[3], rtol=1e-12)
            seen.add((*found[0], *found[1]))
        assert len(seen) == 6
        search = GridSearchCV(MODEL, GRID, scoring=make_scorer(accuracy_score))
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            search.fit(X, Y, sample_weight=WEIGHTS)


def test_feature_names():
    import pandas as pd

    names = [f"x{j}" for j in range(6)]
    frame = pd.DataFrame(X, columns=names)
    for estimator in ESTIMATORS:
        model = estimator(**SEED, early_stopping=True).fit(frame, targets(estimator))
        assert_array_equal(model.feature_names_in_, names)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            model.predict(X)
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame[names[::-1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scoring in (None, "accuracy"):
            model = SGDClassifier(**SEED, scoring=scoring, max_iter=3, tol=None)
            model.fit(frame[:100], Y[:100], X_val=frame[100:], y_val=Y[100:])


def test_set_output():
    """As a step before a transformer's pandas output."""
    pytest.importorskip("pandas")
    pipe = make_pipeline(StandardScaler(), SGDRegressor(**SEED)).set_output(transform="pandas")
    pipe.fit(X, SCORES[:, 0])
    assert_array_equal(pipe[-1].feature_names_in_, [f"x{j}" for j in range(6)])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_copies(estimator, tmp_path):
    """clone has the parameters alone; a pickle, a joblib file or a thread's copy the model."""
    model = estimator(**SEED, momentum=0.5, average=True, max_iter=4, tol=None)
    model.fit(X, targets(estimator))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not [name for name in vars(fresh) if name.endswith("_") or name == "_continuation"]
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert_array_equal(copy.partial_fit(X, targets(estimator)).coef_.shape, model.coef_.shape)
    assert estimator.__name__ in estimator_html_repr(model)
    assert repr(fresh).startswith(estimator.__name__)


def test_jobs_train_the_same_models():
    models = [SGDClassifier(random_state=seed, max_iter=5, tol=None) for seed in range(4)]
    alone = [clone(model).fit(X, Y).coef_ for model in models]
    fitted = joblib.Parallel(n_jobs=2)(joblib.delayed(clone(m).fit)(X, Y) for m in models)
    for coef, model in zip(alone, fitted, strict=True):
        assert_array_equal(model.coef_, coef)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_read_only_and_mapped_input(estimator, tmp_path):
    y = targets(estimator)
    plain = estimator(**SEED, max_iter=3, tol=None).fit(X, y)
    np.save(tmp_path / "X.npy", X)
    frozen = X.copy()
    frozen.flags.writeable = False
    csr = sp.csr_array(X)
    for array in (csr.data, csr.indices, csr.indptr):
        array.flags.writeable = False
    for given in (np.load(tmp_path / "X.npy", mmap_mode="r"), frozen, csr):
        model = clone(plain).fit(given, y)
        model.partial_fit(given, y)
        other = clone(plain).fit(X, y).partial_fit(X, y)
        assert_allclose(model.coef_, other.coef_)
        assert len(model.predict(given)) == 150


def test_code_written_for_scikit_learn_runs():
    """Every parameter of its estimators is one of these; defaults differ in the rates alone."""
    from sklearn import linear_model

    for estimator in ESTIMATORS:
        ours = estimator().get_params()
        theirs = getattr(linear_model, estimator.__name__)().get_params()
        assert set(theirs) <= set(ours)
        differing = {name for name in theirs if ours[name] != theirs[name]}
        assert differing <= {"learning_rate", "eta0"}


def test_random_states():
    """An int is the seed itself; a generator is drawn from once a run."""
    generator = np.random.RandomState(7)
    seed = np.random.RandomState(7).randint(np.iinfo(np.int32).max)
    options = {"max_iter": 2, "tol": None}
    drawn = SGDRegressor(random_state=generator, **options).fit(X, SCORES[:, 0])
    again = SGDRegressor(random_state=generator, **options).fit(X, SCORES[:, 0])
    given = SGDRegressor(random_state=int(seed), **options).fit(X, SCORES[:, 0])
    assert_array_equal(drawn.coef_, given.coef_)
    assert (drawn.coef_ != again.coef_).any()
