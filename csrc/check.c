/* check.c: the structure of a CSR matrix, before any kernel reads it. One read of the index arrays.
 */
#include "fastsgd.h"

#define CHECK_ROWS(INDEX)                                                                          \
    do {                                                                                           \
        const INDEX *indptr = data->indptr, *indices = data->indices;                              \
        if (start == 0 && indptr[0] != 0) return *where = 0, FSGD_BAD_CSR;                         \
        for (int64_t i = start; i < stop; ++i) {                                                   \
            int64_t begin = indptr[i], end = indptr[i + 1];                                        \
            if (begin < 0 || begin > end || end > nnz) return *where = i, FSGD_BAD_CSR;            \
            int out_of_range = 0; /* no exit inside: the loop vectorises */                        \
            for (int64_t p = begin; p < end; ++p)                                                  \
                out_of_range |= (indices[p] < 0) | (indices[p] >= data->d);                        \
            if (out_of_range) return *where = i, FSGD_BAD_CSR;                                     \
        }                                                                                          \
        if (stop == data->n && indptr[stop] != nnz) return *where = stop, FSGD_BAD_CSR;            \
    } while (0)

fsgd_status fsgd_check_csr(const fsgd_data *data, int64_t nnz, int64_t start, int64_t stop,
                           int64_t *where) {
    *where = -1;
    if (data->layout == FSGD_CSR32) {
        CHECK_ROWS(int32_t);
    } else if (data->layout == FSGD_CSR64) {
        CHECK_ROWS(int64_t);
    }
    return FSGD_OK;
}
