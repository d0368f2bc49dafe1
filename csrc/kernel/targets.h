/* targets.h: the target and the weight of a row in each lane. */

#ifndef FASTSGD_KERNEL_TARGETS_H
#define FASTSGD_KERNEL_TARGETS_H

#include "norms.h"

/* y_ik and s_ik of row i for all lanes, into y and s (padded). */
static inline void load_targets(const context *ctx, int64_t i, const int64_t padded,
                                real *restrict y, real *restrict s) {
    const fsgd_data *data = ctx->data;
    const real *yi = (const real *)data->y + i * data->n_targets;
    const real weight = data->sample_weight ? ((const real *)data->sample_weight)[i] : 1;
    const real *restrict label = ctx->lane.label, first = yi[0];
    const int shared = data->n_targets == 1, signs = ctx->settings->sign_targets;
    if (shared && signs)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) y[k] = first == label[k] ? 1 : -1;
    else if (shared)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) y[k] = first;
    else
        for (int64_t k = 0; k < padded; ++k) y[k] = yi[ctx->lanes->target[k]];
    if (!shared && signs)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) y[k] = y[k] == label[k] ? 1 : -1;
    if (ctx->kind.coupled) { /* the weight of the row's class, in every active lane */
        real own = 0;
        for (int64_t k = 0; k < padded; ++k) own += y[k] > 0 ? ctx->lane.weight_positive[k] : 0;
        for (int64_t k = 0; k < padded; ++k) s[k] = weight * own * ctx->lane.weight_negative[k];
        return;
    }
    const real *restrict positive = ctx->lane.weight_positive,
                         *restrict negative = ctx->lane.weight_negative;
    const uint64_t held_out = padded > 1 && data->held_out ? data->held_out[i] : 0;
    const uint64_t *restrict split = ctx->lanes->split;
    if (held_out) _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const real if_positive = positive[k], if_negative = negative[k];
            const real own = weight * (y[k] > 0 ? if_positive : if_negative);
            s[k] = held_out & split[k] ? 0 : own;
        }
    else
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const real if_positive = positive[k], if_negative = negative[k];
            s[k] = weight * (y[k] > 0 ? if_positive : if_negative);
        }
    if (ctx->settings->step == FSGD_PA1 && row_square(ctx, i) == 0)
        for (int64_t k = 0; k < padded; ++k) s[k] = 0; /* no step could make it passive */
}

/* Targets and weights of m rows, into ctx->chunk.y and ctx->chunk.s. */
static ALWAYS_INLINE void load_all_targets(const context *ctx, const int64_t *rows, int64_t m,
                                           const int64_t padded) {
    for (int64_t r = 0; r < m; ++r)
        load_targets(ctx, rows[r], padded, ctx->chunk.y + r * padded, ctx->chunk.s + r * padded);
}

#endif
