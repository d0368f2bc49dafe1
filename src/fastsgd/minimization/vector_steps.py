"""Steps of one vector of parameters, in place: the formulas of :mod:`fastsgd.optimizers`.

A step is a list of calls of NumPy's functions on chunks that stay in the cache, and :func:`make`
makes them all within one call of C code. Python handles signals between instructions of its own, of
which there is none in between: Ctrl-C finds a step done or not begun. Every element sees the
operations of ``Optimizer.step`` in their order, so that the bits are the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import call
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optimizers import SGD, Adam, Optimizer

__all__ = ["VectorSteps", "make", "norm"]

Array = NDArray[Any]
Call = Callable[[], Any]

CHUNK = 65536
"""Parameters of a chunk: several calls of NumPy find it in the cache, each long beside its call."""

_multiply, _add, _subtract = np.multiply, np.add, np.subtract


def make(calls: Iterable[Call]) -> None:
    """Make calls of C functions, which Ctrl-C does not part.

    NumPy's ufuncs are; ``np.copyto`` and others ask a function in Python for their arguments.
    """
    deque(map(call, calls), maxlen=0)


def norm(g: Sequence[Array]) -> float:
    """The length of a vector in parts, also where its square is out of range."""
    with np.errstate(all="ignore"):
        parts = [math.sqrt(part.dot(part)) for part in g]
    length = parts[0] if len(parts) == 1 else math.hypot(*parts)
    if 0.0 < length < math.inf:
        return length
    largest = max(float(np.abs(part).max()) for part in g if part.size)
    if not 0.0 < largest < math.inf:
        return largest
    return largest * math.hypot(*(float(np.linalg.norm(part / largest)) for part in g))


@dataclass(slots=True)
class _Chunk:
    """Views of a part of the parameters, and of the part of their gradient's array."""

    leaf: int
    part: slice | None  # None: all of it
    theta: Array
    slots: tuple[Array, ...]
    average: Array | None
    alpha: Any
    s: Array  # scratch
    r: Array


class VectorSteps:
    """What makes steps of a vector.

    Parameters
    ----------
    optimizer : Optimizer
        How a step moves a parameter.
    theta : ndarray of shape (P,)
        The parameters, which steps change.
    slots : dict of str to ndarray of shape (P,)
        What the optimizer keeps of each, the same.
    average : ndarray of shape (P,) or None
        Averages of the parameters, the same.
    alpha : float or ndarray of shape (P,)
        Strength of the L2 penalty on each parameter.
    spans : sequence of slice
        Which parts of the vector have a gradient in an array of their own.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        theta: Array,
        slots: dict[str, Array],
        average: Array | None,
        alpha: Any,
        spans: Sequence[slice],
    ) -> None:
        self.optimizer = optimizer
        self._whole = theta, slots, average, alpha
        self._rule = {SGD: _momentum if slots else _plain, Adam: _adam}.get(type(optimizer))
        longest = max(span.stop - span.start for span in spans)
        scratch = np.empty((2, min(CHUNK, longest)), dtype=theta.dtype)
        self._chunks = []
        for leaf, span in enumerate(spans):
            for start in range(span.start, span.stop, CHUNK):
                stop = min(start + CHUNK, span.stop)
                at = slice(start, stop)
                whole = at == span
                self._chunks.append(
                    _Chunk(
                        leaf,
                        None if whole else slice(start - span.start, stop - span.start),
                        theta[at],
                        tuple(slot[at] for slot in slots.values()),
                        None if average is None else average[at],
                        alpha[at] if isinstance(alpha, np.ndarray) else alpha,
                        *scratch[:, : stop - start],
                    )
                )

    def calls(
        self, g: Sequence[Array], eta: float, factor: float = 1.0, averaged: int = 0
    ) -> list[Call]:
        """The calls of a step.

        Parameters
        ----------
        g : sequence of ndarray
            Gradients, one for each span; they are left as they are.
        eta : float
            Learning rate.
        factor : float, default=1.0
            What the gradients are multiplied by first.
        averaged : int, default=0
            How many updates the average is of, with this one; 0 for no average.

        Returns
        -------
        list of callable
            What :func:`make` takes.
        """
        calls: list[Call] = []
        if self._rule is None:
            calls += self._by_formula(g, eta, factor)
        for chunk in self._chunks:
            if self._rule is not None:
                part = g[chunk.leaf] if chunk.part is None else g[chunk.leaf][chunk.part]
                if factor != 1.0:
                    calls.append(partial(_multiply, part, factor, chunk.s))
                    part = chunk.s
                self._rule(calls, self.optimizer, chunk, part, eta)
            if averaged:
                s = chunk.s
                calls += (
                    partial(_subtract, chunk.theta, chunk.average, s),
                    partial(np.divide, s, averaged, s),
                    partial(_add, chunk.average, s, chunk.average),
                )
        return calls

    def _by_formula(self, g: Sequence[Array], eta: float, factor: float) -> list[Call]:
        """By the optimizer's own ``step``, whose results are copied into place."""
        theta, slots, _, alpha = self._whole
        whole = g[0] if len(g) == 1 else np.concatenate(g)
        whole = whole * factor if factor != 1.0 else whole
        step = self.optimizer.step
        with np.errstate(all="ignore"):
            new, kept = step(theta, dict(slots), whole, np.array([eta]), alpha, 0.0)
        parts = [(theta, new), *((slots[name], value) for name, value in kept.items())]
        return [partial(np.positive, value, old) for old, value in parts]


def _plain(calls: list[Call], _: Any, c: _Chunk, g: Array, eta: float) -> None:
    """w max(0, 1 - eta alpha) - eta g."""
    theta, alpha, s, r = c.theta, c.alpha, c.s, c.r
    calls.append(partial(_multiply, g, eta, s))  # before theta changes, which may be g
    if isinstance(alpha, np.ndarray):
        calls += (
            partial(_multiply, alpha, eta, r),
            partial(_subtract, 1.0, r, r),
            partial(np.maximum, r, 0.0, out=r),
            partial(_multiply, theta, r, theta),
        )
    elif alpha:
        calls.append(partial(_multiply, theta, max(0.0, 1.0 - eta * alpha), theta))
    calls.append(partial(_subtract, theta, s, theta))


def _with_penalty(calls: list[Call], c: _Chunk, g: Array) -> Array:
    """g + alpha w."""
    if not isinstance(c.alpha, np.ndarray) and not c.alpha:
        return g
    calls += (partial(_multiply, c.theta, c.alpha, c.r), partial(_add, g, c.r, c.s))
    return c.s


def _momentum(calls: list[Call], optimizer: Any, c: _Chunk, g: Array, eta: float) -> None:
    """v = beta v + g, then w - eta v, or w - eta (g + beta v)."""
    (v,), beta, r = c.slots, optimizer.momentum, c.r
    g = _with_penalty(calls, c, g)
    calls += (partial(_multiply, v, beta, v), partial(_add, v, g, v))
    if optimizer.nesterov:
        calls += (
            partial(_multiply, v, beta, r),
            partial(_add, g, r, r),
            partial(_multiply, r, eta, r),
        )
    else:
        calls.append(partial(_multiply, v, eta, r))
    calls.append(partial(_subtract, c.theta, r, c.theta))


def _adam(calls: list[Call], optimizer: Any, c: _Chunk, g: Array, eta: float) -> None:
    """Running means, then w - eta mean / (sqrt(square) + epsilon)."""
    (mean, square), s, r = c.slots, c.s, c.r
    g = _with_penalty(calls, c, g)
    calls += (
        partial(_multiply, mean, optimizer.beta_1, mean),
        partial(_multiply, g, 1.0 - optimizer.beta_1, r),
        partial(_add, mean, r, mean),
        partial(_multiply, square, optimizer.beta_2, square),
        partial(_multiply, g, g, r),
        partial(_multiply, r, 1.0 - optimizer.beta_2, r),
        partial(_add, square, r, square),
        partial(np.sqrt, square, r),
        partial(_add, r, optimizer.epsilon, r),
        partial(_multiply, mean, eta, s),
        partial(np.divide, s, r, s),
        partial(_subtract, c.theta, s, c.theta),
    )
