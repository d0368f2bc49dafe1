/* verbs.h: everything of this folder for one TILE, which the includer defines, and the table of its
 * verbs. It is included once for each tile (calls.h), so it undefines what the others define.
 */
#ifndef TILE
#define TILE 4
#endif

#include "batches.h"
#include "rows.h"
#if TILE > 1
#include "blocks.h"
#endif

/* Single samples. */
static fsgd_status TILED(run_single)(context *ctx, int64_t budget) {
#if TILE == 1
    if (ctx->kind.scaled || ctx->kind.spans) return run_csr_rows(ctx, budget);
#else
    if (ctx->kind.scaled && ctx->state->width == 1 && ctx->data->layout == FSGD_DENSE)
        return TILED(run_blocks)(ctx, budget);
#endif
    return TILED(run_rows)(ctx, ctx->stop, budget);
}

static const verb_table TILED(lanes_verbs) = {
    .score = TILED(score),
    .accumulate = TILED(accumulate),
    .norms = TILED(norms),
    .update = TILED(update),
    .update_features = TILED(update_features),
    .update_by_rows = TILED(update_by_rows),
    .run_single = TILED(run_single),
    .shrink_all = TILED(shrink_all),
    .shrink_copy = TILED(shrink_copy),
};

#undef BY_LAYOUT
#undef TILED
#undef LANE_BYTES
#undef LANES
#undef VEC
#undef NV
#undef PER
#undef UNROLL
#undef BLOCK
#undef STEPS
#undef TILE
#undef FASTSGD_KERNEL_LANES_TILE_H
#undef FASTSGD_KERNEL_LANES_LAZY_H
#undef FASTSGD_KERNEL_LANES_LAZY_L1_H
#undef FASTSGD_KERNEL_LANES_SCORE_H
#undef FASTSGD_KERNEL_LANES_UPDATE_H
#undef FASTSGD_KERNEL_LANES_UPDATE_L1_H
#undef FASTSGD_KERNEL_LANES_ROWS_H
#undef FASTSGD_KERNEL_LANES_BLOCKS_H
#undef FASTSGD_KERNEL_LANES_BATCHES_H
