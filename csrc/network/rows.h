/* rows.h: the rows of a chunk: which they are, and what the first layer makes of them. */
#ifndef FASTSGD_NETWORK_ROWS_H
#define FASTSGD_NETWORK_ROWS_H

#include "context.h"

/* Gather the rows of a chunk that have positive weight; those at positions of the order if `given`
 * is NULL. */
static void gather_rows(network_context *ctx, const int64_t *given, int64_t position, int64_t m) {
    const real *weight = ctx->data->sample_weight;
    int64_t count = 0;
    for (int64_t r = 0; r < m; ++r) {
        const int64_t i = given ? given[r] : ctx->order ? ctx->order[position + r] : position + r;
        const real s = weight ? weight[i] : 1;
        if (!(s > 0)) continue;
        ctx->rows[count] = i;
        ctx->weights[count++] = s;
    }
    ctx->count = count;
    const int64_t threads = ctx->team.started;
    int64_t blocks = (count + BLOCK_ROWS - 1) / BLOCK_ROWS;
    if (threads > 1) { /* two for each, of two tiles or more */
        const int64_t most = (count + 2 * TILE_ROWS - 1) / (2 * TILE_ROWS);
        blocks = blocks < 2 * threads ? 2 * threads : blocks;
        blocks = blocks < most ? blocks : most;
    }
    if (blocks < 1) blocks = 1;
    const int64_t rows = (count + blocks - 1) / blocks;
    ctx->block_rows = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    ctx->blocks = count ? (count + ctx->block_rows - 1) / ctx->block_rows : 0;
}

/* Where dense row i lies in X. */
static ALWAYS_INLINE const void *stored_row(const network_context *ctx, int64_t i) {
    return (const char *)ctx->data->x + i * ctx->data->d * stored_bytes(ctx->data);
}

/* Rows begin to end of the chunk as features, where they lie or copied. */
static void read_rows(network_context *ctx, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
        const void *row = stored_row(ctx, ctx->rows[r]);
        if (!ctx->copies)
            ctx->a_rows[0][r] = row;
        else if (is_unconverted(ctx->data))
            memcpy(ctx->a[0] + r * ctx->units[0], row, (size_t)ctx->data->d * sizeof(real));
        else
            convert_row(ctx->data, row, ctx->a[0] + r * ctx->units[0]);
    }
}

/* A CSR row. The arrays are the user's, and may change at any time: a row that is not within them
 * is reported, and has no values. */
typedef struct {
    const real *x;
    const void *indices;
    int64_t begin, count;
} sparse_row;

static ALWAYS_INLINE int64_t number_at(const void *array, int64_t p, fsgd_layout layout) {
    return layout == FSGD_CSR32 ? ((const int32_t *)array)[p] : ((const int64_t *)array)[p];
}

static sparse_row find_sparse_row(network_context *ctx, int64_t i) {
    const fsgd_data *data = ctx->data;
    const int64_t begin = number_at(data->indptr, i, data->layout);
    const int64_t end = number_at(data->indptr, i + 1, data->layout);
    if (begin < 0 || end < begin || end > data->nnz) {
        atomic_store_explicit(&ctx->changed, 1, memory_order_relaxed);
        return (sparse_row){data->x, data->indices, 0, 0};
    }
    return (sparse_row){data->x, data->indices, begin, end - begin};
}

/* The feature of value p of a row; of an index that is out of range, which is reported, the last.
 */
static ALWAYS_INLINE int64_t feature_at(network_context *ctx, const sparse_row *row, int64_t p) {
    const int64_t j = number_at(row->indices, row->begin + p, ctx->data->layout);
    if ((uint64_t)j < (uint64_t)ctx->data->d) return j;
    atomic_store_explicit(&ctx->changed, 1, memory_order_relaxed);
    return ctx->data->d - 1;
}

/* to (n) += x * from (n), n a multiple of a vector */
static ALWAYS_INLINE void add_times(real *restrict to, real x, const real *restrict from,
                                    int64_t n) {
    for (int64_t j = 0; j < n; j += wide_count)
        *(wide *)(to + j) = wide_at(to + j) + x * wide_at(from + j);
}

/* Sum of squares of n numbers, a multiple of 64 bytes: in four vectors at once. */
static ALWAYS_INLINE double sum_squares(const real *w, int64_t n) {
    enum { SUMS = 64 / VECTOR_BYTES * 4, STEP = SUMS * wide_count };
    wide sums[SUMS] = {{0}};
    int64_t j = 0;
    for (; j + STEP <= n; j += STEP)
        for (int c = 0; c < SUMS; ++c) {
            const wide v = wide_at(w + j + c * wide_count);
            sums[c] += v * v;
        }
    for (; j < n; j += wide_count) sums[0] += wide_at(w + j) * wide_at(w + j);
    double sum = 0;
    for (int c = 0; c < SUMS; ++c) sum += (double)wide_sum(sums[c]);
    return sum;
}

/* z_0 of a CSR row: b + sum_p x_p W_0[feature_p] */
static void score_sparse_row(network_context *ctx, int64_t i, real *restrict z) {
    const int64_t stride = ctx->network->strides[0];
    const real *w = weights_of(ctx, 0);
    const sparse_row row = find_sparse_row(ctx, i);
    memcpy(z, w + ctx->data->d * stride, (size_t)stride * sizeof(real));
    for (int64_t p = 0; p < row.count; ++p) {
        if (p + 4 < row.count)
            for (int64_t j = 0; j < stride; j += LINE)
                __builtin_prefetch(w + feature_at(ctx, &row, p + 4) * stride + j);
        add_times(z, row.x[row.begin + p], w + feature_at(ctx, &row, p) * stride, stride);
    }
}

#endif
