/* lazy_l1.h: lazy updates on CSR under an L1 penalty with L2, averages or both, without momentum.
 *
 * While a feature is in no row, a weight of size m > 0 is multiplied by a = 1 - eta alpha and then
 * loses eta l1, step by step, until it is 0, where it stays. With the sums over the pending steps
 *
 *     A = prod a,   C = sum eta l1 / A
 *
 * the size after step t is A_t (m / A_f - (C_t - C_f)) as long as that is positive, f being the
 * feature's last update. At every step q of the average gains N times what w loses, N being the
 * weights in the average before (optimizer.h). These gains add up to
 *
 *     (m / A_f + C_f) (B_t - B_f) - (E_t - E_f),   B = sum of N times what A loses in a step,
 *                                                  E = sum of N times what A C loses in a step
 *
 * so that catching up is O(1) (Duchi & Singer, JMLR 10, 2009; Lipton & Elkan, arXiv:1505.06449).
 * Only a weight that has died on the way asks which step that was: a search in C, which rises
 * almost evenly. What a weight has received of the penalty is -sign(w) cumulative while it lives
 * (penalty.h).
 *
 * The features of a step's own rows get their gradient between the decay and the truncation.
 */
#ifndef FASTSGD_KERNEL_LANES_LAZY_L1_H
#define FASTSGD_KERNEL_LANES_LAZY_L1_H

#include "../penalty.h"
#include "tile.h"

#ifndef FASTSGD_KERNEL_L1_SUMS
#define FASTSGD_KERNEL_L1_SUMS
/* What is kept of the end of a pending step for each lane, a column each. Catching up reads these
 * of a feature's last update, without averages the first two, so they lie by themselves: */
enum {
    l1_inverse,     /* 1 / A */
    l1_scaled,      /* C */
    l1_lost,        /* B */
    l1_scaled_lost, /* E */
    l1_sums,
    l1_plain_sums = l1_lost
};
/* and behind them those that only the last step, or a death, asks for. */
enum {
    l1_decay,      /* A */
    l1_cumulative, /* sum of eta l1 */
    l1_averaged,   /* N, before the step; with averages */
    l1_more = 4,
    l1_plain_more = 2
};

/* The sums at the end of a pending step, (columns, lanes): of one lane where all have the same. */
static ALWAYS_INLINE double *l1_sums_at(const fsgd_state *state, const int averaged,
                                        const int64_t lanes, int64_t step) {
    return state->step_sums + step * (averaged ? l1_sums : l1_plain_sums) * lanes;
}

static ALWAYS_INLINE double *l1_more_at(const fsgd_state *state, const int averaged,
                                        const int64_t lanes, int64_t step) {
    const int64_t room = (state->max_pending + 1) * state->padded;
    return state->step_sums + room * (averaged ? l1_sums : l1_plain_sums) +
           step * (averaged ? l1_more : l1_plain_more) * lanes;
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

/* The first step after `from` at which C, which lies `stride` apart from step 0 on, has risen by
 * `rise`; it has at `to`. */
static RARE int64_t first_step_reaching(const double *C, int64_t stride, int64_t from, int64_t to,
                                        double rise) {
    const double start = C[from * stride];
    for (int probes = 0; to - from > 1; ++probes) {
        const double low = C[from * stride] - start, high = C[to * stride] - start;
        int64_t middle = from + (to - from) / 2;
        if (probes < 6 && high > low && high < (double)INFINITY) {
            const double part = (rise - low) / (high - low);
            middle = from + (int64_t)(part * (double)(to - from));
            /* one on, in turn, so that both ends close in on where C is even */
            middle += probes & 1;
            middle = middle <= from ? from + 1 : middle >= to ? to - 1 : middle;
        }
        if (C[middle * stride] - start >= rise)
            to = middle;
        else
            from = middle;
    }
    return to;
}

/* The sums of a lane at the end of a step. */
typedef struct {
    double inverse, scaled, lost, scaled_lost; /* those of the feature's last update */
    double decay, cumulative;                  /* the others of the step to which it is brought */
} lane_sums;

/* Bring a weight from the end of a step to that of another, and q of its average and what it
 * received with it. Whether it has died between them: then it stays as it is. The sign has no
 * branch, since signs are chance; loops over this vectorise unless `branches`. */
static ALWAYS_INLINE int shrink_weight(const int averaged, const int branches, lane_sums from,
                                       lane_sums to, real *w, real *q, real *applied) {
    const double sign = (double)sign_of(*w), size = sign * (double)*w;
    const double scaled = size * from.inverse, left = scaled - (to.scaled - from.scaled);
    if (branches && !(left > 0)) return size > 0;
    const int lives = (left > 0) & (size > 0);
    const double now = sign * (to.decay * left), all = -sign * to.cumulative;
    if (averaged) {
        const double lost = to.lost - from.lost;
        const double rest = from.scaled * lost - (to.scaled_lost - from.scaled_lost);
        const double gained = (double)*q + sign * (scaled * lost + rest);
        *q = branches || lives ? (real)gained : *q;
    }
    *applied = branches || lives ? (real)all : *applied;
    *w = branches || lives ? (real)now : *w;
    return (size > 0) & !(left > 0);
}

/* The numbers of features: feature j's w at w + j stride, the others `apart` elements on. */
typedef struct {
    real *w;
    int64_t stride, apart;
    int32_t *last_update; /* a number for each feature, */
    int32_t to;           /* and the step to which they are brought */
} l1_slots;
#endif

/* A weight that died between two steps: w, what it received, q of its average. */
static RARE void TILED(let_die)(const fsgd_state *state, int64_t from, int64_t to, int64_t k,
                                real *w, real *q, real *applied) {
    const int averaged = state->width > 1;
    const int64_t padded = LANES(state);
    const int64_t lanes = state->sums_shared ? 1 : padded, lane = state->sums_shared ? 0 : k;
    const int64_t stride = l1_sums_at(state, averaged, lanes, 1) - state->step_sums;
    const double *f = l1_sums_at(state, averaged, lanes, from) + lane;
    const double sign = *w < 0 ? -1 : 1, scaled = sign * (double)*w * f[l1_inverse * lanes];
    const int64_t death = first_step_reaching(state->step_sums + l1_scaled * lanes + lane, stride,
                                              from, to, scaled);
    const double *last = l1_sums_at(state, averaged, lanes, death - 1) + lane;
    const double *end = l1_more_at(state, averaged, lanes, death - 1) + lane;
    const double *dead = l1_more_at(state, averaged, lanes, death) + lane;
    const double rise = last[l1_scaled * lanes] - f[l1_scaled * lanes], left = scaled - rise;
    *w = 0;
    *applied = (real)(-sign * (end[l1_cumulative * lanes] + dead[l1_decay * lanes] * left));
    if (!averaged) return;
    const double lost = last[l1_lost * lanes] - f[l1_lost * lanes];
    const double rest = f[l1_scaled * lanes] * lost -
                        (last[l1_scaled_lost * lanes] - f[l1_scaled_lost * lanes]);
    const double at_death = dead[l1_averaged * lanes] * end[l1_decay * lanes] * left;
    *q = (real)((double)*q + sign * (scaled * lost + rest + at_death));
}

#if TILE == 1
/* The sums of the step to which features are brought. */
static ALWAYS_INLINE lane_sums TILED(sums_to)(const fsgd_state *state, const int averaged,
                                              int64_t to) {
    const double *t = l1_sums_at(state, averaged, 1, to);
    const double *more = l1_more_at(state, averaged, 1, to);
    return (lane_sums){t[l1_inverse],
                       t[l1_scaled],
                       averaged ? t[l1_lost] : 0,
                       averaged ? t[l1_scaled_lost] : 0,
                       more[l1_decay],
                       more[l1_cumulative]};
}

/* Bring feature j, whose weight is not 0, to a step. */
static ALWAYS_INLINE void TILED(shrink_value)(const fsgd_state *state, const int averaged,
                                              const l1_slots *s, const lane_sums to, int64_t j) {
    const int64_t from = s->last_update[j];
    real *w = s->w + j, *q = w + averaged * s->apart;
    if (from >= s->to) return;
    const double *f = state->step_sums + from * (averaged ? l1_sums : l1_plain_sums);
    const lane_sums of = {f[l1_inverse],
                          f[l1_scaled],
                          averaged ? f[l1_lost] : 0,
                          averaged ? f[l1_scaled_lost] : 0,
                          0,
                          0};
    if (shrink_weight(averaged, 1, of, to, w, q, q + s->apart))
        TILED(let_die)(state, from, s->to, 0, w, q, q + s->apart);
    s->last_update[j] = s->to;
}

/* Bring features of a row to a step. */
static ALWAYS_INLINE void TILED(shrink_values)(const fsgd_state *state, const int averaged,
                                               const l1_slots *slots, const row_values *row,
                                               const fsgd_layout layout) {
    const l1_slots s = *slots;
    const row_values r = *row;
    const lane_sums to = TILED(sums_to)(state, averaged, s.to);
    for (int64_t p = 0; p < r.count; ++p) {
        const int64_t j = feature_of(&r, p, layout);
        if (s.w[j] != 0) TILED(shrink_value)(state, averaged, &s, to, j); /* 0 stays 0 */
    }
}

/* The same of features 0 to count - 1, of which most may be 0: those that are not are found without
 * a branch for each. */
static ALWAYS_INLINE void TILED(shrink_range_of)(const fsgd_state *state, const int averaged,
                                                 const l1_slots *slots, int64_t count) {
    enum { BLOCK = 16 };
    const l1_slots s = *slots;
    const lane_sums to = TILED(sums_to)(state, averaged, s.to);
    for (int64_t first = 0; first < count; first += BLOCK) {
        const int64_t left = count - first;
        uint32_t nonzero = 0;
        if (left >= BLOCK)
            for (int i = 0; i < BLOCK; ++i) nonzero |= (uint32_t)(s.w[first + i] != 0) << i;
        else
            for (int i = 0; i < left; ++i) nonzero |= (uint32_t)(s.w[first + i] != 0) << i;
        for (; nonzero; nonzero &= nonzero - 1)
            TILED(shrink_value)(state, averaged, &s, to, first + __builtin_ctz(nonzero));
    }
}

/* Bring features of a row to a step; of a dense row, which has no values, the first `count`. */
static NO_INLINE void TILED(shrink)(const fsgd_state *state, const l1_slots *slots,
                                    const row_values *row, const fsgd_layout layout) {
    if (layout == FSGD_DENSE && state->width > 1)
        TILED(shrink_range_of)(state, 1, slots, row->count);
    else if (layout == FSGD_DENSE)
        TILED(shrink_range_of)(state, 0, slots, row->count);
    else if (state->width > 1)
        TILED(shrink_values)(state, 1, slots, row, layout);
    else
        TILED(shrink_values)(state, 0, slots, row, layout);
}
#else
/* Bring a feature of all lanes from the end of step `from` to a step: w (padded). */
static ALWAYS_INLINE void TILED(shrink_feature)(const fsgd_state *state, const int averaged,
                                                const int shared, const l1_slots *slots,
                                                int64_t from, real *w) {
    const int64_t padded = LANES(state), lanes = shared ? 1 : padded;
    const double *f = l1_sums_at(state, averaged, lanes, from);
    const double *t = l1_sums_at(state, averaged, lanes, slots->to);
    const double *more = l1_more_at(state, averaged, lanes, slots->to);
    real *q = w + averaged * slots->apart, *applied = q + slots->apart;
#define OF(ROW, COLUMN, LANE) ROW[(COLUMN) * lanes + (LANE)]
#define FROM(LANE)                                                                                 \
    {OF(f, l1_inverse, LANE),                                                                      \
     OF(f, l1_scaled, LANE),                                                                       \
     averaged ? OF(f, l1_lost, LANE) : 0,                                                          \
     averaged ? OF(f, l1_scaled_lost, LANE) : 0,                                                   \
     0,                                                                                            \
     0}
#define TO(LANE)                                                                                   \
    { OF(t, l1_inverse, LANE),                                                                     \
      OF(t, l1_scaled, LANE),                                                                      \
      averaged ? OF(t, l1_lost, LANE) : 0,                                                         \
      averaged ? OF(t, l1_scaled_lost, LANE) : 0,                                                  \
      OF(more, l1_decay, LANE),                                                                    \
      OF(more, l1_cumulative, LANE) }
    const lane_sums from_all = FROM(0), to_all = TO(0);
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        int any = 0, died[TILE];
        _Pragma("omp simd reduction(| : any)") for (int64_t k = tile; k < tile + TILE; ++k) {
            if (shared) {
                died[k - tile] = shrink_weight(averaged, 0, from_all, to_all, w + k, q + k,
                                               applied + k);
            } else {
                const lane_sums of = FROM(k), to = TO(k);
                died[k - tile] = shrink_weight(averaged, 0, of, to, w + k, q + k, applied + k);
            }
            any |= died[k - tile];
        }
        for (int64_t k = tile; any && k < tile + TILE; ++k)
            if (died[k - tile])
                TILED(let_die)(state, from, slots->to, k, w + k, q + k, applied + k);
    }
#undef TO
#undef FROM
#undef OF
}

/* Bring features of a row to a step; of a dense row, which has no values, the first `count`. */
static NO_INLINE void TILED(shrink)(const fsgd_state *state, const l1_slots *slots,
                                    const row_values *row, const fsgd_layout layout) {
    const l1_slots s = *slots;
    enum { ahead = 8 }; /* features: one after the other their misses would add up */
    const int64_t bytes = state->vectors * s.apart * (int64_t)sizeof(real);
#define EACH(AVERAGED, SHARED)                                                                     \
    for (int64_t p = 0; p < row->count; ++p) {                                                     \
        const int64_t j = feature_of(row, p, layout), from = s.last_update[j];                     \
        if (p + ahead < row->count)                                                                \
            prefetch(s.w + feature_of(row, p + ahead, layout) * s.stride, bytes);                  \
        if (from >= s.to) continue;                                                                \
        TILED(shrink_feature)(state, AVERAGED, SHARED, &s, from, s.w + j * s.stride);              \
        s.last_update[j] = s.to;                                                                   \
    }
    if (state->width > 1 && state->sums_shared) {
        EACH(1, 1)
    } else if (state->width > 1) {
        EACH(1, 0)
    } else if (state->sums_shared) {
        EACH(0, 1)
    } else {
        EACH(0, 0)
    }
#undef EACH
}
#endif

/* The features of the state from `first` on, which are brought to step `to`. */
static ALWAYS_INLINE l1_slots TILED(slots_from)(const fsgd_state *state, int64_t first,
                                                int64_t to) {
    return (l1_slots){.w = (real *)state->w + first * state->feature_stride,
                      .stride = state->feature_stride,
                      .apart = state->vector_stride,
                      .last_update = state->last_update + first,
                      .to = (int32_t)to};
}

static ALWAYS_INLINE void TILED(shrink_range)(const fsgd_state *state, int64_t first, int64_t last,
                                              int64_t to) {
    const l1_slots slots = TILED(slots_from)(state, first, to);
    const row_values all = {NULL, NULL, last - first + 1};
    TILED(shrink)(state, &slots, &all, FSGD_DENSE);
}

/* A copy of a feature's numbers, (vectors, padded), from step `from` to the present. */
static ALWAYS_INLINE void TILED(shrink_copy)(const fsgd_state *state, real *u, int64_t from) {
    int32_t last_update = (int32_t)from;
    const l1_slots slots = {u, 0, state->padded, &last_update, (int32_t)state->pending};
    const row_values one = {NULL, NULL, 1};
    TILED(shrink)(state, &slots, &one, FSGD_DENSE);
}

/* Bring the features of a row to the present. */
static ALWAYS_INLINE void TILED(shrink_row)(const fsgd_state *state, const row_values *row,
                                            const fsgd_layout layout) {
    const l1_slots slots = TILED(slots_from)(state, 0, state->pending);
    TILED(shrink)(state, &slots, row, layout);
}

static RARE void TILED(shrink_all)(context *ctx) {
    const fsgd_state *state = ctx->state;
    TILED(shrink_range)(state, 0, state->d - 1, state->pending);
    memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
    ctx->state->pending = 0;
    ctx->state->rescales += 1;
    ctx->report->work += state->d * state->width;
}

/* Put the planned step into the sums. All features catch up first when there is no room, before A
 * might underflow, or with averages the sums of A hide what it has become, and where lanes that
 * shared sums do so no longer. */
static RARE void TILED(add_to_l1_sums)(context *ctx, const double *count) {
    fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state);
    const int averaged = state->width > 1, agree = TILE > 1 && lanes_agree(ctx, count);
    const double *eta = ctx->step.eta, *alpha = ctx->lanes->alpha, *l1 = ctx->lanes->l1;
    int64_t lanes = state->sums_shared ? 1 : padded;
    const double *last = l1_more_at(state, averaged, lanes, state->pending);
    int full = state->pending >= most_l1_steps(state) || (state->sums_shared && !agree);
    for (int64_t k = 0; state->pending > 0 && k < lanes; ++k)
        full |= last[l1_decay * lanes + k] < (averaged ? 1e-3 : 1e-100);
    if (full && state->pending > 0) TILED(shrink_all)(ctx);
    if (state->pending == 0) state->sums_shared = agree;
    lanes = state->sums_shared ? 1 : padded;
    double *before = l1_sums_at(state, averaged, lanes, state->pending);
    double *more = l1_more_at(state, averaged, lanes, state->pending);
    double *after = before + (averaged ? l1_sums : l1_plain_sums) * lanes;
    double *more_after = more + (averaged ? l1_more : l1_plain_more) * lanes;
    if (state->pending == 0)
        for (int64_t k = 0; k < lanes; ++k) {
            before[l1_inverse * lanes + k] = more[l1_decay * lanes + k] = 1;
            before[l1_scaled * lanes + k] = 0;
            if (averaged) before[l1_lost * lanes + k] = before[l1_scaled_lost * lanes + k] = 0;
            more[l1_cumulative * lanes + k] = state->l1_cumulative[k] - eta[k] * l1[k];
        }
    for (int64_t k = 0; k < lanes; ++k) {
        const double a = 1 - eta[k] * alpha[k], penalty = eta[k] * l1[k];
        const double A = more[l1_decay * lanes + k] * (a > 0 ? a : 0);
        const double C = before[l1_scaled * lanes + k];
        const double inverse = A > 0 ? 1 / A : 0;
        after[l1_inverse * lanes + k] = inverse;
        after[l1_scaled * lanes + k] = A > 0 ? C + penalty * inverse : (double)INFINITY;
        more_after[l1_decay * lanes + k] = A;
        more_after[l1_cumulative * lanes + k] = state->l1_cumulative[k];
        if (!averaged) continue;
        const double N = averaged_before(ctx, k), lost = more[l1_decay * lanes + k] - A;
        after[l1_lost * lanes + k] = before[l1_lost * lanes + k] + N * lost;
        after[l1_scaled_lost * lanes + k] = before[l1_scaled_lost * lanes + k] +
                                            N * (lost * C - penalty);
        more_after[l1_averaged * lanes + k] = N;
    }
    state->pending += 1;
}

/* Decay and gradient of a weight, `change` in all, and truncation in the same step. */
static ALWAYS_INLINE void TILED(take_step)(const int averaged, real change, real N, real cumulative,
                                           real *w, real *q, real *applied) {
    real now = *w + change, received = *applied;
    truncate_weight(&now, &received, cumulative);
    if (averaged) *q -= N * (now - *w);
    *w = now, *applied = received;
}

/* The decay and gradient of a feature in the step that was last put into the sums: g (padded) for
 * x; a feature that is there twice decays once. */
static ALWAYS_INLINE void TILED(decay_and_add)(const context *ctx, const int averaged, int64_t j,
                                               real x, const real *g) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state);
    const int32_t now = (int32_t)state->pending;
    const real first = state->last_update[j] != now, *N = ctx->step.averaged;
    const real *D = ctx->step.D, *p = ctx->step.p;
    real *w = (real *)state->w + j * state->feature_stride,
         *q = w + averaged * state->vector_stride;
    state->last_update[j] = now;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const real change = first * D[k] * w[k] + p[k] * (x * g[k]);
        w[k] += change;
        if (averaged) q[k] -= N[k] * change;
    }
}

/* The truncation of a feature in that step; twice changes nothing more. */
static ALWAYS_INLINE void TILED(truncate_now)(const context *ctx, const int averaged, int64_t j) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state);
    const real *N = ctx->step.averaged, *cumulative = ctx->step.l1_cumulative;
    real *w = (real *)state->w + j * state->feature_stride,
         *q = w + averaged * state->vector_stride, *applied = q + state->vector_stride;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
        TILED(take_step)(averaged, 0, N[k], cumulative[k], w + k, q + k, applied + k);
}

/* Decay and gradient c x of a row's features. */
static ALWAYS_INLINE void TILED(decay_and_add_row)(const context *ctx, const row_values *row,
                                                   const real *c, const fsgd_layout layout) {
    if (ctx->state->width > 1)
        for (int64_t p = 0; p < row->count; ++p)
            TILED(decay_and_add)(ctx, 1, feature_of(row, p, layout), row->x[p], c);
    else
        for (int64_t p = 0; p < row->count; ++p)
            TILED(decay_and_add)(ctx, 0, feature_of(row, p, layout), row->x[p], c);
}

static ALWAYS_INLINE void TILED(truncate_row)(const context *ctx, const row_values *row,
                                              const fsgd_layout layout) {
    if (ctx->state->width > 1)
        for (int64_t p = 0; p < row->count; ++p)
            TILED(truncate_now)(ctx, 1, feature_of(row, p, layout));
    else
        for (int64_t p = 0; p < row->count; ++p)
            TILED(truncate_now)(ctx, 0, feature_of(row, p, layout));
}

/* Whether the columns of a row increase, so that none is there twice. */
static ALWAYS_INLINE int TILED(is_increasing)(const row_values *row) {
    const int64_t *j = row->columns;
    int falls = 0;
    _Pragma("omp simd reduction(| : falls)") for (int64_t p = 1; p < row->count; ++p)
        falls |= j[p] <= j[p - 1];
    return !falls;
}

/* The whole step of the features of a row, none of them twice, with c x for a gradient. */
static ALWAYS_INLINE void TILED(step_features)(const context *ctx, const int averaged,
                                               const row_values *row, const real *c,
                                               const fsgd_layout layout) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state), apart = state->vector_stride;
    const real *D = ctx->step.D, *pp = ctx->step.p, *N = ctx->step.averaged;
    const real *cumulative = ctx->step.l1_cumulative;
    for (int64_t p = 0; p < row->count; ++p) {
        const int64_t j = feature_of(row, p, layout);
        const real x = row->x[p];
        real *w = (real *)state->w + j * state->feature_stride, *q = w + averaged * apart;
        state->last_update[j] = (int32_t)state->pending;
        for (int64_t tile = 0; tile < padded; tile += TILE)
            _Pragma("omp simd") for (int64_t k = tile; k < tile + TILE; ++k)
                TILED(take_step)(averaged, D[k] * w[k] + pp[k] * (x * c[k]), N[k], cumulative[k],
                                 w + k, q + k, q + apart + k);
    }
}

/* The step that was last put into the sums, of a row's features. */
static NO_INLINE void TILED(step_row_l1)(const context *ctx, const row_values *row, const real *c) {
    if (!TILED(is_increasing)(row)) {
        TILED(decay_and_add_row)(ctx, row, c, CSR_ROWS);
        TILED(truncate_row)(ctx, row, CSR_ROWS);
    } else if (ctx->state->width > 1) {
        TILED(step_features)(ctx, 1, row, c, CSR_ROWS);
    } else {
        TILED(step_features)(ctx, 0, row, c, CSR_ROWS);
    }
}

/* The step of features first to last by the gradient of a batch. */
static void TILED(shrink_and_add_gradient)(const context *ctx, int64_t first, int64_t last) {
    const fsgd_state *state = ctx->state;
    TILED(shrink_range)(state, first, last, state->pending - 1);
    for (int64_t j = first; j <= last; ++j) {
        const real *g = (const real *)state->grad + j * state->padded;
        if (state->width > 1) {
            TILED(decay_and_add)(ctx, 1, j, 1, g);
            TILED(truncate_now)(ctx, 1, j);
        } else {
            TILED(decay_and_add)(ctx, 0, j, 1, g);
            TILED(truncate_now)(ctx, 0, j);
        }
    }
}

#endif
