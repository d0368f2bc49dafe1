/* loss.h: the losses, each a value and a derivative in the score z under its formula.
 *
 * Template parameters as in vmath.h. The list is that of fsgd_loss and src/fastsgd/losses.py.
 * To add one: a value, a slope, a line in each switch, a line in loss.c, and its twin.
 */

/* (z - y)^2 / 2 */
static inline REAL NAME(squared_error_value)(REAL z, REAL y) {
    return (REAL)0.5 * (z - y) * (z - y);
}
static inline REAL NAME(squared_error_slope)(REAL z, REAL y) { return z - y; }

/* log(1 + exp(-y z)), as max(0, -y z) + log1p(exp(-|y z|)), which does not overflow */
static inline REAL NAME(log_loss_value)(REAL z, REAL y) {
    REAL margin = y * z, size = margin < 0 ? -margin : margin;
    return (margin < 0 ? -margin : 0) + NAME(log1p)(NAME(exp)(-size));
}
/* -y / (1 + exp(y z)) */
static inline REAL NAME(log_loss_slope)(REAL z, REAL y) { return -y / (1 + NAME(exp)(y * z)); }

/* max(0, 1 - y z); slope -y where y z <= 1 */
static inline REAL NAME(hinge_value)(REAL z, REAL y) {
    REAL gap = 1 - y * z;
    return gap > 0 ? gap : 0;
}
static inline REAL NAME(hinge_slope)(REAL z, REAL y) { return y * z <= 1 ? -y : 0; }

/* y - z */
static inline REAL NAME(linear_value)(REAL z, REAL y) { return y - z; }
static inline REAL NAME(linear_slope)(REAL z, REAL y) { return (void)z, (void)y, (REAL)-1; }

/* The slope at one score. */
static inline REAL NAME(loss_slope)(fsgd_loss loss, REAL z, REAL y) {
    switch (loss) {
    case FSGD_LOG_LOSS: return NAME(log_loss_slope)(z, y);
    case FSGD_HINGE: return NAME(hinge_slope)(z, y);
    case FSGD_LINEAR: return NAME(linear_slope)(z, y);
    default: return NAME(squared_error_slope)(z, y);
    }
}

/* out_i = s_i f(z_i, y_i), zero where s_i = 0; all arrays (m) */
#define EACH(F)                                                                                    \
    do {                                                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < m; ++i) {                                      \
            REAL f = NAME(F)(z[i], y[i]);                                                          \
            out[i] = s[i] > 0 ? s[i] * f : 0;                                                      \
        }                                                                                          \
    } while (0)

static void NAME(loss_slopes)(fsgd_loss loss, int64_t m, const REAL *z, const REAL *y,
                              const REAL *s, REAL *restrict out) {
    switch (loss) {
    case FSGD_LOG_LOSS: EACH(log_loss_slope); break;
    case FSGD_HINGE: EACH(hinge_slope); break;
    case FSGD_LINEAR: EACH(linear_slope); break;
    default: EACH(squared_error_slope); break;
    }
}

static void NAME(loss_values)(fsgd_loss loss, int64_t m, const REAL *z, const REAL *y,
                              const REAL *s, REAL *restrict out) {
    switch (loss) {
    case FSGD_LOG_LOSS: EACH(log_loss_value); break;
    case FSGD_HINGE: EACH(hinge_value); break;
    case FSGD_LINEAR: EACH(linear_value); break;
    default: EACH(squared_error_value); break;
    }
}
#undef EACH
