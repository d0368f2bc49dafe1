"""The compiled core, as Python sees it: arrays in, one call without the GIL, exceptions out.

``State`` and ``Run`` are the core's side of :mod:`fastsgd.problem`; :mod:`fastsgd.solver` is what
to use. Lanes are numbered as in ``Lanes``; padding never shows.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import disjoint_base

from .descent import Descent, VectorDescent
from .losses import CompiledLoss
from .network import Network
from .problem import Data, Lanes, Settings

def isas() -> tuple[str, ...]:
    """Names of the compiled instruction sets that this machine supports, best last."""

def isa() -> str:
    """The instruction set in use: FASTSGD_ISA, or the best of this machine.

    Raises
    ------
    ValueError
        If FASTSGD_ISA names none of ``isas()``.
    """

def compiler() -> str:
    """The C compiler that the core was built with, and its version."""

def loss_infos() -> tuple[tuple[str, float, float, frozenset[str], bool], ...]:
    """What the core knows of its losses: (name, smoothness, infimum, targets, coupled)."""

def loss_at(
    loss: str | CompiledLoss,
    z: ArrayLike,
    y: ArrayLike,
    *,
    parameter: float = 0.1,
    slope: bool = False,
    isa: str | None = None,
) -> NDArray[Any]:
    """Value or slope of an uncoupled loss, elementwise over two arrays, by the core's kernels."""

def aligned_zeros(shape: int | tuple[int, ...] | list[int], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros on a 64-byte boundary."""

def place_columns(columns: list[NDArray[Any]], rows: NDArray[Any]) -> None:
    """Write d columns (n,) as rows (n, d) of the same dtype, float32 or float64, in C order.

    Raises
    ------
    ValueError
        If shapes, dtypes or orders differ from that; nothing is written.
    """

def take_rows(X: Any, rows: Any) -> Any:
    """Rows of CSR X, by number (>= 0) or as a slice, as a CSR matrix of its own, whose indices are
    sound whatever others do with X at the same time.

    Raises
    ------
    ValueError
        If the index arrays of X are no longer sound.
    """

def csr_arrays(X: Any, dtype: DTypeLike) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Values in float32 or float64, indices and indptr of CSR, of CSR or CSC X; Ctrl-C ends it
    within milliseconds, unlike SciPy's conversion.

    Raises
    ------
    ValueError
        If the index arrays of X are no longer sound.
    """

def row_square(X: Any, row: int) -> float:
    """|x|^2 of a row of CSR X, long as it may be; values of one place add up."""

def check_structure(X: Any) -> int | None:
    """Refuse a CSR, CSC, BSR, COO, LIL or DIA matrix whose index arrays are corrupt.

    Returns
    -------
    int or None
        Of CSR, CSC and BSR a fingerprint of the structure: another one if that was changed.

    Raises
    ------
    ValueError
        Naming the array and what was expected of it.
    """

def order(settings: Descent, n: int, epoch: int, chunks: tuple[int, ...] = ()) -> NDArray[np.int64]:
    """The order of an epoch as the core draws it, in calls that end at ``chunks``.

    Raises
    ------
    ValueError
        If n or epoch is negative, or the chunks do not rise from 0 to n.
    """

def column_squares(
    X: NDArray[Any],
) -> tuple[NDArray[np.float64], float, float]:
    """Sums of the squares of the columns of dense X (n, d), (d,); the least positive one and the
    largest: infinity and 0 if there is none.

    Raises
    ------
    ValueError
        If X is of another type than float32 or float64.
    """

def rise(indices: NDArray[Any]) -> bool:
    """Whether each of some indices, of int32 or int64, is greater than the one before."""

def outside(
    arrays: Iterable[NDArray[np.float64]], lowest: Iterable[float], highest: Iterable[float]
) -> int:
    """Which of some arrays is the first that has a number below its lowest or above its highest, or
    NaN; -1 if none has."""

def row_norms(coef: NDArray[Any], squared: bool) -> NDArray[np.float64]:
    """Sums of |w| or of w^2 along the rows of an array (K, d) of real numbers; (K,), float64."""

def is_alone(owner: dict[str, Any], name: str) -> bool:
    """Whether nothing but this dictionary refers to its value of a name; False without one."""

CHANGED: str

@disjoint_base
class State:
    """All that training changes; copies and pickles bit by bit.

    ``__setstate__`` checks every value it is given, for it may come from a file: ValueError.
    """

    dtype: np.dtype[Any]
    def __init__(self, data: Data, lanes: Lanes, settings: Settings) -> None: ...
    @property
    def t(self) -> NDArray[np.int64]:
        """Updates done, shape (K,)."""
    @property
    def active(self) -> NDArray[np.float64]:
        """1, or 0 for a frozen lane, shape (K,); may be set."""
    @property
    def rate_factor(self) -> NDArray[np.float64]:
        """What multiplies a lane's learning rates, shape (K,); may be set."""
    @property
    def norm_sum(self) -> NDArray[np.float64]:
        """Sum of |g|^2 over the epoch's measured batches (one in 16), shape (K,)."""
    @property
    def norm_count(self) -> NDArray[np.float64]:
        """Number of measured batches, shape (K,)."""
    @property
    def loss_sum(self) -> NDArray[np.float64]:
        """sum_i s_ik loss(z_i, y_ik) over the epoch so far, each row before its step; (K,)."""
    @property
    def row_count(self) -> NDArray[np.float64]:
        """Rows of positive weight in the epoch so far, shape (K,)."""
    @property
    def gradient_norm(self) -> float:
        """Root mean square of the measured batches' |g|, mean over the lanes that have any; or
        0."""
    @property
    def epoch(self) -> int:
        """Epochs done."""
    @property
    def row(self) -> int:
        """Rows of the running epoch whose update is done."""
    @property
    def batch_row(self) -> int:
        """Rows of the open batch that are accumulated."""
    @property
    def pending(self) -> int:
        """Steps that features with lazy updates have still to catch up with (CSR); with L1 alone, 1
        while truncations are pending, else 0."""
    @property
    def has_pending_steps(self) -> bool:
        """Whether a flush must come before several readings: it does the steps once, and a lane
        that stops then keeps its bits. Of one lane spans, and weights under L1 without momentum,
        are read as fast with steps pending as without."""
    @property
    def is_lazy(self) -> bool:
        """Whether it has the arrays of lazy updates."""
    def lay_out(self, sparse: bool) -> None:
        """Store the numbers of one lane as steps on CSR rows need them, or on dense rows, where
        nothing is pending: O(d) if they are stored otherwise."""
    def allocate_pending(self) -> None:
        """Allocate the arrays of lazy updates, unless there are."""
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, fields: dict[str, Any]) -> None: ...
    def copy(self) -> State:
        """An independent state with the same bits."""
    def at_epoch(self, epoch: int) -> State:
        """A copy at the start of an epoch, without what was done of another."""
    @property
    def rescales(self) -> int:
        """How often all features were stored anew, by their scales or lazy updates."""
    def follow(
        self, other: State, features: NDArray[np.integer[Any]], everywhere: bool = False
    ) -> None:
        """Make it, bit for bit, what ``copy`` makes of another state that differs from it in
        these features, and in what is not of a feature; takes O(len(features)). ``everywhere``:
        they differ by scales or lazy updates of all features too, which takes O(d).

        Raises
        ------
        ValueError
            If the two are of different kinds.
        """
    def intercepts(self, settings: Settings) -> NDArray[Any]:
        """Those of ``weights``, (K,), in O(K)."""
    @property
    def reads_few(self) -> bool:
        """Whether ``weights_at`` can read it: one lane, with nothing pending but what L1 leaves."""
    def weights_at(
        self, settings: Settings, features: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Those of ``weights`` of m features, (1, m) and (1,), if ``reads_few``."""
    def put(self, other: State, here: Any, there: Any) -> None:
        """Make lanes ``here`` what lanes ``there`` of another state are, its counters too.

        Raises
        ------
        ValueError
            If one of the two has only one lane or arrays of lazy updates, or they differ in kind.
        """
    def clear_batch(self) -> None:
        """Forget the open batch; make room for one where there is none."""
    def set_weights(self, coef: ArrayLike, intercept: ArrayLike) -> None:
        """Start afresh, without momentum, from weights (K, d) and intercepts (K,)."""
    def vectors(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """What a mean over states is taken of, (vectors, K, d) and (vectors, K): of SGD the weight,
        its velocity and its average, as far as there are; of AdaGrad its sum of squares too.

        Raises
        ------
        ValueError
            If updates are pending, or scales are not 1: ``Run.flush`` applies them.
        """
    def set_vectors(self, vectors: ArrayLike, intercepts: ArrayLike) -> None:
        """Start from what ``vectors`` gave.

        Raises
        ------
        ValueError
            If shapes are others.
        """
    def place(self, epoch: int, row: int) -> None:
        """Stand at a row of an epoch, without an open batch.

        Raises
        ------
        ValueError
            If one is negative.
        """
    def weights(self, settings: Settings) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights (K, d) and intercepts (K,) of the model: the averages where there are any."""
    def last_weights(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The last weights (K, d) and intercepts (K,), whether they are averaged or not."""

@disjoint_base
class Run:
    """Data, lanes, settings and state, checked and bound once; a call then costs little.

    Raises
    ------
    ValueError
        If the arrays are not what ``fastsgd.problem`` says, or the state does not fit them; from
        its methods, if the index arrays of X were changed meanwhile, which are read with care.
    """

    def __init__(
        self, data: Data, lanes: Lanes, settings: Settings, state: State, isa: str | None = None
    ) -> None: ...
    def without_rows(self) -> Run:
        """The same lanes and settings, bound to no data and no state, for ``on``."""
    def on(self, data: Data, state: State) -> Run:
        """What ``Run`` gives for the same lanes and settings and this data, in a third of the time.

        Changes made meanwhile to the arrays of the lanes are not seen.
        """
    @property
    def isa(self) -> str:
        """The instruction set of this run."""
    @property
    def clipped(self) -> bool:
        """Whether eta * alpha reached 1 in the last call."""
    @property
    def draws_order(self) -> bool:
        """Whether the next call draws a part of the epoch's order instead of training."""
    def flush(self) -> None:
        """Apply all lazy updates: none is pending afterwards, and scales are 1."""
    @property
    def rate(self) -> float:
        """The last learning rate, of the first lane that made an update."""
    @property
    def bad_row(self) -> int:
        """The row at which a DivergenceError was met."""
    def advance(self, budget: int, stop: int | None = None) -> bool:
        """Do about ``budget`` values' worth of work; whether that ended the epoch.

        Raises
        ------
        DivergenceError
            If a score is not finite.
        """
    def measure(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64], float]:
        """The epoch's end: last weights (K, d) and (K,), mean loss plus penalty (K,), mean |w|."""
    @property
    def is_sparse(self) -> bool:
        """Whether the rows are CSR, whose features are often few beside those of the model."""
    def measure_unread(self) -> tuple[NDArray[Any], NDArray[np.float64], float, bool]:
        """The epoch's end without a copy of the weights.

        Intercepts of the model (K,), mean loss plus penalty (K,) and mean |w|, with the bits of
        ``measure``, and whether the model is finite.
        """
    def score(self, rows: ArrayLike) -> NDArray[Any]:
        """Scores of rows, shape (m, K)."""
    def gradient_sums(
        self, rows: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """sum_i c_i x_i (d, K), sum_i c_i (K,) and m_k (K,) over rows; State is left as it was."""

@disjoint_base
class Epochs:
    """Whole epochs of a run of one lane, several in a call.

    Parameters
    ----------
    run : Run
        Of one lane.
    columns : iterable of list
        Those of a ``History``, in the order of its fields.
    count : ndarray of shape (1,), int64
        Epochs trained, which grows with them.
    watch : Watch, optional
        Of ``fastsgd.solver.stopping``, of a training loss; its arrays are changed in place.
    """

    def __init__(
        self,
        run: Run,
        columns: Iterable[list[Any]],
        count: NDArray[np.int64],
        watch: Any = None,
    ) -> None: ...
    @property
    def clipped(self) -> bool:
        """Whether eta * alpha reached 1 in any epoch."""
    def advance(
        self,
        most: int,
        clock: Any,
        ceiling: float,
        sums: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> tuple[int, tuple[Any, Any] | None, float | None, BaseException | None]:
        """Train up to ``most`` epochs, each of which is added to the history, and its model to
        ``sums``. An epoch ends the call, and is left as it is, if its loss is above ``ceiling``, if
        loss or weights are not finite, or if the watch would stop the lane. Signals are looked at
        between epochs, and between the calls that an epoch of a large table takes, whose length the
        ``Clock`` chooses.

        Returns
        -------
        done : int
            Epochs that were added to the history.
        model : tuple of ndarray of shape (1, d) and (1,), or None
            The model after the last of them.
        seconds : float or None
            Time of the epoch that ended the call, if one did.
        error : BaseException or None
            What ended the call before its time.
        """

@disjoint_base
class VectorState:
    """All that training changes of a vector of parameters; copies and pickles bit by bit.

    ``__setstate__`` checks every value it is given, for it may come from a file: ValueError.
    """

    dtype: np.dtype[Any]
    rate_factor: float
    def __init__(self, length: int, dtype: DTypeLike, descent: VectorDescent) -> None: ...
    @property
    def length(self) -> int:
        """Number of parameters."""
    @property
    def t(self) -> int:
        """Updates done."""
    @property
    def epoch(self) -> int:
        """Epochs done."""
    @property
    def row(self) -> int:
        """Rows of the running epoch whose update is done."""
    @property
    def batch_row(self) -> int:
        """Rows of the open batch that are accumulated."""
    @property
    def pending(self) -> int:
        """Steps that some weights have still to catch up with (CSR)."""
    @property
    def objective_sum(self) -> float:
        """Sum of the batches' objectives before their step, each times its rows, of this epoch."""
    @property
    def row_count(self) -> float:
        """Rows of positive weight in the epoch so far."""
    @property
    def norm_sum(self) -> float:
        """Sum of |g|^2 over the epoch's measured batches."""
    @property
    def norm_count(self) -> float:
        """Number of measured batches."""
    @property
    def gradient_norm(self) -> float:
        """Root mean square of |g| over the epoch's measured batches; or 0."""
    def set(self, theta: ArrayLike) -> None:
        """New parameters (length,); slots and averages begin afresh."""
    def last(self) -> NDArray[Any]:
        """The parameters (length,) as they stand."""
    def model(self, descent: VectorDescent) -> NDArray[Any]:
        """The parameters of the model (length,): their averages where there are any."""
    def at_epoch(self, epoch: int, t: int) -> VectorState:
        """A copy at the start of an epoch, after t updates, without what was done of another."""
    def copy(self) -> VectorState:
        """Another state with the same bits."""

@disjoint_base
class NetworkRun:
    """A network, its rows and its state, checked and bound once; a call then costs little.

    Raises
    ------
    ValueError
        If the arrays are not what ``fastsgd.problem`` says, or the state does not fit them; from
        its methods, if the index arrays of X were changed meanwhile, which are read with care.
    """

    def __init__(
        self,
        data: Data,
        network: Network,
        descent: VectorDescent,
        state: VectorState,
        isa: str | None = None,
    ) -> None: ...
    @property
    def isa(self) -> str:
        """The instruction set of this run."""
    @property
    def draws_order(self) -> bool:
        """Whether the next call draws a part of the epoch's order instead of training."""
    @property
    def rate(self) -> float:
        """The last learning rate."""
    @property
    def clipped(self) -> bool:
        """False: no step of a network sets weights to zero."""
    @property
    def bad_row(self) -> int:
        """The row at which a DivergenceError was met."""
    def advance(self, budget: int, stop: int | None = None) -> bool:
        """Do about ``budget`` values' worth of work; whether that ended the epoch.

        Raises
        ------
        DivergenceError
            If a loss is not finite.
        """
    def gradients(self, rows: ArrayLike, *, squares: bool = False) -> tuple[NDArray[Any], ...]:
        """Gradients of the losses of rows at the last parameters.

        Returns
        -------
        sum : ndarray of shape (length,)
            sum_i s_i grad_i.
        losses : ndarray of shape (m,)
            Not multiplied by s_i; NaN of rows of weight 0.
        squares : ndarray of shape (m, layers)
            With ``squares``: |grad_i|^2 of each layer; NaN of rows of weight 0.
        """
