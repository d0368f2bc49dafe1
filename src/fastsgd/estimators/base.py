"""What the three estimators share beside fitting: scores of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils.validation import check_is_fitted

from .fitting import Fitting
from .report import CallbackSupportMixin
from .saving import Saved
from .validated import Validated
from .validation import products


class BaseSGD(CallbackSupportMixin, SparseCoefMixin, Saved, Validated, Fitting):
    """What the estimators share. See :class:`fastsgd.SGDClassifier` for the parameters."""

    def _scores(self, X: Any) -> NDArray[np.floating]:
        """X coef_' + intercept_, shape (n, K)."""
        products = self._products(X)
        with np.errstate(over="ignore", invalid="ignore"):
            return products + self.intercept_

    def _products(self, X: Any) -> NDArray[np.floating]:
        """X coef_', shape (n, K)."""
        if "coef_" not in vars(self):
            check_is_fitted(self)
        X = self._rows_to_predict(X)
        if self._reads_few and sp.issparse(X) and X.nnz < X.shape[1] // 8:
            coef, _ = self._continuation.weights_at(X.indices)
            columns = np.arange(len(X.indices), dtype=X.indices.dtype)  # a feature for each value
            X = sp.csr_array((X.data, columns, X.indptr), shape=(X.shape[0], len(columns)))
            return products(X, coef)
        coef = self.coef_
        if sp.issparse(coef) and coef.ndim == 1:  # some SciPys transpose and reshape no such array
            coef = sp.csr_array(coef.toarray()[None])
        coef = coef if sp.issparse(coef) else np.atleast_2d(coef)
        return products(X, coef)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.standardize
        return tags
