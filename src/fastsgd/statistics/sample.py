"""A sample of a problem's rows, and what it says: losses at given weights, scales of the features.

The rows are evenly spaced, at most 4,096 and about two million values, 130,000 of CSR, so that they
cost little beside an epoch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import column_squares
from ..losses import CompiledLoss
from ..problem import Data, Lanes, Settings
from ..targets import targets_of, weights_of

__all__ = [
    "feature_scales",
    "has_long_rows",
    "least_loss",
    "loss_at",
    "overflows",
    "sample_rows",
    "without_duplicates",
]

SAMPLE_ROWS, SAMPLE_VALUES = 4096, 1 << 21
LONG_ROW = 1 << 17
"""Mean number of values of CSR rows above which they are long."""

SPARSE_PART = 16
"""How much fewer values are sampled of CSR, where a value costs more."""


def sample_rows(data: Data, values: int = SAMPLE_VALUES) -> slice | NDArray[np.int64]:
    """Evenly spaced rows of positive weight, with about so many values at most.

    A slice where that says it, since a dense table then need not be copied.
    """
    a_row = max(1, SPARSE_PART * data.X.nnz // data.n) if data.sparse else data.d
    most = min(SAMPLE_ROWS, max(64, values // a_row))
    if data.sample_weight is None:
        step = max(1, data.n // most)
        return slice(0, most * step, step)
    rows = np.flatnonzero(data.sample_weight)
    if len(rows) == 0:
        return np.arange(min(data.n, most))
    return rows[:: max(1, len(rows) // most)][:most]


def has_long_rows(data: Data) -> bool:
    """Whether a few rows of CSR are more than SciPy and NumPy do in a moment, which nothing can
    interrupt: then rates are found from |x|^2 alone, as if rows had no direction in common but that
    of the largest curvature, the safe side."""
    return data.sparse and len(data.X.data) > LONG_ROW * data.n


def without_duplicates(X: Any) -> Any:
    """CSR X, or a copy in which values of one place are added up."""
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def loss_at(
    data: Data, lanes: Lanes, settings: Settings, coef: Any, intercept: Any
) -> NDArray[np.float64]:
    """Mean loss of a sample of rows at weights (K, d) and (K,), without penalties; shape (K,)."""
    rows = sample_rows(data)
    y = targets_of(data, lanes, settings, rows)
    s = weights_of(data, lanes, settings, y, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        z = _scores(data.rows(rows, data.dtype), coef) + intercept
        value = settings.terms.value(z, y, settings.loss_parameter)
        return (s * value).sum(axis=0) / np.maximum(1, (s > 0).sum(axis=0))


def least_loss(data: Data, lanes: Lanes, settings: Settings) -> NDArray[np.float64]:
    """What :func:`loss_at` cannot be below: the loss's infimum on each of its rows; shape (K,)."""
    if settings.terms.infimum == 0.0:
        return np.zeros(lanes.k)
    rows = sample_rows(data)
    s = weights_of(data, lanes, settings, targets_of(data, lanes, settings, rows), rows)
    weights = s.sum(axis=0) / np.maximum(1, (s > 0).sum(axis=0))
    return np.asarray(settings.terms.infimum * weights)


def _scores(X: Any, coef: Any) -> NDArray[np.float64]:
    """X coef' in float64; of very long rows a row at a time, so that Ctrl-C need not wait."""
    if not hasattr(X, "indptr") or X.nnz <= LONG_ROW * X.shape[0]:
        return np.asarray(X @ coef.T, dtype=np.float64)
    scores = [np.asarray(X[i : i + 1] @ coef.T, dtype=np.float64) for i in range(X.shape[0])]
    return np.concatenate(scores)


def overflows(data: Data, lanes: Lanes, settings: Settings, coef: Any, intercept: Any) -> bool:
    """Whether the loss of a sampled row is beyond the range of the dtype of computation.

    Never of a user's own loss, which may be no number for other reasons.
    """
    if isinstance(settings.loss, CompiledLoss):
        return False
    rows = sample_rows(data)
    y = targets_of(data, lanes, settings, rows)
    s = weights_of(data, lanes, settings, y, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        z = _scores(data.rows(rows), np.asarray(coef)) + intercept
        value = settings.terms.value(z, y, settings.loss_parameter)
        largest = np.max([np.abs(z).max(), np.abs(value).max(), np.abs(s * value).max()])
        total = largest * data.n
    return not (largest <= float(np.finfo(data.dtype).max) and np.isfinite(total))


def feature_scales(
    data: Data, ratio: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Columns with values other than zero in a sample of rows, and the root mean square of these.

    Of the values that are not zero, since a column that is rarely there is not a small one. None if
    no two scales can differ by more than ``ratio``, which costs little to find out, or if there is
    no row to be sampled. Columns whose scale is not a finite number are left out.
    """
    rows = sample_rows(data, SAMPLE_VALUES // (32 if data.sparse else 8))
    if has_long_rows(data):
        rows = np.arange(data.n)[rows][: SAMPLE_VALUES * data.n // len(data.X.data)]
        if len(rows) == 0:
            return None
    X: Any = data.rows(rows, data.dtype)
    squares: Any
    if data.sparse:
        X = without_duplicates(X)
        there = np.abs(X.data[X.data != 0.0])
        if len(there) and there.max() <= ratio * there.min():
            return None
        columns, column = np.unique(X.indices, return_inverse=True)
        squares = np.bincount(column, np.square(X.data, dtype=np.float64), len(columns))
        counts = np.bincount(column[X.data != 0.0], minlength=len(columns))
    else:
        squares, least, most = column_squares(X)
        if most > 0.0 and X.shape[0] * most <= ratio**2 * least:  # counts are at least 1
            return None
        columns = np.arange(data.d)
        counts = np.count_nonzero(X, axis=0)
    scales = np.sqrt(squares / np.maximum(1, counts))
    kept = (scales > 0.0) & np.isfinite(scales)
    return columns[kept].astype(np.int64), scales[kept]
