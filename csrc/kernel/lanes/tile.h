/* tile.h: vectors of lanes. The headers of this folder are many lanes at once, SIMD along the
 * lanes, and one lane on CSR rows, in scalars. They are compiled once for each TILE, by verbs.h.
 *
 *     TILE      lanes worked on together: 1, 4, 8 or 16; with the widest (WIDEST_TILE) `padded` may
 *               be any multiple of it
 *     TILED(x)  x with a suffix for the tile
 *
 * A feature's slots w, v, q lie side by side, lanes contiguous, so that all that one non-zero needs
 * is in one place: no gathers, no horizontal sums. Of one lane, TILE 1, the strides of
 * State say so, or make planes of them.
 */

#ifndef FASTSGD_KERNEL_LANES_TILE_H
#define FASTSGD_KERNEL_LANES_TILE_H

#include "../csr_rows.h"
#include "../optimizer.h"

#ifndef TILE
#define TILE 4
#endif
#define TILED(x) CAT3(x, _, TILE)

#if TILE == 1
#define LANE_BYTES REAL_BYTES
typedef real TILED(vec);
#else
#if TILE * REAL_BYTES < VECTOR_BYTES
#define LANE_BYTES (TILE * REAL_BYTES)
#else
#define LANE_BYTES VECTOR_BYTES
#endif
typedef real TILED(vec) __attribute__((vector_size(LANE_BYTES), aligned(REAL_BYTES), may_alias));
#endif

enum {
    TILED(per_vec) = LANE_BYTES / REAL_BYTES,               /* lanes of a vector */
    TILED(vecs) = TILE / TILED(per_vec),                    /* vectors of a tile */
    TILED(unroll) = TILED(vecs) >= 4 ? 1 : 4 / TILED(vecs), /* features in flight when scoring */
    TILED(block) = TILED(vecs) >= 8 ? 1 : 8 / TILED(vecs),  /* rows, or features, of a product */
    TILED(block_rows) = TILED(vecs) > 1 ? 2 : max_block,    /* rows of a block of plain steps */
};
#define VEC    TILED(vec)
#define NV     TILED(vecs)
#define PER    TILED(per_vec)
#define UNROLL TILED(unroll)
#define BLOCK  TILED(block)
#define STEPS  TILED(block_rows)

/* How many lanes there are: those of the tile, but of the widest any multiple. */
#define LANES(STATE) (TILE < WIDEST_TILE ? TILE : (STATE)->padded)

/* Whether rows are dense: those of one lane are in one_lane. */
static ALWAYS_INLINE int TILED(is_dense)(const context *ctx) {
    return TILE > 1 && ctx->data->layout == FSGD_DENSE;
}

/* The vector of lanes number i after p. */
static ALWAYS_INLINE VEC *TILED(at)(const real *p, int i) {
    return (VEC *)(uintptr_t)(p + i * PER);
}

/* Call a body with the kind of rows as a constant. Dense rows of one lane are in one_lane. */
#if TILE == 1
#define BY_LAYOUT(CALL)                                                                            \
    {                                                                                              \
        CALL(CSR_ROWS);                                                                            \
    }
#else
#define BY_LAYOUT(CALL)                                                                            \
    if (ctx->data->layout == FSGD_DENSE) {                                                         \
        CALL(FSGD_DENSE);                                                                          \
    } else {                                                                                       \
        CALL(CSR_ROWS);                                                                            \
    }
#endif

#endif
