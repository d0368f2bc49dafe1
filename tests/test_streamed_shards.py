"""Shards of files without a cluster: ranges, caches, and the bits of streams and of tables."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from cuts import make_small_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file

from fastsgd import SGDClassifier, SGDRegressor
from fastsgd.data import open_source
from fastsgd.data.first_pass import joined_blocks
from fastsgd.data.ranges import PartOfSource, ranges_of
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.groups import groups_of
from fastsgd.distributed.shards import Shard
from fastsgd.distributed.stream import ShardStream
from fastsgd.distributed.streamed import StreamedShard, open_shard, shard_sources
from fastsgd.estimators.rows import Rows
from fastsgd.solver.stream import StreamRun

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("xxhash")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, D = 1500, 6
SMALL = 1 << 13  # bytes of pools, each of which then has one to four blocks
NUMBERS = [f"f{j}" for j in range(D)]
OPTIONS = {"loss": "log_loss", "max_iter": 3, "tol": None, "random_state": 3}
FIXED = {**OPTIONS, "learning_rate": "constant", "eta0": 0.02}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    make_small_blocks(monkeypatch.setattr)


def table(n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D)).astype(np.float32)
    y = np.where(X @ np.linspace(-1.0, 1.0, D) + rng.normal(size=n) > 0, "yes", "no")
    columns = dict(zip(NUMBERS, X.T, strict=True))
    town = rng.choice(["Ulm", "Bonn", "Kiel"], n)
    weight = rng.choice([0.0, 0.5, 2.0], n)
    return pa.table({**columns, "town": town, "bought": y, "weight": weight})


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """One Parquet file of 12 row groups."""
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(table(), path, row_group_size=N // 12)
    return str(path)


DENSE = {"target": "bought", "features": NUMBERS}
LAYOUTS = {
    "dense": DENSE,
    "weighted": {**DENSE, "sample_weight": "weight"},
    "hashed": {"target": "bought", "features": [*NUMBERS, "town"], "hash_bits": 6},
}


def engine_of(source, shards, cache, pool_bytes=SMALL, executor=None):
    folder = None if cache is None else str(cache)
    return ExecutorEngine(executor, shard_sources(source, shards, pool_bytes, folder, "unused"))


def fitted(model, engine, local_epochs=1.0, source=None):
    stream = ShardStream(engine, local_epochs, moments=model.standardize)
    sample = stream.sample()
    return model.fit(Rows(sample.X, sample.y, sample.sample_weight, stream, source))


class Disturbed(ExecutorEngine):
    """An engine with something that happens before each round."""

    def __init__(self, engine, disturb):
        vars(self).update(vars(engine))
        self.disturb = disturb

    def train(self, plan, common):
        self.disturb()
        return super().train(plan, common)


def bits(model):
    arrays = model.coef_, model.intercept_, np.array(model.loss_curve_)
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


# Ranges.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same rows in files of each kind, two of each, in small units."""
    folder = tmp_path_factory.mktemp("kinds")
    for number, rows in enumerate((200, 130)):
        part = table(rows, number).drop_columns(["weight"])
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=30)
        for name, compression in (("arrow", None), ("feather", "zstd")):
            options = pa.ipc.IpcWriteOptions(compression=compression)
            with pa.ipc.new_file(folder / f"{number}.{name}", part.schema, options=options) as out:
                out.write_table(part, max_chunksize=17)
        part.to_pandas().to_csv(folder / f"{number}.csv", index=False)
        X = np.column_stack([part[name] for name in NUMBERS])
        np.save(folder / f"{number}.npy", X)
        dump_svmlight_file(X, np.arange(rows) % 2, str(folder / f"{number}.svm"))
    return folder


KINDS = {"parquet": 12, "arrow": 20, "feather": 20, "csv": 2, "npy": 12, "svm": 2}
"""How many ranges the files of a kind have."""


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_parts_have_all_rows_in_their_order(folder, kind, data):
    columns = kind not in ("npy", "svm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastsgd.data.block.BLOCK_ROWS", 32)
        source = open_source(str(folder / f"*.{kind}"), **({"target": "bought"} if columns else {}))
        ranges = ranges_of(source)
        assert len(ranges) == KINDS[kind]
        count = data.draw(st.integers(1, len(ranges)))
        parts = [
            PartOfSource(source, [ranges[i] for i in group])
            for group in groups_of([each.size for each in ranges], count)
        ]
        sent = pickle.loads(pickle.dumps(parts))
        blocks = [joined_blocks(list(part.blocks())) for part in sent]
        assert len({str(part.fingerprint()) for part in parts}) == count
        assert all(
            part.rows in (None, len(block)) for part, block in zip(parts, blocks, strict=True)
        )
        found, whole = joined_blocks(blocks), joined_blocks(list(source.blocks()))
    difference = found.X != whole.X
    assert not (difference.nnz if sp.issparse(difference) else difference.any())
    assert found.y is None or found.y.tolist() == whole.y.tolist()


@pytest.mark.parametrize("wrong", [7, 140, 1499])
def test_a_bad_row_is_named_by_its_number_in_the_file(tmp_path, wrong):
    rows = table()
    column = rows["f2"].to_numpy().copy()
    column[wrong] = np.nan
    rows = rows.set_column(2, "f2", pa.array(column))
    path = tmp_path / "rows.parquet"
    pq.write_table(rows, path, row_group_size=100)
    shard = wrong // 500
    message = (
        rf"shard {shard} of X, .*rows.parquet: .*rows.parquet, row {wrong}: column 'f2' is NaN"
    )
    with pytest.raises(ValueError, match=message):
        engine_of(open_source(str(path), **DENSE), 3, tmp_path / "cache")


def test_how_many_shards(file, folder, monkeypatch):
    def count(paths, shards=None):
        return len(shard_sources(open_source(paths, target="bought"), shards, 1, None, "none"))

    assert count(file) == 1
    assert count(file, 5) == 5
    assert count(str(folder / "*.parquet")) == 2
    assert count(str(folder / "*.csv")) == 2
    monkeypatch.setattr("fastsgd.distributed.streamed.A_SHARD", 400)
    assert count(file) == 3
    monkeypatch.setattr("fastsgd.distributed.streamed.MOST_SHARDS", 1)
    assert count(str(folder / "*.parquet")) == 1
    with pytest.raises(ValueError, match="shards=13 is more than the 12 row groups"):
        count(file, 13)


# Bits.


def at_the_end_of_epochs(self, budget, stop=None, advance=StreamRun.advance):
    """A fit that applies what is pending at the end of each epoch, as shards do."""
    done = advance(self, budget, stop)
    if done:
        self.anchor.flush()
        self.state.set_vectors(*self.state.vectors())
    return done


FORMS = {
    "plain": {},
    "batches": {"batch_size": 16, "momentum": 0.9},
    "average": {"average": True},
    "elasticnet": {"penalty": "elasticnet", "average": True},
    "standardize": {"standardize": True},
    "adagrad": {"optimizer": "adagrad"},
    "balanced": {"class_weight": "balanced"},
    "sequential": {"sampling": "sequential"},
    "once": {"sampling": "once"},
}
EXACT = [("dense", "batches"), ("dense", "adagrad"), ("hashed", "adagrad")]
"""Settings in which nothing is pending between two epochs."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMS)
def test_one_shard_is_the_local_fit(file, tmp_path, monkeypatch, layout, form):
    """To the bit, if the local fit too has weights of scale 1 at the end of each epoch."""
    if (layout, form) == ("hashed", "standardize"):
        pytest.skip("sparse rows are not standardised")
    if (layout, form) not in EXACT:
        monkeypatch.setattr(StreamRun, "advance", at_the_end_of_epochs)
    options = OPTIONS | FORMS[form]
    source = open_source(file, **LAYOUTS[layout])
    one = fitted(SGDClassifier(**options), engine_of(source, 1, tmp_path / "one"))
    how = {"cache": tmp_path / "local", "pool_bytes": SMALL}
    local = SGDClassifier(**options).fit(file, **LAYOUTS[layout], **how)
    assert bits(one) == bits(local)
    assert one.t_ == local.t_


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("local_epochs", [1.0, 0.3])
def test_one_pool_has_the_bits_of_a_table(file, tmp_path, layout, batch_size, local_epochs):
    """Of several shards, in rounds that begin and end within the pool."""
    options = {**FIXED, "batch_size": batch_size, "sampling": "block"}
    source = open_source(file, **LAYOUTS[layout])
    engine = engine_of(source, 3, tmp_path / "cache", pool_bytes=1 << 24)
    assert all(isinstance(shard, StreamedShard) for shard in engine.shards)
    streamed = fitted(SGDClassifier(**options), engine, local_epochs)
    engine = engine_of(source, 3, None, pool_bytes=1 << 24)
    assert all(isinstance(shard, Shard) for shard in engine.shards)
    arrays = fitted(SGDClassifier(**options), engine, local_epochs)
    assert bits(streamed) == bits(arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("local_epochs", [1.0, 0.25])
def test_bits_depend_on_neither_executor_nor_cache(file, tmp_path, layout, local_epochs):
    source, options = open_source(file, **LAYOUTS[layout]), OPTIONS | {"average": True}

    def fit(cache, executor=None):
        engine = engine_of(source, 4, tmp_path / cache, executor=executor)
        return bits(fitted(SGDClassifier(**options), engine, local_epochs))

    alone = fit("alone")
    with ThreadPoolExecutor(3) as executor:
        assert fit("threads", executor) == alone
    manifests = sorted((tmp_path / "alone").glob("*/manifest.json"))
    written = [path.stat().st_mtime_ns for path in manifests]
    assert fit("alone") == alone
    assert [path.stat().st_mtime_ns for path in manifests] == written
    assert len(written) == 4


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_bits_of_processes(file, tmp_path, method):
    source = open_source(file, **LAYOUTS["hashed"])
    alone = fitted(SGDClassifier(**OPTIONS), engine_of(source, 3, tmp_path / "alone"))
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, context, make_small_blocks) as executor:
        engine = engine_of(source, 3, tmp_path / "beside", executor=executor)
        beside = fitted(SGDClassifier(**OPTIONS), engine)
    assert bits(beside) == bits(alone)


def test_the_rounds_of_an_epoch_read_no_pool_twice(file, tmp_path, monkeypatch):
    """But for those that a round begins or ends in."""
    from fastsgd.data.reading import _Buffer

    read, count = _Buffer.read, [0]

    def counted(self, *arguments):
        count[0] += 1
        return read(self, *arguments)

    monkeypatch.setattr(_Buffer, "read", counted)
    source = open_source(file, **DENSE)
    engine = engine_of(source, 2, tmp_path / "cache")
    pools = [-(-one.cache().count // one.summary(2, False).pools[1]) for one in engine.shards]
    fitted(SGDClassifier(**FIXED | {"max_iter": 1}), engine)
    assert count[0] == sum(pools)
    count[0] = 0
    fitted(SGDClassifier(**FIXED | {"max_iter": 1}), engine, 0.5)
    assert sum(pools) <= count[0] <= sum(pools) + 2


@pytest.mark.parametrize("lost", ["all", "one"])
def test_a_cache_that_is_lost_is_made_anew(file, tmp_path, lost):
    source = open_source(file, **LAYOUTS["hashed"])
    expected = bits(fitted(SGDClassifier(**OPTIONS), engine_of(source, 3, tmp_path / "kept")))
    cache = tmp_path / "cache"
    gone = []

    def lose():
        shutil.rmtree(cache if lost == "all" else cache / "shard-0001-of-0003")
        gone.append(lost)

    engine = Disturbed(engine_of(source, 3, cache), lose)
    assert bits(fitted(SGDClassifier(**OPTIONS), engine)) == expected
    assert len(gone) == OPTIONS["max_iter"]


def test_files_that_change_are_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(table(), path, row_group_size=250)
    source = open_source(str(path), **DENSE)

    def change():
        shutil.rmtree(tmp_path / "cache" / "shard-0001-of-0002")
        pq.write_table(table(seed=1), path, row_group_size=250)

    engine = Disturbed(engine_of(source, 2, tmp_path / "cache"), change)
    with pytest.raises(ValueError, match=r"shard 1 of X, .*: the rows changed while"):
        fitted(SGDClassifier(**OPTIONS), engine)
    with pytest.raises(ValueError, match="was made of something else: files"):
        engine_of(open_source(str(path), **DENSE), 2, tmp_path / "cache")


def test_some_shards_are_streamed_and_others_are_not(tmp_path):
    """By their bytes alone."""
    for number, rows in enumerate((1200, 100, 900)):
        pq.write_table(table(rows, number), tmp_path / f"{number}.parquet")
    source = open_source(str(tmp_path / "*.parquet"), **DENSE)
    sources = shard_sources(source, None, SMALL, None, str(tmp_path / "temporary"))
    engine = ExecutorEngine(None, sources)
    kinds = [isinstance(shard, StreamedShard) for shard in engine.shards]
    assert kinds == [True, False, True]
    model = fitted(SGDClassifier(**OPTIONS), engine)
    whole = joined_blocks(list(source.blocks()))
    assert model.score(whole.X, whole.y) > 0.75
    with pytest.raises(ValueError, match="sampling='replacement' needs rows in memory"):
        fitted(SGDClassifier(**OPTIONS, sampling="replacement"), engine)


def test_a_temporary_cache_is_written_once(file, tmp_path):
    source = shard_sources(open_source(file, **DENSE), 1, SMALL, None, str(tmp_path))[0]
    shard = open_shard(source)
    manifest = tmp_path / "shard-0000-of-0001" / "manifest.json"
    written = manifest.stat().st_mtime_ns
    assert open_shard(source) == shard
    assert manifest.stat().st_mtime_ns == written


def test_regression_and_targets_of_many_values(tmp_path):
    rows = table()
    y = np.array(rows["f0"]) * 2.0 + np.array(rows["f1"])
    path = tmp_path / "rows.parquet"
    pq.write_table(rows.append_column("y", pa.array(y)), path, row_group_size=100)
    source = open_source(str(path), target="y", features=NUMBERS)
    options = {"max_iter": 20, "tol": None, "random_state": 0}
    model = fitted(SGDRegressor(**options), engine_of(source, 3, tmp_path / "cache"))
    np.testing.assert_allclose(model.coef_, [2.0, 1.0, 0, 0, 0, 0], atol=0.01)


def test_a_cache_without_counts_is_refused(file, tmp_path):
    source = open_source(file, **LAYOUTS["hashed"])
    engine = engine_of(source, 2, tmp_path / "cache")
    (tmp_path / "cache" / "shard-0001-of-0002" / "counts.npy").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"counts.npy' cannot be read: .*Remove the folder"):
        fitted(SGDClassifier(**OPTIONS), engine)
