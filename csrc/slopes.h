/* slopes.h: targets, and from scores to slopes, losses and counts. Template parameters as in
 * kernel.h.
 */

/* y_ik and s_ik of row i for all lanes, into y and s (padded). */
static inline void NAME(load_targets)(const NAME(context) *ctx, int64_t i, const int64_t padded,
                                      REAL *restrict y, REAL *restrict s) {
    const fsgd_data *data = ctx->data;
    const REAL *yi = (const REAL *)data->y + i * data->n_targets;
    const REAL weight = data->sample_weight ? ((const REAL *)data->sample_weight)[i] : 1;
    const REAL *restrict label = ctx->label, first = yi[0];
    const int one = data->n_targets == 1, signs = ctx->settings->sign_targets;
    if (one && signs)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) y[k] = first == label[k] ? 1 : -1;
    else if (one)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) y[k] = first;
    else
        for (int64_t k = 0; k < padded; ++k) y[k] = yi[ctx->lanes->target[k]];
    if (!one && signs)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) y[k] = y[k] == label[k] ? 1 : -1;
    if (ctx->coupled) { /* the weight of the row's class, in every active lane */
        REAL own = 0;
        for (int64_t k = 0; k < padded; ++k) own += y[k] > 0 ? ctx->weight_positive[k] : 0;
        for (int64_t k = 0; k < padded; ++k) s[k] = weight * own * ctx->weight_negative[k];
        return;
    }
    const REAL *restrict positive = ctx->weight_positive, *restrict negative = ctx->weight_negative;
    const uint64_t held_out = padded > 1 && data->held_out ? data->held_out[i] : 0;
    const uint64_t *restrict split = ctx->lanes->split;
    if (held_out) _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const REAL if_positive = positive[k], if_negative = negative[k];
            const REAL own = weight * (y[k] > 0 ? if_positive : if_negative);
            s[k] = held_out & split[k] ? 0 : own;
        }
    else
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const REAL if_positive = positive[k], if_negative = negative[k];
            s[k] = weight * (y[k] > 0 ? if_positive : if_negative);
        }
    if (ctx->settings->step == FSGD_PA1 && NAME(row_square)(ctx, i) == 0)
        for (int64_t k = 0; k < padded; ++k) s[k] = 0; /* no step could make it passive */
}

static fsgd_status NAME(nonfinite)(NAME(context) *ctx, int64_t row) {
    ctx->report->row = row;
    ctx->report->step = ctx->state->t[0];
    for (int64_t k = 1; k < ctx->lanes->k; ++k)
        if (ctx->state->t[k] > ctx->report->step) ctx->report->step = ctx->state->t[k];
    return FSGD_NONFINITE;
}

/* Kahan's sum: a full batch of n float32 rows is as exact as one row. The part that rounding leaves
 * out stands `rest` elements on; where rest is 0 the term is stored as it is. */
static ALWAYS_INLINE void NAME(add)(REAL *sum, int64_t rest, REAL term) {
    const REAL y = term - sum[rest], t = *sum + y;
    sum[rest] = (t - *sum) - y;
    *sum = t;
}

/* Whether z (m) is finite wherever s > 0: 0 * infinity and 0 * NaN are NaN. */
static inline int NAME(all_finite)(const REAL *z, const REAL *s, int64_t m) {
    int finite = 1;
    for (int64_t i = 0; i < m; ++i) finite &= (0 * z[i] == 0) | !(s[i] > 0);
    return finite;
}

/* Report the first row whose numbers (m, padded) are not all finite where s > 0. */
static fsgd_status NAME(first_bad)(NAME(context) *ctx, const int64_t *rows, const REAL *numbers) {
    const int64_t padded = ctx->lanes->padded;
    int64_t r = 0;
    while (NAME(all_finite)(numbers + r * padded, ctx->s + r * padded, padded)) ++r;
    return NAME(nonfinite)(ctx, rows[r]);
}

/* Targets and weights of m rows, into ctx->y and ctx->s. */
static ALWAYS_INLINE void NAME(load_all_targets)(const NAME(context) *ctx, const int64_t *rows,
                                                 int64_t m, const int64_t padded) {
    for (int64_t r = 0; r < m; ++r)
        NAME(load_targets)(ctx, rows[r], padded, ctx->y + r * padded, ctx->s + r * padded);
}

/* Slopes c and losses v of m rows whose scores are in z. */
static fsgd_status NAME(slopes_of)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    const int64_t padded = ctx->lanes->padded;
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    if (padded == 1)
        NAME(load_all_targets)(ctx, rows, m, 1);
    else
        NAME(load_all_targets)(ctx, rows, m, padded);
    if (!NAME(all_finite)(ctx->z, ctx->s, m * padded)) return NAME(first_bad)(ctx, rows, ctx->z);
    if (ctx->coupled) {
        NAME(softmax)(m, padded, ctx->z, ctx->y, ctx->s, ctx->v, ctx->c);
    } else {
        NAME(loss_values)(loss, m * padded, ctx->z, ctx->y, ctx->s, ctx->v);
        NAME(loss_slopes)(loss, m * padded, ctx->z, ctx->y, ctx->s, ctx->c);
    }
    if (loss->kind == FSGD_COMPILED) {
        if (!NAME(all_finite)(ctx->c, ctx->s, m * padded))
            return NAME(first_bad)(ctx, rows, ctx->c);
        if (!NAME(all_finite)(ctx->v, ctx->s, m * padded))
            return NAME(first_bad)(ctx, rows, ctx->v);
    }
    return FSGD_OK;
}

/* Losses v and counts of m rows go into the state's sums: v, s (m, padded). */
static void NAME(count_rows)(fsgd_state *state, const REAL *v, const REAL *s, int64_t m) {
    const int64_t padded = state->padded;
    double *restrict loss_sum = state->loss_sum, *restrict rows = state->row_count;
    double *restrict batch = state->batch_count;
    if (m == 1) {
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const double count = s[k] > 0 ? 1.0 : 0.0;
            loss_sum[k] += (double)v[k];
            rows[k] += count;
            batch[k] += count;
        }
        return;
    }
    for (int64_t k = 0; k < padded; ++k) {
        double loss = loss_sum[k], count = 0;
        for (int64_t r = 0; r < m; ++r) {
            loss += (double)v[r * padded + k];
            count += s[r * padded + k] > 0 ? 1.0 : 0.0;
        }
        loss_sum[k] = loss;
        rows[k] += count;
        batch[k] += count;
    }
}

/* Slopes of m rows whose scores are in z; their losses and counts go into the state's sums. */
static fsgd_status NAME(slopes)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    const fsgd_status status = NAME(slopes_of)(ctx, rows, m);
    if (status == FSGD_OK) NAME(count_rows)(ctx->state, ctx->v, ctx->s, m);
    return status;
}

/* Whether a lane has rows in the batch that is complete: else it is no step. */
static int NAME(ticks)(const fsgd_state *state) {
    int any = 0;
    for (int64_t k = 0; k < state->padded; ++k) any |= state->batch_count[k] > 0;
    return any;
}

/* Whether the batch at the current row counts in norm_sum: one in 16, and at most once in 64 rows.
 */
static inline int NAME(is_measured)(const NAME(context) *ctx) {
    const int64_t size = ctx->settings->batch_size, every = size < 4 ? 64 / size : 16;
    return ctx->state->row / size % every == 0;
}

/* Measure and clip the batch gradient of lane k, whose norm is given: a clipped lane counts more
 * rows, so that its mean is shorter. */
static inline double NAME(clip)(NAME(context) *ctx, int64_t k, int measured, double norm,
                                double count) {
    if (measured) {
        ctx->state->norm_sum[k] += norm * norm;
        ctx->state->norm_count[k] += 1;
    }
    return norm > ctx->settings->clip_norm ? count * (norm / ctx->settings->clip_norm) : count;
}

/* What one row as a step of its own may need beside its slopes: |x|^2, for a passive-aggressive
 * step, the norm of its gradient, and to clip it. Changes c and count. */
static void NAME(examine)(NAME(context) *ctx, int64_t row) {
    const fsgd_settings *settings = ctx->settings;
    const double square = NAME(row_square)(ctx, row);
    const double length = sqrt(square + (settings->fit_intercept ? 1 : 0));
    const int measured = NAME(is_measured)(ctx);
    for (int64_t k = 0; k < ctx->lanes->padded; ++k) {
        const double s = (double)ctx->s[k];
        if (!(ctx->count[k] > 0)) continue;
        if (settings->step != FSGD_GRADIENT) {
            const double eta = ctx->lanes->eta0[k] * ctx->state->rate_factor[k];
            const double loss = (double)ctx->v[k] / s;
            double part = loss / (eta * square + (settings->step == FSGD_PA2 ? 0.5 : 0));
            if (settings->step == FSGD_PA1 && part > 1) part = 1;
            if (!(loss > 0)) part = 0;
            ctx->c[k] = (REAL)(s * part * (double)((ctx->c[k] > 0) - (ctx->c[k] < 0)));
        }
        ctx->count[k] = NAME(clip)(ctx, k, measured, fabs((double)ctx->c[k]) * length,
                                   ctx->count[k]);
    }
}

/* `is_measured` where steps are of single rows, without its divisions. */
static ALWAYS_INLINE int NAME(measures_row)(const NAME(context) *ctx) {
    return (ctx->state->row & 63) == 0;
}

/* Whether a row as a step of its own must be examined. */
static ALWAYS_INLINE int NAME(to_examine)(const NAME(context) *ctx) {
    return NAME(measures_row)(ctx) || ctx->settings->step != FSGD_GRADIENT ||
           ctx->settings->clip_norm < INFINITY;
}

/* The same for one row as a step of its own: count (padded) says which lanes tick, *ticks if any.
 */
static fsgd_status NAME(slopes_single)(NAME(context) *ctx, int64_t row, int *ticks) {
    double *counted = ctx->state->batch_count;
    fsgd_status status = NAME(slopes)(ctx, &row, 1);
    *ticks = 0;
    for (int64_t k = 0; k < ctx->lanes->padded; ++k) {
        ctx->count[k] = counted[k];
        *ticks |= counted[k] > 0;
        counted[k] = 0;
    }
    if (status == FSGD_OK && *ticks && NAME(to_examine)(ctx)) NAME(examine)(ctx, row);
    return status;
}
