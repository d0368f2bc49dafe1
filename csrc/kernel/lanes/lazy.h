/* lazy.h: lazy updates on CSR: a feature catches up with the pending steps when a row has it.
 *
 * With momentum every weight changes at every step, by u <- D u where g is 0, and a feature holds
 * as of its `last_update`, a number of pending steps. Steps are in blocks of B, up to B of them.
 * Three tables have products of their D, so that catching up takes two of them at most:
 *
 *     products of the past blocks      from the end of a block to the present     B,  each step
 *     products of the running block    from a step of it to the present           B,  each step
 *     suffixes                         from a step to the end of its block        max_pending
 *
 * The first two are brought to the present at every step, B products along which the loop
 * vectorises; a block that is complete becomes suffixes. When all blocks are full all features
 * catch up (a flush), O(d). With L1 alone nothing is pending but a truncation by the cumulative
 * penalty.
 *
 * Averages have no part in the steps of w and v: D has no column of q. All products are stored as
 * differences from the identity, of two columns, (width, 2) for each lane.
 */

#ifndef FASTSGD_KERNEL_LANES_LAZY_H
#define FASTSGD_KERNEL_LANES_LAZY_H

#include "../adaptive.h"
#include "../penalty.h"
#include "tile.h"

/* Entry (a, b) of product i of the first two tables: those of all steps lie side by side, (width,
 * 2, 2 B, padded). */
static ALWAYS_INLINE real *TILED(recent_product)(const fsgd_state *state, int a, int b, int64_t i) {
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    return (real *)state->step_products + ((a * 2 + b) * 2 * state->lazy_block + i) * padded;
}

/* The suffix of step i: (max_pending, width, 2, padded), behind the other tables. */
static ALWAYS_INLINE real *TILED(suffix_product)(const fsgd_state *state, const int width,
                                                 int64_t i) {
    const int64_t padded = TILE < 16 ? TILE : state->padded, one = width * 2 * padded;
    return (real *)state->step_products + (2 * state->lazy_block + i) * one;
}

/* Products first to last of the first two tables become those to a step later: M <- D + M + D M */
static ALWAYS_INLINE void TILED(advance_products)(const context *ctx, const int width,
                                                  int64_t first, int64_t last) {
    const int64_t padded = TILE < 16 ? TILE : ctx->state->padded;
    const real *D = ctx->step.D;
    real *M[max_width][2];
    for (int a = 0; a < width; ++a)
        for (int b = 0; b < 2; ++b) M[a][b] = TILED(recent_product)(ctx->state, a, b, 0);
    for (int b = 0; b < 2; ++b)
        for (int64_t i = first; TILE > 1 && i < last; ++i)
            for (int64_t k = 0; k < padded; k += PER) {
                const int64_t at = i * padded + k;
                const VEC w = *TILED(at)(M[0][b] + at, 0), v = *TILED(at)(M[1][b] + at, 0);
                for (int a = 0; a < width; ++a) {
                    const VEC Dw = *TILED(at)(D + (a * width) * padded + k, 0);
                    const VEC Dv = *TILED(at)(D + (a * width + 1) * padded + k, 0);
                    *TILED(at)(M[a][b] + at, 0) += (b == 0 ? Dw : Dv) + (Dw * w + Dv * v);
                }
            }
    for (int b = 0; b < 2 && TILE == 1; ++b) {
        real *restrict w = M[0][b], *restrict v = M[1][b], *restrict q = M[width - 1][b];
        const real Dw = D[0], Dv = D[1], vw = D[width], vv = D[width + 1];
        const real qw = D[(width - 1) * width], qv = D[(width - 1) * width + 1];
        _Pragma("omp simd") for (int64_t i = first; i < last; ++i) {
            const real of_w = w[i], of_v = v[i];
            w[i] = of_w + ((b == 0 ? Dw : Dv) + (Dw * of_w + Dv * of_v));
            v[i] = of_v + ((b == 0 ? vw : vv) + (vw * of_w + vv * of_v));
            if (width == 3) q[i] += (b == 0 ? qw : qv) + (qw * of_w + qv * of_v);
        }
    }
}

/* u <- u + M u of all lanes: M has entry (a, b) at `entry` elements each, (width, 2). */
static ALWAYS_INLINE void TILED(apply_product)(const real *M, int64_t entry, const int width,
                                               real *u, int64_t vector_stride, int64_t padded) {
    for (int64_t k = 0; k < padded; k += PER) {
        const VEC w = *TILED(at)(u + k, 0), v = *TILED(at)(u + vector_stride + k, 0);
        for (int a = 0; a < width; ++a)
            *TILED(at)(u + a * vector_stride + k, 0) += *TILED(at)(M + (a * 2) * entry + k, 0) * w +
                                                        *TILED(at)(M + (a * 2 + 1) * entry + k, 0) *
                                                            v;
    }
}

/* u (width, padded from a feature's w on) from step `from` to the present. */
static ALWAYS_INLINE void TILED(apply_products)(const fsgd_state *state, const int width, real *u,
                                                int64_t vector_stride, int64_t from) {
    const int64_t padded = TILE < 16 ? TILE : state->padded, B = state->lazy_block;
    const int64_t block = from / B, running = state->pending / B;
    const real *recent = TILED(recent_product)(state, 0, 0, block < running ? block : B + from % B);
    if (block < running)
        TILED(apply_product)(TILED(suffix_product)(state, width, from), padded, width, u,
                             vector_stride, padded);
    TILED(apply_product)(recent, 2 * B * padded, width, u, vector_stride, padded);
}

static ALWAYS_INLINE void TILED(catch_up_vectors)(const fsgd_state *state, real *u,
                                                  int64_t vector_stride, int64_t from) {
    if (state->width == 2)
        TILED(apply_products)(state, 2, u, vector_stride, from);
    else
        TILED(apply_products)(state, 3, u, vector_stride, from);
}

/* Bring feature j up to date. */
static ALWAYS_INLINE void TILED(catch_up_feature)(const fsgd_state *state, int64_t j) {
    const int32_t now = (int32_t)state->pending;
    if (state->last_update[j] == now) return;
    TILED(catch_up_vectors)(state, (real *)state->w + j * state->feature_stride,
                            state->vector_stride, state->last_update[j]);
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

/* Put the step's D into the tables. */
static ALWAYS_INLINE void TILED(add_product)(context *ctx, const int width) {
    fsgd_state *state = ctx->state;
    const int64_t padded = TILE < 16 ? TILE : state->padded, B = state->lazy_block;
    const int64_t block = state->pending / B, step = state->pending % B;
    const size_t bytes = (size_t)padded * sizeof(real);
    TILED(advance_products)(ctx, width, 0, block);
    TILED(advance_products)(ctx, width, B, B + step);
    for (int a = 0; a < width; ++a)
        for (int b = 0; b < 2; ++b)
            memcpy(TILED(recent_product)(state, a, b, B + step),
                   ctx->step.D + (a * width + b) * padded, bytes);
    state->pending += 1;
    if (step + 1 < B) return;
    for (int a = 0; a < width; ++a)
        for (int b = 0; b < 2; ++b) {
            for (int64_t i = 0; i < B; ++i)
                memcpy(TILED(suffix_product)(state, width, block * B + i) + (a * 2 + b) * padded,
                       TILED(recent_product)(state, a, b, B + i), bytes);
            memset(TILED(recent_product)(state, a, b, block), 0, bytes);
        }
}

static NO_INLINE void TILED(record_step)(context *ctx) {
    if (ctx->state->pending == ctx->state->max_pending) TILED(catch_up_all)(ctx);
    if (ctx->state->width == 2)
        TILED(add_product)(ctx, 2);
    else
        TILED(add_product)(ctx, 3);
}

/* Whether updates are lazy: CSR, with momentum, without L1. */
static inline int TILED(is_lazy)(const context *ctx) {
    return ctx->data->layout != FSGD_DENSE && ctx->settings->momentum > 0 && !ctx->kind.l1;
}

/* Bring the features of a CSR row up to date: pending steps, or a pending truncation. */
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
