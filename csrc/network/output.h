/* output.h: the last layer of a row. Its scores z become the gradient of the loss in them, which is
 * a - y for every pair of loss and output function; the loss itself is returned.
 */
#ifndef FASTSGD_NETWORK_OUTPUT_H
#define FASTSGD_NETWORK_OUTPUT_H

#include "activation.h"

/* max z + log sum exp(z - max z) - z_y */
static double softmax_output(real *restrict z, const real *y, int64_t outputs, int64_t stride) {
    const int64_t label = (int64_t)y[0];
    const double chosen = (double)z[label];
    real largest = z[0], sum = 0;
    for (int64_t j = 1; j < outputs; ++j) largest = z[j] > largest ? z[j] : largest;
    _Pragma("omp simd") for (int64_t j = 0; j < stride; ++j) z[j] = real_exp(z[j] - largest);
    for (int64_t j = 0; j < outputs; ++j) sum += z[j];
    const real share = 1 / sum;
    for (int64_t j = 0; j < outputs; ++j) z[j] *= share;
    z[label] -= 1;
    return (double)largest + log((double)sum) - chosen;
}

/* max(z, 0) - y z + log(1 + exp(-|z|)) */
static ALWAYS_INLINE double logistic_output(real *z, real y) {
    const real size = *z < 0 ? -*z : *z, part = real_exp(-size);
    const real loss = (*z > 0 ? *z : 0) - y * *z + real_log1p(part);
    *z = (*z > 0 ? 1 : part) / (1 + part) - y;
    return (double)loss;
}

/* exp(z) - y z + y log y - y */
static ALWAYS_INLINE double poisson_output(real *z, real y) {
    const real a = growing_exp(*z);
    const double constant = y > 0 ? (double)y * log((double)y) - (double)y : 0;
    const double loss = (double)a - (double)y * (double)*z + constant;
    *z = a - y;
    return loss;
}

/* z (stride) becomes the gradient of the loss, multiplied by s, with zeros behind the last output;
 * the loss, not multiplied, which is NaN where a score is not finite. */
static double output_row(fsgd_network_loss kind, real *restrict z, const real *y, real s,
                         int64_t outputs, int64_t stride) {
    double loss = 0, strange = 0;
    for (int64_t j = 0; j < outputs; ++j) strange += (double)(z[j] - z[j]);
    if (kind == FSGD_NET_SOFTMAX) {
        loss = softmax_output(z, y, outputs, stride);
    } else {
        for (int64_t j = 0; j < outputs; ++j) {
            if (kind == FSGD_NET_LOG_LOSS) {
                loss += logistic_output(z + j, y[j]);
            } else if (kind == FSGD_NET_POISSON) {
                loss += poisson_output(z + j, y[j]);
            } else {
                z[j] -= y[j];
                loss += 0.5 * (double)z[j] * (double)z[j];
            }
        }
    }
    for (int64_t j = 0; j < outputs; ++j) z[j] *= s;
    for (int64_t j = outputs; j < stride; ++j) z[j] = 0;
    return loss + strange;
}

#endif
