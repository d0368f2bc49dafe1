"""Sums over rows of single rows' gradients and of their squares, in one pass over X."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..problem import blocks
from .problem import EstimatorProblem

__all__ = ["TOO_LARGE", "RowSums", "row_sums"]

Float = NDArray[np.float64]

TOO_LARGE = (
    "X, y or the weights of the estimator are so large that the squares of gradients are not "
    "finite. Scale them."
)


@dataclass(frozen=True)
class RowSums:
    """Sums over m rows of their gradients g_i = c_i (x_i, 1), and of the squares of these.

    ``first`` and ``second`` (K, d) are for the weights, ``first_b`` and ``second_b`` (K,) for the
    intercepts. Sums of disjoint sets of rows can be added.
    """

    m: int
    first: Float
    second: Float
    first_b: Float
    second_b: Float

    def __add__(self, other: RowSums) -> RowSums:
        return RowSums(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def __sub__(self, other: RowSums) -> RowSums:
        return RowSums(*(a - b for a, b in zip(_values(self), _values(other), strict=True)))

    def moments(self) -> tuple[Float, Float, Float, Float]:
        """Mean and variance of the gradients in the weights (K, d), then in the intercepts (K,)."""
        mean, mean_b = self.first / self.m, self.first_b / self.m
        variance = np.maximum(0.0, self.second / self.m - mean**2)
        return mean, variance, mean_b, np.maximum(0.0, self.second_b / self.m - mean_b**2)


def _values(sums: RowSums) -> tuple[Any, ...]:
    return sums.m, sums.first, sums.second, sums.first_b, sums.second_b


def _parts(problem: EstimatorProblem, rows: NDArray[np.int64] | None) -> Iterator[Any]:
    """Blocks of rows that fit into the cache, as slices or as row numbers."""
    if rows is None:
        yield from blocks(problem.data.X)
        return
    numbers_in_a_row = (
        problem.data.X.nnz / problem.data.n if problem.data.sparse else problem.data.d
    )
    size = max(1, int((1 << 18) / max(1.0, numbers_in_a_row)))
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _features(problem: EstimatorProblem, part: Any) -> Any:
    """Features of a block of rows; a slice of CSR is not copied."""
    X = problem.data.X
    if not (problem.data.sparse and isinstance(part, slice)):
        return problem.data.rows(part, problem.data.dtype)
    start, stop, _ = part.indices(problem.data.n)
    first, last = X.indptr[start], X.indptr[stop]
    arrays = X.data[first:last], X.indices[first:last], X.indptr[start : stop + 1] - first
    return type(X)(arrays, shape=(stop - start, X.shape[1]))


def row_sums(problem: EstimatorProblem, rows: NDArray[np.int64] | None = None) -> RowSums:
    """Sums over all rows, or over those whose numbers are given.

    Products of a block are in the dtype of the features, unless they overflow; the sums over blocks
    are in float64.

    Raises
    ------
    ValueError
        If they overflow in float64.
    """
    for dtype in dict.fromkeys((problem.data.dtype, np.dtype(np.float64))):
        with np.errstate(over="ignore", invalid="ignore"):
            total = _row_sums_in(problem, rows, dtype)
            if all(np.isfinite(moment).all() for moment in total.moments()):
                return total
    raise ValueError(TOO_LARGE)


def _row_sums_in(
    problem: EstimatorProblem, rows: NDArray[np.int64] | None, dtype: np.dtype[Any]
) -> RowSums:
    """The same, with products in the given dtype."""
    k, d = problem.coef.shape
    total = RowSums(0, np.zeros((k, d)), np.zeros((k, d)), np.zeros(k), np.zeros(k))
    learns = float(problem.settings.fit_intercept)
    coef = problem.coef.T.astype(dtype)
    for part in _parts(problem, rows):
        X = _features(problem, part).astype(dtype, copy=False)
        c = problem.slopes(part, np.asarray(X @ coef, dtype=np.float64) + problem.intercept)
        low = c.astype(dtype)
        if sp.issparse(X):
            squares = type(X)((X.data * X.data, X.indices, X.indptr), shape=X.shape)
        else:
            squares = X * X
        first, second = np.asarray(X.T @ low).T, np.asarray(squares.T @ (low * low)).T
        sums_b = learns * c.sum(axis=0), learns * (c**2).sum(axis=0)
        total = total + RowSums(len(c), first, second, *sums_b)
    return total
