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


cdef enum:
    KEPT = 256  # epochs between two additions to the history's lists
    LOSS = 0    # what is kept of an epoch
    RATE = 1
    GRADIENT = 2
    NORM = 3
    SECONDS = 4
    MEASURES = 5


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
    cdef object kept          # (KEPT, MEASURES), of the last epochs
    cdef double *measures     # of the running epoch, its row of ``kept``
    cdef int64_t n_kept, last_epoch
    cdef readonly bint clipped

    def __init__(self, Run run not None, columns, count, watch=None):
        run._require()
        if run.lanes.k != 1:
            raise ValueError(f"epochs in one call are of one lane, got {run.lanes.k}")
        self.run, self.columns, self.averaged = run, list(columns), run.settings.average > 0
        self.held, self.watched = (count,), watch is not None
        self.count = <int64_t *>pointer(count)
        self.kept = np.empty((KEPT, MEASURES))
        self.measures = <double *>pointer(self.kept)
        if self.watched:
            self.tol, self.patience = watch.tol if np.ndim(watch.tol) == 0 else watch.tol[0], watch.patience
            self.held = count, watch.best, watch.without_gain
            self.best = <double *>pointer(watch.best)
            self.without_gain = <int64_t *>pointer(watch.without_gain)

    def advance(self, int64_t most, clock, double ceiling, sums=None):
        """See _core.pyi."""
        cdef int64_t done = 0
        cdef double start, seconds = 0.0
        cdef bint undecided = False, ended
        cdef void *coefs[3]  # two models in turns, and the last weights where they are not the model
        cdef void *intercepts[3]
        models = [self._room() for _ in range(3 if self.averaged else 2)]
        for i, model in enumerate(models):
            coefs[i], intercepts[i] = pointer(model[0]), pointer(model[1])
        if sums is not None:
            self._check_sums(sums)
        error = None
        try:
            while done < most:
                PyErr_CheckSignals()
                start = perf_counter()
                ended = self.run._advance(clock.budget, -1)
                while not ended:  # of a table that is not small
                    self.clipped |= self.run.report.clipped
                    PyErr_CheckSignals()
                    ended = clock.advance(self.run)
                seconds = perf_counter() - start
                self.clipped |= self.run.report.clipped
                i = done & 1
                if self.averaged:
                    self._read(False, coefs[2], intercepts[2])
                    self._measure(coefs[2], intercepts[2])
                self._read(self.averaged, coefs[i], intercepts[i])
                if not self.averaged:
                    self._measure(coefs[i], intercepts[i])
                undecided = not self._is_plain(coefs[i], intercepts[i], ceiling)
                if undecided:
                    break
                if sums is not None:
                    self._add(models[i], sums)
                self.measures[SECONDS] = seconds
                self._keep()
                done += 1
        except BaseException as found:
            error = found
        self._record()
        return done, models[(done - 1) & 1] if done > 0 else None, seconds if undecided else None, error

    cdef tuple _room(self):
        """Room for a model, (1, d) and (1,)."""
        cdef State state = self.run.state
        coef = aligned_empty((1, state.c.d), state.dtype)
        touch(coef)
        return coef, np.empty(1, dtype=state.dtype)

    cdef _check_sums(self, sums):
        cdef State state = self.run.state
        for total, shape in zip(sums, ((1, state.c.d), (1,))):
            if total.dtype != state.dtype or total.shape != shape or not total.flags.c_contiguous:
                raise ValueError(f"sums must be of shapes (1, {state.c.d}) and (1,) and {state.dtype}")

    cdef int _read(self, bint average, void *coef, void *intercept) except -1:
        """Read the model, or the last weights, when nothing is pending."""
        cdef fsgd_status status
        if self.run.state.has_pending_steps:
            self.run.flush()
        with nogil:
            status = self.run.kernels.weights(&self.run.problem, average, coef, intercept)
        self.run._check(status)
        return 0

    cdef void _measure(self, const void *coef, const void *intercept):
        """Loss and norm at the last weights."""
        self.measures[NORM] = self.run._measure(coef, intercept, &self.measures[LOSS])

    cdef bint _is_plain(self, const void *coef, const void *intercept, double ceiling):
        """Whether loss and model are finite and below the ceiling, and the watch, which has then seen
        the loss, lets the run go on."""
        cdef const fsgd_state *c = &self.run.state.c
        cdef double loss = self.measures[LOSS]
        cdef int64_t without_gain
        if not isfinite(loss + self.measures[NORM] + number(intercept, 0, c.dtype)) or loss > ceiling:
            return False
        if self.averaged and not are_finite(coef, c.d, c.dtype):
            return False
        if self.watched:
            without_gain = 0 if loss <= self.best[0] - self.tol else self.without_gain[0] + 1
            if without_gain >= self.patience:
                return False
            self.without_gain[0] = without_gain
            self.best[0] = min(self.best[0], loss)
        return True

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

    cdef _keep(self):
        """Keep what the history says of an epoch."""
        self.measures[RATE], self.measures[GRADIENT] = self.run.last_rate, self.run.state.gradient_norm
        self.n_kept, self.last_epoch = self.n_kept + 1, self.run.state.c.epoch
        if self.n_kept == KEPT:
            self._record()
        else:
            self.measures += MEASURES

    cdef _record(self):
        """Add the epochs that are kept to the history, before anybody is asked for a signal."""
        cdef int64_t n = self.n_kept
        if n == 0:
            return
        cdef double *row = <double *>pointer(self.kept)
        cdef double *loss
        losses, speeds = [], []
        for i in range(n):
            array = np.empty(1)
            loss = <double *>pointer(array)
            loss[0] = row[i * MEASURES + LOSS]
            losses.append(array)
            speeds.append(self.run.data.n / max(row[i * MEASURES + SECONDS], 1e-9))
        mean, rate, gradient, norm, seconds = self.kept[:n].T.tolist()
        nothing = [NAN] * n
        epochs = list(range(self.last_epoch - n + 1, self.last_epoch + 1))
        columns = epochs, mean, losses, nothing, rate, gradient, norm, nothing, nothing, nothing, seconds, speeds
        for column, values in zip(self.columns, columns):
            column.extend(values)
        self.count[0] += n
        self.n_kept, self.measures = 0, row
