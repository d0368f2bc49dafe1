"""Model files: what is saved comes back to the bit; what is no such file is refused, in bounds."""

import copy
import os
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from model_bytes import joined, model_bytes, parts_of
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from test_continuing import LAYOUTS, SETTINGS, X, Y, halved, of, portrait

from fastsgd import (
    Checkpoint,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    load,
    schedules,
)
from fastsgd.losses import _PROTOTYPE, CompiledLoss
from fastsgd.model_files import container
from fastsgd.optimizers import AdaGrad

safetensors = pytest.importorskip("safetensors.numpy")
LINEAR = (SGDClassifier, SGDRegressor, SGDOneClassSVM)
GIVEN = {"callable": {"learning_rate": halved}}
pytestmark = pytest.mark.filterwarnings(
    "ignore:SGD diverged",
    "ignore:eta . alpha reached 1",
    "ignore:Stochastic Optimizer",
    "ignore:Maximum number of iteration",
)


def saved(model, folder, name="model.safetensors", **given):
    """The model of a file of a model, and the file; saving it again gives the same bytes."""
    path, again = folder / name, folder / "again.safetensors"
    model.save(path)
    loaded = load(path, **given)
    loaded.save(again)
    assert path.read_bytes() == again.read_bytes()
    assert type(loaded) is type(model)
    return loaded, path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("estimator", LINEAR)
def test_a_loaded_model_goes_on_with_the_same_bits(estimator, name, layout, tmp_path):
    y, table = Y[estimator], LAYOUTS[layout]
    options = {"loss": "squared_error", "total_epochs": 4.0, **SETTINGS[name]}
    model = of(estimator, options, max_iter=2).fit(table, y)
    loaded, _ = saved(model, tmp_path, **GIVEN.get(name, {}))
    assert portrait(loaded) == portrait(model)
    assert_array_equal(loaded.predict(table), model.predict(table))
    assert str(loaded.result_) == str(model.result_)
    for going_on in (model, loaded):
        going_on.fit(table, y, resume=True)
    assert portrait(loaded) == portrait(model)
    loaded, _ = saved(loaded, tmp_path, **GIVEN.get(name, {}))
    for going_on in (model, loaded):
        going_on.partial_fit(table, y)
        going_on.partial_fit(table[:1], None if y is None else y[:1])
    assert portrait(loaded) == portrait(model)
    assert len(loaded.history_["epoch"]) == 6
    assert loaded.loss_curve_ is loaded.history_["loss"]


NETWORKS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    "plain": {"solver": "sgd", "momentum": 0.0},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05},
    "average": {"average": True, "activation": "tanh"},
    "cosine": {"learning_rate": "cosine", "total_epochs": 6.0, "hidden_layer_sizes": ()},
    "callable": {"learning_rate": halved},
}


def network_portrait(model):
    timeless = set(model.history_) - {"seconds", "rows_per_second"}
    history = {name: np.array(model.history_[name]).tobytes() for name in sorted(timeless)}
    parts = [part.tobytes() for part in (*model.coefs_, *model.intercepts_)]
    return parts, model.t_, history, model.loss_, model.best_loss_


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("estimator", (MLPClassifier, MLPRegressor))
def test_a_loaded_network_goes_on_with_the_same_bits(estimator, name, layout, tmp_path):
    y = Y[SGDClassifier if estimator is MLPClassifier else SGDRegressor]
    table = LAYOUTS[layout]
    options = {"hidden_layer_sizes": (5, 3), "batch_size": 16, **NETWORKS[name]}
    model = estimator(random_state=1, tol=None, max_iter=2, **options).fit(table, y)
    loaded, _ = saved(model, tmp_path, **GIVEN.get(name, {}))
    assert_array_equal(loaded.predict(table), model.predict(table))
    for going_on in (model, loaded):
        going_on.fit(table, y, resume=True).partial_fit(table, y)
    assert network_portrait(loaded) == network_portrait(model)
    assert len(loaded.history_["epoch"]) == 5
    model = copy.deepcopy(model).set_params(early_stopping=True).fit(table, y)
    loaded, _ = saved(model, tmp_path, **GIVEN.get(name, {}))
    assert loaded.validation_scores_ is loaded.history_["validation_score"]


LABELS = {
    "texts": np.array(["no", "perhaps é", "yes"]),
    "objects": np.array(["a", "bb", "\ud800"], dtype=object),
    "integers": np.array([-5, 0, 7], dtype=np.int16),
    "bytes": np.array([b"a", b"bc", b"d"]),
    "big-endian": np.array([1, 2, 3], dtype=">i4"),
    "unsigned": np.array([1, 2, 2**64 - 1], dtype=np.uint64),
    "floats": np.array([0.0, 1.0, 2.0], dtype=np.float32),
    "booleans": np.array([False, True]),
}


@pytest.mark.parametrize("estimator", (SGDClassifier, MLPClassifier))
@pytest.mark.parametrize("name", LABELS)
def test_labels_are_exact(estimator, name, tmp_path):
    labels = LABELS[name]
    y = labels[np.arange(60) % len(labels)]
    if name in ("bytes",):
        model = estimator(max_iter=2, random_state=0).fit(X, np.arange(60) % 3)
        model.classes_ = labels
    else:
        model = estimator(max_iter=2, random_state=0).fit(X, y)
    loaded, _ = saved(model, tmp_path)
    assert loaded.classes_.dtype == model.classes_.dtype
    assert loaded.classes_.tolist() == model.classes_.tolist()
    assert list(map(type, loaded.classes_.tolist())) == list(map(type, model.classes_.tolist()))
    assert loaded.predict(X).tolist() == model.predict(X).tolist()


def test_many_labels_and_balanced_weights(tmp_path):
    y = (X[:, :3] > 0).astype(int)
    for estimator in (SGDClassifier, MLPClassifier):
        model = estimator(max_iter=2, random_state=0).fit(X, y)
        loaded, _ = saved(model, tmp_path)
        assert_array_equal(loaded.predict(X), model.predict(X))
        assert_array_equal(loaded.partial_fit(X, y).predict(X), model.partial_fit(X, y).predict(X))
    model = SGDClassifier(class_weight="balanced", random_state=0)
    model.partial_fit(X, Y[SGDClassifier], classes=[0, 1, 2])
    loaded, _ = saved(model, tmp_path)
    for going_on in (model, loaded):
        going_on.partial_fit(X[:20], Y[SGDClassifier][:20])
    assert portrait(loaded) == portrait(model)


def test_names_of_features(tmp_path):
    frame = pytest.importorskip("pandas").DataFrame(X, columns=[f"feature {i} é" for i in range(7)])
    model = SGDRegressor(random_state=0, max_iter=3, tol=None).fit(frame, X[:, 0])
    loaded, _ = saved(model, tmp_path)
    assert loaded.feature_names_in_.tolist() == list(frame.columns)
    assert loaded.feature_names_in_.dtype == object
    assert_array_equal(loaded.predict(frame), model.predict(frame))


def test_parameters_come_back_as_they_were(tmp_path):
    """Numbers of NumPy, dictionaries, objects of the library, generators in their state."""
    given = {
        "alpha": np.float32(0.1),
        "max_iter": np.int64(3),
        "class_weight": {0: 2.0, 1: np.float64(0.5)},
        "random_state": np.random.RandomState(5),
        "learning_rate": schedules.cosine(9.0, warmup_steps=3),
        "optimizer": AdaGrad(0.5),
        "early_stopping": True,
        "tol": 1e-300,
        "eta0": 0.1,
    }
    given["random_state"].normal()  # it has one more in store
    model = SGDClassifier(**given).fit(X, Y[SGDClassifier] > 0)
    loaded, _ = saved(model, tmp_path)
    found, before = loaded.get_params(), given["random_state"].get_state()
    for name, value in given.items():
        assert type(found[name]) is type(value), name
        if name != "random_state":
            assert found[name] == value
    for one, other in zip(found["random_state"].get_state(), before, strict=True):
        assert_array_equal(one, other)
    for going_on in (model, loaded):
        going_on.fit(X, Y[SGDClassifier] > 0, resume=True)  # on the rows of the first split
    assert portrait(loaded) == portrait(model)


@_PROTOTYPE
def _value(z, y, out, n):
    for i in range(n):
        out[i] = 0.5 * (z[i] - y[i]) ** 2


@_PROTOTYPE
def _slope(z, y, out, n):
    for i in range(n):
        out[i] = z[i] - y[i]


half_square = CompiledLoss(_value, _slope, name="half_square")


def score(model, X, y):
    """A scorer of the user's own."""
    return float(np.mean(model.predict(X) == y))


def test_what_no_file_holds_is_given_again(tmp_path):
    y = Y[SGDRegressor]
    path = tmp_path / "model"
    SGDRegressor(loss=half_square, tol=None, max_iter=2, random_state=0).fit(X, y).save(path)
    with pytest.raises(ValueError, match=r"give it, load\(path, loss=\.\.\.\)"):
        load(path)
    assert load(path, loss=half_square).loss is half_square
    with pytest.raises(ValueError, match="loss must be the CompiledLoss named 'half_square'"):
        load(path, loss="squared_error")
    with pytest.raises(ValueError, match="scoring is in the file"):
        load(path, loss=half_square, scoring=score)
    for rate in (halved, schedules.Schedule("callable", function=halved)):
        SGDRegressor(learning_rate=rate, tol=None, max_iter=2, random_state=0).fit(X, y).save(path)
        with pytest.raises(ValueError, match="learning_rate of your own"):
            load(path)
        with pytest.raises(ValueError, match="learning_rate must be the callable"):
            load(path, learning_rate=0.1)
        assert load(path, learning_rate=rate).learning_rate is rate
    model = SGDClassifier(scoring=score, early_stopping=True, random_state=0)
    model.fit(X, Y[SGDClassifier]).save(path)
    with pytest.raises(ValueError, match="scoring of your own"):
        load(path)
    assert load(path, scoring=score).scoring is score


@pytest.mark.parametrize("estimator", LINEAR)
def test_sparse_weights(estimator, tmp_path):
    model = of(estimator, {"penalty": "l1", "alpha": 0.05}, max_iter=3).fit(X, Y[estimator])
    model.sparsify()
    loaded, _ = saved(model, tmp_path)
    assert type(loaded.coef_) is type(model.coef_)
    assert_array_equal(loaded.coef_.toarray(), model.coef_.toarray())
    assert_array_equal(loaded.predict(X), model.predict(X))


def test_without_the_training_state(tmp_path):
    """It predicts the same, is smaller, and partial_fit starts from the weights."""
    for estimator in (*LINEAR, MLPClassifier):
        y = Y.get(estimator, Y[SGDClassifier])
        model = estimator(max_iter=2, tol=None, random_state=0).fit(X, y)
        loaded, path = saved(model, tmp_path)
        small = tmp_path / "small"
        model.save(small, state=False)
        assert small.stat().st_size < path.stat().st_size
        loaded = load(small)
        assert_array_equal(loaded.predict(X), model.predict(X))
        del model._continuation
        assert_array_equal(loaded.partial_fit(X, y).predict(X), model.partial_fit(X, y).predict(X))
        assert loaded.history_["epoch"] == [1]


def test_wide_models(tmp_path):
    """Weights that nobody has read yet are in the file, and a step goes on from the state."""
    wide = sp.random_array((30, 70_000), density=1e-3, format="csr", random_state=0)
    y = np.arange(30) % 2
    model = SGDClassifier(random_state=0)
    for _ in range(3):
        model.partial_fit(wide, y, classes=[0, 1])
    assert "coef_" not in vars(model)
    loaded, _ = saved(copy.deepcopy(model), tmp_path)
    for going_on in (model, loaded):
        going_on.partial_fit(wide, y)
        going_on.partial_fit(wide[:1], y[:1])
    assert portrait(loaded) == portrait(model)


def test_memory_is_bounded_by_the_file(tmp_path):
    model = SGDRegressor(momentum=0.9, max_iter=1, tol=None, random_state=0)
    model.fit(np.ones((2, 500_000)), np.array([0.0, 1.0]))
    _, path = saved(model, tmp_path)
    tracemalloc.start()
    load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * path.stat().st_size


# ------------------------------------------------------------------ files that are refused


@pytest.fixture(scope="module")
def whole():
    return model_bytes()


def refused(folder, data, match):
    path = folder / "bad file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=match) as caught:
        load(path)
    assert "bad file" in str(caught.value)


def changed(data, change):
    description, tensors = parts_of(data)
    change(description, tensors)
    return joined(description, tensors)


def newer(description, tensors):
    description["format"] = 2


def another_class(description, tensors):
    description["class"] = "os.system"


def unknown_kind(description, tensors):
    description["attributes"]["t_"] = {"posix.system": {"command": "true"}}


def another_parameter(description, tensors):
    description["parameters"]["shell"] = "true"


def twice(description, tensors):
    description["attributes"]["intercept_"] = description["attributes"]["coef_"]


def one_more(description, tensors):
    tensors["more"] = np.zeros(3)


def wider(description, tensors):
    tensors["attributes.coef_"] = np.zeros((3, 8))


def of_texts(description, tensors):
    tensors["attributes.classes_"] = np.zeros((3, 2), dtype=np.uint32)
    tensors["attributes.classes_"][0] = 0x110000
    description["attributes"]["classes_"]["array"]["dtype"] = "<U2"


def of_objects(description, tensors):
    description["attributes"]["classes_"]["array"]["dtype"] = "|O"


def huge_state(description, tensors):
    fields = description["training"]["continuation"]["Continuation"]["state"]["State"]
    fields["sizes"] = {"tuple": [2**40, 3, 1, 1]}


def another_state(description, tensors):
    found = description["training"]["continuation"]["Continuation"]
    found["rates"]["Rates"]["eta0"] = 1.0


def deep(description, tensors):
    value = 1
    for _ in range(100):
        value = [value]
    description["attributes"]["t_"] = value


def short_history(description, tensors):
    tensors["attributes.history_.1"] = tensors["attributes.history_.1"][:-1]


@pytest.mark.parametrize(
    ("change", "match"),
    (
        (newer, "written by a newer fastsgd, in version 2"),
        (another_class, "it is of the class 'os.system'"),
        (unknown_kind, "of a kind 'posix.system'"),
        (another_parameter, r"no parameters \['shell'\]"),
        (twice, "which is not there or was used"),
        (one_more, "arrays that belong to nothing"),
        (wider, r"coef_ must be numbers of shape \(3, 7\), got \(3, 8\)"),
        (of_texts, "are no Unicode characters"),
        (of_objects, "dtype '|O', which is not read"),
        (huge_state, "a saved state must have"),
        (another_state, "a Rates has eta0=1.0"),
        (deep, "nested too deeply"),
        (short_history, "its history must have 3 numbers of loss"),
    ),
)
def test_a_hostile_file_is_refused(whole, change, match, tmp_path):
    refused(tmp_path, changed(whole, change), match)


def test_files_that_are_none(whole, tmp_path):
    refused(tmp_path, b"", "it ends in its header, after 0 bytes")
    refused(tmp_path, b"PK\x03\x04" + bytes(100), "it ends in its header")
    refused(tmp_path, pickle.dumps(SGDClassifier()), "it ends in its header")
    for length in (8, 100, len(whole) // 2, len(whole) - 1):
        refused(tmp_path, whole[:length], "cannot be read")
    refused(tmp_path, whole + b"\0", "cannot be read")
    long = (container.HEADER_LIMIT + 1).to_bytes(8, "little") + bytes(container.HEADER_LIMIT + 1)
    refused(tmp_path, long, "at most 4194304 are read")
    refused(tmp_path, safetensors.save({"a": np.zeros(2)}), "it has no description")
    refused(tmp_path, joined("[" * 100_000, {}), "nested too deeply|recursion")
    refused(tmp_path, joined("[]", {}), "no version of the format")
    refused(tmp_path, joined('{"format": NaN}', {}), "NaN, which is no number")
    refused(tmp_path, joined('{"format": true}', {}), "no version of the format")
    refused(tmp_path, joined('{"format": 1}', {}), "it is of the class None")
    refused(tmp_path, joined('{"format": ' + "9" * 5000 + "}", {}), "cannot be read")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(TypeError):
        load(3)


def test_what_cannot_be_saved(tmp_path):
    class Own(SGDClassifier):
        """A user's subclass."""

    path, y = tmp_path / "model", Y[SGDClassifier]
    with pytest.raises(NotFittedError):
        SGDClassifier().save(path)
    with pytest.raises(ValueError, match="no class of your own as Own"):
        Own(max_iter=2, tol=None).fit(X, y).save(path)
    model = SGDClassifier(max_iter=2, tol=None, class_weight={0: 1}).fit(X, y)
    with pytest.raises(ValueError, match=r"parameters.class_weight.* is of type object"):
        model.set_params(class_weight={object(): 1}).save(path)
    with pytest.raises(ValueError, match="alpha"):
        model.set_params(class_weight=None, alpha=-1.0).save(path)
    model.set_params(alpha=0.1).coef_ = np.zeros((3, 3))
    with pytest.raises(ValueError, match="coef_ must be numbers of shape"):
        model.save(path)
    assert not list(tmp_path.iterdir())


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "model"
    model = SGDClassifier(max_iter=2, tol=None).fit(X, Y[SGDClassifier])
    model.save(path)
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        model.partial_fit(X, Y[SGDClassifier]).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_without_safetensors(tmp_path, monkeypatch):
    """An ImportError says what to install, and a fit says so before it trains."""
    model = SGDClassifier(max_iter=2, tol=None).fit(X, Y[SGDClassifier])
    model.save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (
        lambda: load(tmp_path / "model"),
        lambda: model.save(tmp_path / "other"),
        lambda: model.fit(X, Y[SGDClassifier], checkpoint=Checkpoint(tmp_path, "9 h")),
    ):
        with pytest.raises(ImportError, match=r"pip install 'fastsgd\[data\]'"):
            call()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
