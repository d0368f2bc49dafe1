/* check.c: the structure of a CSR matrix, before any kernel reads it: one read of the index arrays,
 * which also makes their fingerprint. Loops without an exit, which vectorise
 * (of a constant 16 only where they are told to).
 */
#include "fastsgd.h"

enum { LANES = 16 }; /* sums of a fingerprint, made side by side */

/* Numbers first to last - 1 into the fingerprint: with x_l the numbers whose place is l modulo
 * LANES, the sums of x_l and of these sums so far (Fletcher, IEEE Trans. Commun. 30, 1982). One
 * number that changes, or two that change places, change one of them. */
#define ADD_TO_PRINT(UNSIGNED, NUMBERS, FIRST, LAST)                                               \
    do {                                                                                           \
        UNSIGNED sum[LANES] = {0}, sums[LANES] = {0};                                              \
        const UNSIGNED *from = (const UNSIGNED *)(NUMBERS) + (FIRST);                              \
        const int64_t count = (LAST) - (FIRST), whole = count - count % LANES;                     \
        for (int64_t p = 0; p < whole; p += LANES)                                                 \
            _Pragma("omp simd") for (int l = 0; l < LANES; ++l) sum[l] += from[p + l],             \
                sums[l] += sum[l];                                                                 \
        for (int64_t p = whole; p < count; ++p)                                                    \
            sum[p - whole] += from[p], sums[p - whole] += sum[p - whole];                          \
        for (int l = 0; l < LANES; ++l)                                                            \
            *print = (*print * 0x9E3779B97F4A7C15u + sum[l]) * 0xBB67AE8584CAA73Bu + sums[l];      \
    } while (0)

#define CHECK_ROWS(INDEX, UNSIGNED)                                                                \
    do {                                                                                           \
        const INDEX *indptr = data->indptr;                                                        \
        if (start == 0 && indptr[0] != 0) return *where = 0, FSGD_BAD_CSR;                         \
        if (stop == data->n && indptr[stop] != data->nnz) return *where = stop, FSGD_BAD_CSR;      \
        for (int64_t i = start; i < stop; ++i) {                                                   \
            const int64_t begin = indptr[i], end = indptr[i + 1];                                  \
            if (begin < 0 || begin > end || end > data->nnz) return *where = i, FSGD_BAD_CSR;      \
            *longest = end - begin > *longest ? end - begin : *longest;                            \
        }                                                                                          \
        ADD_TO_PRINT(UNSIGNED, indptr, start, stop);                                               \
    } while (0)

/* The sign bit of x | (d - 1 - x) is set where x is not in [0, d). */
#define CHECK_INDICES(UNSIGNED)                                                                    \
    do {                                                                                           \
        const UNSIGNED *from = (const UNSIGNED *)data->indices + start;                            \
        const UNSIGNED last = (UNSIGNED)(data->d <= largest ? data->d - 1 : largest);              \
        UNSIGNED sum[LANES] = {0}, sums[LANES] = {0}, signs[LANES] = {0}, any = 0;                 \
        const int64_t count = stop - start, whole = count - count % LANES;                         \
        for (int64_t p = 0; p < whole; p += LANES)                                                 \
            _Pragma("omp simd") for (int l = 0; l < LANES; ++l) {                                  \
                const UNSIGNED x = from[p + l];                                                    \
                signs[l] |= x | (last - x);                                                        \
                sum[l] += x, sums[l] += sum[l];                                                    \
            }                                                                                      \
        for (int64_t p = whole; p < count; ++p) {                                                  \
            const UNSIGNED x = from[p];                                                            \
            signs[p - whole] |= x | (last - x);                                                    \
            sum[p - whole] += x, sums[p - whole] += sum[p - whole];                                \
        }                                                                                          \
        for (int l = 0; l < LANES; ++l) any |= signs[l];                                           \
        for (int64_t p = 0; (any >> (8 * sizeof any - 1)) && p < count; ++p)                       \
            if (from[p] > last) return *where = start + p, FSGD_BAD_CSR;                           \
        for (int l = 0; l < LANES; ++l)                                                            \
            *print = (*print * 0x9E3779B97F4A7C15u + sum[l]) * 0xBB67AE8584CAA73Bu + sums[l];      \
    } while (0)

fsgd_status fsgd_check_rows(const fsgd_data *data, int64_t start, int64_t stop, uint64_t *print,
                            int64_t *longest, int64_t *where) {
    if (data->layout == FSGD_CSR32)
        CHECK_ROWS(int32_t, uint32_t);
    else
        CHECK_ROWS(int64_t, uint64_t);
    return FSGD_OK;
}

fsgd_status fsgd_check_indices(const fsgd_data *data, int64_t start, int64_t stop, uint64_t *print,
                               int64_t *where) {
    if (data->layout == FSGD_CSR32) {
        const int64_t largest = INT32_MAX; /* there may be more columns than indices can name */
        CHECK_INDICES(uint32_t);
    } else {
        const int64_t largest = INT64_MAX;
        CHECK_INDICES(uint64_t);
    }
    return FSGD_OK;
}
