/* vmath.h: exp, expm1 and log1p for loops that vectorise: no branches, no tables, no calls.
 * Polynomials interpolate at Chebyshev nodes, in extended precision.
 */
#ifndef FASTSGD_KERNEL_VMATH_H
#define FASTSGD_KERNEL_VMATH_H

#include "template.h"

#if REAL_BYTES == 4
typedef int32_t int_bits;
typedef uint32_t uint_bits;
#define MANTISSA_BITS 23
#define ROUNDER  12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, left in the low bits */
#define EXP_MIN  -87.0f
#define EXP_MAX  88.0f
#define LOG2E    1.44269504f
#define LN2_HIGH 0.693359375f
#define LN2_LOW  -2.12194440e-4f
#else
typedef int64_t int_bits;
typedef uint64_t uint_bits;
#define MANTISSA_BITS 52
#define ROUNDER       6755399441055744.0
#define EXP_MIN       -708.0
#define EXP_MAX       709.0
#define LOG2E         1.4426950408889634
#define LN2_HIGH      6.93147180369123816490e-01
#define LN2_LOW       1.90821492927058770002e-10
#endif

/* q of e^r = 1 + r q(r), |r| <= ln 2 / 2 */
static inline real exp_quotient(real r) {
    real r2 = r * r;
#if REAL_BYTES == 4
    real q = ((real)1.0 + r * (real)0.5000000013468551) +
             r2 * (((real)0.16666505173830784 + r * (real)0.04166646489789657) +
                   r2 * ((real)0.008369158101538814 + r * (real)0.0013933653036327228));
#else
    real r4 = r2 * r2;
    real q = ((1.0 + r * 0.5000000000000006) +
              r2 * (0.1666666666666667 + r * 0.041666666666572996)) +
             r4 * (((0.008333333333326141 + r * 0.00138888889325358) +
                    r2 * (0.0001984126987499228 + r * 2.480150429107703e-05)) +
                   r4 * ((2.7557255167647636e-06 + r * 2.7626379384240657e-07) +
                         r2 * 2.51053004242974e-08));
#endif
    return q;
}

/* exp(x), x clamped to the normal range: n = round(x / ln 2), r = x - n ln 2, 2^n (1 + r q(r)) */
static inline real real_exp(real x) {
    const real one = 1;
    int_bits bits, power;
    x = x < EXP_MIN ? EXP_MIN : x;
    x = x > EXP_MAX ? EXP_MAX : x;
    real rounded = x * LOG2E + ROUNDER;
    real n = rounded - ROUNDER;
    real r = (x - n * LN2_HIGH) - n * LN2_LOW;
    real scale; /* 2^n, which is found while the polynomial is */
    memcpy(&power, &rounded, sizeof power);
    memcpy(&bits, &one, sizeof bits);
    bits = (int_bits)((uint_bits)bits + ((uint_bits)power << MANTISSA_BITS));
    memcpy(&scale, &bits, sizeof scale);
    return scale * (1 + r * exp_quotient(r));
}

/* The same, but infinite above the range: of a loss that grows with exp(x), so that a run which has
 * left the range is seen to diverge. */
static inline real growing_exp(real x) { return real_exp(x) + (x > EXP_MAX ? (real)INFINITY : 0); }

/* 1 - exp(-x), x >= 0, without cancellation: (1 - 2^n) - 2^n r q(r) */
static inline real one_minus_exp(real x) {
    const real one = 1;
    int_bits bits, power;
    x = x > -EXP_MIN ? EXP_MIN : -x;
    real rounded = x * LOG2E + ROUNDER;
    real n = rounded - ROUNDER;
    real r = (x - n * LN2_HIGH) - n * LN2_LOW;
    real scale;
    memcpy(&power, &rounded, sizeof power);
    memcpy(&bits, &one, sizeof bits);
    bits = (int_bits)((uint_bits)bits + ((uint_bits)power << MANTISSA_BITS));
    memcpy(&scale, &bits, sizeof scale);
    return (1 - scale) - scale * (r * exp_quotient(r));
}

/* log(1 + u) for u in [0, 1]: 2 atanh(s), s = u / (2 + u) */
static inline real real_log1p(real u) {
    real s = u / (2 + u), v = s * s;
#if REAL_BYTES == 4
    real q = (real)0.9999999999045031 +
             v * ((real)0.33333339513216986 +
                  v * ((real)0.19999355623431164 +
                       v * ((real)0.14310103704219215 +
                            v * ((real)0.10699280253328289 + v * (real)0.12196954042064088))));
#else
    real v2 = v * v, v4 = v2 * v2;
    real q = ((1.0 + v * 0.3333333333333335) +
              v2 * (0.19999999999993542 + v * 0.14285714286771492)) +
             v4 * (((0.11111111023178642 + v * 0.09090913379544845) +
                    v2 * (0.07692175266165055 + v * 0.06669359840354999)) +
                   v4 * (((0.05845815538076995 + v * 0.055895429080722994) +
                          v2 * (0.02933617973421912 + v * 0.10025298049881802)) -
                         v4 * 0.025270184317192954));
#endif
    return 2 * s * q;
}

#undef MANTISSA_BITS
#undef ROUNDER
#undef EXP_MIN
#undef EXP_MAX
#undef LOG2E
#undef LN2_HIGH
#undef LN2_LOW

#endif
