/* compensated.h: one compensated sum (Kahan, CACM 8, 1965), of numbers and of vectors of them: a
 * full batch of n float32 rows is as exact as one row.
 */
#ifndef FASTSGD_KERNEL_COMPENSATED_H
#define FASTSGD_KERNEL_COMPENSATED_H

/* *SUM += TERM; *LOST is what rounding has left out of *SUM so far, with its sign turned. */
#define ADD_COMPENSATED(TYPE, SUM, LOST, TERM)                                                     \
    do {                                                                                           \
        const TYPE corrected_ = (TERM) - *(LOST), total_ = *(SUM) + corrected_;                    \
        *(LOST) = (total_ - *(SUM)) - corrected_;                                                  \
        *(SUM) = total_;                                                                           \
    } while (0)

#endif
