#include "prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An unsigned integer that orders as the float does; -0.0 and 0.0 are equal. */
static uint32_t order_of(float score) {
    const float normal = score + 0.0f; /* -0.0 becomes 0.0 */
    uint32_t bits;
    memcpy(&bits, &normal, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The score of a key. */
static float score_of(uint32_t key) {
    const uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
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

/* Scores of a sample and how far around the wanted rank, in deviations, it is trusted. */
enum { SAMPLE = 4096, DEVIATIONS = 4 };

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Two scores that likely enclose the one of rank `rank`, from an even sample. */
static void bracket(const float *scores, size_t count, size_t rank, float *low, float *high) {
    float sample[SAMPLE];
    for (size_t i = 0; i < SAMPLE; i++) sample[i] = scores[(uint64_t)i * count / SAMPLE];
    qsort(sample, SAMPLE, sizeof *sample, compare);
    const double share = (double)rank / (double)count;
    const double middle = share * SAMPLE;
    const double reach = DEVIATIONS * sqrt(SAMPLE * share * (1 - share)) + 2;
    *low = middle - reach < 0 ? -INFINITY : sample[(size_t)(middle - reach)];
    *high = middle + reach >= SAMPLE ? INFINITY : sample[(size_t)(middle + reach)];
}

/* The score of rank `rank` (0 is the smallest); *before receives how many are below it.  Most are
 * only counted; the few in the bracket are copied, if they fit, and selected among.
 * 0, or -1 (memory). */
static int select_score(const float *scores, size_t count, size_t rank, float *found,
                        size_t *before) {
    const size_t room = count / 8;
    if (count >= 16 * SAMPLE) {
        float low, high, *inside = malloc((room + 1) * sizeof *inside);
        if (!inside) return -1;
        bracket(scores, count, rank, &low, &high);
        size_t below = 0, held = 0;
        for (size_t i = 0; i < count && held < room; i++) {
            const float score = scores[i];
            inside[held] = score;
            held += (size_t)((score >= low) & (score <= high));
            below += score < low;
        }
        const int is_enclosed = held < room && below <= rank && rank < below + held;
        if (is_enclosed) {
            *found = score_of(select_key(inside, held, rank - below, before));
            *before += below;
        }
        free(inside);
        if (is_enclosed) return 0;
    }
    *found = score_of(select_key(scores, count, rank, before));
    return 0;
}

int ft_prune_select(const float *scores, size_t count, size_t drop, uint8_t *keep) {
    if (drop == 0 || drop >= count) {
        memset(keep, drop < count, count);
        return 0;
    }
    size_t below;
    float threshold;
    if (select_score(scores, count, drop - 1, &threshold, &below)) return -1;
    for (size_t i = 0; i < count; i++) keep[i] = scores[i] >= threshold;
    size_t ties = drop - below; /* units that equal the threshold and go */
    for (size_t i = 0; ties; i++) {
        if (scores[i] != threshold) continue;
        keep[i] = 0;
        ties--;
    }
    return 0;
}

void ft_prune_scores(const float *weights, size_t n, size_t k, size_t bn, size_t bk, int l2,
                     float *scores) {
    if (bn == 1 && bk == 1) { /* both norms are the magnitude */
        for (size_t i = 0; i < n * k; i++) scores[i] = fabsf(weights[i]);
        return;
    }
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

/* For each of `of` weights how many come before it: larger ones, and equal ones that are later. */
static inline void rank_neighbours(const float *weights, size_t of, uint8_t *above) {
    for (size_t i = 0; i < of; i++) above[i] = 0;
    for (size_t i = 0; i < of; i++) {
        for (size_t j = i + 1; j < of; j++) {
            const uint8_t is_later = fabsf(weights[j]) >= fabsf(weights[i]);
            above[i] = (uint8_t)(above[i] + is_later);
            above[j] = (uint8_t)(above[j] + !is_later);
        }
    }
}

void ft_prune_neighbours(const float *weights, size_t n, size_t k, size_t stay, size_t of,
                         uint8_t *keep) {
    for (size_t at = 0; at < n * k; at += of) {
        /* A literal lets the compiler unroll the common cases. */
        if (of == 4) rank_neighbours(weights + at, 4, keep + at);
        else if (of == 2) rank_neighbours(weights + at, 2, keep + at);
        else rank_neighbours(weights + at, of, keep + at);
        for (size_t i = 0; i < of; i++) keep[at + i] = keep[at + i] < stay;
    }
}
