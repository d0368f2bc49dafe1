"""The nouns: Data, Lanes and Settings say what is trained; both the twin and the core read them.

n samples, d features, K lanes (models trained at once over the same rows). Lane k minimises

    L_k(w, b) = (1 / n_k) * sum_i s_ik * loss(x_i . w + b, y_ik)
                + alpha_k / 2 * |w|^2  +  l1_k * |w|_1  +  h_k * b

with n_k the rows of positive weight s_ik and h_k the lane's ``intercept_gradient``, which is 0
except in the one-class SVM. The fourth noun, State, is what training changes: the twin
(:mod:`fastsgd.reference`) and the core (``fastsgd._core``) each have their own.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._core import outside, take_rows
from .descent import Descent
from .losses import CompiledLoss, Loss, find
from .optimizers import OPTIMIZERS, SGD

__all__ = ["LANE_NUMBERS", "STEPS", "STORED", "Data", "Lanes", "Settings"]

STORED: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.float64): np.dtype(np.float64),
    np.dtype(np.float32): np.dtype(np.float32),
    np.dtype(np.float16): np.dtype(np.float32),
    np.dtype(np.uint8): np.dtype(np.float32),
}
"""What X may be stored in, and what it is computed in; CSR only in the first two."""

BLOCK = 1 << 18
"""Numbers of X converted at once."""


def computed_in(X: Any) -> np.dtype[Any]:
    """The dtype of weights and sums for an X that is read in place."""
    return STORED[X.dtype]


def blocks(X: Any) -> Iterator[slice]:
    """Slices of rows, of about ``BLOCK`` values each."""
    n, d = X.shape
    size = max(1, int(BLOCK / max(1.0, X.nnz / n if hasattr(X, "indptr") else d)))
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def take(X: Any, rows: Any) -> Any:
    """Rows of X, by number or as a slice: of CSR a copy that is sound, whatever becomes of X."""
    return take_rows(X, rows) if hasattr(X, "indptr") else X[rows]


def pinned(X: Any, *others: Any) -> list[Any]:
    """Weak references to arrays, those of CSR X, and those that they are views of: as long as these
    exist NumPy refuses to resize an array in place, which would free what others read."""
    arrays = [X.data, X.indices, X.indptr] if hasattr(X, "indptr") else [X]
    pins = []
    for array in (*arrays, *others):
        while isinstance(array, np.ndarray):
            pins.append(weakref.ref(array))
            array = array.base
    return pins


def _view(X: Any) -> Any:
    """The same numbers in an object of its own."""
    if isinstance(X, np.ndarray):
        return X.view()
    if not hasattr(X, "indptr"):
        return X
    view = object.__new__(type(X))  # copy.copy takes three times as long
    vars(view).update(vars(X))
    for name in ("data", "indices", "indptr"):
        array = getattr(X, name)
        if isinstance(array, np.ndarray):
            setattr(view, name, array.view())
    return view


@dataclass(frozen=True)
class Data:
    """Rows, targets and weights. Arrays of the right dtype and order are not copied.

    The features of a row are (x - offset) * scale, made anew whenever the row is read.

    The arrays are views, which keep their shape and dtype whatever becomes of the user's objects,
    and none can be resized in place while this exists (``pinned``). Values may still change under a
    run, and so may indices of CSR, which are therefore read with care: ``take``, and
    csrc/kernel/csr_rows.h.

    Attributes
    ----------
    X : ndarray, or SciPy CSR matrix or array, of shape (n, d)
        Dense in C order, of a dtype in ``STORED``; or CSR of float32 or float64.
    y : ndarray of shape (n, n_targets), of the dtype of computation
        Real targets, or the class label of each row as a number (see ``Lanes.label``).
    sample_weight : ndarray of shape (n,) or None, of the dtype of computation
        Finite and non-negative; a row of weight zero leaves every lane untouched. Denormal numbers
        are taken for zero.
    offset, scale : ndarray of shape (d,) or None, of the dtype of computation
        Finite; 0 and 1 where only the other is given. Of dense X alone.
    held_out : ndarray of shape (n,) or None, uint64
        Bit f is set in a row that is held out of split f; see ``Lanes.split``.
    checked : bool
        Whether the index arrays of CSR X are known to be sound: whoever says so has called
        ``_core.check_structure``. Otherwise the core reads them once more before a run.
    first_row : int
        Position in the epoch of the first of these rows.
    epoch_rows : int
        Rows of an epoch; 0: these are all. With more, the rows are a window of the epoch, from
        ``first_row`` on, and are trained on in the order they have (sampling "sequential") or in
        that of ``order``. Schedules, averages and histories of a fit count whole epochs. A batch
        may begin in one window and end in the next.
    order : ndarray of shape (n,) or None, int64
        Numbers of these rows, from 0, in the order in which an epoch visits them, whatever the
        sampling: those of a window that was shuffled.
    stream : Stream or None
        What has the windows of every epoch: these rows are a sample of them, by which rates are
        found and losses compared. See ``fastsgd.solver.stream``.

    Raises
    ------
    ValueError
        If a field is not what it must be; the message names it.

    See Also
    --------
    Lanes : Hyper-parameters of each lane.
    Settings : What all lanes share.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.problem import Data
    >>> data = Data(np.array([[1, 2], [3, 4]], dtype=np.uint8), np.array([0.0, 1.0]))
    >>> data.n, data.d, data.dtype, data.y.shape
    (2, 2, dtype('float32'), (2, 1))
    """

    X: Any
    y: NDArray[np.floating]
    sample_weight: NDArray[np.floating] | None = None
    offset: NDArray[np.floating] | None = None
    scale: NDArray[np.floating] | None = None
    checked: bool = False
    held_out: NDArray[np.uint64] | None = None
    first_row: int = 0
    epoch_rows: int = 0
    order: NDArray[np.int64] | None = None
    stream: Any = None

    def __post_init__(self) -> None:
        if getattr(self.X, "ndim", None) != 2:
            raise ValueError(f"X must have two dimensions, got shape {np.shape(self.X)}")
        object.__setattr__(self, "X", _view(self.X))
        n, d = self.X.shape
        if n == 0 or d == 0:
            raise ValueError(f"X must have at least one row and one feature, got shape {(n, d)}")
        if self.X.dtype not in STORED or (self.sparse and self.X.dtype != self.dtype):
            known = " or ".join(map(str, STORED)) if not self.sparse else "float64 or float32"
            raise ValueError(f"X must be {known}, got {self.X.dtype}")
        if self.epoch_rows == 0:
            object.__setattr__(self, "epoch_rows", n)
        if not 0 <= self.first_row <= self.epoch_rows - n:
            raise ValueError(
                f"first_row must be in [0, epoch_rows - {n}], got first_row={self.first_row} and "
                f"epoch_rows={self.epoch_rows}"
            )
        for name, shape in (
            ("y", (n, -1)),
            ("sample_weight", (n,)),
            ("offset", (d,)),
            ("scale", (d,)),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, self._checked(name, value, shape))
        if self.sample_weight is not None:
            object.__setattr__(self, "sample_weight", self._weights(self.sample_weight))
        if self.held_out is not None and (
            np.shape(self.held_out) != (n,) or self.held_out.dtype != np.uint64
        ):
            raise ValueError(
                f"held_out must be {n} numbers of uint64, got shape {np.shape(self.held_out)} and "
                f"dtype {getattr(self.held_out, 'dtype', None)}"
            )
        if self.order is not None:
            self._check_order()
        pins = pinned(self.X, self.y, self.sample_weight, self.held_out)
        object.__setattr__(self, "_pins", pins)
        if self.offset is None and self.scale is None:
            return
        if self.sparse:
            raise ValueError("offset and scale need dense X: an offset would make sparse X dense")
        if self.offset is None:
            object.__setattr__(self, "offset", np.zeros(d, dtype=self.dtype))
        if self.scale is None:
            object.__setattr__(self, "scale", np.ones(d, dtype=self.dtype))

    @classmethod
    def of_sound(cls, X: Any, y: NDArray[np.floating]) -> Data:
        """What ``Data(X, y, checked=True)`` gives, without a look at arrays that are known to be as
        they should be: a fifth of the time, which counts for a single row.

        Parameters
        ----------
        X : ndarray or CSR matrix or array of shape (n, d)
            Features.
        y : ndarray of shape (n,), of the dtype of computation
            Finite targets.

        Returns
        -------
        Data
        """
        if not (y.flags.c_contiguous and y.flags.aligned):
            y = np.require(y, requirements=["C", "A"])
        data = object.__new__(cls)
        X, y = _view(X), y[:, None]
        fields = {**_OF_SOUND, "X": X, "y": y, "epoch_rows": X.shape[0], "_pins": pinned(X, y)}
        vars(data).update(fields)
        return data

    def _check_order(self) -> None:
        order = self.order
        assert order is not None
        if np.shape(order) != (self.n,) or order.dtype != np.int64:
            raise ValueError(
                f"order must be {self.n} numbers of int64, got shape {np.shape(order)} and dtype "
                f"{getattr(order, 'dtype', None)}"
            )
        if not 0 <= order.min() <= order.max() < self.n:
            raise ValueError(f"order must be row numbers in [0, {self.n})")

    def _checked(self, name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
        """The array of a field, contiguous and finite; of the shape, -1 standing for any number."""
        with np.errstate(over="ignore"):  # infinity is refused below
            array = np.require(value, self.dtype, ["C", "A"]).view()
        if len(shape) == 2 and array.ndim == 1:
            array = array[:, None]
        if array.ndim != len(shape) or array.shape[0] != shape[0] or array.size == 0:
            what = f"{shape[0]} rows" if name in ("y", "sample_weight") else f"shape {shape}"
            raise ValueError(f"{name} must have {what}, got shape {np.shape(value)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity")
        return array

    def _weights(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Weights of rows; denormal numbers are zero, which the core takes them for."""
        if (weight < 0).any():
            raise ValueError("sample_weight must be non-negative")
        small = weight < np.finfo(self.dtype).tiny
        return np.where(small, 0.0, weight).astype(self.dtype) if weight[small].any() else weight

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_pins"}

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.X.shape[1])

    @property
    def end(self) -> int:
        """Position in the epoch behind the last of these rows."""
        return self.first_row + self.n

    def batches(self, batch_size: int) -> int:
        """Number of batches of an epoch.

        Parameters
        ----------
        batch_size : int
            Rows of a batch, from 1.

        Returns
        -------
        int
            The number; the last batch may be short.
        """
        return -(-self.epoch_rows // min(batch_size, self.epoch_rows))

    @property
    def is_window(self) -> bool:
        """Whether an epoch has other rows too."""
        return self.n != self.epoch_rows

    @property
    def sparse(self) -> bool:
        """Whether X is CSR."""
        return hasattr(self.X, "indptr")

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is computed in, and the dtype of everything but X."""
        return computed_in(self.X)

    def rows(self, rows: Any, dtype: DTypeLike = np.float64) -> Any:
        """Features of rows: (x - offset) * scale.

        Parameters
        ----------
        rows : array-like of int, or slice
            Numbers of the rows, of those that are here.
        dtype : dtype, default=float64
            Of the features, where they are not read as they are stored.

        Returns
        -------
        ndarray or CSR matrix or array of shape (m, d)
            The features.
        """
        X = take(self.X, rows)
        if self.offset is None or self.scale is None:
            return X.astype(dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is found by the scores
            features = np.subtract(X, self.offset, dtype=dtype)
            return np.multiply(features, self.scale, out=features)

    def largest(self) -> float:
        """Largest absolute value of all features.

        Returns
        -------
        float
            Not finite if a feature is not.
        """
        parts = (self.rows(rows, self.dtype) for rows in blocks(self.X))
        parts = (part.data if self.sparse else part for part in parts)
        return float(np.max([np.max(np.abs(part), initial=0.0) for part in parts]))


_OF_SOUND = {one.name: one.default for one in fields(Data) if one.default is not MISSING}
_OF_SOUND["checked"] = True

LANE_NUMBERS = (
    "alpha",
    "l1",
    "intercept_gradient",
    "eta0",
    "mu",
    "intercept_rate",
    "label",
    "weight_positive",
    "weight_negative",
)
"""The real numbers of a lane."""

STEPS = ("gradient", "pa1", "pa2")
"""Step rules, in the order of ``fsgd_step`` in csrc/fastsgd.h."""


_NOT_NEGATIVE = ("alpha", "l1", "mu", "intercept_rate", "weight_positive", "weight_negative")
_HIGHEST = [float(np.finfo(np.float64).max)] * len(LANE_NUMBERS)
_LOWEST = [0.0 if name in _NOT_NEGATIVE else -_HIGHEST[0] for name in LANE_NUMBERS]
_LOWEST[LANE_NUMBERS.index("eta0")] = math.nextafter(0.0, 1.0)


@dataclass(frozen=True)
class Lanes:
    """Hyper-parameters of the K lanes, linear models trained side by side on the same rows.

    A scalar counts for all lanes: it is broadcast to shape (K,).

    Attributes
    ----------
    k : int
        Number of lanes.
    alpha : ndarray of shape (K,)
        Strength of the L2 penalty, >= 0.
    l1 : ndarray of shape (K,)
        Strength of the L1 penalty, >= 0; by truncated cumulative gradients (Tsuruoka, Tsujii &
        Ananiadou, ACL 2009), which give real zeros.
    intercept_gradient : ndarray of shape (K,)
        Slope of the objective in b itself: nu in a one-class SVM.
    eta0 : ndarray of shape (K,)
        Base learning rate, > 0.
    mu : ndarray of shape (K,)
        Curvature in the "inverse" and "harmonic" schedules, >= 0.
    intercept_rate : ndarray of shape (K,)
        Part of the learning rate that b takes, >= 0.
    target : ndarray of shape (K,), int64
        Column of y that the lane learns.
    label : ndarray of shape (K,)
        With sign targets, rows whose y equals it are +1 and all others -1.
    weight_positive, weight_negative : ndarray of shape (K,)
        With sign targets, class weights of the two signs, >= 0; multiply the sample weights.
    split : ndarray of shape (K,), uint64
        The bit of the split that the lane trains on: a row whose ``Data.held_out`` has it is of
        weight zero in the lane. 0: none is.

    Raises
    ------
    ValueError
        If a number is out of range; the message names its field.

    Examples
    --------
    >>> from fastsgd.problem import Lanes
    >>> lanes = Lanes(3, alpha=[0.1, 0.01, 0.001], eta0=0.5)
    >>> lanes.eta0
    array([0.5, 0.5, 0.5])
    """

    NUMBERS: ClassVar[tuple[str, ...]] = LANE_NUMBERS

    k: int
    alpha: NDArray[np.float64]
    eta0: NDArray[np.float64]
    mu: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    target: NDArray[np.int64] = 0  # type: ignore[assignment]
    label: NDArray[np.float64] = 1.0  # type: ignore[assignment]
    weight_positive: NDArray[np.float64] = 1.0  # type: ignore[assignment]
    weight_negative: NDArray[np.float64] = 1.0  # type: ignore[assignment]
    l1: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    intercept_gradient: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    split: NDArray[np.uint64] = 0  # type: ignore[assignment]
    intercept_rate: NDArray[np.float64] = 1.0  # type: ignore[assignment]

    if TYPE_CHECKING:  # what is given is broadcast; what is there is an array

        def __init__(
            self,
            k: int,
            alpha: ArrayLike,
            eta0: ArrayLike,
            mu: ArrayLike = 0.0,
            target: ArrayLike = 0,
            label: ArrayLike = 1.0,
            weight_positive: ArrayLike = 1.0,
            weight_negative: ArrayLike = 1.0,
            l1: ArrayLike = 0.0,
            intercept_gradient: ArrayLike = 0.0,
            split: ArrayLike = 0,
            intercept_rate: ArrayLike = 1.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be >= 1, got {self.k!r}")
        fields, k = vars(self), self.k
        arrays = {name: np.empty(k) for name in LANE_NUMBERS}
        arrays |= {"target": np.empty(k, dtype=np.int64), "split": np.empty(k, dtype=np.uint64)}
        for name, array in arrays.items():
            array[:] = fields[name]
        fields.update(arrays)
        self.check()

    def unrated(self) -> Lanes:
        """The same lanes at a learning rate of 1, with all else in common.

        Returns
        -------
        Lanes
            Whose ``eta0``, ``mu`` and ``intercept_rate`` are arrays of their own.
        """
        lanes = copy.copy(self)
        object.__setattr__(lanes, "eta0", np.ones(self.k))
        object.__setattr__(lanes, "mu", np.zeros(self.k))
        object.__setattr__(lanes, "intercept_rate", np.ones(self.k))
        return lanes

    def check(self) -> None:
        """Refuse numbers out of range; to be called again after a change in place.

        Raises
        ------
        ValueError
            Naming the field, its values and what was expected.
        """
        wrong = outside([getattr(self, name) for name in LANE_NUMBERS], _LOWEST, _HIGHEST)
        if wrong >= 0:
            name = LANE_NUMBERS[wrong]
            wanted = " and >= 0" if name in _NOT_NEGATIVE else " and > 0" * (name == "eta0")
            raise ValueError(f"{name} must be finite{wanted}, got {getattr(self, name)}")
        if min(self.target.tolist()) < 0:
            raise ValueError(f"target must be >= 0, got {self.target}")


@dataclass(frozen=True)
class Settings(Descent):
    """Loss, steps, batches and order of the rows: what all lanes share.

    Attributes
    ----------
    loss : str or CompiledLoss
        A key of ``fastsgd.losses.LOSSES``, or a user's own.
    sign_targets : bool
        Turn y into -1 and +1 by ``Lanes.label`` (classification) or take it as it is.
    fit_intercept : bool
        Learn b; it is never penalised.
    loss_parameter : float
        The loss's parameter e: epsilon >= 0, or the quantile in [0, 1].
    step : str
        "gradient"; or a passive-aggressive step (Crammer et al., JMLR 2006), of single samples at a
        constant rate C = eta0, without momentum: a row's slope is then
        sign(c) min(1, loss / (C |x|^2)) ("pa1") or sign(c) loss / (C |x|^2 + 1/2) ("pa2").
    batch_size, optimizer, average, clip_norm, n_jobs, sampling, seed, schedule
        How steps are made: see :class:`fastsgd.descent.Descent`.

    Raises
    ------
    ValueError
        If a setting is out of range, or does not go with another; the message names it.

    Examples
    --------
    >>> from fastsgd.optimizers import SGD
    >>> from fastsgd.problem import Settings
    >>> settings = Settings("log_loss", sign_targets=True, optimizer=SGD(momentum=0.9))
    >>> settings.momentum, settings.width, settings.batch_size
    (0.9, 2, 1)
    """

    STEPS: ClassVar[tuple[str, ...]] = STEPS

    loss: str | CompiledLoss = "squared_error"
    sign_targets: bool = False
    fit_intercept: bool = True
    loss_parameter: float = 0.1
    step: str = "gradient"

    def __post_init__(self) -> None:
        super().__post_init__()
        loss = find(self.loss)
        kinds = {"sign"} if self.sign_targets else {"real", "count"}
        if not kinds & loss.targets:
            kind = "sign" if self.sign_targets else "real"
            raise ValueError(
                f"loss {self.loss!r} does not take {kind} targets, got sign_targets="
                f"{self.sign_targets}"
            )
        highest = 1.0 if loss.parameter == "quantile" else np.inf
        if loss.parameter and not 0.0 <= self.loss_parameter <= highest:
            raise ValueError(
                f"{loss.parameter} must be in [0, {highest}], got {self.loss_parameter!r}"
            )
        if self.step not in STEPS:
            raise ValueError(f"step must be one of {STEPS}, got {self.step!r}")
        if self.step != "gradient" and (
            self.batch_size > 1 or self.optimizer != SGD() or self.schedule.kind != "constant"
        ):
            raise ValueError(
                f"step={self.step!r} needs batch_size=1, SGD without momentum and a constant "
                f"schedule, got batch_size={self.batch_size}, optimizer={self.optimizer}, "
                f"schedule {self.schedule.kind!r}"
            )
        if self.step != "gradient" and loss.coupled:
            raise ValueError(
                f"step={self.step!r} needs a loss that does not couple lanes, got {self.loss!r}"
            )
        if self.optimizer.name not in OPTIMIZERS:
            raise ValueError(
                f"optimizer must be one of {tuple(OPTIMIZERS)} for linear models, got "
                f"{self.optimizer!r}"
            )

    @property
    def terms(self) -> Loss | CompiledLoss:
        """The loss's functions and facts."""
        return find(self.loss)

    @property
    def width(self) -> int:
        """Numbers of a weight that a linear step maps: itself, its slots, its average."""
        slots = len(self.optimizer.slots) if self.optimizer.linear else 0
        return 1 + slots + (self.average > 0)

    def vectors(self, lanes: Lanes) -> int:
        """All numbers of a weight: ``width``, and what no linear step maps.

        That is what a weight has received of an L1 penalty, or the slots of another optimizer.

        Parameters
        ----------
        lanes : Lanes
            Hyper-parameters of each lane; any L1 penalty counts.

        Returns
        -------
        int
            The number.
        """
        optimizer = self.optimizer
        return self.width + (any(lanes.l1.tolist()) if optimizer.linear else len(optimizer.slots))

    def check(self, data: Data, lanes: Lanes) -> None:
        """Refuse combinations that are not valid, such as a loss without a minimum.

        Parameters
        ----------
        data : Data
            Rows and targets.
        lanes : Lanes
            Numbers of each lane.

        Raises
        ------
        ValueError
            Naming the argument, its value and what was expected.
        """
        target = lanes.target.tolist()
        if not 0 <= min(target) <= max(target) < data.y.shape[1]:
            raise ValueError(
                f"target must be in [0, {data.y.shape[1]}), the columns of y, got {lanes.target}"
            )
        ordered = data.order is not None or data.stream is not None
        if data.is_window and self.sampling != "sequential" and not ordered:
            raise ValueError(
                "sampling must be 'sequential' where data is a window of an epoch without order, "
                f"got {self.sampling!r}"
            )
        loss = self.terms
        if loss.targets == {"count"} and (data.y < 0.0).any():
            raise ValueError(f"y must be >= 0 with loss {self.loss!r}, got {data.y.min()}")
        if loss.coupled and (lanes.k < 2 or len(np.unique(lanes.label)) < lanes.k):
            raise ValueError(
                f"loss {self.loss!r} needs a lane for each class, got label={lanes.label}"
            )
        if data.held_out is not None and (loss.coupled or lanes.k < 2):
            raise ValueError(
                "held_out needs two lanes or more, and a loss that does not couple them"
            )
        if loss.infimum == -np.inf:
            if (lanes.alpha <= 0).any():
                raise ValueError(
                    f"loss {self.loss!r} is unbounded below: without an L2 term it has no minimum. "
                    f"alpha must be > 0, got {lanes.alpha.min()}"
                )
            if self.fit_intercept:
                raise ValueError(
                    f"loss {self.loss!r} is unbounded below in the intercept, which is not "
                    "penalised: fit_intercept must be False"
                )
