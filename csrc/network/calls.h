/* calls.h: what a table of network kernels offers (csrc/network.h): a run, and gradients of rows by
 * themselves.
 */
#ifndef FASTSGD_NETWORK_CALLS_H
#define FASTSGD_NETWORK_CALLS_H

#include "layers.h"

#include "../schedule.h"

/* One batch in 16 is measured, and one single row in 64. */
static int is_measured(int64_t size, int64_t row) {
    const int64_t each = 64 / size > 16 ? 64 / size : 16;
    return row / size % each == 0;
}

/* The learning rate of update t, which the batch at State's row makes. */
static double rate_of(const network_context *ctx, const fsgd_network_problem *problem, double t) {
    const fsgd_schedule *schedule = &ctx->settings->schedule;
    const fsgd_vector_rule *rule = ctx->rule;
    const fsgd_vector_state *state = ctx->state;
    const int64_t size = ctx->settings->batch_size, n = ctx->data->n;
    const double e = (double)state->epoch +
                     (double)(state->row / size) / (double)((n + size - 1) / size);
    const double factor = fsgd_schedule_factor(schedule, t, e);
    const double eta = schedule->kind == FSGD_CALLABLE
                           ? factor * problem->rates[(state->row - problem->rates_row) / size]
                           : fsgd_rate(schedule, rule->eta0, rule->mu, factor, t - 1);
    return eta * state->rate_factor;
}

/* The constants of update t at a learning rate. */
static void prepare_step(network_context *ctx, double t, double eta) {
    const fsgd_vector_rule *rule = ctx->rule;
    const int64_t average = ctx->settings->average;
    const double beta = ctx->settings->momentum;
    double correction = 1;
    if (rule->kind == FSGD_RULE_ADAM) {
        const double since = t - (double)ctx->state->slots_since;
        correction = sqrt(1 - pow(rule->beta_2, since)) / (1 - pow(rule->beta_1, since));
    }
    ctx->step = (step_constants){
        .kind = rule->kind,
        .momentum = beta > 0,
        .nesterov = ctx->settings->nesterov,
        .eta = (real)(eta * correction),
        .beta = (real)beta,
        .beta_1 = (real)rule->beta_1,
        .rest_1 = (real)(1 - rule->beta_1),
        .beta_2 = (real)rule->beta_2,
        .rest_2 = (real)(1 - rule->beta_2),
        .epsilon = (real)rule->epsilon,
        .averaged = average > 0 && t >= (double)average ? (real)(1 / (t - (double)average + 1)) : 0,
        .length = ctx->state->length,
        .average = ctx->state->vectors - 1,
    };
}

/* Add losses and weights of the chunk to those of its batch; whether all are finite. */
static int count_chunk(network_context *ctx) {
    fsgd_vector_state *state = ctx->state;
    for (int64_t r = 0; r < ctx->count; ++r) {
        const double loss = (double)ctx->weights[r] * ctx->losses[r];
        if (!isfinite(loss)) {
            ctx->report->row = ctx->rows[r];
            ctx->report->step = state->t;
            return 0;
        }
        state->batch_loss += loss;
        state->batch_weight += (double)ctx->weights[r];
    }
    state->batch_used += ctx->count;
    return 1;
}

/* The step of the open batch, whose last chunk is this one: at once, or of what is in `grad`. */
static void make_step(network_context *ctx, const fsgd_network_problem *problem, int direct) {
    fsgd_vector_state *state = ctx->state;
    const int64_t blocks = ctx->first[ctx->network->layers];
    const double t = (double)++state->t, sum = state->batch_weight;
    const double eta = rate_of(ctx, problem, t);
    prepare_step(ctx, t, eta);
    ctx->report->eta = eta;
    ctx->of_sum = (real)(1 / sum);
    ctx->alpha = (real)(ctx->network->alpha / sum);
    ctx->penalised = ctx->network->alpha > 0;
    if (direct) {
        ctx->grad = NULL;
        do_items(ctx, weight_block, blocks);
    } else {
        do_items(ctx, square_block, blocks);
        const double of_lazy = state->lazy_rows ? square_of_touched(ctx) : 0;
        const double square = (sum_of_blocks(ctx) + of_lazy) / (sum * sum), norm = sqrt(square);
        if (is_measured(ctx->settings->batch_size, state->row)) {
            state->norm_sum += square;
            state->norm_count += 1;
        }
        if (norm > ctx->settings->clip_norm)
            ctx->of_sum = (real)(ctx->settings->clip_norm / norm / sum);
        do_items(ctx, step_block, blocks);
    }
    const double squares = ctx->penalised ? sum_of_blocks(ctx) + state->lazy_sums[0] : 0;
    if (state->lazy_rows) lazy_step(ctx);
    const double penalty = 0.5 * ctx->network->alpha * squares;
    const double used = (double)state->batch_used;
    state->objective_sum += used * (state->batch_loss + penalty) / sum;
    state->row_count += used;
}

/* Train a chunk of the open batch; with its last one the step is made. */
static fsgd_status train_chunk(network_context *ctx, const fsgd_network_problem *problem) {
    fsgd_vector_state *state = ctx->state;
    const int64_t size = ctx->settings->batch_size, n = ctx->data->n;
    const int64_t m = n - state->row < size ? n - state->row : size;
    const int64_t left = m - state->batch_row, taken = left < CHUNK_ROWS ? left : CHUNK_ROWS;
    const int last = taken == left;
    const int direct = last && state->batch_row == 0 && isinf(ctx->settings->clip_norm) &&
                       !is_measured(size, state->row);
    gather_rows(ctx, NULL, state->row + state->batch_row, taken);
    ctx->upcoming = state->row + state->batch_row + taken;
    const int64_t behind = n - ctx->upcoming;
    ctx->upcoming_count = ctx->sparse ? 0 : behind < taken ? behind : taken;
    if (state->lazy_rows) catch_up(ctx);
    do_items(ctx, propagate_block, ctx->blocks);
    if (!count_chunk(ctx)) return FSGD_NONFINITE;
    if (!direct) {
        ctx->grad = state->grad;
        ctx->penalised = 0;
        ctx->starts = state->batch_row == 0;
        do_items(ctx, weight_block, ctx->first[ctx->network->layers]);
    }
    if (ctx->sparse) sparse_gradient(ctx, state->grad);
    state->batch_row += taken;
    if (!last) return FSGD_OK;
    if (state->batch_weight > 0) make_step(ctx, problem, direct);
    state->row += m;
    state->batch_row = state->batch_used = 0;
    state->batch_weight = state->batch_loss = 0;
    return FSGD_OK;
}

/* Train until about `budget` values were read, or the run is done. */
static fsgd_status run(const fsgd_network_problem *problem, int64_t budget, fsgd_report *report) {
    network_context ctx;
    fsgd_vector_state *state = problem->state;
    const fsgd_data *data = problem->data;
    *report = (fsgd_report){.eta = NAN};
    fsgd_status status = open_network(&ctx, problem, report);
    if (status != FSGD_OK) return status;
    if (state->row == 0 && state->batch_row == 0)
        state->objective_sum = state->row_count = state->norm_sum = state->norm_count = 0;
    const int64_t values = (ctx.sparse ? data->nnz / data->n : data->d) + 16;
    while (status == FSGD_OK && state->row < problem->stop_row && report->work < budget) {
        const int64_t before = state->row + state->batch_row;
        status = train_chunk(&ctx, problem);
        report->work += (state->row + state->batch_row - before) * values;
    }
    if (atomic_load(&ctx.changed)) status = FSGD_BAD_CSR;
    if (status == FSGD_OK && state->row == data->n) {
        if (state->pending) flush_rows(state);
        state->epoch += 1;
        state->row = 0;
        report->epoch_done = 1;
    }
    close_network(&ctx);
    return status;
}

/* |v|^2, by sums that do not wait for each other. */
static double square_of(const real *v, int64_t n) {
    enum { SUMS = 32 };
    double sums[SUMS] = {0}, sum = 0;
    int64_t j = 0;
    for (; j + SUMS <= n; j += SUMS)
        for (int c = 0; c < SUMS; ++c) sums[c] += (double)v[j + c] * (double)v[j + c];
    for (int c = 0; c < SUMS; ++c) sum += sums[c];
    for (; j < n; ++j) sum += (double)v[j] * (double)v[j];
    return sum;
}

/* |grad_i|^2 by layers, not multiplied by weights: |delta_l|^2 (|a_{l-1}|^2 + 1) (Goodfellow,
 * arXiv:1510.01799). */
static void square_row(network_context *ctx, int64_t r, double *squares) {
    const fsgd_network *net = ctx->network;
    const double s = (double)ctx->weights[r];
    for (int64_t l = 0; l < net->layers; ++l) {
        double of_input = 0;
        if (l == 0 && ctx->sparse) {
            const sparse_row row = find_sparse_row(ctx, ctx->rows[r]);
            of_input = square_of(row.x + row.begin, row.count);
        } else {
            of_input = square_of(ctx->a_rows[l][r], net->sizes[l]);
        }
        const double of_delta = square_of(ctx->delta[l] + r * net->strides[l], net->sizes[l + 1]) /
                                (s * s);
        squares[l] = of_delta * (of_input + 1);
    }
}

/* See csrc/network.h. Rows of weight 0 have losses and squares of NaN. */
static fsgd_status gradients_of(const fsgd_network_problem *problem, const int64_t *rows, int64_t m,
                                void *grad, double *losses, double *squares) {
    network_context ctx;
    fsgd_report report = {0};
    const int64_t layers = problem->network->layers;
    fsgd_status status = open_network(&ctx, problem, &report);
    if (status != FSGD_OK) return status;
    const int64_t size = ctx.settings->batch_size < CHUNK_ROWS ? ctx.settings->batch_size
                                                               : CHUNK_ROWS;
    for (int64_t done = 0; done < m; done += size) {
        const int64_t taken = m - done < size ? m - done : size;
        gather_rows(&ctx, rows + done, 0, taken);
        do_items(&ctx, propagate_block, ctx.blocks);
        if (grad) {
            ctx.grad = grad;
            do_items(&ctx, weight_block, ctx.first[layers]);
            if (ctx.sparse) sparse_gradient(&ctx, grad);
        }
        for (int64_t r = 0, used = 0; r < taken; ++r) {
            const int is_used = used < ctx.count && ctx.rows[used] == rows[done + r];
            if (losses) losses[done + r] = is_used ? ctx.losses[used] : NAN;
            for (int64_t l = 0; squares && l < layers; ++l) squares[(done + r) * layers + l] = NAN;
            if (squares && is_used) square_row(&ctx, used, squares + (done + r) * layers);
            used += is_used;
        }
    }
    if (atomic_load(&ctx.changed)) status = FSGD_BAD_CSR;
    close_network(&ctx);
    return status;
}

#endif
