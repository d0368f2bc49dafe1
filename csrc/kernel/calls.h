/* calls.h: what a kernel table offers (csrc/fastsgd.h), each a call with a context of its own: a
 * run, the verbs of a step by themselves, the model as it stands.
 */

#ifndef FASTSGD_KERNEL_CALLS_H
#define FASTSGD_KERNEL_CALLS_H

#include "batches.h"
#include "memory.h"
#include "one_lane/batches.h"
#include "weights.h"

#include <float.h>

#define TILE 1
#include "lanes/verbs.h"
#define TILE 4
#include "lanes/verbs.h"
#if WIDEST_TILE == 16
#define TILE 8
#include "lanes/verbs.h"
#define TILE 16
#include "lanes/verbs.h"
#endif

typedef enum { SCORE, SLOPE, ACCUMULATE } verb_name;

/* The verbs for the number of lanes and the layout. */

static const verb_table *verbs_for(const context *ctx) {
    switch (ctx->lanes->padded) {
    case 1: return ctx->data->layout == FSGD_DENSE ? &one_lane_verbs : &CAT3(lanes_verbs, _, 1);
#if WIDEST_TILE == 16
    case 4: return &CAT3(lanes_verbs, _, 4);
    case 8: return &CAT3(lanes_verbs, _, 8);
    default: return &CAT3(lanes_verbs, _, 16);
#else
    default: return &CAT3(lanes_verbs, _, 4);
#endif
    }
}

/* Flush the lazy updates that an earlier run left pending: before a kernel that knows of none. */
static RARE void flush_pending(context *ctx, const verb_table *verbs) {
    if (ctx->state->pending > 0 && ctx->adaptive.on) {
        adaptive_flush(ctx);
    } else if (ctx->state->pending > 0 && ctx->kind.l1 && !ctx->state->last_update) {
        flush_truncations(ctx);
    } else if (ctx->state->pending > 0 && ctx->kind.l1 && has_momentum(ctx->state)) {
        move_all(ctx);
    } else if (ctx->state->pending > 0 && ctx->kind.l1) {
        verbs = ctx->lanes->padded == 1 ? &CAT3(lanes_verbs, _, 1) : verbs;
        verbs->shrink_all(ctx);
    } else {
        flush_spans(ctx);
    }
}

/* The context of a call. */
static fsgd_status open_call(context *ctx, const fsgd_problem *problem, fsgd_report *report) {
    const fsgd_status status = open_context(ctx, problem, report);
    const fsgd_state *state = problem->state;
    if (status == FSGD_OK && ctx->kind.l1 && state->last_update && !has_momentum(state))
        read_l1_sums(ctx);
    return status;
}

/* Train until about `budget` values were read, or the run is done. */
static fsgd_status run(const fsgd_problem *problem, int64_t budget, fsgd_report *report) {
    context ctx;
    fsgd_state *state = problem->state;
    *report = (fsgd_report){.eta = NAN};
    fsgd_status status = open_call(&ctx, problem, report);
    if (status != FSGD_OK) return status;
    const verb_table *verbs = verbs_for(&ctx);
    if (steps_everywhere(&ctx)) flush_pending(&ctx, verbs);
    if (ctx.adaptive.on) adaptive_adopt(&ctx);
    if (ctx.kind.spans) start_spans(&ctx);
    if (ctx.kind.l1_momentum) start_moving(&ctx);
    if (state->row == 0 && state->batch_row == 0)
        for (int64_t k = 0; k < state->padded; ++k) {
            state->loss_sum[k] = state->row_count[k] = 0;
            state->norm_sum[k] = state->norm_count[k] = 0;
        }
    status = problem->settings->batch_size == 1 ? verbs->run_single(&ctx, budget)
                                                : run_batches(&ctx, verbs, budget);
    if (report->changed) status = FSGD_BAD_CSR;
    if (problem->settings->batch_size == 1)
        report->window_done = state->row >= whole_blocks(problem);
    if (status == FSGD_OK && state->row == problem->data->epoch_rows) {
        if (ctx.kind.shrinks && state->padded == 1 && state->width > 1 && state->pending > 0)
            settle_all(&ctx);
        state->epoch += 1;
        state->row = 0;
        report->epoch_done = 1;
    }
    close_context(&ctx);
    return status;
}

/* One verb of a step for m rows, in chunks. */
static RARE fsgd_status do_verb(verb_name verb, const fsgd_problem *problem, const int64_t *rows,
                                int64_t m, real *z, real *c) {
    context ctx;
    fsgd_report report = {0};
    fsgd_status status = open_call(&ctx, problem, &report);
    if (status != FSGD_OK) return status;
    const int64_t padded = problem->lanes->padded;
    const verb_table *verbs = verbs_for(&ctx);
    ctx.order = NULL; /* which may not be drawn yet */
    if (steps_everywhere(&ctx)) flush_pending(&ctx, verbs);
    if (ctx.kind.spans) start_spans(&ctx);
    if (ctx.kind.l1_momentum) start_moving(&ctx);
    for (int64_t r = 0; r < m && status == FSGD_OK; r += ctx.chunk.size) {
        int64_t count = m - r < ctx.chunk.size ? m - r : ctx.chunk.size;
        size_t bytes = (size_t)(count * padded) * sizeof(real);
        if (verb == SCORE) {
            verbs->score(&ctx, rows + r, count);
            memcpy(z + r * padded, ctx.chunk.z, bytes);
        } else if (verb == SLOPE) {
            memcpy(ctx.chunk.z, z + r * padded, bytes);
            status = find_and_count_slopes(&ctx, rows + r, count);
            memcpy(c + r * padded, ctx.chunk.c, bytes);
        } else {
            if (ctx.data->layout == FSGD_DENSE)
                for (int64_t i = 0; i < count; ++i)
                    load_row(&ctx, rows[r + i], ctx.chunk.x + i * ctx.rows.stride);
            memcpy(ctx.chunk.c, c + r * padded, bytes);
            accumulate_rows(&ctx, verbs, rows + r, count);
        }
    }
    close_context(&ctx);
    return report.changed ? FSGD_BAD_CSR : status;
}

static fsgd_status score_rows(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                              void *z) {
    return do_verb(SCORE, problem, rows, m, z, NULL);
}

static fsgd_status slope_rows(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                              const void *z, void *c) {
    return do_verb(SLOPE, problem, rows, m, (void *)(uintptr_t)z, c);
}

static fsgd_status accumulate_given(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                                    const void *c) {
    return do_verb(ACCUMULATE, problem, rows, m, NULL, (void *)(uintptr_t)c);
}

/* Nothing pending, scales 1: the stored weights are the weights. */
static RARE fsgd_status flush_problem(const fsgd_problem *problem) {
    context ctx;
    fsgd_report report = {0};
    if (open_call(&ctx, problem, &report) != FSGD_OK) return FSGD_NO_MEMORY;
    flush_pending(&ctx, verbs_for(&ctx));
    if (ctx.kind.scaled) apply_scales(&ctx, INFINITY);
    close_context(&ctx);
    return FSGD_OK;
}

/* The model, or its average: out (k, d), intercept (k). */
static fsgd_status read_model(const fsgd_problem *problem, int average, void *out,
                              void *intercept) {
    context ctx;
    fsgd_report report = {0};
    const fsgd_state *state = problem->state;
    const int64_t last = (state->width - 1) * state->padded;
    if (open_call(&ctx, problem, &report) != FSGD_OK) return FSGD_NO_MEMORY;
    const verb_table *verbs = state->padded == 1 ? &CAT3(lanes_verbs, _, 1) : verbs_for(&ctx);
    start_reading_model(&ctx, average);
    read_weights(&ctx, verbs, average, 0, state->d, state->d, out);
    for (int64_t k = 0; k < state->k; ++k) {
        const real *u = (const real *)state->intercept + k;
        ((real *)intercept)[k] = model_weight(&ctx, average, k, (double)u[0], (double)u[last]);
    }
    close_context(&ctx);
    return FSGD_OK;
}

enum { size_sums = 8 };

/* Add value^2 to eight sums, and |value| to eight others, whatever the instruction set; callers
 * know at compile time which of both is NULL. An array may come in parts of multiples of eight: its
 * sums are the same. */
static ALWAYS_INLINE void add_sums(double *squares, double *sizes, const real *v, int64_t n) {
    int64_t i = 0;
    for (; i + size_sums <= n; i += size_sums)
        _Pragma("omp simd") for (int s = 0; s < size_sums; ++s) {
            const double value = (double)v[i + s];
            if (squares) squares[s] += value * value;
            if (sizes) sizes[s] += fabs(value);
        }
    for (; i < n; ++i) {
        const double value = (double)v[i];
        if (squares) squares[i % size_sums] += value * value;
        if (sizes) sizes[i % size_sums] += fabs(value);
    }
}

static double total_of(const double *sums) {
    double total = 0;
    for (int s = 0; s < size_sums; ++s) total += sums[s];
    return total;
}

/* The sum of |value|, or of value^2. */
static NO_INLINE double sum_of_sizes(const void *values, int64_t n, int squares) {
    double sums[size_sums] = {0};
    if (squares)
        add_sums(sums, NULL, values, n);
    else
        add_sums(NULL, sums, values, n);
    return total_of(sums);
}

/* Both of a part of an array, added to the sums of those before: of value^2 into `squares`, of
 * |value| into `sizes`, unless that is NULL. */
static NO_INLINE void add_part(double *squares, double *sizes, const real *v, int64_t n) {
    double of_squares[size_sums], of_sizes[size_sums]; /* which the compiler keeps in registers */
    memcpy(of_squares, squares, sizeof of_squares);
    if (sizes) {
        memcpy(of_sizes, sizes, sizeof of_sizes);
        add_sums(of_squares, of_sizes, v, n);
        memcpy(sizes, of_sizes, sizeof of_sizes);
    } else {
        add_sums(of_squares, NULL, v, n);
    }
    memcpy(squares, of_squares, sizeof of_squares);
}

/* The sum of squares of scale * w, as sum_of_sizes has it of what read_stored writes. Of pairs also
 * the sum of |q|, in reals. */
static ALWAYS_INLINE double scaled_squares(const real *w, double scale, int64_t n,
                                           const int64_t stride, double *of_q) {
    enum { SUMS = 8 };
    const real by = (real)scale;
    double sums[SUMS] = {0}, total = 0;
    real sizes[SUMS] = {0};
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS) _Pragma("omp simd") for (int s = 0; s < SUMS; ++s) {
            const double value = (double)(by * w[(i + s) * stride]);
            sums[s] += value * value;
            if (stride == 2) sizes[s] += (real)fabs((double)w[(i + s) * 2 + 1]);
        }
    for (; i < n; ++i) {
        const double value = (double)(by * w[i * stride]);
        sums[i % SUMS] += value * value;
        if (stride == 2) sizes[0] += (real)fabs((double)w[i * 2 + 1]);
    }
    for (int s = 0; s < SUMS; ++s) total += sums[s];
    for (int s = 0; stride == 2 && s < SUMS; ++s) *of_q += (double)sizes[s];
    return total;
}

/* Functions of their own: within their caller one of the sums would be kept in memory, 380 instead
 * of 200 us for a million weights. */
static NO_INLINE double sum_of_squares(const real *w, double scale, int64_t n) {
    return scaled_squares(w, scale, n, 1, NULL);
}

static NO_INLINE double measure_pairs(const real *w, double scale, int64_t n, double *of_q) {
    *of_q = 0;
    return scaled_squares(w, scale, n, 2, of_q);
}

/* The sum of |value|, in reals: for bounds. */
static NO_INLINE double rough_sum(const real *v, int64_t n) {
    real sizes = 0;
    _Pragma("omp simd reduction(+ : sizes)") for (int64_t i = 0; i < n; ++i)
        sizes += (real)fabs((double)v[i]);
    return (double)sizes;
}

/* A number that no weight of one lane's average is above in size: its weights have these sums of
 * w^2 and |w|. Sums over the features of what is stored bound every one of them; infinite where
 * that says too little. `of_q` is the sum of |q|, or negative; `readings` are those of
 * find_readings. */
static RARE double bound_of_average(const context *ctx, double square, double size, double of_q,
                                    const double *readings) {
    const fsgd_state *state = ctx->state;
    const int64_t d = state->d, start = ctx->settings->average;
    const double N = (double)(state->t[0] - start + 1);
    const real *w = state->w, *q = w + (state->width - 1) * state->vector_stride;
    of_q = (of_q < 0 ? rough_sum(q, d) : of_q) / N;
    if (ctx->kind.scaled) {
        const stored_model model = stored_model_of(ctx, 1);
        return sqrt(square) * fabs(model.of_w) / state->scale[0] + of_q;
    }
    if (state->pending == 0) return sqrt(square) + of_q;
    if (ctx->adaptive.on) return (double)INFINITY;
    if (!ctx->kind.l1) {
        double m0 = 0, m1 = 0;
        for (int64_t from = 0; from <= state->pending; ++from) {
            m0 = fmax(m0, fabs(readings[2 * from])), m1 = fmax(m1, fabs(readings[2 * from + 1]));
        }
        return m0 * rough_sum(w, d) + m1 * rough_sum(w + state->vector_stride, d) + of_q;
    }
    if (has_momentum(state)) return (double)INFINITY;
    const lane_sums s = sums_of(ctx->step.l1_present, 1, 1, 0); /* q = Q + sign (M B - E) */
    const double C = (double)s.scaled + (double)s.scaled_rest;
    const double M = size * (double)s.inverse + C * (double)d;
    return sqrt(square) + of_q + (M * fabs((double)s.lost) + fabs((double)s.scaled_lost)) / N;
}

/* Whether no value is infinite or NaN. */
static NO_INLINE int are_finite(const real *v, int64_t n) {
    real strange = 0; /* 0, or NaN */
    _Pragma("omp simd reduction(+ : strange)") for (int64_t i = 0; i < n; ++i)
        strange += v[i] - v[i];
    return strange == 0;
}

enum { measured = 1 << 12 }; /* weights of a part, of all lanes */

/* The sums of w^2, and with L1 of |w|, of each lane, part by part of the features: each is read to
 * where the sums find it in a cache. sums: (2, k, size_sums). */
static void measure_parts(context *ctx, const verb_table *verbs, int64_t room, real *part,
                          double *sums) {
    const fsgd_state *state = ctx->state;
    double *sizes = sums + size_sums * state->k;
    start_reading_model(ctx, 0);
    for (int64_t first = 0; first < state->d; first += room) {
        const int64_t last = state->d - first < room ? state->d : first + room;
        read_weights(ctx, verbs, 0, first, last, room, part);
        for (int64_t k = 0; k < state->k; ++k) {
            double *of_sizes = state->vectors > state->width ? sizes + k * size_sums : NULL;
            add_part(sums + k * size_sums, of_sizes, part + k * room, last - first);
        }
    }
}

/* Whether a bound shows that the averages are finite, as it does for one lane nearly always. The
 * sums are those of bound_of_average. */
static int average_is_bounded(const context *ctx, double square, double size, double of_q) {
    const fsgd_state *state = ctx->state;
    if (state->k != 1 || state->t[0] < ctx->settings->average) return 0;
    const double largest = sizeof(real) == 4 ? (double)FLT_MAX : DBL_MAX;
    const double *readings = ctx->readings + 2 * (state->max_pending + 1);
    return bound_of_average(ctx, square, size, of_q, readings) < 0.25 * largest;
}

/* Whether all averages, which start_reading_model was told to read, are finite. */
static int averages_are_finite(context *ctx, const verb_table *verbs, int64_t room, real *part) {
    const fsgd_state *state = ctx->state;
    int finite = 1;
    for (int64_t first = 0; first < state->d; first += room) {
        const int64_t last = state->d - first < room ? state->d : first + room;
        read_weights(ctx, verbs, 1, first, last, room, part);
        for (int64_t k = 0; k < state->k; ++k) finite &= are_finite(part + k * room, last - first);
    }
    return finite;
}

/* See csrc/fastsgd.h. */
static fsgd_status measure_model(const fsgd_problem *problem, int average, double *squares,
                                 double *sizes, int *finite, void *intercepts) {
    context ctx;
    fsgd_report report = {0};
    const fsgd_state *state = problem->state;
    const int64_t k = state->k, last = (state->width - 1) * state->padded;
    if (open_call(&ctx, problem, &report) != FSGD_OK) return FSGD_NO_MEMORY;
    const int plain = ctx.kind.scaled && state->padded == 1; /* without a copy of any part */
    const int64_t share = measured / k / 16 * 16, room = share < 16 ? 16 : share;
    const size_t bytes = (size_t)(k * room) * sizeof(real);
    const size_t of_sums = 2 * size_sums * (size_t)k * sizeof(double);
    char *memory = allocate_aligned(bytes + of_sums);
    double *sums = (double *)(memory + bytes);
    const verb_table *verbs = state->padded == 1 ? &CAT3(lanes_verbs, _, 1) : verbs_for(&ctx);
    if (memory) {
        memset(sums, 0, of_sums);
        if (!plain) measure_parts(&ctx, verbs, room, (real *)memory, sums);
        double of_q = -1;
        *finite = 1;
        for (int64_t lane = 0; lane < k; ++lane) {
            squares[lane] = total_of(sums + lane * size_sums);
            sizes[lane] = total_of(sums + (k + lane) * size_sums);
            if (plain && state->feature_stride == 1)
                *squares = sum_of_squares(state->w, state->scale[0], state->d);
            else if (plain)
                *squares = measure_pairs(state->w, state->scale[0], state->d, &of_q);
            *finite &= isfinite(squares[lane]);
        }
        if (*finite && average) {
            start_reading_model(&ctx, 1);
            *finite = average_is_bounded(&ctx, *squares, *sizes, of_q) ||
                      averages_are_finite(&ctx, verbs, room, (real *)memory);
        }
    }
    const fsgd_status status = memory ? FSGD_OK : FSGD_NO_MEMORY;
    free_aligned(memory);
    for (int64_t lane = 0; lane < k; ++lane) {
        const real *u = (const real *)state->intercept + lane;
        const double b = (double)u[0], q = (double)u[last];
        ((real *)intercepts)[lane] = model_weight(&ctx, 0, lane, b, q);
        ((real *)intercepts)[k + lane] = model_weight(&ctx, average, lane, b, q);
    }
    close_context(&ctx);
    return status;
}

/* Values or slopes of an uncoupled loss over arrays (n). */
static RARE void loss_at(const fsgd_loss_spec *loss, int slope, int64_t n, const void *z,
                         const void *y, void *out) {
    real weights[64];
    for (int i = 0; i < 64; ++i) weights[i] = 1;
    for (int64_t i = 0; i < n; i += 64) {
        int64_t m = n - i < 64 ? n - i : 64;
        const real *zi = (const real *)z + i, *yi = (const real *)y + i;
        if (slope)
            loss_slopes(loss, m, zi, yi, weights, (real *)out + i);
        else
            loss_values(loss, m, zi, yi, weights, (real *)out + i);
    }
}

#endif
