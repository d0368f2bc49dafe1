"""What tests of the searches share: scikit-learn's search as the yardstick."""

import numpy as np
import sklearn.model_selection as peers
from sklearn.base import clone

import fastsgd
from fastsgd import SGDClassifier, SGDRegressor
from fastsgd.model_selection import evaluation

ALPHAS = [1e-4, 1e-2, 1.0]
FEW = {"max_iter": 3, "tol": None, "random_state": 3}
IN_ORDER = {**FEW, "shuffle": False, "learning_rate": "constant", "eta0": 0.01}
"""Rows in the order of storage, at a rate that does not come from the data: a row of weight zero
and a row that is not there are the same."""


class HeldOut:
    """Trains on all rows that ``whole`` has, at weight zero but for ``rows``."""

    whole: tuple = ()

    def fit(self, X, y, rows=None, sample_weight=None):
        if rows is None or len(rows) == len(self.whole[1]):
            return super().fit(X, y, sample_weight=sample_weight)
        weight = np.zeros(len(self.whole[1]))
        weight[rows] = 1.0 if sample_weight is None else sample_weight
        return super().fit(*self.whole, sample_weight=weight)


class HeldOutClassifier(HeldOut, SGDClassifier):
    pass


class HeldOutRegressor(HeldOut, SGDRegressor):
    pass


def same(estimator, grid, X, y, *, fit=None, own=None, rtol=1e-9, **options):
    """Both searches, after their results and attributes were found to be equal.

    ``fit`` goes to both calls of ``fit``, ``own`` is the peer's estimator if it is another.
    """
    fit = {} if fit is None else fit
    found = []
    for module, model in ((fastsgd, estimator), (peers, estimator if own is None else own)):
        more = {} if module is fastsgd or own is None else {"rows": np.arange(X.shape[0])}
        found.append(module.GridSearchCV(clone(model), grid, **options).fit(X, y, **fit, **more))
    equal(*found, rtol=rtol)
    return found


def held_out(estimator, X, y):
    """The same estimator with rows of weight zero instead of rows that are not there."""
    kind = HeldOutClassifier if isinstance(estimator, SGDClassifier) else HeldOutRegressor
    bound = type(kind.__name__, (kind,), {"whole": (X, y)})
    return bound(**estimator.get_params())


def public(search):
    """Names of its attributes, but for private ones, which differ between scikit-learns."""
    return {name for name in vars(search) if not name.startswith("_")}


def equal(ours, theirs, rtol=1e-9):
    """Results and attributes of two searches are the same, to rounding."""
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        column = ours.cv_results_[name]
        if name == "params":
            assert repr(column) == repr(expected)
        elif name.startswith("param_"):
            assert type(column) is type(expected)
            assert column.dtype == expected.dtype
            assert repr(list(column)) == repr(list(expected))
        elif "time" in name:
            assert column.shape == expected.shape
            assert (column >= 0.0).all()
        else:
            np.testing.assert_allclose(column, expected, rtol=rtol, atol=1e-12, err_msg=name)
    assert public(ours) == public(theirs)
    for name in ("best_index_", "n_splits_", "multimetric_", "best_params_"):
        assert repr(getattr(ours, name, None)) == repr(getattr(theirs, name, None))
    if hasattr(theirs, "best_score_"):
        np.testing.assert_allclose(ours.best_score_, theirs.best_score_, rtol=rtol)
    assert type(ours.scorer_) is type(theirs.scorer_)


def scores_of(found, name="score"):
    """Test scores, (candidates, splits)."""
    splits = range(found.n_splits_)
    return np.column_stack([found.cv_results_[f"split{f}_test_{name}"] for f in splits])


def count_fits(monkeypatch):
    """How many fits of their own scikit-learn makes from now on, and how many passes are shared:
    two lists that grow."""
    alone, shared = [], []
    one, many = evaluation._fit_and_score, evaluation.fit_all

    def fit_alone(*args, **options):
        alone.append(options["parameters"])
        return one(*args, **options)

    def fit_shared(models, task, rows, seed):
        shared.append((len(models), len(rows)))
        return many(models, task, rows, seed)

    monkeypatch.setattr(evaluation, "_fit_and_score", fit_alone)
    monkeypatch.setattr(evaluation, "fit_all", fit_shared)
    return alone, shared
