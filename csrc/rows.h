/* rows.h: reading the rows of X, dense and CSR, and asking for those to come. Template parameters
 * as in kernel.h.
 */

/* Copy dense row i into `to` (row_stride), whose padding is zero already, as features in REAL. */
static inline void NAME(load_row)(const NAME(context) *ctx, int64_t i, REAL *restrict to) {
    const int64_t d = ctx->data->d;
    if (!ctx->plain) {
        NAME(convert_row)(ctx->data, i, to);
        return;
    }
    const REAL *from = (const REAL *)ctx->data->x + i * d;
    int64_t j = 0;
    for (; j + 16 <= d; j += 16) memcpy(to + j, from + j, 16 * sizeof(REAL));
    if (j == d) return;
    if (d >= 16) { /* the last 16, over some that are there already */
        memcpy(to + d - 16, from + d - 16, 16 * sizeof(REAL));
    } else {
        for (; j < d; ++j) to[j] = from[j];
    }
}

/* Prefetching is always inlined: gcc takes a function that only prefetches for one without effect
 * and drops its calls. */

/* Ask for a cache line to be brought into the L2 cache. Asking for the L1 cache instead takes up
 * the few misses that it can have in flight: rows of 500 features in random order then take 310 ns
 * on one processor (Zen 4) instead of 113. */
static ALWAYS_INLINE void NAME(prefetch_line)(const void *at) { __builtin_prefetch(at, 0, 2); }

/* Ask for every cache line that `bytes` from `start` on touch. */
static ALWAYS_INLINE void NAME(prefetch)(const void *start, int64_t bytes) {
    const char *line = (const char *)((uintptr_t)start & ~(uintptr_t)63);
    for (; line < (const char *)start + bytes; line += 64) NAME(prefetch_line)(line);
}

static ALWAYS_INLINE void NAME(prefetch_targets)(const NAME(context) *ctx, int64_t i) {
    const fsgd_data *data = ctx->data;
    NAME(prefetch_line)((const REAL *)data->y + i * data->n_targets);
    if (data->sample_weight) NAME(prefetch_line)((const REAL *)data->sample_weight + i);
    if (data->held_out) NAME(prefetch_line)(data->held_out + i);
}

static ALWAYS_INLINE void NAME(prefetch_row)(const NAME(context) *ctx, int64_t i) {
    NAME(prefetch)((const char *)ctx->data->x + i * ctx->row_bytes, ctx->row_bytes);
    NAME(prefetch_targets)(ctx, i);
}

/* The position in the epoch behind the last row of X. */
static inline int64_t NAME(rows_end)(const NAME(context) *ctx) {
    return ctx->data->first_row + ctx->data->n;
}

/* The row of X at a position of the epoch. */
static inline int64_t NAME(row_at)(const NAME(context) *ctx, int64_t position) {
    return ctx->order ? ctx->order[position] : position - ctx->data->first_row;
}

/* The position in the epoch of a chunk's rows, which lie in the order unless there is none. */
static inline int64_t NAME(position)(const NAME(context) *ctx, const int64_t *rows) {
    return ctx->order ? rows - ctx->order : rows[0] + ctx->data->first_row;
}

/* Ask for the cache line that features j to j + 16 of a dense row lie in, at the first of the line.
 */
static ALWAYS_INLINE void NAME(ask_for_features)(const char *row, int64_t j, int64_t stored) {
    const int64_t at = j * stored;
    if (at % 64 == 0) NAME(prefetch_line)(row + at);
}

/* Rows that are asked for so far ahead of use, where they are used B at a time. */
static inline int64_t NAME(far)(const NAME(context) *ctx, int64_t B) {
    return 4096 / ctx->row_bytes + 2 * B;
}

/* Where the rows are that follow position `first` of the epoch, B of them, to be asked for a line
 * at a time. */
static ALWAYS_INLINE void NAME(look_ahead)(const NAME(context) *ctx, int64_t first, const int B,
                                           const char **ahead) {
    const int64_t last = NAME(rows_end)(ctx) - 1;
    for (int j = 0; j < B; ++j) {
        const int64_t r = first + j < last ? first + j : last, i = NAME(row_at)(ctx, r);
        ahead[j] = (const char *)ctx->data->x + i * ctx->row_bytes;
        NAME(prefetch_targets)(ctx, i);
    }
}

/* ------------------------------------------------------------------ CSR rows */

static ALWAYS_INLINE int64_t NAME(index)(const void *indices, int64_t p, const fsgd_layout layout) {
    return layout == FSGD_CSR32 ? ((const int32_t *)indices)[p] : ((const int64_t *)indices)[p];
}

/* The values of a row, and of a CSR row their features; a dense row has indices NULL. */
typedef struct {
    const REAL *x;
    const void *indices;
    int64_t count;
} NAME(row);

/* Where CSR row i lies, to be asked for. The arrays are the user's, whose code, or another of whose
 * threads, may change them at any time: a row that is not within them is reported and has no
 * values.
 */
static ALWAYS_INLINE NAME(row)
    NAME(csr_extent)(const NAME(context) *ctx, int64_t i, const fsgd_layout layout) {
    const fsgd_data *data = ctx->data;
    const int64_t begin = NAME(index)(data->indptr, i, layout);
    const uint64_t end = (uint64_t)NAME(index)(data->indptr, i + 1, layout);
    const int64_t count = (int64_t)(end - (uint64_t)begin);
    const int64_t size = layout == FSGD_CSR32 ? 4 : 8;
    if ((uint64_t)count > (uint64_t)data->longest ||
        (uint64_t)begin > (uint64_t)(data->nnz - count)) {
        ctx->report->changed = 1;
        return (NAME(row)){data->x, data->indices, 0};
    }
    return (NAME(row)){(const REAL *)data->x + begin, (const char *)data->indices + begin * size,
                       count};
}

/* Copy the indices of a row, those that are not in [0, d) as d - 1, and report these. They are read
 * once, 16 at a time; the last 16 over some that are there already. */
#define COPY_SOME(AT)                                                                              \
    _Pragma("omp simd") for (int k = 0; k < SOME; ++k) {                                           \
        const UNSIGNED j = from[(AT) + k], kept = j < last ? j : last;                             \
        to[(AT) + k] = kept;                                                                       \
        wrong[k] |= j ^ kept;                                                                      \
    }
#define COPY_COLUMNS                                                                               \
    do {                                                                                           \
        enum { SOME = 16 };                                                                        \
        const UNSIGNED *restrict from = row->indices, last = (UNSIGNED)ctx->last_column;           \
        UNSIGNED *restrict to = ctx->columns, wrong[SOME] = {0}, any = 0;                          \
        const int64_t count = row->count;                                                          \
        int64_t p = 0;                                                                             \
        for (; p + SOME <= count; p += SOME) COPY_SOME(p);                                         \
        if (p < count && count >= SOME) {                                                          \
            COPY_SOME(count - SOME);                                                               \
            p = count;                                                                             \
        }                                                                                          \
        for (; p < count; ++p) {                                                                   \
            const UNSIGNED j = from[p], kept = j < last ? j : last;                                \
            to[p] = kept;                                                                          \
            wrong[0] |= j ^ kept;                                                                  \
        }                                                                                          \
        _Pragma("omp simd reduction(| : any)") for (int k = 0; k < SOME; ++k) any |= wrong[k];     \
        if (any) ctx->report->changed = 1;                                                         \
    } while (0)

static ALWAYS_INLINE void NAME(copy_columns)(const NAME(context) *ctx, const NAME(row) *row,
                                             const fsgd_layout layout) {
    if (layout == FSGD_CSR32) {
#define UNSIGNED uint32_t
        COPY_COLUMNS;
#undef UNSIGNED
    } else {
#define UNSIGNED uint64_t
        COPY_COLUMNS;
#undef UNSIGNED
    }
}

/* CSR row i of data; its indices are a copy, good until the next row is read. */
static ALWAYS_INLINE NAME(row)
    NAME(csr_row)(const NAME(context) *ctx, int64_t i, const fsgd_layout layout) {
    NAME(row) row = NAME(csr_extent)(ctx, i, layout);
    NAME(copy_columns)(ctx, &row, layout);
    row.indices = ctx->columns;
    return row;
}

/* The feature of value p of a row. */
static ALWAYS_INLINE int64_t NAME(column)(const NAME(row) *row, int64_t p,
                                          const fsgd_layout layout) {
    return layout == FSGD_DENSE ? p : NAME(index)(row->indices, p, layout);
}

static ALWAYS_INLINE void NAME(prefetch_csr)(const NAME(context) *ctx, int64_t i) {
    const NAME(row) row = NAME(csr_extent)(ctx, i, ctx->data->layout);
    NAME(prefetch)(row.x, row.count * (int64_t)sizeof(REAL));
    NAME(prefetch)(row.indices, row.count * (ctx->data->layout == FSGD_CSR32 ? 4 : 8));
}

/* Where row i starts, and its targets: for a row whose values are asked for a little later. */
static ALWAYS_INLINE void NAME(prefetch_indptr)(const NAME(context) *ctx, int64_t i) {
    const int64_t size = ctx->data->layout == FSGD_CSR32 ? 4 : 8;
    NAME(prefetch_line)((const char *)ctx->data->indptr + i * size);
    NAME(prefetch_targets)(ctx, i);
}

/* ------------------------------------------------------------------ norms */

/* |x|^2 of a dense row that is not plain */
static double NAME(converted_square)(const fsgd_data *data, const void *row) {
    double sum = 0;
#define CALL(STORED, SCALED)                                                                       \
    for (int64_t j = 0; j < data->d; ++j) {                                                        \
        const double x = (double)NAME(feature)(data, row, j, STORED, SCALED);                      \
        sum += x * x;                                                                              \
    }
    BY_STORED(CALL)
#undef CALL
    return sum;
}

/* Whether the features of a CSR row rise, so that none is there twice. */
static int NAME(rises)(const NAME(row) *row, const fsgd_layout layout) {
    int falls = 0;
    for (int64_t p = 1; p < row->count; ++p)
        falls |= NAME(index)(row->indices, p - 1, layout) >= NAME(index)(row->indices, p, layout);
    return !falls;
}

/* |x|^2 of a CSR row that may have several values of a feature, which add up */
static double NAME(summed_square)(const NAME(context) *ctx, const NAME(row) *row) {
    double *sums = ctx->problem->sums, square = 0;
    for (int64_t p = 0; p < row->count; ++p)
        sums[NAME(index)(row->indices, p, ctx->data->layout)] += (double)row->x[p];
    for (int64_t p = 0; p < row->count; ++p) {
        double *sum = sums + NAME(index)(row->indices, p, ctx->data->layout);
        square += *sum * *sum;
        *sum = 0;
    }
    return square;
}

/* |x|^2 of row i; of CSR, the row at work is then i. */
static double NAME(row_square)(const NAME(context) *ctx, int64_t i) {
    const fsgd_data *data = ctx->data;
    if (data->layout == FSGD_DENSE && !NAME(is_plain)(data))
        return NAME(converted_square)(data, NAME(stored_row)(data, i));
    NAME(row) row = {(const REAL *)data->x + i * data->d, NULL, data->d};
    if (data->layout != FSGD_DENSE) {
        row = NAME(csr_row)(ctx, i, data->layout);
        if (!NAME(rises)(&row, data->layout)) return NAME(summed_square)(ctx, &row);
    }
    double sum = 0;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t p = 0; p < row.count; ++p)
        sum += (double)row.x[p] * (double)row.x[p];
    return sum;
}

#undef BY_STORED
