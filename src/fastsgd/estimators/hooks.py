"""What an estimator adds to what all share: its lanes, its attributes, its scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from ..inputs.conversions import MatrixLike
from ..losses import CompiledLoss
from ..optimizers import Optimizer
from ..schedules import Schedule
from .task import Task

if TYPE_CHECKING:
    from ..certificate import Certificate
    from ..learning_rate.result import Result
    from ..solver import Fit
    from .continuation import Continuation

__all__ = ["Array", "Hooks", "Validate"]

Array = NDArray[np.floating]

Validate = Callable[[Array, Array], Array | float]
"""A score of a model (K, d) and (K,): one for each lane, or one for all."""


class UnreadCoef:
    """``coef_`` of a wide model that nobody has read: made of the state when somebody does.

    An array of a million weights takes as long to write as a call of ``partial_fit`` takes to
    train. What is in the instance goes before this, so that ``coef_`` once read, or set, is an
    attribute like any other.
    """

    def __get__(self, model: Any, owner: Any = None) -> Any:
        continuation = vars(model).get("_continuation") if model is not None else None
        if continuation is None or not continuation.unread:
            kind = "type" if model is None else type(model).__name__
            raise AttributeError(
                f"{kind!r} object has no attribute 'coef_'", name="coef_", obj=model
            )
        return vars(model).setdefault("coef_", continuation.coef(model))


class Hooks(BaseEstimator):
    """Parameters that all estimators have, and what each of them answers in its own way."""

    _passive_aggressive_loss = "hinge"
    _multilabel = False
    _supervised = True

    # Parameters; those with a value are not every estimator's own.
    penalty: str | None = "l2"
    l1_ratio: float | None = 0.15
    epsilon: float = 0.1
    quantile: float = 0.5
    scoring: str | Callable[..., float] | None = None
    loss: str | CompiledLoss
    alpha: float
    fit_intercept: bool
    max_iter: int
    tol: float | None
    shuffle: bool
    verbose: int
    n_jobs: int | None
    learning_rate: str | Schedule | Callable[[int, float], float]
    eta0: float | None
    power_t: float
    n_iter_no_change: int
    warm_start: bool
    average: bool | float
    batch_size: int
    momentum: float
    nesterov: bool
    optimizer: str | Optimizer
    sampling: str
    decay: float
    step_epochs: float
    total_epochs: float | None
    warmup_steps: int
    clip_norm: float | None
    linear_scaling: bool
    on_divergence: str
    certificate: bool

    # What a fit leaves behind.
    if TYPE_CHECKING:
        coef_: NDArray[np.floating]
    else:
        coef_ = UnreadCoef()
    intercept_: NDArray[np.floating]
    n_iter_: int
    t_: int
    history_: dict[str, list[Any]]
    loss_curve_: list[float]
    result_: Result
    certificate_: Certificate
    _continuation: Continuation

    @property
    def _strength(self) -> float:
        """Strength of the whole penalty."""
        return self.alpha

    @property
    def _intercept_gradient(self) -> float:
        """Slope of the objective in the intercept itself."""
        return 0.0

    def _begin(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Lanes of a fit from scratch, from its input."""
        raise NotImplementedError

    def _again(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Lanes of the model as it is fitted, on other rows."""
        raise NotImplementedError

    def _targets_of(self, X: Any, y: NDArray[Any]) -> NDArray[np.floating]:
        """What a core trains on of y (n,), as :class:`Task` has it, for rows of a fitted model."""
        raise NotImplementedError

    def _attributes(self, coef: Array, intercept: Array) -> dict[str, Any]:
        """The attributes that publish a model (K, d) and (K,)."""
        return {"coef_": coef, "intercept_": intercept}

    def _attributes_of(self, progress: Fit, task: Task) -> dict[str, Any]:
        """The same of a fit under way, with its counts."""
        assert progress.state is not None
        counts = {"n_iter_": int(progress.epochs.max()), "t_": 1 + int(progress.state.t.max())}
        users = task.scaling.to_users(progress.coef, progress.intercept)
        return {**self._attributes(*users), **counts}

    @property
    def _has_unread_coef(self) -> bool:
        """Whether the weights are in the state alone."""
        continuation = vars(self).get("_continuation")
        return continuation is not None and continuation.unread and "coef_" not in vars(self)

    @property
    def _reads_few(self) -> bool:
        """Whether they are, and those of single features can be read there."""
        return self._has_unread_coef and self._continuation.state.reads_few

    def __getstate__(self) -> Any:
        """As scikit-learn has it, with ``coef_`` for whoever loads it."""
        if self._has_unread_coef:
            _ = self.coef_
        return super().__getstate__()

    def _model(self, attributes: dict[str, Any]) -> tuple[Array, Array]:
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

    def _measure(self, scores: Array, y: NDArray[Any], weight: Array | None) -> Array | float:
        """The default validation score of raw scores (n, K): per lane, or one for all."""
        raise NotImplementedError
