"""The estimators: names, labels and shapes as scikit-learn has them, in front of the solver.

A parameter that scikit-learn has means what it means there. What differs is documented where it
stands: ``learning_rate="auto"`` is the default, a stopping loss is the objective itself, and every
class of a one-vs-rest problem is a lane of one pass over X.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from tqdm import tqdm

from . import _core
from .losses import LOSSES
from .problem import Data, Lanes, Settings
from .sampling import SAMPLINGS
from .schedules import SCHEDULES, Schedule, optimal_eta0
from .solver import Fit, State, Stopping, auto_rate, fit, typical_weight

__all__ = ["SGDClassifier", "SGDRegressor"]

LEARNING_RATES = ("auto", "optimal", *(kind for kind in SCHEDULES if kind != "inverse"))
FLOATS = (np.float64, np.float32)

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _all_or_nothing(method: _Method) -> _Method:
    """After an exception the estimator is as it was; Ctrl-C alone leaves a model in the making."""

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            published = vars(self).get("coef_") is not before.get("coef_")
            if not (published and isinstance(error, KeyboardInterrupt)):
                vars(self).clear()
                vars(self).update(before)
            raise

    return wrapped  # type: ignore[return-value]


@contextlib.contextmanager
def _progress(epochs: int, wanted: bool) -> Iterator[Callable[..., None] | None]:
    """A progress bar on standard error, as a callback of the solver."""
    if not wanted:
        yield None
        return
    with tqdm(total=epochs, unit="epoch") as bar:

        def on_epoch(done: int, loss: NDArray[np.float64]) -> None:
            bar.set_postfix(loss=f"{loss.mean():.4g}", refresh=False)
            bar.update(done - bar.n)

        yield on_epoch


@contextlib.contextmanager
def _blame_input(estimator: Any, X: Any) -> Iterator[None]:
    """Say that X holds NaN or infinity, where that is why training failed.

    A bad value makes a score that is not finite (0 * infinity is NaN), so X is scanned only when a
    score was.
    """
    try:
        yield
    except ValueError:
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
        raise


def _seed(random_state: Any) -> int:
    """The seed of a run: an integer itself, or a draw from a generator."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _check_structure(X: Any) -> None:
    """Refuse a sparse matrix whose index arrays are corrupt, before SciPy follows them."""
    if sp.issparse(X):
        _core.check_structure(X)


class _SGD(BaseEstimator):
    """What both estimators share: parameters, training, scores."""

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012, scikit-learn's name
        "penalty": [StrOptions({"l2"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "learning_rate": [StrOptions(set(LEARNING_RATES))],
        "eta0": [Interval(Real, 0, None, closed="neither"), None],
        "power_t": [Interval(Real, None, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "average": ["boolean", Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "sampling": [StrOptions(set(SAMPLINGS))],
        "decay": [Interval(Real, 0, 1, closed="right")],
        "step_epochs": [Interval(Real, 0, None, closed="neither")],
        "total_epochs": [Interval(Real, 0, None, closed="neither"), None],
        "warmup_steps": [Interval(Integral, 0, None, closed="left")],
    }

    loss: str
    alpha: float

    def _validate(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        _check_structure(X)
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            accept_sparse="csr",
            accept_large_sparse=True,
            dtype=FLOATS,
            order="C",
            ensure_all_finite=False,  # of X: the scores tell, see _blame_input
            y_numeric=isinstance(self, RegressorMixin),
        )
        return X if sp.issparse(X) else np.require(X, requirements=["C", "A"]), y

    def _settings(self, *, sign_targets: bool, data: Data) -> Settings:
        kind, power = {"auto": ("inverse", 0.5), "optimal": ("inverse", 1.0)}.get(
            self.learning_rate, (self.learning_rate, self.power_t)
        )
        horizon = min(self.max_iter, 2**62) if self.total_epochs is None else self.total_epochs
        return Settings(
            loss=self.loss,
            sign_targets=sign_targets,
            batch_size=min(self.batch_size, data.n),
            momentum=self.momentum,
            nesterov=self.nesterov,
            average=int(self.average),
            fit_intercept=self.fit_intercept,
            sampling=self.sampling if self.shuffle else "sequential",
            seed=_seed(self.random_state),
            schedule=Schedule(
                kind, power, self.decay, self.step_epochs, horizon, self.warmup_steps
            ),
        )

    def _rates(self, data: Data, lanes: Lanes, settings: Settings) -> tuple[Any, Any]:
        """eta0 and mu of the schedule, per lane; an explicit eta0 is used as given."""
        alpha = float(lanes.alpha[0])
        if self.learning_rate == "optimal":
            if alpha <= 0:
                raise ValueError(
                    f"alpha must be > 0 with learning_rate='optimal', got alpha={self.alpha} "
                    f"and penalty={self.penalty!r}"
                )
            return optimal_eta0(LOSSES[self.loss], alpha), alpha
        if self.eta0 is not None and self.learning_rate != "auto":
            return self.eta0, 0.0
        weight = typical_weight(data, lanes, settings)
        eta0, mu = auto_rate(data, settings)
        return eta0 / weight if self.eta0 is None else self.eta0, np.maximum(mu * weight, alpha)

    def _lanes(
        self, data: Data, settings: Settings, labels: NDArray[Any], **class_weight: Any
    ) -> Lanes:
        alpha = self.alpha if self.penalty is not None else 0.0
        lanes = Lanes(len(labels), alpha=alpha, eta0=1.0, label=labels, **class_weight)
        weights = (data.sample_weight, lanes.weight_positive, lanes.weight_negative)
        unseen = any(weight is not None and not weight.all() for weight in weights)
        if unseen or settings.sampling == "replacement":  # no score may tell of a bad value
            assert_all_finite(data.X, estimator_name=type(self).__name__, input_name="X")
        eta0, mu = self._rates(data, lanes, settings)
        return replace(lanes, eta0=eta0, mu=mu)

    def _train(
        self, data: Data, lanes: Lanes, settings: Settings, state: State, stopping: Stopping
    ) -> Fit:
        """Run the solver, publish the model, warn of what a user should know."""
        try:
            with _progress(stopping.max_epochs, bool(self.verbose)) as on_epoch:
                result = fit(data, lanes, settings, state, stopping, on_epoch)
        except KeyboardInterrupt:
            self._publish(state, settings, Fit())
            raise
        self._publish(state, settings, result)
        if result.clipped:
            warnings.warn(
                f"eta * alpha reached 1 (alpha={self.alpha}): the L2 step set weights to zero. "
                "Lower eta0 or alpha.",
                RuntimeWarning,
                stacklevel=4,
            )
        if stopping.tol is not None and not result.stopped.all():
            warnings.warn(
                f"Stopped at max_iter={stopping.max_epochs} before the training loss settled "
                f"within tol={stopping.tol}; raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return result

    def _publish(self, state: State, settings: Settings, result: Fit) -> None:
        self.coef_, self.intercept_ = state.weights(settings)
        self.n_iter_ = int(result.epochs.max(initial=0)) or state.epoch
        self.t_ = 1 + int(max(state.t))
        self.loss_curve_ = [float(loss.mean()) for loss in result.losses]

    # Scores.

    def _scores(self, X: Any) -> NDArray[np.floating]:
        """X coef_' + intercept_, shape (n, K)."""
        check_is_fitted(self)
        _check_structure(X)
        X = validate_data(
            self, X, reset=False, accept_sparse="csr", accept_large_sparse=True, dtype=FLOATS
        )
        scores = safe_sparse_dot(X, np.atleast_2d(self.coef_).T, dense_output=True)
        return scores + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class SGDClassifier(ClassifierMixin, _SGD):
    """Linear classifiers by stochastic gradient descent: SVM, logistic regression.

    Minimises, for the one lane of a binary problem or for each class against the rest,

        (1/n) sum_i s_i loss(x_i . w + b, y_i)  +  alpha/2 |w|^2,        y_i in {-1, +1}

    all classes in one pass over X.

    Parameters
    ----------
    loss : {"hinge", "log_loss", "squared_error"}, default="hinge"
        "hinge" is a linear SVM, "log_loss" logistic regression (with ``predict_proba``).
    penalty : {"l2", None}, default="l2"
        The intercept is never penalised.
    alpha : float, default=1e-4
        Strength of the penalty; >= 0.
    fit_intercept : bool, default=True
        Learn b.
    max_iter : int, default=1000
        Epochs at most.
    tol : float or None, default=1e-3
        Stop after ``n_iter_no_change`` epochs whose loss is above the best one minus ``tol``; each
        class on its own. None trains exactly ``max_iter`` epochs.
    shuffle : bool, default=True
        False means ``sampling="sequential"``.
    verbose : int, default=0
        Above 0, a progress bar on standard error.
    random_state : int, RandomState instance or None, default=None
        Seed of the order of samples.
    learning_rate : str, default="auto"
        "auto": eta0 / sqrt(1 + eta0 mu (t-1)), eta0 and mu from the data. "optimal": as in
        scikit-learn, eta0 / (1 + eta0 alpha (t-1)) with Bottou's eta0.
        "constant"; "invscaling": eta0 / t^power_t; "step": eta0 decay^floor(e / step_epochs);
        "exponential": eta0 decay^e; "cosine": eta0 (1 + cos(pi e / total_epochs)) / 2. t counts
        updates from 1, e epochs with their fraction.
    eta0 : float or None, default=None
        First learning rate, used as given; None finds one from the data.
    power_t : float, default=0.25
        Exponent of "invscaling".
    n_iter_no_change : int, default=5
        Epochs without gain before stopping.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; multiply the sample weights.
    average : bool or int, default=False
        Average the weights over all updates (True) or from that update on: Polyak and Juditsky,
        SIAM J. Control Optim. 30 (1992).
    batch_size : int, default=1
        Rows an update; n or more is full-batch gradient descent.
    momentum : float, default=0.0
        beta in [0, 1): v = beta v + g, w = w - eta v. Exact and O(non-zeros) on CSR too.
    nesterov : bool, default=False
        w = w - eta (g + beta v) instead.
    sampling : {"reshuffle", "once", "replacement", "sequential"}, default="reshuffle"
        A new permutation every epoch; one permutation; independent draws; storage order.
    decay : float, default=0.1
        Factor of "step" and "exponential".
    step_epochs : float, default=10.0
        Epochs between the drops of "step".
    total_epochs : float or None, default=None
        Horizon of "cosine"; None is ``max_iter``.
    warmup_steps : int, default=0
        Updates over which the rate rises linearly to its schedule.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) for two classes, else (n_classes, n_features)
        Of the dtype of X.
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_iter_ : int
        Epochs of the class that took longest.
    t_ : int
        1 + number of updates.
    loss_curve_ : list of float
        Per epoch: mean loss of the rows, each before its own step, plus the penalty at the end; the
        mean of the classes.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastsgd import SGDClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.97
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **_SGD._parameter_constraints,
        "loss": [StrOptions({name for name, loss in LOSSES.items() if "sign" in loss.targets})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        loss: str = "hinge",
        *,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        random_state: Any = None,
        learning_rate: str = "auto",
        eta0: float | None = None,
        power_t: float = 0.25,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        average: bool | int = False,
        batch_size: int = 1,
        momentum: float = 0.0,
        nesterov: bool = False,
        sampling: str = "reshuffle",
        decay: float = 0.1,
        step_epochs: float = 10.0,
        total_epochs: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.average = average
        self.batch_size = batch_size
        self.momentum = momentum
        self.nesterov = nesterov
        self.sampling = sampling
        self.decay = decay
        self.step_epochs = step_epochs
        self.total_epochs = total_epochs
        self.warmup_steps = warmup_steps

    def _lane_labels(self) -> NDArray[np.float64]:
        """Positive rows: those of class 1 in a binary problem, of class k in lane k otherwise."""
        k = len(self.classes_)
        return np.array([1.0]) if k == 2 else np.arange(k, dtype=np.float64)

    def _class_weights(self, y: NDArray[Any]) -> dict[str, Any]:
        """Weights of the positive and the negative rows of each lane."""
        if self.class_weight is None:
            return {}
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        if len(weights) == 2:
            return {"weight_negative": weights[0], "weight_positive": weights[1]}
        return {"weight_positive": weights}

    def _encode(self, y: NDArray[Any], dtype: Any) -> NDArray[np.floating]:
        """Position of each label in ``classes_``, shape (n,)."""
        if len(self.classes_) == 2:
            return (y == self.classes_[1]).astype(dtype)
        return np.searchsorted(self.classes_, y).astype(dtype)

    @_all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SGDClassifier:
        """Fit from scratch.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            float32 or float64 in C order or CSR is read in place; anything else is converted once.
        y : array-like of shape (n_samples,)
            Class labels.
        coef_init : array-like of the shape of ``coef_``, optional
            Where to start; zeros if not given.
        intercept_init : array-like of the shape of ``intercept_``, optional
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative; a row of weight zero is left out entirely.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Bad input; the message names the argument.
        DivergenceError
            The run overflowed. The estimator is left as it was before the call.
        """
        X, y = self._validate(X, y, reset=True)
        y = column_or_1d(y, warn=True)
        self.classes_ = np.unique(y)
        check_classification_targets(self.classes_)
        if len(self.classes_) < 2:
            raise ValueError(
                f"The number of classes has to be greater than one; got {len(self.classes_)} class"
            )
        weight = _check_weight(sample_weight, X)
        data = Data(X, self._encode(y, X.dtype), weight)
        settings = self._settings(sign_targets=True, data=data)
        with _blame_input(self, X):
            lanes = self._lanes(data, settings, self._lane_labels(), **self._class_weights(y))
            state = State(data, lanes, settings)
            _start_from(state, coef_init, intercept_init, lanes.k, data.d)
            stopping = Stopping(self.max_iter, self.tol, self.n_iter_no_change)
            self._train(data, lanes, settings, state, stopping)
        return self

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Scores x . w + b: (n,) for two classes, positive for ``classes_[1]``; else (n, K)."""
        scores = self._scores(X)
        return scores.ravel() if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Class labels, shape (n,)."""
        scores = self.decision_function(X)
        indices = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[indices]

    def _has_probabilities(self) -> bool:
        if self.loss != "log_loss":
            raise AttributeError(f"probability estimates are not available for loss={self.loss!r}")
        return True

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Probabilities of the classes, shape (n, n_classes); for ``loss="log_loss"``.

        1 / (1 + exp(-score)); with more than two classes, each against the rest and normalised.
        """
        positive = expit(self._scores(X))
        if positive.shape[1] == 1:
            return np.hstack([1.0 - positive, positive])
        total = positive.sum(axis=1, keepdims=True)
        uniform = np.full_like(positive, 1.0 / positive.shape[1])
        return np.divide(positive, total, out=uniform, where=total > 0)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:
        """Logarithms of ``predict_proba``, shape (n, n_classes)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class SGDRegressor(RegressorMixin, _SGD):
    """Linear regression by stochastic gradient descent.

    Minimises  (1/n) sum_i s_i (x_i . w + b - y_i)^2 / 2  +  alpha/2 |w|^2.

    Parameters
    ----------
    loss : {"squared_error", "linear"}, default="squared_error"
        "linear", y - z, has no minimum without a penalty; it is there to teach with.
    penalty, alpha, fit_intercept, max_iter, tol, shuffle, verbose, random_state, learning_rate,
    eta0, power_t, n_iter_no_change, average, batch_size, momentum, nesterov, sampling, decay,
    step_epochs, total_epochs, warmup_steps
        As in :class:`SGDClassifier`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Of the dtype of X.
    intercept_ : ndarray of shape (1,)
    n_iter_, t_, loss_curve_, n_features_in_, feature_names_in_
        As in :class:`SGDClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastsgd import SGDRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), SGDRegressor(random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **_SGD._parameter_constraints,
        "loss": [StrOptions({name for name, loss in LOSSES.items() if "real" in loss.targets})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        random_state: Any = None,
        learning_rate: str = "auto",
        eta0: float | None = None,
        power_t: float = 0.25,
        n_iter_no_change: int = 5,
        average: bool | int = False,
        batch_size: int = 1,
        momentum: float = 0.0,
        nesterov: bool = False,
        sampling: str = "reshuffle",
        decay: float = 0.1,
        step_epochs: float = 10.0,
        total_epochs: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.n_iter_no_change = n_iter_no_change
        self.average = average
        self.batch_size = batch_size
        self.momentum = momentum
        self.nesterov = nesterov
        self.sampling = sampling
        self.decay = decay
        self.step_epochs = step_epochs
        self.total_epochs = total_epochs
        self.warmup_steps = warmup_steps

    @_all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SGDRegressor:
        """Fit from scratch; arguments, result and errors as in :meth:`SGDClassifier.fit`."""
        X, y = self._validate(X, y, reset=True)
        y = column_or_1d(y, warn=True).astype(X.dtype, copy=False)
        data = Data(X, y, _check_weight(sample_weight, X))
        settings = self._settings(sign_targets=False, data=data)
        with _blame_input(self, X):
            lanes = self._lanes(data, settings, np.ones(1))  # one lane; real targets have no label
            state = State(data, lanes, settings)
            _start_from(state, coef_init, intercept_init, lanes.k, data.d)
            stopping = Stopping(self.max_iter, self.tol, self.n_iter_no_change)
            self._train(data, lanes, settings, state, stopping)
        return self

    def _publish(self, state: State, settings: Settings, result: Fit) -> None:
        super()._publish(state, settings, result)
        self.coef_ = self.coef_[0]

    def predict(self, X: Any) -> NDArray[np.floating]:
        """Predicted targets x . w + b, shape (n,)."""
        return self._scores(X).ravel()


def _check_weight(sample_weight: ArrayLike | None, X: Any) -> NDArray[np.floating] | None:
    if sample_weight is None:
        return None
    return _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)


def _start_from(
    state: State, coef: ArrayLike | None, intercept: ArrayLike | None, k: int, d: int
) -> None:
    """Set the weights a fit starts from, if any are given."""
    if coef is None and intercept is None:
        return
    start = []
    for name, value, shape in (("coef_init", coef, (k, d)), ("intercept_init", intercept, (k,))):
        array = np.zeros(shape) if value is None else np.asarray(value, dtype=np.float64)
        if array.size != np.prod(shape) or not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite and of shape {shape}, got {array.shape}")
        start.append(array.reshape(shape))
    state.set_weights(*start)
