/* check.c: the structure of a CSR matrix, before any kernel reads it. One read of the index arrays.
 */
#include "fastsgd.h"

/* Row starts first, so that the indices they span can be read; those in one loop without an exit,
 * which vectorises. A negative index is a large unsigned one. */
#define CHECK_ROWS(INDEX, UNSIGNED)                                                                \
    do {                                                                                           \
        const INDEX *indptr = data->indptr, *indices = data->indices;                              \
        const UNSIGNED d = (UNSIGNED)(data->d < largest ? data->d : largest);                      \
        if (start == 0 && indptr[0] != 0) return *where = 0, FSGD_BAD_CSR;                         \
        if (indptr[start] < 0) return *where = start, FSGD_BAD_CSR;                                \
        for (int64_t i = start; i < stop; ++i)                                                     \
            if (indptr[i] > indptr[i + 1] || indptr[i + 1] > nnz) return *where = i, FSGD_BAD_CSR; \
        if (stop == data->n && indptr[stop] != nnz) return *where = stop, FSGD_BAD_CSR;            \
        UNSIGNED out_of_range = 0;                                                                 \
        for (int64_t p = indptr[start]; p < indptr[stop]; ++p)                                     \
            out_of_range |= (UNSIGNED)((UNSIGNED)indices[p] >= d);                                 \
        if (out_of_range) return *where = start, FSGD_BAD_CSR;                                     \
    } while (0)

fsgd_status fsgd_check_csr(const fsgd_data *data, int64_t nnz, int64_t start, int64_t stop,
                           int64_t *where) {
    *where = -1;
    if (data->layout == FSGD_CSR32) {
        const int64_t largest = (int64_t)INT32_MAX + 1; /* more columns than indices can name */
        CHECK_ROWS(int32_t, uint32_t);
    } else if (data->layout == FSGD_CSR64) {
        const int64_t largest = INT64_MAX;
        CHECK_ROWS(int64_t, uint64_t);
    }
    return FSGD_OK;
}
