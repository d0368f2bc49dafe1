/* row.h: one lane on dense rows, SIMD along the features. Template parameters as in kernel.h.
 *
 * The vectors w, v and q of a state lie one after the other, each padded with zeros to row_stride,
 * and rows are copied into padded buffers before use: loops have no tails.
 */

typedef REAL NAME(wide) __attribute__((vector_size(VECTOR_BYTES), aligned(REAL_BYTES), may_alias));
enum { NAME(wide_count) = VECTOR_BYTES / REAL_BYTES };

static ALWAYS_INLINE NAME(wide) NAME(wide_at)(const REAL *x) { return *(const NAME(wide) *)x; }

/* A vector's sum by halves, down to 16 bytes. Written as shuffles: a loop over halves goes through
 * memory. */
typedef REAL NAME(part) __attribute__((vector_size(16)));
enum { NAME(part_count) = 16 / REAL_BYTES };

static ALWAYS_INLINE NAME(part) NAME(fold)(NAME(wide) v) {
#if VECTOR_BYTES == 64 && REAL_BYTES == 4
    typedef REAL half __attribute__((vector_size(32)));
    const half h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                   __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif VECTOR_BYTES == 64
    typedef REAL half __attribute__((vector_size(32)));
    const half h = __builtin_shufflevector(v, v, 0, 1, 2, 3) +
                   __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
    const NAME(wide) h = v;
#endif
#if VECTOR_BYTES == 16
    return h;
#elif REAL_BYTES == 4
    return __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#else
    return __builtin_shufflevector(h, h, 0, 1) + __builtin_shufflevector(h, h, 2, 3);
#endif
}

/* The sums of part_count vectors */
static ALWAYS_INLINE NAME(part) NAME(wide_sums)(const NAME(wide) *v) {
#if REAL_BYTES == 4
    const NAME(part) a = NAME(fold)(v[0]), b = NAME(fold)(v[1]);
    const NAME(part) c = NAME(fold)(v[2]), d = NAME(fold)(v[3]);
    const NAME(part) ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) +
                          __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const NAME(part) cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) +
                          __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) +
           __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#else
    const NAME(part) a = NAME(fold)(v[0]), b = NAME(fold)(v[1]);
    return __builtin_shufflevector(a, b, 0, 2) + __builtin_shufflevector(a, b, 1, 3);
#endif
}

/* A vector's sum, in the order of wide_sums */
static ALWAYS_INLINE REAL NAME(wide_sum)(NAME(wide) v) {
    const NAME(part) p = NAME(fold)(v);
#if REAL_BYTES == 4
    return (p[0] + p[2]) + (p[1] + p[3]);
#else
    return p[0] + p[1];
#endif
}

/* x . w, both (n), n a multiple of 16; on the way the row at `ahead`, of values of `stored` bytes,
 * is asked for, unless NULL */
static ALWAYS_INLINE REAL NAME(dot)(const REAL *x, const REAL *w, int64_t n, const char *ahead,
                                    int64_t stored) {
    enum { V = NAME(wide_count) };
    NAME(wide) a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
    int64_t j = 0;
    for (; j + 4 * V <= n; j += 4 * V) {
        for (int64_t k = j; ahead && k < j + 4 * V; k += 64 / REAL_BYTES)
            NAME(ask_for_features)(ahead, k, stored);
        a0 += NAME(wide_at)(x + j) * NAME(wide_at)(w + j);
        a1 += NAME(wide_at)(x + j + V) * NAME(wide_at)(w + j + V);
        a2 += NAME(wide_at)(x + j + 2 * V) * NAME(wide_at)(w + j + 2 * V);
        a3 += NAME(wide_at)(x + j + 3 * V) * NAME(wide_at)(w + j + 3 * V);
    }
    if (ahead) NAME(prefetch)(ahead + j * stored, (n - j) * stored);
    for (; j < n; j += V) a0 += NAME(wide_at)(x + j) * NAME(wide_at)(w + j);
    return NAME(wide_sum)((a0 + a1) + (a2 + a3));
}

/* Truncate all weights, q following them. */
static ALWAYS_INLINE void NAME(row_truncate)(NAME(context) *ctx, const int width) {
    const fsgd_state *state = ctx->state;
    const int64_t n = ctx->row_stride, start = ctx->settings->average, N = state->t[0] - start;
    REAL *w = state->w, *paid = w + width * n, *q = w + (width - 1) * n;
    const REAL u = ctx->u[0];
    const REAL by = start > 0 && N > 0 ? (REAL)N : 0;
    _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) {
        REAL weight = w[j], received = paid[j];
        NAME(truncate)(&weight, &received, u);
        if (width > 1) q[j] -= by * (weight - w[j]);
        w[j] = weight, paid[j] = received;
    }
}

/* One update of all features: u += D u + p g, where g_j = factor * x_j. width 1 has no D, but with
 * L1 a decay of w. */
static ALWAYS_INLINE void NAME(row_update)(NAME(context) *ctx, const int width, const REAL *x,
                                           REAL factor) {
    const int64_t n = ctx->row_stride;
    REAL *w = ctx->state->w;
    NAME(wide) *u[NAME(max_width)];
    REAL p[NAME(max_width)], D[NAME(max_width)][NAME(max_width)];
    for (int a = 0; a < width; ++a) {
        p[a] = ctx->p[a] * factor;
        for (int b = 0; width > 1 && b < width; ++b) D[a][b] = ctx->D[a * width + b];
    }
    if (width == 1 && ctx->l1 && ctx->D[0] != 0)
        _Pragma("omp simd") for (int64_t j = 0; j < n; ++j) w[j] += ctx->D[0] * w[j];
    for (int64_t j = 0; j < n; j += NAME(wide_count)) {
        NAME(wide) old[NAME(max_width)], g = NAME(wide_at)(x + j);
        for (int a = 0; a < width; ++a) u[a] = (NAME(wide) *)(w + a * n + j), old[a] = *u[a];
        for (int a = 0; a < width; ++a) {
            NAME(wide) change = p[a] * g;
            for (int b = 0; width > 1 && b < width; ++b) change += D[a][b] * old[b];
            *u[a] = old[a] + change;
        }
    }
    if (ctx->l1) NAME(row_truncate)(ctx, width);
}

/* ------------------------------------------------------------------ single samples */

/* Scores whose loss values are still to be added; values are computed 64 at a time. */
typedef struct {
    int count;
    REAL z[NAME(loss_block)], y[NAME(loss_block)], s[NAME(loss_block)];
} NAME(loss_buffer);

/* Add the values in their order, so that a run that stops in between has the same sums. */
static void NAME(add_losses)(NAME(context) *ctx, NAME(loss_buffer) *buffer) {
    REAL values[NAME(loss_block)];
    double sum = ctx->state->loss_sum[0];
    for (int i = buffer->count; i < NAME(loss_block); ++i)
        buffer->z[i] = 0, buffer->y[i] = 1, buffer->s[i] = 0;
    NAME(loss_values)(&ctx->settings->loss, NAME(loss_block), buffer->z, buffer->y, buffer->s,
                      values);
    for (int i = 0; i < buffer->count; ++i) sum += (double)values[i];
    ctx->state->loss_sum[0] = sum;
    ctx->state->row_count[0] += buffer->count;
    buffer->count = 0;
}

static ALWAYS_INLINE void NAME(keep_loss)(NAME(context) *ctx, NAME(loss_buffer) *buffer, REAL z,
                                          REAL y, REAL s) {
    buffer->z[buffer->count] = z, buffer->y[buffer->count] = y, buffer->s[buffer->count] = s;
    if (++buffer->count == NAME(loss_block)) NAME(add_losses)(ctx, buffer);
}

/* One row as a step of its own. */
typedef struct {
    int64_t row;
    REAL y, s, z; /* target, weight > 0, score */
    REAL c;       /* slope */
    double count; /* by which its gradient is divided: 1, or more where it is clipped */
} NAME(sample);

/* Slope and loss of a row. */
static ALWAYS_INLINE fsgd_status NAME(slope_of)(NAME(context) *ctx, NAME(loss_buffer) *buffer,
                                                NAME(sample) *one) {
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    if (!(one->z - one->z == 0)) return NAME(nonfinite)(ctx, one->row);
    NAME(keep_loss)(ctx, buffer, one->z, one->y, one->s);
    one->c = one->s * NAME(loss_slope)(loss, one->z, one->y);
    if (!(one->c - one->c == 0)) return NAME(nonfinite)(ctx, one->row);
    if (__builtin_expect(NAME(to_examine)(ctx), 0)) {
        ctx->c[0] = one->c, ctx->s[0] = one->s, ctx->count[0] = one->count;
        NAME(loss_values)(loss, 1, &one->z, &one->y, &one->s, ctx->v);
        NAME(examine)(ctx, one->row);
        one->c = ctx->c[0], one->count = ctx->count[0];
    }
    return FSGD_OK;
}

static ALWAYS_INLINE fsgd_status NAME(row_single)(NAME(context) *ctx, int64_t stop, int64_t budget,
                                                  const int width) {
    enum { AHEAD = NAME(ring) - 1 };
    fsgd_state *state = ctx->state;
    const int64_t end = NAME(rows_end)(ctx), stride = ctx->row_stride,
                  cost = ctx->data->d * width + 16;
    const int64_t far = NAME(far)(ctx, 2);
    REAL *w = state->w, *b = state->intercept;
    NAME(loss_buffer) buffer = {0};
    fsgd_status status = FSGD_OK;
    for (int64_t r = state->row; r < state->row + AHEAD && r < stop; ++r)
        NAME(load_row)(ctx, NAME(row_at)(ctx, r), ctx->rows + (r % NAME(ring))*stride);
    for (; state->row < stop && ctx->report->work < budget; ++state->row) {
        const int64_t r = state->row, i = NAME(row_at)(ctx, r);
        const REAL *x = ctx->rows + (r % NAME(ring))*stride;
        NAME(sample) one = {.row = i, .count = 1};
        if (r + far < end) NAME(prefetch_row)(ctx, NAME(row_at)(ctx, r + far));
        if (r + AHEAD < stop)
            NAME(load_row)(ctx, NAME(row_at)(ctx, r + AHEAD),
                           ctx->rows + ((r + AHEAD) % NAME(ring))*stride);
        NAME(load_targets)(ctx, i, 1, &one.y, &one.s);
        ctx->report->work += cost;

        const REAL dot = NAME(dot)(x, w, stride, NULL, 0);
        one.z = (width == 1 ? (REAL)state->scale[0] * dot : dot) + b[0];
        if (!(one.s > 0)) continue;
        status = NAME(slope_of)(ctx, &buffer, &one);
        if (status != FSGD_OK) break;
        NAME(plan)(ctx, 1, width, &one.count);
        if (width > 1 || ctx->l1 || one.c != 0) NAME(row_update)(ctx, width, x, one.c);
        NAME(update_intercept)(ctx, 1, width, &one.c, &one.count);
    }
    NAME(add_losses)(ctx, &buffer);
    return status;
}

/* ------------------------------------------------------------------ plain steps, in blocks */

/* Plain steps (no momentum, average, L1, clipping) are taken in blocks of B rows. With w the stored
 * weights at the start of a block, the steps one after the other are
 *
 *     u_j = x_j . w,   G_ji = x_j . x_i                                      all at once
 *     z_j = scale_j (u_j + sum_{i<j} a_i G_ji) + b_j,   a_j = p_j c_j        one by one
 *     w   = w + sum_j a_j x_j                                 together with the next block's u
 *
 * so that between one slope and the next stands a multiplication instead of a pass over w, and w is
 * read once a block. Blocks end at multiples of B: no bit depends on where a budget ends, nor on a
 * stop at such a row; one within a block makes two of it, with other roundings. */
typedef struct {
    int64_t first, count;           /* rows of the epoch; the rest of B is zero */
    const REAL *x[NAME(max_block)]; /* their features, as far as `whole` of the context */
    REAL *copies; /* (B, row_stride): rows that are copied, and ends of the others */
    int64_t row[NAME(max_block)]; /* where they are in X */
    REAL y[NAME(max_block)], s[NAME(max_block)];
    REAL u[NAME(max_block)], G[NAME(max_pairs)]; /* G_ji at j (j - 1) / 2 + i */
    REAL z[NAME(max_block)], c[NAME(max_block)];
    REAL a[NAME(max_block)]; /* steps along x, 0 until they are taken */
    REAL scale[NAME(max_block)], p[NAME(max_block)], p0[NAME(max_block)]; /* of each step */
    double last_scale, eta; /* after the block; of its last step */
    int64_t ticks;          /* rows of positive weight */
} NAME(block);

/* The block from `first` on. A row of weight zero may hold anything: it is not copied. */
static ALWAYS_INLINE void NAME(load_block)(const NAME(context) *ctx, int64_t first, const int B,
                                           const int in_place, NAME(block) *block) {
    const fsgd_data *data = ctx->data;
    const int64_t stride = ctx->row_stride, left = ctx->stop - first, all = B - first % B;
    const REAL *y = data->y, *weight = data->sample_weight;
    const int64_t n_targets = data->n_targets, target = n_targets > 1 ? ctx->lanes->target[0] : 0;
    const int signs = ctx->settings->sign_targets;
    const REAL label = ctx->label[0], positive = ctx->weight_positive[0];
    const REAL negative = ctx->weight_negative[0];
    const int64_t count = left < all ? left < 0 ? 0 : left : all;
    block->first = first, block->count = count;
    for (int j = 0; j < B; ++j) block->a[j] = block->y[j] = block->s[j] = 0;
    for (int j = 0; j < count; ++j) {
        const int64_t i = block->row[j] = NAME(row_at)(ctx, first + j);
        const REAL of_row = y[i * n_targets + target];
        const REAL yj = !signs ? of_row : of_row == label ? 1 : -1;
        const REAL own = yj > 0 ? positive : negative;
        block->y[j] = yj, block->s[j] = weight ? weight[i] * own : own;
    }
    for (int j = 0; j < B; ++j) {
        REAL *copy = block->copies + j * stride;
        if (in_place) block->x[j] = copy;
        if (!(block->s[j] > 0)) {
            memset(copy, 0, (size_t)stride * sizeof(REAL));
        } else if (!in_place) {
            NAME(load_row)(ctx, block->row[j], copy);
        } else {
            block->x[j] = (const REAL *)data->x + block->row[j] * data->d;
            for (int64_t k = data->d / 16 * 16; k < data->d; ++k) copy[k] = block->x[j][k];
        }
    }
}

/* The sums of `count` vectors, rounded up to whole parts. */
static ALWAYS_INLINE void NAME(store_sums)(const NAME(wide) *v, const int count, REAL *out) {
    for (int j = 0; j < count; j += NAME(part_count)) {
        const NAME(part) some = NAME(wide_sums)(v + j);
        memcpy(out + j, &some, sizeof some);
    }
}

/* A vector of w += sum_j a_j x_j of the old block, and of u and G of the new one. */
static ALWAYS_INLINE void NAME(pass_vector)(REAL *w, const REAL *const *was, const REAL *const *is,
                                            int64_t k, const NAME(wide) *a, NAME(wide) *u,
                                            NAME(wide) *G, const int B) {
    NAME(wide) now = NAME(wide_at)(w + k), x[NAME(max_block)];
    for (int j = 0; j < B; ++j) now += a[j] * NAME(wide_at)(was[j] + k);
    *(NAME(wide) *)(w + k) = now;
    for (int j = 0; j < B; ++j) {
        x[j] = NAME(wide_at)(is[j] + k);
        u[j] += x[j] * now;
        for (int i = 0; i < j; ++i) G[j * (j - 1) / 2 + i] += x[j] * x[i];
    }
}

/* w += sum_j a_j x_j of the old block, and u and G of the new one. On the way the rows at `ahead`
 * (B) are asked for, a line at a time: many at once would wait for each other and hold up
 * everything behind them. */
static ALWAYS_INLINE void NAME(pass)(const NAME(context) *ctx, const NAME(block) *old,
                                     NAME(block) *block, const char *const *ahead, const int B,
                                     const int in_place) {
    enum { V = NAME(wide_count), LINE = 64 / REAL_BYTES };
    NAME(wide) a[NAME(max_block)], u[NAME(max_block)], G[NAME(max_pairs)];
    const int64_t n = ctx->row_stride, stored = ctx->stored;
    const int64_t whole = in_place ? ctx->data->d / 16 * 16 : n;
    const REAL *was[NAME(max_block)], *is[NAME(max_block)];
    const REAL *restrict before = old->copies, *restrict now = block->copies;
    REAL *restrict w = ctx->state->w;
    for (int j = 0; j < B; ++j) a[j] = old->a[j] - (NAME(wide)){0};
    for (int j = 0; j < NAME(max_block); ++j) u[j] = (NAME(wide)){0};
    for (int j = 0; j < NAME(max_pairs); ++j) G[j] = (NAME(wide)){0};
    for (int j = 0; j < B; ++j) {
        was[j] = in_place ? old->x[j] : before + j * n;
        is[j] = in_place ? block->x[j] : now + j * n;
    }
    for (int64_t line = 0; line < whole; line += LINE) {
        for (int j = 0; j < B; ++j) NAME(ask_for_features)(ahead[j], line, stored);
        for (int64_t k = line; k < line + LINE; k += V)
            NAME(pass_vector)(w, was, is, k, a, u, G, B);
    }
    for (int j = 0; j < B; ++j) NAME(prefetch_line)(ahead[j] + ctx->row_bytes - 1);
    for (int j = 0; j < B; ++j) was[j] = before + j * n, is[j] = now + j * n;
    for (int64_t k = whole; k < n; k += V) NAME(pass_vector)(w, was, is, k, a, u, G, B);
    NAME(store_sums)(u, B, block->u);
    NAME(store_sums)(G, B * (B - 1) / 2, block->G);
}

/* The first half of `pass` alone: the steps of a block go into w. */
static void NAME(finish_block)(NAME(context) *ctx, NAME(block) *block, const int B,
                               const int in_place) {
    const int64_t n = ctx->row_stride, whole = in_place ? ctx->data->d / 16 * 16 : 0;
    REAL *restrict w = ctx->state->w;
    for (int64_t k = 0; k < n; k += NAME(wide_count)) {
        NAME(wide) now = NAME(wide_at)(w + k);
        for (int j = 0; j < B; ++j)
            now += block->a[j] *
                   NAME(wide_at)((k < whole ? block->x[j] : block->copies + j * n) + k);
        *(NAME(wide) *)(w + k) = now;
    }
    for (int j = 0; j < B; ++j) block->a[j] = 0;
}

/* Rates and scales of a block's steps. Whether none shrinks w by so much that the scale might
 * underflow within a block. */
static ALWAYS_INLINE int NAME(plan_block)(NAME(context) *ctx, NAME(block) *block, const int B) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const double alpha = ctx->lanes->alpha[0];
    const double start = (double)ctx->state->t[0];
    double scale = ctx->state->scale[0], ticks = 0;
    int gentle = 1;
    for (int j = 0; j < B; ++j) {
        if (!(block->s[j] > 0)) {
            block->p[j] = block->p0[j] = 0;
            block->scale[j] = (REAL)scale;
            continue;
        }
        const int64_t row = block->first + j;
        const double t = start + ++ticks, e = NAME(epochs_at)(ctx, row);
        const double eta = NAME(rate_at)(ctx, 0, t, fsgd_schedule_factor(schedule, t, e), row);
        const double decay = 1 - eta * alpha;
        block->scale[j] = (REAL)scale;
        scale *= decay;
        gentle &= decay > 1e-4;
        block->p[j] = (REAL)(-eta / scale);
        block->p0[j] = ctx->settings->fit_intercept ? (REAL)-eta : 0;
        block->eta = eta;
    }
    block->last_scale = scale;
    block->ticks = (int64_t)ticks;
    return gentle;
}

/* The steps of a block one by one: z, c and a, and the intercept after them. */
static ALWAYS_INLINE REAL NAME(chain)(const NAME(context) *ctx, NAME(block) *block, const int B) {
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    const REAL e = (REAL)loss->parameter, pull = (REAL)ctx->lanes->pull[0];
    REAL b = *(const REAL *)ctx->state->intercept, u[NAME(max_block)];
    for (int j = 0; j < B; ++j) u[j] = block->u[j];
#define STEPS(SLOPE)                                                                               \
    for (int j = 0; j < B; ++j) {                                                                  \
        const REAL y = block->y[j], s = block->s[j], z = block->scale[j] * u[j] + b;               \
        const REAL c = s > 0 ? s * (SLOPE) : 0, a = block->p[j] * c;                               \
        b += block->p0[j] * (c + pull);                                                            \
        for (int k = j + 1; k < B; ++k) u[k] += a * block->G[k * (k - 1) / 2 + j];                 \
        block->z[j] = z, block->c[j] = c, block->a[j] = a;                                         \
    }
    switch (loss->kind) {
#define CASE(KIND, F)                                                                              \
    case KIND: STEPS(NAME(F##_slope)(z, y, e)) break;
        FSGD_EACH_LOSS(CASE)
#undef CASE
    case FSGD_COMPILED: STEPS(NAME(loss_slope)(loss, z, y)) break;
    default: STEPS(NAME(squared_error_slope)(z, y, e))
    }
#undef STEPS
    return b;
}

/* The same for two rows, as a call: next to the passes over long rows it costs nothing. */
static __attribute__((noinline)) REAL NAME(chain_of_two)(const NAME(context) *ctx,
                                                         NAME(block) *block) {
    return NAME(chain)(ctx, block, 2);
}

/* Make a block's steps, whose rows are still to go into w, those of the state. */
static ALWAYS_INLINE void NAME(commit_block)(NAME(context) *ctx, const NAME(block) *block,
                                             NAME(loss_buffer) *buffer, REAL b) {
    fsgd_state *state = ctx->state;
    if (NAME(measures_row)(ctx) && block->s[0] > 0) {
        const double one = ctx->settings->fit_intercept ? 1 : 0;
        const double square = NAME(row_square)(ctx, block->row[0]) + one;
        NAME(clip)(ctx, 0, 1, fabs((double)block->c[0]) * sqrt(square), 1);
    }
    for (int j = 0; j < block->count; ++j)
        if (block->s[j] > 0) NAME(keep_loss)(ctx, buffer, block->z[j], block->y[j], block->s[j]);
    *(REAL *)state->intercept = b;
    state->scale[0] = block->last_scale;
    state->t[0] += block->ticks;
    state->row += block->count;
    if (block->ticks > 0) ctx->report->eta = block->eta;
}

/* Plain steps in blocks. Where a step shrinks w so much that a block's scales might underflow, or a
 * score or slope is not finite, which may be the block's doing or the row's, rows go one by one. */
static ALWAYS_INLINE fsgd_status NAME(row_blocks)(NAME(context) *ctx, int64_t budget, const int B,
                                                  const int in_place) {
    fsgd_state *state = ctx->state;
    const int64_t stride = ctx->row_stride;
    const int64_t far = NAME(far)(ctx, B);
    NAME(block) blocks[2] = {{0}}, *old = &blocks[0], *block = &blocks[1];
    NAME(loss_buffer) buffer = {0};
    const char *ahead[NAME(max_block)];
    fsgd_status status = FSGD_OK;
    old->copies = ctx->rows, block->copies = ctx->rows + B * stride;
    for (int j = 0; j < B; ++j) old->x[j] = old->copies + j * stride;
    NAME(load_block)(ctx, state->row, B, in_place, block);
    while (block->count > 0 && ctx->report->work < budget && status == FSGD_OK) {
        NAME(look_ahead)(ctx, state->row + far, B, ahead);
        NAME(pass)(ctx, old, block, ahead, B, in_place);
        NAME(load_block)(ctx, state->row + block->count, B, in_place, old);
        ctx->report->work += block->count * (ctx->data->d + 16);
        const int gentle = NAME(plan_block)(ctx, block, B);
        const REAL b = B == 2 ? NAME(chain_of_two)(ctx, block) : NAME(chain)(ctx, block, B);
        if (__builtin_expect(gentle && NAME(all_finite)(block->z, block->s, B) &&
                                 NAME(all_finite)(block->c, block->s, B),
                             1)) {
            NAME(commit_block)(ctx, block, &buffer, b);
        } else {
            NAME(add_losses)(ctx, &buffer);
            status = NAME(row_single)(ctx, block->first + block->count, INT64_MAX, 1);
            memset(block->a, 0, sizeof block->a);
            memset(block->copies, 0,
                   (size_t)(B * stride) * sizeof(REAL)); /* they may be infinite */
            for (int j = 0; j < B; ++j) block->x[j] = block->copies + j * stride;
            NAME(load_block)(ctx, block->first + block->count, B, in_place,
                             old); /* the ring was in use */
        }
        if (state->scale[0] < 1e-9) {
            NAME(finish_block)(ctx, block, B, in_place);
            NAME(unscale)(ctx);
        }
        NAME(block) *next = old;
        old = block, block = next;
    }
    NAME(finish_block)(ctx, old, B, in_place);
    NAME(add_losses)(ctx, &buffer);
    return status;
}

/* Whether blocks read rows where they lie: a copy is in the L1 cache when the block comes, but
 * costs a third of a step. Worth it where rows are long, or where the next one lies beside. */
static int NAME(reads_in_place)(const NAME(context) *ctx) {
    const int beside = !ctx->order || ctx->settings->sampling == FSGD_BLOCK;
    return ctx->plain && ctx->row_bytes >= (beside ? NAME(near_bytes) : NAME(long_bytes));
}

static fsgd_status NAME(row_run_single)(NAME(context) *ctx, int64_t budget) {
    if (ctx->state->width == 1 && !ctx->l1 && ctx->unclipped) {
        if (ctx->row_stride <= NAME(short_row)) return NAME(row_blocks)(ctx, budget, 4, 0);
        return NAME(reads_in_place)(ctx) ? NAME(row_blocks)(ctx, budget, 2, 1)
                                         : NAME(row_blocks)(ctx, budget, 2, 0);
    }
    switch (ctx->state->width) {
    case 1: return NAME(row_single)(ctx, ctx->stop, budget, 1);
    case 2: return NAME(row_single)(ctx, ctx->stop, budget, 2);
    default: return NAME(row_single)(ctx, ctx->stop, budget, 3);
    }
}

/* ------------------------------------------------------------------ batches */

static void NAME(row_score)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    const fsgd_state *state = ctx->state;
    const REAL scale = state->width == 1 ? (REAL)state->scale[0] : 1, b = *(REAL *)state->intercept;
    const int64_t here = NAME(position)(ctx, rows), far = NAME(far)(ctx, 1);
    for (int64_t r = 0; r < m; ++r) {
        REAL *x = ctx->rows + r * ctx->row_stride;
        const char *ahead;
        NAME(load_row)(ctx, rows[r], x);
        NAME(look_ahead)(ctx, here + r + far, 1, &ahead);
        ctx->z[r] = scale * NAME(dot)(x, state->w, ctx->row_stride, ahead, ctx->stored) + b;
    }
    ctx->report->work += m * (ctx->data->d + 16);
}

/* NAME(add) for a vector of features */
static ALWAYS_INLINE void NAME(add_wide)(REAL *sum, int64_t rest, NAME(wide) term) {
    if (rest == 0) {
        *(NAME(wide) *)sum = term;
        return;
    }
    NAME(wide) *s = (NAME(wide) *)sum, *lost = (NAME(wide) *)(sum + rest);
    const NAME(wide) y = term - *lost, t = *s + y;
    *lost = (t - *s) - y;
    *s = t;
}

/* grad += sum_r c_r x_r of a chunk: four vectors of features at a time, over all rows */
static void NAME(row_accumulate)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    enum { V = NAME(wide_count) };
    const int64_t n = ctx->row_stride, rest = ctx->rest;
    REAL *g = ctx->sum;
    (void)rows;
    int64_t j = 0;
    for (; j + 4 * V <= n; j += 4 * V) {
        NAME(wide) a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
        for (int64_t r = 0; r < m; ++r) {
            const REAL *x = ctx->rows + r * n + j, c = ctx->c[r];
            a0 += c * NAME(wide_at)(x);
            a1 += c * NAME(wide_at)(x + V);
            a2 += c * NAME(wide_at)(x + 2 * V);
            a3 += c * NAME(wide_at)(x + 3 * V);
        }
        NAME(add_wide)(g + j, rest, a0);
        NAME(add_wide)(g + j + V, rest, a1);
        NAME(add_wide)(g + j + 2 * V, rest, a2);
        NAME(add_wide)(g + j + 3 * V, rest, a3);
    }
    for (; j < n; j += V) {
        NAME(wide) a = {0};
        for (int64_t r = 0; r < m; ++r) a += ctx->c[r] * NAME(wide_at)(ctx->rows + r * n + j);
        NAME(add_wide)(g + j, rest, a);
    }
}

/* squares += |grad|^2 */
static void NAME(row_norms)(NAME(context) *ctx, const int64_t *rows, int64_t m, double *squares) {
    const REAL *g = ctx->state->grad;
    double sum = 0;
    (void)rows, (void)m;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t j = 0; j < ctx->row_stride; ++j)
        sum += (double)g[j] * (double)g[j];
    squares[0] += sum;
}

static void NAME(row_update_batch)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    const double count = state->batch_count[0];
    (void)rows, (void)m;
    if (count > 0) {
        switch (state->width) {
        case 1:
            NAME(plan)(ctx, 1, 1, &count);
            NAME(row_update)(ctx, 1, state->grad, 1);
            break;
        case 2:
            NAME(plan)(ctx, 1, 2, &count);
            NAME(row_update)(ctx, 2, state->grad, 1);
            break;
        default: NAME(plan)(ctx, 1, 3, &count); NAME(row_update)(ctx, 3, state->grad, 1);
        }
        NAME(update_intercept)(ctx, 1, (int)state->width, state->grad_intercept, &count);
        memset(state->grad, 0, 2 * (size_t)ctx->row_stride * sizeof(REAL));
    }
    ctx->report->work += state->d * state->width;
}

static const NAME(verbs) NAME(row_verbs) = {
    .score = NAME(row_score),
    .accumulate = NAME(row_accumulate),
    .norms = NAME(row_norms),
    .update = NAME(row_update_batch),
    .run_single = NAME(row_run_single),
};
