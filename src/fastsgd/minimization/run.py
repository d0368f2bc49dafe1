"""A run: epochs of steps, and what is seen at their ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from .._core import order
from ..descent import VectorDescent
from ..exceptions import DivergenceError
from . import vector_steps
from .compiled_gradient import CompiledGradient
from .state import (
    BEST,
    COUNTS,
    EPOCH,
    LOSS,
    NORM,
    NORMS,
    ROW,
    WITHOUT_GAIN,
    Progress,
    State,
    T,
)
from .structures import numbers
from .vector_steps import VectorSteps, make, norm

__all__ = ["Run"]

Array = NDArray[Any]

GATHERED = 16384
"""Parameters in several arrays up to which their gradients are copied into one: what a step of
small arrays takes is the number of its calls."""

MESSAGES = {
    0: "The loss did not fall by more than tol in n_iter_no_change epochs.",
    1: "max_iter epochs are done, before the loss stopped falling by tol.",
    2: "max_iter epochs are done, as asked for by tol=None.",
    3: "The loss no longer fell, and is above that of the first epoch: eta0 may be too high.",
    98: "Ctrl-C ended the run.",
    99: "The callback ended the run.",
}
"""What ``status`` of a result means."""


class Run:
    """A run: epochs of steps, and what is seen at their ends."""

    def __init__(
        self,
        gradient: Any,
        descent: VectorDescent,
        state: State,
        alpha: Any,
        tol: float | None,
        patience: int,
    ) -> None:
        self.gradient, self.descent, self.state, self.alpha = gradient, descent, state, alpha
        self.tol, self.patience = tol, patience
        structure = state.structure
        self.size = min(descent.batch_size, state.n)
        self.theta = structure.views(state.theta, writeable=False)
        self.spans: Sequence[slice] = structure.spans
        self.gathered: Any = None
        if isinstance(gradient, CompiledGradient):
            self.evaluate = self._compiled()
        elif structure.is_array:
            self.evaluate = self._array
        else:
            self.evaluate = self._several
            if structure.size <= GATHERED:
                self.gathered = np.empty(structure.size, structure.dtype)
        if self.gathered is not None or structure.is_array:
            self.spans = (slice(0, structure.size),)
        self.steps = VectorSteps(
            descent.optimizer, state.theta, state.slots, state.average, alpha, self.spans
        )
        self.finite = state.theta.copy()  # the last parameters that were
        self.rate = _rate_of(descent)
        self.last_rate = math.nan
        self.seconds = 0.0
        self.rows = 0

    def epoch(self) -> None:
        """Steps until the running epoch has no rows left."""
        state, descent, steps, evaluate = self.state, self.descent, self.steps, self.evaluate
        n, size, counts, clip = state.n, self.size, state.counts, descent.clip_norm
        correction = getattr(descent.optimizer, "correction", None)
        row, t, epoch, batches = state.row, state.t, state.epoch, -(-n // size)
        measured = max(16, 64 // size)
        average_from = state.average_from or 2**62
        added = np.zeros(COUNTS)
        count = partial(np.add, counts, added, counts)
        if row == n:  # Ctrl-C came between the last step and the end of the epoch
            self.last_rate = self.rate(t, epoch + (batches - 1) / batches)
            return
        start, first = time.perf_counter(), row
        how: Any = descent
        rows = order(how, n, epoch)
        rows.flags.writeable = False
        self.order = rows
        while row < n:
            batch = rows[row : row + size]
            loss, g = evaluate(batch)
            if not math.isfinite(loss):
                raise self._diverged()
            m, t, factor = len(batch), t + 1, 1.0
            at = row // size
            added[T], added[ROW], added[LOSS] = 1.0, m, m * loss
            added[NORM] = added[NORMS] = 0.0
            if clip < math.inf or at % measured == 0:
                length = norm(g)
                if not length < math.inf:
                    raise self._diverged()
                if at % measured == 0:
                    added[NORM], added[NORMS] = length * length, 1.0
                if length > clip:
                    factor = clip / length
            eta = self.last_rate = self.rate(t, epoch + at / batches)
            if correction is not None:
                eta *= correction(t)
            averaged = t - average_from + 1 if t >= average_from else 0
            calls = steps.calls(g, eta, factor, averaged)
            calls.append(count)
            with np.errstate(all="ignore"):
                make(calls)
            row += m
        self.seconds, self.rows = time.perf_counter() - start, row - first

    def end_epoch(self) -> bool:
        """Take note of the epoch; whether the run is over by its tolerance."""
        state, counts = self.state, self.state.counts
        theta = state.theta
        length = norm((theta,))
        if not length < math.inf:
            raise self._diverged()
        if isinstance(self.alpha, np.ndarray):
            penalty = 0.5 * float(np.sum(self.alpha * theta * theta, dtype=np.float64))
        else:
            penalty = 0.5 * self.alpha * length * length
        loss = float(counts[LOSS]) / state.n + penalty
        if not math.isfinite(loss):
            raise self._diverged()
        new, best = counts.copy(), float(counts[BEST])
        new[EPOCH] += 1.0
        new[ROW] = new[LOSS] = new[NORM] = new[NORMS] = 0.0
        stops = False
        if self.tol is not None:
            new[WITHOUT_GAIN] = 0.0 if loss <= best - self.tol else counts[WITHOUT_GAIN] + 1.0
            stops = bool(new[WITHOUT_GAIN] >= self.patience)
        new[BEST] = min(best, loss)
        if stops:  # whoever goes on means to: the watch begins anew
            new[BEST], new[WITHOUT_GAIN] = math.inf, 0.0
        np.copyto(self.finite, theta)
        gradient_norm = math.sqrt(counts[NORM] / counts[NORMS])
        speed = self.rows / max(self.seconds, 1e-9)
        values = (
            *(int(new[EPOCH]), loss, self.last_rate, gradient_norm, length),
            *(self.seconds, speed),
        )
        columns = state.history.values()
        calls = [
            partial(column.append, value) for column, value in zip(columns, values, strict=True)
        ]
        make([*calls, partial(np.positive, new, counts)])
        return stops

    def tell(self, listeners: list[Callable[[Progress], Any]]) -> bool:
        """Tell of the epoch; whether a listener ends the run."""
        if not listeners:
            return False
        history = self.state.history
        progress = Progress(self.theta, history["loss"][-1], self.state.epoch, history, self.state)
        stops = False
        for listener in listeners:
            try:
                stops |= bool(listener(progress))
            except StopIteration:
                stops = True
        return stops

    def result(self, status: int) -> OptimizeResult:
        """What is returned."""
        state = self.state
        losses = state.history["loss"]
        result = OptimizeResult()
        result.update(
            x=state.model(),
            fun=losses[-1] if losses else math.nan,
            nit=state.epoch,
            nfev=state.t,
            success=status in (0, 2),
            status=status,
            message=MESSAGES[status],
            history={name: list(column) for name, column in state.history.items()},
            state=state,
        )
        return result

    def _diverged(self) -> DivergenceError:
        """The error of a run that is no longer finite."""
        state = self.state
        theta = state.theta if np.isfinite(state.theta).all() else self.finite
        return DivergenceError(
            state.t,
            self.last_rate if math.isfinite(self.last_rate) else self.descent.eta0,
            math.nan,
            epoch=state.epoch + 1,
            theta=state.structure.views(theta.copy()),
        )

    def _answer(self, rows: NDArray[np.int64]) -> tuple[float, Any]:
        """What the user's function returns, as two things, the first of them a number."""
        answer = self.gradient(self.theta, rows)
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            got = type(answer).__name__
            if isinstance(answer, (tuple, list)):
                got += f" of {len(answer)}"
            raise ValueError(f"gradient must return a loss and its gradient, got a {got}")
        loss, g = answer
        if type(loss) is not float:
            if isinstance(loss, (str, bytes)) or np.shape(loss) != ():
                raise ValueError(f"gradient must return a loss that is one number, got {loss!r}")
            try:
                loss = float(loss)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(
                    f"gradient must return a loss that is one number, got {loss!r}"
                ) from error
        return loss, g

    def _array(self, rows: NDArray[np.int64]) -> tuple[float, Sequence[Array]]:
        """Loss and gradient, of parameters in one array."""
        loss, g = self._answer(rows)
        theta = self.theta
        if type(g) is not np.ndarray or g.dtype != theta.dtype or g.shape != theta.shape:
            g = self._converted(g, theta.shape)
        if g.ndim != 1:
            g = g.reshape(-1)
        if g.size > vector_steps.CHUNK and np.may_share_memory(g, self.state.theta):
            g = g.copy()  # a part of it must not change before it is read
        return loss, (g,)

    def _several(self, rows: NDArray[np.int64]) -> tuple[float, Sequence[Array]]:
        """Loss and gradient, of parameters in several arrays."""
        loss, tree = self._answer(rows)
        structure = self.state.structure
        leaves = structure.leaves("the gradient that gradient returns", tree)
        g = []
        for leaf, shape in zip(leaves, structure.shapes, strict=True):
            if type(leaf) is not np.ndarray or leaf.dtype != structure.dtype or leaf.shape != shape:
                leaf = self._converted(leaf, shape)
            g.append(leaf.reshape(-1))
        if self.gathered is not None:
            np.concatenate(g, out=self.gathered)
            return loss, (self.gathered,)
        theta = self.state.theta
        return loss, [part.copy() if np.may_share_memory(part, theta) else part for part in g]

    def _converted(self, g: Any, shape: tuple[int, ...]) -> Array:
        """A gradient of another type, whose shape must be right."""
        array = numbers("the gradient that gradient returns", g)
        if array.shape != shape:
            raise ValueError(
                f"gradient must return a gradient of shape {shape}, as theta0 has, got "
                f"{array.shape}"
            )
        with np.errstate(over="ignore"):
            return array.astype(self.state.theta.dtype, copy=False)

    def _compiled(self) -> Callable[[NDArray[np.int64]], tuple[float, Sequence[Array]]]:
        """Loss and gradient of a compiled function, in room of its own."""
        theta, function = self.state.theta, self.gradient
        wide = theta.dtype == np.float64
        at = theta if wide else np.empty(theta.shape)
        out = np.full(theta.shape, math.nan)
        g = out if wide else np.empty_like(theta)
        address = at.ctypes.data
        self.spans = (slice(0, theta.size),)
        self.gathered = out

        def evaluate(rows: NDArray[np.int64]) -> tuple[float, Sequence[Array]]:
            if not wide:
                np.copyto(at, theta)
            loss, written = function._evaluate(address, rows.ctypes.data, len(rows), out)
            if not written:
                loss = math.nan
            if not wide:
                with np.errstate(over="ignore"):
                    np.copyto(g, out, casting="same_kind")
            return loss, (g,)

        return evaluate


def _rate_of(descent: VectorDescent) -> Callable[[int, float], float]:
    """The learning rate of update t after e epochs."""
    schedule, eta0 = descent.schedule, descent.eta0
    warmup = schedule.warmup_steps
    if schedule.kind == "constant":
        return lambda t, e: eta0 * min(1.0, t / warmup) if warmup else eta0
    constants = np.array([eta0]), np.array([descent.mu])
    return lambda t, e: float(schedule.rate(*constants, np.array([t]), e)[0])
