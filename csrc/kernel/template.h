/* template.h: what the build decides for kernels.c, and so for all headers of this folder.
 *
 *     REAL_BYTES    4 for float, 8 for double
 *     VECTOR_BYTES  width of the instruction set's vectors, 16 to 64
 *     WIDEST_TILE   most lanes worked on together, 4 or 16 (lanes/tile.h)
 *
 * A header that is compiled by itself has the defaults below.
 */
#ifndef FASTSGD_KERNEL_TEMPLATE_H
#define FASTSGD_KERNEL_TEMPLATE_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* threads and their signals */
#endif
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef REAL_BYTES
#define REAL_BYTES 4
#endif
#ifndef VECTOR_BYTES
#define VECTOR_BYTES 16
#endif

#ifndef WIDEST_TILE
#define WIDEST_TILE 16
#endif

#if REAL_BYTES == 4
typedef float real;
#else
typedef double real;
#endif

#ifdef FASTSGD_SANITIZED /* inlined everywhere, checks of every access take minutes to compile */
#define ALWAYS_INLINE inline
#else
#define ALWAYS_INLINE inline __attribute__((always_inline))
#endif
#if defined(__clang__)
#define NO_INLINE __attribute__((noinline))
#else
#define NO_INLINE __attribute__((noinline, noclone)) /* one copy, whatever it is called with */
#endif
/* What is neither in the loop of a common step nor a loop over features: gcc takes half the time
 * for it, does not inline what it calls, and so vectorises little. */
#ifndef RARE
#if defined(__clang__)
#define RARE NO_INLINE
#else
#define RARE __attribute__((noinline, noclone, optimize("O1")))
#endif
#endif
#define PASTE3(a, b, c) a##b##c
#define CAT3(a, b, c)   PASTE3(a, b, c)

#endif
