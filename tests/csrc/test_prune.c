/* Selection against a full sort, scores against their definition. */
#include "check.h"

#include "prune.h"

#include <math.h>

typedef struct unit {
    float score;
    size_t index;
} unit;

static int by_score_then_index(const void *left, const void *right) {
    const unit *a = left, *b = right;
    if (a->score != b->score) return a->score < b->score ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static void check_selection(const float *scores, size_t count, size_t drop) {
    unit *units = malloc((count + 1) * sizeof *units);
    uint8_t *want = malloc(count + 1), *got = malloc(count + 1);
    for (size_t i = 0; i < count; i++) units[i] = (unit){scores[i], i};
    qsort(units, count, sizeof *units, by_score_then_index);
    memset(want, 1, count);
    for (size_t i = 0; i < drop && i < count; i++) want[units[i].index] = 0;
    memset(got, 0xa5, count + 1);
    CHECK(ft_prune_select(scores, count, drop, got) == 0, "count=%zu drop=%zu", count, drop);
    CHECK(!memcmp(got, want, count), "count=%zu drop=%zu", count, drop);
    CHECK(got[count] == 0xa5, "nothing past the last unit, count=%zu", count);
    free(units);
    free(want);
    free(got);
}

static float draw_score(uint64_t *seed, int kind) {
    static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, 1e-45f};
    switch (kind) {
    case 0: return (float)random_below(seed, 5);                /* many ties */
    case 1: return special[random_below(seed, 7)];              /* signs and zeros */
    case 2: return (float)(random_bits(seed) >> 40) * 0x1p-24f; /* near each other */
    default: {                                                  /* any finite float */
        const uint32_t bits = (uint32_t)random_bits(seed);
        float score;
        memcpy(&score, &bits, sizeof score);
        return isfinite(score) ? score : 0.0f;
    }
    }
}

static void test_selection(void) {
    uint64_t seed = 1;
    float scores[600];
    for (int kind = 0; kind < 4; kind++) {
        for (size_t count = 0; count < 40; count++) {
            for (size_t i = 0; i < count; i++) scores[i] = draw_score(&seed, kind);
            for (size_t drop = 0; drop <= count + 1; drop++) check_selection(scores, count, drop);
        }
        for (int round = 0; round < 50; round++) {
            for (size_t i = 0; i < 600; i++) scores[i] = draw_score(&seed, kind);
            check_selection(scores, 600, random_below(&seed, 601));
        }
    }
}

static void check_scores(size_t n, size_t k, size_t bn, size_t bk, const float *weights) {
    const size_t rows = (n + bn - 1) / bn, columns = (k + bk - 1) / bk;
    float *scores = malloc((rows * columns + 1) * sizeof *scores);
    for (int l2 = 0; l2 < 2; l2++) {
        scores[rows * columns] = -5.0f;
        ft_prune_scores(weights, n, k, bn, bk, l2, scores);
        for (size_t row = 0; row < rows; row++) {
            for (size_t column = 0; column < columns; column++) {
                long double sum = 0;
                for (size_t i = row * bn; i < n && i < (row + 1) * bn; i++)
                    for (size_t j = column * bk; j < k && j < (column + 1) * bk; j++)
                        sum += l2 ? (long double)weights[i * k + j] * weights[i * k + j]
                                  : fabsl((long double)weights[i * k + j]);
                const float want = (float)(l2 ? sqrtl(sum) : sum);
                const float got = scores[row * columns + column];
                CHECK(fabsf(got - want) <= want * 0x1p-23f, "%zux%zu blocks %zux%zu l2=%d: %g, %g",
                      n, k, bn, bk, l2, (double)got, (double)want);
            }
        }
        CHECK(scores[rows * columns] == -5.0f, "nothing past the last block");
    }
    free(scores);
}

static void test_scores(void) {
    uint64_t seed = 2;
    float weights[12 * 17];
    for (size_t i = 0; i < 12 * 17; i++)
        weights[i] = ((float)(random_bits(&seed) >> 40) * 0x1p-24f - 0.5f) * (i % 5 ? 1 : 1e-3f);
    for (size_t n = 1; n <= 12; n++)
        for (size_t k = 1; k <= 17; k++)
            for (size_t bn = 1; bn <= 8; bn *= 2)
                for (size_t bk = 1; bk <= 16; bk *= 2) check_scores(n, k, bn, bk, weights);
}

/* A single weight has the same L1 and L2 norm, so both drop the same ones; a block's may
 * rank differently: (3, 0) against (2, 2). */
static void test_norms(void) {
    uint64_t seed = 3;
    float weights[1000], l1[1000], l2[1000];
    uint8_t keep1[1000], keep2[1000];
    for (size_t i = 0; i < 1000; i++) weights[i] = draw_score(&seed, 2) - 0.5f;
    ft_prune_scores(weights, 10, 100, 1, 1, 0, l1);
    ft_prune_scores(weights, 10, 100, 1, 1, 1, l2);
    ft_prune_select(l1, 1000, 800, keep1);
    ft_prune_select(l2, 1000, 800, keep2);
    CHECK(!memcmp(keep1, keep2, 1000), "single weights");
    const float blocks[] = {3, 0, 2, 2};
    ft_prune_scores(blocks, 2, 2, 1, 2, 0, l1);
    ft_prune_scores(blocks, 2, 2, 1, 2, 1, l2);
    CHECK(l1[0] < l1[1] && l2[0] > l2[1], "%g %g %g %g", (double)l1[0], (double)l1[1],
          (double)l2[0], (double)l2[1]);
}

int main(void) {
    test_selection();
    test_scores();
    test_norms();
    return check_report();
}
