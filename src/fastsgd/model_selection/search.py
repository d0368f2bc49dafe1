"""Searches by cross-validation, of which all candidates and splits are trained in shared passes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    is_classifier,
)
from sklearn.metrics import check_scoring, get_scorer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import BaseSGD, keep_parameters
from ..estimators.classifier import SGDClassifier, _may_predict_proba
from ..estimators.fitting import all_or_nothing
from ..estimators.input import blame_input
from ..estimators.parameters import CONSTRAINTS, PENALTY_CONSTRAINTS, seed_of
from ..estimators.regressor import SGDRegressor
from ..solver import check_unchanged, structure_of
from .candidates import grid, known, models_of, splits_of
from .lanes import fit_all
from .scores import results_of, scores_of

__all__ = ["SGDClassifierCV", "SGDRegressorCV"]


class _SearchCV:
    """What the two searches share; before scikit-learn's classes among the bases."""

    _plain: type[BaseSGD]
    __metadata_request__fit = {"groups": UNUSED}  # noqa: RUF012 of the splitter, not of the search

    loss: Any
    alphas: Any
    epsilons: Any
    l1_ratio: Any
    eta0: Any
    penalty: str | None
    scoring: Any
    cv: Any
    random_state: Any
    standardize: bool
    error_score: Any
    best_estimator_: Any

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        """As scikit-learn has it, but the signature is read once."""
        return super()._get_param_names()  # type: ignore[misc]

    _validate_params = BaseSGD._validate_params  # of those that are not at their defaults

    def _base(self) -> BaseSGD:
        """The estimator of one model, with the first candidate's parameters."""
        names = self._plain._get_param_names()
        parameters = self.get_params(deep=False)  # type: ignore[attr-defined]
        given = {name: value for name, value in parameters.items() if name in names}
        base = self._plain(**given)
        vars(base).update(grid(self)[0])
        return base

    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        **params: Any,
    ) -> Any:
        """Train every candidate on every split, and the best candidate on all rows.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Read in place where :meth:`SGDClassifier.fit` does.
        y : array-like of shape (n_samples,), or of shape (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Of training, and of scorers that take weights.
        groups : array-like of shape (n_samples,), optional
            For a splitter of groups. With scikit-learn's metadata routing it goes to a ``cv`` that
            requests it, as splitters of groups do by themselves.
        **params
            With metadata routing: what ``cv`` and ``scoring`` request.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Bad input; the message names the argument.
        DivergenceError
            Every candidate diverged in some split (in all splits, where ``error_score`` is a
            number; any, where it is "raise"), or the best one on all rows.
        """
        of_splitter, of_scorer = self._route(sample_weight, groups, params)
        base, candidates = self._base(), grid(self)
        base.random_state = seed_of(self.random_state)
        task = base._begin(X, y, sample_weight)
        structure = structure_of(task.X)
        models = models_of(base, candidates)
        splits = splits_of(self.cv, task, of_splitter, classifier=is_classifier(self))
        with blame_input(base, task.X):
            trained = fit_all(models, task, [train for train, _ in splits], base.random_state)
            if trained.error is not None and self._fails(trained.failed):
                raise trained.error
        tests = [test for _, test in splits]
        scores = scores_of(models, task, tests, trained, self.error_score, of_scorer)
        self.cv_results_ = results_of(candidates, scores)
        if trained.failed.any():
            said = "NaN" if np.isnan(self.error_score) else self.error_score
            warnings.warn(
                f"{np.count_nonzero(trained.failed)} of {trained.failed.size} fits diverged: their "
                f"scores are {said}.",
                RuntimeWarning,
                stacklevel=4,
            )
        means = self.cv_results_["mean_test_score"]
        if not np.isfinite(means[~trained.failed.any(axis=0)]).all():
            warnings.warn(
                f"One or more of the test scores are non-finite: {means}",
                UserWarning,
                stacklevel=4,
            )
        self.n_splits_ = len(splits)
        self.best_index_ = int(self.cv_results_["rank_test_score"].argmin())
        self.best_params_ = candidates[self.best_index_]
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.alphas_ = np.unique(self.cv_results_["param_alpha"])
        vars(base).update(self.best_params_)
        if isinstance(base, SGDClassifier):
            task = replace(task, class_weight=base._class_weights(task.y, task.weight))
        base._solve(task)
        check_unchanged(task.X, structure)  # by scorers and by cv
        self.best_estimator_ = base
        self._publish(base)
        return self

    def _fails(self, failed: NDArray[np.bool_]) -> bool:
        """Whether divergences end the search; ``failed`` is (n_splits, n_candidates)."""
        if isinstance(self.error_score, str):  # "raise"
            return bool(failed.any())
        if np.isnan(self.error_score):  # no candidate would have a mean
            return bool(failed.any(axis=0).all())
        return bool(failed.all())

    def _publish(self, base: BaseSGD) -> None:
        """Make the attributes of the model of all rows this estimator's."""
        vars(self).pop("feature_names_in_", None)
        for name in ("alpha", "l1_ratio", "eta0", "epsilon", "class_weight"):
            if name in vars(base):
                setattr(self, f"{name}_", getattr(base, name))
        names = "classes_", "coef_", "intercept_", "n_iter_", "loss_curve_", "n_features_in_"
        for name in (*names, "feature_names_in_"):
            if name in vars(base):
                setattr(self, name, getattr(base, name))

    def predict(self, X: Any) -> NDArray[Any]:
        """Predictions of the model of all rows, as those of ``best_estimator_``."""
        check_is_fitted(self)
        return self.best_estimator_.predict(X)

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> float:
        """The score of the model of all rows, by ``scoring``.

        Sample weights are used where the scorer takes them, or with scikit-learn's metadata routing
        where it requests them, as it may request other ``params``.
        """
        _raise_for_params(params, self, "score")
        if self.scoring is None:
            return super().score(X, y, sample_weight)  # type: ignore[misc]
        check_is_fitted(self)
        scorer = check_scoring(self.best_estimator_, scoring=self.scoring)
        options = {**params, **known(sample_weight=sample_weight)}
        if _routing_enabled():
            options = process_routing(self, "score", **options).scorer.score
        quiet = "ignore" if isinstance(self.scoring, str) else None
        with np.errstate(over=quiet, invalid=quiet):  # scikit-learn's, of predictions of any size
            return scorer(self.best_estimator_, X, y, **options)

    def _route(
        self, sample_weight: Any, groups: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What the splitter and the scorer are given by name; None: as without routing."""
        _raise_for_params(params, self, "fit")
        if not _routing_enabled():
            return {"groups": groups}, None
        given = known(sample_weight=sample_weight, groups=groups)
        routed = process_routing(self, "fit", **given, **params)
        return routed.splitter.split, None if self.scoring is None else routed.scorer.score

    def get_metadata_routing(self) -> MetadataRouter:
        """What is requested of ``fit`` and ``score``, and by whom.

        ``sample_weight`` is the search's own, and the scorer's if it requests it; ``groups`` and
        others are the splitter's and the scorer's. The default score takes part in the search's
        own request.

        Returns
        -------
        MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        split = MethodMapping().add(caller="fit", callee="split")
        router.add(splitter=self.cv, method_mapping=split)
        if self.scoring is not None:
            scores = MethodMapping().add(caller="fit", callee="score")
            scores.add(caller="score", callee="score")
            router.add(scorer=get_scorer(self.scoring), method_mapping=scores)
        return router

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        plain = self._plain(self.loss, standardize=self.standardize).__sklearn_tags__()
        tags.input_tags, tags.target_tags = plain.input_tags, plain.target_tags
        tags.classifier_tags = plain.classifier_tags
        return tags


def _constraints(plain: type[BaseSGD], names: Sequence[str]) -> dict[str, list[Any]]:
    """Constraints of a search's parameters."""
    several = {
        name: [*{**CONSTRAINTS, **PENALTY_CONSTRAINTS}[name], "array-like"]
        for name in ("l1_ratio", "eta0")
    }
    return {
        **{name: plain._parameter_constraints[name] for name in names},
        **several,
        "alphas": ["array-like", None],
        "epsilons": ["array-like", None],
        "cv": ["cv_object"],
        "error_score": [StrOptions({"raise"}), Real],
    }


_SHARED = (
    *("loss", "penalty", "fit_intercept", "max_iter", "tol", "shuffle", "epsilon", "n_jobs"),
    *("random_state", "learning_rate", "power_t", "n_iter_no_change", "average", "batch_size"),
    *("momentum", "nesterov", "sampling", "decay", "step_epochs", "total_epochs", "warmup_steps"),
    *("clip_norm", "linear_scaling", "scoring", "standardize"),
)


class SGDClassifierCV(_SearchCV, ClassifierMixin, BaseEstimator):
    """Linear classifiers whose penalty, rate and loss are found by cross-validation.

    All candidates, splits and classes are trained in shared passes over X, of which nothing is
    copied: a row that a split holds out is of weight zero in its lanes. The model of a candidate
    on a split is what :class:`SGDClassifier` learns with ``sample_weight`` 0 outside the split's
    training rows. The best candidate is then trained on all rows.

    Parameters
    ----------
    loss, penalty, fit_intercept, max_iter, tol, shuffle, epsilon, n_jobs, random_state, \
learning_rate, power_t, n_iter_no_change, class_weight, average, batch_size, momentum, nesterov, \
sampling, decay, step_epochs, total_epochs, warmup_steps, multi_class, clip_norm, linear_scaling, \
standardize
        As in :class:`SGDClassifier`. With ``standardize``, or where the start of averages depends
        on the number of rows, splits do not share passes; of "multinomial" models, whose classes
        are not independent of each other, no two do.
    alphas : array-like of shape (n_alphas,), default=None
        Strengths of the penalty. None: 16 from 1e-7 to 1, evenly spaced in their logarithm.
    l1_ratio : float, None or array-like, default=0.15
        One value or several, with "elasticnet".
    eta0 : float, None or array-like, default=None
        One value or several. None: as in :class:`SGDClassifier`; what is found from the data is
        found from the training rows of each split.
    class_weights : list or tuple, default=None
        Values of ``class_weight`` to try, each None, "balanced" or a dict. They cost lanes, not
        passes.
    epsilons : array-like of shape (n_epsilons,), default=None
        Values of ``epsilon`` to try, with a loss that has one. Each costs passes of its own.
    cv : int, splitter, iterable or None, default=None
        Splits as scikit-learn's ``check_cv`` takes them: an int or None, 5, is of stratified folds.
        A split must not train on a row twice.
    scoring : str, callable or None, default=None
        Scorer of the test rows, of which the largest mean is best. None: accuracy. Test rows have
        their sample weights where a scorer takes them.
    error_score : "raise" or float, default=NaN
        The score of a candidate on a split where its run diverged or the scorer raised an
        exception, with a warning; "raise": the exception.

    Attributes
    ----------
    alpha_, l1_ratio_, eta0_, epsilon_, class_weight_
        The best candidate's; ``eta0_`` is None if none was given.
    alphas_ : ndarray of shape (n_alphas,)
        Those that were tried.
    best_params_ : dict
        What was tried of "alpha", "class_weight", "epsilon", "eta0" and "l1_ratio".
    best_score_ : float
        Its mean score.
    best_index_ : int
        Its place in ``cv_results_``; of equal candidates, the first.
    best_estimator_ : SGDClassifier
        The model of all rows.
    cv_results_ : dict of str to ndarray
        As of scikit-learn's ``GridSearchCV``: "params", "param_alpha", "split0_test_score", ...,
        "mean_test_score", "std_test_score", "rank_test_score".
    n_splits_ : int
    classes_, coef_, intercept_, n_iter_, loss_curve_, n_features_in_, feature_names_in_
        Of the model of all rows, as in :class:`SGDClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from fastsgd import SGDClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> search = SGDClassifierCV("log_loss", max_iter=20, tol=None, random_state=0)
    >>> search.fit(scale(X), y).best_score_ > 0.97
    True
    """

    _plain = SGDClassifier
    _parameter_constraints = {  # noqa: RUF012
        **_constraints(SGDClassifier, (*_SHARED, "class_weight", "multi_class")),
        "class_weights": [list, tuple, None],
    }

    def __init__(
        self,
        loss: Any = "hinge",
        *,
        penalty: str | None = "l2",
        alphas: ArrayLike | None = None,
        l1_ratio: Any = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: Any = "auto",
        eta0: Any = None,
        power_t: float = 0.5,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        average: bool | int | float = False,
        batch_size: int = 1,
        momentum: float = 0.0,
        nesterov: bool = False,
        sampling: str = "reshuffle",
        decay: float = 0.1,
        step_epochs: float = 10.0,
        total_epochs: float | None = None,
        warmup_steps: int = 0,
        multi_class: str = "ovr",
        clip_norm: float | None = None,
        linear_scaling: bool = False,
        standardize: bool = False,
        class_weights: Sequence[Any] | None = None,
        epsilons: ArrayLike | None = None,
        cv: Any = None,
        scoring: Any = None,
        error_score: float | str = np.nan,
    ) -> None:
        keep_parameters(self, locals())

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Scores of the model of all rows: see :meth:`SGDClassifier.decision_function`."""
        check_is_fitted(self)
        return self.best_estimator_.decision_function(X)

    @available_if(_may_predict_proba)
    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Probabilities of the classes: see :meth:`SGDClassifier.predict_proba`."""
        check_is_fitted(self)
        return self.best_estimator_.predict_proba(X)

    @available_if(_may_predict_proba)
    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:
        """Logarithms of ``predict_proba``, shape (n, n_classes)."""
        check_is_fitted(self)
        return self.best_estimator_.predict_log_proba(X)


class SGDRegressorCV(_SearchCV, RegressorMixin, BaseEstimator):
    """Linear regression whose penalty, rate and loss are found by cross-validation.

    See :class:`SGDClassifierCV`.

    Parameters
    ----------
    loss, penalty, fit_intercept, max_iter, tol, shuffle, epsilon, n_jobs, random_state, \
learning_rate, power_t, n_iter_no_change, average, quantile, batch_size, momentum, nesterov, \
sampling, decay, step_epochs, total_epochs, warmup_steps, clip_norm, linear_scaling, standardize
        As in :class:`SGDRegressor`.
    alphas, l1_ratio, eta0, epsilons
        As in :class:`SGDClassifierCV`.
    cv : int, splitter, iterable or None, default=None
        Splits as scikit-learn's ``check_cv`` takes them: an int or None, 5, is of folds in order.
    scoring : str, callable or None, default=None
        Scorer of the test rows, of which the largest mean is best. None: R^2, which is NaN of a
        single test row.
    error_score : "raise" or float, default=NaN
        As in :class:`SGDClassifierCV`.

    Attributes
    ----------
    alpha_, l1_ratio_, eta0_, epsilon_, alphas_, best_params_, best_score_, best_index_, \
best_estimator_, cv_results_, n_splits_
        As in :class:`SGDClassifierCV`.
    coef_, intercept_, n_iter_, loss_curve_, n_features_in_, feature_names_in_
        Of the model of all rows, as in :class:`SGDRegressor`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from fastsgd import SGDRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = SGDRegressorCV(max_iter=20, tol=None, random_state=0).fit(scale(X), y)
    >>> search.best_score_ > 0.4
    True
    """

    _plain = SGDRegressor
    _parameter_constraints = _constraints(SGDRegressor, (*_SHARED, "quantile"))

    def __init__(
        self,
        loss: Any = "squared_error",
        *,
        penalty: str | None = "l2",
        alphas: ArrayLike | None = None,
        l1_ratio: Any = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: Any = "auto",
        eta0: Any = None,
        power_t: float = 0.25,
        n_iter_no_change: int = 5,
        average: bool | int | float = False,
        quantile: float = 0.5,
        batch_size: int = 1,
        momentum: float = 0.0,
        nesterov: bool = False,
        sampling: str = "reshuffle",
        decay: float = 0.1,
        step_epochs: float = 10.0,
        total_epochs: float | None = None,
        warmup_steps: int = 0,
        clip_norm: float | None = None,
        linear_scaling: bool = False,
        standardize: bool = False,
        epsilons: ArrayLike | None = None,
        cv: Any = None,
        scoring: Any = None,
        error_score: float | str = np.nan,
    ) -> None:
        keep_parameters(self, locals())
