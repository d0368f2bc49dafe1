"""Fits that are saved while they run: killed at any moment, they end as if nothing had happened."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from model_bytes import joined, parts_of
from sklearn.base import clone
from test_continuing import halved, portrait
from test_model_files import network_portrait, score

from fastsgd import (
    Checkpoint,
    MLPClassifier,
    MLPRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    load,
)

pytestmark = pytest.mark.filterwarnings("ignore")
rng = np.random.default_rng(3)
X = rng.normal(size=(120, 5))
Y3 = np.digitize(X[:, 0] + 0.5 * rng.normal(size=120), (-0.6, 0.6))
REAL = X @ rng.normal(size=(5, 2)) + 0.3 * rng.normal(size=(120, 2))
WIDE = sp.random_array((120, 70_000), density=2e-4, format="csr", random_state=1)
FEW = slice(0, 50)
MOMENTUM = {"momentum": 0.9, "eta0": 0.02, "learning_rate": "constant", "tol": 1e-3}
FITS = {
    "auto": (SGDClassifier(), X, Y3),
    "auto of a long run": (SGDRegressor(tol=1e-9, max_iter=60), X, REAL),
    "few rows": (SGDRegressor(loss="huber", tol=1e-6), X[FEW], REAL[FEW, 0]),
    "known end": (SGDClassifier(tol=None, max_iter=9), X, Y3),
    "softmax": (SGDClassifier(loss="log_loss", multi_class="multinomial"), X, Y3),
    "plateau": (SGDClassifier(batch_size=1, sampling="once"), np.tile(X, (50, 1)), np.tile(Y3, 50)),
    "early stopping": (SGDClassifier(early_stopping=True, average=5), X, Y3),
    "generator": (
        SGDRegressor(early_stopping=True, random_state=np.random.RandomState(4), eta0=0.001),
        X,
        REAL,
    ),
    "scoring": (SGDClassifier(early_stopping=True, scoring=score), X, Y3),
    "momentum": (SGDRegressor(**MOMENTUM), X, REAL),
    "momentum on csr": (SGDRegressor(**MOMENTUM, penalty="l1"), sp.csr_array(X), REAL),
    "adaptive": (SGDRegressor(learning_rate="adaptive", eta0=0.05, n_iter_no_change=2), X, REAL),
    "callable": (SGDRegressor(learning_rate=halved, max_iter=8, tol=None), X, REAL),
    "backoff": (
        SGDRegressor(on_divergence="backoff", learning_rate="constant", eta0=5.0, max_iter=15),
        X,
        REAL,
    ),
    "standardise": (SGDClassifier(standardize=True, class_weight="balanced"), 9 * X + 5, Y3),
    "adagrad": (SGDClassifier(optimizer="adagrad", penalty="elasticnet"), sp.csr_array(X), Y3),
    "wide": (SGDClassifier(max_iter=8, tol=None), WIDE, Y3 > 0),
    "many lanes": (SGDRegressor(tol=1e-4), X, X @ rng.normal(size=(5, 40))),
    "one class": (SGDOneClassSVM(nu=0.2), X, None),
    "network": (MLPClassifier((6,), learning_rate_init=0.02, max_iter=30), X, Y3),
    "network of scores": (
        MLPClassifier((6,), early_stopping=True, n_iter_no_change=3, learning_rate_init=0.02),
        X,
        Y3,
    ),
    "network, invscaling": (
        MLPRegressor("squared_error", (4,), solver="sgd", learning_rate="invscaling", max_iter=9),
        X,
        REAL,
    ),
    "network, adaptive": (
        MLPRegressor(
            "squared_error",
            (4,),
            solver="sgd",
            learning_rate="adaptive",
            n_iter_no_change=1,
            tol=1e-2,
            learning_rate_init=0.1,
        ),
        X,
        REAL,
    ),
    "network, average": (MLPRegressor("squared_error", (4,), average=0.5, max_iter=8), X, REAL),
}


def estimator(name):
    model, X, y = FITS[name]
    model = clone(model)
    if not isinstance(model.random_state, np.random.RandomState):
        model.set_params(random_state=1)
    return model, X, y


def end(model):
    """All that a fit leaves behind, to the bit, but for times."""
    run = model._continuation
    state = run.state.copy().__getstate__()  # without what is left of steps that are done
    arrays = {name: array.tobytes() for name, array in state.pop("arrays").items()}
    seen = network_portrait(model) if hasattr(model, "coefs_") else portrait(model)
    rates = pickle.dumps(vars(getattr(run, "rates", run.horizon)) if hasattr(run, "rates") else 0)
    what = str(getattr(model, "result_", "")), model.n_iter_, run.seed, run.horizon, run.average
    return seen, arrays, repr(state), what, len(rates), getattr(run, "fits", None)


def chosen(files):
    """A few of the files: first, last and some between."""
    return [
        files[i]
        for i in sorted({0, 1, len(files) // 3, len(files) // 2, -2 % len(files), -1})
        if i < len(files)
    ]


@pytest.mark.parametrize("name", FITS)
def test_a_fit_goes_on_from_each_of_its_checkpoints(name, tmp_path):
    model, X, y = estimator(name)
    plain = clone(model).fit(X, y)
    model = estimator(name)[0].fit(X, y, checkpoint=Checkpoint(tmp_path, every=0, keep=10**6))
    assert end(model) == end(plain)
    files = sorted(tmp_path.iterdir())
    assert [int(file.name[6:12]) for file in files] == model.history_["epoch"]
    assert len(files) > 4
    for file in chosen(files):
        resumed = estimator(name)[0].fit(X, y, resume=file)
        assert end(resumed) == end(plain), file
        assert np.array_equal(resumed.predict(X), plain.predict(X))
    later = resumed.set_params(early_stopping=False).partial_fit(X, y)
    plain.set_params(early_stopping=False).partial_fit(X, y)
    assert end(later) == end(plain)


def test_a_run_that_went_on_goes_on(tmp_path):
    """fit(resume=True) that is saved and resumed: epochs before the call are not counted."""
    for name in ("early stopping", "known end", "network, invscaling", "auto"):
        model, X, y = estimator(name)
        model.fit(X, y).set_params(max_iter=7)
        first = pickle.dumps(model)
        folder = tmp_path / name
        whole = pickle.loads(first).fit(X, y, resume=True, checkpoint=Checkpoint(folder, 0))
        plain = pickle.loads(first).fit(X, y, resume=True)
        assert end(whole) == end(plain)
        for file in folder.iterdir():
            resumed = estimator(name)[0].set_params(max_iter=7).fit(X, y, resume=file)
            assert end(resumed) == end(plain)


def test_more_epochs_than_there_were(tmp_path):
    """Whoever raises ``max_iter`` gets what a fit with that would have been."""
    for name in ("early stopping", "adaptive", "network", "auto"):
        model, X, y = estimator(name)
        plain = estimator(name)[0].set_params(max_iter=12).fit(X, y)
        folder = tmp_path / name
        model.set_params(max_iter=5).fit(X, y, checkpoint=Checkpoint(folder, every=0))
        resumed = estimator(name)[0].set_params(max_iter=12).fit(X, y, resume=folder)
        a, b = end(resumed), end(plain)
        assert a[:2] == b[:2]


KILLS = 100 if os.environ.get("FASTSGD_EXHAUSTIVE") else 4
"""How often each fit is killed."""

KILLED = ("plateau", "network of scores", "auto of a long run")


def fitted(name, folder):
    """A fit that goes on from the checkpoints in a folder."""
    model, X, y = estimator(name)
    saving = Checkpoint(folder / "checkpoints", every=0, keep=2)
    return model.fit(X, y, resume=saving.path, checkpoint=saving)


def killed(module, names, folder):
    """Attempts at fits in processes that are killed, and the folders of their models, by name."""
    script = os.path.join(os.path.dirname(__file__), "killed.py")
    command = [sys.executable, script, module, str(folder), str(KILLS), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {}
    for name, rounds in json.loads(done.stdout).items():
        codes = [code for attempts in rounds for code, _, _ in attempts]
        assert set(codes) <= {0, -signal.SIGKILL}
        assert codes[-1] == 0
        assert codes.count(-signal.SIGKILL) == KILLS
        for attempts in rounds:
            positions = [position for _, position, _ in attempts]
            assert positions == sorted(positions)
        numbers = ["undisturbed", *(str(1 + i) for i in range(len(rounds)))]
        folders = [folder / name / number for number in numbers]
        for one in folders:  # two files; after a kill one more, and one half written
            assert len(list((one / "checkpoints").iterdir())) <= 4
        found[name] = rounds, folders
    return found


def test_fits_that_are_killed_again_and_again(tmp_path):
    """At any moment, in processes of their own; the last one is left to its end."""
    found = killed("test_checkpoints", KILLED, tmp_path)
    for name, (_, folders) in found.items():
        model, X, y = estimator(name)
        whole = end(model.fit(X, y))
        for folder in folders:
            assert end(load(folder / "model")) == whole


def test_the_newest_whole_file_is_taken(tmp_path):
    model, X, y = estimator("auto")
    plain = clone(model).fit(X, y)
    model.fit(X, y, checkpoint=Checkpoint(tmp_path, every=0, keep=3))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    files[-1].write_bytes(files[-1].read_bytes()[:-5])
    left = tmp_path / ".epoch-000001.safetensors.0123abcd.tmp"
    left.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match="goes on from the checkpoint before it"):
        model = estimator("auto")[0]
        model.fit(X, y, resume=tmp_path, checkpoint=Checkpoint(tmp_path, every=0, keep=1))
    assert end(model) == end(plain)
    assert sorted(os.listdir(tmp_path)) == [files[-1].name, "notes.txt"]
    files[-1].write_bytes(b"")
    with pytest.raises(ValueError, match="it ends in its header"):
        estimator("auto")[0].fit(X, y, resume=str(tmp_path))


def test_when_a_checkpoint_is_due(tmp_path, monkeypatch):
    model, X, y = estimator("known end")
    model.fit(X, y, checkpoint=Checkpoint(tmp_path / "hours", "2 h"))
    assert os.listdir(tmp_path / "hours") == []
    model.fit(X, y, checkpoint=Checkpoint(tmp_path / "rows", None, rows=2 * len(X) + 1, keep=9))
    names = [f"epoch-{epoch:06d}.safetensors" for epoch in (3, 6, 9)]
    assert sorted(os.listdir(tmp_path / "rows")) == names
    now = iter(range(0, 10**6, 20))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    model.fit(X, y, checkpoint=Checkpoint(tmp_path / "time", "0.5 min", keep=9))
    assert 2 <= len(os.listdir(tmp_path / "time")) <= 5
    assert Checkpoint("a", 90).is_due(90.0, 0)
    assert not Checkpoint("a", "1.6 min").is_due(95.0, 10**9)
    assert repr(Checkpoint("a", 0)) == "Checkpoint('a', every=0, rows=None, keep=3)"


@pytest.mark.parametrize(
    ("arguments", "match"),
    (
        ({"every": "soon"}, 'every must be a time such as "30 s"'),
        ({"every": -1}, "every must be"),
        ({"every": float("nan")}, "every must be"),
        ({"every": True}, "every must be"),
        ({"every": None}, "must not both be None"),
        ({"rows": 0}, "rows must be a whole number"),
        ({"keep": 0}, "keep must be a whole number"),
        ({"keep": 1.5}, "keep must be a whole number"),
    ),
)
def test_arguments_of_a_checkpoint(arguments, match):
    with pytest.raises(ValueError, match=match):
        Checkpoint("folder", **arguments)
    with pytest.raises(TypeError):
        Checkpoint(3)


def test_what_is_no_checkpoint_of_this_fit(tmp_path):
    model, X, y = estimator("auto")
    folder = tmp_path / "folder"
    model.fit(X, y, checkpoint=Checkpoint(folder, every=0))
    fresh = estimator("auto")[0]
    for parameter in ({"alpha": 0.5}, {"tol": None}, {"class_weight": {0: 3.0}}):
        with pytest.raises(ValueError, match=f"is of a fit with {next(iter(parameter))}="):
            clone(fresh).set_params(**parameter).fit(X, y, resume=folder)
    clone(fresh).set_params(n_jobs=2, verbose=False, alpha=np.float64(1e-4)).fit(
        X, y, resume=folder
    )
    with pytest.raises(ValueError, match="is of a fit on 120 rows, and X has 119"):
        clone(fresh).fit(X[1:], y[1:], resume=folder)
    with pytest.raises(ValueError, match="does not match dataset"):
        clone(fresh).fit(X[:, 1:], y, resume=folder)
    with pytest.raises(ValueError, match="of the class 'SGDClassifier'"):
        SGDRegressor().fit(X, y, resume=folder)
    with pytest.raises(ValueError, match="has checkpoints of another fit, up to epoch"):
        clone(fresh).fit(X, y, checkpoint=Checkpoint(folder))
    with pytest.raises(FileNotFoundError):
        clone(fresh).fit(X, y, resume=folder / "epoch-000000.safetensors")
    with pytest.raises(TypeError, match="resume must be True, False or the path"):
        clone(fresh).fit(X, y, resume=3)
    with pytest.raises(TypeError, match=r"checkpoint must be a fastsgd\.Checkpoint"):
        clone(fresh).fit(X, y, checkpoint=str(folder))
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no checkpoint of a fit"):
        clone(fresh).fit(X, y, resume=tmp_path / "model.safetensors")
    assert not hasattr(fresh, "coef_")

    class Own(SGDClassifier):
        """A user's subclass."""

    with pytest.raises(ValueError, match="no class of your own"):
        Own().fit(X, y, checkpoint=Checkpoint(tmp_path / "own"))


def test_a_checkpoint_is_a_model(tmp_path):
    model, X, y = estimator("early stopping")
    model.fit(X, y, checkpoint=Checkpoint(tmp_path, every=0, keep=100))
    files = sorted(tmp_path.iterdir())
    shorter = estimator("early stopping")[0].set_params(early_stopping=False, max_iter=3, tol=None)
    third = load(files[2])
    assert third.n_iter_ == 3
    assert len(third.history_["epoch"]) == 3
    assert third.predict(X).shape == shorter.fit(X, y).predict(X).shape
    third.set_params(early_stopping=False).partial_fit(X, y)
    assert third.history_["epoch"] == [1, 2, 3, 4]


def test_after_an_error_the_estimator_is_as_it_was(tmp_path):
    model, X, y = estimator("auto")
    model.fit(X, y, checkpoint=Checkpoint(tmp_path, every=0))
    before = portrait(model)
    with pytest.raises(ValueError, match="X_val and y_val"):
        model.fit(X, y, resume=tmp_path, X_val=X)
    assert portrait(model) == before
    file = sorted(tmp_path.iterdir())[0]
    resumed = estimator("auto")[0].set_params(max_iter=10**6)
    assert portrait(resumed.fit(X, y, resume=file)) == before


def changed_run(file, change):
    description, tensors = parts_of(file.read_bytes())
    change(description["training"]["run"]["dict"], tensors)
    file.write_bytes(joined(description, tensors))


def put_array(name, array, run, tensors):
    tensors[name] = array


def forget(position, run, tensors):
    run[position][1] = None


@pytest.mark.parametrize("name", ("momentum", "few rows", "network of scores", "early stopping"))
def test_a_damaged_standing_is_refused(name, tmp_path):
    """Every number and array of where a fit stood, of another shape."""
    model, X, y = estimator(name)
    model.fit(X, y, checkpoint=Checkpoint(tmp_path, every=0, keep=1))
    (file,) = tmp_path.iterdir()
    whole, (_, tensors) = file.read_bytes(), parts_of(file.read_bytes())
    names = [one for one in tensors if one.startswith("training.run")]
    assert len(names) > 5
    for one in names:
        for array in (np.zeros((7, 7)), np.zeros(1, dtype=np.float16)):
            file.write_bytes(whole)
            changed_run(file, partial(put_array, one, array))
            with pytest.raises(ValueError, match=r"checkpoint|cannot be read"):
                estimator(name)[0].fit(X, y, resume=file)
    for position in range(4):
        file.write_bytes(whole)
        changed_run(file, partial(forget, position))
        with pytest.raises(ValueError, match="cannot be read"):
            estimator(name)[0].fit(X, y, resume=file)
