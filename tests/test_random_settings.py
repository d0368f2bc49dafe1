"""Settings drawn at random from what the estimators' own constraints allow.

Each ends in a finite model or in an error of scikit-learn's kinds, and the bits of a model depend
neither on threads nor on where a run is cut, pickled and continued.
"""

import copy
import os
import pickle
import warnings

import numpy as np
import pytest
from drawn import ESTIMATORS, data_of, search_of, settings_of
from sklearn.exceptions import FitFailedWarning

from fastsgd import DivergenceError, SGDClassifier, SGDRegressor
from fastsgd.solver import epochs as calls
from fastsgd.solver import training

MORE = 10 if os.environ.get("FASTSGD_EXHAUSTIVE") else 1
"""How many times as many settings are drawn."""

OWN = "eta . alpha reached 1", "SGD diverged"
"""Beginnings of the RuntimeWarnings that are the library's own, and not NumPy's."""


@pytest.fixture(autouse=True)
def no_warning_of_numpys():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", FitFailedWarning)
        warnings.filterwarnings("ignore", "(overflow|invalid value) encountered", RuntimeWarning)
        for words in OWN:
            warnings.filterwarnings("ignore", words, RuntimeWarning)
        yield


def fit(model, X, y, weight, **more):
    """A fit; of one class there is no y."""
    return model.fit(X, y, sample_weight=weight, **more)


def end_of(model):
    return getattr(model, "intercept_", getattr(model, "offset_", None))


def portrait(model):
    """Bits of a model and of its history but for the times; the words of an error."""
    if isinstance(model, Exception):
        return type(model), str(model)
    timeless = sorted(set(model.history_) - {"seconds", "rows_per_second"})
    history = tuple(np.array(model.history_[name]).tobytes() for name in timeless)
    return model.coef_.tobytes(), end_of(model).tobytes(), model.t_, history


def outcome(train):
    """What a call gives: a model, or an error that it may end in."""
    try:
        return train()
    except (ValueError, TypeError) as error:
        return error


@pytest.mark.parametrize("extreme", (False, True))
def test_a_finite_model_or_an_error_of_a_kind(extreme):
    fitted = diverged = refused = 0
    kinds = ESTIMATORS * 3 + (SGDClassifier, SGDRegressor)
    for seed in range(110 * MORE):
        rng = np.random.default_rng([seed, extreme])
        estimator = kinds[seed % len(kinds)]
        settings = settings_of(rng, estimator, extreme=extreme)
        searches = seed % len(kinds) >= 9
        model = search_of(rng, estimator, settings) if searches else estimator(**settings)
        X, y, weight = data_of(rng, estimator, extreme=extreme)
        found = outcome(lambda model=model, X=X, y=y, w=weight: fit(model, X, y, w))
        diverged += isinstance(found, DivergenceError)
        refused += isinstance(found, Exception)
        if isinstance(found, Exception):
            assert not hasattr(model, "coef_") and not hasattr(model, "cv_results_"), seed
            assert len(str(found)) > 10, seed
            continue
        fitted += 1
        model = model.best_estimator_ if searches else model
        assert np.isfinite(model.coef_).all(), (seed, model)
        assert np.isfinite(end_of(model)).all(), (seed, model)
        predicted = model.predict(X)
        assert len(predicted) == X.shape[0]
    assert fitted > 50 * MORE
    assert diverged >= 3 * MORE * extreme
    assert refused > 6 * MORE


def test_threads_make_no_difference():
    seen = set()
    for seed in range(30 * MORE):
        rng = np.random.default_rng([seed, 2])
        estimator = ESTIMATORS[seed % 3]
        settings = settings_of(rng, estimator, extreme=False)
        settings["batch_size"] = int(rng.choice([1, 7, 64, 1000]))
        X, y, weight = data_of(rng, estimator, extreme=False, n=200)
        found = [
            portrait(outcome(lambda: fit(estimator(**given), X, y, weight)))  # noqa: B023
            for given in ({**settings, "n_jobs": n_jobs} for n_jobs in (1, 2, 3))
        ]
        assert found[0] == found[1] == found[2], (seed, estimator(**settings))
        seen.add(found[0])
    assert len(seen) > 20 * MORE


class Cut:
    """Calls into the core of random length, in the place of the solver's clock."""

    rng = np.random.default_rng(0)

    @property
    def budget(self):
        return int(2.0 ** self.rng.uniform(3.0, 13.0))

    def advance(self, run, stop=None):
        return run.advance(self.budget) if run.draws_order else run.advance(self.budget, stop)


COPIES = copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), lambda model: model


def in_pieces(estimator, settings, X, y, weight, epochs, rng):
    """As many calls of partial_fit, copied in between."""
    model = estimator(**settings)
    more = {"classes": np.unique(y)} if estimator is SGDClassifier else {}
    for _ in range(epochs):
        model.partial_fit(X, y, sample_weight=weight, **more)
        model = COPIES[rng.integers(3)](model)
    return model


def test_cut_pickled_and_continued_runs_have_the_same_bits(monkeypatch):
    compared = 0
    for seed in range(60 * MORE):
        rng = np.random.default_rng([seed, 3])
        estimator = ESTIMATORS[seed % 3]
        epochs = int(rng.integers(2, 6))
        settings = settings_of(rng, estimator, extreme=False)
        settings |= {"tol": None, "early_stopping": False, "max_iter": epochs}
        settings |= {"total_epochs": float(epochs), "certificate": False, "warm_start": False}
        X, y, weight = data_of(rng, estimator, extreme=False)
        whole = outcome(lambda: fit(estimator(**settings), X, y, weight))  # noqa: B023
        with monkeypatch.context() as patched:
            for module in (calls, training):
                patched.setattr(module, "Clock", Cut)
            cut = outcome(lambda: fit(estimator(**settings), X, y, weight))  # noqa: B023
            given = estimator, settings, X, y, weight, epochs, rng
            pieces = outcome(lambda: in_pieces(*given))  # noqa: B023
        assert portrait(cut) == portrait(whole), (seed, estimator(**settings))
        if isinstance(whole, Exception) or isinstance(pieces, DivergenceError):
            continue  # calls that go on say sooner that a run blows up
        assert portrait(pieces) == portrait(whole), (seed, estimator(**settings))
        compared += 1
    assert compared > 35 * MORE
