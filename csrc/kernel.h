/* kernel.h: training for one element type and one instruction set.
 *
 * Template parameters:
 *     REAL          float or double
 *     REAL_BYTES    sizeof(REAL), for the preprocessor
 *     VECTOR_BYTES  width of the instruction set's vectors, 16 to 64
 *     NAME(x)       x with a suffix for the type
 *
 * The pieces: this file has the context of a call, the loop over batches and the verbs on their
 * own; rows.h reads rows, slopes.h makes slopes of scores, update.h the coefficients of an update.
 * row.h is one lane on dense rows, SIMD along the features; csr.h plain steps of one lane on CSR;
 * lanes.h everything else, SIMD along the lanes. row.h and lanes.h each give a NAME(verbs).
 */

#include "vmath.h"
#include "loss.h"
#include "convert.h"

enum {
    NAME(max_width) = 3,
    NAME(ring) = 4,      /* rows in flight of a single-sample run: the current one and 3 ahead */
    NAME(max_block) = 4, /* rows of a block of plain steps (row.h) */
    NAME(in_flight) = 2 * NAME(max_block),
    NAME(max_pairs) = 8,         /* pairs of them, in whole vectors of 16 bytes */
    NAME(short_row) = 128,       /* features up to which a block has 4 rows; 2 above */
    NAME(long_bytes) = 4096,     /* of a row from which a block reads it where it lies, */
    NAME(near_bytes) = 1536,     /* and where rows that follow each other lie side by side */
    NAME(max_chunk) = 32,        /* dense rows of a batch that are scored together */
    NAME(csr_chunk) = 256,       /* the same of CSR rows, */
    NAME(csr_scores) = 1 << 12,  /* of so many scores */
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
    int unclipped;           /* a step is a rate times the slope */
    int simple;              /* a row's step depends on its scores by the slope of the loss alone */
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
    REAL *D, *D0;   /* (width, width, padded) of this step: features, intercept */
    REAL *p, *p0;   /* (width, padded), or of the steps of a block (max_block, padded) */
    REAL *scale;    /* (max_block, padded) of the steps of a block */
    double *before; /* (padded) scales before it */
    double *done;   /* (padded) updates of each lane */
    REAL *flight;   /* (in_flight, padded) numbers in the units of stored weights, of no row of W */
    REAL *sum;      /* where `accumulate` adds up c_i x_i: State's grad, */
    int64_t rest;   /* with what rounding leaves out so far on; 0: a chunk's sum alone, stored */
    int64_t *iota;  /* (chunk) row numbers when there is no order */
    void *columns;  /* CSR: the problem's, for the row at work */
    int64_t last_column;     /* d - 1, or what an index can name at most */
    int backwards;           /* dense rows are read from their end: lanes.h */
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
    int64_t scores = (chunk > NAME(max_block) ? chunk : NAME(max_block))*padded;
    int64_t plans = (width > NAME(max_block) ? width : NAME(max_block))*padded;
    if (ctx->data->layout != FSGD_DENSE) rows = 0;
    ctx->rows = NAME(take)(&at, rows * ctx->row_stride, sizeof(REAL));
    ctx->z = NAME(take)(&at, scores, sizeof(REAL));
    ctx->c = NAME(take)(&at, scores, sizeof(REAL));
    ctx->y = NAME(take)(&at, scores, sizeof(REAL));
    ctx->s = NAME(take)(&at, scores, sizeof(REAL));
    ctx->v = NAME(take)(&at, scores, sizeof(REAL));
    ctx->u = NAME(take)(&at, padded, sizeof(REAL));
    ctx->label = NAME(take)(&at, padded, sizeof(REAL));
    ctx->weight_positive = NAME(take)(&at, padded, sizeof(REAL));
    ctx->weight_negative = NAME(take)(&at, padded, sizeof(REAL));
    ctx->eta = NAME(take)(&at, padded, sizeof(double));
    ctx->count = NAME(take)(&at, padded, sizeof(double));
    ctx->D = NAME(take)(&at, width * width * padded, sizeof(REAL));
    ctx->D0 = NAME(take)(&at, width * width * padded, sizeof(REAL));
    ctx->p = NAME(take)(&at, plans, sizeof(REAL));
    ctx->p0 = NAME(take)(&at, plans, sizeof(REAL));
    ctx->scale = NAME(take)(&at, plans, sizeof(REAL));
    ctx->before = NAME(take)(&at, padded, sizeof(double));
    ctx->done = NAME(take)(&at, padded, sizeof(double));
    ctx->flight = NAME(take)(&at, NAME(in_flight) *padded, sizeof(REAL));
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
    if (data->layout != FSGD_DENSE) {
        most = NAME(csr_chunk);
        fit = NAME(csr_scores) / ctx->lanes->padded;
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

/* The position in the epoch to which the rows of X can be trained on. Steps of single rows are
 * taken in blocks that end at multiples of max_block (row.h, blocks.h): of a window that ends
 * elsewhere the last rows wait for the next window, so that no bit depends on where windows end. */
static int64_t NAME(whole_blocks)(const fsgd_problem *problem) {
    const fsgd_data *data = problem->data;
    const int64_t end = data->first_row + data->n;
    if (problem->settings->batch_size > 1 || end == data->epoch_rows) return end;
    return end - end % NAME(max_block);
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
                           .stop = NAME(whole_blocks)(problem),
                           .l1 = problem->state->vectors > problem->state->width,
                           .coupled = problem->settings->loss.kind == FSGD_SOFTMAX,
                           .plain = NAME(is_plain)(problem->data),
                           .row_bytes = problem->data->d * NAME(stored_bytes)(problem->data),
                           .stored = NAME(stored_bytes)(problem->data),
                           .columns = problem->columns,
                           .last_column = problem->data->d - 1,
                           .row_stride = fsgd_padded_features(problem->data->d)};
    if (problem->data->layout == FSGD_CSR32 && ctx->last_column > INT32_MAX)
        ctx->last_column = INT32_MAX;
    ctx->unclipped = problem->settings->step == FSGD_GRADIENT &&
                     !(problem->settings->clip_norm < INFINITY);
    ctx->simple = ctx->unclipped && !ctx->coupled && problem->settings->loss.kind != FSGD_COMPILED;
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
#include "rows.h"
#include "slopes.h"
#include "update.h"

/* ------------------------------------------------------------------ the model */

/* a = w + q / N where a lane has averaged N > 0 weights and `average` is asked for, else w */
static REAL NAME(model)(const NAME(context) *ctx, int average, int64_t k, REAL w, REAL q) {
    int64_t start = ctx->settings->average, N = ctx->state->t[k] - start + 1;
    return average && start > 0 && N > 0 ? (REAL)((double)w + (double)q / (double)N) : w;
}

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
    for (int64_t r = 0; r < m; ++r) ctx->iota[r] = NAME(row_at)(ctx, position + r);
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

/* Batches of more than one row, in chunks; may stop between any two chunks. A batch that does not
 * end in the window is begun by whole chunks; on CSR, whose rows the update reads once more, it
 * waits for a window that has all of it. */
static fsgd_status NAME(run_batches)(NAME(context) *ctx, const NAME(verbs) *verbs, int64_t budget) {
    fsgd_state *state = ctx->state;
    fsgd_status status = FSGD_OK;
    const int by_rows = NAME(updates_by_rows)(ctx);
    const int64_t end = NAME(rows_end)(ctx);
    NAME(crew) crew;
    NAME(assemble)(&crew, ctx, verbs);
    const int64_t most = ctx->crew ? crew.most * ctx->chunk : ctx->chunk;
    while (state->row < ctx->stop && ctx->report->work < budget) {
        int64_t left = ctx->data->epoch_rows - state->row, here = end - state->row;
        int64_t m = ctx->settings->batch_size < left ? ctx->settings->batch_size : left;
        int64_t count = m - state->batch_row < most ? m - state->batch_row : most;
        if (here < m) {
            const int64_t whole = (here - state->batch_row) / ctx->chunk * ctx->chunk;
            if (whole < count) count = ctx->data->layout == FSGD_DENSE ? whole : 0;
            ctx->report->window_done = count == 0;
            if (count == 0) break;
        }
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
    if (report->changed) status = FSGD_BAD_CSR;
    if (problem->settings->batch_size == 1)
        report->window_done = state->row >= NAME(whole_blocks)(problem);
    if (status == FSGD_OK && state->row == problem->data->epoch_rows) {
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
    return report.changed ? FSGD_BAD_CSR : status;
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
