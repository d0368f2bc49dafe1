"""One call of the solver: from a task to the published model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context

from ..exceptions import DivergenceError
from ..inputs.ranges import check_room, check_start
from ..inputs.times import as_floats
from ..learning_rate.choose import Rates
from ..learning_rate.result import result_of
from ..losses import find
from ..model_files.checkpoint import Checkpoint
from ..problem import Data, Lanes, Settings, computed_in, take
from ..scalars import python_parameters
from ..solver import Fit, Stopping, fit
from ..solver.history import History
from ..solver.stopping import ADAPTIVE_FLOOR, PLATEAU_FACTOR
from ..solver.training import read_last_epoch
from ..statistics.sample import overflows
from .advice import warn_of_cost, warn_of_result, warn_of_scales, warn_of_targets
from .checkpointing import Resumed, Saving
from .continuation import Continuation, recipe_of, state_key, state_of
from .hooks import Array, Hooks, Validate
from .input import FEW_VALUES, blame_input, check_finite
from .parameters import horizon_of, lanes_of, settings_of
from .repeat import prepared
from .report import listening
from .splitting import Splitting
from .standardise import Scaling
from .task import Task
from .validation import LaneScore, ModelScore, hold_out

_Method = TypeVar("_Method", bound=Callable[..., Any])


_in_context: Callable[[_Method], _Method] = _fit_context(prefer_skip_nested_validation=True)
"""scikit-learn's: parameters are validated; the type of a method stays."""


def all_or_nothing(method: _Method) -> _Method:
    """After an exception the estimator is as it was; Ctrl-C alone leaves a model in the making.

    Within, its parameters are Python's own numbers, and validated.
    """
    method = _in_context(method)

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        epochs = len(before["history_"]["epoch"]) if "history_" in before else 0
        try:
            with python_parameters(self):
                return method(self, *args, **kwargs)
        except BaseException as error:
            published = vars(self).get("_continuation") is not before.get("_continuation")
            if published and isinstance(error, KeyboardInterrupt):
                History(self.history_).truncate(min(map(len, self.history_.values())))
            else:
                vars(self).clear()
                vars(self).update(before)
                if "history_" in before:
                    History(before["history_"]).truncate(epochs)
            raise

    return wrapped  # type: ignore[return-value]


class Fitting(Hooks, Splitting):
    """Training and publishing."""

    def _start(
        self,
        previous: Continuation | None,
        given: tuple[ArrayLike | None, ArrayLike | None],
        task: Task,
        *,
        present: bool,
    ) -> tuple[tuple[Any, Any] | None, tuple[Any, Any] | None]:
        """Weights to start from, or None for those of a new or a continued state; and the latter.

        Those given; where a run goes on, those a user put into the attributes; and without one,
        where a run starts from the ``present`` weights, those.
        """
        (coef, intercept), k, d = given, len(task.labels), task.X.shape[1]
        if coef is None and intercept is None:
            at_zero = previous is None and not present and not any(self._initial(k).tolist())
            if at_zero or self._is_unread_and_ours(previous):
                return None, None
        if previous is not None or present:
            model = self._present_model()
        else:
            model = np.zeros((k, d)), self._initial(k)
        if coef is not None or intercept is not None:
            model = (
                model[0] if coef is None else _initial_array("coef_init", coef, (k, d)),
                model[1]
                if intercept is None
                else _initial_array("intercept_init", intercept, (k,)),
            )
        elif previous is not None:
            weights = previous.weights()
            ours = self._model(self._attributes(*previous.scaling.to_users(*weights)))
            same_space = task.scaling.scale is previous.scaling.scale
            if same_space and all(map(np.array_equal, model, ours)):
                return None, weights
        dtype, names = computed_in(task.X), self._names_of_start(coef, intercept)
        trained = task.scaling.to_trained(*model)
        check_start(trained, dtype, names)
        return trained, None

    def _is_unread_and_ours(self, previous: Continuation | None) -> bool:
        """Whether the model is that of the state: its weights are unread, its intercept not set."""
        if previous is None or not self._has_unread_coef:
            return False
        intercept = previous.intercepts()
        nothing = np.empty((len(intercept), 0))
        ours = self._model(self._attributes(nothing, intercept))[1]
        return np.array_equal(self._model({**vars(self), "coef_": nothing})[1], ours)

    def _present_model(self) -> tuple[Any, Any]:
        """The model (K, d) and (K,) of the attributes."""
        if self._has_unread_coef:
            _ = self.coef_
        return self._model(vars(self))

    def _names_of_start(self, coef: Any, intercept: Any) -> tuple[str, str]:
        """What the weights that a run starts from are called: arguments, or attributes."""
        return (
            "coef_" if coef is None else "coef_init",
            "intercept_" if intercept is None else "intercept_init",
        )

    def _check_going_on(self, k: int, d: int) -> None:
        shape = self._present_model()[0].shape
        if shape != (k, d):
            raise ValueError(
                f"Provided coef_ does not match dataset: the model to go on from has {shape[0]} "
                f"outputs of {shape[1]} features, not {k} of {d}."
            )

    def _solve(
        self,
        task: Task,
        start: tuple[Any, Any] = (None, None),
        *,
        resume: bool | Resumed = False,
        partial: bool = False,
        validation: tuple[Any, Any, Any] | None = None,
        diagnostics: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Train, publish the model, warn of what a user should know.

        Parameters
        ----------
        start : tuple of array-like or None
            Weights and intercepts to start from.
        resume : bool or Resumed
            Go on from the previous state, if there is one; this call is part of a longer run. Or
            the same call of a process that ended.
        partial : bool
            The same, for one epoch, without stopping.
        validation : tuple or None
            The user's own X_val, with y_val as the lanes and as the user see it.
        diagnostics : bool
            Measure the noise of the gradients at the end of each epoch.
        checkpoint : Checkpoint or None
            Save the fit while it runs.
        """
        again = resume if isinstance(resume, Resumed) else None
        goes_on = bool(resume) or partial
        began = goes_on if again is None else again.goes_on
        if again is not None:
            start = None, None
        previous = vars(self).get("_continuation") if goes_on else None
        present = previous is None and (goes_on or self.warm_start) and hasattr(self, "coef_")
        if previous is not None or present:
            self._check_going_on(len(task.labels), task.X.shape[1])
        k, d = len(task.labels), task.X.shape[1]
        check_room(f"{k} models of the {d:,} features of X", k * d, computed_in(task.X))
        with blame_input(self, task.X):
            holds_out = validation is None and self.early_stopping and not partial
            stream = task.stream
            draws = holds_out and stream is None
            seed, source, rows = self._draw(task, previous, holds_out=draws)
            weight = task.weight
            if stream is not None:
                validation = self._begin_stream(task, stream, seed, validation, partial, holds_out)
            if rows is not None:
                weight = hold_out(weight, rows, len(task.y), computed_in(task.X))
                task.class_weight = self._class_weights(task.y, weight)
            task.scaling = self._scaling(task, weight, previous)
            validate = self._validation(task, rows, validation)
            data = task.data(weight)
            order = None if stream is None else stream.order_key
            if again is not None:
                again.check_rows(data.epoch_rows, order)
            watched = validate is None
            how = {"goes_on": began, "partial": partial, "watched": watched}
            settings = settings_of(self, task, data, previous, seed, **how)
            same = {"partial": partial, "same_rows": again is not None}
            lanes, rates = lanes_of(self, task, data, settings, previous, **same)
            self._check_unseen(data, lanes, settings)
            if not partial:
                if not self.standardize:
                    warn_of_scales(self, data)
                warn_of_cost(self, data, lanes, settings)
            weights, model = self._start(previous, start, task, present=present)
            within = again is not None and again.within
            given = data, lanes, settings, previous, weights
            begin = functools.partial(state_of, *given, within=within)
            state, settings = begin()
            if self.learning_rate == "adaptive":  # a rate that is used up begins anew
                state.rate_factor[lanes.eta0 * state.rate_factor <= ADAPTIVE_FLOOR] = 1.0
            history = History() if previous is None else History(self.history_)
            progress, epochs = Fit(history), 1 if partial else self.max_iter
            if previous is not None and previous.fits == state_key(data, lanes, settings):
                progress.start = model
            if (
                data.sparse
                and again is None
                and data.d > FEW_VALUES
                and (partial or not (self.certificate or rates.search is not None))
            ):
                progress.begin = lambda: begin()[0]
            if diagnostics:
                from ..solver.diagnosis import Diagnosis

                progress.diagnose = Diagnosis(data, lanes, settings)
            stopping = Stopping(
                max_epochs=epochs,
                tol=None if partial else self.tol,
                patience=min(self.n_iter_no_change, 2**62),
                validate=validate,
                adaptive=self.learning_rate == "adaptive",
                plateau_factor=PLATEAU_FACTOR if watched and self.learning_rate == "auto" else 1.0,
                backoff=self.on_divergence == "backoff",
            )
            problem = data, lanes, settings
            found = task.scaling, rates, source
            publish = functools.partial(
                self._publish, problem, previous, found, stopping, partial=partial
            )
            saving = None
            if again is not None:
                progress.resumed = again.standing
            if checkpoint is not None:
                run = {"goes_on": began, "rows": data.epoch_rows, "seen": 0, "order": order}
                saved = functools.partial(
                    _publish_in, problem, previous, found, stopping, partial=partial
                )
                at = state.epoch, state.row + state.batch_row
                saving = Saving(checkpoint, self, saved, at, run, again)
                if stream is not None:
                    stream.on_window = functools.partial(saving.between_windows, progress)
            made = 0 if again is not None else int(state.t.max())  # updates before this call
            try:
                with listening(self, task, epochs, progress, saving) as end:
                    fit(*problem, state, stopping, progress)
                    publish(progress)
                    end()
            except DivergenceError as error:
                if weights is not None and (error.step == 0 or overflows(*problem, *weights)):
                    names = " and ".join(self._names_of_start(*start))
                    raise ValueError(
                        f"{names} must be smaller, or features of X must be: at these weights, "
                        "from which training starts, scores or losses of rows are not finite."
                    ) from error
                raise error.scaled(task.scaling) from None
            except KeyboardInterrupt:
                if progress.state is not None and progress.state.t.max() > made:
                    self._take_what_there_is(problem, progress)
                    publish(progress)
                raise
        warn_of_result(self, settings, stopping, progress)
        if not partial and rates.search is not None:
            warn_of_targets(self, problem, rates, progress)
        if self.certificate and not partial:
            from ..certificate import certificate

            self.certificate_ = certificate(*problem, progress.coef, progress.intercept)

    def _begin_stream(
        self, task: Task, stream: Any, seed: int, validation: Any, partial: bool, holds_out: bool
    ) -> Any:
        """Bind the rows of a stream to this run; its validation set.

        Raises
        ------
        ValueError
            If something is asked for that needs all rows in memory.
        """
        if self.certificate:
            raise ValueError("certificate=True needs rows that fit into pool_bytes of memory")
        stream.begin(self, seed, self.validation_fraction if holds_out else 0.0)
        if task.class_weight:
            if partial and isinstance(getattr(self, "class_weight", None), str):
                raise ValueError(
                    "class_weight='balanced' is not supported in partial_fit of rows that do not "
                    "fit into pool_bytes of memory"
                )
            task.class_weight = self._class_weights(*stream.label_weights(task.X))
        if not holds_out:
            return validation
        X, y, weight = stream.validation_rows()
        return X, stream.targets_of(X, y), y, weight

    def _validation(
        self, task: Task, rows: NDArray[np.int64] | None, given: tuple[Any, ...] | None
    ) -> Validate | None:
        """The score of a model on the user's own rows or on those held out, which may have
        weights."""
        if given is not None:
            X, y, user_y, weight = given if len(given) == 4 else (*given, None)
            X = take(X, slice(None)) if sp.issparse(X) else X  # which user code may change
            return self._validator(task, X, y, user_y, weight)
        if rows is None:
            return None
        weight = None if task.weight is None else task.weight[rows]
        return self._validator(task, take(task.X, rows), task.y[rows], task.user_y[rows], weight)

    def _validator(self, task: Task, X: Any, y: Any, user_y: Any, weight: Array | None) -> Validate:
        """The score of a model (K, d) and (K,) on validation rows."""
        check_finite(self, X, "X_val")
        if self.scoring is not None:
            return ModelScore(self, X, user_y, weight, task.scaling)
        loss = None
        if task.sign_targets:
            loss = functools.partial(find(task.loss).value, e=self.epsilon)
        return LaneScore(self._measure, X, task.lane_targets(y), weight, loss, task.scaling)

    def _check_unseen(self, data: Data, lanes: Lanes, settings: Settings) -> None:
        """Scan X where no score may tell of a bad value: in rows that are left out or not drawn."""
        unseen = data.sample_weight is not None and not data.sample_weight.all()
        unseen |= 0.0 in (*lanes.weight_positive.tolist(), *lanes.weight_negative.tolist())
        if unseen or settings.sampling == "replacement":
            check_finite(self, data.X)

    def _take_what_there_is(self, problem: tuple[Data, Lanes, Settings], progress: Fit) -> None:
        """After Ctrl-C: the model as it stands, or as it was when it was last finite."""
        assert progress.state is not None
        coef, intercept = progress.state.weights(problem[2])
        if np.isfinite(coef).all() and np.isfinite(intercept).all():
            progress.coef, progress.intercept = coef, intercept
        else:
            read_last_epoch(problem, progress)
            progress.state.set_weights(progress.coef, progress.intercept)

    def _publish(
        self,
        problem: tuple[Data, Lanes, Settings],
        previous: Continuation | None,
        found: tuple[Scaling, Rates, np.random.RandomState | None],
        stopping: Stopping,
        progress: Fit,
        *,
        partial: bool,
    ) -> None:
        (data, lanes, settings), (scaling, rates, source) = problem, found
        assert progress.state is not None
        unread = progress.coef is None
        coef = np.empty((len(progress.intercept), 0)) if unread else progress.coef
        coef, intercept = scaling.to_users(coef, progress.intercept)
        scaled = scaling.scale is not None
        if scaled and not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise ValueError(
                "standardize=True: standard deviations of X are so small, or its means so large, "
                f"that the weights for X itself are not finite in {data.dtype}. Scale X first."
            )
        model = self._attributes(coef, intercept)
        if unread:
            del model["coef_"]
            vars(self).pop("coef_", None)
        vars(self).update(model)
        self.n_iter_ = max(progress.epochs.tolist())
        self.t_ = 1 + max(progress.state.t.tolist())
        self.history_ = progress.history.columns
        self.loss_curve_ = self.history_["loss"]
        vars(self).pop("certificate_", None)
        state = progress.state
        self._continuation = Continuation(
            state=state,
            seed=settings.seed,
            split=source,
            horizon=horizon_of(self, previous),
            average=(self.average, settings.average),
            fits=state_key(data, lanes, settings),
            recipe=recipe_of(self),
            rates=rates,
            scaling=scaling,
            repeat=prepared(self, problem, rates, state, model) if partial else None,
            unread=unread,
        )
        self.result_ = result_of(
            rates,
            settings,
            updates=data.batches(settings.batch_size),
            epochs=self.n_iter_,
            stopped=_end_of(progress),
            reduces_on_plateau=stopping.plateau_factor != 1.0 and stopping.tol is not None,
        )


def _publish_in(*arguments: Any, partial: bool) -> None:
    """``_publish`` of another estimator, the last argument but one; within an epoch with the
    weights as they stand."""
    *found, estimator, progress = arguments
    state, settings = progress.state, found[0][2]
    if state.row > 0 or state.batch_row > 0:
        coef, intercept = state.weights(settings)
        progress = replace(progress, coef=coef, intercept=intercept)
    estimator._publish(*found, progress, partial=partial)


def _end_of(progress: Fit) -> str:
    if all(progress.stopped.tolist()):
        return "tolerance"
    return "callback" if progress.ended else "max_iter"


def _initial_array(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = as_floats(name, value)
    if array.size != np.prod(shape) or not np.isfinite(array).all():
        raise ValueError(
            f"Provided {name} does not match dataset: it must be finite and of shape {shape}, got "
            f"{array.shape}"
        )
    return array.reshape(shape)
