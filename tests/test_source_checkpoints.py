"""Fits of sources that are saved between the windows of an epoch: resumed, they end as ever."""

import os
from collections import Counter
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from model_bytes import joined, parts_of
from sklearn.base import clone
from test_checkpoints import KILLS, changed_run, end, killed, put_array
from test_continuing import halved

from fastsgd import Checkpoint, SGDClassifier, SGDOneClassSVM, SGDRegressor, load
from fastsgd.data import first_pass
from fastsgd.model_files.checkpoint import files_of

pytest.importorskip("xxhash")
pytestmark = pytest.mark.filterwarnings("ignore")

N, SAMPLE = 4003, 500
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 16))
Y3 = np.digitize(X[:, 0] + rng.normal(size=N), (-0.6, 0.6))
REAL = np.round(X @ rng.normal(size=16) + 0.3 * rng.normal(size=N), 1)
CSR = sp.random_array((N, 90), density=0.1, format="csr", random_state=1)
CONSTANT = {"learning_rate": "constant", "eta0": 0.002, "max_iter": 3}
FITS = {
    "plain": (SGDRegressor(max_iter=3, tol=None), X, REAL),
    "momentum, batches": (SGDRegressor(momentum=0.9, batch_size=7, **CONSTANT), X, REAL),
    "batches of windows": (SGDRegressor(batch_size=1100, **CONSTANT), X, REAL),
    "averages": (SGDClassifier(average=100, batch_size=3, max_iter=3), X, Y3 > 0),
    "csr, l1": (SGDClassifier(penalty="l1", max_iter=3), CSR, Y3),
    "csr, momentum": (SGDRegressor(momentum=0.5, penalty="elasticnet", **CONSTANT), CSR, REAL),
    "csr, batches": (SGDClassifier(penalty="l1", batch_size=700, max_iter=3), CSR, Y3),
    "csr, averages": (SGDRegressor(average=10, max_iter=2), CSR, REAL),
    "classes": (SGDClassifier(max_iter=40, tol=1e-2, n_iter_no_change=1), X, Y3),
    "softmax": (
        SGDClassifier(loss="log_loss", multi_class="multinomial", standardize=True, max_iter=3),
        X,
        Y3,
    ),
    "adagrad": (SGDClassifier(optimizer="adagrad", max_iter=3), CSR, Y3),
    "early stopping": (SGDClassifier(early_stopping=True, n_iter_no_change=1), X, Y3),
    "adaptive": (
        SGDRegressor(learning_rate="adaptive", eta0=0.02, n_iter_no_change=1, max_iter=4),
        X,
        REAL,
    ),
    "backoff": (
        SGDRegressor(on_divergence="backoff", **{**CONSTANT, "eta0": 3.0}, tol=None),
        X,
        REAL,
    ),
    "swings": (
        SGDRegressor(momentum=0.95, tol=1e-2, n_iter_no_change=2, **{**CONSTANT, "max_iter": 4}),
        X,
        REAL,
    ),
    "callable": (SGDRegressor(learning_rate=halved, max_iter=2, tol=None), X, REAL),
    "sequential": (SGDRegressor(shuffle=False, max_iter=2), X, REAL),
    "once": (SGDRegressor(sampling="once", max_iter=2, clip_norm=1.0), X, REAL),
    "one class": (SGDOneClassSVM(max_iter=3), X, None),
}


@pytest.fixture(autouse=True)
def _sample_of_a_part(monkeypatch):
    """The sample by which a fit finds its rates has a part of the rows."""
    monkeypatch.setattr(first_pass, "SAMPLE_ROWS", SAMPLE)


def blocks_of(X, y):
    """What an estimator takes as a source of blocks of 701 rows."""

    def blocks():
        for start in range(0, N, 701):
            rows = slice(start, start + 701)
            yield X[rows], None if y is None else y[rows]

    return blocks


def fit_of(name, cache, **more):
    """A fit in several pools an epoch; ``cache`` is a folder, or None."""
    model, X, y = FITS[name]
    model = clone(model).set_params(random_state=3)
    return model.fit(blocks_of(X, y), cache=cache, pool_bytes=150_000, **more)


def fitted(name, folder):
    """A fit that goes on from the cache and the checkpoints in a folder, in another process."""
    first_pass.SAMPLE_ROWS = SAMPLE
    saving = Checkpoint(folder / "checkpoints", None, rows=N // 3, keep=2)
    return fit_of(name, folder / "cache", resume=saving.path, checkpoint=saving)


REREAD = ("plain", "csr, batches", "early stopping", "sequential")
"""Fits that are tried without a cache too."""


@pytest.mark.parametrize(
    ("name", "cached"), [*((name, True) for name in FITS), *((name, False) for name in REREAD)]
)
def test_a_fit_goes_on_from_each_of_its_checkpoints(name, cached, tmp_path):
    cache, folder = tmp_path / "cache" if cached else None, tmp_path / "fit"
    plain = fit_of(name, cache)
    whole = fit_of(name, cache, checkpoint=Checkpoint(folder, every=0, keep=10**6))
    assert end(whole) == end(plain)
    files = files_of(folder)
    epochs = Counter(epoch for (epoch, row), _ in files if row > 0)
    assert sum(epochs.values()) >= 4
    assert set(epochs) >= {0, 1}  # within the first epoch, and within another
    some = sorted({0, *range(2, len(files), 1 + len(files) // 4), len(files) - 2, len(files) - 1})
    for _, file in (files[i] for i in some):
        resumed = fit_of(name, cache, resume=file)
        assert end(resumed) == end(plain), file
        assert min(resumed.history_["seconds"]) > 0.0


def test_checkpoints_do_not_change_where_backoff_goes_back(tmp_path):
    """The fit of the list above does go back, in its first epoch."""
    model = fit_of("backoff", None, checkpoint=Checkpoint(tmp_path, every=0))
    assert model._continuation.state.rate_factor[0] < 1.0


def test_when_a_checkpoint_is_due(tmp_path):
    fit_of("plain", None, checkpoint=Checkpoint(tmp_path / "hours", "2 h"))
    assert not list((tmp_path / "hours").iterdir())
    for rows in (N // 2, N, 2 * N):
        folder = tmp_path / str(rows)
        fit_of("plain", None, checkpoint=Checkpoint(folder, None, rows=rows, keep=99))
        done = [epoch * N + row for (epoch, row), _ in files_of(folder)]
        assert len(done) == 3 * N // rows - (rows == N // 2) or len(done) == 3 * N // rows
        assert (np.diff([0, *done]) >= rows).all()


def test_what_is_no_checkpoint_of_this_fit(tmp_path):
    folder, cache = tmp_path / "fit", tmp_path / "cache"
    fit_of("plain", cache, checkpoint=Checkpoint(folder, every=0, keep=2))
    for _, file in files_of(folder):
        with pytest.raises(ValueError, match="rows in the pools"):
            fit_of("plain", None, resume=file)
        model, X, y = FITS["plain"]
        model = clone(model).set_params(random_state=3)
        with pytest.raises(ValueError, match="the pool_bytes that it began with"):
            model.fit(blocks_of(X, y), cache=cache, pool_bytes=400_000, resume=file)
        with pytest.raises(ValueError, match="rows in the pools"):
            model.fit(X, y, resume=file)
        with pytest.raises(ValueError, match="4003 rows, and X has 3000"):
            model.fit(X[:3000], y[:3000], resume=file)
    (_, within), _ = files_of(folder)
    X, y = X.astype(np.float32), y.astype(np.float32)
    with pytest.raises(ValueError, match=r"the dtype|rows in the pools"):
        model.fit(blocks_of(X, y), cache=None, pool_bytes=150_000, resume=within)


def test_a_folder_of_another_fit(tmp_path):
    """A file within the first epoch is one of another fit too."""
    folder = tmp_path / "fit"
    fit_of("plain", None, checkpoint=Checkpoint(folder, every=0, keep=99))
    files = files_of(folder)
    for (epoch, row), file in files:
        if epoch > 0 or row > N // 2:
            file.unlink()
    assert files_of(folder)
    with pytest.raises(ValueError, match="has checkpoints of another fit, up to epoch 0"):
        fit_of("plain", None, checkpoint=Checkpoint(folder))


def test_half_a_file_is_not_believed(tmp_path):
    folder = tmp_path / "fit"
    plain = fit_of("plain", None, checkpoint=Checkpoint(folder, every=0, keep=4))
    files = [file for _, file in files_of(folder)]
    files[-1].unlink()
    files[-2].write_bytes(files[-2].read_bytes()[:-9])
    left = folder / f".{files[-2].name}.0123abcd.tmp"
    left.write_bytes(b"half")
    with pytest.warns(UserWarning, match="goes on from the checkpoint before it"):
        model = fit_of("plain", None, resume=folder, checkpoint=Checkpoint(folder, every=0))
    assert end(model) == end(plain)
    assert not left.exists()


def test_a_checkpoint_within_an_epoch_is_a_model(tmp_path):
    fit_of("classes", None, checkpoint=Checkpoint(tmp_path, every=0, keep=99))
    files = files_of(tmp_path)
    for (epoch, row), file in (files[0], files[-2]):
        assert row > 0
        model = load(file)
        assert model.n_iter_ == len(model.history_["epoch"]) == epoch
        assert model._continuation.state.row == row
        weights = model._continuation.weights()
        assert np.array_equal(model.coef_, weights[0])
        assert model.score(X, Y3) > 0.5
        model.partial_fit(X, Y3)  # the rest of the epoch is skipped
        assert model.history_["epoch"][-1] == epoch + 2


def test_fewer_epochs_than_were_begun(tmp_path):
    """The epoch is trained to its end, and the fit ends with it."""
    fit_of("plain", None, checkpoint=Checkpoint(tmp_path, every=0, keep=99))
    within = [file for (epoch, row), file in files_of(tmp_path) if epoch == 2 and row > 0]
    model, X, y = FITS["plain"]
    model = clone(model).set_params(random_state=3, max_iter=1)
    model.fit(blocks_of(X, y), cache=None, pool_bytes=150_000, resume=within[0])
    assert model.n_iter_ == 3
    assert model._continuation.state.row == 0


def within_of(name, folder):
    """The last file within an epoch."""
    fit_of(name, None, checkpoint=Checkpoint(folder, every=0, keep=99))
    return [file for (_, row), file in files_of(folder) if row > 0][-1]


@pytest.mark.parametrize("name", ("backoff", "classes", "csr, momentum"))
def test_a_damaged_standing_is_refused(name, tmp_path):
    """Every number and array of where a fit stood, of another shape; parts that are missing."""
    file = within_of(name, tmp_path)
    whole, (_, tensors) = file.read_bytes(), parts_of(file.read_bytes())
    names = [one for one in tensors if one.startswith("training.run")]
    assert len(names) > 5
    for one in names:
        for array in (np.zeros((7, 7)), np.zeros(1, dtype=np.float16)):
            file.write_bytes(whole)
            changed_run(file, partial(put_array, one, array))
            with pytest.raises(ValueError, match=r"checkpoint|cannot be read"):
                fit_of(name, None, resume=file)


def part(pairs, name):
    """The value of a key of a dictionary in a description."""
    return next(pair for pair in pairs if pair[0] == name)


@pytest.mark.parametrize("key", ("model", "good", "rate", "seconds"))
def test_a_missing_part_is_refused(key, tmp_path):
    file = within_of("backoff", tmp_path)
    description, tensors = parts_of(file.read_bytes())
    standing = part(description["training"]["run"]["dict"], "standing")[1]["dict"]
    within = part(standing, "within")[1]["dict"]
    at = within.index(part(within, key))
    within.pop(at)
    tensors = {name: one for name, one in tensors.items() if f"run.0.14.{at}." not in name}
    file.write_bytes(joined(description, tensors))
    with pytest.raises(ValueError, match=r"the checkpoint (has|is)"):
        fit_of("backoff", None, resume=file)


def test_a_state_beyond_the_epoch_is_refused(tmp_path):
    file = within_of("plain", tmp_path)
    description, tensors = parts_of(file.read_bytes())
    state = description["training"]["continuation"]["Continuation"]["state"]["State"]
    for row in (N, N + 1, 2**60):
        state["row"] = row
        file.write_bytes(joined(description, tensors))
        with pytest.raises(ValueError, match=r"row|within an epoch"):
            fit_of("plain", None, resume=file)


KILLED = ("plain", "momentum, batches", "averages", "csr, l1", "classes")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_fits_that_are_killed_again_and_again(tmp_path):
    """While they write the cache, train in the first and in later epochs, and save."""
    found = killed("test_source_checkpoints", KILLED, tmp_path)
    for name, (rounds, folders) in found.items():
        whole = end(fit_of(name, tmp_path / f"cache of {name}"))
        for folder in folders:
            assert end(load(folder / "model")) == whole
        places = Counter(where for one in rounds for code, _, where in one if code != 0)
        print(f"{name}: {KILLS} kills in {len(rounds)} fits: {dict(sorted(places.items()))}")
