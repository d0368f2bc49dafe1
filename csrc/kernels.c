/* kernels.c: compiled once per instruction set and element type; CMakeLists.txt has the list and
 * gives
 *
 *     ISA           the instruction set's name, as in FASTSGD_ISA
 *     VECTOR_BYTES  width of its vectors
 *     REAL_BYTES    4 for float, 8 for double
 *
 * Everything here is static but the table: the files share no function.
 *
 * kernel/ has a header a concept. Those at its top are shared; one_lane/ is one lane, SIMD along
 * the features, lanes/ many lanes, SIMD along the lanes. A step goes through them as
 *
 *     rows.h, csr_rows.h, convert.h, prefetch.h     a row of X
 *     one_lane/features.h, lanes/score.h            its scores
 *     targets.h, loss.h, slopes.h, norms.h          targets, slopes, losses
 *     rates.h, optimizer.h                          rates, and the coefficients of the update
 *     one_lane/features.h, lanes/update.h           the update; penalty.h for L1, lanes/lazy.h
 * where it is lazy
 *
 * and the loops over rows are one_lane/blocks.h (what a fit with default parameters takes) and
 * one_lane/rows.h, lanes/blocks.h and lanes/rows.h, and batches.h with its threads.
 */
#include "kernel/template.h"

#include "kernel/calls.h"
#include "kernel/denormals.h"

#define STRING(x)  #x
#define NAME_OF(x) STRING(x)
#if REAL_BYTES == 4
#define TABLE CAT3(fsgd_kernels_, ISA, _f32)
#else
#define TABLE CAT3(fsgd_kernels_, ISA, _f64)
#endif

/* A call with denormals counted as zero. */
#define FLUSHED(CALL)                                                                              \
    unsigned mode = flush_denormals();                                                             \
    fsgd_status status = CALL;                                                                     \
    restore_denormals(mode);                                                                       \
    return status

static fsgd_status flushed_run(const fsgd_problem *problem, int64_t budget, fsgd_report *report) {
    FLUSHED(run(problem, budget, report));
}

static fsgd_status flushed_score(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                                 void *z) {
    FLUSHED(score_rows(problem, rows, m, z));
}

static fsgd_status flushed_slope(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                                 const void *z, void *c) {
    FLUSHED(slope_rows(problem, rows, m, z, c));
}

static fsgd_status flushed_accumulate(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                                      const void *c) {
    FLUSHED(accumulate_given(problem, rows, m, c));
}

static fsgd_status flushed_weights(const fsgd_problem *problem, int average, void *out,
                                   void *intercept) {
    FLUSHED(read_model(problem, average, out, intercept));
}

static fsgd_status flushed_measure(const fsgd_problem *problem, int average, double *squares,
                                   double *sizes, int *finite, void *intercepts) {
    FLUSHED(measure_model(problem, average, squares, sizes, finite, intercepts));
}

static fsgd_status flushed_flush(const fsgd_problem *problem) { FLUSHED(flush_problem(problem)); }

extern const fsgd_kernels TABLE;
const fsgd_kernels TABLE = {
    .isa = NAME_OF(ISA),
    .run = flushed_run,
    .score = flushed_score,
    .slope = flushed_slope,
    .accumulate = flushed_accumulate,
    .weights = flushed_weights,
    .measure = flushed_measure,
    .flush = flushed_flush,
    .sum = sum_of_sizes,
    .loss = loss_at,
};
