/* lazy_l1.h: lazy updates on CSR under an L1 penalty with L2, averages or both, without momentum.
 *
 * While a feature is in no row, a weight of size m > 0 is multiplied by a = 1 - eta alpha and then
 * loses eta l1, step by step, until it is 0, where it stays. With the sums over the pending steps
 *
 *     A = prod a,   C = sum eta l1 / A,   B = sum A,   E = sum A C          B, E of averaged steps
 *
 * the size after step t is A_t (m / A_f - (C_t - C_f)) as long as that is positive, f being the
 * feature's last update, and the sizes of the steps between add up to (m / A_f + C_f) (B_t - B_f) -
 * (E_t - E_f): catching up is O(1) (Duchi & Singer, JMLR 10, 2009; Lipton & Elkan,
 * arXiv:1505.06449). Only a weight that has died on the way asks which step that was: a search in
 * C, which rises almost evenly. What a weight has received of the penalty is -sign(w) cumulative
 * while it lives (penalty.h).
 *
 * The features of a step's own rows get their gradient between the decay and the truncation.
 */
#ifndef FASTSGD_KERNEL_LANES_LAZY_L1_H
#define FASTSGD_KERNEL_LANES_LAZY_L1_H

#include "../penalty.h"
#include "tile.h"

#ifndef FASTSGD_KERNEL_L1_SUMS
#define FASTSGD_KERNEL_L1_SUMS
/* What is kept of the end of a pending step for each lane, a column each; without averages the
 * first four. */
enum {
    l1_decay,         /* A */
    l1_inverse,       /* 1 / A */
    l1_scaled,        /* C */
    l1_cumulative,    /* sum of eta l1 */
    l1_decays,        /* B */
    l1_scaled_sum,    /* E */
    l1_averaged,      /* weights in the average */
    l1_sums = 8,      /* a cache line for one lane, */
    l1_plain_sums = 4 /* and half of one without averages */
};

/* The sums at the end of a pending step, (columns, lanes): of one lane where all have the same. */
static ALWAYS_INLINE double *l1_sums_at(const fsgd_state *state, const int averaged,
                                        const int64_t lanes, int64_t step) {
    return state->step_sums + step * (averaged ? l1_sums : l1_plain_sums) * lanes;
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

/* The first step after `from` at which C, which lies `stride` apart from step 0 on, has reached
 * `target`; it has at `to`. */
static NO_INLINE int64_t first_step_reaching(const double *C, int64_t stride, int64_t from,
                                             int64_t to, double target) {
    for (int probes = 0; to - from > 1; ++probes) {
        const double low = C[from * stride], high = C[to * stride];
        int64_t middle = from + (to - from) / 2;
        if (probes < 6 && high > low && high < (double)INFINITY) {
            const double part = (target - low) / (high - low);
            middle = from + (int64_t)(part * (double)(to - from));
            /* one on, in turn, so that both ends close in on where C is even */
            middle += probes & 1;
            middle = middle <= from ? from + 1 : middle >= to ? to - 1 : middle;
        }
        if (C[middle * stride] >= target)
            to = middle;
        else
            from = middle;
    }
    return to;
}
#endif

/* A weight that died between two steps: w, what it received, q of its average. */
static NO_INLINE void TILED(let_die)(const fsgd_state *state, const int averaged, int64_t from,
                                     int64_t to, int64_t k, real *w, real *q, real *applied) {
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    const int64_t lanes = state->sums_shared ? 1 : padded, lane = state->sums_shared ? 0 : k;
    const int64_t stride = l1_sums_at(state, averaged, lanes, 1) - state->step_sums;
    const double *f = l1_sums_at(state, averaged, lanes, from) + lane;
    const double sign = (double)signed_as(1, *w), size = sign * (double)*w;
    const double start = size * f[l1_inverse * lanes] + f[l1_scaled * lanes];
    const int64_t death = first_step_reaching(state->step_sums + l1_scaled * lanes + lane, stride,
                                              from, to, start);
    const double *last = l1_sums_at(state, averaged, lanes, death - 1) + lane;
    const double left = l1_sums_at(state, averaged, lanes, death)[l1_decay * lanes + lane] *
                        (start - last[l1_scaled * lanes]);
    *w = 0;
    *applied = (real)(-sign * (last[l1_cumulative * lanes] + left));
    if (averaged)
        *q += (real)(sign * (f[l1_averaged * lanes] * size +
                             start * (last[l1_decays * lanes] - f[l1_decays * lanes]) -
                             (last[l1_scaled_sum * lanes] - f[l1_scaled_sum * lanes])));
}

#if TILE == 1
/* A weight from the end of step `from` to that of step `to`, its other numbers `apart` elements on.
 */
static ALWAYS_INLINE void TILED(shrink)(const fsgd_state *state, const int averaged,
                                        const int shared, int64_t from, int64_t to, real *w,
                                        int64_t apart) {
    (void)shared;
    const double *f = l1_sums_at(state, averaged, 1, from), *t = l1_sums_at(state, averaged, 1, to);
    real *q = w + averaged * apart, *applied = w + (1 + averaged) * apart;
    const double sign = (double)signed_as(1, *w), size = sign * (double)*w;
    const double start = size * f[l1_inverse] + f[l1_scaled], left = start - t[l1_scaled];
    if (!(left > 0)) {
        if (size > 0) TILED(let_die)(state, averaged, from, to, 0, w, q, applied);
        return;
    }
    const real now = (real)(sign * t[l1_decay] * left);
    if (averaged)
        *q = (real)((double)*q +
                    sign * (f[l1_averaged] * size + start * (t[l1_decays] - f[l1_decays]) -
                            (t[l1_scaled_sum] - f[l1_scaled_sum])) -
                    t[l1_averaged] * (double)now);
    *applied = (real)(-sign * t[l1_cumulative]);
    *w = now;
}
#else
/* A feature of all lanes from the end of step `from` to that of step `to`: w (padded), and its
 * other numbers `apart` elements on. */
static ALWAYS_INLINE void TILED(shrink)(const fsgd_state *state, const int averaged,
                                        const int shared, int64_t from, int64_t to, real *w,
                                        int64_t apart) {
    const int64_t padded = TILE < 16 ? TILE : state->padded, lanes = shared ? 1 : padded;
    const double *f = l1_sums_at(state, averaged, lanes, from);
    const double *t = l1_sums_at(state, averaged, lanes, to);
    real *q = w + averaged * apart, *applied = w + (1 + averaged) * apart;
#define OF(ROW, COLUMN) ROW[(COLUMN) * lanes + (shared ? 0 : k)]
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        int any = 0;
        unsigned char died[TILE];
        _Pragma("omp simd reduction(| : any)") for (int64_t i = 0; i < TILE; ++i) {
            const int64_t k = tile + i;
            const double sign = (double)signed_as(1, w[k]), size = sign * (double)w[k];
            const double start = size * OF(f, l1_inverse) + OF(f, l1_scaled);
            const double left = start - OF(t, l1_scaled);
            const int lives = left > 0;
            const real now = (real)(OF(t, l1_decay) * left);
            if (averaged) {
                const double sum = OF(f, l1_averaged) * size - OF(t, l1_averaged) * (double)now +
                                   start * (OF(t, l1_decays) - OF(f, l1_decays)) -
                                   (OF(t, l1_scaled_sum) - OF(f, l1_scaled_sum));
                q[k] = lives && size > 0 ? (real)((double)q[k] + sign * sum) : q[k];
            }
            died[i] = size > 0 && !lives;
            any |= died[i];
            applied[k] = lives && size > 0 ? (real)(-sign * OF(t, l1_cumulative)) : applied[k];
            w[k] = lives && size > 0 ? (real)sign * now : w[k];
        }
        for (int64_t i = 0; any && i < TILE; ++i)
            if (died[i]) {
                const int64_t k = tile + i;
                TILED(let_die)(state, averaged, from, to, k, w + k, q + k, applied + k);
            }
    }
#undef OF
}
#endif

/* Call a body with whether there are averages, and whether lanes share the sums, as constants. */
#define BY_SUMS(CALL)                                                                              \
    if (state->width > 1 && TILE > 1 && state->sums_shared) {                                      \
        CALL(1, 1);                                                                                \
    } else if (state->width > 1) {                                                                 \
        CALL(1, 0);                                                                                \
    } else if (TILE > 1 && state->sums_shared) {                                                   \
        CALL(0, 1);                                                                                \
    } else {                                                                                       \
        CALL(0, 0);                                                                                \
    }

/* Bring feature j to step `to`. */
static ALWAYS_INLINE void TILED(shrink_feature)(const fsgd_state *state, const int averaged,
                                                const int shared, int64_t j, int64_t to) {
    real *w = (real *)state->w + j * state->feature_stride;
    if (state->last_update[j] >= to || (TILE == 1 && w[0] == 0)) return;
    TILED(shrink)(state, averaged, shared, state->last_update[j], to, w, state->vector_stride);
    state->last_update[j] = (int32_t)to;
}

static NO_INLINE void TILED(shrink_range)(const fsgd_state *state, int64_t first, int64_t last,
                                          int64_t to) {
#define CALL(AVERAGED, SHARED)                                                                     \
    for (int64_t j = first; j <= last; ++j) TILED(shrink_feature)(state, AVERAGED, SHARED, j, to)
    BY_SUMS(CALL)
#undef CALL
}

/* A copy of a feature's numbers, (vectors, padded), from step `from` to the present. */
static NO_INLINE void TILED(shrink_copy)(const fsgd_state *state, real *u, int64_t from) {
#define CALL(AVERAGED, SHARED)                                                                     \
    TILED(shrink)(state, AVERAGED, SHARED, from, state->pending, u, state->padded)
    BY_SUMS(CALL)
#undef CALL
}

static void TILED(shrink_all)(context *ctx) {
    const fsgd_state *state = ctx->state;
    TILED(shrink_range)(state, 0, state->d - 1, state->pending);
    memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
    ctx->state->pending = 0;
    ctx->report->work += state->d * state->width;
}

/* Put the planned step into the sums. All features catch up first when there is no room, before A
 * might underflow, or with averages the sums of A hide what it has become, and where lanes that
 * shared sums do so no longer. */
static NO_INLINE void TILED(add_to_l1_sums)(context *ctx, const double *count) {
    fsgd_state *state = ctx->state;
    const int64_t padded = TILE < 16 ? TILE : state->padded, start = ctx->settings->average;
    const int averaged = state->width > 1, agree = TILE > 1 && lanes_agree(ctx, count);
    const double *eta = ctx->step.eta, *alpha = ctx->lanes->alpha, *l1 = ctx->lanes->l1;
    int64_t lanes = state->sums_shared ? 1 : padded;
    const double *last = l1_sums_at(state, averaged, lanes, state->pending);
    int full = state->pending >= most_l1_steps(state) || (state->sums_shared && !agree);
    for (int64_t k = 0; state->pending > 0 && k < lanes; ++k)
        full |= last[k] < (averaged ? 1e-3 : 1e-100);
    if (full && state->pending > 0) TILED(shrink_all)(ctx);
    if (state->pending == 0) state->sums_shared = agree;
    lanes = state->sums_shared ? 1 : padded;
    double *before = l1_sums_at(state, averaged, lanes, state->pending);
    double *after = l1_sums_at(state, averaged, lanes, state->pending + 1);
    for (int64_t k = 0; k < lanes; ++k) {
        const int64_t t = state->t[k] - start + 1; /* weights in the average after this step */
        const double N = averaged && t > 0 ? (double)t : 0, updated = count[k] > 0;
        if (state->pending == 0) {
            for (int i = 0; i < (averaged ? l1_sums : l1_plain_sums); ++i)
                before[i * lanes + k] = 0;
            before[l1_decay * lanes + k] = before[l1_inverse * lanes + k] = 1;
            before[l1_cumulative * lanes + k] = state->l1_cumulative[k] - eta[k] * l1[k];
            if (averaged) before[l1_averaged * lanes + k] = N - (N > 0 ? updated : 0);
        }
        const double a = 1 - eta[k] * alpha[k], A = before[k] * (a > 0 ? a : 0);
        const double C = A > 0 ? before[l1_scaled * lanes + k] + eta[k] * l1[k] / A
                               : (double)INFINITY;
        after[l1_decay * lanes + k] = A;
        after[l1_inverse * lanes + k] = A > 0 ? 1 / A : 0;
        after[l1_scaled * lanes + k] = C;
        after[l1_cumulative * lanes + k] = state->l1_cumulative[k];
        if (!averaged) continue;
        const double counts = N > 0 ? updated : 0;
        after[l1_decays * lanes + k] = before[l1_decays * lanes + k] + counts * A;
        after[l1_scaled_sum * lanes + k] = before[l1_scaled_sum * lanes + k] +
                                           (A > 0 ? counts * A * C : 0);
        after[l1_averaged * lanes + k] = N;
    }
    state->pending += 1;
}

/* The decay and gradient of a feature in the step that was last put into the sums: g (padded) for
 * x; a feature that is there twice decays once. */
static ALWAYS_INLINE void TILED(decay_and_add)(const context *ctx, const int averaged, int64_t j,
                                               real x, const real *g) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    const int32_t now = (int32_t)state->pending;
    const real first = state->last_update[j] != now, *N = ctx->step.averaged;
    const real *D = ctx->step.D, *p = ctx->step.p;
    real *w = (real *)state->w + j * state->feature_stride,
         *q = w + averaged * state->vector_stride;
    state->last_update[j] = now;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const real old = w[k], change = first * D[k] * old + p[k] * (x * g[k]);
        w[k] = old + change;
        if (averaged) q[k] -= N[k] * (w[k] - old);
    }
}

/* The truncation of a feature in that step; twice changes nothing more. */
static ALWAYS_INLINE void TILED(truncate_now)(const context *ctx, const int averaged, int64_t j) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    const real *N = ctx->step.averaged, *cumulative = ctx->step.l1_cumulative;
    real *w = (real *)state->w + j * state->feature_stride,
         *q = w + averaged * state->vector_stride;
    real *applied = w + (1 + averaged) * state->vector_stride;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        real weight = w[k], received = applied[k];
        truncate_weight(&weight, &received, cumulative[k]);
        if (averaged) q[k] -= N[k] * (weight - w[k]);
        w[k] = weight, applied[k] = received;
    }
}

/* Bring the features of a row to the present. */
static ALWAYS_INLINE void TILED(shrink_row)(const fsgd_state *state, const row_values *row,
                                            const fsgd_layout layout) {
    const row_values r = *row;
    const int64_t now = state->pending;
#define CALL(AVERAGED, SHARED)                                                                     \
    for (int64_t p = 0; p < r.count; ++p)                                                          \
    TILED(shrink_feature)(state, AVERAGED, SHARED, feature_of(&r, p, layout), now)
    BY_SUMS(CALL)
#undef CALL
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

#undef BY_SUMS

#endif
