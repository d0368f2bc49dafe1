/* l1_momentum.h: momentum under an L1 penalty on CSR, with L2 or without, for the features of a row
 * alone.
 *
 * While a feature has no gradient a step moves a weight w that is not 0, of sign s, and its
 * velocity v by an affine map, the same for all features of a lane:
 *
 *     (w, v) <- M (w, v) - s (eta l1, 0)        M: spans.h
 *
 * So do the steps from f to now, by the composition of their maps. That of a step f is kept for the
 * way to the end of its block of 16 steps; behind the steps are the maps from the end of each block
 * to the end of the last whole one. A feature takes three of them at most, a step composes about
 * 24. Nothing is divided and nothing has to be known of the rates to come. With averages a map also
 * has what q gains, which is linear in (w, v, s) too. A weight of 0 stays 0 while its velocity
 * moves it by no more than the penalty that waits; then v becomes beta^n v, and `applied` takes the
 * moves, v times a sum of rates: both are kept beside the maps.
 *
 * Whether a weight of sign s was 0 in between is seen at its end. Let z = s w + l1 (1 - beta) /
 * alpha, the distance to where L1 alone would rest, and eta A what the next step takes of it. Then
 *
 *     z <- z - eta A,    A <- b A + alpha z      b = beta,    Nesterov: beta (1 - eta alpha)
 *
 * Once A >= 0 it stays so while z >= 0: sizes rise, then fall until they are 0, and z goes on to
 * be negative. It then stays negative for as many steps as `steps_without_return` finds: any number
 * unless alpha eta > (1 - sqrt(beta))^2, where weights oscillate. So a weight that is not 0 after
 * no more steps has not been 0. Else it is followed block by block, and step by step in the block
 * in which it is 0.
 *
 * The pending steps were taken with the l1, alpha and momentum that State keeps beside them; others
 * flush first.
 */

#ifndef FASTSGD_KERNEL_L1_MOMENTUM_H
#define FASTSGD_KERNEL_L1_MOMENTUM_H

#include "csr_rows.h"
#include "penalty.h"
#include "spans.h"

/* Columns of a map: M and what a weight of sign 1 gets beside it; beta^n; what `applied` takes of v
 * while w is 0; what q gains of w, of v and of the sign. Behind them those of a step: its rate, u,
 * weights in the average before it, and whether the lane took part in it. */
enum {
    moving_ww,
    moving_wv,
    moving_vw,
    moving_vv,
    moving_bw,
    moving_bv,
    moving_decay,
    moving_room,
    moving_x,
    moving_y,
    moving_z,
    moving_maps,
    moving_rate = moving_maps,
    moving_cumulative,
    moving_count,
    moving_moves,
    moving_columns = 16
};

/* What the steps so far say, in a row behind all maps: the largest rate, and how many steps there
 * are without return. Another row behind it has the map that changes nothing. */
enum { moving_largest, moving_quiet };

enum { moving_block = 16 }; /* steps */

/* Most pending steps: 16 columns where State has 8, a map for each block, and two rows. */
static ALWAYS_INLINE int64_t most_moving(const fsgd_state *state) {
    return fsgd_moving_steps(state->max_pending);
}

/* The map from a step to the end of its block, or to now. */
static ALWAYS_INLINE double *moving_step(const fsgd_state *state, int64_t step) {
    return state->step_sums + step * moving_columns * state->padded;
}

/* The map from the end of a whole block to that of the last one. */
static ALWAYS_INLINE double *moving_rest(const fsgd_state *state, int64_t block) {
    return moving_step(state, most_moving(state) + 1 + block);
}

static ALWAYS_INLINE double *moving_bounds(const fsgd_state *state) {
    return moving_rest(state, most_moving(state) / moving_block);
}

/* A weight of lane k with what a step needs of its settings. */
typedef struct {
    const fsgd_state *state;
    int64_t k, padded;
    double alpha, direct, b, beta, l1; /* direct: of the rate */
    int averaged;
    double w, v, q, applied;
} moving_weight;

static ALWAYS_INLINE double moving_at(const moving_weight *m, int64_t step, int column) {
    return moving_step(m->state, step)[column * m->padded + m->k];
}

/* The maps from step `from` to now, the first of them first; some may change nothing. */
enum { moving_ways = 3 };
static ALWAYS_INLINE void find_maps(const fsgd_state *state, int64_t from, const double **maps) {
    const int64_t block = from / moving_block, whole = state->pending / moving_block;
    const int64_t most = most_moving(state), same = most + 2 + most / moving_block;
    const int within = block == whole, ends = state->pending % moving_block == 0;
    maps[0] = moving_step(state, from);
    maps[1] = moving_step(state, within ? same : most + 1 + block);
    maps[2] = moving_step(state, within || ends ? same : whole * moving_block);
}

/* A weight of this sign that is not 0, along a map of its lane. */
static ALWAYS_INLINE void follow_map(moving_weight *m, const double *map, double sign) {
    const int64_t padded = m->padded;
    const double *T = map + m->k, w = m->w, v = m->v;
    m->w = T[moving_ww * padded] * w + T[moving_wv * padded] * v + sign * T[moving_bw * padded];
    m->v = T[moving_vw * padded] * w + T[moving_vv * padded] * v + sign * T[moving_bv * padded];
    if (m->averaged)
        m->q += T[moving_x * padded] * w + T[moving_y * padded] * v + sign * T[moving_z * padded];
}

/* One step. */
static RARE void move_once(moving_weight *m, int64_t step) {
    const double before = m->w, u = moving_at(m, step, moving_cumulative);
    const double eta = moving_at(m, step, moving_rate), moves = moving_at(m, step, moving_moves);
    const double w = before - eta * (m->direct * m->alpha * before + m->b * m->v);
    const double sign = w < 0 ? -1 : 1, size = sign * w, left = size - (u + sign * m->applied);
    if (moves > 0) m->v = m->beta * m->v + m->alpha * before;
    m->w = sign * (left > 0 ? left < size ? left : size : 0);
    m->applied += m->w - w;
    if (m->averaged) m->q -= moving_at(m, step, moving_count) * (m->w - before);
}

/* Whether a weight of 0 that moves at `speed` stays so over steps whose rates add up to `moved`;
 * `waits` is the penalty that waits for it. */
static ALWAYS_INLINE int stays_zero(double b, double l1, double speed, double moved, double waits) {
    return (b * speed <= l1) | (speed * moved <= waits);
}

/* Take a weight of 0 from step `from` to now, if it stays so. */
static ALWAYS_INLINE int stay_zero(moving_weight *m, int64_t from) {
    double decay = 1, moved = 0;
    const double *maps[moving_ways];
    find_maps(m->state, from, maps);
    for (int i = 0; i < moving_ways; ++i) {
        const double *T = maps[i] + m->k;
        moved += decay * T[moving_room * m->padded];
        decay *= T[moving_decay * m->padded];
    }
    const double waits = moving_at(m, from, moving_cumulative) + (m->v < 0 ? 1 : -1) * m->applied;
    if (!stays_zero(m->b, m->l1, fabs(m->v), moved, waits)) return 0;
    m->applied += m->v * moved;
    m->v *= decay;
    return 1;
}

/* Take a weight that is not 0 to now, unless it is 0 on the way. */
static ALWAYS_INLINE int stay_nonzero(moving_weight *m, double sign, int64_t from, double quiet) {
    const fsgd_state *state = m->state;
    moving_weight end = *m;
    const double now = moving_at(m, state->pending, moving_cumulative);
    const double *maps[moving_ways];
    if ((double)(state->pending - from - 1) > quiet) return 0;
    find_maps(state, from, maps);
    for (int i = 0; i < moving_ways; ++i) follow_map(&end, maps[i], sign);
    if (!(sign * end.w > 0)) return 0;
    end.applied = -sign * now;
    *m = end;
    return 1;
}

/* A weight that is 0 somewhere on the way from step `from` to now. */
static RARE void move_through_zero(moving_weight *m, int64_t from, double quiet) {
    const fsgd_state *state = m->state;
    const int64_t now = state->pending, whole = now - now % moving_block;
    double tried = 0; /* the sign for which all the way was tried */
    for (; from < now; move_once(m, ++from)) {
        if (m->w == 0) {
            if (stay_zero(m, from)) return;
            tried = 0;
            continue;
        }
        const double sign = m->w < 0 ? -1 : 1;
        if (tried != sign && stay_nonzero(m, sign, from, quiet)) return;
        tried = sign;
        for (int64_t end; from < whole; from = end) { /* whole blocks, while it is not 0 */
            moving_weight there = *m;
            end = from - from % moving_block + moving_block;
            follow_map(&there, moving_step(state, from), sign);
            if (!((double)(end - from - 1) <= quiet && sign * there.w > 0)) break;
            there.applied = -sign * moving_at(m, end, moving_cumulative);
            *m = there;
        }
        if (from == now) return;
    }
}

/* Lane k of a feature at u, where it is 0 on the way. */
static RARE void move_lane(const fsgd_state *state, real *u, int64_t apart, int64_t k,
                           int64_t from) {
    const int64_t q = (state->width - 1) * apart, applied = state->width * apart;
    const double beta = fabs(state->span_momentum[k]);
    const int nesterov = state->span_momentum[k] < 0;
    moving_weight m = {.state = state,
                       .k = k,
                       .padded = state->padded,
                       .alpha = state->alpha[k],
                       .direct = nesterov ? 1 + beta : 1,
                       .b = nesterov ? beta * beta : beta,
                       .beta = beta,
                       .l1 = state->l1[k],
                       .averaged = state->width > 2,
                       .w = (double)u[k],
                       .v = (double)u[apart + k],
                       .q = (double)u[q + k],
                       .applied = (double)u[applied + k]};
    move_through_zero(&m, from, moving_bounds(state)[moving_quiet * state->padded + k]);
    u[k] = (real)m.w, u[applied + k] = (real)m.applied;
    u[q + k] = (real)m.q, u[apart + k] = (real)m.v;
}

/* Lanes tile to tile + lanes - 1 of a feature from step `from` to now. */
static ALWAYS_INLINE void move_tile(const fsgd_state *state, real *u, int64_t apart, int64_t from,
                                    int64_t tile, const int64_t padded, const int64_t lanes,
                                    const int averaged) {
    enum { LANES = 16 };
    const int64_t of_q = (averaged ? 2 : 1) * apart, of_applied = (averaged ? 3 : 2) * apart;
    const double *at = moving_step(state, from) + tile, *now = moving_step(state, state->pending);
    const double *bounds = moving_bounds(state) + tile, *momentum = state->span_momentum + tile;
    const double *l1 = state->l1 + tile, *maps[moving_ways];
    const double gap = (double)(state->pending - from - 1);
    double stuck[LANES], any = 0;
    find_maps(state, from, maps);
    const double *A = maps[0] + tile, *B = maps[1] + tile, *C = maps[2] + tile;
    now += tile, u += tile;
    _Pragma("omp simd reduction(+ : any)") for (int64_t k = 0; k < lanes; ++k) {
        const double w = (double)u[k], v = (double)u[apart + k], got = (double)u[of_applied + k];
        const double before = at[moving_cumulative * padded + k];
        const double after = now[moving_cumulative * padded + k];
        const double sign = w < 0 ? -1 : 1, free = after > 0 ? 0 : 1; /* of any penalty */
        const double lost = w != 0 ? sign * before + got : 0;         /* by rounding */
        double W = w - lost, V = v, decay = 1, moved = 0;
        double q = averaged ? at[(moving_columns + moving_count) * padded + k] * lost : 0;
#define FOLLOW(T)                                                                                  \
    do {                                                                                           \
        const double w0 = W, v0 = V;                                                               \
        W = T[moving_ww * padded + k] * w0 + T[moving_wv * padded + k] * v0 +                      \
            sign * T[moving_bw * padded + k];                                                      \
        V = T[moving_vw * padded + k] * w0 + T[moving_vv * padded + k] * v0 +                      \
            sign * T[moving_bv * padded + k];                                                      \
        if (averaged)                                                                              \
            q += T[moving_x * padded + k] * w0 + T[moving_y * padded + k] * v0 +                   \
                 sign * T[moving_z * padded + k];                                                  \
        moved += decay * T[moving_room * padded + k];                                              \
        decay *= T[moving_decay * padded + k];                                                     \
    } while (0)
        FOLLOW(A);
        FOLLOW(B);
        FOLLOW(C);
#undef FOLLOW
        const double beta = fabs(momentum[k]), b = momentum[k] < 0 ? beta * beta : beta;
        const double waits = before + (v < 0 ? got : -got);
        const int moves = (w != 0) | (free > 0);
        const int right = (free > 0) |
                          ((gap <= bounds[moving_quiet * padded + k]) & (sign * W > 0));
        const int done = moves ? right : stays_zero(b, l1[k], fabs(v), moved, waits);
        const double applied = moves ? (free > 0 ? got : -sign * after) : got + v * moved;
        stuck[k] = done ? 0 : 1;
        any += stuck[k];
        u[k] = (real)(done ? (moves ? W : 0) : w);
        u[apart + k] = (real)(done ? (moves ? V : v * decay) : v);
        u[of_applied + k] = (real)(done ? applied : got);
        if (averaged) u[of_q + k] += (real)(done && moves ? q : 0);
    }
    if (!(any > 0)) return;
    for (int64_t k = 0; k < lanes; ++k)
        if (stuck[k] > 0) move_lane(state, u - tile, apart, tile + k, from);
}

/* All lanes of a feature, or of a copy of it at u, from step `from` to now. */
static ALWAYS_INLINE void move_feature(const fsgd_state *state, real *u, int64_t apart,
                                       int64_t from) {
    const int64_t padded = state->padded;
#define CALL(TILE_AT, PADDED, LANES)                                                               \
    if (state->width > 2)                                                                          \
        move_tile(state, u, apart, from, TILE_AT, PADDED, LANES, 1);                               \
    else                                                                                           \
        move_tile(state, u, apart, from, TILE_AT, PADDED, LANES, 0)
    if (padded == 1) {
        CALL(0, 1, 1);
    } else {
        for (int64_t tile = 0; tile < padded; tile += padded < 16 ? 4 : 16)
            if (padded < 16) {
                CALL(tile, padded, 4);
            } else {
                CALL(tile, padded, 16);
            }
    }
#undef CALL
}

/* The same out of line: of a copy that is read. */
static RARE void move_copy(const fsgd_state *state, real *u, int64_t apart, int64_t from) {
    move_feature(state, u, apart, from);
}

/* Features of a row, or first, first + 1, ... (columns NULL), to now. */
static RARE void move_features(const context *ctx, const int64_t *columns, int64_t first,
                               int64_t count) {
    enum { AHEAD = 8 };
    const fsgd_state *state = ctx->state;
    const int64_t now = state->pending, stride = state->feature_stride, padded = state->padded;
    const int64_t apart = state->vector_stride, row = moving_columns * padded;
    real *w = state->w;
    int32_t *last_update = state->last_update;
    for (int64_t p = 0; p < count; ++p) {
        const int64_t j = columns ? columns[p] : first + p;
        if (columns && p + AHEAD < count) {
            const int64_t next = columns[p + AHEAD];
            if (p + 2 * AHEAD < count) prefetch_line(last_update + columns[p + 2 * AHEAD]);
            for (int64_t a = 0; padded == 1 && a < state->vectors; ++a)
                prefetch_line(w + a * apart + next);
            if (padded > 1) prefetch(w + next * stride, stride * (int64_t)sizeof(real));
            prefetch(state->step_sums + last_update[next] * row, row * (int64_t)sizeof(double));
        }
        if (last_update[j] >= now) continue;
        move_feature(state, w + j * stride, apart, last_update[j]);
        last_update[j] = (int32_t)now;
    }
}

/* Whether a state's pending steps were taken with momentum. */
static ALWAYS_INLINE int has_momentum(const fsgd_state *state) {
    return state->span_momentum[0] != 0;
}

/* The same of one lane's features, but for those whose weight and velocity are 0, which stay so:
 * most of a wide model. 16 are looked at together. */
static RARE void move_nonzero(const fsgd_state *state) {
    enum { BLOCK = 16 };
    real *w = state->w;
    const real *v = w + state->vector_stride;
    for (int64_t first = 0; first < state->d; first += BLOCK) { /* rows are padded by zeros */
        uint32_t nonzero = 0;
        for (int i = 0; i < BLOCK; ++i)
            nonzero |= (uint32_t)((w[first + i] != 0) | (v[first + i] != 0)) << i;
        for (; nonzero; nonzero &= nonzero - 1) {
            const int64_t j = first + __builtin_ctz(nonzero);
            if (state->last_update[j] < state->pending)
                move_feature(state, w + j, state->vector_stride, state->last_update[j]);
        }
    }
}

/* Flush: all features up to date, after which no step is pending. */
static RARE void move_all(context *ctx) {
    fsgd_state *state = ctx->state;
    if (state->padded == 1)
        move_nonzero(state);
    else
        move_features(ctx, NULL, 0, state->d);
    memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
    state->pending = 0;
    state->rescales += 1;
    ctx->report->work += state->d * state->width;
}

/* Begin a run: steps of other settings that are pending are done first. */
static RARE void start_moving(context *ctx) {
    const fsgd_state *state = ctx->state;
    int differs = plans_differ(ctx);
    for (int64_t k = 0; k < state->k; ++k) differs |= state->l1[k] != ctx->lanes->l1[k];
    if (state->pending > 0 && differs) move_all(ctx);
    keep_settings(ctx);
    for (int64_t k = 0; k < state->padded; ++k) state->l1[k] = ctx->lanes->l1[k];
}

/* Steps for which z stays negative once it is, where alpha eta is no more than a: A >= r z / eta
 * with r = a at first. */
static RARE double steps_without_return(double a, double beta, int nesterov, int64_t most) {
    double r = a;
    int64_t steps = 0;
    if (nesterov && a > 1) return 0;
    if (sqrt(a) + sqrt(beta) <= 1) return INFINITY;
    for (; r < 1 && steps < most; ++steps) r = a + beta * r / (1 - r);
    return (double)steps;
}

/* T <- S T, of `lanes` lanes. */
static ALWAYS_INLINE void compose(double *restrict T, int64_t padded, const double *restrict S,
                                  int64_t apart, const int64_t lanes, const int averaged) {
#define AT(NAME) T[moving_##NAME * padded + k]
#define BY(NAME) S[moving_##NAME * apart + k]
    _Pragma("omp simd") for (int64_t k = 0; k < lanes; ++k) {
        const double ww = AT(ww), wv = AT(wv), vw = AT(vw), vv = AT(vv), bw = AT(bw), bv = AT(bv);
        AT(ww) = BY(ww) * ww + BY(wv) * vw;
        AT(wv) = BY(ww) * wv + BY(wv) * vv;
        AT(vw) = BY(vw) * ww + BY(vv) * vw;
        AT(vv) = BY(vw) * wv + BY(vv) * vv;
        AT(bw) = BY(ww) * bw + BY(wv) * bv + BY(bw);
        AT(bv) = BY(vw) * bw + BY(vv) * bv + BY(bv);
        AT(room) += AT(decay) * BY(room);
        AT(decay) *= BY(decay);
        if (averaged) {
            AT(x) += BY(x) * ww + BY(y) * vw;
            AT(y) += BY(x) * wv + BY(y) * vv;
            AT(z) += BY(x) * bw + BY(y) * bv + BY(z);
        }
    }
#undef AT
#undef BY
}

/* The map that changes nothing, of `lanes` lanes. */
static ALWAYS_INLINE void put_identity(double *T, int64_t padded, const int64_t lanes) {
    for (int c = 0; c < moving_maps; ++c)
        for (int64_t k = 0; k < lanes; ++k)
            T[c * padded + k] = c == moving_ww || c == moving_vv || c == moving_decay;
}

/* Add the map of a step, S (moving_maps, lanes), behind those of earlier ones to step now - 1. */
static ALWAYS_INLINE void push_map(const fsgd_state *state, int64_t now, int64_t tile,
                                   const double *S, const int64_t padded, const int64_t lanes,
                                   const int averaged) {
    const int64_t block = (now - 1) / moving_block, start = block * moving_block;
    put_identity(moving_step(state, now - 1) + tile, padded, lanes);
    for (int64_t step = start; step < now; ++step)
        compose(moving_step(state, step) + tile, padded, S, lanes, lanes, averaged);
    if (now % moving_block != 0) return;
    for (int64_t b = 0; b < block; ++b)
        compose(moving_rest(state, b) + tile, padded, moving_step(state, start) + tile, padded,
                lanes, averaged);
    put_identity(moving_rest(state, block) + tile, padded, lanes);
}

/* Make the planned step of the lanes that have rows in it (count > 0) a pending one. */
static RARE void push_moving(context *ctx, const double *count) {
    enum { LANES = 16 };
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, lanes = padded < LANES ? padded : LANES;
    const double beta = ctx->settings->momentum;
    const int nesterov = ctx->settings->nesterov;
    if (state->pending == most_moving(state)) move_all(ctx);
    const int64_t now = state->pending + 1;
    double S[moving_maps * LANES], *bounds = moving_bounds(state);
    for (int64_t tile = 0; tile < padded; tile += lanes) {
        for (int64_t i = 0; i < lanes; ++i) {
            const int64_t k = tile + i;
            double *at = moving_step(state, now) + k, *before = moving_step(state, now - 1) + k;
            const int moves = count[k] > 0;
            const double N = averaged_ahead(ctx, k, 0), eta = moves ? ctx->step.eta[k] : 0;
            const double alpha = moves ? ctx->lanes->alpha[k] : 0, u = state->l1_cumulative[k];
            const double direct = nesterov ? eta * (1 + beta) : eta;
            const double wv = -eta * beta * (nesterov ? beta : 1);
            double *largest = bounds + moving_largest * padded + k;
            double *quiet = bounds + moving_quiet * padded + k;
            if (now == 1) {
                put_identity(bounds + moving_columns * padded + k, padded, 1);
                before[moving_cumulative * padded] = u - eta * ctx->lanes->l1[k];
                *largest = 0, *quiet = INFINITY;
            }
            if (eta > *largest) {
                *largest = eta;
                *quiet = steps_without_return(alpha * eta, beta, nesterov, state->max_pending);
            }
            at[moving_rate * padded] = eta;
            at[moving_cumulative * padded] = u;
            at[moving_count * padded] = N;
            at[moving_moves * padded] = moves;
            const double gained = before[moving_cumulative * padded] - u;
#define STEP(NAME) S[moving_##NAME * lanes + i]
            STEP(ww) = 1 - direct * alpha, STEP(wv) = wv, STEP(bw) = gained;
            STEP(vw) = alpha, STEP(vv) = moves ? beta : 1, STEP(bv) = 0;
            STEP(decay) = moves ? beta : 1, STEP(room) = -wv;
            STEP(x) = N * direct * alpha, STEP(y) = -N * wv, STEP(z) = -N * gained;
#undef STEP
        }
#define CALL(PADDED, LANES_OF_TILE)                                                                \
    if (state->width > 2)                                                                          \
        push_map(state, now, tile, S, PADDED, LANES_OF_TILE, 1);                                   \
    else                                                                                           \
        push_map(state, now, tile, S, PADDED, LANES_OF_TILE, 0)
        switch (padded) {
        case 1: CALL(1, 1); break;
        case 4: CALL(4, 4); break;
        case 8: CALL(8, 8); break;
        default: CALL(padded, 16);
        }
#undef CALL
    }
    state->pending = now;
}

/* The linear part of the step of a row's features, with g = c x: u += D u + p g. A feature that is
 * there twice has D once. */
static RARE void add_row_moving(const context *ctx, const row_values *row, const real *c) {
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
static RARE void truncate_row_moving(const context *ctx, const row_values *row) {
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
