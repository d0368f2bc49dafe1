/* lazy.h: the first layer on CSR, whose steps cost what the rows of a batch have.
 *
 * Of a feature that is not in a batch the gradient is 0, and the step of SGD without averages is
 * the same linear map for all its weights w and velocities v:
 *
 *     (w, v) <- M (w, v),   M = | 1 - eta alpha (of_slope + of_velocity)   -eta of_velocity beta |
 *                               | alpha                                     beta                |
 *
 * `products[s]` is the product of the maps since step s. A feature that comes back after its step s
 * is multiplied by it and is where all the steps have led it. After `max_pending` steps, and at the
 * end of an epoch, all features are (a flush). The sums of w^2, w v and v^2 over the layer, which
 * the penalty of the objective needs, follow the same maps.
 *
 * Features are taken in the order of their numbers, by their flags in `touched`.
 */
#ifndef FASTSGD_NETWORK_LAZY_H
#define FASTSGD_NETWORK_LAZY_H

#include "rows.h"

/* A map of (w, v), row by row. */
typedef struct {
    double ww, wv, vw, vv;
} linear_map;

static ALWAYS_INLINE linear_map after(linear_map b, linear_map a) { /* b a */
    return (linear_map){b.ww * a.ww + b.wv * a.vw, b.ww * a.wv + b.wv * a.vv,
                        b.vw * a.ww + b.vv * a.vw, b.vw * a.wv + b.vv * a.vv};
}

/* The map of a step without a gradient: update_span's, with the same constants. */
static linear_map map_of(const step_constants *s, real alpha) {
    const double eta = (double)s->eta, beta = (double)s->beta, of_w = (double)alpha;
    if (!s->momentum) return (linear_map){fmax(0, 1 - eta * of_w), 0, 0, 0};
    const double of_slope = s->nesterov ? 1 : 0, of_velocity = s->nesterov ? beta : 1;
    return (linear_map){1 - eta * of_w * (of_slope + of_velocity), -eta * of_velocity * beta, of_w,
                        beta};
}

/* Where the row of a feature lies: its weights, and behind them by `length` its velocities. */
static ALWAYS_INLINE real *lazy_row(const fsgd_vector_state *state, int64_t j) {
    return (real *)state->values + j * state->lazy_stride;
}

static ALWAYS_INLINE void map_row(const fsgd_vector_state *state, real *restrict w,
                                  const double *map) {
    const int64_t n = state->lazy_stride;
    const real ww = (real)map[0], wv = (real)map[1], vw = (real)map[2], vv = (real)map[3];
    if (state->vectors == 1) {
        for (int64_t j = 0; j < n; j += wide_count) *(wide *)(w + j) = ww * wide_at(w + j);
        return;
    }
    real *restrict v = w + state->length;
    for (int64_t j = 0; j < n; j += wide_count) {
        const wide a = wide_at(w + j), b = wide_at(v + j);
        *(wide *)(w + j) = ww * a + wv * b;
        *(wide *)(v + j) = vw * a + vv * b;
    }
}

/* Add `sign` times the sums of w^2, w v and v^2 of a row to three sums. */
static ALWAYS_INLINE void add_sums(const fsgd_vector_state *state, const real *w, double sign,
                                   double *sums) {
    const int64_t n = state->lazy_stride;
    const real *v = state->vectors > 1 ? w + state->length : NULL;
    wide of_ww = {0}, of_wv = {0}, of_vv = {0};
    for (int64_t j = 0; j < n; j += wide_count) {
        const wide a = wide_at(w + j);
        of_ww += a * a;
        if (!v) continue;
        const wide b = wide_at(v + j);
        of_wv += a * b;
        of_vv += b * b;
    }
    sums[0] += sign * (double)wide_sum(of_ww);
    sums[1] += sign * (double)wide_sum(of_wv);
    sums[2] += sign * (double)wide_sum(of_vv);
}

static void forget_products(fsgd_vector_state *state) {
    state->pending = 0;
    memcpy(state->products, (double[]){1, 0, 0, 1}, 4 * sizeof(double));
}

/* Bring every feature up to date. */
static void flush_rows(fsgd_vector_state *state) {
    memset(state->lazy_sums, 0, sizeof state->lazy_sums);
    for (int64_t j = 0; j < state->lazy_rows; ++j) {
        if (state->last_update[j] < state->pending)
            map_row(state, lazy_row(state, j), state->products + 4 * state->last_update[j]);
        state->last_update[j] = 0;
        add_sums(state, lazy_row(state, j), 1, state->lazy_sums);
    }
    forget_products(state);
}

/* Prefetch a row of the weights, its velocities, and, if asked, its gradients. */
static ALWAYS_INLINE void prefetch_lazy_row(const fsgd_vector_state *state, int64_t j,
                                            const int grad) {
    const real *w = lazy_row(state, j), *g = (const real *)state->grad + j * state->lazy_stride;
    for (int64_t c = 0; c < state->lazy_stride; c += LINE) {
        __builtin_prefetch(w + c, 1);
        if (state->vectors > 1) __builtin_prefetch(w + state->length + c, 1);
        if (grad) __builtin_prefetch(g + c, 1);
    }
}

/* Bring the features of the chunk's rows up to date, and flag them. */
static void catch_up(network_context *ctx) {
    fsgd_vector_state *state = ctx->state;
    const int32_t now = (int32_t)state->pending;
    for (int64_t r = 0; r < ctx->count; ++r) {
        const sparse_row row = find_sparse_row(ctx, ctx->rows[r]);
        for (int64_t p = 0; p < row.count; ++p) {
            if (p + 8 < row.count) prefetch_lazy_row(state, feature_at(ctx, &row, p + 8), 0);
            const int64_t j = feature_at(ctx, &row, p);
            state->touched[j] = 1;
            if (state->last_update[j] == now) continue;
            map_row(state, lazy_row(state, j), state->products + 4 * state->last_update[j]);
            state->last_update[j] = now;
        }
    }
}

/* The next touched feature from j on; `lazy_rows` if there is none. Eight flags at once. */
static ALWAYS_INLINE int64_t next_touched(const fsgd_vector_state *state, int64_t j) {
    for (; j < state->lazy_rows; ++j) {
        uint64_t flags;
        if (j % 8 == 0)
            for (; j + 8 <= state->lazy_rows; j += 8) {
                memcpy(&flags, state->touched + j, sizeof flags);
                if (flags) break;
            }
        if (j < state->lazy_rows && state->touched[j]) return j;
    }
    return state->lazy_rows;
}

/* |grad|^2 of the touched features. */
static double square_of_touched(const network_context *ctx) {
    const fsgd_vector_state *state = ctx->state;
    double sum = 0;
    for (int64_t j = next_touched(state, 0); j < state->lazy_rows; j = next_touched(state, j + 1))
        sum += sum_squares((const real *)state->grad + j * state->lazy_stride, state->lazy_stride);
    return sum;
}

/* The step of the first layer's weights: of the touched features with their gradients, which are 0
 * again afterwards, and of all others by the products. */
static void lazy_step(network_context *ctx) {
    fsgd_vector_state *state = ctx->state;
    const int64_t stride = state->lazy_stride;
    const linear_map map = map_of(&ctx->step, ctx->alpha);
    double added[3] = {0};
    enum { AHEAD = 8 };
    int64_t later = next_touched(state, 0);
    int64_t next[AHEAD];
    for (int c = 0; c < AHEAD; ++c) {
        next[c] = later;
        if (later < state->lazy_rows) later = next_touched(state, later + 1);
    }
    for (int64_t c = 0, j = next[0]; j < state->lazy_rows; j = next[++c % AHEAD]) {
        next[c % AHEAD] = later;
        if (later < state->lazy_rows) {
            prefetch_lazy_row(state, later, 1);
            later = next_touched(state, later + 1);
        }
        real *w = lazy_row(state, j), *g = (real *)state->grad + j * stride;
        add_sums(state, w, -1, state->lazy_sums);
        update_span(&ctx->step, ctx->of_sum, ctx->alpha, w, g, stride);
        add_sums(state, w, 1, added);
        memset(g, 0, (size_t)stride * sizeof(real));
        state->last_update[j] = (int32_t)state->pending + 1;
        state->touched[j] = 0;
    }
    double *sums = state->lazy_sums;
    const double ww = sums[0], wv = sums[1], vv = sums[2];
    sums[0] = map.ww * map.ww * ww + 2 * map.ww * map.wv * wv + map.wv * map.wv * vv + added[0];
    sums[1] = map.ww * map.vw * ww + (map.ww * map.vv + map.wv * map.vw) * wv +
              map.wv * map.vv * vv + added[1];
    sums[2] = map.vw * map.vw * ww + 2 * map.vw * map.vv * wv + map.vv * map.vv * vv + added[2];
    for (int64_t s = 0; s <= state->pending; ++s) {
        double *p = state->products + 4 * s;
        const linear_map product = after(map, (linear_map){p[0], p[1], p[2], p[3]});
        memcpy(p, (double[]){product.ww, product.wv, product.vw, product.vv}, 4 * sizeof *p);
    }
    ++state->pending;
    memcpy(state->products + 4 * state->pending, (double[]){1, 0, 0, 1}, 4 * sizeof(double));
    if (state->pending == state->max_pending) flush_rows(state);
}

#endif
