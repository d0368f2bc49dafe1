"""Searches over rows that are not all in memory: each model is a single fit without its fold."""

from __future__ import annotations

import pickle
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.model_selection as peers
from sklearn.metrics import get_scorer, make_scorer, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastsgd import (
    GridSearchCV,
    MLPClassifier,
    RandomizedSearchCV,
    SGDClassifier,
    SGDRegressor,
    path,
)
from fastsgd.data import open_source
from fastsgd.estimators.rows import opened
from fastsgd.model_selection import evaluation, stream_evaluation
from fastsgd.model_selection.block_scores import scores_by_blocks
from fastsgd.model_selection.folds import Folds

N, D, BLOCK = 2400, 6, 500
SMALL = 1 << 14
"""Bytes of memory, into which the rows do not fit."""
FEW = {"max_iter": 3, "tol": None, "random_state": 3}


def table(kind="binary", *, sparse=False, n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, D))
    if sparse:
        X[rng.random(X.shape) < 0.5] = 0.0
        X = sp.csr_array(X)
    score = X @ rng.normal(size=(D, 3)) + 0.5 * rng.normal(size=(n, 3))
    y = {
        "binary": (score[:, 0] > 0.3).astype(int),
        "names": np.array(["no", "yes"])[(score[:, 0] > 0.3).astype(int)],
        "classes": score.argmax(axis=1),
        "labels": (score > 0.0).astype(int),
        "numbers": score[:, 0],
        "outputs": score[:, :2],
    }[kind]
    assert len(np.unique(y)) > 1
    return X, y


def source_of(X, y, weight=None):
    def blocks():
        for first in range(0, X.shape[0], BLOCK):
            rows = slice(first, first + BLOCK)
            yield (X[rows], y[rows]) if weight is None else (X[rows], y[rows], weight[rows])

    return blocks


def folds_of(X, y, cv, seed=3):
    """The fold of each row."""
    with opened(SGDClassifier(), source_of(X, y), None, None, {"pool_bytes": SMALL}) as rows:
        return Folds(cv, seed, rows.stream).of(np.arange(X.shape[0]))


def scored(model, X, y, scoring):
    return model.score(X, y) if scoring is None else get_scorer(scoring)(model, X, y)


def single_fits(model, candidates, X, y, cv, scoring=None, weight=None, **source):
    """Scores (candidates, folds), test and train, of fits whose rows of a fold have weight zero."""
    fold, scores = folds_of(X, y, cv), []
    for params in candidates:
        for f in range(cv):
            held = np.ones(len(fold)) if weight is None else weight.copy()
            held[fold == f] = 0.0
            one = type(model)(**{**model.get_params(), **params})
            one.fit(source_of(X, y, held), **source)
            parts = fold == f, fold != f
            scores.append([scored(one, X[part], y[part], scoring) for part in parts])
    return np.array(scores).reshape(len(candidates), cv, 2).transpose(2, 0, 1)


def check(search, expected, name="score", rtol=1e-12):
    results = search.cv_results_
    for part, values in zip(("test", "train"), expected, strict=True):
        for f in range(values.shape[1]):
            column = results[f"split{f}_{part}_{name}"]
            np.testing.assert_allclose(column, values[:, f], rtol=rtol, atol=1e-13)
    best = expected[0].mean(axis=1).argmax()
    assert search.best_params_ == results["params"][search.best_index_]
    assert expected[0].mean(axis=1)[search.best_index_] == pytest.approx(
        expected[0].mean(axis=1)[best]
    )


CASES = [
    (SGDClassifier("log_loss", **FEW), "binary", "neg_log_loss", {"alpha": [1e-4, 1.0]}),
    (SGDClassifier(**FEW), "names", None, {"eta0": [1e-3, 0.1], "batch_size": [1, 16]}),
    (SGDClassifier("log_loss", **FEW), "classes", "f1_macro", {"alpha": [1e-4, 1.0]}),
    (
        SGDClassifier("log_loss", multi_class="multinomial", **FEW),
        "classes",
        "neg_log_loss",
        {"alpha": [1e-4, 1.0]},
    ),
    (SGDClassifier(**FEW), "labels", "accuracy", {"alpha": [1e-4, 1.0]}),
    (
        SGDClassifier("log_loss", **FEW),
        "binary",
        "balanced_accuracy",
        {"class_weight": [None, {0: 3.0}, "balanced"]},
    ),
    (
        SGDRegressor(penalty="elasticnet", **FEW),
        "numbers",
        None,
        {"l1_ratio": [0.1, 0.9], "alpha": [1e-3, 0.1]},
    ),
    (
        SGDRegressor("huber", **FEW, average=0.5),
        "numbers",
        "neg_root_mean_squared_error",
        {"alpha": [1e-3, 0.1]},
    ),
    (SGDRegressor(standardize=True, **FEW), "numbers", "r2", {"alpha": [1e-3, 0.1]}),
    (
        SGDRegressor(max_iter=30, tol=1e-3, random_state=3, batch_size=64),
        "outputs",
        "neg_mean_absolute_error",
        {"alpha": [1e-3, 0.1]},
    ),
]


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("model", "kind", "scoring", "grid"), CASES)
def test_a_search_is_single_fits_without_a_fold(model, kind, scoring, grid, weighted, sparse):
    if sparse and model.standardize:
        model = type(model)(**{**model.get_params(), "standardize": False})
    X, y = table(kind, sparse=sparse)
    weight = np.random.default_rng(1).integers(1, 4, N).astype(float) if weighted else None
    search = GridSearchCV(model, grid, scoring=scoring, cv=3, return_train_score=True)
    search.fit(source_of(X, y, weight), pool_bytes=SMALL)
    candidates = search.cv_results_["params"]
    expected = single_fits(model, candidates, X, y, 3, scoring, weight, pool_bytes=SMALL)
    assert np.ptp(expected) > 0.0
    check(search, expected, rtol=1e-9)
    own = type(model)(**{**model.get_params(), **search.best_params_})
    own.fit(source_of(X, y, weight), pool_bytes=SMALL)
    np.testing.assert_array_equal(search.best_estimator_.coef_, own.coef_)


def recorded(monkeypatch, module):
    """What the shared passes of a search learn."""
    found, original = [], module.fit_all

    def fit_all(*arguments):
        found.append(original(*arguments))
        return found[-1]

    monkeypatch.setattr(module, "fit_all", fit_all)
    return found


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bit_for_bit_the_search_of_arrays_where_one_pool_has_all_rows(
    dtype, sparse, tmp_path, monkeypatch
):
    X, y = table(sparse=sparse)
    X = X.astype(dtype)
    model = SGDClassifier("log_loss", sampling="block", learning_rate="constant", eta0=0.05, **FEW)
    grid, fold = {"alpha": [1e-4, 1e-2, 1.0]}, folds_of(X, y, 4)
    found = recorded(monkeypatch, stream_evaluation), recorded(monkeypatch, evaluation)
    ours = GridSearchCV(model, grid, cv=4)
    ours.fit(source_of(X, y), cache=tmp_path / "rows", pool_bytes=1 << 24)
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(4)]
    arrays = GridSearchCV(model, grid, cv=splits).fit(X, y)
    (stream,), (memory,) = found
    np.testing.assert_array_equal(stream.coef, memory.coef)
    np.testing.assert_array_equal(stream.intercept, memory.intercept)
    np.testing.assert_array_equal(ours.best_estimator_.coef_, arrays.best_estimator_.coef_)
    for f in range(4):  # a score is a mean over blocks
        name = f"split{f}_test_score"
        np.testing.assert_allclose(ours.cv_results_[name], arrays.cv_results_[name], rtol=1e-13)


# The first steps of "optimal" are the longer the smaller alpha is: at 1e-4 one of the fits
# magnifies what lanes round differently by 1e13, at 1e-3 none.
@pytest.mark.parametrize(
    ("rate", "alphas"),
    [("auto", [1e-4, 0.1]), ("optimal", [1e-3, 0.1]), ("adaptive", [1e-4, 0.1])],
)
def test_to_rounding_the_fits_of_streams(rate, alphas, monkeypatch):
    X, y = table()
    found = recorded(monkeypatch, stream_evaluation)
    model = SGDClassifier(
        "log_loss",
        learning_rate=rate,
        **{**FEW, "tol": 0.05, "n_iter_no_change": 2, "max_iter": 50},
    )
    GridSearchCV(model, {"alpha": alphas}, cv=3).fit(source_of(X, y), pool_bytes=SMALL)
    fold, (models,) = folds_of(X, y, 3), found
    for (c, alpha), f in product(enumerate(alphas), range(3)):
        one = SGDClassifier(**{**model.get_params(), "alpha": alpha})
        one.fit(source_of(X, y, (fold != f).astype(float)), pool_bytes=SMALL)
        np.testing.assert_allclose(models.coef[f, c], one.coef_, rtol=1e-11)
        assert models.epochs[f, c].max() == one.n_iter_


@pytest.mark.parametrize("cache", [True, None, "folder"])
def test_where_rows_are_kept_makes_no_difference(cache, tmp_path):
    X, y = table()
    model = SGDClassifier("log_loss", shuffle=False, **FEW)
    search = GridSearchCV(model, {"alpha": [1e-4, 0.1]}, cv=3, scoring="neg_log_loss")
    search.fit(
        source_of(X, y), cache=tmp_path / "rows" if cache == "folder" else cache, pool_bytes=SMALL
    )
    expected = GridSearchCV(model, {"alpha": [1e-4, 0.1]}, cv=3, scoring="neg_log_loss")
    expected.fit(source_of(X, y), pool_bytes=SMALL)
    for name, column in expected.cv_results_.items():
        if "score" in name and "time" not in name:
            np.testing.assert_allclose(search.cv_results_[name], column, rtol=1e-12)


@pytest.mark.parametrize("classifier", [True, False])
def test_every_score_by_blocks_is_that_of_all_rows(classifier):
    X, y = table("binary" if classifier else "numbers")
    y = y if classifier else np.exp(0.2 * y)  # some metrics are of positive numbers
    names = scores_by_blocks(classifier=classifier)
    model = SGDClassifier("log_loss", **FEW) if classifier else SGDRegressor("poisson", **FEW)
    search = GridSearchCV(model, {"alpha": [1e-2]}, cv=3, scoring=names, refit=names[0])
    search.fit(source_of(X, y), pool_bytes=SMALL)
    assert len(names) > 5
    for name in names:
        expected = single_fits(model, [{"alpha": 1e-2}], X, y, 3, name, pool_bytes=SMALL)[0, 0]
        found = [search.cv_results_[f"split{f}_test_{name}"][0] for f in range(3)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=name)


def test_rows_that_fit_are_searched_as_arrays():
    X, y = table()
    model, grid = SGDClassifier(**FEW), {"alpha": [1e-4, 1.0]}
    ours = GridSearchCV(model, grid, cv=peers.KFold(3), scoring="roc_auc").fit(source_of(X, y))
    arrays = GridSearchCV(model, grid, cv=peers.KFold(3), scoring="roc_auc").fit(X, y)
    np.testing.assert_array_equal(
        ours.cv_results_["mean_test_score"], arrays.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(ours.best_estimator_.coef_, arrays.best_estimator_.coef_)


def test_weights_of_a_source_that_fits_are_those_of_arrays():
    X, y = table()
    weight = np.random.default_rng(2).integers(1, 4, N).astype(float)
    model, grid = SGDClassifier(**FEW), {"alpha": [1e-4, 1.0]}
    ours = GridSearchCV(model, grid, cv=3).fit(source_of(X, y, weight))
    arrays = GridSearchCV(model, grid, cv=3).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(ours.best_estimator_.coef_, arrays.best_estimator_.coef_)


def test_any_estimator_searches_a_source_that_fits():
    X, y = table()
    pipe = make_pipeline(StandardScaler(), SGDClassifier(**FEW))
    grid = {"sgdclassifier__alpha": [1e-4, 1.0]}
    ours = GridSearchCV(pipe, grid, cv=3).fit(source_of(X, y))
    assert ours.best_score_ == GridSearchCV(pipe, grid, cv=3).fit(X, y).best_score_


def test_named_columns_are_read_like_those_of_the_fit(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    X, y = table("names")
    columns = {f"x{j}": X[:, j] for j in range(D)} | {"answer": y}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet", row_group_size=300)
    rows = str(tmp_path / "rows.parquet")
    model = SGDClassifier("log_loss", **FEW)
    for pool_bytes in (SMALL, 1 << 24):
        search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=3, scoring="neg_log_loss")
        search.fit(rows, target="answer", pool_bytes=pool_bytes)
        assert search.best_params_ == {"alpha": 1e-4}
        assert search.predict(rows).tolist() == search.predict(X).tolist()
        assert search.score(rows) == pytest.approx(search.score(X, y), rel=1e-9)
        assert search.best_estimator_.columns_.target == "answer"


def test_an_iterator_is_read_once():
    X, y = table()
    search = GridSearchCV(SGDClassifier(**FEW), {"alpha": [1e-4, 1.0]}, cv=3)
    search.fit(source_of(X, y)(), pool_bytes=SMALL)
    assert search.score(X, y) > 0.7


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_a_path_over_a_stream(sparse):
    X, y = table("classes", sparse=sparse)
    model, alphas = SGDClassifier("log_loss", class_weight="balanced", **FEW), [1e-4, 1e-2, 1.0]
    found = path(source_of(X, y), alphas=alphas, estimator=model, pool_bytes=SMALL)
    for c, alpha in enumerate(alphas):
        one = SGDClassifier(**{**model.get_params(), "alpha": alpha})
        one.fit(source_of(X, y), pool_bytes=SMALL)
        np.testing.assert_allclose(found.coef[c], one.coef_, rtol=1e-9)
    arrays = path(X, y, alphas=alphas, estimator=model)
    np.testing.assert_array_equal(
        path(source_of(X, y), alphas=alphas, estimator=model).coef, arrays.coef
    )


def test_an_opened_source():
    X, y = table()
    for pool_bytes in (SMALL, 1 << 24):
        search = GridSearchCV(SGDClassifier(**FEW), {"alpha": [1e-4, 1.0]}, cv=3)
        search.fit(open_source(source_of(X, y)), pool_bytes=pool_bytes)
        assert search.predict(open_source(source_of(X, y))).tolist() == search.predict(X).tolist()
        assert search.score(open_source(source_of(X, y))) == search.score(X, y)


def test_randomized_search():
    X, y = table("numbers")
    model = SGDRegressor(**FEW)
    drawn = {"alpha": np.logspace(-5, 1, 50).tolist()}
    search = RandomizedSearchCV(model, drawn, n_iter=4, cv=3, random_state=0)
    search.fit(source_of(X, y), pool_bytes=SMALL)
    candidates = search.cv_results_["params"]
    expected = single_fits(model, candidates, X, y, 3, pool_bytes=SMALL)
    found = [search.cv_results_[f"split{f}_test_score"] for f in range(3)]
    np.testing.assert_allclose(np.transpose(found), expected[0], rtol=1e-9)


def test_folds_are_a_function_of_seed_and_number():
    X, y = table()
    first, other = folds_of(X, y, 5), folds_of(X, y, 5, seed=4)
    np.testing.assert_array_equal(first, folds_of(X, y, 5))
    assert (first != other).mean() > 0.5
    counts = np.bincount(first, minlength=5)
    assert len(counts) == 5
    assert (np.abs(counts - N / 5) < 4 * np.sqrt(N / 5)).all()


def test_a_candidate_that_diverges_has_the_error_score():
    X, y = table("numbers")
    model = SGDRegressor(learning_rate="constant", **FEW)
    search = GridSearchCV(model, {"eta0": [1e-3, 1e6]}, cv=3, error_score=-7.0)
    with pytest.warns(match="3 fits failed out of a total of 6"):
        search.fit(source_of(X, y), pool_bytes=SMALL)
    assert search.cv_results_["mean_test_score"][1] == -7.0
    assert search.best_params_ == {"eta0": 1e-3}


def test_a_candidate_that_is_refused_has_the_error_score():
    X, y = table()
    search = GridSearchCV(SGDClassifier(**FEW), {"alpha": [1e-3, -1.0]}, cv=3, error_score=0.0)
    with pytest.warns(match="alpha"):
        search.fit(source_of(X, y), pool_bytes=SMALL)
    assert search.best_params_ == {"alpha": 1e-3}


def test_a_score_that_fails_has_the_error_score():
    X, y = table()
    search = GridSearchCV(
        SGDClassifier(**FEW),
        {"loss": ["hinge", "log_loss"]},
        cv=3,
        scoring="neg_log_loss",
        error_score=-9.0,
    )
    with pytest.warns(UserWarning, match="predict_proba"):
        search.fit(source_of(X, y), pool_bytes=SMALL)
    assert search.cv_results_["mean_test_score"][0] == -9.0
    assert search.best_params_ == {"loss": "log_loss"}


REFUSED = [
    (SGDClassifier(**FEW), {"cv": peers.KFold(3)}, {}, "cv must be an integer"),
    (SGDClassifier(**FEW), {"cv": [([0], [1])]}, {}, "cv must be an integer"),
    (SGDClassifier(**FEW), {"cv": N}, {}, "leaves a fold without rows"),
    (SGDClassifier(**FEW), {"scoring": "roc_auc"}, {}, "takes accuracy, .*f1"),
    (SGDRegressor(**FEW), {"scoring": "neg_max_error"}, {}, "takes .*neg_mean_squared_error.*r2"),
    (SGDClassifier(**FEW), {"scoring": make_scorer(roc_auc_score)}, {}, "takes accuracy"),
    (SGDClassifier(**FEW), {"scoring": lambda model, X, y: 1.0}, {}, "takes accuracy"),
    (SGDClassifier(early_stopping=True), {}, {}, "early_stopping must be False"),
    (SGDClassifier(sampling="replacement"), {}, {}, "sampling='replacement' needs rows in memory"),
    (make_pipeline(StandardScaler(), SGDClassifier()), {}, {}, "estimator must be an SGDClass"),
    (MLPClassifier(), {}, {}, "estimator must be an SGDClassifier"),
    (SGDClassifier(**FEW), {}, {"groups": np.zeros(N)}, "groups must not be given"),
]


@pytest.mark.parametrize(("model", "options", "fit", "message"), REFUSED)
def test_what_needs_rows_in_memory_is_refused(model, options, fit, message):
    X, y = table("numbers" if isinstance(model, SGDRegressor) else "binary")
    search = GridSearchCV(model, {}, **{"cv": 3, **options})
    before = dict(vars(search))
    with pytest.raises(ValueError, match=message):
        search.fit(source_of(X, y), pool_bytes=SMALL, **fit)
    assert vars(search) == before


def test_options_of_a_source_are_not_for_arrays():
    X, y = table()
    with pytest.raises(TypeError, match="target must be given with a source of rows only"):
        GridSearchCV(SGDClassifier(), {}).fit(X, y, target="y")


def test_one_class_in_a_fold_is_refused():
    X, y = table()
    y = np.zeros(N, dtype=int)
    y[7] = 1
    with pytest.raises(ValueError, match="all rows of one of the two classes"):
        GridSearchCV(SGDClassifier(**FEW), {}, cv=3).fit(source_of(X, y), pool_bytes=SMALL)


def test_documents_are_no_paths():
    from sklearn.feature_extraction.text import CountVectorizer

    pipe = make_pipeline(CountVectorizer(), SGDClassifier(**FEW))
    documents = ["good", "bad", "good good", "bad bad", "good", "bad"] * 3
    search = GridSearchCV(pipe, {"sgdclassifier__alpha": [1e-4]}, cv=3)
    assert search.fit(documents, [1, 0] * 9).best_score_ == 1.0


def test_a_search_over_a_stream_can_be_pickled():
    X, y = table()
    search = GridSearchCV(SGDClassifier(**FEW), {"alpha": [1e-4, 1.0]}, cv=3)
    search.fit(source_of(X, y), pool_bytes=SMALL)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
