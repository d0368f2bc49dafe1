/* rows.h: where a row of X is found: its number at a position of the epoch, and of dense rows a
 * copy as features. Sparse rows are csr_rows.h's.
 */

#ifndef FASTSGD_KERNEL_ROWS_H
#define FASTSGD_KERNEL_ROWS_H

#include "context.h"

/* The position in the epoch behind the last row of X. */
static inline int64_t rows_end(const context *ctx) { return ctx->data->first_row + ctx->data->n; }

/* The row of X at a position of the epoch: the one place that reads the order. */
static inline int64_t row_at(const context *ctx, int64_t position) {
    const int64_t i = position - ctx->data->first_row;
    return ctx->order ? ctx->order[i] : i;
}

/* Where dense row i lies as it is stored: the one place that finds it. */
static ALWAYS_INLINE const void *dense_row(const context *ctx, int64_t i) {
    return (const char *)ctx->data->x + i * ctx->rows.bytes;
}

/* The position in the epoch of a chunk's rows, which lie in the order unless there is none. */
static inline int64_t chunk_position(const context *ctx, const int64_t *rows) {
    return (ctx->order ? rows - ctx->order : rows[0]) + ctx->data->first_row;
}

/* Copy dense row i into `to` (stride), whose padding is zero already, as features in real. */
static inline void load_row(const context *ctx, int64_t i, real *restrict to) {
    const int64_t d = ctx->data->d;
    if (!ctx->rows.unconverted) {
        convert_row(ctx->data, dense_row(ctx, i), to);
        return;
    }
    const real *from = dense_row(ctx, i);
    int64_t j = 0;
    for (; j + 16 <= d; j += 16) memcpy(to + j, from + j, 16 * sizeof(real));
    if (j == d) return;
    if (d >= 16) { /* the last 16, over some that are there already */
        memcpy(to + d - 16, from + d - 16, 16 * sizeof(real));
    } else {
        for (; j < d; ++j) to[j] = from[j];
    }
}

#endif
