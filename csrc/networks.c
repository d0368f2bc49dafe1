/* networks.c: compiled once per instruction set and element type, as kernels.c is: see there for
 * ISA, VECTOR_BYTES and REAL_BYTES. network/ has a header a concept:
 *
 *     context.h                    what a call works with, and its scratch memory
 *     rows.h                       the rows of a chunk
 *     product.h                    products of matrices, tile by tile
 *     activation.h, output.h       functions of the layers, losses
 *     update.h                     a step of the optimizer
 *     lazy.h                       the first layer's steps on CSR
 *     layers.h                     back-propagation of a chunk
 *     calls.h                      the loop over batches
 */
#include "kernel/template.h"

#include "kernel/denormals.h"
#include "network/calls.h"

#define STRING(x)  #x
#define NAME_OF(x) STRING(x)
#if REAL_BYTES == 4
#define TABLE CAT3(fsgd_network_kernels_, ISA, _f32)
#else
#define TABLE CAT3(fsgd_network_kernels_, ISA, _f64)
#endif

static fsgd_status flushed_run(const fsgd_network_problem *problem, int64_t budget,
                               fsgd_report *report) {
    const unsigned mode = flush_denormals();
    const fsgd_status status = run(problem, budget, report);
    restore_denormals(mode);
    return status;
}

static fsgd_status flushed_gradients(const fsgd_network_problem *problem, const int64_t *rows,
                                     int64_t m, void *grad, double *losses, double *squares) {
    const unsigned mode = flush_denormals();
    const fsgd_status status = gradients_of(problem, rows, m, grad, losses, squares);
    restore_denormals(mode);
    return status;
}

static void flushed_flush(fsgd_vector_state *state) {
    const unsigned mode = flush_denormals();
    if (state->lazy_rows) flush_rows(state);
    restore_denormals(mode);
}

extern const fsgd_network_kernels TABLE;
const fsgd_network_kernels TABLE = {
    .isa = NAME_OF(ISA),
    .run = flushed_run,
    .gradients = flushed_gradients,
    .flush = flushed_flush,
};
