"""The door of the core checks what comes in: saved states, orders, arrays, other states."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from problems import DTYPES, LAYOUTS, bits, lanes, table, train_core

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, _core, solver
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.sampling import SAMPLINGS
from fastsgd.sampling import order as order_of

# ---------------------------------------------------------------- saved states

KINDS = {  # layout, lanes, penalty, settings
    "plain": ("dense", 1, "l2", {}),
    "lanes, batches": ("dense", 3, "l2", {"batch_size": 5}),
    "L1": ("csr32", 3, "l1", {}),
    "history": ("csr32", 3, "l2", {"optimizer": SGD(0.9), "average": 3}),
    "history of one lane": ("csr64", 1, "l2", {"optimizer": SGD(0.9), "batch_size": 5}),
}


def trained(kind, epochs=2):
    """Problem and state in the middle of an epoch."""
    layout, k, penalty, options = KINDS[kind]
    problem = (
        table().data(np.float64, layout, sign=False),
        lanes(k, "squared_error", penalty),
        Settings(**options),
    )
    state = train_core(*problem, epochs=epochs)
    solver.run_epoch(*problem, state, batches=3)
    return problem, state


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_comes_back_bit_by_bit(kind):
    problem, state = trained(kind)
    again = _core.State.__new__(_core.State)
    again.__setstate__(state.__getstate__())
    for other in (again, copy.deepcopy(state), pickle.loads(pickle.dumps(state)), state.copy()):
        assert bits(other, problem[2]) == bits(state, problem[2])
    assert ("span_products" in state.__getstate__()["arrays"]) == ("history" in kind)
    if "history" in kind:
        assert state.pending > 0
    solver.run_epoch(*problem, state)
    solver.run_epoch(*problem, again)
    assert bits(again, problem[2]) == bits(state, problem[2])


def put(name, value):
    """A field of another value."""
    return lambda fields: {**fields, name: value}


def change(name, index, value):
    """One number of an array."""

    def changed(fields):
        array = fields["arrays"][name].copy()
        array.ravel()[index] = value
        return {**fields, "arrays": {**fields["arrays"], name: array}}

    return changed


def array(name, make):
    """Another array."""
    return lambda fields: {
        **fields,
        "arrays": {**fields["arrays"], name: make(fields["arrays"][name])},
    }


def without(name):
    return lambda fields: {
        **fields,
        "arrays": {each: a for each, a in fields["arrays"].items() if each != name},
    }


NUMBERS = tuple(_core.PER_LANE)
CRAFTED = {
    **{
        f"{name}={value!r}": put(name, value)
        for name in ("epoch", "row", "batch_row", "batch_nnz", "pending")
        for value in (-1, 2**63, 2**70, 0.5, "1", None, True)
    },
    "pending beyond the history": put("pending", 256),
    "a step of a span that is not planned": change("span_position", 0, 600),
    "a step before the first": change("span_position", 0, -1),
    "a plan too long": change("span_position", 5, 2**40),
    "last update before the first": change("last_update", 3, -1),
    "last update of the future": change("last_update", 3, 64),
    **{f"dtype {dtype!r}": put("dtype", dtype) for dtype in ("<i4", "<f2", ">f8", "O", 8, None)},
    **{
        f"sizes {sizes!r}": put("sizes", sizes)
        for sizes in (
            (19, 3, 3),
            (19, 3, 3, 9),
            (19, 3, 0, 0),
            (-19, 3, 3, 3),
            (20, 3, 3, 3),
            (2**47, 3, 3, 3),
            (19, 3, 2, 3),
            "1933",
            None,
        )
    },
    **{
        f"without {name}": without(name)
        for name in (
            *("w", "intercept", "t", "grad_intercept", "numbers"),
            *("span_products", "span_steps", "span_position", "last_update"),
        )
    },
    "another array": lambda fields: {
        **fields,
        "arrays": {**fields["arrays"], "x": np.zeros(3)},
    },
    "a name that is none": lambda fields: {**fields, "arrays": {**fields["arrays"], 7: None}},
    "no arrays": put("arrays", None),
    "a list for an array": array("w", lambda a: a.tolist()),
    "flat": array("w", np.ravel),
    "float32": array("w", lambda a: a.astype(np.float32)),
    "another byte order": array("w", lambda a: a.astype(">f8")),
    "objects": array("w", lambda a: a.astype(object)),
    "int32 counts": array("t", lambda a: a.astype(np.int32)),
    "negative count": change("t", 0, -1),
    **{
        f"{name} {value}": change("numbers", 8 * NUMBERS.index(name) + lane, value)
        for name, lane, value in (
            ("scale", 0, 0.0),
            ("scale", 1, -1.0),
            ("scale", 2, np.nan),
            ("scale", 0, np.inf),
            ("active", 0, 0.5),
            ("active", 1, np.nan),
            ("active", 3, 1.0),
            ("rate_factor", 0, -1.0),
            ("rate_factor", 0, np.nan),
            ("batch_count", 0, -1.0),
            ("l1_cumulative", 0, np.nan),
        )
    },
    "not a dictionary": lambda fields: [*fields.items()],
    "a field too many": put("x", 1),
    "a field too few": lambda fields: {n: v for n, v in fields.items() if n != "pending"},
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_state_is_refused(crafted):
    _, state = trained("history")
    fields = state.__getstate__()
    _core.State.__new__(_core.State).__setstate__(fields)
    new = _core.State.__new__(_core.State)
    with pytest.raises(ValueError, match="saved state"):
        new.__setstate__(CRAFTED[crafted](fields))
    with pytest.raises(ValueError, match="never initialised"):
        new.copy()


def test_a_saved_count_may_be_as_large_as_the_core_allows():
    """Up to 2**62: the bound is no power of C integers, which may overflow a C long."""
    _, state = trained("history")
    fields = state.__getstate__()
    _core.State.__new__(_core.State).__setstate__({**fields, "epoch": 2**62})
    with pytest.raises(ValueError, match=rf"epoch as an integer in \[0, {2**62}\]"):
        _core.State.__new__(_core.State).__setstate__({**fields, "epoch": 2**62 + 1})


@pytest.mark.parametrize(
    "row",
    ({"row": 24}, {"row": 22, "batch_row": 1}, {"batch_row": 5}, {"row": 23, "batch_row": 1}),
)
def test_a_run_refuses_a_state_beyond_its_rows(row):
    """23 rows in batches of 5."""
    problem, state = trained("lanes, batches")
    new = _core.State.__new__(_core.State)
    new.__setstate__({**state.__getstate__(), **row})
    with pytest.raises(ValueError, match="state is at row"):
        _core.Run(*problem, new)


def test_a_run_looks_where_another_left_the_state():
    """The state of an open batch of 20 rows is none of a run of 10 rows."""
    X, y = table().X, table().y
    of, settings = lanes(1, "squared_error"), Settings(batch_size=23, n_jobs=2)
    state = solver.State(Data(X, y), of, settings)
    other = _core.Run(Data(X[:10], y[:10]), of, settings, state)
    saved = state.__getstate__()
    long = _core.State.__new__(_core.State)
    long.__setstate__({**saved, "batch_row": 20})
    run = _core.Run(Data(X, y), of, settings, long)
    with pytest.raises(ValueError, match="open batch"):
        _core.Run(Data(X[:10], y[:10]), of, settings, long)
    assert run.advance(10**9)
    run = _core.Run(Data(X, y), of, replace(settings, batch_size=1), state)
    assert not run.advance(0, 0)
    run.advance(10**9, 15)
    with pytest.raises(ValueError, match="row 15"):
        other.advance(10**9)


def test_a_state_is_made_once():
    """A Run may hold pointers to its arrays."""
    problem, state = trained("plain")
    with pytest.raises(ValueError, match="new object"):
        state.__setstate__(state.__getstate__())
    with pytest.raises(ValueError, match="once"):
        state.__init__(*problem)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_pickles_of_a_state(kind):
    """A byte of a pickle changed: an exception, or a state that trains without a crash."""
    problem, state = trained(kind)
    whole, rng, went_on = pickle.dumps(state), np.random.default_rng(0), 0
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            again = pickle.loads(bytes(data))
            with np.errstate(all="ignore"):
                solver.run_epoch(*problem, again)
        except Exception:
            continue
        went_on += 1
    assert went_on > 0


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor, SGDOneClassSVM))
@pytest.mark.parametrize("sparse", (False, True))
@pytest.mark.parametrize("how", ("skops", "pickle", "deepcopy"))
def test_a_model_that_was_saved_goes_on(how, sparse, estimator):
    """And is saved again: bits as of one that never was."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    X = sp.csr_array(X * (X > 0.0)) if sparse else X
    model = estimator(momentum=0.9, average=True, random_state=0, batch_size=4)
    arguments = (X,) if estimator is SGDOneClassSVM else (X, y)
    first = (*arguments, [0, 1, 2]) if estimator is SGDClassifier else arguments
    model.partial_fit(*first)
    again = model
    for _ in range(2):
        if how == "skops":
            import skops.io as skops

            data = skops.dumps(again)
            again = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
        else:
            again = pickle.loads(pickle.dumps(again)) if how == "pickle" else copy.deepcopy(again)
        model.partial_fit(*arguments)
        again.partial_fit(*arguments)
        assert np.array_equal(again.coef_, model.coef_)
        assert again.t_ == model.t_


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_chunks_of_an_order_must_rise_from_0_to_n(mode):
    settings = Settings(sampling=mode)
    for chunks in ((5000,), (-5000,), (70, 5000), (7, 3), (-1,), (11,)):
        with pytest.raises(ValueError, match="chunks"):
            _core.order(settings, 10, 0, chunks)
    for n, epoch in ((-1, 0), (10, -1)):
        with pytest.raises(ValueError, match="n="):
            _core.order(settings, n, epoch)
    assert np.array_equal(_core.order(settings, 100, 3, (0, 7, 7, 99)), order_of(mode, 100, 0, 3))


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", (*DTYPES, np.float16, np.int32, np.uint8, bool))
def test_row_norms_of_any_numbers(dtype):
    coef = np.random.default_rng(0).integers(0, 9, (5, 21)).astype(dtype)
    for each in (coef, np.asfortranarray(coef), coef[::2], coef[:, ::2], coef[::-1], coef[:, :0]):
        wide = np.abs(each.astype(np.float64))
        np.testing.assert_allclose(_core.row_norms(each, False), wide.sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(_core.row_norms(each, True), (wide**2).sum(axis=1), rtol=1e-6)
    for wrong in (coef[0], coef.tolist(), coef.astype(complex), coef.astype(object), None):
        with pytest.raises(ValueError, match="coef"):
            _core.row_norms(wrong, True)


@pytest.mark.parametrize("batch_size", (1, 5, 23))
@pytest.mark.parametrize("k", (1, 3, 19))
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_structure_that_only_seems_checked(layout, k, batch_size):
    """``checked=True`` is a promise about indices: where it is broken, an error, no crash."""
    X = table().data(np.float64, layout, sign=False).X
    y = table().y
    highest = np.iinfo(X.indices.dtype).max
    for name, position, value in (
        ("indices", 5, highest),
        ("indices", 5, -1),
        ("indices", 5, X.shape[1]),
        ("indptr", 3, highest),
        ("indptr", 3, -1),
        ("indptr", -1, highest),
        ("indptr", 0, 1),
    ):
        for penalty, options in (("l2", {}), ("l1", {}), ("elasticnet", {}), ("l2", MOMENTUM)):
            bad = X.copy()
            getattr(bad, name)[position] = value
            problem = (
                Data(bad, y, checked=True),
                lanes(k, "squared_error", penalty),
                Settings(batch_size=batch_size, **options),
            )
            with pytest.raises(ValueError, match="X "):
                train_core(*problem)


@pytest.mark.parametrize("layout", ("csr32", "csr64"))
def test_index_arrays_are_read_before_a_run_unless_they_are_known_to_be_sound(layout):
    """Then the first rows are trained on, and an index that is out of range ends the run."""
    X = table().data(np.float64, layout, sign=False).X.copy()
    X.indices[-1] = X.shape[1]
    for known in ({}, {"checked": False}, {"checked": True}):
        problem = Data(X, table().y, **known), lanes(1, "squared_error"), IN_ORDER
        state = solver.State(*problem)
        with pytest.raises(ValueError, match="X "):
            solver.run_epoch(*problem, state)
        assert (state.t[0] > 0) == known.get("checked", False)


IN_ORDER = Settings(sampling="sequential")
MOMENTUM = {"optimizer": SGD(0.9), "average": 3}


def test_dtypes_of_index_arrays_must_agree():
    X = table().data(np.float64, "csr32", sign=False).X
    X.indices = X.indices.astype(np.int64)
    with pytest.raises(ValueError, match="both be int32 or both int64"):
        train_core(Data(X, table().y, checked=True), lanes(1, "squared_error"), Settings())


def test_targets_that_were_changed_are_checked_again():
    data, of = table().data(np.float64, "dense", sign=False), lanes(3, "squared_error")
    for target in (-1, 2):
        of.target[:] = target
        with pytest.raises(ValueError, match="target"):
            solver.State(data, of, Settings())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_verbs_in_pieces(layout):
    """Scores and sums of gradients of more rows than one call takes."""
    rng = np.random.default_rng(0)
    n, d, k = 3000, 60, 19
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.5)
    data = Data(X if layout == "dense" else sp.csr_array(X), rng.normal(size=(n, 1)))
    of, settings = Lanes(k, alpha=0.0, eta0=0.001), Settings()
    state = train_core(data, of, settings, epochs=1)
    rows = rng.integers(0, n, 5000)
    run = _core.Run(data, of, settings, state)
    coef, intercept = state.last_weights()
    z = X[rows] @ coef.T + intercept
    np.testing.assert_allclose(run.score(rows), z, rtol=1e-9, atol=1e-12)
    g, g_b, count = run.gradient_sums(rows)
    c = z - data.y[rows]
    np.testing.assert_allclose(g, X[rows].T @ c, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(g_b, c.sum(axis=0), rtol=1e-9, atol=1e-9)
    assert (count == 5000).all()
    with pytest.raises(ValueError, match="rows"):
        run.score([n])


def test_states_of_other_kinds_are_not_put_together():
    (data, of, settings), state = trained("lanes, batches")
    for other in (
        solver.State(data, of, Settings(batch_size=5, optimizer=SGD(0.5))),
        solver.State(table(d=21).data(np.float64, "dense", sign=False), of, settings),
        solver.State(table().data(np.float32, "dense", sign=False), of, settings),
        solver.State(data, of, Settings()),
    ):
        with pytest.raises(ValueError, match="other must have the same"):
            state.put(other, [0], [1])
    with pytest.raises(TypeError):
        state.put(None, [0], [1])


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_sums_of_squares_of_columns(dtype):
    X = np.random.default_rng(0).normal(size=(50, 7)).astype(dtype)
    X[:, 3] = 0.0
    for rows in (X, X[::3], X[5:20], np.asfortranarray(X)):
        squares, least, most = _core.column_squares(rows)
        wanted = np.square(rows, dtype=np.float64).sum(axis=0)
        np.testing.assert_allclose(squares, wanted, rtol=1e-14)
        assert (least, most) == (squares[squares > 0.0].min(), squares.max())
    assert _core.column_squares(np.zeros((2, 3), dtype))[1:] == (np.inf, 0.0)
    for wrong in (X.astype(np.float16), X[0], X.tolist()):
        with pytest.raises(ValueError, match="X must be an array"):
            _core.column_squares(wrong)


def test_the_first_array_with_a_number_out_of_range():
    arrays = [np.array([0.0, 1.0]), np.array([-1.0, 5.0]), np.array([2.0])]
    assert _core.outside(arrays, [0.0, -1.0, 2.0], [1.0, 5.0, 2.0]) == -1
    assert _core.outside(arrays, [0.0, 0.0, 9.0], [1.0, 5.0, 9.0]) == 1
    assert _core.outside([np.arange(6)[::2], np.array([np.nan])], [0.0] * 2, [4.0] * 2) == 1


@pytest.mark.parametrize("dtype", (np.int32, np.int64))
def test_whether_indices_rise(dtype):
    for indices, rise in (([], True), ([3], True), ([1, 2, 9], True), ([1, 1], False)):
        assert _core.rise(np.array(indices, dtype)) is rise
    assert not _core.rise(np.array([0, 5, 1, 6], dtype)[::2][::-1])
    with pytest.raises(ValueError, match="int32 or int64"):
        _core.rise(np.array([1, 2], np.int16))
