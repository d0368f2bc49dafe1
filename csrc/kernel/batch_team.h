/* batch_team.h: a team of threads that work on the chunks of a batch of dense rows side by side.
 *
 * A chunk's slopes and its sum of c_i x_i depend on nothing but the weights. Whoever is free takes
 * the next chunk; when all are done, the sums go into the state in the order of the chunks, by the
 * same additions that one thread makes. So no bit depends on the number of threads, or on who did
 * what.
 */

#ifndef FASTSGD_KERNEL_BATCH_TEAM_H
#define FASTSGD_KERNEL_BATCH_TEAM_H

#include "compensated.h"
#include "memory.h"
#include "optimizer.h"
#include "slopes.h"
#include "thread_team.h"

enum {
    sums_bytes = 1 << 22, /* of chunks side by side */
    part_size = 2048,     /* elements of a gradient that are worth a part of their own */
};

/* A thread's context: what is read is the call's, what is written its own. */
typedef struct {
    _Alignas(64) context ctx;
    fsgd_report report;
} team_worker;

struct batch_team {
    context *ctx; /* the call's */
    const verb_table *verbs;
    thread_team threads;
    int64_t most;         /* chunks side by side */
    int64_t size;         /* elements of a gradient */
    int64_t parts;        /* ranges of features that threads share */
    const int64_t *rows;  /* those under way, m */
    int64_t m, good;      /* chunks without a failure before them */
    team_worker *workers; /* (threads) */
    real *c, *s, *v;      /* (most * chunk, padded) slopes, weights, losses */
    real *sums;           /* (most, size) sum of c_i x_i of each chunk */
    int64_t *bad;         /* (most) a row whose score or slope is not finite, or -1 */
    int64_t *iota;        /* (most * chunk) */
    void *block;
};

typedef struct batch_team batch_team;

/* Lay the arrays out from `start` on; with NULL their bytes are only counted. They are returned. */
static RARE size_t lay_out_team(batch_team *team, char *start, int64_t threads) {
    arena memory = {start, 0};
    const context *ctx = team->ctx;
    const int64_t padded = ctx->lanes->padded, chunk = ctx->chunk.size, all = team->most * chunk;
    team->workers = take(&memory, threads, sizeof(team_worker));
    for (int64_t i = 0; i < threads; ++i) {
        real *rows = take(&memory, chunk * ctx->rows.stride, sizeof(real));
        real *z = take(&memory, chunk * padded, sizeof(real));
        real *y = take(&memory, chunk * padded, sizeof(real));
        if (!start) continue;
        memset(rows, 0, (size_t)(chunk * ctx->rows.stride) * sizeof(real));
        team_worker *worker = &team->workers[i];
        worker->ctx = *ctx, worker->report = (fsgd_report){0};
        worker->ctx.report = &worker->report;
        worker->ctx.chunk.x = rows, worker->ctx.chunk.z = z, worker->ctx.chunk.y = y;
        worker->ctx.gradient.lost = 0;
    }
    team->c = take(&memory, all * padded, sizeof(real));
    team->s = take(&memory, all * padded, sizeof(real));
    team->v = take(&memory, all * padded, sizeof(real));
    team->sums = take(&memory, team->most * team->size, sizeof(real));
    team->bad = take(&memory, team->most, sizeof(int64_t));
    team->iota = take(&memory, all, sizeof(int64_t));
    return memory.taken;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Start threads for the chunks of a batch, where there is more than one chunk and thread. */
static RARE void start_batch_team(batch_team *team, context *ctx, const verb_table *verbs) {
    const int64_t batch = ctx->settings->batch_size, size = grad_size(ctx->state);
    const int64_t chunks = (batch + ctx->chunk.size - 1) / ctx->chunk.size;
    const int64_t fit = sums_bytes / (size * (int64_t)sizeof(real));
    const int64_t most = smaller(chunks, smaller(fit, MAX_ITEMS));
    const int64_t threads = smaller(ctx->settings->threads, most);
    if (threads < 2 || ctx->data->layout != FSGD_DENSE) return;
    *team = (batch_team){.ctx = ctx, .verbs = verbs, .most = most, .size = size};
    team->parts = smaller(size / part_size + 1, MAX_ITEMS);
    team->block = allocate_aligned(lay_out_team(team, NULL, threads));
    if (!team->block) return; /* then alone */
    lay_out_team(team, team->block, threads);
    ctx->chunk.iota = team->iota;
    ctx->team = team;
    team_start(&team->threads, threads);
}

/* Join the threads, and free what they worked with. */
static RARE void end_batch_team(batch_team *team) {
    team_end(&team->threads);
    free_aligned(team->block);
}

/* Score, slopes and sum of chunk g. */
static void accumulate_team_chunk(void *on, int64_t g, int thread) {
    batch_team *team = on;
    context *ctx = &team->workers[thread].ctx;
    const int64_t first = g * ctx->chunk.size, left = team->m - first, padded = ctx->lanes->padded;
    const int64_t m = left < ctx->chunk.size ? left : ctx->chunk.size;
    ctx->chunk.c = team->c + first * padded;
    ctx->chunk.s = team->s + first * padded;
    ctx->chunk.v = team->v + first * padded;
    ctx->gradient.sum = team->sums + g * team->size;
    team->bad[g] = -1;
    team->verbs->score(ctx, team->rows + first, m);
    if (find_slopes(ctx, team->rows + first, m) == FSGD_OK)
        team->verbs->accumulate(ctx, team->rows + first, m);
    else
        team->bad[g] = ctx->report->row;
}

/* The first feature of a part; of one lane a multiple of 16, for its vectors. */
static int64_t part_start(const batch_team *team, int64_t part) {
    const int64_t padded = team->ctx->lanes->padded, features = team->size / padded;
    const int64_t unit = padded == 1 ? 16 : 1;
    return features / unit * part / team->parts * unit;
}

/* grad += the sums of the good chunks in their order, for a part of the features. */
static void fold_sums(void *on, int64_t part, int thread) {
    const batch_team *team = on;
    const int64_t padded = team->ctx->lanes->padded;
    const int64_t first = part_start(team, part) * padded;
    const int64_t count = part_start(team, part + 1) * padded - first;
    real *restrict sum = (real *)team->ctx->state->grad + first;
    real *restrict lost = sum + team->size;
    (void)thread;
    for (int64_t g = 0; g < team->good; ++g) {
        const real *restrict term = team->sums + g * team->size + first;
        _Pragma("omp simd") for (int64_t e = 0; e < count; ++e)
            ADD_COMPENSATED(real, sum + e, lost + e, term[e]);
    }
}

/* The update of a part of the features. */
static void update_part(void *on, int64_t part, int thread) {
    const batch_team *team = on;
    const int64_t first = part_start(team, part), end = part_start(team, part + 1);
    (void)thread;
    if (first < end) team->verbs->update_features(team->ctx, first, end - 1);
}

/* The update of many lanes by a whole batch. */
static void update_by_team(batch_team *team) {
    context *ctx = team->ctx;
    const fsgd_state *state = ctx->state;
    plan_lanes(ctx, state->batch_count);
    team_do(&team->threads, update_part, team, team->parts);
    update_intercepts(ctx, state->grad_intercept, state->batch_count);
    ctx->report->work += state->d * state->width * ((state->padded + 15) / 16);
}

/* grad_intercept += sum_r c_r of a chunk: c (m, padded) */
static void accumulate_intercepts(fsgd_state *state, const real *c, int64_t m) {
    const int64_t padded = state->padded, tile = padded < 16 ? padded : 16;
    for (int64_t first = 0; first < padded; first += tile) {
        real *total = state->grad_intercept, sum[16] = {0};
        for (int64_t r = 0; r < m; ++r)
            for (int64_t k = 0; k < tile; ++k) sum[k] += c[r * padded + first + k];
        for (int64_t k = 0; k < tile; ++k)
            ADD_COMPENSATED(real, total + first + k, total + first + k + padded, sum[k]);
    }
}

/* The next m rows of the open batch, side by side. */
static fsgd_status accumulate_by_team(batch_team *team, const int64_t *rows, int64_t m) {
    context *ctx = team->ctx;
    const int64_t chunk = ctx->chunk.size, padded = ctx->lanes->padded,
                  chunks = (m + chunk - 1) / chunk;
    team->rows = rows, team->m = m;
    team_do(&team->threads, accumulate_team_chunk, team, chunks);
    for (team->good = 0; team->good < chunks && team->bad[team->good] < 0; ++team->good) {
        const int64_t first = team->good * chunk, left = m - first;
        const int64_t count = left < chunk ? left : chunk;
        count_rows(ctx->state, team->v + first * padded, team->s + first * padded, count);
        accumulate_intercepts(ctx->state, team->c + first * padded, count);
        ctx->state->batch_row += count;
    }
    team_do(&team->threads, fold_sums, team, team->parts);
    for (int64_t i = 0; i < team->threads.count; ++i) {
        ctx->report->work += team->workers[i].report.work;
        team->workers[i].report.work = 0;
    }
    return team->good < chunks ? report_nonfinite(ctx, team->bad[team->good]) : FSGD_OK;
}

#endif
