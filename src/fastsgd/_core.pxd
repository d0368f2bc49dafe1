# The C core as Cython sees it; csrc/fastsgd.h documents every field.
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "fastsgd.h" nogil:
    ctypedef enum fsgd_status:
        FSGD_OK
        FSGD_NONFINITE
        FSGD_NO_MEMORY
        FSGD_BAD_CSR

    ctypedef enum fsgd_dtype:
        FSGD_FLOAT32
        FSGD_FLOAT64

    ctypedef enum fsgd_stored:
        FSGD_REAL
        FSGD_FLOAT16
        FSGD_UINT8

    ctypedef enum fsgd_layout:
        FSGD_DENSE
        FSGD_CSR32
        FSGD_CSR64

    ctypedef enum fsgd_loss:
        FSGD_N_LOSSES
        FSGD_COMPILED
        FSGD_SOFTMAX

    ctypedef void (*fsgd_loss_function)(const double *, const double *, double *, int64_t) noexcept

    ctypedef struct fsgd_loss_spec:
        fsgd_loss kind
        double parameter
        fsgd_loss_function value
        fsgd_loss_function slope

    ctypedef enum fsgd_optimizer:
        FSGD_SGD
        FSGD_ADAGRAD

    ctypedef enum fsgd_step:
        pass

    ctypedef enum fsgd_sampling:
        pass

    ctypedef enum fsgd_schedule_kind:
        FSGD_CALLABLE

    ctypedef struct fsgd_loss_info:
        const char *name
        double smoothness
        double infimum
        int takes_real
        int takes_sign
        int takes_count
        int coupled

    ctypedef struct fsgd_data:
        int64_t n
        int64_t d
        int64_t first_row
        int64_t epoch_rows
        fsgd_dtype dtype
        fsgd_layout layout
        fsgd_stored stored
        const void *x
        const void *offset
        const void *scale
        const void *indices
        const void *indptr
        int64_t nnz
        int64_t longest
        int64_t n_targets
        const void *y
        const void *sample_weight
        const uint64_t *held_out

    ctypedef struct fsgd_lanes:
        int64_t k
        int64_t padded
        const double *alpha
        const double *l1
        const double *intercept_gradient
        const double *eta0
        const double *mu
        const double *intercept_rate
        const double *label
        const double *weight_positive
        const double *weight_negative
        const int64_t *target
        const uint64_t *split

    ctypedef struct fsgd_schedule:
        fsgd_schedule_kind kind
        double power_t
        double decay
        double step_epochs
        double total_epochs
        double warmup_steps
        double power
        double final
        double rise

    ctypedef struct fsgd_settings:
        fsgd_loss_spec loss
        fsgd_step step
        int sign_targets
        int fit_intercept
        int nesterov
        double momentum
        int64_t average
        int64_t batch_size
        int64_t threads
        double clip_norm
        fsgd_sampling sampling
        uint64_t seed
        fsgd_schedule schedule

    ctypedef struct fsgd_state:
        fsgd_dtype dtype
        fsgd_optimizer optimizer
        int64_t d
        int64_t k
        int64_t padded
        int64_t width
        int64_t vectors
        int64_t feature_stride
        int64_t vector_stride
        void *w
        void *intercept
        double *scale
        double *average_shift
        double *l1_cumulative
        double *alpha
        double *l1
        double *rate_factor
        double *active
        int64_t *t
        int64_t epoch
        int64_t row
        int64_t batch_row
        int64_t batch_nnz
        double *batch_count
        void *grad
        void *grad_intercept
        double *loss_sum
        double *row_count
        double *norm_sum
        double *norm_count
        int64_t max_pending
        int64_t pending
        int64_t span_length
        int64_t *span_step
        int64_t *span_planned
        double *span_momentum
        double *span_average
        double *span_steps
        double *span_products
        double *step_sums
        int64_t sums_shared
        int32_t *last_update
        int64_t rescales

    ctypedef struct fsgd_report:
        int epoch_done
        int window_done
        int clipped
        int changed
        int64_t work
        int64_t row
        int64_t step
        double eta

    ctypedef struct fsgd_problem:
        const fsgd_data *data
        const fsgd_lanes *lanes
        const fsgd_settings *settings
        fsgd_state *state
        const int64_t *order
        const double *rates
        int64_t rates_row
        int64_t rates_stop
        int64_t stop_row
        int64_t *columns
        double *sums

    ctypedef struct fsgd_kernels:
        const char *isa
        fsgd_status (*run)(const fsgd_problem *, int64_t, fsgd_report *) noexcept nogil
        fsgd_status (*score)(const fsgd_problem *, const int64_t *, int64_t, void *) noexcept nogil
        fsgd_status (*slope)(const fsgd_problem *, const int64_t *, int64_t, const void *, void *) noexcept nogil
        fsgd_status (*accumulate)(const fsgd_problem *, const int64_t *, int64_t, const void *) noexcept nogil
        fsgd_status (*weights)(const fsgd_problem *, int, void *, void *) noexcept nogil
        fsgd_status (*measure)(const fsgd_problem *, int, double *, double *, int *, void *) noexcept nogil
        fsgd_status (*flush)(const fsgd_problem *) noexcept nogil
        double (*sum)(const void *values, int64_t n, bint squares) nogil
        void (*loss)(const fsgd_loss_spec *, int, int64_t, const void *, const void *, void *) noexcept nogil

    const fsgd_kernels *fsgd_kernels_for(const char *isa, fsgd_dtype dtype) nogil
    const char *const *fsgd_isas()
    int fsgd_isa_supported(const char *isa)
    const fsgd_loss_info fsgd_losses[]
    void fsgd_order(const fsgd_settings *, int64_t n, int64_t epoch, int64_t start, int64_t count,
                    int64_t *order)
    fsgd_status fsgd_check_rows(const fsgd_data *, int64_t start, int64_t stop, uint64_t *print,
                                int64_t *longest, int64_t *where)
    fsgd_status fsgd_check_indices(const fsgd_data *, int64_t start, int64_t stop, uint64_t *print,
                                   int64_t *where)
    void fsgd_place_columns(fsgd_dtype dtype, const void *columns, int64_t n, int64_t d, void *rows)
    int64_t fsgd_padded_lanes(int64_t k)
    int64_t fsgd_padded_features(int64_t d)
    int64_t fsgd_moving_steps(int64_t max_pending)

cdef extern from "network.h" nogil:
    ctypedef enum fsgd_rule:
        FSGD_RULE_SGD
        FSGD_RULE_ADAM

    ctypedef enum fsgd_activation:
        pass

    ctypedef enum fsgd_network_loss:
        pass

    ctypedef struct fsgd_vector_rule:
        fsgd_rule kind
        double beta_1
        double beta_2
        double epsilon
        double eta0
        double mu

    ctypedef struct fsgd_network:
        int64_t layers
        const int64_t *sizes
        const int64_t *strides
        const int64_t *starts
        fsgd_activation activation
        fsgd_network_loss loss
        double alpha

    ctypedef struct fsgd_vector_state:
        fsgd_dtype dtype
        int64_t length
        int64_t vectors
        void *values
        void *grad
        double rate_factor
        int64_t t
        int64_t slots_since
        int64_t epoch
        int64_t row
        int64_t batch_row
        int64_t batch_used
        double batch_weight
        double batch_loss
        double objective_sum
        double row_count
        double norm_sum
        double norm_count
        int64_t lazy_rows
        int64_t lazy_stride
        int64_t max_pending
        int64_t pending
        double *products
        int32_t *last_update
        char *touched
        double lazy_sums[3]

    ctypedef struct fsgd_network_problem:
        const fsgd_data *data
        const fsgd_network *network
        const fsgd_settings *settings
        const fsgd_vector_rule *rule
        fsgd_vector_state *state
        const int64_t *order
        const double *rates
        int64_t rates_row
        int64_t stop_row

    ctypedef struct fsgd_network_kernels:
        const char *isa
        fsgd_status (*run)(const fsgd_network_problem *, int64_t, fsgd_report *) noexcept nogil
        fsgd_status (*gradients)(const fsgd_network_problem *, const int64_t *, int64_t, void *, double *,
                                 double *) noexcept nogil
        void (*flush)(fsgd_vector_state *) noexcept nogil

    const fsgd_network_kernels *fsgd_network_kernels_for(const char *isa, fsgd_dtype dtype) nogil
