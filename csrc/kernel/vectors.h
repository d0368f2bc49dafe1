/* vectors.h: vectors of the width of the instruction set, along the features of a row, and their
 * sums. */

#ifndef FASTSGD_KERNEL_VECTORS_H
#define FASTSGD_KERNEL_VECTORS_H

#include "template.h"

typedef real wide __attribute__((vector_size(VECTOR_BYTES), aligned(REAL_BYTES), may_alias));
enum { wide_count = VECTOR_BYTES / REAL_BYTES };

static ALWAYS_INLINE wide wide_at(const real *x) { return *(const wide *)x; }

/* A vector's sum by halves, down to 16 bytes. Written as shuffles: a loop over halves goes through
 * memory. */
typedef real wide_part __attribute__((vector_size(16)));
enum { part_count = 16 / REAL_BYTES };

static ALWAYS_INLINE wide_part fold(wide v) {
#if VECTOR_BYTES == 64 && REAL_BYTES == 4
    typedef real half __attribute__((vector_size(32)));
    const half h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                   __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif VECTOR_BYTES == 64
    typedef real half __attribute__((vector_size(32)));
    const half h = __builtin_shufflevector(v, v, 0, 1, 2, 3) +
                   __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
    const wide h = v;
#endif
#if VECTOR_BYTES == 16
    return h;
#elif REAL_BYTES == 4
    return __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#else
    return __builtin_shufflevector(h, h, 0, 1) + __builtin_shufflevector(h, h, 2, 3);
#endif
}

/* The sums of part_count vectors */
static ALWAYS_INLINE wide_part wide_sums(const wide *v) {
#if REAL_BYTES == 4
    const wide_part a = fold(v[0]), b = fold(v[1]);
    const wide_part c = fold(v[2]), d = fold(v[3]);
    const wide_part ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) +
                         __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const wide_part cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) +
                         __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) +
           __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#else
    const wide_part a = fold(v[0]), b = fold(v[1]);
    return __builtin_shufflevector(a, b, 0, 2) + __builtin_shufflevector(a, b, 1, 3);
#endif
}

/* A vector's sum, in the order of wide_sums */
static ALWAYS_INLINE real wide_sum(wide v) {
    const wide_part p = fold(v);
#if REAL_BYTES == 4
    return (p[0] + p[2]) + (p[1] + p[3]);
#else
    return p[0] + p[1];
#endif
}

#endif
