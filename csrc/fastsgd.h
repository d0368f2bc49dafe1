/* fastsgd.h: stochastic gradient descent for K linear models (lanes) over the same rows. Pure C11.
 *
 * n samples, d features, K lanes. Lane k minimises
 *
 *     L_k(w, b) = (1 / n_k) * sum_i s_ik * loss(x_i . w + b, y_ik)
 *                 + alpha_k / 2 * |w|^2  +  l1_k * |w|_1  +  r_k * b
 *
 * One step draws a batch B of m rows and does, for every lane with m_k rows of weight s_ik > 0,
 *
 *     z_i = x_i . w + b                               score
 *     c_i = s_i * dloss(z_i, y_i)                     slope
 *     g   = (1 / m_k) * sum_i c_i x_i  + alpha_k w    accumulate
 *     v   = beta v + g;   w = w - eta v               update   (Nesterov: w - eta (g + beta v))
 *
 * and then truncates w by the L1 penalty. g of b has r_k instead of alpha_k w:
 * `intercept_gradient`, 0 but for the one-class SVM.
 *
 * Data, Lanes and Settings say what is trained, State is all that training changes, Report is what
 * a call did. The core takes arrays and returns a status: no Python, no printing, no globals that
 * change, no signal handlers; scratch memory is freed, and threads are joined, before a call
 * returns. No bit of State depends on how many threads there were.
 * All arrays are the caller's. docs/decisions.md says why the state is laid out as it is.
 */
#ifndef FASTSGD_H
#define FASTSGD_H

#include <stdint.h>

typedef enum {
    FSGD_OK = 0,
    FSGD_NONFINITE = 1, /* a score, or a user's loss, is not finite; Report says where */
    FSGD_NO_MEMORY = 2, /* scratch memory could not be had; nothing was changed */
    FSGD_BAD_CSR = 3,   /* the structure of a CSR matrix is broken; of a run: it was changed */
} fsgd_status;

typedef enum { FSGD_FLOAT32, FSGD_FLOAT64 } fsgd_dtype;

/* Elements of dense X as they are stored; all but reals go with FSGD_FLOAT32. */
typedef enum { FSGD_REAL, FSGD_FLOAT16, FSGD_UINT8 } fsgd_stored;

typedef enum {
    FSGD_DENSE,
    FSGD_CSR32,
    FSGD_CSR64
} fsgd_layout; /* CSR by the width of its indices */

/* The lists below have the order of their Python twins: losses.LOSSES, sampling.SAMPLINGS,
 * schedules.SCHEDULES. */
typedef enum {
    FSGD_SQUARED_ERROR,
    FSGD_LOG_LOSS,
    FSGD_HINGE,
    FSGD_LINEAR,
    FSGD_SQUARED_HINGE,
    FSGD_PERCEPTRON,
    FSGD_MODIFIED_HUBER,
    FSGD_HUBER,
    FSGD_EPSILON_INSENSITIVE,
    FSGD_SQUARED_EPSILON_INSENSITIVE,
    FSGD_QUANTILE,
    FSGD_POISSON,
    FSGD_SOFTMAX,
    FSGD_N_LOSSES,
    FSGD_COMPILED = FSGD_N_LOSSES, /* a user's own, no member of the list */
} fsgd_loss;

/* A user's loss or its slope: out[i] = f(z[i], y[i]) for i < n. Several threads may call it at the
 * same time. */
typedef void (*fsgd_loss_function)(const double *z, const double *y, double *out, int64_t n);

/* A loss with all that its functions need. */
typedef struct {
    fsgd_loss kind;
    double parameter;                /* e: epsilon, or the quantile */
    fsgd_loss_function value, slope; /* FSGD_COMPILED */
} fsgd_loss_spec;

/* How a step moves a weight (optimizers.OPTIMIZERS): kernel/optimizer.h, kernel/adaptive.h. */
typedef enum { FSGD_SGD, FSGD_ADAGRAD } fsgd_optimizer;

/* What a row's slope c becomes before it multiplies x: itself, or a passive-aggressive step
 * (Crammer et al., JMLR 2006): sign(c) min(1, loss / (eta |x|^2)), sign(c) loss / (eta |x|^2 +
 * 1/2).
 */
typedef enum { FSGD_GRADIENT, FSGD_PA1, FSGD_PA2 } fsgd_step;

typedef enum {
    FSGD_RESHUFFLE,
    FSGD_ONCE,
    FSGD_REPLACEMENT,
    FSGD_SEQUENTIAL,
    FSGD_BLOCK
} fsgd_sampling;

enum { FSGD_BLOCK_ROWS = 32, FSGD_POOL_ROWS = 1024 }; /* of FSGD_BLOCK */

typedef enum {
    FSGD_CONSTANT,
    FSGD_INVERSE,
    FSGD_INVSCALING,
    FSGD_STEP,
    FSGD_EXPONENTIAL,
    FSGD_COSINE,
    FSGD_POLYNOMIAL,
    FSGD_ONE_CYCLE,
    FSGD_HARMONIC,
    FSGD_CALLABLE, /* the rates are the problem's */
} fsgd_schedule_kind;

/* What is known of a loss. */
typedef struct {
    const char *name;
    double smoothness; /* upper bound of the second derivative in z; infinite at a kink */
    double infimum;    /* minus infinity: refused without an L2 term; NaN: depends on y */
    int takes_real, takes_sign, takes_count; /* targets: any finite y; -1 and +1; y >= 0 */
    int coupled;                             /* lanes are classes and share a row's loss */
} fsgd_loss_info;

/* Examples, read in place. A real is a float or a double, by dtype. */
typedef struct {
    int64_t n, d;
    int64_t first_row;  /* position in the epoch of the first row, */
    int64_t epoch_rows; /* and rows of an epoch: n, or more where the rows are a window of it */
    fsgd_dtype dtype;
    fsgd_layout layout;
    fsgd_stored stored;
    const void *x;       /* dense: (n, d) stored elements, C order; CSR: nnz reals */
    const void *offset;  /* dense: features are (x - offset) * scale, d reals each; both or none: */
    const void *scale;   /* NULL */
    const void *indices; /* CSR: column of each value, nnz; NULL when dense */
    const void *indptr;  /* CSR: where rows start, n + 1; NULL when dense */
    int64_t nnz;         /* CSR: elements of x and of indices */
    int64_t longest;     /* CSR: most values that a row has */
    int64_t n_targets;
    const void *y;             /* (n, n_targets) reals */
    const void *sample_weight; /* n reals, or NULL for ones */
    const uint64_t *held_out;  /* (n) bit f: the row is held out of split f; NULL: of none.
                                * Only with several lanes that are not coupled */
} fsgd_data;

/* Hyper-parameters per lane. Every array has `padded` elements; those from k on are never active.
 */
typedef struct {
    int64_t k;                        /* lanes */
    int64_t padded;                   /* fsgd_padded_lanes(k) */
    const double *alpha;              /* L2 strength */
    const double *l1;                 /* L1 strength */
    const double *intercept_gradient; /* r: gradient of the objective in b itself */
    const double *eta0;               /* base learning rate */
    const double *mu;                 /* curvature of the "inverse" and "harmonic" schedules */
    const double *intercept_rate;     /* part of the learning rate that b takes */
    const double *label;              /* sign targets: y equal to it is +1, else -1 */
    const double *weight_positive;    /* class weights; 1 for real targets */
    const double *weight_negative;
    const int64_t *target; /* column of y */
    const uint64_t *split; /* rows of which held_out has this bit are of weight zero */
} fsgd_lanes;

/* A schedule's constants; csrc/schedule.h has the formulas. */
typedef struct {
    fsgd_schedule_kind kind;
    double power_t;      /* inverse, invscaling: exponent */
    double decay;        /* step, exponential: factor */
    double step_epochs;  /* step: epochs between drops */
    double total_epochs; /* cosine, polynomial, one_cycle, harmonic: horizon */
    double warmup_steps; /* updates of linear warm-up */
    double power;        /* polynomial: exponent */
    double final;        /* cosine, polynomial: last factor */
    double rise;         /* one_cycle: part of the horizon in which it rises */
} fsgd_schedule;

/* What all lanes share. */
typedef struct {
    fsgd_loss_spec loss;
    fsgd_step step;
    int sign_targets; /* compare y with the lane's label */
    int fit_intercept;
    int nesterov;
    double momentum;    /* beta */
    int64_t average;    /* 0, or the number of the update from which weights are averaged */
    int64_t batch_size; /* 1 to n */
    int64_t threads;    /* at most so many work on a batch of dense rows; from 1 */
    double clip_norm;   /* longest gradient of a batch; infinity for none */
    fsgd_sampling sampling;
    uint64_t seed;
    fsgd_schedule schedule;
} fsgd_settings;

/* All that training changes. A run that is stopped, copied and continued has the same bits.
 *
 * A weight carries width = 1 + (momentum) + (averaging) numbers, (w, v, q): the weight, its
 * momentum and q = N (a - w), where a is the average of N weights. q stays put while w does, so
 * averaging costs nothing for a feature that is not there, and does not stagnate in float32 as a
 * running mean does. A step is linear in them: u <- u + D u + p g, with D (width, width) and p
 * (width) a lane's coefficients of that step and g the gradient of the loss.
 *
 * With an L1 penalty one more vector, `applied`, follows: what has been applied to the weight of
 * the cumulative penalty, l1_cumulative. After each update, for every feature and w > 0, w becomes
 * max(0, w - (l1_cumulative + applied)), for w < 0 min(0, w + (l1_cumulative - applied)), and
 * applied grows by what w grew (Tsuruoka, Tsujii & Ananiadou, ACL 2009). Doing that once for many
 * steps in which w had no other change gives the same w: on CSR with L1 alone it is pending
 * until a row has the feature.
 *
 * On CSR, with L2 or averages too and without momentum, updates under L1 are lazy as well: while
 * steps are pending, w and q of a weight that lives are stored as coordinates, which stay put while
 * its feature is in no row, and `applied` says nothing (kernel/l1_sums.h).
 *
 * AdaGrad's step is not linear. Its width is 1 + (averaging), and the vector after these holds the
 * sum of squared gradients, of the intercept too. Its lazy updates keep the sums of the rates at
 * the pending steps, which were taken with the penalties `alpha` and `l1` (kernel/adaptive.h).
 *
 * no momentum, no L1: w = scale * stored and q = stored + average_shift * stored w, so that L2 and
 * averaging cost nothing for a feature that is not there.
 * momentum on CSR, no L1: (w, v) is stored as coordinates in a basis that moves with the steps, so
 * that a feature that is not there stays as it is; the basis changes from span to span, and a
 * feature with it when it is seen again (kernel/spans.h). After max_pending spans all features
 * are stored as they are once more (a flush), O(d).
 */
typedef struct {
    fsgd_dtype dtype;
    fsgd_optimizer optimizer;
    int64_t d, k, padded, width;
    int64_t vectors;        /* width, plus one with an L1 penalty, or of AdaGrad */
    int64_t feature_stride; /* w[j * feature_stride + q * vector_stride + lane] */
    int64_t vector_stride;
    void *w;               /* K > 1: (d, vectors, padded). K = 1: (vectors, d padded), or, on CSR
                            * with momentum or averages and without L1, pairs (d padded, 2) */
    void *intercept;       /* (width, padded); of AdaGrad (vectors, padded) */
    double *scale;         /* (padded) */
    double *average_shift; /* (padded) */
    double *l1_cumulative; /* (padded) sum of eta l1 */
    double *alpha, *l1;    /* (padded) penalties of AdaGrad's pending steps; alpha of a span */
    double *rate_factor;   /* (padded) multiplies the schedule */
    double *active;        /* (padded) 1, or 0 for a frozen lane */
    int64_t *t;            /* (padded) updates done */
    int64_t epoch;         /* epochs done */
    int64_t row;           /* rows of this epoch whose update is done */
    int64_t batch_row;     /* rows of the open batch that are accumulated */
    int64_t batch_nnz;     /* their values */
    double *batch_count;   /* (padded) m_k of the open batch */
    void *grad;            /* batch_size > 1: (2, d, padded), K = 1: (2, d padded): sum of c_i x_i,
                            * and what rounding left out of it (Kahan, CACM 8, 1965) */
    void *grad_intercept;  /* (2, padded) */
    double *loss_sum;      /* (padded) sum of s_i loss(z_i, y_i) over the epoch so far */
    double *row_count;     /* (padded) rows with s_i > 0 in the epoch so far */
    double *norm_sum;    /* (padded) sum of |g|^2 over the epoch's measured batches: g of the loss,
                          * in w and b; one batch in 16 is, or in 64 rows */
    double *norm_count;  /* (padded) their number */
    int64_t max_pending; /* 0 where updates are not lazy */
    int64_t pending;     /* steps, or spans, that some features have not caught up with */
    int64_t span_length; /* most steps of a span; with momentum on CSR: kernel/spans.h */
    int64_t *span_step;  /* (padded) steps of the present span that are done, */
    int64_t *span_planned; /* (padded) and that are planned, */
    double *span_momentum; /* (padded) with this momentum, negative if it is Nesterov's, */
    double *span_average;  /* (padded) and this number of the first update that is averaged */
    double *span_steps;    /* (span_length + 2, 8, padded) its plan */
    double *span_products; /* (max_pending, width, 2, padded) from earlier spans to the present */
    double *step_sums; /* (max_pending + 1, columns, padded): with L1 and L2 or averages the sums of
                        * kernel/l1_sums.h, with L1 and momentum those of
                        * kernel/l1_momentum.h, of AdaGrad one column, the sum of the rates */
    int64_t sums_shared;  /* with L1: whether those are of one lane, since all have the same */
    int32_t *last_update; /* (d), or with momentum and without L1 a group of features each */
    int64_t rescales;     /* how often all features were stored anew, by scales or lazy updates */
} fsgd_state;

/* What a call did. */
typedef struct {
    int epoch_done;  /* the epoch's last row is done; State is at the start of the next */
    int window_done; /* what is left of the window is not enough for a whole block, chunk or batch
                      */
    int clipped;     /* eta * alpha >= 1 set weights to zero */
    int changed;     /* CSR: an index was out of range, which was checked before: taken for d - 1 */
    int64_t work;    /* values read, with a little for each row */
    int64_t row;     /* FSGD_NONFINITE: the row */
    int64_t step;    /* FSGD_NONFINITE: updates done */
    double eta; /* the last learning rate, of the first lane that made an update; NaN: none did */
} fsgd_report;

typedef struct {
    const fsgd_data *data;
    const fsgd_lanes *lanes;
    const fsgd_settings *settings;
    fsgd_state *state;
    const int64_t *order; /* the rows of X in the order of this epoch, n; NULL for storage order */
    const double *rates;  /* FSGD_CALLABLE: (batches, padded) of the batches from rates_row on */
    int64_t rates_row;
    int64_t rates_stop; /* row of the epoch where the batches end whose rates are given */
    int64_t
        stop_row; /* row of the epoch where the run ends: the last, or that of rates or caller */
    int64_t *columns; /* CSR: (longest) those of the row at work, all in [0, d) */
    double *sums;     /* CSR: (d) zeros, and zeros again when a call returns: to add up what a row
                       * has of one feature */
} fsgd_problem;

/* Kernels of one instruction set for one element type. Structure and ranges are checked by the
 * caller. */
typedef struct {
    const char *isa;
    /* Train until about `budget` values were read or the epoch is done. May stop inside a batch. */
    fsgd_status (*run)(const fsgd_problem *problem, int64_t budget, fsgd_report *report);
    /* The verbs of a step, for m rows. z, c: (m, padded) reals. */
    fsgd_status (*score)(const fsgd_problem *problem, const int64_t *rows, int64_t m, void *z);
    fsgd_status (*slope)(const fsgd_problem *problem, const int64_t *rows, int64_t m, const void *z,
                         void *c); /* also adds to loss_sum, row_count, batch_count */
    fsgd_status (*accumulate)(const fsgd_problem *problem, const int64_t *rows, int64_t m,
                              const void *c); /* into grad; needs batch_size > 1 */
    /* The model as it stands; leaves State as it was. out: (k, d), intercept: (k) reals. */
    fsgd_status (*weights)(const fsgd_problem *problem, int average, void *out, void *intercept);
    /* Without a copy of the weights: the sums of w^2, and with L1 of |w|, over the last ones, (k)
     * each, whether those of the model are finite, and the intercepts (2, k): the last, and the
     * model's. */
    fsgd_status (*measure)(const fsgd_problem *problem, int average, double *squares, double *sizes,
                           int *finite, void *intercepts);
    /* Bring the stored weights up to date: nothing pending, scale 1. */
    fsgd_status (*flush)(const fsgd_problem *problem);
    /* The sum of |value|, or of value^2, of n reals, in double. */
    double (*sum)(const void *values, int64_t n, int squares);
    /* out[i] = value or slope of a loss at z[i], y[i], for tests. */
    void (*loss)(const fsgd_loss_spec *loss, int slope, int64_t n, const void *z, const void *y,
                 void *out);
} fsgd_kernels;

/* dispatch.c: the best kernels of this machine (NULL), or those of a name; NULL if not to be had.
 */
const fsgd_kernels *fsgd_kernels_for(const char *isa, fsgd_dtype dtype);
/* Names of the compiled instruction sets, best last, NULL at the end; whether this machine has one.
 */
const char *const *fsgd_isas(void);
int fsgd_isa_supported(const char *isa);

/* loss.c */
extern const fsgd_loss_info fsgd_losses[FSGD_N_LOSSES];

/* sampler.c: draws `start` to `start + count` of an epoch's order, n rows; order: (n), for
 * FSGD_BLOCK (n + n / FSGD_BLOCK_ROWS + 1), first rows of the blocks behind n. A permutation is
 * made in place from its first draw on, so calls must cover 0 to n without gaps. */
void fsgd_order(const fsgd_settings *settings, int64_t n, int64_t epoch, int64_t start,
                int64_t count, int64_t *order);

/* check.c: the structure of a CSR matrix, part by part, each into a fingerprint that goes on from
 * *print: structures that differ have the same one by chance alone. Rows `start` to `stop`: indptr
 * starts at 0, never falls and ends at nnz; *where is the row of the fault, *longest the most
 * values of a row so far. Values `start` to `stop`: indices lie in [0, d); *where is the first that
 * does not. */
fsgd_status fsgd_check_rows(const fsgd_data *data, int64_t start, int64_t stop, uint64_t *print,
                            int64_t *longest, int64_t *where);
fsgd_status fsgd_check_indices(const fsgd_data *data, int64_t start, int64_t stop, uint64_t *print,
                               int64_t *where);

/* columns.c: d columns, pointers to n numbers each, as rows (n, d) in C order. */
void fsgd_place_columns(fsgd_dtype dtype, const void *columns, int64_t n, int64_t d, void *rows);

/* Lanes rounded up to whole vectors: 1, 4, 8, then multiples of 16. */
static inline int64_t fsgd_padded_lanes(int64_t k) {
    if (k == 1) return 1;
    if (k <= 4) return 4;
    if (k <= 8) return 8;
    return (k + 15) / 16 * 16;
}

/* Features rounded up, for K = 1: whole vectors of every instruction set. */
static inline int64_t fsgd_padded_features(int64_t d) { return (d + 15) / 16 * 16; }

/* Most steps with momentum and L1 that are pending, of a state's max_pending: they have 16 columns
 * in step_sums, not 8, a row more for each 16 of them, and three (csrc/kernel/l1_momentum.h). */
static inline int64_t fsgd_moving_steps(int64_t max_pending) {
    return ((max_pending + 1) / 2 - 3) / 17 * 16;
}

#endif
