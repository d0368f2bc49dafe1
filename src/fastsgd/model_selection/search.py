"""scikit-learn's searches, with candidates and splits trained in shared passes over X."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from inspect import signature
from numbers import Integral
from typing import Any, Self, TypeVar

import numpy as np
import sklearn.model_selection as peers
from numpy.typing import ArrayLike
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import indexable
from sklearn.utils.validation import _check_method_params

from ..estimators.base import BaseSGD
from ..estimators.classifier import SGDClassifier
from ..estimators.input import check_structure
from ..estimators.network_fitting import BaseMLP
from ..estimators.parameters import seed_of
from ..estimators.regressor import SGDRegressor
from ..estimators.rows import Rows, comes_in_blocks, opened, publish_columns
from ..inputs.conversions import MatrixLike
from ..problem import pinned
from ..solver import check_unchanged, structure_of
from .candidates import last_step
from .evaluation import Evaluation
from .folds import Folds
from .progress import Progress
from .scores import quietly
from .sources import reads_source, score_of_source, split_options
from .stream_evaluation import StreamEvaluation

__all__ = ["GridSearchCV", "RandomizedSearchCV"]

_Method = TypeVar("_Method", bound=Callable[..., Any])

_in_context: Callable[[_Method], _Method] = _fit_context(prefer_skip_nested_validation=False)
"""Checks the parameters of the search, and later those of the estimator."""


def _all_or_nothing(method: _Method) -> _Method:
    """After an exception the search is as it was before."""

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return wrapped  # type: ignore[return-value]


class _SharedPasses(BaseSearchCV):
    """What the searches share: scikit-learn's, but for how candidates are evaluated."""

    cv_results_: dict[str, Any]
    best_estimator_: Any
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    n_splits_: int
    multimetric_: bool
    refit_time_: float

    _where = "do not fit into pool_bytes of memory"

    @_all_or_nothing
    def fit(self, X: MatrixLike, y: ArrayLike | None = None, **params: Any) -> Self:
        """Evaluate the candidates on every split, and train the best one on all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or source
            Rows of all folds. It is read in place where the estimator's ``fit`` does so. A source
            is what the estimators take: see :func:`fastsgd.data.open_source`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Labels or targets of the rows.
        **params : dict of str to object
            What the estimator's ``fit``, the scorer and the splitter are given by name, such as
            ``sample_weight`` and ``groups``; what has a value for each row is split like X. With a
            source also how it is read: ``target``, ``cache``, ``pool_bytes`` and the others.

        Returns
        -------
        GridSearchCV or RandomizedSearchCV
            The search itself.

        Raises
        ------
        ValueError
            If the input is bad, or no fit succeeded.
        """
        if reads_source(self.estimator, X, params):
            self._fit_source(X, y, params)
        else:
            self._fit_arrays(X, y, params)
        return self

    def _fit_arrays(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        check_structure(X)
        if type(last_step(self.estimator)[1]) in (SGDClassifier, SGDRegressor):
            self._fit(X, y, params)
        else:
            super().fit(X, y, **params)

    def _fit_source(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        """Rows of a source as arrays, if they fit into ``pool_bytes``, or as a stream."""
        weight, options, others = split_options(params)
        with opened(self.estimator, X, y, weight, options) as rows:
            if rows.stream is not None:
                self._fit_stream(rows, others)
                return
            if rows.sample_weight is not None:
                others["sample_weight"] = rows.sample_weight
            self._fit_arrays(rows.X, rows.y, others)
            if self.refit and isinstance(self.estimator, (BaseSGD, BaseMLP)):
                publish_columns(self.best_estimator_, rows)

    def _check_estimator(self) -> None:
        if type(self.estimator) not in (SGDClassifier, SGDRegressor):
            raise ValueError(
                "estimator must be an SGDClassifier or SGDRegressor in a search of rows that "
                f"{self._where}, got {type(self.estimator).__name__}: give arrays, or a larger "
                "pool_bytes"
            )

    def _folds(self, seed: int, rows: Rows) -> Folds:
        """Folds of rows that are not all in memory."""
        return Folds(self.cv, seed, rows.stream)  # type: ignore[arg-type]

    def _stream_evaluation(self, scorer: Any, rows: Rows, folds: Folds) -> StreamEvaluation:
        return StreamEvaluation(self, scorer, rows, folds)

    @_in_context
    def _fit_stream(self, rows: Rows, params: dict[str, Any]) -> None:
        """Evaluate the candidates in passes over rows that are not all in memory."""
        assert rows.stream is not None
        self._check_estimator()
        if params:
            where = f"in a search of rows that {self._where}"
            raise ValueError(f"{', '.join(params)} must not be given {where}")
        scorer, metric = self._get_scorers()
        about = {"X": rows.X, "y": rows.y, "metadata": None}
        with self._task(None, about, max_subtasks=1 + (self.refit is not False)) as context:
            seed = seed_of(copy.deepcopy(self.estimator.random_state))
            folds = self._folds(seed, rows)
            self.n_splits_ = folds.count
            evaluation = self._stream_evaluation(scorer, rows, folds)
            results, found = self._evaluate(evaluation, evaluation.splits, context)
            self._finish((scorer, metric), results, found, (rows, None, {}, context, about))

    @_in_context
    def _fit(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        """The steps of scikit-learn's ``fit``, around an evaluation of our own."""
        scorer, metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        weight = params.get("sample_weight")
        about = {"X": X, "y": y, "metadata": None if weight is None else {"sample_weight": weight}}
        with self._task(None, about, max_subtasks=1 + (self.refit is not False)) as context:
            with np.errstate(invalid="ignore"):  # it casts y, whatever is in there
                cv = check_cv(self.cv, self._targets(y), classifier=is_classifier(self.estimator))
            self._checked_cv_orig = cv
            self.n_splits_ = cv.get_n_splits(X, y, **routed.splitter.split)
            evaluation = Evaluation(self, scorer, (X, y), routed.estimator.fit, routed.scorer.score)
            pins, structure = pinned(X, y), structure_of(X)  # which a splitter might change

            def splits(cv: Any) -> list[Any]:
                targets = self._targets(y) if cv is None else y
                found = list(
                    (cv or self._checked_cv_orig).split(X, targets, **routed.splitter.split)
                )
                check_unchanged(X, structure)
                return found

            results, found = self._evaluate(evaluation, splits, context)
            del pins
            refit = X, y, routed.estimator.fit, context, about
            self._finish((scorer, metric), results, found, refit)

    def _finish(
        self,
        scoring: tuple[Any, Any],
        results: dict[str, Any],
        found: list[dict[str, Any]],
        refit: tuple[Any, Any, dict[str, Any], Any, dict[str, Any]],
    ) -> None:
        """Choose the best candidate, train it on all rows, and publish what was found."""
        scorer, metric = scoring
        self.multimetric_ = isinstance(found[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(found[0]["test_scores"])
            metric = self.refit
        if self.refit or not self.multimetric_:
            self._choose(metric, results)
        if self.refit:
            self._refit(*refit)
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        self.cv_results_ = results

    def _targets(self, y: Any) -> Any:
        """y as folds of scikit-learn's own see it: integers in one byte, where they need no more.

        The folds are the same, and are found sooner.
        """
        known = self.cv is None or isinstance(self.cv, Integral)
        array = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu" and len(y) > 0
        if not (known and array):
            return y
        lowest, highest = int(y.min()), int(y.max())
        return (y - y.dtype.type(lowest)).astype(np.uint8) if highest - lowest < 256 else y

    def _evaluate(
        self, evaluation: Any, splits_of: Callable[[Any], list[Any]], context: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """``cv_results_``, and the results of all fits; ``splits_of`` a splitter, or None."""
        candidates: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        more: dict[str, list[Any]] = defaultdict(list)
        results: dict[str, Any] = {}

        def evaluate(
            candidate_params: Any,
            cv: Any = None,
            more_results: Any = None,
            callback_ctx: Any = None,
        ) -> dict[str, Any]:
            """What scikit-learn's ``_run_search`` calls, once or more often."""
            these = list(candidate_params)
            splits = splits_of(cv)
            if len(splits) != self.n_splits_:
                raise ValueError(
                    "cv.split and cv.get_n_splits return inconsistent results. Expected "
                    f"{self.n_splits_} splits, got {len(splits)}"
                )
            if not (these and splits):
                raise ValueError(
                    "No fits were performed. Was the CV iterator empty? Were there no candidates?"
                )
            progress = Progress(self, these, self.n_splits_, callback_ctx)
            new = evaluation(these, splits, progress)
            _warn_or_raise_about_fit_failures(new, self.error_score)
            if callable(self.scoring):
                _insert_error_scores(new, self.error_score)
            candidates.extend(these)
            found.extend(new)
            for name, values in ({} if more_results is None else more_results).items():
                more[name].extend(values)
            formatted = self._format_results(candidates, self.n_splits_, found, more)
            results.clear()
            results.update(formatted)
            return results

        if "callback_ctx" in signature(self._run_search).parameters:
            self._run_search(evaluate, callback_ctx=context)
        else:
            self._run_search(evaluate)
        return results, found

    def _choose(self, metric: Any, results: dict[str, Any]) -> None:
        """The best candidate."""
        self.best_index_ = self._select_best_index(self.refit, metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _refit(
        self, X: Any, y: Any, fit_params: dict[str, Any], context: Any, about: dict[str, Any]
    ) -> None:
        """The best candidate on all rows."""
        best = clone(self.best_params_, safe=False)
        self.best_estimator_ = clone(self.estimator).set_params(**best)
        name = {"task_name": "refit-with-best-params"}
        with self._task(context, about, **name) as inner, contextlib.ExitStack() as stack:
            if inner is not None:
                stack.enter_context(inner.propagate_callback_context(self.best_estimator_))
            start = time.time()
            self.best_estimator_.fit(X, y, **fit_params)
            self.refit_time_ = time.time() - start
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_
        else:
            vars(self).pop("feature_names_in_", None)

    @contextlib.contextmanager
    def _task(self, parent: Any, about: dict[str, Any], **options: Any) -> Iterator[Any]:
        """A task of which scikit-learn's callbacks are told, from 1.9 on."""
        if not hasattr(self, "_init_callback_context"):
            yield None
            return
        begin: Callable[..., Any] = (
            self._init_callback_context if parent is None else parent.subcontext
        )
        context = begin(**options).call_on_fit_task_begin(estimator=self, **about)
        yield context
        context.call_on_fit_task_end(estimator=self, **about)

    def score(self, X: MatrixLike, y: ArrayLike | None = None, **params: Any) -> float:
        """The score of ``best_estimator_`` on other rows, by ``scoring``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or source
            Rows to predict.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Their labels or targets; a source has its own.
        **params : dict of str to object
            With scikit-learn's metadata routing, what the scorer requests.

        Returns
        -------
        float
            The score; with several, that of ``refit``.
        """
        if y is None and self.scoring is not None and hasattr(self, "best_estimator_"):
            known = hasattr(self.best_estimator_, "columns_") or None
            if comes_in_blocks(X, target=known):
                scorer = self.scorer_[self.refit] if self.multimetric_ else self.scorer_
                return score_of_source(self.best_estimator_, scorer, X)
        with quietly(not callable(self.scoring)):
            return super().score(X, y, **params)


class GridSearchCV(_SharedPasses, peers.GridSearchCV):
    """Grid search of scikit-learn, with candidates and folds trained in shared passes over X.

    Parameters, attributes and conventions are those of ``sklearn.model_selection.GridSearchCV``.
    Candidates of an :class:`SGDClassifier` or :class:`SGDRegressor` that differ in ``alpha``,
    ``l1_ratio``, ``eta0`` or ``class_weight`` alone are trained in the same passes over X, and so
    are the folds: X is not copied. In a ``Pipeline`` whose last step is such an estimator, the
    steps before it are fitted once for each fold, and the candidates of the last step share passes.

    Parameters
    ----------
    estimator : estimator object
        Trained with the parameters of every candidate; itself it is left as it is.
    param_grid : dict or list of dict
        Values to try for each parameter, by its name; ``"sgdclassifier__alpha"`` is the ``alpha``
        of a pipeline's step.
    scoring : str, callable, list, tuple, dict or None, default=None
        One score or several. None is the estimator's own, accuracy or R^2, which is also the
        fastest.
    n_jobs : int or None, default=None
        Processes for the fits that share no passes.
    refit : bool, str or callable, default=True
        Whether to train the best candidate on all rows. With several scores the name of the one
        that decides, or ``refit(cv_results)``, which gives the index of the best.
    cv : int, splitter, iterable or None, default=None
        Folds, as ``sklearn.model_selection.check_cv`` takes them. None is 5 folds, of a classifier
        stratified.
    verbose : int, default=0
        Above 0 the number of fits is printed, above 1 a line for each fit, above 2 its scores too.
    pre_dispatch : int or str, default="2*n_jobs"
        Of the fits that share no passes, how many are handed out ahead of time.
    error_score : {"raise"} or float, default=np.nan
        The score where a fit diverges, is refused, or its scorer raises an exception; there is a
        warning then. With "raise" the exception is raised.
    return_train_score : bool, default=False
        Whether to score the training rows of each fold too.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        Parameters, scores, ranks and times of the candidates, named as in scikit-learn. Fits that
        share passes are each given an equal part of the time.
    best_estimator_ : estimator object
        The best candidate, trained on all rows; not with ``refit=False``.
    best_score_ : float
        Its mean score.
    best_params_ : dict of str to object
        Its parameters.
    best_index_ : int
        Its place in ``cv_results_``; of equal candidates, the first.
    scorer_ : callable or dict of str to callable
        What ``scoring`` stands for.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds that the training of ``best_estimator_`` took.
    multimetric_ : bool
        Whether there are several scores.
    classes_ : ndarray of shape (n_classes,)
        Labels of ``best_estimator_``.
    n_features_in_ : int
        Number of features of ``best_estimator_``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has names.

    See Also
    --------
    RandomizedSearchCV : Draws candidates instead of trying all.
    path : Models of many penalties without folds.

    Notes
    -----
    Without a step before the estimator, a row that a fold does not train on has weight zero in the
    fold's models, and keeps its place in the order of the rows and in its batch. Each model is the
    one of a fit with ``sample_weight`` 0 in these rows. It differs from a fit on a copy of the
    training rows as two fits of different ``random_state`` do; with ``shuffle=False``,
    ``batch_size=1`` and a learning rate that does not come from the data they are equal to
    rounding. In a pipeline each fold has rows of its own, and the results are those of
    scikit-learn's search to rounding in any order.

    Candidates that differ in other parameters have passes of their own, as do softmax models and,
    with ``standardize=True``, folds. Everything else is evaluated by scikit-learn, fit by fit:
    other estimators, ``early_stopping``, ``on_divergence="backoff"``, arguments of ``fit`` besides
    ``sample_weight``, folds that train on a row twice or lack a class. A generator as
    ``random_state`` is copied for every fit, as scikit-learn does; with None the fits of a shared
    pass have the same seed. Fits of shared passes do not warn; that of ``best_estimator_`` does.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from fastsgd import GridSearchCV, SGDClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = SGDClassifier("log_loss", max_iter=20, tol=None, random_state=0)
    >>> search = GridSearchCV(model, {"alpha": [1e-4, 1e-2, 1.0]}).fit(scale(X), y)
    >>> search.best_params_
    {'alpha': 0.01}
    >>> print(f"{search.best_score_:.2f}")
    0.98
    """


class RandomizedSearchCV(_SharedPasses, peers.RandomizedSearchCV):
    """Randomized search of scikit-learn, with candidates and folds trained in shared passes over X.

    Candidates share passes as in :class:`GridSearchCV`. A distribution of a parameter other than
    ``alpha``, ``l1_ratio``, ``eta0`` and ``class_weight`` gives each candidate passes of its own.

    Parameters
    ----------
    estimator : estimator object
        Trained with the parameters of every candidate; itself it is left as it is.
    param_distributions : dict or list of dict
        Lists of values, or distributions of ``scipy.stats``, for each parameter by its name.
    n_iter : int, default=10
        Number of candidates that are drawn.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in :class:`GridSearchCV`.
    n_jobs : int or None, default=None
        As in :class:`GridSearchCV`.
    refit : bool, str or callable, default=True
        As in :class:`GridSearchCV`.
    cv : int, splitter, iterable or None, default=None
        As in :class:`GridSearchCV`.
    verbose : int, default=0
        As in :class:`GridSearchCV`.
    pre_dispatch : int or str, default="2*n_jobs"
        As in :class:`GridSearchCV`.
    random_state : int, RandomState or None, default=None
        Draws the candidates.
    error_score : {"raise"} or float, default=np.nan
        As in :class:`GridSearchCV`.
    return_train_score : bool, default=False
        As in :class:`GridSearchCV`.

    See Also
    --------
    GridSearchCV : Tries all candidates of a grid; its attributes are the same.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from fastsgd import RandomizedSearchCV, SGDRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SGDRegressor(max_iter=20, tol=None, random_state=0)
    >>> drawn = {"alpha": loguniform(1e-6, 1.0)}
    >>> search = RandomizedSearchCV(model, drawn, n_iter=20, random_state=0).fit(scale(X), y)
    >>> print(f"{search.best_score_:.2f}")
    0.48
    """
