# VectorState: what training changes of a vector of parameters.


VECTOR_SAVED = (
    "dtype", "optimizer", "slots", "average", "length", "t", "slots_since", "epoch", "row", "batch_row", "batch_used",
    "pending", "lazy_stride", "numbers", "lazy_sums", "arrays"
)
VECTOR_NUMBERS = (
    "rate_factor", "batch_weight", "batch_loss", "objective_sum", "row_count", "norm_sum", "norm_count"
)


LAZY_ARRAYS = "products", "last_update", "touched"  # csrc/network/lazy.h
cdef int64_t LAZY_STEPS = 256  # between two flushes, which are O(d)
MAY_BE_NEGATIVE = "batch_loss", "objective_sum"


cdef class VectorState:
    # The first line is the signature for ``inspect``, which leaves it out of the docstring.
    """VectorState(length, dtype, descent)
--

    All that training changes of a vector of parameters; copies and pickles bit by bit.

    Parameters
    ----------
    length : int
        Number of parameters, a multiple of 64 bytes: see :meth:`fastsgd.network.Network.length`.
    dtype : dtype
        float32 or float64.
    descent : fastsgd.descent.VectorDescent
        How steps are made: its optimizer's slots, and averages, have their place in the state.

    Attributes
    ----------
    dtype : dtype
        What is computed in.
    length : int
        Number of parameters.
    t : int
        Updates done.
    rate_factor : float
        Multiplies the learning rates; may be set.
    objective_sum, row_count : float
        Sum over the epoch's batches so far of their objective before their step, each times its
        rows of positive weight, and the number of these rows.
    norm_sum, norm_count : float
        Sum of |g|^2 of the loss over the epoch's measured batches, and their number.
    gradient_norm : float
        Root mean square of |g| over these batches; or 0.
    epoch, row : int
        Epochs done, and rows of the running one whose update is done.
    batch_row : int
        Rows of the open batch that are accumulated.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd._core import VectorState
    >>> from fastsgd.descent import VectorDescent
    >>> state = VectorState(16, np.float32, VectorDescent())
    >>> state.set(np.arange(16.0))
    >>> state.last()[:3], state.t
    (array([0., 1., 2.], dtype=float32), 0)
    """

    cdef fsgd_vector_state c
    cdef dict arrays
    cdef readonly object dtype
    cdef bint is_grad_stale  # rows of dense X may have left something in `grad`, where none is expected of CSR
    cdef tuple kind  # name of the optimizer, number of its slots, whether there are averages

    def __init__(self, length, dtype, descent):
        if self.arrays is not None:  # a run may have pointers to them
            raise ValueError("VectorState.__init__ must be called only once")
        self._allocate(length, np.dtype(dtype), kind_of(descent))

    cdef _allocate(self, length, dtype, kind):
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype}")
        cdef int64_t size = _integer("length", length, 1, 2**40)
        if size * dtype.itemsize % 64:
            raise ValueError(f"length must be a multiple of 64 bytes, got {length} numbers of {dtype}")
        self.dtype, self.kind = dtype, kind
        self.c.dtype, self.c.length, self.c.vectors = dtype_code(dtype), size, 1 + kind[1] + kind[2]
        self.arrays = {
            "values": aligned_zeros((self.c.vectors, size), dtype), "grad": aligned_zeros(size, dtype)
        }
        for array in self.arrays.values():
            touch(array)
        self.c.rate_factor = 1.0
        self._bind()

    cdef _bind(self):
        self.c.values, self.c.grad = pointer(self.arrays["values"]), pointer(self.arrays["grad"])
        self.c.products, self.c.last_update, self.c.touched = NULL, NULL, NULL
        if "products" in self.arrays:
            self.c.products = <double *>pointer(self.arrays["products"])
            self.c.last_update = <int32_t *>pointer(self.arrays["last_update"])
            self.c.touched = <char *>pointer(self.arrays["touched"])

    cdef _require(self):
        if self.arrays is None:
            raise ValueError("state was never initialised")

    cdef _be_lazy(self, int64_t rows, int64_t stride):
        """Take the steps of the first layer's weights lazily from now on, or (0, 0) no longer."""
        if (self.c.lazy_rows, self.c.lazy_stride) == (rows, stride):
            return
        self._flush()
        for name in LAZY_ARRAYS:
            self.arrays.pop(name, None)
        if rows > 0:
            self._allocate_lazy(rows, stride)
            self.arrays["touched"][:] = self.c.batch_row > 0  # whichever the open batch has
        else:
            self.c.lazy_rows = self.c.lazy_stride = self.c.max_pending = 0
            self.c.lazy_sums[0] = self.c.lazy_sums[1] = self.c.lazy_sums[2] = 0.0
            self._bind()
        self._flush()  # finds the sums

    cdef _allocate_lazy(self, int64_t rows, int64_t stride):
        self.arrays["products"] = np.zeros((LAZY_STEPS + 1, 4))
        self.arrays["products"][0] = 1.0, 0.0, 0.0, 1.0
        self.arrays["last_update"] = aligned_zeros(rows, np.int32)
        self.arrays["touched"] = aligned_zeros(rows, np.int8)
        self.c.lazy_rows, self.c.lazy_stride, self.c.max_pending = rows, stride, LAZY_STEPS
        self._bind()

    cdef _flush(self):
        """Bring every parameter up to date."""
        cdef const fsgd_network_kernels *kernels = network_kernels_for(None, self.c.dtype)
        with nogil:
            kernels.flush(&self.c)

    cdef VectorState _flushed(self):
        """A state with the same parameters of which no step is pending: itself, if it is one."""
        self._require()
        if self.c.pending == 0:
            return self
        cdef VectorState state = self.copy()
        state._flush()
        return state

    # Copying and pickling: the arrays and the numbers are all there is.

    def __getstate__(self):
        self._require()
        name, slots, average = self.kind
        return {
            "dtype": self.dtype.str, "optimizer": name, "slots": slots, "average": average,
            "length": self.c.length, "t": self.c.t, "slots_since": self.c.slots_since,
            "epoch": self.c.epoch, "row": self.c.row,
            "batch_row": self.c.batch_row, "batch_used": self.c.batch_used, "pending": self.c.pending,
            "lazy_stride": self.c.lazy_stride,
            "lazy_sums": (self.c.lazy_sums[0], self.c.lazy_sums[1], self.c.lazy_sums[2]),
            "numbers": {
                "rate_factor": self.c.rate_factor, "batch_weight": self.c.batch_weight,
                "batch_loss": self.c.batch_loss, "objective_sum": self.c.objective_sum,
                "row_count": self.c.row_count, "norm_sum": self.c.norm_sum, "norm_count": self.c.norm_count,
            },
            "arrays": {name: np.array(array) for name, array in self.arrays.items()},
        }

    def __reduce__(self):
        return copyreg.__newobj__, (VectorState,), self.__getstate__()

    def __setstate__(self, fields):
        """Take in what ``__getstate__`` gave. It comes from a file: every value is checked."""
        if self.arrays is not None:
            raise ValueError("a saved state goes into a new object only")
        if not isinstance(fields, dict) or set(fields) != set(VECTOR_SAVED):
            raise ValueError(f"a saved state must be a dictionary of {VECTOR_SAVED}")
        name, numbers, arrays = fields["optimizer"], fields["numbers"], fields["arrays"]
        if fields["dtype"] not in ("<f4", "<f8"):
            raise ValueError(f"a saved state must be of dtype <f4 or <f8, got {fields['dtype']!r}")
        if not isinstance(name, str) or name not in _VECTOR_OPTIMIZERS:
            raise ValueError(f"a saved state must be of an optimizer in {list(_VECTOR_OPTIMIZERS)}, got {name!r}")
        fewest, most = (0, 1) if name == "sgd" else (2, 2)
        slots = _integer("slots", fields["slots"], fewest, most)
        if not isinstance(fields["average"], bool):
            raise ValueError(f"a saved state must have average as a bool, got {fields['average']!r}")
        length, dtype = _integer("length", fields["length"], 1, 2**40), np.dtype(fields["dtype"])
        kinds = {"values": ((1 + slots + fields["average"], length), dtype), "grad": ((length,), dtype)}
        if isinstance(arrays, dict) and "last_update" in arrays and name == "sgd" and not fields["average"]:
            rows = max(1, np.size(arrays["last_update"]))
            kinds |= {
                "products": ((LAZY_STEPS + 1, 4), np.dtype(np.float64)),
                "last_update": ((rows,), np.dtype(np.int32)), "touched": ((rows,), np.dtype(np.int8)),
            }
        if not isinstance(arrays, dict) or set(arrays) != set(kinds):
            raise ValueError(f"a saved state must have the arrays {list(kinds)}")
        for which, array in arrays.items():
            got = getattr(array, "shape", type(array)), getattr(array, "dtype", None)
            if not isinstance(array, np.ndarray) or got != kinds[which]:
                raise ValueError(
                    f"a saved state must have {which} of shape {kinds[which][0]} and dtype {kinds[which][1]}, got "
                    f"{got[0]} and {got[1]}"
                )
        sums = fields["lazy_sums"]
        if not isinstance(sums, tuple) or [type(number) for number in sums] != [float] * 3:
            raise ValueError(f"a saved state must have three floats lazy_sums, got {sums!r}")
        if not isinstance(numbers, dict) or set(numbers) != set(VECTOR_NUMBERS):
            raise ValueError(f"a saved state must have the numbers {VECTOR_NUMBERS}")
        for which, number in numbers.items():
            if not isinstance(number, float) or not (which in MAY_BE_NEGATIVE or number >= 0.0):
                raise ValueError(f"a saved state must have {which} as a float >= 0, got {number!r}")
        cdef VectorState state = VectorState.__new__(VectorState)
        state._allocate(length, dtype, (name, slots, fields["average"]))
        pending = _integer("pending", fields["pending"], 0, LAZY_STEPS - 1 if "last_update" in arrays else 0)
        if "last_update" in arrays:
            rows, stride = len(arrays["last_update"]), _integer("lazy_stride", fields["lazy_stride"], 1, length)
            if (rows + 1) * stride > length or stride * dtype.itemsize % 64:
                raise ValueError(f"a saved state must have a lazy_stride that fits its length, got {stride}")
            last_update = arrays["last_update"]
            if not (0 <= last_update.min() and last_update.max() <= pending):
                raise ValueError(f"a saved state must have a last_update in [0, {pending}]")
            state._allocate_lazy(rows, stride)
        state.c.pending = pending
        state.c.lazy_sums[0], state.c.lazy_sums[1], state.c.lazy_sums[2] = sums
        for which, array in arrays.items():
            state.arrays[which][...] = array
        state.c.t, state.c.epoch = _integer("t", fields["t"], 0), _integer("epoch", fields["epoch"], 0)
        state.c.slots_since = _integer("slots_since", fields["slots_since"], 0, state.c.t)
        state.c.row, state.c.batch_row = _integer("row", fields["row"], 0), _integer("batch_row", fields["batch_row"], 0)
        state.c.batch_used = _integer("batch_used", fields["batch_used"], 0, state.c.batch_row)
        state.c.rate_factor, state.c.batch_weight = numbers["rate_factor"], numbers["batch_weight"]
        state.c.batch_loss, state.c.objective_sum = numbers["batch_loss"], numbers["objective_sum"]
        state.c.row_count = numbers["row_count"]
        state.c.norm_sum, state.c.norm_count = numbers["norm_sum"], numbers["norm_count"]
        self.c, self.dtype, self.kind, self.arrays = state.c, state.dtype, state.kind, state.arrays
        self.is_grad_stale = True
        self._bind()

    def copy(self):
        self._require()
        cdef VectorState state = VectorState.__new__(VectorState)
        state.c, state.dtype, state.kind, state.is_grad_stale = self.c, self.dtype, self.kind, self.is_grad_stale
        state.arrays = {name: aligned_copy(array) for name, array in self.arrays.items()}
        state._bind()
        return state

    def at_epoch(self, int64_t epoch, int64_t t):
        """A copy at the start of an epoch, after so many updates, without what was done of another."""
        cdef VectorState state = self.copy()
        state.c.slots_since += t - state.c.t
        state.c.t, state.c.epoch, state.c.row = t, epoch, 0
        if state.c.batch_row > 0:
            state.arrays["grad"][:] = 0
            if state.c.lazy_rows:
                state.arrays["touched"][:] = 0
            state.c.batch_row = state.c.batch_used = 0
            state.c.batch_weight = state.c.batch_loss = 0.0
        return state

    # What the outside reads and sets.

    def set(self, theta):
        """New parameters; slots and averages begin afresh."""
        self._require()
        theta = np.asarray(theta)
        if theta.shape != (self.c.length,):
            raise ValueError(f"theta must be of shape {(self.c.length,)}, got {theta.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            self.arrays["values"][0] = theta
        self.arrays["values"][1:] = 0
        self.c.pending, self.c.slots_since = 0, self.c.t
        if self.c.lazy_rows:
            self.arrays["last_update"][:] = 0
            self._flush()  # finds the sums
        if self.kind[2]:
            self.arrays["values"][-1] = self.arrays["values"][0]

    def last(self):
        return self._flushed().arrays["values"][0].copy()

    def model(self, descent):
        self._require()
        if not (self.kind[2] and 0 < descent.average <= self.c.t):
            return self.last()
        return self.arrays["values"][-1].copy()

    @property
    def length(self):
        return self.c.length

    @property
    def t(self):
        return self.c.t

    @property
    def epoch(self):
        return self.c.epoch

    @property
    def row(self):
        return self.c.row

    @property
    def pending(self):
        return self.c.pending

    @property
    def batch_row(self):
        return self.c.batch_row

    @property
    def objective_sum(self):
        return self.c.objective_sum

    @property
    def row_count(self):
        return self.c.row_count

    @property
    def norm_sum(self):
        return self.c.norm_sum

    @property
    def norm_count(self):
        return self.c.norm_count

    @property
    def gradient_norm(self):
        return sqrt(self.c.norm_sum / self.c.norm_count) if self.c.norm_count > 0.0 else 0.0

    @property
    def rate_factor(self):
        return self.c.rate_factor

    @rate_factor.setter
    def rate_factor(self, double value):
        if not 0.0 <= value < INFINITY:
            raise ValueError(f"rate_factor must be finite and >= 0, got {value}")
        self.c.rate_factor = value


cdef tuple kind_of(descent):
    """What a state has to have for a descent."""
    optimizer = descent.optimizer
    if optimizer.name not in _VECTOR_OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {list(_VECTOR_OPTIMIZERS)}, got {optimizer!r}")
    return optimizer.name, len(optimizer.slots), descent.average > 0
