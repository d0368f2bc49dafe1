/* lazy.h: lazy updates on CSR: a feature that is in no row waits, and catches up when it is seen
 * again.
 *
 * With momentum or averaging every weight changes at every step, by u <- D u where g is 0. A
 * feature holds as of its `last_update`, a number of pending steps, and a binary tree has the
 * products of the steps since: node i of level l turns u at step i 2^l into u at step (i + 1) 2^l.
 * Catching up after m steps takes O(log m) of them. When the tree is full all features catch up (a
 * flush), O(d). Where L1 alone waits, nothing is pending but a truncation by the cumulative
 * penalty.
 */

#ifndef FASTSGD_KERNEL_LANES_LAZY_H
#define FASTSGD_KERNEL_LANES_LAZY_H

#include "../adaptive.h"
#include "../penalty.h"
#include "tile.h"

/* Node i of a level of the tree; node 0 of level l starts after the nodes of the levels below. */
static ALWAYS_INLINE real *TILED(step_product)(const fsgd_state *state, int level, int64_t i) {
    int64_t first = 2 * state->max_pending - ((2 * state->max_pending) >> level);
    return (real *)state->step_products + (first + i) * state->width * state->width * state->padded;
}

/* out = later after earlier, all as differences from the identity: A + B + A B */
static void TILED(compose_products)(const fsgd_state *state, const real *later, const real *earlier,
                                    real *out) {
    const int64_t width = state->width, padded = state->padded;
    for (int64_t a = 0; a < width; ++a)
        for (int64_t b = 0; b < width; ++b)
            for (int64_t k = 0; k < padded; ++k) {
                int64_t ab = (a * width + b) * padded + k;
                double sum = (double)later[ab] + (double)earlier[ab];
                for (int64_t c = 0; c < width; ++c)
                    sum += (double)later[(a * width + c) * padded + k] *
                           (double)earlier[(c * width + b) * padded + k];
                out[ab] = (real)sum;
            }
}

/* u (width, padded from a feature's w on) from step `from` to step `to`: the largest whole nodes.
 */
static ALWAYS_INLINE void TILED(apply_products)(const fsgd_state *state, const int width, real *u,
                                                int64_t vector_stride, int64_t from, int64_t to) {
    const int64_t padded = state->padded;
    while (from < to) {
        int level = 63 - __builtin_clzll((unsigned long long)(to - from));
        if (from > 0 && __builtin_ctzll((unsigned long long)from) < level)
            level = __builtin_ctzll((unsigned long long)from);
        const real *D = TILED(step_product)(state, level, from >> level);
        for (int64_t k = 0; k < padded; k += PER) {
            VEC old[max_width];
            for (int a = 0; a < width; ++a) old[a] = *TILED(at)(u + a * vector_stride + k, 0);
            for (int a = 0; a < width; ++a) {
                VEC change = *TILED(at)(D + (a * width) * padded + k, 0) * old[0];
                for (int b = 1; b < width; ++b)
                    change += *TILED(at)(D + (a * width + b) * padded + k, 0) * old[b];
                *TILED(at)(u + a * vector_stride + k, 0) = old[a] + change;
            }
        }
        from += (int64_t)1 << level;
    }
}

static void TILED(catch_up_vectors)(const fsgd_state *state, real *u, int64_t vector_stride,
                                    int64_t from, int64_t to) {
    if (state->width == 2)
        TILED(apply_products)(state, 2, u, vector_stride, from, to);
    else
        TILED(apply_products)(state, 3, u, vector_stride, from, to);
}

/* Bring feature j up to date. */
static ALWAYS_INLINE void TILED(catch_up_feature)(const fsgd_state *state, int64_t j) {
    const int32_t now = (int32_t)state->pending;
    if (state->last_update[j] == now) return;
    TILED(catch_up_vectors)(state, (real *)state->w + j * state->feature_stride,
                            state->vector_stride, state->last_update[j], now);
    state->last_update[j] = now;
}

/* Flush: bring all features up to date, after which no step is pending. */
static void TILED(catch_up_all)(context *ctx) {
    fsgd_state *state = ctx->state;
    for (int64_t j = 0; j < state->d; ++j) {
        TILED(catch_up_feature)(state, j);
        state->last_update[j] = 0;
    }
    state->pending = 0;
    ctx->report->work += state->d * state->width;
}

/* Put the step's D into the tree: a leaf, and every node that it completes. */
static void TILED(record_step)(context *ctx) {
    fsgd_state *state = ctx->state;
    if (state->pending == state->max_pending) TILED(catch_up_all)(ctx);
    const size_t bytes = (size_t)(state->width * state->width * state->padded) * sizeof(real);
    int64_t i = state->pending++;
    memcpy(TILED(step_product)(state, 0, i), ctx->step.D, bytes);
    for (int level = 0; i & 1; ++level, i >>= 1)
        TILED(compose_products)(state, TILED(step_product)(state, level, i),
                                TILED(step_product)(state, level, i - 1),
                                TILED(step_product)(state, level + 1, i >> 1));
}

/* Whether features wait and catch up: CSR, with momentum or averaging, without L1. */
static inline int TILED(is_lazy)(const context *ctx) {
    return ctx->data->layout != FSGD_DENSE && ctx->state->width > 1 && !ctx->kind.l1 &&
           !ctx->adaptive.on;
}

/* Bring the features of a CSR row up to date: pending steps, or a truncation that is put off. */
static ALWAYS_INLINE void TILED(catch_up_row)(context *ctx, const row_values *row,
                                              const fsgd_layout layout) {
    fsgd_state *state = ctx->state;
    if (TILED(is_lazy)(ctx)) {
        for (int64_t p = 0; p < row->count; ++p)
            TILED(catch_up_feature)(state, feature_of(row, p, layout));
    } else if (ctx->adaptive.waits) {
        adaptive_touch_row(ctx, row);
    } else if (ctx->kind.lazy_l1) {
        for (int64_t p = 0; p < row->count; ++p) {
            real *w = (real *)state->w + feature_of(row, p, layout) * state->feature_stride;
            truncate_feature(ctx->step.l1_cumulative, TILE < 16 ? TILE : state->padded, w,
                             w + state->vector_stride);
        }
    }
}

#endif
