"""Fits in rounds that are saved between the rounds of an epoch: resumed, they end as ever."""

import os
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from test_checkpoints import KILLS, end, killed
from test_continuing import halved

from fastsgd import Checkpoint, SGDClassifier, SGDRegressor, load
from fastsgd.distributed import shards
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.run import round_at, row_of
from fastsgd.distributed.shards import Shard
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows
from fastsgd.model_files.checkpoint import files_of

pytestmark = pytest.mark.filterwarnings("ignore")

N, SAMPLE, LOCAL_EPOCHS = 1003, 100, 0.2
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 16))
Y3 = np.digitize(X[:, 0] + rng.normal(size=N), (-0.6, 0.6))
REAL = np.round(X @ rng.normal(size=16) + 0.3 * rng.normal(size=N), 1)
CSR = sp.random_array((N, 90), density=0.1, format="csr", random_state=1)
CONSTANT = {"learning_rate": "constant", "eta0": 0.002, "max_iter": 3}
FITS = {
    "plain": (SGDRegressor(max_iter=3, tol=None), X, REAL),
    "momentum, batches": (SGDRegressor(momentum=0.9, batch_size=7, **CONSTANT), X, REAL),
    "averages": (SGDClassifier(average=100, batch_size=3, max_iter=3), X, Y3 > 0),
    "csr, l1": (SGDClassifier(penalty="l1", max_iter=3), CSR, Y3),
    "csr, momentum": (SGDRegressor(momentum=0.5, penalty="elasticnet", **CONSTANT), CSR, REAL),
    "classes": (SGDClassifier(max_iter=40, tol=3e-2, n_iter_no_change=1), X, Y3),
    "softmax": (
        SGDClassifier("log_loss", multi_class="multinomial", standardize=True, max_iter=3),
        X,
        Y3,
    ),
    "adagrad": (SGDClassifier(optimizer="adagrad", max_iter=3), CSR, Y3),
    "adaptive": (
        SGDRegressor(learning_rate="adaptive", eta0=0.02, n_iter_no_change=1, max_iter=4),
        X,
        REAL,
    ),
    "backoff": (
        SGDRegressor(on_divergence="backoff", **{**CONSTANT, "eta0": 3.0}, tol=None),
        X,
        REAL,
    ),
    "swings": (
        SGDRegressor(momentum=0.95, tol=1e-2, n_iter_no_change=2, **{**CONSTANT, "max_iter": 4}),
        X,
        REAL,
    ),
    "callable": (SGDRegressor(learning_rate=halved, max_iter=2, tol=None), X, REAL),
    "sequential": (SGDRegressor(shuffle=False, max_iter=2), X, REAL),
    "once": (SGDRegressor(sampling="once", max_iter=2, clip_norm=1.0), X, REAL),
}


@pytest.fixture(autouse=True)
def _sample_of_a_part(monkeypatch):
    """The sample by which a fit finds its rates has a part of the rows."""
    monkeypatch.setattr(shards, "SAMPLE_ROWS", SAMPLE)


def shards_of(X, y):
    """Of different numbers of rows."""
    parts = np.split(np.arange(N), [100, 400, 800])
    return [Shard(i, X[rows], y[rows], None) for i, rows in enumerate(parts)]


def fit_of(name, local_epochs=LOCAL_EPOCHS, **more):
    """A fit in several rounds an epoch."""
    model, X, y = FITS[name]
    stream = ShardStream(
        ExecutorEngine(None, shards_of(X, y)), local_epochs, moments=model.standardize
    )
    sample = stream.sample()
    model = clone(model).set_params(random_state=3)
    return model.fit(Rows(sample.X, sample.y, None, stream), **more)


def on_dask(folder=None):
    """A fit on a cluster of this process."""
    distributed, da = pytest.importorskip("distributed"), pytest.importorskip("dask.array")
    from fastsgd.dask import SGDRegressor as OnDask

    more = {}
    if folder is not None:
        saving = Checkpoint(folder / "checkpoints", every=0, keep=2)
        more = {"resume": saving.path, "checkpoint": saving}
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None
    ):
        parts = da.from_array(X, chunks=(300, 16)), da.from_array(REAL, chunks=300)
        model = OnDask(max_iter=3, tol=None, random_state=3, local_epochs=LOCAL_EPOCHS)
        return model.fit(*parts, **more).to_local()


def fitted(name, folder):
    """A fit that goes on from the checkpoints in a folder, in another process."""
    shards.SAMPLE_ROWS = SAMPLE
    if name == "dask":
        return on_dask(folder)
    saving = Checkpoint(folder / "checkpoints", every=0, keep=2)
    return fit_of(name, resume=saving.path, checkpoint=saving)


@pytest.mark.parametrize("name", FITS)
def test_a_fit_goes_on_from_each_of_its_checkpoints(name, tmp_path):
    plain = fit_of(name)
    whole = fit_of(name, checkpoint=Checkpoint(tmp_path, every=0, keep=10**6))
    assert end(whole) == end(plain)
    files = files_of(tmp_path)
    epochs = Counter(epoch for (epoch, row), _ in files if row > 0)
    assert set(epochs) >= {0, 1}
    assert set(epochs.values()) == {4}
    some = sorted({0, *range(2, len(files), 1 + len(files) // 4), len(files) - 2, len(files) - 1})
    for _, file in (files[i] for i in some):
        assert end(fit_of(name, resume=file)) == end(plain), file


def test_when_a_checkpoint_is_due(tmp_path):
    fit_of("once", checkpoint=Checkpoint(tmp_path / "all", every=0, keep=99))
    (_, step), _ = files_of(tmp_path / "all")[0]  # rows of a round
    for rounds, count in ((1, 10), (2, 5), (3, 3), (5, 2), (6, 1)):
        folder = tmp_path / str(rounds)
        fit_of("once", checkpoint=Checkpoint(folder, None, rows=rounds * step, keep=99))
        done = [5 * epoch + row // step for (epoch, row), _ in files_of(folder)]
        assert done == [rounds * (1 + i) for i in range(count)]


def test_a_checkpoint_of_other_rounds_is_refused(tmp_path):
    fit_of("plain", checkpoint=Checkpoint(tmp_path, every=0, keep=99))
    files = files_of(tmp_path)
    for file in (files[0][1], files[-1][1]):
        with pytest.raises(ValueError, match="rows in the pools"):
            fit_of("plain", 0.5, resume=file)


def test_a_checkpoint_within_an_epoch_is_a_model(tmp_path):
    fit_of("classes", checkpoint=Checkpoint(tmp_path, every=0, keep=99))
    for (epoch, row), file in (files_of(tmp_path)[i] for i in (0, -2)):
        assert row > 0
        model = load(file)
        assert model.n_iter_ == len(model.history_["epoch"]) == epoch
        assert np.array_equal(model.coef_, model._continuation.weights()[0])
        assert model.score(X, Y3) > 0.4


@pytest.mark.parametrize(("rows", "rounds"), [(1, 1), (7, 7), (400, 5), (401, 400), (1000, 3)])
def test_rows_are_rounds(rows, rounds):
    at = [row_of(number, rows, rounds) for number in range(rounds)]
    assert [round_at(row, rows, rounds) for row in at] == list(range(rounds))
    for row in {*range(rows + 2)} - {*at}:
        with pytest.raises(ValueError, match=f"begins at row {row}"):
            round_at(row, rows, rounds)


def test_more_rounds_than_rows():
    """A round has a row at least, of the largest shard."""
    few = [Shard(i, X[3 * i : 3 * i + 3], REAL[3 * i : 3 * i + 3], None) for i in range(2)]
    models = []
    for local_epochs in (1.0 / 3.0, 1e-6):
        stream = ShardStream(ExecutorEngine(None, few), local_epochs)
        sample = stream.sample()
        rows = Rows(sample.X, sample.y, None, stream)
        models.append(SGDRegressor(max_iter=2, tol=None, random_state=0).fit(rows))
    assert np.array_equal(models[0].coef_, models[1].coef_)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("names", [("csr, l1", "classes"), ("dask",)])
def test_fits_that_are_killed_again_and_again(names, tmp_path):
    """In the first epoch and in later ones, between rounds and within, and while they save."""
    if "dask" in names:
        pytest.importorskip("distributed")
    found = killed("test_round_checkpoints", names, tmp_path)
    for name, (rounds, folders) in found.items():
        whole = end(on_dask() if name == "dask" else fit_of(name))
        for folder in folders:
            assert end(load(folder / "model")) == whole
        places = Counter(where for one in rounds for code, _, where in one if code != 0)
        print(f"{name}: {KILLS} kills in {len(rounds)} fits: {dict(sorted(places.items()))}")
