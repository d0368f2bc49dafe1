/* rows.h: many lanes, row by row: dense rows whose steps are not plain, and all steps on CSR rows;
 * and one lane on CSR rows with momentum, averaging or L1. Plain steps on dense rows are taken in
 * blocks.h, which falls back to this.
 */

#ifndef FASTSGD_KERNEL_LANES_ROWS_H
#define FASTSGD_KERNEL_LANES_ROWS_H

#include "../one_lane/rows.h"
#include "../slopes.h"
#include "score.h"
#include "update_l1.h"

/* The row at a position of the epoch, read where it lies; one that must be converted lies in one of
 * two buffers, until the next but one is read. */
static inline row_values TILED(read_row)(const context *ctx, int64_t position) {
    const int64_t d = ctx->data->d, i = row_at(ctx, position);
    if (!TILED(is_dense)(ctx)) return read_csr_row(ctx, i);
    if (ctx->rows.unconverted) return (row_values){dense_row(ctx, i), NULL, d};
    real *to = ctx->chunk.x + (position & 1) * ctx->rows.stride;
    convert_row(ctx->data, dense_row(ctx, i), to);
    return (row_values){to, NULL, d};
}

/* Prefetch the row `distance` positions on, and of CSR where the row at twice the distance starts.
 */
static ALWAYS_INLINE void TILED(prefetch_ahead)(const context *ctx, int64_t r, int64_t distance) {
    const int64_t end = rows_end(ctx);
    if (TILED(is_dense)(ctx)) {
        if (r + distance < end) prefetch_row(ctx, row_at(ctx, r + distance));
    } else {
        if (r + 2 * distance < end) prefetch_row_start(ctx, row_at(ctx, r + 2 * distance));
        if (r + distance < end) prefetch_csr_row(ctx, row_at(ctx, r + distance));
        if (ctx->rows.far && r + csr_state_ahead < end)
            prefetch_state(ctx, row_at(ctx, r + csr_state_ahead));
    }
}

/* Rows one by one, up to position `stop` of the epoch. */
static fsgd_status TILED(run_rows)(context *ctx, int64_t stop, int64_t budget) {
    fsgd_state *state = ctx->state;
    const int dense = TILED(is_dense)(ctx);
    const int64_t distance = dense ? prefetch_distance(ctx, 1) : csr_values_ahead;
    int scored = 0; /* the last row's pass over W has left x . W of this row, `next`, in z */
    row_values next = {0};
    /* Every other dense row is read from its end, while what the last one ended with is in the L1
     * cache: 1.2 times faster where W is a little larger than that (784 features, 16 lanes). */
    for (; state->row < stop && ctx->report->work < budget; ++state->row) {
        const int64_t i = row_at(ctx, state->row);
        const row_values row = scored ? next : TILED(read_row)(ctx, state->row);
        int updated;
        TILED(prefetch_ahead)(ctx, state->row, distance);
        ctx->rows.backwards = dense && (state->row & 1);
        if (!scored) TILED(dot_up_to_date)(ctx, &row, ctx->chunk.z);
        scored = 0;
        TILED(finish_score)(ctx, row.count, ctx->chunk.z);
        if (find_row_slopes(ctx, i, &updated) != FSGD_OK) return FSGD_NONFINITE;
        if (!updated) continue;
        plan_lanes(ctx, ctx->step.count);
        if (ctx->kind.shrinks) TILED(add_to_l1_sums)(ctx, ctx->step.count);
        if (ctx->kind.l1_momentum) push_moving(ctx, ctx->step.count);
        if (dense && !ctx->kind.l1 && !ctx->adaptive.on && state->width > 1 &&
            state->row + 1 < stop && ctx->report->work < budget) {
            next = TILED(read_row)(ctx, state->row + 1);
            ctx->rows.backwards = (state->row + 1) & 1;
            TILED(update_and_dot)(ctx, row.x, next.x);
            scored = 1;
        } else {
            TILED(update_row)(ctx, &row, ctx->chunk.c);
        }
        update_intercepts(ctx, ctx->chunk.c, ctx->step.count);
    }
    return FSGD_OK;
}

#endif
