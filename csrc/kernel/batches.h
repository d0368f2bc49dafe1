/* batches.h: batches of more than one row, in chunks. */

#ifndef FASTSGD_KERNEL_BATCHES_H
#define FASTSGD_KERNEL_BATCHES_H

#include "batch_team.h"

/* Rows of X of the m positions from `position` on. */
static const int64_t *chunk_rows(context *ctx, int64_t position, int64_t m) {
    if (ctx->order) return ctx->order + (position - ctx->data->first_row);
    for (int64_t r = 0; r < m; ++r) ctx->chunk.iota[r] = row_at(ctx, position + r);
    return ctx->chunk.iota;
}

/* A chunk's part of the batch's gradient, in w and in b. */
static void accumulate_rows(context *ctx, const verb_table *verbs, const int64_t *rows, int64_t m) {
    verbs->accumulate(ctx, rows, m);
    accumulate_intercepts(ctx->state, ctx->chunk.c, m);
}

/* The update by a batch whose gradient is complete: its norm first, where it is measured or
 * clipped. */
static void close_batch(context *ctx, const verb_table *verbs, int64_t m) {
    fsgd_state *state = ctx->state;
    const int csr = ctx->data->layout != FSGD_DENSE; /* all its rows are in X: see windows.py */
    const int64_t *rows = ctx->order && csr ? chunk_rows(ctx, state->row, m) : NULL;
    const int measured = measures_batch(ctx);
    const int updated = any_lane_updates(state);
    if (updated && (measured || ctx->settings->clip_norm < INFINITY)) {
        const real *g_b = state->grad_intercept;
        double *squares = ctx->step.eta; /* (padded), free until the update */
        for (int64_t k = 0; k < state->padded; ++k)
            squares[k] = ctx->settings->fit_intercept ? (double)g_b[k] * (double)g_b[k] : 0;
        verbs->norms(ctx, rows, m, squares);
        for (int64_t k = 0; k < state->padded; ++k) {
            const double count = state->batch_count[k];
            if (count > 0)
                state->batch_count[k] = measure_and_clip(ctx, k, measured, sqrt(squares[k]) / count,
                                                         count);
        }
    }
    if (updated && ctx->team && verbs->update_features)
        update_by_team(ctx->team);
    else if (updated)
        verbs->update(ctx, rows, m);
    memset(state->grad_intercept, 0, 2 * (size_t)state->padded * sizeof(real));
    memset(state->batch_count, 0, (size_t)state->padded * sizeof(double));
    state->row += m;
    state->batch_row = state->batch_nnz = 0;
}

/* Whether a batch's slopes go straight into the weights, row by row: on CSR that touches less
 * memory than a gradient does. Batches of one chunk, whose norm nobody asks for. */
static int updates_by_rows(const context *ctx) {
    return ctx->settings->batch_size <= ctx->chunk.size && !(ctx->settings->clip_norm < INFINITY) &&
           !steps_everywhere(ctx) && !ctx->adaptive.on;
}

/* The norm of a batch of one lane whose slopes go straight into the weights: its gradient is added
 * up in `sums`, which are zeros again then. */
static void measure_rows(context *ctx, const int64_t *rows, int64_t m) {
    double *restrict sums = ctx->problem->sums, square = 0, of_b = 0;
    const double count = ctx->state->batch_count[0];
    for (int64_t r = 0; r < m; ++r) {
        const row_values row = read_kept(ctx, r, rows[r]);
        const double c = (double)ctx->chunk.c[r];
        of_b += c;
        for (int64_t p = 0; p < row.count; ++p) sums[row.columns[p]] += c * (double)row.x[p];
    }
    for (int64_t r = 0; r < m; ++r) {
        const row_values row = read_kept(ctx, r, rows[r]);
        for (int64_t p = 0; p < row.count; ++p) {
            const double sum = sums[row.columns[p]];
            square += sum * sum;
            sums[row.columns[p]] = 0;
        }
    }
    if (ctx->settings->fit_intercept) square += of_b * of_b;
    if (count > 0) measure_and_clip(ctx, 0, 1, sqrt(square) / count, count);
}

/* The rows of the next part of the open batch, `most` at most: scores, slopes, and their part of
 * the gradient; or the whole update, where that goes row by row. */
static fsgd_status take_chunk(context *ctx, const verb_table *verbs, const int64_t *rows,
                              int64_t count, int by_rows) {
    fsgd_state *state = ctx->state;
    if (ctx->team) return accumulate_by_team(ctx->team, rows, count);
    verbs->score(ctx, rows, count);
    const fsgd_status status = find_and_count_slopes(ctx, rows, count);
    if (status != FSGD_OK) return status;
    const int measured = measures_batch(ctx);
    if (by_rows && state->batch_row == 0 && (!measured || state->padded == 1)) {
        if (measured) measure_rows(ctx, rows, count);
        if (any_lane_updates(state)) verbs->update_by_rows(ctx, rows, count);
        memset(state->batch_count, 0, (size_t)state->padded * sizeof(double));
        state->row += count;
    } else {
        accumulate_rows(ctx, verbs, rows, count);
        state->batch_row += count;
    }
    return FSGD_OK;
}

/* Batches of more than one row, in chunks; may stop between any two chunks. A batch that does not
 * end in the window is begun by whole chunks; on CSR, whose rows the update reads once more, it
 * waits for a window that has all of it. */
static fsgd_status run_batches(context *ctx, const verb_table *verbs, int64_t budget) {
    fsgd_state *state = ctx->state;
    fsgd_status status = FSGD_OK;
    const int by_rows = updates_by_rows(ctx);
    const int64_t end = rows_end(ctx);
    batch_team team;
    start_batch_team(&team, ctx, verbs);
    const int64_t most = ctx->team ? ctx->team->most * ctx->chunk.size : ctx->chunk.size;
    while (state->row < ctx->stop && ctx->report->work < budget) {
        const int64_t left = ctx->data->epoch_rows - state->row, here = end - state->row;
        const int64_t m = ctx->settings->batch_size < left ? ctx->settings->batch_size : left;
        int64_t count = m - state->batch_row < most ? m - state->batch_row : most;
        if (here < m) {
            const int64_t whole = (here - state->batch_row) / ctx->chunk.size * ctx->chunk.size;
            if (whole < count) count = ctx->data->layout == FSGD_DENSE ? whole : 0;
            ctx->report->window_done = count == 0;
            if (count == 0) break;
        }
        const int64_t *rows = chunk_rows(ctx, state->row + state->batch_row, count);
        status = take_chunk(ctx, verbs, rows, count, by_rows);
        if (status != FSGD_OK) break;
        if (state->batch_row == m) close_batch(ctx, verbs, m);
    }
    if (ctx->team) end_batch_team(&team);
    return status;
}

#endif
