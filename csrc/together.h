/* together.h: the chunks of a batch of dense rows, worked on by several threads side by side.
 * Template parameters as in kernel.h.
 *
 * A chunk's slopes and its sum of c_i x_i depend on nothing but the weights. Whoever is free takes
 * the next chunk; when all are done, the sums go into the state in the order of the chunks, by the
 * same additions that one thread makes. So no bit depends on the number of threads, or on who did
 * what.
 */

enum {
    NAME(sums_bytes) = 1 << 22, /* of chunks side by side */
    NAME(part_size) = 2048,     /* elements of a gradient that are worth a part of their own */
};

/* A thread's context: what is read is the call's, what is written its own. */
typedef struct {
    _Alignas(64) NAME(context) ctx;
    fsgd_report report;
} NAME(worker);

typedef struct NAME(crew) {
    NAME(context) *ctx; /* the call's */
    const NAME(verbs) *verbs;
    team team;
    int64_t most;          /* chunks side by side */
    int64_t size;          /* elements of a gradient */
    int64_t parts;         /* ranges of features that threads share */
    const int64_t *rows;   /* those under way, m */
    int64_t m, good;       /* chunks without a failure before them */
    NAME(worker) *workers; /* (threads) */
    REAL *c, *s, *v;       /* (most * chunk, padded) slopes, weights, losses */
    REAL *sums;            /* (most, size) sum of c_i x_i of each chunk */
    int64_t *bad;          /* (most) a row whose score or slope is not finite, or -1 */
    int64_t *iota;         /* (most * chunk) */
    void *block;
} NAME(crew);

static size_t NAME(lay_crew)(NAME(crew) *crew, char *base, int64_t threads) {
    char *at = base;
    const NAME(context) *ctx = crew->ctx;
    const int64_t padded = ctx->lanes->padded, chunk = ctx->chunk, all = crew->most * chunk;
    crew->workers = NAME(take)(&at, threads, sizeof(NAME(worker)));
    for (int64_t i = 0; i < threads; ++i) {
        REAL *rows = NAME(take)(&at, chunk * ctx->row_stride, sizeof(REAL));
        REAL *z = NAME(take)(&at, chunk * padded, sizeof(REAL));
        REAL *y = NAME(take)(&at, chunk * padded, sizeof(REAL));
        if (!base) continue;
        memset(rows, 0, (size_t)(chunk * ctx->row_stride) * sizeof(REAL));
        NAME(worker) *worker = &crew->workers[i];
        worker->ctx = *ctx, worker->report = (fsgd_report){0};
        worker->ctx.report = &worker->report;
        worker->ctx.rows = rows, worker->ctx.z = z, worker->ctx.y = y;
        worker->ctx.rest = 0;
    }
    crew->c = NAME(take)(&at, all * padded, sizeof(REAL));
    crew->s = NAME(take)(&at, all * padded, sizeof(REAL));
    crew->v = NAME(take)(&at, all * padded, sizeof(REAL));
    crew->sums = NAME(take)(&at, crew->most * crew->size, sizeof(REAL));
    crew->bad = NAME(take)(&at, crew->most, sizeof(int64_t));
    crew->iota = NAME(take)(&at, all, sizeof(int64_t));
    return (size_t)(at - base);
}

static int64_t NAME(smaller)(int64_t a, int64_t b) { return a < b ? a : b; }

/* Threads for the chunks of a batch, where there are any to share. */
static void NAME(assemble)(NAME(crew) *crew, NAME(context) *ctx, const NAME(verbs) *verbs) {
    const int64_t batch = ctx->settings->batch_size, size = NAME(grad_size)(ctx->state);
    const int64_t chunks = (batch + ctx->chunk - 1) / ctx->chunk;
    const int64_t fit = NAME(sums_bytes) / (size * (int64_t)sizeof(REAL));
    const int64_t most = NAME(smaller)(chunks, NAME(smaller)(fit, MAX_ITEMS));
    const int64_t threads = NAME(smaller)(ctx->settings->threads, most);
    if (threads < 2 || ctx->data->layout != FSGD_DENSE) return;
    *crew = (NAME(crew)){.ctx = ctx, .verbs = verbs, .most = most, .size = size};
    crew->parts = NAME(smaller)(size / NAME(part_size) + 1, MAX_ITEMS);
    crew->block = aligned_alloc(64, NAME(lay_crew)(crew, NULL, threads));
    if (!crew->block) return; /* then alone */
    NAME(lay_crew)(crew, crew->block, threads);
    ctx->iota = crew->iota;
    ctx->crew = crew;
    team_start(&crew->team, threads);
}

static void NAME(dismiss)(NAME(crew) *crew) {
    team_end(&crew->team);
    free(crew->block);
}

/* Score, slopes and sum of chunk g. */
static void NAME(do_chunk)(void *on, int64_t g, int thread) {
    NAME(crew) *crew = on;
    NAME(context) *ctx = &crew->workers[thread].ctx;
    const int64_t first = g * ctx->chunk, left = crew->m - first, padded = ctx->lanes->padded;
    const int64_t m = left < ctx->chunk ? left : ctx->chunk;
    ctx->c = crew->c + first * padded;
    ctx->s = crew->s + first * padded;
    ctx->v = crew->v + first * padded;
    ctx->sum = crew->sums + g * crew->size;
    crew->bad[g] = -1;
    crew->verbs->score(ctx, crew->rows + first, m);
    if (NAME(slopes_of)(ctx, crew->rows + first, m) == FSGD_OK)
        crew->verbs->accumulate(ctx, crew->rows + first, m);
    else
        crew->bad[g] = ctx->report->row;
}

/* The first feature of a part; of one lane a multiple of 16, for its vectors. */
static int64_t NAME(part_start)(const NAME(crew) *crew, int64_t part) {
    const int64_t padded = crew->ctx->lanes->padded, features = crew->size / padded;
    const int64_t unit = padded == 1 ? 16 : 1;
    return features / unit * part / crew->parts * unit;
}

/* grad += the sums of the good chunks in their order, for a part of the features. */
static void NAME(fold_sums)(void *on, int64_t part, int thread) {
    const NAME(crew) *crew = on;
    const int64_t padded = crew->ctx->lanes->padded;
    const int64_t first = NAME(part_start)(crew, part) * padded;
    const int64_t count = NAME(part_start)(crew, part + 1) * padded - first;
    REAL *restrict sum = (REAL *)crew->ctx->state->grad + first;
    REAL *restrict lost = sum + crew->size;
    (void)thread;
    for (int64_t g = 0; g < crew->good; ++g) {
        const REAL *restrict term = crew->sums + g * crew->size + first;
        _Pragma("omp simd") for (int64_t e = 0; e < count; ++e) {
            const REAL y = term[e] - lost[e], t = sum[e] + y;
            lost[e] = (t - sum[e]) - y;
            sum[e] = t;
        }
    }
}

static void NAME(update_part)(void *on, int64_t part, int thread) {
    const NAME(crew) *crew = on;
    const int64_t first = NAME(part_start)(crew, part), end = NAME(part_start)(crew, part + 1);
    (void)thread;
    if (first < end) crew->verbs->update_features(crew->ctx, first, end - 1);
}

/* The update of many lanes by the whole batch. */
static void NAME(update_together)(NAME(crew) *crew) {
    NAME(context) *ctx = crew->ctx;
    const fsgd_state *state = ctx->state;
    NAME(plan_lanes)(ctx, state->batch_count);
    team_do(&crew->team, NAME(update_part), crew, crew->parts);
    NAME(update_intercepts)(ctx, state->grad_intercept, state->batch_count);
    ctx->report->work += state->d * state->width * ((state->padded + 15) / 16);
}

/* The next m rows of the open batch, side by side. */
static fsgd_status NAME(gather_together)(NAME(crew) *crew, const int64_t *rows, int64_t m) {
    NAME(context) *ctx = crew->ctx;
    const int64_t chunk = ctx->chunk, padded = ctx->lanes->padded, chunks = (m + chunk - 1) / chunk;
    crew->rows = rows, crew->m = m;
    team_do(&crew->team, NAME(do_chunk), crew, chunks);
    for (crew->good = 0; crew->good < chunks && crew->bad[crew->good] < 0; ++crew->good) {
        const int64_t first = crew->good * chunk, left = m - first;
        const int64_t count = left < chunk ? left : chunk;
        NAME(count_rows)(ctx->state, crew->v + first * padded, crew->s + first * padded, count);
        NAME(accumulate_intercepts)(ctx->state, crew->c + first * padded, count);
        ctx->state->batch_row += count;
    }
    team_do(&crew->team, NAME(fold_sums), crew, crew->parts);
    for (int64_t i = 0; i < crew->team.count; ++i) {
        ctx->report->work += crew->workers[i].report.work;
        crew->workers[i].report.work = 0;
    }
    return crew->good < chunks ? NAME(nonfinite)(ctx, crew->bad[crew->good]) : FSGD_OK;
}
