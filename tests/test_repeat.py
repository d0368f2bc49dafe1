"""A partial_fit that repeats the last call with other rows gives the same bits as a whole one.

The model ``whole`` forgets before every call what the last one left for it.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import clone

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, _core, solver
from fastsgd.estimators import repeat
from fastsgd.problem import Data, Lanes, Settings

D = 7
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, D)) * (RNG.random(size=(200, D)) < 0.7)
Y = (X[:, 0] > 0).astype(np.int64)
MODELS = {
    "two classes": lambda **options: SGDClassifier(loss="log_loss", **options),
    "three classes": lambda **options: SGDClassifier(**options),
    "softmax": lambda **options: SGDClassifier(
        loss="log_loss", multi_class="multinomial", **options
    ),
    "squares": lambda **options: SGDRegressor(**options),
    "Huber": lambda **options: SGDRegressor(loss="huber", **options),
    "counts": lambda **options: SGDRegressor(loss="poisson", **options),
    "one class": lambda **options: SGDOneClassSVM(**options),
}
STEPS: list[dict[str, Any]] = [
    {},
    {"learning_rate": "constant"},
    {"learning_rate": "invscaling", "average": True},
    {"average": 0.5, "momentum": 0.9},
    {"batch_size": 4, "linear_scaling": True, "eta0": 0.01},
    {"optimizer": "adagrad"},
    {"clip_norm": 0.5, "sampling": "block"},
    {"total_epochs": 30, "fit_intercept": False},
    {"learning_rate": "adaptive"},
    {"standardize": True},
    {"sampling": "replacement"},
    {"on_divergence": "backoff"},
]
SIZES = (60, 50, 1, 1, 1, 3, 1, 9, 1, 40, 1, 1)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The calls that were steps: one entry each."""
    made: list[Any] = []

    def step(*arguments: Any) -> Any:
        result = whole_step(*arguments)
        if result is not None:
            made.append(result)
        return result

    whole_step = repeat._step
    monkeypatch.setattr(repeat, "_step", step)
    yield made


def targets(name: str, rows: slice) -> Any:
    if name == "one class":
        return None
    return (Y + (X[:, 1] > 0.5) * (name in ("three classes", "softmax", "counts")))[rows]


def classes(name: str) -> dict[str, Any]:
    labels = {"two classes": [0, 1], "three classes": [0, 1, 2], "softmax": [0, 1, 2]}
    return {"classes": labels[name]} if name in labels else {}


def forget(model: Any) -> Any:
    if "_continuation" in vars(model):
        model._continuation.repeat = None
    return model


def plain(value: Any) -> Any:
    """What can be compared, bit for bit, of a value."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value.hex() if isinstance(value, float) else value


def learned(model: Any) -> Any:
    """Everything that a call leaves behind, but times."""
    attributes = {name: value for name, value in vars(model).items() if name.endswith("_")}
    history = attributes.pop("history_")
    attributes["history_"] = {
        name: column
        for name, column in history.items()
        if name not in ("seconds", "rows_per_second")
    }
    attributes["result_"] = str(attributes["result_"]), attributes["result_"].updates
    if sp.issparse(attributes["coef_"]):
        attributes["coef_"] = attributes["coef_"].toarray()
    kept = model._continuation
    rates = kept.rates.eta0, kept.rates.mu
    return plain([attributes, kept.state.__getstate__(), rates, kept.fits])


def pair(**options: Any) -> tuple[Any, Any]:
    """Two models after the same two calls, the first of which makes a step next."""
    models = tuple(SGDClassifier(loss="log_loss", random_state=0, **options) for _ in range(2))
    for model in models:
        model.partial_fit(X[:5], Y[:5], classes=[0, 1]).partial_fit(X[5:6], Y[5:6])
    return models


@pytest.mark.parametrize("options", STEPS, ids=str)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layout", ("float64", "float32", "csr"))
def test_the_same_bits_as_a_whole_call(
    name: str, options: dict[str, Any], layout: str, steps: list[Any]
) -> None:
    if options.get("standardize") and layout == "csr":
        pytest.skip("standardize is for dense X")
    short, whole = (MODELS[name](random_state=3, **options) for _ in range(2))
    table = sp.csr_array(X) if layout == "csr" else X.astype(layout)
    first = 0
    for i, size in enumerate(SIZES):
        rows = slice(first, first + size)
        first = (first + size) % 100
        for model in (short, forget(whole)):
            model.partial_fit(table[rows], targets(name, rows), **(classes(name) if i == 0 else {}))
        assert learned(short) == learned(whole)
    able = STEPS.index(options) < 8 and name != "counts"
    assert (len(steps) >= 8) if able else (len(steps) <= 11)


@pytest.mark.parametrize(
    "change",
    (
        {"alpha": 0.01},
        {"eta0": 0.5, "learning_rate": "constant"},
        {"loss": "hinge"},
        {"penalty": "l1"},
        {"average": True},
        {"batch_size": 2},
        {"momentum": 0.5},
        {"class_weight": {0: 2.0}},
        {"class_weight": "balanced"},
        {"fit_intercept": False},
    ),
    ids=str,
)
def test_parameters_that_change_between_calls_are_taken_up(
    change: dict[str, Any], steps: list[Any]
) -> None:
    short, whole = pair()
    for model in (short, forget(whole)):
        model.set_params(**change)
        steps.clear()
        model.partial_fit(X[6:9], Y[6:9])
        assert not steps
    assert learned(short) == learned(whole)
    for model in (short, forget(whole)):
        for name, value in change.items():  # without set_params
            setattr(model, name, copy.copy(value))
        model.partial_fit(X[9:10], Y[9:10])
    assert learned(short) == learned(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"early_stopping": True}, "early_stopping"),
        ({"loss": "squares"}, "loss"),
        ({"learning_rate": "pa1"}, "pa1"),
        ({"penalty": "elasticnet", "l1_ratio": None}, "l1_ratio"),
        ({"eta0": -1.0, "learning_rate": "constant"}, "eta0"),
    ),
    ids=str,
)
def test_parameters_that_become_wrong_are_refused(change: dict[str, Any], message: str) -> None:
    short, whole = pair()
    errors = []
    for model in (short, forget(whole)):
        before = learned(model)
        model.set_params(**change)
        with pytest.raises((ValueError, KeyError), match=message) as caught:
            model.partial_fit(X[6:7], Y[6:7])
        errors.append(str(caught.value))
        assert learned(model) == before
    assert errors[0] == errors[1]


def test_a_class_weight_changed_in_place_counts() -> None:
    short, whole = pair(class_weight={0: 1.0, 1: 1.0})
    for model in (short, forget(whole)):
        model.class_weight[0] = 5.0
        model.partial_fit(X[6:9], Y[6:9])
    assert learned(short) == learned(whole)


def with_value(value: float, dtype: Any = np.float64) -> Any:
    row = X[6:7].astype(dtype)
    row[0, 2] = value
    return row


WRONG: dict[str, tuple[Any, Any]] = {
    "NaN in X": (with_value(np.nan), Y[6:7]),
    "infinity in X": (with_value(np.inf), Y[6:7]),
    "NaN in CSR": (sp.csr_array(with_value(np.nan)), Y[6:7]),
    "NaN in y": (X[6:7], np.array([np.nan])),
    "infinity in y": (X[6:7], np.array([np.inf])),
    "an unknown label": (X[6:7], np.array([7])),
    "labels of words": (X[6:7], np.array(["a"])),
    "too few features": (X[6:7, :3].copy(), Y[6:7]),
    "too many features": (np.hstack([X[6:7]] * 2), Y[6:7]),
    "too many targets": (X[6:7], Y[6:8]),
    "no rows": (X[:0], Y[:0]),
    "one dimension": (X[6], Y[6:7]),
    "complex numbers": (X[6:7] * 1j, Y[6:7]),
    "words": (np.array([["a"] * D]), Y[6:7]),
    "a masked value": (np.ma.masked_greater(X[6:7], -9.0), Y[6:7]),
    "a table of its own columns": (pd.DataFrame(X[6:7, :3]), Y[6:7]),
    "no y": (X[6:7], None),
    "huge values": (with_value(1e300), Y[6:7]),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_rows_are_refused_in_the_same_words_and_leave_the_model_as_it_was(name: str) -> None:
    short, whole = pair(learning_rate="constant")
    errors = []
    for model in (short, forget(whole)):
        before = learned(model)
        with pytest.raises(ValueError, match=r"\w") as caught:
            model.partial_fit(*WRONG[name])
        errors.append((type(caught.value), str(caught.value)))
        assert learned(model) == before
    assert errors[0] == errors[1]
    for model in (short, forget(whole)):
        model.partial_fit(X[6:7], Y[6:7])
    assert learned(short) == learned(whole)


def test_corrupt_csr_is_refused() -> None:
    short, _ = pair()
    row = sp.csr_array(X[6:7])
    row.indices[0] = D
    before = learned(short)
    with pytest.raises(ValueError, match="not a valid CSR matrix"):
        short.partial_fit(row, Y[6:7])
    assert learned(short) == before


class Rows(np.ndarray):
    """A subclass of ndarray."""


def strided() -> Any:
    wide = np.zeros((2, 2 * D))
    wide[::2, ::2] = X[6:7]
    return wide[::2, ::2]


def read_only() -> Any:
    row = X[6:7].copy()
    row.flags.writeable = False
    return row


def misaligned() -> Any:
    row = np.frombuffer(bytearray(1 + 8 * D), dtype=np.uint8)[1:].view(np.float64).reshape(1, D)
    row[:] = X[6:7]
    return row


KINDS: dict[str, Any] = {
    "read-only": read_only,
    "strided": strided,
    "misaligned": misaligned,
    "Fortran order": lambda: np.asfortranarray(np.vstack([X[6:7]] * 3)),
    "another byte order": lambda: X[6:7].astype(">f8"),
    "a subclass": lambda: X[6:7].view(Rows),
    "a list": lambda: X[6:7].tolist(),
    "integers": lambda: np.round(X[6:7]).astype(np.int64),
    "float32": lambda: X[6:7].astype(np.float32),
    "float16": lambda: X[6:7].astype(np.float16),
    "CSC": lambda: sp.csc_array(X[6:7]),
    "CSR of int64": lambda: sp.csr_array(
        (X[6:7][X[6:7] != 0], np.flatnonzero(X[6]), np.array([0, np.count_nonzero(X[6])])),
        shape=(1, D),
    ),
    "CSR with a value twice": lambda: sp.csr_array(
        (np.array([1.0, 2.0]), np.array([3, 3]), np.array([0, 2])), shape=(1, D)
    ),
    "an empty CSR row": lambda: sp.csr_array((1, D)),
    "a data frame": lambda: pd.DataFrame(X[6:7]),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ("squares", "two classes"))
def test_other_kinds_of_rows_in_between(model: str, kind: str) -> None:
    rows = KINDS[kind]()
    n = len(rows) if isinstance(rows, list) else rows.shape[0]
    short, whole = (MODELS[model](random_state=0) for _ in range(2))
    scores = []
    for one in (short, whole):
        one.partial_fit(X[:150], targets(model, slice(150)), **classes(model))
        for given in (X[5:6], rows, X[7:8], rows, X[8:9]):
            y = np.ones(1 if given is not rows else n, dtype=np.int64)
            (one if one is short else forget(one)).partial_fit(given, y)
        scores.append(one.predict(rows))
    assert learned(short) == learned(whole)
    assert_array_equal(*scores)


@pytest.mark.parametrize(
    "y", (np.array([1], dtype=np.int8), np.array([1.0]), np.array([True]), [1], (1,)), ids=repr
)
def test_kinds_of_labels(y: Any, steps: list[Any]) -> None:
    short, whole = pair()
    steps.clear()
    for model in (short, forget(whole)):
        model.partial_fit(X[6:7], y)
    assert learned(short) == learned(whole)
    assert len(steps) == 1


@pytest.mark.parametrize("known", ([0, 1], np.array([0, 1])), ids=repr)
def test_classes_given_again(known: Any, steps: list[Any]) -> None:
    short, whole = pair()
    steps.clear()
    for model in (short, forget(whole)):
        model.partial_fit(X[6:7], Y[6:7], classes=known)
        model.partial_fit(X[7:8], Y[7:8], classes=[1, 0])  # in another order
    assert learned(short) == learned(whole)
    assert len(steps) == 1
    for model in (short, forget(whole)):
        with pytest.raises(ValueError, match="classes"):
            model.partial_fit(X[7:8], Y[7:8], classes=[0, 1, 2])


def test_sample_weights_count() -> None:
    short, whole = pair()
    for model in (short, forget(whole)):
        model.partial_fit(X[6:9], Y[6:9], sample_weight=[1.0, 0.0, 3.0])
        model.partial_fit(X[9:10], Y[9:10])
    assert learned(short) == learned(whole)


def test_feature_names_are_checked_as_ever() -> None:
    names = [f"x{j}" for j in range(D)]
    model = SGDClassifier(random_state=0)
    model.partial_fit(pd.DataFrame(X[:9], columns=names), Y[:9], classes=[0, 1])
    model.partial_fit(pd.DataFrame(X[9:10], columns=names), Y[9:10])
    for call in (lambda: model.partial_fit(X[9:10], Y[9:10]), lambda: model.predict(X[9:10])):
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            call()
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(pd.DataFrame(X[9:10], columns=names[::-1]), Y[9:10])
    unnamed, _ = pair()
    with pytest.warns(UserWarning, match="fitted without feature names"):
        unnamed.partial_fit(pd.DataFrame(X[9:10], columns=names), Y[9:10])


@pytest.mark.parametrize("how", ("new", "in place", "sparse", "intercept"))
def test_a_model_changed_by_hand_is_where_training_starts(how: str) -> None:
    short, whole = pair(average=True)
    for model in (short, forget(whole)):
        if how == "new":
            model.coef_ = 2.0 * model.coef_
        elif how == "in place":
            model.coef_ *= 2.0
        elif how == "intercept":
            model.intercept_[0] = 3.0
        else:
            model.sparsify()
        model.partial_fit(X[6:7], Y[6:7])
    assert learned(short) == learned(whole)


@pytest.mark.parametrize(
    "copied",
    (copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))),
    ids=("copy", "deepcopy", "pickle"),
)
def test_copies_go_on_by_themselves(copied: Any, steps: list[Any]) -> None:
    model, whole = pair()
    other = copied(model)
    other.history_ = copy.deepcopy(model.history_)  # which a shallow copy shares
    for row in range(6, 12):
        model.partial_fit(X[row : row + 1], Y[row : row + 1])
        forget(whole).partial_fit(X[row : row + 1], Y[row : row + 1])
        other.partial_fit(X[row + 1 : row + 2], Y[row + 1 : row + 2])
    assert len(steps) >= 6 + 5
    assert learned(model) == learned(whole)
    last, _ = pair()
    for row in range(7, 13):
        forget(last).partial_fit(X[row : row + 1], Y[row : row + 1])
    assert learned(other) == learned(last)
    assert not hasattr(clone(other), "_continuation")


def test_what_is_left_for_the_next_call_is_not_saved() -> None:
    model, _ = pair()
    assert model._continuation.repeat is not None
    assert pickle.loads(pickle.dumps(model))._continuation.repeat is None


def test_rows_may_be_resized_after_a_step() -> None:
    model, _ = pair()
    row, y = np.ones((1, D)), np.ones(1)
    model.partial_fit(row, y)
    row.resize((2, D))
    y.resize(3)


def test_a_subclass_keeps_its_steps(steps: list[Any]) -> None:
    class Doubled(SGDClassifier):
        def _encode(self, y: Any, dtype: Any, name: str = "y") -> Any:
            return super()._encode(1 - y, dtype, name)

    model = Doubled(random_state=0).partial_fit(X[:5], Y[:5], classes=[0, 1])
    model.partial_fit(X[5:6], Y[5:6])
    assert not steps


def test_an_interrupt_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = pair()
    before = learned(model)

    def interrupted(self: Any, *values: Any) -> None:
        self.columns["epoch"].append(values[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(repeat.History, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X[6:7], Y[6:7])
    assert learned(model) == before


def test_a_fit_in_between_begins_anew(steps: list[Any]) -> None:
    short, whole = pair()
    for model in (short, forget(whole)):
        model.fit(X, Y)
        steps.clear()
        forget(model) if model is whole else None
        model.partial_fit(X[6:7], Y[6:7])
        assert not steps
    assert learned(short) == learned(whole)


@pytest.mark.parametrize("sparse", (False, True))
def test_scores_of_sound_rows_are_those_of_any_rows(sparse: bool) -> None:
    model, _ = pair()
    sound, other = (sp.csr_matrix(X), sp.coo_matrix(X)) if sparse else (X, X.tolist())
    assert_array_equal(model.decision_function(sound), model.decision_function(other))
    assert_array_equal(model.predict(sound), model.predict(other))


@pytest.mark.parametrize("name", [name for name in WRONG if "X" in name or "CSR" in name])
def test_rows_to_predict_have_to_be_finite(name: str) -> None:
    model, _ = pair()
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict(WRONG[name][0])


def test_rows_to_predict_have_to_be_as_wide_as_the_model() -> None:
    model, _ = pair()
    with pytest.raises(ValueError, match="X has 3 features, but SGDClassifier is expecting 7"):
        model.predict(X[:1, :3].copy())


def problem(n: int, d: int = D, dtype: Any = np.float64, **options: Any) -> Any:
    data = Data(X[:n, :d].astype(dtype), Y[:n].astype(dtype))
    return (
        data,
        Lanes(1, alpha=0.01, eta0=0.1),
        Settings(loss="hinge", sign_targets=True, **options),
    )


def test_a_run_on_other_rows_is_that_of_a_new_run() -> None:
    (first, lanes, settings), (other, *_) = problem(9), problem(4)
    run = _core.Run(first, lanes, settings, solver.State(first, lanes, settings)).without_rows()
    states = [solver.State(other, lanes, settings) for _ in range(2)]
    runs = run.on(other, states[0]), _core.Run(other, lanes, settings, states[1])
    for one in runs:
        while not one.advance(1 << 18):
            pass
    assert plain(states[0].__getstate__()) == plain(states[1].__getstate__())
    with pytest.raises(ValueError, match="never initialised"):
        run.advance(1 << 18)


@pytest.mark.parametrize("other", ({"d": 3}, {"dtype": np.float32}, {"average": 1}), ids=str)
def test_a_run_on_other_rows_refuses_a_state_that_does_not_fit(other: dict[str, Any]) -> None:
    data, lanes, settings = problem(9)
    run = _core.Run(data, lanes, settings, solver.State(data, lanes, settings)).without_rows()
    with pytest.raises(ValueError, match="state does not fit"):
        run.on(data, solver.State(*problem(9, **other)))


def test_data_of_sound_arrays_are_what_data_are() -> None:
    for rows in (X[:3], sp.csr_matrix(X[:3])):
        short, whole = (
            Data.of_sound(rows, Y[:6].astype(float)[::2]),
            Data(rows, Y[:6:2], checked=True),
        )
        assert short.y.flags.c_contiguous
        for name, value in vars(whole).items():
            if name not in ("X", "_pins"):
                assert plain(getattr(short, name)) == plain(value), name
        assert short.X is not rows
        assert len(short._pins) == len(whole._pins)
