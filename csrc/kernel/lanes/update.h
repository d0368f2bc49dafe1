/* update.h: the optimizer's step applied along the lanes, feature by feature, without an L1
 * penalty. */

#ifndef FASTSGD_KERNEL_LANES_UPDATE_H
#define FASTSGD_KERNEL_LANES_UPDATE_H

#include "lazy.h"

/* One lane tile of a feature: u += D u + p g; the new w goes into `new_w` too. D is NULL where lazy
 * updates or the scale have it. */
static ALWAYS_INLINE void TILED(update_tile)(real *u, int64_t vector_stride, const int width,
                                             const VEC D[][NV], const VEC p[][NV], const VEC *g,
                                             VEC *new_w) {
    VEC old[max_width][NV];
    for (int a = 0; a < width; ++a)
        for (int i = 0; i < NV; ++i) old[a][i] = *TILED(at)(u + a * vector_stride, i);
    for (int a = 0; a < width; ++a)
        for (int i = 0; i < NV; ++i) {
            VEC change = p[a][i] * g[i];
            for (int b = 0; D && b < width; ++b) change += D[a * width + b][i] * old[b][i];
            change += old[a][i];
            *TILED(at)(u + a * vector_stride, i) = change;
            if (a == 0) new_w[i] = change;
        }
}

/* The coefficients of a tile, p times `by` (padded) unless that is NULL. */
static ALWAYS_INLINE void TILED(load_plan)(const context *ctx, int64_t tile, const int width,
                                           const real *by, VEC D[][NV], VEC p[][NV]) {
    const int64_t padded = ctx->state->padded;
    for (int a = 0; a < width; ++a)
        for (int i = 0; i < NV; ++i) {
            p[a][i] = *TILED(at)(ctx->step.p + a * padded + tile, i);
            if (by) p[a][i] *= *TILED(at)(by + tile, i);
        }
    for (int ab = 0; D && ab < width * width; ++ab)
        for (int i = 0; i < NV; ++i) D[ab][i] = *TILED(at)(ctx->step.D + ab * padded + tile, i);
}

/* All lanes of a row's features, with g = c x_j: c (padded). What the loop reads is in locals: its
 * stores may alias anything. */
static ALWAYS_INLINE void TILED(add_row)(context *ctx, const row_values *row, const real *c,
                                         const fsgd_layout layout, const int width) {
    fsgd_state *state = ctx->state;
    const row_values r = *row;
    const int64_t stride = state->feature_stride, vector_stride = state->vector_stride;
    const int64_t padded = LANES(state);
    const int direct = layout == FSGD_DENSE && width > 1;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        VEC D[max_width * max_width][NV], p[max_width][NV];
        real *w = (real *)state->w + tile;
        TILED(load_plan)(ctx, tile, width, c, direct ? D : NULL, p);
        for (int64_t k = 0; k < r.count; ++k) {
            VEC x[NV], new_w[NV];
            for (int i = 0; i < NV; ++i) x[i] = r.x[k] - (VEC){0};
            real *u = w + feature_of(&r, k, layout) * stride;
            TILED(update_tile)(u, vector_stride, width, direct ? D : NULL, p, x, new_w);
        }
    }
}

/* update_tile by x, and sum += next w of the new w */
static ALWAYS_INLINE void TILED(update_dot_tile)(real *u, int64_t vector_stride, const int width,
                                                 const VEC D[][NV], const VEC p[][NV], real x,
                                                 real next, VEC *sum) {
    VEC g[NV], w[NV];
    for (int i = 0; i < NV; ++i) g[i] = x - (VEC){0};
    TILED(update_tile)(u, vector_stride, width, width > 1 ? D : NULL, p, g, w);
    for (int i = 0; i < NV; ++i) sum[i] += next * w[i];
}

/* add_row for one dense row and dot_row for the next, in one pass over W: the sums are those of
 * dot_row, to the bit. */
static ALWAYS_INLINE void TILED(add_and_dot)(context *ctx, const real *x, const real *c,
                                             const real *next, real *z, const int width) {
    fsgd_state *state = ctx->state;
    const int64_t d = ctx->data->d, stride = state->feature_stride, vectors = state->vector_stride;
    const int64_t by = ctx->rows.backwards ? -1 : 1;
    for (int64_t tile = 0; tile < state->padded; tile += TILE) {
        VEC D[max_width * max_width][NV], p[max_width][NV], sum[UNROLL][NV];
        TILED(load_plan)(ctx, tile, width, c, width > 1 ? D : NULL, p);
        for (int s = 0; s < UNROLL; ++s)
            for (int i = 0; i < NV; ++i) sum[s][i] = (VEC){0};
        int64_t done = 0, j = ctx->rows.backwards ? d - 1 : 0;
        real *u = (real *)state->w + tile + j * stride;
        for (; done + UNROLL <= d; done += UNROLL)
            for (int s = 0; s < UNROLL; ++s, j += by, u += by * stride)
                TILED(update_dot_tile)(u, vectors, width, D, p, x[j], next[j], sum[s]);
        for (; done < d; ++done, j += by, u += by * stride)
            TILED(update_dot_tile)(u, vectors, width, D, p, x[j], next[j], sum[0]);
        for (int i = 0; i < NV; ++i) {
            for (int s = 1; s < UNROLL; ++s) sum[0][i] += sum[s][i];
            *TILED(at)(z + tile, i) = sum[0][i];
        }
    }
}

static void TILED(update_and_dot)(context *ctx, const real *x, const real *next) {
    if (ctx->state->width == 2)
        TILED(add_and_dot)(ctx, x, ctx->chunk.c, next, ctx->chunk.z, 2);
    else
        TILED(add_and_dot)(ctx, x, ctx->chunk.c, next, ctx->chunk.z, 3);
}

/* Add a row times c to the weights, or, where updates have a D, take the step. */
static NO_INLINE void TILED(add_row_by_layout)(context *ctx, const row_values *row, const real *c) {
#define CALL(LAYOUT)                                                                               \
    if (LAYOUT != FSGD_DENSE && ctx->step.opened && ctx->step.touches)                             \
        change_row(ctx->state, row, LAYOUT, TILE);                                                 \
    switch (ctx->state->width) {                                                                   \
    case 1: TILED(add_row)(ctx, row, c, LAYOUT, 1); break;                                         \
    case 2: TILED(add_row)(ctx, row, c, LAYOUT, 2); break;                                         \
    default: TILED(add_row)(ctx, row, c, LAYOUT, 3);                                               \
    }
    BY_LAYOUT(CALL)
#undef CALL
}

/* Features first to last of the batch's gradient, which is cleared. */
static ALWAYS_INLINE void TILED(add_gradient)(context *ctx, int64_t first, int64_t last,
                                              const int width, const int direct) {
    fsgd_state *state = ctx->state;
    const int64_t rest = grad_size(state);
    const int64_t padded = state->padded;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        VEC D[max_width * max_width][NV], p[max_width][NV], g[NV], new_w[NV];
        TILED(load_plan)(ctx, tile, width, NULL, direct ? D : NULL, p);
        for (int64_t j = first; j <= last; ++j) {
            real *grad = (real *)state->grad + j * padded + tile;
            for (int i = 0; i < NV; ++i) {
                g[i] = *TILED(at)(grad, i);
                *TILED(at)(grad, i) = *TILED(at)(grad + rest, i) = (VEC){0};
            }
            real *u = (real *)state->w + tile + j * state->feature_stride;
            TILED(update_tile)(u, state->vector_stride, width, direct ? D : NULL, p, g, new_w);
        }
    }
}

#endif
