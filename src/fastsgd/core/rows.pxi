# Rows bound to the core: data, how steps are made, and the order of an epoch; of linear lanes and networks.


cdef empty_order(int64_t n):
    """Room for the order of an epoch, and behind it for that of the blocks of "block"."""
    return np.empty(n + n // BLOCK_ROWS + 1, dtype=np.int64)


cdef class _Rows:
    """Data and the settings that every model shares, as structs, and the arrays behind them."""

    cdef fsgd_data data
    cdef fsgd_settings settings
    cdef object examples     # Data
    cdef list rows           # arrays behind the pointers of data
    cdef object order
    cdef int64_t order_epoch
    cdef int64_t order_done  # draws of order_epoch that are made

    cdef const void *_hold(self, array, dtype) except? NULL:
        if type(array) is not np.ndarray or array.dtype != dtype or not array.flags.c_contiguous:
            array = np.ascontiguousarray(array, dtype=dtype)
        self.rows.append(array)
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

    cdef _bind_descent(self, settings):
        """How steps are made."""
        cdef fsgd_settings *c = &self.settings
        schedule = settings.schedule
        c.clip_norm = settings.clip_norm
        c.nesterov = getattr(settings.optimizer, "nesterov", False)
        c.momentum = settings.momentum
        c.average = settings.average
        c.threads = settings.n_jobs
        c.sampling = <fsgd_sampling><int>SAMPLINGS.index(settings.sampling)
        c.seed = settings.seed
        c.schedule.kind = <fsgd_schedule_kind><int>SCHEDULES.index(schedule.kind)
        c.schedule.power_t = schedule.power_t
        c.schedule.decay = schedule.decay
        c.schedule.step_epochs = max(SMALLEST, schedule.step_epochs)
        c.schedule.total_epochs = max(SMALLEST, schedule.horizon)
        c.schedule.warmup_steps = schedule.warmup_steps
        c.schedule.power = max(SMALLEST, schedule.power)
        c.schedule.final = schedule.final
        c.schedule.rise = max(SMALLEST, schedule.rise)

    cdef int64_t *_make_order(self, sampling) except? NULL:
        """Room for the order of an epoch; NULL for storage order."""
        self.order, self.order_epoch, self.order_done = None, -1, 0
        if sampling == "sequential":
            return NULL
        self.order = empty_order(self.data.n)
        return <int64_t *>pointer(self.order)

    cdef bint _lacks_order(self, int64_t running):
        """Whether a part of the order of the running epoch is still to be drawn."""
        cdef int64_t epoch = 0 if self.settings.sampling == <fsgd_sampling>1 else running  # "once"
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
