"""The errors and warnings a user can meet that are not Python's or scikit-learn's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DivergenceError", "FeatureScaleWarning", "TargetScaleWarning"]


class FeatureScaleWarning(UserWarning):
    """Columns of X differ so much in scale that no learning rate suits them all.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from fastsgd import FeatureScaleWarning, SGDRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 2)) * [1.0, 1e-6]
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = SGDRegressor(random_state=0).fit(X, X[:, 0])
    >>> any(issubclass(each.category, FeatureScaleWarning) for each in caught)
    True
    """


class TargetScaleWarning(UserWarning):
    """Targets are so large that the penalty holds back a loss of bounded slope.

    The slope of Huber's, the quantile and the epsilon-insensitive loss does not grow with y, but
    the weights that large targets need do, and with them the penalty.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from fastsgd import SGDRegressor, TargetScaleWarning
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = SGDRegressor("huber", random_state=0).fit(X, 3e5 * X[:, 0])
    >>> any(issubclass(each.category, TargetScaleWarning) for each in caught)
    True
    """


class DivergenceError(ValueError):
    """A run that diverged: a score, a weight or a loss is no longer finite, or the loss grew a
    million times.

    Parameters
    ----------
    step : int
        Number of updates done when it was noticed.
    learning_rate : float
        Learning rate of the last update.
    feature_scale : float
        Largest absolute value in the row at which it was noticed.
    safe_rate : float, optional
        1 / L, the rate that theory allows: L bounds the curvature that a batch meets. NaN if it was
        not worked out.
    coef, intercept : array-like, optional
        The last finite weights.
    epoch : int, optional
        Number of the epoch, from 1, in which it happened.
    overflow : bool, default=True
        Whether a number is no longer finite.
    network : bool, default=False
        Whether it is a network that diverged, for which other advice holds.
    theta : array or container of arrays, optional
        The last finite parameters of a user's own model.

    Attributes
    ----------
    step, learning_rate, feature_scale, safe_rate, epoch, overflow, network
        As given.
    coef_, intercept_ : ndarray of shape (K, n_features) and (K,), or None
        The last finite weights of all K lanes: those of the end of the last epoch, or of the start.
    theta_ : array or container of arrays, or None
        The last finite parameters of :func:`fastsgd.minimize`: as they are, if only a loss is not
        finite, else those of the end of the last epoch, or of the start.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import DivergenceError, SGDRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> try:
    ...     SGDRegressor(learning_rate="constant", eta0=10.0, random_state=0).fit(X, X[:, 0])
    ... except DivergenceError as error:
    ...     print(error.safe_rate < 1.0, np.isfinite(error.coef_).all())
    True True
    """

    at_fault: NDArray[np.bool_] | None = None
    """Lanes that diverged, (K,), of a shard's own error; None if others know."""

    def __init__(
        self,
        step: int,
        learning_rate: float,
        feature_scale: float,
        safe_rate: float = math.nan,
        coef: ArrayLike | None = None,
        intercept: ArrayLike | None = None,
        epoch: int | None = None,
        overflow: bool = True,
        network: bool = False,
        theta: Any = None,
    ) -> None:
        self.step = step
        self.learning_rate = learning_rate
        self.feature_scale = feature_scale
        self.safe_rate = safe_rate
        self.epoch = epoch
        self.overflow = overflow
        self.network = network
        self.coef_ = None if coef is None else np.asarray(coef)
        self.intercept_ = None if intercept is None else np.asarray(intercept)
        self.theta_ = theta
        super().__init__(self._message())

    def _message(self) -> str:
        if self.theta_ is not None:
            return (
                f"SGD diverged after {self.step} updates, in epoch #{self.epoch}: a loss, a "
                "gradient or a parameter is not finite. The learning rate was "
                f"{self.learning_rate:.3g}. A lower eta0 might help, clip_norm, or a warm-up. The "
                "last finite parameters are in this error's theta_."
            )
        safe = f" A rate that theory allows is {self.safe_rate:.3g}."
        if self.network:
            return self._message_of_network()
        weights = " The last finite weights are in this error's coef_ and intercept_."
        what = "Floating-point under-/overflow occurred"  # as scikit-learn has it
        if not self.overflow:
            what = (
                "The loss was more than a million times that of the first epoch, or of weights of "
                "zero,"
            )
        what = f" {what} at epoch #{self.epoch}."
        return (
            f"SGD diverged after {self.step} updates: the learning rate was "
            f"{self.learning_rate:.3g} and the largest feature of the row {self.feature_scale:.3g}."
            f"{'' if math.isnan(self.safe_rate) else safe}"
            f"{'' if self.epoch is None else what}"
            " Scaling input data with StandardScaler or MinMaxScaler might help. So might smaller "
            "y, where they are large, or a lower eta0 (for 'optimal', which has none, a higher "
            "alpha); learning_rate='auto' chooses a rate from the data, and "
            "on_divergence='backoff' halves it until it fits."
            f"{'' if self.coef_ is None else weights}"
        )

    def _message_of_network(self) -> str:
        rate = f", at a learning rate of {self.learning_rate:.3g}" if self.step else ""
        return (  # the first sentence is scikit-learn's
            "Solver produced non-finite parameter weights. The input data may contain large values "
            "and need to be preprocessed. "
            f"This was after {self.step} updates{rate}, in epoch {self.epoch}; the largest feature "
            f"there was {self.feature_scale:.3g}. standardize=True scales features; smaller y, "
            "where they are large, a lower learning_rate_init or a clip_norm may help too."
        )

    def scaled(self, scaling: Any) -> DivergenceError:
        """Convert an error of a run on scaled features to one about X itself.

        Parameters
        ----------
        scaling : Scaling
            From the features of X to those that were trained on.

        Returns
        -------
        DivergenceError
            This error, with weights of X itself; without weights, if those are not finite.
        """
        if self.coef_ is None or scaling.scale is None:
            return self
        coef, intercept = scaling.to_users(self.coef_, self.intercept_)
        finite = bool(np.isfinite(coef).all() and np.isfinite(intercept).all())
        return type(self)(
            self.step,
            self.learning_rate,
            self.feature_scale,
            self.safe_rate,
            coef if finite else None,
            intercept if finite else None,
            self.epoch,
            self.overflow,
        )

    def of_network(self) -> DivergenceError:
        """The same error of a network.

        Returns
        -------
        DivergenceError
            Without weights, with the advice that holds for networks.
        """
        return type(self)(
            self.step,
            self.learning_rate,
            self.feature_scale,
            epoch=self.epoch,
            overflow=self.overflow,
            network=True,
        )

    def __reduce__(self) -> tuple[type, tuple[Any, ...], dict[str, Any]]:
        numbers = self.step, self.learning_rate, self.feature_scale, self.safe_rate
        weights = self.coef_, self.intercept_
        how = self.epoch, self.overflow, self.network, self.theta_
        return type(self), (*numbers, *weights, *how), {"at_fault": self.at_fault}
