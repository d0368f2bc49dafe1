/* csr_rows.h: the rows of X that are sparse. The index arrays are the user's and may change at any
 * time, so that every index is checked as it is copied.
 */

#ifndef FASTSGD_KERNEL_CSR_ROWS_H
#define FASTSGD_KERNEL_CSR_ROWS_H

#include "prefetch.h"

/* The rows of X by which a loop is compiled: dense ones, or CSR, whose features are copied and as
 * wide as int64_t, whatever X has. */
#define CSR_ROWS FSGD_CSR64

enum {
    csr_state_ahead = 2
}; /* rows before their use that what the state has of them is prefetched */

/* Number p of an index array of X. */
static ALWAYS_INLINE int64_t index_at(const void *indices, int64_t p, const fsgd_layout layout) {
    return layout == FSGD_CSR32 ? ((const int32_t *)indices)[p] : ((const int64_t *)indices)[p];
}

/* Bytes of an index of X. */
static ALWAYS_INLINE int64_t index_bytes(const context *ctx) {
    return ctx->data->layout == FSGD_CSR32 ? 4 : 8;
}

/* Where a CSR row lies in X. */
typedef struct {
    const real *x;
    const char *indices;
    int64_t count;
} row_extent;

/* Where CSR row i lies. The arrays are the user's, whose code, or another of whose
 * threads, may change them at any time: a row that is not within them is reported and has no
 * values.
 */
static ALWAYS_INLINE row_extent csr_extent(const context *ctx, int64_t i) {
    const fsgd_data *data = ctx->data;
    const int64_t begin = index_at(data->indptr, i, data->layout);
    const uint64_t end = (uint64_t)index_at(data->indptr, i + 1, data->layout);
    const int64_t count = (int64_t)(end - (uint64_t)begin);
    if ((uint64_t)count > (uint64_t)data->longest ||
        (uint64_t)begin > (uint64_t)(data->nnz - count)) {
        ctx->report->changed = 1;
        return (row_extent){data->x, data->indices, 0};
    }
    return (row_extent){(const real *)data->x + begin,
                        (const char *)data->indices + begin * index_bytes(ctx), count};
}

/* Copy the indices of a row, those that are not in [0, d) as d - 1, and report these. They are read
 * once, 16 at a time; the last 16 over some that are there already. */
#define COPY_GROUP(AT)                                                                             \
    _Pragma("omp simd") for (int k = 0; k < GROUP; ++k) {                                          \
        const UNSIGNED j = from[(AT) + k], clamped = j < last ? j : last;                          \
        to[(AT) + k] = (int64_t)clamped;                                                           \
        wrong[k] |= j ^ clamped;                                                                   \
    }
#define COPY_COLUMNS                                                                               \
    do {                                                                                           \
        enum { GROUP = 16 };                                                                       \
        const UNSIGNED *restrict from = (const void *)row->indices;                                \
        const UNSIGNED last = (UNSIGNED)ctx->rows.last_column;                                     \
        UNSIGNED wrong[GROUP] = {0}, any = 0;                                                      \
        int64_t *restrict to = ctx->rows.columns;                                                  \
        const int64_t count = row->count;                                                          \
        int64_t p = 0;                                                                             \
        for (; p + GROUP <= count; p += GROUP) COPY_GROUP(p);                                      \
        if (p < count && count >= GROUP) {                                                         \
            COPY_GROUP(count - GROUP);                                                             \
            p = count;                                                                             \
        }                                                                                          \
        for (; p < count; ++p) {                                                                   \
            const UNSIGNED j = from[p], clamped = j < last ? j : last;                             \
            to[p] = (int64_t)clamped;                                                              \
            wrong[0] |= j ^ clamped;                                                               \
        }                                                                                          \
        _Pragma("omp simd reduction(| : any)") for (int k = 0; k < GROUP; ++k) any |= wrong[k];    \
        if (any) ctx->report->changed = 1;                                                         \
    } while (0)

static ALWAYS_INLINE void copy_columns(const context *ctx, const row_extent *row) {
    if (ctx->data->layout == FSGD_CSR32) {
#define UNSIGNED uint32_t
        COPY_COLUMNS;
#undef UNSIGNED
    } else {
#define UNSIGNED uint64_t
        COPY_COLUMNS;
#undef UNSIGNED
    }
}

/* CSR row i of data; its columns are a copy, good until the next row is read. */
static ALWAYS_INLINE row_values read_csr_row(const context *ctx, int64_t i) {
    const row_extent row = csr_extent(ctx, i);
    copy_columns(ctx, &row);
    return (row_values){row.x, ctx->rows.columns, row.count};
}

/* Row number r of a chunk, row i of data, as it is scored: its columns stay for the update. */
static ALWAYS_INLINE row_values read_and_keep(context *ctx, int64_t r, int64_t i) {
    const row_extent row = csr_extent(ctx, i);
    int64_t *const own = ctx->rows.columns;
    const int keeps = ctx->chunk.kept && row.count <= ctx->chunk.room - ctx->chunk.used;
    if (keeps) ctx->rows.columns = ctx->chunk.columns + ctx->chunk.used;
    copy_columns(ctx, &row);
    const row_values read = {row.x, ctx->rows.columns, row.count};
    ctx->rows.columns = own;
    if (ctx->chunk.kept)
        ctx->chunk.kept[r] = (row_values){row.x, keeps ? read.columns : NULL, row.count};
    ctx->chunk.used += keeps ? row.count : 0;
    return read;
}

/* The same row once more. */
static ALWAYS_INLINE row_values read_kept(const context *ctx, int64_t r, int64_t i) {
    const row_values row = ctx->chunk.kept[r];
    return row.columns ? row : read_csr_row(ctx, i);
}

/* The feature of value p of a row. */
static ALWAYS_INLINE int64_t feature_of(const row_values *row, int64_t p,
                                        const fsgd_layout layout) {
    return layout == FSGD_DENSE ? p : row->columns[p];
}

/* Prefetch all values of row i, and their columns. */
static ALWAYS_INLINE void prefetch_csr_row(const context *ctx, int64_t i) {
    const row_extent row = csr_extent(ctx, i);
    prefetch(row.x, row.count * (int64_t)sizeof(real));
    prefetch(row.indices, row.count * index_bytes(ctx));
}

/* Prefetch where row i starts, and its targets: for a row whose values are prefetched a little
 * later. */
static ALWAYS_INLINE void prefetch_row_start(const context *ctx, int64_t i) {
    prefetch_line((const char *)ctx->data->indptr + i * index_bytes(ctx));
    prefetch_targets(ctx, i);
}

/* Elements from one feature to the next of one lane without L1: two numbers are a pair. */
static ALWAYS_INLINE int64_t csr_stride(const int width) { return width == 2 ? 2 : 1; }

/* log2 of the features that share a number of `last_update`, with momentum: a group of spans.h, of
 * one lane 8 pairs, or 16 features in planes; of several 16 lanes. */
static ALWAYS_INLINE int group_shift(int64_t padded, int64_t width) {
    if (padded == 1) return width == 2 ? 3 : 4;
    return padded == 4 ? 2 : padded == 8 ? 1 : 0;
}

/* Prefetch what the state has of the features of row i. Where that is not in a cache anyway, each
 * feature would else be waited for, and several numbers of each. */
static ALWAYS_INLINE void prefetch_state(const context *ctx, int64_t i) {
    const fsgd_state *state = ctx->state;
    const row_extent row = csr_extent(ctx, i);
    const uint64_t last = (uint64_t)ctx->rows.last_column;
    const int64_t stride = state->feature_stride;
    const int64_t planes = state->padded > 1 ? 0 : stride > 1 ? 1 : state->vectors;
    const real *w = state->w;
    for (int64_t p = 0; p < row.count; ++p) {
        const uint64_t index = (uint64_t)index_at(row.indices, p, ctx->data->layout);
        const int64_t j = (int64_t)(index < last ? index : last);
        for (int64_t a = 0; a < planes; ++a)
            prefetch_line(w + a * state->vector_stride + j * stride);
        if (planes == 0) prefetch(w + j * stride, stride * (int64_t)sizeof(real));
        if (state->last_update && !(ctx->kind.shrinks && ctx->settings->batch_size == 1))
            prefetch_line(state->last_update +
                          (ctx->kind.spans ? j >> group_shift(state->padded, state->width) : j));
    }
}

#endif
