/* kernels.c: compiled once per instruction set and element type; CMakeLists.txt has the list.
 *
 * Template parameters, from the build:
 *     ISA           the instruction set's name, as in FASTSGD_ISA
 *     VECTOR_BYTES  width of its vectors
 *     REAL_BYTES    4 for float, 8 for double
 *
 * Everything here is static but the table: the files share no function.
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
#define PASTE3(a, b, c)    a##b##c
#define CAT3(a, b, c)      PASTE3(a, b, c)
#define TILE_NAME(x, tile) CAT3(NAME(x), _, tile)
#define STRING(x)          #x
#define NAME_OF(x)         STRING(x)

#if REAL_BYTES == 4
#define REAL    float
#define NAME(x) x##_f32
#define TABLE   CAT3(fsgd_kernels_, ISA, _f32)
#else
#define REAL    double
#define NAME(x) x##_f64
#define TABLE   CAT3(fsgd_kernels_, ISA, _f64)
#endif
#include "kernel.h"

/* A call with denormals counted as zero. */
#define FLUSHED(CALL)                                                                              \
    unsigned mode = flush_denormals();                                                             \
    fsgd_status status = CALL;                                                                     \
    restore_denormals(mode);                                                                       \
    return status

static fsgd_status run(const fsgd_problem *problem, int64_t budget, fsgd_report *report) {
    FLUSHED(NAME(run)(problem, budget, report));
}

static fsgd_status score(const fsgd_problem *problem, const int64_t *rows, int64_t m, void *z) {
    FLUSHED(NAME(score)(problem, rows, m, z));
}

static fsgd_status slope(const fsgd_problem *problem, const int64_t *rows, int64_t m, const void *z,
                         void *c) {
    FLUSHED(NAME(slope)(problem, rows, m, z, c));
}

static fsgd_status accumulate(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                              const void *c) {
    FLUSHED(NAME(accumulate)(problem, rows, m, c));
}

static fsgd_status weights(const fsgd_problem *problem, int average, void *out, void *intercept) {
    FLUSHED(NAME(weights)(problem, average, out, intercept));
}

static fsgd_status settle(const fsgd_problem *problem) { FLUSHED(NAME(settle)(problem)); }

extern const fsgd_kernels TABLE;
const fsgd_kernels TABLE = {
    .isa = NAME_OF(ISA),
    .run = run,
    .score = score,
    .slope = slope,
    .accumulate = accumulate,
    .weights = weights,
    .settle = settle,
    .loss = NAME(loss_at),
};
