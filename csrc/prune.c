#include "prune.h"

#include <math.h>
#include <string.h>

/* An unsigned integer that orders as the float does; -0.0 and 0.0 are equal. */
static uint32_t order_of(float score) {
    const float normal = score + 0.0f; /* -0.0 becomes 0.0 */
    uint32_t bits;
    memcpy(&bits, &normal, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* Radix selection: the key of rank `rank` (0 is the smallest), eight bits a pass.
 * *before receives the number of keys below it. */
static uint32_t select_key(const float *scores, size_t count, size_t rank, size_t *before) {
    uint32_t prefix = 0, mask = 0;
    *before = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t histogram[256] = {0};
        for (size_t i = 0; i < count; i++) {
            const uint32_t key = order_of(scores[i]);
            if ((key & mask) == prefix) histogram[key >> shift & 0xff]++;
        }
        uint32_t digit = 0;
        while (*before + histogram[digit] <= rank) *before += histogram[digit++];
        prefix |= digit << shift;
        mask |= 0xffu << shift;
    }
    return prefix;
}

int ft_prune_select(const float *scores, size_t count, size_t drop, uint8_t *keep) {
    memset(keep, drop < count, count);
    if (drop == 0 || drop >= count) return 0;
    size_t below;
    const uint32_t threshold = select_key(scores, count, drop - 1, &below);
    size_t ties = drop - below; /* units that equal the threshold and go */
    for (size_t i = 0; i < count; i++) {
        const uint32_t key = order_of(scores[i]);
        if (key < threshold) keep[i] = 0;
        else if (key == threshold && ties) {
            keep[i] = 0;
            ties--;
        }
    }
    return 0;
}

void ft_prune_scores(const float *weights, size_t n, size_t k, size_t bn, size_t bk, int l2,
                     float *scores) {
    for (size_t n0 = 0; n0 < n; n0 += bn) {
        const size_t n1 = n - n0 < bn ? n : n0 + bn;
        for (size_t k0 = 0; k0 < k; k0 += bk) {
            const size_t k1 = k - k0 < bk ? k : k0 + bk;
            double sum = 0.0;
            for (size_t i = n0; i < n1; i++) {
                for (size_t j = k0; j < k1; j++) {
                    const double w = weights[i * k + j];
                    sum += l2 ? w * w : fabs(w);
                }
            }
            *scores++ = (float)(l2 ? sqrt(sum) : sum);
        }
    }
}

/* How many of the `of` weights go after weight i does: those that are larger, or equal and later. */
static size_t count_above(const float *weights, size_t of, size_t i) {
    const float own = fabsf(weights[i]);
    size_t above = 0;
    for (size_t j = 0; j < of; j++) {
        const float other = fabsf(weights[j]);
        above += other > own || (other == own && j > i);
    }
    return above;
}

void ft_prune_neighbours(const float *weights, size_t n, size_t k, size_t stay, size_t of,
                         uint8_t *keep) {
    for (size_t at = 0; at < n * k; at += of)
        for (size_t i = 0; i < of; i++) keep[at + i] = count_above(weights + at, of, i) < stay;
}
