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
 *     cosine        eta0 (f + (1 - f) (1 + cos(pi x)) / 2)
 *     polynomial    eta0 (f + (1 - f) (1 - x)^power)
 *     one_cycle     from eta0 / 25 up to eta0 at x = rise, then down to eta0 / 250,000, by half
 *                   cosines
 *     harmonic      eta0 u^2 where mu = 0, else 1 / (1 / (eta0 u) + mu (t - 1)), u = 1 - x
 *     callable      given
 *
 * with x = min(1, e / total_epochs) and f = final, each times min(1, t / warmup_steps) while
 * warming up; of "harmonic" u is. A quotient e / step_epochs that is whole but for rounding is
 * whole: 0.3 / 0.1 is 3.
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

/* From 1 at x = 0 to 0 at x = 1 */
static inline double fsgd_half_cosine(double x) { return 0.5 * (1.0 + cos(3.141592653589793 * x)); }

static inline double fsgd_one_cycle(double x, double rise) {
    if (x < rise) return 1.0 + (1.0 / 25.0 - 1.0) * fsgd_half_cosine(x / rise);
    return 4e-6 + (1.0 - 4e-6) * fsgd_half_cosine((x - rise) / (1.0 - rise));
}

/* Drops that are due after e epochs, one in `each`. e, each and e / each are rounded, 2^-51 of the
 * quotient together at most. */
static inline double fsgd_drops(double e, double each) { return floor(e / each * (1.0 + 0x1p-50)); }

/* The factor of the kinds that have one, without warm-up. A call, since most of it is rare. */
static __attribute__((noinline)) double fsgd_kind_factor(const fsgd_schedule *s, double t,
                                                         double e) {
    switch (s->kind) {
    case FSGD_INVSCALING: return fsgd_inverse_power(t, s->power_t);
    case FSGD_STEP: return pow(s->decay, fsgd_drops(e, s->step_epochs));
    case FSGD_EXPONENTIAL: return pow(s->decay, e);
    case FSGD_COSINE:
        return s->final + (1.0 - s->final) * fsgd_half_cosine(fmin(1.0, e / s->total_epochs));
    case FSGD_POLYNOMIAL:
        return s->final + (1.0 - s->final) * pow(1.0 - fmin(1.0, e / s->total_epochs), s->power);
    case FSGD_ONE_CYCLE: return fsgd_one_cycle(fmin(1.0, e / s->total_epochs), s->rise);
    case FSGD_HARMONIC: return 1.0 - fmin(1.0, e / s->total_epochs);
    default: return 1.0;
    }
}

/* The part of a rate that all lanes at update t share: eta = eta0 * factor, but for "inverse" and
 * "harmonic". */
static inline double fsgd_schedule_factor(const fsgd_schedule *s, double t, double e) {
    const int none = s->kind <= FSGD_INVERSE || s->kind == FSGD_CALLABLE;
    const double factor = none ? 1.0 : fsgd_kind_factor(s, t, e);
    return t < s->warmup_steps ? factor * (t / s->warmup_steps) : factor;
}

/* "harmonic": of a lane without mu the square of the factor, else the harmonic sum of two rates. */
static inline double fsgd_harmonic_rate(double eta0, double mu, double factor, double done) {
    const double eta = eta0 * factor;
    return mu > 0 ? eta / (1 + eta * mu * done) : eta0 * (factor * factor);
}

/* The rate after `done` updates, where the schedule's factor is given: any schedule but a user's.
 */
static inline double fsgd_rate(const fsgd_schedule *s, double eta0, double mu, double factor,
                               double done) {
    if (s->kind == FSGD_INVERSE)
        return eta0 * factor * fsgd_inverse_power(1 + eta0 * mu * done, s->power_t);
    if (s->kind == FSGD_HARMONIC) return fsgd_harmonic_rate(eta0, mu, factor, done);
    return eta0 * factor;
}

#endif
