/* features.h: along the features of one lane: scores, and the optimizer's step applied to all
 * weights. */

#ifndef FASTSGD_KERNEL_ONE_LANE_FEATURES_H
#define FASTSGD_KERNEL_ONE_LANE_FEATURES_H

#include "../csr_rows.h"
#include "../optimizer.h"
#include "../penalty.h"
#include "../vectors.h"

/* x . w, both (n), n a multiple of 16; on the way the row at `upcoming`, of values of `stored`
 * bytes, is prefetched, unless NULL. */
static ALWAYS_INLINE real dot_dense(const real *x, const real *w, int64_t n, const char *upcoming,
                                    int64_t stored) {
    enum { V = wide_count };
    wide a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
    int64_t j = 0;
    for (; j + 4 * V <= n; j += 4 * V) {
        for (int64_t k = j; upcoming && k < j + 4 * V; k += 64 / REAL_BYTES)
            prefetch_features(upcoming, k, stored);
        a0 += wide_at(x + j) * wide_at(w + j);
        a1 += wide_at(x + j + V) * wide_at(w + j + V);
        a2 += wide_at(x + j + 2 * V) * wide_at(w + j + 2 * V);
        a3 += wide_at(x + j + 3 * V) * wide_at(w + j + 3 * V);
    }
    if (upcoming) prefetch(upcoming + j * stored, (n - j) * stored);
    for (; j < n; j += V) a0 += wide_at(x + j) * wide_at(w + j);
    return wide_sum((a0 + a1) + (a2 + a3));
}

/* Prefetch values p to p + 15 of a CSR row, and their columns. */
static ALWAYS_INLINE void prefetch_values(const row_extent *row, int64_t p, int64_t size) {
    const char *x = (const char *)(row->x + p);
    prefetch_line(x);
    prefetch_line(row->indices + p * size);
    if (REAL_BYTES == 8) prefetch_line(x + 64);
    if (size == 8) prefetch_line(row->indices + p * size + 64);
}

/* x . w; on the way the row `upcoming`, with indices of `size` bytes, is prefetched, a few lines at
 * a time. Of coordinates, `spans`, x . (m[0] w + m[1] v), v lying behind w, a plane on or beside
 * it. In scalars: a scatter by vectors would lose the updates of columns that a row holds twice,
 * and gathers are no faster.
 */
static ALWAYS_INLINE real dot_csr(const real *w, int64_t vector_stride, const real *m,
                                  const row_values *row, const row_extent *upcoming, int64_t size,
                                  const int width, const int spans) {
    enum { GROUP = 16 }; /* values of one or two cache lines */
    const row_values r = *row;
    const int64_t stride = csr_stride(width);
    const int64_t apart = stride > 1 ? 1 : vector_stride;
    const real m0 = spans ? m[0] : 1, m1 = spans ? m[1] : 0;
    real sum[4] = {0};
    int64_t p = 0;
#define TERM(SUM, P)                                                                               \
    do {                                                                                           \
        const real *at = w + r.columns[P] * stride;                                                \
        SUM += r.x[P] * (spans ? m0 * at[0] + m1 * at[apart] : at[0]);                             \
    } while (0)
    for (; p + GROUP <= r.count; p += GROUP) {
        if (p < upcoming->count) prefetch_values(upcoming, p, size);
        for (int u = 0; u < GROUP; ++u) TERM(sum[u & 3], p + u);
    }
    for (int64_t k = p; k < upcoming->count; k += GROUP) prefetch_values(upcoming, k, size);
    if (upcoming->count > 0) prefetch_values(upcoming, upcoming->count - 1, size);
    for (; p + 4 <= r.count; p += 4)
        for (int u = 0; u < 4; ++u) TERM(sum[u], p + u);
    if (p < r.count) TERM(sum[0], p);
    if (p + 1 < r.count) TERM(sum[1], p + 1);
    if (p + 2 < r.count) TERM(sum[2], p + 2);
#undef TERM
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* u += p c x of the `width` numbers of a feature */
static ALWAYS_INLINE void add_csr(real *w, int64_t vector_stride, const row_values *row,
                                  const real *p, real c, const int width) {
    const row_values r = *row;
    const int64_t stride = csr_stride(width), apart = stride > 1 ? 1 : vector_stride;
    const real by[max_width] = {p[0] * c, width > 1 ? p[1] * c : 0, width > 2 ? p[2] * c : 0};
    for (int64_t i = 0; i < r.count; ++i) {
        real *u = w + r.columns[i] * stride;
        for (int a = 0; a < width; ++a) u[a * apart] += by[a] * r.x[i];
    }
}

/* Truncate all weights, q following them. */
static ALWAYS_INLINE void truncate_weights(context *ctx, const int width) {
    const fsgd_state *state = ctx->state;
    const int64_t n = ctx->rows.stride, start = ctx->settings->average, N = state->t[0] - start;
    real *w = state->w, *applied = w + width * n, *q = w + (width - 1) * n;
    const real cumulative = ctx->step.l1_cumulative[0];
    const real averaged = start > 0 && N > 0 ? (real)N : 0;
    _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) {
        real weight = w[j], received = applied[j];
        truncate_weight(&weight, &received, cumulative);
        if (width > 1) q[j] -= averaged * (weight - w[j]);
        w[j] = weight, applied[j] = received;
    }
}

/* One update of all features: u += D u + p g, where g_j = factor * x_j. width 1 has no D, but with
 * L1 a decay of w. */
static ALWAYS_INLINE void update_dense(context *ctx, const int width, const real *x, real factor) {
    const int64_t n = ctx->rows.stride;
    real *w = ctx->state->w;
    wide *u[max_width];
    real p[max_width], D[max_width][max_width];
    for (int a = 0; a < width; ++a) {
        p[a] = ctx->step.p[a] * factor;
        for (int b = 0; width > 1 && b < width; ++b) D[a][b] = ctx->step.D[a * width + b];
    }
    if (width == 1 && ctx->kind.l1 && ctx->step.D[0] != 0)
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) w[j] += ctx->step.D[0] * w[j];
    for (int64_t j = 0; j < n; j += wide_count) {
        wide old[max_width], g = wide_at(x + j);
        for (int a = 0; a < width; ++a) u[a] = (wide *)(w + a * n + j), old[a] = *u[a];
        for (int a = 0; a < width; ++a) {
            wide change = p[a] * g;
            for (int b = 0; width > 1 && b < width; ++b) change += D[a][b] * old[b];
            *u[a] = old[a] + change;
        }
    }
    if (ctx->kind.l1) truncate_weights(ctx, width);
}

#endif
