/* dispatch.c: which kernels run here. The build writes isas.h: FSGD_ISAS(F) is F(isa) for each,
 * worst to best. */
#include <string.h>

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

int fsgd_isa_supported(const char *isa) {
#if defined(__x86_64__)
    if (!strcmp(isa, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("f16c");
    if (!strcmp(isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
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
