/* lazy_l1.h: lazy updates on CSR under an L1 penalty with L2, averages or both, without momentum,
 * of weights that are stored as coordinates: ../l1_sums.h has the mathematics.
 *
 * The features of a step's own rows are opened by the sums before it, to values; they get their
 * gradient between decay and truncation, and are closed by the sums after it. In a batch a feature
 * is opened when the first of its rows is added and closed after the last; in between
 * `last_update` is the number of the step, and 0 else. A weight that has no coordinates, because it
 * is below the rounding of C or A is too small, stays a value among coordinates: its row's features
 * are marked, and all features are brought to the present when the step ends.
 */
#ifndef FASTSGD_KERNEL_LANES_LAZY_L1_H
#define FASTSGD_KERNEL_LANES_LAZY_L1_H

#include "../l1_sums.h"
#include "tile.h"

/* Settle the lanes of a feature that have died by step `to`, that of the sums: w (padded), the
 * others `apart` on. */
static ALWAYS_INLINE void TILED(settle_deaths)(const fsgd_state *state, const real *sums,
                                               int64_t to, int64_t apart, real *w) {
    const int64_t padded = LANES(state);
    const int averaged = state->width > 1;
    real *q = w + averaged * apart, *applied = q + apart;
    int died[TILE] = {0}, any = 0; /* by the number in a tile */
    for (int64_t tile = 0; tile < padded; tile += TILE)
        _Pragma("omp simd") for (int t = 0; t < TILE; ++t)
            died[t] |= has_died(sums_of(sums, 0, padded, tile + t), w[tile + t]);
    for (int t = 0; t < TILE; ++t) any |= died[t];
    for (int t = 0; __builtin_expect(any, 0) && t < TILE; ++t)
        for (int64_t k = t; died[t] && k < padded; k += TILE)
            if (has_died(sums_of(sums, 0, padded, k), w[k]))
                let_die(state, to, k, w + k, q + k, applied + k);
}

/* Bring all lanes of a feature from coordinates to present values; of a marked feature those that
 * are coordinates. */
static ALWAYS_INLINE void TILED(shrink_feature)(const context *ctx, const int averaged,
                                                int64_t apart, real *w, int marked) {
    const int64_t padded = LANES(ctx->state);
    const real *sums = ctx->step.l1_present;
    real *q = w + averaged * apart, *applied = q + apart;
    if (__builtin_expect(marked, 0)) { /* none has died since */
        for (int64_t k = 0; k < padded; ++k) {
            const lane_sums s = sums_of(sums, averaged, padded, k);
            if (!has_no_coordinates(s, w[k])) open_weight(averaged, s, w + k, q + k, applied + k);
        }
        return;
    }
    TILED(settle_deaths)(ctx->state, sums, ctx->state->pending, apart, w);
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
        open_weight(averaged, sums_of(sums, averaged, padded, k), w + k, q + k, applied + k);
}

/* The same of a copy, (vectors, padded). */
static void TILED(shrink_copy)(const context *ctx, real *u) {
    if (ctx->state->width > 1)
        TILED(shrink_feature)(ctx, 1, ctx->state->padded, u, 0);
    else
        TILED(shrink_feature)(ctx, 0, ctx->state->padded, u, 0);
}

/* Bring all features to the present. Of one lane most may be 0: those that are not are found
 * without a branch for each. */
static ALWAYS_INLINE void TILED(shrink_features)(const context *ctx, const int averaged) {
    enum { GROUP = TILE == 1 ? 16 : 1 }; /* planes have whole groups */
    const fsgd_state *state = ctx->state;
    for (int64_t first = 0; first < state->d; first += GROUP) {
        real *w = (real *)state->w + first * state->feature_stride;
        uint32_t nonzero = TILE > 1;
        for (int i = 0; TILE == 1 && i < GROUP; ++i) nonzero |= (uint32_t)(w[i] != 0) << i;
        for (; nonzero; nonzero &= nonzero - 1) {
            const int i = __builtin_ctz(nonzero);
            TILED(shrink_feature)(ctx, averaged, state->vector_stride, w + i,
                                  ctx->step.l1_marks && state->last_update[first + i] < 0);
        }
    }
}

static NO_INLINE void TILED(shrink_all)(context *ctx) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    real *cumulative = ctx->step.l1_present + 3 * padded;
    if (state->width > 1)
        TILED(shrink_features)(ctx, 1);
    else
        TILED(shrink_features)(ctx, 0);
    if (ctx->step.l1_marks)
        memset(state->last_update, 0, (size_t)state->d * sizeof *state->last_update);
    ctx->step.l1_marks = 0;
    memcpy(ctx->step.l1_before, cumulative, (size_t)padded * sizeof(real));
    state->pending = 0;
    read_l1_sums(ctx);
    memcpy(cumulative, ctx->step.l1_before,
           (size_t)padded * sizeof(real)); /* not the next step's */
    state->rescales += 1;
    ctx->report->work += state->d * state->width;
}

#if TILE == 1
/* At the end of an epoch: settle the weights of an average that have died. Their q asks for the
 * step, which each later reading would else look for again. */
static NO_INLINE void settle_all(const context *ctx) {
    enum { GROUP = 16 }; /* planes have whole groups */
    const fsgd_state *state = ctx->state;
    const lane_sums s = sums_of(ctx->step.l1_present, 0, 1, 0);
    real *w = state->w, *q = w + state->vector_stride, *applied = q + state->vector_stride;
    for (int64_t first = 0; first < state->d; first += GROUP) {
        int died = 0;
        _Pragma("omp simd reduction(| : died)") for (int i = 0; i < GROUP; ++i)
            died |= has_died(s, w[first + i]);
        for (int64_t j = first; __builtin_expect(died, 0) && j < first + GROUP; ++j)
            if (has_died(s, w[j])) let_die(state, state->pending, 0, w + j, q + j, applied + j);
    }
}
#endif

/* Put the planned step into the sums. */
static NO_INLINE void TILED(add_to_l1_sums)(context *ctx, const double *count) {
    const int agree = TILE > 1 && lanes_agree(ctx, count);
    if (l1_sums_are_full(ctx, agree)) TILED(shrink_all)(ctx);
    push_l1_sums(ctx, agree);
}

/* The decay of a feature and x g, g (padded), in the step that was last put into the sums; the
 * truncation waits for more. A feature that is open decays no more. */
static ALWAYS_INLINE void TILED(open_and_add)(const context *ctx, const int averaged, int64_t j,
                                              real x, const real *g) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state);
    const int32_t now = (int32_t)state->pending;
    const int first = state->last_update[j] != now;
    const real *D = ctx->step.D, *p = ctx->step.p, *N = ctx->step.averaged;
    const real *before = ctx->step.l1_before;
    real *w = (real *)state->w + j * state->feature_stride,
         *q = w + averaged * state->vector_stride, *applied = q + state->vector_stride;
    if (first) TILED(settle_deaths)(state, before, now - 1, state->vector_stride, w);
    if (first)
        _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k)
            open_weight(averaged, sums_of(before, averaged, padded, k), w + k, q + k, applied + k);
    state->last_update[j] = now;
    _Pragma("omp simd") for (int64_t k = 0; k < padded; ++k) {
        const real change = (first ? D[k] * w[k] : 0) + p[k] * (x * g[k]);
        w[k] += change;
        if (averaged) q[k] -= N[k] * change;
    }
}

/* The step of all lanes of a feature that is not open, with x c for a gradient, if `whole`: c
 * (padded). Else the truncation alone of one that is open. Lanes without coordinates, by their
 * number in a tile, are put into `fails`. */
static ALWAYS_INLINE void TILED(step_feature)(const context *ctx, const int averaged,
                                              const int whole, int64_t j, real x, const real *c,
                                              int *restrict fails) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = LANES(state), apart = state->vector_stride;
    const real *D = ctx->step.D, *p = ctx->step.p, *N = ctx->step.averaged;
    const real *cumulative = ctx->step.l1_cumulative;
    const real *before = ctx->step.l1_before, *after = ctx->step.l1_present;
    real *w = (real *)state->w + j * state->feature_stride, *q = w + averaged * apart,
         *applied = q + apart;
    if (whole) TILED(settle_deaths)(state, before, state->pending - 1, apart, w);
    for (int64_t tile = 0; tile < padded; tile += TILE)
        _Pragma("omp simd") for (int t = 0; t < TILE; ++t) {
            const int64_t k = tile + t;
            real now = w[k], now_q = averaged ? q[k] : 0, received = applied[k];
            if (whole)
                open_weight(averaged, sums_of(before, averaged, padded, k), &now, &now_q,
                            &received);
            const real change = whole ? D[k] * now + p[k] * (x * c[k]) : 0;
            take_l1_step(averaged, change, N[k], cumulative[k], &now, &now_q, &received);
            fails[t] |= close_weight(averaged, sums_of(after, averaged, padded, k), &now, &now_q);
            w[k] = now, applied[k] = received;
            if (averaged) q[k] = now_q;
        }
}

/* Mark a row's features if some weights of them have no coordinates: fails (TILE). Of a dense row
 * the first `count`. */
static ALWAYS_INLINE void TILED(mark_row)(context *ctx, const row_values *row, const int *fails,
                                          const fsgd_layout layout) {
    int any = 0;
    for (int t = 0; t < TILE; ++t) any |= fails[t];
    for (int64_t p = 0; __builtin_expect(any, 0) && p < row->count; ++p)
        ctx->state->last_update[feature_of(row, p, layout)] = -1;
    ctx->step.l1_marks |= any;
}

/* Open a row's features, and add c x: c (padded). */
static NO_INLINE void TILED(open_row)(const context *ctx, const row_values *row, const real *c) {
    if (ctx->state->width > 1)
        for (int64_t p = 0; p < row->count; ++p)
            TILED(open_and_add)(ctx, 1, row->columns[p], row->x[p], c);
    else
        for (int64_t p = 0; p < row->count; ++p)
            TILED(open_and_add)(ctx, 0, row->columns[p], row->x[p], c);
}

/* Open features first to last, and add the gradient of a batch. */
static NO_INLINE void TILED(open_range)(const context *ctx, int64_t first, int64_t last) {
    const int64_t padded = LANES(ctx->state);
    const real *grad = ctx->state->grad;
    if (ctx->state->width > 1)
        for (int64_t j = first; j <= last; ++j)
            TILED(open_and_add)(ctx, 1, j, 1, grad + j * padded);
    else
        for (int64_t j = first; j <= last; ++j)
            TILED(open_and_add)(ctx, 0, j, 1, grad + j * padded);
}

/* Truncate and close those of a row's features that are open; of a dense row the first `count`. */
static NO_INLINE void TILED(close_row)(context *ctx, const row_values *row,
                                       const fsgd_layout layout) {
    int32_t now = (int32_t)ctx->state->pending, *last_update = ctx->state->last_update;
    int fails[TILE] = {0};
    for (int64_t p = 0; p < row->count; ++p) {
        const int64_t j = feature_of(row, p, layout);
        if (last_update[j] != now) continue;
        last_update[j] = 0;
        if (ctx->state->width > 1)
            TILED(step_feature)(ctx, 1, 0, j, 0, NULL, fails);
        else
            TILED(step_feature)(ctx, 0, 0, j, 0, NULL, fails);
    }
    TILED(mark_row)(ctx, row, fails, layout);
}

static void TILED(close_all)(context *ctx) {
    const row_values all = {NULL, NULL, ctx->state->d};
    TILED(close_row)(ctx, &all, FSGD_DENSE);
}

/* The step is over. */
static ALWAYS_INLINE void TILED(end_l1_step)(context *ctx) {
    if (ctx->step.l1_marks) TILED(shrink_all)(ctx);
}

/* Whether the columns of a row increase, so that none is there twice. */
static ALWAYS_INLINE int TILED(is_increasing)(const row_values *row) {
    const int64_t *j = row->columns;
    int64_t falls = 0; /* negative if one does */
    for (int64_t p = 1; p < row->count; ++p) falls |= j[p] - j[p - 1] - 1;
    return falls >= 0;
}

#if TILE == 1
enum { side_by_side = 128, group_size = 16 }; /* features of a row in vectors, and in one */

/* Those of n weights that have died before the step that was last put into the sums: of every
 * group of 16, number b alone where died[b] says that one has. */
static NO_INLINE void TILED(let_some_die)(const context *ctx, int n, const int *died, real *w,
                                          real *q, real *applied) {
    const lane_sums before = sums_of(ctx->step.l1_before, 0, 1, 0);
    for (int b = 0; b < group_size; ++b)
        for (int i = b; died[b] && i < n; i += group_size)
            if (has_died(before, w[i]))
                let_die(ctx->state, ctx->state->pending - 1, 0, w + i, q + i, applied + i);
}

/* The whole step of n features j with values x, `side_by_side` at most: in vectors, since whether a
 * weight lives is chance. Whether one has no coordinates. */
static ALWAYS_INLINE int TILED(step_group)(const context *ctx, const int averaged, const int64_t *j,
                                           const real *x, const real c, const int n) {
    const lane_sums before = sums_of(ctx->step.l1_before, averaged, 1, 0);
    const lane_sums after = sums_of(ctx->step.l1_present, averaged, 1, 0);
    const real D = ctx->step.D[0], by = ctx->step.p[0] * c, N = ctx->step.averaged[0];
    const real cumulative = ctx->step.l1_cumulative[0];
    real *const ws = ctx->state->w, *const qs = ws + averaged * ctx->state->vector_stride,
                *const all_applied = qs + ctx->state->vector_stride;
    real w[side_by_side], q[side_by_side], applied[side_by_side], g[side_by_side];
    int died[group_size] = {0}, fails[group_size] = {0}, any = 0, failed = 0;
    for (int i = 0; i < n; ++i) {
        w[i] = ws[j[i]], applied[i] = all_applied[j[i]], g[i] = x[i];
        if (averaged) q[i] = qs[j[i]];
    }
    for (int i = n; i % group_size; ++i) w[i] = q[i] = applied[i] = g[i] = 0;
    for (int first = 0; first < n; first += group_size)
        _Pragma("omp simd") for (int b = 0; b < group_size; ++b)
            died[b] |= has_died(before, w[first + b]);
    for (int b = 0; b < group_size; ++b) any |= died[b];
    if (any) TILED(let_some_die)(ctx, n, died, w, q, applied);
    for (int first = 0; first < n; first += group_size)
        _Pragma("omp simd") for (int b = 0; b < group_size; ++b) {
            const int i = first + b;
            open_weight(averaged, before, w + i, q + i, applied + i);
            take_l1_step(averaged, D * w[i] + by * g[i], N, cumulative, w + i, q + i, applied + i);
            fails[b] |= close_weight(averaged, after, w + i, q + i);
        }
    for (int i = 0; i < n; ++i) {
        ws[j[i]] = w[i], all_applied[j[i]] = applied[i];
        if (averaged) qs[j[i]] = q[i];
    }
    for (int b = 0; b < group_size; ++b) failed |= fails[b];
    return failed;
}

/* The same out of line, for rows and batches. */
static NO_INLINE int step_plain_group(const context *ctx, const int64_t *j, const real *x, real c,
                                      int n) {
    return TILED(step_group)(ctx, 0, j, x, c, n);
}

static NO_INLINE int step_averaged_group(const context *ctx, const int64_t *j, const real *x,
                                         real c, int n) {
    return TILED(step_group)(ctx, 1, j, x, c, n);
}

static ALWAYS_INLINE int step_any_group(const context *ctx, const int averaged, const int64_t *j,
                                        const real *x, real c, int n) {
    return averaged ? step_averaged_group(ctx, j, x, c, n) : step_plain_group(ctx, j, x, c, n);
}

/* The step of the features of a batch's m CSR rows, whose slopes are in ctx->chunk.c: their
 * gradient is added up in `grad`, which is zeros before and after, and each takes one step. */
static ALWAYS_INLINE void step_batch(context *ctx, const int averaged, const int64_t *rows,
                                     int64_t m) {
    fsgd_state *state = ctx->state;
    real *grad = state->grad, x[side_by_side];
    int64_t j[side_by_side];
    int32_t now = (int32_t)state->pending, *last_update = state->last_update;
    int n = 0;
    for (int64_t r = 0; r < m; ++r) {
        const row_values row = read_kept(ctx, r, rows[r]);
        const real c = ctx->chunk.c[r];
        for (int64_t p = 0; p < row.count; ++p) {
            grad[row.columns[p]] += c * row.x[p];
            last_update[row.columns[p]] = now;
        }
    }
    for (int64_t r = 0; r < m; ++r) {
        const row_values row = read_kept(ctx, r, rows[r]);
        for (int64_t p = 0; p < row.count; ++p) { /* whether it is the first is chance */
            const int64_t feature = row.columns[p];
            const int32_t was = last_update[feature];
            j[n] = feature, x[n] = grad[feature];
            grad[feature] = 0, last_update[feature] = was == now ? 0 : was;
            n += was == now;
            if (n < side_by_side) continue;
            int fails = step_any_group(ctx, averaged, j, x, 1, n);
            TILED(mark_row)(ctx, &(row_values){x, j, n}, &fails, CSR_ROWS);
            n = 0;
        }
    }
    if (n == 0) return;
    int fails = step_any_group(ctx, averaged, j, x, 1, n);
    TILED(mark_row)(ctx, &(row_values){x, j, n}, &fails, CSR_ROWS);
}

static NO_INLINE void step_batch_l1(context *ctx, const int64_t *rows, int64_t m) {
    if (ctx->state->width > 1)
        step_batch(ctx, 1, rows, m);
    else
        step_batch(ctx, 0, rows, m);
}

/* The step of a row's features, none of them twice, with c x for a gradient. */
static ALWAYS_INLINE void TILED(step_features)(context *ctx, const int averaged,
                                               const row_values *row, const real *c) {
    int fails = 0;
    for (int64_t p = 0; p < row->count; p += side_by_side) {
        const int64_t left = row->count - p;
        fails |= step_any_group(ctx, averaged, row->columns + p, row->x + p, c[0],
                                (int)(left < side_by_side ? left : side_by_side));
    }
    TILED(mark_row)(ctx, row, &fails, CSR_ROWS);
}
#else
static ALWAYS_INLINE void TILED(step_features)(context *ctx, const int averaged,
                                               const row_values *row, const real *c) {
    int fails[TILE] = {0};
    for (int64_t p = 0; p < row->count; ++p)
        TILED(step_feature)(ctx, averaged, 1, row->columns[p], row->x[p], c, fails);
    TILED(mark_row)(ctx, row, fails, CSR_ROWS);
}
#endif

/* The step that was last put into the sums, of a row's features. */
static NO_INLINE void TILED(step_row_l1)(context *ctx, const row_values *row, const real *c) {
    if (!TILED(is_increasing)(row)) {
        TILED(open_row)(ctx, row, c);
        TILED(close_row)(ctx, row, CSR_ROWS);
    } else if (ctx->state->width > 1) {
        TILED(step_features)(ctx, 1, row, c);
    } else {
        TILED(step_features)(ctx, 0, row, c);
    }
    TILED(end_l1_step)(ctx);
}

#endif
