# Run: one problem bound to the kernels; calls that train, measure, and do the verbs of a step.


cdef double number(const void *values, int64_t i, fsgd_dtype dtype) noexcept nogil:
    """Number i of an array of reals."""
    return (<const float *>values)[i] if dtype == FSGD_FLOAT32 else (<const double *>values)[i]


cdef void *copied(values, dtype, void *into) except NULL:
    """``into``, where an array of numbers of eight bytes is copied to."""
    if values.dtype != dtype or not values.flags.c_contiguous:
        values = np.ascontiguousarray(values, dtype=dtype)
    memcpy(into, pointer(values), 8 * len(values))
    return into


cdef class Run(_Rows):
    """One problem bound once, so that a call costs a fraction of a microsecond."""

    cdef fsgd_lanes lanes
    cdef fsgd_problem problem
    cdef fsgd_report report
    cdef const fsgd_kernels *kernels
    cdef State state
    cdef tuple what          # Lanes, Settings, and the instruction set asked for
    cdef list held           # the arrays behind the pointers of lanes and settings
    cdef int64_t width, vectors  # numbers of a weight that the state has to have
    cdef fsgd_optimizer optimizer
    cdef bint of_counts      # the loss takes y >= 0 alone
    cdef int lazy            # whether updates are lazy on CSR; -1: nobody has asked
    cdef double last_rate    # of the first lane that made an update
    cdef object schedule     # a user's, or None
    cdef object rates        # (RATE_BATCHES, padded) its rates
    cdef int64_t rates_epoch # of the epoch they are for
    cdef bint in_step        # every batch updates all lanes, whichever rows it has

    def __init__(self, data, lanes, settings, State state not None, isa=None):
        settings.check(data, lanes)
        self.kernels = kernels_for(isa, dtype_code(data.dtype))
        self.what, self.held = (lanes, settings, isa), []
        self.width, self.vectors = settings.width, settings.vectors(lanes)
        self.optimizer = optimizer_code(settings.optimizer.name)
        self.of_counts, self.lazy = settings.terms.targets == {"count"}, -1
        self._bind_lanes(lanes, data.y.shape[1])
        self._bind_settings(settings)
        self._bind_rows(data, state)

    cdef Run _without_rows(self):
        cdef Run run = Run.__new__(Run)
        run.what, run.held, run.optimizer, run.of_counts = self.what, self.held, self.optimizer, self.of_counts
        run.width, run.vectors, run.lazy = self.width, self.vectors, self.lazy
        run.lanes, run.settings, run.data.n_targets = self.lanes, self.settings, self.data.n_targets
        return run

    def without_rows(self):
        """See _core.pyi."""
        self._require()
        return self._without_rows()

    def on(self, data, State state not None):
        """See _core.pyi."""
        if self.what is None:
            raise ValueError("run was never initialised")
        lanes, settings, isa = self.what
        if self.of_counts or data.y.shape[1] != self.data.n_targets or data.is_window:
            settings.check(data, lanes)  # all else that it looks at is as it was
        cdef Run run = self._without_rows()
        run.kernels = kernels_for(isa, dtype_code(data.dtype))
        run._bind_rows(data, state)
        return run

    cdef _bind_rows(self, data, State state):
        """All that depends on the rows, behind lanes and settings."""
        lanes, settings, _ = self.what
        self.rows, self.state = [], state
        self._bind_data(data)
        self.settings.batch_size = min(settings.batch_size, self.data.epoch_rows)
        if not (
            state.c.dtype == self.data.dtype and state.c.optimizer == self.optimizer
            and state.c.d == self.data.d and state.c.k == self.lanes.k
            and state.c.width == self.width and state.c.vectors == self.vectors
        ):
            names = list(_OPTIMIZERS)
            has = str(state.dtype), names[<int>state.c.optimizer], state.c.d, state.c.k, state.c.width, state.c.vectors
            needed = str(data.dtype), names[<int>self.optimizer], data.d, self.lanes.k, self.width, self.vectors
            raise ValueError(
                "state does not fit data, lanes and settings: (dtype, optimizer, d, K, width, vectors) must "
                f"be {needed}, got {has}"
            )
        if self.settings.batch_size > 1 and state.c.grad == NULL:
            raise ValueError(f"state was made for batch_size=1, got batch_size={self.settings.batch_size}")
        self._check_position()
        self.problem.data, self.problem.lanes = &self.data, &self.lanes
        self.problem.settings, self.problem.state = &self.settings, &state.c
        if self.data.layout != FSGD_DENSE and self.lazy < 0:  # not known yet
            self.lazy = _is_lazy(data, lanes, settings)
        if self.data.layout != FSGD_DENSE and self.lazy and not state.is_lazy:
            if state.c.pending > 0 and self.kernels.flush(&self.problem) != FSGD_OK:
                raise MemoryError("no memory to apply pending truncations")
            state.allocate_pending()
        self.problem.rates = NULL
        self.problem.rates_row, self.problem.rates_stop = 0, self.data.epoch_rows
        self.problem.stop_row = self.data.epoch_rows
        self.problem.columns, self.problem.sums = NULL, NULL
        if self.data.layout != FSGD_DENSE:
            columns, sums = np.zeros(self.data.longest, dtype=np.int64), untouched_zeros(data.d)
            touch(columns)
            self.rows.extend([columns, sums])
            self.problem.columns, self.problem.sums = <int64_t *>pointer(columns), <double *>pointer(sums)
        self._bind_schedule(data, lanes, settings)
        if data.order is not None:
            self.order = None
            self.problem.order = <int64_t *>self._hold(data.order, np.int64)
        else:
            self.problem.order = self._make_order(settings.sampling)

    @property
    def is_sparse(self):
        """See _core.pyi."""
        self._require()
        return self.data.layout != FSGD_DENSE

    cdef _bind_lanes(self, lanes, n_targets):
        cdef int64_t padded = fsgd_padded_lanes(lanes.k)
        copies = np.zeros((11, padded))  # in which those that fill the last tile stay 0
        self.held.append(copies)
        cdef double *to = <double *>pointer(copies)
        self.lanes.k, self.lanes.padded = lanes.k, padded
        self.lanes.alpha = <double *>copied(lanes.alpha, np.float64, to)
        self.lanes.l1 = <double *>copied(lanes.l1, np.float64, to + padded)
        self.lanes.intercept_gradient = <double *>copied(lanes.intercept_gradient, np.float64, to + 2 * padded)
        self.lanes.eta0 = <double *>copied(lanes.eta0, np.float64, to + 3 * padded)
        self.lanes.mu = <double *>copied(lanes.mu, np.float64, to + 4 * padded)
        self.lanes.label = <double *>copied(lanes.label, np.float64, to + 5 * padded)
        self.lanes.weight_positive = <double *>copied(lanes.weight_positive, np.float64, to + 6 * padded)
        self.lanes.weight_negative = <double *>copied(lanes.weight_negative, np.float64, to + 7 * padded)
        self.lanes.target = <int64_t *>copied(lanes.target, np.int64, to + 8 * padded)
        self.lanes.split = <uint64_t *>copied(lanes.split, np.uint64, to + 9 * padded)
        self.lanes.intercept_rate = <double *>copied(lanes.intercept_rate, np.float64, to + 10 * padded)

    cdef _bind_settings(self, settings):
        cdef fsgd_settings *c = &self.settings
        schedule = settings.schedule
        c.loss = loss_spec(settings.loss, settings.loss_parameter)
        c.step = <fsgd_step><int>settings.STEPS.index(settings.step)
        self.held.append(settings.loss)  # a user's code
        c.sign_targets = settings.sign_targets
        c.fit_intercept = settings.fit_intercept
        self._bind_descent(settings)

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
        """Ask the user's schedule for the rates of the batches to come, to a multiple of RATE_BATCHES,
        so that they end where they do after a resume too; of the next batch alone where lanes may skip
        batches, since their update numbers are not known ahead."""
        cdef fsgd_state *c = &self.state.c
        cdef int64_t size = self.settings.batch_size, row = c.row, start = c.row, lane
        batches = -(-self.data.epoch_rows // size)
        t = self.state.t
        active = np.flatnonzero(self.state.active > 0)
        together = self.in_step and len(active) > 0 and (t[active] == t[active[0]]).all()
        for i in range(RATE_BATCHES - row // size % RATE_BATCHES if together else 1):
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
        self.problem.rates_row, self.problem.rates_stop, self.problem.stop_row = start, row, row

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

    cdef _lay_out(self, fsgd_problem *problem, State state):
        """Store the numbers of a state of one lane as steps on these rows need them."""
        cdef bint sparse = self.data.layout != FSGD_DENSE
        if state.c.pending > 0 and not sparse and state._has_pairs():
            self._check(self.kernels.flush(problem))
        state.lay_out(sparse)

    cdef _require(self):
        if self.kernels == NULL or self.state is None:
            raise ValueError("run was never initialised")

    def advance(self, int64_t budget, stop=None):
        """See _core.pyi."""
        return bool(self._advance(budget, -1 if stop is None else stop))

    cdef bint _advance(self, int64_t budget, int64_t stop) except -1:
        """Do about ``budget`` values' worth of work, to row ``stop`` of the epoch at most unless it is -1;
        whether that ended the epoch, or the window as far as its rows make whole blocks, chunks or
        batches."""
        cdef fsgd_status status
        cdef const fsgd_kernels *kernels = self.kernels
        self._require()
        self._check_position()
        self._lay_out(&self.problem, self.state)
        if self._lacks_order(self.state.c.epoch):
            self._extend_order()
            if self.data.n > ORDER_ROWS:
                return False
        if self.schedule is not None and not (
            self.rates_epoch == self.state.c.epoch
            and self.problem.rates_row <= self.state.c.row < self.problem.stop_row
        ):
            self._extend_rates()
        cdef int64_t planned = self.problem.stop_row
        if stop >= 0:
            self.problem.stop_row = min(planned, stop)
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
        return self.report.epoch_done or self.report.window_done

    @property
    def draws_order(self):
        """Whether the next call draws a part of the epoch's order instead of training."""
        return self.data.n > ORDER_ROWS and self._lacks_order(self.state.c.epoch)

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
        model = self.state._read(0, self.kernels)
        loss = np.empty(self.state.c.k)
        norm = self._measure(pointer(model[0]), pointer(model[1]), <double *>pointer(loss))
        return *model, loss, norm

    def measure_unread(self):
        """See _core.pyi."""
        self._require()
        cdef int64_t k = self.state.c.k
        cdef int finite
        cdef fsgd_status status
        intercepts, sums, loss = np.empty((2, k), dtype=self.state.dtype), np.empty((2, k)), np.empty(k)
        cdef void *out = pointer(intercepts)
        cdef double *squares = <double *>pointer(sums)
        with nogil:
            status = self.kernels.measure(
                &self.problem, self.settings.average > 0, squares, squares + k, &finite, out
            )
        self._check(status)
        norm = self._measure_sums(squares, squares + k, out, <double *>pointer(loss))
        return intercepts[1].copy(), loss, norm, bool(finite and np.isfinite(intercepts).all())

    cdef double _measure(self, const void *coef, const void *b, double *loss):
        """Mean |w| at the last weights (K, d) and (K,), and the losses of ``measure``, (K,)."""
        cdef const fsgd_state *c = &self.state.c
        cdef int64_t row = c.d * (8 if c.dtype == FSGD_FLOAT64 else 4)  # bytes
        cdef const char *w = <const char *>coef
        cdef double[2] of_one
        cdef double *squares = of_one
        cdef int64_t k
        if c.k > 1:
            sums = np.empty(2 * c.k)
            squares = <double *>pointer(sums)
        for k in range(c.k):
            squares[k] = self.kernels.sum(w + k * row, c.d, True)
            squares[c.k + k] = self.kernels.sum(w + k * row, c.d, False) if c.vectors > c.width else 0.0  # with L1
        return self._measure_sums(squares, squares + c.k, b, loss)

    cdef double _measure_sums(self, const double *squares, const double *sizes, const void *b, double *loss) noexcept:
        """The same by the sums of w^2 and, with L1, of |w|."""
        cdef const fsgd_state *c = &self.state.c
        cdef const fsgd_lanes *of = &self.lanes
        cdef bint coupled = self.settings.loss.kind == FSGD_SOFTMAX
        cdef double penalty, penalties = 0.0, norms = 0.0
        cdef int64_t k
        for k in range(c.k):
            penalty = (
                0.5 * of.alpha[k] * squares[k] + of.l1[k] * sizes[k] + of.intercept_gradient[k] * number(b, k, c.dtype)
            )
            loss[k] = c.loss_sum[k] / max(1.0, c.row_count[k]) + (0.0 if coupled else penalty)
            penalties += penalty
            norms += sqrt(squares[k])
        for k in range(c.k if coupled else 0):
            loss[k] += penalties
        return norms / c.k

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
        cdef State state = self.state.copy()  # scoring brings features up to date
        cdef fsgd_problem problem = self.problem
        cdef const int64_t *where
        cdef int64_t m, done = 0
        cdef void *z
        cdef fsgd_status status
        problem.state = &state.c
        self._lay_out(&problem, state)
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
        self._lay_out(&problem, state)
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
    cdef int64_t start = 0, end
    cdef int64_t *order = <int64_t *>pointer(out)
    for stop in stops:
        end = stop
        with nogil:
            fsgd_order(&c, n, epoch, start, end - start, order)
        start = end
    return out[:n]
