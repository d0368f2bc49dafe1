"""Predictions of arrays and data frames of Dask: lazily, block by block."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import accuracy_score

from ..problem import computed_in
from .extras import library
from .partitions import array_of

__all__ = ["by_chunks", "score_of"]


def by_chunks(model: Any, name: str, X: Any) -> Any:
    """What a method of a fitted model says of an array or a data frame of Dask.

    Parameters
    ----------
    model : estimator
        Of one machine.
    name : str
        Of the method.
    X : dask.array.Array or dask.dataframe.DataFrame
        Rows to predict.

    Returns
    -------
    dask.array.Array
        With the chunks of X; of a data frame's rows, their number is not known before they are
        computed.

    Raises
    ------
    ValueError
        If X has another number of columns than the model.
    """
    da, delayed = library("dask.array"), library("dask").delayed
    frame = hasattr(X, "columns") and hasattr(X, "npartitions")
    if not frame:
        X = array_of(X, "X")
        if X.ndim != 2 or X.shape[1] != model.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1] if X.ndim == 2 else X.ndim} features, but the model expects "
                f"{model.n_features_in_} features as input"
            )
    meta = _meta(model, name, _dtype(model, X, frame))
    sent = delayed(model, pure=False, traverse=False)
    if not frame:
        columns = {"drop_axis": 1} if meta.ndim == 1 else {"chunks": (X.chunks[0], meta.shape[1:])}
        return X.map_blocks(predicted, sent, name, meta, dtype=meta.dtype, meta=meta, **columns)
    run = delayed(predicted, pure=False)
    parts = [
        da.from_delayed(run(part, sent, name, meta), (np.nan, *meta.shape[1:]), meta=meta)
        for part in X.to_delayed()
    ]
    return da.concatenate(parts)


def predicted(X: Any, model: Any, name: str, meta: Any) -> Any:
    """What a method says of a block."""
    from .tasks import aligned

    X = aligned(X) if isinstance(X, np.ndarray) or sp.issparse(X) else X
    return getattr(model, name)(X) if X.shape[0] else meta


def _dtype(model: Any, X: Any, frame: bool) -> Any:
    """Of the arrays that blocks are converted to."""
    if not frame:
        return X.dtype
    columns = vars(model).get("columns_")
    return np.dtype(columns.dtype) if columns is not None else np.result_type(*X.dtypes)


def _meta(model: Any, name: str, dtype: Any) -> Any:
    """No predictions, with the dtype and the dimensions of all others."""
    dtype = dtype if dtype in (np.float16, np.float32, np.uint8) else np.dtype(np.float64)
    row = sp.csr_array((1, model.n_features_in_), dtype=np.float32)
    row = row.astype(computed_in(np.empty((0, 1), dtype=dtype)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return getattr(model, name)(row)[:0]


def score_of(model: Any, X: Any, y: Any, sample_weight: Any, client: Any) -> float:
    """Accuracy of a classifier, R^2 of a regressor: sums over the blocks."""
    from .partitions import partitions_of

    columns = vars(model).get("columns_")
    options = {} if y is not None or columns is None else {"columns": columns}
    blocks = partitions_of(X, y, sample_weight, options).blocks
    count = library("dask").delayed(_sums, pure=False)
    sent = library("dask").delayed(model, pure=False, traverse=False)
    tasks = [count(block, sent) for block in blocks]
    if client is None:
        found = library("dask").compute(*tasks)
    else:
        found = client.gather(client.compute(tasks))
    weight, mean, squares, errors = found[0]
    for w, m, s, e in found[1:]:
        total = weight + w
        if w > 0.0:
            change = m - mean
            squares = squares + s + change**2 * (weight * w / total)
            mean = mean + change * (w / total)
        weight, errors = total, errors + e
    if hasattr(model, "classes_"):
        return float(errors[0] / weight)
    scores = np.where(squares > 0.0, 1.0 - errors / np.where(squares > 0.0, squares, 1.0), 0.0)
    scores = np.where((squares == 0.0) & (errors == 0.0), 1.0, scores)
    return float(scores.mean())


def _sums(block: Any, model: Any) -> tuple[float, Any, Any, Any]:
    """Weight, mean and squares of y, and squares of its errors; or the weight that is right."""
    zero = np.zeros(1)
    if len(block) == 0:
        return 0.0, zero, zero, zero
    predictions = model.predict(block.X)
    weight = np.ones(len(block)) if block.sample_weight is None else block.sample_weight
    total = float(weight.sum())
    if hasattr(model, "classes_"):
        right = accuracy_score(block.y, predictions, sample_weight=weight, normalize=False)
        return total, zero, zero, np.array([float(right)])
    if total == 0.0:
        return 0.0, zero, zero, zero
    y = np.asarray(block.y, dtype=np.float64).reshape(len(block), -1)
    mean = np.average(y, axis=0, weights=weight)
    errors = np.square(y - predictions.reshape(y.shape))
    return total, mean, weight @ np.square(y - mean), weight @ errors
