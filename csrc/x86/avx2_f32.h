/* Float layers: SIMD across outputs, k in order, multiply and add apart.
 *
 * The contract leaves out terms whose x is 0.  Here they are added as 0 * w = +-0, which
 * changes no sum: adding +-0 changes only -0.0, no sum starts as -0.0 (ft_pack_f32), and a
 * rounded sum is -0.0 only where both its terms are. */
#ifndef FT_X86_AVX2_F32_H
#define FT_X86_AVX2_F32_H

#include "avx2_common.h"

enum { F32_MR = 4, F32_NV = 2 };

AVX2_TEMPLATE void tile_f32(const int MR, const int NV, const ft_packed_f32 *w, size_t n,
                            const float *a, size_t lda, float *c, size_t ldc) {
    const float *b = w->data + n * w->k;
    __m256 acc[F32_MR][F32_NV];
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++) acc[r][v] = _mm256_loadu_ps(w->bias + n + 8 * v);
    }
    for (size_t k = 0; k < w->k; k++, b += 8 * NV) {
        __m256 y[F32_NV];
        UNROLL for (int v = 0; v < NV; v++) y[v] = _mm256_loadu_ps(b + 8 * v);
        UNROLL for (int r = 0; r < MR; r++) {
            const __m256 x = _mm256_set1_ps(a[(size_t)r * lda + k]);
            UNROLL for (int v = 0; v < NV; v++)
                acc[r][v] = _mm256_add_ps(acc[r][v], _mm256_mul_ps(x, y[v]));
        }
    }
    const __m256 floor = _mm256_setzero_ps();
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++) {
            const __m256 y = w->relu ? _mm256_max_ps(acc[r][v], floor) : acc[r][v];
            _mm256_storeu_ps(c + (size_t)r * ldc + n + 8 * v, y);
        }
    }
}

AVX2_TEMPLATE void panel_f32(const int NV, const ft_packed_f32 *w, size_t n, size_t m,
                             const float *a, size_t lda, float *c, size_t ldc) {
    size_t row = 0;
    for (; row + F32_MR <= m; row += F32_MR)
        tile_f32(F32_MR, NV, w, n, a + row * lda, lda, c + row * ldc, ldc);
    for (; row < m; row++) tile_f32(1, NV, w, n, a + row * lda, lda, c + row * ldc, ldc);
}

static AVX2_FN void gemm_f32(const ft_packed_f32 *w, size_t m, const float *a, size_t lda,
                             float *c, size_t ldc) {
    for (size_t n = 0; n < w->n_padded; n += 8 * F32_NV) {
        if (w->n_padded - n > 8) panel_f32(2, w, n, m, a, lda, c, ldc);
        else panel_f32(1, w, n, m, a, lda, c, ldc);
    }
}

#endif
