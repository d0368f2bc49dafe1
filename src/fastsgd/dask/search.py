"""Searches and paths on a cluster: candidates and folds are lanes of one training."""

from __future__ import annotations

import copy
from typing import Any, Self, Unpack

import sklearn.model_selection as peers
from numpy.typing import ArrayLike
from sklearn.base import clone, is_classifier

from ..estimators.rows import Rows, SourceOptions
from ..model_selection.block_scores import block_scores
from ..model_selection.path import Path
from ..model_selection.path import path as local_path
from ..model_selection.search import _all_or_nothing, _SharedPasses
from ..model_selection.sources import split_options
from .base import OnCluster
from .estimators import SGDClassifier, SGDRegressor
from .extras import is_collection, library
from .folds import ShardEvaluation, ShardFolds
from .partitions import partitions_of

__all__ = ["GridSearchCV", "RandomizedSearchCV", "path"]


class _OnCluster(_SharedPasses):
    """What the searches share: those of one machine, but for where the rows are."""

    _where = "are on a cluster"

    @_all_or_nothing
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Evaluate the candidates on every fold, and train the best one on all rows.

        Parameters
        ----------
        X : Dask array or data frame, list of delayed objects, or paths
            Rows of all folds, as the estimator's ``fit`` takes them.
        y : Dask array or column, optional
            Their labels or targets.
        **params : dict of str to object
            ``sample_weight``, and how data frames and paths are read: ``target`` and the others of
            the estimator's ``fit``.

        Returns
        -------
        GridSearchCV or RandomizedSearchCV
            The search itself.

        Raises
        ------
        ValueError
            If the input is bad, or no fit succeeded.
        """
        self._check_estimator()
        weight, options, others = split_options(params)
        with self.estimator._on_shards(X, y, weight, options) as rows:
            self._fit_stream(rows, others)
        return self

    def _check_estimator(self) -> None:
        if type(self.estimator) not in (SGDClassifier, SGDRegressor):
            raise ValueError(
                "estimator must be a fastsgd.dask.SGDClassifier or SGDRegressor, got "
                f"{type(self.estimator).__name__}"
            )

    def _folds(self, seed: int, rows: Rows) -> ShardFolds:
        stream: Any = rows.stream
        return ShardFolds(self.cv, seed, stream)

    def _stream_evaluation(self, scorer: Any, rows: Rows, folds: Any) -> ShardEvaluation:
        return ShardEvaluation(self, scorer, rows, folds)

    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """The score of ``best_estimator_`` on other rows, by ``scoring``.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.
        y : array of shape (n_samples,) or (n_samples, n_outputs), optional
            Their labels or targets; a data frame of a model that was fitted with ``target`` has its
            own.
        **params : dict of str to object
            With scikit-learn's metadata routing, what the scorer requests.

        Returns
        -------
        float
            The score; with several, that of ``refit``. Sums over the blocks of X alone come to the
            client.
        """
        if self.scoring is None or not is_collection(X):
            return super().score(X, y, **params)
        model = self.best_estimator_._as_local()
        vars(model).pop("_continuation", None)
        scorer = self.scorer_[self.refit] if self.multimetric_ else self.scorer_
        score = block_scores(scorer, classifier=is_classifier(model))["score"]()
        columns = vars(model).get("columns_")
        options = {} if y is not None or columns is None else {"columns": columns}
        delayed = library("dask").delayed
        sent = delayed((model, score), pure=False, traverse=False)
        blocks = partitions_of(X, y, None, options).blocks
        client = self.best_estimator_._client()
        tasks = [delayed(_score_of_block, pure=False)(block, sent) for block in blocks]
        for found in client.gather(client.compute(tasks)):
            score.merge(found)
        return score.value()


def _score_of_block(block: Any, sent: tuple[Any, Any]) -> Any:
    """A score, which has no rows yet, of those of a block."""
    model, score = sent[0], copy.deepcopy(sent[1])
    if len(block):
        score.add(model, block.X, block.y)
    return score


class GridSearchCV(_OnCluster, peers.GridSearchCV):
    """Grid search of rows on a cluster, with all candidates and folds as lanes of one training.

    Parameters
    ----------
    estimator : fastsgd.dask.SGDClassifier or SGDRegressor
        Trained with the parameters of every candidate; itself it is left as it is.
    param_grid : dict or list of dict
        Values to try for each parameter, by its name.
    scoring : str, list, tuple, dict or None, default=None
        Scores that are sums over rows, or of counts of labels: accuracy, log loss, F1, R^2, mean
        errors and their like. None is accuracy or R^2.
    n_jobs : int or None, default=None
        It has no effect.
    refit : bool, str or callable, default=True
        As in :class:`fastsgd.GridSearchCV`.
    cv : int or None, default=None
        Number of folds, 5 if None. The fold of a row is a hash of its number among all.
    verbose : int, default=0
        As in :class:`fastsgd.GridSearchCV`.
    pre_dispatch : int or str, default="2*n_jobs"
        It has no effect.
    error_score : {"raise"} or float, default=np.nan
        As in :class:`fastsgd.GridSearchCV`.
    return_train_score : bool, default=False
        As in :class:`fastsgd.GridSearchCV`.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        Parameters, scores, ranks and times of the candidates, named as in scikit-learn.
    best_estimator_ : fastsgd.dask.SGDClassifier or SGDRegressor
        The best candidate, trained on all rows; not with ``refit=False``.
    best_score_ : float
        Its mean score.
    best_params_ : dict of str to object
        Its parameters.
    best_index_ : int
        Its place in ``cv_results_``; of equal candidates, the first.
    n_splits_ : int
        Number of folds.

    See Also
    --------
    fastsgd.GridSearchCV : Of rows of one machine.
    path : Models of many penalties without folds.

    Notes
    -----
    Candidates that differ in ``alpha``, ``l1_ratio``, ``eta0`` or ``class_weight`` alone, and all
    folds, share rounds: a search takes as many as a fit, whatever their number. Others have rounds
    of their own; ``shards``, ``local_epochs`` and ``finish`` are those of ``estimator``, and
    ``finish`` is of the training of the best candidate alone. Models of the candidates and scores
    have the same bits for any number of workers.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from fastsgd.dask import GridSearchCV, SGDClassifier
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     X = da.random.default_rng(0).normal(size=(2000, 5), chunks=(500, 5)).persist()
    ...     model = SGDClassifier("log_loss", random_state=0)
    ...     search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, scoring="neg_log_loss", cv=3)
    ...     search = search.fit(X, (X[:, 0] > 0).astype(int))
    >>> search.best_params_
    {'alpha': 0.0001}
    """


class RandomizedSearchCV(_OnCluster, peers.RandomizedSearchCV):
    """Randomized search of rows on a cluster, with candidates and folds as lanes of one training.

    Parameters
    ----------
    estimator : fastsgd.dask.SGDClassifier or SGDRegressor
        Trained with the parameters of every candidate; itself it is left as it is.
    param_distributions : dict or list of dict
        Lists of values, or distributions of ``scipy.stats``, for each parameter by its name.
    n_iter : int, default=10
        Number of candidates that are drawn.
    scoring : str, list, tuple, dict or None, default=None
        Scores that are sums over rows, or of counts of labels: accuracy, log loss, F1, R^2, mean
        errors and their like. None is accuracy or R^2.
    n_jobs : int or None, default=None
        It has no effect.
    refit : bool, str or callable, default=True
        As in :class:`fastsgd.GridSearchCV`.
    cv : int or None, default=None
        Number of folds, 5 if None. The fold of a row is a hash of its number among all.
    verbose : int, default=0
        As in :class:`fastsgd.GridSearchCV`.
    pre_dispatch : int or str, default="2*n_jobs"
        It has no effect.
    random_state : int, RandomState or None, default=None
        Draws the candidates.
    error_score : {"raise"} or float, default=np.nan
        As in :class:`fastsgd.GridSearchCV`.
    return_train_score : bool, default=False
        As in :class:`fastsgd.GridSearchCV`.

    See Also
    --------
    GridSearchCV : Tries all candidates of a grid; its attributes are the same.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from scipy.stats import loguniform
    >>> from fastsgd.dask import RandomizedSearchCV, SGDRegressor
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     X = da.random.default_rng(0).normal(size=(2000, 5), chunks=(500, 5)).persist()
    ...     drawn = {"alpha": loguniform(1e-6, 1.0)}
    ...     search = RandomizedSearchCV(SGDRegressor(random_state=0), drawn, random_state=0)
    ...     search = search.fit(X, X[:, 0] + 1.0)
    >>> bool(search.best_score_ > 0.95)
    True
    """


def path(
    X: Any,
    y: Any = None,
    *,
    alphas: ArrayLike | None = None,
    estimator: Any = None,
    sample_weight: Any = None,
    **source: Unpack[SourceOptions],
) -> Path:
    """Models of many penalties of rows on a cluster, trained in the rounds of one fit.

    Each is what a fit of the estimator with that alpha learns, without its ``finish``.

    Parameters
    ----------
    X : Dask array or data frame, list of delayed objects, or paths
        Rows to train on, as the estimator's ``fit`` takes them.
    y : Dask array or column, optional
        Their labels or targets.
    alphas : array-like of shape (n_alphas,), optional
        Strengths of the penalty; 16 from 1e-7 to 1 if not given.
    estimator : fastsgd.dask.SGDClassifier or SGDRegressor, optional
        Has all other parameters, and is left as it is; ``SGDRegressor()`` if not given. Without
        ``early_stopping``.
    sample_weight : Dask array or column of shape (n_samples,), or str, optional
        Weights of the rows.
    **source : dict of str to object
        How a data frame or paths are read: see the estimator's ``fit``.

    Returns
    -------
    Path
        The models, in the order of ``alphas``.

    Raises
    ------
    ValueError
        If the input is bad; the message names the argument or the partition.
    DivergenceError
        If a run overflows.

    See Also
    --------
    fastsgd.path : Of rows of one machine.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from fastsgd.dask import SGDRegressor, path
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     X = da.random.default_rng(0).normal(size=(2000, 5), chunks=(500, 5)).persist()
    ...     model = SGDRegressor(penalty="l1", random_state=0)
    ...     found = path(X, X[:, 0], alphas=[0.1, 1.0], estimator=model)
    >>> found.coef.shape
    (2, 5)
    """
    model = SGDRegressor() if estimator is None else clone(estimator)
    if not isinstance(model, OnCluster):
        raise ValueError(
            f"estimator must be a fastsgd.dask.SGDClassifier or SGDRegressor, got {estimator!r}"
        )
    with model._on_shards(X, y, sample_weight, source) as rows:
        return local_path(rows, alphas=alphas, estimator=model._trained_as())
