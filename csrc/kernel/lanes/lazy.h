/* lazy.h: lazy updates on CSR: a feature that is in no row waits, and catches up when it is seen
 * again.
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
 * catch up (a flush), O(d). Where L1 alone waits, nothing is pending but a truncation by the
 * cumulative penalty.
 *
 * Averages have no part in the steps of w and v: D has no column of q. All products are stored as
 * differences from the identity, of two columns, (width, 2) for each lane.
 */

#ifndef FASTSGD_KERNEL_LANES_LAZY_H
#define FASTSGD_KERNEL_LANES_LAZY_H

#include "../adaptive.h"
#include "../penalty.h"
#include "lazy_l1.h"
#include "tile.h"

/* Entry (a, b) of product i of the first two tables: those of all steps lie side by side, (width,
 * 2, 2 B, padded). */
static ALWAYS_INLINE real *TILED(recent_product)(const fsgd_state *state, int a, int b, int64_t i) {
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    return (real *)state->step_products + ((a * 2 + b) * 2 * state->lazy_block + i) * padded;
}

/* The suffix of step i: (max_pending, width, 2, padded), behind the other tables. */
static ALWAYS_INLINE real *TILED(suffix_product)(const fsgd_state *state, int width, int64_t i) {
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

/* Where pending steps are found, in one place: the loops over features keep it in registers. */
typedef struct {
    const real *recent, *suffix;
    int64_t entry, one; /* between entries of a recent product; between suffixes */
    int64_t running;    /* blocks that are complete */
    int shift;          /* log2 of the steps of a block */
    int32_t now;
} TILED(pending_steps);

static ALWAYS_INLINE TILED(pending_steps)
    TILED(pending_of)(const fsgd_state *state, const int width) {
    const int64_t padded = TILE < 16 ? TILE : state->padded, B = state->lazy_block;
    const int shift = __builtin_ctzll((unsigned long long)B);
    return (TILED(pending_steps)){
        .recent = TILED(recent_product)(state, 0, 0, 0),
        .suffix = TILED(suffix_product)(state, width, 0),
        .entry = 2 * B * padded,
        .one = width * 2 * padded,
        .running = state->pending >> shift,
        .shift = shift,
        .now = (int32_t)state->pending,
    };
}

/* u <- u + M u of a vector of lanes: entries of M (width, 2) lie `entry` apart. */
static ALWAYS_INLINE void TILED(apply_product)(const real *M, int64_t entry, const int width,
                                               VEC *u) {
    const VEC w = u[0], v = u[1];
    for (int a = 0; a < width; ++a)
        u[a] += *TILED(at)(M + (a * 2) * entry, 0) * w + *TILED(at)(M + (a * 2 + 1) * entry, 0) * v;
}

/* A feature of all lanes from step `from` to the present: u (width, padded). */
static ALWAYS_INLINE void TILED(apply_products)(const TILED(pending_steps) *steps, const int width,
                                                int64_t padded, real *u, int64_t vector_stride,
                                                int64_t from) {
    const int64_t block = from >> steps->shift, B = (int64_t)1 << steps->shift;
    const int past = block < steps->running;
    const real *recent = steps->recent + (past ? block : B + (from & (B - 1))) * padded;
    const real *suffix = steps->suffix + from * steps->one;
    for (int64_t k = 0; k < padded; k += PER) {
        VEC local[max_width];
        for (int a = 0; a < width; ++a) local[a] = *TILED(at)(u + a * vector_stride + k, 0);
        if (past) TILED(apply_product)(suffix + k, padded, width, local);
        TILED(apply_product)(recent + k, steps->entry, width, local);
        for (int a = 0; a < width; ++a) *TILED(at)(u + a * vector_stride + k, 0) = local[a];
    }
}

/* The same of a copy of a feature's numbers. */
static void TILED(catch_up_copy)(const fsgd_state *state, real *u, int64_t from) {
    const TILED(pending_steps) steps = TILED(pending_of)(state, (int)state->width);
    if (state->width == 2)
        TILED(apply_products)(&steps, 2, state->padded, u, state->padded, from);
    else
        TILED(apply_products)(&steps, 3, state->padded, u, state->padded, from);
}

/* Bring feature j up to date. */
static ALWAYS_INLINE void TILED(catch_up)(const fsgd_state *state,
                                          const TILED(pending_steps) *steps, const int width,
                                          int64_t j) {
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    int32_t *last_update = state->last_update + j;
    if (*last_update == steps->now) return;
    TILED(apply_products)(steps, width, padded, (real *)state->w + j * TILED(stride)(state),
                          state->vector_stride, *last_update);
    *last_update = steps->now;
}

static ALWAYS_INLINE void TILED(catch_up_products)(const fsgd_state *state, const row_values *row,
                                                   const fsgd_layout layout) {
    const row_values r = *row;
    const TILED(pending_steps) steps = TILED(pending_of)(state, (int)state->width);
    if (state->width == 2)
        for (int64_t p = 0; p < r.count; ++p)
            TILED(catch_up)(state, &steps, 2, feature_of(&r, p, layout));
    else
        for (int64_t p = 0; p < r.count; ++p)
            TILED(catch_up)(state, &steps, 3, feature_of(&r, p, layout));
}

static void TILED(catch_up_range)(const fsgd_state *state, int64_t first, int64_t last) {
    const TILED(pending_steps) steps = TILED(pending_of)(state, (int)state->width);
    if (state->width == 2)
        for (int64_t j = first; j <= last; ++j) TILED(catch_up)(state, &steps, 2, j);
    else
        for (int64_t j = first; j <= last; ++j) TILED(catch_up)(state, &steps, 3, j);
}

/* Flush: bring all features up to date, after which no step is pending. */
static void TILED(catch_up_all)(context *ctx) {
    fsgd_state *state = ctx->state;
    if (ctx->kind.l1) {
        TILED(shrink_all)(ctx);
        return;
    }
    TILED(catch_up_range)(state, 0, state->d - 1);
    memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
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

/* Whether features wait and catch up: CSR, with momentum, without L1. */
static inline int TILED(is_lazy)(const context *ctx) {
    return ctx->data->layout != FSGD_DENSE && ctx->settings->momentum > 0 && !ctx->kind.l1;
}

/* Let the features that are in no row of a planned update wait, where they may. */
static ALWAYS_INLINE void TILED(postpone)(context *ctx, const double *count) {
    if (ctx->kind.shrinks)
        TILED(add_to_l1_sums)(ctx, count);
    else if (TILED(is_lazy)(ctx))
        TILED(record_step)(ctx);
}

/* Bring the features of a CSR row up to date: pending steps, a truncation that is put off, or
 * AdaGrad's penalties. */
static ALWAYS_INLINE void TILED(catch_up_row)(context *ctx, const row_values *row,
                                              const fsgd_layout layout) {
    fsgd_state *state = ctx->state;
    if (ctx->kind.shrinks) {
        TILED(shrink_row)(state, row, layout);
    } else if (TILED(is_lazy)(ctx)) {
        TILED(catch_up_products)(state, row, layout);
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

/* The step that was recorded last, of a row's features, with g = c x: u += D u + p g. A feature
 * that is there twice has D once. */
static ALWAYS_INLINE void TILED(step_row)(const context *ctx, const row_values *row, const real *c,
                                          const fsgd_layout layout, const int width) {
    const fsgd_state *state = ctx->state;
    const row_values r = *row;
    const int64_t stride = TILED(stride)(state), apart = state->vector_stride;
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    const int32_t now = (int32_t)state->pending;
    const real *D = ctx->step.D, *p = ctx->step.p;
    int32_t *last_update = state->last_update;
    real *w = state->w;
    for (int64_t i = 0; i < r.count; ++i) {
        const int64_t j = feature_of(&r, i, layout);
        const int first = last_update[j] != now;
        const real x = r.x[i];
        last_update[j] = now;
        for (int64_t k = 0; k < padded; k += PER) {
            real *u = w + j * stride + k;
            const VEC g = x * *TILED(at)(c + k, 0);
            const VEC of_w = *TILED(at)(u, 0), of_v = *TILED(at)(u + apart, 0);
            for (int a = 0; a < width; ++a) {
                VEC change = *TILED(at)(p + a * padded + k, 0) * g;
                if (first)
                    change += *TILED(at)(D + (a * width) * padded + k, 0) * of_w +
                              *TILED(at)(D + (a * width + 1) * padded + k, 0) * of_v;
                *TILED(at)(u + a * apart, 0) += change;
            }
        }
    }
}

#endif
