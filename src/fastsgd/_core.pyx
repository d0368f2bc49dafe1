"""The door to the C core: arrays become structs, one call runs without the GIL, a status becomes an
exception. ``_core.pyi`` documents the interface; nothing here computes but what an epoch's end
shows, where NumPy's calls would cost more than a small epoch.
"""

import copyreg
import math
import mmap
import operator
import os
from time import perf_counter

import numpy as np
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.math cimport INFINITY, NAN, fabs, isfinite, isnan, sqrt
from libc.string cimport memcpy, memset

from .exceptions import DivergenceError
from .optimizers import OPTIMIZERS as _OPTIMIZERS
from .optimizers import VECTOR_OPTIMIZERS as _VECTOR_OPTIMIZERS
from .losses import LOSSES, CompiledLoss
from .sampling import BLOCK_ROWS, SAMPLINGS
from .schedules import SCHEDULES

cdef int64_t SCATTERED = 1 << 18  # values that go into as many places between two looks at signals
cdef int64_t CHECKED = 1 << 21  # numbers of a sparse structure that are read between two looks at signals
cdef int64_t COORDINATES = 1 << 22  # of COO, between two looks at signals
cdef int64_t ORDER_ROWS = 1 << 17  # rows of an order drawn in one call: about 1 ms
cdef int64_t RATE_BATCHES = 256    # batches whose rates a user's schedule is asked for at a time
cdef int64_t PAGE = 1 << 12, HUGE_PAGE = 1 << 21, HUGE_FROM = 1 << 20  # bytes; smaller arrays gain nothing
cdef double SMALLEST = np.finfo(np.float64).tiny  # kernels take smaller divisors for 0
PER_LANE = {  # numbers of a state for each lane, and what they start from; rows of one array
    "scale": 1.0, "average_shift": 0.0, "l1_cumulative": 0.0, "rate_factor": 1.0, "active": 1.0, "batch_count": 0.0,
    "loss_sum": 0.0, "row_count": 0.0, "norm_sum": 0.0, "norm_count": 0.0, "alpha": 0.0, "l1": 0.0,
    "span_momentum": 0.0, "span_average": 0.0,
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
    #if defined(__clang__)
    #define fsgd_compiler "clang " __clang_version__
    #elif defined(__GNUC__)
    #define fsgd_compiler "gcc " __VERSION__
    #else
    #define fsgd_compiler "unknown"
    #endif
    #ifdef __GNUC__
    #define fsgd_prefetch(at) __builtin_prefetch(at)
    #else
    #define fsgd_prefetch(at) ((void)(at))
    #endif
    """
    void fsgd_advise_huge(void *start, size_t nbytes)
    void fsgd_prefetch(const void *at) nogil
    const char *fsgd_compiler

cdef extern from "Python.h":
    PyObject *PyDict_GetItem(object owner, object key)  # borrowed: no reference of its own
    Py_ssize_t Py_REFCNT(PyObject *value)


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


cdef _aligned(make, shape, dtype, int64_t nbytes):
    """An array in bytes that ``make`` makes, on a 64-byte boundary; a large one on huge pages, if Linux
    has them."""
    cdef int64_t boundary = 64 if nbytes < HUGE_FROM else HUGE_PAGE
    cdef int64_t room = nbytes if nbytes < HUGE_FROM else -(-nbytes // HUGE_PAGE) * HUGE_PAGE
    raw = make(room + boundary, dtype=np.uint8)
    cdef int64_t start = -<int64_t><uintptr_t>pointer(raw) & (boundary - 1)
    array = np.ndarray(shape, dtype, raw, start)
    if not array.flags.writeable:  # what NumPy makes of it where it has no memory to ask for more
        raise MemoryError("no memory for the description of an array")
    if nbytes >= HUGE_FROM:  # whole pages: the system makes none of a part
        fsgd_advise_huge(pointer(array), room)
    return array


cdef touch(array):
    """Have the system make the pages of a large new array, which takes longer than what is written
    into them, in parts that Ctrl-C can end: a call of the core must not wait for all of them."""
    if array.nbytes >= HUGE_FROM:
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.nbytes, 4 * HUGE_PAGE):
            flat[start:start + 4 * HUGE_PAGE:PAGE] = 0
            PyErr_CheckSignals()


def is_alone(dict owner, name):
    """See _core.pyi."""
    cdef PyObject *value = PyDict_GetItem(owner, name)
    return value != NULL and Py_REFCNT(value) == 1


def aligned_zeros(shape, dtype):
    """Zeros on a 64-byte boundary; vectors that straddle cache lines cost up to 35 %."""
    count = math.prod(shape) if isinstance(shape, (list, tuple)) else int(shape)
    return _aligned(np.zeros, shape, dtype, count * np.dtype(dtype).itemsize)


cdef untouched_zeros(int64_t count):
    """Zeros of which few or none are written: without memory until then, and without the clearing of
    memory that was used before, which calloc does where it finds some."""
    if 8 * count < HUGE_FROM or not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(count)
    try:
        array = np.frombuffer(mmap.mmap(-1, 8 * count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError as error:
        raise MemoryError(f"no memory for {count} sums") from error
    fsgd_advise_huge(pointer(array), 8 * count)
    return array


cdef aligned_empty(shape, dtype):
    """An array with whatever is there, on a 64-byte boundary."""
    return _aligned(np.empty, shape, dtype, math.prod(shape) * dtype.itemsize)


def aligned_copy(array):
    """The same numbers on a 64-byte boundary."""
    cdef int64_t nbytes = array.nbytes
    copy = aligned_empty(array.shape, array.dtype)
    if array.flags.c_contiguous:
        memcpy(pointer(copy), pointer(array), nbytes)
    else:
        copy[...] = array
    return copy


def place_columns(list columns, rows):
    """See _core.pyi."""
    cdef int64_t n, d, j
    cdef void *to = pointer(rows)
    if rows.dtype not in (np.float32, np.float64) or rows.ndim != 2 or not rows.flags.c_contiguous:
        raise ValueError("rows must be an array (n, d) of float32 or float64 in C order")
    n, d = rows.shape
    if len(columns) != d:
        raise ValueError(f"columns must be {d} arrays, got {len(columns)}")
    starts = np.empty(d, dtype=np.uintp)
    cdef uintptr_t[::1] start = starts
    for j, column in enumerate(columns):
        if column.dtype != rows.dtype or column.shape != (n,) or not column.flags.c_contiguous:
            raise ValueError(f"columns[{j}] must be ({n},) of {rows.dtype} in C order")
        start[j] = <uintptr_t>pointer(column)
    cdef const void *from_ = pointer(starts)
    cdef fsgd_dtype dtype = dtype_code(rows.dtype)
    with nogil:
        fsgd_place_columns(dtype, from_, n, d, to)


# One extension module, in parts that are compiled as one: they share structs, and the kernels are
# linked once.
include "core/kernels.pxi"
include "core/structure.pxi"
include "core/state.pxi"
include "core/rows.pxi"
include "core/run.pxi"
include "core/epochs.pxi"
include "core/vector_state.pxi"
include "core/network.pxi"
