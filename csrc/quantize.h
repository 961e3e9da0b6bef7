/* Weights and values between floats and integers; the rows of a matrix each with its scale. */
#ifndef FT_QUANTIZE_H
#define FT_QUANTIZE_H

#include "kernels.h"

/* How many of x[count] lie in each of `bins` equal parts of [low, high], the last one closed; what
 * lies outside counts in the nearest, NaN nowhere.  bins is at most FT_MOST_PARTS. */
#define FT_MOST_PARTS 4096
void ft_histogram(const float *x, size_t count, float low, float high, uint32_t bins,
                  uint64_t *counts);

void ft_quantize_rows(const ft_isa *isa, const float *x, size_t n, size_t k, const float *scale,
                      int32_t limit, int8_t *q);
void ft_dequantize_rows(const ft_isa *isa, const int8_t *q, size_t n, size_t k, const float *scale,
                        float *x);

/* Every row begins with a whole byte. */
void ft_join_rows(const ft_isa *isa, const int8_t *q, size_t n, size_t k, uint8_t *nibbles);
void ft_split_rows(const ft_isa *isa, const uint8_t *nibbles, size_t n, size_t k, int8_t *q);

#endif
