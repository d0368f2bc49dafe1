/* dispatch.c: which kernels run here. The build writes isas.h: FSGD_ISAS(F) is F(isa) for each,
 * worst to best. */
#include <string.h>

#include "fastsgd.h"
#include "isas.h"

#define DECLARE(ISA) extern const fsgd_kernels fsgd_kernels_##ISA##_f32, fsgd_kernels_##ISA##_f64;
#define TABLES(ISA)  {&fsgd_kernels_##ISA##_f32, &fsgd_kernels_##ISA##_f64},
#define STRING(ISA)  #ISA,

FSGD_ISAS(DECLARE)
static const fsgd_kernels *const tables[][2] = {FSGD_ISAS(TABLES)};
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

const fsgd_kernels *fsgd_kernels_for(const char *isa, fsgd_dtype dtype) {
    for (int i = COUNT - 1; i >= 0; --i)
        if ((!isa || !strcmp(isa, names[i])) && fsgd_isa_supported(names[i]))
            return tables[i][dtype != FSGD_FLOAT32];
    return NULL;
}
