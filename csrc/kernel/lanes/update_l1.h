/* update_l1.h: the optimizer's step with an L1 penalty. */

#ifndef FASTSGD_KERNEL_LANES_UPDATE_L1_H
#define FASTSGD_KERNEL_LANES_UPDATE_L1_H

#include "../one_lane/features.h"
#include "update.h"

/* The whole step of one feature with an L1 penalty: u += D u + p x g, then truncation; g (padded).
 */
static ALWAYS_INLINE void TILED(l1_step)(context *ctx, const int width, real *u, real x,
                                         const real *g) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state), stride = state->vector_stride;
    const int64_t start = ctx->settings->average;
    const real *D = ctx->step.D, *p = ctx->step.p, *cumulative = ctx->step.l1_cumulative;
    real *applied = u + width * stride;
    for (int64_t tile = 0; tile < padded; tile += TILE)
        _Pragma("omp simd") for (int64_t k = tile; k < tile + TILE; ++k) {
            real old[max_width], now[max_width];
            for (int a = 0; a < width; ++a) old[a] = u[a * stride + k];
            for (int a = 0; a < width; ++a) {
                now[a] = p[a * padded + k] * (x * g[k]);
                for (int b = 0; b < width; ++b) now[a] += D[(a * width + b) * padded + k] * old[b];
                now[a] += old[a];
            }
            const real before = now[0];
            real received = applied[k];
            truncate_weight(&now[0], &received, cumulative[k]);
            applied[k] = received;
            if (width > 1) { /* q = N (a - w): what w gains, q loses N times */
                const int64_t N = start > 0 && state->t[k] > start ? state->t[k] - start : 0;
                now[width - 1] -= (real)N * (now[0] - before);
            }
            for (int a = 0; a < width; ++a) u[a * stride + k] = now[a];
        }
}

/* Features first to last, feature j with g_j = x_j c (x given) or g_j at g + j padded (x NULL). */
static ALWAYS_INLINE void TILED(l1_steps)(context *ctx, int64_t first, int64_t last,
                                          const int width, const real *x, const real *g) {
    const fsgd_state *state = ctx->state;
    const int64_t step = x ? 0 : state->padded;
    for (int64_t j = first; j <= last; ++j)
        TILED(l1_step)(ctx, width, (real *)state->w + j * state->feature_stride, x ? x[j] : 1,
                       g + j * step);
}

static void TILED(l1_features)(context *ctx, int64_t first, int64_t last, const real *x,
                               const real *g) {
#if TILE == 1
    if (!x && first == 0 && last == ctx->state->d - 1) { /* along the features */
        switch (ctx->state->width) {
        case 1: update_dense(ctx, 1, g, 1); break;
        case 2: update_dense(ctx, 2, g, 1); break;
        default: update_dense(ctx, 3, g, 1);
        }
        return;
    }
#endif
    switch (ctx->state->width) {
    case 1: TILED(l1_steps)(ctx, first, last, 1, x, g); break;
    case 2: TILED(l1_steps)(ctx, first, last, 2, x, g); break;
    default: TILED(l1_steps)(ctx, first, last, 3, x, g);
    }
}

/* What a step with an L1 penalty does to the features of a CSR row where the others may wait: decay
 * and gradient, */
static NO_INLINE void TILED(add_row_l1)(context *ctx, const row_values *row, const real *c) {
    if (ctx->kind.l1_momentum) {
        add_row_moving(ctx, row, c);
        return;
    }
    if (ctx->kind.shrinks) {
        TILED(open_row)(ctx, row, c);
        return;
    }
#define CALL(LAYOUT) TILED(add_row)(ctx, row, c, LAYOUT, 1)
    BY_LAYOUT(CALL)
#undef CALL
}

/* and, when all rows of the step have had theirs, truncation. */
static NO_INLINE void TILED(truncate_row_l1)(context *ctx, const row_values *row) {
    if (ctx->kind.l1_momentum) {
        truncate_row_moving(ctx, row);
        return;
    }
    if (ctx->kind.shrinks) {
        TILED(close_row)(ctx, row, CSR_ROWS);
        return;
    }
#define CALL(LAYOUT) TILED(catch_up_row)(ctx, row, LAYOUT)
    BY_LAYOUT(CALL)
#undef CALL
    if (ctx->kind.lazy_l1) ctx->state->pending = 1;
}

/* A step with an L1 penalty of one row: over all features, or, where the others may wait, over the
 * row's. */
static void TILED(update_row_l1)(context *ctx, const row_values *row, const real *c) {
    const int64_t padded = ctx->state->padded, d = ctx->data->d;
    if (TILED(is_dense)(ctx)) {
        TILED(l1_features)(ctx, 0, d - 1, row->x, c);
    } else if (ctx->kind.shrinks) {
        TILED(step_row_l1)(ctx, row, c);
    } else if (ctx->kind.lazy_l1) { /* the truncation waits here too */
        TILED(add_row_l1)(ctx, row, c);
        ctx->state->pending = 1;
    } else if (ctx->kind.l1_momentum) {
        TILED(add_row_l1)(ctx, row, c);
        TILED(truncate_row_l1)(ctx, row);
    } else {
        real *g = ctx->gradient.spread;
        for (int64_t p = 0; p < row->count; ++p) {
            const int64_t j = row->columns[p];
            for (int64_t k = 0; k < padded; ++k) g[j * padded + k] += row->x[p] * c[k];
        }
        TILED(l1_features)(ctx, 0, d - 1, NULL, g);
        ctx->state->rescales += 1;
        for (int64_t p = 0; p < row->count; ++p)
            memset(g + row->columns[p] * padded, 0, (size_t)padded * sizeof(real));
        ctx->report->work += d * ctx->state->width * ((padded + 15) / 16);
    }
}

static void TILED(update_row)(context *ctx, const row_values *row, const real *c) {
    if (ctx->adaptive.on)
        adaptive_row(ctx, row, c);
    else if (ctx->kind.l1)
        TILED(update_row_l1)(ctx, row, c);
    else
        TILED(add_row_by_layout)(ctx, row, c);
}

/* The step of features first to last by the gradient of a batch, those that have not had it. */
static void TILED(move_and_add_gradient)(context *ctx, int64_t first, int64_t last) {
    const fsgd_state *state = ctx->state;
    for (int64_t j = first; j <= last; ++j) {
        if (state->last_update[j] == (int32_t)state->pending) continue;
        TILED(l1_features)(ctx, j, j, NULL, state->grad);
        state->last_update[j] = (int32_t)state->pending;
    }
}

/* The same with an L1 penalty: of all features, unless truncation may wait. */
static void TILED(add_gradient_l1)(context *ctx, int64_t first, int64_t last) {
    fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state), lost = grad_size(state);
    real *grad = (real *)state->grad + first * padded;
    if (ctx->kind.shrinks)
        TILED(open_range)(ctx, first, last);
    else if (ctx->kind.l1_momentum)
        TILED(move_and_add_gradient)(ctx, first, last);
    else if (!ctx->kind.lazy_l1)
        TILED(l1_features)(ctx, first, last, NULL, state->grad);
    for (int64_t j = first; ctx->kind.lazy_l1 && j <= last; ++j) {
        real *w = (real *)state->w + j * state->feature_stride;
        const real *g = (const real *)state->grad + j * padded;
        for (int64_t k = 0; k < padded; ++k) w[k] += ctx->step.p[k] * g[k];
        truncate_feature(ctx->step.l1_cumulative, padded, w, w + state->vector_stride);
    }
    memset(grad, 0, (size_t)((last - first + 1) * padded) * sizeof(real));
    memset(grad + lost, 0, (size_t)((last - first + 1) * padded) * sizeof(real));
    if (ctx->kind.lazy_l1) state->pending = 1;
}

/* An update of features first to last, whose coefficients are found. */
static void TILED(update_features)(context *ctx, int64_t first, int64_t last) {
    if (ctx->adaptive.on) {
        adaptive_features(ctx, first, last);
        return;
    }
    if (ctx->kind.l1) {
        TILED(add_gradient_l1)(ctx, first, last);
        return;
    }
    if (ctx->kind.spans && ctx->step.touches) change_range(ctx->state, first, last);
    const int direct = !ctx->kind.spans && !ctx->kind.scaled;
    switch (ctx->state->width + (direct ? 2 : 0)) {
    case 1: TILED(add_gradient)(ctx, first, last, 1, 0); break;
    case 2: TILED(add_gradient)(ctx, first, last, 2, 0); break;
    case 3: TILED(add_gradient)(ctx, first, last, 3, 0); break;
    case 4: TILED(add_gradient)(ctx, first, last, 2, 1); break;
    default: TILED(add_gradient)(ctx, first, last, 3, 1);
    }
}

#endif
