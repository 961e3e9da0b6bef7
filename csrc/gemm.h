/* Exact integer products for callers with plain buffers. */
#ifndef FT_GEMM_H
#define FT_GEMM_H

#include "kernels.h"

/* c[m][n] = a[m][k] times w: exact int32 for every a (bytes 0..255), whatever padding the
 * kernel wants.  0, or -1 (memory). */
int ft_matmul(const ft_packed *w, size_t m, const uint8_t *a, int32_t *c);

#endif
