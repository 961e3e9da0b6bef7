/* Weights in a file, coded by an adaptive model and a range coder (docs/file-format.md). */
#ifndef FT_CODING_H
#define FT_CODING_H

#include <stddef.h>
#include <stdint.h>

/* Both work on n rows of k values of `bits` bits (4, 8 or 32), given as 32-bit patterns: the low
 * `bits` bits count, two's complement; the lowest value of 4 or 8 bits (-8 or -128) has no code. */

/* Bytes needed, of which those are written that `out` has room for; 0 where n or k is 0, and where
 * memory is short. */
size_t ft_coding_encode(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits, uint8_t *out,
                        size_t room);

/* 0, -1 where the stream is not exactly a coded n x k tensor (nothing is trusted), or -2 where
 * memory is short.  values: n x k. */
int ft_coding_decode(const uint8_t *data, size_t size, uint32_t n, uint32_t k, uint32_t bits,
                     uint32_t *values);

#endif
