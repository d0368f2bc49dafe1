"""Many models of the same rows in shared passes over X: cross-validation and regularisation paths.

A candidate is a choice of alpha, l1_ratio, eta0 and class_weight. With s splits and K outputs there
are candidates x splits x K lanes. A row that a split holds out is of weight zero in the split's
lanes, so X is read in place and no part of it is copied for training. A lane learns what a fit
learns whose ``sample_weight`` is 0 in the rows that its split does not train on, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimators.base import BaseSGD
from ..estimators.classifier import SGDClassifier
from ..estimators.parameters import penalties, request_of, settings_of, threads_of
from ..estimators.standardise import Scaling
from ..estimators.task import Task
from ..exceptions import DivergenceError
from ..learning_rate.choose import rates_of
from ..problem import LANE_NUMBERS, Data, Lanes, Settings, computed_in
from ..solver import Fit, State, Stopping, fit
from ..solver.stopping import PLATEAU_FACTOR
from ..statistics.weights import mean_weight

__all__ = ["LANE_PARAMETERS", "Models", "fit_all"]

LANE_PARAMETERS = ("alpha", "l1_ratio", "eta0", "class_weight")
"""Parameters of an estimator that may differ between the lanes of a pass."""

STATE_BYTES = 1 << 20
"""Weights and optimiser state of the lanes of a pass: about what an L2 cache holds."""

LEAST_LANES = 16
"""Lanes of a pass, at least, if there are so many."""

MOST_SPLITS = 64
"""Splits of a pass: the bits of ``Data.held_out``."""


@dataclass(frozen=True)
class Models:
    """What the lanes of all splits have learnt: s splits, C candidates, K outputs.

    Attributes
    ----------
    coef, intercept : ndarray of shape (s, C, K, d) and (s, C, K)
        In the space of X.
    epochs : ndarray of shape (s, C, K), int64
    failed : ndarray of shape (s, C), bool
        Whether a lane diverged.
    error : DivergenceError or None
        The last of them.
    """

    coef: NDArray[np.floating]
    intercept: NDArray[np.floating]
    epochs: NDArray[np.int64]
    failed: NDArray[np.bool_]
    error: DivergenceError | None


@dataclass(frozen=True)
class _Split:
    """What the candidates learn from the training rows of one split.

    Attributes
    ----------
    train : ndarray of shape (n_train,) or None
        Training rows; None: all.
    data, lanes, settings
        Lanes are (candidates, outputs), outputs side by side.
    scaling : Scaling
        Of the features that are trained on.
    """

    train: NDArray[np.int64] | None
    data: Data
    lanes: Lanes
    settings: Settings
    scaling: Scaling

    def shares(self, other: _Split) -> bool:
        """Whether the lanes of two splits may be trained in one pass."""
        return self.scaling.scale is None and self.settings == other.settings


def _fields(lanes: Lanes, which: Any = slice(None)) -> dict[str, NDArray[Any]]:
    """The fields of some lanes."""
    return {name: getattr(lanes, name)[which] for name in (*LANE_NUMBERS, "target")}


def _class_weights(
    models: Sequence[BaseSGD], task: Task, weight: NDArray[np.floating] | None
) -> dict[str, NDArray[np.float64]]:
    """``weight_positive`` and ``weight_negative`` of the candidates' lanes, where not 1; rows have
    the weights of a split."""
    labels = task.y, weight
    if task.stream is not None:
        if all(getattr(model, "class_weight", None) is None for model in models):
            return {}
        labels = task.stream.label_weights(task.X)
    found: dict[int, dict[str, Any]] = {}  # of a class_weight, by its id: a dict has no hash
    for model in models:
        if isinstance(model, SGDClassifier) and id(model.class_weight) not in found:
            found[id(model.class_weight)] = model._class_weights(*labels)
    if not any(found.values()):
        return {}
    k = len(task.labels)
    of_models = [found[id(model.class_weight)] for model in models]  # type: ignore[attr-defined]
    return {
        name: np.concatenate([np.broadcast_to(of.get(name, 1.0), k) for of in of_models])
        for name in ("weight_positive", "weight_negative")
    }


def _lanes_of(models: Sequence[BaseSGD], task: Task, data: Data, settings: Settings) -> Lanes:
    """The lanes of all candidates; rates that are found from the data are found once an eta0."""
    k, count = len(task.labels), len(models)
    strengths = np.repeat([penalties(model) for model in models], k, axis=0)
    lanes = Lanes(
        count * k,
        alpha=strengths[:, 0],
        l1=strengths[:, 1],
        eta0=1.0,
        label=np.tile(task.labels, count),
        target=np.tile(task.targets, count),
        **_class_weights(models, task, data.sample_weight),
    )
    alike: dict[Any, list[int]] = {}
    for i, model in enumerate(models):
        own_weights = settings.terms.coupled and id(getattr(model, "class_weight", None))
        key = model.eta0, own_weights, model.learning_rate == "optimal" and i
        alike.setdefault(key, []).append(i)
    for same in alike.values():
        which = (np.array(same)[:, None] * k + np.arange(k)).ravel()
        some = Lanes(len(which), **_fields(lanes, which))
        rates = rates_of(request_of(models[same[0]]), data, some, settings)
        lanes.eta0[which], lanes.mu[which] = rates.eta0, rates.mu
        lanes.intercept_rate[which] = rates.intercept_rate
    lanes.check()
    return lanes


def _split_of(
    models: Sequence[BaseSGD],
    task: Task,
    train: NDArray[np.int64] | None,
    seed: int,
    stream: Any,
) -> _Split:
    task, weight = task if stream is None else replace(task, stream=stream), task.weight
    if train is not None:
        weight = np.zeros(len(task.y), dtype=computed_in(task.X))
        weight[train] = 1.0 if task.weight is None else task.weight[train]
        if not weight.any():
            raise ValueError("sample_weight is zero in all training rows of a split.")
    scaling = models[0]._scaling(task, weight, None)
    if task.stream is None:
        data = Data(task.X, task.y, weight, scaling.offset, scaling.scale, checked=True)
    else:
        data = task.stream.data(task.X, task.y, weight, scaling)
    settings = settings_of(models[0], task, data, None, seed)
    return _Split(train, data, _lanes_of(models, task, data, settings), settings, scaling)


def _passes(
    splits: Sequence[_Split], outputs: int
) -> Iterator[list[tuple[int, NDArray[np.int64]]]]:
    """Lanes that are trained together: the number of a split, and which of its lanes, for each."""
    first = splits[0]
    if first.settings.terms.coupled:  # the lanes of a softmax are one model, which has its own pass
        for f, begin in product(range(len(splits)), range(0, first.lanes.k, outputs)):
            yield [(f, np.arange(begin, begin + outputs))]
        return
    vectors = first.settings.vectors(first.lanes)
    most = STATE_BYTES // (first.data.d * first.data.dtype.itemsize * vectors)
    most = max(LEAST_LANES, most // LEAST_LANES * LEAST_LANES)
    k, start = first.lanes.k, 0
    while start < len(splits):
        stop = start + 1
        while stop < min(len(splits), start + MOST_SPLITS) and splits[stop].shares(splits[start]):
            stop += 1
        lanes = np.arange((stop - start) * k)
        for begin in range(0, len(lanes), most):
            part = lanes[begin : begin + most]
            numbers = np.unique(part // k)
            yield [(start + int(f), part[part // k == f] - int(f) * k) for f in numbers]
        start = stop


def _pass_of(
    splits: Sequence[_Split], members: list[tuple[int, NDArray[np.int64]]], weight: Any
) -> tuple[Data, Lanes]:
    """Data and lanes of a pass. Rows of one split alone are left out by their sample weights."""
    parts = [_fields(splits[f].lanes, which) for f, which in members]
    fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    data, k = splits[members[0][0]].data, len(fields["alpha"])
    if len(members) == 1:
        return data, Lanes(k, **fields)
    held_out = np.zeros(data.n, dtype=np.uint64)
    bits = np.uint64(1) << np.arange(len(members), dtype=np.uint64)
    for (f, _), bit in zip(members, bits, strict=True):
        out = np.ones(data.n, dtype=bool)
        out[splits[f].train] = False
        held_out[out] |= bit
    of_lane = np.repeat(bits, [len(which) for _, which in members])
    data = replace(data, sample_weight=weight, held_out=held_out)
    if data.stream is not None:
        streams = [splits[f].data.stream for f, _ in members]
        data = replace(data, stream=type(streams[0]).joined(streams))
    return data, Lanes(k, **fields, split=of_lane)


def _mean_weights(
    splits: Sequence[_Split], members: list[tuple[int, NDArray[np.int64]]]
) -> NDArray[np.float64]:
    """Mean weight of the rows that a lane trains on, by which its tolerance is measured."""
    means = []
    for f, which in members:
        lanes = Lanes(len(which), **_fields(splits[f].lanes, which))
        means.append(mean_weight(splits[f].data, lanes, splits[f].settings))
    return np.concatenate(means)


def _train(
    model: BaseSGD,
    data: Data,
    lanes: Lanes,
    settings: Settings,
    unit: NDArray[np.float64],
) -> tuple[Fit, NDArray[np.bool_], DivergenceError | None]:
    """One pass an epoch. Lanes that diverge are left out, and the others start again."""
    settings = replace(settings, n_jobs=threads_of(model.n_jobs, data, model.batch_size, lanes.k))
    stopping = Stopping(
        max_epochs=model.max_iter,
        tol=model.tol,
        patience=min(model.n_iter_no_change, 2**62),
        adaptive=model.learning_rate == "adaptive",
        plateau_factor=PLATEAU_FACTOR if model.learning_rate == "auto" else 1.0,
        unit=unit,
    )
    failed, last = np.zeros(lanes.k, dtype=bool), None
    while True:
        state, seen = State(data, lanes, settings), Fit()
        state.active[failed] = 0.0
        try:
            fit(data, lanes, settings, state, stopping, seen)
            return seen, failed, last
        except DivergenceError as error:
            last = error
            last.coef_ = last.intercept_ = None  # of many models
            failed = failed | seen.at_fault
            if failed.all():
                return seen, failed, last


def fit_all(
    models: Sequence[BaseSGD],
    task: Task,
    rows: Sequence[Any],
    seed: int,
    streams: Sequence[Any] | None = None,
) -> Models:
    """Train every candidate on the training rows of every split (None: on all rows).

    The candidates differ in ``LANE_PARAMETERS`` alone. Where the task is a sample of a stream,
    ``rows`` are of the sample, and ``streams`` (``LeavesOut``) have all rows of each split.
    """
    of_splits = [None] * len(rows) if streams is None else streams
    splits = [
        _split_of(models, task, train, seed, stream)
        for train, stream in zip(rows, of_splits, strict=True)
    ]
    shape, d = (len(splits), len(models), len(task.labels)), task.X.shape[1]
    k = len(models) * len(task.labels)
    coef = np.empty((len(splits), k, d), dtype=splits[0].data.dtype)
    intercept = np.empty((len(splits), k), dtype=coef.dtype)
    epochs = np.zeros((len(splits), k), dtype=np.int64)
    failed, error = np.zeros((len(splits), k), dtype=bool), None
    by_class = any(getattr(model, "class_weight", None) is not None for model in models)
    weighed = models[0].tol is not None and (task.weight is not None or by_class)
    for members in _passes(splits, len(task.labels)):
        data, lanes = _pass_of(splits, members, task.weight)
        unit = _mean_weights(splits, members) if weighed else np.ones(lanes.k)
        first = splits[members[0][0]]
        seen, wrong, diverged = _train(models[0], data, lanes, first.settings, unit)
        error = error if diverged is None else diverged
        w, b = first.scaling.to_users(seen.coef, seen.intercept)
        start = 0
        for f, which in members:
            here = slice(start, start + len(which))
            coef[f, which], intercept[f, which] = w[here], b[here]
            epochs[f, which], failed[f, which] = seen.epochs[here], wrong[here]
            start += len(which)
    return Models(
        coef.reshape(*shape, d),
        intercept.reshape(shape),
        epochs.reshape(shape),
        np.logical_or.reduce(failed.reshape(shape), axis=2),
        error,
    )
