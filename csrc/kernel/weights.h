/* weights.h: the model as it stands. */

#ifndef FASTSGD_KERNEL_WEIGHTS_H
#define FASTSGD_KERNEL_WEIGHTS_H

#include "optimizer.h"
#include "penalty.h"
#include "l1_momentum.h"
#include "l1_sums.h"

/* Prepare reading the model, or the last weights, by read_weights. */
static RARE void start_reading_model(context *ctx, int average) {
    const fsgd_state *state = ctx->state;
    const int64_t start = ctx->settings->average, room = 2 * (state->max_pending + 1);
    if (state->pending == 0 || ctx->adaptive.on) return;
    for (int64_t k = 0; !ctx->kind.l1 && k < state->k; ++k) {
        const int64_t N = average && start > 0 ? state->t[k] - start + 1 : 0;
        find_readings(state, k, N, ctx->readings + (average * state->k + k) * room);
    }
}

/* The weights of one lane whose truncations wait, from feature `first` up to `last`. */
static NO_INLINE void read_truncated(const context *ctx, int64_t first, int64_t last,
                                     real *restrict out) {
    const real *w = ctx->state->w, *applied = w + ctx->state->vector_stride;
    const real cumulative = ctx->step.l1_cumulative[0];
    _Pragma("omp simd") for (int64_t j = first; j < last; ++j) {
        real weight = w[j], received = applied[j];
        truncate_weight(&weight, &received, cumulative);
        out[j - first] = weight;
    }
}

/* The weights of one lane that are stored as coordinates under L1 (l1_sums.h), or their average. */
static NO_INLINE void read_l1_weights(const context *ctx, int64_t first, int64_t last,
                                      real *restrict out) {
    const lane_sums s = sums_of(ctx->step.l1_present, 0, 1, 0);
    const real *w = ctx->state->w;
    _Pragma("omp simd") for (int64_t j = first; j < last; ++j) out[j - first] = weight_of(s, w[j]);
}

static NO_INLINE void read_l1_averages(const context *ctx, double N, int64_t first, int64_t last,
                                       real *restrict out) {
    enum { BLOCK = 16 };
    const fsgd_state *state = ctx->state;
    const lane_sums s = sums_of(ctx->step.l1_present, 1, 1, 0);
    const real *w = state->w, *q = w + state->vector_stride, *applied = q + state->vector_stride;
    for (int64_t j = first; j < last; j += BLOCK) {
        const int count = last - j < BLOCK ? (int)(last - j) : BLOCK;
        real now[BLOCK] = {0}, sum[BLOCK] = {0}, received[BLOCK] = {0};
        int died = 0;
        for (int i = 0; i < count; ++i) now[i] = w[j + i], sum[i] = q[j + i];
        _Pragma("omp simd reduction(| : died)") for (int i = 0; i < BLOCK; ++i)
            died |= has_died(s, now[i]);
        for (int i = 0; __builtin_expect(died, 0) && i < count; ++i) {
            received[i] = applied[j + i];
            if (has_died(s, now[i]))
                let_die(state, state->pending, 0, now + i, sum + i, received + i);
        }
        _Pragma("omp simd") for (int i = 0; i < BLOCK; ++i)
            open_weight(1, s, now + i, sum + i, received + i);
        for (int i = 0; i < count; ++i)
            out[j + i - first] = (real)((double)now[i] + (double)sum[i] / N);
    }
}

/* One lane with pending steps under L1, without momentum. */
static void read_l1(const context *ctx, int average, int64_t first, int64_t last, real *out) {
    const int64_t start = ctx->settings->average, N = ctx->state->t[0] - start + 1;
    if (!ctx->state->last_update)
        read_truncated(ctx, first, last, out);
    else if (average && start > 0 && N > 0)
        read_l1_averages(ctx, (double)N, first, last, out);
    else
        read_l1_weights(ctx, first, last, out);
}

/* The model with all lazy updates from feature `first`, a multiple of 16, up to `last`, while the
 * state stays as it is: out (k, room). */
static void read_weights(context *ctx, const verb_table *verbs, int average, int64_t first,
                         int64_t last, int64_t room, real *out) {
    const fsgd_state *state = ctx->state;
    const int width = (int)state->width;
    const int64_t padded = state->padded;
    real *u = ctx->step.u;
    if (padded == 1 && state->pending == 0) { /* as they are stored */
        read_stored(stored_model_of(ctx, average), first, last, out);
        return;
    }
    if (state->pending > 0 && !ctx->adaptive.on && !ctx->kind.l1) {
        const int64_t size = 2 * (state->max_pending + 1) * state->k;
        read_spans(ctx, average, first, last, ctx->readings + average * size, room, out);
        return;
    }
    if (padded == 1 && ctx->kind.l1 && !has_momentum(state)) {
        read_l1(ctx, average, first, last, out);
        return;
    }
    for (int64_t j = first; j < last; ++j) {
        const real *w = (const real *)state->w + j * state->feature_stride;
        for (int64_t a = 0; a < state->vectors; ++a)
            memcpy(u + a * padded, w + a * state->vector_stride, (size_t)padded * sizeof(real));
        if (ctx->adaptive.on && state->pending > 0)
            adaptive_catch_up(ctx, j, padded, u);
        else if (ctx->kind.l1 && state->last_update && has_momentum(state) &&
                 state->last_update[j] < state->pending)
            move_copy(state, u, padded, state->last_update[j]);
        else if (ctx->kind.l1 && state->last_update && !has_momentum(state) && state->pending > 0)
            verbs->shrink_copy(ctx, u);
        else if (ctx->kind.l1 && !state->last_update)
            truncate_feature(ctx->step.l1_cumulative, padded, u, u + width * padded);
        for (int64_t k = 0; k < state->k; ++k) {
            const double now = state->scale[k] * (double)u[k];
            const double q = (double)u[(width - 1) * padded + k] +
                             state->average_shift[k] * (double)u[k];
            out[k * room + (j - first)] = model_weight(ctx, average, k, now, q);
        }
    }
}

#endif
