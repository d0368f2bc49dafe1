/* adaptive.h: steps that are not linear: each weight has a step size of its own, and both penalties
 * are part of its step. So far AdaGrad's (Duchi, Hazan & Singer, JMLR 12, 2011); another one with a
 * step size that an absent feature keeps has its `adagrad_step` beside this one. Template
 * parameters as in kernel.h.
 *
 *     squares += g^2,   time = eta / sqrt(squares),   w -= time g,   and for that time
 *     |w| = max(0, (|w| + l1 / alpha) exp(-alpha time) - l1 / alpha)                   penalties
 *
 * which is where d|w| / dtime = -(alpha |w| + l1) leads, so that times add up. A feature that is
 * not there has no gradient and keeps its squares: all the steps that it misses are one, of the sum
 * of their rates. On CSR, State keeps these sums since the last flush, and for each feature the
 * step at which it holds; a row's features catch up before they are scored, and the penalties of
 * a step are pending until then. After max_pending steps all features catch up, O(d).
 *
 * Averages of penalised weights move with them at every step: then each step goes over all
 * features. A weight that never had a gradient has no step size, and stays.
 */
#ifndef FASTSGD_KERNEL_ADAPTIVE_H
#define FASTSGD_KERNEL_ADAPTIVE_H

#include "csr_rows.h"
#include "norms.h"
#include "penalty.h"

static ALWAYS_INLINE real root(real x) {
    return sizeof(real) == 4 ? (real)__builtin_sqrtf((float)x) : (real)__builtin_sqrt((double)x);
}

/* The time of a rate. Squares that overflowed make it NaN, which the next score finds. */
static ALWAYS_INLINE real time_of(real rate, real squares) {
    const real most = REAL_BYTES == 4 ? (real)3e38 : (real)1e308;
    real time = squares > 0 ? rate / root(squares) : 0;
    time = time < most ? time : most;
    return time + 0 * squares;
}

/* A weight that the penalties have held for some time. */
static ALWAYS_INLINE real shrunk(real w, real time, real alpha, real l1) {
    const real sign = signed_as(1, w), size = sign * w, x = alpha * time;
    const real part = one_minus_exp(x);
    const real left = size - (part * size + l1 * (x > 0 ? part / alpha : time));
    return time != time ? time : sign * (left > 0 ? left : 0);
}

/* One weight, its squares and q = N (a - w) of its average. */
static ALWAYS_INLINE void adagrad_step(real *w, real *squares, real *q, real g, real eta,
                                       real alpha, real l1, real N, const int shrinks,
                                       const int averaged) {
    const real before = *w, sum = *squares + g * g, time = time_of(eta, sum);
    real now = before - time * g;
    if (shrinks) now = shrunk(now, time, alpha, l1);
    *w = now;
    *squares = sum;
    if (averaged) *q -= N * (now - before);
}

/* ------------------------------------------------------------------ the plan of a step */

/* p = 1 / rows, p0 = eta; 0 in lanes that do not tick. */
static ALWAYS_INLINE void plan_adaptive(context *ctx, const int64_t padded,
                                        const double *restrict count) {
    const int64_t start = ctx->settings->average;
    for (int64_t k = 0; k < padded; ++k) {
        const int64_t N = ctx->state->t[k] - start;
        ctx->step.p[k] = count[k] > 0 ? (real)(1 / count[k]) : 0;
        ctx->step.p0[k] = (real)ctx->step.eta[k];
        ctx->step.averaged[k] = start > 0 && N > 0 ? (real)N : 0;
    }
}

/* Intercepts, which no penalty holds: g (padded) the sum of slopes. */
static ALWAYS_INLINE void adaptive_intercepts(context *ctx, const int64_t padded, const real *g,
                                              const double *count) {
    const int64_t width = ctx->state->width;
    real *b = ctx->state->intercept, *squares = b + width * padded, *q = b + (width - 1) * padded;
    for (int64_t k = 0; k < padded; ++k) {
        const real mean = ctx->step.p[k] *
                          (g[k] + (real)(count[k] * ctx->lanes->intercept_gradient[k]));
        const real eta = ctx->step.p0[k] * (real)ctx->lanes->intercept_rate[k];
        if (width > 1)
            adagrad_step(b + k, squares + k, q + k, mean, eta, 0, 0, ctx->step.averaged[k], 0, 1);
        else
            adagrad_step(b + k, squares + k, q + k, mean, eta, 0, 0, 0, 0, 0);
    }
}

/* ------------------------------------------------------------------ lazy updates */

/* Bring feature j up to date, for weights at `w` (padded), which may be a copy. */
static ALWAYS_INLINE void adaptive_catch_up(const context *ctx, int64_t j, const int64_t padded,
                                            real *w) {
    const fsgd_state *state = ctx->state;
    const double *now = state->step_sums + state->pending * padded;
    const double *then = state->step_sums + state->last_update[j] * padded;
    const real *squares = (const real *)state->w + j * state->feature_stride +
                          state->width * state->vector_stride;
    const real *alpha = ctx->adaptive.alpha, *l1 = ctx->adaptive.l1;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const real time = time_of((real)(now[k] - then[k]), squares[k]);
        w[k] = shrunk(w[k], time, alpha[k], l1[k]);
    }
}

static ALWAYS_INLINE void adaptive_touch(const context *ctx, int64_t j, const int64_t padded) {
    fsgd_state *state = ctx->state;
    if (state->last_update[j] == (int32_t)state->pending) return;
    adaptive_catch_up(ctx, j, padded, (real *)state->w + j * state->feature_stride);
    state->last_update[j] = (int32_t)state->pending;
}

/* Call a body with the number of lanes as a constant where it is small. */
#define BY_PADDED(CALL)                                                                            \
    switch (ctx->state->padded) {                                                                  \
    case 1: CALL(1); break;                                                                        \
    case 4: CALL(4); break;                                                                        \
    default: CALL(ctx->state->padded);                                                             \
    }

static void adaptive_touch_row(const context *ctx, const row_values *row) {
#define CALL(PADDED)                                                                               \
    for (int64_t p = 0; p < row->count; ++p) adaptive_touch(ctx, row->columns[p], PADDED)
    BY_PADDED(CALL)
#undef CALL
}

/* All pending steps. */
static void adaptive_flush(context *ctx) {
    fsgd_state *state = ctx->state;
#define CALL(PADDED)                                                                               \
    for (int64_t j = 0; j < state->d; ++j) adaptive_touch(ctx, j, PADDED)
    BY_PADDED(CALL)
#undef CALL
    memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
    state->pending = 0;
    state->rescales += 1;
    ctx->report->work += state->d * state->vectors;
}

/* The penalties of a step, whose features have had their gradient, are pending from now on. */
static RARE void adaptive_push(context *ctx) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    if (state->pending == state->max_pending) adaptive_flush(ctx);
    double *sums = state->step_sums + state->pending * padded;
    for (int64_t k = 0; k < padded; ++k) {
        if (state->pending == 0) sums[k] = 0;
        sums[padded + k] = sums[k] + ctx->step.eta[k];
    }
    state->pending += 1;
}

/* Pending steps have the penalties that they were taken with: others are for steps to come. */
static RARE void adaptive_adopt(context *ctx) {
    fsgd_state *state = ctx->state;
    const fsgd_lanes *lanes = ctx->lanes;
    int differ = 0;
    for (int64_t k = 0; k < state->k; ++k)
        differ |= (state->alpha[k] != lanes->alpha[k]) | (state->l1[k] != lanes->l1[k]);
    if (state->pending > 0 && (differ || !ctx->adaptive.waits)) adaptive_flush(ctx);
    for (int64_t k = 0; k < state->k; ++k) {
        state->alpha[k] = lanes->alpha[k], state->l1[k] = lanes->l1[k];
        ctx->adaptive.alpha[k] = (real)lanes->alpha[k], ctx->adaptive.l1[k] = (real)lanes->l1[k];
    }
}

/* ------------------------------------------------------------------ features */

/* One feature of all lanes, with the mean gradient p x g: g (padded). */
static ALWAYS_INLINE void adaptive_feature(const context *ctx, int64_t j, real x, const real *g,
                                           const int64_t padded, const int shrinks,
                                           const int averaged) {
    const fsgd_state *state = ctx->state;
    const int64_t stride = state->vector_stride;
    real *w = (real *)state->w + j * state->feature_stride;
    real *squares = w + (1 + averaged) * stride, *q = w + averaged * stride;
    const real *p = ctx->step.p, *eta = ctx->step.p0, *alpha = ctx->adaptive.alpha,
               *l1 = ctx->adaptive.l1;
    const real *N = ctx->step.averaged;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
        adagrad_step(w + k, squares + k, q + k, p[k] * (x * g[k]), eta[k], alpha[k], l1[k], N[k],
                     shrinks, averaged);
}

/* Features first to last with g_j = x_j c (x given), or g_j at g + j padded (x NULL). */
static ALWAYS_INLINE void adaptive_each(const context *ctx, int64_t first, int64_t last,
                                        const real *x, const real *g, const int64_t padded,
                                        const int shrinks) {
    const int averaged = ctx->state->width > 1;
    const int64_t step = x ? 0 : padded;
    for (int64_t j = first; j <= last; ++j) {
        if (!shrinks && ctx->adaptive.waits) adaptive_touch(ctx, j, padded);
        if (averaged)
            adaptive_feature(ctx, j, x ? x[j] : 1, g + j * step, padded, shrinks, 1);
        else
            adaptive_feature(ctx, j, x ? x[j] : 1, g + j * step, padded, shrinks, 0);
    }
}

/* The same as a call: its copies by the number of lanes are long. */
static NO_INLINE void adaptive_range(const context *ctx, int64_t first, int64_t last, const real *x,
                                     const real *g, int shrinks) {
#define CALL(PADDED)                                                                               \
    if (shrinks)                                                                                   \
        adaptive_each(ctx, first, last, x, g, PADDED, 1);                                          \
    else                                                                                           \
        adaptive_each(ctx, first, last, x, g, PADDED, 0)
    BY_PADDED(CALL)
#undef CALL
}

/* Features first to last by the gradient of a batch, which is cleared. */
static void adaptive_features(context *ctx, int64_t first, int64_t last) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, rest = grad_size(state);
    const size_t bytes = (size_t)((last - first + 1) * padded) * sizeof(real);
    real *grad = state->grad;
    adaptive_range(ctx, first, last, NULL, grad, !ctx->adaptive.lazy);
    memset(grad + first * padded, 0, bytes);
    memset(grad + rest + first * padded, 0, bytes);
}

/* The features of a CSR row, its values of one feature added up: squares are of their sum. */
static ALWAYS_INLINE void adaptive_csr(context *ctx, const row_values *row, const real *c,
                                       const int64_t padded, const int averaged) {
    double *sums = ctx->problem->sums;
    const int rises = indices_rise(row);
    for (int64_t p = 0; !rises && p < row->count; ++p) sums[row->columns[p]] += (double)row->x[p];
    for (int64_t p = 0; p < row->count; ++p) {
        const int64_t j = row->columns[p];
        real x = row->x[p];
        if (!rises) x = (real)sums[j], sums[j] = 0;
        if (ctx->adaptive.waits) adaptive_touch(ctx, j, padded);
        adaptive_feature(ctx, j, x, c, padded, 0, averaged);
    }
}

/* A step by one row of many lanes, or a CSR row of one. */
static void adaptive_row(context *ctx, const row_values *row, const real *c) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, d = state->d;
    if (ctx->data->layout == FSGD_DENSE) {
        adaptive_range(ctx, 0, d - 1, row->x, c, 1);
    } else if (ctx->adaptive.lazy) {
#define CALL(PADDED)                                                                               \
    if (state->width > 1)                                                                          \
        adaptive_csr(ctx, row, c, PADDED, 1);                                                      \
    else                                                                                           \
        adaptive_csr(ctx, row, c, PADDED, 0)
        BY_PADDED(CALL)
#undef CALL
        if (ctx->adaptive.waits) adaptive_push(ctx);
    } else {
        real *g = ctx->gradient.spread;
        for (int64_t p = 0; p < row->count; ++p) {
            const int64_t j = row->columns[p];
            for (int64_t k = 0; k < padded; ++k) g[j * padded + k] += row->x[p] * c[k];
        }
        adaptive_range(ctx, 0, d - 1, NULL, g, 1);
        ctx->state->rescales += 1;
        for (int64_t p = 0; p < row->count; ++p)
            memset(g + row->columns[p] * padded, 0, (size_t)padded * sizeof(real));
        ctx->report->work += d * state->vectors * ((padded + 15) / 16);
    }
}

/* One dense row, or a batch's gradient, of one lane, SIMD along the features: g = factor x. */
static ALWAYS_INLINE void adaptive_plane(context *ctx, const real *restrict x, real factor,
                                         const int averaged) {
    const int64_t n = ctx->rows.stride;
    real *restrict w = ctx->state->w, *restrict squares = w + (1 + averaged) * n;
    real *restrict q = w + averaged * n;
    const real eta = ctx->step.p0[0], alpha = ctx->adaptive.alpha[0], l1 = ctx->adaptive.l1[0];
    const real N = ctx->step.averaged[0], by = ctx->step.p[0] * factor;
    _Pragma("omp simd") for (int64_t j = 0; j < n; ++j)
        adagrad_step(w + j, squares + j, q + j, by * x[j], eta, alpha, l1, N, 1, averaged);
}

static void adaptive_dense(context *ctx, const real *x, real factor) {
    if (ctx->state->width > 1)
        adaptive_plane(ctx, x, factor, 1);
    else
        adaptive_plane(ctx, x, factor, 0);
}

#undef BY_PADDED

#endif
