#include "quantize.h"

#include <math.h>
#include <string.h>

/* Neighbouring values often lie in one part: in tables of their own their counts do not wait for
 * each other.  32 bits hold what a chunk adds.  The parts of a block are found before any is
 * counted, so that compilers find many at once. */
enum { TABLES = 4, CHUNK = 1 << 20, BLOCK = 256 };

/* The parts of a block; NaN gets the one after the last. */
static void find_parts(const float *restrict x, float low, float factor, int32_t bins,
                       int32_t *restrict parts) {
    const float last = (float)(bins - 1);
    for (int i = 0; i < BLOCK; i++) {
        const float at = (x[i] - low) * factor;
        const float above = at > 0.0f ? at : 0.0f;
        const int32_t part = (int32_t)(above < last ? above : last);
        parts[i] = x[i] == x[i] ? part : bins;
    }
}

typedef uint32_t histogram_tables[TABLES][FT_MOST_PARTS + 1];

static void count_block(const float *x, float low, float factor, uint32_t bins,
                        histogram_tables tables) {
    int32_t parts[BLOCK];
    find_parts(x, low, factor, (int32_t)bins, parts);
    for (int i = 0; i < BLOCK; i += TABLES) {
        tables[0][parts[i]]++;
        tables[1][parts[i + 1]]++;
        tables[2][parts[i + 2]]++;
        tables[3][parts[i + 3]]++;
    }
}

void ft_histogram(const float *x, size_t count, float low, float high, uint32_t bins,
                  uint64_t *counts) {
    histogram_tables tables;
    const float width = high - low, factor = width > 0.0f ? (float)bins / width : 0.0f;
    memset(counts, 0, bins * sizeof *counts);
    for (size_t start = 0; start < count; start += CHUNK) {
        const size_t end = count - start < CHUNK ? count : start + CHUNK;
        for (int t = 0; t < TABLES; t++) memset(tables[t], 0, (bins + 1) * sizeof tables[t][0]);
        size_t i = start;
        for (; i + BLOCK <= end; i += BLOCK) count_block(x + i, low, factor, bins, tables);
        if (i < end) {
            float block[BLOCK];
            for (size_t j = 0; j < BLOCK; j++) block[j] = i + j < end ? x[i + j] : NAN;
            count_block(block, low, factor, bins, tables);
        }
        for (uint32_t b = 0; b < bins; b++)
            for (int t = 0; t < TABLES; t++) counts[b] += tables[t][b];
    }
}

void ft_quantize_rows(const ft_isa *isa, const float *x, size_t n, size_t k, const float *scale,
                      int32_t limit, int8_t *q) {
    for (size_t i = 0; i < n; i++) isa->quantize(x + i * k, k, scale[i], limit, q + i * k);
}

void ft_dequantize_rows(const ft_isa *isa, const int8_t *q, size_t n, size_t k, const float *scale,
                        float *x) {
    for (size_t i = 0; i < n; i++) isa->dequantize(q + i * k, k, scale[i], x + i * k);
}

void ft_join_rows(const ft_isa *isa, const int8_t *q, size_t n, size_t k, uint8_t *nibbles) {
    for (size_t i = 0; i < n; i++) isa->join_nibbles(q + i * k, k, nibbles + i * ((k + 1) / 2));
}

void ft_split_rows(const ft_isa *isa, const uint8_t *nibbles, size_t n, size_t k, int8_t *q) {
    for (size_t i = 0; i < n; i++) isa->split_nibbles(nibbles + i * ((k + 1) / 2), k, q + i * k);
}
