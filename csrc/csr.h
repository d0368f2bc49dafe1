/* csr.h: plain steps of one lane on CSR rows: width 1, no L1, single samples. In scalars: a scatter
 * by vectors would lose the updates of columns that a row holds twice, and gathers are no faster.
 *
 * Template parameters as in kernel.h. Everything else on CSR is lanes.h.
 */

/* A row's values and their columns. */
typedef struct {
    const REAL *x;
    const void *indices;
    int64_t count;
} NAME(sparse_row);

static ALWAYS_INLINE NAME(sparse_row)
    NAME(sparse_row_at)(const fsgd_data *data, int64_t i, const fsgd_layout layout) {
    const int64_t size = layout == FSGD_CSR32 ? 4 : 8;
    int64_t begin, end;
    if (layout == FSGD_CSR32)
        begin = ((const int32_t *)data->indptr)[i], end = ((const int32_t *)data->indptr)[i + 1];
    else
        begin = ((const int64_t *)data->indptr)[i], end = ((const int64_t *)data->indptr)[i + 1];
    return (NAME(sparse_row)){(const REAL *)data->x + begin,
                              (const char *)data->indices + begin * size, end - begin};
}

static ALWAYS_INLINE int64_t NAME(column)(const NAME(sparse_row) *row, int64_t p,
                                          const fsgd_layout layout) {
    return layout == FSGD_CSR32 ? ((const int32_t *)row->indices)[p]
                                : ((const int64_t *)row->indices)[p];
}

/* Ask for values p to p + 15 of a row, and for their columns. */
static ALWAYS_INLINE void NAME(ask_for)(const NAME(sparse_row) *row, int64_t p,
                                        const fsgd_layout layout) {
    const char *x = (const char *)(row->x + p), *indices = row->indices;
    const int64_t size = layout == FSGD_CSR32 ? 4 : 8;
    NAME(prefetch_line)(x);
    NAME(prefetch_line)(indices + p * size);
    if (REAL_BYTES == 8) NAME(prefetch_line)(x + 64);
    if (size == 8) NAME(prefetch_line)(indices + p * size + 64);
}

/* x . w; on the way the row `ahead` is asked for, a few lines at a time. */
static ALWAYS_INLINE REAL NAME(sparse_dot)(const REAL *w, const NAME(sparse_row) *row,
                                           const NAME(sparse_row) *ahead,
                                           const fsgd_layout layout) {
    enum { SOME = 16 };
    const NAME(sparse_row) r = *row;
    REAL sum[4] = {0};
    int64_t p = 0;
    for (; p + SOME <= r.count; p += SOME) {
        if (p < ahead->count) NAME(ask_for)(ahead, p, layout);
        for (int64_t k = p; k < p + SOME; k += 4)
            for (int u = 0; u < 4; ++u) sum[u] += r.x[k + u] * w[NAME(column)(&r, k + u, layout)];
    }
    for (int64_t k = p; k < ahead->count; k += SOME) NAME(ask_for)(ahead, k, layout);
    if (ahead->count > 0) NAME(ask_for)(ahead, ahead->count - 1, layout);
    for (; p < r.count; ++p) sum[p & 3] += r.x[p] * w[NAME(column)(&r, p, layout)];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* w += a x */
static ALWAYS_INLINE void NAME(sparse_add)(REAL *w, const NAME(sparse_row) *row, REAL a,
                                           const fsgd_layout layout) {
    const NAME(sparse_row) r = *row;
    for (int64_t p = 0; p < r.count; ++p) w[NAME(column)(&r, p, layout)] += a * r.x[p];
}

/* The training step of row_single (row.h) on CSR. */
static ALWAYS_INLINE fsgd_status NAME(csr_single)(NAME(context) *ctx, int64_t budget,
                                                  const fsgd_layout layout) {
    enum { AHEAD = 4, FAR = 8 }; /* rows whose values, and whose row starts, are asked for */
    fsgd_state *state = ctx->state;
    const fsgd_data *data = ctx->data;
    const int64_t last = data->n - 1, index_bytes = layout == FSGD_CSR32 ? 4 : 8;
    const fsgd_loss_spec *loss = &ctx->settings->loss;
    REAL *w = state->w, *b = state->intercept;
    NAME(loss_buffer) buffer = {0};
    fsgd_status status = FSGD_OK;
    for (; state->row < ctx->stop && ctx->report->work < budget; ++state->row) {
        const int64_t r = state->row, i = NAME(row_at)(ctx, r);
        const int64_t next = NAME(row_at)(ctx, r + AHEAD < last ? r + AHEAD : last);
        const int64_t far = NAME(row_at)(ctx, r + FAR < last ? r + FAR : last);
        const NAME(sparse_row) row = NAME(sparse_row_at)(data, i, layout);
        const NAME(sparse_row) ahead = NAME(sparse_row_at)(data, next, layout);
        REAL y, s;
        NAME(prefetch_line)((const char *)data->indptr + far * index_bytes);
        NAME(prefetch_targets)(ctx, far);
        NAME(load_targets)(ctx, i, 1, &y, &s);
        ctx->report->work += row.count + 16;

        REAL z = (REAL)state->scale[0] * NAME(sparse_dot)(w, &row, &ahead, layout) + b[0];
        if (!(s > 0)) continue;
        if (!(z - z == 0)) {
            status = NAME(nonfinite)(ctx, i);
            break;
        }
        NAME(keep_loss)(ctx, &buffer, z, y, s);
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
        NAME(plan)(ctx, 1, 1, &count);
        if (c != 0) NAME(sparse_add)(w, &row, ctx->p[0] * c, layout);
        NAME(update_intercept)(ctx, 1, 1, &c, &count);
    }
    NAME(add_losses)(ctx, &buffer);
    return status;
}

static fsgd_status NAME(csr_run_single)(NAME(context) *ctx, int64_t budget) {
    return ctx->data->layout == FSGD_CSR32 ? NAME(csr_single)(ctx, budget, FSGD_CSR32)
                                           : NAME(csr_single)(ctx, budget, FSGD_CSR64);
}
