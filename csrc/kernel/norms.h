/* norms.h: lengths of rows and of gradients: to clip, to record, for passive-aggressive steps. */

#ifndef FASTSGD_KERNEL_NORMS_H
#define FASTSGD_KERNEL_NORMS_H

#include "csr_rows.h"

/* |x|^2 of a dense row that is converted */
static double converted_square(const fsgd_data *data, const void *row) {
    double sum = 0;
#define CALL(STORED, SCALED)                                                                       \
    for (int64_t j = 0; j < data->d; ++j) {                                                        \
        const double x = (double)stored_feature(data, row, j, STORED, SCALED);                     \
        sum += x * x;                                                                              \
    }
    BY_STORED(CALL)
#undef CALL
    return sum;
}

/* Whether the features of a CSR row rise, so that none is there twice. */
static int indices_rise(const row_values *row) {
    int falls = 0;
    for (int64_t p = 1; p < row->count; ++p) falls |= row->columns[p - 1] >= row->columns[p];
    return !falls;
}

/* |x|^2 of a CSR row that may have several values of a feature, which add up */
static double summed_square(const context *ctx, const row_values *row) {
    double *sums = ctx->problem->sums, square = 0;
    for (int64_t p = 0; p < row->count; ++p) sums[row->columns[p]] += (double)row->x[p];
    for (int64_t p = 0; p < row->count; ++p) {
        double *sum = sums + row->columns[p];
        square += *sum * *sum;
        *sum = 0;
    }
    return square;
}

/* |x|^2 of row i. Of CSR, the copied columns are then those of row i. */
static double row_square(const context *ctx, int64_t i) {
    const fsgd_data *data = ctx->data;
    if (data->layout == FSGD_DENSE && !ctx->rows.unconverted)
        return converted_square(data, dense_row(ctx, i));
    row_values row = {NULL, NULL, data->d};
    if (data->layout == FSGD_DENSE) {
        row.x = dense_row(ctx, i);
    } else {
        row = read_csr_row(ctx, i);
        if (!indices_rise(&row)) return summed_square(ctx, &row);
    }
    double sum = 0;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t p = 0; p < row.count; ++p)
        sum += (double)row.x[p] * (double)row.x[p];
    return sum;
}

/* Whether the batch at the current row counts in norm_sum: one in 16, and at most once in 64 rows.
 */
static inline int measures_batch(const context *ctx) {
    const int64_t size = ctx->settings->batch_size, every = size < 4 ? 64 / size : 16;
    return ctx->state->row / size % every == 0;
}

/* Record the norm of the batch gradient of lane k, if it is measured, and clip it: the count by
 * which the gradient is divided, larger where it is clipped, so that the mean is shorter. */
static inline double measure_and_clip(context *ctx, int64_t k, int measured, double norm,
                                      double count) {
    if (measured) {
        ctx->state->norm_sum[k] += norm * norm;
        ctx->state->norm_count[k] += 1;
    }
    return norm > ctx->settings->clip_norm ? count * (norm / ctx->settings->clip_norm) : count;
}

/* measures_batch where steps are of single rows, without its divisions. */
static ALWAYS_INLINE int measures_row(const context *ctx) { return (ctx->state->row & 63) == 0; }

/* Whether a row as a step of its own must be examined. */
static ALWAYS_INLINE int needs_examination(const context *ctx) {
    return measures_row(ctx) || ctx->settings->step != FSGD_GRADIENT ||
           ctx->settings->clip_norm < INFINITY;
}

/* What one row as a step of its own may need beside its slopes: |x|^2, for a passive-aggressive
 * step, the norm of its gradient, and to clip it. Changes c and count. */
static void examine_row(context *ctx, int64_t row) {
    const fsgd_settings *settings = ctx->settings;
    const double square = row_square(ctx, row);
    const double length = sqrt(square + (settings->fit_intercept ? 1 : 0));
    const int measured = measures_batch(ctx);
    for (int64_t k = 0; k < ctx->lanes->padded; ++k) {
        const double s = (double)ctx->chunk.s[k];
        if (!(ctx->step.count[k] > 0)) continue;
        if (settings->step != FSGD_GRADIENT) {
            const double eta = ctx->lanes->eta0[k] * ctx->state->rate_factor[k];
            const double loss = (double)ctx->chunk.v[k] / s;
            double part = loss / (eta * square + (settings->step == FSGD_PA2 ? 0.5 : 0));
            if (settings->step == FSGD_PA1 && part > 1) part = 1;
            if (!(loss > 0)) part = 0;
            ctx->chunk.c[k] = (real)(s * part *
                                     (double)((ctx->chunk.c[k] > 0) - (ctx->chunk.c[k] < 0)));
        }
        ctx->step.count[k] = measure_and_clip(
            ctx, k, measured, fabs((double)ctx->chunk.c[k]) * length, ctx->step.count[k]);
    }
}

#endif
