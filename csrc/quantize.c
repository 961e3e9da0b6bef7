#include "quantize.h"

#include <string.h>

/* Neighbouring values often lie in one part: in tables of their own their counts do not wait for
 * each other.  32 bits hold what a chunk adds. */
enum { TABLES = 4, CHUNK = 1 << 20 };

static uint32_t part_of(float x, float low, float factor, float last) {
    const float at = (x - low) * factor;
    const float above = at > 0.0f ? at : 0.0f;
    return (uint32_t)(above < last ? above : last);
}

void ft_histogram(const float *x, size_t count, float low, float high, uint32_t bins,
                  uint64_t *counts) {
    uint32_t tables[TABLES][FT_MOST_PARTS];
    const float width = high - low;
    const float factor = width > 0.0f ? (float)bins / width : 0.0f, last = (float)(bins - 1);
    memset(counts, 0, bins * sizeof *counts);
    for (size_t start = 0; start < count; start += CHUNK) {
        const size_t end = count - start < CHUNK ? count : start + CHUNK;
        for (int t = 0; t < TABLES; t++) memset(tables[t], 0, bins * sizeof tables[t][0]);
        size_t i = start;
        for (; i + TABLES <= end; i += TABLES)
            for (size_t t = 0; t < TABLES; t++)
                tables[t][part_of(x[i + t], low, factor, last)] += x[i + t] == x[i + t];
        for (; i < end; i++) tables[0][part_of(x[i], low, factor, last)] += x[i] == x[i];
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
