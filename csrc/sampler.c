/* sampler.c: the order of samples, a pure function of (sampling, seed, epoch).
 *
 * Philox4x64-10 (Salmon et al., SC 2011) keyed by (seed, 0) with counter (block, epoch, purpose,
 * 0), blocks from 1. Word t of the stream is draw t; a bounded integer is the high half of word *
 * bound, without rejection: its bias is below bound / 2^64. "block" shuffles pools with half-words,
 * the low half of a word before its high half: a bias below FSGD_POOL_ROWS / 2^32.
 * src/fastsgd/sampling.py is the twin, and has the rules.
 */
#include "fastsgd.h"

enum { ROUNDS = 10, STRETCH = 256 }; /* draws made at a time */
enum { SEGMENTS = FSGD_POOL_ROWS / FSGD_BLOCK_ROWS };

typedef struct {
    uint64_t seed, epoch, purpose;
    int64_t start; /* the word that is draw 0 */
} stream;

enum { TRAINING = 0, BLOCKS = 2 }; /* 1 splits off validation rows, in Python */

static inline uint64_t mul_high(uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t wrap(int64_t row, int64_t n) { return row < n ? row : row - n; }

static void philox_block(const stream *from, uint64_t block, uint64_t out[4]) {
    uint64_t c0 = block, c1 = from->epoch, c2 = from->purpose, c3 = 0, k0 = from->seed, k1 = 0;
    for (int round = 0; round < ROUNDS; ++round) {
        uint64_t h0 = mul_high(0xD2E7470EE14C6C93u, c0), l0 = 0xD2E7470EE14C6C93u * c0;
        uint64_t h1 = mul_high(0xCA5A826395121157u, c2), l1 = 0xCA5A826395121157u * c2;
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
        k0 += 0x9E3779B97F4A7C15u;
        k1 += 0xBB67AE8584CAA73Bu;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Draws t, ..., t + count - 1: the return value, which lies in words. */
static uint64_t *draw_words(const stream *from, int64_t t, int64_t count,
                            uint64_t words[STRETCH + 4]) {
    const int64_t first = from->start + t, skip = first % 4;
    for (int64_t i = 0; i < skip + count; i += 4)
        philox_block(from, (uint64_t)(first / 4 + i / 4) + 1, words + i);
    return words + skip;
}

/* Steps of a Fisher-Yates shuffle of order[0], ..., order[left - 1]: the last of those left and a
 * drawn one change places. */
static void swap_down(int64_t *order, int64_t left, const uint64_t *drawn, int64_t count) {
    for (int64_t *last = order + left - 1; count > 0; --count, --last, ++drawn) {
        int64_t row = *last;
        *last = order[*drawn];
        order[*drawn] = row;
    }
}

/* Draws t, ..., t + count - 1 of a shuffle of order[0], ..., order[n - 1]. What they change places
 * with depends on no earlier draw, so it is prefetched. */
static void shuffle(const stream *from, int64_t n, int64_t t, int64_t count, int64_t *order) {
    uint64_t buffer[STRETCH + 4], *words = draw_words(from, t, count, buffer);
    for (int64_t i = 0; i < count; ++i) {
        words[i] = mul_high(words[i], (uint64_t)(n - t - i));
        __builtin_prefetch(order + words[i], 1);
    }
    swap_down(order, n - t, words, count);
}

static void draw_rows(const stream *from, int64_t n, int64_t t, int64_t count, int64_t *order) {
    uint64_t buffer[STRETCH + 4], *words = draw_words(from, t, count, buffer);
    for (int64_t i = 0; i < count; ++i) order[t + i] = (int64_t)mul_high(words[i], (uint64_t)n);
}

/* Shuffle each segment s of blocks, block[begin[s]], ..., block[begin[s + 1] - 1]. */
static void shuffle_segments(stream from, const int64_t begin[SEGMENTS + 1], int64_t *block) {
    for (int64_t s = 0; s < SEGMENTS; ++s) {
        const int64_t length = begin[s + 1] - begin[s];
        from.start = begin[s];
        for (int64_t t = 0; t < length; t += STRETCH)
            shuffle(&from, length, t, smaller(STRETCH, length - t), block + begin[s]);
    }
}

/* First rows of the whole blocks, in their order, behind the n rows of order: the last blocks of
 * the longer segments, then one of each segment by turns. */
static void order_blocks(stream from, int64_t n, int64_t *order) {
    const int64_t whole = n / FSGD_BLOCK_ROWS, rounds = whole / SEGMENTS;
    int64_t *block = order, *first = order + n, begin[SEGMENTS + 1], b = 0; /* block: for now */
    uint64_t buffer[STRETCH + 4];
    from.purpose = BLOCKS;
    for (int64_t i = 0; i < whole; ++i) block[i] = i;
    for (int64_t s = 0; s <= SEGMENTS; ++s) begin[s] = s * whole / SEGMENTS;
    shuffle_segments(from, begin, block);
    for (int64_t s = 0; s < SEGMENTS; ++s)
        if (begin[s + 1] - begin[s] > rounds) first[b++] = block[begin[s + 1] - 1];
    for (int64_t i = 0; i < rounds; ++i)
        for (int64_t s = 0; s < SEGMENTS; ++s) first[b++] = block[begin[s] + i];
    from.start = whole;
    first[whole] = (int64_t)mul_high(*draw_words(&from, 0, 1, buffer), (uint64_t)n);
    for (b = 0; b < whole; ++b)
        first[b] = wrap(n % FSGD_BLOCK_ROWS + first[b] * FSGD_BLOCK_ROWS + first[whole], n);
}

/* The position after the pool of position t; the first pool is the short one. */
static int64_t pool_stop(int64_t n, int64_t t) {
    return n - (n - 1 - t) / FSGD_POOL_ROWS * FSGD_POOL_ROWS;
}

/* Positions start, ..., stop - 1 before they are shuffled: the short block, then whole ones. */
static void lay_out(int64_t n, int64_t start, int64_t stop, int64_t *order) {
    const int64_t whole = n / FSGD_BLOCK_ROWS, odd = n % FSGD_BLOCK_ROWS;
    for (int64_t i = start; i < odd; ++i) order[i] = wrap(order[n + whole] + i, n);
    for (int64_t i = start < odd ? odd : start; i < stop; i += FSGD_BLOCK_ROWS) {
        const int64_t first = order[n + (i - odd) / FSGD_BLOCK_ROWS];
        for (int64_t r = 0; r < FSGD_BLOCK_ROWS; ++r) order[i + r] = wrap(first + r, n);
    }
}

/* Draws t, ..., t + count - 1, all of one pool, of which each word makes two. */
static void shuffle_pool(const stream *from, int64_t n, int64_t t, int64_t count, int64_t *order) {
    uint64_t buffer[STRETCH + 4], drawn[STRETCH];
    const int64_t stop = pool_stop(n, t);
    const int64_t start = stop > FSGD_POOL_ROWS ? stop - FSGD_POOL_ROWS : 0;
    if (t == start) lay_out(n, start, stop, order);
    const int64_t odd = t % 2, pairs = (odd + count + 1) / 2;
    const uint64_t *words = draw_words(from, t / 2, pairs, buffer);
    for (int64_t i = 0; i < pairs; ++i) {
        const uint64_t left = (uint64_t)(stop - t + odd - 2 * i);
        drawn[2 * i] = (words[i] & 0xFFFFFFFFu) * left >> 32;
        drawn[2 * i + 1] = (words[i] >> 32) * (left - 1) >> 32;
    }
    swap_down(order + start, stop - t, drawn + odd, count);
}

void fsgd_order(const fsgd_settings *settings, int64_t n, int64_t epoch, int64_t start,
                int64_t count, int64_t *order) {
    const fsgd_sampling mode = settings->sampling;
    const stream from = {settings->seed, mode == FSGD_ONCE ? 0 : (uint64_t)epoch, TRAINING, 0};
    if (start == 0 && mode == FSGD_BLOCK) order_blocks(from, n, order);
    if (start == 0 && mode != FSGD_BLOCK && mode != FSGD_REPLACEMENT)
        for (int64_t i = 0; i < n; ++i) order[i] = i;
    if (mode == FSGD_SEQUENTIAL) return;
    for (int64_t t = start, stop = start + count, draws; t < stop; t += draws) {
        draws = smaller(STRETCH - t % STRETCH, stop - t);
        if (mode == FSGD_BLOCK) draws = smaller(draws, pool_stop(n, t) - t);
        if (mode == FSGD_REPLACEMENT)
            draw_rows(&from, n, t, draws, order);
        else if (mode == FSGD_BLOCK)
            shuffle_pool(&from, n, t, draws, order);
        else
            shuffle(&from, n, t, draws, order);
    }
}
