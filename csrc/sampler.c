/* sampler.c: the order of samples, a pure function of (sampling, seed, epoch).
 *
 * Philox4x64-10 (Salmon et al., SC 2011) keyed by (seed, 0) with counter (block, epoch, purpose,
 * 0), blocks from 1. Word t of the stream is draw t; a bounded integer is the high half of word *
 * bound, without rejection: its bias is below bound / 2^64. src/fastsgd/sampling.py is the twin.
 */
#include "fastsgd.h"

enum { ROUNDS = 10, TRAINING = 0 };

static inline uint64_t mul_high(uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

static void philox_block(uint64_t block, uint64_t epoch, uint64_t seed, uint64_t out[4]) {
    uint64_t c0 = block, c1 = epoch, c2 = TRAINING, c3 = 0, k0 = seed, k1 = 0;
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

void fsgd_order(const fsgd_settings *settings, int64_t n, int64_t epoch, int64_t start,
                int64_t count, int64_t *order) {
    uint64_t words[4] = {0};
    const uint64_t key_epoch = settings->sampling == FSGD_ONCE ? 0 : (uint64_t)epoch;
    if (start == 0 && settings->sampling != FSGD_REPLACEMENT)
        for (int64_t i = 0; i < n; ++i) order[i] = i;
    if (settings->sampling == FSGD_SEQUENTIAL) return;
    for (int64_t t = start; t < start + count; ++t) {
        if (t == start || t % 4 == 0)
            philox_block((uint64_t)(t / 4) + 1, key_epoch, settings->seed, words);
        uint64_t word = words[t % 4];
        if (settings->sampling == FSGD_REPLACEMENT) {
            order[t] = (int64_t)mul_high(word, (uint64_t)n);
        } else if (t < n - 1) { /* Fisher-Yates: i falls from n - 1 to 1 */
            int64_t i = n - 1 - t, j = (int64_t)mul_high(word, (uint64_t)i + 1), row = order[i];
            order[i] = order[j];
            order[j] = row;
        }
    }
}
