"""Searches on a cluster: lanes that leave folds out, their scores, what they select."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import test_dask
from sklearn import model_selection as peers
from sklearn.base import clone
from sklearn.metrics import get_scorer
from test_dask import D, array, da, dask, local_fit, on_dask, rows, same

import fastsgd
from fastsgd.distributed import Shard
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows
from fastsgd.estimators.streams import fold_of
from fastsgd.model_selection.block_scores import block_scores, scores_by_blocks

pytestmark = test_dask.pytestmark
bounded, cluster = test_dask.bounded, test_dask.cluster
client, workers = test_dask.client, test_dask.workers

FEW = {"max_iter": 3, "tol": None, "random_state": 3}
ALPHAS = [1e-4, 1e-1, 3.0]
SEED = 3


def scores(search):
    names = [name for name in search.cv_results_ if name.startswith("split")]
    return np.array([search.cv_results_[name] for name in names])


def parts_of(kind="binary"):
    parts, targets = rows()
    if kind == "numbers":
        w = np.random.default_rng(1).normal(size=D)
        targets = [part @ w + 0.1 * part[:, 0] ** 2 for part in parts]
    if kind == "classes":
        targets = [np.digitize(part[:, 0] + part[:, 1], (-1.0, 1.0)) for part in parts]
    return parts, targets


def on_shards(parts, targets, moments=False, local_epochs=1.0):
    """What a search trains on, by the engine of executors: no cluster."""
    shards = [Shard(i, *each, None) for i, each in enumerate(zip(parts, targets, strict=True))]
    stream = ShardStream(ExecutorEngine(None, shards), local_epochs, moments=moments)
    sample = stream.sample()
    return Rows(sample.X, sample.y, None, stream)


def folds_of(parts, count):
    """The fold of each row, by parts."""
    sizes = [part.shape[0] for part in parts]
    fold = fold_of(np.arange(sum(sizes)), SEED, count)
    return np.split(fold, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_bits_do_not_depend_on_workers(client, workers, k):
    parts, targets = parts_of()
    model = on_dask.SGDClassifier("log_loss", **FEW, local_epochs=0.5)
    search = on_dask.GridSearchCV(model, {"alpha": ALPHAS}, cv=3, scoring="neg_log_loss")
    alone = clone(search).fit(on_shards(parts, targets, local_epochs=0.5))
    with dask.annotate(workers=workers[:k], allow_other_workers=False):
        search.fit(array(parts), array(targets))
    assert scores(search).tobytes() == scores(alone).tobytes()
    assert same(search.best_estimator_, alone.best_estimator_)
    assert search.best_params_ == {"alpha": 1e-4}
    options = {"loss": "log_loss", **FEW, "alpha": 1e-4}
    assert same(alone.best_estimator_, local_fit(parts, targets, local_epochs=0.5, **options))
    X, y = np.concatenate(parts), np.concatenate(targets)
    assert search.score(array(parts), array(targets)) == pytest.approx(search.score(X, y))
    np.testing.assert_array_equal(search.predict(array(parts)).compute(), search.predict(X))


@pytest.mark.parametrize("kind", ["binary", "classes", "numbers"])
@pytest.mark.parametrize("more", [{}, {"standardize": True}, {"class_weight": "balanced"}], ids=str)
def test_lanes_are_fits_without_the_rows_of_a_fold(kind, more):
    """And their scores those of the rows that are left out."""
    if kind == "numbers" and "class_weight" in more:
        return
    name = "SGDRegressor" if kind == "numbers" else "SGDClassifier"
    options = {**FEW, **more, "learning_rate": "constant", "eta0": 0.01}
    parts, targets = parts_of(kind)
    scoring = "neg_mean_squared_error" if kind == "numbers" else "accuracy"
    search = on_dask.GridSearchCV(
        getattr(on_dask, name)(**options), {"alpha": ALPHAS[:2]}, cv=3, scoring=scoring
    )
    search.fit(on_shards(parts, targets, "standardize" in more))
    folds, X, y = folds_of(parts, 3), np.concatenate(parts), np.concatenate(targets)
    all_folds = np.concatenate(folds)
    for f in range(3):
        weights = [(fold != f).astype(np.float32) for fold in folds]
        for c, alpha in enumerate(ALPHAS[:2]):
            local = getattr(fastsgd, name)
            one = local_fit(parts, targets, weights, local=local, **options, alpha=alpha)
            held = all_folds == f
            expected = get_scorer(scoring)(one, X[held], y[held])
            assert scores(search)[f, c] == pytest.approx(expected, rel=1e-3, abs=2e-3)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("kind", ["binary", "classes", "numbers"])
def test_it_selects_what_the_local_search_selects(kind, sparse):
    name = "SGDRegressor" if kind == "numbers" else "SGDClassifier"
    loss = {} if kind == "numbers" else {"loss": "log_loss"}
    scoring = "r2" if kind == "numbers" else "neg_log_loss"
    parts, targets = parts_of(kind)
    if sparse:
        parts = [test_dask.sparse(part) for part in parts]
    options = {"scoring": scoring, "cv": 3}
    model = getattr(on_dask, name)(**{**FEW, "max_iter": 8}, **loss)
    search = on_dask.GridSearchCV(model, {"alpha": ALPHAS}, **options)
    search.fit(on_shards(parts, targets))
    local = fastsgd.GridSearchCV(
        getattr(fastsgd, name)(**{**FEW, "max_iter": 8}, **loss), {"alpha": ALPHAS}, **options
    )

    def blocks():
        yield from zip(parts, targets, strict=True)

    local.fit(blocks, pool_bytes=100_000)
    assert search.best_params_ == local.best_params_
    np.testing.assert_allclose(scores(search), scores(local), atol=0.08)
    assert search.cv_results_["rank_test_score"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("classifier", [True, False])
def test_every_score_by_blocks_merges(classifier):
    """Those of parts are that of all rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] > 0).astype(int) if classifier else np.exp(0.3 * X[:, 0])
    model = fastsgd.SGDClassifier("log_loss") if classifier else fastsgd.SGDRegressor("poisson")
    model.fit(X, y)
    names = scores_by_blocks(classifier=classifier)
    assert len(names) > 5
    for name in names:
        make = block_scores(get_scorer(name), classifier=classifier)["score"]
        total = make()
        for some in np.split(np.arange(300), [0, 10, 90]):
            part = make()
            if len(some):
                part.add(model, X[some], y[some])
            total.merge(part)
        expected = get_scorer(name)(model, X, y)
        assert total.value() == pytest.approx(expected, rel=1e-9), name


def test_several_scores_and_a_frame(client):
    import dask.dataframe as dd

    table = test_dask.frame()
    search = on_dask.RandomizedSearchCV(
        on_dask.SGDClassifier("log_loss", **FEW, finish="lbfgs"),
        {"alpha": ALPHAS, "class_weight": [None, "balanced"]},
        n_iter=4,
        scoring=["accuracy", "neg_log_loss"],
        refit="neg_log_loss",
        cv=4,
        random_state=0,
        return_train_score=True,
    )
    X = dd.from_pandas(table, npartitions=3)
    search.fit(X, target="bought")
    assert search.n_splits_ == 4
    assert len(search.cv_results_["mean_train_accuracy"]) == 4
    assert search.best_estimator_.finish_["loss"]
    assert search.score(X) == pytest.approx(
        search.score(table[[f"f{i}" for i in range(D)]], table["bought"])
    )
    again = pickle.loads(pickle.dumps(search))
    assert again.best_params_ == search.best_params_


def test_a_candidate_that_diverges_has_the_error_score():
    parts, targets = parts_of("numbers")
    model = on_dask.SGDRegressor(learning_rate="constant", **FEW)
    search = on_dask.GridSearchCV(model, {"eta0": [1e-3, 1e6]}, cv=3, error_score=-7.0)
    with pytest.warns(match="3 fits failed out of a total of 6"):
        search.fit(on_shards(parts, targets))
    assert search.cv_results_["mean_test_score"][1] == -7.0
    assert search.best_params_ == {"eta0": 1e-3}


REFUSED = {
    "cv must be an integer of at least 2 for rows that are on": {"cv": peers.KFold(3)},
    "leaves a fold without rows": {"cv": 4},
    "takes accuracy": {"scoring": "roc_auc"},
    "estimator must be a fastsgd.dask": {"estimator": fastsgd.SGDClassifier()},
    "local_epochs must not be searched": {"param_grid": {"local_epochs": [0.5, 1.0]}},
    "early_stopping must be False": {
        "estimator": on_dask.SGDClassifier(**FEW, early_stopping=True)
    },
    "shards=3 is more": {"estimator": on_dask.SGDClassifier(shards=3)},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(client, message):
    options = {"estimator": on_dask.SGDClassifier(**FEW), "param_grid": {"alpha": [1.0]}}
    search = on_dask.GridSearchCV(**{**options, "cv": 2, **REFUSED[message]})
    before = dict(vars(search))
    with pytest.raises(ValueError, match=message):
        search.fit(da.ones((4, 2), chunks=2), da.from_array([0, 1, 0, 1], chunks=2))
    assert vars(search) == before


def test_a_path(client):
    parts, targets = parts_of("classes")
    model = on_dask.SGDClassifier("log_loss", penalty="l1", **FEW)
    found = on_dask.path(array(parts), array(targets), alphas=ALPHAS, estimator=model)
    for c, alpha in enumerate(ALPHAS):
        options = {"loss": "log_loss", "penalty": "l1", **FEW, "alpha": alpha}
        one = local_fit(parts, targets, **options)
        np.testing.assert_allclose(found.coef[c], one.coef_, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"estimator must be a fastsgd\.dask"):
        on_dask.path(array(parts), array(targets), estimator=fastsgd.SGDClassifier())
