"""What a fitted estimator keeps, and where a run that goes on from it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..learning_rate.choose import Rates
from ..problem import Data, Lanes, Settings
from ..solver import State
from .standardise import Scaling

if TYPE_CHECKING:
    from .repeat import Repeat

__all__ = ["Continuation", "recipe_of", "state_key", "state_of"]


@dataclass
class Continuation:
    """What a fitted estimator keeps to go on from: the state, and what was found or drawn once.

    Attributes
    ----------
    state : State
        As the last call left it.
    seed : int
        Key of the sampling streams.
    split : RandomState or None
        What the validation split was drawn from, before it was; None: the seed.
    horizon : float
        Epochs of a schedule or of tail averaging that nobody gave a horizon.
    average : tuple of (parameter, int)
        ``average`` and the update from which it averages.
    fits : tuple
        What the state was made for; see :func:`state_key`.
    recipe : tuple
        The parameters that the rates were found with.
    rates : Rates
        Of the lanes, as they were found.
    scaling : Scaling
        That of the features the state is trained on.
    repeat : Repeat or None
        What the last call leaves to a ``partial_fit`` like it; it is not saved.
    unread : bool
        Whether ``coef_`` is made of the state when it is read: that of a wide model.
    """

    state: State
    seed: int
    split: np.random.RandomState | None
    horizon: float
    average: tuple[Any, int]
    fits: tuple[Any, ...]
    recipe: tuple[Any, ...]
    rates: Rates
    scaling: Scaling
    repeat: Repeat | None = None
    unread: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "repeat"}

    def after(self, state: State, rates: Rates, repeat: Repeat) -> Continuation:
        """The same after another call; a third of the time that ``dataclasses.replace`` takes."""
        run = self.seed, self.split, self.horizon, self.average, self.fits, self.recipe
        return Continuation(state, *run, rates, self.scaling, repeat, self.unread)

    def next_epoch(self) -> State:
        """A copy of the state at the start of an epoch; what is left of one is skipped."""
        old = self.state
        return old.at_epoch(old.epoch + (old.row > 0 or old.batch_row > 0))

    def weights(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The model of the state, (K, d) and (K,); ``scaling`` makes the published one of it."""
        return self.state.weights(self._reading)

    def weights_at(
        self, features: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Those of some features, (1, m) and (1,), of an unread model."""
        return self.state.weights_at(self._reading, features)

    def intercepts(self) -> NDArray[np.floating]:
        """Those of an unread model, (K,)."""
        return self.state.intercepts(self._reading)

    @property
    def _reading(self) -> Any:
        """All of Settings that is asked for when weights are read."""
        return SimpleNamespace(average=self.average[1])

    def coef(self, estimator: Any) -> Any:
        """What the estimator publishes as ``coef_``."""
        return estimator._attributes(*self.scaling.to_users(*self.weights()))["coef_"]


def recipe_of(estimator: Any) -> tuple[Any, ...]:
    """The parameters that decide about the rates found from the data."""
    rate = estimator.learning_rate
    rate = getattr(rate, "kind", rate if isinstance(rate, str) else "callable")
    numbers = estimator._strength, estimator.batch_size, estimator.momentum, estimator.optimizer
    loss = getattr(estimator.loss, "name", estimator.loss)
    return (rate, loss, estimator.eta0, estimator.linear_scaling, estimator.penalty, *numbers)


def state_key(data: Data, lanes: Lanes, settings: Settings) -> tuple[Any, ...]:
    """What a state is made for: one that was made for something else does not fit.

    Averages are of the weights of one problem: with another loss or penalty they begin anew.
    """
    vectors = settings.optimizer.name, settings.width, settings.vectors(lanes)
    optimizer = *vectors, settings.average, settings.batch_size > 1
    problem: tuple[Any, ...] = ()
    if settings.average:
        strengths = (lanes.alpha.tobytes(), lanes.l1.tobytes(), lanes.intercept_gradient.tobytes())
        loss = getattr(settings.loss, "name", settings.loss)
        problem = (loss, settings.loss_parameter, *strengths)
    return (data.dtype.str, data.d, lanes.k, *optimizer, *problem)


def state_of(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    previous: Continuation | None,
    start: tuple[Any, Any] | None,
    *,
    within: bool = False,
) -> tuple[State, Settings]:
    """Where a run stands when a call begins; averages that begin anew begin at the next update.

    The state is new, or a copy of the previous one. A previous state that does not fit any more
    gives its weights, its counts of updates and epochs and its rate factors to a new one. ``start``
    are weights (K, d) and (K,) to begin from; in a run that goes on they drop momentum and
    averages. With ``within`` it goes on in the middle of an epoch.

    Raises
    ------
    ValueError
        If it is to go on in the middle of an epoch, with a state that does not fit.
    """
    if previous is None:
        state = State(data, lanes, settings)
        if start is not None:
            state.set_weights(*start)
        return state, settings
    old = previous.state
    if previous.fits == state_key(data, lanes, settings) and start is None:
        state = old.copy() if within else previous.next_epoch()
    elif within:
        raise ValueError(
            "the checkpoint is within an epoch of a fit on other data or by other steps: go on "
            "with the data, the dtype and the parameters that the fit began with"
        )
    else:
        epoch = old.epoch + (old.row > 0 or old.batch_row > 0)
        state = State(data, lanes, settings).at_epoch(epoch)
        state.set_weights(*(old.last_weights() if start is None else start))
        state.t[:], state.rate_factor[:] = old.t, old.rate_factor
        if settings.average:
            settings = replace(settings, average=max(settings.average, int(old.t.max()) + 1))
    state.active[:] = 1.0
    return state, settings
