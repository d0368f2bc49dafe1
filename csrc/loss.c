/* loss.c: what is known of each loss; loss.h has the functions. */
#include <math.h>

#include "fastsgd.h"

const fsgd_loss_info fsgd_losses[FSGD_N_LOSSES] = {
    [FSGD_SQUARED_ERROR] = {"squared_error", 1.0, 0.0, 1, 1},
    [FSGD_LOG_LOSS] = {"log_loss", 0.25, 0.0, 0, 1},
    [FSGD_HINGE] = {"hinge", INFINITY, 0.0, 0, 1},
    [FSGD_LINEAR] = {"linear", 0.0, -INFINITY, 1, 0},
};
