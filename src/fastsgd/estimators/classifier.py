"""Linear classification: support vector machines, logistic regression, softmax, multilabel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils import metaestimators
from sklearn.utils._param_validation import StrOptions

from ..inputs.conversions import MatrixLike
from ..losses import LOSSES, ClassificationLoss, CompiledLoss, loss_functions
from ..model_files.checkpoint import Checkpoint
from ..optimizers import Optimizer, OptimizerName
from ..problem import computed_in
from ..sampling import Sampling
from ..schedules import Schedule
from .base import BaseSGD
from .checkpointing import Resume, taken_up
from .documentation import documented
from .fitting import all_or_nothing
from .hooks import Array
from .labels import Labels
from .parameters import (
    CONSTRAINTS,
    PENALTY_CONSTRAINTS,
    LearningRate,
    Penalty,
    check_parameters,
)
from .repeat import repeatable
from .rows import SourceOptions, by_blocks, keep_columns, opened, publish_columns
from .scored import AccuracyMixin
from .task import Task
from .validated import keep_parameters
from .validation import accuracies

CLASSIFICATION_LOSSES = [
    name for name, loss in LOSSES.items() if "sign" in loss.targets and not loss.coupled
]


FEW_ROWS, FEW_CLASSES = 8, 16
"""Rows and classes up to which labels are looked up one by one."""

_Method = TypeVar("_Method", bound=Callable[..., Any])

available_if: Callable[[Callable[[Any], bool]], Callable[[_Method], _Method]] = (
    metaestimators.available_if
)
"""scikit-learn's: a method that is there under a condition; its type stays."""


def _may_predict_proba(estimator: Any) -> bool:
    if estimator.loss not in ("log_loss", "modified_huber"):
        raise AttributeError(f"probability estimates are not available for loss={estimator.loss!r}")
    return True


@documented
class SGDClassifier(AccuracyMixin, Labels, LinearClassifierMixin, BaseSGD):
    """Linear classifiers by stochastic gradient descent: SVM, logistic regression, softmax.

    Minimises, for two classes, or for each of more against the rest,

        (1/n) sum_i s_i loss(x_i . w + b, y_i)  +  penalty(w),        y_i in {-1, +1}

    All classes are trained in the same passes over X. If y is an indicator matrix, each label is a
    problem of two classes.

    Parameters
    ----------
    loss : str or CompiledLoss, default="hinge"
        "hinge" is a linear SVM, "log_loss" logistic regression, "modified_huber" a smooth hinge
        that bears outliers (these two have ``predict_proba``), "squared_hinge", "perceptron"; or a
        loss of regression: "squared_error", "huber", "epsilon_insensitive",
        "squared_epsilon_insensitive"; or a :class:`fastsgd.losses.CompiledLoss`.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; multiply the sample weights. "balanced": sum of the sample weights
        / (n_classes * that of the class's rows), of the rows that are trained on; under
        ``partial_fit`` of all rows so far, where a class not yet seen has weight 1.
    multi_class : {"ovr", "multinomial"}, default="ovr"
        Each class against the rest, or a joint softmax (with loss="log_loss"). Two classes have
        one vector of weights either way: a softmax of two is the same model, at half the alpha.
        Labels of a multilabel problem are independent.
    scoring : str, callable or None, default=None
        Scorer of the validation set, as scikit-learn takes them; classes then stop together. None:
        accuracy, each class on its own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) for two classes, else (n_classes, n_features)
        Of the dtype of X; float32 for float16 and uint8.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercept of each row of ``coef_``.

    Notes
    -----
    After Ctrl-C the model is what it was at that moment. A later ``partial_fit`` or
    ``fit(..., resume=True)`` goes on from it at a new epoch; the rest of the interrupted one is
    skipped.

    References
    ----------
    .. [1] Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J.
       Control Optim. 30 (1992).

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

    loss_functions = loss_functions(CLASSIFICATION_LOSSES)

    _parameter_constraints = {  # noqa: RUF012
        **CONSTRAINTS,
        **PENALTY_CONSTRAINTS,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES)), CompiledLoss],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "multi_class": [StrOptions({"ovr", "multinomial"})],
    }

    multi_class: str

    def __init__(
        self,
        loss: ClassificationLoss | CompiledLoss = "hinge",
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
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: dict[Any, Any] | Literal["balanced"] | None = None,
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
        multi_class: Literal["ovr", "multinomial"] = "ovr",
        clip_norm: float | None = None,
        linear_scaling: bool = False,
        scoring: str | Callable[..., float] | None = None,
        on_divergence: Literal["raise", "backoff"] = "raise",
        certificate: bool = False,
        standardize: bool = False,
    ) -> None:
        keep_parameters(self, locals())

    # From labels to lanes.

    @property
    def _softmax(self) -> bool:
        """Whether the lanes are the classes of one softmax."""
        joint = self.multi_class == "multinomial" and len(self.classes_) > 2
        return joint and not self._multilabel

    def _targets_of(self, X: Any, y: NDArray[Any]) -> NDArray[np.floating]:
        if len(y) > FEW_ROWS or len(self.classes_) > FEW_CLASSES:
            return self._encode(self._labels(y), computed_in(X))
        known = self.classes_.tolist()  # which is shorter than a call of NumPy
        return np.array([known.index(label) for label in y.tolist()], dtype=computed_in(X))

    def _task(
        self,
        X: MatrixLike,
        y: NDArray[Any],
        encoded: NDArray[np.floating],
        sample_weight: Any,
        given: tuple[Any, Any, Any],
        *,
        partial: bool,
    ) -> Task:
        """Lanes: the one of class 1 in a binary problem, else one for each class or label."""
        k = len(self.classes_)
        labels, targets = np.arange(k, dtype=np.float64), np.zeros(k, dtype=np.int64)
        if self._multilabel:
            labels, targets = np.ones(k), np.arange(k)
        elif k == 2:
            labels, targets = np.ones(1), np.zeros(1, dtype=np.int64)
        weight = self._weight(sample_weight, X)
        return Task(
            X,
            encoded,
            weight,
            loss="softmax" if self._softmax else self.loss,
            sign_targets=True,
            labels=labels,
            targets=targets,
            class_weight=self._class_weights(encoded, weight, add=partial),
            user_y=y,
            given=given,
        )

    def _class_weights(
        self,
        encoded: NDArray[np.floating],
        weight: NDArray[np.floating] | None,
        *,
        add: bool = False,
    ) -> dict[str, Any]:
        """Weights of the positive and negative rows of each lane; ``add`` to the counts so far."""
        weights = self._weights_of_classes(encoded, weight, add=add)
        if weights is None:
            return {}
        if weights.ndim == 2 or (len(weights) == 2 and not self._multilabel):
            return {"weight_negative": weights[0], "weight_positive": weights[1]}
        return {"weight_positive": weights}

    def _check_multinomial(self) -> None:
        check_parameters(self)
        if self.multi_class == "multinomial" and self.loss != "log_loss":
            raise ValueError(
                f"multi_class='multinomial' is the softmax: it goes with loss='log_loss', not with "
                f"loss={self.loss!r}"
            )

    # Training.

    def _begin(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        """Classes and lanes of a fit, from its input."""
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=True)
        y = self._labels(y)
        encoded = self._find_classes(X, y)
        return self._task(X, y, encoded, sample_weight, given, partial=False)

    def _again(self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Task:
        given = X, y, sample_weight
        X, y = self._validate(X, y, reset=False)
        y = self._labels(y)
        encoded = self._encode(y, computed_in(X))
        return self._task(X, y, encoded, sample_weight, given, partial=False)

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
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or an indicator matrix of a multilabel problem.
        y_val : array-like of shape (n_rows,) or (n_rows, n_labels), optional
            Class labels of the validation set.

        Returns
        -------
        self : SGDClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument. The estimator is as it was before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        self._check_multinomial()
        again = taken_up(self, resume)
        with opened(self, X, y, sample_weight, dict(source)) as rows:
            before = vars(self).get("classes_") if again or self.warm_start else None
            task = self._begin(rows.X, rows.y, rows.sample_weight)
            task.stream = rows.stream
            if before is not None and not np.array_equal(before, self.classes_):
                raise ValueError(
                    f"Provided coef_ does not match dataset: the model to go on from has classes "
                    f"{before}, but y has {self.classes_}"
                )
            validation = None
            X_val, y_val = rows.validation(X_val, y_val)
            if self._has_validation_set(X_val, y_val):
                names = "X_val", "y_val"
                X_val, y_val = self._validate(X_val, y_val, reset=False, names=names)
                y_val = self._labels(y_val)
                validation = X_val, self._encode(y_val, computed_in(task.X), "y_val"), y_val
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
        classes: ArrayLike | None = None,
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
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or an indicator matrix of a multilabel problem.
        classes : array-like of shape (n_classes,), optional
            All classes there are; needed at the first call. ``range(n_labels)`` of a multilabel
            problem.

        Returns
        -------
        self : SGDClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument. The estimator is as it was before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        self._check_multinomial()
        self._check_partial()
        with opened(self, X, y, sample_weight, dict(source)) as rows:
            given = X, y, sample_weight
            X, y, encoded = self._validate_part(rows.X, rows.y, classes)
            task = self._task(X, y, encoded, rows.sample_weight, given, partial=True)
            task.stream = rows.stream
            self._solve(task, partial=True)
            keep_columns(self, rows)
        return self

    def _measure(self, scores: Array, y: NDArray[Any], weight: Array | None) -> Array | float:
        if self._softmax:
            return float(np.average(scores.argmax(axis=1) == y.argmax(axis=1), weights=weight))
        return accuracies(scores, y, weight)

    # Prediction.

    @by_blocks
    def decision_function(self, X: MatrixLike) -> NDArray[np.floating]:
        """Scores x . w + b of the rows.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, K)
            For two classes one score, which is positive for ``classes_[1]``; otherwise one for each
            of the K classes or labels.
        """
        scores = self._scores(X)
        return scores.ravel() if scores.shape[1] == 1 else scores

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
        scores = self.decision_function(X)
        if self._multilabel:
            return (scores.reshape(len(scores), -1) > 0).astype(int)
        indices = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[indices]

    @available_if(_may_predict_proba)
    @by_blocks
    def predict_proba(self, X: MatrixLike) -> NDArray[np.floating]:
        """Probabilities of the classes, for the losses "log_loss" and "modified_huber".

        Of a score z: 1 / (1 + exp(-z)) for "log_loss", (clip(z, -1, 1) + 1) / 2 for
        "modified_huber"; with more than two classes, each against the rest and normalised [1]_. A
        "multinomial" model has the softmax of its scores; labels of a multilabel problem are not
        normalised.

        Parameters
        ----------
        X : {ndarray, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.

        References
        ----------
        .. [1] Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
           probability estimates", KDD 2002.
        """
        scores = self._scores(X)
        if self._softmax:
            most = 0.25 * np.finfo(scores.dtype).max  # of a difference of two
            return softmax(np.clip(scores, -most, most), axis=1)
        positive = expit(scores) if self.loss == "log_loss" else (np.clip(scores, -1, 1) + 1) / 2
        if self._multilabel:
            return positive
        if positive.shape[1] == 1:
            return np.hstack([1.0 - positive, positive])
        total = positive.sum(axis=1, keepdims=True)
        uniform = np.full_like(positive, 1.0 / positive.shape[1])
        return np.divide(positive, total, out=uniform, where=total > 0)

    @available_if(_may_predict_proba)
    def predict_log_proba(self, X: MatrixLike) -> NDArray[np.floating]:
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
