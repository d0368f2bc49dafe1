"""Fits of sources: the bits of arrays where all rows fit into a pool, and little else where not."""

from __future__ import annotations

import os
import tempfile
import warnings
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("xxhash")

from cuts import factory, make_small_blocks

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor
from fastsgd.data import open_source
from fastsgd.data.cache import Cache, write_cache
from fastsgd.data.reading import PoolReader
from fastsgd.estimators.streams import TableStream

N, D = 1500, 7
SMALL = 1 << 13  # bytes of pools, each of which then has one to four blocks
CLASSIFIERS = (
    "hinge",
    "log_loss",
    "modified_huber",
    "squared_hinge",
    "perceptron",
    "squared_error",
    "huber",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
)
REGRESSORS = ("squared_error", "huber", "epsilon_insensitive", "quantile", "poisson")
LAYOUTS = ("float64", "float32", "float16", "uint8", "csr32", "csr64")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Caches that nobody names lie here, and none is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert [*folder.iterdir()] == []


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    make_small_blocks(monkeypatch.setattr)


@cache
def table(n: int = N, d: int = D, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows that all dtypes hold, and scores that they have, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 5, (n, d)) * (rng.random((n, d)) < 0.6)
    scores = (X - X.mean(axis=0)) @ rng.normal(size=d) / d + 0.3 * rng.normal(size=n)
    return X / 1.0, scores


def stored(layout: str, X: np.ndarray):
    if not layout.startswith("csr"):
        return X.astype(layout)
    X = sp.csr_array(X.astype(np.float32))
    index = np.int32 if layout == "csr32" else np.int64
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


def classes_of(scores: np.ndarray, k: int, kind: str = "int") -> np.ndarray:
    numbers = np.digitize(scores, np.quantile(scores, np.arange(1, k) / k))
    if kind == "str":
        return np.array(["b", "c", "a"])[numbers]
    return numbers > 0 if kind == "bool" else numbers


def cuts(seed: int, n: int = N) -> list[int]:
    return np.random.default_rng(seed).integers(0, n, 6).tolist()


def state(model) -> list[bytes]:
    """The bits of a model."""
    arrays = model.coef_, model.intercept_, np.array(model.loss_curve_)
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


def draw(seed: int):
    """An estimator, without a tolerance, and its rows."""
    rng = np.random.default_rng(seed)
    layout = LAYOUTS[rng.integers(len(LAYOUTS))]
    base, scores = table()
    X = stored(layout, base)
    weight = rng.choice([0.0, 0.5, 2.0], N) if rng.random() < 0.4 else None
    momentum = float(rng.choice([0.0, 0.0, 0.9]))
    parameters = {
        "sampling": "block",
        "max_iter": 3,
        "tol": None,
        "random_state": seed,
        "batch_size": int(rng.choice([1, 1, 7, 64, N])),
        "momentum": momentum,
        "nesterov": bool(momentum and rng.random() < 0.5),
        "average": [False, False, True, 0.5][rng.integers(4)],
        "penalty": [None, "l2", "l1", "elasticnet"][rng.integers(4)],
        "learning_rate": ["auto", "invscaling", "constant"][rng.integers(3)],
        "eta0": 0.01,
    }
    if parameters["learning_rate"] == "auto":
        parameters["eta0"] = None
    if parameters["batch_size"] == 1 and rng.random() < 0.2:
        parameters |= {"momentum": 0.0, "nesterov": False, "optimizer": "adagrad"}
    if rng.random() < 0.6:
        loss, k = CLASSIFIERS[seed % len(CLASSIFIERS)], int(rng.choice([2, 2, 3]))
        y = classes_of(scores, k, ["int", "str", "bool"][rng.integers(3 if k == 2 else 2)])
        parameters |= {"class_weight": [None, None, "balanced"][rng.integers(3)]}
        if loss == "log_loss" and seed % 2:
            parameters |= {"multi_class": "multinomial"}
        return SGDClassifier(loss, **parameters), X, y, weight
    loss = REGRESSORS[seed % len(REGRESSORS)]
    y = np.abs(scores) if loss == "poisson" else scores
    if loss != "poisson" and rng.random() < 0.4:
        y = np.stack([y, -(y**2)], axis=1)
    return SGDRegressor(loss, **parameters), X, y.astype(np.float32), weight


def clone(model):
    return type(model)(**model.get_params())


@pytest.mark.filterwarnings("ignore:alpha=0.0001 is too strong")
@pytest.mark.parametrize("seed", range(72))
def test_a_pool_of_all_rows_has_the_bits_of_arrays(tmp_path, seed):
    model, X, y, weight = draw(seed)
    expected = clone(model).fit(X, y, sample_weight=weight)
    source = factory(cuts(seed), X, y, weight)
    model.fit(source, cache=tmp_path / "cache", pool_bytes=1 << 30)
    assert state(model) == state(expected)
    assert model.n_features_in_ == D
    in_memory = clone(model).fit(source)
    assert state(in_memory) == state(expected)


def test_the_settings_above_vary():
    drawn = [draw(seed)[0] for seed in range(72)]
    matrices = [draw(seed)[1] for seed in range(72)]
    kinds = {(X.dtype, X.indices.dtype if sp.issparse(X) else None) for X in matrices}
    assert len(kinds) == len(LAYOUTS)
    assert {model.loss for model in drawn} == {*CLASSIFIERS, *REGRESSORS}
    for name in ("batch_size", "momentum", "average", "penalty", "learning_rate"):
        assert len({getattr(model, name) for model in drawn}) >= 2
    assert {getattr(model, "multi_class", "") for model in drawn} == {"", "ovr", "multinomial"}


@pytest.mark.parametrize("layout", ["float64", "float32"])
def test_standardize_differs_by_rounding(tmp_path, layout):
    base, scores = table()
    X = stored(layout, 100.0 + base)
    model = SGDRegressor(sampling="block", standardize=True, max_iter=5, tol=None, random_state=0)
    expected = clone(model).fit(X, scores)
    for size in (1 << 30, SMALL):
        model.fit(factory([], X, scores), cache=tmp_path / "cache", pool_bytes=size)
        tolerance = 0.05 if size == SMALL else 1e-4 if layout == "float32" else 1e-9
        error = np.abs(model.coef_ - expected.coef_).max()
        assert error < tolerance * np.abs(expected.coef_).max()


@pytest.mark.parametrize("seed", range(0, 72, 4))
def test_small_pools_do_not_depend_on_how_rows_come(tmp_path, seed):
    model, X, y, weight = draw(seed)
    folder = tmp_path / "cache"
    how = {"pool_bytes": SMALL}
    expected = state(clone(model).fit(factory([], X, y, weight), cache=folder, **how))
    assert len([*folder.iterdir()]) > 20
    source = factory(cuts(seed), X, y, weight)
    assert state(clone(model).fit(source, cache=folder, **how)) == expected  # made ahead
    assert state(clone(model).fit(source, cache=tmp_path / "other", **how)) == expected
    assert state(clone(model).fit(source, **how)) == expected  # a temporary one
    assert state(clone(model).fit(iter(source()), **how)) == expected
    again = model.fit(source, cache=folder, **how)
    assert state(again.fit(source, cache=folder, **how)) == expected


@pytest.mark.parametrize("seed", range(1, 72, 5))
def test_partial_fit_k_times_is_a_fit_of_k_epochs(tmp_path, seed):
    model, X, y, weight = draw(seed)
    if isinstance(model, SGDClassifier):
        model.set_params(class_weight=None)
    how = {"cache": tmp_path / "cache", "pool_bytes": SMALL}
    source = factory(cuts(seed), X, y, weight)
    model.set_params(average=bool(model.average), learning_rate="constant", eta0=0.01)
    expected = clone(model).fit(source, **how)
    first = {"classes": np.unique(y)} if isinstance(model, SGDClassifier) else {}
    model.partial_fit(source, **first, **how)
    for _ in range(2):
        model.partial_fit(source, **how)
    assert state(model) == state(expected)


@pytest.mark.parametrize("layout", ["float32", "csr32"])
def test_small_pools_reach_the_loss_of_arrays(layout):
    base, scores = table(6000)
    X, y = stored(layout, base), classes_of(scores, 2)
    model = SGDClassifier("log_loss", max_iter=20, tol=None, random_state=0, sampling="block")
    expected = clone(model).fit(X, y).loss_curve_[-1]
    model.fit(factory([], X, y), pool_bytes=SMALL)
    assert model.loss_curve_[-1] == pytest.approx(expected, abs=1e-3)


def log_loss(model, X, y) -> float:
    z = model.decision_function(X) * np.where(y == model.classes_[1], 1.0, -1.0)
    return float(np.logaddexp(0.0, -z).mean())


def test_storage_that_is_sorted_by_class_costs_little(tmp_path):
    base, scores = table(20_000, 10, seed=3)
    y = classes_of(scores, 2)
    rows = np.argsort(y, kind="stable")
    X, y = base[rows].astype(np.float32), y[rows]
    parameters = {"max_iter": 30, "tol": None, "random_state": 0}
    in_memory = SGDClassifier("log_loss", sampling="reshuffle", **parameters).fit(X, y)
    streamed = SGDClassifier("log_loss", **parameters)
    streamed.fit(factory([], X, y), cache=tmp_path / "cache", pool_bytes=len(X) * 48 // 10)
    assert log_loss(streamed, X, y) == pytest.approx(log_loss(in_memory, X, y), abs=1e-3)


@pytest.mark.parametrize("pool_bytes", [SMALL, 1 << 30])
def test_rows_of_weight_zero_change_nothing(tmp_path, pool_bytes):
    base, scores = table()
    y = classes_of(scores, 2)
    weight = np.ones(N)
    weight[::3] = 0.0
    other = y.copy()
    other[::3] = 1 - other[::3]
    models = [
        SGDClassifier(max_iter=3, tol=None, random_state=0).fit(
            factory([], base, targets, weight), cache=tmp_path / str(k), pool_bytes=pool_bytes
        )
        for k, targets in enumerate((y, other))
    ]
    assert state(models[0]) == state(models[1])


# Rows held out.


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
@pytest.mark.parametrize(("rate", "eta0"), [("constant", 0.01), ("auto", None)])
def test_held_out_rows_are_never_trained_on(tmp_path, rate, eta0):
    base, scores = table()
    X, y = base.astype(np.float32), classes_of(scores, 2)
    model = SGDClassifier(
        max_iter=1,
        tol=1e-9,
        early_stopping=True,
        validation_fraction=0.2,
        random_state=5,
        learning_rate=rate,
        eta0=eta0,
    )
    pool = 8 * SMALL  # rows held out take an eighth of it
    model.fit(factory([], X, y), cache=tmp_path / "cache", pool_bytes=pool)
    stream = TableStream(Cache(tmp_path / "cache"), pool)
    stream.begin(model, 5, 0.2)
    held = stream._are_held_out(np.arange(N))
    stream.close()
    assert 0.01 * N < held.sum() < 0.25 * N
    other = y.copy()
    other[held] = 1 - other[held]  # what they are changes scores of validation alone
    changed = clone(model).fit(factory([], X, other), cache=tmp_path / "other", pool_bytes=pool)
    np.testing.assert_array_equal(model.coef_, changed.coef_)
    scores_of = model.history_["validation_score"], changed.history_["validation_score"]
    np.testing.assert_allclose(np.add(*scores_of), 1.0, rtol=1e-6)
    accuracy = np.mean(model.predict(X[held]) == y[held])
    assert model.history_["validation_score"][-1] == pytest.approx(accuracy)


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_held_out_rows_have_their_weights(tmp_path, scoring):
    base, scores = table()
    X, y = base.astype(np.float32), classes_of(scores, 2)
    weight = np.random.default_rng(0).choice([0.0, 0.5, 3.0], N)
    options = {"validation_fraction": 0.2, "random_state": 5, "scoring": scoring}
    model = SGDClassifier(max_iter=1, tol=1e-9, early_stopping=True, **options)
    pool = 8 * SMALL
    model.fit(factory([], X, y, weight), cache=tmp_path / "cache", pool_bytes=pool)
    stream = TableStream(Cache(tmp_path / "cache"), pool)
    stream.begin(model, 5, 0.2)
    held = stream._are_held_out(np.arange(N))
    stream.close()
    expected = model.score(X[held], y[held], weight[held])
    assert model.history_["validation_score"][-1] == pytest.approx(expected)
    assert expected != pytest.approx(model.score(X[held], y[held]))


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_validation_rows_of_a_file(tmp_path):
    parquet, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    base, scores = table()
    y = classes_of(scores, 2, "str")
    columns = {f"x{j}": base[:, j] for j in range(D)}
    rows = pa.table(columns | {"y": y})
    parquet.write_table(rows.slice(0, 1200), tmp_path / "train.parquet", row_group_size=100)
    parquet.write_table(rows.slice(1200), tmp_path / "test.parquet")
    model = SGDClassifier(max_iter=1, random_state=0, early_stopping=True)
    model.fit(
        tmp_path / "train.parquet", target="y", X_val=tmp_path / "test.parquet", pool_bytes=SMALL
    )
    accuracy = np.mean(model.predict(base[1200:]) == y[1200:])
    assert model.history_["validation_score"][-1] == pytest.approx(accuracy)
    assert model.score(tmp_path / "test.parquet") == pytest.approx(accuracy)


# Predictions.


@pytest.mark.parametrize("kind", ["int", "str", "bool"])
@pytest.mark.parametrize("layout", ["float32", "csr32"])
def test_predictions_of_sources(layout, kind):
    base, scores = table()
    X, y = stored(layout, base), classes_of(scores, 2, kind)
    model = SGDClassifier("log_loss", max_iter=3, tol=None, random_state=0)
    source = factory([100, 700], X, y)
    model.fit(source, pool_bytes=SMALL)
    for method in ("predict", "predict_proba", "decision_function", "predict_log_proba"):
        of_source, of_array = getattr(model, method)(source), getattr(model, method)(X)
        assert of_source.dtype == of_array.dtype
        if method == "predict":
            np.testing.assert_array_equal(of_source, of_array)
        else:
            np.testing.assert_allclose(of_source, of_array, rtol=1e-5, atol=1e-6)
    assert model.score(source) == pytest.approx(model.score(X, y))
    assert {*model.predict(X).tolist()} <= {*y.tolist()}


def test_a_regressor_of_two_outputs(tmp_path):
    base, scores = table()
    y = np.stack([scores, -scores], axis=1)
    source = factory([100, 700], base, y)
    model = SGDRegressor(max_iter=20, tol=None, random_state=0)
    model.fit(source, cache=tmp_path / "cache", pool_bytes=SMALL)
    np.testing.assert_allclose(model.predict(source), model.predict(base), rtol=1e-9)
    assert model.score(source) == pytest.approx(model.score(base, y))
    assert model.score(source) > 0.3


# Errors.


def block(k: int, X=None, y=None):
    base, scores = table()
    rows = slice(100 * k, 100 * k + 100)
    X = base[rows] if X is None else X
    return X, (classes_of(scores, 2)[rows] if y is None else y)


def late(X=None, y=None):
    """Blocks, of which the last one is something else."""
    return lambda: (block(k) if k < 9 else block(k, X, y) for k in range(10))


def one_class():
    return ((block(k)[0], np.zeros(100, dtype=int)) for k in range(10))


WRONG = {
    "no labels": (lambda: (block(k)[0] for k in range(10)), {}, ValueError, "y"),
    "one class": (one_class, {}, ValueError, "class"),
    "NaN": (late(X=np.full((100, D), np.nan)), {}, ValueError, "block 9, row 0: X is NaN"),
    "width": (late(X=np.ones((100, D + 1))), {}, ValueError, "block 9 has 8 columns"),
    "NaN in y": (late(y=np.full(100, np.nan)), {}, ValueError, "block 9, row 0: y is NaN"),
    "rows": (late(y=np.zeros(99, dtype=int)), {}, ValueError, "block 9: X has 100 rows, but y 99"),
    "strings": (late(y=np.full(100, "a")), {}, ValueError, "y must be of one kind"),
    "replacement": (late(), {"sampling": "replacement"}, ValueError, "sampling='replacement'"),
    "certificate": (late(), {"certificate": True}, ValueError, "certificate=True"),
    "no rows": (lambda: iter([]), {}, ValueError, "X"),
}


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_sources_are_typed_errors_that_leave_the_estimator_as_it_was(
    tmp_path, temporary, name, fitted
):
    source, parameters, kind, message = WRONG[name]
    model = SGDClassifier(max_iter=3, tol=None, random_state=0)
    if fitted:
        model.fit(late(), pool_bytes=SMALL)
    model.set_params(**parameters)
    before = dict(vars(model))
    for how in ({}, {"cache": tmp_path / "cache"}):
        with pytest.raises(kind, match=message):
            model.fit(source, pool_bytes=SMALL, **how)
        assert vars(model) == before
        assert [*temporary.iterdir()] == []
        if (tmp_path / "cache").exists():  # the rows were sound
            assert Cache(tmp_path / "cache").rows == 1000
        assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize(
    ("X", "how", "kind", "message"),
    [
        (table()[0], {"cache": None}, TypeError, "cache"),
        (table()[0], {"pool_bytes": 10}, TypeError, "cache|source"),
        (table()[0], {"target": "y"}, TypeError, "target"),
        (late(), {"target": "y"}, (TypeError, ValueError), "target"),
        (late(), {"pool_bytes": 0}, ValueError, "pool_bytes"),
        (late(), {"pool_bytes": 1.5}, (TypeError, ValueError), "pool_bytes"),
        (late(), {"cache": 7}, TypeError, "path|str|int"),
        ([block(0)].__iter__(), {"cache": None}, ValueError, "iterator"),
        (late(), {"y": np.ones(3)}, (TypeError, ValueError), "y"),
        (late(), {"unknown": 1}, TypeError, "unknown"),
    ],
)
def test_options_that_do_not_suit_are_refused(X, how, kind, message):
    model = SGDClassifier()
    before = dict(vars(model))
    with pytest.raises(kind, match=message):
        model.fit(X, **how)
    assert vars(model) == before


@pytest.mark.parametrize("fitted", [False, True])
def test_a_file_that_vanishes_between_two_epochs(tmp_path, fitted):
    base, scores = table()
    source = factory([], base, classes_of(scores, 2))
    how = {"cache": tmp_path / "cache", "pool_bytes": SMALL}
    model = SGDClassifier(max_iter=5, tol=None, random_state=0)
    if fitted:
        model.fit(source, **how)

    before = dict(vars(model))
    plan, name = PoolReader.plan, "X-000004.npy"

    def vanishing(self, epoch):
        if epoch == 3:
            (tmp_path / "cache" / name).unlink(missing_ok=True)
        return plan(self, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PoolReader, "plan", vanishing)
        with pytest.raises(ValueError, match=name):
            model.fit(source, **how)
    assert vars(model) == before
    with pytest.raises(ValueError, match=name):
        model.fit(source, **how)
    assert vars(model) == before


def test_a_cache_that_is_there_is_used_and_checked(tmp_path):
    base, scores = table()
    source = open_source(factory([], base, scores))
    folder = tmp_path / "cache"
    write_cache(source, folder, block_bytes=2048)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    SGDRegressor(max_iter=2, tol=None).fit(source, cache=os.fspath(folder), pool_bytes=SMALL)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(ValueError, match="made of something else"):
        SGDRegressor().fit(factory([], base[:, :4], scores), cache=folder)


# Going on.


@pytest.mark.parametrize("layout", ["float32", "csr32"])
@pytest.mark.parametrize("pool_bytes", [SMALL, 1 << 30])
def test_a_fit_that_is_interrupted_at_the_end_of_an_epoch_goes_on(tmp_path, layout, pool_bytes):
    base, scores = table()
    source = factory([300], stored(layout, base), classes_of(scores, 2))
    how = {"cache": tmp_path / "cache", "pool_bytes": pool_bytes}
    parameters = {"learning_rate": "constant", "eta0": 0.01, "momentum": 0.5, "random_state": 1}
    expected = SGDClassifier(max_iter=5, tol=None, **parameters).fit(source, **how)
    model = SGDClassifier(max_iter=5, tol=None, **parameters)
    pools = PoolReader.pools

    def interrupted(self, epoch, row):
        if epoch == 2:
            raise KeyboardInterrupt
        return pools(self, epoch, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PoolReader, "pools", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(source, **how)
    assert model.n_iter_ == 2
    model.set_params(max_iter=3).fit(source, resume=True, **how)
    for name in ("coef_", "intercept_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))


def test_an_outlier_detector(tmp_path):
    base, _ = table()
    parameters = {"max_iter": 3, "tol": None, "random_state": 0, "sampling": "block"}
    expected = SGDOneClassSVM(**parameters).fit(base)
    how = {"cache": tmp_path / "cache", "pool_bytes": 1 << 30}
    model = SGDOneClassSVM(**parameters).fit(factory([40], base), **how)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.offset_, expected.offset_)
    np.testing.assert_array_equal(model.predict(factory([9], base)), expected.predict(base))


@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_sorted_storage_without_a_cache_is_a_warning(order):
    """Only rows that follow each other are shuffled there; with a cache they come from all over."""
    X = np.random.default_rng(0).normal(size=(4000, 3))
    rows = np.argsort(X[:, 0]) if order == "sorted" else np.arange(4000)
    X = X[rows]

    def blocks():
        for first in range(0, 4000, 500):
            yield X[first : first + 500], X[first : first + 500, 0]

    def found(**options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            SGDRegressor(max_iter=2, tol=None, random_state=0).fit(blocks, **options)
        return [w for w in caught if "lie together" in str(w.message)]

    assert len(found(cache=None, pool_bytes=20_000)) == (order == "sorted")
    assert not found(pool_bytes=20_000)


def test_the_bar_moves_within_an_epoch(monkeypatch, capfd):
    monkeypatch.setattr("fastsgd.solver.epoch_lines.BAR_DELAY", 0.0)
    moves = []
    monkeypatch.setattr(
        "fastsgd.solver.epoch_lines.EpochLines._move", lambda self, at: moves.append(at)
    )
    X, scores = table()
    model = SGDClassifier(verbose=1, max_iter=2, tol=None, random_state=0)
    model.fit(factory(cuts(0), X, classes_of(scores, 2)), pool_bytes=SMALL)
    n = len(X)
    assert moves == sorted(moves)
    assert moves[-1] == 2 * n
    assert n in moves
    assert len([at for at in moves if 0 < at < n]) >= 2
    assert capfd.readouterr().out.count("epoch") == 2
