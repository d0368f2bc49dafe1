/* network.h: back-propagation for multilayer perceptrons, and what a vector of parameters carries.
 *
 *     a_0 = x,   z_l = a_{l-1} W_l + b_l,   a_l = f(z_l), in the last layer the function of the
 * loss
 *
 * A batch B of rows with sample weights s of positive sum S makes one step from the gradient of
 *
 *     (sum_{i in B} s_i loss_i  +  alpha / 2 sum_l |W_l|^2) / S
 *
 * src/fastsgd/network.py has the losses. Data, Settings (but for its loss, step, fit_intercept and
 * sign_targets) and Report are those of fastsgd.h. No bit of State depends on how many threads
 * there were, or on where a call stopped.
 */
#ifndef FASTSGD_NETWORK_H
#define FASTSGD_NETWORK_H

#include "fastsgd.h"

/* The lists below have the order of their Python twins: optimizers.VECTOR_OPTIMIZERS,
 * network.ACTIVATIONS, network.NETWORK_LOSSES. */
typedef enum { FSGD_RULE_SGD, FSGD_RULE_ADAM } fsgd_rule;

typedef enum { FSGD_IDENTITY, FSGD_LOGISTIC, FSGD_TANH, FSGD_RELU } fsgd_activation;

typedef enum {
    FSGD_NET_SQUARED_ERROR,
    FSGD_NET_LOG_LOSS,
    FSGD_NET_SOFTMAX,
    FSGD_NET_POISSON
} fsgd_network_loss;

/* How a step moves a parameter: SGD's constants are in Settings. */
typedef struct {
    fsgd_rule kind;
    double beta_1, beta_2, epsilon; /* Adam */
    double eta0, mu;                /* of the rate */
} fsgd_vector_rule;

/* The model. W_l is (sizes[l], strides[l]) reals from `starts[l]` of the vector on, of whose rows
 * the first sizes[l + 1] numbers count and the rest is 0; b_l is one more row behind it. */
typedef struct {
    int64_t layers;
    const int64_t *sizes;   /* (layers + 1) features, hidden units, outputs */
    const int64_t *strides; /* (layers) */
    const int64_t *starts;  /* (layers) */
    fsgd_activation activation;
    fsgd_network_loss loss;
    double alpha;
} fsgd_network;

/* All that training changes. */
typedef struct {
    fsgd_dtype dtype;
    int64_t length;  /* numbers of the vector, a multiple of 64 bytes */
    int64_t vectors; /* the parameters, the slots of their optimizer, their average */
    void *values;    /* (vectors, length) */
    void *grad;      /* (length) sum of s_i grad_i over the rows of the open batch so far */
    double rate_factor;
    int64_t t;                       /* updates done, */
    int64_t slots_since;             /* of them before the slots began, for Adam's correction */
    int64_t epoch;                   /* epochs done */
    int64_t row;                     /* rows of this epoch whose update is done */
    int64_t batch_row, batch_used;   /* of the open batch: rows, those of positive weight, */
    double batch_weight, batch_loss; /* sums of s_i and of s_i loss_i */
    double objective_sum;            /* over the epoch's batches: their objective, times ... */
    double row_count;                /* ... their rows of positive weight, and the sum of these */
    double norm_sum; /* sum of |g|^2 of the loss over the epoch's measured batches */
    double norm_count;
    int64_t lazy_rows;    /* CSR, SGD without averages: rows of W_0, whose steps are lazy */
    int64_t lazy_stride;  /* (network/lazy.h), and numbers of each; else 0 */
    int64_t max_pending;  /* steps between two flushes */
    int64_t pending;      /* steps since the last */
    double *products;     /* (max_pending + 1, 4) maps of (w, v) since each of these steps */
    int32_t *last_update; /* (lazy_rows) the step that a row is up to date with */
    char *touched;        /* (lazy_rows) whether the open batch has the feature */
    double lazy_sums[3];  /* of w^2, w v and v^2 over W_0 at the present step */
} fsgd_vector_state;

typedef struct {
    const fsgd_data *data;
    const fsgd_network *network;
    const fsgd_settings *settings;
    const fsgd_vector_rule *rule;
    fsgd_vector_state *state;
    const int64_t *order; /* the rows in the order of this epoch, n; NULL for storage order */
    const double *rates;  /* FSGD_CALLABLE: of the batches from rates_row on */
    int64_t rates_row;
    int64_t stop_row; /* row of the epoch where the run ends */
} fsgd_network_problem;

/* Kernels of one instruction set for one element type. */
typedef struct {
    const char *isa;
    /* Train until about `budget` values were read or the epoch is done. May stop inside a batch. */
    fsgd_status (*run)(const fsgd_network_problem *problem, int64_t budget, fsgd_report *report);
    /* For m rows at the present parameters: grad (length), the sum of s_i grad_i, added to what is
     * there; losses (m), not multiplied by s_i; squares (m, layers): |grad_i|^2 by layers. Any may
     * be NULL. */
    fsgd_status (*gradients)(const fsgd_network_problem *problem, const int64_t *rows, int64_t m,
                             void *grad, double *losses, double *squares);
    /* Bring every parameter up to date: no step is pending afterwards. */
    void (*flush)(fsgd_vector_state *state);
} fsgd_network_kernels;

/* dispatch.c */
const fsgd_network_kernels *fsgd_network_kernels_for(const char *isa, fsgd_dtype dtype);

#endif
