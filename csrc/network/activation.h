/* activation.h: the functions of the hidden layers, and their derivatives by what they returned. */
#ifndef FASTSGD_NETWORK_ACTIVATION_H
#define FASTSGD_NETWORK_ACTIVATION_H

#include "../kernel/vmath.h"
#include "../network.h"

static ALWAYS_INLINE real real_logistic(real z) { return 1 / (1 + real_exp(-z)); }

/* (1 - e) / (1 + e) with e = exp(-2 |z|) */
static ALWAYS_INLINE real real_tanh(real z) {
    const real size = z < 0 ? -z : z, part = one_minus_exp(2 * size), t = part / (2 - part);
    return z < 0 ? -t : t;
}

/* a = f(a) for n numbers; a NaN stays one. */
static void activate(fsgd_activation kind, real *restrict a, int64_t n) {
    switch (kind) {
    case FSGD_IDENTITY: break;
    case FSGD_LOGISTIC:
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) a[j] = real_logistic(a[j]);
        break;
    case FSGD_TANH:
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) a[j] = real_tanh(a[j]);
        break;
    case FSGD_RELU:
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) a[j] = a[j] < 0 ? 0 : a[j];
        break;
    }
}

/* delta *= f'(z), where a = f(z), for n numbers. */
static void times_derivative(fsgd_activation kind, const real *restrict a, real *restrict delta,
                             int64_t n) {
    switch (kind) {
    case FSGD_IDENTITY: break;
    case FSGD_LOGISTIC:
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) delta[j] *= a[j] * (1 - a[j]);
        break;
    case FSGD_TANH:
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) delta[j] *= 1 - a[j] * a[j];
        break;
    case FSGD_RELU:
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) delta[j] = a[j] > 0 ? delta[j] : 0;
        break;
    }
}

#endif
