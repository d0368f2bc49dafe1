"""Novelty detection: the linear one-class support vector machine."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, Self, Unpack

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils._param_validation import Interval, StrOptions

from ..inputs.conversions import MatrixLike
from ..inputs.times import as_floats
from ..losses import loss_functions
from ..model_files.checkpoint import Checkpoint
from ..optimizers import Optimizer, OptimizerName
from ..problem import computed_in
from ..sampling import Sampling
from ..schedules import Schedule
from .base import BaseSGD
from .checkpointing import Resume, taken_up
from .documentation import documented
from .fitting import all_or_nothing
from .hooks import Array, Validate
from .parameters import (
    CONSTRAINTS,
    LEARNING_RATES,
    PASSIVE_AGGRESSIVE,
    OneClassRate,
    check_parameters,
)
from .repeat import repeatable
from .rows import SourceOptions, by_blocks, keep_columns, opened, publish_columns
from .task import Task
from .validated import keep_parameters
from .validation import products


@documented
class SGDOneClassSVM(OutlierMixin, BaseSGD):
    """Linear one-class SVM by stochastic gradient descent.

    Minimises, over w and the offset rho [2]_,

        nu/2 |w|^2  -  nu rho  +  (1/n) sum_i s_i max(0, rho - x_i . w)

    Rows with x . w < rho are outliers: at most about nu n of the training rows.

    Parameters
    ----------
    nu : float, default=0.5
        Upper bound of the share of outliers among the training rows, in (0, 1].
    fit_intercept : bool, default=True
        Learn rho; otherwise it is 0.
    learning_rate : str, Schedule or callable, default="optimal"
        As in :class:`SGDClassifier`, with nu in the place of alpha and without "pa1" and "pa2". The
        default is "optimal", since nu is the curvature that "auto" would have to guess.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows, watch minus the objective on them and restore
        the best weights.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Of the dtype of X; float32 for float16 and uint8.
    offset_ : ndarray of shape (1,)
        rho: ``decision_function`` is ``score_samples`` minus it.

    References
    ----------
    .. [1] Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J.
       Control Optim. 30 (1992).
    .. [2] Schoelkopf et al., "Estimating the support of a high-dimensional distribution", Neural
       Computation 13 (2001).

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDOneClassSVM
    >>> X = np.array([[-1, -1], [-2, -1], [1, 1], [2, 1]])
    >>> SGDOneClassSVM(random_state=42, tol=None).fit(X).predict([[4, 4]])
    array([1], dtype=int32)
    """

    loss_functions = loss_functions(["hinge"])

    _parameter_constraints = {  # noqa: RUF012
        **CONSTRAINTS,
        "nu": [Interval(Real, 0, 1, closed="right")],
        "learning_rate": [
            StrOptions(set(LEARNING_RATES) - set(PASSIVE_AGGRESSIVE)),
            Schedule,
            callable,
        ],
    }

    loss = "hinge"
    _supervised = False
    nu: float
    offset_: NDArray[np.floating]

    def __init__(
        self,
        nu: float = 0.5,
        *,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: OneClassRate | Schedule | Callable[[int, float], float] = "optimal",
        eta0: float | None = None,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | float = False,
        batch_size: int = 1,
        momentum: float = 0.0,
        nesterov: bool = False,
        optimizer: OptimizerName | Optimizer = "sgd",
        sampling: Sampling = "reshuffle",
        decay: float = 0.1,
        step_epochs: float = 10.0,
        total_epochs: float | None = None,
        warmup_steps: int = 0,
        clip_norm: float | None = None,
        linear_scaling: bool = False,
        on_divergence: Literal["raise", "backoff"] = "raise",
        certificate: bool = False,
        standardize: bool = False,
    ) -> None:
        keep_parameters(self, locals())

    # max(0, rho - x . w) is the hinge loss of score x . w + b and label +1 with b = 1 - rho, and
    # -nu rho is nu b but for a constant.

    @property
    def _strength(self) -> float:
        return self.nu

    @property
    def _intercept_gradient(self) -> float:
        return self.nu

    def _initial(self, k: int) -> NDArray[np.float64]:
        return np.ones(k)  # rho = 0

    def _attributes(self, coef: Array, intercept: Array) -> dict[str, Any]:
        return {"coef_": coef[0], "offset_": 1 - intercept}

    def _model(self, attributes: dict[str, Any]) -> tuple[Array, Array]:
        coef = attributes["coef_"]
        coef = coef.toarray() if sp.issparse(coef) else coef
        return np.atleast_2d(coef), 1 - np.atleast_1d(attributes["offset_"])

    def _targets_of(self, X: Any, y: Any) -> NDArray[np.floating]:
        return np.ones(X.shape[0], dtype=computed_in(X))

    def _task(self, X: Any, sample_weight: Any, given: tuple[Any, Any, Any]) -> Task:
        ones = np.ones(X.shape[0], dtype=computed_in(X))
        return Task(
            X,
            ones,
            self._weight(sample_weight, X),
            loss=self.loss,
            sign_targets=True,
            labels=np.ones(1),
            targets=np.zeros(1, dtype=np.int64),
            user_y=np.zeros(len(ones)),
            given=given,
        )

    def _begin(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        X = self._validate(X, reset=True)
        return self._task(X, sample_weight, (X, None, sample_weight))

    def _again(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        X = self._validate(X, reset=False)
        return self._task(X, sample_weight, (X, None, sample_weight))

    def _validator(self, task: Task, X: Any, y: Any, user_y: Any, weight: Array | None) -> Validate:
        def score(coef: Any, intercept: Any) -> float:
            users = task.scaling.to_users(coef, intercept)
            z = products(X, users[0]) + users[1]
            hinge = np.average(np.maximum(0.0, 1.0 - z[:, 0]), weights=weight)
            penalty = 0.5 * np.square(coef, dtype=np.float64).sum() + intercept[0]
            return -float(hinge + self.nu * penalty)

        return score

    @all_or_nothing
    def fit(
        self,
        X: MatrixLike,
        y: Any = None,
        coef_init: ArrayLike | None = None,
        offset_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        diagnostics: bool = False,
        resume: Resume = False,
        checkpoint: Checkpoint | None = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Fit from scratch, from the present weights with ``warm_start``, or go on with ``resume``.

        Parameters
        ----------
        y : None
            Ignored; it is there for pipelines.
        offset_init : array-like of shape (1,), optional
            rho to start from; 0 if not given.

        Returns
        -------
        self : SGDOneClassSVM
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument. The estimator is as it was before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        check_parameters(self)
        again = taken_up(self, resume)
        intercept = None if offset_init is None else 1 - as_floats("offset_init", offset_init)
        with opened(self, X, None, sample_weight, dict(source)) as rows:
            given = X, None, sample_weight
            X = self._validate(rows.X, reset=True)
            validation = None
            X_val, _ = rows.validation(X_val, None)
            if X_val is not None:
                validation = self._validate(X_val, reset=False, names=("X_val", "")), None, None
            task = self._task(X, rows.sample_weight, given)
            task.stream = rows.stream
            publish_columns(self, rows)
            self._solve(
                task,
                (coef_init, intercept),
                resume=again,
                checkpoint=checkpoint,
                validation=validation,
                diagnostics=diagnostics,
            )
        return self

    @repeatable
    @all_or_nothing
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Train one epoch on these rows, on top of what was learned before.

        k calls on the same rows give, bit for bit, what ``fit`` with ``max_iter=k`` and
        ``tol=None`` gives, wherever the model was pickled in between. Rates found from the data
        and the horizon of a schedule are those of the first call. Where ``coef_`` or ``offset_``
        was changed by hand, training starts from it, without momentum and averages.

        Parameters
        ----------
        y : None
            Ignored; it is there for pipelines.

        Returns
        -------
        self : SGDOneClassSVM
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument. The estimator is as it was before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        check_parameters(self)
        self._check_partial()
        with opened(self, X, None, sample_weight, dict(source)) as rows:
            given = X, None, sample_weight
            X = self._validate(rows.X, reset=not hasattr(self, "_continuation"))
            task = self._task(X, rows.sample_weight, given)
            task.stream = rows.stream
            self._solve(task, partial=True)
            keep_columns(self, rows)
        return self

    @by_blocks
    def decision_function(self, X: MatrixLike) -> NDArray[np.floating]:
        """Signed distance from the boundary, up to a factor: x . w - ``offset_``.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            Negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    @by_blocks
    def score_samples(self, X: MatrixLike) -> NDArray[np.floating]:
        """Scores without the offset: x . w.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            The larger, the more like the training rows.
        """
        return self._products(X).ravel()

    @by_blocks
    def predict(self, X: MatrixLike) -> NDArray[np.int32]:
        """Predict which rows are inliers.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            +1 for inliers, -1 for outliers.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1).astype(np.int32)
