/* score.h: scores of rows, whose features are brought up to date first. */

#ifndef FASTSGD_KERNEL_LANES_SCORE_H
#define FASTSGD_KERNEL_LANES_SCORE_H

#include "lazy.h"

/* The weights of vector i of a tile at p; of coordinates, `spans`, by the score's coefficients. */
static ALWAYS_INLINE VEC TILED(weight_at)(const real *p, int i, int64_t apart, const VEC m[][NV],
                                          const int spans) {
    if (!spans) return *TILED(at)(p, i);
    return m[0][i] * *TILED(at)(p, i) + m[1][i] * *TILED(at)(p + apart, i);
}

/* z (padded) = x . W of one row; a dense one from its end if ctx->rows.backwards. */
static ALWAYS_INLINE void TILED(dot_row)(const context *ctx, const row_values *row, real *z,
                                         const fsgd_layout layout, const int spans) {
    const fsgd_state *state = ctx->state;
    const int64_t stride = state->feature_stride, apart = state->vector_stride;
    const int64_t by = layout == FSGD_DENSE && ctx->rows.backwards ? -1 : 1;
    for (int64_t tile = 0; tile < state->padded; tile += TILE) {
        const real *w = (const real *)state->w + tile;
        VEC sum[UNROLL][NV], m[2][NV];
        for (int u = 0; u < UNROLL; ++u)
            for (int i = 0; i < NV; ++i) sum[u][i] = (VEC){0};
        for (int a = 0; a < 2; ++a)
            for (int i = 0; spans && i < NV; ++i)
                m[a][i] = *TILED(at)(ctx->step.score + a * state->padded + tile, i);
        int64_t done = 0, p = by < 0 ? row->count - 1 : 0;
        for (; done + UNROLL <= row->count; done += UNROLL)
            for (int u = 0; u < UNROLL; ++u, p += by) {
                const real *wj = w + feature_of(row, p, layout) * stride;
                for (int i = 0; i < NV; ++i)
                    sum[u][i] += row->x[p] * TILED(weight_at)(wj, i, apart, m, spans);
            }
        for (; done < row->count; ++done, p += by) {
            const real *wj = w + feature_of(row, p, layout) * stride;
            for (int i = 0; i < NV; ++i)
                sum[0][i] += row->x[p] * TILED(weight_at)(wj, i, apart, m, spans);
        }
        for (int i = 0; i < NV; ++i) {
            for (int u = 1; u < UNROLL; ++u) sum[0][i] += sum[u][i];
            *TILED(at)(z + tile, i) = sum[0][i];
        }
    }
}

#if TILE == 1
/* x . w of a CSR row of weights that are stored as coordinates (l1_sums.h), side by side in
 * vectors.
 */
static ALWAYS_INLINE real TILED(open_and_dot)(const context *ctx, const row_values *row) {
    const lane_sums s = sums_of(ctx->step.l1_present, 0, 1, 0);
    const row_values r = *row;
    const real *ws = ctx->state->w;
    real w[side_by_side], x[side_by_side], sum[group_size] = {0}, total = 0;
    for (int64_t first = 0; first < r.count; first += side_by_side) {
        const int64_t left = r.count - first, *j = r.columns + first;
        const int n = (int)(left < side_by_side ? left : side_by_side);
        for (int i = 0; i < n; ++i) w[i] = ws[j[i]], x[i] = r.x[first + i];
        for (int i = n; i % group_size; ++i) w[i] = x[i] = 0;
        for (int i = 0; i < n; i += group_size)
            _Pragma("omp simd") for (int k = 0; k < group_size; ++k)
                sum[k] += x[i + k] * weight_of(s, w[i + k]);
    }
    for (int k = 0; k < group_size; ++k) total += sum[k];
    return total;
}

/* x . w of a CSR row, each weight of it truncated on the way. */
static ALWAYS_INLINE real TILED(truncate_and_dot)(const context *ctx, const row_values *row) {
    const row_values r = *row;
    real *w = ctx->state->w, *applied = w + ctx->state->vector_stride;
    const real cumulative = ctx->step.l1_cumulative[0];
    real sum[4] = {0};
#define TERM(SUM, P)                                                                               \
    do {                                                                                           \
        const int64_t j = r.columns[P];                                                            \
        real weight = w[j], received = applied[j];                                                 \
        truncate_weight(&weight, &received, cumulative);                                           \
        w[j] = weight, applied[j] = received;                                                      \
        SUM += r.x[P] * weight;                                                                    \
    } while (0)
    int64_t p = 0;
    for (; p + 4 <= r.count; p += 4)
        for (int u = 0; u < 4; ++u) TERM(sum[u], p + u);
    for (; p < r.count; ++p) TERM(sum[0], p);
#undef TERM
    return ((sum[0] + sum[1]) + sum[2]) + sum[3];
}
#else
/* z (padded) = x . W of a CSR row of weights that are stored as coordinates: l1_sums.h. */
static ALWAYS_INLINE void TILED(open_and_dot)(const context *ctx, const row_values *row, real *z) {
    enum { AHEAD = 8 }; /* features: one after the other their misses would add up */
    const fsgd_state *state = ctx->state;
    const row_values r = *row;
    const int64_t stride = state->feature_stride, padded = LANES(state);
    const int64_t bytes = stride * (int64_t)sizeof(real);
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        const real *sums = ctx->step.l1_present + tile;
        VEC sum[NV];
        for (int i = 0; i < NV; ++i) sum[i] = (VEC){0};
        for (int64_t p = 0; p < r.count; ++p) {
            const real *w = (const real *)state->w + r.columns[p] * stride + tile;
            real now[TILE];
            if (tile == 0 && p + AHEAD < r.count)
                prefetch((const real *)state->w + r.columns[p + AHEAD] * stride, bytes);
            _Pragma("omp simd") for (int k = 0; k < TILE; ++k)
                now[k] = weight_of(sums_of(sums, 0, padded, k), w[k]);
            for (int i = 0; i < NV; ++i) sum[i] += r.x[p] * *TILED(at)(now, i);
        }
        for (int i = 0; i < NV; ++i) *TILED(at)(z + tile, i) = sum[i];
    }
}
#endif

/* z (padded) = x . W of one row, its features brought up to date first. */
static NO_INLINE void TILED(dot_up_to_date)(context *ctx, const row_values *row, real *z) {
#if TILE == 1
    if (ctx->kind.shrinks) {
        *z = TILED(open_and_dot)(ctx, row);
        return;
    }
    if (ctx->kind.lazy_l1) {
        *z = TILED(truncate_and_dot)(ctx, row);
        return;
    }
#else
    if (ctx->kind.shrinks) {
        TILED(open_and_dot)(ctx, row, z);
        return;
    }
#endif
#define CALL(LAYOUT)                                                                               \
    if (LAYOUT != FSGD_DENSE) TILED(catch_up_row)(ctx, row, LAYOUT);                               \
    if (LAYOUT != FSGD_DENSE && ctx->kind.spans)                                                   \
        TILED(dot_row)(ctx, row, z, LAYOUT, 1);                                                    \
    else                                                                                           \
        TILED(dot_row)(ctx, row, z, LAYOUT, 0)
    BY_LAYOUT(CALL)
#undef CALL
}

/* From x . W to the score: scale and intercept. */
static void TILED(finish_score)(context *ctx, int64_t values, real *z) {
    const fsgd_state *state = ctx->state;
    const real *b = state->intercept;
    if (ctx->kind.scaled)
        for (int64_t k = 0; k < state->padded; ++k) z[k] = (real)state->scale[k] * z[k] + b[k];
    else
        for (int64_t k = 0; k < state->padded; ++k) z[k] += b[k];
    ctx->report->work += (values * state->width + 16) * ((state->padded + 15) / 16);
}

#endif
