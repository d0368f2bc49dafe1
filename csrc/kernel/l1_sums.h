/* l1_sums.h: what happens to a weight under an L1 penalty with L2, averages or both, without
 * momentum, while its feature is in no row of CSR; lanes/lazy_l1.h has the steps.
 *
 * A weight of size m > 0 is multiplied by a = 1 - eta alpha and then loses eta l1, step by step,
 * until it is 0, where it stays. With the sums over the pending steps
 *
 *     A = prod a,   C = sum eta l1 / A,   u = the cumulative penalty (penalty.h)
 *
 * the size after step t is A_t (M - C_t) as long as that is positive, where
 *
 *     M = m / A + C    at the feature's last step
 *
 * is a number that stays put (Duchi & Singer, JMLR 10, 2009; Lipton & Elkan, arXiv:1505.06449). At
 * every step q of the average gains N times what w loses, N being the weights in the average before
 * (optimizer.h). These gains add up to sign(w) times the difference of
 *
 *     M B - E,   B = sum of N times what A loses in a step,
 *                E = sum of N times what A C loses in a step
 *
 * so that Q = q - sign(w) (M B - E) stays put as well. While steps are pending, W = sign(w) M and Q
 * are what is stored of a weight that lives: its coordinates. What it has received of the penalty
 * is -sign(w) u then, whatever is stored of it. A score reads W alone, and only steps write. Where
 * no step is pending, A = 1 and the other sums are 0, so that coordinates are values.
 *
 * M <= C says that a weight has died. Its q, and what it had received by then, ask for the step: a
 * search in C, which rises almost evenly, when the feature is in a row again or all are brought to
 * the present. W = 0 is a weight that is 0: q and `applied` are stored for it.
 *
 * The sums of all pending steps are kept in double precision. Those by which features are opened
 * and closed are reals in two parts, so that M - C has no other error than that of W, in float32
 * too, and no lane needs a conversion.
 */

#ifndef FASTSGD_KERNEL_L1_SUMS_H
#define FASTSGD_KERNEL_L1_SUMS_H

#include "optimizer.h"
#include "penalty.h"

/* What is kept of the end of a pending step for each lane, a column each. */
enum {
    l1_scaled,     /* C */
    l1_decay,      /* A */
    l1_cumulative, /* u */
    l1_plain_sums = 4,
    l1_lost = l1_plain_sums, /* B; with averages */
    l1_scaled_lost,          /* E; with averages */
    l1_averaged,             /* N, before the step; with averages */
    l1_sums = 8
};

/* The sums of a lane at one step. What a real leaves out of C, B and E is its `rest`. */
typedef struct {
    real scaled, scaled_rest, decay, cumulative;
    real inverse; /* 1 / A; infinite where A is too small for coordinates */
    real lost, lost_rest, scaled_lost, scaled_lost_rest;
} lane_sums;

/* Those of lane k: `sums` has (l1_reals, padded) of the context. */
static ALWAYS_INLINE lane_sums sums_of(const real *sums, const int averaged, const int64_t padded,
                                       int64_t k) {
    const real *at = sums + k;
    return (lane_sums){at[0],
                       at[padded],
                       at[2 * padded],
                       at[3 * padded],
                       at[4 * padded],
                       averaged ? at[5 * padded] : 0,
                       averaged ? at[6 * padded] : 0,
                       averaged ? at[7 * padded] : 0,
                       averaged ? at[8 * padded] : 0};
}

/* The sums at the end of a pending step, (columns, lanes): of one lane where all have the same. */
static ALWAYS_INLINE double *l1_sums_at(const fsgd_state *state, int64_t step) {
    const int64_t columns = state->width > 1 ? l1_sums : l1_plain_sums;
    return state->step_sums + step * columns * (state->sums_shared ? 1 : state->padded);
}

/* The least A for coordinates. Those of averages are larger than values by about 1 / A, and
 * rounding would show. */
static ALWAYS_INLINE double least_decay(const fsgd_state *state) {
    return state->width > 1 ? 0.25 : 1e-3;
}

/* Most steps that may be pending: as many as there is room for, and a cache. */
static ALWAYS_INLINE int64_t most_l1_steps(const fsgd_state *state) {
    const int64_t most = state->max_pending * state->padded, cached = 8192;
    if (!state->sums_shared || state->max_pending >= cached) return state->max_pending;
    return most < cached ? most : cached;
}

/* Whether an update is the same for all lanes: those of several classes, none of which stopped. */
static ALWAYS_INLINE int lanes_agree(const context *ctx, const double *count) {
    const fsgd_state *state = ctx->state;
    const fsgd_lanes *of = ctx->lanes;
    int agree = count[0] > 0;
    for (int64_t k = 1; k < state->k; ++k)
        agree &= (count[k] > 0) & (ctx->step.eta[k] == ctx->step.eta[0]) &
                 (of->alpha[k] == of->alpha[0]) & (of->l1[k] == of->l1[0]) &
                 (state->t[k] == state->t[0]) &
                 (state->l1_cumulative[k] == state->l1_cumulative[0]);
    return agree;
}

/* The first step at which C, which lies `stride` apart from step 0 on, has reached M; it has at
 * `to`, and not at 0. */
static NO_INLINE int64_t first_step_reaching(const double *C, int64_t stride, int64_t to,
                                             double M) {
    int64_t from = 0;
    for (int probes = 0; to - from > 1; ++probes) {
        const double low = C[from * stride], high = C[to * stride];
        int64_t middle = from + (to - from) / 2;
        const double part = (M - low) / (high - low);
        if (probes < 6 && part > 0 && part < 1) {
            middle = from + (int64_t)(part * (double)(to - from));
            /* one on, in turn, so that both ends close in on where C is even */
            middle += probes & 1;
            middle = middle <= from ? from + 1 : middle >= to ? to - 1 : middle;
        }
        if (C[middle * stride] >= M)
            to = middle;
        else
            from = middle;
    }
    return to;
}

/* Whether a weight has died by the step of these sums. */
static ALWAYS_INLINE int has_died(const lane_sums s, real w) {
    const real M = sign_of(w) * w;
    return (M > 0) & ((M - s.scaled) - s.scaled_rest <= 0);
}

/* The weight of a coordinate. NaN stays. */
static ALWAYS_INLINE real weight_of(const lane_sums s, real W) {
    const real sign = sign_of(W), left = (sign * W - s.scaled) - s.scaled_rest;
    return sign * (s.decay * (0 > left ? 0 : left));
}

/* M B - E */
static ALWAYS_INLINE real gain_of(const lane_sums s, real M) {
    const real rest = M * s.lost_rest - s.scaled_lost_rest, gain = M * s.lost - s.scaled_lost;
    return sizeof(real) == 4 ? gain + rest : gain;
}

/* From coordinates to values, of a weight that lives or is 0. */
static ALWAYS_INLINE void open_weight(const int averaged, const lane_sums s, real *w, real *q,
                                      real *applied) {
    const real sign = sign_of(*w), M = sign * *w, left = (M - s.scaled) - s.scaled_rest;
    const real now = sign * (s.decay * left), received = -sign * s.cumulative;
    const int lives = left > 0;
    if (averaged) {
        const real gained = *q + sign * gain_of(s, M);
        *q = lives ? gained : *q;
    }
    *applied = lives ? received : *applied;
    *w = lives ? now : *w;
}

/* M of a weight of some size. */
static ALWAYS_INLINE real coordinate_of(const lane_sums s, real size) {
    return (size * s.inverse + s.scaled_rest) + s.scaled;
}

/* Whether a weight has no coordinates: it is not 0, and M is not above C, or not finite. */
static ALWAYS_INLINE int has_no_coordinates(const lane_sums s, real w) {
    const real size = sign_of(w) * w, left = (coordinate_of(s, size) - s.scaled) - s.scaled_rest;
    return (size > 0) & !(0 * left < left);
}

/* From values to coordinates. Whether there are none: then nothing is changed. */
static ALWAYS_INLINE int close_weight(const int averaged, const lane_sums s, real *w, real *q) {
    const real sign = sign_of(*w), size = sign * *w, M = coordinate_of(s, size), W = sign * M;
    const int fails = has_no_coordinates(s, *w), closes = (size > 0) & !fails;
    if (averaged) {
        const real put = *q - sign * gain_of(s, M);
        *q = closes ? put : *q;
    }
    *w = closes ? W : *w;
    return fails;
}

/* Decay and gradient of a weight, `change` in all, and truncation in the same step. */
static ALWAYS_INLINE void take_l1_step(const int averaged, real change, real N, real cumulative,
                                       real *w, real *q, real *applied) {
    real now = *w + change, received = *applied;
    truncate_weight(&now, &received, cumulative);
    if (averaged) *q -= N * (now - *w);
    *w = now, *applied = received;
}

/* Values of a weight of lane k that has died by step `to`: w, q of its average, what it received.
 */
static NO_INLINE void let_die(const fsgd_state *state, int64_t to, int64_t k, real *w, real *q,
                              real *applied) {
    const int64_t lanes = state->sums_shared ? 1 : state->padded;
    const int64_t stride = l1_sums_at(state, 1) - state->step_sums;
    const double *C = state->step_sums + l1_scaled * lanes + (state->sums_shared ? 0 : k);
    const double sign = (double)sign_of(*w), M = sign * (double)*w;
    const int64_t death = first_step_reaching(C, stride, to, M);
    const double *dead = C + death * stride, *last = dead - stride; /* C is their first column */
    const double left = M - last[0];
    *w = 0;
    *applied = (real)(-sign * (last[l1_cumulative * lanes] + dead[l1_decay * lanes] * left));
    if (state->width == 1) return;
    const double gain = M * last[l1_lost * lanes] - last[l1_scaled_lost * lanes];
    const double at_death = dead[l1_averaged * lanes] * last[l1_decay * lanes] * left;
    *q = (real)((double)*q + sign * (gain + at_death));
}

static ALWAYS_INLINE void put_in_two(double value, real *main, real *rest) {
    *main = (real)value;
    *rest = *main < (real)INFINITY ? (real)(value - (double)*main) : 0;
}

/* The sums at the present step go into ctx->step.l1_present. */
static void read_l1_sums(context *ctx) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, lanes = state->sums_shared ? 1 : padded;
    const int averaged = state->width > 1;
    const double *at = l1_sums_at(state, state->pending);
    for (int64_t k = 0; k < padded; ++k) {
        const double *lane = at + (lanes == 1 ? 0 : k);
        const int none = state->pending == 0;
        const double A = none ? 1 : lane[l1_decay * lanes];
        real *to = ctx->step.l1_present + k;
        put_in_two(none ? 0 : lane[l1_scaled * lanes], to, to + padded);
        to[2 * padded] = (real)A;
        to[3 * padded] = (real)(none ? state->l1_cumulative[k] : lane[l1_cumulative * lanes]);
        to[4 * padded] = A >= least_decay(state) ? (real)(1 / A) : (real)INFINITY;
        if (!averaged) continue;
        put_in_two(none ? 0 : lane[l1_lost * lanes], to + 5 * padded, to + 6 * padded);
        put_in_two(none ? 0 : lane[l1_scaled_lost * lanes], to + 7 * padded, to + 8 * padded);
    }
}

/* Whether all features must be brought to the present before the planned step: there is no room,
 * A gets too small, or lanes that shared sums do so no longer. */
static int l1_sums_are_full(const context *ctx, const int agree) {
    const fsgd_state *state = ctx->state;
    const int64_t lanes = state->sums_shared ? 1 : state->padded;
    const double *A = l1_sums_at(state, state->pending) + l1_decay * lanes;
    int full = state->pending >= most_l1_steps(state) || (state->sums_shared && !agree);
    for (int64_t k = 0; k < lanes; ++k)
        full |= !(A[k] * (1 - ctx->step.eta[k] * ctx->lanes->alpha[k]) >= least_decay(state));
    return full && state->pending > 0;
}

/* Put the planned step into the sums, of which ctx->step.l1_before is what they were. */
static void push_l1_sums(context *ctx, const int agree) {
    fsgd_state *state = ctx->state;
    const double *eta = ctx->step.eta, *alpha = ctx->lanes->alpha, *l1 = ctx->lanes->l1;
    real *const swap = ctx->step.l1_before;
    if (state->pending == 0) state->sums_shared = agree;
    const int averaged = state->width > 1, first = state->pending == 0;
    const int64_t lanes = state->sums_shared ? 1 : state->padded;
    for (int64_t k = 0; k < lanes; ++k) {
        double *before = l1_sums_at(state, state->pending) + k;
        double *after = l1_sums_at(state, state->pending + 1) + k;
        const double a = 1 - eta[k] * alpha[k], penalty = eta[k] * l1[k];
        if (first) {
            before[l1_scaled * lanes] = 0, before[l1_decay * lanes] = 1;
            before[l1_cumulative * lanes] = state->l1_cumulative[k] - penalty;
            if (averaged) before[l1_lost * lanes] = before[l1_scaled_lost * lanes] = 0;
        }
        const double A = before[l1_decay * lanes] * (a > 0 ? a : 0), C = before[l1_scaled * lanes];
        after[l1_scaled * lanes] = A > 0 ? C + penalty / A : (double)INFINITY;
        after[l1_decay * lanes] = A;
        after[l1_cumulative * lanes] = state->l1_cumulative[k];
        if (!averaged) continue;
        const double N = averaged_before(ctx, k), lost = before[l1_decay * lanes] - A;
        const double scaled_lost = lost * C - penalty;
        after[l1_lost * lanes] = before[l1_lost * lanes] + N * lost;
        after[l1_scaled_lost * lanes] = before[l1_scaled_lost * lanes] + N * scaled_lost;
        after[l1_averaged * lanes] = N;
    }
    state->pending += 1;
    ctx->step.l1_before = ctx->step.l1_present, ctx->step.l1_present = swap;
    read_l1_sums(ctx);
}

#endif
