"""What the three estimators share: checking input, one call of the solver, publishing, scores."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import _core
from ..exceptions import CostWarning, DivergenceError, FeatureScaleWarning, TargetScaleWarning
from ..inputs.conversions import csr_of, rows_of
from ..inputs.ranges import check_start, weight_range
from ..inputs.times import as_floats, check_numbers, numbers_of
from ..learning_rate.result import Result
from ..learning_rate.search import ROWS as TRIAL_ROWS
from ..losses import find
from ..problem import STORED, Data, Lanes, Settings, blocks, computed_in, take
from ..scalars import plain_parameters
from ..solver import Fit, Stopping, fit
from ..solver.history import History
from ..solver.stopping import ADAPTIVE_FLOOR, EASING
from ..statistics.sample import feature_scales, loss_at, overflows
from .parameters import (
    Kept,
    Rates,
    Task,
    horizon_of,
    lanes_of,
    recipe_of,
    seed_of,
    settings_of,
    state_key,
    state_of,
)
from .report import CallbackSupportMixin, listening
from .standardise import Scaling, standardising
from .validation import HELD_OUT_ZERO, LaneScore, ModelScore, hold_out, products, split

IN_PLACE = tuple(dtype.type for dtype in STORED)
"""What dense X is read in place from; anything else is converted to the first of them."""

FLOATS = (np.float64, np.float32)

NO_TARGETS = object()

HELD_LOSS, HELD_PART, ROWS_A_FEATURE = 2.0, 0.05, 4
"""Multiple of the loss without a penalty, and part of that of weights of zero, from which on a fit
warns that alpha holds it up; rows of a trial for each feature, at least, or its loss says little of
other rows."""

SCALES = 1e4
"""Ratio of feature scales above which a fit warns."""

COST = 10.0
"""Features an update goes over for each value it reads, above which a fit on CSR warns."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def all_or_nothing(method: _Method) -> _Method:
    """After an exception the estimator is as it was; Ctrl-C alone leaves a model in the making.

    Within, its parameters are Python's own numbers.
    """

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        epochs = len(before["history_"]["epoch"]) if "history_" in before else 0
        try:
            with plain_parameters(self):
                return method(self, *args, **kwargs)
        except BaseException as error:
            published = vars(self).get("_kept") is not before.get("_kept")
            if published and isinstance(error, KeyboardInterrupt):
                History(self.history_).truncate(min(map(len, self.history_.values())))
            else:
                vars(self).clear()
                vars(self).update(before)
                if "history_" in before:
                    History(before["history_"]).truncate(epochs)
            raise

    return wrapped  # type: ignore[return-value]


@contextlib.contextmanager
def blame_input(estimator: Any, X: Any) -> Iterator[None]:
    """Say that X holds NaN or infinity, where that is why training failed.

    A bad value makes a score that is not finite (0 * infinity is NaN), so X is scanned only when a
    score was.
    """
    try:
        yield
    except ValueError:
        check_finite(estimator, X)
        raise


def keep_parameters(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of ``__init__`` attributes, as scikit-learn wants them: untouched."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def check_structure(X: Any) -> None:
    """Refuse a sparse matrix whose index arrays are corrupt, before SciPy follows them."""
    if sp.issparse(X):
        _core.check_structure(X)


def check_finite(estimator: Any, X: Any, name: str = "X") -> None:
    """Refuse NaN and infinity; dense X block by block, since the check may need copies."""
    names = {"estimator_name": type(estimator).__name__, "input_name": name}
    for part in [X] if sp.issparse(X) else (X[rows] for rows in blocks(X)):
        with np.errstate(over="ignore", invalid="ignore"):  # it looks at their sum first
            assert_all_finite(part, **names)


def has_columns(y: Any, X: Any) -> bool:
    """Whether targets have two dimensions, more than one column, and as many rows as X has."""
    try:
        if hasattr(y, "shape"):
            shape = y.shape
        else:
            shape = (
                np.asarray(y).shape
                if isinstance(y, (list, tuple)) or hasattr(y, "__array__")
                else ()
            )
    except ValueError:  # ragged: scikit-learn says so
        return False
    one_row = (getattr(X, "shape", ()) or (0,))[0] == 1
    one_row |= isinstance(X, (list, tuple)) and len(X) == 1
    return len(shape) == 2 and (shape[0] > 1 or one_row) and shape[1] > 1


def is_plain(X: Any, y: Any) -> bool:
    """Whether X and y are arrays as they should be, in which scikit-learn would find no fault.

    It takes as long to say so as half a fit of a thousand rows. Finiteness of X is left to the
    scores.
    """
    if not (type(X) is np.ndarray and X.ndim == 2 and X.dtype in FLOATS and 0 not in X.shape):
        return False
    if not (X.flags.c_contiguous and X.flags.aligned):
        return False
    if y is NO_TARGETS:
        return True
    if not (type(y) is np.ndarray and y.shape == X.shape[:1] and y.dtype.kind in "biuf"):
        return False
    return y.dtype.kind != "f" or bool(np.isfinite(y).all())


@functools.cache
def valid_defaults(estimator: type) -> dict[str, Any]:
    """The defaults of an estimator's parameters, of those that are valid."""
    defaults = {}
    for name, parameter in inspect.signature(estimator).parameters.items():
        with contextlib.suppress(InvalidParameterError):
            given = {name: parameter.default}
            validate_parameter_constraints(
                estimator._parameter_constraints, given, caller_name=estimator.__name__
            )
            defaults.update(given)
    return defaults


class BaseSGD(CallbackSupportMixin, SparseCoefMixin, BaseEstimator):
    """What the estimators share. See :class:`fastsgd.SGDClassifier` for the parameters."""

    penalty: str | None = "l2"
    l1_ratio: float | None = 0.15
    epsilon: float = 0.1
    quantile: float = 0.5
    scoring: Any = None

    _passive_aggressive_loss = "hinge"
    _multilabel = False
    _pull = 0.0

    loss: Any
    alpha: float
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    early_stopping: bool
    validation_fraction: float
    clip_norm: float | None
    learning_rate: Any
    on_divergence: str
    certificate: bool
    standardize: bool

    @property
    def _strength(self) -> float:
        """Strength of the whole penalty."""
        return self.alpha

    # What an estimator adds.

    def _begin(self, X: Any, y: Any, sample_weight: Any) -> Task:
        """Lanes of a fit from scratch, from its input."""
        raise NotImplementedError

    def _again(self, X: Any, y: Any, sample_weight: Any) -> Task:
        """Lanes of the model as it is fitted, on other rows."""
        raise NotImplementedError

    def _attributes(self, coef: Any, intercept: Any) -> dict[str, Any]:
        """The attributes that publish a model (K, d) and (K,)."""
        return {"coef_": coef, "intercept_": intercept}

    def _model(self, attributes: dict[str, Any]) -> tuple[Any, Any]:
        """The model (K, d) and (K,) of such attributes."""
        coef = attributes["coef_"]
        coef = coef.toarray() if sp.issparse(coef) else coef
        return np.atleast_2d(coef), np.atleast_1d(attributes["intercept_"])

    def _class_weights(
        self, encoded: NDArray[np.floating], weight: NDArray[np.floating] | None
    ) -> dict[str, Any]:
        """``weight_positive`` and ``weight_negative`` of the lanes where rows have these weights,
        where not 1."""
        return {}

    def _initial(self, k: int) -> NDArray[np.float64]:
        """Intercepts (K,) that a fit from scratch starts from."""
        return np.zeros(k)

    def _measure(self, scores: Any, y: Any, weight: Any) -> Any:
        """The default validation score of raw scores (n, K): per lane, or one for all."""
        raise NotImplementedError

    # Input.

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """As scikit-learn has it, but the signature is read once."""
        return super()._get_param_names()

    def _validate_params(self) -> None:
        """Check the parameters that are not at their defaults."""
        defaults = valid_defaults(type(self))
        given = self.get_params(deep=False).items()
        validate_parameter_constraints(
            self._parameter_constraints,
            {name: value for name, value in given if value is not defaults.get(name, NO_TARGETS)},
            caller_name=type(self).__name__,
        )

    def _validate(
        self, X: Any, y: Any = NO_TARGETS, *, reset: bool, names: tuple[str, str] = ("X", "y")
    ) -> Any:
        """X, or X and y, as arrays the core can read; finiteness of X is left to the scores."""
        if is_plain(X, y) and (reset or self._expects_plain(X.shape[1])):
            if reset:  # arrays have no names of features
                vars(self).pop("feature_names_in_", None)
                self.n_features_in_ = X.shape[1]
            return X if y is NO_TARGETS else (X, y)
        check_structure(X)
        X, y = rows_of(csr_of(_table_of(X))), numbers_of(y)
        check_numbers(names[0], X)
        check_numbers(names[1], y, labels=not isinstance(self, RegressorMixin))
        options: dict[str, Any] = {
            "reset": reset,
            "accept_sparse": "csr",
            "accept_large_sparse": True,
            "dtype": FLOATS if sp.issparse(X) else IN_PLACE,
            "order": "C",
            "ensure_all_finite": False,  # of X: the scores tell, see blame_input
        }
        try:
            if y is NO_TARGETS:
                return self._plain(validate_data(self, X, **options))
            options["y_numeric"] = isinstance(self, RegressorMixin)
            options["multi_output"] = has_columns(y, X)
            with np.errstate(over="ignore", invalid="ignore"):  # of the sum of y
                X, y = validate_data(self, X, y, **options)
        except OverflowError as error:  # Python integers beyond float64
            raise ValueError(f"X or y: {error}") from None
        return self._plain(X), y.toarray() if sp.issparse(y) else y

    def _expects_plain(self, d: int) -> bool:
        """Whether the model was fitted on d features without names."""
        return self.n_features_in_ == d and not hasattr(self, "feature_names_in_")

    def _plain(self, X: Any) -> Any:
        """Aligned."""
        return X if sp.issparse(X) else np.require(X, requirements=["C", "A"])

    def _weight(self, sample_weight: ArrayLike | None, X: Any) -> NDArray[np.floating] | None:
        if sample_weight is None:
            return None
        check_numbers("sample_weight", sample_weight)
        if getattr(np.asarray(sample_weight).dtype, "kind", "") == "c":
            raise ValueError("Complex data not supported: sample_weight must be real")
        dtype = computed_in(X)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # of a cast, and of their sum
                weight = _check_sample_weight(
                    sample_weight, X, dtype=dtype, ensure_non_negative=True
                )
        except OverflowError as error:
            raise ValueError(f"sample_weight: {error}: too large a number") from None
        except (TypeError, ValueError) as error:
            if "non-zero" in str(error) and self.early_stopping:
                raise ValueError(f"{error} {HELD_OUT_ZERO}") from None
            if "sample" in str(error).lower():
                raise
            raise ValueError(f"sample_weight must be real numbers: {error}") from None
        lowest, highest = weight_range(dtype)
        if not lowest <= weight.max() <= highest:
            raise ValueError(
                f"sample_weight must have its largest value in [{lowest:.3g}, {highest:.3g}], got "
                f"{weight.max():.3g}"
            )
        return weight

    def _start(
        self,
        kept: Kept | None,
        given: tuple[ArrayLike | None, ArrayLike | None],
        task: Task,
        *,
        present: bool,
    ) -> tuple[Any, Any] | None:
        """Weights to start from, or None for those of a new or kept state.

        Those given; on top of a kept state, those a user put into the attributes; and without one,
        where a run starts from the ``present`` weights, those.
        """
        (coef, intercept), k, d = given, len(task.labels), task.X.shape[1]
        if kept is not None or present:
            model = self._model(vars(self))
        else:
            model = np.zeros((k, d)), self._initial(k)
        if coef is not None or intercept is not None:
            model = (
                model[0] if coef is None else _initial_array("coef_init", coef, (k, d)),
                model[1]
                if intercept is None
                else _initial_array("intercept_init", intercept, (k,)),
            )
        elif kept is not None:
            ours = self._model(self._attributes(*kept.weights()))
            same_space = task.scaling.scale is kept.scaling.scale
            if same_space and all(map(np.array_equal, model, ours)):
                return None
        elif not (present or model[1].any()):
            return None
        dtype, names = computed_in(task.X), self._names_of_start(coef, intercept)
        trained = task.scaling.to_trained(*model)
        check_start(trained, dtype, names)
        return trained

    def _names_of_start(self, coef: Any, intercept: Any) -> tuple[str, str]:
        """What the weights that a run starts from are called: arguments, or attributes."""
        return (
            "coef_" if coef is None else "coef_init",
            "intercept_" if intercept is None else "intercept_init",
        )

    def _check_going_on(self, k: int, d: int) -> None:
        shape = self._model(vars(self))[0].shape
        if shape != (k, d):
            raise ValueError(
                f"Provided coef_ does not match dataset: the model to go on from has {shape[0]} "
                f"outputs of {shape[1]} features, not {k} of {d}."
            )

    # One call of the solver.

    def _solve(
        self,
        task: Task,
        start: tuple[Any, Any] = (None, None),
        *,
        resume: bool = False,
        partial: bool = False,
        validation: tuple[Any, Any, Any] | None = None,
        diagnostics: bool = False,
    ) -> None:
        """Train, publish the model, warn of what a user should know.

        Parameters
        ----------
        start : tuple of array-like or None
            Weights and intercepts to start from.
        resume : bool
            Go on from the state that is kept, if there is one; this call is part of a longer run.
        partial : bool
            The same, for one epoch, without stopping.
        validation : tuple or None
            The user's own X_val, with y_val as the lanes and as the user see it.
        diagnostics : bool
            Measure the noise of the gradients at the end of each epoch.
        """
        goes_on = resume or partial
        kept = vars(self).get("_kept") if goes_on else None
        present = kept is None and (goes_on or self.warm_start) and "coef_" in vars(self)
        if kept is not None or present:
            self._check_going_on(len(task.labels), task.X.shape[1])
        with blame_input(self, task.X):
            holds_out = validation is None and self.early_stopping and not partial
            seed, source, rows = self._draw(task, kept, holds_out=holds_out)
            weight = task.weight
            if rows is not None:
                weight = hold_out(weight, rows, len(task.y), computed_in(task.X))
                task.class_weight = self._class_weights(task.y, weight)
            task.scaling = self._scaling(task, weight, kept)
            validate = self._validation(task, rows, validation)
            data = Data(
                task.X, task.y, weight, task.scaling.offset, task.scaling.scale, checked=True
            )
            watched = validate is None
            how = {"goes_on": goes_on, "partial": partial, "watched": watched}
            settings = settings_of(self, task, data, kept, seed, **how)
            lanes, rates = lanes_of(self, task, data, settings, kept)
            self._check_unseen(data, lanes, settings)
            if not partial:
                if not self.standardize:
                    self._warn_of_scales(data)
                self._warn_of_cost(data, lanes, settings)
            weights = self._start(kept, start, task, present=present)
            state, settings = state_of(data, lanes, settings, kept, weights)
            if self.learning_rate == "adaptive":  # a rate that is used up begins anew
                state.rate_factor[lanes.eta0 * state.rate_factor <= ADAPTIVE_FLOOR] = 1.0
            history = History() if kept is None else History(self.history_)
            seen, epochs = Fit(history), 1 if partial else self.max_iter
            if diagnostics:
                from ..solver.diagnosis import Diagnosis

                seen.diagnose = Diagnosis(data, lanes, settings)
            stopping = Stopping(
                max_epochs=epochs,
                tol=None if partial else self.tol,
                patience=min(self.n_iter_no_change, 2**62),
                validate=validate,
                adaptive=self.learning_rate == "adaptive",
                easing=EASING if watched and self.learning_rate == "auto" else 1.0,
                backoff=self.on_divergence == "backoff",
            )
            problem = data, lanes, settings
            found = task.scaling, rates, source
            publish = functools.partial(self._publish, problem, kept, found, stopping)
            try:
                with listening(self, task, epochs, seen) as end:
                    fit(*problem, state, stopping, seen)
                    publish(seen)
                    end()
            except DivergenceError as error:
                if weights is not None and (error.step == 0 or overflows(*problem, *weights)):
                    names = " and ".join(self._names_of_start(*start))
                    raise ValueError(
                        f"{names}: at the weights to start from the scores or losses of the rows "
                        "are not finite. Smaller ones, or smaller features, are needed."
                    ) from error
                raise error.scaled(task.scaling) from None
            except KeyboardInterrupt:
                if seen.state is not None:
                    self._take_what_there_is(settings, seen)
                    publish(seen)
                raise
        self._warn(settings, stopping, seen)
        if not partial and rates.trial is not None:
            self._warn_of_targets(problem, rates, seen)
        if self.certificate and not partial:
            from ..certificate import certificate

            self.certificate_ = certificate(*problem, seen.coef, seen.intercept)

    def _draw(
        self, task: Task, kept: Kept | None, *, holds_out: bool
    ) -> tuple[int, np.random.RandomState | None, NDArray[np.int64] | None]:
        """Seed of a run, what its validation split is drawn from (None: the seed), and its rows.

        A generator gives the split first and then the seed, as in scikit-learn.
        """
        if kept is not None:
            source = kept.split
            draws = kept.seed if source is None else copy.deepcopy(source)
            return kept.seed, source, self._held_out(task, draws) if holds_out else None
        if not (holds_out and isinstance(self.random_state, np.random.RandomState)):
            seed = seed_of(self.random_state)
            return seed, None, self._held_out(task, seed) if holds_out else None
        source = copy.deepcopy(self.random_state)
        rows = self._held_out(task, self.random_state)
        return seed_of(self.random_state), source, rows

    def _held_out(self, task: Task, source: int | np.random.RandomState) -> NDArray[np.int64]:
        """Training rows that early stopping holds out."""
        return split(
            task.user_y,
            task.weight,
            self.validation_fraction,
            source,
            stratify=task.sign_targets and task.user_y.ndim == 1,
        )

    def _validation(
        self, task: Task, rows: NDArray[np.int64] | None, given: tuple[Any, Any, Any] | None
    ) -> Callable[..., Any] | None:
        """The score of a model on the user's own rows or on those held out."""
        if given is not None:
            X, *targets = given
            X = take(X, slice(None)) if sp.issparse(X) else X  # which user code may change
            return self._validator(task, X, *targets, None)
        if rows is None:
            return None
        weight = None if task.weight is None else task.weight[rows]
        return self._validator(task, take(task.X, rows), task.y[rows], task.user_y[rows], weight)

    def _scaling(
        self, task: Task, weight: NDArray[np.floating] | None, kept: Kept | None
    ) -> Scaling:
        """With ``standardize``, that of the training rows of the first call."""
        if not self.standardize:
            return Scaling()
        if sp.issparse(task.X):
            raise ValueError(
                "standardize=True needs dense X: an offset would fill a sparse X in. Scale it "
                "without centring, for example with MaxAbsScaler."
            )
        if kept is not None and kept.scaling.scale is not None:
            return kept.scaling
        return standardising(task.X, weight)

    def _validator(self, task: Task, X: Any, y: Any, user_y: Any, weight: Any) -> Any:
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
        weights = (data.sample_weight, lanes.weight_positive, lanes.weight_negative)
        unseen = any(weight is not None and not weight.all() for weight in weights)
        if unseen or settings.sampling == "replacement":
            check_finite(self, data.X)

    def _warn_of_scales(self, data: Data) -> None:
        """Warn when columns differ in scale by more than any one learning rate can bridge."""
        with np.errstate(all="ignore"):
            scales = feature_scales(data, SCALES)
        if scales is None:
            return
        used = np.flatnonzero((scales > 0.0) & np.isfinite(scales))
        if len(used) < 2 or scales[used].max() <= SCALES * scales[used].min():
            return
        used = used[np.argsort(scales[used], kind="stable")]
        names = vars(self).get("feature_names_in_")

        def describe(columns: Any) -> str:
            labels = [int(j) if names is None else repr(str(names[j])) for j in columns]
            parts = zip(labels, scales[columns], strict=True)
            return ", ".join(f"{label} ({scale:.2g})" for label, scale in parts)

        count = min(3, len(used) // 2)
        with np.errstate(over="ignore"):
            ratio = scales[used[-1]] / scales[used[0]]
        warnings.warn(
            f"Feature scales differ by a factor of {ratio:.2g}: the "
            f"largest columns are {describe(used[::-1][:count])}, the smallest "
            f"{describe(used[:count])}. SGD learns the small ones slowly; scale the features, for "
            f"example with {'MaxAbsScaler' if data.sparse else 'standardize=True'}.",
            FeatureScaleWarning,
            stacklevel=6,
        )

    def _warn_of_cost(self, data: Data, lanes: Lanes, settings: Settings) -> None:
        """Warn when an update on CSR goes over many more features than its rows have values."""
        late = settings.width == 1 and not lanes.alpha.any()  # L1 alone waits for its feature
        if not data.sparse or not lanes.l1.any() or late:
            return
        ratio = data.d * data.n / max(1, data.X.nnz) / settings.batch_size
        if ratio > COST:
            warnings.warn(
                "An L1 penalty together with L2, momentum or averaging goes over all "
                f"{data.d} features of sparse X at every update, {ratio:.0f} times as many as the "
                "update's rows have values. A larger batch_size spreads that cost; "
                "penalty='l1' alone does not have it.",
                CostWarning,
                stacklevel=6,
            )

    def _warn(self, settings: Settings, stopping: Stopping, seen: Fit) -> None:
        if seen.clipped:
            warnings.warn(
                f"eta * alpha reached 1 (alpha={self._strength}): the L2 step set weights to zero. "
                "Lower eta0 or alpha.",
                RuntimeWarning,
                stacklevel=6,
            )
        if seen.backoffs:
            factors = ", ".join(f"{factor:.3g}" for factor in np.unique(seen.state.rate_factor))
            warnings.warn(
                f"SGD diverged {seen.backoffs} times and went on at a lower rate: the learning "
                f"rate was multiplied by {factors} and ended at "
                f"{seen.history.columns['learning_rate'][-1]:.3g}. Scale the features or lower "
                "eta0.",
                RuntimeWarning,
                stacklevel=6,
            )
        self._warn_of_doubts(seen)
        if stopping.tol is not None and not (seen.stopped.all() or seen.ended):
            what = "training loss" if stopping.validate is None else "validation score"
            gained = f"the {what} still gained more than tol={stopping.tol}"
            scores = seen.history.columns["validation_score"][-int(seen.epochs.max()) :]
            if stopping.validate is not None and not np.isfinite(scores).any():
                gained = "the validation score was never a finite number"
            warnings.warn(
                "Maximum number of iteration reached before convergence. Consider increasing "
                f"max_iter to improve the fit: after {stopping.max_epochs} epochs {gained}.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _warn_of_doubts(self, seen: Fit) -> None:
        """Warn of models that stopped with more left to gain than the tolerance."""
        reasons = {
            "slow": "the loss hardly falls any more, although its derivatives say that it could",
            "penalty": f"the L2 penalty (alpha={self._strength:g}) is so weak that it has not "
            "shrunk the weights yet, as with classes that are (nearly) separable",
        }
        for name, reason in reasons.items():
            doubtful = seen.doubts.get(name)
            if doubtful is None or not doubtful.any():
                continue
            which = "" if len(doubtful) == 1 else f" in {int(doubtful.sum())} of its models"
            warnings.warn(
                f"The objective may still be more than {10.0 * self.tol:.2g} of itself above its "
                f"minimum{which} after {int(seen.epochs.max())} epochs: {reason}. Predictions "
                "rarely change any more; for the minimum itself raise alpha or lower tol.",
                ConvergenceWarning,
                stacklevel=7,
            )

    def _warn_of_targets(
        self, problem: tuple[Data, Lanes, Settings], rates: Rates, seen: Fit
    ) -> None:
        """Warn where the penalty holds a loss of bounded slope far above what its data allow,
        although it is one that would hardly matter to squares."""
        data, lanes, _ = problem
        tried, found, penalty = rates.trial, rates.curvature, lanes.alpha + lanes.l1
        few = min(data.n, TRIAL_ROWS) < ROWS_A_FEATURE * data.d
        if tried is None or found is None or few or not penalty.any():
            return
        loss, free = loss_at(*problem, seen.coef, seen.intercept), tried.loss.min(axis=1)
        held = (penalty > 0.0) & (penalty < 0.01 * found.mean_square / found.features)
        held &= loss > np.maximum(HELD_LOSS * free, HELD_PART * tried.at_start)
        if held.any():
            k = int(np.argmax(held))
            warnings.warn(
                f"alpha={self._strength:g} is too strong for y: the mean loss is {loss[k]:.3g}, "
                f"and {free[k]:.3g} is reached without the penalty. The slope of this loss is "
                "bounded, whatever the residuals, and large targets need large weights, which the "
                "penalty holds back: scale y, or lower alpha.",
                TargetScaleWarning,
                stacklevel=6,
            )

    # Publishing.

    def _take_what_there_is(self, settings: Settings, seen: Fit) -> None:
        """After Ctrl-C: the model as it stands, or as it was when it was last finite."""
        assert seen.state is not None
        coef, intercept = seen.state.weights(settings)
        if np.isfinite(coef).all() and np.isfinite(intercept).all():
            seen.coef, seen.intercept = coef, intercept
        else:
            seen.state.set_weights(seen.coef, seen.intercept)

    def _publish(
        self,
        problem: tuple[Data, Lanes, Settings],
        kept: Kept | None,
        found: tuple[Scaling, Rates, np.random.RandomState | None],
        stopping: Stopping,
        seen: Fit,
    ) -> None:
        (data, lanes, settings), (scaling, rates, source) = problem, found
        assert seen.state is not None
        coef, intercept = scaling.to_users(seen.coef, seen.intercept)
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise ValueError(
                "standardize=True: features of X are so small or so far from 0 that the model's "
                f"weights of X itself are not finite in {data.dtype}. Scale them first."
            )
        vars(self).update(self._attributes(coef, intercept))
        self.n_iter_ = int(seen.epochs.max())
        self.t_ = 1 + int(seen.state.t.max())
        self.history_ = seen.history.columns
        self.loss_curve_ = self.history_["loss"]
        vars(self).pop("certificate_", None)
        self._kept = Kept(
            state=seen.state,
            seed=settings.seed,
            split=source,
            horizon=horizon_of(self, kept),
            average=(self.average, settings.average),
            fits=state_key(data, lanes, settings),
            recipe=recipe_of(self),
            rates=rates,
            scaling=scaling,
        )
        tried = rates.trial
        self.result_ = Result(
            eta0=rates.eta0,
            mu=rates.mu,
            schedule=settings.schedule,
            average=settings.average,
            curvature=rates.curvature,
            begins=rates.begins,
            factor=None if tried is None else tried.chosen,
            trial=None
            if tried is None
            else dict(zip(tried.factors.tolist(), tried.loss.T, strict=True)),
            updates=math.ceil(data.n / min(settings.batch_size, data.n)),
            epochs=self.n_iter_,
            stopped=_end_of(seen),
            eases=stopping.easing != 1.0 and stopping.tol is not None,
            momentum=settings.momentum,
        )

    def _check_partial(self) -> None:
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")

    def _has_validation_set(self, X_val: Any, y_val: Any) -> bool:
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together")
        return X_val is not None

    # Scores.

    def _scores(self, X: Any) -> NDArray[np.floating]:
        """X coef_' + intercept_, shape (n, K)."""
        products = self._products(X)
        with np.errstate(over="ignore", invalid="ignore"):
            return products + self.intercept_

    def _products(self, X: Any) -> NDArray[np.floating]:
        """X coef_', shape (n, K)."""
        check_is_fitted(self)
        check_structure(X)
        X = rows_of(csr_of(_table_of(X)))
        check_numbers("X", X)
        options: dict[str, Any] = {"accept_sparse": "csr", "accept_large_sparse": True}
        options["dtype"] = FLOATS if sp.issparse(X) else IN_PLACE
        try:
            X = validate_data(self, X, reset=False, ensure_all_finite=False, **options)
        except OverflowError as error:
            raise ValueError(f"X: {error}") from None
        check_finite(self, X)
        coef = self.coef_
        if sp.issparse(coef) and coef.ndim == 1:  # some SciPys transpose and reshape no such array
            coef = sp.csr_array(coef.toarray()[None])
        coef = coef if sp.issparse(coef) else np.atleast_2d(coef)
        return products(X, coef)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.standardize
        return tags


def _end_of(seen: Fit) -> str:
    if seen.stopped.all():
        return "tolerance"
    return "callback" if seen.ended else "max_iter"


def _table_of(X: Any) -> Any:
    """Lists of numbers as an array of float64, which they always become."""
    array = numbers_of(X)
    return array if array is X else array.astype(np.float64, copy=False)


def _initial_array(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = as_floats(name, value)
    if array.size != np.prod(shape) or not np.isfinite(array).all():
        raise ValueError(
            f"Provided {name} does not match dataset: it must be finite and of shape {shape}, got "
            f"{array.shape}"
        )
    return array.reshape(shape)
