/* kernels.c: compiled once per instruction set; CMakeLists.txt has the list.
 *
 * Template parameters, from the build:
 *     ISA           the instruction set's name, as in FASTSGD_ISA
 *     VECTOR_BYTES  width of its vectors
 *
 * Everything here is static but the table: files for different instruction sets share no function.
 */
#define _POSIX_C_SOURCE 200809L /* threads and their signals */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fastsgd.h"
#include "schedule.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Denormal numbers are 75 to 95 times slower and mean nothing here (momentum of a feature that is
 * gone decays towards them): count them as zero while a call lasts. The mode is this thread's
 * and is put back. */
#if defined(__x86_64__)
static unsigned flush_denormals(void) {
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u); /* flush to zero, denormals are zero */
    return mode;
}
static void restore_denormals(unsigned mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
static unsigned flush_denormals(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1u << 24)));
    return (unsigned)mode;
}
static void restore_denormals(unsigned mode) {
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
}
#else
static unsigned flush_denormals(void) { return 0; }
static void restore_denormals(unsigned mode) { (void)mode; }
#endif

#include "threads.h"

typedef enum { SCORE, SLOPE, ACCUMULATE } verb_name;

#define ALWAYS_INLINE      inline __attribute__((always_inline))
#define PASTE2(a, b)       a##b
#define CAT2(a, b)         PASTE2(a, b)
#define PASTE3(a, b, c)    a##b##c
#define CAT3(a, b, c)      PASTE3(a, b, c)
#define TILE_NAME(x, tile) CAT3(NAME(x), _, tile)
#define STRING(x)          #x
#define NAME_OF(x)         STRING(x)

#define REAL       float
#define REAL_BYTES 4
#define NAME(x)    x##_f32
#include "kernel.h"
#undef REAL
#undef REAL_BYTES
#undef NAME

#define REAL       double
#define REAL_BYTES 8
#define NAME(x)    x##_f64
#include "kernel.h"
#undef REAL
#undef REAL_BYTES
#undef NAME

/* One call of a kernel for the data's type. */
#define BY_DTYPE(CALL32, CALL64)                                                                   \
    unsigned mode = flush_denormals();                                                             \
    fsgd_status status = problem->data->dtype == FSGD_FLOAT32 ? CALL32 : CALL64;                   \
    restore_denormals(mode);                                                                       \
    return status

static fsgd_status run(const fsgd_problem *problem, int64_t budget, fsgd_report *report) {
    BY_DTYPE(run_f32(problem, budget, report), run_f64(problem, budget, report));
}

static fsgd_status score(const fsgd_problem *problem, const int64_t *rows, int64_t m, void *z) {
    BY_DTYPE(score_f32(problem, rows, m, z), score_f64(problem, rows, m, z));
}

static fsgd_status slope(const fsgd_problem *problem, const int64_t *rows, int64_t m, const void *z,
                         void *c) {
    BY_DTYPE(slope_f32(problem, rows, m, z, c), slope_f64(problem, rows, m, z, c));
}

static fsgd_status accumulate(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                              const void *c) {
    BY_DTYPE(accumulate_f32(problem, rows, m, c), accumulate_f64(problem, rows, m, c));
}

static fsgd_status weights(const fsgd_problem *problem, int average, void *out, void *intercept) {
    BY_DTYPE(weights_f32(problem, average, out, intercept),
             weights_f64(problem, average, out, intercept));
}

static fsgd_status settle(const fsgd_problem *problem) {
    BY_DTYPE(settle_f32(problem), settle_f64(problem));
}

static void loss_at(fsgd_dtype dtype, const fsgd_loss_spec *loss, int want_slope, int64_t n,
                    const void *z, const void *y, void *out) {
    if (dtype == FSGD_FLOAT32)
        loss_at_f32(loss, want_slope, n, z, y, out);
    else
        loss_at_f64(loss, want_slope, n, z, y, out);
}

extern const fsgd_kernels CAT2(fsgd_kernels_, ISA);
const fsgd_kernels CAT2(fsgd_kernels_, ISA) = {
    .isa = NAME_OF(ISA),
    .run = run,
    .score = score,
    .slope = slope,
    .accumulate = accumulate,
    .weights = weights,
    .settle = settle,
    .loss = loss_at,
};
