/* memory.h: memory at multiples of 64 bytes, for which Windows has functions of its own. */
#ifndef FASTSGD_KERNEL_MEMORY_H
#define FASTSGD_KERNEL_MEMORY_H

#include "template.h"

#if defined(_WIN32)
#include <malloc.h>
static inline void *allocate_aligned(size_t bytes) { return _aligned_malloc(bytes, 64); }
static inline void free_aligned(void *memory) { _aligned_free(memory); }
#else
static inline void *allocate_aligned(size_t bytes) {
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}
static inline void free_aligned(void *memory) { free(memory); }
#endif

#endif
