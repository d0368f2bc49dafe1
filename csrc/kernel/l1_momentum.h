/* l1_momentum.h: momentum under an L1 penalty without L2 on CSR, for the features of a row alone.
 *
 * While a feature has no gradient its velocity is v_i = beta^(i - f) v after step i, f being its
 * last update, and moves the weight by D_i = b v sum eta_j beta^(j - f - 1) in all. So
 *
 *     size_i = |w| - sign(w) D_i - (u_i + sign(w) applied)           u: the cumulative penalty
 *
 * as long as that is positive. It changes by eta_i times a number that turns negative once and
 * stays so: a weight that is not 0 at the end has not been 0 in between. Else a search finds the
 * step at which it was. A weight of 0 stays 0 while b |v| is no more than the penalty, and
 * `applied` takes what it would have moved. All other steps are done one by one.
 *
 * D needs no sum over steps: with numbers Z_{j-1} = eta_j + beta Z_j, the sum from f to i is
 * Z_f - beta^(i - f) Z_i. Such Z depend on the rates to come. They are taken as if the present rate
 * stayed; each step corrects the earlier ones by what it makes of that, back to where beta^j is
 * below rounding. Averages have the same with N times the rate.
 *
 * The pending steps were taken with the l1 and momentum that State keeps beside them; others flush
 * first.
 */

#ifndef FASTSGD_KERNEL_L1_MOMENTUM_H
#define FASTSGD_KERNEL_L1_MOMENTUM_H

#include "csr_rows.h"
#include "penalty.h"
#include "spans.h"

/* Columns of a pending step, in `step_sums`: its rate; steps so far that the lane took part in; u;
 * weights in the average before it, N; Z; Z of N eta; the sum of N times the penalty so far. */
enum {
    moving_rate,
    moving_steps,
    moving_cumulative,
    moving_count,
    moving_sum,
    moving_counted_sum,
    moving_penalties,
    moving_columns = 8
};

/* A weight of lane k with what a step needs of its settings. */
typedef struct {
    const double *steps;      /* of the lane */
    int64_t stride, padded;   /* between steps, between columns */
    const double *low, *high; /* beta^n for n < decays, and for its multiples */
    double beta, b, l1;
    int averaged;
    double w, v, q, applied;
} moving_weight;

static ALWAYS_INLINE double moving_at(const moving_weight *m, int64_t step, int column) {
    return m->steps[step * m->stride + column * m->padded];
}

/* beta^n */
static ALWAYS_INLINE double decay_of(const moving_weight *m, double n) {
    const int64_t i = (int64_t)n;
    if (__builtin_expect(i >= decays * decays, 0)) return pow(m->beta, n);
    return m->low[(uint64_t)i % decays] * m->high[(uint64_t)i / decays];
}

/* Powers of the momentum of a state's pending steps. */
static void find_decays(context *ctx) {
    const double beta = fabs(ctx->state->span_momentum[0]);
    double power = 1, *low = ctx->decays, *high = low + decays;
    for (int i = 0; i < decays; ++i, power *= beta) low[i] = power;
    const double step = power;
    power = 1;
    for (int i = 0; i < decays; ++i, power *= step) high[i] = power;
}

/* How far the velocity moves the weight from step `from` to `to`, per unit of it; of averages with
 * the column of the counted sum. */
static ALWAYS_INLINE double moved_by(const moving_weight *m, int64_t from, int64_t to, double decay,
                                     int column) {
    return m->b * (moving_at(m, from, column) - decay * moving_at(m, to, column));
}

static ALWAYS_INLINE double decay_between(const moving_weight *m, int64_t from, int64_t to) {
    return decay_of(m, moving_at(m, to, moving_steps) - moving_at(m, from, moving_steps));
}

/* The size at step `to` of a weight of this sign that is not 0 before. */
static ALWAYS_INLINE double size_at(const moving_weight *m, double sign, int64_t from, int64_t to,
                                    double decay) {
    return sign * (m->w - m->v * moved_by(m, from, to, decay, moving_sum) - m->applied) -
           moving_at(m, to, moving_cumulative);
}

/* A weight that is not 0 until step `to`. */
static ALWAYS_INLINE void move_to(moving_weight *m, double sign, int64_t from, int64_t to,
                                  double decay, double size) {
    m->w = sign * size;
    m->applied = -sign * moving_at(m, to, moving_cumulative);
    if (m->averaged)
        m->q += m->v * moved_by(m, from, to, decay, moving_counted_sum) +
                sign * (moving_at(m, to, moving_penalties) - moving_at(m, from, moving_penalties));
    m->v *= decay;
}

/* One step. */
static void move_once(moving_weight *m, int64_t step) {
    const double before = m->w, u = moving_at(m, step, moving_cumulative);
    const double moves = moving_at(m, step, moving_steps) - moving_at(m, step - 1, moving_steps);
    const double w = before - moving_at(m, step, moving_rate) * m->b * m->v;
    const double sign = w < 0 ? -1 : 1, size = sign * w, left = size - (u + sign * m->applied);
    m->v *= moves > 0 ? m->beta : 1;
    m->w = sign * (left > 0 ? left < size ? left : size : 0);
    m->applied += m->w - w;
    if (m->averaged) m->q -= moving_at(m, step, moving_count) * (m->w - before);
}

/* The step in (from, to] at which a weight that is 0 at `to` first is. */
static NO_INLINE int64_t step_of_zero(const moving_weight *m, double sign, int64_t from,
                                      int64_t to) {
    int64_t low = from, high = to;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (size_at(m, sign, from, middle, decay_between(m, from, middle)) > 0)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* The rest of the steps, where a closed form does not go to the end. */
static NO_INLINE void move_through_zero(moving_weight *m, int64_t from, int64_t to) {
    while (from < to) {
        const double decay = decay_between(m, from, to);
        if (m->w == 0 && m->b * fabs(m->v) <= m->l1) {
            m->applied += m->v * moved_by(m, from, to, decay, moving_sum);
            m->v *= decay;
            return;
        }
        if (m->w != 0) {
            const double sign = m->w < 0 ? -1 : 1, size = size_at(m, sign, from, to, decay);
            if (size > 0) {
                move_to(m, sign, from, to, decay, size);
                return;
            }
            const int64_t zero = step_of_zero(m, sign, from, to);
            if (zero - 1 > from) {
                const double until = decay_between(m, from, zero - 1);
                move_to(m, sign, from, zero - 1, until, size_at(m, sign, from, zero - 1, until));
                from = zero - 1;
            }
        }
        move_once(m, ++from);
    }
}

static ALWAYS_INLINE void move_weight(moving_weight *m, int64_t from, int64_t to) {
    const double sign = m->w < 0 ? -1 : 1;
    const double decay = decay_between(m, from, to);
    if (m->w != 0) {
        const double size = size_at(m, sign, from, to, decay);
        if (size > 0) {
            move_to(m, sign, from, to, decay, size);
            return;
        }
    } else if (m->v == 0) {
        return;
    }
    move_through_zero(m, from, to);
}

/* All lanes of a feature, or of a copy of it at u, from step `from` to `to`. */
static void move_feature(const context *ctx, real *u, int64_t apart, int64_t from, int64_t to) {
    const fsgd_state *state = ctx->state;
    const int64_t q = (state->width - 1) * apart, applied = state->width * apart;
    for (int64_t k = 0; k < state->k; ++k, ++u) {
        const double beta = fabs(state->span_momentum[k]);
        moving_weight m = {.steps = state->step_sums + k,
                           .stride = moving_columns * state->padded,
                           .padded = state->padded,
                           .low = ctx->decays,
                           .high = ctx->decays + decays,
                           .beta = beta,
                           .b = state->span_momentum[k] < 0 ? beta * beta : beta,
                           .l1 = state->l1[k],
                           .averaged = state->width > 2,
                           .w = (double)u[0],
                           .v = (double)u[apart],
                           .q = (double)u[q],
                           .applied = (double)u[applied]};
        move_weight(&m, from, to);
        u[0] = (real)m.w, u[applied] = (real)m.applied;
        u[q] = (real)m.q, u[apart] = (real)m.v;
    }
}

/* Features of a row, or first, first + 1, ... (columns NULL), to step `to`. */
static void move_features(const context *ctx, const int64_t *columns, int64_t first, int64_t count,
                          int64_t to) {
    const fsgd_state *state = ctx->state;
    int32_t *last_update = state->last_update;
    for (int64_t p = 0; p < count; ++p) {
        const int64_t j = columns ? columns[p] : first + p;
        if (last_update[j] >= to) continue;
        move_feature(ctx, (real *)state->w + j * state->feature_stride, state->vector_stride,
                     last_update[j], to);
        last_update[j] = (int32_t)to;
    }
}

/* Whether a state's pending steps were taken with momentum. */
static ALWAYS_INLINE int has_momentum(const fsgd_state *state) {
    return state->span_momentum[0] != 0;
}

/* Flush: all features up to date, after which no step is pending. */
static void move_all(context *ctx) {
    fsgd_state *state = ctx->state;
    find_decays(ctx);
    move_features(ctx, NULL, 0, state->d, state->pending);
    memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
    state->pending = 0;
    state->rescales += 1;
    ctx->report->work += state->d * state->width;
}

/* Begin a run: steps of other settings that are pending are done first. */
static void start_moving(context *ctx) {
    const fsgd_state *state = ctx->state;
    int differs = plans_differ(ctx);
    for (int64_t k = 0; k < state->k; ++k) differs |= state->l1[k] != ctx->lanes->l1[k];
    if (state->pending > 0 && differs) move_all(ctx);
    keep_settings(ctx);
    for (int64_t k = 0; k < state->padded; ++k) state->l1[k] = ctx->lanes->l1[k];
    find_decays(ctx);
}

/* Correct the sums of earlier steps by what step `now` made of the rates to come. */
static ALWAYS_INLINE void correct_sums(double *sums, int64_t now, int64_t stride,
                                       const double *steps, double beta, double correction) {
    const double small = (double)0x1p-56 * fabs(sums[now * stride]);
    for (int64_t i = now - 1; i >= 0 && fabs(correction) > small; --i) {
        sums[i * stride] += correction;
        if (i > 0 && steps[i * stride] > steps[(i - 1) * stride]) correction *= beta;
    }
}

/* Make the planned step of the lanes that have rows in it (count > 0) a pending one. */
static void push_moving(context *ctx, const double *count) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, stride = moving_columns * padded;
    if (state->pending == state->max_pending) move_all(ctx);
    const int64_t now = state->pending + 1;
    for (int64_t k = 0; k < padded; ++k) {
        double *steps = state->step_sums + k, *at = steps + now * stride, *before = at - stride;
        const double N = averaged_ahead(ctx, k, 0), eta = ctx->step.eta[k];
        const double beta = ctx->settings->momentum, u = state->l1_cumulative[k];
#define COLUMN(NAME) at[(NAME) * padded]
#define BEFORE(NAME) before[(NAME) * padded]
        if (now == 1) {
            for (int c = 0; c < moving_columns; ++c) before[c * padded] = 0;
            BEFORE(moving_cumulative) = u - eta * ctx->lanes->l1[k];
            BEFORE(moving_sum) = eta / (1 - beta);
            BEFORE(moving_counted_sum) = N * eta / (1 - beta);
        }
        const int moves = count[k] > 0;
        COLUMN(moving_rate) = eta;
        COLUMN(moving_steps) = BEFORE(moving_steps) + moves;
        COLUMN(moving_cumulative) = u;
        COLUMN(moving_count) = N;
        COLUMN(moving_penalties) = BEFORE(moving_penalties) + N * (u - BEFORE(moving_cumulative));
        COLUMN(moving_sum) = moves ? eta / (1 - beta) : BEFORE(moving_sum);
        COLUMN(moving_counted_sum) = moves ? N * eta / (1 - beta) : BEFORE(moving_counted_sum);
        if (!moves) continue;
        correct_sums(steps + moving_sum * padded, now, stride, steps + moving_steps * padded, beta,
                     eta + beta * COLUMN(moving_sum) - BEFORE(moving_sum));
        if (state->width > 2)
            correct_sums(steps + moving_counted_sum * padded, now, stride,
                         steps + moving_steps * padded, beta,
                         N * eta + beta * COLUMN(moving_counted_sum) - BEFORE(moving_counted_sum));
#undef COLUMN
#undef BEFORE
    }
    state->pending = now;
}

/* The linear part of the step of a row's features, with g = c x: u += D u + p g. A feature that is
 * there twice has D once. */
static void add_row_moving(const context *ctx, const row_values *row, const real *c) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, apart = state->vector_stride, width = state->width;
    const real *D = ctx->step.D, *p = ctx->step.p;
    for (int64_t i = 0; i < row->count; ++i) {
        const int64_t j = row->columns[i];
        const int first = state->last_update[j] != (int32_t)state->pending;
        real *u = (real *)state->w + j * state->feature_stride;
        state->last_update[j] = (int32_t)state->pending;
        for (int64_t k = 0; k < padded; ++k) {
            const real g = row->x[i] * c[k], w = u[k], v = u[k + apart];
            for (int64_t a = 0; a < width; ++a) {
                real change = p[a * padded + k] * g;
                if (first)
                    change += D[a * width * padded + k] * w + D[(a * width + 1) * padded + k] * v;
                u[k + a * apart] += change;
            }
        }
    }
}

/* The truncation of a row's features; a second one of the same step changes nothing. */
static void truncate_row_moving(const context *ctx, const row_values *row) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, apart = state->vector_stride, width = state->width;
    for (int64_t i = 0; i < row->count; ++i) {
        real *u = (real *)state->w + row->columns[i] * state->feature_stride;
        for (int64_t k = 0; k < padded; ++k) {
            const real before = u[k];
            truncate_weight(u + k, u + k + width * apart, ctx->step.l1_cumulative[k]);
            if (width > 2) u[k + (width - 1) * apart] -= ctx->step.averaged[k] * (u[k] - before);
        }
    }
}

#endif
