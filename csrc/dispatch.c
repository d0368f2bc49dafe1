/* dispatch.c: which kernels run here. The build writes isas.h: FSGD_ISAS(F) is F(isa) for each,
 * worst to best. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "fastsgd.h"
#include "isas.h"
#include "network.h"

#define DECLARE(ISA)                                                                               \
    extern const fsgd_kernels fsgd_kernels_##ISA##_f32, fsgd_kernels_##ISA##_f64;                  \
    extern const fsgd_network_kernels fsgd_network_kernels_##ISA##_f32,                            \
        fsgd_network_kernels_##ISA##_f64;
#define TABLES(ISA)         {&fsgd_kernels_##ISA##_f32, &fsgd_kernels_##ISA##_f64},
#define NETWORK_TABLES(ISA) {&fsgd_network_kernels_##ISA##_f32, &fsgd_network_kernels_##ISA##_f64},
#define STRING(ISA)         #ISA,

FSGD_ISAS(DECLARE)
static const fsgd_kernels *const tables[][2] = {FSGD_ISAS(TABLES)};
static const fsgd_network_kernels *const network_tables[][2] = {FSGD_ISAS(NETWORK_TABLES)};
static const char *const names[] = {FSGD_ISAS(STRING) NULL};
enum { COUNT = sizeof tables / sizeof *tables };

const char *const *fsgd_isas(void) { return names; }

#if defined(__x86_64__)
/* Registers that the system saves: bits 1 and 2 are those of AVX, 5 to 7 those of AVX-512. */
enum { AVX_SAVED = 0x06, AVX512_SAVED = 0xe6 };

static unsigned first, seventh,
    saved; /* features: ecx of cpuid's leaf 1, ebx of leaf 7; registers */

/* Asks the processor once, when the library is loaded: a virtual machine takes 16 us to answer.
 * __builtin_cpu_supports would ask the runtime of the compiler, which always says no where zig
 * links it. */
__attribute__((constructor)) static void ask_processor(void) {
    unsigned eax, ebx, ecx, edx, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE)) return;
    first = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) seventh = ebx;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
}

static int has(unsigned of_first, unsigned of_seventh, unsigned registers) {
    return (first & of_first) == of_first && (seventh & of_seventh) == of_seventh &&
           (saved & registers) == registers;
}
#endif

int fsgd_isa_supported(const char *isa) {
#if defined(__x86_64__)
    const unsigned avx2 = bit_FMA | bit_F16C, avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW;
    if (!strcmp(isa, "avx2")) return has(avx2, bit_AVX2, AVX_SAVED);
    if (!strcmp(isa, "avx512")) return has(avx2, bit_AVX2 | avx512 | bit_AVX512VL, AVX512_SAVED);
#endif
    for (int i = 0; i < COUNT; ++i)
        if (!strcmp(isa, names[i])) return 1;
    return 0;
}

/* The best of the instruction sets of this machine, or that of a name; COUNT if there is none. */
static int find_isa(const char *isa) {
    for (int i = COUNT - 1; i >= 0; --i)
        if ((!isa || !strcmp(isa, names[i])) && fsgd_isa_supported(names[i])) return i;
    return COUNT;
}

const fsgd_kernels *fsgd_kernels_for(const char *isa, fsgd_dtype dtype) {
    const int i = find_isa(isa);
    return i < COUNT ? tables[i][dtype != FSGD_FLOAT32] : NULL;
}

const fsgd_network_kernels *fsgd_network_kernels_for(const char *isa, fsgd_dtype dtype) {
    const int i = find_isa(isa);
    return i < COUNT ? network_tables[i][dtype != FSGD_FLOAT32] : NULL;
}
