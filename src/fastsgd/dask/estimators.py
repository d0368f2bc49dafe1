"""``fastsgd.dask.SGDClassifier`` and ``SGDRegressor``."""

from __future__ import annotations

from typing import Any, ClassVar, Self, Unpack

from numpy.typing import ArrayLike

from ..estimators import classifier, regressor
from ..estimators.checkpointing import Resume
from ..estimators.classifier import available_if
from ..estimators.documentation import CALL, PARAMETERS, documented
from ..estimators.rows import SourceOptions
from ..model_files.checkpoint import Checkpoint
from .base import OnCluster, with_parameters

__all__ = ["SGDClassifier", "SGDRegressor"]

OF_CLUSTER = {
    "client": """distributed.Client or None
        The cluster. None: the client that was started last. A pickle has None.""",
    "shards": """int or None
        Number of shards of the rows, each of partitions that follow each other, or of row groups,
        record batches or rows of files. None: a shard for each partition or file, of a single file
        for each 2**20 rows; at most 64. The model depends on it, and on nothing else of the
        cluster.""",
    "local_epochs": """float
        Part of an epoch that each shard trains in a round, in (0, 1]. Less is nearer to what one
        machine finds, at more rounds an epoch (docs/cluster.md).""",
    "finish": """{"lbfgs"} or None
        What follows the rounds of SGD. "lbfgs": L-BFGS over all rows, for smooth losses with an L2
        penalty or none. It is exact to the tolerance of the dtype, at a round an iteration or two,
        and nearly as exact where each shard has rows of another kind (docs/cluster.md).
        ``partial_fit`` has none.""",
    "finish_max_iter": """int
        Iterations of ``finish`` at most.""",
    "n_jobs": """int or None
        Number of threads that share the work of each batch of a shard. None: one.""",
    "early_stopping": """bool
        Not on a cluster: give X_val and y_val to ``fit``.""",
    "certificate": """bool
        Not on a cluster.""",
}

CALL_OF_CLUSTER = {
    "X": """Dask array or data frame, list of delayed objects, or paths
        Training rows: an array whose blocks are dense or CSR; a data frame; a list of delayed
        blocks (X, y) or (X, y, sample_weight); or the paths of files, which workers read. They are
        in the memory of the cluster while they are trained on, but for shards of files that are
        more than ``pool_bytes``: these are streamed from the disks of the workers.""",
    "y": """Dask array or column of shape (n_samples,) or (n_samples, n_outputs), optional
        Targets of an array or a data frame without ``target``.""",
    "sample_weight": """Dask array or column of shape (n_samples,), or str, optional
        Weights of the rows, >= 0; or the column that has them, of a data frame with ``target``.""",
    "X_val": """array of shape (n_rows, n_features), of NumPy or of Dask, optional
        Rows of a validation set, which the client watches after every epoch; the best weights are
        restored. Rows of Dask come to the client.""",
    "diagnostics": """bool
        Measure gradient and noise at the end of each epoch, on a sample of the rows.""",
    "**source": """SourceOptions, optional
        How X is read, if it is a data frame or paths: ``target``, ``features``, ``categorical``,
        ``text``, ``hash_bits`` and ``missing`` of :func:`fastsgd.data.open_source`. Of paths also
        ``pool_bytes``, the memory for the rows of a shard (512 MiB), and ``cache``, a folder for
        the caches of all shards (a temporary one of each worker).""",
}


def on_cluster(cls: Any) -> Any:
    """Complete the parameters and the docstrings of a class."""
    return documented(
        with_parameters(cls), parameters=PARAMETERS | OF_CLUSTER, call=CALL | CALL_OF_CLUSTER
    )


def _has_probabilities(estimator: Any) -> bool:
    """As scikit-learn has it: raises an AttributeError that says why not."""
    return classifier._may_predict_proba(estimator)


@on_cluster
class SGDClassifier(OnCluster, classifier.SGDClassifier):
    """Linear classifiers by stochastic gradient descent on a Dask cluster.

    The model of :class:`fastsgd.SGDClassifier`, trained by local SGD: in a round each shard of the
    rows is trained on from common weights, and the next round starts from the mean of the weights
    that the shards end with [1]_. For sparse rows a shard counts in the mean of a weight by the
    values that it has of the feature [2]_.

    Parameters
    ----------
    loss : str or CompiledLoss, default="hinge"
        As :class:`fastsgd.SGDClassifier` has it.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; multiply the sample weights. "balanced" is by the rows of all
        shards.
    multi_class : {"ovr", "multinomial"}, default="ovr"
        Each class against the rest, or a joint softmax (with loss="log_loss").
    scoring : str, callable or None, default=None
        Scorer of the validation set, as scikit-learn takes them. None: accuracy.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) for two classes, else (n_classes, n_features)
        Of the dtype of X; float32 for float16 and uint8.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercept of each lane.
    finish_ : dict
        With ``finish``: the objective after each iteration (``loss``), the ``rounds`` that took,
        and why it ended (``message``).

    References
    ----------
    .. [1] Stich, "Local SGD converges fast and communicates little", ICLR 2019.
    .. [2] Agarwal, Chapelle, Dudik and Langford, "A reliable effective terascale learning system",
       JMLR 15 (2014).

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from fastsgd.dask import SGDClassifier
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     X = da.random.default_rng(0).normal(size=(2000, 5), chunks=(500, 5)).persist()
    ...     model = SGDClassifier(loss="log_loss", random_state=0).fit(X, (X[:, 0] > 0).astype(int))
    ...     score = model.score(X, (X[:, 0] > 0).astype(int))
    >>> score > 0.95
    True
    """

    local: ClassVar[Any] = classifier.SGDClassifier

    def __init__(self, *values: Any, **parameters: Any) -> None:
        self._keep(*values, **parameters)

    def fit(
        self,
        X: Any,
        y: Any = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
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
        self : SGDClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument or the partition. The estimator is as it was
            before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        arguments = {"coef_init": coef_init, "intercept_init": intercept_init}
        validation = {"X_val": X_val, "y_val": y_val, "diagnostics": diagnostics}
        others: dict[str, Any] = {"resume": resume, "checkpoint": checkpoint}
        others |= arguments | validation
        return self._train("fit", X, y, sample_weight, source, **others)

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: ArrayLike | None = None,
        sample_weight: Any = None,
        **source: Unpack[SourceOptions],
    ) -> Self:
        """Train one epoch on these rows, on top of what was learned before.

        Parameters
        ----------
        classes : array-like of shape (n_classes,), optional
            All classes there are; needed at the first call.

        Returns
        -------
        self : SGDClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument or the partition. The estimator is as it was
            before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        return self._train("partial_fit", X, y, sample_weight, source, classes=classes)

    def decision_function(self, X: Any) -> Any:
        """Scores x . w + b of the rows.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.

        Returns
        -------
        dask.array.Array or ndarray of shape (n_samples,) or (n_samples, K)
            For two classes one score; lazily, with the chunks of X, for X of Dask.
        """
        return self._predicted("decision_function", X)

    def predict(self, X: Any) -> Any:
        """Predict class labels.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.

        Returns
        -------
        dask.array.Array or ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels; lazily, with the chunks of X, for X of Dask.
        """
        return self._predicted("predict", X)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, for the losses "log_loss" and "modified_huber".

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.

        Returns
        -------
        dask.array.Array or ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; lazily, with the chunks of X, for X of Dask.
        """
        return self._predicted("predict_proba", X)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of ``predict_proba``.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.

        Returns
        -------
        dask.array.Array or ndarray of shape (n_samples, n_classes)
            Natural logarithms; lazily, with the chunks of X, for X of Dask.
        """
        return self._predicted("predict_log_proba", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy of the predictions.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.
        y : array of shape (n_samples,) or (n_samples, n_labels), optional
            Their labels; a data frame of a model that was fitted with ``target`` has its own.
        sample_weight : array of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            From 0 to 1; sums over the blocks of X alone come to the client.
        """
        return self._scored(X, y, sample_weight)


@on_cluster
class SGDRegressor(OnCluster, regressor.SGDRegressor):
    """Linear regression by stochastic gradient descent on a Dask cluster.

    The model of :class:`fastsgd.SGDRegressor`, trained by local SGD as
    :class:`fastsgd.dask.SGDClassifier` is [1]_.

    Parameters
    ----------
    loss : str or CompiledLoss, default="squared_error"
        As :class:`fastsgd.SGDRegressor` has it.
    quantile : float, default=0.5
        Of the "quantile" loss, in [0, 1].

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), or (n_outputs, n_features) for y of two dimensions
        Of the dtype of X; float32 for float16 and uint8.
    intercept_ : ndarray of shape (1,) or (n_outputs,)
        The intercept of each output.
    finish_ : dict
        With ``finish``: the objective after each iteration (``loss``), the ``rounds`` that took,
        and why it ended (``message``).

    References
    ----------
    .. [1] Stich, "Local SGD converges fast and communicates little", ICLR 2019.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from fastsgd.dask import SGDRegressor
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     X = da.random.default_rng(0).normal(size=(2000, 5), chunks=(500, 5)).persist()
    ...     model = SGDRegressor(random_state=0).fit(X, X[:, 0] + 1.0)
    ...     score = model.score(X, X[:, 0] + 1.0)
    >>> score > 0.95
    True
    """

    local: ClassVar[Any] = regressor.SGDRegressor

    def __init__(self, *values: Any, **parameters: Any) -> None:
        self._keep(*values, **parameters)

    def fit(
        self,
        X: Any,
        y: Any = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
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
            Bad input; the message names the argument or the partition. The estimator is as it was
            before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        arguments = {"coef_init": coef_init, "intercept_init": intercept_init}
        validation = {"X_val": X_val, "y_val": y_val, "diagnostics": diagnostics}
        others: dict[str, Any] = {"resume": resume, "checkpoint": checkpoint}
        others |= arguments | validation
        return self._train("fit", X, y, sample_weight, source, **others)

    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **source: Unpack[SourceOptions]
    ) -> Self:
        """Train one epoch on these rows, on top of what was learned before.

        Parameters
        ----------

        Returns
        -------
        self : SGDRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            Bad input; the message names the argument or the partition. The estimator is as it was
            before the call.
        DivergenceError
            The run diverged. The estimator is as it was before the call.
        """
        return self._train("partial_fit", X, y, sample_weight, source)

    def predict(self, X: Any) -> Any:
        """Predict targets: x . w + b, or exp(x . w + b) with ``loss="poisson"``.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.

        Returns
        -------
        dask.array.Array or ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions; lazily, with the chunks of X, for X of Dask.
        """
        return self._predicted("predict", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R^2 of the predictions; of several outputs the mean.

        Parameters
        ----------
        X : array or data frame, of Dask or of this process
            Rows to predict.
        y : array of shape (n_samples,) or (n_samples, n_outputs), optional
            Their targets; a data frame of a model that was fitted with ``target`` has its own.
        sample_weight : array of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            1 - (sum of squared errors) / (sum of squares around the mean).
        """
        return self._scored(X, y, sample_weight)
