/* loss.c: what is known of each loss; loss.h has the functions. */
#include <math.h>

#include "fastsgd.h"

const fsgd_loss_info fsgd_losses[FSGD_N_LOSSES] = {
    /* name, smoothness, infimum; takes real, sign, count targets; coupled */
    [FSGD_SQUARED_ERROR] = {"squared_error", 1.0, 0.0, 1, 1, 0, 0},
    [FSGD_LOG_LOSS] = {"log_loss", 0.25, 0.0, 0, 1, 0, 0},
    [FSGD_HINGE] = {"hinge", INFINITY, 0.0, 0, 1, 0, 0},
    [FSGD_LINEAR] = {"linear", 0.0, -INFINITY, 1, 0, 0, 0},
    [FSGD_SQUARED_HINGE] = {"squared_hinge", 2.0, 0.0, 0, 1, 0, 0},
    [FSGD_PERCEPTRON] = {"perceptron", INFINITY, 0.0, 0, 1, 0, 0},
    [FSGD_MODIFIED_HUBER] = {"modified_huber", 2.0, 0.0, 0, 1, 0, 0},
    [FSGD_HUBER] = {"huber", 1.0, 0.0, 1, 1, 0, 0},
    [FSGD_EPSILON_INSENSITIVE] = {"epsilon_insensitive", INFINITY, 0.0, 1, 1, 0, 0},
    [FSGD_SQUARED_EPSILON_INSENSITIVE] = {"squared_epsilon_insensitive", 2.0, 0.0, 1, 1, 0, 0},
    [FSGD_QUANTILE] = {"quantile", INFINITY, 0.0, 1, 0, 0, 0},
    [FSGD_POISSON] = {"poisson", INFINITY, NAN, 0, 0, 1, 0},
    [FSGD_SOFTMAX] = {"softmax", 0.5, 0.0, 0, 1, 0, 1},
};
