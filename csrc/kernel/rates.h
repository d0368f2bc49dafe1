/* rates.h: the learning rates of an update, one a lane. */

#ifndef FASTSGD_KERNEL_RATES_H
#define FASTSGD_KERNEL_RATES_H

#include "template.h"

#include "../schedule.h"
#include "context.h"

/* Epochs done at a row of the running one, with the fraction in batches; 0 where no rate asks. */
static ALWAYS_INLINE double epochs_at(const context *ctx, int64_t row) {
    const int64_t size = ctx->settings->batch_size, n = ctx->data->epoch_rows;
    if (ctx->settings->schedule.kind < FSGD_STEP) return 0;
    return (double)ctx->state->epoch + (double)(row / size) / (double)((n + size - 1) / size);
}

/* The rate of lane k at its update t and at a position of the epoch, where the schedule's factor is
 * given: any schedule. */
static ALWAYS_INLINE double rate_at(const context *ctx, int64_t k, double t, double factor,
                                    int64_t row) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const fsgd_lanes *lanes = ctx->lanes;
    double eta = 0;
    if (schedule->kind == FSGD_CALLABLE) {
        const fsgd_problem *problem = ctx->problem;
        const int64_t batch = (row - problem->rates_row) / ctx->settings->batch_size;
        eta = factor * problem->rates[batch * lanes->padded + k];
    } else {
        eta = fsgd_rate(schedule, lanes->eta0[k], lanes->mu[k], factor, t - 1);
    }
    return eta * ctx->state->rate_factor[k];
}

/* The first lane that is updated (count > 0); padded if none is. */
static ALWAYS_INLINE int64_t first_updated_lane(const double *count, const int64_t padded) {
    int64_t k = 0;
    while (k < padded && !(count[k] > 0)) ++k;
    return k;
}

/* Whether a rate is the product of a number of the lane, a factor that lanes may share, and what
 * the lane's own updates divide by: a user's schedule and other powers of "inverse" are not. */
static inline int lanes_share_factor(const fsgd_schedule *schedule) {
    return schedule->kind != FSGD_CALLABLE &&
           (schedule->kind != FSGD_INVERSE || schedule->power_t == 0.5 || schedule->power_t == 1);
}

/* Whether that factor depends on the number of the update. */
static inline int factor_counts_updates(const fsgd_schedule *schedule) {
    return schedule->kind == FSGD_INVSCALING || schedule->warmup_steps > 0;
}

/* The number of the update at which all lanes are that are updated (count > 0), each with `done`
 * behind it; 0 if they differ, or none is. */
static ALWAYS_INLINE double common_update(const int64_t padded, const double *restrict count,
                                          const double *restrict done) {
    const int64_t first = first_updated_lane(count, padded);
    int differ = first == padded;
    const double t = differ ? 1 : done[first] + 1;
    _Pragma("omp simd reduction(| : differ)") for (int64_t k = 0; k < padded; ++k)
        differ |= (count[k] > 0) & (done[k] + 1 != t);
    return differ ? 0 : t;
}

/* What a lane's rate is multiplied with after `done` updates of its own. Called with constants: a
 * loop for all schedules would take roots and divide for every one of them. */
static ALWAYS_INLINE double own_factor(double eta0, double mu, double done, const int falls,
                                       const int roots) {
    const double x = 1 + eta0 * mu * done;
    return !falls ? 1.0 : roots ? 1.0 / sqrt(x) : 1.0 / x;
}

/* The rate of a lane after `done` updates of its own. `falls`: 0, 1 of "inverse", 2 of "harmonic".
 */
static ALWAYS_INLINE double lane_rate(double eta0, double mu, double own, double factor,
                                      double done, const int falls, const int roots) {
    if (falls == 2) return fsgd_harmonic_rate(eta0, mu, factor, done) * own;
    return eta0 * factor * own_factor(eta0, mu, done, falls, roots) * own;
}

/* Call a body with what own_factor needs of the schedule as constants. */
#define BY_SCHEDULE(CALL)                                                                          \
    if (ctx->settings->schedule.kind == FSGD_HARMONIC) {                                           \
        CALL(2, 0);                                                                                \
    } else if (ctx->settings->schedule.kind != FSGD_INVERSE) {                                     \
        CALL(0, 0);                                                                                \
    } else if (ctx->settings->schedule.power_t == 0.5) {                                           \
        CALL(1, 1);                                                                                \
    } else {                                                                                       \
        CALL(1, 0);                                                                                \
    }

static ALWAYS_INLINE void rates_of_schedule(context *ctx, const int64_t padded, double factor,
                                            const double *restrict count, double *restrict done,
                                            const int falls, const int roots) {
    const double *restrict eta0 = ctx->lanes->eta0, *restrict mu = ctx->lanes->mu;
    const double *restrict own = ctx->state->rate_factor;
    double *restrict eta = ctx->step.eta;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const double rate = lane_rate(eta0[k], mu[k], own[k], factor, done[k], falls, roots);
        eta[k] = count[k] > 0 ? rate : 0;
        done[k] += count[k] > 0 ? 1.0 : 0.0;
    }
}

/* Rates of the lanes that are updated (count > 0) after e epochs, each with `done` updates behind
 * it, which are counted on; 0 in the others. In loops that vectorise. 0 is returned and nothing
 * changed where lanes share no part of the schedule: it is the user's, a power of a number of their
 * own, or depends on the number of the update and they are at different ones. */
static ALWAYS_INLINE int find_shared_rates(context *ctx, const int64_t padded,
                                           const double *restrict count, double *restrict done,
                                           double e) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    double t = 1;
    if (!lanes_share_factor(schedule)) return 0;
    if (factor_counts_updates(schedule) && (t = common_update(padded, count, done)) == 0) return 0;
    const double factor = fsgd_schedule_factor(schedule, t, e);
#define CALL(FALLS, ROOTS) rates_of_schedule(ctx, padded, factor, count, done, FALLS, ROOTS)
    BY_SCHEDULE(CALL)
#undef CALL
    return 1;
}

/* Count the update of the lanes that have rows (count > 0) in the batch that begins at State's row,
 * and find their rates; eta is 0 in the others. */
static ALWAYS_INLINE void find_rates(context *ctx, const int64_t padded, const double *count) {
    fsgd_state *state = ctx->state;
    const double e = epochs_at(ctx, state->row);
    const int64_t first = first_updated_lane(count, padded);
    double factor = 1, factor_t = -1;
    int found = 0;
    if (padded > 1) {
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
            ctx->step.done[k] = (double)state->t[k];
        found = find_shared_rates(ctx, padded, count, ctx->step.done, e);
    }
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) state->t[k] += count[k] > 0;
    for (int64_t k = 0; !found && k < padded; ++k) {
        const double t = (double)state->t[k];
        ctx->step.eta[k] = 0;
        if (!(count[k] > 0)) continue;
        if (t != factor_t) factor = fsgd_schedule_factor(&ctx->settings->schedule, factor_t = t, e);
        ctx->step.eta[k] = rate_at(ctx, k, t, factor, state->row);
    }
    if (first < padded) ctx->report->eta = ctx->step.eta[first];
}

#endif
