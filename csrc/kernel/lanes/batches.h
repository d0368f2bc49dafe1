/* batches.h: batches: scores of a chunk, its part of the gradient, the update by all of it. */

#ifndef FASTSGD_KERNEL_LANES_BATCHES_H
#define FASTSGD_KERNEL_LANES_BATCHES_H

#include "../compensated.h"
#include "../one_lane/rows.h"
#include "../slopes.h"
#include "score.h"
#include "update_l1.h"

/* x . W of up to BLOCK dense rows, `count` of them, into z (count, padded): W is read once for all.
 * A row's sum does not depend on its block. */
static ALWAYS_INLINE void TILED(dot_block)(const context *ctx, const real *rows, int64_t count,
                                           const char *const *upcoming, real *z) {
    enum { LINE = 64 / REAL_BYTES };
    const fsgd_state *state = ctx->state;
    const int64_t stride = state->feature_stride, padded = state->padded, d = ctx->data->d;
    const real *x[BLOCK];
    for (int r = 0; r < BLOCK; ++r) x[r] = rows + (r < count ? r : count - 1) * ctx->rows.stride;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        const real *w = (const real *)state->w + tile;
        VEC sum[BLOCK][NV];
        for (int r = 0; r < BLOCK; ++r)
            for (int i = 0; i < NV; ++i) sum[r][i] = (VEC){0};
        for (int64_t line = 0; line < d; line += LINE) {
            const int64_t end = d - line < LINE ? d : line + LINE;
            if (tile == 0)
                for (int r = 0; r < BLOCK; ++r)
                    prefetch_features(upcoming[r], line, ctx->rows.value_bytes);
            for (int64_t j = line; j < end; ++j, w += stride)
                for (int r = 0; r < BLOCK; ++r)
                    for (int i = 0; i < NV; ++i) sum[r][i] += x[r][j] * *TILED(at)(w, i);
        }
        for (int r = 0; tile == 0 && r < BLOCK; ++r)
            prefetch_line(upcoming[r] + ctx->rows.bytes - 1);
        for (int64_t r = 0; r < BLOCK && r < count; ++r)
            for (int i = 0; i < NV; ++i) *TILED(at)(z + r * padded + tile, i) = sum[r][i];
    }
}

static void TILED(score_dense)(context *ctx, const int64_t *rows, int64_t m) {
    const int64_t padded = ctx->state->padded, stride = ctx->rows.stride;
    const int64_t here = chunk_position(ctx, rows);
    const char *upcoming[BLOCK];
    for (int64_t r = 0; r < m; r += BLOCK) {
        const int64_t count = m - r < BLOCK ? m - r : BLOCK;
        for (int64_t i = r; i < r + count; ++i) load_row(ctx, rows[i], ctx->chunk.x + i * stride);
        find_rows_to_prefetch(ctx, here + r + prefetch_distance(ctx, BLOCK), BLOCK, upcoming);
        TILED(dot_block)(ctx, ctx->chunk.x + r * stride, count, upcoming,
                         ctx->chunk.z + r * padded);
    }
    for (int64_t r = 0; r < m; ++r)
        TILED(finish_score)(ctx, ctx->data->d, ctx->chunk.z + r * padded);
}

static void TILED(score)(context *ctx, const int64_t *rows, int64_t m) {
    const int64_t here = ctx->state->row + ctx->state->batch_row, end = rows_end(ctx);
    if (TILED(is_dense)(ctx)) {
        TILED(score_dense)(ctx, rows, m);
        return;
    }
    ctx->chunk.used = 0;
    for (int64_t r = 0; r < m; ++r) {
        const int64_t next = here + r + csr_values_ahead, start = next + csr_values_ahead;
        if (start < end) prefetch_row_start(ctx, row_at(ctx, start));
        if (next < end) prefetch_csr_row(ctx, row_at(ctx, next));
        if (ctx->rows.far && here + r + csr_state_ahead < end)
            prefetch_state(ctx, row_at(ctx, here + r + csr_state_ahead));
        const row_values row = read_and_keep(ctx, r, rows[r]);
        TILED(dot_up_to_date)(ctx, &row, ctx->chunk.z + r * ctx->state->padded);
        TILED(finish_score)(ctx, row.count, ctx->chunk.z + r * ctx->state->padded);
    }
}

/* A compensated sum of vector i of the lanes at `sum`; what it leaves out stands `lost` elements
 * on. Where that is 0 the term is stored as it is. */
static ALWAYS_INLINE void TILED(add_term)(real *sum, int64_t lost, int i, VEC term) {
    if (lost == 0)
        *TILED(at)(sum, i) = term;
    else
        ADD_COMPENSATED(VEC, TILED(at)(sum, i), TILED(at)(sum + lost, i), term);
}

/* grad += c x of one CSR row: c (padded) */
static ALWAYS_INLINE void TILED(scatter_row)(const fsgd_state *state, const row_values *row,
                                             const real *c, const fsgd_layout layout) {
    const int64_t lost = grad_size(state);
    for (int64_t tile = 0; tile < state->padded; tile += TILE)
        for (int64_t p = 0; p < row->count; ++p) {
            real *grad = (real *)state->grad + feature_of(row, p, layout) * state->padded + tile;
            for (int i = 0; i < NV; ++i)
                TILED(add_term)(grad, lost, i, row->x[p] * *TILED(at)(c + tile, i));
        }
}

/* grad += sum_r c_r x_r of a chunk of dense rows, features j to j + count - 1, up to BLOCK: slopes
 * are read once for all. Rows are padded with zeros to whole blocks. */
static ALWAYS_INLINE void TILED(accumulate_block)(context *ctx, int64_t m, int64_t j,
                                                  int64_t count) {
    const int64_t padded = ctx->state->padded;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        const real *x = ctx->chunk.x + j, *c = ctx->chunk.c + tile;
        VEC sum[BLOCK][NV];
        for (int u = 0; u < BLOCK; ++u)
            for (int i = 0; i < NV; ++i) sum[u][i] = (VEC){0};
        for (int64_t r = 0; r < m; ++r, x += ctx->rows.stride, c += padded)
            for (int u = 0; u < BLOCK; ++u)
                for (int i = 0; i < NV; ++i) sum[u][i] += x[u] * *TILED(at)(c, i);
        for (int u = 0; u < BLOCK && u < count; ++u)
            for (int i = 0; i < NV; ++i)
                TILED(add_term)(ctx->gradient.sum + (j + u) * padded + tile, ctx->gradient.lost, i,
                                sum[u][i]);
    }
}

static void TILED(accumulate_dense)(context *ctx, int64_t m) {
    const int64_t d = ctx->data->d;
    for (int64_t j = 0; j < d; j += BLOCK)
        TILED(accumulate_block)(ctx, m, j, d - j < BLOCK ? d - j : BLOCK);
}

static void TILED(accumulate)(context *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    if (TILED(is_dense)(ctx)) {
        TILED(accumulate_dense)(ctx, m);
    } else {
        for (int64_t r = 0; r < m; ++r) {
            const row_values row = read_csr_row(ctx, rows[r]);
#define CALL(LAYOUT) TILED(scatter_row)(state, &row, ctx->chunk.c + r * padded, LAYOUT)
            BY_LAYOUT(CALL)
#undef CALL
            state->batch_nnz += row.count;
        }
    }
}

/* Whether a batch's update goes over all features, not over those of its rows. */
static int TILED(takes_all)(const context *ctx) {
    return steps_everywhere(ctx) || ctx->state->batch_nnz >= ctx->state->d;
}

/* squares += |grad|^2. A feature that is counted is marked by an infinite `lost`, which the update
 * clears: rows may share features. */
static void TILED(norms)(context *ctx, const int64_t *rows, int64_t m, double *squares) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, lost = grad_size(state);
    if (TILED(takes_all)(ctx)) {
        for (int64_t j = 0; j < state->d; ++j) {
            const real *grad = (const real *)state->grad + j * padded;
            for (int64_t k = 0; k < padded; ++k) squares[k] += (double)grad[k] * (double)grad[k];
        }
        return;
    }
    for (int64_t r = 0; r < m; ++r) {
        const row_values row = read_csr_row(ctx, rows ? rows[r] : row_at(ctx, state->row + r));
        for (int64_t p = 0; p < row.count; ++p) {
            real *grad = (real *)state->grad + row.columns[p] * padded;
            if (grad[lost] == (real)INFINITY) continue;
            grad[lost] = (real)INFINITY;
            for (int64_t k = 0; k < padded; ++k) squares[k] += (double)grad[k] * (double)grad[k];
        }
    }
}

/* One update by the m CSR rows of a whole batch. */
static void TILED(update_by_rows)(context *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    plan_lanes(ctx, state->batch_count);
    if (ctx->kind.shrinks) TILED(add_to_l1_sums)(ctx, state->batch_count);
    if (ctx->kind.l1_momentum) push_moving(ctx, state->batch_count);
    int64_t left = m; /* rows that are added one by one */
#if TILE == 1
    if (ctx->kind.shrinks) step_batch_l1(ctx, rows, m), left = 0;
#endif
    for (int64_t r = 0; r < left; ++r) {
        const row_values row = read_kept(ctx, r, rows[r]);
        if (ctx->kind.l1)
            TILED(add_row_l1)(ctx, &row, ctx->chunk.c + r * padded);
        else
            TILED(add_row_by_layout)(ctx, &row, ctx->chunk.c + r * padded);
    }
    for (int64_t r = 0; ctx->kind.l1 && r < left; ++r) {
        const row_values row = read_kept(ctx, r, rows[r]);
        TILED(truncate_row_l1)(ctx, &row);
    }
    TILED(end_l1_step)(ctx);
    for (int64_t r = 1; r < m; ++r)
        for (int64_t k = 0; k < padded; ++k) ctx->chunk.c[k] += ctx->chunk.c[r * padded + k];
    update_intercepts(ctx, ctx->chunk.c, state->batch_count);
}

/* Apply the gradient: to every feature, or, on CSR with few values, to those of the batch's rows.
 */
static void TILED(update)(context *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    plan_lanes(ctx, state->batch_count);
    if (ctx->kind.shrinks) TILED(add_to_l1_sums)(ctx, state->batch_count);
    if (ctx->kind.l1_momentum) {
        if (TILED(takes_all)(ctx)) move_features(ctx, NULL, 0, state->d);
        push_moving(ctx, state->batch_count);
    }
    if (TILED(takes_all)(ctx)) {
        TILED(update_features)(ctx, 0, state->d - 1);
        if (ctx->kind.shrinks) TILED(close_all)(ctx);
        state->rescales += 1;
        ctx->report->work += state->d * state->width * ((state->padded + 15) / 16);
    } else {
        for (int64_t r = 0; r < m; ++r) {
            const row_values row = read_csr_row(ctx, rows ? rows[r] : row_at(ctx, state->row + r));
            for (int64_t p = 0; p < row.count; ++p) {
                const int64_t j = row.columns[p];
                TILED(update_features)(ctx, j, j);
            }
        }
        for (int64_t r = 0; ctx->kind.shrinks && r < m; ++r) {
            const row_values row = read_csr_row(ctx, rows ? rows[r] : row_at(ctx, state->row + r));
            TILED(close_row)(ctx, &row, CSR_ROWS);
        }
        ctx->report->work += state->batch_nnz * state->width * ((state->padded + 15) / 16);
    }
    TILED(end_l1_step)(ctx);
    if (ctx->adaptive.waits) adaptive_push(ctx);
    update_intercepts(ctx, state->grad_intercept, state->batch_count);
}

#endif
