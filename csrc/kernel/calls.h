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

/* Add |value|, or value^2, to eight sums at once, whatever the instruction set. An array may come
 * in parts of multiples of eight: its sums are the same. */
static ALWAYS_INLINE void add_sizes(double *sums, const real *v, int64_t n, int squares) {
    int64_t i = 0;
    for (; i + size_sums <= n; i += size_sums)
        _Pragma("omp simd") for (int s = 0; s < size_sums; ++s) {
            const double value = (double)v[i + s];
            sums[s] += squares ? value * value : fabs(value);
        }
    for (; i < n; ++i) {
        const double value = (double)v[i];
        sums[i % size_sums] += squares ? value * value : fabs(value);
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
    add_sizes(sums, values, n, squares);
    return total_of(sums);
}

/* The same of a part of an array, added to the sums of those before. */
static NO_INLINE void add_part(double *into, const real *v, int64_t n, int squares) {
    double sums[size_sums];
    memcpy(sums, into, sizeof sums);
    add_sizes(sums, v, n, squares);
    memcpy(into, sums, sizeof sums);
}

/* The sum of squares of scale * w, as sum_of_sizes has it of what read_planes
 * writes. Not inline: within its caller one of the sums would be kept in memory, 380 instead of 200
 * us for a million weights. */
static NO_INLINE double sum_of_squares(const real *w, double scale, int64_t n) {
    enum { SUMS = 8 };
    double sums[SUMS] = {0}, total = 0;
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS) _Pragma("omp simd") for (int s = 0; s < SUMS; ++s) {
            const double value = (double)(real)(scale * (double)w[i + s]);
            sums[s] += value * value;
        }
    for (; i < n; ++i) {
        const double value = (double)(real)(scale * (double)w[i]);
        sums[i % SUMS] += value * value;
    }
    for (int s = 0; s < SUMS; ++s) total += sums[s];
    return total;
}

/* Whether all of w + q / N is finite, for weights w of a finite sum of squares. Sums of sizes
 * decide it nearly always; only numbers of about the largest size are divided one by one. */
static int averages_are_finite(model_planes model, double square, double scale, int64_t d) {
    enum { PART = 256 };
    const real largest = sizeof(real) == 4 ? (real)FLT_MAX : (real)DBL_MAX;
    const real *q = model.q;
    real sizes = 0, part[PART], strange = 0; /* 0, or NaN */
    _Pragma("omp simd reduction(+ : sizes)") for (int64_t j = 0; j < d; ++j)
        sizes += (real)fabs((double)q[j]);
    const double bound = sqrt(square) * fabs(model.of_w) / scale + (double)sizes / model.by;
    if (bound < 0.25 * (double)largest) return 1;
    for (int64_t j = 0; j < d; j += PART) {
        const int64_t stop = d - j < PART ? d : j + PART;
        read_planes(model, j, stop, part);
        for (int64_t i = 0; i < stop - j; ++i) strange += part[i] - part[i];
    }
    return strange == 0;
}

/* Whether no value is infinite or NaN. */
static NO_INLINE int are_finite(const real *v, int64_t n) {
    real strange = 0; /* 0, or NaN */
    _Pragma("omp simd reduction(+ : strange)") for (int64_t i = 0; i < n; ++i)
        strange += v[i] - v[i];
    return strange == 0;
}

enum { measured = 1 << 14 }; /* weights of a part, of all lanes */

/* The sums of w^2, and with L1 of |w|, of each lane, and whether the model is finite, part by part
 * of the features: each is read to where the sums find it in a cache. sums: (2, k, size_sums). */
static int measure_parts(context *ctx, const verb_table *verbs, int average, int64_t room,
                         real *part, double *sums) {
    const fsgd_state *state = ctx->state;
    double *sizes = sums + size_sums * state->k;
    int finite = 1;
    start_reading_model(ctx, 0);
    if (average) start_reading_model(ctx, 1);
    for (int64_t first = 0; first < state->d; first += room) {
        const int64_t last = state->d - first < room ? state->d : first + room;
        read_weights(ctx, verbs, 0, first, last, room, part);
        for (int64_t k = 0; k < state->k; ++k) {
            add_part(sums + k * size_sums, part + k * room, last - first, 1);
            if (ctx->kind.l1 || state->vectors > state->width)
                add_part(sizes + k * size_sums, part + k * room, last - first, 0);
        }
        if (!average) continue;
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
    fsgd_status status = FSGD_OK;
    if (ctx.kind.scaled && state->padded == 1) { /* without a copy of any part */
        const model_planes at_last = planes_of(&ctx, 0), model = planes_of(&ctx, average);
        *squares = sum_of_squares(at_last.w, at_last.of_w, state->d), *sizes = 0;
        *finite = isfinite(*squares);
        if (*finite && model.q)
            *finite = averages_are_finite(model, *squares, at_last.of_w, state->d);
    } else {
        const int64_t share = measured / k / 16 * 16, room = share < 16 ? 16 : share;
        const size_t bytes = (size_t)(k * room) * sizeof(real);
        const size_t of_sums = 2 * size_sums * (size_t)k * sizeof(double);
        char *memory = allocate_aligned(bytes + of_sums);
        double *sums = (double *)(memory + bytes);
        if (memory) {
            const verb_table *verbs = state->padded == 1 ? &CAT3(lanes_verbs, _, 1)
                                                         : verbs_for(&ctx);
            memset(sums, 0, of_sums);
            *finite = measure_parts(&ctx, verbs, average, room, (real *)memory, sums);
            for (int64_t lane = 0; lane < k; ++lane) {
                squares[lane] = total_of(sums + lane * size_sums);
                sizes[lane] = total_of(sums + (k + lane) * size_sums);
                *finite &= isfinite(squares[lane]);
            }
        }
        status = memory ? FSGD_OK : FSGD_NO_MEMORY;
        free_aligned(memory);
    }
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
