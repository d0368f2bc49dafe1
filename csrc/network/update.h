/* update.h: a step of the optimizer for parameters that lie side by side (optimizers.SGD, Adam).
 *
 *     SGD        w = max(0, 1 - eta alpha) w - eta g
 *     momentum   v = beta v + g + alpha w,  w = w - eta v     (Nesterov: w - eta (g + alpha w +
 * beta v)) Adam       m = b1 m + (1 - b1) g,  s = b2 s + (1 - b2) g^2,  w = w - eta m / (sqrt(s) +
 * epsilon)
 *
 * with alpha w in Adam's g, and its correction in eta. An average a of the weights follows them:
 * a = a + (w - a) / N after the N-th of its updates.
 */
#ifndef FASTSGD_NETWORK_UPDATE_H
#define FASTSGD_NETWORK_UPDATE_H

#include "../kernel/template.h"
#include "../network.h"

/* The constants of a step. */
typedef struct {
    fsgd_rule kind;
    int momentum, nesterov;
    real eta, beta;                               /* SGD */
    real beta_1, rest_1, beta_2, rest_2, epsilon; /* Adam; rest: 1 - beta */
    real averaged;                                /* 1 / N, or 0 */
    int64_t length;  /* from a parameter to its first slot, and so on */
    int64_t average; /* number of the vector that holds averages */
} step_constants;

/* One step of n parameters w whose gradients of the loss are part * g; alpha is 0 for intercepts.
 */
static ALWAYS_INLINE void update_span(const step_constants *s, real part, real alpha,
                                      real *restrict w, const real *restrict g, int64_t n) {
    real *restrict first = w + s->length, *restrict second = first + s->length;
    if (s->kind == FSGD_RULE_ADAM) {
        const real b1 = s->beta_1, r1 = s->rest_1, b2 = s->beta_2, r2 = s->rest_2;
        const real eta = s->eta, epsilon = s->epsilon;
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) {
            const real slope = part * g[j] + alpha * w[j];
            const real mean = b1 * first[j] + r1 * slope;
            const real square = b2 * second[j] + r2 * (slope * slope);
            first[j] = mean;
            second[j] = square;
#if REAL_BYTES == 4
            w[j] -= eta * mean / (sqrtf(square) + epsilon);
#else
            w[j] -= eta * mean / (sqrt(square) + epsilon);
#endif
        }
    } else if (s->momentum) {
        const real eta = s->eta, beta = s->beta;
        const real of_slope = s->nesterov ? 1 : 0, of_velocity = s->nesterov ? beta : 1;
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) {
            const real slope = part * g[j] + alpha * w[j], v = beta * first[j] + slope;
            first[j] = v;
            w[j] -= eta * (of_slope * slope + of_velocity * v);
        }
    } else {
        const real eta = s->eta, shrunk = 1 - eta * alpha, keeps = shrunk > 0 ? shrunk : 0;
        const real moves = eta * part;
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) w[j] = keeps * w[j] - moves * g[j];
    }
    if (s->averaged > 0) {
        real *restrict average = w + s->average * s->length;
        const real share = s->averaged;
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j)
            average[j] += share * (w[j] - average[j]);
    }
}

#endif
