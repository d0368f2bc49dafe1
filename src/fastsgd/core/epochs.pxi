# Epochs: several epochs of one lane in one call, where little is to be done between them.


cdef void add_to(floating *sums, floating *values, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        sums[i] += values[i]


cdef bint are_finite(const void *values, int64_t n, fsgd_dtype dtype) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if not isfinite(number(values, i, dtype)):
            return False
    return True


cdef class Epochs:
    """See _core.pyi."""

    cdef Run run
    cdef list columns         # of the history, in its order
    cdef bint averaged, watched
    cdef double tol
    cdef int64_t patience
    cdef int64_t *count
    cdef double *best         # of the watch
    cdef int64_t *without_gain
    cdef tuple held           # the arrays behind these
    cdef double loss, norm    # at the end of the last epoch
    cdef readonly bint clipped

    def __init__(self, Run run not None, columns, count, watch=None):
        run._require()
        if run.lanes.k != 1:
            raise ValueError(f"epochs in one call are of one lane, got {run.lanes.k}")
        self.run, self.columns, self.averaged = run, list(columns), run.settings.average > 0
        self.held, self.watched = (count,), watch is not None
        self.count = <int64_t *>pointer(count)
        if self.watched:
            self.tol, self.patience = watch.tol if np.ndim(watch.tol) == 0 else watch.tol[0], watch.patience
            self.held = count, watch.best, watch.without_gain
            self.best = <double *>pointer(watch.best)
            self.without_gain = <int64_t *>pointer(watch.without_gain)

    def advance(self, int64_t most, int64_t budget, double ceiling, sums=None):
        """See _core.pyi."""
        cdef Run run = self.run
        cdef int64_t done = 0
        cdef double start, seconds = 0.0
        cdef bint undecided = False
        cdef list models = [self._room(), self._room()]
        last = self._room() if self.averaged else None
        error = None
        if sums is not None:
            for total, part in zip(sums, models[0]):
                if (total.dtype, total.shape) != (part.dtype, part.shape) or not total.flags.c_contiguous:
                    raise ValueError(f"sums must be of shapes (1, {run.data.d}) and (1,) and {part.dtype}")
        try:
            while done < most:
                PyErr_CheckSignals()
                start = perf_counter()
                while not run._advance(budget, -1):
                    self.clipped |= run.report.clipped
                    PyErr_CheckSignals()
                seconds = perf_counter() - start
                self.clipped |= run.report.clipped
                undecided = not self._is_plain(last, models[done & 1], ceiling)
                if undecided:
                    break
                self._record(seconds)
                if sums is not None:
                    self._add(models[done & 1], sums)
                done += 1
        except BaseException as found:
            error = found
        return done, models[(done - 1) & 1] if done > 0 else None, seconds if undecided else None, error

    cdef tuple _room(self):
        """Room for a model, (1, d) and (1,)."""
        cdef State state = self.run.state
        coef = aligned_empty((1, state.c.d), state.dtype)
        touch(coef)
        return coef, np.empty(1, dtype=state.dtype)

    cdef _read(self, bint average, tuple model):
        cdef void *coef = pointer(model[0])
        cdef void *intercept = pointer(model[1])
        cdef fsgd_status status
        with nogil:
            status = self.run.kernels.weights(&self.run.problem, average, coef, intercept)
        self.run._check(status)

    cdef bint _is_plain(self, last, tuple model, double ceiling) except -1:
        """Whether loss and weights are finite and below the ceiling, and the watch lets the run go on;
        it has then seen the loss, and ``model`` is the model."""
        cdef Run run = self.run
        cdef State state = run.state
        cdef int64_t without_gain
        if state.c.pending > 0:
            run.flush()
        self._read(False, model if last is None else last)
        self.norm = run._measure(model if last is None else last, &self.loss)
        if last is not None:
            self._read(True, model)
            if not are_finite(pointer(model[0]), state.c.d, state.c.dtype):
                return False
        if not isfinite(self.loss + self.norm + number(pointer(model[1]), 0, state.c.dtype)):
            return False
        if self.loss > ceiling:
            return False
        if self.watched:
            without_gain = 0 if self.loss <= self.best[0] - self.tol else self.without_gain[0] + 1
            if without_gain >= self.patience:
                return False
            self.without_gain[0] = without_gain
            if self.loss < self.best[0]:
                self.best[0] = self.loss
        return True

    cdef _record(self, double seconds):
        """Add the epoch to the history."""
        cdef Run run = self.run
        losses = np.empty(1)
        (<double *>pointer(losses))[0] = self.loss
        values = (
            run.state.c.epoch, self.loss, losses, NAN, run.last_rate, run.state.gradient_norm, self.norm,
            NAN, NAN, NAN, seconds, run.data.n / max(seconds, 1e-9),
        )
        for column, value in zip(self.columns, values):
            (<list>column).append(value)
        self.count[0] += 1

    cdef _add(self, tuple model, tuple sums):
        """Add the model to the sums of models."""
        cdef void *values
        cdef void *into
        cdef int64_t n
        for part, total in zip(model, sums):
            values, into, n = pointer(part), pointer(total), part.size
            if self.run.state.c.dtype == FSGD_FLOAT32:
                add_to(<float *>into, <float *>values, n)
            else:
                add_to(<double *>into, <double *>values, n)
