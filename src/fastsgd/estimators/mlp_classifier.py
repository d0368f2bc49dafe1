"""Classification by a multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import StrOptions

from ..inputs.conversions import MatrixLike
from ..model_files.checkpoint import Checkpoint
from ..problem import computed_in
from ..sampling import Sampling
from ..schedules import Schedule
from .checkpointing import Resume, taken_up
from .fitting import all_or_nothing
from .forward import outputs_of
from .labels import Labels
from .network_documentation import documented_network
from .network_fitting import BaseMLP
from .network_parameters import (
    NETWORK_CONSTRAINTS,
    Activation,
    NetworkRate,
    check_network_parameters,
    row_weights,
)
from .rows import (
    SourceOptions,
    by_blocks,
    in_memory,
    keep_columns,
    opened,
    publish_columns,
)
from .scored import AccuracyMixin
from .task import Task
from .validated import keep_parameters

__all__ = ["MLPClassifier"]

Array = NDArray[np.floating]


@documented_network
class MLPClassifier(AccuracyMixin, Labels, ClassifierMixin, BaseMLP):
    """Multilayer perceptron for classification, by stochastic gradient descent or Adam.

    Minimises the log loss of the classes: of a softmax for three classes or more, of one logistic
    output for two, of a logistic output for each label where y is an indicator matrix. Parameters
    mean what they mean in scikit-learn's class of this name; docs/networks.md lists what differs.

    Parameters
    ----------
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; multiply the sample weights. "balanced": sum of the sample weights
        / (n_classes * that of the class's rows), of the rows that are trained on; under
        ``partial_fit`` of all rows so far, where a class not yet seen has weight 1. Not for
        multilabel problems.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastsgd import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(32, learning_rate_init=0.01, random_state=0).fit(X / 16, y)
    >>> model.score(X / 16, y) > 0.95
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **NETWORK_CONSTRAINTS,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
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
        class_weight: dict[Any, Any] | Literal["balanced"] | None = None,
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

    @property
    def _loss(self) -> str:
        """The loss of the network."""
        return "log_loss" if self._multilabel or len(self.classes_) == 2 else "softmax"

    def _task(
        self,
        X: MatrixLike,
        y: NDArray[Any],
        encoded: Array,
        sample_weight: Any,
        given: tuple[Any, Any, Any],
    ) -> Task:
        """Rows, with one output for two classes, else one for each class or label."""
        outputs = 1 if len(self.classes_) == 2 and not self._multilabel else len(self.classes_)
        return Task(
            X,
            encoded,
            self._weight(sample_weight, X),
            loss=self._loss,
            sign_targets=True,
            labels=np.ones(outputs),
            targets=np.zeros(outputs, dtype=np.int64),
            user_y=y,
            given=given,
        )

    def _row_weights(self, task: Task, weight: Array | None, *, add: bool) -> Array | None:
        if self.class_weight is not None and self._multilabel:
            raise ValueError(
                "class_weight is for classes that exclude each other, and y is an indicator matrix "
                "of labels: give sample_weight instead"
            )
        weights = self._weights_of_classes(task.y, weight, add=add)
        return row_weights(weight, weights, task.y, computed_in(task.X))

    def _score_of(self, y: Any, predicted: Any, weight: Array | None) -> float:
        return float(accuracy_score(y, predicted, sample_weight=weight))

    def _begin(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Classes and rows of a fit, from its input."""
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=True)
        y = self._labels(y)
        encoded = self._find_classes(X, y)
        return self._task(X, y, encoded, sample_weight, given)

    def _again(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Rows of other input for the model as it is fitted."""
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=False)
        y = self._labels(y)
        encoded = self._encode(y, computed_in(X))
        return self._task(X, y, encoded, sample_weight, given)

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
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or an indicator matrix of a multilabel problem.
        y_val : array-like of shape (n_rows,) or (n_rows, n_labels), optional
            Class labels of the validation set.

        Returns
        -------
        self : MLPClassifier
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
        before = vars(self).get("classes_") if again or self.warm_start else None
        with opened(self, X, y, sample_weight, dict(source)) as found:
            rows = in_memory(found, "networks")
            task = self._begin(rows.X, rows.y, rows.sample_weight)
            if before is not None and not np.array_equal(before, self.classes_):
                raise ValueError(
                    "warm_start and resume can only be used where `y` has the same classes as in "
                    f"the previous call to fit. Previously got {before}, `y` has {self.classes_}"
                )
            validation = None
            X_val, y_val = rows.validation(X_val, y_val)
            if self._has_validation_set(X_val, y_val):
                names = "X_val", "y_val"
                X_val, y_val = self._validate(X_val, y_val, reset=False, names=names)
                y_val = self._labels(y_val)
                self._encode(y_val, computed_in(task.X), "y_val")  # or it is refused
                validation = X_val, y_val
            options: dict[str, Any] = {"diagnostics": diagnostics, "resume": again}
            options["checkpoint"] = checkpoint
            self._solve(task, self._loss, validation=validation, **options)
            publish_columns(self, rows)
        return self

    @all_or_nothing
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Train one epoch on these rows, on top of what was learned before.

        k calls on the same rows give, bit for bit, what ``fit`` with ``max_iter=k`` and
        ``tol=None`` gives, wherever the model was pickled in between. The horizon of a schedule is
        that of the first call. Where ``coefs_`` or ``intercepts_`` were changed by hand, training
        starts from them, without momentum and averages.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or an indicator matrix of a multilabel problem.
        classes : array-like of shape (n_classes,), optional
            All classes there are; needed at the first call. ``range(n_labels)`` of a multilabel
            problem.

        Returns
        -------
        self : MLPClassifier
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
            X, y, encoded = self._validate_part(rows.X, rows.y, classes)
            task = self._task(X, y, encoded, rows.sample_weight, given)
            self._solve(task, self._loss, partial=True)
            keep_columns(self, rows)
        return self

    # Prediction.

    @by_blocks
    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict class labels.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels; of a multilabel problem an indicator matrix.
        """
        scores = self._scores(X)
        if self._multilabel:
            return (scores > 0).astype(int)
        if scores.shape[1] == 1:
            return self.classes_[(scores[:, 0] > 0).astype(int)]
        return self.classes_[scores.argmax(axis=1)]

    @by_blocks
    def predict_proba(self, X: MatrixLike) -> Array:
        """Probabilities of the classes, or of the labels of a multilabel problem.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        scores = self._scores(X)
        if scores.shape[1] == 1 and not self._multilabel:
            scores = np.hstack([-scores, scores])  # 1 - p of a p near 1 would have few digits
        return outputs_of(scores, self.out_activation_)

    def predict_log_proba(self, X: MatrixLike) -> Array:
        """Logarithms of ``predict_proba``.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Natural logarithms, in the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
