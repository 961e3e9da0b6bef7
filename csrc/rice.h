/* Sparse tensors in a file: Rice-coded gaps between non-zero values (docs/file-format.md). */
#ifndef FT_RICE_H
#define FT_RICE_H

#include <stddef.h>
#include <stdint.h>

/* Both work on n rows of k values of `bits` bits (4, 8 or 32), given as 32-bit patterns:
 * the low `bits` bits count. */

/* Bytes needed with the best parameter; 0 where n or k is 0.  `out` may be NULL to only
 * measure, else it has room for that many bytes. */
size_t ft_rice_encode(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits, uint8_t *out);

/* 0, or -1 where the stream is not exactly a coded n x k tensor (nothing is trusted).
 * values: n x k, written with zeros and sign-less patterns. */
int ft_rice_decode(const uint8_t *data, size_t size, uint32_t n, uint32_t k, uint32_t bits,
                   uint32_t *values);

#endif
