/* csr_rows.h: the rows of X that are sparse. The index arrays are the user's and may change at any
 * time, so that every index is checked as it is copied.
 */

#ifndef FASTSGD_KERNEL_CSR_ROWS_H
#define FASTSGD_KERNEL_CSR_ROWS_H

#include "prefetch.h"

/* Number p of an index array. */
static ALWAYS_INLINE int64_t index_at(const void *indices, int64_t p, const fsgd_layout layout) {
    return layout == FSGD_CSR32 ? ((const int32_t *)indices)[p] : ((const int64_t *)indices)[p];
}

/* Where CSR row i lies. The arrays are the user's, whose code, or another of whose
 * threads, may change them at any time: a row that is not within them is reported and has no
 * values.
 */
static ALWAYS_INLINE row_values csr_extent(const context *ctx, int64_t i,
                                           const fsgd_layout layout) {
    const fsgd_data *data = ctx->data;
    const int64_t begin = index_at(data->indptr, i, layout);
    const uint64_t end = (uint64_t)index_at(data->indptr, i + 1, layout);
    const int64_t count = (int64_t)(end - (uint64_t)begin);
    const int64_t size = layout == FSGD_CSR32 ? 4 : 8;
    if ((uint64_t)count > (uint64_t)data->longest ||
        (uint64_t)begin > (uint64_t)(data->nnz - count)) {
        ctx->report->changed = 1;
        return (row_values){data->x, data->indices, 0};
    }
    return (row_values){(const real *)data->x + begin, (const char *)data->indices + begin * size,
                        count};
}

/* Copy the indices of a row, those that are not in [0, d) as d - 1, and report these. They are read
 * once, 16 at a time; the last 16 over some that are there already. */
#define COPY_GROUP(AT)                                                                             \
    _Pragma("omp simd") for (int k = 0; k < GROUP; ++k) {                                          \
        const UNSIGNED j = from[(AT) + k], clamped = j < last ? j : last;                          \
        to[(AT) + k] = clamped;                                                                    \
        wrong[k] |= j ^ clamped;                                                                   \
    }
#define COPY_COLUMNS                                                                               \
    do {                                                                                           \
        enum { GROUP = 16 };                                                                       \
        const UNSIGNED *restrict from = row->indices, last = (UNSIGNED)ctx->rows.last_column;      \
        UNSIGNED *restrict to = ctx->rows.columns, wrong[GROUP] = {0}, any = 0;                    \
        const int64_t count = row->count;                                                          \
        int64_t p = 0;                                                                             \
        for (; p + GROUP <= count; p += GROUP) COPY_GROUP(p);                                      \
        if (p < count && count >= GROUP) {                                                         \
            COPY_GROUP(count - GROUP);                                                             \
            p = count;                                                                             \
        }                                                                                          \
        for (; p < count; ++p) {                                                                   \
            const UNSIGNED j = from[p], clamped = j < last ? j : last;                             \
            to[p] = clamped;                                                                       \
            wrong[0] |= j ^ clamped;                                                               \
        }                                                                                          \
        _Pragma("omp simd reduction(| : any)") for (int k = 0; k < GROUP; ++k) any |= wrong[k];    \
        if (any) ctx->report->changed = 1;                                                         \
    } while (0)

static ALWAYS_INLINE void copy_columns(const context *ctx, const row_values *row,
                                       const fsgd_layout layout) {
    if (layout == FSGD_CSR32) {
#define UNSIGNED uint32_t
        COPY_COLUMNS;
#undef UNSIGNED
    } else {
#define UNSIGNED uint64_t
        COPY_COLUMNS;
#undef UNSIGNED
    }
}

/* CSR row i of data; its indices are a copy, good until the next row is read. */
static ALWAYS_INLINE row_values read_csr_row(const context *ctx, int64_t i,
                                             const fsgd_layout layout) {
    row_values row = csr_extent(ctx, i, layout);
    copy_columns(ctx, &row, layout);
    row.indices = ctx->rows.columns;
    return row;
}

/* The feature of value p of a row. */
static ALWAYS_INLINE int64_t feature_of(const row_values *row, int64_t p,
                                        const fsgd_layout layout) {
    return layout == FSGD_DENSE ? p : index_at(row->indices, p, layout);
}

/* Prefetch all values of row i, and their columns. */
static ALWAYS_INLINE void prefetch_csr_row(const context *ctx, int64_t i) {
    const row_values row = csr_extent(ctx, i, ctx->data->layout);
    prefetch(row.x, row.count * (int64_t)sizeof(real));
    prefetch(row.indices, row.count * (ctx->data->layout == FSGD_CSR32 ? 4 : 8));
}

/* Prefetch where row i starts, and its targets: for a row whose values are prefetched a little
 * later. */
static ALWAYS_INLINE void prefetch_row_start(const context *ctx, int64_t i,
                                             const fsgd_layout layout) {
    const int64_t size = layout == FSGD_CSR32 ? 4 : 8;
    prefetch_line((const char *)ctx->data->indptr + i * size);
    prefetch_targets(ctx, i);
}

#endif
