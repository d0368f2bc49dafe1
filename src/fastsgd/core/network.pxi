# NetworkRun: a network, its rows and its state, bound to the kernels.


cdef int64_t GRADIENT_VALUES = 1 << 26  # parameters times rows of one call: some tens of milliseconds


cdef class NetworkRun(_Rows):
    """A network, its rows and its state, bound once. See _core.pyi."""

    cdef fsgd_network network
    cdef fsgd_vector_rule rule
    cdef fsgd_network_problem problem
    cdef fsgd_report report
    cdef const fsgd_network_kernels *kernels
    cdef VectorState state
    cdef object sizes        # arrays behind the pointers of the network
    cdef double last_rate
    cdef object schedule     # a user's, or None
    cdef object rates        # (RATE_BATCHES,) its rates
    cdef int64_t rates_epoch # of the epoch they are for

    def __init__(self, data, network, descent, VectorState state not None, isa=None):
        network.check(data)
        state._require()
        self.kernels = network_kernels_for(isa, dtype_code(data.dtype))
        self.rows, self.state, self.last_rate = [], state, NAN
        self._bind_data(data)
        self._bind_descent(descent)
        self.settings.batch_size = min(descent.batch_size, self.data.n)
        self._bind_network(network, data.dtype)
        self._bind_rule(descent)
        needed = data.dtype, network.length(network.unit(data.dtype)), kind_of(descent)
        has = state.dtype, state.c.length, state.kind
        if has != needed:
            raise ValueError(
                "state does not fit data, network and descent: (dtype, length, (optimizer, slots, average)) must "
                f"be {needed}, got {has}"
            )
        self._check_position()
        if self.data.layout != FSGD_DENSE and state.is_grad_stale and state.c.batch_row == 0:
            state.arrays["grad"][:] = 0
        state.is_grad_stale = self.data.layout == FSGD_DENSE
        lazy = self.data.layout != FSGD_DENSE and descent.optimizer.linear and descent.average == 0
        if lazy:
            state._be_lazy(self.data.d, network.stride(0, network.unit(data.dtype)))
        else:
            state._be_lazy(0, 0)
        self.problem.data, self.problem.network = &self.data, &self.network
        self.problem.settings, self.problem.rule, self.problem.state = &self.settings, &self.rule, &state.c
        self.problem.order = self._make_order(descent.sampling)
        self.problem.rates, self.problem.rates_row, self.problem.stop_row = NULL, 0, self.data.n
        self.rates_epoch = -1
        self.schedule = descent.schedule if descent.schedule.kind == "callable" else None
        if self.schedule is not None:
            self.rates = np.zeros(RATE_BATCHES)
            self.problem.rates = <double *>pointer(self.rates)

    cdef _bind_network(self, network, dtype):
        unit = network.unit(dtype)
        strides = [network.stride(layer, unit) for layer in range(network.layers)]
        lengths = [(size + 1) * stride for size, stride in zip(network.sizes, strides)]
        numbers = [*network.sizes, *strides, 0, *np.cumsum(lengths)]
        self.sizes = np.array(numbers, dtype=np.int64)
        self.network.layers = network.layers
        self.network.sizes = <int64_t *>pointer(self.sizes)
        self.network.strides = self.network.sizes + self.network.layers + 1
        self.network.starts = self.network.strides + self.network.layers
        self.network.activation = <fsgd_activation><int>network.ACTIVATIONS.index(network.activation)
        self.network.loss = <fsgd_network_loss><int>network.LOSSES.index(network.loss)
        self.network.alpha = network.alpha

    cdef _bind_rule(self, descent):
        optimizer = descent.optimizer
        kind_of(descent)
        self.rule.kind = <fsgd_rule><int>list(_VECTOR_OPTIMIZERS).index(optimizer.name)
        self.rule.beta_1, self.rule.beta_2 = getattr(optimizer, "beta_1", 0.0), getattr(optimizer, "beta_2", 0.0)
        self.rule.epsilon = getattr(optimizer, "epsilon", 0.0)
        self.rule.eta0, self.rule.mu = descent.eta0, descent.mu

    cdef _check_position(self):
        cdef const fsgd_vector_state *c = &self.state.c
        cdef int64_t left = self.data.n - c.row
        if left < 0:
            raise ValueError(f"state is at row {c.row} of data with {self.data.n} rows")
        if c.batch_row >= max(1, min(self.settings.batch_size, left)):
            raise ValueError(
                f"state is at row {c.batch_row} of an open batch; batch_size={self.settings.batch_size} and "
                f"{left} rows have no such batch"
            )

    cdef _require(self):
        if self.kernels == NULL or self.state is None:
            raise ValueError("run was never initialised")

    def advance(self, int64_t budget, stop=None):
        """See _core.pyi."""
        self._require()
        self._check_position()
        cdef int64_t last = self.data.n if stop is None else min(self.data.n, max(0, stop))
        cdef fsgd_status status
        cdef fsgd_vector_state *c = &self.state.c
        if self._lacks_order(c.epoch):
            self._extend_order()
            if self.data.n > ORDER_ROWS:
                return False
        if self.schedule is not None:
            last = min(last, self._find_rates())
        self.problem.stop_row = last
        with nogil:
            status = self.kernels.run(&self.problem, budget, &self.report)
        if not isnan(self.report.eta):
            self.last_rate = self.report.eta
        self._raise(status)
        return bool(self.report.epoch_done)

    cdef _raise(self, fsgd_status status):
        if status == FSGD_NONFINITE:
            scale = self._row_scale(self.report.row)
            raise DivergenceError(self.report.step, self.last_rate, scale, epoch=self.state.c.epoch + 1)
        if status == FSGD_BAD_CSR:
            raise ValueError(CHANGED)
        if status != FSGD_OK:
            raise MemoryError("no memory for the buffers of a training step")

    cdef int64_t _find_rates(self) except -1:
        """Ask the user's schedule for the rates of the batches to come; the row behind the last of them. Of
        the next batch alone where batches may be without weight, which makes no update."""
        cdef const fsgd_vector_state *c = &self.state.c
        cdef int64_t size = self.settings.batch_size, n = self.data.n, row = c.row, i
        batches = -(-n // size)
        count = RATE_BATCHES if self.data.sample_weight == NULL else 1
        for i in range(count):
            if row >= n:
                break
            self.rates[i] = self.schedule.at(c.t + 1 + i, c.epoch + (row // size) / batches)
            row = min(row + size, n)
        self.problem.rates_row = c.row
        return row

    @property
    def draws_order(self):
        """Whether the next call draws a part of the epoch's order instead of training."""
        return self.data.n > ORDER_ROWS and self._lacks_order(self.state.c.epoch)

    @property
    def isa(self):
        self._require()
        return self.kernels.isa.decode()

    @property
    def bad_row(self):
        return self.report.row

    @property
    def rate(self):
        return self.last_rate

    @property
    def clipped(self):
        return False

    def gradients(self, rows, *, squares=False):
        """See _core.pyi."""
        self._require()
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if rows.ndim != 1 or (rows.size and not (0 <= rows.min() and rows.max() < self.data.n)):
            raise ValueError(f"rows must be row numbers in [0, {self.data.n})")
        grad, losses = aligned_zeros(self.state.c.length, self.state.dtype), np.empty(len(rows))
        parts = np.empty((len(rows), self.network.layers)) if squares else None
        cdef void *to = pointer(grad)
        cdef double *to_losses
        cdef double *to_squares = NULL
        cdef const int64_t *where
        cdef int64_t m, first, size = max(1, GRADIENT_VALUES // self.state.c.length)
        cdef fsgd_status status
        cdef VectorState state = self.state._flushed()
        cdef fsgd_network_problem problem = self.problem
        problem.state = &state.c
        for first in range(0, len(rows), size):
            part = rows[first:first + size]
            where, m, to_losses = <int64_t *>pointer(part), len(part), <double *>pointer(losses[first:])
            if squares:
                to_squares = <double *>pointer(parts[first:])
            with nogil:
                status = self.kernels.gradients(&problem, where, m, to, to_losses, to_squares)
            self._raise(status)
            PyErr_CheckSignals()
        return (grad, losses, parts) if squares else (grad, losses)
