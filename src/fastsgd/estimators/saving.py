"""``save`` and ``to_sklearn`` of the estimators."""

from __future__ import annotations

import os
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

__all__ = ["Saved"]


class Saved(BaseEstimator):
    """An estimator that can be written to a file of numbers and text, without pickle."""

    def save(self, path: str | os.PathLike[str], *, state: bool = True) -> None:
        """Save the fitted model to a file, which :func:`fastsgd.load` reads.

        The file is in the format safetensors and holds parameters, fitted attributes and, with
        ``state``, all that training needs to go on: ``partial_fit`` and ``fit(resume=True)`` of the
        loaded model give the bits of this one. It is written beside first and then renamed, so that
        a file of this name is whole at any time. docs/saving.md says what is promised.

        Parameters
        ----------
        path : str or path-like
            Where to write; a file that is there is replaced.
        state : bool, default=True
            Save the training state too. Without it the file is smaller, predictions are the same,
            and ``partial_fit`` of the loaded model starts from its weights.

        Raises
        ------
        ValueError
            If the estimator is not fitted, is of a class of your own, or has a parameter that no
            file holds; the message names it.
        ImportError
            If the package safetensors is not installed.
        """
        from ..model_files.container import write
        from .model_parts import describe

        check_is_fitted(self)
        write(path, *describe(self, state=state))

    def to_sklearn(self) -> Any:
        """Convert the fitted model to scikit-learn's own estimator, which predicts the same.

        SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier and MLPRegressor become the class
        of this name there; a softmax a LogisticRegression, "poisson" a PoissonRegressor, "quantile"
        a QuantileRegressor, several outputs a LinearRegression. Coefficients are copied; parameters
        are carried over where scikit-learn has them and takes the value, else they are at their
        defaults there. What reads models of scikit-learn, such as skl2onnx, reads the result.

        Returns
        -------
        estimator
            Fitted, of scikit-learn.

        Raises
        ------
        ValueError
            If the estimator is not fitted, or scikit-learn has none that predicts the same; the
            message names the setting.
        """
        from .conversion import converted

        check_is_fitted(self)
        return converted(self)
