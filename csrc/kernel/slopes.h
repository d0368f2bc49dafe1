/* slopes.h: from scores to slopes, losses and counts. */

#ifndef FASTSGD_KERNEL_SLOPES_H
#define FASTSGD_KERNEL_SLOPES_H

#include "loss.h"
#include "targets.h"

/* Report a row whose score or slope is not finite. */
static RARE fsgd_status report_nonfinite(context *ctx, int64_t row) {
    ctx->report->row = row;
    ctx->report->step = ctx->state->t[0];
    for (int64_t k = 1; k < ctx->lanes->k; ++k)
        if (ctx->state->t[k] > ctx->report->step) ctx->report->step = ctx->state->t[k];
    return FSGD_NONFINITE;
}

/* Whether z (m) is finite wherever s > 0: 0 * infinity and 0 * NaN are NaN. */
static inline int all_finite(const real *z, const real *s, int64_t m) {
    int finite = 1;
    for (int64_t i = 0; i < m; ++i) finite &= (0 * z[i] == 0) | !(s[i] > 0);
    return finite;
}

/* Report the first row whose numbers (m, padded) are not all finite where s > 0. */
static RARE fsgd_status report_first_nonfinite(context *ctx, const int64_t *rows,
                                               const real *numbers) {
    const int64_t padded = ctx->lanes->padded;
    int64_t r = 0;
    while (all_finite(numbers + r * padded, ctx->chunk.s + r * padded, padded)) ++r;
    return report_nonfinite(ctx, rows[r]);
}

/* Slopes c and losses v of m rows whose scores are in z. */
static NO_INLINE fsgd_status find_slopes(context *ctx, const int64_t *rows, int64_t m) {
    const int64_t padded = ctx->lanes->padded;
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    if (padded == 1)
        load_all_targets(ctx, rows, m, 1);
    else
        load_all_targets(ctx, rows, m, padded);
    if (!all_finite(ctx->chunk.z, ctx->chunk.s, m * padded))
        return report_first_nonfinite(ctx, rows, ctx->chunk.z);
    if (ctx->kind.coupled) {
        softmax(m, padded, ctx->chunk.z, ctx->chunk.y, ctx->chunk.s, ctx->chunk.v, ctx->chunk.c);
    } else {
        loss_values(loss, m * padded, ctx->chunk.z, ctx->chunk.y, ctx->chunk.s, ctx->chunk.v);
        loss_slopes(loss, m * padded, ctx->chunk.z, ctx->chunk.y, ctx->chunk.s, ctx->chunk.c);
    }
    if (loss->kind == FSGD_COMPILED) {
        if (!all_finite(ctx->chunk.c, ctx->chunk.s, m * padded))
            return report_first_nonfinite(ctx, rows, ctx->chunk.c);
        if (!all_finite(ctx->chunk.v, ctx->chunk.s, m * padded))
            return report_first_nonfinite(ctx, rows, ctx->chunk.v);
    }
    return FSGD_OK;
}

/* Losses v and counts of m rows go into the state's sums: v, s (m, padded). */
static void count_rows(fsgd_state *state, const real *v, const real *s, int64_t m) {
    const int64_t padded = state->padded;
    double *restrict loss_sum = state->loss_sum, *restrict rows = state->row_count;
    double *restrict batch = state->batch_count;
    if (m == 1) {
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const double count = s[k] > 0 ? 1.0 : 0.0;
            loss_sum[k] += (double)v[k];
            rows[k] += count;
            batch[k] += count;
        }
        return;
    }
    for (int64_t k = 0; k < padded; ++k) {
        double loss = loss_sum[k], count = 0;
        for (int64_t r = 0; r < m; ++r) {
            loss += (double)v[r * padded + k];
            count += s[r * padded + k] > 0 ? 1.0 : 0.0;
        }
        loss_sum[k] = loss;
        rows[k] += count;
        batch[k] += count;
    }
}

/* Slopes of m rows whose scores are in z; their losses and counts go into the state's sums. */
static fsgd_status find_and_count_slopes(context *ctx, const int64_t *rows, int64_t m) {
    const fsgd_status status = find_slopes(ctx, rows, m);
    if (status == FSGD_OK) count_rows(ctx->state, ctx->chunk.v, ctx->chunk.s, m);
    return status;
}

/* Whether any lane has rows in the batch that is complete: else it is no update. */
static int any_lane_updates(const fsgd_state *state) {
    int any = 0;
    for (int64_t k = 0; k < state->padded; ++k) any |= state->batch_count[k] > 0;
    return any;
}

/* Slopes, losses and counts of one row as a step of its own: step.count (padded) says which lanes
 * are updated, *updated whether any is. */
static fsgd_status find_row_slopes(context *ctx, int64_t row, int *updated) {
    double *counted = ctx->state->batch_count;
    fsgd_status status = find_and_count_slopes(ctx, &row, 1);
    *updated = 0;
    for (int64_t k = 0; k < ctx->lanes->padded; ++k) {
        ctx->step.count[k] = counted[k];
        *updated |= counted[k] > 0;
        counted[k] = 0;
    }
    if (status == FSGD_OK && *updated && needs_examination(ctx)) examine_row(ctx, row);
    return status;
}

#endif
