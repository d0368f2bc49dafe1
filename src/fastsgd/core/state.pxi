# State: what training changes, and how it is saved, copied and read.


SAVED = ("dtype", "optimizer", "sizes", "epoch", "row", "batch_row", "batch_nnz", "pending", "sums_shared", "arrays")
cdef int64_t FOLLOWED_AHEAD = 16  # features that are fetched before their turn
OF_PENDING = "span_products", "span_steps", "step_sums"  # which say nothing where no step is pending
PER_FEATURE = "w", "last_update", "grad"  # arrays with numbers of each feature
SPANS = "span_position", "span_steps", "span_products", "last_update"  # arrays of lazy updates: kernel/spans.h,
SUMS = "step_sums", "last_update"  # kernel/l1_sums.h, kernel/adaptive.h
OTHER_DTYPES = {  # than that of the weights
    "t": np.int64, "numbers": np.float64, "last_update": np.int32, "step_sums": np.float64, "span_steps": np.float64,
    "span_products": np.float64, "span_position": np.int64,
}
NOT_NEGATIVE = (
    "average_shift", "l1_cumulative", "rate_factor", "batch_count", "row_count", "norm_sum", "norm_count", "alpha", "l1"
)


ctypedef fused index:
    int32_t
    int64_t


cdef fsgd_optimizer optimizer_code(name):
    return <fsgd_optimizer><int>list(_OPTIMIZERS).index(name)


cdef bint _is_linear(fsgd_optimizer optimizer):
    return (<type>list(_OPTIMIZERS.values())[<int>optimizer]).linear


cdef int64_t span_length(int64_t padded):
    """Most steps of a span (kernel/spans.h): their plan stays in the L2 cache."""
    return max(32, min(512, 8192 // padded))


cdef int64_t most_spans(int64_t padded):
    """Spans between flushes, which are O(d); their products stay in the L2 cache."""
    return max(32, min(256, 4096 // padded))


cdef int64_t pending_sums(int64_t d, int64_t numbers):
    """Pending steps of which sums are kept, each of so many numbers: most of them in the L2 cache."""
    cdef int64_t steps = 64
    while steps < d // 8 and steps * numbers < 1 << 17:
        steps *= 2
    return steps


cdef bint may_be_pairs(fsgd_optimizer optimizer, sizes):
    """Whether the two numbers of a feature are stored as a pair while rows are CSR: of one lane of SGD with
    momentum or averages, without L1. A step on CSR then reads a cache line of each feature instead of two."""
    cdef int64_t d, k, width, vectors
    d, k, width, vectors = sizes
    return k == 1 and width == vectors == 2 and _is_linear(optimizer)


cdef int64_t features_of_group(int64_t k, int64_t width):
    """Features that share a number of ``last_update``, with momentum and without L1: see group_shift of the core."""
    if k == 1:
        return 8 if width == 2 else 16
    return max(1, 16 // fsgd_padded_lanes(k))


cdef dict _shapes(fsgd_optimizer optimizer, sizes, bint pairs):
    """Shapes of the arrays of a state of an optimizer and of (d, K, width, vectors)."""
    cdef int64_t d, k, width, vectors, pending
    d, k, width, vectors = sizes
    padded = fsgd_padded_lanes(k)
    rows = fsgd_padded_features(d) if k == 1 else d
    linear = _is_linear(optimizer)
    spans = linear and vectors == width
    columns = 1 if not linear else 8 if width > 1 else 4
    sums = pending_sums(d, columns * padded)
    return {
        "w": (rows, 2) if pairs else (vectors, rows) if k == 1 else (d, vectors, padded),
        "intercept": (width if linear else vectors, padded), "t": (padded,), "grad_intercept": (2, padded),
        "numbers": (len(PER_LANE), -(-padded // 8) * 8), "grad": (2, rows, padded),
        "step_sums": (sums + 1, columns, padded), "last_update": (-(-d // features_of_group(k, width)) if spans else d,),
        "span_steps": (span_length(padded) + 2, 8, padded), "span_position": (2, padded),
        "span_products": (most_spans(padded), width, 2, padded),
    }


# 2**62, as a literal because Cython computes powers of literals in a C long, which overflows.
cdef _integer(name, value, lowest, highest=0x4000000000000000):
    """An integer of a saved state, in its range."""
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if isinstance(value, bool) or not lowest <= number <= highest:
        raise ValueError(
            f"a saved state must have {name} as an integer in [{lowest}, {highest}], got {value!r}"
        )
    return number


cdef _check_numbers(numbers, int64_t k):
    """Refuse numbers of lanes, by the names of PER_LANE, that no training leaves behind."""
    for name in NOT_NEGATIVE:
        if not (numbers[name] >= 0).all():  # infinite where a run diverged
            raise ValueError(f"a saved state must have {name} >= 0, got {numbers[name].min()}")
    scale, active = numbers["scale"], numbers["active"]
    if not ((scale > 0) & np.isfinite(scale)).all():
        raise ValueError(f"a saved state must have scale > 0 and finite, got {scale.min()}")
    if not np.isin(active, (0.0, 1.0)).all() or active[k:].any():
        raise ValueError("a saved state must have active 0 or 1, and 0 beyond its lanes")


cdef bint _is_lazy(data, lanes, settings):
    """Whether updates are lazy: a row's step leaves the features that the row does not have for
    later, and the state keeps what they need to catch up with the pending steps."""
    l1, l2 = lanes.l1.any(), lanes.alpha.any()
    if not data.sparse:
        return False
    if not settings.optimizer.linear:
        return settings.width == 1 and bool(l1 or l2)
    if settings.momentum > 0.0:
        return True
    return bool(l1 and (l2 or settings.average))


cdef class State:
    # The first line is the signature for ``inspect``, which leaves it out of the docstring.
    """State(data, lanes, settings)
--

    All that training changes; copies and pickles bit by bit.

    Parameters
    ----------
    data : fastsgd.problem.Data
        Rows and targets.
    lanes : fastsgd.problem.Lanes
        Numbers of each lane.
    settings : fastsgd.problem.Settings
        What all lanes share.

    Attributes
    ----------
    dtype : dtype
        What is computed in.
    t : ndarray of shape (K,), int64
        Updates done.
    active : ndarray of shape (K,)
        1, or 0 for a frozen lane; may be set.
    rate_factor : ndarray of shape (K,)
        Multiplies a lane's learning rates; may be set.
    loss_sum : ndarray of shape (K,)
        sum_i s_ik loss(z_i, y_ik) over the epoch so far, each row before its step.
    row_count : ndarray of shape (K,)
        Rows of positive weight in the epoch so far.
    norm_sum, norm_count : ndarray of shape (K,)
        Sum of |g|^2 over the epoch's measured batches, and their number.
    gradient_norm : float
        Root mean square of |g| over these batches, mean over the lanes that have any; or 0.
    epoch, row : int
        Epochs done, and rows of the running one whose update is done.
    batch_row : int
        Rows of the open batch that are accumulated.
    pending : int
        Steps that features with lazy updates have still to catch up with (CSR); with L1 alone, 1
        while truncations are pending, else 0.

    Raises
    ------
    ValueError
        If the three do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import solver
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([2.0, 0.0]))
    >>> lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings(sampling="sequential")
    >>> state = solver.State(data, lanes, settings)
    >>> state.set_weights([[1.0]], [0.5])
    >>> coef, intercept = state.last_weights()
    >>> coef, intercept, state.epoch
    (array([[1.]]), array([0.5]), 0)
    """

    cdef fsgd_state c
    cdef dict arrays
    cdef dict numbers  # views of its rows
    cdef readonly object dtype

    def __init__(self, data, lanes, settings):
        if self.arrays is not None:  # a Run may have pointers to them
            raise ValueError("State.__init__ must be called only once")
        settings.check(data, lanes)
        vectors = settings.vectors(lanes)
        optimizer = settings.optimizer
        sizes = data.d, lanes.k, settings.width, vectors
        code = optimizer_code(optimizer.name)
        pairs = data.sparse and may_be_pairs(code, sizes)
        self._allocate(data.dtype, code, sizes, settings.batch_size > 1, pairs)
        if not optimizer.linear:
            for vector, initial in zip(range(settings.width, vectors), optimizer.slots.values()):
                self.arrays["w"][(vector,) if lanes.k == 1 else (slice(None), vector)] = initial
                self.arrays["intercept"][vector] = initial
        if not data.sparse or len(data.X.data) >= data.d:  # the first epoch writes into all of it
            for array in self.arrays.values():
                touch(array)
        if _is_lazy(data, lanes, settings):
            self.allocate_pending()

    cdef _allocate(self, dtype, fsgd_optimizer optimizer, sizes, batched, bint pairs):
        cdef int64_t d, k, width, vectors
        d, k, width, vectors = sizes
        cdef int64_t padded = fsgd_padded_lanes(k)
        cdef int64_t rows = fsgd_padded_features(d) if k == 1 else d
        cdef dict shapes = _shapes(optimizer, sizes, pairs)
        self.dtype, self.c.optimizer = np.dtype(dtype), optimizer
        self.c.dtype = dtype_code(dtype)
        self.c.d, self.c.k, self.c.padded, self.c.width = d, k, padded, width
        self.c.vectors = vectors
        self._set_strides(pairs)
        self.arrays = {
            "w": aligned_zeros(shapes["w"], dtype),
            "intercept": aligned_zeros(shapes["intercept"], dtype),
            "t": aligned_zeros(shapes["t"], np.int64),
            "grad_intercept": aligned_zeros(shapes["grad_intercept"], dtype),
            "numbers": aligned_zeros(shapes["numbers"], np.float64),
        }
        if batched:
            self.arrays["grad"] = aligned_zeros(shapes["grad"], dtype)
        self._bind()
        self.arrays["numbers"][:] = np.array([*PER_LANE.values()])[:, None]
        self.numbers["active"][k:] = 0.0

    cdef _set_strides(self, bint pairs):
        cdef int64_t padded = self.c.padded, rows = fsgd_padded_features(self.c.d)
        self.c.feature_stride = self.c.vectors * padded if self.c.k > 1 else 1
        self.c.vector_stride = padded if self.c.k > 1 else rows
        if pairs:
            self.c.feature_stride, self.c.vector_stride = 2, 1

    cdef bint _has_pairs(self):
        return self.c.k == 1 and self.c.feature_stride > 1

    cdef _vectors_of_one(self):
        """A view of the vectors of one lane, (vectors, d padded)."""
        w = self.arrays["w"]
        return w.T if self._has_pairs() else w

    def lay_out(self, bint sparse):
        """Store the numbers of one lane as steps on CSR rows need them, or on dense rows, where no step is pending;
        O(d) if they are stored otherwise."""
        sizes = self.c.d, self.c.k, self.c.width, self.c.vectors
        cdef bint pairs = sparse and may_be_pairs(self.c.optimizer, sizes)
        if pairs == self._has_pairs():
            return
        old = self._vectors_of_one()
        self.arrays["w"] = aligned_zeros(_shapes(self.c.optimizer, sizes, pairs)["w"], self.dtype)
        self._set_strides(pairs)
        self._vectors_of_one()[...] = old
        self._bind()

    cdef _bind(self):
        """Point the core at the arrays; ``numbers`` has a row for each name of PER_LANE."""
        self.numbers = dict(zip(PER_LANE, self.arrays["numbers"]))
        self.c.w = pointer(self.arrays["w"])
        self.c.intercept = pointer(self.arrays["intercept"])
        self.c.t = <int64_t *>pointer(self.arrays["t"])
        self.c.grad_intercept = pointer(self.arrays["grad_intercept"])
        self.c.scale = <double *>pointer(self.numbers["scale"])
        self.c.average_shift = <double *>pointer(self.numbers["average_shift"])
        self.c.l1_cumulative = <double *>pointer(self.numbers["l1_cumulative"])
        self.c.alpha = <double *>pointer(self.numbers["alpha"])
        self.c.l1 = <double *>pointer(self.numbers["l1"])
        self.c.rate_factor = <double *>pointer(self.numbers["rate_factor"])
        self.c.norm_sum = <double *>pointer(self.numbers["norm_sum"])
        self.c.norm_count = <double *>pointer(self.numbers["norm_count"])
        self.c.active = <double *>pointer(self.numbers["active"])
        self.c.batch_count = <double *>pointer(self.numbers["batch_count"])
        self.c.loss_sum = <double *>pointer(self.numbers["loss_sum"])
        self.c.row_count = <double *>pointer(self.numbers["row_count"])
        self.c.grad = pointer(self.arrays["grad"]) if "grad" in self.arrays else NULL
        self.c.span_momentum = <double *>pointer(self.numbers["span_momentum"])
        self.c.span_average = <double *>pointer(self.numbers["span_average"])
        if "span_steps" in self.arrays:
            self.c.span_steps = <double *>pointer(self.arrays["span_steps"])
            self.c.span_products = <double *>pointer(self.arrays["span_products"])
            self.c.span_step = <int64_t *>pointer(self.arrays["span_position"])
            self.c.span_planned = self.c.span_step + self.c.padded
        if "step_sums" in self.arrays:
            self.c.step_sums = <double *>pointer(self.arrays["step_sums"])
        if "last_update" in self.arrays:
            self.c.last_update = <int32_t *>pointer(self.arrays["last_update"])

    cdef tuple _pending_arrays(self):
        """Names of the arrays of lazy updates, which `allocate_pending` adds."""
        return SPANS if _is_linear(self.c.optimizer) and self.c.vectors == self.c.width else SUMS

    def allocate_pending(self):
        """Allocate the arrays of lazy updates. They hold so many pending steps that the flush after
        the last of them, O(d), is cheap beside the steps."""
        if "last_update" in self.arrays:
            return
        sizes = self.c.d, self.c.k, self.c.width, self.c.vectors
        shapes = _shapes(self.c.optimizer, sizes, False)
        names = self._pending_arrays()
        for name in names:
            self.arrays[name] = aligned_zeros(shapes[name], OTHER_DTYPES[name])
        self.c.max_pending = shapes["span_products"][0] if names is SPANS else shapes["step_sums"][0] - 1
        self.c.span_length = span_length(self.c.padded)
        self._bind()

    # Copying and pickling: the arrays and the counters are all there is.

    def __getstate__(self):
        self._require()
        return {
            "dtype": self.dtype.str, "optimizer": list(_OPTIMIZERS)[<int>self.c.optimizer],
            "sizes": (self.c.d, self.c.k, self.c.width, self.c.vectors),
            "epoch": self.c.epoch, "row": self.c.row, "batch_row": self.c.batch_row,
            "batch_nnz": self.c.batch_nnz, "pending": self.c.pending, "sums_shared": self.c.sums_shared,
            "arrays": {name: np.array(array) for name, array in self.arrays.items()},
        }

    def __reduce__(self):
        return copyreg.__newobj__, (State,), self.__getstate__()

    def __setstate__(self, fields):
        """Take in what ``__getstate__`` gave. It comes from a file: every value is checked."""
        if self.arrays is not None:
            raise ValueError("a saved state goes into a new object only")
        if not isinstance(fields, dict) or set(fields) != set(SAVED):
            raise ValueError(f"a saved state must be a dictionary of {SAVED}")
        arrays = fields["arrays"]
        if fields["dtype"] not in ("<f4", "<f8"):
            raise ValueError(f"a saved state must be of dtype <f4 or <f8, got {fields['dtype']!r}")
        if fields["optimizer"] not in list(_OPTIMIZERS):
            raise ValueError(
                f"a saved state must be of an optimizer in {list(_OPTIMIZERS)}, got {fields['optimizer']!r}"
            )
        if not isinstance(fields["sizes"], (tuple, list)) or len(fields["sizes"]) != 4:
            raise ValueError(f"a saved state must have four sizes, got {fields['sizes']!r}")
        names = "d", "K", "width", "vectors"
        d, k, width, vectors = (
            _integer(name, size, 1, 3 if name == "width" else 4 if name == "vectors" else 2**48)
            for name, size in zip(names, fields["sizes"])
        )
        if not width <= vectors <= width + 1:
            raise ValueError(f"a saved state must have {width} or {width + 1} vectors, got {vectors}")
        if not isinstance(arrays, dict):
            raise ValueError(f"a saved state must have a dictionary of arrays, got {type(arrays)}")
        cdef fsgd_optimizer optimizer = optimizer_code(fields["optimizer"])
        dtype, batched, lazy = np.dtype(fields["dtype"]), "grad" in arrays, "last_update" in arrays
        linear = _is_linear(optimizer)
        if linear and lazy and vectors == 1:
            raise ValueError(
                "a saved state of SGD has the array last_update only with momentum or with L1, got "
                f"width {width} and {vectors} vectors"
            )
        if not linear and (vectors == width or width > 2 or lazy and width > 1):
            raise ValueError(
                "a saved state of AdaGrad must have width 1 and 2 vectors, or with averaging width 2, 3 "
                f"vectors and no array last_update, got width {width} and {vectors} vectors"
            )
        cdef bint pairs = may_be_pairs(optimizer, (d, k, width, vectors)) and (
            getattr(arrays.get("w"), "shape", None) == _shapes(optimizer, (d, k, width, vectors), True)["w"]
        )
        cdef State state = State.__new__(State)
        state._check_arrays(arrays, dtype, optimizer, (d, k, width, vectors), pairs)
        state._allocate(dtype, optimizer, (d, k, width, vectors), batched, pairs)
        if lazy:
            state.allocate_pending()
        for name, array in arrays.items():
            state.arrays[name][...] = array
        state.c.epoch = _integer("epoch", fields["epoch"], 0)
        state.c.row = _integer("row", fields["row"], 0)
        state.c.batch_row = _integer("batch_row", fields["batch_row"], 0)
        state.c.batch_nnz = _integer("batch_nnz", fields["batch_nnz"], 0)
        # Of L1 alone `pending` is 1 while truncations are pending.
        most = state.c.max_pending if lazy else linear and vectors - width
        if "span_position" in arrays:
            most -= 1  # a flush needs one more
            if may_be_pairs(optimizer, (d, k, width, vectors)) and not pairs:
                most = 0  # dense rows leave nothing pending
        sums = lazy and linear and vectors > width
        state.c.sums_shared = _integer("sums_shared", fields["sums_shared"], 0, 1 if sums else 0)
        if sums and state.c.span_momentum[0] != 0.0:
            most = fsgd_moving_steps(state.c.max_pending)
        elif state.c.sums_shared:
            most *= state.c.padded
        state.c.pending = _integer("pending", fields["pending"], 0, most)
        _check_numbers(state.numbers, k)
        if (state.arrays["t"] < 0).any():
            raise ValueError("a saved state must have t >= 0")
        if "span_position" in arrays:
            done, planned = arrays["span_position"]
            if not ((0 <= done) & (done <= planned) & (planned <= state.c.span_length)).all():
                raise ValueError("a saved state must have span_position in order and in its range")
        if lazy:
            last_update = state.arrays["last_update"]
            if not (0 <= last_update.min() and last_update.max() <= state.c.pending):
                raise ValueError(f"a saved state must have a last_update in [0, {state.c.pending}]")
        self.c, self.dtype, self.arrays = state.c, state.dtype, state.arrays
        self._bind()

    cdef _check_arrays(self, dict arrays, dtype, fsgd_optimizer optimizer, sizes, bint pairs):
        """Refuse arrays of other names, shapes or dtypes than a state of these sizes has, before
        anything is allocated for them."""
        cdef int64_t d, k, width, vectors
        d, k, width, vectors = sizes
        shapes = _shapes(optimizer, sizes, pairs)
        pending = set(SPANS if _is_linear(optimizer) and vectors == width else SUMS)
        wanted = {"w", "intercept", "t", "grad_intercept", "numbers"}
        wanted |= {"grad"} & set(arrays)
        wanted |= pending if pending & set(arrays) else set()
        if set(arrays) != wanted:
            raise ValueError(
                f"a saved state must have the arrays {sorted(wanted)}, got {sorted(map(str, arrays))}"
            )
        for name, array in arrays.items():
            right = shapes[name], np.dtype(OTHER_DTYPES.get(name, dtype))
            if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != right:
                got = getattr(array, "shape", type(array)), getattr(array, "dtype", None)
                raise ValueError(
                    f"a saved state must have {name} of shape {right[0]} and dtype {right[1]}, got "
                    f"{got[0]} and {got[1]}"
                )

    cdef _require(self):
        if self.arrays is None:
            raise ValueError("state was never initialised")

    def copy(self):
        self._require()
        cdef State state = State.__new__(State)
        state.c, state.dtype = self.c, self.dtype
        state.arrays = {}
        for name, array in self.arrays.items():
            if name in OF_PENDING and self.c.pending == 0:
                state.arrays[name] = aligned_zeros(array.shape, array.dtype)  # nothing is in it
            else:
                state.arrays[name] = aligned_copy(array)
        state._bind()
        return state

    def at_epoch(self, int64_t epoch):
        """A copy at the start of an epoch, without what was done of another."""
        cdef State state = self.copy()
        state.c.epoch, state.c.row = epoch, 0
        if state.c.batch_row > 0:
            state.clear_batch()
        return state

    def follow(self, State other not None, features, bint everywhere=False):
        """See _core.pyi."""
        self._require()
        other._require()
        mine, theirs = (
            (str(one.dtype), one.c.optimizer, one.c.d, one.c.k, one.c.width, one.c.vectors) for one in (self, other)
        )
        if mine != theirs or set(self.arrays) != set(other.arrays) or self.c.feature_stride != other.c.feature_stride:
            raise ValueError(
                "follow needs two states with the same arrays and the same (dtype, optimizer, d, K, width, vectors): "
                f"{mine}, got {theirs}"
            )
        # Of several lanes nothing says cheaply which features a flush left as they are.
        cdef bint whole = everywhere and (self.c.k > 1 or not _is_linear(self.c.optimizer))
        for name, array in other.arrays.items():
            if other.c.pending == 0 and name in OF_PENDING:  # nothing is in it, as `copy` has it
                memset(pointer(self.arrays[name]), 0, array.nbytes)
            elif whole or name not in PER_FEATURE:
                memcpy(pointer(self.arrays[name]), pointer(array), array.nbytes)
        if not whole:
            if everywhere:
                self._follow_blocks(other)
            if features.dtype == np.int32:
                self._follow(other, <int32_t *>pointer(features), len(features))
            else:
                features = np.ascontiguousarray(features, dtype=np.int64)
                self._follow(other, <int64_t *>pointer(features), len(features))
        self.c.epoch, self.c.row, self.c.batch_row = other.c.epoch, other.c.row, other.c.batch_row
        self.c.batch_nnz, self.c.rescales = other.c.batch_nnz, other.c.rescales
        self.c.pending, self.c.sums_shared = other.c.pending, other.c.sums_shared

    cdef int64_t _group(self):
        """Features that share a number of ``last_update``: with momentum, and without L1, several."""
        cdef bint spans = _is_linear(self.c.optimizer) and self.c.vectors == self.c.width
        return features_of_group(self.c.k, self.c.width) if spans and self.c.last_update != NULL else 1

    cdef _follow(self, State other, const index *features, int64_t count):
        """The numbers of these features that another state has, and of those in their groups."""
        cdef int64_t i, vector, j, at, group = self._group(), size = self.dtype.itemsize, d = self.c.d
        cdef int64_t shift = int(group).bit_length() - 1  # a division for each feature would take longer than the rest
        cdef bint one = self.c.k == 1 and self.c.feature_stride == 1  # planes
        cdef int64_t nbytes = size * (group if one else group * self.c.feature_stride)
        cdef int64_t planes = self.c.vectors if one else 1
        cdef int64_t stride = size * self.c.vector_stride, apart = size * (1 if one else self.c.feature_stride)
        cdef int64_t lost = size * (fsgd_padded_features(d) if self.c.k == 1 else d * self.c.padded)
        cdef char *mine = <char *>self.c.w
        cdef const char *theirs = <const char *>other.c.w
        cdef char *grad = <char *>self.c.grad
        with nogil:
            for i in range(count):
                for vector in range(planes if i + FOLLOWED_AHEAD < count else 0):
                    at = apart * <int64_t>features[i + FOLLOWED_AHEAD] + vector * stride
                    fsgd_prefetch(mine + at)
                    fsgd_prefetch(theirs + at)
                if not 0 <= features[i] < d:
                    continue
                j = <int64_t>features[i] >> shift << shift
                for vector in range(planes):
                    at = apart * j + vector * stride
                    if nbytes == 4:
                        (<int32_t *>(mine + at))[0] = (<const int32_t *>(theirs + at))[0]
                    elif nbytes == 8:
                        (<int64_t *>(mine + at))[0] = (<const int64_t *>(theirs + at))[0]
                    else:
                        memcpy(mine + at, theirs + at, min(nbytes, apart * (d - j)) if not one else nbytes)
                if self.c.last_update != NULL:
                    self.c.last_update[j >> shift] = other.c.last_update[j >> shift]
                if grad != NULL:
                    at = size * self.c.padded * <int64_t>features[i]
                    memcpy(grad + at, <char *>other.c.grad + at, size * self.c.padded)
                    memcpy(grad + lost + at, <char *>other.c.grad + lost + at, size * self.c.padded)

    cdef _follow_blocks(self, State other):
        """The numbers of all features of one lane that scales or lazy updates may have changed in either
        state: where weight and velocity are 0 they change nothing."""
        cdef int64_t block, part, vector, at, size = self.dtype.itemsize, stride = self.c.vector_stride * size
        cdef int64_t moving = min(2, self.c.width)  # the second may be a sum of averages, which does no harm
        cdef int64_t planes = self.c.vectors, numbers = self.c.vector_stride
        if self._has_pairs():
            moving, planes, numbers = 1, 1, 2 * fsgd_padded_features(self.c.d)
        cdef char *mine = <char *>self.c.w
        cdef const char *theirs = <const char *>other.c.w
        cdef const int64_t *a
        cdef const int64_t *b
        cdef int64_t nonzero, nbytes = 16 * size, blocks = numbers // 16
        with nogil:
            for block in range(blocks):
                at, nonzero = block * nbytes, 0
                for vector in range(moving):
                    a = <const int64_t *>(mine + at + vector * stride)
                    b = <const int64_t *>(theirs + at + vector * stride)
                    for part in range(nbytes // 8):
                        nonzero |= a[part] | b[part]
                for vector in range(planes if nonzero != 0 else 0):
                    memcpy(mine + at + vector * stride, theirs + at + vector * stride, nbytes)
        if self.c.last_update != NULL and (self.c.pending > 0 or other.c.pending > 0):  # else zeros
            array = other.arrays["last_update"]
            memcpy(self.c.last_update, pointer(array), array.nbytes)

    def put(self, State other not None, here, there):
        """Make lanes ``here`` what lanes ``there`` of another state are, and the counters too. Of
        states of several lanes, without the arrays of lazy updates."""
        if min(self.c.k, other.c.k) == 1 or "last_update" in self.arrays or "last_update" in other.arrays:
            raise ValueError("put needs two states of several lanes, without the arrays of lazy updates")
        mine, theirs = (
            (one.dtype, one.c.optimizer, one.c.d, one.c.width, one.c.vectors) for one in (self, other)
        )
        if mine != theirs or set(self.arrays) != set(other.arrays):
            raise ValueError(
                "other must have the same arrays, and the same (dtype, optimizer, d, width, vectors): "
                f"{mine}, got {theirs}"
            )
        for name, array in other.arrays.items():
            self.arrays[name][..., here] = array[..., there]
        self.c.epoch, self.c.row = other.c.epoch, other.c.row
        self.c.batch_row, self.c.batch_nnz = other.c.batch_row, other.c.batch_nnz
        self.c.pending = other.c.pending

    # What the outside reads and sets.

    @property
    def t(self):
        return self.arrays["t"][:self.c.k]

    @property
    def active(self):
        return self.numbers["active"][:self.c.k]

    @property
    def loss_sum(self):
        return self.numbers["loss_sum"][:self.c.k]

    @property
    def row_count(self):
        return self.numbers["row_count"][:self.c.k]

    @property
    def rate_factor(self):
        return self.numbers["rate_factor"][:self.c.k]

    @property
    def norm_sum(self):
        return self.numbers["norm_sum"][:self.c.k]

    @property
    def norm_count(self):
        return self.numbers["norm_count"][:self.c.k]

    @property
    def gradient_norm(self):
        cdef int64_t k, lanes = 0
        cdef double total = 0.0
        for k in range(self.c.k):
            if self.c.norm_count[k] > 0.0:
                total += sqrt(self.c.norm_sum[k] / self.c.norm_count[k])
                lanes += 1
        return total / lanes if lanes else 0.0

    @property
    def epoch(self):
        return self.c.epoch

    @property
    def row(self):
        return self.c.row

    @property
    def batch_row(self):
        return self.c.batch_row

    @property
    def is_lazy(self):
        return "last_update" in self.arrays

    @property
    def pending(self):
        return self.c.pending

    @property
    def rescales(self):
        return self.c.rescales

    cdef bint _reads_coordinates(self):
        """Whether weights of one lane are read as fast with steps pending as without: those of kernel/spans.h,
        and under L1 without momentum."""
        if self.c.k > 1 or not _is_linear(self.c.optimizer):
            return False
        return self.c.span_steps != NULL or self.c.span_momentum[0] == 0.0

    @property
    def has_pending_steps(self):
        return self.c.pending > 0 and not self._reads_coordinates()

    def clear_batch(self):
        """Forget the open batch; make room for one where there is none."""
        if "grad" not in self.arrays:
            rows = fsgd_padded_features(self.c.d) if self.c.k == 1 else self.c.d
            self.arrays["grad"] = aligned_zeros([2, rows, self.c.padded], self.dtype)
            self._bind()
        for array in (self.arrays["grad"], self.arrays["grad_intercept"], self.numbers["batch_count"]):
            array[...] = 0
        self.c.batch_row = self.c.batch_nnz = 0

    def set_weights(self, coef, intercept):
        k, d = self.c.k, self.c.d
        coef = np.broadcast_to(np.asarray(coef, dtype=self.dtype), (k, d))
        kept = self.c.width if not _is_linear(self.c.optimizer) else self.c.vectors
        w = self._vectors_of_one() if k == 1 else self.arrays["w"].swapaxes(0, 1)  # vectors first
        w[:kept] = 0
        self.arrays["intercept"][:kept] = 0
        self.numbers["scale"][:] = 1.0
        self.numbers["average_shift"][:] = self.numbers["l1_cumulative"][:] = 0.0
        self.c.pending = 0
        if "last_update" in self.arrays:
            self.arrays["last_update"][:] = 0
        if k == 1:
            w[0, :d] = coef[0]
        else:
            w[0, :, :k] = coef.T
        self.arrays["intercept"][0, :k] = intercept

    cdef int64_t _carried(self):
        """Vectors of which a mean over states is again one of a state: of SGD the weight, its velocity and
        its average; of AdaGrad all."""
        return self.c.width if _is_linear(self.c.optimizer) else self.c.vectors

    def vectors(self):
        """See _core.pyi."""
        self._require()
        if self.c.pending or (self.numbers["scale"][:self.c.k] != 1.0).any():
            raise ValueError("vectors needs a state that was flushed")
        m, k, d = self._carried(), self.c.k, self.c.d
        w = self._vectors_of_one() if k == 1 else self.arrays["w"]
        found = w[:m, None, :d] if k == 1 else w[:, :m, :k].transpose(1, 2, 0)
        return np.array(found, order="C"), self.arrays["intercept"][:m, :k].copy()

    def set_vectors(self, vectors, intercepts):
        """See _core.pyi."""
        m, k, d = self._carried(), self.c.k, self.c.d
        vectors, intercepts = np.asarray(vectors), np.asarray(intercepts)
        if vectors.shape != (m, k, d) or intercepts.shape != (m, k):
            raise ValueError(
                f"vectors and intercepts must be of shapes {(m, k, d)} and {(m, k)}, got {vectors.shape} and "
                f"{intercepts.shape}"
            )
        self.set_weights(vectors[0], intercepts[0])
        if k == 1:
            self._vectors_of_one()[:m, :d] = vectors[:, 0]
        else:
            self.arrays["w"][:, :m, :k] = vectors.transpose(2, 0, 1)
        self.arrays["intercept"][:m, :k] = intercepts

    def place(self, int64_t epoch, int64_t row):
        """See _core.pyi."""
        self._require()
        if epoch < 0 or row < 0:
            raise ValueError(f"epoch and row must be >= 0, got {epoch} and {row}")
        self.c.epoch, self.c.row = epoch, row
        if self.c.batch_row > 0:
            self.clear_batch()

    def weights(self, settings):
        return self._read(settings.average, kernels_for(None, self.c.dtype))

    def last_weights(self):
        return self._read(0, kernels_for(None, self.c.dtype))

    def intercepts(self, settings):
        """See _core.pyi."""
        self._require()
        return self._part(self.arrays["w"], 1)._read(settings.average, kernels_for(None, self.c.dtype))[1]

    def weights_at(self, settings, features):
        """See _core.pyi."""
        self._require()
        if not self.reads_few:
            raise ValueError("weights_at needs a state of one lane that reads few features: see reads_few")
        cdef int64_t m = len(features)
        if m == 0:
            return np.empty((1, 0), dtype=self.dtype), self.intercepts(settings)
        w = self.arrays["w"][features if self._has_pairs() else (slice(None), features)]
        few = self._part(np.ascontiguousarray(w), m)
        if not self._has_pairs():
            few.c.vector_stride = m
        return few._read(settings.average, kernels_for(None, self.c.dtype))

    @property
    def reads_few(self):
        """See _core.pyi."""
        return self.c.k == 1 and (
            self.c.pending == 0 or self.c.span_steps == NULL and self._reads_coordinates()
        )

    cdef State _part(self, w, int64_t d):
        """A state of d features, whose numbers are in w."""
        cdef State few = State.__new__(State)
        few.c, few.dtype = self.c, self.dtype
        few.arrays = {**self.arrays, "w": w}
        few._bind()
        few.c.d = d
        return few

    cdef _read(self, int64_t average, const fsgd_kernels *kernels):
        if self.c.k < 1:
            raise ValueError("state was never initialised")
        cdef fsgd_data data
        cdef fsgd_lanes lanes
        cdef fsgd_settings settings
        cdef fsgd_problem problem
        memset(&data, 0, sizeof(data))
        memset(&lanes, 0, sizeof(lanes))
        memset(&settings, 0, sizeof(settings))
        memset(&problem, 0, sizeof(problem))
        nothing = np.zeros(self.c.padded)
        coef = aligned_empty((self.c.k, self.c.d), self.dtype)
        touch(coef)
        intercept = np.empty(self.c.k, dtype=self.dtype)
        data.d, data.dtype, data.layout = self.c.d, self.c.dtype, FSGD_CSR32
        lanes.k, lanes.padded = self.c.k, self.c.padded
        lanes.alpha = lanes.l1 = lanes.label = lanes.weight_positive = lanes.weight_negative = <double *>pointer(nothing)
        settings.average, settings.sign_targets = average, 0
        problem.data, problem.lanes, problem.settings = &data, &lanes, &settings
        problem.state, problem.order = &self.c, NULL
        cdef void *out = pointer(coef)
        cdef void *out_intercept = pointer(intercept)
        cdef fsgd_status status
        with nogil:
            status = kernels.weights(&problem, average > 0, out, out_intercept)
        if status != FSGD_OK:
            raise MemoryError("no memory to read the weights")
        return coef, intercept


cdef double sum_of(const floating *values, int64_t n, bint squared) noexcept nogil:
    """Sum of |value|, or of value^2, in double."""
    return fsgd_kernels_for(NULL, FSGD_FLOAT32 if floating is float else FSGD_FLOAT64).sum(values, n, squared)


def row_norms(coef, bint squared):
    """Sums of |w| or of w^2 along the rows of an array (K, d) of real numbers; (K,), float64."""
    cdef int64_t k, d, row
    if not isinstance(coef, np.ndarray) or coef.ndim != 2 or coef.dtype.kind not in "biuf":
        raise ValueError(f"coef must be an array (K, d) of real numbers, got {coef!r}")
    coef = np.ascontiguousarray(coef, dtype=np.float32 if coef.dtype == np.float32 else np.float64)
    k, d = coef.shape
    sums = np.empty(k)
    cdef double *out = <double *>pointer(sums)
    cdef void *values = pointer(coef)
    cdef bint single = coef.dtype == np.float32
    for row in range(k):
        if single:
            out[row] = sum_of(<const float *>values + row * d, d, squared)
        else:
            out[row] = sum_of(<const double *>values + row * d, d, squared)
    return sums
