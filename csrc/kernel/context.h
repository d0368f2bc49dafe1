/* context.h: what one call of the core works with: the problem, what is known of it, and scratch
 * that is freed before the call returns.
 */
#ifndef FASTSGD_KERNEL_CONTEXT_H
#define FASTSGD_KERNEL_CONTEXT_H

#include "template.h"

#include "../fastsgd.h"
#include "convert.h"
#include "memory.h"

enum {
    ring_rows = 4, /* copies of dense rows in a run row by row: the current one and 3 to come */
    max_block = 4, /* rows of a block of plain steps */
    max_in_flight = 2 * max_block,
    max_chunk = 32,       /* dense rows of a batch that are scored together */
    csr_chunk = 256,      /* the same of CSR rows, */
    csr_scores = 1 << 12, /* of so many scores, */
    most_kept = 1 << 15,  /* and so many columns that are copied once; the rest is copied again */
    far_bytes = 1 << 22,  /* of the state of one lane with momentum or L1, whose weights are */
    far_plain = 1 << 24,  /* prefetched from there on, and of all else */
    l1_reals = 9, /* that opening and closing weights under L1 takes of each lane: l1_sums.h */
    chunk_bytes = 1 << 17, /* of dense rows: half an L2 cache, less on small machines */
};

struct batch_team;

/* The values of a row, and of a CSR row their features, once they are copied: csr_rows.h. */
typedef struct {
    const real *x;
    const int64_t *columns;
    int64_t count;
} row_values;

typedef struct {
    const fsgd_problem *problem;
    const fsgd_data *data;
    const fsgd_lanes *lanes;
    const fsgd_settings *settings;
    fsgd_state *state;
    const int64_t *order; /* rows of X by position, from that of the first row; or NULL */
    fsgd_report *report;
    int64_t stop; /* the position in the epoch at which the run ends */
    struct {
        int coupled;     /* lanes share a row's loss */
        int l1;          /* there is an L1 penalty */
        int scaled;      /* w = scale * stored: no momentum, no L1 penalty */
        int spans;       /* momentum on CSR without L1: spans.h */
        int lazy_l1;     /* its truncation waits until a feature is seen again, */
        int shrinks;     /* or with L2 or averages all of the step does: lanes/lazy_l1.h, */
        int l1_momentum; /* or with momentum: l1_momentum.h */
        int unclipped;   /* a step is a rate times the slope */
        int slope_alone; /* a row's step depends on its scores by the slope of the loss alone */
    } kind;
    struct {                 /* how rows are read */
        int unconverted;     /* dense rows can be used as they lie */
        int backwards;       /* the row at work is read from its end: lanes/rows.h */
        int far;             /* CSR: the weights of a row are prefetched: csr_rows.h */
        int64_t bytes;       /* of a dense row as it lies */
        int64_t value_bytes; /* of one of its values */
        int64_t stride;      /* features of a copy, padded */
        int64_t last_column; /* CSR: d - 1, or what an index can name at most */
        int64_t *columns;    /* CSR: the problem's, for the row at work */
    } rows;
    struct {                                     /* constants of each lane, (padded) */
        real *label;                             /* sign targets: y equal to it is +1 */
        real *weight_positive, *weight_negative; /* 0 in a frozen lane */
    } lane;
    struct {          /* rows of a batch that are worked on together, or a single one */
        int64_t size; /* most rows; a function of d, type, layout, K and batch size alone */
        real *x;      /* (max(ring_rows, size), stride) dense rows, padded with zeros */
        real *z, *c, *y, *s, *v; /* (size, padded) scores, slopes, targets, weights, losses */
        int64_t *iota;           /* (size) row numbers when there is no order */
        row_values *kept;        /* (size) the CSR rows that were scored: csr_rows.h, */
        int64_t *columns;        /* (room) their columns; NULL in a row that had no room */
        int64_t room, used;
    } chunk;
    struct {                   /* one update, or the steps of a block; optimizer.h */
        double *eta, *count;   /* (padded) rates; rows of positive weight */
        double *done;          /* (padded) updates before this one */
        double *scale, *shift; /* (padded) those that are being multiplied into the weights */
        real *D, *D0;          /* (width, width, padded): features, intercept */
        int opens, opened;     /* whether the next step opens a span, whether the last one did */
        int touches;           /* whether features change to the present span as they are seen */
        real *score;           /* (2, padded) what a score takes of coordinates: spans.h */
        real *p, *p0;          /* (width, padded), or of the steps of a block (max_block, padded) */
        real *l1_cumulative;   /* (padded) State's, as reals */
        real *l1_before, *l1_present; /* (l1_reals, padded) sums before the last step, and after it;
                                       * l1_sums.h */
        int l1_marks;   /* features are marked that have weights without coordinates: lazy_l1.h */
        real *averaged; /* (padded) weights in the average before the update */
        real *u;        /* (vectors, padded) of a feature that is read */
    } step;
    struct {
        int on;           /* steps are those of adaptive.h; */
        int lazy;         /* features that are not seen are not visited: CSR; */
        int waits;        /* they have penalties to catch up with when they are seen again */
        real *alpha, *l1; /* (padded) penalties */
    } adaptive;
    struct {                  /* plain steps of many lanes in blocks; lanes/blocks.h */
        real *scale;          /* (max_block, padded) of its steps */
        double *scale_before; /* (padded) */
        real *in_flight;      /* (max_in_flight, padded) in the units of stored weights */
    } block;
    struct {
        real *sum;    /* where `accumulate` adds up c_i x_i: State's grad, */
        int64_t lost; /* with what rounding leaves out so far on; 0: a chunk's sum alone, stored */
        real *spread; /* (d, padded) a CSR row's gradient over all features, or NULL */
    } gradient;
    double *readings;        /* (2, k, max_pending + 1, 2) what reading takes of spans, of the
                              * last weights and of the model: spans.h */
    struct batch_team *team; /* threads that share a batch, or NULL */
    void *scratch;
} context;

/* The verbs of a step, for m rows. Each works on ctx->chunk and the state. */
typedef struct {
    void (*score)(context *, const int64_t *rows, int64_t m);
    void (*accumulate)(context *, const int64_t *rows, int64_t m);
    void (*norms)(context *, const int64_t *rows, int64_t m, double *squares);
    void (*update)(context *, const int64_t *rows, int64_t m);
    void (*update_features)(context *, int64_t first, int64_t last);   /* of many lanes */
    void (*update_by_rows)(context *, const int64_t *rows, int64_t m); /* CSR alone */
    fsgd_status (*run_single)(context *, int64_t budget);
    void (*shrink_all)(context *);
    void (*shrink_copy)(const context *, real *u);
} verb_table;

/* Whether an update goes over all features, whatever rows it has. */
static inline int steps_everywhere(const context *ctx) {
    if (ctx->data->layout == FSGD_DENSE) return 1;
    if (ctx->adaptive.on) return !ctx->adaptive.lazy;
    return ctx->kind.l1 && !ctx->kind.lazy_l1 && !ctx->kind.shrinks && !ctx->kind.l1_momentum;
}

/* Lay the scratch arrays out from `start` on; with NULL their bytes are only counted. They are
 * returned. */
static RARE size_t lay_out_scratch(context *ctx, char *start) {
    arena memory = {start, 0};
    int64_t padded = ctx->lanes->padded, chunk = ctx->chunk.size, width = ctx->state->width;
    int64_t rows = chunk > 2 * max_block ? chunk : 2 * max_block;
    int64_t scores = (chunk > max_block ? chunk : max_block) * padded;
    int64_t plans = (width > max_block ? width : max_block) * padded;
    if (ctx->data->layout != FSGD_DENSE) rows = 0;
    ctx->chunk.x = take(&memory, rows * ctx->rows.stride, sizeof(real));
    ctx->chunk.z = take(&memory, scores, sizeof(real));
    ctx->chunk.c = take(&memory, scores, sizeof(real));
    ctx->chunk.y = take(&memory, scores, sizeof(real));
    ctx->chunk.s = take(&memory, scores, sizeof(real));
    ctx->chunk.v = take(&memory, scores, sizeof(real));
    ctx->step.l1_cumulative = take(&memory, padded, sizeof(real));
    ctx->step.l1_before = take(&memory, l1_reals * padded, sizeof(real));
    ctx->step.l1_present = take(&memory, l1_reals * padded, sizeof(real));
    ctx->step.averaged = take(&memory, padded, sizeof(real));
    ctx->step.u = take(&memory, ctx->state->vectors * padded, sizeof(real));
    ctx->adaptive.alpha = take(&memory, padded, sizeof(real));
    ctx->adaptive.l1 = take(&memory, padded, sizeof(real));
    ctx->lane.label = take(&memory, padded, sizeof(real));
    ctx->lane.weight_positive = take(&memory, padded, sizeof(real));
    ctx->lane.weight_negative = take(&memory, padded, sizeof(real));
    ctx->step.eta = take(&memory, padded, sizeof(double));
    ctx->step.count = take(&memory, padded, sizeof(double));
    ctx->step.D = take(&memory, width * width * padded, sizeof(real));
    ctx->step.D0 = take(&memory, width * width * padded, sizeof(real));
    ctx->step.score = take(&memory, 2 * padded, sizeof(real));
    ctx->step.p = take(&memory, plans, sizeof(real));
    ctx->step.p0 = take(&memory, plans, sizeof(real));
    ctx->block.scale = take(&memory, plans, sizeof(real));
    ctx->block.scale_before = take(&memory, padded, sizeof(double));
    ctx->step.scale = take(&memory, padded, sizeof(double));
    ctx->step.shift = take(&memory, padded, sizeof(double));
    ctx->step.done = take(&memory, padded, sizeof(double));
    ctx->block.in_flight = take(&memory, max_in_flight * padded, sizeof(real));
    ctx->chunk.iota = take(&memory, chunk, sizeof(int64_t));
    const int keeps = ctx->data->layout != FSGD_DENSE && ctx->settings->batch_size > 1;
    ctx->chunk.room = !keeps ? 0 : ctx->data->nnz < most_kept ? ctx->data->nnz : most_kept;
    ctx->chunk.columns = take(&memory, ctx->chunk.room, sizeof(int64_t));
    ctx->chunk.kept = keeps ? take(&memory, chunk, sizeof(row_values)) : NULL;
    const int64_t spans = ctx->state->span_products ? ctx->state->max_pending + 1 : 0;
    ctx->readings = take(&memory, 4 * spans * ctx->state->k, sizeof(double));
    int everywhere = steps_everywhere(ctx);
    int spreads = everywhere && ctx->data->layout != FSGD_DENSE && ctx->settings->batch_size == 1;
    const int64_t features = padded == 1 ? ctx->rows.stride : ctx->data->d * padded;
    ctx->gradient.spread = spreads ? take(&memory, features, sizeof(real)) : NULL;
    return memory.taken;
}

/* Rows of a chunk: dense ones that fit the cache, CSR ones of so many scores. */
static int64_t rows_of_chunk(const context *ctx) {
    const fsgd_data *data = ctx->data;
    int64_t most = max_chunk;
    int64_t fit = chunk_bytes / (ctx->rows.stride * (int64_t)sizeof(real));
    if (data->layout != FSGD_DENSE) {
        most = csr_chunk;
        fit = csr_scores / ctx->lanes->padded;
    }
    if (most > ctx->settings->batch_size) /* scratch is cleared at every call */
        most = ctx->settings->batch_size > max_chunk ? ctx->settings->batch_size : max_chunk;
    return fit < 1 ? 1 : fit > most ? most : fit;
}

/* Elements of a batch's gradient. */
static inline int64_t grad_size(const fsgd_state *state) {
    return state->padded == 1 ? fsgd_padded_features(state->d) : state->d * state->padded;
}

/* The position in the epoch to which the rows of X can be trained on. Steps of single rows are
 * taken in blocks that end at multiples of max_block: of a window that ends elsewhere the last rows
 * wait for the next window, so that no bit depends on where windows end. */
static int64_t whole_blocks(const fsgd_problem *problem) {
    const fsgd_data *data = problem->data;
    const int64_t end = data->first_row + data->n;
    if (problem->settings->batch_size > 1 || end == data->epoch_rows) return end;
    return end - end % max_block;
}

static RARE fsgd_status open_context(context *ctx, const fsgd_problem *problem,
                                     fsgd_report *report) {
    const fsgd_lanes *lanes = problem->lanes;
    const fsgd_data *data = problem->data;
    const fsgd_settings *settings = problem->settings;
    *ctx = (context){
        .problem = problem,
        .data = data,
        .lanes = lanes,
        .settings = settings,
        .state = problem->state,
        .order = problem->order,
        .report = report,
        .stop = whole_blocks(problem),
        .kind = {.coupled = settings->loss.kind == FSGD_SOFTMAX,
                 .l1 = problem->state->optimizer == FSGD_SGD &&
                       problem->state->vectors > problem->state->width,
                 .unclipped = settings->step == FSGD_GRADIENT && !(settings->clip_norm < INFINITY)},
        .adaptive = {.on = problem->state->optimizer != FSGD_SGD},
        .rows = {.unconverted = is_unconverted(data),
                 .bytes = data->d * stored_bytes(data),
                 .value_bytes = stored_bytes(data),
                 .stride = fsgd_padded_features(data->d),
                 .last_column = data->d - 1,
                 .columns = problem->columns}};
    ctx->kind.scaled = !ctx->adaptive.on && !ctx->kind.l1 && !(settings->momentum > 0);
    ctx->kind.shrinks = ctx->kind.l1 && data->layout != FSGD_DENSE && problem->state->last_update &&
                        !(settings->momentum > 0);
    const int64_t near = (lanes->padded == 1 && !ctx->kind.scaled) || ctx->kind.shrinks ? far_bytes
                                                                                        : far_plain;
    ctx->rows.far = data->layout != FSGD_DENSE &&
                    data->d * ctx->state->vectors * lanes->padded > near / REAL_BYTES;
    ctx->kind.spans = !ctx->adaptive.on && !ctx->kind.l1 && settings->momentum > 0 &&
                      data->layout != FSGD_DENSE;
    if (problem->stop_row < ctx->stop) ctx->stop = problem->stop_row;
    if (data->layout == FSGD_CSR32 && ctx->rows.last_column > INT32_MAX)
        ctx->rows.last_column = INT32_MAX;
    ctx->kind.slope_alone = ctx->kind.unclipped && !ctx->kind.coupled &&
                            settings->loss.kind != FSGD_COMPILED;
    ctx->kind.l1_momentum = ctx->kind.l1 && data->layout != FSGD_DENSE &&
                            problem->state->last_update && settings->momentum > 0;
    ctx->kind.lazy_l1 = ctx->kind.l1 && data->layout != FSGD_DENSE && problem->state->width == 1 &&
                        !ctx->kind.shrinks;
    for (int64_t k = 0; ctx->kind.lazy_l1 && k < lanes->k; ++k)
        ctx->kind.lazy_l1 &= !(lanes->alpha[k] > 0);
    int penalised = 0;
    for (int64_t k = 0; ctx->adaptive.on && k < lanes->k; ++k)
        penalised |= (lanes->alpha[k] > 0) | (lanes->l1[k] > 0);
    ctx->adaptive.lazy = ctx->adaptive.on && data->layout != FSGD_DENSE &&
                         !(penalised && problem->state->width > 1);
    ctx->adaptive.waits = ctx->adaptive.lazy && penalised;
    ctx->chunk.size = rows_of_chunk(ctx);
    size_t bytes = lay_out_scratch(ctx, NULL);
    ctx->scratch = allocate_aligned(bytes);
    if (!ctx->scratch) return FSGD_NO_MEMORY;
    memset(ctx->scratch, 0, bytes);
    lay_out_scratch(ctx, ctx->scratch);
    ctx->gradient.sum = ctx->state->grad;
    ctx->gradient.lost = grad_size(ctx->state);
    for (int64_t k = 0; k < lanes->padded; ++k) {
        const int signs = settings->sign_targets;
        const double active = ctx->state->active[k];
        ctx->lane.label[k] = (real)lanes->label[k];
        ctx->lane.weight_positive[k] = (real)(signs ? active * lanes->weight_positive[k] : active);
        ctx->lane.weight_negative[k] = (real)(signs && !ctx->kind.coupled
                                                  ? active * lanes->weight_negative[k]
                                                  : active);
        ctx->step.l1_cumulative[k] = (real)ctx->state->l1_cumulative[k];
        ctx->adaptive.alpha[k] = (real)ctx->state->alpha[k];
        ctx->adaptive.l1[k] = (real)ctx->state->l1[k];
    }
    return FSGD_OK;
}

static void close_context(context *ctx) { free_aligned(ctx->scratch); }

#endif
