/* spans.h: momentum on CSR without work for the features that a row does not have.
 *
 * Where the gradient is 0 a step multiplies the weight and velocity u = (w, v) of a feature by
 *
 *     M = [[1 - direct alpha, -eta b], [alpha, beta]]      b = beta,    direct = eta
 *                                               Nesterov: b = beta^2,  direct = eta (1 + beta)
 *
 * which is the same for all features of a lane. A span is a run of steps whose rates are planned.
 * During it u is stored as coordinates y in a basis that moves along with the steps, so that y of a
 * feature without a gradient stays as it is:
 *
 *     u = E_t y,  E_t = M_t E_{t-1};     a gradient g adds E_t^{-1} p g to y,  p = (-direct, 1)
 *
 * The first column of E is the direction in which all u end, the second one that dies out about as
 * fast as beta^t. The second is found backwards from the end of the span, since forwards rounding
 * would mix the first into it. Where M has no such two directions (complex eigenvalues: strong L2)
 * E begins as the identity. A span ends when the columns become nearly parallel, too large or too
 * small, or when a rate is not as it was planned. Coordinates then change to the basis of the next
 * span by a matrix of 2 x 2. Those of all features do so at once where that is little beside the
 * steps of a span (`sweeps`). Else a feature's do when it is next seen: `span_products` has the
 * product of the changes from every earlier span to the present. They change for a group of
 * features at once, those of a cache line; `last_update` has the span of each group.
 *
 * With averages a third number h is stored, with q = N (a - w) = h + X_t y0 + Y_t y1, where X and Y
 * add up N times how far the w of the two columns will move until the end of the span.
 *
 * When no span is open (`pending` 0) features are stored as they are.
 */

#ifndef FASTSGD_KERNEL_SPANS_H
#define FASTSGD_KERNEL_SPANS_H

#include "csr_rows.h"
#include "rates.h"

/* What is planned of a step of a span for each lane, (columns, padded): its rate; E after it, by
 * rows w and v; X and Y. */
enum { span_rate, span_w0, span_w1, span_v0, span_v1, span_x, span_y, span_columns = 8 };

typedef struct {
    double ww, wv, vw, vv;
} matrix;

static ALWAYS_INLINE double *span_at(const fsgd_state *state, int64_t step) {
    return state->span_steps + step * span_columns * state->padded;
}

/* The matrix of a step without gradient. */
static ALWAYS_INLINE matrix step_matrix(const fsgd_settings *settings, double eta, double alpha) {
    const double beta = settings->momentum;
    const double direct = settings->nesterov ? eta * (1 + beta) : eta;
    return (matrix){1 - direct * alpha, -eta * beta * (settings->nesterov ? beta : 1), alpha, beta};
}

static ALWAYS_INLINE matrix product(matrix a, matrix b) {
    return (matrix){a.ww * b.ww + a.wv * b.vw, a.ww * b.wv + a.wv * b.vv, a.vw * b.ww + a.vv * b.vw,
                    a.vw * b.wv + a.vv * b.vv};
}

static ALWAYS_INLINE double determinant(matrix a) { return a.ww * a.vv - a.wv * a.vw; }

/* The rate of lane k at the step `ahead` of the one at work, if no batch between passes it over. */
static double rate_ahead(const context *ctx, int64_t k, int64_t ahead) {
    const int64_t size = ctx->settings->batch_size;
    const int64_t batches = (ctx->data->epoch_rows + size - 1) / size;
    const int64_t batch = ctx->state->row / size + ahead;
    const double t = (double)(ctx->state->t[k] + ahead);
    double e = 0;
    if (ctx->settings->schedule.kind >= FSGD_STEP)
        e = (double)(ctx->state->epoch + batch / batches) +
            (double)(batch % batches) / (double)batches;
    return rate_at(ctx, k, t, fsgd_schedule_factor(&ctx->settings->schedule, t, e), batch * size);
}

/* Steps after the one at work of which rates are known. */
static RARE int64_t known_steps(const context *ctx) {
    if (ctx->settings->schedule.kind != FSGD_CALLABLE) return ctx->state->span_length;
    const int64_t size = ctx->settings->batch_size;
    const int64_t batches = (ctx->problem->rates_stop + size - 1) / size;
    const int64_t left = batches - 1 - ctx->state->row / size;
    return left < ctx->state->span_length ? left : ctx->state->span_length;
}

/* What of E a step has to keep: columns of sizes in a range, that are not nearly parallel; v is
 * measured in `unit` of w. */
static ALWAYS_INLINE int is_basis(matrix E, double unit) {
    const double smallest = 1e-24, largest = 1e12, sine = 0.1;
    const double first = sqrt(E.ww * E.ww + unit * E.vw * unit * E.vw);
    const double second = sqrt(E.wv * E.wv + unit * E.vv * unit * E.vv);
    return first > smallest && first < largest && second > smallest && second < largest &&
           fabs(unit * determinant(E)) >= sine * first * second;
}

static ALWAYS_INLINE void put_basis(double *at, int64_t padded, matrix E) {
    at[span_w0 * padded] = E.ww, at[span_w1 * padded] = E.wv;
    at[span_v0 * padded] = E.vw, at[span_v1 * padded] = E.vv;
}

static ALWAYS_INLINE matrix basis_at(const double *at, int64_t padded) {
    return (matrix){at[span_w0 * padded], at[span_w1 * padded], at[span_v0 * padded],
                    at[span_v1 * padded]};
}

/* Plan a span of lane k by a first column that settles and a second one that dies out; the number
 * of steps, or -1 if there are no such columns. Needs the rates of `most` steps. */
static RARE int64_t plan_decaying(const context *ctx, int64_t k, int64_t most, double unit) {
    const int64_t padded = ctx->state->padded, row = span_columns * padded;
    double *plan = ctx->state->span_steps + k;
    const double alpha = ctx->lanes->alpha[k];
    if (most < 1) return -1;
    matrix M = step_matrix(ctx->settings, plan[most * row], alpha);
    double half = (M.ww + M.vv) / 2, root = half * half - determinant(M);
    if (!(root > 0) || !(half > 0)) return -1;
    double w = M.wv, v = determinant(M) / (half + sqrt(root)) - M.ww;
    for (int64_t i = most; i >= 0; --i) { /* the second column, of size 1, and what it shrinks by */
        const double size = sqrt(w * w + unit * v * unit * v);
        plan[i * row + span_w1 * padded] = w /= size;
        plan[i * row + span_v1 * padded] = v /= size;
        plan[(i + 1) * row + span_x * padded] = 1 / size; /* there is a row behind the last */
        if (i == 0) break;
        M = step_matrix(ctx->settings, plan[i * row], alpha);
        const double det = determinant(M), old = w;
        if (!(det > 0)) return -1;
        w = (M.vv * w - M.wv * v) / det, v = (M.ww * v - M.vw * old) / det;
    }
    M = step_matrix(ctx->settings, plan[row], alpha);
    half = (M.ww + M.vv) / 2, root = half * half - determinant(M);
    if (!(root > 0) || !(half > 0)) return -1;
    double first_w = half + sqrt(root) - M.vv, first_v = M.vw, second = 1;
    const double size = sqrt(first_w * first_w + unit * first_v * unit * first_v);
    first_w /= size, first_v /= size;
    for (int64_t i = 0; i <= most; ++i) {
        double *at = plan + i * row;
        if (i > 0) {
            M = step_matrix(ctx->settings, at[0], alpha);
            const double old = first_w;
            first_w = M.ww * first_w + M.wv * first_v, first_v = M.vw * old + M.vv * first_v;
            second *= at[span_x * padded];
        }
        const matrix E = {first_w, second * at[span_w1 * padded], first_v,
                          second * at[span_v1 * padded]};
        if (!is_basis(E, unit)) return i - 1;
        put_basis(at, padded, E);
    }
    return most;
}

/* The same by columns that begin as (1, 0) and (0, 1). */
static RARE int64_t plan_rotating(const context *ctx, int64_t k, int64_t most, double unit) {
    const int64_t padded = ctx->state->padded, row = span_columns * padded;
    double *plan = ctx->state->span_steps + k;
    matrix E = {1, 0, 0, 1 / unit};
    put_basis(plan, padded, E);
    for (int64_t i = 1; i <= most; ++i) {
        E = product(step_matrix(ctx->settings, plan[i * row], ctx->lanes->alpha[k]), E);
        if (!is_basis(E, unit)) return i - 1;
        put_basis(plan + i * row, padded, E);
    }
    return most;
}

/* Plan the bases of a span of lane k; the number of its steps. Needs the rates of `most`. */
static int64_t plan_bases(const context *ctx, int64_t k, int64_t most) {
    const double eta = most > 0 ? span_at(ctx->state, 1)[k] : 0, beta = ctx->settings->momentum;
    const double unit = eta > 0 ? eta / (1 - beta) : 1;
    const int64_t steps = plan_decaying(ctx, k, most, unit);
    if (steps >= most || steps >= 16) return steps;
    const int64_t others = plan_rotating(ctx, k, most, unit);
    return others >= steps ? others : plan_decaying(ctx, k, most, unit);
}

/* Weights in the average before the update that is `ahead` of the one at work. */
static ALWAYS_INLINE double averaged_ahead(const context *ctx, int64_t k, int64_t ahead) {
    const int64_t start = ctx->settings->average, N = ctx->state->t[k] + ahead - start;
    return start > 0 && N > 0 ? (double)N : 0;
}

/* Whether lane k has the same steps before it as the lane before it. */
static RARE int repeats_plan(const context *ctx, int64_t k) {
    const fsgd_state *state = ctx->state;
    const fsgd_lanes *of = ctx->lanes;
    const int64_t b = k - 1;
    return k > 0 && ctx->settings->schedule.kind != FSGD_CALLABLE && state->active[b] > 0 &&
           state->t[k] == state->t[b] && of->alpha[k] == of->alpha[b] &&
           of->eta0[k] == of->eta0[b] && of->mu[k] == of->mu[b] &&
           state->rate_factor[k] == state->rate_factor[b];
}

/* Whether the bases of the span of lane k that ends are those of the next one too: all steps at one
 * rate, with the same settings. */
static int keeps_plan(const context *ctx, int64_t k, int64_t most) {
    const fsgd_state *state = ctx->state;
    const fsgd_settings *settings = ctx->settings;
    const double beta = settings->nesterov ? -settings->momentum : settings->momentum;
    return most > 0 && state->pending > 0 && settings->schedule.kind == FSGD_CONSTANT &&
           !(settings->schedule.warmup_steps > 0) && state->span_momentum[k] == beta &&
           state->alpha[k] == ctx->lanes->alpha[k] && state->span_planned[k] == most &&
           span_at(state, 1)[k] == rate_ahead(ctx, k, 1);
}

/* Plan the span of lane k that begins after the step at work. */
static RARE void plan_span(const context *ctx, int64_t k) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, row = span_columns * padded, most = known_steps(ctx);
    double *plan = state->span_steps + k;
    state->span_step[k] = 0;
    const int kept = keeps_plan(ctx, k, most);
    if (kept && ctx->settings->average == 0) return;
    if (!kept && repeats_plan(ctx, k)) {
        state->span_planned[k] = state->span_planned[k - 1];
        for (int64_t i = 0; i < (state->span_planned[k] + 1) * span_columns; ++i)
            plan[i * padded] = plan[i * padded - 1];
        return;
    }
    for (int64_t i = 1; !kept && i <= most; ++i) plan[i * row] = rate_ahead(ctx, k, i);
    const int64_t steps = kept ? most : plan_bases(ctx, k, most);
    state->span_planned[k] = steps;
    double *at = plan + steps * row;
    at[span_x * padded] = at[span_y * padded] = 0;
    for (int64_t i = steps; i >= 1; --i, at -= row) {
        const double *before = at - row, N = averaged_ahead(ctx, k, i);
        const double x = N * (at[span_w0 * padded] - before[span_w0 * padded]);
        const double y = N * (at[span_w1 * padded] - before[span_w1 * padded]);
        (at - row)[span_x * padded] = at[span_x * padded] + x;
        (at - row)[span_y * padded] = at[span_y * padded] + y;
    }
}

/* A change of coordinates: y <- G y, h <- h + x y0 + y y1 of the y before. */
typedef struct {
    matrix G;
    double x, y;
} basis_change;

/* Add a change of lane k to all products, and as the one from the present span. */
static RARE void push_change(const fsgd_state *state, int64_t k, basis_change to) {
    const int64_t padded = state->padded, width = state->width, one = width * 2 * padded;
    double *T = state->span_products + k;
    for (int64_t i = 0; i < state->pending; ++i, T += one) {
        const matrix old = {T[0], T[padded], T[2 * padded], T[3 * padded]};
        const matrix now = product(to.G, old);
        T[0] = now.ww, T[padded] = now.wv, T[2 * padded] = now.vw, T[3 * padded] = now.vv;
        if (width == 2) continue;
        T[4 * padded] += to.x * old.ww + to.y * old.vw;
        T[5 * padded] += to.x * old.wv + to.y * old.vv;
    }
    T[0] = to.G.ww, T[padded] = to.G.wv, T[2 * padded] = to.G.vw, T[3 * padded] = to.G.vv;
    if (width == 3) T[4 * padded] = to.x, T[5 * padded] = to.y;
}

/* From the coordinates of lane k to (w, v, q). */
static basis_change to_weights(const fsgd_state *state, int64_t k) {
    if (state->pending == 0) return (basis_change){{1, 0, 0, 1}, 0, 0};
    const int64_t padded = state->padded;
    const double *at = span_at(state, state->span_step[k]) + k;
    return (basis_change){basis_at(at, padded), at[span_x * padded], at[span_y * padded]};
}

/* Groups of features whose coordinates change together. */
static ALWAYS_INLINE int64_t groups_of(const fsgd_state *state) {
    return ((state->d - 1) >> group_shift(state->padded, state->width)) + 1;
}

/* Lanes first to first + count - 1 of the numbers at y0 by the change T. One lane in planes:
 * features. */
static ALWAYS_INLINE void change_numbers(real *restrict y0, int64_t apart, const double *restrict T,
                                         const int64_t padded, const int64_t count,
                                         const int width) {
    real *restrict y1 = y0 + apart, *restrict h = y0 + (width - 1) * apart;
    _Pragma("omp simd") for (int64_t i = 0; i < count; ++i) {
        const int64_t k = padded == 1 ? 0 : i;
        const real a = y0[i], b = y1[i];
        y0[i] = (real)T[k] * a + (real)T[padded + k] * b;
        y1[i] = (real)T[2 * padded + k] * a + (real)T[3 * padded + k] * b;
        if (width == 3) h[i] += (real)T[4 * padded + k] * a + (real)T[5 * padded + k] * b;
    }
}

/* Pairs in a vector; the first numbers of each in both places, and the second ones. */
enum {
    pack_bytes = VECTOR_BYTES < 2 * REAL_BYTES ? 2 * REAL_BYTES : VECTOR_BYTES,
    pack_numbers = pack_bytes / REAL_BYTES,
};
typedef real pack __attribute__((vector_size(pack_bytes), aligned(REAL_BYTES), may_alias));
#define TWICE_2(I)  I, I
#define TWICE_4(I)  TWICE_2(I), TWICE_2(I + 2)
#define TWICE_8(I)  TWICE_4(I), TWICE_4(I + 4)
#define TWICE_16(I) TWICE_8(I), TWICE_8(I + 8)
#if VECTOR_BYTES / REAL_BYTES == 16
#define TWICE(I) TWICE_16(I)
#elif VECTOR_BYTES / REAL_BYTES == 8
#define TWICE(I) TWICE_8(I)
#elif VECTOR_BYTES / REAL_BYTES == 4
#define TWICE(I) TWICE_4(I)
#else
#define TWICE(I) TWICE_2(I)
#endif

/* `count` groups of pairs by the change T. */
static ALWAYS_INLINE void change_pairs(real *y, const double *T, const int64_t count) {
    pack of_y0, of_y1;
    for (int i = 0; i < pack_numbers; ++i)
        of_y0[i] = (real)T[i % 2 * 2], of_y1[i] = (real)T[i % 2 * 2 + 1];
    for (int64_t i = 0; i < 2 * count << group_shift(1, 2); i += pack_numbers) {
        const pack old = *(const pack *)(y + i);
        const pack y0 = __builtin_shufflevector(old, old, TWICE(0));
        const pack y1 = __builtin_shufflevector(old, old, TWICE(1));
        *(pack *)(y + i) = of_y0 * y0 + of_y1 * y1;
    }
}

/* A group of features to the present span. */
static ALWAYS_INLINE void change_group_of(const fsgd_state *state, int64_t group,
                                          const int64_t padded, const int width) {
    const int shift = group_shift(padded, width);
    const int64_t first = group << shift, last = (group + 1) << shift;
    const double *T = state->span_products + state->last_update[group] * width * 2 * padded;
    real *w = state->w;
    if (padded == 1 && width == 2) change_pairs(w + 2 * first, T, 1);
    if (padded == 1 && width == 3)
        change_numbers(w + first, state->vector_stride, T, 1, last - first, 3);
    for (int64_t j = first; padded > 1 && j < last && j < state->d; ++j)
        for (int64_t k = 0; k < padded; k += padded < 16 ? padded : 16)
            change_numbers(w + j * width * padded + k, padded, T + k, padded,
                           padded < 16 ? padded : 16, width);
    state->last_update[group] = (int32_t)state->pending;
}

static NO_INLINE void change_group(const fsgd_state *state, int64_t group) {
#define CALL(PADDED)                                                                               \
    if (state->width == 2)                                                                         \
        change_group_of(state, group, PADDED, 2);                                                  \
    else                                                                                           \
        change_group_of(state, group, PADDED, 3)
    switch (state->padded) {
    case 1: CALL(1); break;
    case 4: CALL(4); break;
    case 8: CALL(8); break;
    default: CALL(state->padded);
    }
#undef CALL
}

/* Bring features first to last to the present span; of one lane all that come from one span at
 * once. */
static NO_INLINE void change_range(const fsgd_state *state, int64_t first, int64_t last) {
    const int shift = group_shift(state->padded, state->width);
    int32_t *last_update = state->last_update;
    const int32_t now = (int32_t)state->pending;
    int64_t end;
    for (int64_t group = first >> shift; group <= last >> shift; group = end) {
        const int32_t from = last_update[group];
        for (end = group + 1; end <= last >> shift && last_update[end] == from; ++end) {
        }
        for (int64_t g = group; state->padded > 1 && from != now && g < end; ++g)
            change_group(state, g);
        if (state->padded > 1 || from == now) continue;
        real *w = (real *)state->w;
        const double *T = state->span_products + from * state->width * 2;
        const int64_t first_feature = group << shift;
        if (state->width == 2)
            change_pairs(w + 2 * first_feature, T, end - group);
        else
            change_numbers(w + first_feature, state->vector_stride, T, 1, (end - group) << shift,
                           3);
        for (int64_t g = group; g < end; ++g) last_update[g] = now;
    }
}

/* Whether all features change to a span when it is opened: where that costs little beside its
 * steps. Else a row's features change when they are seen. */
static ALWAYS_INLINE int sweeps(const fsgd_state *state) {
    const int64_t numbers = state->d * state->padded * state->width;
    return state->pending > 0 && state->d <= 1024 * state->span_planned[0] &&
           numbers <= (1 << 20) / REAL_BYTES;
}

/* Bring the features of a row to the present span. */
static ALWAYS_INLINE void change_row(const fsgd_state *state, const row_values *row,
                                     const fsgd_layout layout, const int64_t tile) {
    enum { AHEAD = 8 };
    const row_values r = *row;
    const int64_t padded = tile < WIDEST_TILE ? tile : state->padded,
                  stride = state->feature_stride;
    const int32_t now = (int32_t)state->pending, *last_update = state->last_update;
    const int shift = group_shift(padded, state->width);
    const real *w = state->w;
    for (int64_t p = 0; p < r.count; ++p) {
        const int64_t j = feature_of(&r, p, layout);
        const int64_t next = feature_of(&r, p + AHEAD < r.count ? p + AHEAD : p, layout);
        prefetch(w + next * stride, stride * (int64_t)sizeof(real));
        if (__builtin_expect(last_update[j >> shift] != now, 0)) change_group(state, j >> shift);
    }
}

/* The same of one lane. Which groups have to change is chance: they are listed without branches. */
static ALWAYS_INLINE void change_row_of_one(const fsgd_state *state, const row_values *row,
                                            const int width) {
    enum { MOST = 64 };
    const row_values r = *row;
    const int32_t now = (int32_t)state->pending, *last_update = state->last_update;
    const int shift = group_shift(1, width);
    for (int64_t first = 0; first < r.count; first += MOST) {
        const int64_t stop = r.count - first < MOST ? r.count : first + MOST;
        int64_t stale[MOST];
        int count = 0;
        for (int64_t p = first; p < stop; ++p) {
            stale[count] = r.columns[p] >> shift;
            count += last_update[r.columns[p] >> shift] != now;
        }
        for (int i = 0; i < count; ++i)
            if (__builtin_expect(last_update[stale[i]] != now,
                                 1)) /* a row may name a group twice */
                change_group_of(state, stale[i], 1, width);
    }
}

/* End the span: features are stored as they are. */
static void flush_spans(context *ctx) {
    fsgd_state *state = ctx->state;
    if (state->pending == 0) return;
    for (int64_t k = 0; k < state->padded; ++k) push_change(state, k, to_weights(state, k));
    state->pending += 1;
    change_range(state, 0, state->d - 1);
    memset(state->last_update, 0, (size_t)groups_of(state) * sizeof *state->last_update);
    state->pending = 0;
    state->rescales += 1;
    ctx->report->work += state->d * state->width;
}

/* What a score takes of a feature's coordinates, w = m0 y0 + m1 y1, as of the last step. */
static ALWAYS_INLINE void find_score_coefficients(context *ctx) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    for (int64_t k = 0; k < padded; ++k) {
        const double *at = span_at(state, state->span_step[k]) + k;
        ctx->step.score[k] = state->pending ? (real)at[span_w0 * padded] : 1;
        ctx->step.score[padded + k] = state->pending ? (real)at[span_w1 * padded] : 0;
    }
}

/* Whether the span that a state has was planned with other settings. */
static RARE int plans_differ(const context *ctx) {
    const fsgd_state *state = ctx->state;
    const double beta = ctx->settings->nesterov ? -ctx->settings->momentum
                                                : ctx->settings->momentum;
    int differ = 0;
    for (int64_t k = 0; k < ctx->lanes->k; ++k)
        differ |= state->alpha[k] != ctx->lanes->alpha[k] || state->span_momentum[k] != beta ||
                  state->span_average[k] != (double)ctx->settings->average;
    return differ;
}

/* Keep the settings of the steps to come beside what is pending of them. */
static RARE void keep_settings(const context *ctx) {
    const fsgd_state *state = ctx->state;
    const double beta = ctx->settings->momentum;
    for (int64_t k = 0; k < state->padded; ++k) {
        state->alpha[k] = ctx->lanes->alpha[k];
        state->span_momentum[k] = ctx->settings->nesterov ? -beta : beta;
        state->span_average[k] = (double)ctx->settings->average;
    }
}

/* Begin a run: the score's coefficients, and whether its first step opens a span. */
static RARE void start_spans(context *ctx) {
    ctx->step.opens = ctx->state->pending > 0 && plans_differ(ctx);
    ctx->step.touches = !sweeps(ctx->state);
    find_score_coefficients(ctx);
}

/* Open a span after the step that is planned, of the lanes that have rows in it (count > 0). */
static RARE void open_span(context *ctx, const double *count) {
    fsgd_state *state = ctx->state;
    const fsgd_settings *settings = ctx->settings;
    const int64_t padded = state->padded;
    if (state->pending + 1 >= state->max_pending) flush_spans(ctx);
    for (int64_t k = 0; k < padded; ++k) {
        const int updated = count[k] > 0, planned = k < ctx->lanes->k && state->active[k] > 0;
        const basis_change old = to_weights(state, k);
        const double alpha = ctx->lanes->alpha[k], N = averaged_ahead(ctx, k, 0);
        matrix before = old.G, after = before;
        basis_change to = {{1, 0, 0, 1}, old.x, old.y};
        if (updated) after = product(step_matrix(settings, ctx->step.eta[k], alpha), before);
        double *plan = state->span_steps + k;
        if (planned) {
            plan_span(ctx, k);
        } else { /* a lane that stands still: its first update finds another rate and plans */
            put_basis(plan, padded, (matrix){1, 0, 0, 1});
            plan[span_x * padded] = plan[span_y * padded] = 0;
            state->span_step[k] = state->span_planned[k] = 0;
        }
        const matrix S = basis_at(plan, padded);
        const double det = determinant(S);
        to.G = product((matrix){S.vv / det, -S.wv / det, -S.vw / det, S.ww / det}, after);
        if (updated) {
            to.x -= N * (after.ww - before.ww);
            to.y -= N * (after.wv - before.wv);
        }
        to.x -= plan[span_x * padded] * to.G.ww + plan[span_y * padded] * to.G.vw;
        to.y -= plan[span_x * padded] * to.G.wv + plan[span_y * padded] * to.G.vv;
        push_change(state, k, to);
    }
    keep_settings(ctx);
    state->pending += 1;
    if (sweeps(state)) {
        change_range(state, 0, state->d - 1);
        for (int64_t group = groups_of(state) - 1; group >= 0; --group)
            state->last_update[group] = 1;
        state->pending = 1;
        state->rescales += 1;
        ctx->report->work += state->d / 8;
    }
    ctx->step.touches = !sweeps(state);
}

/* Take the step in the plan of the span, or open one. What a gradient adds to the coordinates goes
 * into step.p. */
static ALWAYS_INLINE void advance_span(context *ctx, const int64_t padded, const int width,
                                       const double *restrict count) {
    fsgd_state *state = ctx->state;
    const double *restrict eta = ctx->step.eta;
    const double beta = ctx->settings->momentum;
    const int nesterov = ctx->settings->nesterov;
    int opens = state->pending == 0 || ctx->step.opens;
    for (int64_t k = 0; k < padded; ++k) {
        const int64_t step = state->span_step[k] + 1;
        opens |= count[k] > 0 &&
                 (step > state->span_planned[k] || span_at(state, step)[k] != eta[k]);
    }
    ctx->step.opens = 0, ctx->step.opened = opens;
    if (__builtin_expect(opens, 0))
        open_span(ctx, count);
    else
        for (int64_t k = 0; k < padded; ++k) state->span_step[k] += count[k] > 0;
    for (int64_t k = 0; k < padded; ++k) {
        const double *at = span_at(state, state->span_step[k]) + k;
        const double updated = count[k] > 0, m = updated > 0 ? count[k] : 1;
        const matrix E = basis_at(at, padded);
        const double w = -(nesterov ? eta[k] * (1 + beta) : eta[k]) / m, v = updated / m;
        const double by = 1 / determinant(E);
        const double y0 = (E.vv * w - E.wv * v) * by, y1 = (E.ww * v - E.vw * w) * by;
        ctx->step.p[k] = (real)y0;
        ctx->step.p[padded + k] = (real)y1;
        ctx->step.score[k] = (real)E.ww;
        ctx->step.score[padded + k] = (real)E.wv;
        const double part = ctx->lanes->intercept_rate[k]; /* of intercepts, without L2 */
        const double moved = -part * eta[k] * beta * (nesterov ? beta : 1);
        ctx->step.p0[k] = (real)(part * w), ctx->step.p0[padded + k] = (real)v;
        ctx->step.D0[padded + k] = (real)moved;
        ctx->step.D0[(width + 1) * padded + k] = (real)(updated * (beta - 1));
        if (width == 3) {
            const double N = averaged_ahead(ctx, k, 0);
            ctx->step.p[2 * padded + k] = (real)(-N * w - at[span_x * padded] * y0 -
                                                 at[span_y * padded] * y1);
            ctx->step.p0[2 * padded + k] = (real)(-N * part * w);
            ctx->step.D0[7 * padded + k] = (real)(-N * moved);
        }
    }
}

/* From the coordinates of a feature of lane k as of span `from` to (w, v, q). */
static basis_change from_span(const fsgd_state *state, int64_t k, int64_t from) {
    const int64_t padded = state->padded, width = state->width;
    const double *T = state->span_products + from * width * 2 * padded + k;
    const basis_change last = to_weights(state, k);
    if (from == state->pending) return last;
    const matrix G = {T[0], T[padded], T[2 * padded], T[3 * padded]};
    basis_change all = {product(last.G, G), last.x * G.ww + last.y * G.vw,
                        last.x * G.wv + last.y * G.vv};
    if (width == 3) all.x += T[4 * padded], all.y += T[5 * padded];
    return all;
}

/* What reading takes of the coordinates of lane k as of each span, w = m0 y0 + m1 y1 and, of
 * averages of N > 0 weights, h / N besides: (pending + 1, 2). */
static RARE void find_readings(const fsgd_state *state, int64_t k, int64_t N, double *readings) {
    for (int64_t from = 0; from <= state->pending; ++from) {
        const basis_change to = from_span(state, k, from);
        double w0 = to.G.ww, w1 = to.G.wv;
        if (N > 0) w0 += to.x * (1 / (double)N), w1 += to.y * (1 / (double)N);
        readings[2 * from] = w0, readings[2 * from + 1] = w1;
    }
}

/* `count` features at y0, `stride` elements from one to the next; in reals, as scores are. */
static ALWAYS_INLINE void read_coordinates(const real *y0, const int64_t stride, int64_t apart,
                                           const double *m, const int averaged, double of_h,
                                           const int64_t count, real *restrict out) {
    const real *y1 = y0 + apart, *h = y1 + apart;
    const real m0 = (real)m[0], m1 = (real)m[1], by = (real)of_h;
    _Pragma("omp simd") for (int64_t i = 0; i < count; ++i) {
        real weight = m0 * y0[i * stride] + m1 * y1[i * stride];
        if (averaged) weight += by * h[i * stride];
        out[i] = weight;
    }
}

/* Whole groups of one lane. */
static ALWAYS_INLINE void read_groups(const fsgd_state *state, int64_t first, int64_t last,
                                      const double *readings, const int width, const int averaged,
                                      double of_h, real *restrict out) {
    const int64_t stride = csr_stride(width), features = 1 << group_shift(1, width);
    const int64_t apart = width == 2 ? 1 : state->vector_stride;
    const int32_t *from = state->last_update + first / features;
    const real *y0 = (const real *)state->w + first * stride;
    for (int64_t j = first; j < last; j += features, y0 += features * stride, out += features)
        read_coordinates(y0, stride, apart, readings + 2 * *from++, averaged, of_h, features, out);
}

/* The weights of all lanes, or their averages, from feature `first` up to `last`: out (k, room).
 * `first` begins a group. `readings`: (k, max_pending + 1, 2), those of find_readings. */
static void read_spans(const context *ctx, int average, int64_t first, int64_t last,
                       const double *readings, int64_t room, real *out) {
    const fsgd_state *state = ctx->state;
    const int shift = group_shift(state->padded, state->width);
    const int64_t start = ctx->settings->average, stride = state->feature_stride;
    const int64_t apart = state->vector_stride, most = (int64_t)1 << shift;
    for (int64_t k = 0; k < state->k; ++k, readings += 2 * (state->max_pending + 1)) {
        const int64_t N = average && start > 0 ? state->t[k] - start + 1 : 0;
        const double of_h = N > 0 ? 1 / (double)N : 0;
        int64_t j = first;
        if (state->padded == 1) {
            j = last - ((last - first) & (most - 1));
            if (state->width == 2)
                read_groups(state, first, j, readings, 2, 0, 0, out);
            else if (N > 0)
                read_groups(state, first, j, readings, 3, 1, of_h, out);
            else
                read_groups(state, first, j, readings, 3, 0, 0, out);
        }
        for (; j < last; j += most) {
            const int64_t count = last - j < most ? last - j : most;
            const real *y0 = (const real *)state->w + j * stride + k;
            const double *m = readings + 2 * state->last_update[j >> shift];
            real *to = out + k * room + (j - first);
            read_coordinates(y0, stride, apart, m, N > 0, of_h, count, to);
        }
    }
}

#endif
