/* memory.h: memory at multiples of 64 bytes, for which Windows has functions of its own, and arrays
 * that lie in it one after the other. */
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

/* An allocation of which arrays are taken. Before it is made its start is NULL: then the arrays are
 * NULL too, and the bytes that they would take are counted. */
typedef struct {
    char *start;
    size_t taken; /* bytes */
} arena;

/* An array of `count` elements of `size` bytes, on a cache line. */
static inline void *take(arena *of, int64_t count, size_t size) {
    const size_t at = of->taken;
    of->taken += ((size_t)count * size + 63) / 64 * 64;
    return of->start ? of->start + at : NULL;
}

#endif
