"""Rounds on shards, without a cluster: what one shard, and the mean of several, come to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastsgd import SGDClassifier, SGDRegressor
from fastsgd.distributed import Part, combine
from fastsgd.distributed.executors import ExecutorEngine, combined, merged, merged_all
from fastsgd.distributed.shards import Shard, counted
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 7))
Y = X @ RNG.normal(size=7) + 0.1 * RNG.normal(size=600)
FALLING = {"learning_rate": "invscaling", "eta0": 0.05, "power_t": 0.5, "tol": None}


def trained(model, shards, X=X, y=Y, local_epochs=1.0, executor=None):
    parts = np.array_split(np.arange(X.shape[0]), shards)
    of = [Shard(i, X[rows], y[rows], None) for i, rows in enumerate(parts)]
    stream = ShardStream(ExecutorEngine(executor, of), local_epochs)
    sample = stream.sample()
    return model.fit(Rows(sample.X, sample.y, sample.sample_weight, stream))


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("more", [{}, {"momentum": 0.9}, {"average": True}])
def test_one_shard_is_the_fit_of_a_table(batch_size, more):
    """Also its rate, which falls with the updates that were counted."""
    options = {**FALLING, **more, "batch_size": batch_size, "max_iter": 3, "random_state": 1}
    options["eta0"] /= 10.0 if more.get("momentum") else 1.0
    one, whole = trained(SGDRegressor(**options), 1), SGDRegressor(**options).fit(X, Y)
    np.testing.assert_allclose(one.coef_, whole.coef_, rtol=1e-11)
    np.testing.assert_allclose(one.intercept_, whole.intercept_, rtol=1e-10)
    np.testing.assert_allclose(one.history_["loss"], whole.history_["loss"], rtol=1e-11)
    np.testing.assert_allclose(one.history_["learning_rate"], whole.history_["learning_rate"])
    assert one.t_ == whole.t_


def test_updates_are_those_of_a_shard():
    model = trained(SGDRegressor(**FALLING, max_iter=4, random_state=1), 3)
    assert model.t_ == 1 + 4 * 200
    assert model.history_["learning_rate"][-1] == pytest.approx(0.05 / 800**0.5)


@pytest.mark.parametrize("local_epochs", [1.0, 0.25])
def test_no_bit_depends_on_who_runs_a_shard(local_epochs):
    options = {**FALLING, "max_iter": 3, "random_state": 1}
    alone = trained(SGDRegressor(**options), 5, local_epochs=local_epochs)
    with ThreadPoolExecutor(3) as executor:
        beside = trained(SGDRegressor(**options), 5, local_epochs=local_epochs, executor=executor)
    assert alone.coef_.tobytes() == beside.coef_.tobytes()


def part(value: float) -> Part:
    vectors = np.full((1, 1, 2), value) * [1.0, 1e-9]
    sums = np.full((4, 1), value)
    return Part(1.0, vectors, sums[:1], None, np.zeros(1, dtype=np.int64), sums, value, False)


def pairs(parts: list[Part]) -> Part:
    """Pairs of neighbours, then pairs of pairs, as they are written down."""
    while len(parts) > 1:
        neighbours = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [combine(*both) if len(both) == 2 else both[0] for both in neighbours]
    return parts[0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 1000))
def test_sums_do_not_depend_on_how_shards_are_grouped(groups, seed):
    n = len(groups)
    parts = [part(value) for value in np.random.default_rng(seed).normal(size=n)]
    of = [{(0, i): parts[i] for i in range(n) if groups[i] == g} for g in range(5)]
    found = merged_all([merged(sums, n) for sums in of], n)
    assert len(found) == 1
    (total,) = found.values()
    for one in (total, combined(parts)):
        assert one.vectors.tobytes() == pairs(parts).vectors.tobytes()
        assert (one.weight, one.rate) == (n, parts[0].rate)


def test_values_of_features_are_counted_once_where_they_are_few():
    rng = np.random.default_rng(0)
    many = sp.random_array((50, 4), density=0.6, rng=rng, format="csr")
    few = sp.random_array((2, 400), density=0.1, rng=rng, format="csr")
    np.testing.assert_array_equal(
        counted(Shard(0, many, None, None)).counts, (many != 0).sum(axis=0)
    )
    assert counted(Shard(0, few, None, None)).counts is None
    assert counted(Shard(0, many.toarray(), None, None)).counts is None


def test_a_feature_has_the_mean_of_the_shards_that_have_it():
    """One that is in no row keeps its weight; one that is in one shard has that shard's."""
    table = np.abs(X[:, :4]).copy()
    table[:, 1] = 0.0  # nowhere
    table[300:, 2] = 0.0  # in the first of two shards
    options = {**FALLING, "max_iter": 1, "random_state": 1, "penalty": None}
    start = {"coef_init": np.array([0.0, 5.0, 0.0, 0.0])}

    def fitted(X, y, shards):
        parts = np.array_split(np.arange(X.shape[0]), shards)
        of = [Shard(i, X[rows], y[rows], None) for i, rows in enumerate(parts)]
        stream = ShardStream(ExecutorEngine(None, of), 1.0)
        sample = stream.sample()
        rows = Rows(sample.X, sample.y, None, stream)
        return SGDRegressor(**options).fit(rows, **start).coef_

    both = fitted(sp.csr_array(table), Y, 2)
    assert both[1] == 5.0
    dense = fitted(table, Y, 2)
    np.testing.assert_allclose(both[[0, 3]], dense[[0, 3]], rtol=1e-9)  # in all rows of both
    assert abs(both[2]) > 1.5 * abs(dense[2]) > 0.0  # there the other shard's 0 counts too


def test_more_shards_start_with_longer_steps():
    """The mean of S models has an S-th of their noise."""
    y = (Y > 0).astype(int)
    options = {"loss": "log_loss", "max_iter": 50, "tol": None, "random_state": 1}
    fractions = [
        trained(
            SGDClassifier(**options), shards, np.tile(X, (20, 1)), np.tile(y, 20)
        ).result_.eta0.item()
        for shards in (1, 8)
    ]
    assert fractions[1] > 2.0 * fractions[0]
