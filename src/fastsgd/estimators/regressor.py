"""Linear regression: least squares, Huber, epsilon-insensitive, quantile, Poisson."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions

from ..inputs.conversions import MatrixLike
from ..losses import LOSSES, CompiledLoss, RegressionLoss, loss_functions
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
from .input import real_targets
from .parameters import (
    CONSTRAINTS,
    PENALTY_CONSTRAINTS,
    LearningRate,
    Penalty,
    check_parameters,
)
from .repeat import repeatable
from .rows import SourceOptions, by_blocks, keep_columns, opened, publish_columns
from .scored import DeterminationMixin
from .task import Task
from .validated import keep_parameters
from .validation import determinations, warn_of_one_row

REGRESSION_LOSSES = [name for name, loss in LOSSES.items() if loss.targets & {"real", "count"}]


@documented
class SGDRegressor(DeterminationMixin, RegressorMixin, BaseSGD):
    """Linear regression by stochastic gradient descent.

    Minimises, for each output,

        (1/n) sum_i s_i loss(x_i . w + b, y_i)  +  penalty(w)

    all outputs in one pass over X.

    Parameters
    ----------
    loss : str or CompiledLoss, default="squared_error"
        "squared_error"; "huber", linear beyond ``epsilon``; "epsilon_insensitive" (support vector
        regression) and "squared_epsilon_insensitive", zero within ``epsilon``; "quantile", the
        pinball loss of ``quantile``; "poisson" for counts y >= 0, whose mean is exp(x . w + b);
        "linear", y - z, which has no minimum without a penalty and is there to teach with; or a
        :class:`fastsgd.losses.CompiledLoss`.
    quantile : float, default=0.5
        Of the "quantile" loss, in [0, 1].

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), or (n_outputs, n_features) for y of two dimensions
        Of the dtype of X; float32 for float16 and uint8.
    intercept_ : ndarray of shape (1,) or (n_outputs,)
        The intercept of each output.

    References
    ----------
    .. [1] Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J.
       Control Optim. 30 (1992).

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

    loss_functions = loss_functions(REGRESSION_LOSSES)

    _parameter_constraints = {  # noqa: RUF012
        **CONSTRAINTS,
        **PENALTY_CONSTRAINTS,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), CompiledLoss],
        "quantile": [Interval(Real, 0, 1, closed="both")],
    }

    _passive_aggressive_loss = "epsilon_insensitive"

    def __init__(
        self,
        loss: RegressionLoss | CompiledLoss = "squared_error",
        *,
        penalty: Penalty | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: LearningRate | Schedule | Callable[[int, float], float] = "auto",
        eta0: float | None = None,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | float = False,
        quantile: float = 0.5,
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
        scoring: str | Callable[..., float] | None = None,
        on_divergence: Literal["raise", "backoff"] = "raise",
        certificate: bool = False,
        standardize: bool = False,
    ) -> None:
        keep_parameters(self, locals())

    def _targets(self, y: Any, dtype: Any, name: str = "y") -> NDArray[np.floating]:
        """y as (n,), or (n, n_outputs) for more than one."""
        return real_targets(y, dtype, name)

    def _targets_of(self, X: Any, y: NDArray[Any]) -> NDArray[np.floating]:
        return self._targets(y, computed_in(X))

    def _task(self, X: Any, y: Any, sample_weight: Any, given: tuple[Any, Any, Any]) -> Task:
        y = self._targets(y, computed_in(X))
        k = 1 if y.ndim == 1 else y.shape[1]
        return Task(
            X,
            y,
            self._weight(sample_weight, X),
            loss=self.loss,
            sign_targets=False,
            labels=np.ones(k),
            targets=np.arange(k),
            user_y=y,
            given=given,
        )

    def _begin(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Lanes of a fit, from its input."""
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=True)
        return self._task(X, y, sample_weight, given)

    def _again(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=False)
        task = self._task(X, y, sample_weight, given)
        self._check_going_on(len(task.labels), X.shape[1])
        return task

    @all_or_nothing
    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike | None = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        diagnostics: bool = False,
        resume: Resume = False,
        checkpoint: Checkpoint | None = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Fit from scratch, from the present weights with ``warm_start``, or go on with ``resume``.

        Parameters
        ----------

        Returns
        -------
        self : SGDRegressor
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
        with opened(self, X, y, sample_weight, dict(source)) as rows:
            task = self._begin(rows.X, rows.y, rows.sample_weight)
            task.stream = rows.stream
            validation = None
            X_val, y_val = rows.validation(X_val, y_val)
            if self._has_validation_set(X_val, y_val):
                X_val, y_val = self._validation_set(X_val, y_val, task)
                validation = X_val, y_val, y_val
            options: dict[str, Any] = {"diagnostics": diagnostics, "resume": again}
            options["checkpoint"] = checkpoint
            publish_columns(self, rows)
            self._solve(task, (coef_init, intercept_init), validation=validation, **options)
        return self

    @repeatable
    @all_or_nothing
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Train one epoch on these rows, on top of what was learned before.

        k calls on the same rows give, bit for bit, what ``fit`` with ``max_iter=k`` and
        ``tol=None`` gives, wherever the model was pickled in between. Rates found from the data
        and the horizon of a schedule are those of the first call. Where ``coef_`` or ``intercept_``
        was changed by hand, training starts from it, without momentum and averages.

        Parameters
        ----------

        Returns
        -------
        self : SGDRegressor
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
        with opened(self, X, y, sample_weight, dict(source)) as rows:
            given = X, y, sample_weight
            X, y = self._validate(rows.X, rows.y, reset=not hasattr(self, "_continuation"))
            task = self._task(X, y, rows.sample_weight, given)
            task.stream = rows.stream
            self._solve(task, partial=True)
            keep_columns(self, rows)
        return self

    def _attributes(self, coef: Array, intercept: Array) -> dict[str, Any]:
        return {"coef_": coef[0] if len(coef) == 1 else coef, "intercept_": intercept}

    def _validator(self, task: Task, X: Any, y: Any, user_y: Any, weight: Array | None) -> Validate:
        if self.scoring is None:
            warn_of_one_row(y, weight)
        return super()._validator(task, X, y, user_y, weight)

    def _measure(self, scores: Array, y: NDArray[Any], weight: Array | None) -> Array | float:
        return determinations(self._means(scores), y, weight)

    def _means(self, scores: Any) -> Any:
        """Predictions of raw scores."""
        if self.loss != "poisson":
            return scores
        with np.errstate(over="ignore"):
            return np.exp(scores)

    @by_blocks
    def predict(self, X: MatrixLike) -> NDArray[np.floating]:
        """Predict targets: x . w + b, or exp(x . w + b) with ``loss="poisson"``.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, in the unit of y.
        """
        means = self._means(self._scores(X))
        return means.ravel() if means.shape[1] == 1 else means

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
