/* row.h: one lane on dense rows, SIMD along the features. Template parameters as in kernel.h.
 *
 * The vectors w, v and q of a state lie one after the other, each padded with zeros to row_stride,
 * and rows are copied into padded buffers before use: loops have no tails.
 */

typedef REAL NAME(wide) __attribute__((vector_size(VECTOR_BYTES), aligned(REAL_BYTES), may_alias));
enum { NAME(wide_count) = VECTOR_BYTES / REAL_BYTES };

static ALWAYS_INLINE NAME(wide) NAME(wide_at)(const REAL *x) { return *(const NAME(wide) *)x; }

/* Sum of a vector's elements, by halves. */
static ALWAYS_INLINE REAL NAME(wide_sum)(NAME(wide) v) {
    REAL part[NAME(wide_count)];
    memcpy(part, &v, sizeof part);
    for (int half = NAME(wide_count) / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) part[i] += part[i + half];
    return part[0];
}

/* x . w, both (n), n a multiple of 16 */
static ALWAYS_INLINE REAL NAME(dot)(const REAL *x, const REAL *w, int64_t n) {
    enum { V = NAME(wide_count) };
    NAME(wide) a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
    int64_t j = 0;
    for (; j + 4 * V <= n; j += 4 * V) {
        a0 += NAME(wide_at)(x + j) * NAME(wide_at)(w + j);
        a1 += NAME(wide_at)(x + j + V) * NAME(wide_at)(w + j + V);
        a2 += NAME(wide_at)(x + j + 2 * V) * NAME(wide_at)(w + j + 2 * V);
        a3 += NAME(wide_at)(x + j + 3 * V) * NAME(wide_at)(w + j + 3 * V);
    }
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

static ALWAYS_INLINE fsgd_status NAME(row_single)(NAME(context) *ctx, int64_t budget,
                                                  const int width) {
    enum { AHEAD = NAME(ring) - 1 };
    fsgd_state *state = ctx->state;
    const int64_t n = ctx->data->n, stride = ctx->row_stride, cost = ctx->data->d * width + 16;
    const int64_t far = 8192 / (stride * (int64_t)sizeof(REAL)) + AHEAD +
                        1; /* rows to prefetch ahead */
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    REAL *w = state->w, *b = state->intercept;
    NAME(loss_buffer) buffer = {0};
    fsgd_status status = FSGD_OK;
    for (int64_t r = state->row; r < state->row + AHEAD && r < n; ++r)
        NAME(load_row)(ctx, NAME(row_at)(ctx, r), ctx->rows + (r % NAME(ring))*stride);
    for (; state->row < ctx->stop && ctx->report->work < budget; ++state->row) {
        const int64_t r = state->row, i = NAME(row_at)(ctx, r);
        const REAL *x = ctx->rows + (r % NAME(ring))*stride;
        REAL y, s;
        if (r + far < n) NAME(prefetch_row)(ctx, NAME(row_at)(ctx, r + far));
        if (r + AHEAD < n)
            NAME(load_row)(ctx, NAME(row_at)(ctx, r + AHEAD),
                           ctx->rows + ((r + AHEAD) % NAME(ring))*stride);
        NAME(load_targets)(ctx, i, 1, &y, &s);
        ctx->report->work += cost;

        REAL z = NAME(dot)(x, w, stride);
        z = (width == 1 ? (REAL)state->scale[0] * z : z) + b[0];
        if (!(s > 0)) continue;
        if (!(z - z == 0)) {
            status = NAME(nonfinite)(ctx, i);
            break;
        }
        buffer.z[buffer.count] = z, buffer.y[buffer.count] = y, buffer.s[buffer.count] = s;
        if (++buffer.count == NAME(loss_block)) NAME(add_losses)(ctx, &buffer);

        REAL c = s * NAME(loss_slope)(loss, z, y);
        double count = 1;
        if (!(c - c == 0)) {
            status = NAME(nonfinite)(ctx, i);
            break;
        }
        if (__builtin_expect(NAME(to_examine)(ctx), 0)) {
            ctx->c[0] = c, ctx->s[0] = s, ctx->count[0] = count;
            NAME(loss_values)(loss, 1, &z, &y, &s, ctx->v);
            NAME(examine)(ctx, i);
            c = ctx->c[0], count = ctx->count[0];
        }
        NAME(plan)(ctx, 1, width, &count);
        if (width > 1 || ctx->l1 || c != 0) NAME(row_update)(ctx, width, x, c);
        NAME(update_intercept)(ctx, 1, width, &c, &count);
    }
    NAME(add_losses)(ctx, &buffer);
    return status;
}

static fsgd_status NAME(row_run_single)(NAME(context) *ctx, int64_t budget) {
    switch (ctx->state->width) {
    case 1: return NAME(row_single)(ctx, budget, 1);
    case 2: return NAME(row_single)(ctx, budget, 2);
    default: return NAME(row_single)(ctx, budget, 3);
    }
}

/* ------------------------------------------------------------------ batches */

static void NAME(row_score)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    const fsgd_state *state = ctx->state;
    const REAL scale = state->width == 1 ? (REAL)state->scale[0] : 1, b = *(REAL *)state->intercept;
    for (int64_t r = 0; r < m; ++r) NAME(load_row)(ctx, rows[r], ctx->rows + r * ctx->row_stride);
    for (int64_t r = 0; r < m; ++r)
        ctx->z[r] = scale * NAME(dot)(ctx->rows + r * ctx->row_stride, state->w, ctx->row_stride) +
                    b;
    ctx->report->work += m * (ctx->data->d + 16);
}

/* Kahan's sum of a vector of features; what rounding leaves out stands `rest` elements on. */
static ALWAYS_INLINE void NAME(add_wide)(REAL *sum, int64_t rest, NAME(wide) term) {
    NAME(wide) *s = (NAME(wide) *)sum, *lost = (NAME(wide) *)(sum + rest);
    const NAME(wide) y = term - *lost, t = *s + y;
    *lost = (t - *s) - y;
    *s = t;
}

/* grad += sum_r c_r x_r of a chunk: four vectors of features at a time, over all rows */
static void NAME(row_accumulate)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    enum { V = NAME(wide_count) };
    const int64_t n = ctx->row_stride;
    REAL *g = ctx->state->grad, *g_b = ctx->state->grad_intercept, sum = 0;
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
        NAME(add_wide)(g + j, n, a0);
        NAME(add_wide)(g + j + V, n, a1);
        NAME(add_wide)(g + j + 2 * V, n, a2);
        NAME(add_wide)(g + j + 3 * V, n, a3);
    }
    for (; j < n; j += V) {
        NAME(wide) a = {0};
        for (int64_t r = 0; r < m; ++r) a += ctx->c[r] * NAME(wide_at)(ctx->rows + r * n + j);
        NAME(add_wide)(g + j, n, a);
    }
    for (int64_t r = 0; r < m; ++r) sum += ctx->c[r];
    NAME(add)(g_b, 1, sum);
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
