/* blocks.h: plain steps of one lane on dense rows, several rows at a time: what a fit with default
 * parameters does.
 *
 * A step is plain where it has no momentum, averaging, L1 penalty or clipping. Blocks have B rows.
 * With w the stored weights at the start of a block, its steps one after the other are
 *
 *     u_j = x_j . w,   G_ji = x_j . x_i                                      all at once
 *     z_j = scale_j (u_j + sum_{i<j} a_i G_ji) + b_j,   a_j = p_j c_j        one by one
 *     w   = w + sum_j a_j x_j                                 together with the next block's u
 *
 * so that between one slope and the next stands a multiplication instead of a pass over w, and w is
 * read once a block. Blocks end at multiples of B: no bit depends on where a budget ends, nor on a
 * stop at such a row; one within a block makes two of it, with other roundings.
 */
#ifndef FASTSGD_KERNEL_ONE_LANE_BLOCKS_H
#define FASTSGD_KERNEL_ONE_LANE_BLOCKS_H

#include "rows.h"

enum {
    max_pairs = 8,     /* pairs of rows of a block, in whole vectors of 16 bytes */
    short_row = 128,   /* features up to which a block has 4 rows; 2 above */
    long_bytes = 4096, /* of a row from which a block reads it where it lies, */
    near_bytes = 1536, /* and where rows that follow each other lie side by side */
};

typedef struct {
    int64_t first, count; /* positions in the epoch; the rest of B is zero */
    const real
        *x[max_block];      /* features: where X has them, but for those after the last whole 16 */
    real *copies;           /* (B, stride) of rows that are copied, and the ends of the others */
    int64_t row[max_block]; /* rows of X */
    real y[max_block], s[max_block];
    real u[max_block], G[max_pairs]; /* G_ji at j (j - 1) / 2 + i */
    real z[max_block], c[max_block];
    real a[max_block];                                  /* steps along x, 0 until they are taken */
    real scale[max_block], p[max_block], p0[max_block]; /* of each step */
    double last_scale, eta;                             /* after the block; of its last step */
    int64_t updates;                                    /* rows of positive weight */
} row_block;

/* The block from `first` on. A row of weight zero may hold anything: it is not copied. */
static ALWAYS_INLINE void load_block(const context *ctx, int64_t first, const int B,
                                     const int in_place, row_block *block) {
    const fsgd_data *data = ctx->data;
    const int64_t stride = ctx->rows.stride, left = ctx->stop - first, all = B - first % B;
    const real *y = data->y, *weight = data->sample_weight;
    const int64_t n_targets = data->n_targets, target = n_targets > 1 ? ctx->lanes->target[0] : 0;
    const int signs = ctx->settings->sign_targets;
    const real label = ctx->lane.label[0], positive = ctx->lane.weight_positive[0];
    const real negative = ctx->lane.weight_negative[0];
    const int64_t count = left < all ? left < 0 ? 0 : left : all;
    block->first = first, block->count = count;
    for (int j = 0; j < B; ++j) block->a[j] = block->y[j] = block->s[j] = 0;
    for (int j = 0; j < count; ++j) {
        const int64_t i = block->row[j] = row_at(ctx, first + j);
        const real of_row = y[i * n_targets + target];
        const real yj = !signs ? of_row : of_row == label ? 1 : -1;
        const real own = yj > 0 ? positive : negative;
        block->y[j] = yj, block->s[j] = weight ? weight[i] * own : own;
    }
    for (int j = 0; j < B; ++j) {
        real *copy = block->copies + j * stride;
        if (in_place) block->x[j] = copy;
        if (!(block->s[j] > 0)) {
            memset(copy, 0, (size_t)stride * sizeof(real));
        } else if (!in_place) {
            load_row(ctx, block->row[j], copy);
        } else {
            block->x[j] = dense_row(ctx, block->row[j]);
            for (int64_t k = data->d / 16 * 16; k < data->d; ++k) copy[k] = block->x[j][k];
        }
    }
}

/* The same as a call, where it is not in a loop. */
static NO_INLINE void load_one_block(const context *ctx, int64_t first, int B, int in_place,
                                     row_block *block) {
    load_block(ctx, first, B, in_place, block);
}

/* The sums of `count` vectors, rounded up to whole parts. */
static ALWAYS_INLINE void store_sums(const wide *v, const int count, real *out) {
    for (int j = 0; j < count; j += part_count) {
        const wide_part sums = wide_sums(v + j);
        memcpy(out + j, &sums, sizeof sums);
    }
}

/* A vector of w += sum_j a_j x_j of the old block, and of u and G of the new one. */
static ALWAYS_INLINE void pass_vector(real *w, const real *const *previous,
                                      const real *const *current, int64_t k, const wide *a, wide *u,
                                      wide *G, const int B) {
    wide now = wide_at(w + k), x[max_block];
    for (int j = 0; j < B; ++j) now += a[j] * wide_at(previous[j] + k);
    *(wide *)(w + k) = now;
    for (int j = 0; j < B; ++j) {
        x[j] = wide_at(current[j] + k);
        u[j] += x[j] * now;
        for (int i = 0; i < j; ++i) G[j * (j - 1) / 2 + i] += x[j] * x[i];
    }
}

/* w += sum_j a_j x_j of the old block, and u and G of the new one. On the way the rows at
 * `upcoming` (B) are prefetched, a line at a time: many at once would wait for each other and hold
 * up everything behind them. */
static ALWAYS_INLINE void pass_over_weights(const context *ctx, const row_block *old,
                                            row_block *block, const char *const *upcoming,
                                            const int B, const int in_place) {
    enum { V = wide_count, LINE = 64 / REAL_BYTES };
    wide a[max_block], u[max_block], G[max_pairs];
    const int64_t n = ctx->rows.stride, stored = ctx->rows.value_bytes;
    const int64_t whole = in_place ? ctx->data->d / 16 * 16 : n;
    const real *previous[max_block], *current[max_block];
    const real *restrict old_copies = old->copies, *restrict copies = block->copies;
    real *restrict w = ctx->state->w;
    for (int j = 0; j < B; ++j) a[j] = old->a[j] - (wide){0};
    for (int j = 0; j < max_block; ++j) u[j] = (wide){0};
    for (int j = 0; j < max_pairs; ++j) G[j] = (wide){0};
    for (int j = 0; j < B; ++j) {
        previous[j] = in_place ? old->x[j] : old_copies + j * n;
        current[j] = in_place ? block->x[j] : copies + j * n;
    }
    for (int64_t line = 0; line < whole; line += LINE) {
        for (int j = 0; j < B; ++j) prefetch_features(upcoming[j], line, stored);
        for (int64_t k = line; k < line + LINE; k += V)
            pass_vector(w, previous, current, k, a, u, G, B);
    }
    for (int j = 0; j < B; ++j) prefetch_line(upcoming[j] + ctx->rows.bytes - 1);
    for (int j = 0; j < B; ++j) previous[j] = old_copies + j * n, current[j] = copies + j * n;
    for (int64_t k = whole; k < n; k += V) pass_vector(w, previous, current, k, a, u, G, B);
    store_sums(u, B, block->u);
    store_sums(G, B * (B - 1) / 2, block->G);
}

/* The first half of pass_over_weights alone: the steps of a block go into w. */
static void finish_block(context *ctx, row_block *block, const int B, const int in_place) {
    const int64_t n = ctx->rows.stride, whole = in_place ? ctx->data->d / 16 * 16 : 0;
    real *restrict w = ctx->state->w;
    for (int64_t k = 0; k < n; k += wide_count) {
        wide now = wide_at(w + k);
        for (int j = 0; j < B; ++j)
            now += block->a[j] * wide_at((k < whole ? block->x[j] : block->copies + j * n) + k);
        *(wide *)(w + k) = now;
    }
    for (int j = 0; j < B; ++j) block->a[j] = 0;
}

/* Rates and scales of a block's steps. Whether none shrinks w by so much that the scale might
 * underflow within a block. */
static ALWAYS_INLINE int plan_block(context *ctx, row_block *block, const int B) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const double alpha = ctx->lanes->alpha[0];
    const double start = (double)ctx->state->t[0];
    const real part = (real)ctx->lanes->intercept_rate[0];
    double scale = ctx->state->scale[0], updates = 0;
    int gentle = 1;
    for (int j = 0; j < B; ++j) {
        if (!(block->s[j] > 0)) {
            block->p[j] = block->p0[j] = 0;
            block->scale[j] = (real)scale;
            continue;
        }
        const int64_t row = block->first + j;
        const double t = start + ++updates, e = epochs_at(ctx, row);
        const double eta = rate_at(ctx, 0, t, fsgd_schedule_factor(schedule, t, e), row);
        const double decay = 1 - eta * alpha;
        const plain_step step = plan_plain(eta, decay, scale, 1);
        block->scale[j] = (real)scale;
        scale = step.scale;
        gentle &= decay > 1e-4;
        block->p[j] = step.p;
        block->p0[j] = ctx->settings->fit_intercept ? part * step.p0 : 0;
        block->eta = eta;
    }
    block->last_scale = scale;
    block->updates = (int64_t)updates;
    return gentle;
}

/* The steps of a block one by one: z, c and a, and the intercept after them. */
static ALWAYS_INLINE real take_steps(const context *ctx, row_block *block, const int B) {
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    const real e = (real)loss->parameter,
               intercept_gradient = (real)ctx->lanes->intercept_gradient[0];
    real b = *(const real *)ctx->state->intercept, u[max_block];
    for (int j = 0; j < B; ++j) u[j] = block->u[j];
#define STEPS(SLOPE)                                                                               \
    for (int j = 0; j < B; ++j) {                                                                  \
        const real y = block->y[j], s = block->s[j], z = block->scale[j] * u[j] + b;               \
        const real c = s > 0 ? s * (SLOPE) : 0, a = block->p[j] * c;                               \
        b += block->p0[j] * (c + intercept_gradient);                                              \
        for (int k = j + 1; k < B; ++k) u[k] += a * block->G[k * (k - 1) / 2 + j];                 \
        block->z[j] = z, block->c[j] = c, block->a[j] = a;                                         \
    }
    switch (loss->kind) {
#define CASE(KIND, F)                                                                              \
    case KIND: STEPS(F##_slope(z, y, e)) break;
        FSGD_EACH_LOSS(CASE)
#undef CASE
    case FSGD_COMPILED: STEPS(loss_slope(loss, z, y)) break;
    default: STEPS(squared_error_slope(z, y, e))
    }
#undef STEPS
    return b;
}

/* The same for two rows, as a call: next to the passes over long rows it costs nothing. */
static NO_INLINE real take_two_steps(const context *ctx, row_block *block) {
    return take_steps(ctx, block, 2);
}

/* Make a block's steps, whose rows are still to go into w, those of the state. */
static ALWAYS_INLINE void commit_block(context *ctx, const row_block *block, loss_buffer *buffer,
                                       real b) {
    fsgd_state *state = ctx->state;
    if (measures_row(ctx) && block->s[0] > 0) {
        const double of_intercept = ctx->settings->fit_intercept ? 1 : 0;
        const double square = row_square(ctx, block->row[0]) + of_intercept;
        measure_and_clip(ctx, 0, 1, fabs((double)block->c[0]) * sqrt(square), 1);
    }
    for (int j = 0; j < block->count; ++j)
        if (block->s[j] > 0) buffer_loss(ctx, buffer, block->z[j], block->y[j], block->s[j]);
    *(real *)state->intercept = b;
    state->scale[0] = block->last_scale;
    state->t[0] += block->updates;
    state->row += block->count;
    if (block->updates > 0) ctx->report->eta = block->eta;
}

/* Take the steps of a block row by row, where they cannot be taken at once: a step shrinks w so
 * much that a scale might underflow, or a score or slope is not finite, which may be the block's
 * doing or the row's. Rows of the ring take the place of both blocks, so the next one is loaded
 * again. */
static NO_INLINE fsgd_status take_rows(context *ctx, row_block *block, row_block *next, const int B,
                                       const int in_place, loss_buffer *losses) {
    const int64_t stride = ctx->rows.stride;
    flush_losses(ctx, losses);
    const fsgd_status status = run_dense_rows(ctx, block->first + block->count, INT64_MAX);
    memset(block->a, 0, sizeof block->a);
    memset(block->copies, 0, (size_t)(B * stride) * sizeof(real)); /* they may be infinite */
    for (int j = 0; j < B; ++j) block->x[j] = block->copies + j * stride;
    load_one_block(ctx, block->first + block->count, B, in_place, next);
    return status;
}

/* Whether the steps that were taken count: no scale underflows, all scores and slopes are finite.
 */
static ALWAYS_INLINE int is_sound(const row_block *block, int gentle, const int B) {
    return gentle && all_finite(block->z, block->s, B) && all_finite(block->c, block->s, B);
}

/* Rows in blocks, up to where the run or the budget ends. */
static ALWAYS_INLINE fsgd_status run_blocks(context *ctx, int64_t budget, const int B,
                                            const int in_place) {
    fsgd_state *state = ctx->state;
    const int64_t stride = ctx->rows.stride, distance = prefetch_distance(ctx, B);
    row_block blocks[2] = {{0}}, *old = &blocks[0], *block = &blocks[1];
    loss_buffer losses = {0};
    const char *upcoming[max_block];
    fsgd_status status = FSGD_OK;
    old->copies = ctx->chunk.x, block->copies = ctx->chunk.x + B * stride;
    for (int j = 0; j < B; ++j) old->x[j] = old->copies + j * stride;
    load_one_block(ctx, state->row, B, in_place, block);
    while (block->count > 0 && ctx->report->work < budget && status == FSGD_OK) {
        find_rows_to_prefetch(ctx, state->row + distance, B, upcoming);
        pass_over_weights(ctx, old, block, upcoming, B, in_place);
        load_block(ctx, state->row + block->count, B, in_place, old);
        ctx->report->work += block->count * (ctx->data->d + 16);
        const int gentle = plan_block(ctx, block, B);
        const real b = B == 2 ? take_two_steps(ctx, block) : take_steps(ctx, block, B);
        if (__builtin_expect(is_sound(block, gentle, B), 1))
            commit_block(ctx, block, &losses, b);
        else
            status = take_rows(ctx, block, old, B, in_place, &losses);
        if (state->scale[0] < 1e-9) {
            finish_block(ctx, block, B, in_place);
            apply_scales(ctx, INFINITY);
        }
        row_block *next = old;
        old = block, block = next;
    }
    finish_block(ctx, old, B, in_place);
    flush_losses(ctx, &losses);
    return status;
}

/* The loop for each kind of block, as functions of their own. */
static NO_INLINE fsgd_status run_short_blocks(context *ctx, int64_t budget) {
    return run_blocks(ctx, budget, 4, 0);
}
static NO_INLINE fsgd_status run_blocks_in_place(context *ctx, int64_t budget) {
    return run_blocks(ctx, budget, 2, 1);
}

/* Whether blocks read rows where they lie: a copy is in the L1 cache when the block comes, but
 * costs a third of a step. Worth it where rows are long, or where the next one lies beside. */
static int reads_in_place(const context *ctx) {
    const int beside = !ctx->order || ctx->settings->sampling == FSGD_BLOCK;
    return ctx->rows.unconverted && ctx->rows.bytes >= (beside ? near_bytes : long_bytes);
}

/* Single samples, dense: in blocks where steps are plain. */
static fsgd_status run_single(context *ctx, int64_t budget) {
    const int plain = ctx->state->width == 1 && !ctx->kind.l1 && ctx->kind.unclipped &&
                      !ctx->adaptive.on;
    if (!plain) return run_dense_rows(ctx, ctx->stop, budget);
    if (ctx->rows.stride <= short_row) return run_short_blocks(ctx, budget);
    return reads_in_place(ctx) ? run_blocks_in_place(ctx, budget) : run_blocks(ctx, budget, 2, 0);
}

#endif
