/* update.h: rates and coefficients of an update, intercepts, and truncation by the L1 penalty.
 * Template parameters as in kernel.h.
 */

/* Epochs done at a row of the running one, with the fraction in batches; 0 where no rate asks. */
static ALWAYS_INLINE double NAME(epochs_at)(const NAME(context) *ctx, int64_t row) {
    const int64_t size = ctx->settings->batch_size, n = ctx->data->epoch_rows;
    if (ctx->settings->schedule.kind < FSGD_STEP) return 0;
    return (double)ctx->state->epoch + (double)(row / size) / (double)((n + size - 1) / size);
}

/* The rate of lane k at its update t and at a row of the epoch, `factor` being the schedule's. */
static ALWAYS_INLINE double NAME(rate_at)(const NAME(context) *ctx, int64_t k, double t,
                                          double factor, int64_t row) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const fsgd_lanes *lanes = ctx->lanes;
    double eta = lanes->eta0[k] * factor;
    if (schedule->kind == FSGD_INVERSE) {
        eta *= fsgd_inverse_power(1 + lanes->eta0[k] * lanes->mu[k] * (t - 1), schedule->power_t);
    } else if (schedule->kind == FSGD_CALLABLE) {
        const fsgd_problem *problem = ctx->problem;
        const int64_t batch = (row - problem->rates_row) / ctx->settings->batch_size;
        eta = factor * problem->rates[batch * lanes->padded + k];
    }
    return eta * ctx->state->rate_factor[k];
}

/* The first lane that ticks; padded if none does. */
static ALWAYS_INLINE int64_t NAME(first_ticking)(const double *count, const int64_t padded) {
    int64_t k = 0;
    while (k < padded && !(count[k] > 0)) ++k;
    return k;
}

/* Whether rates are a number of the lane, a factor that lanes may share, and what its own updates
 * divide by: a user's schedule and other powers of "inverse" are not. */
static inline int NAME(shares_factor)(const fsgd_schedule *schedule) {
    return schedule->kind != FSGD_CALLABLE &&
           (schedule->kind != FSGD_INVERSE || schedule->power_t == 0.5 || schedule->power_t == 1);
}

/* Whether that factor depends on the number of the update. */
static inline int NAME(factor_counts)(const fsgd_schedule *schedule) {
    return schedule->kind == FSGD_INVSCALING || schedule->warmup_steps > 0;
}

/* The update that all lanes which tick (count > 0) are at, `done` being behind each; 0 if there is
 * none. */
static ALWAYS_INLINE double NAME(common_update)(const int64_t padded, const double *restrict count,
                                                const double *restrict done) {
    const int64_t one = NAME(first_ticking)(count, padded);
    int differ = one == padded;
    const double t = differ ? 1 : done[one] + 1;
    _Pragma("omp simd reduction(| : differ)") for (int64_t k = 0; k < padded; ++k)
        differ |= (count[k] > 0) & (done[k] + 1 != t);
    return differ ? 0 : t;
}

/* What a lane's rate is multiplied with after `done` updates of its own. Called with constants: a
 * loop for all schedules would take roots and divide for every one of them. */
static ALWAYS_INLINE double NAME(own_factor)(double eta0, double mu, double done, const int falls,
                                             const int roots) {
    const double x = 1 + eta0 * mu * done;
    return !falls ? 1.0 : roots ? 1.0 / sqrt(x) : 1.0 / x;
}

#define BY_SCHEDULE(CALL)                                                                          \
    if (ctx->settings->schedule.kind != FSGD_INVERSE) {                                            \
        CALL(0, 0);                                                                                \
    } else if (ctx->settings->schedule.power_t == 0.5) {                                           \
        CALL(1, 1);                                                                                \
    } else {                                                                                       \
        CALL(1, 0);                                                                                \
    }

static ALWAYS_INLINE void NAME(rates_by)(NAME(context) *ctx, const int64_t padded, double factor,
                                         const double *restrict count, double *restrict done,
                                         const int falls, const int roots) {
    const double *restrict eta0 = ctx->lanes->eta0, *restrict mu = ctx->lanes->mu;
    const double *restrict own = ctx->state->rate_factor;
    double *restrict eta = ctx->eta;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const double rate = eta0[k] * factor *
                            NAME(own_factor)(eta0[k], mu[k], done[k], falls, roots);
        eta[k] = count[k] > 0 ? rate * own[k] : 0;
        done[k] += count[k] > 0 ? 1.0 : 0.0;
    }
}

/* Rates of the lanes that tick (count > 0) after e epochs, each of which has done its `done`
 * updates; 0 in the others. Counts the update. In loops that vectorise. 0 is returned and nothing
 * changed where lanes share no part of the schedule: it is the user's, a power of a number of their
 * own, or depends on the update and they are at different ones. */
static ALWAYS_INLINE int NAME(rates)(NAME(context) *ctx, const int64_t padded,
                                     const double *restrict count, double *restrict done,
                                     double e) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    double t = 1;
    if (!NAME(shares_factor)(schedule)) return 0;
    if (NAME(factor_counts)(schedule) && !(t = NAME(common_update)(padded, count, done))) return 0;
    const double factor = fsgd_schedule_factor(schedule, t, e);
#define CALL(FALLS, ROOTS) NAME(rates_by)(ctx, padded, factor, count, done, FALLS, ROOTS)
    BY_SCHEDULE(CALL)
#undef CALL
    return 1;
}

/* Tick the lanes that have rows (count > 0) in the batch that begins at State's row, and find their
 * rates; eta is 0 in the others. */
static ALWAYS_INLINE void NAME(tick)(NAME(context) *ctx, const int64_t padded,
                                     const double *count) {
    fsgd_state *state = ctx->state;
    const double e = NAME(epochs_at)(ctx, state->row);
    const int64_t one = NAME(first_ticking)(count, padded);
    double factor = 1, factor_t = -1;
    int found = 0;
    if (padded > 1) {
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) ctx->done[k] = (double)state->t[k];
        found = NAME(rates)(ctx, padded, count, ctx->done, e);
    }
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) state->t[k] += count[k] > 0;
    for (int64_t k = 0; !found && k < padded; ++k) {
        const double t = (double)state->t[k];
        ctx->eta[k] = 0;
        if (!(count[k] > 0)) continue;
        if (t != factor_t) factor = fsgd_schedule_factor(&ctx->settings->schedule, factor_t = t, e);
        ctx->eta[k] = NAME(rate_at)(ctx, k, t, factor, state->row);
    }
    if (one < padded) ctx->report->eta = ctx->eta[one];
}

/* Multiply the stored weights, and what is in flight to them, by their scales, which become 1. */
static void NAME(unscale)(NAME(context) *ctx) {
    fsgd_state *state = ctx->state;
    for (int64_t j = 0; j < state->d; ++j) {
        REAL *w = (REAL *)state->w + j * state->feature_stride;
        for (int64_t k = 0; k < state->padded; ++k) w[k] = (REAL)((double)w[k] * state->scale[k]);
    }
    for (int64_t r = 0; r < NAME(in_flight); ++r) {
        REAL *a = ctx->flight + r * state->padded;
        for (int64_t k = 0; k < state->padded; ++k) a[k] = (REAL)((double)a[k] * state->scale[k]);
    }
    for (int64_t k = 0; k < state->padded; ++k) state->scale[k] = 1;
    ctx->report->work += state->d;
}

/* width 1: the L2 penalty goes into the scale, w = scale * stored; stored += p g. */
static ALWAYS_INLINE void NAME(plan_scaled)(NAME(context) *ctx, const int64_t padded,
                                            const double *restrict count) {
    const double *restrict eta = ctx->eta, *restrict alpha = ctx->lanes->alpha;
    double *restrict scale = ctx->state->scale;
    REAL *restrict p = ctx->p, *restrict p0 = ctx->p0;
    int renormalise = 0, clipped = 0;
    _Pragma("omp simd reduction(| : renormalise, clipped)") for (int64_t k = 0; k < padded; ++k) {
        const double decay = 1 - eta[k] * alpha[k];
        clipped |= decay <= 0;
        scale[k] *= decay > 0 ? decay : 0;
        renormalise |= scale[k] < 1e-9;
    }
    ctx->report->clipped |= clipped;
    if (__builtin_expect(renormalise, 0)) NAME(unscale)(ctx);
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const double rate = -eta[k] / (count[k] > 0 ? count[k] : 1);
        p0[k] = (REAL)rate;
        p[k] = (REAL)(rate / scale[k]);
    }
}

/* width 2 and 3, and with L1: u += D u + p g with u = (w, [v], [q]); D0 is D without the penalty.
 */
static ALWAYS_INLINE void NAME(plan_linear)(NAME(context) *ctx, const int64_t padded,
                                            const int width, const double *count) {
    const fsgd_settings *settings = ctx->settings;
    const double beta = settings->momentum;
    const int has_v = beta > 0, has_q = settings->average > 0, q = width - 1;
    for (int64_t k = 0; k < padded; ++k) {
        double D[3][3] = {{0}}, D0[3][3] = {{0}}, p[3] = {0};
        const double eta = ctx->eta[k], alpha = ctx->lanes->alpha[k];
        const double ticks = count[k] > 0, m = ticks > 0 ? count[k] : 1;
        if (has_v) {
            const double direct = settings->nesterov ? eta * (1 + beta) : eta;
            D0[0][1] = D[0][1] = -eta * beta * (settings->nesterov ? beta : 1);
            D0[1][1] = D[1][1] = ticks * (beta - 1);
            D[0][0] = -direct * alpha;
            D[1][0] = ticks * alpha;
            p[0] = -direct / m;
            p[1] = ticks / m;
        } else {
            D[0][0] = eta * alpha < 1 ? -eta * alpha : -1;
            ctx->report->clipped |= eta * alpha >= 1;
            p[0] = -eta / m;
        }
        if (has_q) { /* q = N (a - w): what w gains, q loses N times */
            double N = (double)(ctx->state->t[k] - settings->average);
            N = N > 0 ? N : 0;
            for (int b = 0; b < q; ++b) D[q][b] = -N * D[0][b], D0[q][b] = -N * D0[0][b];
            p[q] = -N * p[0];
        }
        for (int a = 0; a < width; ++a) {
            ctx->p[a * padded + k] = ctx->p0[a * padded + k] = (REAL)p[a];
            for (int b = 0; b < width; ++b) {
                ctx->D[(a * width + b) * padded + k] = (REAL)D[a][b];
                ctx->D0[(a * width + b) * padded + k] = (REAL)D0[a][b];
            }
        }
    }
}

/* Called with constants where a step is short; NAME(plan_lanes) is the one for many lanes. */
static ALWAYS_INLINE void NAME(plan)(NAME(context) *ctx, const int64_t padded, const int width,
                                     const double *count) {
    NAME(tick)(ctx, padded, count);
    if (width == 1 && !ctx->l1)
        NAME(plan_scaled)(ctx, padded, count);
    else
        NAME(plan_linear)(ctx, padded, width, count);
    for (int64_t k = 0; ctx->l1 && k < padded; ++k) {
        ctx->state->l1_total[k] += ctx->eta[k] * ctx->lanes->l1[k];
        ctx->u[k] = (REAL)ctx->state->l1_total[k];
    }
}

static void NAME(plan_lanes)(NAME(context) *ctx, const double *count) {
    NAME(plan)(ctx, ctx->lanes->padded, (int)ctx->state->width, count);
}

/* Intercepts: u += D0 u + p0 g with g (padded) the sum of slopes, and pull for each of `count`. */
static ALWAYS_INLINE void NAME(update_intercept)(NAME(context) *ctx, const int64_t padded,
                                                 const int width, const REAL *g,
                                                 const double *count) {
    REAL *u = ctx->state->intercept;
    if (!ctx->settings->fit_intercept) return;
    if (width == 1 && padded > 1) {
        const REAL *restrict p0 = ctx->p0;
        const double *restrict pull = ctx->lanes->pull;
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
            u[k] += p0[k] * (g[k] + (REAL)(count[k] * pull[k]));
        return;
    }
    for (int64_t k = 0; k < padded; ++k) {
        REAL change[NAME(max_width)];
        const REAL sum = g[k] + (REAL)(count[k] * ctx->lanes->pull[k]);
        for (int a = 0; a < width; ++a) {
            change[a] = ctx->p0[a * padded + k] * sum;
            for (int b = 0; width > 1 && b < width; ++b)
                change[a] += ctx->D0[(a * width + b) * padded + k] * u[b * padded + k];
        }
        for (int a = 0; a < width; ++a) u[a * padded + k] += change[a];
    }
}

static void NAME(update_intercepts)(NAME(context) *ctx, const REAL *g, const double *count) {
    NAME(update_intercept)(ctx, ctx->lanes->padded, (int)ctx->state->width, g, count);
}

/* ------------------------------------------------------------------ the L1 penalty */

/* a with the sign of b */
static ALWAYS_INLINE REAL NAME(signed_as)(REAL a, REAL b) {
    return sizeof(REAL) == 4 ? (REAL)__builtin_copysignf((float)a, (float)b)
                             : (REAL)__builtin_copysign((double)a, (double)b);
}

/* Truncate a weight that has received `paid` of the penalty u, and count what it has received then.
 * Twice changes nothing more than once, to the bit. There are no branches: their outcome is chance,
 * and they cost a factor 4 on CSR. */
static ALWAYS_INLINE void NAME(truncate)(REAL *w, REAL *paid, REAL u) {
    const REAL sign = NAME(signed_as)(1, *w), size = sign * *w, got = sign * *paid;
    REAL left = size - (u + got);
    left = left > 0 ? left : 0;
    left = left < size ? left : size; /* never away from 0, whatever rounding makes of u + got */
    const REAL all = -u, more = got - size;
    NAME(ubits) bits_all, bits_more, alive = (NAME(ubits))0 - (NAME(ubits))(left > 0);
    memcpy(&bits_all, &all, sizeof all);
    memcpy(&bits_more, &more, sizeof more);
    bits_all = (bits_all & alive) | (bits_more & ~alive);
    REAL then;
    memcpy(&then, &bits_all, sizeof then);
    *w = sign * left;
    *paid = sign * then;
}

/* Truncate a feature of all lanes, w and paid (padded); w is no part of an average. */
static ALWAYS_INLINE void NAME(truncate_late)(const REAL *u, int64_t padded, REAL *w, REAL *paid) {
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        REAL weight = w[k], received = paid[k];
        NAME(truncate)(&weight, &received, u[k]);
        w[k] = weight, paid[k] = received;
    }
}

/* All truncations that wait. */
static void NAME(truncate_all)(NAME(context) *ctx) {
    fsgd_state *state = ctx->state;
    for (int64_t j = 0; j < state->d; ++j) {
        REAL *w = (REAL *)state->w + j * state->feature_stride;
        NAME(truncate_late)(ctx->u, state->padded, w, w + state->width * state->vector_stride);
    }
    state->pending = 0;
    ctx->report->work += state->d;
}
