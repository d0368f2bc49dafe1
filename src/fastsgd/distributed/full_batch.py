"""A full-batch method from where the rounds of SGD have ended: L-BFGS on the client.

SGD is fast far from the minimum, and L-BFGS near it (Agarwal, Chapelle, Dudik & Langford, "A
reliable effective terascale learning system", JMLR 15, 2014). Shards sum losses and gradients over
all of their rows at common weights,

    P(w, b) = (1/n) sum_i s_i f(x_i . w + b, y_i) + alpha/2 |w|^2

and SciPy chooses the weights of the next round. Lanes are minimised together: P is then the sum of
theirs. Sums are those of rounds, in the same fixed order, so that the model does not depend on who
computed them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from ..problem import Lanes, Settings
from .rounds import Common, Part, Plan

__all__ = ["FINISHES", "check_smooth", "finish_fit"]

FINISHES = ("lbfgs",)
"""Full-batch methods that may follow the rounds of SGD."""

TOLERANCES = {"float32": (1e-8, 1e-7), "float64": (1e-15, 1e-10)}
"""Relative gain, and largest slope, below which the minimum is found: what sums of losses in this
dtype of computation can tell."""

SEARCHES = 10
"""Rounds of an iteration at most: where none gains, it is by rounding."""

Float = NDArray[np.float64]


def check_smooth(lanes: Lanes, settings: Settings) -> None:
    """Refuse objectives that L-BFGS cannot minimise.

    Raises
    ------
    ValueError
        If the loss or the penalty has kinks.
    """
    terms = settings.terms
    if not (np.isfinite(terms.smoothness) or terms.targets == {"count"}):
        raise ValueError(
            f"finish='lbfgs' needs a smooth loss, and {terms.name!r} has kinks: take "
            "'log_loss', 'squared_hinge', 'modified_huber', 'squared_error', 'huber', "
            "'squared_epsilon_insensitive' or 'poisson', or finish=None"
        )
    if lanes.l1.any():
        raise ValueError(
            "finish='lbfgs' needs a smooth penalty: take penalty='l2' or None, or finish=None"
        )


class _Objective:
    """The objective of all lanes, and its gradient, of weights and intercepts in one vector."""

    def __init__(
        self, plan: Plan, train: Callable[[Plan, Common], Part], start: tuple[Any, Any]
    ) -> None:
        self.plan, self.train, (self.coef, self.intercept) = plan, train, start
        self.rounds, nothing = 0, np.zeros(plan.lanes.k)
        self.common = Common(
            self.coef[None], self.intercept[None], nothing.astype(np.int64), nothing, nothing, 0, 0
        )

    def packed(self) -> Float:
        """The weights to start from."""
        learnt = [self.intercept] if self.plan.settings.fit_intercept else []
        return np.concatenate([self.coef.ravel(), *learnt]).astype(np.float64)

    def model(self, packed: Float) -> tuple[Any, Any]:
        """Weights (K, d) and intercepts (K,), in the dtype of computation."""
        coef = packed[: self.coef.size].reshape(self.coef.shape).astype(self.coef.dtype)
        if not self.plan.settings.fit_intercept:
            return coef, self.intercept
        return coef, packed[self.coef.size :].astype(self.intercept.dtype)

    def __call__(self, packed: Float) -> tuple[float, Float]:
        """Its value and gradient: one round."""
        lanes, (coef, intercept) = self.plan.lanes, self.model(packed)
        common = replace(self.common, vectors=coef[None], intercepts=intercept[None])
        part = self.train(self.plan, common)
        self.rounds += 1
        count = np.maximum(1.0, part.sums[1])
        losses, coef = part.sums[0] / count, coef.astype(np.float64)
        own = 0.5 * lanes.alpha * np.square(coef).sum(axis=1)
        own += lanes.intercept_gradient * intercept
        value = float(losses[0] if self.plan.settings.terms.coupled else losses.sum()) + own.sum()
        gradient = part.vectors[0] / count[:, None] + lanes.alpha[:, None] * coef
        slopes = part.intercepts[0] / count + lanes.intercept_gradient
        learnt = [slopes] if self.plan.settings.fit_intercept else []
        return float(value), np.concatenate([gradient.ravel(), *learnt])


def finish_fit(model: Any, stream: Any, max_iter: int) -> None:
    """Minimise the objective of a fit from the weights that it ended with, and publish the model.

    Parameters
    ----------
    model : estimator
        Of one machine, fitted on the stream. Its weights and its state change, and it has
        ``finish_`` from then on.
    stream : ShardStream
    max_iter : int
        Iterations of L-BFGS at most.

    Raises
    ------
    KeyboardInterrupt
        The model is then that of the last iteration.
    """
    state, scaling = model._continuation.state, model._continuation.scaling
    start = model._continuation.weights()
    plan = replace(stream.plan, gradient=True, rounds=1, by_feature=False)
    objective = _Objective(plan, stream.engine.train, start)
    reached: list[tuple[float, Float]] = []

    def keep(intermediate_result: OptimizeResult) -> None:
        reached.append((float(intermediate_result.fun), intermediate_result.x.copy()))

    def publish(message: str) -> None:
        weights = objective.model(reached[-1][1]) if reached else start
        state.set_weights(*weights)
        vars(model).update(model._attributes(*scaling.to_users(*weights)))
        model.finish_ = {
            "loss": [value for value, _ in reached],
            "rounds": objective.rounds,
            "message": message,
        }

    function: Any = objective
    gain, slope = TOLERANCES[start[0].dtype.name]
    options: Any = {"maxiter": max_iter, "maxls": SEARCHES, "ftol": gain, "gtol": slope}
    try:
        found = minimize(
            function,
            objective.packed(),
            jac=True,
            method="L-BFGS-B",
            callback=keep,
            options=options,
        )
    except KeyboardInterrupt:
        publish("KeyboardInterrupt")
        raise
    publish(str(found.message))
