# Index arrays of sparse matrices: checks before they are followed, rows of CSR, conversions to it.


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


_CHECKS = {"coo": _check_coordinates, "lil": _check_lists, "dia": _check_diagonals}


def check_structure(X):
    """See _core.pyi."""
    cdef fsgd_data c
    if len(X.shape) != 2:
        raise ValueError(f"X must have two dimensions, got shape {X.shape}")
    form = X.format
    if form in _CHECKS:
        return _CHECKS[form](X)
    if form not in ("csr", "csc", "bsr"):
        return None  # dok is a dictionary: nothing to follow out of bounds
    arrays = X.data, X.indices, X.indptr
    for name, array in zip(("data", "indices", "indptr"), arrays):
        blocks = name == "data" and form == "bsr"
        if not isinstance(array, np.ndarray) or (array.ndim != 1 and not blocks):
            raise ValueError(f"X.{name} must be a one-dimensional array")
    if X.indices.dtype not in (np.int32, np.int64) or X.indices.dtype != X.indptr.dtype:
        raise ValueError(
            "X.indices and X.indptr must both be int32 or both int64, got "
            f"{X.indices.dtype} and {X.indptr.dtype}"
        )
    memset(&c, 0, sizeof(c))
    c.n, c.d = X.shape[::-1] if form == "csc" else X.shape
    if form == "bsr":
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
    return check_rows(&c, form) ^ check_indices(&c, form)


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


cdef bint _rise(const index_t *indices, int64_t n) noexcept nogil:
    cdef int64_t p
    for p in range(1, n):
        if indices[p - 1] >= indices[p]:
            return False
    return True


def rise(indices):
    """Whether each of some indices, of int32 or int64, is greater than the one before."""
    array = np.ascontiguousarray(indices)
    cdef int64_t n = array.size
    cdef void *start = pointer(array)
    if array.dtype == np.int32:
        return bool(_rise(<int32_t *>start, n))
    if array.dtype != np.int64:
        raise ValueError(f"indices must be int32 or int64, got {array.dtype}")
    return bool(_rise(<int64_t *>start, n))


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


def column_squares(X):
    """Sums of the squares of the columns of dense X (n, d) of float32 or float64, (d,), and the least
    positive one and the largest: infinity and 0 if there is none."""
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype not in (np.float32, np.float64):
        raise ValueError(f"X must be an array (n, d) of float32 or float64, got {X!r}")
    cdef int64_t n = X.shape[0], d = X.shape[1], stride = X.strides[0], i
    if X.strides[1] != X.itemsize:
        X = np.ascontiguousarray(X)
        stride = X.strides[0]
    squares = np.zeros(d)
    cdef double *sums = <double *>pointer(squares)
    cdef const char *row = <const char *>pointer(X)
    cdef bint single = X.dtype == np.float32
    cdef double least = INFINITY, most = 0.0
    with nogil:
        for i in range(n):
            if single:
                add_squares(sums, <float *>(row + i * stride), d)
            else:
                add_squares(sums, <double *>(row + i * stride), d)
        for i in range(d):
            if sums[i] > 0.0:
                least, most = min(least, sums[i]), max(most, sums[i])
    return squares, least, most


cdef inline void add_squares(double *sums, floating *values, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        sums[i] += <double>values[i] * <double>values[i]


def outside(arrays, lowest, highest):
    """Which of some arrays of float64 is the first that has a number below its lowest or above its
    highest, or NaN; -1 if none has."""
    cdef int64_t which = 0, i
    cdef double low, high
    cdef const double *values
    for array, low, high in zip(arrays, lowest, highest):
        if array.dtype != np.float64 or not array.flags.c_contiguous:
            array = np.ascontiguousarray(array, dtype=np.float64)
        values = <const double *>pointer(array)
        for i in range(array.size):
            if not low <= values[i] <= high:
                return which
        which += 1
    return -1


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
