/* denormals.h: denormal numbers are counted as zero while a call lasts. They are 75 to 95 times
 * slower and mean nothing here: the momentum of a feature that is gone decays towards them. The
 * mode is that of one thread, and is put back.
 */
#ifndef FASTSGD_KERNEL_DENORMALS_H
#define FASTSGD_KERNEL_DENORMALS_H

#include "template.h"

#if defined(__x86_64__)
static inline unsigned flush_denormals(void) {
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u); /* flush to zero, denormals are zero */
    return mode;
}
static inline void restore_denormals(unsigned mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
static inline unsigned flush_denormals(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1u << 24)));
    return (unsigned)mode;
}
static inline void restore_denormals(unsigned mode) {
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
}
#else
static inline unsigned flush_denormals(void) { return 0; }
static inline void restore_denormals(unsigned mode) { (void)mode; }
#endif

#endif
