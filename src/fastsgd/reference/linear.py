"""The NumPy twin of the compiled core: same nouns, same order of samples, no speed.

It is what the tests compare every kernel with, and the yardstick of the benchmarks. All arithmetic
is in float64, on features (x - offset) * scale. One step draws a batch B_t of m rows and does, for
every lane k,

    z_i     = x_i . w + b                                        score
    c_i     = s_i * dloss(z_i, y_i)                              slope
    g_t     = (1/m_k) * sum_{i in B_t} c_i x_i  + alpha_k w      accumulate  (g_b: + h_k)
    v_{t+1} = beta v_t + g_t                                     update
    w_{t+1} = w_t - eta_t v_{t+1}         (Nesterov: w_t - eta_t (g_t + beta v_{t+1}))

with m_k the rows of the batch that have s_ik > 0 and h_k the lane's ``intercept_gradient``; the
update is the optimizer's (:mod:`fastsgd.optimizers`), here that of SGD with momentum.
A lane whose batch has no row of positive weight is left untouched. Without momentum the penalty is
applied as a factor max(0, 1 - eta_t alpha_k) on w, which is the same step while eta_t alpha_k <= 1.
An L1 penalty truncates after that step, towards zero and not beyond: with u the sum of eta_t l1_k
so far and q what a weight has received of it, w > 0 becomes max(0, w - (u + q)) and w < 0 becomes
min(0, w + (u - q)), for every feature (Tsuruoka, Tsujii & Ananiadou 2009). With averaging, a_t is
the mean of w, so truncated, over the updates from number ``average`` on.

Examples
--------
>>> import numpy as np
>>> from fastsgd.problem import Data, Lanes, Settings
>>> from fastsgd import reference
>>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
>>> lanes = Lanes(1, alpha=0.0, eta0=0.1)
>>> settings = Settings(fit_intercept=False, sampling="sequential")
>>> state = reference.State(data, lanes, settings)
>>> reference.run_epoch(data, lanes, settings, state)
>>> state.W.round(2)
array([[0.12]])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import sampling
from ..exceptions import DivergenceError
from ..problem import Data, Lanes, Settings, blocks
from ..targets import slopes_of, targets_of, weights_of

__all__ = [
    "State",
    "accumulate",
    "close_batch",
    "gradient",
    "is_measured",
    "objective",
    "rate",
    "run_epoch",
    "score",
    "take_in",
    "update",
]

Float = NDArray[np.float64]


class State:
    """All that training changes.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.

    Attributes
    ----------
    W, A : ndarray of shape (d, K)
        Weights, and their average.
    b, ab : ndarray of shape (K,)
        The same of the intercept.
    slots, intercept_slots : dict of str to ndarray of shape (d, K), and (K,)
        What the optimizer keeps of each weight, and of each intercept.
    Q : ndarray of shape (d, K)
        What each weight has received of the L1 penalty.
    u : ndarray of shape (K,)
        The L1 penalty a weight may have received, sum of eta_t l1_k.
    t : ndarray of shape (K,), int64
        Updates done.
    rate_factor : ndarray of shape (K,)
        Multiplies the schedule: "adaptive" and a backoff lower it.
    active : ndarray of shape (K,), bool
        A lane that is not active is frozen: all its sample weights count as zero. Lanes of a
        coupled loss are frozen together.
    epoch, row : int
        Epochs done, and rows of the running one whose batches are done.
    grad, grad_intercept, batch_count, batch_row : ndarray of shape (d, K) and (K,), (K,), and int
        Sums of c_i x_i and c_i over the rows of the open batch, those of them with s_ik > 0, and
        all of them.
    loss_sum : ndarray of shape (K,)
        sum_i s_ik * loss(z_i, y_ik) over the rows of the epoch so far, each before its own step.
    row_count : ndarray of shape (K,)
        Rows with s_ik > 0 in the epoch so far.
    norm_sum, norm_count : ndarray of shape (K,)
        Sum of |g|^2, the squared norms of batch gradients of the loss in w and b, over the epoch's
        measured batches (see :func:`is_measured`), and their number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.eye(3), np.zeros(3))
    >>> state = reference.State(data, Lanes(2, alpha=0.0, eta0=0.1), Settings())
    >>> state.W.shape, state.b.shape, state.epoch
    ((3, 2), (2,), 0)
    """

    def __init__(self, data: Data, lanes: Lanes, settings: Settings) -> None:
        settings.check(data, lanes)
        k = lanes.k
        self.W, self.A = np.zeros((2, data.d, k))
        self.b, self.ab = np.zeros((2, k))
        initial = settings.optimizer.slots
        self.slots = {name: np.full((data.d, k), value) for name, value in initial.items()}
        self.intercept_slots = {name: np.full(k, value) for name, value in initial.items()}
        self.Q, self.u, self.rate_factor = np.zeros((data.d, k)), np.zeros(k), np.ones(k)
        self.t = np.zeros(k, dtype=np.int64)
        self.active = np.ones(k, dtype=bool)
        self.epoch = self.row = 0
        self.loss_sum, self.row_count, self.norm_sum, self.norm_count = np.zeros((4, k))
        self.grad = np.zeros((data.d, k))
        self.clear_batch()

    def clear_batch(self) -> None:
        """Begin a batch: its sums are 0."""
        self.grad[:] = 0.0
        self.grad_intercept, self.batch_count = np.zeros((2, self.grad.shape[1]))
        self.batch_row = 0

    def set_weights(self, coef: ArrayLike, intercept: ArrayLike) -> None:
        """Start afresh, without momentum, from given weights.

        Parameters
        ----------
        coef : array-like of shape (K, d)
            Weights.
        intercept : array-like of shape (K,)
            Intercepts.
        """
        self.W[:] = self.A[:] = np.asarray(coef, dtype=np.float64).T
        self.b[:] = self.ab[:] = intercept
        self.Q[:] = self.u[:] = 0.0
        for slots in (self.slots, self.intercept_slots):
            if "velocity" in slots:
                slots["velocity"][:] = 0.0

    def weights(self, settings: Settings) -> tuple[Float, Float]:
        """Weights of the model: the averages where there are any.

        Parameters
        ----------
        settings : Settings
            What all lanes share.

        Returns
        -------
        coef : ndarray of shape (K, d)
            Weights.
        intercept : ndarray of shape (K,)
            Intercepts.
        """
        if not settings.average:
            return self.W.T.copy(), self.b.copy()
        averaged = self.t >= settings.average
        return np.where(averaged, self.A, self.W).T.copy(), np.where(averaged, self.ab, self.b)


def score(data: Data, state: State, rows: NDArray[np.int64]) -> Float:
    """Scores of rows: z = X W + b.

    Parameters
    ----------
    data : Data
        Rows and targets.
    state : State
        The training state; it is left as it is.
    rows : ndarray of shape (m,), int64
        Numbers of the rows.

    Returns
    -------
    ndarray of shape (m, K)
        The scores.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    >>> state = reference.State(data, lanes, settings)
    >>> state.set_weights([[1.0]], [0.5])
    >>> reference.score(data, state, np.array([0, 1]))
    array([[1.5],
           [2.5]])
    """
    return data.rows(rows) @ state.W + state.b


def is_measured(settings: Settings, n: int, row: int) -> bool:
    """Whether the batch that starts at a row of the epoch counts in ``norm_sum``.

    Parameters
    ----------
    settings : Settings
        What all lanes share.
    n : int
        Rows of the epoch.
    row : int
        Row of the epoch, from 0.

    Returns
    -------
    bool
        True for one batch in 16, and one single row in 64.

    Examples
    --------
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Settings
    >>> [row for row in range(200) if reference.is_measured(Settings(), 1000, row)]
    [0, 64, 128, 192]
    """
    size = min(settings.batch_size, n)
    return (row // size) % max(16, 64 // size) == 0


def accumulate(data: Data, c: Float, rows: NDArray[np.int64]) -> tuple[Float, Float]:
    """Gradient sums before division by m_k: sum_i c_i x_i and sum_i c_i.

    Parameters
    ----------
    data : Data
        Rows and targets.
    c : ndarray of shape (m, K)
        Slopes.
    rows : ndarray of shape (m,), int64
        Numbers of the rows.

    Returns
    -------
    gradient : ndarray of shape (d, K)
        In the weights.
    intercept_gradient : ndarray of shape (K,)
        In the intercepts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> reference.accumulate(data, np.array([[1.0], [-1.0]]), np.array([0, 1]))
    (array([[-1.]]), array([0.]))
    """
    return np.asarray(data.rows(rows).T @ c), c.sum(axis=0)


def update(
    state: State,
    lanes: Lanes,
    settings: Settings,
    gradient: tuple[Float, Float],
    eta: Float,
    updated: NDArray[np.bool_],
) -> None:
    """Make one update of the lanes whose batch has rows of positive weight.

    Parameters
    ----------
    state : State
        The training state; it is changed in place.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    gradient : tuple of ndarray of shape (d, K) and (K,)
        Mean gradients in the weights and in the intercepts.
    eta : ndarray of shape (K,)
        Learning rates.
    updated : ndarray of shape (K,), bool
        Lanes to update; the others are left untouched.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(fit_intercept=False)
    >>> state = reference.State(data, lanes, settings)
    >>> gradient = np.array([[2.0]]), np.array([0.0])
    >>> reference.update(state, lanes, settings, gradient, np.array([0.1]), np.array([True]))
    >>> state.W, state.t
    (array([[-0.2]]), array([1]))
    """
    g, g_b = gradient
    optimizer = settings.optimizer
    W, slots = optimizer.step(state.W, state.slots, g, eta, lanes.alpha, lanes.l1)
    of_b = eta * lanes.intercept_rate
    b, intercept_slots = optimizer.step(state.b, state.intercept_slots, g_b, of_b, 0.0, 0.0)
    for name in slots:
        state.slots[name][:, updated] = slots[name][:, updated]
        state.intercept_slots[name][updated] = intercept_slots[name][updated]
    if optimizer.linear and lanes.l1.any():
        state.u += np.where(updated, eta * lanes.l1, 0.0)
        low, high = state.u + state.Q, state.u - state.Q
        after = np.where(W > 0, np.maximum(0.0, W - low), W)
        after = np.where(W < 0, np.minimum(0.0, W + high), after)
        state.Q[:, updated] += (after - W)[:, updated]
        W = after
    state.W[:, updated] = W[:, updated]
    if settings.fit_intercept:
        state.b[updated] = b[updated]
    state.t[updated] += 1
    if settings.average:
        averages = updated & (state.t >= settings.average)
        count = np.maximum(1, state.t - settings.average + 1)
        state.A[:, averages] += ((state.W - state.A) / count)[:, averages]
        state.ab[averages] += ((state.b - state.ab) / count)[averages]


def rate(data: Data, lanes: Lanes, settings: Settings, state: State) -> Float:
    """Learning rates of the batch at which the state stands.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is left as it is.

    Returns
    -------
    ndarray of shape (K,)
        The rates.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> from fastsgd.schedules import Schedule
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(schedule=Schedule("invscaling"))
    >>> state = reference.State(data, lanes, settings)
    >>> state.t[:] = 15
    >>> reference.rate(data, lanes, settings, state)
    array([0.05])
    """
    size = min(settings.batch_size, data.epoch_rows)
    e = state.epoch + (state.row // size) / data.batches(settings.batch_size)
    return settings.schedule.rate(lanes.eta0, lanes.mu, state.t + 1, e) * state.rate_factor


def take_in(
    data: Data, lanes: Lanes, settings: Settings, state: State, rows: NDArray[np.int64]
) -> None:
    """Score rows of the open batch, and add their losses and gradients to its sums.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is changed in place.
    rows : ndarray of shape (m,), int64
        Numbers of the rows.

    Raises
    ------
    DivergenceError
        If a score is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(batch_size=2, fit_intercept=False)
    >>> state = reference.State(data, lanes, settings)
    >>> reference.take_in(data, lanes, settings, state, np.array([0, 1]))
    >>> state.grad, state.batch_row
    (array([[-2.]]), 2)
    """
    X = data.rows(rows)
    y = targets_of(data, lanes, settings, rows)
    s = weights_of(data, lanes, settings, y, rows) * state.active
    squares = np.asarray(
        X.multiply(X).sum(axis=1) if data.sparse else (X * X).sum(axis=1), dtype=np.float64
    ).reshape(-1, 1)
    if settings.step == "pa1":  # which no step along an empty row could make passive
        s = s * (squares != 0.0)  # NaN is left to the scores
    z = score(data, state, rows)
    eta = rate(data, lanes, settings, state)
    if not np.isfinite(z[s > 0]).all():
        scale = float(np.abs(X).max())
        raise DivergenceError(int(state.t.max()), float(eta.max()), scale, epoch=state.epoch + 1)
    g, g_b = accumulate(data, slopes_of(settings, z, y, s, eta, squares), rows)
    value = settings.terms.value(z, y, settings.loss_parameter)
    state.grad += g
    state.grad_intercept += g_b
    state.batch_count += (s > 0).sum(axis=0)
    state.loss_sum += np.where(s > 0, s * value, 0.0).sum(axis=0)
    state.batch_row += len(rows)


def close_batch(data: Data, lanes: Lanes, settings: Settings, state: State) -> None:
    """Make the step of the open batch, all of whose rows are taken in.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is changed in place.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(batch_size=2, fit_intercept=False)
    >>> state = reference.State(data, lanes, settings)
    >>> reference.take_in(data, lanes, settings, state, np.array([0, 1]))
    >>> reference.close_batch(data, lanes, settings, state)
    >>> state.W, state.batch_row
    (array([[0.1]]), 0)
    """
    eta, count = rate(data, lanes, settings, state), state.batch_count
    g, g_b = (part / np.maximum(1, count) for part in (state.grad, state.grad_intercept))
    state.row_count += count
    square = (g**2).sum(axis=0) + settings.fit_intercept * g_b**2
    if is_measured(settings, data.epoch_rows, state.row):
        state.norm_sum += np.where(count > 0, square, 0.0)
        state.norm_count += count > 0
    with np.errstate(divide="ignore"):
        clip = np.minimum(1.0, settings.clip_norm / np.sqrt(square))
    update(
        state, lanes, settings, (g * clip, g_b * clip + lanes.intercept_gradient), eta, count > 0
    )
    state.row += state.batch_row
    state.clear_batch()


def run_epoch(
    data: Data, lanes: Lanes, settings: Settings, state: State, batches: int | None = None
) -> None:
    """Train to the end of the running epoch, or of the window that ``data`` is.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is changed in place.
    batches : int, optional
        Largest number of batches; all that are left if not given.

    Raises
    ------
    DivergenceError
        If a score is not finite.
    ValueError
        If the row at which the state stands is not in the window.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(fit_intercept=False)
    >>> state = reference.State(data, lanes, settings)
    >>> reference.run_epoch(data, lanes, settings, state)
    >>> state.epoch
    1
    """
    settings.check(data, lanes)
    position = state.row + state.batch_row
    if not data.first_row <= position <= data.end:
        raise ValueError(
            f"state is at row {position} of the epoch, and data has rows {data.first_row} to "
            f"{data.end}"
        )
    order = data.order
    if order is None:
        order = sampling.order(settings.sampling, data.n, settings.seed, state.epoch)
    if position == 0:
        state.loss_sum[:] = state.row_count[:] = 0.0
        state.norm_sum[:] = state.norm_count[:] = 0.0
    size = min(settings.batch_size, data.epoch_rows)
    while position < data.end and batches != 0:
        batch_end = min(state.row + size, data.epoch_rows)
        end = min(batch_end, data.end)
        take_in(
            data, lanes, settings, state, order[position - data.first_row : end - data.first_row]
        )
        position = end
        if end == batch_end:
            close_batch(data, lanes, settings, state)
            batches = None if batches is None else batches - 1
    if state.row == data.epoch_rows:
        state.epoch, state.row = state.epoch + 1, 0


def objective(data: Data, lanes: Lanes, settings: Settings, W: Any, b: Any) -> Float:
    """Objectives L_k(w, b) of the lanes.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    W : array-like of shape (d, K)
        Weights.
    b : array-like of shape (K,)
        Intercepts.

    Returns
    -------
    ndarray of shape (K,)
        Mean loss plus penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes = Lanes(1, alpha=0.0, eta0=0.1)
    >>> reference.objective(data, lanes, Settings(), np.zeros((1, 1)), np.zeros(1))
    array([1.])
    """
    rows = np.arange(data.n)
    y = targets_of(data, lanes, settings, rows)
    s = weights_of(data, lanes, settings, y, rows)
    z = np.concatenate([data.rows(part) @ W for part in blocks(data.X)]) + b
    value = settings.terms.value(z, y, settings.loss_parameter)
    penalty = 0.5 * lanes.alpha * (np.asarray(W) ** 2).sum(axis=0) + lanes.intercept_gradient * b
    penalty = penalty + lanes.l1 * np.abs(W).sum(axis=0)
    return (s * value).sum(axis=0) / np.maximum(1, (s > 0).sum(axis=0)) + penalty


def gradient(
    data: Data,
    lanes: Lanes,
    settings: Settings,
    state: State,
    rows: NDArray[np.int64] | None = None,
) -> tuple[Float, Float]:
    """Gradients of the objectives at the state.

    Of the smooth part: the loss, the L2 penalty and ``intercept_gradient``, without the L1 term.

    Parameters
    ----------
    data : Data
        Rows and targets.
    lanes : Lanes
        Numbers of each lane.
    settings : Settings
        What all lanes share.
    state : State
        The training state; it is left as it is.
    rows : ndarray of shape (m,), int64, optional
        Numbers of the rows; all if not given.

    Returns
    -------
    gradient : ndarray of shape (d, K)
        In the weights.
    intercept_gradient : ndarray of shape (K,)
        In the intercepts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import reference
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    >>> state = reference.State(data, lanes, settings)
    >>> reference.gradient(data, lanes, settings, state)
    (array([[-1.]]), array([-1.]))
    """
    rows = np.arange(data.n) if rows is None else rows
    y = targets_of(data, lanes, settings, rows)
    s = weights_of(data, lanes, settings, y, rows)
    c = slopes_of(settings, score(data, state, rows), y, s)
    count = np.maximum(1, (s > 0).sum(axis=0))
    g, g_b = accumulate(data, c, rows)
    return g / count + lanes.alpha * state.W, g_b / count + lanes.intercept_gradient
