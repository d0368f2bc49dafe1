/* csr.h: plain steps of one lane on CSR rows: width 1, no L1, single samples. In scalars: a scatter
 * by vectors would lose the updates of columns that a row holds twice, and gathers are no faster.
 *
 * Template parameters as in kernel.h. Everything else on CSR is lanes.h.
 */

/* Ask for values p to p + 15 of a row, and for their columns. */
static ALWAYS_INLINE void NAME(ask_for)(const NAME(row) *row, int64_t p, const fsgd_layout layout) {
    const char *x = (const char *)(row->x + p), *indices = row->indices;
    const int64_t size = layout == FSGD_CSR32 ? 4 : 8;
    NAME(prefetch_line)(x);
    NAME(prefetch_line)(indices + p * size);
    if (REAL_BYTES == 8) NAME(prefetch_line)(x + 64);
    if (size == 8) NAME(prefetch_line)(indices + p * size + 64);
}

/* x . w; on the way the row `ahead` is asked for, a few lines at a time. */
static ALWAYS_INLINE REAL NAME(sparse_dot)(const REAL *w, const NAME(row) *row,
                                           const NAME(row) *ahead, const fsgd_layout layout) {
    enum { SOME = 16 };
    const NAME(row) r = *row;
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
static ALWAYS_INLINE void NAME(sparse_add)(REAL *w, const NAME(row) *row, REAL a,
                                           const fsgd_layout layout) {
    const NAME(row) r = *row;
    for (int64_t p = 0; p < r.count; ++p) w[NAME(column)(&r, p, layout)] += a * r.x[p];
}

/* The training step of row_single (row.h) on CSR. */
static ALWAYS_INLINE fsgd_status NAME(csr_single)(NAME(context) *ctx, int64_t budget,
                                                  const fsgd_layout layout) {
    enum { AHEAD = 4, FAR = 8 }; /* rows whose values, and whose row starts, are asked for */
    fsgd_state *state = ctx->state;
    const fsgd_data *data = ctx->data;
    const int64_t last = NAME(rows_end)(ctx) - 1, index_bytes = layout == FSGD_CSR32 ? 4 : 8;
    REAL *w = state->w, *b = state->intercept;
    NAME(loss_buffer) buffer = {0};
    fsgd_status status = FSGD_OK;
    for (; state->row < ctx->stop && ctx->report->work < budget; ++state->row) {
        const int64_t r = state->row, i = NAME(row_at)(ctx, r);
        const int64_t next = NAME(row_at)(ctx, r + AHEAD < last ? r + AHEAD : last);
        const int64_t far = NAME(row_at)(ctx, r + FAR < last ? r + FAR : last);
        const NAME(row) row = NAME(csr_row)(ctx, i, layout);
        const NAME(row) ahead = NAME(csr_extent)(ctx, next, layout);
        NAME(sample) one = {.row = i, .count = 1};
        NAME(prefetch_line)((const char *)data->indptr + far * index_bytes);
        NAME(prefetch_targets)(ctx, far);
        NAME(load_targets)(ctx, i, 1, &one.y, &one.s);
        ctx->report->work += row.count + 16;

        one.z = (REAL)state->scale[0] * NAME(sparse_dot)(w, &row, &ahead, layout) + b[0];
        if (!(one.s > 0)) continue;
        status = NAME(slope_of)(ctx, &buffer, &one);
        if (status != FSGD_OK) break;
        NAME(plan)(ctx, 1, 1, &one.count);
        if (one.c != 0) NAME(sparse_add)(w, &row, ctx->p[0] * one.c, layout);
        NAME(update_intercept)(ctx, 1, 1, &one.c, &one.count);
    }
    NAME(add_losses)(ctx, &buffer);
    return status;
}

static fsgd_status NAME(csr_run_single)(NAME(context) *ctx, int64_t budget) {
    return ctx->data->layout == FSGD_CSR32 ? NAME(csr_single)(ctx, budget, FSGD_CSR32)
                                           : NAME(csr_single)(ctx, budget, FSGD_CSR64);
}
