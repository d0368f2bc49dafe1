"""The objective as a function of two weights, and runs of the solver recorded on it.

Losses and gradients of many weights are worked out at once, in float64, whatever the dtype that
the solver trains in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ... import _core
from ...solver import State, run_epoch
from ...targets import targets_of, weights_of
from ..problem import EstimatorProblem
from .records import RecordedRun
from .stepping import last_point, step_by_step

__all__ = ["FIXED_WEIGHT", "NUMBERS_AT_ONCE", "Plane"]

Float = NDArray[np.float64]

NUMBERS_AT_ONCE = 1 << 22
"""Slopes that are worked out at once."""

FIXED_WEIGHT = 2.0**60
"""Weight of a third feature, which is the part of the score that does not move, divided by this.

A power of two, so that the division and the product are exact. The weight never changes: a step is
far less than half of its last digit.
"""


class Plane:
    """The objective of two coordinates, and runs of the solver on it.

    Parameters
    ----------
    problem : EstimatorProblem
        Of one lane. Its columns are those coordinates that are weights of features, and perhaps a
        third one, which holds the part of the score that does not move.
    intercept : int or None
        Which of the two coordinates is the intercept; None if both are weights of features.
    """

    def __init__(self, problem: EstimatorProblem, intercept: int | None) -> None:
        self.lanes, self.settings, self.intercept = problem.lanes, problem.settings, intercept
        self.problem = problem.data, problem.lanes, problem.settings
        columns = np.asarray(problem.data.rows(slice(None)))  # (n, 1), (n, 2) or (n, 3)
        moving = 2 if intercept is None else 1
        self.has_fixed_part = columns.shape[1] > moving
        self.fixed_scores = FIXED_WEIGHT * columns[:, moving:].sum(axis=1, keepdims=True)  # (n, 1)
        self.features = columns[:, :moving]  # (n, 2), with a column of ones for an intercept
        if intercept is not None:
            self.features = np.insert(self.features, intercept, 1.0, axis=1)
        all_rows = np.arange(len(columns))
        self.y = targets_of(*self.problem, all_rows)  # (n, 1)
        self.s = weights_of(*self.problem, self.y, all_rows)  # (n, 1)
        self.count = max(1, int((self.s > 0).sum()))
        self.penalised = np.array([float(j != intercept) for j in range(2)])

    def state_at(self, start: Float) -> State:
        """The solver's state at the coordinates ``start`` (2,)."""
        coef = [w for j, w in enumerate(start) if j != self.intercept]
        coef += [FIXED_WEIGHT] * self.has_fixed_part
        b = 0.0 if self.intercept is None else start[self.intercept]
        state = State(*self.problem)
        state.set_weights([coef], [b])
        return state

    def coordinates(self, state: State) -> tuple[NDArray[np.floating], Any]:
        """The two coordinates (2,) of a state, and its fixed weight, or None without one."""
        coef, b = state.last_weights()
        moving = coef[0, : 2 if self.intercept is None else 1]
        if self.intercept is not None:
            moving = np.insert(moving, self.intercept, b[0])
        return moving.copy(), coef[0, -1] if self.has_fixed_part else None

    def curvature(self) -> float:
        """Largest curvature of the objective, by the bound of the loss's second derivative."""
        smooth = self.settings.terms.smoothness
        smooth = smooth if 0.0 < smooth < np.inf else 1.0
        F = np.sqrt(self.s) * self.features
        return float(smooth * np.linalg.eigvalsh(F.T @ F / len(F))[-1] + self.lanes.alpha[0])

    def penalty(self, W: Float) -> Float:
        """Penalty (p,) at coordinates W (p, 2)."""
        W = W * self.penalised
        squares, magnitudes = np.square(W).sum(axis=1), np.abs(W).sum(axis=1)
        return 0.5 * self.lanes.alpha * squares + self.lanes.l1 * magnitudes

    def objective(self, W: Float) -> Float:
        """Mean loss of all rows plus penalty, (...), at coordinates W (..., 2)."""
        parts = [self._objective(part) for part in self._parts(W.reshape(-1, 2))]
        return np.concatenate(parts).reshape(W.shape[:-1])

    def _objective(self, W: Float) -> Float:
        """The same, (p,), at as many coordinates (p, 2) as are worked on at once."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._losses(W) @ self.s[:, 0] / self.count + self.penalty(W)

    def _parts(self, W: Float) -> list[Float]:
        """Coordinates (p, 2) in pieces with at most ``NUMBERS_AT_ONCE`` scores of all rows."""
        size = max(1, NUMBERS_AT_ONCE // len(self.features))
        return [W[first : first + size] for first in range(0, len(W), size)]

    def _losses(self, W: Float, *, slope: bool = False) -> Float:
        """Losses (p, n) of all rows, or their slopes, at coordinates (p, 2)."""
        settings = self.settings
        with np.errstate(over="ignore", invalid="ignore"):
            z = W @ self.features.T + self.fixed_scores.T
            y = np.broadcast_to(self.y.T, z.shape)
            parameter = settings.loss_parameter
            return _core.loss_at(settings.loss, z, y, parameter=parameter, slope=slope)

    def record(
        self, parameters: dict[str, Any], start: Float, steps: int, others: int
    ) -> RecordedRun:
        """Run the solver step by step, then work out losses and gradients at its weights.

        Parameters
        ----------
        parameters : dict
            Of the estimator, to be recorded.
        start : ndarray of shape (2,)
            Coordinates at the start.
        steps : int
            Updates of the run.
        others : int
            Count of other batches whose gradients are recorded.
        """
        state, (data, lanes, settings) = self.state_at(start), self.problem
        m = min(settings.batch_size, data.n)

        def point(_: Any) -> Any:
            finite = not state.t.any() or np.isfinite(state.last_weights()[0]).all()
            return self.coordinates(state) if finite else None

        made = step_by_step(
            settings,
            (lanes.eta0, lanes.mu),
            data.n,
            state,
            steps=steps,
            advance=lambda _: run_epoch(*self.problem, state, batches=1),
            point=point,
        )
        weights = np.array([point for point, _ in made.points])
        fixed = np.array([weight for _, weight in made.points]) if self.has_fixed_part else None
        loss = self.objective(weights.astype(np.float64))
        end = last_point(loss)
        diverged = made.diverged or end < len(loss)
        weights, rows, loss = weights[:end], made.batch_rows[:end], loss[:end]
        batch, full, other = self._gradients(weights.astype(np.float64), rows, m, others)
        return RecordedRun(
            parameters=parameters,
            batch_size=m,
            rate=float(lanes.eta0[0]),
            momentum=settings.momentum,
            schedule=parameters["learning_rate"],
            weights=weights,
            fixed_weight=None if fixed is None else fixed[:end],
            examples=np.array(made.examples[:end]),
            batch_rows=tuple(rows),
            learning_rate=np.array(made.learning_rate[:end]),
            loss=loss,
            batch_gradient=batch,
            full_gradient=full,
            other_gradients=other,
            diverged=diverged,
        )

    def _gradients(
        self, W: Float, rows: Sequence[NDArray[np.int64]], m: int, others: int
    ) -> tuple[Float, Float, Float]:
        """Gradients at coordinates (p, 2): of the batch that follows, of all rows, of others.

        Of shapes (p, 2), (p, 2) and (p, others, 2). ``rows`` are the rows of the p batches.
        """
        n, F = len(self.features), self.features
        generator = np.random.default_rng((self.settings.seed, m))
        batches = [generator.choice(n, m, replace=False) for _ in range(others if m < n else 0)]
        used, places = np.unique(np.array(batches, dtype=np.int64), return_inverse=True)
        members = np.repeat(np.arange(len(batches)), m), places.ravel()
        sums = sp.csr_array((np.ones(len(members[0])), members), shape=(len(batches), len(used)))
        counts = np.maximum(1.0, sums @ (self.s[used] > 0))  # rows of positive weight, (c, 1)
        batch, full, other, first = [], [], [], 0
        for part in self._parts(W):
            c = self._losses(part, slope=True) * self.s[:, 0]  # (p, n)
            full.append(c @ F / self.count)
            slopes = c[:, used].T
            gradients = [sums @ (slopes * F[used][:, [j]]) / counts for j in range(2)]  # (c, p)
            other.append(np.stack(gradients, axis=-1).swapaxes(0, 1))
            for row, numbers in zip(c, rows[first : first + len(part)], strict=True):
                count = max(1, (self.s[numbers] > 0).sum())
                batch.append(row[numbers] @ F[numbers] / count)
            first += len(part)
        penalty = self.lanes.alpha * self.penalised * W
        of_others = np.concatenate(other) + penalty[:, None]
        return np.array(batch) + penalty, np.concatenate(full) + penalty, of_others
