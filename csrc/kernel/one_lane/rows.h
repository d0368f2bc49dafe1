/* rows.h: one lane, row by row: dense rows, and steps without L1 on CSR rows. Dense plain steps go
 * this way where they cannot be taken in blocks (blocks.h); CSR with L1 is lanes/rows.h.
 */
#ifndef FASTSGD_KERNEL_ONE_LANE_ROWS_H
#define FASTSGD_KERNEL_ONE_LANE_ROWS_H

#include "features.h"
#include "sample.h"

enum {
    dense_copies = ring_rows - 1, /* rows that are copied before their turn */
    csr_values_ahead = 4,         /* how many rows before their use CSR values are prefetched, */
    csr_starts_ahead = 8,         /* and where their rows start */
};

/* A row and, of CSR, the one that is prefetched while it is read. */
typedef struct {
    row_values row;
    row_extent upcoming;
} row_pair;

/* The copy of the dense row at a position of the epoch; it stays until ring_rows later. */
static ALWAYS_INLINE real *ring_copy(const context *ctx, int64_t position) {
    return ctx->chunk.x + position % ring_rows * ctx->rows.stride;
}

/* Copy the first dense rows of a run that ends at `stop`. */
static ALWAYS_INLINE void start_reading(const context *ctx, int64_t stop,
                                        const fsgd_layout layout) {
    const int64_t first = ctx->state->row;
    for (int64_t r = first; layout == FSGD_DENSE && r < first + dense_copies && r < stop; ++r)
        load_row(ctx, row_at(ctx, r), ring_copy(ctx, r));
}

/* The row at position r, with those to come prefetched, dense ones at a distance. */
static ALWAYS_INLINE row_pair read_next(const context *ctx, int64_t r, int64_t stop,
                                        int64_t distance, const fsgd_layout layout) {
    const int64_t last = rows_end(ctx) - 1;
    if (layout == FSGD_DENSE) {
        if (r + distance <= last) prefetch_row(ctx, row_at(ctx, r + distance));
        if (r + dense_copies < stop)
            load_row(ctx, row_at(ctx, r + dense_copies), ring_copy(ctx, r + dense_copies));
        return (row_pair){.row = {ring_copy(ctx, r), NULL, ctx->data->d}};
    }
    const int64_t values = r + csr_values_ahead < last ? r + csr_values_ahead : last;
    const int64_t starts = r + csr_starts_ahead < last ? r + csr_starts_ahead : last;
    const row_values row = read_csr_row(ctx, row_at(ctx, r));
    const int64_t soon = r + csr_state_ahead < last ? r + csr_state_ahead : last;
    prefetch_row_start(ctx, row_at(ctx, starts));
    if (ctx->rows.far) prefetch_state(ctx, row_at(ctx, soon));
    return (row_pair){.row = row, .upcoming = csr_extent(ctx, row_at(ctx, values))};
}

/* z = x . w + b */
static ALWAYS_INLINE real score_row(const context *ctx, const row_pair *rows,
                                    const fsgd_layout layout, const int width, const int spans) {
    const fsgd_state *state = ctx->state;
    const real dot = layout == FSGD_DENSE
                         ? dot_dense(rows->row.x, state->w, ctx->rows.stride, NULL, 0)
                         : dot_csr(state->w, state->vector_stride, ctx->step.score, &rows->row,
                                   &rows->upcoming, index_bytes(ctx), width, spans);
    return (ctx->kind.scaled ? (real)state->scale[0] * dot : dot) + *(const real *)state->intercept;
}

/* The planned step with g = c x. */
static ALWAYS_INLINE void update_row(context *ctx, const row_values *row, real c,
                                     const fsgd_layout layout, const int width) {
    if (layout == FSGD_DENSE && ctx->adaptive.on) {
        adaptive_dense(ctx, row->x, c);
        return;
    }
    if ((layout != FSGD_DENSE || ctx->kind.scaled) && c == 0) return;
    if (layout == FSGD_DENSE)
        update_dense(ctx, width, row->x, c);
    else
        add_csr(ctx->state->w, ctx->state->vector_stride, row, ctx->step.p, c, width);
}

/* Rows one by one, up to position `stop` of the epoch. */
static ALWAYS_INLINE fsgd_status run_rows(context *ctx, int64_t stop, int64_t budget,
                                          const fsgd_layout layout, const int width,
                                          const int spans) {
    fsgd_state *state = ctx->state;
    loss_buffer losses = {0};
    fsgd_status status = FSGD_OK;
    const int64_t distance = layout == FSGD_DENSE ? prefetch_distance(ctx, 2) : 0;
    const int repeats = !ctx->adaptive.on && !ctx->kind.scaled && ctx->settings->average == 0;
    plan_key planned = {.eta = NAN};
    start_reading(ctx, stop, layout);
    for (; state->row < stop && ctx->report->work < budget; ++state->row) {
        sample_step sample = {.row = row_at(ctx, state->row), .count = 1};
        const row_pair rows = read_next(ctx, state->row, stop, distance, layout);
        load_targets(ctx, sample.row, 1, &sample.y, &sample.s);
        ctx->report->work += rows.row.count * width + 16;

        if (spans && ctx->step.touches) change_row_of_one(state, &rows.row, width);
        sample.z = score_row(ctx, &rows, layout, width, spans);
        if (!(sample.s > 0)) continue;
        status = sample_slope(ctx, &losses, &sample);
        if (status != FSGD_OK) break;
        if (layout == FSGD_DENSE && repeats)
            plan_again(ctx, width, &sample.count, &planned);
        else if (layout == FSGD_DENSE)
            plan_step(ctx, 1, width, &sample.count);
        else
            plan_csr_step(ctx, 1, width, &sample.count, spans);
        if (spans && __builtin_expect(ctx->step.opened && ctx->step.touches, 0))
            change_row_of_one(state, &rows.row, width);
        update_row(ctx, &rows.row, sample.c, layout, width);
        update_intercept(ctx, 1, width, &sample.c, &sample.count);
    }
    flush_losses(ctx, &losses);
    return status;
}

/* The loop by width, and of CSR rows by spans: functions of their own, since gcc takes longer for
 * one that has them all. */
#define LOOP(NAME, LAYOUT, WIDTH, SPANS)                                                           \
    static NO_INLINE fsgd_status NAME(context *ctx, int64_t stop, int64_t budget) {                \
        return run_rows(ctx, stop, budget, LAYOUT, WIDTH, SPANS);                                  \
    }
LOOP(run_dense_rows_1, FSGD_DENSE, 1, 0)
LOOP(run_dense_rows_2, FSGD_DENSE, 2, 0)
LOOP(run_dense_rows_3, FSGD_DENSE, 3, 0)
LOOP(run_csr_rows_1, CSR_ROWS, 1, 0)
LOOP(run_csr_rows_2, CSR_ROWS, 2, 0)
LOOP(run_csr_spans_2, CSR_ROWS, 2, 1)
LOOP(run_csr_spans_3, CSR_ROWS, 3, 1)
#undef LOOP

/* Dense rows; blocks.h needs it too. */
static fsgd_status run_dense_rows(context *ctx, int64_t stop, int64_t budget) {
    switch (ctx->state->width) {
    case 1: return run_dense_rows_1(ctx, stop, budget);
    case 2: return run_dense_rows_2(ctx, stop, budget);
    default: return run_dense_rows_3(ctx, stop, budget);
    }
}

/* Steps without L1 on CSR rows. */
static fsgd_status run_csr_rows(context *ctx, int64_t budget) {
    const int width = (int)ctx->state->width;
    if (width == 1) return run_csr_rows_1(ctx, ctx->stop, budget);
    if (!ctx->kind.spans) return run_csr_rows_2(ctx, ctx->stop, budget);
    return width == 2 ? run_csr_spans_2(ctx, ctx->stop, budget)
                      : run_csr_spans_3(ctx, ctx->stop, budget);
}

#endif
