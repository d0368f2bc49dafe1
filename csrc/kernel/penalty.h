/* penalty.h: the L1 penalty: a weight is truncated towards 0 by what it has not received yet of the
 * cumulative penalty (Tsuruoka, Tsujii & Ananiadou, ACL 2009; csrc/fastsgd.h has the rule). */

#ifndef FASTSGD_KERNEL_PENALTY_H
#define FASTSGD_KERNEL_PENALTY_H

#include "context.h"
#include "vmath.h"

/* a with the sign of b */
static ALWAYS_INLINE real signed_as(real a, real b) {
    return sizeof(real) == 4 ? (real)__builtin_copysignf((float)a, (float)b)
                             : (real)__builtin_copysign((double)a, (double)b);
}

/* 1 with the sign of a, by its bits: gcc vectorises copysign of two variables only. */
static ALWAYS_INLINE real sign_of(real a) {
    const real one = 1;
    uint_bits bits, of_one;
    memcpy(&bits, &a, sizeof a);
    memcpy(&of_one, &one, sizeof one);
    bits = (bits & ((uint_bits)1 << (8 * sizeof(real) - 1))) | of_one;
    real sign;
    memcpy(&sign, &bits, sizeof sign);
    return sign;
}

/* Truncate a weight to which `applied` of the cumulative penalty has been applied, and count what
 * has been then. Twice changes nothing more than once, to the bit. There are no branches: their
 * outcome is chance, and they cost a factor 4 on CSR. */
static ALWAYS_INLINE void truncate_weight(real *w, real *applied, real cumulative) {
    const real sign = sign_of(*w), size = sign * *w, got = sign * *applied;
    real left = size - (cumulative + got);
    left = left > 0 ? left : 0;
    left = left < size ? left : size; /* never away from 0, whatever rounding makes of the sum */
    const real all = -cumulative, more = got - size;
    uint_bits bits_all, bits_more, alive = (uint_bits)0 - (uint_bits)(left > 0);
    memcpy(&bits_all, &all, sizeof all);
    memcpy(&bits_more, &more, sizeof more);
    bits_all = (bits_all & alive) | (bits_more & ~alive);
    real now_applied;
    memcpy(&now_applied, &bits_all, sizeof now_applied);
    *w = sign * left;
    *applied = sign * now_applied;
}

/* Truncate a feature of all lanes, w and applied (padded); w is no part of an average. */
static ALWAYS_INLINE void truncate_feature(const real *cumulative, int64_t padded, real *w,
                                           real *applied) {
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        real weight = w[k], received = applied[k];
        truncate_weight(&weight, &received, cumulative[k]);
        w[k] = weight, applied[k] = received;
    }
}

/* Those of one lane, SIMD along the features. Weights of 0 stay as they are, and so do their cache
 * lines: of a wide model most have never been written. */
static void truncate_planes(const fsgd_state *state, real cumulative) {
    enum { BLOCK = 16 };
    real *w = state->w, *applied = w + state->width * state->vector_stride;
    for (int64_t j = 0; j < state->d; j += BLOCK, w += BLOCK, applied += BLOCK) {
        int any = 0;
        _Pragma("omp simd reduction(| : any)") for (int i = 0; i < BLOCK; ++i) any |= w[i] != 0;
        if (!any) continue;
        _Pragma("omp simd") for (int i = 0; i < BLOCK; ++i) {
            real weight = w[i], received = applied[i];
            truncate_weight(&weight, &received, cumulative);
            w[i] = weight, applied[i] = received;
        }
    }
}

/* All truncations that are put off. */
static void flush_truncations(context *ctx) {
    fsgd_state *state = ctx->state;
    if (state->padded == 1) truncate_planes(state, ctx->step.l1_cumulative[0]);
    for (int64_t j = 0; state->padded > 1 && j < state->d; ++j) {
        real *w = (real *)state->w + j * state->feature_stride;
        truncate_feature(ctx->step.l1_cumulative, state->padded, w,
                         w + state->width * state->vector_stride);
    }
    state->pending = 0;
    state->rescales += 1;
    ctx->report->work += state->d;
}

#endif
