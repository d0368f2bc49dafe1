"""Learning-rate schedules, in NumPy; ``csrc/schedule.h`` holds the same formulas.

    t   number of the lane's update, from 1
    e   epochs done, with the fraction of the running one: epoch + batch / batches_per_epoch

    constant      eta0
    inverse       eta0 / (1 + eta0 mu (t - 1))^power_t
    invscaling    eta0 / t^power_t
    step          eta0 decay^floor(e / step_epochs)
    exponential   eta0 decay^e
    cosine        eta0 (f + (1 - f) (1 + cos(pi x)) / 2)             (Loshchilov & Hutter 2017)
    polynomial    eta0 (f + (1 - f) (1 - x)^power)                   "linear" is power 1
    one_cycle     from eta0/25 up to eta0 at x = rise, then down to eta0/250,000, by half cosines
                  (Smith & Topin 2018; the constants are PyTorch's)
    harmonic      eta0 u^2 where mu = 0, else 1 / (1 / (eta0 u) + mu (t - 1)), u = 1 - x
    callable      function(t, e), the rate itself

with x = min(1, e / total_epochs) the part of the horizon that is done and f = ``final``. Each is
multiplied by min(1, t / warmup_steps), a linear warm-up, when warmup_steps > 0; of "harmonic" u is.

scikit-learn's "optimal" (Bottou, "Stochastic Gradient Descent Tricks", 2012), which falls as 1/t,
is "inverse" with power_t = 1, mu = alpha and the eta0 of :func:`optimal_eta0`; "auto" is "inverse"
with power_t = 1/2 and the constants of ``statistics.curvature.auto_rate``; "harmonic" where the end
of the run is known, with mu where the L2 penalty has most of the curvature; "constant" where an
epoch has few updates and a tolerance watches its loss.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scalars import python_number

__all__ = [
    "SCHEDULES",
    "Schedule",
    "constant",
    "cosine",
    "exponential",
    "inverse",
    "invscaling",
    "linear",
    "one_cycle",
    "optimal_eta0",
    "polynomial",
    "step",
]

SCHEDULES: tuple[str, ...] = (
    "constant",
    "inverse",
    "invscaling",
    "step",
    "exponential",
    "cosine",
    "polynomial",
    "one_cycle",
    "harmonic",
    "callable",
)
"""Schedule names, in the order of ``fsgd_schedule_kind`` in csrc/fastsgd.h."""


@dataclass(frozen=True)
class Schedule:
    """One schedule of the learning rate and its constants.

    eta0 and mu are not among them: each lane has its own.

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
    total_epochs : float or None
        Horizon of "cosine", "polynomial", "one_cycle" and "harmonic", above 0; the rate stays at
        its last value beyond it. None is ``max_iter`` of the first fit.
    warmup_steps : int
        Updates of linear warm-up; 0 for none.
    power : float
        Exponent of "polynomial", above 0.
    final : float
        Last rate of "cosine" and "polynomial" as a part of eta0, in [0, 1].
    rise : float
        Part of the horizon in which "one_cycle" rises, in (0, 1).
    function : callable or None
        ``function(step, epoch)`` of "callable": the rate at a lane's update number ``step`` (from
        1), ``epoch`` epochs (with fraction) into the run. Finite and >= 0.

    Raises
    ------
    ValueError
        If a constant is out of its range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.schedules import Schedule
    >>> halving = Schedule("step", decay=0.5, step_epochs=10)
    >>> halving.rate(np.array([0.1]), np.zeros(1), np.array([1]), 25.0).tolist()
    [0.025]
    """

    kind: str = "constant"
    power_t: float = 0.25
    decay: float = 0.1
    step_epochs: float = 10.0
    total_epochs: float | None = None
    warmup_steps: int = 0
    power: float = 2.0
    final: float = 0.0
    rise: float = 0.3
    function: Callable[[int, float], float] | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = python_number(getattr(self, one.name), whole=one.name == "warmup_steps")
            object.__setattr__(self, one.name, value)
        if self.kind not in SCHEDULES:
            raise ValueError(f"schedule kind must be one of {SCHEDULES}, got {self.kind!r}")
        if not np.isfinite(self.power_t):
            raise ValueError(f"power_t must be finite, got {self.power_t!r}")
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"decay must be in (0, 1], got {self.decay!r}")
        if self.decay < sys.float_info.min:  # kernels take it for 0
            least = f"{sys.float_info.min:.3g}"
            raise ValueError(f"decay must be in [{least}, 1], got {self.decay!r}")
        for name in ("step_epochs", "total_epochs", "power"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        if not 0 <= self.warmup_steps < 2**62:
            raise ValueError(f"warmup_steps must be in [0, 2**62), got {self.warmup_steps!r}")

        if not 0.0 <= self.final <= 1.0:
            raise ValueError(f"final must be in [0, 1], got {self.final!r}")
        if not 0.0 < self.rise < 1.0:
            raise ValueError(f"rise must be in (0, 1), got {self.rise!r}")
        if (self.kind == "callable") != callable(self.function):
            raise ValueError(
                "function must be callable if kind is 'callable', and None otherwise, got "
                f"{self.function!r} and kind {self.kind!r}"
            )

    @property
    def ends(self) -> bool:
        """Whether the rate falls towards 0 at a known end."""
        return self.kind in ("polynomial", "cosine", "one_cycle", "harmonic")

    @property
    def horizon(self) -> float:
        """Length in epochs: ``total_epochs``, or 100 while it is not set."""
        return 100.0 if self.total_epochs is None else self.total_epochs

    def at(self, t: int, e: float) -> float:
        """The user's rate at one update.

        Parameters
        ----------
        t : int
            Number of the update, from 1.
        e : float
            Epochs done, with their fraction.

        Returns
        -------
        float
            The learning rate.

        Raises
        ------
        ValueError
            If it is not a finite number >= 0.
        """
        assert self.function is not None
        rate = self.function(int(t), float(e))
        try:
            value = math.nan if isinstance(rate, str) else float(rate)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not 0.0 <= value < math.inf:
            raise ValueError(
                f"learning_rate({t}, {e:g}) must be a finite number >= 0, got {rate!r}"
            )
        return value

    def rate(
        self,
        eta0: NDArray[np.float64],
        mu: NDArray[np.float64],
        t: NDArray[np.int64],
        e: float,
    ) -> NDArray[np.float64]:
        """Learning rates of the lanes at their updates.

        Parameters
        ----------
        eta0 : ndarray of shape (K,)
            Base rates.
        mu : ndarray of shape (K,)
            Constants of "inverse" and "harmonic", a curvature.
        t : ndarray of shape (K,), int64
            Numbers of the updates, from 1.
        e : float
            Epochs done, with their fraction.

        Returns
        -------
        ndarray of shape (K,)
            The learning rates.
        """
        t = np.asarray(t, dtype=np.float64)
        if self.kind == "constant":
            rate = eta0
        elif self.kind == "inverse":
            rate = eta0 / (1.0 + eta0 * mu * (t - 1.0)) ** self.power_t
        elif self.kind == "invscaling":
            rate = eta0 * t**-self.power_t
        elif self.kind == "step":
            drops = np.floor(e / self.step_epochs * (1.0 + 2.0**-50))  # 0.3 / 0.1 is 3
            rate = eta0 * self.decay**drops
        elif self.kind == "exponential":
            rate = eta0 * self.decay**e
        elif self.kind == "callable":
            rate = np.array([self.at(int(step), e) for step in t.ravel()]).reshape(t.shape)
        elif self.kind == "harmonic":
            return np.broadcast_to(self._harmonic(eta0, mu, t, e), t.shape)
        else:
            rate = eta0 * self._annealed(min(1.0, e / self.horizon))
        if self.warmup_steps > 0:
            rate = rate * np.minimum(1.0, t / self.warmup_steps)
        return np.broadcast_to(rate, t.shape)

    def _harmonic(self, eta0: Any, mu: Any, t: Any, e: float) -> Any:
        """Of a lane without mu the square of u, else the harmonic sum of two rates."""
        u = 1.0 - min(1.0, e / self.horizon)
        if self.warmup_steps > 0:
            u = u * np.minimum(1.0, t / self.warmup_steps)
        rate = eta0 * u
        return np.where(mu > 0.0, rate / (1.0 + rate * mu * (t - 1.0)), eta0 * (u * u))

    def _annealed(self, x: float) -> float:
        """The factor of a schedule with a horizon, x of which is done."""
        if self.kind == "polynomial":
            return self.final + (1.0 - self.final) * (1.0 - x) ** self.power
        if self.kind == "cosine":
            return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * x))
        if x < self.rise:
            return 1.0 + (1.0 / 25.0 - 1.0) * 0.5 * (1.0 + math.cos(math.pi * x / self.rise))
        x = (x - self.rise) / (1.0 - self.rise)
        return 4e-6 + (1.0 - 4e-6) * 0.5 * (1.0 + math.cos(math.pi * x))


def constant(*, warmup_steps: int = 0) -> Schedule:
    """A constant rate: eta0.

    Parameters
    ----------
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.constant().kind
    'constant'
    """
    return Schedule("constant", warmup_steps=warmup_steps)


def inverse(power_t: float = 1.0, *, warmup_steps: int = 0) -> Schedule:
    """The rate eta0 / (1 + eta0 mu (t - 1))^power_t, with mu from the data, at least alpha.

    Parameters
    ----------
    power_t : float, default=1.0
        Exponent.
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.inverse(0.5).kind
    'inverse'
    """
    return Schedule("inverse", power_t, warmup_steps=warmup_steps)


def invscaling(power_t: float = 0.25, *, warmup_steps: int = 0) -> Schedule:
    """The rate eta0 / t^power_t.

    Parameters
    ----------
    power_t : float, default=0.25
        Exponent.
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.invscaling().kind
    'invscaling'
    """
    return Schedule("invscaling", power_t, warmup_steps=warmup_steps)


def step(step_epochs: float = 10.0, decay: float = 0.1, *, warmup_steps: int = 0) -> Schedule:
    """The rate eta0 decay^floor(e / step_epochs).

    Parameters
    ----------
    step_epochs : float, default=10.0
        Epochs between the drops, > 0.
    decay : float, default=0.1
        Factor, in (0, 1].
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.step(5.0).kind
    'step'
    """
    return Schedule("step", decay=decay, step_epochs=step_epochs, warmup_steps=warmup_steps)


def exponential(decay: float = 0.1, *, warmup_steps: int = 0) -> Schedule:
    """The rate eta0 decay^e.

    Parameters
    ----------
    decay : float, default=0.1
        Factor, in (0, 1].
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.exponential(0.9).kind
    'exponential'
    """
    return Schedule("exponential", decay=decay, warmup_steps=warmup_steps)


def linear(
    total_epochs: float | None = None, *, final: float = 0.0, warmup_steps: int = 0
) -> Schedule:
    """The rate eta0 (final + (1 - final) (1 - x)), with x = min(1, e / total_epochs).

    Parameters
    ----------
    total_epochs : float or None, default=None
        Length of the schedule in epochs; None is ``max_iter`` of the first fit.
    final : float, default=0.0
        Last rate as a part of eta0, in [0, 1].
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.linear(20).kind
    'polynomial'
    """
    return polynomial(1.0, total_epochs, final=final, warmup_steps=warmup_steps)


def polynomial(
    power: float = 2.0,
    total_epochs: float | None = None,
    *,
    final: float = 0.0,
    warmup_steps: int = 0,
) -> Schedule:
    """The rate eta0 (final + (1 - final) (1 - x)^power), with x = min(1, e / total_epochs).

    Parameters
    ----------
    power : float, default=2.0
        Exponent, > 0.
    total_epochs : float or None, default=None
        Length of the schedule in epochs; None is ``max_iter`` of the first fit.
    final : float, default=0.0
        Last rate as a part of eta0, in [0, 1].
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.polynomial(3.0, 20).kind
    'polynomial'
    """
    return Schedule(
        "polynomial",
        total_epochs=total_epochs,
        warmup_steps=warmup_steps,
        power=power,
        final=final,
    )


def cosine(
    total_epochs: float | None = None, *, final: float = 0.0, warmup_steps: int = 0
) -> Schedule:
    """The rate eta0 (final + (1 - final) (1 + cos(pi x)) / 2), with x = min(1, e / total_epochs).

    Parameters
    ----------
    total_epochs : float or None, default=None
        Length of the schedule in epochs; None is ``max_iter`` of the first fit.
    final : float, default=0.0
        Last rate as a part of eta0, in [0, 1].
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    References
    ----------
    .. [1] Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.cosine(20).kind
    'cosine'
    """
    return Schedule("cosine", total_epochs=total_epochs, warmup_steps=warmup_steps, final=final)


def one_cycle(
    total_epochs: float | None = None, *, rise: float = 0.3, warmup_steps: int = 0
) -> Schedule:
    """From eta0/25 up to eta0 at x = rise, then down to eta0/250,000, by half cosines.

    Parameters
    ----------
    total_epochs : float or None, default=None
        Length of the schedule in epochs; None is ``max_iter`` of the first fit.
    rise : float, default=0.3
        Part of the schedule in which the rate rises, in (0, 1).
    warmup_steps : int, default=0
        Number of updates of linear warm-up.

    Returns
    -------
    Schedule
        To be passed as ``learning_rate``.

    References
    ----------
    .. [1] Smith and Topin, "Super-convergence: very fast training of neural networks using large
       learning rates", arXiv:1708.07120, 2018.

    Examples
    --------
    >>> from fastsgd import schedules
    >>> schedules.one_cycle(20).kind
    'one_cycle'
    """
    return Schedule("one_cycle", total_epochs=total_epochs, warmup_steps=warmup_steps, rise=rise)


def optimal_eta0(alpha: float) -> float:
    """First rate of scikit-learn's "optimal": alpha^(-1/4), the size of weights to be expected.

    Bottou's heuristic divides that by the size of the slope at minus it, where that is above 1.
    scikit-learn takes the slope with its sign, which is never above 1, and so do we.

    Parameters
    ----------
    alpha : float
        Strength of the penalty, > 0.

    Returns
    -------
    float
        The rate.

    References
    ----------
    .. [1] Bottou, "Stochastic gradient descent tricks", in Neural Networks: Tricks of the Trade,
       2012.

    Examples
    --------
    >>> from fastsgd.schedules import optimal_eta0
    >>> optimal_eta0(1e-4)
    10.0
    """
    return alpha**-0.25
