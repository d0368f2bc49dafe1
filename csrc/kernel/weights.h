/* weights.h: the model as it stands. */

#ifndef FASTSGD_KERNEL_WEIGHTS_H
#define FASTSGD_KERNEL_WEIGHTS_H

#include "optimizer.h"
#include "penalty.h"
#include "l1_momentum.h"

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

/* The model with all lazy updates from feature `first`, a multiple of 16, up to `last`, while the
 * state stays as it is: out (k, room). */
static void read_weights(context *ctx, const verb_table *verbs, int average, int64_t first,
                         int64_t last, int64_t room, real *out) {
    const fsgd_state *state = ctx->state;
    const int width = (int)state->width;
    const int64_t padded = state->padded;
    real *u = ctx->step.u;
    if (padded == 1 && state->pending == 0) { /* planes, as they stand */
        read_planes(planes_of(ctx, average), first, last, out);
        return;
    }
    if (state->pending > 0 && !ctx->adaptive.on && !ctx->kind.l1) {
        const int64_t size = 2 * (state->max_pending + 1) * state->k;
        read_spans(ctx, average, first, last, ctx->readings + average * size, room, out);
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
