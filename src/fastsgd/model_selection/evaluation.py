"""Candidates of a search on its splits: in shared passes over X where that is possible."""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params, _num_samples

from ..estimators.base import BaseSGD
from ..estimators.input import check_finite, check_structure
from ..estimators.parameters import seed_of
from ..estimators.task import Task
from ..solver import check_unchanged, structure_of
from .candidates import alike, last_step, lone_step, model_of, shares, training
from .lanes import LANE_PARAMETERS, Models, fit_all
from .progress import Progress
from .scores import Rows, Scoring

__all__ = ["Evaluation"]

Splits = Sequence[tuple[Any, Any]]


class _Recorder(BaseEstimator):
    """The last step of a pipeline, of which it learns what that step would be fitted on."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def fit(self, X: Any, y: Any = None, **params: Any) -> _Recorder:
        self.seen = X, y, params
        return self

    def get_metadata_routing(self) -> Any:
        return self.step.get_metadata_routing()


@dataclass
class _View:
    """What the last step of an estimator is trained on.

    Attributes
    ----------
    X, y, params
        As ``fit`` of the last step is given them, of all rows of the search or those of a split.
    wrap : callable
        Makes of a fitted last step the estimator that is scored.
    checked : tuple or None
        X as it is read, and names of its features.
    """

    X: Any
    y: Any
    params: dict[str, Any]
    wrap: Callable[[Any], Any]
    checked: tuple[Any, Any] | None = None

    def task(self, models: dict[int, BaseSGD]) -> Task:
        """X and y as lanes of models see them; X is converted once for all tasks."""
        base = copy.copy(next(iter(models.values())))
        if hasattr(base, "class_weight"):  # which a lane has of its own
            base.class_weight = None
        before = set(vars(base))
        X, names = (self.X, None) if self.checked is None else self.checked
        task = base._begin(X, self.y, self.params.get("sample_weight"))
        if names is not None:
            base.feature_names_in_ = names
        self.checked = task.X, vars(base).get("feature_names_in_")
        learnt = {name: value for name, value in vars(base).items() if name not in before}
        for model in models.values():
            vars(model).update(learnt)
        return task


def _view_of(estimator: Any, X: Any, y: Any, params: dict[str, Any]) -> _View:
    """What an estimator's last step is trained on; the steps before it are fitted."""
    if not isinstance(estimator, Pipeline):
        return _View(X, y, params, lambda model: model)
    name, last = estimator.steps[-1]
    pipe = clone(estimator)
    pipe.steps[-1] = name, _Recorder(last)
    pipe.fit(X, y, **params)

    def wrap(model: Any) -> Any:
        fitted = copy.copy(pipe)
        fitted.steps = [*pipe.steps[:-1], (name, model)]
        return fitted

    X, y, params = pipe.steps[-1][1].seen
    return _View(X, y, params, wrap)


class Evaluation:
    """Evaluates candidates on splits, as scikit-learn's searches do one by one.

    Candidates that differ in ``LANE_PARAMETERS`` alone are trained in shared passes over X. Where
    no step before the last one changes X, the splits share them too: a row that a split does not
    train on is of weight zero there. All else is evaluated by scikit-learn.

    Parameters
    ----------
    search : BaseSearchCV
        Has the estimator and all settings.
    scorer : callable
        What scikit-learn makes of its ``scoring``.
    X, y
        Rows of the search.
    fit_params, score_params : dict
        What the estimator's ``fit`` and the scorer are given by name.
    """

    def __init__(
        self,
        search: Any,
        scorer: Any,
        data: tuple[Any, Any],
        fit_params: dict[str, Any],
        score_params: dict[str, Any],
    ) -> None:
        self.search, (self.X, self.y) = search, data
        self.fit_params, self.score_params = fit_params, score_params
        self.scoring = Scoring(search.scoring, scorer, search.error_score)
        self.prefix, _ = last_step(search.estimator)

    def __call__(
        self, candidates: Sequence[dict[str, Any]], splits: Splits, progress: Progress
    ) -> list[dict[str, Any]]:
        """Results of all candidates on all splits, splits running fastest.

        A result is what scikit-learn's ``_fit_and_score`` gives. Fits of a shared pass took an
        equal part of its time each.
        """
        self.candidates, self.splits, self.progress = candidates, splits, progress
        self.found: dict[tuple[int, int], dict[str, Any]] = {}
        refused: dict[int, ValueError] = {}
        estimator = self.search.estimator
        for group in alike(candidates, range(len(candidates)), self._is_of_last):
            fixed = candidates[group[0]].items()
            steps = {name: value for name, value in fixed if not self._is_of_last(name)}
            one = clone(estimator).set_params(**clone(steps, safe=False))
            if lone_step(one):
                self._in_place(one, group, refused)
            else:
                for f in range(len(splits)):
                    self._through_steps(one, group, f, refused)
        if len(refused) == len(candidates):
            raise refused[0]
        self._one_by_one()
        return [self.found[pair] for pair in product(range(len(candidates)), range(len(splits)))]

    def _is_of_last(self, name: str) -> bool:
        return name.startswith(self.prefix)

    def _is_lane(self, name: str) -> bool:
        return name.removeprefix(self.prefix) in LANE_PARAMETERS and self._is_of_last(name)

    def _own(self, c: int) -> dict[str, Any]:
        """A candidate's parameters of the last step, by their names there."""
        given = self.candidates[c].items()
        length = len(self.prefix)
        return {name[length:]: value for name, value in given if self._is_of_last(name)}

    def _models(
        self, estimator: Any, alikes: list[int], refused: dict[int, ValueError]
    ) -> dict[int, BaseSGD]:
        """The last step with each candidate's parameters, where they are valid and passes may be
        shared.

        The candidates differ in parameters of lanes.
        """
        own = self._own(alikes[0])
        fixed = {name: value for name, value in own.items() if name not in LANE_PARAMETERS}
        base = clone(last_step(estimator)[1]).set_params(**clone(fixed, safe=False))
        models: dict[int, BaseSGD] = {}
        if shares(base):
            for c in alikes:
                own = self._own(c)
                of_lane = {name: own[name] for name in LANE_PARAMETERS if name in own}
                try:
                    models[c] = model_of(base, of_lane, like=next(iter(models.values()), None))
                except ValueError as error:
                    refused[c] = error
        return models

    # X as it is: all splits together.

    def _in_place(self, estimator: Any, group: list[int], refused: dict[int, ValueError]) -> None:
        view = _view_of(estimator, self.X, self.y, self.fit_params)
        for alikes in alike(self.candidates, group, self._is_lane):
            models = self._models(estimator, alikes, refused)
            if not (models and view.params.keys() <= {"sample_weight"}):
                continue
            try:
                task = view.task(models)
            except ValueError as error:
                refused.update(dict.fromkeys(models, error))
                continue
            trains = [training(task, train, len(task.labels)) for train, _ in self.splits]
            which = {f: train for f, train in enumerate(trains) if train is not None}
            rows = {f: self._rows_in_place(task, f, train) for f, train in which.items()}
            self._share(models, task, which, rows, view.wrap)

    def _rows_in_place(self, task: Task, f: int, train: Any) -> list[Rows]:
        """Test rows of a split, and its training rows where they are scored too."""
        rows: list[Rows] = []
        for which in (self.splits[f][1], train)[: 1 + self.search.return_train_score]:

            def users(which: Any = which) -> tuple[Any, Any]:
                check_structure(self.X)  # user code may have changed it
                return _safe_split(self.search.estimator, self.X, self.y, which, train)

            options = _check_method_params(self.X, self.score_params, which)
            rows.append(Rows(users, options, task, np.arange(len(task.y))[which]))
        return rows

    # Rows of a split that went through other steps.

    def _through_steps(
        self, estimator: Any, group: list[int], f: int, refused: dict[int, ValueError]
    ) -> None:
        """One split: the steps before the last one are fitted once, on its training rows."""
        train, test = self.splits[f]
        groups = alike(self.candidates, group, self._is_lane)
        sharing = [self._models(estimator, alikes, refused) for alikes in groups]
        if not any(sharing):
            return
        start = time.time()
        X, y = _safe_split(estimator, self.X, self.y, train)
        params = _check_method_params(self.X, self.fit_params, train)
        try:
            view = _view_of(estimator, X, y, params)
        except Exception:  # scikit-learn meets it again, and tells of it as its searches do
            return
        each = (time.time() - start) / len(group)
        if not view.params.keys() <= {"sample_weight"}:
            return
        for models in filter(None, sharing):
            try:
                task = view.task(models)
                first = next(iter(models.values()))
                parts = [self._rows_behind_steps(view, first, task, test, trained=False)]
                if self.search.return_train_score:
                    parts += [self._rows_behind_steps(view, first, task, train, trained=True)]
            except ValueError:
                continue
            self._share(models, task, {f: None}, {f: parts}, self._scored(view), each)

    def _scored(self, view: _View) -> Callable[[Any], Any]:
        """What is scored: the last step alone, where a scorer sees its predictions alone."""
        return (lambda model: model) if self.scoring.by_predictions else view.wrap

    def _rows_behind_steps(
        self, view: _View, base: BaseSGD, task: Task, which: Any, *, trained: bool
    ) -> Rows:
        """Rows of a split, those that its ``task`` is ``trained`` on or others."""
        options = _check_method_params(self.X, self.score_params, which)
        X, y = _safe_split(self.search.estimator, self.X, self.y, which)
        if not self.scoring.by_predictions:
            return Rows(lambda: (X, y), options)
        if trained:
            X = view.X
        else:
            X = view.wrap(base)[:-1].transform(X)
            model, shape = copy.copy(base), (len(task.labels), task.X.shape[1])
            vars(model).update(base._attributes(np.zeros(shape), np.zeros(shape[0])))
            try:
                task = model._again(X, y, None)
            except ValueError:  # labels that the training rows do not have
                return Rows(lambda: (X, y), options)
        return Rows(lambda: (X, y), options, task, np.arange(len(task.y)))

    # Training and scores.

    def _share(
        self,
        models: dict[int, BaseSGD],
        task: Task,
        trains: Mapping[int, NDArray[np.int64] | None],
        rows: dict[int, list[Rows]],
        wrap: Callable[[Any], Any],
        seconds: float = 0.0,
    ) -> None:
        """Candidates that share passes, on splits that do.

        What is refused is left to scikit-learn, which says of each candidate why.
        """
        if not trains:
            return
        lanes = list(models.values())
        structure, start = structure_of(task.X), time.time()
        try:
            trained = fit_all(lanes, task, list(trains.values()), seed_of(lanes[0].random_state))
        except ValueError:
            check_finite(lanes[0], task.X)
            return
        if trained.error is not None:
            check_finite(lanes[0], task.X)
            if self.search.error_score == "raise":
                raise trained.error
        seconds += (time.time() - start) / (len(trains) * len(lanes))
        for i, f in enumerate(trains):
            self._score(models, (i, f), trained, (rows[f], wrap), seconds)
        check_unchanged(task.X, structure)  # by scorers

    def _score(
        self,
        models: dict[int, BaseSGD],
        split: tuple[int, int],
        trained: Models,
        scored: tuple[list[Rows], Callable[[Any], Any]],
        seconds: float,
    ) -> None:
        """Results of the candidates on one split: the i-th of those trained, f of the search."""
        (i, f), (parts, wrap) = split, scored
        failed = trained.failed[i]
        good = np.flatnonzero(~failed)
        fitted = [model for model, wrong in zip(models.values(), failed, strict=True) if not wrong]
        for model, epochs in zip(fitted, trained.epochs[i, good], strict=True):
            model.n_iter_ = int(epochs.max())
        names = ("test_scores", "train_scores")[: 1 + self.search.return_train_score]
        scores = {name: [self.scoring.failed()] * len(models) for name in names}
        times = np.zeros((2, len(models)))
        for name, rows, spent in zip(names, parts, times, strict=False):
            start = time.time()
            if len(good):
                weights = trained.coef[i, good], trained.intercept[i, good]
                for k, score in zip(
                    good, self.scoring.of(fitted, *weights, rows, wrap), strict=True
                ):
                    scores[name][k] = score
                spent[good] = (time.time() - start) / len(good)
        error = "".join(traceback.format_exception(trained.error)) if trained.error else None
        count = len(np.arange(_num_samples(self.X))[self.splits[f][1]])
        for position, c in enumerate(models):
            result = {name: scores[name][position] for name in names}
            result["fit_error"] = error if failed[position] else None
            result["n_test_samples"] = count
            result["fit_time"], result["score_time"] = seconds, times[0, position]
            self.found[c, f] = result
            self.progress.tell(c, f, result)

    # All else.

    def _one_by_one(self) -> None:
        """What no pass was shared for: a fit for each, by scikit-learn."""
        search, splits = self.search, self.splits
        pairs = product(range(len(self.candidates)), range(len(splits)))
        missing = [pair for pair in pairs if pair not in self.found]
        if not missing:
            return
        base = clone(search.estimator)
        parallel = Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch)
        results = parallel(
            delayed(_fit_and_score)(
                clone(base),
                self.X,
                self.y,
                scorer=self.scoring.scorer,
                train=splits[f][0],
                test=splits[f][1],
                parameters=self.candidates[c],
                fit_params=self.fit_params,
                score_params=self.score_params,
                return_train_score=search.return_train_score,
                return_n_test_samples=True,
                return_times=True,
                error_score=search.error_score,
                verbose=search.verbose,
                split_progress=(f, len(splits)),
                candidate_progress=(c, len(self.candidates)),
                **self.progress.context(c, f),
            )
            for c, f in missing
        )
        self.found.update(zip(missing, results, strict=True))
