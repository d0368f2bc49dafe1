"""Many models of the same rows in shared passes over X: cross-validation and regularisation paths.

A candidate is a choice of alpha, l1_ratio, eta0, class_weight and epsilon. With s splits and K
outputs there are candidates x splits x K lanes; an epsilon, which all lanes of a pass share, has
passes of its own. A row that a split holds out is of weight zero in the split's lanes,
so X is read in place and no part of it is copied for training. A lane learns what a fit learns
whose ``sample_weight`` is 0 in the rows that its split does not train on, in the same order.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, product
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.metrics import check_scoring, get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints
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

from .base import BaseSGD, all_or_nothing, blame_input, keep_parameters
from .candidate_scores import Models, results_of, scores_of
from .classifier import SGDClassifier, _may_predict_proba
from .exceptions import DivergenceError
from .losses import find
from .parameters import (
    CONSTRAINTS,
    PENALTY_CONSTRAINTS,
    Task,
    check_parameters,
    penalties,
    rates_of,
    seed_of,
    settings_of,
    threads_of,
)
from .plain import make_plain
from .problem import LANE_NUMBERS, Data, Lanes, Settings, computed_in
from .rates import mean_weight
from .regressor import SGDRegressor
from .solver import Fit, State, Stopping, check_unchanged, fit, structure_of
from .standardise import Scaling
from .stopping import EASING
from .times import as_floats

__all__ = ["Path", "SGDClassifierCV", "SGDRegressorCV", "path"]

ALPHAS = tuple(np.logspace(-7.0, 0.0, 16).tolist())
"""The penalties that are tried where none are given: 16 from 1e-7 to 1."""

STATE_BYTES = 1 << 20
"""Weights and optimiser state of the lanes of a pass: about what an L2 cache holds."""

LEAST_LANES = 16
"""Lanes of a pass, at least, if there are so many."""

MOST_SPLITS = 64
"""Splits of a pass: the bits of ``Data.held_out``."""


# ------------------------------------------------------------------ lanes


@dataclass(frozen=True)
class _Split:
    """What the candidates learn from the training rows of one split.

    Attributes
    ----------
    train : ndarray of shape (n_train,) or None
        Training rows; None: all.
    data, lanes, settings
        Lanes are (candidates, outputs), outputs side by side.
    scaling : Scaling
        Of the features that are trained on.
    """

    train: NDArray[np.int64] | None
    data: Data
    lanes: Lanes
    settings: Settings
    scaling: Scaling

    def shares(self, other: _Split) -> bool:
        """Whether the lanes of two splits may be trained in one pass."""
        return self.scaling.scale is None and self.settings == other.settings


def _fields(lanes: Lanes, which: Any = slice(None)) -> dict[str, NDArray[Any]]:
    """The fields of some lanes."""
    return {name: getattr(lanes, name)[which] for name in (*LANE_NUMBERS, "target")}


def _class_weights(
    models: Sequence[BaseSGD], task: Task, weight: NDArray[np.floating] | None
) -> dict[str, NDArray[np.float64]]:
    """``weight_positive`` and ``weight_negative`` of the candidates' lanes, where not 1; rows have
    the weights of a split."""
    found: dict[int, dict[str, Any]] = {}  # of a class_weight, by its id: a dict has no hash
    for model in models:
        if isinstance(model, SGDClassifier) and id(model.class_weight) not in found:
            found[id(model.class_weight)] = model._class_weights(task.y, weight)
    if not any(found.values()):
        return {}
    k = len(task.labels)
    of_models = [found[id(model.class_weight)] for model in models]  # type: ignore[attr-defined]
    return {
        name: np.concatenate([np.broadcast_to(of.get(name, 1.0), k) for of in of_models])
        for name in ("weight_positive", "weight_negative")
    }


def _lanes_of(models: Sequence[BaseSGD], task: Task, data: Data, settings: Settings) -> Lanes:
    """The lanes of all candidates; rates that are found from the data are found once an eta0."""
    k, count = len(task.labels), len(models)
    strengths = np.repeat([penalties(model) for model in models], k, axis=0)
    lanes = Lanes(
        count * k,
        alpha=strengths[:, 0],
        l1=strengths[:, 1],
        eta0=1.0,
        label=np.tile(task.labels, count),
        target=np.tile(task.targets, count),
        **_class_weights(models, task, data.sample_weight),
    )
    alike: dict[Any, list[int]] = {}
    for i, model in enumerate(models):
        own_weights = settings.terms.coupled and id(getattr(model, "class_weight", None))
        key = model.eta0, own_weights, model.learning_rate == "optimal" and i
        alike.setdefault(key, []).append(i)
    for same in alike.values():
        which = (np.array(same)[:, None] * k + np.arange(k)).ravel()
        some = Lanes(len(which), **_fields(lanes, which))
        rates = rates_of(models[same[0]], data, some, settings)
        lanes.eta0[which], lanes.mu[which] = rates.eta0, rates.mu
    lanes.check()
    return lanes


def _split_of(
    models: Sequence[BaseSGD], task: Task, train: NDArray[np.int64] | None, seed: int
) -> _Split:
    weight = task.weight
    if train is not None:
        weight = np.zeros(len(task.y), dtype=computed_in(task.X))
        weight[train] = 1.0 if task.weight is None else task.weight[train]
        if not weight.any():
            raise ValueError("The sample weights of the training rows of a split are all zero.")
    scaling = models[0]._scaling(task, weight, None)
    data = Data(task.X, task.y, weight, scaling.offset, scaling.scale, checked=True)
    settings = settings_of(models[0], task, data, None, seed)
    return _Split(train, data, _lanes_of(models, task, data, settings), settings, scaling)


def _passes(
    splits: Sequence[_Split], outputs: int
) -> Iterator[list[tuple[int, NDArray[np.int64]]]]:
    """Lanes that are trained together: the number of a split, and which of its lanes, for each."""
    first = splits[0]
    if first.settings.terms.coupled:  # the lanes of a softmax are one model, which has its own pass
        for f, begin in product(range(len(splits)), range(0, first.lanes.k, outputs)):
            yield [(f, np.arange(begin, begin + outputs))]
        return
    vectors = first.settings.width + bool(first.lanes.l1.any())
    most = STATE_BYTES // (first.data.d * first.data.dtype.itemsize * vectors)
    most = max(LEAST_LANES, most // LEAST_LANES * LEAST_LANES)
    k, start = first.lanes.k, 0
    while start < len(splits):
        stop = start + 1
        while stop < min(len(splits), start + MOST_SPLITS) and splits[stop].shares(splits[start]):
            stop += 1
        lanes = np.arange((stop - start) * k)
        for begin in range(0, len(lanes), most):
            part = lanes[begin : begin + most]
            numbers = np.unique(part // k)
            yield [(start + int(f), part[part // k == f] - int(f) * k) for f in numbers]
        start = stop


def _pass_of(
    splits: Sequence[_Split], members: list[tuple[int, NDArray[np.int64]]], weight: Any
) -> tuple[Data, Lanes]:
    """Data and lanes of a pass. Rows of one split alone are left out by their sample weights."""
    parts = [_fields(splits[f].lanes, which) for f, which in members]
    fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    data, k = splits[members[0][0]].data, len(fields["alpha"])
    if len(members) == 1:
        return data, Lanes(k, **fields)
    held_out = np.zeros(data.n, dtype=np.uint64)
    bits = np.uint64(1) << np.arange(len(members), dtype=np.uint64)
    for (f, _), bit in zip(members, bits, strict=True):
        out = np.ones(data.n, dtype=bool)
        out[splits[f].train] = False
        held_out[out] |= bit
    of_lane = np.repeat(bits, [len(which) for _, which in members])
    data = replace(data, sample_weight=weight, held_out=held_out)
    return data, Lanes(k, **fields, split=of_lane)


def _mean_weights(
    splits: Sequence[_Split], members: list[tuple[int, NDArray[np.int64]]]
) -> NDArray[np.float64]:
    """Mean weight of the rows that a lane trains on, by which its tolerance is measured."""
    means = []
    for f, which in members:
        lanes = Lanes(len(which), **_fields(splits[f].lanes, which))
        means.append(mean_weight(splits[f].data, lanes, splits[f].settings))
    return np.concatenate(means)


def _train(
    model: BaseSGD,
    data: Data,
    lanes: Lanes,
    settings: Settings,
    unit: NDArray[np.float64],
) -> tuple[Fit, NDArray[np.bool_], DivergenceError | None]:
    """One pass an epoch. Lanes that diverge are left out, and the others start again."""
    settings = replace(settings, n_jobs=threads_of(model.n_jobs, data, model.batch_size, lanes.k))
    stopping = Stopping(
        max_epochs=model.max_iter,
        tol=model.tol,
        patience=min(model.n_iter_no_change, 2**62),
        adaptive=model.learning_rate == "adaptive",
        easing=EASING if model.learning_rate == "auto" else 1.0,
        unit=unit,
    )
    failed, last = np.zeros(lanes.k, dtype=bool), None
    while True:
        state, seen = State(data, lanes, settings), Fit()
        state.active[failed] = 0.0
        try:
            fit(data, lanes, settings, state, stopping, seen)
            return seen, failed, last
        except DivergenceError as error:
            last = error
            last.coef_ = last.intercept_ = None  # of many models
            failed = failed | seen.at_fault
            if failed.all():
                return seen, failed, last


def _fit_all(models: Sequence[BaseSGD], task: Task, rows: Sequence[Any], seed: int) -> Models:
    """Train every candidate on the training rows of every split (None: on all rows)."""
    parts = []
    for _, alike in groupby(models, key=lambda model: model.epsilon):
        parts.append(_fit_lanes(list(alike), task, rows, seed))
    if len(parts) == 1:
        return parts[0]
    names = "coef", "intercept", "epochs", "failed"
    arrays = {name: np.concatenate([vars(part)[name] for part in parts], axis=1) for name in names}
    errors = [part.error for part in parts if part.error is not None]
    return Models(**arrays, error=errors[-1] if errors else None)


def _fit_lanes(models: Sequence[BaseSGD], task: Task, rows: Sequence[Any], seed: int) -> Models:
    """The same of candidates that may share passes."""
    splits = [_split_of(models, task, train, seed) for train in rows]
    shape, d = (len(splits), len(models), len(task.labels)), task.X.shape[1]
    k = len(models) * len(task.labels)
    coef = np.empty((len(splits), k, d), dtype=splits[0].data.dtype)
    intercept = np.empty((len(splits), k), dtype=coef.dtype)
    epochs = np.zeros((len(splits), k), dtype=np.int64)
    failed, error = np.zeros((len(splits), k), dtype=bool), None
    by_class = any(getattr(model, "class_weight", None) is not None for model in models)
    weighed = models[0].tol is not None and (task.weight is not None or by_class)
    for members in _passes(splits, len(task.labels)):
        data, lanes = _pass_of(splits, members, task.weight)
        unit = _mean_weights(splits, members) if weighed else np.ones(lanes.k)
        first = splits[members[0][0]]
        seen, wrong, diverged = _train(models[0], data, lanes, first.settings, unit)
        error = error if diverged is None else diverged
        w, b = first.scaling.to_users(seen.coef, seen.intercept)
        start = 0
        for f, which in members:
            here = slice(start, start + len(which))
            coef[f, which], intercept[f, which] = w[here], b[here]
            epochs[f, which], failed[f, which] = seen.epochs[here], wrong[here]
            start += len(which)
    return Models(
        coef.reshape(*shape, d),
        intercept.reshape(shape),
        epochs.reshape(shape),
        failed.reshape(shape).any(axis=2),
        error,
    )


# ------------------------------------------------------------------ candidates and splits


def _numbers(name: str, value: Any) -> list[float]:
    """The values of a parameter that are tried."""
    array = as_floats(name, value)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a list of finite numbers, got {value!r}")
    return array.tolist()


def _given(**options: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _several(value: Any) -> bool:
    """Whether a parameter is a list of values to try."""
    return isinstance(value, (list, tuple, np.ndarray)) or np.ndim(value) > 0


def _grid(estimator: Any) -> list[dict[str, Any]]:
    """The candidates; alpha runs fastest, and epsilon, which costs passes, slowest."""
    tried: dict[str, list[Any]] = {}
    if estimator.epsilons is not None:
        if find(estimator.loss).parameter != "epsilon":
            raise ValueError(f"epsilons go with a loss that has one, not with {estimator.loss!r}")
        tried["epsilon"] = _numbers("epsilons", estimator.epsilons)
    if getattr(estimator, "class_weights", None) is not None:
        if not len(estimator.class_weights):
            raise ValueError("class_weights must be a list of candidates for class_weight, got []")
        if estimator.class_weight is not None:
            raise ValueError("class_weight and class_weights are both given")
        tried["class_weight"] = list(estimator.class_weights)
    if _several(estimator.eta0):
        tried["eta0"] = _numbers("eta0", estimator.eta0)
    if _several(estimator.l1_ratio):
        if estimator.penalty != "elasticnet":
            raise ValueError("several values of l1_ratio go with penalty='elasticnet'")
        tried["l1_ratio"] = _numbers("l1_ratio", estimator.l1_ratio)
    tried["alpha"] = _numbers("alphas", ALPHAS if estimator.alphas is None else estimator.alphas)
    names = sorted(tried)
    found = [dict(zip(tried, values, strict=True)) for values in product(*tried.values())]
    return [{name: candidate[name] for name in names} for candidate in found]


def _models_of(base: BaseSGD, candidates: Sequence[dict[str, Any]]) -> list[BaseSGD]:
    """A copy of the estimator for each candidate, checked."""
    models = []
    for candidate in candidates:
        validate_parameter_constraints(
            base._parameter_constraints, candidate, caller_name=type(base).__name__
        )
        model = copy.copy(base)
        vars(model).update(candidate)
        if isinstance(model, SGDClassifier):
            model._check_multinomial()
        else:
            check_parameters(model)
        models.append(model)
    return models


def _column(name: str, value: Any, n: int) -> NDArray[Any]:
    """A value for each row, shape (n,)."""
    array = np.asarray(value)
    array = array.ravel() if array.shape == (n, 1) else array
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    return array


def _splits(
    cv: Any, task: Task, options: dict[str, Any], *, classifier: bool
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows of every split; ``options`` are the splitter's, by name."""
    y, rows, found = task.user_y, np.arange(len(task.y)), []
    if options.get("groups") is not None:
        options = {**options, "groups": _column("groups", options["groups"], len(rows))}
    if classifier and y.ndim == 1 and (cv is None or isinstance(cv, Integral)):
        y = task.y.astype(np.min_scalar_type(int(task.y.max())))  # sorted sooner
    splitter = check_cv(cv, y, classifier=classifier)
    for train, test in splitter.split(task.X, y, **options):
        train, test = rows[train], rows[test]
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"cv made a split of {len(train)} training and {len(test)} test rows")
        there = np.zeros(len(rows), dtype=bool)
        there[train] = True
        if np.count_nonzero(there) != len(train):
            raise ValueError("cv made a split that trains on a row twice: use sample_weight")
        found.append((train, test))
    if not found:
        raise ValueError("cv made no splits")
    return found


# ------------------------------------------------------------------ estimators


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
        vars(base).update(_grid(self)[0])
        return base

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
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
        base, candidates = self._base(), _grid(self)
        base.random_state = seed_of(self.random_state)
        task = base._begin(X, y, sample_weight)
        structure = structure_of(task.X)
        models = _models_of(base, candidates)
        splits = _splits(self.cv, task, of_splitter, classifier=is_classifier(self))
        with blame_input(base, task.X):
            trained = _fit_all(models, task, [train for train, _ in splits], base.random_state)
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
        options = {**params, **_given(sample_weight=sample_weight)}
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
        given = _given(sample_weight=sample_weight, groups=groups)
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


# ------------------------------------------------------------------ paths


class Path(NamedTuple):
    """Models along a path of penalties.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
    coef : ndarray of shape (n_alphas, *) with the shape of the estimator's ``coef_``
    intercept : ndarray of shape (n_alphas, *) with the shape of its ``intercept_``
    n_iter : ndarray of shape (n_alphas,), int64
        Epochs of each.
    """

    alphas: NDArray[np.float64]
    coef: NDArray[np.floating]
    intercept: NDArray[np.floating]
    n_iter: NDArray[np.int64]


def path(
    X: Any,
    y: ArrayLike,
    *,
    alphas: ArrayLike | None = None,
    estimator: BaseSGD | None = None,
    sample_weight: ArrayLike | None = None,
) -> Path:
    """Models of many penalties, trained in shared passes over X.

    Each is what a fit of the estimator with that alpha learns.

    Parameters
    ----------
    X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), or of shape (n_samples, n_outputs)
    alphas : array-like of shape (n_alphas,), optional
        Strengths of the penalty; 16 from 1e-7 to 1 if not given.
    estimator : SGDClassifier or SGDRegressor, optional
        Has all other parameters, and is left as it is; ``SGDRegressor()`` if not given. Without
        ``early_stopping``. "multinomial" models have a pass each.
    sample_weight : array-like of shape (n_samples,), optional

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        Bad input; the message names the argument.
    DivergenceError
        A run overflowed.

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
        raise ValueError("early_stopping should be False in a path")
    values = _numbers("alphas", ALPHAS if alphas is None else alphas)
    make_plain(base)
    base._validate_params()
    base.random_state = seed_of(base.random_state)
    task = base._begin(X, y, sample_weight)
    models = _models_of(base, [{"alpha": value} for value in values])
    with blame_input(base, task.X):
        trained = _fit_all(models, task, [None], base.random_state)
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
