"""Plots of the history of a fit: loss and score of each epoch, and its gradient noise scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ..estimators.network_fitting import BaseMLP
from .checks import Estimator
from .plotting import BLUE, ORANGE, Display

__all__ = ["LossCurveDisplay", "NoiseScaleDisplay"]


class LossCurveDisplay(Display):
    """Training loss of each epoch, and the validation score if there is one.

    Parameters
    ----------
    epoch : array-like of shape (E,)
        Numbers of the epochs.
    loss : array-like of shape (E,)
        Mean loss of the rows, each taken before its own step, plus the penalty.
    validation_score : array-like of shape (E,), optional
        Score on the validation rows; NaN where there is none.
    learning_rate : array-like of shape (E,), optional
        Learning rate at the end of each epoch. It is kept as an attribute and not drawn.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    line_ : matplotlib Line2D
        Line of the loss.
    score_line_ : matplotlib Line2D or None
        Line of the score, on an axis of its own at the right.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import LossCurveDisplay
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> display.line_.get_xdata()
    array([1, 2, 3])
    """

    def __init__(
        self,
        epoch: ArrayLike,
        loss: ArrayLike,
        validation_score: ArrayLike | None = None,
        learning_rate: ArrayLike | None = None,
    ) -> None:
        self.epoch, self.loss = np.asarray(epoch), np.asarray(loss)
        nothing = np.full(len(self.loss), np.nan)
        self.validation_score = nothing if validation_score is None else validation_score
        self.learning_rate = nothing if learning_rate is None else learning_rate

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, ax: Any = None, **line: Any
    ) -> LossCurveDisplay:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
            Fitted; its ``history_`` is drawn.
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.
        **line : dict
            Options of ``ax.plot``, for the line of the loss.

        Returns
        -------
        LossCurveDisplay
            The plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        names = "epoch", "loss", "validation_score", "learning_rate"
        return cls(*(estimator.history_[name] for name in names)).plot(ax=ax, **line)

    def plot(self, *, ax: Any = None, **line: Any) -> LossCurveDisplay:
        """Draw the loss, and the score if there is one.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.
        **line : dict
            Options of ``ax.plot``, for the line of the loss.

        Returns
        -------
        LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self._axes(ax)
        few = len(self.loss) <= 50
        style = {"color": BLUE, "marker": "o" if few else None, "markersize": 4, "label": "loss"}
        (self.line_,) = ax.plot(self.epoch, self.loss, **(style | line))
        ax.set(xlabel="epochs", ylabel="training loss, penalty included")
        self.score_line_ = None
        score = np.asarray(self.validation_score, dtype=np.float64)
        if not np.isnan(score).all():
            right = ax.twinx()
            style |= {"color": ORANGE, "linestyle": "--", "label": "validation score"}
            style["marker"] = "s" if few else None
            (self.score_line_,) = right.plot(self.epoch, score, **style)
            right.set_ylabel("validation score")
            right.legend(handles=[self.line_, self.score_line_], loc="center right")
        return self


class NoiseScaleDisplay(Display):
    """Gradient noise scale at the end of each epoch of a fit, beside the batch size.

    Parameters
    ----------
    epoch : array-like of shape (E,)
        Numbers of the epochs.
    full_gradient_norm : array-like of shape (E,)
        Norm of the gradient over all rows.
    gradient_noise : array-like of shape (E,)
        Trace of the covariance of single rows' gradients.
    noise_scale : array-like of shape (E,)
        Noise scale in rows; infinite where the gradient is lost in the noise of the sample.
    batch_size : int, default=1
        Rows of a batch.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    line_ : matplotlib Line2D
        Line of the noise scale.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> from fastsgd.insight import NoiseScaleDisplay
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.5, 2.5, 5.5, 6.5]
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0)
    >>> display = NoiseScaleDisplay.from_estimator(model.fit(X, y, diagnostics=True))
    >>> display.ax_.get_ylabel()
    'rows'
    """

    def __init__(
        self,
        epoch: ArrayLike,
        full_gradient_norm: ArrayLike,
        gradient_noise: ArrayLike,
        noise_scale: ArrayLike,
        batch_size: int = 1,
    ) -> None:
        self.epoch, self.noise_scale = np.asarray(epoch), np.asarray(noise_scale)
        self.full_gradient_norm = np.asarray(full_gradient_norm)
        self.gradient_noise, self.batch_size = np.asarray(gradient_noise), batch_size

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, ax: Any = None, **line: Any
    ) -> NoiseScaleDisplay:
        """Draw the history of an estimator that was fitted with ``diagnostics=True``.

        Parameters
        ----------
        estimator : SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
            Fitted; the noise in its ``history_`` is drawn.
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.
        **line : dict
            Options of ``ax.plot``, for the line of the noise scale.

        Returns
        -------
        NoiseScaleDisplay
            The plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it was fitted without ``diagnostics=True``.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        names = "epoch", "full_gradient_norm", "gradient_noise", "noise_scale"
        epoch, norm, noise, scale = (
            np.asarray(estimator.history_[name], dtype=np.float64) for name in names
        )
        if np.isnan(scale).all():
            raise ValueError(
                "estimator must be fitted by fit(..., diagnostics=True), which measures the noise"
            )
        size = estimator.batch_size
        if isinstance(estimator, BaseMLP):  # "auto" was chosen, and at most all rows
            size = estimator._continuation.descent.batch_size
        return cls(epoch, norm, noise, scale, int(size)).plot(ax=ax, **line)

    def plot(self, *, ax: Any = None, **line: Any) -> NoiseScaleDisplay:
        """Draw the noise scale, with a line at the batch size.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; without it in a new figure.
        **line : dict
            Options of ``ax.plot``, for the line of the noise scale.

        Returns
        -------
        NoiseScaleDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self._axes(ax)
        finite = np.isfinite(self.noise_scale)
        style = {"color": BLUE, "marker": "o", "markersize": 4}
        style["label"] = "noise scale tr Sigma / |grad L|²"
        (self.line_,) = ax.plot(self.epoch[finite], self.noise_scale[finite], **(style | line))
        ax.axhline(self.batch_size, color=ORANGE, linestyle="--", label="batch size")
        if not finite.all():
            top = np.full((~finite).sum(), 0.97)
            ax.plot(
                self.epoch[~finite],
                top,
                "^",
                color=BLUE,
                transform=ax.get_xaxis_transform(),
                label="gradient lost in the sample's noise",
            )
        ax.set(xlabel="epochs", ylabel="rows", yscale="log")
        ax.legend()
        return self
