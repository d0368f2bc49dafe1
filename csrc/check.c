/* check.c: the structure of a CSR matrix, before any kernel reads it: one read of the index arrays,
 * which also makes their fingerprint. Loops without an exit, which vectorise.
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
            for (int l = 0; l < LANES; ++l) sum[l] += from[p + l], sums[l] += sum[l];              \
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

/* A negative index is a large unsigned one. */
#define CHECK_INDICES(INDEX, UNSIGNED)                                                             \
    do {                                                                                           \
        const UNSIGNED *indices = data->indices;                                                   \
        const UNSIGNED d = (UNSIGNED)(data->d < largest ? data->d : largest);                      \
        UNSIGNED out_of_range = 0;                                                                 \
        for (int64_t p = start; p < stop; ++p) out_of_range |= (UNSIGNED)(indices[p] >= d);        \
        for (int64_t p = start; out_of_range && p < stop; ++p)                                     \
            if (indices[p] >= d) return *where = p, FSGD_BAD_CSR;                                  \
        ADD_TO_PRINT(UNSIGNED, indices, start, stop);                                              \
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
        const int64_t largest = (int64_t)INT32_MAX + 1; /* more columns than indices can name */
        CHECK_INDICES(int32_t, uint32_t);
    } else {
        const int64_t largest = INT64_MAX;
        CHECK_INDICES(int64_t, uint64_t);
    }
    return FSGD_OK;
}
