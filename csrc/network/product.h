/* product.h: products of small matrices, tile by tile.
 *
 *     to (m, n)  =  from (m, n)  +  a (m, k) b (k, n)
 *
 * A tile is some rows of `to` by some vectors of its columns, which stay in registers while p goes
 * from 0 to k. So every number is one sum in the order of p, whatever the tile and whoever computes
 * it: no bit depends on how a product is divided.
 */
#ifndef FASTSGD_NETWORK_PRODUCT_H
#define FASTSGD_NETWORK_PRODUCT_H

#include "../kernel/vectors.h"

/* Sums that fill the registers of the instruction set: 32 of them, or 16. */
#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define TILE_VECTORS 4
#else
#define TILE_VECTORS 2
#endif
#define TILE_ROWS 6

/* The operands. Numbers of `b`, `from` and `to` lie side by side along the columns. */
typedef struct {
    const real *const *a; /* rows of a matrix, of which a is a part, a[i][from_column + p], */
    int64_t from_column;
    int turned; /* or the transpose of one, a[p][from_column + i] */
    const real *b;
    int64_t b_p; /* b[p * b_p + j] */
    const real *from;
    int64_t from_row; /* from[i * from_row + j]: 0 for the same in all rows; `from` NULL: zeros */
    real *to;
    int64_t to_row; /* to[i * to_row + j] */
    int64_t k;
} product_operands;

/* Without it gcc 12 unrolls these loops after it has put the sums into memory. */
#define UNROLL _Pragma("GCC unroll 8")

static ALWAYS_INLINE void tile_product(const product_operands *o, int64_t i, int64_t j,
                                       const int rows, const int vectors, const int turned) {
    wide sum[TILE_ROWS][TILE_VECTORS];
    const real *row[TILE_ROWS], *b = o->b + j;
    const int64_t column_of_a = o->from_column + i;
    UNROLL for (int r = 0; r < rows; ++r) row[r] = turned ? NULL : o->a[i + r] + o->from_column;
    UNROLL for (int r = 0; r < rows; ++r) UNROLL for (int v = 0; v < vectors; ++v)
        sum[r][v] = o->from ? wide_at(o->from + (i + r) * o->from_row + j + v * wide_count)
                            : (wide){0};
    for (int64_t p = 0; p < o->k; ++p, b += o->b_p) {
        const real *across = turned ? o->a[p] + column_of_a : NULL;
        wide column[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; ++v) column[v] = wide_at(b + v * wide_count);
        UNROLL for (int r = 0; r < rows; ++r) {
            const real x = turned ? across[r] : row[r][p];
            UNROLL for (int v = 0; v < vectors; ++v) sum[r][v] += x * column[v];
        }
    }
    UNROLL for (int r = 0; r < rows; ++r) UNROLL for (int v = 0; v < vectors; ++v) *
        (wide *)(o->to + (i + r) * o->to_row + j + v * wide_count) = sum[r][v];
}

typedef void (*tile_function)(const product_operands *, int64_t i, int64_t j);

/* Functions for every size of a tile. */
#define TILE_NAME(ROWS, VECTORS, TURNED) tile_##ROWS##_##VECTORS##_##TURNED
#define TILE_FUNCTION(ROWS, VECTORS, TURNED)                                                       \
    static void TILE_NAME(ROWS, VECTORS, TURNED)(const product_operands *o, int64_t i,             \
                                                 int64_t j) {                                      \
        tile_product(o, i, j, ROWS, VECTORS, TURNED);                                              \
    }
#define EACH_ROWS(F, VECTORS, TURNED)                                                              \
    F(1, VECTORS, TURNED)                                                                          \
    F(2, VECTORS, TURNED)                                                                          \
    F(3, VECTORS, TURNED)                                                                          \
    F(4, VECTORS, TURNED)                                                                          \
    F(5, VECTORS, TURNED)                                                                          \
    F(6, VECTORS, TURNED)
#define TILE_ENTRY(ROWS, VECTORS, TURNED) TILE_NAME(ROWS, VECTORS, TURNED),

EACH_ROWS(TILE_FUNCTION, 1, 0)
EACH_ROWS(TILE_FUNCTION, 1, 1)
EACH_ROWS(TILE_FUNCTION, 2, 0)
EACH_ROWS(TILE_FUNCTION, 2, 1)
#if TILE_VECTORS == 4
EACH_ROWS(TILE_FUNCTION, 3, 0)
EACH_ROWS(TILE_FUNCTION, 3, 1)
EACH_ROWS(TILE_FUNCTION, 4, 0)
EACH_ROWS(TILE_FUNCTION, 4, 1)
#endif

static const tile_function tile_functions[2][TILE_VECTORS][TILE_ROWS] = {
    {
        {EACH_ROWS(TILE_ENTRY, 1, 0)},
        {EACH_ROWS(TILE_ENTRY, 2, 0)},
#if TILE_VECTORS == 4
        {EACH_ROWS(TILE_ENTRY, 3, 0)},
        {EACH_ROWS(TILE_ENTRY, 4, 0)},
#endif
    },
    {
        {EACH_ROWS(TILE_ENTRY, 1, 1)},
        {EACH_ROWS(TILE_ENTRY, 2, 1)},
#if TILE_VECTORS == 4
        {EACH_ROWS(TILE_ENTRY, 3, 1)},
        {EACH_ROWS(TILE_ENTRY, 4, 1)},
#endif
    },
};

#undef TILE_NAME
#undef TILE_FUNCTION
#undef TILE_ENTRY
#undef EACH_ROWS

/* Terms that are summed before the next tile's turn: so many rows of b, a panel of them as wide as
 * a tile, stay in the L2 cache and in reach of the tables of pages. */
enum { PANEL_TERMS = 512 };

/* Terms begin to end of the sums. */
static product_operands part_of_sums(const product_operands *operands, int64_t begin, int64_t end) {
    product_operands o = *operands;
    o.k = end - begin;
    o.b += begin * o.b_p;
    if (o.turned)
        o.a += begin;
    else
        o.from_column += begin;
    if (begin > 0) o.from = o.to, o.from_row = o.to_row; /* the sums so far */
    return o;
}

/* The product for m rows and n columns, which are rounded up to whole vectors: whatever lies behind
 * the last column is computed too. */
static void product(const product_operands *operands, int64_t m, int64_t n) {
    const int64_t k = operands->k, parts = k <= PANEL_TERMS ? 1 : (k - 1) / PANEL_TERMS + 1;
    product_operands part;
    for (int64_t j = 0; j < n; j += TILE_VECTORS * wide_count) {
        const int64_t left = (n - j + wide_count - 1) / wide_count;
        const tile_function *tiles =
            tile_functions[operands->turned][left < TILE_VECTORS ? left - 1 : TILE_VECTORS - 1];
        for (int64_t q = 0; q < parts; ++q) {
            const product_operands *o = operands;
            if (parts > 1) {
                part = part_of_sums(operands, k * q / parts, k * (q + 1) / parts);
                o = &part;
            }
            for (int64_t i = 0; i < m; i += TILE_ROWS)
                tiles[m - i < TILE_ROWS ? m - i - 1 : TILE_ROWS - 1](o, i, j);
        }
    }
}

/* to (n, m) = from (m, n), both padded to whole vectors of the widest kind. */
static void transpose(const real *from, int64_t from_row, int64_t m, int64_t n, real *to,
                      int64_t to_row) {
    enum { B = 16 };
    for (int64_t i = 0; i < m; i += B)
        for (int64_t j = 0; j < n; j += B) {
            const int64_t rows = m - i < B ? m - i : B, columns = n - j < B ? n - j : B;
            for (int64_t c = 0; c < columns; ++c)
                for (int64_t r = 0; r < rows; ++r)
                    to[(j + c) * to_row + i + r] = from[(i + r) * from_row + j + c];
        }
}

#endif
