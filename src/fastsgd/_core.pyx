"""The door to the C core: arrays become structs, one call runs without the GIL, a status becomes an
exception. ``_core.pyi`` documents the interface; nothing here computes but what an epoch's end
shows, where NumPy's calls would cost more than a small epoch.
"""

import copyreg
import math
import operator
import os

import numpy as np
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.math cimport fabs, isnan, sqrt
from libc.string cimport memcpy, memset

from .exceptions import DivergenceError
from .optimizers import OPTIMIZERS
from .losses import LOSSES, CompiledLoss
from .sampling import BLOCK_ROWS, SAMPLINGS
from .schedules import SCHEDULES

cdef int64_t SCATTERED = 1 << 18  # values that go into as many places between two looks at signals
cdef int64_t CHECKED = 1 << 21  # numbers of a sparse structure that are read between two looks at signals
cdef int64_t COORDINATES = 1 << 22  # of COO, between two looks at signals
cdef int64_t ORDER_ROWS = 1 << 17  # rows of an order drawn in one call: about 1 ms
cdef int64_t RATE_BATCHES = 256    # batches whose rates a user's schedule is asked for at a time
cdef int64_t PAGE = 1 << 12, HUGE_PAGE = 1 << 21, HUGE_FROM = 1 << 22  # bytes; smaller arrays gain nothing
cdef double SMALLEST = np.finfo(np.float64).tiny  # kernels take smaller divisors for 0
PER_LANE = {  # numbers of a state for each lane, and what they start from; rows of one array
    "scale": 1.0, "l1_cumulative": 0.0, "rate_factor": 1.0, "active": 1.0, "batch_count": 0.0,
    "loss_sum": 0.0, "row_count": 0.0, "norm_sum": 0.0, "norm_count": 0.0, "alpha": 0.0, "l1": 0.0,
}

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/mman.h>
    static void fsgd_advise_huge(void *start, size_t bytes) {
        madvise(start, bytes, MADV_HUGEPAGE); /* advice: no harm where it is not taken */
    }
    #else
    static void fsgd_advise_huge(void *start, size_t bytes) { (void)start, (void)bytes; }
    #endif
    """
    void fsgd_advise_huge(void *start, size_t nbytes)


cdef void *pointer(array) except? NULL:
    """Where an array's numbers lie; a quarter of the time that ``array.ctypes.data`` takes."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    cdef void *start = view.buf
    PyBuffer_Release(&view)
    return start


cdef fsgd_dtype dtype_code(dtype):
    return FSGD_FLOAT32 if dtype == np.float32 else FSGD_FLOAT64


cdef fsgd_stored stored_code(dtype):
    if dtype == np.float16:
        return FSGD_FLOAT16
    return FSGD_UINT8 if dtype == np.uint8 else FSGD_REAL


cdef _aligned(make, int64_t nbytes):
    """Bytes that ``make`` makes, on a 64-byte boundary; large ones on huge pages, if Linux has them."""
    cdef int64_t boundary = 64 if nbytes < HUGE_FROM else HUGE_PAGE
    raw = make(nbytes + boundary, dtype=np.uint8)
    start = -raw.ctypes.data % boundary
    raw = raw[start:start + nbytes]
    if nbytes >= HUGE_FROM:
        fsgd_advise_huge(pointer(raw), nbytes)
    return raw


cdef touch(array):
    """Have the system make the pages of a large new array, which takes longer than what is written
    into them, in parts that Ctrl-C can end: a call of the core must not wait for all of them."""
    if array.nbytes >= HUGE_FROM:
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.nbytes, 4 * HUGE_PAGE):
            flat[start:start + 4 * HUGE_PAGE:PAGE] = 0
            PyErr_CheckSignals()


def aligned_zeros(shape, dtype):
    """Zeros on a 64-byte boundary; vectors that straddle cache lines cost up to 35 %."""
    count = math.prod(shape) if isinstance(shape, (list, tuple)) else int(shape)
    return _aligned(np.zeros, count * np.dtype(dtype).itemsize).view(dtype).reshape(shape)


def aligned_copy(array):
    """The same numbers on a 64-byte boundary."""
    copy = _aligned(np.empty, array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


# ---------------------------------------------------------------- instruction sets


def isas():
    """Names of the compiled instruction sets that this machine supports, best last."""
    names, i = [], 0
    while fsgd_isas()[i] != NULL:
        if fsgd_isa_supported(fsgd_isas()[i]):
            names.append(fsgd_isas()[i].decode())
        i += 1
    return tuple(names)


cdef const fsgd_kernels *kernels_for(name, fsgd_dtype dtype) except NULL:
    """The kernels of a name for a type; of FASTSGD_ISA, or the machine's best, for None."""
    cdef const fsgd_kernels *kernels
    asked = name if name is not None else os.environ.get("FASTSGD_ISA") or None
    if asked is None:
        kernels = fsgd_kernels_for(NULL, dtype)
    else:
        kernels = fsgd_kernels_for(asked.encode(), dtype)
    if kernels == NULL:
        source = "FASTSGD_ISA" if name is None else "isa"
        raise ValueError(
            f"{source}={asked!r} is not an instruction set of this build and machine; "
            f"there are {', '.join(isas())}"
        )
    return kernels


def isa():
    """The instruction set in use: FASTSGD_ISA, or the best of this machine."""
    return kernels_for(None, FSGD_FLOAT32).isa.decode()


def loss_infos():
    """What the core knows of its losses, in its order: (name, smoothness, infimum, targets, coupled)."""
    cdef fsgd_loss_info info
    cdef int i
    infos = []
    for i in range(<int>FSGD_N_LOSSES):
        info = fsgd_losses[i]
        targets = {"real"} if info.takes_real else set()
        targets |= {"sign"} if info.takes_sign else set()
        targets |= {"count"} if info.takes_count else set()
        infos.append((
            info.name.decode(), info.smoothness, info.infimum, frozenset(targets), bool(info.coupled)
        ))
    return tuple(infos)


cdef fsgd_loss_spec loss_spec(loss, double parameter):
    """The loss of a name, or a user's own, for the core."""
    cdef fsgd_loss_spec spec
    spec.kind, spec.parameter = FSGD_COMPILED, parameter
    spec.value = spec.slope = NULL
    if isinstance(loss, CompiledLoss):
        spec.value = <fsgd_loss_function><uintptr_t>loss.value_address
        spec.slope = <fsgd_loss_function><uintptr_t>loss.slope_address
    else:
        spec.kind = <fsgd_loss><int>list(LOSSES).index(loss)
    return spec


def loss_at(loss, z, y, *, parameter=0.1, slope=False, isa=None):
    """Value or slope of an uncoupled loss, elementwise over two arrays of one dtype, by the core."""
    cdef fsgd_loss_spec spec = loss_spec(loss, parameter)
    if spec.kind == FSGD_SOFTMAX:
        raise ValueError("the softmax is a loss of whole rows")
    z = np.ascontiguousarray(z)
    y = np.ascontiguousarray(y, dtype=z.dtype)
    if z.shape != y.shape or z.dtype not in (np.float32, np.float64):
        raise ValueError(f"z and y must be float32 or float64 of one shape, got {z.shape}, {y.shape}")
    out = np.empty_like(z)
    kernels_for(isa, dtype_code(z.dtype)).loss(
        &spec, slope, z.size, pointer(z), pointer(y), pointer(out)
    )
    return out


# ---------------------------------------------------------------- sparse structure


def _check_coordinates(X):
    """The same for COO: both coordinates in range."""
    for name, coordinates, size in (("row", X.row, X.shape[0]), ("col", X.col, X.shape[1])):
        if len(coordinates) != len(X.data):
            raise ValueError(f"X.{name} must have {len(X.data)} entries, got {len(coordinates)}")
        for start in range(0, len(coordinates), COORDINATES):
            part = coordinates[start:start + COORDINATES]
            if not (0 <= part.min() and part.max() < size):
                raise ValueError(f"X.{name} holds an index that is not in [0, {size})")


def _check_lists(X):
    """The same for LIL: as many columns as values in every row, all in range."""
    for row, (columns, values) in enumerate(zip(X.rows, X.data)):
        if row & 0xfff == 0:
            PyErr_CheckSignals()
        if len(columns) != len(values):
            raise ValueError(f"X.rows[{row}] must have {len(values)} entries, got {len(columns)}")
        if columns and not (0 <= min(columns) and max(columns) < X.shape[1]):
            raise ValueError(f"X.rows[{row}] holds an index that is not in [0, {X.shape[1]})")


def _check_diagonals(X):
    if X.data.ndim != 2 or X.offsets.shape != X.data.shape[:1]:
        raise ValueError(f"X.offsets must have {len(X.data)} entries, got {X.offsets.shape}")


def check_structure(X):
    """See _core.pyi."""
    cdef fsgd_data c
    if len(X.shape) != 2:
        raise ValueError(f"X must have two dimensions, got shape {X.shape}")
    checks = {"coo": _check_coordinates, "lil": _check_lists, "dia": _check_diagonals}
    if X.format in checks:
        return checks[X.format](X)
    if X.format not in ("csr", "csc", "bsr"):
        return None  # dok is a dictionary: nothing to follow out of bounds
    arrays = X.data, X.indices, X.indptr
    for name, array in zip(("data", "indices", "indptr"), arrays):
        blocks = name == "data" and X.format == "bsr"
        if not isinstance(array, np.ndarray) or (array.ndim != 1 and not blocks):
            raise ValueError(f"X.{name} must be a one-dimensional array")
    if X.indices.dtype not in (np.int32, np.int64) or X.indices.dtype != X.indptr.dtype:
        raise ValueError(
            "X.indices and X.indptr must both be int32 or both int64, got "
            f"{X.indices.dtype} and {X.indptr.dtype}"
        )
    memset(&c, 0, sizeof(c))
    c.n, c.d = X.shape[::-1] if X.format == "csc" else X.shape
    if X.format == "bsr":
        if X.data.ndim != 3 or 0 in X.data.shape[1:]:
            raise ValueError(f"X.data must hold blocks, got shape {X.data.shape}")
        c.n, c.d = c.n // X.data.shape[1], c.d // X.data.shape[2]
    if len(X.indptr) != c.n + 1:
        raise ValueError(f"X.indptr must have {c.n + 1} entries, got {len(X.indptr)}")
    c.nnz = len(X.data)
    if len(X.indices) != c.nnz:
        raise ValueError(f"X.indices must be as long as X.data, {c.nnz}, got {len(X.indices)}")
    c.layout = FSGD_CSR32 if X.indices.dtype == np.int32 else FSGD_CSR64
    indices, indptr = np.ascontiguousarray(X.indices), np.ascontiguousarray(X.indptr)
    c.indices, c.indptr = pointer(indices), pointer(indptr)
    return check_rows(&c, X.format) ^ check_indices(&c, X.format)


cdef uint64_t check_rows(fsgd_data *c, form) except? 0:
    """Check ``indptr``, find the longest row; a fingerprint."""
    cdef int64_t start = 0, stop = 0, where = -1
    cdef uint64_t print_ = 1
    cdef fsgd_status status = FSGD_OK
    c.longest = 0
    while status == FSGD_OK and (start < c.n or stop == 0):
        stop = max(1, min(start + CHECKED, c.n)) if c.n > 0 else 0
        with nogil:
            status = fsgd_check_rows(c, start, stop, &print_, &c.longest, &where)
        PyErr_CheckSignals()
        start = stop
        if c.n == 0:
            break
    if status != FSGD_OK:
        raise ValueError(
            f"X is not a valid {form.upper()} matrix: at row {where}, indptr does not rise from 0 to "
            f"{c.nnz}"
        )
    return print_


cdef uint64_t check_indices(fsgd_data *c, form) except? 0:
    """Check ``indices``; a fingerprint."""
    cdef int64_t start = 0, stop, where = -1
    cdef uint64_t print_ = 2
    cdef fsgd_status status
    while start < c.nnz:
        stop = min(start + CHECKED, c.nnz)
        with nogil:
            status = fsgd_check_indices(c, start, stop, &print_, &where)
        PyErr_CheckSignals()
        if status != FSGD_OK:
            raise ValueError(
                f"X is not a valid {form.upper()} matrix: the index of value {where} is not in [0, "
                f"{c.d})"
            )
        start = stop
    return print_


CHANGED = "X changed while it was trained on: its indices or indptr are not what they were"


def take_rows(X, rows):
    """Rows of CSR X, by number or as a slice, as a matrix of its own with sound indices, whatever
    others do with X at the same time."""
    cdef int64_t row, begin, count, size, index_size, part, done = 0, m
    indices, indptr, data = X.indices, X.indptr, X.data
    n, d = X.shape
    rows = np.arange(*rows.indices(n)) if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
    starts = indptr[rows].astype(np.int64)
    counts = indptr[rows + 1].astype(np.int64) - starts
    if not ((starts >= 0).all() and (counts >= 0).all() and (starts <= len(data) - counts).all()):
        raise ValueError(CHANGED)
    m = len(rows)
    some_indptr = np.append(0, np.cumsum(counts))
    some_data = np.empty(some_indptr[m], dtype=data.dtype)
    some_indices = np.empty(some_indptr[m], dtype=indices.dtype)
    data, indices = np.ascontiguousarray(data), np.ascontiguousarray(indices)
    size, index_size = data.itemsize, indices.itemsize
    cdef const char *from_data = <const char *>pointer(data)
    cdef const char *from_indices = <const char *>pointer(indices)
    cdef char *to_data = <char *>pointer(some_data)
    cdef char *to_indices = <char *>pointer(some_indices)
    cdef const int64_t *starts_ = <const int64_t *>pointer(starts)
    cdef const int64_t *counts_ = <const int64_t *>pointer(counts)
    for row in range(m):
        begin, count = starts_[row], counts_[row]
        while count > 0:
            part = min(count, CHECKED)
            memcpy(to_data + done * size, from_data + begin * size, part * size)
            memcpy(to_indices + done * index_size, from_indices + begin * index_size, part * index_size)
            done, begin, count = done + part, begin + part, count - part
            if part == CHECKED:
                PyErr_CheckSignals()
    if done and not (0 <= some_indices.min() and some_indices.max() < d):
        raise ValueError(CHANGED)
    wide = np.int64 if done > np.iinfo(indptr.dtype).max else indptr.dtype
    some = type(X)((m, d), dtype=data.dtype)
    some.data, some.indices = some_data, some_indices.astype(wide, copy=False)
    some.indptr = some_indptr.astype(wide, copy=False)
    return some


ctypedef fused index_t:
    int32_t
    int64_t

ctypedef fused word_t:  # a value, whatever it means
    uint32_t
    uint64_t


cdef bint _count_rows(const index_t *rows, int64_t count, int64_t n, index_t *next_) noexcept nogil:
    """Count the values of each row r in next_[r + 1]; whether all rows are in [0, n)."""
    cdef int64_t p
    for p in range(count):
        if rows[p] < 0 or rows[p] >= n:
            return False
        next_[rows[p] + 1] += 1
    return True


cdef bint _to_rows(const index_t *column_starts, const index_t *rows, const word_t *values,
                   int64_t start, int64_t stop, int64_t n, int64_t nnz, int64_t *column,
                   index_t *next_, index_t *indices, word_t *data) noexcept nogil:
    """Put values start to stop of CSC where they belong in CSR; whether all belong somewhere."""
    cdef int64_t p, row, to
    for p in range(start, stop):
        while p >= column_starts[column[0] + 1]:
            column[0] += 1
        row = rows[p]
        if row < 0 or row >= n:
            return False
        to = next_[row]
        if to < 0 or to >= nnz:
            return False
        next_[row] += 1
        indices[to], data[to] = <index_t>column[0], values[p]
    return True


cdef _csr_arrays(X, values, index_t kind, word_t word):
    """See csr_arrays; ``kind`` and ``word`` say which types."""
    cdef int64_t n, d, nnz, start, stop, column = 0
    cdef bint sound = True
    n, d = X.shape
    nnz = len(values)
    column_starts = np.array(X.indptr)  # a copy, which nobody changes
    rows = np.ascontiguousarray(X.indices)
    if not (column_starts[0] == 0 and column_starts[d] == nnz == len(rows)
            and (column_starts[:-1] <= column_starts[1:]).all()):
        raise ValueError(CHANGED)
    next_, indices = np.zeros(n + 1, dtype=rows.dtype), np.empty(nnz, dtype=rows.dtype)
    data = np.empty(nnz, dtype=values.dtype)
    for array in (next_, indices, data):
        touch(array)
    cdef const index_t *starts_ = <const index_t *>pointer(column_starts)
    cdef const index_t *rows_ = <const index_t *>pointer(rows)
    cdef const word_t *values_ = <const word_t *>pointer(values)
    cdef index_t *to_next = <index_t *>pointer(next_)
    cdef index_t *to_indices = <index_t *>pointer(indices)
    cdef word_t *to_data = <word_t *>pointer(data)
    for start in range(0, nnz, SCATTERED):
        stop = min(start + SCATTERED, nnz)
        with nogil:
            sound = _count_rows(rows_ + start, stop - start, n, to_next)
        if not sound:
            raise ValueError(CHANGED)
        PyErr_CheckSignals()
    for start in range(1, n + 1, CHECKED):
        part = next_[start - 1:start + CHECKED]
        np.cumsum(part, out=part)
    indptr = next_.copy()
    for start in range(0, nnz, SCATTERED):
        stop = min(start + SCATTERED, nnz)
        with nogil:
            sound = _to_rows(
                starts_, rows_, values_, start, stop, n, nnz, &column, to_next, to_indices, to_data
            )
        if not sound:
            raise ValueError(CHANGED)
        PyErr_CheckSignals()
    return data, indices, indptr


def csr_arrays(X, dtype):
    """Values, in ``dtype`` (float32 or float64), indices and indptr of CSR, of CSR or CSC X; work
    that Ctrl-C ends soon, unlike SciPy's."""
    values = np.ascontiguousarray(X.data)
    if values.dtype != dtype:
        values = np.empty(len(X.data), dtype=dtype)
        for start in range(0, len(values), CHECKED):
            values[start:start + CHECKED] = X.data[start:start + CHECKED]
    if X.format == "csr":
        return values, X.indices, X.indptr
    if X.indices.dtype == np.int32:
        if values.itemsize == 4:
            return _csr_arrays(X, values, <int32_t>0, <uint32_t>0)
        return _csr_arrays(X, values, <int32_t>0, <uint64_t>0)
    if values.itemsize == 4:
        return _csr_arrays(X, values, <int64_t>0, <uint32_t>0)
    return _csr_arrays(X, values, <int64_t>0, <uint64_t>0)


cdef double _part_of_square(const floating *x, const index_t *indices, int64_t count, int64_t d,
                            bint *rises) noexcept nogil:
    """Sum of squares of values whose features must rise; the feature of the last comes first of
    the next part."""
    cdef int64_t p
    cdef bint falls = False
    for p in range(1, count):
        falls |= indices[p - 1] >= indices[p]
    if falls:
        rises[0] = False
    return sum_of(x, count, True)


cdef double _square_of_long(const floating *x, const index_t *indices, int64_t count, int64_t d,
                            bint *rises) except -1:
    cdef int64_t start, stop
    cdef double total = 0.0
    for start in range(0, count, CHECKED):
        stop = min(start + CHECKED, count)
        with nogil:
            total += _part_of_square(x + start, indices + start, stop - start, d, rises)
        if start > 0 and indices[start - 1] >= indices[start]:
            rises[0] = False
        PyErr_CheckSignals()
    return total


def row_square(X, int64_t row):
    """|x|^2 of a row of CSR X, long as it may be, without a copy unless it has a feature twice."""
    indices, indptr, data = X.indices, X.indptr, X.data
    cdef int64_t begin = indptr[row], end = indptr[row + 1], d = X.shape[1]
    cdef bint rises = True
    cdef double square
    if not 0 <= begin <= end <= min(len(data), len(indices)):
        raise ValueError(CHANGED)
    indices, data = np.ascontiguousarray(indices[begin:end]), np.ascontiguousarray(data[begin:end])
    cdef void *x = pointer(data)
    cdef void *columns = pointer(indices)
    if data.dtype == np.float32:
        if indices.dtype == np.int32:
            square = _square_of_long(<float *>x, <int32_t *>columns, end - begin, d, &rises)
        else:
            square = _square_of_long(<float *>x, <int64_t *>columns, end - begin, d, &rises)
    elif indices.dtype == np.int32:
        square = _square_of_long(<double *>x, <int32_t *>columns, end - begin, d, &rises)
    else:
        square = _square_of_long(<double *>x, <int64_t *>columns, end - begin, d, &rises)
    if rises:
        return square
    part = take_rows(X, [row])
    part.sum_duplicates()
    return float(np.square(part.data, dtype=np.float64).sum())


# ---------------------------------------------------------------- state


SAVED = ("dtype", "optimizer", "sizes", "epoch", "row", "batch_row", "batch_nnz", "pending", "arrays")
NOT_NEGATIVE = (
    "l1_cumulative", "rate_factor", "batch_count", "row_count", "norm_sum", "norm_count", "alpha", "l1"
)


cdef fsgd_optimizer optimizer_code(name):
    return <fsgd_optimizer><int>list(OPTIMIZERS).index(name)


cdef bint _is_linear(fsgd_optimizer optimizer):
    return (<type>list(OPTIMIZERS.values())[<int>optimizer]).linear


cdef dict _shapes(fsgd_optimizer optimizer, sizes):
    """Shapes of the arrays of a state of an optimizer and of (d, K, width, vectors)."""
    cdef int64_t d, k, width, vectors, size = 64
    d, k, width, vectors = sizes
    padded = fsgd_padded_lanes(k)
    rows = fsgd_padded_features(d) if k == 1 else d
    while size < d // 8:
        size *= 2
    return {
        "w": (vectors, rows) if k == 1 else (d, vectors, padded),
        "intercept": (width if _is_linear(optimizer) else vectors, padded), "t": (padded,), "grad_intercept": (2, padded),
        "numbers": (len(PER_LANE), -(-padded // 8) * 8), "grad": (2, rows, padded),
        "step_products": (2 * size, width, width, padded), "rate_sums": (size + 1, padded), "last_update": (d,),
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


cdef bint _keeps_history(data, lanes, settings):
    """Whether features that are not seen have steps to catch up with, of which a history is kept."""
    if not settings.optimizer.linear:
        return data.sparse and settings.width == 1 and bool(lanes.alpha.any() or lanes.l1.any())
    return data.sparse and settings.vectors(lanes) == settings.width > 1


cdef class State:
    """All that training changes; copies and pickles bit by bit.

    Parameters
    ----------
    data : fastsgd.problem.Data
        What is trained on.
    lanes : fastsgd.problem.Lanes
        Numbers of each lane.
    settings : fastsgd.problem.Settings
        What all lanes share.

    Raises
    ------
    ValueError
        If the three do not fit together.
    """

    cdef fsgd_state c
    cdef dict arrays
    cdef dict numbers  # views of its rows
    cdef readonly object dtype

    def __init__(self, data, lanes, settings):
        if self.arrays is not None:  # a Run may have pointers to them
            raise ValueError("a state is initialised once")
        settings.check(data, lanes)
        vectors = settings.vectors(lanes)
        optimizer = settings.optimizer
        sizes = data.d, lanes.k, settings.width, vectors
        self._allocate(data.dtype, optimizer_code(optimizer.name), sizes, settings.batch_size > 1)
        if not optimizer.linear:
            for vector, initial in zip(range(settings.width, vectors), optimizer.slots.values()):
                self.arrays["w"][(vector,) if lanes.k == 1 else (slice(None), vector)] = initial
                self.arrays["intercept"][vector] = initial
        if not data.sparse or len(data.X.data) >= data.d:  # the first epoch writes into all of it
            for array in self.arrays.values():
                touch(array)
        if _keeps_history(data, lanes, settings):
            self.keep_history()

    cdef _allocate(self, dtype, fsgd_optimizer optimizer, sizes, batched):
        cdef int64_t d, k, width, vectors
        d, k, width, vectors = sizes
        cdef int64_t padded = fsgd_padded_lanes(k)
        cdef int64_t rows = fsgd_padded_features(d) if k == 1 else d
        cdef dict shapes = _shapes(optimizer, sizes)
        self.dtype, self.c.optimizer = np.dtype(dtype), optimizer
        self.c.dtype = dtype_code(dtype)
        self.c.d, self.c.k, self.c.padded, self.c.width = d, k, padded, width
        self.c.vectors = vectors
        self.c.feature_stride = 1 if k == 1 else vectors * padded
        self.c.vector_stride = rows if k == 1 else padded
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

    cdef _bind(self):
        """Point the core at the arrays; ``numbers`` has a row for each name of PER_LANE."""
        self.numbers = dict(zip(PER_LANE, self.arrays["numbers"]))
        self.c.w = pointer(self.arrays["w"])
        self.c.intercept = pointer(self.arrays["intercept"])
        self.c.t = <int64_t *>pointer(self.arrays["t"])
        self.c.grad_intercept = pointer(self.arrays["grad_intercept"])
        self.c.scale = <double *>pointer(self.numbers["scale"])
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
        if "step_products" in self.arrays:
            self.c.step_products = pointer(self.arrays["step_products"])
        if "rate_sums" in self.arrays:
            self.c.rate_sums = <double *>pointer(self.arrays["rate_sums"])
        if "last_update" in self.arrays:
            self.c.last_update = <int32_t *>pointer(self.arrays["last_update"])

    def keep_history(self):
        """Make room for pending steps: as many as make their flush, O(d), cheap beside them."""
        if "last_update" in self.arrays:
            return
        sizes = self.c.d, self.c.k, self.c.width, self.c.vectors
        shapes = _shapes(self.c.optimizer, sizes)
        self.c.max_pending = shapes["rate_sums"][0] - 1
        if _is_linear(self.c.optimizer):
            self.arrays["step_products"] = aligned_zeros(shapes["step_products"], self.dtype)
        else:
            self.arrays["rate_sums"] = aligned_zeros(shapes["rate_sums"], np.float64)
        self.arrays["last_update"] = aligned_zeros(shapes["last_update"], np.int32)
        self._bind()

    # Copying and pickling: the arrays and the counters are all there is.

    def __getstate__(self):
        self._require()
        return {
            "dtype": self.dtype.str, "optimizer": list(OPTIMIZERS)[<int>self.c.optimizer],
            "sizes": (self.c.d, self.c.k, self.c.width, self.c.vectors),
            "epoch": self.c.epoch, "row": self.c.row, "batch_row": self.c.batch_row,
            "batch_nnz": self.c.batch_nnz, "pending": self.c.pending,
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
        if fields["optimizer"] not in list(OPTIMIZERS):
            raise ValueError(
                f"a saved state must be of an optimizer in {list(OPTIMIZERS)}, got {fields['optimizer']!r}"
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
        dtype, batched, history = np.dtype(fields["dtype"]), "grad" in arrays, "last_update" in arrays
        linear = _is_linear(optimizer)
        if linear and history and not vectors == width > 1:
            raise ValueError("a saved state of one vector or of L1 must not have a history")
        if not linear and (vectors == width or width > 2 or history and width > 1):
            raise ValueError(
                f"a saved state of AdaGrad must have 1 + (average) of 2 + (average) vectors and a history "
                f"without averages alone, got {width} and {vectors}"
            )
        cdef State state = State.__new__(State)
        state._check_arrays(arrays, dtype, optimizer, (d, k, width, vectors))
        state._allocate(dtype, optimizer, (d, k, width, vectors), batched)
        if history:
            state.keep_history()
        for name, array in arrays.items():
            state.arrays[name][...] = array
        state.c.epoch = _integer("epoch", fields["epoch"], 0)
        state.c.row = _integer("row", fields["row"], 0)
        state.c.batch_row = _integer("batch_row", fields["batch_row"], 0)
        state.c.batch_nnz = _integer("batch_nnz", fields["batch_nnz"], 0)
        waiting = state.c.max_pending if history else linear and vectors - width  # of L1: whether any is
        state.c.pending = _integer("pending", fields["pending"], 0, waiting)
        _check_numbers(state.numbers, k)
        if (state.arrays["t"] < 0).any():
            raise ValueError("a saved state must have t >= 0")
        if history:
            last_update = state.arrays["last_update"]
            if not (0 <= last_update.min() and last_update.max() <= state.c.pending):
                raise ValueError(f"a saved state must have a last_update in [0, {state.c.pending}]")
        self.c, self.dtype, self.arrays = state.c, state.dtype, state.arrays
        self._bind()

    cdef _check_arrays(self, dict arrays, dtype, fsgd_optimizer optimizer, sizes):
        """Refuse arrays of other names, shapes or dtypes than a state of these sizes has, before
        anything is allocated for them."""
        cdef int64_t d, k, width, vectors
        d, k, width, vectors = sizes
        shapes, history = _shapes(optimizer, sizes), "step_products" if _is_linear(optimizer) else "rate_sums"
        wanted = {"w", "intercept", "t", "grad_intercept", "numbers"}
        wanted |= {"grad"} & set(arrays)
        wanted |= {history, "last_update"} if {history, "last_update"} & set(arrays) else set()
        if set(arrays) != wanted:
            raise ValueError(
                f"a saved state must have the arrays {sorted(wanted)}, got {sorted(map(str, arrays))}"
            )
        dtypes = {"t": np.int64, "numbers": np.float64, "last_update": np.int32, "rate_sums": np.float64}
        for name, array in arrays.items():
            right = shapes[name], np.dtype(dtypes.get(name, dtype))
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
            if name == "step_products" and self.c.pending == 0:
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

    def put(self, State other not None, here, there):
        """Make lanes ``here`` what lanes ``there`` of another state are, and the counters too. Of
        states of several lanes, without room for pending steps."""
        if min(self.c.k, other.c.k) == 1 or "last_update" in self.arrays or "last_update" in other.arrays:
            raise ValueError("put is for states of several lanes, without room for pending steps")
        mine, theirs = (
            (one.dtype, one.c.optimizer, one.c.d, one.c.width, one.c.vectors) for one in (self, other)
        )
        if mine != theirs or set(self.arrays) != set(other.arrays):
            raise ValueError(f"put is for states of one kind, got {theirs} for {mine}")
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
    def pending(self):
        return self.c.pending

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
        self.arrays["w"][(slice(kept),) if k == 1 else (slice(None), slice(kept))] = 0
        self.arrays["intercept"][:kept] = 0
        self.numbers["scale"][:] = 1.0
        self.numbers["l1_cumulative"][:] = 0.0
        self.c.pending = 0
        if "last_update" in self.arrays:
            self.arrays["last_update"][:] = 0
        if k == 1:
            self.arrays["w"][0, :d] = coef[0]
        else:
            self.arrays["w"][:, 0, :k] = coef.T
        self.arrays["intercept"][0, :k] = intercept

    def weights(self, settings):
        return self._read(settings.average, kernels_for(None, self.c.dtype))

    def last_weights(self):
        return self._read(0, kernels_for(None, self.c.dtype))

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
        coef = np.empty((self.c.k, self.c.d), dtype=self.dtype)
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
    """Sum of |value|, or of value^2, in double; eight sums at once, which vectorise."""
    cdef double sums[8]
    cdef double value, total = 0.0
    cdef int64_t i, lane
    memset(sums, 0, sizeof(sums))
    for i in range(0, n - n % 8, 8):
        for lane in range(8):
            value = values[i + lane]
            sums[lane] += value * value if squared else fabs(value)
    for i in range(n - n % 8, n):
        value = values[i]
        sums[i % 8] += value * value if squared else fabs(value)
    for lane in range(8):
        total += sums[lane]
    return total


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


# ---------------------------------------------------------------- run


cdef empty_order(int64_t n):
    """Room for the order of an epoch, and behind it for that of the blocks of "block"."""
    return np.empty(n + n // BLOCK_ROWS + 1, dtype=np.int64)


cdef class Run:
    """One problem bound once, so that a call costs a fraction of a microsecond."""

    cdef fsgd_data data
    cdef fsgd_lanes lanes
    cdef fsgd_settings settings
    cdef fsgd_problem problem
    cdef fsgd_report report
    cdef const fsgd_kernels *kernels
    cdef State state
    cdef object examples     # Data
    cdef list held           # the arrays behind the pointers
    cdef object order
    cdef int64_t order_epoch
    cdef int64_t order_done  # draws of order_epoch that are made
    cdef double last_rate    # of the first lane that made an update
    cdef object schedule     # a user's, or None
    cdef object rates        # (RATE_BATCHES, padded) its rates
    cdef int64_t rates_epoch # of the epoch they are for
    cdef bint in_step        # every batch updates all lanes, whichever rows it has

    def __init__(self, data, lanes, settings, State state not None, isa=None):
        settings.check(data, lanes)
        self.kernels = kernels_for(isa, dtype_code(data.dtype))
        self.held = []
        self.state = state
        self._bind_data(data)
        self._bind_lanes(lanes, data.y.shape[1])
        self._bind_settings(settings)
        vectors = settings.vectors(lanes)
        optimizer = optimizer_code(settings.optimizer.name)
        if (state.dtype, state.c.optimizer, state.c.d, state.c.k, state.c.width, state.c.vectors) != (
            data.dtype, optimizer, data.d, lanes.k, settings.width, vectors
        ):
            raise ValueError("state does not fit data, lanes and settings")
        if self.settings.batch_size > 1 and state.c.grad == NULL:
            raise ValueError("state was made for batch_size=1")
        self._check_position()
        if _keeps_history(data, lanes, settings):
            state.keep_history()
        self.problem.data, self.problem.lanes = &self.data, &self.lanes
        self.problem.settings, self.problem.state = &self.settings, &state.c
        self.problem.order, self.problem.rates = NULL, NULL
        self.problem.rates_row, self.problem.stop_row = 0, self.data.epoch_rows
        self.problem.columns, self.problem.sums = NULL, NULL
        if self.data.layout != FSGD_DENSE:  # zeros that are never written take no memory
            columns, sums = np.zeros(self.data.longest, dtype=data.X.indices.dtype), np.zeros(data.d)
            touch(columns)
            self.held.extend([columns, sums])
            self.problem.columns, self.problem.sums = pointer(columns), <double *>pointer(sums)
        self._bind_schedule(data, lanes, settings)
        self.order, self.order_epoch, self.order_done = None, -1, 0
        if settings.sampling != "sequential":
            self.order = empty_order(self.data.n)
            self.problem.order = <int64_t *>pointer(self.order)

    cdef const void *_hold(self, array, dtype) except? NULL:
        array = np.ascontiguousarray(array, dtype=dtype)
        self.held.append(array)
        return pointer(array)

    cdef _bind_data(self, data):
        X, dtype = data.X, data.dtype
        self.examples = data
        self.data.n, self.data.d = data.n, data.d
        self.data.first_row, self.data.epoch_rows = data.first_row, data.epoch_rows
        self.data.dtype = dtype_code(dtype)
        self.data.indices = self.data.indptr = self.data.sample_weight = NULL
        self.data.offset = self.data.scale = NULL
        self.data.held_out = NULL
        self.data.stored = stored_code(X.dtype)
        if hasattr(X, "indptr"):
            self._bind_csr(X, data.checked)
        else:
            if not (isinstance(X, np.ndarray) and X.flags.c_contiguous and X.flags.aligned):
                raise ValueError("X must be a C-ordered ndarray or a CSR matrix")
            self.data.layout = FSGD_DENSE
            self.data.x = self._hold(X, X.dtype)
        if data.scale is not None:
            self.data.offset = self._hold(data.offset, dtype)
            self.data.scale = self._hold(data.scale, dtype)
        self.data.n_targets = data.y.shape[1]
        self.data.y = self._hold(data.y, dtype)
        if data.sample_weight is not None:
            self.data.sample_weight = self._hold(data.sample_weight, dtype)
        if data.held_out is not None:
            self.data.held_out = <uint64_t *>self._hold(data.held_out, np.uint64)

    cdef _bind_csr(self, X, bint checked):
        if getattr(X, "format", None) != "csr":
            raise ValueError(f"sparse X must be in CSR format, got {getattr(X, 'format', None)}")
        if not checked:
            check_structure(X)
        if X.data.dtype not in (np.float32, np.float64):
            raise ValueError(f"X.data must be float32 or float64, got {X.data.dtype}")
        if X.indices.dtype not in (np.int32, np.int64) or X.indices.dtype != X.indptr.dtype:
            raise ValueError(
                "X.indices and X.indptr must both be int32 or both int64, got "
                f"{X.indices.dtype} and {X.indptr.dtype}"
            )
        self.data.layout = FSGD_CSR32 if X.indices.dtype == np.int32 else FSGD_CSR64
        self.data.x = self._hold(X.data, X.data.dtype)
        self.data.indices = self._hold(X.indices, X.indices.dtype)
        self.data.indptr = self._hold(X.indptr, X.indptr.dtype)
        self.data.nnz = len(X.data)
        if len(X.indptr) != self.data.n + 1 or len(X.indices) != self.data.nnz:
            raise ValueError("X.indices must be as long as X.data, and X.indptr one longer than X")
        check_rows(&self.data, "csr")  # also finds the longest

    cdef _bind_lanes(self, lanes, n_targets):
        cdef int64_t padded = fsgd_padded_lanes(lanes.k)
        numbers = np.zeros((len(lanes.NUMBERS), padded))
        for row, name in zip(numbers, lanes.NUMBERS):
            row[:lanes.k] = getattr(lanes, name)
        target, split = np.zeros(padded, dtype=np.int64), np.zeros(padded, dtype=np.uint64)
        target[:lanes.k], split[:lanes.k] = lanes.target, lanes.split
        self.held.extend([numbers, target, split])
        cdef dict held = dict(zip(lanes.NUMBERS, numbers))
        self.lanes.k, self.lanes.padded = lanes.k, padded
        self.lanes.alpha = <double *>pointer(held["alpha"])
        self.lanes.l1 = <double *>pointer(held["l1"])
        self.lanes.intercept_gradient = <double *>pointer(held["intercept_gradient"])
        self.lanes.eta0 = <double *>pointer(held["eta0"])
        self.lanes.mu = <double *>pointer(held["mu"])
        self.lanes.label = <double *>pointer(held["label"])
        self.lanes.weight_positive = <double *>pointer(held["weight_positive"])
        self.lanes.weight_negative = <double *>pointer(held["weight_negative"])
        self.lanes.target = <int64_t *>pointer(target)
        self.lanes.split = <uint64_t *>pointer(split)

    cdef _bind_settings(self, settings):
        cdef fsgd_settings *c = &self.settings
        c.loss = loss_spec(settings.loss, settings.loss_parameter)
        c.step = <fsgd_step><int>settings.STEPS.index(settings.step)
        c.clip_norm = settings.clip_norm
        self.held.append(settings.loss)  # a user's code
        c.sign_targets = settings.sign_targets
        c.fit_intercept = settings.fit_intercept
        c.nesterov = getattr(settings.optimizer, "nesterov", False)
        c.momentum = settings.momentum
        c.average = settings.average
        c.batch_size = min(settings.batch_size, self.data.epoch_rows)
        c.threads = settings.n_jobs
        c.sampling = <fsgd_sampling><int>SAMPLINGS.index(settings.sampling)
        c.seed = settings.seed
        c.schedule.kind = <fsgd_schedule_kind><int>SCHEDULES.index(settings.schedule.kind)
        c.schedule.power_t = settings.schedule.power_t
        c.schedule.decay = settings.schedule.decay
        c.schedule.step_epochs = max(SMALLEST, settings.schedule.step_epochs)
        c.schedule.total_epochs = max(SMALLEST, settings.schedule.horizon)
        c.schedule.warmup_steps = settings.schedule.warmup_steps
        c.schedule.power = settings.schedule.power
        c.schedule.final = settings.schedule.final
        c.schedule.rise = settings.schedule.rise

    cdef _bind_schedule(self, data, lanes, settings):
        self.rates_epoch = -1
        self.schedule = settings.schedule if settings.schedule.kind == "callable" else None
        if self.schedule is None:
            return
        self.rates = np.zeros((RATE_BATCHES, self.lanes.padded))
        self.problem.rates = <double *>pointer(self.rates)
        # A stop within a block of rows rounds differently, so this must not depend on the rows that a
        # window of the epoch happens to have: on which weights are 0, or which classes are there.
        self.in_step = (
            data.held_out is None and data.sample_weight is None
            and self.settings.loss.kind != FSGD_SOFTMAX
            and lanes.weight_positive.all() and lanes.weight_negative.all()
        )

    cdef _extend_rates(self):
        """Ask the user's schedule for the rates of the batches to come: of the next one alone where
        lanes may skip batches, since their update numbers are not known ahead."""
        cdef fsgd_state *c = &self.state.c
        cdef int64_t size = self.settings.batch_size, row = c.row, start = c.row, lane
        batches = -(-self.data.epoch_rows // size)
        t = self.state.t
        active = np.flatnonzero(self.state.active > 0)
        together = self.in_step and len(active) > 0 and (t[active] == t[active[0]]).all()
        for i in range(RATE_BATCHES if together else 1):
            e = c.epoch + (row // size) / batches
            if together:
                self.rates[i] = self.schedule.at(t[active[0]] + 1 + i, e)
            else:
                for lane in active:
                    self.rates[i, lane] = self.schedule.at(t[lane] + 1, e)
            row = min(row + size, self.data.epoch_rows)
            if row == self.data.epoch_rows:
                break
        self.rates_epoch = c.epoch
        self.problem.rates_row, self.problem.stop_row = start, row

    cdef _check_position(self):
        """Whether the state, which other runs may have trained, stands within this one's epoch."""
        cdef const fsgd_state *c = &self.state.c
        cdef int64_t first = self.data.first_row, rows = self.data.epoch_rows
        cdef int64_t at = c.row if self.data.layout != FSGD_DENSE else c.row + c.batch_row
        if c.row > rows:
            raise ValueError(f"state is at row {c.row} of data with {rows} rows")
        if c.batch_row >= max(1, min(self.settings.batch_size, rows - c.row)):
            raise ValueError(
                f"state is at row {c.batch_row} of an open batch; batch_size={self.settings.batch_size} "
                f"and {rows} rows have no such batch"
            )
        if not first <= at <= first + self.data.n:
            raise ValueError(
                f"state is at row {at} of the epoch, and data has rows {first} to {first + self.data.n}"
            )

    cdef _require(self):
        if self.kernels == NULL or self.state is None:
            raise ValueError("run was never initialised")

    def advance(self, int64_t budget, stop=None):
        """Do about ``budget`` values' worth of work, to row ``stop`` of the epoch at most; whether that
        ended the epoch, or the window as far as its rows make whole blocks, chunks or batches."""
        cdef fsgd_status status
        cdef const fsgd_kernels *kernels = self.kernels
        self._require()
        self._check_position()
        if self._lacks_order():
            self._extend_order()
            if self.data.n > ORDER_ROWS:
                return False
        if self.schedule is not None and not (
            self.rates_epoch == self.state.c.epoch
            and self.problem.rates_row <= self.state.c.row < self.problem.stop_row
        ):
            self._extend_rates()
        cdef int64_t planned = self.problem.stop_row
        if stop is not None:
            self.problem.stop_row = min(planned, <int64_t>stop)
        with nogil:
            status = kernels.run(&self.problem, budget, &self.report)
        self.problem.stop_row = planned
        if not isnan(self.report.eta):
            self.last_rate = self.report.eta
        if status == FSGD_NONFINITE:
            scale = self._row_scale(self.report.row)
            epoch = self.state.c.epoch + 1
            raise DivergenceError(self.report.step, self.last_rate, scale, epoch=epoch)
        if status == FSGD_BAD_CSR:
            raise ValueError(CHANGED)
        if status != FSGD_OK:
            raise MemoryError("no memory for the buffers of a training step")
        return bool(self.report.epoch_done or self.report.window_done)

    @property
    def draws_order(self):
        """Whether the next call draws a part of the epoch's order instead of training."""
        return self.data.n > ORDER_ROWS and self._lacks_order()

    cdef bint _lacks_order(self):
        epoch = 0 if self.settings.sampling == <fsgd_sampling>1 else self.state.c.epoch  # "once"
        if self.order is None:
            return False
        if self.order_epoch != epoch:
            self.order_epoch, self.order_done = epoch, 0
        return self.order_done < self.data.n

    cdef _extend_order(self):
        cdef int64_t count = min(ORDER_ROWS, self.data.n - self.order_done)
        cdef int64_t *order = <int64_t *>pointer(self.order)
        with nogil:
            fsgd_order(&self.settings, self.data.n, self.order_epoch, self.order_done, count, order)
        self.order_done += count

    cdef _row_scale(self, int64_t row):
        """Largest absolute value among the features of a row."""
        features = self.examples.rows([row])
        values = features.data if self.data.layout != FSGD_DENSE else features
        return float(np.max(np.abs(values), initial=0.0))

    @property
    def isa(self):
        self._require()
        return self.kernels.isa.decode()

    @property
    def clipped(self):
        return bool(self.report.clipped)

    @property
    def bad_row(self):
        """The row at which a DivergenceError was met."""
        return self.report.row

    @property
    def rate(self):
        return self.last_rate

    def flush(self):
        """Apply all lazy updates: none is pending afterwards, and scales are 1."""
        self._require()
        self._check(self.kernels.flush(&self.problem))

    def measure(self):
        """The model at an epoch's end, mean |w|, and per lane: mean loss, plus the penalty

            alpha / 2 |w|^2  +  l1 |w|_1  +  h b        summed over the lanes if they are coupled
        """
        self._require()
        cdef const fsgd_state *c = &self.state.c
        cdef const fsgd_lanes *of = &self.lanes
        cdef bint coupled = self.settings.loss.kind == FSGD_SOFTMAX
        cdef double penalty, penalties = 0.0, norms = 0.0
        cdef int64_t k
        coef, intercept = self.state._read(0, self.kernels)
        loss, b, squares = np.empty(c.k), intercept.astype(np.float64), row_norms(coef, True)
        sizes = row_norms(coef, False) if c.vectors > c.width else np.zeros(c.k)  # without L1
        cdef double *out = <double *>pointer(loss)
        cdef double *b_ = <double *>pointer(b)
        cdef double *squares_ = <double *>pointer(squares)
        cdef double *sizes_ = <double *>pointer(sizes)
        for k in range(c.k):
            penalty = 0.5 * of.alpha[k] * squares_[k] + of.l1[k] * sizes_[k] + of.intercept_gradient[k] * b_[k]
            out[k] = c.loss_sum[k] / max(1.0, c.row_count[k]) + (0.0 if coupled else penalty)
            penalties += penalty
            norms += sqrt(squares_[k])
        if coupled:
            loss += penalties
        return coef, intercept, loss, norms / c.k

    # The verbs of a step, for diagnostics and tests.

    cdef _rows(self, rows):
        self._require()
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if rows.ndim != 1 or (rows.size and not (0 <= rows.min() and rows.max() < self.data.n)):
            raise ValueError(f"rows must be row numbers in [0, {self.data.n})")
        return rows

    cdef _check(self, fsgd_status status):
        if status == FSGD_NONFINITE:
            raise DivergenceError(int(max(self.state.t)), self.last_rate, float("nan"))
        if status == FSGD_BAD_CSR:
            raise ValueError(CHANGED)
        if status != FSGD_OK:
            raise MemoryError("no memory for the buffers of a training step")

    cdef list _pieces(self, rows):
        """Slices of so many rows that a verb takes milliseconds for them, whatever the lanes."""
        cost = self.data.d if self.data.layout == FSGD_DENSE else self.data.nnz // self.data.n
        size = max(1, CHECKED // ((cost + 16) * self.lanes.padded))
        return [rows[first:first + size] for first in range(0, len(rows), size)]

    def score(self, rows):
        rows = self._rows(rows)
        cdef State state = self.state.copy()  # scoring brings features to the present
        cdef fsgd_problem problem = self.problem
        cdef const int64_t *where
        cdef int64_t m, done = 0
        cdef void *z
        cdef fsgd_status status
        problem.state = &state.c
        scores = np.empty((len(rows), self.lanes.padded), dtype=state.dtype)
        for part in self._pieces(rows):
            where, m, z = <int64_t *>pointer(part), len(part), pointer(scores[done:])
            with nogil:
                status = self.kernels.score(&problem, where, m, z)
            self._check(status)
            PyErr_CheckSignals()
            done += m
        return scores[:, :self.lanes.k]

    def gradient_sums(self, rows):
        rows = self._rows(rows)
        cdef State state = self.state.copy()
        cdef fsgd_problem problem = self.problem
        cdef const int64_t *where
        cdef int64_t m
        cdef void *z
        cdef fsgd_status status
        problem.state = &state.c
        pieces = self._pieces(rows)
        scores = np.empty((max(map(len, pieces), default=0), self.lanes.padded), dtype=state.dtype)
        state.clear_batch()
        z = pointer(scores)
        for part in pieces:
            where, m = <int64_t *>pointer(part), len(part)
            with nogil:
                status = self.kernels.score(&problem, where, m, z)
                if status == FSGD_OK:
                    status = self.kernels.slope(&problem, where, m, z, z)
                if status == FSGD_OK:
                    status = self.kernels.accumulate(&problem, where, m, z)
            self._check(status)
            PyErr_CheckSignals()
        k, d = state.c.k, state.c.d
        return (
            state.arrays["grad"][0, :d, :k],
            state.arrays["grad_intercept"][0, :k],
            state.numbers["batch_count"][:k],
        )


def order(settings, int64_t n, int64_t epoch, chunks=()):
    """The order of an epoch as the core draws it, in calls that end at ``chunks``."""
    cdef fsgd_settings c
    stops = [*chunks, n]
    if n < 0 or epoch < 0 or min(stops) < 0 or sorted(stops) != stops:
        raise ValueError(
            f"an order must be of n >= 0 rows, of an epoch >= 0, in chunks that rise from 0 to n, got "
            f"n={n}, epoch={epoch}, chunks={chunks}"
        )
    c.sampling = <fsgd_sampling><int>SAMPLINGS.index(settings.sampling)
    c.seed = settings.seed
    out = empty_order(n)
    start = 0
    for stop in stops:
        fsgd_order(&c, n, epoch, start, stop - start, <int64_t *>pointer(out))
        start = stop
    return out[:n]
