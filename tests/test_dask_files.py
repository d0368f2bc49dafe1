"""Files on a Dask cluster: streamed shards, caches of workers, kills, limited memory."""

import glob
import os

import clusters
import numpy as np
import pytest
import test_dask
import test_dask_faults
import test_streamed_rounds as streamed
import test_streamed_shards as shards
from sklearn.base import clone
from test_dask import same

import fastsgd

dask, distributed = map(pytest.importorskip, ("dask", "distributed"))
pa, pq = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
on_dask = pytest.importorskip("fastsgd.dask")
files = pytest.importorskip("fastsgd.dask.files")

pytestmark = test_dask.pytestmark
bounded, at_phase, fresh = test_dask.bounded, test_dask_faults.at_phase, test_dask_faults.fresh
file = shards.file


@pytest.fixture(autouse=True, scope="module")
def longer():
    """Bounds of each test that hold on a busy machine too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_dask, "SECONDS", 150)
        yield


N, SMALL = 24_000, 1 << 16
OPTIONS = {"loss": "log_loss", "max_iter": 3, "tol": None, "random_state": 3}
DENSE, HASHED = shards.DENSE, shards.LAYOUTS["hashed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the workers."""
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def cluster(folder):
    with clusters.local_cluster(local_directory=folder) as found:
        yield found


client, workers = test_dask.client, test_dask.workers


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """One Parquet file of 12 row groups, of which no shard fits into a pool."""
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(shards.table(N), path, row_group_size=N // 12)
    return str(path)


def engine_alone(path, count, folder, pool_bytes=SMALL, **options):
    """What runs the shards of a file without a cluster."""
    source = fastsgd.data.open_source(path, **options)
    return shards.engine_of(source, count, folder, pool_bytes)


def alone(path, count, folder, pool_bytes=SMALL, local_epochs=1.0, **options):
    """The same fit without a cluster."""
    engine = engine_alone(path, count, folder, pool_bytes, **options)
    return shards.fitted(fastsgd.SGDClassifier(**OPTIONS), engine, local_epochs)


def on_disk(folder):
    """What the fits of workers have left."""
    found = glob.glob(f"{folder}/**/fastsgd-*", recursive=True)
    return found + glob.glob(f"{folder}/**/.*.partial", recursive=True)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("layout", ["dense", "hashed"])
def test_a_file_is_several_shards(client, workers, folder, rows, tmp_path, k, layout):
    """With the bits of a fit without a cluster, and nothing is left behind."""
    how = shards.LAYOUTS[layout]
    with dask.annotate(workers=workers[:k], allow_other_workers=False):
        model = on_dask.SGDClassifier(**OPTIONS, shards=4, local_epochs=0.5)
        model.fit(rows, pool_bytes=SMALL, **how)
    expected = alone(rows, 4, tmp_path, local_epochs=0.5, **how)
    assert same(model, expected)
    assert model.history_["loss"] == expected.history_["loss"]
    assert model.columns_.target == "bought"
    assert on_disk(folder) == []


def test_a_cache_is_found_again(client, folder, rows, tmp_path):
    cache = tmp_path / "cache"
    how = {**HASHED, "cache": cache, "pool_bytes": SMALL}
    first = on_dask.SGDClassifier(**OPTIONS, shards=3).fit(rows, **how)
    manifests = sorted(cache.glob("*/manifest.json"))
    written = [path.stat().st_mtime_ns for path in manifests]
    assert [path.parent.name for path in manifests] == [f"shard-000{i}-of-0003" for i in range(3)]
    again = on_dask.SGDClassifier(**OPTIONS, shards=3).fit(rows, **how)
    assert same(again, first)
    assert [path.stat().st_mtime_ns for path in manifests] == written
    with pytest.raises(ValueError, match=r"shard \d of X, .* was made of something else: columns"):
        on_dask.SGDClassifier(**OPTIONS, shards=3).fit(rows, **how | {"hash_bits": 7})


def test_small_shards_are_in_memory(client, folder, rows, monkeypatch):
    """By their bytes, and have the bits of arrays then."""
    model = on_dask.SGDClassifier(**OPTIONS, shards=3).fit(rows, **DENSE)
    table = pq.read_table(rows)
    X = np.column_stack([table[name] for name in shards.NUMBERS])
    y = np.array(table["bought"].to_pylist())
    parts = np.array_split(X, 3), np.array_split(y, 3)
    assert same(model, test_dask.local_fit(*parts, **OPTIONS))


@pytest.mark.parametrize("k", [1, 3])
def test_a_search_of_files(client, workers, folder, rows, tmp_path, k):
    """With L-BFGS at its end: the bits of one without a cluster."""
    finish = {"finish": "lbfgs", "finish_max_iter": 3}
    model = on_dask.SGDClassifier(**OPTIONS, **finish, shards=4, local_epochs=0.5)
    options = {"cv": 3, "scoring": "neg_log_loss"}
    search = on_dask.GridSearchCV(model, {"alpha": [1e-4, 1.0]}, **options)
    expected = clone(search).fit(streamed.rows_of(engine_alone(rows, 4, tmp_path, **HASHED), 0.5))
    with dask.annotate(workers=workers[:k], allow_other_workers=False):
        search.fit(rows, pool_bytes=SMALL, **HASHED)
    assert streamed.scores(search).tobytes() == streamed.scores(expected).tobytes()
    assert search.best_params_ == {"alpha": 1e-4}
    assert same(search.best_estimator_, expected.best_estimator_)
    assert search.best_estimator_.finish_ == expected.best_estimator_.finish_
    assert len(search.best_estimator_.finish_["loss"]) == 3
    assert on_disk(folder) == []


def test_a_path_of_files(client, folder, rows):
    options = OPTIONS | {"learning_rate": "constant", "eta0": 0.01}
    model = on_dask.SGDClassifier(**options, shards=3)
    how = {**DENSE, "pool_bytes": SMALL}
    found = on_dask.path(rows, alphas=[1e-4, 1.0], estimator=model, **how)
    for coef, alpha in zip(found.coef, [1e-4, 1.0], strict=True):
        one = clone(model).set_params(alpha=alpha).fit(rows, **how)
        np.testing.assert_allclose(coef, one.coef_, rtol=1e-4, atol=1e-6)
    assert on_disk(folder) == []


def test_standardised_features(client, rows):
    options = OPTIONS | {"standardize": True}
    how = {**DENSE, "pool_bytes": SMALL}
    model = on_dask.SGDClassifier(**options, shards=4).fit(rows, **how)
    table = pq.read_table(rows)
    X = np.column_stack([table[name] for name in shards.NUMBERS])
    scaled = fastsgd.SGDClassifier(**options).fit(X, np.array(table["bought"].to_pylist()))
    np.testing.assert_allclose(model.coef_, scaled.coef_, rtol=0.2, atol=0.02)


def test_going_on(client, rows, tmp_path):
    """``partial_fit`` reads files by the columns of the fit so far; checkpoints know the pools."""
    how = {"cache": tmp_path / "cache", "pool_bytes": SMALL}
    options = OPTIONS | {"learning_rate": "constant", "eta0": 0.01}
    whole = on_dask.SGDClassifier(**options, shards=3).fit(rows, **DENSE, **how)
    parts = on_dask.SGDClassifier(**options, shards=3)
    parts.partial_fit(rows, classes=["no", "yes"], **DENSE, **how)
    for _ in range(2):
        parts.partial_fit(rows, **how)
    assert same(parts, whole)
    checkpoint = fastsgd.Checkpoint(tmp_path / "saved", every=0)
    model = on_dask.SGDClassifier(**options | {"max_iter": 2}, shards=3)
    model.fit(rows, **DENSE, **how, checkpoint=checkpoint)
    model = on_dask.SGDClassifier(**options, shards=3)
    model.fit(rows, **DENSE, **how, resume=tmp_path / "saved")
    assert same(model, whole)
    with pytest.raises(ValueError, match="is of a fit on rows in the pools"):
        how = {"cache": tmp_path / "other", "pool_bytes": 1 << 24}
        model.set_params(max_iter=4).fit(rows, **DENSE, **how, resume=tmp_path / "saved")


BAD = {
    "cache": (ValueError, "cache must be a folder, or left out", {"cache": None}),
    "pool_bytes": (ValueError, "pool_bytes must be a positive integer", {"pool_bytes": 0}),
    "y": (ValueError, "y must be given", {"target": None}),
    "sampling": (ValueError, "needs rows in memory", {"sampling": "replacement"}),
    "shards": (ValueError, "shards=13 is more than the 12 row groups", {"shards": 13}),
    "column": (ValueError, "no column 'sold'", {"target": "sold"}),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input(client, folder, rows, bad):
    error, message, more = BAD[bad]
    options = OPTIONS | {name: more[name] for name in ("sampling", "shards") if name in more}
    how = {**DENSE, "pool_bytes": SMALL, **{k: v for k, v in more.items() if k not in options}}
    model = on_dask.SGDClassifier(**{"shards": 3} | options)
    with pytest.raises(error, match=message):
        model.fit(rows, **how)
    assert not hasattr(model, "coef_")
    assert on_disk(folder) == []


def test_a_bad_file_is_named(client, folder, tmp_path):
    for number in range(3):
        pq.write_table(shards.table(5000, number), tmp_path / f"{number}.parquet")
    broken = tmp_path / "1.parquet"
    content = bytearray(broken.read_bytes())
    content[1000:60_000] = bytes(59_000)
    broken.write_bytes(content)
    with pytest.raises(ValueError, match=f"shard 1 of X, {broken}: {broken}"):
        on_dask.SGDClassifier(**OPTIONS).fit(str(tmp_path / "*.parquet"), **DENSE)
    assert on_disk(folder) == []


# Kills.


def test_files_that_change_after_a_loss(client, tmp_path):
    """Shards that are opened once more must have the rows that they had."""
    path = tmp_path / "rows.parquet"
    pq.write_table(shards.table(N), path, row_group_size=N // 12)
    rows = files.rows_of_fit(str(path), None, None, {**DENSE, "pool_bytes": SMALL})
    engine = files.FilesEngine(client, rows, 3)
    try:
        pq.write_table(shards.table(N, seed=1), path, row_group_size=N // 12)
        with pytest.raises(ValueError, match=r"shard \d of X, .*(changed|made of something else)"):
            engine._load()
    finally:
        engine.close()


@pytest.mark.parametrize("phase", test_dask_faults.PHASES)
def test_a_worker_is_killed(client, workers, at_phase, rows, tmp_path, phase):
    at_phase(phase, clusters.kill, clusters.pids_of(client)[:1], seconds=0.03)
    model = on_dask.SGDClassifier(**OPTIONS, shards=6, local_epochs=0.5)
    model.fit(rows, **HASHED, pool_bytes=SMALL)
    assert same(model, alone(rows, 6, tmp_path, local_epochs=0.5, **HASHED))


@pytest.mark.parametrize("named", [True, False])
def test_writers_are_killed_once_all_is_written(fresh, rows, tmp_path, named):
    """All workers die with a cache that is nearly whole; the next ones remove what is left."""
    cache, died = tmp_path / "cache", tmp_path / "died"
    died.mkdir()
    fresh.run(clusters.die_writing, str(died))
    model = on_dask.SGDClassifier(**OPTIONS, shards=6, client=fresh)
    how = {"cache": cache} if named else {}
    model.fit(rows, **HASHED, **how, pool_bytes=SMALL)
    assert os.listdir(died)
    assert same(model, alone(rows, 6, tmp_path / "alone", **HASHED))
    if named:
        assert sorted(os.listdir(cache)) == [f"shard-000{i}-of-0006" for i in range(6)]


# Memory.

MB = 1 << 20
LIMIT = """
import resource
from fastsgd.dask import tasks
with open("/proc/self/status") as file:
    mapped = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData"))
limits = mapped + {more}, resource.getrlimit(resource.RLIMIT_DATA)[1]
resource.setrlimit(resource.RLIMIT_DATA, limits)  # Dask runs this twice: the hard limit stays
"""


@pytest.mark.exhaustive
def test_a_worker_of_less_memory_than_there_are_rows(tmp_path):
    """It may allocate less than the rows take."""
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, (10_000, 100)).astype(np.int8)
    columns = {f"f{j}": column for j, column in enumerate(X.T)}
    table = pa.table({**columns, "y": X @ rng.normal(size=100) > 0})
    path, count, more = tmp_path / "rows.parquet", 200, 550 * MB
    pq.write_table(pa.concat_tables([table] * count), path, row_group_size=50_000)
    size = count * X.size * 4  # of float32
    assert more < size
    with (
        clusters.local_cluster(
            n_workers=1,
            memory_limit=0,
            env={"ARROW_DEFAULT_MEMORY_POOL": "system"},  # the others reserve a GB
            local_directory=tmp_path / "workers",
            preload=[LIMIT.format(more=more)],
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        assert not any(client.run(clusters.allocated, more).values())  # the limit holds
        options = {"max_iter": 2, "tol": None, "random_state": 0, "shards": 4, "client": client}
        model = on_dask.SGDClassifier(**options)
        model.fit(str(path), target="y", pool_bytes=16 * MB)
        assert model.score(X.astype(np.float32), np.array(table["y"])) > 0.9
