/* convert.h: rows of dense data as they are stored, to features in real.
 *
 *     feature j = (stored_j - offset_j) * scale_j
 *
 * in real, rounded after each operation: the difference of numbers that are near one another is
 * exact, which x scale_j and offset_j scale_j, rounded both, would lose.
 */
#ifndef FASTSGD_KERNEL_CONVERT_H
#define FASTSGD_KERNEL_CONVERT_H

#include "template.h"

#include "../fastsgd.h"

/* The number of a float16, exactly, infinities and NaN included: its bits moved to those of a
 * float32. A subnormal one gets the exponent of 2^-14 and has that taken off again, since no
 * operand may be a denormal float32 (they are flushed while a kernel runs). */
static ALWAYS_INLINE real from_float16(uint16_t half) {
    const int32_t size = half & 0x7fff; /* signed: SSE2 compares nothing else */
    const int32_t small = -(size < 0x0400), large = -(size > 0x7bff);
    const int32_t bits = (size << 13) + (112 << 23) + (small & (1 << 23)) + (large & (112 << 23));
    const int32_t taken_off = small & (113 << 23); /* 2^-14 */
    float number, less;
    memcpy(&number, &bits, sizeof number);
    memcpy(&less, &taken_off, sizeof less);
    number -= less;
    uint32_t magnitude;
    memcpy(&magnitude, &number, sizeof magnitude);
    magnitude |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&number, &magnitude, sizeof number);
    return (real)number;
}

enum { convert_size = 16 }; /* features converted together */

/* Blocks by the processor's own instructions where there are any (docs/decisions.md has the gain):
 * gcc 12 makes 16-byte vectors of a loop over bytes, and none of one over float16. None of them
 * heeds the flushing of denormals. */
static ALWAYS_INLINE void block_of_float16(const uint16_t *from, real *to) {
#if REAL_BYTES == 4 && defined(__AVX512F__)
    _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)from)));
#elif REAL_BYTES == 4 && defined(__F16C__)
    for (int i = 0; i < convert_size; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from + i))));
#else
    _Pragma("omp simd") for (int i = 0; i < convert_size; ++i) to[i] = from_float16(from[i]);
#endif
}

static ALWAYS_INLINE void block_of_uint8(const uint8_t *from, real *to) {
#if REAL_BYTES == 4 && defined(__AVX512F__)
    const __m512i numbers = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)from));
    _mm512_storeu_ps(to, _mm512_cvtepi32_ps(numbers));
#elif REAL_BYTES == 4 && defined(__AVX2__)
    for (int i = 0; i < convert_size; i += 8) {
        const __m256i numbers = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(from + i)));
        _mm256_storeu_ps(to + i, _mm256_cvtepi32_ps(numbers));
    }
#else
    _Pragma("omp simd") for (int i = 0; i < convert_size; ++i) to[i] = (real)from[i];
#endif
}

/* Feature j of a row, from its stored elements. */
static ALWAYS_INLINE real stored_feature(const fsgd_data *data, const void *row, int64_t j,
                                         const fsgd_stored stored, const int scaled) {
    const real x = stored == FSGD_UINT8     ? (real)((const uint8_t *)row)[j]
                   : stored == FSGD_FLOAT16 ? from_float16(((const uint16_t *)row)[j])
                                            : ((const real *)row)[j];
    return scaled ? (x - ((const real *)data->offset)[j]) * ((const real *)data->scale)[j] : x;
}

/* Bytes of a stored element. */
static ALWAYS_INLINE int64_t stored_bytes(const fsgd_data *data) {
    return data->stored == FSGD_UINT8     ? 1
           : data->stored == FSGD_FLOAT16 ? 2
                                          : (int64_t)sizeof(real);
}

/* Whether dense rows can be used as they lie; if not, BY_STORED has a case for them. */
static ALWAYS_INLINE int is_unconverted(const fsgd_data *data) {
    return data->stored == FSGD_REAL && !data->scale;
}

/* Call a body with the stored type, and whether there is a scale, as constants. */
#if REAL_BYTES == 4
#define BY_STORED(CALL)                                                                            \
    switch (data->stored * 2 + (data->scale != NULL)) {                                            \
    case FSGD_UINT8 * 2: CALL(FSGD_UINT8, 0); break;                                               \
    case FSGD_UINT8 * 2 + 1: CALL(FSGD_UINT8, 1); break;                                           \
    case FSGD_FLOAT16 * 2: CALL(FSGD_FLOAT16, 0); break;                                           \
    case FSGD_FLOAT16 * 2 + 1: CALL(FSGD_FLOAT16, 1); break;                                       \
    default: CALL(FSGD_REAL, 1);                                                                   \
    }
#else
#define BY_STORED(CALL)                                                                            \
    {                                                                                              \
        CALL(FSGD_REAL, 1);                                                                        \
    }
#endif

/* Features j to j + 16 of a row. */
static ALWAYS_INLINE void convert_block(const fsgd_data *data, const void *row, int64_t j,
                                        real *restrict to, const fsgd_stored stored,
                                        const int scaled) {
    real *x = to + j;
    if (stored == FSGD_REAL) { /* in one loop: gcc does less well with a copy that is scaled then */
        _Pragma("omp simd") for (int i = 0; i < convert_size; ++i)
            x[i] = stored_feature(data, row, j + i, FSGD_REAL, scaled);
        return;
    }
    if (stored == FSGD_UINT8)
        block_of_uint8((const uint8_t *)row + j, x);
    else
        block_of_float16((const uint16_t *)row + j, x);
    if (!scaled) return;
    const real *offset = (const real *)data->offset + j, *scale = (const real *)data->scale + j;
    _Pragma("omp simd") for (int i = 0; i < convert_size; ++i) x[i] = (x[i] - offset[i]) * scale[i];
}

static ALWAYS_INLINE void convert_as(const fsgd_data *data, const void *row, real *restrict to,
                                     const fsgd_stored stored, const int scaled) {
    enum { BLOCK = convert_size };
    const int64_t d = data->d;
    int64_t j = 0;
    for (; j + BLOCK <= d; j += BLOCK) convert_block(data, row, j, to, stored, scaled);
    if (j == d) return;
    if (d >= BLOCK) /* the last ones, over some that are there already */
        convert_block(data, row, d - BLOCK, to, stored, scaled);
    else
        for (; j < d; ++j) to[j] = stored_feature(data, row, j, stored, scaled);
}

/* The features of a dense row that is not used as it lies, into `to` (d). A call, so that nothing
 * of it burdens the loops over rows that are. */
static NO_INLINE void convert_row(const fsgd_data *data, const void *row, real *restrict to) {
#define CALL(STORED, SCALED) convert_as(data, row, to, STORED, SCALED)
    BY_STORED(CALL)
#undef CALL
}

#endif
