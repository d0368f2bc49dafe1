/* batches.h: batches of dense rows for one lane, and the table of its verbs. */

#ifndef FASTSGD_KERNEL_ONE_LANE_BATCHES_H
#define FASTSGD_KERNEL_ONE_LANE_BATCHES_H

#include "../compensated.h"
#include "blocks.h"

/* Scores of a chunk's rows, which are copied. */
static void score_chunk(context *ctx, const int64_t *rows, int64_t m) {
    const fsgd_state *state = ctx->state;
    const real scale = (real)state->scale[0], b = *(real *)state->intercept;
    const int64_t here = chunk_position(ctx, rows), distance = prefetch_distance(ctx, 1);
    for (int64_t r = 0; r < m; ++r) {
        real *x = ctx->chunk.x + r * ctx->rows.stride;
        const char *upcoming;
        load_row(ctx, rows[r], x);
        find_rows_to_prefetch(ctx, here + r + distance, 1, &upcoming);
        ctx->chunk.z[r] = scale * dot_dense(x, state->w, ctx->rows.stride, upcoming,
                                            ctx->rows.value_bytes) +
                          b;
    }
    ctx->report->work += m * (ctx->data->d + 16);
}

/* A compensated sum of a vector of features; what it leaves out stands `lost` elements on. Where
 * that is 0 the term is stored as it is. */
static ALWAYS_INLINE void add_vector(real *sum, int64_t lost, wide term) {
    if (lost == 0)
        *(wide *)sum = term;
    else
        ADD_COMPENSATED(wide, (wide *)sum, (wide *)(sum + lost), term);
}

/* grad += sum_r c_r x_r of a chunk: four vectors of features at a time, over all rows */
static void accumulate_chunk(context *ctx, const int64_t *rows, int64_t m) {
    enum { V = wide_count };
    const int64_t n = ctx->rows.stride, lost = ctx->gradient.lost;
    real *g = ctx->gradient.sum;
    (void)rows;
    int64_t j = 0;
    for (; j + 4 * V <= n; j += 4 * V) {
        wide a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
        for (int64_t r = 0; r < m; ++r) {
            const real *x = ctx->chunk.x + r * n + j, c = ctx->chunk.c[r];
            a0 += c * wide_at(x);
            a1 += c * wide_at(x + V);
            a2 += c * wide_at(x + 2 * V);
            a3 += c * wide_at(x + 3 * V);
        }
        add_vector(g + j, lost, a0);
        add_vector(g + j + V, lost, a1);
        add_vector(g + j + 2 * V, lost, a2);
        add_vector(g + j + 3 * V, lost, a3);
    }
    for (; j < n; j += V) {
        wide a = {0};
        for (int64_t r = 0; r < m; ++r) a += ctx->chunk.c[r] * wide_at(ctx->chunk.x + r * n + j);
        add_vector(g + j, lost, a);
    }
}

/* squares += |grad|^2 */
static void add_gradient_square(context *ctx, const int64_t *rows, int64_t m, double *squares) {
    const real *g = ctx->state->grad;
    double sum = 0;
    (void)rows, (void)m;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t j = 0; j < ctx->rows.stride; ++j)
        sum += (double)g[j] * (double)g[j];
    squares[0] += sum;
}

/* The update of all weights by the gradient. */
static ALWAYS_INLINE void update_by_gradient(context *ctx, const int width, const double *count) {
    plan_lanes(ctx, count);
    if (ctx->adaptive.on)
        adaptive_dense(ctx, ctx->state->grad, 1);
    else
        update_dense(ctx, width, ctx->state->grad, 1);
}

/* The update by a whole batch, whose gradient is cleared. */
static void update_batch(context *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    const double count = state->batch_count[0];
    (void)rows, (void)m;
    if (count > 0) {
        switch (state->width) {
        case 1: update_by_gradient(ctx, 1, &count); break;
        case 2: update_by_gradient(ctx, 2, &count); break;
        default: update_by_gradient(ctx, 3, &count);
        }
        update_intercept(ctx, 1, (int)state->width, state->grad_intercept, &count);
        memset(state->grad, 0, 2 * (size_t)ctx->rows.stride * sizeof(real));
    }
    ctx->report->work += state->d * state->width;
}

static const verb_table one_lane_verbs = {
    .score = score_chunk,
    .accumulate = accumulate_chunk,
    .norms = add_gradient_square,
    .update = update_batch,
    .run_single = run_single,
};

#endif
