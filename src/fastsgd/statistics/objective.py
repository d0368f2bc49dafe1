"""The objective of each lane over all rows, and an estimate of its distance to the minimum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import Run, State, loss_at
from ..losses import LINES
from ..problem import LANE_NUMBERS, Data, Lanes, Settings, blocks
from ..targets import targets_of, weights_of
from .minimum import SmallProblem

__all__ = ["Objective"]

Float = NDArray[np.float64]

KEPT_VALUES, CHUNK_VALUES = 1 << 21, 1 << 15
"""Rows times lanes up to which targets and weights are kept from one evaluation to the next, and
that are worked on at a time: what the caches hold."""

CONSTANTS = np.linspace(-8.0, 8.0, 65)
"""Scores, one of which is near enough to the best for all rows."""

MOST_FEATURES, MOST_VALUES = 32, 1 << 20
"""Features, and values of X, up to which Newton steps cost no more than a few epochs."""


class Objective:
    """What training minimises: weighted mean loss plus penalties, for each lane.

    With a coupled loss the lanes are one model, and each has the objective of the whole.

    Parameters
    ----------
    data, lanes, settings
        The problem.
    """

    def __init__(self, data: Data, lanes: Lanes, settings: Settings) -> None:
        self.data, self.lanes, self.settings = data, lanes, settings
        self.cached_parts: list[tuple[Any, Float, Float | None]] | None = None
        self.features: Float | None = None  # with a column of ones for the intercept
        self.count = np.zeros(lanes.k)
        parts = self._parts()
        if data.n * lanes.k <= KEPT_VALUES:
            self.cached_parts = parts = list(parts)
        for _, y, s in parts:
            self.count += len(y) if s is None else (s > 0.0).sum(axis=0)
        self.count = np.maximum(1.0, self.count)

    def _parts(self) -> Any:
        """Features, targets (m, K) and weights (m, K), None for ones, of blocks of rows."""
        data, lanes, settings = self.data, self.lanes, self.settings
        numbers = np.arange(data.n)
        weighted = data.sample_weight is not None or data.held_out is not None
        weighted |= bool((lanes.weight_positive != 1.0).any())
        weighted |= bool((lanes.weight_negative != 1.0).any())
        rows = max(64, CHUNK_VALUES // lanes.k)
        within = (
            slice(first, min(first + rows, part.stop))
            for part in blocks(data.X)
            for first in range(part.start, part.stop, rows)
        )
        for part in within:
            y = targets_of(data, lanes, settings, numbers[part])
            s = weights_of(data, lanes, settings, y, numbers[part])
            yield part, y, s if weighted else None

    def loss(self, coef: Any, intercept: Any) -> tuple[Float, Float]:
        """Mean losses of the lanes, and their sizes, without penalties: see :meth:`__call__`."""
        settings, lanes = self.settings, self.lanes
        total, size = np.zeros((2, lanes.k))
        signs = not settings.terms.infimum >= 0.0  # whether terms may have different ones
        coef = np.asarray(coef, dtype=self.data.dtype)
        with np.errstate(all="ignore"):
            for part, y, s in self._parts() if self.cached_parts is None else self.cached_parts:
                z = np.asarray(self.data.rows(part, self.data.dtype) @ coef.T, dtype=np.float64)
                value = self._values(z + intercept, y, s)
                total += value.sum(axis=0)
                if signs:
                    least = _infimum(y) if settings.terms.targets == {"count"} else 0.0
                    size += np.abs(value - (least if s is None else s * least)).sum(axis=0)
            return total / self.count, (size if signs else total) / self.count

    def _values(self, z: Float, y: Float, s: Float | None) -> Float:
        """Losses of rows at scores z (m, K), times their weights."""
        settings = self.settings
        if settings.terms.coupled:
            value: Float = settings.terms.value(z, y, settings.loss_parameter)
        else:
            value = loss_at(settings.loss, z, y, parameter=settings.loss_parameter)
        return value if s is None else s * value

    def sums(self, coef: Any, intercept: Any) -> tuple[Float, Float, Float, Float]:
        """Sums over the rows, without penalties, whose bits depend on no library and no thread.

        Parameters
        ----------
        coef, intercept : ndarray of shape (K, d) and (K,)
            They are taken in the dtype of computation.

        Returns
        -------
        losses : ndarray of shape (K,)
            sum_i s_ik f(z_ik, y_ik); of a coupled loss the same in each lane.
        gradient, intercept_gradient : ndarray of shape (K, d) and (K,)
            sum_i s_ik f'(z_ik, y_ik) x_i, and without x_i.
        count : ndarray of shape (K,)
            Rows of positive weight.
        """
        state = State(self.data, self.lanes, self.settings)
        state.set_weights(coef, intercept)
        run, k = Run(self.data, self.lanes, self.settings, state), self.lanes.k
        losses, slopes, count = np.zeros((3, k))
        gradient = np.zeros((k, self.data.d))
        with np.errstate(all="ignore"):
            for part, y, s in self._parts() if self.cached_parts is None else self.cached_parts:
                rows = np.arange(part.start, part.stop)
                losses += self._values(run.score(rows).astype(np.float64), y, s).sum(axis=0)
                some, some_slopes, rows_of_weight = run.gradient_sums(rows)
                gradient += some.T
                slopes += some_slopes
                count += rows_of_weight
        return losses, gradient, slopes, count

    def __call__(self, coef: Any, intercept: Any) -> tuple[Float, Float]:
        """Objectives of the lanes, and their sizes.

        Parameters
        ----------
        coef, intercept : ndarray of shape (K, d) and (K,)

        Returns
        -------
        values, sizes : ndarray of shape (K,)
            The size is the sum of the absolute values of the terms: what a change of the objective
            is small or large against, where its terms are of different signs. The loss of counts
            is measured from its infimum, exp(z) - y z >= y - y log y, which makes it half of the
            deviance.
        """
        lanes = self.lanes
        loss, size = self.loss(coef, intercept)
        with np.errstate(all="ignore"):
            wide = np.asarray(coef, dtype=np.float64)
            penalty = 0.5 * lanes.alpha * np.square(wide).sum(axis=1)
            penalty += lanes.l1 * np.abs(wide).sum(axis=1)
            slope = lanes.intercept_gradient * np.asarray(intercept, dtype=np.float64)
            own, absolute = penalty + slope, penalty + np.abs(slope)
            if self.settings.terms.coupled:
                own, absolute = own.sum(), absolute.sum()
            return loss + own, size + absolute

    def of_constants(self) -> Float:
        """Objectives of the best models of classes without features: a score that all rows share.

        Of a coupled loss that score is 0.

        Returns
        -------
        ndarray of shape (K,)
        """
        data, lanes, settings = self.data, self.lanes, self.settings
        if settings.terms.coupled:
            return self(np.zeros((lanes.k, data.d)), np.zeros(lanes.k))[0]
        weight = np.zeros((2, lanes.k))
        for _, y, s in self._parts() if self.cached_parts is None else self.cached_parts:
            for row, sign in enumerate((1.0, -1.0)):
                weight[row] += ((y == sign) * (1.0 if s is None else s)).sum(axis=0)
        scores = CONSTANTS if settings.fit_intercept else np.zeros(1)
        z = np.repeat(scores[:, None], lanes.k, axis=1)
        with np.errstate(all="ignore"):
            of_signs = [
                weight[row] * loss_at(settings.loss, z, sign, parameter=settings.loss_parameter)
                for row, sign in enumerate((np.ones_like(z), -np.ones_like(z)))
            ]
            value = (of_signs[0] + of_signs[1]) / self.count + lanes.intercept_gradient * z
            return np.asarray(np.fmin.reduce(value, axis=0), dtype=np.float64)

    @property
    def has_minimum(self) -> bool:
        """Whether :meth:`minimum` may be asked: of few features, and of losses that leave lanes on
        their own and have a second derivative or kinks that are known."""
        data, terms = self.data, self.settings.terms
        known = np.isfinite(terms.smoothness) or terms.targets == {"count"} or terms.name in LINES
        small = data.d <= MOST_FEATURES and data.n * data.d <= MOST_VALUES
        return bool(known and small and not terms.coupled and self.settings.step == "gradient")

    def minimum(self, coef: Any, intercept: Any, which: Any, within: Any) -> Float:
        """A lower bound of the minimum of some lanes' objectives: see :class:`SmallProblem`.

        Parameters
        ----------
        coef, intercept : ndarray of shape (K, d) and (K,)
            Weights to start from: the nearer to the minimum, the fewer steps it takes.
        which : ndarray of shape (K,), bool
            Lanes to find it of.
        within : ndarray of shape (K,)
            How far below the minimum it may be.

        Returns
        -------
        ndarray of shape (K,)
            NaN in other lanes, and where it was not found.
        """
        found = np.full(self.lanes.k, np.nan)
        if not self.has_minimum:
            return found
        if self.features is None:
            X = self.data.rows(slice(None))
            X = X.toarray() if self.data.sparse else X
            ones = [np.ones((len(X), 1))] if self.settings.fit_intercept else []
            self.features = np.hstack([np.asarray(X, dtype=np.float64), *ones])
        for k in np.flatnonzero(which).tolist():
            w = np.append(np.asarray(coef[k], dtype=np.float64), float(intercept[k]))
            with np.errstate(all="ignore"):
                problem = self._small_problem(k, w[-1])
                found[k] = problem.bound(w[: len(problem.alpha)], float(within[k]))
        return found

    def _small_problem(self, k: int, intercept: float) -> SmallProblem:
        X: Any = self.features
        y, s = self._of_lane(k)
        alpha, l1, intercept_gradient = np.zeros((3, X.shape[1]))
        alpha[: self.data.d], l1[: self.data.d] = self.lanes.alpha[k], self.lanes.l1[k]
        if self.settings.fit_intercept:
            intercept_gradient[-1], intercept = self.lanes.intercept_gradient[k], 0.0
        terms, e = self.settings.terms, self.settings.loss_parameter
        return SmallProblem(
            X, y, s / self.count[k], terms, e, intercept, alpha, l1, intercept_gradient
        )

    def _of_lane(self, k: int) -> tuple[Float, Float]:
        """Targets and weights (n,) of one lane, however many others there are."""
        names = (*LANE_NUMBERS, "target", "split")
        lane = Lanes(1, **{name: getattr(self.lanes, name)[[k]] for name in names})
        rows = np.arange(self.data.n)
        y = targets_of(self.data, lane, self.settings, rows)
        return y[:, 0], weights_of(self.data, lane, self.settings, y, rows)[:, 0]


def _infimum(y: Float) -> Float:
    """Least loss of counts: y - y log y."""
    return y - y * np.log(np.where(y > 0.0, y, 1.0))
