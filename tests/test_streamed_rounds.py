"""What shards of files that are streamed take part in: searches, L-BFGS, checkpoints."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import test_streamed_shards as streamed
from sklearn.base import clone
from test_streamed_shards import LAYOUTS, OPTIONS, bits, engine_of

from fastsgd import Checkpoint, SGDClassifier
from fastsgd.data import open_source
from fastsgd.distributed.full_batch import finish_fit
from fastsgd.distributed.shards import Shard, blocks_of
from fastsgd.distributed.stream import ShardStream
from fastsgd.distributed.streamed import StreamedShard
from fastsgd.estimators.rows import Rows
from fastsgd.model_files.checkpoint import files_of

on_dask = pytest.importorskip("fastsgd.dask")
folds = pytest.importorskip("fastsgd.dask.folds")

pytestmark = streamed.pytestmark
small_blocks, file = streamed.small_blocks, streamed.file

SHARDS = 3
WHERE = ("cache", "memory", "both")
"""Where rows are: streamed, in memory, or the first shard alone in memory."""


@pytest.fixture
def engines(file, tmp_path):
    """Makes engines of the rows of a layout."""

    def make(layout, where="cache", executor=None):
        source = open_source(file, **LAYOUTS[layout])
        found = engine_of(source, SHARDS, tmp_path / layout, executor=executor)
        assert all(isinstance(shard, StreamedShard) for shard in found.shards)
        inside = {"cache": 0, "memory": SHARDS, "both": 1}[where]
        for i in range(inside):
            block = streamed.joined_blocks(list(blocks_of(found.shards[i])))
            weight = block.sample_weight
            weight = None if weight is None else weight.astype(np.float32)
            found.shards[i] = Shard(i, block.X, block.y, weight)
        return found

    return make


def rows_of(engine, local_epochs=1.0, moments=False):
    stream = ShardStream(engine, local_epochs, moments=moments)
    sample = stream.sample()
    return Rows(sample.X, sample.y, sample.sample_weight, stream)


def finished(engine, max_iter=100, **more):
    rows = rows_of(engine, moments=more.get("standardize", False))
    rows.stream.finish = True
    model = SGDClassifier(**OPTIONS | {"alpha": 1e-2} | more).fit(rows)
    finish_fit(model, rows.stream, max_iter)
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("more", [{}, {"standardize": True}, {"loss": "squared_hinge"}], ids=str)
def test_lbfgs_ends_at_the_same_minimum(engines, layout, more):
    if layout == "hashed" and "standardize" in more:
        pytest.skip("sparse rows are not standardised")
    expected = finished(engines(layout, "memory"), **more)
    assert expected.finish_["loss"][-1] < expected.finish_["loss"][0]
    for where in ("cache", "both"):
        model = finished(engines(layout, where), **more)
        np.testing.assert_allclose(model.coef_, expected.coef_, atol=3e-3)
        assert model.finish_["loss"][-1] == pytest.approx(expected.finish_["loss"][-1], rel=1e-6)


def test_no_bit_of_lbfgs_depends_on_who_runs_a_shard(engines):
    alone = finished(engines("weighted"), 3)
    with ThreadPoolExecutor(3) as executor:
        beside = finished(engines("weighted", executor=executor), 3)
    assert bits(alone) == bits(beside)
    assert alone.finish_ == beside.finish_


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("rare", [[], [1], [1, 2, 777, 1499]], ids=str)
def test_the_rows_of_a_sample_are_known(tmp_path, monkeypatch, shards, rare):
    """Those that come first of a label too, which are no even ones."""
    monkeypatch.setattr("fastsgd.data.first_pass.SAMPLE_ROWS", 200)
    table = streamed.table()
    y = table["bought"].to_pylist()
    for number, row in enumerate(rare):
        y[row] = f"label {number}"
    at = table.schema.get_field_index("bought")
    path = tmp_path / "rows.parquet"
    streamed.pq.write_table(table.set_column(at, "bought", streamed.pa.array(y)), path)
    source = open_source(str(path), **LAYOUTS["dense"])
    (shard,) = engine_of(source, 1, tmp_path / "cache").shards
    *_, numbers = folds._counted(shard, folds.HeldOut(2, 0, (0,)), shards)
    sample = shard.summary(shards, moments=False).sample
    whole = streamed.joined_blocks(list(shard.blocks()))
    assert len(numbers) == len(sample) < len(whole)
    np.testing.assert_array_equal(whole.X[numbers], sample.X)
    assert whole.y[numbers].tolist() == sample.y.tolist()


def scores(search):
    names = [name for name in search.cv_results_ if name.startswith("split")]
    return np.array([search.cv_results_[name] for name in names])


def searched(engine, grid, scoring="neg_log_loss", **more):
    moments = more.get("standardize", False)
    model = on_dask.SGDClassifier(**OPTIONS | more)
    search = on_dask.GridSearchCV(model, grid, cv=3, scoring=scoring, error_score=-9.0)
    return search.fit(rows_of(engine, 0.5, moments))


CONSTANT = {"learning_rate": "constant", "eta0": 0.01}
SEARCHES = [
    ("dense", {}),
    ("dense", {"standardize": True}),
    ("hashed", {"class_weight": "balanced"}),
    ("hashed", {"momentum": 0.5, "batch_size": 8}),
]


@pytest.mark.parametrize(("layout", "more"), SEARCHES, ids=str)
def test_a_search_has_the_scores_of_shards_in_memory(engines, layout, more):
    """In storage order rows come in one order, wherever they are."""
    found, options = {}, {**CONSTANT, "shuffle": False, **more}
    for where in WHERE:
        one = searched(engines(layout, where), {"alpha": [1e-4, 1.0]}, **options)
        found[where] = scores(one), one.best_estimator_.coef_
        assert one.best_params_ == {"alpha": 1e-4}
    for where in ("cache", "both"):
        for values, expected in zip(found[where], found["memory"], strict=True):
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(found["cache"][0]) > 0.01


def test_no_bit_of_a_search_depends_on_who_runs_a_shard(engines):
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    alone = searched(engines("hashed"), grid)
    with ThreadPoolExecutor(3) as executor:
        beside = searched(engines("hashed", executor=executor), grid)
    assert scores(alone).tobytes() == scores(beside).tobytes()
    assert bits(alone.best_estimator_) == bits(beside.best_estimator_)


def test_a_candidate_that_diverges_has_the_error_score(engines):
    options = {**CONSTANT, "loss": "squared_hinge", "scoring": "accuracy"}
    with pytest.warns(match="3 fits failed out of a total of 6"):
        search = searched(engines("dense"), {"eta0": [1e-3, 1e6]}, **options)
    assert search.best_params_ == {"eta0": 1e-3}
    assert search.cv_results_["mean_test_score"][1] == -9.0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fit_goes_on_from_each_of_its_checkpoints(engines, tmp_path, layout):
    model = SGDClassifier(**OPTIONS, average=100)

    def fit(**more):
        return clone(model).fit(rows_of(engines(layout), 0.25), **more)

    plain = fit()
    whole = fit(checkpoint=Checkpoint(tmp_path / "saved", every=0, keep=99))
    assert bits(whole) == bits(plain)
    files = files_of(tmp_path / "saved")
    assert sum(row > 0 for (_, row), _ in files) == 3 * 3
    for _, saved in files[::3]:
        assert bits(fit(resume=saved)) == bits(plain), saved


def test_other_pools_are_not_those_of_a_checkpoint(file, tmp_path):
    source, saving = open_source(file, **LAYOUTS["dense"]), Checkpoint(tmp_path / "saved", every=0)
    one = engine_of(source, SHARDS, tmp_path / "a")
    SGDClassifier(**OPTIONS).fit(rows_of(one, 0.5), checkpoint=saving)
    other = engine_of(source, SHARDS, tmp_path / "b", 2 * streamed.SMALL)
    with pytest.raises(ValueError, match="rows in the pools"):
        SGDClassifier(**OPTIONS).fit(rows_of(other, 0.5), resume=tmp_path / "saved")


def test_a_fold_is_left_out(engines, file, tmp_path):
    """The lane of a fold is a fit in which its rows have weight zero: labels of the first one are
    turned round, so that its model says the contrary."""
    source = open_source(file, **LAYOUTS["dense"])
    stream = rows_of(engine_of(source, SHARDS, tmp_path / "cache")).stream
    rule = folds.ShardFolds(3, OPTIONS["random_state"], stream).rule
    fold = np.concatenate([rule.fold(one.number, np.arange(one.rows)) for one in stream.summaries])
    table = streamed.table()
    y = np.array(table["bought"].to_pylist()) == "yes"
    y ^= fold == 0
    X = np.column_stack([table[name] for name in streamed.NUMBERS])
    table = table.drop_columns(["bought"]).append_column("bought", streamed.pa.array(y))

    def engine(name, weight, layout):
        path, at = tmp_path / f"{name}.parquet", table.schema.get_field_index("weight")
        rows = table.set_column(at, "weight", streamed.pa.array(weight.astype(np.float64)))
        streamed.pq.write_table(rows, path, row_group_size=len(y) // 12)
        return engine_of(open_source(str(path), **LAYOUTS[layout]), SHARDS, tmp_path / name)

    options = {**CONSTANT, "shuffle": False}  # pools of rows with weights are smaller
    search = searched(engine("all", np.ones(len(y)), "dense"), {"alpha": [1e-3]}, **options)
    expected = []
    for f in range(3):
        model = SGDClassifier(**OPTIONS | options | {"alpha": 1e-3})
        model.fit(rows_of(engine(f"without {f}", fold != f, "weighted"), 0.5))
        p = model.predict_proba(X[fold == f])[np.arange(sum(fold == f)), y[fold == f].astype(int)]
        expected.append(np.log(p).mean())
    np.testing.assert_allclose(scores(search)[:, 0], expected, rtol=1e-4)
    assert expected[0] < -1.0 < -0.7 < min(expected[1:])
