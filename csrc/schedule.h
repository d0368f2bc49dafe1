/* schedule.h: learning rates. src/fastsgd/schedules.py has the same formulas.
 *
 *     t   number of the lane's update, from 1
 *     e   epochs done, with the fraction of the running one
 *
 *     constant      eta0
 *     inverse       eta0 / (1 + eta0 mu (t - 1))^power_t
 *     invscaling    eta0 / t^power_t
 *     step          eta0 decay^floor(e / step_epochs)
 *     exponential   eta0 decay^e
 *     cosine        eta0 (1 + cos(pi min(1, e / total_epochs))) / 2
 *
 * each times min(1, t / warmup_steps) while warming up.
 */
#ifndef FASTSGD_SCHEDULE_H
#define FASTSGD_SCHEDULE_H

#include <math.h>

#include "fastsgd.h"

/* x^-power, without the call for the two powers that matter: it costs 20 ns, a step of d = 28
 * fifty. */
static inline double fsgd_inverse_power(double x, double power) {
    return power == 1.0 ? 1.0 / x : power == 0.5 ? 1.0 / sqrt(x) : pow(x, -power);
}

/* The part of a rate that all lanes at update t share: eta = eta0 * factor, but for "inverse". */
static inline double fsgd_schedule_factor(const fsgd_schedule *s, double t, double e) {
    double factor = 1.0;
    switch (s->kind) {
    case FSGD_CONSTANT:
    case FSGD_INVERSE: break;
    case FSGD_INVSCALING: factor = fsgd_inverse_power(t, s->power_t); break;
    case FSGD_STEP: factor = pow(s->decay, floor(e / s->step_epochs)); break;
    case FSGD_EXPONENTIAL: factor = pow(s->decay, e); break;
    case FSGD_COSINE:
        factor = 0.5 * (1.0 + cos(3.141592653589793 * fmin(1.0, e / s->total_epochs)));
        break;
    }
    return t < s->warmup_steps ? factor * (t / s->warmup_steps) : factor;
}

#endif
