/* lazy.h: lazy updates on CSR: what an update leaves for later of the features that none of its
 * rows has, and how they catch up when they are seen again. Momentum is spans.h, AdaGrad
 * adaptive.h, L1 with L2 or averages lazy_l1.h; where L1 is alone a truncation by the cumulative
 * penalty waits.
 */

#ifndef FASTSGD_KERNEL_LANES_LAZY_H
#define FASTSGD_KERNEL_LANES_LAZY_H

#include "../adaptive.h"
#include "../penalty.h"
#include "../l1_momentum.h"
#include "../spans.h"
#include "lazy_l1.h"
#include "tile.h"

/* Bring the features of a CSR row up to date. */
static ALWAYS_INLINE void TILED(catch_up_row)(context *ctx, const row_values *row,
                                              const fsgd_layout layout) {
    fsgd_state *state = ctx->state;
    if (ctx->kind.spans) {
#if TILE == 1
        if (ctx->step.touches && state->width == 2) change_row_of_one(state, row, 2);
        if (ctx->step.touches && state->width == 3) change_row_of_one(state, row, 3);
#else
        if (ctx->step.touches) change_row(state, row, layout, TILE);
#endif
    } else if (ctx->kind.l1_momentum) {
        move_features(ctx, row->columns, 0, row->count);
    } else if (ctx->adaptive.waits) {
        adaptive_touch_row(ctx, row);
    } else if (ctx->kind.lazy_l1) {
        for (int64_t p = 0; p < row->count; ++p) {
            real *w = (real *)state->w + feature_of(row, p, layout) * state->feature_stride;
            truncate_feature(ctx->step.l1_cumulative, LANES(state), w, w + state->vector_stride);
        }
    }
}

#endif
