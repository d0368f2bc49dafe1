"""Models of a Dask cluster: predictions, conversions, parameters."""

import pickle

import numpy as np
import pytest
import test_dask
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from test_dask import OPTIONS, D, array, da, dask, on_dask, rows, same
from test_finish import finished_on

import fastsgd
from fastsgd.distributed import Shard

pytestmark = test_dask.pytestmark
bounded, cluster, client = test_dask.bounded, test_dask.cluster, test_dask.client
workers = test_dask.workers


@pytest.fixture(scope="module")
def models(client):
    """Of two classes, of three, of one target and of two."""
    X = da.random.default_rng(0).normal(size=(600, D), chunks=(200, 3)).astype(np.float32).persist()
    three = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    options = OPTIONS | {"max_iter": 2}
    classifier = on_dask.SGDClassifier(**options)
    regressor = on_dask.SGDRegressor(max_iter=2, tol=None, random_state=0)
    return X, {
        "binary": (clone(classifier).fit(X, three > 0), three > 0),
        "classes": (clone(classifier).fit(X, three), three),
        "regression": (clone(regressor).fit(X, X[:, 0]), X[:, 0]),
        "outputs": (clone(regressor).fit(X, X[:, :2] + 1.0), X[:, :2] + 1.0),
    }


KINDS = ["binary", "classes", "regression", "outputs"]


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_lazy(models, kind):
    X, (model, y) = models[0], models[1][kind]
    names = ["predict"]
    if hasattr(model, "classes_"):
        names += ["decision_function", "predict_proba", "predict_log_proba"]
    local = model.to_local()
    for name in names:
        lazy = getattr(model, name)(X)
        expected = getattr(local, name)(X.compute())
        assert isinstance(lazy, da.Array)
        assert lazy.chunks[0] == X.chunks[0]
        assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
        found = lazy.compute()
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(getattr(model, name)(X.compute()), expected)
    score = (accuracy_score if hasattr(model, "classes_") else r2_score)(
        y.compute(), model.predict(X).compute()
    )
    assert model.score(X, y) == pytest.approx(score, abs=1e-6)
    with pytest.raises(ValueError, match="expects 8 features"):
        model.predict(X[:, :3])


def test_probabilities_are_there_only_if_the_loss_has_them():
    assert hasattr(on_dask.SGDClassifier("log_loss"), "predict_proba")
    assert not hasattr(on_dask.SGDClassifier(), "predict_proba")


@pytest.mark.parametrize("kind", KINDS)
def test_conversions(models, kind, tmp_path, client):
    X, model = models[0].compute(), models[1][kind][0]
    local = model.to_local()
    assert type(local) is type(model).local
    copies = [pickle.loads(pickle.dumps(model)), local]
    path = tmp_path / "model.safetensors"
    pytest.importorskip("safetensors")
    model.save(path)
    copies.append(fastsgd.load(path))
    for copy in copies:
        assert np.array_equal(copy.predict(X), model.predict(X))
        assert copy.history_["loss"] == model.history_["loss"]
    np.testing.assert_allclose(
        model.to_sklearn().predict(X).astype(float), model.predict(X).astype(float), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["SGDClassifier", "SGDRegressor"])
def test_parameters(client, name):
    ours, local = getattr(on_dask, name), getattr(fastsgd, name)
    model = ours(alpha=0.5, shards=2, client=client)
    own = {"client", "shards", "local_epochs", "finish", "finish_max_iter"}
    assert set(model.get_params()) == {*local().get_params(), *own}
    assert model.get_params()["alpha"] == 0.5
    copy = clone(model.set_params(local_epochs=0.5))
    assert copy.client is client
    assert (copy.alpha, copy.shards, copy.local_epochs) == (0.5, 2, 0.5)
    assert pickle.loads(pickle.dumps(model)).client is None
    assert ours().set_params(alpha=2.0).to_local().alpha == 2.0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_finish_has_the_same_bits_on_any_workers(client, workers, k, tmp_path):
    parts, targets = rows()
    options = OPTIONS | {"alpha": 1e-3, "finish": "lbfgs", "finish_max_iter": 8}
    with dask.annotate(workers=workers[:k], allow_other_workers=False):
        model = on_dask.SGDClassifier(**options).fit(array(parts), array(targets))
    shards = [Shard(i, *one, None) for i, one in enumerate(zip(parts, targets, strict=True))]
    one = finished_on(fastsgd.SGDClassifier(**OPTIONS, alpha=1e-3), shards, max_iter=8)
    assert same(model, one)
    assert model.finish_ == one.finish_
    assert len(model.finish_["loss"]) > 3
    X, y = np.concatenate(parts), np.concatenate(targets)
    peer = LogisticRegression(C=1e3 / len(X), tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=2e-4)
    model.save(tmp_path / "model.safetensors")
    assert np.array_equal(fastsgd.load(tmp_path / "model.safetensors").coef_, model.coef_)
    assert not hasattr(model.partial_fit(array(parts), array(targets)), "finish_")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"loss": "hinge"}, "'hinge' has kinks"),
        ({"penalty": "l1"}, "smooth penalty"),
        ({"finish": "newton"}, "finish"),
        ({"finish_max_iter": 0}, "finish_max_iter"),
    ],
)
def test_finish_is_refused(client, options, error):
    X, y = da.ones((40, 2), chunks=20), da.arange(40, chunks=20) % 2
    model = on_dask.SGDClassifier(**{"loss": "log_loss", "finish": "lbfgs", **options})
    with pytest.raises(ValueError, match=error):
        model.fit(X, y)
    assert not hasattr(model, "coef_")
