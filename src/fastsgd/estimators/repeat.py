"""A ``partial_fit`` that differs from the last one in its rows alone: a step without its frame.

What scikit-learn's rules and the solver have to say of parameters, lanes and settings they said in
the call before, which left a :class:`Repeat`. :func:`applies` is the one place that decides whether
that still holds. The step is made on a copy of the state: if it ends in anything but a finite
model, or would warn, it is dropped, and the whole ``partial_fit`` follows, with its messages.

Of a wide model on CSR a call goes over all features once, for the norm of the weights; with L1 and
momentum once more, for the pending steps. ``coef_`` is not made until it is read. The copy of the
state is the one before the last call, brought up to date in the features that the last call had.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Run, is_alone
from ..inputs.times import numbers_of
from ..learning_rate.choose import Rates, Request, is_kept_by_row, is_settled
from ..learning_rate.result import result_of
from ..optimizers import Optimizer
from ..problem import Data, Lanes, Settings
from ..scalars import parameters_of
from ..schedules import Schedule
from ..solver import State
from ..solver.epochs import EpochEnd, check_unchanged, structure_of
from ..solver.history import History, mean
from ..solver.training import ceiling_of
from ..statistics.curvature import square_of_row
from .continuation import Continuation
from .input import CSR, FEW_VALUES, NO_TARGETS, needs_no_conversion
from .parameters import find_rates, request_of, threads_of
from .report import has_callbacks

__all__ = ["Repeat", "prepared", "repeatable"]

_Method = TypeVar("_Method", bound=Callable[..., Any])

CONSTANT = (
    *(str, int, float, bool, type(None), np.generic),
    *(np.random.RandomState, Optimizer, Schedule),
)
"""Types of parameters that say the same as long as they are the same object; a generator is drawn
from in the first call alone."""

NEARLY = 1.0 - 1e-9
"""Times one |x|^2, another one is surely not steeper: rates fall with it, up to rounding."""

BUDGET = 1 << 18
"""Values of work of a call into the core: a few milliseconds, between which Ctrl-C is seen."""


@dataclass
class Repeat:
    """What a ``partial_fit`` leaves to the next one, beside its Continuation.

    Attributes
    ----------
    lanes : Lanes
        At the rates of an earlier call.
    settings : Settings
    request : Request
        What the parameters ask of the learning rate.
    run : Run
        Lanes, at the rates of the call, and settings bound to the core, without rows.
    settled : bool
        Whether the learning rates are what they are whatever the rows.
    state : State
        As the call left it.
    published : tuple of (name, ndarray, bytes)
        The attributes that publish the model, and what was in them.
    parameters : tuple or None
        The objects that the user gave; None: they are not known yet.
    steepest : float
        The largest |x|^2 of a single row that left the rates as they are.
    spare : State or None
        Of a wide model that of the call before, to be written over unless somebody else has it.
    touched : ndarray or None
        Features in which ``state`` differs from it,
    everywhere : bool
        and whether in others too, by scales or lazy updates of all features.
    """

    lanes: Lanes
    settings: Settings
    request: Request
    run: Run
    settled: bool
    state: State
    published: tuple[tuple[str, Any, bytes], ...]
    parameters: tuple[Any, ...] | None = None
    steepest: float = 0.0
    spare: State | None = None
    touched: NDArray[np.integer[Any]] | None = None
    everywhere: bool = False

    def next_state(self, previous: Continuation) -> State:
        """What ``previous.next_epoch()`` gives, in less time where there is a spare state."""
        alone = self.spare is not None and is_alone(vars(self), "spare")
        spare = vars(self).pop("spare", None) if alone else None  # no other thread takes it too
        self.spare = None
        touched, state = self.touched, previous.state
        if spare is None or touched is None or state.row > 0 or state.batch_row > 0:
            return previous.next_epoch()
        spare.follow(state, touched, self.everywhere)
        return spare


def repeatable(method: _Method) -> _Method:
    """A ``partial_fit`` that is shorter where it repeats the last call with other rows."""

    @functools.wraps(method)
    def wrapped(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        y = args[0] if args else options.get("y")
        plain = len(args) < 2 and options.get("sample_weight") is None
        if plain and _repeat(self, X, y, options.get("classes")):
            return self
        given = parameters_of(self)
        method(self, X, *args, **options)
        if self._continuation.repeat is not None:
            self._continuation.repeat.parameters = given
        return self

    return wrapped  # type: ignore[return-value]


def prepared(
    estimator: Any,
    problem: tuple[Data, Lanes, Settings],
    rates: Rates,
    state: State,
    model: dict[str, Any],
) -> Repeat | None:
    """What a ``partial_fit`` leaves to the next one, of the attributes ``model``; None if its
    parameters, or what a subclass may have changed, ask for more than a step, or if it was
    interrupted."""
    data, lanes, settings = problem
    parameters = parameters_of(estimator)
    if (
        not type(estimator).__module__.startswith(f"{__package__}.")
        or not all(isinstance(value, CONSTANT) for value in parameters)
        or getattr(estimator, "class_weight", None) is not None
        or estimator.verbose
        or estimator.standardize
        or estimator.on_divergence == "backoff"
        or estimator.learning_rate == "adaptive"
        or estimator.power_t < 0
        or settings.schedule.kind == "callable"
        or settings.sampling == "replacement"
        or data.y.shape[1] > 1
        or (lanes.k * data.d > FEW_VALUES and "coef_" in model)
        or state.row + state.batch_row > 0  # interrupted, maybe at a row that ``data`` has not
    ):
        return None
    request = request_of(estimator, partial=True)
    return Repeat(
        lanes,
        settings,
        request,
        Run(data, lanes, settings, state).without_rows(),
        is_settled(request, settings, rates),
        state,
        published(model),
    )


def published(model: dict[str, Any]) -> tuple[tuple[str, Any, bytes], ...]:
    """The attributes of a model, and what is in them."""
    return tuple((name, array, array.tobytes()) for name, array in model.items())


def applies(estimator: Any, last: Repeat, X: Any, y: Any, classes: Any) -> bool:
    """Whether a call differs from the last one in its rows alone, and these are as they should be.

    The parameters are the same objects, which cannot have changed. The model is what the last call
    made it. X and y are arrays in which scikit-learn would find no fault, of the same dtype and
    width; the structure of CSR is checked elsewhere, and finiteness of X is left to the scores.
    """
    attributes = vars(estimator)
    return (
        last.parameters is not None
        and all(map(is_, parameters_of(estimator), last.parameters))
        and last.state is attributes["_continuation"].state
        and all(
            attributes.get(name) is array and array.tobytes() == was
            for name, array, was in last.published
        )
        and needs_no_conversion(X, y if estimator._supervised else NO_TARGETS)
        and X.dtype == last.state.dtype
        and estimator._expects_unnamed(X.shape[1])
        and (classes is None or _are_known(classes, attributes["classes_"]))
        and not has_callbacks(estimator)
        and len(attributes["history_"]["losses"]) > 0
        and (not attributes["_continuation"].unread or _is_unchanged(estimator))
    )


def _is_unchanged(estimator: Any) -> bool:
    """Whether ``coef_`` of a model that was published unread is that of its state: unread still, or
    an array of its weights, which a user may have changed."""
    if estimator._has_unread_coef:
        return True
    coef = vars(estimator)["coef_"]
    return type(coef) is np.ndarray and np.array_equal(
        coef, estimator._continuation.coef(estimator)
    )


def _are_known(classes: Any, known: Any) -> bool:
    """Whether the classes are those of the model, in their order."""
    if type(classes) is list:
        return bool(classes == known.tolist())
    same = type(classes) is np.ndarray and classes.dtype == known.dtype
    return same and np.array_equal(classes, known)


def _repeat(estimator: Any, X: Any, y: Any, classes: Any) -> bool:
    """Make the step of the last call on other rows; whether it was made."""
    previous = vars(estimator).get("_continuation")
    last = None if previous is None else previous.repeat
    if last is None or type(X) not in (CSR if previous.unread else (np.ndarray, *CSR)):
        return False
    if X.size > (max(FEW_VALUES, X.shape[-1]) if previous.unread else FEW_VALUES):
        return False
    y = numbers_of(y)
    if not applies(estimator, last, X, y, classes):
        return False
    try:
        step = _step(estimator, previous, last, X, y)
    except ValueError:  # the whole of partial_fit says it in its own words
        return False
    if step is not None:
        step.publish(estimator, previous, last)
    return step is not None


@dataclass
class _Step:
    """A step that was made: what there is to publish of it.

    Attributes
    ----------
    data : Data
    run : Run
    rates : Rates
    state : State
    model : tuple of ndarray of shape (K, d) and (K,)
        The former is None where it is left in the state.
    entry : tuple
        An epoch of the history.
    steepest : float
        See :class:`Repeat`.
    touched : ndarray or None
        Of a wide model features in which ``state`` differs from that before,
    everywhere : bool
        and whether in others too, by scales or lazy updates of all features.
    """

    data: Data
    run: Run
    rates: Rates
    state: State
    model: tuple[Any, Any]
    entry: tuple[Any, ...]
    steepest: float
    touched: NDArray[np.integer[Any]] | None
    everywhere: bool

    def publish(self, estimator: Any, previous: Continuation, last: Repeat) -> None:
        """Make it the estimator's model; all of it, whatever interrupts."""
        attributes, state = vars(estimator), self.state
        (coef, intercept), settings = self.model, last.settings
        unread = coef is None
        nothing = np.empty((len(intercept), 0))
        model = estimator._attributes(nothing if unread else coef, intercept)
        if unread:
            del model["coef_"]
        kept = self.rates is previous.rates
        repeat = Repeat(
            last.lanes,
            settings,
            last.request,
            last.run if kept else self.run.without_rows(),
            last.settled or is_settled(last.request, settings, self.rates),
            state,
            published(model),
            last.parameters,
            self.steepest,
            None if self.touched is None else previous.state,
            self.touched,
            self.everywhere,
        )
        continuation = previous.after(state, self.rates, repeat)
        result = result_of(self.rates, settings, updates=self.data.batches(settings.batch_size))
        history, before = History(attributes["history_"]), attributes.copy()
        epochs = len(history)
        try:
            history.add(*self.entry)
            attributes.pop("certificate_", None)
            if unread:
                attributes.pop("coef_", None)
            attributes.update(
                model,
                n_iter_=1,
                t_=1 + int(state.t.max()),
                loss_curve_=history.columns["loss"],
                result_=result,
                _continuation=continuation,
            )
        except BaseException:
            attributes.clear()
            attributes.update(before)
            history.truncate(epochs)
            raise


def _step(estimator: Any, previous: Continuation, last: Repeat, X: Any, y: Any) -> _Step | None:
    """An epoch on the rows, from a copy of the state; None if the model would not be sound, or if
    there is something to warn of.

    Raises
    ------
    ValueError
        Of the rows, or of what became of the model.
    """
    rates, lanes, settings = previous.rates, last.lanes, last.settings
    structure = structure_of(X)
    data = Data.of_sound(X, estimator._targets_of(X, y))
    if settings.batch_size > 1 and settings.n_jobs != threads_of(
        estimator.n_jobs, data, settings.batch_size, lanes.k
    ):
        return None
    unread = previous.unread
    touched = np.array(X.indices) if unread else None  # which user code may change
    state = last.next_state(previous) if unread else previous.next_epoch()
    rescales = state.rescales
    kept, steepest = last.settled, last.steepest
    if not kept and data.n == 1:
        square = square_of_row(data)
        kept = square == steepest or square < NEARLY * steepest
        kept = kept or is_kept_by_row(square, data, lanes, settings, rates)
        steepest = max(steepest, square) if kept else 0.0
    if kept:
        run = last.run.on(data, state)
    else:
        lanes = lanes.unrated()
        rates = find_rates(lanes, last.request, data, settings, rates)
        run = Run(data, lanes, settings, state)
    start = time.perf_counter()
    while not run.advance(BUDGET):
        pass
    seconds = time.perf_counter() - start
    end = EpochEnd(run, state, settings, unread=unread)
    check_unchanged(data.X, structure)
    ceiling = ceiling_of(vars(estimator)["history_"]["losses"][0])
    if run.clipped or not end.is_finite() or mean(end.loss) * lanes.k > ceiling:
        return None
    entry = end.entry(run, state, data.n, seconds)
    changes = touched, state.rescales != rescales
    return _Step(data, run, rates, state, end.model, entry, steepest if kept else 0.0, *changes)
