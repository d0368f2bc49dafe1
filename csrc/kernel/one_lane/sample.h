/* sample.h: a row as a step of its own: its slope, and its loss, which is added up later. */

#ifndef FASTSGD_KERNEL_ONE_LANE_SAMPLE_H
#define FASTSGD_KERNEL_ONE_LANE_SAMPLE_H

#include "../slopes.h"

enum { loss_block = 64 }; /* scores whose loss values are computed together */

/* Scores whose loss values are still to be added; values are computed 64 at a time. */
typedef struct {
    int count;
    real z[loss_block], y[loss_block], s[loss_block];
} loss_buffer;

/* Add the values in their order, so that a run that stops in between has the same sums. */
static void flush_losses(context *ctx, loss_buffer *buffer) {
    real values[loss_block];
    double sum = ctx->state->loss_sum[0];
    for (int i = buffer->count; i < loss_block; ++i)
        buffer->z[i] = 0, buffer->y[i] = 1, buffer->s[i] = 0;
    loss_values(&ctx->settings->loss, loss_block, buffer->z, buffer->y, buffer->s, values);
    for (int i = 0; i < buffer->count; ++i) sum += (double)values[i];
    ctx->state->loss_sum[0] = sum;
    ctx->state->row_count[0] += buffer->count;
    buffer->count = 0;
}

static ALWAYS_INLINE void buffer_loss(context *ctx, loss_buffer *buffer, real z, real y, real s) {
    buffer->z[buffer->count] = z, buffer->y[buffer->count] = y, buffer->s[buffer->count] = s;
    if (++buffer->count == loss_block) flush_losses(ctx, buffer);
}

typedef struct {
    int64_t row;  /* of X */
    real y, s, z; /* target, weight > 0, score */
    real c;       /* slope */
    double count; /* by which its gradient is divided: 1, or more where it is clipped */
} sample_step;

/* Slope of a row with a score; its loss value is put off. Now and then, or where a step asks for
 * it, the row's norm is looked at, which may change slope and count. */
static ALWAYS_INLINE fsgd_status sample_slope(context *ctx, loss_buffer *buffer,
                                              sample_step *sample) {
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    if (!(sample->z - sample->z == 0)) return report_nonfinite(ctx, sample->row);
    buffer_loss(ctx, buffer, sample->z, sample->y, sample->s);
    sample->c = sample->s * loss_slope(loss, sample->z, sample->y);
    if (!(sample->c - sample->c == 0)) return report_nonfinite(ctx, sample->row);
    if (__builtin_expect(needs_examination(ctx), 0)) {
        ctx->chunk.c[0] = sample->c, ctx->chunk.s[0] = sample->s,
        ctx->step.count[0] = sample->count;
        loss_values(loss, 1, &sample->z, &sample->y, &sample->s, ctx->chunk.v);
        examine_row(ctx, sample->row);
        sample->c = ctx->chunk.c[0], sample->count = ctx->step.count[0];
    }
    return FSGD_OK;
}

#endif
