"""Regression by a multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from ..inputs.conversions import MatrixLike
from ..model_files.checkpoint import Checkpoint
from ..problem import computed_in
from ..sampling import Sampling
from ..schedules import Schedule
from .checkpointing import Resume, taken_up
from .fitting import all_or_nothing
from .input import real_targets
from .network_documentation import documented_network
from .network_fitting import BaseMLP
from .network_parameters import (
    NETWORK_CONSTRAINTS,
    Activation,
    NetworkRate,
    check_network_parameters,
)
from .rows import (
    SourceOptions,
    by_blocks,
    in_memory,
    keep_columns,
    opened,
    publish_columns,
)
from .scored import DeterminationMixin
from .task import Task
from .validated import keep_parameters

__all__ = ["MLPRegressor"]

Array = NDArray[np.floating]


@documented_network
class MLPRegressor(DeterminationMixin, RegressorMixin, BaseMLP):
    """Multilayer perceptron for regression, by stochastic gradient descent or Adam.

    Parameters mean what they mean in scikit-learn's class of this name; docs/networks.md lists what
    differs.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        Half the squared error; or half the Poisson deviance for counts y >= 0, whose mean is the
        exponential of the last layer's scores. Losses of several outputs are added up.

    Attributes
    ----------

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import MLPRegressor
    >>> X = np.linspace(-2, 2, 400)[:, None]
    >>> y = np.sin(2 * X[:, 0])
    >>> options = {"learning_rate_init": 0.01, "tol": None, "random_state": 0}
    >>> MLPRegressor(hidden_layer_sizes=(50, 50), **options).fit(X, y).score(X, y) > 0.99
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **NETWORK_CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: Literal["squared_error", "poisson"] = "squared_error",
        hidden_layer_sizes: int | ArrayLike = (100,),
        activation: Activation = "relu",
        *,
        solver: Literal["adam", "sgd"] = "adam",
        alpha: float = 1e-4,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: NetworkRate | Schedule | Callable[[int, float], float] = "constant",
        learning_rate_init: float = 1e-3,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float | None = 1e-4,
        verbose: int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        scoring: str | Callable[..., float] | None = None,
        average: bool | float = False,
        clip_norm: float | None = None,
        sampling: Sampling = "reshuffle",
        decay: float = 0.1,
        step_epochs: float = 10.0,
        total_epochs: float | None = None,
        warmup_steps: int = 0,
        standardize: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        keep_parameters(self, locals())

    def _tolerance(self, outputs: int) -> float | None:
        return None if self.tol is None else self.tol * outputs

    def _task(self, X: Any, y: Any, sample_weight: Any, given: tuple[Any, Any, Any]) -> Task:
        y = real_targets(y, computed_in(X))
        outputs = 1 if y.ndim == 1 else y.shape[1]
        return Task(
            X,
            y,
            self._weight(sample_weight, X),
            loss=self.loss,
            sign_targets=False,
            labels=np.ones(outputs),
            targets=np.arange(outputs),
            user_y=y,
            given=given,
        )

    def _score_of(self, y: Any, predicted: Any, weight: Array | None) -> float:
        if not np.isfinite(predicted).all():  # exponentials of any size
            return math.nan
        return float(r2_score(y, predicted, sample_weight=weight))

    @property
    def _loss(self) -> str:
        """The loss of the network."""
        return self.loss

    def _begin(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Rows of a fit, from its input."""
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=True)
        return self._task(X, y, sample_weight, given)

    def _again(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Rows of other input for the model as it is fitted."""
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=False)
        task = self._task(X, y, sample_weight, given)
        if len(task.labels) != self.n_outputs_:
            raise ValueError(
                f"y must have {self.n_outputs_} outputs as in fit, got {len(task.labels)}"
            )
        return task

    @all_or_nothing
    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        diagnostics: bool = False,
        resume: Resume = False,
        checkpoint: Checkpoint | None = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Fit from scratch, from the present weights with ``warm_start``, or go on with ``resume``.

        X may be a source, whose rows have to fit into ``pool_bytes`` of memory.

        Parameters
        ----------

        Returns
        -------
        self : MLPRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument. The estimator is as it was before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        check_network_parameters(self)
        again = taken_up(self, resume)
        with opened(self, X, y, sample_weight, dict(source)) as found:
            rows = in_memory(found, "networks")
            task = self._begin(rows.X, rows.y, rows.sample_weight)
            validation = None
            X_val, y_val = rows.validation(X_val, y_val)
            if self._has_validation_set(X_val, y_val):
                validation = self._validation_set(X_val, y_val, task)
            options: dict[str, Any] = {"diagnostics": diagnostics, "resume": again}
            options["checkpoint"] = checkpoint
            self._solve(task, self.loss, validation=validation, **options)
            publish_columns(self, rows)
        return self

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
        ``tol=None`` gives, wherever the model was pickled in between. The horizon of a schedule is
        that of the first call. Where ``coefs_`` or ``intercepts_`` were changed by hand, training
        starts from them, without momentum and averages.

        Parameters
        ----------

        Returns
        -------
        self : MLPRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument. The estimator is as it was before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        check_network_parameters(self)
        self._check_partial()
        given = X, y, sample_weight
        with opened(self, X, y, sample_weight, dict(source)) as found:
            rows = in_memory(found, "networks")
            X, y = self._validate(rows.X, rows.y, reset=not hasattr(self, "_continuation"))
            task = self._task(X, y, rows.sample_weight, given)
            self._solve(task, self.loss, partial=True)
            keep_columns(self, rows)
        return self

    @by_blocks
    def predict(self, X: MatrixLike) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions, in the unit of y.
        """
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
