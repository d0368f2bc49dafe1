/* blocks.h: plain steps (width 1, no L1) of many lanes on dense rows, in blocks as row.h has them:
 * W is read and written once for STEPS rows, whose Gram matrix is one for all lanes. Template
 * parameters as in lanes.h, which includes it.
 *
 * ctx->flight holds the steps a, 0 until they are taken, and then u.
 */

/* The rows from position `first` of the epoch on, as many as there are of a block. */
static ALWAYS_INLINE int64_t LNAME(load_block)(const NAME(context) *ctx, int64_t first, REAL *x) {
    const int64_t left = ctx->stop - first, all = STEPS - first % STEPS, stride = ctx->row_stride;
    const int64_t count = left < all ? left < 0 ? 0 : left : all;
    for (int64_t j = 0; j < count; ++j)
        NAME(load_row)(ctx, NAME(row_at)(ctx, first + j), x + j * stride);
    memset(x + count * stride, 0, (size_t)((STEPS - count) * stride) * sizeof(REAL));
    return count;
}

/* G_ji = x_j . x_i at j STEPS + i, i < j. */
static ALWAYS_INLINE void LNAME(gram)(const REAL *x, int64_t n, REAL *G) {
    NAME(wide) sum[STEPS * STEPS];
    for (int i = 0; i < STEPS * STEPS; ++i) sum[i] = (NAME(wide)){0};
    for (int64_t k = 0; k < n; k += NAME(wide_count))
        for (int j = 1; j < STEPS; ++j)
            for (int i = 0; i < j; ++i)
                sum[j * STEPS + i] += NAME(wide_at)(x + j * n + k) * NAME(wide_at)(x + i * n + k);
    for (int j = 1; j < STEPS; ++j)
        for (int i = 0; i < j; ++i) G[j * STEPS + i] = NAME(wide_sum)(sum[j * STEPS + i]);
}

/* W += sum_j a_j x_j of the rows before, and u of these. On the way the rows at `ahead` are asked
 * for. */
static ALWAYS_INLINE void LNAME(pass)(const NAME(context) *ctx, const REAL *restrict was,
                                      const REAL *restrict is, const char *const *ahead) {
    enum { LINE = 64 / REAL_BYTES };
    const fsgd_state *state = ctx->state;
    const int64_t stride = state->feature_stride, d = ctx->data->d, n = ctx->row_stride;
    const int64_t padded = TILE < 16 ? TILE : state->padded, stored = ctx->stored;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        REAL *flight = ctx->flight + tile, *restrict w = (REAL *)state->w + tile;
        VEC a[STEPS][NV], u[STEPS][NV];
        for (int r = 0; r < STEPS; ++r)
            for (int i = 0; i < NV; ++i)
                a[r][i] = *LNAME(at)(flight + r * padded, i), u[r][i] = (VEC){0};
        for (int64_t line = 0; line < d; line += LINE) {
            const int64_t end = d - line < LINE ? d : line + LINE;
            for (int r = 0; tile == 0 && r < STEPS; ++r)
                NAME(ask_for_features)(ahead[r], line, stored);
            for (int64_t j = line; j < end; ++j, w += stride)
                for (int i = 0; i < NV; ++i) {
                    VEC now = *LNAME(at)(w, i);
                    for (int r = 0; r < STEPS; ++r) now += was[r * n + j] * a[r][i];
                    *LNAME(at)(w, i) = now;
                    for (int r = 0; r < STEPS; ++r) u[r][i] += is[r * n + j] * now;
                }
        }
        flight += STEPS * padded;
        for (int r = 0; r < STEPS; ++r)
            for (int i = 0; i < NV; ++i) *LNAME(at)(flight + r * padded, i) = u[r][i];
    }
    for (int r = 0; r < STEPS; ++r) NAME(prefetch_line)(ahead[r] + ctx->row_bytes - 1);
}

/* The steps of a block one by one, but for W: the general way. Stops at a score that is not finite,
 * which may be the block's doing or the row's. */
static fsgd_status LNAME(steps)(NAME(context) *ctx, int64_t count, REAL *x, const REAL *G) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    REAL *a = ctx->flight, *u = a + STEPS * padded;
    for (int64_t j = 0; j < count; ++j, ++state->row, a += padded, u += padded) {
        int ticks;
        memcpy(ctx->z, u, (size_t)padded * sizeof(REAL));
        LNAME(finish_score)(ctx, ctx->data->d, ctx->z);
        if (NAME(slopes_single)(ctx, NAME(row_at)(ctx, state->row), &ticks) != FSGD_OK)
            return FSGD_NONFINITE;
        if (!ticks) { /* it may hold anything */
            memset(x + j * ctx->row_stride, 0, (size_t)ctx->row_stride * sizeof(REAL));
            continue;
        }
        NAME(plan_lanes)(ctx, ctx->count);
        for (int64_t k = 0; k < padded; ++k) a[k] = ctx->p[k] * ctx->c[k];
        for (int64_t i = 1; i < count - j; ++i)
            for (int64_t k = 0; k < padded; ++k) u[i * padded + k] += a[k] * G[(i + j) * STEPS + j];
        NAME(update_intercepts)(ctx, ctx->c, ctx->count);
    }
    return FSGD_OK;
}

/* Which lanes tick at row j of a block: count (padded). Whether any does. */
static ALWAYS_INLINE int LNAME(ticks_at)(const NAME(context) *ctx, int64_t j, const int64_t padded,
                                         double *restrict count) {
    const REAL *restrict s = ctx->s + j * padded;
    int any = 0;
    _Pragma("omp simd reduction(| : any)") for (int64_t k = 0; k < padded; ++k) {
        count[k] = s[k] > 0 ? 1.0 : 0.0;
        any |= s[k] > 0;
    }
    return any;
}

/* The factor of the schedule at each row of a block; 0 where a row ticks in no lane, or lanes share
 * none. */
static ALWAYS_INLINE int LNAME(factors)(const NAME(context) *ctx, const int64_t padded,
                                        double *factor) {
    const fsgd_state *state = ctx->state;
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const int counts = NAME(factor_counts)(schedule);
    double *restrict count = ctx->count, *restrict done = ctx->done;
    if (!NAME(shares_factor)(schedule)) return 0;
    for (int64_t k = 0; counts && k < padded; ++k) done[k] = (double)state->t[k];
    for (int64_t j = 0; j < STEPS; ++j) {
        double t = 1;
        if (!LNAME(ticks_at)(ctx, j, padded, count)) return 0;
        if (counts) {
            if (!(t = NAME(common_update)(padded, count, done))) return 0;
            for (int64_t k = 0; k < padded; ++k) done[k] += count[k];
        }
        factor[j] = fsgd_schedule_factor(schedule, t, NAME(epochs_at)(ctx, state->row + j));
    }
    return 1;
}

/* Scales and steps of a block's rows; the rates of the last one go into ctx->eta. Whether scales
 * might underflow. */
static ALWAYS_INLINE int LNAME(plan_rows)(NAME(context) *ctx, const int64_t padded,
                                          const double *factor, const int falls, const int roots) {
    const double *restrict alpha = ctx->lanes->alpha, *restrict mu = ctx->lanes->mu;
    const double *restrict eta0 = ctx->lanes->eta0, *restrict own = ctx->state->rate_factor;
    const REAL *restrict s = ctx->s, b_moves = ctx->settings->fit_intercept ? 1 : 0;
    REAL *restrict now_scale = ctx->scale, *restrict p = ctx->p, *restrict p0 = ctx->p0;
    double *restrict scale = ctx->state->scale, *restrict last = ctx->eta;
    const int64_t *restrict t = ctx->state->t;
    int fails = 0;
    _Pragma("omp simd reduction(| : fails)") for (int64_t k = 0; k < padded; ++k) {
        double now = scale[k], least = 1, done = (double)t[k], eta = 0;
        for (int64_t j = 0; j < STEPS; ++j) {
            const int64_t at = j * padded + k;
            const double rate = eta0[k] * factor[j] *
                                NAME(own_factor)(eta0[k], mu[k], done, falls, roots);
            eta = s[at] > 0 ? rate * own[k] : 0;
            done += s[at] > 0 ? 1.0 : 0.0;
            const double decay = 1 - eta * alpha[k], then = now * decay;
            least = decay < least ? decay : least;
            now_scale[at] = (REAL)now;
            now = then;
            p0[at] = b_moves * (REAL)-eta;
            p[at] = (REAL)(-eta / then);
        }
        scale[k] = now;
        last[k] = eta;
        fails |= !(least > 1e-4) | (now < 1e-9);
    }
    return fails;
}

/* Targets, rates and scales of a whole block's steps. Not of a block with a row that ticks in no
 * lane, whose scales might underflow, or whose rates share no factor: then nothing is changed, and
 * 0 returned. */
static ALWAYS_INLINE int LNAME(plan_block)(NAME(context) *ctx, const int64_t padded) {
    fsgd_state *state = ctx->state;
    double factor[STEPS];
    int fails = 0;
    for (int64_t j = 0; j < STEPS; ++j)
        NAME(load_targets)(ctx, NAME(row_at)(ctx, state->row + j), padded, ctx->y + j * padded,
                           ctx->s + j * padded);
    if (!LNAME(factors)(ctx, padded, factor)) return 0;
    memcpy(ctx->before, state->scale, (size_t)padded * sizeof(double));
#define CALL(FALLS, ROOTS) fails = LNAME(plan_rows)(ctx, padded, factor, FALLS, ROOTS)
    BY_SCHEDULE(CALL)
#undef CALL
    if (fails) {
        memcpy(state->scale, ctx->before, (size_t)padded * sizeof(double));
        return 0;
    }
    int64_t k = 0;
    while (!(ctx->s[(STEPS - 1) * padded + k] > 0)) ++k;
    ctx->report->eta = ctx->eta[k];
    return 1;
}

/* Losses v, counts and updates of a block's rows go into the state: v, s (STEPS, padded). */
static ALWAYS_INLINE void LNAME(count_block)(fsgd_state *state, const REAL *restrict v,
                                             const REAL *restrict s, const int64_t padded) {
    double *restrict loss_sum = state->loss_sum, *restrict rows = state->row_count;
    int64_t *restrict t = state->t;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        double loss = loss_sum[k], count = 0;
        int64_t updates = t[k];
        for (int64_t j = 0; j < STEPS; ++j) {
            loss += (double)v[j * padded + k];
            count += s[j * padded + k] > 0 ? 1.0 : 0.0;
            updates += s[j * padded + k] > 0;
        }
        loss_sum[k] = loss;
        rows[k] += count;
        t[k] = updates;
    }
}

/* `steps` for a whole block, where a row's step depends on its scores by the slope alone. Whether
 * they were taken; if not, nothing is changed. */
static ALWAYS_INLINE int LNAME(quick_steps)(NAME(context) *ctx, const REAL *G,
                                            const int64_t padded) {
    fsgd_state *state = ctx->state;
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    const size_t bytes = (size_t)padded * sizeof(REAL);
    REAL *restrict z = ctx->z, *restrict c = ctx->c, *restrict b = ctx->v,
                   *restrict a = ctx->flight;
    const REAL *restrict y = ctx->y, *restrict s = ctx->s, *restrict scale = ctx->scale;
    const REAL *restrict p = ctx->p, *restrict p0 = ctx->p0;
    const double *restrict pull = ctx->lanes->pull;
    if (!LNAME(plan_block)(ctx, padded)) return 0;
    memcpy(z, a + STEPS * padded, STEPS * bytes); /* u, until a row's turn comes */
    memcpy(b, state->intercept, bytes);
    for (int64_t j = 0; j < STEPS; ++j) {
        const int64_t first = j * padded, end = first + padded;
        _Pragma("omp simd") for (int64_t k = first; k < end; ++k)
            z[k] = scale[k] * z[k] + b[k - first];
        NAME(loss_slopes)(loss, padded, z + first, y + first, s + first, c + first);
        _Pragma("omp simd") for (int64_t k = first; k < end; ++k) {
            const REAL more = s[k] > 0 ? (REAL)pull[k - first] : 0;
            b[k - first] += p0[k] * (c[k] + more);
            a[k] = p[k] * c[k];
        }
        for (int64_t i = j + 1; i < STEPS; ++i)
            for (int64_t k = 0; k < padded; k += PER)
                *LNAME(at)(z + i * padded + k, 0) += *LNAME(at)(a + first + k, 0) *
                                                     G[i * STEPS + j];
    }
    if (!NAME(all_finite)(z, s, STEPS * padded)) {
        memcpy(state->scale, ctx->before, (size_t)padded * sizeof(double));
        memset(a, 0, STEPS * bytes);
        return 0;
    }
    if (NAME(measures_row)(ctx)) {
        LNAME(ticks_at)(ctx, 0, padded, ctx->count);
        NAME(examine)(ctx, NAME(row_at)(ctx, state->row));
    }
    if (ctx->settings->fit_intercept) memcpy(state->intercept, b, bytes);
    NAME(loss_values)(loss, STEPS * padded, z, y, s, ctx->v);
    LNAME(count_block)(state, ctx->v, s, padded);
    state->row += STEPS;
    ctx->report->work += STEPS * (ctx->data->d + 16) * ((padded + 15) / 16);
    return 1;
}

static fsgd_status LNAME(chain)(NAME(context) *ctx, int64_t count, REAL *x) {
    const int64_t padded = ctx->state->padded;
    REAL G[STEPS * STEPS];
    LNAME(gram)(x, ctx->row_stride, G);
    memset(ctx->flight, 0, (size_t)(STEPS * padded) * sizeof(REAL));
    if (ctx->simple && count == STEPS &&
        (TILE < 16 || padded == TILE ? LNAME(quick_steps)(ctx, G, TILE)
                                     : LNAME(quick_steps)(ctx, G, padded)))
        return FSGD_OK;
    return LNAME(steps)(ctx, count, x, G);
}

/* Put the steps of rows x that are taken into W. */
static void LNAME(finish_block)(NAME(context) *ctx, REAL *x) {
    const char *ahead[STEPS];
    NAME(look_ahead)(ctx, ctx->state->row, STEPS, ahead);
    LNAME(pass)(ctx, x, x, ahead);
    memset(ctx->flight, 0, (size_t)(STEPS * ctx->state->padded) * sizeof(REAL));
}

static fsgd_status LNAME(run_blocks)(NAME(context) *ctx, int64_t budget) {
    const fsgd_state *state = ctx->state;
    const int64_t stride = ctx->row_stride, far = NAME(far)(ctx, STEPS);
    REAL *was = ctx->rows, *is = was + STEPS * stride;
    const char *ahead[STEPS];
    fsgd_status status = FSGD_OK;
    int64_t count = LNAME(load_block)(ctx, state->row, is);
    while (count > 0 && ctx->report->work < budget && status == FSGD_OK) {
        const int64_t first = state->row, end = first + count;
        NAME(look_ahead)(ctx, first + far, STEPS, ahead);
        LNAME(pass)(ctx, was, is, ahead);
        count = LNAME(load_block)(ctx, end, was);
        if (__builtin_expect(LNAME(chain)(ctx, end - first, is) != FSGD_OK, 0)) {
            const int64_t done = state->row - first; /* the others may be infinite */
            memset(is + done * stride, 0, (size_t)((STEPS - done) * stride) * sizeof(REAL));
            LNAME(finish_block)(ctx, is);
            status = LNAME(run_rows)(ctx, end, INT64_MAX);
            LNAME(load_block)(ctx, end, was); /* its place was in use */
        }
        REAL *swap = was;
        was = is, is = swap;
    }
    LNAME(finish_block)(ctx, was);
    return status;
}
