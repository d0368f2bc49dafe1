/* optimizer.h: what a weight carries, the coefficients of an update, and how it is applied.
 *
 * Optimizers whose step is not linear are adaptive.h's. Those here are linear: a weight carries a
 * vector u of `width` numbers, its slots,
 *
 *     u = (w, [v], [q])       the weight; with momentum, v; with averaging, q = N (a - w)
 *     u <- u + D u + p g      one update, g being the gradient of the loss in w
 *
 * with D (width, width) and p (width) the coefficients of the lane and the update, which plan_step
 * finds. With momentum a CSR row's step goes over its own features alone (spans.h). Without
 * momentum and L1 a step needs no D: scalars of the lane change instead,
 *
 *     w = scale * stored,   q = stored_q + shift * stored        scale *= 1 - eta alpha,
 *                                                                shift += N (scale before - after)
 *
 * so that features without a gradient stay as they are stored, averages or not (the averaged SGD of
 * Xu, 2011, section 4, for any schedule and any start).
 *
 * It is applied to intercepts below, along the features of one lane in one_lane/features.h
 * (update_dense, add_csr, and in blocks pass_over_weights), and along the lanes in lanes/update.h
 * (update_tile, and with an L1 penalty l1_step).
 */

#ifndef FASTSGD_KERNEL_OPTIMIZER_H
#define FASTSGD_KERNEL_OPTIMIZER_H

#include "adaptive.h"
#include "rates.h"
#include "spans.h"

enum { max_width = 3 };

/* A scale below this is multiplied into the stored weights: before it underflows, and with averages
 * before shift * stored is more than about twice as large as q, when rounding would show. */
static ALWAYS_INLINE double least_scale(const int width) { return width > 1 ? 0.25 : 1e-9; }

/* Multiply the stored weights of lanes whose scale is below `limit`, and steps on their way to
 * them, by the scales, which become 1; the shifts of averages become 0. */
static void apply_scales(context *ctx, double limit) {
    fsgd_state *state = ctx->state;
    const int64_t q = (state->width - 1) * state->vector_stride, padded = state->padded;
    double *scale = ctx->step.scale, *shift = ctx->step.shift;
    for (int64_t k = 0; k < padded; ++k) {
        const int applies = state->scale[k] < limit;
        scale[k] = applies ? state->scale[k] : 1, shift[k] = applies ? state->average_shift[k] : 0;
        if (applies) state->scale[k] = 1, state->average_shift[k] = 0;
    }
    state->rescales += 1;
    for (int64_t j = 0; j < state->d; ++j) {
        real *w = (real *)state->w + j * state->feature_stride;
        for (int64_t k = 0; q > 0 && k < padded; ++k)
            w[q + k] = (real)((double)w[q + k] + (double)w[k] * shift[k]);
        for (int64_t k = 0; k < padded; ++k) w[k] = (real)((double)w[k] * scale[k]);
    }
    for (int64_t r = 0; r < max_in_flight; ++r) {
        real *a = ctx->block.in_flight + r * padded;
        for (int64_t k = 0; k < padded; ++k) a[k] = (real)((double)a[k] * scale[k]);
    }
    ctx->report->work += state->d * state->width;
}

/* One plain step of a lane, in the units of stored weights. */
typedef struct {
    double scale; /* after it */
    real p, p0;   /* stored += p g, intercept += p0 g; g is the sum over `count` rows */
} plain_step;

static ALWAYS_INLINE plain_step plan_plain(double eta, double decay, double scale, double count) {
    const double after = scale * decay, rate = -eta / count;
    return (plain_step){after, (real)(rate / after), (real)rate};
}

/* Weights in the average of a lane before its update. */
static ALWAYS_INLINE double averaged_before(const context *ctx, int64_t k) {
    const int64_t start = ctx->settings->average, t = ctx->state->t[k];
    return t > start ? (double)(t - start) : 0;
}

/* How the averages of all lanes follow the steps of plan_scaled: q of the intercept takes -N p0 g,
 * and the stored q of features -(N scale + shift) p g. */
static ALWAYS_INLINE void plan_averages(context *ctx, const int64_t padded) {
    const real *restrict p = ctx->step.p, *restrict p0 = ctx->step.p0;
    real *restrict q = ctx->step.p + padded, *restrict q0 = ctx->step.p0 + padded;
    for (int64_t k = 0; k < padded; ++k) {
        const double N = averaged_before(ctx, k);
        q[k] = (real)(-(N * ctx->state->scale[k] + ctx->state->average_shift[k]) * (double)p[k]);
        q0[k] = (real)(-N * (double)p0[k]);
    }
}

/* The steps of intercepts take their part of the learning rate; w of D0 and p0, which v is not. */
static ALWAYS_INLINE void scale_intercept_steps(context *ctx, const int64_t padded) {
    const double *restrict part = ctx->lanes->intercept_rate;
    real *restrict p0 = ctx->step.p0;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) p0[k] *= (real)part[k];
}

/* The steps of all lanes without momentum and L1: decay by L2 goes into the scales, which are
 * multiplied into the weights before they underflow. */
static ALWAYS_INLINE void plan_scaled(context *ctx, const int64_t padded, const int width,
                                      const double *restrict count) {
    const double *restrict eta = ctx->step.eta, *restrict alpha = ctx->lanes->alpha;
    double *restrict scale = ctx->state->scale;
    real *restrict p = ctx->step.p, *restrict p0 = ctx->step.p0;
    int underflows = 0, clipped = 0;
    for (int64_t k = 0; width > 1 && k < padded; ++k) {
        const double decay = 1 - eta[k] * alpha[k], lost = scale[k] * (1 - (decay > 0 ? decay : 0));
        ctx->state->average_shift[k] += averaged_before(ctx, k) * lost;
    }
    _Pragma("omp simd reduction(| : underflows, clipped)") for (int64_t k = 0; k < padded; ++k) {
        const double decay = 1 - eta[k] * alpha[k];
        const plain_step step = plan_plain(eta[k], decay > 0 ? decay : 0, scale[k],
                                           count[k] > 0 ? count[k] : 1);
        scale[k] = step.scale, p[k] = step.p, p0[k] = step.p0;
        clipped |= decay <= 0;
        underflows |= step.scale < least_scale(width);
    }
    ctx->report->clipped |= clipped;
    if (__builtin_expect(underflows, 0)) {
        apply_scales(ctx, least_scale(width));
        for (int64_t k = 0; k < padded; ++k) p[k] = scale[k] < 1 ? p[k] : p0[k];
    }
    scale_intercept_steps(ctx, padded);
    if (width > 1) plan_averages(ctx, padded);
}

/* The steps of all lanes with momentum or L1: u += D u + p g with u = (w, [v], [q]); D0
 * is D without the penalty, for intercepts. */
static ALWAYS_INLINE void plan_linear(context *ctx, const int64_t padded, const int width,
                                      const double *count) {
    const fsgd_settings *settings = ctx->settings;
    const double beta = settings->momentum;
    const int has_v = beta > 0, has_q = settings->average > 0, q = width - 1;
    for (int64_t k = 0; k < padded; ++k) {
        double D[3][3] = {{0}}, D0[3][3] = {{0}}, p[3] = {0}, p0[3];
        const double part = ctx->lanes->intercept_rate[k];
        const double eta = ctx->step.eta[k], alpha = ctx->lanes->alpha[k];
        const double updated = count[k] > 0, m = updated > 0 ? count[k] : 1; /* 0 or 1; rows */
        if (has_v) {
            const double direct = settings->nesterov ? eta * (1 + beta) : eta;
            D[0][1] = -eta * beta * (settings->nesterov ? beta : 1);
            D0[0][1] = part * D[0][1];
            D0[1][1] = D[1][1] = updated * (beta - 1);
            D[0][0] = -direct * alpha;
            D[1][0] = updated * alpha;
            p[0] = -direct / m;
            p[1] = updated / m;
        } else {
            D[0][0] = eta * alpha < 1 ? -eta * alpha : -1;
            ctx->report->clipped |= eta * alpha >= 1;
            p[0] = -eta / m;
        }
        if (has_q) { /* q = N (a - w): what w gains, q loses N times */
            double N = (double)(ctx->state->t[k] - settings->average);
            N = N > 0 ? N : 0;
            ctx->step.averaged[k] = (real)N;
            for (int b = 0; b < q; ++b) D[q][b] = -N * D[0][b], D0[q][b] = -N * D0[0][b];
            p[q] = -N * p[0];
        }
        for (int a = 0; a < width; ++a) p0[a] = has_v && a == 1 ? p[a] : part * p[a];
        for (int a = 0; a < width; ++a) {
            ctx->step.p[a * padded + k] = (real)p[a];
            ctx->step.p0[a * padded + k] = (real)p0[a];
            for (int b = 0; b < width; ++b) {
                ctx->step.D[(a * width + b) * padded + k] = (real)D[a][b];
                ctx->step.D0[(a * width + b) * padded + k] = (real)D0[a][b];
            }
        }
    }
}

/* Count the L1 penalty of the planned step. */
static ALWAYS_INLINE void count_l1(context *ctx, const int64_t padded) {
    for (int64_t k = 0; ctx->kind.l1 && k < padded; ++k) {
        ctx->state->l1_cumulative[k] += ctx->step.eta[k] * ctx->lanes->l1[k];
        ctx->step.l1_cumulative[k] = (real)ctx->state->l1_cumulative[k];
    }
}

/* The plan of an update of all lanes that have rows in it (count > 0): their rates, and from these
 * the coefficients D and p. Called with constants where a step is short; plan_lanes is the one for
 * many lanes, and for spans. */
static ALWAYS_INLINE void plan_step(context *ctx, const int64_t padded, const int width,
                                    const double *count) {
    find_rates(ctx, padded, count);
    if (ctx->adaptive.on)
        plan_adaptive(ctx, padded, count);
    else if (ctx->kind.scaled)
        plan_scaled(ctx, padded, width, count);
    else
        plan_linear(ctx, padded, width, count);
    count_l1(ctx, padded);
}

/* What of a plan of one lane decides about D and p, if it is linear and has no average. */
typedef struct {
    double eta, count;
} plan_key;

/* The plan of a step of one lane, which is that of the last one if nothing has changed. */
static ALWAYS_INLINE void plan_again(context *ctx, const int width, const double *count,
                                     plan_key *last) {
    find_rates(ctx, 1, count);
    if (ctx->step.eta[0] != last->eta || *count != last->count) {
        plan_linear(ctx, 1, width, count);
        *last = (plan_key){ctx->step.eta[0], *count};
    }
    count_l1(ctx, 1);
}

/* The same where the step is known to be one on CSR without L1 and AdaGrad; `spans` by momentum. */
static ALWAYS_INLINE void plan_csr_step(context *ctx, const int64_t padded, const int width,
                                        const double *count, const int spans) {
    find_rates(ctx, padded, count);
    if (spans)
        advance_span(ctx, padded, width, count);
    else
        plan_scaled(ctx, padded, width, count);
}

static void plan_lanes(context *ctx, const double *count) {
    if (ctx->kind.spans)
        plan_csr_step(ctx, ctx->lanes->padded, (int)ctx->state->width, count, 1);
    else
        plan_step(ctx, ctx->lanes->padded, (int)ctx->state->width, count);
}

/* Intercepts: u += D0 u + p0 g, where g (padded) is the sum of slopes plus intercept_gradient for
 * each of the `count` rows. */
static ALWAYS_INLINE void update_intercept(context *ctx, const int64_t padded, const int width,
                                           const real *g, const double *count) {
    real *u = ctx->state->intercept;
    if (!ctx->settings->fit_intercept) return;
    if (ctx->adaptive.on) {
        adaptive_intercepts(ctx, padded, g, count);
        return;
    }
    if (width == 1 && padded > 1) {
        const real *restrict p0 = ctx->step.p0;
        const double *restrict intercept_gradient = ctx->lanes->intercept_gradient;
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
            u[k] += p0[k] * (g[k] + (real)(count[k] * intercept_gradient[k]));
        return;
    }
    for (int64_t k = 0; k < padded; ++k) {
        real change[max_width];
        const real sum = g[k] + (real)(count[k] * ctx->lanes->intercept_gradient[k]);
        for (int a = 0; a < width; ++a) {
            change[a] = ctx->step.p0[a * padded + k] * sum;
            for (int b = 0; width > 1 && !ctx->kind.scaled && b < width; ++b)
                change[a] += ctx->step.D0[(a * width + b) * padded + k] * u[b * padded + k];
        }
        for (int a = 0; a < width; ++a) u[a * padded + k] += change[a];
    }
}

static void update_intercepts(context *ctx, const real *g, const double *count) {
    update_intercept(ctx, ctx->lanes->padded, (int)ctx->state->width, g, count);
}

/* a = w + q / N where a lane has averaged N > 0 weights and `average` is asked for, else w */
static real model_weight(const context *ctx, int average, int64_t k, double w, double q) {
    int64_t start = ctx->settings->average, N = ctx->state->t[k] - start + 1;
    return (real)(average && start > 0 && N > 0 ? w + q / (double)N : w);
}

/* The model of one lane as it is stored, with no step pending: of_w w + q / by. */
typedef struct {
    const real *w, *q; /* (d) each; q is NULL where no average is asked for, or none begun */
    int64_t stride;    /* elements from one feature to the next */
    double of_w, by;
} stored_model;

static stored_model stored_model_of(const context *ctx, int average) {
    const fsgd_state *state = ctx->state;
    const real *w = (const real *)state->w;
    const int64_t start = ctx->settings->average, N = state->t[0] - start + 1;
    const int64_t stride = state->feature_stride;
    if (!average || start == 0 || N <= 0)
        return (stored_model){w, NULL, stride, state->scale[0], 1};
    const double by = (double)N, of_w = state->scale[0] + state->average_shift[0] / by;
    return (stored_model){w, w + (state->width - 1) * state->vector_stride, stride, of_w, by};
}

/* The features from `first` up to `last` of the model; out: (last - first). Weights are multiplied
 * by their scale as reals, as scores are: conversions would take twice as long. */
static ALWAYS_INLINE void read_strided(stored_model model, int64_t first, int64_t last,
                                       const int64_t stride, real *restrict out) {
    const real *w = model.w + first * stride, *q = model.q ? model.q + first * stride : NULL;
    const double of_w = model.of_w, by = model.by;
    const real scale = (real)of_w;
    if (q)
        for (int64_t j = 0; j < last - first; ++j)
            out[j] = (real)(of_w * (double)w[j * stride] + (double)q[j * stride] / by);
    else
        for (int64_t j = 0; j < last - first; ++j) out[j] = scale * w[j * stride];
}

static void read_stored(stored_model model, int64_t first, int64_t last, real *restrict out) {
    if (model.stride == 1)
        read_strided(model, first, last, 1, out);
    else
        read_strided(model, first, last, 2, out);
}

#endif
