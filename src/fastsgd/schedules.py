"""Learning-rate schedules, in NumPy; ``csrc/schedule.h`` holds the same formulas.

    t   number of the lane's update, from 1
    e   epochs done, with the fraction of the running one: epoch + batch / batches_per_epoch

    constant      eta0
    inverse       eta0 / (1 + eta0 mu (t - 1))^power_t
    invscaling    eta0 / t^power_t
    step          eta0 decay^floor(e / step_epochs)
    exponential   eta0 decay^e
    cosine        eta0 (1 + cos(pi min(1, e / total_epochs))) / 2   (Loshchilov & Hutter 2017)

Each is multiplied by min(1, t / warmup_steps), a linear warm-up, when warmup_steps > 0.

scikit-learn's "optimal" (Bottou, "Stochastic Gradient Descent Tricks", 2012), which falls as 1/t,
is "inverse" with power_t = 1, mu = alpha and the eta0 of :func:`optimal_eta0`; "auto" is "inverse"
with power_t = 1/2 and the constants of ``solver.auto_rate``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .losses import Loss

SCHEDULES: tuple[str, ...] = (
    "constant",
    "inverse",
    "invscaling",
    "step",
    "exponential",
    "cosine",
)
"""Schedule names, in the order of ``fsgd_schedule_kind`` in csrc/fastsgd.h."""


@dataclass(frozen=True)
class Schedule:
    """One schedule with its constants; the lanes' eta0 and mu multiply into it.

    Attributes
    ----------
    kind : str
        One of ``SCHEDULES``.
    power_t : float
        Exponent of "inverse" and "invscaling".
    decay : float
        Factor of "step" and "exponential", in (0, 1].
    step_epochs : float
        Epochs between the drops of "step", above 0.
    total_epochs : float
        Horizon of "cosine", above 0; the rate is zero beyond it.
    warmup_steps : int
        Updates of linear warm-up; 0 for none.
    """

    kind: str = "constant"
    power_t: float = 0.25
    decay: float = 0.1
    step_epochs: float = 10.0
    total_epochs: float = 100.0
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"schedule kind must be one of {SCHEDULES}, got {self.kind!r}")
        if not np.isfinite(self.power_t):
            raise ValueError(f"power_t must be finite, got {self.power_t!r}")
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"decay must be in (0, 1], got {self.decay!r}")
        for name in ("step_epochs", "total_epochs"):
            value = getattr(self, name)
            if not 0.0 < value < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        if not 0 <= self.warmup_steps < 2**62:
            raise ValueError(f"warmup_steps must be in [0, 2**62), got {self.warmup_steps!r}")

    def rate(
        self,
        eta0: NDArray[np.float64],
        mu: NDArray[np.float64],
        t: NDArray[np.int64],
        e: float,
    ) -> NDArray[np.float64]:
        """Learning rates of the lanes at their updates t; arrays of shape (K,)."""
        t = np.asarray(t, dtype=np.float64)
        if self.kind == "constant":
            rate = eta0
        elif self.kind == "inverse":
            rate = eta0 / (1.0 + eta0 * mu * (t - 1.0)) ** self.power_t
        elif self.kind == "invscaling":
            rate = eta0 * t**-self.power_t
        elif self.kind == "step":
            rate = eta0 * self.decay ** np.floor(e / self.step_epochs)
        elif self.kind == "exponential":
            rate = eta0 * self.decay**e
        else:
            rate = eta0 * 0.5 * (1.0 + np.cos(np.pi * min(1.0, e / self.total_epochs)))
        if self.warmup_steps > 0:
            rate = rate * np.minimum(1.0, t / self.warmup_steps)
        return np.broadcast_to(rate, t.shape)


def optimal_eta0(loss: Loss, alpha: float) -> float:
    """First rate of scikit-learn's "optimal": typical weight over the slope there.

    With w = alpha^(-1/4), eta0 = w / max(1, |slope(-w, 1)|), so that the first update has the size
    of the weights to be expected (Bottou's heuristic).
    """
    typical = alpha**-0.25
    slope = loss.slope(np.array([-typical]), np.array([1.0]))
    return typical / max(1.0, float(abs(slope[0])))
