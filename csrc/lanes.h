/* lanes.h: many lanes at once, SIMD along the lanes; and one lane on CSR rows, in scalars.
 *
 * Template parameters: those of kernel.h, and
 *     TILE  lanes worked on together: 1, 4, 8 or 16. With 16, `padded` may be any multiple of it.
 *
 * A feature's vectors w, v, q lie side by side, lanes contiguous, so that what one non-zero needs
 * is in one place: no gathers, no horizontal sums. For TILE 1 the strides of State make them
 * planes.
 */

#define LNAME(x) TILE_NAME(x, TILE)

#if TILE == 1
#define LANE_BYTES REAL_BYTES
typedef REAL LNAME(vec);
#else
#if TILE * REAL_BYTES < VECTOR_BYTES
#define LANE_BYTES (TILE * REAL_BYTES)
#else
#define LANE_BYTES VECTOR_BYTES
#endif
typedef REAL LNAME(vec) __attribute__((vector_size(LANE_BYTES), aligned(REAL_BYTES), may_alias));
#endif

enum {
    LNAME(per_vec) = LANE_BYTES / REAL_BYTES,                  /* lanes of a vector */
    LNAME(vecs) = TILE / LNAME(per_vec),                       /* vectors of a tile */
    LNAME(unroll) = LNAME(vecs) >= 4 ? 1 : 4 / LNAME(vecs),    /* features in flight when scoring */
    LNAME(block) = LNAME(vecs) >= 8 ? 1 : 8 / LNAME(vecs),     /* rows, or features, of a product */
    LNAME(block_rows) = LNAME(vecs) > 1 ? 2 : NAME(max_block), /* rows of a block of plain steps */
};
#define VEC    LNAME(vec)
#define NV     LNAME(vecs)
#define PER    LNAME(per_vec)
#define UNROLL LNAME(unroll)
#define BLOCK  LNAME(block)
#define STEPS  LNAME(block_rows)

/* What the numbers of a feature are apart; of one lane a plane each. */
static ALWAYS_INLINE int64_t LNAME(stride)(const fsgd_state *state) {
    return TILE == 1 ? 1 : state->feature_stride;
}

/* The vector of lanes number i after p. */
static ALWAYS_INLINE VEC *LNAME(at)(const REAL *p, int i) {
    return (VEC *)(uintptr_t)(p + i * PER);
}

/* Call a body with the layout as a constant. Dense rows of one lane are row.h's. */
#if TILE == 1
#define BY_LAYOUT(CALL)                                                                            \
    switch (ctx->data->layout) {                                                                   \
    case FSGD_CSR32: CALL(FSGD_CSR32); break;                                                      \
    default: CALL(FSGD_CSR64);                                                                     \
    }
#else
#define BY_LAYOUT(CALL)                                                                            \
    switch (ctx->data->layout) {                                                                   \
    case FSGD_DENSE: CALL(FSGD_DENSE); break;                                                      \
    case FSGD_CSR32: CALL(FSGD_CSR32); break;                                                      \
    default: CALL(FSGD_CSR64);                                                                     \
    }
#endif

/* ------------------------------------------------------------------ history: pending steps */

/* Node i of a level; node 0 of level l starts after the nodes of the levels below. */
static ALWAYS_INLINE REAL *LNAME(node)(const fsgd_state *state, int level, int64_t i) {
    int64_t first = 2 * state->history_size - ((2 * state->history_size) >> level);
    return (REAL *)state->history + (first + i) * state->width * state->width * state->padded;
}

/* out = later after earlier, all as differences from the identity: A + B + A B */
static void LNAME(compose)(const fsgd_state *state, const REAL *later, const REAL *earlier,
                           REAL *out) {
    const int64_t width = state->width, padded = state->padded;
    for (int64_t a = 0; a < width; ++a)
        for (int64_t b = 0; b < width; ++b)
            for (int64_t k = 0; k < padded; ++k) {
                int64_t ab = (a * width + b) * padded + k;
                double sum = (double)later[ab] + (double)earlier[ab];
                for (int64_t c = 0; c < width; ++c)
                    sum += (double)later[(a * width + c) * padded + k] *
                           (double)earlier[(c * width + b) * padded + k];
                out[ab] = (REAL)sum;
            }
}

/* u (width, padded from a feature's w on) from step `from` to step `to`: the largest whole nodes.
 */
static ALWAYS_INLINE void LNAME(replay)(const fsgd_state *state, const int width, REAL *u,
                                        int64_t vector_stride, int64_t from, int64_t to) {
    const int64_t padded = state->padded;
    while (from < to) {
        int level = 63 - __builtin_clzll((unsigned long long)(to - from));
        if (from > 0 && __builtin_ctzll((unsigned long long)from) < level)
            level = __builtin_ctzll((unsigned long long)from);
        const REAL *D = LNAME(node)(state, level, from >> level);
        for (int64_t k = 0; k < padded; k += PER) {
            VEC old[NAME(max_width)];
            for (int a = 0; a < width; ++a) old[a] = *LNAME(at)(u + a * vector_stride + k, 0);
            for (int a = 0; a < width; ++a) {
                VEC change = *LNAME(at)(D + (a * width) * padded + k, 0) * old[0];
                for (int b = 1; b < width; ++b)
                    change += *LNAME(at)(D + (a * width + b) * padded + k, 0) * old[b];
                *LNAME(at)(u + a * vector_stride + k, 0) = old[a] + change;
            }
        }
        from += (int64_t)1 << level;
    }
}

static void LNAME(catch_up)(const fsgd_state *state, REAL *u, int64_t vector_stride, int64_t from,
                            int64_t to) {
    if (state->width == 2)
        LNAME(replay)(state, 2, u, vector_stride, from, to);
    else
        LNAME(replay)(state, 3, u, vector_stride, from, to);
}

/* Bring feature j to the present. */
static ALWAYS_INLINE void LNAME(touch)(const fsgd_state *state, int64_t j) {
    const int32_t now = (int32_t)state->pending;
    if (state->stamp[j] == now) return;
    LNAME(catch_up)(state, (REAL *)state->w + j * state->feature_stride, state->vector_stride,
                    state->stamp[j], now);
    state->stamp[j] = now;
}

static void LNAME(catch_up_all)(NAME(context) *ctx) {
    fsgd_state *state = ctx->state;
    for (int64_t j = 0; j < state->d; ++j) {
        LNAME(touch)(state, j);
        state->stamp[j] = 0;
    }
    state->pending = 0;
    ctx->report->work += state->d * state->width;
}

/* Put the step's D into the history: a leaf, and every node that it completes. */
static void LNAME(push_step)(NAME(context) *ctx) {
    fsgd_state *state = ctx->state;
    if (state->pending == state->history_size) LNAME(catch_up_all)(ctx);
    const size_t bytes = (size_t)(state->width * state->width * state->padded) * sizeof(REAL);
    int64_t i = state->pending++;
    memcpy(LNAME(node)(state, 0, i), ctx->D, bytes);
    for (int level = 0; i & 1; ++level, i >>= 1)
        LNAME(compose)(state, LNAME(node)(state, level, i), LNAME(node)(state, level, i - 1),
                       LNAME(node)(state, level + 1, i >> 1));
}

/* Features of a row are brought to the present when State keeps a history: CSR, width > 1. */
static inline int LNAME(is_lazy)(const NAME(context) *ctx) {
    return ctx->data->layout != FSGD_DENSE && ctx->state->width > 1 && !ctx->l1;
}

/* Bring the features of a CSR row to the present: pending steps, or a truncation that waits. */
static ALWAYS_INLINE void LNAME(touch_row)(NAME(context) *ctx, const NAME(row) *row,
                                           const fsgd_layout layout) {
    fsgd_state *state = ctx->state;
    if (LNAME(is_lazy)(ctx)) {
        for (int64_t p = 0; p < row->count; ++p) LNAME(touch)(state, NAME(column)(row, p, layout));
    } else if (ctx->late_l1) {
        for (int64_t p = 0; p < row->count; ++p) {
            REAL *w = (REAL *)state->w + NAME(column)(row, p, layout) * state->feature_stride;
            NAME(truncate_late)(ctx->u, TILE < 16 ? TILE : state->padded, w,
                                w + state->vector_stride);
        }
    }
}

/* ------------------------------------------------------------------ score */

/* z (padded) = x . W of one row; a dense one from its end if ctx->backwards. */
static ALWAYS_INLINE void LNAME(dot_row)(const NAME(context) *ctx, const NAME(row) *row, REAL *z,
                                         const fsgd_layout layout) {
    const fsgd_state *state = ctx->state;
    const int64_t stride = LNAME(stride)(state);
    const int64_t by = layout == FSGD_DENSE && ctx->backwards ? -1 : 1;
    for (int64_t tile = 0; tile < state->padded; tile += TILE) {
        const REAL *w = (const REAL *)state->w + tile;
        VEC sum[UNROLL][NV];
        for (int u = 0; u < UNROLL; ++u)
            for (int i = 0; i < NV; ++i) sum[u][i] = (VEC){0};
        int64_t done = 0, p = by < 0 ? row->count - 1 : 0;
        for (; done + UNROLL <= row->count; done += UNROLL)
            for (int u = 0; u < UNROLL; ++u, p += by) {
                const REAL *wj = w + NAME(column)(row, p, layout) * stride;
                for (int i = 0; i < NV; ++i) sum[u][i] += row->x[p] * *LNAME(at)(wj, i);
            }
        for (; done < row->count; ++done, p += by) {
            const REAL *wj = w + NAME(column)(row, p, layout) * stride;
            for (int i = 0; i < NV; ++i) sum[0][i] += row->x[p] * *LNAME(at)(wj, i);
        }
        for (int i = 0; i < NV; ++i) {
            for (int u = 1; u < UNROLL; ++u) sum[0][i] += sum[u][i];
            *LNAME(at)(z + tile, i) = sum[0][i];
        }
    }
}

/* z (padded) = x . W of one row, its features brought to the present. */
static void LNAME(dot)(NAME(context) *ctx, const NAME(row) *row, REAL *z) {
#define CALL(LAYOUT)                                                                               \
    if (LAYOUT != FSGD_DENSE) LNAME(touch_row)(ctx, row, LAYOUT);                                  \
    LNAME(dot_row)(ctx, row, z, LAYOUT)
    BY_LAYOUT(CALL)
#undef CALL
}

/* From x . W to the score: scale and intercept. */
static void LNAME(finish_score)(NAME(context) *ctx, int64_t values, REAL *z) {
    const fsgd_state *state = ctx->state;
    const REAL *b = state->intercept;
    if (state->width == 1)
        for (int64_t k = 0; k < state->padded; ++k) z[k] = (REAL)state->scale[k] * z[k] + b[k];
    else
        for (int64_t k = 0; k < state->padded; ++k) z[k] += b[k];
    ctx->report->work += (values * state->width + 16) * ((state->padded + 15) / 16);
}

/* ------------------------------------------------------------------ update */

/* One lane tile of a feature: u += D u + p g; the new w goes into `new_w` too. D is NULL where the
 * history or the scale has it. */
static ALWAYS_INLINE void LNAME(update_tile)(REAL *u, int64_t vector_stride, const int width,
                                             const VEC D[][NV], const VEC p[][NV], const VEC *g,
                                             VEC *new_w) {
    VEC old[NAME(max_width)][NV];
    for (int a = 0; a < width; ++a)
        for (int i = 0; i < NV; ++i) old[a][i] = *LNAME(at)(u + a * vector_stride, i);
    for (int a = 0; a < width; ++a)
        for (int i = 0; i < NV; ++i) {
            VEC change = p[a][i] * g[i];
            for (int b = 0; D && b < width; ++b) change += D[a * width + b][i] * old[b][i];
            change += old[a][i];
            *LNAME(at)(u + a * vector_stride, i) = change;
            if (a == 0) new_w[i] = change;
        }
}

/* The coefficients of a tile, p times `by` (padded) unless that is NULL. */
static ALWAYS_INLINE void LNAME(load_plan)(const NAME(context) *ctx, int64_t tile, const int width,
                                           const REAL *by, VEC D[][NV], VEC p[][NV]) {
    const int64_t padded = ctx->state->padded;
    for (int a = 0; a < width; ++a)
        for (int i = 0; i < NV; ++i) {
            p[a][i] = *LNAME(at)(ctx->p + a * padded + tile, i);
            if (by) p[a][i] *= *LNAME(at)(by + tile, i);
        }
    for (int ab = 0; D && ab < width * width; ++ab)
        for (int i = 0; i < NV; ++i) D[ab][i] = *LNAME(at)(ctx->D + ab * padded + tile, i);
}

/* All lanes of a row's features, with g = c x_j: c (padded). What the loop reads is in locals: its
 * stores may alias anything. */
static ALWAYS_INLINE void LNAME(add_row)(NAME(context) *ctx, const NAME(row) *row, const REAL *c,
                                         const fsgd_layout layout, const int width) {
    fsgd_state *state = ctx->state;
    const NAME(row) r = *row;
    const int64_t stride = LNAME(stride)(state), vector_stride = state->vector_stride;
    const int64_t padded = TILE < 16 ? TILE : state->padded;
    const int direct = layout == FSGD_DENSE && width > 1;
    if (layout != FSGD_DENSE && width > 1) LNAME(touch_row)(ctx, &r, layout);
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        VEC D[NAME(max_width) *NAME(max_width)][NV], p[NAME(max_width)][NV];
        REAL *w = (REAL *)state->w + tile;
        LNAME(load_plan)(ctx, tile, width, c, direct ? D : NULL, p);
        for (int64_t k = 0; k < r.count; ++k) {
            VEC x[NV], new_w[NV];
            for (int i = 0; i < NV; ++i) x[i] = r.x[k] - (VEC){0};
            REAL *u = w + NAME(column)(&r, k, layout) * stride;
            LNAME(update_tile)(u, vector_stride, width, direct ? D : NULL, p, x, new_w);
        }
    }
}

/* update_tile by x, and sum += next w of the new w */
static ALWAYS_INLINE void LNAME(update_dot_tile)(REAL *u, int64_t vector_stride, const int width,
                                                 const VEC D[][NV], const VEC p[][NV], REAL x,
                                                 REAL next, VEC *sum) {
    VEC g[NV], w[NV];
    for (int i = 0; i < NV; ++i) g[i] = x - (VEC){0};
    LNAME(update_tile)(u, vector_stride, width, width > 1 ? D : NULL, p, g, w);
    for (int i = 0; i < NV; ++i) sum[i] += next * w[i];
}

/* add_row for one dense row and dot_row for the next, in one pass over W: the sums are those of
 * dot_row, to the bit. */
static ALWAYS_INLINE void LNAME(add_and_dot)(NAME(context) *ctx, const REAL *x, const REAL *c,
                                             const REAL *next, REAL *z, const int width) {
    fsgd_state *state = ctx->state;
    const int64_t d = ctx->data->d, stride = state->feature_stride, vectors = state->vector_stride;
    const int64_t by = ctx->backwards ? -1 : 1;
    for (int64_t tile = 0; tile < state->padded; tile += TILE) {
        VEC D[NAME(max_width) *NAME(max_width)][NV], p[NAME(max_width)][NV], sum[UNROLL][NV];
        LNAME(load_plan)(ctx, tile, width, c, width > 1 ? D : NULL, p);
        for (int s = 0; s < UNROLL; ++s)
            for (int i = 0; i < NV; ++i) sum[s][i] = (VEC){0};
        int64_t done = 0, j = ctx->backwards ? d - 1 : 0;
        REAL *u = (REAL *)state->w + tile + j * stride;
        for (; done + UNROLL <= d; done += UNROLL)
            for (int s = 0; s < UNROLL; ++s, j += by, u += by * stride)
                LNAME(update_dot_tile)(u, vectors, width, D, p, x[j], next[j], sum[s]);
        for (; done < d; ++done, j += by, u += by * stride)
            LNAME(update_dot_tile)(u, vectors, width, D, p, x[j], next[j], sum[0]);
        for (int i = 0; i < NV; ++i) {
            for (int s = 1; s < UNROLL; ++s) sum[0][i] += sum[s][i];
            *LNAME(at)(z + tile, i) = sum[0][i];
        }
    }
}

static void LNAME(update_and_dot)(NAME(context) *ctx, const REAL *x, const REAL *next) {
    if (ctx->state->width == 2)
        LNAME(add_and_dot)(ctx, x, ctx->c, next, ctx->z, 2);
    else
        LNAME(add_and_dot)(ctx, x, ctx->c, next, ctx->z, 3);
}

/* The whole step of one feature with an L1 penalty: u += D u + p x g, then truncation; g (padded).
 */
static ALWAYS_INLINE void LNAME(l1_step)(NAME(context) *ctx, const int width, REAL *u, REAL x,
                                         const REAL *g) {
    const fsgd_state *state = ctx->state;
    const int64_t padded = TILE < 16 ? TILE : state->padded, stride = state->vector_stride;
    const int64_t start = ctx->settings->average;
    const REAL *D = ctx->D, *p = ctx->p, *total = ctx->u;
    REAL *paid = u + width * stride;
    for (int64_t tile = 0; tile < padded; tile += TILE)
        _Pragma("omp simd") for (int64_t k = tile; k < tile + TILE; ++k) {
            REAL old[NAME(max_width)], now[NAME(max_width)];
            for (int a = 0; a < width; ++a) old[a] = u[a * stride + k];
            for (int a = 0; a < width; ++a) {
                now[a] = p[a * padded + k] * (x * g[k]);
                for (int b = 0; b < width; ++b) now[a] += D[(a * width + b) * padded + k] * old[b];
                now[a] += old[a];
            }
            const REAL before = now[0];
            REAL received = paid[k];
            NAME(truncate)(&now[0], &received, total[k]);
            paid[k] = received;
            if (width > 1) { /* q = N (a - w): what w gains, q loses N times */
                const int64_t N = start > 0 && state->t[k] > start ? state->t[k] - start : 0;
                now[width - 1] -= (REAL)N * (now[0] - before);
            }
            for (int a = 0; a < width; ++a) u[a * stride + k] = now[a];
        }
}

/* Features first to last, feature j with g_j = x_j c (x given) or g_j at g + j padded (x NULL). */
static ALWAYS_INLINE void LNAME(l1_steps)(NAME(context) *ctx, int64_t first, int64_t last,
                                          const int width, const REAL *x, const REAL *g) {
    const fsgd_state *state = ctx->state;
    const int64_t step = x ? 0 : state->padded;
    for (int64_t j = first; j <= last; ++j)
        LNAME(l1_step)(ctx, width, (REAL *)state->w + j * state->feature_stride, x ? x[j] : 1,
                       g + j * step);
}

static void LNAME(l1_features)(NAME(context) *ctx, int64_t first, int64_t last, const REAL *x,
                               const REAL *g) {
    switch (ctx->state->width) {
    case 1: LNAME(l1_steps)(ctx, first, last, 1, x, g); break;
    case 2: LNAME(l1_steps)(ctx, first, last, 2, x, g); break;
    default: LNAME(l1_steps)(ctx, first, last, 3, x, g);
    }
}

/* A step with an L1 penalty of one row: over all features, or, where the others may wait, over the
 * row's. */
static void LNAME(update_row_l1)(NAME(context) *ctx, const NAME(row) *row, const REAL *c) {
    const int64_t padded = ctx->state->padded, d = ctx->data->d;
    if (ctx->data->layout == FSGD_DENSE) {
        LNAME(l1_features)(ctx, 0, d - 1, row->x, c);
    } else if (ctx->late_l1) {
#define CALL(LAYOUT)                                                                               \
    LNAME(add_row)(ctx, row, c, LAYOUT, 1);                                                        \
    LNAME(touch_row)(ctx, row, LAYOUT)
        BY_LAYOUT(CALL)
#undef CALL
        ctx->state->pending = 1;
    } else {
        REAL *g = ctx->spread;
        for (int64_t p = 0; p < row->count; ++p) {
            const int64_t j = NAME(index)(row->indices, p, ctx->data->layout);
            for (int64_t k = 0; k < padded; ++k) g[j * padded + k] += row->x[p] * c[k];
        }
        LNAME(l1_features)(ctx, 0, d - 1, NULL, g);
        for (int64_t p = 0; p < row->count; ++p)
            memset(g + NAME(index)(row->indices, p, ctx->data->layout) * padded, 0,
                   (size_t)padded * sizeof(REAL));
        ctx->report->work += d * ctx->state->width * ((padded + 15) / 16);
    }
}

/* Add a row times c to the weights, or, where steps have a history or a D, take the step. */
static void LNAME(take_row)(NAME(context) *ctx, const NAME(row) *row, const REAL *c) {
#define CALL(LAYOUT)                                                                               \
    switch (ctx->state->width) {                                                                   \
    case 1: LNAME(add_row)(ctx, row, c, LAYOUT, 1); break;                                         \
    case 2: LNAME(add_row)(ctx, row, c, LAYOUT, 2); break;                                         \
    default: LNAME(add_row)(ctx, row, c, LAYOUT, 3);                                               \
    }
    BY_LAYOUT(CALL)
#undef CALL
}

static void LNAME(update_row)(NAME(context) *ctx, const NAME(row) *row, const REAL *c) {
    if (ctx->l1)
        LNAME(update_row_l1)(ctx, row, c);
    else
        LNAME(take_row)(ctx, row, c);
}

/* Features first to last of the batch's gradient, which is cleared. */
static ALWAYS_INLINE void LNAME(add_gradient)(NAME(context) *ctx, int64_t first, int64_t last,
                                              const int width, const int direct) {
    fsgd_state *state = ctx->state;
    const int64_t rest = NAME(grad_size)(state);
    const int64_t padded = state->padded;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        VEC D[NAME(max_width) *NAME(max_width)][NV], p[NAME(max_width)][NV], g[NV], new_w[NV];
        LNAME(load_plan)(ctx, tile, width, NULL, direct ? D : NULL, p);
        for (int64_t j = first; j <= last; ++j) {
            REAL *grad = (REAL *)state->grad + j * padded + tile;
            for (int i = 0; i < NV; ++i) {
                g[i] = *LNAME(at)(grad, i);
                *LNAME(at)(grad, i) = *LNAME(at)(grad + rest, i) = (VEC){0};
            }
            REAL *u = (REAL *)state->w + tile + j * state->feature_stride;
            LNAME(update_tile)(u, state->vector_stride, width, direct ? D : NULL, p, g, new_w);
        }
    }
}

/* The same with an L1 penalty: of all features, unless truncation may wait. */
static void LNAME(add_gradient_l1)(NAME(context) *ctx, int64_t first, int64_t last) {
    fsgd_state *state = ctx->state;
    const int64_t padded = TILE < 16 ? TILE : state->padded, rest = NAME(grad_size)(state);
    REAL *grad = (REAL *)state->grad + first * padded;
    if (!ctx->late_l1) LNAME(l1_features)(ctx, first, last, NULL, state->grad);
    for (int64_t j = first; ctx->late_l1 && j <= last; ++j) {
        REAL *w = (REAL *)state->w + j * state->feature_stride;
        const REAL *g = (const REAL *)state->grad + j * padded;
        for (int64_t k = 0; k < padded; ++k) w[k] += ctx->p[k] * g[k];
        NAME(truncate_late)(ctx->u, padded, w, w + state->vector_stride);
    }
    memset(grad, 0, (size_t)((last - first + 1) * padded) * sizeof(REAL));
    memset(grad + rest, 0, (size_t)((last - first + 1) * padded) * sizeof(REAL));
    if (ctx->late_l1) state->pending = 1;
}

/* An update of features first to last, whose coefficients are found. */
static void LNAME(update_features)(NAME(context) *ctx, int64_t first, int64_t last) {
    const int lazy = LNAME(is_lazy)(ctx);
    if (ctx->l1) {
        LNAME(add_gradient_l1)(ctx, first, last);
        return;
    }
    for (int64_t j = first; lazy && j <= last; ++j) LNAME(touch)(ctx->state, j);
    switch (ctx->state->width + (lazy ? 2 : 0)) {
    case 1: LNAME(add_gradient)(ctx, first, last, 1, 0); break;
    case 2: LNAME(add_gradient)(ctx, first, last, 2, 1); break;
    case 3: LNAME(add_gradient)(ctx, first, last, 3, 1); break;
    case 4: LNAME(add_gradient)(ctx, first, last, 2, 0); break;
    default: LNAME(add_gradient)(ctx, first, last, 3, 0);
    }
}

/* ------------------------------------------------------------------ single samples */

/* The row at a position of the epoch, read where it lies; one that must be converted first lies in
 * a buffer then, as long as only the next one is asked for. */
static inline NAME(row) LNAME(row_of)(const NAME(context) *ctx, int64_t position) {
    const int64_t d = ctx->data->d, i = NAME(row_at)(ctx, position);
    if (ctx->data->layout != FSGD_DENSE) return NAME(csr_row)(ctx, i, ctx->data->layout);
    if (ctx->plain) return (NAME(row)){(const REAL *)ctx->data->x + i * d, NULL, d};
    REAL *to = ctx->rows + (position & 1) * ctx->row_stride;
    NAME(convert_row)(ctx->data, i, to);
    return (NAME(row)){to, NULL, d};
}

/* Ask for rows to come: `far` ahead, and where a CSR row starts twice as far. */
static ALWAYS_INLINE void LNAME(prefetch_ahead)(const NAME(context) *ctx, int64_t r, int64_t far) {
    const int64_t end = NAME(rows_end)(ctx);
    if (ctx->data->layout == FSGD_DENSE) {
        if (r + far < end) NAME(prefetch_row)(ctx, NAME(row_at)(ctx, r + far));
    } else {
        if (r + 2 * far < end) NAME(prefetch_indptr)(ctx, NAME(row_at)(ctx, r + 2 * far));
        if (r + far < end) NAME(prefetch_csr)(ctx, NAME(row_at)(ctx, r + far));
    }
}

/* Rows one by one, up to row `stop` of the epoch. */
static fsgd_status LNAME(run_rows)(NAME(context) *ctx, int64_t stop, int64_t budget) {
    enum { CSR_AHEAD = 4 };
    fsgd_state *state = ctx->state;
    const int lazy = LNAME(is_lazy)(ctx), dense = ctx->data->layout == FSGD_DENSE;
    const int64_t far = dense ? NAME(far)(ctx, 1) : CSR_AHEAD;
    int dotted = 0; /* z holds x . W of this row, which is `next`, already */
    NAME(row) next = {0};
    /* Every other dense row is read from its end, while what the last one ended with is in the L1
     * cache: 1.2 times faster where W is a little larger than that (784 features, 16 lanes). */
    for (; state->row < stop && ctx->report->work < budget; ++state->row) {
        const int64_t i = NAME(row_at)(ctx, state->row);
        const NAME(row) row = dotted ? next : LNAME(row_of)(ctx, state->row);
        int ticks;
        LNAME(prefetch_ahead)(ctx, state->row, far);
        ctx->backwards = dense && (state->row & 1);
        if (!dotted) LNAME(dot)(ctx, &row, ctx->z);
        dotted = 0;
        LNAME(finish_score)(ctx, row.count, ctx->z);
        if (NAME(slopes_single)(ctx, i, &ticks) != FSGD_OK) return FSGD_NONFINITE;
        if (!ticks) continue;
        NAME(plan_lanes)(ctx, ctx->count);
        if (lazy) LNAME(push_step)(ctx);
        if (dense && !ctx->l1 && state->width > 1 && state->row + 1 < stop &&
            ctx->report->work < budget) {
            next = LNAME(row_of)(ctx, state->row + 1);
            ctx->backwards = (state->row + 1) & 1;
            LNAME(update_and_dot)(ctx, row.x, next.x);
            dotted = 1;
        } else {
            LNAME(update_row)(ctx, &row, ctx->c);
        }
        NAME(update_intercepts)(ctx, ctx->c, ctx->count);
    }
    return FSGD_OK;
}

#if TILE > 1
#include "blocks.h"
#endif

static fsgd_status LNAME(run_single)(NAME(context) *ctx, int64_t budget) {
    const int plain = ctx->state->width == 1 && !ctx->l1;
#if TILE == 1
    if (plain) return NAME(csr_run_single)(ctx, budget);
#else
    if (plain && ctx->data->layout == FSGD_DENSE) return LNAME(run_blocks)(ctx, budget);
#endif
    return LNAME(run_rows)(ctx, ctx->stop, budget);
}

/* ------------------------------------------------------------------ batches */

/* x . W of up to BLOCK dense rows, `count` of them, into z (count, padded): W is read once for all.
 * A row's sum does not depend on its block. */
static ALWAYS_INLINE void LNAME(dot_block)(const NAME(context) *ctx, const REAL *rows,
                                           int64_t count, const char *const *ahead, REAL *z) {
    enum { LINE = 64 / REAL_BYTES };
    const fsgd_state *state = ctx->state;
    const int64_t stride = state->feature_stride, padded = state->padded, d = ctx->data->d;
    const REAL *x[BLOCK];
    for (int r = 0; r < BLOCK; ++r) x[r] = rows + (r < count ? r : count - 1) * ctx->row_stride;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        const REAL *w = (const REAL *)state->w + tile;
        VEC sum[BLOCK][NV];
        for (int r = 0; r < BLOCK; ++r)
            for (int i = 0; i < NV; ++i) sum[r][i] = (VEC){0};
        for (int64_t line = 0; line < d; line += LINE) {
            const int64_t end = d - line < LINE ? d : line + LINE;
            if (tile == 0)
                for (int r = 0; r < BLOCK; ++r) NAME(ask_for_features)(ahead[r], line, ctx->stored);
            for (int64_t j = line; j < end; ++j, w += stride)
                for (int r = 0; r < BLOCK; ++r)
                    for (int i = 0; i < NV; ++i) sum[r][i] += x[r][j] * *LNAME(at)(w, i);
        }
        for (int r = 0; tile == 0 && r < BLOCK; ++r)
            NAME(prefetch_line)(ahead[r] + ctx->row_bytes - 1);
        for (int64_t r = 0; r < BLOCK && r < count; ++r)
            for (int i = 0; i < NV; ++i) *LNAME(at)(z + r * padded + tile, i) = sum[r][i];
    }
}

static void LNAME(score_dense)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    const int64_t padded = ctx->state->padded, stride = ctx->row_stride;
    const int64_t here = NAME(position)(ctx, rows);
    const char *ahead[BLOCK];
    for (int64_t r = 0; r < m; r += BLOCK) {
        const int64_t count = m - r < BLOCK ? m - r : BLOCK;
        for (int64_t i = r; i < r + count; ++i)
            NAME(load_row)(ctx, rows[i], ctx->rows + i * stride);
        NAME(look_ahead)(ctx, here + r + NAME(far)(ctx, BLOCK), BLOCK, ahead);
        LNAME(dot_block)(ctx, ctx->rows + r * stride, count, ahead, ctx->z + r * padded);
    }
    for (int64_t r = 0; r < m; ++r) LNAME(finish_score)(ctx, ctx->data->d, ctx->z + r * padded);
}

static void LNAME(score)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    enum { AHEAD = 4 };
    const int64_t here = ctx->state->row + ctx->state->batch_row, end = NAME(rows_end)(ctx);
    if (ctx->data->layout == FSGD_DENSE) {
        LNAME(score_dense)(ctx, rows, m);
        return;
    }
    for (int64_t r = 0; r < m; ++r) {
        const int64_t next = here + r + AHEAD, far = next + AHEAD;
        if (far < end) NAME(prefetch_indptr)(ctx, NAME(row_at)(ctx, far));
        if (next < end) NAME(prefetch_csr)(ctx, NAME(row_at)(ctx, next));
        const NAME(row) row = NAME(csr_row)(ctx, rows[r], ctx->data->layout);
        LNAME(dot)(ctx, &row, ctx->z + r * ctx->state->padded);
        LNAME(finish_score)(ctx, row.count, ctx->z + r * ctx->state->padded);
    }
}

/* Kahan's sum, as NAME(add), of vector i of the lanes at `sum` */
static ALWAYS_INLINE void LNAME(add)(REAL *sum, int64_t rest, int i, VEC term) {
    if (rest == 0) {
        *LNAME(at)(sum, i) = term;
        return;
    }
    VEC *s = LNAME(at)(sum, i), *lost = LNAME(at)(sum + rest, i);
    const VEC y = term - *lost, t = *s + y;
    *lost = (t - *s) - y;
    *s = t;
}

/* grad += c x of one CSR row: c (padded) */
static ALWAYS_INLINE void LNAME(scatter_row)(const fsgd_state *state, const NAME(row) *row,
                                             const REAL *c, const fsgd_layout layout) {
    const int64_t rest = NAME(grad_size)(state);
    for (int64_t tile = 0; tile < state->padded; tile += TILE)
        for (int64_t p = 0; p < row->count; ++p) {
            REAL *grad = (REAL *)state->grad + NAME(column)(row, p, layout) * state->padded + tile;
            for (int i = 0; i < NV; ++i)
                LNAME(add)(grad, rest, i, row->x[p] * *LNAME(at)(c + tile, i));
        }
}

/* grad += sum_r c_r x_r of a chunk of dense rows, features j to j + count - 1, up to BLOCK: slopes
 * are read once for all. Rows are padded with zeros to whole blocks. */
static ALWAYS_INLINE void LNAME(accumulate_block)(NAME(context) *ctx, int64_t m, int64_t j,
                                                  int64_t count) {
    const int64_t padded = ctx->state->padded;
    for (int64_t tile = 0; tile < padded; tile += TILE) {
        const REAL *x = ctx->rows + j, *c = ctx->c + tile;
        VEC sum[BLOCK][NV];
        for (int u = 0; u < BLOCK; ++u)
            for (int i = 0; i < NV; ++i) sum[u][i] = (VEC){0};
        for (int64_t r = 0; r < m; ++r, x += ctx->row_stride, c += padded)
            for (int u = 0; u < BLOCK; ++u)
                for (int i = 0; i < NV; ++i) sum[u][i] += x[u] * *LNAME(at)(c, i);
        for (int u = 0; u < BLOCK && u < count; ++u)
            for (int i = 0; i < NV; ++i)
                LNAME(add)(ctx->sum + (j + u) * padded + tile, ctx->rest, i, sum[u][i]);
    }
}

static void LNAME(accumulate_dense)(NAME(context) *ctx, int64_t m) {
    const int64_t d = ctx->data->d;
    for (int64_t j = 0; j < d; j += BLOCK)
        LNAME(accumulate_block)(ctx, m, j, d - j < BLOCK ? d - j : BLOCK);
}

static void LNAME(accumulate)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    if (ctx->data->layout == FSGD_DENSE) {
        LNAME(accumulate_dense)(ctx, m);
    } else {
        for (int64_t r = 0; r < m; ++r) {
            const NAME(row) row = NAME(csr_row)(ctx, rows[r], ctx->data->layout);
#define CALL(LAYOUT) LNAME(scatter_row)(state, &row, ctx->c + r * padded, LAYOUT)
            BY_LAYOUT(CALL)
#undef CALL
            state->batch_nnz += row.count;
        }
    }
}

/* Whether a batch's update goes over all features, not over those of its rows. */
static int LNAME(takes_all)(const NAME(context) *ctx) {
    return ctx->data->layout == FSGD_DENSE || ctx->state->batch_nnz >= ctx->state->d ||
           (ctx->l1 && !ctx->late_l1);
}

/* squares += |grad|^2. A feature that is counted is marked by an infinite rest, which the update
 * clears: rows may share features. */
static void LNAME(norms)(NAME(context) *ctx, const int64_t *rows, int64_t m, double *squares) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded, rest = NAME(grad_size)(state);
    if (LNAME(takes_all)(ctx)) {
        for (int64_t j = 0; j < state->d; ++j) {
            const REAL *grad = (const REAL *)state->grad + j * padded;
            for (int64_t k = 0; k < padded; ++k) squares[k] += (double)grad[k] * (double)grad[k];
        }
        return;
    }
    for (int64_t r = 0; r < m; ++r) {
        const NAME(row) row = NAME(csr_row)(ctx, rows ? rows[r] : NAME(row_at)(ctx, state->row + r),
                                            ctx->data->layout);
        for (int64_t p = 0; p < row.count; ++p) {
            REAL *grad = (REAL *)state->grad +
                         NAME(index)(row.indices, p, ctx->data->layout) * padded;
            if (grad[rest] == (REAL)INFINITY) continue;
            grad[rest] = (REAL)INFINITY;
            for (int64_t k = 0; k < padded; ++k) squares[k] += (double)grad[k] * (double)grad[k];
        }
    }
}

/* One update by the m CSR rows of a whole batch. */
static void LNAME(update_by_rows)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    const int64_t padded = state->padded;
    NAME(plan_lanes)(ctx, state->batch_count);
    if (LNAME(is_lazy)(ctx)) LNAME(push_step)(ctx);
    for (int64_t r = 0; r < m; ++r) {
        const NAME(row) row = NAME(csr_row)(ctx, rows[r], ctx->data->layout);
        LNAME(take_row)(ctx, &row, ctx->c + r * padded);
    }
    for (int64_t r = 0; ctx->late_l1 && r < m; ++r) {
        const NAME(row) row = NAME(csr_row)(ctx, rows[r], ctx->data->layout);
#define CALL(LAYOUT) LNAME(touch_row)(ctx, &row, LAYOUT)
        BY_LAYOUT(CALL)
#undef CALL
        state->pending = 1;
    }
    for (int64_t r = 1; r < m; ++r)
        for (int64_t k = 0; k < padded; ++k) ctx->c[k] += ctx->c[r * padded + k];
    NAME(update_intercepts)(ctx, ctx->c, state->batch_count);
}

/* Apply the gradient: to every feature, or, on CSR with few values, to those of the batch's rows.
 */
static void LNAME(update)(NAME(context) *ctx, const int64_t *rows, int64_t m) {
    fsgd_state *state = ctx->state;
    NAME(plan_lanes)(ctx, state->batch_count);
    if (LNAME(is_lazy)(ctx)) LNAME(push_step)(ctx);
    if (LNAME(takes_all)(ctx)) {
        LNAME(update_features)(ctx, 0, state->d - 1);
        ctx->report->work += state->d * state->width * ((state->padded + 15) / 16);
    } else {
        for (int64_t r = 0; r < m; ++r) {
            const NAME(row) row = NAME(csr_row)(
                ctx, rows ? rows[r] : NAME(row_at)(ctx, state->row + r), ctx->data->layout);
            for (int64_t p = 0; p < row.count; ++p) {
                const int64_t j = NAME(index)(row.indices, p, ctx->data->layout);
                LNAME(update_features)(ctx, j, j);
            }
        }
        ctx->report->work += state->batch_nnz * state->width * ((state->padded + 15) / 16);
    }
    NAME(update_intercepts)(ctx, state->grad_intercept, state->batch_count);
}

/* ------------------------------------------------------------------ read-out */

/* The model (k, d) at the present, the state left as it is. */
static void LNAME(read_weights)(NAME(context) *ctx, int average, REAL *out) {
    const fsgd_state *state = ctx->state;
    const int width = (int)state->width;
    const int64_t padded = state->padded, d = state->d;
    REAL *u = ctx->D; /* (width, padded), free here */
    const int64_t N = average && ctx->settings->average > 0
                          ? state->t[0] - ctx->settings->average + 1
                          : 0;
    if (padded == 1 && state->pending == 0 && (N <= 0 || width > 1)) { /* planes, as they stand */
        const REAL *w = (const REAL *)state->w, *q = w + (width - 1) * state->vector_stride;
        const double by = N > 0 ? (double)N : 1;
        if (N > 0)
            for (int64_t j = 0; j < d; ++j) out[j] = (REAL)((double)w[j] + (double)q[j] / by);
        else if (width == 1)
            for (int64_t j = 0; j < d; ++j) out[j] = (REAL)(state->scale[0] * (double)w[j]);
        else
            memcpy(out, w, (size_t)d * sizeof(REAL));
        return;
    }
    for (int64_t j = 0; j < d; ++j) {
        const REAL *w = (const REAL *)state->w + j * state->feature_stride;
        for (int a = 0; a < width; ++a)
            memcpy(u + a * padded, w + a * state->vector_stride, (size_t)padded * sizeof(REAL));
        if (ctx->l1)
            for (int64_t k = 0; k < padded; ++k) {
                REAL received = w[width * state->vector_stride + k];
                NAME(truncate)(u + k, &received, ctx->u[k]);
            }
        else if (width == 1)
            for (int64_t k = 0; k < padded; ++k) u[k] = (REAL)(state->scale[k] * (double)u[k]);
        else if (state->pending > 0)
            LNAME(catch_up)(state, u, padded, state->stamp[j], state->pending);
        for (int64_t k = 0; k < state->k; ++k)
            out[k * d + j] = NAME(model)(ctx, average, k, u[k], u[(width - 1) * padded + k]);
    }
}

static const NAME(verbs) LNAME(lanes_verbs) = {
    .score = LNAME(score),
    .accumulate = LNAME(accumulate),
    .norms = LNAME(norms),
    .update = LNAME(update),
    .update_features = LNAME(update_features),
    .update_by_rows = LNAME(update_by_rows),
    .run_single = LNAME(run_single),
    .catch_up_all = LNAME(catch_up_all),
    .weights = LNAME(read_weights),
};

#undef BY_LAYOUT
#undef LNAME
#undef LANE_BYTES
#undef VEC
#undef NV
#undef PER
#undef UNROLL
#undef BLOCK
#undef STEPS
#undef TILE
