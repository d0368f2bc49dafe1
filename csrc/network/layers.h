/* layers.h: back-propagation of a chunk of rows.
 *
 *     forward    z_l = a_{l-1} W_l + b_l,  a_l = f(z_l)
 *     output     delta_L = s (a_L - y)
 *     backward   delta_{l-1} = (delta_l W_l') * f'(z_{l-1})
 *     gradient   grad W_l = a_{l-1}' delta_l,  grad b_l = the sum of the rows of delta_l
 *
 * Rows go through the first three in blocks, each whole; then weights are taken in blocks, each
 * with its gradient and, where the batch is in one chunk, its step. Blocks may be worked on by
 * several threads, and no bit depends on which there are (product.h).
 */
#ifndef FASTSGD_NETWORK_LAYERS_H
#define FASTSGD_NETWORK_LAYERS_H

#include "lazy.h"
#include "output.h"

static void forward_layer(network_context *ctx, int64_t l, int64_t begin, int64_t end) {
    const fsgd_network *net = ctx->network;
    const int64_t stride = net->strides[l];
    const int last = l == net->layers - 1;
    real *to = last ? ctx->delta[l] : ctx->a[l + 1];
    const real *w = weights_of(ctx, l);
    if (l == 0 && ctx->sparse) {
        for (int64_t r = begin; r < end; ++r) score_sparse_row(ctx, ctx->rows[r], to + r * stride);
    } else {
        const product_operands o = {
            .a = ctx->a_rows[l] + begin,
            .b = w,
            .b_p = stride,
            .from = w + net->sizes[l] * stride,
            .to = to + begin * stride,
            .to_row = stride,
            .k = net->sizes[l],
        };
        product(&o, end - begin, net->sizes[l + 1]);
    }
    if (!last) activate(net->activation, to + begin * stride, (end - begin) * stride);
}

static void output_layer(network_context *ctx, int64_t begin, int64_t end) {
    const fsgd_network *net = ctx->network;
    const int64_t last = net->layers - 1, stride = net->strides[last];
    const fsgd_data *data = ctx->data;
    for (int64_t r = begin; r < end; ++r) {
        const real *y = (const real *)data->y + ctx->rows[r] * data->n_targets;
        ctx->losses[r] = output_row(net->loss, ctx->delta[last] + r * stride, y, ctx->weights[r],
                                    net->sizes[last + 1], stride);
    }
}

static void backward_layer(network_context *ctx, int64_t l, int64_t begin, int64_t end) {
    const fsgd_network *net = ctx->network;
    const int64_t units = ctx->units[l];
    real *to = ctx->delta[l - 1] + begin * units;
    const product_operands o = {
        .a = ctx->delta_rows[l] + begin,
        .b = ctx->turned[l],
        .b_p = units,
        .to = to,
        .to_row = units,
        .k = net->sizes[l + 1],
    };
    product(&o, end - begin, net->sizes[l]);
    times_derivative(net->activation, ctx->a[l] + begin * units, to, (end - begin) * units);
}

/* A block of rows: forward, output, backward. */
static void propagate_block(network_context *ctx, int64_t block) {
    const int64_t begin = block * ctx->block_rows;
    const int64_t end = begin + ctx->block_rows < ctx->count ? begin + ctx->block_rows : ctx->count;
    const int64_t layers = ctx->network->layers;
    if (!ctx->sparse) read_rows(ctx, begin, end);
    for (int64_t l = 0; l < layers; ++l) forward_layer(ctx, l, begin, end);
    output_layer(ctx, begin, end);
    for (int64_t l = layers - 1; l > 0; --l) backward_layer(ctx, l, begin, end);
}

/* The step of parameters side by side, with the sums of their gradients. */
static ALWAYS_INLINE void apply_row(const network_context *ctx, real alpha, real *w,
                                    const real *restrict sum, int64_t n) {
    update_span(&ctx->step, ctx->of_sum, alpha, w, sum, n);
}

/* grad b_l: the sum of the rows of delta_l. */
static void intercept_gradient(network_context *ctx, int64_t l) {
    const fsgd_network *net = ctx->network;
    const int64_t stride = net->strides[l], at = net->starts[l] + net->sizes[l] * stride;
    const int adds = ctx->grad && !ctx->starts;
    real part[LINE];
    for (int64_t j = 0; j < stride; j += LINE) {
        const real *delta = ctx->delta[l] + j;
        for (int c = 0; c < LINE; ++c) part[c] = adds ? ctx->grad[at + j + c] : 0;
        for (int64_t r = 0; r < ctx->count; ++r)
            for (int c = 0; c < LINE; ++c) part[c] += delta[r * stride + c];
        if (ctx->grad)
            memcpy(ctx->grad + at + j, part, sizeof part);
        else
            apply_row(ctx, 0, (real *)ctx->state->values + at + j, part, LINE);
    }
}

/* The gradient of rows begin to end of W_l, tile by tile: added to `grad`, or followed by the step.
 */
static void weight_gradient(network_context *ctx, int64_t l, int64_t begin, int64_t end) {
    enum { COLUMNS = TILE_VECTORS * wide_count };
    const fsgd_network *net = ctx->network;
    const int64_t stride = net->strides[l];
    real *w = weights_of(ctx, l);
    real *grad = ctx->grad ? ctx->grad + net->starts[l] : NULL;
    const int adds = grad && !ctx->starts;
    real sums[TILE_ROWS * COLUMNS] __attribute__((aligned(64)));
    for (int64_t i = begin; i < end; i += TILE_ROWS) {
        const int64_t rows = end - i < TILE_ROWS ? end - i : TILE_ROWS;
        for (int64_t j = 0; j < stride; j += COLUMNS) {
            const int64_t n = stride - j < COLUMNS ? stride - j : COLUMNS;
            const product_operands o = {
                .a = ctx->a_rows[l],
                .from_column = i,
                .turned = 1,
                .b = ctx->delta[l] + j,
                .b_p = stride,
                .from = adds ? grad + i * stride + j : NULL,
                .from_row = stride,
                .to = grad ? grad + i * stride + j : sums,
                .to_row = grad ? stride : COLUMNS,
                .k = ctx->count,
            };
            product(&o, rows, n);
            for (int64_t r = 0; !grad && r < rows; ++r)
                apply_row(ctx, ctx->alpha, w + (i + r) * stride + j, sums + r * COLUMNS, n);
        }
    }
}

/* Gradients of the first layer from CSR rows, added to `grad`, whose rows are 0 but for those that
 * are touched. */
static void sparse_gradient(network_context *ctx, real *grad) {
    const int64_t stride = ctx->network->strides[0];
    for (int64_t r = 0; r < ctx->count; ++r) {
        const sparse_row row = find_sparse_row(ctx, ctx->rows[r]);
        const real *delta = ctx->delta[0] + r * stride;
        for (int64_t p = 0; p < row.count; ++p) {
            if (p + 8 < row.count)
                for (int64_t c = 0; c < stride; c += LINE)
                    __builtin_prefetch(grad + feature_at(ctx, &row, p + 8) * stride + c, 1);
            const int64_t j = feature_at(ctx, &row, p);
            add_times(grad + j * stride, row.x[row.begin + p], delta, stride);
            if (ctx->is_touched) ctx->is_touched[j] = 1;
        }
    }
}

/* The step of rows begin to end of W_0 whose gradients are in `state->grad`, which is 0 again
 * afterwards: a row that is not touched has none. */
static void sparse_step(network_context *ctx, int64_t begin, int64_t end) {
    const int64_t stride = ctx->network->strides[0];
    real *w = weights_of(ctx, 0), *grad = (real *)ctx->state->grad;
    for (int64_t i = begin; i < end; ++i) {
        real *g = ctx->is_touched[i] ? grad + i * stride : ctx->zeros;
        apply_row(ctx, ctx->alpha, w + i * stride, g, stride);
        if (ctx->is_touched[i]) memset(g, 0, (size_t)stride * sizeof(real));
        ctx->is_touched[i] = 0;
    }
}

/* Whether the steps of a layer's weights are lazy, and so none of its blocks' concern. */
static ALWAYS_INLINE int is_lazy_layer(const network_context *ctx, int64_t l) {
    return l == 0 && ctx->state->lazy_rows > 0;
}

/* The layer of a block of weights, and its rows. */
static int64_t find_block(const network_context *ctx, int64_t block, int64_t *begin, int64_t *end) {
    int64_t l = 0;
    while (block >= ctx->first[l + 1]) ++l;
    *begin = (block - ctx->first[l]) * WEIGHT_ROWS;
    *end = *begin + WEIGHT_ROWS;
    if (*end > ctx->network->sizes[l]) *end = ctx->network->sizes[l];
    return l;
}

/* Prefetch a part of the rows of the next chunk, which are somewhere in memory, a block's share. */
static void prefetch_share(const network_context *ctx, int64_t block) {
    const fsgd_data *data = ctx->data;
    const int64_t blocks = ctx->first[ctx->network->layers], count = ctx->upcoming_count;
    const int64_t bytes = data->d * stored_bytes(data);
    for (int64_t r = count * block / blocks; r < count * (block + 1) / blocks; ++r) {
        const int64_t i = ctx->order ? ctx->order[ctx->upcoming + r] : ctx->upcoming + r;
        const char *row = stored_row(ctx, i);
        for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
    }
}

/* The sum of squares of a block of weights before their step, for the penalty; that of lazy ones is
 * in State. */
static void square_weights(network_context *ctx, int64_t block, int64_t l, int64_t begin,
                           int64_t end) {
    const int64_t stride = ctx->network->strides[l];
    if (!ctx->penalised) return;
    ctx->partial[block] = is_lazy_layer(ctx, l) ? 0
                                                : sum_squares(weights_of(ctx, l) + begin * stride,
                                                              (end - begin) * stride);
}

/* A block of weights: its gradient, and its step where `grad` is NULL. */
static void weight_block(network_context *ctx, int64_t block) {
    int64_t begin, end;
    const int64_t l = find_block(ctx, block, &begin, &end);
    square_weights(ctx, block, l, begin, end);
    prefetch_share(ctx, block);
    if (begin == 0) intercept_gradient(ctx, l);
    if (l > 0 || !ctx->sparse)
        weight_gradient(ctx, l, begin, end);
    else if (!ctx->grad && !is_lazy_layer(ctx, l))
        sparse_step(ctx, begin, end);
    if (l > 0 && !ctx->grad) turn_weights(ctx, l, begin, end);
}

/* A block of weights whose gradient is in `grad`: |grad|^2, */
static void square_block(network_context *ctx, int64_t block) {
    int64_t begin, end;
    const fsgd_network *net = ctx->network;
    const int64_t l = find_block(ctx, block, &begin, &end), stride = net->strides[l];
    const real *grad = (const real *)ctx->state->grad + net->starts[l];
    double sum = end == net->sizes[l] ? sum_squares(grad + end * stride, stride) : 0;
    if (!is_lazy_layer(ctx, l)) sum += sum_squares(grad + begin * stride, (end - begin) * stride);
    ctx->partial[block] = sum;
}

/* and its step. */
static void step_block(network_context *ctx, int64_t block) {
    int64_t begin, end;
    const fsgd_network *net = ctx->network;
    const int64_t l = find_block(ctx, block, &begin, &end), stride = net->strides[l];
    const int lazy = is_lazy_layer(ctx, l);
    real *w = weights_of(ctx, l), *grad = (real *)ctx->state->grad + net->starts[l];
    square_weights(ctx, block, l, begin, end);
    for (int64_t i = lazy ? end : begin; i < end; ++i)
        apply_row(ctx, ctx->alpha, w + i * stride, grad + i * stride, stride);
    if (l == 0 && ctx->sparse && !lazy)
        memset(grad + begin * stride, 0, (size_t)((end - begin) * stride) * sizeof(real));
    if (end == net->sizes[l]) apply_row(ctx, 0, w + end * stride, grad + end * stride, stride);
    if (l > 0) turn_weights(ctx, l, begin, end);
}

/* Sum over all blocks, in order. */
static double sum_of_blocks(const network_context *ctx) {
    double sum = 0;
    for (int64_t b = 0; b < ctx->first[ctx->network->layers]; ++b) sum += ctx->partial[b];
    return sum;
}

#endif
