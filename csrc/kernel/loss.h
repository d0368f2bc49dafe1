/* loss.h: the losses, each a value and a derivative in the score z under its formula.
 *
 * The list is that of fsgd_loss and src/fastsgd/losses.py; e is
 * the loss's parameter. To add one: a value, a slope, a line in FSGD_EACH_LOSS, a line in loss.c,
 * and its twin. The softmax couples the lanes of a row and a user's loss is called over arrays:
 * they stand below the others.
 */
#ifndef FASTSGD_KERNEL_LOSS_H
#define FASTSGD_KERNEL_LOSS_H

#include "template.h"

#include "../fastsgd.h"
#include "vmath.h"

/* A row's loss from its score alone: F(KIND, name). Squared error is the default of the switches.
 */
#define FSGD_EACH_LOSS(F)                                                                          \
    F(FSGD_LOG_LOSS, log_loss)                                                                     \
    F(FSGD_HINGE, hinge)                                                                           \
    F(FSGD_LINEAR, linear)                                                                         \
    F(FSGD_SQUARED_HINGE, squared_hinge)                                                           \
    F(FSGD_PERCEPTRON, perceptron)                                                                 \
    F(FSGD_MODIFIED_HUBER, modified_huber)                                                         \
    F(FSGD_HUBER, huber)                                                                           \
    F(FSGD_EPSILON_INSENSITIVE, epsilon_insensitive)                                               \
    F(FSGD_SQUARED_EPSILON_INSENSITIVE, squared_epsilon_insensitive)                               \
    F(FSGD_QUANTILE, quantile)                                                                     \
    F(FSGD_POISSON, poisson)

static inline real real_abs(real x) { return x < 0 ? -x : x; }

/* (z - y)^2 / 2 */
static inline real squared_error_value(real z, real y, real e) {
    return (void)e, (real)0.5 * (z - y) * (z - y);
}
static inline real squared_error_slope(real z, real y, real e) { return (void)e, z - y; }

/* log(1 + exp(-y z)), as max(0, -y z) + log1p(exp(-|y z|)), which does not overflow */
static inline real log_loss_value(real z, real y, real e) {
    real margin = y * z;
    return (void)e, (margin < 0 ? -margin : 0) + real_log1p(real_exp(-real_abs(margin)));
}
/* -y / (1 + exp(y z)) */
static inline real log_loss_slope(real z, real y, real e) {
    return (void)e, -y / (1 + real_exp(y * z));
}

/* max(0, 1 - y z); slope -y where y z <= 1 */
static inline real hinge_value(real z, real y, real e) {
    real gap = 1 - y * z;
    return (void)e, gap > 0 ? gap : 0;
}
static inline real hinge_slope(real z, real y, real e) { return (void)e, y * z <= 1 ? -y : 0; }

/* y - z */
static inline real linear_value(real z, real y, real e) { return (void)e, y - z; }
static inline real linear_slope(real z, real y, real e) {
    return (void)z, (void)y, (void)e, (real)-1;
}

/* max(0, 1 - y z)^2; slope -2 y max(0, 1 - y z) */
static inline real squared_hinge_value(real z, real y, real e) {
    real gap = hinge_value(z, y, e);
    return gap * gap;
}
static inline real squared_hinge_slope(real z, real y, real e) {
    return -2 * y * hinge_value(z, y, e);
}

/* max(0, -y z); slope -y where y z <= 0 */
static inline real perceptron_value(real z, real y, real e) {
    return (void)e, y * z < 0 ? -y * z : 0;
}
static inline real perceptron_slope(real z, real y, real e) { return (void)e, y * z <= 0 ? -y : 0; }

/* max(0, 1 - y z)^2 where y z >= -1, else -4 y z; slope -2 y max(0, 1 - y z), at most 4 in size */
static inline real modified_huber_value(real z, real y, real e) {
    real gap = hinge_value(z, y, e);
    return y * z >= -1 ? gap * gap : -4 * y * z;
}
static inline real modified_huber_slope(real z, real y, real e) {
    real gap = hinge_value(z, y, e);
    return -2 * y * (gap < 2 ? gap : 2);
}

/* r^2 / 2 where |r| <= e, else e |r| - e^2 / 2, r = z - y; slope r, at most e in size */
static inline real huber_value(real z, real y, real e) {
    real size = real_abs(z - y);
    return size <= e ? (real)0.5 * size * size : e * size - (real)0.5 * e * e;
}
static inline real huber_slope(real z, real y, real e) {
    real r = z - y;
    r = r > e ? e : r;
    return r < -e ? -e : r;
}

/* max(0, |z - y| - e); slope sign(z - y) where |z - y| > e */
static inline real epsilon_insensitive_value(real z, real y, real e) {
    real excess = real_abs(z - y) - e;
    return excess > 0 ? excess : 0;
}
static inline real epsilon_insensitive_slope(real z, real y, real e) {
    real r = z - y;
    return real_abs(r) > e ? (real)(r > 0) - (real)(r < 0) : 0;
}

/* max(0, |z - y| - e)^2; slope 2 sign(z - y) max(0, |z - y| - e) */
static inline real squared_epsilon_insensitive_value(real z, real y, real e) {
    real excess = epsilon_insensitive_value(z, y, e);
    return excess * excess;
}
static inline real squared_epsilon_insensitive_slope(real z, real y, real e) {
    real excess = epsilon_insensitive_value(z, y, e);
    return z > y ? 2 * excess : -2 * excess;
}

/* e (y - z) where y > z, else (1 - e) (z - y); slope -e, 1 - e, and 0 where they meet */
static inline real quantile_value(real z, real y, real e) {
    return y > z ? e * (y - z) : (1 - e) * (z - y);
}
static inline real quantile_slope(real z, real y, real e) { return y > z ? -e : y < z ? 1 - e : 0; }

/* exp(z) - y z; slope exp(z) - y */
static inline real poisson_value(real z, real y, real e) { return (void)e, growing_exp(z) - y * z; }
static inline real poisson_slope(real z, real y, real e) { return (void)e, growing_exp(z) - y; }

/* ------------------------------------------------------------------ over arrays */

/* A user's function over (m) elements, in double, 64 at a time. */
static void call_user_loss(fsgd_loss_function f, int64_t m, const real *z, const real *y,
                           const real *s, real *out) {
    double z64[64], y64[64], out64[64];
    for (int64_t i = 0; i < m; i += 64) {
        const int64_t count = m - i < 64 ? m - i : 64;
        for (int64_t j = 0; j < count; ++j) {
            z64[j] = (double)z[i + j], y64[j] = (double)y[i + j];
            out64[j] = NAN; /* a function that fails to write has diverged */
        }
        f(z64, y64, out64, count);
        for (int64_t j = 0; j < count; ++j)
            out[i + j] = s[i + j] > 0 ? s[i + j] * (real)out64[j] : 0;
    }
}

/* The slope at one score, of an uncoupled loss. */
static inline real loss_slope(const fsgd_loss_spec *loss, real z, real y) {
    const real e = (real)loss->parameter;
    switch (loss->kind) {
#define CASE(KIND, F)                                                                              \
    case KIND: return F##_slope(z, y, e);
        FSGD_EACH_LOSS(CASE)
#undef CASE
    case FSGD_COMPILED: {
        const double z64 = (double)z, y64 = (double)y;
        double out = NAN;
        loss->slope(&z64, &y64, &out, 1);
        return (real)out;
    }
    default: return squared_error_slope(z, y, e);
    }
}

/* out_i = s_i f(z_i, y_i), zero where s_i = 0; all arrays (m). Of an uncoupled loss. */
#define EACH(F)                                                                                    \
    do {                                                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < m; ++i) {                                      \
            real f = F(z[i], y[i], e);                                                             \
            out[i] = s[i] > 0 ? s[i] * f : 0;                                                      \
        }                                                                                          \
    } while (0)

static void loss_slopes(const fsgd_loss_spec *loss, int64_t m, const real *z, const real *y,
                        const real *s, real *restrict out) {
    const real e = (real)loss->parameter;
    switch (loss->kind) {
#define CASE(KIND, F)                                                                              \
    case KIND: EACH(F##_slope); break;
        FSGD_EACH_LOSS(CASE)
#undef CASE
    case FSGD_COMPILED: call_user_loss(loss->slope, m, z, y, s, out); break;
    default: EACH(squared_error_slope); break;
    }
}

static void loss_values(const fsgd_loss_spec *loss, int64_t m, const real *z, const real *y,
                        const real *s, real *restrict out) {
    const real e = (real)loss->parameter;
    switch (loss->kind) {
#define CASE(KIND, F)                                                                              \
    case KIND: EACH(F##_value); break;
        FSGD_EACH_LOSS(CASE)
#undef CASE
    case FSGD_COMPILED: call_user_loss(loss->value, m, z, y, s, out); break;
    default: EACH(squared_error_value); break;
    }
}
#undef EACH

/* The softmax of m rows of lanes (m, padded): values s log(sum_k exp(z_k) / exp(z_c)), c the lane
 * where y is +1, the same in every lane; slopes s (exp(z_k) / sum_j exp(z_j) - (1 in lane c)).
 * Lanes of weight zero take no part. Either output may be NULL; `values` may be z. */
static void softmax(int64_t m, int64_t padded, const real *z, const real *y, const real *s,
                    real *values, real *slopes) {
    for (int64_t r = 0; r < m; ++r, z += padded, y += padded, s += padded) {
        real top = -INFINITY, own = 0, sum = 0;
        _Pragma("omp simd reduction(max : top)") for (int64_t k = 0; k < padded; ++k) {
            const real score = s[k] > 0 ? z[k] : -INFINITY;
            top = score > top ? score : top;
        }
        _Pragma("omp simd reduction(+ : own, sum)") for (int64_t k = 0; k < padded; ++k) {
            const real part = real_exp(z[k] - top), counted = s[k] > 0 ? part : 0;
            own += ((s[k] > 0) & (y[k] > 0)) ? z[k] : 0;
            sum += counted;
            if (slopes) slopes[k] = counted;
        }
        const real value = (top - own) + (real)log((double)sum), by = 1 / sum;
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
            const real slope = slopes ? s[k] * (slopes[k] * by - (y[k] > 0 ? 1 : 0)) : 0;
            if (slopes) slopes[k] = s[k] > 0 ? slope : 0;
            if (values) values[k] = s[k] > 0 ? s[k] * value : 0;
        }
        values = values ? values + padded : NULL;
        slopes = slopes ? slopes + padded : NULL;
    }
}

#endif
