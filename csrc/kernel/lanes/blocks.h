/* blocks.h: plain steps of many lanes on dense rows, in blocks as one_lane/blocks.h has them: W is
 * read and written once for STEPS rows, whose Gram matrix is one for all lanes.
 *
 * block.in_flight holds the steps a of a block, 0 until they are taken, and then its u.
 */

#ifndef FASTSGD_KERNEL_LANES_BLOCKS_H
#define FASTSGD_KERNEL_LANES_BLOCKS_H

#include "../vectors.h"
#include "rows.h"

/* The rows from position `first` of the epoch on, as many as there are of a block. */
static ALWAYS_INLINE int64_t TILED(load_block)(const context *ctx, int64_t first, real *x) {
    const int64_t left = ctx->stop - first, all = STEPS - first % STEPS, stride = ctx->rows.stride;
    const int64_t count = left < all ? left < 0 ? 0 : left : all;
    for (int64_t j = 0; j < count; ++j) load_row(ctx, row_at(ctx, first + j), x + j * stride);
    memset(x + count * stride, 0, (size_t)((STEPS - count) * stride) * sizeof(real));
    return count;
}

/* G_ji = x_j . x_i at j STEPS + i, i < j. */
static ALWAYS_INLINE void TILED(gram)(const real *x, int64_t n, real *G) {
    wide sum[STEPS * STEPS];
    for (int i = 0; i < STEPS * STEPS; ++i) sum[i] = (wide){0};
    for (int64_t k = 0; k < n; k += wide_count)
        for (int j = 1; j < STEPS; ++j)
            for (int i = 0; i < j; ++i)
                sum[j * STEPS + i] += wide_at(x + j * n + k) * wide_at(x + i * n + k);
    for (int j = 1; j < STEPS; ++j)
        for (int i = 0; i < j; ++i) G[j * STEPS + i] = wide_sum(sum[j * STEPS + i]);
}

/* W += sum_j a_j x_j of the rows before, and u of these. On the way the rows at `upcoming` are
 * prefetched. */
static ALWAYS_INLINE void TILED(pass_over_weights)(const context *ctx,
                                                   const real *restrict previous,
                                                   const real *restrict current,
                                                   const char *const *upcoming) {
    enum { LINE = 64 / REAL_BYTES };
    const fsgd_state *state = ctx->state;
    const int64_t stride = state->feature_stride, d = ctx->data->d, n = ctx->rows.stride;
    const int64_t padded = LANES(state), stored = ctx->rows.value_bytes;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        real *in_flight = ctx->block.in_flight + tile, *restrict w = (real *)state->w + tile;
        VEC a[STEPS][NV], u[STEPS][NV];
        for (int r = 0; r < STEPS; ++r)
            for (int i = 0; i < NV; ++i)
                a[r][i] = *TILED(at)(in_flight + r * padded, i), u[r][i] = (VEC){0};
        for (int64_t line = 0; line < d; line += LINE) {
            const int64_t end = d - line < LINE ? d : line + LINE;
            for (int r = 0; tile == 0 && r < STEPS; ++r)
                prefetch_features(upcoming[r], line, stored);
            for (int64_t j = line; j < end; ++j, w += stride)
                for (int i = 0; i < NV; ++i) {
                    VEC now = *TILED(at)(w, i);
                    for (int r = 0; r < STEPS; ++r) now += previous[r * n + j] * a[r][i];
                    *TILED(at)(w, i) = now;
                    for (int r = 0; r < STEPS; ++r) u[r][i] += current[r * n + j] * now;
                }
        }
        in_flight += STEPS * padded;
        for (int r = 0; r < STEPS; ++r)
            for (int i = 0; i < NV; ++i) *TILED(at)(in_flight + r * padded, i) = u[r][i];
    }
    for (int r = 0; r < STEPS; ++r) prefetch_line(upcoming[r] + ctx->rows.bytes - 1);
}

/* The steps of a block one by one, but for W: the general way. Stops at a score that is not finite,
 * which may be the block's doing or the row's. */
static fsgd_status TILED(take_steps)(context *ctx, int64_t count, real *x, const real *G) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    real *a = ctx->block.in_flight, *u = a + STEPS * padded;
    for (int64_t j = 0; j < count; ++j, ++state->row, a += padded, u += padded) {
        int updated;
        memcpy(ctx->chunk.z, u, (size_t)padded * sizeof(real));
        TILED(finish_score)(ctx, ctx->data->d, ctx->chunk.z);
        if (find_row_slopes(ctx, row_at(ctx, state->row), &updated) != FSGD_OK)
            return FSGD_NONFINITE;
        if (!updated) { /* it may hold anything */
            memset(x + j * ctx->rows.stride, 0, (size_t)ctx->rows.stride * sizeof(real));
            continue;
        }
        plan_lanes(ctx, ctx->step.count);
        for (int64_t k = 0; k < padded; ++k) a[k] = ctx->step.p[k] * ctx->chunk.c[k];
        for (int64_t i = 1; i < count - j; ++i)
            for (int64_t k = 0; k < padded; ++k) u[i * padded + k] += a[k] * G[(i + j) * STEPS + j];
        update_intercepts(ctx, ctx->chunk.c, ctx->step.count);
    }
    return FSGD_OK;
}

/* Which lanes are updated by row j of a block: count (padded). Whether any is. */
static ALWAYS_INLINE int TILED(updated_lanes_at)(const context *ctx, int64_t j,
                                                 const int64_t padded, double *restrict count) {
    const real *restrict s = ctx->chunk.s + j * padded;
    int any = 0;
    _Pragma("omp simd reduction(| : any)") for (int64_t k = 0; k < padded; ++k) {
        count[k] = s[k] > 0 ? 1.0 : 0.0;
        any |= s[k] > 0;
    }
    return any;
}

/* The factor of the schedule at each row of a block. 0 is returned where a row updates no lane, or
 * lanes share no factor. */
static ALWAYS_INLINE int TILED(block_factors)(const context *ctx, const int64_t padded,
                                              double *factor) {
    const fsgd_state *state = ctx->state;
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const int counts = factor_counts_updates(schedule);
    double *restrict count = ctx->step.count, *restrict done = ctx->step.done;
    if (!lanes_share_factor(schedule)) return 0;
    for (int64_t k = 0; counts && k < padded; ++k) done[k] = (double)state->t[k];
    for (int64_t j = 0; j < STEPS; ++j) {
        double t = 1;
        if (!TILED(updated_lanes_at)(ctx, j, padded, count)) return 0;
        if (counts) {
            if ((t = common_update(padded, count, done)) == 0) return 0;
            for (int64_t k = 0; k < padded; ++k) done[k] += count[k];
        }
        factor[j] = fsgd_schedule_factor(schedule, t, epochs_at(ctx, state->row + j));
    }
    return 1;
}

/* Scales and steps of a block's rows; the rates of the last one go into ctx->step.eta. Whether
 * scales might underflow. */
static ALWAYS_INLINE int TILED(plan_rows)(context *ctx, const int64_t padded, const double *factor,
                                          const int falls, const int roots) {
    const double *restrict alpha = ctx->lanes->alpha, *restrict mu = ctx->lanes->mu;
    const double *restrict eta0 = ctx->lanes->eta0, *restrict own = ctx->state->rate_factor;
    const double *restrict part = ctx->lanes->intercept_rate;
    const real *restrict s = ctx->chunk.s, b_moves = ctx->settings->fit_intercept ? 1 : 0;
    real *restrict now_scale = ctx->block.scale, *restrict p = ctx->step.p,
                   *restrict p0 = ctx->step.p0;
    double *restrict scale = ctx->state->scale, *restrict last = ctx->step.eta;
    const int64_t *restrict t = ctx->state->t;
    int fails = 0;
    _Pragma("omp simd reduction(| : fails)") for (int64_t k = 0; k < padded; ++k) {
        double now = scale[k], least = 1, done = (double)t[k], eta = 0;
        for (int64_t j = 0; j < STEPS; ++j) {
            const int64_t at = j * padded + k;
            const double rate = lane_rate(eta0[k], mu[k], own[k], factor[j], done, falls, roots);
            eta = s[at] > 0 ? rate : 0;
            done += s[at] > 0 ? 1.0 : 0.0;
            const double decay = 1 - eta * alpha[k];
            const plain_step step = plan_plain(eta, decay, now, 1);
            least = decay < least ? decay : least;
            now_scale[at] = (real)now;
            now = step.scale;
            p0[at] = b_moves * (real)part[k] * step.p0;
            p[at] = step.p;
        }
        scale[k] = now;
        last[k] = eta;
        fails |= !(least > 1e-4) | (now < 1e-9);
    }
    return fails;
}

/* Targets, rates and scales of a whole block's steps. Not of a block with a row that updates no
 * lane, whose scales might underflow, or whose rates share no factor: then nothing is changed, and
 * 0 returned. */
static ALWAYS_INLINE int TILED(plan_block)(context *ctx, const int64_t padded) {
    fsgd_state *state = ctx->state;
    double factor[STEPS];
    int fails = 0;
    for (int64_t j = 0; j < STEPS; ++j)
        load_targets(ctx, row_at(ctx, state->row + j), padded, ctx->chunk.y + j * padded,
                     ctx->chunk.s + j * padded);
    if (!TILED(block_factors)(ctx, padded, factor)) return 0;
    memcpy(ctx->block.scale_before, state->scale, (size_t)padded * sizeof(double));
#define CALL(FALLS, ROOTS) fails = TILED(plan_rows)(ctx, padded, factor, FALLS, ROOTS)
    BY_SCHEDULE(CALL)
#undef CALL
    if (fails) {
        memcpy(state->scale, ctx->block.scale_before, (size_t)padded * sizeof(double));
        return 0;
    }
    int64_t k = 0;
    while (!(ctx->chunk.s[(STEPS - 1) * padded + k] > 0)) ++k;
    ctx->report->eta = ctx->step.eta[k];
    return 1;
}

/* Losses v, counts and updates of a block's rows go into the state: v, s (STEPS, padded). */
static ALWAYS_INLINE void TILED(count_block)(fsgd_state *state, const real *restrict v,
                                             const real *restrict s, const int64_t padded) {
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
static ALWAYS_INLINE int TILED(take_steps_at_once)(context *ctx, const real *G,
                                                   const int64_t padded) {
    fsgd_state *state = ctx->state;
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    const size_t bytes = (size_t)padded * sizeof(real);
    real *restrict z = ctx->chunk.z, *restrict c = ctx->chunk.c, *restrict b = ctx->chunk.v,
                   *restrict a = ctx->block.in_flight;
    const real *restrict y = ctx->chunk.y, *restrict s = ctx->chunk.s,
                         *restrict scale = ctx->block.scale;
    const real *restrict p = ctx->step.p, *restrict p0 = ctx->step.p0;
    const double *restrict intercept_gradient = ctx->lanes->intercept_gradient;
    if (!TILED(plan_block)(ctx, padded)) return 0;
    memcpy(z, a + STEPS * padded, STEPS * bytes); /* u, until a row's turn comes */
    memcpy(b, state->intercept, bytes);
    for (int64_t j = 0; j < STEPS; ++j) {
        const int64_t first = j * padded, end = first + padded;
        _Pragma("omp simd") for (int64_t k = first; k < end; ++k)
            z[k] = scale[k] * z[k] + b[k - first];
        loss_slopes(loss, padded, z + first, y + first, s + first, c + first);
        _Pragma("omp simd") for (int64_t k = first; k < end; ++k) {
            const real more = s[k] > 0 ? (real)intercept_gradient[k - first] : 0;
            b[k - first] += p0[k] * (c[k] + more);
            a[k] = p[k] * c[k];
        }
        for (int64_t i = j + 1; i < STEPS; ++i)
            for (int64_t k = 0; k < padded; k += PER)
                *TILED(at)(z + i * padded + k, 0) += *TILED(at)(a + first + k, 0) *
                                                     G[i * STEPS + j];
    }
    if (!all_finite(z, s, STEPS * padded)) {
        memcpy(state->scale, ctx->block.scale_before, (size_t)padded * sizeof(double));
        memset(a, 0, STEPS * bytes);
        return 0;
    }
    if (measures_row(ctx)) {
        TILED(updated_lanes_at)(ctx, 0, padded, ctx->step.count);
        examine_row(ctx, row_at(ctx, state->row));
    }
    if (ctx->settings->fit_intercept) memcpy(state->intercept, b, bytes);
    loss_values(loss, STEPS * padded, z, y, s, ctx->chunk.v);
    TILED(count_block)(state, ctx->chunk.v, s, padded);
    state->row += STEPS;
    ctx->report->work += STEPS * (ctx->data->d + 16) * ((padded + 15) / 16);
    return 1;
}

static fsgd_status TILED(take_block)(context *ctx, int64_t count, real *x) {
    const int64_t padded = ctx->state->padded;
    real G[STEPS * STEPS];
    TILED(gram)(x, ctx->rows.stride, G);
    memset(ctx->block.in_flight, 0, (size_t)(STEPS * padded) * sizeof(real));
    if (ctx->kind.slope_alone && count == STEPS &&
        (TILE < WIDEST_TILE || padded == TILE ? TILED(take_steps_at_once)(ctx, G, TILE)
                                              : TILED(take_steps_at_once)(ctx, G, padded)))
        return FSGD_OK;
    return TILED(take_steps)(ctx, count, x, G);
}

/* Put the steps of rows x that are taken into W. */
static void TILED(finish_block)(context *ctx, real *x) {
    const char *upcoming[STEPS];
    find_rows_to_prefetch(ctx, ctx->state->row, STEPS, upcoming);
    TILED(pass_over_weights)(ctx, x, x, upcoming);
    memset(ctx->block.in_flight, 0, (size_t)(STEPS * ctx->state->padded) * sizeof(real));
}

static fsgd_status TILED(run_blocks)(context *ctx, int64_t budget) {
    const fsgd_state *state = ctx->state;
    const int64_t stride = ctx->rows.stride, distance = prefetch_distance(ctx, STEPS);
    real *previous = ctx->chunk.x, *current = previous + STEPS * stride;
    const char *upcoming[STEPS];
    fsgd_status status = FSGD_OK;
    int64_t count = TILED(load_block)(ctx, state->row, current);
    while (count > 0 && ctx->report->work < budget && status == FSGD_OK) {
        const int64_t first = state->row, end = first + count;
        find_rows_to_prefetch(ctx, first + distance, STEPS, upcoming);
        TILED(pass_over_weights)(ctx, previous, current, upcoming);
        count = TILED(load_block)(ctx, end, previous);
        if (__builtin_expect(TILED(take_block)(ctx, end - first, current) != FSGD_OK, 0)) {
            const int64_t done = state->row - first; /* the others may be infinite */
            memset(current + done * stride, 0, (size_t)((STEPS - done) * stride) * sizeof(real));
            TILED(finish_block)(ctx, current);
            status = TILED(run_rows)(ctx, end, INT64_MAX);
            TILED(load_block)(ctx, end, previous); /* its place was in use */
        }
        real *swap = previous;
        previous = current, current = swap;
    }
    TILED(finish_block)(ctx, previous);
    return status;
}

#endif
