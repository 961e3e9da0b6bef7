/* A layer of integer weights with rows for it, and what its product must be, by an independent
 * int64 calculation. */
#ifndef FT_TESTS_PRODUCT_H
#define FT_TESTS_PRODUCT_H

#include "pack.h"

#include <math.h>

enum { POISON = 0xa5 };

/* One layer and its input; a row of `a` is k_padded bytes, those past k arbitrary. */
typedef struct layer {
    ft_pack_spec spec;
    int32_t weight_max;
    size_t m;
    int8_t *weights;
    uint8_t *scales, *values; /* values: [m][k] */
    int64_t *sums;            /* [m][n] */
    float *mult, *add;        /* [n] */
} layer;

static int8_t random_weight(uint64_t *seed, int32_t limit) {
    const int32_t edges[] = {limit, -limit, 0, 1, -1};
    if (random_below(seed, 4) == 0) return (int8_t)edges[random_below(seed, 5)];
    return (int8_t)((int32_t)random_below(seed, (uint32_t)(2 * limit + 1)) - limit);
}

static uint8_t random_value(uint64_t *seed, uint32_t amax) {
    const uint32_t edges[] = {0, 1, 127, amax, amax - 1, amax / 2 + 1};
    if (random_below(seed, 3) == 0) return (uint8_t)edges[random_below(seed, 6)];
    return (uint8_t)random_below(seed, amax + 1);
}

/* `extreme`: all values amax, all weights of a column the largest of one sign, which is what
 * saturates int16 if anything does.
 * strip: of the blocks of so many outputs by four inputs most are 0; 1: of single weights;
 * 0: of none. */
static layer layer_pruned(uint64_t *seed, size_t m, uint32_t n, uint32_t k, uint32_t bits,
                          int32_t weight_max, uint32_t group, uint32_t amax, int extreme,
                          uint32_t strip) {
    layer l = {.weight_max = weight_max, .m = m};
    const size_t groups = group ? (k + group - 1) / group : 0;
    l.weights = malloc((size_t)n * k);
    l.scales = group ? malloc(n * groups) : NULL;
    l.values = malloc(m * k);
    l.sums = malloc(m * n * sizeof *l.sums);
    l.mult = malloc(n * sizeof *l.mult);
    l.add = malloc(n * sizeof *l.add);
    for (size_t i = 0; i < (size_t)n * k; i++)
        l.weights[i] = extreme ? (int8_t)(i / k % 2 ? -weight_max : weight_max)
                               : random_weight(seed, weight_max);
    const uint32_t run = strip > 1 ? 4 : 1;
    for (size_t j = 0; strip && j < n; j += strip)
        for (size_t at = 0; at < k; at += run)
            if (random_below(seed, strip > 1 ? 6 : 12))
                for (size_t i = j; i < n && i < j + strip; i++)
                    memset(l.weights + i * k + at, 0, k - at < run ? k - at : run);
    for (size_t i = 0; i < n * groups; i++)
        l.scales[i] = (uint8_t)(extreme ? 63 : 1 + random_below(seed, 63));
    for (size_t i = 0; i < m * k; i++)
        l.values[i] = extreme ? (uint8_t)amax : random_value(seed, amax);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            int64_t sum = 0;
            for (size_t at = 0; at < k; at++) {
                const int64_t scale = group ? l.scales[j * groups + at / group] : 1;
                sum += (int64_t)l.values[i * k + at] * l.weights[j * k + at] * scale;
            }
            l.sums[i * n + j] = sum;
        }
    }
    for (size_t j = 0; j < n; j++) {
        l.mult[j] = (float)(1 + random_below(seed, 1000)) / (float)(10 * k);
        l.add[j] = (float)random_below(seed, 300) - 100.0f + 0.5f * (float)random_below(seed, 2);
    }
    l.spec = (ft_pack_spec){l.weights, l.scales, n, k, bits, group, amax, strip > 0};
    return l;
}

static void layer_free(layer *l) {
    free(l->weights);
    free(l->scales);
    free(l->values);
    free(l->sums);
    free(l->mult);
    free(l->add);
}

/* The bytes that output j of row i must have. */
static uint32_t expected(const layer *l, ft_store store, uint32_t relu, uint32_t out_amax, size_t i,
                         size_t j) {
    const int32_t sum = (int32_t)l->sums[i * l->spec.n + j];
    if (store == FT_STORE_I32) return (uint32_t)sum;
    const volatile float product = (float)sum * l->mult[j];
    const volatile float v = product + l->add[j];
    if (store == FT_STORE_U8) {
        const float rounded = rintf(v);
        return rounded < 0 ? 0 : rounded > (float)out_amax ? out_amax : (uint32_t)rounded;
    }
    const float result = relu && v < 0 ? 0.0f : v;
    uint32_t bits;
    memcpy(&bits, &result, sizeof bits);
    return bits;
}

static uint32_t element(const void *c, ft_store store, size_t at) {
    uint32_t value = 0;
    if (store == FT_STORE_U8) value = ((const uint8_t *)c)[at];
    else memcpy(&value, (const char *)c + 4 * at, sizeof value);
    return value;
}

/* Right outputs, zeros in the padding, poison untouched between the rows. */
static int rows_are_right(const layer *l, const ft_packed *w, ft_store store, const void *c,
                          size_t ldc) {
    const uint32_t poison = store == FT_STORE_U8 ? POISON : POISON * 0x01010101u;
    for (size_t i = 0; i < l->m; i++) {
        for (size_t j = 0; j < (i + 1 < l->m ? ldc : w->n_padded); j++) {
            const uint32_t want = j < w->n          ? expected(l, store, w->relu, w->out_amax, i, j)
                                  : j < w->n_padded ? 0
                                                    : poison;
            if (element(c, store, i * ldc + j) != want) return 0;
        }
    }
    return 1;
}

/* [bits, weight_max, group, amax] */
static const uint32_t configurations[][4] = {
    {8, 127, 0, 127}, {8, 64, 0, 127}, {8, 48, 0, 127}, {8, 32, 0, 127}, {8, 127, 0, 255},
    {8, 64, 0, 255},  {8, 48, 0, 255}, {8, 32, 0, 255}, {8, 16, 0, 255}, {4, 7, 0, 127},
    {4, 7, 32, 127},  {4, 7, 64, 127}, {4, 7, 0, 255},  {4, 7, 32, 255}, {4, 7, 64, 255}};

enum { CONFIGURATIONS = sizeof configurations / sizeof configurations[0] };

#endif
