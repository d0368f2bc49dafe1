"""Dense X as it is stored: float16 and uint8 read in place, (x - offset) * scale in the step."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from problems import (
    ISAS,
    LANE_COUNTS,
    STORED_DTYPES,
    TOLERANCE,
    difference,
    lanes,
    table,
    train_core,
    train_twin,
)

from fastsgd import _core, solver
from fastsgd.optimizers import SGD
from fastsgd.problem import STORED, Data, Lanes, Settings

CONVERTED = [dtype for dtype in STORED if dtype.itemsize <= 2]
"""Stored types that are not computed in."""


def scores_of(data, k, isa):
    """z of all rows, at weights of 1."""
    of, settings = Lanes(k, alpha=0.0, eta0=1.0), Settings()
    state = solver.State(data, of, settings)
    state.set_weights(np.ones((k, data.d)), np.zeros(k))
    z = _core.Run(data, of, settings, state, isa=isa).score(np.arange(data.n))
    assert (z == z[:, :1]).all(where=~np.isnan(z))
    return z[:, 0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", CONVERTED, ids=str)
def test_every_number_is_read_exactly(dtype, isa):
    """Subnormals, infinities and NaN too; one by one, and in blocks of 16 with a rest."""
    stored = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)
    offset, scale = np.float32(0.3), np.float32(1.7)
    with np.errstate(all="ignore"):  # ARM's processors tell of signalling NaN
        exact = stored.astype(np.float32)
        scaled = (exact - offset) * scale
    for d in (1, 16, 19):
        rows = np.arange(len(stored))
        X = np.zeros((len(stored), d), dtype=stored.dtype)
        X[rows, rows % d] = stored
        zero_but = Data(X, np.zeros(len(stored)))
        for k in LANE_COUNTS:
            assert_array_equal(scores_of(zero_but, k, isa), exact)
        if d == 1:
            data = Data(X, np.zeros(len(stored)), None, [offset], [scale])
            assert_array_equal(scores_of(data, 1, isa), scaled)


@st.composite
def stored_problems(draw):
    """Tables of any shape and stored dtype, with and without a scale."""
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, 3, (n, d)).astype(draw(st.sampled_from(STORED_DTYPES)))
    scaling = rng.normal(size=d), rng.uniform(0.1, 0.5, d)
    chosen = draw(st.sampled_from([(), scaling, (scaling[0], None), (None, scaling[1])]))
    return Data(X, rng.normal(size=(n, 2)), None, *chosen)


@given(stored_problems(), st.sampled_from(LANE_COUNTS), st.sampled_from((1, 2, 9)))
@example(Data(np.zeros((1, 1), dtype=np.uint8), [1.0], None, [-1.0], [2.0]), 1, 1)
@hypothesis_settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_tables_of_any_shape(data, k, batch_size):
    """Blocks of 16 features and what is left over; the next row from its own buffer."""
    of = Lanes(k, alpha=0.01, eta0=0.2 / data.d, target=np.arange(k) % data.y.shape[1])
    settings = Settings(batch_size=batch_size, seed=5)
    twin = train_twin(data, of, settings, prepared=True)
    for isa in ISAS:
        core = train_core(data, of, settings, isa, prepared=True)
        assert difference(core, twin, settings) < TOLERANCE[data.dtype.type]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", LANE_COUNTS)
@pytest.mark.parametrize("dtype", (np.float16, np.uint8))
def test_the_same_numbers_give_the_same_bits(dtype, k, isa):
    """As float32 they are, scaled or not; also where a run stops after every row."""
    of = lanes(k, "squared_error")
    for scaled in (False, True):
        for batch_size in (1, 5):
            settings = Settings(batch_size=batch_size, optimizer=SGD(0.5), average=3)
            data = [
                table(counts=True).data(each, "dense", sign=False, scaled=scaled)
                for each in (dtype, np.float32)
            ]
            plain = train_core(data[1], of, settings, isa)
            for budget in (1, 10**9):
                core = train_core(data[0], of, settings, isa, budget=budget)
                for a, b in zip(core.weights(settings), plain.weights(settings), strict=True):
                    assert a.tobytes() == b.tobytes()


def test_rows_are_the_features():
    """What every part of the library reads: by numbers, as slices, in another dtype."""
    examples = table(counts=True)
    data = examples.data(np.uint8, "dense", sign=False, scaled=True)
    features = (examples.X - examples.offset) * examples.scale
    assert np.ptp(features) > 1.0
    assert_array_equal(data.rows(slice(3, 9)), features[3:9])
    assert_array_equal(data.rows([5, 2]), features[[5, 2]])
    assert data.rows([5], np.float32).dtype == np.float32
    assert data.largest() == pytest.approx(np.abs(features).max(), rel=1e-6)
    plain = examples.data(np.float16, "dense", sign=False)
    assert_array_equal(plain.rows(slice(None)), examples.X)


@pytest.mark.parametrize(
    ("arguments", "says"),
    (
        ({"scale": [1.0, np.nan]}, "scale contains NaN"),
        ({"offset": [np.inf, 1.0]}, "offset contains NaN"),
        ({"scale": [1.0, 1e39]}, "scale contains NaN or infinity"),  # in float32
        ({"scale": [1.0]}, "scale must have shape"),
        ({"offset": [[1.0, 1.0]]}, "offset must have shape"),
        ({"offset": 0.0}, "offset must have shape"),
    ),
)
def test_a_bad_scale_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        Data(np.ones((3, 2), dtype=np.uint8), np.ones(3), **arguments)


def test_scales_need_dense_rows():
    data = table().data(np.float64, "csr32", sign=False)
    with pytest.raises(ValueError, match="need dense X"):
        Data(data.X, data.y, None, np.zeros(data.d))


@pytest.mark.parametrize("layout", ("csr32", "csr64"))
@pytest.mark.parametrize("dtype", (np.float16, np.uint8))
def test_sparse_rows_hold_floats(dtype, layout):
    X = table(counts=True).data(np.float32, layout, sign=False).X
    X.data = X.data.astype(dtype)
    with pytest.raises(ValueError, match="X must be float64 or float32"):
        Data(X, np.zeros(X.shape[0]))


@pytest.mark.parametrize("change", (np.asfortranarray, lambda X: X[:, ::2], lambda X: X[::-1]))
def test_the_core_takes_no_strides(change):
    """Estimators convert such arrays; the core does not guess."""
    X = change(np.ones((4, 6), dtype=np.uint8))
    data, of = Data(X, np.ones(4)), Lanes(1, alpha=0.0, eta0=0.1)
    with pytest.raises(ValueError, match="C-ordered"):
        _core.Run(data, of, Settings(), solver.State(data, of, Settings()))
