/* kernel.h: training for one element type and one instruction set.
 *
 * Template parameters:
 *     REAL          float or double
 *     REAL_BYTES    sizeof(REAL), for the preprocessor
 *     VECTOR_BYTES  width of the instruction set's vectors, 16 to 64
 *     NAME(x)       x with a suffix for the type
 *
 * The pieces: this file has what every layout shares (context, loading, slopes, the coefficients of
 * an update, the loop over batches); row.h is one lane on dense rows, SIMD along the features;
 * csr.h plain steps of one lane on CSR; lanes.h is everything else, SIMD along the lanes. row.h and
 * lanes.h each give a NAME(verbs).
 */

#include "vmath.h"
#include "loss.h"
#include "convert.h"

enum {
    NAME(max_width) = 3,
    NAME(ring) = 4,        /* rows in flight of a single-sample run: the current one and 3 ahead */
    NAME(max_block) = 4,   /* rows of a block of plain steps (row.h) */
    NAME(max_pairs) = 8,   /* pairs of them, in whole vectors of 16 bytes */
    NAME(short_row) = 128, /* features up to which a block has 4 rows; 2 above */
    NAME(max_chunk) = 32,  /* dense rows of a batch that are scored together */
    NAME(csr_chunk) = 256, /* the same of CSR rows, */
    NAME(csr_values) = 1 << 18,  /* of so many values */
    NAME(csr_scores) = 1 << 12,  /* and so many scores */
    NAME(loss_block) = 64,       /* single-sample scores whose loss values are computed together */
    NAME(chunk_bytes) = 1 << 17, /* of dense rows: half an L2 cache, less on small machines */
};

/* Everything a call works with: the problem, and scratch that is freed before the call returns. */
typedef struct {
    const fsgd_data *data;
    const fsgd_lanes *lanes;
    const fsgd_settings *settings;
    fsgd_state *state;
    const int64_t *order;
    const fsgd_problem *problem;
    fsgd_report *report;
    int64_t stop;            /* the row at which the run ends */
    int l1;                  /* there is an L1 penalty */
    int late_l1;             /* its truncation waits until a feature is seen again */
    int coupled;             /* lanes share a row's loss */
    int plain;               /* dense rows can be used as they lie */
    int64_t row_bytes;       /* of a dense row as it lies */
    int64_t stored;          /* of one of its values */
    int64_t row_stride;      /* padded features */
    int64_t chunk;           /* rows of a chunk; a function of the data, their type and K alone */
    REAL *rows;              /* (max(ring, chunk), row_stride) dense rows, padded with zeros */
    REAL *z, *c, *y, *s, *v; /* (chunk, padded) scores, slopes, targets, weights, losses */
    REAL *u;                 /* (padded) State's l1_total */
    REAL *spread; /* (d, padded) a CSR row's gradient over all features; NULL when not needed */
    REAL *label, *weight_positive, *weight_negative; /* (padded); weights are 0 in a frozen lane */
    double *eta, *count;                             /* (padded) */
    REAL *D, *D0;  /* (width, width, padded) of this step: features, intercept */
    REAL *p, *p0;  /* (width, padded) */
    REAL *sum;     /* where `accumulate` adds up c_i x_i: State's grad, */
    int64_t rest;  /* with what rounding leaves out so far on; 0: a chunk's sum alone, stored */
    int64_t *iota; /* (chunk) row numbers when there is no order */
    int backwards; /* dense rows are read from their end: lanes.h */
    struct NAME(crew) *crew; /* threads that share a batch, or NULL */
    void *block;
} NAME(context);

/* The verbs of a step. Each works on ctx->z, ctx->c and the state. */
typedef struct {
    void (*score)(NAME(context) *, const int64_t *rows, int64_t m);
    void (*accumulate)(NAME(context) *, const int64_t *rows, int64_t m);
    void (*norms)(NAME(context) *, const int64_t *rows, int64_t m, double *squares);
    void (*update)(NAME(context) *, const int64_t *rows, int64_t m);
    void (*update_features)(NAME(context) *, int64_t first, int64_t last);   /* of many lanes */
    void (*update_by_rows)(NAME(context) *, const int64_t *rows, int64_t m); /* CSR alone */
    fsgd_status (*run_single)(NAME(context) *, int64_t budget);
    void (*catch_up_all)(NAME(context) *);
    void (*weights)(NAME(context) *, int average, REAL *out);
} NAME(verbs);

/* ------------------------------------------------------------------ context */

static void *NAME(take)(char **free_memory, int64_t count, size_t size) {
    char *taken = *free_memory;
    *free_memory += ((size_t)count * size + 63) / 64 * 64;
    return taken;
}

/* Lay the scratch arrays out from `base` on; returns the bytes needed. */
static size_t NAME(lay_out)(NAME(context) *ctx, char *base) {
    char *at = base;
    int64_t padded = ctx->lanes->padded, chunk = ctx->chunk, width = ctx->state->width;
    int64_t rows = chunk > 2 * NAME(max_block) ? chunk : 2 * NAME(max_block);
    if (ctx->data->layout != FSGD_DENSE) rows = 0;
    ctx->rows = NAME(take)(&at, rows * ctx->row_stride, sizeof(REAL));
    ctx->z = NAME(take)(&at, chunk * padded, sizeof(REAL));
    ctx->c = NAME(take)(&at, chunk * padded, sizeof(REAL));
    ctx->y = NAME(take)(&at, chunk * padded, sizeof(REAL));
    ctx->s = NAME(take)(&at, chunk * padded, sizeof(REAL));
    ctx->v = NAME(take)(&at, chunk * padded, sizeof(REAL));
    ctx->u = NAME(take)(&at, padded, sizeof(REAL));
    ctx->label = NAME(take)(&at, padded, sizeof(REAL));
    ctx->weight_positive = NAME(take)(&at, padded, sizeof(REAL));
    ctx->weight_negative = NAME(take)(&at, padded, sizeof(REAL));
    ctx->eta = NAME(take)(&at, padded, sizeof(double));
    ctx->count = NAME(take)(&at, padded, sizeof(double));
    ctx->D = NAME(take)(&at, width * width * padded, sizeof(REAL));
    ctx->D0 = NAME(take)(&at, width * width * padded, sizeof(REAL));
    ctx->p = NAME(take)(&at, width * padded, sizeof(REAL));
    ctx->p0 = NAME(take)(&at, width * padded, sizeof(REAL));
    ctx->iota = NAME(take)(&at, chunk, sizeof(int64_t));
    int spreads = ctx->l1 && !ctx->late_l1 && ctx->data->layout != FSGD_DENSE &&
                  ctx->settings->batch_size == 1;
    ctx->spread = spreads ? NAME(take)(&at, ctx->data->d * padded, sizeof(REAL)) : NULL;
    return (size_t)(at - base);
}

static int64_t NAME(chunk_of)(const NAME(context) *ctx) {
    const fsgd_data *data = ctx->data;
    int64_t most = NAME(max_chunk);
    int64_t fit = NAME(chunk_bytes) / (ctx->row_stride * (int64_t)sizeof(REAL));
    if (data->layout != FSGD_DENSE && data->n > 0) {
        const int64_t nnz = data->layout == FSGD_CSR32 ? ((const int32_t *)data->indptr)[data->n]
                                                       : ((const int64_t *)data->indptr)[data->n];
        const int64_t by_values = NAME(csr_values) / (nnz / data->n + 1);
        most = NAME(csr_chunk);
        fit = NAME(csr_scores) / ctx->lanes->padded;
        fit = by_values < fit ? by_values : fit;
    }
    if (most > ctx->settings->batch_size) /* scratch is cleared at every call */
        most = ctx->settings->batch_size > NAME(max_chunk) ? ctx->settings->batch_size
                                                           : NAME(max_chunk);
    return fit < 1 ? 1 : fit > most ? most : fit;
}

/* Elements of a batch's gradient. */
static inline int64_t NAME(grad_size)(const fsgd_state *state) {
    return state->padded == 1 ? fsgd_padded_features(state->d) : state->d * state->padded;
}

static fsgd_status NAME(open)(NAME(context) *ctx, const fsgd_problem *problem,
                              fsgd_report *report) {
    const fsgd_lanes *lanes = problem->lanes;
    *ctx = (NAME(context)){.data = problem->data,
                           .lanes = lanes,
                           .settings = problem->settings,
                           .state = problem->state,
                           .order = problem->order,
                           .problem = problem,
                           .report = report,
                           .stop = problem->data->n,
                           .l1 = problem->state->vectors > problem->state->width,
                           .coupled = problem->settings->loss.kind == FSGD_SOFTMAX,
                           .plain = NAME(is_plain)(problem->data),
                           .row_bytes = problem->data->d * NAME(stored_bytes)(problem->data),
                           .stored = NAME(stored_bytes)(problem->data),
                           .row_stride = fsgd_padded_features(problem->data->d)};
    if (problem->stop_row < ctx->stop) ctx->stop = problem->stop_row;
    ctx->late_l1 = ctx->l1 && problem->data->layout != FSGD_DENSE && problem->state->width == 1;
    for (int64_t k = 0; ctx->late_l1 && k < lanes->k; ++k) ctx->late_l1 &= !(lanes->alpha[k] > 0);
    ctx->chunk = NAME(chunk_of)(ctx);
    size_t bytes = NAME(lay_out)(ctx, NULL);
    ctx->block = aligned_alloc(64, bytes);
    if (!ctx->block) return FSGD_NO_MEMORY;
    memset(ctx->block, 0, bytes);
    NAME(lay_out)(ctx, ctx->block);
    ctx->sum = ctx->state->grad;
    ctx->rest = NAME(grad_size)(ctx->state);
    for (int64_t k = 0; k < lanes->padded; ++k) {
        const int signs = problem->settings->sign_targets;
        const double active = ctx->state->active[k];
        ctx->label[k] = (REAL)lanes->label[k];
        ctx->weight_positive[k] = (REAL)(signs ? active * lanes->weight_positive[k] : active);
        ctx->weight_negative[k] = (REAL)(signs && !ctx->coupled ? active * lanes->weight_negative[k]
                                                                : active);
        ctx->u[k] = (REAL)ctx->state->l1_total[k];
    }
    return FSGD_OK;
}

static void NAME(close)(NAME(context) *ctx) { free(ctx->block); }

/* ------------------------------------------------------------------ rows */

/* Copy dense row i into `to` (row_stride), whose padding is zero already, as features in REAL. */
static inline void NAME(load_row)(const NAME(context) *ctx, int64_t i, REAL *restrict to) {
    const int64_t d = ctx->data->d;
    if (!ctx->plain) {
        NAME(convert_row)(ctx->data, i, to);
        return;
    }
    const REAL *from = (const REAL *)ctx->data->x + i * d;
    int64_t j = 0;
    for (; j + 16 <= d; j += 16) memcpy(to + j, from + j, 16 * sizeof(REAL));
    if (j == d) return;
    if (d >= 16) { /* the last 16, over some that are there already */
        memcpy(to + d - 16, from + d - 16, 16 * sizeof(REAL));
    } else {
        for (; j < d; ++j) to[j] = from[j];
    }
}

/* Prefetching is always inlined: gcc takes a function that only prefetches for one without effect
 * and drops its calls. */

/* Ask for a cache line to be brought into the L2 cache. Asking for the L1 cache instead takes up
 * the few misses that it can have in flight: rows of 500 features in random order then take 310 ns
 * on one processor (Zen 4) instead of 113. */
static ALWAYS_INLINE void NAME(prefetch_line)(const void *at) { __builtin_prefetch(at, 0, 2); }

/* Ask for every cache line that `bytes` from `start` on touch. */
static ALWAYS_INLINE void NAME(prefetch)(const void *start, int64_t bytes) {
    const char *line = (const char *)((uintptr_t)start & ~(uintptr_t)63);
    for (; line < (const char *)start + bytes; line += 64) NAME(prefetch_line)(line);
}

static ALWAYS_INLINE void NAME(prefetch_targets)(const NAME(context) *ctx, int64_t i) {
    const fsgd_data *data = ctx->data;
    NAME(prefetch_line)((const REAL *)data->y + i * data->n_targets);
    if (data->sample_weight) NAME(prefetch_line)((const REAL *)data->sample_weight + i);
}

static ALWAYS_INLINE void NAME(prefetch_row)(const NAME(context) *ctx, int64_t i) {
    NAME(prefetch)((const char *)ctx->data->x + i * ctx->row_bytes, ctx->row_bytes);
    NAME(prefetch_targets)(ctx, i);
}

static inline int64_t NAME(row_at)(const NAME(context) *ctx, int64_t position) {
    return ctx->order ? ctx->order[position] : position;
}

/* The position in the epoch of a chunk's rows, which lie in the order unless there is none. */
static inline int64_t NAME(position)(const NAME(context) *ctx, const int64_t *rows) {
    return ctx->order ? rows - ctx->order : rows[0];
}

/* Ask for the cache line that features j to j + 16 of a dense row lie in, at the first of the line.
 */
static ALWAYS_INLINE void NAME(ask_for_features)(const char *row, int64_t j, int64_t stored) {
    const int64_t at = j * stored;
    if (at % 64 == 0) NAME(prefetch_line)(row + at);
}

/* Rows that are asked for so far ahead of use, where they are used B at a time. */
static inline int64_t NAME(far)(const NAME(context) *ctx, int64_t B) {
    return 4096 / ctx->row_bytes + 2 * B;
}

/* Where the rows are that follow position `first` of the epoch, B of them, to be asked for a line
 * at a time. */
static ALWAYS_INLINE void NAME(look_ahead)(const NAME(context) *ctx, int64_t first, const int B,
                                           const char **ahead) {
    const int64_t last = ctx->data->n - 1;
    for (int j = 0; j < B; ++j) {
        const int64_t r = first + j < last ? first + j : last, i = NAME(row_at)(ctx, r);
        ahead[j] = (const char *)ctx->data->x + i * ctx->row_bytes;
        NAME(prefetch_targets)(ctx, i);
    }
}

/* ------------------------------------------------------------------ targets and slopes */

/* |x|^2 of a dense row that is not plain */
static double NAME(converted_square)(const fsgd_data *data, const void *row) {
    double sum = 0;
#define CALL(STORED, SCALED)                                                                       \
    for (int64_t j = 0; j < data->d; ++j) {                                                        \
        const double x = (double)NAME(feature)(data, row, j, STORED, SCALED);                      \
        sum += x * x;                                                                              \
    }
    BY_STORED(CALL)
#undef CALL
    return sum;
}

/* |x|^2 of row i */
static double NAME(row_square)(const fsgd_data *data, int64_t i) {
    if (data->layout == FSGD_DENSE && !NAME(is_plain)(data))
        return NAME(converted_square)(data, NAME(stored_row)(data, i));
    int64_t begin = i * data->d, end = begin + data->d;
    double sum = 0;
    if (data->layout == FSGD_CSR32)
        begin = ((const int32_t *)data->indptr)[i], end = ((const int32_t *)data->indptr)[i + 1];
    else if (data->layout == FSGD_CSR64)
        begin = ((const int64_t *)data->indptr)[i], end = ((const int64_t *)data->indptr)[i + 1];
    const REAL *x = (const REAL *)data->x;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t p = begin; p < end; ++p)
        sum += (double)x[p] * (double)x[p];
    return sum;
}

/* y_ik and s_ik of row i for all lanes, into y and s (padded). */
static inline void NAME(load_targets)(const NAME(context) *ctx, int64_t i, const int64_t padded,
                                      REAL *restrict y, REAL *restrict s) {
    const fsgd_data *data = ctx->data;
    const REAL *yi = (const REAL *)data->y + i * data->n_targets;
    const REAL weight = data->sample_weight ? ((const REAL *)data->sample_weight)[i] : 1;
    if (data->n_targets == 1)
        for (int64_t k = 0; k < padded; ++k) y[k] = yi[0];
    else
        for (int64_t k = 0; k < padded; ++k) y[k] = yi[ctx->lanes->target[k]];
    if (ctx->settings->sign_targets)
        for (int64_t k = 0; k < padded; ++k) y[k] = y[k] == ctx->label[k] ? 1 : -1;
    if (ctx->coupled) { /* the weight of the row's class, in every active lane */
        REAL own = 0;
        for (int64_t k = 0; k < padded; ++k) own += y[k] > 0 ? ctx->weight_positive[k] : 0;
        for (int64_t k = 0; k < padded; ++k) s[k] = weight * own * ctx->weight_negative[k];
        return;
    }
    const REAL *restrict positive = ctx->weight_positive, *restrict negative = ctx->weight_negative;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const REAL if_positive = positive[k], if_negative = negative[k];
        s[k] = weight * (y[k] > 0 ? if_positive : if_negative);
    }
    if (ctx->settings->step == FSGD_PA1 && NAME(row_square)(data, i) == 0)
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
    for (int64_t r = 0; !NAME(all_finite)(ctx->z, ctx->s, m * padded) && r < m; ++r)
        if (!NAME(all_finite)(ctx->z + r * padded, ctx->s + r * padded, padded))
            return NAME(nonfinite)(ctx, rows[r]);
    if (ctx->coupled) {
        NAME(softmax)(m, padded, ctx->z, ctx->y, ctx->s, ctx->v, ctx->c);
    } else {
        NAME(loss_values)(loss, m * padded, ctx->z, ctx->y, ctx->s, ctx->v);
        NAME(loss_slopes)(loss, m * padded, ctx->z, ctx->y, ctx->s, ctx->c);
    }
    for (int64_t r = 0; loss->kind == FSGD_COMPILED && r < m; ++r)
        if (!NAME(all_finite)(ctx->c + r * padded, ctx->s + r * padded, padded) ||
            !NAME(all_finite)(ctx->v + r * padded, ctx->s + r * padded, padded))
            return NAME(nonfinite)(ctx, rows[r]);
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
    const double square = NAME(row_square)(ctx->data, row);
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

/* Whether a row as a step of its own must be examined. */
static ALWAYS_INLINE int NAME(to_examine)(const NAME(context) *ctx) {
    return (ctx->state->row & 63) == 0 || ctx->settings->step != FSGD_GRADIENT ||
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

/* ------------------------------------------------------------------ coefficients of an update */

/* Epochs done at a row of the running one, with the fraction in batches; 0 where no rate asks. */
static ALWAYS_INLINE double NAME(epochs_at)(const NAME(context) *ctx, int64_t row) {
    const int64_t size = ctx->settings->batch_size, n = ctx->data->n;
    if (ctx->settings->schedule.kind < FSGD_STEP) return 0;
    return (double)ctx->state->epoch + (double)(row / size) / (double)((n + size - 1) / size);
}

/* The rate of lane k at its update t and at a row of the epoch, `factor` being the schedule's. */
static ALWAYS_INLINE double NAME(rate_at)(const NAME(context) *ctx, int64_t k, double t,
                                          double factor, int64_t row) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const fsgd_lanes *lanes = ctx->lanes;
    double eta = lanes->eta0[k] * factor;
    if (schedule->kind == FSGD_INVERSE) {
        eta *= fsgd_inverse_power(1 + lanes->eta0[k] * lanes->mu[k] * (t - 1), schedule->power_t);
    } else if (schedule->kind == FSGD_CALLABLE) {
        const fsgd_problem *problem = ctx->problem;
        const int64_t batch = (row - problem->rates_row) / ctx->settings->batch_size;
        eta = factor * problem->rates[batch * lanes->padded + k];
    }
    return eta * ctx->state->rate_factor[k];
}

/* The same as `tick`, in loops that vectorise, where all lanes that tick are at one update; else
 * nothing, and 0. */
static ALWAYS_INLINE int NAME(tick_together)(NAME(context) *ctx, const int64_t padded,
                                             const double *restrict count, double e) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const double *restrict eta0 = ctx->lanes->eta0, *restrict mu = ctx->lanes->mu;
    const double *restrict own = ctx->state->rate_factor;
    double *restrict eta = ctx->eta;
    int64_t *restrict t = ctx->state->t, first = 0;
    const int roots = schedule->power_t == 0.5;
    if (schedule->kind == FSGD_CALLABLE) return 0;
    if (schedule->kind == FSGD_INVERSE && !roots && schedule->power_t != 1) return 0;
    while (first < padded && !(count[first] > 0)) ++first;
    if (first == padded) return 0;
    int64_t differ = 0;
    const int64_t now = t[first] + 1;
    for (int64_t k = 0; k < padded; ++k) differ |= (count[k] > 0) & (t[k] + 1 != now);
    if (differ) return 0;
    const double factor = fsgd_schedule_factor(schedule, (double)now, e);
    const double before = (double)(now - 1);
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        double rate = eta0[k] * factor;
        if (schedule->kind == FSGD_INVERSE) {
            const double x = 1 + eta0[k] * mu[k] * before;
            rate *= roots ? 1.0 / sqrt(x) : 1.0 / x;
        }
        eta[k] = count[k] > 0 ? rate * own[k] : 0;
        t[k] += count[k] > 0;
    }
    ctx->report->eta = eta[first];
    return 1;
}

/* Tick the lanes that have rows (count > 0) and find their rates; eta is 0 in the others. */
static ALWAYS_INLINE void NAME(tick)(NAME(context) *ctx, const int64_t padded,
                                     const double *count) {
    fsgd_state *state = ctx->state;
    const double e = NAME(epochs_at)(ctx, state->row);
    if (padded > 1 && NAME(tick_together)(ctx, padded, count, e)) return;
    double factor = 1, factor_t = -1;
    int first = 1;
    for (int64_t k = 0; k < padded; ++k) {
        if (!(count[k] > 0)) {
            ctx->eta[k] = 0;
            continue;
        }
        double t = (double)++state->t[k];
        if (t != factor_t) factor = fsgd_schedule_factor(&ctx->settings->schedule, factor_t = t, e);
        ctx->eta[k] = NAME(rate_at)(ctx, k, t, factor, state->row);
        if (first) ctx->report->eta = ctx->eta[k];
        first = 0;
    }
}

/* Multiply the stored weights by their scales, which become 1. */
static void NAME(unscale)(NAME(context) *ctx) {
    fsgd_state *state = ctx->state;
    for (int64_t j = 0; j < state->d; ++j) {
        REAL *w = (REAL *)state->w + j * state->feature_stride;
        for (int64_t k = 0; k < state->padded; ++k) w[k] = (REAL)((double)w[k] * state->scale[k]);
    }
    for (int64_t k = 0; k < state->padded; ++k) state->scale[k] = 1;
    ctx->report->work += state->d;
}

/* width 1: the L2 penalty goes into the scale, w = scale * stored; stored += p g. */
static ALWAYS_INLINE void NAME(plan_scaled)(NAME(context) *ctx, const int64_t padded,
                                            const double *restrict count) {
    const double *restrict eta = ctx->eta, *restrict alpha = ctx->lanes->alpha;
    double *restrict scale = ctx->state->scale;
    REAL *restrict p = ctx->p, *restrict p0 = ctx->p0;
    int renormalise = 0, clipped = 0;
    _Pragma("omp simd reduction(| : renormalise, clipped)") for (int64_t k = 0; k < padded; ++k) {
        const double decay = 1 - eta[k] * alpha[k];
        clipped |= decay <= 0;
        scale[k] *= decay > 0 ? decay : 0;
        renormalise |= scale[k] < 1e-9;
    }
    ctx->report->clipped |= clipped;
    if (__builtin_expect(renormalise, 0)) NAME(unscale)(ctx);
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const double rate = -eta[k] / (count[k] > 0 ? count[k] : 1);
        p0[k] = (REAL)rate;
        p[k] = (REAL)(rate / scale[k]);
    }
}

/* width 2 and 3, and with L1: u += D u + p g with u = (w, [v], [q]); D0 is D without the penalty.
 */
static ALWAYS_INLINE void NAME(plan_linear)(NAME(context) *ctx, const int64_t padded,
                                            const int width, const double *count) {
    const fsgd_settings *settings = ctx->settings;
    const double beta = settings->momentum;
    const int has_v = beta > 0, has_q = settings->average > 0, q = width - 1;
    for (int64_t k = 0; k < padded; ++k) {
        double D[3][3] = {{0}}, D0[3][3] = {{0}}, p[3] = {0};
        const double eta = ctx->eta[k], alpha = ctx->lanes->alpha[k];
        const double ticks = count[k] > 0, m = ticks > 0 ? count[k] : 1;
        if (has_v) {
            const double direct = settings->nesterov ? eta * (1 + beta) : eta;
            D0[0][1] = D[0][1] = -eta * beta * (settings->nesterov ? beta : 1);
            D0[1][1] = D[1][1] = ticks * (beta - 1);
            D[0][0] = -direct * alpha;
            D[1][0] = ticks * alpha;
            p[0] = -direct / m;
            p[1] = ticks / m;
        } else {
            D[0][0] = eta * alpha < 1 ? -eta * alpha : -1;
            ctx->report->clipped |= eta * alpha >= 1;
            p[0] = -eta / m;
        }
        if (has_q) { /* q = N (a - w): what w gains, q loses N times */
            double N = (double)(ctx->state->t[k] - settings->average);
            N = N > 0 ? N : 0;
            for (int b = 0; b < q; ++b) D[q][b] = -N * D[0][b], D0[q][b] = -N * D0[0][b];
            p[q] = -N * p[0];
        }
        for (int a = 0; a < width; ++a) {
            ctx->p[a * padded + k] = ctx->p0[a * padded + k] = (REAL)p[a];
            for (int b = 0; b < width; ++b) {
                ctx->D[(a * width + b) * padded + k] = (REAL)D[a][b];
                ctx->D0[(a * width + b) * padded + k] = (REAL)D0[a][b];
            }
        }
    }
}

/* Called with constants where a step is short; NAME(plan_lanes) is the one for many lanes. */
static ALWAYS_INLINE void NAME(plan)(NAME(context) *ctx, const int64_t padded, const int width,
                                     const double *count) {
    NAME(tick)(ctx, padded, count);
    if (width == 1 && !ctx->l1)
        NAME(plan_scaled)(ctx, padded, count);
    else
        NAME(plan_linear)(ctx, padded, width, count);
    for (int64_t k = 0; ctx->l1 && k < padded; ++k) {
        ctx->state->l1_total[k] += ctx->eta[k] * ctx->lanes->l1[k];
        ctx->u[k] = (REAL)ctx->state->l1_total[k];
    }
}

static void NAME(plan_lanes)(NAME(context) *ctx, const double *count) {
    NAME(plan)(ctx, ctx->lanes->padded, (int)ctx->state->width, count);
}

/* Intercepts: u += D0 u + p0 g with g (padded) the sum of slopes, and pull for each of `count`. */
static ALWAYS_INLINE void NAME(update_intercept)(NAME(context) *ctx, const int64_t padded,
                                                 const int width, const REAL *g,
                                                 const double *count) {
    REAL *u = ctx->state->intercept;
    if (!ctx->settings->fit_intercept) return;
    if (width == 1 && padded > 1) {
        const REAL *restrict p0 = ctx->p0;
        const double *restrict pull = ctx->lanes->pull;
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
            u[k] += p0[k] * (g[k] + (REAL)(count[k] * pull[k]));
        return;
    }
    for (int64_t k = 0; k < padded; ++k) {
        REAL change[NAME(max_width)];
        const REAL sum = g[k] + (REAL)(count[k] * ctx->lanes->pull[k]);
        for (int a = 0; a < width; ++a) {
            change[a] = ctx->p0[a * padded + k] * sum;
            for (int b = 0; width > 1 && b < width; ++b)
                change[a] += ctx->D0[(a * width + b) * padded + k] * u[b * padded + k];
        }
        for (int a = 0; a < width; ++a) u[a * padded + k] += change[a];
    }
}

static void NAME(update_intercepts)(NAME(context) *ctx, const REAL *g, const double *count) {
    NAME(update_intercept)(ctx, ctx->lanes->padded, (int)ctx->state->width, g, count);
}

/* ------------------------------------------------------------------ the L1 penalty */

/* a with the sign of b */
static ALWAYS_INLINE REAL NAME(signed_as)(REAL a, REAL b) {
    return sizeof(REAL) == 4 ? (REAL)__builtin_copysignf((float)a, (float)b)
                             : (REAL)__builtin_copysign((double)a, (double)b);
}

/* Truncate a weight that has received `paid` of the penalty u, and count what it has received then.
 * Twice changes nothing more than once, to the bit. There are no branches: their outcome is chance,
 * and they cost a factor 4 on CSR. */
static ALWAYS_INLINE void NAME(truncate)(REAL *w, REAL *paid, REAL u) {
    const REAL sign = NAME(signed_as)(1, *w), size = sign * *w, got = sign * *paid;
    REAL left = size - (u + got);
    left = left > 0 ? left : 0;
    left = left < size ? left : size; /* never away from 0, whatever rounding makes of u + got */
    const REAL all = -u, more = got - size;
    NAME(ubits) bits_all, bits_more, alive = (NAME(ubits))0 - (NAME(ubits))(left > 0);
    memcpy(&bits_all, &all, sizeof all);
    memcpy(&bits_more, &more, sizeof more);
    bits_all = (bits_all & alive) | (bits_more & ~alive);
    REAL then;
    memcpy(&then, &bits_all, sizeof then);
    *w = sign * left;
    *paid = sign * then;
}

/* Truncate a feature of all lanes, w and paid (padded); w is no part of an average. */
static ALWAYS_INLINE void NAME(truncate_late)(const REAL *u, int64_t padded, REAL *w, REAL *paid) {
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        REAL weight = w[k], received = paid[k];
        NAME(truncate)(&weight, &received, u[k]);
        w[k] = weight, paid[k] = received;
    }
}

/* All truncations that wait. */
static void NAME(truncate_all)(NAME(context) *ctx) {
    fsgd_state *state = ctx->state;
    for (int64_t j = 0; j < state->d; ++j) {
        REAL *w = (REAL *)state->w + j * state->feature_stride;
        NAME(truncate_late)(ctx->u, state->padded, w, w + state->width * state->vector_stride);
    }
    state->pending = 0;
    ctx->report->work += state->d;
}

/* ------------------------------------------------------------------ the model */

/* a = w + q / N where a lane has averaged N > 0 weights and `average` is asked for, else w */
static REAL NAME(model)(const NAME(context) *ctx, int average, int64_t k, REAL w, REAL q) {
    int64_t start = ctx->settings->average, N = ctx->state->t[k] - start + 1;
    return average && start > 0 && N > 0 ? (REAL)((double)w + (double)q / (double)N) : w;
}

#undef BY_STORED

/* ------------------------------------------------------------------ the two families */

#include "row.h"
#include "csr.h"

#define TILE 1
#include "lanes.h"
#define TILE 4
#include "lanes.h"
#define TILE 8
#include "lanes.h"
#define TILE 16
#include "lanes.h"

static const NAME(verbs) *NAME(verbs_for)(const NAME(context) *ctx) {
    switch (ctx->lanes->padded) {
    case 1: return ctx->data->layout == FSGD_DENSE ? &NAME(row_verbs) : &TILE_NAME(lanes_verbs, 1);
    case 4: return &TILE_NAME(lanes_verbs, 4);
    case 8: return &TILE_NAME(lanes_verbs, 8);
    default: return &TILE_NAME(lanes_verbs, 16);
    }
}

/* Do what an earlier run left pending: before a kernel that works on plain vectors. */
static void NAME(settle_pending)(NAME(context) *ctx, const NAME(verbs) *verbs) {
    if (ctx->state->pending > 0 && ctx->l1) {
        NAME(truncate_all)(ctx);
    } else if (ctx->state->pending > 0) {
        verbs = ctx->lanes->padded == 1 ? &TILE_NAME(lanes_verbs, 1) : verbs;
        verbs->catch_up_all(ctx);
    }
}

/* ------------------------------------------------------------------ the run */

static const int64_t *NAME(rows_at)(NAME(context) *ctx, int64_t position, int64_t m) {
    if (ctx->order) return ctx->order + position;
    for (int64_t r = 0; r < m; ++r) ctx->iota[r] = position + r;
    return ctx->iota;
}

/* grad_intercept += sum_r c_r of a chunk: c (m, padded) */
static void NAME(accumulate_intercepts)(fsgd_state *state, const REAL *c, int64_t m) {
    const int64_t padded = state->padded, tile = padded < 16 ? padded : 16;
    for (int64_t first = 0; first < padded; first += tile) {
        REAL sum[16] = {0};
        for (int64_t r = 0; r < m; ++r)
            for (int64_t k = 0; k < tile; ++k) sum[k] += c[r * padded + first + k];
        for (int64_t k = 0; k < tile; ++k)
            NAME(add)((REAL *)state->grad_intercept + first + k, padded, sum[k]);
    }
}

static void NAME(accumulate_rows)(NAME(context) *ctx, const NAME(verbs) *verbs, const int64_t *rows,
                                  int64_t m) {
    verbs->accumulate(ctx, rows, m);
    NAME(accumulate_intercepts)(ctx->state, ctx->c, m);
}

#include "together.h"

static void NAME(close_batch)(NAME(context) *ctx, const NAME(verbs) *verbs, int64_t m) {
    fsgd_state *state = ctx->state;
    const int64_t *rows = ctx->order ? ctx->order + state->row : NULL;
    const int measured = NAME(is_measured)(ctx);
    const int ticks = NAME(ticks)(state);
    if (ticks && (measured || ctx->settings->clip_norm < INFINITY)) {
        const REAL *g_b = state->grad_intercept;
        double *squares = ctx->eta; /* (padded), free until the update */
        for (int64_t k = 0; k < state->padded; ++k)
            squares[k] = ctx->settings->fit_intercept ? (double)g_b[k] * (double)g_b[k] : 0;
        verbs->norms(ctx, rows, m, squares);
        for (int64_t k = 0; k < state->padded; ++k) {
            const double count = state->batch_count[k];
            if (count > 0)
                state->batch_count[k] = NAME(clip)(ctx, k, measured, sqrt(squares[k]) / count,
                                                   count);
        }
    }
    if (ticks && ctx->crew && verbs->update_features)
        NAME(update_together)(ctx->crew);
    else if (ticks)
        verbs->update(ctx, rows, m);
    memset(state->grad_intercept, 0, 2 * (size_t)state->padded * sizeof(REAL));
    memset(state->batch_count, 0, (size_t)state->padded * sizeof(double));
    state->row += m;
    state->batch_row = state->batch_nnz = 0;
}

/* Whether a batch's slopes go straight into the weights, row by row: on CSR that touches less
 * memory than a gradient does. Batches of one chunk, whose norm nobody asks for. */
static int NAME(updates_by_rows)(const NAME(context) *ctx) {
    return ctx->data->layout != FSGD_DENSE && ctx->settings->batch_size <= ctx->chunk &&
           !(ctx->settings->clip_norm < INFINITY) && (!ctx->l1 || ctx->late_l1);
}

/* Batches of more than one row, in chunks; may stop between any two chunks. */
static fsgd_status NAME(run_batches)(NAME(context) *ctx, const NAME(verbs) *verbs, int64_t budget) {
    fsgd_state *state = ctx->state;
    fsgd_status status = FSGD_OK;
    const int by_rows = NAME(updates_by_rows)(ctx);
    const int64_t n = ctx->data->n;
    NAME(crew) crew;
    NAME(assemble)(&crew, ctx, verbs);
    const int64_t most = ctx->crew ? crew.most * ctx->chunk : ctx->chunk;
    while (state->row < ctx->stop && ctx->report->work < budget) {
        int64_t left = n - state->row;
        int64_t m = ctx->settings->batch_size < left ? ctx->settings->batch_size : left;
        int64_t count = m - state->batch_row < most ? m - state->batch_row : most;
        const int64_t *rows = NAME(rows_at)(ctx, state->row + state->batch_row, count);
        if (ctx->crew) {
            status = NAME(gather_together)(&crew, rows, count);
            if (status != FSGD_OK) break;
        } else {
            verbs->score(ctx, rows, count);
            status = NAME(slopes)(ctx, rows, count);
            if (status != FSGD_OK) break;
            if (by_rows && state->batch_row == 0 && !NAME(is_measured)(ctx)) {
                if (NAME(ticks)(state)) verbs->update_by_rows(ctx, rows, count);
                memset(state->batch_count, 0, (size_t)state->padded * sizeof(double));
                state->row += m;
                continue;
            }
            NAME(accumulate_rows)(ctx, verbs, rows, count);
            state->batch_row += count;
        }
        if (state->batch_row == m) NAME(close_batch)(ctx, verbs, m);
    }
    if (ctx->crew) NAME(dismiss)(&crew);
    return status;
}

static fsgd_status NAME(run)(const fsgd_problem *problem, int64_t budget, fsgd_report *report) {
    NAME(context) ctx;
    fsgd_state *state = problem->state;
    *report = (fsgd_report){.eta = NAN};
    fsgd_status status = NAME(open)(&ctx, problem, report);
    if (status != FSGD_OK) return status;
    const NAME(verbs) *verbs = NAME(verbs_for)(&ctx);
    if (problem->data->layout == FSGD_DENSE || (ctx.l1 && !ctx.late_l1))
        NAME(settle_pending)(&ctx, verbs);
    if (state->row == 0 && state->batch_row == 0)
        for (int64_t k = 0; k < state->padded; ++k) {
            state->loss_sum[k] = state->row_count[k] = 0;
            state->norm_sum[k] = state->norm_count[k] = 0;
        }
    status = problem->settings->batch_size == 1 ? verbs->run_single(&ctx, budget)
                                                : NAME(run_batches)(&ctx, verbs, budget);
    if (status == FSGD_OK && state->row == problem->data->n) {
        state->epoch += 1;
        state->row = 0;
        report->epoch_done = 1;
    }
    NAME(close)(&ctx);
    return status;
}

/* ------------------------------------------------------------------ the verbs on their own */

static fsgd_status NAME(do_verb)(verb_name verb, const fsgd_problem *problem, const int64_t *rows,
                                 int64_t m, REAL *z, REAL *c) {
    NAME(context) ctx;
    fsgd_report report = {0};
    fsgd_status status = NAME(open)(&ctx, problem, &report);
    if (status != FSGD_OK) return status;
    const int64_t padded = problem->lanes->padded;
    const NAME(verbs) *verbs = NAME(verbs_for)(&ctx);
    ctx.order = NULL; /* which may not be drawn yet */
    if (problem->data->layout == FSGD_DENSE || (ctx.l1 && !ctx.late_l1))
        NAME(settle_pending)(&ctx, verbs);
    for (int64_t r = 0; r < m && status == FSGD_OK; r += ctx.chunk) {
        int64_t count = m - r < ctx.chunk ? m - r : ctx.chunk;
        size_t bytes = (size_t)(count * padded) * sizeof(REAL);
        if (verb == SCORE) {
            verbs->score(&ctx, rows + r, count);
            memcpy(z + r * padded, ctx.z, bytes);
        } else if (verb == SLOPE) {
            memcpy(ctx.z, z + r * padded, bytes);
            status = NAME(slopes)(&ctx, rows + r, count);
            memcpy(c + r * padded, ctx.c, bytes);
        } else {
            if (ctx.data->layout == FSGD_DENSE)
                for (int64_t i = 0; i < count; ++i)
                    NAME(load_row)(&ctx, rows[r + i], ctx.rows + i * ctx.row_stride);
            memcpy(ctx.c, c + r * padded, bytes);
            NAME(accumulate_rows)(&ctx, verbs, rows + r, count);
        }
    }
    NAME(close)(&ctx);
    return status;
}

static fsgd_status NAME(score)(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                               void *z) {
    return NAME(do_verb)(SCORE, problem, rows, m, z, NULL);
}

static fsgd_status NAME(slope)(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                               const void *z, void *c) {
    return NAME(do_verb)(SLOPE, problem, rows, m, (void *)(uintptr_t)z, c);
}

static fsgd_status NAME(accumulate)(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                                    const void *c) {
    return NAME(do_verb)(ACCUMULATE, problem, rows, m, NULL, (void *)(uintptr_t)c);
}

static fsgd_status NAME(settle)(const fsgd_problem *problem) {
    NAME(context) ctx;
    fsgd_report report = {0};
    if (NAME(open)(&ctx, problem, &report) != FSGD_OK) return FSGD_NO_MEMORY;
    NAME(settle_pending)(&ctx, NAME(verbs_for)(&ctx));
    if (ctx.state->width == 1 && !ctx.l1) NAME(unscale)(&ctx);
    NAME(close)(&ctx);
    return FSGD_OK;
}

static fsgd_status NAME(weights)(const fsgd_problem *problem, int average, void *out,
                                 void *intercept) {
    NAME(context) ctx;
    fsgd_report report = {0};
    const fsgd_state *state = problem->state;
    const int64_t last = (state->width - 1) * state->padded;
    if (NAME(open)(&ctx, problem, &report) != FSGD_OK) return FSGD_NO_MEMORY;
    const NAME(verbs) *verbs = state->padded == 1 ? &TILE_NAME(lanes_verbs, 1)
                                                  : NAME(verbs_for)(&ctx);
    verbs->weights(&ctx, average, out);
    for (int64_t k = 0; k < state->k; ++k) {
        const REAL *u = (const REAL *)state->intercept + k;
        ((REAL *)intercept)[k] = NAME(model)(&ctx, average, k, u[0], u[last]);
    }
    NAME(close)(&ctx);
    return FSGD_OK;
}

static void NAME(loss_at)(const fsgd_loss_spec *loss, int slope, int64_t n, const void *z,
                          const void *y, void *out) {
    REAL one[64];
    for (int i = 0; i < 64; ++i) one[i] = 1;
    for (int64_t i = 0; i < n; i += 64) {
        int64_t m = n - i < 64 ? n - i : 64;
        const REAL *zi = (const REAL *)z + i, *yi = (const REAL *)y + i;
        if (slope)
            NAME(loss_slopes)(loss, m, zi, yi, one, (REAL *)out + i);
        else
            NAME(loss_values)(loss, m, zi, yi, one, (REAL *)out + i);
    }
}
