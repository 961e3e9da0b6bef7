/* Float layers: SIMD across outputs, k in order, multiply and add apart.
 *
 * Terms whose x is 0 are added as 0 * w = +-0, which changes no sum: adding +-0 changes only
 * -0.0, no sum starts as -0.0 (ft_pack_f32), and a rounded sum is -0.0 only where both its terms
 * are. */
#ifndef FT_ARM_NEON_F32_H
#define FT_ARM_NEON_F32_H

#include "neon_common.h"

NEON_TEMPLATE void tile_f32(const int MR, const int NV, const ft_packed_f32 *w, size_t n,
                            const float *a, size_t lda, float *c, size_t ldc) {
    const float *b = w->data + n * w->k;
    float32x4_t acc[NEON_MR][NEON_NV];
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vld1q_f32(w->bias + n + 4 * v);
    }
    for (size_t k = 0; k < w->k; k++, b += 4 * NV) {
        float32x4_t y[NEON_NV];
        UNROLL for (int v = 0; v < NV; v++) y[v] = vld1q_f32(b + 4 * v);
        UNROLL for (int r = 0; r < MR; r++) {
            const float32x4_t x = vdupq_n_f32(a[(size_t)r * lda + k]);
            UNROLL for (int v = 0; v < NV; v++)
                acc[r][v] = vaddq_f32(acc[r][v], vmulq_f32(x, y[v]));
        }
    }
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++)
            vst1q_f32(c + (size_t)r * ldc + n + 4 * v, w->relu ? positive4(acc[r][v]) : acc[r][v]);
    }
}

NEON_TEMPLATE void panel_f32(const int NV, const ft_packed_f32 *w, size_t n, size_t m,
                             const float *a, size_t lda, float *c, size_t ldc) {
    size_t row = 0;
    for (; row + NEON_MR <= m; row += NEON_MR)
        tile_f32(NEON_MR, NV, w, n, a + row * lda, lda, c + row * ldc, ldc);
    for (; row < m; row++) tile_f32(1, NV, w, n, a + row * lda, lda, c + row * ldc, ldc);
}

static NEON_FN void gemm_f32(const ft_packed_f32 *w, size_t m, const float *a, size_t lda,
                             float *c, size_t ldc) {
    size_t n = 0;
    for (; n + NR <= w->n_padded; n += NR) panel_f32(NEON_NV, w, n, m, a, lda, c, ldc);
    if (n < w->n_padded) panel_f32(NEON_NV / 2, w, n, m, a, lda, c, ldc);
}

#endif
