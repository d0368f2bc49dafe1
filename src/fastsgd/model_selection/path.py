"""A path of penalties: the models of many, trained in shared passes over X."""

from __future__ import annotations

from typing import NamedTuple, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from ..estimators.base import BaseSGD
from ..estimators.classifier import SGDClassifier
from ..estimators.input import blame_input
from ..estimators.parameters import seed_of
from ..estimators.regressor import SGDRegressor
from ..estimators.rows import SourceOptions, opened
from ..inputs.conversions import MatrixLike
from ..scalars import make_python_numbers
from .candidates import ALPHAS, model_of, numbers
from .lanes import fit_all

__all__ = ["Path", "path"]


class Path(NamedTuple):
    """Models along a path of penalties.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        Strengths of the penalty.
    coef : ndarray of shape (n_alphas, ...)
        Weights of each, in the shape of the estimator's ``coef_``.
    intercept : ndarray of shape (n_alphas, ...)
        Intercepts of each, in the shape of its ``intercept_``.
    n_iter : ndarray of shape (n_alphas,), int64
        Epochs of each.

    See Also
    --------
    path : Makes one.

    Examples
    --------
    >>> from fastsgd import SGDRegressor, path
    >>> model = SGDRegressor(max_iter=5, tol=None, random_state=0)
    >>> found = path([[0.0], [1.0], [2.0]], [1.0, 2.0, 3.0], alphas=[0.1, 1.0], estimator=model)
    >>> found.n_iter
    array([5, 5])
    """

    alphas: NDArray[np.float64]
    coef: NDArray[np.floating]
    intercept: NDArray[np.floating]
    n_iter: NDArray[np.int64]


def path(
    X: MatrixLike,
    y: ArrayLike | None = None,
    *,
    alphas: ArrayLike | None = None,
    estimator: BaseSGD | None = None,
    sample_weight: ArrayLike | None = None,
    **source: Unpack[SourceOptions],
) -> Path:
    """Models of many penalties, trained in shared passes over X.

    Each is what a fit of the estimator with that alpha learns.

    Parameters
    ----------
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features), or source
        Rows to train on, read in place where the estimator's ``fit`` does so. Of a source the
        models are trained in shared passes too, whether its rows fit into ``pool_bytes`` or not.
    y : array-like of shape (n_samples,), or of shape (n_samples, n_outputs), optional
        Their labels or targets; a source has its own.
    alphas : array-like of shape (n_alphas,), optional
        Strengths of the penalty; 16 from 1e-7 to 1 if not given.
    estimator : SGDClassifier or SGDRegressor, optional
        Has all other parameters, and is left as it is; ``SGDRegressor()`` if not given. Without
        ``early_stopping``. "multinomial" models have a pass each.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the rows.
    **source : dict of str to object
        How a source is read: see :func:`fastsgd.data.open_source`, and ``cache`` and ``pool_bytes``
        in the estimator's ``fit``.

    Returns
    -------
    Path
        The models, in the order of ``alphas``.

    Raises
    ------
    ValueError
        If the input is bad; the message names the argument.
    DivergenceError
        If a run overflows.

    See Also
    --------
    GridSearchCV : Chooses among penalties, and other parameters, by cross-validation.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from fastsgd import SGDRegressor, path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> lasso = SGDRegressor(penalty="l1", max_iter=100, tol=None, random_state=0)
    >>> found = path(scale(X), y, alphas=[0.1, 1.0, 10.0], estimator=lasso)
    >>> found.coef.shape
    (3, 10)
    """
    if estimator is not None and not isinstance(estimator, (SGDClassifier, SGDRegressor)):
        raise ValueError(f"estimator must be an SGDClassifier or SGDRegressor, got {estimator!r}")
    base = clone(SGDRegressor() if estimator is None else estimator)
    if base.early_stopping:
        raise ValueError("early_stopping should be False in path")
    values = numbers("alphas", ALPHAS if alphas is None else alphas)
    make_python_numbers(base)
    base._validate_params()
    base.random_state = seed_of(base.random_state)
    with opened(base, X, y, sample_weight, dict(source)) as rows:
        task = base._begin(rows.X, rows.y, rows.sample_weight)
        models = [model_of(base, {"alpha": value}) for value in values]
        task.stream = rows.stream
        if task.stream is not None:
            task.stream.begin(base, base.random_state, 0.0)
        with blame_input(base, task.X):
            trained = fit_all(models, task, [None], base.random_state)
            if trained.error is not None:
                raise trained.error
    models_found = zip(trained.coef[0], trained.intercept[0], strict=True)
    published = [base._attributes(*model) for model in models_found]
    return Path(
        np.array(values),
        np.stack([attributes["coef_"] for attributes in published]),
        np.stack([attributes["intercept_"] for attributes in published]),
        trained.epochs[0].max(axis=1),
    )
