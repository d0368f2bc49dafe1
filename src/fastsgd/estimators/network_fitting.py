"""What the estimators of networks share: a call of the solver, published, and rows predicted."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ..descent import VectorDescent
from ..inputs.conversions import MatrixLike
from ..inputs.ranges import check_room
from ..model_files.checkpoint import Checkpoint
from ..network import NETWORK_LOSSES, Network
from ..problem import computed_in, take
from ..schedules import Schedule
from ..solver import NetworkFit, Stopping, fit_network
from ..solver.history import History
from ..solver.stopping import ADAPTIVE_FLOOR
from .advice import warn_of_scales
from .checkpointing import Resumed, Saving
from .forward import outputs_of, scores_of
from .input import check_finite
from .network_continuation import NetworkContinuation, Parts, begin, is_the_same, packed, parts_of
from .network_parameters import (
    descent_of,
    first_parameters,
    network_of,
    rate_name,
    row_factor,
)
from .parameters import horizon_of
from .report import CallbackSupportMixin, listening
from .saving import Saved
from .splitting import Splitting
from .standardise import Scaling
from .task import Task
from .validated import Validated
from .validation import ModelScore, hold_out

__all__ = ["BaseMLP", "NetworkScore"]

Array = NDArray[np.floating]


class NetworkScore(ModelScore):
    """The score of parameters (length,) on a validation set, by a scorer or as ``score`` has it."""

    def __init__(
        self, estimator: Any, network: Network, scaling: Scaling, rows: tuple[Any, Any, Any]
    ) -> None:
        self.network, self.weight = network, rows[2]
        super().__init__(estimator, *rows, scaling)

    def use(self, estimator: Any) -> None:
        super().use(estimator)
        self.publish = functools.partial(estimator._attributes, self.network, self.scaling)

    def __call__(self, *model: Array) -> float:
        if self.model.scoring is not None:
            return super().__call__(*model)
        vars(self.model).update(self.publish(*model))
        return float(self.model._score_of(self.y, self.model.predict(self.X), self.weight))


class BaseMLP(CallbackSupportMixin, Saved, Validated, Splitting):
    """What both estimators share. See :class:`fastsgd.MLPClassifier` for the parameters."""

    loss: str = "log_loss"
    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str | Schedule | Callable[[int, float], float]
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float | None
    verbose: int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: int | float
    sampling: str
    clip_norm: float | None
    average: bool | float
    decay: float
    step_epochs: float
    total_epochs: float | None
    warmup_steps: int
    scoring: str | Callable[..., float] | None
    n_jobs: int | None

    coefs_: list[Array]
    intercepts_: list[Array]
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    t_: int
    history_: dict[str, list[Any]]
    _continuation: NetworkContinuation

    @property
    def _loss(self) -> str:
        """The loss of the network."""
        raise NotImplementedError

    def _begin(self, X: MatrixLike, y: Any, sample_weight: Any) -> Task:
        """What a fit trains on, from its input."""
        raise NotImplementedError

    def _again(self, X: MatrixLike, y: Any, sample_weight: Any) -> Task:
        """Other rows, for the model as it is fitted."""
        raise NotImplementedError

    def _row_weights(self, task: Task, weight: Array | None, *, add: bool) -> Array | None:
        """Weights of the rows with those of their classes; ``add`` to the counts so far."""
        return weight

    def _score_of(self, y: Any, predicted: Any, weight: Array | None) -> float:
        """The default score of predictions for a validation set."""
        raise NotImplementedError

    def _check_partial(self) -> None:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")

    def _tolerance(self, outputs: int) -> float | None:
        """What an epoch has to gain, of the losses of all outputs together."""
        return self.tol

    def _solve(
        self,
        task: Task,
        loss: str,
        *,
        diagnostics: bool = False,
        resume: bool | Resumed = False,
        partial: bool = False,
        validation: tuple[Any, Any] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Train, publish the model, warn of what a user should know.

        Parameters
        ----------
        loss : str
            Of the network.
        diagnostics : bool
            Estimate gradient and noise at the end of every epoch.
        resume : bool or Resumed
            Go on from the previous state, if there is one; this call is part of a longer run. Or
            the same call of a process that ended.
        partial : bool
            The same, for one epoch, without stopping.
        validation : tuple or None
            The user's own X_val and y_val.
        checkpoint : Checkpoint or None
            Save the fit while it runs.
        """
        again = resume if isinstance(resume, Resumed) else None
        if again is not None:
            again.check_rows(task.X.shape[0])
        goes_on = bool(resume) or partial
        previous = vars(self).get("_continuation") if goes_on else None
        present = previous is None and (goes_on or self.warm_start) and hasattr(self, "coefs_")
        check_finite(self, task.X)  # NaN may end in a function of a hidden layer
        dtype = computed_in(task.X)
        outputs = len(task.labels)
        network = network_of(self, task.X.shape[1], outputs, loss)
        first: Any = None
        if previous is not None or present:
            first = self.coefs_, self.intercepts_
            packed(network, first, Scaling(), dtype)  # or they are refused
        else:
            what = f"the weights of layers of {' x '.join(map(str, network.sizes))} units"
            what += " (features of X, hidden_layer_sizes, outputs)"
            check_room(what, network.count, np.float64)
            first = first_parameters(self.random_state, network)  # before the split is drawn
        holds_out = validation is None and self.early_stopping and not partial
        seed, source, rows = self._draw(task, previous, holds_out=holds_out)
        weight = task.weight
        if rows is not None:
            weight = hold_out(weight, rows, len(task.y), dtype)
        task.scaling = self._scaling(task, weight, previous)
        weight = self._row_weights(task, weight, add=partial)
        data = task.data(weight)
        network.check(data)
        validate = self._validate_by(task, network, rows, validation)
        descent = descent_of(self, data, seed, horizon_of(self, previous), previous)
        if not (partial or self.standardize):
            warn_of_scales(self, data)
        start = self._start(network, task.scaling, previous, first, present=present, dtype=dtype)
        state, descent = begin(network, descent, dtype, previous, start)
        adaptive = rate_name(self) == "adaptive"
        if not adaptive or descent.eta0 * state.rate_factor <= ADAPTIVE_FLOOR:
            state.rate_factor = 1.0  # a rate that is used up begins anew
        seen = 0 if previous is None else previous.rows
        seen = seen if again is None else again.seen
        per_epoch = data.n - (0 if rows is None else len(rows))
        progress = NetworkFit(History() if previous is None else History(self.history_))
        progress.factor = row_factor(self, seen, per_epoch)
        if diagnostics:
            from ..solver.network_diagnosis import NetworkDiagnosis

            progress.diagnose = NetworkDiagnosis(data, network, descent)
        epochs = 1 if partial else self.max_iter
        stopping = Stopping(
            max_epochs=epochs,
            tol=None if partial else self._tolerance(outputs),
            patience=int(min(self.n_iter_no_change, 2**62)) + 1,
            validate=validate,
            adaptive=adaptive,
        )

        how = source, previous, seen, per_epoch

        def publish(estimator: Any = self, progress: NetworkFit = progress) -> None:
            estimator._publish(network, descent, task.scaling, progress, how, validates=validate)

        saving = None
        if again is not None:
            progress.resumed = again.standing
        if checkpoint is not None:
            run = {"goes_on": goes_on, "rows": data.n, "seen": seen, "order": None}
            saving = Saving(checkpoint, self, publish, (state.epoch, 0), run, again)
        made = 0 if again is not None else state.t  # updates before this call
        try:
            with listening(self, task, epochs, progress, saving) as end:
                fit_network(data, network, descent, state, stopping, progress)
                publish()
                end()
        except KeyboardInterrupt:
            if progress.state is not None and progress.state.t > made:
                model = progress.state.model(descent)
                if progress.model is None or np.isfinite(model).all():
                    progress.model = model
                else:
                    progress.state.set(progress.model)
                publish()
            raise
        if stopping.tol is not None and not (progress.stopped.all() or progress.ended):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _start(
        self,
        network: Network,
        scaling: Scaling,
        previous: NetworkContinuation | None,
        first: Parts,
        *,
        present: bool,
        dtype: np.dtype[Any],
    ) -> Array | None:
        """Parameters to start from; None for those of a state that goes on."""
        if previous is not None:
            if is_the_same(previous.parts(), first):
                return None
            return packed(network, first, scaling, dtype)
        if present:
            return packed(network, first, scaling, dtype)
        return network.pack(*first, dtype, network.unit(dtype))

    def _validate_by(
        self,
        task: Task,
        network: Network,
        rows: NDArray[np.int64] | None,
        given: tuple[Any, Any] | None,
    ) -> NetworkScore | None:
        """The score of a model on the user's own rows or on those held out."""
        if given is not None:
            X, y = given
            check_finite(self, X, "X_val")
            X = take(X, slice(None)) if sp.issparse(X) else X  # which user code may change
            return NetworkScore(self, network, task.scaling, (X, y, None))
        if rows is None:
            return None
        if len(rows) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        weight = None if task.weight is None else task.weight[rows]
        part = take(task.X, rows), task.user_y[rows], weight
        return NetworkScore(self, network, task.scaling, part)

    def _publish(
        self,
        network: Network,
        descent: VectorDescent,
        scaling: Scaling,
        progress: NetworkFit,
        how: tuple[Any, NetworkContinuation | None, int, int],
        *,
        validates: Any,
    ) -> None:
        source, previous, seen, per_epoch = how
        state = progress.state
        assert state is not None
        assert progress.model is not None
        vars(self).update(self._attributes(network, scaling, progress.model))
        self.n_iter_ = int(progress.epochs[0])
        self.t_ = seen + per_epoch * self.n_iter_
        self.history_ = progress.history.columns
        self.loss_curve_ = self.history_["loss"]
        losses = self.loss_curve_
        self.loss_ = losses[-1] if losses else np.inf
        self.best_loss_ = self.validation_scores_ = self.best_validation_score_ = None
        if validates is None:
            self.best_loss_ = min(losses, default=np.inf)
        else:
            self.validation_scores_ = self.history_["validation_score"]
            scores = [score for score in self.validation_scores_ if np.isfinite(score)]
            self.best_validation_score_ = max(scores, default=-np.inf)
        if progress.restored and descent.average:
            descent = replace(descent, average=max(descent.average, state.t + 1))
        self._continuation = NetworkContinuation(
            state=state,
            network=network,
            descent=descent,
            seed=descent.seed,
            split=source,
            horizon=horizon_of(self, previous),
            average=(self.average, descent.average),
            scaling=scaling,
            rows=self.t_,
        )

    def _attributes(self, network: Network, scaling: Scaling, theta: Array) -> dict[str, Any]:
        """The attributes that publish a vector of parameters."""
        coefs, intercepts = parts_of(network, theta, scaling)
        if scaling.scale is not None and not np.isfinite(coefs[0]).all():
            raise ValueError(
                "standardize=True: standard deviations of X are so small, or its means so large, "
                f"that the weights for X itself are not finite in {theta.dtype}. Scale X first."
            )
        return {
            "coefs_": coefs,
            "intercepts_": intercepts,
            "n_layers_": network.layers + 1,
            "n_outputs_": network.sizes[-1],
            "out_activation_": NETWORK_LOSSES[network.loss],
        }

    def _attributes_of(self, progress: NetworkFit, task: Task) -> dict[str, Any]:
        """The same of a fit under way, with its counts, for callbacks."""
        assert progress.network is not None
        assert progress.model is not None
        model = self._attributes(progress.network, task.scaling, progress.model)
        return {**model, "n_iter_": int(progress.epochs[0])}

    # Prediction.

    def _scores(self, X: MatrixLike) -> Array:
        """Scores of the outputs, shape (n, outputs)."""
        if "coefs_" not in vars(self):
            check_is_fitted(self)
        X = self._rows_to_predict(X)
        return scores_of(X, self.coefs_, self.intercepts_, self.activation)

    def _outputs(self, X: MatrixLike) -> Array:
        """What the last layer returns, shape (n, outputs)."""
        return outputs_of(self._scores(X), self.out_activation_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.standardize
        return tags
