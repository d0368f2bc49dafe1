"""Training on a Dask cluster: bits, partitions, faults, predictions."""

import os
import signal
import subprocess
import sys

import clusters
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import accuracy_score

import fastsgd
from fastsgd.distributed import Shard
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pd = pytest.importorskip("pandas")
on_dask = pytest.importorskip("fastsgd.dask")
engines = pytest.importorskip("fastsgd.dask.engine")
partitions_of = pytest.importorskip("fastsgd.dask.partitions").partitions_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

SECONDS = 40
ROWS, D, PARTS = 600, 8, 6
OPTIONS = {"loss": "log_loss", "max_iter": 3, "tol": None, "random_state": 3}


@pytest.fixture(autouse=True)
def bounded():
    """No test takes longer: a hang is a failure."""

    def end(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def cluster():
    with clusters.local_cluster() as found:
        yield found


@pytest.fixture(scope="module")
def client(cluster):
    with distributed.Client(cluster) as found:
        yield found


@pytest.fixture
def workers(client):
    """Addresses of three workers, all of which are there."""
    client.wait_for_workers(3, timeout=30)
    return list(client.scheduler_info(n_workers=-1)["workers"])


def rows(seed=0):
    parts = [clusters.blocks(seed, i, ROWS + 50 * i, D) for i in range(PARTS)]
    return [X for X, _ in parts], [y for _, y in parts]


def array(parts):
    """An array of Dask with a chunk for each part."""
    arrays = [da.from_array(part, chunks=-1, asarray=False) for part in parts]
    return da.concatenate(arrays)


def sparse_array(parts):
    meta = sp.csr_array((0, parts[0].shape[1]), dtype=parts[0].dtype)
    blocks = [
        da.from_delayed(dask.delayed(part, traverse=False), part.shape, meta=meta) for part in parts
    ]
    return da.concatenate(blocks)


def local_fit(parts, targets, weights=None, local_epochs=1.0, local=fastsgd.SGDClassifier, **more):
    """The same fit by the engine of executors."""
    weights = weights or [None] * len(parts)
    shards = [Shard(i, *each) for i, each in enumerate(zip(parts, targets, weights, strict=True))]
    moments = bool(more.get("standardize"))
    stream = ShardStream(ExecutorEngine(None, shards), local_epochs, moments=moments)
    sample = stream.sample()
    model = local(**{"n_jobs": 1, **more})
    return model.fit(Rows(sample.X, sample.y, sample.sample_weight, stream))


def same(a, b):
    return np.array_equal(a.coef_, b.coef_) and np.array_equal(a.intercept_, b.intercept_)


def sparse(part):
    return sp.csr_array(np.where(np.abs(part) > 0.7, part, 0.0).astype(part.dtype))


@pytest.mark.parametrize(("gathered", "added"), [(0, 0), (0, 1 << 20), (1 << 20, 1 << 20)])
@pytest.mark.parametrize("kind", [lambda part: part, sparse], ids=["dense", "sparse"])
def test_bits_do_not_depend_on_the_tasks_of_a_round(
    client, workers, monkeypatch, gathered, added, kind
):
    monkeypatch.setattr(engines, "GATHERED", gathered)
    monkeypatch.setattr(engines, "ADDED", added)
    parts, targets = rows()
    blocks = [dask.delayed((kind(X), y)) for X, y in zip(parts, targets, strict=True)]
    model = on_dask.SGDClassifier(**OPTIONS).fit(blocks)
    assert same(model, local_fit([kind(part) for part in parts], targets, **OPTIONS))


def test_shards_of_a_worker_are_shared_by_its_threads(client, workers):
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as threads,
    ):
        blocks = [threads.submit(clusters.blocks, 0, i, ROWS + 50 * i, D) for i in range(PARTS)]
        engine = engines.DaskEngine(threads, partitions_of(blocks, None, None, {}), None)
        assert engine._beside_threads() == [[0, 1, 2, 3], [4, 5]]  # by rows
        model = on_dask.SGDClassifier(**OPTIONS, client=threads).fit(blocks)
    assert same(model, local_fit(*rows(), **OPTIONS))


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("local_epochs", [1.0, 0.25])
def test_bits_do_not_depend_on_workers(client, workers, k, local_epochs):
    parts, targets = rows()
    with dask.annotate(workers=workers[:k], allow_other_workers=False):
        model = on_dask.SGDClassifier(**OPTIONS, local_epochs=local_epochs)
        model.fit(array(parts), array(targets))
    expected = local_fit(parts, targets, local_epochs=local_epochs, **OPTIONS)
    assert same(model, expected)
    assert model.history_["loss"] == expected.history_["loss"]
    assert model.classes_.tolist() == ["no", "yes"]


def test_bits_of_threads():
    parts, targets = rows()
    with distributed.Client(processes=False, n_workers=2, dashboard_address=":0") as client:
        model = on_dask.SGDClassifier(**OPTIONS, client=client).fit(array(parts), array(targets))
    assert same(model, local_fit(parts, targets, **OPTIONS))


FORMS = {
    "sparse": {},
    "average": {"average": True},
    "standardize": {"standardize": True},
    "balanced": {"class_weight": "balanced"},
    "batches": {"batch_size": 16, "momentum": 0.9},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_fit(client, form):
    parts, targets = rows()
    if form == "sparse":
        parts = [sparse(part) for part in parts]
    options = OPTIONS | FORMS[form]
    X = sparse_array(parts) if form == "sparse" else array(parts)
    model = on_dask.SGDClassifier(**options).fit(X, array(targets))
    assert same(model, local_fit(parts, targets, **options))
    if form == "sparse":
        assert np.array_equal(model.predict(X).compute(), model.predict(sp.vstack(parts)))


def test_many_shards_are_summed_as_pairs(client):
    """Trees of more than one level have the bits of the engine of executors."""
    X, y = clusters.blocks(5, 0, 990, D)
    parts = np.array_split(X, 33), np.array_split(y, 33)
    model = on_dask.SGDClassifier(**OPTIONS).fit(array(parts[0]), array(parts[1]))
    assert same(model, local_fit(*parts, **OPTIONS))


def test_weights_that_are_broadcast(client, monkeypatch):
    monkeypatch.setattr(engines, "INLINED", 0)
    parts, targets = rows()
    model = on_dask.SGDClassifier(**OPTIONS).fit(array(parts), array(targets))
    assert same(model, local_fit(parts, targets, **OPTIONS))


@pytest.mark.parametrize("local", [fastsgd.SGDClassifier, fastsgd.SGDRegressor])
def test_one_shard_is_the_local_fit(client, local):
    X, y = clusters.blocks(1, 0, 3000, D)
    regression = local is fastsgd.SGDRegressor
    y = X @ np.arange(D) if regression else y
    options = {"max_iter": 4, "tol": None, "random_state": 0, "eta0": 0.01}
    options["learning_rate"] = "constant"
    model = getattr(on_dask, local.__name__)(**options, shards=1)
    model.fit(da.from_array(X, chunks=1000), da.from_array(y, chunks=700))
    expected = local(**options).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.history_["loss"], expected.history_["loss"], rtol=1e-4)


def test_shards_are_groups_of_partitions(client):
    parts, targets = rows()
    model = on_dask.SGDClassifier(**OPTIONS, shards=3).fit(array(parts), array(targets))
    grouped = engines.groups_of([len(part) for part in parts], 3)
    expected = local_fit(
        [np.concatenate([parts[i] for i in group]) for group in grouped],
        [np.concatenate([targets[i] for i in group]) for group in grouped],
        **OPTIONS,
    )
    assert same(model, expected)
    with pytest.raises(ValueError, match="shards=7 is more than the 6 partitions"):
        on_dask.SGDClassifier(shards=7).fit(array(parts), array(targets))


@pytest.mark.parametrize("rows_of", [[5, 5, 5, 5], [0, 0, 9, 0], [1, 100, 1, 1, 50], [0] * 3 + [7]])
@pytest.mark.parametrize("shards", [None, 1, 2, 3, 4])
def test_groups(rows_of, shards):
    groups = engines.groups_of(rows_of, shards)
    assert [i for group in groups for i in group] == list(range(len(rows_of)))
    assert all(len(group) for group in groups)
    assert len(groups) == (shards or max(1, sum(map(bool, rows_of))))


def test_unknown_chunks_empty_partitions_and_missing_classes(client):
    parts, targets = rows()
    order = np.argsort(np.concatenate(targets), kind="stable")
    X, y = np.concatenate(parts)[order], np.concatenate(targets)[order]
    X, y = da.from_array(X, chunks=(500, 3)), da.from_array(y, chunks=500)
    kept = (da.arange(len(X), chunks=500) // 500) % 2 == 0  # every second partition is empty
    model = on_dask.SGDClassifier(**OPTIONS).fit(X[kept], y[kept])
    full = [np.asarray(X[i : i + 500]) for i in range(0, len(X), 1000)]
    assert model.classes_.tolist() == ["no", "yes"]
    assert np.isnan(X[kept].chunks[0]).all()
    everything = model.predict(X[kept])
    assert np.array_equal(everything.compute(), model.predict(np.concatenate(full)))


def test_sample_weights(client):
    parts, targets = rows()
    weights = [np.random.default_rng(i).uniform(0, 2, len(y)) for i, y in enumerate(targets)]
    model = on_dask.SGDClassifier(**OPTIONS)
    model.fit(array(parts), array(targets), sample_weight=array(weights))
    cast = [weight.astype(np.float32) for weight in weights]
    assert same(model, local_fit(parts, targets, cast, **OPTIONS))
    X, y, weight = map(np.concatenate, (parts, targets, weights))
    score = model.score(array(parts), array(targets), array(weights))
    assert score == pytest.approx(accuracy_score(y, model.predict(X), sample_weight=weight))


def test_delayed_blocks(client):
    parts = [dask.delayed(clusters.blocks)(0, i, ROWS + 50 * i, D) for i in range(PARTS)]
    model = on_dask.SGDClassifier(**OPTIONS).fit(parts)
    assert same(model, local_fit(*rows(), **OPTIONS))
    with pytest.raises(ValueError, match="delayed blocks have them"):
        on_dask.SGDClassifier().fit(parts, np.ones(3))


def frame():
    parts, targets = rows()
    table = pd.DataFrame(np.concatenate(parts), columns=[f"f{i}" for i in range(D)])
    table["bought"] = np.concatenate(targets)
    return table


def test_data_frames(client):
    table = frame()
    X = dd.from_pandas(table, npartitions=4)
    features = [f"f{i}" for i in range(D)]
    named = on_dask.SGDClassifier(**OPTIONS).fit(X, target="bought")
    arrays = on_dask.SGDClassifier(**OPTIONS).fit(X[features], X["bought"])
    assert same(named, arrays)
    assert arrays.feature_names_in_.tolist() == features
    assert named.columns_.target == "bought"
    expected = arrays.predict(table[features])
    for model, rows_of in ((named, X), (arrays, X[features])):
        lazy = model.predict(rows_of)
        assert isinstance(lazy, da.Array)
        assert np.array_equal(lazy.compute(), expected)
    assert named.score(X) == accuracy_score(table["bought"], expected)
    assert arrays.score(X[features], X["bought"]) == named.score(X)


def test_categorical_columns(client):
    table = frame()
    table["town"] = np.random.default_rng(0).choice(["Ulm", "Bonn", "Kiel"], len(table))
    table["town"] = table["town"].astype("category")
    X = dd.from_pandas(table, npartitions=3)
    options = {"target": "bought", "hash_bits": 8}
    model = on_dask.SGDClassifier(**OPTIONS).fit(X, **options)
    assert model.n_features_in_ == D + 256
    one = on_dask.SGDClassifier(**OPTIONS, shards=1).fit(X, **options)
    local = fastsgd.SGDClassifier(**OPTIONS).fit(table, **options)
    np.testing.assert_allclose(one.coef_, local.coef_, atol=2e-3)
    assert np.array_equal(model.predict(X).compute(), model.to_local().predict(table))
    with pytest.raises(ValueError, match="fillna"):
        on_dask.SGDClassifier().fit(X, target="bought", missing="mean")


@pytest.mark.parametrize("kind", ["parquet", "csv", "npy", "svmlight"])
def test_files(client, tmp_path, kind):
    pytest.importorskip("pyarrow")
    from sklearn.datasets import dump_svmlight_file

    parts, targets = rows()
    options = {"target": "bought"} if kind in ("parquet", "csv") else {}
    y = None
    for i, (part, target) in enumerate(zip(parts, targets, strict=True)):
        table = pd.DataFrame(part, columns=[f"f{j}" for j in range(D)]).assign(bought=target)
        if kind == "parquet":
            table.to_parquet(tmp_path / f"{i}.parquet")
        elif kind == "csv":
            table.to_csv(tmp_path / f"{i}.csv", index=False)
        elif kind == "npy":
            np.save(tmp_path / f"{i}.npy", part)
            (tmp_path / "y").mkdir(exist_ok=True)
            np.save(tmp_path / "y" / f"{i}.npy", target == "yes")
            y = str(tmp_path / "y" / "*.npy")
        else:
            dump_svmlight_file(part[:, : D - (i % 2)], target == "yes", str(tmp_path / f"{i}.svm"))
    ending = "svm" if kind == "svmlight" else kind
    model = on_dask.SGDClassifier(**OPTIONS, shards=3)
    model.fit(str(tmp_path / f"*.{ending}"), y, **options)
    assert model.n_features_in_ == D
    assert model.to_local().score(np.concatenate(parts), truths(model, targets)) > 0.8


def truths(model, targets):
    y = np.concatenate(targets)
    return y if model.classes_.dtype.kind == "U" or "yes" in model.classes_ else y == "yes"


WRONG = {
    "dtype": "partition 2 of X has dtype='float64', and partition 0 of X has dtype='float32'",
    "width": "partition 2 of X has columns=9, and partition 0 of X has columns=8",
    "nan": "partition 2 of X, row 4: X is NaN, column 1",
    "y": "partition 2 of X, row 7: y is missing",
    "sparse": "partition 2 of X has sparse=True",
    "text": "partition 2 of X has target='numbers', and partition 0 of X has target='text'",
    "rows": "partition 2 of X: X has 700 rows, but y 699",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_partitions_that_differ(client, wrong):
    parts, targets = rows()
    X, y = parts[2].copy(), targets[2].astype(object)
    if wrong == "dtype":
        X = X.astype(np.float64)
    elif wrong == "width":
        X = np.hstack([X, X[:, :1]])
    elif wrong == "nan":
        X[4, 1] = np.nan
    elif wrong == "y":
        y[7] = None
    elif wrong == "sparse":
        X = sp.csr_array(X)
    elif wrong == "text":
        y = np.arange(len(y))
    else:
        y = y[1:]
    parts[2], targets[2] = X, y
    pairs = [dask.delayed((X, y), traverse=False) for X, y in zip(parts, targets, strict=True)]
    model = on_dask.SGDClassifier(**OPTIONS)
    with pytest.raises(ValueError) as caught:
        model.fit(pairs)
    assert WRONG[wrong] in str(caught.value)
    assert not hasattr(model, "coef_")


def test_a_partition_that_raises(client):
    parts = [dask.delayed(clusters.blocks)(0, i, ROWS, D) for i in range(PARTS)]
    parts[4] = dask.delayed(clusters.broken)(4)
    with pytest.raises(OSError, match="the disk of partition 4 is gone") as caught:
        on_dask.SGDClassifier(**OPTIONS).fit(parts)
    assert caught.value.__notes__ == ["It was raised by partition 4 of X."]


X_SMALL = np.ones((4, 2))
BAD = {
    "numpy": (TypeError, "dask.array.from_array", X_SMALL, [0, 1, 0, 1], {}),
    "y": (ValueError, "y must be given", da.ones((4, 2), chunks=2), None, {}),
    "rows": (ValueError, "y must have 4 rows", da.ones((4, 2), chunks=2), np.ones(3), {}),
    "rows of y": (ValueError, "y must have 4", da.ones((4, 2), chunks=2), da.ones(3), {}),
    "ndim": (ValueError, "two dimensions", da.ones(4, chunks=2), da.ones(4), {}),
    "target": (TypeError, "target must be", da.ones((4, 2)), da.ones(4), {"target": "y"}),
    "cache": (
        TypeError,
        "cache must be given with paths",
        da.ones((4, 2)),
        da.ones(4),
        {"cache": None},
    ),
    "none": (ValueError, "no rows", da.ones((0, 2), chunks=2), da.ones(0, chunks=2), {}),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input(client, bad):
    error, message, X, y, options = BAD[bad]
    with pytest.raises(error, match=message):
        on_dask.SGDClassifier().fit(X, y, **options)


@pytest.mark.parametrize("parameters", [{"shards": 0}, {"local_epochs": 0.0}, {"local_epochs": 2}])
def test_bad_parameters(client, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        on_dask.SGDClassifier(**parameters).fit(da.ones((4, 2)), da.arange(4))
    with pytest.raises(TypeError, match="nothing"):
        on_dask.SGDClassifier(nothing=1)


def test_early_stopping_needs_a_validation_set(client):
    parts, targets = rows()
    model = on_dask.SGDClassifier(**OPTIONS, early_stopping=True)
    with pytest.raises(ValueError, match="X_val"):
        model.fit(array(parts), array(targets))
    X, y = clusters.blocks(0, 99, 300, D)
    lazily = da.from_array(X, chunks=100), da.from_array(y, chunks=100)
    model = on_dask.SGDClassifier(**OPTIONS)
    model.fit(array(parts), array(targets), X_val=lazily[0], y_val=lazily[1])
    assert len(model.history_["validation_score"]) == 3
    assert max(model.history_["validation_score"]) == model.score(X, y)


def test_divergence(client):
    X, y = da.ones((100, 3), chunks=50), da.arange(100, chunks=50)
    model = on_dask.SGDRegressor(learning_rate="constant", eta0=1e3, random_state=0)
    with pytest.raises(fastsgd.DivergenceError):
        model.fit(X, y)
    assert not hasattr(model, "coef_")


def test_checkpoints(client, tmp_path):
    parts, targets = rows()
    X, y = array(parts), array(targets)
    options = OPTIONS | {"learning_rate": "constant", "eta0": 0.01}
    whole = on_dask.SGDClassifier(**options | {"max_iter": 5}).fit(X, y)
    on_dask.SGDClassifier(**options).fit(X, y, checkpoint=fastsgd.Checkpoint(tmp_path))
    model = on_dask.SGDClassifier(**options | {"max_iter": 5}).fit(X, y, resume=tmp_path)
    assert same(model, whole)
    model = on_dask.SGDClassifier(**options).fit(X, y)
    model.set_params(max_iter=2).fit(X, y, resume=True)
    assert same(model, whole)


def test_partial_fit(client):
    parts, targets = rows()
    X, y = array(parts), array(targets)
    options = OPTIONS | {"learning_rate": "constant", "eta0": 0.01}
    model = on_dask.SGDClassifier(**options)
    for _ in range(3):
        model.partial_fit(X, y, classes=["no", "yes"])
    assert same(model, on_dask.SGDClassifier(**options).fit(X, y))


def test_there_must_be_a_client(client, monkeypatch):
    monkeypatch.setattr(distributed, "default_client", lambda: 1 / 0)
    assert on_dask.SGDClassifier(client=client)._client() is client
    command = (
        "import dask.array as da\n"
        "from fastsgd.dask import SGDClassifier\n"
        "SGDClassifier().fit(da.ones((4, 2)), da.arange(4))"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert "ValueError: there is no client of Dask" in done.stderr


@pytest.mark.exhaustive
def test_workers_of_the_command_line(tmp_path):
    """A scheduler and two workers as processes of their own, over the loopback."""
    file = str(tmp_path / "scheduler.json")
    dask_command = [sys.executable, "-m", "dask"]
    common = ["--scheduler-file", file, "--no-dashboard"]
    paths = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    begin = {"env": os.environ | {"PYTHONPATH": paths}, "stdout": subprocess.DEVNULL}
    begin["stderr"] = subprocess.DEVNULL
    command = [*dask_command, "scheduler", *common, "--host", "127.0.0.1", "--port", "0"]
    processes = [subprocess.Popen(command, **begin)]
    try:
        command = [*dask_command, "worker", *common, "--nthreads", "1", "--no-nanny"]
        processes += [subprocess.Popen(command, **begin) for _ in range(2)]
        with distributed.Client(scheduler_file=file, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            parts = [dask.delayed(clusters.blocks)(0, i, ROWS + 50 * i, D) for i in range(PARTS)]
            model = on_dask.SGDClassifier(**OPTIONS, client=client).fit(parts)
            assert same(model, local_fit(*rows(), **OPTIONS))
    finally:
        for process in processes:
            process.kill()
            process.wait()
