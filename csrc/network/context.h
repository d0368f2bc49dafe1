/* context.h: what a call on a network works with. */
#ifndef FASTSGD_NETWORK_CONTEXT_H
#define FASTSGD_NETWORK_CONTEXT_H

#include "../kernel/convert.h"
#include "../kernel/memory.h"
#include "../kernel/thread_team.h"
#include "../kernel/vectors.h"
#include "../network.h"
#include "product.h"
#include "update.h"

enum {
    CHUNK_ROWS = 256, /* of a batch that are worked on at a time */
    BLOCK_ROWS = 96,  /* of a chunk that go through the layers together, at most */
    WEIGHT_ROWS = 48, /* of a weight matrix whose gradient is found and applied together */
    LINE = 64 / REAL_BYTES,
};

typedef struct {
    const fsgd_data *data;
    const fsgd_network *network;
    const fsgd_settings *settings;
    const fsgd_vector_rule *rule;
    fsgd_vector_state *state;
    fsgd_report *report;
    const int64_t *order;
    void *memory;
    thread_team team;
    int sparse, copies; /* whether X is CSR; whether its rows are copied */
    atomic_int changed; /* an index of CSR was out of range */

    /* The chunk: its rows of positive weight. */
    int64_t count;
    int64_t *rows;                    /* (CHUNK_ROWS) their numbers, */
    real *weights;                    /* (CHUNK_ROWS) weights, */
    double *losses;                   /* (CHUNK_ROWS) and losses, not multiplied by the weights */
    int64_t blocks, block_rows;       /* of rows */
    int64_t upcoming, upcoming_count; /* rows of the next chunk, by position, to be prefetched */

    /* By layers, as arrays of `layers` pointers. units: numbers of a row of a_l, padded. */
    int64_t *units;
    real **a;      /* (CHUNK_ROWS, units[l]) what goes into the layer; a[0] NULL if X is sparse */
    real **delta;  /* (CHUNK_ROWS, strides[l]) gradients in z_l, multiplied by the weights */
    real **turned; /* (sizes[l + 1], units[l]) W_l transposed; turned[0] is NULL */
    const real ***a_rows;     /* (CHUNK_ROWS) where its rows begin, */
    const real ***delta_rows; /* and those of delta */
    int64_t *first;           /* (layers + 1) number of the first block of W_l */
    double *partial;          /* (blocks of all layers) sums over a block */
    char *
        is_touched; /* (d) CSR, not lazy: whether a row of W_0 has a gradient in this batch; with */
    real *zeros;    /* (strides[0]) the gradient of one that has none */

    /* What a phase does. */
    real *grad;    /* where gradients are added to, or NULL: the step is made at once, with */
    real of_sum;   /* 1 / S for gradients, less where they are clipped, */
    real alpha;    /* alpha / S for weights, */
    int penalised; /* and the sums of w^2 before it */
    int starts;    /* whether `grad` has nothing of this batch yet */
    step_constants step;
} network_context;

static ALWAYS_INLINE real *weights_of(const network_context *ctx, int64_t l) {
    return (real *)ctx->state->values + ctx->network->starts[l];
}

/* Lay the arrays out from `start` on; with NULL their bytes are only counted. They are returned. */
static size_t lay_out(network_context *ctx, char *start) {
    const fsgd_network *net = ctx->network;
    const int64_t layers = net->layers;
    arena memory = {start, 0};
    ctx->rows = take(&memory, CHUNK_ROWS, sizeof(int64_t));
    ctx->weights = take(&memory, CHUNK_ROWS, sizeof(real));
    ctx->losses = take(&memory, CHUNK_ROWS, sizeof(double));
    ctx->units = take(&memory, layers, sizeof(int64_t));
    ctx->first = take(&memory, layers + 1, sizeof(int64_t));
    ctx->a = take(&memory, layers, sizeof(real *));
    ctx->delta = take(&memory, layers, sizeof(real *));
    ctx->turned = take(&memory, layers, sizeof(real *));
    ctx->a_rows = take(&memory, layers, sizeof(real **));
    ctx->delta_rows = take(&memory, layers, sizeof(real **));
    const int64_t size = ctx->settings->batch_size;
    const int64_t rows = size < CHUNK_ROWS ? size : CHUNK_ROWS;
    int64_t blocks = 0;
    for (int64_t l = 0; l < layers; ++l) {
        const int64_t units = (net->sizes[l] + LINE - 1) / LINE * LINE;
        const int has_a = l > 0 || ctx->copies;
        real *a = take(&memory, has_a ? rows * units : 0, sizeof(real));
        real *delta = take(&memory, rows * net->strides[l], sizeof(real));
        const real **a_rows = take(&memory, rows, sizeof(real *));
        const real **delta_rows = take(&memory, rows, sizeof(real *));
        real *turned = take(&memory, l > 0 ? net->sizes[l + 1] * units : 0, sizeof(real));
        if (start) {
            ctx->units[l] = units;
            ctx->a[l] = has_a ? a : NULL;
            ctx->delta[l] = delta;
            ctx->turned[l] = l > 0 ? turned : NULL;
            ctx->a_rows[l] = a_rows;
            ctx->delta_rows[l] = delta_rows;
            ctx->first[l] = blocks;
            for (int64_t r = 0; r < rows; ++r) {
                a_rows[r] = has_a ? a + r * units : NULL;
                delta_rows[r] = delta + r * net->strides[l];
            }
        }
        blocks += (net->sizes[l] + WEIGHT_ROWS - 1) / WEIGHT_ROWS;
    }
    if (start) ctx->first[layers] = blocks;
    ctx->partial = take(&memory, blocks, sizeof(double));
    const int dense_steps = ctx->sparse && ctx->state->lazy_rows == 0;
    char *is_touched = take(&memory, dense_steps ? ctx->data->d : 0, 1);
    ctx->is_touched = dense_steps ? is_touched : NULL;
    ctx->zeros = take(&memory, dense_steps ? net->strides[0] : 0, sizeof(real));
    return memory.taken;
}

static void turn_weights(const network_context *ctx, int64_t l, int64_t begin, int64_t end) {
    const fsgd_network *net = ctx->network;
    transpose(weights_of(ctx, l) + begin * net->strides[l], net->strides[l], end - begin,
              net->sizes[l + 1], ctx->turned[l] + begin, ctx->units[l]);
}

static fsgd_status open_network(network_context *ctx, const fsgd_network_problem *problem,
                                fsgd_report *report) {
    memset(ctx, 0, sizeof *ctx);
    ctx->data = problem->data, ctx->network = problem->network;
    ctx->settings = problem->settings, ctx->rule = problem->rule;
    ctx->state = problem->state, ctx->report = report, ctx->order = problem->order;
    ctx->sparse = problem->data->layout != FSGD_DENSE;
    /* Short rows are copied too: 28 features take 5 % less then, 784 12 % more. */
    ctx->copies = !ctx->sparse && (!is_unconverted(problem->data) || problem->data->d <= 128);
    const size_t bytes = lay_out(ctx, NULL);
    ctx->memory = allocate_aligned(bytes);
    if (!ctx->memory) return FSGD_NO_MEMORY;
    memset(ctx->memory, 0, bytes);
    lay_out(ctx, ctx->memory);
    for (int64_t l = 1; l < ctx->network->layers; ++l)
        turn_weights(ctx, l, 0, ctx->network->sizes[l]);
    team_start(&ctx->team, ctx->settings->threads);
    return FSGD_OK;
}

static void close_network(network_context *ctx) {
    team_end(&ctx->team);
    free_aligned(ctx->memory);
}

/* Do all items below `items`, in as many parts as the team takes. */
typedef void (*item_function)(network_context *ctx, int64_t item);

typedef struct {
    network_context *ctx;
    item_function work;
    int64_t items, parts;
} item_phase;

static void do_part(void *on, int64_t part, int thread) {
    const item_phase *phase = on;
    (void)thread;
    const int64_t end = phase->items * (part + 1) / phase->parts;
    for (int64_t item = phase->items * part / phase->parts; item < end; ++item)
        phase->work(phase->ctx, item);
}

static void do_items(network_context *ctx, item_function work, int64_t items) {
    item_phase phase = {ctx, work, items, items < MAX_ITEMS ? items : MAX_ITEMS};
    team_do(&ctx->team, do_part, &phase, phase.parts);
}

#endif
